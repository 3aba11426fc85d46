//! The commitment to a block's body that its header carries, and bodies that travel by chunk.
//!
//! The data `D` is the body's length plus one (u32, little-endian), a tag, and the body. Cut into chunks of bounded length it
//! is a tree of two levels: the root chunk starts with the number of its links and the links, each the hash of a leaf.
//! `H` is BLAKE2b-256:
//!
//! ```text
//! leaf  = 262,142 bytes of D          link      = H(u16le(0) || leaf)
//! root  = the first bytes of D        reference = H(u16le(links) || link .. || root)
//! ```
//!
//! The root has as many bytes of D as fit beside its links. In this file "chunk 0" is the root, chunk `i` leaf `i`.

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use blake2::{Blake2b, Digest, digest::consts::U32};
use bytes::{Bytes, BytesMut};
use mina_p2p_wire::message::MAX_BLOCK_LEN;

/// The most bytes of a body: no block with its header has more.
pub const MAX_BODY_LEN: usize = MAX_BLOCK_LEN;

/// Before a chunk's links: how many there are, in two bytes.
const COUNT_LEN: usize = 2;
/// The bytes of a link.
const LINK_LEN: usize = 32;
/// Before the body: its length in four bytes, and the tag.
const PREFIX_LEN: usize = 5;

/// The commitment to a block's body that its header carries. Text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyReference(pub [u8; 32]);

impl fmt::Display for BodyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BodyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyReference({self})")
    }
}

/// What a network's body references depend on besides the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyParams {
    max_chunk: usize,
    tag: u8,
}

impl BodyParams {
    /// Mainnet's: chunks of at most 256 KiB, tag 0.
    pub const MAINNET: Self = Self { max_chunk: 256 * 1024, tag: 0 };
    /// The least chunk length. With it the root of the longest body has 513 links, which fill a quarter of it:
    /// 32 MiB / (64 KiB - 34).
    pub const MIN_CHUNK: usize = 64 * 1024;
    /// The greatest chunk length.
    pub const MAX_CHUNK: usize = 16 * 1024 * 1024;

    /// Chunks of at most `max_chunk` bytes, count and links included, and a tag. `None` if `max_chunk` is not within
    /// [`MIN_CHUNK`](Self::MIN_CHUNK) and [`MAX_CHUNK`](Self::MAX_CHUNK).
    #[must_use]
    pub const fn new(max_chunk: usize, tag: u8) -> Option<Self> {
        if max_chunk < Self::MIN_CHUNK || max_chunk > Self::MAX_CHUNK {
            return None;
        }
        Some(Self { max_chunk, tag })
    }

    /// The most bytes of D in a chunk without links, which is what a leaf has.
    const fn leaf_len(self) -> usize {
        self.max_chunk - COUNT_LEN
    }

    /// How many leaves a body has.
    const fn leaves(self, body_len: usize) -> usize {
        // A leaf more brings its length, less the link that it costs the root.
        body_len.saturating_sub(LINK_LEN - PREFIX_LEN).div_ceil(self.leaf_len() - LINK_LEN).saturating_sub(1)
    }

    /// The part of the body that is in the root chunk.
    fn root_range(self, body_len: usize) -> Range<usize> {
        let room = self.leaf_len().saturating_sub(self.leaves(body_len).saturating_mul(LINK_LEN) + PREFIX_LEN);
        0..room.min(body_len)
    }

    /// The part of the body that is leaf `index`, from 1.
    fn leaf_range(self, body_len: usize, index: usize) -> Range<usize> {
        let start = self.root_range(body_len).end + index.saturating_sub(1) * self.leaf_len();
        start.min(body_len)..(start + self.leaf_len()).min(body_len)
    }

    fn link(leaf: &[u8]) -> [u8; LINK_LEN] {
        Blake2b::<U32>::new().chain_update([0; COUNT_LEN]).chain_update(leaf).finalize().into()
    }

