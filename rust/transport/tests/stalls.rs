//! Peers that send or read too slowly, and what all of them together may hold.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use mina_p2p_transport::limits::{PENDING_RECEIVE_WINDOW, RECEIVE_WINDOW, STREAM_RECEIVE_WINDOW};
use mina_p2p_transport::{CloseReason, Connection, FrameBudget, Limits, Listener, RecvStream, StreamError, Transport};
use mina_p2p_wire::{Channel, SecretKey, frame};

const MIB: u32 = 1 << 20;
const LONGEST_BLOCK: u32 = 32 * MIB;

/// A node of ours that bare peers connect to.
struct Node {
    arrivals: Box<dyn Listener>,
    node: Arc<dyn Transport>,
}

/// A bare peer and our side of its connection.
struct Bare {
    _endpoint: quinn::Endpoint,
    bare: quinn::Connection,
    ours: Arc<dyn Connection>,
}

impl Node {
    fn new(limits: Limits) -> Self {
        let node = Quic.node(key(200), limits);
        Self { arrivals: node.listen(loopback()).unwrap(), node }
    }

    async fn bare_peer(&self, key: SecretKey) -> Bare {
        let (bare_hello, our_hello) = (hello(), hello());
        let ((_endpoint, bare), ours) =
            tokio::join!(raw::greeted(&key, self.arrivals.local_addr(), &bare_hello), async {
                self.arrivals.accept().await.unwrap().accept(&our_hello).await.unwrap()
            });
        Bare { _endpoint, bare, ours }
    }
}

impl Bare {
    /// A best-tip stream of the peer, on which it has sent `bytes`.
    async fn stream(&self, bytes: &[u8]) -> (quinn::SendStream, RecvStream) {
        let (mut send, _recv) = self.bare.open_bi().await.unwrap();
        let bytes = [&[Channel::BestTip.id()][..], bytes].concat();
        send.write_all(&bytes).await.unwrap();
        let (_, _, recv) = self.ours.accept().await.unwrap();
        (send, recv)
    }
}

/// Short times, so that tests of what is too slow are not slow.
fn strict() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(300),
        read_grace: Duration::from_millis(300),
        min_rate: 512 << 10,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_head_that_is_begun_must_be_completed() {
    watchdog(async {
        let node = Node::new(strict());
        let peer = node.bare_peer(key(1)).await;
        let (_send, mut recv) = peer.stream(&[0, 0]).await;
        let error = recv.read_head().await.unwrap_err();
        assert_eq!(error, StreamError::HeadTimeout(strict().head_timeout));
        assert!(matches!(error.close_reason(), Some(CloseReason::Violation(_))));
    })
    .await;
}

