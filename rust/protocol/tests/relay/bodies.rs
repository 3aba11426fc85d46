//! How a body is got from peers that say what is true.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::generate::{Recipe, body, header, name_body};
use mina_p2p_block::{BodyParams, BodyReference, body_reference};
use mina_p2p_protocol::relay::{BlockFailure, RelayConfig, Via};
use mina_p2p_protocol::router::Dialer;
use mina_p2p_protocol::{Content, News, RequestFailure};
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, RpcRequest, StateHash};

use crate::desk::{Desk, Question, honest, items};
use crate::things::{
    announced, compacted, fill, header as told, header_with, known, known_of, list, listed, pool_item, state_hash, tip,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_block_whose_items_are_all_here_needs_no_question() {
    let block = known(1, 3, 20);
    let mut desk = Desk::new(1);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, compacted(&block));
    let how = desk.assert_has(&block);
    assert_eq!((how.via, how.items, how.hits, how.round_trips), (Via::List, 23, 23, 0));
    assert!(how.received < block.layout.header.len + 23 * 8 + 400, "{}", how.received);
}

#[test]
fn missing_items_are_asked_of_the_list_s_sender_and_no_others() {
    let block = known(1, 3, 20);
    let mut desk = Desk::new(3);
    fill(&mut desk.pools, &block, |place| place % 4 != 0);
    desk.news(1, compacted(&block));
    let asked = desk.question(1);
    let places = (0..23).filter(|place| place % 4 == 0).collect::<Vec<u32>>();
    let query = BlockQuery::Items { key: block.key, root: block.root, places };
    assert_eq!(asked.what, Question::Block(query));
    assert_eq!(desk.answer_honestly(1, &block), 1);
    let how = desk.assert_has(&block);
    assert_eq!((how.hits, how.fetched, how.round_trips), (17, 6, 1));
}

#[test]
fn prefilled_items_are_not_asked_for_and_are_prefilled_again_for_the_next() {
    let block = known(1, 2, 6);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |place| place != 3 && place != 5 && place != 6);
    desk.news(0, header_with(&block, Some(list(&block, &[1, 3, 5]))));
    assert_eq!(desk.answer_honestly(0, &block), 1);
    let how = desk.assert_has(&block);
    assert_eq!((how.hits, how.prefilled, how.fetched), (4, 3, 1));
    desk.accept(block.key);
    let stored = desk.pools.blocks.get(&block.key).unwrap();
    let Content::Known { lacked, .. } = &stored.content else { panic!("{stored:?}") };
    assert_eq!(**lacked, [3, 5, 6], "1 was here, prefilled or not");
}

#[test]
fn an_announced_block_is_pulled_header_and_list() {
    let block = known(1, 1, 10);
    let mut desk = Desk::new(1);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, announced(&block, true));
    assert_eq!(desk.headers, []);
    let query = BlockQuery::Compact { key: block.key, with_header: true };
    assert_eq!(desk.question(0).what, Question::Block(query));
    desk.answer_honestly(0, &block);
    assert_eq!(desk.headers, [block.key]);
    assert_eq!(desk.assert_has(&block).round_trips, 1);
}

#[test]
fn a_header_is_told_at_once_and_its_list_waited_for() {
    let block = known(1, 1, 10);
    let mut desk = Desk::new(2);
    desk.news(0, told(&block));
    assert_eq!(desk.headers, [block.key]);
    assert!(desk.asked.is_empty(), "its sender will say when it has the body");
    fill(&mut desk.pools, &block, |_| true);
    desk.advance(0, listed(&block));
    desk.assert_has(&block);
}

#[test]
fn a_header_whose_sender_announces_its_root_later_is_pulled_from_it() {
    let block = known(1, 1, 10);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, told(&block));
    desk.advance(0, announced(&block, true));
    let query = BlockQuery::Compact { key: block.key, with_header: false };
    assert_eq!(desk.question(0).what, Question::Block(query));
    desk.answer_honestly(0, &block);
    desk.assert_has(&block);
}

