//! Introductions as the router runs them: as the relay who introduces whom, as a dialer whether to be introduced and to
//! whom, as a target whether to take an offer. What each may say when is the session's ([`Introduction`] names the file).
//!
//! As the relay:
//!
//! | what happens | what is done |
//! | --- | --- |
//! | a dialer wants to be introduced, a target takes an offer | the longest waiting dialer is introduced to any target; see [`Introductions::may_meet`] |
//! | there is a target, and a peer that was not asked | it is asked |
//! | the dialer's offer | it is handed over |
//! | the target's answer, or none | the dialer is answered; the two are not introduced again for [`PAIR_MEMORY`] |
//! | the dialer does not want that one, or is silent | the same, and the target is free for others |
//! | the dialer's connection ends | the same, and the target is free, or its answer is dropped |
//! | the target's connection ends | the same, and the dialer is answered with nothing |

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mina_p2p_wire::{PeerId, PublicKey};

use crate::Time;
use crate::introductions::{Introduction, IntroductionOrder};

use super::dials::SplitMix64;
#[cfg(doc)]
use super::pairs::PAIR_MEMORY;
use super::pairs::Pairs;
use super::{ConnectionId, DialId, Refusal, Router};

/// Set apart from the seed of redials.
const SEED_STEP: u64 = 0x5851_f42d_4c95_7f2d;

/// What is to be done for introductions. Drain after each input with [`Router::poll_introduction`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum IntroductionOutput {
    /// Give this to a connection's session ([`Session::introduction`](crate::Session::introduction)). If it refuses, say so by
    /// [`Router::introduction_refused`].
    Order {
        /// Whose.
        to: ConnectionId,
        /// What.
        order: IntroductionOrder,
    },
    /// A dial through a relay has begun: make an offer to the target, and give it to [`Router::offer_made`]. Its end is to be
    /// reported as any dial's.
    MakeOffer {
        /// The dial.
        dial: DialId,
        /// The relay.
        relay: ConnectionId,
        /// Whom the offer is to be sealed to.
        target: PublicKey,
    },
    /// The answer to the offer of a dial.
    Answered {
        /// The dial. It may have ended already.
        dial: DialId,
        /// The answer, sealed to us; if there is none, there will be none: end the dial.
        sealed: Option<Bytes>,
    },
    /// A dial of ours to the same peer takes its place: end the dial.
    GiveUp {
        /// The dial. It may have ended already.
        dial: DialId,
    },
    /// Somebody's offer, through a relay: judge it as any, and give that session [`IntroductionOrder::AnswerOffer`]. It must
    /// be so within [`OWN_SIGNAL_TIMEOUT`](crate::OWN_SIGNAL_TIMEOUT).
    TakeOffer {
        /// The relay.
        relay: ConnectionId,
        /// Who offers, as the relay says.
        offerer: PublicKey,
        /// The offer, sealed to us.
        sealed: Bytes,
    },
}

/// A peer as a dialer whom we introduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AsDialer {
    /// We have not asked it, or what came of it has ended.
    Quiet,
    /// It is asked, or will be.
    Asked,
    /// Since a turn.
    Wants(u64),
    /// To whom; none if that one has gone.
    Introduced(Option<ConnectionId>),
    /// To whom.
    Offered(ConnectionId),
}

/// A peer as a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AsTarget {
    /// It takes no offer, or has one whose answer nobody waits for.
    Quiet,
    Ready,
    /// It was named to somebody.
    Named(ConnectionId),
    /// It has an offer of somebody's.
    Offered(ConnectionId),
}

/// A peer as the relay that introduces us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AsRelay {
    Quiet,
    /// It asks whether we want to be introduced.
    Asked,
    Discovering,
    MakingOffer(DialId),
    Offered(DialId),
}

#[derive(Debug)]
struct Conn {
    peer: PeerId,
    key: PublicKey,
    dialer: AsDialer,
    target: AsTarget,
    relay: AsRelay,
}

