//! Blocks: what the user gives, and its verdicts on what peers tell.

use std::sync::Arc;

use bytes::Bytes;
use mina_p2p_block::{KnownBlock, NotKnown, block_key};
use mina_p2p_protocol::Tip;
use mina_p2p_wire::message::{BlockKey, StateHash};

use crate::core::Core;
use crate::node::check_len;
use crate::{CommandError, Node};

#[cfg(doc)]
use crate::Event;

impl Node {
    /// Makes a block our best tip: it is offered to every peer that permits one, compactly to those that can take it so.
    /// `state_hash` is the block's own. A block that came by [`Event::Block`] and was accepted is on its way already to
    /// peers with compact blocks; all others, and those that connect later, get it by this.
    ///
    /// # Errors
    /// [`CommandError::NotABlock`] if the bytes are too few to be one; [`CommandError::TooLong`].
    pub fn set_best_tip(&self, state_hash: StateHash, block: Bytes) -> Result<BlockKey, CommandError> {
        let core = self.open()?;
        check_len(block.len(), core.limits.session.block)?;
        let tip = match known(core, &block) {
            Ok(known) => Tip::of_known(state_hash, known),
            Err(_) => Tip::whole(state_hash, block).map_err(|error| CommandError::NotABlock(error.to_string()))?,
        };
        let (key, now) = (tip.key, core.now());
        core.relay(|relay, pools| {
            pools.set_tip(tip);
            relay.had(now, &key, pools);
        });
        Ok(key)
    }

    /// Relays a block that is not, or not yet, our best tip: to peers with compact blocks. It also ends the wait for a verdict
    /// on it, if there is one.
    ///
    /// # Errors
    /// [`CommandError::NotABlock`] if its body is not the one that its header names: it could not travel; and
    /// [`CommandError::TooLong`].
    pub fn announce_block(&self, state_hash: StateHash, block: Bytes) -> Result<BlockKey, CommandError> {
        let core = self.open()?;
        check_len(block.len(), core.limits.session.block)?;
        let known = known(core, &block).map_err(|error| CommandError::NotABlock(error.to_string()))?;
        let block = Tip::of_known(state_hash, known);
        let (key, now) = (block.key, core.now());
        core.relay(|relay, pools| relay.announce(now, &block, pools));
        Ok(key)
    }

    /// The header of an [`Event::Header`] is valid: it is relayed at once, and the block when its body is here. `state_hash`,
    /// if it is known already, lets peers without compact blocks be asked for the body.
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`].
    pub fn accept_header(&self, key: BlockKey, state_hash: Option<StateHash>) -> Result<(), CommandError> {
        let core = self.open()?;
        let now = core.now();
        Ok(core.relay(|relay, pools| relay.accept_header(now, key, state_hash, pools))?)
    }

    /// The block of an [`Event::Block`], or of an [`Event::Header`] if its body is still to come, is valid: it is relayed, and
    /// peers that ask for it by its state hash are answered. It does not become our best tip.
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`].
    pub fn accept(&self, key: BlockKey, state_hash: StateHash) -> Result<(), CommandError> {
        let core = self.open()?;
        let now = core.now();
        Ok(core.relay(|relay, pools| relay.accept(now, key, state_hash, pools))?)
    }

    /// A block is of no interest: it is not relayed (any more), and no peer is to blame.
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`].
    pub fn ignore(&self, key: BlockKey) -> Result<(), CommandError> {
        let core = self.open()?;
        let now = core.now();
        Ok(core.relay(|relay, pools| relay.ignore(now, key, pools))?)
    }

    /// A block is invalid: it is not relayed (any more). Before [`Node::accept_header`] and [`Event::Block`] its header is meant:
    /// whoever relayed it has accepted an invalid header, and the connections to all of them are closed. After either the body
    /// may be meant, of which they need not have known: nobody is to blame.
    ///
    /// # Errors
    /// [`CommandError::UnknownBlock`].
    pub fn reject(&self, key: BlockKey) -> Result<(), CommandError> {
        let core = self.open()?;
        let now = core.now();
        Ok(core.relay(|relay, pools| relay.reject(now, key, pools))?)
    }
}

/// A block with its layout. One that was just rebuilt for the user is known already, so that it is compared and not hashed.
fn known(core: &Core, block: &Bytes) -> Result<Arc<KnownBlock>, NotKnown> {
    let key = block_key(block);
    let here = {
        let state = core.state();
        state.pools.blocks.known(&key).or_else(|| state.router.relay.verified(&key)).cloned()
    };
    match here.filter(|known| known.bytes == *block) {
        Some(known) => Ok(known),
        None => KnownBlock::of(block.clone()).map(Arc::new),
    }
}
