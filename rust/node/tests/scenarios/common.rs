//! Nodes on loopback, for tests: each in this process with its own runtime and a queue of events looked through here.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mina_p2p::message::{
    CompressedPublicKey, JobId, RpcRequest, SnarkInfo, SnarkJobCommitment, StateHash, TransactionHash, TransactionInfo,
};
use mina_p2p::{
    Address, Answer, Builder, ChainId, Channel, CloseReason, DialError, Event, Host, IncomingRequest, Limits, Node,
    PeerFigures, PeerId, Request, RequestFailure, RequestId, ResponderId, Response, SecretKey, TransportKind,
    TransportLimits,
};

/// Fails a test that hangs; nothing is measured by it.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

pub(crate) const CHAIN: ChainId = ChainId([7; 32]);

pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

thread_local! {
    /// By what the nodes of a test connect that are made on its thread.
    static OVER: Cell<TransportKind> = const { Cell::new(TransportKind::Quic) };
}

/// Runs a test whose nodes have only this transport.
pub(crate) fn over(transport: TransportKind, test: impl FnOnce()) {
    OVER.set(transport);
    test();
}

/// The transport of the nodes that this thread makes; a test that makes some on other threads hands it on.
pub(crate) fn transport_of_this_test() -> TransportKind {
    OVER.get()
}

/// What the nodes of this thread's test have in common.
pub(crate) fn of_this_test(builder: Builder) -> Builder {
    match OVER.get() {
        TransportKind::WebRtc => builder.transports(&[TransportKind::WebRtc]).signaling(loopback()),
        _ => builder.transports(&[TransportKind::Quic]),
    }
}

/// A node with the events that were polled and not yet asked for.
pub(crate) struct TestNode {
    pub(crate) node: Node,
    waiting: VecDeque<Event>,
}

impl Drop for TestNode {
    /// Closing waits for the peers to be told: not something for a test to wait for.
    fn drop(&mut self) {
        let node = self.node.clone();
        thread::spawn(move || drop(node));
    }
}

impl TestNode {
    pub(crate) fn start(n: u8) -> TestNode {
        TestNode::with(n, |builder| builder)
    }

    pub(crate) fn with(n: u8, configure: impl FnOnce(Builder) -> Builder) -> TestNode {
        TestNode::on(n, loopback(), configure)
    }

    /// A node that listens on this socket, as soon as the system lets it: one that had it may just have closed.
    pub(crate) fn on(n: u8, socket: SocketAddr, configure: impl FnOnce(Builder) -> Builder) -> TestNode {
        let free = || UdpSocket::bind(socket).is_ok();
        eventually("a free port", free);
        let builder = of_this_test(Node::builder(secret(n), CHAIN)).listen(socket);
        TestNode { node: configure(builder).start().unwrap(), waiting: VecDeque::new() }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.node.peer_id()
    }

    pub(crate) fn address(&self) -> Address {
        self.node.listen_addresses()[0].clone()
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        match self.address() {
            Address::Quic { host, port, .. } => SocketAddr::new(host.ip().unwrap(), port),
            other => panic!("{other}"),
        }
    }