/// What the router knows of introductions.
#[derive(Debug)]
pub(super) struct Introductions {
    /// How many peers we want; 0 for not to ask relays.
    pub(super) discover_peers: usize,
    take_offers: bool,
    introduce: bool,
    conns: BTreeMap<ConnectionId, Conn>,
    pairs: Pairs,
    out: VecDeque<IntroductionOutput>,
    next_turn: u64,
    random: SplitMix64,
}

impl Introductions {
    pub(super) fn new(discover_peers: usize, take_offers: bool, introduce: bool, seed: u64) -> Introductions {
        Introductions {
            discover_peers,
            take_offers,
            introduce,
            conns: BTreeMap::new(),
            pairs: Pairs::default(),
            out: VecDeque::new(),
            next_turn: 0,
            random: SplitMix64(seed ^ SEED_STEP),
        }
    }

    fn order(&mut self, to: ConnectionId, order: IntroductionOrder) {
        self.out.push_back(IntroductionOutput::Order { to, order });
    }

    /// Whether a dialer may be introduced to a target: another peer that takes an offer, that it was not introduced to lately, and
    /// that is not just being introduced to it.
    fn may_meet(&self, dialer: (ConnectionId, &Conn), target: (ConnectionId, &Conn)) -> bool {
        let ((dialer_id, dialer), (_, target)) = (dialer, target);
        let crosses =
            matches!(target.dialer, AsDialer::Introduced(Some(id)) | AsDialer::Offered(id) if id == dialer_id);
        target.target == AsTarget::Ready
            && target.peer != dialer.peer
            && !crosses
            && !self.pairs.know(dialer.peer, target.peer)
    }

    fn targets(&self, id: ConnectionId, dialer: &Conn) -> impl Iterator<Item = ConnectionId> {
        let others = self.conns.iter().filter(move |(target, _)| **target != id);
        others.filter(move |(target, conn)| self.may_meet((id, dialer), (**target, conn))).map(|(target, _)| *target)
    }

    /// Introduces whom it can, and asks those for whom there is somebody.
    fn match_up(&mut self) {
        if !self.introduce || !self.conns.values().any(|conn| conn.target == AsTarget::Ready) {
            return;
        }
        let wants = |(id, conn): (&ConnectionId, &Conn)| match conn.dialer {
            AsDialer::Wants(turn) => Some((turn, *id)),
            _ => None,
        };
        let mut dialers: Vec<(u64, ConnectionId)> = self.conns.iter().filter_map(wants).collect();
        dialers.sort_unstable();
        for (_, id) in dialers {
            let Some(dialer) = self.conns.get(&id) else { continue };
            let targets: Vec<ConnectionId> = self.targets(id, dialer).collect();
            let chosen = self.random.below(targets.len());
            if let Some(target) = targets.get(chosen) {
                self.introduce(id, *target);
            }
        }
        let quiet = self.conns.iter().filter(|(_, conn)| conn.dialer == AsDialer::Quiet);
        let asked: Vec<ConnectionId> =
            quiet.filter(|(id, conn)| self.targets(**id, conn).next().is_some()).map(|(id, _)| *id).collect();
        for id in asked {
            self.set_dialer(id, AsDialer::Asked);
            self.order(id, IntroductionOrder::AskForDialers);
        }
    }

    fn introduce(&mut self, dialer: ConnectionId, target: ConnectionId) {
        let Some(conn) = self.conns.get_mut(&target) else { return };
        conn.target = AsTarget::Named(dialer);
        let key = conn.key;
        self.set_dialer(dialer, AsDialer::Introduced(Some(target)));
        self.order(dialer, IntroductionOrder::Introduce { target: key });
    }

