//! A node under attack, and an honest peer of its that has to be served on.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mina_p2p_transport::webrtc::{Config, Endpoint, Figures, OfferDesk};
use mina_p2p_transport::{
    CloseReason, ConnectError, Connection, FrameBudget, Limits, Listener, RecvStream, SendStream, Transport,
};
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::RejectionReason;
use mina_p2p_wire::{Address, Channel, Host, PeerId, Signaling};

use super::common::events::Events;
use super::common::{chain, frame, hello, key, pattern, peer, puller, read};
use super::raw_webrtc::{Manner, Offering, Raw};

/// The node under attack.
pub const VICTIM: u8 = 200;
/// An honest peer of its.
pub const HONEST: u8 = 201;

pub struct Desk;

impl OfferDesk for Desk {
    fn judge(&self, _peer: PeerId, _from: Option<IpAddr>) -> Result<Hello, RejectionReason> {
        Ok(hello())
    }
}

pub struct Node {
    pub endpoint: Endpoint,
    pub listener: Box<dyn Listener>,
    pub signaling: SocketAddr,
    pub id: PeerId,
}

pub fn node(n: u8, limits: Limits, config: Config) -> Node {
    let endpoint = Endpoint::new(key(n), chain(1), limits, config).unwrap();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = endpoint.listen(loopback).unwrap();
    endpoint.set_desk(Arc::new(Desk));
    let signaling = endpoint.listen_signaling(loopback).unwrap();
    Node { endpoint, listener, signaling, id: peer(n) }
}

pub fn signaled_at(peer_id: PeerId, at: SocketAddr) -> Address {
    let (host, port) = (Host::Ipv4(Ipv4Addr::LOCALHOST), at.port());
    Address::WebRtc { peer_id, signaling: Signaling::Http { host, port } }
}

impl Node {
    pub async fn dial(&self, peer_id: PeerId, at: SocketAddr) -> Result<Arc<dyn Connection>, ConnectError> {
        self.endpoint.connect(&signaled_at(peer_id, at), &hello()).await
    }

    pub async fn accept(&self) -> Arc<dyn Connection> {
        self.listener.accept().await.unwrap().accept(&hello()).await.unwrap()
    }
}

/// Both ends of a connection between honest nodes.
async fn connect(from: &Node, to: &Node) -> [Arc<dyn Connection>; 2] {
    // A dial that fails leaves nothing to accept.
    let dial = async { from.dial(to.id, to.signaling).await.map_err(|error| panic!("an honest dial: {error}")) };
    let (dialed, accepted) = tokio::try_join!(dial, async { Ok::<_, ()>(to.accept().await) }).unwrap();
    [dialed, accepted]
}

pub type Stream = (SendStream, RecvStream);

/// A victim with an honest connection, which has to work on.
pub struct Scene {
    pub victim: Node,
    pub honest: Node,
    _connections: [Arc<dyn Connection>; 2],
    pub ends: [Stream; 2],
    pub budget: FrameBudget,
}

pub async fn talk([ours, theirs]: &mut [Stream; 2], budget: &FrameBudget) {
    for (from, to) in [(&mut ours.0, &mut theirs.1), (&mut theirs.0, &mut ours.1)] {
        let payload = pattern(5_000);
        from.write(frame(payload.clone())).await.unwrap();
        assert_eq!(read(to, budget).await, payload);
    }
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(Limits::default(), Config::default()).await
    }

    /// Whoever is answered has little time to prove itself.
    pub async fn impatient() -> Self {
        let authentication_timeout = Duration::from_millis(1_500);
        Self::with(Limits::default(), Config { authentication_timeout, ..Config::default() }).await
    }

    pub async fn with(limits: Limits, config: Config) -> Self {
        Events::collect();
        let victim = node(VICTIM, limits, config);
        let honest = node(HONEST, Limits::default(), Config::default());
        let connections = connect(&honest, &victim).await;
        let [a, b] = &connections;
        let ends = [a.open(puller(Channel::Rpc)).await.unwrap(), b.open(puller(Channel::Rpc)).await.unwrap()];
        Self { victim, honest, _connections: connections, ends, budget: FrameBudget::default() }
    }

    pub fn figures(&self) -> Figures {
        self.victim.endpoint.figures()
    }

    /// The connection from before works, and so does a new one.
    pub async fn serves(mut self) {
        talk(&mut self.ends, &self.budget).await;
        let third = node(HONEST + 1, Limits::default(), Config::default());
        let [dialed, accepted] = connect(&third, &self.victim).await;
        let streams = tokio::join!(dialed.open(puller(Channel::Rpc)), accepted.open(puller(Channel::Rpc)));
        talk(&mut [streams.0.unwrap(), streams.1.unwrap()], &self.budget).await;
        assert_eq!(self.figures().pending, 0);
    }

    /// A hostile peer, answered and not yet connected.
    pub async fn hostile(&self, manner: Manner) -> Raw {
        let offering = Offering::new(manner, key(VICTIM).public_key()).await;
        offering.post(self.victim.signaling, chain(1)).await
    }

    /// A hostile peer that has proved itself, and the victim's connection with it.
    pub async fn proved(&self, manner: Manner) -> (Raw, Arc<dyn Connection>) {
        let mut raw = self.hostile(manner).await;
        raw.prove().await;
        let connection = raw.during(self.victim.accept()).await;
        raw.until(|raw| raw.received(0).is_some()).await;
        (raw, connection)
    }

    /// What the victim says of an attempt that came to nothing, and the figures after it.
    pub async fn refused(&self, raw: &mut Raw, why: &str) -> Figures {
        let peer = raw.key.peer_id().to_string();
        raw.during(Events::collect().wait_for(&["answered, not connected", &peer, why])).await;
        raw.until(|_| self.figures().pending == 0).await;
        self.figures()
    }
}

/// The reason for which the victim ends a connection with a raw peer.
pub async fn ended(raw: &mut Raw, connection: &Arc<dyn Connection>) -> CloseReason {
    raw.during(connection.closed()).await
}

pub fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

pub fn manner(n: u8) -> Manner {
    Manner::of(key(n))
}

pub fn ours(n: u8) -> Manner {
    Manner::ours(key(n), hello())
}
