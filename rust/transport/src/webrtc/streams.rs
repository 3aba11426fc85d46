//! The queues between a connection's streams and the task that drives it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mina_p2p_wire::Channel;
use tokio::sync::Notify;

use super::limits::{MAX_MESSAGE, MESSAGE_COST, QUEUED_PER_STREAM};
use crate::limits::PENDING_RECEIVE_WINDOW;
use crate::stream::HalfError;
use crate::{CloseReason, TransportStats};

/// Stream 0, which proves who is who, and then the channels'.
pub(super) const LANES: usize = 1 + Channel::ALL.len();

/// The place of a channel among a connection's lanes; 0 is stream 0.
pub(super) fn lane_of(channel: Channel) -> usize {
    // Every channel is among all of them.
    1 + Channel::ALL.iter().position(|one| *one == channel).unwrap_or_default()
}

/// What the streams and the driver of a connection share.
pub(super) struct Queues {
    state: Mutex<State>,
    /// Wakes the driver: there is something to send, or to do.
    pub(super) driver: Notify,
    /// Wakes who waits for the end.
    ended: Notify,
}

pub(super) struct State {
    lanes: [Lane; LANES],
    /// What has come and nobody has read: bytes, and [`MESSAGE_COST`] for each message.
    pub(super) unread: usize,
    /// How many of them there may be.
    pub(super) window: usize,
    /// The node has decided to keep a connection that it was offered.
    pub(super) accepted: bool,
    /// We close, for this reason.
    pub(super) closing: Option<(u64, String)>,
    /// It has ended: the peer's reason, or `None` when we closed it.
    ended: Option<Option<CloseReason>>,
    pub(super) stats: TransportStats,
    pub(super) rtt: Duration,
}

#[derive(Default)]
struct Lane {
    out: VecDeque<Bytes>,
    out_bytes: usize,
    writer: Option<Waker>,
    incoming: VecDeque<Bytes>,
    reader: Option<Waker>,
    /// Taken by a stream.
    taken: bool,
}

