//! The WebRTC transport of a node: offers, answers and what comes of them.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::{Offer, RejectionReason, SignalingResponse};
use mina_p2p_wire::{Address, ChainId, Host, PeerId, PublicKey, SecretKey};
use rustls::pki_types::CertificateDer;
use str0m::config::DtlsCert;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::answering::{Handler, Origin, WebRtcListener};
use super::attempt::{Attached, Attempt, Connecting, LocalAddress, Offered, Parties, nonce};
use super::figures::{Counters, Figures};
use super::http::{self, HttpCounters, HttpLimits, HttpsRoots, SIGNALING_TIMEOUT, SignalingFailure};
use super::limits::AUTHENTICATION_TIMEOUT;
use super::reflexive::Reflexive;
use super::sockets::{attach, read, suitable};
use super::{ConnectStep, sdp};
use crate::admission::Admission;
use crate::connection::{LinkConnection, Shared};
use crate::limits::SHUTDOWN_TIMEOUT;
use crate::transport::BoxFuture;
use crate::udp::Port;
use crate::{
    CloseReason, ConnectError, Connection, Direction, Incoming, Limits, ListenError, Listener, Transport, TransportKind,
};

/// How a WebRTC endpoint is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who tells us our address as the world sees it (STUN, RFC 8489). None: nobody is asked.
    pub stun_servers: Vec<StunServer>,
    /// HTTP proxies in front of the signaling server, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Certificates (DER) that HTTPS signaling trusts beside the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// [`AUTHENTICATION_TIMEOUT`].
    pub authentication_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stun_servers: Vec::new(),
            trusted_proxies: Vec::new(),
            extra_roots: Vec::new(),
            authentication_timeout: AUTHENTICATION_TIMEOUT,
        }
    }
}

/// A STUN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer {
    /// Its host.
    pub host: Host,
    /// Its UDP port.
    pub port: u16,
}

/// What an endpoint asks its node about offers.
pub trait OfferDesk: Send + Sync {
    /// Judges an offer of whoever says to be `peer`, which nothing proves yet. `from` is where it came from by HTTP; by a
    /// relay there is none. Answers our `Hello`, which goes with the answer.
    ///
    /// # Errors
    /// Why it is refused. Chain, target and ourselves have been looked at already.
    fn judge(&self, peer: PeerId, from: Option<IpAddr>) -> Result<Hello, RejectionReason>;
}

/// A node's WebRTC transport. A clone is the same transport. All of it must be used inside a tokio runtime.
///
/// It answers offers from the UDP ports that it was given, and dials from ports of its own: two nodes that dial each other at
/// once then have two pairs of addresses, and no datagram can be taken for the other connection's.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) key: SecretKey,
    pub(super) ours: PeerId,
    pub(super) chain: ChainId,
    limits: Arc<Limits>,
    pub(super) config: Config,
    roots: HttpsRoots,
    /// One for all connections, made anew in each run of the node.
    certificate: DtlsCert,
    pub(super) admission: Arc<Admission>,
    reflexive: Reflexive,
    pub(super) answering: Mutex<Vec<Attached>>,
    dialing: Mutex<Vec<Attached>>,
    pub(super) desk: RwLock<Option<Arc<dyn OfferDesk>>>,
    pub(super) arrivals: mpsc::Sender<Incoming>,
    arrived: Arc<tokio::sync::Mutex<mpsc::Receiver<Incoming>>>,
    signaling: OnceLock<SocketAddr>,
    http: Arc<HttpCounters>,
    pub(super) counters: Counters,
    connections: Mutex<Vec<Weak<Shared>>>,
    /// Each task that drives a connection has a clone: when all are gone, every peer has been told of its end.
    driven: Mutex<Option<mpsc::Sender<Infallible>>>,
    parted: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
    shutdown: watch::Sender<bool>,
}

/// It cannot be made: the cryptographic library gave no certificate.
#[derive(Debug, Clone, thiserror::Error)]
#[error("WebRTC: {0}")]
pub struct EndpointError(String);

