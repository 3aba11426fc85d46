//! A connection in memory: two links that hand each other streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mina_p2p_wire::Channel;
use tokio::sync::{Mutex, mpsc, watch};

use super::pipe;
use crate::connection::Link;
use crate::limits::MAX_PEER_STREAMS;
use crate::stream::{HalfError, RecvHalf, SendHalf};
use crate::transport::BoxFuture;
use crate::{CloseReason, TransportKind, TransportStats};

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Listener,
}

/// How a connection ended, as one side sees it.
#[derive(Clone)]
pub(crate) struct Ending {
    side: Side,
    state: Arc<watch::Sender<Option<(Side, CloseReason)>>>,
}

impl Ending {
    fn close(&self, code: u64, text: &str) {
        self.state.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some((self.side, CloseReason::from_wire(code, text.as_bytes())));
            }
            first
        });
    }

    /// `None` when it was this side that closed.
    async fn ended(&self) -> Option<CloseReason> {
        let mut state = self.state.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let end = state.wait_for(Option::is_some).await.map(|end| end.clone());
        match end {
            Ok(Some((side, reason))) if side != self.side => Some(reason),
            _ => None,
        }
    }

    pub(super) async fn unless_ended<T>(
        &self,
        future: impl Future<Output = Result<T, HalfError>>,
    ) -> Result<T, HalfError> {
        tokio::select! {
            biased;
            reason = self.ended() => Err(HalfError::Closed(reason)),
            result = future => result,
        }
    }
}

type Halves = (SendHalf, RecvHalf);

/// One end of a connection.
pub(super) struct MemoryLink {
    ending: Ending,
    remote: SocketAddr,
    /// Streams that we open, the peer's end of each.
    opened: mpsc::Sender<Halves>,
    accepted: Mutex<mpsc::Receiver<Halves>>,
    numbers: AtomicU64,
}

/// The dialer's and the listener's end; `addresses` are theirs in the same order.
pub(super) fn connection(addresses: (SocketAddr, SocketAddr)) -> (MemoryLink, MemoryLink) {
    let state = Arc::new(watch::Sender::new(None));
    let (to_listener, from_dialer) = mpsc::channel(MAX_PEER_STREAMS as usize);
    let (to_dialer, from_listener) = mpsc::channel(MAX_PEER_STREAMS as usize);
    let link = |side, remote, opened, accepted| MemoryLink {
        ending: Ending { side, state: state.clone() },
        remote,
        opened,
        accepted: Mutex::new(accepted),
        numbers: AtomicU64::new(0),
    };
    (
        link(Side::Dialer, addresses.1, to_listener, from_listener),
        link(Side::Listener, addresses.0, to_dialer, from_dialer),
    )
}

impl MemoryLink {
    fn other(&self) -> Ending {
        Ending {
            side: match self.ending.side {
                Side::Dialer => Side::Listener,
                Side::Listener => Side::Dialer,
            },
            state: self.ending.state.clone(),
        }
    }
}

impl Link for MemoryLink {
    fn transport(&self) -> TransportKind {
        TransportKind::Memory
    }

    fn open(&self, _channel: Option<Channel>) -> BoxFuture<'_, Result<Halves, HalfError>> {
        Box::pin(self.ending.unless_ended(async {
            let (send, their_recv) = pipe::pipe(self.ending.clone(), self.other());
            let (their_send, recv) = pipe::pipe(self.other(), self.ending.clone());
            self.opened
                .send((SendHalf::Memory(their_send), RecvHalf::Memory(their_recv)))
                .await
                .map_err(|_| HalfError::Closed(Some(CloseReason::Unspecified)))?;
            Ok((SendHalf::Memory(send), RecvHalf::Memory(recv)))
        }))
    }

    fn accept(&self) -> BoxFuture<'_, Result<(u64, SendHalf, RecvHalf), HalfError>> {
        Box::pin(self.ending.unless_ended(async {
            let mut accepted = self.accepted.lock().await;
            let (send, recv) = accepted.recv().await.ok_or(HalfError::Closed(Some(CloseReason::Unspecified)))?;
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            Ok((number, send, recv))
        }))
    }

    fn close(&self, code: u64, text: &str) {
        self.ending.close(code, text);
    }

    fn closed(&self) -> BoxFuture<'_, Option<CloseReason>> {
        Box::pin(self.ending.ended())
    }

    /// Each pipe is bounded by itself.
    fn set_receive_window(&self, _bytes: u32) {}

    fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    fn rtt(&self) -> Duration {
        Duration::ZERO
    }

    /// Nothing is measured.
    fn stats(&self) -> TransportStats {
        TransportStats::default()
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.ending.close(CloseReason::Unspecified.code(), "");
    }
}
