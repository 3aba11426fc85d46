//! Who a node is: an ed25519 key, whose public half is the node's [`PeerId`] (docs/SPEC.md, "Identities").

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::base58::{self, ParseTextError};
use crate::binprot::{Binprot, DecodeError, Reader, Writer};

const SECRET_KEY_VERSION: u8 = 0x80;
const PUBLIC_KEY_VERSION: u8 = 0x16;
const PEER_ID_VERSION: u8 = 0x2f;

/// What libp2p puts before an ed25519 key: the identity multihash (0x00) of 0x24 bytes, which are a protobuf message of the
/// key type (field 1: 1, ed25519) and the key (field 2, 0x20 bytes).
const LIBP2P_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const LIBP2P_LEN: usize = LIBP2P_PREFIX.len() + 32;

/// A node's secret: the 32-byte seed of an ed25519 key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of this seed. Every 32 bytes are a key; take them from the operating system's randomness.
    #[must_use]
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed. What is returned wipes itself; copies of it do not.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The id of the node that has this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// The ed25519 signature of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The secret that this node and another have in common, and nobody else: x25519 of our scalar (the first half of the
    /// seed's SHA-512, clamped) and the Montgomery form of the other's key. It is the same from both sides, and for ever.
    ///
    /// # Errors
    /// [`NonContributory`] if the other's key is of small order: everybody shares this secret with it.
    pub fn shared_key(&self, other: &PublicKey) -> Result<Zeroizing<[u8; 32]>, NonContributory> {
        let scalar = Zeroizing::new(self.0.to_scalar_bytes());
        let shared = Zeroizing::new(other.0.to_montgomery().mul_clamped(*scalar).to_bytes());
        // All bytes are looked at, whatever they are.
        if shared.iter().fold(0, |any, byte| any | byte) == 0 { Err(NonContributory) } else { Ok(shared) }
    }

    /// The text form: base58check with version 0x80. Whoever holds it is the node.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base58::encode_check(&[SECRET_KEY_VERSION], self.0.as_bytes()))
    }
}

impl FromStr for SecretKey {
    type Err = ParseTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        base58::decode_check(text, &[SECRET_KEY_VERSION], "secret key").map(Self::from_bytes)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A signature that is not the key's over the message, or a key that must not be trusted with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct InvalidSignature;

/// A key of small order was to take part in a shared secret, which would then be no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other's key is of small order: nothing shared with it is secret")]
pub struct NonContributory;

/// An ed25519 public key: 32 bytes that are a point of the curve.
///
/// Points of small order are accepted here, as the existing node accepts them on the wire. They identify nobody, for
/// anyone can sign for them: a transport refuses them by [`is_small_order`](Self::is_small_order).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key with this compressed form.
    ///
    /// # Errors
    /// [`ParseTextError::InvalidPoint`] if the bytes are no point of the curve.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, ParseTextError> {
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| ParseTextError::InvalidPoint)
    }

    /// The compressed form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The id of the node with this key: the same 32 bytes.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.to_bytes())
    }

    /// Whether the point is one of the eight of small order, for which anyone can make signatures.
    #[must_use]
    pub fn is_small_order(&self) -> bool {
        self.0.is_weak()
    }

    /// Checks a signature by the strict rules (RFC 8032, and no point of small order).
    ///
    /// # Errors
    /// [`InvalidSignature`].
    pub fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), InvalidSignature> {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| InvalidSignature)
    }
}

impl Binprot for PublicKey {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let offset = reader.position();
        let what = "public key";
        let bytes = reader.array(what)?;
        Self::from_bytes(bytes).map_err(|_| DecodeError::InvalidPoint { offset, what })
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(self.0.as_bytes());
    }
}

/// Base58check with version 0x16.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58::encode_check(&[PUBLIC_KEY_VERSION], self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = ParseTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(base58::decode_check(text, &[PUBLIC_KEY_VERSION], "public key")?)
    }
}

