//! The golden vectors of the existing node, both ways. They are not part of the repository: without them each test says so
//! and passes; `conformance.rs` covers the same with vectors of our own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::{AnyMessage, bytes, decode, hex, list, read_json, reference_vectors, text, unhex};
use mina_p2p_wire::binprot::{self, Binprot, Reader, Writer};
use mina_p2p_wire::message::{
    SnarkInfo, SnarkMessage, StagedLedgerPartKind, StreamingRpcMessage, TransactionInfo, TransactionMessage,
    previous_state_hash,
};
use mina_p2p_wire::signaling::{
    Answer, ConnectionAuth, Offer, RejectionReason, SealError, SignalingResponse, announced, open, seal,
};
use mina_p2p_wire::{Address, Channel, Host, ParseTextError, PeerId, PublicKey, SecretKey, StateHash, frame};
use serde_json::{Value, json};

fn load(file: &str) -> Option<Value> {
    reference_vectors().map(|folder| read_json(&folder.join(file)))
}

fn channel(value: &Value) -> Channel {
    let id = u8::try_from(value["channel_id"].as_u64().unwrap()).unwrap();
    id.try_into().unwrap()
}

fn reencodes<T: Binprot + std::fmt::Debug>(body: Bytes) -> T {
    let decoded = binprot::decode::<T>(body.clone()).unwrap();
    assert!(decoded.is_exact(), "{decoded:?}");
    assert_eq!(binprot::encode(&decoded.value), body);
    decoded.value
}

#[test]
fn identities() {
    let Some(vectors) = load("identity.json") else {
        return;
    };
    for key in list(&vectors, "keys") {
        let seed: [u8; 32] = bytes(key, "secret_hex")[..].try_into().unwrap();
        let secret = SecretKey::from_bytes(seed);
        assert_eq!(*secret.to_bytes(), seed);
        for member in ["secret_string", "json_secret"] {
            assert_eq!(*secret.to_text(), text(key, member));
            let read: SecretKey = text(key, member).parse().unwrap();
            assert_eq!(*read.to_bytes(), seed);
        }

        let public = secret.public_key();
        assert_eq!(hex(&public.to_bytes()), text(key, "public_hex"));
        for member in ["public_string", "json_public"] {
            assert_eq!(public.to_string(), text(key, member));
            assert_eq!(text(key, member).parse(), Ok(public));
        }
        assert_eq!(reencodes::<PublicKey>(bytes(key, "binprot_public_key_hex")), public);

        let peer_id = secret.peer_id();
        assert_eq!(peer_id, public.peer_id());
        assert_eq!(peer_id.public_key(), Ok(public));
        for member in ["peer_id_string", "json_peer_id"] {
            assert_eq!(peer_id.to_string(), text(key, member));
            assert_eq!(text(key, member).parse(), Ok(peer_id));
        }
        assert_eq!(peer_id.to_libp2p(), text(key, "libp2p_peer_id"));
        assert_eq!(PeerId::from_libp2p(text(key, "libp2p_peer_id")), Ok(peer_id));
        assert_eq!(text(key, "libp2p_peer_id").parse(), Ok(peer_id));
        assert_eq!(reencodes::<PeerId>(bytes(key, "binprot_peer_id_hex")), peer_id);
    }

    for pair in list(&vectors, "x25519_shared_keys") {
        let [a, b] = ["a", "b"].map(|side| deterministic(&pair[side]));
        assert_eq!(hex(&*a.shared_key(&b.public_key()).unwrap()), text(pair, "shared_key_hex"));
    }

    let ordered = list(&vectors, "peer_id_order_deterministic_0_to_7")
        .iter()
        .map(|id| id.as_str().unwrap().parse::<PeerId>().unwrap())
        .collect::<Vec<_>>();
    assert!(ordered.is_sorted());

    let key = &list(&vectors, "keys")[0];
    let expected = "secret key";
    assert_eq!(text(key, "peer_id_string").parse::<SecretKey>().unwrap_err(), ParseTextError::WrongPrefix { expected });
    let expected = "peer id";
    assert_eq!(text(key, "public_string").parse::<PeerId>(), Err(ParseTextError::WrongPrefix { expected }));
    let mut mistyped = text(key, "peer_id_string").to_owned();
    mistyped.pop();
    assert_eq!((mistyped + "a").parse::<PeerId>(), Err(ParseTextError::WrongChecksum));
}

