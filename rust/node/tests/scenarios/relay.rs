//! A path between two nodes that can be cut: what is sent into it is lost, and nobody is told.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::loopback;

/// Nothing begins with such a byte: all passes.
const NOTHING: u8 = u8::MAX;
/// QUIC's first bytes, and nobody else's, have one of the two highest bits (RFC 9443, section 3).
const QUIC: u8 = 64;

/// Forwards datagrams between one dialer and a node.
pub(crate) struct Relay {
    address: SocketAddr,
    /// Datagrams whose first byte is at least this are lost.
    lost_from: Arc<AtomicU8>,
    over: Arc<AtomicBool>,
}

impl Relay {
    pub(crate) fn to(node: SocketAddr) -> Relay {
        let front = UdpSocket::bind(loopback()).unwrap();
        let back = UdpSocket::bind(loopback()).unwrap();
        back.connect(node).unwrap();
        let address = front.local_addr().unwrap();
        let (lost_from, over) = (Arc::new(AtomicU8::new(NOTHING)), Arc::new(AtomicBool::new(false)));
        for socket in [&front, &back] {
            // So that the threads notice when the relay is no longer needed.
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        let dialer = Arc::new(std::sync::Mutex::new(None));
        let (known, ends, lost) = (Arc::clone(&dialer), Arc::clone(&over), Arc::clone(&lost_from));
        let (front_in, back_out) = (front.try_clone().unwrap(), back.try_clone().unwrap());
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            while !ends.load(Ordering::Relaxed) {
                let Ok((len, from)) = front_in.recv_from(&mut datagram) else { continue };
                *known.lock().unwrap() = Some(from);
                if passes(&lost, &datagram[..len]) {
                    // A datagram may be lost; that is what the protocol is for.
                    let _ = back_out.send(&datagram[..len]);
                }
            }
        });
        let (ends, lost) = (Arc::clone(&over), Arc::clone(&lost_from));
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            while !ends.load(Ordering::Relaxed) {
                let Ok(len) = back.recv(&mut datagram) else { continue };
                let to = *dialer.lock().unwrap();
                if let (Some(to), true) = (to, passes(&lost, &datagram[..len])) {
                    let _ = front.send_to(&datagram[..len], to);
                }
            }
        });
        Relay { address, lost_from, over }
    }

    /// Where to dial.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on everything is lost, both ways.
    pub(crate) fn cut(&self) {
        self.lost_from.store(0, Ordering::Relaxed);
    }

    /// From now on QUIC is lost, both ways, and everything else passes.
    pub(crate) fn block_quic(&self) {
        self.lost_from.store(QUIC, Ordering::Relaxed);
    }
}

fn passes(lost_from: &AtomicU8, datagram: &[u8]) -> bool {
    let from = lost_from.load(Ordering::Relaxed);
    from == NOTHING || datagram.first().is_some_and(|first| *first < from)
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
