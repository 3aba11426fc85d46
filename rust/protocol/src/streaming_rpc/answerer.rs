//! The half that answers. The table of states is in the [module above](super).

use std::collections::{BTreeMap, VecDeque};

use mina_p2p_wire::message::{
    MAX_SCAN_STATE_TREES, MAX_STREAMING_REQUEST_LEN, StagedLedgerPart, StateHash, StreamingRpcMessage,
};
use mina_p2p_wire::{Role, StreamId};

use super::{InTurn, NEXT_DEADLINE, PART_DEADLINE, STAGED_LEDGER_PARTS_COST, STREAMED_OPEN_MAX};
use crate::Time;
use crate::config::{OUTPUT_OVERHEAD, SessionLimits};
use crate::lane::{Allowed, Terms};
use crate::output::{CancelReason, Event, Outbox, ResetReason, StreamEnd, TimeoutReason};
use crate::rate::Rate;
use crate::request::{IncomingId, IncomingRequest, RespondError};
use crate::rpc::answer_time;
use crate::violation::Rule;

/// Base, base of the scan state, previous incomplete zkApp updates, trees.
const PARTS_MAX: usize = 3 + MAX_SCAN_STATE_TREES as usize;

/// The ids of requests that we gave up and that a `Next` may still come for.
const ENDED_KEPT: usize = 2 * STREAMED_OPEN_MAX;

#[derive(Debug)]
struct Pull {
    incoming: IncomingId,
    stream: StreamId,
    /// The peer's number.
    id: u64,
    /// How many `Next` came that no part was given for.
    nexts: usize,
    state: PullState,
}

#[derive(Debug)]
enum PullState {
    Waiting { block: StateHash, deadline: Time },
    Asked { deadline: Time },
    Sending { parts: VecDeque<StagedLedgerPart>, deadline: Time },
}

/// The half that answers.
#[derive(Debug)]
pub(crate) struct Answerer {
    terms: Terms,
    part_max: u32,
    total_max: u32,
    /// Open streams; whether their request has come. Only with a stream for each.
    streams: BTreeMap<StreamId, bool>,
    /// In the order in which they came. Only the first is beyond `Waiting`.
    pulls: VecDeque<Pull>,
    /// The peer's numbers of what we gave up, and their streams.
    ended: VecDeque<(StreamId, u64)>,
    rate_allows_at: Option<Time>,
    /// The shared stream can take more.
    writable: bool,
}

impl Answerer {
    pub(crate) fn new(terms: Terms, limits: &SessionLimits) -> Answerer {
        Answerer {
            terms,
            part_max: limits.staged_ledger_part,
            total_max: limits.staged_ledger,
            streams: BTreeMap::new(),
            pulls: VecDeque::new(),
            ended: VecDeque::new(),
            rate_allows_at: None,
            writable: true,
        }
    }

    pub(crate) fn served(&self) -> usize {
        self.pulls.iter().filter(|pull| !matches!(pull.state, PullState::Waiting { .. })).count()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        let parts = |pull: &Pull| match &pull.state {
            PullState::Sending { parts, .. } => parts.iter().map(|part| part.body.len()).sum(),
            PullState::Waiting { .. } | PullState::Asked { .. } => 0,
        };
        self.pulls.iter().map(|pull| OUTPUT_OVERHEAD + parts(pull)).sum()
    }

    pub(crate) fn stream_opened(&mut self, stream: StreamId) -> Result<(), Rule> {
        if self.streams.contains_key(&stream) {
            return Err(Rule::SecondStream);
        }
        if self.streams.len() >= STREAMED_OPEN_MAX {
            return Err(Rule::TooManyRequests { limit: STREAMED_OPEN_MAX });
        }
        self.streams.insert(stream, false);
        Ok(())
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let known = !self.terms.per_role()
            || self.streams.contains_key(&stream)
            || self.ended.iter().any(|(ended, _)| *ended == stream);
        if known { Ok(MAX_STREAMING_REQUEST_LEN as u32) } else { Err(Rule::UnexpectedMessage) }
    }

