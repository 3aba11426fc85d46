//! One authenticated peer: its channels, tied together.

mod introducing;
mod watching;

use std::collections::BTreeSet;

use bytes::Bytes;
use mina_p2p_wire::message::{
    BlockQuery, Capabilities, ExtensionMessage, ExtensionName, RpcKind, RpcMessage, SnarkInfo, SnarkJobCommitment,
    StreamingRpcMessage, TransactionInfo,
};
use mina_p2p_wire::{Channel, PeerId, Role, StreamId};

use crate::Time;
use crate::answering::Answering;
use crate::asking::{Ask, Asking, Kind};
use crate::best_tip::BestTip;
use crate::block_answer::BlockReply;
use crate::compact::{CompactBlocks, Offered};
use crate::config::{SessionConfig, SessionLimits};
use crate::extension::Services;
use crate::introductions::{Discovery, Exchange};
use crate::lane::{Allowed, Terms};
use crate::output::{Outbox, Output, Processed, StreamEnd};
use crate::pool::Pool;
use crate::pools::Pools;
use crate::rate::Rate;
use crate::request::{Answer, IncomingId, Request, RequestError, RequestId, RespondError, Response};
use crate::streaming_rpc::{Answerer, Asker};
use crate::violation::{Rule, Violation};

/// One authenticated peer. It has no sockets, threads or clocks: inputs go in with the time, then outputs are drained.
///
/// After any input: [`Session::pump`], then [`Session::poll_output`] until it answers [`Output::Timeout`] or
/// [`Output::Idle`]. Inputs may also be given while draining. The same inputs give the same outputs.
///
/// For a stream of the peer's: [`Session::handle_stream_opened`] (where a stream has one role); for each frame on it
/// [`Session::handle_frame_head`], before its body is read, and [`Session::handle_message`]; and
/// [`Session::handle_stream_end`], unless the whole connection ended.
///
/// So that what a peer does not read does not pile up: where a stream has one role, no frame is to be read from a stream on
/// which we serve while an earlier [`Output::Transmit`] of it is unwritten. Where a stream carries both roles that could
/// block for ever, as both sides may be writing long answers to each other: go on reading, and say by
/// [`Session::set_writable`] when a channel has too much to write.
///
/// A [`Violation`] ends the session: what was to come out is dropped, and every later input answers it again.
#[derive(Debug)]
pub struct Session {
    peer: PeerId,
    terms: Terms,
    capabilities: Capabilities,
    limits: SessionLimits,
    out: Outbox,
    /// The channels of 1 to 6, and 17, that the peer opened its stream of, where a stream has one role.
    opened: BTreeSet<Channel>,
    /// The shared streams that have too much to write.
    blocked: BTreeSet<Channel>,
    best_tip: BestTip,
    transactions: Pool<TransactionInfo>,
    works: Pool<SnarkInfo>,
    commitments: Pool<SnarkJobCommitment>,
    compact: CompactBlocks,
    /// Channels 1 and 2 are spoken.
    introductions: bool,
    discovery: Discovery,
    exchange: Exchange,
    asking: Asking,
    answering: Answering,
    ledger_asker: Asker,
    ledger_answerer: Answerer,
    rate: Rate,
    next_request: u64,
    next_incoming: u64,
    /// The time of the last input.
    now: Time,
    /// There was an input since permits were renewed and requests taken up.
    unsettled: bool,
    violation: Option<Violation>,
}

