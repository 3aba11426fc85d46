//! One node's relay, whose peers are the test: it tells news, sees every question, and answers what it likes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::{KnownBlock, merkle};
use mina_p2p_protocol::relay::{AskId, BlockFailure, HowItCame, Job, Relay, RelayConfig, RelayEvent, RelayOutput};
use mina_p2p_protocol::router::{ConnectionId, Dialer, Router, RouterConfig, SlotLimits};
use mina_p2p_protocol::{Answer, News, Pools, Request, RequestFailure, Rule, Time};
use mina_p2p_wire::BlockKey;
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, RpcRequest};

use crate::things;

/// A question that waits.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) ask: AskId,
    pub(crate) to: u64,
    pub(crate) what: Question,
    pub(crate) max_answer: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Block(BlockQuery),
    Rpc(RpcRequest),
}

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) router: Router,
    pub(crate) pools: Pools,
    pub(crate) now: Time,
    /// Questions that were neither answered nor cancelled.
    pub(crate) asked: Vec<Asked>,
    /// The permit that each peer has.
    pub(crate) permits: BTreeMap<u64, u32>,
    pub(crate) headers: Vec<BlockKey>,
    pub(crate) blocks: Vec<(BlockKey, Bytes, HowItCame)>,
    pub(crate) failed: Vec<(BlockKey, BlockFailure)>,
    pub(crate) blamed: Vec<(u64, Rule)>,
    pub(crate) relayed: usize,
    /// Jobs wait here if they are not run at once.
    pub(crate) jobs: Option<Vec<Job>>,
    /// How many questions there were at the same time at the most.
    pub(crate) most_asked: usize,
    pub(crate) takes_events: bool,
    pub(crate) untaken: usize,
}

impl Desk {
    /// With so many peers, all of whom dialed us.
    pub(crate) fn new(peers: u64) -> Desk {
        let mut desk = Desk::alone(RelayConfig::default());
        (0..peers).for_each(|peer| desk.connect(peer, Dialer::Peer));
        desk
    }

    pub(crate) fn alone(relay: RelayConfig) -> Desk {
        let own = things::peer(u64::MAX);
        let config = RouterConfig {
            own,
            slots: SlotLimits::default(),
            initial_peers: Vec::new(),
            relay,
            discover_peers: 0,
            take_offers: false,
            introduce: false,
            seed: 1,
        };
        Desk {
            router: Router::new(config, Time::ZERO),
            pools: Pools::default(),
            now: Time(Duration::from_secs(1000)),
            asked: Vec::new(),
            permits: BTreeMap::new(),
            headers: Vec::new(),
            blocks: Vec::new(),
            failed: Vec::new(),
            blamed: Vec::new(),
            relayed: 0,
            jobs: None,
            most_asked: 0,
            takes_events: true,
            untaken: 0,
        }
    }

    pub(crate) fn connect(&mut self, peer: u64, dialer: Dialer) {
        self.relay().connected(ConnectionId(peer), things::peer(peer), dialer);
        self.drain();
    }

    fn relay(&mut self) -> &mut Relay {
        &mut self.router.relay
    }