    fn set_dialer(&mut self, id: ConnectionId, to: AsDialer) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.dialer = to;
        }
    }

    fn set_target(&mut self, id: ConnectionId, to: AsTarget) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.target = to;
        }
    }

    fn set_relay(&mut self, id: ConnectionId, to: AsRelay) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.relay = to;
        }
    }

    /// An introduction has ended, and the two are not to meet again soon.
    fn remember(&mut self, now: Time, one: ConnectionId, other: ConnectionId) {
        if let (Some(one), Some(other)) = (self.conns.get(&one), self.conns.get(&other)) {
            self.pairs.add(now, one.peer, other.peer);
        }
    }

    /// The dialer does not want its target, is silent, or was answered with nothing.
    fn turned_down(&mut self, now: Time, dialer: ConnectionId) {
        match self.conns.get(&dialer).map(|conn| conn.dialer) {
            Some(AsDialer::Introduced(Some(target))) => {
                self.remember(now, dialer, target);
                self.set_target(target, AsTarget::Ready);
            }
            Some(AsDialer::Offered(target)) => {
                self.remember(now, dialer, target);
                self.set_target(target, AsTarget::Quiet);
            }
            Some(AsDialer::Introduced(None)) => {}
            _ => return,
        }
        self.set_dialer(dialer, AsDialer::Quiet);
    }

    fn offer(&mut self, dialer: ConnectionId, sealed: Bytes) {
        let Some(Conn { dialer: AsDialer::Introduced(target), key, .. }) = self.conns.get(&dialer) else { return };
        let (target, offerer) = (*target, *key);
        match target {
            Some(target) => {
                self.set_target(target, AsTarget::Offered(dialer));
                self.set_dialer(dialer, AsDialer::Offered(target));
                self.order(target, IntroductionOrder::HandOver { offerer, sealed });
            }
            None => self.answer(dialer, None),
        }
    }

    /// Answers a dialer's offer.
    fn answer(&mut self, dialer: ConnectionId, sealed: Option<Bytes>) {
        self.set_dialer(dialer, AsDialer::Quiet);
        self.order(dialer, IntroductionOrder::AnswerDialer { sealed });
    }

    fn target_answered(&mut self, now: Time, target: ConnectionId, sealed: Option<Bytes>, then: AsTarget) {
        let Some(AsTarget::Offered(dialer)) = self.conns.get(&target).map(|conn| conn.target) else { return };
        self.set_target(target, then);
        self.remember(now, dialer, target);
        self.answer(dialer, sealed);
    }

    /// A connection has ended. Whoever was being introduced to it is not again soon: else a peer that comes and goes would be
    /// introduced to the same ones again and again.
    pub(super) fn forget(&mut self, now: Time, id: ConnectionId) {
        if let Some(AsDialer::Introduced(Some(target)) | AsDialer::Offered(target)) =
            self.conns.get(&id).map(|conn| conn.dialer)
        {
            self.remember(now, id, target);
        }
        if let Some(AsTarget::Named(dialer) | AsTarget::Offered(dialer)) = self.conns.get(&id).map(|conn| conn.target) {
            self.remember(now, dialer, id);
        }
        let Some(conn) = self.conns.remove(&id) else { return };
        match conn.dialer {
            AsDialer::Introduced(Some(target)) => self.set_target(target, AsTarget::Ready),
            AsDialer::Offered(target) => self.set_target(target, AsTarget::Quiet),
            AsDialer::Quiet | AsDialer::Asked | AsDialer::Wants(_) | AsDialer::Introduced(None) => {}
        }
        match conn.target {
            AsTarget::Named(dialer) => self.set_dialer(dialer, AsDialer::Introduced(None)),
            AsTarget::Offered(dialer) => self.answer(dialer, None),
            AsTarget::Quiet | AsTarget::Ready => {}
        }
        if let AsRelay::MakingOffer(dial) | AsRelay::Offered(dial) = conn.relay {
            self.out.push_back(IntroductionOutput::Answered { dial, sealed: None });
        }
        self.match_up();
    }

    /// A dial has ended, whatever came of it.
    pub(super) fn dial_ended(&mut self, dial: DialId) {
        let of_it = |conn: &Conn| matches!(conn.relay, AsRelay::MakingOffer(id) | AsRelay::Offered(id) if id == dial);
        let Some((id, conn)) = self.conns.iter_mut().find(|(_, conn)| of_it(conn)) else { return };
        let (id, was) = (*id, std::mem::replace(&mut conn.relay, AsRelay::Quiet));
        if was == AsRelay::MakingOffer(dial) {
            self.order(id, IntroductionOrder::Reject);
        }
    }

    /// Another dial takes the place of this one.
    pub(super) fn give_up(&mut self, dial: DialId) {
        self.dial_ended(dial);
        self.out.push_back(IntroductionOutput::GiveUp { dial });
    }

    /// Says to a relay that we want to be introduced: to any that has asked.
    pub(super) fn discover(&mut self) {
        for (id, conn) in &mut self.conns {
            if conn.relay == AsRelay::Asked {
                conn.relay = AsRelay::Discovering;
                self.out.push_back(IntroductionOutput::Order { to: *id, order: IntroductionOrder::Discover });
            }
        }
    }

    /// What a relay brings for our offer, or the end of it without an answer.
    fn offer_ended(&mut self, relay: ConnectionId, sealed: Option<Bytes>) {
        let Some(conn) = self.conns.get_mut(&relay) else { return };
        if let AsRelay::MakingOffer(dial) | AsRelay::Offered(dial) = conn.relay {
            conn.relay = AsRelay::Quiet;
            self.out.push_back(IntroductionOutput::Answered { dial, sealed });
        }
    }
}

