//! The memory that frames being received may take, over all connections of a node.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mina_p2p_wire::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StreamError;
use crate::limits::{CONTROL_FRAME, CONTROL_POOL, LARGE_FRAME, LARGE_POOL, SMALL_POOL};

/// The budget of all frames that are being received, or have been and are still held.
///
/// A frame over [`LARGE_FRAME`] reserves its length from the large pool, others from the small pool, each first come,
/// first served. Frames up to [`CONTROL_FRAME`] have a pool of their own, [`CONTROL_POOL`], which is never short: permits
/// and requests do not wait for what other peers send. A peer has one large frame at a time; its next one waits for its turn before it takes a place in the
/// queue. A clone is the same budget.
///
/// What is reserved is a promise, not memory: storage grows as bytes arrive (see [`BudgetFigures::storage`]).
#[derive(Debug, Clone)]
pub struct FrameBudget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    large: Pool,
    small: Pool,
    control: Pool,
    turns: Mutex<HashMap<PeerId, Turns>>,
    storage: Gauge,
}

/// Who wants a large frame of one peer.
#[derive(Debug)]
struct Turns {
    turn: Arc<Semaphore>,
    users: usize,
}

/// Figures of a [`FrameBudget`], all in bytes unless said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetFigures {
    /// Size of the large pool.
    pub large_total: u64,
    /// Reserved from the large pool now.
    pub large_reserved: u64,
    /// The most that was ever reserved from it at once.
    pub large_peak: u64,
    /// Frames that wait for the large pool or their peer's turn now.
    pub large_waiting: u64,
    /// Size of the small pool.
    pub small_total: u64,
    /// Reserved from the small pool now.
    pub small_reserved: u64,
    /// The most that was ever reserved from it at once.
    pub small_peak: u64,
    /// Size of the pool of frames up to [`CONTROL_FRAME`].
    pub control_total: u64,
    /// Reserved from it now.
    pub control_reserved: u64,
    /// The most that was ever reserved from it at once.
    pub control_peak: u64,
    /// Allocated now for frames being received or still held.
    pub storage: u64,
    /// The most that was ever allocated at once.
    pub storage_peak: u64,
}

/// A number with its peak.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    fn add(&self, n: u64) {
        let now = self.now.fetch_add(n, Ordering::Relaxed) + n;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    fn sub(&self, n: u64) {
        self.now.fetch_sub(n, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    total: u32,
    reserved: Gauge,
    waiting: Gauge,
    /// Of those that wait, who wait for bytes, not for their turn.
    short: Gauge,
}

impl Pool {
    fn new(total: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(total as usize)),
            total,
            reserved: Gauge::default(),
            waiting: Gauge::default(),
            short: Gauge::default(),
        }
    }
}

/// Which pool a reservation is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Large,
    Small,
    Control,
}

impl Size {
    fn of(len: u32) -> Self {
        if len <= CONTROL_FRAME {
            Self::Control
        } else if len <= LARGE_FRAME {
            Self::Small
        } else {
            Self::Large
        }
    }
}

/// A frame's share of a [`FrameBudget`], given back when dropped. Keep it as long as the frame.
#[derive(Debug)]
#[must_use = "a reservation is given back when it is dropped"]
pub struct Reservation {
    inner: Arc<Inner>,
    size: Size,
    len: u32,
    storage: u64,
    _turn: Option<Turn>,
    _permit: OwnedSemaphorePermit,
}

/// The right of one large frame of a peer, given to the next when dropped.
#[derive(Debug)]
struct Turn {
    inner: Arc<Inner>,
    peer: PeerId,
    permit: Option<OwnedSemaphorePermit>,
}

/// Of a large frame: whether others wait.
pub(crate) struct Watch(Option<Arc<Inner>>);

impl Watch {
    /// Whether other frames wait for bytes of the large pool.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.large.short.now() > 0)
    }
}

/// Counts a waiting frame, also when the wait is cancelled.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

impl Default for FrameBudget {
    /// Pools of [`LARGE_POOL`] and [`SMALL_POOL`].
    fn default() -> Self {
        Self::new(LARGE_POOL, SMALL_POOL)
    }
}

impl FrameBudget {
    /// A budget with pools of these sizes, in bytes.
    pub fn new(large: u32, small: u32) -> Self {
        Self {
            inner: Arc::new(Inner {
                large: Pool::new(large),
                small: Pool::new(small),
                control: Pool::new(CONTROL_POOL),
                turns: Mutex::default(),
                storage: Gauge::default(),
            }),
        }
    }

