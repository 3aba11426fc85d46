//! A networking layer for Mina nodes.
//!
//! Peers *pull*: a peer sends a block, the news of a transaction, an answer only when its receiver has permitted it,
//! so the receiver sets the pace and nothing queues without bound. A [`Node`] keeps authenticated connections, speaks
//! the pull protocol on them, and tells its user what happened in [`Event`]s.
//!
//! ```no_run
//! use std::time::Duration;
//! use mina_p2p::{ChainId, Event, Node, SecretKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain_id: ChainId = "a7351abc7ddf2ea92d1b38cc8e636c271c1dfd2c081c637f62ebc2af34eb7cc1".parse()?;
//! let node = Node::builder(Node::generate_key()?, chain_id)
//!     .listen("0.0.0.0:8302".parse()?)
//!     .initial_peer("/ip4/203.0.113.7/udp/8302/mina-quic/p2p/12D3KooWSsChzF81YDUKpe9Uk5AHV5oqAaXAcWNSPYgoLauUk4st".parse()?)
//!     .start()?;
//! loop {
//!     for event in node.wait(64, Duration::from_secs(1)) {
//!         if let Event::BestTip { peer, block, .. } = event {
//!             println!("{peer} has a block of {} bytes", block.len());
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! The layers below are crates of their own: `mina-p2p-wire` (bytes), `mina-p2p-block` (what is in a block; here as
//! [`block`]), `mina-p2p-protocol` (state machines without I/O) and `mina-p2p-transport` (connections).

mod blocks;
mod config;
mod core;
#[cfg(feature = "webrtc")]
mod desk;
mod dialing;
mod event;
mod figures;
mod introductions;
mod items;
mod link;
mod node;
mod peering;
mod queue;
mod relay;
mod transports;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use mina_p2p_block as block;
pub use mina_p2p_protocol::relay::{BlockFailure, HowItCame, RelayConfig, UnknownBlock, Via};
pub use mina_p2p_protocol::router::{BANS_MAX, Refusal, SlotLimits};
pub use mina_p2p_protocol::{
    Answer, ExtensionService, IncomingRequest, Request, RequestError, RequestFailure, RespondError, Response,
    SessionLimits,
};
#[cfg(feature = "webrtc")]
pub use mina_p2p_transport::webrtc::Figures as WebRtcFigures;
pub use mina_p2p_transport::{
    BudgetFigures, CloseReason, ConnectError, Direction, Limits as TransportLimits, Listener, Transport, TransportKind,
    TransportStats,
};
pub use mina_p2p_wire::{Address, ChainId, Channel, Host, PeerId, PublicKey, SecretKey, Signaling, message};

pub use crate::config::{Builder, DEFAULT_AGENT, InvalidConfiguration, Limits};
pub use crate::event::{DialError, Event, RequestId, ResponderId};
pub use crate::figures::PeerFigures;
pub use crate::node::{CommandError, Node, StartError};
pub use crate::queue::{EVENTS_PAUSE, Wake};
pub use crate::transports::TRANSPORTS;

/// Takes a lock. A panic while it was held has been reported as [`Event::TaskFailed`], and each of our structures is
/// whole again before anything that can panic: going on is better than panicking in every other task too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
