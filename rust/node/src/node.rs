//! The node: what a user holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mina_p2p_protocol::relay::UnknownBlock;
use mina_p2p_protocol::router::{ItemKey, Refusal, Router, RouterConfig};
use mina_p2p_protocol::{Pools, Request, RequestError, RespondError, Response};
use mina_p2p_transport::{BudgetFigures, CloseReason, FrameBudget, ListenError};
use mina_p2p_wire::{Address, ChainId, PeerId, SecretKey};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tracing::{Span, error};

use crate::config::{Builder, InvalidConfiguration};
use crate::core::{self, Core, Introductions, State};
use crate::event::{Event, RequestId, ResponderId};
use crate::figures::PeerFigures;
use crate::link::Link;
use crate::queue::EventQueue;
use crate::transports::Transports;
use crate::{introductions, lock, peering, relay};

/// How long [`Node::close`] waits for the peers to be told.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Threads of a node: one for I/O and one beside it that may hash a block meanwhile.
const WORKER_THREADS: usize = 2;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system gave no threads, no sockets or no randomness.
    #[error("the system refused {what}: {cause}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        cause: String,
    },
    /// A value of the configuration cannot be used.
    #[error("configuration: {0}")]
    Configuration(#[from] InvalidConfiguration),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// There is no connection to the peer, or to any.
    #[error("no connection to {}", .0.map_or_else(|| "any peer".to_owned(), |peer| peer.to_string()))]
    NotConnected(Option<PeerId>),
    /// The bytes are not a block.
    #[error("not a block: {0}")]
    NotABlock(String),
    /// The bytes are no transaction, or no work, or one that cannot be named.
    #[error("not a pool item: {0}")]
    NotAnItem(String),
    /// No block waits for this verdict.
    #[error(transparent)]
    UnknownBlock(#[from] UnknownBlock),
    /// The item is longer than peers accept.
    #[error("an item of {len} bytes where {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest that may be.
        max: usize,
    },
    /// The request cannot be put to the peer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The answer cannot be given.
    #[error(transparent)]
    Respond(#[from] RespondError),
    /// The dial was refused.
    #[error(transparent)]
    Dial(#[from] Refusal),
}

/// A node. Clones are the same node; when the last is dropped, it closes.
///
/// Every method may be called from any thread. None blocks but [`Node::close`] and [`Node::wait`], which are bounded.
#[derive(Clone)]
pub struct Node {
    handle: Arc<NodeHandle>,
}

struct NodeHandle {
    core: Arc<Core>,
    runtime: Mutex<Option<Runtime>>,
    closed: AtomicBool,
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.close();
    }
}

impl NodeHandle {
    /// False if it was closed already.
    fn close(&self) -> bool {
        if self.closed.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.core.closing.send_replace(true);
        let Some(runtime) = lock(&self.runtime).take() else { return true };
        let (told, peers_told) = mpsc::channel::<()>();
        let transports = self.core.transports.all().to_vec();
        runtime.spawn(async move {
            // At once: what one waits for must not cost the other's peers the reason.
            let all = transports.iter().map(|transport| transport.shutdown(CloseReason::Shutdown));
            futures_util::future::join_all(all).await;
            drop(told);
        });
        // The sender is only ever dropped: what matters is that it is, or that the time is over.
        let _ = peers_told.recv_timeout(CLOSE_TIMEOUT);
        let links: Vec<Arc<Link>> = self.core.state().links.drain().map(|(_, link)| link).collect();
        for link in links {
            link.end(&self.core, CloseReason::Shutdown);
        }
        runtime.shutdown_background();
        true
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

impl Node {
    /// Begins to configure a node with this identity on this chain.
    pub fn builder(secret: SecretKey, chain_id: ChainId) -> Builder {
        Builder::new(secret, chain_id)
    }

    /// A new identity, from the system's randomness.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate_key() -> Result<SecretKey, StartError> {
        let mut seed = [0; 32];
        fill_random(&mut seed)?;
        Ok(SecretKey::from_bytes(seed))
    }

    pub(crate) fn start(builder: Builder) -> Result<Node, StartError> {
        builder.check()?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(WORKER_THREADS).enable_all().thread_name("mina-p2p");
        if let Some(f) = builder.on_thread_start.clone() {
            runtime.on_thread_start(move || f());
        }
        let runtime =
            runtime.build().map_err(|cause| StartError::System { what: "threads", cause: cause.to_string() })?;
        match Node::start_core(builder, &runtime) {
            Ok(core) => {
                let (runtime, closed) = (Mutex::new(Some(runtime)), AtomicBool::new(false));
                Ok(Node { handle: Arc::new(NodeHandle { core, runtime, closed }) })
            }
            Err(error) => {
                // Not dropped: that would block, and panic if the caller is a task of a runtime of its own.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn start_core(builder: Builder, runtime: &Runtime) -> Result<Arc<Core>, StartError> {
        let own = builder.secret.peer_id();
        let _entered = runtime.enter();
        let transports = Transports::new(&builder)?;
        let listening = transports.listen(own, &builder)?;
        let speaks_webrtc = builder.speaks_webrtc();
        let mut listen_addresses = builder.external;
        listen_addresses.extend(listening.addresses);
        let mut seed = [0; 8];
        fill_random(&mut seed)?;
        let introductions = Introductions {
            take: speaks_webrtc && builder.take_offers,
            make: speaks_webrtc && builder.introduce,
            seek: speaks_webrtc && builder.discover_peers > 0,
        };
        let router = RouterConfig {
            discover_peers: builder.discover_peers,
            take_offers: introductions.take,
            introduce: introductions.make,
            own,
            slots: builder.limits.slots,
            relay: builder.limits.relay.clone(),
            initial_peers: builder.initial_peers.clone(),
            seed: u64::from_le_bytes(seed),
        };
        let start = Instant::now();
        let state = State::new(Router::new(router, mina_p2p_protocol::Time::ZERO), Pools::default());
        let mut extensions = core::own_methods();
        extensions.extend(builder.extensions);
        let core = Arc::new(Core {
            own,
            chain_id: builder.chain_id,
            limits: builder.limits,
            agent: builder.agent,
            extensions,
            transports,
            listen_addresses,
            initial_peers: builder.initial_peers,
            introductions,
            events: EventQueue::new(builder.wake),
            runtime: runtime.handle().clone(),
            compact_blocks: builder.compact_blocks,
            dummy_proof: builder.dummy_proof,
            seed: u64::from_le_bytes(seed),
            relay_changed: Notify::new(),
            redial: Notify::new(),
            introductions_changed: Notify::new(),
            closing: watch::Sender::new(false),
            start,
            budget: FrameBudget::default(),
            state: Mutex::new(state),
        });
        core.spawn(Span::none(), peering::keep_dialing(Arc::clone(&core)));
        core.spawn(Span::none(), relay::keep_relaying(Arc::clone(&core)));
        core.spawn(Span::none(), introductions::keep_introducing(Arc::clone(&core)));
        #[cfg(feature = "webrtc")]
        if let Some(webrtc) = &core.transports.webrtc {
            webrtc.set_desk(Arc::new(crate::desk::Desk(Arc::downgrade(&core))));
        }
        for port in listening.alone {
            core.spawn(Span::none(), async move {
                if let Err(error) = port.read_alone().await {
                    error!(address = %port.local_addr(), %error, "a UDP port cannot be read any more");
                }
            });
        }
        for listener in listening.listeners {
            core.spawn(Span::none(), peering::keep_accepting(Arc::clone(&core), listener));
        }
        Ok(core)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    pub(crate) fn open(&self) -> Result<&Arc<Core>, CommandError> {
        if self.handle.closed.load(Ordering::SeqCst) { Err(CommandError::Closed) } else { Ok(self.core()) }
    }

    /// Our identity.
    pub fn peer_id(&self) -> PeerId {
        self.core().own
    }

    /// The addresses under which peers can dial us: external ones, then those listened on, with their real ports: of QUIC, then
    /// of WebRTC's signaling. An unspecified IP address (0.0.0.0) stands for each of the machine's.
    pub fn listen_addresses(&self) -> &[Address] {
        &self.core().listen_addresses
    }

    /// Takes at most `max` events, oldest first. Taking an event permits its peer to send the next item of its kind.
    pub fn poll(&self, max: usize) -> Vec<Event> {
        self.poll_into(max, |event| event)
    }

    /// As [`Node::poll`], each event turned into something else on the way.
    pub fn poll_into<T>(&self, max: usize, mut f: impl FnMut(Event) -> T) -> Vec<T> {
        let mut of_the_relay = 0;
        let taken = self.core().events.take(max, |event| {
            of_the_relay += usize::from(relay::is_of_the_relay(&event));
            f(event)
        });
        self.core().taken(of_the_relay);
        taken
    }

    /// How many events wait.
    pub fn pending_events(&self) -> usize {
        self.core().events.len()
    }

    /// As [`Node::poll`], but waits for the first event, at most `timeout`. For callers with a thread of their own.
    pub fn wait(&self, max: usize, timeout: Duration) -> Vec<Event> {
        self.core().events.wait(timeout);
        self.poll(max)
    }

    /// Puts a request to a peer; without one, to a connected peer that offered what is asked for, or else to the one
    /// connected longest. It ends with [`Event::Response`].
    ///
    /// # Errors
    /// [`CommandError::NotConnected`]; [`CommandError::Request`].
    pub fn request(&self, peer: Option<PeerId>, request: Request) -> Result<RequestId, CommandError> {
        let core = self.open()?;
        let link = {
            let state = core.state();
            let item = ItemKey::of(&request);
            let chosen = peer.or_else(|| state.router.choose_peer(item.as_ref()));
            let id = chosen.and_then(|peer| state.router.connection(peer));
            id.and_then(|id| state.links.get(&id)).cloned().ok_or(CommandError::NotConnected(peer))?
        };
        let request = link.request(core, request)?;
        Ok(RequestId { connection: link.id, request })
    }

    /// Cancels a request of ours: no [`Event::Response`] follows, unless it is in the queue already. Unknown ids are
    /// ignored.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn cancel_request(&self, request: RequestId) -> Result<(), CommandError> {
        let core = self.open()?;
        if let Some(link) = self.link(core, |link| link.id == request.connection) {
            link.cancel(core, request.request);
        }
        Ok(())
    }

    /// Answers a peer's request.
    ///
    /// # Errors
    /// [`CommandError::Respond`]; [`CommandError::NotConnected`] if the peer has gone.
    pub fn respond(&self, responder: ResponderId, response: Response) -> Result<(), CommandError> {
        let core = self.open()?;
        let link = self.link(core, |link| link.id == responder.connection).ok_or(CommandError::NotConnected(None))?;
        Ok(link.respond(core, responder.incoming, response)?)
    }

    fn link(&self, core: &Core, is_it: impl Fn(&Link) -> bool) -> Option<Arc<Link>> {
        core.state().links.values().find(|link| is_it(link)).cloned()
    }

    /// Dials a peer once: by this address, and by those that are configured for the same peer. How it ends is an event.
    ///
    /// # Errors
    /// [`CommandError::Dial`] if the router refuses it right away.
    pub fn dial(&self, address: &Address) -> Result<(), CommandError> {
        Ok(peering::dial_peer(self.open()?, address)?)
    }

    /// Closes the connection to a peer. An initial peer is dialed again after a while; see [`Node::ban`].
    ///
    /// # Errors
    /// [`CommandError::NotConnected`].
    pub fn disconnect(&self, peer: PeerId) -> Result<(), CommandError> {
        let core = self.open()?;
        let link = self.link(core, |link| link.peer == peer).ok_or(CommandError::NotConnected(Some(peer)))?;
        link.close(CloseReason::Unspecified);
        Ok(())
    }

    /// Closes the connection to a peer and refuses others for a time.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn ban(&self, peer: PeerId, duration: Duration) -> Result<(), CommandError> {
        let core = self.open()?;
        let link = {
            let mut state = core.state();
            let id = state.router.ban(core.now(), peer, duration);
            let link = id.and_then(|id| state.links.get(&id)).cloned();
            if let (Some(id), None) = (id, &link) {
                // It is being made right now: forgotten by the router, it will not be kept.
                state.router.disconnected(core.now(), peer, id);
                core.introductions(&mut state);
            }
            link
        };
        if let Some(link) = link {
            link.close(CloseReason::Banned);
        }
        Ok(())
    }

    /// Lifts a ban. False if there was none.
    ///
    /// # Errors
    /// [`CommandError::Closed`].
    pub fn unban(&self, peer: PeerId) -> Result<bool, CommandError> {
        let core = self.open()?;
        let lifted = core.state().router.unban(core.now(), peer);
        core.redial.notify_one();
        Ok(lifted)
    }

    /// The bans in force, each with what remains of it.
    pub fn bans(&self) -> Vec<(PeerId, Duration)> {
        self.core().state().router.bans(self.core().now())
    }

    /// All connected peers with their figures, in the order of their ids.
    pub fn peers(&self) -> Vec<PeerFigures> {
        let core = self.core();
        let links: Vec<Arc<Link>> = {
            let state = core.state();
            state.router.peers().filter_map(|(_, id)| state.links.get(&id).cloned()).collect()
        };
        links.iter().map(|link| PeerFigures::of(core, link)).collect()
    }

    /// What became of WebRTC's offers and attempts since the start; `None` if WebRTC is off.
    #[cfg(feature = "webrtc")]
    pub fn webrtc_figures(&self) -> Option<crate::WebRtcFigures> {
        self.core().transports.webrtc.as_ref().map(|webrtc| webrtc.figures())
    }

    /// What frames that are being received, or wait in events, take of their budget.
    pub fn frame_budget(&self) -> BudgetFigures {
        self.core().budget.figures()
    }

    /// Tells every peer, closes every connection and stops the node's threads, within about half a second. Events that
    /// wait can still be polled.
    ///
    /// # Errors
    /// [`CommandError::Closed`] if it was closed already.
    pub fn close(&self) -> Result<(), CommandError> {
        if self.handle.close() { Ok(()) } else { Err(CommandError::Closed) }
    }
}

pub(crate) fn check_len(len: usize, max: u32) -> Result<(), CommandError> {
    let max = max as usize;
    if len > max { Err(CommandError::TooLong { len, max }) } else { Ok(()) }
}

fn fill_random(bytes: &mut [u8]) -> Result<(), StartError> {
    getrandom::fill(bytes).map_err(|cause| StartError::System { what: "randomness", cause: cause.to_string() })
}
