//! A WebRTC connection as a [`Link`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mina_p2p_wire::Channel;

use super::streams::Queues;
use crate::connection::Link;
use crate::stream::{HalfError, RecvHalf, SendHalf};
use crate::transport::BoxFuture;
use crate::{CloseReason, TransportKind, TransportStats};

/// One WebRTC connection. Dropped, it is closed.
pub(super) struct WebRtcLink {
    pub(super) queues: Arc<Queues>,
    pub(super) remote: SocketAddr,
}

impl Link for WebRtcLink {
    fn transport(&self) -> TransportKind {
        TransportKind::WebRtc
    }

    fn accepted(&self) {
        self.queues.state().accepted = true;
        self.queues.driver.notify_one();
    }

    /// A channel's stream, once.
    fn open(&self, channel: Option<Channel>) -> BoxFuture<'_, Result<(SendHalf, RecvHalf), HalfError>> {
        let halves = channel.and_then(|channel| self.queues.take(channel)).ok_or(HalfError::Unusable);
        Box::pin(async { halves.map(|(send, recv)| (SendHalf::WebRtc(send), RecvHalf::WebRtc(recv))) })
    }

    /// Only the end: all streams are there from the start.
    fn accept(&self) -> BoxFuture<'_, Result<(u64, SendHalf, RecvHalf), HalfError>> {
        Box::pin(async { Err(HalfError::Closed(self.queues.closed().await)) })
    }

    fn close(&self, code: u64, text: &str) {
        self.queues.close(code, text);
    }

    fn closed(&self) -> BoxFuture<'_, Option<CloseReason>> {
        Box::pin(self.queues.closed())
    }

    fn set_receive_window(&self, bytes: u32) {
        self.queues.state().window = bytes as usize;
        self.queues.driver.notify_one();
    }

    fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    fn rtt(&self) -> Duration {
        self.queues.state().rtt
    }

    fn stats(&self) -> TransportStats {
        self.queues.state().stats
    }
}

impl Drop for WebRtcLink {
    fn drop(&mut self) {
        self.queues.close(CloseReason::Unspecified.code(), "");
    }
}
