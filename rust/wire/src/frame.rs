//! Framing: on a channel each message is its length, four bytes big-endian, and then its body.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::message::Opaque;

/// The bytes before each body.
pub const HEAD_LEN: usize = 4;

/// The frame head of a body of `len` bytes.
#[must_use]
pub const fn head(len: u32) -> [u8; HEAD_LEN] {
    len.to_be_bytes()
}

/// The length of the body that follows this frame head, in bytes. Check it against what the state of the channel allows
/// before reading on.
#[must_use]
pub const fn parse_head(head: [u8; HEAD_LEN]) -> u32 {
    u32::from_be_bytes(head)
}

/// The body of one message in two parts, so that a large payload is sent from where it is, never copied.
///
/// The body is `head` followed by `payload`; the frame's length is not part of either.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// What comes first: tags, ids, and all of a small message.
    pub head: Bytes,
    /// The opaque payload at the end, if the message has one.
    pub payload: Bytes,
}

impl Frame {
    /// The length of the body in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len().saturating_add(self.payload.len())
    }

    /// Whether the body is empty. No message's is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body in one piece. Copies, if it has a payload.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.payload.is_empty() {
            return self.head;
        }
        let mut body = BytesMut::with_capacity(self.len());
        body.extend_from_slice(&self.head);
        body.extend_from_slice(&self.payload);
        body.freeze()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("head", &self.head).field("payload", &Opaque(&self.payload)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_big_endian() {
        assert_eq!(head(0x0102_0304), [1, 2, 3, 4]);
        assert_eq!(parse_head([1, 2, 3, 4]), 0x0102_0304);
    }

    #[test]
    fn a_frame_is_its_head_and_then_its_payload() {
        let frame = Frame { head: Bytes::from_static(b"he"), payload: Bytes::from_static(b"ad") };
        assert_eq!(frame.len(), 4);
        assert!(!frame.is_empty());
        assert_eq!(format!("{frame:?}"), r#"Frame { head: b"he", payload: <2 bytes> }"#);
        assert_eq!(frame.into_bytes(), "head");
    }
}
