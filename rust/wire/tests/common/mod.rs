//! What the tests of whole messages share: any message by its channel, its meaning as JSON, and files of vectors.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub(crate) mod arbitrary;
pub(crate) mod meaning;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use mina_p2p_wire::message::{
    BestTipMessage, CommitmentMessage, CompactMessage, ExtensionMessage, Hello, RpcMessage, SignalingDiscoveryMessage,
    SignalingExchangeMessage, SnarkMessage, StreamingRpcMessage, TransactionMessage,
};
use mina_p2p_wire::{Channel, DecodeError, Decoded, Frame};
use serde_json::Value;

/// A message of any channel, or a Hello, which has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnyMessage {
    Hello(Hello),
    Discovery(SignalingDiscoveryMessage),
    Exchange(SignalingExchangeMessage),
    BestTip(BestTipMessage),
    Transaction(TransactionMessage),
    Snark(SnarkMessage),
    Commitment(CommitmentMessage),
    Rpc(RpcMessage),
    StreamingRpc(StreamingRpcMessage),
    Extension(ExtensionMessage),
    Compact(CompactMessage),
}

fn map<T>(decoded: Decoded<T>, wrap: impl FnOnce(T) -> AnyMessage) -> Decoded<AnyMessage> {
    Decoded { value: wrap(decoded.value), canonical: decoded.canonical, trailing: decoded.trailing }
}

/// Decodes a body; without a channel, a Hello.
pub(crate) fn decode(channel: Option<Channel>, body: Bytes) -> Result<Decoded<AnyMessage>, DecodeError> {
    use AnyMessage as Any;
    Ok(match channel {
        None => map(Hello::decode(body)?, Any::Hello),
        Some(Channel::SignalingDiscovery) => map(SignalingDiscoveryMessage::decode(body)?, Any::Discovery),
        Some(Channel::SignalingExchange) => map(SignalingExchangeMessage::decode(body)?, Any::Exchange),
        Some(Channel::BestTip) => map(BestTipMessage::decode(body)?, Any::BestTip),
        Some(Channel::Transaction) => map(TransactionMessage::decode(body)?, Any::Transaction),
        Some(Channel::Snark) => map(SnarkMessage::decode(body)?, Any::Snark),
        Some(Channel::SnarkJobCommitment) => map(CommitmentMessage::decode(body)?, Any::Commitment),
        Some(Channel::Rpc) => map(RpcMessage::decode(body)?, Any::Rpc),
        Some(Channel::StreamingRpc) => map(StreamingRpcMessage::decode(body)?, Any::StreamingRpc),
        Some(Channel::ExtensionRpc) => map(ExtensionMessage::decode(body)?, Any::Extension),
        Some(Channel::CompactBlock) => map(CompactMessage::decode(body)?, Any::Compact),
    })
}

impl AnyMessage {
    pub(crate) fn encode(&self) -> Frame {
        match self {
            Self::Hello(message) => message.encode(),
            Self::Discovery(message) => message.encode(),
            Self::Exchange(message) => message.encode(),
            Self::BestTip(message) => message.encode(),
            Self::Transaction(message) => message.encode(),
            Self::Snark(message) => message.encode(),
            Self::Commitment(message) => message.encode(),
            Self::Rpc(message) => message.encode(),
            Self::StreamingRpc(message) => message.encode(),
            Self::Extension(message) => message.encode(),
            Self::Compact(message) => message.encode(),
        }
    }

    pub(crate) fn channel(&self) -> Option<Channel> {
        Some(match self {
            Self::Hello(_) => return None,
            Self::Discovery(_) => Channel::SignalingDiscovery,
            Self::Exchange(_) => Channel::SignalingExchange,
            Self::BestTip(_) => Channel::BestTip,
            Self::Transaction(_) => Channel::Transaction,
            Self::Snark(_) => Channel::Snark,
            Self::Commitment(_) => Channel::SnarkJobCommitment,
            Self::Rpc(_) => Channel::Rpc,
            Self::StreamingRpc(_) => Channel::StreamingRpc,
            Self::Extension(_) => Channel::ExtensionRpc,
            Self::Compact(_) => Channel::CompactBlock,
        })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of a hexadecimal member.
pub(crate) fn bytes(value: &Value, member: &str) -> Bytes {
    unhex(text(value, member))
}

pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} of {value}"))
}

pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().unwrap_or_else(|| panic!("{member} of {value}"))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of data that is not part of the repository: named by the variable, or beside the repository. Says so if it is
/// not there.
fn shared(variable: &str, folder: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(|| repository().join("../shared").join(folder), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    // Not through a macro, whose output a passing test swallows; and once, not for each test.
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap().insert(path.clone()) {
        let path = path.display();
        let line = format!("skipped: tests with {path}, which is not there (set {variable})\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    None
}

/// The golden vectors of the existing node.
pub(crate) fn reference_vectors() -> Option<PathBuf> {
    shared("MINA_P2P_VECTORS", "mina-rust/vectors")
}

/// Real blocks and what is known about them.
pub(crate) fn blocks() -> Option<PathBuf> {
    shared("MINA_P2P_BLOCKS", "blocks")
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
