//! A path with a delay: forwards datagrams between one client and one server, each after half a round trip.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
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

/// Starts a relay to a TCP server and gives the address that stands for it. What goes to the server, the opening of the
/// connection included, is held back for a whole round trip, and what comes from it is not: to the client it is the same. It
/// runs until the process ends.
pub(crate) fn start_tcp(server: SocketAddr, round_trip: Duration) -> SocketAddr {
    let front = TcpListener::bind(super::loopback()).unwrap();
    let address = front.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((client, _)) = front.accept() {
            // The client's system has its handshake at once, here; over the path it would take a round trip.
            let opened = Instant::now() + round_trip;
            thread::spawn(move || relay_tcp(&client, server, opened, round_trip));
        }
    });
    address
}

fn relay_tcp(client: &TcpStream, server: SocketAddr, opened: Instant, round_trip: Duration) {
    let server = TcpStream::connect(server).unwrap();
    let (queue, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = client;
            let mut buffer = [0; 65_536];
            while let Ok(len @ 1..) = client.read(&mut buffer) {
                let due = Instant::now().max(opened) + round_trip;
                if queue.send((due, buffer[..len].to_vec())).is_err() {
                    break;
                }
            }
            drop(queue);
        });
        scope.spawn(|| {
            let mut server = &server;
            for (at, bytes) in due {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if server.write_all(&bytes).is_err() {
                    break;
                }
            }
            drop(server.shutdown(Shutdown::Write));
        });
        let (mut client, mut server) = (client, &server);
        drop(std::io::copy(&mut server, &mut client));
        drop(client.shutdown(Shutdown::Both));
    });
}
