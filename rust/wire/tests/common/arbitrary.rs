//! Strategies for every kind of message.

use bytes::Bytes;
use mina_p2p_wire::message::{
    Announcement, BestTipMessage, BlockAnswer, BlockQuery, Capabilities, CompactMessage, ExtensionError,
    ExtensionMessage, Hello, ItemId, ItemList, ItemsRoot, LedgerQuery, MAX_AGENT_LEN, MAX_COMPACT_ITEMS,
    MAX_LISTEN_ADDRESSES, MerkleAddress, PoolMessage, RpcMessage, RpcRequest, RpcResponse, SignalingDiscoveryMessage,
    SignalingExchangeMessage, SnarkInfo, SnarkJobCommitment, StagedLedgerPart, StagedLedgerPartKind,
    StreamingRpcMessage, TransactionInfo,
};
use mina_p2p_wire::{
    Address, BlockKey, ChainId, CompressedPublicKey, Host, JobId, LedgerHash, PeerId, PublicKey, SecretKey, Signaling,
    StateHash, TransactionHash,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::AnyMessage;

/// Numbers of every encoded length, rather than mostly of the greatest.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn number32() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32_u32).prop_map(|(number, shift)| number >> shift)
}

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(|seed| SecretKey::from_bytes(seed).public_key())
}

pub(crate) fn peer_id() -> impl Strategy<Value = PeerId> {
    // Any bytes can stand for a peer; quarters that start with zeros are shorter on the wire.
    vec(number(), 4).prop_map(|quarters| {
        let mut bytes = [0; 32];
        for (bytes, quarter) in bytes.chunks_mut(8).zip(quarters) {
            bytes.copy_from_slice(&quarter.to_be_bytes());
        }
        PeerId::from_bytes(bytes)
    })
}

pub(crate) fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z0-9_-]{1,20}(\\.[a-z0-9-]{1,20}){0,3}\\.[a-z]{2,9}".prop_map(|name| name.parse().unwrap()),
        any::<[u8; 4]>().prop_map(|address| Host::Ipv4(address.into())),
        any::<[u16; 8]>().prop_map(|address| Host::Ipv6(address.into())),
    ]
}

fn signaling() -> impl Strategy<Value = Signaling> {
    prop_oneof![
        (host(), any::<u16>()).prop_map(|(host, port)| Signaling::Http { host, port }),
        (host(), any::<u16>()).prop_map(|(host, port)| Signaling::Https { host, port }),
        (any::<u16>(), host(), any::<u16>())
            .prop_map(|(cluster, host, port)| { Signaling::HttpsProxy { cluster, host, port } }),
        peer_id().prop_map(|peer_id| Signaling::Relay { peer_id }),
    ]
}

pub(crate) fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        (peer_id(), signaling()).prop_map(|(peer_id, signaling)| Address::WebRtc { peer_id, signaling }),
        (peer_id(), host(), any::<u16>()).prop_map(|(peer_id, host, port)| Address::Libp2p { peer_id, host, port }),
        (peer_id(), host(), any::<u16>()).prop_map(|(peer_id, host, port)| Address::Quic { peer_id, host, port }),
    ]
}

fn account() -> impl Strategy<Value = CompressedPublicKey> {
    any::<([u8; 32], bool)>().prop_map(|(x, is_odd)| CompressedPublicKey { x, is_odd })
}

fn job_id() -> impl Strategy<Value = JobId> {
    vec(any::<u8>(), JobId::LEN).prop_map(|bytes| JobId(bytes.try_into().unwrap()))
}

fn transaction() -> impl Strategy<Value = TransactionInfo> {
    (any::<[u8; 32]>(), account(), number(), number32()).prop_map(|(hash, fee_payer, fee, nonce)| TransactionInfo {
        hash: TransactionHash(hash),
        fee_payer,
        fee,
        nonce,
    })
}

fn snark() -> impl Strategy<Value = SnarkInfo> {
    (job_id(), number(), account()).prop_map(|(job_id, fee, prover)| SnarkInfo { job_id, fee, prover })
}

fn commitment() -> impl Strategy<Value = SnarkJobCommitment> {
    (number(), job_id(), number(), account()).prop_map(|(timestamp_ms, job_id, fee, snarker)| SnarkJobCommitment {
        timestamp_ms,
        job_id,
        fee,
        snarker,
    })
}

fn pool<Item: std::fmt::Debug + Clone>(item: impl Strategy<Value = Item>) -> impl Strategy<Value = PoolMessage<Item>> {
    prop_oneof![
        any::<u8>().prop_map(|limit| PoolMessage::GetNext { limit }),
        any::<u8>().prop_map(|count| PoolMessage::WillSend { count }),
        item.prop_map(PoolMessage::Item),
    ]
}