impl Session {
    /// A session with a peer that has just been authenticated. Drain it: permits go out at once.
    #[must_use]
    pub fn new(config: SessionConfig, now: Time) -> Session {
        let SessionConfig { peer, ours, capabilities, own_capabilities, lanes, limits, extension_rpcs, .. } = config;
        let SessionConfig { introduce, take_offers, seed, .. } = config;
        let gated = !(ours && capabilities.contains(Capabilities::POOLS_UNGATED));
        let both = |capability| capabilities.contains(capability) && own_capabilities.contains(capability);
        let compact = Capabilities::COMPACT_BLOCKS | Capabilities::EXTENSION_RPC;
        let compact = ours && both(compact);
        let introductions = !ours || both(Capabilities::RELAY_SIGNALING);
        let terms = Terms { lanes, ours, gated };
        Session {
            peer,
            terms,
            capabilities,
            out: Outbox::default(),
            opened: BTreeSet::new(),
            blocked: BTreeSet::new(),
            best_tip: BestTip::new(terms, compact, &limits),
            transactions: Pool::new(terms, peer, limits.pool_permit),
            works: Pool::new(terms, peer, limits.pool_permit),
            commitments: Pool::new(terms, peer, limits.commitment_permit),
            compact: CompactBlocks::new(terms, compact, seed),
            introductions,
            discovery: Discovery::new(terms, introduce, now),
            exchange: Exchange::new(terms, take_offers, now),
            asking: Asking::new(terms, &limits),
            answering: Answering::new(terms, &limits, Services::new(extension_rpcs)),
            ledger_asker: Asker::new(terms, &limits),
            ledger_answerer: Answerer::new(terms, &limits),
            rate: Rate::new(limits.request_rate, limits.request_burst, now),
            next_request: 0,
            next_incoming: 0,
            now,
            unsettled: true,
            violation: None,
            limits,
        }
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The peer opened a stream. Nothing to do where a stream carries both roles.
    ///
    /// # Errors
    /// A [`Violation`] if it may not have another such stream.
    pub fn handle_stream_opened(&mut self, now: Time, stream: StreamId) -> Result<(), Violation> {
        if !self.terms.per_role() || stream.role == Role::Puller {
            return Ok(());
        }
        self.input(now, stream.channel, |session| match stream.channel {
            Channel::BestTip | Channel::Transaction | Channel::Snark | Channel::SnarkJobCommitment => {
                session.opens(stream.channel)
            }
            Channel::CompactBlock if session.compact.is_spoken() => session.opens(stream.channel),
            Channel::SignalingDiscovery | Channel::SignalingExchange if session.introductions => {
                session.opens(stream.channel)
            }
            Channel::Rpc => session.answering.stream_opened(stream),
            Channel::ExtensionRpc if session.terms.ours => session.answering.stream_opened(stream),
            Channel::StreamingRpc => session.ledger_answerer.stream_opened(stream),
            Channel::ExtensionRpc
            | Channel::CompactBlock
            | Channel::SignalingDiscovery
            | Channel::SignalingExchange => Err(Rule::ChannelNotSupported),
        })
    }

    fn opens(&mut self, channel: Channel) -> Result<(), Rule> {
        if self.opened.insert(channel) { Ok(()) } else { Err(Rule::SecondStream) }
    }

    /// A frame begins on a stream; its body is not read yet, and is not to be if this fails.
    ///
    /// # Errors
    /// A [`Violation`] if no frame of this length may come on this stream now.
    pub fn handle_frame_head(&mut self, now: Time, stream: StreamId, len: u32) -> Result<(), Violation> {
        self.input(now, stream.channel, |session| {
            session.check_length(stream, len)?;
            if !session.terms.per_role() || stream.role == Role::Puller {
                session.asking.answer_begins(now, stream, len);
                if stream.channel == Channel::StreamingRpc {
                    session.ledger_asker.answer_begins(now, stream, len);
                }
            }
            Ok(())
        })
    }

    /// A frame's whole body has come.
    ///
    /// # Errors
    /// A [`Violation`] if it is no message, or none that may come on this stream now.
    pub fn handle_message(&mut self, now: Time, stream: StreamId, body: Bytes) -> Result<(), Violation> {
        self.out.traffic.received(stream.channel, body.len());
        self.input(now, stream.channel, |session| {
            session.check_length(stream, u32::try_from(body.len()).unwrap_or(u32::MAX))?;
            match stream.channel {
                Channel::BestTip => session.best_tip.handle(stream, body, &mut session.out),
                Channel::Transaction => session.transactions.handle(stream, body, &mut session.out),
                Channel::Snark => session.works.handle(stream, body, &mut session.out),
                Channel::SnarkJobCommitment => session.commitments.handle(stream, body, &mut session.out),
                Channel::Rpc => session.handle_rpc(now, stream, body),
                Channel::StreamingRpc => session.handle_streaming_rpc(now, stream, body),
                Channel::ExtensionRpc => session.handle_extension(now, stream, body),
                Channel::CompactBlock => session.compact.handle(stream, body, &mut session.out),
                Channel::SignalingDiscovery => session.discovery.handle(now, stream, body, &mut session.out),
                Channel::SignalingExchange => session.exchange.handle(now, stream, body, &mut session.out),
            }
        })
    }

    fn check_length(&self, stream: StreamId, len: u32) -> Result<(), Rule> {
        if len == 0 {
            return Err(Rule::EmptyFrame);
        }
        let lasts = matches!(
            stream.channel,
            Channel::SignalingDiscovery
                | Channel::SignalingExchange
                | Channel::BestTip
                | Channel::Transaction
                | Channel::Snark
                | Channel::SnarkJobCommitment
                | Channel::CompactBlock
        );
        if lasts && self.terms.per_role() && stream.role == Role::Server && !self.opened.contains(&stream.channel) {
            return Err(Rule::UnexpectedMessage);
        }
        let allowed = self.allowed(stream)?;
        if len > allowed { Err(Rule::FrameTooLong { len, allowed }) } else { Ok(()) }
    }

    fn allowed(&self, stream: StreamId) -> Allowed {
        match stream.channel {
            Channel::BestTip => self.best_tip.allowed(stream),
            Channel::Transaction => self.transactions.allowed(stream),
            Channel::Snark => self.works.allowed(stream),
            Channel::SnarkJobCommitment => self.commitments.allowed(stream),
            Channel::CompactBlock => self.compact.allowed(stream),
            Channel::ExtensionRpc if !self.terms.ours => Err(Rule::ChannelNotSupported),
            Channel::Rpc | Channel::ExtensionRpc => {
                self.terms.allowed(stream, self.asking.allowed(stream), self.answering.allowed(stream))
            }
            Channel::StreamingRpc => {
                self.terms.allowed(stream, self.ledger_asker.allowed(stream), self.ledger_answerer.allowed(stream))
            }
            Channel::SignalingDiscovery | Channel::SignalingExchange if !self.introductions => {
                Err(Rule::ChannelNotSupported)
            }
            Channel::SignalingDiscovery => self.discovery.allowed(stream),
            Channel::SignalingExchange => self.exchange.allowed(stream),
        }
    }

    fn handle_rpc(&mut self, now: Time, stream: StreamId, body: Bytes) -> Result<(), Rule> {
        let len = body.len();
        match self.terms.read(body, RpcMessage::decode)? {
            RpcMessage::Request { id, request } => {
                let incoming = self.incoming_id();
                self.answering.rpc(now, incoming, stream, id, request)
            }
            RpcMessage::Response { id, response } => {
                let came = response.as_ref().map(|response| Kind::Rpc(response.kind()));
                self.asking.answered(now, stream, (id, len, came), Answer::Rpc(response), &mut self.out)
            }
        }
    }

    fn handle_extension(&mut self, now: Time, stream: StreamId, body: Bytes) -> Result<(), Rule> {
        let len = body.len();
        match self.terms.read(body, ExtensionMessage::decode)? {
            ExtensionMessage::Request { id, name, version, max_answer, body } => {
                let incoming = self.incoming_id();
                let call = (name.to_string(), version, body);
                self.answering.extension(now, incoming, stream, id, max_answer, call)
            }
            ExtensionMessage::Response { id, result } => {
                let came = (id, len, Some(Kind::Extension));
                self.asking.answered(now, stream, came, Answer::Extension(result), &mut self.out)
            }
        }
    }

    fn handle_streaming_rpc(&mut self, now: Time, stream: StreamId, body: Bytes) -> Result<(), Rule> {
        match self.terms.read(body, StreamingRpcMessage::decode)? {
            StreamingRpcMessage::Request { id, block } => {
                let incoming = self.incoming_id();
                self.ledger_answerer.request(now, incoming, stream, id, block)
            }
            StreamingRpcMessage::Next { id } => self.ledger_answerer.next(now, stream, id, &mut self.out),
            StreamingRpcMessage::Response { id, part } => {
                self.ledger_asker.answered(now, stream, id, part, &mut self.out)
            }
        }
    }

    fn incoming_id(&mut self) -> IncomingId {
        let id = IncomingId(self.next_incoming);
        self.next_incoming += 1;
        id
    }

    /// The peer ended its side of a stream, or stopped reading ours. Not to be called when the whole connection ended.
    ///
    /// # Errors
    /// A [`Violation`] if it may not: streams of channels 1 to 6 and 17 last as long as the connection.
    pub fn handle_stream_end(&mut self, now: Time, stream: StreamId, end: StreamEnd) -> Result<(), Violation> {
        self.input(now, stream.channel, |session| match (stream.channel, stream.role) {
            (Channel::Rpc | Channel::StreamingRpc | Channel::ExtensionRpc, _) if !session.terms.per_role() => {
                Err(Rule::StreamEnded(end))
            }
            (Channel::Rpc | Channel::ExtensionRpc, Role::Puller) => {
                session.asking.stream_ended(now, stream, &mut session.out);
                Ok(())
            }
            (Channel::Rpc | Channel::ExtensionRpc, Role::Server) => {
                session.answering.stream_ended(stream, end, &mut session.out)
            }
            (Channel::StreamingRpc, Role::Puller) => {
                session.ledger_asker.stream_ended(now, stream, &mut session.out);
                Ok(())
            }
            (Channel::StreamingRpc, Role::Server) => {
                session.ledger_answerer.stream_ended(stream, end, &mut session.out)
            }
            _ => Err(Rule::StreamEnded(end)),
        })
    }

    /// Time has passed: at least the moment of the last [`Output::Timeout`]. Earlier is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.violation.is_some() {
            return;
        }
        self.arrive(now);
        self.asking.handle_timeout(now, &mut self.out);
        self.ledger_asker.handle_timeout(now, &mut self.out);
        self.answering.handle_timeout(now, &self.blocked, &mut self.out);
        self.ledger_answerer.handle_timeout(now, &mut self.out);
        if self.introductions {
            self.discovery.handle_timeout(now, &mut self.out);
            self.exchange.handle_timeout(now, &mut self.out);
        }
    }

    /// Fills the peer's permits from our tip and pools. After any input, and whenever tip or pools changed.
    pub fn pump(&mut self, now: Time, pools: &Pools) {
        if self.violation.is_some() {
            return;
        }
        self.arrive(now);
        if self.writable(Channel::BestTip) {
            self.best_tip.serve(pools, &mut self.out);
        }
        // Before the pools: what they offer only now, the peer does not have yet.
        if self.writable(Channel::CompactBlock) {
            let offered = offered(self.peer, pools, &self.transactions, &self.works);
            self.compact.serve(pools, &offered, &mut self.out);
        }
        let peer_tip = self.best_tip.received;
        if self.writable(Channel::Transaction) {
            self.transactions.serve(pools, peer_tip, &mut self.out);
        }
        if self.writable(Channel::Snark) {
            self.works.serve(pools, peer_tip, &mut self.out);
        }
        if self.writable(Channel::SnarkJobCommitment) {
            self.commitments.serve(pools, peer_tip, &mut self.out);
        }
    }

    /// Says whether a shared stream can take more, or has so much to write that nothing new is to be served on it: no tip, no
    /// items, no news of blocks, no introduction, no part of a staged ledger; and no more requests are taken up. What the
    /// peer asks meanwhile waits: as many requests as may be open, the next is the violation that it is anyway. What our user
    /// was asked before is still answered. Does nothing where a stream has one role.
    pub fn set_writable(&mut self, now: Time, channel: Channel, writable: bool) {
        if self.violation.is_some() || self.terms.per_role() {
            return;
        }
        self.arrive(now);
        if writable {
            self.blocked.remove(&channel);
        } else {
            self.blocked.insert(channel);
        }
        if channel == Channel::StreamingRpc {
            self.ledger_answerer.set_writable(now, writable, &mut self.out);
        }
        // What has waited for too long meanwhile is answered with nothing, and does not bother our user.
        self.handle_timeout(now);
    }

    fn writable(&self, channel: Channel) -> bool {
        !self.blocked.contains(&channel)
    }

    /// Whether compact blocks are spoken on this connection.
    #[must_use]
    pub fn speaks_compact(&self) -> bool {
        self.compact.is_spoken()
    }

    /// Permits the peer to tell of one block, by a message of at most `max_len` bytes or an announcement. Does nothing while
    /// such a permit is out, or where compact blocks are not spoken.
    pub fn permit_block(&mut self, now: Time, max_len: u32) {
        if self.violation.is_none() {
            self.arrive(now);
            self.compact.permit(max_len, &mut self.out);
        }
    }

    /// Changes the length of such a permit. Does nothing if the peer has used it meanwhile.
    pub fn change_block_permit(&mut self, now: Time, max_len: u32) {
        if self.violation.is_none() {
            self.arrive(now);
            self.compact.change(max_len, &mut self.out);
        }
    }

    /// Answers a peer's question about a block, from what is in `pools`, by at most `max_answer` bytes. `None` if the
    /// method is none of [`BlockQuery::METHODS`].
    #[must_use]
    pub fn answer_block_query(&self, pools: &Pools, method: &str, query: Bytes, max_answer: u32) -> Option<BlockReply> {
        if !self.compact.is_spoken() {
            return None;
        }
        let offered = offered(self.peer, pools, &self.transactions, &self.works);
        let max_answer = max_answer as usize;
        Some(match BlockQuery::decode(method, query)? {
            Ok(query) => BlockReply::new(&self.compact, pools, &offered, query, max_answer),
            Err(error) => BlockReply::refused(&error),
        })
    }

    /// Asks the peer for something. What becomes of it is told by one [`Event::Response`](crate::Event::Response),
    /// unless it is cancelled. It waits for its turn for as long as it may wait for its answer.
    ///
    /// # Errors
    /// [`RequestError`], if it can not be asked.
    pub fn request(&mut self, now: Time, request: Request) -> Result<RequestId, RequestError> {
        if self.violation.is_some() {
            return Err(RequestError::Ended);
        }
        let limit = self.limits.requests_waiting;
        if self.asking.waiting_len() + self.ledger_asker.waiting_len() >= limit {
            return Err(RequestError::TooMany { limit });
        }
        self.arrive(now);
        let id = self.next_request;
        match request {
            Request::Rpc(request) => self.asking.ask(now, id, Ask::Rpc(request), &mut self.out),
            Request::StagedLedgerParts(block) => self.ledger_asker.ask(now, id, block, &mut self.out),
            Request::Extension { name, version, body, max_answer, deadline } => {
                if !(self.terms.ours && self.capabilities.contains(Capabilities::EXTENSION_RPC)) {
                    return Err(RequestError::NotSupported);
                }
                let name = ExtensionName::try_from(name).map_err(RequestError::InvalidName)?;
                let (len, max) = (body.len(), self.limits.extension_query as usize);
                if len > max {
                    return Err(RequestError::BodyTooLong { len, max });
                }
                let max_answer = max_answer.min(self.limits.extension_answer);
                self.asking.ask(now, id, Ask::Extension { name, version, body, max_answer, deadline }, &mut self.out);
            }
        }
        self.next_request += 1;
        Ok(RequestId(id))
    }

    /// Calls a request off: no event will come of it. False if it has ended already.
    pub fn cancel(&mut self, now: Time, id: RequestId) -> bool {
        if self.violation.is_some() {
            return false;
        }
        self.arrive(now);
        self.asking.cancel(now, id.0, &mut self.out) || self.ledger_asker.cancel(now, id.0, &mut self.out)
    }

    /// Answers a request of the peer's.
    ///
    /// # Errors
    /// [`RespondError`], if nobody waits for it, or it can not be the answer.
    pub fn respond(&mut self, now: Time, id: IncomingId, response: Response) -> Result<(), RespondError> {
        if self.violation.is_some() {
            return Err(RespondError::Gone);
        }
        self.arrive(now);
        match response {
            Response::StagedLedgerParts(parts) if self.ledger_answerer.knows(id) => {
                self.ledger_answerer.respond(now, id, parts, &mut self.out)?;
            }
            _ if self.ledger_answerer.knows(id) => return Err(RespondError::WrongKind),
            response => self.answering.respond(id, response, &mut self.out)?,
        }
        Ok(())
    }

    /// The stream on which a request of the peer's came, while it waits for its answer.
    #[must_use]
    pub fn request_stream(&self, id: IncomingId) -> Option<StreamId> {
        self.answering.stream_of(id).or_else(|| self.ledger_answerer.stream_of(id))
    }

    /// The user has taken an event, so that its permit may be renewed.
    pub fn processed(&mut self, now: Time, what: Processed) {
        if self.violation.is_some() {
            return;
        }
        self.arrive(now);
        match what {
            Processed::BestTip => self.best_tip.processed(),
            Processed::Transaction => self.transactions.processed(),
            Processed::Work => self.works.processed(),
            Processed::Commitment => self.commitments.processed(),
            Processed::StagedLedgerPart(id) => self.ledger_asker.processed(now, id.0, &mut self.out),
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop() {
            return output;
        }
        if self.violation.is_some() {
            return Output::Idle;
        }
        if self.unsettled {
            self.settle();
            if let Some(output) = self.out.pop() {
                return output;
            }
        }
        let timeouts = [
            self.asking.next_timeout(),
            self.ledger_asker.next_timeout(),
            self.answering.next_timeout(&self.blocked),
            self.ledger_answerer.next_timeout(),
            self.next_introduction(),
        ];
        match timeouts.into_iter().flatten().min() {
            Some((at, reason)) => Output::Timeout { at, reason },
            None => Output::Idle,
        }
    }

    /// Takes an input from the peer, unless a violation came before.
    fn input(
        &mut self,
        now: Time,
        channel: Channel,
        take: impl FnOnce(&mut Session) -> Result<(), Rule>,
    ) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.arrive(now);
        match take(self) {
            Ok(()) => Ok(()),
            Err(rule) => {
                let violation = Violation { channel, rule };
                self.violation = Some(violation.clone());
                self.out.clear();
                Err(violation)
            }
        }
    }

    fn arrive(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.unsettled = true;
    }

    /// Does what inputs have made possible: takes up requests of the peer's, and gives the permits that are due. Only
    /// when all else is drained, so that a permit is for all that was processed meanwhile.
    fn settle(&mut self) {
        self.unsettled = false;
        self.answering.take_up(self.now, &self.blocked, &mut self.rate, &mut self.out);
        self.ledger_answerer.take_up(self.now, &mut self.rate, &mut self.out);
        self.best_tip.permit(&mut self.out);
        self.transactions.permit(self.asking.fetching(RpcKind::Transaction), &mut self.out);
        self.works.permit(self.asking.fetching(RpcKind::Snark), &mut self.out);
        self.commitments.permit(0, &mut self.out);
        if self.introductions && self.writable(Channel::SignalingDiscovery) {
            self.discovery.permit(self.now, &mut self.out);
        }
        if self.introductions && self.writable(Channel::SignalingExchange) {
            self.exchange.permit(self.now, &mut self.out);
        }
    }
}

fn offered<'a>(
    peer: PeerId,
    pools: &'a Pools,
    transactions: &Pool<TransactionInfo>,
    works: &Pool<SnarkInfo>,
) -> Offered<'a> {
    Offered { pools, transactions: transactions.cursor(), works: works.cursor(), peer }
}
