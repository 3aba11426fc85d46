//! Every decision that spans peers: who may connect, which of two connections survives, whom to dial and when, who
//! is banned, whom a tip is offered to, whom to ask for an item, who is introduced to whom; and, in [`crate::relay`], how
//! blocks travel.
//!
//! Sans-I/O: the node reports what happened and executes what is answered. Time comes in as an argument and jitter from
//! a seed, so the same calls give the same answers.
//!
//! # Two connections to one peer
//!
//! With a peer of our own kind:
//!
//! | existing | new | answer |
//! | --- | --- | --- |
//! | our dial, not authenticated | peer's dial, peer has the greater id | accept; our dial ends as a duplicate |
//! | our dial, not authenticated | peer's dial, we have the greater id | hold until our dial has ended |
//! | peer's dial, whatever its age | our dial, we have the greater id | accept: the peer has judged it too; the existing one is closed |
//! | peer's dial, whatever its age | our dial, peer has the greater id | refuse |
//! | our dial, younger than [`CROSSING_WINDOW`] | peer's dial | the greater id's dial survives |
//! | any other | any | probe: the existing one yields only if it leaves a ping unanswered for [`PROBE_TIMEOUT`] |
//!
//! Both ends apply the same table to the same two connections, so both keep the same one.
//!
//! The existing Mina Rust node has other rules: while its own dial is under way it turns ours away if its id is the greater, and
//! else takes ours and drops its own; the end of the dropped one then closes ours too, 0.1 s later. So its ends of two crossed
//! connections never both live, and ours gives way, whatever the ids:
//!
//! | existing | new | answer |
//! | --- | --- | --- |
//! | our dial, not authenticated | peer's dial | accept, never held; end ours ([`Router::dial_of`]): it is a duplicate |
//! | peer's dial | our dial | refuse, whatever its age |
//! | our dial, or an earlier one of the peer's | peer's dial | probe: it would not have dialed if it knew of a connection, so what it has given up does not answer; what lives is kept |
//!
//! When the existing node closes the only one that was left all the same, the node dials it once more after half a second.
//!
//! A dial through a relay gives way to one by an address, and puts off none: who names a peer and is silent then does not keep us
//! from it.

mod bans;
mod dials;
mod introductions;
mod offers;
mod pairs;
mod slots;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mina_p2p_wire::message::BlockKey;
use mina_p2p_wire::{Address, PeerId};

use crate::Time;
use crate::relay::{Relay, RelayConfig};

pub use self::bans::{BANS_MAX, Bans};
pub use self::dials::{BACKOFF_MAX, BACKOFF_MIN, Dial, DialId, LEARNED_MAX};
pub use self::introductions::IntroductionOutput;
pub use self::offers::{ItemKey, OFFERS_MAX, OFFERS_PER_ITEM};
pub use self::pairs::{PAIR_MEMORY, PAIRS_MAX};
pub use self::slots::SlotLimits;

use self::dials::Dials;
use self::introductions::Introductions;
use self::offers::Offers;
use self::slots::Slots;

/// How long after a connection was made another one to the same peer counts as crossed with it: twice the five
/// seconds in which a QUIC connection must authenticate, since each of two crossed dials may take that long.
pub const CROSSING_WINDOW: Duration = Duration::from_secs(10);

/// How long an existing connection may leave a ping unanswered before it yields to a new one.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an incoming connection is held for our own crossed dial. Well inside the dialer's five seconds, so that
/// it still authenticates if our dial turns out to lead nowhere.
pub const HOLD_MAX: Duration = Duration::from_secs(2);

/// Names one connection of this router, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialer {
    /// We did.
    Us,
    /// The peer did.
    Peer,
}

/// Why the router turns a connection or a dial away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The other end has our own identity.
    #[error("the peer is this node itself")]
    SelfConnection,
    /// The peer is banned.
    #[error("the peer is banned for another {} s", .remaining.as_secs())]
    Banned {
        /// How long the ban still lasts.
        remaining: Duration,
    },
    /// All slots that the peer could have are taken.
    #[error("no free slot: {taken} of {limit} {slot} in use")]
    Capacity {
        /// Which limit was met.
        slot: &'static str,
        /// How many are in use.
        taken: usize,
        /// The limit.
        limit: usize,
    },
    /// Another connection to the same peer lives, or is preferred.
    #[error("another connection to the peer exists")]
    Duplicate,
    /// A dial to the same peer is under way.
    #[error("a dial to the peer is under way")]
    Dialing,
}

