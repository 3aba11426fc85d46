//! What breaks a rule, and which: a test for each row.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{
    Event, IncomingId, Lanes, Processed, REQUEST_STREAMS_MAX, REQUESTS_MAX, Request, RequestError, RequestId,
    RespondError, Response, Rule, StreamEnd,
};
use mina_p2p_wire::message::{
    BestTipMessage, ExtensionMessage, RpcMessage, RpcRequest, RpcResponse, StreamingRpcMessage, TransactionMessage,
};
use mina_p2p_wire::{Channel, Role, StreamId};

use crate::lone::{Lone, Peer};
use crate::things::{parts, state_hash, tip, transaction, transaction_hash};

const OURS: [Peer; 2] = [Peer::Quic, Peer::Rtc];

fn block_request(id: u64) -> RpcMessage {
    RpcMessage::Request { id, request: RpcRequest::Block(state_hash(id)) }
}

fn block_answer(id: u64, len: usize) -> RpcMessage {
    RpcMessage::Response { id, response: Some(RpcResponse::Block(vec![7; len].into())) }
}

fn ask_for_block(lone: &mut Lone) -> RequestId {
    let id = lone.session.request(lone.now, Request::Rpc(RpcRequest::Block(state_hash(1)))).unwrap();
    lone.drain();
    id
}

fn ask_for_ledger(lone: &mut Lone) -> RequestId {
    let id = lone.session.request(lone.now, Request::StagedLedgerParts(state_hash(1))).unwrap();
    lone.drain();
    id
}

#[test]
fn a_frame_longer_than_the_state_allows_is_refused_at_its_head() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let tips = lone.stream(Channel::BestTip, Role::Puller, 0);
        let violation = lone.session.handle_frame_head(lone.now, tips, 4098).unwrap_err();
        assert_eq!(violation.rule, Rule::FrameTooLong { len: 4098, allowed: 4097 });
        let text = "best_tip/propagation: frame_too_long: a frame of 4098 bytes where 4097 are allowed";
        assert_eq!(violation.to_string(), text);
    }
}

#[test]
fn a_block_is_refused_at_its_head_while_no_tip_is_permitted() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        lone.to(Role::Puller, 0, BestTipMessage::BestTip(tip(1, 0, 100).block)).unwrap();
        let tips = lone.stream(Channel::BestTip, Role::Puller, 0);
        let rule = lone.session.handle_frame_head(lone.now, tips, 1000).unwrap_err().rule;
        // On a shared stream a permit of the peer's may come, which is short.
        let expected = match peer {
            Peer::Quic => Rule::TipWithoutPermit,
            Peer::Rtc | Peer::Old => Rule::FrameTooLong { len: 1000, allowed: 11 },
        };
        assert_eq!(rule, expected);
    }
}

#[test]
fn an_answer_longer_than_its_request_allows_is_refused() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let id = ask_for_block(&mut lone).0;
        let stream = lone.stream(Channel::Rpc, Role::Puller, id);
        assert!(lone.session.handle_frame_head(lone.now, stream, 4096 + 12).is_ok());
        let rule = lone.session.handle_frame_head(lone.now, stream, 4096 + 13).unwrap_err().rule;
        assert_eq!(rule, Rule::FrameTooLong { len: 4096 + 13, allowed: 4096 + 12 });
    }
}

#[test]
fn an_answer_is_held_to_its_own_limit_when_another_may_be_longer() {
    let mut lone = Lone::new(Peer::Rtc);
    ask_for_block(&mut lone);
    let small = Request::Rpc(RpcRequest::Transaction(transaction_hash(1)));
    let id = lone.session.request(lone.now, small).unwrap().0;
    lone.drain();
    let answer = RpcMessage::Response { id, response: Some(RpcResponse::Transaction(vec![7; 1000].into())) };
    let refused = lone.to(Role::Puller, id, answer);
    assert!(matches!(refused, Err(Rule::FrameTooLong { allowed: 268, .. })), "{refused:?}");
}

