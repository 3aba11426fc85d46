//! Time as the callers count it.

use std::ops::Add;
use std::time::Duration;

/// A moment, as the time since a start that the caller chose. Monotonic. Not `std::time::Instant`, so that sessions run
/// in a browser and in virtual time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub Duration);

impl Time {
    /// The caller's start.
    pub const ZERO: Time = Time(Duration::ZERO);

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Duration> for Time {
    fn from(since_start: Duration) -> Time {
        Time(since_start)
    }
}

/// Saturates at the end of time, 584 billion years after the start.
impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate() {
        assert_eq!(Time(Duration::MAX) + Duration::from_secs(1), Time(Duration::MAX));
        assert_eq!(Time::ZERO.saturating_since(Time::ZERO + Duration::from_secs(1)), Duration::ZERO);
    }
}
