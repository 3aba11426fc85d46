//! How a node is configured.

use std::net::SocketAddr;
use std::sync::Arc;

use mina_p2p_protocol::router::SlotLimits;
use mina_p2p_protocol::{ExtensionService, SessionLimits};
use mina_p2p_transport::Limits as TransportLimits;
use mina_p2p_wire::{Address, ChainId, SecretKey};

use crate::queue::Wake;
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
}

/// Configures a [`Node`].
#[must_use]
pub struct Builder {
    pub(crate) secret: SecretKey,
    pub(crate) chain_id: ChainId,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) external: Vec<Address>,
    pub(crate) initial_peers: Vec<Address>,
    pub(crate) limits: Limits,
    pub(crate) agent: String,
    pub(crate) extensions: Vec<ExtensionService>,
    pub(crate) wake: Option<Wake>,
    pub(crate) on_thread_start: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Builder {
    pub(crate) fn new(secret: SecretKey, chain_id: ChainId) -> Builder {
        Builder {
            secret,
            chain_id,
            listen: Vec::new(),
            external: Vec::new(),
            initial_peers: Vec::new(),
            limits: Limits::default(),
            agent: DEFAULT_AGENT.to_owned(),
            extensions: Vec::new(),
            wake: None,
            on_thread_start: None,
        }
    }

    /// Listens on this UDP address; port 0 lets the system choose one. May be called for several addresses. Without
    /// any, the node only dials.
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
