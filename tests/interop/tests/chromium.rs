//! Pages of `tests/browser` in a headless Chromium. Skipped, with a line, when none is installed.

#[path = "../src/chromium.rs"]
#[allow(unreachable_pub)]
mod chromium;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chromium::Page;
use mina_p2p::{
    Answer, Builder, Direction, Event as NodeEvent, IncomingRequest, Node, Request, Response, TransportKind,
};
use mina_p2p_interop::old_peer::{Config, Event, Message, OldPeer};
use mina_p2p_wire::message::{
    BestTipMessage, RpcRequest, RpcResponse, SnarkInfo, SnarkJobCommitment, SnarkMessage, StagedLedgerPart,
    StagedLedgerPartKind, TransactionInfo, TransactionMessage,
};
use mina_p2p_wire::{Address, ChainId, CompressedPublicKey, JobId, PeerId, SecretKey, StateHash, TransactionHash};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;

const CHAIN: ChainId = ChainId([7; 32]);
const ACCOUNT: CompressedPublicKey = CompressedPublicKey { x: [3; 32], is_odd: true };
/// How many items of each kind `with_peer.js` serves.
const ITEMS: u8 = 40;

fn chromium() -> Option<PathBuf> {
    let program = chromium::find();
    if program.is_none() {
        eprintln!("skipped: Chromium is not installed");
    }
    program
}

