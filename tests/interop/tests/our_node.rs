//! A node of ours and the imitation of the existing one, over WebRTC.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mina_p2p::message::{
    RpcRequest, RpcResponse, SnarkInfo, SnarkJobCommitment, StagedLedgerPart, StagedLedgerPartKind, StateHash,
    TransactionInfo,
};
use mina_p2p::{
    Address, Answer, Builder, ChainId, Channel, Direction, Event, Host, IncomingRequest, Node, PeerId, Request,
    RequestId, Response, SecretKey, Signaling, TransportKind,
};
use mina_p2p_interop::old_peer::{self, AuthBehaviour, Config, Message, OldPeer};
use mina_p2p_wire::message::{
    BestTipMessage, CompressedPublicKey, JobId, PoolMessage, SignalingDiscoveryMessage, TransactionHash,
};
use mina_p2p_wire::signaling::Offer;

/// Fails a test that hangs; nothing is measured by it.
const WATCHDOG: Duration = Duration::from_secs(60);
const CHAIN: ChainId = ChainId([7; 32]);
const ACCOUNT: CompressedPublicKey = CompressedPublicKey { x: [3; 32], is_odd: true };

/// A node of ours. It runs on threads of its own, as the imitation does, so that waiting for it holds up nobody.
struct Ours {
    node: Node,
    waiting: VecDeque<Event>,
}

impl Drop for Ours {
    /// Closing waits for the peers to be told: not something for a test to wait for.
    fn drop(&mut self) {
        let node = self.node.clone();
        std::thread::spawn(move || drop(node));
    }
}

impl Ours {
    fn start(seed: u8) -> Self {
        Self::with(seed, |builder| builder)
    }

    fn with(seed: u8, configure: impl FnOnce(Builder) -> Builder) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let builder = Node::builder(SecretKey::from_bytes([seed; 32]), CHAIN).listen(loopback).signaling(loopback);
        Self { node: configure(builder).start().unwrap(), waiting: VecDeque::new() }
    }

    fn id(&self) -> PeerId {
        self.node.peer_id()
    }

    /// Where it takes offers by HTTP.
    fn http(&self) -> SocketAddr {
        let http = |address: &Address| match address {
            Address::WebRtc { signaling: Signaling::Http { host: Host::Ipv4(ip), port }, .. } => {
                Some(SocketAddr::from((*ip, *port)))
            }
            _ => None,
        };
        self.node.listen_addresses().iter().find_map(http).expect("an address of signaling")
    }

    /// The first event that `pick` takes; the others stay in order for later.
    fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        if let Some((at, found)) = self.waiting.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?))) {
            self.waiting.remove(at);
            return found;
        }
        let deadline = Instant::now() + WATCHDOG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what}; seen: {:?}", self.waiting);
            for event in self.node.wait(1, left) {
                match pick(&event) {
                    Some(found) => return found,
                    None => self.waiting.push_back(event),
                }
            }
        }
    }

    fn connected_to(&mut self, other: PeerId) -> Direction {
        self.until("connection", |event| match event {
            Event::PeerConnected { peer, direction, transport, .. } if *peer == other => {
                assert_eq!(*transport, TransportKind::WebRtc);
                Some(*direction)
            }
            _ => None,
        })
    }

    fn disconnected_from(&mut self, other: PeerId) -> String {
        self.until("disconnection", |event| match event {
            Event::PeerDisconnected { peer, reason } if *peer == other => Some(format!("{reason:?}")),
            _ => None,
        })
    }

    fn dial_failed(&mut self) -> String {
        self.until("failed dial", |event| match event {
            Event::DialFailed { reason, .. } => Some(reason.to_string()),
            _ => None,
        })
    }

    fn tip(&mut self) -> Bytes {
        self.until("tip", |event| match event {
            Event::BestTip { block, .. } => Some(block.clone()),
            _ => None,
        })
    }

    fn ask(&self, peer: PeerId, request: Request) -> RequestId {
        self.node.request(Some(peer), request).unwrap()
    }

    fn response(&mut self, id: RequestId) -> Answer {
        self.until("response", |event| match event {
            Event::Response { request, answer, .. } if *request == id => Some(answer.clone()),
            _ => None,
        })
        .unwrap()
    }

    /// Answers the next request by the peer, which is this.
    fn answer(&mut self, request: &IncomingRequest, response: Response) {
        let responder = self.until("request", |event| match event {
            Event::Request { responder, request: asked, .. } if asked == request => Some(*responder),
            _ => None,
        });
        self.node.respond(responder, response).unwrap();
    }
}

