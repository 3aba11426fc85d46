//! The channels of a ready peer but those of signaling: best tips, pools, RPCs.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::binprot::{DecodeError, Decoded};
use mina_p2p_wire::message::{
    BestTipMessage, Frame, PoolItem, PoolMessage, RpcKind, RpcMessage, RpcRequest, RpcResponse,
    SignalingDiscoveryMessage, SignalingExchangeMessage, StagedLedgerPart, StagedLedgerPartKind, StreamingRpcMessage,
    previous_state_hash,
};
use mina_p2p_wire::{Channel, PeerId, StateHash};
use tokio::time::Instant;

use super::node::Node;
use super::peer::PeerCommand;
use super::pool::{PoolChannel, Taken};
use super::signaling::Signals;
use super::{Event, Message};

/// How many transactions or SNARK works of one peer may wait for their bodies.
const MAX_PENDING: usize = 32;
const COMMITMENT_LIMIT: u8 = 16;
/// How many requests of one peer may be unanswered.
const MAX_REQUESTS: usize = 5;
const STREAMING_TIMEOUT: Duration = Duration::from_secs(30);

fn timeout(kind: RpcKind) -> Duration {
    Duration::from_secs(match kind {
        RpcKind::BestTipWithProof => 15,
        RpcKind::LedgerQuery => 4,
        RpcKind::StagedLedgerAux => 180,
        RpcKind::Block | RpcKind::Snark | RpcKind::Transaction => 8,
        RpcKind::InitialPeers => 5,
    })
}

/// A staged ledger that we fetch.
struct Fetching {
    id: u64,
    parts: Vec<StagedLedgerPart>,
    since: Instant,
}

/// A staged ledger that we send.
struct Streaming {
    id: u64,
    parts: VecDeque<StagedLedgerPart>,
}

/// The channels of one peer.
pub(super) struct Ready {
    open: BTreeSet<Channel>,
    pub(super) signals: Signals,
    tip_requested: bool,
    tip_permitted: bool,
    tip_sent: Option<StateHash>,
    peers_tip: Option<Bytes>,
    transactions: PoolChannel,
    snarks: PoolChannel,
    commitments: PoolChannel,
    /// Shared by both kinds of RPC.
    next_id: u64,
    /// To be asked one after the other.
    pub(super) requests: VecDeque<RpcRequest>,
    asked: Option<(u64, RpcRequest, Instant)>,
    /// Those of the peer that are unanswered.
    asking: BTreeSet<u64>,
    fetching: Option<Fetching>,
    streaming: Option<Streaming>,
}

impl Ready {
    pub(super) fn new() -> Self {
        Self {
            open: BTreeSet::new(),
            signals: Signals::default(),
            tip_requested: false,
            tip_permitted: false,
            tip_sent: None,
            peers_tip: None,
            transactions: PoolChannel::new(),
            snarks: PoolChannel::new(),
            commitments: PoolChannel::silent(COMMITMENT_LIMIT),
            next_id: 0,
            requests: VecDeque::new(),
            asked: None,
            asking: BTreeSet::new(),
            fetching: None,
            streaming: None,
        }
    }

    pub(super) fn is_open(&self, channel: Channel) -> bool {
        self.open.contains(&channel)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// How many more infos of this kind may come.
    fn room(&self, kind: RpcKind) -> u8 {
        let asked = self.asked.iter().map(|(_, request, _)| request);
        let pending = self.requests.iter().chain(asked).filter(|request| request.kind() == kind).count();
        u8::try_from(MAX_PENDING.saturating_sub(pending)).unwrap_or(0)
    }
}

/// The value of a decoded body, whatever stands behind it: the existing node ignores that.
fn value<T>(decoded: Result<Decoded<T>, DecodeError>) -> Result<T, String> {
    decoded.map(|decoded| decoded.value).map_err(|error| error.to_string())
}

impl Node {
    pub(super) fn send(&self, peer: PeerId, channel: Channel, frame: Frame) {
        self.command(peer, PeerCommand::Send(channel, frame.into_bytes()));
    }