/// The existing node's test key of this index: the number after it, big-endian, is the seed.
fn deterministic(index: &Value) -> SecretKey {
    let mut seed = [0; 32];
    seed[24..].copy_from_slice(&(index.as_u64().unwrap() + 1).to_be_bytes());
    SecretKey::from_bytes(seed)
}

#[test]
fn signaling() {
    let Some(vectors) = load("signaling_json.json") else {
        return;
    };
    for vector in list(&vectors, "offers") {
        let json = text(vector, "json_text");
        let offer = Offer::from_json(json.as_bytes()).unwrap();
        assert_eq!(offer.to_json(), json);
        assert_eq!(json!(offer.chain_id.to_string()).to_string(), text(&vectors, "chain_id_json"));
        let path = text(vector, "get_path_base58").strip_prefix("/mina/webrtc/signal/").unwrap();
        assert_eq!(offer.to_path(), path);
        assert_eq!(Offer::from_path(path), Ok(offer.clone()));
        let kind = match &offer.host {
            Host::Ipv4(_) => "ipv4",
            Host::Ipv6(_) => "ipv6",
            Host::Domain(_) => "domain",
        };
        assert_eq!(kind, text(vector, "name"));
        for host in list(&vectors, "host_json") {
            let own = json!({ "host": serde_json::from_str::<Value>(json).unwrap()["host"] }).to_string();
            let own = own.trim_start_matches('{').trim_end_matches('}');
            let other = format!("\"host\":{}", host.as_str().unwrap());
            let other = json.replace(&format!("{own}}}"), &other);
            assert_eq!(Offer::from_json(other.as_bytes()).unwrap().to_json(), other);
        }
    }
    let answer = text(&vectors, "answer");
    assert_eq!(Answer::from_json(answer.as_bytes()).unwrap().to_json(), answer);

    let responses = &vectors["responses"];
    let check = |vector: &Value| {
        let body = text(vector, "body");
        let response = SignalingResponse::from_json(body.as_bytes()).unwrap();
        assert_eq!(response.to_json(), body);
        assert_eq!(json!(response.http_status()), vector["http_status"]);
        response
    };
    for name in ["accepted", "internal_error", "internal_error_when_no_reply", "signal_decryption_failed"] {
        check(&responses[name]);
    }
    let rejected = list(responses, "rejected");
    for (vector, known) in rejected.iter().zip(RejectionReason::KNOWN) {
        let SignalingResponse::Rejected(reason) = check(vector) else {
            panic!("{vector}");
        };
        assert_eq!(reason, known);
        assert_eq!(reason.name(), text(vector, "reason"));
        assert_eq!(reason.to_string(), text(vector, "display"));
        assert_eq!(json!(reason.is_bad()), vector["is_bad"]);
    }
    assert_eq!(rejected.len(), RejectionReason::KNOWN.len());
}

