//! One UDP socket.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::sync::{Semaphore, watch};

use super::sort::sort;

/// What a socket may hold before we read it: about 1,400 full datagrams, a first flight (64 KiB) of 30 peers at once. The
/// system may give less.
const SOCKET_BUFFER: usize = 2 << 20;

/// Most that one read yields per message: the largest UDP datagram, which is also the most that the system joins.
const MAX_MESSAGE: usize = u16::MAX as usize;
/// Messages that [`Port::read_alone`] takes at once: 8 * 64 KiB = 512 KiB of buffers.
const MESSAGES_AT_ONCE: usize = 8;
/// Most that one system call sends: a UDP datagram's payload over IPv4 (65,535 - 20 of IP - 8 of UDP), less what IPv6 needs
/// more (20).
const MAX_BATCH: usize = 65_535 - 20 - 8 - 20;

/// Where a port's WebRTC datagrams go.
pub trait DatagramSink: Send + Sync {
    /// A datagram came from `from` to our address `local`, if the system says which. It begins with a byte of
    /// [`DatagramKind::WebRtc`](super::DatagramKind::WebRtc), and more nobody has checked.
    ///
    /// Called from the task that reads the socket: must not block. A datagram for which there is no room is best dropped.
    fn datagram(&self, from: SocketAddr, local: Option<IpAddr>, data: Bytes);
}

/// A UDP socket for QUIC and WebRTC.
///
/// It has one reader at a time: a QUIC endpoint (`quic::Endpoint::listen_on`, which fails while there is another) or
/// [`read_alone`](Self::read_alone), which waits for its turn. Either hands WebRTC's datagrams to the port's
/// [`DatagramSink`]. Anyone sends.
///
/// A sink that holds its port keeps it, and itself, until [`close`](Self::close).
pub struct Port {
    pub(super) io: tokio::net::UdpSocket,
    /// For reading, and for sending batches.
    pub(super) state: UdpSocketState,
    /// For sending single datagrams. Where they go is what a peer, or somebody who speaks of one, calls an address, and for
    /// some the system answers `EINVAL`, which quinn-udp takes as a reason to never send batches again. Batches are for
    /// addresses that have answered.
    singles: UdpSocketState,
    local: SocketAddr,
    sink: RwLock<Option<Arc<dyn DatagramSink>>>,
    /// One permit, the reader's.
    pub(super) reader: Arc<Semaphore>,
    closed: watch::Sender<bool>,
    counters: Counters,
}

/// How many datagrams a [`Port`] has had since it was bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortFigures {
    /// Came and went to the sink.
    pub webrtc: u64,
    /// Were WebRTC's while there was no sink; dropped.
    pub unclaimed: u64,
    /// Were QUIC's while no QUIC endpoint read; dropped.
    pub unread_quic: u64,
    /// Began with a byte of neither protocol; dropped.
    pub unknown: u64,
    /// Had no contents; dropped.
    pub empty: u64,
    /// Sends that the system refused, or that had no possible destination; dropped. A batch counts as one.
    pub refused_sends: u64,
}

#[derive(Default)]
struct Counters {
    webrtc: AtomicU64,
    unclaimed: AtomicU64,
    unread_quic: AtomicU64,
    unknown: AtomicU64,
    empty: AtomicU64,
    refused_sends: AtomicU64,
}

