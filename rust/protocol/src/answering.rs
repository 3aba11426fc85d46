//! The peer's requests of channels 7 and 16. The table of states is in `rpc.rs`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mina_p2p_wire::message::{
    ExtensionError, ExtensionMessage, MAX_EXTENSION_HEAD_LEN, MAX_RPC_REQUEST_LEN, RpcKind, RpcMessage, RpcRequest,
    RpcResponse,
};
use mina_p2p_wire::{Channel, Role, StreamId};

use crate::Time;
use crate::config::{OUTPUT_OVERHEAD, SessionLimits};
use crate::extension::{EXTENSION_DEADLINE_MAX, Services};
use crate::lane::{Allowed, Terms};
use crate::output::{CancelReason, Event, Outbox, ResetReason, StreamEnd, TimeoutReason};
use crate::rate::Rate;
use crate::request::{IncomingId, IncomingRequest, RespondError, Response};
use crate::rpc::{REQUEST_STREAMS_MAX, REQUESTS_MAX, answer_max, answer_time, response_len, rpc_cost, rpc_deadline};
use crate::violation::Rule;

/// What is open on a stream of one request.
#[derive(Debug)]
enum Stream {
    /// The request is to come.
    Opened,
    /// It has come.
    Asked(IncomingId),
}

#[derive(Debug)]
struct Pending {
    stream: StreamId,
    /// The peer's number.
    id: u64,
    /// Of which kind the answer is to be; none for an answer by name.
    kind: Option<RpcKind>,
    /// The longest answer that may be sent: by our limits, and for one by name by what the peer accepts.
    max: u32,
    deadline: Time,
    /// Until it is taken up.
    waits: Option<Waits>,
}

impl Pending {
    /// Whether it is answered when its time is over. What waits on a blocked channel is not: the refusals would pile up.
    fn expires(&self, blocked: &BTreeSet<Channel>) -> bool {
        self.waits.is_none() || !blocked.contains(&self.stream.channel)
    }
}

#[derive(Debug)]
struct Waits {
    cost: u32,
    turn: Turn,
}

/// What happens when a request is taken up.
#[derive(Debug)]
enum Turn {
    Ask(IncomingRequest),
    Refuse(ExtensionError),
}

/// The peer's requests, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Answering {
    terms: Terms,
    limits: SessionLimits,
    services: Services,
    streams: BTreeMap<StreamId, Stream>,
    pending: BTreeMap<IncomingId, Pending>,
    rate_allows_at: Option<Time>,
}

impl Answering {
    pub(crate) fn new(terms: Terms, limits: &SessionLimits, services: Services) -> Answering {
        Answering {
            terms,
            limits: limits.clone(),
            services,
            streams: BTreeMap::new(),
            pending: BTreeMap::new(),
            rate_allows_at: None,
        }
    }

    pub(crate) fn served(&self) -> usize {
        self.pending.values().filter(|pending| pending.waits.is_none()).count()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        let body_len = |pending: &Pending| match &pending.waits {
            Some(Waits { turn: Turn::Ask(IncomingRequest::Extension { body, .. }), .. }) => body.len(),
            _ => 0,
        };
        self.pending.values().map(|pending| OUTPUT_OVERHEAD + body_len(pending)).sum()
    }

    pub(crate) fn stream_opened(&mut self, stream: StreamId) -> Result<(), Rule> {
        if self.streams.contains_key(&stream) {
            return Err(Rule::SecondStream);
        }
        if self.streams.len() >= REQUEST_STREAMS_MAX {
            return Err(Rule::TooManyRequests { limit: REQUEST_STREAMS_MAX });
        }
        self.streams.insert(stream, Stream::Opened);
        Ok(())
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let longest = match stream.channel {
            Channel::ExtensionRpc => self.limits.extension_query.saturating_add(MAX_EXTENSION_HEAD_LEN as u32),
            _ => MAX_RPC_REQUEST_LEN as u32,
        };
        if !self.terms.per_role() {
            return Ok(longest);
        }
        match self.streams.get(&stream) {
            Some(Stream::Opened) => Ok(longest),
            Some(Stream::Asked(_)) => Err(Rule::SecondRequest),
            None => Err(Rule::UnexpectedMessage),
        }
    }

