//! What became of offers and attempts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::http::HttpCounters;
use crate::{CloseReason, ConnectError};

/// Of a WebRTC endpoint, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Offers by HTTP that were answered.
    pub offers_answered: u64,
    /// Offers by HTTP that were rejected by name.
    pub offers_rejected: u64,
    /// HTTP requests that are no offers, too long or too slow.
    pub offers_malformed: u64,
    /// HTTP requests above the limits on rates and connections.
    pub offers_above_limits: u64,
    /// Offers whose session description could not be used.
    pub offers_unusable: u64,
    /// Attempts whose peer did not prove who it is.
    pub authentications_failed: u64,
    /// Attempts that ran out of time.
    pub timeouts: u64,
    /// Attempts that failed otherwise.
    pub failures: u64,
    /// Answered dialers that have not been accepted or refused yet.
    pub pending: usize,
}

#[derive(Default)]
pub(super) struct Counters {
    unusable: AtomicU64,
    unproved: AtomicU64,
    timeouts: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    pub(super) fn unusable_offer(&self) {
        self.unusable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: &ConnectError) {
        let counter = match error {
            ConnectError::Refused(CloseReason::AuthenticationFailed(_)) => &self.unproved,
            ConnectError::TimedOut(_) => &self.timeouts,
            _ => &self.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn figures(&self, http: &HttpCounters, pending: usize) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let http = http.figures();
        Figures {
            offers_answered: http.answered,
            offers_rejected: http.rejected,
            offers_malformed: http.malformed + http.too_long + http.timeouts,
            offers_above_limits: http.rate_limited + http.busy,
            offers_unusable: read(&self.unusable),
            authentications_failed: read(&self.unproved),
            timeouts: read(&self.timeouts),
            failures: read(&self.failures),
            pending,
        }
    }
}
