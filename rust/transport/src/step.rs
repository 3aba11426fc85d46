//! How far a dial has come.

use std::net::SocketAddr;

/// How far a dial has come. They come in this order; QUIC has no signaling, paths and SCTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStep {
    /// The host's addresses are known.
    Resolved(Vec<SocketAddr>),
    /// The signaling server has taken the connection.
    SignalingConnected(SocketAddr),
    /// The answer has come, and is good.
    Answered,
    /// A path that works both ways was found (ICE).
    PathFound,
    /// DTLS is up; QUIC: its handshake is complete.
    Encrypted,
    /// SCTP is up: streams can be used.
    StreamsOpen,
    /// The peer has proved who it is, and said hello.
    Authenticated,
}