/// What to do with an authenticated connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Keep it under this name. If another connection is named, close that one as a duplicate first.
    Accept {
        /// The new connection's name.
        id: ConnectionId,
        /// The connection it replaces; the router has forgotten it already.
        replaces: Option<ConnectionId>,
    },
    /// Wait for our own dial to the same peer to end, at most until the time named. If it was accepted, refuse this one
    /// as a duplicate; otherwise ask again. The dialer waits meanwhile: if it were answered, both ends might keep both
    /// connections for a moment.
    Hold {
        /// When to ask again at the latest.
        until: Time,
    },
    /// Ping the existing connection. If it answers within [`PROBE_TIMEOUT`], refuse the new one as a duplicate;
    /// otherwise call [`Router::disconnected`] for it, close it, and ask again.
    Probe {
        /// The connection to ping.
        existing: ConnectionId,
    },
    /// Close it for this reason.
    Refuse(Refusal),
}

/// What a router is made with.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Our own identity.
    pub own: PeerId,
    /// How many connections, of which kinds.
    pub slots: SlotLimits,
    /// Peers that are dialed again whenever they are not connected.
    pub initial_peers: Vec<Address>,
    /// How compact blocks are pulled.
    pub relay: RelayConfig,
    /// Below how many connections, dials included, we ask relays to be introduced to others; 0 for never.
    pub discover_peers: usize,
    /// Whether we take offers through relays.
    pub take_offers: bool,
    /// Whether we introduce our peers to each other.
    pub introduce: bool,
    /// Seeds the jitter of redials, and who is introduced to whom. Give each node another, so that a network does not redial in step.
    pub seed: u64,
}

#[derive(Debug)]
struct Link {
    id: ConnectionId,
    dialer: Dialer,
    remote: IpAddr,
    since: Time,
    tip: Option<BlockKey>,
}

/// All peers. See the module's documentation.
#[derive(Debug)]
pub struct Router {
    own: PeerId,
    links: BTreeMap<PeerId, Link>,
    slots: Slots,
    bans: Bans,
    dials: Dials,
    offers: Offers,
    introductions: Introductions,
    /// What is done with blocks that travel compactly. Connections that speak them are told to it, and their ends, by the
    /// node.
    pub relay: Relay,
    next_id: u64,
}

impl Router {
    /// A router without connections; the initial peers are due for dialing at once.
    pub fn new(config: RouterConfig, now: Time) -> Router {
        Router {
            own: config.own,
            links: BTreeMap::new(),
            slots: Slots::new(config.slots),
            bans: Bans::default(),
            dials: Dials::new(config.own, config.initial_peers, config.seed, now),
            offers: Offers::default(),
            introductions: Introductions::new(config.discover_peers, config.take_offers, config.introduce, config.seed),
            relay: Relay::new(config.relay),
            next_id: 0,
        }
    }

    /// Begins a dial that the user asked for or that [`Router::due_dial`] named. Its end must be reported with
    /// [`Router::dial_authenticated`] or [`Router::dial_failed`]. One to the same peer through a relay gives way: a relay that
    /// names a peer and is silent then does not keep us from it.
    ///
    /// # Errors
    /// The refusal that the connection would meet if it were authenticated now.
    pub fn start_dial(&mut self, now: Time, peer: PeerId) -> Result<DialId, Refusal> {
        let introduced = self.dials.introduced(peer);
        self.check_dial(now, peer, self.dials.active_len() - usize::from(introduced.is_some()))?;
        if let Some(dial) = introduced.and_then(|dial| self.dials.end(dial).and(Some(dial))) {
            self.introductions.give_up(dial);
        }
        self.dials.start(peer, false).ok_or(Refusal::Dialing)
    }

    /// Begins a dial to a peer that a relay has named.
    fn start_introduced(&mut self, now: Time, peer: PeerId) -> Result<DialId, Refusal> {
        self.check_dial(now, peer, self.dials.active_len())?;
        self.dials.start(peer, true).ok_or(Refusal::Dialing)
    }

    fn check_dial(&self, now: Time, peer: PeerId, dials: usize) -> Result<(), Refusal> {
        if peer == self.own {
            return Err(Refusal::SelfConnection);
        }
        self.check_ban(now, peer)?;
        if self.links.contains_key(&peer) {
            return Err(Refusal::Duplicate);
        }
        self.slots.check_outbound(self.links.len() + dials)
    }

    /// Our dial to a peer, while it is under way.
    #[must_use]
    pub fn dial_of(&self, peer: PeerId) -> Option<DialId> {
        self.dials.active(peer)
    }

