//! The sockets of an endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::attempt::Attached;
use super::demux::Demux;
use crate::ConnectError;
use crate::udp::Port;

/// One socket of each address family: that which reaches the peer best. Where there is none at all, sockets are made.
pub(super) fn suitable(sockets: &mut Vec<Attached>, peer_is_local: bool) -> Result<Vec<Attached>, ConnectError> {
    if sockets.is_empty() {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let bound = any.map(|any| Port::bind(SocketAddr::new(any, 0)).map_err(|cause| (any, cause)));
        let [v4, v6] = bound;
        match (v4, v6) {
            (Err((any, cause)), Err(_)) => {
                let address = SocketAddr::new(any, 0);
                return Err(ConnectError::Socket { address, cause: cause.to_string() });
            }
            (v4, v6) => sockets.extend([v4, v6].into_iter().flatten().map(read).map(attach)),
        }
    }
    let mut chosen: Vec<Attached> = Vec::new();
    for is_v4 in [true, false] {
        let of_family = sockets.iter().filter(|one| one.port.local_addr().is_ipv4() == is_v4);
        let reaches = |one: &&Attached| {
            let ip = one.port.local_addr().ip();
            ip.is_unspecified() || ip.is_loopback() == peer_is_local
        };
        chosen.extend(of_family.clone().find(reaches).or_else(|| of_family.clone().next()).cloned());
    }
    Ok(chosen)
}

pub(super) fn attach(port: Arc<Port>) -> Attached {
    let demux = Arc::new(Demux::default());
    port.set_sink(demux.clone());
    Attached { port, demux }
}

/// Reads a socket that is ours alone.
pub(super) fn read(port: Arc<Port>) -> Arc<Port> {
    let reads = port.clone();
    tokio::spawn(async move {
        if let Err(error) = reads.read_alone().await {
            tracing::warn!(local = %reads.local_addr(), %error, "a UDP socket is not read any more");
        }
    });
    port
}
