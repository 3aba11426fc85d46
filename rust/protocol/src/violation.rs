//! The rules that a peer can break, each under a stable name.

use std::fmt;

use mina_p2p_block::LayoutError;
use mina_p2p_wire::Channel;
use mina_p2p_wire::binprot::DecodeError;
use mina_p2p_wire::message::BlockKey;

use crate::StreamEnd;

/// A broken rule. It ends the session: the connection is to be closed with this as the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}: {rule}", .channel.label(), .rule.name())]
pub struct Violation {
    /// Where it was broken.
    pub channel: Channel,
    /// Which rule, with the numbers.
    pub rule: Rule,
}

/// What was broken, and by how much. [`Rule::name`] is stable, for metrics; `Display` gives the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A message came where the state of its stream allows the peer none.
    UnexpectedMessage,
    /// A frame is longer than the state of its stream allows.
    FrameTooLong {
        /// Its length in bytes.
        len: u32,
        /// What the state allows.
        allowed: u32,
    },
    /// A frame without a body.
    EmptyFrame,
    /// The body is not a message of its channel.
    Malformed(DecodeError),
    /// Bytes after the end of a message.
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A number that is not spelled in its one canonical way, from a peer of our own kind.
    NonCanonical,
    /// A message of the puller on a stream that we opened, or of the server on one that the peer opened.
    WrongRole,
    /// A best tip without our permit.
    TipWithoutPermit,
    /// A promise without our permit.
    PromiseWithoutPermit,
    /// A promise of no items.
    PromiseOfZero,
    /// A promise of more items than our permit allows.
    PromiseAboveLimit {
        /// What was promised.
        count: u8,
        /// What we permitted.
        limit: u8,
    },
    /// Another promise before the last is kept.
    PromiseRepeated {
        /// What is still to come of the last one.
        left: u8,
    },
    /// A pool item without a promise of it.
    ItemWithoutPromise,
    /// A permit for no items.
    PermitOfZero,
    /// A second permit while one is out.
    PermitRepeated,
    /// An answer that nothing of ours waits for, or a `Next` for no request of the peer's.
    UnknownRequest {
        /// The id that it names.
        id: u64,
    },
    /// A request under an id that another waiting request has.
    RequestRepeated {
        /// The id.
        id: u64,
    },
    /// A second request where only one may be: while another is served, or on the stream of another.
    SecondRequest,
    /// More requests at once than are served.
    TooManyRequests {
        /// How many may be.
        limit: usize,
    },
    /// An answer of another kind than the request.
    WrongAnswer {
        /// The request.
        id: u64,
        /// The kind that was asked for.
        asked: &'static str,
        /// The kind that came.
        came: &'static str,
    },
    /// `Next` for a part that was not waited for.
    NextOutOfTurn {
        /// The request.
        id: u64,
    },
    /// Another part of a staged ledger than the one in turn.
    PartOutOfOrder {
        /// The part in turn.
        expected: &'static str,
        /// The part that came.
        came: &'static str,
    },
    /// A second stream for a channel that has one.
    SecondStream,
    /// A stream ended that lasts as long as the connection, or ended before its request.
    StreamEnded(StreamEnd),
    /// A channel that this session does not speak.
    ChannelNotSupported,
    /// A message of channel 1 or 2 that is not in turn.
    IntroductionOutOfTurn {
        /// What the peer may expect instead.
        state: &'static str,
    },
    /// News of a block without our permit.
    NewsWithoutPermit,
    /// News of a block that the peer has told of already.
    NewsRepeated {
        /// The block.
        key: BlockKey,
    },
    /// The list of a block whose header the peer has not told, or not lately.
    ListWithoutHeader,
    /// A change of a permit that was not given yet.
    ChangeOfNoPermit {
        /// The permit.
        permit: u64,
    },
    /// A header that is none.
    MalformedHeader(LayoutError),
    /// What the peer told or answered about a block proves to be false.
    FalseBlock {
        /// The block.
        key: BlockKey,
        /// What is false, and the numbers.
        what: String,
    },
    /// The peer relayed a header that our user found to be invalid.
    HeaderRejected {
        /// The block.
        key: BlockKey,
    },
}

