//! Encryption between two identities.
//!
//! The scheme is the existing node's: AES-256-GCM by the secret that both keys share, raw; a nonce of 12 bytes before, the
//! tag of 16 after, nothing else authenticated. The key is thus the same both ways, for every message and for ever:
//! nonces must be random, and what was sealed proves neither its direction nor that it is new. [`ConnectionAuth`] is what
//! makes up for that.
//!
//! [`ConnectionAuth`]: super::ConnectionAuth

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};

use super::json::{Offer, SignalingError};
use super::response::SignalingResponse;
use crate::identity::{NonContributory, PeerId, PublicKey, SecretKey};
use crate::message::MAX_ENCRYPTED_LEN;

/// The bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// By how many bytes the sealed form is longer: the nonce and the tag, 12 + 16.
pub const SEAL_OVERHEAD: usize = NONCE_LEN + TAG_LEN;
/// The most bytes of a sealed form: what a relay's channels can carry at all.
pub const MAX_SEALED_LEN: usize = MAX_ENCRYPTED_LEN;
const TAG_LEN: usize = 16;

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The other's key is of small order.
    #[error(transparent)]
    NonContributory(#[from] NonContributory),
    /// The sealed form would be, or is, longer than [`MAX_SEALED_LEN`].
    #[error("{len} bytes sealed: at most {MAX_SEALED_LEN} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Shorter than a nonce and a tag.
    #[error("{len} bytes sealed: at least {SEAL_OVERHEAD} are needed")]
    TooShort {
        /// Its length.
        len: usize,
    },
    /// Not sealed between these two keys, or changed on the way.
    #[error("not sealed between these two keys, or changed since")]
    NotAuthentic,
}

fn cipher(own: &SecretKey, other: &PublicKey) -> Result<Aes256Gcm, SealError> {
    let key = own.shared_key(other)?;
    Ok(Aes256Gcm::new((&*key).into()))
}

/// Encrypts to another identity. The nonce must be random, new for each call: a repeated one gives both plaintexts and the
/// key of the tag away.
///
/// # Errors
/// [`SealError::NonContributory`]; [`SealError::TooLong`].
pub fn seal(own: &SecretKey, to: &PublicKey, nonce: [u8; NONCE_LEN], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let len = plaintext.len().saturating_add(SEAL_OVERHEAD);
    if len > MAX_SEALED_LEN {
        return Err(SealError::TooLong { len });
    }
    let mut ciphertext = plaintext.to_vec();
    let tag = cipher(own, to)?
        .encrypt_inout_detached(&nonce.into(), &[], ciphertext.as_mut_slice().into())
        // The one error: longer than AES-GCM allows, 64 GiB.
        .map_err(|_| SealError::TooLong { len })?;
    Ok([&nonce[..], &ciphertext, &tag].concat())
}

/// Decrypts what another identity, or we ourselves, sealed between the two.
///
/// # Errors
/// A [`SealError`].
pub fn open(own: &SecretKey, from: &PublicKey, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let len = sealed.len();
    if len > MAX_SEALED_LEN {
        return Err(SealError::TooLong { len });
    }
    let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE_LEN>() else {
        return Err(SealError::TooShort { len });
    };
    let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG_LEN>() else {
        return Err(SealError::TooShort { len });
    };
    let (nonce, tag): (&Nonce<_>, &Tag) = (nonce.into(), tag.into());
    let mut plaintext = ciphertext.to_vec();
    cipher(own, from)?
        .decrypt_inout_detached(nonce, &[], plaintext.as_mut_slice().into(), tag)
        .map_err(|_| SealError::NotAuthentic)?;
    Ok(plaintext)
}

/// Why a sealed offer or response is of no use. To the one who sent an offer, each is
/// [`SignalDecryptionFailed`](SignalingResponse::SignalDecryptionFailed).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It could not be decrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What was inside is not what it should be.
    #[error(transparent)]
    Content(#[from] SignalingError),
    /// It names another identity than the one that sealed it.
    #[error("sealed by {sealed_by}, but it names {named}")]
    OtherIdentity {
        /// With whose key it was opened.
        sealed_by: PeerId,
        /// Whose it says that it is.
        named: PeerId,
    },
}

fn same_identity(sealed_by: PeerId, named: PeerId) -> Result<(), OpenError> {
    if named == sealed_by { Ok(()) } else { Err(OpenError::OtherIdentity { sealed_by, named }) }
}

impl Offer {
    /// Seals the JSON text to the target, for a relay to carry.
    ///
    /// # Errors
    /// See [`seal`].
    pub fn seal(&self, own: &SecretKey, to: &PublicKey, nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, SealError> {
        seal(own, to, nonce, self.to_json().as_bytes())
    }

    /// Opens an offer that a relay carried, which says that it is from this offerer, as the offer then must too.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub fn open(own: &SecretKey, offerer: &PublicKey, sealed: &[u8]) -> Result<Self, OpenError> {
        let offer = Self::from_json(&open(own, offerer, sealed)?)?;
        same_identity(offerer.peer_id(), offer.identity_pub_key.peer_id())?;
        Ok(offer)
    }
}

impl SignalingResponse {
    /// Seals the JSON text to the offerer, for a relay to carry. Also a rejection is sealed.
    ///
    /// # Errors
    /// See [`seal`].
    pub fn seal(&self, own: &SecretKey, to: &PublicKey, nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, SealError> {
        seal(own, to, nonce, self.to_json().as_bytes())
    }

    /// Opens the response of this target to our offer. An answer inside must name the same identity.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub fn open(own: &SecretKey, target: &PublicKey, sealed: &[u8]) -> Result<Self, OpenError> {
        let response = Self::from_json(&open(own, target, sealed)?)?;
        if let Self::Accepted(answer) = &response {
            same_identity(target.peer_id(), answer.identity_pub_key.peer_id())?;
        }
        Ok(response)
    }
}
