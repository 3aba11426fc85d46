//! Whole nodes against bare quinn, in one run: ratios and medians.
//!
//! `cargo bench -p mina-p2p`; `-- --json` for one JSON object. What the transport alone costs is in
//! `cargo bench -p mina-p2p-transport`, and what OCaml adds in `ocaml/bench`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "not shipped")]

mod common;
#[path = "../../block/benches/common/mod.rs"]
mod figure;
#[path = "../../transport/tests/common/raw.rs"]
#[allow(dead_code, unreachable_pub, reason = "the transport's own tests use the rest")]
mod raw;
mod relay;

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{CHAIN, WATCHDOG, address, connected, disconnected, loopback, node, secret, until};
use figure::{Figure, median};
use mina_p2p::message::StateHash;
use mina_p2p::{
    Address, Answer, Builder, Event, ExtensionService, Host, Limits, Node, PeerId, Request, Response, SlotLimits,
    TransportKind,
};
use relay::{Path, Relay};

const ALPN: &[u8] = b"mina-p2p/1";
const DIALS: usize = 100;
const DISTANT_DIALS: usize = 15;
const DISTANCE: Duration = Duration::from_millis(50);
const TRANSFERS: usize = 11;
const TRANSFER_LEN: usize = 32 << 20;
const CONNECTIONS: usize = 100;
const WEBRTC_DIALS: usize = 200;
/// Between two WebRTC dials: a node takes 64 offers a second.
const PAUSE: Duration = Duration::from_millis(20);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let argument = |name: &str| args.iter().position(|arg| arg == name).map(|at| args[at + 1].clone());
    if let Some(address) = argument("--idle-peers") {
        return idle_peers(&address.parse().unwrap());
    }
    if let Some(kind) = argument("--idle-node") {
        // As many channels as both ends speak: relayed signaling is of WebRTC, and over WebRTC for its own link too.
        return match kind.as_str() {
            "webrtc" => println!("{}", idle_node(webrtc, 7)),
            "quic" => println!("{}", idle_node(|builder| builder.transports(&[TransportKind::Quic]), 5)),
            _ => println!("{}", idle_node(|builder| builder, 6)),
        };
    }
    let [webrtc_dial, webrtc_worst] = webrtc_dials();
    let [idle, webrtc_idle] = idle();
    let figures = [dials(), distant_dials(), transfers(), pings(), idle, webrtc_dial, webrtc_worst, webrtc_idle];
    figure::print(&figures);
}

/// WebRTC alone, signaling by HTTP.
fn webrtc(builder: Builder) -> Builder {
    builder.transports(&[TransportKind::WebRtc]).signaling(loopback())
}