#[test]
fn an_empty_frame_is_refused() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let stream = lone.stream(Channel::BestTip, Role::Puller, 0);
        assert_eq!(lone.session.handle_frame_head(lone.now, stream, 0).unwrap_err().rule, Rule::EmptyFrame);
    }
}

#[test]
fn what_is_no_message_is_malformed() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let stream = lone.stream(Channel::BestTip, Role::Puller, 0);
        let violation = lone.receive(stream, Bytes::from_static(&[9])).unwrap_err();
        assert!(matches!(violation.rule, Rule::Malformed(_)), "{violation}");

        let mut lone = Lone::new(peer);
        let no_block = BestTipMessage::BestTip(Bytes::from_static(&[1; 31]));
        assert!(matches!(lone.to(Role::Puller, 0, no_block), Err(Rule::Malformed(_))));
    }
}

#[test]
fn bytes_after_a_message_are_refused() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let stream = lone.stream(Channel::BestTip, Role::Server, 0);
        let violation = lone.receive(stream, Bytes::from_static(&[0, 0, 0])).unwrap_err();
        assert_eq!(violation.rule, Rule::TrailingBytes { count: 2 });
    }
}

/// The item with its last number, the nonce, spelled in five bytes where one would do.
fn non_canonical_item() -> Bytes {
    let mut body = TransactionMessage::Item(transaction(1)).encode().into_bytes().to_vec();
    assert_eq!(body.pop(), Some(1));
    body.extend([0xfd, 1, 0, 0, 0]);
    body.into()
}

#[test]
fn a_non_canonical_item_is_refused_from_ours_and_taken_from_the_old_node() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        lone.to(Role::Puller, 0, TransactionMessage::WillSend { count: 1 }).unwrap();
        let stream = lone.stream(Channel::Transaction, Role::Puller, 0);
        let result = lone.receive(stream, non_canonical_item());
        if peer == Peer::Old {
            result.unwrap();
            assert_eq!(lone.take_events(), [Event::Transaction { info: transaction(1) }]);
        } else {
            assert_eq!(result.unwrap_err().rule, Rule::NonCanonical);
        }
    }
}

#[test]
fn a_message_on_a_stream_of_the_other_role_is_refused() {
    let mut lone = Lone::new(Peer::Quic);
    assert_eq!(lone.to(Role::Puller, 0, BestTipMessage::GetNext), Err(Rule::WrongRole));
    let mut lone = Lone::new(Peer::Quic);
    assert_eq!(lone.to(Role::Puller, 0, TransactionMessage::GetNext { limit: 1 }), Err(Rule::WrongRole));
    let mut lone = Lone::new(Peer::Quic);
    assert_eq!(lone.to(Role::Server, 0, TransactionMessage::WillSend { count: 1 }), Err(Rule::WrongRole));
    let mut lone = Lone::new(Peer::Quic);
    assert_eq!(lone.to(Role::Server, 3, block_answer(3, 10)), Err(Rule::WrongRole));
    let mut lone = Lone::new(Peer::Quic);
    let id = ask_for_block(&mut lone).0;
    assert_eq!(lone.to(Role::Puller, id, block_request(id)), Err(Rule::WrongRole));
    let mut lone = Lone::new(Peer::Quic);
    let id = ask_for_ledger(&mut lone).0;
    assert_eq!(lone.to(Role::Puller, id, StreamingRpcMessage::Next { id }), Err(Rule::WrongRole));
}

#[test]
fn a_second_tip_is_refused() {
    let mut lone = Lone::new(Peer::Rtc);
    lone.to(Role::Puller, 0, BestTipMessage::BestTip(tip(1, 0, 40).block)).unwrap();
    // Short enough to pass where a permit may come.
    let short = BestTipMessage::BestTip(Bytes::from_static(b"x"));
    assert_eq!(lone.to(Role::Puller, 0, short), Err(Rule::TipWithoutPermit));
}

