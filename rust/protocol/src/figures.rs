//! Counts of what a session did.

use std::collections::BTreeMap;

use mina_p2p_wire::Channel;
use mina_p2p_wire::message::BlockKey;

/// Messages and bytes of one channel, frame heads included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ChannelFigures {
    /// Messages handed out to be sent.
    pub sent_messages: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages received.
    pub received_messages: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

/// What we permit the peer to send and has not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PermitsOut {
    /// Whether a best tip may come.
    pub best_tip: bool,
    /// One for news of a block.
    pub block: bool,
    /// How many transactions may come.
    pub transactions: u8,
    /// How many works may come.
    pub works: u8,
    /// How many commitments may come.
    pub commitments: u8,
}

/// What a session did and holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// The last best tip that the peer sent.
    pub last_tip: Option<BlockKey>,
    /// The last best tip that we sent.
    pub last_tip_sent: Option<BlockKey>,
    /// What may come.
    pub permits_out: PermitsOut,
    /// Requests of ours that the peer works on.
    pub requests_in_flight: usize,
    /// Requests of ours that wait for their turn.
    pub requests_waiting: usize,
    /// Requests of the peer's that we work on.
    pub requests_served: usize,
    /// Traffic by channel; only channels with any.
    pub channels: Vec<(Channel, ChannelFigures)>,
}

/// Traffic by channel id.
#[derive(Debug, Default)]
pub(crate) struct Traffic(BTreeMap<u8, (Channel, ChannelFigures)>);

const HEAD: u64 = mina_p2p_wire::frame::HEAD_LEN as u64;

impl Traffic {
    pub(crate) fn sent(&mut self, channel: Channel, len: usize) {
        let figures = self.of(channel);
        figures.sent_messages += 1;
        figures.sent_bytes += HEAD + len as u64;
    }

    pub(crate) fn received(&mut self, channel: Channel, len: usize) {
        let figures = self.of(channel);
        figures.received_messages += 1;
        figures.received_bytes += HEAD + len as u64;
    }

    pub(crate) fn by_channel(&self) -> Vec<(Channel, ChannelFigures)> {
        self.0.values().copied().collect()
    }

    fn of(&mut self, channel: Channel) -> &mut ChannelFigures {
        &mut self.0.entry(channel.id()).or_insert((channel, ChannelFigures::default())).1
    }
}
