//! One attempt at a connection, from str0m's first state to the peer's proof of who it is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::{ConnectionAuth, NONCE_LEN, announce, announced};
use mina_p2p_wire::{ChainId, PROTOCOL_VERSION, PublicKey, SecretKey};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::{Candidate, Rtc};
use tokio::sync::{mpsc, oneshot};

use super::ConnectStep;
use super::demux::{Demux, Registration};
use super::driver::{Driver, Identities, Plan, channel_config};
use super::guard::{self, Guard};
use super::limits::{INITIAL_CHECK_TIMEOUT, MAX_IN_SCTP, MAX_MESSAGE, MAX_RECEIVED_MESSAGE};
use super::link::WebRtcLink;
use super::mailbox::{Datagrams, mailbox};
use super::sdp::{self, SdpFault};
use super::streams::Queues;
use crate::udp::Port;
use crate::{CloseReason, ConnectError};

/// A socket, and who uses it.
#[derive(Clone)]
pub(super) struct Attached {
    pub(super) port: Arc<Port>,
    pub(super) demux: Arc<Demux>,
}

/// Where a connection can be reached: the socket's addresses, each with the one that it is based on.
pub(super) struct LocalAddress {
    pub(super) base: SocketAddr,
    /// As the world sees it, if that is known and differs.
    pub(super) reflexive: Option<SocketAddr>,
}

/// What both ends of a connection know from the start.
pub(super) struct Attempt {
    rtc: Rtc,
    guard: Guard,
    ports: Vec<(Arc<Port>, Registration)>,
    datagrams: Datagrams,
}

/// An offer of ours that waits for its answer.
pub(super) struct Offered {
    attempt: Attempt,
    pending: SdpPendingOffer,
    proof_channel: ChannelId,
    pub(super) sdp: String,
}

/// A connection that is being made. Dropped, the attempt ends.
pub(super) struct Connecting {
    pub(super) link: WebRtcLink,
    pub(super) proved: oneshot::Receiver<Result<SocketAddr, ConnectError>>,
    /// What the peer says of itself, if it is of our own kind.
    pub(super) hello: Option<Hello>,
}

/// Who makes it with whom, and by when.
pub(super) struct Parties<'a> {
    pub(super) own: &'a SecretKey,
    pub(super) peer: PublicKey,
    pub(super) chain: ChainId,
    pub(super) limit: Duration,
    /// Kept as long as the connection is driven.
    pub(super) driven: Option<mpsc::Sender<Infallible>>,
    pub(super) steps: Option<mpsc::UnboundedSender<ConnectStep>>,
}

impl Attempt {
    pub(super) fn new(certificate: DtlsCert, attached: &[Attached], addresses: &[LocalAddress]) -> Self {
        let mut config = Rtc::builder()
            .clear_codecs()
            .set_dtls_cert(certificate)
            // Between two of ours 1.3, which takes a round trip less; the existing node speaks 1.2.
            .set_dtls_version(DtlsVersion::Auto)
            // Saves two round trips between two of ours.
            .set_snap_enabled(true)
            .set_sctp_max_buffered_amount(MAX_IN_SCTP + MAX_MESSAGE)
            .set_sctp_max_message_size(MAX_RECEIVED_MESSAGE);
        config.set_initial_stun_rto(INITIAL_CHECK_TIMEOUT);
        let (mut rtc, guard) = guard::build(config, std::time::Instant::now());
        for LocalAddress { base, reflexive } in addresses {
            let reflexive = reflexive.map(|seen| Candidate::server_reflexive(seen, *base, "udp"));
            for candidate in [Some(Candidate::host(*base, "udp")), reflexive].into_iter().flatten() {
                match candidate {
                    Ok(candidate) => drop(rtc.add_local_candidate(candidate)),
                    Err(error) => tracing::debug!(%base, %error, "address not offered"),
                }
            }
        }
        let user = rtc.direct_api().local_ice_credentials().ufrag;
        let (sender, datagrams) = mailbox();
        let ports =
            attached.iter().map(|one| (one.port.clone(), one.demux.register(user.clone(), sender.clone()))).collect();
        Self { rtc, guard, ports, datagrams }
    }

