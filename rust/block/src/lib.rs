//! Where things are in a Mina block; body references; compaction and reconstruction. No I/O, no clock, no randomness.
//!
//! - [`Layout`], [`Header`], [`holes`]: one pass over a block's bytes finds its parts; nothing is decoded into values.
//! - [`ItemId`], [`command_info`], [`work_info`]: what a command or a SNARK work is, from its bytes.
//! - [`WorkForm`], [`canonical`], [`check_item`]: the forms that an item travels in.
//! - [`body_reference`], [`BodyChunks`]: the commitment to the body that a header carries, whole and by chunk.
//! - [`KnownBlock`]: a block whose body is the one its header names.
//! - [`compact`], [`Rebuild`]: a known block as a list of its items, and the block again from such a list and pools.
//! - [`merkle`], [`ShortIdKey`]: what the list commits to, and how it names items.

mod body;
mod compact;
mod error;
mod form;
mod format;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
mod header;
mod item;
mod known;
mod layout;
pub mod merkle;
mod rebuild;
mod short_id;
mod walk;

pub use body::{BodyChunks, BodyError, BodyParams, BodyReference, Chunk, ChunkedBody, MAX_BODY_LEN, body_reference};
pub use compact::{compact, compact_with_bits};
pub use error::LayoutError;
pub use form::{ItemForm, WorkForm, canonical, check_item};
pub use header::{Header, block_key};
pub use item::{InfoError, command_info, item_id, item_id_of_parts, work_info};
pub use known::{KnownBlock, NotKnown};
pub use layout::{Hole, Item, ItemKind, Layout, MAX_ITEMS, holes};
pub use mina_p2p_wire::message::{ItemId, ItemsRoot};
pub use rebuild::{Assembly, Fault, Invalid, ItemSource, Need, Outcome, PoolItem, Rebuild, RebuildStats, Refused};
pub use short_id::{HeaderHash, ShortIdKey};
