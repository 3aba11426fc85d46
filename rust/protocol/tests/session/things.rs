//! Peers, blocks and items to test with, each named by a number.

use bytes::Bytes;
use mina_p2p_protocol::{SessionLimits, Tip};
use mina_p2p_wire::message::{SnarkInfo, SnarkJobCommitment, StagedLedgerPart, StagedLedgerPartKind, TransactionInfo};
use mina_p2p_wire::{CompressedPublicKey, JobId, PeerId, PublicKey, SecretKey, StateHash, TransactionHash};

fn spread<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(crate) fn peer(number: u64) -> PeerId {
    PeerId::from_bytes(spread(number))
}

/// The key of a node.
pub(crate) fn key(number: u64) -> PublicKey {
    SecretKey::from_bytes(spread(number)).public_key()
}

fn account(number: u64) -> CompressedPublicKey {
    CompressedPublicKey { x: spread(number), is_odd: number % 2 == 1 }
}

pub(crate) fn state_hash(number: u64) -> StateHash {
    StateHash(spread(number))
}

pub(crate) fn transaction_hash(number: u64) -> TransactionHash {
    TransactionHash(spread(number))
}

pub(crate) fn job_id(number: u64) -> JobId {
    JobId(spread(number))
}

/// A block of `len` bytes, at least 40, whose state hash is `number`'s.
pub(crate) fn tip(number: u64, parent: u64, len: usize) -> Tip {
    let mut block = vec![0; len.max(40)];
    block[..32].copy_from_slice(&state_hash(parent).0);
    block[32..40].copy_from_slice(&number.to_be_bytes());
    Tip::new(state_hash(number), block.into()).unwrap()
}

pub(crate) fn transaction(number: u64) -> TransactionInfo {
    TransactionInfo { hash: transaction_hash(number), fee_payer: account(number), fee: number, nonce: number as u32 }
}

pub(crate) fn work(number: u64, fee: u64) -> SnarkInfo {
    SnarkInfo { job_id: job_id(number), fee, prover: account(fee) }
}

pub(crate) fn commitment(number: u64) -> SnarkJobCommitment {
    SnarkJobCommitment { timestamp_ms: number, job_id: job_id(number), fee: number, snarker: account(number) }
}

/// A staged ledger of so many trees, in parts of `len` bytes or a few.
pub(crate) fn parts(trees: u32, len: usize) -> Vec<StagedLedgerPart> {
    let part = |kind, body: Vec<u8>| StagedLedgerPart { kind, body: Bytes::from(body) };
    let mut parts = vec![
        part(StagedLedgerPartKind::Base, vec![1; len]),
        // The count of trees, below 128 one byte.
        part(StagedLedgerPartKind::ScanStateBase, vec![trees as u8]),
        part(StagedLedgerPartKind::PreviousIncompleteZkappUpdates, vec![3; len]),
    ];
    parts.extend((0..trees).map(|tree| part(StagedLedgerPartKind::ScanStateTree, vec![tree as u8; len])));
    parts
}

/// Limits small enough that tests reach them.
pub(crate) fn small_limits() -> SessionLimits {
    SessionLimits {
        block: 4096,
        best_tip_with_proof: 2048,
        ledger_answer: 512,
        staged_ledger: 16 * 1024,
        work: 256,
        transaction: 256,
        initial_peers: 4096,
        staged_ledger_part: 2048,
        extension_query: 512,
        extension_answer: 2048,
        requests_waiting: 16,
        ..SessionLimits::default()
    }
}
