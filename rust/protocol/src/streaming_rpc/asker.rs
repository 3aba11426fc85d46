//! The half that asks. The table of states is in the [module above](super).

use std::collections::{BTreeMap, VecDeque};

use mina_p2p_wire::message::{MAX_STREAMING_RESPONSE_HEAD_LEN, StagedLedgerPart, StateHash, StreamingRpcMessage};
use mina_p2p_wire::{Channel, Role, StreamId};

use super::{InTurn, PART_DEADLINE, STREAMED_OPEN_MAX};
use crate::Time;
use crate::config::{OUTPUT_OVERHEAD, SessionLimits};
use crate::lane::{Allowed, CONTROL_LEN_MAX, Terms};
use crate::output::{Event, Outbox, ResetReason, TimeoutReason};
use crate::request::{Answer, RequestFailure, RequestId};
use crate::rpc::{SLOT_HELD, body_time};
use crate::violation::Rule;

#[derive(Debug)]
struct Waiting {
    id: u64,
    block: StateHash,
    expires: Time,
}

#[derive(Debug)]
struct Active {
    id: u64,
    in_turn: InTurn,
    /// How many parts have come.
    index: u32,
    state: ActiveState,
    /// Nobody wants the parts any more; they are read to the end of a shared stream.
    draining: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ActiveState {
    /// Until then; without end when draining.
    Awaiting {
        since: Time,
        deadline: Option<Time>,
    },
    Processing,
}

/// The half that asks.
#[derive(Debug)]
pub(crate) struct Asker {
    terms: Terms,
    part_max: u32,
    waiting: VecDeque<Waiting>,
    active: Option<Active>,
    /// Requests whose streams we reset, and until when what was on its way is borne.
    abandoned: BTreeMap<u64, Time>,
}

impl Asker {
    pub(crate) fn new(terms: Terms, limits: &SessionLimits) -> Asker {
        let part_max = limits.staged_ledger_part;
        Asker { terms, part_max, waiting: VecDeque::new(), active: None, abandoned: BTreeMap::new() }
    }

    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.active.as_ref().is_some_and(|active| !active.draining).into()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.waiting.len() * OUTPUT_OVERHEAD
    }

    pub(crate) fn ask(&mut self, now: Time, id: u64, block: StateHash, out: &mut Outbox) {
        self.waiting.push_back(Waiting { id, block, expires: now + PART_DEADLINE });
        self.start(now, out);
    }

    fn start(&mut self, now: Time, out: &mut Outbox) {
        if self.active.is_some() || self.abandoned.len() + 1 >= STREAMED_OPEN_MAX {
            return;
        }
        let Some(Waiting { id, block, .. }) = self.waiting.pop_front() else { return };
        let state = ActiveState::Awaiting { since: now, deadline: Some(now + PART_DEADLINE) };
        self.active = Some(Active { id, in_turn: InTurn::Base, index: 0, state, draining: false });
        out.transmit(self.stream(id), StreamingRpcMessage::Request { id, block }.encode(), false);
    }

    fn stream(&self, id: u64) -> StreamId {
        self.terms.stream(Channel::StreamingRpc, Role::Puller, id)
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let part = self.part_max.saturating_add(MAX_STREAMING_RESPONSE_HEAD_LEN as u32);
        let on_stream = |id: u64| !self.terms.per_role() || id == stream.request;
        match &self.active {
            Some(active) if on_stream(active.id) => match active.state {
                ActiveState::Awaiting { .. } => Ok(part),
                ActiveState::Processing => Ok(CONTROL_LEN_MAX),
            },
            _ if self.abandoned.contains_key(&stream.request) => Ok(part),
            _ => Err(Rule::UnknownRequest { id: stream.request }),
        }
    }

    pub(crate) fn answer_begins(&mut self, now: Time, stream: StreamId, len: u32) {
        if let Some(active) = &mut self.active
            && (!self.terms.per_role() || active.id == stream.request)
            && let ActiveState::Awaiting { since, deadline: Some(deadline) } = &mut active.state
        {
            let latest = *since + PART_DEADLINE + body_time(self.part_max);
            *deadline = (*deadline).max(now + body_time(len)).min(latest);
        }
    }

