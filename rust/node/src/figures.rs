//! What a node tells of its peers.

use std::net::SocketAddr;
use std::time::Duration;

use mina_p2p_protocol::Figures;
use mina_p2p_transport::{Direction, TransportKind, TransportStats};
use mina_p2p_wire::PeerId;

use crate::core::Core;
use crate::link::Link;

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerFigures {
    /// Who.
    pub peer: PeerId,
    /// Where.
    pub address: SocketAddr,
    /// Who opened the connection.
    pub direction: Direction,
    /// What carries it.
    pub transport: TransportKind,
    /// What the peer calls itself; nothing, if it is not of our own kind. It can say anything: escape it before it is shown.
    pub agent: String,
    /// Since when it is connected.
    pub connected_for: Duration,
    /// The round trip time, as the transport estimates it now.
    pub rtt: Duration,
    /// Bytes on the wire, packet heads and repetitions included.
    pub wire: TransportStats,
    /// Messages by channel, the last tips, permits out.
    pub session: Figures,
}

impl PeerFigures {
    pub(crate) fn of(core: &Core, link: &Link) -> PeerFigures {
        PeerFigures {
            peer: link.peer,
            address: link.connection.remote_address(),
            direction: link.connection.direction(),
            transport: link.connection.transport(),
            agent: link.connection.remote_hello().map(|hello| hello.agent.clone()).unwrap_or_default(),
            connected_for: core.now().saturating_since(link.since),
            rtt: link.connection.rtt(),
            wire: link.connection.stats(),
            session: link.driven().session.figures(),
        }
    }
}
