/// Why bytes could not be decoded.
///
/// Every variant carries the offset, in bytes from the start of the decoded buffer, of the element at fault, and the name of
/// the element in the words of docs/SPEC.md, so that a log line is enough to find it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The buffer ends inside an element.
    #[error("{what}: the bytes end at offset {offset}, {missing} too early")]
    UnexpectedEnd {
        /// Where the incomplete part starts.
        offset: usize,
        /// The element that is cut off.
        what: &'static str,
        /// How many more bytes this part needs, at least.
        missing: u64,
    },
    /// A variant tag that this protocol does not have.
    #[error("{what}: unknown tag {tag} at offset {offset}")]
    UnknownTag {
        /// Where the tag is.
        offset: usize,
        /// The enumeration.
        what: &'static str,
        /// The tag found.
        tag: u8,
    },
    /// The first byte of an integer is none of binprot's codes.
    #[error("{what}: {code:#04x} at offset {offset} starts no integer")]
    InvalidInteger {
        /// Where the integer starts.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The byte found.
        code: u8,
    },
    /// An integer outside of its element's range.
    #[error("{what}: {value} at offset {offset} is outside of {min}..={max}")]
    OutOfRange {
        /// Where the integer starts.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The integer found.
        value: i128,
        /// The least that is allowed.
        min: i128,
        /// The most that is allowed.
        max: i128,
    },
    /// A string or list with more elements than its limit.
    #[error("{what}: length {len} at offset {offset} is above {max}")]
    TooLong {
        /// Where the length is.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The length found.
        len: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A boolean other than 0 and 1.
    #[error("{what}: {value} at offset {offset} is no boolean")]
    InvalidBool {
        /// Where it is.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The byte found.
        value: u8,
    },
    /// 32 bytes that are no point of the ed25519 curve.
    #[error("{what}: no curve point at offset {offset}")]
    InvalidPoint {
        /// Where the 32 bytes start.
        offset: usize,
        /// The element.
        what: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("{what}: not UTF-8 at offset {offset}")]
    InvalidUtf8 {
        /// Where the first bad byte is.
        offset: usize,
        /// The element.
        what: &'static str,
    },
    /// A string, or a combination of values, that its element does not allow.
    #[error("{what}: at offset {offset}: {reason}")]
    Invalid {
        /// Where the element starts.
        offset: usize,
        /// The element.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes are left after a complete value, where none may be.
    #[error("{count} bytes are left over at offset {offset}")]
    TrailingBytes {
        /// Where the value ends.
        offset: usize,
        /// How many bytes are left.
        count: usize,
    },
}

impl DecodeError {
    /// The offset of the element at fault, in bytes from the start of the buffer.
    #[must_use]
    pub fn offset(&self) -> usize {
        match self {
            Self::UnexpectedEnd { offset, .. }
            | Self::UnknownTag { offset, .. }
            | Self::InvalidInteger { offset, .. }
            | Self::OutOfRange { offset, .. }
            | Self::TooLong { offset, .. }
            | Self::InvalidBool { offset, .. }
            | Self::InvalidPoint { offset, .. }
            | Self::InvalidUtf8 { offset, .. }
            | Self::Invalid { offset, .. }
            | Self::TrailingBytes { offset, .. } => *offset,
        }
    }
}
