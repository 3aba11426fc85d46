//! Shared streams whose peer does not read: nothing new is served, and what it asks waits, as far as it may.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{Event, IncomingId, IncomingRequest, Introduction, IntroductionOrder, Response, Rule, Session};
use mina_p2p_wire::message::{
    BestTipMessage, RpcMessage, RpcRequest, RpcResponse, SignalingDiscoveryMessage, SignalingExchangeMessage,
    StreamingRpcMessage, TransactionMessage,
};
use mina_p2p_wire::{Channel, Role};

use crate::lone::{Lone, Peer, introducing};
use crate::things::{key, parts, state_hash, tip, transaction, transaction_hash};

const SHARED: [Peer; 2] = [Peer::Rtc, Peer::Old];

fn set(lone: &mut Lone, channel: Channel, writable: bool) {
    Session::set_writable(&mut lone.session, lone.now, channel, writable);
    lone.drain();
}

fn block_request(id: u64) -> RpcMessage {
    RpcMessage::Request { id, request: RpcRequest::Block(state_hash(id)) }
}

fn requests(lone: &mut Lone) -> Vec<IncomingId> {
    let asked = |event| match event {
        Event::Request { id, request: IncomingRequest::Rpc(_) | IncomingRequest::StagedLedgerParts(_) } => Some(id),
        _ => None,
    };
    lone.take_events().into_iter().filter_map(asked).collect()
}

#[test]
fn a_tip_waits_and_the_newest_is_sent() {
    for peer in SHARED {
        let mut lone = Lone::new(peer);
        lone.take_sent(Channel::BestTip);
        lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
        set(&mut lone, Channel::BestTip, false);
        for number in 1..5 {
            lone.pools.tip = Some(tip(number, number, 100));
            lone.drain();
        }
        assert!(lone.take_sent(Channel::BestTip).is_empty());
        set(&mut lone, Channel::BestTip, true);
        let newest = BestTipMessage::BestTip(tip(4, 4, 100).block).encode().into_bytes();
        assert_eq!(lone.take_sent(Channel::BestTip), [newest]);
    }
}

#[test]
fn pool_items_wait_and_other_channels_do_not() {
    let mut lone = Lone::new(Peer::Rtc);
    lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 32 }).unwrap();
    lone.take_sent(Channel::Transaction);
    set(&mut lone, Channel::Transaction, false);
    for number in 0..3 {
        let (hash, info) = (transaction_hash(number), transaction(number));
        lone.pools.transactions.insert(hash, info, Bytes::new(), None);
    }
    lone.drain();
    assert!(lone.take_sent(Channel::Transaction).is_empty());
    lone.to(Role::Server, 0, block_request(0)).unwrap();
    assert_eq!(requests(&mut lone).len(), 1);
    set(&mut lone, Channel::Transaction, true);
    assert_eq!(lone.take_sent(Channel::Transaction).len(), 1 + 3);
}

#[test]
fn requests_wait_as_many_as_may_be_open_and_one_more_is_the_violation_that_it_is_anyway() {
    for peer in SHARED {
        let mut lone = Lone::new(peer);
        set(&mut lone, Channel::Rpc, false);
        for id in 0..5 {
            lone.to(Role::Server, 0, block_request(id)).unwrap();
        }
        assert_eq!(requests(&mut lone), []);
        set(&mut lone, Channel::Rpc, true);
        assert_eq!(requests(&mut lone).len(), 5);
        assert_eq!(lone.to(Role::Server, 0, block_request(5)), Err(Rule::TooManyRequests { limit: 5 }));
    }
}

#[test]
fn what_waited_for_too_long_is_refused_when_the_peer_reads_and_not_before() {
    for peer in SHARED {
        let mut lone = Lone::new(peer);
        set(&mut lone, Channel::Rpc, false);
        lone.to(Role::Server, 0, block_request(0)).unwrap();
        // However long it takes: refusals would pile up, too.
        lone.pass(Duration::from_secs(600));
        assert!(lone.take_rpcs().is_empty());
        set(&mut lone, Channel::Rpc, true);
        assert_eq!(requests(&mut lone), []);
        assert_eq!(lone.take_rpcs(), [RpcMessage::Response { id: 0, response: None }]);
        assert_eq!(lone.timeout, None);
    }
}

