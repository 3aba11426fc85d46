//! How a node is configured.

#[cfg(feature = "webrtc")]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::relay::RelayConfig;
use mina_p2p_protocol::router::SlotLimits;
use mina_p2p_protocol::{ExtensionService, PERMIT_LEN_MAX, SessionLimits};
#[cfg(feature = "webrtc")]
use mina_p2p_transport::webrtc::StunServer;
use mina_p2p_transport::{Limits as TransportLimits, TransportKind};
#[cfg(feature = "webrtc")]
use mina_p2p_wire::Host;
use mina_p2p_wire::message::{MAX_AGENT_LEN, MAX_EXTENSION_NAME_LEN};
use mina_p2p_wire::{Address, ChainId, SecretKey};

use crate::queue::Wake;
use crate::transports::TRANSPORTS;
use crate::{Node, StartError};

/// The name that a node gives itself in `Hello` unless the user gives another.
pub const DEFAULT_AGENT: &str = concat!("mina-p2p/", env!("CARGO_PKG_VERSION"));

/// All limits, with the defaults of docs/LIMITS.md.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// How many connections, of which kinds.
    pub slots: SlotLimits,
    /// One peer's protocol.
    pub session: SessionLimits,
    /// Buffers, handshakes, stalls.
    pub transport: TransportLimits,
    /// Compact blocks.
    pub relay: RelayConfig,
}

/// Configures a [`Node`].
#[must_use]
pub struct Builder {
    pub(crate) secret: SecretKey,
    pub(crate) chain_id: ChainId,
    pub(crate) transports: Vec<TransportKind>,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) signaling: Option<SocketAddr>,
    #[cfg(feature = "webrtc")]
    pub(crate) stun_servers: Vec<StunServer>,
    #[cfg(feature = "webrtc")]
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) discover_peers: usize,
    pub(crate) take_offers: bool,
    pub(crate) introduce: bool,
    pub(crate) external: Vec<Address>,
    pub(crate) initial_peers: Vec<Address>,
    pub(crate) limits: Limits,
    pub(crate) agent: String,
    pub(crate) extensions: Vec<ExtensionService>,
    pub(crate) compact_blocks: bool,
    pub(crate) dummy_proof: Option<Bytes>,
    pub(crate) wake: Option<Wake>,
    pub(crate) on_thread_start: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// A value that a node cannot be made with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct InvalidConfiguration {
    /// Which: the field's or the argument's name.
    pub what: &'static str,
    /// Why it cannot be used.
    pub why: String,
}

/// What a time among the limits can be. Of next to nothing, it would keep the network busy; of ages, it is more than clocks
/// can count.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Limits {
    fn check(&self) -> Result<(), InvalidConfiguration> {
        let (session, longest) = (&self.session, SessionLimits::default());
        for (what, len, max) in [
            // The defaults are what fits the frames of the channels.
            ("block", session.block, longest.block),
            ("transaction", session.transaction, longest.transaction),
            ("work", session.work, longest.work),
            ("staged_ledger", session.staged_ledger, longest.staged_ledger),
            ("extension_query", session.extension_query, longest.extension_answer),
            ("extension_answer", session.extension_answer, longest.extension_answer),
        ] {
            if len > max {
                let why = format!("{len} is more than {max}, which is what a frame can carry");
                return Err(InvalidConfiguration { what, why });
            }
        }
        if self.relay.direct_len > PERMIT_LEN_MAX {
            let why =
                format!("{} is more than {PERMIT_LEN_MAX}, which is what a frame can carry", self.relay.direct_len);
            return Err(InvalidConfiguration { what: "direct_len", why });
        }
        let transport = &self.transport;
        for (what, time) in [
            ("authentication_timeout", transport.authentication_timeout),
            ("idle_timeout", transport.idle_timeout),
            ("keep_alive_interval", transport.keep_alive_interval),
            ("head_timeout", transport.head_timeout),
            ("channel_timeout", transport.channel_timeout),
            ("open_timeout", transport.open_timeout),
            ("read_grace", transport.read_grace),
            ("write_grace", transport.write_grace),
        ] {
            if !(SHORTEST..=LONGEST).contains(&time) {
                let why = format!("{time:?} is not between {SHORTEST:?} and {LONGEST:?}");
                return Err(InvalidConfiguration { what, why });
            }
        }
        if transport.keep_alive_interval >= transport.idle_timeout {
            let why = "must be shorter than idle_timeout".to_owned();
            return Err(InvalidConfiguration { what: "keep_alive_interval", why });
        }
        Ok(())
    }
}