impl Router {
    /// Introductions are spoken on a connection ([`Session::speaks_introductions`](crate::Session::speaks_introductions)).
    /// Its end is known by [`Router::disconnected`].
    pub fn speaks_introductions(&mut self, now: Time, id: ConnectionId) {
        let Some((peer, _)) = self.links.iter().find(|(_, link)| link.id == id) else { return };
        let Ok(key) = peer.public_key() else { return };
        let (dialer, target, relay) = (AsDialer::Quiet, AsTarget::Quiet, AsRelay::Quiet);
        self.introductions.conns.insert(id, Conn { peer: *peer, key, dialer, target, relay });
        self.introductions_due(now);
    }

    /// A connection's session tells of an introduction ([`Event::Introduction`](crate::Event::Introduction)).
    pub fn introduction(&mut self, now: Time, id: ConnectionId, what: Introduction) {
        let introductions = &mut self.introductions;
        let Some(conn) = introductions.conns.get_mut(&id) else { return };
        match what {
            Introduction::Asked => {
                // The session has rejected it by itself, if our offer came too late: it will not be taken.
                introductions.offer_ended(id, None);
                introductions.set_relay(id, AsRelay::Asked);
                self.discover();
            }
            Introduction::Discovered { target } => self.discovered(now, id, target),
            Introduction::Answer { sealed } => introductions.offer_ended(id, sealed),
            Introduction::Unanswered => introductions.offer_ended(id, None),
            Introduction::Wants => {
                conn.dialer = AsDialer::Wants(introductions.next_turn);
                introductions.next_turn += 1;
            }
            Introduction::Rejected | Introduction::GivenUp => introductions.turned_down(now, id),
            Introduction::Offer { sealed } => introductions.offer(id, sealed),
            Introduction::OfferToYou { offerer, sealed } => self.take_offer(now, id, offerer, sealed),
            Introduction::Ready => conn.target = AsTarget::Ready,
            Introduction::TargetAnswer { sealed } => {
                introductions.target_answered(now, id, sealed, AsTarget::Quiet);
            }
        }
        self.introductions_due(now);
    }