#[tokio::test]
async fn the_browser_client_passes_its_own_tests() {
    let Some(program) = chromium() else { return };
    let mut page = Page::open(&program, "selftest.html", HashMap::new()).await.unwrap();
    let report = page.report().await.unwrap();
    let results = report.as_array().unwrap();
    let failed: Vec<&Value> = results.iter().filter(|result| !result["error"].is_null()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    // A page that ran nothing would have no failures either.
    assert!(results.len() >= 29, "only {} tests ran", results.len());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How the page reports bytes.
fn digest(bytes: &[u8]) -> Value {
    json!({ "length": bytes.len(), "sha256": hex(&Sha256::digest(bytes)) })
}

/// A block of so many bytes: its parent's hash, and anything.
fn block(parent: u8, len: usize) -> Bytes {
    let mut block = vec![parent; 32];
    block.extend((32..len).map(|at| (at % 251) as u8));
    block.into()
}

/// `with_peer.html`, and what it has reported that nobody has asked for yet.
struct Client {
    page: Page,
    unseen: Vec<Value>,
}

impl Client {
    /// Shows it with a plan, and this tip to serve.
    async fn open(program: &std::path::Path, plan: &Value, tip: Bytes) -> Self {
        let data = HashMap::from([("plan".to_owned(), plan.to_string().into()), ("tip".to_owned(), tip)]);
        let page = Page::open(program, "with_peer.html", data).await.unwrap();
        Self { page, unseen: Vec::new() }
    }

    /// The next report of this step that has these fields.
    async fn step(&mut self, step: &str, fields: Value) -> Value {
        let is_it = |report: &Value| {
            report["step"] == step && fields.as_object().unwrap().iter().all(|(name, value)| report[name] == *value)
        };
        loop {
            if let Some(at) = self.unseen.iter().position(is_it) {
                return self.unseen.remove(at);
            }
            let report = self.page.report().await;
            let report = report.unwrap_or_else(|error| panic!("{step} {fields}: {error}; unseen: {:#?}", self.unseen));
            assert_ne!(report["step"], "error", "waiting for {step}: {report}");
            self.unseen.push(report);
        }
    }
}

/// What a peer of these tests has, and what the page says when it has pulled all.
fn transaction(id: u8) -> TransactionInfo {
    TransactionInfo {
        hash: TransactionHash([id; 32]),
        fee_payer: ACCOUNT,
        fee: u64::MAX - u64::from(id),
        nonce: u32::MAX,
    }
}

fn snark(id: u8) -> SnarkInfo {
    SnarkInfo { job_id: JobId([id; 128]), fee: u64::MAX - u64::from(id), prover: ACCOUNT }
}

fn commitment(id: u8) -> SnarkJobCommitment {
    SnarkJobCommitment { timestamp_ms: 9, job_id: JobId([id; 128]), fee: u64::MAX - u64::from(id), snarker: ACCOUNT }
}

fn parts() -> Vec<StagedLedgerPart> {
    let part = |kind, body: &[u8]| StagedLedgerPart { kind, body: Bytes::copy_from_slice(body) };
    vec![
        part(StagedLedgerPartKind::Base, &[1; 100]),
        part(StagedLedgerPartKind::ScanStateBase, &[1, 9]),
        part(StagedLedgerPartKind::PreviousIncompleteZkappUpdates, &[0]),
        part(StagedLedgerPartKind::ScanStateTree, &[7; 200_000]),
    ]
}

/// The parts that the page serves of the staged ledger of this block.
fn parts_of_the_page(block: StateHash) -> Vec<StagedLedgerPart> {
    let mut parts = parts();
    parts[0].body = Bytes::copy_from_slice(&block.0);
    parts[3].body = vec![7; 50_000].into();
    parts
}

const HELD: StateHash = StateHash([5; 32]);
const NOT_HELD: StateHash = StateHash([0; 32]);

/// Everything that is to be pulled from a peer at this address.
fn plan(address: &Address, seeds: &[u8]) -> Value {
    json!({
        "address": address.to_string(),
        "chain": hex(&CHAIN.0),
        "seeds": seeds.iter().map(|seed| hex(&[*seed; 32])).collect::<Vec<_>>(),
        "pull": { "transactions": 50, "snarks": 50, "commitments": 3 },
        "ask": [
            { "kind": "Transaction", "hash": hex(&[49; 32]) },
            { "kind": "Transaction", "hash": hex(&[99; 32]) },
            { "kind": "Snark", "hash": hex(&[49; 128]) },
            { "kind": "Block", "hash": hex(&HELD.0) },
            { "kind": "InitialPeers" },
        ],
        "parts": [hex(&HELD.0), hex(&NOT_HELD.0)],
    })
}

/// That the page has pulled all of it.
async fn expect_everything(client: &mut Client, tip: &[u8], block: &[u8]) {
    client.step("tip", digest(tip)).await;
    for (pool, count, len) in [("transactions", 50, 32), ("snarks", 50, 128), ("commitments", 3, 128)] {
        let found = client.step(pool, json!({})).await;
        let ids: Vec<String> = (0..count).map(|id: u8| hex(&vec![id; len])).collect();
        let fees: Vec<String> = (0..count).map(|id: u8| (u64::MAX - u64::from(id)).to_string()).collect();
        assert_eq!((&found["ids"], &found["fees"]), (&json!(ids), &json!(fees)), "{pool}");
    }
    let transaction = client.step("Transaction", json!({ "asked": hex(&[49; 32]) })).await;
    assert_eq!(transaction["answer"], digest(&[49; 30_000]));
    let missing = client.step("Transaction", json!({ "asked": hex(&[99; 32]) })).await;
    assert_eq!(missing["answer"], Value::Null);
    assert_eq!(client.step("Snark", json!({})).await["answer"], digest(&[49; 20_000]));
    assert_eq!(client.step("Block", json!({})).await["answer"], digest(block));
    let held = client.step("parts", json!({ "asked": hex(&HELD.0) })).await;
    let expected =
        json!([["Base", 100], ["ScanStateBase", 2], ["PreviousIncompleteZkappUpdates", 1], ["ScanStateTree", 200_000]]);
    assert_eq!(held["parts"], expected);
    assert_eq!(client.step("parts", json!({ "asked": hex(&NOT_HELD.0) })).await["parts"], Value::Null);
}

/// Whoever has this seed.
fn id(seed: u8) -> PeerId {
    SecretKey::from_bytes([seed; 32]).peer_id()
}

#[tokio::test]
async fn a_page_and_an_existing_node_exchange_every_channel() {
    let Some(program) = chromium() else { return };
    let mut peer = OldPeer::start(Config { discovery: false, ..Config::new(1, CHAIN) }).unwrap();
    for id in 0..50 {
        peer.add_transaction(transaction(id), vec![id; 30_000].into());
        peer.add_snark(snark(id), vec![id; 20_000].into());
    }
    (0..3).for_each(|id| peer.add_commitment(commitment(id)));
    // Its own requests wait behind its answers, and time out after 8 s: no longer a block than that allows.
    let (tip, held) = (block(0, 3_000_000), block(9, 3_000_000));
    peer.set_tip(StateHash([1; 32]), tip.clone());
    peer.serve(RpcRequest::Block(HELD), RpcResponse::Block(held.clone()));
    peer.serve_staged_ledger(HELD, parts());

    // The existing node serves its pools to those whose tip is its own or a child of it.
    let tip_of_page = block(1, 2_000_000);
    let mut client = Client::open(&program, &plan(&peer.address(), &[2]), tip_of_page.clone()).await;
    let page = id(2);
    peer.ready(page).await;
    client.step("connected", json!({ "peer": peer.peer_id().to_string(), "own": page.to_string() })).await;
    expect_everything(&mut client, &tip, &held).await;
    client.step("InitialPeers", json!({})).await;

    let tip_came = |message: &Message| match message {
        Message::BestTip(BestTipMessage::BestTip(block)) => Some(block.clone()),
        _ => None,
    };
    assert!(peer.message(page, "tip", tip_came).await == tip_of_page);
    for at in 0..ITEMS {
        let hash = TransactionHash([at + 101; 32]);
        let is = |message: &Message| matches!(message, Message::Transaction(TransactionMessage::Item(item)) if item.hash == hash);
        peer.message(page, "transaction", |message| is(message).then_some(())).await;
        let job = JobId([at + 101; 128]);
        let is = |message: &Message| matches!(message, Message::Snark(SnarkMessage::Item(item)) if item.job_id == job);
        peer.message(page, "snark", |message| is(message).then_some(())).await;
    }
    // It has asked for the bodies of them all.
    for _ in 0..2 * usize::from(ITEMS) {
        let answer = peer.response(page).await.unwrap();
        let payload = answer.payload().unwrap();
        assert!(payload.starts_with(b"Transaction") || payload.starts_with(b"Snark"), "{answer:?}");
    }
    for block in [HELD, NOT_HELD] {
        peer.request_staged_ledger(page, block);
        let parts = peer
            .wait("staged ledger", |event| match event {
                Event::StagedLedger { parts, .. } => Some(parts.clone()),
                _ => None,
            })
            .await;
        assert_eq!(parts, if block == HELD { parts_of_the_page(HELD) } else { Vec::new() });
    }
    peer.disconnect(page);
    client.step("closed", json!({ "peer": peer.peer_id().to_string() })).await;
}

#[tokio::test]
async fn an_existing_node_introduces_two_browser_nodes() {
    let Some(program) = chromium() else { return };
    let mut peer = OldPeer::start(Config { discovery: false, sleeps: false, ..Config::new(1, CHAIN) }).unwrap();
    let plan = json!({
        "address": peer.address().to_string(), "chain": hex(&CHAIN.0), "seeds": [hex(&[2; 32]), hex(&[3; 32])],
        "pull": {}, "ask": [], "parts": [],
    });
    let mut client = Client::open(&program, &plan, block(1, 100)).await;
    for seed in [2, 3] {
        peer.ready(id(seed)).await;
    }
    let [own, other] = [id(2), id(3)].map(|id| id.to_string());
    client.step("connected", json!({ "own": own, "peer": other })).await;
    client.step("connected", json!({ "own": other, "peer": own })).await;
    assert!(peer.events().iter().all(|event| !matches!(event, Event::Violation { .. })));
}

/// Our node, with the events that nobody has asked for yet.
struct OurNode {
    node: Node,
    events: mpsc::UnboundedReceiver<NodeEvent>,
    unseen: Vec<NodeEvent>,
}

impl OurNode {
    /// Starts one that listens for offers, and has only this block and the staged ledger of it.
    fn start(seed: u8, held: Bytes) -> Self {
        Self::with(seed, held, |builder| builder)
    }

    fn with(seed: u8, held: Bytes, configure: impl FnOnce(Builder) -> Builder) -> Self {
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let builder = Node::builder(SecretKey::from_bytes([seed; 32]), CHAIN).listen(loopback).signaling(loopback);
        let node = configure(builder).start().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let polled = node.clone();
        std::thread::spawn(move || {
            while !sender.is_closed() {
                for event in polled.wait(16, Duration::from_millis(100)) {
                    if let NodeEvent::Request { responder, request, .. } = event {
                        let response = match request {
                            IncomingRequest::Rpc(RpcRequest::Block(HELD)) => {
                                Response::Rpc(Some(RpcResponse::Block(held.clone())))
                            }
                            IncomingRequest::StagedLedgerParts(HELD) => Response::StagedLedgerParts(Some(parts())),
                            IncomingRequest::StagedLedgerParts(_) => Response::StagedLedgerParts(None),
                            _ => Response::Rpc(None),
                        };
                        let _ = polled.respond(responder, response);
                    } else {
                        let _ = sender.send(event);
                    }
                }
            }
        });
        Self { node, events, unseen: Vec::new() }
    }

    fn address(&self) -> Address {
        let by_webrtc = |address: &&Address| matches!(address, Address::WebRtc { .. });
        self.node.listen_addresses().iter().find(by_webrtc).unwrap().clone()
    }

    /// The first event that `wanted` takes; the others stay for later.
    async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&NodeEvent) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            while let Some(event) = self.unseen.get(at) {
                if let Some(found) = wanted(event) {
                    self.unseen.remove(at);
                    return found;
                }
                at += 1;
            }
            let event = timeout(Duration::from_secs(60), self.events.recv()).await;
            self.unseen.push(event.unwrap_or_else(|_| panic!("no {what}; unseen: {:#?}", self.unseen)).unwrap());
        }
    }

    async fn connected(&mut self, page: PeerId) {
        assert_eq!(self.connection(page).await, (Direction::Accepted, TransportKind::WebRtc));
    }

    async fn connection(&mut self, page: PeerId) -> (Direction, TransportKind) {
        let connected = |event: &NodeEvent| match event {
            NodeEvent::PeerConnected { peer, direction, transport, .. } if *peer == page => {
                Some((*direction, *transport))
            }
            _ => None,
        };
        self.wait("connection", connected).await
    }

    async fn ask(&mut self, page: PeerId, request: Request) -> Answer {
        let id = self.node.request(Some(page), request).unwrap();
        let answered = |event: &NodeEvent| match event {
            NodeEvent::Response { request, answer, .. } if *request == id => Some(answer.clone()),
            _ => None,
        };
        self.wait("answer", answered).await.unwrap()
    }
}

