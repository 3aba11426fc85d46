//! Hostile peers against the WebRTC transport, once they are answered: each is refused by name, and the others are served on.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/raw_webrtc.rs"]
mod raw_webrtc;
#[path = "common/scene.rs"]
mod scene;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{key, peer, puller, read, watchdog};
use mina_p2p_transport::webrtc::Config;
use mina_p2p_transport::{CloseReason, ConnectError, Limits, StreamError};
use mina_p2p_wire::Channel;
use mina_p2p_wire::signaling::ConnectionAuth;
use raw_webrtc::{Manner, answer_one, negotiated, no_sctp, only_stun};
use scene::{Scene, ended, framed, manner, ours};
use str0m::channel::ChannelConfig;
use tokio::net::TcpListener;

// Proofs

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflected_proof_is_refused_by_the_dialer() {
    watchdog(async {
        let scene = Scene::new().await;
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        for manner in [manner(1), ours(2)] {
            let target = manner.key.peer_id();
            let dial = scene.victim.dial(target, server.local_addr().unwrap());
            let reflect = async {
                let mut raw = answer_one(&server, manner).await;
                raw.until(|raw| raw.usable() && raw.received(0).is_some()).await;
                let proof = raw.received(0).unwrap().to_vec();
                raw.send(0, &proof);
                raw.until(|raw| raw.closed).await;
            };
            let (dialed, ()) = tokio::join!(dial, reflect);
            let text = "our own authentication was sent back to us".to_owned();
            let reason = CloseReason::AuthenticationFailed(text);
            assert_eq!(common::failed(dialed), ConnectError::Refused(reason));
        }
        assert_eq!(scene.figures().authentications_failed, 2);
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_proof_is_refused_and_counted() {
    watchdog(async {
        let scene = Scene::new().await;
        let mut wrong = 0;
        let mut earlier = None;
        for (n, why) in [
            (1, "other session descriptions"),
            (2, "authentication is"),
            (3, "authentication of 91 bytes"),
            (4, "authentication of 93 bytes"),
            (5, "other session descriptions"),
        ] {
            let mut raw = scene.hostile(manner(n)).await;
            raw.until(|raw| raw.usable()).await;
            let good = raw.proof();
            let auth = raw.auth();
            let proof = match n {
                1 => ConnectionAuth::new(&raw.answer, &raw.offer).seal(&raw.key, &raw.peer, [7; 12]).unwrap().to_vec(),
                2 => auth.seal(&key(99), &raw.peer, [7; 12]).unwrap().to_vec(),
                3 => good[..91].to_vec(),
                4 => [&good[..], &[0]].concat(),
                // That of an earlier connection, replayed.
                _ => {
                    let earlier: ConnectionAuth = earlier.unwrap();
                    earlier.seal(&raw.key, &raw.peer, [7; 12]).unwrap().to_vec()
                }
            };
            earlier = Some(auth);
            raw.send(0, &proof);
            wrong += 1;
            assert_eq!(scene.refused(&mut raw, why).await.authentications_failed, wrong);
        }
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_message_on_stream_0_ends_a_connection() {
    watchdog(async {
        let scene = Scene::new().await;
        // The existing node closes the stream: what comes nevertheless is no matter, or an offence.
        let (mut raw, connection) = scene.proved(ours(1)).await;
        raw.send(0, &[0, 0, 0, 0, 0, 0, 0, 6, b'x']);
        assert_eq!(ended(&mut raw, &connection).await, CloseReason::Violation("x".to_owned()));
        let mut raw = scene.hostile(manner(2)).await;
        raw.until(|raw| raw.usable()).await;
        let proof = raw.proof();
        // Both before the node can have decided.
        raw.send(0, &proof);
        raw.send(0, &proof);
        let connection = raw.during(scene.victim.accept()).await;
        let text = "second_proof: a second message on stream 0".to_owned();
        assert_eq!(ended(&mut raw, &connection).await, CloseReason::Violation(text));
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_before_the_proof_stays_within_the_window() {
    watchdog(async {
        let scene = Scene::impatient().await;
        let mut raw = scene.hostile(manner(1)).await;
        raw.until(|raw| raw.usable()).await;
        let bulk = vec![1; 16 * 1024];
        let sent = 128 * bulk.len();
        for _ in 0..128 {
            raw.send(7, &bulk);
        }
        // It goes on until its time is over. 64 KiB may be unread, and some datagrams are looked at in each turn.
        let mut taken = 0;
        raw.until(|raw| {
            taken = raw.buffered(7).map_or(taken, |waiting| sent - waiting);
            scene.figures().pending == 0
        })
        .await;
        assert!((64 * 1024..256 * 1024).contains(&taken), "{taken} bytes were taken");
        let figures = scene.refused(&mut raw, "").await;
        assert_eq!((figures.timeouts, figures.pending), (1, 0));
        scene.serves().await;
    })
    .await;
}

// Messages

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_no_peer_sends_end_a_connection_by_name() {
    watchdog(async {
        let scene = Scene::new().await;
        // More than SCTP takes: it aborts, and says nothing of it to us.
        let long = vec![1; 70_000];
        let cases: [(u16, &[u8], &str); 4] = [
            (16, &[0, 0, 0, 1, 1], "unannounced_extension"),
            (17, &[0, 0, 0, 1, 1], "unannounced_extension"),
            (3, &long, ""),
            (1_000, &[1], "unexpected_stream"),
        ];
        for ((stream, message, start), n) in cases.into_iter().zip(1..) {
            let max_message = Some(1 << 20);
            let (mut raw, connection) = scene.proved(Manner { max_message, ..manner(n) }).await;
            if stream == 1_000 {
                // By DCEP (RFC 8832).
                raw.stream(ChannelConfig { label: "x".to_owned(), ..ChannelConfig::default() }, stream);
            } else {
                raw.send(stream, message);
            }
            let reason = ended(&mut raw, &connection).await;
            match reason {
                CloseReason::Violation(text) if !start.is_empty() => assert!(text.starts_with(start), "{text}"),
                CloseReason::Unspecified if start.is_empty() => {}
                reason => panic!("stream {stream}: {reason}"),
            }
        }
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_too_short_for_a_head_times_out() {
    watchdog(async {
        let head_timeout = Duration::from_millis(300);
        let scene = Scene::with(Limits { head_timeout, ..Limits::default() }, Config::default()).await;
        for n in 1..=3 {
            let (mut raw, connection) = scene.proved(manner(n)).await;
            let (_send, mut recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
            raw.send(7, &[framed(b"hello"), vec![0; n.into()]].concat());
            raw.during(async {
                assert_eq!(read(&mut recv, &scene.budget).await, "hello");
                let error = recv.read_head().await.unwrap_err();
                assert_eq!(error, StreamError::HeadTimeout(head_timeout));
                connection.close(error.close_reason().unwrap());
            })
            .await;
            let CloseReason::Violation(text) = ended(&mut raw, &connection).await else { panic!("no violation") };
            assert!(text.starts_with("head_timeout"), "{text}");
        }
        scene.serves().await;
    })
    .await;
}

// Half-made connections

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_half_way_gives_up_its_place() {
    watchdog(async {
        let scene = Scene::impatient().await;
        let filters = [|_: &[u8]| false, only_stun, no_sctp, raw_webrtc::everything];
        let mut timeouts = 0;
        for (filter, n) in filters.into_iter().zip(1..) {
            let mut raw = scene.hostile(manner(n)).await;
            assert_eq!(scene.figures().pending, 1);
            raw.outlet = filter;
            timeouts += 1;
            let figures = scene.refused(&mut raw, "").await;
            assert_eq!((figures.timeouts, figures.failures), (timeouts, 0));
        }
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_to_a_peer_that_stops_half_way_times_out() {
    watchdog(async {
        let scene = Scene::impatient().await;
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let filters = [|_: &[u8]| false, only_stun, no_sctp, raw_webrtc::everything];
        for (filter, n) in filters.into_iter().zip(1..) {
            let dial = scene.victim.dial(peer(n), server.local_addr().unwrap());
            let half = async {
                let mut raw = answer_one(&server, manner(n)).await;
                raw.outlet = filter;
                raw.until(|_| false).await;
            };
            let dialed = tokio::select! {
                dialed = dial => dialed,
                () = half => unreachable!(),
            };
            // The error names the limit that was configured.
            assert_eq!(common::failed(dialed), ConnectError::TimedOut(Duration::from_millis(1_500)));
        }
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_by_the_thousand_are_refused_with_the_first() {
    watchdog(async {
        let scene = Scene::new().await;
        let numbers = 1_000..2_000;
        let (mut raw, connection) = scene.proved(ours(1)).await;
        for number in numbers.clone() {
            raw.stream(negotiated(number), number);
        }
        raw.until(|raw| raw.open.contains(&(numbers.end - 1))).await;
        for number in numbers.clone() {
            raw.send(number, &[1]);
        }
        let text = "unexpected_stream: data on stream 1000, which is not one of ours".to_owned();
        assert_eq!(ended(&mut raw, &connection).await, CloseReason::Violation(text));
        // And before it has proved itself.
        let mut raw = scene.hostile(manner(2)).await;
        raw.stream(negotiated(9), 9);
        raw.until(|raw| raw.open.contains(&9) && raw.connected).await;
        raw.send(9, &[1]);
        assert_eq!(scene.refused(&mut raw, "unexpected_stream: data on stream 9,").await.failures, 1);
        scene.serves().await;
    })
    .await;
}
