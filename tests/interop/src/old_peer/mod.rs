//! [`OldPeer`]: behaves as the Mina Rust node of today does.
//!
//! One queue of inputs and one state for all peers ([`node`]), one task for each peer ([`peer`]), as over there.

mod channels;
mod http;
mod node;
mod parser;
mod peer;
mod pool;
pub mod signal;
mod signaling;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::{
    BestTipMessage, CommitmentMessage, RpcMessage, RpcRequest, RpcResponse, SignalingDiscoveryMessage,
    SignalingExchangeMessage, SnarkInfo, SnarkJobCommitment, SnarkMessage, StagedLedgerPart, StreamingRpcMessage,
    TransactionInfo, TransactionMessage,
};
use mina_p2p_wire::{Address, ChainId, Channel, Host, PeerId, SecretKey, Signaling, StateHash};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use node::{Input, Order};
pub use parser::FramingError;

/// How long a test waits for an event at most before it fails: far more than the longest timeout it can be about, 30 s.
const EVENT_WAIT: Duration = Duration::from_secs(90);

/// Aborts a task when dropped.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The existing node's sleeps.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between the opening of stream 0 and the authentication.
    pub auth: Duration,
    /// Between the opening of a channel and its first message.
    pub channels: Duration,
    /// Between the opening of a channel and listening on it. What comes in before is lost.
    pub handlers: Duration,
}

impl Pace {
    /// As it is.
    pub const REAL: Self =
        Self { auth: Duration::from_secs(1), channels: Duration::from_secs(3), handlers: Duration::from_millis(2) };
    /// A fraction of the sleeps, for tests of something else. Enough that two imitations lose nothing of each other's.
    pub const QUICK: Self =
        Self { auth: Duration::from_millis(20), channels: Duration::from_millis(250), handlers: Duration::ZERO };
}

/// What a peer sends for its authentication.
#[derive(Debug, Clone, Default)]
pub enum AuthBehaviour {
    /// Its own.
    #[default]
    Honest,
    /// What it received.
    Reflected,
    /// Nothing.
    Never,
    /// This.
    Bytes(Bytes),
}

/// How an [`OldPeer`] is set up. All but the key and the chain are as the existing node's are.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who it is.
    pub secret: SecretKey,
    /// Its network.
    pub chain_id: ChainId,
    /// Whether its sleeps are as long as they are.
    pub sleeps: bool,
    /// Other sleeps.
    pub pace: Option<Pace>,
    /// Whether it looks for peers through relays.
    pub discovery: bool,
    /// Whether it asks each new peer for addresses.
    pub initial_peers: bool,
    /// Whether it fetches the bodies of transactions and SNARK works that it hears of.
    pub fetch: bool,
    /// When it redials a peer that it had dialed by HTTP.
    pub reconnect: Option<Duration>,
    /// The most peers.
    pub max_peers: usize,
    /// What it authenticates with.
    pub auth: AuthBehaviour,
}

impl Config {
    /// The defaults, for the key of this seed on this chain.
    #[must_use]
    pub fn new(seed: u8, chain_id: ChainId) -> Self {
        Self {
            secret: SecretKey::from_bytes([seed; 32]),
            chain_id,
            sleeps: true,
            pace: None,
            discovery: true,
            initial_peers: true,
            fetch: true,
            reconnect: Some(Duration::from_secs(30)),
            max_peers: 100,
            auth: AuthBehaviour::Honest,
        }
    }

    fn pace(&self) -> Pace {
        self.pace.unwrap_or(if self.sleeps { Pace::REAL } else { Pace::QUICK })
    }
}

/// A message, of whichever channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the channels' names")]
pub enum Message {
    SignalingDiscovery(SignalingDiscoveryMessage),
    SignalingExchange(SignalingExchangeMessage),
    BestTip(BestTipMessage),
    Transaction(TransactionMessage),
    Snark(SnarkMessage),
    Commitment(CommitmentMessage),
    Rpc(RpcMessage),
    StreamingRpc(StreamingRpcMessage),
}

