//! Requests, answers, and requests that get none.

use bytes::Bytes;
use mina_p2p::message::{
    LedgerHash, LedgerQuery, RpcRequest, RpcResponse, StagedLedgerPart, StagedLedgerPartKind, StateHash,
    TransactionHash,
};
use mina_p2p::{
    Answer, Channel, CommandError, Event, IncomingRequest, Request, RequestError, RequestFailure, RequestId,
    RespondError, Response,
};

use crate::common::{TestNode, block, connect, eventually, hash, pair, round_trip, traffic, transaction, work};

/// What only the user can answer, with an answer.
fn of_the_user() -> Vec<(RpcRequest, RpcResponse)> {
    let bytes = |n: u8| Bytes::from(vec![n; 5_000]);
    vec![
        (RpcRequest::BestTipWithProof, RpcResponse::BestTipWithProof(bytes(1))),
        (RpcRequest::LedgerQuery(LedgerHash([2; 32]), LedgerQuery::NumAccounts), RpcResponse::LedgerAnswer(bytes(2))),
        (RpcRequest::StagedLedgerAux(hash(3)), RpcResponse::StagedLedgerAux(bytes(3))),
    ]
}

fn for_transaction(n: u8) -> Request {
    Request::Rpc(RpcRequest::Transaction(TransactionHash([n; 32])))
}

#[test]
pub(crate) fn the_library_answers_what_it_holds() {
    let (mut a, b) = pair();
    let tip = block(hash(0), 1, 10_000);
    b.node.set_best_tip(hash(1), tip.clone()).unwrap();
    let ((info, body), (work_info, work_body)) = (transaction(1, 300), work(1, 23_500));
    b.node.add_transaction(info, body.clone()).unwrap();
    b.node.add_work(work_info, work_body.clone()).unwrap();
    for (request, answer) in [
        (RpcRequest::Block(hash(1)), RpcResponse::Block(tip)),
        (RpcRequest::Transaction(info.hash), RpcResponse::Transaction(body)),
        (RpcRequest::Snark(work_info.job_id), RpcResponse::Snark(work_body)),
        // Of those that it dialed: none.
        (RpcRequest::InitialPeers, RpcResponse::InitialPeers(Vec::new())),
    ] {
        let id = a.ask(b.id(), Request::Rpc(request));
        assert_eq!(a.response(id), Ok(Answer::Rpc(Some(answer))));
    }
}

#[test]
pub(crate) fn peers_are_named_by_the_address_at_which_they_were_dialed() {
    let mut nodes: Vec<TestNode> = (1..=3).map(TestNode::start).collect();
    let [a, b, c] = &mut nodes[..] else { unreachable!() };
    connect(b, c);
    connect(a, b);
    let id = a.ask(b.id(), Request::Rpc(RpcRequest::InitialPeers));
    assert_eq!(a.response(id), Ok(Answer::Rpc(Some(RpcResponse::InitialPeers(vec![c.address()])))));
}

#[test]
pub(crate) fn the_user_answers_the_rest() {
    let (mut a, mut b) = pair();
    for (request, answer) in of_the_user() {
        for answer in [Some(answer), None] {
            let id = a.ask(b.id(), Request::Rpc(request.clone()));
            let (responder, asked) = b.asked();
            assert_eq!(asked, IncomingRequest::Rpc(request.clone()));
            b.node.respond(responder, Response::Rpc(answer.clone())).unwrap();
            assert_eq!(a.response(id), Ok(Answer::Rpc(answer)));
        }
    }
}

#[test]
pub(crate) fn what_the_library_does_not_hold_the_user_may() {
    let (mut a, mut b) = pair();
    let request = RpcRequest::Block(hash(9));
    let id = a.ask(b.id(), Request::Rpc(request.clone()));
    let (responder, asked) = b.asked();
    assert_eq!(asked, IncomingRequest::Rpc(request));
    let old = block(hash(8), 9, 1_000);
    b.node.respond(responder, Response::Rpc(Some(RpcResponse::Block(old.clone())))).unwrap();
    assert_eq!(a.response(id), Ok(Answer::Rpc(Some(RpcResponse::Block(old)))));
}

