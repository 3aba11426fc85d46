//! Signaling: known answers, what holds for all of it, and what hostile peers send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{arbitrary, hex};
use mina_p2p_wire::message::{Capabilities, Hello, MAX_LISTEN_ADDRESSES};
use mina_p2p_wire::signaling::{
    AnnouncementError, Answer, AuthError, ConnectionAuth, MAX_OFFER_LEN, MAX_OFFER_PATH_LEN, MAX_REASON_LEN,
    MAX_RESPONSE_LEN, MAX_SDP_HELLO_LEN, MAX_SEALED_LEN, Offer, OpenError, RejectionReason, SEAL_OVERHEAD, SealError,
    SignalingError, SignalingResponse, announce, announced, open, seal,
};
use mina_p2p_wire::{Address, ChainId, DecodeError, PROTOCOL_VERSION, PublicKey, SecretKey};
use proptest::prelude::*;

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
/// The values of the known answers were computed apart from this code: keys by patterns of one byte, hashes by SHA-256, seals
/// by x25519 and AES-256-GCM of another library.
const OFFER: &str = concat!(
    r#"{"sdp":"v=0\r\n\"quoted\" é\u0001","chain_id":"0707070707070707070707070707070707070707070707070707070707070707","#,
    r#""identity_pub_key":"kpPZkjFMr3udnu1YrLEttNmnakTnoViKjFN8GtoVFBNkLvyVU9","#,
    r#""target_peer_id":"2bLuA7PUZLQosdxwh3vtmv6Au8VmuiA6rdb3xXU4YCVhE7cBVLc","host":{"Ipv4":"127.0.0.1"},"listen_port":8302}"#,
);

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn offer() -> Offer {
    Offer {
        sdp: "v=0\r\n\"quoted\" é\u{1}".to_owned(),
        chain_id: ChainId([7; 32]),
        identity_pub_key: secret(1).public_key(),
        target_peer_id: secret(2).peer_id(),
        host: "127.0.0.1".parse().unwrap(),
        listen_port: Some(8302),
    }
}

fn answer() -> Answer {
    Answer { sdp: SDP.to_owned(), identity_pub_key: secret(2).public_key(), target_peer_id: secret(1).peer_id() }
}

fn hello(addresses: usize) -> Hello {
    let address = |port| Address::Quic {
        peer_id: secret(1).peer_id(),
        host: "a-rather-long-name.of-a-node.example.org".parse().unwrap(),
        port,
    };
    Hello {
        protocol_version: PROTOCOL_VERSION,
        chain_id: ChainId([7; 32]),
        capabilities: Capabilities::RELAY_SIGNALING | Capabilities::EXTENSION_RPC,
        listen_addresses: (0..addresses).map(|port| address(u16::try_from(port).unwrap())).collect(),
        agent: "test".to_owned(),
        identity_signature: None,
    }
}

/// The offer's JSON with one piece replaced.
fn changed(from: &str, to: &str) -> Result<Offer, SignalingError> {
    assert!(OFFER.contains(from), "{from}");
    Offer::from_json(OFFER.replacen(from, to, 1).as_bytes())
}

#[test]
fn an_offer_is_the_known_text_both_ways() {
    assert_eq!(offer().to_json(), OFFER);
    assert_eq!(Offer::from_json(OFFER.as_bytes()), Ok(offer()));
    let short = Offer { sdp: String::new(), ..offer() };
    assert_eq!(Offer::from_path(&short.to_path()), Ok(short));
}

