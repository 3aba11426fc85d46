//! Several nodes whose users fetch every item that they are offered and put it into their own pools.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use mina_p2p::message::{
    JobId, RpcRequest, RpcResponse, SnarkInfo, SnarkJobCommitment, TransactionHash, TransactionInfo,
};
use mina_p2p::{Answer, CommandError, Event, Node, PeerId, Request, RequestError, RequestId};

use crate::common::{CHAIN, WATCHDOG, loopback, of_this_test, secret};

/// What a user fetches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Transaction(TransactionInfo),
    Work(SnarkInfo),
}

impl Wanted {
    fn request(self) -> Request {
        Request::Rpc(match self {
            Wanted::Transaction(info) => RpcRequest::Transaction(info.hash),
            Wanted::Work(info) => RpcRequest::Snark(info.job_id),
        })
    }
}

/// All that a user holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) transactions: BTreeMap<TransactionHash, (u64, Bytes)>,
    pub(crate) works: BTreeMap<[u8; 128], (u64, Bytes)>,
    pub(crate) commitments: BTreeMap<[u8; 128], u64>,
}

/// A node and its user.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) held: Held,
    pub(crate) connected: Vec<PeerId>,
    asked: BTreeMap<RequestId, Wanted>,
    /// Offers whose peer has enough requests waiting.
    later: VecDeque<(PeerId, Wanted)>,
}

impl Member {
    pub(crate) fn add_transaction(&mut self, info: TransactionInfo, body: Bytes) {
        self.held.transactions.insert(info.hash, (info.fee, body.clone()));
        self.node.add_transaction(info, body).unwrap();
    }

    pub(crate) fn add_work(&mut self, info: SnarkInfo, body: Bytes) {
        self.held.works.insert(info.job_id.0, (info.fee, body.clone()));
        self.node.add_work(info, body).unwrap();
    }

    pub(crate) fn add_commitment(&mut self, commitment: SnarkJobCommitment) {
        let JobId(job) = commitment.job_id;
        self.held.commitments.insert(job, commitment.fee);
        self.node.add_commitment(commitment).unwrap();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::PeerConnected { peer, .. } => self.connected.push(peer),
            Event::Transaction { peer, info } => self.offered(peer, Wanted::Transaction(info)),
            Event::Work { peer, info } => self.offered(peer, Wanted::Work(info)),
            Event::Commitment { commitment, .. } => self.add_commitment(commitment),
            Event::Response { request, answer, .. } => {
                let wanted = self.asked.remove(&request).expect("an answer to what was asked");
                match (wanted, answer.expect("an answer")) {
                    (Wanted::Transaction(info), Answer::Rpc(Some(RpcResponse::Transaction(body)))) => {
                        self.add_transaction(info, body);
                    }
                    (Wanted::Work(info), Answer::Rpc(Some(RpcResponse::Snark(body)))) => self.add_work(info, body),
                    (_, other) => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
        for (peer, wanted) in std::mem::take(&mut self.later) {
            self.fetch(peer, wanted);
        }
    }

    fn offered(&mut self, peer: PeerId, wanted: Wanted) {
        assert!(self.connected.contains(&peer), "its connection is told of first");
        self.later.push_back((peer, wanted));
    }

    fn fetch(&mut self, peer: PeerId, wanted: Wanted) {
        let held = match wanted {
            Wanted::Transaction(info) => self.held.transactions.contains_key(&info.hash),
            Wanted::Work(info) => self.held.works.contains_key(&info.job_id.0),
        };
        if held || self.asked.values().any(|asked| *asked == wanted) {
            return;
        }
        match self.node.request(Some(peer), wanted.request()) {
            Ok(request) => drop(self.asked.insert(request, wanted)),
            Err(CommandError::Request(RequestError::TooMany { .. })) => self.later.push_back((peer, wanted)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The nodes, driven by one thread.
pub(crate) struct Swarm {
    pub(crate) members: Vec<Member>,
    woken: mpsc::Receiver<usize>,
}

impl Swarm {
    /// So many nodes, connected along these edges.
    pub(crate) fn connected(count: u8, edges: &[(usize, usize)]) -> Swarm {
        let (wake, woken) = mpsc::channel();
        let members = (0..count).map(|n| {
            let wake = wake.clone();
            let wake = Arc::new(move || {
                // Nobody listens any more when the test is over.
                let _ = wake.send(usize::from(n));
            });
            let builder = of_this_test(Node::builder(secret(n + 1), CHAIN)).listen(loopback());
            let node = builder.wake(wake).start().unwrap();
            let (held, connected, asked, later) = Default::default();
            Member { node, held, connected, asked, later }
        });
        let mut swarm = Swarm { members: members.collect(), woken };
        for (from, to) in edges {
            let address = swarm.members[*to].node.listen_addresses()[0].clone();
            swarm.members[*from].node.dial(&address).unwrap();
        }
        swarm.drive(|members| members.iter().map(|member| member.connected.len()).sum::<usize>() == 2 * edges.len());
        swarm
    }

    /// Lets the users work until it is so.
    pub(crate) fn drive(&mut self, is_so: impl Fn(&[Member]) -> bool) {
        while !is_so(&self.members) {
            let n = self.woken.recv_timeout(WATCHDOG).expect("something to happen");
            let member = &mut self.members[n];
            // The next wake comes only after the queue was empty.
            while member.node.pending_events() > 0 {
                for event in member.node.poll(16) {
                    member.handle(event);
                }
            }
        }
    }

    /// Lets the users work until all of them hold the same as this.
    pub(crate) fn drive_until_all_hold(&mut self, held: &Held) {
        self.drive(|members| members.iter().all(|member| member.held == *held));
    }
}
