//! The configuration, which `create` checks and `start` uses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p::{Address, Builder, ChainId, ExtensionService, Host, Limits, Node, SecretKey, TransportKind};

use crate::failure::Failure;
use crate::heap::Arg;
use crate::ids::Secret;
use crate::request::Seconds;
use crate::signals;
use crate::stub::{FromOcaml, named};

/// What a node is made of. Kept, because a start that failed can be tried again.
pub(crate) struct Config {
    secret: SecretKey,
    chain_id: ChainId,
    listen: Vec<SocketAddr>,
    external: Vec<Address>,
    initial_peers: Vec<Address>,
    agent: Option<String>,
    extensions: Vec<ExtensionService>,
    limits: Limits,
    compact_blocks: bool,
    dummy_proof: Option<Bytes>,
    transports: Option<Vec<TransportKind>>,
    signaling: Option<SocketAddr>,
    stun_servers: Vec<(Host, u16)>,
    trusted_proxies: Vec<IpAddr>,
    discover_peers: usize,
    take_offers: bool,
    introduce: bool,
}

/// The fields are those of `Raw.config`, in its order.
impl FromOcaml for Config {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let Secret(secret) = FromOcaml::from_ocaml(value.field(0)?)?;
        let config = Config {
            secret,
            chain_id: FromOcaml::from_ocaml(value.field(1)?)?,
            listen: FromOcaml::from_ocaml(value.field(2)?)?,
            external: FromOcaml::from_ocaml(value.field(3)?)?,
            initial_peers: FromOcaml::from_ocaml(value.field(4)?)?,
            agent: named("agent", value.field(5)?)?,
            extensions: FromOcaml::from_ocaml(value.field(6)?)?,
            limits: FromOcaml::from_ocaml(value.field(7)?)?,
            compact_blocks: FromOcaml::from_ocaml(value.field(8)?)?,
            dummy_proof: Option::<DummyProof>::from_ocaml(value.field(9)?)?.map(|proof| proof.0),
            transports: FromOcaml::from_ocaml(value.field(10)?)?,
            signaling: FromOcaml::from_ocaml(value.field(11)?)?,
            stun_servers: stun_servers(named("stun_servers", value.field(12)?)?)?,
            trusted_proxies: trusted_proxies(named("trusted_proxies", value.field(13)?)?)?,
            discover_peers: named("discover_peers", value.field(14)?)?,
            take_offers: FromOcaml::from_ocaml(value.field(15)?)?,
            introduce: FromOcaml::from_ocaml(value.field(16)?)?,
        };
        config.builder().check()?;
        Ok(config)
    }
}

/// Hosts as text, each with a port.
fn stun_servers(given: Vec<(String, u16)>) -> Result<Vec<(Host, u16)>, Failure> {
    let server = |(host, port): (String, u16)| match host.parse() {
        Ok(_) if port == 0 => Err(Failure::invalid("stun_servers", format!("{host:?}: no port"))),
        Ok(host) => Ok((host, port)),
        Err(error) => Err(Failure::invalid("stun_servers", format!("{host:?}: {error}"))),
    };
    given.into_iter().map(server).collect()
}

/// IP addresses as text.
fn trusted_proxies(given: Vec<String>) -> Result<Vec<IpAddr>, Failure> {
    let proxy = |text: String| match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Err(Failure::invalid("trusted_proxies", format!("{text:?} is no IP address"))),
    };
    given.into_iter().map(proxy).collect()
}

/// `{ name; version; max_query; cost }`
impl FromOcaml for ExtensionService {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(ExtensionService {
            name: named("extension rpc", value.field(0)?)?,
            version: named("version", value.field(1)?)?,
            max_query: named("max_query", value.field(2)?)?,
            cost: named("cost", value.field(3)?)?,
        })
    }
}

/// The fields are those of `Raw.limits`, in its order: each the default if `None`.
impl FromOcaml for Limits {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let mut limits = Limits::default();
        let Limits { slots, session, transport, relay } = &mut limits;
        let mut index = 0;
        let mut next = || {
            index += 1;
            value.field(index - 1)
        };
        set("peers", next()?, &mut slots.peers)?;
        set("inbound", next()?, &mut slots.inbound)?;
        set("inbound_per_address", next()?, &mut slots.inbound_per_address)?;
        set("inbound_per_subnet", next()?, &mut slots.inbound_per_subnet)?;
        set("block", next()?, &mut session.block)?;
        set("transaction", next()?, &mut session.transaction)?;
        set("work", next()?, &mut session.work)?;
        set("staged_ledger", next()?, &mut session.staged_ledger)?;
        set("extension_query", next()?, &mut session.extension_query)?;
        set("extension_answer", next()?, &mut session.extension_answer)?;
        set("pool_permit", next()?, &mut session.pool_permit)?;
        set("commitment_permit", next()?, &mut session.commitment_permit)?;
        set("requests_waiting", next()?, &mut session.requests_waiting)?;
        set("request_rate", next()?, &mut session.request_rate)?;
        set("request_burst", next()?, &mut session.request_burst)?;
        set_duration("authentication_timeout", next()?, &mut transport.authentication_timeout)?;
        set_duration("idle_timeout", next()?, &mut transport.idle_timeout)?;
        set_duration("keep_alive_interval", next()?, &mut transport.keep_alive_interval)?;
        set("direct_len", next()?, &mut relay.direct_len)?;
        set("direct_peers", next()?, &mut relay.direct_peers)?;
        Ok(limits)
    }
}

/// The proof that stands for all proofs where a transaction is hashed: a string of its bytes.
pub(crate) struct DummyProof(pub(crate) Bytes);

impl FromOcaml for DummyProof {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.bytes().map(|bytes| DummyProof(Bytes::copy_from_slice(bytes)))
    }
}

fn set<T: FromOcaml>(name: &str, value: Arg<'_>, limit: &mut T) -> Result<(), Failure> {
    if let Some(given) = named(name, value)? {
        *limit = given;
    }
    Ok(())
}

fn set_duration(name: &str, value: Arg<'_>, limit: &mut Duration) -> Result<(), Failure> {
    if let Some(Seconds(given)) = named(name, value)? {
        *limit = given;
    }
    Ok(())
}

impl Config {
    /// The node's builder, so that its threads leave the process's signals to OCaml.
    pub(crate) fn builder(&self) -> Builder {
        let mut builder = Node::builder(self.secret.clone(), self.chain_id).limits(self.limits.clone());
        for address in &self.listen {
            builder = builder.listen(*address);
        }
        for address in &self.external {
            builder = builder.external_address(address.clone());
        }
        for address in &self.initial_peers {
            builder = builder.initial_peer(address.clone());
        }
        for method in &self.extensions {
            builder = builder.extension_rpc(method.clone());
        }
        if let Some(agent) = &self.agent {
            builder = builder.agent(agent.clone());
        }
        if let Some(transports) = &self.transports {
            builder = builder.transports(transports);
        }
        if let Some(address) = self.signaling {
            builder = builder.signaling(address);
        }
        for (host, port) in &self.stun_servers {
            builder = builder.stun_server(host.clone(), *port);
        }
        for address in &self.trusted_proxies {
            builder = builder.trusted_proxy(*address);
        }
        builder = builder.discover_peers(self.discover_peers).take_offers(self.take_offers).introduce(self.introduce);
        builder = builder.compact_blocks(self.compact_blocks);
        if let Some(proof) = &self.dummy_proof {
            builder = builder.dummy_proof(proof.clone());
        }
        builder.on_thread_start(signals::block)
    }
}
