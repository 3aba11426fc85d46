//! Offer and answer, and what is common to the values in JSON.
//!
//! Written by hand, for the order of the members and their form are those of the existing node, to the byte; read by serde. What
//! is read is allocated once (a member that comes twice is refused), so that it takes no more memory than the text.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;

use super::MAX_OFFER_LEN;
use crate::base58::ParseTextError;
use crate::hash::ChainId;
use crate::host::{Host, ParseHostError};
use crate::identity::{PeerId, PublicKey};

/// Why a text is no offer, answer or response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalingError {
    /// Longer than its kind may be. Nothing of it was read.
    #[error("{what} of {len} bytes: at most {max} are allowed")]
    TooLong {
        /// What it should have been.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The most.
        max: usize,
    },
    /// Not base58, in the path of a GET.
    #[error("not base58: bad character at {index}")]
    NotBase58 {
        /// Which byte of the text.
        index: usize,
    },
    /// Not JSON.
    #[error("not JSON, at line {line}, column {column}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 before the first.
        column: usize,
    },
    /// JSON of another shape: a member of another type, out of its range, or twice.
    #[error("JSON of an unexpected shape, at line {line}, column {column}")]
    Unexpected {
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 before the first.
        column: usize,
    },
    /// A member is not there.
    #[error("`{member}` is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is text, but not of the right kind.
    #[error("`{member}`: {error}")]
    Text {
        /// Its name.
        member: &'static str,
        /// What is wrong with it.
        error: ParseTextError,
    },
    /// The host is none.
    #[error("`host`: {0}")]
    Host(#[from] ParseHostError),
    /// The identity is a key of small order, which identifies nobody.
    #[error("`identity_pub_key` is of small order")]
    SmallOrderKey,
}

impl From<serde_json::Error> for SignalingError {
    /// Without the text of the error, which may quote any amount of the input.
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        if error.is_data() { Self::Unexpected { line, column } } else { Self::NotJson { line, column } }
    }
}

/// Refuses what is too long before anything of it is read.
pub(super) fn bounded(what: &'static str, len: usize, max: usize) -> Result<(), SignalingError> {
    if len > max { Err(SignalingError::TooLong { what, len, max }) } else { Ok(()) }
}

/// A text in quotes and with escapes, as JSON has it.
pub(super) fn quoted(text: &str) -> Value {
    Value::from(text)
}

fn member<T>(value: Option<T>, member: &'static str) -> Result<T, SignalingError> {
    value.ok_or(SignalingError::Missing { member })
}

