//! Signaling by HTTP: a server that takes offers and a client that posts them, as the existing node has them
//! (docs/SPEC.md, "Signaling by HTTP").
//!
//! Whoever can reach the server's port can send to it, so all that a stranger can make us hold or do is bounded here, and
//! logged at the debug level only.

mod admission;
mod client;
mod server;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use client::SignalingFailure;
pub(crate) use client::{HttpsRoots, SIGNALING_TIMEOUT, post_offer};
pub(crate) use server::{OfferHandler, serve};

/// Where offers are posted; a GET has the offer itself in base58 behind it.
const SIGNAL_PATH: &str = "/mina/webrtc/signal";

/// 1 KiB.
const KIB: usize = 1024;

/// The longest head of a request or of a response, its first line included: a path of 8 KiB
/// ([`MAX_OFFER_PATH_LEN`](mina_p2p_wire::signaling::MAX_OFFER_PATH_LEN)) and as much for headers, of which browsers and
/// proxies send 1 to 4 KiB.
const MAX_HEAD_LEN: usize = 16 * KIB;

/// Headers of a request or of a response; browsers and proxies send about 20.
const MAX_HEADERS: usize = 64;

/// What hyper buffers of a connection in each direction: a head and a part of the body behind it.
const MAX_BUFFER_LEN: usize = 2 * MAX_HEAD_LEN;

/// Connections to the server at once: 128 x (2 x 32 KiB of buffers + 16 KiB of body) = 10 MiB at most.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// Connections at once of one IPv4 address or one IPv6 /64: a sixteenth of [`MAX_CONNECTIONS`]. A node needs one, and
/// several may be behind one address.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = 8;

/// From a connection's acceptance to the last byte of its request: 24 KiB, which a slow path carries in a second.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// From an offer's last byte to its answer. The existing node's dialer waits 15 s for the answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// For a response of at most about 17 KiB to be taken by its reader.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Offers a second of one IPv4 address or one IPv6 /64, on average. An honest node makes one offer to us in 30 s.
pub(crate) const OFFERS_PER_ADDRESS: u32 = 4;

/// Offers of one address at once, after two seconds without any.
pub(crate) const OFFER_BURST_PER_ADDRESS: u32 = 8;

/// Offers a second of all addresses, on average: at about 1 ms each for keys, certificates and SDP, a sixteenth of a core.
pub(crate) const OFFERS: u32 = 64;

/// Offers of all addresses at once: those of as many connections as there can be.
pub(crate) const OFFER_BURST: u32 = 128;

/// What may be configured of the server. Tests use short times and small numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpLimits {
    /// [`MAX_CONNECTIONS`].
    pub(crate) max_connections: usize,
    /// [`MAX_CONNECTIONS_PER_ADDRESS`].
    pub(crate) max_connections_per_address: usize,
    /// [`REQUEST_TIMEOUT`].
    pub(crate) request_timeout: Duration,
    /// [`ANSWER_TIMEOUT`].
    pub(crate) answer_timeout: Duration,
    /// [`WRITE_TIMEOUT`].
    pub(crate) write_timeout: Duration,
    /// [`OFFERS_PER_ADDRESS`]; at least 1 is used.
    pub(crate) offers_per_address: u32,
    /// [`OFFER_BURST_PER_ADDRESS`].
    pub(crate) offer_burst_per_address: u32,
    /// [`OFFERS`]; at least 1 is used.
    pub(crate) offers: u32,
    /// [`OFFER_BURST`].
    pub(crate) offer_burst: u32,
    /// Whether loopback addresses are exempt from the limits of one address, as in
    /// [`Limits::exempt_loopback`](crate::Limits::exempt_loopback). Not those that a proxy says.
    pub(crate) exempt_loopback: bool,
    /// Reverse proxies whose word counts for who is behind them: the last address of `X-Forwarded-For`, which the proxy
    /// itself wrote. From anyone else that header is ignored.
    pub(crate) trusted_proxies: Vec<IpAddr>,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: MAX_CONNECTIONS_PER_ADDRESS,
            request_timeout: REQUEST_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            offers_per_address: OFFERS_PER_ADDRESS,
            offer_burst_per_address: OFFER_BURST_PER_ADDRESS,
            offers: OFFERS,
            offer_burst: OFFER_BURST,
            exempt_loopback: true,
            trusted_proxies: Vec::new(),
        }
    }
}

/// What became of the requests to a server.
#[derive(Debug, Default)]
pub(crate) struct HttpCounters {
    answered: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    malformed: AtomicU64,
    too_long: AtomicU64,
    rate_limited: AtomicU64,
    busy: AtomicU64,
    timeouts: AtomicU64,
}

/// [`HttpCounters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HttpFigures {
    /// Offers that were accepted.
    pub(crate) answered: u64,
    /// Offers that were rejected by name.
    pub(crate) rejected: u64,
    /// Offers that could not be decrypted, or that met an internal error.
    pub(crate) failed: u64,
    /// Requests that are no offers: HTTP, path, method, content type, base58 or JSON.
    pub(crate) malformed: u64,
    /// Heads, paths and bodies over their limits.
    pub(crate) too_long: u64,
    /// Offers over the rate of one address or of all.
    pub(crate) rate_limited: u64,
    /// Connections over the number of one address or of all.
    pub(crate) busy: u64,
    /// Requests that did not come, answers that were not made or not taken, in time.
    pub(crate) timeouts: u64,
}

/// One of the [`HttpFigures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Rejected,
    Failed,
    Malformed,
    TooLong,
    RateLimited,
    Busy,
    Timeout,
}

impl HttpCounters {
    fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Answered => &self.answered,
            Outcome::Rejected => &self.rejected,
            Outcome::Failed => &self.failed,
            Outcome::Malformed => &self.malformed,
            Outcome::TooLong => &self.too_long,
            Outcome::RateLimited => &self.rate_limited,
            Outcome::Busy => &self.busy,
            Outcome::Timeout => &self.timeouts,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub(crate) fn figures(&self) -> HttpFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HttpFigures {
            answered: read(&self.answered),
            rejected: read(&self.rejected),
            failed: read(&self.failed),
            malformed: read(&self.malformed),
            too_long: read(&self.too_long),
            rate_limited: read(&self.rate_limited),
            busy: read(&self.busy),
            timeouts: read(&self.timeouts),
        }
    }
}
