//! Vectors of signaling: JSON, seals, authentication and announcements.

use mina_p2p_wire::message::{Capabilities, Hello};
use mina_p2p_wire::signaling::{
    Answer, ConnectionAuth, Offer, RejectionReason, SignalingResponse, announce, announced, open, seal,
};
use mina_p2p_wire::{Address, ChainId, PROTOCOL_VERSION, SecretKey};
use serde_json::{Value, json};

use super::common::{bytes, hex, list, text};
use super::corpus::pattern;
use super::{load, variant};

const OFFER_SDP: &str = "v=0\r\ns=an offer\r\na=setup:actpass\r\n";
const ANSWER_SDP: &str = "v=0\r\ns=an \"answer\"\u{1}\u{fc}\\/\r\na=setup:active\r\n";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn offer(host: &str, listen_port: Option<u16>) -> Offer {
    Offer {
        sdp: OFFER_SDP.to_owned(),
        chain_id: ChainId(pattern(1)),
        identity_pub_key: secret(1).public_key(),
        target_peer_id: secret(2).peer_id(),
        host: host.parse().unwrap(),
        listen_port,
    }
}

fn responses() -> Vec<SignalingResponse> {
    let answer = Answer {
        sdp: ANSWER_SDP.to_owned(),
        identity_pub_key: secret(2).public_key(),
        target_peer_id: secret(1).peer_id(),
    };
    let reasons = RejectionReason::KNOWN.into_iter().chain([RejectionReason::from_name("Other")]);
    [SignalingResponse::Accepted(answer)]
        .into_iter()
        .chain(reasons.map(SignalingResponse::Rejected))
        .chain([SignalingResponse::SignalDecryptionFailed, SignalingResponse::InternalError])
        .collect()
}

fn hellos() -> [Hello; 2] {
    let least = Hello {
        protocol_version: PROTOCOL_VERSION,
        chain_id: ChainId(pattern(1)),
        capabilities: Capabilities::RELAY_SIGNALING,
        listen_addresses: Vec::new(),
        agent: "agent".to_owned(),
        identity_signature: None,
    };
    let address = Address::Quic { peer_id: secret(1).peer_id(), host: "a.example.org".parse().unwrap(), port: 8302 };
    let more = Hello { listen_addresses: vec![address; 16], ..least.clone() };
    [least, more]
}

