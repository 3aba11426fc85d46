//! Pool items travel from node to node.

use mina_p2p::message::{RpcRequest, RpcResponse};
use mina_p2p::{Answer, Channel, CommandError, Event, IncomingRequest, Request, Response};

use crate::common::{
    TestNode, block, commitment, connect, eventually, hash, pair, round_trip, traffic, transaction, work,
};
use crate::swarm::{Held, Swarm};

fn ring_with_chords() -> Swarm {
    Swarm::connected(5, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (1, 3)])
}

#[test]
pub(crate) fn every_item_reaches_every_node_of_a_ring_with_its_bytes() {
    let mut swarm = ring_with_chords();
    let mut all = Held::default();
    for n in 0..20 {
        let member = &mut swarm.members[usize::from(n) % 5];
        let (info, body) = transaction(n, 20_000 * usize::from(n % 5));
        all.transactions.insert(info.hash, (info.fee, body.clone()));
        member.add_transaction(info, body);
        let (info, body) = work(n, 23_500);
        all.works.insert(info.job_id.0, (info.fee, body.clone()));
        member.add_work(info, body);
        let commitment = commitment(n);
        all.commitments.insert(commitment.job_id.0, commitment.fee);
        member.add_commitment(commitment);
    }
    swarm.drive_until_all_hold(&all);
}

#[test]
pub(crate) fn hundreds_of_items_converge() {
    let mut swarm = ring_with_chords();
    let mut all = Held::default();
    for n in 0..500 {
        let (info, body) = transaction(n, 200);
        all.transactions.insert(info.hash, (info.fee, body.clone()));
        swarm.members[usize::from(n) % 5].add_transaction(info, body);
    }
    swarm.drive_until_all_hold(&all);
}

#[test]
pub(crate) fn a_node_without_a_tip_gets_the_pools_of_one_with_a_tip() {
    let (a, mut b) = pair();
    a.node.set_best_tip(hash(1), block(hash(0), 1, 100)).unwrap();
    let (info, body) = transaction(1, 100);
    a.node.add_transaction(info, body).unwrap();
    assert_eq!(b.offered_transaction(), info);
}

#[test]
pub(crate) fn what_a_peer_gave_is_not_offered_back_to_it() {
    let (mut a, mut b) = pair();
    let ((first, body), (first_work, work_body)) = (transaction(1, 100), work(1, 100));
    a.node.add_transaction(first, body.clone()).unwrap();
    a.node.add_work(first_work, work_body.clone()).unwrap();
    b.offered_transaction();
    b.until("work", |event| matches!(event, Event::Work { .. }).then_some(()));
    b.node.add_transaction(first, body).unwrap();
    b.node.add_work(first_work, work_body).unwrap();
    let commitment_of = |node: &mut TestNode| {
        node.until("commitment", |event| match event {
            Event::Commitment { commitment, .. } => Some(*commitment),
            _ => None,
        })
    };
    a.node.add_commitment(commitment(1)).unwrap();
    let told = commitment_of(&mut b);
    b.node.add_commitment(told).unwrap();
    // Offers come in the order of the log: when the second is here, the first was passed over.
    let ((second, body), (second_work, work_body)) = (transaction(2, 100), work(2, 100));
    b.node.add_transaction(second, body).unwrap();
    b.node.add_work(second_work, work_body).unwrap();
    assert_eq!(a.offered_transaction(), second);
    let offered = a.until("work", |event| match event {
        Event::Work { info, .. } => Some(*info),
        _ => None,
    });
    assert_eq!(offered, second_work);
    b.node.add_commitment(commitment(2)).unwrap();
    assert_eq!(commitment_of(&mut a), commitment(2));
    // An item is 70 bytes and more, permits and promises are 6 each.
    for (channel, item) in [(Channel::Transaction, 70), (Channel::Snark, 170), (Channel::SnarkJobCommitment, 170)] {
        let [(_, sent), _] = traffic(&b.figures(a.id()), channel);
        assert!(sent < 2 * item, "{channel}: {sent}");
    }
}

#[test]
pub(crate) fn an_item_that_is_in_the_pool_is_not_reported() {
    let (a, mut b) = pair();
    let ((common, body), (new, new_body)) = (transaction(1, 100), transaction(2, 100));
    b.node.add_transaction(common, body.clone()).unwrap();
    a.node.add_transaction(common, body).unwrap();
    a.node.add_transaction(new, new_body).unwrap();
    assert_eq!(b.offered_transaction(), new);
    assert_eq!(b.others().count(), 0);
}

#[test]
pub(crate) fn an_item_that_changed_is_offered_again() {
    let (a, mut b) = pair();
    let (old, body) = transaction(1, 100);
    assert_eq!(a.node.add_transaction(old, body.clone()), Ok(true));
    assert_eq!(b.offered_transaction(), old);
    b.node.add_transaction(old, body.clone()).unwrap();
    assert_eq!(a.node.add_transaction(old, body.clone()), Ok(false), "it is the same");
    let mut new = old;
    new.fee += 1;
    assert_eq!(a.node.add_transaction(new, body), Ok(true));
    assert_eq!(b.offered_transaction(), new);
    assert_eq!(b.others().count(), 0);
}

