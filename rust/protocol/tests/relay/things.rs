//! Blocks, peers and pools to test with.

use bytes::Bytes;
use mina_p2p_block::generate::{PreDiff, Recipe, block, command, work};
use mina_p2p_block::{ItemKind, KnownBlock, compact, item_id};
use mina_p2p_protocol::News;
use mina_p2p_protocol::{Pools, Tip};
use mina_p2p_wire::message::{Announcement, ItemId, ItemList, SnarkInfo, StateHash, TransactionInfo};
use mina_p2p_wire::{BlockKey, CompressedPublicKey, JobId, PeerId, TransactionHash};

pub(crate) fn peer(number: u64) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(bytes)
}

/// A block of commands and works that differ from those of every other seed.
pub(crate) fn known(seed: u64, works: usize, commands: usize) -> KnownBlock {
    KnownBlock::of(block(&Recipe::counts(seed, works, commands, 0))).unwrap()
}

/// A block of the commands with these seeds, and the works with these.
pub(crate) fn known_of(seed: u64, works: &[u64], commands: &[u64]) -> KnownBlock {
    let first = PreDiff {
        works: works.iter().map(|seed| work(*seed)).collect(),
        commands: commands.iter().map(|seed| command(*seed)).collect(),
    };
    KnownBlock::of(block(&Recipe { seed, first, ..Recipe::default() })).unwrap()
}

/// What the user says is the block's state hash.
pub(crate) fn state_hash(key: &BlockKey) -> StateHash {
    StateHash(key.0)
}

pub(crate) fn tip(known: &KnownBlock) -> Tip {
    Tip::new(state_hash(&known.key), known.bytes.clone()).unwrap()
}

/// Puts an item of a block into the pools, as they carry it.
pub(crate) fn pool(pools: &mut Pools, known: &KnownBlock, place: usize, source: Option<PeerId>) {
    let bytes = known.item(place).unwrap();
    let id = known.ids[place];
    let is_work = known.layout.items[place].kind == ItemKind::Work;
    pool_item(pools, is_work, bytes, id, source);
}

/// Puts an item under any id: pools that lie.
pub(crate) fn pool_item(pools: &mut Pools, is_work: bool, bytes: Bytes, id: ItemId, source: Option<PeerId>) {
    let named = item_id(&bytes).0;
    let account = CompressedPublicKey { x: named, is_odd: false };
    if is_work {
        let mut job_id = [0; JobId::LEN];
        job_id[..32].copy_from_slice(&named);
        let info = SnarkInfo { job_id: JobId(job_id), fee: 1, prover: account };
        // The prover comes first in the pools, and last in blocks.
        let (rest, prover) = bytes.split_at(bytes.len() - CompressedPublicKey::LEN);
        let body = [prover, rest].concat();
        pools.works.insert_item(info.job_id, info, body.into(), Some(id), source);
    } else {
        let info = TransactionInfo { hash: TransactionHash(named), fee_payer: account, fee: 1, nonce: 1 };
        pools.transactions.insert_item(info.hash, info, bytes, Some(id), source);
    }
}

/// Puts the items of a block at which `which` says so into the pools.
pub(crate) fn fill(pools: &mut Pools, known: &KnownBlock, which: impl Fn(usize) -> bool) {
    (0..known.ids.len()).filter(|place| which(*place)).for_each(|place| pool(pools, known, place, None));
}

/// The list of a block with some items prefilled.
pub(crate) fn list(known: &KnownBlock, prefill: &[u32]) -> ItemList {
    compact(known, 1, prefill, usize::MAX).unwrap()
}

/// A block's header, without the rest.
pub(crate) fn header(known: &KnownBlock) -> News {
    header_with(known, None)
}

pub(crate) fn header_with(known: &KnownBlock, list: Option<ItemList>) -> News {
    News::Header { key: known.key, bytes: known.header(), header: Box::new(known.layout.header.clone()), list }
}

/// A block's header and list.
pub(crate) fn compacted(known: &KnownBlock) -> News {
    header_with(known, Some(list(known, &[])))
}

pub(crate) fn listed(known: &KnownBlock) -> News {
    News::List { key: known.key, list: list(known, &[]) }
}

pub(crate) fn announced(known: &KnownBlock, verified: bool) -> News {
    News::Announced(Announcement {
        key: known.key,
        height: known.layout.header.height,
        state_hash: None,
        root: verified.then_some(known.root),
    })
}
