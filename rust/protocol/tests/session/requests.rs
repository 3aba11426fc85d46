//! Requests of channels 7 and 16: slots, deadlines, cancelling, answering, the rate.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{
    Answer, CancelReason, EXTENSION_DEADLINE_MAX, Event, IncomingId, IncomingRequest, REQUESTS_MAX, Request,
    RequestError, RequestFailure, RequestId, ResetReason, RespondError, Response, Rule, SLOT_HELD, StreamEnd,
    TimeoutReason,
};
use mina_p2p_wire::message::{
    Capabilities, ExtensionError, ExtensionMessage, ExtensionName, RpcMessage, RpcRequest, RpcResponse,
};
use mina_p2p_wire::{Address, Channel, Host, Role, Signaling};

use crate::lone::{Lone, Peer, config};
use crate::things::{self, job_id, state_hash, transaction_hash};

const SECOND: Duration = Duration::from_secs(1);

fn block(number: u64) -> Request {
    Request::Rpc(RpcRequest::Block(state_hash(number)))
}

fn ask(lone: &mut Lone, request: Request) -> RequestId {
    let id = lone.session.request(lone.now, request).unwrap();
    lone.drain();
    id
}

fn block_answer(id: RequestId) -> RpcMessage {
    RpcMessage::Response { id: id.0, response: Some(RpcResponse::Block(Bytes::from_static(b"block"))) }
}

fn answered(id: RequestId) -> Event {
    let answer = Answer::Rpc(Some(RpcResponse::Block(Bytes::from_static(b"block"))));
    Event::Response { id, answer: Ok(answer) }
}

fn failed(id: RequestId, failure: RequestFailure) -> Event {
    Event::Response { id, answer: Err(failure) }
}

fn asked_ids(lone: &mut Lone) -> Vec<u64> {
    let id = |message| match message {
        RpcMessage::Request { id, .. } => id,
        RpcMessage::Response { .. } => panic!("an answer"),
    };
    lone.take_rpcs().into_iter().map(id).collect()
}

fn call(body: &'static [u8]) -> Request {
    let (name, body) = ("echo".to_owned(), Bytes::from_static(body));
    Request::Extension { name, version: 1, body, max_answer: 100, deadline: 3 * SECOND }
}

#[test]
fn ours_are_asked_five_at_a_time_and_the_old_node_one() {
    for (peer, slots) in [(Peer::Quic, 5), (Peer::Rtc, 5), (Peer::Old, 1)] {
        let mut lone = Lone::new(peer);
        let ids: Vec<RequestId> = (0..8).map(|number| ask(&mut lone, block(number))).collect();
        let figures = lone.session.figures();
        assert_eq!((figures.requests_in_flight, figures.requests_waiting), (slots, 8 - slots));
        assert_eq!(asked_ids(&mut lone), (0..slots as u64).collect::<Vec<_>>());
        lone.to(Role::Puller, 0, block_answer(ids[0])).unwrap();
        assert_eq!(lone.take_events(), [answered(ids[0])]);
        assert_eq!(asked_ids(&mut lone), [slots as u64]);
    }
}

#[test]
fn a_request_has_a_stream_of_its_own_which_ends_with_its_answer() {
    let mut lone = Lone::new(Peer::Quic);
    let id = ask(&mut lone, block(1));
    let sent = lone.transmits.pop().unwrap();
    let stream = lone.stream(Channel::Rpc, Role::Puller, id.0);
    // While it may be cancelled its stream is open.
    assert_eq!((sent.stream, sent.fin), (stream, false));
    assert_eq!(lone.resets, []);
    lone.to(Role::Puller, id.0, block_answer(id)).unwrap();
    assert_eq!(lone.resets, [(stream, ResetReason::Done)]);
    let mut lone = Lone::new(Peer::Old);
    let id = ask(&mut lone, block(1));
    lone.to(Role::Puller, id.0, block_answer(id)).unwrap();
    assert_eq!(lone.resets, []);
}

