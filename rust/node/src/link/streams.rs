//! What a link's mutex guards: the session, and what is to be written to and read from each stream.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mina_p2p_protocol::relay::AskId;
use mina_p2p_protocol::{IncomingId, IncomingRequest, IntroductionOrder, RequestId, Session, Time};
use mina_p2p_transport::{Reservation, SendStream};
use mina_p2p_wire::{Channel, Frame, StreamId};
use tokio::task::AbortHandle;
use tracing::debug;

use super::{NotDone, Order};

/// What a link's mutex guards.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) session: Session,
    pub(super) streams: BTreeMap<StreamId, Outbox>,
    /// The user's requests that have not ended.
    pub(crate) requests: BTreeSet<RequestId>,
    /// The relay's requests that have not ended.
    pub(crate) asks: BTreeMap<RequestId, AskId>,
    /// The peer's requests that the user was told of and has not answered.
    pub(crate) incoming: BTreeSet<IncomingId>,
    /// The peer's questions about blocks that wait until it has taken the answer to the one before: each is copied, so that one
    /// who reads nothing would have us hold as many as it may have streams.
    pub(crate) queries: VecDeque<(IncomingId, IncomingRequest)>,
    /// The stream of that answer.
    answering: Option<StreamId>,
    pub(super) timeout: Option<Time>,
    /// One stream a channel carries both roles, requests included.
    pub(crate) shared: bool,
    /// The streams that are shared are there: before, nothing can be sent.
    pub(super) opened: bool,
    /// Shared channels of which the session has been told to add no more.
    pub(super) unwritable: BTreeSet<Channel>,
    /// Requests are held back until there is room for events.
    pub(super) lacks_room: bool,
    /// The user has been told of the end.
    pub(super) ended: bool,
}

impl Driven {
    pub(super) fn new(session: Session, shared: bool) -> Driven {
        Driven {
            session,
            streams: BTreeMap::new(),
            requests: BTreeSet::new(),
            asks: BTreeMap::new(),
            incoming: BTreeSet::new(),
            queries: VecDeque::new(),
            answering: None,
            timeout: None,
            shared,
            opened: !shared,
            unwritable: BTreeSet::new(),
            lacks_room: false,
            ended: false,
        }
    }

    /// Does what was ordered, if it can be.
    pub(super) fn carry_out(&mut self, now: Time, order: Order) -> Result<(), NotDone> {
        match order {
            Order::Processed(processed) => self.session.processed(now, processed),
            Order::PermitBlock { max_len } => self.session.permit_block(now, max_len),
            Order::ChangePermit { max_len } => self.session.change_block_permit(now, max_len),
            Order::Ask { ask, request } => match self.session.request(now, request) {
                Ok(id) => drop(self.asks.insert(id, ask)),
                Err(_) => return Err(NotDone::Ask(ask)),
            },
            Order::CancelAsk(ask) => {
                let asked = self.asks.iter().find(|(_, asked)| **asked == ask).map(|(id, _)| *id);
                if let Some(id) = asked {
                    self.asks.remove(&id);
                    self.session.cancel(now, id);
                }
            }
            Order::Introduction(order) => {
                let done = self.session.introduction(now, IntroductionOrder::clone(&order));
                if let Err(error) = done {
                    debug!(%error, ?order, "a step of an introduction was not done");
                    return Err(NotDone::Introduction(order));
                }
            }
        }
        Ok(())
    }

    /// Whether an answer about a block is not written yet.
    pub(crate) fn is_answering(&self) -> bool {
        let outbox = self.answering.and_then(|stream| self.streams.get(&stream));
        outbox.is_some_and(|outbox| match outbox.writer {
            Writer::Done => false,
            // It lasts: what was to be written is.
            Writer::Idle(_) if self.shared => false,
            _ => true,
        })
    }

    /// A question about a block is being answered.
    pub(crate) fn answers(&mut self, incoming: IncomingId) {
        self.answering = self.session.request_stream(incoming);
    }

    /// Tells whether the reader of a stream is inside a frame's body.
    pub(super) fn reads_body(&mut self, stream: StreamId, in_body: bool) {
        if let Some(outbox) = self.streams.get_mut(&stream) {
            outbox.in_body = in_body;
        }
    }

    /// What a request of the peer's takes of the frame budget.
    pub(crate) fn take_reservation(&mut self, incoming: IncomingId) -> Option<Reservation> {
        let stream = self.session.request_stream(incoming)?;
        self.streams.get_mut(&stream)?.request.take()
    }

    /// Forgets a stream that has ended in both directions.
    pub(super) fn sweep(&mut self, stream: StreamId) {
        let over = |outbox: &Outbox| outbox.reader.is_none() && matches!(outbox.writer, Writer::Done);
        if self.streams.get(&stream).is_some_and(over) {
            self.streams.remove(&stream);
        }
    }
}

/// What is to be written to one stream.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) frames: VecDeque<Frame>,
    /// Finish our direction when `frames` is empty.
    pub(super) fin: bool,
    pub(super) writer: Writer,
    /// Reads the peer's direction; `None` when that has ended.
    pub(super) reader: Option<AbortHandle>,
    /// The reader is inside a frame's body.
    pub(super) in_body: bool,
    /// What the peer's request takes of the frame budget, until the user is told of it: it may wait for the peer's rate.
    pub(super) request: Option<Reservation>,
}

impl Outbox {
    pub(super) fn new(writer: Writer) -> Outbox {
        Outbox { frames: VecDeque::new(), fin: false, writer, reader: None, in_body: false, request: None }
    }
}

#[derive(Debug)]
pub(super) enum Writer {
    /// A stream of ours that is yet to be opened.
    Unopened,
    /// A task has the stream and writes.
    Busy,
    /// Nothing to write.
    Idle(SendStream),
    /// Finished or reset.
    Done,
}
