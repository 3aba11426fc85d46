//! Distance on loopback: a relay between any number of clients and one server, which holds every datagram back.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any datagram of QUIC's on loopback.
const DATAGRAM_MAX: usize = 65_536;

pub(crate) struct Relay {
    port: u16,
}

impl Relay {
    /// Relays to a port on loopback; each direction takes `delay`. Its threads live as long as the process.
    pub(crate) fn start(server: u16, delay: Duration) -> Relay {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = front.local_addr().unwrap().port();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
        thread::spawn(move || {
            let mut backs: HashMap<SocketAddr, Line> = HashMap::new();
            let mut buffer = vec![0; DATAGRAM_MAX];
            while let Ok((len, client)) = front.recv_from(&mut buffer) {
                let line = backs.entry(client).or_insert_with(|| {
                    let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
                    let (to_client, from_server) = (Line::start(Arc::clone(&front), client, delay), Arc::clone(&back));
                    thread::spawn(move || {
                        let mut buffer = vec![0; DATAGRAM_MAX];
                        while let Ok((len, _)) = from_server.recv_from(&mut buffer) {
                            to_client.push(&buffer[..len]);
                        }
                    });
                    Line::start(back, server, delay)
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

/// One direction: datagrams leave in order, each `delay` after it came.
struct Line {
    queue: Queue,
    delay: Duration,
}

impl Line {
    fn start(socket: Arc<UdpSocket>, to: SocketAddr, delay: Duration) -> Line {
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
        Line { queue, delay }
    }

    fn push(&self, datagram: &[u8]) {
        self.queue.0.lock().unwrap().push_back((Instant::now() + self.delay, datagram.to_vec()));
        self.queue.1.notify_one();
    }
}
