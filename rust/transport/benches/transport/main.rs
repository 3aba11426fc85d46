//! Our QUIC transport against bare quinn, and our WebRTC transport beside it, all in one run, alternating: ratios of medians.
//!
//! Bare quinn here has the same kind of certificates on both sides, checks the handshake's signatures with the same
//! cryptographic library, and is left at quinn's own settings.
//!
//! `cargo bench -p mina-p2p-transport --bench transport`; with `-- --json` one JSON object.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod relay;
mod webrtc;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::raw::{self, Identity};
use common::{Kind, Quic, address, frame, hello, key, loopback, pattern, peer, puller};
use mina_p2p_transport::quic::ALPN;
use mina_p2p_transport::{Connection, FrameBudget, Limits, Listener, Transport};
use mina_p2p_wire::Channel;

const DIALS: usize = 200;
const DISTANT_DIALS: usize = 9;
const ROUND_TRIP: Duration = Duration::from_millis(50);
const TRANSFERS: usize = 15;
const TRANSFER_LEN: usize = 32 << 20;
const CONNECTIONS: usize = 100;
/// As many WebRTC connections through one UDP port.
const WEBRTC_CONNECTIONS: usize = 300;

/// Most that a dial may take, of bare quinn's time.
const DIAL_TARGET: f64 = 1.5;
/// Most round trips from a dial to the first message that the dialer gets.
const ROUND_TRIPS_TARGET: f64 = 2.1;
/// Least throughput, of bare quinn's.
const THROUGHPUT_TARGET: f64 = 0.6;
/// Most that one end of an idle connection may take.
const IDLE_TARGET_KB: f64 = 70.0;
/// The same of WebRTC, whose dials include signaling by HTTP. The node's own part of an idle connection is in its own figures.
const WEBRTC_DIAL_TARGET_MS: f64 = 12.0;
const WEBRTC_TAIL_TARGET_MS: f64 = 300.0;
const WEBRTC_ROUND_TRIPS_TARGET: f64 = 9.0;
const WEBRTC_RATE_TARGET: f64 = 80.0;
const WEBRTC_PING_TARGET_MS: f64 = 20.0;
const WEBRTC_IDLE_TARGET_KB: f64 = 110.0;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let argument = |name: &str| args.iter().position(|arg| arg == name).map(|at| args[at + 1].clone());
    if let Some(signaling) = argument("--dialers") {
        return runtime().block_on(webrtc::dialers(signaling.parse().unwrap(), WEBRTC_CONNECTIONS));
    }
    if let Some(kind) = argument("--idle") {
        return match kind.as_str() {
            "webrtc" => println!("{}", runtime().block_on(webrtc::idle(WEBRTC_CONNECTIONS))),
            _ => println!("{}", idle(&kind)),
        };
    }
    let runtime = runtime();
    // As a task of its own: the thread that blocks on the runtime is woken more slowly than its workers.
    let (dial_bare, dial_ours) = runtime.block_on(async { tokio::spawn(dials()).await.unwrap() });
    let (trips_bare, trips_ours) = runtime.block_on(async { tokio::spawn(distant_dials()).await.unwrap() });
    let (web_dial, web_tail) = runtime.block_on(async { tokio::spawn(webrtc::dials()).await.unwrap() });
    let web_trips = runtime.block_on(async { tokio::spawn(webrtc::distant_dials()).await.unwrap() });
    let Rates { bare: bare_rate, ours: our_rate, ping, web: web_rate, web_ping, cpu_ratio } =
        runtime.block_on(async { tokio::spawn(transfers()).await.unwrap() });
    let [idle_bare, idle_ours, idle_streams, idle_web] = ["bare", "ours", "streams", "webrtc"].map(idle_of_child);
    let (dial_ratio, rate_ratio) = (dial_ours / dial_bare, our_rate / bare_rate);
    if args.iter().any(|arg| arg == "--json") {
        println!(
            "{{\"dial_bare_ms\":{dial_bare:.3},\"dial_ms\":{dial_ours:.3},\"dial_ratio\":{dial_ratio:.2},\
             \"round_trips_bare\":{trips_bare:.2},\"round_trips\":{trips_ours:.2},\
             \"bare_mib_s\":{bare_rate:.0},\"mib_s\":{our_rate:.0},\"throughput_ratio\":{rate_ratio:.2},\
             \"ping_beside_bulk_ms\":{ping:.2},\
             \"idle_bare_kb\":{idle_bare:.1},\"idle_kb\":{idle_ours:.1},\"idle_with_streams_kb\":{idle_streams:.1},\
             \"webrtc_dial_ms\":{web_dial:.3},\"webrtc_dial_worst_ms\":{web_tail:.3},\"webrtc_round_trips\":{web_trips:.2},\
             \"webrtc_mib_s\":{web_rate:.0},\"webrtc_ping_beside_bulk_ms\":{web_ping:.2},\
             \"webrtc_idle_kb\":{idle_web:.1},\"webrtc_cpu_of_quic\":{cpu_ratio:.2}}}"
        );
        return;
    }
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    println!("                               bare quinn        ours     ratio  target");
    println!(
        "dial to first message          {dial_bare:7.3} ms  {dial_ours:7.3} ms  {dial_ratio:8.2}  <= {DIAL_TARGET}  {}",
        verdict(dial_ratio <= DIAL_TARGET)
    );
    println!(
        "  round trips, 50 ms each      {trips_bare:7.2}     {trips_ours:7.2}               <= {ROUND_TRIPS_TARGET}  {}",
        verdict(trips_ours <= ROUND_TRIPS_TARGET)
    );
    println!(
        "32 MiB frame                {bare_rate:6.0} MiB/s {our_rate:5.0} MiB/s  {rate_ratio:8.2}  >= {THROUGHPUT_TARGET}  {}",
        verdict(rate_ratio >= THROUGHPUT_TARGET)
    );
    println!("ping beside that frame                       {ping:7.2} ms            <= 5 ms  {}", verdict(ping <= 5.0));
    println!(
        "idle connection, one end       {idle_bare:7.1} KB  {idle_ours:7.1} KB  {:8.2}  <= {IDLE_TARGET_KB} KB  {}",
        idle_ours / idle_bare,
        verdict(idle_ours <= IDLE_TARGET_KB)
    );
    println!(
        "  with 8 channel streams                    {idle_streams:7.1} KB            <= {IDLE_TARGET_KB} KB  {}",
        verdict(idle_streams <= IDLE_TARGET_KB)
    );
    println!();
    println!("                                 our QUIC  our WebRTC     ratio  target");
    println!(
        "dial to first message          {dial_ours:7.3} ms  {web_dial:7.3} ms  {:8.2}  <= {WEBRTC_DIAL_TARGET_MS} ms  {}",
        web_dial / dial_ours,
        verdict(web_dial <= WEBRTC_DIAL_TARGET_MS)
    );
    println!(
        "  the worst of {DIALS}                         {web_tail:7.3} ms            <= {WEBRTC_TAIL_TARGET_MS} ms  {}",
        verdict(web_tail <= WEBRTC_TAIL_TARGET_MS)
    );
    println!(
        "  round trips, 50 ms each      {trips_ours:7.2}     {web_trips:7.2}     {:8.2}  <= {WEBRTC_ROUND_TRIPS_TARGET}  {}",
        web_trips / trips_ours,
        verdict(web_trips <= WEBRTC_ROUND_TRIPS_TARGET)
    );
    println!(
        "32 MiB frame                {our_rate:6.0} MiB/s {web_rate:5.0} MiB/s  {:8.2}  >= {WEBRTC_RATE_TARGET} MiB/s  {}",
        web_rate / our_rate,
        verdict(web_rate >= WEBRTC_RATE_TARGET)
    );
    println!("  processor time for it                                {cpu_ratio:8.2}");
    println!(
        "ping beside that frame         {ping:7.2} ms  {web_ping:7.2} ms  {:8.2}  <= {WEBRTC_PING_TARGET_MS} ms  {}",
        web_ping / ping,
        verdict(web_ping <= WEBRTC_PING_TARGET_MS)
    );
    println!(
        "idle connection with streams   {idle_streams:7.1} KB  {idle_web:7.1} KB  {:8.2}  <= {WEBRTC_IDLE_TARGET_KB} KB  {}",
        idle_web / idle_streams,
        verdict(idle_web <= WEBRTC_IDLE_TARGET_KB)
    );
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Two bare endpoints.
struct Bare {
    client: quinn::Endpoint,
    server: quinn::Endpoint,
    config: quinn::ClientConfig,
}

