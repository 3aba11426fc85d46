//! The text forms of addresses:
//!
//! ```text
//! /<peer id>/http/<host>/<port>                       /<peer id>/https/<host>/<port>
//! /<peer id>/https_proxy/<cluster>/<host>/<port>      /<peer id>/p2p/<relay's peer id>
//! /ip4|ip6|dns4|dns6/<host>/tcp/<port>/p2p/<libp2p peer id>
//! /ip4|ip6|dns4|dns6/<host>/udp/<port>/mina-quic/p2p/<libp2p peer id>
//! ```

use std::fmt;
use std::str::{FromStr, Split};

use super::{Address, Signaling};
use crate::base58::ParseTextError;
use crate::host::{Host, ParseHostError};
use crate::identity::PeerId;

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// Addresses start with a slash.
    #[error("an address starts with `/`")]
    NoSlash,
    /// It ends too early.
    #[error("the address ends where {0} is expected")]
    Missing(
        /// What should follow.
        &'static str,
    ),
    /// A part is not what is expected there.
    #[error("`{found}` stands where {expected} is expected")]
    Unexpected {
        /// The part, at most 64 characters of it.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// Something follows a complete address.
    #[error("`{0}` follows the address")]
    TrailingPart(
        /// The part, at most 64 characters of it.
        String,
    ),
    /// The peer id is none.
    #[error("peer id: {0}")]
    PeerId(#[from] ParseTextError),
    /// The host is none.
    #[error("host: {0}")]
    Host(#[from] ParseHostError),
}

struct Parts<'a>(Split<'a, char>);

impl<'a> Parts<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, ParseAddressError> {
        self.0.next().filter(|part| !part.is_empty()).ok_or(ParseAddressError::Missing(expected))
    }

    fn word(&mut self, word: &'static str) -> Result<(), ParseAddressError> {
        match self.next(word)? {
            found if found == word => Ok(()),
            found => Err(unexpected(found, word)),
        }
    }

    fn number(&mut self, expected: &'static str) -> Result<u16, ParseAddressError> {
        let part = self.next(expected)?;
        // Rust takes a leading plus; addresses have none.
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| digits).ok_or_else(|| unexpected(part, expected))
    }

    fn end(&mut self) -> Result<(), ParseAddressError> {
        match self.0.next() {
            None => Ok(()),
            Some(part) => Err(ParseAddressError::TrailingPart(shown(part))),
        }
    }
}

fn shown(part: &str) -> String {
    part.chars().take(64).collect()
}

fn unexpected(found: &str, expected: &'static str) -> ParseAddressError {
    ParseAddressError::Unexpected { found: shown(found), expected }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix('/').ok_or(ParseAddressError::NoSlash)?;
        let mut parts = Parts(path.split('/'));
        let first = parts.next("a peer id or a kind of host")?;
        match first {
            "ip4" | "ip6" | "dns4" | "dns6" => multiaddr(first, parts),
            _ => webrtc(first.parse()?, parts),
        }
    }
}

/// What follows a complete WebRTC address is ignored, as the existing node does.
fn webrtc(peer_id: PeerId, mut parts: Parts<'_>) -> Result<Address, ParseAddressError> {
    let expected = "`http`, `https`, `https_proxy` or `p2p`";
    let signaling = match parts.next(expected)? {
        "http" => {
            let (host, port) = host_and_port(&mut parts)?;
            Signaling::Http { host, port }
        }
        "https" => {
            let (host, port) = host_and_port(&mut parts)?;
            Signaling::Https { host, port }
        }
        "https_proxy" => {
            let cluster = parts.number("a cluster id below 65,536")?;
            let (host, port) = host_and_port(&mut parts)?;
            Signaling::HttpsProxy { cluster, host, port }
        }
        "p2p" => Signaling::Relay { peer_id: parts.next("the relay's peer id")?.parse()? },
        found => return Err(unexpected(found, expected)),
    };
    Ok(Address::WebRtc { peer_id, signaling })
}

fn host_and_port(parts: &mut Parts<'_>) -> Result<(Host, u16), ParseAddressError> {
    Ok((parts.next("a host")?.parse()?, parts.number("a port")?))
}

fn multiaddr(kind: &str, mut parts: Parts<'_>) -> Result<Address, ParseAddressError> {
    let host = parts.next("a host")?;
    let host = match kind {
        "ip4" => host.parse().map(Host::Ipv4).map_err(|_| ParseHostError::BadIpv4)?,
        "ip6" => host.parse().map(Host::Ipv6).map_err(|_| ParseHostError::BadIpv6)?,
        _ => host.parse()?,
    };
    let expected = "`tcp` or `udp`";
    let is_quic = match parts.next(expected)? {
        "tcp" => false,
        "udp" => true,
        found => return Err(unexpected(found, expected)),
    };
    let port = parts.number("a port")?;
    if is_quic {
        parts.word("mina-quic")?;
    }
    parts.word("p2p")?;
    let peer_id = PeerId::from_libp2p(parts.next("a peer id")?)?;
    parts.end()?;
    Ok(if is_quic { Address::Quic { peer_id, host, port } } else { Address::Libp2p { peer_id, host, port } })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebRtc { peer_id, signaling } => write!(f, "/{peer_id}{signaling}"),
            Self::Libp2p { peer_id, host, port } => {
                write!(f, "{}/tcp/{port}/p2p/{}", MultiaddrHost(host), peer_id.to_libp2p())
            }
            Self::Quic { peer_id, host, port } => {
                write!(f, "{}/udp/{port}/mina-quic/p2p/{}", MultiaddrHost(host), peer_id.to_libp2p())
            }
        }
    }
}

impl fmt::Display for Signaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port } => write!(f, "/http/{host}/{port}"),
            Self::Https { host, port } => write!(f, "/https/{host}/{port}"),
            Self::HttpsProxy { cluster, host, port } => write!(f, "/https_proxy/{cluster}/{host}/{port}"),
            Self::Relay { peer_id } => write!(f, "/p2p/{peer_id}"),
        }
    }
}

struct MultiaddrHost<'a>(&'a Host);

impl fmt::Display for MultiaddrHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Domain(name) => write!(f, "/dns4/{name}"),
            Host::Ipv4(address) => write!(f, "/ip4/{address}"),
            Host::Ipv6(address) => write!(f, "/ip6/{address}"),
        }
    }
}
