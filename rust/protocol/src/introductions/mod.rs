//! Introductions: a relay makes two of its peers dial each other, by carrying their sealed offer and answer.
//!
//! Channel 1, between the relay and the one who will dial (`discovery.rs`):
//!
//! | half | state | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we are the relay | `Idle` | we, 10 s after the last one ended | `GetNext` | `Asked` |
//! | | `Asked` | the peer | `Discover` | `Wants` |
//! | | `Wants` | we, when there is somebody | `Discovered` | `Introduced` |
//! | | `Introduced` | the peer | `DiscoveredReject` | `Idle` |
//! | | | the peer | `DiscoveredAccept`, a frame at most | `Offered` |
//! | | | nobody, for 15 s | the target is free for others | `GivenUp` |
//! | | `Offered` | we, after 15 s with nothing | `Answer` | `Idle` |
//! | | `GivenUp` | the peer | `DiscoveredReject`, or `DiscoveredAccept`: answered with nothing | `Idle` |
//! | we are the dialer | `Waiting` | the peer | `GetNext` | `Asked` |
//! | | `Asked` | we, if we want peers | `Discover`, one a second | `Discovering` |
//! | | `Discovering` | the peer | `Discovered`, 33 bytes | `Discovered` |
//! | | `Discovered` | we, after 10 s by itself | `DiscoveredReject` | `Waiting` |
//! | | | we | `DiscoveredAccept` | `Accepted` |
//! | | `Accepted` | the peer | `Answer`, a frame at most | `Waiting` |
//! | | | nobody, for 15 s | our attempt has failed | `Late` |
//! | | `Late` | the peer | `Answer`; it is dropped | `Waiting` |
//!
//! Channel 2, between the relay and the one who is dialed, the target (`exchange.rs`):
//!
//! | half | state | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we are the target | `Free` | we, one a second | `GetNext` | `Permitted` |
//! | | `Permitted` | the peer | `OfferToYou`, a frame at most | `Offered` |
//! | | `Offered` | we | `Answer` | `Free` |
//! | | | we, after 10 s by itself | `Answer` of nothing | `Expired` |
//! | | `Expired` | nobody, until our user's answer, which is dropped; at most 15 s | | `Free` |
//! | we are the relay | `Waiting` | the peer | `GetNext` | `Ready` |
//! | | `Ready` | we | `OfferToYou` | `Offered` |
//! | | `Offered` | the peer | `Answer`, a frame at most | `Waiting` |
//! | | | nobody, for 15 s | the dialer is answered with nothing | `Late` |
//! | | `Late` | the peer | `Answer`; it is dropped | `Waiting` |
//!
//! The puller of channel 1 is the relay, the puller of channel 2 is the target. Both are spoken with every existing
//! node, and with our own kind if both sides announced it. Where streams are dear (a stream has one role), the relay
//! asks only when there is somebody to introduce.
//!
//! Who is introduced to whom is the router's choice ([`crate::router`]). The existing node gives `GetNext` on channel 2
//! once only, and asks again on channel 1 no sooner than after 60 s; it has no timeouts here, so a silent one keeps its
//! own link in that state, and nothing else.

mod discovery;
mod exchange;

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::PublicKey;

pub(crate) use self::discovery::Discovery;
pub(crate) use self::exchange::Exchange;

/// How long after an introduction of a peer ended, as relay, it is asked again. The existing node waits 60 s.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The shortest time between two of our `Discover`, and between two of our permits for offers: a relay or dialers that go
/// through the whole of it at once do not have us work without end.
pub const INTRODUCTIONS_APART: Duration = Duration::from_secs(1);

