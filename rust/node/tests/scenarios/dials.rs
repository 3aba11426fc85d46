//! Dials that fail, and those that are tried again.

use std::net::UdpSocket;
use std::time::Duration;

use mina_p2p::{
    Address, ChainId, CloseReason, CommandError, ConnectError, DialError, Event, Node, Refusal, TransportKind,
};

use crate::common::{TestNode, connect, loopback, quic, round_trip, secret, transport};

/// Enough for a handshake on a busy machine.
fn impatient() -> mina_p2p::Limits {
    transport(|limits| limits.authentication_timeout = Duration::from_secs(2))
}

#[test]
pub(crate) fn nobody_is_there() {
    let silent = UdpSocket::bind(loopback()).unwrap();
    let address = quic(secret(2).peer_id(), silent.local_addr().unwrap());
    let mut node = TestNode::with(1, |builder| builder.limits(impatient()));
    node.node.dial(&address).unwrap();
    assert_eq!(node.node.dial(&address), Err(CommandError::Dial(Refusal::Dialing)));
    let (dialed, reason) = node.until("failed dial", |event| match event {
        Event::DialFailed { address, reason } => Some((address.clone(), reason.clone())),
        _ => None,
    });
    assert_eq!(dialed, address);
    assert!(matches!(reason, DialError::Connect(ConnectError::TimedOut(_))), "{reason}");
}

#[test]
pub(crate) fn somebody_else_is_there() {
    let (mut a, b) = (TestNode::start(1), TestNode::start(2));
    a.node.dial(&quic(secret(3).peer_id(), b.socket())).unwrap();
    assert_eq!(a.dial_failed(), DialError::Connect(ConnectError::Refused(CloseReason::WrongIdentity)));
    assert!(b.node.peers().is_empty());
}

#[test]
pub(crate) fn it_is_this_node_itself() {
    let mut a = TestNode::start(1);
    assert_eq!(a.node.dial(&a.address()), Err(CommandError::Dial(Refusal::SelfConnection)));
    // Under another name.
    a.node.dial(&quic(secret(3).peer_id(), a.socket())).unwrap();
    assert_eq!(a.dial_failed(), DialError::Connect(ConnectError::Refused(CloseReason::SelfConnection)));
    // Another node with the same key.
    let twin = TestNode::start(1);
    a.node.dial(&quic(secret(3).peer_id(), twin.socket())).unwrap();
    assert_eq!(a.dial_failed(), DialError::Connect(ConnectError::Refused(CloseReason::SelfConnection)));
    assert!(a.node.peers().is_empty() && twin.node.peers().is_empty());
}

#[test]
pub(crate) fn it_is_on_another_chain() {
    let mut ours = TestNode::start(1);
    let other = Node::builder(secret(2), ChainId([8; 32])).listen(loopback()).start().unwrap();
    ours.node.dial(&other.listen_addresses()[0]).unwrap();
    assert_eq!(ours.dial_failed(), DialError::Connect(ConnectError::Closed(CloseReason::WrongChain)));
    // And the other way.
    other.dial(&ours.address()).unwrap();
    match other.wait(1, crate::common::WATCHDOG).pop() {
        Some(Event::DialFailed { reason, .. }) => {
            assert_eq!(reason, DialError::Connect(ConnectError::Closed(CloseReason::WrongChain)));
        }
        event => panic!("{event:?}"),
    }
    assert!(ours.node.peers().is_empty() && other.peers().is_empty());
}

#[test]
pub(crate) fn no_transport_reaches_it() {
    let mut node = TestNode::start(1);
    let [peer, relay] = [secret(2).peer_id(), secret(3).peer_id()];
    for text in [format!("/{peer}/p2p/{relay}"), format!("/ip4/127.0.0.1/tcp/8302/p2p/{}", peer.to_libp2p())] {
        let address: Address = text.parse().unwrap();
        node.node.dial(&address).unwrap();
        assert_eq!(node.dial_failed(), DialError::NoTransport);
    }
}

#[test]
pub(crate) fn a_transport_that_is_off_reaches_nobody() {
    let https = format!("/{}/https/signal.example.com/443", secret(2).peer_id()).parse().unwrap();
    for (on, address) in [(TransportKind::Quic, https), (TransportKind::WebRtc, quic(secret(2).peer_id(), loopback()))]
    {
        let mut node = TestNode::with(1, |builder| builder.transports(&[on]));
        node.node.dial(&address).unwrap();
        assert_eq!(node.dial_failed(), DialError::NoTransport);
    }
}

#[test]
pub(crate) fn an_initial_peer_is_dialed_until_it_is_there_and_again_when_it_was_away() {
    // A port that is free, and whose owner starts late.
    let socket = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap();
    let address = quic(secret(2).peer_id(), socket);
    let mut a = TestNode::with(1, |builder| {
        let own = quic(secret(1).peer_id(), loopback());
        builder.initial_peer(own).initial_peer(address.clone()).limits(impatient())
    });
    assert!(matches!(a.dial_failed(), DialError::Connect(_)));
    let mut b = TestNode::on(2, socket, |builder| builder);
    a.connected_to(b.id());
    round_trip(&mut a, &mut b);

    b.node.close().unwrap();
    assert_eq!(a.disconnected_from(b.id()), CloseReason::Shutdown);
    let mut b = TestNode::on(2, socket, |builder| builder);
    a.connected_to(b.id());
    round_trip(&mut a, &mut b);
    // Its own address was not dialed; the late peer's may have been in vain.
    for event in a.others() {
        assert!(matches!(event, Event::DialFailed { address: failed, .. } if *failed == address), "{event:?}");
    }
}

#[test]
pub(crate) fn an_initial_peer_has_several_addresses() {
    let mut b = TestNode::start(2);
    let silent = UdpSocket::bind(loopback()).unwrap();
    let in_vain = quic(b.id(), silent.local_addr().unwrap());
    let mut a = TestNode::with(1, |builder| {
        builder.initial_peer(in_vain.clone()).initial_peer(b.address()).limits(impatient())
    });
    a.connected_to(b.id());
    b.connected_to(a.id());
    // One dial, whose first address led nowhere.
    assert_eq!(a.others().count(), 0);
}

#[test]
pub(crate) fn an_initial_peer_that_was_disconnected_is_dialed_again() {
    let mut b = TestNode::start(2);
    let mut a = TestNode::with(1, |builder| builder.initial_peer(b.address()));
    for _ in 0..2 {
        a.connected_to(b.id());
        b.connected_to(a.id());
        b.node.disconnect(a.id()).unwrap();
        a.disconnected_from(b.id());
        b.disconnected_from(a.id());
    }
    a.connected_to(b.id());
}

#[test]
pub(crate) fn an_initial_peer_may_dial_first() {
    let mut b = TestNode::start(2);
    let mut a = TestNode::with(1, |builder| builder.initial_peer(b.address()));
    // Either dial may win; both ends hold one connection.
    let _ = b.node.dial(&a.address());
    a.connected_to(b.id());
    b.connected_to(a.id());
    round_trip(&mut a, &mut b);
    assert_eq!((a.node.peers().len(), b.node.peers().len()), (1, 1));
}

#[test]
pub(crate) fn nodes_that_only_dial_need_no_address() {
    let mut b = TestNode::start(2);
    let a = Node::builder(secret(1), crate::common::CHAIN).initial_peer(b.address()).start().unwrap();
    assert!(a.listen_addresses().is_empty());
    b.connected_to(a.peer_id());
    let mut c = TestNode::start(3);
    connect(&mut c, &mut b);
}
