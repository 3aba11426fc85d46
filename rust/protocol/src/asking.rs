//! Our requests of channels 7 and 16. The table of states is in `rpc.rs`.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::{ItemForm, canonical};
use mina_p2p_wire::message::{
    ExtensionMessage, ExtensionName, MAX_RPC_RESPONSE_HEAD_LEN, RpcKind, RpcMessage, RpcRequest, RpcResponse,
};
use mina_p2p_wire::{Channel, Frame, Role, StreamId};

use crate::Time;
use crate::config::SessionLimits;
use crate::extension::{EXTENSION_ANSWER_HEAD, EXTENSION_DEADLINE_MAX};
use crate::lane::{Allowed, Terms};
use crate::output::{Event, Outbox, ResetReason, TimeoutReason};
use crate::request::{Answer, RequestFailure, RequestId};
use crate::rpc::{REQUEST_STREAMS_MAX, REQUESTS_MAX, SLOT_HELD, answer_max, body_time, kind_name, rpc_deadline};
use crate::violation::Rule;

/// A request of either channel.
#[derive(Debug)]
pub(crate) enum Ask {
    Rpc(RpcRequest),
    Extension { name: ExtensionName, version: u32, body: Bytes, max_answer: u32, deadline: Duration },
}

impl Ask {
    fn channel(&self) -> Channel {
        match self {
            Ask::Rpc(_) => Channel::Rpc,
            Ask::Extension { .. } => Channel::ExtensionRpc,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Ask::Rpc(request) => Kind::Rpc(request.kind()),
            Ask::Extension { .. } => Kind::Extension,
        }
    }

    fn deadline(&self) -> Duration {
        match self {
            Ask::Rpc(request) => rpc_deadline(request.kind()),
            Ask::Extension { deadline, .. } => (*deadline).min(EXTENSION_DEADLINE_MAX),
        }
    }

    fn frame_max(&self, limits: &SessionLimits) -> u32 {
        match self {
            Ask::Rpc(request) => answer_max(limits, request.kind()).saturating_add(MAX_RPC_RESPONSE_HEAD_LEN as u32),
            Ask::Extension { max_answer, .. } => max_answer.saturating_add(EXTENSION_ANSWER_HEAD),
        }
    }

    fn body_len(&self) -> usize {
        match self {
            Ask::Rpc(_) => 0,
            Ask::Extension { body, .. } => body.len(),
        }
    }

    fn into_frame(self, id: u64) -> Frame {
        match self {
            Ask::Rpc(request) => RpcMessage::Request { id, request }.encode(),
            Ask::Extension { name, version, body, max_answer, .. } => {
                ExtensionMessage::Request { id, name, version, max_answer, body }.encode()
            }
        }
    }
}

/// What an answer must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rpc(RpcKind),
    Extension,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    ask: Ask,
    expires: Time,
}

#[derive(Debug)]
struct Sent {
    channel: Channel,
    kind: Kind,
    /// The longest frame that may answer it.
    frame_max: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight {
        deadline: Time,
        /// What the deadline may become when an answer begins.
        latest: Time,
    },
    /// Nobody waits for the answer any more. Counts against the slots until then.
    Abandoned { until: Time },
    /// The same, on a shared stream, when the answer has not come for so long that its slot is free again. The peer may
    /// still hold it: it counts against what it works on at once.
    Lost,
}

/// Our requests, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Asking {
    terms: Terms,
    limits: SessionLimits,
    waiting: VecDeque<Waiting>,
    sent: BTreeMap<u64, Sent>,
}

