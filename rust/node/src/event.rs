//! What a node tells its user, and how the user names what it answers.

use std::net::SocketAddr;

use bytes::Bytes;
use mina_p2p_protocol::relay::{BlockFailure, HowItCame};
use mina_p2p_protocol::router::{ConnectionId, Refusal};
use mina_p2p_protocol::{Answer, IncomingId, IncomingRequest, RequestFailure};
use mina_p2p_transport::{CloseReason, ConnectError, Direction, TransportKind};
use mina_p2p_wire::message::{BlockKey, SnarkInfo, SnarkJobCommitment, StagedLedgerPart, StateHash, TransactionInfo};
use mina_p2p_wire::{Address, PeerId};

/// Names a request that this node made. Unique within the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    pub(crate) connection: ConnectionId,
    pub(crate) request: mina_p2p_protocol::RequestId,
}

impl RequestId {
    /// The id as two numbers, for callers that keep it outside Rust.
    pub fn to_parts(self) -> (u64, u64) {
        (self.connection.0, self.request.0)
    }

    /// The inverse of [`RequestId::to_parts`]. Any two numbers are an id; one that names no request is harmless.
    pub fn from_parts(connection: u64, request: u64) -> RequestId {
        RequestId { connection: ConnectionId(connection), request: mina_p2p_protocol::RequestId(request) }
    }
}

/// Names a peer's request that waits for this node's answer. Unique within the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponderId {
    pub(crate) connection: ConnectionId,
    pub(crate) incoming: IncomingId,
}

impl ResponderId {
    /// The id as two numbers, for callers that keep it outside Rust.
    pub fn to_parts(self) -> (u64, u64) {
        (self.connection.0, self.incoming.0)
    }

    /// The inverse of [`ResponderId::to_parts`]. Any two numbers are an id; one that names no request is harmless.
    pub fn from_parts(connection: u64, incoming: u64) -> ResponderId {
        ResponderId { connection: ConnectionId(connection), incoming: IncomingId(incoming) }
    }
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// This node did not dial or keep the connection.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The transport could not connect, or the peer refused.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No transport of this node can reach such an address.
    #[error("no transport for this kind of address")]
    NoTransport,
}

/// What happened. Taken from the node with [`Node::poll`](crate::Node::poll); taking an event is what permits the
/// peer to send the next item of its kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An authenticated connection to a peer was made.
    PeerConnected {
        /// Who.
        peer: PeerId,
        /// From where.
        address: SocketAddr,
        /// Who opened it.
        direction: Direction,
        /// What carries it.
        transport: TransportKind,
    },
    /// The connection to a peer has ended. Requests to it have failed before this event.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
        /// Why, as far as known: the reason that either side gave.
        reason: CloseReason,
    },
    /// A dial came to nothing. An initial peer is dialed again after a back-off.
    DialFailed {
        /// What was dialed; of several addresses, the last one of the preferred transport.
        address: Address,
        /// Why it failed.
        reason: DialError,
    },
    /// The best tip of a peer that does not speak compact blocks, or one that cannot travel so; all other blocks come as
    /// [`Event::Header`] and [`Event::Block`]. The bytes are as the peer sent them: not verified in any way.
    BestTip {
        /// Who sent it.
        peer: PeerId,
        /// The block, one shared buffer.
        block: Bytes,
        /// The block's name within the library.
        key: BlockKey,
        /// The parent's state hash, from the block's own bytes.
        previous_state_hash: StateHash,
    },
    /// There is a block with this header, and its body is being fetched. Answer, within 30 s, with
    /// [`Node::accept_header`](crate::Node::accept_header) if the header is valid, or with
    /// [`Node::ignore`](crate::Node::ignore) or [`Node::reject`](crate::Node::reject). It comes once for each block that
    /// peers with compact blocks tell of, and before its [`Event::Block`]. Of a block above 4 MiB the body is only fetched once the
    /// header is accepted; and while 16 of these events are not polled, no further block is told of.
    Header {
        /// Who told of it first.
        peer: PeerId,
        /// The block's name within the library.
        key: BlockKey,
        /// Its height, as the header says.
        height: u32,
        /// The parent's state hash, as the header says.
        previous_state_hash: StateHash,
        /// The header: binprot, one shared buffer. Not verified in any way.
        header: Bytes,
    },
    /// The block of a [`Event::Header`] is here: its body is the one that the header names; nothing else is verified. If it is
    /// valid, [`Node::accept`](crate::Node::accept) relays it, unless its header was accepted already.
    Block {
        /// Who told of it first.
        peer: PeerId,
        /// The block's name within the library.
        key: BlockKey,
        /// The block, one buffer.
        block: Bytes,
        /// The parent's state hash, as the header says.
        previous_state_hash: StateHash,
        /// How it came.
        how: HowItCame,
    },
    /// The body of a block of a [`Event::Header`] could not be had. If there was no verdict on it, [`Node::ignore`](crate::Node::ignore)
    /// or [`Node::reject`](crate::Node::reject) lets whoever told of it tell of the next before the 30 s are over.
    BlockFailed {
        /// The block's name within the library.
        key: BlockKey,
        /// Why.
        reason: BlockFailure,
    },
    /// A peer offers a transaction that is not in our pool: fetch it from `peer` if it is wanted.
    Transaction {
        /// Who offers it.
        peer: PeerId,
        /// What the peer says of it.
        info: TransactionInfo,
    },
    /// A peer offers a completed work that is not in our pool.
    Work {
        /// Who offers it.
        peer: PeerId,
        /// What the peer says of it.
        info: SnarkInfo,
    },
    /// A peer tells of a commitment to a SNARK job.
    Commitment {
        /// Who told.
        peer: PeerId,
        /// The commitment, whole.
        commitment: SnarkJobCommitment,
    },
    /// A peer asks for something that the library does not hold itself: answer with
    /// [`Node::respond`](crate::Node::respond).
    Request {
        /// Who asks.
        peer: PeerId,
        /// Names the request in the answer.
        responder: ResponderId,
        /// What is asked.
        request: IncomingRequest,
    },
    /// A peer no longer waits for this answer: it cancelled, its deadline passed, or it disconnected.
    RequestCancelled {
        /// Who asked.
        peer: PeerId,
        /// The request that needs no answer now.
        responder: ResponderId,
    },
    /// A request of ours has ended.
    Response {
        /// Which.
        request: RequestId,
        /// Whom it was put to.
        peer: PeerId,
        /// How it ended. The bytes are as the peer sent them: not verified in any way.
        answer: Result<Answer, RequestFailure>,
    },
    /// A part of a staged ledger that was asked for.
    StagedLedgerPart {
        /// The request.
        request: RequestId,
        /// Whom it was put to.
        peer: PeerId,
        /// Counts from 0.
        index: u32,
        /// The part.
        part: StagedLedgerPart,
    },
    /// A task of this node panicked, which is a bug in the library: the node goes on without what the task did.
    TaskFailed {
        /// What the panic said.
        message: String,
    },
}
