//! Staged ledgers in parts (channel 8).

use std::time::Duration;

use mina_p2p_protocol::{
    Answer, CancelReason, Event, IncomingId, IncomingRequest, NEXT_DEADLINE, PART_DEADLINE, Processed, Request,
    RequestFailure, RequestId, ResetReason, RespondError, Response, StreamEnd, TimeoutReason,
};
use mina_p2p_wire::message::{StagedLedgerPart, StreamingRpcMessage};
use mina_p2p_wire::{Channel, Role};

use crate::lone::{Lone, Peer};
use crate::things::{parts, state_hash};

fn ask(lone: &mut Lone) -> RequestId {
    let id = lone.session.request(lone.now, Request::StagedLedgerParts(state_hash(1))).unwrap();
    lone.drain();
    id
}

fn sent(lone: &mut Lone) -> Vec<StreamingRpcMessage> {
    let decode = |body| StreamingRpcMessage::decode(body).unwrap().value;
    lone.take_sent(Channel::StreamingRpc).into_iter().map(decode).collect()
}

fn answer(id: RequestId, part: Option<StagedLedgerPart>) -> StreamingRpcMessage {
    StreamingRpcMessage::Response { id: id.0, part }
}

fn processed(lone: &mut Lone, id: RequestId) {
    lone.session.processed(lone.now, Processed::StagedLedgerPart(id));
    lone.drain();
}

fn requested(lone: &mut Lone, id: u64) -> IncomingId {
    lone.to(Role::Server, id, StreamingRpcMessage::Request { id, block: state_hash(id) }).unwrap();
    match lone.take_events().as_slice() {
        [Event::Request { id: incoming, request: IncomingRequest::StagedLedgerParts(block) }] => {
            assert_eq!(*block, state_hash(id));
            *incoming
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_part_is_asked_for_when_the_one_before_was_processed() {
    for (peer, trees) in Peer::ALL.into_iter().flat_map(|peer| [(peer, 0), (peer, 1), (peer, 3)]) {
        let mut lone = Lone::new(peer);
        let id = ask(&mut lone);
        let all = parts(trees, 100);
        let request = StreamingRpcMessage::Request { id: id.0, block: state_hash(1) };
        assert_eq!(sent(&mut lone), [request]);
        for (index, part) in all.iter().enumerate() {
            lone.to(Role::Puller, id.0, answer(id, Some(part.clone()))).unwrap();
            let event = Event::StagedLedgerPart { id, index: index as u32, part: part.clone() };
            assert_eq!(lone.take_events(), [event]);
            assert_eq!(lone.timeout, None, "no deadline while our user has the part");
            processed(&mut lone, id);
            if index + 1 < all.len() {
                let fin = lone.transmits.last().unwrap().fin;
                assert_eq!(fin, peer == Peer::Quic && index + 2 == all.len(), "the last we send on its stream");
                assert_eq!(sent(&mut lone), [StreamingRpcMessage::Next { id: id.0 }]);
            }
        }
        let complete = Ok(Answer::StagedLedgerParts(Some(all.len() as u32)));
        assert_eq!(lone.take_events(), [Event::Response { id, answer: complete }]);
        assert!(sent(&mut lone).is_empty() && lone.resets.is_empty());
    }
}

#[test]
fn the_peer_may_have_it_no_more_at_any_time() {
    for peer in Peer::ALL {
        for (parts_before, taken) in [(0, true), (1, true), (1, false), (3, false)] {
            let mut lone = Lone::new(peer);
            let id = ask(&mut lone);
            for part in parts(1, 10).into_iter().take(parts_before) {
                processed(&mut lone, id);
                lone.to(Role::Puller, id.0, answer(id, Some(part))).unwrap();
            }
            if taken {
                processed(&mut lone, id);
            }
            lone.take_events();
            lone.to(Role::Puller, id.0, answer(id, None)).unwrap();
            let none = Ok(Answer::StagedLedgerParts(None));
            assert_eq!(lone.take_events(), [Event::Response { id, answer: none }]);
            let stream = lone.stream(Channel::StreamingRpc, Role::Puller, id.0);
            let resets = if peer == Peer::Quic { vec![(stream, ResetReason::Done)] } else { vec![] };
            assert_eq!(lone.resets, resets);
        }
    }
}

#[test]
fn requests_follow_one_another() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let (first, second) = (ask(&mut lone), ask(&mut lone));
        assert_eq!(sent(&mut lone).len(), 1);
        lone.to(Role::Puller, first.0, answer(first, None)).unwrap();
        let next = StreamingRpcMessage::Request { id: second.0, block: state_hash(1) };
        assert_eq!(sent(&mut lone), [next]);
    }
}

#[test]
fn a_part_that_does_not_come_in_time_ends_the_request_and_not_the_connection() {
    let mut lone = Lone::new(Peer::Quic);
    let (id, next) = (ask(&mut lone), ask(&mut lone));
    lone.to(Role::Puller, id.0, answer(id, parts(0, 10).pop().map(|_| parts(0, 10).remove(0)))).unwrap();
    lone.take_events();
    lone.pass(Duration::from_secs(20));
    processed(&mut lone, id);
    // The second one has waited for too long by then.
    lone.pass(PART_DEADLINE - Duration::from_secs(1));
    assert_eq!(lone.take_events(), [Event::Response { id: next, answer: Err(RequestFailure::Timeout) }]);
    assert_eq!(lone.timeout, Some((lone.now + Duration::from_secs(1), TimeoutReason::StagedLedger)));
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.take_events(), [Event::Response { id, answer: Err(RequestFailure::Timeout) }]);
    assert_eq!(lone.resets, [(lone.stream(Channel::StreamingRpc, Role::Puller, id.0), ResetReason::TimedOut)]);
    // What was on its way is dropped.
    lone.to(Role::Puller, id.0, answer(id, Some(parts(0, 10).remove(1)))).unwrap();
    assert_eq!(lone.take_events(), []);
}

