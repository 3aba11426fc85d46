//! The Mina pull protocol as deterministic state machines: sessions, pool logs, the router.
//!
//! Nothing here has sockets, threads, clocks or randomness. A [`Session`] is one authenticated peer: it is fed what the
//! peer sent, with the time, and answers what to send, what to tell the user, and when to be woken. [`Pools`] are what
//! it serves from. The receiver decides: nothing comes that was not permitted, and a permit is renewed only when the
//! user has taken what came before.
//!
//! ```
//! use bytes::Bytes;
//! use mina_p2p_protocol::{Event, Lanes, Output, Pools, Session, SessionConfig, SessionLimits, Time, Tip};
//! use mina_p2p_wire::message::Capabilities;
//! use mina_p2p_wire::{DecodeError, PeerId, Role, StateHash, StreamId};
//!
//! /// Carries over to `to` what `from` wants sent, and answers what it tells its user.
//! fn carry(from: &mut Session, to: &mut Session, pools: &Pools) -> Vec<Event> {
//!     let (now, mut events) = (Time::ZERO, Vec::new());
//!     from.pump(now, pools);
//!     loop {
//!         match from.poll_output() {
//!             Output::Transmit(sent) => {
//!                 // Whoever opened a stream pulls on it, the other side serves.
//!                 let pulls = sent.stream.role == Role::Puller;
//!                 let stream = StreamId { role: if pulls { Role::Server } else { Role::Puller }, ..sent.stream };
//!                 if pulls {
//!                     to.handle_stream_opened(now, stream).expect("its first on this channel");
//!                 }
//!                 to.handle_frame_head(now, stream, sent.frame.len() as u32).expect("a length that may be");
//!                 to.handle_message(now, stream, sent.frame.into_bytes()).expect("a message that may be");
//!             }
//!             Output::Event(event) => events.push(event),
//!             Output::Reset { .. } => {}
//!             Output::Timeout { .. } | Output::Idle => return events,
//!         }
//!     }
//! }
//!
//! let session = |peer| {
//!     let config = SessionConfig {
//!         peer: PeerId::from_bytes([peer; 32]),
//!         ours: true,
//!         capabilities: Capabilities::POOLS_UNGATED,
//!         lanes: Lanes::PerRole,
//!         limits: SessionLimits::default(),
//!         own_capabilities: Capabilities::POOLS_UNGATED,
//!         extension_rpcs: Vec::new(),
//!         introduce: false,
//!         take_offers: false,
//!         seed: 0,
//!     };
//!     Session::new(config, Time::ZERO)
//! };
//! let (mut ours, mut theirs) = (session(2), session(1));
//! let mut pools = Pools::default();
//! pools.tip = Some(Tip::new(StateHash([7; 32]), Bytes::from_static(&[0; 1000]))?);
//!
//! carry(&mut theirs, &mut ours, &Pools::default()); // Their permit to us.
//! carry(&mut ours, &mut theirs, &pools); // Our tip to them.
//! let events = carry(&mut theirs, &mut ours, &Pools::default());
//! assert!(matches!(events.as_slice(), [Event::BestTip { block, .. }] if block.len() == 1000));
//! # Ok::<(), DecodeError>(())
//! ```

mod answering;
mod asking;
mod best_tip;
mod block_answer;
mod blocks;
mod compact;
mod config;
mod extension;
mod figures;
mod introductions;
mod lane;
mod output;
mod pool;
mod pool_log;
mod pools;
mod rate;
pub mod relay;
mod request;
pub mod router;
mod rpc;
mod session;
mod streaming_rpc;
mod time;
mod violation;

pub use block_answer::BlockReply;
pub use blocks::{BLOCKS_BYTES, BLOCKS_MAX, Blocks, Content, StoredBlock};
pub use compact::{ADVANCES_MAX, News, PERMIT_LEN_MAX, TOLD_MAX};
pub use config::{ExtensionService, Lanes, SessionConfig, SessionLimits};
pub use extension::EXTENSION_DEADLINE_MAX;
pub use figures::{ChannelFigures, Figures, PermitsOut};
pub use introductions::{
    ASK_AGAIN_AFTER, INTRODUCTION_TIMEOUT, INTRODUCTIONS_APART, Introduction, IntroductionError, IntroductionOrder,
    OWN_SIGNAL_TIMEOUT,
};
pub use lane::shared_stream;
pub use output::{CancelReason, Event, Output, Processed, ResetReason, StreamEnd, TimeoutReason, Transmit};
pub use pool_log::{Change, Entry, POOL_LOG_BYTES, POOL_LOG_ITEMS, PoolLog};
pub use pools::{Pools, Tip};
pub use request::{
    Answer, IncomingId, IncomingRequest, Request, RequestError, RequestFailure, RequestId, RespondError, Response,
};
pub use rpc::{REQUEST_STREAMS_MAX, REQUESTS_MAX, SLOT_HELD, rpc_cost, rpc_deadline};
pub use session::Session;
pub use streaming_rpc::{NEXT_DEADLINE, PART_DEADLINE, STAGED_LEDGER_PARTS_COST, STREAMED_OPEN_MAX};
pub use time::Time;
pub use violation::{Rule, Violation};
