//! Getting the body of one block: whom to ask for what, and what to make of the answers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::{BodyChunks, BodyParams, Fault, Header, ItemSource, Need, Outcome, Rebuild, Refused, item_id};
use mina_p2p_wire::message::{
    BlockAnswer, BlockKey, BlockQuery, ItemList, ItemsRoot, MAX_COMPACT_ITEMS, MAX_COMPACT_LEN, RpcRequest, RpcResponse,
};

use crate::pools::Pools;
use crate::router::{ConnectionId, Dialer};
use crate::rpc::rpc_deadline;
use crate::violation::Rule;
use crate::{Answer, Request, RequestFailure, Time};

use super::tracked::{Asked, Body, Tracked, Tried, Verdict, What};
use super::work::{Job, Task};
use super::{AskId, BlockFailure, LIST_TIMEOUT, Relay, RelayEvent, RelayOutput, UNJUDGED_BYTES};

/// How long a question may take before another peer is asked the same: a few round trips around the world.
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// What an item adds to that: 25 KB at 1 MB/s.
const SLOW_AFTER_ITEM: Duration = Duration::from_millis(25);
/// What a chunk adds to that: 262,144 bytes at 0.5 MB/s.
const SLOW_AFTER_CHUNK: Duration = Duration::from_millis(500);
/// How long a question may take at all. A frame that has begun may take longer, as its length needs.
const DEADLINE: Duration = Duration::from_secs(5);

/// From how many missing items on they are asked of several peers at once.
const SPLIT_FROM: usize = 32;
/// Of at most how many.
const SPLIT_MAX: usize = 4;
/// The bytes of a chunk.
const CHUNK_LEN: usize = 262_144;
/// How many chunks are asked for at once.
const CHUNKS_AT_ONCE: usize = 4;
/// Of at most how many peers a whole block is asked, one after the other.
const WHOLE_TRIES: usize = 8;

impl Relay {
    /// Does what is to be done next for a block: tells the user, asks, or gives a job.
    pub(super) fn advance(&mut self, now: Time, key: BlockKey, pools: &mut Pools) {
        self.tell_header(now, key);
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        if tracked.working.is_some() || tracked.waits_for_verdict() {
            return;
        }
        if tracked.header.is_none() {
            return self.want_header(now, key, pools);
        }
        let next = match &mut tracked.body {
            Body::None | Body::Verified { .. } => return,
            Body::Waiting => Next::List,
            Body::Whole => Next::Whole,
            Body::Rebuilding { rebuild, .. } => match rebuild.need() {
                Need::Items(places) => Next::Items(rebuild.root(), places.to_vec()),
                Need::Ids => Next::Ids(rebuild.root()),
                Need::Assembly => Next::Work(Task::Assemble(Box::new(rebuild.assemble()))),
                Need::Body | Need::Nothing => Next::Chunks,
            },
            Body::Chunks(_) => Next::MoreChunks,
        };
        match next {
            Next::List => self.want_list(now, key),
            Next::Items(root, places) => self.want_items(now, key, root, &places),
            Next::Ids(root) => self.want_ids(now, key, root),
            Next::Work(task) => self.work(key, task),
            Next::Chunks => self.begin_chunks(now, key),
            Next::MoreChunks => self.want_chunks(now, key),
            Next::Whole => self.want_whole(now, key),
        }
    }

    fn tell_header(&mut self, now: Time, key: BlockKey) {
        let Some(tracked) = self.blocks.get_mut(&key).filter(|tracked| tracked.told.is_none()) else { return };
        let Some((bytes, header)) = tracked.header.clone() else { return };
        tracked.told = Some(now);
        let (peer, header) = (tracked.first_peer, Box::new(header));
        self.tell(RelayEvent::Header { peer, key, bytes, header });
    }

    /// A peer has given a list: it is used, unless a better one is, or it was of no use already.
    pub(super) fn offer_list(
        &mut self,
        now: Time,
        key: BlockKey,
        from: ConnectionId,
        list: Option<ItemList>,
        pools: &mut Pools,
    ) {
        let (Some(list), Some(tracked)) = (list, self.blocks.get_mut(&key)) else { return };
        let Some((bytes, header)) = tracked.header.clone() else { return };
        if !tracked.has_no_way() || tracked.spent.contains(&list.root) {
            return;
        }
        let prefilled: Vec<_> = list.prefilled.iter().map(|(place, item)| (*place, item_id(item))).collect();
        match Rebuild::new(bytes, header, list, &*pools) {
            Ok(rebuild) => {
                // What was prefilled and is not in our pools, the next peer probably lacks too.
                let lacked = prefilled.into_iter().filter(|(_, id)| pools.get(id).is_none()).map(|(place, _)| place);
                tracked.lacked = lacked.chain(rebuild.missing().iter().copied()).collect();
                tracked.body = Body::Rebuilding { from, rebuild: Box::new(rebuild) };
                self.cancel_some(&key, |what| matches!(what, What::List | What::Header | What::Chunk(_) | What::Whole));
            }
            Err(refused) => self.blame(now, from, false_block(key, &refused), pools),
        }
    }

