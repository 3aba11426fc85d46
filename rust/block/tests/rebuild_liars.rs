//! Peers that lie about a block, or answer with something else: named, and with whose fault it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod rebuilding;

use bytes::Bytes;
use mina_p2p_block::generate::with_body;
use mina_p2p_block::merkle::{self, ProofError};
use mina_p2p_block::{
    Fault, Header, Invalid, ItemForm, ItemId, ItemSource, ItemsRoot, KnownBlock, LayoutError, Need, Outcome, PoolItem,
    Rebuild, Refused, canonical, compact, item_id,
};
use mina_p2p_wire::message::{BlockAnswer, CompactMessage, ItemList, MAX_COMPACT_ITEMS};
use rebuilding::{Numbers, Pool, finish, generated, is_work, items, small, start};

fn list(known: &KnownBlock, prefill: &[u32]) -> ItemList {
    compact(known, 1, prefill, usize::MAX).unwrap()
}

fn all(known: &KnownBlock) -> Vec<u32> {
    (0..known.ids.len() as u32).collect()
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Refused>, fault: Fault) -> Refused {
    let refused = result.unwrap_err();
    assert_eq!(refused.fault(), fault, "{refused}");
    refused
}

/// The end of a block that nobody has, with every answer honest to its list.
fn end(rebuild: &mut Rebuild, known: &KnownBlock, pool: &Pool) -> Option<Outcome> {
    finish(rebuild, known, pool, 100).0
}

#[test]
fn a_false_root_over_prefilled_items_is_the_senders_fault() {
    let known = &generated()[0];
    let mut list = list(known, &all(known));
    list.root = ItemsRoot([7; 32]);
    let mut rebuild = start(known, list, &Pool::default()).unwrap();
    let outcome = end(&mut rebuild, known, &Pool::default());
    let Some(Outcome::Invalid(invalid)) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*invalid, Invalid::OtherRoot { claimed: ItemsRoot([7; 32]), found: known.root });
    assert_eq!(invalid.fault(), Fault::ListSender);
    assert_eq!(rebuild.need(), Need::Nothing);
}

#[test]
fn a_false_root_over_items_of_the_pools_looks_like_a_collision_until_the_ids_are_asked_for() {
    let known = &generated()[0];
    let pool = Pool::of(known, |_| true);
    let mut list = list(known, &[]);
    list.root = ItemsRoot([7; 32]);
    let mut rebuild = start(known, list, &pool).unwrap();
    let outcome = rebuild.assemble().run();
    assert!(matches!(outcome, Outcome::Failed), "{outcome:?}");
    rebuild.assembled(&outcome);
    assert_eq!(rebuild.need(), Need::Ids);
    // Nobody can answer: there are no such ids.
    let refused = assert_refused(rebuild.provide_ids(&known.ids, &pool), Fault::Answerer);
    assert_eq!(refused, Refused::WrongIds { expected: ItemsRoot([7; 32]), found: known.root });
    let few = assert_refused(rebuild.provide_ids(&known.ids[1..], &pool), Fault::Answerer);
    assert_eq!(few, Refused::WrongIdCount { given: known.ids.len() - 1, items: known.ids.len() });
    assert_eq!(rebuild.need(), Need::Ids);
}

#[test]
fn a_root_over_other_items_that_the_sender_can_prove_makes_another_body() {
    // Another block's item in the place of one: whoever lies so has to answer for it.
    let (known, other) = (&generated()[0], &generated()[1]);
    let place = (0..known.ids.len()).find(|place| is_work(known, *place as u32)).unwrap();
    let theirs = (0..other.ids.len()).find(|place| is_work(other, *place as u32)).unwrap();
    let mut ids = known.ids.clone();
    ids[place] = other.ids[theirs];
    let mut list = list(known, &[]);
    list.root = merkle::items_root(&ids);
    let mut rebuild = start(known, list, &Pool::of(known, |there| there != place as u32)).unwrap();
    let asked = [place as u32];
    let proof = merkle::prove(&ids, &asked).unwrap();
    assert_eq!(rebuild.provide(&asked, vec![other.item(theirs).unwrap()], &proof), Ok(1));
    let outcome = rebuild.assemble().run();
    let Outcome::Invalid(invalid) = &outcome else { panic!("{outcome:?}") };
    assert!(matches!(invalid, Invalid::OtherBody { .. }), "{invalid}");
    assert_eq!(invalid.fault(), Fault::ListSender);
}

