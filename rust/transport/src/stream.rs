//! Framed streams: a `u32` big-endian length, then the body, with the rules against peers that stall.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mina_p2p_wire::{Channel, Frame, Role, StreamId, frame};
use tokio::time::{Instant, timeout_at};

use crate::budget::{FrameBudget, Reservation};
use crate::connection::Shared;
use crate::limits::{LARGE_FRAME, LARGE_FRAME_PREFIX, allowance, crowded_rate};
use crate::memory::pipe;
use crate::{CloseReason, StreamError};

/// The code of a stream that was dropped before its end.
pub const STREAM_DROPPED: u32 = 0;

/// What is read or written between two looks at the clock. The least rate is checked in steps of this size, so a peer
/// is at most one step ahead of the rule.
const STEP: u64 = 64 * 1024;

/// How often a frame that is slow is looked at, whether others wait for what it has reserved.
const LOOK: Duration = Duration::from_secs(1);

/// The first storage of a frame's body; it doubles as bytes arrive, up to the frame's length.
const FIRST_STORAGE: usize = 16 * 1024;

/// Who sends first when there is more to send than the path takes: what is small before what is large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Answers: bulk.
    Answer,
    /// Best tips: large but urgent.
    BestTip,
    /// Infos, under two kilobytes each.
    Info,
    /// Permits, requests and signaling.
    Control,
    /// Nothing else moves before the `Hello`s.
    Hello,
}

impl Priority {
    /// A puller sends permits and requests only.
    pub(crate) fn of(stream: StreamId) -> Self {
        match (stream.role, stream.channel) {
            (Role::Puller, _) | (_, Channel::SignalingDiscovery | Channel::SignalingExchange) => Self::Control,
            (_, Channel::Transaction | Channel::Snark | Channel::SnarkJobCommitment) => Self::Info,
            (_, Channel::BestTip | Channel::CompactBlock) => Self::BestTip,
            (_, Channel::Rpc | Channel::StreamingRpc | Channel::ExtensionRpc) => Self::Answer,
        }
    }
}

/// The sending half of a transport's stream.
pub(crate) enum SendHalf {
    #[cfg(feature = "quic")]
    Quic(quinn::SendStream),
    #[cfg(feature = "webrtc")]
    WebRtc(crate::webrtc::Sender),
    Memory(pipe::Sender),
}

/// The receiving half of a transport's stream.
pub(crate) enum RecvHalf {
    #[cfg(feature = "quic")]
    Quic(quinn::RecvStream),
    #[cfg(feature = "webrtc")]
    WebRtc(crate::webrtc::Receiver),
    Memory(pipe::Receiver),
}

/// What a transport says of a stream that failed. Who closed the connection, and why, is known elsewhere.
#[derive(Debug)]
pub(crate) enum HalfError {
    Reset(u64),
    Stopped(u64),
    /// The reason that the transport knows; `None` when it was we who closed.
    Closed(Option<CloseReason>),
    Unusable,
}

impl SendHalf {
    /// Writes some of `chunks` as the peer's credit allows, and advances them.
    async fn write(&mut self, chunks: &mut [Bytes]) -> Result<usize, HalfError> {
        match self {
            #[cfg(feature = "quic")]
            Self::Quic(stream) => Ok(stream.write_chunks(chunks).await?.bytes),
            #[cfg(feature = "webrtc")]
            Self::WebRtc(stream) => stream.write(chunks).await,
            Self::Memory(pipe) => pipe.write(chunks).await,
        }
    }

    fn set_priority(&self, _priority: Priority) {
        match self {
            #[cfg(feature = "quic")]
            // Fails only on a stream that has ended, where it does not matter.
            Self::Quic(stream) => drop(stream.set_priority(_priority as i32)),
            #[cfg(feature = "webrtc")]
            // Its driver gives the streams turns.
            Self::WebRtc(_) => {}
            // Streams in memory do not share a path.
            Self::Memory(_) => {}
        }
    }

    fn finish(&mut self) {
        match self {
            #[cfg(feature = "quic")]
            Self::Quic(stream) => drop(stream.finish()),
            #[cfg(feature = "webrtc")]
            // It lasts as long as the connection.
            Self::WebRtc(_) => {}
            Self::Memory(pipe) => pipe.finish(),
        }
    }

