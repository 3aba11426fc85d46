//! What a session did and holds, for metrics.

use super::Session;
use crate::figures::{Figures, PermitsOut};

impl Session {
    /// Counts of what was done.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            last_tip: self.best_tip.received.map(|tip| tip.key),
            last_tip_sent: self.best_tip.sent,
            permits_out: PermitsOut {
                best_tip: self.best_tip.permit_out(),
                block: self.compact.permit_out(),
                transactions: self.transactions.permitted(),
                works: self.works.permitted(),
                commitments: self.commitments.permitted(),
            },
            requests_in_flight: self.asking.in_flight() + self.ledger_asker.in_flight(),
            requests_waiting: self.asking.waiting_len() + self.ledger_asker.waiting_len(),
            requests_served: self.answering.served() + self.ledger_answerer.served(),
            channels: self.out.traffic.by_channel(),
        }
    }

    /// The bytes that the session holds: outputs that are not drained, requests that wait, staged ledgers in parts.
    /// Never above [`SessionLimits::memory_bound`](crate::SessionLimits::memory_bound) if outputs are drained after every input.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.out.bytes()
            + self.asking.buffered_bytes()
            + self.ledger_asker.buffered_bytes()
            + self.answering.buffered_bytes()
            + self.ledger_answerer.buffered_bytes()
            + self.exchange.buffered_bytes()
    }
}
