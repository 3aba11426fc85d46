//! The state of all peers, and connecting: who may, by which timeouts, in which order.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::message::{
    RpcRequest, RpcResponse, SnarkInfo, SnarkJobCommitment, StagedLedgerPart, TransactionInfo,
};
use mina_p2p_wire::{Channel, PeerId, PublicKey, StateHash};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::channels::Ready;
use super::peer::{PeerCommand, PeerEvent, Side, TaskHandle, spawn};
use super::pool::Pool;
use super::signal::{Answer, Offer, Rejection, Response, SignalHost, auth_plaintext, open, seal};
use super::{Config, Event, http};

const TICK: Duration = Duration::from_millis(100);
/// For each state of a connection that we dial.
const OUTGOING_TIMEOUT: Duration = Duration::from_secs(15);
/// For each state of a connection that the other dialed.
const INCOMING_TIMEOUT: Duration = Duration::from_secs(30);

/// What a test orders.
pub(super) enum Order {
    Dial(PeerId, SocketAddr),
    SetTip(StateHash, Bytes),
    AddTransaction(TransactionInfo, Bytes),
    AddSnark(SnarkInfo, Bytes),
    AddCommitment(SnarkJobCommitment),
    Serve(RpcRequest, RpcResponse),
    ServeStaged(StateHash, Vec<StagedLedgerPart>),
    Request(PeerId, RpcRequest),
    Stream(PeerId, StateHash),
    Disconnect(PeerId),
    SendRaw(PeerId, Channel, Vec<Bytes>),
}

/// What comes through the node's one queue.
pub(super) enum Input {
    Order(Order),
    HttpOffer(Offer, oneshot::Sender<Response>),
    /// How the POST of our offer ended.
    HttpResponse(PeerId, Result<Option<Response>, String>),
    Peer(PeerId, PeerEvent),
}

/// How our offer gets to the other.
#[derive(Clone, Copy)]
pub(super) enum Via {
    Http(SocketAddr),
    Relay(PeerId),
}

/// Where our answer goes.
pub(super) enum Reply {
    Http(oneshot::Sender<Response>),
    Relay(PeerId),
}

enum Stage {
    /// The offer is being made.
    Offering(Via),
    /// The offer is on its way.
    Offered(Offer),
    /// The answer is being made.
    Answering(Offer, Reply),
    /// The session descriptions are exchanged; this is to be authenticated.
    Finalizing(PublicKey, [u8; 64]),
    Ready(Box<Ready>),
}

struct Peer {
    stage: Stage,
    incoming: bool,
    /// When this stage began.
    since: Instant,
    task: TaskHandle,
}

/// The node.
pub(super) struct Node {
    pub(super) config: Config,
    listen_port: u16,
    queue: mpsc::UnboundedSender<Input>,
    events: mpsc::UnboundedSender<Event>,
    peers: BTreeMap<PeerId, Peer>,
    /// The peers dialed by HTTP, and when they are dialed again if they are not connected.
    redial: HashMap<PeerId, (SocketAddr, Option<Instant>)>,
    /// Offers with descriptions that cannot be used: never answered.
    hanging: Vec<oneshot::Sender<Response>>,
    pub(super) tip: Option<(StateHash, Bytes)>,
    pub(super) transactions: Pool<TransactionInfo>,
    pub(super) snarks: Pool<SnarkInfo>,
    pub(super) commitments: Pool<SnarkJobCommitment>,
    pub(super) answers: Vec<(RpcRequest, RpcResponse)>,
    pub(super) staged: HashMap<StateHash, Vec<StagedLedgerPart>>,
}

