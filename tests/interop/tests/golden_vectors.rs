//! The imitation's own signaling and sealing against golden vectors of the existing node. They are not part of the repository:
//! without them each test says so and passes.

use std::path::{Path, PathBuf};

use mina_p2p_interop::old_peer::signal::{Answer, Offer, Response, auth_plaintext, open, seal_with, to_json};
use mina_p2p_wire::SecretKey;
use serde_json::Value;

fn load(file: &str) -> Option<Value> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/mina-rust/vectors");
    let folder = std::env::var_os("MINA_P2P_VECTORS").map_or_else(beside, PathBuf::from);
    let Ok(bytes) = std::fs::read(folder.join(file)) else {
        eprintln!("skipped: no golden vectors in {}", folder.display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The key that the vectors call by this index.
fn key(index: &Value) -> SecretKey {
    let keys = load("identity.json").unwrap();
    let index = usize::try_from(index.as_u64().unwrap()).unwrap();
    SecretKey::from_bytes(unhex(&keys["keys"][index]["secret_hex"]).try_into().unwrap())
}

#[test]
fn offers_answers_and_responses_are_the_existing_nodes_texts() {
    let Some(vectors) = load("signaling_json.json") else { return };
    for offer in vectors["offers"].as_array().unwrap() {
        let json = text(&offer["json_text"]);
        let read: Offer = serde_json::from_str(json).unwrap();
        assert_eq!(to_json(&read), json);
        let path = format!("/mina/webrtc/signal/{}", bs58::encode(json).into_string());
        assert_eq!(path, text(&offer["get_path_base58"]));
    }
    let read: Answer = serde_json::from_str(text(&vectors["answer"])).unwrap();
    assert_eq!(to_json(&read), text(&vectors["answer"]));
    let responses = vectors["responses"].as_object().unwrap().values().flat_map(|response| match response {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    });
    for response in responses {
        let read: Response = serde_json::from_str(text(&response["body"])).unwrap();
        assert_eq!(to_json(&read), text(&response["body"]));
        assert_eq!(u64::from(read.http_status()), response["http_status"].as_u64().unwrap(), "{read:?}");
    }
}

#[test]
fn what_is_sealed_is_what_the_existing_node_seals() {
    let Some(vectors) = load("encryption.json") else { return };
    for name in ["raw", "offer", "answer_accepted", "answer_rejected"] {
        let case = &vectors[name];
        let (from, to) = (key(&case["from"]), key(&case["to"]));
        let plaintext = text(&case["plaintext_utf8"]).as_bytes();
        let nonce = unhex(&case["nonce_hex"]).try_into().unwrap();
        let sealed = seal_with(&from, &to.public_key(), nonce, plaintext).unwrap();
        assert_eq!(sealed, unhex(&case["output_hex"]), "{name}");
        assert_eq!(open(&to, &from.public_key(), &sealed).unwrap(), plaintext, "{name}");
    }
    let case = &vectors["connection_auth"];
    let plaintext = auth_plaintext(text(&case["offer_sdp"]), text(&case["answer_sdp"]));
    let keys = [key(&vectors["a"]), key(&vectors["b"])];
    for (name, [from, to]) in [("from_offerer(0->1)", [0, 1]), ("from_answerer(1->0)", [1, 0])] {
        let nonce = unhex(&case[name]["nonce_hex"]).try_into().unwrap();
        let sealed = seal_with(&keys[from], &keys[to].public_key(), nonce, &plaintext).unwrap();
        assert_eq!(sealed, unhex(&case[name]["output_hex"]), "{name}");
    }
}

#[test]
fn what_is_authenticated_is_what_the_existing_node_authenticates() {
    let Some(vectors) = load("live_sdp.json") else { return };
    for sample in vectors["samples"].as_array().unwrap() {
        let plaintext = auth_plaintext(text(&sample["offer_sdp"]), text(&sample["answer_sdp"]));
        assert_eq!(plaintext.to_vec(), unhex(&sample["auth_plaintext_hex"]));
    }
}
