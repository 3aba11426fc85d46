//! UDP sockets that QUIC and WebRTC share.
//!
//! A [`Port`] is one socket. Its datagrams are told apart by their first byte (RFC 9443, section 3): [`DatagramKind`]. STUN, which
//! finds out how a socket looks from outside, is in [`stun`].

mod port;
mod queries;
#[cfg(feature = "quic")]
mod quic;
mod sort;
pub mod stun;

pub use port::{DatagramSink, Port, PortFigures};
pub use queries::{MAX_STUN_QUERIES, StunQueries, StunQuery};
pub use sort::DatagramKind;