    pub(crate) fn request(
        &mut self,
        now: Time,
        incoming: IncomingId,
        stream: StreamId,
        id: u64,
        block: StateHash,
    ) -> Result<(), Rule> {
        self.terms.check_role(stream, Role::Server)?;
        if self.pulls.iter().any(|pull| pull.id == id) {
            return Err(Rule::RequestRepeated { id });
        }
        if self.terms.per_role() {
            match self.streams.get_mut(&stream) {
                Some(asked @ false) => *asked = true,
                Some(true) => return Err(Rule::SecondRequest),
                None => return Err(Rule::UnexpectedMessage),
            }
        } else if !self.pulls.is_empty() {
            return Err(Rule::SecondRequest);
        }
        let deadline = now + answer_time(PART_DEADLINE);
        self.pulls.push_back(Pull { incoming, stream, id, nexts: 0, state: PullState::Waiting { block, deadline } });
        Ok(())
    }

    pub(crate) fn next(&mut self, now: Time, stream: StreamId, id: u64, out: &mut Outbox) -> Result<(), Rule> {
        self.terms.check_role(stream, Role::Server)?;
        let ours = self.terms.ours;
        let Some(pull) = self.pulls.iter_mut().find(|pull| pull.id == id && pull.stream == stream) else {
            let given_up = self.ended.contains(&(stream, id));
            return if given_up { Ok(()) } else { Err(Rule::UnknownRequest { id }) };
        };
        let most = match &pull.state {
            // While nothing is sent, parts may wait that the peer asks for already.
            PullState::Sending { parts, .. } => parts.len(),
            PullState::Waiting { .. } | PullState::Asked { .. } => PARTS_MAX - 1,
        };
        let early = pull.nexts > 0 || !matches!(pull.state, PullState::Sending { .. });
        if (early && ours) || pull.nexts >= most {
            return Err(Rule::NextOutOfTurn { id });
        }
        pull.nexts += 1;
        let incoming = pull.incoming;
        self.send(now, incoming, out);
        Ok(())
    }

    /// See [`Session::set_writable`](crate::Session::set_writable).
    pub(crate) fn set_writable(&mut self, now: Time, writable: bool, out: &mut Outbox) {
        self.writable = writable;
        if let Some(Pull { incoming, state: PullState::Sending { .. }, nexts: 1.., .. }) = self.pulls.front() {
            let incoming = *incoming;
            self.send(now, incoming, out);
        }
    }

    /// Sends what there are permits for.
    fn send(&mut self, now: Time, incoming: IncomingId, out: &mut Outbox) {
        let Some(pull) = self.pulls.iter_mut().find(|pull| pull.incoming == incoming) else { return };
        let (stream, id) = (pull.stream, pull.id);
        let PullState::Sending { parts, deadline } = &mut pull.state else { return };
        *deadline = now + NEXT_DEADLINE;
        while self.writable
            && pull.nexts > 0
            && let Some(part) = parts.pop_front()
        {
            pull.nexts -= 1;
            let fin = self.terms.per_role() && parts.is_empty();
            out.transmit(stream, StreamingRpcMessage::Response { id, part: Some(part) }.encode(), fin);
        }
        if parts.is_empty() {
            self.close(incoming);
        }
    }

    fn close(&mut self, incoming: IncomingId) -> Option<Pull> {
        let at = self.pulls.iter().position(|pull| pull.incoming == incoming)?;
        let pull = self.pulls.remove(at)?;
        self.streams.remove(&pull.stream);
        Some(pull)
    }

    pub(crate) fn stream_of(&self, incoming: IncomingId) -> Option<StreamId> {
        self.pulls.iter().find(|pull| pull.incoming == incoming).map(|pull| pull.stream)
    }

    /// Takes up the first request, if none is served and the rate allows it.
    pub(crate) fn take_up(&mut self, now: Time, rate: &mut Rate, out: &mut Outbox) {
        self.rate_allows_at = None;
        if !self.writable {
            return;
        }
        let Some(Pull { incoming, state, .. }) = self.pulls.front_mut() else { return };
        let PullState::Waiting { block, deadline } = *state else { return };
        match rate.take(now, STAGED_LEDGER_PARTS_COST) {
            Ok(()) => {
                *state = PullState::Asked { deadline };
                out.event(Event::Request { id: *incoming, request: IncomingRequest::StagedLedgerParts(block) });
            }
            Err(at) => self.rate_allows_at = Some(at),
        }
    }

