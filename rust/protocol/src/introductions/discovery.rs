//! Channel 1: between a relay and the one who will dial. The tables of states are in the [module above](super).

use bytes::Bytes;
use mina_p2p_wire::message::SignalingDiscoveryMessage as Message;
use mina_p2p_wire::{Channel, PublicKey, Role, StreamId};

use super::{
    ASK_AGAIN_AFTER, INTRODUCTION_TIMEOUT, INTRODUCTIONS_APART, Introduction, IntroductionError, OWN_SIGNAL_TIMEOUT,
    check_len,
};
use crate::Time;
use crate::lane::{Allowed, CONTROL_LEN_MAX, Terms};
use crate::output::{Event, Outbox};
use crate::violation::Rule;

const CHANNEL: Channel = Channel::SignalingDiscovery;

/// `Discovered`: its tag and a key.
const DISCOVERED_LEN: u32 = 1 + 32;

/// Our half as the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relay {
    /// Not before a moment.
    Idle(Time),
    Asked,
    Wants,
    /// Until a moment.
    Introduced(Time),
    /// Until a moment.
    Offered(Time),
    GivenUp,
}

/// Our half as the dialer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialer {
    Waiting,
    /// Whether our user wants to be introduced.
    Asked {
        wants: bool,
    },
    Discovering,
    /// Until a moment.
    Discovered(Time),
    /// Until a moment.
    Accepted(Time),
    Late,
}

/// Both halves of the channel.
#[derive(Debug)]
pub(crate) struct Discovery {
    terms: Terms,
    /// Whether the peer is to be asked: always where that costs no stream, else when it was ordered.
    asks: bool,
    asks_always: bool,
    relay: Relay,
    dialer: Dialer,
    /// No `Discover` of ours before this.
    discover_at: Time,
}

impl Discovery {
    pub(crate) fn new(terms: Terms, introduce: bool, now: Time) -> Discovery {
        let asks_always = introduce && !terms.per_role();
        Discovery {
            terms,
            asks: asks_always,
            asks_always,
            relay: Relay::Idle(now),
            dialer: Dialer::Waiting,
            discover_at: now,
        }
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let relay = match self.relay {
            Relay::Asked => Ok(CONTROL_LEN_MAX),
            Relay::Introduced(_) | Relay::GivenUp => Ok(CHANNEL.max_frame_len()),
            Relay::Idle(_) | Relay::Wants | Relay::Offered(_) => Err(self.relay_rule()),
        };
        let dialer = match self.dialer {
            Dialer::Waiting => Ok(CONTROL_LEN_MAX),
            Dialer::Discovering => Ok(DISCOVERED_LEN),
            Dialer::Accepted(_) | Dialer::Late => Ok(CHANNEL.max_frame_len()),
            Dialer::Asked { .. } | Dialer::Discovered(_) => Err(self.dialer_rule()),
        };
        self.terms.allowed(stream, relay, dialer)
    }

    fn relay_rule(&self) -> Rule {
        Rule::IntroductionOutOfTurn {
            state: match self.relay {
                Relay::Idle(_) => "it was not asked",
                Relay::Asked => "it was asked whether it wants to be introduced",
                Relay::Wants => "it is to be introduced",
                Relay::Introduced(_) | Relay::GivenUp => "it was introduced",
                Relay::Offered(_) => "its offer is to be answered",
            },
        }
    }

    fn dialer_rule(&self) -> Rule {
        Rule::IntroductionOutOfTurn {
            state: match self.dialer {
                Dialer::Waiting => "it has not asked us",
                Dialer::Asked { .. } => "it has asked us",
                Dialer::Discovering => "we want to be introduced",
                Dialer::Discovered(_) => "it has introduced us",
                Dialer::Accepted(_) | Dialer::Late => "our offer is to be answered",
            },
        }
    }

    pub(crate) fn handle(&mut self, now: Time, stream: StreamId, body: Bytes, out: &mut Outbox) -> Result<(), Rule> {
        let message = self.terms.read(body, Message::decode)?;
        let role = match message {
            Message::Discover | Message::DiscoveredReject | Message::DiscoveredAccept(_) => Role::Puller,
            Message::GetNext | Message::Discovered { .. } | Message::Answer(_) => Role::Server,
        };
        self.terms.check_role(stream, role)?;
        match message {
            Message::Discover if self.relay == Relay::Asked => {
                self.relay = Relay::Wants;
                tell(out, Introduction::Wants);
            }
            Message::DiscoveredReject => match self.relay {
                Relay::Introduced(_) => {
                    self.relay_ended(now);
                    tell(out, Introduction::Rejected);
                }
                Relay::GivenUp => self.relay_ended(now),
                _ => return Err(self.relay_rule()),
            },
            Message::DiscoveredAccept(sealed) => match self.relay {
                Relay::Introduced(_) => {
                    self.relay = Relay::Offered(now + INTRODUCTION_TIMEOUT);
                    tell(out, Introduction::Offer { sealed });
                }
                Relay::GivenUp => self.say_none(now, out),
                _ => return Err(self.relay_rule()),
            },
            Message::GetNext => match self.dialer {
                Dialer::Waiting => {
                    self.dialer = Dialer::Asked { wants: false };
                    tell(out, Introduction::Asked);
                }
                Dialer::Asked { .. } => return Err(Rule::PermitRepeated),
                _ => return Err(self.dialer_rule()),
            },
            Message::Discovered { target } if self.dialer == Dialer::Discovering => {
                self.dialer = Dialer::Discovered(now + OWN_SIGNAL_TIMEOUT);
                tell(out, Introduction::Discovered { target });
            }
            Message::Answer(sealed) => match self.dialer {
                Dialer::Accepted(_) => {
                    self.dialer = Dialer::Waiting;
                    tell(out, Introduction::Answer { sealed });
                }
                Dialer::Late => self.dialer = Dialer::Waiting,
                _ => return Err(self.dialer_rule()),
            },
            Message::Discover => return Err(self.relay_rule()),
            Message::Discovered { .. } => return Err(self.dialer_rule()),
        }
        Ok(())
    }

