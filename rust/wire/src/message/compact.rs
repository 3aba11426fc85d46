//! Compact blocks (channel 17): a block's header, and what rebuilds its body from the receiver's own pools. Only between nodes
//! that announced [`Capabilities::COMPACT_BLOCKS`](super::Capabilities::COMPACT_BLOCKS).
//!
//! The messages only; what they mean is in docs/SPEC.md, "Compact blocks". Headers and items are opaque here.

use std::fmt;

use bytes::Bytes;

use super::{Frame, Opaque, TAG_LEN, small};
use crate::binprot::{Binprot, DecodeError, Decoded, Reader, Writer, nat0_len};
use crate::hash::{BlockKey, ItemId, ItemsRoot, StateHash};

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

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
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

    fn write(&self, writer: &mut Writer) {
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

/// What is asked about one block, each by an RPC of its own on the extension channel: [`BlockQuery::method`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockQuery {
    /// Its header and item list.
    Compact {
        /// The block.
        key: BlockKey,
        /// Whether the header is wanted too.
        with_header: bool,
    },
    /// Some of its items, with a proof.
    Items {
        /// The block.
        key: BlockKey,
        /// The items root that the proof must lead to.
        root: ItemsRoot,
        /// Which, by their places in block order, rising; at least one.
        places: Vec<u32>,
    },
    /// The ids of all its items.
    Ids {
        /// The block.
        key: BlockKey,
        /// The items root that they must have.
        root: ItemsRoot,
    },
    /// A chunk of its body, as the body reference commits to it.
    Chunk {
        /// The block.
        key: BlockKey,
        /// 0 is the root chunk, with the links to the others.
        index: u32,
    },
}

impl BlockQuery {
    /// The version of all these RPCs.
    pub const VERSION: u32 = 1;
    /// The names of the RPCs, in the order of the variants.
    pub const METHODS: [&'static str; 4] =
        ["mina-p2p/compact", "mina-p2p/items", "mina-p2p/item-ids", "mina-p2p/body-chunk"];
    /// The most bytes of a query: key, root, and a bit for each item, with the length of the string of bits.
    pub const MAX_LEN: usize = 32 + 32 + nat0_len(MAX_COMPACT_ITEMS as u64 / 8) + MAX_COMPACT_ITEMS / 8;

    /// The name of its RPC.
    #[must_use]
    pub fn method(&self) -> &'static str {
        let [compact, items, ids, chunk] = Self::METHODS;
        match self {
            Self::Compact { .. } => compact,
            Self::Items { .. } => items,
            Self::Ids { .. } => ids,
            Self::Chunk { .. } => chunk,
        }
    }

    /// The block that it is about.
    #[must_use]
    pub fn key(&self) -> BlockKey {
        match self {
            Self::Compact { key, .. } | Self::Items { key, .. } | Self::Ids { key, .. } | Self::Chunk { key, .. } => {
                *key
            }
        }
    }

    /// Reads the query of the RPC `method`; `None` if that is none of these.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are no query of that RPC, spelled canonically, with nothing behind.
    pub fn decode(method: &str, body: Bytes) -> Option<Result<Self, DecodeError>> {
        let kind = Self::METHODS.iter().position(|name| *name == method)?;
        Some(exact(body, |reader| {
            let key = BlockKey::read(reader)?;
            Ok(match kind {
                0 => Self::Compact { key, with_header: reader.bool("with header")? },
                1 => Self::Items { key, root: ItemsRoot::read(reader)?, places: read_places(reader)? },
                2 => Self::Ids { key, root: ItemsRoot::read(reader)? },
                _ => Self::Chunk { key, index: super::extension_rpc::read_u32(reader, "chunk")? },
            })
        }))
    }

    /// The query's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        self.key().write(&mut writer);
        match self {
            Self::Compact { with_header, .. } => writer.bool(*with_header),
            Self::Items { root, places, .. } => {
                root.write(&mut writer);
                writer.byte_string(&place_bits(places));
            }
            Self::Ids { root, .. } => root.write(&mut writer),
            Self::Chunk { index, .. } => writer.nat0((*index).into()),
        }
        writer.finish()
    }
}