impl Builder {
    /// Whether a node can be made with this; [`Builder::start`] asks too.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self) -> Result<(), InvalidConfiguration> {
        if self.agent.len() > MAX_AGENT_LEN {
            let why = format!("{} bytes where {MAX_AGENT_LEN} are allowed", self.agent.len());
            return Err(InvalidConfiguration { what: "agent", why });
        }
        for method in &self.extensions {
            let len = method.name.len();
            if len == 0 || len > MAX_EXTENSION_NAME_LEN {
                let why = format!("its name has {len} bytes, not 1 to {MAX_EXTENSION_NAME_LEN}");
                return Err(InvalidConfiguration { what: "extension rpc", why });
            }
        }
        self.check_transports()?;
        self.limits.check()
    }

    fn check_transports(&self) -> Result<(), InvalidConfiguration> {
        let refused = |what, why| Err(InvalidConfiguration { what, why });
        if self.transports.is_empty() {
            return refused("transports", "at least one must be on".to_owned());
        }
        for (n, kind) in self.transports.iter().enumerate() {
            if !TRANSPORTS.contains(kind) {
                return refused("transports", format!("this library was built without {kind}"));
            }
            if self.transports.iter().take(n).any(|before| before == kind) {
                return refused("transports", format!("{kind} is named twice"));
            }
        }
        self.check_webrtc()
    }

    /// What would be ignored is more likely a mistake than meant.
    fn check_webrtc(&self) -> Result<(), InvalidConfiguration> {
        #[cfg(feature = "webrtc")]
        let (stun_servers, trusted_proxies) = (self.stun_servers.as_slice(), self.trusted_proxies.as_slice());
        #[cfg(not(feature = "webrtc"))]
        let (stun_servers, trusted_proxies): (&[()], &[()]) = (&[], &[]);
        let given = [
            ("signaling", self.signaling.is_some()),
            ("stun_servers", !stun_servers.is_empty()),
            ("trusted_proxies", !trusted_proxies.is_empty()),
            ("discover_peers", self.discover_peers > 0),
        ];
        if let Some((what, _)) = given.into_iter().find(|(_, is_given)| *is_given)
            && !self.speaks_webrtc()
        {
            return Err(InvalidConfiguration { what, why: "WebRTC is off".to_owned() });
        }
        #[cfg(feature = "webrtc")]
        if self.stun_servers.iter().any(|server| server.port == 0) {
            return Err(InvalidConfiguration { what: "stun_servers", why: "port 0 is nobody's".to_owned() });
        }
        Ok(())
    }

    pub(crate) fn speaks_webrtc(&self) -> bool {
        self.transports.contains(&TransportKind::WebRtc)
    }

    pub(crate) fn new(secret: SecretKey, chain_id: ChainId) -> Builder {
        Builder {
            secret,
            chain_id,
            transports: TRANSPORTS.to_vec(),
            listen: Vec::new(),
            signaling: None,
            #[cfg(feature = "webrtc")]
            stun_servers: Vec::new(),
            #[cfg(feature = "webrtc")]
            trusted_proxies: Vec::new(),
            discover_peers: 0,
            take_offers: true,
            introduce: true,
            external: Vec::new(),
            initial_peers: Vec::new(),
            limits: Limits::default(),
            agent: DEFAULT_AGENT.to_owned(),
            extensions: Vec::new(),
            compact_blocks: true,
            dummy_proof: None,
            wake: None,
            on_thread_start: None,
        }
    }

    /// Which transports are on, the preferred one first: QUIC, then WebRTC, unless this says otherwise. A peer that has several
    /// is dialed by the preferred one, and 300 ms later by the next too; the first that authenticates is kept.
    pub fn transports(mut self, kinds: &[TransportKind]) -> Builder {
        self.transports = kinds.to_vec();
        self
    }

    /// Takes offers of WebRTC connections by HTTP on this TCP address; port 0 lets the system choose one. Without it, only
    /// peers that a relay introduces reach this node by WebRTC.
    pub fn signaling(mut self, address: SocketAddr) -> Builder {
        self.signaling = Some(address);
        self
    }

    /// A server that tells this node its address as the world sees it (STUN), for WebRTC behind a NAT. May be called for
    /// several. Without any, nobody is asked.
    #[cfg(feature = "webrtc")]
    pub fn stun_server(mut self, host: Host, port: u16) -> Builder {
        self.stun_servers.push(StunServer { host, port });
        self
    }

    /// An HTTP proxy in front of [`Builder::signaling`], whose `X-Forwarded-For` is believed. May be called for several.
    #[cfg(feature = "webrtc")]
    pub fn trusted_proxy(mut self, address: IpAddr) -> Builder {
        self.trusted_proxies.push(address);
        self
    }

    /// Has connected peers introduce this node to others of theirs (by WebRTC) as long as it has fewer connections than this. 0,
    /// the default: it never asks.
    pub fn discover_peers(mut self, wanted: usize) -> Builder {
        self.discover_peers = wanted;
        self
    }

    /// Whether peers may introduce others to this node (by WebRTC); they may unless this says no.
    pub fn take_offers(mut self, on: bool) -> Builder {
        self.take_offers = on;
        self
    }

    /// Whether this node introduces its peers to each other; it does, if WebRTC is on, unless this says no.
    pub fn introduce(mut self, on: bool) -> Builder {
        self.introduce = on;
        self
    }

    /// Listens on this UDP address; port 0 lets the system choose one. All transports that are on share it. May be called for
    /// several addresses. Without any, the node only dials.
    pub fn listen(mut self, address: SocketAddr) -> Builder {
        self.listen.push(address);
        self
    }

    /// Tells peers this address of ours, in addition to those listened on: the one that a router forwards, say.
    pub fn external_address(mut self, address: Address) -> Builder {
        self.external.push(address);
        self
    }

    /// A peer to be connected with whenever this node runs. Our own address is ignored, so that all nodes may be given
    /// the same list.
    pub fn initial_peer(mut self, address: Address) -> Builder {
        self.initial_peers.push(address);
        self
    }

    /// Other limits than the defaults.
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = limits;
        self
    }

    /// The name and version that peers see, at most 64 bytes.
    pub fn agent(mut self, agent: impl Into<String>) -> Builder {
        self.agent = agent.into();
        self
    }

    /// Lets peers call a method by name: calls come as [`Event::Request`](crate::Event::Request).
    pub fn extension_rpc(mut self, method: ExtensionService) -> Builder {
        self.extensions.push(method);
        self
    }

    /// Whether blocks travel compactly to and from peers that can do so too; they do unless this says no. Without it every
    /// block travels whole, as a best tip.
    pub fn compact_blocks(mut self, on: bool) -> Builder {
        self.compact_blocks = on;
        self
    }

    /// The proof that stands for all proofs where a transaction is hashed: the binprot form of the network's
    /// `Proof.transaction_dummy`. Without it [`Node::add_command`] cannot name zkApp commands with proofs.
    pub fn dummy_proof(mut self, proof: Bytes) -> Builder {
        self.dummy_proof = Some(proof);
        self
    }

    /// Called from one of the node's threads each time that the event queue turns from empty to non-empty. It must
    /// not block, and not call the node.
    pub fn wake(mut self, wake: Wake) -> Builder {
        self.wake = Some(wake);
        self
    }

    /// Called at the start of each thread that the node makes: to block signals there, for instance.
    pub fn on_thread_start(mut self, f: impl Fn() + Send + Sync + 'static) -> Builder {
        self.on_thread_start = Some(Arc::new(f));
        self
    }

    /// Binds the addresses and starts the node on threads of its own.
    ///
    /// # Errors
    /// [`StartError`] if the configuration cannot be used, an address cannot be bound, or threads cannot be made.
    pub fn start(self) -> Result<Node, StartError> {
        Node::start(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(configure: impl FnOnce(&mut Builder)) -> &'static str {
        let mut builder = Builder::new(SecretKey::from_bytes([1; 32]), ChainId([0; 32]));
        assert_eq!(builder.check(), Ok(()));
        configure(&mut builder);
        builder.check().unwrap_err().what
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let method = |name: String| ExtensionService { name, version: 1, max_query: 1, cost: 1 };
        assert_eq!(refused(|builder| builder.agent = "a".repeat(65)), "agent");
        assert_eq!(refused(|builder| builder.extensions.push(method(String::new()))), "extension rpc");
        assert_eq!(refused(|builder| builder.extensions.push(method("m".repeat(65)))), "extension rpc");
        assert_eq!(refused(|builder| builder.limits.session.block += 1), "block");
        assert_eq!(refused(|builder| builder.limits.session.extension_query = u32::MAX), "extension_query");
        assert_eq!(refused(|builder| builder.transports.clear()), "transports");
        assert_eq!(refused(|builder| builder.transports.push(TransportKind::Memory)), "transports");
        assert_eq!(refused(|builder| builder.transports.push(TransportKind::Quic)), "transports", "it is on already");
        assert_eq!(
            refused(|builder| {
                builder.transports = vec![TransportKind::Quic];
                builder.signaling = Some(([127, 0, 0, 1], 0).into());
            }),
            "signaling"
        );
        assert_eq!(
            refused(|builder| {
                builder.transports = vec![TransportKind::Quic];
                builder.discover_peers = 1;
            }),
            "discover_peers"
        );
        let limits = |set: fn(&mut TransportLimits)| refused(move |builder| set(&mut builder.limits.transport));
        assert_eq!(limits(|limits| limits.keep_alive_interval = Duration::ZERO), "keep_alive_interval");
        assert_eq!(limits(|limits| limits.keep_alive_interval = limits.idle_timeout), "keep_alive_interval");
        assert_eq!(limits(|limits| limits.authentication_timeout = Duration::MAX), "authentication_timeout");
    }
}