fn quick(seed: u8) -> Config {
    Config { sleeps: false, discovery: false, ..Config::new(seed, CHAIN) }
}

fn start(config: Config) -> OldPeer {
    OldPeer::start(config).unwrap()
}

async fn connect(ours: &mut Ours, old: &mut OldPeer, old_dials: bool) {
    let direction = if old_dials {
        old.dial(ours.id(), ours.http());
        Direction::Accepted
    } else {
        ours.node.dial(&old.address()).unwrap();
        Direction::Dialed
    };
    old.ready(ours.id()).await;
    assert_eq!(ours.connected_to(old.peer_id()), direction);
}

/// A node of ours and one of the existing kind, connected by a dial of either.
async fn pair(old_dials: bool, config: Config) -> (Ours, OldPeer) {
    let (mut ours, mut old) = (Ours::start(1), start(config));
    connect(&mut ours, &mut old, old_dials).await;
    (ours, old)
}

/// A block of so many bytes: its parent's hash, and anything.
fn block(parent: u8, len: usize) -> Bytes {
    let mut block = vec![parent; 32];
    block.extend((32..len).map(|at| (at % 251) as u8));
    block.into()
}

fn old_tip(message: &Message) -> Option<Bytes> {
    match message {
        Message::BestTip(BestTipMessage::BestTip(block)) => Some(block.clone()),
        _ => None,
    }
}

fn transaction(id: u8) -> TransactionInfo {
    TransactionInfo { hash: TransactionHash([id; 32]), fee_payer: ACCOUNT, fee: 5, nonce: 1 }
}

fn work(id: u8) -> SnarkInfo {
    SnarkInfo { job_id: JobId([id; 128]), fee: 6, prover: ACCOUNT }
}

fn commitment(id: u8) -> SnarkJobCommitment {
    SnarkJobCommitment { timestamp_ms: 1_700_000_000_000, job_id: JobId([id; 128]), fee: 7, snarker: ACCOUNT }
}

/// Tips, pools and their bodies, staged ledgers, both ways. The imitation fails the test at whatever the existing node would
/// not have survived, or would have lost.
async fn everything_travels(ours: &mut Ours, old: &mut OldPeer) {
    let us = ours.id();
    old.set_tip(StateHash([1; 32]), block(0, 3_000_000));
    assert!(ours.tip() == block(0, 3_000_000));
    ours.node.set_best_tip(StateHash([2; 32]), block(1, 3_000_000)).unwrap();
    assert!(old.message(us, "tip", old_tip).await == block(1, 3_000_000));
    // The same tip on both sides: then both serve their pools.
    old.set_tip(StateHash([2; 32]), block(1, 3_000_000));
    assert!(ours.tip() == block(1, 3_000_000));
    for id in 0..40 {
        old.add_transaction(transaction(id), Bytes::from(vec![id; 30_000]));
        old.add_snark(work(id), Bytes::from(vec![id; 20_000]));
        old.add_commitment(commitment(id));
        ours.node.add_transaction(transaction(100 + id), Bytes::from(vec![id; 25_000])).unwrap();
        ours.node.add_work(work(100 + id), Bytes::from(vec![id; 15_000])).unwrap();
        ours.node.add_commitment(commitment(100 + id)).unwrap();
    }
    what_they_have_comes(ours, old.peer_id());
    // They fetch the bodies by themselves.
    let mut bodies = Vec::new();
    for _ in 0..80 {
        let body = old.response(us).await.unwrap().payload().unwrap().clone();
        bodies.push((body.len(), body[0]));
    }
    bodies.sort_unstable();
    let expected = [15_000, 25_000].into_iter().flat_map(|len| (0..40).map(move |id| (len, id)));
    assert_eq!(bodies, expected.collect::<Vec<_>>());
    staged_ledgers_travel(ours, old).await;
}

