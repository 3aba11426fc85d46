//! Blocks travel compactly from node to node.

use std::collections::BTreeSet;

use bytes::Bytes;
use mina_p2p::block::generate::{self, Recipe};
use mina_p2p::block::{ItemForm, ItemKind, KnownBlock, canonical};
use mina_p2p::message::{BlockKey, BlockQuery, Capabilities, CompactMessage, ExtensionMessage, StateHash};
use mina_p2p::{Channel, CloseReason, CommandError, Event, HowItCame, PeerId, Via};

use crate::common::{TestNode, connect, eventually, hash, pair, round_trip, secret, traffic, transaction};
use crate::raw::{self, Raw, framed};

/// A block with works and commands: about 300 KB.
fn block(seed: u64) -> KnownBlock {
    let recipe = Recipe { previous_state_hash: hash(9), height: 77, ..Recipe::counts(seed, 10, 40, 3) };
    KnownBlock::of(generate::block(&recipe)).unwrap()
}

/// Puts those of a block's items into a node's pool that `which` takes.
fn fill(node: &TestNode, block: &KnownBlock, which: impl Fn(usize) -> bool) {
    for (place, item) in block.layout.items.iter().enumerate().filter(|(place, _)| which(*place)) {
        let bytes = block.bytes.slice(item.range.clone());
        match item.kind {
            ItemKind::Work => node.node.add_completed_work(bytes).map(drop).unwrap(),
            ItemKind::SignedCommand => node.node.add_command(bytes).map(drop).unwrap(),
            ItemKind::ZkappCommand => {
                node.node.add_transaction(transaction(place as u16, 0).0, bytes).map(drop).unwrap()
            }
        }
    }
}

impl TestNode {
    fn header(&mut self) -> (PeerId, BlockKey, Bytes) {
        self.until("header", |event| match event {
            Event::Header { peer, key, header, height: 77, previous_state_hash } if *previous_state_hash == hash(9) => {
                Some((*peer, *key, header.clone()))
            }
            _ => None,
        })
    }

    fn block(&mut self) -> (BlockKey, Bytes, HowItCame) {
        self.until("block", |event| match event {
            Event::Block { key, block, how, .. } => Some((*key, block.clone(), *how)),
            _ => None,
        })
    }
}

#[test]
pub(crate) fn a_block_is_rebuilt_from_the_pool_byte_for_byte_without_a_question() {
    let (a, mut b) = pair();
    let block = block(1);
    fill(&b, &block, |_| true);
    let key = a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    assert_eq!(key, block.key);
    let (peer, told, header) = b.header();
    assert_eq!((peer, told), (a.id(), key));
    assert!(header == block.header());
    b.node.accept_header(key, None).unwrap();
    let (came, bytes, how) = b.block();
    assert_eq!(came, key);
    assert!(bytes == block.bytes);
    assert_eq!((how.via, how.items, how.hits, how.fetched, how.round_trips), (Via::List, 53, 53, 0, 0));
    assert!(how.received < header.len() + 100 + 8 * 53, "{how:?}");
    b.node.accept(key, hash(1)).unwrap();
    assert!(traffic(&b.figures(a.id()), Channel::BestTip)[1].1 < 100, "it does not come whole besides");
}

#[test]
pub(crate) fn what_the_pool_lacks_is_fetched_with_one_question() {
    let (a, mut b) = pair();
    let block = block(2);
    fill(&b, &block, |place| place % 5 != 0);
    a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    b.header();
    let (_, bytes, how) = b.block();
    assert!(bytes == block.bytes);
    assert_eq!((how.via, how.items, how.hits, how.fetched, how.round_trips), (Via::List, 53, 42, 11, 1));
    assert!(how.received < block.bytes.len());
}

#[test]
pub(crate) fn with_an_empty_pool_a_block_costs_little_more_than_itself() {
    let (a, mut b) = pair();
    let block = block(3);
    a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    let (_, bytes, how) = b.block();
    assert!(bytes == block.bytes);
    assert_eq!((how.via, how.hits, how.fetched), (Via::List, 0, 53));
    assert!(how.received * 100 <= block.bytes.len() * 103, "{how:?}");
}

#[test]
pub(crate) fn what_the_sender_never_offered_comes_with_the_list() {
    let (a, mut b) = pair();
    let block = block(4);
    let commands = |place: usize| block.layout.items[place].kind == ItemKind::SignedCommand;
    fill(&b, &block, |place| !commands(place));
    fill(&a, &block, |_| true);
    a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    let (_, bytes, how) = b.block();
    assert!(bytes == block.bytes);
    // The permits for offers and for the block are independent: what was offered already is asked for instead.
    assert_eq!((how.via, how.hits + how.prefilled + how.fetched), (Via::List, 53));
    assert!(how.hits <= 13);
}