#[test]
fn one_false_short_id_costs_a_question_only() {
    let known = &generated()[0];
    let pool = Pool::of(known, |_| true);
    let mut list = list(known, &[]);
    list.short_ids[3][0] ^= 1;
    let mut rebuild = start(known, list, &pool).unwrap();
    assert_eq!(rebuild.missing(), [3]);
    assert!(matches!(end(&mut rebuild, known, &pool), Some(Outcome::Complete(_))));
}

#[test]
fn two_swapped_short_ids_look_like_a_collision() {
    let known = &generated()[0];
    let pool = Pool::of(known, |_| true);
    let mut list = list(known, &[]);
    let first = (0..known.ids.len() as u32).find(|place| is_work(known, *place) && is_work(known, place + 1)).unwrap();
    list.short_ids.swap(first as usize, first as usize + 1);
    let mut rebuild = start(known, list, &pool).unwrap();
    let (outcome, way) = finish(&mut rebuild, known, &pool, 10);
    assert!(matches!(outcome, Some(Outcome::Complete(_))), "{outcome:?}");
    assert!(way.asked_ids);
}

#[test]
fn a_header_that_names_another_body_is_found_out_before_anyone_else_is_blamed() {
    let known = &generated()[0];
    let block = with_body(&known.header(), b"another body");
    let bytes = Bytes::from(block).slice(..known.layout.header.len);
    let header = Header::of(&bytes).unwrap();
    let pool = Pool::of(known, |place| place != 0);
    // The short ids are under the key of this header.
    let lying = KnownBlock { bytes: [&bytes[..], &known.bytes[bytes.len()..]].concat().into(), ..known.clone() };
    let list = compact(&lying, 1, &[], usize::MAX).unwrap();
    let mut rebuild = Rebuild::new(bytes, header, list, &pool).unwrap();
    let outcome = end(&mut rebuild, known, &pool);
    assert!(matches!(outcome, Some(Outcome::Invalid(Invalid::OtherBody { .. }))), "{outcome:?}");
    assert_eq!(rebuild.need(), Need::Nothing);
}

#[test]
fn a_false_skeleton_is_found_out_by_the_body_reference() {
    let known = &generated()[0];
    let pool = Pool::of(known, |_| true);
    let honest = list(known, &[]);
    let mut walked = 0;
    for at in 0..honest.skeleton.len() {
        let mut skeleton = honest.skeleton.to_vec();
        skeleton[at] ^= 1;
        let list = ItemList { skeleton: skeleton.into(), ..honest.clone() };
        let Ok(mut rebuild) = start(known, list, &pool) else { continue };
        walked += 1;
        let outcome = end(&mut rebuild, known, &pool);
        assert!(!matches!(outcome, Some(Outcome::Complete(_))), "byte {at}");
    }
    assert!(walked > 0);
}

#[test]
fn another_number_of_items_than_the_skeleton_takes_is_refused() {
    let known = &generated()[0];
    let (honest, pool) = (list(known, &[]), Pool::of(known, |_| true));
    let count = honest.short_ids.len();
    let with = |short_ids: Vec<[u8; 6]>| start(known, ItemList { short_ids, ..honest.clone() }, &pool);
    for fewer in [count - 1, count / 2, 0] {
        let refused = assert_refused(with(vec![[1; 6]; fewer]), Fault::ListSender);
        assert!(matches!(refused, Refused::Skeleton(LayoutError::TooManyItems { .. })), "{refused}");
    }
    for listed in [count + 1, MAX_COMPACT_ITEMS] {
        let refused = assert_refused(with(vec![[1; 6]; listed]), Fault::ListSender);
        assert_eq!(refused, Refused::WrongItemCount { holes: count, listed });
    }
    for count in [MAX_COMPACT_ITEMS + 1, 65_536] {
        let refused = assert_refused(with(vec![[1; 6]; count]), Fault::ListSender);
        assert_eq!(refused, Refused::TooManyItems { count });
    }
}

