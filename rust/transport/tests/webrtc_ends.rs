//! WebRTC connections whose end comes from where nobody looks: a task that is gone, a shutdown, a peer that has no address.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/raw_webrtc.rs"]
mod raw_webrtc;
#[path = "common/scene.rs"]
mod scene;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{key, peer, puller, watchdog};
use mina_p2p_transport::webrtc::Config;
use mina_p2p_transport::{CloseReason, ConnectError, Limits, StreamError, Transport};
use mina_p2p_wire::Channel;
use raw_webrtc::{Offering, answer_one, only_stun};
use scene::{HONEST, Scene, VICTIM, manner, node};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

#[test]
fn a_connection_ends_with_its_task() {
    let runtime = || Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (here, there) = (runtime(), runtime());
    // All its tasks are there; who uses it is here.
    let (connection, mut send, mut recv) = there.block_on(watchdog(async {
        let [a, b] = [HONEST, VICTIM].map(|n| node(n, Limits::default(), Config::default()));
        let (dialed, accepted) = tokio::join!(a.dial(b.id, b.signaling), b.accept());
        let connection = dialed.unwrap_or_else(|error| panic!("{error}"));
        let (send, recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
        std::mem::forget((a, b, accepted));
        (connection, send, recv)
    }));
    here.block_on(watchdog(async {
        let wait = tokio::spawn(async move { recv.read_head().await });
        there.shutdown_background();
        let lost = CloseReason::Lost("its task has ended".to_owned());
        assert_eq!(connection.closed().await, lost);
        assert_eq!(wait.await.unwrap(), Err(StreamError::Closed(lost.clone())));
        assert_eq!(send.write(common::frame(vec![1])).await, Err(StreamError::Closed(lost)));
    }));
}

/// Long enough that a test which waits for it hangs.
fn patient() -> Config {
    Config { authentication_timeout: Duration::from_secs(3_600), ..Config::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_dials_wherever_they_are() {
    watchdog(async {
        // Before the answer.
        let dialer = node(1, Limits::default(), patient());
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dial = dialer.dial(peer(2), silent.local_addr().unwrap());
        let shut = async {
            let offered = silent.accept().await.unwrap();
            dialer.endpoint.shutdown(CloseReason::Shutdown).await;
            offered
        };
        let (dialed, _offered) = tokio::join!(dial, shut);
        assert_eq!(common::failed(dialed), ConnectError::ShutDown);
        // After it, while the peer takes its time.
        let dialer = node(1, Limits::default(), patient());
        let dial = dialer.dial(peer(2), silent.local_addr().unwrap());
        let shut = async {
            let mut raw = answer_one(&silent, manner(2)).await;
            raw.outlet = only_stun;
            raw.until(|raw| raw.answers > 0).await;
            raw.during(dialer.endpoint.shutdown(CloseReason::Shutdown)).await;
        };
        let (dialed, ()) = tokio::join!(dial, shut);
        assert_eq!(common::failed(dialed), ConnectError::ShutDown);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_attempts_that_were_answered() {
    watchdog(async {
        let scene = Scene::with(Limits::default(), patient()).await;
        let mut connecting = scene.hostile(manner(1)).await;
        connecting.outlet = only_stun;
        connecting.until(|raw| raw.answers > 0).await;
        // Its streams are open only when the node has answered for them.
        let mut unproved = scene.hostile(manner(2)).await;
        unproved.until(|raw| raw.usable()).await;
        assert_eq!(scene.figures().pending, 2);
        let shutdown = scene.victim.endpoint.shutdown(CloseReason::Shutdown);
        connecting.during(unproved.during(shutdown)).await;
        unproved.until(|raw| raw.closed).await;
        connecting.until(|_| scene.figures().pending == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_an_address_that_we_could_try_still_finds_us() {
    watchdog(async {
        let scene = Scene::new().await;
        let offering = Offering::new(manner(1), key(VICTIM).public_key()).await;
        let offering = offering.retold(|sdp| sdp.replace(" 127.0.0.1 ", " 2001:db8::1 "));
        let mut raw = offering.post(scene.victim.signaling, common::chain(1)).await;
        raw.prove().await;
        let connection = raw.during(scene.victim.accept()).await;
        assert_eq!(connection.peer(), peer(1));
        raw.until(|raw| raw.received(0).is_some()).await;
        scene.serves().await;
    })
    .await;
}