    /// A session has refused an order: what hangs on it ends.
    pub fn introduction_refused(&mut self, now: Time, id: ConnectionId, order: &IntroductionOrder) {
        let introductions = &mut self.introductions;
        match order {
            IntroductionOrder::Introduce { .. } => introductions.turned_down(now, id),
            // It still takes one: an offer can be too long.
            IntroductionOrder::HandOver { .. } => introductions.target_answered(now, id, None, AsTarget::Ready),
            IntroductionOrder::Accept { .. } => {
                introductions.offer_ended(id, None);
                introductions.order(id, IntroductionOrder::Reject);
            }
            IntroductionOrder::AskForDialers
            | IntroductionOrder::AnswerDialer { .. }
            | IntroductionOrder::Discover
            | IntroductionOrder::Reject
            | IntroductionOrder::AnswerOffer { .. } => {}
        }
        self.introductions_due(now);
    }

    /// The offer of a dial through a relay is made, sealed to the target.
    pub fn offer_made(&mut self, dial: DialId, sealed: Bytes) {
        let introductions = &mut self.introductions;
        let waits = introductions.conns.iter_mut().find(|(_, conn)| conn.relay == AsRelay::MakingOffer(dial));
        match waits {
            Some((id, conn)) => {
                conn.relay = AsRelay::Offered(dial);
                let id = *id;
                introductions.order(id, IntroductionOrder::Accept { sealed });
            }
            // The relay has gone, or the offer took too long.
            None => introductions.out.push_back(IntroductionOutput::Answered { dial, sealed: None }),
        }
    }

    /// Whether an offer, through a relay or not, is worth an answer. Who it is by is not certain yet, so a peer that is connected
    /// already is not turned away: it may have restarted. [`Router::incoming`] decides when it is authenticated.
    ///
    /// # Errors
    /// The refusal that the connection would meet.
    pub fn check_offer(&self, now: Time, peer: PeerId) -> Result<(), Refusal> {
        if peer == self.own {
            return Err(Refusal::SelfConnection);
        }
        self.check_ban(now, peer)?;
        let replaced = usize::from(self.links.contains_key(&peer));
        self.slots.check_outbound(self.links.len() - replaced)
    }

    /// The next thing to do for introductions.
    pub fn poll_introduction(&mut self) -> Option<IntroductionOutput> {
        self.introductions.out.pop_front()
    }

    /// When [`Router::introductions_due`] is next to be called: two who were introduced may be introduced again.
    #[must_use]
    pub fn next_introduction_at(&self) -> Option<Time> {
        self.introductions.pairs.next_at()
    }

    /// Time has passed. Earlier than [`Router::next_introduction_at`] says is harmless.
    pub fn introductions_due(&mut self, now: Time) {
        self.introductions.pairs.expire(now);
        self.introductions.match_up();
    }

    /// Asks to be introduced, if there are too few peers.
    pub(super) fn discover(&mut self) {
        if self.wants_peers() {
            self.introductions.discover();
        }
    }

    fn wants_peers(&self) -> bool {
        self.links.len() + self.dials.active_len() < self.introductions.discover_peers
    }

    fn discovered(&mut self, now: Time, relay: ConnectionId, target: PublicKey) {
        let wants = self.wants_peers() && !target.is_small_order();
        let dial = if wants { self.start_introduced(now, target.peer_id()).ok() } else { None };
        let introductions = &mut self.introductions;
        let Some(conn) = introductions.conns.get_mut(&relay) else { return };
        match dial {
            Some(dial) => {
                conn.relay = AsRelay::MakingOffer(dial);
                introductions.out.push_back(IntroductionOutput::MakeOffer { dial, relay, target });
            }
            None => {
                conn.relay = AsRelay::Quiet;
                introductions.order(relay, IntroductionOrder::Reject);
            }
        }
    }

    fn take_offer(&mut self, now: Time, relay: ConnectionId, offerer: PublicKey, sealed: Bytes) {
        let taken = self.introductions.take_offers && !offerer.is_small_order();
        if taken && self.check_offer(now, offerer.peer_id()).is_ok() {
            self.introductions.out.push_back(IntroductionOutput::TakeOffer { relay, offerer, sealed });
        } else {
            self.introductions.order(relay, IntroductionOrder::AnswerOffer { sealed: None });
        }
    }
}

#[cfg(test)]
mod tests;