#[test]
pub(crate) fn a_fork_is_rebuilt_from_the_items_of_the_block_before() {
    let (a, mut b) = pair();
    let one = block(5);
    a.node.set_best_tip(hash(1), one.bytes.clone()).unwrap();
    let key = b.header().1;
    b.node.accept_header(key, None).unwrap();
    b.block();
    // The same body with another header: another producer's.
    let other = generate::with_body(&generate::header(99, 77, hash(9)), &one.bytes[one.layout.body.clone()]);
    let other = KnownBlock::of(other.into()).unwrap();
    a.node.announce_block(hash(2), other.bytes.clone()).unwrap();
    let (_, bytes, how) = b.block();
    assert!(bytes == other.bytes);
    assert_eq!((how.hits, how.fetched), (53, 0));
}

#[test]
pub(crate) fn an_accepted_header_runs_ahead_of_the_body_and_an_ignored_one_ends() {
    let mut nodes: Vec<TestNode> = (1..=3).map(TestNode::start).collect();
    for i in 0..2 {
        let (left, right) = nodes.split_at_mut(i + 1);
        connect(&mut left[i], &mut right[0]);
    }
    let [a, b, c] = &mut nodes[..] else { unreachable!() };
    let (one, two) = (block(6), block(7));
    a.node.announce_block(hash(1), one.bytes.clone()).unwrap();
    let key = b.header().1;
    b.node.accept_header(key, Some(hash(1))).unwrap();
    assert_eq!(c.header().1, one.key);
    // The middle has accepted nothing but the header, and relays the rest as soon as it has verified it.
    let (_, bytes, how) = c.block();
    assert!(bytes == one.bytes);
    assert_eq!(how.via, Via::List);

    a.node.announce_block(hash(2), two.bytes.clone()).unwrap();
    assert_eq!(b.block().0, one.key);
    assert_eq!(b.block().0, two.key);
    b.node.ignore(two.key).unwrap();
    assert_eq!(b.node.accept(two.key, hash(2)), Err(CommandError::UnknownBlock(mina_p2p::UnknownBlock(two.key))));
    c.node.accept_header(one.key, None).unwrap();
    round_trip(b, c);
    round_trip(c, b);
    assert!(!c.others().any(|event| matches!(event, Event::Header { .. })), "nobody accepted it");
}

#[test]
pub(crate) fn a_rejected_header_ends_the_connection_to_who_relayed_it() {
    // A verdict that comes later than the body is nobody's fault: then it is tried again.
    for seed in 8..28 {
        let (a, mut b) = pair();
        a.node.set_best_tip(hash(1), block(seed).bytes.clone()).unwrap();
        let key = b.header().1;
        b.node.reject(key).unwrap();
        let end = b.until("the body or an end", |event| match event {
            Event::Block { .. } => Some(None),
            Event::PeerDisconnected { reason, .. } => Some(Some(reason.clone())),
            _ => None,
        });
        match end {
            None => {}
            Some(CloseReason::Violation(why)) => return assert!(why.contains("header_rejected"), "{why}"),
            Some(other) => panic!("{other}"),
        }
    }
    panic!("the body always came first");
}

#[test]
pub(crate) fn a_body_that_is_rejected_is_nobody_s_fault() {
    let (mut a, mut b) = pair();
    for (block, header_first) in [(block(9), true), (block(19), false)] {
        a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
        let key = b.header().1;
        if header_first {
            b.node.accept_header(key, None).unwrap();
        }
        b.block();
        b.node.reject(key).unwrap();
        round_trip(&mut a, &mut b);
    }
}

#[test]
pub(crate) fn the_own_tip_goes_to_new_peers_whatever_is_said_of_it() {
    let mut a = TestNode::start(1);
    let mut b = TestNode::start(2);
    let block = block(18);
    a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    a.node.ignore(block.key).unwrap();
    connect(&mut b, &mut a);
    assert!(b.block().1 == block.bytes);
}

#[test]
pub(crate) fn a_peer_without_compact_blocks_gets_and_gives_them_whole() {
    let mut a = TestNode::start(1);
    let mut b = TestNode::with(2, |builder| builder.compact_blocks(false));
    connect(&mut a, &mut b);
    let (one, two) = (block(10), block(11));
    a.node.set_best_tip(hash(1), one.bytes.clone()).unwrap();
    assert!(b.tip() == one.bytes);
    b.node.set_best_tip(hash(2), two.bytes.clone()).unwrap();
    assert!(a.tip() == two.bytes);
}