impl Endpoint {
    /// A transport for the node with this key on this chain. It has no socket yet.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(key: SecretKey, chain: ChainId, limits: Limits, config: Config) -> Result<Self, EndpointError> {
        let limits = Arc::new(limits);
        let provider = str0m::crypto::from_feature_flags();
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| EndpointError("no certificate could be made".to_owned()))?;
        let (arrivals, arrived) = mpsc::channel(limits.max_pending_handshakes.max(1));
        let (driven, parted) = mpsc::channel(1);
        let roots = config.extra_roots.iter().cloned().map(CertificateDer::from).collect();
        let inner = Inner {
            ours: key.peer_id(),
            key,
            chain,
            admission: Admission::new(limits.clone()),
            limits,
            roots: HttpsRoots::new(roots),
            config,
            certificate,
            reflexive: Reflexive::default(),
            answering: Mutex::default(),
            dialing: Mutex::default(),
            desk: RwLock::default(),
            arrivals,
            arrived: Arc::new(tokio::sync::Mutex::new(arrived)),
            signaling: OnceLock::new(),
            http: Arc::default(),
            counters: Counters::default(),
            connections: Mutex::default(),
            driven: Mutex::new(Some(driven)),
            parted: tokio::sync::Mutex::new(parted),
            shutdown: watch::Sender::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers from this UDP port. Somebody else reads it: QUIC, which may use it too, or [`Port::read_alone`].
    pub fn listen_on(&self, port: Arc<Port>) {
        lock(&self.inner.answering).push(attach(port));
    }

    /// Judges offers by this from now on. Without it every offer is refused.
    pub fn set_desk(&self, desk: Arc<dyn OfferDesk>) {
        *self.inner.desk.write().unwrap_or_else(PoisonError::into_inner) = Some(desk);
    }

    /// Takes offers by HTTP on this TCP address; port 0 lets the system choose. Answers the address in use.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn listen_signaling(&self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let inner = &self.inner;
        if *inner.shutdown.borrow() {
            return Err(ListenError::ShutDown);
        }
        let failed = |cause| ListenError::Socket { address, cause };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let limits = HttpLimits {
            trusted_proxies: inner.config.trusted_proxies.clone(),
            exempt_loopback: inner.limits.exempt_loopback,
            ..HttpLimits::default()
        };
        let handler = Arc::new(Handler(Arc::downgrade(inner)));
        tokio::spawn(http::serve(listener, handler, limits, inner.http.clone(), inner.shutdown.subscribe()));
        // The first one is told to peers.
        let _ = inner.signaling.set(local);
        Ok(local)
    }

    /// Where those arrive whose offers were answered, however these came.
    pub fn incoming(&self) -> Box<dyn Listener> {
        let inner = &self.inner;
        let bound = lock(&inner.answering).first().map(|one| one.port.local_addr());
        let address = bound.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Box::new(WebRtcListener { address, arrived: inner.arrived.clone(), shutdown: inner.shutdown.subscribe() })
    }

    /// What became of offers and attempts since the start.
    pub fn figures(&self) -> Figures {
        self.inner.counters.figures(&self.inner.http, self.inner.admission.pending())
    }

    /// As [`Transport::connect`], and tells how far it has come.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_observed(
        &self,
        address: &Address,
        our_hello: &Hello,
        observe: &(dyn Fn(ConnectStep) + Sync),
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let inner = &self.inner;
        let unsupported = || ConnectError::UnsupportedAddress(address.to_string());
        let Address::WebRtc { peer_id, signaling } = address else { return Err(unsupported()) };
        // A relay introduces whom it chooses; see `offer_through_relay`.
        let Some(host) = signaling.host() else { return Err(unsupported()) };
        let peer = PublicKey::from_bytes(peer_id.to_bytes()).map_err(|_| unsupported())?;
        let dial = async {
            let offered = inner.offer(our_hello, is_local(host)).await?;
            let offer = inner.describe(&offered, peer);
            let posted = http::post_offer(signaling, &offer, &inner.roots, SIGNALING_TIMEOUT, observe).await;
            let response = posted.map_err(|failure| signaling_failure(&failure))?.response;
            inner.follow(offered, peer, response, observe).await
        };
        inner.until_shutdown(dial).await
    }

    /// Makes an offer that a relay is to hand to `target`, sealed for it. Where the relay is on this machine, the target may
    /// be too: then the offer has a loopback address.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn offer_through_relay(
        &self,
        target: PublicKey,
        our_hello: &Hello,
        relay_is_local: bool,
    ) -> Result<(Bytes, RelayedOffer), ConnectError> {
        let offered = self.inner.offer(our_hello, relay_is_local).await?;
        let offer = self.inner.describe(&offered, target);
        let sealed = offer.seal(&self.inner.key, &target, nonce()?);
        let sealed = sealed.map_err(|error| ConnectError::Signaling(error.to_string()))?;
        Ok((sealed.into(), RelayedOffer { inner: self.inner.clone(), offered, target }))
    }

    /// Answers a sealed offer that a relay handed over. The connection arrives at [`Endpoint::incoming`]. `None` when there
    /// is no answer that the offerer could read. Where the relay is on this machine, the offerer may be too.
    pub async fn answer_through_relay(&self, offerer: PublicKey, sealed: Bytes, relay_is_local: bool) -> Option<Bytes> {
        let inner = &self.inner;
        let response = match Offer::open(&inner.key, &offerer, &sealed) {
            Ok(offer) if offer.identity_pub_key == offerer => {
                inner.answer(offer, Origin::Relay { is_local: relay_is_local }).await
            }
            Ok(_) => SignalingResponse::SignalDecryptionFailed,
            Err(error) => {
                tracing::debug!(offerer = %offerer.peer_id(), %error, "relayed offer not understood");
                SignalingResponse::SignalDecryptionFailed
            }
        };
        let sealed = response.seal(&inner.key, &offerer, nonce().ok()?).ok()?;
        Some(sealed.into())
    }
}

