//! The content of the vector files.

use bytes::Bytes;
use mina_p2p_wire::binprot::{self, Writer};
use mina_p2p_wire::message::{
    self, BestTipMessage, Capabilities, CommitmentMessage, ExtensionError, ExtensionMessage, Hello, LedgerQuery,
    MerkleAddress, RpcKind, RpcMessage, RpcRequest, RpcResponse, SignalingDiscoveryMessage, SignalingExchangeMessage,
    SnarkInfo, SnarkJobCommitment, SnarkMessage, StagedLedgerPart, StagedLedgerPartKind, StreamingRpcMessage,
    TransactionInfo, TransactionMessage,
};
use mina_p2p_wire::{
    Address, ChainId, Channel, CompressedPublicKey, DomainName, Host, JobId, LedgerHash, PROTOCOL_VERSION, SecretKey,
    StateHash, TransactionHash, frame,
};
use serde_json::{Value, json};

use super::common::{AnyMessage, hex, unhex};
use super::{compact, outcome, signaling};

/// Every file's name and content.
pub(crate) fn files() -> Vec<(&'static str, Value)> {
    vec![
        ("integers.json", integers()),
        ("identities.json", identities()),
        ("addresses.json", addresses()),
        ("channels.json", channels()),
        ("messages.json", messages()),
        ("odd_bodies.json", odd_bodies()),
        ("block_rpcs.json", compact::block_rpcs()),
        ("signaling.json", signaling::vectors()),
    ]
}

pub(crate) fn write_number(writer: &mut Writer, kind: &str, value: i128) {
    match kind {
        "nat0" => writer.nat0(value.try_into().unwrap()),
        "int" => writer.int(value.try_into().unwrap()),
        "u8" => writer.u8(value.try_into().unwrap()),
        "u16" => writer.u16(value.try_into().unwrap()),
        "u32" => writer.u32(value.try_into().unwrap()),
        "UInt32" => writer.uint32(value.try_into().unwrap()),
        "UInt64" => writer.uint64(value.try_into().unwrap()),
        other => panic!("{other}"),
    }
}