#[test]
pub(crate) fn a_peer_that_connects_later_gets_the_tip_compactly() {
    let mut a = TestNode::start(1);
    let mut b = TestNode::start(2);
    let (one, two) = (block(12), block(13));
    a.node.set_best_tip(hash(1), one.bytes.clone()).unwrap();
    a.node.set_best_tip(hash(2), two.bytes.clone()).unwrap();
    connect(&mut b, &mut a);
    assert_eq!(b.header().1, two.key);
    assert!(b.block().1 == two.bytes);
    assert!(!b.others().any(|event| matches!(event, Event::Header { .. } | Event::BestTip { .. })));
}

#[test]
pub(crate) fn a_block_from_several_peers_is_told_of_once_and_permits_go_on() {
    const PEERS: u8 = 8;
    let mut hub = TestNode::start(100);
    let mut peers: Vec<TestNode> = (1..=PEERS).map(TestNode::start).collect();
    for peer in &mut peers {
        connect(peer, &mut hub);
    }
    for round in 0..3 {
        let block = block(20 + round);
        for peer in &peers {
            peer.node.announce_block(hash(1), block.bytes.clone()).unwrap();
        }
        assert_eq!(hub.header().1, block.key);
        hub.node.accept_header(block.key, None).unwrap();
        let (key, bytes, _) = hub.block();
        assert_eq!(key, block.key);
        assert!(bytes == block.bytes);
    }
    let told: BTreeSet<_> = hub
        .others()
        .filter(|event| matches!(event, Event::Header { .. } | Event::Block { .. }))
        .map(|event| format!("{event:?}"))
        .collect();
    assert_eq!(told.len(), 0, "{told:?}");
    eventually("permits to all", || hub.node.peers().iter().all(|peer| peer.session.permits_out.block));
}

#[test]
pub(crate) fn a_block_that_the_user_gives_meanwhile_ends_the_wait_for_a_verdict() {
    let (a, mut b) = pair();
    let block = block(14);
    a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    b.header();
    b.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    b.node.accept(block.key, hash(1)).unwrap();
    eventually("the next permit", || b.node.peers().iter().all(|peer| peer.session.permits_out.block));
}

#[test]
pub(crate) fn items_are_named_from_their_bytes_and_kept_as_they_are_canonically() {
    let node = TestNode::start(1);
    let command = generate::command(1);
    let (info, added) = node.node.add_command(command.clone()).unwrap();
    assert!(added);
    assert_eq!(node.node.add_command(command.clone()).unwrap(), (info, false));
    assert_eq!(node.node.add_transaction(info, command.clone()), Ok(false));
    let (info, added) = node.node.add_completed_work(generate::work(2)).unwrap();
    assert!(added);
    assert_eq!(node.node.add_completed_work(generate::work(2)).unwrap(), (info, false));
    assert!(matches!(node.node.add_command(Bytes::from_static(b"no command")), Err(CommandError::NotAnItem(_))));
    assert!(matches!(node.node.add_completed_work(command), Err(CommandError::NotAnItem(_))));
}

/// An item with one of its integers spelled longer than needed, as the existing node takes it.
fn respelled(item: &Bytes, form: ItemForm) -> Bytes {
    let spelled = |at: usize| -> Bytes { [&item[..at], &[0xfe, item[at], 0], &item[at + 1..]].concat().into() };
    let places = (0..item.len()).filter(|at| item[*at] < 0x80).map(spelled);
    let mut same = places.filter(|long| canonical(form, long).is_ok_and(|short| short[..] == item[..]));
    same.next().expect("an item has small integers")
}

#[test]
pub(crate) fn a_block_is_rebuilt_from_a_pool_that_was_filled_with_other_spellings() {
    let (a, mut b) = pair();
    let block = block(17);
    for (place, item) in block.layout.items.iter().enumerate() {
        let bytes = block.item(place).unwrap();
        match item.kind {
            ItemKind::Work => b.node.add_completed_work(respelled(&bytes, ItemForm::BlockWork)).map(drop).unwrap(),
            _ => {
                let info = transaction(place as u16, 0).0;
                b.node.add_transaction(info, respelled(&bytes, ItemForm::Command)).map(drop).unwrap();
            }
        }
    }
    a.node.set_best_tip(hash(1), block.bytes.clone()).unwrap();
    let (_, bytes, how) = b.block();
    assert!(bytes == block.bytes);
    assert_eq!((how.via, how.hits, how.fetched), (Via::List, 53, 0));
}

