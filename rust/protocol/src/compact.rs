//! Compact blocks (channel 17), between peers that both announced it.
//!
//! | half | state | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we pull | `Free` | we, when the router says so | `Permit` of a length | `Permitted` |
//! | | `Permitted` | we | `Change` of the length | `Permitted` |
//! | | | the peer | `Announce`; `Header` or `Compact` of at most that length | `Free` |
//! | we serve | `Waiting` | the peer | `Permit` | `Permitted` |
//! | | `Permitted` | the peer | `Change`; it may also come late, and means nothing then | `Permitted` |
//! | | | we | news of one block, once there is one that the peer has not told us of | `Waiting` |
//!
//! Besides, without a permit: of a block whose header alone was told, once more, `List` or `Announce` with a root, when
//! its body is verified. That right is kept for the last [`ADVANCES_MAX`] such blocks.
//!
//! A peer tells of a block once, but for that: among its last [`TOLD_MAX`] a repetition is a violation. So what we told
//! is kept as long, whatever becomes of the block here. A permit may stay out for ever. Who is permitted what, and when, is the router's choice ([`crate::relay`]).

use std::collections::VecDeque;

use bytes::Bytes;
use mina_p2p_block::{Header, KnownBlock, compact};
use mina_p2p_wire::message::{
    Announcement, BlockKey, CompactMessage, ItemList, ItemsRoot, MAX_ANNOUNCEMENT_LEN, MAX_COMPACT_ITEMS,
    MAX_COMPACT_LEN, MAX_COMPACT_PERMIT_LEN, MAX_HEADER_LEN, MAX_ITEM_LEN, SHORT_ID_LEN,
};
use mina_p2p_wire::{Channel, Role, StreamId};

use crate::blocks::{Content, StoredBlock};
use crate::lane::{Allowed, Terms};
use crate::output::{Event, Outbox};
use crate::pools::Pools;
use crate::violation::Rule;

/// Of how many blocks, told by their header alone, a peer may still tell that it has verified the body: as many as may
/// wait for a verdict at once.
pub const ADVANCES_MAX: usize = 8;

/// Among how many of its last blocks a peer must not repeat one: four times as many as a node keeps.
pub const TOLD_MAX: usize = 64;

/// The most bytes that a permit grants: a message's limit.
pub const PERMIT_LEN_MAX: u32 = MAX_COMPACT_LEN as u32;

/// The longest skeleton of a block that travels compactly: what a message holds beside the header, short ids for as many items
/// as there may be, and a KiB of lengths.
const SKELETON_LEN_MAX: usize = MAX_COMPACT_LEN - MAX_HEADER_LEN - MAX_COMPACT_ITEMS * SHORT_ID_LEN - 1024;

/// What a message has beside a list: its tag, and the header's length or the key.
const LIST_MESSAGE_HEAD: usize = 1 + 32;

/// What a peer tells of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// That there is one.
    Announced(Announcement),
    /// Its header, and the rest if the peer has verified the body.
    Header {
        /// Its name.
        key: BlockKey,
        /// The header's bytes.
        bytes: Bytes,
        /// What they say.
        header: Box<Header>,
        /// The rest.
        list: Option<ItemList>,
    },
    /// The rest of a block whose header it told before.
    List {
        /// The block's name.
        key: BlockKey,
        /// The rest.
        list: ItemList,
    },
}

impl News {
    /// The block's name.
    #[must_use]
    pub fn key(&self) -> BlockKey {
        match self {
            News::Announced(announcement) => announcement.key,
            News::Header { key, .. } | News::List { key, .. } => *key,
        }
    }

    /// The items root, if the peer says that it has verified the body.
    pub(crate) fn root(&self) -> Option<ItemsRoot> {
        match self {
            News::Announced(announcement) => announcement.root,
            News::Header { list, .. } => list.as_ref().map(|list| list.root),
            News::List { list, .. } => Some(list.root),
        }
    }

    /// What it holds, in bytes.
    pub(crate) fn len(&self) -> usize {
        let list_len = |list: &ItemList| list.skeleton.len() + list.short_ids.len() * SHORT_ID_LEN + prefilled(list);
        match self {
            News::Announced(_) => MAX_ANNOUNCEMENT_LEN,
            News::Header { bytes, list, .. } => bytes.len() + list.as_ref().map_or(0, list_len),
            News::List { list, .. } => list_len(list),
        }
    }
}

