use std::ops::Range;

use blake2::{Blake2b, Digest, digest::consts::U32};
use mina_p2p_wire::{BlockKey, StateHash};

use crate::format::{BERKELEY, Mark};
use crate::walk::{Visitor, Walker, int_value};
use crate::{BodyReference, LayoutError};

/// What this library reads of a block's header. All of it is a claim until the node has verified the header's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes: a block is so many bytes of header, then the body.
    pub len: usize,
    /// The state hash of the block before it.
    pub previous_state_hash: StateHash,
    /// How many blocks the chain has with it (`blockchain_length`).
    pub height: u32,
    /// The commitment to the body, from the protocol state.
    pub body_reference: BodyReference,
    /// Where in the header the body reference is.
    pub body_reference_at: usize,
}

impl Header {
    /// Reads what is exactly a header.
    ///
    /// # Errors
    /// A [`LayoutError`] if it is none in canonical form, or if something is behind it.
    pub fn of(header: &[u8]) -> Result<Self, LayoutError> {
        let mut walker = Walker::new(header, Facts::default());
        match walk(&mut walker).and_then(|()| walker.finish()) {
            Ok(()) => Ok(read(header, walker.at(), &walker.visitor)),
            Err(stopped) => Err(walker.error(stopped)),
        }
    }

    /// Reads the header at the start of a block, or of anything.
    ///
    /// # Errors
    /// A [`LayoutError`] if there is none in canonical form.
    pub fn prefix_of(block: &[u8]) -> Result<Self, LayoutError> {
        let mut walker = Walker::new(block, Facts::default());
        match walk(&mut walker) {
            Ok(()) => Ok(read(block, walker.at(), &walker.visitor)),
            Err(stopped) => Err(walker.error(stopped)),
        }
    }
}

/// Our name of a block: BLAKE2b-256 of its header's bytes. Bytes that start with no header are named by all of them, so that
/// every payload has a key.
#[must_use]
pub fn block_key(block: &[u8]) -> BlockKey {
    let len = Header::prefix_of(block).map_or(block.len(), |header| header.len);
    let header = block.get(..len).unwrap_or(block);
    BlockKey(Blake2b::<U32>::digest(header).into())
}

#[derive(Default)]
struct Facts {
    previous: Range<usize>,
    height: Range<usize>,
    reference: Range<usize>,
}

impl Visitor for Facts {
    fn mark(&mut self, mark: Mark, range: Range<usize>) {
        match mark {
            Mark::PreviousStateHash => self.previous = range,
            Mark::Height => self.height = range,
            Mark::BodyReference => self.reference = range,
            _ => {}
        }
    }
}

fn walk(walker: &mut Walker<'_, Facts>) -> Result<(), crate::walk::Stopped> {
    walker.walk(&BERKELEY.header, "header")
}

fn read(bytes: &[u8], len: usize, facts: &Facts) -> Header {
    let hash = |start: usize| bytes.get(start..).and_then(|rest| rest.first_chunk::<32>()).copied().unwrap_or_default();
    let height = int_value(bytes.get(facts.height.clone()).unwrap_or_default());
    // A digest of 32 bytes comes after one byte of length.
    let body_reference_at = facts.reference.start + 1;
    Header {
        len,
        previous_state_hash: StateHash(hash(facts.previous.start)),
        // Unsigned 32-bit numbers are written as if they were signed.
        height: i32::try_from(height).map_or(0, i32::cast_unsigned),
        body_reference: BodyReference(hash(body_reference_at)),
        body_reference_at,
    }
}