    fn want_header(&mut self, now: Time, key: BlockKey, pools: &mut Pools) {
        let Some(tracked) = self.blocks.get(&key) else { return };
        if let Some(conn) = self.free_to_ask(key, Tried::Header, tracked.holders.keys().copied()) {
            return self.ask(now, key, conn, What::Header);
        }
        if !self.asks.values().any(|asked| asked.key == key) {
            // Whoever told of it does not give it.
            let tracked = self.blocks.remove(&key);
            self.dropped(now, key, tracked, pools);
            // It may be told again by somebody who does.
            self.settled.retain(|settled| *settled != key);
        }
    }

    fn want_list(&mut self, now: Time, key: BlockKey) {
        let Some(tracked) = self.blocks.get(&key) else { return };
        let useful = |root: &ItemsRoot| !tracked.spent.contains(root);
        let verified = tracked.holders.iter().filter(|(_, holder)| holder.root.as_ref().is_some_and(useful));
        let mut holders: Vec<_> = verified.map(|(conn, _)| *conn).collect();
        holders.sort_by_key(|conn| self.dialed_us(conn));
        if holders.is_empty() {
            // The header was relayed before the body was verified, by all who told of it: they will say when it is. If
            // they do not, somebody else may have it.
            let waited = now.saturating_since(tracked.since) >= LIST_TIMEOUT;
            if !(waited || tracked.misled) {
                let at = tracked.since + LIST_TIMEOUT;
                let Some(tracked) = self.blocks.get_mut(&key) else { return };
                tracked.retry_at = Some(tracked.retry_at.map_or(at, |earlier| earlier.min(at)));
                return;
            }
            return self.begin_chunks(now, key);
        }
        // Who is being asked for the header gives the list with it.
        let comes_anyway = |ask: &Asked| ask.key == key && ask.what == What::Header && !ask.slow;
        if self.asks.values().any(|ask| comes_anyway(ask) && holders.contains(&ask.conn)) {
            return;
        }
        match self.free_to_ask(key, Tried::List, holders.into_iter()) {
            Some(conn) => self.ask(now, key, conn, What::List),
            None if !self.is_asking(key, Tried::List) => self.begin_chunks(now, key),
            None => {}
        }
    }

    fn want_items(&mut self, now: Time, key: BlockKey, root: ItemsRoot, missing: &[u32]) {
        let Some(tracked) = self.blocks.get(&key) else { return };
        let (asked, slow) = self.asked_places(key);
        let open: Vec<u32> = missing.iter().copied().filter(|place| !asked.contains(place)).collect();
        let holders = self.holders_of(tracked, root);
        let most = if tracked.verdict == Verdict::Open { UNJUDGED_BYTES } else { BlockAnswer::MAX_LEN };
        // Places of which nobody was asked, or only somebody slow.
        let (fresh, late): (Vec<u32>, Vec<u32>) = open.into_iter().partition(|place| !slow.contains(place));
        if !fresh.is_empty() {
            let askable: Vec<_> = self.askable(key, Tried::Items, holders.iter().copied()).collect();
            if askable.is_empty() {
                return self.give_up_list(now, key, root);
            }
            let parts = if fresh.len() < SPLIT_FROM { 1 } else { askable.len().min(SPLIT_MAX) };
            for (places, conn) in fresh.chunks(fresh.len().div_ceil(parts)).zip(askable) {
                self.ask(now, key, conn, What::Items { root, places: places.to_vec(), max_answer: most / parts });
            }
        }
        if !late.is_empty() {
            if let Some(conn) = self.free_to_ask(key, Tried::Items, holders.into_iter()) {
                self.ask(now, key, conn, What::Items { root, places: late, max_answer: most });
            } else if self.has_other_root(key, root) {
                // One of the two roots is a lie, and this one's holders are slow.
                self.give_up_list(now, key, root);
            }
        }
    }

