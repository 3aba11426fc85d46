//! Channels 1 and 2 as the session's user sees them.

use mina_p2p_wire::Channel;

use super::Session;
use crate::Time;
use crate::introductions::{IntroductionError, IntroductionOrder};
use crate::output::TimeoutReason;

impl Session {
    /// Whether channels 1 and 2 are spoken on this connection.
    #[must_use]
    pub fn speaks_introductions(&self) -> bool {
        self.introductions
    }

    /// Does a step of an introduction.
    ///
    /// # Errors
    /// [`IntroductionError`]: nothing was done.
    pub fn introduction(&mut self, now: Time, order: IntroductionOrder) -> Result<(), IntroductionError> {
        if self.violation.is_some() {
            return Err(IntroductionError::Ended);
        }
        if !self.introductions {
            return Err(IntroductionError::NotSpoken);
        }
        self.arrive(now);
        let out = &mut self.out;
        match order {
            IntroductionOrder::AskForDialers => {
                self.discovery.ask();
                Ok(())
            }
            IntroductionOrder::Introduce { target } => self.discovery.introduce(now, target, out),
            IntroductionOrder::AnswerDialer { sealed } => self.discovery.answer(now, sealed, out),
            IntroductionOrder::Discover => self.discovery.discover(),
            IntroductionOrder::Accept { sealed } => self.discovery.accept(now, sealed, out),
            IntroductionOrder::Reject => self.discovery.reject(out),
            IntroductionOrder::HandOver { offerer, sealed } => self.exchange.hand_over(now, offerer, sealed),
            IntroductionOrder::AnswerOffer { sealed } => self.exchange.answer(sealed, out),
        }
    }

    pub(super) fn next_introduction(&self) -> Option<(Time, TimeoutReason)> {
        if !self.introductions {
            return None;
        }
        let discovery = self.discovery.next_timeout(self.writable(Channel::SignalingDiscovery));
        let exchange = self.exchange.next_timeout(self.writable(Channel::SignalingExchange));
        discovery.into_iter().chain(exchange).min().map(|at| (at, TimeoutReason::Introduction))
    }
}
