//! `mina-p2p dial` says how far it gets, and why no further. The peers are endpoints in this process, on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use common::{Run, file, run, text};
use mina_p2p_transport::udp::Port;
use mina_p2p_transport::webrtc::OfferDesk;
use mina_p2p_transport::{CloseReason, Connection, FrameBudget, Limits, Listener, Transport, quic, webrtc};
use mina_p2p_wire::message::{BestTipMessage, Capabilities, Hello, RpcMessage, RpcRequest, RpcResponse};
use mina_p2p_wire::signaling::RejectionReason;
use mina_p2p_wire::{
    Address, ChainId, Channel, Frame, Host, PROTOCOL_VERSION, PeerId, Role, SecretKey, Signaling, StreamId,
};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

const CHAIN: ChainId = ChainId([1; 32]);
const WEBRTC_STEPS: [&str; 8] = [
    "resolved",
    "signaling_connected",
    "answered",
    "path_found",
    "encrypted",
    "streams_open",
    "authenticated",
    "first_message",
];
const QUIC_STEPS: [&str; 4] = ["resolved", "encrypted", "authenticated", "first_message"];

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn hello(chain_id: ChainId) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        chain_id,
        capabilities: Capabilities::POOLS_UNGATED,
        listen_addresses: vec![quic_address(key(2).peer_id(), 4242)],
        agent: "a test\u{1b}[2J".to_owned(),
        identity_signature: None,
    }
}

fn quic_address(peer_id: PeerId, port: u16) -> Address {
    Address::Quic { peer_id, host: Host::Ipv4(Ipv4Addr::LOCALHOST), port }
}

fn webrtc_address(peer_id: PeerId, port: u16) -> Address {
    let signaling = Signaling::Http { host: Host::Ipv4(Ipv4Addr::LOCALHOST), port };
    Address::WebRtc { peer_id, signaling }
}

struct Desk(Result<Hello, RejectionReason>);

impl OfferDesk for Desk {
    fn judge(&self, _peer: PeerId, _from: Option<IpAddr>) -> Result<Hello, RejectionReason> {
        self.0.clone()
    }
}

/// What a peer does with whoever has connected.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers the question for peers.
    Answers,
    /// Pulls best tips, and answers nothing.
    Pulls,
    /// Announces a frame that nobody asked for.
    Floods,
    /// Says nothing and stays.
    Silent,
    /// Refuses with this reason.
    Refuses,
}

/// A peer with secret key 2.
struct Peer {
    runtime: Runtime,
    port: u16,
}

impl Peer {
    fn quic(chain: ChainId, manner: Manner) -> (Self, Address) {
        let runtime = Runtime::new().unwrap();
        let listener = {
            let _in = runtime.enter();
            let endpoint = quic::Endpoint::new(key(2), chain, Limits::default()).unwrap();
            endpoint.listen(loopback(0)).unwrap()
        };
        let peer = Self { port: listener.local_addr().port(), runtime };
        peer.runtime.spawn(serve(listener, chain, manner));
        let address = quic_address(key(2).peer_id(), peer.port);
        (peer, address)
    }

    fn webrtc(chain: ChainId, manner: Manner) -> (Self, Address) {
        let (peer, endpoint) = Self::signaling(chain, Ok(hello(chain)));
        let listener = {
            let _in = peer.runtime.enter();
            endpoint.listen(loopback(0)).unwrap()
        };
        // Its drop would end the endpoint's sockets.
        peer.runtime.spawn(async move {
            serve(listener, chain, manner).await;
            drop(endpoint);
        });
        let address = webrtc_address(key(2).peer_id(), peer.port);
        (peer, address)
    }

    /// One that takes offers and has no UDP port yet.
    fn signaling(chain: ChainId, judgement: Result<Hello, RejectionReason>) -> (Self, webrtc::Endpoint) {
        let runtime = Runtime::new().unwrap();
        let config = webrtc::Config::default();
        let endpoint = webrtc::Endpoint::new(key(2), chain, Limits::default(), config).unwrap();
        endpoint.set_desk(Arc::new(Desk(judgement)));
        let port = {
            let _in = runtime.enter();
            endpoint.listen_signaling(loopback(0)).unwrap().port()
        };
        (Self { runtime, port }, endpoint)
    }
}

/// Takes all that come, until the test ends.
async fn serve(listener: Box<dyn Listener>, chain: ChainId, manner: Manner) {
    while let Some(incoming) = listener.accept().await {
        if let Manner::Refuses = manner {
            incoming.refuse(CloseReason::Banned);
            continue;
        }
        let Ok(connection) = incoming.accept(&hello(chain)).await else { continue };
        tokio::spawn(async move {
            let kept = behave(&connection, manner).await;
            connection.closed().await;
            drop(kept);
        });
    }
}