    /// A channel is open: what the existing node says at once.
    pub(super) fn opened(&mut self, peer: PeerId, channel: Channel) {
        let initial_peers = self.config.initial_peers;
        let Some(ready) = self.ready(peer) else { return };
        ready.open.insert(channel);
        match channel {
            Channel::SignalingDiscovery => {
                ready.signals.open_discovery();
                self.send(peer, channel, SignalingDiscoveryMessage::GetNext.encode());
            }
            Channel::SignalingExchange => {
                ready.signals.open_exchange();
                self.send(peer, channel, SignalingExchangeMessage::GetNext.encode());
            }
            Channel::BestTip => {
                ready.tip_requested = true;
                self.send(peer, channel, BestTipMessage::GetNext.encode());
            }
            Channel::Rpc => {
                if initial_peers {
                    ready.requests.push_front(RpcRequest::InitialPeers);
                }
                self.next_request(peer);
            }
            _ => {}
        }
    }

    /// A frame of a peer.
    ///
    /// # Errors
    /// How it breaks the protocol.
    pub(super) fn frame(&mut self, peer: PeerId, channel: Channel, body: Bytes) -> Result<(), String> {
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        if !ready.is_open(channel) {
            return Err("a message before the channel was open".into());
        }
        let message = match channel {
            Channel::SignalingDiscovery => Message::SignalingDiscovery(value(SignalingDiscoveryMessage::decode(body))?),
            Channel::SignalingExchange => Message::SignalingExchange(value(SignalingExchangeMessage::decode(body))?),
            Channel::BestTip => Message::BestTip(value(BestTipMessage::decode(body))?),
            Channel::Transaction => Message::Transaction(value(PoolMessage::decode(body))?),
            Channel::Snark => Message::Snark(value(PoolMessage::decode(body))?),
            Channel::SnarkJobCommitment => Message::Commitment(value(PoolMessage::decode(body))?),
            Channel::Rpc => Message::Rpc(value(RpcMessage::decode(body))?),
            Channel::StreamingRpc => Message::StreamingRpc(value(StreamingRpcMessage::decode(body))?),
            Channel::ExtensionRpc | Channel::CompactBlock => return Err("no such channel".into()),
        };
        self.take(peer, message.clone())?;
        self.tell(Event::Received { peer, message });
        Ok(())
    }

    fn take(&mut self, peer: PeerId, message: Message) -> Result<(), String> {
        match message {
            Message::SignalingDiscovery(message) => self.discovery(peer, message),
            Message::SignalingExchange(message) => self.exchange(peer, message),
            Message::BestTip(message) => self.best_tip(peer, message),
            Message::Transaction(message) => {
                let taken = self.ready(peer).map(|ready| ready.transactions.take(message)).transpose()?;
                if let Some(Taken::Item(info)) = taken {
                    self.fetch(peer, RpcRequest::Transaction(info.hash));
                }
                Ok(())
            }
            Message::Snark(message) => {
                let taken = self.ready(peer).map(|ready| ready.snarks.take(message)).transpose()?;
                if let Some(Taken::Item(info)) = taken {
                    self.fetch(peer, RpcRequest::Snark(info.job_id));
                }
                Ok(())
            }
            Message::Commitment(message) => {
                self.ready(peer).map(|ready| ready.commitments.take(message)).transpose()?;
                Ok(())
            }
            Message::Rpc(message) => self.rpc(peer, message),
            Message::StreamingRpc(message) => self.streaming(peer, message),
        }
    }

    fn best_tip(&mut self, peer: PeerId, message: BestTipMessage) -> Result<(), String> {
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        match message {
            BestTipMessage::GetNext if !ready.tip_permitted => ready.tip_permitted = true,
            BestTipMessage::BestTip(block) if ready.tip_requested => {
                previous_state_hash(&block).map_err(|error| error.to_string())?;
                ready.peers_tip = Some(block);
                self.send(peer, Channel::BestTip, BestTipMessage::GetNext.encode());
            }
            other => return Err(format!("unexpected {other:?}")),
        }
        Ok(())
    }

    /// Asks for the body of an item, unless it is there or asked for.
    fn fetch(&mut self, peer: PeerId, request: RpcRequest) {
        if !self.config.fetch || self.answers.iter().any(|(known, _)| *known == request) {
            return;
        }
        if let Some(ready) = self.ready(peer) {
            ready.requests.push_back(request);
        }
        self.next_request(peer);
    }

