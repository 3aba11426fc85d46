//! Our own dials: those under way, and when the configured peers are dialed again.

use std::collections::BTreeMap;
use std::time::Duration;

use mina_p2p_wire::{Address, PeerId};

use crate::Time;

/// The first redial of a configured peer comes about this long after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Each failure doubles the wait up to this. Jitter takes off up to half of it.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A connection that lived this long was a good one: the back-off starts anew after it.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Names one dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(u64);

/// A configured peer that is to be dialed: by any of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// The peer.
    pub peer: PeerId,
    /// Where it may be: as configured, then as it announced itself when it was last connected. At least one.
    pub addresses: Vec<Address>,
}

/// How many addresses of a configured peer are remembered beside those that are configured.
pub const LEARNED_MAX: usize = 4;

#[derive(Debug)]
struct Configured {
    addresses: Vec<Address>,
    /// What the peer itself announced.
    learned: Vec<Address>,
    failures: u32,
    // `None` while the peer is connected or being dialed.
    next_at: Option<Time>,
    connected_at: Option<Time>,
}

#[derive(Debug)]
struct Active {
    id: DialId,
    superseded: bool,
    /// A relay has introduced us.
    introduced: bool,
}

/// A dial that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) peer: PeerId,
    /// The peer's own dial was accepted meanwhile.
    pub(super) superseded: bool,
    introduced: bool,
}

#[derive(Debug)]
pub(super) struct Dials {
    active: BTreeMap<PeerId, Active>,
    configured: BTreeMap<PeerId, Configured>,
    next_id: u64,
    random: SplitMix64,
}

impl Dials {
    pub(super) fn new(own: PeerId, initial_peers: Vec<Address>, seed: u64, now: Time) -> Dials {
        let mut configured = BTreeMap::<PeerId, Configured>::new();
        // Operators give one list of peers to all their nodes: our own entry in it is not a mistake.
        for address in initial_peers.into_iter().filter(|address| address.peer_id() != own) {
            let peer = configured.entry(address.peer_id()).or_insert_with(|| Configured {
                addresses: Vec::new(),
                learned: Vec::new(),
                failures: 0,
                next_at: Some(now),
                connected_at: None,
            });
            if !peer.addresses.contains(&address) {
                peer.addresses.push(address);
            }
        }
        Dials { active: BTreeMap::new(), configured, next_id: 0, random: SplitMix64(seed) }
    }

    /// `introduced`: by a relay. A configured peer is then due as before, and is not further away when the dial fails: what a relay
    /// says or does not say is not to keep us from it.
    pub(super) fn start(&mut self, peer: PeerId, introduced: bool) -> Option<DialId> {
        if self.active.contains_key(&peer) {
            return None;
        }
        let id = DialId(self.next_id);
        self.next_id += 1;
        self.active.insert(peer, Active { id, superseded: false, introduced });
        if let Some(configured) = self.configured.get_mut(&peer)
            && !introduced
        {
            configured.next_at = None;
        }
        Some(id)
    }

    /// The dial to a peer that is under way, if a relay has introduced us.
    pub(super) fn introduced(&self, peer: PeerId) -> Option<DialId> {
        self.active.get(&peer).filter(|active| active.introduced).map(|active| active.id)
    }

    pub(super) fn end(&mut self, id: DialId) -> Option<Ended> {
        let peer = *self.active.iter().find(|(_, active)| active.id == id)?.0;
        let Active { superseded, introduced, .. } = self.active.remove(&peer)?;
        Some(Ended { peer, superseded, introduced })
    }

    pub(super) fn active(&self, peer: PeerId) -> Option<DialId> {
        self.active.get(&peer).map(|active| active.id)
    }

    /// An authenticated peer has announced where it listens.
    pub(super) fn learned(&mut self, peer: PeerId, addresses: Vec<Address>) {
        if let Some(configured) = self.configured.get_mut(&peer) {
            configured.learned.clear();
            for address in addresses {
                let is_known = configured.addresses.contains(&address) || configured.learned.contains(&address);
                if address.peer_id() == peer && !is_known && configured.learned.len() < LEARNED_MAX {
                    configured.learned.push(address);
                }
            }
        }
    }

    pub(super) fn active_len(&self) -> usize {
        self.active.len()
    }

    /// There is a connection to the peer now: of a dial of ours that ended, or else of the peer's.
    pub(super) fn connected(&mut self, now: Time, peer: PeerId) {
        if let Some(active) = self.active.get_mut(&peer) {
            active.superseded = true;
        }
        if let Some(configured) = self.configured.get_mut(&peer) {
            configured.next_at = None;
            configured.connected_at = Some(now);
        }
    }

    pub(super) fn disconnected(&mut self, now: Time, peer: PeerId) {
        if let Some(configured) = self.configured.get_mut(&peer) {
            if configured.connected_at.take().is_some_and(|since| now.saturating_since(since) >= STABLE_AFTER) {
                configured.failures = 0;
            }
            self.back_off(now, peer);
        }
    }

    /// A dial has ended without a connection.
    pub(super) fn failed(&mut self, now: Time, ended: &Ended) {
        if !ended.introduced {
            self.back_off(now, ended.peer);
        }
    }

    fn back_off(&mut self, now: Time, peer: PeerId) {
        if let Some(configured) = self.configured.get_mut(&peer)
            && configured.connected_at.is_none()
        {
            let doubled = BACKOFF_MIN.saturating_mul(1 << configured.failures.min(16)).min(BACKOFF_MAX);
            configured.failures = configured.failures.saturating_add(1);
            configured.next_at = Some(now + self.random.between(doubled / 2, doubled));
        }
    }

    /// Takes the first peer that is due and that `is_out` does not rule out; one that it rules out waits on.
    pub(super) fn due(&mut self, now: Time, is_out: impl Fn(PeerId) -> bool) -> Option<Dial> {
        let random = &mut self.random;
        for (peer, configured) in &mut self.configured {
            if configured.next_at.is_none_or(|at| at > now) {
                continue;
            }
            if is_out(*peer) {
                configured.next_at = Some(now + random.between(BACKOFF_MAX / 2, BACKOFF_MAX));
                continue;
            }
            // Should the dial not even start (no slot), it is tried again later.
            configured.next_at = Some(now + random.between(BACKOFF_MAX / 2, BACKOFF_MAX));
            let addresses = configured.addresses.iter().chain(&configured.learned).cloned().collect();
            return Some(Dial { peer: *peer, addresses });
        }
        None
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.configured.values().filter_map(|configured| configured.next_at).min()
    }
}

/// Sebastiano Vigna's SplitMix64: enough for jitter and fairness, and the same everywhere.
#[derive(Debug)]
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any index below `len`; 0 if there is none.
    pub(super) fn below(&mut self, len: usize) -> usize {
        let scaled = (u128::from(self.next()) * len as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        // 32 random bits as a fraction: a jitter of seconds does not need more.
        let fraction = u32::try_from(self.next() >> 32).unwrap_or(0);
        let span = high.saturating_sub(low);
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let part = (u128::from(nanos) * u128::from(fraction)) >> 32;
        low + Duration::from_nanos(u64::try_from(part).unwrap_or(nanos))
    }
}