    pub(crate) fn ask(&mut self) {
        self.asks = true;
    }

    pub(crate) fn introduce(
        &mut self,
        now: Time,
        target: PublicKey,
        out: &mut Outbox,
    ) -> Result<(), IntroductionError> {
        if self.relay != Relay::Wants {
            return Err(IntroductionError::OutOfTurn);
        }
        self.relay = Relay::Introduced(now + INTRODUCTION_TIMEOUT);
        self.send(Role::Puller, &Message::Discovered { target }, out)
    }

    pub(crate) fn answer(
        &mut self,
        now: Time,
        sealed: Option<Bytes>,
        out: &mut Outbox,
    ) -> Result<(), IntroductionError> {
        if !matches!(self.relay, Relay::Offered(_)) {
            return Err(IntroductionError::OutOfTurn);
        }
        self.send(Role::Puller, &Message::Answer(sealed), out)?;
        self.relay_ended(now);
        Ok(())
    }

    /// It goes out with the next permits, when it is time.
    pub(crate) fn discover(&mut self) -> Result<(), IntroductionError> {
        match &mut self.dialer {
            Dialer::Asked { wants } => *wants = true,
            _ => return Err(IntroductionError::OutOfTurn),
        }
        Ok(())
    }

    pub(crate) fn accept(&mut self, now: Time, sealed: Bytes, out: &mut Outbox) -> Result<(), IntroductionError> {
        if !matches!(self.dialer, Dialer::Discovered(_)) {
            return Err(IntroductionError::OutOfTurn);
        }
        self.send(Role::Server, &Message::DiscoveredAccept(sealed), out)?;
        self.dialer = Dialer::Accepted(now + INTRODUCTION_TIMEOUT);
        Ok(())
    }

    pub(crate) fn reject(&mut self, out: &mut Outbox) -> Result<(), IntroductionError> {
        if !matches!(self.dialer, Dialer::Discovered(_)) {
            return Err(IntroductionError::OutOfTurn);
        }
        self.dialer = Dialer::Waiting;
        self.send(Role::Server, &Message::DiscoveredReject, out)
    }

    /// Asks, and says that we want to be introduced, if it is time.
    pub(crate) fn permit(&mut self, now: Time, out: &mut Outbox) {
        if let Relay::Idle(at) = self.relay
            && self.asks
            && at <= now
        {
            self.relay = Relay::Asked;
            self.asks = self.asks_always;
            out.transmit(self.terms.stream(CHANNEL, Role::Puller, 0), Message::GetNext.encode(), false);
        }
        if self.dialer == (Dialer::Asked { wants: true }) && self.discover_at <= now {
            self.dialer = Dialer::Discovering;
            self.discover_at = now + INTRODUCTIONS_APART;
            out.transmit(self.terms.stream(CHANNEL, Role::Server, 0), Message::Discover.encode(), false);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, out: &mut Outbox) {
        match self.relay {
            Relay::Introduced(until) if until <= now => {
                self.relay = Relay::GivenUp;
                tell(out, Introduction::GivenUp);
            }
            Relay::Offered(until) if until <= now => {
                self.say_none(now, out);
                tell(out, Introduction::GivenUp);
            }
            _ => {}
        }
        match self.dialer {
            Dialer::Discovered(until) if until <= now => {
                // It can not be refused in this state.
                let _ = self.reject(out);
            }
            Dialer::Accepted(until) if until <= now => {
                self.dialer = Dialer::Late;
                tell(out, Introduction::Unanswered);
            }
            _ => {}
        }
    }

    /// `writable`: whether [`Discovery::permit`] would be called at that time.
    pub(crate) fn next_timeout(&self, writable: bool) -> Option<Time> {
        let relay = match self.relay {
            Relay::Idle(at) if self.asks && writable => Some(at),
            Relay::Introduced(until) | Relay::Offered(until) => Some(until),
            _ => None,
        };
        let dialer = match self.dialer {
            Dialer::Asked { wants: true } if writable => Some(self.discover_at),
            Dialer::Discovered(until) | Dialer::Accepted(until) => Some(until),
            _ => None,
        };
        relay.into_iter().chain(dialer).min()
    }

    fn relay_ended(&mut self, now: Time) {
        self.relay = Relay::Idle(now + ASK_AGAIN_AFTER);
    }

    fn say_none(&mut self, now: Time, out: &mut Outbox) {
        out.transmit(self.terms.stream(CHANNEL, Role::Puller, 0), Message::Answer(None).encode(), false);
        self.relay_ended(now);
    }

    fn send(&self, role: Role, message: &Message, out: &mut Outbox) -> Result<(), IntroductionError> {
        let frame = message.encode();
        check_len(&frame, CHANNEL)?;
        out.transmit(self.terms.stream(CHANNEL, role, 0), frame, false);
        Ok(())
    }
}

fn tell(out: &mut Outbox, what: Introduction) {
    out.event(Event::Introduction(what));
}
