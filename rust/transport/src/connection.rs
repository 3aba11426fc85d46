//! A connection over any transport: what is the same for all is here, what differs is behind [`Link`].

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::{Channel, PeerId, Role, StreamId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::credit::Credit;
use crate::stream::{HalfError, Priority, RecvHalf, SendHalf};
use crate::transport::BoxFuture;
use crate::{
    AcceptError, CloseReason, Connection, Direction, Limits, RecvStream, SendStream, StreamError, TransportKind,
    TransportStats,
};

/// What a transport must offer for one connection.
pub(crate) trait Link: Send + Sync + 'static {
    /// What carries it.
    fn transport(&self) -> TransportKind;
    /// The node keeps a connection that it was offered: our proof waits for that.
    #[cfg(feature = "webrtc")]
    fn accepted(&self) {}
    /// Opens a stream, when the peer allows one more; where streams are shared, takes the channel's. `None` asks for the one
    /// that carries `Hello`s.
    fn open(&self, channel: Option<Channel>) -> BoxFuture<'_, Result<(SendHalf, RecvHalf), HalfError>>;
    /// The next stream of the peer. Cancelling loses nothing. The number is unique within the connection.
    fn accept(&self) -> BoxFuture<'_, Result<(u64, SendHalf, RecvHalf), HalfError>>;
    /// Closes; only the first call counts.
    fn close(&self, code: u64, text: &str);
    /// Resolves when the connection has ended: with the reason, or `None` when it was we who closed.
    fn closed(&self) -> BoxFuture<'_, Option<CloseReason>>;
    /// How much the peer may send on all streams before we read.
    fn set_receive_window(&self, bytes: u32);
    fn remote_address(&self) -> SocketAddr;
    fn rtt(&self) -> Duration;
    fn stats(&self) -> TransportStats;
}

/// What a connection and its streams share.
pub(crate) struct Shared {
    pub(crate) peer: PeerId,
    pub(crate) limits: Arc<Limits>,
    link: Box<dyn Link>,
    /// Why we closed, if we did.
    reason: OnceLock<CloseReason>,
    credit: Mutex<Credit>,
}

impl Shared {
    pub(crate) fn new(peer: PeerId, limits: Arc<Limits>, link: Box<dyn Link>) -> Arc<Self> {
        Arc::new(Self { peer, limits, link, reason: OnceLock::new(), credit: Mutex::new(Credit::pending()) })
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        let reason = self.reason.get_or_init(|| reason);
        self.link.close(reason.code(), reason.text());
    }

    pub(crate) async fn closed(&self) -> CloseReason {
        let reason = self.link.closed().await;
        reason.unwrap_or_else(|| self.our_reason())
    }

    fn our_reason(&self) -> CloseReason {
        self.reason.get().cloned().unwrap_or(CloseReason::Unspecified)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.link.remote_address()
    }

    pub(crate) fn stream_error(&self, error: HalfError) -> StreamError {
        match error {
            HalfError::Reset(code) => StreamError::Reset(code),
            HalfError::Stopped(code) => StreamError::Stopped(code),
            HalfError::Closed(reason) => StreamError::Closed(reason.unwrap_or_else(|| self.our_reason())),
            HalfError::Unusable => StreamError::Unusable,
        }
    }

    /// Waits for `future` as long as the connection lives.
    pub(crate) async fn or_closed<T>(
        &self,
        future: impl Future<Output = Result<T, StreamError>>,
    ) -> Result<T, StreamError> {
        tokio::select! {
            biased;
            result = future => result,
            reason = async { self.closed().await } => Err(StreamError::Closed(reason)),
        }
    }

    pub(crate) async fn open_stream(
        self: &Arc<Self>,
        channel: Option<Channel>,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), StreamError> {
        let limit = self.limits.open_timeout;
        let (send, recv) = timeout(limit, self.link.open(channel))
            .await
            .map_err(|_| StreamError::NoStream(limit))?
            .map_err(|error| self.stream_error(error))?;
        let send = SendStream::new(send, self.clone());
        send.set_priority(priority);
        Ok((send, RecvStream::new(recv, self.clone())))
    }

    pub(crate) async fn accept_stream(self: &Arc<Self>) -> Result<(u64, SendStream, RecvStream), StreamError> {
        let (number, send, recv) = self.link.accept().await.map_err(|error| self.stream_error(error))?;
        Ok((number, SendStream::new(send, self.clone()), RecvStream::new(recv, self.clone())))
    }

    #[cfg(feature = "webrtc")]
    pub(crate) fn accept(&self) {
        self.link.accepted();
    }

    pub(crate) fn transport(&self) -> TransportKind {
        self.link.transport()
    }

    /// The peer is authenticated: it gets its full credit.
    pub(crate) fn authenticated(&self) {
        let mut credit = self.credit();
        if let Some(window) = credit.authenticated() {
            self.link.set_receive_window(window);
        }
    }

    /// Raises the connection's credit while the guard lives.
    pub(crate) fn large_frame(&self) -> LargeFrame<'_> {
        let mut credit = self.credit();
        if let Some(window) = credit.large_frame_began() {
            self.link.set_receive_window(window);
        }
        LargeFrame(self)
    }

    /// `len` bytes of the peer have been taken from the transport.
    pub(crate) fn consumed(&self, len: usize) {
        let mut credit = self.credit();
        if let Some(window) = credit.consumed(len as u64) {
            self.link.set_receive_window(window);
        }
    }

    fn credit(&self) -> MutexGuard<'_, Credit> {
        // Plain arithmetic on numbers: nothing is left half-done.
        self.credit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A large frame is read, or one over [`CONTROL_FRAME`](crate::limits::CONTROL_FRAME) waits for its budget.
