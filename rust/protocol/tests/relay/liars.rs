//! Peers that tell false headers, lists and roots.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::generate::{Recipe, block, with_body};
use mina_p2p_block::{KnownBlock, Layout};
use mina_p2p_protocol::News::{self, Announced};
use mina_p2p_protocol::Rule;
use mina_p2p_protocol::relay::Via;
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, ItemId, ItemList, ItemsRoot, MAX_COMPACT_ITEMS};

use crate::desk::{Desk, Question};
use crate::things::{announced, compacted, fill, header, header_with, known, list, listed, pool_item};

const SECOND: Duration = Duration::from_secs(1);

fn with_list(known: &KnownBlock, change: impl FnOnce(&mut ItemList)) -> News {
    let mut list = list(known, &[]);
    change(&mut list);
    header_with(known, Some(list))
}

/// Peer 0 lies, peer 1 has the block and told of it: only 0 is blamed, and the block is got by 1's list.
fn assert_only_the_liar_is_blamed(known: &KnownBlock, desk: &mut Desk) {
    for _ in 0..20 {
        desk.answer_honestly(1, known);
        for asked in desk.asked_of(0) {
            desk.answer_asked(&asked, known);
        }
        desk.pass(SECOND / 4);
    }
    assert_eq!(desk.blamed_peers(), [0], "{:?}", desk.blamed);
    assert!(matches!(desk.blamed[0].1, Rule::FalseBlock { .. }), "{:?}", desk.blamed);
    assert_eq!(desk.assert_got(known).via, Via::List);
}

#[test]
fn a_list_with_a_false_root_is_given_up_for_one_with_a_true_one() {
    let block = known(1, 1, 8);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, with_list(&block, |list| list.root = ItemsRoot([1; 32])));
    // Nobody can prove anything against this root, not even its sender.
    assert!(matches!(desk.question(0).what, Question::Block(BlockQuery::Ids { .. })));
    desk.news(1, announced(&block, true));
    // It may say that it holds another: the block comes by the true root.
    desk.answer_honestly(0, &block);
    desk.answer_honestly(1, &block);
    assert_eq!(desk.assert_has(&block).via, Via::List);

    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, with_list(&block, |list| list.root = ItemsRoot([1; 32])));
    desk.news(1, announced(&block, true));
    desk.answer_by(0, BlockAnswer::Ids(block.ids.clone()));
    assert_only_the_liar_is_blamed(&block, &mut desk);
}

#[test]
fn a_false_root_whose_teller_keeps_silent_is_given_up_for_a_true_one() {
    let block = known(1, 1, 8);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |place| place != 0);
    desk.news(0, with_list(&block, |list| list.root = ItemsRoot([1; 32])));
    desk.news(1, announced(&block, true));
    desk.pass(SECOND);
    desk.answer_honestly(1, &block);
    assert_eq!(desk.assert_has(&block).via, Via::List);
}

#[test]
fn a_true_root_with_a_false_skeleton_is_the_fault_of_its_sender_and_not_of_others_with_that_root() {
    let block = known(1, 2, 30);
    let mut desk = Desk::new(3);
    fill(&mut desk.pools, &block, |_| true);
    desk.jobs = Some(Vec::new());
    // One status is another than it was: all items are true.
    let mut tried = 0;
    for at in 0..list(&block, &[]).skeleton.len() {
        let mut skeleton = list(&block, &[]).skeleton.to_vec();
        skeleton[at] ^= 1;
        let false_list = ItemList { skeleton: skeleton.into(), ..list(&block, &[]) };
        let started =
            mina_p2p_block::Rebuild::new(block.header(), block.layout.header.clone(), false_list.clone(), &desk.pools);
        if started.is_err() {
            continue;
        }
        tried += 1;
        if tried > 1 {
            break;
        }
        desk.news(0, header_with(&block, Some(false_list)));
        desk.news(1, compacted(&block));
        desk.news(2, announced(&block, true));
    }
    assert!(tried > 0, "no status can be changed so that the skeleton is still one");
    desk.run_jobs();
    desk.jobs = None;
    assert_eq!(desk.blamed_peers(), [0]);
    while let Some(asked) = desk.asked.first().cloned() {
        desk.answer_asked(&asked, &block);
    }
    assert_eq!(desk.assert_got(&block).via, Via::List);
    assert_eq!(desk.blamed_peers(), [0]);
}

#[test]
fn one_false_short_id_costs_a_question_and_the_rest_is_used() {
    let block = known(1, 1, 8);
    let mut desk = Desk::new(1);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, with_list(&block, |list| list.short_ids[4] = [9; 6]));
    assert_eq!(desk.answer_honestly(0, &block), 1, "it is missing, for all that we know");
    assert_eq!(desk.assert_has(&block).fetched, 1);
}