#[test]
fn promises_are_held_to_their_permit() {
    for peer in Peer::ALL {
        let promise = |count| TransactionMessage::WillSend { count };
        let mut lone = Lone::new(peer);
        assert_eq!(lone.to(Role::Puller, 0, promise(0)), Err(Rule::PromiseOfZero));
        let mut lone = Lone::new(peer);
        assert_eq!(lone.to(Role::Puller, 0, promise(33)), Err(Rule::PromiseAboveLimit { count: 33, limit: 32 }));
        let mut lone = Lone::new(peer);
        lone.to(Role::Puller, 0, promise(32)).unwrap();
        assert_eq!(lone.to(Role::Puller, 0, promise(1)), Err(Rule::PromiseRepeated { left: 32 }));
    }
    // Without a permit: all that was promised came, and our user has not taken it.
    let mut lone = Lone::new(Peer::Rtc);
    lone.to(Role::Puller, 0, TransactionMessage::WillSend { count: 20 }).unwrap();
    for number in 0..20 {
        lone.to(Role::Puller, 0, TransactionMessage::Item(transaction(number))).unwrap();
    }
    let unpermitted = TransactionMessage::WillSend { count: 1 };
    assert_eq!(lone.to(Role::Puller, 0, unpermitted), Err(Rule::PromiseWithoutPermit));
}

#[test]
fn an_item_without_a_promise_is_refused() {
    for peer in Peer::ALL {
        let item = || TransactionMessage::Item(transaction(1));
        let mut lone = Lone::new(peer);
        assert_eq!(lone.to(Role::Puller, 0, item()), Err(Rule::ItemWithoutPromise));
        let mut lone = Lone::new(peer);
        lone.to(Role::Puller, 0, TransactionMessage::WillSend { count: 1 }).unwrap();
        lone.to(Role::Puller, 0, item()).unwrap();
        // The next permit is out already, but no promise.
        assert_eq!(lone.to(Role::Puller, 0, item()), Err(Rule::ItemWithoutPromise));
    }
    let mut lone = Lone::new(Peer::Quic);
    lone.to(Role::Puller, 0, TransactionMessage::WillSend { count: 20 }).unwrap();
    for number in 0..20 {
        lone.to(Role::Puller, 0, TransactionMessage::Item(transaction(number))).unwrap();
    }
    let one_more = TransactionMessage::Item(transaction(20));
    assert_eq!(lone.to(Role::Puller, 0, one_more), Err(Rule::ItemWithoutPromise));
}

#[test]
fn permits_are_for_something_and_one_at_a_time() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        assert_eq!(lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 0 }), Err(Rule::PermitOfZero));
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 1 }).unwrap();
        assert_eq!(lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 1 }), Err(Rule::PermitRepeated));
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
        assert_eq!(lone.to(Role::Server, 0, BestTipMessage::GetNext), Err(Rule::PermitRepeated));
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_refused() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        assert_eq!(lone.to(Role::Puller, 5, block_answer(5, 10)), Err(Rule::UnknownRequest { id: 5 }));

        // Of another id.
        let mut lone = Lone::new(peer);
        let id = ask_for_block(&mut lone).0;
        let other = lone.to(Role::Puller, id, block_answer(id + 1, 10));
        assert_eq!(other, Err(Rule::UnknownRequest { id: id + 1 }));

        // A second one.
        let mut lone = Lone::new(peer);
        let id = ask_for_block(&mut lone).0;
        lone.to(Role::Puller, id, block_answer(id, 10)).unwrap();
        assert_eq!(lone.to(Role::Puller, id, block_answer(id, 10)), Err(Rule::UnknownRequest { id }));

        let mut lone = Lone::new(peer);
        let part = StreamingRpcMessage::Response { id: 5, part: None };
        assert_eq!(lone.to(Role::Puller, 5, part), Err(Rule::UnknownRequest { id: 5 }));
    }
}

#[test]
fn an_answer_on_the_other_channel_is_refused() {
    let mut lone = Lone::new(Peer::Rtc);
    let id = ask_for_block(&mut lone).0;
    let answer = ExtensionMessage::Response { id, result: Ok(Bytes::new()) };
    assert_eq!(lone.to(Role::Puller, id, answer), Err(Rule::UnknownRequest { id }));
}