    /// What is before the body's bytes in the root chunk: the number of links, the links, length and tag.
    fn head(self, body: &[u8]) -> Vec<u8> {
        let leaves = self.leaves(body.len());
        let mut head = Vec::with_capacity(COUNT_LEN + leaves * LINK_LEN + PREFIX_LEN);
        head.extend_from_slice(&u16::try_from(leaves).unwrap_or(u16::MAX).to_le_bytes());
        for index in 1..=leaves {
            let leaf = body.get(self.leaf_range(body.len(), index)).unwrap_or_default();
            head.extend_from_slice(&Self::link(leaf));
        }
        head.extend_from_slice(&u32::try_from(body.len() + 1).unwrap_or(u32::MAX).to_le_bytes());
        head.push(self.tag);
        head
    }
}

impl Default for BodyParams {
    fn default() -> Self {
        Self::MAINNET
    }
}

/// The reference of a body of at most [`MAX_BODY_LEN`] bytes; of longer ones the result is meaningless.
#[must_use]
pub fn body_reference(body: &[u8], params: BodyParams) -> BodyReference {
    reference_of_root(&params.head(body), body.get(params.root_range(body.len())).unwrap_or_default())
}

fn reference_of_root(head: &[u8], rest: &[u8]) -> BodyReference {
    BodyReference(Blake2b::<U32>::new().chain_update(head).chain_update(rest).finalize().into())
}

/// A body with what its root chunk needs, computed at most once: the side that serves chunks.
#[derive(Debug, Clone)]
pub struct ChunkedBody {
    body: Bytes,
    params: BodyParams,
    reference: BodyReference,
    /// What is before the body's bytes in the root chunk.
    head: OnceLock<Bytes>,
}

/// A chunk as it travels: the bytes of `head`, then those of `data`, which is a slice of the body. Leaves have no head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Of the root chunk the number of its links, the links, and what is before the body.
    pub head: Bytes,
    /// The part of the body.
    pub data: Bytes,
}

impl Chunk {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// Whether it has no bytes; none that was made here is so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunk in one piece. A leaf is not copied.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.head.is_empty() {
            return self.data;
        }
        let mut bytes = BytesMut::with_capacity(self.len());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(&self.data);
        bytes.freeze()
    }
}

impl ChunkedBody {
    /// Hashes a body of at most [`MAX_BODY_LEN`] bytes.
    #[must_use]
    pub fn new(body: Bytes, params: BodyParams) -> Self {
        let head = Bytes::from(params.head(&body));
        let reference = reference_of_root(&head, body.get(params.root_range(body.len())).unwrap_or_default());
        Self { body, params, reference, head: head.into() }
    }

    /// A body whose reference somebody has computed. Nothing is hashed until the root chunk is asked for.
    #[must_use]
    pub fn with_reference(body: Bytes, params: BodyParams, reference: BodyReference) -> Self {
        Self { body, params, reference, head: OnceLock::new() }
    }

    /// The body's reference.
    #[must_use]
    pub fn reference(&self) -> BodyReference {
        self.reference
    }

    /// How many chunks there are, the root included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.params.leaves(self.body.len()) + 1
    }

    /// A chunk: 0 is the root. `None` if there are not so many.
    #[must_use]
    pub fn chunk(&self, index: usize) -> Option<Chunk> {
        let len = self.body.len();
        match index {
            0 => {
                let head = self.head.get_or_init(|| self.params.head(&self.body).into()).clone();
                Some(Chunk { head, data: self.body.slice(self.params.root_range(len)) })
            }
            index if index < self.count() => {
                Some(Chunk { head: Bytes::new(), data: self.body.slice(self.params.leaf_range(len, index)) })
            }
            _ => None,
        }
    }
}