    pub(crate) fn answered(
        &mut self,
        now: Time,
        stream: StreamId,
        id: u64,
        part: Option<StagedLedgerPart>,
        out: &mut Outbox,
    ) -> Result<(), Rule> {
        self.terms.check_role(stream, Role::Puller)?;
        if self.terms.per_role() && id != stream.request {
            return Err(Rule::UnknownRequest { id });
        }
        let Some(active) = self.active.as_mut().filter(|active| active.id == id) else {
            return if self.abandoned.contains_key(&id) { Ok(()) } else { Err(Rule::UnknownRequest { id }) };
        };
        let Some(part) = part else {
            let draining = active.draining;
            self.end(now, true, out);
            if !draining {
                out.event(Event::Response { id: RequestId(id), answer: Ok(Answer::StagedLedgerParts(None)) });
            }
            return Ok(());
        };
        if active.state == ActiveState::Processing {
            return Err(Rule::UnexpectedMessage);
        }
        if part.body.len() > self.part_max as usize {
            let len = u32::try_from(part.body.len()).unwrap_or(u32::MAX);
            return Err(Rule::FrameTooLong { len, allowed: self.part_max });
        }
        active.in_turn = active.in_turn.after(&part)?;
        let index = active.index;
        active.index += 1;
        active.state = ActiveState::Processing;
        if active.draining {
            self.proceed(now, out);
        } else {
            out.event(Event::StagedLedgerPart { id: RequestId(id), index, part });
        }
        Ok(())
    }

    /// Our user has taken a part.
    pub(crate) fn processed(&mut self, now: Time, id: u64, out: &mut Outbox) {
        let processing = |active: &Active| active.id == id && active.state == ActiveState::Processing;
        if self.active.as_ref().is_some_and(processing) {
            self.proceed(now, out);
        }
    }

    /// Asks for the next part, or ends after the last.
    fn proceed(&mut self, now: Time, out: &mut Outbox) {
        let terms = self.terms;
        let Some(active) = &mut self.active else { return };
        let (id, draining, parts) = (active.id, active.draining, active.index);
        if active.in_turn == InTurn::Nothing {
            self.end(now, false, out);
            if !draining {
                out.event(Event::Response { id: RequestId(id), answer: Ok(Answer::StagedLedgerParts(Some(parts))) });
            }
            return;
        }
        let deadline = (!draining).then_some(now + PART_DEADLINE);
        active.state = ActiveState::Awaiting { since: now, deadline };
        let fin = terms.per_role() && active.in_turn.is_last();
        out.transmit(self.stream(id), StreamingRpcMessage::Next { id }.encode(), fin);
    }

    /// Forgets the request; `open` if our side of its stream was not finished.
    fn end(&mut self, now: Time, open: bool, out: &mut Outbox) {
        if let Some(active) = self.active.take()
            && open
            && self.terms.per_role()
        {
            out.reset(self.stream(active.id), ResetReason::Done);
        }
        self.start(now, out);
    }

    pub(crate) fn stream_ended(&mut self, now: Time, stream: StreamId, out: &mut Outbox) {
        let id = stream.request;
        self.abandoned.remove(&id);
        // After the last part the peer's side is finished, and our user may not have taken that part yet.
        let broken = |active: &Active| active.id == id && active.in_turn != InTurn::Nothing;
        if self.active.as_ref().is_some_and(broken) {
            out.event(Event::Response { id: RequestId(id), answer: Err(RequestFailure::Dropped) });
            self.end(now, true, out);
        } else {
            self.start(now, out);
        }
    }

    /// False if there is no such request.
    pub(crate) fn cancel(&mut self, now: Time, id: u64, out: &mut Outbox) -> bool {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.waiting.remove(at);
            return true;
        }
        let found = self.active.as_ref().is_some_and(|active| active.id == id && !active.draining);
        if found {
            self.abandon(now, ResetReason::Cancelled, out);
        }
        found
    }

    fn abandon(&mut self, now: Time, why: ResetReason, out: &mut Outbox) {
        let Some(active) = &mut self.active else { return };
        if self.terms.per_role() {
            let (id, complete) = (active.id, active.in_turn == InTurn::Nothing);
            self.active = None;
            if !complete {
                self.abandoned.insert(id, now + SLOT_HELD);
                out.reset(self.stream(id), why);
            }
            self.start(now, out);
            return;
        }
        active.draining = true;
        match active.state {
            ActiveState::Processing => self.proceed(now, out),
            ActiveState::Awaiting { since, .. } => active.state = ActiveState::Awaiting { since, deadline: None },
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
        self.abandoned.retain(|_, until| *until > now);
        if let Some(Active { id, state: ActiveState::Awaiting { deadline: Some(deadline), .. }, .. }) = &self.active
            && *deadline <= now
        {
            out.event(timed_out(*id));
            self.abandon(now, ResetReason::TimedOut, out);
        }
        self.start(now, out);
    }

    pub(crate) fn next_timeout(&self) -> Option<(Time, TimeoutReason)> {
        let waiting = self.waiting.iter().map(|waiting| (waiting.expires, TimeoutReason::StagedLedger));
        let abandoned = self.abandoned.values().map(|until| (*until, TimeoutReason::Slot));
        let active = self.active.as_ref().and_then(|active| match active.state {
            ActiveState::Awaiting { deadline, .. } => deadline,
            ActiveState::Processing => None,
        });
        waiting.chain(abandoned).chain(active.map(|deadline| (deadline, TimeoutReason::StagedLedger))).min()
    }
}
