//! Compact blocks (channel 17): a block's header, and what rebuilds its body from the receiver's own pools. Only between nodes
//! that announced [`Capabilities::COMPACT_BLOCKS`](super::Capabilities::COMPACT_BLOCKS).
//!
//! The messages only; what they mean is in docs/SPEC.md, "Compact blocks". Headers and items are opaque here.

use std::fmt;

use bytes::Bytes;

use super::{Frame, Opaque, TAG_LEN, small};
use crate::binprot::{Binprot, DecodeError, Decoded, Reader, Writer, nat0_len};
use crate::hash::{BlockKey, ItemsRoot, StateHash};

/// The most bytes of a block's header. Mainnet's have 12.7 KB; a chain with delta proofs adds 32 bytes for each of up to
/// `delta` slots.
pub const MAX_HEADER_LEN: usize = 32 * 1024;
/// The most items of a block that travels compactly. A block of mainnet has at most 128 works and 128 commands; this is 32
/// times as many, and their short ids (48 KiB) fit a direct permit. A block with more travels whole.
pub const MAX_COMPACT_ITEMS: usize = 8192;
/// The most bytes of one item: a transaction's limit, which is above a work's.
pub const MAX_ITEM_LEN: usize = super::MAX_TRANSACTION_LEN;
/// The most bytes of a message of the channel, whatever a permit says: the header, 6 bytes an item, and room for statuses and
/// prefilled items.
pub const MAX_COMPACT_LEN: usize = 1024 * 1024;
/// The most bytes of a permit, or of a change of one: tag, number, length.
pub const MAX_COMPACT_PERMIT_LEN: usize = TAG_LEN + nat0_len(u64::MAX) + nat0_len(u32::MAX as u64);
/// The most bytes of an announcement: tag, key, height, two optional hashes.
pub const MAX_ANNOUNCEMENT_LEN: usize = TAG_LEN + 32 + nat0_len(u32::MAX as u64) + 2 * (TAG_LEN + 32);
/// The bytes of a short id.
pub const SHORT_ID_LEN: usize = 6;

/// A short id: the low 48 bits of SipHash-2-4 of an item's id, little-endian.
pub type ShortId = [u8; SHORT_ID_LEN];

/// What rebuilds a body from the receiver's pools.
#[derive(Clone, PartialEq, Eq)]
pub struct ItemList {
    /// With the header, the key of the short ids.
    pub nonce: [u8; 8],
    /// Commits to all items, in block order.
    pub root: ItemsRoot,
    /// The body without its items: lengths, statuses, coinbase, internal statuses.
    pub skeleton: Bytes,
    /// Of each item that is not prefilled, in block order.
    pub short_ids: Vec<ShortId>,
    /// Items that the receiver probably lacks, each with its place in block order, places rising.
    pub prefilled: Vec<(u32, Bytes)>,
}

impl ItemList {
    /// How many items the body has, as far as this list is true.
    #[must_use]
    pub fn items(&self) -> usize {
        self.short_ids.len().saturating_add(self.prefilled.len())
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let nonce = reader.array("short id nonce")?;
        let root = ItemsRoot::read(reader)?;
        let skeleton = reader.byte_string(MAX_COMPACT_LEN, "skeleton")?;
        let count = reader.list_len(MAX_COMPACT_ITEMS, "short ids")?;
        // Grows as the bytes are there.
        let ids = reader.take(count.saturating_mul(SHORT_ID_LEN) as u64, "short ids")?;
        let short_ids = ids.as_chunks::<SHORT_ID_LEN>().0.to_vec();
        let offset = reader.position();
        let prefilled_count = reader.list_len(MAX_COMPACT_ITEMS, "prefilled items")?;
        if count.saturating_add(prefilled_count) > MAX_COMPACT_ITEMS {
            let len = count.saturating_add(prefilled_count) as u64;
            return Err(DecodeError::TooLong { offset, what: "items", len, max: MAX_COMPACT_ITEMS as u64 });
        }
        let total = count.saturating_add(prefilled_count);
        let mut prefilled = Vec::new();
        let mut places = Places::new(total);
        for _ in 0..prefilled_count {
            let place = places.read(reader, "prefilled place")?;
            prefilled.push((place, reader.byte_string(MAX_ITEM_LEN, "prefilled item")?));
        }
        Ok(Self { nonce, root, skeleton, short_ids, prefilled })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.raw(&self.nonce);
        self.root.write(writer);
        writer.byte_string(&self.skeleton);
        writer.nat0(self.short_ids.len() as u64);
        self.short_ids.iter().for_each(|id| writer.raw(id));
        writer.nat0(self.prefilled.len() as u64);
        let mut places = Places::new(self.items());
        for (place, item) in &self.prefilled {
            places.write(writer, *place);
            writer.byte_string(item);
        }
    }
}

