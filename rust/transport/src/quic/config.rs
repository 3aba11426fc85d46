//! quinn's settings, all from [`limits`](crate::limits).

use std::sync::Arc;

use quinn::congestion::CubicConfig;
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};

use crate::Limits;
use crate::limits::{
    INITIAL_CONGESTION_WINDOW, MAX_PEER_STREAMS, PENDING_RECEIVE_WINDOW, SEND_WINDOW, STREAM_RECEIVE_WINDOW,
};

pub(super) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // A packet without the QUIC bit would be taken for WebRTC's (see udp::DatagramKind).
    config.grease_quic_bit(false);
    config
}

pub(super) fn transport(limits: &Limits) -> TransportConfig {
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_CONGESTION_WINDOW.into());
    // A timeout beyond what QUIC can say (2^62 ms) is none.
    let idle = IdleTimeout::try_from(limits.idle_timeout).ok();

    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(MAX_PEER_STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .receive_window(PENDING_RECEIVE_WINDOW.into())
        .stream_receive_window(STREAM_RECEIVE_WINDOW.into())
        .send_window(SEND_WINDOW.into())
        .congestion_controller_factory(Arc::new(congestion))
        .max_idle_timeout(idle)
        .keep_alive_interval(Some(limits.keep_alive_interval));
    config
}
