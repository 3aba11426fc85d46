//! What every transport offers: dialing, listening, and authenticated connections of framed streams.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mina_p2p_wire::message::Hello;
use mina_p2p_wire::{Address, PeerId, StreamId};

use crate::{AcceptError, CloseReason, ConnectError, ListenError, RecvStream, SendStream, StreamError};

/// A boxed future, so that the traits below can be used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// We dialed.
    Dialed,
    /// The peer dialed.
    Accepted,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportKind {
    /// QUIC.
    Quic,
    /// WebRTC data channels.
    WebRtc,
    /// Pipes in memory.
    Memory,
}

impl TransportKind {
    /// The stable name, for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebRtc => "webrtc",
            Self::Memory => "memory",
        }
    }

    /// Whether one stream a channel carries both roles, requests included. Otherwise a stream has one role, and each request
    /// one of its own.
    #[must_use]
    pub fn shares_streams(self) -> bool {
        self == Self::WebRtc
    }
}

impl std::fmt::Display for TransportKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Figures of one connection since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Bytes sent, repetitions and packet heads included (QUIC: UDP payload).
    pub bytes_sent: u64,
    /// Bytes received, likewise.
    pub bytes_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Packets that were sent and declared lost. Over WebRTC not known: 0.
    pub packets_lost: u64,
    /// Bytes that may be in flight now. Over WebRTC not known: 0.
    pub congestion_window: u64,
}

/// A way to reach peers and to be reached.
pub trait Transport: Send + Sync {
    /// What carries its connections.
    fn kind(&self) -> TransportKind;

    /// Dials `address`, authenticates the peer and exchanges `Hello`s. Resolves once the answering `Hello` has come
    /// and been checked.
    ///
    /// The peer must be the one that `address` names ([`CloseReason::WrongIdentity`]) and not ourselves
    /// ([`CloseReason::SelfConnection`]). Takes the authentication timeout per resolved address at the most.
    /// Dropping the future ends the attempt.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        our_hello: &'a Hello,
    ) -> BoxFuture<'a, Result<Arc<dyn Connection>, ConnectError>>;

    /// Listens on `address`; port 0 lets the system choose. May be called for several addresses.
    fn listen(&self, address: SocketAddr) -> Result<Box<dyn Listener>, ListenError>;

    /// Closes every connection with `reason`, stops all listeners, and resolves when the peers have been told, or
    /// after a second. Idempotent.
    fn shutdown(&self, reason: CloseReason) -> BoxFuture<'_, ()>;
}

/// Where peers arrive. Dropping it stops accepting; connections made stay.
pub trait Listener: Send + Sync {
    /// The next peer that has authenticated itself and whose `Hello` has been read and checked. `None` once the
    /// transport is shut down. Cancelling loses nothing.
    fn accept(&self) -> BoxFuture<'_, Option<Incoming>>;

    /// The address in use, with its real port.
    fn local_addr(&self) -> SocketAddr;
}

/// What a transport does for an [`Incoming`].
pub(crate) trait IncomingImpl: Send {
    fn accept(self: Box<Self>, our_hello: &Hello) -> BoxFuture<'static, Result<Arc<dyn Connection>, ConnectError>>;
    fn refuse(self: Box<Self>, reason: CloseReason);
}

/// An authenticated dialer that waits for our answer.
///
/// What it says of chain and protocol version has been checked. It holds one place among the pending handshakes; when it is
/// held longer than the rest of the authentication timeout, the dialer gives up. Dropped, it is refused without a
/// reason.
#[must_use = "an incoming connection is accepted or refused"]
pub struct Incoming {
    pub(crate) peer: PeerId,
    pub(crate) transport: TransportKind,
    pub(crate) hello: Option<Hello>,
    pub(crate) remote_address: SocketAddr,
    pub(crate) inner: Box<dyn IncomingImpl>,
}

impl Incoming {
    /// Who dials.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What carries it.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }

    /// The dialer's `Hello`; `None` when it is not of our own kind.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// From where.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote_address
    }

    /// Answers with our `Hello` (WebRTC: proves who we are; the `Hello` went with the answer to its offer). Resolves once that
    /// has been handed to the transport.
    pub async fn accept(self, our_hello: &Hello) -> Result<Arc<dyn Connection>, ConnectError> {
        self.inner.accept(our_hello).await
    }

    /// Closes with `reason`, which the dialer gets.
    pub fn refuse(self, reason: CloseReason) {
        tracing::debug!(peer = %self.peer, address = %self.remote_address, reason = reason.name(), "incoming connection refused");
        self.inner.refuse(reason);
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("peer", &self.peer)
            .field("remote_address", &self.remote_address)
            .finish_non_exhaustive()
    }
}

/// An authenticated connection whose `Hello`s have been exchanged.
///
/// It ends when either side closes it, and when it and all its streams have been dropped.
pub trait Connection: Send + Sync {
    /// The peer, proved by its key.
    fn peer(&self) -> PeerId;

    /// What carries it.
    fn transport(&self) -> TransportKind;

    /// What the peer said of itself; `None` when it is not of our own kind (the existing Mina Rust node, a browser).
    fn remote_hello(&self) -> Option<&Hello>;

    /// Who dialed.
    fn direction(&self) -> Direction;

    /// Where the peer is now. It may change when the peer's network does.
    fn remote_address(&self) -> SocketAddr;

    /// The current estimate of the round-trip time.
    fn rtt(&self) -> Duration;

    /// Figures since the start.
    fn stats(&self) -> TransportStats;

    /// Opens a stream for `stream.channel`. Its priority comes from the channel and the role: small messages go before bulk.
    ///
    /// Where streams are shared ([`TransportKind::shares_streams`]) it is the channel's one stream, role and request are not
    /// looked at, and a second call fails with [`StreamError::Unusable`]. Open all of them at once: what the peer sends on
    /// one waits there, within the connection's receive window.
    fn open(&self, stream: StreamId) -> BoxFuture<'_, Result<(SendStream, RecvStream), StreamError>>;

    /// The next stream that the peer opened, once its channel id has come; none ever comes where streams are shared. Our role
    /// on it is [`Role::Server`](mina_p2p_wire::Role::Server). Cancelling loses nothing. Only one task may wait here at a time.
    fn accept(&self) -> BoxFuture<'_, Result<(StreamId, SendStream, RecvStream), AcceptError>>;

    /// Ends the connection; the peer gets the reason's code and text. Only the first call counts.
    fn close(&self, reason: CloseReason);

    /// Resolves when the connection has ended, with the reason that either side gave, or what was concluded without
    /// one. Any number of tasks may wait.
    fn closed(&self) -> BoxFuture<'_, CloseReason>;
}
