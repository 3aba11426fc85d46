//! Connection authentication: each side shows on stream 0 that it has the key that it signaled with, and that nobody changed
//! the session descriptions, and with them the certificates' fingerprints, on the way.

use sha2::{Digest, Sha256};

use super::seal::{NONCE_LEN, SEAL_OVERHEAD, SealError, open, seal};
use crate::identity::{PublicKey, SecretKey};

/// What both sides seal to each other: SHA-256 of the offer's SDP and SHA-256 of the answer's, as they came, to the byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectionAuth([u8; Self::LEN]);

/// Why a peer's blob does not authenticate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not of the one length.
    #[error("an authentication of {len} bytes: {} are needed", ConnectionAuth::SEALED_LEN)]
    WrongLength {
        /// Its length.
        len: usize,
    },
    /// Our own blob, come back. Key and plaintext are the same both ways, so it would decrypt and fit.
    #[error("our own authentication was sent back to us")]
    Reflected,
    /// It could not be decrypted: the peer does not have the key that it signaled with.
    #[error("the authentication is {0}")]
    Seal(#[from] SealError),
    /// It is about other session descriptions: somebody changed ours or the peer's on the way, or it is an old one.
    #[error("the authentication is of other session descriptions")]
    OtherDescriptions,
}

impl ConnectionAuth {
    /// The bytes of the plaintext: two hashes of 32.
    pub const LEN: usize = 64;
    /// The bytes of the blob on stream 0: 12 + 64 + 16.
    pub const SEALED_LEN: usize = Self::LEN + SEAL_OVERHEAD;

    /// Of the connection that these session descriptions make.
    #[must_use]
    pub fn new(offer_sdp: &str, answer_sdp: &str) -> Self {
        let mut plaintext = [0; Self::LEN];
        for (half, sdp) in plaintext.chunks_exact_mut(32).zip([offer_sdp, answer_sdp]) {
            half.copy_from_slice(&Sha256::digest(sdp));
        }
        Self(plaintext)
    }

    /// The plaintext.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// The blob for the peer: one message on stream 0. Make it before the peer's is looked at, with a random nonce.
    ///
    /// # Errors
    /// [`SealError::NonContributory`].
    pub fn seal(
        self,
        own: &SecretKey,
        to: &PublicKey,
        nonce: [u8; NONCE_LEN],
    ) -> Result<[u8; Self::SEALED_LEN], SealError> {
        let sealed = seal(own, to, nonce, &self.0)?;
        let len = sealed.len();
        sealed.try_into().map_err(|_| SealError::TooLong { len })
    }

    /// Checks the peer's blob. `ours` is the one that we made for this connection.
    ///
    /// # Errors
    /// An [`AuthError`]. The connection must then be closed.
    pub fn check(
        self,
        own: &SecretKey,
        from: &PublicKey,
        ours: &[u8; Self::SEALED_LEN],
        theirs: &[u8],
    ) -> Result<(), AuthError> {
        if theirs.len() != Self::SEALED_LEN {
            return Err(AuthError::WrongLength { len: theirs.len() });
        }
        // Nothing less than equal can be a reflection: whoever changes a byte, of the nonce too, breaks the tag.
        if theirs == ours {
            return Err(AuthError::Reflected);
        }
        if open(own, from, theirs)? == self.0 { Ok(()) } else { Err(AuthError::OtherDescriptions) }
    }
}

/// Hexadecimal, for logs; hashes are no secrets.
impl std::fmt::Debug for ConnectionAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionAuth(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}