/// Places as bits, the lowest of the first byte first, up to the last that is set: so they have one spelling.
fn place_bits(places: &[u32]) -> Vec<u8> {
    let len = places.last().map_or(0, |last| *last as usize / 8 + 1).min(MAX_COMPACT_ITEMS / 8);
    let mut bits = vec![0_u8; len];
    for place in places {
        if let Some(byte) = bits.get_mut(*place as usize / 8) {
            *byte |= 1 << (place % 8);
        }
    }
    bits
}

fn read_places(reader: &mut Reader) -> Result<Vec<u32>, DecodeError> {
    let what = "places";
    let offset = reader.position();
    let bits = reader.byte_string(MAX_COMPACT_ITEMS / 8, what)?;
    match bits.last() {
        None => return Err(DecodeError::Invalid { offset, what, reason: "none" }),
        Some(0) => return Err(DecodeError::Invalid { offset, what, reason: "the last byte is 0" }),
        Some(_) => {}
    }
    let places = (0_u32..).zip(bits.iter()).flat_map(|(at, byte)| {
        (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at.saturating_mul(8).saturating_add(bit))
    });
    Ok(places.collect())
}

/// The answer to a [`BlockQuery`].
#[derive(Clone, PartialEq, Eq)]
pub enum BlockAnswer {
    /// The block, or its body, is not here (any more, or yet).
    NotHere,
    /// Its items have another root here.
    OtherRoot,
    /// To `Compact`: the header; the body is not verified here yet.
    Header(Bytes),
    /// To `Compact`: the rest, and the header if it was asked for.
    Compact {
        /// The header.
        header: Option<Bytes>,
        /// The rest.
        list: ItemList,
    },
    /// To `Items`: the first of those asked for, as many as fit, at least one.
    Items {
        /// The items, in the order asked.
        items: Vec<Bytes>,
        /// The hashes that lead from them to the root.
        proof: Vec<[u8; 32]>,
    },
    /// To `Ids`: the ids of all items in block order.
    Ids(Vec<ItemId>),
    /// To `Chunk`: the chunk.
    Chunk(Bytes),
}

impl BlockAnswer {
    /// The bytes of an answer beside what it carries: tags, counts.
    pub const MAX_HEAD_LEN: usize = 32;
    /// The most bytes of any answer: all items of the largest block seen on mainnet (3.04 MB), with room. An answer is a copy,
    /// and one to each peer may be on its way.
    pub const MAX_LEN: usize = 4 * 1024 * 1024;

    /// Reads the answer.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are no answer, spelled canonically, with nothing behind.
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        exact(body, |reader| {
            Ok(match reader.tag(7, "answer about a block")? {
                0 => Self::NotHere,
                1 => Self::OtherRoot,
                2 => Self::Header(reader.byte_string(MAX_HEADER_LEN, "header")?),
                3 => Self::Compact {
                    header: if reader.option("header")? {
                        Some(reader.byte_string(MAX_HEADER_LEN, "header")?)
                    } else {
                        None
                    },
                    list: ItemList::read(reader)?,
                },
                4 => {
                    let count = reader.list_len(MAX_COMPACT_ITEMS, "items")?;
                    let mut items = Vec::new();
                    for _ in 0..count {
                        items.push(reader.byte_string(MAX_ITEM_LEN, "item")?);
                    }
                    Self::Items { items, proof: read_hashes(reader, "proof")? }
                }
                5 => Self::Ids(read_hashes(reader, "item ids")?.into_iter().map(ItemId).collect()),
                _ => Self::Chunk(reader.rest()),
            })
        })
    }

    /// The answer's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        match self {
            Self::NotHere => writer.byte(0),
            Self::OtherRoot => writer.byte(1),
            Self::Header(header) => {
                writer.byte(2);
                writer.byte_string(header);
            }
            Self::Compact { header, list } => {
                writer.byte(3);
                writer.option(header.is_some());
                if let Some(header) = header {
                    writer.byte_string(header);
                }
                list.write(&mut writer);
            }
            Self::Items { items, proof } => {
                writer.byte(4);
                writer.nat0(items.len() as u64);
                items.iter().for_each(|item| writer.byte_string(item));
                write_hashes(&mut writer, proof.iter());
            }
            Self::Ids(ids) => {
                writer.byte(5);
                write_hashes(&mut writer, ids.iter().map(|id| &id.0));
            }
            Self::Chunk(chunk) => {
                writer.byte(6);
                writer.raw(chunk);
            }
        }
        writer.finish()
    }
}

