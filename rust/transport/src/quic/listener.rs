//! Incoming handshakes, from the first packet to the checked `Hello`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

use super::admission::{Place, Verdict};
use super::endpoint::{Inner, handshake_failure, proved_peer};
use super::link::QuicLink;
use crate::connection::Shared;
use crate::hello;
use crate::transport::BoxFuture;
use crate::{CloseReason, ConnectError, Incoming, Listener};

/// Where dialers of one socket arrive.
pub(super) struct QuicListener {
    pub(super) address: SocketAddr,
    pub(super) arrivals: Mutex<mpsc::Receiver<Incoming>>,
}

impl Listener for QuicListener {
    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async { self.arrivals.lock().await.recv().await })
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// Takes handshakes in until the listener is dropped or the endpoint closed.
pub(super) async fn run(inner: Arc<Inner>, endpoint: quinn::Endpoint, arrivals: mpsc::Sender<Incoming>) {
    loop {
        let handshake = tokio::select! {
            () = arrivals.closed() => break,
            handshake = endpoint.accept() => handshake,
        };
        let Some(handshake) = handshake else { break };
        let address = handshake.remote_address();
        match inner.admission.judge(address.ip(), handshake.remote_address_validated()) {
            Verdict::Admit(place) => {
                tokio::spawn(admitted(inner.clone(), handshake, place, arrivals.clone()));
            }
            Verdict::Retry => {
                tracing::debug!(%address, pending = inner.admission.pending(), "handshake must prove its address");
                // Fails only for one that was proved already, and that is never asked again.
                drop(handshake.retry());
            }
            Verdict::Refuse => {
                tracing::debug!(%address, pending = inner.admission.pending(), reason = CloseReason::Capacity.name(), "handshake refused");
                handshake.refuse();
            }
        }
    }
    endpoint.set_server_config(None);
}

async fn admitted(inner: Arc<Inner>, handshake: quinn::Incoming, place: Place, arrivals: mpsc::Sender<Incoming>) {
    let address = handshake.remote_address();
    match authenticated(&inner, handshake, place).await {
        // Whoever holds the other end has a place for each pending handshake, so this does not wait.
        Ok(incoming) => drop(arrivals.send(incoming).await),
        Err(error) => tracing::debug!(%address, reason = %error, "handshake failed"),
    }
}

async fn authenticated(inner: &Arc<Inner>, handshake: quinn::Incoming, place: Place) -> Result<Incoming, ConnectError> {
    let limit = inner.limits.authentication_timeout;
    let deadline = Instant::now() + limit;
    let (config, findings) = inner.server_config()?;
    let connecting =
        handshake.accept_with(Arc::new(config)).map_err(|error| handshake_failure(&error, &findings, limit))?;
    let connection = tokio::select! {
        () = place.evicted() => return Err(ConnectError::Refused(CloseReason::Capacity)),
        connected = timeout_at(deadline, connecting) => connected
            .map_err(|_| ConnectError::TimedOut(limit))?
            .map_err(|error| handshake_failure(&error, &findings, limit))?,
    };
    place.proved();
    let peer = proved_peer(&findings)?;
    let link = QuicLink { connection, shutdown: inner.shutdown.clone() };
    let shared = Shared::new(peer, inner.limits.clone(), Box::new(link));
    hello::greet(shared, inner.ours, inner.chain, deadline, Box::new(place)).await
}