#[test]
fn sealing() {
    let Some(vectors) = load("encryption.json") else {
        return;
    };
    let nonce = |vector: &Value| -> [u8; 12] { bytes(vector, "nonce_hex")[..].try_into().unwrap() };
    let [a, b] = ["a", "b"].map(|side| deterministic(&vectors[side]));
    assert_eq!(hex(&*a.shared_key(&b.public_key()).unwrap()), text(&vectors, "shared_key_hex"));
    for name in ["raw", "offer", "answer_accepted", "answer_rejected"] {
        let vector = &vectors[name];
        let [from, to] = ["from", "to"].map(|side| deterministic(&vector[side]));
        let plaintext = text(vector, "plaintext_utf8");
        let sealed = bytes(vector, "output_hex");
        assert_eq!(seal(&from, &to.public_key(), nonce(vector), plaintext.as_bytes()).unwrap(), sealed);
        assert_eq!(open(&to, &from.public_key(), &sealed).unwrap(), plaintext.as_bytes());
        match name {
            "raw" => {}
            "offer" => {
                let offer = Offer::open(&to, &from.public_key(), &sealed).unwrap();
                assert_eq!(offer.seal(&from, &to.public_key(), nonce(vector)).unwrap(), sealed);
            }
            _ => {
                let response = SignalingResponse::open(&to, &from.public_key(), &sealed).unwrap();
                assert_eq!(response.seal(&from, &to.public_key(), nonce(vector)).unwrap(), sealed);
            }
        }
        if let Some(encoded) = vector.get("binprot_hex(Vec<u8>)").or_else(|| vector.get("binprot_hex")) {
            let mut writer = Writer::new();
            writer.int_list(&sealed);
            assert_eq!(writer.finish(), unhex(encoded.as_str().unwrap()));
        }
    }

    let sealed = bytes(&vectors["raw"], "output_hex");
    let mut flipped = sealed.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(open(&b, &a.public_key(), &flipped), Err(SealError::NotAuthentic));
    assert_eq!(open(&b, &a.public_key(), &sealed[..11]), Err(SealError::TooShort { len: 11 }));
    assert_eq!(open(&b, &deterministic(&json!(2)).public_key(), &sealed), Err(SealError::NotAuthentic));

    let vector = &vectors["connection_auth"];
    let auth = ConnectionAuth::new(text(vector, "offer_sdp"), text(vector, "answer_sdp"));
    assert_eq!(hex(&auth.to_bytes()), text(vector, "plaintext_hex"));
    let [offerer, answerer] = ["from_offerer(0->1)", "from_answerer(1->0)"].map(|side| &vector[side]);
    let from_offerer = auth.seal(&a, &b.public_key(), nonce(offerer)).unwrap();
    let from_answerer = auth.seal(&b, &a.public_key(), nonce(answerer)).unwrap();
    assert_eq!(hex(&from_offerer), text(offerer, "output_hex"));
    assert_eq!(hex(&from_answerer), text(answerer, "output_hex"));
    assert_eq!(auth.check(&a, &b.public_key(), &from_offerer, &from_answerer), Ok(()));
    assert_eq!(auth.check(&b, &a.public_key(), &from_answerer, &from_offerer), Ok(()));
}

#[test]
fn real_session_descriptions() {
    let Some(vectors) = load("live_sdp.json") else {
        return;
    };
    let samples = list(&vectors, "samples");
    assert!(!samples.is_empty());
    for sample in samples {
        let [offer, answer] = ["offer_sdp", "answer_sdp"].map(|side| text(sample, side));
        assert_eq!(hex(&ConnectionAuth::new(offer, answer).to_bytes()), text(sample, "auth_plaintext_hex"));
        for sdp in [offer, answer] {
            assert_eq!(announced(sdp), Ok(None));
            let [own, peer] = [0, 1].map(|index| deterministic(&json!(index)));
            let offer = Offer {
                sdp: sdp.to_owned(),
                chain_id: mina_p2p_wire::ChainId([7; 32]),
                identity_pub_key: own.public_key(),
                target_peer_id: peer.peer_id(),
                host: Host::Ipv4(std::net::Ipv4Addr::LOCALHOST),
                listen_port: None,
            };
            // Nothing of an SDP is lost or changed on the way: its hash must stay the same.
            assert_eq!(Offer::from_json(offer.to_json().as_bytes()), Ok(offer.clone()));
            assert_eq!(Offer::from_path(&offer.to_path()), Ok(offer));
        }
    }
}

