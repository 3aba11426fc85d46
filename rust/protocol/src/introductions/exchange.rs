//! Channel 2: between a relay and the one who is dialed. The tables of states are in the [module above](super).

use bytes::Bytes;
use mina_p2p_wire::message::SignalingExchangeMessage as Message;
use mina_p2p_wire::{Channel, Frame, PublicKey, Role, StreamId};

use super::{
    INTRODUCTION_TIMEOUT, INTRODUCTIONS_APART, Introduction, IntroductionError, OWN_SIGNAL_TIMEOUT, check_len,
};
use crate::Time;
use crate::config::OUTPUT_OVERHEAD;
use crate::lane::{Allowed, CONTROL_LEN_MAX, Terms};
use crate::output::{Event, Outbox};
use crate::violation::Rule;

const CHANNEL: Channel = Channel::SignalingExchange;

/// Our half as the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Free,
    Permitted,
    /// Until a moment.
    Offered(Time),
    /// Answered with nothing for want of our user's answer, which is waited for until a moment: it is not to be taken for the
    /// answer to the next offer.
    Expired(Time),
}

/// Our half as the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Relay {
    Waiting,
    Ready,
    /// Until a moment; with the offer, while the peer does not read.
    Offered(Time, Option<Frame>),
    Late,
}

/// Both halves of the channel.
#[derive(Debug)]
pub(crate) struct Exchange {
    terms: Terms,
    takes_offers: bool,
    target: Target,
    /// No permit of ours before this.
    permit_at: Time,
    relay: Relay,
}

impl Exchange {
    pub(crate) fn new(terms: Terms, takes_offers: bool, now: Time) -> Exchange {
        Exchange { terms, takes_offers, target: Target::Free, permit_at: now, relay: Relay::Waiting }
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let target = match self.target {
            Target::Permitted => Ok(CHANNEL.max_frame_len()),
            Target::Free | Target::Offered(_) | Target::Expired(_) => Err(self.target_rule()),
        };
        let relay = match self.relay {
            Relay::Waiting => Ok(CONTROL_LEN_MAX),
            Relay::Offered(_, None) | Relay::Late => Ok(CHANNEL.max_frame_len()),
            Relay::Ready | Relay::Offered(_, Some(_)) => Err(self.relay_rule()),
        };
        self.terms.allowed(stream, target, relay)
    }

    fn target_rule(&self) -> Rule {
        Rule::IntroductionOutOfTurn {
            state: match self.target {
                Target::Free | Target::Expired(_) => "we take no offer",
                Target::Permitted => "we take an offer",
                Target::Offered(_) => "its offer is to be answered",
            },
        }
    }

    fn relay_rule(&self) -> Rule {
        Rule::IntroductionOutOfTurn {
            state: match self.relay {
                Relay::Waiting => "it takes no offer",
                Relay::Ready | Relay::Offered(_, Some(_)) => "it takes an offer",
                Relay::Offered(_, None) | Relay::Late => "our offer is to be answered",
            },
        }
    }

    pub(crate) fn handle(&mut self, now: Time, stream: StreamId, body: Bytes, out: &mut Outbox) -> Result<(), Rule> {
        match self.terms.read(body, Message::decode)? {
            Message::OfferToYou { offerer, offer } => {
                self.terms.check_role(stream, Role::Puller)?;
                if self.target != Target::Permitted {
                    return Err(self.target_rule());
                }
                self.target = Target::Offered(now + OWN_SIGNAL_TIMEOUT);
                tell(out, Introduction::OfferToYou { offerer, sealed: offer });
            }
            Message::GetNext => {
                self.terms.check_role(stream, Role::Server)?;
                match self.relay {
                    Relay::Waiting => {
                        self.relay = Relay::Ready;
                        tell(out, Introduction::Ready);
                    }
                    Relay::Ready | Relay::Offered(_, Some(_)) => return Err(Rule::PermitRepeated),
                    Relay::Offered(_, None) | Relay::Late => return Err(self.relay_rule()),
                }
            }
            Message::Answer(sealed) => {
                self.terms.check_role(stream, Role::Server)?;
                match self.relay {
                    Relay::Offered(_, None) => {
                        self.relay = Relay::Waiting;
                        tell(out, Introduction::TargetAnswer { sealed });
                    }
                    Relay::Late => self.relay = Relay::Waiting,
                    Relay::Waiting | Relay::Ready | Relay::Offered(_, Some(_)) => return Err(self.relay_rule()),
                }
            }
        }
        Ok(())
    }

