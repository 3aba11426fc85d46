//! Many nodes in virtual time: each with pools and a session for each link, a scheduler between them that delays,
//! interleaves and disconnects, and a user that does as honest ones do, at random and late.
//!
//! Within a stream messages stay in order; between streams anything goes. Nothing is on its way for more than
//! [`DELAY_MAX`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{Event, Lanes, Output, Request, RequestId, Response, Session, SessionLimits, StreamEnd, Time};
use mina_p2p_wire::{Channel, Role, StreamId};

use crate::lone::{Peer, config};
use crate::random::Random;
use crate::things;
use crate::user::{Purpose, User};

/// The longest that anything is on its way.
const DELAY_MAX: Duration = Duration::from_secs(12);

enum Packet {
    Frame(Bytes),
    End(StreamEnd),
}

/// One side of a link.
struct End {
    session: Session,
    timeout: Option<Time>,
    /// What comes, by the stream as this side names it, with the time at which it was sent.
    incoming: BTreeMap<StreamId, VecDeque<(Time, Packet)>>,
    /// The peer's streams that were announced to the session.
    opened: BTreeSet<StreamId>,
    /// Streams on which a frame's head was taken and its body was not.
    begun: BTreeSet<StreamId>,
    /// Streams on which nothing is to be sent any more, since the peer has reset them.
    stopped: BTreeSet<StreamId>,
}

struct Link {
    kind: Peer,
    /// Grows with each connection, so that what belongs to an earlier one is known.
    generation: u64,
    ends: Option<[End; 2]>,
}

/// What can happen next.
pub(crate) struct World {
    pub(crate) random: Random,
    now: Time,
    pub(crate) users: Vec<User>,
    links: BTreeMap<(usize, usize), Link>,
    limits: SessionLimits,
    /// A digest of all outputs, in order.
    pub(crate) trace: u64,
    next_number: u64,
    /// Items that no node keeps any more.
    removed: BTreeSet<u64>,
    /// The most that any session held at once.
    pub(crate) most_held: usize,
    /// How many requests were made, answered with something, and failed.
    pub(crate) outcomes: [usize; 3],
}

impl World {
    /// A connected graph of nodes, and some links more. `kind` for all links, or any.
    pub(crate) fn new(seed: u64, nodes: usize, kind: Option<Peer>) -> World {
        let mut random = Random::new(seed);
        let mut links = BTreeMap::new();
        for node in 1..nodes {
            let mut to = vec![random.below(node)];
            to.extend((0..node).filter(|_| random.one_in(3)));
            for other in to {
                let kind = kind.unwrap_or_else(|| Peer::ALL[random.below(3)]);
                links.insert((other, node), Link { kind, generation: 0, ends: None });
            }
        }
        let mut world = World {
            random,
            now: Time(Duration::from_secs(1000)),
            users: (0..nodes).map(|_| User::new()).collect(),
            links,
            limits: things::small_limits(),
            trace: 0xcbf2_9ce4_8422_2325,
            next_number: 1,
            removed: BTreeSet::new(),
            most_held: 0,
            outcomes: [0; 3],
        };
        for key in world.links.keys().copied().collect::<Vec<_>>() {
            world.connect(key);
        }
        world
    }

    fn connect(&mut self, key: (usize, usize)) {
        let now = self.now;
        let link = self.links.get_mut(&key).unwrap();
        if link.ends.is_some() {
            return;
        }
        link.generation += 1;
        let kind = link.kind;
        let end = |peer: usize| End {
            session: Session::new(
                mina_p2p_protocol::SessionConfig { peer: things::peer(peer as u64), ..config(kind) },
                now,
            ),
            timeout: None,
            incoming: BTreeMap::new(),
            opened: BTreeSet::new(),
            begun: BTreeSet::new(),
            stopped: BTreeSet::new(),
        };
        link.ends = Some([end(key.1), end(key.0)]);
        self.drain(key, 0);
        self.drain(key, 1);
    }

    fn disconnect(&mut self, key: (usize, usize)) {
        self.links.get_mut(&key).unwrap().ends = None;
        self.users[key.0].disconnected(key.1);
        self.users[key.1].disconnected(key.0);
    }

