//! Every message, one file per channel, and the limits of each.
//!
//! A message is decoded from the body of one frame and encoded as one ([`Frame`]). Blocks, ledgers, transactions and
//! proofs stay opaque: slices of the frame that they came in.

mod best_tip;
mod block_query;
mod compact;
mod extension_rpc;
mod hello;
mod pool;
mod rpc;
mod signaling;
mod streaming_rpc;

use std::fmt;

use bytes::Bytes;

use crate::binprot::Writer;
pub use crate::frame::Frame;
pub use crate::hash::{
    BlockKey, CompressedPublicKey, ItemId, ItemsRoot, JobId, LedgerHash, StateHash, TransactionHash,
};
pub use best_tip::{BestTipMessage, MAX_BEST_TIP_LEN, MAX_BLOCK_LEN, previous_state_hash};
pub use block_query::{BlockAnswer, BlockQuery};
pub use compact::{
    Announcement, CompactMessage, ItemList, MAX_ANNOUNCEMENT_LEN, MAX_COMPACT_ITEMS, MAX_COMPACT_LEN,
    MAX_COMPACT_PERMIT_LEN, MAX_HEADER_LEN, MAX_ITEM_LEN, SHORT_ID_LEN, ShortId,
};
pub use extension_rpc::{
    ExtensionError, ExtensionMessage, ExtensionName, InvalidExtensionName, MAX_EXTENSION_BODY_LEN,
    MAX_EXTENSION_ERROR_LEN, MAX_EXTENSION_HEAD_LEN, MAX_EXTENSION_NAME_LEN, MAX_EXTENSION_RESPONSE_HEAD_LEN,
};
pub use hello::{Capabilities, HELLO_MAX_LEN, Hello, MAX_AGENT_LEN, MAX_HELLO_ADDRESS_LEN, MAX_LISTEN_ADDRESSES};
pub use pool::{
    CommitmentMessage, MAX_COMMITMENT_LEN, MAX_GET_NEXT_LEN, MAX_SNARK_INFO_LEN, MAX_TRANSACTION_INFO_LEN,
    MAX_WILL_SEND_LEN, PoolItem, PoolMessage, SnarkInfo, SnarkJobCommitment, SnarkMessage, TransactionInfo,
    TransactionMessage,
};
pub use rpc::{
    InvalidMerkleAddress, LedgerQuery, MAX_BEST_TIP_WITH_PROOF_LEN, MAX_INITIAL_PEERS, MAX_LEDGER_ANSWER_LEN,
    MAX_RPC_REQUEST_LEN, MAX_RPC_RESPONSE_HEAD_LEN, MAX_SNARK_WORK_LEN, MAX_STAGED_LEDGER_LEN, MAX_TRANSACTION_LEN,
    MerkleAddress, RpcKind, RpcMessage, RpcRequest, RpcResponse,
};
pub use signaling::{MAX_ENCRYPTED_LEN, SignalingDiscoveryMessage, SignalingExchangeMessage};
pub use streaming_rpc::{
    MAX_SCAN_STATE_TREES, MAX_STAGED_LEDGER_PART_LEN, MAX_STREAMING_REQUEST_LEN, MAX_STREAMING_RESPONSE_HEAD_LEN,
    StagedLedgerPart, StagedLedgerPartKind, StreamingRpcMessage,
};

/// The length of the messages without content: their tag.
pub const TAG_LEN: usize = 1;

/// A frame of what was written, with an opaque payload behind.
fn frame(payload: Bytes, write: impl FnOnce(&mut Writer)) -> Frame {
    let mut writer = Writer::new();
    write(&mut writer);
    Frame { head: writer.finish(), payload }
}

/// A frame without an opaque payload.
fn small(write: impl FnOnce(&mut Writer)) -> Frame {
    frame(Bytes::new(), write)
}

/// Shows the length of a payload in place of its bytes.
pub(crate) struct Opaque<'a>(pub(crate) &'a Bytes);

impl fmt::Debug for Opaque<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}
