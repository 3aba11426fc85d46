//! What goes wrong, as OCaml sees it: `Mina_p2p.Error.t`.

use mina_p2p::{CommandError, InvalidConfiguration, RequestError, RespondError, StartError};

use crate::heap::Builder;
use crate::stub::{Fields, ToOcaml};

/// Why a call did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The node was closed.
    Closed,
    /// The node was not started yet.
    NotStarted,
    /// The node was started before.
    AlreadyStarted,
    /// The node belongs to the process that this one was forked from.
    Forked,
    /// Bigstrings or parts of the payload are still in use.
    PayloadShared,
    /// The peer did not announce that it can answer this.
    NotSupported,
    /// The answer is not of the kind that was asked for.
    WrongKind,
    /// The parts of a staged ledger are not complete and in order.
    WrongParts,
    /// Nobody waits for the answer any more.
    Gone,
    /// There is no connection to that peer, or to any.
    NotConnected,
    /// An argument cannot be used.
    Invalid {
        /// Which.
        what: String,
        /// Why not.
        why: String,
    },
    /// An address cannot be bound, or the system refused something else.
    Start(String),
    /// The bytes are not a block.
    NotABlock(String),
    /// The bytes are no transaction and no work, or one that cannot be named.
    NotAnItem(String),
    /// No block with that key waits for a verdict.
    UnknownBlock,
    /// Something is longer than peers accept.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that may be.
        max: usize,
    },
    /// As many requests to the peer wait as may.
    TooManyRequests(usize),
    /// The node does not dial that address now.
    DialRefused(String),
    /// A panic in the library.
    Internal(String),
}

impl Failure {
    /// An argument cannot be used.
    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Failure {
        Failure::Invalid { what: what.into(), why: why.into() }
    }

    /// The same, told of this argument: a conversion knows what it cannot use, but not what it is for.
    pub(crate) fn named(self, name: &str) -> Failure {
        match self {
            Failure::Invalid { why, .. } => Failure::invalid(name, why),
            other => other,
        }
    }

    /// An argument is not what the stub was written for.
    pub(crate) fn shape(wanted: &str) -> Failure {
        Failure::Internal(format!("an OCaml value is not {wanted}: the library's two halves do not belong together"))
    }
}

impl From<InvalidConfiguration> for Failure {
    fn from(invalid: InvalidConfiguration) -> Failure {
        Failure::invalid(invalid.what, invalid.why)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        match error {
            StartError::Configuration(invalid) => invalid.into(),
            error => Failure::Start(error.to_string()),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        match error {
            CommandError::Closed => Failure::Closed,
            CommandError::NotConnected(_) => Failure::NotConnected,
            CommandError::NotABlock(why) => Failure::NotABlock(why),
            CommandError::NotAnItem(why) => Failure::NotAnItem(why),
            CommandError::UnknownBlock(_) => Failure::UnknownBlock,
            CommandError::TooLong { len, max }
            | CommandError::Request(RequestError::BodyTooLong { len, max })
            | CommandError::Respond(RespondError::TooLong { len, max }) => Failure::TooLong { length: len, max },
            CommandError::Request(RequestError::TooMany { limit }) => Failure::TooManyRequests(limit),
            CommandError::Request(RequestError::InvalidName(error)) => Failure::invalid("name", error.to_string()),
            CommandError::Request(RequestError::NotSupported) => Failure::NotSupported,
            CommandError::Request(RequestError::Ended) => Failure::NotConnected,
            CommandError::Respond(RespondError::Gone) => Failure::Gone,
            CommandError::Respond(RespondError::WrongKind) => Failure::WrongKind,
            CommandError::Respond(RespondError::WrongParts) => Failure::WrongParts,
            CommandError::Dial(refusal) => Failure::DialRefused(refusal.to_string()),
            // Errors that this binding does not know by name.
            error => Failure::Internal(error.to_string()),
        }
    }
}

/// The constructors' numbers are those of `Raw.error`, in its order.
impl ToOcaml for Failure {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            Failure::Closed => builder.int(0),
            Failure::NotStarted => builder.int(1),
            Failure::AlreadyStarted => builder.int(2),
            Failure::Forked => builder.int(3),
            Failure::PayloadShared => builder.int(4),
            Failure::NotSupported => builder.int(5),
            Failure::WrongKind => builder.int(6),
            Failure::WrongParts => builder.int(7),
            Failure::Gone => builder.int(8),
            Failure::NotConnected => builder.int(9),
            Failure::UnknownBlock => builder.int(10),
            Failure::Invalid { what, why } => (what, why).construct(0, builder),
            Failure::Start(why) => (why,).construct(1, builder),
            Failure::NotABlock(why) => (why,).construct(2, builder),
            Failure::NotAnItem(why) => (why,).construct(3, builder),
            Failure::TooLong { length, max } => (length, max).construct(4, builder),
            Failure::TooManyRequests(limit) => (limit,).construct(5, builder),
            Failure::DialRefused(why) => (why,).construct(6, builder),
            Failure::Internal(what) => (what,).construct(7, builder),
        }
    }
}
