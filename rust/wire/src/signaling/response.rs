//! What becomes of an offer: an answer, or the reason why there is none.

use std::fmt;

use serde::Deserialize;

use super::MAX_RESPONSE_LEN;
use super::json::{Answer, RawAnswer, SignalingError, bounded, quoted};

/// The most bytes that are kept of a reason that we do not know. The longest that we do has 26.
pub const MAX_REASON_LEN: usize = 64;

/// Why an offer was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejectionReason {
    /// Another chain.
    ChainIdMismatch,
    /// The offerer's id is not that of its key. (The existing node can say it of a relayed offer only.)
    PeerIdAndPublicKeyMismatch,
    /// Meant for somebody else.
    TargetPeerIdNotMe,
    /// No room for another peer.
    PeerCapacityFull,
    /// There is a connection already, or one is being made.
    AlreadyConnected,
    /// Offered to oneself.
    ConnectingToSelf,
    /// One that this version does not know, as it was written: at most [`MAX_REASON_LEN`] bytes of printable ASCII.
    Other(String),
}

impl RejectionReason {
    /// Every reason that has a name.
    pub const KNOWN: [Self; 6] = [
        Self::ChainIdMismatch,
        Self::PeerIdAndPublicKeyMismatch,
        Self::TargetPeerIdNotMe,
        Self::PeerCapacityFull,
        Self::AlreadyConnected,
        Self::ConnectingToSelf,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::ChainIdMismatch => "ChainIdMismatch",
            Self::PeerIdAndPublicKeyMismatch => "PeerIdAndPublicKeyMismatch",
            Self::TargetPeerIdNotMe => "TargetPeerIdNotMe",
            Self::PeerCapacityFull => "PeerCapacityFull",
            Self::AlreadyConnected => "AlreadyConnected",
            Self::ConnectingToSelf => "ConnectingToSelf",
            Self::Other(name) => name,
        }
    }

    /// The reason of this name. Of one that we do not know, what is kept is cut, and what a log should not print becomes
    /// `?`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::KNOWN.into_iter().find(|reason| reason.name() == name).unwrap_or_else(|| {
            let printable = |char: char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
            Self::Other(name.chars().take(MAX_REASON_LEN).map(printable).collect())
        })
    }

    /// Whether the offerer should not have sent such an offer, as the existing node sees it: its status is then 400.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::PeerIdAndPublicKeyMismatch | Self::TargetPeerIdNotMe | Self::AlreadyConnected)
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChainIdMismatch => f.write_str("peer is on a different chain"),
            Self::PeerIdAndPublicKeyMismatch => f.write_str("peer_id does not match peer's public key"),
            Self::TargetPeerIdNotMe => f.write_str("target peer_id is not local node's peer_id"),
            Self::PeerCapacityFull => f.write_str("too many peers"),
            Self::AlreadyConnected => f.write_str("peer already connected"),
            Self::ConnectingToSelf => f.write_str("self connection detected"),
            Self::Other(name) => write!(f, "another reason: {name}"),
        }
    }
}

/// The body of the HTTP response to an offer; the same, sealed, goes back through a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and mostly the large one")]
pub enum SignalingResponse {
    /// The offer is taken.
    Accepted(Answer),
    /// It is not.
    Rejected(RejectionReason),
    /// It could not be read: not decrypted, or no base58 in the path of a GET.
    SignalDecryptionFailed,
    /// Something went wrong, or took too long.
    InternalError,
}

#[derive(Deserialize)]
enum RawResponse {
    Accepted(RawAnswer),
    Rejected(String),
    SignalDecryptionFailed,
    InternalError,
}

impl SignalingResponse {
    /// The JSON text. It is up to the caller that the SDP is short enough for [`MAX_RESPONSE_LEN`].
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Accepted(answer) => format!(r#"{{"Accepted":{}}}"#, answer.to_json()),
            Self::Rejected(reason) => format!(r#"{{"Rejected":{}}}"#, quoted(reason.name())),
            Self::SignalDecryptionFailed => r#""SignalDecryptionFailed""#.to_owned(),
            Self::InternalError => r#""InternalError""#.to_owned(),
        }
    }

    /// Reads the JSON text, at most [`MAX_RESPONSE_LEN`] bytes, whatever the HTTP status was: the existing node's dialer
    /// does not look at that either.
    ///
    /// # Errors
    /// A [`SignalingError`].
    pub fn from_json(text: &[u8]) -> Result<Self, SignalingError> {
        bounded("a response", text.len(), MAX_RESPONSE_LEN)?;
        Ok(match serde_json::from_slice(text)? {
            RawResponse::Accepted(answer) => Self::Accepted(answer.try_into()?),
            RawResponse::Rejected(name) => Self::Rejected(RejectionReason::from_name(&name)),
            RawResponse::SignalDecryptionFailed => Self::SignalDecryptionFailed,
            RawResponse::InternalError => Self::InternalError,
        })
    }

    /// The status of the HTTP response that carries it.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Accepted(_) => 200,
            Self::Rejected(reason) if reason.is_bad() => 400,
            Self::Rejected(_) => 200,
            Self::SignalDecryptionFailed => 400,
            Self::InternalError => 500,
        }
    }
}
