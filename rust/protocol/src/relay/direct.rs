//! Who may send headers and lists at once.

use std::collections::{BTreeSet, VecDeque};

use mina_p2p_wire::PeerId;

use crate::router::ConnectionId;

/// Of how many accepted blocks it is remembered who was first: at mainnet's rate the last hour.
const FIRSTS_MAX: usize = 16;

/// The peers with direct permits: those that were first with most of the last accepted blocks, one of them one that we
/// dialed, since an attacker chooses those that dial us. Where nobody was first yet, the longest connected, dialed ones first.
#[derive(Debug, Default)]
pub(super) struct Direct {
    firsts: VecDeque<PeerId>,
    chosen: BTreeSet<ConnectionId>,
}

impl Direct {
    pub(super) fn was_first(&mut self, peer: PeerId) {
        if self.firsts.len() >= FIRSTS_MAX {
            self.firsts.pop_front();
        }
        self.firsts.push_back(peer);
    }

    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.chosen.contains(&id)
    }

    /// Chooses among the connected peers (connection, peer, whether we dialed it); answers those for whom it changed.
    pub(super) fn choose(
        &mut self,
        max: usize,
        candidates: impl Iterator<Item = (ConnectionId, PeerId, bool)>,
    ) -> Vec<ConnectionId> {
        let times_first = |peer| self.firsts.iter().filter(|first| **first == peer).count();
        let mut ranked: Vec<_> =
            candidates.map(|(id, peer, dialed)| (usize::MAX - times_first(peer), !dialed, id)).collect();
        ranked.sort_unstable();
        let mut chosen: Vec<_> = ranked.iter().take(max).copied().collect();
        let dialed = |(_, not_dialed, _): &&(usize, bool, ConnectionId)| !*not_dialed;
        if !chosen.iter().any(|one| dialed(&one))
            && let Some(best_dialed) = ranked.iter().find(dialed)
            && let Some(last) = chosen.last_mut()
        {
            *last = *best_dialed;
        }
        let chosen = chosen.into_iter().map(|(_, _, id)| id).collect();
        let changed = self.chosen.symmetric_difference(&chosen).copied().collect();
        self.chosen = chosen;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn chosen(direct: &Direct) -> Vec<u64> {
        direct.chosen.iter().map(|id| id.0).collect()
    }

    #[test]
    fn those_first_lately_are_chosen_and_one_that_we_dialed() {
        let mut direct = Direct::default();
        let all = || (1..=6).map(|n| (ConnectionId(n), peer(n as u8), n >= 5));
        assert_eq!(direct.choose(3, all()).len(), 3);
        assert_eq!(chosen(&direct), [1, 5, 6], "dialed ones first, then the longest connected");
        for n in [2, 2, 3, 3, 4] {
            direct.was_first(peer(n));
        }
        assert_eq!(direct.choose(3, all()), [1, 2, 3, 6].map(ConnectionId));
        assert_eq!(chosen(&direct), [2, 3, 5]);
        for _ in 0..FIRSTS_MAX {
            direct.was_first(peer(6));
        }
        direct.choose(3, all());
        assert_eq!(chosen(&direct), [1, 5, 6], "what was long ago does not count");
        direct.choose(0, all());
        assert_eq!(chosen(&direct), [0; 0]);
    }
}
