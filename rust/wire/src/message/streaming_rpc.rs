//! A staged ledger in parts (channel 8).

use std::fmt;

use bytes::Bytes;

use super::{Frame, Opaque, TAG_LEN, frame, small};
use crate::binprot::{Binprot, DecodeError, Decoded, MAX_INT_LEN, Reader};
use crate::hash::StateHash;

/// The most bytes of a request: tag, id, kind, state hash.
pub const MAX_STREAMING_REQUEST_LEN: usize = TAG_LEN + MAX_INT_LEN + TAG_LEN + 32;
/// The most bytes of a response before the opaque part: tag, id, option, kind, kind of part.
pub const MAX_STREAMING_RESPONSE_HEAD_LEN: usize = TAG_LEN + MAX_INT_LEN + TAG_LEN + TAG_LEN + TAG_LEN;
/// The most bytes of a part: the existing node's frame of 16 MiB, less the head.
pub const MAX_STAGED_LEDGER_PART_LEN: usize = 16 * 1024 * 1024 - MAX_STREAMING_RESPONSE_HEAD_LEN;
/// The most trees of a scan state that we fetch in parts, so that an answer has an end. Mainnet, of depth 7 and delay 2, has
/// at most (7 + 1) * (2 + 1) + 1 = 25.
pub const MAX_SCAN_STATE_TREES: u32 = 64;

/// Which part of a staged ledger; they come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StagedLedgerPartKind {
    /// The ledger hash, the pending coinbases, the blocks needed.
    Base = 0,
    /// The scan state without its trees, but with their number.
    ScanStateBase = 1,
    /// Zkapp updates that earlier blocks have left incomplete.
    PreviousIncompleteZkappUpdates = 2,
    /// One tree of the scan state: as many parts as there are trees.
    ScanStateTree = 3,
}

/// A part of a staged ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct StagedLedgerPart {
    /// Which.
    pub kind: StagedLedgerPartKind,
    /// Its binprot, opaque; whatever the frame had behind included.
    pub body: Bytes,
}

impl StagedLedgerPart {
    /// How many trees the scan state has: how many parts of the last kind follow. Known from a part of the kind
    /// [`ScanStateBase`](StagedLedgerPartKind::ScanStateBase), whose first element it is.
    ///
    /// # Errors
    /// A [`DecodeError`] if this part is of another kind, or has no number there, or one above [`MAX_SCAN_STATE_TREES`].
    pub fn tree_count(&self) -> Result<u32, DecodeError> {
        let what = "scan state tree count";
        if self.kind != StagedLedgerPartKind::ScanStateBase {
            return Err(DecodeError::Invalid { offset: 0, what, reason: "only the base of a scan state has it" });
        }
        let mut reader = Reader::new(self.body.clone());
        match reader.uint32(what)? {
            count @ 0..=MAX_SCAN_STATE_TREES => Ok(count),
            count => Err(DecodeError::OutOfRange {
                offset: 0,
                what,
                value: count.into(),
                min: 0,
                max: MAX_SCAN_STATE_TREES.into(),
            }),
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = match reader.tag(4, "staged ledger part")? {
            0 => StagedLedgerPartKind::Base,
            1 => StagedLedgerPartKind::ScanStateBase,
            2 => StagedLedgerPartKind::PreviousIncompleteZkappUpdates,
            _ => StagedLedgerPartKind::ScanStateTree,
        };
        Ok(Self { kind, body: reader.rest() })
    }
}

impl fmt::Debug for StagedLedgerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedLedgerPart").field("kind", &self.kind).field("body", &Opaque(&self.body)).finish()
    }
}

/// A message of channel 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamingRpcMessage {
    /// A permit for the next part.
    Next {
        /// The request's.
        id: u64,
    },
    /// A request, which permits the first part.
    Request {
        /// Repeated by every message that belongs to it.
        id: u64,
        /// The state hash of the block whose staged ledger is asked for.
        block: StateHash,
    },
    /// One part.
    Response {
        /// The request's.
        id: u64,
        /// The part; none if the peer does not have it (any more), which ends the answer.
        part: Option<StagedLedgerPart>,
    },
}

impl StreamingRpcMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            let tag = reader.tag(3, "streaming rpc message")?;
            let id = reader.nat0("streaming rpc id")?;
            Ok(match tag {
                0 => Self::Next { id },
                1 => {
                    reader.tag(1, "streaming rpc request")?;
                    let block = StateHash::read(reader)?;
                    Self::Request { id, block }
                }
                _ => {
                    let part = if reader.option("streaming rpc response")? {
                        reader.tag(1, "streaming rpc response")?;
                        Some(StagedLedgerPart::read(reader)?)
                    } else {
                        None
                    };
                    Self::Response { id, part }
                }
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        match self {
            Self::Next { id } => small(|writer| {
                writer.byte(0);
                writer.nat0(*id);
            }),
            Self::Request { id, block } => small(|writer| {
                writer.byte(1);
                writer.nat0(*id);
                writer.byte(0);
                block.write(writer);
            }),
            Self::Response { id, part } => {
                let payload = part.as_ref().map(|part| part.body.clone());
                frame(payload.unwrap_or_default(), |writer| {
                    writer.byte(2);
                    writer.nat0(*id);
                    writer.option(part.is_some());
                    if let Some(part) = part {
                        writer.byte(0);
                        writer.byte(part.kind as u8);
                    }
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channel;

    fn part(kind: StagedLedgerPartKind, body: &'static [u8]) -> StagedLedgerPart {
        StagedLedgerPart { kind, body: Bytes::from_static(body) }
    }

    #[test]
    fn the_number_of_trees_is_read_from_the_scan_states_base_alone_and_bounded() {
        let count = |body| part(StagedLedgerPartKind::ScanStateBase, body).tree_count();
        assert_eq!(count(&[2, 0, 0x0b]), Ok(2));
        assert_eq!(count(&[64]), Ok(64));
        assert!(matches!(count(&[65]), Err(DecodeError::OutOfRange { value: 65, .. })));
        // A number below zero is the UInt32 of its bits.
        assert!(matches!(count(&[0xff, 0xff]), Err(DecodeError::OutOfRange { value: 0xffff_ffff, .. })));
        assert!(matches!(count(&[]), Err(DecodeError::UnexpectedEnd { .. })));
        assert!(part(StagedLedgerPartKind::Base, &[2]).tree_count().is_err());
    }

    #[test]
    fn a_part_of_the_greatest_length_fits_the_channel() {
        let message =
            StreamingRpcMessage::Response { id: u64::MAX, part: Some(part(StagedLedgerPartKind::ScanStateTree, &[])) };
        assert_eq!(message.encode().len(), MAX_STREAMING_RESPONSE_HEAD_LEN);
        assert_eq!(
            MAX_STREAMING_RESPONSE_HEAD_LEN + MAX_STAGED_LEDGER_PART_LEN,
            Channel::StreamingRpc.max_frame_len() as usize
        );
        let request = StreamingRpcMessage::Request { id: u64::MAX, block: StateHash([7; 32]) };
        assert_eq!(request.encode().len(), MAX_STREAMING_REQUEST_LEN);
    }
}
