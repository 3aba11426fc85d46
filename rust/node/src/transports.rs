//! The transports of a node, and where it listens.

use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(feature = "quic")]
use mina_p2p_transport::quic;
use mina_p2p_transport::udp::Port;
#[cfg(feature = "webrtc")]
use mina_p2p_transport::webrtc;
use mina_p2p_transport::{ListenError, Listener, Transport, TransportKind};
use mina_p2p_wire::{Address, Host, PeerId, Signaling};

use crate::StartError;
use crate::config::Builder;

/// The kinds of transport that this library was built with, in the order in which a node prefers them unless told otherwise.
pub const TRANSPORTS: &[TransportKind] = &[
    #[cfg(feature = "quic")]
    TransportKind::Quic,
    #[cfg(feature = "webrtc")]
    TransportKind::WebRtc,
];

/// The transports that are on.
pub(crate) struct Transports {
    /// All of them, the preferred one first.
    all: Vec<Arc<dyn Transport>>,
    #[cfg(feature = "quic")]
    quic: Option<quic::Endpoint>,
    #[cfg(feature = "webrtc")]
    pub(crate) webrtc: Option<webrtc::Endpoint>,
}

/// Where a node listens.
pub(crate) struct Listening {
    pub(crate) listeners: Vec<Box<dyn Listener>>,
    /// What peers can dial, those of the same kind together.
    pub(crate) addresses: Vec<Address>,
    /// UDP ports that no QUIC reads.
    pub(crate) alone: Vec<Arc<Port>>,
}

impl Transports {
    /// Makes what is configured. Nothing is bound yet.
    pub(crate) fn new(builder: &Builder) -> Result<Transports, StartError> {
        let is_on = |kind| builder.transports.contains(&kind);
        let limits = &builder.limits.transport;
        let refused = |what, cause: &dyn std::error::Error| StartError::System { what, cause: cause.to_string() };
        #[cfg(feature = "quic")]
        let quic = is_on(TransportKind::Quic)
            .then(|| quic::Endpoint::new(builder.secret.clone(), builder.chain_id, limits.clone()))
            .transpose()
            .map_err(|cause| refused("a QUIC endpoint", &cause))?;
        #[cfg(feature = "webrtc")]
        let webrtc = is_on(TransportKind::WebRtc)
            .then(|| {
                let config = webrtc::Config {
                    stun_servers: builder.stun_servers.clone(),
                    trusted_proxies: builder.trusted_proxies.clone(),
                    ..webrtc::Config::default()
                };
                webrtc::Endpoint::new(builder.secret.clone(), builder.chain_id, limits.clone(), config)
            })
            .transpose()
            .map_err(|cause| refused("a WebRTC endpoint", &cause))?;
        let of_kind = |kind: &TransportKind| -> Option<Arc<dyn Transport>> {
            match kind {
                #[cfg(feature = "quic")]
                TransportKind::Quic => quic.clone().map(|quic| Arc::new(quic) as _),
                #[cfg(feature = "webrtc")]
                TransportKind::WebRtc => webrtc.clone().map(|webrtc| Arc::new(webrtc) as _),
                _ => None,
            }
        };
        let all = builder.transports.iter().filter_map(of_kind).collect();
        Ok(Transports {
            all,
            #[cfg(feature = "quic")]
            quic,
            #[cfg(feature = "webrtc")]
            webrtc,
        })
    }

    /// All that are on, the preferred one first.
    pub(crate) fn all(&self) -> &[Arc<dyn Transport>] {
        &self.all
    }

    /// Binds what is configured. Each UDP port serves all transports that are on.
    pub(crate) fn listen(&self, own: PeerId, builder: &Builder) -> Result<Listening, ListenError> {
        let mut listening = Listening { listeners: Vec::new(), addresses: Vec::new(), alone: Vec::new() };
        for address in &builder.listen {
            let port = Port::bind(*address).map_err(|cause| ListenError::Socket { address: *address, cause })?;
            #[cfg(feature = "webrtc")]
            if let Some(webrtc) = &self.webrtc {
                webrtc.listen_on(Arc::clone(&port));
            }
            #[cfg(feature = "quic")]
            if let Some(quic) = &self.quic {
                let listener = quic.listen_on(port)?;
                let (host, port) = host_and_port(listener.local_addr());
                listening.addresses.push(Address::Quic { peer_id: own, host, port });
                listening.listeners.push(listener);
                continue;
            }
            listening.alone.push(port);
        }
        #[cfg(feature = "webrtc")]
        if let Some(webrtc) = &self.webrtc {
            listening.listeners.push(webrtc.incoming());
            if let Some(address) = builder.signaling {
                let (host, port) = host_and_port(webrtc.listen_signaling(address)?);
                let signaling = Signaling::Http { host, port };
                listening.addresses.push(Address::WebRtc { peer_id: own, signaling });
            }
        }
        Ok(listening)
    }
}

/// The kind of transport that dials an address; `None` for what is never dialed: libp2p, and what only a relay could reach.
pub(crate) fn kind_of(address: &Address) -> Option<TransportKind> {
    match address {
        Address::Quic { .. } => Some(TransportKind::Quic),
        Address::WebRtc { signaling: Signaling::Relay { .. }, .. } | Address::Libp2p { .. } => None,
        Address::WebRtc { .. } => Some(TransportKind::WebRtc),
    }
}

fn host_and_port(socket: SocketAddr) -> (Host, u16) {
    (socket.ip().into(), socket.port())
}