/// What an [`OldPeer`] sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A connection is authenticated.
    Ready {
        /// With whom.
        peer: PeerId,
        /// Whether the other dialed.
        incoming: bool,
    },
    /// An attempt to connect, or an incoming one, came to nothing.
    Failed {
        /// With whom.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// A connection is over.
    Disconnected {
        /// With whom.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// What remained of a connection or an attempt is gone, 100 ms after its end. Whatever else there is with the same peer
    /// at this moment is dropped with it: the existing node's bug.
    Closed {
        /// With whom.
        peer: PeerId,
    },
    /// The peer broke the protocol; the connection ends.
    Violation {
        /// Who.
        peer: PeerId,
        /// On which channel.
        channel: Channel,
        /// How.
        reason: String,
    },
    /// The peer's message could not be read; the connection ends.
    BadFrame {
        /// Who.
        peer: PeerId,
        /// On which channel.
        channel: Channel,
        /// What is wrong.
        error: FramingError,
    },
    /// An SCTP message came in too early and is lost.
    Lost {
        /// Whose.
        peer: PeerId,
        /// On which channel.
        channel: Channel,
        /// How long it was.
        len: usize,
    },
    /// A channel is open.
    Open {
        /// With whom.
        peer: PeerId,
        /// Which.
        channel: Channel,
    },
    /// A message came in and was expected.
    Received {
        /// Whose.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// A staged ledger is complete.
    StagedLedger {
        /// Whose.
        peer: PeerId,
        /// Its parts; none if the peer has no such ledger.
        parts: Vec<StagedLedgerPart>,
    },
    /// An offer was not accepted, ours or theirs.
    Rejected {
        /// By whom, or whose.
        peer: PeerId,
        /// Whether it was ours.
        ours: bool,
        /// What was answered.
        response: signal::Response,
    },
}

impl Event {
    fn is_complaint(&self) -> bool {
        matches!(self, Self::Violation { .. } | Self::BadFrame { .. } | Self::Lost { .. })
    }
}

/// A running imitation. Stops when dropped, without a word to its peers.
#[derive(Debug)]
pub struct OldPeer {
    secret: SecretKey,
    http: SocketAddr,
    node: mpsc::UnboundedSender<Input>,
    events: mpsc::UnboundedReceiver<Event>,
    unseen: VecDeque<Event>,
    _stop: oneshot::Sender<()>,
}

impl OldPeer {
    /// Starts one that listens for offers on a port of 127.0.0.1. It runs on one thread of its own, as the existing node
    /// does, so that a busy test does not delay it.
    ///
    /// # Errors
    /// If there is no port or no thread.
    pub fn start(config: Config) -> io::Result<Self> {
        // With two providers linked in, as in a test with a node of ours, rustls wants to be told which.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let http = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (node, inputs) = mpsc::unbounded_channel();
        let (events, received) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let secret = config.secret.clone();
        let state = node::Node::new(config, http.port(), node.clone(), events);
        let queue = node.clone();
        std::thread::Builder::new().name("old peer".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = state.run(inputs) => {}
                    () = http::serve(listener, queue) => {}
                    _dropped = stopped => {}
                }
            });
        })?;
        Ok(Self { secret, http, node, events: received, unseen: VecDeque::new(), _stop: stop })
    }

    /// Who it is.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.secret.peer_id()
    }

    /// Its key.
    #[must_use]
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// Where it takes offers.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The same, with who it is.
    #[must_use]
    pub fn address(&self) -> Address {
        let host = Host::from(self.http.ip());
        Address::WebRtc { peer_id: self.peer_id(), signaling: Signaling::Http { host, port: self.http.port() } }
    }

    fn order(&self, order: Order) {
        let _stopped = self.node.send(Input::Order(order));
    }

    /// Dials by HTTP.
    pub fn dial(&self, peer: PeerId, http: SocketAddr) {
        self.order(Order::Dial(peer, http));
    }

    /// Makes this its best tip.
    pub fn set_tip(&self, hash: StateHash, block: Bytes) {
        self.order(Order::SetTip(hash, block));
    }

    /// Puts a transaction into its pool.
    pub fn add_transaction(&self, info: TransactionInfo, body: Bytes) {
        self.order(Order::AddTransaction(info, body));
    }

    /// Puts a SNARK work into its pool.
    pub fn add_snark(&self, info: SnarkInfo, body: Bytes) {
        self.order(Order::AddSnark(info, body));
    }

    /// Puts a commitment into its pool.
    pub fn add_commitment(&self, commitment: SnarkJobCommitment) {
        self.order(Order::AddCommitment(commitment));
    }

    /// Answers a request so from now on.
    pub fn serve(&self, request: RpcRequest, response: RpcResponse) {
        self.order(Order::Serve(request, response));
    }

    /// Answers requests for this staged ledger in parts from now on.
    pub fn serve_staged_ledger(&self, block: StateHash, parts: Vec<StagedLedgerPart>) {
        self.order(Order::ServeStaged(block, parts));
    }

    /// Asks a peer, after what was asked before.
    pub fn request(&self, peer: PeerId, request: RpcRequest) {
        self.order(Order::Request(peer, request));
    }

    /// Asks a peer for a staged ledger in parts.
    pub fn request_staged_ledger(&self, peer: PeerId, block: StateHash) {
        self.order(Order::Stream(peer, block));
    }

    /// Ends a connection, and does not redial.
    pub fn disconnect(&self, peer: PeerId) {
        self.order(Order::Disconnect(peer));
    }

    /// Sends these SCTP messages on a channel, whatever they are.
    pub fn send_raw(&self, peer: PeerId, channel: Channel, messages: Vec<Bytes>) {
        self.order(Order::SendRaw(peer, channel, messages));
    }

    /// The next event that `wanted` takes, whichever came first; the others stay for later calls.
    ///
    /// # Panics
    /// If none comes, or if the other side broke the protocol before: a test that expects that waits for it by
    /// [`complaint`](Self::complaint).
    pub async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        self.find(what, false, &mut wanted).await
    }

    /// The next complaint about the other side: [`Event::Violation`], [`Event::BadFrame`] or [`Event::Lost`].
    ///
    /// # Panics
    /// If none comes.
    pub async fn complaint(&mut self) -> Event {
        self.find("complaint", true, &mut |event| event.is_complaint().then(|| event.clone())).await
    }

    /// The next event, of those that nobody has waited for.
    ///
    /// # Panics
    /// If none comes.
    pub async fn next_event(&mut self) -> Event {
        self.find("event", true, &mut |event| Some(event.clone())).await
    }

    /// The events until now that nobody has waited for.
    pub fn events(&mut self) -> Vec<Event> {
        while let Ok(event) = self.events.try_recv() {
            self.unseen.push_back(event);
        }
        self.unseen.drain(..).collect()
    }

    async fn find<T>(&mut self, what: &str, lenient: bool, wanted: &mut impl FnMut(&Event) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            while let Some(event) = self.unseen.get(at) {
                if let Some(found) = wanted(event) {
                    self.unseen.remove(at);
                    return found;
                }
                assert!(lenient || !event.is_complaint(), "waiting for {what}: {event:?}");
                at += 1;
            }
            match tokio::time::timeout(EVENT_WAIT, self.events.recv()).await {
                Ok(Some(event)) => self.unseen.push_back(event),
                Ok(None) => {
                    panic!("waiting for {what}: the peer has stopped; unseen: {:#?}", self.unseen)
                }
                Err(_) => panic!("no {what} within {EVENT_WAIT:?}; unseen: {:#?}", self.unseen),
            }
        }
    }

    /// Waits until it is connected with the peer.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub async fn ready(&mut self, peer: PeerId) {
        self.wait("connection", |event| matches!(event, Event::Ready { peer: p, .. } if *p == peer).then_some(()))
            .await;
    }

    /// Waits until it is no longer connected with the peer; returns why.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub async fn disconnected(&mut self, peer: PeerId) -> String {
        self.wait("end of the connection", |event| match event {
            Event::Disconnected { peer: p, reason } if *p == peer => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a message of the peer that `wanted` takes.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub async fn message<T>(&mut self, peer: PeerId, what: &str, mut wanted: impl FnMut(&Message) -> Option<T>) -> T {
        self.wait(what, |event| match event {
            Event::Received { peer: p, message } if *p == peer => wanted(message),
            _ => None,
        })
        .await
    }

    /// Waits for the answer to the next request that it has asked the peer; `None` if the peer does not have it.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub async fn response(&mut self, peer: PeerId) -> Option<RpcResponse> {
        self.message(peer, "answer", |message| match message {
            Message::Rpc(RpcMessage::Response { response: Some(RpcResponse::InitialPeers(_)), .. }) => None,
            Message::Rpc(RpcMessage::Response { response, .. }) => Some(response.clone()),
            _ => None,
        })
        .await
    }
}
