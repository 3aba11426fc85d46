//! Pool items: transactions (channel 4), completed works (5), commitments to SNARK jobs (6). One machine, three times.
//!
//! | half | state | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we pull | `Free` | we | `GetNext` of a limit | `Permitted` |
//! | | `Permitted` | the peer | `WillSend` of at least one and at most the limit | `Promised` |
//! | | `Promised` | the peer | so many items, at most 84, 171 or 180 bytes each | `Free` at the last |
//! | we serve | `Waiting` | the peer | `GetNext` of at least one | `Requested` |
//! | | `Requested` | we | `WillSend` and the items, once there are any | `Waiting` |
//!
//! The limit is 32 for transactions and works, 16 for commitments, less the items from this peer that our user has not
//! taken yet, less the bodies that this peer is asked for. So that permits are not spent on single items, one is given
//! only for half of that at least: whoever takes items slowly is sent full batches, seldom.
//!
//! What is served is the pool log from the peer's cursor on. To a peer that goes by tips (the existing node), nothing
//! is served unless its tip is ours or the child of ours. A peer of our own kind is not offered what it gave us in
//! this session. A permit may stay out, and a promise unkept, for ever: nothing waits for either.

use bytes::Bytes;
use mina_p2p_wire::message::{
    JobId, PoolItem, PoolMessage, SnarkInfo, SnarkJobCommitment, TransactionHash, TransactionInfo,
};
use mina_p2p_wire::{Channel, PeerId, Role, StreamId};

use crate::best_tip::PeerTip;
use crate::lane::{Allowed, CONTROL_LEN_MAX, Terms};
use crate::output::{Event, Outbox};
use crate::pool_log::PoolLog;
use crate::pools::Pools;
use crate::violation::Rule;

/// What a pool is of.
pub(crate) trait Pooled: PoolItem + Clone + PartialEq {
    type Key: Ord + Clone;
    const CHANNEL: Channel;

    fn log(pools: &Pools) -> &PoolLog<Self::Key, Self>;

    fn event(self) -> Event;
}

impl Pooled for TransactionInfo {
    type Key = TransactionHash;
    const CHANNEL: Channel = Channel::Transaction;

    fn log(pools: &Pools) -> &PoolLog<TransactionHash, TransactionInfo> {
        &pools.transactions
    }

    fn event(self) -> Event {
        Event::Transaction { info: self }
    }
}

impl Pooled for SnarkInfo {
    type Key = JobId;
    const CHANNEL: Channel = Channel::Snark;

    fn log(pools: &Pools) -> &PoolLog<JobId, SnarkInfo> {
        &pools.works
    }

    fn event(self) -> Event {
        Event::Work { info: self }
    }
}

impl Pooled for SnarkJobCommitment {
    type Key = JobId;
    const CHANNEL: Channel = Channel::SnarkJobCommitment;

    fn log(pools: &Pools) -> &PoolLog<JobId, SnarkJobCommitment> {
        &pools.commitments
    }

    fn event(self) -> Event {
        Event::Commitment { commitment: self }
    }
}

#[derive(Debug)]
enum Pull {
    Free,
    Permitted { limit: u8 },
    Promised { left: u8 },
}

#[derive(Debug)]
enum Serve {
    Waiting,
    Requested { limit: u8 },
}

/// Both halves of a pool's channel.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    terms: Terms,
    peer: PeerId,
    permit_max: u8,
    pull: Pull,
    unprocessed: usize,
    serve: Serve,
    cursor: u64,
    /// The log's next index when the session began.
    began: Option<u64>,
    item: std::marker::PhantomData<T>,
}

impl<T: Pooled> Pool<T> {
    pub(crate) fn new(terms: Terms, peer: PeerId, permit_max: u8) -> Pool<T> {
        Pool {
            terms,
            peer,
            permit_max,
            pull: Pull::Free,
            unprocessed: 0,
            serve: Serve::Waiting,
            cursor: 0,
            began: None,
            item: std::marker::PhantomData,
        }
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let pull = match self.pull {
            // An item where only a promise may come is small enough to be named.
            Pull::Permitted { .. } | Pull::Promised { .. } => Ok(PoolMessage::<T>::MAX_ITEM_MESSAGE_LEN as u32),
            Pull::Free => Err(Rule::ItemWithoutPromise),
        };
        let serve = match self.serve {
            Serve::Waiting => Ok(CONTROL_LEN_MAX),
            Serve::Requested { .. } => Err(Rule::PermitRepeated),
        };
        self.terms.allowed(stream, pull, serve)
    }

