//! QUIC and WebRTC datagrams on one port.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::Bytes;
use common::*;
use mina_p2p_transport::udp::{DatagramKind, DatagramSink, Port};
use mina_p2p_transport::{CloseReason, Connection, FrameBudget, Limits, ListenError, Listener, Transport, quic};
use mina_p2p_wire::Channel;
use tokio::sync::mpsc;

/// One that came: from where, to which address of ours, and its contents.
type Arrival = (SocketAddr, Option<IpAddr>, Bytes);

struct Collector(mpsc::UnboundedSender<Arrival>);

impl DatagramSink for Collector {
    fn datagram(&self, from: SocketAddr, local: Option<IpAddr>, data: Bytes) {
        // Nobody may wait for them any more.
        drop(self.0.send((from, local, data)));
    }
}

/// A port on loopback, and what its sink gets.
fn port() -> (Arc<Port>, mpsc::UnboundedReceiver<Arrival>) {
    let port = Port::bind(loopback()).unwrap();
    let (sender, arrivals) = mpsc::unbounded_channel();
    port.set_sink(Arc::new(Collector(sender)));
    (port, arrivals)
}

/// Starts the port's own reader.
fn read_alone(port: &Arc<Port>) -> tokio::task::JoinHandle<std::io::Result<()>> {
    let port = port.clone();
    tokio::spawn(async move { port.read_alone().await })
}

/// A QUIC node that uses this port.
fn node(key_number: u8, port: &Arc<Port>) -> (Arc<dyn Transport>, Box<dyn Listener>) {
    let endpoint = quic::Endpoint::new(key(key_number), chain(1), Limits::default()).unwrap();
    let listener = endpoint.listen_on(port.clone()).unwrap();
    assert_eq!(listener.local_addr(), port.local_addr());
    (Arc::new(endpoint), listener)
}

type Ends = (Arc<dyn Connection>, Arc<dyn Connection>);

async fn connect(dialer: &Arc<dyn Transport>, listener: &dyn Listener, listener_key: u8) -> Ends {
    let (dialed, accepted) = dial(dialer, listener, peer(listener_key), &hello(), |incoming| async {
        incoming.accept(&hello()).await.unwrap()
    })
    .await;
    (dialed.unwrap(), accepted)
}

