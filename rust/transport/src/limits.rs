//! The limits of a connection, each with its arithmetic. `docs/LIMITS.md` sums them up.

use std::time::Duration;

/// 1 KiB.
const KIB: u32 = 1024;
/// 1 MiB.
const MIB: u32 = 1024 * KIB;

/// From a handshake's first packet to the checked `Hello`, at either side.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(5);

/// From a frame head's first byte to its last: four bytes in one packet, which a lossy path repeats a few times.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// From a stream's opening to its channel id; as [`HEAD_TIMEOUT`].
pub const CHANNEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long [`open`](crate::Connection::open) waits for the peer to allow one more stream.
///
/// A session keeps within [`MAX_PEER_STREAMS`], so it waits only for the close of a stream it has finished: a round
/// trip and the peer's answer.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The least average rate, in bytes a second, of a frame being read or written.
///
/// At 64 KiB/s a whole block of 3 MB takes 48 s, a quarter of a slot. Slower peers hold memory that others could use.
pub const MIN_RATE: u32 = 64 * KIB;

/// What the average of a frame being read may lag behind [`MIN_RATE`]: the time for a lost packet to be noticed and
/// repeated a few times on a slow path.
pub const READ_GRACE: Duration = Duration::from_secs(2);

/// What the average of a frame being written may lag behind [`MIN_RATE`].
///
/// Longer than [`READ_GRACE`], because an honest peer does not read while the frame waits for its budget: a full pool of
/// 256 MiB is through in 26 s at 10 MiB/s.
pub const WRITE_GRACE: Duration = Duration::from_secs(30);

/// Without a packet from the peer for so long, the connection is lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// An idle connection is kept alive by one packet per interval: three may be lost before [`IDLE_TIMEOUT`].
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);

/// Streams that a peer may have open at once: 1 for `Hello`, 7 channels (1 to 6 and 17), 10 requests (5 that are served, and as
/// many that it has reset while the resets are on their way) and 1 more that gets its named refusal, 5 staged ledgers in
/// parts likewise, and 1 that is finished but whose last packets are not acknowledged yet.
pub const MAX_PEER_STREAMS: u32 = 1 + 7 + 10 + 1 + 5 + 1;

/// Credit of a connection whose peer has not been authenticated: a `Hello` and the small first messages behind it. All
/// pending handshakes together: 256 x 64 KiB = 16 MiB.
pub const PENDING_RECEIVE_WINDOW: u32 = 64 * KIB;

/// Credit of a connection on which no large frame is read.
pub const RECEIVE_WINDOW: u32 = 2 * MIB;

/// Credit of a connection on which a large frame is read or any over [`CONTROL_FRAME`] waits for its budget.
pub const LARGE_RECEIVE_WINDOW: u32 = 8 * MIB;

/// Credit of one stream: 100 Mbit/s over a round trip of 84 ms.
///
/// It is also what a frame may have sent ahead while it waits for its budget. A block, five answers and a part of a
/// staged ledger that wait at once hold 7 MiB of [`LARGE_RECEIVE_WINDOW`], which leaves 1 MiB for the small channels and
/// for the one frame that is read: waiting frames never starve the one that they wait for.
pub const STREAM_RECEIVE_WINDOW: u32 = MIB;

/// Bytes of a connection that are sent and not acknowledged, or queued in the transport.
///
/// Seven bulk streams fill at most their credit, 7 MiB (see [`STREAM_RECEIVE_WINDOW`]); the rest is always free for the
/// small channels, so that these never wait behind bulk. The bytes are slices of frames that exist anyway.
pub const SEND_WINDOW: u32 = 8 * MIB;

/// Bytes in flight before the first acknowledgement: a compact block is one flight.
pub const INITIAL_CONGESTION_WINDOW: u32 = 64 * KIB;

/// Handshakes, from the first packet until the node has accepted or refused, of all addresses: about 60 KB each, 15 MiB
/// in all, with [`PENDING_RECEIVE_WINDOW`] 31 MiB.
pub const MAX_PENDING_HANDSHAKES: usize = 256;

/// Pending handshakes from which on a new one must prove its address first (QUIC Retry).
pub const RETRY_THRESHOLD: usize = 32;

/// Pending handshakes of one IPv4 address or one IPv6 /64.
pub const MAX_PENDING_PER_ADDRESS: usize = 4;

/// Pending handshakes of one IPv4 /24 or one IPv6 /48: eight addresses with [`MAX_PENDING_PER_ADDRESS`] each, an eighth
/// of [`MAX_PENDING_HANDSHAKES`]. Whoever answers every Retry from one subnet leaves 224 places to others.
pub const MAX_PENDING_PER_SUBNET: usize = 32;

/// Addresses of one domain name that are tried, in the resolver's order.
pub const MAX_RESOLVED_ADDRESSES: usize = 4;

/// For sending the close of every connection when a transport is shut down.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Frames over this length take from the large pool of a [`FrameBudget`](crate::FrameBudget).
pub const LARGE_FRAME: u32 = MIB;