async fn behave(connection: &Arc<dyn Connection>, manner: Manner) -> Option<Box<dyn Send>> {
    let open = |channel| connection.open(StreamId { channel, role: Role::Puller, request: 0 });
    match manner {
        Manner::Answers => {
            let (mut send, mut recv) = match connection.transport().shares_streams() {
                true => open(Channel::Rpc).await.ok()?,
                false => connection.accept().await.map(|(_, send, recv)| (send, recv)).ok()?,
            };
            let len = recv.read_head().await.ok()??;
            let body = recv.read_body(len, &FrameBudget::default()).await.ok()?.body;
            let asked = RpcMessage::Request { id: 0, request: RpcRequest::InitialPeers };
            assert_eq!(RpcMessage::decode(body).unwrap().value, asked);
            let peers = vec![quic_address(key(3).peer_id(), 1)];
            let answer = RpcMessage::Response { id: 0, response: Some(RpcResponse::InitialPeers(peers)) };
            send.write(answer.encode()).await.ok()?;
            Some(Box::new((send, recv)))
        }
        Manner::Pulls => {
            let (mut send, recv) = open(Channel::BestTip).await.ok()?;
            send.write(BestTipMessage::GetNext.encode()).await.ok()?;
            Some(Box::new((send, recv)))
        }
        Manner::Floods => {
            let (mut send, recv) = open(Channel::BestTip).await.ok()?;
            // It is never taken to its end.
            let frame = Frame { head: bytes::Bytes::new(), payload: vec![0; 1 << 20].into() };
            let _ = send.write(frame).await;
            Some(Box::new((send, recv)))
        }
        Manner::Silent | Manner::Refuses => None,
    }
}

fn dial(address: &Address, more: &[&str]) -> Run {
    let (address, chain) = (address.to_string(), CHAIN.to_string());
    let args = ["dial", &address, "--chain-id", &chain];
    run(args.iter().chain(more).map(|arg| (*arg).to_owned()))
}

/// The one dial of a run that prints JSON.
#[track_caller]
fn dialed(run: &Run) -> Value {
    let report: Value =
        serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}{}", run.out, run.err));
    assert_eq!(report["dials"].as_array().unwrap().len(), 1);
    report["dials"][0].clone()
}

/// The names of a dial's steps; their times must add up.
#[track_caller]
fn steps(dial: &Value) -> Vec<String> {
    let steps = dial["steps"].as_array().unwrap();
    let mut before = 0.0;
    for step in steps {
        let (at, since) = (common::float(step, "ms"), common::float(step, "since_previous_ms"));
        // Both are cut to microseconds.
        assert!(at >= before && (at - before - since).abs() < 0.01, "{step}");
        before = at;
    }
    steps.iter().map(|step| text(step, "step").to_owned()).collect()
}

/// Fails unless the dial stopped right after `reached`, and says so with these words.
#[track_caller]
fn assert_stopped(run: &Run, reached: &[&str], at: &str, error: &str, check: &str) {
    let dial = dialed(run);
    assert_eq!((run.code, &dial["ok"]), (Some(1), &json!(false)), "{}", run.err);
    assert_eq!(steps(&dial), reached, "{}", run.err);
    let failure = &dial["failure"];
    assert_eq!(text(failure, "step"), at, "{failure}");
    assert!(text(failure, "error").contains(error), "{failure}");
    assert!(text(failure, "check").contains(check), "{failure}");
    // The same, for people.
    for says in [text(failure, "error"), text(failure, "not_reached"), text(failure, "check")] {
        assert!(run.err.contains(says), "{says}: {}", run.err);
    }
}

fn assert_reached(dial: &Value, all: &[&str]) {
    assert_eq!((&dial["ok"], &dial["failure"]), (&json!(true), &Value::Null), "{dial}");
    assert_eq!(steps(dial), all);
    let peer = &dial["peer"];
    assert_eq!(text(peer, "kind"), "mina-p2p");
    assert_eq!(text(peer, "agent"), "a test?[2J");
    assert_eq!(peer["capabilities"], json!(["pools_ungated"]));
    assert_eq!(peer["addresses"], json!([quic_address(key(2).peer_id(), 4242).to_string()]));
    assert!(text(peer, "remote_address").starts_with("127.0.0.1:"));
}

#[test]
fn every_step_to_a_webrtc_peer_is_reported_in_order() {
    let (_peer, address) = Peer::webrtc(CHAIN, Manner::Answers);
    let run = dial(&address, &["--json"]);
    let report = run.json();
    let members: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["address", "chain_id", "dials", "peer_id", "succeeded", "transport"]);
    assert_eq!(text(&report, "address"), address.to_string());
    assert_eq!(text(&report, "peer_id"), key(2).peer_id().to_string());
    assert_eq!((text(&report, "transport"), &report["succeeded"]), ("webrtc", &json!(1)));
    let dial = dialed(&run);
    assert_reached(&dial, &WEBRTC_STEPS);
    assert_eq!(text(&dial["steps"][7], "detail"), "rpc: it knows 1 addresses of peers");
}

