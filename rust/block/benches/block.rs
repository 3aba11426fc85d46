//! What blocks cost on one core, against BLAKE2b over the same bytes in the same run: ratios and medians.
//!
//! `cargo bench -p mina-p2p-block --bench block`; `-- --json` for one JSON object; `-- --write FOLDER` writes the blocks
//! that it measures instead. What compaction saves is computed by `mina-p2p compact`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "not shipped")]

mod common;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use blake2::{Blake2b, Digest, digest::consts::U32};
use bytes::Bytes;
use common::{Blocks, Figure, median};
use mina_p2p_block::{
    BodyParams, Header, ItemId, ItemKind, ItemSource, KnownBlock, Layout, Outcome, PoolItem, Rebuild, compact, item_id,
};
use mina_p2p_wire::frame::HEAD_LEN;
use mina_p2p_wire::message::{CompactMessage, MAX_COMPACT_LEN};

/// Of one block; of all blocks of mainnet one by one as often.
const ROUNDS: usize = 101;
/// Of another fork, or not included yet.
const OTHER_IDS: u64 = 30_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let blocks = Blocks::load();
    if let Some(at) = args.iter().position(|arg| arg == "--write") {
        return blocks.write(Path::new(&args[at + 1]));
    }
    let (mainnet, large) = (blocks.mainnet.iter().collect::<Vec<_>>(), &blocks.large);
    common::print(&[
        walking(&blocks),
        compacting("compact_ratio", "compacting the 3 MB block, ids included", &[large]),
        compacting("compact_mainnet_ratio", "compacting mainnet blocks, most nearly empty", &mainnet),
        knowing(large),
        rebuilding(large, 0),
        rebuilding(large, OTHER_IDS),
        overhead(&blocks),
    ]);
}

fn blake2b(bytes: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(bytes).into()
}

fn seconds<T>(f: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(f());
    start.elapsed().as_secs_f64()
}

/// The medians of two things' times in seconds, and of their ratio. Measured in turns, so that both have the same machine.
fn both<T, U>(mut one: impl FnMut() -> T, mut other: impl FnMut() -> U) -> (f64, f64, f64) {
    let times: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (seconds(&mut one), seconds(&mut other))).skip(1).collect();
    let ratio = median(times.iter().map(|(one, other)| one / other).collect());
    let (one, other) = times.into_iter().unzip();
    (median(one), median(other), ratio)
}

fn len(blocks: &[KnownBlock]) -> f64 {
    blocks.iter().map(|block| block.bytes.len() as f64).sum()
}

fn walking(blocks: &Blocks) -> Figure {
    let walk = |block: &KnownBlock| Layout::of(&block.bytes).unwrap().items.len();
    let (large, mainnet, _) = both(|| walk(&blocks.large), || blocks.mainnet.iter().map(walk).sum::<usize>());
    let large = blocks.large.bytes.len() as f64 / large / 1e9;
    let mainnet = len(&blocks.mainnet) / mainnet / 1e9;
    let value = large.min(mainnet);
    Figure {
        key: "walk_gb_s",
        what: "walking a block",
        value,
        unit: "GB/s",
        target: ">= 2",
        met: value >= 2.0,
        detail: format!(
            "the 3 MB block {large:.1}, {} {} {mainnet:.1}; the lower counts",
            blocks.mainnet.len(),
            blocks.are
        ),
    }
}

/// What something takes for some blocks one by one, against BLAKE2b over all their bytes.
fn against_blake2b<T>(blocks: &[&KnownBlock], of: impl Fn(&KnownBlock) -> T) -> (f64, String) {
    let each = |block: &&KnownBlock| _ = black_box(of(block));
    let hash = |block: &&KnownBlock| _ = black_box(blake2b(&block.bytes));
    let (time, hash, ratio) = both(|| blocks.iter().for_each(each), || blocks.iter().for_each(hash));
    let bytes: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    (ratio, format!("{:.2} ms, BLAKE2b over {bytes} bytes {:.2} ms", time * 1e3, hash * 1e3))
}

