//! Nodes with their routers, in virtual time: all know one relay at first, and are introduced to each other until each is
//! connected to all. Offers and answers are made late, or never; dials fail, connections end; streams are of both kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::router::{
    Admission, ConnectionId, DialId, IntroductionOutput, PAIR_MEMORY, Refusal, Router, RouterConfig, SlotLimits,
};
use mina_p2p_protocol::{Event, IntroductionOrder, Lanes, Output, Pools, Session, SessionConfig, Time};
use mina_p2p_wire::{Channel, PeerId, PublicKey, Role, StreamId};
use proptest::prelude::*;

use crate::lone::{Peer, introducing};
use crate::properties::cases;
use crate::random::Random;
use crate::things::key;

/// The longest that a message is on its way.
const DELAY_MAX_MS: u64 = 300;

struct End {
    node: usize,
    id: ConnectionId,
    session: Session,
    timeout: Option<Time>,
    opened: BTreeSet<StreamId>,
    last: BTreeMap<StreamId, Time>,
}

struct Link {
    kind: Peer,
    ends: [End; 2],
}

enum Happening {
    Frame { link: usize, side: usize, stream: StreamId, body: Bytes },
    OfferMade { node: usize, dial: DialId },
    OfferAnswered { node: usize, relay: ConnectionId, sealed: Option<Bytes> },
    Connect { node: usize, dial: DialId, held: bool },
}

struct Network {
    random: Random,
    now: Time,
    nodes: Vec<Router>,
    links: BTreeMap<usize, Link>,
    next_link: usize,
    queue: BTreeMap<(Time, u64), Happening>,
    next_event: u64,
    /// Whom the dials under way are to.
    dials: BTreeMap<(usize, DialId), usize>,
    /// Whether users do what they should.
    faults: bool,
    kind: Option<Peer>,
    /// Proposals of each pair, with their times.
    proposed: BTreeMap<(usize, usize), Vec<Time>>,
    frames: usize,
}

fn peer(node: usize) -> PeerId {
    key(node as u64).peer_id()
}

impl Network {
    fn new(seed: u64, nodes: usize, kind: Option<Peer>) -> Network {
        let now = Time(Duration::from_secs(1000));
        let router = |node: usize| {
            let config = RouterConfig {
                own: peer(node),
                slots: SlotLimits::default(),
                initial_peers: Vec::new(),
                relay: Default::default(),
                discover_peers: nodes - 1,
                take_offers: true,
                introduce: true,
                seed: seed ^ node as u64,
            };
            Router::new(config, now)
        };
        let mut network = Network {
            random: Random::new(seed),
            now,
            nodes: (0..nodes).map(router).collect(),
            links: BTreeMap::new(),
            next_link: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            dials: BTreeMap::new(),
            faults: true,
            kind,
            proposed: BTreeMap::new(),
            frames: 0,
        };
        (1..nodes).for_each(|node| network.dial(node, 0));
        network
    }

    fn node(&self, key: &PublicKey) -> usize {
        (0..self.nodes.len()).find(|node| peer(*node) == key.peer_id()).unwrap()
    }

    /// A dial by an address that is known.
    fn dial(&mut self, node: usize, to: usize) {
        if let Ok(dial) = self.nodes[node].start_dial(self.now, peer(to)) {
            self.dials.insert((node, dial), to);
            self.later(DELAY_MAX_MS, Happening::Connect { node, dial, held: false });
        }
    }

    fn later(&mut self, within_ms: u64, what: Happening) {
        let at = self.now + Duration::from_millis(self.random.next() % within_ms);
        self.at(at, what);
    }

    fn at(&mut self, at: Time, what: Happening) {
        self.queue.insert((at, self.next_event), what);
        self.next_event += 1;
    }

    fn find(&self, node: usize, id: ConnectionId) -> Option<(usize, usize)> {
        let side = |link: &Link| link.ends.iter().position(|end| end.node == node && end.id == id);
        self.links.iter().find_map(|(number, link)| Some((*number, side(link)?)))
    }

