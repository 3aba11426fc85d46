//! From a list of items and pools to the block again.
//!
//! [`Rebuild`] holds one block for which one peer has sent a list. It finds what it can in the pools, says what it needs next
//! ([`Need`]), and is fed with the answers. Nothing in it waits or sends.
//!
//! | need | what to do | then |
//! | --- | --- | --- |
//! | `Items` | ask any peer with this items root | [`Rebuild::provide`] |
//! | `Assembly` | run [`Rebuild::assemble`]'s job anywhere | [`Rebuild::assembled`] |
//! | `Ids` | ask any peer with this items root | [`Rebuild::provide_ids`] |
//! | `Body` | get the whole body, by its chunks | |
//! | `Nothing` | it is complete, or its sender lied | |

mod assembly;
mod refused;
mod source;

use bytes::Bytes;
use mina_p2p_wire::message::{ItemId, ItemList, ItemsRoot, MAX_BLOCK_LEN, MAX_COMPACT_ITEMS};

pub use assembly::{Assembly, Invalid, Outcome};
pub use refused::{Fault, Refused};
pub use source::{ItemSource, PoolItem};

use crate::merkle::{self, TreeHash};
use crate::short_id::{BITS, ShortIdKey};
use crate::{BodyParams, Header, HeaderHash, Hole, ItemForm, LayoutError, check_item, holes, item_id};
use source::ByShortId;

/// What is needed next to have the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// The items at these places, which rise.
    Items(&'a [u32]),
    /// All items are there: [`Rebuild::assemble`].
    Assembly,
    /// A short id has probably led to the wrong item: the ids of all items.
    Ids,
    /// The items cannot be had by their ids: the whole body.
    Body,
    /// The block is complete, or there is none with this header, skeleton and root.
    Nothing,
}

/// Where the items came from, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RebuildStats {
    /// All items of the block.
    pub items: usize,
    /// Those found in the pools.
    pub hits: usize,
    /// Their bytes.
    pub hit_bytes: usize,
    /// Those that came with the list.
    pub prefilled: usize,
    /// Their bytes.
    pub prefilled_bytes: usize,
    /// Those that were asked for and came.
    pub fetched: usize,
    /// Their bytes.
    pub fetched_bytes: usize,
    /// Those that were not in the pools when the list came, or not without doubt, nor came with it.
    pub missed: usize,
}

/// How sure it is that an item belongs into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The list's sender says so.
    Prefilled,
    /// Its short id, which other items may have too.
    ShortId,
    /// The id at its place is proven to be in the items root.
    FullId,
    /// It came with such a proof.
    Fetched,
}

/// An item for a place.
#[derive(Debug, Clone)]
struct Found {
    id: ItemId,
    parts: [Bytes; 2],
    how: How,
}

