//! The QUIC transport of a node: its sockets, dialing and listening.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mina_p2p_wire::message::Hello;
use mina_p2p_wire::{Address, ChainId, Host, PeerId, SecretKey};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, TransportConfig};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::Admission;
use super::config;
use super::link::{QuicLink, close_reason, wire_code};
use super::listener::{self, QuicListener};
use super::tls::{Findings, Tls};
use crate::connection::Shared;
use crate::hello;
use crate::limits::{MAX_RESOLVED_ADDRESSES, SHUTDOWN_TIMEOUT};
use crate::transport::BoxFuture;
use crate::udp::Port;
use crate::{
    CloseReason, ConnectError, ConnectStep, Connection, Limits, ListenError, Listener, Transport, TransportKind,
};

/// quinn wants a server name; certificates have none that counts, and it is not sent.
const SERVER_NAME: &str = "mina-p2p";

/// Packets of handshakes that nobody has looked at yet. They are looked at as they come, so few are needed.
const MAX_UNSEEN_HANDSHAKES: usize = 1024;
/// What one of them may have sent: a first flight, early data being refused.
const UNSEEN_BYTES: u64 = 16 << 10;
/// What all of them may have sent.
const UNSEEN_BYTES_TOTAL: u64 = 4 << 20;

/// A node's QUIC transport. A clone is the same transport.
///
/// It dials from the sockets that it listens on, one of each address family, so that a node shows one address. Where it
/// has none that reaches the peer, it makes one that only dials.
///
/// All of it must be used inside a tokio runtime.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) ours: PeerId,
    pub(super) chain: ChainId,
    pub(super) limits: Arc<Limits>,
    pub(super) admission: Arc<Admission>,
    pub(super) shutdown: Arc<OnceLock<CloseReason>>,
    tls: Tls,
    transport: Arc<TransportConfig>,
    /// The server's settings, but for the TLS configuration that each handshake has for itself.
    server: quinn::ServerConfig,
    sockets: Mutex<Vec<Bound>>,
}

/// A socket in use.
struct Bound {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
}

impl Endpoint {
    /// A transport for the node with this key on this chain. It has no socket yet.
    ///
    /// # Errors
    /// When the cryptographic library refuses the TLS settings.
    pub fn new(key: SecretKey, chain: ChainId, limits: Limits) -> Result<Self, CryptoError> {
        let ours = key.peer_id();
        let limits = Arc::new(limits);
        let tls = Tls::new(&key)?;
        let transport = Arc::new(config::transport(&limits));
        let crypto = QuicServerConfig::try_from(tls.server()?.0)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(transport.clone())
            .max_incoming(MAX_UNSEEN_HANDSHAKES)
            .incoming_buffer_size(UNSEEN_BYTES)
            .incoming_buffer_size_total(UNSEEN_BYTES_TOTAL);
        Ok(Self {
            inner: Arc::new(Inner {
                ours,
                chain,
                admission: Admission::new(limits.clone()),
                limits,
                shutdown: Arc::default(),
                tls,
                transport,
                server,
                sockets: Mutex::default(),
            }),
        })
    }

    /// Who we are.
    pub fn peer_id(&self) -> PeerId {
        self.inner.ours
    }

    /// Handshakes that are pending now, of all listeners.
    pub fn pending_handshakes(&self) -> usize {
        self.inner.admission.pending()
    }

    /// Listens on a port that WebRTC may share, and dials from it. While it does, it reads the port; WebRTC's datagrams go to
    /// the port's sink.
    ///
    /// # Errors
    /// When the transport is shut down, or the port has another reader.
    pub fn listen_on(&self, port: Arc<Port>) -> Result<Box<dyn Listener>, ListenError> {
        let inner = &self.inner;
        let mut sockets = inner.sockets();
        if inner.shutdown.get().is_some() {
            return Err(ListenError::ShutDown);
        }
        let address = port.local_addr();
        let bound =
            Bound::to(port, Some(inner.server.clone())).map_err(|cause| ListenError::Socket { address, cause })?;
        let endpoint = bound.endpoint.clone();
        // Sockets that listen come first, so that dials prefer them.
        sockets.insert(0, bound);
        drop(sockets);
        let (to_listener, arrivals) = mpsc::channel(inner.limits.max_pending_handshakes.max(1));
        tokio::spawn(listener::run(inner.clone(), endpoint, to_listener));
        Ok(Box::new(QuicListener { address, arrivals: tokio::sync::Mutex::new(arrivals) }))
    }

