//! Events on their way to the user.
//!
//! The queue needs no bound of its own: an event that a peer causes stands for a permit, which is renewed only when the
//! event is taken, or for a request or a connection, and neither is taken up while [`EVENTS_PAUSE`] events wait. Payloads
//! stay counted against the frame budget until they are taken.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mina_p2p_protocol::Processed;
use mina_p2p_transport::Reservation;
use tokio::sync::Notify;

use crate::event::Event;
use crate::link::Link;
use crate::lock;

/// From this many waiting events on, no connection is accepted, none is dialed, and no request is read. 100 peers with
/// every permit used (1 tip, 2 x 32 infos, 16 commitments, 5 requests, 5 answers each) make 9,100.
pub const EVENTS_PAUSE: usize = 16_384;

/// An event with what its taking sets free.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: Event,
    pub(crate) credit: Option<(Arc<Link>, Processed)>,
    // Held for its drop.
    pub(crate) _reservation: Option<Reservation>,
}

/// Called when the queue is no longer empty.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct EventQueue {
    events: Mutex<VecDeque<Queued>>,
    wake: Option<Wake>,
    arrived: Condvar,
    /// Notified when events were taken.
    pub(crate) taken: Notify,
}

impl EventQueue {
    pub(crate) fn new(wake: Option<Wake>) -> EventQueue {
        EventQueue { events: Mutex::default(), wake, arrived: Condvar::new(), taken: Notify::new() }
    }

    pub(crate) fn push(&self, queued: Queued) {
        let was_empty = {
            let mut events = lock(&self.events);
            events.push_back(queued);
            events.len() == 1
        };
        // For each event, not only for the first: several threads may wait, and one may take one event only.
        self.arrived.notify_one();
        if was_empty && let Some(wake) = &self.wake {
            wake();
        }
    }

    pub(crate) fn push_event(&self, event: Event) {
        self.push(Queued { event, credit: None, _reservation: None });
    }

    /// Takes at most `max` events, oldest first, and turns each into something else. Their permits are renewed.
    pub(crate) fn take<T>(&self, max: usize, mut f: impl FnMut(Event) -> T) -> Vec<T> {
        let batch: Vec<Queued> = {
            let mut events = lock(&self.events);
            let count = max.min(events.len());
            events.drain(..count).collect()
        };
        self.taken.notify_waiters();
        batch
            .into_iter()
            .map(|queued| {
                let event = f(queued.event);
                if let Some((link, processed)) = queued.credit {
                    link.credit(processed);
                }
                event
            })
            .collect()
    }

    /// Waits until there is an event, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        let events = lock(&self.events);
        // A poisoned lock is as good as any other here; see `lock`.
        drop(self.arrived.wait_timeout_while(events, timeout, |events| events.is_empty()));
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.events).len()
    }

    /// Whether fewer than [`EVENTS_PAUSE`] events wait.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < EVENTS_PAUSE
    }

    /// Waits until fewer than [`EVENTS_PAUSE`] events wait.
    pub(crate) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.has_room() {
                return;
            }
            taken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Fails a test that hangs; nothing is measured by it.
    const WATCHDOG: Duration = Duration::from_secs(30);

    fn event(n: usize) -> Event {
        Event::TaskFailed { message: n.to_string() }
    }

    fn number(event: Event) -> usize {
        match event {
            Event::TaskFailed { message } => message.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_are_taken_in_order_and_the_user_is_woken_when_there_are_some_again() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let woken = Arc::clone(&wakes);
        let queue = EventQueue::new(Some(Arc::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        })));
        for n in 0..5 {
            queue.push_event(event(n));
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(queue.take(3, number), [0, 1, 2]);
        queue.push_event(event(5));
        assert_eq!(wakes.load(Ordering::Relaxed), 1, "it was not empty");
        assert_eq!(queue.take(9, number), [3, 4, 5]);
        assert_eq!((queue.take(9, number).len(), queue.len()), (0, 0));
        queue.push_event(event(6));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn each_of_several_waiting_threads_gets_its_event() {
        const THREADS: usize = 4;
        let queue = EventQueue::new(None);
        thread::scope(|scope| {
            let taken = || loop {
                let start = std::time::Instant::now();
                queue.wait(WATCHDOG);
                assert!(start.elapsed() < WATCHDOG, "nobody woke it");
                if let Some(n) = queue.take(1, number).pop() {
                    return n;
                }
            };
            let waiting: Vec<_> = (0..THREADS).map(|_| scope.spawn(taken)).collect();
            for n in 0..THREADS {
                queue.push_event(event(n));
            }
            let mut taken: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
            taken.sort_unstable();
            assert_eq!(taken, [0, 1, 2, 3]);
        });
    }

    #[test]
    fn waiting_ends_without_an_event_too() {
        let queue = EventQueue::new(None);
        queue.wait(Duration::ZERO);
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn there_is_room_again_when_events_were_taken() {
        let queue = EventQueue::new(None);
        for n in 0..EVENTS_PAUSE {
            queue.push_event(event(n));
        }
        let room = queue.room();
        tokio::pin!(room);
        assert!(futures_util::FutureExt::now_or_never(room.as_mut()).is_none());
        queue.take(1, number);
        room.await;
    }
}
