//! Two WebRTC endpoints on loopback.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mina_p2p_transport::webrtc::{Config, Endpoint, OfferDesk};
use mina_p2p_transport::{CloseReason, FrameBudget, Limits, Listener, Transport, TransportKind};
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::RejectionReason;
use mina_p2p_wire::{Address, Channel, Frame, Host, PeerId, Role, SecretKey, Signaling, StreamId};

struct Desk(Hello);

impl OfferDesk for Desk {
    fn judge(&self, _peer: PeerId, _from: Option<IpAddr>) -> Result<Hello, RejectionReason> {
        Ok(self.0.clone())
    }
}

fn hello() -> Hello {
    common::hello()
}

struct Side {
    endpoint: Endpoint,
    id: PeerId,
    listener: Box<dyn Listener>,
    signaling: SocketAddr,
}

fn side(n: u8) -> Side {
    let key = SecretKey::from_bytes([n; 32]);
    let id = key.peer_id();
    let endpoint = Endpoint::new(key, hello().chain_id, Limits::default(), Config::default()).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = endpoint.listen(loopback).unwrap();
    endpoint.set_desk(Arc::new(Desk(hello())));
    let signaling = endpoint.listen_signaling(loopback).unwrap();
    Side { endpoint, id, listener, signaling }
}

impl Side {
    fn address(&self) -> Address {
        let (host, port) = (Host::Ipv4([127, 0, 0, 1].into()), self.signaling.port());
        Address::WebRtc { peer_id: self.id, signaling: Signaling::Http { host, port } }
    }
}

fn stream(channel: Channel) -> StreamId {
    StreamId { channel, role: Role::Puller, request: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_connect_and_exchange_frames_both_ways() {
    let (a, b) = (side(1), side(2));
    let start = Instant::now();
    let steps = std::sync::Mutex::new(Vec::new());
    let address = b.address();
    let observe = |step| steps.lock().unwrap().push((step, start.elapsed()));
    let ours = hello();
    let dial = a.endpoint.connect_observed(&address, &ours, &observe);
    let accept = async { b.listener.accept().await.unwrap().accept(&hello()).await.unwrap() };
    let (dialed, accepted) = tokio::join!(dial, accept);
    let dialed = dialed.unwrap();
    for (step, at) in steps.lock().unwrap().iter() {
        println!("{at:?} {step:?}");
    }
    assert_eq!(dialed.transport(), TransportKind::WebRtc);
    assert_eq!((dialed.peer(), accepted.peer()), (b.id, a.id));
    assert_eq!(dialed.remote_hello(), Some(&hello()));
    assert_eq!(accepted.remote_hello(), Some(&hello()));
    let budget = FrameBudget::default();
    for channel in Channel::ALL {
        let (mut send, _recv) = dialed.open(stream(channel)).await.unwrap();
        let (_send, mut recv) = accepted.open(stream(channel)).await.unwrap();
        let payload = Bytes::from(vec![channel.id(); 100_000]);
        let write = send.write(Frame { head: Bytes::from_static(b"head"), payload: payload.clone() });
        let read = async {
            let len = recv.read_head().await.unwrap().unwrap();
            recv.read_body(len, &budget).await.unwrap().body
        };
        let (written, body) = tokio::join!(write, read);
        written.unwrap();
        assert_eq!(&body[..4], b"head");
        assert_eq!(body.slice(4..), payload);
    }
    dialed.close(CloseReason::Violation("for a test".to_owned()));
    assert_eq!(accepted.closed().await, CloseReason::Violation("for a test".to_owned()));
    assert_eq!(dialed.closed().await, CloseReason::Violation("for a test".to_owned()));
}
