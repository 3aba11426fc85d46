//! The node as OCaml holds it: configured, then running, then closed.

#![allow(unsafe_code)] // The attribute that exports a symbol.

use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mina_p2p::message::{BlockKey, JobId, SnarkInfo, SnarkJobCommitment, StateHash, TransactionHash, TransactionInfo};
use mina_p2p::{Address, Event, Node, PeerFigures, PeerId, Request, RequestId, ResponderId, Response};

use crate::config::Config;
use crate::custom::{self, Held, Operations};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::heap::{Arg, Builder};
use crate::payload::Content;
use crate::request::Seconds;
use crate::signals;
use crate::stub::{FromOcaml, ToOcaml, named, stubs};

/// A node's life.
enum State {
    /// Not started, or starting failed.
    Configured,
    /// `start` is at work, without the OCaml runtime lock.
    Starting,
    /// It runs.
    Running(Node),
    /// `close` was called.
    Closed,
}

/// What OCaml's `t` holds.
pub(crate) struct Handle {
    /// The process that made it. In a child of it the node's threads do not exist, and its locks may be held for ever.
    process: u32,
    config: Config,
    flag: Arc<Flag>,
    /// Held for moments only, never while waiting for something else.
    state: Mutex<State>,
}

impl Handle {
    fn new(config: Config) -> Result<Handle, Failure> {
        let flag = Flag::new().map_err(|error| Failure::Start(format!("the system refused an eventfd: {error}")))?;
        Ok(Handle { process: std::process::id(), config, flag: Arc::new(flag), state: Mutex::new(State::Configured) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> Result<Node, Failure> {
        match &*self.state() {
            State::Running(node) => Ok(node.clone()),
            State::Configured | State::Starting => Err(Failure::NotStarted),
            State::Closed => Err(Failure::Closed),
        }
    }

    /// Binds and starts. Blocks.
    fn start(&self) -> Result<(), Failure> {
        match &mut *self.state() {
            state @ State::Configured => *state = State::Starting,
            State::Starting | State::Running(_) => return Err(Failure::AlreadyStarted),
            State::Closed => return Err(Failure::Closed),
        }
        let flag = Arc::clone(&self.flag);
        let builder = self.config.builder().wake(Arc::new(move || flag.set()));
        let started = signals::blocked(|| builder.start());
        let mut state = self.state();
        let (next, result) = match (&*state, started) {
            // Closed meanwhile. The node is dropped, and so closed, when the lock is free again.
            (State::Closed, started) => {
                drop(state);
                drop(started);
                return Err(Failure::Closed);
            }
            (_, Ok(node)) => (State::Running(node), Ok(())),
            (_, Err(error)) => (State::Configured, Err(error.into())),
        };
        *state = next;
        result
    }

    /// Stops. Blocks for the time that the peers are given to hear of it, half a second at most.
    fn close(&self) -> Result<(), Failure> {
        let before = std::mem::replace(&mut *self.state(), State::Closed);
        // Whoever waits for events is to look again, and find out.
        self.flag.set();
        match before {
            State::Closed => Err(Failure::Closed),
            State::Configured | State::Starting => Ok(()),
            State::Running(node) => node.close().map_err(Failure::from),
        }
    }

    /// At most `max` events, and the flag set if some are left.
    fn poll(&self, max: usize) -> Result<Vec<Event>, Failure> {
        let node = self.node()?;
        if max == 0 {
            return Err(Failure::invalid("max", "must be positive"));
        }
        // Cleared first: an event that comes after the taking sets it again, and one that comes before is taken.
        self.flag.clear();
        let events = node.poll(max);
        // Set again for what is left, and for a `close` that came after the look at the state and set it before the clearing:
        // otherwise whoever waits would never find out.
        if node.pending_events() > 0 || matches!(*self.state(), State::Closed) {
            self.flag.set();
        }
        Ok(events)
    }
}

/// What a node weighs for the collector, in bytes. It has less memory than that, but also threads and descriptors, which run
/// out first: a program that makes and drops many is to have them collected in time.
const WEIGHT: usize = 1024 * 1024;

/// What the custom block owns.
struct Owner(Arc<Handle>);

impl Held for Owner {
    const NAME: &'static CStr = c"mina_p2p.node";

    fn operations() -> &'static Operations {
        static OPERATIONS: Operations = Operations::new::<Owner>();
        &OPERATIONS
    }

    fn weight(&self) -> usize {
        WEIGHT
    }

    /// A node that was not closed is closed, on a thread of its own: the collector must not wait for it. In a forked child
    /// there is nothing to stop, and stopping would wait for threads that do not exist.
    fn release(self: Box<Self>) {
        if self.0.process != std::process::id() {
            std::mem::forget(self);
        } else if matches!(*self.0.state(), State::Running(_)) {
            let closing = std::thread::Builder::new().name("mina-p2p-close".to_owned());
            // Without a thread the closure is dropped here, and closes here.
            drop(signals::blocked(|| closing.spawn(move || drop(self))));
        }
    }
}

/// A node as an argument, in the process that made it.
struct Owned(Arc<Handle>);

impl FromOcaml for Owned {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let handle = &custom::get::<Owner>(value)?.0;
        // Before any lock.
        if handle.process == std::process::id() { Ok(Owned(Arc::clone(handle))) } else { Err(Failure::Forked) }
    }
}

/// How many events to take.
struct Max(usize);

impl FromOcaml for Max {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        named("max", value).map(Max)
    }
}

