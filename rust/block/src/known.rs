use bytes::Bytes;
use mina_p2p_wire::BlockKey;
use mina_p2p_wire::binprot::nat0_len;
use mina_p2p_wire::message::{BlockAnswer, ItemId, ItemsRoot};

use crate::body::ChunkedBody;
use crate::{BodyParams, BodyReference, HeaderHash, Item, Layout, LayoutError, item_id, merkle};

/// The bytes of a hash of a proof.
const HASH_LEN: usize = 32;

/// A block whose body is the one that its header names, with what is served of it. (Whether the header is valid is for the
/// node to say.)
#[derive(Debug, Clone)]
pub struct KnownBlock {
    /// Its name.
    pub key: BlockKey,
    /// The block.
    pub bytes: Bytes,
    /// Where its parts are.
    pub layout: Layout,
    /// Its items' ids, in block order.
    pub ids: Vec<ItemId>,
    /// The root over them.
    pub root: ItemsRoot,
    /// Its body by chunk.
    pub body: ChunkedBody,
    /// Its header's hash, for the short ids of its list.
    pub header_hash: HeaderHash,
}

/// Why a block's body is not the one that its header names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    /// It is no block in canonical form.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The body is another one.
    #[error("the header names the body {claimed}, and this is {found}")]
    OtherBody {
        /// What the header says.
        claimed: BodyReference,
        /// What the body is.
        found: BodyReference,
    },
}

impl KnownBlock {
    /// Walks the block, checks its body against its header, and names its items. Nothing is copied.
    ///
    /// # Errors
    /// [`NotKnown`] says why the block cannot be known.
    pub fn of(block: Bytes) -> Result<Self, NotKnown> {
        Self::with_params(block, BodyParams::MAINNET)
    }

    /// The same on a network with other body references.
    ///
    /// # Errors
    /// [`NotKnown`] says why the block cannot be known.
    pub fn with_params(block: Bytes, params: BodyParams) -> Result<Self, NotKnown> {
        let layout = Layout::of(&block)?;
        let body = ChunkedBody::new(block.slice(layout.body.clone()), params);
        let claimed = layout.header.body_reference;
        if body.reference() != claimed {
            return Err(NotKnown::OtherBody { claimed, found: body.reference() });
        }
        Ok(Self::with_ids(block, layout, body))
    }

    /// A block that the node has verified itself: its body is not hashed again, which halves the work. Whoever gives another
    /// block here announces what nobody can rebuild, and is blamed for it.
    ///
    /// # Errors
    /// A [`LayoutError`] if it is no block in canonical form.
    pub fn verified(block: Bytes, params: BodyParams) -> Result<Self, LayoutError> {
        let layout = Layout::of(&block)?;
        let body = block.slice(layout.body.clone());
        let body = ChunkedBody::with_reference(body, params, layout.header.body_reference);
        Ok(Self::with_ids(block, layout, body))
    }

    fn with_ids(block: Bytes, layout: Layout, body: ChunkedBody) -> Self {
        let id = |item: &Item| item_id(block.get(item.range.clone()).unwrap_or_default());
        let ids: Vec<ItemId> = layout.items.iter().map(id).collect();
        let root = merkle::items_root(&ids);
        let header_hash = HeaderHash::of(block.get(..layout.header.len).unwrap_or_default());
        Self { key: header_hash.key(), bytes: block, layout, ids, root, body, header_hash }
    }

    /// The bytes of an item, by its place in block order.
    #[must_use]
    pub fn item(&self, place: usize) -> Option<Bytes> {
        self.layout.items.get(place).map(|item| self.bytes.slice(item.range.clone()))
    }

    /// The items at these places, rising, with their proof: the first of them, as many as fit `max_answer` bytes. `None` if that
    /// is none, or if the block has no such place.
    #[must_use]
    pub fn answer_items(&self, places: &[u32], max_answer: usize) -> Option<BlockAnswer> {
        // A proof has at most as many hashes as the way to each item is long, and never more than there are items.
        let depth = self.ids.len().next_power_of_two().trailing_zeros() as usize;
        let mut len = BlockAnswer::MAX_HEAD_LEN;
        let mut items = Vec::new();
        for place in places {
            let item = self.item(*place as usize)?;
            let hashes = (depth * (items.len() + 1)).min(self.ids.len());
            len += nat0_len(item.len() as u64) + item.len();
            if len + hashes * HASH_LEN > max_answer {
                break;
            }
            items.push(item);
        }
        let answered = places.get(..items.len()).filter(|answered| !answered.is_empty())?;
        Some(BlockAnswer::Items { proof: merkle::prove(&self.ids, answered)?, items })
    }

    /// The header's bytes.
    #[must_use]
    pub fn header(&self) -> Bytes {
        self.bytes.slice(..self.layout.header.len)
    }
}
