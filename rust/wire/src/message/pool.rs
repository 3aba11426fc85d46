//! What a pool has: transactions (channel 4), SNARK works (5) and commitments to them (6). The three channels have the same
//! messages around different items; the items only describe, bodies are fetched by RPC.

use bytes::Bytes;

use super::{Frame, TAG_LEN, small};
use crate::binprot::{Binprot, DecodeError, Decoded, MAX_INT_LEN, MAX_U8_LEN, Reader, Writer};
use crate::hash::{CompressedPublicKey, JobId, TransactionHash};

/// The most bytes of a permit: tag and limit.
pub const MAX_GET_NEXT_LEN: usize = TAG_LEN + MAX_U8_LEN;
/// The most bytes of a promise: tag and count.
pub const MAX_WILL_SEND_LEN: usize = TAG_LEN + MAX_U8_LEN;
/// The most bytes of a message with a transaction's info: tag, hash, fee payer, fee, nonce.
pub const MAX_TRANSACTION_INFO_LEN: usize = TAG_LEN + TransactionInfo::MAX_LEN;
/// The most bytes of a message with a SNARK work's info: tag, job id, fee, prover.
pub const MAX_SNARK_INFO_LEN: usize = TAG_LEN + SnarkInfo::MAX_LEN;
/// The most bytes of a message with a commitment: tag, timestamp, job id, fee, snarker.
pub const MAX_COMMITMENT_LEN: usize = TAG_LEN + SnarkJobCommitment::MAX_LEN;

/// An item of one of the pools.
pub trait PoolItem: Binprot {
    /// The channel's name in errors.
    const MESSAGE: &'static str;
    /// The most bytes of the item in its canonical form.
    const MAX_LEN: usize;
}

/// A message of channels 4, 5 and 6.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PoolMessage<Item> {
    /// A permit for items.
    GetNext {
        /// For how many. 0 can be read, but breaks the protocol.
        limit: u8,
    },
    /// A promise: exactly so many items follow.
    WillSend {
        /// How many. 0 can be read, but breaks the protocol.
        count: u8,
    },
    /// One of the promised items.
    Item(Item),
}

/// A message of channel 4.
pub type TransactionMessage = PoolMessage<TransactionInfo>;
/// A message of channel 5.
pub type SnarkMessage = PoolMessage<SnarkInfo>;
/// A message of channel 6.
pub type CommitmentMessage = PoolMessage<SnarkJobCommitment>;

impl<Item: PoolItem> PoolMessage<Item> {
    /// The most bytes of the body of a message with an item, in its canonical form.
    pub const MAX_ITEM_MESSAGE_LEN: usize = TAG_LEN + Item::MAX_LEN;

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            Ok(match reader.tag(3, Item::MESSAGE)? {
                0 => Self::GetNext { limit: reader.u8("limit")? },
                1 => Self::WillSend { count: reader.u8("count")? },
                _ => Self::Item(Item::read(reader)?),
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        small(|writer| match self {
            Self::GetNext { limit } => {
                writer.byte(0);
                writer.u8(*limit);
            }
            Self::WillSend { count } => {
                writer.byte(1);
                writer.u8(*count);
            }
            Self::Item(item) => {
                writer.byte(2);
                item.write(writer);
            }
        })
    }
}

/// What is known of a transaction before it is fetched. All of it is a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionInfo {
    /// Its name.
    pub hash: TransactionHash,
    /// Who pays the fee.
    pub fee_payer: CompressedPublicKey,
    /// The fee, in nanomina.
    pub fee: u64,
    /// The fee payer's nonce.
    pub nonce: u32,
}

impl PoolItem for TransactionInfo {
    const MESSAGE: &'static str = "transaction message";
    const MAX_LEN: usize = 32 + CompressedPublicKey::LEN + MAX_INT_LEN + MAX_INT_LEN;
}

impl Binprot for TransactionInfo {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            hash: TransactionHash::read(reader)?,
            fee_payer: CompressedPublicKey::read(reader)?,
            fee: reader.nat0("transaction fee")?,
            nonce: reader.u32("transaction nonce")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.hash.write(writer);
        self.fee_payer.write(writer);
        writer.nat0(self.fee);
        writer.u32(self.nonce);
    }
}

/// What is known of a SNARK work before it is fetched. All of it is a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnarkInfo {
    /// What it proves.
    pub job_id: JobId,
    /// What the prover asks for it, in nanomina.
    pub fee: u64,
    /// Who made it.
    pub prover: CompressedPublicKey,
}

impl PoolItem for SnarkInfo {
    const MESSAGE: &'static str = "snark message";
    const MAX_LEN: usize = JobId::LEN + MAX_INT_LEN + CompressedPublicKey::LEN;
}

impl Binprot for SnarkInfo {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            job_id: JobId::read(reader)?,
            fee: reader.uint64("snark fee")?,
            prover: CompressedPublicKey::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.job_id.write(writer);
        writer.uint64(self.fee);
        self.prover.write(writer);
    }
}

/// Somebody's word that he is working on a SNARK, so that others need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnarkJobCommitment {
    /// When it was given, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// What he works on.
    pub job_id: JobId,
    /// What he will ask for it, in nanomina.
    pub fee: u64,
    /// Who he is.
    pub snarker: CompressedPublicKey,
}

impl PoolItem for SnarkJobCommitment {
    const MESSAGE: &'static str = "commitment message";
    const MAX_LEN: usize = MAX_INT_LEN + JobId::LEN + MAX_INT_LEN + CompressedPublicKey::LEN;
}

impl Binprot for SnarkJobCommitment {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            timestamp_ms: reader.nat0("commitment timestamp")?,
            job_id: JobId::read(reader)?,
            fee: reader.uint64("commitment fee")?,
            snarker: CompressedPublicKey::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.nat0(self.timestamp_ms);
        self.job_id.write(writer);
        writer.uint64(self.fee);
        self.snarker.write(writer);
    }
}