    pub(crate) fn rpc(
        &mut self,
        now: Time,
        incoming: IncomingId,
        stream: StreamId,
        id: u64,
        request: RpcRequest,
    ) -> Result<(), Rule> {
        let kind = request.kind();
        let deadline = now + answer_time(rpc_deadline(kind));
        let waits = Waits { cost: rpc_cost(kind), turn: Turn::Ask(IncomingRequest::Rpc(request)) };
        let max = answer_max(&self.limits, kind);
        self.arrived(incoming, Pending { stream, id, kind: Some(kind), max, deadline, waits: Some(waits) })
    }

    pub(crate) fn extension(
        &mut self,
        now: Time,
        incoming: IncomingId,
        stream: StreamId,
        id: u64,
        max_answer: u32,
        (name, version, body): (String, u32, Bytes),
    ) -> Result<(), Rule> {
        let deadline = now + answer_time(EXTENSION_DEADLINE_MAX);
        let (cost, verdict) = self.services.judge(&name, version, &body);
        let max = max_answer.min(self.limits.extension_answer);
        let turn = match verdict {
            Ok(()) => Turn::Ask(IncomingRequest::Extension { name, version, body, max_answer: max }),
            Err(error) => Turn::Refuse(error),
        };
        self.arrived(incoming, Pending { stream, id, kind: None, max, deadline, waits: Some(Waits { cost, turn }) })
    }

    fn arrived(&mut self, incoming: IncomingId, pending: Pending) -> Result<(), Rule> {
        self.terms.check_role(pending.stream, Role::Server)?;
        if self.pending.values().any(|other| other.id == pending.id) {
            return Err(Rule::RequestRepeated { id: pending.id });
        }
        if self.terms.per_role() {
            match self.streams.get_mut(&pending.stream) {
                Some(stream @ Stream::Opened) => *stream = Stream::Asked(incoming),
                Some(Stream::Asked(_)) => return Err(Rule::SecondRequest),
                None => return Err(Rule::UnexpectedMessage),
            }
        } else if self.pending.len() >= REQUESTS_MAX {
            return Err(Rule::TooManyRequests { limit: REQUESTS_MAX });
        }
        self.pending.insert(incoming, pending);
        Ok(())
    }

    pub(crate) fn stream_of(&self, incoming: IncomingId) -> Option<StreamId> {
        self.pending.get(&incoming).map(|pending| pending.stream)
    }

    /// Takes up what waits, as far as there is room and the rate allows it; nothing on channels that are blocked.
    pub(crate) fn take_up(&mut self, now: Time, blocked: &BTreeSet<Channel>, rate: &mut Rate, out: &mut Outbox) {
        self.rate_allows_at = None;
        let mut room = REQUESTS_MAX.saturating_sub(self.served());
        let mut refused = Vec::new();
        for (incoming, pending) in &mut self.pending {
            let Some(waits) = &pending.waits else { continue };
            if blocked.contains(&pending.stream.channel) {
                continue;
            }
            if room == 0 {
                break;
            }
            if let Err(at) = rate.take(now, waits.cost) {
                self.rate_allows_at = Some(at);
                break;
            }
            match pending.waits.take().map(|waits| waits.turn) {
                Some(Turn::Ask(request)) => {
                    room -= 1;
                    out.event(Event::Request { id: *incoming, request });
                }
                Some(Turn::Refuse(error)) => refused.push((*incoming, error)),
                None => {}
            }
        }
        for (incoming, error) in refused {
            if let Some(pending) = self.close(incoming) {
                self.send(&pending, Response::Extension(Err(error)), out);
            }
        }
    }

    /// Whether the id is of a request here that our user was asked to answer.
    pub(crate) fn knows(&self, incoming: IncomingId) -> bool {
        self.pending.get(&incoming).is_some_and(|pending| pending.waits.is_none())
    }

