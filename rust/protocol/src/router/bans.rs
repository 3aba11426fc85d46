//! Bans with expiry.

use std::collections::BTreeMap;
use std::time::Duration;

use mina_p2p_wire::PeerId;

use crate::Time;

/// How many bans are kept: at about 64 bytes each under 1 MiB. When another comes, the one that would end first gives
/// way.
pub const BANS_MAX: usize = 8_192;

/// Who is banned, until when.
#[derive(Debug, Default)]
pub struct Bans {
    until: BTreeMap<PeerId, Time>,
}

impl Bans {
    /// Bans a peer from `now` for `duration`.
    pub fn ban(&mut self, now: Time, peer: PeerId, duration: Duration) {
        if self.until.len() >= BANS_MAX && !self.until.contains_key(&peer) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= BANS_MAX
                && let Some(first) = self.until.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer)
            {
                self.until.remove(&first);
            }
        }
        self.until.insert(peer, now + duration);
    }

    /// Lifts a ban. False if none was in force.
    pub fn unban(&mut self, now: Time, peer: PeerId) -> bool {
        self.until.remove(&peer).is_some_and(|until| until > now)
    }

    /// What remains of a ban.
    pub fn remaining(&self, now: Time, peer: PeerId) -> Option<Duration> {
        self.until.get(&peer).map(|until| until.saturating_since(now)).filter(|left| !left.is_zero())
    }

    /// All bans in force.
    pub fn list(&self, now: Time) -> Vec<(PeerId, Duration)> {
        self.until.keys().filter_map(|peer| Some((*peer, self.remaining(now, *peer)?))).collect()
    }
}