fn prefilled(list: &ItemList) -> usize {
    list.prefilled.iter().map(|(_, item)| item.len()).sum()
}

/// Whether a verified block can travel compactly at all.
pub(crate) fn is_compactable(known: &KnownBlock) -> bool {
    let within = known.layout.items.iter().map(|item| item.range.len()).sum();
    let skeleton = known.layout.body.len().saturating_sub(within);
    known.layout.header.len <= MAX_HEADER_LEN
        && known.ids.len() <= MAX_COMPACT_ITEMS
        && skeleton <= SKELETON_LEN_MAX
        && known.layout.items.iter().all(|item| item.range.len() <= MAX_ITEM_LEN)
}

#[derive(Debug, PartialEq, Eq)]
enum Pull {
    Free,
    /// The longest of the lengths that this permit was ever for: a change and its use may cross.
    Permitted {
        number: u64,
        max_len: u32,
    },
}

#[derive(Debug, Clone, Copy)]
struct Permit {
    number: u64,
    /// At most [`PERMIT_LEN_MAX`]: a greater one is for what a message can carry.
    max_len: u32,
}

/// A block of which only the header was told.
#[derive(Debug, Clone, Copy)]
struct Advance {
    key: BlockKey,
    /// The longest list to tell of it; 0 after an announcement.
    max_len: u32,
}

/// Both halves of the channel.
#[derive(Debug)]
pub(crate) struct CompactBlocks {
    terms: Terms,
    /// Both sides announced it.
    spoken: bool,
    seed: u64,
    pull: Pull,
    permits_given: u64,
    theirs: VecDeque<Advance>,
    told: VecDeque<BlockKey>,
    serve: Option<Permit>,
    permits_taken: u64,
    /// The index of the next block to tell; none before the session's first look.
    cursor: Option<u64>,
    /// What we told last: a block that left our store and came back is not told again.
    tells: VecDeque<BlockKey>,
    ours: VecDeque<Advance>,
}

impl CompactBlocks {
    pub(crate) fn new(terms: Terms, spoken: bool, seed: u64) -> CompactBlocks {
        CompactBlocks {
            terms,
            spoken,
            seed,
            pull: Pull::Free,
            permits_given: 0,
            theirs: VecDeque::new(),
            told: VecDeque::new(),
            serve: None,
            permits_taken: 0,
            cursor: None,
            tells: VecDeque::new(),
            ours: VecDeque::new(),
        }
    }

    pub(crate) fn is_spoken(&self) -> bool {
        self.spoken
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        if !self.spoken {
            return Err(Rule::ChannelNotSupported);
        }
        let permitted = match self.pull {
            Pull::Permitted { max_len, .. } => Some(max_len.max(MAX_ANNOUNCEMENT_LEN as u32)),
            Pull::Free => None,
        };
        let advances = self.theirs.iter().map(|advance| advance.max_len.max(MAX_ANNOUNCEMENT_LEN as u32));
        let pull = permitted.into_iter().chain(advances).max().ok_or(Rule::NewsWithoutPermit);
        self.terms.allowed(stream, pull, Ok(MAX_COMPACT_PERMIT_LEN as u32))
    }

    /// Permits news of one block, unless such a permit is out.
    pub(crate) fn permit(&mut self, max_len: u32, out: &mut Outbox) {
        if self.spoken && self.pull == Pull::Free {
            self.pull = Pull::Permitted { number: self.permits_given, max_len };
            self.permits_given += 1;
            let stream = self.terms.stream(Channel::CompactBlock, Role::Puller, 0);
            out.transmit(stream, CompactMessage::Permit { max_len }.encode(), false);
        }
    }

    /// Changes the length of the permit that is out, if the peer has not used it meanwhile.
    pub(crate) fn change(&mut self, max_len: u32, out: &mut Outbox) {
        if let Pull::Permitted { number, max_len: longest } = &mut self.pull {
            *longest = max_len.max(*longest);
            let stream = self.terms.stream(Channel::CompactBlock, Role::Puller, 0);
            out.transmit(stream, CompactMessage::Change { permit: *number, max_len }.encode(), false);
        }
    }

    pub(crate) fn permit_out(&self) -> bool {
        matches!(self.pull, Pull::Permitted { .. })
    }