/// A running node as an argument.
struct Running(Node);

impl FromOcaml for Running {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Owned::from_ocaml(value)?.0.node().map(Running)
    }
}

impl ToOcaml for Owner {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        custom::push(builder, self);
    }
}

stubs! {
    /// `config -> (node, Error.t) result`
    fn mina_p2p_node_create(config: Config) -> Owner {
        Handle::new(config).map(|handle| Owner(Arc::new(handle)))
    }

    /// `node -> (unit, Error.t) result`
    fn mina_p2p_node_start(node: Owned) using gc -> () {
        gc.blocking(|| node.0.start())
    }

    /// `node -> (unit, Error.t) result`
    fn mina_p2p_node_close(node: Owned) using gc -> () {
        gc.blocking(|| node.0.close())
    }

    /// `node -> (Unix.file_descr, Error.t) result`
    fn mina_p2p_node_event_fd(node: Owned) -> usize {
        if let State::Closed = *node.0.state() {
            return Err(Failure::Closed);
        }
        let descriptor = node.0.flag.descriptor();
        descriptor
            .map(|descriptor| descriptor.unsigned_abs() as usize)
            .map_err(|error| Failure::Start(format!("the system refused a descriptor: {error}")))
    }

    /// `node -> int -> (event list, Error.t) result`
    fn mina_p2p_node_poll(node: Owned, max: Max) -> Vec<Event> {
        node.0.poll(max.0)
    }

    /// `node -> (address list, Error.t) result`
    fn mina_p2p_node_listen_addresses(node: Running) -> Vec<Address> {
        Ok(node.0.listen_addresses().to_vec())
    }

    /// `node -> state_hash -> payload -> (block_key, Error.t) result`
    fn mina_p2p_node_set_best_tip(node: Running, state_hash: StateHash, block: Content) using gc -> BlockKey {
        // Without the lock: a block is hashed, 3 ms for 3 MB.
        Ok(gc.blocking(|| node.0.set_best_tip(state_hash, block.0))?)
    }

    /// `node -> state_hash -> payload -> (block_key, Error.t) result`
    fn mina_p2p_node_announce_block(node: Running, state_hash: StateHash, block: Content) using gc -> BlockKey {
        Ok(gc.blocking(|| node.0.announce_block(state_hash, block.0))?)
    }

    /// `node -> state_hash option -> block_key -> (unit, Error.t) result`
    fn mina_p2p_node_accept_header(node: Running, state_hash: Option<StateHash>, key: BlockKey) -> () {
        Ok(node.0.accept_header(key, state_hash)?)
    }

    /// `node -> state_hash -> block_key -> (unit, Error.t) result`
    fn mina_p2p_node_accept_block(node: Running, state_hash: StateHash, key: BlockKey) -> () {
        Ok(node.0.accept(key, state_hash)?)
    }

    /// `node -> block_key -> (unit, Error.t) result`
    fn mina_p2p_node_ignore_block(node: Running, key: BlockKey) -> () {
        Ok(node.0.ignore(key)?)
    }

    /// `node -> block_key -> (unit, Error.t) result`
    fn mina_p2p_node_reject_block(node: Running, key: BlockKey) -> () {
        Ok(node.0.reject(key)?)
    }

    /// `node -> payload -> (transaction_info * bool, Error.t) result`
    fn mina_p2p_node_add_command(node: Running, command: Content) -> (TransactionInfo, bool) {
        Ok(node.0.add_command(command.0)?)
    }

    /// `node -> payload -> (work_info * bool, Error.t) result`
    fn mina_p2p_node_add_completed_work(node: Running, work: Content) -> (SnarkInfo, bool) {
        Ok(node.0.add_completed_work(work.0)?)
    }

    /// `node -> transaction_info -> payload -> (bool, Error.t) result`
    fn mina_p2p_node_add_transaction(node: Running, info: TransactionInfo, body: Content) -> bool {
        Ok(node.0.add_transaction(info, body.0)?)
    }

    /// `node -> transaction_hash -> (bool, Error.t) result`
    fn mina_p2p_node_remove_transaction(node: Running, hash: TransactionHash) -> bool {
        Ok(node.0.remove_transaction(&hash)?)
    }

    /// `node -> work_info -> payload -> (bool, Error.t) result`
    fn mina_p2p_node_add_work(node: Running, info: SnarkInfo, body: Content) -> bool {
        Ok(node.0.add_work(info, body.0)?)
    }

    /// `node -> job_id -> (bool, Error.t) result`
    fn mina_p2p_node_remove_work(node: Running, job: JobId) -> bool {
        Ok(node.0.remove_work(&job)?)
    }

    /// `node -> commitment -> (bool, Error.t) result`
    fn mina_p2p_node_add_commitment(node: Running, commitment: SnarkJobCommitment) -> bool {
        Ok(node.0.add_commitment(commitment)?)
    }

    /// `node -> job_id -> (bool, Error.t) result`
    fn mina_p2p_node_remove_commitment(node: Running, job: JobId) -> bool {
        Ok(node.0.remove_commitment(&job)?)
    }

    /// `node -> peer_id option -> request -> (request_id, Error.t) result`
    fn mina_p2p_node_request(node: Running, peer: Option<PeerId>, request: Request) -> RequestId {
        Ok(node.0.request(peer, request)?)
    }

    /// `node -> request_id -> (unit, Error.t) result`
    fn mina_p2p_node_cancel(node: Running, request: RequestId) -> () {
        Ok(node.0.cancel_request(request)?)
    }

    /// `node -> responder -> response -> (unit, Error.t) result`
    fn mina_p2p_node_respond(node: Running, responder: ResponderId, response: Response) -> () {
        Ok(node.0.respond(responder, response)?)
    }

    /// `node -> address -> (unit, Error.t) result`
    fn mina_p2p_node_dial(node: Running, address: Address) -> () {
        Ok(node.0.dial(&address)?)
    }

    /// `node -> peer_id -> (unit, Error.t) result`
    fn mina_p2p_node_disconnect(node: Running, peer: PeerId) -> () {
        Ok(node.0.disconnect(peer)?)
    }

    /// `node -> peer_id -> float -> (unit, Error.t) result`
    fn mina_p2p_node_ban(node: Running, peer: PeerId, seconds: Seconds) -> () {
        Ok(node.0.ban(peer, seconds.0)?)
    }

    /// `node -> peer_id -> (bool, Error.t) result`
    fn mina_p2p_node_unban(node: Running, peer: PeerId) -> bool {
        Ok(node.0.unban(peer)?)
    }

    /// `node -> ((peer_id * float) list, Error.t) result`
    fn mina_p2p_node_bans(node: Running) -> Vec<(PeerId, Seconds)> {
        Ok(node.0.bans().into_iter().map(|(peer, left): (PeerId, Duration)| (peer, Seconds(left))).collect())
    }

    /// `node -> (peer list, Error.t) result`
    fn mina_p2p_node_peers(node: Running) -> Vec<PeerFigures> {
        Ok(node.0.peers())
    }
}