fn integers() -> Value {
    let edges: [i128; 12] =
        [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    let large: [i128; 4] = [1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1];
    let negative: [i128; 8] = [-1, -0x80, -0x81, -0x8000, -0x8001, -0x8000_0000, -0x8000_0001, -(1 << 63)];
    let ranges: [(&str, i128, i128); 7] = [
        ("nat0", 0, u64::MAX.into()),
        ("int", i64::MIN.into(), i64::MAX.into()),
        ("u8", 0, u8::MAX.into()),
        ("u16", 0, u16::MAX.into()),
        ("u32", 0, u32::MAX.into()),
        ("UInt32", 0, u32::MAX.into()),
        ("UInt64", 0, u64::MAX.into()),
    ];
    let mut canonical = Vec::new();
    for (kind, min, max) in ranges {
        for value in edges.into_iter().chain(large).chain(negative) {
            if (min..=max).contains(&value) {
                let mut writer = Writer::new();
                write_number(&mut writer, kind, value);
                canonical.push(json!({
                    "type": kind,
                    "value": value.to_string(),
                    "hex": hex(&writer.finish()),
                }));
            }
        }
    }
    let too_long = [
        ("nat0", "5", "fe0500"),
        ("nat0", "5", "fd05000000"),
        ("nat0", "65535", "fcffff000000000000"),
        ("int", "5", "ff05"),
        ("int", "-1", "feffff"),
        ("int", "128", "fd80000000"),
        ("u8", "255", "fcff00000000000000"),
        ("UInt32", "4294967295", "fcffffffffffffffff"),
        ("UInt64", "18446744073709551615", "fdffffffff"),
    ]
    .map(|(kind, value, hex)| json!({ "type": kind, "value": value, "hex": hex }));
    let refused = [
        ("nat0", "", "UnexpectedEnd"),
        ("nat0", "fe00", "UnexpectedEnd"),
        ("int", "fc00000000000000", "UnexpectedEnd"),
        ("nat0", "80", "InvalidInteger"),
        ("nat0", "fb00000000", "InvalidInteger"),
        ("nat0", "ffff", "InvalidInteger"),
        ("int", "80", "InvalidInteger"),
        ("u8", "fe0001", "OutOfRange"),
        ("u8", "ffff", "OutOfRange"),
        ("u16", "fd00000100", "OutOfRange"),
        ("u32", "fc0000000001000000", "OutOfRange"),
        ("u32", "ffff", "OutOfRange"),
        ("UInt32", "fcffffffff00000000", "OutOfRange"),
    ]
    .map(|(kind, hex, error)| json!({ "type": kind, "hex": hex, "error": error }));
    json!({ "canonical": canonical, "too_long": too_long, "refused": refused })
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn identities() -> Value {
    let keys = (0..4).map(|seed| {
        let secret = secret(seed);
        let public = secret.public_key();
        json!({
            "seed_hex": hex(&*secret.to_bytes()),
            "secret": *secret.to_text(),
            "public": public.to_string(),
            "public_binprot_hex": hex(&binprot::encode(&public)),
            "peer_id": public.peer_id().to_string(),
            "peer_id_binprot_hex": hex(&binprot::encode(&public.peer_id())),
            "libp2p": public.peer_id().to_libp2p(),
            "signature_hex": hex(&secret.sign(b"message")),
        })
    });
    let public = secret(0).public_key().to_string();
    let refused = [
        ("secret", public.clone(), "WrongPrefix"),
        ("peer id", public.clone(), "WrongPrefix"),
        ("public", public.replacen('k', "m", 1), "WrongChecksum"),
        ("public", public[1..].to_owned(), "WrongChecksum"),
        ("public", format!("{public}0"), "NotBase58"),
        ("public", public.repeat(2), "WrongLength"),
        ("peer id", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_owned(), "WrongChecksum"),
    ]
    .map(|(kind, text, error)| json!({ "as": kind, "text": text, "error": error }));
    json!({
        "signed_message": "message",
        "keys": keys.collect::<Vec<_>>(),
        "refused": refused,
    })
}

fn address_texts() -> Vec<String> {
    let id = secret(1).peer_id();
    let libp2p = id.to_libp2p();
    vec![
        format!("/{id}/http/127.0.0.1/8302"),
        format!("/{id}/http/192.168.128.255/65535"),
        format!("/{id}/http/signal.example.com/80"),
        format!("/{id}/http/[2001:db8:ffff:8000::1]/8080"),
        format!("/{id}/https/signal.example.com/443"),
        format!("/{id}/https_proxy/65535/proxy.example.com/443"),
        format!("/{id}/p2p/{}", secret(2).peer_id()),
        format!("/ip4/10.1.2.3/tcp/8302/p2p/{libp2p}"),
        format!("/ip6/2001:db8::1/tcp/8302/p2p/{libp2p}"),
        format!("/dns4/seed.example.net/tcp/10003/p2p/{libp2p}"),
        format!("/ip4/10.1.2.3/udp/8302/mina-quic/p2p/{libp2p}"),
        format!("/ip6/::1/udp/8302/mina-quic/p2p/{libp2p}"),
        format!("/dns4/seed.example.net/udp/0/mina-quic/p2p/{libp2p}"),
    ]
}

fn all_addresses() -> Vec<Address> {
    address_texts().iter().map(|text| text.parse().unwrap()).collect()
}

fn addresses() -> Value {
    let addresses = all_addresses().into_iter().map(|address| {
        json!({
            "text": address.to_string(),
            "binprot_hex": hex(&binprot::encode(&address)),
        })
    });
    let id = secret(1).peer_id();
    let libp2p = id.to_libp2p();
    let otherwise = [
        format!("/{id}/http/1.2.3.4/80/"),
        format!("/{id}/http/1.2.3.4/80/extra"),
        format!("/{id}/http/SIGNAL.example.com/80"),
        format!("/{libp2p}/http/1.2.3.4/80"),
        format!("/dns6/a.example/tcp/1/p2p/{libp2p}"),
        format!("/dns6/a.example/udp/1/mina-quic/p2p/{libp2p}"),
        format!("/dns4/1.2.3.4/tcp/1/p2p/{libp2p}"),
    ]
    .map(|text| json!({ "printed": text.parse::<Address>().unwrap().to_string(), "text": text }));
    let refused = [
        String::new(),
        "/".to_owned(),
        format!("/{id}"),
        format!("{id}/http/1.2.3.4/80"),
        format!("/{id}/http/1.2.3.4"),
        format!("/{id}/http/1.2.3.4/65536"),
        format!("/{id}/http/1.2.3.4/+80"),
        format!("/{id}/http/1.2.3/80"),
        format!("/{id}/http/::1/80"),
        format!("/{id}/http/b\u{fc}cher.example/80"),
        format!("/{id}/http/{}.example/80", "a".repeat(250)),
        format!("/{id}/ws/1.2.3.4/80"),
        format!("/{id}/https_proxy/70000/h.example/443"),
        format!("/{id}/p2p/nobody"),
        "/ip4/1.2.3.4/tcp/8302".to_owned(),
        format!("/ip4/1.2.3.4/tcp/8302/p2p/{id}"),
        format!("/ip4/1.2.3.4/udp/8302/p2p/{libp2p}"),
        format!("/ip4/1.2.3.4/udp/8302/quic-v1/p2p/{libp2p}"),
        format!("/ip4/1.2.3.4/tcp/8302/mina-quic/p2p/{libp2p}"),
        format!("/ip4/::1/tcp/8302/p2p/{libp2p}"),
        format!("/ip4/1.2.3.4/tcp/8302/p2p/{libp2p}/p2p-circuit"),
    ];
    json!({
        "addresses": addresses.collect::<Vec<_>>(),
        "read_otherwise": otherwise,
        "refused": refused,
    })
}

fn channels() -> Value {
    let channels = Channel::ALL.map(|channel| {
        json!({
            "id": channel.id(),
            "label": channel.label(),
            "max_frame_len": channel.max_frame_len(),
        })
    });
    json!({ "channels": channels, "limits": limits() })
}

/// The limits of SPEC, section 7.
fn limits() -> Value {
    json!({
        "domain_name": DomainName::MAX_LEN,
        "host": Host::MAX_LEN,
        "address": Address::MAX_LEN,
        "get_next": message::MAX_GET_NEXT_LEN,
        "will_send": message::MAX_WILL_SEND_LEN,
        "transaction_info": message::MAX_TRANSACTION_INFO_LEN,
        "snark_info": message::MAX_SNARK_INFO_LEN,
        "commitment": message::MAX_COMMITMENT_LEN,
        "encrypted": message::MAX_ENCRYPTED_LEN,
        "block": message::MAX_BLOCK_LEN,
        "rpc_request": message::MAX_RPC_REQUEST_LEN,
        "rpc_response_head": message::MAX_RPC_RESPONSE_HEAD_LEN,
        "rpc_answers": RpcKind::ALL.map(RpcKind::max_answer_len),
        "initial_peers_count": message::MAX_INITIAL_PEERS,
        "streaming_request": message::MAX_STREAMING_REQUEST_LEN,
        "streaming_response_head": message::MAX_STREAMING_RESPONSE_HEAD_LEN,
        "staged_ledger_part": message::MAX_STAGED_LEDGER_PART_LEN,
        "scan_state_trees": message::MAX_SCAN_STATE_TREES,
        "extension_name": message::MAX_EXTENSION_NAME_LEN,
        "extension_error": message::MAX_EXTENSION_ERROR_LEN,
        "extension_body": message::MAX_EXTENSION_BODY_LEN,
        "extension_request_head": message::MAX_EXTENSION_HEAD_LEN,
        "extension_response_head": message::MAX_EXTENSION_RESPONSE_HEAD_LEN,
        "compact_permit": message::MAX_COMPACT_PERMIT_LEN,
        "compact_announcement": message::MAX_ANNOUNCEMENT_LEN,
        "compact_message": message::MAX_COMPACT_LEN,
        "compact_items": message::MAX_COMPACT_ITEMS,
        "compact_item": message::MAX_ITEM_LEN,
        "block_header": message::MAX_HEADER_LEN,
        "block_query": message::BlockQuery::MAX_LEN,
        "hello": message::HELLO_MAX_LEN,
        "hello_agent": message::MAX_AGENT_LEN,
        "hello_addresses": message::MAX_LISTEN_ADDRESSES,
        "hello_address": message::MAX_HELLO_ADDRESS_LEN,
    })
}

pub(crate) fn pattern<const N: usize>(step: u8) -> [u8; N] {
    std::array::from_fn(|i| (i as u8).wrapping_mul(step))
}

fn account() -> CompressedPublicKey {
    CompressedPublicKey { x: pattern(3), is_odd: true }
}

pub(crate) fn payload() -> Bytes {
    Bytes::from_static(b"opaque")
}

/// Every kind of message, with each number at the edges of its encoded lengths somewhere. In the order of the channels.
fn corpus() -> Vec<(&'static str, AnyMessage)> {
    let mut all = hellos();
    all.extend(signaling());
    all.extend(pools());
    all.extend(rpcs());
    all.extend(extensions());
    all.extend(compact::messages());
    all
}

fn hellos() -> Vec<(&'static str, AnyMessage)> {
    let least = Hello {
        protocol_version: PROTOCOL_VERSION,
        chain_id: ChainId(pattern(1)),
        capabilities: Capabilities::empty(),
        listen_addresses: Vec::new(),
        agent: String::new(),
        identity_signature: None,
    };
    let usual = Hello {
        capabilities: Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC | Capabilities::COMPACT_BLOCKS,
        listen_addresses: all_addresses().split_off(10),
        agent: "mina-p2p/0.1.0".to_owned(),
        ..least.clone()
    };
    let other = Hello {
        protocol_version: u32::MAX,
        capabilities: Capabilities::from_bits(1 << 40),
        agent: "\u{fc}".to_owned(),
        identity_signature: Some(pattern(5)),
        ..least.clone()
    };
    vec![
        ("Hello, least", AnyMessage::Hello(least)),
        ("Hello, usual", AnyMessage::Hello(usual)),
        ("Hello, signed, with unknown capabilities", AnyMessage::Hello(other)),
    ]
}

fn signaling() -> Vec<(&'static str, AnyMessage)> {
    use SignalingDiscoveryMessage as D;
    use SignalingExchangeMessage as E;
    let encrypted = Bytes::from_static(&[0, 0x7f, 0x80, 0xff]);
    let key = secret(2).public_key();
    let discovery = [
        ("discovery GetNext", D::GetNext),
        ("discovery Discover", D::Discover),
        ("discovery Discovered", D::Discovered { target: key }),
        ("discovery DiscoveredReject", D::DiscoveredReject),
        ("discovery DiscoveredAccept", D::DiscoveredAccept(encrypted.clone())),
        ("discovery Answer, none", D::Answer(None)),
        ("discovery Answer", D::Answer(Some(encrypted.clone()))),
    ]
    .map(|(name, message)| (name, AnyMessage::Discovery(message)));
    let offer = E::OfferToYou { offerer: key, offer: encrypted.clone() };
    let exchange = [
        ("exchange GetNext", E::GetNext),
        ("exchange OfferToYou", offer),
        ("exchange Answer, none", E::Answer(None)),
        ("exchange Answer", E::Answer(Some(encrypted))),
    ]
    .map(|(name, message)| (name, AnyMessage::Exchange(message)));
    discovery.into_iter().chain(exchange).collect()
}

fn pools() -> Vec<(&'static str, AnyMessage)> {
    let transaction = |fee, nonce| {
        TransactionMessage::Item(TransactionInfo {
            hash: TransactionHash(pattern(7)),
            fee_payer: account(),
            fee,
            nonce,
        })
    };
    let snark = |fee| SnarkMessage::Item(SnarkInfo { job_id: JobId(pattern(1)), fee, prover: account() });
    let commitment = |timestamp_ms, fee| {
        CommitmentMessage::Item(SnarkJobCommitment { timestamp_ms, job_id: JobId(pattern(1)), fee, snarker: account() })
    };
    let best_tip =
        [("best tip GetNext", BestTipMessage::GetNext), ("best tip BestTip", BestTipMessage::BestTip(payload()))]
            .map(|(name, message)| (name, AnyMessage::BestTip(message)));
    let transactions = [
        ("transaction GetNext, 32", TransactionMessage::GetNext { limit: 32 }),
        ("transaction GetNext, 128", TransactionMessage::GetNext { limit: 128 }),
        ("transaction WillSend, 255", TransactionMessage::WillSend { count: 255 }),
        ("transaction", transaction(1_000_000, 7)),
        ("transaction, numbers as nat0 and int differ", transaction(0x8000, 0x8000)),
        ("transaction, greatest", transaction(u64::MAX, u32::MAX)),
    ]
    .map(|(name, message)| (name, AnyMessage::Transaction(message)));
    let snarks = [
        ("snark GetNext, 1", SnarkMessage::GetNext { limit: 1 }),
        ("snark WillSend, 3", SnarkMessage::WillSend { count: 3 }),
        ("snark", snark(250_000_000)),
        ("snark, fee as nat0 and int differ", snark(0x8000)),
        ("snark, greatest fee", snark(u64::MAX)),
    ]
    .map(|(name, message)| (name, AnyMessage::Snark(message)));
    let commitments = [
        ("commitment GetNext, 16", CommitmentMessage::GetNext { limit: 16 }),
        ("commitment WillSend, 2", CommitmentMessage::WillSend { count: 2 }),
        ("commitment", commitment(1_700_000_000_123, 1)),
        ("commitment, greatest", commitment(u64::MAX, u64::MAX)),
    ]
    .map(|(name, message)| (name, AnyMessage::Commitment(message)));
    best_tip.into_iter().chain(transactions).chain(snarks).chain(commitments).collect()
}

fn rpcs() -> Vec<(&'static str, AnyMessage)> {
    let ledger = LedgerHash(pattern(9));
    let block = StateHash(pattern(11));
    let at = |depth, path: &[u8]| MerkleAddress::new(depth, path.to_vec()).unwrap();
    let children = LedgerQuery::WhatChildHashes(at(27, &[0, 0, 4, 0x60]));
    let contents = LedgerQuery::WhatContents(at(29, &[0xff, 0, 4, 0x60]));
    let deepest = LedgerQuery::WhatContents(at(255, &[0xa5; 32]));
    let requests = [
        ("rpc Request BestTipWithProof", RpcRequest::BestTipWithProof),
        ("rpc Request LedgerQuery NumAccounts", RpcRequest::LedgerQuery(ledger, LedgerQuery::NumAccounts)),
        ("rpc Request LedgerQuery WhatChildHashes", RpcRequest::LedgerQuery(ledger, children)),
        ("rpc Request LedgerQuery WhatContents", RpcRequest::LedgerQuery(ledger, contents)),
        ("rpc Request LedgerQuery, longest", RpcRequest::LedgerQuery(ledger, deepest)),
        ("rpc Request StagedLedgerAux", RpcRequest::StagedLedgerAux(block)),
        ("rpc Request Block", RpcRequest::Block(block)),
        ("rpc Request Snark", RpcRequest::Snark(JobId(pattern(1)))),
        ("rpc Request Transaction", RpcRequest::Transaction(TransactionHash(pattern(7)))),
        ("rpc Request InitialPeers", RpcRequest::InitialPeers),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (name, request))| (name, RpcMessage::Request { id: 0x7d + i as u64, request }));
    let old_kinds = all_addresses().into_iter().filter(|address| !address.is_extension());
    let responses = [
        ("rpc Response, none", None),
        ("rpc Response BestTipWithProof", Some(RpcResponse::BestTipWithProof(payload()))),
        ("rpc Response LedgerQuery", Some(RpcResponse::LedgerAnswer(payload()))),
        ("rpc Response StagedLedgerAux", Some(RpcResponse::StagedLedgerAux(payload()))),
        ("rpc Response Block", Some(RpcResponse::Block(payload()))),
        ("rpc Response Snark", Some(RpcResponse::Snark(payload()))),
        ("rpc Response Transaction", Some(RpcResponse::Transaction(payload()))),
        ("rpc Response InitialPeers, none", Some(RpcResponse::InitialPeers(Vec::new()))),
        ("rpc Response InitialPeers", Some(RpcResponse::InitialPeers(old_kinds.collect()))),
        ("rpc Response InitialPeers to our own kind", Some(RpcResponse::InitialPeers(all_addresses()))),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (name, response))| (name, RpcMessage::Response { id: 0xfffd + i as u64, response }));
    let part = |kind, body: &'static [u8]| StreamingRpcMessage::Response {
        id: u64::MAX,
        part: Some(StagedLedgerPart { kind, body: Bytes::from_static(body) }),
    };
    let streaming = [
        ("streaming rpc Next", StreamingRpcMessage::Next { id: 300 }),
        ("streaming rpc Request", StreamingRpcMessage::Request { id: 5, block }),
        ("streaming rpc Response, none", StreamingRpcMessage::Response { id: 5, part: None }),
        ("streaming rpc Response Base", part(StagedLedgerPartKind::Base, b"opaque")),
        (
            "streaming rpc Response ScanStateBase",
            part(StagedLedgerPartKind::ScanStateBase, &[2, 0, 0x0b, 0xfe, 0x80, 0, 2]),
        ),
        (
            "streaming rpc Response PreviousIncompleteZkappUpdates",
            part(StagedLedgerPartKind::PreviousIncompleteZkappUpdates, b"opaque"),
        ),
        ("streaming rpc Response ScanStateTree", part(StagedLedgerPartKind::ScanStateTree, b"opaque")),
    ]
    .map(|(name, message)| (name, AnyMessage::StreamingRpc(message)));
    requests.chain(responses).map(|(name, message)| (name, AnyMessage::Rpc(message))).chain(streaming).collect()
}

