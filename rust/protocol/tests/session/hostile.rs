//! One session against a peer that sends anything: it answers with a named violation or not at all, holds no more than
//! it may, and never panics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{
    Event, IncomingId, IncomingRequest, IntroductionOrder, Output, Pools, Processed, Request, RequestId, Response,
    Session, StreamEnd, Time, Violation,
};
use mina_p2p_wire::message::{
    BestTipMessage, CommitmentMessage, ExtensionError, ExtensionMessage, RpcMessage, RpcRequest, RpcResponse,
    SignalingDiscoveryMessage, SignalingExchangeMessage, SnarkMessage, StreamingRpcMessage, TransactionMessage,
};
use mina_p2p_wire::{Channel, Role, StreamId};
use proptest::prelude::*;

use crate::lone::{Message, Peer, introducing};
use crate::properties::cases;
use crate::random::Random;
use crate::things;

/// A session, its user, and its peer.
struct Siege {
    random: Random,
    peer: Peer,
    session: Session,
    pools: Pools,
    now: Time,
    timeout: Option<Time>,
    requests: Vec<RequestId>,
    incoming: Vec<(IncomingId, IncomingRequest)>,
    processed: Vec<Processed>,
    /// How often each rule was broken.
    broken: BTreeMap<&'static str, usize>,
}

impl Siege {
    fn new(seed: u64, peer: Peer) -> Siege {
        let now = Time(Duration::from_secs(5));
        Siege {
            random: Random::new(seed),
            peer,
            session: Session::new(introducing(peer), now),
            pools: Pools::default(),
            now,
            timeout: None,
            requests: Vec::new(),
            incoming: Vec::new(),
            processed: Vec::new(),
            broken: BTreeMap::new(),
        }
    }

    fn drain(&mut self) {
        self.session.pump(self.now, &self.pools);
        let (held, bound) = (self.session.buffered_bytes(), things::small_limits().memory_bound());
        assert!(held <= bound, "{held} bytes are held, {bound} may be");
        loop {
            match self.session.poll_output() {
                Output::Event(event) => match event {
                    Event::BestTip { .. } => self.processed.push(Processed::BestTip),
                    Event::Transaction { .. } => self.processed.push(Processed::Transaction),
                    Event::Work { .. } => self.processed.push(Processed::Work),
                    Event::Commitment { .. } => self.processed.push(Processed::Commitment),
                    Event::StagedLedgerPart { id, .. } => self.processed.push(Processed::StagedLedgerPart(id)),
                    Event::Request { id, request } => self.incoming.push((id, request)),
                    Event::RequestCancelled { id, .. } => self.incoming.retain(|(known, _)| *known != id),
                    Event::Response { id, .. } => self.requests.retain(|known| *known != id),
                    Event::BlockNews { .. } | Event::Introduction(_) => {}
                },
                Output::Transmit(_) | Output::Reset { .. } => {}
                Output::Timeout { at, .. } => {
                    self.timeout = Some(at);
                    break;
                }
                Output::Idle => {
                    self.timeout = None;
                    break;
                }
            }
        }
        // What the user has not taken is bounded by permits and slots.
        assert!(self.processed.len() <= 1 + 32 + 32 + 16 + 1);
        assert!(self.incoming.len() <= 6, "{} requests are served", self.incoming.len());
    }

    /// The peer did something.
    fn judge(&mut self, result: Result<(), Violation>) {
        let Err(violation) = result else { return self.drain() };
        let name = violation.rule.name();
        assert!(violation.to_string().contains(name));
        *self.broken.entry(name).or_default() += 1;
        assert_eq!(self.session.poll_output(), Output::Idle);
        let session = Session::new(introducing(self.peer), self.now);
        *self = Siege {
            session,
            random: self.random.clone(),
            broken: std::mem::take(&mut self.broken),
            pools: self.pools.clone(),
            ..Siege::new(0, self.peer)
        };
        self.drain();
    }

    fn some_stream(&mut self) -> StreamId {
        let channel = Channel::ALL[self.random.below(Channel::ALL.len())];
        self.stream_of(channel)
    }

    fn stream_of(&mut self, channel: Channel) -> StreamId {
        let role = if self.random.one_in(2) { Role::Puller } else { Role::Server };
        StreamId { channel, role, request: self.random.next() % 8 }
    }

