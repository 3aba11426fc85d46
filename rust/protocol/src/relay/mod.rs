//! How blocks travel compactly among all peers: who may tell us of a block and how much at once, which header the user is
//! told of, where what is missing is fetched, who is to blame, and what is relayed.
//!
//! Sans-I/O, as the [`Router`](crate::router::Router) that it is a part of: the node reports what happened and executes the
//! [`RelayOutput`]s. What is relayed, it puts into [`Pools::blocks`]; sessions tell their peers of what is new there.
//!
//! # One block
//!
//! | state | what ends it |
//! | --- | --- |
//! | announced | the header comes, by news or by our question |
//! | header known, the user told | the verdict: `accept_header`, `accept`, `ignore`, `reject`; 30 s without one are `ignore` |
//! | meanwhile the body: waiting for a list | news with a list, or our question once somebody announced a root |
//! | rebuilding | complete; missing items, fetched from those who announced the same root; or failed |
//! | by chunks | every chunk verified against the header's commitment |
//! | whole | an answer to RPC `Block` |
//! | verified | the user is told of the block; with the header accepted it is relayed with its list |
//!
//! # Permits
//!
//! A peer has one permit for news of one block. It gets the next when the user's verdict on that block is there, or at
//! once if it is an old one. So a peer has at most one header that nobody has judged. Of all peers there are at most
//! [`UNJUDGED_MAX`]; what comes beyond waits, one a peer. What a peer may tell without a permit, that it has verified a
//! body, begins no block. Up to three peers that were first lately may send headers and
//! lists at once ([`RelayConfig::direct_len`]); the others announce.
//!
//! # Blame
//!
//! Only for what a peer could know. A header is relayed by whoever accepted it, before the body: so a false body is
//! nobody's fault but of the one who sent a list, which says that it has verified it. Others that told the same root may be
//! right: a list can have a true root and a false skeleton. A rejected header is the fault of all who told of it. Who does
//! not answer, or not in time, is asked no more for this block, and not punished.

mod direct;
mod fetch;
mod output;
mod permits;
mod tracked;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mina_p2p_block::{ItemSource, KnownBlock, Outcome};
use mina_p2p_wire::message::{BlockKey, StateHash};
use mina_p2p_wire::{Channel, PeerId};

use crate::Time;
use crate::blocks::Content;
use crate::compact::News;
use crate::pools::{Pools, Tip};
use crate::router::{ConnectionId, Dialer};
use crate::violation::{Rule, Violation};

pub use self::output::{AskId, BlockFailure, HowItCame, RelayEvent, RelayOutput, UnknownBlock, Via};
pub use self::work::{Job, Worked};

use self::direct::Direct;
use self::permits::{Conn, Parked};
use self::tracked::{Asked, Body, Tracked, Verdict};
use self::work::Found;

/// How many blocks may wait for the user's verdict on their header: more than are made in a slot, and what they take is
/// bounded by [`UNJUDGED_BYTES`] each.
pub const UNJUDGED_MAX: usize = 8;

/// How many bytes are fetched or put together for a block whose header nobody has judged; what is longer waits for the verdict.
/// The largest block seen on mainnet has 3.04 MB. With questions on their way, one more and one repeated because the first is
/// slow, three times as much may come: for [`UNJUDGED_MAX`] blocks, with what is rebuilt and the lists, 136 MiB.
pub const UNJUDGED_BYTES: usize = 4 * 1024 * 1024;

/// How many events about blocks may wait for the user before blocks that are new wait: header and body, or failure, of as many
/// blocks as may be unjudged. So a user that takes no events is not told of more and more, though every verdict times out.
pub const UNTAKEN_MAX: usize = 2 * UNJUDGED_MAX;

/// How many blocks with an accepted header may wait for their bodies. The user has accepted each: the oldest gives way.
pub const UNFINISHED_MAX: usize = 8;

/// How long the user may take for a verdict.
pub const VERDICT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a body may take after the first news of its block. A slot of mainnet has 180 s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long those who relayed a header are waited for, before others are asked for the body.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// Of how many blocks the end is remembered, so that what comes late is not taken for news.
const SETTLED_MAX: usize = 256;

