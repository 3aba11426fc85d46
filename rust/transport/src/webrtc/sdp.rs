//! Session descriptions: what we check of a peer's before str0m reads it, and which addresses go into ours.

use std::net::{IpAddr, SocketAddr};

use super::limits::{MAX_LOCAL_CANDIDATES, MAX_REMOTE_CANDIDATES, MAX_SDP_LEN};

/// Why a session description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SdpFault {
    #[error("{0} bytes where {MAX_SDP_LEN} are allowed")]
    TooLong(usize),
    #[error("{0} candidates where {MAX_REMOTE_CANDIDATES} are allowed")]
    TooManyCandidates(usize),
    #[error("{0}")]
    Unusable(String),
}

/// Bounds what a peer's description makes us do. Each candidate is sent checks, wherever it points.
pub(super) fn check(sdp: &str) -> Result<(), SdpFault> {
    if sdp.len() > MAX_SDP_LEN {
        return Err(SdpFault::TooLong(sdp.len()));
    }
    let candidates = candidates(sdp).count();
    if candidates > MAX_REMOTE_CANDIDATES { Err(SdpFault::TooManyCandidates(candidates)) } else { Ok(()) }
}

fn candidates(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:"))
}

/// The addresses at which a socket bound to `bound` can be reached: its own, or the machine's. Loopback comes first where the
/// peer is on this machine, and is left out otherwise.
pub(super) fn host_addresses(bound: SocketAddr, peer_is_local: bool) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // Without interfaces that can be listed there is nothing to offer: ICE then fails, and says so.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|ip| ip.is_ipv4() == bound.is_ipv4() && !is_link_local(*ip) && (peer_is_local || !ip.is_loopback()))
        .collect();
    addresses.sort_by_key(|ip| !ip.is_loopback());
    addresses.dedup();
    addresses.truncate(MAX_LOCAL_CANDIDATES);
    addresses.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(candidates: usize, address: &str) -> String {
        let line = format!("a=candidate:1 1 udp 2130706431 {address} 5000 typ host\r\n");
        "v=0\r\n".to_owned() + &line.repeat(candidates)
    }

    #[test]
    fn descriptions_are_bounded() {
        assert_eq!(check(&sdp(MAX_REMOTE_CANDIDATES, "1.2.3.4")), Ok(()));
        assert_eq!(check(&sdp(33, "1.2.3.4")), Err(SdpFault::TooManyCandidates(33)));
        assert_eq!(check(&"x".repeat(MAX_SDP_LEN + 1)), Err(SdpFault::TooLong(MAX_SDP_LEN + 1)));
    }

    #[test]
    fn a_bound_address_is_the_only_one() {
        let bound = SocketAddr::from(([127, 0, 0, 1], 5000));
        assert_eq!(host_addresses(bound, false), [bound]);
        let any = SocketAddr::from(([0, 0, 0, 0], 5000));
        assert_eq!(host_addresses(any, true).first(), Some(&bound));
        assert!(!host_addresses(any, false).contains(&bound));
    }
}
