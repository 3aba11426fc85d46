//! Blocks as bytes, without a node: `Mina_p2p.Block`. What is in one, and one as a list of its items.

#![allow(unsafe_code)] // The attribute that exports a symbol.

use std::collections::HashMap;

use bytes::Bytes;
use mina_p2p::block::{
    BodyParams, Header, ItemForm, ItemKind, ItemSource, KnownBlock, Layout, Outcome, PoolItem, Rebuild, block_key,
    body_reference, canonical, check_item, command_info, compact, item_id, work_info,
};
use mina_p2p::message::{BlockKey, CompactMessage, ItemId, MAX_COMPACT_LEN, SnarkInfo, StateHash, TransactionInfo};

use crate::config::DummyProof;
use crate::failure::Failure;
use crate::heap::{Arg, Builder};
use crate::payload::Content;
use crate::stub::{Fields, FromOcaml, ToOcaml, named, stubs};

fn not_a_block(error: impl ToString) -> Failure {
    Failure::NotABlock(error.to_string())
}

fn not_an_item(error: impl ToString) -> Failure {
    Failure::NotAnItem(error.to_string())
}

/// `` `Signed_command | `Zkapp_command | `Work ``
impl ToOcaml for ItemKind {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.variant(match self {
            ItemKind::SignedCommand => "Signed_command",
            ItemKind::ZkappCommand => "Zkapp_command",
            ItemKind::Work => "Work",
        });
    }
}

/// An item of a block.
struct NamedItem {
    kind: ItemKind,
    offset: usize,
    length: usize,
    id: ItemId,
}

/// `{ kind; offset; length; id }`
impl ToOcaml for NamedItem {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        (self.kind, self.offset, self.length, self.id).construct(0, builder);
    }
}

/// What is in a block.
struct Anatomy {
    header_length: usize,
    height: usize,
    previous_state_hash: StateHash,
    body_reference: String,
    items: Vec<NamedItem>,
}

impl Anatomy {
    fn of(block: &[u8]) -> Result<Anatomy, Failure> {
        let Layout { header, items, .. } = Layout::of(block).map_err(not_a_block)?;
        let named = items.into_iter().map(|item| {
            let id = item_id(block.get(item.range.clone()).unwrap_or_default());
            NamedItem { kind: item.kind, offset: item.range.start, length: item.range.len(), id }
        });
        Ok(Anatomy {
            header_length: header.len,
            height: header.height as usize,
            previous_state_hash: header.previous_state_hash,
            body_reference: header.body_reference.to_string(),
            items: named.collect(),
        })
    }
}

/// `{ header_length; height; previous_state_hash; body_reference; items }`
impl ToOcaml for Anatomy {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        (self.header_length, self.height, self.previous_state_hash, self.body_reference, self.items)
            .construct(0, builder);
    }
}

/// How a block is to be compacted: `{ max_length : int option; prefill : int list; nonce : int64 }`.
struct Compaction {
    max_length: Option<usize>,
    prefill: Vec<u32>,
    nonce: u64,
}

impl FromOcaml for Compaction {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(Compaction {
            max_length: named("max_length", value.field(0)?)?,
            prefill: named("prefill", value.field(1)?)?,
            nonce: FromOcaml::from_ocaml(value.field(2)?)?,
        })
    }
}

impl Compaction {
    /// The message with the block's list: the longest that is allowed, with as much prefilled as fits.
    fn of(&self, block: Bytes) -> Result<Bytes, Failure> {
        let known = KnownBlock::of(block).map_err(not_a_block)?;
        let max = self.max_length.unwrap_or(MAX_COMPACT_LEN).min(MAX_COMPACT_LEN);
        let message = |prefill: &[u32], list_max| {
            let list = compact(&known, self.nonce, prefill, list_max)?;
            Some(CompactMessage::Compact { header: known.header(), list }.encode().into_bytes())
        };
        // What is beside the list takes as many bytes in every message of this block.
        let shortest = message(&[], usize::MAX).ok_or_else(|| {
            Failure::NotABlock("it has too many items, or statuses too long, to be compact".to_owned())
        })?;
        if shortest.len() > max {
            return Err(Failure::TooLong { length: shortest.len(), max });
        }
        if self.prefill.is_empty() {
            return Ok(shortest);
        }
        let header = CompactMessage::Header(known.header()).encode().len();
        Ok(message(&self.prefill, max.saturating_sub(header))
            .filter(|message| message.len() <= max)
            .unwrap_or(shortest))
    }
}

/// A pool made of items as blocks carry them.
struct Pool(HashMap<ItemId, (Bytes, bool)>);

impl Pool {
    fn of(items: Vec<Content>) -> Result<Pool, Failure> {
        let named = items.into_iter().enumerate().map(|(index, Content(item))| {
            let is_work = match (check_item(ItemForm::Command, &item), check_item(ItemForm::BlockWork, &item)) {
                (Ok(_), _) => false,
                (_, Ok(_)) => true,
                (Err(command), Err(work)) => {
                    let why = format!("item {index} of the pool: as a command: {command}; as a work: {work}");
                    return Err(Failure::NotAnItem(why));
                }
            };
            Ok((item_id(&item), (item, is_work)))
        });
        named.collect::<Result<_, _>>().map(Pool)
    }
}

