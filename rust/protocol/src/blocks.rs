//! The last blocks that our user gave or accepted: what is relayed, what answers questions about blocks, and, for a while,
//! where items are found that have left the pools.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use mina_p2p_block::{Header, ItemKind, KnownBlock, PoolItem};
use mina_p2p_wire::message::{BlockKey, ItemId, StateHash};

use crate::pools::Tip;

/// How many blocks are kept.
pub const BLOCKS_MAX: usize = 16;
/// How many bytes of blocks are kept; the newest and the tip are kept whatever their size. 16 blocks of the largest seen on mainnet
/// (3.04 MB) make 49 MB.
pub const BLOCKS_BYTES: usize = 64 * 1024 * 1024;

/// One of the last blocks.
#[derive(Clone, Debug)]
pub struct StoredBlock {
    /// Grows with each block. A peer is told of blocks by a cursor.
    pub(crate) index: u64,
    /// Its name.
    pub key: BlockKey,
    /// Its state hash, as our user says.
    pub state_hash: Option<StateHash>,
    /// As much of it as there is.
    pub content: Content,
}

/// As much of a block as there is.
#[derive(Clone, Debug)]
pub enum Content {
    /// An accepted header, whose body is not verified yet.
    Header {
        /// Its bytes.
        bytes: Bytes,
        /// What it says.
        header: Header,
    },
    /// All of it, verified.
    Known {
        /// The block.
        block: Arc<KnownBlock>,
        /// The places of the items that we lacked ourselves when we rebuilt it, rising.
        lacked: Arc<[u32]>,
    },
    /// Bytes that our user calls a block. They travel whole.
    Opaque(Bytes),
}

impl StoredBlock {
    /// The block's bytes, if all are here.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Header { .. } => None,
            Content::Known { block, .. } => Some(&block.bytes),
            Content::Opaque(bytes) => Some(bytes),
        }
    }

    fn len(&self) -> usize {
        match &self.content {
            Content::Header { bytes, .. } | Content::Opaque(bytes) => bytes.len(),
            Content::Known { block, .. } => block.bytes.len(),
        }
    }
}

/// The last [`BLOCKS_MAX`] blocks, at most [`BLOCKS_BYTES`] of them, and the tip among them.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    entries: VecDeque<StoredBlock>,
    next_index: u64,
    /// Our best tip, which new peers are told of: it stays.
    tip: Option<BlockKey>,
    /// Where the items of known blocks are: the newest block with each, and the place in it.
    items: BTreeMap<ItemId, (BlockKey, u32)>,
}

impl Blocks {
    /// Finds a block by its name.
    #[must_use]
    pub fn get(&self, key: &BlockKey) -> Option<&StoredBlock> {
        self.entries.iter().find(|entry| entry.key == *key)
    }

    /// Finds a block that is verified.
    #[must_use]
    pub fn known(&self, key: &BlockKey) -> Option<&Arc<KnownBlock>> {
        match &self.get(key)?.content {
            Content::Known { block, .. } => Some(block),
            Content::Header { .. } | Content::Opaque(_) => None,
        }
    }

    /// Finds a block by its state hash.
    #[must_use]
    pub fn by_state_hash(&self, hash: &StateHash) -> Option<&StoredBlock> {
        self.entries.iter().find(|entry| entry.state_hash.as_ref() == Some(hash) && entry.bytes().is_some())
    }

    /// Keeps a block of our user's.
    pub fn add_block(&mut self, tip: &Tip) {
        let content = match &tip.known {
            Some(block) => Content::Known { block: Arc::clone(block), lacked: Arc::new([]) },
            None => Content::Opaque(tip.block.clone()),
        };
        self.put(tip.key, Some(tip.state_hash), content);
    }

    /// Keeps a block as our best tip: it stays, whatever comes after it.
    pub(crate) fn set_tip(&mut self, tip: &Tip) {
        self.tip = Some(tip.key);
        self.add_block(tip);
    }

    /// Keeps a block, or more of one that is here. What is here is never replaced by less.
    pub(crate) fn put(&mut self, key: BlockKey, state_hash: Option<StateHash>, content: Content) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.state_hash = state_hash.or(entry.state_hash);
            if matches!(entry.content, Content::Known { .. }) || matches!(content, Content::Header { .. }) {
                return;
            }
            entry.content = content;
        } else {
            self.entries.push_back(StoredBlock { index: self.next_index, key, state_hash, content });
            self.next_index += 1;
        }
        let found = self.entries.iter().find(|entry| entry.key == key);
        if let Some(Content::Known { block, .. }) = found.map(|entry| &entry.content) {
            self.items.extend(block.ids.iter().zip(0..).map(|(id, place)| (*id, (key, place))));
        }
        let mut bytes: usize = self.entries.iter().map(StoredBlock::len).sum();
        while self.entries.len() > BLOCKS_MAX || bytes > BLOCKS_BYTES {
            let older = self.entries.len().saturating_sub(1);
            let oldest = self.entries.iter().take(older).position(|entry| Some(entry.key) != self.tip);
            let Some(oldest) = oldest.and_then(|at| self.entries.remove(at)) else { break };
            bytes -= oldest.len();
            self.forget(&oldest);
        }
    }

    /// Says what the state hash of a block is.
    pub(crate) fn name(&mut self, key: &BlockKey, state_hash: StateHash) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == *key) {
            entry.state_hash = Some(state_hash);
        }
    }

    pub(crate) fn remove(&mut self, key: &BlockKey) {
        if let Some(at) = self.entries.iter().position(|entry| entry.key == *key)
            && let Some(entry) = self.entries.remove(at)
        {
            self.forget(&entry);
        }
    }

    fn forget(&mut self, entry: &StoredBlock) {
        let Content::Known { block, .. } = &entry.content else { return };
        for id in &block.ids {
            if self.items.get(id).is_some_and(|(key, _)| *key == entry.key) {
                self.items.remove(id);
            }
        }
    }

    /// The blocks at an index and after, oldest first.
    pub(crate) fn since(&self, cursor: u64) -> impl Iterator<Item = &StoredBlock> {
        self.entries.iter().filter(move |entry| entry.index >= cursor)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &ItemId> {
        self.items.keys()
    }

    pub(crate) fn item(&self, id: &ItemId) -> Option<PoolItem> {
        let (key, place) = self.items.get(id)?;
        let Content::Known { block, .. } = &self.get(key)?.content else { return None };
        let item = block.layout.items.get(*place as usize)?;
        let bytes = block.bytes.get(item.range.clone()).map(|slice| block.bytes.slice_ref(slice))?;
        Some(PoolItem { id: *id, parts: [bytes, Bytes::new()], is_work: item.kind == ItemKind::Work })
    }
}