pub(crate) struct LargeFrame<'a>(&'a Shared);

impl Drop for LargeFrame<'_> {
    fn drop(&mut self) {
        let mut credit = self.0.credit();
        if let Some(window) = credit.large_frame_ended() {
            self.0.link.set_receive_window(window);
        }
    }
}

/// A stream whose channel id was awaited.
type Accepted = Result<(StreamId, SendStream, RecvStream), AcceptError>;

/// The one implementation of [`Connection`].
pub(crate) struct LinkConnection {
    shared: Arc<Shared>,
    hello: Option<Hello>,
    direction: Direction,
    /// Streams whose channel id has not come yet. A stream that lags must not hold up the others: QUIC delivers in order
    /// within a stream only.
    waiting: tokio::sync::Mutex<JoinSet<Option<Accepted>>>,
}

impl LinkConnection {
    pub(crate) fn establish(shared: Arc<Shared>, hello: Option<Hello>, direction: Direction) -> Arc<dyn Connection> {
        shared.authenticated();
        Arc::new(Self { shared, hello, direction, waiting: tokio::sync::Mutex::default() })
    }

    async fn open_channel(&self, stream: StreamId) -> Result<(SendStream, RecvStream), StreamError> {
        let (mut send, recv) = self.shared.open_stream(Some(stream.channel), Priority::of(stream)).await?;
        if self.shared.link.transport().shares_streams() {
            return Ok((send, recv));
        }
        let id = Bytes::copy_from_slice(&[stream.channel.id()]);
        send.write_bytes([id, Bytes::new()]).await?;
        Ok((send, recv))
    }

    async fn accept_channel(&self) -> Accepted {
        let mut waiting = self.waiting.lock().await;
        loop {
            tokio::select! {
                accepted = self.shared.accept_stream() => {
                    let (number, send, recv) = accepted.map_err(|error| match error {
                        StreamError::Closed(reason) => AcceptError::Closed(reason),
                        other => AcceptError::Closed(CloseReason::Lost(other.to_string())),
                    })?;
                    let limit = self.shared.limits.channel_timeout;
                    let mut identified = Box::pin(identify(number, send, recv, limit));
                    // The id nearly always came with the stream's first packet.
                    match poll_once(identified.as_mut()).await {
                        Poll::Ready(Some(accepted)) => return accepted,
                        Poll::Ready(None) => {}
                        Poll::Pending => drop(waiting.spawn(identified)),
                    }
                }
                Some(result) = waiting.join_next() => {
                    match result {
                        Ok(Some(accepted)) => return accepted,
                        // Reset before its channel id: the peer changed its mind.
                        Ok(None) => {}
                        // Only if it panicked, or the runtime stops.
                        Err(error) => return Err(AcceptError::Closed(CloseReason::Lost(error.to_string()))),
                    }
                }
            }
        }
    }
}

/// Reads a stream's channel id. `None` when the peer took the stream back.
async fn identify(number: u64, send: SendStream, mut recv: RecvStream, limit: Duration) -> Option<Accepted> {
    let id = match timeout(limit, recv.read_some(1)).await {
        Err(_) => return Some(Err(AcceptError::ChannelTimeout(limit))),
        Ok(Ok(None)) => return Some(Err(AcceptError::NoChannel)),
        Ok(Ok(Some(bytes))) => bytes.first().copied().unwrap_or_default(),
        Ok(Err(StreamError::Closed(reason))) => return Some(Err(AcceptError::Closed(reason))),
        Ok(Err(_)) => return None,
    };
    let Ok(channel) = Channel::try_from(id) else {
        return Some(Err(AcceptError::UnknownChannel(id)));
    };
    let stream = StreamId { channel, role: Role::Server, request: if channel.is_rpc() { number } else { 0 } };
    send.set_priority(Priority::of(stream));
    Some(Ok((stream, send, recv)))
}

/// What the future has now.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

impl Connection for LinkConnection {
    fn peer(&self) -> PeerId {
        self.shared.peer
    }

    fn transport(&self) -> TransportKind {
        self.shared.link.transport()
    }

    fn remote_hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    fn direction(&self) -> Direction {
        self.direction
    }

    fn remote_address(&self) -> SocketAddr {
        self.shared.link.remote_address()
    }

    fn rtt(&self) -> Duration {
        self.shared.link.rtt()
    }

    fn stats(&self) -> TransportStats {
        self.shared.link.stats()
    }

    fn open(&self, stream: StreamId) -> BoxFuture<'_, Result<(SendStream, RecvStream), StreamError>> {
        Box::pin(self.open_channel(stream))
    }

    fn accept(&self) -> BoxFuture<'_, Accepted> {
        Box::pin(self.accept_channel())
    }

    fn close(&self, reason: CloseReason) {
        tracing::debug!(peer = %self.shared.peer, address = %self.remote_address(), reason = %reason, "closing connection");
        self.shared.close(reason);
    }

    fn closed(&self) -> BoxFuture<'_, CloseReason> {
        Box::pin(self.shared.closed())
    }
}
