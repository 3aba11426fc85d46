/// Why bytes are no block, header, skeleton or item in canonical form.
///
/// Offsets are in bytes from the start of what was walked; `what` names the element in the words of docs/SPEC.md.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The bytes end inside an element.
    #[error("{what}: the bytes end at offset {offset}, {missing} too early")]
    UnexpectedEnd {
        /// Where the bytes end.
        offset: usize,
        /// The element that is cut off.
        what: &'static str,
        /// How many more bytes it needs, at least.
        missing: usize,
    },
    /// A variant tag that the format does not have.
    #[error("{what}: unknown tag {tag:#04x} at offset {offset}")]
    UnknownTag {
        /// Where the tag is.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The first byte of the tag.
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
    /// An integer that is longer than it needs to be: the same value has another spelling, which is the canonical one.
    #[error("{what}: the integer at offset {offset} is longer than it needs to be")]
    NotCanonical {
        /// Where the integer starts.
        offset: usize,
        /// The element.
        what: &'static str,
    },
    /// An integer outside of its element's range.
    #[error("{what}: {value} at offset {offset} is outside of {min}..={max}")]
    OutOfRange {
        /// Where the integer starts.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The integer found.
        value: i64,
        /// The least that is allowed.
        min: i64,
        /// The most that is allowed.
        max: i64,
    },
    /// A string or list with another number of elements than its element has.
    #[error("{what}: length {len} at offset {offset} is outside of {min}..={max}")]
    WrongLength {
        /// Where the length is.
        offset: usize,
        /// The element.
        what: &'static str,
        /// The length found.
        len: u64,
        /// The least that is allowed.
        min: u64,
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
    /// Elements inside each other beyond the bound.
    #[error("{what}: at offset {offset} more than {max} are inside each other")]
    TooDeep {
        /// Where the first one beyond the bound starts.
        offset: usize,
        /// The element.
        what: &'static str,
        /// How many may be inside each other.
        max: usize,
    },
    /// More items than a block may have.
    #[error("the list at offset {offset} brings the block's items to {count}, above {max}")]
    TooManyItems {
        /// Where the length of the list is.
        offset: usize,
        /// How many items there would be.
        count: u64,
        /// The most that are allowed.
        max: usize,
    },
    /// A work of the gossip network whose statements are not those of its proofs.
    #[error("the work's statement at offset {offset} is not that of its proof")]
    OtherStatement {
        /// Where the statement is that differs.
        offset: usize,
    },
    /// Bytes are left behind the last element.
    #[error("{count} bytes are left over at offset {offset}")]
    TrailingBytes {
        /// Where the last element ends.
        offset: usize,
        /// How many bytes are left.
        count: usize,
    },
}

impl LayoutError {
    /// The same error with the offset in a buffer that has `by` bytes before what was walked.
    pub(crate) fn moved_by(mut self, by: usize) -> Self {
        let (Self::UnexpectedEnd { offset, .. }
        | Self::UnknownTag { offset, .. }
        | Self::InvalidInteger { offset, .. }
        | Self::NotCanonical { offset, .. }
        | Self::OutOfRange { offset, .. }
        | Self::WrongLength { offset, .. }
        | Self::InvalidBool { offset, .. }
        | Self::TooDeep { offset, .. }
        | Self::TooManyItems { offset, .. }
        | Self::OtherStatement { offset }
        | Self::TrailingBytes { offset, .. }) = &mut self;
        *offset = offset.saturating_add(by);
        self
    }

    /// Where the fault is, in bytes from the start of what was walked.
    #[must_use]
    pub fn offset(&self) -> usize {
        match self {
            Self::UnexpectedEnd { offset, .. }
            | Self::UnknownTag { offset, .. }
            | Self::InvalidInteger { offset, .. }
            | Self::NotCanonical { offset, .. }
            | Self::OutOfRange { offset, .. }
            | Self::WrongLength { offset, .. }
            | Self::InvalidBool { offset, .. }
            | Self::TooDeep { offset, .. }
            | Self::TooManyItems { offset, .. }
            | Self::OtherStatement { offset }
            | Self::TrailingBytes { offset, .. } => *offset,
        }
    }
}
