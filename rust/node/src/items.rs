//! Our pools: what the user puts in, and takes out.

use std::borrow::Cow;

use bytes::Bytes;
use mina_p2p_block::{ItemForm, WorkForm, canonical, command_info, item_id, item_id_of_parts, work_info};
use mina_p2p_protocol::Change;
use mina_p2p_protocol::router::ItemKey;
use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::{ItemId, JobId, SnarkInfo, SnarkJobCommitment, TransactionHash, TransactionInfo};

use crate::core::{Core, State};
use crate::node::check_len;
use crate::{CommandError, Node};

#[cfg(doc)]
use crate::Builder;

impl Node {
    /// Puts a transaction in our pool: peers are told of it, and can fetch it. One whose hash is there already is
    /// replaced and, if it differs, told of again. False if it was there, the same in every byte.
    ///
    /// Its body is the binprot form of the user command; spelled otherwise than canonically, it is kept as it is
    /// canonically. (Other bytes are kept as they are: no compact block can contain them.)
    ///
    /// # Errors
    /// [`CommandError::TooLong`].
    pub fn add_transaction(&self, info: TransactionInfo, body: Bytes) -> Result<bool, CommandError> {
        let core = self.open()?;
        check_len(body.len(), core.limits.session.transaction)?;
        // Hashed before the lock is taken.
        let (body, id) = pool_item(ItemForm::Command, body);
        let key = ItemKey::Transaction(info.hash);
        self.add(core, &key, |state, source| state.pools.transactions.insert_item(info.hash, info, body, id, source))
    }

    /// Puts a transaction in our pool, as [`Node::add_transaction`] does, and finds out by itself what peers are to be told of
    /// it. False if it was there already.
    ///
    /// # Errors
    /// [`CommandError::NotAnItem`] if the bytes are no user command, or are a zkApp command with proofs and the node has no
    /// [`Builder::dummy_proof`]; [`CommandError::TooLong`].
    pub fn add_command(&self, body: Bytes) -> Result<(TransactionInfo, bool), CommandError> {
        let core = self.open()?;
        check_len(body.len(), core.limits.session.transaction)?;
        let body = canonical_item(ItemForm::Command, body)?;
        let info = command_info(&body, core.dummy_proof.as_deref());
        let info = info.map_err(|error| CommandError::NotAnItem(error.to_string()))?;
        Ok((info, self.add_transaction(info, body)?))
    }

    /// Puts a completed work in our pool, as [`Node::add_transaction`] does with a transaction. Its body is the work as an RPC
    /// answers with it: prover, fee, proofs.
    ///
    /// # Errors
    /// [`CommandError::TooLong`].
    pub fn add_work(&self, info: SnarkInfo, body: Bytes) -> Result<bool, CommandError> {
        let core = self.open()?;
        check_len(body.len(), core.limits.session.work)?;
        let (body, id) = pool_item(ItemForm::RpcWork, body);
        let key = ItemKey::Work(info.job_id);
        self.add(core, &key, |state, source| state.pools.works.insert_item(info.job_id, info, body, id, source))
    }

    /// Puts a completed work in our pool, given as a block carries it (fee, proofs, prover), and finds out by itself what peers
    /// are to be told of it. False if it was there already.
    ///
    /// # Errors
    /// [`CommandError::NotAnItem`] if the bytes are no work; [`CommandError::TooLong`].
    pub fn add_completed_work(&self, work: Bytes) -> Result<(SnarkInfo, bool), CommandError> {
        let core = self.open()?;
        check_len(work.len(), core.limits.session.work)?;
        let not_an_item = |error: &dyn std::fmt::Display| CommandError::NotAnItem(error.to_string());
        let work = canonical_item(ItemForm::BlockWork, work)?;
        let info = work_info(&work).map_err(|error| not_an_item(&error))?;
        let form = WorkForm::of(ItemForm::BlockWork, &work).map_err(|error| not_an_item(&error))?;
        let body = Bytes::from(form.rpc_parts(&work).concat());
        Ok((info, self.add_work(info, body)?))
    }

    /// Tells peers of a commitment to a SNARK job.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn add_commitment(&self, commitment: SnarkJobCommitment) -> Result<bool, CommandError> {
        let core = self.open()?;
        let key = ItemKey::Commitment(commitment.job_id);
        self.add(core, &key, |state, source| {
            state.pools.commitments.insert(commitment.job_id, commitment, Bytes::new(), source)
        })
    }

    fn add(
        &self,
        core: &Core,
        key: &ItemKey,
        insert: impl FnOnce(&mut State, Option<PeerId>) -> Change,
    ) -> Result<bool, CommandError> {
        let mut state = core.state();
        let source = state.router.settled(key);
        let change = insert(&mut state, source);
        core.wake_links(&state);
        Ok(changed(change))
    }

    /// Takes a transaction out of our pool. False if it was not there.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn remove_transaction(&self, hash: &TransactionHash) -> Result<bool, CommandError> {
        let mut state = self.open()?.state();
        // Whoever offered it before need not have it any more when it comes again.
        state.router.settled(&ItemKey::Transaction(*hash));
        Ok(state.pools.transactions.remove(hash).is_some())
    }

    /// Takes a work out of our pool. False if it was not there.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn remove_work(&self, job: &JobId) -> Result<bool, CommandError> {
        let mut state = self.open()?.state();
        state.router.settled(&ItemKey::Work(*job));
        Ok(state.pools.works.remove(job).is_some())
    }

    /// Tells nobody any more of a commitment. False if it was not there.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn remove_commitment(&self, job: &JobId) -> Result<bool, CommandError> {
        Ok(self.open()?.state().pools.commitments.remove(job).is_some())
    }
}

/// An item as the pool keeps it: canonical, and with its name, if it is one that a block can carry.
fn pool_item(form: ItemForm, body: Bytes) -> (Bytes, Option<ItemId>) {
    let Ok(body) = canonical_item(form, body.clone()) else { return (body, None) };
    let id = match form {
        ItemForm::Command => Some(item_id(&body)),
        _ => WorkForm::of(form, &body).ok().map(|work| item_id_of_parts(&work.block_parts(&body))),
    };
    (body, id)
}

/// The item's canonical bytes; they are the same where they were already.
fn canonical_item(form: ItemForm, body: Bytes) -> Result<Bytes, CommandError> {
    match canonical(form, &body) {
        Ok(Cow::Borrowed(_)) => Ok(body),
        Ok(Cow::Owned(canonical)) => Ok(canonical.into()),
        Err(error) => Err(CommandError::NotAnItem(error.to_string())),
    }
}

/// Whether peers are to be told.
fn changed(change: Change) -> bool {
    match change {
        Change::Added | Change::Updated => true,
        // Larger than a pool log: our limits on single items are below that.
        Change::Unchanged | Change::TooLarge => false,
    }
}