#[test]
fn an_answer_of_another_kind_is_refused() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let id = ask_for_block(&mut lone).0;
        let answer = RpcMessage::Response { id, response: Some(RpcResponse::Transaction(Bytes::from_static(b"tx"))) };
        let expected = Rule::WrongAnswer { id, asked: "block", came: "transaction" };
        assert_eq!(lone.to(Role::Puller, id, answer), Err(expected));
    }
}

#[test]
fn more_requests_at_once_than_are_served_are_refused() {
    for peer in Peer::ALL {
        // Streams of their own may be reset and their resets be late, so there more are borne.
        let limit = if peer == Peer::Quic { REQUEST_STREAMS_MAX } else { REQUESTS_MAX };
        let mut lone = Lone::new(peer);
        for id in 0..limit as u64 {
            lone.to(Role::Server, id, block_request(id)).unwrap();
        }
        assert_eq!(lone.session.figures().requests_served, REQUESTS_MAX);
        assert_eq!(lone.take_events().len(), REQUESTS_MAX);
        let one_more = limit as u64;
        assert_eq!(lone.to(Role::Server, one_more, block_request(one_more)), Err(Rule::TooManyRequests { limit }));
    }
}

#[test]
fn a_repeated_id_is_refused_while_the_first_waits() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, block_request(7)).unwrap();
        assert_eq!(lone.to(Role::Server, 1, block_request(7)), Err(Rule::RequestRepeated { id: 7 }));

        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, block_request(7)).unwrap();
        lone.session.respond(lone.now, IncomingId(0), Response::Rpc(None)).unwrap();
        lone.drain();
        lone.to(Role::Server, 1, block_request(7)).unwrap();
    }
}

#[test]
fn a_second_request_on_the_stream_of_one_is_refused() {
    let mut lone = Lone::new(Peer::Quic);
    lone.to(Role::Server, 0, block_request(1)).unwrap();
    assert_eq!(lone.to(Role::Server, 0, block_request(2)), Err(Rule::SecondRequest));

    // Also after the answer.
    let mut lone = Lone::new(Peer::Quic);
    lone.to(Role::Server, 0, block_request(1)).unwrap();
    lone.session.respond(lone.now, IncomingId(0), Response::Rpc(None)).unwrap();
    lone.drain();
    assert_eq!(lone.to(Role::Server, 0, block_request(2)), Err(Rule::UnexpectedMessage));
}

#[test]
fn a_second_staged_ledger_while_one_is_served_is_refused() {
    let request = |id| StreamingRpcMessage::Request { id, block: state_hash(id) };
    for peer in [Peer::Rtc, Peer::Old] {
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, request(0)).unwrap();
        assert_eq!(lone.to(Role::Server, 0, request(1)), Err(Rule::SecondRequest));
    }
    let mut lone = Lone::new(Peer::Quic);
    lone.to(Role::Server, 0, request(0)).unwrap();
    assert_eq!(lone.to(Role::Server, 0, request(1)), Err(Rule::SecondRequest));
    let mut lone = Lone::new(Peer::Quic);
    for id in 0..5 {
        lone.to(Role::Server, id, request(id)).unwrap();
    }
    assert_eq!(lone.to(Role::Server, 5, request(5)), Err(Rule::TooManyRequests { limit: 5 }));
}

#[test]
fn parts_out_of_order_or_out_of_turn_are_refused() {
    for peer in Peer::ALL {
        let all = parts(2, 10);
        let mut lone = Lone::new(peer);
        let id = ask_for_ledger(&mut lone).0;
        let part = |part: usize| StreamingRpcMessage::Response { id, part: Some(all[part].clone()) };
        let expected = Rule::PartOutOfOrder { expected: "base", came: "scan state tree" };
        assert_eq!(lone.to(Role::Puller, id, part(3)), Err(expected));

        let mut lone = Lone::new(peer);
        let id = ask_for_ledger(&mut lone).0;
        lone.to(Role::Puller, id, part(0)).unwrap();
        // Not asked for, as the first was not processed.
        assert_eq!(lone.to(Role::Puller, id, part(1)), Err(Rule::UnexpectedMessage));

        // Nothing is left to ask for, or to come.
        let mut lone = Lone::new(peer);
        let id = ask_for_ledger(&mut lone).0;
        for part_number in 0..all.len() {
            lone.to(Role::Puller, id, part(part_number)).unwrap();
            lone.session.processed(lone.now, Processed::StagedLedgerPart(RequestId(id)));
            lone.drain();
        }
        assert_eq!(lone.to(Role::Puller, id, part(4)), Err(Rule::UnknownRequest { id }));
    }
}