#[test]
fn answers_may_come_in_any_order() {
    for peer in [Peer::Quic, Peer::Rtc] {
        let mut lone = Lone::new(peer);
        let ids: Vec<RequestId> = (0..5).map(|number| ask(&mut lone, block(number))).collect();
        for id in ids.into_iter().rev() {
            lone.to(Role::Puller, id.0, block_answer(id)).unwrap();
            assert_eq!(lone.take_events(), [answered(id)]);
        }
    }
}

#[test]
fn what_the_peer_does_not_have_is_an_answer() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let id = ask(&mut lone, block(1));
        lone.to(Role::Puller, id.0, RpcMessage::Response { id: id.0, response: None }).unwrap();
        assert_eq!(lone.take_events(), [Event::Response { id, answer: Ok(Answer::Rpc(None)) }]);
    }
}

#[test]
fn the_old_node_is_told_no_address_that_it_cannot_read() {
    let id = things::peer(9);
    let host = "10.0.0.1".parse::<Host>().unwrap();
    let quic = Address::Quic { peer_id: id, host: host.clone(), port: 1 };
    let rtc = Address::WebRtc { peer_id: id, signaling: Signaling::Http { host, port: 2 } };
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, RpcMessage::Request { id: 0, request: RpcRequest::InitialPeers }).unwrap();
        let answer = RpcResponse::InitialPeers(vec![quic.clone(), rtc.clone()]);
        lone.session.respond(lone.now, IncomingId(0), Response::Rpc(Some(answer))).unwrap();
        lone.drain();
        let told = if peer == Peer::Old { vec![rtc.clone()] } else { vec![quic.clone(), rtc.clone()] };
        let response = Some(RpcResponse::InitialPeers(told));
        assert_eq!(lone.take_rpcs(), [RpcMessage::Response { id: 0, response }]);
    }
}

#[test]
fn so_many_requests_wait_and_no_more() {
    let mut lone = Lone::new(Peer::Old);
    for number in 0..17 {
        ask(&mut lone, block(number));
    }
    assert_eq!(lone.session.request(lone.now, block(17)), Err(RequestError::TooMany { limit: 16 }));
    let parts = Request::StagedLedgerParts(state_hash(1));
    assert_eq!(lone.session.request(lone.now, parts), Err(RequestError::TooMany { limit: 16 }));
}

#[test]
fn a_deadline_ends_a_request_and_not_the_connection() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let id = ask(&mut lone, block(1));
        assert_eq!(lone.timeout, Some((lone.now + 8 * SECOND, TimeoutReason::Request)));
        lone.pass(8 * SECOND);
        assert_eq!(lone.take_events(), [failed(id, RequestFailure::Timeout)]);
        let stream = lone.stream(Channel::Rpc, Role::Puller, id.0);
        let expected = if peer == Peer::Quic { vec![(stream, ResetReason::TimedOut)] } else { vec![] };
        assert_eq!(lone.resets, expected);
        // The answer comes all the same, once.
        lone.to(Role::Puller, id.0, block_answer(id)).unwrap();
        assert_eq!(lone.take_events(), []);
        assert!(lone.to(Role::Puller, id.0, block_answer(id)).is_err());
    }
}

#[test]
fn a_late_answer_of_the_old_node_frees_its_slot() {
    let mut lone = Lone::new(Peer::Old);
    let late = ask(&mut lone, block(1));
    lone.pass(5 * SECOND);
    let next = ask(&mut lone, block(2));
    lone.pass(4 * SECOND);
    assert_eq!(asked_ids(&mut lone), [late.0]);
    lone.to(Role::Puller, 0, block_answer(late)).unwrap();
    assert_eq!(asked_ids(&mut lone), [next.0]);
    lone.to(Role::Puller, 0, block_answer(next)).unwrap();
    assert_eq!(lone.take_events(), [failed(late, RequestFailure::Timeout), answered(next)]);
}

