//! The user of a node in the [world](crate::world): takes tips that are higher, fetches what it is offered, answers
//! what it is asked, now or later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{
    Answer, Event, IncomingId, IncomingRequest, Pools, Processed, Request, RequestFailure, RequestId, Response,
};
use mina_p2p_wire::message::{LedgerQuery, RpcKind, RpcRequest, RpcResponse};
use mina_p2p_wire::{JobId, LedgerHash, TransactionHash};

use crate::random::Random;
use crate::things;

/// What is fetched by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Transaction(TransactionHash),
    Work(JobId),
}

impl Item {
    pub(crate) fn request(self) -> Request {
        Request::Rpc(match self {
            Item::Transaction(hash) => RpcRequest::Transaction(hash),
            Item::Work(job) => RpcRequest::Snark(job),
        })
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Fetch(Item),
    Other { parts: u32 },
}

#[derive(Debug, Default)]
struct Wanted {
    /// At which fee.
    offered_by: BTreeMap<usize, u64>,
    asked: Option<usize>,
}

/// What the user wants done after it took an event.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) processed: Option<Processed>,
    pub(crate) pools_changed: bool,
}

pub(crate) struct User {
    pub(crate) pools: Pools,
    pub(crate) inbox: VecDeque<(usize, u64, Event)>,
    pub(crate) requests: BTreeMap<(usize, RequestId), Purpose>,
    pub(crate) to_answer: Vec<(usize, IncomingId, IncomingRequest)>,
    wanted: BTreeMap<Item, Wanted>,
    tip: u64,
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

impl User {
    pub(crate) fn new() -> User {
        User {
            pools: Pools::default(),
            inbox: VecDeque::new(),
            requests: BTreeMap::new(),
            to_answer: Vec::new(),
            wanted: BTreeMap::new(),
            tip: 0,
        }
    }

    pub(crate) fn set_tip(&mut self, number: u64, len: usize) {
        self.pools.tip = Some(things::tip(number, self.tip, len));
        self.tip = number;
    }

    /// Adds the item of this number: a transaction, a work (if the fee is the lowest yet) or a commitment.
    pub(crate) fn add(&mut self, number: u64, kind: usize, fee: u64) {
        match kind {
            0 => self.insert_transaction(number, None),
            1 => self.insert_work(number, fee, None),
            _ => {
                let commitment = things::commitment(number);
                self.pools.commitments.insert(commitment.job_id, commitment, Bytes::new(), None);
            }
        }
    }

    fn insert_transaction(&mut self, number: u64, source: Option<usize>) {
        let source = source.map(|peer| things::peer(peer as u64));
        let body = number.to_be_bytes().to_vec();
        let hash = things::transaction_hash(number);
        self.pools.transactions.insert(hash, things::transaction(number), body.into(), source);
    }

    fn insert_work(&mut self, number: u64, fee: u64, source: Option<usize>) {
        let job = things::job_id(number);
        if self.pools.works.get(&job).is_none_or(|entry| fee < entry.info.fee) {
            let source = source.map(|peer| things::peer(peer as u64));
            let body = [number.to_be_bytes(), fee.to_be_bytes()].concat();
            self.pools.works.insert(job, things::work(number, fee), body.into(), source);
        }
    }

    pub(crate) fn has_work(&self, number: u64) -> bool {
        self.pools.works.get(&things::job_id(number)).is_some()
    }

    pub(crate) fn remove(&mut self, number: u64) {
        let (hash, job) = (things::transaction_hash(number), things::job_id(number));
        self.pools.transactions.remove(&hash);
        self.pools.works.remove(&job);
        self.pools.commitments.remove(&job);
        self.wanted.remove(&Item::Transaction(hash));
        self.wanted.remove(&Item::Work(job));
    }