    fn disconnect(&mut self, link: usize) {
        let Some(link) = self.links.remove(&link) else { return };
        for (end, other) in [(0, 1), (1, 0)] {
            let (node, other) = (link.ends[end].node, link.ends[other].node);
            self.nodes[node].disconnected(self.now, peer(other), link.ends[end].id);
        }
        link.ends.iter().for_each(|end| self.drain(end.node));
    }

    fn drop_replaced(&mut self, node: usize, replaced: Option<ConnectionId>) {
        if let Some((link, _)) = replaced.and_then(|id| self.find(node, id)) {
            self.disconnect(link);
        }
    }

    fn connect(&mut self, from: usize, dial: DialId, held: bool) {
        let Some(&to) = self.dials.get(&(from, dial)) else { return };
        let kind = self.kind.unwrap_or(Peer::ALL[(from * 7 + to * 7) % 3]);
        let (ours, now, remote) = (kind != Peer::Old, self.now, "127.0.0.1:1".parse().unwrap());
        if self.faults && self.random.one_in(8) {
            return self.dial_failed(from, dial);
        }
        let theirs = match self.nodes[to].incoming(now, peer(from), remote, held, ours) {
            Admission::Accept { id, replaces } => {
                self.drop_replaced(to, replaces);
                id
            }
            Admission::Hold { until } => return self.at(until, Happening::Connect { node: from, dial, held: true }),
            // What is there lives.
            Admission::Probe { .. } | Admission::Refuse(Refusal::Duplicate) => return self.dial_failed(from, dial),
            Admission::Refuse(refusal) => panic!("{refusal}"),
        };
        self.dials.remove(&(from, dial));
        match self.nodes[from].dial_authenticated(now, dial, remote, ours) {
            Admission::Accept { id, replaces } => {
                self.drop_replaced(from, replaces);
                let end = |node: usize, other: usize, id| {
                    let config = SessionConfig { peer: peer(other), ..introducing(kind) };
                    let session = Session::new(config, now);
                    let (opened, last) = (BTreeSet::new(), BTreeMap::new());
                    End { node, id, session, timeout: None, opened, last }
                };
                self.links.insert(self.next_link, Link { kind, ends: [end(from, to, id), end(to, from, theirs)] });
                self.next_link += 1;
                self.nodes[from].speaks_introductions(now, id);
                self.nodes[to].speaks_introductions(now, theirs);
            }
            _ => self.nodes[to].disconnected(now, peer(from), theirs),
        }
        self.drain(from);
        self.drain(to);
    }

    fn dial_failed(&mut self, node: usize, dial: DialId) {
        self.dials.remove(&(node, dial));
        self.nodes[node].dial_failed(self.now, dial);
        self.drain(node);
    }

