//! The meaning of a message as JSON, in the form that the existing node prints it; ours in the same manner.

use mina_p2p_wire::message::{
    BlockAnswer, BlockQuery, CommitmentMessage, CompactMessage, ExtensionError, ExtensionMessage, Hello, ItemList,
    LedgerQuery, MerkleAddress, RpcKind, RpcMessage, RpcRequest, RpcResponse, SignalingDiscoveryMessage,
    SignalingExchangeMessage, SnarkMessage, StagedLedgerPartKind, StreamingRpcMessage, TransactionMessage,
};
use serde_json::{Value, json};

use super::{AnyMessage, hex};

/// Stands for an opaque payload.
fn opaque(bytes: &[u8]) -> Value {
    json!({ "opaque": hex(bytes) })
}

impl AnyMessage {
    pub(crate) fn meaning(&self) -> Value {
        match self {
            Self::Hello(message) => json!({ "Hello": hello(message) }),
            Self::Discovery(message) => json!({ "SignalingDiscovery": discovery(message) }),
            Self::Exchange(message) => json!({ "SignalingExchange": exchange(message) }),
            Self::BestTip(message) => {
                use mina_p2p_wire::message::BestTipMessage::{BestTip, GetNext};
                json!({ "BestTipPropagation": match message {
                    GetNext => json!("GetNext"),
                    BestTip(block) => json!({ "BestTip": opaque(block) }),
                } })
            }
            Self::Transaction(message) => json!({ "TransactionPropagation": transaction(message) }),
            Self::Snark(message) => json!({ "SnarkPropagation": snark(message) }),
            Self::Commitment(message) => {
                json!({ "SnarkJobCommitmentPropagation": commitment(message) })
            }
            Self::Rpc(message) => json!({ "Rpc": rpc(message) }),
            Self::StreamingRpc(message) => json!({ "StreamingRpc": streaming(message) }),
            Self::Extension(message) => json!({ "ExtensionRpc": extension(message) }),
            Self::Compact(message) => json!({ "CompactBlock": compact(message) }),
        }
    }
}

fn hello(hello: &Hello) -> Value {
    let addresses: Vec<_> = hello.listen_addresses.iter().map(ToString::to_string).collect();
    json!({
        "protocol_version": hello.protocol_version,
        "chain_id": hello.chain_id.to_string(),
        "capabilities": hello.capabilities.bits(),
        "listen_addresses": addresses,
        "agent": hello.agent,
        "identity_signature": hello.identity_signature.map(|signature| hex(&signature)),
    })
}

fn numbers(bytes: &[u8]) -> Value {
    json!(bytes)
}

fn discovery(message: &SignalingDiscoveryMessage) -> Value {
    use SignalingDiscoveryMessage as M;
    match message {
        M::GetNext => json!("GetNext"),
        M::Discover => json!("Discover"),
        M::Discovered { target } => {
            json!({ "Discovered": { "target_public_key": target.to_string() } })
        }
        M::DiscoveredReject => json!("DiscoveredReject"),
        M::DiscoveredAccept(offer) => json!({ "DiscoveredAccept": numbers(offer) }),
        M::Answer(answer) => json!({ "Answer": answer.as_deref().map(numbers) }),
    }
}

fn exchange(message: &SignalingExchangeMessage) -> Value {
    use SignalingExchangeMessage as M;
    match message {
        M::GetNext => json!("GetNext"),
        M::OfferToYou { offerer, offer } => json!({ "OfferToYou": {
            "offerer_pub_key": offerer.to_string(),
            "offer": numbers(offer),
        } }),
        M::Answer(answer) => json!({ "Answer": answer.as_deref().map(numbers) }),
    }
}