#[test]
fn on_a_shared_stream_what_is_cancelled_is_read_to_its_end() {
    for peer in [Peer::Rtc, Peer::Old] {
        for cancel_at in 0..4 {
            let mut lone = Lone::new(peer);
            let (id, next) = (ask(&mut lone), ask(&mut lone));
            sent(&mut lone);
            for (index, part) in parts(1, 10).into_iter().enumerate() {
                if index == cancel_at {
                    // Before the part comes.
                    assert!(lone.session.cancel(lone.now, id));
                    assert!(!lone.session.cancel(lone.now, id));
                }
                lone.to(Role::Puller, id.0, answer(id, Some(part))).unwrap();
                assert_eq!(lone.take_events().is_empty(), index >= cancel_at);
                processed(&mut lone, id);
                let expected = match index {
                    3 => StreamingRpcMessage::Request { id: next.0, block: state_hash(1) },
                    _ => StreamingRpcMessage::Next { id: id.0 },
                };
                assert_eq!(sent(&mut lone), [expected]);
            }
        }
        // While our user has a part.
        let mut lone = Lone::new(peer);
        let id = ask(&mut lone);
        lone.to(Role::Puller, id.0, answer(id, Some(parts(0, 10).remove(0)))).unwrap();
        sent(&mut lone);
        assert!(lone.session.cancel(lone.now, id));
        lone.drain();
        assert_eq!(sent(&mut lone), [StreamingRpcMessage::Next { id: id.0 }]);
    }
}