    /// Does all that a node's router and sessions want done.
    fn drain(&mut self, node: usize) {
        loop {
            let links: Vec<(usize, usize)> = self
                .links
                .iter()
                .filter_map(|(number, link)| Some((*number, link.ends.iter().position(|end| end.node == node)?)))
                .collect();
            links.into_iter().for_each(|(link, side)| self.drain_session(link, side));
            let Some(output) = self.nodes[node].poll_introduction() else { return };
            match output {
                IntroductionOutput::Order { to, order } => {
                    let Some((link, side)) = self.find(node, to) else { continue };
                    let link = self.links.get_mut(&link).unwrap();
                    if let IntroductionOrder::Introduce { target } = &order {
                        let (dialer, target) = (link.ends[1 - side].node, *target);
                        let target = self.node(&target);
                        assert_ne!(dialer, target);
                        if node == 0 {
                            let pair = (dialer.min(target), dialer.max(target));
                            self.proposed.entry(pair).or_default().push(self.now);
                        }
                    }
                    let (link, side) = self.find(node, to).unwrap();
                    let session = &mut self.links.get_mut(&link).unwrap().ends[side].session;
                    if session.introduction(self.now, order.clone()).is_err() {
                        self.nodes[node].introduction_refused(self.now, to, &order);
                    }
                }
                IntroductionOutput::MakeOffer { dial, target, .. } => {
                    let to = self.node(&target);
                    self.dials.insert((node, dial), to);
                    // Sometimes later than the relay waits.
                    let within = if self.faults && self.random.one_in(4) { 30_000 } else { 3_000 };
                    self.later(within, Happening::OfferMade { node, dial });
                }
                IntroductionOutput::Answered { dial, sealed } => match sealed {
                    Some(sealed) if sealed == "yes" => {
                        self.later(DELAY_MAX_MS, Happening::Connect { node, dial, held: false });
                    }
                    _ => self.dial_failed(node, dial),
                },
                IntroductionOutput::GiveUp { dial } => self.dial_failed(node, dial),
                IntroductionOutput::TakeOffer { relay, offerer, sealed } => {
                    assert_eq!(sealed, format!("offer of {}", self.node(&offerer)));
                    if self.faults && self.random.one_in(6) {
                        continue;
                    }
                    let connected = self.nodes[node].connection(offerer.peer_id()).is_some();
                    let sealed = match connected {
                        true if self.random.one_in(2) => None,
                        true => Some(Bytes::from_static(b"no")),
                        false => Some(Bytes::from_static(b"yes")),
                    };
                    let within = if self.faults && self.random.one_in(4) { 20_000 } else { 500 };
                    self.later(within, Happening::OfferAnswered { node, relay, sealed });
                }
            }
        }
    }

    fn drain_session(&mut self, number: usize, side: usize) {
        loop {
            let Some(link) = self.links.get_mut(&number) else { return };
            let per_role = link.kind.lanes() == Lanes::PerRole;
            let end = &mut link.ends[side];
            end.session.pump(self.now, &Pools::default());
            match end.session.poll_output() {
                Output::Transmit(sent) => {
                    let role = match sent.stream.role {
                        Role::Puller if per_role => Role::Server,
                        Role::Server if per_role => Role::Puller,
                        role => role,
                    };
                    let delay = Duration::from_millis(self.random.next() % DELAY_MAX_MS);
                    let stream = StreamId { role, ..sent.stream };
                    let last = end.last.entry(stream).or_insert(self.now);
                    *last = (*last).max(self.now + delay);
                    let at = *last;
                    let body = sent.frame.into_bytes();
                    self.at(at, Happening::Frame { link: number, side: 1 - side, stream, body });
                }
                Output::Event(Event::Introduction(what)) => {
                    let (node, id) = (end.node, end.id);
                    self.nodes[node].introduction(self.now, id, what);
                }
                Output::Event(_) | Output::Reset { .. } => {}
                Output::Timeout { at, .. } => {
                    end.timeout = Some(at);
                    return;
                }
                Output::Idle => {
                    end.timeout = None;
                    return;
                }
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::Frame { link, side, stream, body } => {
                let Some(Link { kind, ends }) = self.links.get_mut(&link) else { return };
                let end = &mut ends[side];
                if kind.lanes() == Lanes::PerRole && stream.role == Role::Server && end.opened.insert(stream) {
                    end.session.handle_stream_opened(now, stream).unwrap();
                }
                if matches!(stream.channel, Channel::SignalingDiscovery | Channel::SignalingExchange) {
                    self.frames += 1;
                }
                end.session.handle_frame_head(now, stream, body.len() as u32).unwrap();
                end.session.handle_message(now, stream, body).unwrap();
                let node = end.node;
                self.drain(node);
            }
            Happening::OfferMade { node, dial } => {
                if self.dials.contains_key(&(node, dial)) {
                    let sealed = format!("offer of {node}");
                    self.nodes[node].offer_made(dial, sealed.into());
                    self.drain(node);
                }
            }
            Happening::OfferAnswered { node, relay, sealed } => {
                let Some((link, side)) = self.find(node, relay) else { return };
                let session = &mut self.links.get_mut(&link).unwrap().ends[side].session;
                // It may be too late.
                let _ = session.introduction(now, IntroductionOrder::AnswerOffer { sealed });
                self.drain(node);
            }
            Happening::Connect { node, dial, held } => self.connect(node, dial, held),
        }
    }

    /// The next thing, whether something comes or a time is over. False if there is nothing.
    fn step(&mut self, until: Time) -> bool {
        let event = self.queue.keys().next().map(|(at, _)| *at);
        let ends = self.links.values().flat_map(|link| &link.ends);
        let timeout = ends.filter_map(|end| end.timeout).min();
        let pairs = self.nodes.iter().filter_map(Router::next_introduction_at).min();
        let Some(at) = event.into_iter().chain(timeout).chain(pairs).min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        if event == Some(at) {
            let (_, what) = self.queue.pop_first().unwrap();
            self.happen(what);
            return true;
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].introductions_due(self.now);
        }
        for link in self.links.values_mut() {
            for end in &mut link.ends {
                if end.timeout.is_some_and(|at| at <= self.now) {
                    end.session.handle_timeout(self.now);
                }
            }
        }
        (0..self.nodes.len()).for_each(|node| self.drain(node));
        true
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {
            if self.faults && self.random.one_in(400) {
                let links: Vec<usize> = self.links.keys().copied().collect();
                if !links.is_empty() {
                    let link = links[self.random.below(links.len())];
                    self.disconnect(link);
                }
            }
        }
        self.now = until;
    }

