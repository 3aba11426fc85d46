//! What all tasks of a node share: the router, the pools, the connections, the queue of events.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use mina_p2p_protocol::router::{ConnectionId, DialId, ItemKey, PROBE_TIMEOUT, Router};
use mina_p2p_protocol::{
    self as protocol, ExtensionService, IncomingId, IncomingRequest, Lanes, Pools, Processed, Request, Response,
    Session, SessionConfig, Time,
};
use mina_p2p_transport::{Connection, FrameBudget, Reservation};
use mina_p2p_wire::message::{BlockQuery, Capabilities, Hello, RpcRequest, RpcResponse};
use mina_p2p_wire::{Address, ChainId, PROTOCOL_VERSION, PeerId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{Instrument, Span, error};

use crate::config::Limits;
use crate::event::{Event, RequestId, ResponderId};
use crate::link::{Driven, Link};
use crate::lock;
use crate::queue::{EventQueue, Queued};
use crate::transports::Transports;

/// The extension method by which an existing connection shows that it lives.
const PING: &str = "mina-p2p/ping";
const PING_VERSION: u32 = 1;

/// What a question about a block costs: half of a request's usual 10, since a block of 3 MB by chunks takes 12 of them.
const BLOCK_QUERY_COST: u32 = 5;

/// Spreads the seeds of sessions: an odd number with its bits well mixed, 2^64 divided by the golden ratio.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the node's state mutex guards.
pub(crate) struct State {
    pub(crate) router: Router,
    pub(crate) pools: Pools,
    pub(crate) links: HashMap<ConnectionId, Arc<Link>>,
    /// Incoming connections that wait for our own dial to the same peer; they are told whether it was accepted.
    holds: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
    /// Our dials under way; what is sent ends them.
    dials: HashMap<DialId, oneshot::Sender<()>>,
    /// Of these, the ones whose peer has made us an offer meanwhile.
    crossed: HashSet<DialId>,
    /// Our offers that wait for what their relay brings.
    pub(crate) offers: HashMap<DialId, oneshot::Sender<Option<Bytes>>>,
}

impl State {
    pub(crate) fn new(router: Router, pools: Pools) -> State {
        State {
            router,
            pools,
            links: HashMap::new(),
            holds: HashMap::new(),
            dials: HashMap::new(),
            crossed: HashSet::new(),
            offers: HashMap::new(),
        }
    }

    /// Waits for the end of our own dial to a peer.
    pub(crate) fn hold(&mut self, peer: PeerId) -> oneshot::Receiver<bool> {
        let (ended, dial_ended) = oneshot::channel();
        self.holds.entry(peer).or_default().push(ended);
        dial_ended
    }

    /// Our dial to a peer has ended.
    pub(crate) fn end_holds(&mut self, peer: PeerId, accepted: bool) {
        for ended in self.holds.remove(&peer).unwrap_or_default() {
            // Who was held may be gone.
            let _ = ended.send(accepted);
        }
    }

    /// A dial of ours begins. Resolves when it is to be given up.
    pub(crate) fn dial_began(&mut self, id: DialId) -> oneshot::Receiver<()> {
        let (give_up, given_up) = oneshot::channel();
        self.dials.insert(id, give_up);
        given_up
    }

    #[cfg(feature = "webrtc")]
    /// Somebody who says to be this peer has made us an offer: it may be dialing us while we dial it.
    pub(crate) fn crosses_dial(&mut self, peer: PeerId) {
        self.crossed.extend(self.router.dial_of(peer));
    }

    /// Whether a dial has been crossed since it was last asked.
    pub(crate) fn was_crossed(&mut self, id: DialId) -> bool {
        self.crossed.remove(&id)
    }

    /// A dial of ours has ended.
    pub(crate) fn dial_ended(&mut self, id: DialId) {
        self.dials.remove(&id);
        self.offers.remove(&id);
        self.crossed.remove(&id);
    }

    /// Has our dial to a peer end, if there is one.
    pub(crate) fn give_up_dial(&mut self, peer: PeerId) {
        if let Some(id) = self.router.dial_of(peer) {
            self.give_up(id);
        }
    }

    /// Has a dial of ours end, if it has not ended.
    pub(crate) fn give_up(&mut self, id: DialId) {
        if let Some(give_up) = self.dials.remove(&id) {
            // It may be ending right now.
            let _ = give_up.send(());
        }
    }

    /// What the library can answer by itself.
    fn answer(&self, request: &RpcRequest) -> Option<RpcResponse> {
        match request {
            RpcRequest::Block(hash) => {
                let tip = self.pools.tip.as_ref().filter(|tip| tip.state_hash == *hash).map(|tip| &tip.block);
                let block = tip.or_else(|| self.pools.blocks.by_state_hash(hash)?.bytes());
                block.map(|block| RpcResponse::Block(block.clone()))
            }
            RpcRequest::Transaction(hash) => {
                self.pools.transactions.get(hash).map(|entry| RpcResponse::Transaction(entry.body.clone()))
            }
            RpcRequest::Snark(job) => self.pools.works.get(job).map(|entry| RpcResponse::Snark(entry.body.clone())),
            RpcRequest::InitialPeers => {
                // Only what we dialed and found to be the peer's: an address from hearsay is not passed on.
                // Nor is what only a relay could reach.
                let dialed =
                    self.links.values().filter_map(|link| link.dialed.clone().filter(|it| it.host().is_some()));
                Some(RpcResponse::InitialPeers(dialed.collect()))
            }
            RpcRequest::BestTipWithProof | RpcRequest::LedgerQuery(..) | RpcRequest::StagedLedgerAux(_) => None,
        }
    }
}

/// What this node has to do with introductions through relays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Introductions {
    /// Takes offers of those whom a relay introduces.
    pub(crate) take: bool,
    /// Introduces its peers to each other.
    pub(crate) make: bool,
    /// Wants to be introduced.
    pub(crate) seek: bool,
}

