//! Which sockets a node listens on and dials from, and how it finds an address.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use mina_p2p_transport::{ConnectError, Limits};

#[tokio::test]
async fn a_dropped_listener_takes_no_more_and_keeps_what_it_has() {
    watchdog(async {
        let pair = Pair::new(&Quic, Limits::default()).await;
        let at = pair.arrivals.local_addr();
        drop(pair.arrivals);
        let dialer =
            Quic.node(key(3), Limits { authentication_timeout: Duration::from_millis(300), ..Limits::default() });
        failed(dialer.connect(&address(peer(2), at), &hello()).await);
        let (ours, theirs) =
            tokio::join!(pair.dialed.open(puller(mina_p2p_wire::Channel::Rpc)), pair.accepted.accept());
        ours.unwrap();
        theirs.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_node_dials_from_the_socket_it_listens_on() {
    watchdog(async {
        let dialer = Quic.node(key(1), Limits::default());
        let own = dialer.listen(loopback()).unwrap();
        let listener = Quic.node(key(2), Limits::default());
        let arrivals = listener.listen(loopback()).unwrap();
        let (_dialed, from) = dial(&dialer, &*arrivals, peer(2), &hello(), |incoming| async move {
            let from = incoming.remote_address();
            incoming.accept(&hello()).await.unwrap();
            from
        })
        .await;
        assert_eq!(from, own.local_addr());
    })
    .await;
}

#[tokio::test]
async fn both_families_share_a_port_and_reach_each_other() {
    watchdog(async {
        let node = Quic.node(key(2), Limits::default());
        let v4 = node.listen(loopback()).unwrap();
        let same_port = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), v4.local_addr().port());
        // A machine without IPv6 has nothing to show here.
        let Ok(v6) = node.listen(same_port) else { return };
        let dialer = Quic.node(key(1), Limits::default());
        let _own = dialer.listen(loopback()).unwrap();
        for arrivals in [&v4, &v6] {
            let (dialed, _accepted) = dial(&dialer, &**arrivals, peer(2), &hello(), |incoming| async {
                incoming.accept(&hello()).await.unwrap()
            })
            .await;
            dialed.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_domain_name_is_resolved_and_its_addresses_tried_in_order() {
    watchdog(async {
        let node = Quic.node(key(2), Limits::default());
        let arrivals = node.listen(loopback()).unwrap();
        let limits = Limits { authentication_timeout: Duration::from_secs(1), ..Limits::default() };
        let dialer = Quic.node(key(1), limits);
        // It may also name ::1, where nobody listens.
        let to = format!("/dns4/localhost/udp/{}/mina-quic/p2p/{}", arrivals.local_addr().port(), peer(2).to_libp2p());
        let (to, our_hello) = (to.parse().unwrap(), hello());
        let (dialed, _accepted) = tokio::join!(dialer.connect(&to, &our_hello), async {
            arrivals.accept().await.unwrap().accept(&hello()).await.unwrap()
        });
        dialed.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_domain_name_without_an_address_is_an_error() {
    watchdog(async {
        let limits = Limits { authentication_timeout: Duration::from_secs(1), ..Limits::default() };
        let dialer = Quic.node(key(1), limits);
        let to = format!("/dns4/nobody.invalid/udp/8302/mina-quic/p2p/{}", peer(2).to_libp2p());
        let error = failed(dialer.connect(&to.parse().unwrap(), &hello()).await);
        assert!(matches!(error, ConnectError::Resolve { host, .. } if host == "nobody.invalid"));
    })
    .await;
}

#[tokio::test]
async fn an_address_of_another_transport_is_not_dialed() {
    watchdog(async {
        let to = format!("/ip4/127.0.0.1/tcp/8302/p2p/{}", peer(2).to_libp2p()).parse().unwrap();
        for node in [Quic.node(key(1), Limits::default()), Memory::default().node(key(1), Limits::default())] {
            let error = failed(node.connect(&to, &hello()).await);
            assert!(matches!(error, ConnectError::UnsupportedAddress(_)));
        }
    })
    .await;
}
