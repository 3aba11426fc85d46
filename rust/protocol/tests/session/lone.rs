//! One session whose peer is the test.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::ExtensionService;
use mina_p2p_protocol::{
    Event, Lanes, Output, Pools, ResetReason, Rule, Session, SessionConfig, StreamEnd, Time, TimeoutReason, Transmit,
    Violation, shared_stream,
};
use mina_p2p_wire::message::{
    BestTipMessage, Capabilities, ExtensionMessage, RpcMessage, SignalingDiscoveryMessage, SignalingExchangeMessage,
    StreamingRpcMessage, TransactionMessage,
};
use mina_p2p_wire::{Channel, Frame, Role, StreamId};

use crate::things;

/// How the peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Ours, a stream for each role.
    Quic,
    /// Ours, one stream for a channel.
    Rtc,
    /// The existing node.
    Old,
}

impl Peer {
    pub(crate) const ALL: [Peer; 3] = [Peer::Quic, Peer::Rtc, Peer::Old];

    pub(crate) fn lanes(self) -> Lanes {
        if self == Peer::Quic { Lanes::PerRole } else { Lanes::Shared }
    }
}

pub(crate) fn config(peer: Peer) -> SessionConfig {
    let capabilities = Capabilities::POOLS_UNGATED.bits() | Capabilities::EXTENSION_RPC.bits();
    SessionConfig {
        peer: things::peer(1),
        ours: peer != Peer::Old,
        capabilities: Capabilities::from_bits(if peer == Peer::Old { 0 } else { capabilities }),
        lanes: peer.lanes(),
        limits: things::small_limits(),
        extension_rpcs: vec![ExtensionService { name: "echo".to_owned(), version: 1, max_query: 64, cost: 10 }],
        own_capabilities: Capabilities::empty(),
        introduce: true,
        take_offers: true,
        seed: 7,
    }
}

/// As [`config`], with a peer who speaks channels 1 and 2.
pub(crate) fn introducing(peer: Peer) -> SessionConfig {
    let config = config(peer);
    let capabilities = if peer == Peer::Old { 0 } else { Capabilities::RELAY_SIGNALING.bits() };
    SessionConfig {
        capabilities: Capabilities::from_bits(config.capabilities.bits() | capabilities),
        own_capabilities: Capabilities::RELAY_SIGNALING,
        ..config
    }
}

/// The session, and what of its outputs was not taken yet.
pub(crate) struct Lone {
    pub(crate) session: Session,
    pub(crate) pools: Pools,
    pub(crate) now: Time,
    pub(crate) timeout: Option<(Time, TimeoutReason)>,
    pub(crate) transmits: Vec<Transmit>,
    pub(crate) resets: Vec<(StreamId, ResetReason)>,
    pub(crate) events: Vec<Event>,
    peer: Peer,
    opened: Vec<StreamId>,
}

impl Lone {
    /// A session whose first permits have gone out.
    pub(crate) fn new(peer: Peer) -> Lone {
        Lone::with(peer, config(peer))
    }

    pub(crate) fn with(peer: Peer, config: SessionConfig) -> Lone {
        let now = Time(Duration::from_secs(100));
        let mut lone = Lone {
            session: Session::new(config, now),
            pools: Pools::default(),
            now,
            timeout: None,
            transmits: Vec::new(),
            resets: Vec::new(),
            events: Vec::new(),
            peer,
            opened: Vec::new(),
        };
        lone.drain();
        lone
    }

    /// The stream on which our session has this role.
    pub(crate) fn stream(&self, channel: Channel, role: Role, request: u64) -> StreamId {
        match self.peer {
            Peer::Quic => StreamId { channel, role, request },
            Peer::Rtc | Peer::Old => shared_stream(channel),
        }
    }

    /// What the node does after every input.
    pub(crate) fn drain(&mut self) {
        self.session.pump(self.now, &self.pools);
        loop {
            match self.session.poll_output() {
                Output::Transmit(transmit) => self.transmits.push(transmit),
                Output::Reset { stream, why } => self.resets.push((stream, why)),
                Output::Event(event) => self.events.push(event),
                Output::Timeout { at, reason } => {
                    self.timeout = Some((at, reason));
                    return;
                }
                Output::Idle => {
                    self.timeout = None;
                    return;
                }
            }
        }
    }

    /// The peer sends a frame on a stream, which it opens if need be.
    pub(crate) fn receive(&mut self, stream: StreamId, body: Bytes) -> Result<(), Violation> {
        let theirs = self.peer == Peer::Quic && stream.role == Role::Server;
        if theirs && !self.opened.contains(&stream) {
            self.opened.push(stream);
            self.session.handle_stream_opened(self.now, stream)?;
            self.drain();
        }
        self.session.handle_frame_head(self.now, stream, body.len() as u32)?;
        self.drain();
        self.session.handle_message(self.now, stream, body)?;
        self.drain();
        Ok(())
    }

    /// The peer sends a message to the half of ours that has `role`.
    pub(crate) fn to(&mut self, role: Role, request: u64, message: impl Into<Message>) -> Result<(), Rule> {
        let message = message.into();
        let stream = self.stream(message.channel, role, request);
        self.receive(stream, message.frame.into_bytes()).map_err(|violation| {
            assert_eq!(violation.channel, message.channel);
            violation.rule
        })
    }

    pub(crate) fn end(&mut self, stream: StreamId, end: StreamEnd) -> Result<(), Rule> {
        self.session.handle_stream_end(self.now, stream, end).map_err(|violation| violation.rule)?;
        self.drain();
        Ok(())
    }

    /// Lets time pass, with the timeouts in between.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, _)) = self.timeout
            && at <= end
        {
            assert!(at > self.now, "a timeout that has been handled comes again");
            self.now = at;
            self.session.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The bodies of what was sent on a channel, and forgets all that was sent.
    pub(crate) fn take_sent(&mut self, channel: Channel) -> Vec<Bytes> {
        let sent = std::mem::take(&mut self.transmits);
        sent.into_iter().filter(|sent| sent.stream.channel == channel).map(|sent| sent.frame.into_bytes()).collect()
    }

    pub(crate) fn take_rpcs(&mut self) -> Vec<RpcMessage> {
        let decode = |body| RpcMessage::decode(body).unwrap().value;
        self.take_sent(Channel::Rpc).into_iter().map(decode).collect()
    }
}

/// A message of any channel.
pub(crate) struct Message {
    pub(crate) channel: Channel,
    pub(crate) frame: Frame,
}

macro_rules! message {
    ($type:ty, $channel:ident) => {
        impl From<$type> for Message {
            fn from(message: $type) -> Message {
                Message { channel: Channel::$channel, frame: message.encode() }
            }
        }
    };
}

message!(SignalingDiscoveryMessage, SignalingDiscovery);
message!(SignalingExchangeMessage, SignalingExchange);
message!(BestTipMessage, BestTip);
message!(TransactionMessage, Transaction);
message!(mina_p2p_wire::message::SnarkMessage, Snark);
message!(mina_p2p_wire::message::CommitmentMessage, SnarkJobCommitment);
message!(RpcMessage, Rpc);
message!(StreamingRpcMessage, StreamingRpc);
message!(ExtensionMessage, ExtensionRpc);