impl ItemSource for Pool {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.0.keys().for_each(f);
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        let (item, is_work) = self.0.get(id)?;
        Some(PoolItem { id: *id, parts: [item.clone(), Bytes::new()], is_work: *is_work })
    }
}

/// What came of rebuilding a block.
enum Rebuilt {
    Complete(Bytes),
    Missing(Vec<u32>),
    Failed,
    Invalid(String),
}

impl Rebuilt {
    fn of(message: Bytes, items: Vec<Content>) -> Result<Rebuilt, Failure> {
        let pool = Pool::of(items)?;
        let invalid = |error: &dyn std::fmt::Display| Ok(Rebuilt::Invalid(error.to_string()));
        let (header, list) = match CompactMessage::decode(message) {
            Ok(decoded) if decoded.trailing > 0 => {
                return invalid(&format_args!("{} bytes behind the message", decoded.trailing));
            }
            Ok(decoded) if !decoded.canonical => {
                return invalid(&"a number in the message is not in its canonical form");
            }
            Ok(decoded) => match decoded.value {
                CompactMessage::Compact { header, list } => (header, list),
                other => return invalid(&format_args!("another message: {other:?}")),
            },
            Err(error) => return invalid(&error),
        };
        let facts = match Header::of(&header) {
            Ok(facts) => facts,
            Err(error) => return invalid(&error),
        };
        let rebuild = match Rebuild::new(header, facts, list, &pool) {
            Ok(rebuild) => rebuild,
            Err(refused) => return invalid(&refused),
        };
        Ok(match rebuild.assemble().run() {
            Outcome::Complete(block) => Rebuilt::Complete(block.bytes),
            Outcome::Missing(places) => Rebuilt::Missing(places),
            Outcome::Failed => Rebuilt::Failed,
            Outcome::Invalid(error) => return invalid(&error),
        })
    }
}

/// `` `Complete of payload | `Missing of int list | `Failed | `Invalid of string ``
impl ToOcaml for Rebuilt {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            Rebuilt::Complete(block) => {
                builder.variant("Complete");
                Content(block).to_ocaml(builder);
            }
            Rebuilt::Missing(places) => {
                builder.variant("Missing");
                builder.list(places, |builder, place| (place as usize).to_ocaml(builder));
            }
            Rebuilt::Failed => return builder.variant("Failed"),
            Rebuilt::Invalid(why) => {
                builder.variant("Invalid");
                why.to_ocaml(builder);
            }
        }
        builder.block(0, 2);
    }
}

/// A message as a string.
struct Message(Bytes);

impl ToOcaml for Message {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.bytes(&self.0);
    }
}

impl FromOcaml for Message {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.bytes().map(|bytes| Message(Bytes::copy_from_slice(bytes)))
    }
}

// Whatever goes over a whole block does so without the runtime lock: 3 MB take milliseconds.
stubs! {
    /// `payload -> (block_key, Error.t) result`
    fn mina_p2p_block_key(block: Content) using gc -> BlockKey {
        Ok(gc.blocking(|| block_key(&block.0)))
    }

    /// `payload -> (layout, Error.t) result`
    fn mina_p2p_block_layout(block: Content) using gc -> Anatomy {
        gc.blocking(|| Anatomy::of(&block.0))
    }

    /// `payload -> (string, Error.t) result`
    fn mina_p2p_block_body_reference(block: Content) using gc -> String {
        gc.blocking(|| {
            let layout = Layout::of(&block.0).map_err(not_a_block)?;
            let body = block.0.get(layout.body).unwrap_or_default();
            Ok(body_reference(body, BodyParams::MAINNET).to_string())
        })
    }

    /// `payload -> (item_id, Error.t) result`
    fn mina_p2p_block_item_id(item: Content) -> ItemId {
        Ok(item_id(&item.0))
    }

    /// `string option -> payload -> (transaction_info, Error.t) result`
    fn mina_p2p_block_command_info(dummy_proof: Option<DummyProof>, command: Content) -> TransactionInfo {
        let command = canonical(ItemForm::Command, &command.0).map_err(not_an_item)?;
        command_info(&command, dummy_proof.as_ref().map(|proof| proof.0.as_ref())).map_err(not_an_item)
    }

    /// `payload -> (work_info, Error.t) result`
    fn mina_p2p_block_work_info(work: Content) -> SnarkInfo {
        let work = canonical(ItemForm::BlockWork, &work.0).map_err(not_an_item)?;
        work_info(&work).map_err(not_an_item)
    }

    /// `compaction -> payload -> (string, Error.t) result`
    fn mina_p2p_block_compact(compaction: Compaction, block: Content) using gc -> Message {
        gc.blocking(|| compaction.of(block.0).map(Message))
    }

    /// `string -> payload list -> (rebuilt, Error.t) result`
    fn mina_p2p_block_rebuild(message: Message, pool: Vec<Content>) using gc -> Rebuilt {
        gc.blocking(|| Rebuilt::of(message.0, pool))
    }
}