impl fmt::Debug for ItemList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemList")
            .field("root", &self.root)
            .field("skeleton", &Opaque(&self.skeleton))
            .field("short_ids", &self.short_ids.len())
            .field("prefilled", &self.prefilled.len())
            .finish_non_exhaustive()
    }
}

/// Rising places, each written as the number of places that were left out before it.
struct Places {
    next: u64,
    count: u64,
}

impl Places {
    fn new(count: usize) -> Self {
        Self { next: 0, count: count as u64 }
    }

    fn read(&mut self, reader: &mut Reader, what: &'static str) -> Result<u32, DecodeError> {
        let offset = reader.position();
        let gap = reader.nat0(what)?;
        let place = self.next.checked_add(gap).filter(|place| *place < self.count);
        let Some(place) = place else {
            return Err(DecodeError::Invalid { offset, what, reason: "behind the last item" });
        };
        self.next = place.saturating_add(1);
        Ok(u32::try_from(place).unwrap_or(u32::MAX))
    }

    fn write(&mut self, writer: &mut Writer, place: u32) {
        writer.nat0(u64::from(place).saturating_sub(self.next));
        self.next = u64::from(place).saturating_add(1);
    }
}

/// A message of channel 17.
#[derive(Clone, PartialEq, Eq)]
pub enum CompactMessage {
    /// The puller's permit for news of one block. Permits are numbered from 0 by their order on the stream.
    Permit {
        /// The longest [`Header`](Self::Header), [`List`](Self::List) or [`Compact`](Self::Compact) to send at once, in bytes of
        /// the message's body; 0 permits an [`Announce`](Self::Announce) only, which is always permitted.
        max_len: u32,
    },
    /// The puller changes what a permit is for. Ignored if that permit is used already.
    Change {
        /// The permit's number.
        permit: u64,
        /// As in [`Permit`](Self::Permit).
        max_len: u32,
    },
    /// There is a block: pull it.
    Announce(Announcement),
    /// A block's header; its sender has not verified the body yet.
    Header(Bytes),
    /// The rest of a block whose [`Header`](Self::Header) went before: its sender has verified the body meanwhile.
    List {
        /// The block.
        key: BlockKey,
        /// The rest.
        list: ItemList,
    },
    /// A block's header and the rest; its sender has verified the body.
    Compact {
        /// The header.
        header: Bytes,
        /// The rest.
        list: ItemList,
    },
}

/// What is told of a block at the least. All of it is a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// The block's name.
    pub key: BlockKey,
    /// Its height.
    pub height: u32,
    /// Its state hash, where the sender's user has told it.
    pub state_hash: Option<StateHash>,
    /// Its items root, once the sender has verified the body. Without it only the header can be pulled.
    pub root: Option<ItemsRoot>,
}

impl Announcement {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            key: BlockKey::read(reader)?,
            height: super::extension_rpc::read_u32(reader, "height")?,
            state_hash: if reader.option("state hash")? { Some(StateHash::read(reader)?) } else { None },
            root: if reader.option("items root")? { Some(ItemsRoot::read(reader)?) } else { None },
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.key.write(writer);
        writer.nat0(self.height.into());
        writer.option(self.state_hash.is_some());
        if let Some(hash) = &self.state_hash {
            hash.write(writer);
        }
        writer.option(self.root.is_some());
        if let Some(root) = &self.root {
            root.write(writer);
        }
    }
}