/// A node's name: the bytes of its public key, ordered as bytes are.
///
/// Not every 32 bytes are a key; [`public_key`](Self::public_key) tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The most bytes of the binprot form: four nat0 of 64 bits.
    pub const MAX_LEN: usize = 36;

    /// The id with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, those of the public key.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The public key.
    ///
    /// # Errors
    /// [`ParseTextError::InvalidPoint`] if nobody can have this id, for it is no point of the curve.
    pub fn public_key(&self) -> Result<PublicKey, ParseTextError> {
        PublicKey::from_bytes(self.0)
    }

    /// The text that libp2p uses for the same key: `12D3KooW..`.
    #[must_use]
    pub fn to_libp2p(&self) -> String {
        bs58::encode([&LIBP2P_PREFIX[..], &self.0].concat()).into_string()
    }

    /// Reads libp2p's text of an ed25519 key.
    ///
    /// # Errors
    /// A [`ParseTextError`] if it is none.
    pub fn from_libp2p(text: &str) -> Result<Self, ParseTextError> {
        let expected = "libp2p peer id of an ed25519 key";
        let mut buffer = [0; LIBP2P_LEN];
        base58::decode_plain(text, &mut buffer, expected)?
            .strip_prefix(&LIBP2P_PREFIX)
            .ok_or(ParseTextError::WrongPrefix { expected })?
            .try_into()
            .map(Self)
            .map_err(|_| ParseTextError::WrongLength { expected })
    }
}

impl Binprot for PeerId {
    /// Four nat0, each 64 bits of the id, big-endian; not its bytes as they are.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut bytes = [0; 32];
        for quarter in bytes.chunks_exact_mut(8) {
            quarter.copy_from_slice(&reader.nat0("peer id")?.to_be_bytes());
        }
        Ok(Self(bytes))
    }

    fn write(&self, writer: &mut Writer) {
        for quarter in self.0.as_chunks::<8>().0 {
            writer.nat0(u64::from_be_bytes(*quarter));
        }
    }
}

/// Base58check with version 0x2f.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58::encode_check(&[PEER_ID_VERSION], &self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// Takes both text forms: our own and libp2p's.
impl FromStr for PeerId {
    type Err = ParseTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A multihash of the identity kind always starts with "1", the digit zero; ours, of version 0x2f, never does.
        if text.starts_with('1') {
            return Self::from_libp2p(text);
        }
        base58::decode_check(text, &[PEER_ID_VERSION], "peer id").map(Self)
    }
}

impl From<PublicKey> for PeerId {
    fn from(key: PublicKey) -> Self {
        key.peer_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_checked_against_key_and_message() {
        let secret = SecretKey::from_bytes([7; 32]);
        let key = secret.public_key();
        let signature = secret.sign(b"message");
        assert_eq!(key.verify_strict(b"message", &signature), Ok(()));
        assert_eq!(key.verify_strict(b"massage", &signature), Err(InvalidSignature));
        let other = SecretKey::from_bytes([8; 32]).public_key();
        assert_eq!(other.verify_strict(b"message", &signature), Err(InvalidSignature));
    }

    #[test]
    fn anyone_can_sign_for_a_small_order_key_so_it_is_named_and_verifies_nothing() {
        let mut one = [0; 32];
        one[0] = 1;
        for bytes in [[0; 32], one] {
            let key = PublicKey::from_bytes(bytes).unwrap();
            assert!(key.is_small_order());
            // R = the key, S = 0: valid for the identity under the lax rules.
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes);
            assert_eq!(key.verify_strict(b"", &signature), Err(InvalidSignature));
        }
        assert!(!SecretKey::from_bytes([7; 32]).public_key().is_small_order());
    }

    #[test]
    fn a_shared_key_is_the_same_from_both_sides_and_never_that_of_a_small_order_key() {
        let [a, b, c] = [7, 8, 9].map(|seed| SecretKey::from_bytes([seed; 32]));
        let shared = a.shared_key(&b.public_key()).unwrap();
        assert_eq!(b.shared_key(&a.public_key()), Ok(shared.clone()));
        assert_ne!(c.shared_key(&a.public_key()), Ok(shared));
        // y = 0, 1 and -1: points of order 4, 1 and 2.
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        for bytes in [[0; 32], one, minus_one] {
            let key = PublicKey::from_bytes(bytes).unwrap();
            assert_eq!(a.shared_key(&key), Err(NonContributory));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = SecretKey::from_bytes([7; 32]);
        assert_eq!(format!("{secret:?}"), "SecretKey(..)");
    }

    #[test]
    fn an_id_is_read_in_both_texts_and_need_not_be_a_key() {
        let id = PeerId::from_bytes([2; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_libp2p().parse(), Ok(id));
        assert!(id.to_libp2p().starts_with("12D3KooW"));
        assert_eq!(PeerId::from_bytes([0xfe; 32]).public_key(), PublicKey::from_bytes([0xfe; 32]));
        let mut two = [0; 32];
        two[0] = 2;
        assert_eq!(PeerId::from_bytes(two).public_key(), Err(ParseTextError::InvalidPoint));
        // libp2p has other kinds of ids: this is one of a key that is hashed, as RSA's are.
        assert!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<PeerId>().is_err());
    }
}