/// Shared by all tasks of a node.
pub(crate) struct Core {
    pub(crate) own: PeerId,
    pub(crate) chain_id: ChainId,
    pub(crate) limits: Limits,
    pub(crate) agent: String,
    pub(crate) extensions: Vec<ExtensionService>,
    pub(crate) transports: Transports,
    pub(crate) listen_addresses: Vec<Address>,
    /// All addresses that are configured, of every initial peer.
    pub(crate) initial_peers: Vec<Address>,
    pub(crate) introductions: Introductions,
    pub(crate) events: EventQueue,
    pub(crate) runtime: Handle,
    /// Whether compact blocks are announced.
    pub(crate) compact_blocks: bool,
    /// See [`Builder::dummy_proof`](crate::Builder::dummy_proof).
    pub(crate) dummy_proof: Option<Bytes>,
    /// Varies the short ids that peers are sent.
    pub(crate) seed: u64,
    /// Wakes the task that keeps the relay's time: something may be due earlier than it knew.
    pub(crate) relay_changed: Notify,
    /// Wakes the task that dials the configured peers: one may be due earlier than it knew.
    pub(crate) redial: Notify,
    /// Wakes the task that keeps the time of introductions.
    pub(crate) introductions_changed: Notify,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) start: Instant,
    pub(crate) budget: FrameBudget,
    pub(crate) state: Mutex<State>,
}

impl Core {
    pub(crate) fn now(&self) -> Time {
        Time(self.start.elapsed())
    }

    /// A time of the state machines as one of the runtime's.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        // Beyond what the clock can express is as good as never: look again in an hour.
        let at = self.start.checked_add(time.0).unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::time::Instant::from_std(at)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Runs a task. A panic in it becomes an event, and nothing else ends with it.
    pub(crate) fn spawn(self: &Arc<Core>, span: Span, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let core = Arc::clone(self);
        // Combinators, because an `async` block would hold the task twice: a connection has a dozen of them.
        let guarded = AssertUnwindSafe(task).catch_unwind().map(move |end| {
            if let Err(panic) = end {
                let message = panic_message(panic.as_ref());
                error!(message, "a task panicked");
                core.events.push_event(Event::TaskFailed { message: message.to_owned() });
            }
        });
        self.runtime.spawn(guarded.instrument(span)).abort_handle()
    }

    fn capabilities(&self) -> Capabilities {
        let mut all = Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC;
        if self.compact_blocks {
            all = all | Capabilities::COMPACT_BLOCKS;
        }
        let Introductions { take, make, seek } = self.introductions;
        if take || make || seek {
            all = all | Capabilities::RELAY_SIGNALING;
        }
        all
    }

