//! One dial, from the name to the peer's first message.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mina_p2p_transport::webrtc::StunServer;
use mina_p2p_transport::{CloseReason, ConnectError, ConnectStep, Connection, Limits, Transport, TransportKind};
use mina_p2p_transport::{quic, webrtc};
use mina_p2p_wire::message::{Capabilities, Hello};
use mina_p2p_wire::{Address, ChainId, PROTOCOL_VERSION, SecretKey};
use tokio::time::timeout;

use super::first::{Silence, first_message};
use super::stage::Stage;
use crate::failure::Failure;

/// How we name ourselves to the peer.
const AGENT: &str = concat!("mina-p2p dial ", env!("CARGO_PKG_VERSION"));

/// What all dials of one command have in common.
pub(super) struct Plan {
    pub(super) address: Address,
    pub(super) chain: ChainId,
    pub(super) timeout: Duration,
    pub(super) stun: Vec<StunServer>,
}

/// A step that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) stage: Stage,
    /// Since the start.
    pub(super) at: Duration,
    /// Since the step before.
    pub(super) since: Duration,
    pub(super) detail: String,
}

/// Who was reached.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// What it says of itself, if it is of our own kind.
    pub(super) hello: Option<Hello>,
    pub(super) remote: SocketAddr,
    pub(super) rtt: Duration,
}

/// Why a dial stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    #[error("{0}")]
    Connect(ConnectError),
    #[error("not within the {0:?} that the dial may take")]
    TimedOut(Duration),
    #[error("{0}")]
    Silent(Silence),
}

/// What became of a dial.
pub(super) struct Outcome {
    pub(super) steps: Vec<Step>,
    /// Known from authentication on.
    pub(super) peer: Option<Peer>,
    pub(super) cause: Option<Cause>,
}

/// The steps so far. Each is noted once: ICE may find a path twice, and QUIC may try several addresses.
struct Log<'a> {
    start: Instant,
    steps: Mutex<Vec<Step>>,
    tell: &'a (dyn Fn(&Step) + Sync),
}

impl Log<'_> {
    fn note(&self, stage: Stage, detail: String) {
        let at = self.start.elapsed();
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.iter().any(|step| step.stage == stage) {
            return;
        }
        let since = at.saturating_sub(steps.last().map_or(Duration::ZERO, |last| last.at));
        let step = Step { stage, at, since, detail };
        (self.tell)(&step);
        steps.push(step);
    }
}

/// The transport that an address needs.
enum Dialer {
    Quic(quic::Endpoint),
    WebRtc(webrtc::Endpoint),
}

impl Plan {
    pub(super) fn kind(&self) -> TransportKind {
        match self.address {
            Address::WebRtc { .. } => TransportKind::WebRtc,
            Address::Quic { .. } | Address::Libp2p { .. } => TransportKind::Quic,
        }
    }

    /// Dials as the node with `key`; `tell` hears each step as it is reached.
    pub(super) async fn dial(&self, key: SecretKey, tell: &(dyn Fn(&Step) + Sync)) -> Result<Outcome, Failure> {
        let dialer = self.dialer(key)?;
        let log = Log { start: Instant::now(), steps: Mutex::default(), tell };
        let mut peer = None;
        let cause = match timeout(self.timeout, self.reach(&dialer, &log, &mut peer)).await {
            Ok(Ok(())) => None,
            Ok(Err(cause)) => Some(cause),
            Err(_) => Some(Cause::TimedOut(self.timeout)),
        };
        // The peer shall know at once that its place is free.
        dialer.transport().shutdown(CloseReason::Shutdown).await;
        Ok(Outcome { steps: log.steps.into_inner().unwrap_or_else(PoisonError::into_inner), peer, cause })
    }

    fn dialer(&self, key: SecretKey) -> Result<Dialer, Failure> {
        let no_start = |error: &dyn std::error::Error| Failure::NoStart(error.to_string());
        let mut limits = Limits::default();
        limits.authentication_timeout = limits.authentication_timeout.min(self.timeout);
        if self.kind() == TransportKind::Quic {
            let endpoint = quic::Endpoint::new(key, self.chain, limits).map_err(|error| no_start(&error))?;
            return Ok(Dialer::Quic(endpoint));
        }
        let config = webrtc::Config { stun_servers: self.stun.clone(), ..webrtc::Config::default() };
        let endpoint = webrtc::Endpoint::new(key, self.chain, limits, config).map_err(|error| no_start(&error))?;
        Ok(Dialer::WebRtc(endpoint))
    }

    /// What we say of ourselves: nothing that would make the peer ask for more.
    fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            chain_id: self.chain,
            capabilities: Capabilities::empty(),
            listen_addresses: Vec::new(),
            agent: AGENT.to_owned(),
            identity_signature: None,
        }
    }

    async fn reach(&self, dialer: &Dialer, log: &Log<'_>, peer: &mut Option<Peer>) -> Result<(), Cause> {
        let observe = |step: ConnectStep| {
            if let Some((stage, detail)) = Stage::reached(&step) {
                log.note(stage, detail);
            }
        };
        let hello = self.hello();
        let connection = match dialer {
            Dialer::Quic(endpoint) => endpoint.connect_observed(&self.address, &hello, &observe).await,
            Dialer::WebRtc(endpoint) => endpoint.connect_observed(&self.address, &hello, &observe).await,
        };
        let connection = connection.map_err(Cause::Connect)?;
        *peer = Some(Peer::of(&connection));
        let message = first_message(&connection).await.map_err(Cause::Silent)?;
        log.note(Stage::FirstMessage, message.to_string());
        // It is better known by now.
        *peer = Some(Peer::of(&connection));
        Ok(())
    }
}

impl Dialer {
    fn transport(&self) -> &dyn Transport {
        match self {
            Self::Quic(endpoint) => endpoint,
            Self::WebRtc(endpoint) => endpoint,
        }
    }
}

impl Peer {
    fn of(connection: &Arc<dyn Connection>) -> Self {
        let hello = connection.remote_hello().cloned();
        Self { hello, remote: connection.remote_address(), rtt: connection.rtt() }
    }
}