#[test]
fn every_step_to_a_quic_peer_is_reported_in_order() {
    let (_peer, address) = Peer::quic(CHAIN, Manner::Answers);
    let run = dial(&address, &["--json"]);
    assert_eq!(text(&run.json(), "transport"), "quic");
    assert_reached(&dialed(&run), &QUIC_STEPS);
}

#[test]
fn whatever_a_peer_says_first_is_its_first_message() {
    for (_peer, address) in [Peer::quic(CHAIN, Manner::Pulls), Peer::webrtc(CHAIN, Manner::Pulls)] {
        let dial = dialed(&dial(&address, &["--json"]));
        let last = dial["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(text(last, "detail"), "best_tip/propagation: GetNext", "{dial}");
    }
}

#[test]
fn people_are_shown_the_steps_and_who_the_peer_is() {
    for (_peer, address) in [Peer::quic(CHAIN, Manner::Answers), Peer::webrtc(CHAIN, Manner::Answers)] {
        let shown = dial(&address, &[]);
        assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
        let says = [
            "dialing /",
            "resolved",
            "encrypted",
            "authenticated",
            "first message",
            "mina-p2p, \"a test?[2J\"",
            "pools_ungated",
        ];
        for says in says {
            assert!(shown.out.contains(says), "{says}: {}", shown.out);
        }
    }
}

#[test]
fn a_key_gives_the_identity_and_without_one_each_dial_has_its_own() {
    let (_peer, address) = Peer::quic(CHAIN, Manner::Answers);
    let text_of_key = format!("\n{}\n", key(9).to_text().as_str());
    let path = file("dial-key.txt", text_of_key.as_bytes());
    let identities = |more: &[&str]| {
        let report = dial(&address, &[&["--json", "-n", "2"], more].concat()).json();
        let dials = report["dials"].as_array().unwrap().clone();
        dials.iter().map(|dial| text(dial, "identity").to_owned()).collect::<Vec<_>>()
    };
    let ours = key(9).peer_id().to_string();
    assert_eq!(identities(&["--key", path.to_str().unwrap()]), [ours.clone(), ours]);
    let fresh = identities(&[]);
    assert_ne!(fresh[0], fresh[1]);
    let none = file("dial-no-key.txt", b"no key\n");
    dial(&address, &["--key", none.to_str().unwrap()]).assert_refused(1, "dial-no-key.txt: no secret key");
}

#[test]
fn several_dials_are_summed_up() {
    let (_peer, address) = Peer::webrtc(CHAIN, Manner::Answers);
    let shown = dial(&address, &["-n", "3"]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    for says in ["median ms", "path found (ICE)", "3 of 3 dials got a first message"] {
        assert!(shown.out.contains(says), "{says}: {}", shown.out);
    }
    let (_peer, address) = Peer::quic(CHAIN, Manner::Refuses);
    let shown = dial(&address, &["-n", "2"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.out.contains("0 of 2 dials"), "{}", shown.out);
    assert!(shown.err.contains("banned") && shown.err.contains("2 of 2 dials failed"), "{}", shown.err);
}

#[test]
fn a_peer_of_another_chain_is_named_as_such() {
    let other = ChainId([2; 32]);
    let (_peer, address) = Peer::webrtc(other, Manner::Answers);
    assert_stopped(&dial(&address, &["--json"]), &WEBRTC_STEPS[..2], "answered", "different chain", "chain");
    let (_peer, address) = Peer::quic(other, Manner::Answers);
    assert_stopped(&dial(&address, &["--json"]), &QUIC_STEPS[..2], "authenticated", "different chain", "chain");
}

#[test]
fn a_peer_that_is_another_is_named_as_such() {
    let (peer, _) = Peer::webrtc(CHAIN, Manner::Answers);
    let address = webrtc_address(key(3).peer_id(), peer.port);
    assert_stopped(&dial(&address, &["--json"]), &WEBRTC_STEPS[..2], "answered", "not the peer", "peer id");
    let (peer, _) = Peer::quic(CHAIN, Manner::Answers);
    let address = quic_address(key(3).peer_id(), peer.port);
    assert_stopped(&dial(&address, &["--json"]), &QUIC_STEPS[..2], "authenticated", "not the peer", "peer id");
}

#[test]
fn a_refusal_has_its_reason() {
    let (peer, _endpoint) = Peer::signaling(CHAIN, Err(RejectionReason::PeerCapacityFull));
    let address = webrtc_address(key(2).peer_id(), peer.port);
    assert_stopped(&dial(&address, &["--json"]), &WEBRTC_STEPS[..2], "answered", "no free slot", "full");
    let (_peer, address) = Peer::webrtc(CHAIN, Manner::Refuses);
    assert_stopped(&dial(&address, &["--json"]), &WEBRTC_STEPS[..6], "authenticated", "banned", "bans");
    let (_peer, address) = Peer::quic(CHAIN, Manner::Refuses);
    assert_stopped(&dial(&address, &["--json"]), &QUIC_STEPS[..2], "authenticated", "banned", "bans");
}

#[test]
fn where_nobody_listens_the_port_and_the_firewall_are_to_be_checked() {
    // Taken as long as the test runs, by sockets that take no connection and read nothing.
    let (tcp, udp) = (TcpSocket::new_v4().unwrap(), UdpSocket::bind(loopback(0)).unwrap());
    tcp.bind(loopback(0)).unwrap();
    let (nobody, port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    let address = webrtc_address(key(2).peer_id(), nobody);
    let run = dial(&address, &["--json"]);
    assert_stopped(&run, &WEBRTC_STEPS[..1], "signaling_connected", "cannot connect", &format!("TCP port {nobody}"));
    let address = quic_address(key(2).peer_id(), port);
    let run = dial(&address, &["--json", "--timeout", "1"]);
    assert_stopped(&run, &QUIC_STEPS[..1], "encrypted", "1s", &format!("UDP port {port}"));
}

#[test]
fn a_name_that_has_no_address_is_named() {
    let address: Address = format!("/{}/http/nobody.invalid/3000", key(2).peer_id()).parse().unwrap();
    assert_stopped(&dial(&address, &["--json"]), &[], "resolved", "nobody.invalid", "resolver");
}

#[test]
fn what_is_no_signaling_server_is_shown() {
    let listener = TcpListener::bind(loopback(0)).unwrap();
    let address = webrtc_address(key(2).peer_id(), listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnothing").unwrap();
        // What is left unread would become a reset, and take the answer with it.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let run = dial(&address, &["--json"]);
    assert_stopped(&run, &WEBRTC_STEPS[..2], "answered", "404", "something else");
    server.join().unwrap();
}

#[test]
fn where_signaling_works_and_udp_does_not_udp_is_to_be_checked() {
    let (peer, endpoint) = Peer::signaling(CHAIN, Ok(hello(CHAIN)));
    // A port that nobody reads: our checks get no answer.
    {
        let _in = peer.runtime.enter();
        endpoint.listen_on(Port::bind(loopback(0)).unwrap());
    }
    let address = webrtc_address(key(2).peer_id(), peer.port);
    let run = dial(&address, &["--json", "--timeout", "2"]);
    assert_stopped(&run, &WEBRTC_STEPS[..3], "path_found", "2s", "UDP is blocked");
}

#[test]
fn a_peer_that_connects_and_says_nothing_useful_is_told_from_one_that_cannot_be_reached() {
    for (_peer, address, all) in [
        {
            let (peer, address) = Peer::quic(CHAIN, Manner::Silent);
            (peer, address, &QUIC_STEPS[..3])
        },
        {
            let (peer, address) = Peer::webrtc(CHAIN, Manner::Silent);
            (peer, address, &WEBRTC_STEPS[..7])
        },
    ] {
        let run = dial(&address, &["--json", "--timeout", "2"]);
        assert_stopped(&run, all, "first_message", "2s", "silent");
        // It is known who it is.
        assert_eq!(text(&dialed(&run)["peer"], "kind"), "mina-p2p");
    }
    let (_peer, address) = Peer::quic(CHAIN, Manner::Floods);
    let run = dial(&address, &["--json"]);
    assert_stopped(&run, &QUIC_STEPS[..3], "first_message", "a frame of 1048576 bytes on best_tip/propagation", "log");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let peer = key(2).peer_id();
    let good = webrtc_address(peer, 3000);
    let refused = |args: &[&str], says: &str| run([&["dial"], args].concat()).assert_refused(2, says);
    let address = good.to_string();
    refused(&[&address], "--chain-id");
    refused(&[&address, "--network", "testnet"], "mainnet");
    refused(&[&address, "--chain-id", "abc"], "--chain-id");
    refused(&["--network", "mainnet"], "ADDRESS");
    refused(&["127.0.0.1:3000", "--network", "mainnet"], "/PEER/http/HOST/PORT");
    refused(&[&format!("/{peer}/p2p/{peer}"), "--network", "mainnet"], "relay");
    for (option, value) in [("--timeout", "0"), ("--timeout", "601"), ("--times", "0"), ("--stun", "a.example")] {
        refused(&[&address, "--network", "mainnet", option, value], option);
    }
}