impl Port {
    /// Binds a socket. An IPv6 socket takes IPv6 alone, so that both families can have the same port.
    ///
    /// # Errors
    /// The system's, and when there is no tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Arc<Self>> {
        // Without one, registering the socket would panic.
        tokio::runtime::Handle::try_current().map_err(|_| io::Error::other("no tokio runtime"))?;
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Best effort: the system's own limits may be lower.
        for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
            drop(set(&socket, SOCKET_BUFFER));
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr()?;
        let state = UdpSocketState::new((&socket).into())?;
        let singles = UdpSocketState::new((&socket).into())?;
        Ok(Arc::new(Self {
            io: tokio::net::UdpSocket::from_std(socket)?,
            state,
            singles,
            local,
            sink: RwLock::default(),
            reader: Arc::new(Semaphore::new(1)),
            closed: watch::Sender::new(false),
            counters: Counters::default(),
        }))
    }

    /// Where it is bound, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where WebRTC's datagrams go from now on. Until then, and after [`close`](Self::close), they are dropped.
    pub fn set_sink(&self, sink: Arc<dyn DatagramSink>) {
        let mut place = self.sink.write().unwrap_or_else(PoisonError::into_inner);
        if !*self.closed.borrow() {
            *place = Some(sink);
        }
    }

    /// Where they go now: whoever puts another sink in its place can pass them on.
    #[must_use]
    pub fn sink(&self) -> Option<Arc<dyn DatagramSink>> {
        self.sink.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of the sink and ends [`read_alone`](Self::read_alone). The socket stays until nobody holds the port.
    pub fn close(&self) {
        let mut place = self.sink.write().unwrap_or_else(PoisonError::into_inner);
        self.closed.send_replace(true);
        let sink = place.take();
        drop(place);
        // Last, as it may be the one that holds us.
        drop(sink);
    }

    /// What it has had so far.
    #[must_use]
    pub fn figures(&self) -> PortFigures {
        let Counters { webrtc, unclaimed, unread_quic, unknown, empty, refused_sends } = &self.counters;
        let [webrtc, unclaimed, unread_quic, unknown, empty, refused_sends] =
            [webrtc, unclaimed, unread_quic, unknown, empty, refused_sends].map(|n| n.load(Ordering::Relaxed));
        PortFigures { webrtc, unclaimed, unread_quic, unknown, empty, refused_sends }
    }

    /// Most datagrams that [`try_send`](Self::try_send) gives the system at once: 1 where it takes no batches.
    #[must_use]
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    /// Sends `contents` as one datagram, or as datagrams of `segment_size` bytes each, of which the last may be shorter. How
    /// many of its bytes need no further care: all of them, or less where the socket became full in between.
    ///
    /// A datagram that the system refuses (no route, too long for the path, not permitted) counts as sent, and lost.
    ///
    /// Segments are for addresses that have answered: a system may refuse them towards others in a way that ends them for the
    /// whole port, QUIC included.
    ///
    /// # Errors
    /// `WouldBlock`, and no other, when the socket is full: [`writable`](Self::writable) says when to try again.
    pub fn try_send(
        &self,
        destination: SocketAddr,
        src_ip: Option<IpAddr>,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<usize> {
        if !self.can_reach(destination) {
            count(&self.counters.refused_sends, 1);
            return Ok(contents.len());
        }
        let segment = segment_size.filter(|size| *size > 0).unwrap_or(contents.len()).max(1);
        let at_once = (MAX_BATCH / segment).min(self.max_segments()).max(1);
        let mut done = 0;
        for piece in contents.chunks(segment.saturating_mul(at_once)) {
            let transmit = Transmit { destination, ecn: None, contents: piece, segment_size: Some(segment), src_ip };
            let state = self.state_for(&transmit);
            match self.io.try_io(Interest::WRITABLE, || state.try_send((&self.io).into(), &transmit)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && done == 0 => return Err(error),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    count(&self.counters.refused_sends, 1);
                    tracing::trace!(%destination, len = piece.len(), %error, "datagram not sent");
                }
            }
            done += piece.len();
        }
        Ok(done)
    }

    /// Sends as [`try_send`](Self::try_send) does, and waits where the socket is full.
    ///
    /// # Errors
    /// Only when the runtime has gone.
    pub async fn send(
        &self,
        destination: SocketAddr,
        src_ip: Option<IpAddr>,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<()> {
        let mut rest = contents;
        while !rest.is_empty() {
            match self.try_send(destination, src_ip, rest, segment_size) {
                Ok(done) => rest = rest.get(done..).unwrap_or_default(),
                Err(_) => self.writable().await?,
            }
        }
        Ok(())
    }

    /// Waits until the socket may have room.
    ///
    /// # Errors
    /// Only when the runtime has gone.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Reads the socket until the port is closed, whenever no QUIC endpoint does. QUIC's datagrams are dropped.
    ///
    /// # Errors
    /// The system's, of reading.
    pub async fn read_alone(&self) -> io::Result<()> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            // Fails only without a sender, and we are it.
            _ = closed.wait_for(|closed| *closed) => Ok(()),
            result = self.read() => result,
        }
    }

    async fn read(&self) -> io::Result<()> {
        let _reader = self.reader.acquire().await.map_err(io::Error::other)?;
        let mut memory = vec![0; MESSAGES_AT_ONCE * MAX_MESSAGE];
        let mut buffers: Vec<_> = memory.chunks_mut(MAX_MESSAGE).map(IoSliceMut::new).collect();
        let mut metas = [RecvMeta::default(); MESSAGES_AT_ONCE];
        loop {
            let receive = || self.state.recv((&self.io).into(), &mut buffers, &mut metas);
            let messages = match self.io.async_io(Interest::READABLE, receive).await {
                Ok(messages) => messages,
                // Somewhere a datagram of ours was not wanted, and anybody can say so.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => continue,
                Err(error) => return Err(error),
            };
            for (buffer, meta) in buffers.iter_mut().zip(&mut metas).take(messages) {
                let quic = self.take_webrtc(buffer, meta);
                count(&self.counters.unread_quic, quic);
            }
        }
    }

    /// Takes whatever is not QUIC's out of one received message, and says how many datagrams of QUIC remain.
    pub(super) fn take_webrtc(&self, buffer: &mut [u8], meta: &mut RecvMeta) -> u64 {
        if meta.len == 0 {
            count(&self.counters.empty, 1);
            return 0;
        }
        let Some(received) = buffer.get_mut(..meta.len) else { return 0 };
        let sorted = sort(received, meta.stride);
        meta.len = sorted.quic;
        if sorted.other > 0 {
            count(&self.counters.unknown, sorted.other);
        }
        if !sorted.webrtc.is_empty() {
            self.hand_over(meta, sorted.webrtc);
        }
        sorted.quic_count
    }

    fn hand_over(&self, meta: &RecvMeta, mut run: Bytes) {
        let stride = meta.stride.max(1);
        let datagrams = u64::try_from(run.len().div_ceil(stride)).unwrap_or(u64::MAX);
        // Not held while the sink has its turn: it may close us.
        let sink = self.sink.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sink) = sink else { return count(&self.counters.unclaimed, datagrams) };
        count(&self.counters.webrtc, datagrams);
        while !run.is_empty() {
            let datagram = run.split_to(stride.min(run.len()));
            sink.datagram(meta.addr, meta.dst_ip, datagram);
        }
    }

    /// What to send this with.
    pub(super) fn state_for(&self, transmit: &Transmit<'_>) -> &UdpSocketState {
        let is_batch = transmit.segment_size.is_some_and(|segment| segment < transmit.contents.len());
        if is_batch { &self.state } else { &self.singles }
    }

    /// Whether a datagram to there could be sent at all. Peers name their addresses themselves.
    fn can_reach(&self, destination: SocketAddr) -> bool {
        destination.port() != 0 && !destination.ip().is_unspecified() && destination.is_ipv4() == self.local.is_ipv4()
    }
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("local", &self.local).field("figures", &self.figures()).finish_non_exhaustive()
    }
}