/// The bytes of a large frame that must have come before it takes its place in the queue for the large pool. Until
/// then they are of the small pool. A peer that only sends heads thus never keeps a place.
pub const LARGE_FRAME_PREFIX: u32 = 64 * KIB;

/// Large frames of all peers: eight blocks of the longest kind (32 MiB).
pub const LARGE_POOL: u32 = 256 * MIB;

/// The longest frame that may come at the [least rate](MIN_RATE) while other frames wait for the large pool. A longer one
/// must then be as quick as this one is: 3 MiB at 64 KiB/s take 48 s, so whoever reserves 32 MiB has to send 683 KiB/s.
/// Otherwise eight peers, each with a frame of 32 MiB at the least rate, would keep everybody's blocks out for 512 s.
pub const CROWDED_FRAME: u32 = 3 * MIB;

/// Frames up to this length take from [`CONTROL_POOL`]: permits, requests, pool items, all but bodies and arguments.
pub const CONTROL_FRAME: u32 = KIB;

/// Frames up to [`CONTROL_FRAME`] of all peers. Never short, so that what fills the other pools holds none of them up:
/// 100 peers x 24 streams x 1 KiB = 2.4 MiB, and as much again in 12,000 events that wait.
pub const CONTROL_POOL: u32 = 16 * MIB;

/// Smaller frames of all peers.
pub const SMALL_POOL: u32 = 64 * MIB;

/// What may be configured of the above. Tests use short times and small windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// [`AUTHENTICATION_TIMEOUT`].
    pub authentication_timeout: Duration,
    /// [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// [`CHANNEL_TIMEOUT`].
    pub channel_timeout: Duration,
    /// [`OPEN_TIMEOUT`].
    pub open_timeout: Duration,
    /// [`MIN_RATE`], bytes a second; at least 1 is used.
    pub min_rate: u32,
    /// [`READ_GRACE`].
    pub read_grace: Duration,
    /// [`WRITE_GRACE`].
    pub write_grace: Duration,
    /// [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// [`KEEP_ALIVE_INTERVAL`].
    pub keep_alive_interval: Duration,
    /// [`MAX_PENDING_HANDSHAKES`].
    pub max_pending_handshakes: usize,
    /// [`RETRY_THRESHOLD`].
    pub retry_threshold: usize,
    /// [`MAX_PENDING_PER_ADDRESS`].
    pub max_pending_per_address: usize,
    /// [`MAX_PENDING_PER_SUBNET`].
    pub max_pending_per_subnet: usize,
    /// Whether loopback addresses are exempt from [`max_pending_per_address`](Self::max_pending_per_address) and
    /// [`max_pending_per_subnet`](Self::max_pending_per_subnet): they are by default, because whoever is on this machine
    /// is its owner.
    pub exempt_loopback: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            authentication_timeout: AUTHENTICATION_TIMEOUT,
            head_timeout: HEAD_TIMEOUT,
            channel_timeout: CHANNEL_TIMEOUT,
            open_timeout: OPEN_TIMEOUT,
            min_rate: MIN_RATE,
            read_grace: READ_GRACE,
            write_grace: WRITE_GRACE,
            idle_timeout: IDLE_TIMEOUT,
            keep_alive_interval: KEEP_ALIVE_INTERVAL,
            max_pending_handshakes: MAX_PENDING_HANDSHAKES,
            retry_threshold: RETRY_THRESHOLD,
            max_pending_per_address: MAX_PENDING_PER_ADDRESS,
            max_pending_per_subnet: MAX_PENDING_PER_SUBNET,
            exempt_loopback: true,
        }
    }
}

/// When `bytes` of a frame must have moved, counted from the start of the transfer.
pub(crate) fn allowance(grace: Duration, bytes: u64, min_rate: u32) -> Duration {
    let rate = u64::from(min_rate.max(1));
    grace + Duration::from_millis(bytes.saturating_mul(1000) / rate)
}

/// The least rate of a frame of `len` bytes while others wait for what it has reserved; see [`CROWDED_FRAME`].
pub(crate) fn crowded_rate(len: u32, min_rate: u32) -> u32 {
    let rate = u64::from(min_rate.max(1)) * u64::from(len.max(CROWDED_FRAME)) / u64::from(CROWDED_FRAME);
    u32::try_from(rate).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_must_come_as_quickly_as_a_block_at_the_least_rate() {
        assert_eq!(crowded_rate(MIB, MIN_RATE), MIN_RATE);
        assert_eq!(crowded_rate(CROWDED_FRAME, MIN_RATE), MIN_RATE);
        assert_eq!(crowded_rate(30 * MIB, MIN_RATE), 10 * MIN_RATE);
        assert_eq!(crowded_rate(u32::MAX, u32::MAX), u32::MAX);
        let whole = allowance(Duration::ZERO, u64::from(32 * MIB), crowded_rate(32 * MIB, MIN_RATE));
        assert_eq!(whole.as_secs(), 48);
    }
}
