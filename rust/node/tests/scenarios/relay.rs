//! A path between two nodes that can be cut: what is sent into it is lost, and nobody is told.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::loopback;

/// Forwards datagrams between one dialer and a node.
pub(crate) struct Relay {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Relay {
    pub(crate) fn to(node: SocketAddr) -> Relay {
        let front = UdpSocket::bind(loopback()).unwrap();
        let back = UdpSocket::bind(loopback()).unwrap();
        back.connect(node).unwrap();
        let address = front.local_addr().unwrap();
        let (cut, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for socket in [&front, &back] {
            // So that the threads notice when the relay is no longer needed.
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        let dialer = Arc::new(std::sync::Mutex::new(None));
        let (known, ends, lost) = (Arc::clone(&dialer), Arc::clone(&over), Arc::clone(&cut));
        let (front_in, back_out) = (front.try_clone().unwrap(), back.try_clone().unwrap());
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            while !ends.load(Ordering::Relaxed) {
                let Ok((len, from)) = front_in.recv_from(&mut datagram) else { continue };
                *known.lock().unwrap() = Some(from);
                if !lost.load(Ordering::Relaxed) {
                    // A datagram may be lost; that is what the protocol is for.
                    let _ = back_out.send(&datagram[..len]);
                }
            }
        });
        let (ends, lost) = (Arc::clone(&over), Arc::clone(&cut));
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            while !ends.load(Ordering::Relaxed) {
                let Ok(len) = back.recv(&mut datagram) else { continue };
                let to = *dialer.lock().unwrap();
                if let (Some(to), false) = (to, lost.load(Ordering::Relaxed)) {
                    let _ = front.send_to(&datagram[..len], to);
                }
            }
        });
        Relay { address, cut, over }
    }

    /// Where to dial.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on everything is lost, both ways.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