fn ledger_query() -> impl Strategy<Value = LedgerQuery> {
    let address = || {
        (any::<u8>(), 0..4_usize).prop_flat_map(|(depth, more)| {
            let len = (usize::from(depth).div_ceil(8) + more).min(MerkleAddress::MAX_PATH_LEN);
            vec(any::<u8>(), len).prop_map(move |path| MerkleAddress::new(depth, path).unwrap())
        })
    };
    prop_oneof![
        address().prop_map(LedgerQuery::WhatChildHashes),
        address().prop_map(LedgerQuery::WhatContents),
        Just(LedgerQuery::NumAccounts),
    ]
}

fn rpc_request() -> impl Strategy<Value = RpcRequest> {
    let hash = any::<[u8; 32]>;
    prop_oneof![
        Just(RpcRequest::BestTipWithProof),
        (hash(), ledger_query()).prop_map(|(ledger, query)| RpcRequest::LedgerQuery(LedgerHash(ledger), query)),
        hash().prop_map(|block| RpcRequest::StagedLedgerAux(StateHash(block))),
        hash().prop_map(|block| RpcRequest::Block(StateHash(block))),
        job_id().prop_map(RpcRequest::Snark),
        hash().prop_map(|transaction| RpcRequest::Transaction(TransactionHash(transaction))),
        Just(RpcRequest::InitialPeers),
    ]
}

fn rpc_response() -> impl Strategy<Value = RpcResponse> {
    prop_oneof![
        payload().prop_map(RpcResponse::BestTipWithProof),
        payload().prop_map(RpcResponse::LedgerAnswer),
        payload().prop_map(RpcResponse::StagedLedgerAux),
        payload().prop_map(RpcResponse::Block),
        payload().prop_map(RpcResponse::Snark),
        payload().prop_map(RpcResponse::Transaction),
        vec(address(), 0..8).prop_map(RpcResponse::InitialPeers),
    ]
}

fn part() -> impl Strategy<Value = StagedLedgerPart> {
    let kind = prop_oneof![
        Just(StagedLedgerPartKind::Base),
        Just(StagedLedgerPartKind::ScanStateBase),
        Just(StagedLedgerPartKind::PreviousIncompleteZkappUpdates),
        Just(StagedLedgerPartKind::ScanStateTree),
    ];
    (kind, payload()).prop_map(|(kind, body)| StagedLedgerPart { kind, body })
}

