//! Tests of STUN, with the samples of RFC 5769.

use super::*;

/// The transaction of all samples.
const SAMPLE: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

/// RFC 5769, section 2.1: a request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME `evtj:h6vY`, MESSAGE-INTEGRITY and
/// FINGERPRINT.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff\
    80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";

/// Section 2.2: SOFTWARE, XOR-MAPPED-ADDRESS 192.0.2.1:32853, MESSAGE-INTEGRITY, FINGERPRINT.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
    80280004c07d4c96";

/// Section 2.3: the same with `[2001:db8:1234:5678:11:2233:4455:6677]:32853`.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A message of this type with these attributes.
fn message(kind: u16, transaction: &Transaction, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (attribute, value) in attributes {
        body.extend(attribute.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = Vec::new();
    message.extend(kind.to_be_bytes());
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(MAGIC_COOKIE.to_be_bytes());
    message.extend(transaction);
    message.extend(body);
    message
}

/// A server's answer.
pub(crate) fn success(mapped: SocketAddr, transaction: &Transaction) -> Vec<u8> {
    let mask: Vec<u8> = MAGIC_COOKIE.to_be_bytes().into_iter().chain(*transaction).collect();
    let (family, ip) = match mapped.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(mapped.port().to_be_bytes().iter().zip(&mask).map(|(byte, mask)| byte ^ mask));
    value.extend(ip.iter().zip(&mask).map(|(byte, mask)| byte ^ mask));
    message(BINDING_SUCCESS, transaction, &[(XOR_MAPPED_ADDRESS, &value)])
}

#[test]
fn a_request_is_a_header_alone() {
    let request = BindingRequest::new(SAMPLE).encode();
    assert_eq!(request[..], message(BINDING_REQUEST, &SAMPLE, &[]));
    assert!(is_stun(&request) && is_request(&request) && !is_success_response(&request));
    assert_eq!(transaction_id(&request), Some(SAMPLE));
    assert_eq!(username_local_ufrag(&request), None);
}

#[test]
fn the_answers_of_rfc_5769_are_read() {
    for (sample, mapped) in
        [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let sample = bytes(sample);
        assert!(is_stun(&sample) && is_success_response(&sample) && !is_request(&sample));
        assert_eq!(transaction_id(&sample), Some(SAMPLE));
        assert_eq!(parse_response(&sample, &SAMPLE), Some(Ok(mapped.parse().unwrap())));
        assert_eq!(parse_response(&sample, &[0; 12]), None, "another transaction");
        assert_eq!(username_local_ufrag(&sample), None, "no request");
    }
}

#[test]
fn the_request_of_rfc_5769_says_for_whom_it_is() {
    let request = bytes(REQUEST);
    assert!(is_request(&request));
    assert_eq!(username_local_ufrag(&request), Some("evtj"));
    assert_eq!(parse_response(&request, &SAMPLE), None);
}

#[test]
fn answers_made_here_are_read_back() {
    for mapped in ["198.51.100.7:1", "[2001:db8::1]:65535"] {
        let mapped = mapped.parse().unwrap();
        assert_eq!(parse_response(&success(mapped, &[7; 12]), &[7; 12]), Some(Ok(mapped)));
    }
}

#[test]
fn a_part_of_a_message_is_none() {
    for sample in [REQUEST, RESPONSE_V4, RESPONSE_V6].map(bytes) {
        for len in 0..sample.len() {
            assert!(!is_stun(&sample[..len]), "{len}");
            assert_eq!(transaction_id(&sample[..len]), None);
            assert_eq!(parse_response(&sample[..len], &SAMPLE), None);
        }
        let longer = [&sample[..], &[0; 4]].concat();
        assert!(!is_stun(&longer));
    }
}

#[test]
fn other_first_bits_cookies_and_odd_lengths_are_not_stun() {
    let request = BindingRequest::new(SAMPLE).encode();
    for (at, value) in [(0, 0x40), (0, 0x80), (4, 0x22), (7, 0)] {
        let mut other = request;
        other[at] = value;
        assert!(!is_stun(&other), "{at}");
    }
    let mut odd = request.to_vec();
    odd[3] = 2;
    odd.extend([0; 2]);
    assert!(!is_stun(&odd));
}

#[test]
fn faults_of_answers_are_named() {
    let answer = |attributes: &[(u16, &[u8])]| {
        parse_response(&message(BINDING_SUCCESS, &SAMPLE, attributes), &SAMPLE).unwrap().unwrap_err()
    };
    assert_eq!(answer(&[]), StunFault::NoAddress);
    assert_eq!(answer(&[(0x0001, &[0, 1, 0, 80, 192, 0, 2, 1])]), StunFault::NoAddress, "not masked");
    for (value, family) in [
        (&[][..], 0),
        (&[0, 1, 0], 0),
        (&[0, 1, 0, 0], 1),
        (&[0, 1, 0, 0, 1, 2, 3, 4, 5], 1),
        (&[0, 2, 0, 0, 1, 2, 3, 4], 2),
        (&[0; 20], 0),
        (&[0, 3, 0, 0, 1, 2, 3, 4], 3),
    ] {
        assert_eq!(answer(&[(XOR_MAPPED_ADDRESS, value)]), StunFault::AddressForm { family, len: value.len() });
    }
    for mapped in ["0.0.0.0:80", "192.0.2.1:0", "224.0.0.1:80", "255.255.255.255:80", "[::]:80", "[ff02::1]:80"] {
        let mapped = mapped.parse().unwrap();
        let fault = parse_response(&success(mapped, &SAMPLE), &SAMPLE).unwrap();
        assert_eq!(fault, Err(StunFault::Impossible(mapped)));
    }
}

#[test]
fn an_address_after_message_integrity_does_not_count() {
    let address = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
    for integrity in [MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256] {
        let sample = message(BINDING_SUCCESS, &SAMPLE, &[(integrity, &[0; 20]), (XOR_MAPPED_ADDRESS, &address)]);
        assert_eq!(parse_response(&sample, &SAMPLE), Some(Err(StunFault::NoAddress)));
        let sample = message(BINDING_REQUEST, &SAMPLE, &[(integrity, &[0; 20]), (USERNAME, b"evtj:h6vY")]);
        assert_eq!(username_local_ufrag(&sample), None);
    }
}

#[test]
fn an_attribute_longer_than_the_message_is_a_fault() {
    let mut sample = message(BINDING_SUCCESS, &SAMPLE, &[(0x8022, &[0; 8])]);
    sample[HEADER_LEN + 3] = 9;
    let fault = StunFault::Truncated { attribute: 0x8022, len: 9, left: 8 };
    assert_eq!(parse_response(&sample, &SAMPLE), Some(Err(fault)));
    sample[1] = 0x11;
    assert_eq!(parse_response(&sample, &SAMPLE), Some(Err(fault)));
    sample[0] = 0;
    sample[1] = 0x01;
    assert_eq!(username_local_ufrag(&sample), None);
}

#[test]
fn a_refusal_has_its_code() {
    let refusal = |value: &[u8]| {
        parse_response(&message(BINDING_ERROR, &SAMPLE, &[(ERROR_CODE, value)]), &SAMPLE).unwrap().unwrap_err()
    };
    assert_eq!(refusal(&[0, 0, 4, 20]), StunFault::Refused(420));
    assert_eq!(refusal(b"\0\0\x05\0busy"), StunFault::Refused(500));
    assert_eq!(refusal(&[0, 0, 4]), StunFault::Refused(0));
    assert_eq!(refusal(&[0, 0, 4, 100]), StunFault::Refused(0));
}

#[test]
fn user_names_of_another_form_name_nobody() {
    let ufrag =
        |name: &[u8]| username_local_ufrag(&message(BINDING_REQUEST, &SAMPLE, &[(USERNAME, name)])).map(str::to_owned);
    assert_eq!(ufrag(b"a+/9:x").as_deref(), Some("a+/9"));
    assert_eq!(ufrag(b"abcd:").as_deref(), Some("abcd"));
    assert_eq!(ufrag(b"abcd:b:c").as_deref(), Some("abcd"));
    let longest = "a".repeat(MAX_UFRAG_LEN);
    assert_eq!(ufrag(format!("{longest}:x").as_bytes()), Some(longest.clone()));
    for name in [&b""[..], b":", b":abcd", b"abcd", b"ab cd:x", b"ab\0d:x", "äöü:x".as_bytes(), b"\xff\xfe:x"] {
        assert_eq!(ufrag(name), None, "{name:?}");
    }
    assert_eq!(ufrag(format!("{longest}a:x").as_bytes()), None);
}

#[test]
fn no_alteration_of_a_byte_makes_anything_fail() {
    for sample in [REQUEST, RESPONSE_V4, RESPONSE_V6].map(bytes) {
        for at in 0..sample.len() {
            for value in 0..=255 {
                let mut altered = sample.clone();
                altered[at] = value;
                let _ = (is_stun(&altered), username_local_ufrag(&altered), parse_response(&altered, &SAMPLE));
            }
        }
    }
}