fn parsed<T>(text: Option<String>, name: &'static str) -> Result<T, SignalingError>
where
    T: std::str::FromStr<Err = ParseTextError>,
{
    member(text, name)?.parse().map_err(|error| SignalingError::Text { member: name, error })
}

fn identity(text: Option<String>) -> Result<PublicKey, SignalingError> {
    let key: PublicKey = parsed(text, "identity_pub_key")?;
    if key.is_small_order() { Err(SignalingError::SmallOrderKey) } else { Ok(key) }
}

/// The externally tagged form of the existing node.
#[derive(Deserialize)]
enum RawHost {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Domain(String),
}

impl TryFrom<RawHost> for Host {
    type Error = ParseHostError;

    fn try_from(raw: RawHost) -> Result<Self, Self::Error> {
        match raw {
            RawHost::Ipv4(address) => Ok(Self::Ipv4(address)),
            RawHost::Ipv6(address) => Ok(Self::Ipv6(address)),
            // An IPv6 address has a tag of its own.
            RawHost::Domain(name) if name.starts_with('[') => Err(ParseHostError::BadCharacter),
            RawHost::Domain(name) => name.parse(),
        }
    }
}

fn host_json(host: &Host) -> String {
    match host {
        Host::Ipv4(address) => format!(r#"{{"Ipv4":"{address}"}}"#),
        Host::Ipv6(address) => format!(r#"{{"Ipv6":"{address}"}}"#),
        Host::Domain(name) => format!(r#"{{"Domain":{}}}"#, quoted(name.as_str())),
    }
}

/// What a dialer tells the peer that it wants to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The session description. Authentication hashes it to the byte, so it must not be written anew on the way.
    pub sdp: String,
    /// The dialer's chain.
    pub chain_id: ChainId,
    /// Who dials, as it says. Never of small order in an offer that was read.
    pub identity_pub_key: PublicKey,
    /// Who is meant.
    pub target_peer_id: PeerId,
    /// Where the dialer can be reached, as it says. The existing node always says 127.0.0.1. Not to be believed.
    pub host: Host,
    /// The TCP port of the dialer's own HTTP signaling, if it has any. Not to be believed either.
    pub listen_port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename = "Offer")]
struct RawOffer {
    sdp: Option<String>,
    chain_id: Option<String>,
    identity_pub_key: Option<String>,
    target_peer_id: Option<String>,
    host: Option<RawHost>,
    listen_port: Option<u16>,
}

impl Offer {
    /// The JSON text, members in the existing node's order. It is up to the caller that the SDP is short enough for
    /// [`MAX_OFFER_LEN`].
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"sdp":{},"chain_id":"{}","identity_pub_key":"{}","target_peer_id":"{}","host":{},"listen_port":{}}}"#,
            quoted(&self.sdp),
            self.chain_id,
            self.identity_pub_key,
            self.target_peer_id,
            host_json(&self.host),
            Value::from(self.listen_port),
        )
    }

    /// Reads the JSON text, at most [`MAX_OFFER_LEN`] bytes. Members that we do not know are passed over; `listen_port` may
    /// be missing, as for the existing node.
    ///
    /// # Errors
    /// A [`SignalingError`].
    pub fn from_json(text: &[u8]) -> Result<Self, SignalingError> {
        bounded("an offer", text.len(), MAX_OFFER_LEN)?;
        let raw: RawOffer = serde_json::from_slice(text)?;
        Ok(Self {
            sdp: member(raw.sdp, "sdp")?,
            chain_id: parsed(raw.chain_id, "chain_id")?,
            identity_pub_key: identity(raw.identity_pub_key)?,
            target_peer_id: parsed(raw.target_peer_id, "target_peer_id")?,
            host: member(raw.host, "host")?.try_into()?,
            listen_port: raw.listen_port,
        })
    }
}

/// What the peer says that takes an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The session description; as with an offer's, every byte counts.
    pub sdp: String,
    /// Who answers, as it says. Never of small order in an answer that was read.
    pub identity_pub_key: PublicKey,
    /// Who offered.
    pub target_peer_id: PeerId,
}

#[derive(Deserialize)]
#[serde(rename = "Answer")]
pub(super) struct RawAnswer {
    sdp: Option<String>,
    identity_pub_key: Option<String>,
    target_peer_id: Option<String>,
}

impl Answer {
    /// The JSON text. It travels inside of a [`SignalingResponse`](super::SignalingResponse).
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"sdp":{},"identity_pub_key":"{}","target_peer_id":"{}"}}"#,
            quoted(&self.sdp),
            self.identity_pub_key,
            self.target_peer_id,
        )
    }

    /// Reads the JSON text, at most [`MAX_RESPONSE_LEN`](super::MAX_RESPONSE_LEN) bytes.
    ///
    /// # Errors
    /// A [`SignalingError`].
    pub fn from_json(text: &[u8]) -> Result<Self, SignalingError> {
        bounded("an answer", text.len(), super::MAX_RESPONSE_LEN)?;
        serde_json::from_slice::<RawAnswer>(text)?.try_into()
    }
}

impl TryFrom<RawAnswer> for Answer {
    type Error = SignalingError;

    fn try_from(raw: RawAnswer) -> Result<Self, Self::Error> {
        Ok(Self {
            sdp: member(raw.sdp, "sdp")?,
            identity_pub_key: identity(raw.identity_pub_key)?,
            target_peer_id: parsed(raw.target_peer_id, "target_peer_id")?,
        })
    }
}