/// How compact blocks are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// The most bytes that a direct permit allows at once, prefilled items included: 64 KiB, which the initial congestion
    /// window carries in one flight. At most [`PERMIT_LEN_MAX`](crate::PERMIT_LEN_MAX).
    pub direct_len: u32,
    /// How many peers have a direct permit: 3. With more, a block comes that many times.
    pub direct_peers: usize,
}

impl Default for RelayConfig {
    fn default() -> RelayConfig {
        RelayConfig { direct_len: 64 * 1024, direct_peers: 3 }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    conns: BTreeMap<ConnectionId, Conn>,
    blocks: BTreeMap<BlockKey, Tracked>,
    asks: BTreeMap<AskId, Asked>,
    settled: VecDeque<BlockKey>,
    direct: Direct,
    outputs: VecDeque<RelayOutput>,
    next_ask: u64,
    next_attempt: u64,
    /// Events that the user has not taken.
    untaken: usize,
}

impl Relay {
    pub(crate) fn new(config: RelayConfig) -> Relay {
        Relay {
            config,
            conns: BTreeMap::new(),
            blocks: BTreeMap::new(),
            asks: BTreeMap::new(),
            settled: VecDeque::new(),
            direct: Direct::default(),
            outputs: VecDeque::new(),
            next_ask: 0,
            next_attempt: 0,
            untaken: 0,
        }
    }

    /// A connection on which compact blocks are spoken.
    pub fn connected(&mut self, id: ConnectionId, peer: PeerId, dialer: Dialer) {
        let conn = Conn { peer, dialer, permit: None, using: None, parked: None, failures: 0 };
        self.conns.insert(id, conn);
        self.choose_direct();
        self.permit(id);
    }

    /// A connection has ended. Others are ignored.
    pub fn disconnected(&mut self, now: Time, id: ConnectionId, pools: &mut Pools) {
        if self.conns.remove(&id).is_none() {
            return;
        }
        self.choose_direct();
        let lost: Vec<AskId> = self.asks.iter().filter(|(_, asked)| asked.conn == id).map(|(ask, _)| *ask).collect();
        lost.iter().for_each(|ask| drop(self.asks.remove(ask)));
        for tracked in self.blocks.values_mut() {
            tracked.holders.remove(&id);
        }
        let keys: Vec<BlockKey> = self.blocks.keys().copied().collect();
        keys.into_iter().for_each(|key| self.advance(now, key, pools));
    }

    /// A peer has told of a block. `used_permit` says whether its permit is used up by that.
    pub fn news(&mut self, now: Time, from: ConnectionId, news: News, used_permit: bool, pools: &mut Pools) {
        let key = news.key();
        let Some(conn) = self.conns.get_mut(&from) else { return };
        let peer = conn.peer;
        if used_permit {
            conn.permit = None;
            conn.using = Some(key);
        }
        if let Some(tracked) = self.blocks.get(&key) {
            let judged = tracked.verdict != Verdict::Open;
            self.take(now, from, news, pools);
            if judged {
                self.free(from, &key);
            }
        } else if self.settled.contains(&key) || pools.blocks.get(&key).is_some() {
            self.free(from, &key);
        } else if !used_permit {
            // More about a block that waits, or about one that was given up meanwhile: nobody has two blocks looked at.
            if let Some(parked) = conn.parked.as_mut().filter(|parked| parked.first.key() == key) {
                parked.more = Some(news);
            }
        } else if !self.has_room() {
            if let Some(conn) = self.conns.get_mut(&from) {
                conn.parked = Some(Parked { first: news, more: None });
            }
        } else {
            self.blocks.insert(key, Tracked::new(now, from, peer));
            self.take(now, from, news, pools);
            self.unpark_same(now, key, pools);
        }
    }

    /// Takes news of a tracked block.
    fn take(&mut self, now: Time, from: ConnectionId, news: News, pools: &mut Pools) {
        let key = news.key();
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        tracked.received += news.len();
        tracked.holds(from, news.root());
        match news {
            News::Announced(announcement) => {
                tracked.claimed_hash = tracked.claimed_hash.or(announcement.state_hash);
                if announcement.root.is_some() && tracked.has_no_way() {
                    tracked.body = Body::Waiting;
                }
            }
            News::Header { bytes, header, list, .. } => {
                if tracked.header.is_none() {
                    tracked.header = Some((bytes, *header));
                }
                self.offer_list(now, key, from, list, pools);
            }
            News::List { list, .. } => self.offer_list(now, key, from, Some(list), pools),
        }
        self.advance(now, key, pools);
    }