/// From a block that its producer has verified to the list that is sent.
fn compacting(key: &'static str, what: &'static str, blocks: &[&KnownBlock]) -> Figure {
    let (value, detail) = against_blake2b(blocks, |block| {
        let known = KnownBlock::verified(block.bytes.clone(), BodyParams::MAINNET).unwrap();
        compact(&known, 7, &[], MAX_COMPACT_LEN).unwrap()
    });
    Figure { key, what, value, unit: "x BLAKE2b", target: "<= 1.3", met: value <= 1.3, detail }
}

/// From bytes of a block to a known one.
fn knowing(block: &KnownBlock) -> Figure {
    let (value, detail) = against_blake2b(&[block], |block| KnownBlock::of(block.bytes.clone()).unwrap());
    let what = "naming the 3 MB block's items, body checked";
    Figure { key: "known_ratio", what, value, unit: "x BLAKE2b", target: "", met: true, detail }
}

/// Pools with every item of a block, as nodes keep them.
struct Pool {
    items: BTreeMap<ItemId, PoolItem>,
}

impl Pool {
    fn new(block: &KnownBlock, others: u64) -> Pool {
        let of = |place: usize, id: &ItemId| {
            let is_work = block.layout.items[place].kind == ItemKind::Work;
            (*id, PoolItem { id: *id, parts: [block.item(place).unwrap(), Bytes::new()], is_work })
        };
        let mut items: BTreeMap<_, _> = block.ids.iter().enumerate().map(|(place, id)| of(place, id)).collect();
        items.extend((0..others).map(|n| {
            let id = item_id(&n.to_le_bytes());
            (id, PoolItem { id, parts: [Bytes::new(), Bytes::new()], is_work: false })
        }));
        Pool { items }
    }
}

impl ItemSource for Pool {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.items.keys().for_each(f);
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        self.items.get(id).cloned()
    }
}

/// From the message's parts to the block, its body compared with what the header names.
fn rebuilding(block: &KnownBlock, others: u64) -> Figure {
    let pool = Pool::new(block, others);
    let list = compact(block, 7, &[], MAX_COMPACT_LEN).unwrap();
    let rebuild = || {
        let bytes = block.header();
        let header = Header::of(&bytes).unwrap();
        let rebuild = Rebuild::new(bytes, header, list.clone(), &pool).unwrap();
        match rebuild.assemble().run() {
            Outcome::Complete(known) => known,
            outcome => panic!("{outcome:?}"),
        }
    };
    assert!(rebuild().bytes == block.bytes);
    let (time, hash, ratio) = both(rebuild, || blake2b(&block.bytes[block.layout.body.clone()]));
    let (key, what, target) = match others {
        0 => ("rebuild_ratio", "rebuilding and verifying the 3 MB block", "<= 1.5"),
        _ => ("rebuild_full_pool_ratio", "the same from a pool of 30,000 others too", ""),
    };
    let detail = format!("{:.2} ms, BLAKE2b over its body {:.2} ms", time * 1e3, hash * 1e3);
    Figure { key, what, value: ratio, unit: "x BLAKE2b", target, met: ratio <= 1.5, detail }
}

/// A compact message's bytes beside the header, 8 bytes an item, and the statuses of commands that failed.
fn overhead(blocks: &Blocks) -> Figure {
    let beside = |block: &KnownBlock| {
        let list = compact(block, 7, &[], MAX_COMPACT_LEN).unwrap();
        let len = HEAD_LEN + CompactMessage::Compact { header: block.header(), list }.encode().len();
        let failed =
            |item: &mina_p2p_block::Item| item.status.as_ref().filter(|status| status.len() > 1).map(|s| s.len());
        let statuses: usize = block.layout.items.iter().filter_map(failed).sum();
        len as f64 - (block.layout.header.len + 8 * block.ids.len() + statuses) as f64
    };
    let value = blocks.all().map(beside).fold(f64::MIN, f64::max);
    Figure {
        key: "compact_overhead",
        what: "compact message, beside what it must have",
        value,
        unit: "bytes",
        target: "<= 100",
        met: value <= 100.0,
        detail: "the worst; its frame, without header, 8 bytes an item, and statuses of failed commands".to_owned(),
    }
}