#[test]
pub(crate) fn an_answer_that_cannot_be_one_is_an_error_value() {
    let (mut a, mut b) = pair();
    let id = a.ask(b.id(), Request::Rpc(RpcRequest::BestTipWithProof));
    let (responder, _) = b.asked();
    let wrong = [
        Response::Rpc(Some(RpcResponse::Block(Bytes::from_static(b"other")))),
        Response::Extension(Ok(Bytes::new())),
        Response::StagedLedgerParts(None),
    ];
    for response in wrong {
        assert_eq!(b.node.respond(responder, response), Err(CommandError::Respond(RespondError::WrongKind)));
    }
    let too_long = Bytes::from(vec![0; (4 << 20) + 1]);
    assert!(matches!(
        b.node.respond(responder, Response::Rpc(Some(RpcResponse::BestTipWithProof(too_long)))),
        Err(CommandError::Respond(RespondError::TooLong { .. }))
    ));
    // It still waits.
    let answer = RpcResponse::BestTipWithProof(Bytes::from_static(b"right"));
    b.node.respond(responder, Response::Rpc(Some(answer.clone()))).unwrap();
    assert_eq!(b.node.respond(responder, Response::Rpc(None)), Err(CommandError::Respond(RespondError::Gone)));
    assert_eq!(a.response(id), Ok(Answer::Rpc(Some(answer))));
}

fn part(kind: StagedLedgerPartKind, body: impl Into<Vec<u8>>) -> StagedLedgerPart {
    StagedLedgerPart { kind, body: body.into().into() }
}

/// The parts of a staged ledger with three trees.
fn parts() -> Vec<StagedLedgerPart> {
    vec![
        part(StagedLedgerPartKind::Base, [1; 1_000]),
        part(StagedLedgerPartKind::ScanStateBase, [3, 2, 2]),
        part(StagedLedgerPartKind::PreviousIncompleteZkappUpdates, [3; 10]),
        part(StagedLedgerPartKind::ScanStateTree, vec![4; 2 << 20]),
        part(StagedLedgerPartKind::ScanStateTree, [5; 10]),
        part(StagedLedgerPartKind::ScanStateTree, [6; 10]),
    ]
}

fn next_part(node: &mut TestNode, id: RequestId) -> (u32, StagedLedgerPart) {
    node.until("part", |event| match event {
        Event::StagedLedgerPart { request, index, part, .. } if *request == id => Some((*index, part.clone())),
        _ => None,
    })
}

#[test]
pub(crate) fn a_staged_ledger_comes_in_parts_each_when_the_last_was_taken() {
    let (mut a, mut b) = pair();
    let id = a.ask(b.id(), Request::StagedLedgerParts(hash(1)));
    let (responder, asked) = b.asked();
    assert_eq!(asked, IncomingRequest::StagedLedgerParts(hash(1)));
    for incomplete in [vec![], parts()[..5].to_vec(), parts()[1..].to_vec()] {
        assert_eq!(
            b.node.respond(responder, Response::StagedLedgerParts(Some(incomplete))),
            Err(CommandError::Respond(RespondError::WrongParts))
        );
    }
    b.node.respond(responder, Response::StagedLedgerParts(Some(parts()))).unwrap();
    for (n, expected) in parts().into_iter().enumerate() {
        // The last has been taken; the next is here, and none after it.
        eventually("a part", || a.node.pending_events() == 1);
        let [_, (received, _)] = traffic(&a.figures(b.id()), Channel::StreamingRpc);
        assert_eq!(received, n as u64 + 1);
        let (index, part) = next_part(&mut a, id);
        assert_eq!(index as usize, n);
        assert!(part == expected);
    }
    assert_eq!(a.response(id), Ok(Answer::StagedLedgerParts(Some(6))));

    let id = a.ask(b.id(), Request::StagedLedgerParts(hash(2)));
    let (responder, _) = b.asked();
    b.node.respond(responder, Response::StagedLedgerParts(None)).unwrap();
    assert_eq!(a.response(id), Ok(Answer::StagedLedgerParts(None)));
}

#[test]
pub(crate) fn several_requests_are_answered_in_any_order() {
    let (mut a, mut b) = pair();
    let ids: Vec<RequestId> = (0..5).map(|n| a.ask(b.id(), for_transaction(n))).collect();
    let mut asked: Vec<_> = (0..5).map(|_| b.asked()).collect();
    asked.reverse();
    for (responder, request) in asked {
        let IncomingRequest::Rpc(RpcRequest::Transaction(TransactionHash(hash))) = request else { panic!() };
        let body = Bytes::from(vec![hash[0]; 100]);
        b.node.respond(responder, Response::Rpc(Some(RpcResponse::Transaction(body)))).unwrap();
    }
    for (n, id) in (0u8..).zip(ids) {
        let body = Bytes::from(vec![n; 100]);
        assert_eq!(a.response(id), Ok(Answer::Rpc(Some(RpcResponse::Transaction(body)))));
    }
}

