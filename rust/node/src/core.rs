//! What all tasks of a node share: the router, the pools, the connections, the queue of events.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use mina_p2p_protocol::router::{ConnectionId, ItemKey, PROBE_TIMEOUT, Router};
use mina_p2p_protocol::{
    self as protocol, ExtensionService, IncomingRequest, Lanes, Pools, Processed, Request, Response, Session,
    SessionConfig, Time, Tip,
};
use mina_p2p_transport::{Connection, FrameBudget, Reservation, Transport};
use mina_p2p_wire::message::{Capabilities, Hello, RpcRequest, RpcResponse};
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

/// How many of the last tips are kept to answer peers that ask for one, and at most how many bytes of them. The
/// current tip is kept whatever its size.
pub const RECENT_BLOCKS_MAX: usize = 16;
/// See [`RECENT_BLOCKS_MAX`]: 16 blocks of the largest seen on mainnet (3.04 MB) make 49 MB.
pub const RECENT_BLOCKS_BYTES: usize = 64 * 1024 * 1024;

/// The extension method by which an existing connection shows that it lives.
const PING: &str = "mina-p2p/ping";
const PING_VERSION: u32 = 1;

/// What the node's state mutex guards.
pub(crate) struct State {
    pub(crate) router: Router,
    pub(crate) pools: Pools,
    pub(crate) links: HashMap<ConnectionId, Arc<Link>>,
    recent: VecDeque<Tip>,
    /// Incoming connections that wait for our own dial to the same peer; they are told whether it was accepted.
    holds: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
}

impl State {
    pub(crate) fn new(router: Router, pools: Pools) -> State {
        State { router, pools, links: HashMap::new(), recent: VecDeque::new(), holds: HashMap::new() }
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

    /// Makes this block the tip.
    pub(crate) fn set_tip(&mut self, tip: Tip) {
        self.recent.retain(|other| other.key != tip.key);
        self.recent.push_back(tip.clone());
        let mut bytes: usize = self.recent.iter().map(|tip| tip.block.len()).sum();
        while self.recent.len() > 1 && (self.recent.len() > RECENT_BLOCKS_MAX || bytes > RECENT_BLOCKS_BYTES) {
            bytes -= self.recent.pop_front().map_or(0, |tip| tip.block.len());
        }
        self.pools.tip = Some(tip);
    }

    /// What the library can answer by itself.
    fn answer(&self, request: &RpcRequest) -> Option<RpcResponse> {
        match request {
            RpcRequest::Block(hash) => {
                self.recent.iter().find(|tip| tip.state_hash == *hash).map(|tip| RpcResponse::Block(tip.block.clone()))
            }
            RpcRequest::Transaction(hash) => {
                self.pools.transactions.get(hash).map(|entry| RpcResponse::Transaction(entry.body.clone()))
            }
            RpcRequest::Snark(job) => self.pools.works.get(job).map(|entry| RpcResponse::Snark(entry.body.clone())),
            RpcRequest::InitialPeers => {
                // Only what we dialed and found to be the peer's: an address from hearsay is not passed on.
                let dialed = self.links.values().filter_map(|link| link.dialed.clone());
                Some(RpcResponse::InitialPeers(dialed.collect()))
            }
            RpcRequest::BestTipWithProof | RpcRequest::LedgerQuery(..) | RpcRequest::StagedLedgerAux(_) => None,
        }
    }
}

/// Shared by all tasks of a node.
pub(crate) struct Core {
    pub(crate) own: PeerId,
    pub(crate) chain_id: ChainId,
    pub(crate) limits: Limits,
    pub(crate) agent: String,
    pub(crate) extensions: Vec<ExtensionService>,
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) listen_addresses: Vec<Address>,
    pub(crate) events: EventQueue,
    pub(crate) runtime: Handle,
    /// Wakes the task that dials the configured peers: one may be due earlier than it knew.
    pub(crate) redial: Notify,
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

    /// What we tell a peer of ourselves.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            chain_id: self.chain_id,
            capabilities: Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC,
            listen_addresses: self.listen_addresses.clone(),
            agent: self.agent.clone(),
            identity_signature: None,
        }
    }

    /// A session for an authenticated connection.
    pub(crate) fn session(&self, connection: &dyn Connection) -> Session {
        let config = SessionConfig {
            peer: connection.peer(),
            ours: true,
            capabilities: connection.remote_hello().capabilities,
            lanes: Lanes::PerRole,
            limits: self.limits.session.clone(),
            extension_rpcs: self.extensions.clone(),
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
        &self,
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
            protocol::Event::Request { id, request } => match self.answer(&request) {
                // The peer may have gone meanwhile: then nobody waits for the answer.
                Some(response) => {
                    let _ = driven.session.respond(self.now(), id, response);
                    return;
                }
                None => {
                    driven.incoming.insert(id);
                    of_request = driven.take_reservation(id);
                    let responder = ResponderId { connection: link.id, incoming: id };
                    (Event::Request { peer, responder, request }, None)
                }
            },
            protocol::Event::RequestCancelled { id, .. } => {
                driven.incoming.remove(&id);
                let responder = ResponderId { connection: link.id, incoming: id };
                (Event::RequestCancelled { peer, responder }, None)
            }
            protocol::Event::Response { id, answer } => {
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
        let is_request = matches!(event, Event::Request { .. });
        let reservation = if is_request { of_request } else { reservation.take() };
        self.events.push(Queued { event, credit, _reservation: reservation });
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
    fn answer(&self, request: &IncomingRequest) -> Option<Response> {
        match request {
            IncomingRequest::Rpc(request) => self.state().answer(request).map(|answer| Response::Rpc(Some(answer))),
            IncomingRequest::Extension { name, version: PING_VERSION, .. } if name == PING => {
                Some(Response::Extension(Ok(Bytes::new())))
            }
            IncomingRequest::Extension { .. } | IncomingRequest::StagedLedgerParts(_) => None,
        }
    }
}

/// The methods that every node serves.
pub(crate) fn own_methods() -> Vec<ExtensionService> {
    vec![ExtensionService { name: PING.to_owned(), version: PING_VERSION, max_query: 0, cost: 1 }]
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
