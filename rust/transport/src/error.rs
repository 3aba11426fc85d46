//! One error type per operation.

use std::net::SocketAddr;
use std::time::Duration;

use crate::CloseReason;

/// Why a dial, or the acceptance of an incoming connection, gave no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This transport cannot dial that kind of address.
    #[error("this transport cannot dial {0}")]
    UnsupportedAddress(String),
    /// The address's domain name has no usable IP address.
    #[error("cannot resolve {host}: {cause}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// No UDP socket could be used for this address.
    #[error("no socket for {address}: {cause}")]
    Socket {
        /// Where to.
        address: SocketAddr,
        /// What the operating system said.
        cause: String,
    },
    /// Nobody answered within the time for authentication.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// We refused the peer.
    #[error("refused: {0}")]
    Refused(CloseReason),
    /// The peer refused us, or the connection was lost before it was made.
    #[error("closed by the peer: {0}")]
    Closed(CloseReason),
    /// WebRTC: no answer to our offer, or none that can be used; the text says why.
    #[error("signaling: {0}")]
    Signaling(String),
    /// The transport is shut down.
    #[error("the transport is shut down")]
    ShutDown,
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The operating system refused the socket.
    #[error("cannot listen on {address}: {cause}")]
    Socket {
        /// The wanted address.
        address: SocketAddr,
        /// What it said.
        cause: std::io::Error,
    },
    /// The address is already listened on.
    #[error("{0} is in use")]
    InUse(SocketAddr),
    /// The transport is shut down.
    #[error("the transport is shut down")]
    ShutDown,
}

/// Why reading from or writing to a stream failed. The stream is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection ended.
    #[error("connection ended: {0}")]
    Closed(CloseReason),
    /// The peer reset its sending side.
    #[error("the peer reset the stream with code {0}")]
    Reset(u64),
    /// The peer does not want to read on.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(u64),
    /// The peer ended the stream inside a frame.
    #[error("the stream ended after {got} of {wanted} bytes of a frame's {part}")]
    Truncated {
        /// "head" or "body".
        part: &'static str,
        /// Bytes that came.
        got: u64,
        /// Bytes that were due.
        wanted: u64,
    },
    /// A frame's head was begun and not completed in time.
    #[error("a frame's head was not complete within {0:?}")]
    HeadTimeout(Duration),
    /// A frame's body came slower than the least rate allowed.
    #[error("{got} of {wanted} bytes of a frame came in {elapsed:?}, too slow")]
    TooSlow {
        /// Bytes that came.
        got: u64,
        /// The frame's length.
        wanted: u64,
        /// Since the body's reading began.
        elapsed: Duration,
    },
    /// The peer stopped reading, or reads slower than the least rate allowed.
    #[error("the peer took {taken} of {wanted} bytes of a frame in {elapsed:?}, stalled")]
    Stalled {
        /// Bytes that the transport took on the peer's credit.
        taken: u64,
        /// The frame's length, its head included.
        wanted: u64,
        /// Since the frame's writing began.
        elapsed: Duration,
    },
    /// The peer's limit on streams was reached and no stream came free in time.
    #[error("no free stream within {0:?}")]
    NoStream(Duration),
    /// The frame is longer than this side ever handles.
    #[error("a frame of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// The frame's length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// An earlier read or write of this stream was cancelled inside a frame, or the stream was finished or reset.
    #[error("the stream is no longer usable")]
    Unusable,
}

impl StreamError {
    /// The reason with which to close the connection, when this error is the peer's fault and so grave.
    ///
    /// `None` for what a peer may do at any time (reset or stop one stream) and for what is not its doing.
    pub fn close_reason(&self) -> Option<CloseReason> {
        let rule = match self {
            Self::Truncated { .. } => "truncated_frame",
            Self::HeadTimeout(_) => "head_timeout",
            Self::TooLong { .. } => "frame_too_long",
            Self::TooSlow { .. } => return Some(CloseReason::TooSlow),
            Self::Stalled { .. } | Self::NoStream(_) => return Some(CloseReason::Stalled),
            Self::Closed(_) | Self::Reset(_) | Self::Stopped(_) | Self::Unusable => return None,
        };
        Some(violation(rule, self))
    }
}

/// A violation as a session words them: a stable name, then the numbers.
fn violation(rule: &str, error: &dyn std::error::Error) -> CloseReason {
    CloseReason::Violation(format!("{rule}: {error}"))
}

/// Why no stream of the peer was accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The connection ended.
    #[error("connection ended: {0}")]
    Closed(CloseReason),
    /// A stream starts with a channel id that does not exist.
    #[error("unknown channel {0}")]
    UnknownChannel(u8),
    /// A stream was opened and its channel id did not come in time.
    #[error("a stream's channel id did not come within {0:?}")]
    ChannelTimeout(Duration),
    /// A stream ended before its channel id.
    #[error("a stream ended before its channel id")]
    NoChannel,
}

impl AcceptError {
    /// The reason with which to close the connection: all but [`Closed`](Self::Closed) are violations.
    pub fn close_reason(&self) -> Option<CloseReason> {
        let rule = match self {
            Self::Closed(_) => return None,
            Self::UnknownChannel(_) => "unknown_channel",
            Self::ChannelTimeout(_) => "channel_timeout",
            Self::NoChannel => "no_channel",
        };
        Some(violation(rule, self))
    }
}
