//! What holds for every message, and for every string of bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use bytes::Bytes;
use common::{AnyMessage, arbitrary, decode};
use mina_p2p_wire::binprot::{self, Reader, Writer};
use mina_p2p_wire::message::{
    BlockAnswer, BlockQuery, CompactMessage, HELLO_MAX_LEN, MAX_ANNOUNCEMENT_LEN, MAX_COMMITMENT_LEN,
    MAX_COMPACT_PERMIT_LEN, MAX_GET_NEXT_LEN, MAX_SNARK_INFO_LEN, MAX_TRANSACTION_INFO_LEN, MAX_WILL_SEND_LEN,
    PoolMessage,
};
use mina_p2p_wire::{Address, Channel, Host, PeerId};
use proptest::prelude::*;

/// Where bodies are decoded: every channel, and as a Hello.
fn place() -> impl Strategy<Value = Option<Channel>> {
    proptest::option::of(proptest::sample::select(Channel::ALL.to_vec()))
}

fn has_opaque_end(message: &AnyMessage) -> bool {
    !message.encode().payload.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn messages_survive_the_wire(message in arbitrary::message()) {
        let frame = message.encode();
        let body = frame.clone().into_bytes();
        prop_assert_eq!(frame.len(), body.len());
        let decoded = decode(message.channel(), body).unwrap();
        prop_assert!(decoded.is_exact());
        prop_assert_eq!(&decoded.value, &message);
        prop_assert_eq!(decoded.value.encode(), frame);
    }

    #[test]
    fn no_message_is_longer_than_its_limit(message in arbitrary::message()) {
        fn pool<Item>(message: &PoolMessage<Item>, item: usize) -> usize {
            match message {
                PoolMessage::GetNext { .. } => MAX_GET_NEXT_LEN,
                PoolMessage::WillSend { .. } => MAX_WILL_SEND_LEN,
                PoolMessage::Item(_) => item,
            }
        }
        let limit = match &message {
            AnyMessage::Hello(_) => HELLO_MAX_LEN,
            AnyMessage::Transaction(message) => pool(message, MAX_TRANSACTION_INFO_LEN),
            AnyMessage::Snark(message) => pool(message, MAX_SNARK_INFO_LEN),
            AnyMessage::Commitment(message) => pool(message, MAX_COMMITMENT_LEN),
            AnyMessage::Compact(CompactMessage::Permit { .. } | CompactMessage::Change { .. }) => MAX_COMPACT_PERMIT_LEN,
            AnyMessage::Compact(CompactMessage::Announce(_)) => MAX_ANNOUNCEMENT_LEN,
            other => other.channel().unwrap().max_frame_len() as usize,
        };
        prop_assert!(message.encode().len() <= limit);
    }

    #[test]
    fn a_message_that_is_cut_off_is_refused_or_shorter(message in arbitrary::message(), at in any::<prop::sample::Index>()) {
        let body = message.encode().into_bytes();
        let cut = body.slice(..at.index(body.len()));
        match decode(message.channel(), cut.clone()) {
            // Only an opaque end can be cut without a trace.
            Ok(decoded) => {
                prop_assert!(has_opaque_end(&message));
                prop_assert_eq!(decoded.value.encode().into_bytes(), cut);
            }
            Err(error) => prop_assert!(error.offset() <= cut.len()),
        }
    }

    #[test]
    fn what_follows_a_message_is_counted(message in arbitrary::message(), tail in 1..9_usize) {
        let body = message.encode().into_bytes();
        let longer = Bytes::from([&body[..], &vec![0; tail]].concat());
        let decoded = decode(message.channel(), longer.clone()).unwrap();
        if decoded.trailing == 0 {
            // It became part of the opaque end.
            prop_assert_eq!(decoded.value.encode().into_bytes(), longer);
        } else {
            prop_assert_eq!(decoded.trailing, tail);
            prop_assert_eq!(decoded.value, message);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(place in place(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_decoding(place, body.into())?;
    }

    #[test]
    fn changed_messages_are_decoded_or_refused(
        message in arbitrary::message(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = message.encode().into_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        check_decoding(message.channel(), body.into())?;
    }

    #[test]
    fn integers_that_are_longer_than_needed_are_noticed_wherever_they_stand(message in arbitrary::message(), at in any::<prop::sample::Index>()) {
        // Makes the byte 0x00..=0x7f at some place three bytes long. If the place held an integer, that shows; if not, the
        // message is another one, or none.
        let body = message.encode().into_bytes();
        let at = at.index(body.len());
        prop_assume!(body[at] < 0x80);
        let longer = [&body[..at], &[0xfe, body[at], 0], &body[at + 1..]].concat();
        if let Ok(decoded) = decode(message.channel(), longer.into())
            && decoded.value == message
        {
            prop_assert!(!decoded.canonical || decoded.trailing > 0);
        }
    }

    #[test]
    fn queries_and_answers_about_blocks_survive_the_wire(query in arbitrary::block_query(), answer in arbitrary::block_answer()) {
        let body = query.encode();
        prop_assert!(body.len() <= BlockQuery::MAX_LEN);
        prop_assert_eq!(BlockQuery::decode(query.method(), body), Some(Ok(query)));
        let body = answer.encode();
        prop_assert_eq!(BlockAnswer::decode(body), Ok(answer));
    }

    #[test]
    fn a_query_or_an_answer_about_a_block_that_is_cut_off_is_refused(query in arbitrary::block_query(), answer in arbitrary::block_answer()) {
        let body = query.encode();
        for len in 0..body.len() {
            let error = BlockQuery::decode(query.method(), body.slice(..len)).unwrap().unwrap_err();
            prop_assert!(error.offset() <= len);
        }
        let body = answer.encode();
        for len in 0..body.len() {
            match (BlockAnswer::decode(body.slice(..len)), &answer) {
                // Its end is opaque: that it is whole shows in its hash.
                (Ok(BlockAnswer::Chunk(cut)), BlockAnswer::Chunk(chunk)) => prop_assert!(chunk.starts_with(&cut)),
                (Ok(shorter), _) => prop_assert!(false, "{:?} of {:?}", shorter, answer),
                (Err(error), _) => prop_assert!(error.offset() <= len),
            }
        }
    }

    #[test]
    fn what_is_changed_in_a_query_or_an_answer_about_a_block_shows(
        query in arbitrary::block_query(),
        answer in arbitrary::block_answer(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = query.encode().to_vec();
        let at_query = at.index(body.len());
        body[at_query] = byte;
        check_query(query.method(), body.into())?;
        let mut body = answer.encode().to_vec();
        let at_answer = at.index(body.len());
        body[at_answer] = byte;
        check_answer(body.into())?;
    }

    #[test]
    fn any_bytes_are_a_query_or_an_answer_about_a_block_or_refused(
        method in proptest::sample::select(BlockQuery::METHODS.to_vec()),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        tag in 0..8_u8,
    ) {
        check_query(method, body.clone().into())?;
        check_answer([&[tag][..], &body].concat().into())?;
        check_answer(body.into())?;
    }

    #[test]
    fn addresses_survive_their_text(address in arbitrary::address()) {
        let text = address.to_string();
        prop_assert_eq!(text.parse::<Address>(), Ok(address.clone()), "{}", text);
        prop_assert!(binprot::encode(&address).len() <= Address::MAX_LEN);
    }

    #[test]
    fn ids_and_hosts_survive_their_texts(id in arbitrary::peer_id(), host in arbitrary::host()) {
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(PeerId::from_libp2p(&id.to_libp2p()), Ok(id));
        prop_assert_eq!(host.to_string().parse(), Ok(host));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}", path in "(/[a-z0-9:.\\[\\]]{0,12}){0,8}") {
        for text in [text, path] {
            if let Ok(host) = text.parse::<Host>() {
                prop_assert_eq!(host.to_string().parse(), Ok(host));
            }
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
            let _ = text.parse::<PeerId>();
        }
    }

    #[test]
    fn an_integer_has_one_canonical_form(value in any::<i64>(), shift in 0..64_u32) {
        let value = value >> shift;
        let mut writer = Writer::new();
        writer.int(value);
        let shortest = writer.finish();
        let bytes = value.to_le_bytes();
        for (code, len) in [(0xff, 1), (0xfe, 2), (0xfd, 4), (0xfc, 8)] {
            let form = Bytes::from([&[code], &bytes[..len]].concat());
            let mut reader = Reader::new(form.clone());
            if reader.int("n").unwrap() == value {
                prop_assert_eq!(reader.is_canonical(), form == shortest);
            }
        }
    }
}

/// Decoding terminates without a panic; what it yields is what was there, and comes back when encoded again, byte for byte
/// if it was canonical.
fn check_decoding(place: Option<Channel>, body: Bytes) -> Result<(), TestCaseError> {
    let len = body.len();
    match decode(place, body.clone()) {
        Ok(decoded) => {
            prop_assert!(decoded.trailing <= len);
            let again = decoded.value.encode().into_bytes();
            if decoded.canonical {
                prop_assert_eq!(&again, &body.slice(..len - decoded.trailing));
            }
            let twice = decode(place, again).unwrap();
            prop_assert!(twice.is_exact());
            prop_assert_eq!(twice.value, decoded.value);
        }
        Err(error) => {
            prop_assert!(error.offset() <= len, "{} of {}", error, len);
            prop_assert!(!error.to_string().is_empty());
        }
    }
    Ok(())
}

/// What is read is the one spelling of itself; a refusal says where.
fn check_query(method: &str, body: Bytes) -> Result<(), TestCaseError> {
    match BlockQuery::decode(method, body.clone()).unwrap() {
        Ok(query) => prop_assert_eq!(query.encode(), body),
        Err(error) => prop_assert!(error.offset() <= body.len(), "{} of {}", error, body.len()),
    }
    Ok(())
}

/// The same of answers.
fn check_answer(body: Bytes) -> Result<(), TestCaseError> {
    match BlockAnswer::decode(body.clone()) {
        Ok(answer) => prop_assert_eq!(answer.encode(), body),
        Err(error) => prop_assert!(error.offset() <= body.len(), "{} of {}", error, body.len()),
    }
    Ok(())
}