    fn reset(&mut self, code: u32) {
        match self {
            #[cfg(feature = "quic")]
            Self::Quic(stream) => drop(stream.reset(code.into())),
            #[cfg(feature = "webrtc")]
            Self::WebRtc(_) => {}
            Self::Memory(pipe) => pipe.reset(code.into()),
        }
    }
}

impl RecvHalf {
    /// The next bytes, at most `max`; `None` at the stream's end. Cancelling loses nothing.
    pub(crate) async fn read(&mut self, max: usize) -> Result<Option<Bytes>, HalfError> {
        match self {
            #[cfg(feature = "quic")]
            Self::Quic(stream) => Ok(stream.read_chunk(max, true).await?.map(|chunk| chunk.bytes)),
            #[cfg(feature = "webrtc")]
            Self::WebRtc(stream) => stream.read(max).await,
            Self::Memory(pipe) => pipe.read(max).await,
        }
    }

    fn stop(&mut self, code: u32) {
        match self {
            #[cfg(feature = "quic")]
            Self::Quic(stream) => drop(stream.stop(code.into())),
            #[cfg(feature = "webrtc")]
            Self::WebRtc(_) => {}
            Self::Memory(pipe) => pipe.stop(code.into()),
        }
    }
}

/// Our sending side of a stream. Dropped before [`finish`](Self::finish), the stream is reset.
pub struct SendStream {
    half: SendHalf,
    shared: Arc<Shared>,
    state: SendState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    Open,
    /// A write was cancelled, or failed, inside a frame.
    Broken,
    Ended,
}

impl std::fmt::Debug for SendStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendStream").field("state", &self.state).finish_non_exhaustive()
    }
}

impl SendStream {
    pub(crate) fn new(half: SendHalf, shared: Arc<Shared>) -> Self {
        Self { half, shared, state: SendState::Open }
    }

    pub(crate) fn set_priority(&self, priority: Priority) {
        self.half.set_priority(priority);
    }

    /// Writes a frame: its length, then its two parts, the payload without a copy. Resolves when the transport has
    /// taken all of it on the peer's credit, which is not yet delivery.
    ///
    /// Cancelled inside a frame, the stream is broken: it can only be reset or dropped.
    ///
    /// # Errors
    /// [`StreamError::Stalled`] when the peer takes on average less than
    /// [`min_rate`](crate::Limits::min_rate) after [`write_grace`](crate::Limits::write_grace);
    /// [`StreamError::TooLong`] over `u32::MAX` bytes; [`StreamError::Stopped`], [`StreamError::Closed`];
    /// [`StreamError::Unusable`] after an end or a broken write.
    pub async fn write(&mut self, frame: Frame) -> Result<(), StreamError> {
        let len = u32::try_from(frame.len())
            .map_err(|_| StreamError::TooLong { len: frame.len() as u64, limit: u32::MAX.into() })?;
        // One small allocation for the length and the small part, so that a small message is one chunk.
        let mut head = BytesMut::with_capacity(frame::HEAD_LEN + frame.head.len());
        head.extend_from_slice(&frame::head(len));
        head.extend_from_slice(&frame.head);
        self.write_bytes([head.freeze(), frame.payload]).await
    }

    /// Writes raw bytes under the rule against stalling.
    pub(crate) async fn write_bytes(&mut self, mut chunks: [Bytes; 2]) -> Result<(), StreamError> {
        if self.state != SendState::Open {
            return Err(StreamError::Unusable);
        }
        self.state = SendState::Broken;
        let wanted: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let limits = &self.shared.limits;
        let start = Instant::now();
        let mut taken = 0;
        while taken < wanted {
            let due = (taken + STEP).min(wanted);
            let deadline = start + allowance(limits.write_grace, due, limits.min_rate);
            match timeout_at(deadline, self.half.write(&mut chunks)).await {
                Ok(Ok(n)) => taken += n as u64,
                Ok(Err(error)) => return Err(self.shared.stream_error(error)),
                Err(_) => {
                    return Err(StreamError::Stalled { taken, wanted, elapsed: start.elapsed() });
                }
            }
        }
        self.state = SendState::Open;
        Ok(())
    }

    /// Ends our side in order; what was written is still delivered.
    pub fn finish(&mut self) {
        match self.state {
            SendState::Open => {
                self.half.finish();
                self.state = SendState::Ended;
            }
            SendState::Broken => self.reset(STREAM_DROPPED),
            SendState::Ended => {}
        }
    }