#[test]
pub(crate) fn a_block_whose_body_is_another_is_not_announced() {
    let node = TestNode::start(1);
    let block = block(15);
    let header = generate::header(1, 1, StateHash([0; 32]));
    let false_block = [&header[..], &block.bytes[block.layout.body.clone()]].concat();
    assert!(matches!(node.node.announce_block(hash(1), false_block.into()), Err(CommandError::NotABlock(_))));
}

/// What a raw peer announces that speaks compact blocks.
fn compact() -> Capabilities {
    Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC | Capabilities::COMPACT_BLOCKS
}

#[test]
pub(crate) fn news_that_break_the_channel_s_rules_end_the_connection() {
    let known = block(16);
    let header = || CompactMessage::Header(known.header());
    let repeated = [framed(&header().encode()), framed(&header().encode())].concat();
    let long = [&(64 * 1024_u32 + 1).to_be_bytes()[..], &[3]].concat();
    let malformed = framed(&CompactMessage::Header(Bytes::from_static(&[1; 100])).encode()).to_vec();
    for (bytes, rule) in [(repeated, "news_without_permit"), (long, "frame_too_long"), (malformed, "malformed_header")]
    {
        let mut node = TestNode::start(1);
        raw::run(async {
            let mut peer = Raw::with(&secret(2), node.socket(), compact()).await;
            // The node's permit.
            let (mut send, _recv) = peer.permitted(Channel::CompactBlock).await;
            send.write_all(&bytes).await.unwrap();
            let reason = node.disconnected_from(peer.id);
            assert!(matches!(&reason, CloseReason::Violation(why) if why.contains(rule)), "{rule}: {reason:?}");
        });
    }
}

#[test]
pub(crate) fn a_peer_that_asks_for_blocks_and_does_not_read_is_answered_once() {
    let known = KnownBlock::of(generate::block(&Recipe::counts(17, 128, 8, 0))).unwrap();
    let mut node = TestNode::start(1);
    node.node.set_best_tip(hash(1), known.bytes.clone()).unwrap();
    let places: Vec<u32> = (0..known.ids.len() as u32).collect();
    let query = BlockQuery::Items { key: known.key, root: known.root, places };
    let ask = |id| {
        let (name, body) = (query.method().parse().unwrap(), query.encode());
        framed(
            &ExtensionMessage::Request { id, name, version: BlockQuery::VERSION, max_answer: 32 << 20, body }.encode(),
        )
    };
    let served = |node: &TestNode| node.node.peers().first().map_or(0, |peer| peer.session.requests_served);
    raw::run(async {
        let mut peer = Raw::with(&secret(2), node.socket(), compact()).await;
        node.connected_to(peer.id);
        let permitted = peer.permitted(Channel::CompactBlock).await;
        peer.keep(permitted);
        let mut streams = Vec::new();
        for id in 0..5 {
            streams.push(peer.open(Channel::ExtensionRpc.id(), &ask(id)).await);
        }
        // The first is answered; the others wait, whatever else the node does.
        eventually("four that wait", || served(&node) == 4);
        assert!(node.node.add_command(generate::command(1)).unwrap().1);
        assert_eq!(served(&node), 4);
        // One that is cancelled is forgotten, and the user hears nothing of it.
        let (mut send, mut recv) = streams.pop().unwrap();
        send.reset(1_u32.into()).unwrap();
        recv.stop(1_u32.into()).unwrap();
        eventually("three that wait", || served(&node) == 3);
        // Whoever reads gets all, in whatever order they came in.
        let answers = streams.iter_mut().map(|(_, recv)| raw::watched(recv.read_to_end(8 << 20)));
        for answer in futures_util::future::join_all(answers).await {
            assert!(answer.unwrap().len() > known.bytes.len() * 9 / 10);
        }
        assert_eq!(served(&node), 0);
        assert!(node.others().all(|event| !matches!(event, Event::Request { .. } | Event::RequestCancelled { .. })));
    });
}

#[test]
pub(crate) fn a_user_that_takes_its_events_is_told_of_block_after_block() {
    let (a, mut b) = pair();
    for seed in 30..50 {
        let recipe = Recipe { previous_state_hash: hash(9), height: 77, ..Recipe::counts(seed, 0, 1, 0) };
        let block = generate::block(&recipe);
        let key = a.node.set_best_tip(hash(seed as u8), block.clone()).unwrap();
        assert_eq!(b.header().1, key);
        let (told, bytes, _) = b.block();
        assert_eq!((told, bytes), (key, block));
        b.node.accept(key, hash(seed as u8)).unwrap();
    }
}
