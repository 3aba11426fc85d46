//! Raw peers that begin and do not go on: with a frame, a stream, with reading.

use std::time::Duration;

use mina_p2p::message::{BestTipMessage, Capabilities, TransactionMessage};
use mina_p2p::{Channel, CloseReason, Limits};
use mina_p2p_wire::frame;

use crate::bad_scene::Scene;
use crate::common::{block, hash, secret, traffic, transaction, transport};
use crate::raw::{Raw, WINDOW, framed, run};

/// Times short enough for a test, and long enough for an honest peer on a busy machine.
const SHORT: Duration = Duration::from_millis(700);

fn strict() -> Limits {
    transport(|limits| {
        limits.head_timeout = SHORT;
        limits.channel_timeout = SHORT;
        limits.open_timeout = SHORT;
        limits.read_grace = SHORT;
        limits.write_grace = SHORT;
        limits.min_rate = 1 << 20;
    })
}

/// What a raw peer does ends with this reason at both ends.
fn ends_with(is_expected: impl Fn(&CloseReason) -> bool, act: impl AsyncFnOnce(&mut Raw, &mut Scene)) {
    run(async {
        let mut scene = Scene::start(strict());
        let mut raw = scene.raw(100).await;
        act(&mut raw, &mut scene).await;
        scene.healthy_is_served();
        let reason = scene.thrown_out(&raw).await;
        assert!(is_expected(&reason), "{reason}");
        scene.healthy_is_served();
        scene.nothing_leaked();
    });
}

#[test]
fn a_stream_whose_channel_is_never_named() {
    ends_with(
        |reason| matches!(reason, CloseReason::Violation(text) if text.contains("channel id")),
        async |raw, _| {
            // Streams open in order: the second stream's first byte opens the one before it.
            let silent = raw.connection.open_bi().await.unwrap();
            raw.open_and_keep(Channel::Rpc.id(), &[]).await;
            raw.keep(silent);
        },
    );
}

#[test]
fn a_frame_s_head_that_is_never_complete() {
    ends_with(
        |reason| matches!(reason, CloseReason::Violation(text) if text.contains("head")),
        async |raw, _| {
            raw.open_and_keep(Channel::BestTip.id(), &[0, 0]).await;
        },
    );
}

#[test]
fn a_frame_that_comes_byte_by_byte() {
    ends_with(
        |reason| *reason == CloseReason::TooSlow,
        async |raw, _| {
            let (mut send, recv) = raw.permitted(Channel::BestTip).await;
            send.write_all(&frame::head(1_000)).await.unwrap();
            tokio::spawn(async move {
                let _recv = recv;
                // Until the stream is gone.
                while send.write_all(&[1]).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        },
    );
}

#[test]
fn a_peer_that_stops_reading_what_it_permitted() {
    ends_with(
        |reason| *reason == CloseReason::Stalled,
        async |raw, scene| {
            let permit = framed(&BestTipMessage::GetNext.encode());
            raw.open_and_keep(Channel::BestTip.id(), &permit).await;
            let long = block(hash(90), 1, 3 * WINDOW as usize);
            scene.node.node.set_best_tip(hash(91), long.clone()).unwrap();
            assert!(scene.healthy.tip() == long);
        },
    );
}

#[test]
fn a_peer_that_allows_no_streams() {
    run(async {
        let mut scene = Scene::start(strict());
        let raw = Raw::with_streams(&secret(100), scene.node.socket(), Capabilities::empty(), 0).await;
        scene.node.connected_to(raw.id);
        assert_eq!(scene.thrown_out(&raw).await, CloseReason::Stalled);
        scene.healthy_is_served();
        scene.nothing_leaked();
    });
}

#[test]
fn permits_without_reading_pile_nothing_up() {
    const ITEMS: u16 = 5_000;
    ends_with(
        |reason| *reason == CloseReason::Stalled,
        async |raw, scene| {
            for n in 0..ITEMS {
                let (info, body) = transaction(n, 1);
                scene.node.node.add_transaction(info, body).unwrap();
            }
            let permit = framed(&TransactionMessage::GetNext { limit: 255 }.encode());
            raw.open_and_keep(Channel::Transaction.id(), &permit.repeat(40)).await;
            // An item is 70 bytes and more: what fits the window, and what one more permit is for.
            for _ in 0..20 {
                let [(sent, _), _] = traffic(&scene.node.figures(raw.id), Channel::Transaction);
                assert!(sent < u64::from(WINDOW) / 70 + 2 * 256, "{sent}");
                scene.healthy_is_served();
            }
        },
    );
}

#[test]
fn a_hundred_peers_that_begin_the_longest_frame() {
    const LONGEST: u32 = 32 << 20;
    // What half of them send of it: enough for a place in the queue for the budget. The others send less.
    const MUCH: usize = 100_000;
    run(async {
        let mut limits = strict();
        limits.slots.peers = 128;
        limits.slots.inbound = 128;
        let mut scene = Scene::start(limits);
        let mut raws = Vec::new();
        for n in 100..200 {
            raws.push(scene.raw(n).await);
        }
        let mut stalled = tokio::task::JoinSet::new();
        for (n, mut raw) in raws.into_iter().enumerate() {
            stalled.spawn(async move {
                let (mut send, recv) = raw.permitted(Channel::BestTip).await;
                let sent = if n % 2 == 0 { MUCH } else { 1_000 };
                // The node does not read all of it before the frame has its place; then it may be too late.
                let _ = send.write_all(&[&frame::head(LONGEST)[..], &vec![1; sent]].concat()).await;
                let reason = raw.closed().await;
                drop((send, recv));
                (raw.id, reason)
            });
        }
        for _ in 0..10 {
            scene.healthy_is_served();
        }
        while let Some(ended) = stalled.join_next().await {
            let (peer, reason) = ended.unwrap();
            assert_eq!(reason, CloseReason::TooSlow);
            assert_eq!(scene.node.disconnected_from(peer), CloseReason::TooSlow);
        }
        scene.healthy_is_served();
        scene.nothing_leaked();
        let budget = scene.node.node.frame_budget();
        assert!(budget.large_peak >= LONGEST.into(), "some had their place");
        assert!(budget.large_peak <= budget.large_total);
        assert!(budget.small_peak <= budget.small_total);
        // What came, at most doubled; and small frames of the healthy peer.
        assert!(budget.storage_peak <= 100 * 2 * MUCH as u64, "{budget:?}");
    });
}
