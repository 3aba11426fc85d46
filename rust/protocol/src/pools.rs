//! What we serve to peers: our best tip, recent blocks, and the pools.

use std::sync::Arc;

use bytes::Bytes;
use mina_p2p_block::{ItemSource, KnownBlock, PoolItem, block_key};
use mina_p2p_wire::binprot::DecodeError;
use mina_p2p_wire::message::{
    BlockKey, CompressedPublicKey, ItemId, JobId, SnarkInfo, SnarkJobCommitment, StateHash, TransactionHash,
    TransactionInfo, previous_state_hash,
};

use crate::blocks::Blocks;
use crate::pool_log::PoolLog;

/// Our best tip.
#[derive(Clone, Debug)]
pub struct Tip {
    /// The block's name.
    pub key: BlockKey,
    /// Its state hash, as the user says.
    pub state_hash: StateHash,
    /// Its parent's state hash, from its own bytes.
    pub previous_state_hash: StateHash,
    /// The block.
    pub block: Bytes,
    /// The block with its layout, if it is one whose body is what its header names: then it can travel compactly.
    pub known: Option<Arc<KnownBlock>>,
}

impl Tip {
    /// Names a block. Hashes all of it.
    ///
    /// # Errors
    /// If the block is too short to be one.
    pub fn new(state_hash: StateHash, block: Bytes) -> Result<Tip, DecodeError> {
        match KnownBlock::of(block.clone()) {
            Ok(known) => Ok(Tip::of_known(state_hash, Arc::new(known))),
            Err(_) => Tip::whole(state_hash, block),
        }
    }

    /// A block that is known. Hashes nothing.
    #[must_use]
    pub fn of_known(state_hash: StateHash, known: Arc<KnownBlock>) -> Tip {
        let previous_state_hash = known.layout.header.previous_state_hash;
        Tip { key: known.key, state_hash, previous_state_hash, block: known.bytes.clone(), known: Some(known) }
    }

    /// A block that can only travel whole.
    ///
    /// # Errors
    /// If the block is too short to be one.
    pub fn whole(state_hash: StateHash, block: Bytes) -> Result<Tip, DecodeError> {
        let previous_state_hash = previous_state_hash(&block)?;
        Ok(Tip { key: block_key(&block), state_hash, previous_state_hash, block, known: None })
    }
}

/// What we serve to peers: our best tip, and the pools.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    /// Our best tip, once there is one. Set it by [`Pools::set_tip`].
    pub tip: Option<Tip>,
    /// The last blocks that our user gave or accepted.
    pub blocks: Blocks,
    /// Transactions, with their bodies.
    pub transactions: PoolLog<TransactionHash, TransactionInfo>,
    /// Completed works, with their bodies.
    pub works: PoolLog<JobId, SnarkInfo>,
    /// Commitments to SNARK jobs; no bodies.
    pub commitments: PoolLog<JobId, SnarkJobCommitment>,
}

impl Pools {
    /// Makes a block our best tip: it is relayed, and served by its state hash.
    pub fn set_tip(&mut self, tip: Tip) {
        self.blocks.set_tip(&tip);
        self.tip = Some(tip);
    }

    /// Whether this very transaction is in the pool.
    #[must_use]
    pub fn has_transaction(&self, info: &TransactionInfo) -> bool {
        self.transactions.has(&info.hash, info)
    }

    /// Whether this very work is in the pool. Another offer for the same job, at another fee, is not.
    #[must_use]
    pub fn has_work(&self, info: &SnarkInfo) -> bool {
        self.works.has(&info.job_id, info)
    }

    /// Whether this very commitment is in the pool.
    #[must_use]
    pub fn has_commitment(&self, commitment: &SnarkJobCommitment) -> bool {
        self.commitments.has(&commitment.job_id, commitment)
    }
}

/// Blocks are rebuilt from the pools, and from what the last blocks included: forks use the same items again.
impl ItemSource for Pools {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.transactions.ids().for_each(&mut *f);
        self.works.ids().for_each(&mut *f);
        self.blocks.ids().for_each(&mut *f);
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        if let Some((_, entry)) = self.transactions.by_id(id) {
            return Some(PoolItem { id: *id, parts: [entry.body.clone(), Bytes::new()], is_work: false });
        }
        if let Some((_, entry)) = self.works.by_id(id) {
            // The pool's form, an RPC's, has the prover first; a block's has it last.
            let mut rest = entry.body.clone();
            let prover = rest.split_to(CompressedPublicKey::LEN.min(rest.len()));
            return Some(PoolItem { id: *id, parts: [rest, prover], is_work: true });
        }
        self.blocks.item(id)
    }
}
