//! WebRTC: data channels over SCTP, DTLS and ICE (RFC 8831) with str0m, as the existing Mina Rust node speaks them.
//!
//! An offer goes to its target by HTTP or through a peer that both are connected to, and an answer comes back. Then both ends
//! find each other by ICE, and prove on stream 0 that they are who they said (docs/SPEC.md, "WebRTC").

mod answering;
mod attempt;
mod batch;
mod demux;
mod driver;
mod endpoint;
mod figures;
mod goodbye;
mod guard;
pub(crate) mod http;
pub mod limits;
mod link;
mod mailbox;
mod pace;
mod reflexive;
mod sdp;
mod sockets;
mod streams;

pub use endpoint::{Config, Endpoint, EndpointError, OfferDesk, RelayedOffer, StunServer};
pub use figures::Figures;
pub use http::SignalingFailure;
pub(crate) use streams::{Receiver, Sender};

pub use crate::ConnectStep;
