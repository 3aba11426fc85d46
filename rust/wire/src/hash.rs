//! Mina's own identifiers, as the protocol carries them: hashes, account keys, and the id of a SNARK work.
//!
//! The library computes none of the Poseidon hashes; it takes them from its user and carries them.

use std::fmt;
use std::str::FromStr;

use blake2::{Blake2b, Digest, digest::consts::U32};

use crate::base58::{self, ParseTextError};
use crate::binprot::{Binprot, DecodeError, Reader, Writer};

/// A 32-byte identifier with a base58check text.
macro_rules! hash {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl Binprot for $name {
            fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
                reader.array($what).map(Self)
            }

            fn write(&self, writer: &mut Writer) {
                writer.raw(&self.0);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base58::encode_check(&$prefix, &self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseTextError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                base58::decode_check(text, &$prefix, $what).map(Self)
            }
        }
    };
}

hash!(
    /// The name of a block: Poseidon over its protocol state. Text `3N..`.
    StateHash, "state hash", [0x10, 0x01]
);
hash!(
    /// The Merkle root of a ledger. Text `j..`.
    LedgerHash, "ledger hash", [0x05, 0x01]
);
hash!(
    /// The name of a transaction: BLAKE2b-256 of its command with dummy signatures and proofs. It does not commit to the
    /// real ones. Text `5J..`.
    TransactionHash, "transaction hash", [0x1d, 0x20]
);

/// The name of the network that a node belongs to: nodes of different chains do not connect. Text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub [u8; 32]);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({self})")
    }
}

impl FromStr for ChainId {
    type Err = ParseTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 {
            return Err(ParseTextError::WrongLength { expected: "chain id" });
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let (Some(high), Some(low)) = (high, low) else {
                return Err(ParseTextError::NotHexadecimal);
            };
            *byte = u8::try_from(high * 16 + low).map_err(|_| ParseTextError::NotHexadecimal)?;
        }
        Ok(Self(bytes))
    }
}

impl Binprot for ChainId {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.array("chain id").map(Self)
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

/// A Mina account's public key: the x coordinate of a point of the Pallas curve, little-endian, and the parity of y. Text
/// `B62..`. Not checked to be a point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompressedPublicKey {
    /// The x coordinate, little-endian.
    pub x: [u8; 32],
    /// Whether y is odd.
    pub is_odd: bool,
}

impl CompressedPublicKey {
    /// The bytes of the binprot form, always as many.
    pub const LEN: usize = 33;
    const TEXT_PREFIX: [u8; 3] = [0xcb, 0x01, 0x01];
}

impl Binprot for CompressedPublicKey {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { x: reader.array("account key")?, is_odd: reader.bool("account key parity")? })
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.x);
        writer.bool(self.is_odd);
    }
}

impl fmt::Display for CompressedPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = [self.is_odd.into(); Self::LEN];
        value.iter_mut().zip(self.x).for_each(|(to, from)| *to = from);
        f.write_str(&base58::encode_check(&Self::TEXT_PREFIX, &value))
    }
}

impl fmt::Debug for CompressedPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompressedPublicKey({self})")
    }
}

impl FromStr for CompressedPublicKey {
    type Err = ParseTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "account key";
        let value: [u8; Self::LEN] = base58::decode_check(text, &Self::TEXT_PREFIX, expected)?;
        let (x, parity) = value.split_first_chunk::<32>().ok_or(ParseTextError::WrongLength { expected })?;
        match parity {
            [0] => Ok(Self { x: *x, is_odd: false }),
            [1] => Ok(Self { x: *x, is_odd: true }),
            _ => Err(ParseTextError::WrongPrefix { expected }),
        }
    }
}

/// What a SNARK work proves, and so its name: four ledger hashes, of the first and second pass at its source, then at its
/// target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub [u8; 128]);

impl JobId {
    /// The bytes of the binprot form, always as many.
    pub const LEN: usize = 128;
}

impl Binprot for JobId {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.array("job id").map(Self)
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

/// `source1_source2-target1_target2`, each a ledger hash's text.
impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (hash, separator) in self.0.as_chunks::<32>().0.iter().zip(["_", "-", "_", ""]) {
            write!(f, "{}{separator}", LedgerHash(*hash))?;
        }
        Ok(())
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

impl FromStr for JobId {
    type Err = ParseTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = ParseTextError::WrongLength { expected: "job id" };
        let (source, target) = text.split_once('-').ok_or_else(|| wrong.clone())?;
        let mut bytes = [0; Self::LEN];
        let mut hashes = source.splitn(2, '_').chain(target.splitn(2, '_'));
        for part in bytes.as_chunks_mut::<32>().0 {
            let hash: LedgerHash = hashes.next().ok_or_else(|| wrong.clone())?.parse()?;
            *part = hash.0;
        }
        Ok(Self(bytes))
    }
}

/// Our name of a block: BLAKE2b-256 of its header's bytes. Unlike the [`StateHash`] anyone who has the header can compute it.
/// Text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey(pub [u8; 32]);

impl BlockKey {
    /// The key of the block whose header has these bytes (its binprot form, nothing before or behind).
    #[must_use]
    pub fn of(header: &[u8]) -> Self {
        Self(Blake2b::<U32>::digest(header).into())
    }
}

impl Binprot for BlockKey {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.array("block key").map(Self)
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

/// The name of a transaction or a completed work within compact blocks: BLAKE2b-256 of all its bytes, as blocks carry it. (A
/// [`TransactionHash`] does not commit to signatures and proofs.) Text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub [u8; 32]);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ItemId({self})")
    }
}

/// The Merkle root over the ids of a block's items, with their number. Text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemsRoot(pub [u8; 32]);

impl Binprot for ItemsRoot {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.array("items root").map(Self)
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl fmt::Display for ItemsRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for ItemsRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ItemsRoot({self})")
    }
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockKey({self})")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_is_64_hexadecimal_digits_and_nothing_else() {
        let text = "a7351abc7ddf2ea92d1b38cc8e636c271c1dfd2c081c637f62ebc2af34eb7cc1";
        let id: ChainId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        assert!(text[1..].parse::<ChainId>().is_err());
        assert!(format!("+{}", &text[1..]).parse::<ChainId>().is_err());
        assert!("\u{fc}".repeat(32).parse::<ChainId>().is_err());
    }

    #[test]
    fn a_block_key_is_blake2b_of_256_bits() {
        // BLAKE2b-256 of nothing; RFC 7693's function with an output of 32 bytes.
        assert_eq!(BlockKey::of(b"").to_string(), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    }

    #[test]
    fn an_account_key_with_another_parity_than_0_and_1_is_refused() {
        let text = base58::encode_check(&CompressedPublicKey::TEXT_PREFIX, &[2; 33]);
        assert!(text.parse::<CompressedPublicKey>().is_err());
    }

    #[test]
    fn a_job_id_has_four_hashes() {
        let id = JobId(std::array::from_fn(|i| i as u8));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert!(text.replace('-', "_").parse::<JobId>().is_err());
        assert!(format!("{text}_{}", LedgerHash([0; 32])).parse::<JobId>().is_err());
        assert!(text[..text.len() - 1].parse::<JobId>().is_err());
    }
}