#[test]
fn a_scan_state_of_more_trees_than_any_network_has_is_refused() {
    let mut lone = Lone::new(Peer::Quic);
    let id = ask_for_ledger(&mut lone).0;
    let all = parts(65, 10);
    let part = |part: usize| StreamingRpcMessage::Response { id, part: Some(all[part].clone()) };
    lone.to(Role::Puller, id, part(0)).unwrap();
    lone.session.processed(lone.now, Processed::StagedLedgerPart(RequestId(id)));
    lone.drain();
    assert!(matches!(lone.to(Role::Puller, id, part(1)), Err(Rule::Malformed(_))));
}

#[test]
fn next_is_refused_before_a_part_and_without_a_request() {
    for peer in OURS {
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, StreamingRpcMessage::Request { id: 0, block: state_hash(0) }).unwrap();
        let next = StreamingRpcMessage::Next { id: 0 };
        assert_eq!(lone.to(Role::Server, 0, next), Err(Rule::NextOutOfTurn { id: 0 }));
    }
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let next = StreamingRpcMessage::Next { id: 9 };
        assert_eq!(lone.to(Role::Server, 0, next), Err(Rule::UnknownRequest { id: 9 }));
    }
    // The existing node sends it early, but not more often than there are parts.
    let mut lone = Lone::new(Peer::Old);
    lone.to(Role::Server, 0, StreamingRpcMessage::Request { id: 0, block: state_hash(0) }).unwrap();
    for _ in 0..66 {
        lone.to(Role::Server, 0, StreamingRpcMessage::Next { id: 0 }).unwrap();
    }
    let next = StreamingRpcMessage::Next { id: 0 };
    assert_eq!(lone.to(Role::Server, 0, next), Err(Rule::NextOutOfTurn { id: 0 }));
}

#[test]
fn a_second_stream_for_a_channel_is_refused() {
    for channel in [Channel::BestTip, Channel::Transaction, Channel::Snark, Channel::SnarkJobCommitment] {
        let mut lone = Lone::new(Peer::Quic);
        let stream = |request| StreamId { channel, role: Role::Server, request };
        lone.session.handle_stream_opened(lone.now, stream(0)).unwrap();
        assert_eq!(lone.session.handle_stream_opened(lone.now, stream(1)).unwrap_err().rule, Rule::SecondStream);
    }
    for channel in [Channel::Rpc, Channel::StreamingRpc, Channel::ExtensionRpc] {
        let mut lone = Lone::new(Peer::Quic);
        let stream = StreamId { channel, role: Role::Server, request: 0 };
        lone.session.handle_stream_opened(lone.now, stream).unwrap();
        assert_eq!(lone.session.handle_stream_opened(lone.now, stream).unwrap_err().rule, Rule::SecondStream);
    }
}

#[test]
fn a_frame_on_a_stream_that_was_not_opened_is_refused() {
    for channel in [Channel::BestTip, Channel::Transaction, Channel::Rpc, Channel::StreamingRpc] {
        let mut lone = Lone::new(Peer::Quic);
        let stream = StreamId { channel, role: Role::Server, request: 0 };
        let rule = lone.session.handle_frame_head(lone.now, stream, 1).unwrap_err().rule;
        assert_eq!(rule, Rule::UnexpectedMessage);
    }
}

