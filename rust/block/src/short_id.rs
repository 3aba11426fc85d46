//! Short ids: six bytes that name an item to a peer that probably has it. Their key differs from block to block and sender
//! to sender, so that nobody can make two items that collide everywhere.

use std::fmt;

use blake2::{Blake2b, Digest, digest::consts::U32};
use mina_p2p_wire::message::{BlockKey, ItemId, SHORT_ID_LEN, ShortId};
use siphasher::sip::SipHasher24;

/// The bits of a short id.
pub(crate) const BITS: u32 = 8 * SHORT_ID_LEN as u32;

/// BLAKE2b over a header, to be continued: it names the block, and with a nonce it is the key of short ids. The header, most of
/// a small block, is hashed once for both.
#[derive(Clone)]
pub struct HeaderHash(Blake2b<U32>);

impl HeaderHash {
    /// Hashes a header.
    #[must_use]
    pub fn of(header: &[u8]) -> Self {
        Self(Blake2b::new_with_prefix(header))
    }

    /// The block's key.
    #[must_use]
    pub fn key(&self) -> BlockKey {
        BlockKey(self.0.clone().finalize().into())
    }
}

impl fmt::Debug for HeaderHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderHash({})", self.key())
    }
}

/// What the short ids of one list are made with.
#[derive(Clone)]
pub struct ShortIdKey {
    hasher: SipHasher24,
    mask: u64,
}

impl ShortIdKey {
    /// The key of the short ids in a list with `nonce`, of the block with this header: the first 16 bytes of
    /// BLAKE2b-256(header || nonce).
    #[must_use]
    pub fn new(header: &[u8], nonce: &[u8; 8]) -> Self {
        Self::with_bits(&HeaderHash::of(header), nonce, BITS)
    }

    /// As [`new`](Self::new), with only the low `bits` of a short id not 0: collisions for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_bits(header: &HeaderHash, nonce: &[u8; 8], bits: u32) -> Self {
        let hash: [u8; 32] = header.0.clone().chain_update(nonce).finalize().into();
        let mut key = [0; 16];
        key.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self { hasher: SipHasher24::new_with_key(&key), mask: u64::MAX >> 64_u32.saturating_sub(bits.clamp(1, BITS)) }
    }

    /// An item's short id: the low 48 bits of SipHash-2-4 of its id, little-endian.
    #[must_use]
    pub fn short_id(&self, id: &ItemId) -> ShortId {
        let [a, b, c, d, e, f, ..] = self.number(id).to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// A short id as a number below 2^48.
    pub(crate) fn number(&self, id: &ItemId) -> u64 {
        self.hasher.hash(&id.0) & self.mask
    }
}

/// The number of a short id, as [`ShortIdKey::number`] gives it.
pub(crate) fn number_of(short_id: &ShortId) -> u64 {
    let [a, b, c, d, e, f] = *short_id;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}
