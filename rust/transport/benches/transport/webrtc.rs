//! Two endpoints of our WebRTC transport, signaling by HTTP included.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mina_p2p_transport::udp::{DatagramSink, Port};
use mina_p2p_transport::webrtc::{Config, Endpoint, OfferDesk};
use mina_p2p_transport::{FrameBudget, Limits, Listener, RecvStream, SendStream, Transport};
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::RejectionReason;
use mina_p2p_wire::{Address, Channel, Host, PeerId, SecretKey, Signaling};

use super::common::{self, chain, frame, hello, key, loopback, pattern, peer, puller};
use super::{DIALS, DISTANT_DIALS, Ends, ROUND_TRIP, median, relay, resident_kb};

/// Between two dials: a listener takes 64 offers a second.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes every offer.
struct Desk;

impl OfferDesk for Desk {
    fn judge(&self, _peer: PeerId, _from: Option<IpAddr>) -> Result<Hello, RejectionReason> {
        Ok(hello())
    }
}

/// Two nodes, of which the second listens.
pub(crate) struct Pair {
    dialer: Endpoint,
    _listener: Endpoint,
    arrivals: Box<dyn Listener>,
    signaling: SocketAddr,
    port: Arc<Port>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let endpoint = |key: SecretKey| Endpoint::new(key, chain(1), Limits::default(), Config::default()).unwrap();
        let (dialer, listener) = (endpoint(key(1)), endpoint(key(2)));
        listener.set_desk(Arc::new(Desk));
        let port = Port::bind(loopback()).unwrap();
        listener.listen_on(port.clone());
        let reads = port.clone();
        tokio::spawn(async move { reads.read_alone().await });
        let signaling = listener.listen_signaling(loopback()).unwrap();
        let arrivals = listener.incoming();
        Self { dialer, _listener: listener, arrivals, signaling, port }
    }

    fn address(signaling: SocketAddr) -> Address {
        let (host, port) = (Host::from(signaling.ip()), signaling.port());
        Address::WebRtc { peer_id: peer(2), signaling: Signaling::Http { host, port } }
    }

    pub(crate) async fn connect(&self) -> Ends {
        self.connect_at(self.signaling).await
    }

    async fn connect_at(&self, signaling: SocketAddr) -> Ends {
        let (to, our_hello, their_hello) = (Self::address(signaling), hello(), hello());
        tokio::join!(async { self.dialer.connect(&to, &our_hello).await.unwrap() }, async {
            self.arrivals.accept().await.unwrap().accept(&their_hello).await.unwrap()
        })
    }

    /// Milliseconds from the start of a dial to the dialer's receipt of the first message on a channel, which the listener
    /// sends as soon as it can.
    async fn dial(&self, signaling: SocketAddr, message: &Bytes) -> f64 {
        let budget = FrameBudget::default();
        let start = Instant::now();
        let (to, our_hello, their_hello) = (Self::address(signaling), hello(), hello());
        let ((_ours, time), _theirs) = tokio::join!(
            async {
                let connection = self.dialer.connect(&to, &our_hello).await.unwrap();
                let (_send, mut recv) = connection.open(puller(Channel::BestTip)).await.unwrap();
                common::read(&mut recv, &budget).await;
                (connection, start.elapsed())
            },
            async {
                let connection = self.arrivals.accept().await.unwrap().accept(&their_hello).await.unwrap();
                let (mut send, recv) = connection.open(puller(Channel::BestTip)).await.unwrap();
                send.write(frame(message.clone())).await.unwrap();
                (connection, send, recv)
            }
        );
        time.as_secs_f64() * 1e3
    }

    /// Whatever comes to the listener comes so much later: its signaling, whose new address this gives, and its datagrams.
    /// That the way back takes no time changes nothing for the dialer.
    fn move_away(&self, round_trip: Duration) -> SocketAddr {
        let sink = self.port.sink().unwrap();
        let (queue, due) = mpsc::channel::<(Instant, SocketAddr, Option<IpAddr>, Bytes)>();
        thread::spawn(move || {
            for (at, from, local, data) in due {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                sink.datagram(from, local, data);
            }
        });
        self.port.set_sink(Arc::new(Far { round_trip, queue }));
        relay::start_tcp(self.signaling, round_trip)
    }
}

struct Far {
    round_trip: Duration,
    queue: mpsc::Sender<(Instant, SocketAddr, Option<IpAddr>, Bytes)>,
}

impl DatagramSink for Far {
    fn datagram(&self, from: SocketAddr, local: Option<IpAddr>, data: Bytes) {
        // As on any network, a datagram may be lost.
        drop(self.queue.send((Instant::now() + self.round_trip, from, local, data)));
    }
}