    fn has_other_root(&self, key: BlockKey, root: ItemsRoot) -> bool {
        self.blocks.get(&key).is_some_and(|tracked| {
            let mut roots = tracked.holders.values().filter_map(|holder| holder.root);
            roots.any(|other| other != root && !tracked.spent.contains(&other))
        })
    }

    /// The places that are asked of somebody who is in time, and of somebody slow.
    fn asked_places(&self, key: BlockKey) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let (mut asked, mut slow) = (BTreeSet::new(), BTreeSet::new());
        for ask in self.asks.values().filter(|ask| ask.key == key) {
            if let What::Items { places, .. } = &ask.what {
                if ask.slow { &mut slow } else { &mut asked }.extend(places);
            }
        }
        (asked, slow)
    }

    fn want_ids(&mut self, now: Time, key: BlockKey, root: ItemsRoot) {
        let Some(tracked) = self.blocks.get(&key) else { return };
        let holders = self.holders_of(tracked, root);
        match self.free_to_ask(key, Tried::Ids, holders.into_iter()) {
            Some(conn) => self.ask(now, key, conn, What::Ids { root }),
            // One of the two roots is a lie, and this one's holders are slow.
            None if !self.is_in_time(key, Tried::Ids) && self.has_other_root(key, root) => {
                self.give_up_list(now, key, root);
            }
            None if !self.is_asking(key, Tried::Ids) => self.give_up_list(now, key, root),
            None => {}
        }
    }

    /// Nobody gives what a list with this root needs: another list, or the body by chunks.
    fn give_up_list(&mut self, now: Time, key: BlockKey, root: ItemsRoot) {
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        tracked.spent.insert(root);
        tracked.tried.retain(|(tried, _)| !tried.is_of_list());
        self.drop_list(key);
        self.want_list(now, key);
    }

    /// The list that the block is rebuilt from leads nowhere.
    fn drop_list(&mut self, key: BlockKey) {
        if let Some(tracked) = self.blocks.get_mut(&key)
            && matches!(tracked.body, Body::Rebuilding { .. })
        {
            tracked.misled = true;
            tracked.working = None;
            tracked.body = Body::Waiting;
            self.cancel_some(&key, |what| what.tried().is_of_list());
        }
    }

    fn begin_chunks(&mut self, now: Time, key: BlockKey) {
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        let Some((_, header)) = &tracked.header else { return };
        if let Body::Rebuilding { rebuild, .. } = &tracked.body {
            tracked.spent.insert(rebuild.root());
        }
        tracked.body = Body::Chunks(Box::new(BodyChunks::new(header.body_reference, BodyParams::MAINNET)));
        self.cancel_some(&key, |_| true);
        self.want_chunks(now, key);
    }

    fn want_chunks(&mut self, now: Time, key: BlockKey) {
        let Some(tracked) = self.blocks.get(&key) else { return };
        let (Body::Chunks(chunks), Some((bytes, _))) = (&tracked.body, &tracked.header) else { return };
        if chunks.is_complete() {
            if let Some(block) = chunks.append_to(bytes.as_ref().into()) {
                self.work(key, Task::Check { block, proven: true });
            }
            return;
        }
        let of_block = self.asks.values().filter(|ask| ask.key == key && !ask.slow);
        let chunk = |ask: &Asked| if let What::Chunk(index) = ask.what { Some(index) } else { None };
        let in_time: BTreeSet<u32> = of_block.filter_map(chunk).collect();
        let wanted = chunks.missing().filter_map(|index| u32::try_from(index).ok());
        let wanted: Vec<u32> = wanted.filter(|index| !in_time.contains(index)).take(CHUNKS_AT_ONCE).collect();
        let room = CHUNKS_AT_ONCE.saturating_sub(in_time.len());
        let candidates: Vec<_> = self.askable(key, Tried::Chunks, self.likely(tracked).into_iter()).collect();
        if candidates.is_empty() {
            if !self.is_asking(key, Tried::Chunks) {
                self.begin_whole(now, key);
            }
            return;
        }
        for index in wanted.into_iter().take(room) {
            let asked = |conn: ConnectionId| self.asks.values().filter(move |ask| ask.conn == conn && ask.key == key);
            let is_new = |conn: &&ConnectionId| asked(**conn).all(|ask| ask.what != What::Chunk(index));
            // Spread over those who have not been asked yet, then over all.
            if let Some(&conn) = candidates.iter().filter(is_new).min_by_key(|conn| asked(**conn).count()) {
                self.ask(now, key, conn, What::Chunk(index));
            }
        }
    }

    fn begin_whole(&mut self, now: Time, key: BlockKey) {
        if let Some(tracked) = self.blocks.get_mut(&key) {
            tracked.body = Body::Whole;
        }
        self.want_whole(now, key);
    }

    fn want_whole(&mut self, now: Time, key: BlockKey) {
        let Some(tracked) = self.blocks.get(&key) else { return };
        let tries = tracked.tried.iter().filter(|(tried, _)| *tried == Tried::Whole).count();
        let candidate = self.free_to_ask(key, Tried::Whole, self.likely(tracked).into_iter());
        match candidate.filter(|_| tracked.any_hash().is_some() && tries < WHOLE_TRIES) {
            Some(conn) => self.ask(now, key, conn, What::Whole),
            None if !self.is_asking(key, Tried::Whole) => {
                if let Some(tracked) = self.blocks.get_mut(&key) {
                    tracked.wait(now);
                }
            }
            None => {}
        }
    }

    /// Who has announced this items root, the list's sender first.
    fn holders_of(&self, tracked: &Tracked, root: ItemsRoot) -> Vec<ConnectionId> {
        let from = match &tracked.body {
            Body::Rebuilding { from, .. } => Some(*from),
            _ => None,
        };
        let holders = tracked.holders.iter().filter(|(_, holder)| holder.root == Some(root)).map(|(conn, _)| *conn);
        let mut holders: Vec<_> = holders.collect();
        holders.sort_by_key(|conn| Some(*conn) != from);
        holders
    }

    /// Who may have the body: first those that say so, then those that told of the block, then all; of each the dialed first.
    fn likely(&self, tracked: &Tracked) -> Vec<ConnectionId> {
        let rank = |conn: &ConnectionId| match tracked.holders.get(conn) {
            Some(holder) if holder.root.is_some() => 0,
            Some(_) => 1,
            None => 2,
        };
        let mut likely: Vec<_> = self.conns.keys().copied().collect();
        likely.sort_by_key(|conn| (rank(conn), self.dialed_us(conn)));
        likely
    }

    /// Those that we dialed come first wherever there is a choice: an attacker chooses those that dial us, and can be many.
    fn dialed_us(&self, conn: &ConnectionId) -> bool {
        self.conns.get(conn).is_none_or(|conn| conn.dialer == Dialer::Peer)
    }

    /// Those of the candidates that were not tried for this yet.
    fn askable<'a>(
        &'a self,
        key: BlockKey,
        tried: Tried,
        candidates: impl Iterator<Item = ConnectionId> + 'a,
    ) -> impl Iterator<Item = ConnectionId> + 'a {
        let known = self.blocks.get(&key).map(|tracked| &tracked.tried);
        candidates.filter(move |conn| {
            self.conns.contains_key(conn) && known.is_some_and(|known| !known.contains(&(tried, *conn)))
        })
    }

    /// The first candidate that may be asked, unless one who is in time is being asked.
    fn free_to_ask(
        &self,
        key: BlockKey,
        tried: Tried,
        candidates: impl Iterator<Item = ConnectionId>,
    ) -> Option<ConnectionId> {
        if tried != Tried::Items && self.is_in_time(key, tried) {
            return None;
        }
        let of_kind = |ask: &&Asked| ask.key == key && ask.what.tried() == tried;
        let busy: Vec<_> = self.asks.values().filter(of_kind).map(|ask| ask.conn).collect();
        self.askable(key, tried, candidates).find(|conn| !busy.contains(conn))
    }

    fn is_asking(&self, key: BlockKey, tried: Tried) -> bool {
        self.asks.values().any(|ask| ask.key == key && ask.what.tried() == tried)
    }

    /// Whether one who is not slow is being asked.
    fn is_in_time(&self, key: BlockKey, tried: Tried) -> bool {
        self.asks.values().any(|ask| ask.key == key && ask.what.tried() == tried && !ask.slow)
    }

    fn ask(&mut self, now: Time, key: BlockKey, conn: ConnectionId, what: What) {
        let first = !self.asks.values().any(|asked| asked.key == key);
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        tracked.round_trips += u32::from(first);
        let query = |query: BlockQuery, max_answer: usize| Request::Extension {
            name: query.method().to_owned(),
            version: BlockQuery::VERSION,
            body: query.encode(),
            max_answer: u32::try_from(max_answer).unwrap_or(u32::MAX),
            deadline: DEADLINE,
        };
        let ids_len = BlockAnswer::MAX_HEAD_LEN + MAX_COMPACT_ITEMS * 32;
        let (request, slow_after) = match &what {
            What::Header => (query(BlockQuery::Compact { key, with_header: true }, MAX_COMPACT_LEN), SLOW_AFTER),
            What::List => (query(BlockQuery::Compact { key, with_header: false }, MAX_COMPACT_LEN), SLOW_AFTER),
            What::Items { root, places, max_answer } => (
                query(BlockQuery::Items { key, root: *root, places: places.clone() }, *max_answer),
                SLOW_AFTER + SLOW_AFTER_ITEM * u32::try_from(places.len()).unwrap_or(u32::MAX).min(1000),
            ),
            What::Ids { root } => (query(BlockQuery::Ids { key, root: *root }, ids_len), SLOW_AFTER),
            What::Chunk(index) => {
                let max_len = CHUNK_LEN + BlockAnswer::MAX_HEAD_LEN;
                (query(BlockQuery::Chunk { key, index: *index }, max_len), SLOW_AFTER + SLOW_AFTER_CHUNK)
            }
            What::Whole => {
                let Some(state_hash) = tracked.any_hash() else { return };
                let request = RpcRequest::Block(state_hash);
                let deadline = rpc_deadline(request.kind());
                (Request::Rpc(request), deadline)
            }
        };
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, Asked { key, conn, what, slow_at: now + slow_after, slow: false });
        self.outputs.push_back(RelayOutput::Ask { to: conn, ask, request });
    }

    pub(super) fn cancel_all(&mut self, key: &BlockKey) {
        self.cancel_some(key, |_| true);
    }

    fn cancel_some(&mut self, key: &BlockKey, which: impl Fn(&What) -> bool) {
        let of_block = self.asks.iter().filter(|(_, asked)| asked.key == *key && which(&asked.what));
        let cancelled: Vec<_> = of_block.map(|(ask, asked)| (*ask, asked.conn)).collect();
        for (ask, to) in cancelled {
            self.asks.remove(&ask);
            self.outputs.push_back(RelayOutput::Cancel { to, ask });
        }
    }

    fn work(&mut self, key: BlockKey, task: Task) {
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        tracked.working = Some(attempt);
        self.outputs.push_back(RelayOutput::Work(Box::new(Job { key, attempt, task })));
    }

    pub(super) fn assembled(&mut self, now: Time, key: BlockKey, outcome: Outcome, pools: &mut Pools) {
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        let Body::Rebuilding { from, rebuild } = &mut tracked.body else { return };
        rebuild.assembled(&outcome);
        let from = *from;
        match outcome {
            Outcome::Complete(known) => self.complete(now, key, known, pools),
            Outcome::Missing(_) | Outcome::Failed => {}
            Outcome::Invalid(invalid) => {
                // Only the list's sender has lied: it may have taken a true root from others, who told nothing else.
                self.drop_list(key);
                self.blame(now, from, Rule::FalseBlock { key, what: invalid.to_string() }, pools);
            }
        }
    }

    /// A question has been answered, or will not be.
    pub fn answered(&mut self, now: Time, ask: AskId, answer: Result<Answer, RequestFailure>, pools: &mut Pools) {
        let Some(Asked { key, conn, what, .. }) = self.asks.remove(&ask) else { return };
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        let body = match answer {
            Ok(Answer::Extension(Ok(body))) => body,
            Ok(Answer::Rpc(Some(RpcResponse::Block(block)))) if what == What::Whole => {
                tracked.received += block.len();
                tracked.tried.insert((Tried::Whole, conn));
                return self.work(key, Task::Check { block, proven: false });
            }
            _ => {
                tracked.tried.insert((what.tried(), conn));
                return self.advance(now, key, pools);
            }
        };
        tracked.received += body.len();
        match BlockAnswer::decode(body) {
            Ok(answer) => self.take_answer(now, key, conn, what, answer, pools),
            Err(error) => self.blame(now, conn, Rule::FalseBlock { key, what: error.to_string() }, pools),
        }
        self.advance(now, key, pools);
    }

    fn take_answer(
        &mut self,
        now: Time,
        key: BlockKey,
        conn: ConnectionId,
        what: What,
        answer: BlockAnswer,
        pools: &mut Pools,
    ) {
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        match (answer, &what) {
            // Not there any more, or not yet; or of another producer's body, which a different list leads to.
            (BlockAnswer::NotHere | BlockAnswer::OtherRoot, _) => {
                tracked.tried.insert((what.tried(), conn));
            }
            (BlockAnswer::Header(bytes), What::Header) => {
                tracked.tried.insert((Tried::Header, conn));
                self.take_header(now, key, conn, bytes, None, pools);
            }
            (BlockAnswer::Compact { header: Some(bytes), list }, What::Header) => {
                tracked.tried.insert((Tried::Header, conn));
                self.take_header(now, key, conn, bytes, Some(list), pools);
            }
            (BlockAnswer::Compact { header: None, list }, What::List) => {
                tracked.tried.insert((Tried::List, conn));
                tracked.holds(conn, Some(list.root));
                self.offer_list(now, key, conn, Some(list), pools);
            }
            (BlockAnswer::Items { items, proof }, What::Items { root, places, max_answer }) => {
                let Body::Rebuilding { rebuild, from } = &mut tracked.body else { return };
                // An answer about a list that was given up meanwhile.
                if rebuild.root() != *root {
                    return;
                }
                let from = *from;
                let (given, len) = (items.len(), items.iter().map(Bytes::len).sum::<usize>());
                match rebuild.provide(places, items, &proof) {
                    // Who stops with room left delays us: somebody else is asked for the rest.
                    Ok(_) if given < places.len() && len < max_answer / 2 => {
                        tracked.tried.insert((Tried::Items, conn));
                    }
                    Ok(_) => {}
                    Err(refused) => self.refused(now, key, (conn, from), &refused, pools),
                }
            }
            (BlockAnswer::Ids(ids), What::Ids { root }) => {
                let Body::Rebuilding { rebuild, from } = &mut tracked.body else { return };
                if rebuild.root() != *root {
                    return;
                }
                let from = *from;
                match rebuild.provide_ids(&ids, &*pools) {
                    Ok(()) => tracked.lacked.extend(rebuild.missing()),
                    Err(refused) => self.refused(now, key, (conn, from), &refused, pools),
                }
            }
            (BlockAnswer::Chunk(chunk), What::Chunk(index)) => {
                let Body::Chunks(chunks) = &mut tracked.body else { return };
                match chunks.insert(*index as usize, chunk) {
                    Ok(()) => {}
                    Err(error) if error.is_the_headers() => self.fail(now, key, BlockFailure::NoBody, pools),
                    Err(error) => self.blame(now, conn, Rule::FalseBlock { key, what: error.to_string() }, pools),
                }
            }
            (_, what) => {
                let what = format!("an answer of another kind than the question: {:?}", what.tried());
                self.blame(now, conn, Rule::FalseBlock { key, what }, pools);
            }
        }
    }

    fn take_header(
        &mut self,
        now: Time,
        key: BlockKey,
        conn: ConnectionId,
        bytes: Bytes,
        list: Option<ItemList>,
        pools: &mut Pools,
    ) {
        let header = match Header::of(&bytes) {
            Ok(header) if BlockKey::of(&bytes) == key => header,
            Ok(_) => {
                let what = "the header of another block".to_owned();
                return self.blame(now, conn, Rule::FalseBlock { key, what }, pools);
            }
            Err(error) => return self.blame(now, conn, Rule::MalformedHeader(error), pools),
        };
        let Some(tracked) = self.blocks.get_mut(&key) else { return };
        if tracked.header.is_none() {
            tracked.header = Some((bytes, header));
            if let Some(giver) = self.conns.get(&conn) {
                (tracked.first, tracked.first_peer) = (conn, giver.peer);
            }
        }
        tracked.holds(conn, list.as_ref().map(|list| list.root));
        self.offer_list(now, key, conn, list, pools);
    }

    /// An answer to a question for items or ids was refused: it was false, or what the list's sender committed to is.
    fn refused(
        &mut self,
        now: Time,
        key: BlockKey,
        (answerer, sender): (ConnectionId, ConnectionId),
        refused: &Refused,
        pools: &mut Pools,
    ) {
        match refused.fault() {
            Fault::Answerer => self.blame(now, answerer, false_block(key, refused), pools),
            Fault::ListSender => {
                // The root may be others', and true: it is the list that is false.
                self.drop_list(key);
                self.blame(now, sender, false_block(key, refused), pools);
            }
        }
    }
}

/// What to do next for a body.
enum Next {
    List,
    Items(ItemsRoot, Vec<u32>),
    Ids(ItemsRoot),
    Work(Task),
    Chunks,
    MoreChunks,
    Whole,
}

fn false_block(key: BlockKey, refused: &Refused) -> Rule {
    Rule::FalseBlock { key, what: refused.to_string() }
}