#[test]
fn an_answer_that_never_comes_holds_its_slot_for_a_bounded_time() {
    let mut lone = Lone::new(Peer::Old);
    let lost = ask(&mut lone, block(1));
    lone.pass(8 * SECOND);
    lone.pass(SLOT_HELD - SECOND);
    let next = ask(&mut lone, block(2));
    assert_eq!(asked_ids(&mut lone), [lost.0]);
    lone.pass(SECOND);
    assert_eq!(asked_ids(&mut lone), [next.0]);
    // It may still come.
    lone.to(Role::Puller, 0, block_answer(lost)).unwrap();
    lone.to(Role::Puller, 0, block_answer(next)).unwrap();
    assert_eq!(lone.take_events(), [failed(lost, RequestFailure::Timeout), answered(next)]);
}

#[test]
fn the_old_node_is_never_made_to_hold_a_sixth_request() {
    let mut lone = Lone::new(Peer::Old);
    for number in 0..8 {
        ask(&mut lone, block(number));
        lone.pass(8 * SECOND + SLOT_HELD);
    }
    assert_eq!(asked_ids(&mut lone).len(), REQUESTS_MAX);
    assert_eq!(lone.take_events().len(), 8);
}

#[test]
fn a_cancelled_request_tells_nothing_and_gives_its_place_away() {
    let mut lone = Lone::new(Peer::Quic);
    let ids: Vec<RequestId> = (0..7).map(|number| ask(&mut lone, block(number))).collect();
    assert!(lone.session.cancel(lone.now, ids[6]), "one that waits");
    assert!(lone.session.cancel(lone.now, ids[0]), "one in flight");
    lone.drain();
    assert_eq!(asked_ids(&mut lone), [0, 1, 2, 3, 4, 5]);
    assert_eq!(lone.resets, [(lone.stream(Channel::Rpc, Role::Puller, 0), ResetReason::Cancelled)]);
    assert!(!lone.session.cancel(lone.now, ids[0]));
    assert!(!lone.session.cancel(lone.now, ids[6]));
    // What was on its way is dropped, and so is the end of its stream.
    lone.to(Role::Puller, 0, block_answer(ids[0])).unwrap();
    lone.end(lone.stream(Channel::Rpc, Role::Puller, 0), StreamEnd::Finished).unwrap();
    assert_eq!(lone.take_events(), []);
}

#[test]
fn no_more_streams_are_opened_than_the_peer_bears() {
    let mut lone = Lone::new(Peer::Quic);
    for number in 0..12 {
        let id = ask(&mut lone, block(number));
        lone.session.cancel(lone.now, id);
        lone.drain();
    }
    assert_eq!(asked_ids(&mut lone).len(), 10);
    lone.pass(SLOT_HELD);
    ask(&mut lone, block(12));
    assert_eq!(asked_ids(&mut lone).len(), 1);
    // A reset of the peer's shows that ours has arrived.
    let mut lone = Lone::new(Peer::Quic);
    for number in 0..12 {
        let id = ask(&mut lone, block(number));
        lone.session.cancel(lone.now, id);
        lone.drain();
        lone.end(lone.stream(Channel::Rpc, Role::Puller, id.0), StreamEnd::Reset).unwrap();
    }
    assert_eq!(asked_ids(&mut lone).len(), 12);
}

#[test]
fn a_stream_that_ends_without_an_answer_fails_its_request() {
    for end in [StreamEnd::Finished, StreamEnd::Reset] {
        let mut lone = Lone::new(Peer::Quic);
        let id = ask(&mut lone, block(1));
        lone.end(lone.stream(Channel::Rpc, Role::Puller, id.0), end).unwrap();
        assert_eq!(lone.take_events(), [failed(id, RequestFailure::Dropped)]);
        // After an answer its end says nothing.
        let id = ask(&mut lone, block(1));
        lone.to(Role::Puller, id.0, block_answer(id)).unwrap();
        lone.end(lone.stream(Channel::Rpc, Role::Puller, id.0), end).unwrap();
        assert_eq!(lone.take_events(), [answered(id)]);
    }
}

