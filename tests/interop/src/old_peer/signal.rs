//! Offers and answers as JSON, and how they are sealed. Written anew here, so that a mistake in `mina-p2p-wire` does not
//! agree with itself.

use std::fmt::Display;
use std::str::FromStr;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use curve25519_dalek::edwards::CompressedEdwardsY;
use mina_p2p_wire::{ChainId, PeerId, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

/// The length of a sealed connection authentication: nonce, two SHA-256, tag.
pub const AUTH_LEN: usize = 12 + 64 + 16;

mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{Display, FromStr};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The host that an offer names. The existing node always says 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalHost {
    /// A domain name.
    Domain(String),
    /// An IPv4 address.
    Ipv4(std::net::Ipv4Addr),
    /// An IPv6 address.
    Ipv6(std::net::Ipv6Addr),
}

/// A dialer's offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its session description, to be hashed as it is.
    pub sdp: String,
    /// Its network.
    #[serde(with = "text")]
    pub chain_id: ChainId,
    /// Who it is.
    #[serde(with = "text")]
    pub identity_pub_key: PublicKey,
    /// Whom it wants.
    #[serde(with = "text")]
    pub target_peer_id: PeerId,
    /// Where it listens for offers.
    pub host: SignalHost,
    /// The port of that.
    pub listen_port: Option<u16>,
}

/// The answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The answerer's session description, to be hashed as it is.
    pub sdp: String,
    /// Who answers.
    #[serde(with = "text")]
    pub identity_pub_key: PublicKey,
    /// Who offered.
    #[serde(with = "text")]
    pub target_peer_id: PeerId,
}

/// Why an offer is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's and say it")]
pub enum Rejection {
    ChainIdMismatch,
    PeerIdAndPublicKeyMismatch,
    TargetPeerIdNotMe,
    PeerCapacityFull,
    AlreadyConnected,
    ConnectingToSelf,
}

/// What comes back for an offer.
#[expect(clippy::large_enum_variant, reason = "few are made")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Yes.
    Accepted(Answer),
    /// No.
    Rejected(Rejection),
    /// The offer could not be read.
    SignalDecryptionFailed,
    /// No reply.
    InternalError,
}

impl Response {
    /// The status that the existing node's HTTP server sends it with.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Accepted(_)
            | Self::Rejected(Rejection::ChainIdMismatch | Rejection::PeerCapacityFull | Rejection::ConnectingToSelf) => {
                200
            }
            Self::Rejected(_) | Self::SignalDecryptionFailed => 400,
            Self::InternalError => 500,
        }
    }
}

/// The JSON of an offer or a response.
#[must_use]
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings and numbers always serialize")
}

fn cipher(own: &SecretKey, other: &PublicKey) -> Option<Aes256Gcm> {
    let hash = Sha512::digest(&own.to_bytes()[..]);
    let scalar = *hash.first_chunk::<32>()?;
    let point = CompressedEdwardsY(other.to_bytes()).decompress()?.to_montgomery();
    let shared = point.mul_clamped(scalar).to_bytes();
    if shared == [0; 32] {
        return None;
    }
    Aes256Gcm::new_from_slice(&shared).ok()
}

/// Seals for `to` with a random nonce. `None` for a key of small order.
#[must_use]
pub fn seal(own: &SecretKey, to: &PublicKey, plaintext: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).ok()?;
    seal_with(own, to, nonce, plaintext)
}

/// Seals for `to` with the nonce given.
#[must_use]
pub fn seal_with(own: &SecretKey, to: &PublicKey, nonce: [u8; 12], plaintext: &[u8]) -> Option<Vec<u8>> {
    let sealed = cipher(own, to)?.encrypt(&Nonce::from(nonce), plaintext).ok()?;
    Some([&nonce[..], &sealed].concat())
}

/// Opens what `from` sealed.
#[must_use]
pub fn open(own: &SecretKey, from: &PublicKey, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
    cipher(own, from)?.decrypt(&Nonce::from(*nonce), sealed).ok()
}

/// What both sides authenticate: the hashes of the two session descriptions.
#[must_use]
pub fn auth_plaintext(offer_sdp: &str, answer_sdp: &str) -> [u8; 64] {
    let mut plaintext = [0; 64];
    plaintext[..32].copy_from_slice(&Sha256::digest(offer_sdp.as_bytes()));
    plaintext[32..].copy_from_slice(&Sha256::digest(answer_sdp.as_bytes()));
    plaintext
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_reads_back_and_its_fields_keep_their_order() {
        let key = SecretKey::from_bytes([1; 32]);
        let offer = Offer {
            sdp: "v=0\r\n".into(),
            chain_id: ChainId([7; 32]),
            identity_pub_key: key.public_key(),
            target_peer_id: SecretKey::from_bytes([2; 32]).peer_id(),
            host: SignalHost::Ipv4([127, 0, 0, 1].into()),
            listen_port: Some(8302),
        };
        let json = to_json(&offer);
        assert!(json.starts_with(r#"{"sdp":"v=0\r\n","chain_id":"0707"#), "{json}");
        assert!(json.ends_with(r#""host":{"Ipv4":"127.0.0.1"},"listen_port":8302}"#), "{json}");
        assert_eq!(serde_json::from_str::<Offer>(&json).unwrap(), offer);
        assert_eq!(to_json(&Response::Rejected(Rejection::AlreadyConnected)), r#"{"Rejected":"AlreadyConnected"}"#);
        assert_eq!(to_json(&Response::InternalError), r#""InternalError""#);
    }

    #[test]
    fn what_is_sealed_opens_for_the_other_alone() {
        let [a, b, c] = [1, 2, 3].map(|seed| SecretKey::from_bytes([seed; 32]));
        let sealed = seal(&a, &b.public_key(), &auth_plaintext("x", "y")).unwrap();
        assert_eq!(sealed.len(), AUTH_LEN);
        assert_eq!(open(&b, &a.public_key(), &sealed).unwrap(), auth_plaintext("x", "y"));
        assert!(open(&c, &a.public_key(), &sealed).is_none());
        // The key is the same both ways: a reflection opens.
        assert!(open(&a, &b.public_key(), &sealed).is_some());
    }
}