#[test]
fn what_was_asked_before_is_still_answered() {
    let mut lone = Lone::new(Peer::Rtc);
    lone.to(Role::Server, 0, block_request(0)).unwrap();
    let id = requests(&mut lone)[0];
    set(&mut lone, Channel::Rpc, false);
    let block = RpcResponse::Block(Bytes::from_static(&[0; 40]));
    lone.session.respond(lone.now, id, Response::Rpc(Some(block))).unwrap();
    lone.drain();
    assert_eq!(lone.take_rpcs().len(), 1);
}

#[test]
fn parts_of_a_staged_ledger_wait() {
    for peer in SHARED {
        let mut lone = Lone::new(peer);
        lone.to(Role::Server, 0, StreamingRpcMessage::Request { id: 0, block: state_hash(0) }).unwrap();
        let id = requests(&mut lone)[0];
        set(&mut lone, Channel::StreamingRpc, false);
        lone.session.respond(lone.now, id, Response::StagedLedgerParts(Some(parts(1, 100)))).unwrap();
        lone.drain();
        assert!(lone.take_sent(Channel::StreamingRpc).is_empty());
        set(&mut lone, Channel::StreamingRpc, true);
        assert_eq!(lone.take_sent(Channel::StreamingRpc).len(), 1);
        set(&mut lone, Channel::StreamingRpc, false);
        lone.to(Role::Server, 0, StreamingRpcMessage::Next { id: 0 }).unwrap();
        assert!(lone.take_sent(Channel::StreamingRpc).is_empty());
        // The existing node may ask ahead, for as many as there are.
        let mut asked = 1;
        let ahead = loop {
            match lone.to(Role::Server, 0, StreamingRpcMessage::Next { id: 0 }) {
                Ok(()) => asked += 1,
                Err(rule) => break rule,
            }
        };
        assert_eq!(ahead, Rule::NextOutOfTurn { id: 0 });
        assert_eq!(asked, if peer == Peer::Old { 3 } else { 1 });
    }
}

#[test]
fn a_staged_ledger_is_not_taken_up_meanwhile() {
    let mut lone = Lone::new(Peer::Rtc);
    set(&mut lone, Channel::StreamingRpc, false);
    lone.to(Role::Server, 0, StreamingRpcMessage::Request { id: 0, block: state_hash(0) }).unwrap();
    lone.pass(Duration::from_secs(600));
    assert_eq!((requests(&mut lone), lone.take_sent(Channel::StreamingRpc)), (vec![], vec![]));
    assert_eq!(lone.timeout, None);
    set(&mut lone, Channel::StreamingRpc, true);
    let none = StreamingRpcMessage::Response { id: 0, part: None };
    assert_eq!(
        (requests(&mut lone), lone.take_sent(Channel::StreamingRpc)),
        (vec![], vec![none.encode().into_bytes()])
    );
}

#[test]
fn introductions_wait() {
    for peer in SHARED {
        let mut lone = Lone::with(peer, introducing(peer));
        lone.to(Role::Server, 0, SignalingExchangeMessage::GetNext).unwrap();
        lone.to(Role::Server, 0, SignalingDiscoveryMessage::GetNext).unwrap();
        lone.transmits.clear();
        for channel in [Channel::SignalingDiscovery, Channel::SignalingExchange] {
            set(&mut lone, channel, false);
        }
        let hand_over = IntroductionOrder::HandOver { offerer: key(3), sealed: Bytes::from_static(b"offer") };
        for order in [IntroductionOrder::Discover, hand_over.clone()] {
            lone.session.introduction(lone.now, order).unwrap();
            lone.drain();
        }
        assert!(lone.transmits.is_empty());
        // The offer is given up, and was never sent: the target is as good as before.
        lone.take_events();
        lone.pass(Duration::from_secs(15));
        let told = [Introduction::TargetAnswer { sealed: None }, Introduction::Ready];
        assert_eq!(lone.take_events(), told.map(Event::Introduction));
        lone.session.introduction(lone.now, hand_over).unwrap();
        for channel in [Channel::SignalingDiscovery, Channel::SignalingExchange] {
            set(&mut lone, channel, true);
        }
        assert_eq!(lone.transmits.len(), 2);
    }
}

#[test]
fn streams_of_one_role_are_not_held_back() {
    let mut lone = Lone::new(Peer::Quic);
    set(&mut lone, Channel::Rpc, false);
    lone.to(Role::Server, 0, block_request(0)).unwrap();
    assert_eq!(requests(&mut lone).len(), 1);
}