    /// Ends our side at once with a code; what was not delivered yet is dropped.
    pub fn reset(&mut self, code: u32) {
        if self.state != SendState::Ended {
            self.half.reset(code);
            self.state = SendState::Ended;
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        // QUIC would finish it in order, and the peer would take half an answer for a whole one.
        self.reset(STREAM_DROPPED);
    }
}

/// A frame's body, with its share of the budget.
pub struct ReceivedBody {
    /// The body, in one piece of its own.
    pub body: Bytes,
    /// Keep it as long as the body.
    pub reservation: Reservation,
}

impl std::fmt::Debug for ReceivedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedBody").field("len", &self.body.len()).finish_non_exhaustive()
    }
}

/// The peer's sending side of a stream. Dropped before its end, the peer is told to stop.
pub struct RecvStream {
    half: RecvHalf,
    shared: Arc<Shared>,
    head: [u8; frame::HEAD_LEN],
    /// Bytes of the head that have come.
    filled: usize,
    /// By when the head must be complete; set with its first byte.
    head_deadline: Option<Instant>,
}

impl std::fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvStream").finish_non_exhaustive()
    }
}

impl RecvStream {
    pub(crate) fn new(half: RecvHalf, shared: Arc<Shared>) -> Self {
        Self { half, shared, head: [0; frame::HEAD_LEN], filled: 0, head_deadline: None }
    }

    /// The length of the next frame; `None` when the peer has ended the stream in order. Waits without limit for a
    /// head's first byte. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`StreamError::HeadTimeout`] when a head was begun and not completed in time; [`StreamError::Truncated`] when
    /// the stream ended inside it; [`StreamError::Reset`], [`StreamError::Closed`].
    pub async fn read_head(&mut self) -> Result<Option<u32>, StreamError> {
        while let Some(missing) = self.head.get_mut(self.filled..).filter(|m| !m.is_empty()) {
            let read = self.half.read(missing.len());
            let read = match self.head_deadline {
                None => read.await,
                Some(deadline) => timeout_at(deadline, read)
                    .await
                    .map_err(|_| StreamError::HeadTimeout(self.shared.limits.head_timeout))?,
            };
            match read.map_err(|error| self.shared.stream_error(error))? {
                Some(bytes) => {
                    for (to, from) in missing.iter_mut().zip(&bytes) {
                        *to = *from;
                    }
                    self.filled += bytes.len();
                    self.shared.consumed(bytes.len());
                    self.head_deadline.get_or_insert_with(|| Instant::now() + self.shared.limits.head_timeout);
                }
                None if self.filled == 0 => return Ok(None),
                None => {
                    return Err(StreamError::Truncated {
                        part: "head",
                        got: self.filled as u64,
                        wanted: frame::HEAD_LEN as u64,
                    });
                }
            }
        }
        self.filled = 0;
        self.head_deadline = None;
        Ok(Some(frame::parse_head(self.head)))
    }

    /// Reads a body of `len` bytes, the length that [`read_head`](Self::read_head) gave and that the session allowed.
    ///
    /// Waits for the budget first; that time does not count against the peer. Storage grows as bytes arrive. A large
    /// frame takes its place in the queue once its first [`LARGE_FRAME_PREFIX`] bytes are here. Cancelled, the stream
    /// has lost its framing and is of no further use.
    ///
    /// # Errors
    /// [`StreamError::TooSlow`] when it comes on average slower than [`min_rate`](crate::Limits::min_rate) after
    /// [`read_grace`](crate::Limits::read_grace), and, while other frames wait for the large pool, when one over
    /// [`CROWDED_FRAME`](crate::limits::CROWDED_FRAME) comes slower than its share of that; [`StreamError::TooLong`] when it is longer than its pool;
    /// [`StreamError::Truncated`], [`StreamError::Reset`], [`StreamError::Closed`].
    pub async fn read_body(&mut self, len: u32, budget: &FrameBudget) -> Result<ReceivedBody, StreamError> {
        let shared = self.shared.clone();
        let mut body = Vec::new();
        let reservation = if len > LARGE_FRAME {
            // More credit for the connection as long as a large frame is read or waits, so that the small channels
            // are not held up by what it sent ahead.
            let _credit = shared.large_frame();
            let mut prefix = shared.or_closed(budget.reserve_small(LARGE_FRAME_PREFIX)).await?;
            self.fill(&mut body, LARGE_FRAME_PREFIX as usize, len, &mut prefix).await?;
            let mut whole = shared.or_closed(budget.reserve(shared.peer, len)).await?;
            whole.take_storage(&mut prefix);
            drop(prefix);
            self.fill(&mut body, len as usize, len, &mut whole).await?;
            whole
        } else {
            let mut whole = {
                let mut reserved = pin!(shared.or_closed(budget.reserve(shared.peer, len)));
                match poll_fn(|cx| Poll::Ready(reserved.as_mut().poll(cx))).await {
                    Poll::Ready(whole) => whole?,
                    Poll::Pending => {
                        // What it sent ahead must not take the credit of the frames that it waits for.
                        let _credit = shared.large_frame();
                        reserved.await?
                    }
                }
            };
            self.fill(&mut body, len as usize, len, &mut whole).await?;
            whole
        };
        Ok(ReceivedBody { body: body.into(), reservation })
    }