#[test]
fn primitives() {
    let Some(vectors) = load("primitives.json") else {
        return;
    };
    fn check<T: PartialEq + std::fmt::Debug>(
        encoded: &Value,
        value: &T,
        read: impl FnOnce(&mut Reader) -> T,
        write: impl FnOnce(&mut Writer),
    ) {
        let encoded = unhex(encoded.as_str().unwrap());
        let mut reader = Reader::new(encoded.clone());
        assert_eq!(read(&mut reader), *value);
        assert!(reader.is_canonical());
        assert_eq!(reader.remaining(), 0);
        let mut writer = Writer::new();
        write(&mut writer);
        assert_eq!(writer.finish(), encoded);
    }

    for vector in list(&vectors, "signed") {
        let value: i64 = text(vector, "value").parse().unwrap();
        check(&vector["hex"], &value, |r| r.int("n").unwrap(), |w| w.int(value));
    }
    for vector in list(&vectors, "unsigned") {
        let value: u64 = text(vector, "value").parse().unwrap();
        check(&vector["hex"], &value, |r| r.nat0("n").unwrap(), |w| w.nat0(value));
        check(&vector["u64_hex"], &value, |r| r.nat0("n").unwrap(), |w| w.nat0(value));
        check(&vector["Number<u64>(UInt64)_hex"], &value, |r| r.uint64("n").unwrap(), |w| w.uint64(value));
        if let Ok(value) = u32::try_from(value) {
            check(&vector["u32_hex"], &value, |r| r.u32("n").unwrap(), |w| w.u32(value));
            check(&vector["Number<u32>(UInt32)_hex"], &value, |r| r.uint32("n").unwrap(), |w| w.uint32(value));
        }
        if let Ok(value) = u16::try_from(value) {
            check(&vector["u16_hex"], &value, |r| r.u16("n").unwrap(), |w| w.u16(value));
        }
        if let Ok(value) = u8::try_from(value) {
            check(&vector["u8_hex"], &value, |r| r.u8("n").unwrap(), |w| w.u8(value));
        }
    }
    for (encoded, value) in list(&vectors, "bool").iter().zip([false, true]) {
        check(encoded, &value, |r| r.bool("b").unwrap(), |w| w.bool(value));
    }
    for vector in list(&vectors, "byte_vectors") {
        let raw = bytes(vector, "raw_hex");
        check(&vector["hex"], &raw, |r| r.int_list(1000, "list").unwrap(), |w| w.int_list(&raw));
    }
    check(&vectors["option_none"], &false, |r| r.option("o").unwrap(), |w| w.option(false));
    check(
        &vectors["option_some_5"],
        &(true, 5),
        |r| (r.option("o").unwrap(), r.u8("n").unwrap()),
        |w| {
            w.option(true);
            w.u8(5);
        },
    );
}

#[test]
fn addresses() {
    let Some(vectors) = load("addresses.json") else {
        return;
    };
    for vector in list(&vectors, "addresses") {
        let address: Address = reencodes(bytes(vector, "binprot_hex"));
        assert_eq!(address.to_string(), text(vector, "string"));
        // Also those that the existing node prints, but cannot parse.
        assert_eq!(text(vector, "string").parse(), Ok(address.clone()));
        let url = match &address {
            Address::WebRtc { signaling, .. } => signaling.url(),
            _ => None,
        };
        assert_eq!(json!(url), vector["http_url"]);
        assert_eq!(json!(address.host().is_some()), vector["can_connect_directly"]);
        assert!(!address.is_extension());
    }
    // These, the existing node cannot parse, and we can.
    let ours = [
        "/2cHYth99RHL4H9RJmYR72iWspkBWaUzYc6Yg9KLkcxrvxkrNoPK/p2p/2cHYth99RHL4H9RJmYR72iWspkBWaUzYc6Yg9KLkcxrvxkrNoPK",
        "/ip6/::1/tcp/8302/p2p/12D3KooWSsChzF81YDUKpe9Uk5AHV5oqAaXAcWNSPYgoLauUk4st",
    ];
    for vector in list(&vectors, "parse_cases") {
        let input = text(vector, "input");
        let parsed = input.parse::<Address>();
        if ours.contains(&input) {
            assert_eq!(parsed.unwrap().to_string(), input);
            continue;
        }
        match &vector["result"]["ok"] {
            Value::String(printed) => assert_eq!(parsed.unwrap().to_string(), *printed),
            _ => assert!(parsed.is_err(), "{input}"),
        }
    }
}