fn extensions() -> Vec<(&'static str, AnyMessage)> {
    let request = |id, name: &str, version, max_answer, body| {
        let name = name.parse().unwrap();
        ExtensionMessage::Request { id, name, version, max_answer, body }
    };
    let response = |id, result| ExtensionMessage::Response { id, result };
    [
        ("extension Request", request(1, "get_ancestry", 2, 1 << 20, payload())),
        (
            "extension Request, empty, longest head",
            request(u64::MAX, &"n".repeat(64), u32::MAX, u32::MAX, Bytes::new()),
        ),
        ("extension Response", response(1, Ok(payload()))),
        ("extension Response, empty", response(1, Ok(Bytes::new()))),
        ("extension Response Unknown", response(1, Err(ExtensionError::Unknown))),
        ("extension Response Busy", response(1, Err(ExtensionError::Busy))),
        ("extension Response Failed", response(1, Err(ExtensionError::Failed("no such block".to_owned())))),
    ]
    .map(|(name, message)| (name, AnyMessage::Extension(message)))
    .into()
}

fn messages() -> Value {
    let messages = corpus().into_iter().map(|(name, message)| {
        let body = message.encode().into_bytes();
        let head = frame::head(u32::try_from(body.len()).unwrap());
        json!({
            "name": name,
            "channel": message.channel().map(Channel::id),
            "body_hex": hex(&body),
            "framed_hex": hex(&[&head[..], &body].concat()),
            "meaning": message.meaning(),
        })
    });
    json!({ "messages": messages.collect::<Vec<_>>() })
}

