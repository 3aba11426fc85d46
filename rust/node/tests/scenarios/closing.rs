//! Starting, closing, and who may call what from where.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mina_p2p::message::{RpcRequest, RpcResponse, TransactionHash};
use mina_p2p::{CloseReason, CommandError, Event, Node, Request, Response, StartError};

use crate::common::{
    CHAIN, TestNode, WATCHDOG, block, commitment, connect, eventually, hash, loopback, pair, quic, round_trip, secret,
    transaction, work,
};

#[test]
pub(crate) fn a_closed_node_says_so_to_its_peers_and_its_caller() {
    let (mut a, mut b) = pair();
    a.node.set_best_tip(hash(1), block(hash(0), 1, 100)).unwrap();
    b.tip();
    let id = a.ask(b.id(), Request::Rpc(RpcRequest::BestTipWithProof));
    let (responder, _) = b.asked();
    a.node.close().unwrap();
    assert_eq!(b.disconnected_from(a.id()), CloseReason::Shutdown);
    // What happened before can still be polled.
    assert_eq!(a.response(id), Err(mina_p2p::RequestFailure::Disconnected));
    assert_eq!(a.disconnected_from(b.id()), CloseReason::Shutdown);
    assert_eq!(a.node.pending_events(), 0);

    let closed = CommandError::Closed;
    let (info, body) = transaction(1, 1);
    let (work_info, work_body) = work(1, 1);
    assert_eq!(a.node.close(), Err(closed.clone()));
    assert_eq!(a.node.set_best_tip(hash(2), block(hash(1), 1, 100)), Err(closed.clone()));
    assert_eq!(a.node.add_transaction(info, body), Err(closed.clone()));
    assert_eq!(a.node.add_work(work_info, work_body), Err(closed.clone()));
    assert_eq!(a.node.add_commitment(commitment(1)), Err(closed.clone()));
    assert_eq!(a.node.remove_transaction(&info.hash), Err(closed.clone()));
    assert_eq!(a.node.remove_work(&work_info.job_id), Err(closed.clone()));
    assert_eq!(a.node.remove_commitment(&work_info.job_id), Err(closed.clone()));
    assert_eq!(a.node.request(None, Request::Rpc(RpcRequest::InitialPeers)), Err(closed.clone()));
    assert_eq!(a.node.cancel_request(id), Err(closed.clone()));
    assert_eq!(a.node.respond(responder, Response::Rpc(None)), Err(closed.clone()));
    assert_eq!(a.node.dial(&b.address()), Err(closed.clone()));
    assert_eq!(a.node.disconnect(b.id()), Err(closed.clone()));
    assert_eq!(a.node.ban(b.id(), Duration::from_secs(1)), Err(closed.clone()));
    assert_eq!(a.node.unban(b.id()), Err(closed));
    assert!(a.node.peers().is_empty());
    assert!(a.node.poll(1).is_empty());
}