    /// As [`Transport::connect`], and tells how far it has come: [`ConnectStep::Resolved`], then for each address that is tried
    /// [`ConnectStep::Encrypted`] when its handshake is complete, then [`ConnectStep::Authenticated`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_observed(
        &self,
        address: &Address,
        our_hello: &Hello,
        observe: &(dyn Fn(ConnectStep) + Sync),
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let Address::Quic { peer_id, host, port } = address else {
            return Err(ConnectError::UnsupportedAddress(address.to_string()));
        };
        let inner = &self.inner;
        if *peer_id == inner.ours {
            return Err(ConnectError::Refused(CloseReason::SelfConnection));
        }
        let mut last = None;
        let addresses = inner.resolve(host, *port).await?;
        observe(ConnectStep::Resolved(addresses.clone()));
        for remote in addresses {
            let error = match inner.attempt(remote, *peer_id, our_hello, observe).await {
                Ok(connection) => {
                    observe(ConnectStep::Authenticated);
                    return Ok(connection);
                }
                Err(error) => error,
            };
            tracing::debug!(peer = %peer_id, address = %remote, reason = %error, "dial failed");
            let elsewhere = matches!(
                error,
                ConnectError::TimedOut(_)
                    | ConnectError::Socket { .. }
                    | ConnectError::Refused(CloseReason::WrongIdentity)
                    | ConnectError::Closed(CloseReason::Lost(_) | CloseReason::IdleTimeout)
            );
            if !elsewhere {
                return Err(error);
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| ConnectError::Resolve { host: host.to_string(), cause: "no address".to_owned() }))
    }
}

impl Transport for Endpoint {
    fn kind(&self) -> TransportKind {
        TransportKind::Quic
    }

    /// Dials an [`Address::Quic`]. A domain name's first [`MAX_RESOLVED_ADDRESSES`] addresses are tried in order.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        our_hello: &'a Hello,
    ) -> BoxFuture<'a, Result<Arc<dyn Connection>, ConnectError>> {
        Box::pin(self.connect_observed(address, our_hello, &|_| ()))
    }

    /// An IPv6 socket takes IPv6 alone, so that both families can have the same port.
    fn listen(&self, address: SocketAddr) -> Result<Box<dyn Listener>, ListenError> {
        // Before a socket is bound for nothing.
        if self.inner.shutdown.get().is_some() {
            return Err(ListenError::ShutDown);
        }
        self.listen_on(Port::bind(address).map_err(|cause| ListenError::Socket { address, cause })?)
    }

    fn shutdown(&self, reason: CloseReason) -> BoxFuture<'_, ()> {
        let inner = &self.inner;
        let reason = inner.shutdown.get_or_init(|| reason);
        let endpoints: Vec<_> = inner.sockets().drain(..).map(|bound| bound.endpoint).collect();
        Box::pin(async move {
            for endpoint in &endpoints {
                endpoint.close(wire_code(reason.code()), reason.text().as_bytes());
            }
            let idle = async {
                for endpoint in &endpoints {
                    endpoint.wait_idle().await;
                }
            };
            // Whoever has not heard it by then will notice by its idle timeout.
            drop(timeout(SHUTDOWN_TIMEOUT, idle).await);
        })
    }
}

impl Inner {
    /// The settings for one incoming handshake.
    pub(super) fn server_config(&self) -> Result<(quinn::ServerConfig, Arc<Findings>), ConnectError> {
        let (tls, findings) = self.tls.server().map_err(CryptoError::from)?;
        let mut config = self.server.clone();
        config.crypto = Arc::new(QuicServerConfig::try_from(tls).map_err(CryptoError::from)?);
        Ok((config, findings))
    }

    fn client_config(&self) -> Result<(quinn::ClientConfig, Arc<Findings>), CryptoError> {
        let (tls, findings) = self.tls.client()?;
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(self.transport.clone());
        Ok((config, findings))
    }

    async fn resolve(&self, host: &Host, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Some(ip) = host.ip() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let host = host.to_string();
        let failed = |cause| ConnectError::Resolve { host: host.clone(), cause };
        let limit = self.limits.authentication_timeout;
        let addresses = timeout(limit, tokio::net::lookup_host((host.as_str(), port)))
            .await
            .map_err(|_| failed(format!("no answer within {limit:?}")))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(addresses.take(MAX_RESOLVED_ADDRESSES).collect())
    }