#[test]
fn a_stream_that_ends_too_early_is_refused() {
    for end in [StreamEnd::Finished, StreamEnd::Reset] {
        for role in [Role::Puller, Role::Server] {
            for channel in [Channel::BestTip, Channel::Transaction, Channel::Snark, Channel::SnarkJobCommitment] {
                let mut lone = Lone::new(Peer::Quic);
                let stream = lone.stream(channel, role, 0);
                assert_eq!(lone.end(stream, end), Err(Rule::StreamEnded(end)));
            }
        }
        for channel in [Channel::BestTip, Channel::Rpc, Channel::StreamingRpc, Channel::ExtensionRpc] {
            let mut lone = Lone::new(Peer::Rtc);
            let stream = lone.stream(channel, Role::Puller, 0);
            assert_eq!(lone.end(stream, end), Err(Rule::StreamEnded(end)));
        }
    }
    // A stream of a request that brought none.
    for channel in [Channel::Rpc, Channel::StreamingRpc] {
        let mut lone = Lone::new(Peer::Quic);
        let stream = lone.stream(channel, Role::Server, 0);
        lone.session.handle_stream_opened(lone.now, stream).unwrap();
        assert_eq!(lone.end(stream, StreamEnd::Finished), Err(Rule::StreamEnded(StreamEnd::Finished)));
    }
    // Of parts that are still to be asked for.
    let mut lone = Lone::new(Peer::Quic);
    lone.to(Role::Server, 0, StreamingRpcMessage::Request { id: 0, block: state_hash(0) }).unwrap();
    let stream = lone.stream(Channel::StreamingRpc, Role::Server, 0);
    assert_eq!(lone.end(stream, StreamEnd::Finished), Err(Rule::StreamEnded(StreamEnd::Finished)));
}

#[test]
fn channels_that_are_not_spoken_are_refused() {
    for channel in [Channel::SignalingDiscovery, Channel::SignalingExchange] {
        for peer in [Peer::Quic, Peer::Rtc] {
            let mut lone = Lone::new(peer);
            assert!(!lone.session.speaks_introductions());
            let stream = lone.stream(channel, Role::Server, 0);
            let opened = lone.session.handle_stream_opened(lone.now, stream);
            assert_eq!(opened.is_err(), peer.lanes() == Lanes::PerRole);
            let rule = lone.session.handle_frame_head(lone.now, stream, 1).unwrap_err().rule;
            assert_eq!(rule, Rule::ChannelNotSupported);
        }
    }
    let mut lone = Lone::new(Peer::Old);
    let request = ExtensionMessage::Request {
        id: 0,
        name: "echo".parse().unwrap(),
        version: 1,
        max_answer: 100,
        body: Bytes::new(),
    };
    assert_eq!(lone.to(Role::Server, 0, request), Err(Rule::ChannelNotSupported));
}

#[test]
fn a_violation_ends_the_session() {
    let mut lone = Lone::new(Peer::Quic);
    ask_for_block(&mut lone);
    lone.to(Role::Server, 0, block_request(0)).unwrap();
    let stream = lone.stream(Channel::BestTip, Role::Puller, 0);
    let violation = lone.session.handle_frame_head(lone.now, stream, 0).unwrap_err();
    lone.transmits.clear();
    lone.take_events();
    assert_eq!(lone.session.handle_frame_head(lone.now, stream, 10).unwrap_err(), violation);
    assert_eq!(lone.session.handle_stream_end(lone.now, stream, StreamEnd::Reset).unwrap_err(), violation);
    let request = lone.session.request(lone.now, Request::Rpc(RpcRequest::InitialPeers));
    assert_eq!(request, Err(RequestError::Ended));
    let respond = lone.session.respond(lone.now, IncomingId(0), Response::Rpc(None));
    assert_eq!(respond, Err(RespondError::Gone));
    assert!(!lone.session.cancel(lone.now, RequestId(0)));
    lone.session.processed(lone.now, Processed::BestTip);
    lone.now = lone.now + Duration::from_secs(1000);
    lone.session.handle_timeout(lone.now);
    lone.drain();
    assert!(lone.transmits.is_empty() && lone.events.is_empty() && lone.timeout.is_none());
}