impl Queues {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            lanes: Default::default(),
            unread: 0,
            window: PENDING_RECEIVE_WINDOW as usize,
            accepted: false,
            closing: None,
            ended: None,
            stats: TransportStats::default(),
            rtt: Duration::ZERO,
        };
        Arc::new(Self { state: Mutex::new(state), driver: Notify::new(), ended: Notify::new() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code between lock and unlock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a channel's stream; once.
    pub(super) fn take(self: &Arc<Self>, channel: Channel) -> Option<(Sender, Receiver)> {
        let lane = lane_of(channel);
        let mut state = self.state();
        let taken = state.lanes.get_mut(lane).is_none_or(|lane| std::mem::replace(&mut lane.taken, true));
        drop(state);
        let halves = || (Sender { queues: self.clone(), lane }, Receiver { queues: self.clone(), lane });
        (!taken).then(halves)
    }

    /// The connection is over. Only the first call counts.
    pub(super) fn end(&self, reason: Option<CloseReason>) {
        let wakers = {
            let mut state = self.state();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(reason);
            state.unread = 0;
            let mut wakers = Vec::new();
            for lane in &mut state.lanes {
                lane.out.clear();
                lane.incoming.clear();
                wakers.extend([lane.writer.take(), lane.reader.take()]);
            }
            wakers
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        self.ended.notify_waiters();
    }

    pub(super) async fn closed(&self) -> Option<CloseReason> {
        loop {
            let ended = self.ended.notified();
            if let Some(reason) = &self.state().ended {
                return reason.clone();
            }
            ended.await;
        }
    }

    /// Asks the driver to close; only the first call counts.
    pub(super) fn close(&self, code: u64, text: &str) {
        self.state().closing.get_or_insert_with(|| (code, text.to_owned()));
        self.driver.notify_one();
    }
}

impl State {
    /// A message has come on a lane.
    pub(super) fn received(&mut self, lane: usize, data: Bytes) -> Option<Waker> {
        let lane = self.lanes.get_mut(lane)?;
        self.unread += data.len() + MESSAGE_COST;
        lane.incoming.push_back(data);
        lane.reader.take()
    }

    /// Whether a lane has something to send.
    pub(super) fn has_output(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| !lane.out.is_empty())
    }

    /// The next message of a lane. It stays until [`State::sent`].
    pub(super) fn output(&self, lane: usize) -> Option<&Bytes> {
        self.lanes.get(lane)?.out.front()
    }

    /// The next message of a lane is on its way.
    pub(super) fn sent(&mut self, lane: usize) -> Option<Waker> {
        let lane = self.lanes.get_mut(lane)?;
        let message = lane.out.pop_front()?;
        lane.out_bytes -= message.len();
        if lane.out_bytes < QUEUED_PER_STREAM { lane.writer.take() } else { None }
    }
}

/// Sends on one stream.
pub(crate) struct Sender {
    queues: Arc<Queues>,
    lane: usize,
}

/// Receives from one stream.
pub(crate) struct Receiver {
    queues: Arc<Queues>,
    lane: usize,
}

impl Sender {
    /// Takes of a frame, whose first bytes are in the first chunk, as much as there is room for.
    pub(crate) async fn write(&mut self, chunks: &mut [Bytes]) -> Result<usize, HalfError> {
        poll_fn(|context| self.poll_write(context, chunks)).await
    }

    fn poll_write(&mut self, context: &Context<'_>, chunks: &mut [Bytes]) -> Poll<Result<usize, HalfError>> {
        let mut state = self.queues.state();
        if let Some(reason) = &state.ended {
            return Poll::Ready(Err(HalfError::Closed(reason.clone())));
        }
        let Some(lane) = state.lanes.get_mut(self.lane) else { return Poll::Ready(Err(HalfError::Unusable)) };
        if lane.out_bytes >= QUEUED_PER_STREAM {
            lane.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut taken = 0;
        while taken < QUEUED_PER_STREAM
            && let Some(message) = next_message(chunks)
        {
            taken += message.len();
            lane.out_bytes += message.len();
            lane.out.push_back(message);
        }
        drop(state);
        self.queues.driver.notify_one();
        Poll::Ready(Ok(taken))
    }
}

/// Cuts the next message off a frame. The first one has the frame's head and at least a byte of its body in it: the existing
/// node's parser loses a length that comes alone.
fn next_message(chunks: &mut [Bytes]) -> Option<Bytes> {
    let first = chunks.iter().position(|chunk| !chunk.is_empty())?;
    let (chunk, rest) = chunks.get_mut(first..)?.split_first_mut()?;
    match rest.first_mut() {
        Some(next) if !next.is_empty() && chunk.len() < MAX_MESSAGE => {
            let mut message = BytesMut::with_capacity(MAX_MESSAGE.min(chunk.len() + next.len()));
            message.extend_from_slice(&std::mem::take(chunk));
            message.extend_from_slice(&next.split_to(next.len().min(MAX_MESSAGE - message.len())));
            Some(message.freeze())
        }
        _ => Some(chunk.split_to(chunk.len().min(MAX_MESSAGE))),
    }
}

impl Receiver {
    pub(crate) async fn read(&mut self, max: usize) -> Result<Option<Bytes>, HalfError> {
        poll_fn(|context| self.poll_read(context, max)).await
    }

    fn poll_read(&mut self, context: &Context<'_>, max: usize) -> Poll<Result<Option<Bytes>, HalfError>> {
        let mut state = self.queues.state();
        let State { lanes, unread, window, ended, .. } = &mut *state;
        if let Some(reason) = ended {
            return Poll::Ready(Err(HalfError::Closed(reason.clone())));
        }
        let Some(lane) = lanes.get_mut(self.lane) else { return Poll::Ready(Err(HalfError::Unusable)) };
        let Some(first) = lane.incoming.front_mut() else {
            lane.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let bytes = first.split_to(first.len().min(max));
        let mut read = bytes.len();
        if first.is_empty() {
            lane.incoming.pop_front();
            read += MESSAGE_COST;
        }
        let was_full = *unread > *window;
        *unread = unread.saturating_sub(read);
        if was_full && *unread <= *window {
            self.queues.driver.notify_one();
        }
        Poll::Ready(Ok(Some(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(head: &'static [u8], payload: Bytes) -> Vec<Bytes> {
        let mut chunks = [Bytes::from_static(head), payload];
        std::iter::from_fn(|| next_message(&mut chunks)).collect()
    }

    #[test]
    fn a_length_never_travels_alone() {
        let cut = messages(&[0, 0, 0, 1], Bytes::from_static(&[7]));
        assert_eq!(cut, [Bytes::from_static(&[0, 0, 0, 1, 7])]);
        let long = Bytes::from(vec![7; 3 * MAX_MESSAGE]);
        let cut = messages(&[0, 0, 0xc0, 1], long.clone());
        assert_eq!(cut.iter().map(Bytes::len).collect::<Vec<_>>(), [MAX_MESSAGE, MAX_MESSAGE, MAX_MESSAGE, 4]);
        assert_eq!(cut.concat(), [&[0, 0, 0xc0, 1][..], &long].concat());
        // All but the first are slices of the payload.
        assert_eq!(cut[1].as_ptr(), long[MAX_MESSAGE - 4..].as_ptr());
    }

    #[test]
    fn a_head_as_long_as_a_message_is_cut_too() {
        static HEAD: [u8; MAX_MESSAGE + 9] = [1; MAX_MESSAGE + 9];
        let cut = messages(&HEAD, Bytes::from_static(&[7; 5]));
        assert_eq!(cut.iter().map(Bytes::len).collect::<Vec<_>>(), [MAX_MESSAGE, 14]);
        assert!(messages(&[], Bytes::new()).is_empty());
    }

    #[tokio::test]
    async fn small_messages_count_for_what_they_take() {
        let queues = Queues::new();
        let (_send, mut recv) = queues.take(Channel::Rpc).unwrap();
        for n in 1..=100 {
            drop(queues.state().received(lane_of(Channel::Rpc), Bytes::from_static(b"x")));
            assert_eq!(queues.state().unread, n * (1 + MESSAGE_COST));
        }
        for _ in 0..100 {
            assert_eq!(recv.read(9).await.unwrap().unwrap(), "x");
        }
        assert_eq!(queues.state().unread, 0);
    }

    #[tokio::test]
    async fn a_stream_is_taken_once_and_ends_with_its_connection() {
        let queues = Queues::new();
        let (mut send, mut recv) = queues.take(Channel::Rpc).unwrap();
        assert!(queues.take(Channel::Rpc).is_none());
        let mut chunks = [Bytes::from_static(b"head"), Bytes::from(vec![0; 2 * QUEUED_PER_STREAM])];
        let taken = send.write(&mut chunks).await.unwrap();
        assert!((QUEUED_PER_STREAM..QUEUED_PER_STREAM + MAX_MESSAGE).contains(&taken));
        let lane = lane_of(Channel::Rpc);
        drop(queues.state().received(lane, Bytes::from_static(b"hello")));
        assert_eq!(recv.read(3).await.unwrap().unwrap(), "hel");
        assert_eq!(queues.state().unread, 2 + MESSAGE_COST);
        queues.end(Some(CloseReason::Shutdown));
        assert!(matches!(recv.read(3).await, Err(HalfError::Closed(Some(CloseReason::Shutdown)))));
        assert!(matches!(send.write(&mut chunks).await, Err(HalfError::Closed(Some(CloseReason::Shutdown)))));
        assert_eq!(queues.closed().await, Some(CloseReason::Shutdown));
    }
}