    /// Our dial has authenticated: decides whether it is kept. `ours` says whether the peer is of our own kind.
    pub fn dial_authenticated(&mut self, now: Time, dial: DialId, remote: SocketAddr, ours: bool) -> Admission {
        self.introductions.dial_ended(dial);
        let admission = self.judge_dial(now, dial, remote, ours);
        self.discover();
        admission
    }

    fn judge_dial(&mut self, now: Time, dial: DialId, remote: SocketAddr, ours: bool) -> Admission {
        // Should the peer's own dial have been accepted meanwhile and be gone already, this one is as good as any.
        let Some(ended) = self.dials.end(dial) else {
            return Admission::Refuse(Refusal::Duplicate);
        };
        let peer = ended.peer;
        if let Err(refusal) = self.check_ban(now, peer) {
            self.dials.failed(now, &ended);
            return Admission::Refuse(refusal);
        }
        let replaces = match self.links.get(&peer) {
            None => None,
            // The peer's dial won the race, and by the greater id ours would have: the peer closes its own likewise.
            Some(link) if ours && link.dialer == Dialer::Peer && self.own > peer => Some(link.id),
            Some(_) => return Admission::Refuse(Refusal::Duplicate),
        };
        if replaces.is_some() {
            self.forget(now, peer);
        } else if let Err(refusal) = self.slots.check_outbound(self.links.len()) {
            // There was a slot when the dial began, which peers that dialed us have taken meanwhile.
            self.dials.failed(now, &ended);
            return Admission::Refuse(refusal);
        }
        Admission::Accept { id: self.link(now, peer, Dialer::Us, remote.ip()), replaces }
    }

    /// Our dial has failed. A configured peer is dialed again after a back-off. True if that was to be expected: the
    /// peer's own dial was accepted meanwhile.
    pub fn dial_failed(&mut self, now: Time, dial: DialId) -> bool {
        self.introductions.dial_ended(dial);
        let Some(ended) = self.dials.end(dial) else { return false };
        self.dials.failed(now, &ended);
        self.discover();
        ended.superseded
    }

    /// A peer's connection has authenticated, as far as its own half goes: decides whether it is kept.
    ///
    /// `held` says that it has been held as long as [`Admission::Hold`] allows, and shall not be held again; `ours`, whether the
    /// peer is of our own kind.
    pub fn incoming(&mut self, now: Time, peer: PeerId, remote: SocketAddr, held: bool, ours: bool) -> Admission {
        match self.judge_incoming(now, peer, remote.ip(), held, ours) {
            Ok(admission) => admission,
            Err(refusal) => Admission::Refuse(refusal),
        }
    }

    fn judge_incoming(
        &mut self,
        now: Time,
        peer: PeerId,
        remote: IpAddr,
        held: bool,
        ours: bool,
    ) -> Result<Admission, Refusal> {
        if peer == self.own {
            return Err(Refusal::SelfConnection);
        }
        self.check_ban(now, peer)?;
        let mut replaces = None;
        if let Some(link) = self.links.get(&peer) {
            let crossed = ours && link.dialer == Dialer::Us && now.saturating_since(link.since) < CROSSING_WINDOW;
            match crossed {
                true if self.own > peer => return Err(Refusal::Duplicate),
                true => replaces = Some(link.id),
                false => return Ok(Admission::Probe { existing: link.id }),
            }
        } else if ours && !held && self.own > peer && self.dials.active(peer).is_some() {
            return Ok(Admission::Hold { until: now + HOLD_MAX });
        }
        // Before the existing one is forgotten: if there is no slot for the new one, the existing one stays.
        let others = self.links.len() - usize::from(replaces.is_some());
        self.slots.check_inbound(remote, others)?;
        if replaces.is_some() {
            self.forget(now, peer);
        }
        Ok(Admission::Accept { id: self.link(now, peer, Dialer::Peer, remote), replaces })
    }