/// The same from node to node by WebRTC: the median, and the worst.
fn webrtc_dials() -> [Figure; 2] {
    let (ours, theirs) = (node(1, webrtc), node(2, webrtc));
    let to = address(&theirs);
    let mut times = Vec::new();
    for round in 0..WEBRTC_DIALS + 5 {
        thread::sleep(PAUSE);
        let start = Instant::now();
        ours.dial(&to).unwrap();
        let peer = connected(&ours);
        let time = start.elapsed().as_secs_f64() * 1e3;
        connected(&theirs);
        ours.disconnect(peer).unwrap();
        disconnected(&ours);
        disconnected(&theirs);
        if round >= 5 {
            times.push(time);
        }
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    let median = median(times);
    [
        Figure {
            key: "webrtc_dial_ms",
            what: "dial by WebRTC, loopback",
            value: median,
            unit: "ms",
            target: "<= 12",
            met: median <= 12.0,
            detail: "signaling by HTTP included".to_owned(),
        },
        Figure {
            key: "webrtc_dial_worst_ms",
            what: "the slowest of those dials",
            value: worst,
            unit: "ms",
            target: "<= 300",
            met: worst <= 300.0,
            detail: format!("of {WEBRTC_DIALS}"),
        },
    ]
}

/// Bare quinn with certificates of the same kind, checked with the same cryptographic library. As with two nodes, each end
/// has threads of its own.
struct Bare {
    dialing: tokio::runtime::Runtime,
    listening: tokio::runtime::Runtime,
    client: quinn::Endpoint,
    server: quinn::Endpoint,
    config: quinn::ClientConfig,
}

type BareEnds = (quinn::Connection, quinn::Connection);

impl Bare {
    fn new() -> Bare {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (dialing, listening) = (runtime(), runtime());
        let client = {
            let _entered = dialing.enter();
            raw::client(1)
        };
        let server = {
            let _entered = listening.enter();
            raw::server_that_verifies(raw::Identity::of(&secret(2)), &[ALPN])
        };
        let config = raw::client_config_that_verifies(raw::Identity::of(&secret(1)), &[ALPN]);
        Bare { dialing, listening, client, server, config }
    }

    /// Runs the two halves of something, each on its end's threads.
    fn run<A: Send + 'static, B: Send + 'static>(
        &self,
        ours: impl Future<Output = A> + Send + 'static,
        theirs: impl Future<Output = B> + Send + 'static,
    ) -> (A, B) {
        let theirs = self.listening.spawn(theirs);
        // As a task of its own: a thread that blocks on a runtime is woken more slowly than its workers.
        let ours = self.dialing.spawn(ours);
        self.dialing.block_on(async { (ours.await.unwrap(), theirs.await.unwrap()) })
    }

    fn connecting(&self) -> impl Future<Output = quinn::Connection> + Send + 'static {
        let (client, config, to) = (self.client.clone(), self.config.clone(), self.server.local_addr().unwrap());
        async move { client.connect_with(config, to, "x").unwrap().await.unwrap() }
    }

    fn accepting(&self) -> impl Future<Output = quinn::Connection> + Send + 'static {
        let server = self.server.clone();
        async move { server.accept().await.unwrap().await.unwrap() }
    }

    fn connect(&self) -> BareEnds {
        self.run(self.connecting(), self.accepting())
    }

    /// Milliseconds from dialing to the dialer's first message: an echo of 100 bytes.
    fn dial(&self) -> f64 {
        let start = Instant::now();
        let (connecting, accepting) = (self.connecting(), self.accepting());
        let ours = async move {
            let connection = connecting.await;
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(&[1; 100]).await.unwrap();
            recv.read_exact(&mut [0; 100]).await.unwrap();
            (connection, send, recv)
        };
        let theirs = async move {
            let connection = accepting.await;
            let (mut send, mut recv) = connection.accept_bi().await.unwrap();
            recv.read_exact(&mut [0; 100]).await.unwrap();
            send.write_all(&[1; 100]).await.unwrap();
            (connection, send, recv)
        };
        let theirs = self.listening.spawn(theirs);
        let ours = self.dialing.spawn(ours);
        let ours = self.dialing.block_on(ours).unwrap();
        let time = start.elapsed();
        let theirs = self.listening.block_on(theirs).unwrap();
        drop((ours, theirs));
        time.as_secs_f64() * 1e3
    }

    /// MiB a second of 32 MiB, received and dropped.
    fn transfer(&self, ends: &BareEnds, payload: &Bytes) -> f64 {
        let start = Instant::now();
        let (ours, theirs, payload) = (ends.0.clone(), ends.1.clone(), payload.clone());
        self.run(
            async move {
                let (mut send, _recv) = ours.open_bi().await.unwrap();
                send.write_chunk(payload).await.unwrap();
                send.finish().unwrap();
                send.stopped().await.unwrap();
            },
            async move {
                let (_send, mut recv) = theirs.accept_bi().await.unwrap();
                while recv.read_chunk(usize::MAX, true).await.unwrap().is_some() {}
            },
        );
        32.0 / start.elapsed().as_secs_f64()
    }
}

/// Two nodes; the dialer's `Hello` is answered, which is the first message that it receives: the bare one sends a
/// message of 100 bytes and receives as much.
fn dials() -> Figure {
    let bare = Bare::new();
    let (ours, theirs) = (node(1, |builder| builder), node(2, |builder| builder));
    let to = address(&theirs);
    let (mut bare_times, mut our_times) = (Vec::new(), Vec::new());
    for round in 0..DIALS + 5 {
        let bare_time = bare.dial();
        let start = Instant::now();
        ours.dial(&to).unwrap();
        let peer = connected(&ours);
        let our_time = start.elapsed().as_secs_f64() * 1e3;
        connected(&theirs);
        ours.disconnect(peer).unwrap();
        disconnected(&ours);
        disconnected(&theirs);
        if round >= 5 {
            bare_times.push(bare_time);
            our_times.push(our_time);
        }
    }
    let (bare, ours) = (median(bare_times), median(our_times));
    Figure {
        key: "dial_ratio",
        what: "dial to first message, loopback",
        value: ours / bare,
        unit: "x bare quinn",
        target: "<= 1.5",
        met: ours / bare <= 1.5,
        detail: format!("bare {bare:.2} ms, node to node {ours:.2} ms"),
    }
}