    /// Sends the next request, if none is unanswered.
    pub(super) fn next_request(&mut self, peer: PeerId) {
        let Some(ready) = self.ready(peer) else { return };
        if ready.asked.is_some() || !ready.is_open(Channel::Rpc) {
            return;
        }
        let Some(request) = ready.requests.pop_front() else { return };
        let id = ready.id();
        ready.asked = Some((id, request.clone(), Instant::now() + timeout(request.kind())));
        self.send(peer, Channel::Rpc, RpcMessage::Request { id, request }.encode());
    }

    fn rpc(&mut self, peer: PeerId, message: RpcMessage) -> Result<(), String> {
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        match message {
            RpcMessage::Request { id, request } => {
                if ready.asking.len() >= MAX_REQUESTS || !ready.asking.insert(id) {
                    return Err(format!("request {id} while {:?} are unanswered", ready.asking));
                }
                let known = self.answers.iter().find(|(known, _)| *known == request);
                let response = match (known, &request) {
                    (Some((_, response)), _) => Some(response.clone()),
                    (None, RpcRequest::InitialPeers) => Some(RpcResponse::InitialPeers(Vec::new())),
                    (None, RpcRequest::Block(hash)) => self
                        .tip
                        .as_ref()
                        .filter(|(tip, _)| tip == hash)
                        .map(|(_, block)| RpcResponse::Block(block.clone())),
                    // Never answered: the existing node's bug.
                    (None, RpcRequest::StagedLedgerAux(_)) => return Ok(()),
                    (None, _) => None,
                };
                self.send(peer, Channel::Rpc, RpcMessage::Response { id, response }.encode());
                if let Some(ready) = self.ready(peer) {
                    ready.asking.remove(&id);
                }
            }
            RpcMessage::Response { id, response } => {
                let Some((_, request, _)) = ready.asked.take_if(|(asked, ..)| *asked == id) else {
                    return Err(format!("a response to {id}, which was not asked"));
                };
                if let (Some(response), RpcRequest::Transaction(_) | RpcRequest::Snark(_)) = (response, &request) {
                    self.answers.push((request, response));
                }
                self.next_request(peer);
            }
        }
        Ok(())
    }

    pub(super) fn stream(&mut self, peer: PeerId, block: StateHash) {
        let Some(ready) = self.ready(peer) else { return };
        let id = ready.id();
        ready.fetching = Some(Fetching { id, parts: Vec::new(), since: Instant::now() });
        self.send(peer, Channel::StreamingRpc, StreamingRpcMessage::Request { id, block }.encode());
    }

    fn streaming(&mut self, peer: PeerId, message: StreamingRpcMessage) -> Result<(), String> {
        let staged = match &message {
            StreamingRpcMessage::Request { block, .. } => self.staged.get(block).cloned(),
            _ => None,
        };
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        let (id, part) = match message {
            StreamingRpcMessage::Request { id, .. } => {
                if ready.streaming.is_some() {
                    return Err("a second staged ledger at the same time".into());
                }
                let mut parts = VecDeque::from(staged.unwrap_or_default());
                let part = parts.pop_front();
                if !parts.is_empty() {
                    ready.streaming = Some(Streaming { id, parts });
                }
                (id, part)
            }
            StreamingRpcMessage::Next { id } => {
                let Some(streaming) = ready.streaming.as_mut().filter(|streaming| streaming.id == id) else {
                    return Err(format!("a permit for a part of {id}, which has none"));
                };
                let part = streaming.parts.pop_front();
                if streaming.parts.is_empty() {
                    ready.streaming = None;
                }
                (id, part)
            }
            StreamingRpcMessage::Response { id, part } => return self.part(peer, id, part),
        };
        self.send(peer, Channel::StreamingRpc, StreamingRpcMessage::Response { id, part }.encode());
        Ok(())
    }

