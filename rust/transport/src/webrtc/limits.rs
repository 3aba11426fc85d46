//! The limits of WebRTC connections, each with its arithmetic. `docs/LIMITS.md` sums them up.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The longest SCTP user message that we send, as the existing node cuts its frames.
pub const MAX_MESSAGE: usize = 16 * KIB;

/// The longest that we take, and announce in our SDP. The existing node and browsers send [`MAX_MESSAGE`] at the most.
pub const MAX_RECEIVED_MESSAGE: u32 = 64 * KIB as u32;

/// What a received message takes beside its bytes while nobody has read it: its place in the queue (32 bytes, twice that as the
/// queue grows) and its storage's head (about 32). Messages of one byte would else hold a hundred times the receive window.
pub const MESSAGE_COST: usize = 96;

/// What one stream may have queued before its writer waits: enough that the writer is rarely waited for (8 messages). The bytes
/// are slices of frames that exist anyway. 11 streams: 1.4 MiB.
pub const QUEUED_PER_STREAM: usize = 128 * KIB;

/// What a connection may have handed to SCTP and not seen acknowledged: two bandwidth-delay products within these bounds, so
/// that a permit waits little behind bulk, and SCTP, which looks at all that is on its way again and again, works little. The
/// least is many times the initial congestion window (4,380 bytes), and 60 MiB/s over a round trip of 1 ms.
pub const MIN_IN_SCTP: usize = 64 * KIB;
/// See [`MIN_IN_SCTP`]: 160 Mbit/s over a round trip of 50 ms.
pub const MAX_IN_SCTP: usize = MIB;

/// The least round trip that the above is reckoned with: what passing a message between two busy tasks takes.
pub const LEAST_RTT: Duration = Duration::from_millis(1);

/// From the answer to an offer, to the proof of who is who. The existing node sleeps one second after its streams are open.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Without a datagram for so long, the peer is gone: the other side's ICE speaks every 2 to 3 s.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(6);

/// The existing node loses what comes right after its authentication. It is spoken to when it has spoken, or after this.
pub const FIRST_WORD_DELAY: Duration = Duration::from_millis(200);

/// The first repetition of an unanswered connectivity check. RFC 8445 says 500 ms, for networks slower than today's.
pub const INITIAL_CHECK_TIMEOUT: Duration = Duration::from_millis(50);

/// Candidates of ours in an SDP.
pub const MAX_LOCAL_CANDIDATES: usize = 8;

/// Candidates of a peer's that its SDP may have. Each is sent a few connectivity checks of about 100 bytes, wherever it points.
pub const MAX_REMOTE_CANDIDATES: usize = 32;

/// The longest SDP: an offer's JSON, whatever else is in it.
pub const MAX_SDP_LEN: usize = 16 * KIB;

/// Addresses by which one connection is found: candidates of the peer's, and as many that only its checks tell us of.
pub const MAX_ADDRESSES: usize = 2 * MAX_REMOTE_CANDIDATES;

/// The longest datagram that is looked at. What paths carry is about 1,500 bytes, and what peers send less.
pub const MAX_DATAGRAM: usize = 2 * KIB;

/// Datagrams of one connection that nobody has looked at: 512 of 1.2 KB hold the window of [`MAX_IN_SCTP`] by more than half, the
/// socket's own buffer the rest. More are dropped, as a full socket drops them.
pub const MAX_UNSEEN_DATAGRAMS: usize = 512;

/// How long STUN servers are waited for.
pub const STUN_TIMEOUT: Duration = Duration::from_millis(500);
/// How long their answer, or their silence, holds.
pub const STUN_VALID: Duration = Duration::from_secs(60);