#[test]
pub(crate) fn five_requests_are_served_at_once_64_wait_and_more_are_refused() {
    let (mut a, mut b) = pair();
    let ids: Vec<RequestId> = (0..69).map(|n| a.ask(b.id(), for_transaction(n))).collect();
    assert_eq!(
        a.node.request(Some(b.id()), for_transaction(69)),
        Err(CommandError::Request(RequestError::TooMany { limit: 64 }))
    );
    let figures = a.figures(b.id()).session;
    assert_eq!((figures.requests_in_flight, figures.requests_waiting), (5, 64));
    for _ in 0..69 {
        let (responder, _) = b.asked();
        assert!(b.figures(a.id()).session.requests_served <= 5);
        b.node.respond(responder, Response::Rpc(None)).unwrap();
    }
    for id in ids {
        assert_eq!(a.response(id), Ok(Answer::Rpc(None)));
    }
}

#[test]
pub(crate) fn a_cancelled_request_frees_the_slot_at_both_ends() {
    let (mut a, mut b) = pair();
    let ids: Vec<RequestId> = (0..7).map(|n| a.ask(b.id(), for_transaction(n))).collect();
    let asked_for = |n| IncomingRequest::Rpc(RpcRequest::Transaction(TransactionHash([n; 32])));
    // Each comes on a stream of its own, so in any order.
    let asked: Vec<_> = (0..5).map(|_| b.asked()).collect();
    let (cancelled, rest): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, request)| *request == asked_for(1));
    // One that waits still: nobody hears of it.
    a.node.cancel_request(ids[5]).unwrap();
    a.node.cancel_request(ids[1]).unwrap();
    a.node.cancel_request(ids[1]).unwrap();
    assert_eq!(b.cancelled(), cancelled[0].0);
    assert_eq!(b.node.respond(cancelled[0].0, Response::Rpc(None)), Err(CommandError::Respond(RespondError::Gone)));
    let (last, request) = b.asked();
    assert_eq!(request, asked_for(6));
    for responder in rest.into_iter().map(|(responder, _)| responder).chain([last]) {
        b.node.respond(responder, Response::Rpc(None)).unwrap();
    }
    for id in [ids[0], ids[2], ids[3], ids[4], ids[6]] {
        assert_eq!(a.response(id), Ok(Answer::Rpc(None)));
    }
    round_trip(&mut a, &mut b);
    assert_eq!((a.others().count(), b.others().count()), (0, 0));
}

#[test]
pub(crate) fn requests_can_be_cancelled_again_and_again() {
    let (mut a, mut b) = pair();
    // More than streams, slots and what waits together.
    for n in 0..100 {
        let id = a.ask(b.id(), for_transaction(n));
        let (responder, _) = b.asked();
        a.node.cancel_request(id).unwrap();
        assert_eq!(b.cancelled(), responder);
    }
    for n in 0..8 {
        let id = a.ask(b.id(), Request::StagedLedgerParts(hash(n)));
        let (responder, _) = b.asked();
        a.node.cancel_request(id).unwrap();
        assert_eq!(b.cancelled(), responder);
    }
    round_trip(&mut a, &mut b);
}

#[test]
pub(crate) fn a_cancelled_staged_ledger_ends_at_both_ends() {
    let (mut a, mut b) = pair();
    let id = a.ask(b.id(), Request::StagedLedgerParts(hash(1)));
    let (responder, _) = b.asked();
    a.node.cancel_request(id).unwrap();
    assert_eq!(b.cancelled(), responder);
    let id = a.ask(b.id(), Request::StagedLedgerParts(hash(2)));
    let (responder, _) = b.asked();
    b.node.respond(responder, Response::StagedLedgerParts(Some(parts()))).unwrap();
    assert_eq!(next_part(&mut a, id).0, 0);
    a.node.cancel_request(id).unwrap();
    let id = a.ask(b.id(), Request::StagedLedgerParts(hash(3)));
    let (responder, asked) = b.asked();
    assert_eq!(asked, IncomingRequest::StagedLedgerParts(hash(3)));
    b.node.respond(responder, Response::StagedLedgerParts(None)).unwrap();
    assert_eq!(a.response(id), Ok(Answer::StagedLedgerParts(None)));
}