    /// Our own user, who is honest.
    fn user(&mut self) {
        match self.random.below(11) {
            0 => {
                let number = self.random.next();
                self.pools.tip = Some(things::tip(number, number, self.random.below(3000)));
            }
            1 => {
                let number = self.random.next() % 100;
                let hash = things::transaction_hash(number);
                self.pools.transactions.insert(hash, things::transaction(number), Bytes::new(), None);
            }
            2 => {
                let request = match self.random.below(4) {
                    0 => Request::StagedLedgerParts(things::state_hash(1)),
                    1 => {
                        let (name, body) = ("echo".to_owned(), Bytes::new());
                        Request::Extension { name, version: 1, body, max_answer: 99, deadline: Duration::from_secs(9) }
                    }
                    2 => Request::Rpc(RpcRequest::Transaction(things::transaction_hash(1))),
                    _ => Request::Rpc(RpcRequest::Block(things::state_hash(1))),
                };
                self.requests.extend(self.session.request(self.now, request));
            }
            3 if !self.requests.is_empty() => {
                let id = self.requests.swap_remove(self.random.below(self.requests.len()));
                self.session.cancel(self.now, id);
            }
            4 if !self.incoming.is_empty() => {
                let (id, request) = self.incoming.swap_remove(self.random.below(self.incoming.len()));
                let response = match request {
                    IncomingRequest::Rpc(_) => Response::Rpc(None),
                    IncomingRequest::StagedLedgerParts(_) => Response::StagedLedgerParts(Some(things::parts(2, 99))),
                    IncomingRequest::Extension { body, .. } => Response::Extension(Ok(body)),
                };
                self.session.respond(self.now, id, response).unwrap();
            }
            5 => {
                self.now = self.now + Duration::from_millis(self.random.next() % 5000);
                if self.timeout.is_some_and(|at| at <= self.now) {
                    self.session.handle_timeout(self.now);
                }
            }
            6 | 7 => {
                let sealed = Bytes::from(vec![200; self.random.below(300)]);
                let key = things::key(1);
                let order = match self.random.below(8) {
                    0 => IntroductionOrder::AskForDialers,
                    1 => IntroductionOrder::Introduce { target: key },
                    2 => IntroductionOrder::AnswerDialer { sealed: Some(sealed) },
                    3 => IntroductionOrder::Discover,
                    4 => IntroductionOrder::Accept { sealed },
                    5 => IntroductionOrder::Reject,
                    6 => IntroductionOrder::HandOver { offerer: key, sealed },
                    _ => IntroductionOrder::AnswerOffer { sealed: Some(sealed) },
                };
                let _ = self.session.introduction(self.now, order);
            }
            8 => {
                let (channel, writable) = (self.some_stream().channel, !self.random.one_in(3));
                self.session.set_writable(self.now, channel, writable);
            }
            _ => {
                if let Some(what) = self.processed.pop() {
                    self.session.processed(self.now, what);
                }
            }
        }
        self.drain();
    }

    fn opens_or_ends(&mut self) {
        let stream = self.some_stream();
        let result = match self.random.below(6) {
            0 => self.session.handle_stream_end(self.now, stream, StreamEnd::Finished),
            1 => self.session.handle_stream_end(self.now, stream, StreamEnd::Reset),
            _ => self.session.handle_stream_opened(self.now, stream),
        };
        self.judge(result);
    }

    fn sends_bytes(&mut self) {
        let stream = self.some_stream();
        let len = match self.random.below(3) {
            0 => self.random.below(8000),
            1 => self.random.below(300),
            _ => self.random.below(16),
        };
        let mut body = self.random.bytes(len);
        // Mostly a tag that exists, and small numbers, some of them in three bytes.
        for byte in body.iter_mut().take(4) {
            *byte = match self.random.below(8) {
                0 => *byte,
                1 => 0xfe,
                _ => *byte % 3,
            };
        }
        let claims = if self.random.one_in(8) { self.random.next() as u32 } else { len as u32 };
        let head = self.session.handle_frame_head(self.now, stream, claims);
        let passes = head.is_ok();
        self.judge(head);
        if passes || self.random.one_in(4) {
            let result = self.session.handle_message(self.now, stream, body.into());
            self.judge(result);
        }
    }

    fn sends_a_message(&mut self) {
        let message = self.some_message();
        let mut stream = self.stream_of(message.channel);
        let body = message.frame.into_bytes();
        if self.random.one_in(2) && stream.role == Role::Server {
            let opened = self.session.handle_stream_opened(self.now, stream);
            if opened.is_err() {
                return self.judge(opened);
            }
        }
        if let Some(id) = self.requests.first()
            && stream.role == Role::Puller
            && self.random.one_in(2)
        {
            stream.request = id.0;
        }
        if !self.random.one_in(4) {
            let head = self.session.handle_frame_head(self.now, stream, body.len() as u32);
            if head.is_err() {
                return self.judge(head);
            }
        }
        let result = self.session.handle_message(self.now, stream, body);
        self.judge(result);
    }