    pub(crate) fn handle(&mut self, stream: StreamId, body: Bytes, out: &mut Outbox) -> Result<(), Rule> {
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let message = self.terms.read(body, CompactMessage::decode)?;
        let role = match message {
            CompactMessage::Permit { .. } | CompactMessage::Change { .. } => Role::Server,
            _ => Role::Puller,
        };
        self.terms.check_role(stream, role)?;
        match message {
            CompactMessage::Permit { max_len } => {
                if self.serve.is_some() {
                    return Err(Rule::PermitRepeated);
                }
                self.serve = Some(Permit { number: self.permits_taken, max_len: max_len.min(PERMIT_LEN_MAX) });
                self.permits_taken += 1;
            }
            CompactMessage::Change { permit, max_len } => match &mut self.serve {
                Some(current) if current.number == permit => current.max_len = max_len.min(PERMIT_LEN_MAX),
                _ if permit < self.permits_taken => {}
                _ => return Err(Rule::ChangeOfNoPermit { permit }),
            },
            CompactMessage::Announce(announcement) => {
                let key = announcement.key;
                if announcement.root.is_some() && self.take_advance(&key).is_some() {
                    out.event(Event::BlockNews { news: News::Announced(announcement), used_permit: false });
                    return Ok(());
                }
                self.used(key, MAX_ANNOUNCEMENT_LEN as u32)?;
                if announcement.root.is_none() {
                    self.await_advance(Advance { key, max_len: 0 });
                }
                out.event(Event::BlockNews { news: News::Announced(announcement), used_permit: true });
            }
            CompactMessage::Header(bytes) => {
                let permitted = self.header(bytes, None, len, out)?;
                self.await_advance(permitted);
            }
            CompactMessage::Compact { header, list } => {
                self.header(header, Some(list), len, out)?;
            }
            CompactMessage::List { key, list } => {
                let advance = self.take_advance(&key).ok_or(Rule::ListWithoutHeader)?;
                if len > advance.max_len {
                    return Err(Rule::FrameTooLong { len, allowed: advance.max_len });
                }
                out.event(Event::BlockNews { news: News::List { key, list }, used_permit: false });
            }
        }
        Ok(())
    }

    fn header(&mut self, bytes: Bytes, list: Option<ItemList>, len: u32, out: &mut Outbox) -> Result<Advance, Rule> {
        let header = Header::of(&bytes).map_err(Rule::MalformedHeader)?;
        let key = BlockKey::of(&bytes);
        let max_len = self.used(key, len)?;
        let news = News::Header { key, bytes, header: Box::new(header), list };
        out.event(Event::BlockNews { news, used_permit: true });
        Ok(Advance { key, max_len })
    }

    /// The peer has used our permit to tell of a block by a message of this length.
    fn used(&mut self, key: BlockKey, len: u32) -> Result<u32, Rule> {
        let Pull::Permitted { max_len, .. } = self.pull else { return Err(Rule::NewsWithoutPermit) };
        let allowed = max_len.max(MAX_ANNOUNCEMENT_LEN as u32);
        if len > allowed {
            return Err(Rule::FrameTooLong { len, allowed });
        }
        if self.told.contains(&key) {
            return Err(Rule::NewsRepeated { key });
        }
        push_bounded(&mut self.told, key, TOLD_MAX);
        self.pull = Pull::Free;
        Ok(max_len)
    }

    fn await_advance(&mut self, advance: Advance) {
        push_bounded(&mut self.theirs, advance, ADVANCES_MAX);
    }

    fn take_advance(&mut self, key: &BlockKey) -> Option<Advance> {
        let at = self.theirs.iter().position(|advance| advance.key == *key)?;
        self.theirs.remove(at)
    }

    /// Tells the peer of what it does not know yet. `offered` says whether it was offered an item, or gave it to us.
    pub(crate) fn serve(&mut self, pools: &Pools, offered: &Offered<'_>, out: &mut Outbox) {
        if !self.spoken {
            return;
        }
        self.tell_advances(pools, offered, out);
        let tip = pools.tip.as_ref().and_then(|tip| pools.blocks.get(&tip.key));
        // Without a tip all that there is: any of it may become the tip.
        let cursor = *self.cursor.get_or_insert(tip.map_or(0, |tip| tip.index));
        let Some(permit) = self.serve else { return };
        // One that became the tip when there were later blocks already may be new to the peer.
        let older_tip = tip.filter(|tip| tip.index < cursor);
        for block in older_tip.into_iter().chain(pools.blocks.since(cursor)) {
            self.cursor = Some(cursor.max(block.index + 1));
            if self.told.contains(&block.key) || self.tells.contains(&block.key) {
                continue;
            }
            let Some(message) = self.news(block, permit.max_len, offered) else { continue };
            push_bounded(&mut self.tells, block.key, TOLD_MAX);
            self.serve = None;
            let stream = self.terms.stream(Channel::CompactBlock, Role::Server, 0);
            out.transmit(stream, message.encode(), false);
            return;
        }
    }

