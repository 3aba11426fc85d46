//! What a session answers to its inputs.

use std::collections::VecDeque;

use bytes::Bytes;
use mina_p2p_wire::message::{BlockKey, SnarkInfo, SnarkJobCommitment, StagedLedgerPart, StateHash, TransactionInfo};
use mina_p2p_wire::{Frame, StreamId};

use crate::Time;
use crate::compact::News;
use crate::config::OUTPUT_OVERHEAD;
use crate::figures::Traffic;
use crate::introductions::Introduction;
use crate::request::{Answer, IncomingId, IncomingRequest, RequestFailure, RequestId};

/// What to do next. Drain after every input, until [`Output::Timeout`] or [`Output::Idle`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// End our side of a stream without finishing it, and stop reading it: that is how a stream of a request ends.
    Reset {
        /// Which. It may have ended already, or not be open yet.
        stream: StreamId,
        /// Why.
        why: ResetReason,
    },
    /// Tell the user.
    Event(Event),
    /// Nothing more for now. Call [`Session::handle_timeout`](crate::Session::handle_timeout) at `at`, unless another
    /// input comes first.
    Timeout {
        /// When.
        at: Time,
        /// What for.
        reason: TimeoutReason,
    },
    /// Nothing more, and nothing waits for time to pass.
    Idle,
}

/// A message to send, in order with the others of its stream.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Transmit {
    /// Where. With [`Lanes::PerRole`](crate::Lanes::PerRole) a stream on which we are the puller is to be opened if it
    /// is not open.
    pub stream: StreamId,
    /// The message.
    pub frame: Frame,
    /// Whether it is the last that we send on this stream.
    pub fin: bool,
}

/// How a peer ended its side of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamEnd {
    /// After a whole message.
    Finished,
    /// At once; or it stopped reading what we send.
    Reset,
}

/// Why we end a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum ResetReason {
    /// The request was cancelled, by our user or by the peer.
    Cancelled = 1,
    /// The request's deadline passed.
    TimedOut = 2,
    /// The request has ended: nothing more is asked for on its stream.
    Done = 3,
}

impl ResetReason {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32
    }
}

/// What the next timeout is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimeoutReason {
    /// A request of ours gets no answer in time.
    Request,
    /// A staged ledger that we pull makes no progress.
    StagedLedger,
    /// The peer's requests may be taken up again: their rate was above the limit.
    Rate,
    /// A request of the peer's was not answered by our user: the peer is told that we do not have it.
    Unanswered,
    /// An introduction is to go on, or has taken too long.
    Introduction,
    /// A slot that an abandoned request of ours held is free again.
    Slot,
}

/// Why a request of the peer's needs no answer any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CancelReason {
    /// The peer cancelled it.
    Peer,
    /// It waited for too long, and was answered with "not available".
    Unanswered,
}

/// What happened. An event that a permit was for holds the next permit back until it is
/// [processed](crate::Session::processed).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The peer's best tip. Hold for [`Processed::BestTip`].
    BestTip {
        /// The block.
        block: Bytes,
        /// Its name.
        key: BlockKey,
        /// Its parent's state hash, from its own bytes.
        previous_state_hash: StateHash,
    },
    /// The peer has a transaction. Hold for [`Processed::Transaction`]; at once, if the pool has it already
    /// ([`Pools::has_transaction`](crate::Pools::has_transaction)).
    Transaction {
        /// What the peer says of it.
        info: TransactionInfo,
    },
    /// The peer has a completed work. Hold for [`Processed::Work`].
    Work {
        /// What the peer says of it.
        info: SnarkInfo,
    },
    /// The peer knows of a commitment. Hold for [`Processed::Commitment`].
    Commitment {
        /// The commitment, whole.
        commitment: SnarkJobCommitment,
    },
    /// The peer tells of a block; for [`Relay::news`](crate::relay::Relay::news).
    BlockNews {
        /// What it tells.
        news: News,
        /// Whether our permit is used up by it.
        used_permit: bool,
    },
    /// A step of an introduction; for [`Router::introduction`](crate::router::Router::introduction).
    Introduction(Introduction),
    /// The peer asks for something: [respond](crate::Session::respond).
    Request {
        /// Names it.
        id: IncomingId,
        /// What is asked.
        request: IncomingRequest,
    },
    /// A request needs no answer any more.
    RequestCancelled {
        /// Which.
        id: IncomingId,
        /// Why.
        why: CancelReason,
    },
    /// A request of ours has ended.
    Response {
        /// Which.
        id: RequestId,
        /// How.
        answer: Result<Answer, RequestFailure>,
    },
    /// A part of a staged ledger. Hold for [`Processed::StagedLedgerPart`], which asks for the next. After the last
    /// comes [`Event::Response`].
    StagedLedgerPart {
        /// The request.
        id: RequestId,
        /// Counts from 0.
        index: u32,
        /// The part.
        part: StagedLedgerPart,
    },
}

/// An event that the user has taken, so that its permit may be renewed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Processed {
    /// [`Event::BestTip`].
    BestTip,
    /// One [`Event::Transaction`].
    Transaction,
    /// One [`Event::Work`].
    Work,
    /// One [`Event::Commitment`].
    Commitment,
    /// [`Event::StagedLedgerPart`] of this request.
    StagedLedgerPart(RequestId),
}

/// The outputs that wait to be drained, and the traffic that went through.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Output>,
    bytes: usize,
    pub(crate) traffic: Traffic,
}

impl Outbox {
    pub(crate) fn transmit(&mut self, stream: StreamId, frame: Frame, fin: bool) {
        self.traffic.sent(stream.channel, frame.len());
        self.push(Output::Transmit(Transmit { stream, frame, fin }));
    }

    pub(crate) fn reset(&mut self, stream: StreamId, why: ResetReason) {
        self.push(Output::Reset { stream, why });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        let output = self.queue.pop_front()?;
        self.bytes -= weight(&output);
        Some(output)
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.bytes = 0;
    }

    /// What waits here, payloads and storage.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, output: Output) {
        self.bytes += weight(&output);
        self.queue.push_back(output);
    }
}

fn weight(output: &Output) -> usize {
    let payload = match output {
        Output::Transmit(transmit) => transmit.frame.len(),
        Output::Event(Event::BestTip { block, .. }) => block.len(),
        Output::Event(Event::BlockNews { news, .. }) => news.len(),
        Output::Event(Event::Request { request: IncomingRequest::Extension { body, .. }, .. }) => body.len(),
        Output::Event(Event::Introduction(introduction)) => introduction.len(),
        Output::Event(Event::Response { answer: Ok(answer), .. }) => crate::rpc::answer_len(answer),
        Output::Event(Event::StagedLedgerPart { part, .. }) => part.body.len(),
        _ => 0,
    };
    OUTPUT_OVERHEAD + payload
}
