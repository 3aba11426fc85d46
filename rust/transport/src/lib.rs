//! Authenticated, framed connections between Mina nodes: QUIC, WebRTC and an in-memory transport.
//!
//! A [`Transport`] dials and listens. A [`Connection`] belongs to a peer whose key has been proved and whose
//! [`Hello`](mina_p2p_wire::message::Hello) has been checked. It carries streams: the puller opens one per channel or request, the
//! stream starts with the channel's id, and then frames go both ways, each a length and a body.
//!
//! The transport bounds what a peer can make us hold and for how long ([`Limits`], [`FrameBudget`]) and names every
//! refusal ([`CloseReason`]). What frames mean, and when one is allowed, is the session's business: it is asked between
//! [`RecvStream::read_head`] and [`RecvStream::read_body`].

#[cfg(feature = "udp")]
mod admission;
mod budget;
mod connection;
mod credit;
mod error;
mod hello;
pub mod limits;
pub mod memory;
#[cfg(feature = "quic")]
pub mod quic;
mod reason;
#[cfg(feature = "udp")]
mod step;
mod stream;
mod transport;
#[cfg(feature = "udp")]
pub mod udp;
#[cfg(feature = "webrtc")]
pub mod webrtc;

pub use budget::{BudgetFigures, FrameBudget, Reservation};
pub use error::{AcceptError, ConnectError, ListenError, StreamError};
pub use limits::Limits;
pub use reason::{CloseReason, MAX_REASON_LEN};
#[cfg(feature = "udp")]
pub use step::ConnectStep;
pub use stream::{ReceivedBody, RecvStream, STREAM_DROPPED, SendStream};
pub use transport::{BoxFuture, Connection, Direction, Incoming, Listener, Transport, TransportKind, TransportStats};