#[tokio::test]
async fn an_idle_stream_is_never_too_slow() {
    watchdog(async {
        let node = Node::new(strict());
        let peer = node.bare_peer(key(1)).await;
        let (mut send, mut recv) = peer.stream(&[]).await;
        // A wait that is cancelled in the middle of a head loses nothing of it.
        let waited = tokio::time::timeout(strict().head_timeout * 2, recv.read_head()).await;
        assert!(waited.is_err());
        send.write_all(&[0]).await.unwrap();
        tokio::select! {
            biased;
            _ = recv.read_head() => panic!("the head is not complete"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        send.write_all(&[0, 1, 0]).await.unwrap();
        assert_eq!(recv.read_head().await, Ok(Some(256)));
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_truncated() {
    watchdog(async {
        let node = Node::new(Limits::default());
        let peer = node.bare_peer(key(1)).await;
        let budget = FrameBudget::default();
        let (mut send, mut recv) = peer.stream(&[0, 0, 1]).await;
        send.finish().unwrap();
        let error = recv.read_head().await.unwrap_err();
        assert!(matches!(error, StreamError::Truncated { part: "head", got: 3, wanted: 4 }));
        for len in [10, LONGEST_BLOCK] {
            let (mut send, mut recv) = peer.stream(&frame::head(len)).await;
            send.write_all(&[1; 9]).await.unwrap();
            send.finish().unwrap();
            assert_eq!(recv.read_head().await, Ok(Some(len)));
            let error = recv.read_body(len, &budget).await.unwrap_err();
            assert!(matches!(error, StreamError::Truncated { part: "body", got: 9, .. }), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_frame_byte_by_byte_is_too_slow() {
    watchdog(async {
        let node = Node::new(strict());
        let peer = node.bare_peer(key(1)).await;
        for len in [1_000, LONGEST_BLOCK] {
            let (mut send, mut recv) = peer.stream(&frame::head(len)).await;
            assert_eq!(recv.read_head().await, Ok(Some(len)));
            let trickle = async {
                loop {
                    send.write_all(&[1]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let budget = FrameBudget::default();
            let error = tokio::select! {
                error = recv.read_body(len, &budget) => error.unwrap_err(),
                () = trickle => unreachable!("it goes on for ever"),
            };
            assert!(matches!(error, StreamError::TooSlow { got: 1.., .. }), "{error}");
            assert_eq!(error.close_reason(), Some(CloseReason::TooSlow));
        }
    })
    .await;
}

/// 100 peers each send the head of a 32 MiB frame and `sent` bytes of it, then nothing; a healthy peer sends such a frame
/// meanwhile. Gives the figures after all.
async fn stalled_by_100_peers(sent: usize) -> mina_p2p_transport::BudgetFigures {
    let node = Node::new(strict());
    let budget = FrameBudget::default();
    let mut stalled = tokio::task::JoinSet::new();
    for n in 1..=100 {
        let peer = node.bare_peer(key(n)).await;
        let budget = budget.clone();
        stalled.spawn(async move {
            let (mut send, mut recv) = peer.stream(&frame::head(LONGEST_BLOCK)).await;
            let len = recv.read_head().await.unwrap().unwrap();
            let (_written, body) =
                tokio::join!(async { send.write_all(&vec![1; sent]).await }, recv.read_body(len, &budget));
            (body.unwrap_err(), peer)
        });
    }
    let healthy = Quic.node(key(201), Limits::default());
    let arrivals = node.arrivals.local_addr();
    let to = address(peer(200), arrivals);
    let our_hello = hello();
    let (dialed, accepted) = tokio::join!(healthy.connect(&to, &our_hello), async {
        node.arrivals.accept().await.unwrap().accept(&hello()).await.unwrap()
    });
    let dialed = dialed.unwrap();
    let (ours, theirs) = tokio::join!(dialed.open(puller(Channel::BestTip)), accepted.accept());
    let ((mut send, _recv), (_, _send, mut recv)) = (ours.unwrap(), theirs.unwrap());
    let block = pattern(LONGEST_BLOCK as usize);
    let (written, got) = tokio::join!(send.write(frame(block.clone())), read(&mut recv, &budget));
    written.unwrap();
    assert!(got == block);
    let mut peers = Vec::new();
    while let Some(ended) = stalled.join_next().await {
        let (error, peer) = ended.unwrap();
        assert!(matches!(error, StreamError::TooSlow { .. }), "{error}");
        peers.push(peer);
    }
    node.node.shutdown(CloseReason::Shutdown).await;
    budget.figures()
}

fn assert_all_given_back(figures: mina_p2p_transport::BudgetFigures) {
    assert!(figures.large_peak <= figures.large_total);
    assert!(figures.small_peak <= figures.small_total);
    assert_eq!((figures.large_reserved, figures.large_waiting, figures.small_reserved, figures.storage), (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_send_little_of_a_large_frame_keep_no_place_in_the_queue() {
    let figures = watchdog(stalled_by_100_peers(1_000)).await;
    assert_all_given_back(figures);
    // The healthy peer's alone.
    assert_eq!(figures.large_peak, u64::from(LONGEST_BLOCK));
    // A first step of storage each.
    assert!(figures.storage_peak <= u64::from(LONGEST_BLOCK) + 100 * 16 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_send_more_of_a_large_frame_stay_inside_the_budget() {
    let sent = 100_000;
    let figures = watchdog(stalled_by_100_peers(sent)).await;
    assert_all_given_back(figures);
    // What has come, at most doubled.
    assert!(figures.storage_peak <= u64::from(LONGEST_BLOCK) + 100 * 2 * sent as u64);
}

/// Eight peers take the whole large pool and send at a rate that is allowed while nobody else needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_hold_the_large_pool_at_the_least_rate_give_way_to_one_that_waits() {
    watchdog(async {
        // 32 MiB would take them 64 s, 6 s if others wait.
        let node = Node::new(strict());
        let budget = FrameBudget::default();
        let mut slow = tokio::task::JoinSet::new();
        for n in 1..=8 {
            let peer = node.bare_peer(key(n)).await;
            let budget = budget.clone();
            slow.spawn(async move {
                let (mut send, mut recv) = peer.stream(&frame::head(LONGEST_BLOCK)).await;
                let len = recv.read_head().await.unwrap().unwrap();
                let trickle = async {
                    loop {
                        // Twice the least rate.
                        send.write_all(&[1; 100 << 10]).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                };
                let error = tokio::select! {
                    body = recv.read_body(len, &budget) => body.map(|_| "came").unwrap_err(),
                    () = trickle => unreachable!("it goes on for ever"),
                };
                (error, peer)
            });
        }
        while budget.figures().large_reserved < budget.figures().large_total {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // While nobody waits they may go on.
        assert!(tokio::time::timeout(Duration::from_secs(3), slow.join_next()).await.is_err());
        let _waited = budget.reserve(peer(99), 3 * MIB).await.unwrap();
        let (error, _peer) = slow.join_next().await.unwrap().unwrap();
        assert!(matches!(error, StreamError::TooSlow { .. }), "{error}");
    })
    .await;
}

/// What the peer may send on `streams` streams that we do not read. A slow machine can only make it less.
async fn sent_ahead(bare: &quinn::Connection, streams: usize) -> usize {
    let mut sent = 0;
    for _ in 0..streams {
        let (mut send, recv) = bare.open_bi().await.unwrap();
        let chunk = vec![Channel::BestTip.id(); 64 * 1024];
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(200), send.write(&chunk)).await {
            sent += written.unwrap();
        }
        // Dropped, they would end.
        std::mem::forget((send, recv));
    }
    sent
}

#[tokio::test]
async fn what_is_not_read_is_bounded_by_the_credit() {
    watchdog(async {
        let node = Node::new(Limits::default());
        let peer = node.bare_peer(key(1)).await;
        let one = sent_ahead(&peer.bare, 1).await;
        assert!(one <= STREAM_RECEIVE_WINDOW as usize, "{one}");
        let all = one + sent_ahead(&peer.bare, 4).await;
        assert!(all <= RECEIVE_WINDOW as usize, "{all}");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_not_authenticated_has_little_credit() {
    watchdog(async {
        let node = Node::new(Limits::default());
        let (_endpoint, bare) = raw::connect(&key(1), node.arrivals.local_addr()).await;
        // The stream of the `Hello`, on which nothing comes.
        let _hello = bare.open_bi().await.unwrap();
        let sent = sent_ahead(&bare, 4).await;
        assert!(sent <= PENDING_RECEIVE_WINDOW as usize, "{sent}");
    })
    .await;
}

#[tokio::test]
async fn a_silent_peer_is_lost_after_the_idle_timeout() {
    watchdog(async {
        let node = Node::new(Limits {
            idle_timeout: Duration::from_millis(300),
            // Nothing of ours that the peer would answer.
            keep_alive_interval: Duration::from_secs(60),
            ..Limits::default()
        });
        let peer = node.bare_peer(key(1)).await;
        assert_eq!(peer.ours.closed().await, CloseReason::IdleTimeout);
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive() {
    watchdog(async {
        let limits = Limits {
            idle_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_millis(100),
            ..Limits::default()
        };
        let node = Node::new(limits.clone());
        let peer = node.bare_peer(key(1)).await;
        // Nothing is said for longer than would end it.
        let ended = tokio::time::timeout(limits.idle_timeout * 3 / 2, peer.ours.closed()).await;
        assert!(ended.is_err(), "{ended:?}");
    })
    .await;
}