#[test]
pub(crate) fn one_of_many_closers_closes() {
    let (a, mut b) = pair();
    let closed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                if a.node.close().is_ok() {
                    closed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(closed.into_inner(), 1);
    assert_eq!(b.disconnected_from(a.id()), CloseReason::Shutdown);
}

#[test]
pub(crate) fn dropping_the_last_handle_closes() {
    let mut b = TestNode::start(2);
    let a = Node::builder(secret(1), CHAIN).listen(loopback()).start().unwrap();
    let clone = a.clone();
    a.dial(&b.address()).unwrap();
    b.connected_to(a.peer_id());
    let id = a.peer_id();
    drop(a);
    clone.set_best_tip(hash(1), block(hash(0), 1, 100)).unwrap();
    b.tip();
    drop(clone);
    assert_eq!(b.disconnected_from(id), CloseReason::Shutdown);
}

#[test]
pub(crate) fn a_node_that_dials_can_be_closed() {
    let silent = UdpSocket::bind(loopback()).unwrap();
    let node = TestNode::start(1);
    node.node.dial(&quic(secret(2).peer_id(), silent.local_addr().unwrap())).unwrap();
    node.node.close().unwrap();
}

#[test]
pub(crate) fn a_node_can_be_closed_in_the_middle_of_a_transfer() {
    let (a, mut b) = pair();
    a.ask(b.id(), Request::Rpc(RpcRequest::Block(hash(1))));
    let (responder, _) = b.asked();
    let long = block(hash(0), 1, (32 << 20) - 1);
    b.node.respond(responder, Response::Rpc(Some(RpcResponse::Block(long)))).unwrap();
    eventually("the answer's beginning", || a.node.frame_budget().large_reserved > 0);
    a.node.close().unwrap();
    assert_eq!(b.disconnected_from(a.id()), CloseReason::Shutdown);
    // The other node is as good as ever.
    let mut c = TestNode::start(3);
    connect(&mut c, &mut b);
    round_trip(&mut c, &mut b);
}

#[test]
pub(crate) fn each_event_goes_to_one_of_many_pollers() {
    const EVENTS: u16 = 200;
    let (a, b) = pair();
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while seen.lock().unwrap().len() < usize::from(EVENTS) {
                    for event in b.node.wait(3, Duration::from_millis(50)) {
                        match event {
                            Event::Transaction { info, .. } => seen.lock().unwrap().push(info.hash),
                            other => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
        for n in 0..EVENTS {
            let (info, body) = transaction(n, 10);
            a.node.add_transaction(info, body).unwrap();
        }
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), usize::from(EVENTS));
    let different: BTreeSet<TransactionHash> = seen.into_iter().collect();
    assert_eq!(different.len(), usize::from(EVENTS));
}

#[test]
pub(crate) fn the_user_is_woken_when_there_is_something_to_poll() {
    let (woken, wakes) = std::sync::mpsc::channel();
    let threads = Arc::new(AtomicUsize::new(0));
    let started = Arc::clone(&threads);
    let mut a = TestNode::start(1);
    let b = TestNode::with(2, |builder| {
        builder.wake(Arc::new(move || woken.send(()).unwrap())).on_thread_start(move || {
            started.fetch_add(1, Ordering::Relaxed);
        })
    });
    a.node.dial(&b.address()).unwrap();
    a.connected_to(b.id());
    wakes.recv_timeout(WATCHDOG).unwrap();
    assert!(matches!(b.node.poll(1)[..], [Event::PeerConnected { .. }]));
    a.node.set_best_tip(hash(1), block(hash(0), 1, 100)).unwrap();
    wakes.recv_timeout(WATCHDOG).unwrap();
    assert!(matches!(b.node.poll(1)[..], [Event::BestTip { .. }]));
    assert!(wakes.try_recv().is_err());
    assert!(threads.load(Ordering::Relaxed) > 0);
}

/// All that a user of tokio may do in a task of his own.
async fn in_a_task() {
    let mut b = TestNode::start(2);
    {
        let mut a = TestNode::start(1);
        connect(&mut a, &mut b);
        a.node.close().unwrap();
        b.disconnected_from(a.id());
    }
    // The last handle goes in a task too.
    let a = Node::builder(secret(1), CHAIN).initial_peer(b.address()).start().unwrap();
    b.connected_to(a.peer_id());
    let id = a.peer_id();
    drop(a);
    b.disconnected_from(id);
    // One that fails to start.
    let taken = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap();
    let _holder = UdpSocket::bind(taken).unwrap();
    let failed = Node::builder(secret(3), CHAIN).listen(taken).start();
    assert!(matches!(failed, Err(StartError::Listen(_))));
    let closed = b.node.clone();
    drop(b);
    drop(closed);
}

#[test]
pub(crate) fn nodes_live_in_a_user_s_own_runtime() {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        tokio::spawn(in_a_task()).await.unwrap();
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(in_a_task());
}

#[test]
pub(crate) fn an_address_in_use_is_an_error_value() {
    let node = TestNode::start(1);
    let failed = Node::builder(secret(2), CHAIN).listen(node.socket()).start();
    match failed {
        Err(StartError::Listen(error)) => assert!(error.to_string().contains(&node.socket().to_string())),
        other => panic!("{other:?}"),
    }
}
