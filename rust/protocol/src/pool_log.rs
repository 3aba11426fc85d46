//! Append-only logs of pool items, from which peers are served by a cursor.

use std::collections::BTreeMap;

use bytes::Bytes;
use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::ItemId;

/// The most that one log holds, in bytes as [`PoolLog::bytes`] counts them: 128 MiB.
pub const POOL_LOG_BYTES: usize = 128 * 1024 * 1024;

/// The most items that one log holds.
pub const POOL_LOG_ITEMS: usize = 16_384;

/// What an entry weighs beside its body and its info: three tree slots, its id once more, and the bookkeeping of a shared
/// buffer.
const ENTRY_OVERHEAD: usize = 240;

/// An item of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<K, V> {
    /// The item's id.
    pub key: K,
    /// What peers are told of it.
    pub info: V,
    /// The item itself, opaque; empty for a commitment, which its info tells whole.
    pub body: Bytes,
    /// The item's name within compact blocks, if it is one that a block can carry.
    pub id: Option<ItemId>,
    /// The peer that the item came from, to whom it need not be offered.
    pub source: Option<PeerId>,
}

/// What an insertion did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The key was new.
    Added,
    /// The key had another info or body; the item is at the end of the log now, and offered again.
    Updated,
    /// The same item was there. Nothing was done.
    Unchanged,
    /// The item alone is larger than the log may be. Nothing was done.
    TooLarge,
}

/// A log of pool items, each at an index that only grows. A peer is served by a cursor, an index below which it was
/// offered everything: what is updated gets a new index, what is removed leaves a hole. At most [`POOL_LOG_ITEMS`]
/// items and [`POOL_LOG_BYTES`] bytes: the oldest give way.
#[derive(Clone, Debug)]
pub struct PoolLog<K, V> {
    entries: BTreeMap<u64, Entry<K, V>>,
    by_key: BTreeMap<K, u64>,
    by_id: BTreeMap<ItemId, u64>,
    next_index: u64,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
}

impl<K: Ord + Clone, V: PartialEq> Default for PoolLog<K, V> {
    fn default() -> PoolLog<K, V> {
        PoolLog::with_limits(POOL_LOG_ITEMS, POOL_LOG_BYTES)
    }
}

impl<K: Ord + Clone, V: PartialEq> PoolLog<K, V> {
    /// An empty log of other limits than the default ones.
    #[must_use]
    pub fn with_limits(max_items: usize, max_bytes: usize) -> PoolLog<K, V> {
        PoolLog {
            entries: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_id: BTreeMap::new(),
            next_index: 0,
            bytes: 0,
            max_items,
            max_bytes,
        }
    }

    /// Appends an item that no block can carry, as [`PoolLog::insert_item`] does.
    pub fn insert(&mut self, key: K, info: V, body: Bytes, source: Option<PeerId>) -> Change {
        self.insert_item(key, info, body, None, source)
    }

    /// Appends an item; one of the same key gives way to it. `id` is that of its canonical bytes as a block carries them.
    pub fn insert_item(&mut self, key: K, info: V, body: Bytes, id: Option<ItemId>, source: Option<PeerId>) -> Change {
        let weight = Self::weight_of(&body);
        if weight > self.max_bytes || self.max_items == 0 {
            return Change::TooLarge;
        }
        if self.get(&key).is_some_and(|entry| entry.info == info && entry.body == body) {
            return Change::Unchanged;
        }
        let change = if self.remove(&key).is_some() { Change::Updated } else { Change::Added };
        while self.entries.len() >= self.max_items || self.bytes + weight > self.max_bytes {
            let Some((index, oldest)) = self.entries.pop_first() else { break };
            self.by_key.remove(&oldest.key);
            self.forget(index, &oldest);
        }
        self.by_key.insert(key.clone(), self.next_index);
        if let Some(id) = id {
            self.by_id.insert(id, self.next_index);
        }
        self.entries.insert(self.next_index, Entry { key, info, body, id, source });
        self.next_index += 1;
        self.bytes += weight;
        change
    }