/// An offer of ours that waits for its answer. Dropped, the attempt ends.
#[must_use = "an offer waits for its answer"]
pub struct RelayedOffer {
    inner: Arc<Inner>,
    offered: Offered,
    target: PublicKey,
}

impl RelayedOffer {
    /// Goes on with the sealed answer, or ends if there is none.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn answered(self, sealed: Option<Bytes>) -> Result<Arc<dyn Connection>, ConnectError> {
        let Self { inner, offered, target } = self;
        let none = || ConnectError::Signaling("the relay has no answer".to_owned());
        let response = SignalingResponse::open(&inner.key, &target, &sealed.ok_or_else(none)?)
            .map_err(|error| ConnectError::Signaling(error.to_string()))?;
        inner.until_shutdown(inner.follow(offered, target, response, &|_| ())).await
    }
}

impl Inner {
    /// Does `work`, and gives it up when the transport is shut down.
    pub(super) async fn until_shutdown<T>(
        &self,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let mut shutdown = self.shutdown.subscribe();
        tokio::select! {
            biased;
            // Fails only without a sender, and we have it.
            _ = shutdown.wait_for(|shut| *shut) => Err(ConnectError::ShutDown),
            done = work => done,
        }
    }

    /// Begins an attempt of ours with an offer.
    async fn offer(&self, our_hello: &Hello, peer_is_local: bool) -> Result<Offered, ConnectError> {
        let attempt = self.attempt(&self.dialing, peer_is_local).await?;
        attempt.offer(our_hello)
    }

    fn describe(&self, offered: &Offered, target: PublicKey) -> Offer {
        // The existing node tells others to dial this. Where nobody can, it is told no port.
        let told = self.signaling.get().filter(|address| !address.ip().is_unspecified());
        let host = match told.map(SocketAddr::ip) {
            Some(IpAddr::V4(v4)) => Host::Ipv4(v4),
            Some(IpAddr::V6(v6)) => Host::Ipv6(v6),
            None => Host::Ipv4(Ipv4Addr::LOCALHOST),
        };
        Offer {
            sdp: offered.sdp.clone(),
            chain_id: self.chain,
            identity_pub_key: self.key.public_key(),
            target_peer_id: target.peer_id(),
            host,
            listen_port: told.map(SocketAddr::port),
        }
    }

    /// Goes on with what the target said to our offer.
    async fn follow(
        &self,
        offered: Offered,
        peer: PublicKey,
        response: SignalingResponse,
        observe: &(dyn Fn(ConnectStep) + Sync),
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let answer = match response {
            SignalingResponse::Accepted(answer) => answer,
            SignalingResponse::Rejected(reason) => return Err(rejection(&reason)),
            SignalingResponse::SignalDecryptionFailed => {
                return Err(ConnectError::Signaling("the peer could not read our offer".to_owned()));
            }
            SignalingResponse::InternalError => {
                return Err(ConnectError::Signaling("the peer has met an internal error".to_owned()));
            }
        };
        if answer.identity_pub_key != peer || answer.target_peer_id != self.ours {
            return Err(ConnectError::Refused(CloseReason::WrongIdentity));
        }
        let (steps, mut told) = mpsc::unbounded_channel();
        let mut connecting = offered.answered(&answer.sdp, self.parties(peer, Some(steps)))?;
        let proved = loop {
            tokio::select! {
                biased;
                Some(step) = told.recv() => observe(step),
                proved = &mut connecting.proved => break proved,
            }
        };
        while let Ok(step) = told.try_recv() {
            observe(step);
        }
        let remote = proved.unwrap_or(Err(ConnectError::ShutDown)).inspect_err(|error| self.counters.failed(error))?;
        observe(ConnectStep::Authenticated);
        let (shared, hello) = self.share(connecting, peer.peer_id(), remote)?;
        Ok(LinkConnection::establish(shared, hello, Direction::Dialed))
    }