fn what_they_have_comes(ours: &mut Ours, them: PeerId) {
    for id in 0..40 {
        ours.until("transaction", |event| match event {
            Event::Transaction { info, .. } if *info == transaction(id) => Some(()),
            _ => None,
        });
        ours.until("work", |event| match event {
            Event::Work { info, .. } if *info == work(id) => Some(()),
            _ => None,
        });
        ours.until("commitment", |event| match event {
            Event::Commitment { commitment: told, .. } if *told == commitment(id) => Some(()),
            _ => None,
        });
    }
    for id in [0, 39] {
        let request = ours.ask(them, Request::Rpc(RpcRequest::Transaction(transaction(id).hash)));
        let body = RpcResponse::Transaction(vec![id; 30_000].into());
        assert!(ours.response(request) == Answer::Rpc(Some(body)));
        let request = ours.ask(them, Request::Rpc(RpcRequest::Snark(work(id).job_id)));
        assert!(ours.response(request) == Answer::Rpc(Some(RpcResponse::Snark(vec![id; 20_000].into()))));
    }
}

async fn staged_ledgers_travel(ours: &mut Ours, old: &mut OldPeer) {
    let (us, them) = (ours.id(), old.peer_id());
    let part = |kind, body: &[u8]| StagedLedgerPart { kind, body: Bytes::copy_from_slice(body) };
    let parts = vec![
        part(StagedLedgerPartKind::Base, &[1; 100_000]),
        part(StagedLedgerPartKind::ScanStateBase, &[2, 9]),
        part(StagedLedgerPartKind::PreviousIncompleteZkappUpdates, &[0]),
        part(StagedLedgerPartKind::ScanStateTree, &[7; 500_000]),
        part(StagedLedgerPartKind::ScanStateTree, &[8; 300_000]),
    ];
    let hash = StateHash([5; 32]);
    old.serve_staged_ledger(hash, parts.clone());
    let request = ours.ask(them, Request::StagedLedgerParts(hash));
    for expected in &parts {
        let came = ours.until("part", |event| match event {
            Event::StagedLedgerPart { part, .. } => Some(part.clone()),
            _ => None,
        });
        assert!(came == *expected);
    }
    assert_eq!(ours.response(request), Answer::StagedLedgerParts(Some(5)));
    old.request_staged_ledger(us, hash);
    ours.answer(&IncomingRequest::StagedLedgerParts(hash), Response::StagedLedgerParts(Some(parts.clone())));
    let ledger = |event: &old_peer::Event| match event {
        old_peer::Event::StagedLedger { parts, .. } => Some(parts.clone()),
        _ => None,
    };
    assert!(old.wait("staged ledger", ledger).await == parts);
}

#[tokio::test]
async fn with_the_real_sleeps_and_dialed_by_it_everything_travels_both_ways() {
    let (mut ours, mut old) = pair(true, Config { sleeps: true, ..quick(2) }).await;
    everything_travels(&mut ours, &mut old).await;
}

#[tokio::test]
async fn with_the_real_sleeps_and_dialed_by_us_everything_travels_both_ways() {
    let (mut ours, mut old) = pair(false, Config { sleeps: true, ..quick(2) }).await;
    everything_travels(&mut ours, &mut old).await;
}

/// Real blocks, which are not part of the repository, or one that is made up.
fn blocks() -> Vec<Bytes> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/blocks");
    let folder = std::env::var_os("MINA_P2P_BLOCKS").map_or_else(beside, PathBuf::from);
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("no real blocks in {}", folder.display());
        return vec![block(5, 100_000)];
    };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    paths.sort();
    paths.iter().take(10).map(|path| std::fs::read(path).unwrap().into()).collect()
}

#[tokio::test]
async fn real_blocks_travel_as_tips_and_by_rpc() {
    let (mut ours, mut old) = pair(true, quick(2)).await;
    for (n, block) in (1..).zip(blocks()) {
        let (theirs, our) = (StateHash([n; 32]), StateHash([100 + n; 32]));
        old.set_tip(theirs, block.clone());
        assert!(ours.tip() == block);
        let request = ours.ask(old.peer_id(), Request::Rpc(RpcRequest::Block(theirs)));
        assert!(ours.response(request) == Answer::Rpc(Some(RpcResponse::Block(block.clone()))));
        ours.node.set_best_tip(our, block.clone()).unwrap();
        assert!(old.message(ours.id(), "tip", old_tip).await == block);
        old.request(ours.id(), RpcRequest::Block(our));
        assert!(old.response(ours.id()).await == Some(RpcResponse::Block(block)));
    }
}

