//! Blocks are rebuilt byte for byte from whatever pools have, with honest peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod rebuilding;

use bytes::Bytes;
use mina_p2p_block::{KnownBlock, Need, Outcome, Rebuild, ShortIdKey, compact, compact_with_bits, item_id, merkle};
use mina_p2p_wire::message::{BlockAnswer, ItemList};
use proptest::prelude::*;
use rebuilding::{Numbers, Pool, Way, assert_same, blocks, finish, generated, is_work, items, start};

/// As it comes out at the other side of a connection.
fn sent(list: ItemList) -> ItemList {
    let bytes = BlockAnswer::Compact { header: None, list }.encode();
    match BlockAnswer::decode(bytes).unwrap() {
        BlockAnswer::Compact { header: None, list } => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_whose_items_are_all_in_the_pools_needs_no_question() {
    for known in blocks() {
        let pool = Pool::of(known, |_| true);
        let mut rebuild = start(known, sent(compact(known, 1, &[], usize::MAX).unwrap()), &pool).unwrap();
        assert!(rebuild.missing().is_empty());
        let (outcome, way) = finish(&mut rebuild, known, &pool, usize::MAX);
        assert_same(outcome.as_ref(), known);
        assert_eq!(way, Way::default());
        let stats = rebuild.stats();
        assert_eq!((stats.items, stats.hits, stats.missed), (known.ids.len(), known.ids.len(), 0));
        let bytes: usize = known.layout.items.iter().map(|item| item.range.len()).sum();
        assert_eq!(stats.hit_bytes, bytes);
    }
}

#[test]
fn a_block_of_which_the_pools_have_nothing_needs_one_question() {
    for known in blocks() {
        let pool = Pool::default();
        let mut rebuild = start(known, compact(known, 1, &[], usize::MAX).unwrap(), &pool).unwrap();
        let (outcome, way) = finish(&mut rebuild, known, &pool, usize::MAX);
        assert_same(outcome.as_ref(), known);
        assert_eq!(way, Way { questions: usize::from(!known.ids.is_empty()), asked_ids: false });
        assert_eq!((rebuild.stats().fetched, rebuild.stats().missed), (known.ids.len(), known.ids.len()));
    }
}

#[test]
fn a_prefilled_block_needs_no_question() {
    for known in blocks() {
        let all: Vec<u32> = (0..known.ids.len() as u32).collect();
        let pool = Pool::default();
        let list = sent(compact(known, 1, &all, usize::MAX).unwrap());
        let mut rebuild = start(known, list, &pool).unwrap();
        let (outcome, way) = finish(&mut rebuild, known, &pool, usize::MAX);
        assert_same(outcome.as_ref(), known);
        assert_eq!((way, rebuild.stats().prefilled), (Way::default(), all.len()));
    }
}

#[test]
fn items_that_several_peers_bring_are_taken_once() {
    let known = &generated()[0];
    let mut rebuild = start(known, compact(known, 1, &[], usize::MAX).unwrap(), &Pool::default()).unwrap();
    let all = rebuild.missing().to_vec();
    let half = &all[..all.len() / 2];
    let proof = merkle::prove(&known.ids, half).unwrap();
    assert_eq!(rebuild.provide(half, items(known, half), &proof), Ok(half.len()));
    assert_eq!(rebuild.provide(half, items(known, half), &proof), Ok(0));
    let proof = merkle::prove(&known.ids, &all).unwrap();
    assert_eq!(rebuild.provide(&all, items(known, &all), &proof), Ok(all.len() - half.len()));
    assert_eq!(rebuild.provide(&all, items(known, &all), &proof), Ok(0));
    assert_eq!(rebuild.need(), Need::Assembly);
    let outcome = rebuild.assemble().run();
    rebuild.assembled(&outcome);
    assert_same(Some(&outcome), known);
    assert_eq!((rebuild.need(), rebuild.stats().fetched), (Need::Nothing, all.len()));
}

#[test]
fn an_assembly_with_missing_items_says_which() {
    let known = &generated()[0];
    let pool = Pool::of(known, |place| place != 1);
    let mut rebuild = start(known, compact(known, 1, &[], usize::MAX).unwrap(), &pool).unwrap();
    let outcome = rebuild.assemble().run();
    assert!(matches!(&outcome, Outcome::Missing(places) if *places == [1]), "{outcome:?}");
    rebuild.assembled(&outcome);
    assert_eq!(rebuild.need(), Need::Items(&[1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_block_is_rebuilt_whatever_pools_and_lists_have(
        seed in any::<u64>(),
        hit in 0..=100_u64,
        prefill in 0..=100_u64,
        others in 0..300_usize,
        at_once in 1..40_usize,
    ) {
        let mut numbers = Numbers(seed);
        let known = &blocks()[numbers.below(blocks().len() as u64) as usize];
        let mut pool = Pool::of(known, |_| numbers.percent(hit));
        pool.add_others(&mut numbers, others);
        let chosen: Vec<u32> = (0..known.ids.len() as u32).filter(|_| numbers.percent(prefill)).collect();
        let list = sent(compact(known, numbers.next(), &chosen, 1 << 20).unwrap());
        let mut rebuild = start(known, list, &pool).unwrap();
        let (outcome, way) = finish(&mut rebuild, known, &pool, at_once);
        assert_same(outcome.as_ref(), known);
        prop_assert!(!way.asked_ids);
        let stats = rebuild.stats();
        prop_assert_eq!(stats.hits + stats.prefilled + stats.fetched, known.ids.len());
        prop_assert_eq!(stats.fetched, stats.missed);
    }

    #[test]
    fn a_block_is_rebuilt_though_short_ids_collide(seed in any::<u64>(), bits in 1..=12_u32, hit in 50..=100_u64) {
        let mut numbers = Numbers(seed);
        let known = &blocks()[numbers.below(blocks().len() as u64) as usize];
        let mut pool = Pool::of(known, |_| numbers.percent(hit));
        pool.add_others(&mut numbers, 30);
        let list = compact_with_bits(known, seed, &[], 1 << 20, bits).unwrap();
        let mut rebuild =
            Rebuild::with_bits(known.header(), known.layout.header.clone(), list, &pool, bits).unwrap();
        let (outcome, _) = finish(&mut rebuild, known, &pool, 100);
        assert_same(outcome.as_ref(), known);
    }
}

/// Bytes whose id has the same low bits of the short id as the block's item at `place`, in a list with that nonce.
fn colliding(known: &KnownBlock, nonce: u64, bits: u32, place: usize) -> Bytes {
    let key = ShortIdKey::with_bits(&known.header_hash, &nonce.to_le_bytes(), bits);
    let wanted = key.short_id(&known.ids[place]);
    let others = (0..u64::MAX).map(|number| Bytes::copy_from_slice(&number.to_le_bytes()));
    others.into_iter().find(|other| key.short_id(&item_id(other)) == wanted).unwrap()
}

const BITS: u32 = 18;

fn start_with_bits(known: &KnownBlock, nonce: u64, pool: &Pool) -> Rebuild {
    let list = compact_with_bits(known, nonce, &[], usize::MAX, BITS).unwrap();
    assert_eq!(list.nonce, nonce.to_le_bytes());
    Rebuild::with_bits(known.header(), known.layout.header.clone(), list, pool, BITS).unwrap()
}

#[test]
fn two_items_of_the_pools_with_one_short_id_count_as_missing() {
    let known = &generated()[0];
    let mut pool = Pool::of(known, |_| true);
    pool.add(&colliding(known, 5, BITS, 2), is_work(known, 2));
    let mut rebuild = start_with_bits(known, 5, &pool);
    assert_eq!(rebuild.missing(), [2]);
    let (outcome, way) = finish(&mut rebuild, known, &pool, 10);
    assert_same(outcome.as_ref(), known);
    assert_eq!(way, Way { questions: 1, asked_ids: false });
}

#[test]
fn a_wrong_item_with_the_right_short_id_is_found_out_by_the_root_and_replaced() {
    let known = &generated()[0];
    for right_one_is_there in [false, true] {
        let mut pool = Pool::of(known, |place| place != 2);
        pool.add(&colliding(known, 5, BITS, 2), is_work(known, 2));
        let mut rebuild = start_with_bits(known, 5, &pool);
        assert_eq!(rebuild.need(), Need::Assembly, "nothing is missing, it seems");
        let outcome = rebuild.assemble().run();
        assert!(matches!(outcome, Outcome::Failed), "{outcome:?}");
        rebuild.assembled(&outcome);
        assert_eq!(rebuild.need(), Need::Ids);
        if right_one_is_there {
            // It has come in the meantime.
            pool.add(&known.item(2).unwrap(), is_work(known, 2));
        }
        let (outcome, way) = finish(&mut rebuild, known, &pool, 10);
        assert_same(outcome.as_ref(), known);
        assert_eq!(way, Way { questions: usize::from(!right_one_is_there), asked_ids: true });
    }
}

#[test]
fn an_item_of_the_other_kind_is_not_taken_for_its_short_id() {
    let known = &generated()[0];
    let mut pool = Pool::of(known, |place| place != 2);
    pool.add(&colliding(known, 5, BITS, 2), !is_work(known, 2));
    assert_eq!(start_with_bits(known, 5, &pool).missing(), [2]);
}

#[test]
fn pools_that_name_an_item_wrongly_cost_the_whole_body_and_nobody_is_blamed() {
    let known = &generated()[0];
    let mut pool = Pool::of(known, |_| true);
    let wrong = pool.0.get_mut(&known.ids[1]).unwrap();
    wrong.parts[0] = Bytes::from_static(b"not it");
    let mut rebuild = start(known, compact(known, 5, &[], usize::MAX).unwrap(), &pool).unwrap();
    let (outcome, way) = finish(&mut rebuild, known, &pool, 10);
    assert!(outcome.is_none(), "{outcome:?}");
    assert_eq!(way, Way { questions: 0, asked_ids: true });
    assert_eq!(rebuild.need(), Need::Body);
}

#[test]
fn a_job_can_be_run_in_another_thread() {
    let known = &generated()[0];
    let pool = Pool::of(known, |_| true);
    let rebuild = start(known, compact(known, 5, &[], usize::MAX).unwrap(), &pool).unwrap();
    let job = rebuild.assemble();
    let outcome = std::thread::spawn(move || job.run()).join().unwrap();
    assert_same(Some(&outcome), known);
}