impl Bare {
    fn new() -> Self {
        Self {
            client: raw::client(1),
            server: raw::server_that_verifies(Identity::of(&key(2)), &[ALPN]),
            config: raw::client_config_that_verifies(Identity::of(&key(1)), &[ALPN]),
        }
    }

    async fn connect(&self) -> (quinn::Connection, quinn::Connection) {
        let to = self.server.local_addr().unwrap();
        let connecting = self.client.connect_with(self.config.clone(), to, "x").unwrap();
        let (ours, theirs) = tokio::join!(connecting, async { self.server.accept().await.unwrap().await.unwrap() });
        (ours.unwrap(), theirs)
    }
}

/// Two nodes of ours.
struct Ours {
    dialer: Arc<dyn Transport>,
    _listener: Arc<dyn Transport>,
    arrivals: Box<dyn Listener>,
}

type Ends = (Arc<dyn Connection>, Arc<dyn Connection>);

impl Ours {
    fn new() -> Self {
        let listener = Quic.node(key(2), Limits::default());
        let arrivals = listener.listen(loopback()).unwrap();
        Self { dialer: Quic.node(key(1), Limits::default()), _listener: listener, arrivals }
    }

    async fn connect(&self) -> Ends {
        let to = address(peer(2), self.arrivals.local_addr());
        let (our_hello, their_hello) = (hello(), hello());
        let (ours, theirs) = tokio::join!(self.dialer.connect(&to, &our_hello), async {
            self.arrivals.accept().await.unwrap().accept(&their_hello).await.unwrap()
        });
        (ours.unwrap(), theirs)
    }
}