/// The same through a relay that holds every datagram back for half the round trip time.
fn distant_dials() -> Figure {
    let (ours, theirs) = (node(1, |builder| builder), node(2, |builder| builder));
    let tip: Bytes = vec![1; 60_000].into();
    theirs.set_best_tip(StateHash([1; 32]), tip).unwrap();
    let relay = Relay::start(address(&theirs).port().unwrap(), Path { delay: DISTANCE / 2, rate: None });
    let to = Address::Quic { peer_id: theirs.peer_id(), host: Host::Ipv4([127, 0, 0, 1].into()), port: relay.port() };
    let (mut dials, mut tips) = (Vec::new(), Vec::new());
    for _ in 0..DISTANT_DIALS {
        let start = Instant::now();
        ours.dial(&to).unwrap();
        let peer = connected(&ours);
        dials.push(start.elapsed().as_secs_f64() / DISTANCE.as_secs_f64());
        until(&ours, |event| matches!(event, Event::BestTip { .. }).then_some(()));
        tips.push(start.elapsed().as_secs_f64() / DISTANCE.as_secs_f64());
        ours.disconnect(peer).unwrap();
        disconnected(&ours);
        disconnected(&theirs);
    }
    let (dial, tip) = (median(dials), median(tips));
    Figure {
        key: "distant_dial_rtt",
        what: "dial to first message, 50 ms away",
        value: dial,
        unit: "RTT",
        target: "<= 2.1",
        met: dial <= 2.1,
        detail: format!("the current tip, 60 KB, after {tip:.2} RTT"),
    }
}

const METHOD: &str = "bench";

/// Two connected nodes, of which the second answers requests by name: an empty one with `answer`, another with itself.
struct Served {
    ours: Node,
    peer: PeerId,
    stop: Arc<AtomicBool>,
    server: Option<thread::JoinHandle<()>>,
}