/// Sends a frame over a stream of its own, and looks at what arrives.
async fn transfer((dialed, accepted): &Ends, len: usize) {
    let (opened, taken) = tokio::join!(dialed.open(puller(Channel::BestTip)), accepted.accept());
    let (mut send, _recv) = opened.unwrap();
    let (_, _send, mut recv) = taken.unwrap();
    let contents = Bytes::from((0..len).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let budget = FrameBudget::default();
    let (written, read) = tokio::join!(send.write(frame(contents.clone())), read(&mut recv, &budget));
    written.unwrap();
    assert!(read == contents);
}

/// A datagram with this first byte, its number next.
fn datagram(first: u8, n: u8, len: usize) -> Vec<u8> {
    let mut datagram = vec![n; len];
    datagram[0] = first;
    datagram
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_first_byte_goes_where_it_belongs() {
    watchdog(async {
        let (port, mut arrivals) = port();
        let (_listener_node, listener) = node(2, &port);
        let dialer = Quic.node(key(1), Limits::default());
        let ends = connect(&dialer, &*listener, 2).await;

        let raw = UdpSocket::bind(loopback()).unwrap();
        raw.send_to(&[], port.local_addr()).unwrap();
        for first in 0..=255 {
            raw.send_to(&datagram(first, first, 30), port.local_addr()).unwrap();
        }
        let expected: Vec<u8> = (0..=3).chain(20..=63).collect();
        for first in &expected {
            let (from, local, data) = arrivals.recv().await.unwrap();
            assert_eq!((from, &data[..]), (raw.local_addr().unwrap(), &datagram(*first, *first, 30)[..]));
            assert!(local.is_none_or(|local| local == Ipv4Addr::LOCALHOST));
        }
        transfer(&ends, 100_000).await;
        until(|| port.figures().unknown == 16).await;
        let figures = port.figures();
        assert_eq!((figures.webrtc, figures.empty, figures.unclaimed), (expected.len() as u64, 1, 0));
        assert!(arrivals.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn datagrams_that_the_system_joins_are_taken_apart() {
    watchdog(async {
        let (port, mut arrivals) = port();
        let reader = read_alone(&port);
        let sender = Port::bind(loopback()).unwrap();
        // One batch where the system has them: QUIC, DTLS, neither, STUN, QUIC, DTLS.
        let batch = [
            datagram(0x40, 0, 200),
            datagram(20, 1, 200),
            datagram(10, 2, 200),
            datagram(0, 3, 200),
            datagram(0xc0, 4, 200),
            datagram(63, 5, 17),
        ];
        for _ in 0..20 {
            sender.send(port.local_addr(), None, &batch.concat(), Some(200)).await.unwrap();
            for n in [1, 3, 5] {
                let (from, _, data) = arrivals.recv().await.unwrap();
                assert_eq!(from, sender.local_addr());
                assert_eq!(data, batch[n]);
            }
        }
        until(|| port.figures().unread_quic == 40).await;
        let figures = port.figures();
        assert_eq!((figures.webrtc, figures.unknown, figures.refused_sends), (60, 20, 0));
        assert_eq!(sender.figures().refused_sends, 0);
        port.close();
        reader.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn batches_of_any_length_arrive_whole() {
    watchdog(async {
        let (port, mut arrivals) = port();
        let _reader = read_alone(&port);
        let sender = Port::bind(loopback()).unwrap();
        // More than a system call takes, in segments (64) and in bytes (64 KiB); and one datagram alone.
        for (segment, count) in [(30, 150_u8), (1200, 70), (1200, 1)] {
            let datagrams: Vec<_> = (0..count).map(|n| datagram(20, n, segment)).collect();
            sender
                .send(port.local_addr(), Some(Ipv4Addr::LOCALHOST.into()), &datagrams.concat(), Some(segment))
                .await
                .unwrap();
            for datagram in datagrams {
                assert_eq!(arrivals.recv().await.unwrap().2, datagram);
            }
        }
        sender.send(port.local_addr(), None, &datagram(3, 1, 1300), None).await.unwrap();
        assert_eq!(arrivals.recv().await.unwrap().2, datagram(3, 1, 1300));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_not_disturb_a_connection() {
    watchdog(async {
        let ((ours, _ours), (theirs, mut arrivals)) = (port(), port());
        let (dialer, _own) = node(1, &ours);
        let (_listener_node, listener) = node(2, &theirs);
        let ends = connect(&dialer, &*listener, 2).await;
        // From a stranger, and from the dialer's own port, so that the system may join it with the connection's packets.
        let garbage = async {
            let raw = UdpSocket::bind(loopback()).unwrap();
            for n in 0..2000_usize {
                let first = (n % 256) as u8;
                let len = 1 + n * 7 % 1400;
                // What does not fit is lost, and that is as good.
                drop(raw.send_to(&datagram(first, 9, len), theirs.local_addr()));
                drop(ours.try_send(theirs.local_addr(), None, &datagram(first, 9, 1200).repeat(3), Some(1200)));
                tokio::task::yield_now().await;
            }
        };
        let transfers = async {
            for _ in 0..4 {
                transfer(&ends, 2 << 20).await;
            }
        };
        tokio::join!(garbage, transfers);
        transfer(&ends, 100_000).await;
        while let Ok((_, _, data)) = arrivals.try_recv() {
            assert_eq!(DatagramKind::of(data[0]), DatagramKind::WebRtc);
            assert!(data[1..].iter().all(|byte| *byte == 9));
        }
    })
    .await;
}

#[tokio::test]
async fn a_port_has_one_reader_and_the_next_takes_over() {
    watchdog(async {
        let (port, mut arrivals) = port();
        let raw = UdpSocket::bind(loopback()).unwrap();
        let endpoint = quic::Endpoint::new(key(2), chain(1), Limits::default()).unwrap();
        let listener = endpoint.listen_on(port.clone()).unwrap();
        let other = quic::Endpoint::new(key(3), chain(1), Limits::default()).unwrap();
        let busy = other.listen_on(port.clone());
        assert!(matches!(busy, Err(ListenError::Socket { address, cause })
                if address == port.local_addr() && cause.kind() == ErrorKind::ResourceBusy));
        let reader = read_alone(&port);
        raw.send_to(&datagram(20, 1, 50), port.local_addr()).unwrap();
        arrivals.recv().await.unwrap();

        endpoint.shutdown(CloseReason::Shutdown).await;
        drop((listener, endpoint));
        raw.send_to(&datagram(64, 2, 50), port.local_addr()).unwrap();
        raw.send_to(&datagram(20, 2, 50), port.local_addr()).unwrap();
        assert_eq!(arrivals.recv().await.unwrap().2, datagram(20, 2, 50));
        assert!(other.listen_on(port.clone()).is_err());
        port.close();
        reader.await.unwrap().unwrap();
        drop(other.listen_on(port).unwrap());
    })
    .await;
}

#[tokio::test]
async fn nobody_listens_on_a_port_after_shutdown() {
    watchdog(async {
        let (port, _arrivals) = port();
        let endpoint = quic::Endpoint::new(key(2), chain(1), Limits::default()).unwrap();
        endpoint.shutdown(CloseReason::Shutdown).await;
        assert!(matches!(endpoint.listen_on(port), Err(ListenError::ShutDown)));
        assert!(matches!(endpoint.listen(loopback()), Err(ListenError::ShutDown)));
    })
    .await;
}

#[tokio::test]
async fn without_a_sink_datagrams_are_dropped_and_counted() {
    watchdog(async {
        let port = Port::bind(loopback()).unwrap();
        let _reader = read_alone(&port);
        let raw = UdpSocket::bind(loopback()).unwrap();
        raw.send_to(&datagram(20, 1, 50), port.local_addr()).unwrap();
        until(|| port.figures().unclaimed == 1).await;
        assert_eq!(port.figures().webrtc, 0);
    })
    .await;
}

#[tokio::test]
async fn a_closed_port_lets_go_of_its_sink_and_takes_no_other() {
    struct Holder(#[allow(dead_code)] Arc<Port>);
    impl DatagramSink for Holder {
        fn datagram(&self, _: SocketAddr, _: Option<IpAddr>, _: Bytes) {}
    }
    let port = Port::bind(loopback()).unwrap();
    let held = Arc::downgrade(&port);
    port.set_sink(Arc::new(Holder(port.clone())));
    port.close();
    port.set_sink(Arc::new(Holder(port.clone())));
    drop(port);
    assert!(held.upgrade().is_none());
}

#[tokio::test]
async fn a_destination_that_cannot_be_is_a_lost_datagram() {
    watchdog(async {
        let (port, mut arrivals) = port();
        let _reader = read_alone(&port);
        let segments = port.max_segments();
        let own = port.local_addr();
        let destinations =
            ["127.0.0.1:0", "0.0.0.0:9", "[::1]:9", "255.255.255.255:9", "8.8.8.8:9"].map(|to| to.parse().unwrap());
        port.writable().await.unwrap();
        for to in destinations {
            assert_eq!(port.try_send(to, None, &[20; 100], None).unwrap(), 100, "{to}");
        }
        // Longer than any UDP datagram, and from an address that is not ours.
        assert_eq!(port.try_send(own, None, &vec![20; 70_000], None).unwrap(), 70_000);
        assert_eq!(port.try_send(own, Some(Ipv4Addr::new(192, 0, 2, 1).into()), &[20; 100], None).unwrap(), 100);
        assert_eq!(port.figures().refused_sends, 7);
        assert_eq!(port.try_send(own, None, &[], None).unwrap(), 0);

        assert_eq!(port.max_segments(), segments, "batches go on");
        port.send(own, None, &[20; 300], Some(100)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(arrivals.recv().await.unwrap().2, [20; 100][..]);
        }
    })
    .await;
}

#[test]
fn a_port_without_a_runtime_is_an_error() {
    assert!(Port::bind(loopback()).is_err());
}
