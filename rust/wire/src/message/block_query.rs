//! Questions about a block, each a call by name on the extension channel (16), and their answers. Only between nodes that announced
//! [`Capabilities::COMPACT_BLOCKS`](super::Capabilities::COMPACT_BLOCKS).

use std::fmt;

use bytes::Bytes;

use super::Opaque;
use super::compact::{ItemList, MAX_COMPACT_ITEMS, MAX_HEADER_LEN, MAX_ITEM_LEN};
use super::extension_rpc::read_u32;
use crate::binprot::{Binprot, DecodeError, Decoded, Reader, Writer, nat0_len};
use crate::hash::{BlockKey, ItemId, ItemsRoot};

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
                _ => Self::Chunk { key, index: read_u32(reader, "chunk")? },
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
    use super::super::compact::tests::list;
    use super::*;

    #[test]
    fn the_longest_query_is_as_long_as_its_limit_says() {
        let places = (0..MAX_COMPACT_ITEMS as u32).collect();
        let query = BlockQuery::Items { key: BlockKey([0; 32]), root: ItemsRoot([0; 32]), places };
        assert_eq!(query.encode().len(), BlockQuery::MAX_LEN);
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
