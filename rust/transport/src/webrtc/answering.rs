//! The answering side: offers of strangers, and those who prove who they are.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, Weak};

use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::{Answer, Offer, RejectionReason, SignalingResponse};
use tokio::sync::{mpsc, watch};

use super::attempt::Connecting;
use super::endpoint::Inner;
use super::http::OfferHandler;
use super::sdp;
use crate::admission::{Place, Verdict};
use crate::connection::{LinkConnection, Shared};
use crate::transport::{BoxFuture, IncomingImpl};
use crate::{CloseReason, ConnectError, Connection, Direction, Incoming, Listener, TransportKind};

/// How an offer came. Only by this, never by what it says itself, we know whether its sender is on this machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// By HTTP, from this address.
    Http(IpAddr),
    /// By a relay.
    Relay { is_local: bool },
}

impl Origin {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Http(address) => Some(address),
            Self::Relay { .. } => None,
        }
    }

    fn is_local(self) -> bool {
        match self {
            Self::Http(address) => address.to_canonical().is_loopback(),
            Self::Relay { is_local } => is_local,
        }
    }
}

impl Inner {
    /// Answers an offer of a stranger.
    pub(super) async fn answer(self: &Arc<Self>, offer: Offer, from: Origin) -> SignalingResponse {
        match self.admit(&offer, from) {
            Ok((hello, place)) => match self.respond(&offer, hello, from, place).await {
                Ok(answer) => SignalingResponse::Accepted(answer),
                Err(error) => {
                    tracing::debug!(peer = %offer.identity_pub_key.peer_id(), ?from, %error, "offer not answered");
                    self.counters.unusable_offer();
                    SignalingResponse::InternalError
                }
            },
            Err(reason) => {
                tracing::debug!(peer = %offer.identity_pub_key.peer_id(), ?from, reason = reason.name(), "offer rejected");
                SignalingResponse::Rejected(reason)
            }
        }
    }

    /// The checks, in the existing node's order.
    fn admit(&self, offer: &Offer, from: Origin) -> Result<(Hello, Place), RejectionReason> {
        let peer = offer.identity_pub_key.peer_id();
        if offer.chain_id != self.chain {
            return Err(RejectionReason::ChainIdMismatch);
        }
        if offer.target_peer_id != self.ours {
            return Err(RejectionReason::TargetPeerIdNotMe);
        }
        if peer == self.ours {
            return Err(RejectionReason::ConnectingToSelf);
        }
        let desk = self.desk.read().unwrap_or_else(PoisonError::into_inner).clone();
        let hello = desk.ok_or(RejectionReason::PeerCapacityFull)?.judge(peer, from.address())?;
        // Whoever asks by HTTP has shown its address.
        let verdict = match from.address() {
            Some(from) => self.admission.judge(from, true),
            None => self.admission.judge_unplaced(),
        };
        match verdict {
            Verdict::Admit(place) => Ok((hello, place)),
            Verdict::Retry | Verdict::Refuse => Err(RejectionReason::PeerCapacityFull),
        }
    }

    async fn respond(
        self: &Arc<Self>,
        offer: &Offer,
        hello: Hello,
        from: Origin,
        place: Place,
    ) -> Result<Answer, ConnectError> {
        let unusable = |fault: sdp::SdpFault| ConnectError::Signaling(fault.to_string());
        sdp::check(&offer.sdp).map_err(unusable)?;
        let attempt = self.attempt(&self.answering, from.is_local()).await?;
        let peer = offer.identity_pub_key;
        let (sdp, connecting) = attempt.answer(&offer.sdp, &hello, self.parties(peer, None)).map_err(unusable)?;
        let inner = self.clone();
        tokio::spawn(async move { inner.arrive(connecting, peer.peer_id(), place).await });
        Ok(Answer { sdp, identity_pub_key: self.key.public_key(), target_peer_id: peer.peer_id() })
    }

    /// Waits for the proof of whoever was answered.
    async fn arrive(self: Arc<Self>, mut connecting: Connecting, peer: PeerId, place: Place) {
        let proof = async { (&mut connecting.proved).await.unwrap_or(Err(ConnectError::ShutDown)) };
        let proved = self.until_shutdown(proof).await;
        let shared = proved.and_then(|remote| {
            place.proved();
            self.share(connecting, peer, remote)
        });
        match shared {
            Ok((shared, hello)) => {
                let incoming = Incoming {
                    peer,
                    transport: TransportKind::WebRtc,
                    hello: hello.clone(),
                    remote_address: shared.remote_address(),
                    inner: Box::new(Proved { shared: Some(shared), hello, _place: place }),
                };
                // There is a place for each; whoever has gone does not miss it.
                drop(self.arrivals.send(incoming).await);
            }
            Err(error) => {
                tracing::debug!(%peer, reason = %error, "answered, not connected");
                self.counters.failed(&error);
            }
        }
    }
}

/// Offers by HTTP.
pub(super) struct Handler(pub(super) Weak<Inner>);

impl OfferHandler for Handler {
    fn offer(&self, from: IpAddr, offer: Offer) -> BoxFuture<'_, SignalingResponse> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(inner) => inner.answer(offer, Origin::Http(from)).await,
                None => SignalingResponse::InternalError,
            }
        })
    }
}

/// Whoever has proved who it is, and waits for our proof.
struct Proved {
    /// Taken when the node has decided.
    shared: Option<Arc<Shared>>,
    hello: Option<Hello>,
    _place: Place,
}

impl IncomingImpl for Proved {
    /// Our `Hello` went with the answer: what is left is our own proof, which the driver sends.
    fn accept(
        mut self: Box<Self>,
        _our_hello: &Hello,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, ConnectError>> {
        let shared = self.shared.take();
        Box::pin(async move {
            let shared = shared.ok_or(ConnectError::ShutDown)?;
            shared.accept();
            Ok(LinkConnection::establish(shared, self.hello.take(), Direction::Accepted))
        })
    }

    fn refuse(mut self: Box<Self>, reason: CloseReason) {
        if let Some(shared) = self.shared.take() {
            shared.close(reason);
        }
    }
}

/// Where they arrive.
pub(super) struct WebRtcListener {
    pub(super) address: SocketAddr,
    pub(super) arrived: Arc<tokio::sync::Mutex<mpsc::Receiver<Incoming>>>,
    pub(super) shutdown: watch::Receiver<bool>,
}

impl Listener for WebRtcListener {
    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async {
            let mut shutdown = self.shutdown.clone();
            let mut arrived = self.arrived.lock().await;
            tokio::select! {
                _ = shutdown.wait_for(|shut| *shut) => None,
                incoming = arrived.recv() => incoming,
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}
