//! A QUIC connection as a [`Link`], and quinn's errors as ours.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mina_p2p_wire::Channel;
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use crate::connection::Link;
use crate::stream::{HalfError, RecvHalf, SendHalf};
use crate::transport::BoxFuture;
use crate::{CloseReason, TransportKind, TransportStats};

/// One QUIC connection.
pub(super) struct QuicLink {
    pub(super) connection: quinn::Connection,
    /// Why the whole endpoint was shut down, if it was.
    pub(super) shutdown: Arc<OnceLock<CloseReason>>,
}

impl QuicLink {
    fn error(&self, error: ConnectionError) -> HalfError {
        HalfError::Closed(self.reason(error))
    }

    fn reason(&self, error: ConnectionError) -> Option<CloseReason> {
        match error {
            ConnectionError::LocallyClosed => self.shutdown.get().cloned(),
            error => close_reason(&error),
        }
    }
}

impl Link for QuicLink {
    fn transport(&self) -> TransportKind {
        TransportKind::Quic
    }

    fn open(&self, _channel: Option<Channel>) -> BoxFuture<'_, Result<(SendHalf, RecvHalf), HalfError>> {
        Box::pin(async {
            let (send, recv) = self.connection.open_bi().await.map_err(|e| self.error(e))?;
            Ok((SendHalf::Quic(send), RecvHalf::Quic(recv)))
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<(u64, SendHalf, RecvHalf), HalfError>> {
        Box::pin(async {
            let (send, recv) = self.connection.accept_bi().await.map_err(|e| self.error(e))?;
            let number = send.id().index();
            Ok((number, SendHalf::Quic(send), RecvHalf::Quic(recv)))
        })
    }

    fn close(&self, code: u64, text: &str) {
        self.connection.close(wire_code(code), text.as_bytes());
    }

    fn closed(&self) -> BoxFuture<'_, Option<CloseReason>> {
        Box::pin(async { self.reason(self.connection.closed().await) })
    }

    fn set_receive_window(&self, bytes: u32) {
        self.connection.set_receive_window(bytes.into());
    }

    fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    fn stats(&self) -> TransportStats {
        let stats = self.connection.stats();
        TransportStats {
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            datagrams_sent: stats.udp_tx.datagrams,
            datagrams_received: stats.udp_rx.datagrams,
            packets_lost: stats.path.lost_packets,
            congestion_window: stats.path.cwnd,
        }
    }
}

/// Our codes are small; a peer's unknown one that is echoed came out of a VarInt.
pub(super) fn wire_code(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// TLS alerts (RFC 8446, section 6) that say what a peer thought of us.
mod alert {
    pub(super) const HANDSHAKE_FAILURE: u8 = 40;
    pub(super) const BAD_CERTIFICATE: u8 = 42;
    pub(super) const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub(super) const CERTIFICATE_UNKNOWN: u8 = 46;
    pub(super) const DECRYPT_ERROR: u8 = 51;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// QUIC transport error codes (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 0x02;
const CRYPTO_ERROR: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// What a connection error means; `None` when it was we who closed.
pub(super) fn close_reason(error: &ConnectionError) -> Option<CloseReason> {
    Some(match error {
        ConnectionError::LocallyClosed => return None,
        ConnectionError::ApplicationClosed(close) => {
            CloseReason::from_wire(close.error_code.into_inner(), &close.reason)
        }
        ConnectionError::ConnectionClosed(close) => transport_reason(close.error_code.into(), "the peer says"),
        ConnectionError::TransportError(error) => transport_reason(error.code.into(), "we found"),
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        other => CloseReason::Lost(other.to_string()),
    })
}

fn transport_reason(code: u64, who: &str) -> CloseReason {
    if code == CONNECTION_REFUSED {
        return CloseReason::Capacity;
    }
    if !CRYPTO_ERROR.contains(&code) {
        return CloseReason::Lost(format!("{who}: QUIC error 0x{code:x}"));
    }
    match (code & 0xff) as u8 {
        alert::NO_APPLICATION_PROTOCOL => CloseReason::UnsupportedProtocol,
        alert @ (alert::HANDSHAKE_FAILURE
        | alert::BAD_CERTIFICATE
        | alert::UNSUPPORTED_CERTIFICATE
        | alert::CERTIFICATE_UNKNOWN
        | alert::DECRYPT_ERROR
        | alert::CERTIFICATE_REQUIRED) => CloseReason::UnsuitableCertificate(format!("{who}: TLS alert {alert}")),
        alert => CloseReason::Lost(format!("{who}: TLS alert {alert}")),
    }
}

impl From<WriteError> for HalfError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped(code.into_inner()),
            WriteError::ConnectionLost(error) => Self::Closed(close_reason(&error)),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Unusable,
        }
    }
}

impl From<ReadError> for HalfError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset(code.into_inner()),
            ReadError::ConnectionLost(error) => Self::Closed(close_reason(&error)),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::Unusable,
        }
    }
}
