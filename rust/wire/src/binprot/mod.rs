//! The part of OCaml's `bin_prot` format that the protocol uses (docs/SPEC.md, "binprot").
//!
//! [`Reader`] never panics, never allocates from a length that the sender claims, and hands out large fields as slices of
//! the buffer that it reads. It accepts integers that are longer than needed, as the existing node does, but remembers it:
//! [`Reader::is_canonical`]. [`Writer`] writes the shortest form only, so that a value has one encoding.

mod error;
mod reader;
mod writer;

use bytes::Bytes;

pub use error::DecodeError;
pub use reader::Reader;
pub use writer::Writer;

/// The most bytes that an integer takes: a code and eight bytes.
pub const MAX_INT_LEN: usize = 9;
/// The most bytes of an unsigned 8-bit integer in its shortest form: 128 and above take a code and two bytes.
pub const MAX_U8_LEN: usize = 3;
/// The most bytes of an unsigned 16-bit integer in its shortest form: 32,768 and above take a code and four bytes.
pub const MAX_U16_LEN: usize = 5;

/// A value with a binprot form.
pub trait Binprot: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// A [`DecodeError`] that says what is wrong and where.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError>;

    /// Appends the value in its canonical form.
    fn write(&self, writer: &mut Writer);
}

/// A decoded value, and what was noticed on the way.
///
/// The existing node accepts longer integers than needed and bytes after a complete value. Whether to accept them is for
/// the caller to decide, who knows what kind of peer sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<T> {
    /// The value.
    pub value: T,
    /// Whether what was read is the canonical form of the value: encoding it again gives the same bytes (less the trailing
    /// ones). Bytes inside opaque fields are not looked at.
    pub canonical: bool,
    /// How many bytes follow the value.
    pub trailing: usize,
}

impl<T> Decoded<T> {
    /// Whether the bytes were exactly what our own encoder writes: canonical, with nothing behind.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.canonical && self.trailing == 0
    }

    pub(crate) fn read(
        bytes: Bytes,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = read(&mut reader)?;
        Ok(Self { value, canonical: reader.is_canonical(), trailing: reader.remaining() })
    }
}

/// Decodes one value from the start of `bytes`.
///
/// # Errors
/// A [`DecodeError`] that says what is wrong and where.
pub fn decode<T: Binprot>(bytes: Bytes) -> Result<Decoded<T>, DecodeError> {
    Decoded::read(bytes, T::read)
}

/// The canonical form of a value.
#[must_use]
pub fn encode<T: Binprot>(value: &T) -> Bytes {
    let mut writer = Writer::new();
    value.write(&mut writer);
    writer.finish()
}

/// The length in bytes of `value` as a nat0, in its shortest form.
#[must_use]
pub const fn nat0_len(value: u64) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// The length in bytes of `value` as a signed integer, in its shortest form.
#[must_use]
pub const fn int_len(value: i64) -> usize {
    match value {
        0..0x80 => 1,
        -0x80..0 => 2,
        -0x8000..0x8000 => 3,
        -0x8000_0000..0x8000_0000 => 5,
        _ => 9,
    }
}

/// The first byte of integers of more than one byte.
pub(crate) mod code {
    /// A negative integer of 8 bits.
    pub(crate) const NEG_INT8: u8 = 0xff;
    /// 16 bits, little-endian.
    pub(crate) const INT16: u8 = 0xfe;
    /// 32 bits, little-endian.
    pub(crate) const INT32: u8 = 0xfd;
    /// 64 bits, little-endian.
    pub(crate) const INT64: u8 = 0xfc;
}