#[tokio::test]
async fn answers_of_32_mib_travel_both_ways() {
    let (mut ours, mut old) = pair(true, quick(2)).await;
    let hash = StateHash([5; 32]);
    let large = block(1, 32 * 1024 * 1024);
    old.serve(RpcRequest::StagedLedgerAux(hash), RpcResponse::StagedLedgerAux(large.clone()));
    let request = ours.ask(old.peer_id(), Request::Rpc(RpcRequest::StagedLedgerAux(hash)));
    assert!(ours.response(request) == Answer::Rpc(Some(RpcResponse::StagedLedgerAux(large.clone()))));
    old.request(ours.id(), RpcRequest::StagedLedgerAux(hash));
    let response = Response::Rpc(Some(RpcResponse::StagedLedgerAux(large.clone())));
    ours.answer(&IncomingRequest::Rpc(RpcRequest::StagedLedgerAux(hash)), response);
    assert!(old.response(ours.id()).await == Some(RpcResponse::StagedLedgerAux(large)));
}

#[tokio::test]
async fn either_ends_a_connection_and_the_other_sees_it() {
    for we_end_it in [true, false] {
        let (mut ours, mut old) = pair(true, quick(2)).await;
        if we_end_it {
            ours.node.disconnect(old.peer_id()).unwrap();
        } else {
            old.disconnect(ours.id());
        }
        old.disconnected(ours.id()).await;
        ours.disconnected_from(old.peer_id());
        // A new connection before this would be dropped at this.
        let us = ours.id();
        let closed = |event: &old_peer::Event| (*event == old_peer::Event::Closed { peer: us }).then_some(());
        old.wait("cleanup", closed).await;
        connect(&mut ours, &mut old, false).await;
    }
}

#[tokio::test]
async fn we_introduce_two_of_them() {
    let mut relay = Ours::start(1);
    let mut dialer = start(Config { discovery: true, ..quick(2) });
    let mut target = start(quick(3));
    connect(&mut relay, &mut target, true).await;
    connect(&mut relay, &mut dialer, true).await;
    dialer.ready(target.peer_id()).await;
    target.ready(dialer.peer_id()).await;
    let answer = |message: &Message| {
        matches!(message, Message::SignalingDiscovery(SignalingDiscoveryMessage::Answer(Some(_)))).then_some(())
    };
    dialer.message(relay.id(), "answer", answer).await;
}

/// The existing node takes one offer of each link; see also `all_who_know_one_relay_meet` of the protocol's tests.
#[tokio::test]
async fn one_link_brings_us_one_offer_after_another() {
    let mut relay = Ours::start(1);
    let mut target = Ours::start(2);
    target.node.dial(&relay.node.listen_addresses()[0]).unwrap();
    relay.until("connection", |event| matches!(event, Event::PeerConnected { .. }).then_some(()));
    for seed in 3..7 {
        let mut dialer = start(Config { discovery: true, ..quick(seed) });
        connect(&mut relay, &mut dialer, true).await;
        dialer.ready(target.id()).await;
        assert_eq!(target.connected_to(dialer.peer_id()), Direction::Accepted);
        // The next one is not to be introduced to it.
        relay.node.disconnect(dialer.peer_id()).unwrap();
        dialer.disconnected(relay.id()).await;
    }
}

#[tokio::test]
async fn through_one_of_them_we_dial_another() {
    let mut relay = start(quick(1));
    let mut target = start(quick(2));
    let mut ours = Ours::with(3, |builder| builder.discover_peers(10));
    target.dial(relay.peer_id(), relay.http_address());
    target.ready(relay.peer_id()).await;
    connect(&mut ours, &mut relay, false).await;
    assert_eq!(ours.connected_to(target.peer_id()), Direction::Dialed);
    target.ready(ours.id()).await;
    target.set_tip(StateHash([3; 32]), block(0, 500));
    assert_eq!(ours.tip(), block(0, 500));
}

#[tokio::test]
async fn through_one_of_them_another_dials_us() {
    let mut relay = start(quick(1));
    let mut dialer = start(Config { discovery: true, ..quick(2) });
    let mut ours = Ours::start(3);
    connect(&mut ours, &mut relay, false).await;
    dialer.dial(relay.peer_id(), relay.http_address());
    dialer.ready(ours.id()).await;
    assert_eq!(ours.connected_to(dialer.peer_id()), Direction::Accepted);
    dialer.set_tip(StateHash([3; 32]), block(0, 500));
    assert_eq!(ours.tip(), block(0, 500));
}