    pub(super) fn parties(&self, peer: PublicKey, steps: Option<mpsc::UnboundedSender<ConnectStep>>) -> Parties<'_> {
        Parties {
            own: &self.key,
            peer,
            chain: self.chain,
            limit: self.config.authentication_timeout,
            driven: lock(&self.driven).clone(),
            steps,
        }
    }

    pub(super) fn share(
        &self,
        connecting: Connecting,
        peer: PeerId,
        remote: SocketAddr,
    ) -> Result<(Arc<Shared>, Option<Hello>), ConnectError> {
        let Connecting { mut link, hello, .. } = connecting;
        link.remote = remote;
        let shared = Shared::new(peer, self.limits.clone(), Box::new(link));
        let mut connections = lock(&self.connections);
        if *self.shutdown.borrow() {
            return Err(ConnectError::ShutDown);
        }
        connections.retain(|known| known.strong_count() > 0);
        connections.push(Arc::downgrade(&shared));
        Ok((shared, hello))
    }

    /// A fresh attempt from these sockets, made if there are none yet.
    pub(super) async fn attempt(
        &self,
        sockets: &Mutex<Vec<Attached>>,
        peer_is_local: bool,
    ) -> Result<Attempt, ConnectError> {
        if *self.shutdown.borrow() {
            return Err(ConnectError::ShutDown);
        }
        let attached = suitable(&mut lock(sockets), peer_is_local)?;
        let mut addresses = Vec::new();
        for Attached { port, demux } in &attached {
            let reflexive = match peer_is_local {
                true => None,
                false => self.reflexive.of(port, demux, &self.config.stun_servers).await,
            };
            let hosts = sdp::host_addresses(port.local_addr(), peer_is_local);
            let reflexive = reflexive.filter(|seen| !hosts.contains(seen));
            let default = hosts.iter().position(|host| !host.ip().is_loopback());
            addresses.extend(hosts.iter().enumerate().map(|(index, base)| LocalAddress {
                base: *base,
                reflexive: reflexive.filter(|_| Some(index) == default),
            }));
        }
        Ok(Attempt::new(self.certificate.clone(), &attached, &addresses))
    }
}

fn is_local(host: &Host) -> bool {
    match host.ip() {
        Some(ip) => ip.is_loopback(),
        None => host.to_string() == "localhost",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signaling_failure(failure: &SignalingFailure) -> ConnectError {
    ConnectError::Signaling(failure.to_string())
}

/// What an answerer's reason means to us.
fn rejection(reason: &RejectionReason) -> ConnectError {
    ConnectError::Closed(match reason {
        RejectionReason::ChainIdMismatch => CloseReason::WrongChain,
        RejectionReason::TargetPeerIdNotMe => CloseReason::WrongIdentity,
        RejectionReason::PeerCapacityFull => CloseReason::Capacity,
        RejectionReason::AlreadyConnected => CloseReason::Duplicate,
        RejectionReason::ConnectingToSelf => CloseReason::SelfConnection,
        other => return ConnectError::Signaling(format!("the peer rejected our offer: {other}")),
    })
}

impl Transport for Endpoint {
    fn kind(&self) -> TransportKind {
        TransportKind::WebRtc
    }

    /// Dials an [`Address::WebRtc`] whose signaling goes by HTTP.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        our_hello: &'a Hello,
    ) -> BoxFuture<'a, Result<Arc<dyn Connection>, ConnectError>> {
        Box::pin(self.connect_observed(address, our_hello, &|_| ()))
    }

    /// Binds a UDP port of its own, to answer from. Offers come by [`Endpoint::listen_signaling`] or by relays.
    fn listen(&self, address: SocketAddr) -> Result<Box<dyn Listener>, ListenError> {
        if *self.inner.shutdown.borrow() {
            return Err(ListenError::ShutDown);
        }
        let port = Port::bind(address).map_err(|cause| ListenError::Socket { address, cause })?;
        self.listen_on(read(port));
        Ok(self.incoming())
    }

    fn shutdown(&self, reason: CloseReason) -> BoxFuture<'_, ()> {
        let inner = self.inner.clone();
        inner.shutdown.send_replace(true);
        let connections: Vec<_> = lock(&inner.connections).drain(..).filter_map(|known| known.upgrade()).collect();
        for shared in &connections {
            shared.close(reason.clone());
        }
        Box::pin(async move {
            drop(connections);
            inner.parted().await;
            inner.close_ports();
        })
    }
}

impl Inner {
    /// Waits until no connection is driven any more, for as long as a shutdown may take.
    async fn parted(&self) {
        drop(lock(&self.driven).take());
        // Whoever has not heard it by then will notice by its silence.
        drop(timeout(SHUTDOWN_TIMEOUT, self.parted.lock().await.recv()).await);
    }

    fn close_ports(&self) {
        for sockets in [&self.answering, &self.dialing] {
            for attached in lock(sockets).drain(..) {
                attached.port.close();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close_ports();
    }
}