/// Milliseconds from the start of a dial to the listener's receipt of a message of 1 KiB on a channel: bare, ours.
async fn dials() -> (f64, f64) {
    let (bare, ours) = (Bare::new(), Ours::new());
    let message = pattern(1024);
    let budget = FrameBudget::default();
    let (mut bare_times, mut our_times) = (Vec::new(), Vec::new());
    for round in 0..DIALS + 10 {
        let start = Instant::now();
        let to = bare.server.local_addr().unwrap();
        let connecting = bare.client.connect_with(bare.config.clone(), to, "x").unwrap();
        let (ends, server) = tokio::join!(
            async {
                let connection = connecting.await.unwrap();
                let (mut send, recv) = connection.open_bi().await.unwrap();
                send.write_all(&message).await.unwrap();
                (connection, send, recv)
            },
            async {
                let connection = bare.server.accept().await.unwrap().await.unwrap();
                let (_send, mut recv) = connection.accept_bi().await.unwrap();
                recv.read_exact(&mut [0; 1024]).await.unwrap();
                connection
            }
        );
        let bare_time = start.elapsed();
        drop((ends, server));

        let start = Instant::now();
        let to = address(peer(2), ours.arrivals.local_addr());
        let (our_hello, their_hello) = (hello(), hello());
        let (ends, server) = tokio::join!(
            async {
                let connection = ours.dialer.connect(&to, &our_hello).await.unwrap();
                let (mut send, recv) = connection.open(puller(Channel::BestTip)).await.unwrap();
                send.write(frame(message.clone())).await.unwrap();
                (connection, send, recv)
            },
            async {
                let connection = ours.arrivals.accept().await.unwrap().accept(&their_hello).await.unwrap();
                let (_, _send, mut recv) = connection.accept().await.unwrap();
                common::read(&mut recv, &budget).await;
                connection
            }
        );
        let our_time = start.elapsed();
        drop((ends, server));
        if round >= 10 {
            bare_times.push(bare_time.as_secs_f64() * 1e3);
            our_times.push(our_time.as_secs_f64() * 1e3);
        }
    }
    (median(bare_times), median(our_times))
}