    /// Reads until `body` has `end` of the frame's `len` bytes.
    async fn fill(
        &mut self,
        body: &mut Vec<u8>,
        end: usize,
        len: u32,
        reservation: &mut Reservation,
    ) -> Result<(), StreamError> {
        let shared = self.shared.clone();
        let (start, before, watch) = (Instant::now(), body.len(), reservation.watch());
        while body.len() < end {
            let step_end = end.min(body.len() + STEP as usize);
            let due = (step_end - before) as u64;
            let by = |rate| start + allowance(shared.limits.read_grace, due, rate);
            let deadline = by(shared.limits.min_rate);
            let wanted_by = by(crowded_rate(len, shared.limits.min_rate));
            let step = async {
                while body.len() < step_end {
                    match self.half.read(step_end - body.len()).await {
                        Ok(Some(bytes)) => {
                            make_room(body, bytes.len(), len as usize);
                            reservation.set_storage(body.capacity());
                            body.extend_from_slice(&bytes);
                            shared.consumed(bytes.len());
                        }
                        Ok(None) => {
                            return Err(StreamError::Truncated {
                                part: "body",
                                got: body.len() as u64,
                                wanted: len.into(),
                            });
                        }
                        Err(error) => return Err(shared.stream_error(error)),
                    }
                }
                Ok(())
            };
            let in_time = {
                let mut step = pin!(step);
                loop {
                    let look = deadline.min(wanted_by.max(Instant::now() + LOOK));
                    let came = timeout_at(look, step.as_mut()).await.ok().transpose()?.is_some();
                    let now = Instant::now();
                    let whole = came && step_end == len as usize;
                    let gives_way = !whole && now >= wanted_by && watch.is_wanted();
                    if gives_way || (!came && now >= deadline) {
                        break false;
                    }
                    if came {
                        break true;
                    }
                }
            };
            if !in_time {
                return Err(StreamError::TooSlow {
                    got: body.len() as u64,
                    wanted: len.into(),
                    elapsed: start.elapsed(),
                });
            }
        }
        Ok(())
    }

    /// Reads whatever comes next, at most `max` bytes; `None` at the end.
    pub(crate) async fn read_some(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        let bytes = self.half.read(max).await.map_err(|error| self.shared.stream_error(error))?;
        self.shared.consumed(bytes.as_ref().map_or(0, Bytes::len));
        Ok(bytes)
    }

    /// Tells the peer that we read no more; it is told the code.
    pub fn stop(&mut self, code: u32) {
        self.half.stop(code);
    }
}

/// Makes room for `more` bytes: doubling, never over the frame's length.
fn make_room(body: &mut Vec<u8>, more: usize, len: usize) {
    let needed = body.len() + more;
    if needed > body.capacity() {
        let capacity = needed.max(body.capacity() * 2).max(FIRST_STORAGE).min(len.max(needed));
        body.reserve_exact(capacity - body.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_grows_with_arrival_and_ends_exact() {
        let len = 10_000_000;
        let mut body = Vec::new();
        let mut worst: f64 = 0.0;
        while body.len() < len {
            let more = 1_300.min(len - body.len());
            make_room(&mut body, more, len);
            body.resize(body.len() + more, 0);
            if body.len() > FIRST_STORAGE {
                worst = worst.max(body.capacity() as f64 / body.len() as f64);
            }
        }
        assert_eq!(body.capacity(), len);
        assert!(worst <= 2.0);
    }
}
