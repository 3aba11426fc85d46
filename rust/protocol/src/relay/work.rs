//! What is done outside of the relay: putting blocks together, and hashing them.

use bytes::Bytes;
use mina_p2p_block::{Assembly, KnownBlock, NotKnown, Outcome};
use mina_p2p_wire::message::BlockKey;

/// A part of the work that takes milliseconds for a large block, and needs nothing but itself.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Job {
    pub(super) key: BlockKey,
    pub(super) attempt: u64,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    Assemble(Box<Assembly>),
    Check {
        block: Bytes,
        /// Whether every chunk of its body was checked against the header.
        proven: bool,
    },
}

/// What a [`Job`] found.
#[derive(Debug)]
pub struct Worked {
    pub(super) key: BlockKey,
    pub(super) attempt: u64,
    pub(super) found: Found,
}

#[derive(Debug)]
pub(super) enum Found {
    Assembled(Outcome),
    Checked { known: Result<Box<KnownBlock>, NotKnown>, proven: bool },
}

impl Job {
    /// Does it: copies and hashes a block.
    #[must_use]
    pub fn run(self) -> Worked {
        let found = match self.task {
            Task::Assemble(assembly) => Found::Assembled(assembly.run()),
            Task::Check { block, proven } => Found::Checked { known: KnownBlock::of(block).map(Box::new), proven },
        };
        Worked { key: self.key, attempt: self.attempt, found }
    }
}