#[tokio::test]
async fn a_page_and_our_node_exchange_every_channel() {
    let Some(program) = chromium() else { return };
    let (tip, held) = (block(0, 3_000_000), block(9, 32 * 1024 * 1024 - 64));
    let mut node = OurNode::start(1, held.clone());
    for id in 0..50 {
        node.node.add_transaction(transaction(id), vec![id; 30_000].into()).unwrap();
        node.node.add_work(snark(id), vec![id; 20_000].into()).unwrap();
    }
    for id in 0..3 {
        node.node.add_commitment(commitment(id)).unwrap();
    }
    node.node.set_best_tip(StateHash([1; 32]), tip.clone()).unwrap();

    let tip_of_page = block(1, 2_000_000);
    let mut client = Client::open(&program, &plan(&node.address(), &[2]), tip_of_page.clone()).await;
    let page = id(2);
    node.connected(page).await;
    client.step("connected", json!({ "peer": node.node.peer_id().to_string(), "own": page.to_string() })).await;
    expect_everything(&mut client, &tip, &held).await;
    client.step("InitialPeers", json!({})).await;

    let tip_came = |event: &NodeEvent| match event {
        NodeEvent::BestTip { peer, block, .. } if *peer == page => Some(block.clone()),
        _ => None,
    };
    assert!(node.wait("tip", tip_came).await == tip_of_page);
    for at in 0..ITEMS {
        let (hash, job) = (TransactionHash([at + 101; 32]), JobId([at + 101; 128]));
        let is =
            |event: &NodeEvent| matches!(event, NodeEvent::Commitment { commitment, .. } if commitment.job_id == job);
        node.wait("commitment", |event| is(event).then_some(())).await;
        let Answer::Rpc(Some(RpcResponse::Transaction(body))) =
            node.ask(page, Request::Rpc(RpcRequest::Transaction(hash))).await
        else {
            panic!("no transaction {at}")
        };
        assert_eq!(body, [&b"Transaction"[..], &hash.0].concat());
    }
    assert_eq!(node.ask(page, Request::Rpc(RpcRequest::Block(NOT_HELD))).await, Answer::Rpc(None));
    assert_eq!(node.ask(page, Request::StagedLedgerParts(NOT_HELD)).await, Answer::StagedLedgerParts(None));
    assert_eq!(node.ask(page, Request::StagedLedgerParts(HELD)).await, Answer::StagedLedgerParts(Some(4)));
    for expected in parts_of_the_page(HELD) {
        let part = |event: &NodeEvent| match event {
            NodeEvent::StagedLedgerPart { part, .. } => Some(part.clone()),
            _ => None,
        };
        assert_eq!(node.wait("part", part).await, expected);
    }
    node.node.disconnect(page).unwrap();
    client.step("closed", json!({ "peer": node.node.peer_id().to_string() })).await;
}