    /// Accepts a block's header: it is relayed at once, its list when the body is verified. `state_hash`, if it is known
    /// already, lets peers without compact blocks be asked.
    ///
    /// # Errors
    /// [`UnknownBlock`], if it has ended or was never here.
    pub fn accept_header(
        &mut self,
        now: Time,
        key: BlockKey,
        state_hash: Option<StateHash>,
        pools: &mut Pools,
    ) -> Result<(), UnknownBlock> {
        let Some(tracked) = self.blocks.get_mut(&key) else {
            // A verdict that comes twice, or after the block was made the tip.
            pools.blocks.get(&key).ok_or(UnknownBlock(key))?;
            if let Some(state_hash) = state_hash {
                pools.blocks.name(&key, state_hash);
            }
            return Ok(());
        };
        if matches!(tracked.body, Body::None) {
            // There is nothing to relay: the user has been told so, or is about to be.
            let tracked = self.blocks.remove(&key);
            self.dropped(now, key, tracked, pools);
            return Err(UnknownBlock(key));
        }
        let Some((bytes, header)) = tracked.header.clone() else { return Err(UnknownBlock(key)) };
        tracked.state_hash = state_hash.or(tracked.state_hash);
        if tracked.verdict == Verdict::Open {
            tracked.verdict = Verdict::Accepted;
            let first = tracked.first;
            pools.blocks.put(key, state_hash, Content::Header { bytes, header });
            if let Some(conn) = self.conns.get_mut(&first) {
                conn.failures = 0;
                self.direct.was_first(conn.peer);
                self.choose_direct();
            }
            self.outputs.push_back(RelayOutput::Relayed);
            self.judged(now, &key, pools);
        } else if let Some(state_hash) = state_hash {
            pools.blocks.name(&key, state_hash);
        }
        self.finish(&key, pools);
        self.advance(now, key, pools);
        self.limit_unfinished(now, pools);
        Ok(())
    }

    /// Accepts a block, header and body. Its body need not be here yet.
    ///
    /// # Errors
    /// [`UnknownBlock`], if it has ended or was never here.
    pub fn accept(
        &mut self,
        now: Time,
        key: BlockKey,
        state_hash: StateHash,
        pools: &mut Pools,
    ) -> Result<(), UnknownBlock> {
        self.accept_header(now, key, Some(state_hash), pools)
    }

    /// Ends a block: it is not relayed (any more), and nobody is punished.
    ///
    /// # Errors
    /// [`UnknownBlock`], if it has ended or was never here.
    pub fn ignore(&mut self, now: Time, key: BlockKey, pools: &mut Pools) -> Result<(), UnknownBlock> {
        let tracked = self.blocks.remove(&key);
        if tracked.is_none() && pools.blocks.get(&key).is_none() {
            return Err(UnknownBlock(key));
        }
        // The user's own tip is what it says it is.
        if pools.tip.as_ref().is_none_or(|tip| tip.key != key) {
            pools.blocks.remove(&key);
        }
        self.dropped(now, key, tracked, pools);
        Ok(())
    }

    /// Ends a block that is invalid: it is not relayed (any more). If its header was not accepted, and the user was not told of
    /// its body, the peers that told of it have relayed an invalid header: their connections end. Once the body is here, that
    /// may be what is invalid, and nobody is to blame.
    ///
    /// # Errors
    /// [`UnknownBlock`], if it has ended or was never here.
    pub fn reject(&mut self, now: Time, key: BlockKey, pools: &mut Pools) -> Result<(), UnknownBlock> {
        let to_blame = match self.blocks.get(&key) {
            Some(tracked) if tracked.verdict == Verdict::Open && tracked.wants_body() => {
                tracked.holders.keys().copied().collect()
            }
            _ => Vec::new(),
        };
        self.ignore(now, key, pools)?;
        for conn in to_blame {
            self.blame(now, conn, Rule::HeaderRejected { key }, pools);
        }
        Ok(())
    }