    /// What we tell a peer of ourselves.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            chain_id: self.chain_id,
            capabilities: self.capabilities(),
            listen_addresses: self.listen_addresses.clone(),
            agent: self.agent.clone(),
            identity_signature: None,
        }
    }

    /// A session for an authenticated connection.
    pub(crate) fn session(&self, id: ConnectionId, connection: &dyn Connection) -> Session {
        let hello = connection.remote_hello();
        let config = SessionConfig {
            peer: connection.peer(),
            ours: hello.is_some(),
            capabilities: hello.map_or(Capabilities::empty(), |hello| hello.capabilities),
            lanes: if connection.transport().shares_streams() { Lanes::Shared } else { Lanes::PerRole },
            limits: self.limits.session.clone(),
            extension_rpcs: self.extensions.clone(),
            own_capabilities: self.capabilities(),
            introduce: self.introductions.make,
            take_offers: self.introductions.take,
            seed: self.seed.wrapping_add(id.0.wrapping_mul(SEED_STEP)),
        };
        Session::new(config, self.now())
    }

    /// Lets a session serve what the tip and the pools hold.
    pub(crate) fn pump(&self, session: &mut Session) {
        session.pump(self.now(), &self.state().pools);
    }

    /// Wakes every connection, in the order in which a new tip is to be offered.
    pub(crate) fn wake_links(&self, state: &State) {
        let order = match &state.pools.tip {
            Some(tip) => state.router.offer_tip(&tip.key),
            None => state.router.peers().map(|(_, id)| id).collect(),
        };
        for link in order.iter().filter_map(|id| state.links.get(id)) {
            link.wake();
        }
    }

    /// Passes a session's event to the user, or deals with it here.
    pub(crate) fn handle_session_event(
        self: &Arc<Core>,
        link: &Arc<Link>,
        driven: &mut Driven,
        event: protocol::Event,
        reservation: &mut Option<Reservation>,
    ) {
        let peer = link.peer;
        let request_id = |request| RequestId { connection: link.id, request };
        let mut of_request = None;
        let (event, credit) = match event {
            protocol::Event::BestTip { block, key, previous_state_hash } => {
                self.state().router.peer_tip(peer, key);
                (Event::BestTip { peer, block, key, previous_state_hash }, Some(Processed::BestTip))
            }
            protocol::Event::Transaction { info } => {
                if self.is_held(peer, ItemKey::Transaction(info.hash), |pools| pools.has_transaction(&info)) {
                    return driven.session.processed(self.now(), Processed::Transaction);
                }
                (Event::Transaction { peer, info }, Some(Processed::Transaction))
            }
            protocol::Event::Work { info } => {
                if self.is_held(peer, ItemKey::Work(info.job_id), |pools| pools.has_work(&info)) {
                    return driven.session.processed(self.now(), Processed::Work);
                }
                (Event::Work { peer, info }, Some(Processed::Work))
            }
            protocol::Event::Commitment { commitment } => {
                if self.is_held(peer, ItemKey::Commitment(commitment.job_id), |pools| pools.has_commitment(&commitment))
                {
                    return driven.session.processed(self.now(), Processed::Commitment);
                }
                (Event::Commitment { peer, commitment }, Some(Processed::Commitment))
            }
            protocol::Event::BlockNews { news, used_permit } => {
                let now = self.now();
                return self.relay(|relay, pools| relay.news(now, link.id, news, used_permit, pools));
            }
            protocol::Event::Request { id, request } if is_block_query(&request) && driven.is_answering() => {
                driven.queries.push_back((id, request));
                return;
            }
            protocol::Event::Request { id, request } => {
                if self.answer(driven, id, &request) {
                    return;
                }
                driven.incoming.insert(id);
                of_request = driven.take_reservation(id);
                let responder = ResponderId { connection: link.id, incoming: id };
                (Event::Request { peer, responder, request }, None)
            }
            protocol::Event::RequestCancelled { id, .. } => {
                if let Some(at) = driven.queries.iter().position(|(query, _)| *query == id) {
                    // The user knows nothing of it.
                    driven.queries.remove(at);
                    return;
                }
                driven.incoming.remove(&id);
                let responder = ResponderId { connection: link.id, incoming: id };
                (Event::RequestCancelled { peer, responder }, None)
            }
            protocol::Event::Introduction(introduction) => return self.introduction(link, introduction),
            protocol::Event::Response { id, answer } => {
                if let Some(ask) = driven.asks.remove(&id) {
                    let now = self.now();
                    return self.relay(|relay, pools| relay.answered(now, ask, answer, pools));
                }
                driven.requests.remove(&id);
                if link.probed(id, &answer) {
                    return;
                }
                (Event::Response { request: request_id(id), peer, answer }, None)
            }
            protocol::Event::StagedLedgerPart { id, index, part } => (
                Event::StagedLedgerPart { request: request_id(id), peer, index, part },
                Some(Processed::StagedLedgerPart(id)),
            ),
        };
        let credit = credit.map(|processed| (Arc::clone(link), processed));
        // A request may be taken up when another message has come, whose reservation is not its own.
        // On a shared stream what it is cannot be told, but then it is its own nearly always.
        let is_request = matches!(event, Event::Request { .. }) && !driven.shared;
        let reservation = if is_request { of_request } else { reservation.take() };
        self.events.push(Queued { event, credit, _reservation: reservation });
    }

    /// Answers the peer's next question about a block, if it has taken what was answered before.
    pub(crate) fn answer_waiting(&self, driven: &mut Driven) {
        while !driven.is_answering()
            && let Some((id, request)) = driven.queries.pop_front()
        {
            // Only what is answered here waits.
            self.answer(driven, id, &request);
        }
    }

    /// Answers what the library can answer by itself; false if it cannot.
    fn answer(&self, driven: &mut Driven, id: IncomingId, request: &IncomingRequest) -> bool {
        let Some(response) = self.own_answer(driven, request) else { return false };
        if is_block_query(request) {
            driven.answers(id);
        }
        // The peer may have gone meanwhile: then nobody waits for the answer.
        let _ = driven.session.respond(self.now(), id, response);
        true
    }

    /// Whether an offered item is in our pool; if not, remembers who offered it.
    fn is_held(&self, peer: PeerId, item: ItemKey, has: impl FnOnce(&Pools) -> bool) -> bool {
        let mut state = self.state();
        let held = has(&state.pools);
        if !held {
            state.router.offered(peer, item);
        }
        held
    }

    /// What the library answers by itself.
    fn own_answer(&self, driven: &Driven, request: &IncomingRequest) -> Option<Response> {
        match request {
            IncomingRequest::Rpc(request) => self.state().answer(request).map(|answer| Response::Rpc(Some(answer))),
            IncomingRequest::Extension { name, version: PING_VERSION, .. } if name == PING => {
                Some(Response::Extension(Ok(Bytes::new())))
            }
            IncomingRequest::Extension { name, version: BlockQuery::VERSION, body, max_answer } => {
                let reply = {
                    let state = self.state();
                    driven.session.answer_block_query(&state.pools, name, body.clone(), *max_answer)
                };
                // Copied and proved without the lock that all connections share.
                reply.map(|reply| Response::Extension(reply.encode()))
            }
            IncomingRequest::Extension { .. } | IncomingRequest::StagedLedgerParts(_) => None,
        }
    }
}

