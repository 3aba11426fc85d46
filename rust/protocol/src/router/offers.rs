//! Who offered which item: whom to ask for its body.

use std::collections::{BTreeMap, VecDeque};

use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::{JobId, RpcRequest, StateHash, TransactionHash};

use crate::Request;

/// How many items' offers are remembered, as many as two full pool logs hold. At most about 128 + 4 x 32 + 100 bytes each:
/// 12 MiB. The oldest gives way.
pub const OFFERS_MAX: usize = 32_768;

/// How many peers are remembered for one item.
pub const OFFERS_PER_ITEM: usize = 4;

/// What can be asked of a peer by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKey {
    /// A block, by its state hash.
    Block(StateHash),
    /// A transaction.
    Transaction(TransactionHash),
    /// A completed work, by its job.
    Work(JobId),
    /// A commitment to a job. It is never asked for: its news is all of it.
    Commitment(JobId),
}

impl ItemKey {
    /// What a request asks for, if it is one of these.
    pub fn of(request: &Request) -> Option<ItemKey> {
        match request {
            Request::Rpc(RpcRequest::Block(hash)) => Some(ItemKey::Block(*hash)),
            Request::Rpc(RpcRequest::Transaction(hash)) => Some(ItemKey::Transaction(*hash)),
            Request::Rpc(RpcRequest::Snark(job)) => Some(ItemKey::Work(*job)),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Offers {
    by_item: BTreeMap<ItemKey, Offered>,
    // Oldest first. May still name items that were removed since; their number tells.
    order: VecDeque<(u64, ItemKey)>,
    next: u64,
}

#[derive(Debug)]
struct Offered {
    number: u64,
    peers: Vec<PeerId>,
}

impl Offers {
    pub(super) fn add(&mut self, peer: PeerId, item: ItemKey) -> bool {
        if let Some(offered) = self.by_item.get_mut(&item) {
            if offered.peers.len() < OFFERS_PER_ITEM && !offered.peers.contains(&peer) {
                offered.peers.push(peer);
            }
            return false;
        }
        while self.order.len() >= OFFERS_MAX {
            if let Some((number, oldest)) = self.order.pop_front()
                && self.by_item.get(&oldest).is_some_and(|offered| offered.number == number)
            {
                self.by_item.remove(&oldest);
            }
        }
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, item.clone()));
        self.by_item.insert(item, Offered { number, peers: vec![peer] });
        true
    }

    pub(super) fn peers(&self, item: &ItemKey) -> &[PeerId] {
        self.by_item.get(item).map_or(&[], |offered| offered.peers.as_slice())
    }

    pub(super) fn remove(&mut self, item: &ItemKey) -> Option<PeerId> {
        self.by_item.remove(item)?.peers.first().copied()
    }

    pub(super) fn forget_peer(&mut self, peer: PeerId) {
        self.by_item.retain(|_, offered| {
            offered.peers.retain(|other| *other != peer);
            !offered.peers.is_empty()
        });
    }
}
