//! A path with a delay: forwards datagrams between one client and one server, each after half a round trip.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Starts a relay to `server` and gives the address that stands for it. It runs until the process ends.
pub(crate) fn start(server: SocketAddr, round_trip: Duration) -> SocketAddr {
    let bind = || UdpSocket::bind(super::loopback()).unwrap();
    let (front, back) = (Arc::new(bind()), Arc::new(bind()));
    let address = front.local_addr().unwrap();
    // Whoever spoke last is the client.
    let client = Arc::new(Mutex::new(server));
    let delay = round_trip / 2;
    let heard = client.clone();
    forward(front.clone(), back.clone(), delay, move |from| *heard.lock().unwrap() = from, move || server);
    forward(back, front, delay, |_| (), move || *client.lock().unwrap());
    address
}

fn forward(
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    delay: Duration,
    heard: impl Fn(SocketAddr) + Send + 'static,
    target: impl Fn() -> SocketAddr + Send + 'static,
) {
    let (queue, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((len, source)) = from.recv_from(&mut buffer) {
            heard(source);
            if queue.send((Instant::now() + delay, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (at, datagram) in due {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            // A client that is gone does not matter.
            drop(to.send_to(&datagram, target()));
        }
    });
}