    /// Removes an item, if it is there.
    pub fn remove(&mut self, key: &K) -> Option<Entry<K, V>> {
        let index = self.by_key.remove(key)?;
        let entry = self.entries.remove(&index)?;
        self.forget(index, &entry);
        Some(entry)
    }

    fn forget(&mut self, index: u64, entry: &Entry<K, V>) {
        self.bytes -= Self::weight_of(&entry.body);
        // Should a caller have put one item under two keys, the later one is found.
        if let Some(id) = &entry.id
            && self.by_id.get(id) == Some(&index)
        {
            self.by_id.remove(id);
        }
    }

    /// Finds an item.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Entry<K, V>> {
        self.entries.get(self.by_key.get(key)?)
    }

    /// Finds an item by its name within compact blocks, with its index.
    #[must_use]
    pub fn by_id(&self, id: &ItemId) -> Option<(u64, &Entry<K, V>)> {
        let index = self.by_id.get(id)?;
        Some((*index, self.entries.get(index)?))
    }

    /// The names within compact blocks of all items that have one.
    pub fn ids(&self) -> impl Iterator<Item = &ItemId> {
        self.by_id.keys()
    }

    /// Whether the item is there and says the same.
    #[must_use]
    pub fn has(&self, key: &K, info: &V) -> bool {
        self.get(key).is_some_and(|entry| entry.info == *info)
    }

    /// The items at `cursor` and after, oldest first, each with its index.
    pub fn since(&self, cursor: u64) -> impl Iterator<Item = (u64, &Entry<K, V>)> {
        self.entries.range(cursor..).map(|(index, entry)| (*index, entry))
    }

    /// All items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<K, V>> {
        self.entries.values()
    }

    /// The index that the next item gets: a cursor here has been offered everything.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the items weigh: bodies, infos, keys (twice, for they are found by them) and storage.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn weight_of(body: &Bytes) -> usize {
        body.len() + size_of::<Entry<K, V>>() + size_of::<K>() + ENTRY_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    fn keys(log: &PoolLog<u32, u32>, cursor: u64) -> Vec<u32> {
        log.since(cursor).map(|(_, entry)| entry.key).collect()
    }

    #[test]
    fn an_update_moves_to_the_end_and_a_removal_leaves_a_hole() {
        let mut log = PoolLog::default();
        for key in 0..4 {
            assert_eq!(log.insert(key, 0, body(1), None), Change::Added);
        }
        assert_eq!(log.insert(1, 0, body(1), None), Change::Unchanged);
        assert_eq!(log.insert(1, 9, body(1), None), Change::Updated);
        assert!(log.remove(&2).is_some());
        assert!(log.remove(&2).is_none());
        assert_eq!(keys(&log, 0), [0, 3, 1]);
        assert_eq!(keys(&log, 4), [1]);
        assert_eq!(log.next_index(), 5);
        assert_eq!(log.get(&1).map(|entry| entry.info), Some(9));
    }

    #[test]
    fn the_oldest_give_way_to_count_and_to_bytes() {
        let mut log = PoolLog::with_limits(3, usize::MAX);
        for key in 0..5u32 {
            log.insert(key, 0u32, body(1), None);
        }
        assert_eq!(keys(&log, 0), [2, 3, 4]);
        assert!(log.get(&1).is_none());

        let one = PoolLog::<u32, u32>::weight_of(&body(100));
        let mut log = PoolLog::with_limits(usize::MAX, 2 * one);
        for key in 0..5u32 {
            log.insert(key, 0u32, body(100), None);
            assert!(log.bytes() <= 2 * one);
        }
        assert_eq!(keys(&log, 0), [3, 4]);
        assert_eq!(log.insert(9, 0, body(3 * one), None), Change::TooLarge);
        assert_eq!(keys(&log, 0), [3, 4]);
    }

    #[test]
    fn an_empty_log_weighs_nothing() {
        let mut log = PoolLog::default();
        for key in 0..100u32 {
            log.insert(key, key, body(key as usize), None);
            log.insert(key, key + 1, body(3), None);
        }
        for key in 0..100 {
            log.remove(&key);
        }
        assert_eq!((log.bytes(), log.len()), (0, 0));
        assert!(log.is_empty());
    }
}