    /// The figures now.
    pub fn figures(&self) -> BudgetFigures {
        let Inner { large, small, control, storage, .. } = &*self.inner;
        BudgetFigures {
            large_total: large.total.into(),
            large_reserved: large.reserved.now(),
            large_peak: large.reserved.peak(),
            large_waiting: large.waiting.now(),
            small_total: small.total.into(),
            small_reserved: small.reserved.now(),
            small_peak: small.reserved.peak(),
            control_total: control.total.into(),
            control_reserved: control.reserved.now(),
            control_peak: control.reserved.peak(),
            storage: storage.now(),
            storage_peak: storage.peak(),
        }
    }

    /// Waits for `len` bytes of the pool of that length's frames. Cancelling gives up the place in the queue.
    ///
    /// # Errors
    /// [`StreamError::TooLong`] when the pool is smaller than the frame.
    pub async fn reserve(&self, peer: PeerId, len: u32) -> Result<Reservation, StreamError> {
        let size = Size::of(len);
        let _waiting = Waiting::new(&self.inner.pool(size).waiting);
        self.check(size, len)?;
        let turn = if size == Size::Large { Some(self.turn(peer).await?) } else { None };
        self.take(size, len, turn).await
    }

    /// Waits for `len` bytes of the small pool.
    pub(crate) async fn reserve_small(&self, len: u32) -> Result<Reservation, StreamError> {
        let _waiting = Waiting::new(&self.inner.small.waiting);
        self.check(Size::Small, len)?;
        self.take(Size::Small, len, None).await
    }

    fn check(&self, size: Size, len: u32) -> Result<(), StreamError> {
        let total = self.inner.pool(size).total;
        if len > total {
            return Err(StreamError::TooLong { len: len.into(), limit: total.into() });
        }
        Ok(())
    }

    async fn turn(&self, peer: PeerId) -> Result<Turn, StreamError> {
        // The guard exists before the wait, so that a cancelled wait leaves no entry behind.
        let (mut guard, semaphore) = {
            let mut turns = self.inner.turns();
            let entry = turns.entry(peer).or_insert_with(|| Turns { turn: Arc::new(Semaphore::new(1)), users: 0 });
            entry.users += 1;
            let guard = Turn { inner: self.inner.clone(), peer, permit: None };
            (guard, entry.turn.clone())
        };
        let permit = semaphore.acquire_owned().await;
        guard.permit = Some(permit.map_err(|_| StreamError::Unusable)?);
        Ok(guard)
    }

    async fn take(&self, size: Size, len: u32, turn: Option<Turn>) -> Result<Reservation, StreamError> {
        let pool = self.inner.pool(size);
        let permit = match pool.free.clone().try_acquire_many_owned(len) {
            Ok(permit) => permit,
            // Not enough is free, or others wait already: the semaphore lets nobody pass them.
            Err(_) => {
                let _short = Waiting::new(&pool.short);
                // The semaphores are never closed.
                pool.free.clone().acquire_many_owned(len).await.map_err(|_| StreamError::Unusable)?
            }
        };
        pool.reserved.add(len.into());
        Ok(Reservation { inner: self.inner.clone(), size, len, storage: 0, _turn: turn, _permit: permit })
    }
}