    /// Executes all outputs; connections of peers that are blamed end.
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.relay().poll_output() {
            if matches!(output, RelayOutput::Event(_)) {
                self.untaken += 1;
                if self.takes_events {
                    self.take_event();
                }
            }
            match output {
                RelayOutput::Permit { to, max_len } | RelayOutput::Change { to, max_len } => {
                    self.permits.insert(to.0, max_len);
                }
                RelayOutput::Ask { to, ask, request } => {
                    let (what, max_answer) = match request {
                        Request::Extension { name, body, max_answer, version, .. } => {
                            assert_eq!(version, BlockQuery::VERSION);
                            (Question::Block(BlockQuery::decode(&name, body).unwrap().unwrap()), max_answer)
                        }
                        Request::Rpc(request) => (Question::Rpc(request), u32::MAX),
                        Request::StagedLedgerParts(_) => panic!("a staged ledger is asked for"),
                    };
                    self.asked.push(Asked { ask, to: to.0, what, max_answer });
                    self.most_asked = self.most_asked.max(self.asked.len());
                }
                RelayOutput::Cancel { to, ask } => {
                    let at = self.asked.iter().position(|asked| asked.ask == ask).expect("cancelled what is asked");
                    assert_eq!(self.asked.remove(at).to, to.0);
                }
                RelayOutput::Work(job) => match &mut self.jobs {
                    Some(jobs) => jobs.push(*job),
                    None => self.run(*job),
                },
                RelayOutput::Event(RelayEvent::Header { key, bytes, .. }) => {
                    assert_eq!(BlockKey::of(&bytes), key);
                    assert!(!self.headers.contains(&key), "the user is told of a header twice");
                    self.headers.push(key);
                }
                RelayOutput::Event(RelayEvent::Block { key, block, how, .. }) => {
                    assert!(self.headers.contains(&key), "the header comes first");
                    assert!(self.blocks.iter().all(|(other, ..)| *other != key), "the user is told of a block twice");
                    self.blocks.push((key, block, how));
                }
                RelayOutput::Event(RelayEvent::Failed { key, reason }) => self.failed.push((key, reason)),
                RelayOutput::Violation { by, violation } => {
                    self.blamed.push((by.0, violation.rule));
                    self.forget(by.0);
                }
                RelayOutput::Relayed => self.relayed += 1,
            }
        }
    }

    /// The user takes an event.
    pub(crate) fn take_event(&mut self) {
        self.untaken -= 1;
        self.router.relay.taken(self.now, &mut self.pools);
    }

    fn forget(&mut self, peer: u64) {
        self.asked.retain(|asked| asked.to != peer);
        self.permits.remove(&peer);
    }

    pub(crate) fn run(&mut self, job: Job) {
        let worked = job.run();
        let now = self.now;
        self.router.relay.worked(now, worked, &mut self.pools);
    }

    pub(crate) fn run_jobs(&mut self) {
        for job in self.jobs.as_mut().map(std::mem::take).unwrap_or_default() {
            self.run(job);
            self.drain();
        }
    }

    pub(crate) fn disconnect(&mut self, peer: u64) {
        let now = self.now;
        self.forget(peer);
        self.router.relay.disconnected(now, ConnectionId(peer), &mut self.pools);
        self.drain();
    }

    /// The peer uses its permit.
    pub(crate) fn news(&mut self, from: u64, news: News) {
        assert!(self.permits.remove(&from).is_some(), "{from} has a permit");
        self.tell(from, news, true);
    }

    /// The peer tells that it has verified the body, which needs no permit.
    pub(crate) fn advance(&mut self, from: u64, news: News) {
        self.tell(from, news, false);
    }

    fn tell(&mut self, from: u64, news: News, used_permit: bool) {
        let now = self.now;
        self.router.relay.news(now, ConnectionId(from), news, used_permit, &mut self.pools);
        self.drain();
    }

    pub(crate) fn accept(&mut self, key: BlockKey) {
        let now = self.now;
        self.router.relay.accept(now, key, things::state_hash(&key), &mut self.pools).unwrap();
        self.drain();
    }

    pub(crate) fn accept_header(&mut self, key: BlockKey) {
        let now = self.now;
        self.router.relay.accept_header(now, key, None, &mut self.pools).unwrap();
        self.drain();
    }

    pub(crate) fn ignore(&mut self, key: BlockKey) {
        let now = self.now;
        self.router.relay.ignore(now, key, &mut self.pools).unwrap();
        self.drain();
    }

    pub(crate) fn reject(&mut self, key: BlockKey) {
        let now = self.now;
        self.router.relay.reject(now, key, &mut self.pools).unwrap();
        self.drain();
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.router.relay.next_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            let now = self.now;
            self.router.relay.handle_timeout(now, &mut self.pools);
            self.drain();
            assert!(
                self.router.relay.next_timeout().is_none_or(|at| at > now),
                "a timeout that was handled comes again"
            );
        }
        self.now = end;
    }

    /// The questions that wait for this peer's answer.
    pub(crate) fn asked_of(&self, peer: u64) -> Vec<Asked> {
        self.asked.iter().filter(|asked| asked.to == peer).cloned().collect()
    }

    /// The one question that waits for this peer's answer.
    pub(crate) fn question(&self, peer: u64) -> Asked {
        let asked = self.asked_of(peer);
        assert_eq!(asked.len(), 1, "{peer} is asked {asked:?}");
        asked[0].clone()
    }

    pub(crate) fn end(&mut self, ask: AskId, answer: Result<Answer, RequestFailure>) {
        let at = self.asked.iter().position(|asked| asked.ask == ask).expect("it was asked");
        self.asked.remove(at);
        let now = self.now;
        self.router.relay.answered(now, ask, answer, &mut self.pools);
        self.drain();
    }

    pub(crate) fn answer(&mut self, ask: AskId, answer: BlockAnswer) {
        self.end(ask, Ok(Answer::Extension(Ok(answer.encode()))));
    }

    /// Answers the one question that waits for this peer's answer.
    pub(crate) fn answer_by(&mut self, peer: u64, answer: BlockAnswer) {
        let ask = self.question(peer).ask;
        self.answer(ask, answer);
    }

    /// The peer answers what it is asked as one that has the block, until it is asked no more. Answers how many questions
    /// there were.
    pub(crate) fn answer_honestly(&mut self, peer: u64, known: &KnownBlock) -> usize {
        let mut count = 0;
        while let Some(asked) = self.asked_of(peer).first().cloned() {
            count += 1;
            assert!(count < 1000, "{peer} is asked for ever");
            self.answer_asked(&asked, known);
        }
        count
    }

    pub(crate) fn answer_asked(&mut self, asked: &Asked, known: &KnownBlock) {
        match &asked.what {
            Question::Block(query) => self.answer(asked.ask, honest(query, known)),
            Question::Rpc(RpcRequest::Block(_)) => {
                let block = mina_p2p_wire::message::RpcResponse::Block(known.bytes.clone());
                self.end(asked.ask, Ok(Answer::Rpc(Some(block))));
            }
            Question::Rpc(other) => panic!("{other:?} is asked for"),
        }
    }

    /// Nobody was blamed, the user has the block byte for byte, and nothing is asked any more.
    pub(crate) fn assert_has(&self, known: &KnownBlock) -> HowItCame {
        assert_eq!(self.blamed, []);
        self.assert_got(known)
    }

    /// The user has the block byte for byte, and nothing is asked any more.
    pub(crate) fn assert_got(&self, known: &KnownBlock) -> HowItCame {
        let (_, block, how) = self.blocks.iter().find(|(key, ..)| *key == known.key).expect("the user has the block");
        assert_eq!(*block, known.bytes);
        assert_eq!(how.items, known.ids.len(), "whichever way it came");
        assert!(self.asked.is_empty(), "still asked: {:?}", self.asked);
        *how
    }

    pub(crate) fn blamed_peers(&self) -> Vec<u64> {
        self.blamed.iter().map(|(peer, _)| *peer).collect()
    }
}

/// What one who has the block answers.
pub(crate) fn honest(query: &BlockQuery, known: &KnownBlock) -> BlockAnswer {
    if query.key() != known.key {
        return BlockAnswer::NotHere;
    }
    match query {
        BlockQuery::Compact { with_header, .. } => {
            BlockAnswer::Compact { header: with_header.then(|| known.header()), list: things::list(known, &[]) }
        }
        BlockQuery::Items { root, .. } | BlockQuery::Ids { root, .. } if *root != known.root => BlockAnswer::OtherRoot,
        BlockQuery::Items { places, .. } => items(known, places),
        BlockQuery::Ids { .. } => BlockAnswer::Ids(known.ids.clone()),
        BlockQuery::Chunk { index, .. } => known
            .body
            .chunk(*index as usize)
            .map_or(BlockAnswer::NotHere, |chunk| BlockAnswer::Chunk(chunk.into_bytes())),
    }
}

/// The items at these places, with their proof.
pub(crate) fn items(known: &KnownBlock, places: &[u32]) -> BlockAnswer {
    let items = places.iter().map(|place| known.item(*place as usize).unwrap()).collect();
    BlockAnswer::Items { items, proof: merkle::prove(&known.ids, places).unwrap() }
}