    /// The first event that `pick` takes; the others stay in order for later.
    pub(crate) fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        if let Some((at, found)) = self.waiting.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?))) {
            self.waiting.remove(at);
            return found;
        }
        let deadline = Instant::now() + WATCHDOG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what}; seen: {:?}", self.waiting);
            // One at a time, so that an event that is not asked for yet holds its permit no longer than polled.
            for event in self.node.wait(1, left) {
                match pick(&event) {
                    Some(found) => return found,
                    None => self.waiting.push_back(event),
                }
            }
        }
    }

    /// The very next event.
    pub(crate) fn next(&mut self) -> Event {
        match self.waiting.pop_front() {
            Some(event) => event,
            None => self.node.wait(1, WATCHDOG).pop().expect("an event"),
        }
    }

    pub(crate) fn connected_to(&mut self, peer: PeerId) {
        self.until("connection", |event| match event {
            Event::PeerConnected { peer: other, .. } if *other == peer => Some(()),
            _ => None,
        });
    }

    pub(crate) fn disconnected_from(&mut self, peer: PeerId) -> CloseReason {
        self.until("disconnection", |event| match event {
            Event::PeerDisconnected { peer: other, reason } if *other == peer => Some(reason.clone()),
            _ => None,
        })
    }

    pub(crate) fn dial_failed(&mut self) -> DialError {
        self.until("failed dial", |event| match event {
            Event::DialFailed { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    /// Puts a request to a peer, which may.
    pub(crate) fn ask(&self, peer: PeerId, request: Request) -> RequestId {
        self.node.request(Some(peer), request).unwrap()
    }

    pub(crate) fn response(&mut self, id: RequestId) -> Result<Answer, RequestFailure> {
        self.until("response", |event| match event {
            Event::Response { request, answer, .. } if *request == id => Some(answer.clone()),
            _ => None,
        })
    }

    /// A peer's request.
    pub(crate) fn asked(&mut self) -> (ResponderId, IncomingRequest) {
        self.until("request", |event| match event {
            Event::Request { responder, request, .. } => Some((*responder, request.clone())),
            _ => None,
        })
    }

    pub(crate) fn cancelled(&mut self) -> ResponderId {
        self.until("cancelled request", |event| match event {
            Event::RequestCancelled { responder, .. } => Some(*responder),
            _ => None,
        })
    }

    pub(crate) fn tip(&mut self) -> Bytes {
        self.until("tip", |event| match event {
            Event::BestTip { block, .. } => Some(block.clone()),
            _ => None,
        })
    }

    pub(crate) fn offered_transaction(&mut self) -> TransactionInfo {
        self.until("offer of a transaction", |event| match event {
            Event::Transaction { info, .. } => Some(*info),
            _ => None,
        })
    }

    /// All events that were seen and not asked for.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Event> {
        self.waiting.iter()
    }

    /// The figures of a connected peer.
    pub(crate) fn figures(&self, peer: PeerId) -> PeerFigures {
        self.node.peers().into_iter().find(|figures| figures.peer == peer).expect("a connected peer")
    }
}

/// Two nodes, connected: the first dials.
pub(crate) fn pair() -> (TestNode, TestNode) {
    let mut a = TestNode::start(1);
    let mut b = TestNode::start(2);
    connect(&mut a, &mut b);
    (a, b)
}

pub(crate) fn connect(a: &mut TestNode, b: &mut TestNode) {
    a.node.dial(&b.address()).unwrap();
    a.connected_to(b.id());
    b.connected_to(a.id());
}

/// Goes once to a peer and back: what either sent before on a request's stream has mostly arrived, and the connection
/// lives.
pub(crate) fn round_trip(a: &mut TestNode, b: &mut TestNode) {
    let hash = TransactionHash([0xee; 32]);
    let request = a.ask(b.id(), Request::Rpc(RpcRequest::Transaction(hash)));
    let responder = b.until("round trip", |event| match event {
        Event::Request { responder, request: IncomingRequest::Rpc(RpcRequest::Transaction(other)), .. } => {
            (*other == hash).then_some(*responder)
        }
        _ => None,
    });
    b.node.respond(responder, Response::Rpc(None)).unwrap();
    assert_eq!(a.response(request), Ok(Answer::Rpc(None)));
}

/// Looks until it is so. What comes without an event is waited for by this.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        // So that looking does not take the processor from whoever is looked at.
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sent and received: messages and bytes of a channel.
pub(crate) fn traffic(figures: &PeerFigures, channel: Channel) -> [(u64, u64); 2] {
    let of = figures.session.channels.iter().find(|(of, _)| *of == channel).map(|(_, figures)| *figures);
    let of = of.unwrap_or_default();
    [(of.sent_messages, of.sent_bytes), (of.received_messages, of.received_bytes)]
}

/// Limits with this transport.
pub(crate) fn transport(change: impl FnOnce(&mut TransportLimits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.transport);
    limits
}

pub(crate) fn quic(peer_id: PeerId, socket: SocketAddr) -> Address {
    let host = match socket.ip() {
        std::net::IpAddr::V4(ip) => Host::Ipv4(ip),
        std::net::IpAddr::V6(ip) => Host::Ipv6(ip),
    };
    Address::Quic { peer_id, host, port: socket.port() }
}

/// A block of this length, whose parent is the one named: its first 32 bytes.
pub(crate) fn block(parent: StateHash, fill: u8, len: usize) -> Bytes {
    let mut bytes = vec![fill; len.max(32)];
    bytes[..32].copy_from_slice(&parent.0);
    bytes.into()
}

pub(crate) fn hash(n: u8) -> StateHash {
    StateHash([n; 32])
}

fn key(n: u16) -> CompressedPublicKey {
    CompressedPublicKey { x: bytes(n), is_odd: n % 2 == 1 }
}

/// Bytes that differ for every number.
fn bytes<const N: usize>(n: u16) -> [u8; N] {
    let [low, high] = n.to_le_bytes();
    std::array::from_fn(|i| if i % 2 == 0 { low } else { high })
}

fn body(n: u16, len: usize) -> Bytes {
    n.to_le_bytes().into_iter().cycle().take(len).collect()
}

pub(crate) fn transaction(n: u16, len: usize) -> (TransactionInfo, Bytes) {
    let info = TransactionInfo { hash: TransactionHash(bytes(n)), fee_payer: key(n), fee: u64::from(n), nonce: 1 };
    (info, body(n, len))
}

pub(crate) fn work(n: u16, len: usize) -> (SnarkInfo, Bytes) {
    let info = SnarkInfo { job_id: JobId(bytes(n)), fee: u64::from(n), prover: key(n) };
    (info, body(n, len))
}

pub(crate) fn commitment(n: u16) -> SnarkJobCommitment {
    SnarkJobCommitment { timestamp_ms: 1_700_000_000_000, job_id: JobId(bytes(n)), fee: u64::from(n), snarker: key(n) }
}
