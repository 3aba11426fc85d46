//! Best tips (channel 3).

use std::fmt;

use bytes::Bytes;

use super::{Frame, Opaque, TAG_LEN, frame, small};
use crate::binprot::{DecodeError, Decoded};
use crate::hash::StateHash;

/// The most bytes of a block: the network's 32 MiB, less the tag, so that a tip fits its channel's frame of 32 MiB. (A full
/// block of mainnet is 3 MB; the gossip network's limit of 32 MiB includes nine bytes of its own.)
pub const MAX_BLOCK_LEN: usize = MAX_BEST_TIP_LEN - TAG_LEN;
/// The most bytes of a message with a tip: what the existing node takes.
pub const MAX_BEST_TIP_LEN: usize = 32 * 1024 * 1024;

/// A message of channel 3.
#[derive(Clone, PartialEq, Eq)]
pub enum BestTipMessage {
    /// A permit for one tip.
    GetNext,
    /// The tip: a whole block, opaque, of at most [`MAX_BLOCK_LEN`] bytes. Includes whatever the frame had behind the
    /// block.
    BestTip(Bytes),
}

impl BestTipMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            Ok(match reader.tag(2, "best tip message")? {
                0 => Self::GetNext,
                _ => Self::BestTip(reader.rest()),
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        match self {
            Self::GetNext => small(|writer| writer.byte(0)),
            Self::BestTip(block) => frame(block.clone(), |writer| writer.byte(1)),
        }
    }
}

impl fmt::Debug for BestTipMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GetNext => f.write_str("GetNext"),
            Self::BestTip(block) => f.debug_tuple("BestTip").field(&Opaque(block)).finish(),
        }
    }
}

/// The state hash of a block's parent, as the block claims it: its first 32 bytes.
///
/// # Errors
/// [`DecodeError::UnexpectedEnd`] if the block has fewer.
pub fn previous_state_hash(block: &[u8]) -> Result<StateHash, DecodeError> {
    match block.first_chunk::<32>() {
        Some(hash) => Ok(StateHash(*hash)),
        None => Err(DecodeError::UnexpectedEnd {
            offset: 0,
            what: "previous state hash",
            missing: 32_u64.saturating_sub(block.len() as u64),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_never_copied() {
        let body = Bytes::from([&[1][..], &[7; 3_000_000]].concat());
        let message = BestTipMessage::decode(body.clone()).unwrap().value;
        let BestTipMessage::BestTip(block) = &message else {
            panic!("{message:?}");
        };
        assert_eq!(block.as_ptr(), body[1..].as_ptr());
        assert_eq!(message.encode().payload.as_ptr(), block.as_ptr());
        assert_eq!(format!("{message:?}"), "BestTip(<3000000 bytes>)");
    }

    #[test]
    fn a_block_shorter_than_a_hash_names_no_parent() {
        assert_eq!(previous_state_hash(&[7; 33]), Ok(StateHash([7; 32])));
        let error = previous_state_hash(&[7; 31]).unwrap_err();
        assert!(matches!(error, DecodeError::UnexpectedEnd { missing: 1, .. }));
    }
}
