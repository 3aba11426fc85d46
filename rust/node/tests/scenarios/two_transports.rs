//! Nodes that have both transports: which one is used, and what happens when one of them leads nowhere.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mina_p2p::{Address, Builder, Direction, Event, Host, Signaling, TransportKind};

use crate::common::{TestNode, block, eventually, hash, loopback, quic, round_trip, secret, transport};
use crate::relay::Relay;

/// A node with both, QUIC preferred.
fn both(n: u8, configure: impl FnOnce(Builder) -> Builder) -> TestNode {
    let kinds = [TransportKind::Quic, TransportKind::WebRtc];
    TestNode::with(n, |builder| configure(builder.transports(&kinds).signaling(loopback())))
}

/// Its address of this kind.
fn address_of(node: &TestNode, kind: TransportKind) -> Address {
    let is_it = |address: &&Address| match kind {
        TransportKind::WebRtc => matches!(address, Address::WebRtc { .. }),
        _ => matches!(address, Address::Quic { .. }),
    };
    node.node.listen_addresses().iter().find(is_it).expect("an address").clone()
}

/// The transport and direction of the only connection, which both ends agree on.
fn only_connection(a: &mut TestNode, b: &mut TestNode) -> (TransportKind, Direction) {
    a.connected_to(b.id());
    b.connected_to(a.id());
    round_trip(a, b);
    let (of_b, of_a) = (a.figures(b.id()), b.figures(a.id()));
    assert_eq!(of_b.transport, of_a.transport);
    assert_ne!(of_b.direction, of_a.direction);
    assert_eq!((a.node.peers().len(), b.node.peers().len()), (1, 1));
    (of_b.transport, of_b.direction)
}

#[test]
fn one_udp_port_and_one_for_signaling_are_listened_on() {
    let node = both(1, |builder| builder);
    match node.node.listen_addresses() {
        [Address::Quic { peer_id, .. }, Address::WebRtc { peer_id: same, signaling: Signaling::Http { host, .. } }] => {
            assert_eq!((*peer_id, *same), (node.id(), node.id()));
            assert_eq!(*host, Host::from(loopback().ip()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_event_says_by_what_a_peer_is_connected() {
    let mut b = both(2, |builder| builder);
    for (n, kind) in [(3, TransportKind::Quic), (4, TransportKind::WebRtc)] {
        let mut a = both(n, |builder| builder);
        a.node.dial(&address_of(&b, kind)).unwrap();
        for node in [&mut a, &mut b] {
            let told = node.until("connection", |event| match event {
                Event::PeerConnected { transport, .. } => Some(*transport),
                _ => None,
            });
            assert_eq!(told, kind);
        }
    }
}

#[test]
fn where_quic_leads_nowhere_webrtc_connects_without_waiting_for_it() {
    let mut b = both(2, |builder| builder);
    let silent = UdpSocket::bind(loopback()).unwrap();
    let blocked = quic(b.id(), silent.local_addr().unwrap());
    let webrtc = address_of(&b, TransportKind::WebRtc);
    // Only if the second did not wait for the first can it connect at all.
    let endless = transport(|limits| limits.authentication_timeout = Duration::from_secs(3_600));
    let mut a = both(1, |builder| builder.initial_peer(blocked).initial_peer(webrtc).limits(endless));
    assert_eq!(only_connection(&mut a, &mut b).0, TransportKind::WebRtc);
}

#[test]
fn a_session_that_loses_quic_comes_back_by_webrtc() {
    let limits = || {
        transport(|limits| {
            limits.idle_timeout = Duration::from_secs(1);
            limits.keep_alive_interval = Duration::from_millis(200);
        })
    };
    // The address of its own that it tells is another host's, so that only the way through the relay is known of QUIC, and that
    // of its signaling is learned.
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
    let mut b = TestNode::on(2, elsewhere, |builder| {
        builder.transports(&[TransportKind::Quic, TransportKind::WebRtc]).signaling(loopback()).limits(limits())
    });
    let relay = Relay::to(b.socket());
    let configured = quic(b.id(), relay.address());
    let mut a = both(1, |builder| builder.initial_peer(configured).limits(limits()));
    assert_eq!(only_connection(&mut a, &mut b).0, TransportKind::Quic);
    relay.block_quic();
    a.disconnected_from(b.id());
    b.disconnected_from(a.id());
    assert_eq!(only_connection(&mut a, &mut b).0, TransportKind::WebRtc);
    a.node.set_best_tip(hash(1), block(hash(0), 1, 10_000)).unwrap();
    assert_eq!(b.tip().len(), 10_000);
}

#[test]
fn dials_by_different_transports_that_cross_end_in_one_connection() {
    for n in 0..10 {
        let mut nodes = [both(2 * n + 1, |builder| builder), both(2 * n + 2, |builder| builder)];
        let [first, second] = if n % 2 == 0 { [0, 1] } else { [1, 0] };
        let addresses =
            [address_of(&nodes[second], TransportKind::WebRtc), address_of(&nodes[first], TransportKind::Quic)];
        nodes[first].node.dial(&addresses[0]).unwrap();
        // The other's may have connected already.
        let _ = nodes[second].node.dial(&addresses[1]);
        let ids = [nodes[0].id(), nodes[1].id()];
        for i in 0..2 {
            nodes[i].connected_to(ids[1 - i]);
        }
        // A connection may be replaced by the other one meanwhile, but one stays.
        eventually("the same connection at both ends", || {
            let of = |i: usize| nodes[i].node.peers().into_iter().map(|peer| peer.transport).collect::<Vec<_>>();
            of(0).len() == 1 && of(0) == of(1)
        });
    }
}

#[test]
fn a_webrtc_peer_whose_transport_is_off_is_reached_by_quic() {
    let mut b = both(2, |builder| builder.transports(&[TransportKind::Quic, TransportKind::WebRtc]));
    let addresses = b.node.listen_addresses().to_vec();
    let mut a = TestNode::with(1, |builder| {
        addresses.into_iter().rev().fold(builder, Builder::initial_peer).transports(&[TransportKind::Quic])
    });
    assert_eq!(only_connection(&mut a, &mut b).0, TransportKind::Quic);
    let c = TestNode::with(3, |builder| builder.transports(&[TransportKind::WebRtc]));
    assert!(c.node.listen_addresses().is_empty(), "without signaling nobody can dial it");
    assert_eq!(secret(3).peer_id(), c.id());
}
