//! Requests by name.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p::message::{Capabilities, ExtensionError};
use mina_p2p::{
    Answer, CommandError, ExtensionService, IncomingRequest, PeerId, Request, RequestError, RequestFailure, RequestId,
    RespondError, Response,
};

use crate::common::{TestNode, connect, round_trip, secret};
use crate::raw::{Raw, run};

const NAME: &str = "test/echo";
const MAX_QUERY: u32 = 1_000;

/// Two nodes; the second serves a method.
fn pair() -> (TestNode, TestNode) {
    let mut a = TestNode::start(1);
    let mut b = TestNode::with(2, |builder| {
        builder.extension_rpc(ExtensionService { name: NAME.to_owned(), version: 1, max_query: MAX_QUERY, cost: 1 })
    });
    connect(&mut a, &mut b);
    (a, b)
}

fn call(name: &str, version: u32, body: impl Into<Bytes>) -> Request {
    Request::Extension {
        name: name.to_owned(),
        version,
        body: body.into(),
        max_answer: 32 << 20,
        deadline: Duration::from_secs(60),
    }
}

fn outcome(node: &mut TestNode, id: RequestId) -> Result<Bytes, ExtensionError> {
    match node.response(id) {
        Ok(Answer::Extension(result)) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
pub(crate) fn a_method_is_served_by_the_user() {
    let (mut a, mut b) = pair();
    let argument = Bytes::from(vec![7; MAX_QUERY as usize]);
    let id = a.ask(b.id(), call(NAME, 1, argument.clone()));
    let (responder, asked) = b.asked();
    assert_eq!(
        asked,
        IncomingRequest::Extension { name: NAME.to_owned(), version: 1, body: argument, max_answer: 32 << 20 }
    );
    b.node.respond(responder, Response::Extension(Ok(Bytes::from_static(b"answer")))).unwrap();
    assert_eq!(outcome(&mut a, id), Ok(Bytes::from_static(b"answer")));

    for error in [ExtensionError::Busy, ExtensionError::Unknown, ExtensionError::Failed("no".to_owned())] {
        let id = a.ask(b.id(), call(NAME, 1, Bytes::new()));
        let (responder, _) = b.asked();
        b.node.respond(responder, Response::Extension(Err(error.clone()))).unwrap();
        assert_eq!(outcome(&mut a, id), Err(error));
    }
}

#[test]
pub(crate) fn an_answer_of_32_mib_comes_whole() {
    let (mut a, mut b) = pair();
    let id = a.ask(b.id(), call(NAME, 1, Bytes::new()));
    let (responder, _) = b.asked();
    let answer: Bytes = (0..32u32 << 20).map(|n| (n % 251) as u8).collect();
    b.node.respond(responder, Response::Extension(Ok(answer.clone()))).unwrap();
    assert!(outcome(&mut a, id).unwrap() == answer);
}

#[test]
pub(crate) fn an_answer_that_the_caller_does_not_accept_is_refused_to_its_giver_alone() {
    let (mut a, mut b) = pair();
    let Request::Extension { name, version, body, deadline, .. } = call(NAME, 1, Bytes::new()) else { unreachable!() };
    let id = a.ask(b.id(), Request::Extension { name, version, body, max_answer: 100, deadline });
    let (responder, _) = b.asked();
    let long = b.node.respond(responder, Response::Extension(Ok(vec![0; 101].into())));
    assert_eq!(long, Err(CommandError::Respond(RespondError::TooLong { len: 101, max: 100 })));
    let error = ExtensionError::Failed("too long".to_owned());
    b.node.respond(responder, Response::Extension(Err(error.clone()))).unwrap();
    assert_eq!(outcome(&mut a, id), Err(error));
    round_trip(&mut a, &mut b);
}

#[test]
pub(crate) fn what_is_not_served_is_answered_without_the_user() {
    let (mut a, mut b) = pair();
    for (name, version) in [("test/other", 1), (NAME, 2)] {
        let id = a.ask(b.id(), call(name, version, Bytes::new()));
        assert_eq!(outcome(&mut a, id), Err(ExtensionError::Unknown));
    }
    let id = a.ask(b.id(), call(NAME, 1, vec![0; MAX_QUERY as usize + 1]));
    assert!(matches!(outcome(&mut a, id), Err(ExtensionError::Failed(_))));
    round_trip(&mut a, &mut b);
    assert_eq!(b.others().count(), 0);
}

#[test]
pub(crate) fn what_no_peer_would_take_is_refused_here() {
    let (a, b) = pair();
    let refused = |peer: PeerId, request: Request| match a.node.request(Some(peer), request) {
        Err(CommandError::Request(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(b.id(), call(NAME, 1, vec![0; (1 << 20) + 1])), RequestError::BodyTooLong { .. }));
    assert!(matches!(refused(b.id(), call("", 1, Bytes::new())), RequestError::InvalidName(_)));
    assert!(matches!(refused(b.id(), call(&"n".repeat(65), 1, Bytes::new())), RequestError::InvalidName(_)));
}

#[test]
pub(crate) fn only_peers_that_announce_it_are_asked_by_name() {
    run(async {
        let mut node = TestNode::start(1);
        let raw = Raw::with(&secret(100), node.socket(), Capabilities::POOLS_UNGATED).await;
        node.connected_to(raw.id);
        assert_eq!(
            node.node.request(Some(raw.id), call(NAME, 1, Bytes::new())),
            Err(CommandError::Request(RequestError::NotSupported))
        );
    });
}

#[test]
pub(crate) fn a_request_that_is_not_answered_in_time_fails_and_the_connection_lives() {
    let (mut a, mut b) = pair();
    let request = Request::Extension {
        name: NAME.to_owned(),
        version: 1,
        body: Bytes::new(),
        max_answer: 1_000,
        deadline: Duration::from_millis(100),
    };
    let id = a.ask(b.id(), request);
    let (responder, _) = b.asked();
    assert_eq!(a.response(id), Err(RequestFailure::Timeout));
    assert_eq!(b.cancelled(), responder);
    round_trip(&mut a, &mut b);
}
