//! Raw peers that break the rules of requests and answers.

use bytes::Bytes;
use mina_p2p::message::{
    ExtensionMessage, RpcMessage, RpcRequest, RpcResponse, StagedLedgerPart, StagedLedgerPartKind, StreamingRpcMessage,
    TransactionHash,
};
use mina_p2p::{Answer, Channel, Request, RequestFailure, RequestId, Response};
use mina_p2p_wire::frame;

use crate::bad_scene::{breaks, is_borne};
use crate::common::{TestNode, hash};
use crate::raw::{Raw, Stream, framed, read};

const RPC: u8 = Channel::Rpc as u8;

fn request(id: u64) -> Vec<u8> {
    let request = RpcRequest::Transaction(TransactionHash([9; 32]));
    framed(&RpcMessage::Request { id, request }.encode())
}

fn response(id: u64, response: Option<RpcResponse>) -> Vec<u8> {
    framed(&RpcMessage::Response { id, response }.encode())
}

fn transaction() -> Option<RpcResponse> {
    Some(RpcResponse::Transaction(Bytes::from_static(b"transaction")))
}

/// The node asks the raw peer for a transaction: the stream and the number that it came with.
async fn asked(raw: &mut Raw, node: &TestNode) -> (RequestId, Stream, u64) {
    let request = node.ask(raw.id, Request::Rpc(RpcRequest::Transaction(TransactionHash([1; 32]))));
    let (send, mut recv) = raw.accept(Channel::Rpc).await;
    match RpcMessage::decode(read(&mut recv).await).unwrap().value {
        RpcMessage::Request { id, .. } => (request, (send, recv), id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_that_nobody_asked_for() {
    breaks("wrong_role", async |raw, _| raw.open_and_keep(RPC, &response(7, None)).await);
    breaks("unknown_request", async |raw, node| {
        let (_, mut stream, id) = asked(raw, node).await;
        stream.0.write_all(&response(id + 1, None)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn an_answer_of_another_kind() {
    breaks("wrong_answer", async |raw, node| {
        let (_, mut stream, id) = asked(raw, node).await;
        let other = Some(RpcResponse::Block(Bytes::from_static(b"block")));
        stream.0.write_all(&response(id, other)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn an_answer_longer_than_what_was_asked_for_can_be() {
    breaks("frame_too_long", async |raw, node| {
        let (_, mut stream, _) = asked(raw, node).await;
        stream.0.write_all(&frame::head(1 << 20)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_second_request_on_a_stream() {
    breaks("second_request", async |raw, _| raw.open_and_keep(RPC, &[request(1), request(2)].concat()).await);
}

#[test]
fn two_requests_of_one_number() {
    breaks("request_repeated", async |raw, _| {
        raw.open_and_keep(RPC, &request(1)).await;
        raw.open_and_keep(RPC, &request(1)).await;
    });
}

#[test]
fn a_stream_without_its_request() {
    breaks("stream_ended", async |raw, _| {
        let (mut send, recv) = raw.open(RPC, &[]).await;
        send.finish().unwrap();
        raw.keep((send, recv));
    });
}

#[test]
fn a_sixth_request_waits_and_an_eleventh_is_too_many() {
    is_borne(async |raw, node| {
        for id in 0..10 {
            raw.open_and_keep(RPC, &request(id)).await;
        }
        let first: Vec<_> = (0..5).map(|_| node.asked().0).collect();
        assert_eq!(node.figures(raw.id).session.requests_served, 5);
        assert_eq!(node.node.pending_events(), 0);
        for responder in first {
            node.node.respond(responder, Response::Rpc(None)).unwrap();
        }
        for _ in 0..5 {
            node.asked();
        }
    });
    breaks("too_many_requests", async |raw, _| {
        for id in 0..11 {
            raw.open_and_keep(RPC, &request(id)).await;
        }
    });
}

#[test]
fn a_permit_for_a_part_that_was_not_waited_for() {
    let ask = framed(&StreamingRpcMessage::Request { id: 3, block: hash(1) }.encode());
    let next = framed(&StreamingRpcMessage::Next { id: 3 }.encode());
    let unknown = framed(&StreamingRpcMessage::Next { id: 4 }.encode());
    let channel = Channel::StreamingRpc.id();
    breaks("next_out_of_turn", async |raw, _| raw.open_and_keep(channel, &[ask.clone(), next].concat()).await);
    breaks("unknown_request", async |raw, _| raw.open_and_keep(channel, &[ask.clone(), unknown].concat()).await);
}

#[test]
fn a_part_out_of_order() {
    breaks("part_out_of_order", async |raw, node| {
        node.ask(raw.id, Request::StagedLedgerParts(hash(1)));
        let (mut send, mut recv) = raw.accept(Channel::StreamingRpc).await;
        let StreamingRpcMessage::Request { id, .. } = StreamingRpcMessage::decode(read(&mut recv).await).unwrap().value
        else {
            panic!("a request")
        };
        let part = StagedLedgerPart { kind: StagedLedgerPartKind::ScanStateTree, body: Bytes::from_static(b"tree") };
        send.write_all(&framed(&StreamingRpcMessage::Response { id, part: Some(part) }.encode())).await.unwrap();
        raw.keep((send, recv));
    });
}

#[test]
fn a_request_by_name_without_a_name() {
    let named = framed(
        &ExtensionMessage::Request { id: 1, name: "n".parse().unwrap(), version: 1, max_answer: 9, body: Bytes::new() }
            .encode(),
    );
    // Tag, id, the name's length, the name.
    let mut nameless = named;
    assert_eq!(nameless[4..8], [0, 1, 1, b'n']);
    nameless.remove(7);
    nameless[6] = 0;
    nameless[3] -= 1;
    breaks("malformed", async |raw, _| raw.open_and_keep(Channel::ExtensionRpc.id(), &nameless).await);
}

#[test]
fn a_request_dropped_by_its_peer_fails_alone() {
    is_borne(async |raw, node| {
        // At once; half-way through the answer; and by an end without one.
        for (bytes, reset) in [(0, true), (10, true), (0, false)] {
            let (request, (mut send, recv), id) = asked(raw, node).await;
            let whole = response(id, transaction());
            send.write_all(&whole[..bytes]).await.unwrap();
            match reset {
                true => send.reset(7u32.into()).unwrap(),
                false => send.finish().unwrap(),
            }
            assert_eq!(node.response(request), Err(RequestFailure::Dropped));
            raw.keep((send, recv));
        }
        let (request, (mut send, recv), id) = asked(raw, node).await;
        send.write_all(&response(id, transaction())).await.unwrap();
        assert_eq!(node.response(request), Ok(Answer::Rpc(transaction())));
        raw.keep((send, recv));
    });
}

#[test]
fn a_second_answer_is_one_too_many_or_never_read() {
    is_borne(async |raw, node| {
        let (request, mut stream, id) = asked(raw, node).await;
        // The node has what it wanted, and reads no more of this stream.
        stream.0.write_all(&response(id, None)).await.unwrap();
        assert_eq!(node.response(request), Ok(Answer::Rpc(None)));
        let _ = stream.0.write_all(&response(id, None)).await;
        raw.keep(stream);
    });
}