/// Bodies that our encoder does not write: some are taken, the rest refused.
fn odd_bodies() -> Value {
    let zeros = "00".repeat(32);
    let key = hex(&secret(2).public_key().to_bytes());
    let chain = hex(&pattern::<32>(1));
    let bodies: [(&str, u8, String); 43] = [
        ("empty", 3, String::new()),
        ("unknown tag", 3, "02".into()),
        ("bytes after a message", 3, "00010203".into()),
        ("limit longer than needed", 4, "00fe0500".into()),
        ("limit 0", 4, "0000".into()),
        ("limit 256", 4, "00fe0001".into()),
        ("limit -1", 4, "00ffff".into()),
        ("unknown tag", 4, "0300".into()),
        ("item cut off", 4, format!("02{zeros}")),
        ("item with parity 2", 4, format!("02{zeros}{zeros}02")),
        ("item with a fee that starts no number", 4, format!("02{zeros}{zeros}0080")),
        ("item with a nonce above 32 bits", 4, format!("02{zeros}{zeros}0000fc0000000001000000")),
        ("item with a fee longer than needed", 4, format!("02{zeros}{zeros}00fe010000")),
        ("item with bytes after it", 5, format!("02{}00{zeros}0000", zeros.repeat(4))),
        ("unknown tag", 6, "03".into()),
        ("unknown tag", 1, "06".into()),
        ("point that is not on the curve", 1, format!("0202{}", "00".repeat(31))),
        ("small-order point, y = 0", 1, format!("02{zeros}")),
        ("small-order point, y = 1", 1, format!("0201{}", "00".repeat(31))),
        ("option tag 2", 1, "0502".into()),
        ("list element 256", 1, "0401fe0001".into()),
        ("list cut off", 1, "040501".into()),
        ("list of 2^63 - 1 elements", 1, "04fcffffffffffffff7f".into()),
        ("list of 2^64 - 1 elements", 1, "04fcffffffffffffffff".into()),
        ("list of 16,385 elements", 1, format!("04fe0140{}", "00".repeat(16))),
        ("list of elements longer than needed", 2, format!("01{key}01fe0500")),
        ("unknown tag", 2, "03".into()),
        ("unknown request", 7, "000007".into()),
        ("unknown answer", 7, "01000107".into()),
        ("invalid domain name", 7, "01000106010100000000000361206201".into()),
        ("domain name in capitals", 7, "0100010601010000000000024141 01".replace(' ', "")),
        ("IPv4 address as a domain name", 7, "010001060101000000000007312e322e332e3401".into()),
        ("unknown kind of address", 7, "010001060103".into()),
        ("1,025 addresses", 7, "01000106fe0104".into()),
        ("merkle path shorter than its depth", 7, format!("000001{zeros}00090100")),
        ("merkle path longer than its depth", 7, format!("000001{zeros}0008020000")),
        ("unknown streaming request", 8, format!("010001{zeros}")),
        ("unknown part", 8, "0200010004".into()),
        ("empty name", 16, "00000000".into()),
        ("name that is not UTF-8", 16, "000001ff00".into()),
        ("longest answer longer than needed", 16, "0000016e01fe0500".into()),
        ("longest answer of 2^32 bytes", 16, "0000016e01fc0000000001000000".into()),
        ("unknown outcome", 16, "010004".into()),
    ];
    let hellos = [
        ("Hello of a later version", format!("02{chain}000000 00").replace(' ', "") + "abcdef"),
        ("Hello with an address of an unknown kind", format!("01{chain}000102c8000000")),
        ("Hello with 17 addresses", format!("01{chain}0011")),
        ("Hello with an agent of 65 bytes", format!("01{chain}000041{}00", "61".repeat(65))),
        ("Hello with a version above 32 bits", format!("fc0000000001000000{chain}00000000")),
    ];
    let bodies = bodies
        .into_iter()
        .chain(compact::odd_bodies())
        .map(|(name, channel, body)| (name, Some(channel), body))
        .chain(hellos.into_iter().map(|(name, body)| (name, None, body)))
        .map(|(name, channel, body)| {
            let known = channel.map(|id| Channel::try_from(id).unwrap());
            json!({
                "name": name,
                "channel": channel,
                "outcome": outcome(known, unhex(&body)),
                "body_hex": body,
            })
        });
    json!({ "bodies": bodies.collect::<Vec<_>>() })
}
