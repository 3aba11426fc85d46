//! The pools' index logic and the state machines of the channels that carry them.

use std::collections::BTreeMap;

use mina_p2p_wire::message::{PoolItem, PoolMessage};

/// Items by a counter that only grows.
#[derive(Debug)]
pub(super) struct Pool<Item> {
    items: BTreeMap<u64, Item>,
    next: u64,
}

impl<Item> Default for Pool<Item> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), next: 0 }
    }
}

impl<Item: Copy + PartialEq> Pool<Item> {
    pub(super) fn add(&mut self, item: Item) {
        if !self.items.values().any(|known| *known == item) {
            self.items.insert(self.next, item);
            self.next += 1;
        }
    }

    /// The items from an index on, and the index to go on from.
    fn from(&self, index: u64, limit: u8) -> (Vec<Item>, u64) {
        let items: Vec<_> = self.items.range(index..).take(limit.into()).collect();
        let next = match items.last() {
            Some((last, _)) => **last + 1,
            None => index,
        };
        (items.into_iter().map(|(_, item)| *item).collect(), next)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pull {
    Free,
    Requested(u8),
    Responding(u8),
}

/// One peer's channel 4, 5 or 6.
#[derive(Debug)]
pub(super) struct PoolChannel {
    pull: Pull,
    /// What the peer has permitted us.
    permitted: Option<u8>,
    next: u64,
    /// Where a pull is never sent but always allowed for so many: the bug of channel 6.
    silent: Option<u8>,
}

/// What a message brought.
#[derive(Debug)]
pub(super) enum Taken<Item> {
    Nothing,
    Item(Item),
}

impl PoolChannel {
    pub(super) fn new() -> Self {
        Self { pull: Pull::Free, permitted: None, next: 0, silent: None }
    }

    /// Channel 6: never asks, and takes as if it had.
    pub(super) fn silent(limit: u8) -> Self {
        Self { pull: Pull::Requested(limit), silent: Some(limit), ..Self::new() }
    }

    /// The next request, if there is none.
    pub(super) fn request<Item>(&mut self, limit: u8) -> Option<PoolMessage<Item>> {
        (self.pull == Pull::Free && limit > 0).then(|| {
            self.pull = Pull::Requested(limit);
            PoolMessage::GetNext { limit }
        })
    }

    /// What we have to send now.
    pub(super) fn respond<Item: Copy + PartialEq>(&mut self, pool: &Pool<Item>) -> Vec<PoolMessage<Item>> {
        let Some(limit) = self.permitted else { return Vec::new() };
        let (items, next) = pool.from(self.next, limit);
        let Ok(count @ 1..) = u8::try_from(items.len()) else { return Vec::new() };
        self.next = next;
        self.permitted = None;
        std::iter::once(PoolMessage::WillSend { count }).chain(items.into_iter().map(PoolMessage::Item)).collect()
    }

    pub(super) fn take<Item: PoolItem>(&mut self, message: PoolMessage<Item>) -> Result<Taken<Item>, String> {
        match (message, self.pull) {
            (PoolMessage::GetNext { limit: 1.. }, _) if self.permitted.is_some() => {
                Err("a request while another is unanswered".into())
            }
            (PoolMessage::GetNext { limit: limit @ 1.. }, _) => {
                self.permitted = Some(limit);
                Ok(Taken::Nothing)
            }
            (PoolMessage::WillSend { count }, Pull::Requested(limit)) if (1..=limit).contains(&count) => {
                self.pull = Pull::Responding(count);
                Ok(Taken::Nothing)
            }
            (PoolMessage::Item(item), Pull::Responding(left)) => {
                self.pull = match (left, self.silent) {
                    (2.., _) => Pull::Responding(left - 1),
                    (_, Some(limit)) => Pull::Requested(limit),
                    (_, None) => Pull::Free,
                };
                Ok(Taken::Item(item))
            }
            (PoolMessage::GetNext { .. }, pull) => Err(format!("a request for nothing in {pull:?}")),
            (PoolMessage::WillSend { count }, pull) => Err(format!("a promise of {count} in {pull:?}")),
            (PoolMessage::Item(_), pull) => Err(format!("an item in {pull:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use mina_p2p_wire::message::{SnarkInfo, SnarkJobCommitment};
    use mina_p2p_wire::{CompressedPublicKey, JobId};

    use super::*;

    fn work(id: u8) -> SnarkInfo {
        SnarkInfo { job_id: JobId([id; 128]), fee: 1, prover: CompressedPublicKey { x: [id; 32], is_odd: false } }
    }

    #[test]
    fn each_item_is_promised_once_and_sent_within_the_permit() {
        let mut pool = Pool::default();
        (1..=3).for_each(|id| pool.add(work(id)));
        pool.add(work(1));
        let mut channel = PoolChannel::new();
        assert!(channel.respond(&pool).is_empty());
        let ask = |channel: &mut PoolChannel| channel.take(PoolMessage::<SnarkInfo>::GetNext { limit: 2 });
        ask(&mut channel).unwrap();
        let item = PoolMessage::Item;
        let two = [PoolMessage::WillSend { count: 2 }, item(work(1)), item(work(2))];
        assert_eq!(channel.respond(&pool), two);
        ask(&mut channel).unwrap();
        assert_eq!(channel.respond(&pool), [PoolMessage::WillSend { count: 1 }, item(work(3))]);
        ask(&mut channel).unwrap();
        assert!(channel.respond(&pool).is_empty());
        assert!(ask(&mut channel).is_err());
    }

    #[test]
    fn only_what_was_asked_for_and_promised_is_taken() {
        let mut channel = PoolChannel::new();
        let promise = |count| PoolMessage::<SnarkInfo>::WillSend { count };
        assert!(channel.take(promise(1)).is_err());
        assert_eq!(channel.request::<SnarkInfo>(2), Some(PoolMessage::GetNext { limit: 2 }));
        assert_eq!(channel.request::<SnarkInfo>(2), None);
        assert!(channel.take(PoolMessage::Item(work(1))).is_err());
        assert!(channel.take(promise(0)).is_err());
        assert!(channel.take(promise(3)).is_err());
        channel.take(promise(1)).unwrap();
        assert!(matches!(channel.take(PoolMessage::Item(work(1))), Ok(Taken::Item(_))));
        assert!(channel.take(PoolMessage::Item(work(1))).is_err());
        assert!(channel.take(PoolMessage::<SnarkInfo>::GetNext { limit: 0 }).is_err());
    }

    #[test]
    fn commitments_are_taken_without_having_been_asked_for() {
        let mut channel = PoolChannel::silent(16);
        assert_eq!(channel.request::<SnarkJobCommitment>(16), None);
        for _ in 0..2 {
            channel.take(PoolMessage::<SnarkInfo>::WillSend { count: 1 }).unwrap();
            channel.take(PoolMessage::Item(work(1))).unwrap();
        }
    }
}
