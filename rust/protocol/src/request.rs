//! Requests and answers, ours and the peer's.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::{
    ExtensionError, InvalidExtensionName, RpcRequest, RpcResponse, StagedLedgerPart, StateHash,
};

/// Names a request that we made, within its session. On the wire it is the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Names a request of the peer's, within its session. Ours, not the peer's number: it is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IncomingId(pub u64);

/// What can be asked of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A request of channel 7.
    Rpc(RpcRequest),
    /// The staged ledger of a block in parts (channel 8). Each part comes as
    /// [`Event::StagedLedgerPart`](crate::Event::StagedLedgerPart); the next is asked for when that was
    /// [processed](crate::Processed::StagedLedgerPart).
    StagedLedgerParts(StateHash),
    /// A request by name (channel 16), to peers that announce the capability.
    Extension {
        /// The method, at most 64 bytes.
        name: String,
        /// Its version.
        version: u32,
        /// Its argument, at most [`SessionLimits::extension_query`](crate::SessionLimits::extension_query) bytes.
        body: Bytes,
        /// The longest answer to accept, in bytes; at most
        /// [`SessionLimits::extension_answer`](crate::SessionLimits::extension_answer) is granted.
        max_answer: u32,
        /// How long to wait; at most [`EXTENSION_DEADLINE_MAX`](crate::EXTENSION_DEADLINE_MAX) is granted.
        deadline: Duration,
    },
}

/// A peer's request that is to be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IncomingRequest {
    /// A request of channel 7.
    Rpc(RpcRequest),
    /// The staged ledger of a block in parts.
    StagedLedgerParts(StateHash),
    /// A request by name. Only names and versions that the session was configured with arrive.
    Extension {
        /// The method.
        name: String,
        /// Its version.
        version: u32,
        /// Its argument.
        body: Bytes,
        /// The longest answer that the peer accepts, or that we may give, in bytes.
        max_answer: u32,
    },
}

/// Our answer to an [`IncomingRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To [`IncomingRequest::Rpc`], of the kind that was asked for; `None` if we do not have it.
    Rpc(Option<RpcResponse>),
    /// To [`IncomingRequest::StagedLedgerParts`]: all parts in order; `None` if we do not have it.
    StagedLedgerParts(Option<Vec<StagedLedgerPart>>),
    /// To [`IncomingRequest::Extension`].
    Extension(Result<Bytes, ExtensionError>),
}

/// A peer's answer to a [`Request`]. The bytes are as the peer sent them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Request::Rpc`], of the kind that was asked for; `None` if the peer does not have it.
    Rpc(Option<RpcResponse>),
    /// To [`Request::StagedLedgerParts`]: all parts have come, this many; `None` if the peer does not have it (any
    /// more: it may say so between parts).
    StagedLedgerParts(Option<u32>),
    /// To [`Request::Extension`].
    Extension(Result<Bytes, ExtensionError>),
}

/// Why a request of ours was not even queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// As many requests wait already as may.
    #[error("{limit} requests to this peer wait already")]
    TooMany {
        /// How many may wait.
        limit: usize,
    },
    /// The peer did not announce that it speaks this.
    #[error("the peer does not support this request")]
    NotSupported,
    /// The argument is too long.
    #[error("an argument of {len} bytes where {max} are allowed")]
    BodyTooLong {
        /// Its length.
        len: usize,
        /// The longest that may be.
        max: usize,
    },
    /// The method's name is empty or too long.
    #[error(transparent)]
    InvalidName(#[from] InvalidExtensionName),
    /// The session has ended with a violation.
    #[error("the session has ended")]
    Ended,
}

/// Why a request of ours got no answer. The connection lives on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The peer ended the request's stream without an answer.
    #[error("the peer dropped the request")]
    Dropped,
    /// The connection ended first. A session never says so itself: it is for whoever owns the connection.
    #[error("the connection ended")]
    Disconnected,
}

/// Why an answer of ours was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// Nobody waits for it: the id is wrong, the request was answered, cancelled, or waited too long.
    #[error("the peer no longer waits for this answer")]
    Gone,
    /// It is not the kind that was asked for. The request still waits.
    #[error("an answer of another kind than the request")]
    WrongKind,
    /// It is longer than our limits allow, or than the peer accepts. The request still waits.
    #[error("an answer of {len} bytes where {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest that may be.
        max: usize,
    },
    /// The parts of a staged ledger are not base, scan state base, previous incomplete zkApp updates, and as many trees
    /// as the base counts. The request still waits.
    #[error("the parts of the staged ledger are not complete and in order")]
    WrongParts,
}
