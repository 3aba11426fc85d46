//! Many nodes in virtual time: each with pools, a router and a session for each link, and a user that accepts the blocks
//! that there are. What a node is to do with the outputs is done here as the real one does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::KnownBlock;
use mina_p2p_protocol::relay::{AskId, HowItCame, RelayConfig, RelayEvent, RelayOutput};
use mina_p2p_protocol::router::{ConnectionId, Dialer, Router, RouterConfig, SlotLimits};
use mina_p2p_protocol::{
    Event, ExtensionService, IncomingRequest, Lanes, Output, Pools, Processed, RequestFailure, RequestId, Response,
    Session, SessionConfig, SessionLimits, StreamEnd, Time, Tip,
};
use mina_p2p_wire::message::{BlockQuery, Capabilities, CompactMessage, RpcRequest, RpcResponse};
use mina_p2p_wire::{BlockKey, Channel, Role, StreamId};

use crate::random::Random;
use crate::things;

/// What a node's user does with a header of a block that there is. It rejects others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum User {
    /// Accepts it after this time, whether the body is there or not.
    AcceptsHeaders(Duration),
    /// Waits for the body, then accepts after this time.
    AcceptsBlocks(Duration),
    /// Never says anything.
    IsSilent,
}

/// Changes what a node sends on a channel; `None` if it is not sent at all.
pub(crate) type Lie = fn(&mut Random, Channel, Bytes) -> Option<Bytes>;

pub(crate) struct Node {
    pub(crate) router: Router,
    pub(crate) pools: Pools,
    pub(crate) user: User,
    /// Its user makes the newest block that it has accepted the tip.
    pub(crate) sets_tips: bool,
    pub(crate) lie: Option<Lie>,
    /// Without the extension.
    pub(crate) is_plain: bool,
    pub(crate) headers: Vec<BlockKey>,
    pub(crate) got: BTreeMap<BlockKey, (Time, Option<HowItCame>)>,
    pub(crate) failed: Vec<BlockKey>,
    requests: BTreeMap<(ConnectionId, RequestId), AskId>,
}

struct End {
    node: usize,
    id: ConnectionId,
    session: Session,
    timeout: Option<Time>,
    opened: BTreeSet<StreamId>,
    /// When the last packet of a stream arrives.
    last: BTreeMap<StreamId, Time>,
}

struct Link {
    ends: [End; 2],
    delay: Duration,
}

enum Packet {
    Frame(Bytes),
    End(StreamEnd),
}

