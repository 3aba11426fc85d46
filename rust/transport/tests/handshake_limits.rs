//! Limits on handshakes that are pending, tried with first packets alone: nobody behind them answers.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::raw::{self, Identity};
use common::*;
use mina_p2p_transport::quic::{ALPN, Endpoint};
use mina_p2p_transport::{CloseReason, ConnectError, Limits, Listener, Transport};
use tokio::net::UdpSocket;

/// The first datagram of a new handshake, caught on its way.
async fn initial() -> Vec<u8> {
    let sink = UdpSocket::bind(loopback()).await.unwrap();
    let endpoint = raw::client(1);
    let config = raw::client_config(Some(Identity::of(&key(1))), &[ALPN]);
    let _connecting = endpoint.connect_with(config, sink.local_addr().unwrap(), "x").unwrap();
    let mut datagram = vec![0; 2_000];
    let len = sink.recv(&mut datagram).await.unwrap();
    datagram.truncate(len);
    datagram
}

/// What comes back first (RFC 9000, section 17.2; RFC 8999 for the rest).
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The handshake goes on.
    Initial,
    /// It must prove its address.
    Retry,
}

/// Sends a handshake's first packet from 127.0.0.`host`. The socket must live on for the answer to be heard.
async fn knock(host: u8, at: SocketAddr) -> (UdpSocket, Answer) {
    knock_from(Ipv4Addr::new(127, 0, 0, host), at).await
}

async fn knock_from(address: Ipv4Addr, at: SocketAddr) -> (UdpSocket, Answer) {
    let socket = UdpSocket::bind((IpAddr::V4(address), 0)).await.unwrap();
    socket.send_to(&initial().await, at).await.unwrap();
    let mut datagram = [0; 2_000];
    socket.recv(&mut datagram).await.unwrap();
    // The form and the type of the packet; the bit between them is random (RFC 9287).
    let answer = match datagram[0] & 0xb0 {
        0x80 => Answer::Initial,
        0xb0 => Answer::Retry,
        other => panic!("unexpected packet type {other:x}"),
    };
    (socket, answer)
}

fn node(limits: Limits) -> (Endpoint, Box<dyn Listener>) {
    let node = Endpoint::new(key(2), chain(1), limits).unwrap();
    let arrivals = node.listen(loopback()).unwrap();
    (node, arrivals)
}

/// No exemption, and handshakes that stay pending for as long as a test may take.
fn counted() -> Limits {
    Limits {
        exempt_loopback: false,
        authentication_timeout: Duration::from_secs(180),
        idle_timeout: Duration::from_secs(180),
        ..Limits::default()
    }
}

#[tokio::test]
async fn above_32_pending_handshakes_an_address_must_be_proved() {
    watchdog(async {
        let (node, arrivals) = node(counted());
        let mut sockets = Vec::new();
        for n in 0..32 {
            let (socket, answer) = knock(10 + n, arrivals.local_addr()).await;
            assert_eq!(answer, Answer::Initial);
            sockets.push(socket);
        }
        assert_eq!(node.pending_handshakes(), 32);
        for n in 0..10 {
            let (_, answer) = knock(100 + n, arrivals.local_addr()).await;
            assert_eq!(answer, Answer::Retry);
        }
        // Retry keeps no state here, and an honest peer still comes through.
        assert_eq!(node.pending_handshakes(), 32);
        honest_peer_connects(&*arrivals).await;
    })
    .await;
}

async fn honest_peer_connects(arrivals: &dyn Listener) {
    let dialer = Quic.node(key(3), Limits::default());
    let (dialed, _accepted) =
        dial(&dialer, arrivals, peer(2), &hello(), |incoming| async { incoming.accept(&hello()).await.unwrap() }).await;
    dialed.unwrap();
}

#[tokio::test]
async fn above_4_pending_handshakes_of_one_address_it_must_be_proved() {
    watchdog(async {
        let (node, arrivals) = node(counted());
        let mut sockets = Vec::new();
        for _ in 0..4 {
            let (socket, answer) = knock(10, arrivals.local_addr()).await;
            assert_eq!(answer, Answer::Initial);
            sockets.push(socket);
        }
        assert_eq!(knock(10, arrivals.local_addr()).await.1, Answer::Retry);
        assert_eq!(knock(11, arrivals.local_addr()).await.1, Answer::Initial);
        assert_eq!(node.pending_handshakes(), 5);
    })
    .await;
}

