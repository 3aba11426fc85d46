//! How fast a peer's requests are taken up.

use std::time::Duration;

use crate::Time;

/// A token bucket, kept as one moment: when it would be full again (the generic cell rate algorithm).
#[derive(Debug)]
pub(crate) struct Rate {
    per_cost: Duration,
    burst: Duration,
    full_at: Time,
}

impl Rate {
    /// A full bucket; `per_second` and `burst` are sums of costs.
    pub(crate) fn new(per_second: u32, burst: u32, now: Time) -> Rate {
        let per_cost = Duration::from_secs(1) / per_second.max(1);
        Rate { per_cost, burst: per_cost.saturating_mul(burst), full_at: now }
    }

    /// Takes so much. If it is not there, says when it will be.
    ///
    /// A cost above the burst is taken from a full bucket, as it could never be otherwise.
    pub(crate) fn take(&mut self, now: Time, cost: u32) -> Result<(), Time> {
        let cost = self.per_cost.saturating_mul(cost).min(self.burst);
        let full_at = self.full_at.max(now) + cost;
        if full_at.saturating_since(now) > self.burst {
            return Err(Time(full_at.0.saturating_sub(self.burst)));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut rate = Rate::new(200, 400, Time::ZERO);
        let start = Time(Duration::from_secs(7));
        for _ in 0..40 {
            assert_eq!(rate.take(start, 10), Ok(()));
        }
        let next = start + Duration::from_millis(50);
        assert_eq!(rate.take(start, 10), Err(next));
        assert_eq!(rate.take(next, 10), Ok(()));
        assert!(rate.take(next, 1).is_err());
        let mut later = next + Duration::from_secs(60);
        for _ in 0..40 {
            assert_eq!(rate.take(later, 10), Ok(()));
        }
        for _ in 0..20 {
            later = rate.take(later, 10).unwrap_err();
            assert_eq!(rate.take(later, 10), Ok(()));
        }
        assert_eq!(later.saturating_since(next), Duration::from_secs(61));
    }

    #[test]
    fn a_cost_above_the_burst_waits_for_a_full_bucket() {
        let mut rate = Rate::new(10, 10, Time::ZERO);
        assert_eq!(rate.take(Time::ZERO, 1000), Ok(()));
        let full = rate.take(Time::ZERO, 1000).unwrap_err();
        assert_eq!(full, Time(Duration::from_secs(1)));
        assert_eq!(rate.take(full, 1000), Ok(()));
    }
}