#[test]
fn who_relays_a_header_and_then_goes_away_is_not_needed() {
    let block = known(1, 1, 10);
    let mut desk = Desk::new(3);
    desk.news(0, told(&block));
    desk.disconnect(0);
    desk.pass(5 * SECOND);
    // The others told nothing, but one has it.
    for _ in 0..2 {
        let asked = desk.asked[0].clone();
        if asked.to == 1 { desk.answer(asked.ask, BlockAnswer::NotHere) } else { desk.answer_asked(&asked, &block) }
    }
    assert_eq!(desk.assert_has(&block).via, Via::Chunks);
}

#[test]
fn many_missing_items_are_asked_of_up_to_four_peers_at_once() {
    let block = known(1, 0, 100);
    let mut desk = Desk::new(6);
    desk.jobs = Some(Vec::new());
    // All but the last have told the same root when the items are asked for.
    for peer in 0..5 {
        desk.news(peer, announced(&block, true));
    }
    let header = desk.question(0);
    desk.answer_asked(&header, &block);
    let mut places = Vec::new();
    for peer in 0..4 {
        let Question::Block(BlockQuery::Items { places: some, .. }) = desk.question(peer).what else { panic!() };
        assert_eq!(some.len(), 25);
        places.extend(some);
    }
    assert_eq!(places, (0..100).collect::<Vec<u32>>());
    for peer in [2, 0, 3, 1] {
        desk.answer_honestly(peer, &block);
    }
    desk.run_jobs();
    assert_eq!(desk.assert_has(&block).round_trips, 2);
}

#[test]
fn a_slow_answerer_is_not_waited_for_and_not_punished() {
    let block = known(1, 0, 10);
    let mut desk = Desk::new(3);
    desk.news(0, announced(&block, true));
    let header = desk.question(0);
    desk.answer_asked(&header, &block);
    desk.news(1, announced(&block, true));
    assert_eq!(desk.asked_of(1).len(), 0);
    desk.pass(SECOND);
    assert_eq!(desk.question(0).what, desk.question(1).what);
    assert_eq!(desk.asked_of(2).len(), 0, "it does not say that it has the body");
    desk.answer_honestly(1, &block);
    desk.assert_has(&block);
}

#[test]
fn items_are_asked_for_until_all_have_come_if_not_all_fit_an_answer() {
    let block = known(1, 0, 12);
    let mut desk = Desk::new(2);
    desk.news(0, compacted(&block));
    desk.news(1, announced(&block, true));
    let Question::Block(BlockQuery::Items { places, .. }) = desk.question(0).what else { panic!() };
    desk.answer_by(0, items(&block, &places[..5]));
    // Who stops early is not asked again, as long as there is somebody else.
    assert_eq!(desk.asked_of(0).len(), 0);
    desk.answer_honestly(1, &block);
    desk.assert_has(&block);
}

#[test]
fn a_holder_that_went_away_leaves_the_rest_to_others() {
    let block = known(1, 0, 100);
    let mut desk = Desk::new(3);
    for peer in 0..3 {
        desk.news(peer, announced(&block, true));
    }
    let header = desk.question(0);
    desk.answer_asked(&header, &block);
    desk.disconnect(0);
    desk.disconnect(2);
    assert_eq!(desk.answer_honestly(1, &block), 3, "its own third, and those of the others");
    desk.assert_has(&block);
}

#[test]
fn a_root_that_nobody_gave_items_of_is_tried_again_when_somebody_else_tells_it() {
    let block = known(1, 2, 6);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |place| place != 3);
    desk.news(0, compacted(&block));
    desk.disconnect(0);
    // Nobody has told a root: the body is asked for by chunks.
    assert!(matches!(desk.question(1).what, Question::Block(BlockQuery::Chunk { index: 0, .. })));
    desk.news(1, compacted(&block));
    desk.answer_honestly(1, &block);
    let how = desk.assert_has(&block);
    assert_eq!((how.via, how.hits, how.fetched), (Via::List, 7, 1));
}

