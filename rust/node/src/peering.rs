//! Making connections: dials, incoming connections, and what the router decides of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mina_p2p_protocol::router::{Admission, ConnectionId, Dial, DialId, Dialer, Refusal};
use mina_p2p_transport::{CloseReason, Connection, Incoming, Listener};
use mina_p2p_wire::{Address, PeerId, Signaling};
use tokio::sync::oneshot;
use tracing::{Span, debug, info};

use crate::core::Core;
use crate::dialing::{self, Dialed, Failed};
use crate::event::{DialError, Event};
use crate::link::Link;
use crate::transports::kind_of;

/// As many addresses of a peer's own as are remembered: two of each transport.
const LEARNED_MAX: usize = 4;

/// When we and an existing node dial each other at once and ours is the greater id, that node takes our offer, drops its own,
/// and 0.1 s later the end of its own closes ours too. After this it has forgotten both.
const CROSSED_PAUSE: Duration = Duration::from_millis(500);
/// What it closes in this way ends within this time.
const CROSSED_END: Duration = Duration::from_secs(2);

/// Dials the configured peers whenever they are due.
pub(crate) async fn keep_dialing(core: Arc<Core>) {
    loop {
        core.events.room().await;
        loop {
            // The lock must not live on in the loop's body.
            let due = core.state().router.due_dial(core.now());
            let Some(Dial { peer, addresses }) = due else { break };
            if let Err(refusal) = dial(&core, peer, addresses) {
                debug!(%peer, %refusal, "not dialed");
            }
        }
        let next = core.state().router.next_dial_at().map(|at| core.instant(at));
        tokio::select! {
            () = core.redial.notified() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
    }
}

/// Dials a peer as the user wants: by this address, and by those that are configured for it.
pub(crate) fn dial_peer(core: &Arc<Core>, address: &Address) -> Result<(), Refusal> {
    let peer = address.peer_id();
    let configured = core.initial_peers.iter().filter(|other| other.peer_id() == peer && *other != address);
    let addresses = std::iter::once(address).chain(configured).cloned().collect();
    dial(core, peer, addresses)
}

/// Begins to dial. How it ends is an event.
fn dial(core: &Arc<Core>, peer: PeerId, addresses: Vec<Address>) -> Result<(), Refusal> {
    let (id, given_up) = {
        let mut state = core.state();
        let id = state.router.start_dial(core.now(), peer)?;
        let given_up = state.dial_began(id);
        // One through a relay may have given way.
        core.introductions(&mut state);
        (id, given_up)
    };
    let task_core = Arc::clone(core);
    core.spawn(Span::none(), async move {
        if let Err(Failed { address, reason, .. }) = run_dial(&task_core, id, &addresses, given_up).await {
            let Some(address) = address.or_else(|| addresses.first().cloned()) else { return };
            info!(%address, %reason, "dial failed");
            task_core.events.push_event(Event::DialFailed { address, reason });
        }
    });
    Ok(())
}

async fn run_dial(
    core: &Arc<Core>,
    id: DialId,
    addresses: &[Address],
    given_up: oneshot::Receiver<()>,
) -> Result<(), Failed> {
    let hello = core.hello();
    let dialed = async {
        let first = dialing::race(core.transports.all(), addresses, &hello).await;
        if first.is_ok() || !core.state().was_crossed(id) {
            return first;
        }
        tokio::time::sleep(CROSSED_PAUSE).await;
        let is_connected = addresses.first().is_some_and(|one| core.state().router.connection(one.peer_id()).is_some());
        if is_connected {
            // By the peer's own dial, which another of ours might replace in the middle of what it carries.
            return first;
        }
        dialing::race(core.transports.all(), addresses, &hello).await
    };
    let dialed = tokio::select! {
        dialed = dialed => dialed,
        // The peer's own connection is kept instead.
        () = ended(given_up) => Err(Failed::new(None, Refusal::Duplicate.into())),
    };
    match dialed {
        Ok(Dialed { connection, address }) => {
            let kept = dial_authenticated(core, id, connection, &address);
            kept.map_err(|reason| Failed::new(Some(address), reason))
        }
        Err(failed) => {
            let peer = addresses.first().map(Address::peer_id);
            if dial_failed(core, id, peer) { Ok(()) } else { Err(failed) }
        }
    }
}

/// Resolves when the other end says so, and never if it is gone.
pub(crate) async fn ended(receiver: oneshot::Receiver<()>) {
    if receiver.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A dial of ours came to nothing. True if that was to be expected: the peer's own was accepted meanwhile.
pub(crate) fn dial_failed(core: &Arc<Core>, id: DialId, peer: Option<PeerId>) -> bool {
    let expected = {
        let mut state = core.state();
        if let Some(peer) = peer {
            state.end_holds(peer, false);
        }
        state.dial_ended(id);
        let expected = state.router.dial_failed(core.now(), id);
        core.introductions(&mut state);
        expected
    };
    core.redial.notify_one();
    expected
}

/// A dial of ours has authenticated: keeps it, if the router does.
pub(crate) fn dial_authenticated(
    core: &Arc<Core>,
    id: DialId,
    connection: Arc<dyn Connection>,
    address: &Address,
) -> Result<(), DialError> {
    let ours = connection.remote_hello().is_some();
    let (admission, was_crossed) = {
        let mut state = core.state();
        let was_crossed = state.was_crossed(id);
        let admission = state.router.dial_authenticated(core.now(), id, connection.remote_address(), ours);
        state.end_holds(address.peer_id(), matches!(admission, Admission::Accept { .. }));
        state.dial_ended(id);
        core.introductions(&mut state);
        (admission, was_crossed)
    };
    core.redial.notify_one();
    match admission {
        Admission::Accept { id, replaces } => {
            // What only a relay could reach is not dialed again: it has to name the peer.
            if was_crossed && !ours && kind_of(address).is_some() {
                dial_again_if_dropped(core, Arc::clone(&connection), address.clone());
            }
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

/// Dials once more if an existing node closes a crossed connection right away; see [`CROSSED_PAUSE`].
fn dial_again_if_dropped(core: &Arc<Core>, connection: Arc<dyn Connection>, address: Address) {
    let task_core = Arc::clone(core);
    core.spawn(Span::none(), async move {
        if tokio::time::timeout(CROSSED_END, connection.closed()).await.is_err() {
            return;
        }
        drop(connection);
        tokio::time::sleep(CROSSED_PAUSE).await;
        task_core.events.room().await;
        if let Err(refusal) = dial(&task_core, address.peer_id(), vec![address]) {
            // It is configured, and being dialed already; or it has dialed us.
            debug!(%refusal, "not dialed again");
        }
    });
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
    let (peer, remote, ours) = (incoming.peer(), incoming.remote_address(), incoming.hello().is_some());
    let mut held = false;
    loop {
        let (admission, dial_ended) = {
            let mut state = core.state();
            let admission = state.router.incoming(core.now(), peer, remote, held, ours);
            let hold = matches!(admission, Admission::Hold { .. }).then(|| state.hold(peer));
            core.introductions(&mut state);
            if matches!(admission, Admission::Accept { .. }) && !ours {
                // An existing node would end both.
                state.give_up_dial(peer);
            }
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
            {
                let mut state = core.state();
                state.router.disconnected(core.now(), peer, id);
                core.introductions(&mut state);
            }
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
        core.introductions(&mut state);
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
    let introduces = link.driven().session.speaks_introductions();
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
            transport: link.connection.transport(),
        });
        state.router.learned(peer, announced(&link));
        if introduces {
            state.router.speaks_introductions(core.now(), id);
            core.introductions(&mut state);
        }
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
            task_core.introductions(&mut state);
        }
        let now = task_core.now();
        task_core.relay(|relay, pools| relay.disconnected(now, id, pools));
        task_core.redial.notify_one();
        link.end(&task_core, reason);
    });
}

/// Where else a peer says that it listens, as far as it is where we found it: what it says of other hosts may be anything.
fn announced(link: &Link) -> Vec<Address> {
    let ip = link.connection.remote_address().ip().to_canonical();
    let of_peer = |address: &&Address| address.peer_id() == link.peer && kind_of(address).is_some();
    let here = |address: &Address| {
        let host = address.host()?.ip()?.to_canonical();
        (host == ip || host.is_unspecified()).then(|| at_ip(address, ip))
    };
    let all = link.connection.remote_hello().map(|hello| hello.listen_addresses.as_slice()).unwrap_or_default();
    all.iter().filter(of_peer).filter_map(here).take(LEARNED_MAX).collect()
}

/// The same address at this IP.
fn at_ip(address: &Address, ip: IpAddr) -> Address {
    let mut address = address.clone();
    match &mut address {
        Address::Quic { host, .. }
        | Address::Libp2p { host, .. }
        | Address::WebRtc {
            signaling: Signaling::Http { host, .. } | Signaling::Https { host, .. } | Signaling::HttpsProxy { host, .. },
            ..
        } => *host = ip.into(),
        Address::WebRtc { signaling: Signaling::Relay { .. }, .. } => {}
    }
    address
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
