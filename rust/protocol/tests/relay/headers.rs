//! Which headers the user is told of, verdicts on them, permits, and what is relayed.

use std::time::Duration;

use mina_p2p_protocol::relay::{
    BlockFailure, RelayConfig, UNFINISHED_MAX, UNJUDGED_MAX, UNTAKEN_MAX, UnknownBlock, VERDICT_TIMEOUT,
};
use mina_p2p_protocol::router::Dialer;
use mina_p2p_protocol::{News, Rule};
use mina_p2p_wire::BlockKey;
use mina_p2p_wire::message::{Announcement, BlockAnswer};

use crate::desk::Desk;
use crate::things::{announced, compacted, fill, header, known, listed, state_hash, tip};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_block_that_nobody_accepted_is_not_relayed() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(1);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, compacted(&block));
    desk.assert_has(&block);
    assert_eq!(desk.relayed, 0);
    assert!(desk.pools.blocks.get(&block.key).is_none());
    assert!(!desk.permits.contains_key(&0), "its verdict is open");
    desk.accept(block.key);
    assert!(desk.pools.blocks.get(&block.key).is_some_and(|stored| stored.bytes() == Some(&block.bytes)));
    assert!(desk.permits.contains_key(&0));
}

#[test]
fn an_accepted_header_is_relayed_before_its_body() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(1);
    desk.news(0, compacted(&block));
    desk.accept_header(block.key);
    let stored = desk.pools.blocks.get(&block.key).unwrap();
    assert_eq!((desk.relayed, stored.bytes()), (1, None));
    desk.answer_honestly(0, &block);
    desk.assert_has(&block);
    let stored = desk.pools.blocks.get(&block.key).unwrap();
    assert_eq!((desk.relayed, stored.bytes()), (2, Some(&block.bytes)));
    // The state hash may come later.
    desk.accept(block.key);
    assert!(desk.pools.blocks.by_state_hash(&state_hash(&block.key)).is_some());
}

#[test]
fn the_same_block_from_a_hundred_peers_is_told_once_and_asked_for_within_bounds() {
    let block = known(1, 0, 100);
    let mut desk = Desk::new(100);
    for peer in 0..100 {
        match peer % 3 {
            0 => desk.news(peer, compacted(&block)),
            1 => desk.news(peer, announced(&block, true)),
            _ => desk.news(peer, header(&block)),
        }
    }
    assert_eq!(desk.headers, [block.key]);
    for _ in 0..4 {
        desk.pass(SECOND / 4);
        assert!(desk.asked.len() <= 4, "{} questions at once", desk.asked.len());
    }
    assert!(desk.permits.is_empty());
    let mut answered = 0;
    while let Some(asked) = desk.asked.first().cloned() {
        desk.answer_asked(&asked, &block);
        answered += 1;
    }
    assert!(answered <= 4, "{answered}");
    desk.assert_has(&block);
    desk.accept(block.key);
    assert_eq!(desk.permits.len(), 100);
}

#[test]
fn one_peer_has_one_header_that_nobody_has_judged() {
    let mut desk = Desk::new(1);
    for seed in 0..1000 {
        let block = known(seed, 0, 0);
        desk.news(0, header(&block));
        assert_eq!((desk.router.relay.pending(), desk.permits.len()), (1, 0));
        desk.ignore(block.key);
        assert_eq!((desk.router.relay.pending(), desk.permits.len()), (0, 1));
    }
}

#[test]
fn what_a_peer_may_tell_without_a_permit_begins_no_block() {
    let mut desk = Desk::new(1);
    // Announced, and not given.
    let blocks: Vec<_> = (0..8).map(|seed| known(seed, 0, 1)).collect();
    for block in &blocks {
        desk.news(0, announced(block, false));
        desk.answer_by(0, BlockAnswer::NotHere);
        assert_eq!(desk.router.relay.pending(), 0);
    }
    // It may say of each that it has verified the body.
    for block in &blocks {
        desk.advance(0, announced(block, true));
        desk.advance(0, listed(block));
    }
    assert_eq!((desk.router.relay.pending(), desk.headers.len(), desk.blamed.len()), (0, 0, 0));
}

