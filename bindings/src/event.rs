//! Events: `Mina_p2p.Event.t`. This is the path that must be fast: small events are a few allocations each.

use mina_p2p::message::{SnarkInfo, SnarkJobCommitment, TransactionInfo};
use mina_p2p::{BlockFailure, CloseReason, ConnectError, DialError, Direction, Event, HowItCame, TransportKind, Via};

use crate::failure::Failure;
use crate::heap::{Arg, Builder};
use crate::payload::Content;
use crate::request::Answered;
use crate::stub::{Fields, FromOcaml, ToOcaml, named};

impl ToOcaml for Direction {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(match self {
            Direction::Dialed => 0,
            Direction::Accepted => 1,
        });
    }
}

/// The constructors' numbers are those of `Raw.transport`, in its order.
impl ToOcaml for TransportKind {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(match self {
            // No node of OCaml's has the one in memory.
            TransportKind::Quic | TransportKind::Memory => 0,
            TransportKind::WebRtc => 1,
        });
    }
}

impl FromOcaml for TransportKind {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        match value.int()? {
            0 => Ok(TransportKind::Quic),
            1 => Ok(TransportKind::WebRtc),
            _ => Err(Failure::shape("a transport")),
        }
    }
}

/// `{ hash; fee_payer; fee; nonce }`
impl ToOcaml for TransactionInfo {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        (self.hash, self.fee_payer, self.fee, self.nonce as usize).construct(0, builder);
    }
}

impl FromOcaml for TransactionInfo {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(TransactionInfo {
            hash: FromOcaml::from_ocaml(value.field(0)?)?,
            fee_payer: FromOcaml::from_ocaml(value.field(1)?)?,
            fee: FromOcaml::from_ocaml(value.field(2)?)?,
            nonce: named("nonce", value.field(3)?)?,
        })
    }
}

/// `{ job_id; fee; prover }`
impl ToOcaml for SnarkInfo {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        (self.job_id, self.fee, self.prover).construct(0, builder);
    }
}

impl FromOcaml for SnarkInfo {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(SnarkInfo {
            job_id: FromOcaml::from_ocaml(value.field(0)?)?,
            fee: FromOcaml::from_ocaml(value.field(1)?)?,
            prover: FromOcaml::from_ocaml(value.field(2)?)?,
        })
    }
}

/// `{ timestamp_ms; job_id; fee; snarker }`
impl ToOcaml for SnarkJobCommitment {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        (self.timestamp_ms, self.job_id, self.fee, self.snarker).construct(0, builder);
    }
}

impl FromOcaml for SnarkJobCommitment {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(SnarkJobCommitment {
            timestamp_ms: FromOcaml::from_ocaml(value.field(0)?)?,
            job_id: FromOcaml::from_ocaml(value.field(1)?)?,
            fee: FromOcaml::from_ocaml(value.field(2)?)?,
            snarker: FromOcaml::from_ocaml(value.field(3)?)?,
        })
    }
}

/// The constructors' numbers are those of `Raw.close_reason`, in its order.
impl ToOcaml for CloseReason {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            CloseReason::Unspecified => builder.int(0),
            CloseReason::WrongChain => builder.int(1),
            CloseReason::WrongIdentity => builder.int(2),
            CloseReason::SelfConnection => builder.int(3),
            CloseReason::Capacity => builder.int(4),
            CloseReason::Duplicate => builder.int(5),
            CloseReason::Banned => builder.int(6),
            CloseReason::Shutdown => builder.int(7),
            CloseReason::IncompatibleVersion => builder.int(8),
            CloseReason::HelloTooLong => builder.int(9),
            CloseReason::RepeatedHello => builder.int(10),
            CloseReason::HelloTimeout => builder.int(11),
            CloseReason::UnsupportedProtocol => builder.int(12),
            CloseReason::Stalled => builder.int(13),
            CloseReason::TooSlow => builder.int(14),
            CloseReason::IdleTimeout => builder.int(15),
            CloseReason::Violation(text) => (text,).construct(0, builder),
            CloseReason::MalformedHello(text) => (text,).construct(1, builder),
            CloseReason::UnsuitableCertificate(text) => (text,).construct(2, builder),
            CloseReason::Lost(text) => (text,).construct(3, builder),
            CloseReason::AuthenticationFailed(text) => (text,).construct(5, builder),
            // Also what a later version of the library adds.
            reason => (reason.code() as usize, reason.text().to_owned()).construct(4, builder),
        }
    }
}

/// The constructors' numbers are those of `Raw.dial_failure`, in its order.
impl ToOcaml for DialError {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            DialError::Connect(ConnectError::TimedOut(_)) => builder.int(0),
            DialError::Refused(refusal) => (refusal.to_string(),).construct(0, builder),
            DialError::Connect(ConnectError::Refused(reason)) => (reason,).construct(1, builder),
            DialError::Connect(ConnectError::Closed(reason)) => (reason,).construct(2, builder),
            error => (error.to_string(),).construct(3, builder),
        }
    }
}

/// `` `List | `Chunks | `Whole ``
impl ToOcaml for Via {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.variant(match self {
            Via::List => "List",
            Via::Chunks => "Chunks",
            Via::Whole => "Whole",
        });
    }
}

/// `{ via; received; items; hits; prefilled; fetched; round_trips }`
impl ToOcaml for HowItCame {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        self.via.to_ocaml(builder);
        for count in [self.received, self.items, self.hits, self.prefilled, self.fetched, self.round_trips as usize] {
            count.to_ocaml(builder);
        }
        builder.block(0, 7);
    }
}

/// `` `Unavailable | `No_body | `Too_many ``
impl ToOcaml for BlockFailure {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.variant(match self {
            BlockFailure::Unavailable => "Unavailable",
            BlockFailure::NoBody => "No_body",
            BlockFailure::TooMany => "Too_many",
        });
    }
}

/// The constructors' numbers are those of `Raw.event`, in its order. All have arguments.
impl ToOcaml for Event {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            Event::PeerConnected { peer, address, direction, transport } => {
                (peer, address, direction, transport).construct(0, builder);
            }
            Event::PeerDisconnected { peer, reason } => (peer, reason).construct(1, builder),
            Event::DialFailed { address, reason } => (address, reason).construct(2, builder),
            Event::BestTip { peer, block, key, previous_state_hash } => {
                (peer, Content(block), key, previous_state_hash).construct(3, builder);
            }
            Event::Header { peer, key, height, previous_state_hash, header } => {
                (peer, key, height as usize, previous_state_hash, Content(header)).construct(4, builder);
            }
            Event::Block { peer, key, block, previous_state_hash, how } => {
                (peer, key, previous_state_hash, Content(block), how).construct(5, builder);
            }
            Event::BlockFailed { key, reason } => (key, reason).construct(6, builder),
            Event::Transaction { peer, info } => (peer, info).construct(7, builder),
            Event::Work { peer, info } => (peer, info).construct(8, builder),
            Event::Commitment { peer, commitment } => (peer, commitment).construct(9, builder),
            Event::Request { peer, responder, request } => (peer, responder, request).construct(10, builder),
            Event::RequestCancelled { peer, responder } => (peer, responder).construct(11, builder),
            Event::Response { request, peer, answer } => (request, peer, Answered(answer)).construct(12, builder),
            Event::StagedLedgerPart { request, peer, index, part } => {
                (request, peer, index as usize, part).construct(13, builder);
            }
            Event::TaskFailed { message } => (message,).construct(14, builder),
            // The crate may add events; the binding is built with it and lists them all.
            event => (format!("an event unknown to the binding: {event:?}"),).construct(14, builder),
        }
    }
}