#[test]
fn members_are_read_in_any_order_with_others_between_and_the_port_may_be_missing() {
    assert_eq!(changed("{\"sdp\"", r#"{"new":[{"a":[null,1e9]}],"sdp""#), Ok(offer()));
    assert_eq!(changed(r#","listen_port":8302}"#, "}").unwrap().listen_port, None);
    assert_eq!(changed("8302}", "null}").unwrap().listen_port, None);
    let moved = OFFER.replace(r#","listen_port":8302"#, "").replacen('{', r#"{ "listen_port" : 8302 , "#, 1);
    assert_eq!(Offer::from_json(moved.as_bytes()), Ok(offer()));
    // A million opening brackets would overflow a stack; these fit in the limit.
    let deep = format!(r#"{{"new":{}{},"sdp""#, "[".repeat(7000), "]".repeat(7000));
    assert!(matches!(changed("{\"sdp\"", &deep), Ok(_) | Err(SignalingError::NotJson { .. })));
    let open = "[".repeat(MAX_OFFER_LEN);
    assert!(Offer::from_json(open.as_bytes()).is_err());
}

#[test]
fn each_defect_of_an_offer_has_its_name() {
    for member in ["sdp", "chain_id", "identity_pub_key", "target_peer_id", "host"] {
        assert_eq!(changed(member, "other"), Err(SignalingError::Missing { member }));
    }
    assert_eq!(changed(r#"{"Ipv4":"127.0.0.1"}"#, "null"), Err(SignalingError::Missing { member: "host" }));
    for (from, to) in [
        ("8302", "65536"),
        ("8302", "-1"),
        ("8302", "\"8302\""),
        ("127.0.0.1", "127.0.0.256"),
        ("Ipv4", "Onion"),
        (r#""listen_port""#, r#""sdp":"again","listen_port""#),
    ] {
        assert!(matches!(changed(from, to), Err(SignalingError::Unexpected { .. })), "{from} {to}");
    }
    for (from, to) in [("8302}", "8302"), ("8302}", "8302}x"), ("\\\"", "\""), ("é", "\n"), ("é", "\\ud800")] {
        assert!(matches!(changed(from, to), Err(SignalingError::NotJson { .. })), "{from} {to}");
    }
    for (member, from, to) in [
        ("chain_id", "0707", "07"),
        ("chain_id", "0707", "070g"),
        ("identity_pub_key", "kpPZ", "kpPz"),
        ("target_peer_id", "2bLu", "0bLu"),
    ] {
        let error = changed(from, to).unwrap_err();
        assert!(matches!(error, SignalingError::Text { member: named, .. } if named == member), "{error}");
    }
    for name in ["", "[::1]", "a/b", "1.2.3", &"a".repeat(254)] {
        let to = format!(r#"{{"Domain":"{name}"}}"#);
        assert!(matches!(changed(r#"{"Ipv4":"127.0.0.1"}"#, &to), Err(SignalingError::Host(_))), "{name}");
    }
    for text in ["", "null", "7", "\"\"", "{", "\u{feff}{}"] {
        assert!(Offer::from_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(matches!(Offer::from_json(&[0xff; 8]), Err(SignalingError::NotJson { .. })));
}

#[test]
fn an_identity_of_small_order_is_refused_in_offer_and_answer() {
    let mut one = [0; 32];
    one[0] = 1;
    for bytes in [[0; 32], one] {
        let nobody = PublicKey::from_bytes(bytes).unwrap();
        let mut offer = offer();
        offer.identity_pub_key = nobody;
        assert_eq!(Offer::from_json(offer.to_json().as_bytes()), Err(SignalingError::SmallOrderKey));
        let mut answer = answer();
        answer.identity_pub_key = nobody;
        assert_eq!(Answer::from_json(answer.to_json().as_bytes()), Err(SignalingError::SmallOrderKey));
        let response = SignalingResponse::Accepted(answer).to_json();
        assert_eq!(SignalingResponse::from_json(response.as_bytes()), Err(SignalingError::SmallOrderKey));
    }
}

#[test]
fn what_is_as_long_as_its_limit_is_read_and_a_byte_more_is_refused_unread() {
    let pad = |text: &str, len: usize| format!("{text:<len$}");
    assert_eq!(Offer::from_json(pad(OFFER, MAX_OFFER_LEN - 1).as_bytes()), Ok(offer()));
    let error = Offer::from_json(pad(OFFER, MAX_OFFER_LEN + 1).as_bytes()).unwrap_err();
    let len = MAX_OFFER_LEN + 2;
    assert_eq!(error, SignalingError::TooLong { what: "an offer", len, max: MAX_OFFER_LEN });

    let response = SignalingResponse::InternalError;
    assert_eq!(
        SignalingResponse::from_json(pad(&response.to_json(), MAX_RESPONSE_LEN).as_bytes()),
        Ok(response.clone())
    );
    for read in [
        SignalingResponse::from_json(pad(&response.to_json(), MAX_RESPONSE_LEN + 1).as_bytes()).map(|_| ()),
        Answer::from_json(pad(&answer().to_json(), MAX_RESPONSE_LEN + 1).as_bytes()).map(|_| ()),
    ] {
        let max = MAX_RESPONSE_LEN;
        assert!(matches!(read, Err(SignalingError::TooLong { len, max: limit, .. }) if len == max + 1 && limit == max));
    }

    // The longest path that can be: '1' is the digit zero, which decodes to a byte of its own.
    assert!(matches!(Offer::from_path(&"1".repeat(MAX_OFFER_PATH_LEN)), Err(SignalingError::NotJson { .. })));
    assert!(matches!(Offer::from_path(&"z".repeat(MAX_OFFER_PATH_LEN)), Err(SignalingError::NotJson { .. })));
    let (len, max) = (MAX_OFFER_PATH_LEN + 1, MAX_OFFER_PATH_LEN);
    let error = Offer::from_path(&"z".repeat(len)).unwrap_err();
    assert_eq!(error, SignalingError::TooLong { what: "an offer in a path", len, max });
    // 5,998 bytes fit in it, 5,999 may not.
    let fitting = |len: usize| {
        let short = Offer { sdp: String::new(), ..offer() };
        let rest = len - short.to_json().len();
        Offer { sdp: "a".repeat(rest), ..short }.to_path()
    };
    assert!(Offer::from_path(&fitting(5998)).is_ok());
    assert!(Offer::from_path(&fitting(6000)).is_err());
}

#[test]
fn a_path_that_is_not_base58_is_refused_by_the_place() {
    for (path, index) in [("0", 0), ("ab/c", 2), ("abc%20", 3), ("ab\u{e9}", 2)] {
        assert_eq!(Offer::from_path(path), Err(SignalingError::NotBase58 { index }));
    }
    let path = offer().to_path();
    assert!(Offer::from_path(&path[1..]).is_err());
    assert!(Offer::from_path(&path[..path.len() - 1]).is_err());
    assert!(Offer::from_path("").is_err());
}

#[test]
fn responses_are_the_known_texts_both_ways() {
    for (response, text, status) in [
        (SignalingResponse::SignalDecryptionFailed, r#""SignalDecryptionFailed""#, 400),
        (SignalingResponse::InternalError, r#""InternalError""#, 500),
        (SignalingResponse::Rejected(RejectionReason::PeerCapacityFull), r#"{"Rejected":"PeerCapacityFull"}"#, 200),
        (SignalingResponse::Rejected(RejectionReason::AlreadyConnected), r#"{"Rejected":"AlreadyConnected"}"#, 400),
    ] {
        assert_eq!(response.to_json(), text);
        assert_eq!(SignalingResponse::from_json(text.as_bytes()), Ok(response.clone()));
        assert_eq!(response.http_status(), status);
    }
    let accepted = SignalingResponse::Accepted(answer());
    assert_eq!(accepted.to_json(), format!(r#"{{"Accepted":{}}}"#, answer().to_json()));
    assert_eq!(SignalingResponse::from_json(accepted.to_json().as_bytes()), Ok(accepted.clone()));
    assert_eq!(accepted.http_status(), 200);
    for text in
        ["", "null", r#""Accepted""#, r#"{"Accepted":{}}"#, r#"{"Rejected":7}"#, r#"{"InternalError":1}"#, r#""Moved""#]
    {
        assert!(SignalingResponse::from_json(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_reason_of_another_version_is_kept_as_far_as_a_log_can_bear_it() {
    let read = |text: &str| SignalingResponse::from_json(format!(r#"{{"Rejected":"{text}"}}"#).as_bytes()).unwrap();
    let other = |text: &str| SignalingResponse::Rejected(RejectionReason::Other(text.to_owned()));
    assert_eq!(read("TooManyOffers"), other("TooManyOffers"));
    assert_eq!(read("TooManyOffers").to_json(), r#"{"Rejected":"TooManyOffers"}"#);
    assert_eq!(read("TooManyOffers").http_status(), 200);
    assert_eq!(read("a\\u001b[2J\\né"), other("a?[2J??"));
    assert_eq!(read(&"é".repeat(5000)), other(&"?".repeat(MAX_REASON_LEN)));
}

#[test]
fn a_sealed_text_is_the_known_bytes_and_opens_on_both_sides() {
    let [a, b] = [1, 2].map(secret);
    let nonce = [3; 12];
    let sealed = seal(&a, &b.public_key(), nonce, b"hello").unwrap();
    assert_eq!(hex(&sealed), "0303030303030303030303031e1fcf11d4a1160fc133a79adf49e1e7e89dc67a09");
    assert_eq!(open(&b, &a.public_key(), &sealed).unwrap(), b"hello");
    assert_eq!(open(&a, &b.public_key(), &sealed).unwrap(), b"hello");
    assert_eq!(seal(&b, &a.public_key(), nonce, b"hello").unwrap(), sealed);
}

#[test]
fn nothing_that_was_changed_cut_or_sealed_by_others_opens() {
    let [a, b, c] = [1, 2, 3].map(secret);
    let sealed = seal(&a, &b.public_key(), [3; 12], b"hello").unwrap();
    for at in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert_eq!(open(&b, &a.public_key(), &flipped), Err(SealError::NotAuthentic), "{at}");
    }
    for len in 0..sealed.len() {
        let expected = if len < SEAL_OVERHEAD { SealError::TooShort { len } } else { SealError::NotAuthentic };
        assert_eq!(open(&b, &a.public_key(), &sealed[..len]), Err(expected));
    }
    assert_eq!(open(&b, &c.public_key(), &sealed), Err(SealError::NotAuthentic));
    assert_eq!(open(&c, &a.public_key(), &sealed), Err(SealError::NotAuthentic));
    let nobody = PublicKey::from_bytes([0; 32]).unwrap();
    assert!(matches!(open(&b, &nobody, &sealed), Err(SealError::NonContributory(_))));
    assert!(matches!(seal(&b, &nobody, [3; 12], b""), Err(SealError::NonContributory(_))));

    let longest = vec![0; MAX_SEALED_LEN - SEAL_OVERHEAD];
    let sealed = seal(&a, &b.public_key(), [3; 12], &longest).unwrap();
    assert_eq!(sealed.len(), MAX_SEALED_LEN);
    assert_eq!(open(&b, &a.public_key(), &sealed), Ok(longest));
    let len = MAX_SEALED_LEN + 1;
    assert_eq!(open(&b, &a.public_key(), &vec![0; len]), Err(SealError::TooLong { len }));
    assert_eq!(seal(&a, &b.public_key(), [3; 12], &vec![0; len - SEAL_OVERHEAD]), Err(SealError::TooLong { len }));
}

#[test]
fn a_sealed_offer_or_answer_must_name_the_identity_that_sealed_it() {
    let [a, b, c] = [1, 2, 3].map(secret);
    let sealed = offer().seal(&a, &b.public_key(), [4; 12]).unwrap();
    assert_eq!(Offer::open(&b, &a.public_key(), &sealed), Ok(offer()));
    let stolen = offer().seal(&c, &b.public_key(), [4; 12]).unwrap();
    let error = OpenError::OtherIdentity { sealed_by: c.peer_id(), named: a.peer_id() };
    assert_eq!(Offer::open(&b, &c.public_key(), &stolen), Err(error));
    assert_eq!(Offer::open(&b, &a.public_key(), &stolen), Err(SealError::NotAuthentic.into()));
    let garbage = seal(&a, &b.public_key(), [4; 12], b"{}").unwrap();
    let missing = SignalingError::Missing { member: "sdp" };
    assert_eq!(Offer::open(&b, &a.public_key(), &garbage), Err(missing.into()));

    let accepted = SignalingResponse::Accepted(answer());
    let sealed = accepted.seal(&b, &a.public_key(), [5; 12]).unwrap();
    assert_eq!(SignalingResponse::open(&a, &b.public_key(), &sealed), Ok(accepted.clone()));
    let stolen = accepted.seal(&c, &a.public_key(), [5; 12]).unwrap();
    assert!(matches!(SignalingResponse::open(&a, &c.public_key(), &stolen), Err(OpenError::OtherIdentity { .. })));
    let rejected = SignalingResponse::Rejected(RejectionReason::ChainIdMismatch);
    let sealed = rejected.seal(&b, &a.public_key(), [5; 12]).unwrap();
    assert_eq!(SignalingResponse::open(&a, &b.public_key(), &sealed), Ok(rejected));
}

#[test]
fn authentication_is_the_known_blob_and_each_side_takes_the_others() {
    let [a, b] = [1, 2].map(secret);
    let auth = ConnectionAuth::new("offer", "answer");
    assert_eq!(
        hex(&auth.to_bytes()),
        "988180bf0c9328c9e8bd082755c647048ae82481fd06799bad05f2e1a4e1339c0db52f4076c082518412afd3dd3576e2cb0c63703fd7fed5e23ade60efef31d9"
    );
    let ours = auth.seal(&a, &b.public_key(), [6; 12]).unwrap();
    assert_eq!(
        hex(&ours),
        concat!(
            "060606060606060606060606d5fd7b71e0f09880265e7552b4b58b9daacf0c0e83f944344275f39e235607fc39f1",
            "f80a67b2437f1b6aad2ad7573f9b69da1d43f7a27673c777fb5c5efd0d5763cebf6ffd5023fe19ce962a34ca2c83"
        )
    );
    let theirs = auth.seal(&b, &a.public_key(), [7; 12]).unwrap();
    assert_eq!(auth.check(&a, &b.public_key(), &ours, &theirs), Ok(()));
    assert_eq!(auth.check(&b, &a.public_key(), &theirs, &ours), Ok(()));
}

#[test]
fn an_authentication_that_is_reflected_old_changed_or_anothers_is_refused_by_name() {
    let [a, b, c] = [1, 2, 3].map(secret);
    let auth = ConnectionAuth::new("offer", "answer");
    let ours = auth.seal(&a, &b.public_key(), [6; 12]).unwrap();
    let check = |theirs: &[u8]| auth.check(&a, &b.public_key(), &ours, theirs);
    // It would open, and be what is expected.
    assert_eq!(open(&a, &b.public_key(), &ours).unwrap(), auth.to_bytes());
    assert_eq!(check(&ours), Err(AuthError::Reflected));
    for at in 0..ours.len() * 8 {
        let mut flipped = ours;
        flipped[at / 8] ^= 1 << (at % 8);
        assert_eq!(check(&flipped), Err(SealError::NotAuthentic.into()), "{at}");
    }
    for len in [0, 1, 64, 91, 93, 65535] {
        assert_eq!(check(&vec![0; len]), Err(AuthError::WrongLength { len }));
    }
    for (offer, answer) in [("offer", "other"), ("other", "answer"), ("answer", "offer"), ("offer\r\n", "answer")] {
        let other = ConnectionAuth::new(offer, answer).seal(&b, &a.public_key(), [7; 12]).unwrap();
        assert_eq!(check(&other), Err(AuthError::OtherDescriptions));
    }
    let anothers = auth.seal(&c, &a.public_key(), [7; 12]).unwrap();
    assert_eq!(check(&anothers), Err(SealError::NotAuthentic.into()));
}

#[test]
fn an_announcement_is_the_known_line_at_the_end_and_is_found_among_lines_of_either_end() {
    let mut sdp = SDP.to_owned();
    let hello = hello(0);
    announce(&mut sdp, &hello);
    let line = format!("a=mina-p2p:01{}0a000474657374{}\r\n", "07".repeat(32), "00");
    assert_eq!(sdp, format!("{SDP}{line}"));
    assert_eq!(announced(&sdp), Ok(Some(hello.clone())));
    assert_eq!(announced(&sdp.replace("\r\n", "\n")), Ok(Some(hello.clone())));
    assert_eq!(announced(&format!("{line}{SDP}")), Ok(Some(hello.clone())));
    assert_eq!(announced(sdp.trim_end()), Ok(Some(hello.clone())));
    let mut unfinished = SDP.trim_end().to_owned();
    announce(&mut unfinished, &hello);
    assert_eq!(unfinished, sdp);
    for none in ["", SDP, "a=mina-p2p\r\n", "b=mina-p2p:00\r\n", "a=mina-p2p-2:00\r\n", "x a=mina-p2p:00\r\n"] {
        assert_eq!(announced(none), Ok(None), "{none}");
    }
}

#[test]
fn addresses_that_do_not_fit_are_not_announced() {
    let mut sdp = String::new();
    let all = hello(MAX_LISTEN_ADDRESSES);
    assert!(all.encode().len() > MAX_SDP_HELLO_LEN);
    announce(&mut sdp, &all);
    let found = announced(&sdp).unwrap().unwrap();
    let kept = found.listen_addresses.len();
    assert!(kept > 0 && found.listen_addresses[..] == all.listen_addresses[..kept]);
    assert!(found.encode().len() <= MAX_SDP_HELLO_LEN);
    assert!(hello(kept + 1).encode().len() > MAX_SDP_HELLO_LEN);
    assert_eq!(Hello { listen_addresses: Vec::new(), ..found }, hello(0));
}

#[test]
fn an_announcement_that_is_none_is_refused_by_name() {
    let mut sdp = SDP.to_owned();
    announce(&mut sdp, &hello(1));
    let mut twice = sdp.clone();
    announce(&mut twice, &hello(0));
    assert_eq!(announced(&twice), Err(AnnouncementError::Repeated));
    for bad in ["0", "0G", "0A", " 01", "01 ", "é", "01\r"] {
        assert_eq!(announced(&format!("a=mina-p2p:{bad}\r\n")), Err(AnnouncementError::NotHexadecimal), "{bad}");
    }
    let len = 2 * MAX_SDP_HELLO_LEN + 1;
    let long = format!("a=mina-p2p:{}\r\n", "0".repeat(len));
    assert_eq!(announced(&long), Err(AnnouncementError::TooLong { len }));
    for cut in ["", "01", "0107"] {
        let error = announced(&format!("a=mina-p2p:{cut}")).unwrap_err();
        assert!(matches!(error, AnnouncementError::Hello(DecodeError::UnexpectedEnd { .. })), "{error}");
    }
    // What a later version adds is passed over.
    let longer = format!("{}ffff\r\n", sdp.trim_end());
    assert_eq!(announced(&longer), Ok(Some(hello(1))));
}

fn any_offer() -> impl Strategy<Value = Offer> {
    (
        any::<String>(),
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
        arbitrary::peer_id(),
        arbitrary::host(),
        any::<Option<u16>>(),
    )
        .prop_map(|(sdp, chain_id, seed, target_peer_id, host, listen_port)| Offer {
            sdp,
            chain_id: ChainId(chain_id),
            identity_pub_key: SecretKey::from_bytes(seed).public_key(),
            target_peer_id,
            host,
            listen_port,
        })
}

fn any_response() -> impl Strategy<Value = SignalingResponse> {
    let accepted = any_offer().prop_map(|offer| {
        let Offer { sdp, identity_pub_key, target_peer_id, .. } = offer;
        SignalingResponse::Accepted(Answer { sdp, identity_pub_key, target_peer_id })
    });
    let known = proptest::sample::select(RejectionReason::KNOWN.to_vec());
    let other = "[ -~]{0,64}".prop_map(|name| RejectionReason::from_name(&name));
    prop_oneof![
        accepted,
        known.prop_map(SignalingResponse::Rejected),
        other.prop_map(SignalingResponse::Rejected),
        Just(SignalingResponse::SignalDecryptionFailed),
        Just(SignalingResponse::InternalError),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn offers_survive_json_path_and_seal(offer in any_offer(), own in any::<[u8; 32]>(), nonce in any::<[u8; 12]>()) {
        let json = offer.to_json();
        prop_assert_eq!(Offer::from_json(json.as_bytes()), Ok(offer.clone()));
        prop_assert_eq!(Offer::from_path(&offer.to_path()), Ok(offer.clone()));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&value["sdp"], &serde_json::json!(offer.sdp));
        let own = SecretKey::from_bytes(own);
        let offer = Offer { identity_pub_key: own.public_key(), ..offer };
        let target = secret(2);
        let sealed = offer.seal(&own, &target.public_key(), nonce).unwrap();
        prop_assert_eq!(sealed.len(), offer.to_json().len() + SEAL_OVERHEAD);
        prop_assert_eq!(Offer::open(&target, &own.public_key(), &sealed), Ok(offer));
    }

    #[test]
    fn responses_survive_json(response in any_response()) {
        prop_assert_eq!(SignalingResponse::from_json(response.to_json().as_bytes()), Ok(response));
    }

    #[test]
    fn whatever_bytes_come_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
        let key = secret(1).public_key();
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = Offer::from_json(bytes);
            let _ = Answer::from_json(bytes);
            let _ = SignalingResponse::from_json(bytes);
            prop_assert!(open(&secret(2), &key, bytes).is_err());
            prop_assert!(ConnectionAuth::new("", "").check(&secret(2), &key, &[0; 92], bytes).is_err());
        }
        let _ = Offer::from_path(&text);
        let _ = announced(&text);
        let _ = announced(&format!("a=mina-p2p:{}", hex(&bytes)));
    }

    #[test]
    fn an_offer_with_a_byte_changed_is_read_or_refused_and_cut_off_is_refused(
        offer in any_offer(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut json = offer.to_json().into_bytes();
        let at = at.index(json.len());
        prop_assert!(Offer::from_json(&json[..at]).is_err());
        json[at] = byte;
        if let Ok(read) = Offer::from_json(&json) {
            prop_assert_eq!(Offer::from_json(read.to_json().as_bytes()), Ok(read));
        }
    }

    #[test]
    fn every_hello_is_announced_and_found(message in arbitrary::message(), before in "[ -~\n]{0,80}") {
        if let common::AnyMessage::Hello(hello) = message {
            let mut sdp = before;
            announce(&mut sdp, &hello);
            let found = announced(&sdp).unwrap().unwrap();
            prop_assert!(hello.listen_addresses.starts_with(&found.listen_addresses));
            prop_assert_eq!(found.identity_signature, hello.identity_signature);
            prop_assert!(sdp.ends_with("\r\n"));
        }
    }
}