/// Milliseconds from the start of a dial to the dialer's first message: the median, and the worst.
pub(crate) async fn dials() -> (f64, f64) {
    let (pair, message) = (Pair::new(), pattern(1024));
    let mut times = Vec::new();
    for round in 0..DIALS + 10 {
        tokio::time::sleep(PAUSE).await;
        let time = pair.dial(pair.signaling, &message).await;
        if round >= 10 {
            times.push(time);
        }
    }
    (median(times.clone()), times.into_iter().fold(0.0, f64::max))
}

/// Round trips from the start of a dial to the dialer's first message.
pub(crate) async fn distant_dials() -> f64 {
    let (pair, message) = (Pair::new(), pattern(1024));
    let signaling = pair.move_away(ROUND_TRIP);
    let mut trips = Vec::new();
    for _ in 0..DISTANT_DIALS {
        trips.push(pair.dial(signaling, &message).await / 1e3 / ROUND_TRIP.as_secs_f64());
    }
    median(trips)
}

/// A channel's stream from each end: the sending half of the one and the receiving half of the other, both ways.
type Stream = ((SendStream, RecvStream), (SendStream, RecvStream));

/// A warm connection.
pub(crate) struct Warm {
    _pair: Pair,
    _ends: Ends,
    bulk: Stream,
    small: Stream,
}

impl Warm {
    pub(crate) async fn new() -> Self {
        let pair = Pair::new();
        let ends = pair.connect().await;
        let (bulk, small) = (stream(&ends, Channel::Rpc).await, stream(&ends, Channel::Snark).await);
        Self { _pair: pair, _ends: ends, bulk, small }
    }

    /// How long a frame takes to be received whole, in one piece.
    pub(crate) async fn transfer(&mut self, payload: &Bytes) -> Duration {
        transfer(&mut self.bulk, payload).await
    }

    /// The milliseconds of each echo on a small channel while a frame is on its way.
    pub(crate) async fn ping_beside_transfer(&mut self, payload: &Bytes, pings: &mut Vec<f64>) {
        let Self { bulk, small: ((send, recv), (echo_send, echo_recv)), .. } = self;
        let budget = FrameBudget::default();
        let small = pattern(100);
        let echo = async {
            loop {
                let body = common::read(echo_recv, &budget).await;
                echo_send.write(frame(body)).await.unwrap();
            }
        };
        let done = AtomicBool::new(false);
        let bulk = async {
            transfer(bulk, payload).await;
            done.store(true, Ordering::Relaxed);
        };
        // The last one's echo is waited for: the next transfer finds nothing on the stream.
        let ping = async {
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                send.write(frame(small.clone())).await.unwrap();
                common::read(recv, &budget).await;
                pings.push(start.elapsed().as_secs_f64() * 1e3);
            }
        };
        let pinging = async { tokio::join!(bulk, ping) };
        tokio::select! {
            () = echo => {}
            _ = pinging => {}
        }
    }
}

async fn transfer((ours, theirs): &mut Stream, payload: &Bytes) -> Duration {
    let budget = FrameBudget::default();
    let start = Instant::now();
    let (send, recv) = (&mut ours.0, &mut theirs.1);
    tokio::join!(async { send.write(frame(payload.clone())).await.unwrap() }, async {
        assert_eq!(common::read(recv, &budget).await.len(), payload.len());
    });
    start.elapsed()
}

async fn stream((ours, theirs): &Ends, channel: Channel) -> Stream {
    (ours.open(puller(channel)).await.unwrap(), theirs.open(puller(channel)).await.unwrap())
}

/// KB that one of so many idle connections through one UDP port takes. The other ends are in another process.
pub(crate) async fn idle(count: usize) -> f64 {
    let pair = Pair::new();
    // One first: what is allocated once is not a connection's.
    let _first = pair.connect().await;
    let before = resident_kb();
    let mut dialers = Command::new(std::env::current_exe().unwrap())
        .args(["--dialers", &pair.signaling.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(pair.arrivals.accept().await.unwrap().accept(&hello()).await.unwrap());
    }
    // Handshakes are confirmed, and what they took is given back.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = resident_kb();
    // They end with their standard input.
    drop(dialers.stdin.take());
    dialers.wait().unwrap();
    (after - before) / count as f64
}

/// So many nodes that are connected with the one whose signaling is there, until standard input ends.
pub(crate) async fn dialers(signaling: SocketAddr, count: usize) {
    let mut connections = Vec::new();
    for n in 0..count {
        let mut secret = [9; 32];
        secret[..8].copy_from_slice(&n.to_be_bytes());
        let secret = SecretKey::from_bytes(secret);
        let dialer = Endpoint::new(secret, chain(1), Limits::default(), Config::default()).unwrap();
        tokio::time::sleep(PAUSE).await;
        let connection = dialer.connect(&Pair::address(signaling), &hello()).await.unwrap();
        connections.push((dialer, connection));
    }
    let wait = || drop(std::io::stdin().read(&mut [0]));
    tokio::task::spawn_blocking(wait).await.unwrap();
}
