//! WebRTC connections over a path that loses datagrams, doubles them and mixes up their order.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/raw_webrtc.rs"]
mod raw_webrtc;
#[path = "common/scene.rs"]
mod scene;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{chain, frame, key, loopback, pattern, peer, puller, read, watchdog};
use mina_p2p_transport::webrtc::{Config, Endpoint};
use mina_p2p_transport::{CloseReason, Connection, FrameBudget, Limits, RecvStream, SendStream};
use mina_p2p_wire::Channel;
use scene::{Desk, Node, node};

use mina_p2p_transport::udp::{DatagramSink, Port};

/// Bytes that go each way at once.
const BULK: usize = 256 << 10;
/// Small frames that go beside them, each way.
const SMALL: usize = 300;

/// A bad path to a port. What becomes of a datagram is the same in each run.
struct BadPath {
    to: Arc<dyn DatagramSink>,
    state: Mutex<State>,
}

struct State {
    random: u64,
    /// One that later ones overtake, and how many still do.
    late: Option<(SocketAddr, Option<IpAddr>, Bytes, u8)>,
}

impl DatagramSink for BadPath {
    fn datagram(&self, from: SocketAddr, local: Option<IpAddr>, data: Bytes) {
        let mut state = self.state.lock().unwrap();
        state.random = state.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (state.random >> 33) % 100 {
            // Lost.
            0..6 => {}
            // Late.
            6..12 if state.late.is_none() => state.late = Some((from, local, data, 4)),
            // Twice.
            12..16 => {
                self.to.datagram(from, local, data.clone());
                self.to.datagram(from, local, data);
            }
            _ => self.to.datagram(from, local, data),
        }
        match state.late.take() {
            Some((from, local, data, 0)) => self.to.datagram(from, local, data),
            Some((from, local, data, left)) => state.late = Some((from, local, data, left - 1)),
            None => {}
        }
    }
}

/// SCTP's timer of a second makes such a path slow.
fn patient() -> Limits {
    Limits { read_grace: Duration::from_secs(60), write_grace: Duration::from_secs(60), ..Limits::default() }
}

/// A node that hears the others badly.
fn badly_connected(n: u8, seed: u64) -> Node {
    let endpoint = Endpoint::new(key(n), chain(1), patient(), Config::default()).unwrap();
    let port = Port::bind(loopback()).unwrap();
    endpoint.listen_on(port.clone());
    let to = port.sink().unwrap();
    port.set_sink(Arc::new(BadPath { to, state: Mutex::new(State { random: seed, late: None }) }));
    tokio::spawn(async move { port.read_alone().await });
    endpoint.set_desk(Arc::new(Desk));
    let signaling = endpoint.listen_signaling(loopback()).unwrap();
    Node { listener: endpoint.incoming(), endpoint, signaling, id: peer(n) }
}

async fn send_all(mut stream: SendStream, frames: Vec<Bytes>) -> SendStream {
    for payload in frames {
        stream.write(frame(payload)).await.unwrap();
    }
    stream
}

async fn read_all(mut stream: RecvStream, frames: Vec<Bytes>) -> RecvStream {
    let budget = FrameBudget::default();
    for payload in frames {
        assert!(read(&mut stream, &budget).await == payload, "{} bytes came differently", payload.len());
    }
    stream
}

/// Frames both ways on a channel of a connection.
async fn exchange([a, b]: [Arc<dyn Connection>; 2], channel: Channel, frames: Vec<Bytes>) {
    let [from, to] = [a, b].map(|end| tokio::spawn(async move { end.open(puller(channel)).await.unwrap() }));
    let ((a_send, a_recv), (b_send, b_recv)) = (from.await.unwrap(), to.await.unwrap());
    let senders = [a_send, b_send].map(|send| tokio::spawn(send_all(send, frames.clone())));
    let readers = [a_recv, b_recv].map(|recv| tokio::spawn(read_all(recv, frames.clone())));
    // The halves last until all is through.
    let mut kept = Vec::new();
    for sender in senders {
        kept.push(sender.await.unwrap());
    }
    for reader in readers {
        drop(reader.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_and_in_order_over_a_bad_path() {
    watchdog(async {
        for seed in 1..=2 {
            let (dialer, target) = (node(1, patient(), Config::default()), badly_connected(2, seed));
            let (dialed, accepted) = tokio::join!(dialer.dial(target.id, target.signaling), target.accept());
            let ends = [dialed.unwrap_or_else(|error| panic!("{error}")), accepted];
            let small = (0..SMALL).map(|n| pattern(1 + n % 50)).collect();
            tokio::join!(
                exchange(ends.clone(), Channel::Rpc, vec![pattern(BULK)]),
                exchange(ends.clone(), Channel::Snark, small),
            );
            let [dialed, accepted] = ends;
            dialed.close(CloseReason::Shutdown);
            accepted.closed().await;
        }
    })
    .await;
}
