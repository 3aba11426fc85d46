//! Putting a block together, and proving it by what its header commits to.

use bytes::Bytes;
use mina_p2p_wire::message::{ItemId, ItemsRoot};

use super::{Fault, Found, How};
use crate::merkle::items_root;
use crate::{
    BodyParams, BodyReference, ChunkedBody, Header, HeaderHash, Hole, KnownBlock, Layout, LayoutError, item_id_of_parts,
};

/// What came of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The block, byte for byte: its body is the one that the header names.
    Complete(Box<KnownBlock>),
    /// The items at these places are missing.
    Missing(Vec<u32>),
    /// A short id has probably led to the wrong item. Nobody's fault.
    Failed,
    /// There is no such block.
    Invalid(Invalid),
}

/// Why there is no block with a header, skeleton and items root. Only one who had not verified the body could say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The items, none of which was found by short id alone, have another root.
    #[error("the items have the root {found}, not {claimed}")]
    OtherRoot {
        /// The list's.
        claimed: ItemsRoot,
        /// Theirs.
        found: ItemsRoot,
    },
    /// The items are those of the root, but the body is another than the header names.
    #[error("the header names the body {claimed}, and this is {found}")]
    OtherBody {
        /// What the header says.
        claimed: BodyReference,
        /// What the body is.
        found: BodyReference,
    },
    /// The header is none, or the body is the one that it names, but none.
    #[error(transparent)]
    NoBlock(#[from] LayoutError),
}

impl Invalid {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        Fault::ListSender
    }
}

/// The job of putting a block together. Holds slices of pools and frames, no copies.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is run"]
pub struct Assembly {
    pub(super) bytes: Bytes,
    pub(super) header_hash: HeaderHash,
    pub(super) header: Header,
    pub(super) root: ItemsRoot,
    pub(super) skeleton: Bytes,
    pub(super) holes: Vec<Hole>,
    /// One for each hole, unless items are missing.
    pub(super) found: Vec<Found>,
    pub(super) missing: Vec<u32>,
    /// The bytes of the block.
    pub(super) len: usize,
    pub(super) params: BodyParams,
}

impl Assembly {
    /// Does it: one copy of the block, one BLAKE2b and one walk over it.
    #[must_use]
    pub fn run(self) -> Outcome {
        if !self.missing.is_empty() {
            return Outcome::Missing(self.missing);
        }
        let ids: Vec<ItemId> = self.found.iter().map(|item| item.id).collect();
        let found = items_root(&ids);
        if found != self.root {
            if self.found.iter().any(|item| item.how == How::ShortId) {
                return Outcome::Failed;
            }
            return Outcome::Invalid(Invalid::OtherRoot { claimed: self.root, found });
        }
        let block = self.block();
        let body = ChunkedBody::new(block.slice(self.bytes.len()..), self.params);
        let claimed = self.header.body_reference;
        if body.reference() != claimed {
            return self.other_body(claimed, body.reference());
        }
        match Layout::of(&block) {
            Ok(layout) if self.are_items_of(&layout) => Outcome::Complete(Box::new(KnownBlock {
                key: self.header_hash.key(),
                bytes: block,
                layout,
                ids,
                root: self.root,
                body,
                header_hash: self.header_hash,
            })),
            // Whatever a peer sent into a place is exactly one item, so that only the pools can be wrong.
            Ok(_) => Outcome::Failed,
            Err(error) => Outcome::Invalid(error.into()),
        }
    }

    /// Whether what was put together is in the block item by item.
    fn are_items_of(&self, layout: &Layout) -> bool {
        layout.items.iter().map(|item| item.range.len()).eq(self.found.iter().map(Found::len))
    }

    fn block(&self) -> Bytes {
        // The sum was kept below the length of the longest block as it grew.
        let mut block = Vec::with_capacity(self.len);
        block.extend_from_slice(&self.bytes);
        let mut at = 0;
        for (hole, item) in self.holes.iter().zip(&self.found) {
            block.extend_from_slice(self.skeleton.get(at..hole.at).unwrap_or_default());
            item.parts.iter().for_each(|part| block.extend_from_slice(part));
            at = hole.at;
        }
        block.extend_from_slice(self.skeleton.get(at..).unwrap_or_default());
        block.into()
    }

    /// The ids are those of the root: the list's sender has lied, unless our own pools have.
    fn other_body(&self, claimed: BodyReference, found: BodyReference) -> Outcome {
        let from_pools = self.found.iter().filter(|item| matches!(item.how, How::ShortId | How::FullId));
        for item in from_pools {
            let [first, second] = &item.parts;
            if item_id_of_parts(&[first, second]) != item.id {
                return Outcome::Failed;
            }
        }
        Outcome::Invalid(Invalid::OtherBody { claimed, found })
    }
}