impl Rule {
    /// The rule's name, which does not change between versions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Rule::UnexpectedMessage => "unexpected_message",
            Rule::FrameTooLong { .. } => "frame_too_long",
            Rule::EmptyFrame => "empty_frame",
            Rule::Malformed(_) => "malformed",
            Rule::TrailingBytes { .. } => "trailing_bytes",
            Rule::NonCanonical => "non_canonical",
            Rule::WrongRole => "wrong_role",
            Rule::TipWithoutPermit => "tip_without_permit",
            Rule::PromiseWithoutPermit => "promise_without_permit",
            Rule::PromiseOfZero => "promise_of_zero",
            Rule::PromiseAboveLimit { .. } => "promise_above_limit",
            Rule::PromiseRepeated { .. } => "promise_repeated",
            Rule::ItemWithoutPromise => "item_without_promise",
            Rule::PermitOfZero => "permit_of_zero",
            Rule::PermitRepeated => "permit_repeated",
            Rule::UnknownRequest { .. } => "unknown_request",
            Rule::RequestRepeated { .. } => "request_repeated",
            Rule::SecondRequest => "second_request",
            Rule::TooManyRequests { .. } => "too_many_requests",
            Rule::WrongAnswer { .. } => "wrong_answer",
            Rule::NextOutOfTurn { .. } => "next_out_of_turn",
            Rule::PartOutOfOrder { .. } => "part_out_of_order",
            Rule::SecondStream => "second_stream",
            Rule::StreamEnded(_) => "stream_ended",
            Rule::ChannelNotSupported => "channel_not_supported",
            Rule::IntroductionOutOfTurn { .. } => "introduction_out_of_turn",
            Rule::NewsWithoutPermit => "news_without_permit",
            Rule::NewsRepeated { .. } => "news_repeated",
            Rule::ListWithoutHeader => "list_without_header",
            Rule::ChangeOfNoPermit { .. } => "change_of_no_permit",
            Rule::MalformedHeader(_) => "malformed_header",
            Rule::FalseBlock { .. } => "false_block",
            Rule::HeaderRejected { .. } => "header_rejected",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::UnexpectedMessage => f.write_str("no message may come in this state"),
            Rule::FrameTooLong { len, allowed } => write!(f, "a frame of {len} bytes where {allowed} are allowed"),
            Rule::EmptyFrame => f.write_str("a frame without a body"),
            Rule::Malformed(error) => write!(f, "{error}"),
            Rule::TrailingBytes { count } => write!(f, "{count} bytes after the message"),
            Rule::NonCanonical => f.write_str("a number is not in its canonical form"),
            Rule::WrongRole => f.write_str("a message of the other role's"),
            Rule::TipWithoutPermit => f.write_str("a best tip that was not permitted"),
            Rule::PromiseWithoutPermit => f.write_str("a promise that was not permitted"),
            Rule::PromiseOfZero => f.write_str("a promise of no items"),
            Rule::PromiseAboveLimit { count, limit } => write!(f, "{count} items promised where {limit} are permitted"),
            Rule::PromiseRepeated { left } => write!(f, "a promise while {left} items of the last are to come"),
            Rule::ItemWithoutPromise => f.write_str("an item that was not promised"),
            Rule::PermitOfZero => f.write_str("a permit for no items"),
            Rule::PermitRepeated => f.write_str("a permit while one is out"),
            Rule::UnknownRequest { id } => write!(f, "no request {id} is waiting"),
            Rule::RequestRepeated { id } => write!(f, "request {id} is waiting already"),
            Rule::SecondRequest => f.write_str("a second request where only one may be"),
            Rule::TooManyRequests { limit } => write!(f, "more than {limit} requests at once"),
            Rule::WrongAnswer { id, asked, came } => write!(f, "request {id} for {asked} answered with {came}"),
            Rule::NextOutOfTurn { id } => write!(f, "next part of request {id} asked for out of turn"),
            Rule::PartOutOfOrder { expected, came } => write!(f, "{came} where {expected} is in turn"),
            Rule::SecondStream => f.write_str("a second stream for the channel"),
            Rule::StreamEnded(StreamEnd::Finished) => f.write_str("the stream was finished too early"),
            Rule::StreamEnded(StreamEnd::Reset) => f.write_str("the stream was reset"),
            Rule::ChannelNotSupported => f.write_str("the channel is not spoken here"),
            Rule::IntroductionOutOfTurn { state } => write!(f, "a step of an introduction out of turn: {state}"),
            Rule::NewsWithoutPermit => f.write_str("news of a block that was not permitted"),
            Rule::NewsRepeated { key } => write!(f, "block {key} was told of before"),
            Rule::ListWithoutHeader => f.write_str("the list of a block whose header was not told"),
            Rule::ChangeOfNoPermit { permit } => write!(f, "permit {permit} was changed before it was given"),
            Rule::MalformedHeader(error) => write!(f, "header: {error}"),
            Rule::FalseBlock { key, what } => write!(f, "block {key}: {what}"),
            Rule::HeaderRejected { key } => write!(f, "the header of block {key} is invalid"),
        }
    }
}
