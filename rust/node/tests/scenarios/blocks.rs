//! Tips travel from node to node.

use crate::common::{TestNode, block, connect, hash, pair};
use mina_p2p::message::{RpcRequest, RpcResponse};
use mina_p2p::{Answer, CommandError, Event, IncomingRequest, Request};

#[test]
pub(crate) fn a_tip_reaches_a_connected_peer_with_its_bytes() {
    let (a, mut b) = pair();
    let tip = block(hash(0), 1, 3_040_000);
    let key = a.node.set_best_tip(hash(1), tip.clone()).unwrap();
    let (peer, bytes, received, parent) = b.until("tip", |event| match event {
        Event::BestTip { peer, block, key, previous_state_hash } => {
            Some((*peer, block.clone(), *key, *previous_state_hash))
        }
        _ => None,
    });
    assert_eq!((peer, received, parent), (a.id(), key, hash(0)));
    assert!(bytes == tip);
}

#[test]
pub(crate) fn a_peer_that_connects_later_gets_the_current_tip_alone() {
    let mut a = TestNode::start(1);
    let mut b = TestNode::start(2);
    a.node.set_best_tip(hash(1), block(hash(0), 1, 100)).unwrap();
    a.node.set_best_tip(hash(2), block(hash(1), 2, 100)).unwrap();
    connect(&mut b, &mut a);
    assert!(b.tip() == block(hash(1), 2, 100));
    a.node.set_best_tip(hash(3), block(hash(2), 3, 100)).unwrap();
    assert!(b.tip() == block(hash(2), 3, 100));
}

#[test]
pub(crate) fn the_permit_is_renewed_only_when_the_event_was_taken() {
    let (a, mut b) = pair();
    for n in 1..=20 {
        a.node.set_best_tip(hash(n), block(hash(n - 1), n, 1_000)).unwrap();
    }
    let last = block(hash(19), 20, 1_000);
    let mut seen = 0;
    loop {
        // One permit at a time: of the tips set meanwhile only the newest comes.
        assert!(b.node.pending_events() <= 1);
        seen += 1;
        if b.tip() == last {
            break;
        }
    }
    assert!(seen <= 20);
}

#[test]
pub(crate) fn tips_are_relayed_along_a_line_of_nodes_and_back_comes_nothing() {
    let mut nodes: Vec<TestNode> = (1..=4).map(TestNode::start).collect();
    for i in 0..3 {
        let (left, right) = nodes.split_at_mut(i + 1);
        connect(&mut left[i], &mut right[0]);
    }
    for n in 1..=5 {
        let tip = block(hash(n - 1), n, 50_000);
        nodes[0].node.set_best_tip(hash(n), tip.clone()).unwrap();
        for (i, node) in nodes.iter_mut().enumerate().skip(1) {
            let got = node.tip();
            assert!(got == tip, "node {i} got {} in round {n}", got[40]);
            node.node.set_best_tip(hash(n), tip.clone()).unwrap();
        }
    }
    for node in &nodes {
        assert_eq!(node.others().filter(|event| matches!(event, Event::BestTip { .. })).count(), 0);
    }
    let figures = nodes[0].node.peers();
    assert_eq!(figures.len(), 1);
    assert_eq!(figures[0].session.last_tip, None, "nobody sent the first node its own tip");
}

#[test]
pub(crate) fn recent_tips_can_be_fetched_by_their_state_hash() {
    let (mut a, b) = pair();
    for n in 1..=3 {
        b.node.set_best_tip(hash(n), block(hash(n - 1), n, 1_000)).unwrap();
    }
    let request = a.node.request(Some(b.id()), Request::Rpc(RpcRequest::Block(hash(2)))).unwrap();
    match a.response(request).unwrap() {
        Answer::Rpc(Some(RpcResponse::Block(bytes))) => assert!(bytes == block(hash(1), 2, 1_000)),
        other => panic!("{other:?}"),
    }
}

#[test]
pub(crate) fn bytes_that_are_no_block_are_refused() {
    let node = TestNode::start(1);
    assert!(node.node.set_best_tip(hash(1), vec![0; 31].into()).is_err());
}

#[test]
pub(crate) fn the_longest_block_travels_as_a_tip_and_a_longer_one_is_refused() {
    const LONGEST: usize = (32 << 20) - 1;
    let (a, mut b) = pair();
    let too_long = block(hash(0), 1, LONGEST + 1);
    assert!(matches!(a.node.set_best_tip(hash(1), too_long), Err(CommandError::TooLong { max: LONGEST, .. })));
    let longest = block(hash(0), 1, LONGEST);
    a.node.set_best_tip(hash(1), longest.clone()).unwrap();
    assert!(b.tip() == longest);
}

#[test]
pub(crate) fn the_last_16_tips_are_kept() {
    let (mut a, mut b) = pair();
    for n in 1..=17 {
        b.node.set_best_tip(hash(n), block(hash(n - 1), n, 1_000)).unwrap();
    }
    let kept = a.ask(b.id(), Request::Rpc(RpcRequest::Block(hash(2))));
    assert!(matches!(a.response(kept), Ok(Answer::Rpc(Some(RpcResponse::Block(_))))));
    // The user may still have the others.
    a.ask(b.id(), Request::Rpc(RpcRequest::Block(hash(1))));
    assert_eq!(b.asked().1, IncomingRequest::Rpc(RpcRequest::Block(hash(1))));
}
