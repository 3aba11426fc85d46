//! Connections inside one process, for tests: the traits, the `Hello` exchange, framing, back-pressure, budgets and close
//! reasons are those of every transport, but there are no sockets, no cryptography and no loss.

mod link;
pub(crate) mod pipe;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mina_p2p_wire::message::Hello;
use mina_p2p_wire::{Address, ChainId, PeerId};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::connection::Shared;
use crate::hello;
use crate::transport::BoxFuture;
use crate::{CloseReason, ConnectError, Connection, Incoming, Limits, ListenError, Listener, Transport, TransportKind};

/// The first port given for port 0.
const FIRST_PORT: u16 = 49_152;

/// A network inside this process. A clone is the same network.
#[derive(Clone, Default)]
pub struct Network {
    listeners: Arc<Mutex<HashMap<SocketAddr, Arc<Entry>>>>,
}

/// A listener that can be dialed.
struct Entry {
    peer: PeerId,
    chain: ChainId,
    limits: Arc<Limits>,
    connections: Connections,
    /// Places for pending handshakes.
    places: Arc<Semaphore>,
    arrivals: mpsc::Sender<Incoming>,
}

impl Network {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node of this network. It is believed to be `peer` without proof.
    pub fn endpoint(&self, peer: PeerId, chain: ChainId, limits: Limits) -> Endpoint {
        Endpoint {
            network: self.clone(),
            peer,
            chain,
            limits: Arc::new(limits),
            shutdown: Arc::new(watch::Sender::new(None)),
            connections: Connections::default(),
        }
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Entry>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's place in a [`Network`].
pub struct Endpoint {
    network: Network,
    peer: PeerId,
    chain: ChainId,
    limits: Arc<Limits>,
    shutdown: Arc<watch::Sender<Option<CloseReason>>>,
    connections: Connections,
}

/// Connections that a shutdown must close.
type Connections = Arc<Mutex<Vec<Weak<Shared>>>>;

fn remember(connections: &Connections, shared: &Arc<Shared>) {
    let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
    connections.retain(|known| known.strong_count() > 0);
    connections.push(Arc::downgrade(shared));
}

impl Endpoint {
    async fn dial(&self, address: &Address, our_hello: &Hello) -> Result<Arc<dyn Connection>, ConnectError> {
        let Address::Quic { peer_id, host, port } = address else {
            return Err(ConnectError::UnsupportedAddress(address.to_string()));
        };
        let Some(ip) = host.ip() else {
            return Err(ConnectError::UnsupportedAddress(address.to_string()));
        };
        if self.shutdown.borrow().is_some() {
            return Err(ConnectError::ShutDown);
        }
        let remote = SocketAddr::new(ip, *port);
        let entry = self.network.listeners().get(&remote).cloned();
        let Some(entry) = entry else {
            return Err(ConnectError::TimedOut(self.limits.authentication_timeout));
        };
        let deadline = Instant::now() + self.limits.authentication_timeout;
        let local = SocketAddr::new(ip, 0);
        let (ours, theirs) = link::connection((local, remote));
        let Ok(place) = entry.places.clone().try_acquire_owned() else {
            return Err(ConnectError::Closed(CloseReason::Capacity));
        };
        let theirs = Shared::new(self.peer, entry.limits.clone(), Box::new(theirs));
        remember(&entry.connections, &theirs);
        let their_peer = entry.peer;
        tokio::spawn(async move {
            let deadline = Instant::now() + entry.limits.authentication_timeout;
            let greeted = hello::greet(theirs, entry.peer, entry.chain, deadline, Box::new(place));
            // A dialer that is refused here has been told; one whose listener is gone sees the drop.
            if let Ok(incoming) = greeted.await {
                drop(entry.arrivals.send(incoming).await);
            }
        });
        let shared = Shared::new(their_peer, self.limits.clone(), Box::new(ours));
        remember(&self.connections, &shared);
        hello::dial(shared, self.peer, *peer_id, our_hello, deadline).await
    }
}

impl Transport for Endpoint {
    fn kind(&self) -> TransportKind {
        TransportKind::Memory
    }

    /// Dials an [`Address::Quic`] with an IP address.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        our_hello: &'a Hello,
    ) -> BoxFuture<'a, Result<Arc<dyn Connection>, ConnectError>> {
        Box::pin(self.dial(address, our_hello))
    }

    fn listen(&self, mut address: SocketAddr) -> Result<Box<dyn Listener>, ListenError> {
        if self.shutdown.borrow().is_some() {
            return Err(ListenError::ShutDown);
        }
        let mut listeners = self.network.listeners();
        if address.port() == 0 {
            let ip = address.ip();
            let free = (FIRST_PORT..=u16::MAX)
                .map(|port| SocketAddr::new(ip, port))
                .find(|candidate| !listeners.contains_key(candidate));
            address = free.ok_or(ListenError::InUse(address))?;
        }
        if listeners.contains_key(&address) {
            return Err(ListenError::InUse(address));
        }
        let places = self.limits.max_pending_handshakes;
        let (arrivals, queue) = mpsc::channel(places.max(1));
        let entry = Entry {
            peer: self.peer,
            chain: self.chain,
            limits: self.limits.clone(),
            connections: self.connections.clone(),
            places: Arc::new(Semaphore::new(places)),
            arrivals,
        };
        listeners.insert(address, Arc::new(entry));
        Ok(Box::new(MemoryListener {
            network: self.network.clone(),
            address,
            shutdown: self.shutdown.subscribe(),
            queue: AsyncMutex::new(queue),
        }))
    }

    fn shutdown(&self, reason: CloseReason) -> BoxFuture<'_, ()> {
        self.shutdown.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some(reason.clone());
            }
            first
        });
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for shared in connections.drain(..).filter_map(|known| known.upgrade()) {
            shared.close(reason.clone());
        }
        Box::pin(async {})
    }
}

/// Where dials to one address arrive.
struct MemoryListener {
    network: Network,
    address: SocketAddr,
    shutdown: watch::Receiver<Option<CloseReason>>,
    queue: AsyncMutex<mpsc::Receiver<Incoming>>,
}

impl Listener for MemoryListener {
    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async {
            let mut shutdown = self.shutdown.clone();
            let mut queue = self.queue.lock().await;
            tokio::select! {
                _ = shutdown.wait_for(Option::is_some) => None,
                incoming = queue.recv() => incoming,
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.listeners().remove(&self.address);
    }
}