/// Peers 0 to 7 tell of blocks that nobody judges; answers what the next tells.
fn full_desk() -> Desk {
    let mut desk = Desk::alone(RelayConfig::default());
    for peer in 0..12 {
        desk.connect(peer, if peer == 11 { Dialer::Us } else { Dialer::Peer });
    }
    for peer in 0..UNJUDGED_MAX as u64 {
        desk.news(peer, header(&known(100 + peer, 0, 1)));
    }
    desk
}

#[test]
fn eight_headers_wait_for_a_verdict_and_the_next_is_that_of_a_peer_that_we_dialed() {
    let mut desk = full_desk();
    let honest = known(1, 0, 3);
    for peer in 8..11 {
        desk.news(peer, header(&known(200 + peer, 0, 1)));
    }
    desk.news(11, header(&honest));
    assert_eq!((desk.headers.len(), desk.router.relay.pending()), (UNJUDGED_MAX, UNJUDGED_MAX));
    desk.ignore(known(103, 0, 1).key);
    assert_eq!(desk.headers.last(), Some(&honest.key));
    assert_eq!(desk.router.relay.pending(), UNJUDGED_MAX);
    // Verdicts that do not come are made, so that all get their turn.
    desk.pass(2 * VERDICT_TIMEOUT);
    assert_eq!((desk.headers.len(), desk.router.relay.pending(), desk.permits.len()), (12, 0, 12));
    assert_eq!(desk.blamed, []);
}

#[test]
fn those_that_came_to_nothing_less_often_are_looked_at_first() {
    let mut desk = full_desk();
    // Peer 8 told something of no use, peer 9 did not.
    desk.ignore(known(100, 0, 1).key);
    desk.news(8, header(&known(300, 0, 1)));
    desk.ignore(known(300, 0, 1).key);
    desk.news(0, header(&known(301, 0, 1)));
    let (useless, honest) = (known(302, 0, 1), known(1, 0, 3));
    desk.news(8, header(&useless));
    desk.news(9, header(&honest));
    desk.ignore(known(101, 0, 1).key);
    assert_eq!(desk.headers.last(), Some(&honest.key));
    desk.ignore(known(102, 0, 1).key);
    assert_eq!(desk.headers.last(), Some(&useless.key));
}

#[test]
fn what_a_peer_verifies_while_its_header_waits_is_not_lost() {
    for by_list in [false, true] {
        let mut desk = full_desk();
        let honest = known(1, 0, 3);
        fill(&mut desk.pools, &honest, |_| true);
        desk.news(9, header(&honest));
        desk.advance(9, if by_list { listed(&honest) } else { announced(&honest, true) });
        desk.ignore(known(103, 0, 1).key);
        desk.answer_honestly(9, &honest);
        desk.assert_has(&honest);
    }
}

#[test]
fn a_block_that_waits_is_looked_at_when_another_peer_s_turn_brings_it() {
    let mut desk = full_desk();
    let honest = known(1, 0, 3);
    desk.news(9, header(&honest));
    desk.news(10, announced(&honest, false));
    desk.news(11, announced(&honest, true));
    desk.ignore(known(103, 0, 1).key);
    let asked = desk.question(11);
    desk.answer_asked(&asked, &honest);
    desk.accept(honest.key);
    assert!((9..12).all(|peer| desk.permits.contains_key(&peer)));
}

#[test]
fn a_thousand_headers_from_one_peer_do_not_keep_out_the_honest_one() {
    let mut desk = Desk::new(2);
    let honest = known(1, 0, 3);
    fill(&mut desk.pools, &honest, |_| true);
    for seed in 0..1000 {
        let garbage = known(1000 + seed, 0, 0);
        desk.news(0, header(&garbage));
        if seed == 500 {
            desk.news(1, compacted(&honest));
            assert_eq!(desk.headers.last(), Some(&honest.key));
            desk.accept(honest.key);
        }
        desk.ignore(garbage.key);
        assert!(desk.router.relay.pending() <= 1);
    }
    desk.assert_has(&honest);
}

