//! RPC by name (channel 16), to and from peers that announce it: name, version and a body that is opaque here. It
//! carries what channel 7 has no message for.
//!
//! States are those of `rpc.rs`, whose slots, ids and rate it shares.
//!
//! | what | limit |
//! | --- | --- |
//! | argument | 1 MiB; less if the method says so: then the answer is an error, nobody is punished |
//! | answer | what the asker says, at most 32 MiB |
//! | deadline | what the asker says, at most 180 s |
//!
//! A method that is not served is answered with [`ExtensionError::Unknown`], one that our user leaves unanswered with
//! [`ExtensionError::Busy`].

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::{ExtensionError, MAX_EXTENSION_ERROR_LEN, MAX_EXTENSION_RESPONSE_HEAD_LEN};

use crate::config::ExtensionService;

/// The longest that a request by name may wait.
pub const EXTENSION_DEADLINE_MAX: Duration = Duration::from_secs(180);

/// What an answer has beside its body: its head, and in place of a body the text of a failure with its length.
pub(crate) const EXTENSION_ANSWER_HEAD: u32 = (MAX_EXTENSION_RESPONSE_HEAD_LEN + 3 + MAX_EXTENSION_ERROR_LEN) as u32;

/// What a method that is not served costs to say so.
const UNKNOWN_COST: u32 = 10;

/// The methods that a peer may call.
#[derive(Debug)]
pub(crate) struct Services(BTreeMap<(String, u32), (u32, u32)>);

impl Services {
    pub(crate) fn new(services: Vec<ExtensionService>) -> Services {
        let entry = |service: ExtensionService| ((service.name, service.version), (service.max_query, service.cost));
        Services(services.into_iter().map(entry).collect())
    }

    /// What a call costs, and whether it is refused outright.
    pub(crate) fn judge(&self, name: &str, version: u32, body: &Bytes) -> (u32, Result<(), ExtensionError>) {
        let Some((max_query, cost)) = self.0.get(&(name.to_owned(), version)) else {
            return (UNKNOWN_COST, Err(ExtensionError::Unknown));
        };
        let fits = body.len() <= *max_query as usize;
        let refusal =
            || ExtensionError::Failed(format!("an argument of {} bytes where {max_query} are taken", body.len()));
        (*cost, if fits { Ok(()) } else { Err(refusal()) })
    }
}
