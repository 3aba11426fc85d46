//! Distance on loopback: a relay between any number of clients and one server, which holds every datagram back, and may
//! pass on no more than a rate.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any datagram of QUIC's on loopback.
const DATAGRAM_MAX: usize = 65_536;

/// What a datagram of UDP has before it on the wire: an IPv4 head and UDP's.
const HEAD_LEN: usize = 20 + 8;

/// A path, the same in both directions.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    /// How long a datagram takes from the moment that it is wholly on the path.
    pub(crate) delay: Duration,
    /// How fast datagrams go onto the path, one after the other.
    pub(crate) rate: Option<Rate>,
}

/// A rate, and the queue of those who wait for it.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) bits_per_second: u64,
    /// How many bytes may wait; a datagram that finds more is lost.
    pub(crate) queue: usize,
}

impl Rate {
    /// How long so many bytes take.
    pub(crate) fn time(&self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / self.bits_per_second)
    }
}

pub(crate) struct Relay {
    port: u16,
}

impl Relay {
    /// Relays to a port on loopback. Its threads live as long as the process.
    pub(crate) fn start(server: u16, path: Path) -> Relay {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = front.local_addr().unwrap().port();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
        thread::spawn(move || {
            let mut backs: HashMap<SocketAddr, Line> = HashMap::new();
            let mut buffer = vec![0; DATAGRAM_MAX];
            while let Ok((len, client)) = front.recv_from(&mut buffer) {
                let line = backs.entry(client).or_insert_with(|| {
                    let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
                    let (mut to_client, from_server) =
                        (Line::start(Arc::clone(&front), client, path), Arc::clone(&back));
                    thread::spawn(move || {
                        let mut buffer = vec![0; DATAGRAM_MAX];
                        while let Ok((len, _)) = from_server.recv_from(&mut buffer) {
                            to_client.push(&buffer[..len]);
                        }
                    });
                    Line::start(back, server, path)
                });
                line.push(&buffer[..len]);
            }
        });
        Relay { port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

type Queue = Arc<(Mutex<VecDeque<(Instant, Vec<u8>)>>, Condvar)>;

/// One direction: datagrams leave in order.
struct Line {
    queue: Queue,
    path: Path,
    /// When the last datagram is wholly on the path.
    free: Instant,
}

impl Line {
    fn start(socket: Arc<UdpSocket>, to: SocketAddr, path: Path) -> Line {
        let queue = Queue::default();
        let line = Arc::clone(&queue);
        thread::spawn(move || {
            loop {
                let (due, datagram) = {
                    let mut waiting = line.0.lock().unwrap();
                    loop {
                        match waiting.pop_front() {
                            Some(first) => break first,
                            None => waiting = line.1.wait(waiting).unwrap(),
                        }
                    }
                };
                thread::sleep(due.saturating_duration_since(Instant::now()));
                // As on any network, a datagram may be lost.
                let _ = socket.send_to(&datagram, to);
            }
        });
        Line { queue, path, free: Instant::now() }
    }

    fn push(&mut self, datagram: &[u8]) {
        let now = Instant::now();
        self.free = self.free.max(now);
        if let Some(rate) = &self.path.rate {
            if self.free - now > rate.time(rate.queue) {
                return;
            }
            self.free += rate.time(datagram.len() + HEAD_LEN);
        }
        self.queue.0.lock().unwrap().push_back((self.free + self.path.delay, datagram.to_vec()));
        self.queue.1.notify_one();
    }
}
