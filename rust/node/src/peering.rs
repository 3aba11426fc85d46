//! Making connections: dials, incoming connections, and what the router decides of them.

use std::net::SocketAddr;
use std::sync::Arc;

use mina_p2p_protocol::router::{Admission, ConnectionId, DialId, Dialer, Refusal};
use mina_p2p_transport::{CloseReason, ConnectError, Connection, Incoming, Listener};
use mina_p2p_wire::{Address, PeerId};
use tracing::{Span, debug, info};

use crate::core::Core;
use crate::event::{DialError, Event};
use crate::link::Link;

/// Dials the configured peers whenever they are due.
pub(crate) async fn keep_dialing(core: Arc<Core>) {
    loop {
        core.events.room().await;
        loop {
            // The lock must not live on in the loop's body.
            let due = core.state().router.due_dial(core.now());
            let Some(address) = due else { break };
            if let Err(refusal) = dial(&core, &address) {
                debug!(%address, %refusal, "not dialed");
            }
        }
        let next = core.state().router.next_dial_at().map(|at| core.instant(at));
        tokio::select! {
            () = core.redial.notified() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
    }
}

/// Begins to dial. How it ends is an event.
pub(crate) fn dial(core: &Arc<Core>, address: &Address) -> Result<(), Refusal> {
    let id = core.state().router.start_dial(core.now(), address)?;
    let address = address.clone();
    let task_core = Arc::clone(core);
    core.spawn(Span::none(), async move {
        if let Err(reason) = run_dial(&task_core, id, &address).await {
            info!(%address, %reason, "dial failed");
            task_core.events.push_event(Event::DialFailed { address, reason });
        }
    });
    Ok(())
}

async fn run_dial(core: &Arc<Core>, id: DialId, address: &Address) -> Result<(), DialError> {
    let connection = match connect(core, address).await {
        Ok(connection) => connection,
        Err(error) => {
            let expected = {
                let mut state = core.state();
                state.end_holds(address.peer_id(), false);
                state.router.dial_failed(core.now(), id)
            };
            core.redial.notify_one();
            return if expected { Ok(()) } else { Err(error) };
        }
    };
    let admission = {
        let mut state = core.state();
        let admission = state.router.dial_authenticated(core.now(), id, connection.remote_address());
        state.end_holds(address.peer_id(), matches!(admission, Admission::Accept { .. }));
        admission
    };
    core.redial.notify_one();
    match admission {
        Admission::Accept { id, replaces } => {
            start_link(core, id, replaces, connection, Some(address.clone()));
            Ok(())
        }
        Admission::Refuse(refusal) => {
            connection.close(close_reason(&refusal));
            if refusal == Refusal::Duplicate { Ok(()) } else { Err(refusal.into()) }
        }
        // A dial is never held or probed for.
        Admission::Hold { .. } | Admission::Probe { .. } => {
            connection.close(CloseReason::Duplicate);
            Ok(())
        }
    }
}

/// Connects by the first transport that knows this kind of address.
async fn connect(core: &Core, address: &Address) -> Result<Arc<dyn Connection>, DialError> {
    let hello = core.hello();
    for transport in &core.transports {
        match transport.connect(address, &hello).await {
            Err(ConnectError::UnsupportedAddress(_)) => {}
            connected => return Ok(connected?),
        }
    }
    Err(DialError::NoTransport)
}

/// Takes a listener's connections.
pub(crate) async fn keep_accepting(core: Arc<Core>, listener: Box<dyn Listener>) {
    loop {
        core.events.room().await;
        let Some(incoming) = listener.accept().await else { return };
        let task_core = Arc::clone(&core);
        core.spawn(Span::none(), async move { admit(&task_core, incoming).await });
    }
}

async fn admit(core: &Arc<Core>, incoming: Incoming) {
    let (peer, remote) = (incoming.peer(), incoming.remote_address());
    let mut held = false;
    loop {
        let (admission, dial_ended) = {
            let mut state = core.state();
            let admission = state.router.incoming(core.now(), peer, remote, held);
            let hold = matches!(admission, Admission::Hold { .. }).then(|| state.hold(peer));
            (admission, hold)
        };
        match admission {
            Admission::Accept { id, replaces } => return accept(core, incoming, id, replaces).await,
            Admission::Hold { until } => {
                let ended = async { dial_ended?.await.ok() };
                match tokio::time::timeout_at(core.instant(until), ended).await {
                    Ok(Some(true)) => return refuse(incoming, peer, remote, &Refusal::Duplicate),
                    Ok(Some(false) | None) => {}
                    Err(_) => held = true,
                }
            }
            Admission::Probe { existing } => {
                if probe(core, existing).await {
                    return refuse(incoming, peer, remote, &Refusal::Duplicate);
                }
                drop_link(core, peer, existing);
            }
            Admission::Refuse(refusal) => return refuse(incoming, peer, remote, &refusal),
        }
    }
}

fn refuse(incoming: Incoming, peer: PeerId, address: SocketAddr, refusal: &Refusal) {
    // Strangers cause it: not for a log that is on by default.
    debug!(%peer, %address, %refusal, "refused");
    incoming.refuse(close_reason(refusal));
}

async fn accept(core: &Arc<Core>, incoming: Incoming, id: ConnectionId, replaces: Option<ConnectionId>) {
    let (peer, address) = (incoming.peer(), incoming.remote_address());
    match incoming.accept(&core.hello()).await {
        Ok(connection) => start_link(core, id, replaces, connection, None),
        Err(error) => {
            debug!(%peer, %address, %error, "lost while answering its hello");
            core.state().router.disconnected(core.now(), peer, id);
            if let Some(old) = replaces {
                drop_link(core, peer, old);
            }
            core.redial.notify_one();
        }
    }
}

/// Whether an existing connection's peer lives.
async fn probe(core: &Arc<Core>, id: ConnectionId) -> bool {
    let link = core.state().links.get(&id).cloned();
    match link {
        Some(link) => link.probe(core).await,
        // It is being made right now.
        None => core.state().router.peers().any(|(_, existing)| existing == id),
    }
}

/// Closes a connection that another replaces.
fn drop_link(core: &Arc<Core>, peer: PeerId, id: ConnectionId) {
    let link = {
        let mut state = core.state();
        state.router.disconnected(core.now(), peer, id);
        state.links.get(&id).cloned()
    };
    core.relay(|relay, pools| relay.disconnected(core.now(), id, pools));
    if let Some(link) = link {
        link.close(CloseReason::Duplicate);
        link.end(core, CloseReason::Duplicate);
    }
}

fn start_link(
    core: &Arc<Core>,
    id: ConnectionId,
    replaces: Option<ConnectionId>,
    connection: Arc<dyn Connection>,
    dialed: Option<Address>,
) {
    let peer = connection.peer();
    let session = core.session(id, connection.as_ref());
    let link = Arc::new(Link::new(id, connection, session, dialed, core.now()));
    // First: the router has forgotten it, whatever becomes of the new one, and its end comes before the other's start.
    if let Some(old) = replaces {
        drop_link(core, peer, old);
    }
    {
        let mut state = core.state();
        // While it was being answered, a crossed one may have replaced it, or the node may have closed.
        if state.router.connection(peer) != Some(id) || core.is_closing() {
            drop(state);
            return link.close(if core.is_closing() { CloseReason::Shutdown } else { CloseReason::Duplicate });
        }
        state.links.insert(id, Arc::clone(&link));
        // Under the lock: whoever finds the link may end it, and its end must not be told before its start.
        core.events.push_event(Event::PeerConnected {
            peer,
            address: link.connection.remote_address(),
            direction: link.connection.direction(),
        });
    }
    if link.driven().session.speaks_compact() {
        let dialer = if link.dialed.is_some() { Dialer::Us } else { Dialer::Peer };
        core.relay(|relay, _| relay.connected(id, peer, dialer));
    }
    let task_core = Arc::clone(core);
    core.spawn(Span::none(), async move {
        let reason = Arc::clone(&link).run(Arc::clone(&task_core)).await;
        {
            let mut state = task_core.state();
            state.links.remove(&id);
            state.router.disconnected(task_core.now(), peer, id);
        }
        let now = task_core.now();
        task_core.relay(|relay, pools| relay.disconnected(now, id, pools));
        task_core.redial.notify_one();
        link.end(&task_core, reason);
    });
}

/// What the other side is told.
pub(crate) fn close_reason(refusal: &Refusal) -> CloseReason {
    match refusal {
        Refusal::SelfConnection => CloseReason::SelfConnection,
        Refusal::Banned { .. } => CloseReason::Banned,
        Refusal::Capacity { .. } => CloseReason::Capacity,
        Refusal::Duplicate | Refusal::Dialing => CloseReason::Duplicate,
    }
}