#[test]
fn a_long_answer_that_has_begun_gets_its_time_and_no_more() {
    for peer in Peer::ALL {
        let mut config = config(peer);
        config.limits.block = 1024 * 1024;
        let mut lone = Lone::with(peer, config);
        let start = lone.now;
        let id = ask(&mut lone, block(1));
        let stream = lone.stream(Channel::Rpc, Role::Puller, id.0);
        lone.pass(7 * SECOND);
        // 1 MiB at 64 KiB/s, and 2 s.
        lone.session.handle_frame_head(lone.now, stream, 1024 * 1024).unwrap();
        lone.drain();
        assert_eq!(lone.timeout, Some((start + 25 * SECOND, TimeoutReason::Request)));
        lone.pass(10 * SECOND);
        // No head after it can prolong this again.
        lone.session.handle_frame_head(lone.now, stream, 1024 * 1024).unwrap();
        lone.drain();
        assert_eq!(lone.timeout, Some((start + 26 * SECOND, TimeoutReason::Request)));
    }
}

#[test]
fn a_request_is_answered_in_its_stream_and_id() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let request = RpcRequest::Block(state_hash(1));
        lone.to(Role::Server, 4, RpcMessage::Request { id: 77, request: request.clone() }).unwrap();
        let id = IncomingId(0);
        assert_eq!(lone.take_events(), [Event::Request { id, request: IncomingRequest::Rpc(request) }]);
        lone.transmits.clear();
        let body = RpcResponse::Block(Bytes::from_static(b"block"));
        lone.session.respond(lone.now, id, Response::Rpc(Some(body.clone()))).unwrap();
        lone.drain();
        let sent = lone.transmits.pop().unwrap();
        let stream = lone.stream(Channel::Rpc, Role::Server, 4);
        assert_eq!((sent.stream, sent.fin), (stream, peer == Peer::Quic));
        let expected = RpcMessage::Response { id: 77, response: Some(body) };
        assert_eq!(sent.frame, expected.encode());
        let again = lone.session.respond(lone.now, id, Response::Rpc(None));
        assert_eq!(again, Err(RespondError::Gone));
    }
}

#[test]
fn what_can_be_no_answer_leaves_the_request_waiting() {
    let mut lone = Lone::new(Peer::Quic);
    lone.to(Role::Server, 0, RpcMessage::Request { id: 0, request: RpcRequest::Block(state_hash(1)) }).unwrap();
    let id = IncomingId(0);
    let wrong = [
        Response::Rpc(Some(RpcResponse::Transaction(Bytes::new()))),
        Response::StagedLedgerParts(None),
        Response::Extension(Ok(Bytes::new())),
    ];
    for response in wrong {
        assert_eq!(lone.session.respond(lone.now, id, response), Err(RespondError::WrongKind));
    }
    let long = Response::Rpc(Some(RpcResponse::Block(vec![0; 4097].into())));
    assert_eq!(lone.session.respond(lone.now, id, long), Err(RespondError::TooLong { len: 4097, max: 4096 }));
    assert_eq!(lone.session.respond(lone.now, IncomingId(1), Response::Rpc(None)), Err(RespondError::Gone));
    lone.session.respond(lone.now, id, Response::Rpc(None)).unwrap();
}

#[test]
fn what_our_user_leaves_unanswered_is_answered_while_the_peer_still_waits() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, RpcMessage::Request { id: 3, request: RpcRequest::Block(state_hash(1)) }).unwrap();
        lone.take_events();
        lone.transmits.clear();
        assert_eq!(lone.timeout, Some((lone.now + 6 * SECOND, TimeoutReason::Unanswered)));
        lone.pass(6 * SECOND);
        assert_eq!(lone.take_rpcs(), [RpcMessage::Response { id: 3, response: None }]);
        let cancelled = Event::RequestCancelled { id: IncomingId(0), why: CancelReason::Unanswered };
        assert_eq!(lone.take_events(), [cancelled]);
        assert_eq!(lone.session.respond(lone.now, IncomingId(0), Response::Rpc(None)), Err(RespondError::Gone));
    }
}