/// Whether the library answers this by a copy of what may be megabytes of a block.
fn is_block_query(request: &IncomingRequest) -> bool {
    matches!(request, IncomingRequest::Extension { name, version: BlockQuery::VERSION, .. }
        if BlockQuery::METHODS.contains(&name.as_str()))
}

/// The methods that every node serves.
pub(crate) fn own_methods() -> Vec<ExtensionService> {
    let ping = ExtensionService { name: PING.to_owned(), version: PING_VERSION, max_query: 0, cost: 1 };
    let about_blocks = BlockQuery::METHODS.into_iter().map(|name| ExtensionService {
        name: name.to_owned(),
        version: BlockQuery::VERSION,
        max_query: BlockQuery::MAX_LEN as u32,
        cost: BLOCK_QUERY_COST,
    });
    about_blocks.chain([ping]).collect()
}

/// Asks a peer whether it lives.
pub(crate) fn ping() -> Request {
    let name = PING.to_owned();
    Request::Extension { name, version: PING_VERSION, body: Bytes::new(), max_answer: 0, deadline: PROBE_TIMEOUT }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (None, Some(message)) => message,
        (None, None) => "a panic without a message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Node, SecretKey};

    #[test]
    fn a_panic_in_a_task_is_an_event_and_the_node_goes_on() {
        let node = Node::builder(SecretKey::from_bytes([1; 32]), ChainId([7; 32])).start().unwrap();
        for message in ["one", "another"] {
            node.core().spawn(Span::none(), async move { panic!("{message}") });
            match node.wait(1, Duration::from_secs(30)).pop() {
                Some(Event::TaskFailed { message: said }) => assert_eq!(said, message),
                other => panic!("{other:?}"),
            }
        }
        node.set_best_tip(mina_p2p_wire::message::StateHash([1; 32]), vec![0; 32].into()).unwrap();
        node.close().unwrap();
    }
}
