//! The datagrams of one connection that its driver has not looked at. Empty, it takes no memory: nearly all connections are
//! idle nearly always.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::limits::MAX_UNSEEN_DATAGRAMS;

/// A datagram on its way to its connection.
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) data: Bytes,
}

#[derive(Default)]
struct Queue {
    datagrams: VecDeque<Datagram>,
    reader: Option<Waker>,
}

#[derive(Default)]
struct Shared(Mutex<Queue>);

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code between lock and unlock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where datagrams are put.
#[derive(Clone)]
pub(super) struct Mailbox(Arc<Shared>);

/// Where they are taken from; there is one.
pub(super) struct Datagrams(Arc<Shared>);

/// A mailbox with nothing in it.
pub(super) fn mailbox() -> (Mailbox, Datagrams) {
    let shared = Arc::<Shared>::default();
    (Mailbox(shared.clone()), Datagrams(shared))
}

impl Mailbox {
    /// Puts a datagram there. With [`MAX_UNSEEN_DATAGRAMS`] in it, it loses the datagram, as a socket does that is full.
    pub(super) fn put(&self, datagram: Datagram) {
        let mut queue = self.0.queue();
        if queue.datagrams.len() >= MAX_UNSEEN_DATAGRAMS {
            return;
        }
        queue.datagrams.push_back(datagram);
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Datagrams {
    /// Waits for the next one. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Datagram {
        poll_fn(|context| {
            let mut queue = self.0.queue();
            match queue.pop() {
                Some(datagram) => Poll::Ready(datagram),
                None => {
                    queue.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next one, if there is one.
    pub(super) fn next_now(&mut self) -> Option<Datagram> {
        self.0.queue().pop()
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.datagrams.pop_front()?;
        if self.datagrams.is_empty() {
            self.datagrams = VecDeque::new();
        }
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(n: usize) -> Datagram {
        let data = Bytes::from(n.to_be_bytes().to_vec());
        Datagram { from: SocketAddr::from(([127, 0, 0, 1], 1)), local: None, data }
    }

    #[tokio::test]
    async fn a_full_mailbox_loses_what_comes_and_an_empty_one_has_no_storage() {
        let (mailbox, mut datagrams) = mailbox();
        for n in 0..MAX_UNSEEN_DATAGRAMS + 2 {
            mailbox.put(datagram(n));
        }
        assert_eq!(datagrams.next().await.data, datagram(0).data);
        let rest: Vec<_> = std::iter::from_fn(|| datagrams.next_now()).collect();
        assert_eq!(rest.len(), MAX_UNSEEN_DATAGRAMS - 1);
        assert_eq!(rest.last().unwrap().data, datagram(MAX_UNSEEN_DATAGRAMS - 1).data);
        assert_eq!(mailbox.0.queue().datagrams.capacity(), 0);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let (mailbox, mut datagrams) = mailbox();
        let waits = tokio::spawn(async move { datagrams.next().await.data });
        tokio::task::yield_now().await;
        mailbox.put(datagram(7));
        assert_eq!(waits.await.unwrap(), datagram(7).data);
    }
}