    pub(crate) fn respond(
        &mut self,
        incoming: IncomingId,
        response: Response,
        out: &mut Outbox,
    ) -> Result<(), RespondError> {
        if !self.knows(incoming) {
            return Err(RespondError::Gone);
        }
        let response = self.readable(response);
        let Some(Pending { kind, max, .. }) = self.pending.get(&incoming) else { return Err(RespondError::Gone) };
        let (len, max) = match (&response, kind) {
            (Response::Rpc(None), Some(_)) | (Response::Extension(Err(_)), None) => (0, 0),
            (Response::Rpc(Some(answer)), Some(kind)) if answer.kind() == *kind => {
                (response_len(answer), *max as usize)
            }
            (Response::Extension(Ok(body)), None) => (body.len(), *max as usize),
            _ => return Err(RespondError::WrongKind),
        };
        if len > max {
            return Err(RespondError::TooLong { len, max });
        }
        if let Some(pending) = self.close(incoming) {
            self.send(&pending, response, out);
        }
        Ok(())
    }

    /// What this peer can read of an answer: the existing node ends a connection over a kind of address that it does not
    /// know.
    fn readable(&self, mut response: Response) -> Response {
        if let Response::Rpc(Some(RpcResponse::InitialPeers(addresses))) = &mut response
            && !self.terms.ours
        {
            addresses.retain(|address| !address.is_extension());
        }
        response
    }

    fn close(&mut self, incoming: IncomingId) -> Option<Pending> {
        let pending = self.pending.remove(&incoming)?;
        self.streams.remove(&pending.stream);
        Some(pending)
    }

    fn send(&self, pending: &Pending, response: Response, out: &mut Outbox) {
        let id = pending.id;
        let frame = match response {
            Response::Rpc(response) => RpcMessage::Response { id, response }.encode(),
            Response::Extension(result) => ExtensionMessage::Response { id, result }.encode(),
            // Of another channel: `respond` lets none through.
            Response::StagedLedgerParts(_) => return,
        };
        out.transmit(pending.stream, frame, self.terms.per_role());
    }

    /// The peer ended a stream: after its request, or to cancel it.
    pub(crate) fn stream_ended(&mut self, stream: StreamId, end: StreamEnd, out: &mut Outbox) -> Result<(), Rule> {
        match (self.streams.get(&stream), end) {
            (Some(Stream::Opened), StreamEnd::Finished) => return Err(Rule::StreamEnded(end)),
            (Some(Stream::Opened), StreamEnd::Reset) => {
                self.streams.remove(&stream);
                out.reset(stream, ResetReason::Cancelled);
            }
            (Some(Stream::Asked(incoming)), StreamEnd::Reset) => {
                let incoming = *incoming;
                out.reset(stream, ResetReason::Cancelled);
                if self.close(incoming).is_some_and(|pending| pending.waits.is_none()) {
                    out.event(Event::RequestCancelled { id: incoming, why: CancelReason::Peer });
                }
            }
            (Some(Stream::Asked(_)), StreamEnd::Finished) | (None, _) => {}
        }
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, blocked: &BTreeSet<Channel>, out: &mut Outbox) {
        let late = self.pending.iter().filter(|(_, pending)| pending.deadline <= now && pending.expires(blocked));
        let late: Vec<IncomingId> = late.map(|(incoming, _)| *incoming).collect();
        for incoming in late {
            let Some(pending) = self.close(incoming) else { continue };
            if pending.waits.is_none() {
                out.event(Event::RequestCancelled { id: incoming, why: CancelReason::Unanswered });
            }
            let nothing = match pending.kind {
                Some(_) => Response::Rpc(None),
                None => Response::Extension(Err(ExtensionError::Busy)),
            };
            self.send(&pending, nothing, out);
        }
    }

    pub(crate) fn next_timeout(&self, blocked: &BTreeSet<Channel>) -> Option<(Time, TimeoutReason)> {
        let expiring = self.pending.values().filter(|pending| pending.expires(blocked));
        let unanswered = expiring.map(|pending| (pending.deadline, TimeoutReason::Unanswered));
        unanswered.chain(self.rate_allows_at.map(|at| (at, TimeoutReason::Rate))).min()
    }
}
