//! RPC (channel 7): what its requests and answers may be. The tables of requests themselves, shared with channel 16,
//! are in `asking.rs` (ours) and `answering.rs` (the peer's).
//!
//! | half | state of a request | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we ask | waiting | we, when a slot is free | `Request`, at most 139 bytes | in flight |
//! | | in flight | the peer | `Response` of its id and kind, at most its kind's length | ended |
//! | | abandoned (cancelled, or too late) | the peer | the same; it is dropped | ended |
//! | we answer | - | the peer, if fewer than 5 others are open | `Request` of a new id | waiting |
//! | | waiting | nobody | until the rate allows it, and fewer than 5 are served | served |
//! | | served | we | `Response`, as our user says | ended |
//!
//! | request | answer, bytes | deadline | cost |
//! | --- | --- | --- | --- |
//! | best tip with proof | 4 MiB | 15 s | 10 |
//! | ledger query | 1 MiB | 4 s | 10 |
//! | staged ledger | 256 MiB | 180 s | 100 |
//! | block | 32 MiB | 8 s | 10 |
//! | work | 64 KiB | 8 s | 1 |
//! | transaction | 512 KiB | 8 s | 1 |
//! | initial peers | 1,024 addresses | 5 s | 10 |
//!
//! Deadlines are the existing node's, from the request to the head of its answer; the body may take as long as 64 KiB/s
//! need. 200 of costs are taken up in a second: 20 requests, or 200 of those that a node answers from its pools.
//!
//! With [`Lanes::PerRole`](crate::Lanes::PerRole) the asker resets its side of a request's stream when the request has
//! ended, answered or abandoned. After an abandoned one another takes its place at once: the two travel apart, so an answerer bears 10 open streams, and serves 5. On a shared stream nothing can be
//! called off: an abandoned request keeps its slot until its answer or [`SLOT_HELD`] after its deadline. The
//! existing node is asked one at a time.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::Address;
use mina_p2p_wire::message::{RpcKind, RpcResponse};

use crate::config::SessionLimits;
use crate::request::Answer;

/// Requests of one side that the other works on at once, channels 7 and 16 together. Part of the protocol: the existing
/// node drops a peer that has a sixth.
pub const REQUESTS_MAX: usize = 5;

/// Streams of requests that a peer may have open: [`REQUESTS_MAX`], and as many that it has reset while the resets are
/// still on their way.
pub const REQUEST_STREAMS_MAX: usize = 2 * REQUESTS_MAX;

/// How long an abandoned request still counts: on a stream of its own from its reset, on a shared one from its
/// deadline. An answer or a reset that takes longer comes over a connection that is dead.
pub const SLOT_HELD: Duration = Duration::from_secs(30);

/// The slowest that a body may come, in bytes a second: transports end those below.
const BODY_RATE_MIN: u32 = 64 * 1024;

/// How much later than its head a body of this length may be whole.
pub(crate) fn body_time(len: u32) -> Duration {
    Duration::from_secs(2 + u64::from(len / BODY_RATE_MIN))
}

/// How long to wait for the head of an answer. The existing node's timeouts.
#[must_use]
pub fn rpc_deadline(kind: RpcKind) -> Duration {
    Duration::from_secs(match kind {
        RpcKind::BestTipWithProof => 15,
        RpcKind::LedgerQuery => 4,
        RpcKind::StagedLedgerAux => 180,
        RpcKind::Block | RpcKind::Snark | RpcKind::Transaction => 8,
        RpcKind::InitialPeers => 5,
    })
}

/// What a request weighs against [`SessionLimits::request_rate`].
#[must_use]
pub fn rpc_cost(kind: RpcKind) -> u32 {
    match kind {
        RpcKind::BestTipWithProof | RpcKind::LedgerQuery | RpcKind::Block | RpcKind::InitialPeers => 10,
        RpcKind::StagedLedgerAux => 100,
        // Answered from memory by the library.
        RpcKind::Snark | RpcKind::Transaction => 1,
    }
}

/// How long our user has to answer a peer's request that the peer gives up after `deadline`. After that it is told that
/// we do not have it, while it still listens: the existing node drops a connection that leaves it waiting.
pub(crate) fn answer_time(deadline: Duration) -> Duration {
    deadline * 3 / 4
}

pub(crate) fn answer_max(limits: &SessionLimits, kind: RpcKind) -> u32 {
    match kind {
        RpcKind::BestTipWithProof => limits.best_tip_with_proof,
        RpcKind::LedgerQuery => limits.ledger_answer,
        RpcKind::StagedLedgerAux => limits.staged_ledger,
        RpcKind::Block => limits.block,
        RpcKind::Snark => limits.work,
        RpcKind::Transaction => limits.transaction,
        RpcKind::InitialPeers => limits.initial_peers,
    }
}

pub(crate) fn kind_name(kind: RpcKind) -> &'static str {
    match kind {
        RpcKind::BestTipWithProof => "best tip with proof",
        RpcKind::LedgerQuery => "ledger query",
        RpcKind::StagedLedgerAux => "staged ledger",
        RpcKind::Block => "block",
        RpcKind::Snark => "work",
        RpcKind::Transaction => "transaction",
        RpcKind::InitialPeers => "initial peers",
    }
}

/// The bytes that an answer keeps alive.
pub(crate) fn answer_len(answer: &Answer) -> usize {
    match answer {
        Answer::Rpc(Some(response)) => response_len(response),
        Answer::Extension(Ok(body)) => body.len(),
        Answer::Rpc(None) | Answer::StagedLedgerParts(_) | Answer::Extension(Err(_)) => 0,
    }
}

/// The bytes of an answer's body; of addresses, what they take in memory, which is more.
pub(crate) fn response_len(response: &RpcResponse) -> usize {
    match response {
        RpcResponse::InitialPeers(addresses) => addresses.len() * Address::MAX_LEN,
        opaque => opaque.payload().map_or(0, Bytes::len),
    }
}