impl Asking {
    pub(crate) fn new(terms: Terms, limits: &SessionLimits) -> Asking {
        Asking { terms, limits: limits.clone(), waiting: VecDeque::new(), sent: BTreeMap::new() }
    }

    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.count(|state| matches!(state, State::InFlight { .. }))
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.ask.body_len() + crate::config::OUTPUT_OVERHEAD).sum()
    }

    /// How many requests for this kind of body the peer has, or is to get.
    pub(crate) fn fetching(&self, kind: RpcKind) -> usize {
        let kind = Kind::Rpc(kind);
        let in_flight = |sent: &&Sent| sent.kind == kind && matches!(sent.state, State::InFlight { .. });
        self.waiting.iter().filter(|waiting| waiting.ask.kind() == kind).count()
            + self.sent.values().filter(in_flight).count()
    }

    pub(crate) fn ask(&mut self, now: Time, id: u64, ask: Ask, out: &mut Outbox) {
        let expires = now + ask.deadline();
        self.waiting.push_back(Waiting { id, ask, expires });
        self.start(now, out);
    }

    /// Sends what waits, as far as slots are free.
    fn start(&mut self, now: Time, out: &mut Outbox) {
        while self.has_slot()
            && let Some(Waiting { id, ask, .. }) = self.waiting.pop_front()
        {
            let channel = ask.channel();
            let stream = self.terms.stream(channel, Role::Puller, id);
            let frame_max = ask.frame_max(&self.limits);
            let deadline = now + ask.deadline();
            let state = State::InFlight { deadline, latest: deadline + body_time(frame_max) };
            self.sent.insert(id, Sent { channel, kind: ask.kind(), frame_max, state });
            // Not finished: a stream that was finished cannot be reset any more.
            out.transmit(stream, ask.into_frame(id), false);
        }
    }

    fn has_slot(&self) -> bool {
        let in_flight = self.in_flight();
        let abandoned = self.count(|state| matches!(state, State::Abandoned { .. }));
        if self.terms.per_role() {
            return in_flight < REQUESTS_MAX && in_flight + abandoned < REQUEST_STREAMS_MAX;
        }
        let slots = if self.terms.ours { REQUESTS_MAX } else { 1 };
        in_flight + abandoned < slots && self.sent.len() < REQUESTS_MAX
    }

    fn count(&self, is: impl Fn(State) -> bool) -> usize {
        self.sent.values().filter(|sent| is(sent.state)).count()
    }

    /// What may come on a stream of requests.
    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let of_stream = |(id, sent): &(&u64, &Sent)| {
            sent.channel == stream.channel && (!self.terms.per_role() || **id == stream.request)
        };
        let longest = self.sent.iter().filter(of_stream).map(|(_, sent)| sent.frame_max).max();
        longest.ok_or(Rule::UnknownRequest { id: stream.request })
    }

    /// The head of an answer has come: its body has its own time.
    pub(crate) fn answer_begins(&mut self, now: Time, stream: StreamId, len: u32) {
        let per_role = self.terms.per_role();
        for (id, sent) in &mut self.sent {
            if sent.channel == stream.channel
                && (!per_role || *id == stream.request)
                && let State::InFlight { deadline, latest } = &mut sent.state
            {
                *deadline = (*deadline).max(now + body_time(len)).min(*latest);
            }
        }
    }

    /// An answer has come: to which request, of how many bytes, of which kind (none if it says that there is none).
    pub(crate) fn answered(
        &mut self,
        now: Time,
        stream: StreamId,
        (id, len, came): (u64, usize, Option<Kind>),
        answer: Answer,
        out: &mut Outbox,
    ) -> Result<(), Rule> {
        self.terms.check_role(stream, Role::Puller)?;
        let of_stream =
            |sent: &&Sent| sent.channel == stream.channel && (!self.terms.per_role() || id == stream.request);
        let sent = self.sent.get(&id).filter(of_stream).ok_or(Rule::UnknownRequest { id })?;
        let allowed = match &answer {
            // What a frame may have more than that is for the text of a failure.
            Answer::Extension(Ok(body)) => {
                len.saturating_sub(body.len()) + sent.frame_max.saturating_sub(EXTENSION_ANSWER_HEAD) as usize
            }
            _ => sent.frame_max as usize,
        };
        if len > allowed {
            let [len, allowed] = [len, allowed].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
            return Err(Rule::FrameTooLong { len, allowed });
        }
        if let Some(came) = came
            && came != sent.kind
        {
            return Err(Rule::WrongAnswer { id, asked: sent.kind.name(), came: came.name() });
        }
        if matches!(sent.state, State::InFlight { .. }) {
            let answer = self.canonical(answer)?;
            out.event(Event::Response { id: RequestId(id), answer: Ok(answer) });
            self.close(stream, out);
        }
        self.sent.remove(&id);
        self.start(now, out);
        Ok(())
    }

    /// A transaction or a work in its canonical spelling, so that nobody can split the pools by spelling: our own kind
    /// keeps to it, and what an old peer sends is spelled again. Bytes that are no such item are the user's to judge.
    fn canonical(&self, answer: Answer) -> Result<Answer, Rule> {
        let (form, item) = match &answer {
            Answer::Rpc(Some(RpcResponse::Transaction(item))) => (ItemForm::Command, item),
            Answer::Rpc(Some(RpcResponse::Snark(item))) => (ItemForm::RpcWork, item),
            _ => return Ok(answer),
        };
        match canonical(form, item) {
            Ok(Cow::Owned(_)) if self.terms.ours => Err(Rule::NonCanonical),
            Ok(Cow::Owned(respelled)) => Ok(Answer::Rpc(Some(match form {
                ItemForm::Command => RpcResponse::Transaction(respelled.into()),
                _ => RpcResponse::Snark(respelled.into()),
            }))),
            Ok(Cow::Borrowed(_)) | Err(_) => Ok(answer),
        }
    }

    /// Ends our side of a request's stream.
    fn close(&self, stream: StreamId, out: &mut Outbox) {
        if self.terms.per_role() {
            out.reset(stream, ResetReason::Done);
        }
    }

    /// The peer ended a request's stream.
    pub(crate) fn stream_ended(&mut self, now: Time, stream: StreamId, out: &mut Outbox) {
        let id = stream.request;
        if self.sent.get(&id).is_some_and(|sent| sent.channel == stream.channel)
            && let Some(sent) = self.sent.remove(&id)
        {
            if matches!(sent.state, State::InFlight { .. }) {
                out.event(Event::Response { id: RequestId(id), answer: Err(RequestFailure::Dropped) });
                self.close(stream, out);
            }
            self.start(now, out);
        }
    }

    /// False if there is no such request.
    pub(crate) fn cancel(&mut self, now: Time, id: u64, out: &mut Outbox) -> bool {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.waiting.remove(at);
            return true;
        }
        let in_flight = matches!(self.sent.get(&id), Some(Sent { state: State::InFlight { .. }, .. }));
        if in_flight {
            self.abandon(now, id, ResetReason::Cancelled, out);
            self.start(now, out);
        }
        in_flight
    }

    fn abandon(&mut self, now: Time, id: u64, why: ResetReason, out: &mut Outbox) {
        let Some(sent) = self.sent.get_mut(&id) else { return };
        let deadline = match sent.state {
            State::InFlight { deadline, .. } => deadline.max(now),
            State::Abandoned { .. } | State::Lost => return,
        };
        if self.terms.per_role() {
            sent.state = State::Abandoned { until: now + SLOT_HELD };
            out.reset(self.terms.stream(sent.channel, Role::Puller, id), why);
        } else {
            sent.state = State::Abandoned { until: deadline + SLOT_HELD };
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, out: &mut Outbox) {
        let timed_out = |id| Event::Response { id: RequestId(id), answer: Err(RequestFailure::Timeout) };
        self.waiting.retain(|waiting| {
            let keep = waiting.expires > now;
            if !keep {
                out.event(timed_out(waiting.id));
            }
            keep
        });
        let ids: Vec<u64> = self.sent.keys().copied().collect();
        for id in ids {
            match self.sent.get(&id).map(|sent| sent.state) {
                Some(State::InFlight { deadline, .. }) if deadline <= now => {
                    out.event(timed_out(id));
                    self.abandon(now, id, ResetReason::TimedOut, out);
                }
                Some(State::Abandoned { until }) if until <= now => {
                    if self.terms.per_role() {
                        self.sent.remove(&id);
                    } else if let Some(sent) = self.sent.get_mut(&id) {
                        sent.state = State::Lost;
                    }
                }
                _ => {}
            }
        }
        self.start(now, out);
    }

    pub(crate) fn next_timeout(&self) -> Option<(Time, TimeoutReason)> {
        let waiting = self.waiting.iter().map(|waiting| (waiting.expires, TimeoutReason::Request));
        let sent = self.sent.values().filter_map(|sent| match sent.state {
            State::InFlight { deadline, .. } => Some((deadline, TimeoutReason::Request)),
            State::Abandoned { until } => Some((until, TimeoutReason::Slot)),
            State::Lost => None,
        });
        waiting.chain(sent).min()
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Rpc(kind) => kind_name(kind),
            Kind::Extension => "extension",
        }
    }
}