pub(super) fn vectors() -> Value {
    let offers = [offer("1.2.3.4", Some(8302)), offer("[::1]", None), offer("a.example.org", Some(u16::MAX))];
    let least = offers[0].to_json();
    let refused_offers = [
        String::new(),
        "{}".to_owned(),
        least[1..].to_owned(),
        least.replace("8302", "65536"),
        least.replace("\"sdp\"", "\"host\""),
        least.replace("1.2.3.4", "1.2.3"),
        least.replace(r#"{"Ipv4":"1.2.3.4"}"#, r#"{"Domain":"[::1]"}"#),
        least.replace("\"chain_id\":\"0", "\"chain_id\":\"g"),
        least.replace(&offers[0].identity_pub_key.to_string(), &least_order_key()),
        least.replace(&offers[0].identity_pub_key.to_string(), &offers[0].target_peer_id.to_string()),
        format!("{least}{}", " ".repeat(16 * 1024)),
    ]
    .map(|json| json!({ "error": variant(&Offer::from_json(json.as_bytes()).unwrap_err()), "json": json }));
    let [a, b] = [1, 2].map(secret);
    let sealed = [String::new(), "hello".to_owned(), least, responses()[0].to_json()].map(|plaintext| {
        let sealed = seal(&a, &b.public_key(), pattern(3), plaintext.as_bytes()).unwrap();
        json!({ "plaintext": plaintext, "sealed_hex": hex(&sealed) })
    });
    let auth = ConnectionAuth::new(OFFER_SDP, ANSWER_SDP);
    let announcements = hellos().map(|hello| {
        let mut sdp = OFFER_SDP.to_owned();
        announce(&mut sdp, &hello);
        json!({ "hello_hex": hex(&hello.encode().into_bytes()), "sdp": sdp })
    });
    let long = format!("a=mina-p2p:{}", "00".repeat(1025));
    let refused_sdps = ["a=mina-p2p:", "a=mina-p2p:0", "a=mina-p2p:0A", "a=mina-p2p:00\r\na=mina-p2p:00", &long]
        .map(|sdp| json!({ "error": variant(&announced(sdp).unwrap_err()), "sdp": sdp }));
    json!({
        "offers": offers.map(|offer| json!({ "json": offer.to_json(), "path": offer.to_path() })),
        "refused_offers": refused_offers,
        "responses": responses()
            .iter()
            .map(|response| json!({ "json": response.to_json(), "http_status": response.http_status() }))
            .collect::<Vec<_>>(),
        "seeds_hex": [hex(&[1; 32]), hex(&[2; 32])],
        "shared_key_hex": hex(&*a.shared_key(&b.public_key()).unwrap()),
        "nonce_hex": hex(&pattern::<12>(3)),
        "sealed": sealed,
        "authentication": {
            "offer_sdp": OFFER_SDP,
            "answer_sdp": ANSWER_SDP,
            "plaintext_hex": hex(&auth.to_bytes()),
            "sealed_hex": hex(&auth.seal(&a, &b.public_key(), pattern(3)).unwrap()),
        },
        "announcements": announcements,
        "refused_sdps": refused_sdps,
    })
}

/// The neutral element: the key for which anyone can sign.
fn least_order_key() -> String {
    let mut one = [0; 32];
    one[0] = 1;
    mina_p2p_wire::PublicKey::from_bytes(one).unwrap().to_string()
}

#[test]
fn signaling() {
    let vectors = load("signaling.json");
    for vector in list(&vectors, "offers") {
        let offer = Offer::from_json(text(vector, "json").as_bytes()).unwrap();
        assert_eq!(offer.to_json(), text(vector, "json"));
        assert_eq!(Offer::from_path(text(vector, "path")), Ok(offer.clone()));
        assert_eq!(offer.to_path(), text(vector, "path"));
    }
    for vector in list(&vectors, "refused_offers") {
        let error = Offer::from_json(text(vector, "json").as_bytes()).unwrap_err();
        assert_eq!(variant(&error), text(vector, "error"));
    }
    for vector in list(&vectors, "responses") {
        let response = SignalingResponse::from_json(text(vector, "json").as_bytes()).unwrap();
        assert_eq!(response.to_json(), text(vector, "json"));
        assert_eq!(json!(response.http_status()), vector["http_status"]);
    }
    let [a, b] = [1, 2].map(secret);
    assert_eq!(hex(&*b.shared_key(&a.public_key()).unwrap()), text(&vectors, "shared_key_hex"));
    for vector in list(&vectors, "sealed") {
        let plaintext = open(&b, &a.public_key(), &bytes(vector, "sealed_hex")).unwrap();
        assert_eq!(plaintext, text(vector, "plaintext").as_bytes());
    }
    let vector = &vectors["authentication"];
    let auth = ConnectionAuth::new(text(vector, "offer_sdp"), text(vector, "answer_sdp"));
    assert_eq!(hex(&auth.to_bytes()), text(vector, "plaintext_hex"));
    let ours = auth.seal(&b, &a.public_key(), pattern(4)).unwrap();
    assert_eq!(auth.check(&b, &a.public_key(), &ours, &bytes(vector, "sealed_hex")), Ok(()));
    for vector in list(&vectors, "announcements") {
        let hello = Hello::decode(bytes(vector, "hello_hex")).unwrap().value;
        let found = announced(text(vector, "sdp")).unwrap().unwrap();
        let listed = found.listen_addresses.len();
        assert_eq!(found.listen_addresses[..], hello.listen_addresses[..listed]);
        assert_eq!(Hello { listen_addresses: Vec::new(), ..found }, Hello { listen_addresses: Vec::new(), ..hello });
    }
    for vector in list(&vectors, "refused_sdps") {
        assert_eq!(variant(&announced(text(vector, "sdp")).unwrap_err()), text(vector, "error"));
    }
}