    /// It goes out when the peer reads.
    pub(crate) fn hand_over(&mut self, now: Time, offerer: PublicKey, sealed: Bytes) -> Result<(), IntroductionError> {
        if self.relay != Relay::Ready {
            return Err(IntroductionError::OutOfTurn);
        }
        let frame = Message::OfferToYou { offerer, offer: sealed }.encode();
        check_len(&frame, CHANNEL)?;
        self.relay = Relay::Offered(now + INTRODUCTION_TIMEOUT, Some(frame));
        Ok(())
    }

    pub(crate) fn answer(&mut self, sealed: Option<Bytes>, out: &mut Outbox) -> Result<(), IntroductionError> {
        match self.target {
            Target::Offered(_) => {}
            Target::Expired(_) => {
                self.target = Target::Free;
                return Err(IntroductionError::OutOfTurn);
            }
            Target::Free | Target::Permitted => return Err(IntroductionError::OutOfTurn),
        }
        let frame = Message::Answer(sealed).encode();
        check_len(&frame, CHANNEL)?;
        self.target = Target::Free;
        out.transmit(self.terms.stream(CHANNEL, Role::Puller, 0), frame, false);
        Ok(())
    }

    /// Permits the next offer if it is time, and sends the one that waits.
    pub(crate) fn permit(&mut self, now: Time, out: &mut Outbox) {
        if self.takes_offers && self.target == Target::Free && self.permit_at <= now {
            self.target = Target::Permitted;
            self.permit_at = now + INTRODUCTIONS_APART;
            out.transmit(self.terms.stream(CHANNEL, Role::Puller, 0), Message::GetNext.encode(), false);
        }
        if let Relay::Offered(_, waits) = &mut self.relay
            && let Some(frame) = waits.take()
        {
            out.transmit(self.terms.stream(CHANNEL, Role::Server, 0), frame, false);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, out: &mut Outbox) {
        match self.target {
            Target::Offered(until) if until <= now => {
                // Nothing is short enough for a frame, and this is its state.
                let _ = self.answer(None, out);
                self.target = Target::Expired(now + INTRODUCTION_TIMEOUT);
            }
            Target::Expired(until) if until <= now => self.target = Target::Free,
            _ => {}
        }
        if let Relay::Offered(until, waits) = &self.relay
            && *until <= now
        {
            // What was never sent is not answered: that permit is still good.
            self.relay = if waits.is_some() { Relay::Ready } else { Relay::Late };
            let ready = self.relay == Relay::Ready;
            tell(out, Introduction::TargetAnswer { sealed: None });
            if ready {
                tell(out, Introduction::Ready);
            }
        }
    }

    /// `writable`: whether [`Exchange::permit`] would be called at that time.
    pub(crate) fn next_timeout(&self, writable: bool) -> Option<Time> {
        let target = match self.target {
            Target::Free if self.takes_offers && writable => Some(self.permit_at),
            Target::Offered(until) | Target::Expired(until) => Some(until),
            Target::Free | Target::Permitted => None,
        };
        let relay = match self.relay {
            Relay::Offered(until, _) => Some(until),
            Relay::Waiting | Relay::Ready | Relay::Late => None,
        };
        target.into_iter().chain(relay).min()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        match &self.relay {
            Relay::Offered(_, Some(frame)) => OUTPUT_OVERHEAD + frame.len(),
            _ => 0,
        }
    }
}

fn tell(out: &mut Outbox, what: Introduction) {
    out.event(Event::Introduction(what));
}