/// Round trips from the start of a dial to the dialer's receipt of the first message on a channel, which the listener
/// sends as soon as it can: bare, ours.
async fn distant_dials() -> (f64, f64) {
    let (bare, ours) = (Bare::new(), Ours::new());
    let bare_to = relay::start(bare.server.local_addr().unwrap(), ROUND_TRIP);
    let our_to = address(peer(2), relay::start(ours.arrivals.local_addr(), ROUND_TRIP));
    let message = pattern(1024);
    let budget = FrameBudget::default();
    let (mut bare_trips, mut our_trips) = (Vec::new(), Vec::new());
    for _ in 0..DISTANT_DIALS {
        let start = Instant::now();
        let connecting = bare.client.connect_with(bare.config.clone(), bare_to, "x").unwrap();
        let (ends, server) = tokio::join!(
            async {
                let connection = connecting.await.unwrap();
                let (_send, mut recv) = connection.accept_bi().await.unwrap();
                recv.read_exact(&mut [0; 1024]).await.unwrap();
                (connection, start.elapsed())
            },
            async {
                let connection = bare.server.accept().await.unwrap().await.unwrap();
                let (mut send, recv) = connection.open_bi().await.unwrap();
                send.write_all(&message).await.unwrap();
                (connection, send, recv)
            }
        );
        bare_trips.push(ends.1.as_secs_f64() / ROUND_TRIP.as_secs_f64());
        drop((ends, server));

        let start = Instant::now();
        let (our_hello, their_hello) = (hello(), hello());
        let (ends, server) = tokio::join!(
            async {
                let connection = ours.dialer.connect(&our_to, &our_hello).await.unwrap();
                let (_, _send, mut recv) = connection.accept().await.unwrap();
                common::read(&mut recv, &budget).await;
                (connection, start.elapsed())
            },
            async {
                let connection = ours.arrivals.accept().await.unwrap().accept(&their_hello).await.unwrap();
                let (mut send, recv) = connection.open(puller(Channel::BestTip)).await.unwrap();
                send.write(frame(message.clone())).await.unwrap();
                (connection, send, recv)
            }
        );
        our_trips.push(ends.1.as_secs_f64() / ROUND_TRIP.as_secs_f64());
        drop((ends, server));
    }
    (median(bare_trips), median(our_trips))
}

/// What moving 32 MiB over connections that are warm gives.
struct Rates {
    /// MiB/s.
    bare: f64,
    ours: f64,
    web: f64,
    /// Milliseconds of an echo on a small channel meanwhile.
    ping: f64,
    web_ping: f64,
    /// Processor time of WebRTC, both ends, of QUIC's.
    cpu_ratio: f64,
}

async fn transfers() -> Rates {
    let (bare, ours) = (Bare::new(), Ours::new());
    let payload = pattern(TRANSFER_LEN);
    let (bare_ends, our_ends, mut web) = (bare.connect().await, ours.connect().await, webrtc::Warm::new().await);
    let (mut bare_rates, mut our_rates, mut web_rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_cpu, mut web_cpu) = (0.0, 0.0);
    for round in 0..TRANSFERS + 2 {
        let bare_time = bare_transfer(&bare_ends, &payload).await;
        let start = processor_ticks();
        let our_time = our_transfer(&our_ends, &payload).await;
        let middle = processor_ticks();
        let web_time = web.transfer(&payload).await;
        if round >= 2 {
            our_cpu += middle - start;
            web_cpu += processor_ticks() - middle;
            let rate = |time: Duration| TRANSFER_LEN as f64 / f64::from(1 << 20) / time.as_secs_f64();
            bare_rates.push(rate(bare_time));
            our_rates.push(rate(our_time));
            web_rates.push(rate(web_time));
        }
    }
    let (mut pings, mut web_pings) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        ping_beside_transfer(&our_ends, &payload, &mut pings).await;
        web.ping_beside_transfer(&payload, &mut web_pings).await;
    }
    Rates {
        bare: median(bare_rates),
        ours: median(our_rates),
        web: median(web_rates),
        ping: median(pings),
        web_ping: median(web_pings),
        cpu_ratio: web_cpu / our_cpu,
    }
}

/// Processor time of this process in the system's ticks, user's and system's: fields 14 and 15 of proc_pid_stat(5).
fn processor_ticks() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}

/// Bytes are received and dropped: as little as a receiver can do.
async fn bare_transfer((ours, theirs): &(quinn::Connection, quinn::Connection), payload: &Bytes) -> Duration {
    let start = Instant::now();
    tokio::join!(
        async {
            let (mut send, _recv) = ours.open_bi().await.unwrap();
            send.write_chunk(payload.clone()).await.unwrap();
            send.finish().unwrap();
            send.stopped().await.unwrap();
        },
        async {
            let (_send, mut recv) = theirs.accept_bi().await.unwrap();
            let mut len = 0;
            while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.unwrap() {
                len += chunk.bytes.len();
            }
            assert_eq!(len, TRANSFER_LEN);
        }
    );
    start.elapsed()
}