#[test]
fn no_verdict_in_time_is_ignore() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(2);
    desk.news(0, compacted(&block));
    desk.news(1, announced(&block, true));
    desk.pass(VERDICT_TIMEOUT - SECOND);
    assert_eq!(desk.permits.len(), 0);
    desk.pass(SECOND);
    assert_eq!((desk.permits.len(), desk.router.relay.pending(), desk.blamed.len()), (2, 0, 0));
    let now = desk.now;
    let verdict = desk.router.relay.accept(now, block.key, state_hash(&block.key), &mut desk.pools);
    assert_eq!(verdict, Err(UnknownBlock(block.key)));
    // What comes late is no news.
    desk.news(1, header(&block));
    assert_eq!((desk.headers.len(), desk.permits.len()), (1, 2));
}

#[test]
fn the_time_for_a_verdict_begins_again_with_the_body() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(1);
    desk.news(0, compacted(&block));
    desk.pass(VERDICT_TIMEOUT - SECOND);
    desk.answer_honestly(0, &block);
    desk.pass(VERDICT_TIMEOUT - SECOND);
    desk.accept(block.key);
    desk.assert_has(&block);
}

#[test]
fn a_rejected_header_is_the_fault_of_all_who_told_of_it_and_of_no_others() {
    let (block, fine) = (known(1, 0, 5), known(2, 0, 5));
    let mut desk = Desk::new(4);
    desk.news(0, header(&block));
    desk.news(2, announced(&block, true));
    desk.news(3, header(&fine));
    desk.reject(block.key);
    assert_eq!(desk.blamed_peers(), [0, 2]);
    assert!(desk.blamed.iter().all(|(_, rule)| *rule == Rule::HeaderRejected { key: block.key }));
    desk.accept(fine.key);
    desk.pass(SECOND);
}

#[test]
fn a_block_that_is_rejected_after_its_header_was_accepted_is_nobody_s_fault() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(0, compacted(&block));
    desk.news(1, header(&block));
    desk.accept_header(block.key);
    desk.reject(block.key);
    assert_eq!((desk.blamed.len(), desk.permits.len()), (0, 2));
    assert!(desk.pools.blocks.get(&block.key).is_none(), "it is not relayed any more");
    // The same while the body is still being fetched.
    let block = known(2, 0, 5);
    desk.news(0, header(&block));
    desk.accept_header(block.key);
    desk.reject(block.key);
    assert_eq!((desk.blamed.len(), desk.permits.len(), desk.router.relay.pending()), (0, 2, 0));
    assert!(desk.pools.blocks.get(&block.key).is_none());
}

#[test]
fn keys_of_no_blocks_cost_a_question_each() {
    let mut desk = Desk::new(2);
    for number in 0..300_u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let garbage = Announcement { key: BlockKey(key), height: number, state_hash: None, root: None };
        desk.news(0, News::Announced(garbage));
        assert_eq!(desk.asked.len(), 1);
        desk.answer_by(0, BlockAnswer::NotHere);
        assert_eq!((desk.router.relay.pending(), desk.asked.len()), (0, 0));
    }
    assert_eq!((desk.headers.len(), desk.blamed.len()), (0, 0));
}

#[test]
fn an_announced_header_is_asked_of_the_next_who_told_of_it() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(3);
    for peer in 0..3 {
        desk.news(peer, announced(&block, peer == 2));
    }
    assert_eq!(desk.asked.len(), 1);
    desk.answer_by(0, BlockAnswer::NotHere);
    desk.pass(SECOND);
    assert_eq!((desk.asked_of(1).len(), desk.asked_of(2).len()), (1, 1), "the second is slow");
    desk.answer_honestly(2, &block);
    desk.assert_has(&block);
}

