//! Who is connected, who may be, and what is known of them.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p::message::{RpcRequest, TransactionHash};
use mina_p2p::{
    Answer, Channel, CloseReason, CommandError, ConnectError, DialError, Direction, Event, Limits, Refusal, Request,
    RequestFailure, Response, SlotLimits,
};

use crate::common::{
    TestNode, block, connect, eventually, hash, pair, quic, round_trip, traffic, transaction, transport,
};
use crate::relay::Relay;

const AN_HOUR: Duration = Duration::from_secs(3600);

#[test]
pub(crate) fn a_banned_peer_is_disconnected_and_kept_out_until_the_ban_is_lifted() {
    let (mut a, mut b) = pair();
    a.node.ban(b.id(), AN_HOUR).unwrap();
    assert_eq!(a.disconnected_from(b.id()), CloseReason::Banned);
    assert_eq!(b.disconnected_from(a.id()), CloseReason::Banned);
    let bans = a.node.bans();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].0, b.id());
    assert!(bans[0].1 <= AN_HOUR);

    assert!(matches!(a.node.dial(&b.address()), Err(CommandError::Dial(Refusal::Banned { .. }))));
    b.node.dial(&a.address()).unwrap();
    assert_eq!(b.dial_failed(), DialError::Connect(ConnectError::Closed(CloseReason::Banned)));

    assert_eq!(a.node.unban(b.id()), Ok(true));
    assert_eq!(a.node.unban(b.id()), Ok(false));
    assert_eq!(a.node.bans(), []);
    connect(&mut b, &mut a);
    assert_eq!(a.others().count(), 0, "who was refused is no event");
}

#[test]
pub(crate) fn a_ban_ends_by_itself() {
    let (a, mut b) = pair();
    a.node.ban(b.id(), Duration::from_millis(300)).unwrap();
    b.disconnected_from(a.id());
    loop {
        b.node.dial(&a.address()).unwrap();
        let connected = b.until("end of the dial", |event| match event {
            Event::PeerConnected { .. } => Some(true),
            Event::DialFailed { reason, .. } => {
                assert_eq!(*reason, DialError::Connect(ConnectError::Closed(CloseReason::Banned)));
                Some(false)
            }
            _ => None,
        });
        if connected {
            break;
        }
    }
    assert_eq!(a.node.bans(), []);
}

#[test]
pub(crate) fn a_stranger_can_be_banned_before_it_comes() {
    let (a, mut b) = (TestNode::start(1), TestNode::start(2));
    a.node.ban(b.id(), AN_HOUR).unwrap();
    b.node.dial(&a.address()).unwrap();
    assert_eq!(b.dial_failed(), DialError::Connect(ConnectError::Closed(CloseReason::Banned)));
}

fn slots(change: impl FnOnce(&mut SlotLimits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.slots);
    limits
}

#[test]
pub(crate) fn a_full_node_refuses_and_takes_the_next_when_one_has_gone() {
    let mut full = TestNode::with(1, |builder| builder.limits(slots(|slots| slots.inbound = 1)));
    let (mut first, mut second) = (TestNode::start(2), TestNode::start(3));
    connect(&mut first, &mut full);
    second.node.dial(&full.address()).unwrap();
    assert_eq!(second.dial_failed(), DialError::Connect(ConnectError::Closed(CloseReason::Capacity)));
    first.node.disconnect(full.id()).unwrap();
    full.disconnected_from(first.id());
    connect(&mut second, &mut full);
    // Its own dials have slots of their own.
    connect(&mut full, &mut first);
}

#[test]
pub(crate) fn a_full_node_does_not_dial() {
    let mut full = TestNode::with(1, |builder| builder.limits(slots(|slots| slots.peers = 1)));
    let (mut first, second) = (TestNode::start(2), TestNode::start(3));
    connect(&mut full, &mut first);
    assert!(matches!(full.node.dial(&second.address()), Err(CommandError::Dial(Refusal::Capacity { limit: 1, .. }))));
}

#[test]
pub(crate) fn a_connected_peer_is_not_dialed_again() {
    let (a, b) = pair();
    assert_eq!(a.node.dial(&b.address()), Err(CommandError::Dial(Refusal::Duplicate)));
    assert_eq!(b.node.dial(&a.address()), Err(CommandError::Dial(Refusal::Duplicate)));
}

#[test]
pub(crate) fn disconnecting_ends_the_connection_at_both_ends() {
    let (mut a, mut b) = pair();
    a.node.disconnect(b.id()).unwrap();
    assert_eq!(a.disconnected_from(b.id()), CloseReason::Unspecified);
    assert_eq!(b.disconnected_from(a.id()), CloseReason::Unspecified);
    assert!(a.node.peers().is_empty() && b.node.peers().is_empty());
    assert_eq!(a.node.disconnect(b.id()), Err(CommandError::NotConnected(Some(b.id()))));
    connect(&mut b, &mut a);
}

#[test]
pub(crate) fn a_second_node_with_the_same_key_is_refused_while_the_first_lives() {
    let (mut a, mut b) = (TestNode::start(1), TestNode::start(2));
    let mut twin = TestNode::start(2);
    connect(&mut b, &mut a);
    twin.node.dial(&a.address()).unwrap();
    assert_eq!(twin.dial_failed(), DialError::Connect(ConnectError::Closed(CloseReason::Duplicate)));
    round_trip(&mut a, &mut b);
    assert_eq!(a.others().count() + b.others().count(), 0);
}

