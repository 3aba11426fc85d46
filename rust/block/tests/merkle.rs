//! The items root and its multiproofs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use blake2::{Blake2b, Digest, digest::consts::U32};
use mina_p2p_block::merkle::{ProofError, items_root, prove, verify};
use mina_p2p_block::{ItemId, item_id};
use mina_p2p_wire::message::MAX_COMPACT_ITEMS;
use proptest::prelude::*;

fn ids(count: usize) -> Vec<ItemId> {
    (0..count as u32).map(|index| item_id(&index.to_le_bytes())).collect()
}

fn h(parts: &[&[u8]]) -> [u8; 32] {
    Blake2b::<U32>::digest(parts.concat()).into()
}

#[test]
fn the_root_is_as_specified() {
    let ids = ids(5);
    let leaf = |index: usize| h(&[&[0], &ids[index].0]);
    let node = |left: [u8; 32], right: [u8; 32]| h(&[&[1], &left, &right]);
    let four = node(node(leaf(0), leaf(1)), node(leaf(2), leaf(3)));
    let trees =
        [h(&[]), leaf(0), node(leaf(0), leaf(1)), node(node(leaf(0), leaf(1)), leaf(2)), four, node(four, leaf(4))];
    for (count, tree) in (0_u32..).zip(trees) {
        assert_eq!(items_root(&ids[..count as usize]).0, h(&[&[2], &count.to_le_bytes(), &tree]));
    }
}

#[test]
fn the_root_tells_an_item_at_the_end_twice_from_once() {
    let three = ids(3);
    let four = [three[0], three[1], three[2], three[2]];
    assert_ne!(items_root(&three), items_root(&four));
}

#[test]
fn a_proof_of_all_items_has_no_hashes_and_one_of_none_has_one() {
    let ids = ids(77);
    let root = items_root(&ids);
    let all: Vec<u32> = (0..77).collect();
    assert_eq!(prove(&ids, &all).unwrap().len(), 0);
    assert_eq!(verify(&root, 77, &all, &ids, &[]), Ok(()));
    let none = prove(&ids, &[]).unwrap();
    assert_eq!(none.len(), 1);
    assert_eq!(verify(&root, 77, &[], &[], &none), Ok(()));
    assert_eq!(prove(&[], &[]), Some(Vec::new()));
    assert_eq!(verify(&items_root(&[]), 0, &[], &[], &[]), Ok(()));
}

#[test]
fn a_proof_of_one_item_has_the_depth_of_the_tree() {
    let ids = ids(MAX_COMPACT_ITEMS);
    let proof = prove(&ids, &[5000]).unwrap();
    assert_eq!(proof.len(), 13);
    assert_eq!(verify(&items_root(&ids), ids.len(), &[5000], &ids[5000..5001], &proof), Ok(()));
}

#[test]
fn places_that_do_not_rise_or_are_not_in_the_block_are_refused() {
    let ids = ids(4);
    let root = items_root(&ids);
    for (places, wrong) in [(vec![1, 1], 1), (vec![2, 1], 1), (vec![0, 4], 4), (vec![u32::MAX], u32::MAX)] {
        assert_eq!(prove(&ids, &places), None);
        let expected = Err(ProofError::WrongPlace { place: wrong, count: 4 });
        assert_eq!(verify(&root, 4, &places, &ids[..places.len()], &[]), expected);
    }
}

#[test]
fn a_claim_of_many_items_is_refused_before_anything_is_done() {
    for count in [MAX_COMPACT_ITEMS + 1, 1 << 40, usize::MAX] {
        let expected = Err(ProofError::TooManyItems { count });
        assert_eq!(verify(&items_root(&[]), count, &[0], &ids(1), &[[0; 32]; 64]), expected);
    }
}

#[test]
fn other_numbers_of_ids_and_hashes_are_named() {
    let ids = ids(9);
    let (root, places) = (items_root(&ids), [3, 8]);
    let (own, mut proof) = ([ids[3], ids[8]], prove(&ids, &places).unwrap());
    let wrong_count = Err(ProofError::WrongIdCount { ids: 1, places: 2 });
    assert_eq!(verify(&root, 9, &places, &own[..1], &proof), wrong_count);
    proof.push([0; 32]);
    let (given, needed) = (proof.len(), proof.len() - 1);
    assert_eq!(verify(&root, 9, &places, &own, &proof), Err(ProofError::TooManyHashes { given, needed }));
    proof.truncate(needed - 1);
    assert_eq!(verify(&root, 9, &places, &own, &proof), Err(ProofError::TooFewHashes { given: needed - 1 }));
}

/// A block's ids, and places in it.
fn subsets() -> impl Strategy<Value = (Vec<ItemId>, Vec<u32>)> {
    prop::collection::vec(any::<bool>(), 0..300).prop_map(|chosen| {
        let places = (0..).zip(&chosen).filter(|(_, chosen)| **chosen).map(|(place, _)| place).collect();
        (ids(chosen.len()), places)
    })
}

proptest! {
    #[test]
    fn any_items_are_proven((ids, places) in subsets()) {
        let proof = prove(&ids, &places).unwrap();
        let own: Vec<_> = places.iter().map(|place| ids[*place as usize]).collect();
        prop_assert_eq!(verify(&items_root(&ids), ids.len(), &places, &own, &proof), Ok(()));
    }

    #[test]
    fn any_change_of_a_proof_is_refused((ids, places) in subsets(), at in any::<prop::sample::Index>(), bit in 0..256_usize) {
        let root = items_root(&ids);
        let proof = prove(&ids, &places).unwrap();
        let own: Vec<_> = places.iter().map(|place| ids[*place as usize]).collect();
        let check = |count, places: &[u32], own: &[ItemId], proof: &[[u8; 32]]| verify(&root, count, places, own, proof);
        if !proof.is_empty() {
            let at = at.index(proof.len());
            let mut other = proof.clone();
            other[at][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(check(ids.len(), &places, &own, &other).is_err());
            let mut other = proof.clone();
            other.remove(at);
            prop_assert!(check(ids.len(), &places, &own, &other).is_err());
            let mut other = proof.clone();
            other.insert(at, other[at]);
            prop_assert!(check(ids.len(), &places, &own, &other).is_err());
            let mut other = proof.clone();
            other.rotate_left(1);
            prop_assert!(other == proof || check(ids.len(), &places, &own, &other).is_err());
        }
        if !own.is_empty() {
            let at = at.index(own.len());
            let mut other = own.clone();
            other[at].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(check(ids.len(), &places, &other, &proof).is_err());
            let mut other = places.clone();
            other[at] += 1;
            prop_assert!(check(ids.len(), &other, &own, &proof).is_err());
        }
        prop_assert!(check(ids.len() + 1, &places, &own, &proof).is_err());
        prop_assert!(ids.is_empty() || check(ids.len() - 1, &places, &own, &proof).is_err());
    }
}
