//! Peers with good certificates that break the rules of the first stream, or of stream openings.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::raw::{self, Identity, framed};
use common::*;
use mina_p2p_transport::quic::ALPN;
use mina_p2p_transport::{AcceptError, CloseReason, ConnectError, Limits, Listener, Transport};
use mina_p2p_wire::message::HELLO_MAX_LEN;
use mina_p2p_wire::{Channel, frame};
use quinn::ConnectionError;

/// Why our side closed, as a bare peer sees it.
async fn reason_at(connection: &quinn::Connection) -> CloseReason {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            CloseReason::from_wire(close.error_code.into_inner(), &close.reason)
        }
        other => panic!("closed with a code expected, got {other}"),
    }
}

/// A listener, and what it does with a dialer that writes `bytes` on its first stream and leaves it open.
async fn refusal_of(limits: Limits, bytes: &[u8], finish: bool) -> CloseReason {
    let node = Quic.node(key(2), limits);
    let arrivals = node.listen(loopback()).unwrap();
    let (_endpoint, connection) = raw::connect(&key(1), arrivals.local_addr()).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    if finish {
        send.finish().unwrap();
    }
    reason_at(&connection).await
}

fn our_hello() -> Vec<u8> {
    framed(&hello().encode().into_bytes())
}

#[tokio::test]
async fn a_hello_too_long_is_refused_at_its_head() {
    watchdog(async {
        let head = frame::head(HELLO_MAX_LEN as u32 + 1);
        assert_eq!(refusal_of(Limits::default(), &head, false).await, CloseReason::HelloTooLong);
    })
    .await;
}

#[tokio::test]
async fn a_second_hello_is_refused() {
    watchdog(async {
        let twice = [our_hello(), our_hello()].concat();
        assert_eq!(refusal_of(Limits::default(), &twice, true).await, CloseReason::RepeatedHello);
    })
    .await;
}

