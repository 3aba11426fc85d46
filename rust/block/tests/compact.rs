//! Lists of items: what is in them, and how long they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod rebuilding;

use std::collections::BTreeSet;

use bytes::Bytes;
use mina_p2p_block::generate::{block_of_commands, command, long_command};
use mina_p2p_block::{
    KnownBlock, Layout, LayoutError, NotKnown, ShortIdKey, compact, compact_with_bits, holes, item_id,
};
use mina_p2p_wire::message::{BlockAnswer, CompactMessage, ItemList, MAX_BLOCK_LEN, MAX_COMPACT_ITEMS, MAX_ITEM_LEN};
use rebuilding::{Numbers, blocks, generated};

fn encoded_len(list: &ItemList) -> usize {
    // An answer has a tag, and whether there is a header, before it.
    BlockAnswer::Compact { header: None, list: list.clone() }.encode().len() - 2
}

#[test]
fn a_short_id_is_as_specified() {
    // From another implementation of SipHash-2-4.
    let key = ShortIdKey::new(b"header", &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(key.short_id(&item_id(b"item")), [0x59, 0x9f, 0xff, 0x50, 0xdf, 0x94]);
}

#[test]
fn a_short_id_depends_on_header_and_nonce() {
    let id = item_id(b"item");
    let short_id = |header: &[u8], nonce| ShortIdKey::new(header, &[nonce; 8]).short_id(&id);
    let different: BTreeSet<_> = [short_id(b"one", 1), short_id(b"one", 2), short_id(b"two", 1)].into_iter().collect();
    assert_eq!(different.len(), 3);
}

#[test]
fn a_list_has_the_skeleton_the_root_and_every_item_once() {
    for known in blocks() {
        let list = compact(known, 9, &[], usize::MAX).unwrap();
        assert_eq!(list.items(), known.ids.len());
        assert_eq!(list.root, known.root);
        assert_eq!(list.nonce, 9_u64.to_le_bytes());
        assert_eq!(holes(&list.skeleton, known.ids.len()).unwrap().len(), known.ids.len());
        let key = ShortIdKey::new(&known.header(), &list.nonce);
        let short_ids: Vec<_> = known.ids.iter().map(|id| key.short_id(id)).collect();
        assert_eq!(list.short_ids, short_ids);
    }
}

#[test]
fn a_compact_message_is_short() {
    for known in blocks() {
        let list = compact(known, 9, &[], usize::MAX).unwrap();
        let message = CompactMessage::Compact { header: known.header(), list }.encode();
        let statuses = known.layout.items.iter().filter_map(|item| item.status.clone()).map(|status| status.len());
        let failed: usize = statuses.filter(|len| *len > 1).sum();
        let max = known.layout.header.len + 100 + 8 * known.ids.len() + failed;
        assert!(message.len() <= max, "{} of {max} bytes", message.len());
    }
}

#[test]
fn with_every_item_prefilled_it_is_hardly_longer_than_the_block() {
    for known in blocks() {
        let all: Vec<u32> = (0..known.ids.len() as u32).collect();
        let list = compact(known, 9, &all, usize::MAX).unwrap();
        assert_eq!(list.short_ids.len(), 0);
        let answer = BlockAnswer::Compact { header: Some(known.header()), list }.encode();
        assert!(answer.len() * 100 <= known.bytes.len() * 103, "{} for {}", answer.len(), known.bytes.len());
    }
}

#[test]
fn a_list_keeps_to_its_bytes_and_takes_the_most_important_items_first() {
    for known in blocks() {
        let count = known.ids.len() as u32;
        let bare = encoded_len(&compact(known, 9, &[], usize::MAX).unwrap());
        assert!(compact(known, 9, &[], bare - 1).is_none());
        let mut numbers = Numbers(bare as u64);
        for _ in 0..20 {
            let mut order: Vec<u32> = (0..count).collect();
            order.sort_by_cached_key(|_| numbers.next());
            // Places that are not in the block, and one twice, change nothing.
            order.push(count);
            order.extend(order.first().copied());
            let max = bare + numbers.below(known.bytes.len() as u64) as usize;
            let list = compact(known, 9, &order, max).unwrap();
            assert!(encoded_len(&list) <= max);
            assert_eq!(list.items(), known.ids.len());
            let prefilled: BTreeSet<u32> = list.prefilled.iter().map(|(place, _)| *place).collect();
            // The first that is not there did not fit beside those that are more important.
            if let Some(at) = order.iter().position(|place| *place < count && !prefilled.contains(place)) {
                let with_it = compact(known, 9, &order[..=at], usize::MAX).unwrap();
                // The counts and places of a list that is being made are taken to be as long as they can be.
                assert!(encoded_len(&with_it) + 4 + 2 * (at + 1) > max);
            }
        }
    }
}

#[test]
fn a_nonce_under_which_two_items_collide_is_passed_over() {
    let known = &generated()[0];
    // With so few bits some nonces collide and others do not.
    let bits = 2 * known.ids.len().ilog2() - 1;
    let mut passed = 0;
    for nonce in 0..200 {
        let list = compact_with_bits(known, nonce, &[], usize::MAX, bits).unwrap();
        let used = u64::from_le_bytes(list.nonce);
        assert!((nonce..nonce + 4).contains(&used));
        let different: BTreeSet<_> = list.short_ids.iter().collect();
        assert!(different.len() == known.ids.len() || used == nonce + 3);
        passed += usize::from(used != nonce);
    }
    assert!(passed > 0 && passed < 200, "{passed}");
}

#[test]
fn the_same_arguments_give_the_same_list() {
    for known in blocks() {
        let again = KnownBlock::of(Bytes::copy_from_slice(&known.bytes)).unwrap();
        assert_eq!(compact(known, 3, &[1, 0], 50_000), compact(&again, 3, &[1, 0], 50_000));
        assert!(known.ids.len() <= MAX_COMPACT_ITEMS);
    }
}

#[test]
fn a_block_with_an_item_that_no_answer_can_carry_has_no_list() {
    for (len, travels) in [(MAX_ITEM_LEN, true), (MAX_ITEM_LEN + 1, false)] {
        let known = KnownBlock::of(block_of_commands(1, vec![command(2), long_command(len)])).unwrap();
        let answer = BlockAnswer::Items { items: vec![known.item(1).unwrap()], proof: Vec::new() };
        assert_eq!(BlockAnswer::decode(answer.encode()).is_ok(), travels, "whoever were asked would be blamed");
        for prefill in [&[][..], &[1]] {
            assert_eq!(compact(&known, 1, prefill, usize::MAX).is_some(), travels);
        }
    }
}

#[test]
fn a_block_longer_than_any_message_is_not_known() {
    let len = |command: usize| block_of_commands(1, vec![long_command(command)]).len();
    let longest = MAX_BLOCK_LEN - (len(1 << 20) - (1 << 20));
    let known = KnownBlock::of(block_of_commands(1, vec![long_command(longest)])).unwrap();
    assert_eq!(known.bytes.len(), MAX_BLOCK_LEN);
    // Its body alone would not be too long.
    let block = block_of_commands(1, vec![long_command(longest + 1)]);
    let error = Layout::of(&block).unwrap_err();
    assert!(matches!(error, LayoutError::WrongLength { what: "block", .. }), "{error}");
    assert_eq!(KnownBlock::of(block).unwrap_err(), NotKnown::Layout(error));
}