    /// The session of `node` with `peer`, which link and which side of it that is.
    fn end(&mut self, node: usize, peer: usize) -> Option<((usize, usize), usize, &mut End)> {
        let (key, side) = if node < peer { ((node, peer), 0) } else { ((peer, node), 1) };
        let ends = self.links.get_mut(&key)?.ends.as_mut()?;
        Some((key, side, &mut ends[side]))
    }

    /// Pumps and drains one side, as a node does after any input.
    fn drain(&mut self, key: (usize, usize), side: usize) {
        let now = self.now;
        let (node, peer) = if side == 0 { key } else { (key.1, key.0) };
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(ends) = &mut link.ends else { return };
        let per_role = link.kind.lanes() == Lanes::PerRole;
        ends[side].session.pump(now, &self.users[node].pools);
        let held = ends[side].session.buffered_bytes();
        assert!(held <= self.limits.memory_bound(), "{held} bytes are held");
        self.most_held = self.most_held.max(held);
        loop {
            let output = ends[side].session.poll_output();
            let shown = format!("{now:?} {key:?} {side} {output:?}");
            self.trace =
                shown.bytes().fold(self.trace, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
            match output {
                Output::Transmit(transmit) => {
                    if ends[side].stopped.contains(&transmit.stream) {
                        continue;
                    }
                    let queue = ends[1 - side].incoming.entry(mirror(transmit.stream, per_role)).or_default();
                    queue.push_back((now, Packet::Frame(transmit.frame.into_bytes())));
                    if transmit.fin {
                        queue.push_back((now, Packet::End(StreamEnd::Finished)));
                    }
                }
                Output::Reset { stream, .. } => {
                    assert!(per_role, "a reset where a stream is shared");
                    let other = mirror(stream, per_role);
                    // What was sent before may be lost, and what the peer sends may still be on its way.
                    if self.random.one_in(2) {
                        ends[1 - side].incoming.remove(&other);
                        ends[1 - side].begun.remove(&other);
                    }
                    let queue = ends[1 - side].incoming.entry(other).or_default();
                    queue.push_back((now, Packet::End(StreamEnd::Reset)));
                    if self.random.one_in(2) {
                        ends[side].incoming.remove(&stream);
                        ends[side].begun.remove(&stream);
                    }
                }
                Output::Event(Event::Request { id, request }) if self.users[node].held(&request).is_some() => {
                    let answer = self.users[node].held(&request).unwrap();
                    ends[side].session.respond(now, id, Response::Rpc(answer)).unwrap();
                }
                Output::Event(event) => self.users[node].inbox.push_back((peer, link.generation, event)),
                Output::Timeout { at, .. } => {
                    ends[side].timeout = Some(at);
                    return;
                }
                Output::Idle => {
                    ends[side].timeout = None;
                    return;
                }
            }
        }
    }

    /// Delivers what is next on one stream.
    fn deliver(&mut self, key: (usize, usize), side: usize, stream: StreamId) {
        let now = self.now;
        let whole = !self.random.one_in(3);
        let answers = self.random.one_in(2);
        let link = self.links.get_mut(&key).unwrap();
        let per_role = link.kind.lanes() == Lanes::PerRole;
        let ends = link.ends.as_mut().unwrap();
        let [end, other] = {
            let [first, second] = ends;
            if side == 0 { [first, second] } else { [second, first] }
        };
        let queue = end.incoming.get_mut(&stream).unwrap();
        let is_new = per_role && stream.role == Role::Server && !end.opened.contains(&stream);
        let result = match queue.front().unwrap() {
            (_, Packet::Frame(_)) if is_new => {
                end.opened.insert(stream);
                end.session.handle_stream_opened(now, stream)
            }
            (_, Packet::Frame(body)) if !end.begun.contains(&stream) && !whole => {
                end.begun.insert(stream);
                end.session.handle_frame_head(now, stream, body.len() as u32)
            }
            (_, Packet::Frame(body)) => {
                let body = body.clone();
                queue.pop_front();
                let head = match end.begun.remove(&stream) {
                    true => Ok(()),
                    false => end.session.handle_frame_head(now, stream, body.len() as u32),
                };
                head.and_then(|()| end.session.handle_message(now, stream, body))
            }
            (_, Packet::End(_)) if is_new => {
                // A stream that was reset before anything of it came is never seen.
                queue.pop_front();
                Ok(())
            }
            (_, Packet::End(how)) => {
                let how = *how;
                queue.clear();
                if how == StreamEnd::Reset {
                    end.stopped.insert(stream);
                    other.incoming.remove(&mirror(stream, per_role));
                    other.begun.remove(&mirror(stream, per_role));
                    if answers {
                        let queue = other.incoming.entry(mirror(stream, per_role)).or_default();
                        queue.push_back((now, Packet::End(StreamEnd::Reset)));
                    }
                }
                end.session.handle_stream_end(now, stream, how)
            }
        };
        if queue_is_empty(&end.incoming, stream) {
            end.incoming.remove(&stream);
        }
        if let Err(violation) = result {
            panic!("between honest sessions, {:?} {key:?} {stream}: {violation}", link.kind);
        }
        self.drain(key, side);
    }

    /// All streams on which something is on its way, with the time at which the first of it was sent.
    fn on_the_way(&self) -> Vec<(Time, (usize, usize), usize, StreamId)> {
        let mut all = Vec::new();
        for (key, link) in &self.links {
            for (side, end) in link.ends.iter().flatten().enumerate() {
                let first = |(stream, queue): (&StreamId, &VecDeque<(Time, Packet)>)| {
                    queue.front().map(|(sent, _)| (*sent, *key, side, *stream))
                };
                all.extend(end.incoming.iter().filter_map(first));
            }
        }
        all
    }

    /// Lets time pass, but no longer than what is on its way may be.
    fn pass(&mut self, duration: Duration) {
        let oldest = self.on_the_way().into_iter().map(|(sent, ..)| sent).min();
        let mut to = self.now + duration;
        if let Some(sent) = oldest {
            to = to.min(sent + DELAY_MAX).max(self.now);
        }
        self.now = to;
        self.handle_timeouts();
    }

    fn handle_timeouts(&mut self) {
        let now = self.now;
        for key in self.links.keys().copied().collect::<Vec<_>>() {
            for side in [0, 1] {
                let Some(ends) = &mut self.links.get_mut(&key).unwrap().ends else { break };
                if ends[side].timeout.is_some_and(|at| at <= now) {
                    ends[side].session.handle_timeout(now);
                    self.drain(key, side);
                    let ends = self.links[&key].ends.as_ref().unwrap();
                    assert!(ends[side].timeout.is_none_or(|at| at > now), "a timeout that was handled comes again");
                }
            }
        }
    }

    /// Something happens: mostly a delivery, or the user takes an event, or does something of its own.
    pub(crate) fn step(&mut self) {
        let little = Duration::from_micros(self.random.next() % 3000);
        self.pass(little);
        let on_the_way = self.on_the_way();
        let overdue = on_the_way.iter().min().filter(|(sent, ..)| *sent + DELAY_MAX <= self.now);
        if let Some(&(_, key, side, stream)) = overdue {
            return self.deliver(key, side, stream);
        }
        match self.random.below(16) {
            0..8 if !on_the_way.is_empty() => {
                let (_, key, side, stream) = on_the_way[self.random.below(on_the_way.len())];
                self.deliver(key, side, stream);
            }
            0..12 => {
                let node = self.random.below(self.users.len());
                self.take_event(node);
            }
            12 => {
                self.fetch();
            }
            13 => self.answer_one(),
            _ => self.command(),
        }
    }

    fn command(&mut self) {
        let node = self.random.below(self.users.len());
        match self.random.below(26) {
            24 => self.block(),
            0..4 => {
                let (number, len) = (self.number(), self.random.below(2000));
                self.users[node].set_tip(number, len);
                self.pump(node);
            }
            4..12 => {
                let (number, kind, fee) = (self.number(), self.random.below(3), self.random.next() % 100);
                self.users[node].add(number, kind, fee);
                self.pump(node);
            }
            12 => {
                // The same work at another fee.
                let number = 1 + self.random.next() % self.next_number;
                let fee = self.random.next() % 100;
                if self.users.iter().any(|user| user.has_work(number)) && !self.removed.contains(&number) {
                    self.users[node].add(number, 1, fee);
                    self.pump(node);
                }
            }
            13 => {
                let number = 1 + self.random.next() % self.next_number;
                self.removed.insert(number);
                self.users[node].remove(number);
                self.pump(node);
            }
            14..20 => {
                let peer = self.random.below(self.users.len());
                let request = self.users[node].some_request(&mut self.random);
                self.request(node, peer, request, Purpose::Other { parts: 0 });
            }
            20 => {
                let requests = &self.users[node].requests;
                if !requests.is_empty() {
                    let (peer, id) = *requests.keys().nth(self.random.below(requests.len())).unwrap();
                    self.cancel(node, peer, id);
                }
            }
            21 => {
                let long = Duration::from_millis(self.random.next() % 10_000);
                self.pass(long);
            }
            _ => {
                let key = *self.links.keys().nth(self.random.below(self.links.len())).unwrap();
                if self.random.one_in(2) { self.connect(key) } else { self.disconnect(key) }
            }
        }
    }

    /// A shared stream has too much to write, or has written it.
    fn block(&mut self) {
        let key = *self.links.keys().nth(self.random.below(self.links.len())).unwrap();
        let (side, writable) = (self.random.below(2), self.random.one_in(2));
        let channel = Channel::ALL[self.random.below(Channel::ALL.len())];
        let Some(ends) = &mut self.links.get_mut(&key).unwrap().ends else { return };
        ends[side].session.set_writable(self.now, channel, writable);
        self.drain(key, side);
    }

    /// What all streams have to write is written.
    fn unblock(&mut self) {
        for key in self.links.keys().copied().collect::<Vec<_>>() {
            for side in [0, 1] {
                for channel in Channel::ALL {
                    let ends = self.links.get_mut(&key).unwrap().ends.as_mut().unwrap();
                    ends[side].session.set_writable(self.now, channel, true);
                    self.drain(key, side);
                }
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn request(&mut self, node: usize, peer: usize, request: Request, purpose: Purpose) -> bool {
        let now = self.now;
        let Some((key, side, end)) = self.end(node, peer) else { return false };
        let Ok(id) = end.session.request(now, request) else { return false };
        self.outcomes[0] += 1;
        let before = self.users[node].requests.insert((peer, id), purpose);
        assert!(before.is_none(), "a request id comes twice");
        self.drain(key, side);
        true
    }

    fn cancel(&mut self, node: usize, peer: usize, id: RequestId) {
        let now = self.now;
        let Some((key, side, end)) = self.end(node, peer) else { return };
        // What has ended already has its event in the inbox.
        if end.session.cancel(now, id) {
            self.users[node].cancelled(peer, id);
        }
        self.drain(key, side);
    }

    /// The user of a node takes its oldest event.
    fn take_event(&mut self, node: usize) {
        let now = self.now;
        let Some((peer, generation, event)) = self.users[node].inbox.pop_front() else { return };
        let key = (node.min(peer), node.max(peer));
        if self.links[&key].ends.is_none() || self.links[&key].generation != generation {
            return;
        }
        if let Event::Response { answer, .. } = &event {
            self.outcomes[if answer.is_ok() { 1 } else { 2 }] += 1;
        }
        let taken = self.users[node].take(peer, event, &self.removed, &mut self.random);
        let Some((key, side, end)) = self.end(node, peer) else { return };
        if let Some(what) = taken.processed {
            end.session.processed(now, what);
        }
        self.drain(key, side);
        if taken.pools_changed {
            self.pump(node);
        }
    }

    /// Answers one of the requests that users have let wait.
    fn answer_one(&mut self) {
        let now = self.now;
        let node = self.random.below(self.users.len());
        let user = &mut self.users[node];
        if user.to_answer.is_empty() {
            return;
        }
        let (peer, id, request) = user.to_answer.remove(self.random.below(user.to_answer.len()));
        let response = user.some_answer(&request, &mut self.random);
        if let Some((key, side, end)) = self.end(node, peer) {
            let _ = end.session.respond(now, id, response);
            self.drain(key, side);
        }
    }

    /// Every node asks for the bodies that it was offered. False if there is nothing to ask.
    fn fetch(&mut self) -> bool {
        let mut asked = false;
        for node in 0..self.users.len() {
            for (item, peer) in self.users[node].to_fetch(&mut self.random) {
                if self.request(node, peer, item.request(), Purpose::Fetch(item)) {
                    self.users[node].fetching(item, peer);
                    asked = true;
                }
            }
        }
        asked
    }

    fn pump(&mut self, node: usize) {
        for (first, second) in self.links.keys().copied().collect::<Vec<_>>() {
            if first == node {
                self.drain((first, second), 0);
            } else if second == node {
                self.drain((first, second), 1);
            }
        }
    }

    /// Connects all links and lets everything come to rest, without new commands.
    pub(crate) fn settle(&mut self) {
        for key in self.links.keys().copied().collect::<Vec<_>>() {
            self.connect(key);
        }
        self.unblock();
        for number in self.removed.clone() {
            for node in 0..self.users.len() {
                self.users[node].remove(number);
            }
        }
        for _ in 0..1_000_000 {
            self.pass(Duration::from_micros(100));
            let on_the_way = self.on_the_way();
            let inbox = self.users.iter().position(|user| !user.inbox.is_empty());
            let to_answer = self.users.iter().any(|user| !user.to_answer.is_empty());
            let waits = self.users.iter().any(User::waits);
            let timeouts = self.links.values().filter_map(|link| link.ends.as_ref()).flatten();
            let timeout = timeouts.filter_map(|end| end.timeout).min();
            if !on_the_way.is_empty() {
                let (_, key, side, stream) = on_the_way[self.random.below(on_the_way.len())];
                self.deliver(key, side, stream);
            } else if let Some(node) = inbox {
                self.take_event(node);
            } else if to_answer {
                self.answer_one();
            } else if waits && self.fetch() {
            } else if let Some(at) = timeout {
                self.now = self.now.max(at);
                self.handle_timeouts();
            } else if !waits {
                return;
            }
        }
        let waits: Vec<_> = self.users.iter().map(User::waits_for).collect();
        panic!("the world does not come to rest: {waits:?}");
    }

    /// Every node takes the same new tip.
    pub(crate) fn agree_on_a_tip(&mut self) {
        let number = self.number();
        for node in 0..self.users.len() {
            self.users[node].set_tip(number, 500);
            self.pump(node);
        }
    }

    /// What must hold when all is at rest: each link knows that both tips are the same, all pools are equal, no session
    /// holds anything.
    pub(crate) fn assert_converged(&mut self) {
        for ((first, second), link) in &self.links {
            let tip = self.users[*first].pools.tip.as_ref().map(|tip| tip.key);
            for end in link.ends.as_ref().unwrap() {
                let figures = end.session.figures();
                assert_eq!(end.session.buffered_bytes(), 0);
                assert_eq!((figures.requests_in_flight, figures.requests_waiting, figures.requests_served), (0, 0, 0));
                assert!(figures.permits_out.best_tip && figures.permits_out.transactions >= 16);
                let told = figures.last_tip == tip || figures.last_tip_sent == tip;
                assert!(told, "{first} and {second} do not know that they have the same tip");
            }
        }
        let contents = self.users[0].contents();
        for user in &self.users {
            assert_eq!(user.contents(), contents);
        }
        let numbers = contents.iter().map(|(number, _)| *number);
        assert!(numbers.into_iter().all(|number| !self.removed.contains(&number)));
    }
}

fn mirror(stream: StreamId, per_role: bool) -> StreamId {
    let role = match stream.role {
        Role::Puller if per_role => Role::Server,
        Role::Server if per_role => Role::Puller,
        role => role,
    };
    StreamId { role, ..stream }
}

fn queue_is_empty(incoming: &BTreeMap<StreamId, VecDeque<(Time, Packet)>>, stream: StreamId) -> bool {
    incoming.get(&stream).is_some_and(VecDeque::is_empty)
}