    /// Whether the id is of a request here that our user was asked to answer.
    pub(crate) fn knows(&self, incoming: IncomingId) -> bool {
        let asked = |pull: &Pull| pull.incoming == incoming && matches!(pull.state, PullState::Asked { .. });
        self.pulls.iter().any(asked)
    }

    pub(crate) fn respond(
        &mut self,
        now: Time,
        incoming: IncomingId,
        parts: Option<Vec<StagedLedgerPart>>,
        out: &mut Outbox,
    ) -> Result<(), RespondError> {
        if !self.knows(incoming) {
            return Err(RespondError::Gone);
        }
        let Some(parts) = parts else {
            self.say_none(incoming, out);
            return Ok(());
        };
        self.check(&parts)?;
        if let Some(pull) = self.pulls.iter_mut().find(|pull| pull.incoming == incoming) {
            pull.nexts += 1; // The request permits the first part.
            pull.state = PullState::Sending { parts: parts.into(), deadline: now + NEXT_DEADLINE };
        }
        self.send(now, incoming, out);
        Ok(())
    }

    fn check(&self, parts: &[StagedLedgerPart]) -> Result<(), RespondError> {
        let mut in_turn = InTurn::Base;
        let mut total = 0usize;
        for part in parts {
            if in_turn == InTurn::Nothing {
                return Err(RespondError::WrongParts);
            }
            in_turn = in_turn.after(part).map_err(|_| RespondError::WrongParts)?;
            let (len, max) = (part.body.len(), self.part_max as usize);
            if len > max {
                return Err(RespondError::TooLong { len, max });
            }
            total = total.saturating_add(len);
        }
        let max = self.total_max as usize;
        match in_turn {
            InTurn::Nothing if total <= max => Ok(()),
            InTurn::Nothing => Err(RespondError::TooLong { len: total, max }),
            _ => Err(RespondError::WrongParts),
        }
    }

    /// Ends a request with the answer that there is nothing (any more).
    fn say_none(&mut self, incoming: IncomingId, out: &mut Outbox) {
        let Some(Pull { stream, id, .. }) = self.close(incoming) else { return };
        if self.ended.len() == ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back((stream, id));
        out.transmit(stream, StreamingRpcMessage::Response { id, part: None }.encode(), self.terms.per_role());
    }

    pub(crate) fn stream_ended(&mut self, stream: StreamId, end: StreamEnd, out: &mut Outbox) -> Result<(), Rule> {
        let Some(asked) = self.streams.get(&stream) else { return Ok(()) };
        // Only a `Next` for the last part ends a stream, and that has ended the request here.
        if end == StreamEnd::Finished {
            return Err(Rule::StreamEnded(end));
        }
        out.reset(stream, ResetReason::Cancelled);
        if !asked {
            self.streams.remove(&stream);
        } else if let Some(incoming) = self.pulls.iter().find(|pull| pull.stream == stream).map(|pull| pull.incoming)
            && let Some(Pull { state: PullState::Asked { .. }, .. }) = self.close(incoming)
        {
            out.event(Event::RequestCancelled { id: incoming, why: CancelReason::Peer });
        }
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, out: &mut Outbox) {
        let late = self.pulls.iter().filter(|pull| pull.deadline() <= now && self.expires(pull));
        let late: Vec<IncomingId> = late.map(|pull| pull.incoming).collect();
        for incoming in late {
            if self.knows(incoming) {
                out.event(Event::RequestCancelled { id: incoming, why: CancelReason::Unanswered });
            }
            self.say_none(incoming, out);
        }
    }

    /// Whether a request is answered with nothing when its time is over. What waits while the stream takes no more is not.
    fn expires(&self, pull: &Pull) -> bool {
        self.writable || !matches!(pull.state, PullState::Waiting { .. })
    }

    pub(crate) fn next_timeout(&self) -> Option<(Time, TimeoutReason)> {
        let expiring = self.pulls.iter().filter(|pull| self.expires(pull));
        let unanswered = expiring.map(|pull| (pull.deadline(), TimeoutReason::Unanswered));
        unanswered.chain(self.rate_allows_at.map(|at| (at, TimeoutReason::Rate))).min()
    }
}

impl Pull {
    fn deadline(&self) -> Time {
        match self.state {
            PullState::Waiting { deadline, .. }
            | PullState::Asked { deadline }
            | PullState::Sending { deadline, .. } => deadline,
        }
    }
}
