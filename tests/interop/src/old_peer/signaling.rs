//! Signaling through relays (channels 1 and 2): as the one who dials, as the one who is dialed, and as the relay.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::{SignalingDiscoveryMessage as Discovery, SignalingExchangeMessage as Exchange};
use mina_p2p_wire::{Channel, PeerId, PublicKey};
use tokio::time::Instant;

use super::node::{Node, Reply, Via};
use super::signal::{Offer, Response, open, seal, to_json};

/// When a relay asks again.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// Channel 1, as the relay: where the peer, who may dial, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Introducing {
    #[default]
    Closed,
    Requested,
    DiscoveryRequested,
    Discovered(PeerId),
    Rejected(Instant),
    Accepted(PeerId),
    Answered(Instant),
}

/// Channel 1, as the one who dials through the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Dialing {
    #[default]
    Waiting,
    Requested,
    DiscoveryRequested,
    Discovered(PeerId),
    Rejected,
    Accepted(PeerId),
    Answered,
}

/// Channel 2, as the one who is dialed through the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Listening {
    #[default]
    Closed,
    Requested,
    Offered(PublicKey),
    Answered,
}

/// Channel 2, as the relay: where the peer, who is dialed, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Offering {
    #[default]
    Waiting,
    Requested,
    Offered(PeerId),
    Answered,
}

/// Both channels of one peer, in both roles.
#[derive(Debug, Default)]
pub(super) struct Signals {
    introducing: Introducing,
    dialing: Dialing,
    listening: Listening,
    offering: Offering,
}

impl Signals {
    pub(super) fn open_discovery(&mut self) {
        self.introducing = Introducing::Requested;
    }

    pub(super) fn open_exchange(&mut self) {
        self.listening = Listening::Requested;
    }

    /// Whom the peer is being introduced to.
    fn target(&self) -> Option<PeerId> {
        match self.introducing {
            Introducing::Discovered(target) | Introducing::Accepted(target) => Some(target),
            _ => None,
        }
    }
}

impl Node {
    fn say(&self, peer: PeerId, message: Discovery) {
        self.send(peer, Channel::SignalingDiscovery, message.encode());
    }

    /// A message of channel 1.
    pub(super) fn discovery(&mut self, peer: PeerId, message: Discovery) -> Result<(), String> {
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        let signals = &mut ready.signals;
        match (message, signals.introducing, signals.dialing) {
            (Discovery::GetNext, _, Dialing::Waiting | Dialing::Rejected | Dialing::Answered) => {
                signals.dialing = Dialing::Requested;
            }
            (Discovery::Discover, Introducing::Requested, _) => {
                signals.introducing = Introducing::DiscoveryRequested;
                self.introduce();
            }
            (Discovery::Discovered { target }, _, Dialing::DiscoveryRequested) => {
                signals.dialing = Dialing::Discovered(target.peer_id());
                if !self.config.discovery || !self.dial(target.peer_id(), Via::Relay(peer)) {
                    if let Some(ready) = self.ready(peer) {
                        ready.signals.dialing = Dialing::Rejected;
                    }
                    self.say(peer, Discovery::DiscoveredReject);
                }
            }
            (Discovery::DiscoveredReject, Introducing::Discovered(_), _) => {
                signals.introducing = Introducing::Rejected(Instant::now());
                self.introduce();
            }
            (Discovery::DiscoveredAccept(offer), Introducing::Discovered(target), _) => {
                signals.introducing = Introducing::Accepted(target);
                let Ok(offerer) = peer.public_key() else { return Ok(()) };
                if let Some(ready) = self.ready(target) {
                    ready.signals.offering = Offering::Offered(peer);
                    let message = Exchange::OfferToYou { offerer, offer };
                    self.send(target, Channel::SignalingExchange, message.encode());
                }
            }
            (Discovery::Answer(answer), _, Dialing::Accepted(target)) => {
                signals.dialing = Dialing::Answered;
                let response = match (answer, target.public_key()) {
                    (Some(sealed), Ok(key)) => open(&self.config.secret, &key, &sealed)
                        .and_then(|json| serde_json::from_slice(&json).ok())
                        .unwrap_or(Response::SignalDecryptionFailed),
                    _ => Response::InternalError,
                };
                self.answered(target, response);
            }
            (message, introducing, dialing) => {
                return Err(format!("{message:?} in {introducing:?} and {dialing:?}"));
            }
        }
        Ok(())
    }

