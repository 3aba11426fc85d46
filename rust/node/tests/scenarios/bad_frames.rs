//! Raw peers that break the rules of streams, tips and pools.

use bytes::Bytes;
use mina_p2p::Channel;
use mina_p2p::message::{BestTipMessage, ExtensionMessage, PoolMessage, SnarkMessage, TransactionMessage};
use mina_p2p_wire::frame;

use crate::bad_scene::{breaks, is_borne};
use crate::common::{block, hash, transaction, work};
use crate::raw::{framed, read};

const TIPS: u8 = Channel::BestTip as u8;
const TRANSACTIONS: u8 = Channel::Transaction as u8;

fn tip(n: u8) -> Vec<u8> {
    framed(&BestTipMessage::BestTip(block(hash(n), n, 500)).encode())
}

fn permit(limit: u8) -> Vec<u8> {
    framed(&TransactionMessage::GetNext { limit }.encode())
}

fn promise(count: u8) -> Vec<u8> {
    framed(&TransactionMessage::WillSend { count }.encode())
}

fn item(n: u16) -> Vec<u8> {
    framed(&PoolMessage::Item(transaction(n, 0).0).encode())
}

/// The head of a frame that never comes.
fn head(len: u32) -> [u8; 4] {
    frame::head(len)
}

#[test]
fn an_unknown_channel() {
    breaks("unknown channel 99", async |raw, _| raw.open_and_keep(99, &[]).await);
}

#[test]
fn a_channel_of_signaling() {
    for channel in [Channel::SignalingDiscovery, Channel::SignalingExchange] {
        breaks("channel_not_supported", async |raw, _| raw.open_and_keep(channel.id(), &head(1)).await);
    }
}

#[test]
fn a_second_stream_for_a_channel() {
    breaks("second_stream", async |raw, _| {
        raw.open_and_keep(TRANSACTIONS, &permit(1)).await;
        raw.open_and_keep(TRANSACTIONS, &permit(1)).await;
    });
}

