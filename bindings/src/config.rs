//! The configuration, which `create` checks and `start` uses.

use std::net::SocketAddr;
use std::time::Duration;

use mina_p2p::{Address, Builder, ChainId, ExtensionService, Limits, Node, SecretKey};

use crate::failure::Failure;
use crate::heap::Arg;
use crate::ids::Secret;
use crate::request::Seconds;
use crate::signals;
use crate::stub::FromOcaml;

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
}

/// The longest name that `Hello` carries for an agent, in bytes.
const AGENT_MAX: usize = mina_p2p::message::MAX_AGENT_LEN;

/// The longest name of a method, in bytes.
const METHOD_MAX: usize = mina_p2p::message::MAX_EXTENSION_NAME_LEN;

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
            agent: FromOcaml::from_ocaml(value.field(5)?)?,
            extensions: FromOcaml::from_ocaml(value.field(6)?)?,
            limits: FromOcaml::from_ocaml(value.field(7)?)?,
        };
        if let Some(agent) = config.agent.as_ref().filter(|agent| agent.len() > AGENT_MAX) {
            return Err(Failure::invalid("agent", format!("{} bytes where {AGENT_MAX} are allowed", agent.len())));
        }
        Ok(config)
    }
}

/// `{ name; version; max_query; cost }`
impl FromOcaml for ExtensionService {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let name = String::from_ocaml(value.field(0)?)?;
        if name.is_empty() || name.len() > METHOD_MAX {
            let why = format!("{name:?} has {} bytes, not 1 to {METHOD_MAX}", name.len());
            return Err(Failure::invalid("extension rpc", why));
        }
        Ok(ExtensionService {
            name,
            version: FromOcaml::from_ocaml(value.field(1)?)?,
            max_query: FromOcaml::from_ocaml(value.field(2)?)?,
            cost: FromOcaml::from_ocaml(value.field(3)?)?,
        })
    }
}

/// The fields are those of `Raw.limits`, in its order: each the default if `None`.
impl FromOcaml for Limits {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let mut limits = Limits::default();
        let Limits { slots, session, transport } = &mut limits;
        let mut index = 0;
        let mut next = || {
            index += 1;
            value.field(index - 1)
        };
        set(next()?, &mut slots.peers)?;
        set(next()?, &mut slots.inbound)?;
        set(next()?, &mut slots.inbound_per_address)?;
        set(next()?, &mut slots.inbound_per_subnet)?;
        set(next()?, &mut session.block)?;
        set(next()?, &mut session.transaction)?;
        set(next()?, &mut session.work)?;
        set(next()?, &mut session.staged_ledger)?;
        set(next()?, &mut session.extension_query)?;
        set(next()?, &mut session.extension_answer)?;
        set(next()?, &mut session.pool_permit)?;
        set(next()?, &mut session.commitment_permit)?;
        set(next()?, &mut session.requests_waiting)?;
        set(next()?, &mut session.request_rate)?;
        set(next()?, &mut session.request_burst)?;
        set_duration(next()?, &mut transport.authentication_timeout)?;
        set_duration(next()?, &mut transport.idle_timeout)?;
        set_duration(next()?, &mut transport.keep_alive_interval)?;
        if transport.keep_alive_interval >= transport.idle_timeout {
            return Err(Failure::invalid("keep_alive_interval", "must be shorter than idle_timeout"));
        }
        Ok(limits)
    }
}

fn set<T: FromOcaml>(value: Arg<'_>, limit: &mut T) -> Result<(), Failure> {
    if let Some(given) = FromOcaml::from_ocaml(value)? {
        *limit = given;
    }
    Ok(())
}

fn set_duration(value: Arg<'_>, limit: &mut Duration) -> Result<(), Failure> {
    if let Some(Seconds(given)) = FromOcaml::from_ocaml(value)? {
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
        builder.on_thread_start(signals::block)
    }
}