enum Happening {
    Arrival { link: usize, side: usize, stream: StreamId, packet: Packet },
    Verdict { node: usize, key: BlockKey },
    Disconnect { nodes: (usize, usize) },
    Connect { nodes: (usize, usize), delay: Duration },
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) nodes: Vec<Node>,
    pub(crate) blocks: BTreeMap<BlockKey, KnownBlock>,
    /// The order in which the blocks came into the world.
    numbers: BTreeMap<BlockKey, usize>,
    links: BTreeMap<usize, Link>,
    happenings: BTreeMap<(Time, u64), Happening>,
    next: u64,
    next_link: usize,
    /// Who blamed whom.
    pub(crate) blamed: Vec<(usize, usize, String)>,
    /// All messages of the compact channel, as they were sent: from, to, what, its length.
    pub(crate) sent: Vec<(usize, usize, CompactMessage, usize)>,
    /// The bytes that were sent on all channels.
    pub(crate) bytes: usize,
    /// A digest of everything that was sent and told.
    pub(crate) trace: u64,
    pub(crate) most_tracked: usize,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, user: User) -> World {
        World {
            now: Time(Duration::from_secs(1000)),
            random: Random::new(seed),
            nodes: (0..nodes).map(|node| Node::new(node as u64, user)).collect(),
            blocks: BTreeMap::new(),
            numbers: BTreeMap::new(),
            links: BTreeMap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            next_link: 0,
            blamed: Vec::new(),
            sent: Vec::new(),
            bytes: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            most_tracked: 0,
        }
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.happenings.insert((time, self.next), happening);
        self.next += 1;
    }

    /// The first dials the second.
    pub(crate) fn connect(&mut self, from: usize, to: usize, delay: Duration) {
        let link = self.next_link;
        self.next_link += 1;
        let plain = self.nodes[from].is_plain || self.nodes[to].is_plain;
        let base = Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC;
        let capabilities = if plain { base } else { base | Capabilities::COMPACT_BLOCKS };
        let id = ConnectionId(link as u64);
        let services = BlockQuery::METHODS.map(|name| ExtensionService {
            name: name.to_owned(),
            version: BlockQuery::VERSION,
            max_query: BlockQuery::MAX_LEN as u32,
            cost: 1,
        });
        let now = self.now;
        let end = |node: usize, peer: usize| End {
            node,
            id,
            session: Session::new(
                SessionConfig {
                    peer: things::peer(peer as u64),
                    ours: true,
                    capabilities,
                    own_capabilities: base | Capabilities::COMPACT_BLOCKS,
                    lanes: Lanes::PerRole,
                    limits: SessionLimits::default(),
                    extension_rpcs: services.to_vec(),
                    introduce: false,
                    take_offers: false,
                    seed: link as u64 * 2 + node as u64,
                },
                now,
            ),
            timeout: None,
            opened: BTreeSet::new(),
            last: BTreeMap::new(),
        };
        self.links.insert(link, Link { ends: [end(from, to), end(to, from)], delay });
        for (node, peer, dialer) in [(from, to, Dialer::Us), (to, from, Dialer::Peer)] {
            if !plain {
                self.nodes[node].router.relay.connected(id, things::peer(peer as u64), dialer);
            }
        }
        self.settle(from);
        self.settle(to);
    }

    pub(crate) fn connect_at(&mut self, after: Duration, nodes: (usize, usize), delay: Duration) {
        self.at(self.now + after, Happening::Connect { nodes, delay });
    }

    pub(crate) fn disconnect_at(&mut self, after: Duration, nodes: (usize, usize)) {
        self.at(self.now + after, Happening::Disconnect { nodes });
    }

    fn link_of(&self, nodes: (usize, usize)) -> Option<usize> {
        let joins = |link: &Link| {
            let [first, second] = &link.ends;
            (first.node, second.node) == nodes || (second.node, first.node) == nodes
        };
        self.links.iter().find(|(_, link)| joins(link)).map(|(link, _)| *link)
    }

    pub(crate) fn are_connected(&self, one: usize, other: usize) -> bool {
        self.link_of((one, other)).is_some()
    }

    fn disconnect(&mut self, link: usize) {
        let Some(Link { ends, .. }) = self.links.remove(&link) else { return };
        let now = self.now;
        for end in &ends {
            let node = &mut self.nodes[end.node];
            node.requests.retain(|(conn, _), _| *conn != end.id);
            node.router.relay.disconnected(now, end.id, &mut node.pools);
        }
        for end in ends {
            self.settle(end.node);
        }
    }

    fn blame(&mut self, link: usize, side: usize, what: String) {
        let ends = &self.links[&link].ends;
        self.blamed.push((ends[side].node, ends[1 - side].node, what));
        self.disconnect(link);
    }

    /// A node's user gives a block as its new tip.
    pub(crate) fn set_tip(&mut self, node: usize, known: &KnownBlock) {
        self.blocks.insert(known.key, known.clone());
        let number = self.numbers.len();
        self.numbers.entry(known.key).or_insert(number);
        let (now, this) = (self.now, &mut self.nodes[node]);
        let tip = things::tip(known);
        this.pools.set_tip(tip);
        this.got.entry(known.key).or_insert((now, None));
        this.router.relay.had(now, &known.key, &mut this.pools);
        self.settle(node);
    }

    /// All nodes look at their pools, and have the time to tell the others.
    pub(crate) fn offer_pools(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.settle(node));
        self.run(Duration::from_secs(2));
    }

    /// Carries out everything that a node has to do.
    pub(crate) fn settle(&mut self, node: usize) {
        loop {
            let mut busy = false;
            for link in self.links.keys().copied().collect::<Vec<_>>() {
                for side in [0, 1] {
                    if self.links.get(&link).is_some_and(|link| link.ends[side].node == node) {
                        busy |= self.drain_session(link, side);
                    }
                }
            }
            while let Some(output) = self.nodes[node].router.relay.poll_output() {
                busy = true;
                self.carry_out(node, output);
            }
            self.most_tracked = self.most_tracked.max(self.nodes[node].router.relay.pending());
            if !busy {
                return;
            }
        }
    }

    fn note(&mut self, what: &str) {
        let hashed = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        self.trace = what.bytes().fold(self.trace, hashed);
    }

    fn drain_session(&mut self, link: usize, side: usize) -> bool {
        let now = self.now;
        let mut busy = false;
        loop {
            let Some(Link { ends, delay }) = self.links.get_mut(&link) else { return busy };
            let delay = *delay;
            let peer = ends[1 - side].node;
            let end = &mut ends[side];
            let (node, id) = (end.node, end.id);
            end.session.pump(now, &self.nodes[node].pools);
            let output = end.session.poll_output();
            if let Output::Timeout { at, .. } = output {
                end.timeout = Some(at);
                return busy;
            }
            if output == Output::Idle {
                end.timeout = None;
                return busy;
            }
            busy = true;
            self.note(&format!("{now:?} {link} {side} {output:?}"));
            match output {
                Output::Transmit(transmit) => {
                    let frame = transmit.frame.into_bytes();
                    let body = match self.nodes[node].lie {
                        Some(lie) => lie(&mut self.random, transmit.stream.channel, frame),
                        None => Some(frame),
                    };
                    if let Some(body) = body {
                        self.bytes += body.len();
                        if transmit.stream.channel == Channel::CompactBlock {
                            // What a liar makes of a message may be none.
                            if let Ok(message) = CompactMessage::decode(body.clone()) {
                                self.sent.push((node, peer, message.value, body.len()));
                            }
                        }
                        self.send(link, side, transmit.stream, Packet::Frame(body), delay);
                    }
                    if transmit.fin {
                        self.send(link, side, transmit.stream, Packet::End(StreamEnd::Finished), delay);
                    }
                }
                Output::Reset { stream, .. } => {
                    self.send(link, side, stream, Packet::End(StreamEnd::Reset), delay);
                }
                Output::Event(event) => self.take_event(link, side, node, id, event),
                Output::Timeout { .. } | Output::Idle => unreachable!(),
            }
        }
    }

    fn send(&mut self, link: usize, side: usize, stream: StreamId, packet: Packet, delay: Duration) {
        let jitter = Duration::from_micros(self.random.next() % 1000);
        let role = if stream.role == Role::Puller { Role::Server } else { Role::Puller };
        let stream = StreamId { role, ..stream };
        let other = &mut self.links.get_mut(&link).unwrap().ends[1 - side];
        let last = other.last.entry(stream).or_insert(Time::ZERO);
        let time = (self.now + delay + jitter).max(*last);
        *last = time;
        self.at(time, Happening::Arrival { link, side: 1 - side, stream, packet });
    }

    fn take_event(&mut self, link: usize, side: usize, node: usize, id: ConnectionId, event: Event) {
        let now = self.now;
        let this = &mut self.nodes[node];
        let session = &mut self.links.get_mut(&link).unwrap().ends[side].session;
        match event {
            Event::BlockNews { news, used_permit } => {
                this.router.relay.news(now, id, news, used_permit, &mut this.pools);
            }
            Event::Introduction(_) => {}
            Event::Request { id: incoming, request } => {
                let response = match request {
                    IncomingRequest::Extension { name, body, max_answer, .. } => Response::Extension(
                        session
                            .answer_block_query(&this.pools, &name, body, max_answer)
                            .expect("only these are served")
                            .encode(),
                    ),
                    IncomingRequest::Rpc(RpcRequest::Block(hash)) => {
                        let block = this.pools.blocks.by_state_hash(&hash).and_then(|block| block.bytes());
                        Response::Rpc(block.map(|block| RpcResponse::Block(block.clone())))
                    }
                    IncomingRequest::Rpc(_) => Response::Rpc(None),
                    IncomingRequest::StagedLedgerParts(_) => Response::StagedLedgerParts(None),
                };
                session.respond(now, incoming, response).expect("an answer that fits");
            }
            Event::Response { id: request, answer } => {
                if let Some(ask) = this.requests.remove(&(id, request)) {
                    this.router.relay.answered(now, ask, answer, &mut this.pools);
                }
            }
            Event::BestTip { block, .. } => {
                session.processed(now, Processed::BestTip);
                let key = mina_p2p_block::block_key(&block);
                assert_eq!(block, self.blocks[&key].bytes);
                if this.got.insert(key, (now, None)).is_none() {
                    this.pools.set_tip(Tip::new(things::state_hash(&key), block).unwrap());
                    this.router.relay.had(now, &key, &mut this.pools);
                }
            }
            Event::Transaction { .. } => session.processed(now, Processed::Transaction),
            Event::Work { .. } => session.processed(now, Processed::Work),
            Event::Commitment { .. } => session.processed(now, Processed::Commitment),
            Event::RequestCancelled { .. } => {}
            Event::StagedLedgerPart { .. } => panic!("a staged ledger was not asked for"),
        }
    }

    fn carry_out(&mut self, node: usize, output: RelayOutput) {
        let now = self.now;
        self.note(&format!("{now:?} {node} {output:?}"));
        let (key_of, this) = (|id: ConnectionId| id.0 as usize, &mut self.nodes[node]);
        match output {
            RelayOutput::Permit { to, max_len } => {
                end_of(&mut self.links, key_of(to), node).session.permit_block(now, max_len);
            }
            RelayOutput::Change { to, max_len } => {
                end_of(&mut self.links, key_of(to), node).session.change_block_permit(now, max_len);
            }
            RelayOutput::Ask { to, ask, request } => {
                match end_of(&mut self.links, key_of(to), node).session.request(now, request) {
                    Ok(request) => drop(this.requests.insert((to, request), ask)),
                    Err(_) => {
                        this.router.relay.answered(now, ask, Err(RequestFailure::Dropped), &mut this.pools);
                    }
                }
            }
            RelayOutput::Cancel { to, ask } => {
                let request = this.requests.iter().find(|(_, known)| **known == ask).map(|((_, request), _)| *request);
                let request = request.expect("it was asked");
                this.requests.remove(&(to, request));
                assert!(end_of(&mut self.links, key_of(to), node).session.cancel(now, request));
            }
            RelayOutput::Work(job) => {
                let worked = job.run();
                this.router.relay.worked(now, worked, &mut this.pools);
            }
            RelayOutput::Event(event) => {
                this.router.relay.taken(now, &mut this.pools);
                self.tell(node, event);
            }
            RelayOutput::Violation { by, violation } => {
                let link = key_of(by);
                let side = self.links[&link].ends.iter().position(|end| end.node == node).unwrap();
                self.blame(link, side, violation.to_string());
            }
            // All sessions look at the pools before they are drained.
            RelayOutput::Relayed => {}
        }
    }

    fn tell(&mut self, node: usize, event: RelayEvent) {
        let now = self.now;
        let this = &mut self.nodes[node];
        match event {
            RelayEvent::Header { key, .. } => {
                assert!(!this.headers.contains(&key), "a header is told twice");
                this.headers.push(key);
                if !self.blocks.contains_key(&key) {
                    this.router.relay.reject(now, key, &mut this.pools).unwrap();
                } else if let User::AcceptsHeaders(after) = this.user {
                    self.at(now + after, Happening::Verdict { node, key });
                }
            }
            RelayEvent::Block { key, block, how, .. } => {
                assert_eq!(block, self.blocks[&key].bytes, "byte for byte");
                assert!(this.got.insert(key, (now, Some(how))).is_none(), "a block is told twice");
                match this.user {
                    User::AcceptsBlocks(after) | User::AcceptsHeaders(after) => {
                        self.at(now + after, Happening::Verdict { node, key });
                    }
                    User::IsSilent => {}
                }
            }
            RelayEvent::Failed { key, .. } => this.failed.push(key),
        }
    }

    fn verdict(&mut self, node: usize, key: BlockKey) {
        let now = self.now;
        let this = &mut self.nodes[node];
        // It may have been set as a tip meanwhile.
        let _ = this.router.relay.accept(now, key, things::state_hash(&key), &mut this.pools);
        let is_newer = |tip: &Tip| self.numbers[&key] > self.numbers[&tip.key];
        if this.sets_tips && this.got.contains_key(&key) && this.pools.tip.as_ref().is_none_or(is_newer) {
            this.pools.set_tip(things::tip(&self.blocks[&key]));
            this.router.relay.had(now, &key, &mut this.pools);
        }
        self.settle(node);
    }

    fn arrive(&mut self, link: usize, side: usize, stream: StreamId, packet: Packet) {
        let now = self.now;
        let Some(ends) = self.links.get_mut(&link).map(|link| &mut link.ends) else { return };
        let end = &mut ends[side];
        let node = end.node;
        let is_new = stream.role == Role::Server && !end.opened.contains(&stream);
        let result = match packet {
            Packet::Frame(body) => {
                let opened = if is_new {
                    end.opened.insert(stream);
                    end.session.handle_stream_opened(now, stream)
                } else {
                    Ok(())
                };
                opened
                    .and_then(|()| end.session.handle_frame_head(now, stream, body.len() as u32))
                    .and_then(|()| end.session.handle_message(now, stream, body))
            }
            // A stream that was reset before anything of it came is never seen.
            Packet::End(_) if is_new => Ok(()),
            Packet::End(how) => end.session.handle_stream_end(now, stream, how),
        };
        if let Err(violation) = result {
            self.blame(link, side, violation.to_string());
        }
        self.settle(node);
    }

    /// The next thing that happens, if it is before this time.
    pub(crate) fn step(&mut self, until: Time) -> bool {
        let sessions = self.links.iter().flat_map(|(link, ends)| {
            ends.ends.iter().enumerate().filter_map(|(side, end)| Some((end.timeout?, *link, side)))
        });
        let session = sessions.min();
        let relay =
            (0..self.nodes.len()).filter_map(|node| Some((self.nodes[node].router.relay.next_timeout()?, node)));
        let relay = relay.min();
        let happening = self.happenings.keys().next().map(|(time, _)| *time);
        let times = [session.map(|(at, ..)| at), relay.map(|(at, _)| at), happening];
        let Some(next) = times.into_iter().flatten().min().filter(|next| *next <= until) else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        if happening == Some(next) {
            let (_, happening) = self.happenings.pop_first().unwrap();
            match happening {
                Happening::Arrival { link, side, stream, packet } => self.arrive(link, side, stream, packet),
                Happening::Verdict { node, key } => self.verdict(node, key),
                Happening::Disconnect { nodes } => {
                    if let Some(link) = self.link_of(nodes) {
                        self.disconnect(link);
                    }
                }
                Happening::Connect { nodes: (from, to), delay } => {
                    if !self.are_connected(from, to) {
                        self.connect(from, to, delay);
                    }
                }
            }
        } else if let Some((at, link, side)) = session.filter(|(at, ..)| *at == next) {
            let end = &mut self.links.get_mut(&link).unwrap().ends[side];
            end.timeout = None;
            end.session.handle_timeout(now);
            let node = end.node;
            self.settle(node);
            let end = self.links.get(&link).map(|link| &link.ends[side]);
            assert!(end.is_none_or(|end| end.timeout.is_none_or(|again| again > at)), "a timeout comes again");
        } else if let Some((at, node)) = relay {
            let this = &mut self.nodes[node];
            this.router.relay.handle_timeout(now, &mut this.pools);
            assert!(this.router.relay.next_timeout().is_none_or(|again| again > at), "a timeout comes again");
            self.settle(node);
        }
        true
    }

    /// Lets this much time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// Nobody was blamed, and all of these nodes have the block.
    pub(crate) fn assert_all_have(&self, known: &KnownBlock, nodes: impl IntoIterator<Item = usize>) {
        assert_eq!(self.blamed, []);
        for node in nodes {
            assert!(self.nodes[node].got.contains_key(&known.key), "node {node} does not have the block");
        }
    }

    pub(crate) fn how(&self, node: usize, known: &KnownBlock) -> HowItCame {
        self.nodes[node].got[&known.key].1.expect("it came over the network")
    }

    /// What one told another on the compact channel, but for permits.
    pub(crate) fn told(&self, from: usize, to: usize) -> Vec<&CompactMessage> {
        let permit =
            |message: &CompactMessage| matches!(message, CompactMessage::Permit { .. } | CompactMessage::Change { .. });
        let sent = self.sent.iter().filter(|(by, of, message, _)| (*by, *of) == (from, to) && !permit(message));
        sent.map(|(.., message, _)| message).collect()
    }
}

impl Node {
    fn new(number: u64, user: User) -> Node {
        let config = RouterConfig {
            own: things::peer(number),
            slots: SlotLimits::default(),
            initial_peers: Vec::new(),
            relay: RelayConfig::default(),
            discover_peers: 0,
            take_offers: false,
            introduce: false,
            seed: number,
        };
        Node {
            router: Router::new(config, Time::ZERO),
            pools: Pools::default(),
            user,
            sets_tips: false,
            lie: None,
            is_plain: false,
            headers: Vec::new(),
            got: BTreeMap::new(),
            failed: Vec::new(),
            requests: BTreeMap::new(),
        }
    }
}

/// A node's side of a link that is there.
fn end_of(links: &mut BTreeMap<usize, Link>, link: usize, node: usize) -> &mut End {
    let ends = links.get_mut(&link).map(|link| link.ends.iter_mut());
    ends.and_then(|mut ends| ends.find(|end| end.node == node)).expect("it is connected")
}
