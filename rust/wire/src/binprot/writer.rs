use bytes::Bytes;

use super::code;

/// Appends binprot values, each in its canonical form, to a buffer that grows as needed.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes have been written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What has been written.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// One byte as it is: a variant tag.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.byte(value.into());
    }

    /// The tag of an option: whether a value follows.
    pub fn option(&mut self, is_some: bool) {
        self.bool(is_some);
    }

    /// A nat0: lengths, and 64-bit numbers of the protocol itself.
    pub fn nat0(&mut self, value: u64) {
        let bytes = value.to_le_bytes();
        let [b0, b1, b2, b3, ..] = bytes;
        match value {
            0..0x80 => self.byte(b0),
            0x80..0x1_0000 => self.raw(&[code::INT16, b0, b1]),
            0x1_0000..0x1_0000_0000 => self.raw(&[code::INT32, b0, b1, b2, b3]),
            _ => {
                self.byte(code::INT64);
                self.raw(&bytes);
            }
        }
    }

    /// An OCaml integer.
    pub fn int(&mut self, value: i64) {
        let bytes = value.to_le_bytes();
        let [b0, b1, b2, b3, ..] = bytes;
        match value {
            0..0x80 => self.byte(b0),
            -0x80..0 => self.raw(&[code::NEG_INT8, b0]),
            -0x8000..0x8000 => self.raw(&[code::INT16, b0, b1]),
            -0x8000_0000..0x8000_0000 => self.raw(&[code::INT32, b0, b1, b2, b3]),
            _ => {
                self.byte(code::INT64);
                self.raw(&bytes);
            }
        }
    }

    /// An 8-bit number, as an OCaml integer.
    pub fn u8(&mut self, value: u8) {
        self.int(value.into());
    }

    /// A 16-bit number, as an OCaml integer.
    pub fn u16(&mut self, value: u16) {
        self.int(value.into());
    }

    /// A 32-bit number, as an OCaml integer.
    pub fn u32(&mut self, value: u32) {
        self.int(value.into());
    }

    /// Mina's `UInt32`: the 32 bits taken as a signed number.
    pub fn uint32(&mut self, value: u32) {
        self.int(value.cast_signed().into());
    }

    /// Mina's `UInt64`: the 64 bits taken as a signed number.
    pub fn uint64(&mut self, value: u64) {
        self.int(value.cast_signed());
    }

    /// A string: nat0 length, then the bytes.
    pub fn byte_string(&mut self, bytes: &[u8]) {
        self.nat0(bytes.len() as u64);
        self.raw(bytes);
    }

    /// A list of 8-bit numbers, each as an OCaml integer: the old node's form of encrypted data.
    pub fn int_list(&mut self, bytes: &[u8]) {
        self.nat0(bytes.len() as u64);
        for &byte in bytes {
            self.u8(byte);
        }
    }
}
