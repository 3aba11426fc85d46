//! What a link's mutex guards: the session, and what is to be written to and read from each stream.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mina_p2p_protocol::{IncomingId, RequestId, Session, Time};
use mina_p2p_transport::{Reservation, SendStream};
use mina_p2p_wire::{Frame, StreamId};
use tokio::task::AbortHandle;

/// What a link's mutex guards.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) session: Session,
    pub(super) streams: BTreeMap<StreamId, Outbox>,
    /// The user's requests that have not ended.
    pub(crate) requests: BTreeSet<RequestId>,
    /// The peer's requests that the user was told of and has not answered.
    pub(crate) incoming: BTreeSet<IncomingId>,
    pub(super) timeout: Option<Time>,
    /// The user has been told of the end.
    pub(super) ended: bool,
}

impl Driven {
    pub(super) fn new(session: Session) -> Driven {
        Driven {
            session,
            streams: BTreeMap::new(),
            requests: BTreeSet::new(),
            incoming: BTreeSet::new(),
            timeout: None,
            ended: false,
        }
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