/// As many requests as a peer works on at once are out: a ping would have to wait for its turn.
#[test]
pub(crate) fn a_busy_peer_is_not_taken_for_dead() {
    let (mut a, mut b) = (TestNode::start(1), TestNode::start(2));
    let mut twin = TestNode::start(2);
    connect(&mut b, &mut a);
    let request = |n| Request::Rpc(RpcRequest::Transaction(TransactionHash([n; 32])));
    let ids: Vec<_> = (0..5).map(|n| a.ask(b.id(), request(n))).collect();
    let asked: Vec<_> = (0..5).map(|_| b.asked().0).collect();
    twin.node.dial(&a.address()).unwrap();
    assert_eq!(twin.dial_failed(), DialError::Connect(ConnectError::Closed(CloseReason::Duplicate)));
    for responder in asked {
        b.node.respond(responder, Response::Rpc(None)).unwrap();
    }
    for id in ids {
        assert_eq!(a.response(id), Ok(Answer::Rpc(None)));
    }
    assert_eq!(a.others().count() + b.others().count(), 0);
}

#[test]
pub(crate) fn a_dead_connection_yields_to_a_new_one_of_the_same_peer() {
    let (mut a, mut old) = (TestNode::start(1), TestNode::start(2));
    let relay = Relay::to(a.socket());
    old.node.dial(&quic(a.id(), relay.address())).unwrap();
    old.connected_to(a.id());
    a.connected_to(old.id());
    let pending = a.ask(old.id(), Request::Rpc(RpcRequest::BestTipWithProof));
    old.asked();
    relay.cut();
    let mut new = TestNode::start(2);
    new.node.dial(&a.address()).unwrap();
    new.connected_to(a.id());
    // In this order, so that the user always knows of one connection.
    assert!(matches!(a.next(), Event::Response { request, answer: Err(RequestFailure::Disconnected), .. }
        if request == pending));
    assert!(matches!(a.next(), Event::PeerDisconnected { reason: CloseReason::Duplicate, .. }));
    assert!(matches!(a.next(), Event::PeerConnected { .. }));
    assert_eq!(a.node.peers().len(), 1);
    round_trip(&mut a, &mut new);
    assert_eq!(a.others().count(), 0);
}

#[test]
pub(crate) fn a_peer_that_falls_silent_is_dropped_at_both_ends() {
    let limits = || {
        transport(|limits| {
            limits.idle_timeout = Duration::from_secs(1);
            limits.keep_alive_interval = Duration::from_millis(200);
        })
    };
    let mut a = TestNode::with(1, |builder| builder.limits(limits()));
    let mut b = TestNode::with(2, |builder| builder.limits(limits()));
    let relay = Relay::to(a.socket());
    b.node.dial(&quic(a.id(), relay.address())).unwrap();
    a.connected_to(b.id());
    b.connected_to(a.id());
    round_trip(&mut a, &mut b);
    relay.cut();
    assert_eq!(a.disconnected_from(b.id()), CloseReason::IdleTimeout);
    assert_eq!(b.disconnected_from(a.id()), CloseReason::IdleTimeout);
}

#[test]
pub(crate) fn figures_are_what_was_sent_and_received() {
    let mut a = TestNode::with(1, |builder| builder.agent("first"));
    let mut b = TestNode::start(2);
    connect(&mut a, &mut b);
    a.node.set_best_tip(hash(1), block(hash(0), 1, 10_000)).unwrap();
    b.tip();
    let (info, _) = transaction(1, 0);
    b.node.add_transaction(info, Bytes::from(vec![7; 1_000])).unwrap();
    a.offered_transaction();
    let id = a.ask(b.id(), Request::Rpc(RpcRequest::Transaction(info.hash)));
    assert!(a.response(id).is_ok());

    // The same from both ends, once all has arrived.
    let channels = [Channel::BestTip, Channel::Transaction, Channel::Snark, Channel::SnarkJobCommitment, Channel::Rpc];
    let both = |channel| {
        let [sent, received] = traffic(&a.figures(b.id()), channel);
        let [theirs_sent, theirs_received] = traffic(&b.figures(a.id()), channel);
        (sent == theirs_received && received == theirs_sent).then_some([sent, received])
    };
    for channel in channels {
        eventually("the same figures at both ends", || both(channel).is_some());
    }
    // A permit is a tag and, but for a tip, a number; each message has a head of 4 bytes.
    let [sent, received] = both(Channel::BestTip).unwrap();
    assert_eq!(sent, (2, 5 + 4 + 1 + 10_000), "a permit and the tip");
    assert_eq!(received, (2, 2 * 5), "a permit, and another when the tip was taken");
    let [sent, received] = both(Channel::Rpc).unwrap();
    assert_eq!((sent.0, received.0), (1, 1));
    assert!((1_004..1_024).contains(&received.1), "{received:?}");
    assert_eq!(both(Channel::Snark), Some([(1, 6), (1, 6)]));

    let (of_b, of_a) = (a.figures(b.id()), b.figures(a.id()));
    assert_eq!((of_b.direction, of_a.direction), (Direction::Dialed, Direction::Accepted));
    assert_eq!((of_b.address, of_a.address), (b.socket(), a.socket()));
    assert_eq!(of_a.agent, "first");
    assert_eq!(of_a.session.last_tip, of_b.session.last_tip_sent);
    assert!(of_a.session.last_tip.is_some());
    assert!(of_a.session.permits_out.best_tip && of_a.session.permits_out.transactions == 32);
    assert!(of_a.wire.bytes_received > 10_000 && of_b.wire.bytes_sent > 10_000);
    assert!(of_b.wire.bytes_received > 1_000 && of_a.wire.bytes_sent > 1_000);
    assert!(!of_a.rtt.is_zero() && !of_b.rtt.is_zero());
}
