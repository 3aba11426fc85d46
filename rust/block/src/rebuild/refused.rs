//! What peers get refused with.

use mina_p2p_wire::message::{ItemsRoot, MAX_BLOCK_LEN, MAX_COMPACT_ITEMS};

use crate::LayoutError;
use crate::merkle::ProofError;

/// Whose fault something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Of the peer that sent the list, and so said that it had verified the body.
    ListSender,
    /// Of the peer that answered a question for items or ids.
    Answerer,
}

/// Why a list or an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The list has more items than a block that travels compactly.
    #[error("a list of {count} items, above {MAX_COMPACT_ITEMS}")]
    TooManyItems {
        /// How many it has.
        count: usize,
    },
    /// The skeleton is none.
    #[error("skeleton: {0}")]
    Skeleton(#[source] LayoutError),
    /// The skeleton takes another number of items than the list has.
    #[error("a skeleton for {holes} items with a list of {listed}")]
    WrongItemCount {
        /// How many the skeleton takes.
        holes: usize,
        /// How many are listed.
        listed: usize,
    },
    /// A prefilled item's place is not behind the one before it, or not in the block.
    #[error("place {place} of a block of {items} items is not behind the one before it, or not in the block")]
    WrongPlace {
        /// The place.
        place: u32,
        /// How many items the block has.
        items: usize,
    },
    /// What the list's sender put into a place, or committed to for it, is not exactly one item of its kind.
    #[error("place {place} takes a {}: {error}", kind(*.is_work))]
    NoItem {
        /// The place.
        place: u32,
        /// Whether the place takes a work; else it takes a command.
        is_work: bool,
        /// What is wrong with the item.
        #[source]
        error: LayoutError,
    },
    /// Header, skeleton and items are longer than any block.
    #[error("a block of at least {len} bytes, above {MAX_BLOCK_LEN}")]
    TooLong {
        /// How long they are so far.
        len: usize,
    },
    /// A prefilled item is not the one that the list's root commits to.
    #[error("the item prefilled at place {place} is not in the items root")]
    PrefilledOther {
        /// The place.
        place: u32,
    },
    /// An answer without items, or with more than were asked for.
    #[error("an answer of {given} items to a question for {asked}")]
    WrongAnswerLength {
        /// How many there are.
        given: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// An answer's items are not proven to be in the block.
    #[error("items: {0}")]
    Proof(#[from] ProofError),
    /// An answer with another number of ids than the block has items.
    #[error("an answer of {given} ids for a block of {items} items")]
    WrongIdCount {
        /// How many there are.
        given: usize,
        /// How many items the block has.
        items: usize,
    },
    /// An answer's ids have another root.
    #[error("the ids have the items root {found}, not {expected}")]
    WrongIds {
        /// The root that was asked for.
        expected: ItemsRoot,
        /// Their root.
        found: ItemsRoot,
    },
}

impl Refused {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::TooManyItems { .. }
            | Self::Skeleton(_)
            | Self::WrongItemCount { .. }
            | Self::WrongPlace { .. }
            | Self::NoItem { .. }
            | Self::TooLong { .. }
            | Self::PrefilledOther { .. } => Fault::ListSender,
            Self::WrongAnswerLength { .. } | Self::Proof(_) | Self::WrongIdCount { .. } | Self::WrongIds { .. } => {
                Fault::Answerer
            }
        }
    }
}

fn kind(is_work: bool) -> &'static str {
    if is_work { "work" } else { "command" }
}
