//! A port as quinn's socket.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit};
use tokio::io::Interest;
use tokio::sync::OwnedSemaphorePermit;

use super::Port;

impl Port {
    /// The port for a QUIC endpoint, which reads it from now on.
    ///
    /// # Errors
    /// `ResourceBusy` when it has a reader already.
    pub(crate) fn quic_socket(self: Arc<Self>) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let reader = self.reader.clone().try_acquire_owned().map_err(|_| io::ErrorKind::ResourceBusy)?;
        Ok(Arc::new(QuicSocket { port: self, _reader: reader }))
    }
}

/// As quinn's own socket for tokio, but that it takes WebRTC's datagrams out.
struct QuicSocket {
    port: Arc<Port>,
    _reader: OwnedSemaphorePermit,
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.port.fmt(f)
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { port: self.port.clone(), waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let io = &self.port.io;
        let state = self.port.state_for(transmit);
        io.try_io(Interest::WRITABLE, || state.send(io.into(), transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Port { io, state, .. } = &*self.port;
        loop {
            ready!(io.poll_recv_ready(cx))?;
            if let Ok(messages) = io.try_io(Interest::READABLE, || state.recv(io.into(), buffers, metas)) {
                for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(messages) {
                    // A message that has become empty is one that quinn passes over, and counts as work.
                    self.port.take_webrtc(buffer, meta);
                }
                return Poll::Ready(Ok(messages));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.port.local_addr())
    }

    fn max_transmit_segments(&self) -> usize {
        self.port.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.port.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.port.state.may_fragment()
    }
}

/// Waits for room in the socket, for one of the endpoint's tasks.
struct Poller {
    port: Arc<Port>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() {
            // quinn asks before each transmit, and nearly always there is room: no allocation then.
            if let Poll::Ready(result) = pin!(self.port.io.writable()).poll(cx) {
                return Poll::Ready(result);
            }
            let port = self.port.clone();
            self.waiting = Some(Box::pin(async move { port.io.writable().await }));
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let result = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(result)
    }
}