#[tokio::test]
async fn of_two_dials_at_the_same_time_one_survives() {
    for (ours, old) in [(1, 2), (2, 1)] {
        // Not by trying again after 30 s.
        let (mut ours, mut old) = (Ours::start(ours), start(Config { reconnect: None, ..quick(old) }));
        old.dial(ours.id(), ours.http());
        ours.node.dial(&old.address()).unwrap();
        old.ready(ours.id()).await;
        ours.connected_to(old.peer_id());
        old.set_tip(StateHash([3; 32]), block(0, 500));
        assert_eq!(ours.tip(), block(0, 500));
        ours.node.set_best_tip(StateHash([4; 32]), block(1, 500)).unwrap();
        assert_eq!(old.message(ours.id(), "tip", old_tip).await, block(1, 500));
        // And it stays: a round trip after all that the other attempt left behind is done.
        let request = ours.ask(old.peer_id(), Request::Rpc(RpcRequest::Block(StateHash([9; 32]))));
        assert_eq!(ours.response(request), Answer::Rpc(None));
    }
}

#[tokio::test]
async fn an_authentication_that_is_not_its_own_gets_nobody_in() {
    let others =
        [AuthBehaviour::Reflected, AuthBehaviour::Bytes(vec![1; 92].into()), AuthBehaviour::Bytes(vec![1; 91].into())];
    for auth in others {
        let (mut ours, old) = (Ours::start(1), start(Config { auth, ..quick(2) }));
        ours.node.dial(&old.address()).unwrap();
        let reason = ours.dial_failed();
        eprintln!("{reason}");
        assert!(ours.node.peers().is_empty());
    }
}

#[tokio::test]
async fn whoever_never_authenticates_is_given_up() {
    let (mut ours, old) = (Ours::start(1), start(Config { auth: AuthBehaviour::Never, ..quick(2) }));
    ours.node.dial(&old.address()).unwrap();
    ours.dial_failed();
}

#[tokio::test]
async fn what_would_bring_the_existing_node_down_only_ends_the_connection() {
    // A list of so many bytes, of which none come.
    let offer = |len: u64| [&[4, 0xfc][..], &len.to_le_bytes()].concat();
    let framed = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let cases: Vec<(Channel, Vec<Vec<u8>>)> = vec![
        (Channel::BestTip, vec![[&framed(&[9])[..], &[0, 0]].concat(), vec![0]]),
        // A message without a byte, which travels as one byte that says so.
        (Channel::BestTip, vec![vec![]]),
        (Channel::BestTip, vec![vec![0, 0, 0, 0]]),
        (Channel::BestTip, vec![vec![0xff, 0xff, 0xff, 0xff, 1]]),
        (Channel::SignalingDiscovery, vec![framed(&offer(u64::MAX / 2))]),
        (Channel::SignalingDiscovery, vec![framed(&offer(1 << 40))]),
        (Channel::Transaction, vec![framed(&[1, 33])]),
        (Channel::Rpc, vec![framed(&[1, 77, 0])]),
        (Channel::StreamingRpc, vec![framed(&[0, 77])]),
        (Channel::Rpc, vec![[&framed(&[0, 1, 0])[..], &vec![0; 70_000]].concat()]),
    ];
    let mut ours = Ours::start(1);
    let mut good = start(quick(200));
    connect(&mut ours, &mut good, true).await;
    for (seed, (channel, messages)) in (10..).zip(cases) {
        let mut bad = start(Config { reconnect: None, ..quick(seed) });
        connect(&mut ours, &mut bad, true).await;
        bad.send_raw(ours.id(), channel, messages.iter().cloned().map(Bytes::from).collect());
        let reason = ours.disconnected_from(bad.peer_id());
        assert!(reason.contains("empty_message") == messages.iter().any(Vec::is_empty), "{reason}");
        eprintln!("{channel} {:?}: {reason}", messages.first().map(|message| &message[..message.len().min(20)]));
        bad.disconnected(ours.id()).await;
    }
    // The others are served as ever.
    good.set_tip(StateHash([3; 32]), block(0, 500));
    assert_eq!(ours.tip(), block(0, 500));
}

