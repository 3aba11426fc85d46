//! Addresses: where a node is, by what transport, and who must answer there (docs/SPEC.md, "Addresses").

mod text;

use crate::binprot::{Binprot, DecodeError, MAX_U16_LEN, Reader, Writer};
use crate::host::Host;
use crate::identity::PeerId;

pub use text::ParseAddressError;

/// Where a node can be reached. Dialing it must find exactly the named peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// WebRTC, found through signaling.
    WebRtc {
        /// Who answers.
        peer_id: PeerId,
        /// Where the offer goes.
        signaling: Signaling,
    },
    /// libp2p over TCP. Carried, never dialed.
    Libp2p {
        /// Who answers.
        peer_id: PeerId,
        /// The host.
        host: Host,
        /// The TCP port.
        port: u16,
    },
    /// QUIC. Known to this protocol's own nodes only: never sent to others.
    Quic {
        /// Who answers.
        peer_id: PeerId,
        /// The host.
        host: Host,
        /// The UDP port.
        port: u16,
    },
}

/// How a WebRTC offer gets to its target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signaling {
    /// By HTTP.
    Http {
        /// The host.
        host: Host,
        /// The TCP port.
        port: u16,
    },
    /// By HTTPS.
    Https {
        /// The host.
        host: Host,
        /// The TCP port.
        port: u16,
    },
    /// By HTTPS, through a proxy in front of several nodes.
    HttpsProxy {
        /// Which of the nodes.
        cluster: u16,
        /// The proxy's host.
        host: Host,
        /// The proxy's TCP port.
        port: u16,
    },
    /// Through a peer that both are connected to.
    Relay {
        /// That peer.
        peer_id: PeerId,
    },
}

impl Address {
    /// The most bytes of the binprot form: two tags, the peer id, a cluster, a host and a port.
    pub const MAX_LEN: usize = 1 + PeerId::MAX_LEN + 1 + MAX_U16_LEN + Host::MAX_LEN + MAX_U16_LEN;

    /// Who must answer there.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        match self {
            Self::WebRtc { peer_id, .. } | Self::Libp2p { peer_id, .. } | Self::Quic { peer_id, .. } => *peer_id,
        }
    }

    /// The host, unless a relay stands between.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::WebRtc { signaling, .. } => signaling.host(),
            Self::Libp2p { host, .. } | Self::Quic { host, .. } => Some(host),
        }
    }

    /// The port, unless a relay stands between.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::WebRtc { signaling, .. } => signaling.port(),
            Self::Libp2p { port, .. } | Self::Quic { port, .. } => Some(*port),
        }
    }

    /// Whether only this protocol's own nodes can read it: one that does not know the kind ends the connection.
    #[must_use]
    pub fn is_extension(&self) -> bool {
        matches!(self, Self::Quic { .. })
    }
}

impl Signaling {
    /// The URL that an offer is posted to; none through a relay.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Http { host, port } => Some(format!("http://{host}:{port}/mina/webrtc/signal")),
            Self::Https { host, port } => Some(format!("https://{host}:{port}/mina/webrtc/signal")),
            Self::HttpsProxy { cluster, host, port } => {
                Some(format!("https://{host}:{port}/clusters/{cluster}/mina/webrtc/signal"))
            }
            Self::Relay { .. } => None,
        }
    }

    /// The host, unless a relay stands between.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Http { host, .. } | Self::Https { host, .. } | Self::HttpsProxy { host, .. } => Some(host),
            Self::Relay { .. } => None,
        }
    }

    /// The port, unless a relay stands between.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Http { port, .. } | Self::Https { port, .. } | Self::HttpsProxy { port, .. } => Some(*port),
            Self::Relay { .. } => None,
        }
    }
}

fn read_port(reader: &mut Reader) -> Result<u16, DecodeError> {
    reader.u16("port")
}

impl Binprot for Signaling {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match reader.tag(4, "signaling")? {
            0 => Self::Http { host: Host::read(reader)?, port: read_port(reader)? },
            1 => Self::Https { host: Host::read(reader)?, port: read_port(reader)? },
            2 => Self::HttpsProxy {
                cluster: reader.u16("cluster")?,
                host: Host::read(reader)?,
                port: read_port(reader)?,
            },
            _ => Self::Relay { peer_id: PeerId::read(reader)? },
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Http { host, port } => {
                writer.byte(0);
                host.write(writer);
                writer.u16(*port);
            }
            Self::Https { host, port } => {
                writer.byte(1);
                host.write(writer);
                writer.u16(*port);
            }
            Self::HttpsProxy { cluster, host, port } => {
                writer.byte(2);
                writer.u16(*cluster);
                host.write(writer);
                writer.u16(*port);
            }
            Self::Relay { peer_id } => {
                writer.byte(3);
                peer_id.write(writer);
            }
        }
    }
}

impl Binprot for Address {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let tag = reader.tag(3, "address")?;
        let peer_id = PeerId::read(reader)?;
        Ok(match tag {
            0 => Self::WebRtc { peer_id, signaling: Signaling::read(reader)? },
            1 => Self::Libp2p { peer_id, host: Host::read(reader)?, port: read_port(reader)? },
            _ => Self::Quic { peer_id, host: Host::read(reader)?, port: read_port(reader)? },
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::WebRtc { peer_id, signaling } => {
                writer.byte(0);
                peer_id.write(writer);
                signaling.write(writer);
            }
            Self::Libp2p { peer_id, host, port } => {
                writer.byte(1);
                peer_id.write(writer);
                host.write(writer);
                writer.u16(*port);
            }
            Self::Quic { peer_id, host, port } => {
                writer.byte(2);
                peer_id.write(writer);
                host.write(writer);
                writer.u16(*port);
            }
        }
    }
}
