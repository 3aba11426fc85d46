//! Channels, and the streams that carry them.

use std::fmt;

use crate::message::{MAX_COMPACT_LEN, MAX_EXTENSION_BODY_LEN, MAX_EXTENSION_HEAD_LEN};

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// A channel of the protocol. Ids 1 to 8 are the existing node's; ours start at 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// A relay asks whether we want to be introduced to another of its peers.
    SignalingDiscovery = 1,
    /// A relay hands over offers of those who want to connect.
    SignalingExchange = 2,
    /// Best tips, whole blocks.
    BestTip = 3,
    /// What transactions there are.
    Transaction = 4,
    /// What SNARK works there are.
    Snark = 5,
    /// Who works on which SNARK.
    SnarkJobCommitment = 6,
    /// Requests, each with one answer.
    Rpc = 7,
    /// Requests answered in parts.
    StreamingRpc = 8,
    /// Requests by name, of which the library knows nothing; only between nodes that announced it.
    ExtensionRpc = 16,
    /// Blocks without the items that the receiver holds; only between nodes that announced it.
    CompactBlock = 17,
}

impl Channel {
    /// Every channel, by rising id.
    pub const ALL: [Self; 10] = [
        Self::SignalingDiscovery,
        Self::SignalingExchange,
        Self::BestTip,
        Self::Transaction,
        Self::Snark,
        Self::SnarkJobCommitment,
        Self::Rpc,
        Self::StreamingRpc,
        Self::ExtensionRpc,
        Self::CompactBlock,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name: that of the existing node's data channel.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SignalingDiscovery => "signaling/discovery",
            Self::SignalingExchange => "signaling/exchange",
            Self::BestTip => "best_tip/propagation",
            Self::Transaction => "transaction/propagation",
            Self::Snark => "snark/propagation",
            Self::SnarkJobCommitment => "snark_job_commitment/propagation",
            Self::Rpc => "rpc",
            Self::StreamingRpc => "rpc/streaming",
            Self::ExtensionRpc => "rpc/extension",
            Self::CompactBlock => "block/compact",
        }
    }

    /// The most bytes of a message's body in any state: the existing node's limits, which end a connection there. What a
    /// state allows is less almost everywhere; see the limits beside each message.
    #[must_use]
    pub const fn max_frame_len(self) -> u32 {
        match self {
            Self::SignalingDiscovery | Self::SignalingExchange => 16 * KIB,
            Self::BestTip => 32 * MIB,
            Self::Transaction | Self::Snark => KIB,
            Self::SnarkJobCommitment => 2 * KIB,
            Self::Rpc => 256 * MIB,
            Self::StreamingRpc => 16 * MIB,
            Self::ExtensionRpc => (MAX_EXTENSION_HEAD_LEN + MAX_EXTENSION_BODY_LEN) as u32,
            Self::CompactBlock => MAX_COMPACT_LEN as u32,
        }
    }

    /// Whether each request has a stream of its own where the transport has streams enough (QUIC).
    #[must_use]
    pub const fn is_rpc(self) -> bool {
        matches!(self, Self::Rpc | Self::StreamingRpc | Self::ExtensionRpc)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A channel id that this protocol does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no channel {0}")]
pub struct UnknownChannel(
    /// The id found.
    pub u8,
);

impl TryFrom<u8> for Channel {
    type Error = UnknownChannel;

    fn try_from(id: u8) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|channel| channel.id() == id).ok_or(UnknownChannel(id))
    }
}

/// What *we* are on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// We opened it: our permits and requests go out on it, what they permit comes back.
    Puller,
    /// The peer opened it: we answer.
    Server,
}

/// Names a stream of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The channel that the stream carries.
    pub channel: Channel,
    /// What we are on it.
    pub role: Role,
    /// Tells the streams of several requests apart (the RPC channels). Unique within the connection: as puller chosen by
    /// the session, as server by the transport. 0 on the other channels.
    pub request: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Puller => "puller",
            Role::Server => "server",
        };
        write!(f, "{} ({role}, {})", self.channel, self.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_channels_and_other_ids_none() {
        for id in 0..=u8::MAX {
            match Channel::try_from(id) {
                Ok(channel) => assert_eq!(channel.id(), id),
                Err(error) => assert_eq!(error, UnknownChannel(id)),
            }
        }
        let known = (0..=u8::MAX).filter(|&id| Channel::try_from(id).is_ok());
        assert_eq!(known.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 16, 17]);
    }

    #[test]
    fn a_stream_is_named_in_full() {
        let stream = StreamId { channel: Channel::Rpc, role: Role::Puller, request: 3 };
        assert_eq!(stream.to_string(), "rpc (puller, 3)");
    }
}