    /// Makes an offer. `hello` is what it says of us to our own kind.
    pub(super) fn offer(mut self, hello: &Hello) -> Result<Offered, ConnectError> {
        let mut changes = self.rtc.sdp_api();
        let proof_channel = changes.add_channel_with_config(channel_config(None));
        let (offer, pending) = changes.apply().ok_or_else(|| unusable("our offer has no changes"))?;
        let mut sdp = offer.to_sdp_string();
        announce(&mut sdp, hello);
        Ok(Offered { attempt: self, pending, proof_channel, sdp })
    }

    /// Answers an offer. Answers our description.
    pub(super) fn answer(
        mut self,
        offer: &str,
        hello: &Hello,
        parties: Parties<'_>,
    ) -> Result<(String, Connecting), SdpFault> {
        let theirs = read_announcement(offer, parties.chain).map_err(|error| SdpFault::Unusable(error.to_string()))?;
        let failed = |error: &dyn std::error::Error| SdpFault::Unusable(error.to_string());
        let parsed = SdpOffer::from_sdp_string(offer).map_err(|error| failed(&error))?;
        let answer = self.rtc.sdp_api().accept_offer(parsed).map_err(|error| failed(&error))?;
        let mut sdp = answer.to_sdp_string();
        announce(&mut sdp, hello);
        let auth = ConnectionAuth::new(offer, &sdp);
        let connecting = self.connect(auth, theirs, parties, None).map_err(|error| failed(&error))?;
        Ok((sdp, connecting))
    }

    fn connect(
        self,
        auth: ConnectionAuth,
        hello: Option<Hello>,
        parties: Parties<'_>,
        proof_channel: Option<ChannelId>,
    ) -> Result<Connecting, ConnectError> {
        let Parties { own, peer, limit, driven, steps, .. } = parties;
        let proof = auth.seal(own, &peer, nonce()?).map_err(|error| unusable(&error.to_string()))?;
        let queues = Queues::new();
        let (proved, waits) = oneshot::channel();
        let plan = Plan {
            rtc: self.rtc,
            guard: self.guard,
            ports: self.ports,
            datagrams: self.datagrams,
            queues: queues.clone(),
            identities: Identities { own: own.clone(), peer, auth, proof, is_ours: hello.is_some() },
            dialed: proof_channel.is_some(),
            limit,
            proved,
            steps,
            proof_channel,
        };
        let driver = Driver::new(plan);
        tokio::spawn(async move {
            driver.run().await;
            drop(driven);
        });
        // Known when the peer has proved itself.
        let remote = SocketAddr::from(([0, 0, 0, 0], 0));
        Ok(Connecting { link: WebRtcLink { queues, remote }, proved: waits, hello })
    }
}

impl Offered {
    /// Goes on with the peer's answer.
    pub(super) fn answered(self, answer: &str, parties: Parties<'_>) -> Result<Connecting, ConnectError> {
        sdp::check(answer).map_err(|fault| unusable(&fault.to_string()))?;
        let hello = read_announcement(answer, parties.chain)?;
        let Self { mut attempt, pending, proof_channel, sdp } = self;
        let parsed = SdpAnswer::from_sdp_string(answer).map_err(|error| unusable(&error.to_string()))?;
        attempt.rtc.sdp_api().accept_answer(pending, parsed).map_err(|error| unusable(&error.to_string()))?;
        attempt.connect(ConnectionAuth::new(&sdp, answer), hello, parties, Some(proof_channel))
    }
}

/// What a peer of our own kind says of itself in its description. Nothing there is a promise yet: the proof covers it.
fn read_announcement(sdp: &str, chain: ChainId) -> Result<Option<Hello>, ConnectError> {
    let hello =
        announced(sdp).map_err(|error| ConnectError::Refused(CloseReason::MalformedHello(error.to_string())))?;
    match hello {
        Some(hello) if hello.chain_id != chain => Err(ConnectError::Refused(CloseReason::WrongChain)),
        Some(hello) if hello.protocol_version < PROTOCOL_VERSION => {
            Err(ConnectError::Refused(CloseReason::IncompatibleVersion))
        }
        hello => Ok(hello),
    }
}

fn unusable(what: &str) -> ConnectError {
    ConnectError::Signaling(format!("unusable session description: {what}"))
}

/// A nonce from the system's randomness.
pub(super) fn nonce() -> Result<[u8; NONCE_LEN], ConnectError> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| ConnectError::Signaling(format!("no randomness: {error}")))?;
    Ok(nonce)
}