#[test]
fn a_peer_cancels_by_a_reset() {
    let mut lone = Lone::new(Peer::Quic);
    for id in 0..6 {
        lone.to(Role::Server, id, RpcMessage::Request { id, request: RpcRequest::Block(state_hash(id)) }).unwrap();
        // The end of its own side says nothing.
        lone.end(lone.stream(Channel::Rpc, Role::Server, id), StreamEnd::Finished).unwrap();
    }
    assert_eq!(lone.take_events().len(), 5);
    lone.end(lone.stream(Channel::Rpc, Role::Server, 2), StreamEnd::Reset).unwrap();
    let request = IncomingRequest::Rpc(RpcRequest::Block(state_hash(5)));
    let expected = [
        Event::RequestCancelled { id: IncomingId(2), why: CancelReason::Peer },
        Event::Request { id: IncomingId(5), request },
    ];
    assert_eq!(lone.take_events(), expected);
    // One that was not taken up, and one that had not come.
    for id in 6..10 {
        lone.to(Role::Server, id, RpcMessage::Request { id, request: RpcRequest::Block(state_hash(id)) }).unwrap();
    }
    lone.end(lone.stream(Channel::Rpc, Role::Server, 6), StreamEnd::Reset).unwrap();
    let stream = lone.stream(Channel::Rpc, Role::Server, 11);
    lone.session.handle_stream_opened(lone.now, stream).unwrap();
    lone.end(stream, StreamEnd::Reset).unwrap();
    assert_eq!(lone.take_events(), []);
}

/// Asks for one thing after the other, each answered at once, and says how many were taken up without waiting.
fn taken_up_at_once(request: impl Fn(u64) -> RpcRequest, many: u64) -> usize {
    let mut lone = Lone::new(Peer::Old);
    let mut served = 0;
    for id in 0..many {
        lone.to(Role::Server, 0, RpcMessage::Request { id, request: request(id) }).unwrap();
        for event in lone.take_events() {
            let Event::Request { id, .. } = event else { panic!("{event:?}") };
            lone.session.respond(lone.now, id, Response::Rpc(None)).unwrap();
            served += 1;
        }
        lone.drain();
        if let Some((_, reason)) = lone.timeout {
            assert_eq!(reason, TimeoutReason::Rate);
            break;
        }
    }
    served
}

#[test]
fn a_burst_of_requests_is_taken_up_at_once_by_what_they_cost() {
    assert_eq!(taken_up_at_once(|id| RpcRequest::Block(state_hash(id)), 100), 40);
    assert_eq!(taken_up_at_once(|id| RpcRequest::Snark(job_id(id)), 1000), 400);
    assert_eq!(taken_up_at_once(|id| RpcRequest::StagedLedgerAux(state_hash(id)), 100), 4);
}

#[test]
fn requests_above_the_rate_wait_and_are_not_punished() {
    let mut lone = Lone::new(Peer::Quic);
    let start = lone.now;
    let mut served = 0;
    for id in 0..100 {
        lone.to(Role::Server, id, RpcMessage::Request { id, request: RpcRequest::Block(state_hash(id)) }).unwrap();
        while lone.events.is_empty() {
            let (at, reason) = lone.timeout.unwrap();
            assert_eq!(reason, TimeoutReason::Rate);
            lone.pass(at.saturating_since(lone.now));
        }
        for event in lone.take_events() {
            let Event::Request { id, .. } = event else { panic!("{event:?}") };
            lone.session.respond(lone.now, id, Response::Rpc(None)).unwrap();
            lone.drain();
            served += 1;
        }
    }
    assert_eq!(served, 100);
    // 40 at once, 60 at 20 a second.
    assert_eq!(lone.now.saturating_since(start), 3 * SECOND);
}