/// Whether a message means what the existing node says. Opaque payloads, which it prints at length, are left out.
fn means(message: &AnyMessage, expected: &Value) -> bool {
    fn same(ours: &Value, expected: &Value) -> bool {
        match (ours, expected) {
            (Value::Object(ours), _) if ours.contains_key("opaque") => true,
            (Value::Object(ours), Value::Object(expected)) => {
                ours.len() == expected.len()
                    && ours.iter().all(|(key, ours)| expected.get(key).is_some_and(|expected| same(ours, expected)))
            }
            (Value::Array(ours), Value::Array(expected)) => {
                ours.len() == expected.len() && ours.iter().zip(expected).all(|(ours, expected)| same(ours, expected))
            }
            (ours, expected) => ours == expected,
        }
    }
    let omitted = expected.as_str().is_some_and(|text| text.starts_with("(json omitted"));
    omitted || same(&message.meaning(), expected)
}

fn messages(file: &str, channels: &[u8]) {
    let Some(vectors) = load(file) else {
        return;
    };
    let mut seen = BTreeSet::new();
    for vector in list(&vectors, "messages") {
        let name = text(vector, "name");
        let channel = channel(vector);
        let body = bytes(vector, "body_hex");
        let decoded = decode(Some(channel), body.clone()).unwrap();
        assert!(decoded.is_exact(), "{name}: {decoded:?}");
        let message = decoded.value;
        assert!(
            means(&message, &vector["decoded_json"]),
            "{name}: {} is not {}",
            message.meaning(),
            vector["decoded_json"]
        );
        let encoded = message.encode();
        assert_eq!(encoded.len(), body.len(), "{name}");
        let encoded = encoded.into_bytes();
        assert_eq!(encoded, body, "{name}");

        let head = frame::head(u32::try_from(body.len()).unwrap());
        // Of large messages only the head is written out.
        let framed = text(vector, "framed_hex").replace(" + body_hex", text(vector, "body_hex"));
        let framed = unhex(&framed);
        assert_eq!(framed, [&head[..], &encoded].concat(), "{name}");
        let fits = body.len() <= channel.max_frame_len() as usize;
        assert_eq!(json!(fits), vector["within_receiver_limit"], "{name}");
        seen.insert(channel.id());
    }
    assert!(seen.iter().eq(channels), "{seen:?}");
}

#[test]
fn messages_of_the_gossip_channels() {
    messages("channel_msgs.json", &[1, 2, 3, 4, 5, 6]);
}

#[test]
fn messages_of_the_rpc_channel() {
    messages("rpc_msgs.json", &[7]);
}

#[test]
fn messages_of_the_streaming_rpc_channel() {
    messages("streaming_rpc_msgs.json", &[8]);
}

#[test]
fn parts_of_a_staged_ledger_come_in_order_and_as_many_as_the_base_says() {
    let Some(vectors) = load("streaming_rpc_msgs.json") else {
        return;
    };
    let parts = list(&vectors, "messages")
        .iter()
        .filter_map(|vector| match StreamingRpcMessage::decode(bytes(vector, "body_hex")).unwrap().value {
            StreamingRpcMessage::Response { part, .. } => part,
            _ => None,
        })
        .collect::<Vec<_>>();
    assert!(parts.is_sorted_by_key(|part| part.kind));
    let trees = parts.iter().filter(|part| part.kind == StagedLedgerPartKind::ScanStateTree);
    assert_eq!(parts[1].tree_count(), Ok(u32::try_from(trees.count()).unwrap()));
}

