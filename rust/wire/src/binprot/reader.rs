use bytes::Bytes;

use super::{DecodeError, code, int_len, nat0_len};

/// Reads binprot values one after the other from a shared buffer.
///
/// Methods take the name of the element that they read (`what`), which errors repeat. A failed read leaves the position
/// where the element at fault was found; the reader is of no further use then.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    canonical: bool,
}

impl Reader {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0, canonical: true }
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// Whether everything so far was in its canonical form: every integer as short as it can be, every name normalised.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }

    /// Remembers that something was not in its canonical form.
    pub fn mark_non_canonical(&mut self) {
        self.canonical = false;
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`].
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { offset: self.position, count }),
        }
    }

    /// Exactly `N` bytes, as they are.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`].
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        match rest.first_chunk::<N>() {
            Some(chunk) => {
                self.position = self.position.saturating_add(N);
                Ok(*chunk)
            }
            None => Err(self.end(what, N as u64)),
        }
    }

    /// One byte, as it is.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`].
    pub fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// The next `len` bytes as a slice of the buffer, without a copy.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`].
    pub fn take(&mut self, len: u64, what: &'static str) -> Result<Bytes, DecodeError> {
        let taken = usize::try_from(len).ok().filter(|&len| len <= self.remaining());
        let Some(taken) = taken else {
            return Err(self.end(what, len));
        };
        let start = self.position;
        self.position = start.saturating_add(taken);
        Ok(self.bytes.slice(start..self.position))
    }

    /// Everything that is left, as a slice of the buffer, without a copy.
    pub fn rest(&mut self) -> Bytes {
        let start = self.position;
        self.position = self.bytes.len();
        self.bytes.slice(start..)
    }

    /// A variant tag: one byte below `count`.
    ///
    /// # Errors
    /// [`DecodeError::UnknownTag`], [`DecodeError::UnexpectedEnd`].
    pub fn tag(&mut self, count: u8, what: &'static str) -> Result<u8, DecodeError> {
        let offset = self.position;
        let tag = self.byte(what)?;
        if tag < count {
            return Ok(tag);
        }
        Err(DecodeError::UnknownTag { offset, what, tag })
    }

    /// A boolean: one byte, 0 or 1.
    ///
    /// # Errors
    /// [`DecodeError::InvalidBool`], [`DecodeError::UnexpectedEnd`].
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        let offset = self.position;
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::InvalidBool { offset, what, value }),
        }
    }

    /// The tag of an option: whether a value follows.
    ///
    /// # Errors
    /// [`DecodeError::UnknownTag`], [`DecodeError::UnexpectedEnd`].
    pub fn option(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        Ok(self.tag(2, what)? == 1)
    }

    /// A nat0: what lengths, and 64-bit numbers of the protocol itself, are written as.
    ///
    /// # Errors
    /// [`DecodeError::InvalidInteger`], [`DecodeError::UnexpectedEnd`].
    pub fn nat0(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let offset = self.position;
        let value = match self.byte(what)? {
            small @ 0..0x80 => u64::from(small),
            code::INT16 => u16::from_le_bytes(self.array(what)?).into(),
            code::INT32 => u32::from_le_bytes(self.array(what)?).into(),
            code::INT64 => u64::from_le_bytes(self.array(what)?),
            code => return Err(DecodeError::InvalidInteger { offset, what, code }),
        };
        self.canonical &= self.position.saturating_sub(offset) == nat0_len(value);
        Ok(value)
    }

    /// A nat0 of at most `max`.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] and those of [`nat0`](Self::nat0).
    pub fn nat0_up_to(&mut self, max: u64, what: &'static str) -> Result<u64, DecodeError> {
        let offset = self.position;
        let value = self.nat0(what)?;
        if value <= max {
            return Ok(value);
        }
        Err(DecodeError::OutOfRange { offset, what, value: value.into(), min: 0, max: max.into() })
    }

    /// An OCaml integer, of at most 64 bits, with its sign.
    ///
    /// # Errors
    /// [`DecodeError::InvalidInteger`], [`DecodeError::UnexpectedEnd`].
    pub fn int(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let offset = self.position;
        let value = match self.byte(what)? {
            small @ 0..0x80 => i64::from(small),
            code::NEG_INT8 => i8::from_le_bytes(self.array(what)?).into(),
            code::INT16 => i16::from_le_bytes(self.array(what)?).into(),
            code::INT32 => i32::from_le_bytes(self.array(what)?).into(),
            code::INT64 => i64::from_le_bytes(self.array(what)?),
            code => return Err(DecodeError::InvalidInteger { offset, what, code }),
        };
        self.canonical &= self.position.saturating_sub(offset) == int_len(value);
        Ok(value)
    }

    fn int_in(&mut self, min: i64, max: i64, what: &'static str) -> Result<i64, DecodeError> {
        let offset = self.position;
        let value = self.int(what)?;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(DecodeError::OutOfRange { offset, what, value: value.into(), min: min.into(), max: max.into() })
    }

    /// An 8-bit number, written as an OCaml integer.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] and those of [`int`](Self::int).
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.int_in(0, u8::MAX.into(), what).map(|value| u8::try_from(value).unwrap_or_default())
    }

    /// A 16-bit number, written as an OCaml integer.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] and those of [`int`](Self::int).
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.int_in(0, u16::MAX.into(), what).map(|value| u16::try_from(value).unwrap_or_default())
    }

    /// A 32-bit number, written as an OCaml integer.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] and those of [`int`](Self::int).
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.int_in(0, u32::MAX.into(), what).map(|value| u32::try_from(value).unwrap_or_default())
    }

    /// Mina's `UInt32`: the 32 bits taken as a signed number, written as an OCaml integer.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] and those of [`int`](Self::int).
    pub fn uint32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.int_in(i32::MIN.into(), i32::MAX.into(), what)
            .map(|value| i32::try_from(value).unwrap_or_default().cast_unsigned())
    }

    /// Mina's `UInt64`: the 64 bits taken as a signed number, written as an OCaml integer.
    ///
    /// # Errors
    /// Those of [`int`](Self::int).
    pub fn uint64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.int(what).map(i64::cast_unsigned)
    }

    /// The length of a list of at most `max` elements.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] and those of [`nat0`](Self::nat0).
    pub fn list_len(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let offset = self.position;
        let len = self.nat0(what)?;
        match usize::try_from(len) {
            Ok(len) if len <= max => Ok(len),
            _ => Err(DecodeError::TooLong { offset, what, len, max: max as u64 }),
        }
    }

    /// A string of at most `max` bytes as a slice of the buffer: nat0 length, then the bytes.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::UnexpectedEnd`] and those of [`nat0`](Self::nat0).
    pub fn byte_string(&mut self, max: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.list_len(max, what)?;
        self.take(len as u64, what)
    }

    /// A UTF-8 string of at most `max` bytes.
    ///
    /// # Errors
    /// [`DecodeError::InvalidUtf8`] and those of [`byte_string`](Self::byte_string).
    pub fn string(&mut self, max: usize, what: &'static str) -> Result<String, DecodeError> {
        let bytes = self.byte_string(max, what)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(DecodeError::InvalidUtf8 {
                offset: self.position.saturating_sub(bytes.len()).saturating_add(error.valid_up_to()),
                what,
            }),
        }
    }

    /// A list of at most `max` 8-bit numbers, each written as an OCaml integer: the old node's form of encrypted data.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::UnexpectedEnd`] and those of [`u8`](Self::u8).
    pub fn int_list(&mut self, max: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.list_len(max, what)?;
        // Each element takes a byte or more, so the length is believed only as far as bytes are there.
        if len > self.remaining() {
            return Err(self.end(what, len as u64));
        }
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(self.u8(what)?);
        }
        Ok(list.into())
    }

    fn end(&self, what: &'static str, needed: u64) -> DecodeError {
        DecodeError::UnexpectedEnd {
            offset: self.position,
            what,
            missing: needed.saturating_sub(self.remaining() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn integers_that_are_longer_than_needed_are_read_and_noticed() {
        for bytes in [&[0xfe, 5, 0][..], &[0xfd, 5, 0, 0, 0], &[0xfc, 5, 0, 0, 0, 0, 0, 0, 0], &[0xff, 5]] {
            let mut int = Reader::new(Bytes::from_static(bytes));
            assert_eq!(int.int("n"), Ok(5));
            assert!(!int.is_canonical());
        }
        let mut nat0 = reader(&[5, 0xfe, 5, 0, 5]);
        assert_eq!(nat0.nat0("n"), Ok(5));
        assert!(nat0.is_canonical());
        assert_eq!(nat0.nat0("n"), Ok(5));
        assert!(!nat0.is_canonical());
        assert_eq!(nat0.nat0("n"), Ok(5));
        assert!(!nat0.is_canonical(), "it is not forgotten");
    }

    #[test]
    fn bytes_that_start_no_integer_are_refused() {
        for code in (0x80..0xfc).chain([0xff]) {
            let bytes = Bytes::from(vec![code, 0, 0]);
            let expected = Err(DecodeError::InvalidInteger { offset: 0, what: "n", code });
            assert_eq!(Reader::new(bytes.clone()).nat0("n"), expected);
            if code != 0xff {
                assert_eq!(Reader::new(bytes).int("n").map(i64::cast_unsigned), expected);
            }
        }
    }

    #[test]
    fn numbers_outside_of_their_type_are_refused_where_they_start() {
        let mut reader = reader(&[0, 0xfe, 0, 1]);
        assert_eq!(reader.u8("a"), Ok(0));
        assert_eq!(reader.u8("b"), Err(DecodeError::OutOfRange { offset: 1, what: "b", value: 256, min: 0, max: 255 }));
    }

    #[test]
    fn mina_numbers_are_their_bits_with_a_sign() {
        assert_eq!(reader(&[0xff, 0xff]).uint32("n"), Ok(u32::MAX));
        assert_eq!(reader(&[0xff, 0xff]).uint64("n"), Ok(u64::MAX));
        assert!(reader(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).uint32("n").is_err());
    }

    #[test]
    fn a_claimed_length_is_checked_before_anything_is_taken() {
        let huge = [0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1];
        let bytes = Bytes::copy_from_slice(&huge);
        assert_eq!(
            Reader::new(bytes.clone()).int_list(100, "list"),
            Err(DecodeError::TooLong { offset: 0, what: "list", len: i64::MAX.cast_unsigned(), max: 100 })
        );
        assert_eq!(
            Reader::new(bytes.clone()).int_list(usize::MAX, "list"),
            Err(DecodeError::UnexpectedEnd { offset: 9, what: "list", missing: i64::MAX.cast_unsigned() - 1 })
        );
        assert!(Reader::new(bytes).take(u64::MAX, "all").is_err());
    }

    #[test]
    fn taken_bytes_are_slices_of_the_buffer() {
        let bytes = Bytes::from(vec![1, 2, 3, 4, 5]);
        let mut reader = Reader::new(bytes.clone());
        let taken = reader.take(2, "two").unwrap();
        let rest = reader.rest();
        assert_eq!(taken.as_ptr(), bytes.as_ptr());
        assert_eq!(rest.as_ptr(), bytes[2..].as_ptr());
        assert_eq!(reader.remaining(), 0);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_string_that_is_not_utf8_is_refused_at_its_first_bad_byte() {
        assert_eq!(
            reader(&[3, b'a', 0xff, b'b']).string(9, "name"),
            Err(DecodeError::InvalidUtf8 { offset: 2, what: "name" })
        );
    }

    #[test]
    fn what_is_left_over_is_counted() {
        let error = reader(&[1, 2]).finish().unwrap_err();
        assert_eq!(error, DecodeError::TrailingBytes { offset: 0, count: 2 });
        assert_eq!(error.offset(), 0);
        assert_eq!(error.to_string(), "2 bytes are left over at offset 0");
    }
}