impl Found {
    fn len(&self) -> usize {
        let [first, second] = &self.parts;
        first.len().saturating_add(second.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Items are taken from the pools by their short ids.
    ShortIds,
    /// The items found have another root.
    NeedsIds,
    /// Items are taken from the pools by their ids.
    FullIds,
    /// Nothing more can be done with ids.
    NeedsBody,
    /// There is an outcome that does not change.
    Over,
}

/// One block that is being rebuilt from one peer's list.
#[derive(Debug, Clone)]
pub struct Rebuild {
    bytes: Bytes,
    header_hash: HeaderHash,
    header: Header,
    root: ItemsRoot,
    skeleton: Bytes,
    holes: Vec<Hole>,
    /// One for each hole.
    found: Vec<Option<Found>>,
    /// The places without an item, rising.
    missing: Vec<u32>,
    /// The bytes of header, skeleton and the items found.
    len: usize,
    missed: usize,
    phase: Phase,
}

impl Rebuild {
    /// Starts with a block's header, the list of its items as a peer sent it, and what the pools have. `header` is what
    /// [`Header::of`] reads of `bytes`.
    ///
    /// Goes over the pools once.
    ///
    /// # Errors
    /// [`Refused`] if the list cannot be that of a block: its sender's fault.
    pub fn new(bytes: Bytes, header: Header, list: ItemList, source: &dyn ItemSource) -> Result<Self, Refused> {
        Self::with_bits(bytes, header, list, source, BITS)
    }

    /// As [`new`](Self::new), for a list with only the low `bits` of its short ids not 0: collisions for tests.
    #[doc(hidden)]
    pub fn with_bits(
        bytes: Bytes,
        header: Header,
        list: ItemList,
        source: &dyn ItemSource,
        bits: u32,
    ) -> Result<Self, Refused> {
        let count = list.items();
        if count > MAX_COMPACT_ITEMS {
            return Err(Refused::TooManyItems { count });
        }
        let holes = holes(&list.skeleton, count).map_err(Refused::Skeleton)?;
        if holes.len() != count {
            return Err(Refused::WrongItemCount { holes: holes.len(), listed: count });
        }
        let mut this = Self {
            len: bytes.len().saturating_add(list.skeleton.len()),
            header_hash: HeaderHash::of(&bytes),
            bytes,
            header,
            root: list.root,
            skeleton: list.skeleton,
            found: vec![None; count],
            holes,
            missing: Vec::new(),
            missed: 0,
            phase: Phase::ShortIds,
        };
        if this.len > MAX_BLOCK_LEN {
            return Err(Refused::TooLong { len: this.len });
        }
        let mut next = 0;
        for (place, item) in list.prefilled {
            if place < next || place as usize >= count {
                return Err(Refused::WrongPlace { place, items: count });
            }
            next = place.saturating_add(1);
            this.check(place, &item)?;
            let id = item_id(&item);
            this.put(place, Found { id, parts: [item, Bytes::new()], how: How::Prefilled })?;
        }
        if !list.short_ids.is_empty() {
            let key = ShortIdKey::with_bits(&this.header_hash, &list.nonce, bits);
            this.find_by_short_id(&key, &list.short_ids, source);
        }
        this.list_missing();
        this.missed = this.missing.len();
        Ok(this)
    }

    /// Takes from the pools what its short id names without doubt.
    fn find_by_short_id(&mut self, key: &ShortIdKey, short_ids: &[[u8; 6]], source: &dyn ItemSource) {
        let open = (0..).zip(&self.found).filter(|(_, found)| found.is_none()).map(|(place, _)| place);
        for (place, id) in ByShortId::new(open.zip(short_ids)).find(key, source) {
            let Some(item) = source.get(&id) else { continue };
            if self.hole(place).is_some_and(|hole| hole.is_work == item.is_work) {
                // One that does not fit into any block is not the one that the list means.
                let _ = self.put(place, Found { id, parts: item.parts, how: How::ShortId });
            }
        }
    }

    /// What is needed next.
    #[must_use]
    pub fn need(&self) -> Need<'_> {
        match self.phase {
            Phase::ShortIds | Phase::FullIds if self.missing.is_empty() => Need::Assembly,
            Phase::ShortIds | Phase::FullIds => Need::Items(&self.missing),
            Phase::NeedsIds => Need::Ids,
            Phase::NeedsBody => Need::Body,
            Phase::Over => Need::Nothing,
        }
    }

    /// The places without an item, rising.
    #[must_use]
    pub fn missing(&self) -> &[u32] {
        &self.missing
    }

    /// The header's bytes.
    #[must_use]
    pub fn header_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the header says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The items root that the list's sender claims.
    #[must_use]
    pub fn root(&self) -> ItemsRoot {
        self.root
    }

    /// The bytes of the block, as far as its items are here.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.len
    }

    /// How many items the block has, as the list's sender claims.
    #[must_use]
    pub fn items(&self) -> usize {
        self.holes.len()
    }

    /// Where the items are from, so far.
    #[must_use]
    pub fn stats(&self) -> RebuildStats {
        let mut stats = RebuildStats { items: self.holes.len(), missed: self.missed, ..RebuildStats::default() };
        for found in self.found.iter().flatten() {
            let (count, bytes) = match found.how {
                How::Prefilled => (&mut stats.prefilled, &mut stats.prefilled_bytes),
                How::ShortId | How::FullId => (&mut stats.hits, &mut stats.hit_bytes),
                How::Fetched => (&mut stats.fetched, &mut stats.fetched_bytes),
            };
            *count = count.saturating_add(1);
            *bytes = bytes.saturating_add(found.len());
        }
        stats
    }

    /// Takes an answer to the question for the items at `asked`, places that rise: the first of them, at least one, with a
    /// multiproof against the items root. Gives how many were still missing; another peer may have been faster with the rest.
    ///
    /// # Errors
    /// [`Refused`], with whose fault it is. Nothing is taken then; if it is the list's sender's, it is over.
    pub fn provide(&mut self, asked: &[u32], items: Vec<Bytes>, proof: &[TreeHash]) -> Result<usize, Refused> {
        let taken = self.take_items(asked, items, proof);
        self.over_if_the_list_is_false(taken)
    }

    fn take_items(&mut self, asked: &[u32], items: Vec<Bytes>, proof: &[TreeHash]) -> Result<usize, Refused> {
        let (given, asked_len) = (items.len(), asked.len());
        let places = match asked.get(..given) {
            Some(places) if given > 0 => places,
            _ => return Err(Refused::WrongAnswerLength { given, asked: asked_len }),
        };
        let ids: Vec<ItemId> = items.iter().map(|item| item_id(item)).collect();
        merkle::verify(&self.root, self.holes.len(), places, &ids, proof)?;
        // From here on the items are what the list's sender committed to.
        places.iter().zip(&items).try_for_each(|(&place, item)| self.check(place, item))?;
        let new: Vec<_> = places
            .iter()
            .zip(ids)
            .zip(items)
            .filter(|((place, _), _)| self.missing.binary_search(place).is_ok())
            .collect();
        let more = new.iter().fold(0_usize, |sum, (_, item)| sum.saturating_add(item.len()));
        self.check_len(self.len.saturating_add(more))?;
        let count = new.len();
        for ((&place, id), item) in new {
            self.put(place, Found { id, parts: [item, Bytes::new()], how: How::Fetched })?;
        }
        self.list_missing();
        Ok(count)
    }