#[test]
fn constants() {
    let Some(vectors) = load("constants.json") else {
        return;
    };
    for vector in list(&vectors, "channels") {
        let id = u8::try_from(vector["id"].as_u64().unwrap()).unwrap();
        let channel = Channel::try_from(id).unwrap();
        assert_eq!(channel.label(), text(vector, "label"));
        assert_eq!(json!(channel.max_frame_len()), vector["max_msg_size"]);
    }
    // From 16 on they are ours.
    let old = Channel::ALL.into_iter().filter(|channel| channel.id() < 16);
    assert_eq!(list(&vectors, "channels").len(), old.count());
}

#[test]
fn odd_bodies_are_taken_or_refused_as_the_existing_node_does_without_its_panics() {
    let Some(vectors) = load("decoder_behaviour.json") else {
        return;
    };
    for vector in list(&vectors, "cases") {
        let name = text(vector, "name");
        let decoded = decode(Some(channel(vector)), bytes(vector, "body_hex"));
        let Some(taken) = vector["result"]["ok"].as_str() else {
            assert!(decoded.is_err(), "{name}: {decoded:?}");
            continue;
        };
        let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        match &decoded.value {
            AnyMessage::BestTip(message) => {
                assert_eq!(format!("BestTipPropagation({message:?})"), taken);
                assert_eq!(decoded.trailing, 3);
            }
            AnyMessage::Transaction(message) => {
                assert_eq!(format!("TransactionPropagation({message:?})"), taken);
                assert!(!decoded.canonical);
            }
            AnyMessage::Discovery(message) => {
                let printed = format!("SignalingDiscovery({message:?})");
                assert_eq!(printed.replace("target:", "target_public_key:"), taken);
                assert!(decoded.is_exact());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn infos_of_real_items() {
    let Some(folder) = common::blocks() else {
        return;
    };
    let blocks = read_json(&folder.join("items.json"));
    let mut seen = [0, 0];
    for item in blocks.as_array().unwrap().iter().flat_map(|block| list(block, "items")) {
        let means = |message: AnyMessage, expected: Value| {
            let frame = message.encode().into_bytes();
            let decoded = decode(message.channel(), frame).unwrap();
            assert_eq!(decoded.value, message);
            let meaning = message.meaning();
            let meaning = meaning.as_object().unwrap().values().next().unwrap();
            let meaning = meaning.as_object().unwrap().values().next().unwrap();
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(meaning[key], *value, "{item}");
            }
        };
        if item.get("transaction_info").is_some() {
            let info: TransactionInfo = reencodes(bytes(item, "transaction_info"));
            means(
                AnyMessage::Transaction(TransactionMessage::Item(info)),
                json!({
                    "hash": item["transaction_hash"],
                    "fee_payer": item["fee_payer"],
                    "fee": item["fee"],
                    "nonce": item["nonce"],
                }),
            );
            seen[0] += 1;
        }
        if item.get("snark_info").is_some() {
            let info: SnarkInfo = reencodes(bytes(item, "snark_info"));
            means(AnyMessage::Snark(SnarkMessage::Item(info)), json!({ "prover": item["prover"] }));
            assert_eq!(hex(&info.job_id.0), text(item, "job_id"));
            assert_eq!(json!(info.fee), item["fee"]);
            seen[1] += 1;
        }
    }
    assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
}

#[test]
fn real_blocks_name_their_parents() {
    let Some(folder) = common::blocks() else {
        return;
    };
    let mut names = BTreeSet::new();
    let mut parents = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if let Ok(hash) = stem.rsplit('-').next().unwrap().parse::<StateHash>() {
            names.insert(hash);
            parents.push(previous_state_hash(&std::fs::read(&path).unwrap()).unwrap());
        }
    }
    let known = parents.iter().filter(|parent| names.contains(parent)).count();
    assert!(known > 0, "of {} blocks", names.len());
}
