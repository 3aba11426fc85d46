//! What the relay wants done, and what it tells the user.

use bytes::Bytes;
use mina_p2p_block::Header;
use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::{BlockKey, StateHash};

use crate::Request;
use crate::router::ConnectionId;
use crate::violation::Violation;

use super::work::Job;
#[cfg(doc)]
use super::{BODY_TIMEOUT, Relay, UNFINISHED_MAX, VERDICT_TIMEOUT};
#[cfg(doc)]
use crate::pools::Pools;

/// Names a question of the relay's. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What to do. Drain after every input with [`Relay::poll_output`].
#[derive(Debug)]
#[must_use]
pub enum RelayOutput {
    /// Permit a peer to tell of a block: [`Session::permit_block`](crate::Session::permit_block).
    Permit {
        /// Whom.
        to: ConnectionId,
        /// The most bytes of its message.
        max_len: u32,
    },
    /// Change its permit: [`Session::change_block_permit`](crate::Session::change_block_permit).
    Change {
        /// Whose.
        to: ConnectionId,
        /// The most bytes of its message from now on.
        max_len: u32,
    },
    /// Put a request to a peer, and report its end with [`Relay::answered`].
    Ask {
        /// Whom.
        to: ConnectionId,
        /// Names the question.
        ask: AskId,
        /// What.
        request: Request,
    },
    /// Cancel a request. Its end is not to be reported.
    Cancel {
        /// Whom it was put to.
        to: ConnectionId,
        /// Which.
        ask: AskId,
    },
    /// Run this, best outside of all locks, and report with [`Relay::worked`].
    Work(Box<Job>),
    /// Tell the user, and report with [`Relay::taken`] that it has taken it.
    Event(RelayEvent),
    /// A peer has broken a rule: close the connection. The relay has forgotten it.
    Violation {
        /// Which.
        by: ConnectionId,
        /// The rule.
        violation: Violation,
    },
    /// [`Pools::blocks`] has something new: let every session look.
    Relayed,
}

/// What the user is told.
#[derive(Debug, Clone)]
pub enum RelayEvent {
    /// There is a block with this header; its body is being fetched. A verdict is due within [`VERDICT_TIMEOUT`].
    Header {
        /// Who told of it first.
        peer: PeerId,
        /// The block's name.
        key: BlockKey,
        /// The header.
        bytes: Bytes,
        /// What it says.
        header: Box<Header>,
    },
    /// A block's body was verified: it is the one that the header names.
    Block {
        /// Who told of it first.
        peer: PeerId,
        /// The block's name.
        key: BlockKey,
        /// The block.
        block: Bytes,
        /// The state hash of its parent, as it says.
        previous_state_hash: StateHash,
        /// How it came.
        how: HowItCame,
    },
    /// A block's body could not be had. Its header may be accepted already; if not, a verdict on it still lets the peers that
    /// told of it tell of the next.
    Failed {
        /// The block's name.
        key: BlockKey,
        /// Why.
        reason: BlockFailure,
    },
}

/// Why a block's body could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BlockFailure {
    /// No peer gave it within [`BODY_TIMEOUT`].
    #[error("no peer gave its body in time")]
    Unavailable,
    /// The header names something that is no body.
    #[error("its header commits to something that is no body")]
    NoBody,
    /// More than [`UNFINISHED_MAX`] blocks wait for their bodies.
    #[error("too many blocks wait for their bodies")]
    TooMany,
}

/// By what a body came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A list of its items, from the pools.
    List,
    /// Chunks, verified one by one.
    Chunks,
    /// RPC `Block`.
    Whole,
}

/// How a block came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HowItCame {
    /// By what.
    pub via: Via,
    /// What was received for it: header, list, and the answers to our questions, in bytes.
    pub received: usize,
    /// How many items it has.
    pub items: usize,
    /// How many of them the pools had.
    pub hits: usize,
    /// How many came with the list.
    pub prefilled: usize,
    /// How many were fetched.
    pub fetched: usize,
    /// How often we asked and waited.
    pub round_trips: u32,
}

/// A verdict on a block that is not, or no longer, known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no block {0} waits for a verdict")]
pub struct UnknownBlock(
    /// The block.
    pub BlockKey,
);