#[tokio::test]
async fn offers_for_others_are_refused_as_the_existing_node_refuses_them() {
    use mina_p2p_interop::old_peer::signal::{Rejection, Response};
    let ours = Ours::start(1);
    let rejected = |event: &old_peer::Event| match event {
        old_peer::Event::Rejected { ours: true, response: Response::Rejected(rejection), .. } => Some(*rejection),
        _ => None,
    };
    let mut other_chain = start(Config { chain_id: ChainId([8; 32]), ..quick(2) });
    other_chain.dial(ours.id(), ours.http());
    assert_eq!(other_chain.wait("rejection", rejected).await, Rejection::ChainIdMismatch);
    let mut stranger = start(quick(3));
    stranger.dial(other_chain.peer_id(), ours.http());
    assert_eq!(stranger.wait("rejection", rejected).await, Rejection::TargetPeerIdNotMe);
}

/// The key of a seed is that of a peer that is connected: nothing proves it yet, and nothing is done to that peer.
#[tokio::test]
async fn an_offer_in_the_name_of_a_peer_that_lives_is_refused_and_changes_nothing() {
    use mina_p2p_interop::old_peer::signal::{Rejection, Response};
    let (mut ours, old) = pair(true, quick(2)).await;
    old.set_tip(StateHash([3; 32]), block(0, 500));
    assert_eq!(ours.tip(), block(0, 500));
    let mut other = start(quick(2));
    other.dial(ours.id(), ours.http());
    let rejected = |event: &old_peer::Event| match event {
        old_peer::Event::Rejected { ours: true, response: Response::Rejected(rejection), .. } => Some(*rejection),
        _ => None,
    };
    assert_eq!(other.wait("rejection", rejected).await, Rejection::AlreadyConnected);
    old.set_tip(StateHash([4; 32]), block(1, 500));
    assert_eq!(ours.tip(), block(1, 500));
}

/// Posts a body and reads the response, head and all.
async fn post(to: SocketAddr, body: String) -> String {
    let post = move || {
        let mut stream = std::net::TcpStream::connect(to)?;
        let head = format!("POST /mina/webrtc/signal HTTP/1.1\r\nhost: {to}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response).map(|_| response)
    };
    tokio::task::spawn_blocking(post).await.unwrap().unwrap()
}

#[tokio::test]
async fn whom_an_offer_names_as_its_host_hears_nothing_of_it() {
    let somebody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    somebody.set_nonblocking(true).unwrap();
    let ours = Ours::with(1, |builder| builder.discover_peers(10));
    let connection = webrtc::api::APIBuilder::new().build().new_peer_connection(Default::default()).await.unwrap();
    connection.create_data_channel("", None).await.unwrap();
    let key = SecretKey::from_bytes([9; 32]);
    let offer = Offer {
        sdp: connection.create_offer(None).await.unwrap().sdp,
        chain_id: CHAIN,
        identity_pub_key: key.public_key(),
        target_peer_id: ours.id(),
        host: Host::Ipv4(Ipv4Addr::LOCALHOST),
        listen_port: Some(somebody.local_addr().unwrap().port()),
    };
    let response = post(ours.http(), offer.to_json()).await;
    assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("\"Accepted\""), "{response}");
    // Its place is given up after 15 s; the existing node would dial that host then, and sooner if it has few peers.
    let ended = || ours.node.webrtc_figures().unwrap().pending == 0;
    let deadline = Instant::now() + WATCHDOG;
    while !ended() {
        assert!(Instant::now() < deadline, "the attempt does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(somebody.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn commitments_are_pulled_from_them_and_never_pushed_to_them() {
    let (mut ours, mut old) = pair(true, quick(2)).await;
    ours.node.set_best_tip(StateHash([1; 32]), block(0, 500)).unwrap();
    ours.node.add_commitment(commitment(1)).unwrap();
    old.set_tip(StateHash([1; 32]), block(0, 500));
    old.add_commitment(commitment(2));
    ours.until("commitment", |event| match event {
        Event::Commitment { commitment: told, .. } if *told == commitment(2) => Some(()),
        _ => None,
    });
    let pushed = |event: &old_peer::Event| {
        matches!(event, old_peer::Event::Received { message: Message::Commitment(PoolMessage::WillSend { .. }), .. })
    };
    assert!(!old.events().iter().any(pushed));
}