#[test]
fn a_skeleton_that_claims_billions_of_items_is_refused_at_once() {
    let known = &generated()[0];
    for length in [1_u64 << 60, u64::from(u32::MAX), 65_536, i64::MAX as u64] {
        let mut skeleton = vec![0xfc];
        skeleton.extend_from_slice(&length.to_le_bytes());
        skeleton.extend_from_slice(&[0; 100]);
        let list = ItemList { skeleton: skeleton.into(), ..list(known, &[]) };
        let refused = assert_refused(start(known, list, &Pool::default()), Fault::ListSender);
        assert!(matches!(refused, Refused::Skeleton(_)), "{refused}");
    }
}

#[test]
fn a_prefilled_item_must_be_exactly_one_canonical_item_of_its_kind() {
    let known = &generated()[0];
    let places = all(known);
    let work = places.iter().copied().find(|place| is_work(known, *place)).unwrap();
    let command = places.iter().copied().find(|place| !is_work(known, *place)).unwrap();
    let item = |place: u32| known.item(place as usize).unwrap().to_vec();
    let (work_item, command_item) = (item(work), item(command));
    let behind = [&command_item[..], &[0]].concat();
    let short = command_item[..command_item.len() - 1].to_vec();
    for (place, wrong) in
        [(work, command_item.clone()), (command, work_item), (command, behind), (command, short), (work, Vec::new())]
    {
        let mut list = list(known, &[place]);
        list.prefilled[0].1 = wrong.into();
        let refused = assert_refused(start(known, list, &Pool::default()), Fault::ListSender);
        assert!(matches!(refused, Refused::NoItem { place: named, .. } if named == place), "{refused}");
    }

    for (place, form) in [(work, ItemForm::BlockWork), (command, ItemForm::Command)] {
        let mut list = list(known, &[place]);
        list.prefilled[0].1 = longer(form, &item(place));
        let refused = assert_refused(start(known, list, &Pool::default()), Fault::ListSender);
        let Refused::NoItem { error, .. } = &refused else { panic!("{refused}") };
        assert!(matches!(error, LayoutError::NotCanonical { .. }), "{error}");
    }
}

/// Another spelling of the same item: one of its integers takes two bytes more than needed.
fn longer(form: ItemForm, item: &[u8]) -> Bytes {
    let spelled = (0..item.len()).map(|at| [&item[..at], &[0xfe, item[at], 0], &item[at + 1..]].concat());
    let same = |spelled: &Vec<u8>| canonical(form, spelled).is_ok_and(|canonical| *canonical == *item);
    spelled.into_iter().find(same).unwrap().into()
}

#[test]
fn prefilled_places_must_rise_and_be_in_the_block() {
    let known = &generated()[0];
    let count = known.ids.len();
    let two = list(known, &[0, 1]);
    for places in [[0, 0], [1, 0], [0, count as u32], [u32::MAX, 0], [0, u32::MAX]] {
        let mut list = two.clone();
        for (place, prefilled) in places.iter().zip(&mut list.prefilled) {
            prefilled.0 = *place;
        }
        assert_refused(start(known, list, &Pool::default()), Fault::ListSender);
    }
}

#[test]
fn a_prefilled_item_of_another_block_is_found_out_with_the_ids() {
    let (known, other) = (&generated()[0], &generated()[1]);
    let place = all(known).into_iter().find(|place| is_work(known, *place)).unwrap();
    let theirs = all(other).into_iter().find(|place| is_work(other, *place)).unwrap();
    let pool = Pool::of(known, |_| true);
    let mut list = list(known, &[place]);
    list.prefilled[0].1 = other.item(theirs as usize).unwrap();
    let mut rebuild = start(known, list, &pool).unwrap();
    let outcome = rebuild.assemble().run();
    assert!(matches!(outcome, Outcome::Failed), "{outcome:?}");
    rebuild.assembled(&outcome);
    let refused = assert_refused(rebuild.provide_ids(&known.ids, &pool), Fault::ListSender);
    assert_eq!(refused, Refused::PrefilledOther { place });
    assert_eq!(rebuild.need(), Need::Nothing);
}

