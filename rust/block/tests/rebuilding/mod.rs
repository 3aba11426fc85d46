//! What the tests of compaction and reconstruction share: blocks, pools, and peers that answer.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use mina_p2p_block::generate::{self, PreDiff, Recipe};
use mina_p2p_block::{
    ItemId, ItemKind, ItemSource, KnownBlock, Need, Outcome, PoolItem, Rebuild, Refused, item_id, merkle,
};
use mina_p2p_wire::message::ItemList;

/// A small generator of numbers: splitmix64.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something of `percent` in a hundred happens.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Blocks made from seeds: two of like shape with items of all kinds in both pre-diffs, one without items, one of commands.
pub(crate) fn generated() -> &'static [KnownBlock] {
    static BLOCKS: LazyLock<Vec<KnownBlock>> = LazyLock::new(|| {
        let two = |seed| Recipe { second: Some(PreDiff::counts(seed + 10, 2, 2, 1)), ..Recipe::counts(seed, 6, 14, 3) };
        let recipes = [two(1), two(2), Recipe::counts(3, 0, 0, 0), Recipe::counts(4, 0, 90, 0)];
        recipes.iter().map(|recipe| KnownBlock::of(generate::block(recipe)).unwrap()).collect()
    });
    &BLOCKS
}

/// The generated blocks and, if they are there, all real ones.
pub(crate) fn blocks() -> &'static [KnownBlock] {
    static BLOCKS: LazyLock<Vec<KnownBlock>> = LazyLock::new(|| {
        let real = crate::common::listed("items.json").into_iter().map(|(block, _)| KnownBlock::of(block).unwrap());
        generated().iter().cloned().chain(real).collect()
    });
    &BLOCKS
}

/// Short blocks with an item: a generated one and, if it is there, a real one.
pub(crate) fn small() -> Vec<KnownBlock> {
    let generated = generate::block(&Recipe::counts(5, 0, 2, 0));
    [generated].into_iter().chain(crate::common::small()).map(|block| KnownBlock::of(block).unwrap()).collect()
}

/// A pool in memory.
#[derive(Default, Clone)]
pub(crate) struct Pool(pub(crate) BTreeMap<ItemId, PoolItem>);

impl ItemSource for Pool {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.0.keys().for_each(f);
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        self.0.get(id).cloned()
    }
}

impl Pool {
    /// The items of a block for which `has` says yes.
    pub(crate) fn of(known: &KnownBlock, mut has: impl FnMut(u32) -> bool) -> Self {
        let mut pool = Self::default();
        for place in (0..known.ids.len() as u32).filter(|place| has(*place)) {
            pool.add(&known.item(place as usize).unwrap(), is_work(known, place));
        }
        pool
    }

    /// An item, in two slices, as a work of an RPC answer is.
    pub(crate) fn add(&mut self, item: &Bytes, is_work: bool) {
        let id = item_id(item);
        let middle = item.len() / 3;
        self.0.insert(id, PoolItem { id, parts: [item.slice(..middle), item.slice(middle..)], is_work });
    }

    /// Items that are in no block.
    pub(crate) fn add_others(&mut self, numbers: &mut Numbers, count: usize) {
        for _ in 0..count {
            let item = Bytes::copy_from_slice(&numbers.next().to_le_bytes());
            self.add(&item, numbers.percent(50));
        }
    }
}

pub(crate) fn is_work(known: &KnownBlock, place: u32) -> bool {
    known.layout.items[place as usize].kind == ItemKind::Work
}

pub(crate) fn items(known: &KnownBlock, places: &[u32]) -> Vec<Bytes> {
    places.iter().map(|place| known.item(*place as usize).unwrap()).collect()
}

/// What rebuilds a block: its header and a list.
pub(crate) fn start(known: &KnownBlock, list: ItemList, pool: &Pool) -> Result<Rebuild, Refused> {
    Rebuild::new(known.header(), known.layout.header.clone(), list, pool)
}

/// What happened on the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) questions: usize,
    pub(crate) asked_ids: bool,
}

/// Goes on until there is an outcome that stays, with an honest peer that has the block and answers at most `at_once` items;
/// `None` if the whole body is needed.
pub(crate) fn finish(rebuild: &mut Rebuild, known: &KnownBlock, pool: &Pool, at_once: usize) -> (Option<Outcome>, Way) {
    let mut way = Way::default();
    let mut last = None;
    loop {
        match rebuild.need() {
            Need::Items(asked) => {
                let asked = asked.to_vec();
                let answered = &asked[..asked.len().min(at_once)];
                let proof = merkle::prove(&known.ids, answered).unwrap();
                let taken = rebuild.provide(&asked, items(known, answered), &proof).unwrap();
                assert_eq!(taken, answered.len());
                way.questions += 1;
            }
            Need::Assembly => {
                let outcome = rebuild.assemble().run();
                rebuild.assembled(&outcome);
                last = Some(outcome);
            }
            Need::Ids => {
                assert!(!std::mem::replace(&mut way.asked_ids, true), "once");
                rebuild.provide_ids(&known.ids, pool).unwrap();
            }
            Need::Body => return (None, way),
            Need::Nothing => return (last, way),
        }
    }
}

/// Checks that what was rebuilt is the block, byte for byte and in what is known of it.
#[track_caller]
pub(crate) fn assert_same(outcome: Option<&Outcome>, known: &KnownBlock) {
    let Some(Outcome::Complete(rebuilt)) = outcome else { panic!("{outcome:?}") };
    assert!(rebuilt.bytes == known.bytes, "other bytes");
    assert_eq!(rebuilt.layout, known.layout);
    assert_eq!((rebuilt.key, &rebuilt.ids, rebuilt.root), (known.key, &known.ids, known.root));
    assert_eq!(rebuilt.body.reference(), known.body.reference());
    assert_eq!(rebuilt.body.chunk(0), known.body.chunk(0));
}