    async fn attempt(
        &self,
        remote: SocketAddr,
        expected: PeerId,
        our_hello: &Hello,
        observe: &(dyn Fn(ConnectStep) + Sync),
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let limit = self.limits.authentication_timeout;
        let deadline = Instant::now() + limit;
        let (config, findings) = self.client_config()?;
        let connecting = self
            .endpoint_for(remote)?
            .connect_with(config, remote, SERVER_NAME)
            .map_err(|error| ConnectError::Socket { address: remote, cause: error.to_string() })?;
        let connection = timeout_at(deadline, connecting)
            .await
            .map_err(|_| ConnectError::TimedOut(limit))?
            .map_err(|error| handshake_failure(&error, &findings, limit))?;
        let peer = proved_peer(&findings)?;
        observe(ConnectStep::Encrypted);
        let link = QuicLink { connection, shutdown: self.shutdown.clone() };
        let shared = Shared::new(peer, self.limits.clone(), Box::new(link));
        hello::dial(shared, self.ours, expected, our_hello, deadline).await
    }

    /// The socket to dial `remote` from.
    fn endpoint_for(&self, remote: SocketAddr) -> Result<quinn::Endpoint, ConnectError> {
        let mut sockets = self.sockets();
        if self.shutdown.get().is_some() {
            return Err(ConnectError::ShutDown);
        }
        if let Some(bound) = sockets.iter().find(|bound| reaches(bound.address, remote)) {
            return Ok(bound.endpoint.clone());
        }
        let any: IpAddr = match remote {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bound = Port::bind(SocketAddr::new(any, 0))
            .and_then(|port| Bound::to(port, None))
            .map_err(|error| ConnectError::Socket { address: remote, cause: error.to_string() })?;
        let endpoint = bound.endpoint.clone();
        sockets.push(bound);
        Ok(endpoint)
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Bound>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a socket bound to `local` can send to `remote`: same family, and not from loopback to elsewhere or back.
fn reaches(local: SocketAddr, remote: SocketAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4()
        && (local.ip().is_unspecified() || local.ip().is_loopback() == remote.ip().is_loopback())
}

impl Bound {
    fn to(port: Arc<Port>, server: Option<quinn::ServerConfig>) -> io::Result<Self> {
        let address = port.local_addr();
        let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
        let socket = port.quic_socket()?;
        let endpoint = quinn::Endpoint::new_with_abstract_socket(config::endpoint(), server, socket, runtime)?;
        Ok(Self { endpoint, address })
    }
}

/// Who the peer of a complete handshake is.
pub(super) fn proved_peer(findings: &Findings) -> Result<PeerId, ConnectError> {
    // Both sides ask for a certificate, so without one there is no connection.
    findings.peer().ok_or_else(|| ConnectError::Refused(CloseReason::UnsuitableCertificate("none".to_owned())))
}

/// Why a handshake failed, as exactly as we can know.
pub(super) fn handshake_failure(
    error: &ConnectionError,
    findings: &Findings,
    limit: std::time::Duration,
) -> ConnectError {
    if let Some(fault) = findings.fault() {
        return ConnectError::Refused(CloseReason::UnsuitableCertificate(fault.to_string()));
    }
    match (error, close_reason(error)) {
        (ConnectionError::TimedOut, _) => ConnectError::TimedOut(limit),
        (_, None) => ConnectError::ShutDown,
        (ConnectionError::TransportError(_), Some(reason)) => ConnectError::Refused(reason),
        (_, Some(reason)) => ConnectError::Closed(reason),
    }
}

/// The cryptographic library refused our settings.
#[derive(Debug, Clone, thiserror::Error)]
#[error("TLS: {0}")]
pub struct CryptoError(String);

impl From<rustls::Error> for CryptoError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<NoInitialCipherSuite> for CryptoError {
    fn from(error: NoInitialCipherSuite) -> Self {
        Self(error.to_string())
    }
}

impl From<CryptoError> for ConnectError {
    fn from(error: CryptoError) -> Self {
        Self::Closed(CloseReason::Lost(error.to_string()))
    }
}