fn extension() -> impl Strategy<Value = ExtensionMessage> {
    let failure = prop_oneof![
        Just(ExtensionError::Unknown),
        Just(ExtensionError::Busy),
        "\\PC{0,60}".prop_map(ExtensionError::Failed),
    ];
    let result = prop_oneof![payload().prop_map(Ok), failure.prop_map(Err)];
    prop_oneof![
        (number(), "\\PC{1,16}", number32(), number32(), payload()).prop_map(
            |(id, name, version, max_answer, body)| {
                ExtensionMessage::Request { id, name: name.parse().unwrap(), version, max_answer, body }
            }
        ),
        (number(), result).prop_map(|(id, result)| ExtensionMessage::Response { id, result }),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    let signature = option::of(vec(any::<u8>(), 64).prop_map(|bytes| <[u8; 64]>::try_from(bytes).unwrap()));
    let agent =
        "\\PC{0,21}".prop_filter("an agent has at most 64 bytes", |agent: &String| agent.len() <= MAX_AGENT_LEN);
    (number32(), any::<[u8; 32]>(), number(), vec(address(), 0..=MAX_LISTEN_ADDRESSES), agent, signature).prop_map(
        |(protocol_version, chain_id, capabilities, listen_addresses, agent, signature)| Hello {
            protocol_version,
            chain_id: ChainId(chain_id),
            capabilities: Capabilities::from_bits(capabilities),
            listen_addresses,
            agent,
            identity_signature: signature,
        },
    )
}

fn discovery() -> impl Strategy<Value = SignalingDiscoveryMessage> {
    use SignalingDiscoveryMessage as M;
    prop_oneof![
        Just(M::GetNext),
        Just(M::Discover),
        public_key().prop_map(|target| M::Discovered { target }),
        Just(M::DiscoveredReject),
        payload().prop_map(M::DiscoveredAccept),
        option::of(payload()).prop_map(M::Answer),
    ]
}

fn exchange() -> impl Strategy<Value = SignalingExchangeMessage> {
    use SignalingExchangeMessage as M;
    prop_oneof![
        Just(M::GetNext),
        (public_key(), payload()).prop_map(|(offerer, offer)| M::OfferToYou { offerer, offer }),
        option::of(payload()).prop_map(M::Answer),
    ]
}

/// A short id, or the item itself, for each place; enough places for gaps of two encoded lengths.
fn item_list() -> impl Strategy<Value = ItemList> {
    let item = prop_oneof![9 => any::<[u8; 6]>().prop_map(Ok), 1 => payload().prop_map(Err)];
    (any::<([u8; 8], [u8; 32])>(), payload(), vec(item, 0..200)).prop_map(|((nonce, root), skeleton, items)| {
        let mut list =
            ItemList { nonce, root: ItemsRoot(root), skeleton, short_ids: Vec::new(), prefilled: Vec::new() };
        for (place, item) in (0..).zip(items) {
            match item {
                Ok(id) => list.short_ids.push(id),
                Err(item) => list.prefilled.push((place, item)),
            }
        }
        list
    })
}

fn compact() -> impl Strategy<Value = CompactMessage> {
    use CompactMessage as M;
    let hash = any::<[u8; 32]>;
    let announcement = (hash(), number32(), option::of(hash()), option::of(hash()));
    prop_oneof![
        number32().prop_map(|max_len| M::Permit { max_len }),
        (number(), number32()).prop_map(|(permit, max_len)| M::Change { permit, max_len }),
        announcement.prop_map(|(key, height, state_hash, root)| M::Announce(Announcement {
            key: BlockKey(key),
            height,
            state_hash: state_hash.map(StateHash),
            root: root.map(ItemsRoot),
        })),
        payload().prop_map(M::Header),
        (hash(), item_list()).prop_map(|(key, list)| M::List { key: BlockKey(key), list }),
        (payload(), item_list()).prop_map(|(header, list)| M::Compact { header, list }),
    ]
}

/// Any query about a block.
pub(crate) fn block_query() -> impl Strategy<Value = BlockQuery> {
    let hash = any::<[u8; 32]>;
    let places = proptest::collection::btree_set(0..MAX_COMPACT_ITEMS as u32, 1..40);
    prop_oneof![
        (hash(), any::<bool>()).prop_map(|(key, with_header)| BlockQuery::Compact { key: BlockKey(key), with_header }),
        (hash(), hash(), places).prop_map(|(key, root, places)| BlockQuery::Items {
            key: BlockKey(key),
            root: ItemsRoot(root),
            places: places.into_iter().collect(),
        }),
        (hash(), hash()).prop_map(|(key, root)| BlockQuery::Ids { key: BlockKey(key), root: ItemsRoot(root) }),
        (hash(), number32()).prop_map(|(key, index)| BlockQuery::Chunk { key: BlockKey(key), index }),
    ]
}

/// Any answer to one.
pub(crate) fn block_answer() -> impl Strategy<Value = BlockAnswer> {
    let hashes = || vec(any::<[u8; 32]>(), 0..20);
    prop_oneof![
        Just(BlockAnswer::NotHere),
        Just(BlockAnswer::OtherRoot),
        payload().prop_map(BlockAnswer::Header),
        (option::of(payload()), item_list()).prop_map(|(header, list)| BlockAnswer::Compact { header, list }),
        (vec(payload(), 0..20), hashes()).prop_map(|(items, proof)| BlockAnswer::Items { items, proof }),
        hashes().prop_map(|ids| BlockAnswer::Ids(ids.into_iter().map(ItemId).collect())),
        payload().prop_map(BlockAnswer::Chunk),
    ]
}

/// Any message of any channel.
pub(crate) fn message() -> impl Strategy<Value = AnyMessage> {
    let best_tip = prop_oneof![Just(BestTipMessage::GetNext), payload().prop_map(BestTipMessage::BestTip)];
    let rpc = prop_oneof![
        (number(), rpc_request()).prop_map(|(id, request)| RpcMessage::Request { id, request }),
        (number(), option::of(rpc_response())).prop_map(|(id, response)| RpcMessage::Response { id, response }),
    ];
    let streaming = prop_oneof![
        number().prop_map(|id| StreamingRpcMessage::Next { id }),
        (number(), any::<[u8; 32]>())
            .prop_map(|(id, block)| StreamingRpcMessage::Request { id, block: StateHash(block) }),
        (number(), option::of(part())).prop_map(|(id, part)| StreamingRpcMessage::Response { id, part }),
    ];
    prop_oneof![
        hello().prop_map(AnyMessage::Hello),
        discovery().prop_map(AnyMessage::Discovery),
        exchange().prop_map(AnyMessage::Exchange),
        best_tip.prop_map(AnyMessage::BestTip),
        pool(transaction()).prop_map(AnyMessage::Transaction),
        pool(snark()).prop_map(AnyMessage::Snark),
        pool(commitment()).prop_map(AnyMessage::Commitment),
        rpc.prop_map(AnyMessage::Rpc),
        streaming.prop_map(AnyMessage::StreamingRpc),
        extension().prop_map(AnyMessage::Extension),
        compact().prop_map(AnyMessage::Compact),
    ]
}