    /// The best news of a block that the permit allows; none of a block that travels whole.
    fn news(&mut self, block: &StoredBlock, max_len: u32, offered: &Offered<'_>) -> Option<CompactMessage> {
        let announce = |height, root| {
            CompactMessage::Announce(Announcement { key: block.key, height, state_hash: block.state_hash, root })
        };
        match &block.content {
            Content::Opaque(_) => None,
            Content::Known { block: known, .. } if !is_compactable(known) => None,
            Content::Header { bytes, header } => {
                let message = CompactMessage::Header(bytes.clone());
                let fits = message.encode().len() <= max_len as usize;
                let advance = Advance { key: block.key, max_len: if fits { max_len } else { 0 } };
                push_bounded(&mut self.ours, advance, ADVANCES_MAX);
                Some(if fits { message } else { announce(header.height, None) })
            }
            Content::Known { block: known, lacked } => {
                let header = known.bytes.slice(..known.layout.header.len);
                let budget = (max_len as usize).checked_sub(LIST_MESSAGE_HEAD + header.len());
                let list = budget.and_then(|budget| self.list(known, lacked, budget, offered));
                Some(match list {
                    Some(list) => CompactMessage::Compact { header, list },
                    None => announce(known.layout.header.height, Some(known.root)),
                })
            }
        }
    }

    fn tell_advances(&mut self, pools: &Pools, offered: &Offered<'_>, out: &mut Outbox) {
        let stream = self.terms.stream(Channel::CompactBlock, Role::Server, 0);
        for advance in std::mem::take(&mut self.ours) {
            let block = pools.blocks.get(&advance.key);
            let known = block.and_then(|block| match &block.content {
                Content::Known { block: known, lacked } if is_compactable(known) => Some((block, known, lacked)),
                _ => None,
            });
            // What we dropped meanwhile, or turned out to travel whole, keeps its place: the peer counts the same way.
            let Some((block, known, lacked)) = known else {
                self.ours.push_back(advance);
                continue;
            };
            let budget = (advance.max_len as usize).checked_sub(LIST_MESSAGE_HEAD);
            let message = match budget.and_then(|budget| self.list(known, lacked, budget, offered)) {
                Some(list) => CompactMessage::List { key: advance.key, list },
                None => CompactMessage::Announce(Announcement {
                    key: advance.key,
                    height: known.layout.header.height,
                    state_hash: block.state_hash,
                    root: Some(known.root),
                }),
            };
            out.transmit(stream, message.encode(), false);
        }
    }

    /// The list of a verified block, of at most `max_len` bytes: prefilled are first the items that we lacked ourselves,
    /// then those that the peer was never offered.
    pub(crate) fn list(
        &self,
        known: &KnownBlock,
        lacked: &[u32],
        max_len: usize,
        offered: &Offered<'_>,
    ) -> Option<ItemList> {
        let never = known.ids.iter().zip(0..).filter(|(id, _)| offered.never(id)).map(|(_, place)| place);
        let mut prefill = lacked.to_vec();
        prefill.extend(never.filter(|place| lacked.binary_search(place).is_err()));
        // Another nonce for each session and block, so that nobody can choose items whose short ids collide everywhere.
        let salt = known.key.0.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        compact(known, self.seed ^ salt, &prefill, max_len)
    }
}

/// What a session knows of the items that its peer was offered.
pub(crate) struct Offered<'a> {
    pub(crate) pools: &'a Pools,
    /// Below these log indices the peer was offered everything.
    pub(crate) transactions: u64,
    pub(crate) works: u64,
    pub(crate) peer: mina_p2p_wire::PeerId,
}

impl Offered<'_> {
    /// Whether the item is in our pools, and the peer was neither offered it nor gave it to us.
    fn never(&self, id: &mina_p2p_wire::message::ItemId) -> bool {
        if let Some((index, entry)) = self.pools.transactions.by_id(id) {
            return index >= self.transactions && entry.source != Some(self.peer);
        }
        let work = self.pools.works.by_id(id);
        work.is_some_and(|(index, entry)| index >= self.works && entry.source != Some(self.peer))
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}