    pub(crate) fn handle(&mut self, stream: StreamId, body: Bytes, out: &mut Outbox) -> Result<(), Rule> {
        match self.terms.read(body, PoolMessage::<T>::decode)? {
            PoolMessage::GetNext { limit } => {
                self.terms.check_role(stream, Role::Server)?;
                if !matches!(self.serve, Serve::Waiting) {
                    return Err(Rule::PermitRepeated);
                }
                if limit == 0 {
                    return Err(Rule::PermitOfZero);
                }
                self.serve = Serve::Requested { limit };
            }
            PoolMessage::WillSend { count } => {
                self.terms.check_role(stream, Role::Puller)?;
                let limit = match self.pull {
                    Pull::Permitted { limit } => limit,
                    Pull::Promised { left } => return Err(Rule::PromiseRepeated { left }),
                    Pull::Free => return Err(Rule::PromiseWithoutPermit),
                };
                if count == 0 {
                    return Err(Rule::PromiseOfZero);
                }
                if count > limit {
                    return Err(Rule::PromiseAboveLimit { count, limit });
                }
                self.pull = Pull::Promised { left: count };
            }
            PoolMessage::Item(item) => {
                self.terms.check_role(stream, Role::Puller)?;
                let Pull::Promised { left } = self.pull else { return Err(Rule::ItemWithoutPromise) };
                self.pull = if left > 1 { Pull::Promised { left: left - 1 } } else { Pull::Free };
                self.unprocessed += 1;
                out.event(item.event());
            }
        }
        Ok(())
    }

    pub(crate) fn processed(&mut self) {
        self.unprocessed = self.unprocessed.saturating_sub(1);
    }

    /// Gives a permit if it is worth one. `fetching` is the number of bodies that this peer is asked for.
    pub(crate) fn permit(&mut self, fetching: usize, out: &mut Outbox) {
        let held = u8::try_from(self.unprocessed.saturating_add(fetching)).unwrap_or(u8::MAX);
        let limit = self.permit_max.saturating_sub(held);
        if matches!(self.pull, Pull::Free) && limit > 0 && limit >= self.permit_max / 2 {
            self.pull = Pull::Permitted { limit };
            let stream = self.terms.stream(T::CHANNEL, Role::Puller, 0);
            out.transmit(stream, PoolMessage::<T>::GetNext { limit }.encode(), false);
        }
    }

    pub(crate) fn serve(&mut self, pools: &Pools, peer_tip: Option<PeerTip>, out: &mut Outbox) {
        let log = T::log(pools);
        let began = *self.began.get_or_insert(log.next_index());
        let Serve::Requested { limit } = self.serve else { return };
        if self.cursor == log.next_index() || !self.is_open_to(pools, peer_tip) {
            return;
        }
        let mut items = Vec::new();
        let mut cursor = log.next_index();
        for (index, entry) in log.since(self.cursor) {
            if items.len() == usize::from(limit) {
                cursor = index;
                break;
            }
            // What came from the peer in this session, it has. Since an earlier one it may have lost it.
            let is_its = index >= began && entry.source == Some(self.peer);
            if !(is_its && self.terms.ours) {
                items.push(&entry.info);
            }
        }
        self.cursor = cursor;
        let Ok(count @ 1..) = u8::try_from(items.len()) else { return };
        self.serve = Serve::Waiting;
        let stream = self.terms.stream(T::CHANNEL, Role::Server, 0);
        out.transmit(stream, PoolMessage::<T>::WillSend { count }.encode(), false);
        for item in items {
            out.transmit(stream, PoolMessage::Item(item.clone()).encode(), false);
        }
    }

    fn is_open_to(&self, pools: &Pools, peer_tip: Option<PeerTip>) -> bool {
        if !self.terms.gated {
            return true;
        }
        pools.tip.as_ref().zip(peer_tip).is_some_and(|(tip, peer_tip)| peer_tip.is_near(tip))
    }

    /// The index below which the peer was offered everything.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// How many items may come.
    pub(crate) fn permitted(&self) -> u8 {
        match self.pull {
            Pull::Free => 0,
            Pull::Permitted { limit } => limit,
            Pull::Promised { left } => left,
        }
    }
}