/// Fees inside of works and commitments: mina, in decimals.
fn mina(nanomina: u64) -> String {
    let text = format!("{}.{:09}", nanomina / 1_000_000_000, nanomina % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn transaction(message: &TransactionMessage) -> Value {
    match message {
        TransactionMessage::GetNext { limit } => json!({ "GetNext": { "limit": limit } }),
        TransactionMessage::WillSend { count } => json!({ "WillSend": { "count": count } }),
        TransactionMessage::Item(info) => json!({ "Transaction": {
            "hash": info.hash.to_string(),
            "fee_payer": info.fee_payer.to_string(),
            "fee": info.fee,
            "nonce": info.nonce,
        } }),
    }
}

fn snark(message: &SnarkMessage) -> Value {
    match message {
        SnarkMessage::GetNext { limit } => json!({ "GetNext": { "limit": limit } }),
        SnarkMessage::WillSend { count } => json!({ "WillSend": { "count": count } }),
        SnarkMessage::Item(info) => json!({ "Snark": {
            "job_id": info.job_id.to_string(),
            "fee": mina(info.fee),
            "prover": info.prover.to_string(),
        } }),
    }
}

fn commitment(message: &CommitmentMessage) -> Value {
    match message {
        CommitmentMessage::GetNext { limit } => json!({ "GetNext": { "limit": limit } }),
        CommitmentMessage::WillSend { count } => json!({ "WillSend": { "count": count } }),
        CommitmentMessage::Item(item) => json!({ "Commitment": {
            "timestamp": item.timestamp_ms,
            "job_id": item.job_id.to_string(),
            "fee": mina(item.fee),
            "snarker": item.snarker.to_string(),
        } }),
    }
}

/// Merkle paths: printable characters as they are, other bytes as `\xNN`.
fn merkle_address(address: &MerkleAddress) -> Value {
    let path: String = address
        .path()
        .iter()
        .map(|&byte| match byte {
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    json!([address.depth().to_string(), path])
}

fn request(request: &RpcRequest) -> Value {
    match request {
        RpcRequest::BestTipWithProof => json!("BestTipWithProof"),
        RpcRequest::LedgerQuery(ledger, query) => {
            let query = match query {
                LedgerQuery::WhatChildHashes(address) => {
                    json!({ "WhatChildHashes": merkle_address(address) })
                }
                LedgerQuery::WhatContents(address) => {
                    json!({ "WhatContents": merkle_address(address) })
                }
                LedgerQuery::NumAccounts => json!("NumAccounts"),
            };
            json!({ "LedgerQuery": [ledger.to_string(), query] })
        }
        RpcRequest::StagedLedgerAux(block) => {
            json!({ "StagedLedgerAuxAndPendingCoinbasesAtBlock": block.to_string() })
        }
        RpcRequest::Block(block) => json!({ "Block": block.to_string() }),
        RpcRequest::Snark(job) => json!({ "Snark": job.to_string() }),
        RpcRequest::Transaction(hash) => json!({ "Transaction": hash.to_string() }),
        RpcRequest::InitialPeers => json!("InitialPeers"),
    }
}

pub(crate) fn kind_name(kind: RpcKind) -> &'static str {
    match kind {
        RpcKind::BestTipWithProof => "BestTipWithProof",
        RpcKind::LedgerQuery => "LedgerQuery",
        RpcKind::StagedLedgerAux => "StagedLedgerAuxAndPendingCoinbasesAtBlock",
        RpcKind::Block => "Block",
        RpcKind::Snark => "Snark",
        RpcKind::Transaction => "Transaction",
        RpcKind::InitialPeers => "InitialPeers",
    }
}

fn rpc(message: &RpcMessage) -> Value {
    match message {
        RpcMessage::Request { id, request: what } => json!({ "Request": [id, request(what)] }),
        RpcMessage::Response { id, response } => {
            let response = response.as_ref().map(|response| {
                let content = match response {
                    RpcResponse::InitialPeers(addresses) => {
                        json!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
                    }
                    other => opaque(other.payload().unwrap()),
                };
                json!({ kind_name(response.kind()): content })
            });
            json!({ "Response": [id, response] })
        }
    }
}

fn streaming(message: &StreamingRpcMessage) -> Value {
    match message {
        StreamingRpcMessage::Next { id } => json!({ "Next": id }),
        StreamingRpcMessage::Request { id, block } => {
            json!({ "Request": [id, { "StagedLedgerParts": block.to_string() }] })
        }
        StreamingRpcMessage::Response { id, part } => {
            let part = part.as_ref().map(|part| {
                let kind = match part.kind {
                    StagedLedgerPartKind::Base => "Base",
                    StagedLedgerPartKind::ScanStateBase => "ScanStateBase",
                    StagedLedgerPartKind::PreviousIncompleteZkappUpdates => "PreviousIncompleteZkappUpdates",
                    StagedLedgerPartKind::ScanStateTree => "ScanStateTree",
                };
                json!({ "StagedLedgerParts": { kind: opaque(&part.body) } })
            });
            json!({ "Response": [id, part] })
        }
    }
}

fn extension(message: &ExtensionMessage) -> Value {
    match message {
        ExtensionMessage::Request { id, name, version, max_answer, body } => json!({ "Request": [id, {
            "name": name.as_str(),
            "version": version,
            "max_answer": max_answer,
            "body": opaque(body),
        }] }),
        ExtensionMessage::Response { id, result } => {
            let result = match result {
                Ok(answer) => json!({ "Ok": opaque(answer) }),
                Err(ExtensionError::Unknown) => json!("Unknown"),
                Err(ExtensionError::Busy) => json!("Busy"),
                Err(ExtensionError::Failed(why)) => json!({ "Failed": why }),
            };
            json!({ "Response": [id, result] })
        }
    }
}

fn compact(message: &CompactMessage) -> Value {
    match message {
        CompactMessage::Permit { max_len } => json!({ "Permit": { "max_len": max_len } }),
        CompactMessage::Change { permit, max_len } => json!({ "Change": { "permit": permit, "max_len": max_len } }),
        CompactMessage::Announce(block) => json!({ "Announce": {
            "key": block.key.to_string(),
            "height": block.height,
            "state_hash": block.state_hash.map(|hash| hash.to_string()),
            "root": block.root.map(|root| root.to_string()),
        } }),
        CompactMessage::Header(header) => json!({ "Header": opaque(header) }),
        CompactMessage::List { key, list } => json!({ "List": { "key": key.to_string(), "list": item_list(list) } }),
        CompactMessage::Compact { header, list } => {
            json!({ "Compact": { "header": opaque(header), "list": item_list(list) } })
        }
    }
}

fn item_list(list: &ItemList) -> Value {
    let prefilled = list.prefilled.iter().map(|(place, item)| json!([place, opaque(item)]));
    json!({
        "nonce": hex(&list.nonce),
        "root": list.root.to_string(),
        "skeleton": opaque(&list.skeleton),
        "short_ids": list.short_ids.iter().map(|id| hex(id)).collect::<Vec<_>>(),
        "prefilled": prefilled.collect::<Vec<_>>(),
    })
}

pub(crate) fn block_query(query: &BlockQuery) -> Value {
    let key = query.key().to_string();
    match query {
        BlockQuery::Compact { with_header, .. } => json!({ "key": key, "with_header": with_header }),
        BlockQuery::Items { root, places, .. } => json!({ "key": key, "root": root.to_string(), "places": places }),
        BlockQuery::Ids { root, .. } => json!({ "key": key, "root": root.to_string() }),
        BlockQuery::Chunk { index, .. } => json!({ "key": key, "index": index }),
    }
}

pub(crate) fn block_answer(answer: &BlockAnswer) -> Value {
    let hashes = |hashes: &[[u8; 32]]| hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>();
    match answer {
        BlockAnswer::NotHere => json!("NotHere"),
        BlockAnswer::OtherRoot => json!("OtherRoot"),
        BlockAnswer::Header(header) => json!({ "Header": opaque(header) }),
        BlockAnswer::Compact { header, list } => json!({ "Compact": {
            "header": header.as_deref().map(opaque),
            "list": item_list(list),
        } }),
        BlockAnswer::Items { items, proof } => json!({ "Items": {
            "items": items.iter().map(|item| opaque(item)).collect::<Vec<_>>(),
            "proof": hashes(proof),
        } }),
        BlockAnswer::Ids(ids) => json!({ "Ids": ids.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        BlockAnswer::Chunk(chunk) => json!({ "Chunk": opaque(chunk) }),
    }
}
