//! Dials that cross.

use std::sync::{Arc, Barrier};
use std::thread;

use mina_p2p::message::{RpcRequest, TransactionHash};
use mina_p2p::{Answer, CloseReason, Direction, Event, PeerId, Request};

use crate::common::{TestNode, over, transport_of_this_test};

const TRIES: u8 = 200;

/// Tries at once: most of a try's time goes into closing, which waits for the peers.
const AT_ONCE: u8 = 10;

/// Both dial at once; then each puts a request to the other. Answers who dialed the connection that there is.
fn cross(try_number: u8) -> PeerId {
    let mut nodes = [TestNode::start(2 * (try_number % 100) + 1), TestNode::start(2 * (try_number % 100) + 2)];
    let addresses = [nodes[1].address(), nodes[0].address()];
    let barrier = Arc::new(Barrier::new(2));
    let dials: Vec<_> = nodes
        .iter()
        .zip(addresses)
        .map(|(node, address)| {
            let (barrier, node) = (Arc::clone(&barrier), node.node.clone());
            thread::spawn(move || {
                barrier.wait();
                // The other's dial may have connected already.
                let _ = node.dial(&address);
            })
        })
        .collect();
    for dial in dials {
        dial.join().unwrap();
    }
    let ids = [nodes[0].id(), nodes[1].id()];
    for i in 0..2 {
        nodes[i].connected_to(ids[1 - i]);
    }
    for i in 0..2 {
        let request = nodes[i]
            .node
            .request(Some(ids[1 - i]), Request::Rpc(RpcRequest::Transaction(TransactionHash([9; 32]))))
            .unwrap();
        let (responder, peer) = nodes[1 - i].until("request", |event| match event {
            Event::Request { peer, responder, .. } => Some((*responder, *peer)),
            _ => None,
        });
        assert_eq!(peer, ids[i]);
        nodes[1 - i].node.respond(responder, mina_p2p::Response::Rpc(None)).unwrap();
        assert_eq!(nodes[i].response(request), Ok(Answer::Rpc(None)));
    }
    let directions = nodes.each_ref().map(|node| {
        let peers = node.node.peers();
        assert_eq!(peers.len(), 1, "try {try_number}");
        peers[0].direction
    });
    for node in &mut nodes {
        node.node.close().unwrap();
    }
    for i in 0..2 {
        assert_eq!(nodes[i].disconnected_from(ids[1 - i]), CloseReason::Shutdown, "try {try_number}");
        assert_eq!(
            nodes[i].others().collect::<Vec<_>>().len(),
            0,
            "try {try_number}: {:?}",
            nodes[i].others().collect::<Vec<_>>()
        );
    }
    match directions {
        [Direction::Dialed, Direction::Accepted] => ids[0],
        [Direction::Accepted, Direction::Dialed] => ids[1],
        same => panic!("the ends hold different connections in try {try_number}: {same:?}"),
    }
}

#[test]
pub(crate) fn crossed_dials_end_in_one_connection_in_200_of_200_tries() {
    let transport = transport_of_this_test();
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            scope.spawn(move || {
                over(transport, || {
                    for try_number in (first..TRIES).step_by(usize::from(AT_ONCE)) {
                        cross(try_number);
                    }
                });
            });
        }
    });
}