#[tokio::test]
async fn handshakes_in_an_addresss_name_do_not_lock_it_out() {
    watchdog(async {
        let (node, arrivals) = node(counted());
        let mut sockets = Vec::new();
        for _ in 0..4 {
            sockets.push(knock(1, arrivals.local_addr()).await);
        }
        // From the same address; it answers the Retry, and an invented handshake yields.
        honest_peer_connects(&*arrivals).await;
        assert_eq!(node.pending_handshakes(), 3);
    })
    .await;
}

#[tokio::test]
async fn above_the_limit_of_a_subnet_an_address_of_it_must_be_proved() {
    watchdog(async {
        let (node, arrivals) = node(Limits { max_pending_per_subnet: 6, ..counted() });
        let mut sockets = Vec::new();
        for n in 0..6 {
            let (socket, answer) = knock(10 + n, arrivals.local_addr()).await;
            assert_eq!(answer, Answer::Initial);
            sockets.push(socket);
        }
        assert_eq!(knock(99, arrivals.local_addr()).await.1, Answer::Retry);
        let elsewhere = knock_from(Ipv4Addr::new(127, 0, 1, 99), arrivals.local_addr()).await;
        assert_eq!(elsewhere.1, Answer::Initial);
        assert_eq!(node.pending_handshakes(), 7);
        // From the same subnet; it answers the Retry, and an invented handshake yields.
        honest_peer_connects(&*arrivals).await;
        assert_eq!(node.pending_handshakes(), 6);
    })
    .await;
}

#[tokio::test]
async fn a_subnet_that_answers_every_retry_gets_no_more_than_its_limit() {
    watchdog(async {
        let (node, arrivals) = node(Limits { max_pending_per_subnet: 2, ..counted() });
        let (to, ours) = (address(peer(2), arrivals.local_addr()), hello());
        let [first, second, third] = [3, 4, 5].map(|n| Quic.node(key(n), Limits::default()));
        // Two that are through but for our word, which leaves them their places.
        let both = async { tokio::join!(first.connect(&to, &ours), second.connect(&to, &ours)) };
        let refused = async {
            let _both = (arrivals.accept().await.unwrap(), arrivals.accept().await.unwrap());
            assert_eq!(node.pending_handshakes(), 2);
            failed(third.connect(&to, &ours).await)
        };
        let refused = tokio::select! {
            _ = both => panic!("nobody was accepted"),
            refused = refused => refused,
        };
        assert_eq!(refused, ConnectError::Closed(CloseReason::Capacity));
    })
    .await;
}

#[tokio::test]
async fn loopback_is_exempt_by_default() {
    watchdog(async {
        let limits = Limits { exempt_loopback: true, max_pending_per_subnet: 4, ..counted() };
        let (node, arrivals) = node(limits);
        let mut sockets = Vec::new();
        for _ in 0..8 {
            let (socket, answer) = knock(10, arrivals.local_addr()).await;
            assert_eq!(answer, Answer::Initial);
            sockets.push(socket);
        }
        assert_eq!(node.pending_handshakes(), 8);
    })
    .await;
}

#[tokio::test]
async fn over_the_cap_handshakes_are_refused_with_a_reason() {
    watchdog(async {
        let limits = Limits { max_pending_handshakes: 2, ..counted() };
        let (_node, arrivals) = node(limits);
        let _first = knock(10, arrivals.local_addr()).await;
        let _second = knock(11, arrivals.local_addr()).await;
        let dialer = Quic.node(key(3), Limits::default());
        let dialed = dialer.connect(&address(peer(2), arrivals.local_addr()), &hello()).await;
        assert_eq!(failed(dialed), ConnectError::Closed(CloseReason::Capacity));
    })
    .await;
}

#[tokio::test]
async fn pending_handshakes_end_by_themselves() {
    watchdog(async {
        let limits = Limits { authentication_timeout: Duration::from_millis(300), ..counted() };
        let (node, arrivals) = node(limits);
        let mut sockets = Vec::new();
        for n in 10..20 {
            sockets.push(knock(n, arrivals.local_addr()).await);
        }
        while node.pending_handshakes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