#[tokio::test]
async fn our_node_introduces_two_browser_nodes() {
    let Some(program) = chromium() else { return };
    let mut node = OurNode::start(1, Bytes::new());
    let plan = json!({
        "address": node.address().to_string(), "chain": hex(&CHAIN.0), "seeds": [hex(&[2; 32]), hex(&[3; 32])],
        "pull": {}, "ask": [], "parts": [],
    });
    let mut client = Client::open(&program, &plan, block(1, 100)).await;
    for seed in [2, 3] {
        node.connected(id(seed)).await;
    }
    let [own, other] = [id(2), id(3)].map(|id| id.to_string());
    client.step("connected", json!({ "own": own, "peer": other })).await;
    client.step("connected", json!({ "own": other, "peer": own })).await;
}

#[tokio::test]
async fn our_node_dials_a_page_that_a_relay_introduces() {
    let Some(program) = chromium() else { return };
    let mut relay = OurNode::start(1, Bytes::new());
    let plan = json!({
        "address": relay.address().to_string(), "chain": hex(&CHAIN.0), "seeds": [hex(&[2; 32])],
        "pull": {}, "ask": [], "parts": [],
    });
    let tip = block(1, 100_000);
    let _client = Client::open(&program, &plan, tip.clone()).await;
    relay.connected(id(2)).await;
    let known = relay.node.listen_addresses().to_vec();
    let mut dialer = OurNode::with(4, Bytes::new(), |builder| {
        known.into_iter().fold(builder, Builder::initial_peer).discover_peers(2).take_offers(false)
    });
    assert_eq!(dialer.connection(id(2)).await, (Direction::Dialed, TransportKind::WebRtc));
    let tip_of_the_page = |event: &NodeEvent| match event {
        NodeEvent::BestTip { peer, block, .. } if *peer == id(2) => Some(block.clone()),
        _ => None,
    };
    assert_eq!(dialer.wait("tip", tip_of_the_page).await, tip);
}
