use std::ops::Range;

use blake2::{Blake2b, Digest, digest::consts::U32};
use mina_p2p_wire::message::{ItemId, SnarkInfo, TransactionInfo};
use mina_p2p_wire::{CompressedPublicKey, JobId, TransactionHash};

use crate::LayoutError;
use crate::format::{BERKELEY, Mark};
use crate::walk::{Visitor, exactly, int_value};

/// The id of an item: BLAKE2b-256 of its full canonical bytes, as they are in a block.
///
/// Not Mina's transaction hash, which does not commit to signatures and proofs: commands that differ in them share it.
#[must_use]
pub fn item_id(item: &[u8]) -> ItemId {
    item_id_of_parts(&[item])
}

/// The id of an item whose bytes are those of the slices, one after the other.
#[must_use]
pub fn item_id_of_parts(parts: &[&[u8]]) -> ItemId {
    let mut hash = Blake2b::<U32>::new();
    parts.iter().for_each(|part| hash.update(part));
    ItemId(hash.finalize().into())
}

/// Why the facts of an item are not known from its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// It is no such item.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The hash of a zkApp command with a proof needs the network's dummy proof.
    #[error("the proof at offset {offset} stands in the command's hash as the dummy proof, which is not configured")]
    NeedsDummyProof {
        /// Where the first proof is.
        offset: usize,
    },
}

/// The hash, fee payer, fee and nonce of a command, from its bytes in canonical form, with the tag of `User_command`.
///
/// The hash is BLAKE2b-256 of the command without that tag, every signature replaced by the pair (1, 1) and every proof
/// by `dummy_proof`: the binprot form of OCaml's `Proof.transaction_dummy`, which the node has.
///
/// # Errors
/// [`InfoError::Layout`] if it is not exactly one command; [`InfoError::NeedsDummyProof`] if it has a proof and there is no
/// `dummy_proof`. The hash then has to come from the caller.
pub fn command_info(command: &[u8], dummy_proof: Option<&[u8]>) -> Result<TransactionInfo, InfoError> {
    let facts = Command {
        bytes: command,
        dummy_proof,
        hash: Blake2b::new(),
        // The tag is not hashed.
        hashed: 1,
        first_proof: None,
        fee: 0..0,
        fee_payer: 0..0,
        nonce: 0..0,
    };
    let mut facts = exactly(command, &BERKELEY.command, "command", facts)?;
    if let (Some(offset), None) = (facts.first_proof, dummy_proof) {
        return Err(InfoError::NeedsDummyProof { offset });
    }
    facts.replace(command.len()..command.len(), &[]);
    Ok(TransactionInfo {
        hash: TransactionHash(facts.hash.finalize().into()),
        fee_payer: key(command, &facts.fee_payer),
        fee: number(command, &facts.fee),
        nonce: u32::try_from(number(command, &facts.nonce) & u64::from(u32::MAX)).unwrap_or_default(),
    })
}

struct Command<'a> {
    bytes: &'a [u8],
    dummy_proof: Option<&'a [u8]>,
    hash: Blake2b<U32>,
    /// Up to where the bytes are in the hash.
    hashed: usize,
    first_proof: Option<usize>,
    fee: Range<usize>,
    fee_payer: Range<usize>,
    nonce: Range<usize>,
}

/// What stands for a signature in a hash: field element 1, scalar 1.
#[rustfmt::skip]
const DUMMY_SIGNATURE: [u8; 64] = [
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

impl Command<'_> {
    /// Hashes what is before the range, then `with` for what is in it.
    fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        self.hash.update(self.bytes.get(self.hashed..range.start).unwrap_or_default());
        self.hash.update(with);
        self.hashed = range.end;
    }
}

impl Visitor for Command<'_> {
    fn mark(&mut self, mark: Mark, range: Range<usize>) {
        match mark {
            Mark::Fee => self.fee = range,
            Mark::FeePayer => self.fee_payer = range,
            Mark::Nonce => self.nonce = range,
            Mark::Signature => self.replace(range, &DUMMY_SIGNATURE),
            Mark::Proof => {
                self.first_proof.get_or_insert(range.start);
                self.replace(range, self.dummy_proof.unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// The job id, fee and prover of a work, from its bytes in canonical form as blocks carry it.
///
/// # Errors
/// A [`LayoutError`] if it is not exactly one work.
pub fn work_info(work: &[u8]) -> Result<SnarkInfo, LayoutError> {
    let facts = exactly(work, &BERKELEY.work, "completed work", Work::default())?;
    Ok(SnarkInfo {
        job_id: job_id(work, &facts.source, &facts.target),
        fee: number(work, &facts.fee),
        prover: key(work, &facts.prover),
    })
}

#[derive(Default)]
struct Work {
    fee: Range<usize>,
    prover: Range<usize>,
    /// The source ledgers of the first statement.
    source: Option<Range<usize>>,
    /// The target ledgers of the last statement.
    target: Range<usize>,
}

impl Visitor for Work {
    fn mark(&mut self, mark: Mark, range: Range<usize>) {
        match mark {
            Mark::Fee => self.fee = range,
            Mark::Prover => self.prover = range,
            Mark::Source => drop(self.source.get_or_insert(range)),
            Mark::Target => self.target = range,
            _ => {}
        }
    }
}

fn job_id(bytes: &[u8], source: &Option<Range<usize>>, target: &Range<usize>) -> JobId {
    let mut id = [0; JobId::LEN];
    let (to_source, to_target) = id.split_at_mut(JobId::LEN / 2);
    let parts = [(to_source, source.clone().unwrap_or_default()), (to_target, target.clone())];
    for (to, range) in parts {
        let from = bytes.get(range).unwrap_or_default();
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
    JobId(id)
}

fn key(bytes: &[u8], range: &Range<usize>) -> CompressedPublicKey {
    let bytes = bytes.get(range.clone()).unwrap_or_default();
    let x = bytes.first_chunk::<32>().copied().unwrap_or_default();
    CompressedPublicKey { x, is_odd: bytes.get(32) == Some(&1) }
}

/// An amount: unsigned, but written as if it had a sign.
fn number(bytes: &[u8], range: &Range<usize>) -> u64 {
    int_value(bytes.get(range.clone()).unwrap_or_default()).cast_unsigned()
}