#[test]
pub(crate) fn what_was_removed_is_neither_offered_nor_answered() {
    let mut a = TestNode::start(1);
    let mut b = TestNode::start(2);
    let ((gone, body), (stays, other_body)) = (transaction(1, 100), transaction(2, 100));
    a.node.add_transaction(gone, body).unwrap();
    a.node.add_transaction(stays, other_body).unwrap();
    assert_eq!(a.node.remove_transaction(&gone.hash), Ok(true));
    assert_eq!(a.node.remove_transaction(&gone.hash), Ok(false));
    connect(&mut b, &mut a);
    assert_eq!(b.offered_transaction(), stays);
    // The node's user may still know of it, and is asked.
    let request = b.ask(a.id(), Request::Rpc(RpcRequest::Transaction(gone.hash)));
    let (responder, asked) = a.asked();
    assert_eq!(asked, IncomingRequest::Rpc(RpcRequest::Transaction(gone.hash)));
    a.node.respond(responder, Response::Rpc(None)).unwrap();
    assert_eq!(b.response(request), Ok(Answer::Rpc(None)));

    let (gone, body) = work(1, 100);
    a.node.add_work(gone, body).unwrap();
    assert_eq!(a.node.remove_work(&gone.job_id), Ok(true));
    assert_eq!(a.node.remove_work(&gone.job_id), Ok(false));
    a.node.add_commitment(commitment(1)).unwrap();
    assert_eq!(a.node.remove_commitment(&commitment(1).job_id), Ok(true));
    assert_eq!(a.node.remove_commitment(&commitment(1).job_id), Ok(false));
}

#[test]
pub(crate) fn a_peer_that_was_away_gets_what_it_missed_and_nothing_else() {
    let (mut a, mut b) = pair();
    let (first, body) = transaction(1, 100);
    a.node.add_transaction(first, body.clone()).unwrap();
    assert_eq!(b.offered_transaction(), first);
    b.node.add_transaction(first, body).unwrap();

    a.node.disconnect(b.id()).unwrap();
    a.disconnected_from(b.id());
    b.disconnected_from(a.id());
    for n in 2..50 {
        let (info, body) = transaction(n, 100);
        a.node.add_transaction(info, body).unwrap();
    }
    let (own, body) = transaction(50, 100);
    b.node.add_transaction(own, body).unwrap();
    connect(&mut b, &mut a);
    for n in 2..50 {
        assert_eq!(b.offered_transaction(), transaction(n, 0).0);
    }
    assert_eq!(a.offered_transaction(), own);
    round_trip(&mut a, &mut b);
    assert_eq!((a.others().count(), b.others().count()), (0, 0));
}

#[test]
pub(crate) fn a_user_that_takes_no_events_gets_one_permits_worth_of_them() {
    let (mut a, mut b) = (TestNode::start(1), TestNode::start(2));
    // Before they are connected, or the permit may be used up by the first few.
    for n in 0..100 {
        let (info, body) = transaction(n, 10);
        a.node.add_transaction(info, body).unwrap();
    }
    connect(&mut a, &mut b);
    eventually("the first permit's items", || b.node.pending_events() == 32);
    // Answered by the library: the connection lives, and what was sent before has come.
    let request = a.ask(b.id(), Request::Rpc(RpcRequest::InitialPeers));
    assert!(matches!(a.response(request), Ok(Answer::Rpc(Some(RpcResponse::InitialPeers(_))))));
    assert_eq!(b.node.pending_events(), 32);
    for n in 0..100 {
        assert_eq!(b.offered_transaction(), transaction(n, 0).0);
    }
}

#[test]
pub(crate) fn items_that_no_peer_would_take_are_refused() {
    let node = TestNode::start(1);
    let (info, longest) = transaction(1, 512 << 10);
    assert_eq!(node.node.add_transaction(info, longest), Ok(true));
    let (info, too_long) = transaction(1, (512 << 10) + 1);
    assert!(matches!(node.node.add_transaction(info, too_long), Err(CommandError::TooLong { .. })));
    let (info, longest) = work(1, 64 << 10);
    assert_eq!(node.node.add_work(info, longest), Ok(true));
    let (info, too_long) = work(1, (64 << 10) + 1);
    assert!(matches!(node.node.add_work(info, too_long), Err(CommandError::TooLong { .. })));
}

#[test]
pub(crate) fn commitments_come_whole_and_once() {
    let (a, mut b) = pair();
    a.node.add_commitment(commitment(1)).unwrap();
    a.node.add_commitment(commitment(2)).unwrap();
    for n in [1, 2] {
        let (peer, offered) = b.until("commitment", |event| match event {
            Event::Commitment { peer, commitment } => Some((*peer, *commitment)),
            _ => None,
        });
        assert_eq!((peer, offered), (a.id(), commitment(n)));
    }
    // One that is known, told of again because it changed there and back.
    b.node.add_commitment(commitment(1)).unwrap();
    let mut other = commitment(1);
    other.fee += 1;
    assert_eq!(a.node.add_commitment(other), Ok(true));
    assert_eq!(a.node.add_commitment(commitment(1)), Ok(true));
    assert_eq!(a.node.add_commitment(commitment(3)), Ok(true));
    b.until("the last commitment", |event| match event {
        Event::Commitment { commitment: offered, .. } if *offered == commitment(3) => Some(()),
        _ => None,
    });
    let seen_again = |event: &Event| matches!(event, Event::Commitment { commitment: c, .. } if *c == commitment(1));
    assert!(!b.others().any(seen_again));
}