#[test]
fn a_tip_longer_than_any_block() {
    breaks("frame_too_long", async |raw, _| {
        let mut stream = raw.permitted(Channel::BestTip).await;
        stream.0.write_all(&head(33 << 20)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_long_frame_on_a_channel_of_small_ones() {
    breaks("frame_too_long", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        stream.0.write_all(&head(2 << 10)).await.unwrap();
        raw.keep(stream);
    });
    // Where only a permit may come, an item's length is too much.
    breaks("frame_too_long", async |raw, _| raw.open_and_keep(TRANSACTIONS, &head(12)).await);
    breaks("frame_too_long", async |raw, _| raw.open_and_keep(TIPS, &head(32 << 20)).await);
}

#[test]
fn an_empty_frame() {
    breaks("empty_frame", async |raw, _| raw.open_and_keep(TIPS, &head(0)).await);
    breaks("empty_frame", async |raw, _| {
        let mut stream = raw.permitted(Channel::Snark).await;
        stream.0.write_all(&head(0)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_tip_without_a_permit() {
    breaks("tip_without_permit", async |raw, _| {
        let mut stream = raw.permitted(Channel::BestTip).await;
        // The first is permitted; nobody takes it from the node, so there is no second permit.
        stream.0.write_all(&[tip(1), tip(2)].concat()).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_block_too_short_to_have_a_parent() {
    breaks("malformed", async |raw, _| {
        let mut stream = raw.permitted(Channel::BestTip).await;
        let short = BestTipMessage::BestTip(Bytes::from_static(&[1; 31])).encode();
        stream.0.write_all(&framed(&short)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn an_item_without_a_promise() {
    breaks("item_without_promise", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        stream.0.write_all(&item(1)).await.unwrap();
        raw.keep(stream);
    });
    breaks("item_without_promise", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        stream.0.write_all(&[promise(32), (0..33).flat_map(item).collect()].concat()).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_promise_above_the_permit() {
    breaks("promise_above_limit", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        stream.0.write_all(&promise(33)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_promise_of_nothing_and_a_promise_too_many() {
    breaks("promise_of_zero", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        stream.0.write_all(&promise(0)).await.unwrap();
        raw.keep(stream);
    });
    breaks("promise_repeated", async |raw, _| {
        let mut stream = raw.permitted(Channel::Snark).await;
        let promise = framed(&SnarkMessage::WillSend { count: 1 }.encode());
        stream.0.write_all(&[promise.clone(), promise].concat()).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn an_item_that_is_not_canonical() {
    breaks("non_canonical", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        // The last byte is the nonce, 1; it can be spelled in two bytes behind a tag as well.
        let mut body = PoolMessage::Item(transaction(1, 0).0).encode().into_bytes().to_vec();
        assert_eq!(body.pop(), Some(1));
        body.extend([0xfe, 1, 0]);
        let message = [&head(u32::try_from(body.len()).unwrap())[..], &body].concat();
        stream.0.write_all(&[promise(1), message].concat()).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_permit_while_one_is_out() {
    // The node has nothing to send: the first permit stays out.
    breaks("permit_repeated", async |raw, _| {
        raw.open_and_keep(TRANSACTIONS, &[permit(1), permit(1)].concat()).await;
    });
    let permit = framed(&BestTipMessage::GetNext.encode());
    breaks("permit_repeated", async |raw, _| raw.open_and_keep(TIPS, &[permit.clone(), permit].concat()).await);
}

#[test]
fn a_permit_for_nothing() {
    breaks("permit_of_zero", async |raw, _| raw.open_and_keep(TRANSACTIONS, &permit(0)).await);
}

#[test]
fn a_body_that_is_no_message() {
    let garbage = [&head(5)[..], &[0xff; 5]].concat();
    breaks("malformed", async |raw, _| raw.open_and_keep(TRANSACTIONS, &garbage).await);
}

#[test]
fn bytes_behind_a_message() {
    breaks("trailing_bytes", async |raw, _| raw.open_and_keep(TRANSACTIONS, &[0, 0, 0, 3, 0, 1, 0]).await);
}

#[test]
fn a_message_of_the_other_role() {
    breaks("wrong_role", async |raw, _| raw.open_and_keep(TRANSACTIONS, &promise(1)).await);
    breaks("wrong_role", async |raw, _| {
        let mut stream = raw.permitted(Channel::Transaction).await;
        stream.0.write_all(&permit(1)).await.unwrap();
        raw.keep(stream);
    });
}

#[test]
fn a_stream_reset_half_way_through_a_frame() {
    breaks("stream_ended", async |raw, _| {
        let (mut send, recv) = raw.permitted(Channel::BestTip).await;
        send.write_all(&[&head(1 << 20)[..], &[1; 10_000]].concat()).await.unwrap();
        send.reset(7u32.into()).unwrap();
        raw.keep((send, recv));
    });
}

#[test]
fn a_stream_finished_half_way_through_a_frame() {
    breaks("the stream ended after 10 of 20 bytes", async |raw, _| {
        let (mut send, recv) = raw.permitted(Channel::BestTip).await;
        send.write_all(&[&head(20)[..], &[1; 10]].concat()).await.unwrap();
        send.finish().unwrap();
        raw.keep((send, recv));
    });
}

#[test]
fn a_stream_that_must_last_is_finished() {
    breaks("stream_ended", async |raw, _| {
        let (mut send, recv) = raw.open(TRANSACTIONS, &permit(1)).await;
        send.finish().unwrap();
        raw.keep((send, recv));
    });
    breaks("stream_ended", async |raw, _| {
        let (mut send, recv) = raw.permitted(Channel::SnarkJobCommitment).await;
        send.finish().unwrap();
        raw.keep((send, recv));
    });
}

#[test]
fn a_stream_that_must_last_is_not_read_any_more() {
    // The answers to its own permits.
    breaks("stream_ended", async |raw, node| {
        let (send, mut recv) = raw.open(TRANSACTIONS, &permit(1)).await;
        recv.stop(7u32.into()).unwrap();
        // Once the node has answered this, it has heard of that.
        let (name, body) = ("mina-p2p/ping".parse().unwrap(), Bytes::new());
        let ping = ExtensionMessage::Request { id: 0, name, version: 1, max_answer: 0, body };
        let mut pinged = raw.open(Channel::ExtensionRpc.id(), &framed(&ping.encode())).await;
        read(&mut pinged.1).await;
        let (info, body) = transaction(1, 10);
        node.node.add_transaction(info, body).unwrap();
        raw.keep((send, recv));
        raw.keep(pinged);
    });
    // Our permits.
    breaks("stream_ended", async |raw, node| {
        let (mut send, mut recv) = raw.permitted(Channel::BestTip).await;
        recv.stop(7u32.into()).unwrap();
        send.write_all(&tip(1)).await.unwrap();
        node.tip();
        raw.keep((send, recv));
    });
}

#[test]
fn large_permits_are_borne() {
    is_borne(async |raw, node| {
        raw.open_and_keep(TRANSACTIONS, &permit(255)).await;
        // It is served as any other.
        let (info, body) = transaction(1, 10);
        let mut stream = raw.open(Channel::Snark.id(), &permit(1)).await;
        node.node.add_transaction(info, body).unwrap();
        let (info, body) = work(1, 10);
        node.node.add_work(info, body).unwrap();
        assert_eq!(read(&mut stream.1).await, SnarkMessage::WillSend { count: 1 }.encode().into_bytes());
        assert_eq!(read(&mut stream.1).await, PoolMessage::Item(info).encode().into_bytes());
        raw.keep(stream);
    });
}
