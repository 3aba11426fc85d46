//! A block that is rebuilt from any part of the pools, a list that may be false in places, and peers that answer anything.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mina_p2p_block::generate::{self, PreDiff, Recipe};
use mina_p2p_block::{
    Fault, ItemId, ItemKind, ItemSource, KnownBlock, Need, Outcome, PoolItem, Rebuild, compact_with_bits, item_id,
    merkle,
};
use mina_p2p_wire::message::ItemList;

static BLOCKS: LazyLock<Vec<KnownBlock>> = LazyLock::new(|| {
    let second = Some(PreDiff::counts(10, 1, 2, 1));
    let recipes = [
        Recipe { second, ..Recipe::counts(1, 1, 3, 1) },
        Recipe::counts(2, 0, 0, 0),
        Recipe::counts(3, 0, 40, 0),
        Recipe::counts(4, 2, 0, 0),
    ];
    recipes.iter().map(|recipe| KnownBlock::of(generate::block(recipe)).expect("a generated block")).collect()
});

/// The input, byte by byte; zeros behind its end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_le_bytes([self.next(), self.next()])) % bound.max(1)
    }

    /// A change of one byte, if there is one.
    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        let with = self.next() | 1;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= with;
        }
    }
}

struct Pool(BTreeMap<ItemId, PoolItem>);

impl ItemSource for Pool {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.0.keys().for_each(f);
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        self.0.get(id).cloned()
    }
}

impl Pool {
    fn add(&mut self, item: Bytes, is_work: bool, cut: usize) {
        let (id, cut) = (item_id(&item), cut.min(item.len()));
        self.0.insert(id, PoolItem { id, parts: [item.slice(..cut), item.slice(cut..)], is_work });
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let known = &BLOCKS[choices.below(BLOCKS.len())];
    let count = known.ids.len();

    let mut pool = Pool(BTreeMap::new());
    let mut prefill = Vec::new();
    for (place, item) in known.layout.items.iter().enumerate() {
        let what = choices.next();
        if what & 1 == 0 {
            pool.add(known.bytes.slice(item.range.clone()), item.kind == ItemKind::Work, usize::from(what));
        }
        if what & 6 == 6 {
            prefill.push(place as u32);
        }
    }
    for _ in 0..choices.next() % 64 {
        pool.add(Bytes::from(vec![choices.next(), choices.next()]), choices.next() & 1 == 0, 1);
    }

    let bits = 1 + u32::from(choices.next()) % 48;
    let mut list = compact_with_bits(known, choices.next().into(), &prefill, usize::MAX, bits).expect("it fits");
    let changes = choices.next() % 4;
    (0..changes).for_each(|_| change(&mut list, &mut choices));
    let honest = changes == 0;

    let mut rebuild = match Rebuild::with_bits(known.header(), known.layout.header.clone(), list, &pool, bits) {
        Ok(rebuild) => rebuild,
        Err(refused) => return assert!(!honest && refused.fault() == Fault::ListSender, "{refused}"),
    };
    // Items, assembly, ids, and the same again, with up to so many answers that are wrong.
    for step in 0..64 {
        let lie = if step < 32 { choices.next() % 8 } else { 0 };
        let result = match rebuild.need() {
            Need::Items(asked) => {
                let asked = asked.to_vec();
                let (items, proof) = answer(known, &asked, lie, &mut choices);
                rebuild.provide(&asked, items, &proof).map(|_| ())
            }
            Need::Assembly => {
                let outcome = rebuild.assemble().run();
                match &outcome {
                    Outcome::Complete(block) => {
                        assert!(block.bytes == known.bytes, "another block under this header");
                        assert!(block.ids == known.ids && block.layout == known.layout && block.root == known.root);
                    }
                    Outcome::Invalid(invalid) => assert!(!honest, "{invalid}"),
                    Outcome::Missing(places) => panic!("{places:?}"),
                    Outcome::Failed => {}
                }
                rebuild.assembled(&outcome);
                Ok(())
            }
            Need::Ids => {
                let mut ids = known.ids.clone();
                if lie & 1 == 1 && count > 0 {
                    let place = choices.below(count);
                    choices.flip(&mut ids[place].0);
                }
                rebuild.provide_ids(&ids, &pool)
            }
            Need::Body => return assert!(!honest),
            Need::Nothing => return,
        };
        if let Err(refused) = result {
            assert!(!honest || lie != 0, "{refused}");
            assert!(!honest || refused.fault() == Fault::Answerer, "{refused}");
            if lie == 0 {
                return;
            }
        }
    }
    assert!(!honest, "it comes to an end");
});

fn change(list: &mut ItemList, choices: &mut Choices) {
    let ids = list.short_ids.len();
    match choices.next() % 9 {
        0 => {
            let mut skeleton = list.skeleton.to_vec();
            choices.flip(&mut skeleton);
            list.skeleton = skeleton.into();
        }
        1 => list.skeleton.truncate(choices.below(list.skeleton.len())),
        2 => choices.flip(&mut list.root.0),
        3 => choices.flip(list.short_ids.as_flattened_mut()),
        4 => list.short_ids.insert(choices.below(ids + 1), [choices.next(); 6]),
        5 if ids > 0 => drop(list.short_ids.remove(choices.below(ids))),
        6 if ids > 0 => list.short_ids.swap(choices.below(ids), choices.below(ids)),
        7 => {
            if let Some((place, _)) = list.prefilled.first_mut() {
                *place = place.wrapping_sub(choices.next().into());
            }
        }
        _ => {
            if let Some((_, item)) = list.prefilled.last_mut() {
                let mut changed = item.to_vec();
                choices.flip(&mut changed);
                *item = changed.into();
            }
        }
    }
}

fn answer(known: &KnownBlock, asked: &[u32], lie: u8, choices: &mut Choices) -> (Vec<Bytes>, Vec<[u8; 32]>) {
    // Places behind the last item are asked for if the list was false.
    let asked: Vec<u32> = asked.iter().copied().filter(|place| (*place as usize) < known.ids.len()).collect();
    let answered = &asked[..if lie == 7 { choices.below(asked.len() + 1) } else { asked.len() }];
    let item = |place: &u32| known.item(*place as usize).expect("a place of the block");
    let mut items: Vec<Bytes> = answered.iter().map(item).collect();
    let mut proof = merkle::prove(&known.ids, answered).expect("places that rise");
    match lie {
        1 => items.push(Bytes::new()),
        2 => drop(items.pop()),
        3 => choices.flip(proof.as_flattened_mut()),
        4 => proof.push([0; 32]),
        5 => drop(proof.pop()),
        6 => {
            if let Some(item) = items.first_mut() {
                let mut changed = item.to_vec();
                choices.flip(&mut changed);
                *item = changed.into();
            }
        }
        _ => {}
    }
    (items, proof)
}