#[test]
fn nobody_who_gives_items_leaves_the_chunks() {
    let block = known(1, 24, 2);
    assert!(block.body.count() >= 3, "{}", block.body.count());
    let mut desk = Desk::new(1);
    desk.news(0, compacted(&block));
    desk.answer_by(0, BlockAnswer::NotHere);
    desk.answer_honestly(0, &block);
    assert_eq!(desk.assert_has(&block).via, Via::Chunks);
}

#[test]
fn chunks_come_from_several_peers_and_around_one_that_is_slow() {
    let block = known(1, 70, 2);
    let count = block.body.count();
    assert!(count >= 6, "{count}");
    let mut desk = Desk::new(3);
    desk.news(0, told(&block));
    desk.pass(5 * SECOND);
    let root = desk.question(0);
    desk.answer_asked(&root, &block);
    assert_eq!(desk.asked.len(), 4, "so many at once");
    assert!((0..3).all(|peer| !desk.asked_of(peer).is_empty()), "of all of them");
    // The first does not answer; the others do, and are asked for its share too.
    let mut steps = 0;
    while desk.blocks.is_empty() {
        steps += 1;
        assert!(steps < 100);
        let others = desk.asked.iter().find(|asked| asked.to != 0).cloned();
        match others {
            Some(asked) => desk.answer_asked(&asked, &block),
            None => desk.pass(SECOND / 2),
        }
    }
    assert_eq!(desk.assert_has(&block).via, Via::Chunks);
    assert!(desk.now.0 < Duration::from_secs(1000 + 5 + 4), "{:?}", desk.now);
}

#[test]
fn one_that_only_has_rpc_is_asked_for_the_whole_block() {
    let block = known(1, 1, 3);
    let mut desk = Desk::new(2);
    desk.news(0, told(&block));
    desk.accept(block.key);
    desk.pass(5 * SECOND);
    for peer in 0..2 {
        desk.answer_by(peer, BlockAnswer::NotHere);
    }
    let asked = desk.question(0);
    assert_eq!(asked.what, Question::Rpc(RpcRequest::Block(state_hash(&block.key))));
    // Another block than was asked for is no reason to punish: the state hash is for the user to check.
    let other = known(2, 1, 3);
    desk.answer_asked(&asked, &other);
    desk.answer_honestly(1, &block);
    assert_eq!(desk.assert_has(&block).via, Via::Whole);
}

#[test]
fn of_two_whole_blocks_that_come_together_the_true_one_is_taken() {
    let (block, other) = (known(1, 1, 3), known(2, 1, 3));
    for true_first in [false, true] {
        let mut desk = Desk::new(2);
        desk.news(0, told(&block));
        desk.accept(block.key);
        desk.pass(5 * SECOND);
        for peer in 0..2 {
            desk.answer_by(peer, BlockAnswer::NotHere);
        }
        // The answer has begun and takes long.
        desk.pass(8 * SECOND);
        desk.jobs = Some(Vec::new());
        let (first, second) = if true_first { (&block, &other) } else { (&other, &block) };
        let asked = desk.question(0);
        desk.answer_asked(&asked, first);
        let asked = desk.question(1);
        desk.answer_asked(&asked, second);
        desk.run_jobs();
        desk.assert_has(&block);
    }
}

#[test]
fn a_claimed_state_hash_helps_to_ask_and_is_never_told_on() {
    let block = known(1, 1, 3);
    let mut desk = Desk::new(1);
    let News::Announced(mut announcement) = announced(&block, true) else { unreachable!() };
    announcement.state_hash = Some(StateHash([66; 32]));
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, News::Announced(announcement));
    desk.answer_honestly(0, &block);
    desk.accept_header(block.key);
    desk.assert_has(&block);
    assert_eq!(desk.pools.blocks.get(&block.key).unwrap().state_hash, None);
    assert!(desk.pools.blocks.by_state_hash(&StateHash([66; 32])).is_none());
    desk.accept(block.key);
    assert_eq!(desk.pools.blocks.get(&block.key).unwrap().state_hash, Some(state_hash(&block.key)));
}