#[test]
fn answers_with_other_items_or_proofs_are_refused_and_change_nothing() {
    let (known, other) = (&generated()[0], &generated()[1]);
    let mut rebuild = start(known, list(known, &[]), &Pool::of(known, |place| place >= 4)).unwrap();
    let asked = [0, 1, 2, 3];
    assert_eq!(rebuild.missing(), asked);
    let (right, proof) = (items(known, &asked), merkle::prove(&known.ids, &asked).unwrap());

    let nothing = assert_refused(rebuild.provide(&asked, Vec::new(), &proof), Fault::Answerer);
    assert_eq!(nothing, Refused::WrongAnswerLength { given: 0, asked: 4 });
    let many = assert_refused(rebuild.provide(&asked, items(known, &[0, 1, 2, 3, 4]), &proof), Fault::Answerer);
    assert_eq!(many, Refused::WrongAnswerLength { given: 5, asked: 4 });
    // Fewer than the proof is for.
    assert_refused(rebuild.provide(&asked, items(known, &[0, 1, 2]), &proof), Fault::Answerer);
    let mut wrong = right.clone();
    wrong[2] = other.item(0).unwrap();
    let refused = assert_refused(rebuild.provide(&asked, wrong, &proof), Fault::Answerer);
    assert!(matches!(refused, Refused::Proof(ProofError::WrongRoot { .. })), "{refused}");
    let mut swapped = right.clone();
    swapped.swap(0, 1);
    assert_refused(rebuild.provide(&asked, swapped, &proof), Fault::Answerer);
    for at in 0..proof.len() {
        let mut wrong = proof.clone();
        wrong[at][0] ^= 1;
        assert_refused(rebuild.provide(&asked, right.clone(), &wrong), Fault::Answerer);
    }
    let refused = assert_refused(rebuild.provide(&asked, right.clone(), &proof[1..]), Fault::Answerer);
    assert!(matches!(refused, Refused::Proof(ProofError::TooFewHashes { .. })), "{refused}");
    let long = [&proof[..], &[[0; 32]]].concat();
    let refused = assert_refused(rebuild.provide(&asked, right.clone(), &long), Fault::Answerer);
    assert!(matches!(refused, Refused::Proof(ProofError::TooManyHashes { .. })), "{refused}");

    assert_eq!(rebuild.missing(), asked);
    // The first of those asked for are an answer too.
    let first = merkle::prove(&known.ids, &asked[..1]).unwrap();
    assert_eq!(rebuild.provide(&asked, items(known, &[0]), &first), Ok(1));
    assert_eq!(rebuild.provide(&asked, right, &proof), Ok(3));
    assert_eq!(rebuild.need(), Need::Assembly);
}

#[test]
fn a_root_over_something_that_is_no_item_is_the_list_senders_fault_not_the_answerers() {
    let known = &generated()[0];
    let junk = Bytes::from_static(b"no item");
    let mut ids = known.ids.clone();
    ids[0] = item_id(&junk);
    let list = ItemList { root: merkle::items_root(&ids), ..list(known, &[]) };
    let mut rebuild = start(known, list, &Pool::of(known, |place| place != 0)).unwrap();
    let proof = merkle::prove(&ids, &[0]).unwrap();
    let refused = assert_refused(rebuild.provide(&[0], vec![junk], &proof), Fault::ListSender);
    assert!(matches!(refused, Refused::NoItem { place: 0, .. }), "{refused}");
    assert_eq!((rebuild.need(), rebuild.stats().fetched), (Need::Nothing, 0));
}

#[test]
fn a_root_that_has_a_command_in_a_works_place_is_the_list_senders_fault() {
    let known = &generated()[0];
    let work = all(known).into_iter().find(|place| is_work(known, *place)).unwrap();
    let command = all(known).into_iter().find(|place| !is_work(known, *place)).unwrap();
    let mut ids = known.ids.clone();
    ids[work as usize] = known.ids[command as usize];
    let list = ItemList { root: merkle::items_root(&ids), ..list(known, &[]) };
    let pool = Pool::of(known, |_| true);
    let mut rebuild = start(known, list, &pool).unwrap();
    rebuild.assembled(&Outcome::Failed);
    rebuild.provide_ids(&ids, &pool).unwrap();
    assert_eq!(rebuild.need(), Need::Items(&[work]), "bytes may be both, so that what is meant is asked for");
    let proof = merkle::prove(&ids, &[work]).unwrap();
    let command = known.item(command as usize).unwrap();
    let refused = assert_refused(rebuild.provide(&[work], vec![command], &proof), Fault::ListSender);
    assert!(matches!(refused, Refused::NoItem { place, is_work: true, .. } if place == work), "{refused}");
    assert_eq!(rebuild.need(), Need::Nothing);
}

/// A pool that has an item of one length for any id that is asked for.
struct Huge(Bytes);