/// Why a chunk is not the body's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The root chunk's hash is not the reference.
    #[error("the root chunk hashes to {found}, not to the body reference {expected}")]
    OtherRoot {
        /// The reference in the header.
        expected: BodyReference,
        /// The hash of the chunk.
        found: BodyReference,
    },
    /// A leaf's hash is not its link.
    #[error("chunk {index} is not the one that the root links to")]
    OtherLeaf {
        /// Which leaf, from 1.
        index: usize,
    },
    /// A chunk of another length than the body's length gives it.
    #[error("chunk {index} has {found} bytes instead of {expected}")]
    WrongLength {
        /// Which chunk.
        index: usize,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: usize,
    },
    /// The root chunk has the reference's hash but is none: the header commits to something that is no body.
    #[error("the header commits to {len} bytes that are no root chunk of a body")]
    NoBody {
        /// The chunk's length.
        len: usize,
    },
    /// The root chunk claims a body of more than [`MAX_BODY_LEN`].
    #[error("the header commits to a body of {len} bytes, above {MAX_BODY_LEN}")]
    TooLong {
        /// The length that is claimed.
        len: usize,
    },
    /// Another number of links than the body's length needs.
    #[error("the header commits to a root with {found} links where {expected} are needed")]
    WrongLinks {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A leaf before the root, which says what leaves there are.
    #[error("chunk {index} before the root chunk")]
    RootFirst {
        /// Which leaf.
        index: usize,
    },
    /// A leaf that the body does not have.
    #[error("chunk {index} of a body of {count}")]
    NoSuchChunk {
        /// Which chunk.
        index: usize,
        /// How many there are, the root included.
        count: usize,
    },
}

impl BodyError {
    /// Whether the header itself is at fault (it commits to something that is no body) rather than who sent the chunk.
    #[must_use]
    pub fn is_the_headers(&self) -> bool {
        matches!(self, Self::NoBody { .. } | Self::TooLong { .. } | Self::WrongLinks { .. })
    }
}

/// A body that arrives chunk by chunk, each checked as it arrives: the root first, then the leaves in any order.
///
/// Holds the chunks as they came, and nothing for those that have not come but their links.
#[derive(Debug, Clone)]
pub struct BodyChunks {
    reference: BodyReference,
    params: BodyParams,
    body_len: usize,
    root: Option<Bytes>,
    links: Vec<[u8; LINK_LEN]>,
    leaves: Vec<Option<Bytes>>,
    missing: usize,
}

impl BodyChunks {
    /// Nothing yet, of the body that a header names.
    #[must_use]
    pub fn new(reference: BodyReference, params: BodyParams) -> Self {
        Self { reference, params, body_len: 0, root: None, links: Vec::new(), leaves: Vec::new(), missing: 0 }
    }

    /// Takes the chunk `index`, 0 being the root. One that is there already changes nothing.
    ///
    /// # Errors
    /// A [`BodyError`] if it is not the body's; nothing changes then.
    pub fn insert(&mut self, index: usize, chunk: Bytes) -> Result<(), BodyError> {
        if index == 0 {
            return self.insert_root(chunk);
        }
        if self.root.is_none() {
            return Err(BodyError::RootFirst { index });
        }
        let count = self.links.len() + 1;
        let (Some(link), Some(place)) = (self.links.get(index - 1), self.leaves.get_mut(index - 1)) else {
            return Err(BodyError::NoSuchChunk { index, count });
        };
        let expected = self.params.leaf_range(self.body_len, index).len();
        if chunk.len() != expected {
            return Err(BodyError::WrongLength { index, found: chunk.len(), expected });
        }
        if BodyParams::link(&chunk) != *link {
            return Err(BodyError::OtherLeaf { index });
        }
        if place.is_none() {
            *place = Some(chunk);
            self.missing = self.missing.saturating_sub(1);
        }
        Ok(())
    }

