//! The steps of a dial, by their order.

use mina_p2p_transport::{ConnectStep, TransportKind};
use serde::{Serialize, Serializer};

/// A step of a dial. Those of WebRTC, in order; QUIC has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Resolved,
    SignalingConnected,
    Answered,
    PathFound,
    Encrypted,
    StreamsOpen,
    Authenticated,
    FirstMessage,
}

/// WebRTC's.
const WEBRTC: [Stage; 8] = [
    Stage::Resolved,
    Stage::SignalingConnected,
    Stage::Answered,
    Stage::PathFound,
    Stage::Encrypted,
    Stage::StreamsOpen,
    Stage::Authenticated,
    Stage::FirstMessage,
];

const QUIC: [Stage; 4] = [Stage::Resolved, Stage::Encrypted, Stage::Authenticated, Stage::FirstMessage];

impl Stage {
    /// All of a transport's.
    pub(super) fn of(kind: TransportKind) -> &'static [Self] {
        if kind == TransportKind::WebRtc { &WEBRTC } else { &QUIC }
    }

    /// That which comes after `last`, or the first.
    pub(super) fn after(kind: TransportKind, last: Option<Self>) -> Self {
        Self::of(kind).iter().copied().find(|stage| last.is_none_or(|last| *stage > last)).unwrap_or(Self::FirstMessage)
    }

    /// A transport's step, and what is to be shown beside it. `None` for one that this command does not know.
    pub(super) fn reached(step: &ConnectStep) -> Option<(Self, String)> {
        Some(match step {
            ConnectStep::Resolved(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                (Self::Resolved, addresses.join(", "))
            }
            ConnectStep::SignalingConnected(address) => (Self::SignalingConnected, address.to_string()),
            ConnectStep::Answered => (Self::Answered, String::new()),
            ConnectStep::PathFound => (Self::PathFound, String::new()),
            ConnectStep::Encrypted => (Self::Encrypted, String::new()),
            ConnectStep::StreamsOpen => (Self::StreamsOpen, String::new()),
            ConnectStep::Authenticated => (Self::Authenticated, String::new()),
            _ => return None,
        })
    }

    /// The name that `--json` has. Promised to users.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::SignalingConnected => "signaling_connected",
            Self::Answered => "answered",
            Self::PathFound => "path_found",
            Self::Encrypted => "encrypted",
            Self::StreamsOpen => "streams_open",
            Self::Authenticated => "authenticated",
            Self::FirstMessage => "first_message",
        }
    }

    /// As people are shown it.
    pub(super) fn title(self, kind: TransportKind) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::SignalingConnected => "signaling connected",
            Self::Answered => "offer answered",
            Self::PathFound => "path found (ICE)",
            Self::Encrypted if kind == TransportKind::WebRtc => "encrypted (DTLS)",
            Self::Encrypted => "encrypted (QUIC)",
            Self::StreamsOpen => "streams open (SCTP)",
            Self::Authenticated => "authenticated",
            Self::FirstMessage => "first message",
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_is_that_of_the_transport() {
        let next = |kind, last| Stage::after(kind, last);
        assert_eq!(next(TransportKind::WebRtc, None), Stage::Resolved);
        assert_eq!(next(TransportKind::WebRtc, Some(Stage::Answered)), Stage::PathFound);
        assert_eq!(next(TransportKind::Quic, Some(Stage::Resolved)), Stage::Encrypted);
        assert_eq!(next(TransportKind::Quic, Some(Stage::FirstMessage)), Stage::FirstMessage);
        for kind in [TransportKind::WebRtc, TransportKind::Quic] {
            assert!(Stage::of(kind).is_sorted());
        }
    }
}