impl ItemSource for Huge {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        generated()[0].ids.iter().for_each(f);
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        let known = &generated()[0];
        let place = known.ids.iter().position(|one| one == id)?;
        Some(PoolItem { id: *id, parts: [self.0.clone(), self.0.clone()], is_work: is_work(known, place as u32) })
    }
}

#[test]
fn a_block_never_grows_beyond_the_longest() {
    let known = &generated()[0];
    let huge = Huge(Bytes::from(vec![0; 5 << 20]));
    let mut rebuild = Rebuild::new(known.header(), known.layout.header.clone(), list(known, &[]), &huge).unwrap();
    // Three of 10 MiB fit into 32 MiB.
    assert_eq!((rebuild.stats().hits, rebuild.missing().len()), (3, known.ids.len() - 3));
    rebuild.assembled(&Outcome::Failed);
    let full = Huge(Bytes::from(vec![0; 6 << 20]));
    let refused = assert_refused(rebuild.provide_ids(&known.ids, &full), Fault::ListSender);
    assert!(matches!(refused, Refused::TooLong { .. }), "{refused}");
}

#[test]
fn a_list_cut_off_anywhere_is_refused() {
    for known in small() {
        let pool = Pool::of(&known, |_| true);
        let bytes = BlockAnswer::Compact { header: Some(known.header()), list: list(&known, &[0]) }.encode();
        for end in 0..bytes.len() {
            assert!(BlockAnswer::decode(bytes.slice(..end)).is_err(), "{end}");
        }
        // A header, skeleton or item that is cut off, its length being right.
        let header = known.header();
        for end in 0..header.len() {
            assert!(Header::of(&header[..end]).is_err(), "{end}");
        }
        let honest = list(&known, &[0]);
        for end in 0..honest.skeleton.len() {
            let list = ItemList { skeleton: honest.skeleton.slice(..end), ..honest.clone() };
            assert_refused(start(&known, list, &pool), Fault::ListSender);
        }
        for end in 0..honest.prefilled[0].1.len() {
            let mut list = honest.clone();
            list.prefilled[0].1 = list.prefilled[0].1.slice(..end);
            assert_refused(start(&known, list, &pool), Fault::ListSender);
        }
    }
}

#[test]
fn no_change_of_a_list_makes_another_block() {
    for known in small() {
        let pool = Pool::of(&known, |_| true);
        let honest = list(&known, &[0]);
        let bytes = BlockAnswer::Compact { header: None, list: honest.clone() }.encode().to_vec();
        let mut numbers = Numbers(1);
        // Every byte outside of the prefilled item, and some in it.
        let outside = bytes.len() - honest.prefilled[0].1.len();
        for at in (0..outside).chain((outside..bytes.len()).step_by(29)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << numbers.below(8);
            let Ok(BlockAnswer::Compact { list, .. }) = BlockAnswer::decode(changed.into()) else { continue };
            let Ok(mut rebuild) = start(&known, list, &pool) else { continue };
            if rebuild.root() != known.root {
                assert!(!matches!(rebuild.assemble().run(), Outcome::Complete(_)), "byte {at}");
                continue;
            }
            if rebuild.need() != Need::Assembly {
                let missing = rebuild.missing().to_vec();
                let proof = merkle::prove(&known.ids, &missing).unwrap();
                rebuild.provide(&missing, items(&known, &missing), &proof).unwrap();
            }
            // A nonce or a short id can be wrong, and the block is rebuilt all the same.
            if let Outcome::Complete(block) = rebuild.assemble().run() {
                assert_eq!(block.bytes, known.bytes, "byte {at}");
            }
        }
    }
}

#[test]
fn any_message_that_decodes_can_be_started_with() {
    let known = &generated()[0];
    let pool = Pool::of(known, |_| true);
    let mut numbers = Numbers(3);
    for _ in 0..3000 {
        let len = numbers.below(200) as usize;
        let mut bytes: Vec<u8> = vec![4];
        bytes.extend([0; 72]);
        bytes.extend((0..len).map(|_| if numbers.percent(60) { 0 } else { numbers.next() as u8 }));
        if let Ok(decoded) = CompactMessage::decode(bytes.into())
            && let CompactMessage::List { list, .. } = decoded.value
        {
            let outcome = start(known, list, &pool).map(|rebuild| rebuild.assemble().run());
            assert!(!matches!(outcome, Ok(Outcome::Complete(_))), "by chance");
        }
    }
}