    fn some_message(&mut self) -> Message {
        let random = &mut self.random;
        let mut number = random.next() % 8;
        if let Some(id) = self.requests.first()
            && random.one_in(2)
        {
            number = id.0;
        }
        let count = random.below(40) as u8;
        let body = Bytes::from(vec![5; random.below(400)]);
        match random.below(26) {
            20 => SignalingDiscoveryMessage::GetNext.into(),
            21 => SignalingDiscoveryMessage::Discover.into(),
            22 => match random.below(4) {
                0 => SignalingDiscoveryMessage::Discovered { target: things::key(number) }.into(),
                1 => SignalingDiscoveryMessage::DiscoveredReject.into(),
                2 => SignalingDiscoveryMessage::DiscoveredAccept(body).into(),
                _ => SignalingDiscoveryMessage::Answer(Some(body)).into(),
            },
            23 => SignalingExchangeMessage::GetNext.into(),
            24 => SignalingExchangeMessage::OfferToYou { offerer: things::key(number), offer: body }.into(),
            25 => SignalingExchangeMessage::Answer(Some(body)).into(),
            0 => BestTipMessage::GetNext.into(),
            1 => BestTipMessage::BestTip(things::tip(number, number, random.below(5000)).block).into(),
            2 => TransactionMessage::GetNext { limit: count }.into(),
            3 => TransactionMessage::WillSend { count }.into(),
            4 | 5 => TransactionMessage::Item(things::transaction(number)).into(),
            6 => SnarkMessage::GetNext { limit: count }.into(),
            7 => SnarkMessage::WillSend { count: count / 2 }.into(),
            8 => SnarkMessage::Item(things::work(number, 1)).into(),
            9 => CommitmentMessage::WillSend { count: count / 3 }.into(),
            10 => CommitmentMessage::Item(things::commitment(number)).into(),
            11 => RpcMessage::Request { id: number, request: RpcRequest::Block(things::state_hash(number)) }.into(),
            12 => RpcMessage::Response { id: number, response: None }.into(),
            13 => RpcMessage::Response { id: number, response: Some(RpcResponse::Block(body)) }.into(),
            14 => StreamingRpcMessage::Request { id: number, block: things::state_hash(number) }.into(),
            15 => StreamingRpcMessage::Next { id: number }.into(),
            16 => StreamingRpcMessage::Response { id: number, part: None }.into(),
            17 => {
                let mut parts = things::parts(random.below(3) as u32, random.below(3000));
                let part = Some(parts.swap_remove(random.below(parts.len())));
                StreamingRpcMessage::Response { id: number, part }.into()
            }
            18 => {
                let name = if random.one_in(2) { "echo" } else { "other" }.parse().unwrap();
                ExtensionMessage::Request { id: number, name, version: 1, max_answer: 100, body }.into()
            }
            _ => {
                let result = if random.one_in(2) { Ok(body) } else { Err(ExtensionError::Busy) };
                ExtensionMessage::Response { id: number, result }.into()
            }
        }
    }
}

/// The rules that were broken in so many steps.
fn besiege(seed: u64, peer: Peer, steps: usize, bytes: bool) -> BTreeSet<&'static str> {
    let mut siege = Siege::new(seed, peer);
    siege.drain();
    for _ in 0..steps {
        match siege.random.below(8) {
            0..3 => siege.user(),
            3 if siege.random.one_in(3) => siege.opens_or_ends(),
            _ if bytes => siege.sends_bytes(),
            _ => siege.sends_a_message(),
        }
    }
    siege.broken.into_keys().collect()
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn random_bytes_meet_a_named_violation_at_most(seed: u64, peer in prop::sample::select(Peer::ALL.to_vec())) {
        besiege(seed, peer, 2000, true);
    }

    #[test]
    fn messages_out_of_turn_meet_a_named_violation_at_most(seed: u64, peer in prop::sample::select(Peer::ALL.to_vec())) {
        besiege(seed, peer, 4000, false);
    }
}

/// The properties say nothing if all is refused at the door.
#[test]
fn the_sieges_reach_far() {
    let broken: BTreeSet<_> = Peer::ALL
        .into_iter()
        .flat_map(|peer| [besiege(1, peer, 40_000, false), besiege(2, peer, 40_000, true)])
        .flatten()
        .collect();
    // Only what takes a full table or a long exchange may be missing.
    let hard = ["too_many_requests", "part_out_of_order", "next_out_of_turn", "promise_without_permit"];
    let all = [
        "unexpected_message",
        "frame_too_long",
        "empty_frame",
        "malformed",
        "trailing_bytes",
        "non_canonical",
        "wrong_role",
        "tip_without_permit",
        "promise_of_zero",
        "promise_above_limit",
        "promise_repeated",
        "item_without_promise",
        "permit_of_zero",
        "permit_repeated",
        "introduction_out_of_turn",
        "unknown_request",
        "request_repeated",
        "second_request",
        "wrong_answer",
        "second_stream",
        "stream_ended",
        "channel_not_supported",
    ];
    let missing: Vec<_> = all.iter().filter(|rule| !broken.contains(*rule)).collect();
    assert!(
        missing.is_empty(),
        "never broken: {missing:?}; of the hard ones {:?}",
        hard.map(|rule| broken.contains(rule))
    );
}