    fn is_complete(&self) -> bool {
        self.nodes.iter().all(|node| node.peers().count() == self.nodes.len() - 1)
    }
}

/// Lives with faults for a while, then without, and in the end all are connected.
fn meet(seed: u64, nodes: usize, kind: Option<Peer>, faulty: Duration) -> Network {
    let mut network = Network::new(seed, nodes, kind);
    network.run(faulty);
    network.faults = false;
    let lost: Vec<usize> = (1..nodes).filter(|node| network.nodes[*node].connection(peer(0)).is_none()).collect();
    lost.into_iter().for_each(|node| network.dial(node, 0));
    for _ in 0..8 {
        if network.is_complete() {
            break;
        }
        network.run(PAIR_MEMORY);
        let lost: Vec<usize> = (1..nodes).filter(|node| network.nodes[*node].connection(peer(0)).is_none()).collect();
        lost.into_iter().for_each(|node| network.dial(node, 0));
    }
    let peers: Vec<usize> = network.nodes.iter().map(|node| node.peers().count()).collect();
    assert!(network.is_complete(), "{peers:?} of {nodes} nodes");
    network
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn all_who_know_one_relay_meet_whatever_fails_on_the_way(
        seed: u64,
        nodes in 3..=7usize,
        kind in prop::option::of(prop::sample::select(Peer::ALL.to_vec())),
        faulty_s in 0..300u64,
    ) {
        meet(seed, nodes, kind, Duration::from_secs(faulty_s));
    }
}

#[test]
fn without_faults_all_meet_within_a_minute_and_no_pair_is_introduced_twice() {
    for kind in Peer::ALL {
        let mut network = Network::new(7, 8, Some(kind));
        network.faults = false;
        network.run(Duration::from_secs(60));
        assert!(network.is_complete(), "{kind:?}");
        // From now on nobody wants to be introduced: all is quiet.
        let before = network.frames;
        network.run(Duration::from_secs(3600));
        assert!(network.frames - before <= 8 * 8 * 4, "{} messages in an hour", network.frames - before);
        for (pair, times) in &network.proposed {
            assert!(times.len() <= 1, "{kind:?} {pair:?} {times:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_introductions() {
    let run = || {
        let network = meet(3, 6, None, Duration::from_secs(60));
        (network.proposed, network.frames, network.now)
    };
    assert_eq!(run(), run());
}