    fn part(&mut self, peer: PeerId, id: u64, part: Option<StagedLedgerPart>) -> Result<(), String> {
        let Some(ready) = self.ready(peer) else { return Ok(()) };
        let Some(mut fetching) = ready.fetching.take_if(|fetching| fetching.id == id) else {
            return Err(format!("a part of {id}, which was not asked"));
        };
        let Some(part) = part else {
            self.tell(Event::StagedLedger { peer, parts: Vec::new() });
            return Ok(());
        };
        let expected = match fetching.parts.len() {
            0 => StagedLedgerPartKind::Base,
            1 => StagedLedgerPartKind::ScanStateBase,
            2 => StagedLedgerPartKind::PreviousIncompleteZkappUpdates,
            _ => StagedLedgerPartKind::ScanStateTree,
        };
        // A part out of order is ignored, and the timeout then ends the connection: the existing node's bug.
        if part.kind == expected {
            fetching.parts.push(part);
            fetching.since = Instant::now();
        }
        let trees = fetching.parts.get(1).map(StagedLedgerPart::tree_count).transpose();
        let whole = trees.map_err(|error| error.to_string())?.map(|trees| trees as usize + 3);
        if whole == Some(fetching.parts.len()) {
            self.tell(Event::StagedLedger { peer, parts: fetching.parts });
            return Ok(());
        }
        ready.fetching = Some(fetching);
        self.send(peer, Channel::StreamingRpc, StreamingRpcMessage::Next { id }.encode());
        Ok(())
    }

    /// Requests that are due, and timeouts.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let mut requests = Vec::new();
        let mut late = Vec::new();
        for (peer, ready) in self.all_ready() {
            if ready.is_open(Channel::Transaction) {
                let limit = ready.room(RpcKind::Transaction);
                let request = ready.transactions.request(limit);
                requests.extend(request.map(|message: mina_p2p_wire::message::TransactionMessage| {
                    (peer, Channel::Transaction, message.encode())
                }));
            }
            if ready.is_open(Channel::Snark) {
                let limit = ready.room(RpcKind::Snark);
                let request = ready.snarks.request(limit);
                requests.extend(
                    request
                        .map(|message: mina_p2p_wire::message::SnarkMessage| (peer, Channel::Snark, message.encode())),
                );
            }
            if ready.asked.as_ref().is_some_and(|(.., deadline)| *deadline < now) {
                late.push((peer, format!("timeout of {:?}", ready.asked)));
            }
            if ready.fetching.as_ref().is_some_and(|fetching| now - fetching.since > STREAMING_TIMEOUT) {
                late.push((peer, "timeout of a staged ledger's part".into()));
            }
        }
        for (peer, channel, frame) in requests {
            self.send(peer, channel, frame);
        }
        for (peer, reason) in late {
            self.drop_peer(peer, &reason);
        }
        self.signaling_tick();
    }

    /// Sends what permits have been given for.
    pub(super) fn serve_all(&mut self) {
        let Some((hash, block)) = self.tip.clone() else { return };
        let peers: Vec<_> = self.all_ready().map(|(peer, _)| peer).collect();
        for peer in peers {
            let mut frames = Vec::new();
            let (transactions, snarks, commitments) = (
                std::mem::take(&mut self.transactions),
                std::mem::take(&mut self.snarks),
                std::mem::take(&mut self.commitments),
            );
            if let Some(ready) = self.ready(peer) {
                if ready.tip_permitted && ready.tip_sent != Some(hash) {
                    ready.tip_permitted = false;
                    ready.tip_sent = Some(hash);
                    frames.push((Channel::BestTip, BestTipMessage::BestTip(block.clone()).encode()));
                }
                // Nothing of the pools for a peer whose best tip is not ours or a child of ours.
                let follows = ready
                    .peers_tip
                    .as_ref()
                    .is_some_and(|tip| *tip == block || previous_state_hash(tip).is_ok_and(|parent| parent == hash));
                if follows {
                    push(&mut frames, Channel::Transaction, ready.transactions.respond(&transactions));
                    push(&mut frames, Channel::Snark, ready.snarks.respond(&snarks));
                    push(&mut frames, Channel::SnarkJobCommitment, ready.commitments.respond(&commitments));
                }
            }
            (self.transactions, self.snarks, self.commitments) = (transactions, snarks, commitments);
            for (channel, frame) in frames {
                self.send(peer, channel, frame);
            }
        }
    }
}

fn push<Item: PoolItem>(frames: &mut Vec<(Channel, Frame)>, channel: Channel, messages: Vec<PoolMessage<Item>>) {
    frames.extend(messages.iter().map(|message| (channel, message.encode())));
}