#[test]
fn a_call_by_name_goes_there_and_back() {
    for peer in [Peer::Quic, Peer::Rtc] {
        let mut lone = Lone::new(peer);
        let id = ask(&mut lone, call(b"query"));
        let sent = lone.take_sent(Channel::ExtensionRpc);
        let (name, body) = ("echo".parse().unwrap(), Bytes::from_static(b"query"));
        let expected = ExtensionMessage::Request { id: id.0, name, version: 1, max_answer: 100, body };
        assert_eq!(sent, [expected.encode().into_bytes()]);
        lone.to(Role::Puller, id.0, ExtensionMessage::Response { id: id.0, result: Ok(Bytes::from_static(b"yes")) })
            .unwrap();
        let answer = Ok(Answer::Extension(Ok(Bytes::from_static(b"yes"))));
        assert_eq!(lone.take_events(), [Event::Response { id, answer }]);

        // The asker's own limit, of 100 bytes, and deadline hold.
        let answer = |id: RequestId, len| ExtensionMessage::Response { id: id.0, result: Ok(vec![0; len].into()) };
        let id = ask(&mut lone, call(b"query"));
        lone.to(Role::Puller, id.0, answer(id, 100)).unwrap();
        let id = ask(&mut lone, call(b"query"));
        // Tag, id, outcome.
        let expected = Rule::FrameTooLong { len: 3 + 101, allowed: 3 + 100 };
        assert_eq!(lone.to(Role::Puller, id.0, answer(id, 101)), Err(expected));
        let mut lone = Lone::new(peer);
        let id = ask(&mut lone, call(b"query"));
        lone.pass(3 * SECOND);
        assert_eq!(lone.take_events(), [failed(id, RequestFailure::Timeout)]);
    }
}

#[test]
fn a_failure_of_the_longest_text_fits_the_smallest_limit() {
    let mut lone = Lone::new(Peer::Quic);
    let (name, body) = ("echo".to_owned(), Bytes::new());
    let id = ask(&mut lone, Request::Extension { name, version: 1, body, max_answer: 0, deadline: SECOND });
    let error = ExtensionError::Failed("x".repeat(256));
    lone.to(Role::Puller, id.0, ExtensionMessage::Response { id: id.0, result: Err(error.clone()) }).unwrap();
    assert_eq!(lone.take_events(), [Event::Response { id, answer: Ok(Answer::Extension(Err(error))) }]);
}

#[test]
fn calls_are_only_made_as_they_may_be() {
    let mut lone = Lone::new(Peer::Old);
    assert_eq!(lone.session.request(lone.now, call(b"")), Err(RequestError::NotSupported));
    let mut without = config(Peer::Quic);
    without.capabilities = Capabilities::POOLS_UNGATED;
    let mut lone = Lone::with(Peer::Quic, without);
    assert_eq!(lone.session.request(lone.now, call(b"")), Err(RequestError::NotSupported));
    let mut lone = Lone::new(Peer::Quic);
    let long = lone.session.request(lone.now, call(&[0; 513]));
    assert_eq!(long, Err(RequestError::BodyTooLong { len: 513, max: 512 }));
    let (name, body) = ("x".repeat(65), Bytes::new());
    let named = Request::Extension { name, version: 1, body, max_answer: 1, deadline: SECOND };
    assert!(matches!(lone.session.request(lone.now, named), Err(RequestError::InvalidName(_))));
}

#[test]
fn an_answer_is_no_longer_than_the_caller_accepts() {
    for peer in [Peer::Quic, Peer::Rtc] {
        let mut lone = Lone::new(peer);
        let (name, body) = ("echo".parse().unwrap(), Bytes::from_static(b"?"));
        lone.to(Role::Server, 0, ExtensionMessage::Request { id: 0, name, version: 1, max_answer: 9, body }).unwrap();
        let events = lone.take_events();
        let [Event::Request { id, .. }] = events[..] else { panic!("{events:?}") };
        let respond =
            |lone: &mut Lone, len| lone.session.respond(lone.now, id, Response::Extension(Ok(vec![0; len].into())));
        assert_eq!(respond(&mut lone, 10), Err(RespondError::TooLong { len: 10, max: 9 }));
        assert_eq!(respond(&mut lone, 9), Ok(()));
    }
}