    /// Every item's number and fee, in order.
    pub(crate) fn contents(&self) -> Vec<(u64, u64)> {
        let transactions = self.pools.transactions.iter().map(|entry| (number_of(&entry.key.0), entry.info.fee));
        let works = self.pools.works.iter().map(|entry| (number_of(&entry.key.0), entry.info.fee));
        let commitments = self.pools.commitments.iter().map(|entry| (number_of(&entry.key.0), entry.info.fee));
        let mut all: Vec<_> = transactions.chain(works).chain(commitments).collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn disconnected(&mut self, peer: usize) {
        self.inbox.retain(|(from, ..)| *from != peer);
        self.to_answer.retain(|(from, ..)| *from != peer);
        self.requests.retain(|(to, _), _| *to != peer);
        for wanted in self.wanted.values_mut() {
            wanted.offered_by.remove(&peer);
            if wanted.asked == Some(peer) {
                wanted.asked = None;
            }
        }
        self.wanted.retain(|_, wanted| !wanted.offered_by.is_empty() || wanted.asked.is_some());
    }

    /// Whether something is still to come.
    pub(crate) fn waits(&self) -> bool {
        !self.wanted.is_empty() || !self.requests.is_empty()
    }

    /// What is still to come, for a failure to tell.
    pub(crate) fn waits_for(&self) -> String {
        format!("{:?} {:?}", self.wanted, self.requests)
    }

    /// What to ask of whom.
    pub(crate) fn to_fetch(&self, random: &mut Random) -> Vec<(Item, usize)> {
        let mut pick = |peers: &BTreeMap<usize, u64>| peers.keys().nth(random.below(peers.len())).copied();
        let free = self.wanted.iter().filter(|(_, wanted)| wanted.asked.is_none() && !wanted.offered_by.is_empty());
        free.filter_map(|(item, wanted)| Some((*item, pick(&wanted.offered_by)?))).collect()
    }

    /// The peer was asked for an item.
    pub(crate) fn fetching(&mut self, item: Item, peer: usize) {
        if let Some(wanted) = self.wanted.get_mut(&item) {
            wanted.asked = Some(peer);
        }
    }

    pub(crate) fn cancelled(&mut self, peer: usize, id: RequestId) {
        if let Some(Purpose::Fetch(item)) = self.requests.remove(&(peer, id))
            && let Some(wanted) = self.wanted.get_mut(&item)
        {
            wanted.asked = None;
        }
    }

    fn offered(&mut self, item: Item, peer: usize, fee: u64) {
        self.wanted.entry(item).or_default().offered_by.insert(peer, fee);
    }

    pub(crate) fn take(&mut self, peer: usize, event: Event, removed: &BTreeSet<u64>, random: &mut Random) -> Taken {
        let mut taken = Taken::default();
        match event {
            Event::Introduction(_) => {}
            Event::BestTip { block, .. } => {
                taken.processed = Some(Processed::BestTip);
                let number = number_of(&block[32..]);
                if number > self.tip {
                    self.tip = number;
                    self.pools.tip = Some(mina_p2p_protocol::Tip::new(things::state_hash(number), block).unwrap());
                    taken.pools_changed = true;
                }
            }
            Event::Transaction { info } => {
                taken.processed = Some(Processed::Transaction);
                if !self.pools.has_transaction(&info) && !removed.contains(&number_of(&info.hash.0)) {
                    self.offered(Item::Transaction(info.hash), peer, info.fee);
                }
            }
            Event::Work { info } => {
                taken.processed = Some(Processed::Work);
                let better = self.pools.works.get(&info.job_id).is_none_or(|entry| info.fee < entry.info.fee);
                if better && !removed.contains(&number_of(&info.job_id.0)) {
                    self.offered(Item::Work(info.job_id), peer, info.fee);
                }
            }
            Event::Commitment { commitment } => {
                taken.processed = Some(Processed::Commitment);
                if !removed.contains(&number_of(&commitment.job_id.0)) {
                    let source = Some(things::peer(peer as u64));
                    self.pools.commitments.insert(commitment.job_id, commitment, Bytes::new(), source);
                    taken.pools_changed = true;
                }
            }
            // Some are never answered.
            Event::Request { .. } if random.one_in(10) => {}
            Event::Request { id, request } => self.to_answer.push((peer, id, request)),
            Event::RequestCancelled { id, .. } => {
                self.to_answer.retain(|(from, known, _)| (*from, *known) != (peer, id))
            }
            Event::Response { id, answer } => {
                let purpose = self.requests.remove(&(peer, id)).expect("an answer to a request of ours, once");
                match purpose {
                    Purpose::Fetch(item) => taken.pools_changed = self.fetched(item, peer, answer, removed),
                    Purpose::Other { parts } => {
                        if let Ok(Answer::StagedLedgerParts(Some(count))) = answer {
                            assert_eq!(count, parts);
                        }
                    }
                }
            }
            // Compact blocks are not spoken here; `relay` tests them.
            Event::BlockNews { .. } => panic!("news of a block where compact blocks are not spoken"),
            Event::StagedLedgerPart { id, index, .. } => {
                taken.processed = Some(Processed::StagedLedgerPart(id));
                // Unless it was cancelled after the part had come.
                if let Some(Purpose::Other { parts }) = self.requests.get_mut(&(peer, id)) {
                    assert_eq!(index, *parts);
                    *parts += 1;
                }
            }
        }
        taken
    }

    fn fetched(
        &mut self,
        item: Item,
        peer: usize,
        answer: Result<Answer, RequestFailure>,
        removed: &BTreeSet<u64>,
    ) -> bool {
        let body = match answer {
            Ok(Answer::Rpc(Some(RpcResponse::Transaction(body) | RpcResponse::Snark(body)))) => body,
            Ok(_) => {
                if let Some(wanted) = self.wanted.get_mut(&item) {
                    wanted.asked = None;
                    wanted.offered_by.remove(&peer);
                    if wanted.offered_by.is_empty() {
                        self.wanted.remove(&item);
                    }
                }
                return false;
            }
            Err(_) => {
                if let Some(wanted) = self.wanted.get_mut(&item) {
                    wanted.asked = None;
                }
                return false;
            }
        };
        let number = number_of(&body);
        let fee = if let Item::Work(_) = item { number_of(&body[8..]) } else { 0 };
        if let Some(wanted) = self.wanted.get_mut(&item) {
            // Another may have offered the same work for less meanwhile.
            wanted.asked = None;
            wanted.offered_by.retain(|_, offered| matches!(item, Item::Work(_)) && *offered < fee);
            if wanted.offered_by.is_empty() {
                self.wanted.remove(&item);
            }
        }
        if removed.contains(&number) {
            return false;
        }
        match item {
            Item::Transaction(_) => self.insert_transaction(number, Some(peer)),
            Item::Work(_) => self.insert_work(number, fee, Some(peer)),
        }
        true
    }

    /// What a node answers at once, without its user: what it holds, or that it does not.
    pub(crate) fn held(&self, request: &IncomingRequest) -> Option<Option<RpcResponse>> {
        let IncomingRequest::Rpc(request) = request else { return None };
        Some(match request {
            RpcRequest::Block(hash) => {
                let tip = self.pools.tip.as_ref().filter(|tip| tip.state_hash == *hash);
                tip.map(|tip| RpcResponse::Block(tip.block.clone()))
            }
            RpcRequest::Transaction(hash) => {
                self.pools.transactions.get(hash).map(|entry| RpcResponse::Transaction(entry.body.clone()))
            }
            RpcRequest::Snark(job) => self.pools.works.get(job).map(|entry| RpcResponse::Snark(entry.body.clone())),
            _ => return None,
        })
    }

    pub(crate) fn some_request(&self, random: &mut Random) -> Request {
        let hash = things::state_hash(random.next() % (self.tip + 2));
        match random.below(8) {
            0 => Request::Rpc(RpcRequest::BestTipWithProof),
            1 => Request::Rpc(RpcRequest::LedgerQuery(LedgerHash(hash.0), LedgerQuery::NumAccounts)),
            2 => Request::Rpc(RpcRequest::StagedLedgerAux(hash)),
            3 => Request::Rpc(RpcRequest::Block(hash)),
            4 => Request::Rpc(RpcRequest::InitialPeers),
            5 => {
                let name = if random.one_in(4) { "other" } else { "echo" }.to_owned();
                let len = random.below(100);
                let body = random.bytes(len).into();
                let deadline = Duration::from_secs(1 + random.next() % 20);
                Request::Extension { name, version: 1, body, max_answer: 2048, deadline }
            }
            _ => Request::StagedLedgerParts(hash),
        }
    }

    pub(crate) fn some_answer(&self, request: &IncomingRequest, random: &mut Random) -> Response {
        let none = random.one_in(4);
        let len = random.below(400);
        let body = Bytes::from(random.bytes(len));
        match request {
            IncomingRequest::Rpc(_) if none => Response::Rpc(None),
            IncomingRequest::Rpc(request) => Response::Rpc(Some(match request.kind() {
                RpcKind::BestTipWithProof => RpcResponse::BestTipWithProof(body),
                RpcKind::LedgerQuery => RpcResponse::LedgerAnswer(body),
                RpcKind::StagedLedgerAux => RpcResponse::StagedLedgerAux(body),
                RpcKind::InitialPeers => RpcResponse::InitialPeers(Vec::new()),
                kind => panic!("{kind:?} is answered from the pools"),
            })),
            IncomingRequest::StagedLedgerParts(_) if none => Response::StagedLedgerParts(None),
            IncomingRequest::StagedLedgerParts(_) => {
                let trees = random.below(6) as u32;
                Response::StagedLedgerParts(Some(things::parts(trees, random.below(1500))))
            }
            IncomingRequest::Extension { .. } => Response::Extension(Ok(body)),
        }
    }
}
