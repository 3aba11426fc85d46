//! How much is handed to SCTP ahead of its acknowledgements.
//!
//! SCTP sends what it was given in order. What is still here can be overtaken by a permit; what was handed over cannot. So
//! it gets what keeps it busy, two bandwidth-delay products, and no more.

use std::time::Duration;

use tokio::time::Instant;

use super::limits::{LEAST_RTT, MAX_IN_SCTP, MAX_MESSAGE, MIN_IN_SCTP};

/// The rate is measured over at least this long.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// More at once only makes small messages wait.
const MAX_BURST: usize = 8 * MAX_MESSAGE;
/// Round trips of which the shortest counts: the others waited in queues.
const SAMPLES: usize = 8;

pub(super) struct Pace {
    written: u64,
    target: usize,
    since: Instant,
    acknowledged: u64,
    rtts: [Duration; SAMPLES],
    next: usize,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { written: 0, target: MIN_IN_SCTP, since: now, acknowledged: 0, rtts: [Duration::MAX; SAMPLES], next: 0 }
    }

    /// A round trip took this long.
    pub(super) fn measured(&mut self, rtt: Duration) {
        if let Some(place) = self.rtts.get_mut(self.next) {
            *place = rtt;
        }
        self.next = (self.next + 1) % SAMPLES;
    }

    /// So many bytes were handed to SCTP.
    pub(super) fn wrote(&mut self, len: usize) {
        self.written += len as u64;
    }

    /// How much bulk is worth handing over: half of all that may be there, so that the other half keeps the path busy meanwhile.
    pub(super) fn burst(&self) -> usize {
        (self.target / 2).min(MAX_BURST)
    }

    /// How many more it may be given, while it holds `buffered`.
    pub(super) fn room(&mut self, now: Instant, buffered: usize) -> usize {
        let shortest = self.rtts.iter().min().copied().filter(|rtt| *rtt != Duration::MAX);
        let rtt = shortest.unwrap_or_default().max(LEAST_RTT);
        let acknowledged = self.written.saturating_sub(buffered as u64);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= rtt.max(LEAST_INTERVAL) {
            let bytes = (acknowledged - self.acknowledged.min(acknowledged)) as f64;
            let product = bytes * rtt.as_secs_f64() / elapsed.as_secs_f64();
            self.target = ((2.0 * product) as usize).clamp(MIN_IN_SCTP, MAX_IN_SCTP);
            self.since = now;
            self.acknowledged = acknowledged;
        }
        self.target.saturating_sub(buffered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_room_grows_with_the_product_of_rate_and_round_trip() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.measured(Duration::from_millis(50));
        // A path that acknowledges all within a round trip.
        let mut rooms = Vec::new();
        for _ in 0..6 {
            let room = pace.room(now, 0);
            rooms.push(room);
            pace.wrote(room);
            now += Duration::from_millis(50);
        }
        assert_eq!(rooms, [64, 128, 256, 512, 1024, 1024].map(|kib| kib * 1024));
        // And shrinks when less gets through: 100 KiB in 50 ms.
        pace.wrote(100 * 1024);
        pace.room(now, 0);
        pace.wrote(100 * 1024);
        now += Duration::from_millis(50);
        assert_eq!(pace.room(now, 0), 200 * 1024);
        assert_eq!(pace.burst(), 100 * 1024);
        assert_eq!(pace.room(now, 150 * 1024), 50 * 1024);
    }
}
