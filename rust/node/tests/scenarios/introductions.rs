//! Nodes that introduce their peers to each other.

use mina_p2p::message::{Capabilities, SignalingDiscoveryMessage};
use mina_p2p::{Builder, Channel, Direction, TransportKind};

use crate::common::{TestNode, connect, loopback, round_trip, secret};
use crate::raw::{Raw, framed, read, run};

fn node(n: u8, configure: impl FnOnce(Builder) -> Builder) -> TestNode {
    let kinds = [TransportKind::Quic, TransportKind::WebRtc];
    TestNode::with(n, |builder| configure(builder.transports(&kinds)))
}

/// Two nodes that know a third alone, and what carries their connections to it.
fn introduced(carriers: [TransportKind; 2]) {
    let mut relay = node(1, |builder| builder.signaling(loopback()));
    let mut dialer = node(2, |builder| builder.discover_peers(2));
    let mut target = node(3, |builder| builder);
    for (node, carrier) in [(&mut target, carriers[0]), (&mut dialer, carriers[1])] {
        let is_it = |address: &&mina_p2p::Address| match carrier {
            TransportKind::WebRtc => matches!(address, mina_p2p::Address::WebRtc { .. }),
            _ => matches!(address, mina_p2p::Address::Quic { .. }),
        };
        let address = relay.node.listen_addresses().iter().find(is_it).expect("an address").clone();
        node.node.dial(&address).unwrap();
        node.connected_to(relay.id());
        relay.connected_to(node.id());
    }
    dialer.connected_to(target.id());
    target.connected_to(dialer.id());
    let figures = dialer.figures(target.id());
    assert_eq!((figures.transport, figures.direction), (TransportKind::WebRtc, Direction::Dialed));
    round_trip(&mut dialer, &mut target);
    round_trip(&mut target, &mut dialer);
    // The relay is needed no longer.
    drop(relay);
    round_trip(&mut dialer, &mut target);
}

#[test]
fn two_peers_of_a_node_connect_by_its_introduction() {
    introduced([TransportKind::WebRtc; 2]);
}

#[test]
fn whatever_carries_their_connections_to_it() {
    introduced([TransportKind::Quic; 2]);
    introduced([TransportKind::WebRtc, TransportKind::Quic]);
    introduced([TransportKind::Quic, TransportKind::WebRtc]);
}

#[test]
fn a_node_that_takes_no_offers_is_introduced_to_nobody() {
    let mut relay = node(1, |builder| builder);
    let mut dialer = node(2, |builder| builder.discover_peers(3));
    let mut closed = node(3, |builder| builder.take_offers(false));
    let mut open = node(4, |builder| builder);
    connect(&mut closed, &mut relay);
    connect(&mut dialer, &mut relay);
    connect(&mut open, &mut relay);
    // It is the one that takes offers who is found, though the other has been there longer.
    dialer.connected_to(open.id());
    assert!(dialer.node.peers().iter().all(|peer| peer.peer != closed.id()));
}

#[test]
fn a_relay_that_names_a_peer_and_is_silent_then_does_not_keep_a_node_from_dialing_it() {
    run(async {
        let mut dialer = node(1, |builder| builder.discover_peers(3));
        let mut target = node(2, |builder| builder);
        let raw = Raw::with(&secret(9), dialer.socket(), Capabilities::RELAY_SIGNALING).await;
        dialer.connected_to(raw.id);
        let said = |message: SignalingDiscoveryMessage| framed(&message.encode());
        let (mut send, mut recv) =
            raw.open(Channel::SignalingDiscovery.id(), &said(SignalingDiscoveryMessage::GetNext)).await;
        let decoded = |body| SignalingDiscoveryMessage::decode(body).unwrap().value;
        assert_eq!(decoded(read(&mut recv).await), SignalingDiscoveryMessage::Discover);
        let target_key = secret(2).public_key();
        send.write_all(&said(SignalingDiscoveryMessage::Discovered { target: target_key })).await.unwrap();
        assert!(matches!(decoded(read(&mut recv).await), SignalingDiscoveryMessage::DiscoveredAccept(_)));
        connect(&mut dialer, &mut target);
        round_trip(&mut dialer, &mut target);
    });
}