#[test]
fn a_cancelled_request_resets_its_stream_and_another_takes_its_place() {
    let mut lone = Lone::new(Peer::Quic);
    let (id, next) = (ask(&mut lone), ask(&mut lone));
    assert!(lone.session.cancel(lone.now, id));
    lone.drain();
    assert_eq!(lone.resets, [(lone.stream(Channel::StreamingRpc, Role::Puller, id.0), ResetReason::Cancelled)]);
    let request = StreamingRpcMessage::Request { id: next.0, block: state_hash(1) };
    assert_eq!(sent(&mut lone).last(), Some(&request));
    lone.to(Role::Puller, id.0, answer(id, Some(parts(0, 10).remove(0)))).unwrap();
    lone.end(lone.stream(Channel::StreamingRpc, Role::Puller, id.0), StreamEnd::Reset).unwrap();
    assert_eq!(lone.take_events(), []);
    assert!(lone.session.cancel(lone.now, next));
}

#[test]
fn a_stream_that_ends_before_the_last_part_fails_its_request() {
    let mut lone = Lone::new(Peer::Quic);
    let id = ask(&mut lone);
    lone.end(lone.stream(Channel::StreamingRpc, Role::Puller, id.0), StreamEnd::Reset).unwrap();
    assert_eq!(lone.take_events(), [Event::Response { id, answer: Err(RequestFailure::Dropped) }]);

    // After the last it is as it should be, even if our user has not taken that yet.
    let id = ask(&mut lone);
    for part in parts(0, 10) {
        processed(&mut lone, id);
        lone.to(Role::Puller, id.0, answer(id, Some(part))).unwrap();
    }
    lone.take_events();
    lone.end(lone.stream(Channel::StreamingRpc, Role::Puller, id.0), StreamEnd::Finished).unwrap();
    assert_eq!(lone.take_events(), []);
    processed(&mut lone, id);
    let complete = Ok(Answer::StagedLedgerParts(Some(3)));
    assert_eq!(lone.take_events(), [Event::Response { id, answer: complete }]);
}

#[test]
fn parts_are_served_one_for_each_permit() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let incoming = requested(&mut lone, 7);
        let all = parts(2, 100);
        lone.transmits.clear();
        lone.session.respond(lone.now, incoming, Response::StagedLedgerParts(Some(all.clone()))).unwrap();
        lone.drain();
        for (index, part) in all.iter().enumerate() {
            if index > 0 {
                lone.to(Role::Server, 7, StreamingRpcMessage::Next { id: 7 }).unwrap();
            }
            let fin = lone.transmits.last().unwrap().fin;
            assert_eq!(fin, peer == Peer::Quic && index + 1 == all.len());
            assert_eq!(sent(&mut lone), [StreamingRpcMessage::Response { id: 7, part: Some(part.clone()) }]);
        }
        assert_eq!(lone.session.figures().requests_served, 0);
        lone.end_of_their_side(7);
        assert!(lone.to(Role::Server, 7, StreamingRpcMessage::Next { id: 7 }).is_err());
    }
}

impl Lone {
    fn end_of_their_side(&mut self, request: u64) {
        let stream = self.stream(Channel::StreamingRpc, Role::Server, request);
        if stream.request == request {
            self.end(stream, StreamEnd::Finished).unwrap();
        }
    }
}

#[test]
fn early_permits_of_the_old_node_are_counted() {
    let mut lone = Lone::new(Peer::Old);
    let incoming = requested(&mut lone, 7);
    for _ in 0..2 {
        lone.to(Role::Server, 7, StreamingRpcMessage::Next { id: 7 }).unwrap();
    }
    lone.transmits.clear();
    lone.session.respond(lone.now, incoming, Response::StagedLedgerParts(Some(parts(2, 100)))).unwrap();
    lone.drain();
    assert_eq!(sent(&mut lone).len(), 3);
    lone.to(Role::Server, 7, StreamingRpcMessage::Next { id: 7 }).unwrap();
    assert_eq!(sent(&mut lone).len(), 1);
}