#[test]
fn what_is_accepted_of_an_answer_is_never_above_our_limits() {
    // 2,048 bytes are allowed here: no more is asked for, and no more is sent to who would take it.
    let mut lone = Lone::new(Peer::Quic);
    let (name, body) = ("echo".to_owned(), Bytes::new());
    let id = ask(&mut lone, Request::Extension { name, version: 1, body, max_answer: u32::MAX, deadline: SECOND });
    let name: ExtensionName = "echo".parse().unwrap();
    let request = |id, max_answer| ExtensionMessage::Request {
        id,
        name: name.clone(),
        version: 1,
        max_answer,
        body: Bytes::new(),
    };
    assert_eq!(lone.take_sent(Channel::ExtensionRpc), [request(id.0, 2048).encode().into_bytes()]);
    lone.to(Role::Server, 0, request(0, u32::MAX)).unwrap();
    let respond = |lone: &mut Lone, len| {
        lone.session.respond(lone.now, IncomingId(0), Response::Extension(Ok(vec![0; len].into())))
    };
    assert_eq!(respond(&mut lone, 2049), Err(RespondError::TooLong { len: 2049, max: 2048 }));
    assert_eq!(respond(&mut lone, 2048), Ok(()));
}

#[test]
fn calls_that_are_not_served_are_answered_so() {
    for peer in [Peer::Quic, Peer::Rtc] {
        let mut lone = Lone::new(peer);
        let unknown = Err(ExtensionError::Unknown);
        let too_long = Err(ExtensionError::Failed("an argument of 65 bytes where 64 are taken".to_owned()));
        for (id, name, version, len, result) in
            [(0, "echo", 2, 0, unknown.clone()), (1, "ohce", 1, 0, unknown), (2, "echo", 1, 65, too_long)]
        {
            let request = ExtensionMessage::Request {
                id,
                name: name.parse().unwrap(),
                version,
                max_answer: 100,
                body: vec![0; len].into(),
            };
            lone.transmits.clear();
            lone.to(Role::Server, id, request).unwrap();
            let expected = ExtensionMessage::Response { id, result };
            assert_eq!(lone.take_sent(Channel::ExtensionRpc), [expected.encode().into_bytes()]);
        }
        assert_eq!(lone.take_events(), []);
        assert_eq!(lone.session.figures().requests_served, 0);
    }
}

#[test]
fn a_call_that_our_user_leaves_is_answered_busy() {
    let mut lone = Lone::new(Peer::Quic);
    let (name, body) = ("echo".parse().unwrap(), Bytes::from_static(b"?"));
    lone.to(Role::Server, 0, ExtensionMessage::Request { id: 0, name, version: 1, max_answer: 100, body }).unwrap();
    lone.take_events();
    lone.transmits.clear();
    lone.pass(EXTENSION_DEADLINE_MAX);
    let expected = ExtensionMessage::Response { id: 0, result: Err(ExtensionError::Busy) };
    assert_eq!(lone.take_sent(Channel::ExtensionRpc), [expected.encode().into_bytes()]);
}

#[test]
fn bodies_are_fetched_by_id() {
    let mut lone = Lone::new(Peer::Quic);
    let id = ask(&mut lone, Request::Rpc(RpcRequest::Transaction(transaction_hash(9))));
    let body = RpcResponse::Transaction(Bytes::from_static(b"tx"));
    lone.to(Role::Puller, id.0, RpcMessage::Response { id: id.0, response: Some(body.clone()) }).unwrap();
    assert_eq!(lone.take_events(), [Event::Response { id, answer: Ok(Answer::Rpc(Some(body))) }]);
}
