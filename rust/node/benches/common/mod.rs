//! What the benchmarks of whole nodes share.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mina_p2p::{Address, Builder, ChainId, Event, Node, PeerId, SecretKey};

pub(crate) const CHAIN: ChainId = ChainId([7; 32]);
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn secret(n: u32) -> SecretKey {
    let mut seed = [3; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(seed)
}

pub(crate) fn node(n: u32, configure: impl FnOnce(Builder) -> Builder) -> Node {
    configure(Node::builder(secret(n), CHAIN).listen(loopback())).start().unwrap()
}

pub(crate) fn address(node: &Node) -> Address {
    node.listen_addresses()[0].clone()
}

/// Takes events until one is the sought.
pub(crate) fn until<T>(node: &Node, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let deadline = Instant::now() + WATCHDOG;
    loop {
        assert!(Instant::now() < deadline, "nothing came");
        // One at a time: what is behind it is somebody else's.
        for event in node.wait(1, Duration::from_secs(1)) {
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }
}

pub(crate) fn connected(node: &Node) -> PeerId {
    until(node, |event| match event {
        Event::PeerConnected { peer, .. } => Some(peer),
        Event::DialFailed { reason, .. } => panic!("{reason}"),
        _ => None,
    })
}

pub(crate) fn disconnected(node: &Node) {
    until(node, |event| matches!(event, Event::PeerDisconnected { .. }).then_some(()));
}