    /// A message of channel 2.
    pub(super) fn exchange(&mut self, peer: PeerId, message: Exchange) -> Result<(), String> {
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        let signals = &mut ready.signals;
        match (message, signals.listening, signals.offering) {
            (Exchange::GetNext, _, Offering::Waiting | Offering::Answered) => {
                signals.offering = Offering::Requested;
                self.introduce();
            }
            (Exchange::OfferToYou { offerer, offer }, Listening::Requested, _) => {
                signals.listening = Listening::Offered(offerer);
                let offer = open(&self.config.secret, &offerer, &offer)
                    .and_then(|json| serde_json::from_slice::<Offer>(&json).ok())
                    .filter(|offer| offer.identity_pub_key == offerer);
                match offer {
                    Some(offer) => self.offered(offer, Reply::Relay(peer)),
                    None => self.answer_through(peer, offerer, &Response::SignalDecryptionFailed),
                }
            }
            (Exchange::Answer(answer), _, Offering::Offered(dialer)) => {
                signals.offering = Offering::Answered;
                self.forward(peer, dialer, answer);
            }
            (message, listening, offering) => {
                return Err(format!("{message:?} in {listening:?} and {offering:?}"));
            }
        }
        Ok(())
    }

    /// As the relay: the answer goes back.
    fn forward(&mut self, target: PeerId, dialer: PeerId, answer: Option<Bytes>) {
        let Some(ready) = self.ready(dialer) else { return };
        if ready.signals.introducing == Introducing::Accepted(target) {
            ready.signals.introducing = Introducing::Answered(Instant::now());
            self.say(dialer, Discovery::Answer(answer));
        }
    }

    /// As the one who dials: our offer is made.
    pub(super) fn offer_through(&mut self, relay: PeerId, target: PeerId, offer: &Offer) {
        let sealed =
            target.public_key().ok().and_then(|key| seal(&self.config.secret, &key, to_json(offer).as_bytes()));
        let Some(ready) = self.ready(relay) else { return };
        if let (Dialing::Discovered(known), Some(sealed)) = (ready.signals.dialing, sealed)
            && known == target
        {
            ready.signals.dialing = Dialing::Accepted(target);
            self.say(relay, Discovery::DiscoveredAccept(sealed.into()));
        }
    }

    /// As the one who is dialed: our answer is made. It is not followed by another permit: the existing node takes one
    /// relayed offer a connection.
    pub(super) fn answer_through(&mut self, relay: PeerId, offerer: PublicKey, response: &Response) {
        let sealed = seal(&self.config.secret, &offerer, to_json(response).as_bytes());
        let Some(ready) = self.ready(relay) else { return };
        if ready.signals.listening == Listening::Offered(offerer) {
            ready.signals.listening = Listening::Answered;
            let message = Exchange::Answer(sealed.map(Bytes::from));
            self.send(relay, Channel::SignalingExchange, message.encode());
        }
    }

    /// As the relay: finds somebody for everybody who looks for somebody. That the two may be connected already is not
    /// looked at, and one who has just refused another is offered the same again: the existing node's bugs.
    fn introduce(&mut self) {
        let known: Vec<_> = self
            .all_ready()
            .map(|(peer, ready)| (peer, ready.signals.introducing, ready.signals.offering, ready.signals.target()))
            .collect();
        let mut taken: Vec<_> = known.iter().filter_map(|(.., target)| *target).collect();
        for (dialer, introducing, ..) in &known {
            if *introducing != Introducing::DiscoveryRequested {
                continue;
            }
            let found = known.iter().find(|(target, _, offering, theirs)| {
                *offering == Offering::Requested
                    && target != dialer
                    && !taken.contains(target)
                    && *theirs != Some(*dialer)
            });
            let Some((target, ..)) = found else { continue };
            let Ok(key) = target.public_key() else { continue };
            taken.push(*target);
            if let Some(ready) = self.ready(*dialer) {
                ready.signals.introducing = Introducing::Discovered(*target);
            }
            self.say(*dialer, Discovery::Discovered { target: key });
        }
    }

    /// What is due in each tick.
    pub(super) fn signaling_tick(&mut self) {
        let discovery = self.config.discovery;
        let now = Instant::now();
        let mut due = Vec::new();
        for (peer, ready) in self.all_ready() {
            let signals = &mut ready.signals;
            if let Introducing::Rejected(since) | Introducing::Answered(since) = signals.introducing
                && now - since >= DISCOVERY_INTERVAL
            {
                signals.introducing = Introducing::Requested;
                due.push((peer, Discovery::GetNext));
            }
            if discovery && signals.dialing == Dialing::Requested {
                signals.dialing = Dialing::DiscoveryRequested;
                due.push((peer, Discovery::Discover));
            }
        }
        for (peer, message) in due {
            self.say(peer, message);
        }
    }
}