impl Node {
    pub(super) fn new(
        config: Config,
        listen_port: u16,
        queue: mpsc::UnboundedSender<Input>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            config,
            listen_port,
            queue,
            events,
            peers: BTreeMap::new(),
            redial: HashMap::new(),
            hanging: Vec::new(),
            tip: None,
            transactions: Pool::default(),
            snarks: Pool::default(),
            commitments: Pool::default(),
            answers: Vec::new(),
            staged: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                _ = ticks.tick() => {
                    self.time_out();
                    self.tick();
                }
            }
            self.serve_all();
        }
    }

    pub(super) fn tell(&self, event: Event) {
        let _nobody_listens = self.events.send(event);
    }

    pub(super) fn me(&self) -> PeerId {
        self.config.secret.peer_id()
    }

    pub(super) fn ready(&mut self, peer: PeerId) -> Option<&mut Ready> {
        match &mut self.peers.get_mut(&peer)?.stage {
            Stage::Ready(ready) => Some(ready),
            _ => None,
        }
    }

    pub(super) fn all_ready(&mut self) -> impl Iterator<Item = (PeerId, &mut Ready)> {
        self.peers.iter_mut().filter_map(|(id, peer)| match &mut peer.stage {
            Stage::Ready(ready) => Some((*id, &mut **ready)),
            _ => None,
        })
    }

    pub(super) fn is_known(&self, peer: PeerId) -> bool {
        self.peers.contains_key(&peer)
    }

    pub(super) fn command(&self, peer: PeerId, command: PeerCommand) {
        if let Some(peer) = self.peers.get(&peer) {
            let _ended = peer.task.commands.send(command);
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Order(order) => self.order(order),
            Input::HttpOffer(offer, reply) => self.offered(offer, Reply::Http(reply)),
            Input::HttpResponse(peer, Ok(Some(response))) => self.answered(peer, response),
            // The task has ended without a word; the peer is found to be gone.
            Input::HttpResponse(peer, Ok(None)) => self.drop_peer(peer, "the answer was no answer"),
            Input::HttpResponse(peer, Err(error)) => self.drop_peer(peer, &format!("posting the offer: {error}")),
            Input::Peer(peer, event) => self.peer_event(peer, event),
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Dial(peer, http) => {
                self.redial.insert(peer, (http, None));
                self.dial(peer, Via::Http(http));
            }
            Order::SetTip(hash, block) => self.tip = Some((hash, block)),
            Order::AddTransaction(info, body) => {
                self.transactions.add(info);
                self.answers.push((RpcRequest::Transaction(info.hash), RpcResponse::Transaction(body)));
            }
            Order::AddSnark(info, body) => {
                self.snarks.add(info);
                self.answers.push((RpcRequest::Snark(info.job_id), RpcResponse::Snark(body)));
            }
            Order::AddCommitment(commitment) => self.commitments.add(commitment),
            Order::Serve(request, response) => {
                self.answers.retain(|(known, _)| *known != request);
                self.answers.push((request, response));
            }
            Order::ServeStaged(block, parts) => drop(self.staged.insert(block, parts)),
            Order::Request(peer, request) => {
                if let Some(ready) = self.ready(peer) {
                    ready.requests.push_back(request);
                }
                self.next_request(peer);
            }
            Order::Stream(peer, block) => self.stream(peer, block),
            Order::Disconnect(peer) => {
                self.redial.remove(&peer);
                self.drop_peer(peer, "ordered");
            }
            Order::SendRaw(peer, channel, messages) => self.command(peer, PeerCommand::SendRaw(channel, messages)),
        }
    }

    fn spawn(&self, peer: PeerId, side: Side) -> TaskHandle {
        let queue = self.queue.clone();
        spawn(side, self.config.pace(), self.config.auth.clone(), move |event| {
            let _stopped = queue.send(Input::Peer(peer, event));
        })
    }

    /// Begins to connect, unless it is connected or connecting. Returns whether it did.
    pub(super) fn dial(&mut self, peer: PeerId, via: Via) -> bool {
        if peer == self.me() || self.is_known(peer) {
            return false;
        }
        let task = self.spawn(peer, Side::Offerer);
        let stage = Stage::Offering(via);
        self.peers.insert(peer, Peer { stage, incoming: false, since: Instant::now(), task });
        true
    }

    fn check(&self, offer: &Offer) -> Result<(), Rejection> {
        let offerer = offer.identity_pub_key.peer_id();
        if offer.chain_id != self.config.chain_id {
            return Err(Rejection::ChainIdMismatch);
        }
        if offer.target_peer_id != self.me() {
            return Err(Rejection::TargetPeerIdNotMe);
        }
        if offerer == self.me() {
            return Err(Rejection::ConnectingToSelf);
        }
        if self.is_known(offerer) && offerer < self.me() {
            return Err(Rejection::AlreadyConnected);
        }
        let ready = self.peers.values().filter(|peer| matches!(peer.stage, Stage::Ready(_))).count();
        if ready >= self.config.max_peers {
            return Err(Rejection::PeerCapacityFull);
        }
        Ok(())
    }

    /// An offer to us.
    pub(super) fn offered(&mut self, offer: Offer, reply: Reply) {
        let offerer = offer.identity_pub_key;
        let peer = offerer.peer_id();
        if let Err(rejection) = self.check(&offer) {
            let response = Response::Rejected(rejection);
            self.tell(Event::Rejected { peer, ours: false, response: response.clone() });
            return self.reply(offerer, reply, response);
        }
        // Whatever there was is dropped, and what remains of it ends the new one 100 ms later: the existing node's bug.
        if matches!(self.peers.get(&peer), Some(Peer { stage: Stage::Ready(_), .. })) {
            self.tell(Event::Disconnected { peer, reason: "replaced by an incoming connection".into() });
        }
        let task = self.spawn(peer, Side::Answerer(offer.sdp.clone()));
        let stage = Stage::Answering(offer, reply);
        self.peers.insert(peer, Peer { stage, incoming: true, since: Instant::now(), task });
    }

    fn reply(&mut self, offerer: PublicKey, reply: Reply, response: Response) {
        match reply {
            Reply::Http(reply) => drop(reply.send(response)),
            Reply::Relay(relay) => self.answer_through(relay, offerer, &response),
        }
    }

    /// The response to our offer.
    pub(super) fn answered(&mut self, id: PeerId, response: Response) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Stage::Offered(offer) = &peer.stage else { return };
        let Response::Accepted(answer) = response else {
            self.tell(Event::Rejected { peer: id, ours: true, response: response.clone() });
            return self.drop_peer(id, &format!("the offer was not accepted: {response:?}"));
        };
        let plaintext = auth_plaintext(&offer.sdp, &answer.sdp);
        let Ok(key) = id.public_key() else { return };
        peer.stage = Stage::Finalizing(key, plaintext);
        peer.since = Instant::now();
        self.command(id, PeerCommand::RemoteAnswer(answer.sdp));
        self.authenticate(id, key, &plaintext);
    }

    fn authenticate(&mut self, peer: PeerId, key: PublicKey, plaintext: &[u8]) {
        match seal(&self.config.secret, &key, plaintext) {
            Some(sealed) => self.command(peer, PeerCommand::Auth(sealed)),
            None => self.drop_peer(peer, "the peer's key is of small order"),
        }
    }

    fn peer_event(&mut self, id: PeerId, event: PeerEvent) {
        if matches!(event, PeerEvent::Closed) {
            self.tell(Event::Closed { peer: id });
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match event {
            PeerEvent::Offer(sdp) => {
                let Stage::Offering(via) = peer.stage else { return };
                let offer = Offer {
                    sdp,
                    chain_id: self.config.chain_id,
                    identity_pub_key: self.config.secret.public_key(),
                    target_peer_id: id,
                    host: SignalHost::Ipv4([127, 0, 0, 1].into()),
                    listen_port: Some(self.listen_port),
                };
                peer.stage = Stage::Offered(offer.clone());
                peer.since = Instant::now();
                match via {
                    Via::Http(to) => {
                        let queue = self.queue.clone();
                        tokio::spawn(async move {
                            let response = http::post(to, &offer).await.map_err(|error| error.to_string());
                            let _stopped = queue.send(Input::HttpResponse(id, response));
                        });
                    }
                    Via::Relay(relay) => self.offer_through(relay, id, &offer),
                }
            }
            PeerEvent::Answer(sdp) => {
                let (key, plaintext, answer) = match &peer.stage {
                    Stage::Answering(offer, _) => {
                        let key = offer.identity_pub_key;
                        let plaintext = auth_plaintext(&offer.sdp, &sdp);
                        let identity_pub_key = self.config.secret.public_key();
                        (key, plaintext, Answer { sdp, identity_pub_key, target_peer_id: id })
                    }
                    _ => return,
                };
                let answering = std::mem::replace(&mut peer.stage, Stage::Finalizing(key, plaintext));
                peer.since = Instant::now();
                if let Stage::Answering(_, reply) = answering {
                    self.reply(key, reply, Response::Accepted(answer));
                }
                self.authenticate(id, key, &plaintext);
            }
            PeerEvent::SdpFailed(error) => {
                if let Some(Peer { stage: Stage::Answering(_, Reply::Http(reply)), .. }) = self.peers.remove(&id) {
                    self.hanging.push(reply);
                }
                self.tell(Event::Failed { peer: id, reason: format!("session description: {error}") });
            }
            PeerEvent::Authenticated(sealed) => {
                let Stage::Finalizing(key, plaintext) = &peer.stage else { return };
                if open(&self.config.secret, key, &sealed).as_deref() != Some(plaintext) {
                    return self.drop_peer(id, "ConnectionAuthError");
                }
                let incoming = peer.incoming;
                peer.stage = Stage::Ready(Box::new(Ready::new()));
                self.tell(Event::Ready { peer: id, incoming });
                Channel::ALL.iter().filter(|channel| channel.id() <= 8).for_each(|channel| {
                    self.command(id, PeerCommand::Open(*channel));
                });
            }
            PeerEvent::Open(channel) => {
                self.command(id, PeerCommand::Attach(channel));
                self.tell(Event::Open { peer: id, channel });
                self.opened(id, channel);
            }
            PeerEvent::Lost(channel, len) => self.tell(Event::Lost { peer: id, channel, len }),
            PeerEvent::Frame(channel, body) => {
                if let Err(reason) = self.frame(id, channel, body) {
                    self.tell(Event::Violation { peer: id, channel, reason: reason.clone() });
                    self.drop_peer(id, &format!("{channel}: {reason}"));
                }
            }
            PeerEvent::BadFrame(channel, error) => {
                self.tell(Event::BadFrame { peer: id, channel, error: error.clone() });
                self.drop_peer(id, &format!("{channel}: {error}"));
            }
            PeerEvent::Failed(reason) => self.drop_peer(id, &reason),
            PeerEvent::Closed => self.drop_peer(id, "closed"),
        }
    }

    /// Ends a connection or an attempt.
    pub(super) fn drop_peer(&mut self, id: PeerId, reason: &str) {
        let Some(peer) = self.peers.remove(&id) else { return };
        let reason = reason.to_owned();
        self.tell(match peer.stage {
            Stage::Ready(_) => Event::Disconnected { peer: id, reason },
            _ => Event::Failed { peer: id, reason },
        });
        if let (Some((_, when)), Some(after)) = (self.redial.get_mut(&id), self.config.reconnect) {
            *when = Some(Instant::now() + after);
        }
    }

    fn time_out(&mut self) {
        let now = Instant::now();
        let late = self.peers.iter().filter(|(_, peer)| {
            let limit = if peer.incoming { INCOMING_TIMEOUT } else { OUTGOING_TIMEOUT };
            !matches!(peer.stage, Stage::Ready(_)) && now - peer.since > limit
        });
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_peer(id, "timeout while connecting");
        }
        let due =
            self.redial.iter_mut().filter_map(|(id, (to, when))| when.take_if(|when| *when <= now).map(|_| (*id, *to)));
        for (id, to) in due.collect::<Vec<_>>() {
            self.dial(id, Via::Http(to));
        }
    }
}