/// A header that commits to something that nobody can have.
fn without_body(seed: u64) -> News {
    let recipe = Recipe { seed, ..Recipe::default() };
    let mut bytes = header(seed, 1, recipe.previous_state_hash);
    name_body(&mut bytes, BodyReference([7; 32]));
    let header = mina_p2p_block::Header::of(&bytes).unwrap();
    News::Header { key: mina_p2p_wire::BlockKey::of(&bytes), bytes: bytes.into(), header: Box::new(header), list: None }
}

#[test]
fn a_header_without_a_body_fails_in_time_and_nobody_is_punished() {
    let news = without_body(1);
    let mut desk = Desk::new(4);
    for peer in 0..2 {
        desk.news(peer, news.clone());
    }
    desk.accept(news.key());
    assert_eq!(desk.relayed, 1, "the header was relayed before");
    for _ in 0..80 {
        desk.pass(SECOND);
        for asked in desk.asked.clone() {
            match asked.to {
                // One never answers. (Its deadline is the session's.)
                3 => desk.end(asked.ask, Err(RequestFailure::Timeout)),
                _ if matches!(asked.what, Question::Rpc(_)) => {
                    desk.end(asked.ask, Ok(mina_p2p_protocol::Answer::Rpc(None)));
                }
                _ => desk.answer(asked.ask, BlockAnswer::NotHere),
            }
        }
    }
    assert_eq!(desk.failed, [(news.key(), BlockFailure::Unavailable)]);
    assert_eq!(desk.blamed, []);
    assert_eq!((desk.router.relay.pending(), desk.asked.len()), (0, 0));
    assert!(desk.pools.blocks.get(&news.key()).is_none(), "it is not told to new peers");
    assert!(desk.most_asked <= 4, "{}", desk.most_asked);
    assert_eq!(desk.permits.len(), 4);
}

#[test]
fn a_header_that_commits_to_bytes_that_are_no_body_fails_and_nobody_is_punished() {
    let recipe = Recipe::counts(1, 1, 3, 0);
    let mut false_body = body(&recipe);
    false_body.truncate(false_body.len() - 1);
    let mut bytes = header(1, 1, recipe.previous_state_hash);
    name_body(&mut bytes, body_reference(&false_body, BodyParams::MAINNET));
    let chunks = mina_p2p_block::ChunkedBody::new(Bytes::from(false_body), BodyParams::MAINNET);
    let told = News::Header {
        key: mina_p2p_wire::BlockKey::of(&bytes),
        header: Box::new(mina_p2p_block::Header::of(&bytes).unwrap()),
        bytes: bytes.into(),
        list: None,
    };
    let mut desk = Desk::new(1);
    desk.news(0, told.clone());
    desk.pass(5 * SECOND);
    while let Some(asked) = desk.asked.first().cloned() {
        let Question::Block(BlockQuery::Chunk { index, .. }) = asked.what else { panic!() };
        desk.answer(asked.ask, BlockAnswer::Chunk(chunks.chunk(index as usize).unwrap().into_bytes()));
    }
    assert_eq!((desk.failed.clone(), desk.blamed.len()), (vec![(told.key(), BlockFailure::NoBody)], 0));
    // Whoever makes such headers tells of no more of them than of others.
    assert_eq!(desk.permits.len(), 0);
    assert!(desk.router.relay.accept_header(desk.now, told.key(), None, &mut desk.pools).is_err());
    desk.drain();
    assert_eq!((desk.permits.len(), desk.router.relay.pending(), desk.relayed), (1, 0, 0), "it may tell of the next");
    assert!(desk.pools.blocks.get(&told.key()).is_none());
}