#[test]
fn an_id_that_the_root_does_not_commit_to_is_the_answerer_s_fault() {
    let block = known(1, 0, 8);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    let false_short = {
        let key = mina_p2p_block::ShortIdKey::new(&block.header(), &list(&block, &[]).nonce);
        key.short_id(&block.ids[3])
    };
    // Places 3 and 4 both name item 3.
    desk.news(0, with_list(&block, |list| list.short_ids[4] = false_short));
    desk.news(1, announced(&block, true));
    desk.answer_honestly(0, &block);
    desk.assert_has(&block);

    // Items that the pools have in another order: the ids are asked for, and answered falsely.
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, with_list(&block, |list| list.short_ids.swap(3, 4)));
    desk.news(1, announced(&block, true));
    let mut ids = block.ids.clone();
    ids[3] = ItemId([3; 32]);
    desk.answer_by(0, BlockAnswer::Ids(ids));
    assert_only_the_liar_is_blamed(&block, &mut desk);
}

#[test]
fn a_prefilled_item_that_the_root_does_not_commit_to_is_the_sender_s_fault() {
    let (block, other) = (known(1, 0, 8), known(2, 0, 8));
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |place| place != 6);
    let mut false_list = list(&block, &[2]);
    false_list.prefilled[0].1 = other.item(0).unwrap();
    desk.news(0, header_with(&block, Some(false_list)));
    desk.news(1, announced(&block, true));
    assert_only_the_liar_is_blamed(&block, &mut desk);
}

#[test]
fn a_prefilled_item_that_is_none_ends_the_connection_at_once() {
    let block = known(1, 1, 8);
    let mut desk = Desk::new(2);
    for bytes in [Bytes::from_static(b"nothing"), known(3, 1, 0).item(0).unwrap()] {
        let mut false_list = list(&block, &[4]);
        false_list.prefilled[0].1 = bytes;
        let peer = desk.blamed.len() as u64;
        desk.news(peer, header_with(&block, Some(false_list)));
        assert_eq!(desk.blamed.len() as u64, peer + 1);
    }
    assert_eq!(desk.headers, [block.key], "the header is as good as ever");
}

#[test]
fn lists_of_other_counts_than_the_skeleton_s_end_the_connection() {
    let block = known(1, 0, 8);
    for count in [0, 7, 9, MAX_COMPACT_ITEMS] {
        let mut desk = Desk::new(2);
        fill(&mut desk.pools, &block, |_| true);
        desk.news(0, with_list(&block, |list| list.short_ids.resize(count, [0; 6])));
        assert_eq!(desk.blamed_peers(), [0], "{count}");
        desk.news(1, compacted(&block));
        assert_eq!(desk.assert_got(&block).via, Via::List);
    }
}

#[test]
fn a_skeleton_of_billions_of_items_ends_the_connection() {
    let block = known(1, 0, 8);
    let mut desk = Desk::new(1);
    // Works: none; commands: 2^32 - 1.
    let skeleton = [&[0, 0xfd, 0xff, 0xff, 0xff, 0xff][..], &[0; 64]].concat();
    desk.news(0, with_list(&block, |list| list.skeleton = skeleton.into()));
    assert_eq!(desk.blamed_peers(), [0]);
}

#[test]
fn a_list_for_a_body_that_the_header_does_not_name_is_the_sender_s_fault() {
    // The header is relayed by honest peers; a liar makes up a body for it.
    let recipe = Recipe::counts(1, 0, 8, 0);
    let honest = KnownBlock::of(block(&recipe)).unwrap();
    let other = known(2, 0, 8);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &other, |_| true);
    desk.news(1, header(&honest));
    desk.accept_header(honest.key);
    let mut made_up = list(&other, &[]);
    let key = mina_p2p_block::ShortIdKey::new(&honest.header(), &made_up.nonce);
    made_up.short_ids = other.ids.iter().map(|id| key.short_id(id)).collect();
    desk.news(0, header_with(&honest, Some(made_up)));
    assert_eq!(desk.blamed_peers(), [0], "{:?}", desk.blamed);
    // The header's relayer is asked at once, whether it has the body by now.
    desk.answer_honestly(1, &honest);
    desk.assert_got(&honest);
    assert_eq!(desk.blamed_peers(), [0]);
}