impl Inner {
    fn pool(&self, size: Size) -> &Pool {
        match size {
            Size::Large => &self.large,
            Size::Small => &self.small,
            Size::Control => &self.control,
        }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<PeerId, Turns>> {
        // No code between lock and unlock can panic half-way.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Bytes reserved.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tells of other frames that wait for what this one has reserved.
    pub(crate) fn watch(&self) -> Watch {
        Watch((self.size == Size::Large).then(|| self.inner.clone()))
    }

    /// Records what is allocated for the frame now.
    pub(crate) fn set_storage(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes > self.storage {
            self.inner.storage.add(bytes - self.storage);
        } else {
            self.inner.storage.sub(self.storage - bytes);
        }
        self.storage = bytes;
    }

    /// Takes over what `other` recorded as allocated; the storage has moved.
    pub(crate) fn take_storage(&mut self, other: &mut Self) {
        self.storage += std::mem::take(&mut other.storage);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inner.storage.sub(self.storage);
        self.inner.pool(self.size).reserved.sub(self.len.into());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The permit goes first: whoever is next must not find the entry gone and make a second one.
        self.permit = None;
        let mut turns = self.inner.turns();
        if let Some(entry) = turns.get_mut(&self.peer) {
            entry.users -= 1;
            if entry.users == 0 {
                turns.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MIB: u32 = 1 << 20;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn ready<F: Future>(future: F) -> F::Output {
        match poll(pin!(future)) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("must be ready"),
        }
    }

    #[test]
    fn large_frames_are_served_in_order() {
        let budget = FrameBudget::new(8 * MIB, MIB);
        let first = ready(budget.reserve(peer(1), 6 * MIB)).unwrap();
        let mut second = pin!(budget.reserve(peer(2), 4 * MIB));
        assert!(poll(second.as_mut()).is_pending());
        // It would fit, but it came later.
        let mut third = pin!(budget.reserve(peer(3), 2 * MIB));
        assert!(poll(third.as_mut()).is_pending());
        assert_eq!(budget.figures().large_waiting, 2);
        drop(first);
        assert!(poll(second).is_ready());
        assert!(poll(third).is_ready());
        let figures = budget.figures();
        assert_eq!((figures.large_reserved, figures.large_waiting), (0, 0));
        assert_eq!(figures.large_peak, u64::from(6 * MIB));
    }

    #[test]
    fn a_peer_has_one_large_frame_at_a_time() {
        let budget = FrameBudget::new(8 * MIB, MIB);
        let first = ready(budget.reserve(peer(1), 2 * MIB)).unwrap();
        let mut second = pin!(budget.reserve(peer(1), 2 * MIB));
        assert!(poll(second.as_mut()).is_pending());
        // Its waiting keeps no place in the queue.
        let _other = ready(budget.reserve(peer(2), 2 * MIB)).unwrap();
        drop(first);
        assert!(poll(second).is_ready());
    }

    #[test]
    fn small_frames_have_their_own_pool() {
        let budget = FrameBudget::new(2 * MIB, 2 * MIB);
        let _large = ready(budget.reserve(peer(1), 2 * MIB)).unwrap();
        let _small = ready(budget.reserve(peer(1), MIB)).unwrap();
        let _small_too = ready(budget.reserve(peer(1), MIB)).unwrap();
        let figures = budget.figures();
        assert_eq!(figures.large_reserved, u64::from(2 * MIB));
        assert_eq!(figures.small_reserved, u64::from(2 * MIB));
    }

    #[test]
    fn permits_and_requests_do_not_wait_for_what_fills_the_small_pool() {
        let budget = FrameBudget::new(2 * MIB, MIB);
        let _small = ready(budget.reserve(peer(1), MIB)).unwrap();
        let mut next = pin!(budget.reserve(peer(1), CONTROL_FRAME + 1));
        assert!(poll(next.as_mut()).is_pending());
        let control = ready(budget.reserve(peer(2), CONTROL_FRAME)).unwrap();
        assert_eq!(budget.figures().control_reserved, u64::from(CONTROL_FRAME));
        drop(control);
        assert_eq!(budget.figures().control_reserved, 0);
    }

    #[test]
    fn a_frame_is_wanted_while_another_waits_for_its_bytes() {
        let budget = FrameBudget::new(4 * MIB, MIB);
        let first = ready(budget.reserve(peer(1), 3 * MIB)).unwrap();
        assert!(!first.watch().is_wanted());
        {
            // A second of the same peer waits for its turn, whatever is free.
            let mut same = pin!(budget.reserve(peer(1), 2 * MIB));
            assert!(poll(same.as_mut()).is_pending());
            assert!(!first.watch().is_wanted());
        }
        let mut other = pin!(budget.reserve(peer(2), 2 * MIB));
        assert!(poll(other.as_mut()).is_pending());
        assert!(first.watch().is_wanted());
        drop(first);
        assert!(!ready(other).unwrap().watch().is_wanted());
    }

    #[test]
    fn a_cancelled_wait_leaves_nothing_behind() {
        let budget = FrameBudget::new(2 * MIB, MIB);
        let first = ready(budget.reserve(peer(1), 2 * MIB)).unwrap();
        {
            let mut same = pin!(budget.reserve(peer(1), 2 * MIB));
            let mut other = pin!(budget.reserve(peer(2), 2 * MIB));
            assert!(poll(same.as_mut()).is_pending());
            assert!(poll(other.as_mut()).is_pending());
        }
        drop(first);
        assert!(budget.inner.turns().is_empty());
        assert_eq!(budget.figures().large_waiting, 0);
        let _again = ready(budget.reserve(peer(1), 2 * MIB)).unwrap();
    }

    #[test]
    fn a_frame_over_the_pool_is_refused_at_once() {
        let budget = FrameBudget::new(2 * MIB, MIB / 2);
        assert!(matches!(ready(budget.reserve(peer(1), 2 * MIB + 1)), Err(StreamError::TooLong { .. })));
        assert!(matches!(ready(budget.reserve(peer(1), MIB)), Err(StreamError::TooLong { .. })));
        assert!(budget.inner.turns().is_empty());
    }
}
