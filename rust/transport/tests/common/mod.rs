//! What the tests share: nodes of either transport, and pairs of connections.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

pub mod events;
pub mod raw;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_transport::{
    CloseReason, ConnectError, Connection, FrameBudget, Incoming, Limits, Listener, RecvStream, SendStream, Transport,
    memory, quic,
};
use mina_p2p_wire::message::{Capabilities, Hello};
use mina_p2p_wire::{Address, ChainId, Channel, Frame, Host, PROTOCOL_VERSION, PeerId, Role, SecretKey, StreamId};

/// Fails a test that hangs; no test relies on how long anything takes.
pub async fn watchdog<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(180), test).await.expect("the test hangs")
}

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

pub fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

pub fn chain(n: u8) -> ChainId {
    ChainId([n; 32])
}

pub fn hello() -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        chain_id: chain(1),
        capabilities: Capabilities::POOLS_UNGATED,
        listen_addresses: Vec::new(),
        agent: "test".to_owned(),
        identity_signature: None,
    }
}

pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub fn address(peer_id: PeerId, at: SocketAddr) -> Address {
    Address::Quic { peer_id, host: Host::from(at.ip()), port: at.port() }
}

/// A kind of transport.
pub trait Kind {
    fn node(&self, key: SecretKey, limits: Limits) -> Arc<dyn Transport>;
}

pub struct Quic;

impl Kind for Quic {
    fn node(&self, key: SecretKey, limits: Limits) -> Arc<dyn Transport> {
        Arc::new(quic::Endpoint::new(key, chain(1), limits).unwrap())
    }
}

#[derive(Default)]
pub struct Memory(memory::Network);

impl Kind for Memory {
    fn node(&self, key: SecretKey, limits: Limits) -> Arc<dyn Transport> {
        Arc::new(self.0.endpoint(key.peer_id(), chain(1), limits))
    }
}

/// Two connected nodes: 1 dialed 2.
pub struct Pair {
    pub dialer: Arc<dyn Transport>,
    pub listener: Arc<dyn Transport>,
    pub arrivals: Box<dyn Listener>,
    pub dialed: Arc<dyn Connection>,
    pub accepted: Arc<dyn Connection>,
}

impl Pair {
    pub async fn new(kind: &impl Kind, limits: Limits) -> Self {
        let dialer = kind.node(key(1), limits.clone());
        let listener = kind.node(key(2), limits);
        let arrivals = listener.listen(loopback()).unwrap();
        let address = address(peer(2), arrivals.local_addr());
        let (our_hello, their_hello) = (hello(), hello());
        let (dialed, accepted) = tokio::join!(dialer.connect(&address, &our_hello), async {
            let incoming = arrivals.accept().await.unwrap();
            incoming.accept(&their_hello).await
        });
        Self { dialer, listener, arrivals, dialed: dialed.unwrap(), accepted: accepted.unwrap() }
    }

    /// A stream that the dialer opened: its side, then the listener's.
    pub async fn stream(&self, stream: StreamId) -> ((SendStream, RecvStream), (SendStream, RecvStream)) {
        let (ours, theirs) = tokio::join!(self.dialed.open(stream), self.accepted.accept());
        let (accepted, send, recv) = theirs.unwrap();
        assert_eq!((accepted.channel, accepted.role), (stream.channel, Role::Server));
        (ours.unwrap(), (send, recv))
    }
}

/// Dials while `decide` has the incoming connection at the other end.
pub async fn dial<F: Future>(
    dialer: &Arc<dyn Transport>,
    arrivals: &dyn Listener,
    expected: PeerId,
    our_hello: &Hello,
    decide: impl FnOnce(Incoming) -> F,
) -> (Result<Arc<dyn Connection>, ConnectError>, F::Output) {
    let address = address(expected, arrivals.local_addr());
    tokio::join!(dialer.connect(&address, our_hello), async { decide(arrivals.accept().await.unwrap()).await })
}

pub fn puller(channel: Channel) -> StreamId {
    StreamId { channel, role: Role::Puller, request: 0 }
}

pub fn frame(payload: impl Into<Bytes>) -> Frame {
    Frame { head: Bytes::new(), payload: payload.into() }
}

/// Reads a frame as the node does.
pub async fn read(recv: &mut RecvStream, budget: &FrameBudget) -> Bytes {
    let len = recv.read_head().await.unwrap().unwrap();
    recv.read_body(len, budget).await.unwrap().body
}

/// The error of a failed dial.
pub fn failed(result: Result<Arc<dyn Connection>, ConnectError>) -> ConnectError {
    match result {
        Ok(_) => panic!("the dial should have failed"),
        Err(error) => error,
    }
}

/// Bytes that differ from place to place.
pub fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

pub const VIOLATION: &str = "best_tip: a second answer";

pub fn violation() -> CloseReason {
    CloseReason::Violation(VIOLATION.to_owned())
}