#[test]
fn an_announced_block_that_nobody_gives_is_forgotten_and_may_be_told_again() {
    let block = known(1, 0, 5);
    let mut desk = Desk::new(2);
    desk.news(0, announced(&block, false));
    desk.disconnect(0);
    assert_eq!(desk.router.relay.pending(), 0);
    desk.news(1, compacted(&block));
    desk.answer_honestly(1, &block);
    desk.assert_has(&block);
}

#[test]
fn direct_permits_move_to_those_that_are_first_and_one_stays_with_a_dialed_peer() {
    let mut desk = Desk::alone(RelayConfig { direct_len: 5000, direct_peers: 2 });
    for peer in 0..5 {
        desk.connect(peer, if peer == 4 { Dialer::Us } else { Dialer::Peer });
    }
    let direct =
        |desk: &Desk| desk.permits.iter().filter(|(_, len)| **len == 5000).map(|(peer, _)| *peer).collect::<Vec<_>>();
    assert_eq!(direct(&desk), [0, 4]);
    for seed in 0..6 {
        let block = known(seed, 0, 0);
        desk.news(2, header(&block));
        desk.news(3, announced(&block, false));
        desk.accept_header(block.key);
    }
    assert_eq!(direct(&desk), [2, 4], "changed while a permit was out, and by the next permit");
    desk.disconnect(4);
    assert_eq!(direct(&desk), [0, 2]);
}

#[test]
fn a_new_peer_that_is_chosen_is_given_its_permit_once() {
    let mut desk = Desk::alone(RelayConfig { direct_len: 5000, direct_peers: 1 });
    desk.connect(1, Dialer::Peer);
    assert_eq!(desk.permits[&1], 5000);
    // The dialed one takes the place; the other's permit is changed.
    desk.connect(2, Dialer::Us);
    assert_eq!((desk.permits[&1], desk.permits[&2]), (0, 5000));
}

#[test]
fn accepted_headers_without_bodies_are_bounded() {
    let mut desk = Desk::new(1);
    for seed in 0..=UNFINISHED_MAX as u64 {
        let block = known(seed, 0, 1);
        desk.news(0, header(&block));
        desk.accept_header(block.key);
        desk.pass(SECOND / 10);
    }
    assert_eq!(desk.router.relay.pending(), UNFINISHED_MAX);
    assert_eq!(desk.failed, [(known(0, 0, 1).key, BlockFailure::TooMany)]);
    assert_eq!(desk.permits.len(), 1);
}

#[test]
fn a_user_that_sets_a_tip_while_peers_wait_frees_them() {
    let block = known(1, 0, 3);
    let mut desk = Desk::new(3);
    for peer in 0..3 {
        desk.news(peer, announced(&block, true));
    }
    assert!(desk.permits.is_empty());
    let tip = tip(&block);
    desk.pools.set_tip(tip);
    let now = desk.now;
    desk.router.relay.had(now, &block.key, &mut desk.pools);
    desk.drain();
    assert_eq!((desk.permits.len(), desk.router.relay.pending()), (3, 0));
    // And is told of by more: their permits are renewed at once.
    desk.connect(9, Dialer::Peer);
    desk.news(9, compacted(&block));
    assert_eq!((desk.permits.len(), desk.headers.len()), (4, 0));
}

#[test]
fn a_user_that_takes_no_events_is_told_of_no_more_blocks() {
    let mut desk = Desk::new(20);
    desk.takes_events = false;
    let mut seed = 0;
    for _ in 0..10 {
        for peer in desk.permits.keys().copied().collect::<Vec<_>>() {
            seed += 1;
            desk.news(peer, header(&known(seed, 0, 1)));
        }
        desk.pass(VERDICT_TIMEOUT);
        assert!(desk.untaken <= UNTAKEN_MAX, "{}", desk.untaken);
    }
    let told = desk.headers.len();
    while desk.untaken > 0 {
        desk.take_event();
        desk.drain();
        desk.pass(VERDICT_TIMEOUT);
    }
    assert!(desk.headers.len() > told, "those that waited are looked at when it takes events again");
    assert_eq!(desk.permits.len(), 20, "and all may tell of the next");
}