    /// Relays a block of our user's own.
    pub fn announce(&mut self, now: Time, block: &Tip, pools: &mut Pools) {
        pools.blocks.add_block(block);
        self.had(now, &block.key, pools);
    }

    /// The user gave a block itself, which is in [`Pools::blocks`] now: nothing needs to be fetched for it.
    pub fn had(&mut self, now: Time, key: &BlockKey, pools: &mut Pools) {
        if let Some(tracked) = self.blocks.remove(key) {
            if let Some(conn) = self.conns.get_mut(&tracked.first) {
                conn.failures = 0;
                if tracked.verdict == Verdict::Open {
                    self.direct.was_first(conn.peer);
                    self.choose_direct();
                }
            }
            self.cancel_all(key);
            self.settle(*key);
            self.judged(now, key, pools);
        }
        self.outputs.push_back(RelayOutput::Relayed);
    }

    /// A [`Job`] was run.
    pub fn worked(&mut self, now: Time, worked: Worked, pools: &mut Pools) {
        let Worked { key, attempt, found } = worked;
        // What was found for a block that has ended is not wanted any more.
        let Some(tracked) = self.blocks.get_mut(&key).filter(|tracked| tracked.wants_body()) else { return };
        let is_current = tracked.working == Some(attempt);
        if is_current {
            tracked.working = None;
        }
        match found {
            // A verified body is welcome, whatever was begun meanwhile.
            Found::Assembled(Outcome::Complete(known)) | Found::Checked { known: Ok(known), .. }
                if known.key == key =>
            {
                self.complete(now, key, known, pools);
            }
            _ if !is_current => return,
            Found::Assembled(outcome) => self.assembled(now, key, outcome, pools),
            // The header commits to this, and it is no body.
            Found::Checked { proven: true, .. } => self.fail(now, key, BlockFailure::NoBody, pools),
            // An answer to RPC may be any block.
            Found::Checked { .. } => {}
        }
        self.advance(now, key, pools);
    }