impl fmt::Debug for BlockAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHere => f.write_str("NotHere"),
            Self::OtherRoot => f.write_str("OtherRoot"),
            Self::Header(header) => f.debug_tuple("Header").field(&Opaque(header)).finish(),
            Self::Compact { list, .. } => f.debug_tuple("Compact").field(list).finish(),
            Self::Items { items, proof } => {
                f.debug_struct("Items").field("items", &items.len()).field("proof", &proof.len()).finish()
            }
            Self::Ids(ids) => f.debug_tuple("Ids").field(&ids.len()).finish(),
            Self::Chunk(chunk) => f.debug_tuple("Chunk").field(&Opaque(chunk)).finish(),
        }
    }
}

/// A list of hashes. A proof has at most as many as there are items.
fn read_hashes(reader: &mut Reader, what: &'static str) -> Result<Vec<[u8; 32]>, DecodeError> {
    let count = reader.list_len(MAX_COMPACT_ITEMS, what)?;
    let hashes = reader.take(count.saturating_mul(32) as u64, what)?;
    Ok(hashes.as_chunks::<32>().0.to_vec())
}

fn write_hashes<'a>(writer: &mut Writer, hashes: impl ExactSizeIterator<Item = &'a [u8; 32]>) {
    writer.nat0(hashes.len() as u64);
    hashes.for_each(|hash| writer.raw(hash));
}

fn exact<T>(body: Bytes, read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut offset = 0;
    let decoded = Decoded::read(body, |reader| {
        let value = read(reader)?;
        offset = reader.position();
        Ok(value)
    })?;
    if decoded.trailing > 0 {
        return Err(DecodeError::TrailingBytes { offset, count: decoded.trailing });
    }
    if !decoded.canonical {
        return Err(DecodeError::Invalid { offset: 0, what: "compact blocks", reason: "a number is not canonical" });
    }
    Ok(decoded.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ItemList {
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
        let places = (0..MAX_COMPACT_ITEMS as u32).collect();
        let query = BlockQuery::Items { key: BlockKey([0; 32]), root: ItemsRoot([0; 32]), places };
        assert_eq!(query.encode().len(), BlockQuery::MAX_LEN);
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

    #[test]
    fn queries_and_answers_come_back() {
        let (key, root) = (BlockKey([7; 32]), ItemsRoot([8; 32]));
        for query in [
            BlockQuery::Compact { key, with_header: true },
            BlockQuery::Items { key, root, places: vec![0, 1, 2, 5, 8190, 8191] },
            BlockQuery::Ids { key, root },
            BlockQuery::Chunk { key, index: 300 },
        ] {
            assert_eq!(BlockQuery::decode(query.method(), query.encode()), Some(Ok(query)));
        }
        assert_eq!(BlockQuery::decode("another", Bytes::new()), None);
        for answer in [
            BlockAnswer::NotHere,
            BlockAnswer::OtherRoot,
            BlockAnswer::Header(Bytes::from_static(b"header")),
            BlockAnswer::Compact { header: Some(Bytes::from_static(b"header")), list: list() },
            BlockAnswer::Compact { header: None, list: list() },
            BlockAnswer::Items { items: vec![Bytes::from_static(b"item")], proof: vec![[1; 32]; 3] },
            BlockAnswer::Ids(vec![ItemId([4; 32]); 2]),
            BlockAnswer::Chunk(Bytes::from_static(b"chunk")),
        ] {
            assert_eq!(BlockAnswer::decode(answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn a_query_with_bytes_behind_or_with_a_long_number_is_refused() {
        let query = BlockQuery::Chunk { key: BlockKey([7; 32]), index: 3 };
        let mut bytes = query.encode().to_vec();
        bytes.push(0);
        assert!(BlockQuery::decode(query.method(), bytes.into()).unwrap().is_err());
        let long = [&[7; 32][..], &[0xfe, 3, 0]].concat();
        assert!(BlockQuery::decode(query.method(), long.into()).unwrap().is_err());
    }
}