#[test]
fn what_is_no_staged_ledger_is_not_sent() {
    let mut lone = Lone::new(Peer::Quic);
    let incoming = requested(&mut lone, 0);
    let mut respond = |parts| lone.session.respond(lone.now, incoming, Response::StagedLedgerParts(Some(parts)));
    let good = parts(2, 10);
    assert_eq!(respond(vec![]), Err(RespondError::WrongParts));
    assert_eq!(respond(good[..4].to_vec()), Err(RespondError::WrongParts));
    assert_eq!(respond([&good[..], &good[4..]].concat()), Err(RespondError::WrongParts));
    assert_eq!(respond(good[1..].to_vec()), Err(RespondError::WrongParts));
    assert_eq!(respond(parts(65, 10)), Err(RespondError::WrongParts));
    assert_eq!(respond(parts(0, 2049)), Err(RespondError::TooLong { len: 2049, max: 2048 }));
    let all = respond(parts(10, 2000));
    assert_eq!(all, Err(RespondError::TooLong { len: 24001, max: 16 * 1024 }));
    assert_eq!(lone.session.respond(lone.now, incoming, Response::Rpc(None)), Err(RespondError::WrongKind));
    lone.session.respond(lone.now, incoming, Response::StagedLedgerParts(None)).unwrap();
    let again = lone.session.respond(lone.now, incoming, Response::StagedLedgerParts(None));
    assert_eq!(again, Err(RespondError::Gone));
}

#[test]
fn an_asker_that_takes_too_long_is_told_that_there_is_no_more() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let incoming = requested(&mut lone, 7);
        lone.session.respond(lone.now, incoming, Response::StagedLedgerParts(Some(parts(2, 100)))).unwrap();
        lone.drain();
        assert!(lone.session.buffered_bytes() > 300);
        sent(&mut lone);
        lone.pass(NEXT_DEADLINE);
        assert_eq!(sent(&mut lone), [StreamingRpcMessage::Response { id: 7, part: None }]);
        assert_eq!(lone.session.buffered_bytes(), 0);
        // Its permit may have been on its way.
        lone.to(Role::Server, 7, StreamingRpcMessage::Next { id: 7 }).unwrap();
        lone.end_of_their_side(7);
        assert_eq!(sent(&mut lone), []);
        assert_eq!(lone.take_events(), []);
    }
}

#[test]
fn what_our_user_leaves_unanswered_is_not_available() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let incoming = requested(&mut lone, 7);
        lone.transmits.clear();
        lone.pass(PART_DEADLINE);
        assert_eq!(sent(&mut lone), [StreamingRpcMessage::Response { id: 7, part: None }]);
        let cancelled = Event::RequestCancelled { id: incoming, why: CancelReason::Unanswered };
        assert_eq!(lone.take_events(), [cancelled]);
    }
}

#[test]
fn a_reset_frees_the_place_for_the_next_request() {
    let mut lone = Lone::new(Peer::Quic);
    let first = requested(&mut lone, 0);
    lone.to(Role::Server, 1, StreamingRpcMessage::Request { id: 1, block: state_hash(1) }).unwrap();
    assert_eq!(lone.take_events(), []);
    lone.end(lone.stream(Channel::StreamingRpc, Role::Server, 0), StreamEnd::Reset).unwrap();
    let expected = [
        Event::RequestCancelled { id: first, why: CancelReason::Peer },
        Event::Request { id: IncomingId(1), request: IncomingRequest::StagedLedgerParts(state_hash(1)) },
    ];
    assert_eq!(lone.take_events(), expected);
    // While parts are sent our user has nothing to be told.
    lone.session.respond(lone.now, IncomingId(1), Response::StagedLedgerParts(Some(parts(0, 10)))).unwrap();
    lone.drain();
    lone.end(lone.stream(Channel::StreamingRpc, Role::Server, 1), StreamEnd::Reset).unwrap();
    assert_eq!(lone.take_events(), []);
    assert_eq!(lone.session.buffered_bytes(), 0);
}
