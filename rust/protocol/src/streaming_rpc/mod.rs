//! Staged ledgers in parts (channel 8). One request at a time in each direction.
//!
//! | half | state | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we ask | - | we | `Request`, which permits part 0 | `Awaiting` |
//! | | `Awaiting` | the peer | `Response` with the part in turn, 16 MiB at most | `Processing` |
//! | | | the peer | `Response` with none: it does not have it (any more) | ended |
//! | | `Processing` | we, when our user took the part | `Next` | `Awaiting`; ended after the last part |
//! | | | the peer | `Response` with none | ended |
//! | we answer | - | the peer | `Request` | `Waiting` |
//! | | `Waiting` | nobody | until the rate allows it | `Asked` |
//! | | `Asked` | we, as our user says | `Response` with part 0, or with none | `Sending` |
//! | | `Sending` | the peer | `Next` | |
//! | | | we | `Response` with the part in turn | ended after the last |
//!
//! Parts in turn: the base, the base of the scan state (which counts the trees, 64 at most), previous incomplete zkApp
//! updates, and so many trees. They are given to us all at once and sent one for each `Next`.
//!
//! Time: the part in turn has 30 s to begin, and then as long as 64 KiB/s need. Our user has 22.5 s to answer; an asker
//! has 60 s for a `Next`: then it is told that there is none any more.
//!
//! The existing node sends `Next` before it has a part: those are counted, up to one for each part that there may be.
//! Of our own kind nobody does. What nobody waits for any more is reset where a request has its stream. On a shared one
//! it is read to its end, and only then is the next request sent: the existing node would drop us for two.

mod answerer;
mod asker;

use std::time::Duration;

use mina_p2p_wire::message::{StagedLedgerPart, StagedLedgerPartKind};

use crate::violation::Rule;

pub(crate) use self::answerer::Answerer;
pub(crate) use self::asker::Asker;

/// Streams of this channel that a peer may have open: the one that is served, and four that it has reset while the
/// resets are still on their way.
pub const STREAMED_OPEN_MAX: usize = 5;

/// How long the next part may let us wait: the existing node's timeout.
pub const PART_DEADLINE: Duration = Duration::from_secs(30);

/// How long we keep parts for an asker that does not ask for them: twice what we give a peer.
pub const NEXT_DEADLINE: Duration = Duration::from_secs(60);

/// What a request weighs against [`SessionLimits::request_rate`](crate::SessionLimits::request_rate): as a staged ledger in one answer.
pub const STAGED_LEDGER_PARTS_COST: u32 = 100;

/// The part that is in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InTurn {
    Base,
    ScanStateBase,
    PreviousIncompleteZkappUpdates { trees: u32 },
    Tree { left: u32 },
    Nothing,
}

impl InTurn {
    fn kind(self) -> Option<StagedLedgerPartKind> {
        match self {
            InTurn::Base => Some(StagedLedgerPartKind::Base),
            InTurn::ScanStateBase => Some(StagedLedgerPartKind::ScanStateBase),
            InTurn::PreviousIncompleteZkappUpdates { .. } => Some(StagedLedgerPartKind::PreviousIncompleteZkappUpdates),
            InTurn::Tree { .. } => Some(StagedLedgerPartKind::ScanStateTree),
            InTurn::Nothing => None,
        }
    }

    /// Whether no other comes after it.
    fn is_last(self) -> bool {
        matches!(self, InTurn::PreviousIncompleteZkappUpdates { trees: 0 } | InTurn::Tree { left: 1 })
    }

    /// What is in turn after this part.
    fn after(self, part: &StagedLedgerPart) -> Result<InTurn, Rule> {
        if self.kind() != Some(part.kind) {
            let expected = self.kind().map_or("nothing", part_name);
            return Err(Rule::PartOutOfOrder { expected, came: part_name(part.kind) });
        }
        Ok(match self {
            InTurn::Base => InTurn::ScanStateBase,
            InTurn::ScanStateBase => {
                InTurn::PreviousIncompleteZkappUpdates { trees: part.tree_count().map_err(Rule::Malformed)? }
            }
            InTurn::PreviousIncompleteZkappUpdates { trees: 0 } | InTurn::Tree { left: 0 | 1 } => InTurn::Nothing,
            InTurn::PreviousIncompleteZkappUpdates { trees } => InTurn::Tree { left: trees },
            InTurn::Tree { left } => InTurn::Tree { left: left - 1 },
            InTurn::Nothing => InTurn::Nothing,
        })
    }
}

fn part_name(kind: StagedLedgerPartKind) -> &'static str {
    match kind {
        StagedLedgerPartKind::Base => "base",
        StagedLedgerPartKind::ScanStateBase => "scan state base",
        StagedLedgerPartKind::PreviousIncompleteZkappUpdates => "previous incomplete zkapp updates",
        StagedLedgerPartKind::ScanStateTree => "scan state tree",
    }
}