/// How long the other side may take: the existing node's own timeout of an attempt.
pub const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long our user may take for an offer or an answer: well inside what the other side waits.
pub const OWN_SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What happened on channels 1 and 2: for [`Router::introduction`](crate::router::Router::introduction).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Introduction {
    /// To us as a dialer: the relay asks whether we want to be introduced.
    Asked,
    /// To us as a dialer: the relay names somebody. Accept or reject within [`OWN_SIGNAL_TIMEOUT`].
    Discovered {
        /// Whom the offer is to be sealed to.
        target: PublicKey,
    },
    /// To us as a dialer: the target's answer, or that there is none.
    Answer {
        /// The answer, sealed to us; not opened yet.
        sealed: Option<Bytes>,
    },
    /// To us as a dialer: no answer came in [`INTRODUCTION_TIMEOUT`]. A later one is dropped.
    Unanswered,
    /// To us as the relay: the dialer wants to be introduced.
    Wants,
    /// To us as the relay: the dialer does not want that one.
    Rejected,
    /// To us as the relay: the dialer's offer for that one. Answer within [`INTRODUCTION_TIMEOUT`].
    Offer {
        /// The offer, which we cannot open.
        sealed: Bytes,
    },
    /// To us as the relay: the dialer does not say in time whether it wants that one, or was not answered in time.
    GivenUp,
    /// To us as a target: somebody's offer. Answer within [`OWN_SIGNAL_TIMEOUT`].
    OfferToYou {
        /// Who offers, as the relay says.
        offerer: PublicKey,
        /// The offer, sealed to us; not opened yet.
        sealed: Bytes,
    },
    /// To us as the relay: the target takes one offer.
    Ready,
    /// To us as the relay: the target's answer; none also if it did not answer in [`INTRODUCTION_TIMEOUT`].
    TargetAnswer {
        /// The answer, which we cannot open.
        sealed: Option<Bytes>,
    },
}

impl Introduction {
    /// What it holds, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Introduction::Offer { sealed } | Introduction::OfferToYou { sealed, .. } => sealed.len(),
            Introduction::Answer { sealed } | Introduction::TargetAnswer { sealed } => {
                sealed.as_ref().map_or(0, Bytes::len)
            }
            Introduction::Asked
            | Introduction::Discovered { .. }
            | Introduction::Unanswered
            | Introduction::Wants
            | Introduction::Rejected
            | Introduction::GivenUp
            | Introduction::Ready => 0,
        }
    }
}

/// What to do on channels 1 and 2, as [`Router::poll_introduction`](crate::router::Router::poll_introduction) says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IntroductionOrder {
    /// As the relay: ask the peer whether it wants to be introduced, unless it was asked already.
    AskForDialers,
    /// As the relay, to a dialer that wants it: name somebody.
    Introduce {
        /// Whom.
        target: PublicKey,
    },
    /// As the relay: hand the target's answer to the dialer, or tell it that there is none.
    AnswerDialer {
        /// The answer.
        sealed: Option<Bytes>,
    },
    /// As a dialer that was asked: yes.
    Discover,
    /// As a dialer: an offer for whom the relay named.
    Accept {
        /// The offer, sealed to that one.
        sealed: Bytes,
    },
    /// As a dialer: not that one.
    Reject,
    /// As the relay: hand an offer to a target that takes one.
    HandOver {
        /// Whose it is.
        offerer: PublicKey,
        /// The offer.
        sealed: Bytes,
    },
    /// As a target: answer the offer, or say that there is no answer.
    AnswerOffer {
        /// The answer, sealed to the offerer.
        sealed: Option<Bytes>,
    },
}

/// Why an [`IntroductionOrder`] was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntroductionError {
    /// The channels are not spoken on this connection.
    #[error("introductions are not spoken on this connection")]
    NotSpoken,
    /// It is not the time for it: the introduction has ended, or is at another step.
    #[error("the introduction is not at this step")]
    OutOfTurn,
    /// The sealed offer or answer does not fit a frame.
    #[error("a message of {len} bytes where {max} are allowed")]
    TooLong {
        /// The frame's length.
        len: usize,
        /// The longest that may be.
        max: usize,
    },
    /// The session has ended with a violation.
    #[error("the session has ended")]
    Ended,
}

/// Checks that a frame of channel 1 or 2 is one that the peer takes.
fn check_len(frame: &mina_p2p_wire::Frame, channel: mina_p2p_wire::Channel) -> Result<(), IntroductionError> {
    let (len, max) = (frame.len(), channel.max_frame_len() as usize);
    if len > max { Err(IntroductionError::TooLong { len, max }) } else { Ok(()) }
}