#[test]
fn an_honest_relay_of_a_header_whose_body_turns_out_false_is_not_punished() {
    // The header names a body that is none, and a liar knows it. Peers 1 and 2 have relayed the header alone.
    let recipe = Recipe::counts(1, 1, 3, 0);
    let mut body = mina_p2p_block::generate::body(&recipe);
    let end = body.len() - 1;
    body.truncate(end);
    let bytes = with_body(&mina_p2p_block::generate::header(1, 1, recipe.previous_state_hash), &body);
    assert!(Layout::of(&bytes).is_err());
    let header_len = bytes.len() - body.len();
    let bytes = Bytes::from(bytes);
    let told = News::Header {
        key: mina_p2p_wire::BlockKey::of(&bytes[..header_len]),
        header: Box::new(mina_p2p_block::Header::of(&bytes[..header_len]).unwrap()),
        bytes: bytes.slice(..header_len),
        list: None,
    };
    let chunks = mina_p2p_block::ChunkedBody::new(bytes.slice(header_len..), mina_p2p_block::BodyParams::MAINNET);
    let mut desk = Desk::new(3);
    desk.news(1, told.clone());
    desk.accept_header(told.key());
    desk.news(2, told.clone());
    desk.pass(5 * SECOND);
    let asked = desk.asked[0].clone();
    desk.answer(asked.ask, BlockAnswer::Chunk(chunks.chunk(0).unwrap().into_bytes()));
    assert_eq!((desk.failed.len(), desk.blamed.len(), desk.permits.len()), (1, 0, 3));
}

#[test]
fn a_root_that_leads_nowhere_does_not_hold_up_the_body() {
    // Ten peers announce roots of their own, and never answer; one header relayer has the body.
    let block = known(1, 0, 8);
    let mut desk = Desk::new(11);
    desk.news(10, header(&block));
    for peer in 0..10 {
        let News::Announced(mut told) = announced(&block, true) else { unreachable!() };
        told.root = Some(ItemsRoot([peer as u8; 32]));
        desk.news(peer, News::Announced(told));
    }
    desk.accept_header(block.key);
    for _ in 0..240 {
        desk.pass(SECOND / 4);
        desk.answer_honestly(10, &block);
        // The session's deadline of 5 s.
        if desk.now.0.as_secs().is_multiple_of(5) {
            for asked in desk.asked.clone() {
                if desk.asked.iter().any(|other| other.ask == asked.ask) {
                    desk.end(asked.ask, Err(mina_p2p_protocol::RequestFailure::Timeout));
                }
            }
        }
    }
    assert_eq!(desk.failed, []);
    desk.assert_has(&block);
}

#[test]
fn pools_that_lie_are_not_taken_for_a_peer_s_lie() {
    let (block, other) = (known(1, 0, 8), known(2, 0, 1));
    let mut desk = Desk::new(1);
    fill(&mut desk.pools, &block, |place| place != 5);
    pool_item(&mut desk.pools, false, other.item(0).unwrap(), block.ids[5], None);
    desk.news(0, compacted(&block));
    desk.answer_honestly(0, &block);
    desk.assert_has(&block);
}

#[test]
fn an_advance_with_a_false_list_is_blamed_and_the_header_lives_on() {
    let block = known(1, 0, 8);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, header(&block));
    let mut false_list = list(&block, &[]);
    false_list.short_ids.pop();
    desk.advance(0, News::List { key: block.key, list: false_list });
    assert_eq!(desk.blamed_peers(), [0]);
    desk.news(1, header(&block));
    desk.advance(1, listed(&block));
    desk.assert_got(&block);
}

#[test]
fn false_roots_whose_tellers_keep_their_ids_to_themselves_do_not_hold_up_the_true_one() {
    let block = known(1, 1, 8);
    let mut desk = Desk::new(21);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, with_list(&block, |list| list.root = ItemsRoot([0; 32])));
    for liar in 1..20 {
        let root = Some(ItemsRoot([liar; 32]));
        let Announced(mut announcement) = announced(&block, true) else { unreachable!() };
        announcement.root = root;
        desk.news(liar.into(), Announced(announcement));
    }
    desk.news(20, announced(&block, true));
    // Each liar gives its list, which is true but for the root, and no ids.
    for _ in 0..200 {
        for asked in desk.asked.clone() {
            let Question::Block(query) = &asked.what else { continue };
            match query {
                _ if asked.to == 20 => desk.answer_asked(&asked, &block),
                BlockQuery::Compact { .. } if desk.asked.iter().any(|other| other.ask == asked.ask) => {
                    let mut list = list(&block, &[]);
                    list.root = ItemsRoot([asked.to as u8; 32]);
                    desk.answer(asked.ask, BlockAnswer::Compact { header: None, list });
                }
                _ => {}
            }
        }
        desk.pass(SECOND / 10);
    }
    desk.assert_has(&block);
}