    /// Takes the ids of all items, and again from the pools what they name. Places whose item had another id are filled anew,
    /// or missing.
    ///
    /// # Errors
    /// [`Refused`], with whose fault it is; if it is the list's sender's, it is over.
    pub fn provide_ids(&mut self, ids: &[ItemId], source: &dyn ItemSource) -> Result<(), Refused> {
        let taken = self.take_ids(ids, source);
        self.over_if_the_list_is_false(taken)
    }

    fn take_ids(&mut self, ids: &[ItemId], source: &dyn ItemSource) -> Result<(), Refused> {
        if ids.len() != self.holes.len() {
            return Err(Refused::WrongIdCount { given: ids.len(), items: self.holes.len() });
        }
        let found = merkle::items_root(ids);
        if found != self.root {
            return Err(Refused::WrongIds { expected: self.root, found });
        }
        for (place, id) in (0..).zip(ids) {
            let there = self.found.get_mut(place as usize).and_then(Option::as_mut);
            match there {
                Some(there) if there.id == *id => {
                    if there.how == How::ShortId {
                        there.how = How::FullId;
                    }
                    continue;
                }
                Some(there) if there.how == How::Prefilled => return Err(Refused::PrefilledOther { place }),
                _ => self.take_out(place),
            }
            // One of the other kind is asked for: there are bytes that are a command and a work, and what comes is checked.
            let fits = |item: &PoolItem| self.hole(place).is_some_and(|hole| hole.is_work == item.is_work);
            let Some(item) = source.get(id).filter(fits) else { continue };
            self.put(place, Found { id: *id, parts: item.parts, how: How::FullId })?;
        }
        self.list_missing();
        if matches!(self.phase, Phase::ShortIds | Phase::NeedsIds) {
            self.phase = Phase::FullIds;
        }
        Ok(())
    }

    /// The job of putting the block together and checking it. It is on its own: run it wherever time is, and bring its outcome
    /// back by [`assembled`](Self::assembled).
    pub fn assemble(&self) -> Assembly {
        self.assemble_with(BodyParams::MAINNET)
    }

    /// The same on a network with other body references.
    pub fn assemble_with(&self, params: BodyParams) -> Assembly {
        Assembly {
            bytes: self.bytes.clone(),
            header_hash: self.header_hash.clone(),
            header: self.header.clone(),
            root: self.root,
            skeleton: self.skeleton.clone(),
            holes: self.holes.clone(),
            found: self.found.iter().flatten().cloned().collect(),
            missing: self.missing.clone(),
            len: self.len,
            params,
        }
    }

    /// Takes the outcome of the job that [`assemble`](Self::assemble) gave last; [`need`](Self::need) then says how to go on.
    pub fn assembled(&mut self, outcome: &Outcome) {
        self.phase = match (outcome, self.phase) {
            (Outcome::Complete(_) | Outcome::Invalid(_), _) => Phase::Over,
            (Outcome::Failed, Phase::ShortIds) => Phase::NeedsIds,
            (Outcome::Failed, Phase::FullIds) => Phase::NeedsBody,
            (Outcome::Failed | Outcome::Missing(_), phase) => phase,
        };
    }

    fn over_if_the_list_is_false<T>(&mut self, taken: Result<T, Refused>) -> Result<T, Refused> {
        if taken.as_ref().is_err_and(|refused| refused.fault() == Fault::ListSender) {
            self.phase = Phase::Over;
        }
        taken
    }

    fn hole(&self, place: u32) -> Option<&Hole> {
        self.holes.get(place as usize)
    }

    /// Checks that these bytes are exactly one item of the kind that goes into this place.
    fn check(&self, place: u32, item: &[u8]) -> Result<(), Refused> {
        let hole = self.hole(place).ok_or(Refused::WrongPlace { place, items: self.holes.len() })?;
        let form = if hole.is_work { ItemForm::BlockWork } else { ItemForm::Command };
        let no_item = |error: LayoutError| Refused::NoItem { place, is_work: hole.is_work, error };
        check_item(form, item).map(|_| ()).map_err(no_item)
    }

    fn check_len(&self, len: usize) -> Result<(), Refused> {
        if len > MAX_BLOCK_LEN { Err(Refused::TooLong { len }) } else { Ok(()) }
    }

    /// Puts an item into an empty place, unless that makes the block too long.
    fn put(&mut self, place: u32, item: Found) -> Result<(), Refused> {
        let len = self.len.saturating_add(item.len());
        self.check_len(len)?;
        if let Some(found) = self.found.get_mut(place as usize) {
            *found = Some(item);
            self.len = len;
        }
        Ok(())
    }

    fn take_out(&mut self, place: u32) {
        if let Some(item) = self.found.get_mut(place as usize).and_then(Option::take) {
            self.len = self.len.saturating_sub(item.len());
        }
    }

    fn list_missing(&mut self) {
        self.missing = (0..).zip(&self.found).filter(|(_, found)| found.is_none()).map(|(place, _)| place).collect();
    }
}