#[test]
fn two_items_with_one_short_id_cost_questions_and_nobody_s_connection() {
    // What the pools say is the item is another one: as if both had the short id.
    let block = known(1, 0, 8);
    let mut desk = Desk::new(1);
    fill(&mut desk.pools, &block, |place| place != 2);
    let other = known(9, 0, 1);
    pool_item(&mut desk.pools, false, other.item(0).unwrap(), block.ids[2], None);
    desk.news(0, compacted(&block));
    assert!(matches!(desk.question(0).what, Question::Block(BlockQuery::Ids { .. })));
    desk.answer_honestly(0, &block);
    // The pools insist on their lie, so that only the body itself helps.
    assert_eq!(desk.assert_has(&block).via, Via::Chunks);
}

#[test]
fn short_ids_that_lead_to_other_items_are_cleared_up_by_the_ids() {
    let block = known_of(1, &[], &[1, 2, 3, 4, 5, 6]);
    let others = known(77, 0, 3);
    for place in 0..3 {
        let mut desk = Desk::new(1);
        fill(&mut desk.pools, &others, |_| true);
        fill(&mut desk.pools, &block, |place| place != 4);
        // The short id of an item that the pools have stands where another belongs, which they have not.
        let mut list = list(&block, &[]);
        let key = mina_p2p_block::ShortIdKey::new(&block.header(), &list.nonce);
        list.short_ids[4] = key.short_id(&others.ids[place]);
        desk.news(0, header_with(&block, Some(list)));
        assert!(matches!(desk.question(0).what, Question::Block(BlockQuery::Ids { .. })));
        assert_eq!(desk.answer_honestly(0, &block), 2, "the ids, then the item");
        let how = desk.assert_has(&block);
        assert_eq!((how.via, how.hits, how.fetched), (Via::List, 5, 1));
    }
}

#[test]
fn forks_use_the_items_of_the_last_blocks_again() {
    let first = known_of(1, &[1, 2, 3], &[10, 11, 12, 13]);
    let fork = known_of(2, &[3, 2, 4], &[11, 10, 13, 14]);
    let mut desk = Desk::new(1);
    desk.pools.set_tip(tip(&first));
    desk.news(0, compacted(&fork));
    let Question::Block(BlockQuery::Items { places, .. }) = desk.question(0).what else { panic!() };
    assert_eq!(places, [2, 6]);
    desk.answer_honestly(0, &fork);
    assert_eq!(desk.assert_has(&fork).hits, 5);
}

#[test]
fn a_block_that_the_user_sets_while_it_is_fetched_is_not_fetched_any_more() {
    let block = known(1, 1, 10);
    let mut desk = Desk::new(1);
    desk.news(0, compacted(&block));
    assert_eq!(desk.asked.len(), 1);
    let now = desk.now;
    desk.router.relay.announce(now, &tip(&block), &mut desk.pools);
    desk.drain();
    assert_eq!((desk.asked.len(), desk.router.relay.pending()), (0, 0));
    assert_eq!(desk.permits.len(), 1);
    assert!(desk.blocks.is_empty(), "the user has it");
    desk.accept(block.key);
}

#[test]
fn an_answer_that_comes_when_the_block_is_complete_changes_nothing() {
    let block = known(1, 0, 10);
    let mut desk = Desk::new(2);
    desk.news(0, compacted(&block));
    desk.news(1, announced(&block, true));
    desk.pass(SECOND);
    assert_eq!(desk.asked.len(), 2);
    desk.jobs = Some(Vec::new());
    let late = desk.question(1);
    desk.answer_honestly(0, &block);
    // Between all items and the block.
    let Question::Block(query) = &late.what else { panic!() };
    desk.answer(late.ask, honest(query, &block));
    desk.run_jobs();
    desk.assert_has(&block);
}

#[test]
fn direct_permits_are_as_long_as_configured() {
    let mut desk = Desk::alone(RelayConfig { direct_len: 1000, direct_peers: 1 });
    desk.connect(1, Dialer::Peer);
    desk.connect(2, Dialer::Us);
    assert_eq!(desk.permits.clone().into_iter().collect::<Vec<_>>(), [(1, 0), (2, 1000)]);
}