impl CompactMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            Ok(match reader.tag(6, "compact block message")? {
                0 => Self::Permit { max_len: super::extension_rpc::read_u32(reader, "permitted length")? },
                1 => Self::Change {
                    permit: reader.nat0("permit")?,
                    max_len: super::extension_rpc::read_u32(reader, "permitted length")?,
                },
                2 => Self::Announce(Announcement::read(reader)?),
                3 => Self::Header(reader.byte_string(MAX_HEADER_LEN, "header")?),
                4 => Self::List { key: BlockKey::read(reader)?, list: ItemList::read(reader)? },
                _ => Self::Compact {
                    header: reader.byte_string(MAX_HEADER_LEN, "header")?,
                    list: ItemList::read(reader)?,
                },
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        small(|writer| match self {
            Self::Permit { max_len } => {
                writer.byte(0);
                writer.nat0((*max_len).into());
            }
            Self::Change { permit, max_len } => {
                writer.byte(1);
                writer.nat0(*permit);
                writer.nat0((*max_len).into());
            }
            Self::Announce(announcement) => {
                writer.byte(2);
                announcement.write(writer);
            }
            Self::Header(header) => {
                writer.byte(3);
                writer.byte_string(header);
            }
            Self::List { key, list } => {
                writer.byte(4);
                key.write(writer);
                list.write(writer);
            }
            Self::Compact { header, list } => {
                writer.byte(5);
                writer.byte_string(header);
                list.write(writer);
            }
        })
    }
}

impl fmt::Debug for CompactMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit { max_len } => f.debug_struct("Permit").field("max_len", max_len).finish(),
            Self::Change { permit, max_len } => {
                f.debug_struct("Change").field("permit", permit).field("max_len", max_len).finish()
            }
            Self::Announce(announcement) => f.debug_tuple("Announce").field(announcement).finish(),
            Self::Header(header) => f.debug_tuple("Header").field(&Opaque(header)).finish(),
            Self::List { key, list } => f.debug_struct("List").field("key", key).field("list", list).finish(),
            Self::Compact { header, list } => {
                f.debug_struct("Compact").field("header", &Opaque(header)).field("list", list).finish()
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::message) fn list() -> ItemList {
        ItemList {
            nonce: [1; 8],
            root: ItemsRoot([2; 32]),
            skeleton: Bytes::from_static(&[0; 9]),
            short_ids: vec![[3; 6], [4; 6], [5; 6]],
            prefilled: vec![(0, Bytes::from_static(b"first")), (2, Bytes::from_static(b"third"))],
        }
    }

    #[test]
    fn a_permit_and_an_announcement_are_as_long_as_their_limits_say() {
        let change = CompactMessage::Change { permit: u64::MAX, max_len: u32::MAX };
        assert_eq!(change.encode().len(), MAX_COMPACT_PERMIT_LEN);
        let announcement = Announcement {
            key: BlockKey([1; 32]),
            height: u32::MAX,
            state_hash: Some(StateHash([2; 32])),
            root: Some(ItemsRoot([3; 32])),
        };
        assert_eq!(CompactMessage::Announce(announcement).encode().len(), MAX_ANNOUNCEMENT_LEN);
    }

    #[test]
    fn places_behind_the_last_item_and_more_items_than_allowed_are_refused() {
        let mut wrong = list();
        wrong.prefilled[1].0 = 5;
        let error =
            CompactMessage::decode(CompactMessage::List { key: BlockKey([9; 32]), list: wrong }.encode().into_bytes())
                .unwrap_err();
        assert!(matches!(error, DecodeError::Invalid { what: "prefilled place", .. }));

        for count in [MAX_COMPACT_ITEMS as u64 + 1, 65_536, u64::from(u32::MAX), u64::MAX] {
            let bytes = small(|writer| {
                writer.byte(4);
                writer.raw(&[0; 32 + 40]);
                writer.byte_string(&[]);
                writer.nat0(count);
            });
            let error = CompactMessage::decode(bytes.into_bytes()).unwrap_err();
            assert!(matches!(error, DecodeError::TooLong { what: "short ids", .. }), "{error}");
        }
    }
}