/// The frame is received whole, in one piece.
async fn our_transfer((ours, theirs): &Ends, payload: &Bytes) -> Duration {
    let budget = FrameBudget::default();
    let start = Instant::now();
    tokio::join!(
        async {
            let (mut send, _recv) = ours.open(puller(Channel::Rpc)).await.unwrap();
            send.write(frame(payload.clone())).await.unwrap();
            send.finish();
        },
        async {
            let (_, _send, mut recv) = theirs.accept().await.unwrap();
            assert_eq!(common::read(&mut recv, &budget).await.len(), TRANSFER_LEN);
        }
    );
    start.elapsed()
}

async fn ping_beside_transfer(ends: &Ends, payload: &Bytes, pings: &mut Vec<f64>) {
    let (ours, theirs) = ends;
    let budget = FrameBudget::default();
    let ((mut send, mut recv), (_, mut echo_send, mut echo_recv)) = {
        let (opened, accepted) = tokio::join!(ours.open(puller(Channel::Snark)), theirs.accept());
        (opened.unwrap(), accepted.unwrap())
    };
    let echo = tokio::spawn(async move {
        let budget = FrameBudget::default();
        while let Some(len) = echo_recv.read_head().await.unwrap() {
            let body = echo_recv.read_body(len, &budget).await.unwrap().body;
            echo_send.write(frame(body)).await.unwrap();
        }
    });
    let small = pattern(100);
    let pinging = async {
        loop {
            let start = Instant::now();
            send.write(frame(small.clone())).await.unwrap();
            common::read(&mut recv, &budget).await;
            pings.push(start.elapsed().as_secs_f64() * 1e3);
        }
    };
    tokio::select! {
        _ = our_transfer(ends, payload) => {}
        () = pinging => {}
    }
    send.finish();
    echo.await.unwrap();
}

/// Runs [`idle`] in a process of its own, so that no kind is measured in memory that another left.
fn idle_of_child(kind: &str) -> f64 {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).args(["--idle", kind]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// KB that one end of an idle connection takes, both ends being in this process.
fn idle(kind: &str) -> f64 {
    let runtime = runtime();
    runtime.block_on(async {
        let (bare, ours) = (Bare::new(), Ours::new());
        // One of each first: what is allocated once is not a connection's.
        let _first = (bare.connect().await, ours.connect().await);
        let before = resident_kb();
        let mut bare_ends = Vec::new();
        let mut our_ends = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            match kind {
                "bare" => bare_ends.push(bare.connect().await),
                "ours" => our_ends.push(ours.connect().await),
                _ => {
                    let ends = ours.connect().await;
                    streams.push(channels(&ends.0, &ends.1).await);
                    streams.push(channels(&ends.1, &ends.0).await);
                    our_ends.push(ends);
                }
            }
        }
        // Handshakes are confirmed, paths probed, and what that took is given back.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = resident_kb();
        (after - before) / CONNECTIONS as f64 / 2.0
    })
}

/// The four channels, each of which has carried a message each way.
async fn channels(puller_end: &Arc<dyn Connection>, server_end: &Arc<dyn Connection>) -> Vec<Box<dyn std::any::Any>> {
    let budget = FrameBudget::default();
    let mut streams: Vec<Box<dyn std::any::Any>> = Vec::new();
    for channel in [Channel::BestTip, Channel::Transaction, Channel::Snark, Channel::SnarkJobCommitment] {
        let (opened, accepted) = tokio::join!(puller_end.open(puller(channel)), server_end.accept());
        let ((mut send, mut recv), (_, mut their_send, mut their_recv)) = (opened.unwrap(), accepted.unwrap());
        send.write(frame(pattern(10))).await.unwrap();
        common::read(&mut their_recv, &budget).await;
        their_send.write(frame(pattern(200))).await.unwrap();
        common::read(&mut recv, &budget).await;
        streams.push(Box::new((send, recv, their_send, their_recv)));
    }
    streams
}

/// Memory of this process that is its own, in KB.
fn resident_kb() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    // Not the dirty pages: those of a program that was just built count too, until the system has written them to disk.
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
