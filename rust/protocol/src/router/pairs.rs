//! Pairs of peers that were introduced lately.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use mina_p2p_wire::PeerId;

use crate::Time;

/// How long two peers that were introduced to each other are not introduced again, whatever came of it: they are connected, or one
/// of them did not want to. The relay cannot tell which.
pub const PAIR_MEMORY: Duration = Duration::from_secs(600);

/// How many pairs are remembered: the 4,950 of 100 peers, and room for those that come and go. At 64 bytes in each of two
/// places about 1 MB. When another comes, the oldest gives way.
pub const PAIRS_MAX: usize = 8_192;

/// The lesser id first: who dialed whom does not matter.
type Pair = (PeerId, PeerId);

#[derive(Debug, Default)]
pub(super) struct Pairs {
    known: BTreeSet<Pair>,
    /// In the order in which they end.
    until: VecDeque<(Time, Pair)>,
}

fn pair(one: PeerId, other: PeerId) -> Pair {
    (one.min(other), one.max(other))
}

impl Pairs {
    pub(super) fn add(&mut self, now: Time, one: PeerId, other: PeerId) {
        let pair = pair(one, other);
        if !self.known.insert(pair) {
            return;
        }
        self.until.push_back((now + PAIR_MEMORY, pair));
        if self.until.len() > PAIRS_MAX {
            self.drop_first();
        }
    }

    pub(super) fn know(&self, one: PeerId, other: PeerId) -> bool {
        self.known.contains(&pair(one, other))
    }

    pub(super) fn expire(&mut self, now: Time) {
        while self.next_at().is_some_and(|until| until <= now) {
            self.drop_first();
        }
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.until.front().map(|(until, _)| *until)
    }

    fn drop_first(&mut self) {
        if let Some((_, pair)) = self.until.pop_front() {
            self.known.remove(&pair);
        }
    }
}