#[test]
pub(crate) fn requests_that_wait_fail_before_their_peer_is_reported_gone() {
    let (mut a, mut b) = pair();
    let mut ids: Vec<RequestId> = (0..8).map(|n| a.ask(b.id(), for_transaction(n))).collect();
    ids.push(a.ask(b.id(), Request::StagedLedgerParts(hash(1))));
    let mut served: Vec<_> = (0..6).map(|_| b.asked().0).collect();
    b.node.disconnect(a.id()).unwrap();
    for _ in 0..9 {
        match a.next() {
            Event::Response { request, answer, .. } => {
                assert_eq!(answer, Err(RequestFailure::Disconnected));
                ids.retain(|id| *id != request);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(ids.is_empty());
    assert!(matches!(a.next(), Event::PeerDisconnected { .. }));
    // And nobody waits for the answers any more.
    for _ in 0..6 {
        match b.next() {
            Event::RequestCancelled { responder, .. } => served.retain(|other| *other != responder),
            other => panic!("{other:?}"),
        }
    }
    assert!(served.is_empty());
    assert!(matches!(b.next(), Event::PeerDisconnected { .. }));
    assert_eq!(a.node.request(Some(b.id()), for_transaction(1)), Err(CommandError::NotConnected(Some(b.id()))));
}

#[test]
pub(crate) fn an_answer_to_a_peer_that_has_gone_is_an_error_value() {
    let (mut a, mut b) = pair();
    a.ask(b.id(), for_transaction(1));
    let (responder, _) = b.asked();
    a.node.disconnect(b.id()).unwrap();
    a.disconnected_from(b.id());
    b.disconnected_from(a.id());
    assert_eq!(b.node.respond(responder, Response::Rpc(None)), Err(CommandError::NotConnected(None)));
    // Not even when the peer is there again.
    connect(&mut a, &mut b);
    assert_eq!(b.node.respond(responder, Response::Rpc(None)), Err(CommandError::NotConnected(None)));
}

#[test]
pub(crate) fn the_longest_block_is_an_answer() {
    let (mut a, mut b) = pair();
    let id = a.ask(b.id(), Request::Rpc(RpcRequest::Block(hash(1))));
    let (responder, _) = b.asked();
    let longest = block(hash(0), 1, (32 << 20) - 1);
    b.node.respond(responder, Response::Rpc(Some(RpcResponse::Block(longest.clone())))).unwrap();
    match a.response(id) {
        Ok(Answer::Rpc(Some(RpcResponse::Block(bytes)))) => assert!(bytes == longest),
        other => panic!("{other:?}"),
    }
}

#[test]
pub(crate) fn without_a_peer_named_the_one_that_offered_the_item_is_asked() {
    let mut a = TestNode::start(1);
    assert_eq!(a.node.request(None, for_transaction(1)), Err(CommandError::NotConnected(None)));
    let (mut oldest, mut offerer) = (TestNode::start(2), TestNode::start(3));
    connect(&mut a, &mut oldest);
    connect(&mut a, &mut offerer);
    let ((info, body), (work_info, work_body)) = (transaction(1, 100), work(1, 100));
    offerer.node.add_transaction(info, body.clone()).unwrap();
    offerer.node.add_work(work_info, work_body.clone()).unwrap();
    a.offered_transaction();
    a.until("work", |event| matches!(event, Event::Work { .. }).then_some(()));
    for (request, answer) in [
        (RpcRequest::Transaction(info.hash), RpcResponse::Transaction(body)),
        (RpcRequest::Snark(work_info.job_id), RpcResponse::Snark(work_body)),
    ] {
        let id = a.node.request(None, Request::Rpc(request)).unwrap();
        let (peer, answered) = a.until("response", |event| match event {
            Event::Response { request, peer, answer } if *request == id => Some((*peer, answer.clone())),
            _ => None,
        });
        assert_eq!((peer, answered), (offerer.id(), Ok(Answer::Rpc(Some(answer)))));
    }
    // Of what nobody offered: the one connected longest.
    a.node.request(None, Request::Rpc(RpcRequest::Block(StateHash([1; 32])))).unwrap();
    oldest.asked();
    // And when who offered it has gone.
    offerer.node.disconnect(a.id()).unwrap();
    a.disconnected_from(offerer.id());
    a.node.request(None, Request::Rpc(RpcRequest::Transaction(info.hash))).unwrap();
    assert_eq!(oldest.asked().1, IncomingRequest::Rpc(RpcRequest::Transaction(info.hash)));
}

#[test]
pub(crate) fn requests_above_the_rate_wait() {
    let (mut a, b) = pair();
    // Each costs 10 of 200 a second, and 400 may come at once.
    let ids: Vec<RequestId> = (0..60).map(|_| a.ask(b.id(), Request::Rpc(RpcRequest::InitialPeers))).collect();
    for id in ids {
        assert_eq!(a.response(id), Ok(Answer::Rpc(Some(RpcResponse::InitialPeers(Vec::new())))));
    }
}

#[test]
pub(crate) fn what_the_user_leaves_unanswered_is_answered_with_nothing() {
    let (mut a, mut b) = pair();
    let request = RpcRequest::LedgerQuery(LedgerHash([2; 32]), LedgerQuery::NumAccounts);
    let id = a.ask(b.id(), Request::Rpc(request));
    let (responder, _) = b.asked();
    assert_eq!(a.response(id), Ok(Answer::Rpc(None)));
    assert_eq!(b.cancelled(), responder);
    assert_eq!(b.node.respond(responder, Response::Rpc(None)), Err(CommandError::Respond(RespondError::Gone)));
}