#[tokio::test]
async fn a_hello_of_garbage_is_refused() {
    watchdog(async {
        for body in [&[][..], &[0xff; 100], &our_hello()[4..40]] {
            let reason = refusal_of(Limits::default(), &framed(body), true).await;
            assert!(matches!(&reason, CloseReason::MalformedHello(text) if !text.is_empty()), "{reason}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_hello_stream_that_ends_early_is_refused() {
    watchdog(async {
        for end in [0, 2, 30] {
            let reason = refusal_of(Limits::default(), &our_hello()[..end], true).await;
            assert!(matches!(reason, CloseReason::MalformedHello(_)), "{reason}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_hello_that_does_not_come_in_time_is_refused() {
    let limits = Limits { authentication_timeout: Duration::from_millis(300), ..Limits::default() };
    watchdog(async {
        // Not at all, in part, and without its end.
        for end in [2, 30, our_hello().len()] {
            let reason = refusal_of(limits.clone(), &our_hello()[..end], false).await;
            assert_eq!(reason, CloseReason::HelloTimeout);
        }
        let node = Quic.node(key(2), limits);
        let arrivals = node.listen(loopback()).unwrap();
        let (_endpoint, connection) = raw::connect(&key(1), arrivals.local_addr()).await;
        assert_eq!(reason_at(&connection).await, CloseReason::HelloTimeout);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_chain_reaches_a_bare_peer_as_its_code() {
    watchdog(async {
        let mut hello = hello();
        hello.chain_id = chain(9);
        let bytes = framed(&hello.encode().into_bytes());
        assert_eq!(refusal_of(Limits::default(), &bytes, true).await, CloseReason::WrongChain);
    })
    .await;
}

#[tokio::test]
async fn a_refused_peer_leaves_nothing_pending() {
    watchdog(async {
        let node = mina_p2p_transport::quic::Endpoint::new(key(2), chain(1), Limits::default()).unwrap();
        let arrivals = node.listen(loopback()).unwrap();
        for n in 10..20 {
            let (_endpoint, connection) = raw::connect(&key(n), arrivals.local_addr()).await;
            let (mut send, _recv) = connection.open_bi().await.unwrap();
            send.write_all(&framed(&[0xff; 10])).await.unwrap();
            reason_at(&connection).await;
        }
        while node.pending_handshakes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Dials a bare server that answers our `Hello` with `bytes`.
async fn dialed_with_answer(limits: Limits, bytes: Vec<u8>, finish: bool) -> (ConnectError, CloseReason) {
    let server = raw::server(Identity::of(&key(2)), &[ALPN]);
    let to = address(peer(2), server.local_addr().unwrap());
    let node = Quic.node(key(1), limits);
    let our_hello = hello();
    let (dialed, reason) = tokio::join!(node.connect(&to, &our_hello), async {
        let connection = server.accept().await.unwrap().await.unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        recv.read_to_end(1 << 16).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        reason_at(&connection).await
    });
    (failed(dialed), reason)
}

#[tokio::test]
async fn a_dialer_checks_the_answer_likewise() {
    let limits = Limits { authentication_timeout: Duration::from_millis(300), ..Limits::default() };
    watchdog(async {
        let head = frame::head(HELLO_MAX_LEN as u32 + 1).to_vec();
        let twice = [our_hello(), our_hello()].concat();
        for (bytes, finish, wanted) in [
            (head, false, CloseReason::HelloTooLong),
            (twice, true, CloseReason::RepeatedHello),
            (our_hello(), false, CloseReason::HelloTimeout),
        ] {
            let (error, reason) = dialed_with_answer(limits.clone(), bytes, finish).await;
            assert_eq!((error, reason), (ConnectError::Refused(wanted.clone()), wanted));
        }
        let (error, reason) = dialed_with_answer(limits, framed(&[0xff; 10]), true).await;
        assert!(matches!(error, ConnectError::Refused(CloseReason::MalformedHello(_))));
        assert!(matches!(reason, CloseReason::MalformedHello(_)));
    })
    .await;
}

#[tokio::test]
async fn another_identity_than_dialed_is_told_so() {
    watchdog(async {
        let server = raw::server(Identity::of(&key(2)), &[ALPN]);
        let to = address(peer(3), server.local_addr().unwrap());
        let node = Quic.node(key(1), Limits::default());
        let our_hello = hello();
        let (dialed, reason) = tokio::join!(node.connect(&to, &our_hello), async {
            let connection = server.accept().await.unwrap().await.unwrap();
            reason_at(&connection).await
        });
        assert_eq!(failed(dialed), ConnectError::Refused(CloseReason::WrongIdentity));
        assert_eq!(reason, CloseReason::WrongIdentity);
    })
    .await;
}

/// A bare peer connected with a node of ours.
async fn with_bare_peer(limits: Limits) -> (quinn::Endpoint, quinn::Connection, Node) {
    let node = Quic.node(key(2), limits);
    let arrivals = node.listen(loopback()).unwrap();
    let (bare_key, bare_hello, our_hello) = (key(1), hello(), hello());
    let ((endpoint, bare), ours) = tokio::join!(raw::greeted(&bare_key, arrivals.local_addr(), &bare_hello), async {
        arrivals.accept().await.unwrap().accept(&our_hello).await.unwrap()
    });
    let node = Node { connection: ours, _arrivals: arrivals, _node: node };
    (endpoint, bare, node)
}

struct Node {
    connection: std::sync::Arc<dyn mina_p2p_transport::Connection>,
    _arrivals: Box<dyn Listener>,
    _node: std::sync::Arc<dyn Transport>,
}

#[tokio::test]
async fn an_unknown_channel_is_named() {
    watchdog(async {
        let (_endpoint, bare, node) = with_bare_peer(Limits::default()).await;
        let (mut send, _recv) = bare.open_bi().await.unwrap();
        send.write_all(&[9]).await.unwrap();
        let error = node.connection.accept().await.unwrap_err();
        assert_eq!(error, AcceptError::UnknownChannel(9));
        node.connection.close(error.close_reason().unwrap());
        let CloseReason::Violation(text) = reason_at(&bare).await else {
            panic!("a violation");
        };
        assert!(text.contains("channel 9"));
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_its_channel_does_not_hold_up_others() {
    let limits = Limits { channel_timeout: Duration::from_millis(300), ..Limits::default() };
    watchdog(async {
        let (_endpoint, bare, node) = with_bare_peer(limits.clone()).await;
        // Opening the third stream opens the two before it, of which nothing has come.
        let _silent = (bare.open_bi().await.unwrap(), bare.open_bi().await.unwrap());
        let (mut send, _recv) = bare.open_bi().await.unwrap();
        send.write_all(&[Channel::Snark.id()]).await.unwrap();
        let (stream, _, _) = node.connection.accept().await.unwrap();
        assert_eq!(stream.channel, Channel::Snark);
        let error = node.connection.accept().await.unwrap_err();
        assert_eq!(error, AcceptError::ChannelTimeout(limits.channel_timeout));
    })
    .await;
}

#[tokio::test]
async fn a_stream_taken_back_before_its_channel_is_passed_over() {
    watchdog(async {
        let (_endpoint, bare, node) = with_bare_peer(Limits::default()).await;
        let (mut send, _recv) = bare.open_bi().await.unwrap();
        send.reset(1u32.into()).unwrap();
        let (mut send, _recv) = bare.open_bi().await.unwrap();
        send.write_all(&[Channel::Rpc.id()]).await.unwrap();
        let (stream, _, _) = node.connection.accept().await.unwrap();
        assert_eq!(stream.channel, Channel::Rpc);
        let (mut send, _recv) = bare.open_bi().await.unwrap();
        send.finish().unwrap();
        assert_eq!(node.connection.accept().await.unwrap_err(), AcceptError::NoChannel);
    })
    .await;
}

#[tokio::test]
async fn one_way_streams_and_datagrams_are_not_allowed() {
    watchdog(async {
        let (_endpoint, bare, _node) = with_bare_peer(Limits::default()).await;
        assert_eq!(bare.max_datagram_size(), None);
        tokio::select! {
            _ = bare.open_uni() => panic!("a one-way stream was allowed"),
            // The peer's answer to a two-way stream shows that its settings are known here.
            opened = bare.open_bi() => drop(opened.unwrap()),
        }
    })
    .await;
}