impl Served {
    fn new(answer: Bytes) -> Served {
        let method = ExtensionService { name: METHOD.to_owned(), version: 1, max_query: 1024, cost: 0 };
        let (ours, theirs) = (node(1, |builder| builder), node(2, |builder| builder.extension_rpc(method)));
        ours.dial(&address(&theirs)).unwrap();
        let peer = connected(&ours);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let server = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for event in theirs.wait(64, Duration::from_millis(100)) {
                    if let Event::Request {
                        responder,
                        request: mina_p2p::IncomingRequest::Extension { body, .. },
                        ..
                    } = event
                    {
                        let body = if body.is_empty() { answer.clone() } else { body };
                        // The last one may be cancelled by the end of the measurement.
                        let _ = theirs.respond(responder, Response::Extension(Ok(body)));
                    }
                }
            }
        });
        Served { ours, peer, stop, server: Some(server) }
    }

    fn ask(&self, body: &[u8]) -> mina_p2p::RequestId {
        let request = Request::Extension {
            name: METHOD.to_owned(),
            version: 1,
            body: Bytes::copy_from_slice(body),
            max_answer: 32 << 20,
            deadline: WATCHDOG,
        };
        self.ours.request(Some(self.peer), request).unwrap()
    }

    fn answer(&self) -> (mina_p2p::RequestId, Bytes) {
        until(&self.ours, |event| match event {
            Event::Response { request, answer: Ok(Answer::Extension(Ok(body))), .. } => Some((request, body)),
            Event::Response { answer, .. } => panic!("{answer:?}"),
            _ => None,
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

fn transfers() -> Figure {
    let bare = Bare::new();
    let ends = bare.connect();
    let payload: Bytes = vec![7; TRANSFER_LEN].into();
    let served = Served::new(payload.clone());
    let (mut bare_rates, mut our_rates) = (Vec::new(), Vec::new());
    for round in 0..TRANSFERS + 2 {
        let bare_rate = bare.transfer(&ends, &payload);
        let start = Instant::now();
        served.ask(&[]);
        assert_eq!(served.answer().1.len(), TRANSFER_LEN);
        let our_rate = 32.0 / start.elapsed().as_secs_f64();
        if round >= 2 {
            bare_rates.push(bare_rate);
            our_rates.push(our_rate);
        }
    }
    let (bare, ours) = (median(bare_rates), median(our_rates));
    Figure {
        key: "answer_ratio",
        what: "answer of 32 MiB, throughput",
        value: ours / bare,
        unit: "x bare quinn",
        target: ">= 0.6",
        met: ours / bare >= 0.6,
        detail: format!("bare {bare:.0} MiB/s, node to node {ours:.0} MiB/s"),
    }
}

/// A request of 32 bytes and its echo, again and again, while 32 MiB come.
fn pings() -> Figure {
    let served = Served::new(vec![7; TRANSFER_LEN].into());
    let mut pings = Vec::new();
    for _ in 0..5 {
        let bulk = served.ask(&[]);
        let mut left = true;
        while left {
            let start = Instant::now();
            let ping = served.ask(&[1; 32]);
            loop {
                let (request, _) = served.answer();
                left &= request != bulk;
                if request == ping {
                    break;
                }
            }
            pings.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let count = pings.len();
    let ping = median(pings);
    Figure {
        key: "ping_ms",
        what: "request and echo beside that answer",
        value: ping,
        unit: "ms",
        target: "<= 5",
        met: ping <= 5.0,
        detail: format!("median of {count}, through both users' event queues"),
    }
}

/// By QUIC to a node that speaks nothing else, and by WebRTC likewise.
fn idle() -> [Figure; 2] {
    let [quic, both, webrtc] = ["quic", "both", "webrtc"].map(|kind| -> f64 {
        let output = Command::new(std::env::current_exe().unwrap()).args(["--idle-node", kind]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    });
    [
        Figure {
            key: "idle_kb",
            what: "idle connection with its session",
            value: quic,
            unit: "KB an end",
            target: "<= 70",
            met: quic <= 70.0,
            detail: format!("QUIC alone; {both:.1} KB with WebRTC on too; {CONNECTIONS} connections to one node"),
        },
        Figure {
            key: "webrtc_idle_kb",
            what: "the same by WebRTC",
            value: webrtc,
            unit: "KB an end",
            target: "<= 110",
            met: webrtc <= 110.0,
            detail: format!("{:.1} x QUIC", webrtc / quic),
        },
    ]
}

/// KB that one of 100 idle connections adds to a node's process. The other ends are in another process.
fn idle_node(configure: fn(Builder) -> Builder, channels: usize) -> f64 {
    let slots = SlotLimits { peers: 200, inbound: 200, ..SlotLimits::default() };
    let node = node(0, |builder| configure(builder.limits(Limits { slots, ..Limits::default() })));
    // The first connection's share is what is allocated once.
    let first = self::node(1, |builder| builder);
    first.dial(&address(&node)).unwrap();
    settled(&node, 1, channels);
    let before = private_kb();
    let mut peers = Command::new(std::env::current_exe().unwrap())
        .args(["--idle-peers", &address(&node).to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    settled(&node, 1 + CONNECTIONS, channels);
    // Handshakes are confirmed, paths probed, and what that took is given back.
    thread::sleep(Duration::from_secs(3));
    let after = private_kb();
    // They end with their standard input.
    drop(peers.stdin.take());
    peers.wait().unwrap();
    (after - before) / CONNECTIONS as f64
}

/// Waits until so many peers are connected and have sent their permits on all their channels.
fn settled(node: &Node, count: usize, channels: usize) {
    let deadline = Instant::now() + WATCHDOG;
    loop {
        drop(node.wait(64, Duration::from_millis(50)));
        let peers = node.peers();
        let received = |peer: &mina_p2p::PeerFigures| {
            peer.session.channels.iter().filter(|(_, figures)| figures.received_messages > 0).count()
        };
        if peers.len() == count && peers.iter().all(|peer| received(peer) == channels) {
            break;
        }
        assert!(Instant::now() < deadline, "{} of {count} peers", peers.len());
    }
}

fn idle_peers(address: &Address) {
    let nodes: Vec<Node> = (0..CONNECTIONS)
        .map(|n| {
            let node = Node::builder(secret(1000 + n as u32), CHAIN).start().unwrap();
            node.dial(address).unwrap();
            // One after the other: there is a limit to handshakes at once.
            connected(&node);
            node
        })
        .collect();
    // Until the parent closes it.
    let _ = std::io::stdin().read(&mut [0]);
    drop(nodes);
}

/// Memory of this process that is its own, in KB.
fn private_kb() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    // Not the dirty pages: those of a program that was just built count too, until the system has written them to disk.
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