    fn insert_root(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        if chunk.len() > self.params.max_chunk {
            return Err(BodyError::WrongLength { index: 0, found: chunk.len(), expected: self.params.max_chunk });
        }
        let found = reference_of_root(&[], &chunk);
        if found != self.reference {
            return Err(BodyError::OtherRoot { expected: self.reference, found });
        }
        if self.root.is_some() {
            return Ok(());
        }
        let no_body = BodyError::NoBody { len: chunk.len() };
        let (count, rest) = chunk.split_first_chunk::<COUNT_LEN>().ok_or(no_body)?;
        let count = usize::from(u16::from_le_bytes(*count));
        let (links, data) = rest.split_at_checked(count.saturating_mul(LINK_LEN)).ok_or(no_body)?;
        let (prefix, data) = data.split_first_chunk::<PREFIX_LEN>().ok_or(no_body)?;
        let [a, b, c, d, tag] = *prefix;
        let with_tag = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if tag != self.params.tag || with_tag == 0 {
            return Err(no_body);
        }
        let body_len = with_tag - 1;
        if body_len > MAX_BODY_LEN {
            return Err(BodyError::TooLong { len: body_len });
        }
        let expected = self.params.leaves(body_len);
        if count != expected {
            return Err(BodyError::WrongLinks { found: count, expected });
        }
        if data.len() != self.params.root_range(body_len).len() {
            return Err(no_body);
        }
        self.links = links.as_chunks::<LINK_LEN>().0.to_vec();
        self.leaves = vec![None; count];
        self.missing = count;
        self.body_len = body_len;
        self.root = Some(chunk.slice_ref(data));
        Ok(())
    }

    /// The body's length, once the root is there.
    #[must_use]
    pub fn body_len(&self) -> Option<usize> {
        self.root.as_ref().map(|_| self.body_len)
    }

    /// The chunks that are missing: the root alone until it is there.
    pub fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        let root = self.root.is_none().then_some(0);
        root.into_iter().chain((1..).zip(&self.leaves).filter_map(|(index, leaf)| leaf.is_none().then_some(index)))
    }

    /// Whether every chunk is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.root.is_some() && self.missing == 0
    }

    /// How long chunk `index` is, once the root is there; of the root the most that it may have.
    #[must_use]
    pub fn chunk_len(&self, index: usize) -> Option<usize> {
        match index {
            0 => Some(self.params.max_chunk),
            index if index <= self.links.len() => Some(self.params.leaf_range(self.body_len, index).len()),
            _ => None,
        }
    }

    /// The body, once every chunk is there. Its only copy.
    #[must_use]
    pub fn body(&self) -> Option<Bytes> {
        self.append_to(BytesMut::new())
    }

    /// The body behind what `before` has (a header, to make a block), once every chunk is there.
    #[must_use]
    pub fn append_to(&self, mut before: BytesMut) -> Option<Bytes> {
        if !self.is_complete() {
            return None;
        }
        before.reserve(self.body_len);
        before.extend_from_slice(self.root.as_ref()?);
        self.leaves.iter().flatten().for_each(|leaf| before.extend_from_slice(leaf));
        Some(before.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_the_longest_body_fit_at_any_chunk_length() {
        for max_chunk in [BodyParams::MIN_CHUNK, 256 * 1024, BodyParams::MAX_CHUNK] {
            let params = BodyParams::new(max_chunk, 1).unwrap();
            for len in [0, 1, max_chunk - 8, max_chunk - 7, max_chunk - 6, max_chunk, MAX_BODY_LEN - 1, MAX_BODY_LEN] {
                let leaves = params.leaves(len);
                let mut at = params.root_range(len).end;
                assert!(COUNT_LEN + leaves * LINK_LEN + PREFIX_LEN + at <= max_chunk);
                assert!(leaves <= 513, "{leaves}");
                for index in 1..=leaves {
                    let range = params.leaf_range(len, index);
                    assert_eq!(range.start, at);
                    assert!(!range.is_empty(), "no empty leaf");
                    at = range.end;
                }
                assert_eq!(at, len);
            }
        }
    }

    #[test]
    fn chunk_lengths_that_the_longest_body_does_not_fit_are_refused() {
        assert_eq!(BodyParams::new(BodyParams::MIN_CHUNK - 1, 0), None);
        assert_eq!(BodyParams::new(BodyParams::MAX_CHUNK + 1, 0), None);
    }
}