    /// When [`Relay::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let asks = self.asks.values().filter(|asked| !asked.slow).map(|asked| asked.slow_at);
        asks.chain(self.blocks.values().filter_map(Tracked::timeout)).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time, pools: &mut Pools) {
        for asked in self.asks.values_mut() {
            asked.slow |= asked.slow_at <= now;
        }
        let keys: Vec<BlockKey> = self.blocks.keys().copied().collect();
        for key in keys {
            let Some(tracked) = self.blocks.get_mut(&key) else { continue };
            if tracked.unjudged_since().is_some_and(|since| since + VERDICT_TIMEOUT <= now) {
                // It cannot be unknown; and if it were, there would be nothing to ignore.
                let _ = self.ignore(now, key, pools);
            } else if tracked.wants_body() && tracked.since + BODY_TIMEOUT <= now {
                self.fail(now, key, BlockFailure::Unavailable, pools);
            } else {
                tracked.retry(now);
                self.advance(now, key, pools);
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<RelayOutput> {
        self.outputs.pop_front()
    }

    /// A block that is verified and waits for the user's verdict.
    #[must_use]
    pub fn verified(&self, key: &BlockKey) -> Option<&Arc<KnownBlock>> {
        match &self.blocks.get(key)?.body {
            Body::Verified { known, .. } => Some(known),
            _ => None,
        }
    }

    /// How many blocks are on their way, unjudged or unfinished.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.blocks.len()
    }

    /// The user has taken an event. Blocks that are new wait while [`UNTAKEN_MAX`] events do.
    pub fn taken(&mut self, now: Time, pools: &mut Pools) {
        self.untaken = self.untaken.saturating_sub(1);
        self.unpark(now, pools);
    }

    /// Whether one more block may be looked at.
    fn has_room(&self) -> bool {
        let unjudged = self.blocks.values().filter(|tracked| tracked.verdict == Verdict::Open).count();
        unjudged < UNJUDGED_MAX && self.untaken < UNTAKEN_MAX
    }

    fn tell(&mut self, event: RelayEvent) {
        self.untaken = self.untaken.saturating_add(1);
        self.outputs.push_back(RelayOutput::Event(event));
    }

    /// The block is verified.
    fn complete(&mut self, now: Time, key: BlockKey, known: Box<KnownBlock>, pools: &mut Pools) {
        self.cancel_all(&key);
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        let how = tracked.how(known.ids.len());
        let lacked = match how.via {
            Via::List => tracked.lacked(),
            Via::Chunks | Via::Whole => lacking(&known, pools),
        };
        let peer = tracked.first_peer;
        let (block, previous_state_hash) = (known.bytes.clone(), known.layout.header.previous_state_hash);
        let event = RelayEvent::Block { peer, key, block, previous_state_hash, how };
        // The user has as long again to judge the body.
        tracked.told = Some(now);
        tracked.body = Body::Verified { known: Arc::from(known), lacked: lacked.into() };
        self.tell(event);
        self.finish(&key, pools);
    }

    /// Relays a block whose body is verified and whose header is accepted; that is all there is to do for it.
    fn finish(&mut self, key: &BlockKey, pools: &mut Pools) {
        let Some(tracked) = self.blocks.get(key) else { return };
        let (Verdict::Accepted, Body::Verified { known, lacked }) = (tracked.verdict, &tracked.body) else { return };
        let content = Content::Known { block: Arc::clone(known), lacked: Arc::clone(lacked) };
        pools.blocks.put(*key, tracked.state_hash, content);
        self.blocks.remove(key);
        self.settle(*key);
        self.outputs.push_back(RelayOutput::Relayed);
    }

    /// The body cannot be had.
    fn fail(&mut self, now: Time, key: BlockKey, reason: BlockFailure, pools: &mut Pools) {
        if let Some(tracked) = self.blocks.get_mut(&key)
            && tracked.unjudged_since().is_some()
            && reason == BlockFailure::NoBody
        {
            // The verdict on the header, or the time for it, still ends it: else whoever makes such headers, which costs
            // nothing, could tell of the next at once.
            tracked.body = Body::None;
            tracked.working = None;
            self.tell(RelayEvent::Failed { key, reason });
            return self.cancel_all(&key);
        }
        let Some(tracked) = self.blocks.remove(&key) else { return };
        if tracked.told.is_some() {
            self.tell(RelayEvent::Failed { key, reason });
        }
        if pools.blocks.get(&key).is_some_and(|block| block.bytes().is_none()) {
            pools.blocks.remove(&key);
        }
        self.dropped(now, key, Some(tracked), pools);
        if reason == BlockFailure::Unavailable {
            // Whoever tells of it later may have it.
            self.settled.retain(|settled| *settled != key);
        }
    }

    /// A block has ended without being relayed whole.
    fn dropped(&mut self, now: Time, key: BlockKey, tracked: Option<Tracked>, pools: &mut Pools) {
        self.cancel_all(&key);
        self.settle(key);
        if let Some(tracked) = tracked
            && tracked.verdict == Verdict::Open
            && let Some(conn) = self.conns.get_mut(&tracked.first)
        {
            conn.failures = conn.failures.saturating_add(1);
        }
        self.judged(now, &key, pools);
    }

    fn limit_unfinished(&mut self, now: Time, pools: &mut Pools) {
        let unfinished = |tracked: &Tracked| tracked.verdict == Verdict::Accepted;
        while self.blocks.values().filter(|tracked| unfinished(tracked)).count() > UNFINISHED_MAX {
            let oldest = self.blocks.iter().filter(|(_, tracked)| unfinished(tracked));
            let Some((&key, _)) = oldest.min_by_key(|(_, tracked)| tracked.since) else { return };
            self.fail(now, key, BlockFailure::TooMany, pools);
        }
    }

    fn settle(&mut self, key: BlockKey) {
        if self.settled.len() >= SETTLED_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back(key);
    }

    fn blame(&mut self, now: Time, by: ConnectionId, rule: Rule, pools: &mut Pools) {
        if !self.conns.contains_key(&by) {
            return;
        }
        let violation = Violation { channel: Channel::CompactBlock, rule };
        self.outputs.push_back(RelayOutput::Violation { by, violation });
        self.disconnected(now, by, pools);
    }
}

/// The places of a block's items that the pools do not have.
fn lacking(known: &KnownBlock, pools: &Pools) -> Vec<u32> {
    (0..).zip(&known.ids).filter(|(_, id)| pools.get(id).is_none()).map(|(place, _)| place).collect()
}