    fn link(&mut self, now: Time, peer: PeerId, dialer: Dialer, remote: IpAddr) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        if dialer == Dialer::Peer {
            self.slots.take(remote);
        }
        self.dials.connected(now, peer);
        self.links.insert(peer, Link { id, dialer, remote, since: now, tip: None });
        id
    }

    fn forget(&mut self, now: Time, peer: PeerId) {
        let Some(link) = self.links.remove(&peer) else { return };
        if link.dialer == Dialer::Peer {
            self.slots.free(link.remote);
        }
        self.introductions.forget(now, link.id);
    }

    /// A connection has ended, whoever closed it. Unknown names (replaced connections) are ignored.
    pub fn disconnected(&mut self, now: Time, peer: PeerId, id: ConnectionId) {
        if self.links.get(&peer).is_some_and(|link| link.id == id) {
            self.forget(now, peer);
            self.dials.disconnected(now, peer);
            self.offers.forget_peer(peer);
            self.discover();
        }
    }

    /// The next configured peer that is due for dialing, if any. Call it until it answers `None`, starting each with
    /// [`Router::start_dial`].
    pub fn due_dial(&mut self, now: Time) -> Option<Dial> {
        let links = &self.links;
        let bans = &self.bans;
        self.dials.due(now, |peer| links.contains_key(&peer) || bans.remaining(now, peer).is_some())
    }

    /// An authenticated peer has announced where it listens. Of a configured one at most [`LEARNED_MAX`] of its addresses are
    /// dialed beside those that are configured, in place of what it announced before.
    pub fn learned(&mut self, peer: PeerId, addresses: Vec<Address>) {
        self.dials.learned(peer, addresses);
    }

    /// When [`Router::due_dial`] may next have something to dial. It does not change by time alone.
    pub fn next_dial_at(&self) -> Option<Time> {
        self.dials.next_at()
    }

    /// Bans a peer until `now + duration`, in place of an earlier ban of it. Answers its connection, to be closed.
    pub fn ban(&mut self, now: Time, peer: PeerId, duration: Duration) -> Option<ConnectionId> {
        self.bans.ban(now, peer, duration);
        self.links.get(&peer).map(|link| link.id)
    }

    /// Lifts a ban. False if there was none.
    pub fn unban(&mut self, now: Time, peer: PeerId) -> bool {
        self.bans.unban(now, peer)
    }

    /// The bans in force, each with what remains of it.
    pub fn bans(&self, now: Time) -> Vec<(PeerId, Duration)> {
        self.bans.list(now)
    }

    fn check_ban(&self, now: Time, peer: PeerId) -> Result<(), Refusal> {
        match self.bans.remaining(now, peer) {
            Some(remaining) => Err(Refusal::Banned { remaining }),
            None => Ok(()),
        }
    }

    /// The connection to a peer.
    pub fn connection(&self, peer: PeerId) -> Option<ConnectionId> {
        self.links.get(&peer).map(|link| link.id)
    }

    /// Who opened a connection, as long as it is the peer's.
    pub fn dialer(&self, peer: PeerId, id: ConnectionId) -> Option<Dialer> {
        self.links.get(&peer).filter(|link| link.id == id).map(|link| link.dialer)
    }

    /// All connected peers, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, ConnectionId)> + '_ {
        self.links.iter().map(|(peer, link)| (*peer, link.id))
    }

    /// A peer has sent its best tip.
    pub fn peer_tip(&mut self, peer: PeerId, tip: BlockKey) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.tip = Some(tip);
        }
    }

    /// Whom a new tip of ours is offered to, in this order: peers that we dialed first (an attacker chooses those that
    /// dial us, not those that we dial), the longest connected first among each. Peers whose own tip it is come last:
    /// their sessions decide whether it is sent at all (old nodes want to hear it, our own kind does not).
    pub fn offer_tip(&self, tip: &BlockKey) -> Vec<ConnectionId> {
        let mut order: Vec<&Link> = self.links.values().collect();
        order.sort_by_key(|link| (link.tip.as_ref() == Some(tip), link.dialer == Dialer::Peer, link.since, link.id));
        order.into_iter().map(|link| link.id).collect()
    }

    /// A peer has offered an item. True if the item was not on offer before.
    pub fn offered(&mut self, peer: PeerId, item: ItemKey) -> bool {
        self.offers.add(peer, item)
    }

    /// Forgets who offered an item, once it is held or no longer wanted. Answers who offered it first.
    pub fn settled(&mut self, item: &ItemKey) -> Option<PeerId> {
        self.offers.remove(item)
    }

    /// Whom to ask for an item: the first connected peer that offered it; of a block, a peer whose tip it may be;
    /// otherwise the peer connected longest. `None` without peers.
    pub fn choose_peer(&self, item: Option<&ItemKey>) -> Option<PeerId> {
        let offered = item.and_then(|item| self.offers.peers(item).iter().find(|peer| self.links.contains_key(peer)));
        match offered {
            Some(peer) => Some(*peer),
            None => self.links.iter().min_by_key(|(_, link)| (link.since, link.id)).map(|(peer, _)| *peer),
        }
    }
}

#[cfg(test)]
mod tests;
