//! One connection: feeds its [`Session`] with what arrives and executes what the session answers.
//!
//! Tasks of a link: one that waits for streams, timeouts and changes of the pools; one reader a stream; and, only
//! while something is to be written, one writer a stream. They meet in the session's mutex, which is held for
//! microseconds and never across an `await`. Locks are taken in the order session, then the node's state.

mod probe;
mod shared;
mod streams;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use mina_p2p_protocol::relay::AskId;
use mina_p2p_protocol::router::ConnectionId;
use mina_p2p_protocol::{
    IncomingId, IntroductionOrder, Output, Processed, Request, RequestFailure, RequestId, ResetReason, RespondError,
    Response, Session, StreamEnd, Time, Violation,
};
use mina_p2p_transport::{CloseReason, Connection, RecvStream, Reservation, SendStream, StreamError};
use mina_p2p_wire::{Address, PeerId, Role, StreamId};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tracing::{Instrument, Span, debug, info, info_span};

use crate::core::Core;
use crate::event::{Event, ResponderId};
use crate::{CommandError, lock};

use self::probe::millis;
pub(crate) use self::streams::Driven;
use self::streams::{Outbox, Writer};

/// What a session is to do, for its link's main task.
#[derive(Debug)]
pub(crate) enum Order {
    /// The user has taken an event.
    Processed(Processed),
    /// Permit news of a block.
    PermitBlock { max_len: u32 },
    /// Change that permit.
    ChangePermit { max_len: u32 },
    /// Put a question of the relay's to the peer.
    Ask { ask: AskId, request: Request },
    /// Nobody waits for the answer to it any more.
    CancelAsk(AskId),
    /// Do a step of an introduction.
    Introduction(Box<IntroductionOrder>),
}

/// What the session did not do.
#[derive(Debug)]
enum NotDone {
    Ask(AskId),
    Introduction(Box<IntroductionOrder>),
}

/// A connection and its session.
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    /// The peer is of our own kind.
    pub(crate) ours: bool,
    pub(crate) connection: Arc<dyn Connection>,
    driven: Mutex<Driven>,
    /// When the peer's last message came, in milliseconds of the node's time.
    heard: AtomicU64,
    /// The address that we dialed, if we did.
    pub(crate) dialed: Option<Address>,
    pub(crate) since: Time,
    orders: Mutex<Vec<Order>>,
    probes: Mutex<Vec<(RequestId, oneshot::Sender<bool>)>>,
    wake: Notify,
    /// Notified when a writer has ended: nothing is left to be written to its stream.
    written: Notify,
    span: Span,
}

impl Link {
    pub(crate) fn new(
        id: ConnectionId,
        connection: Arc<dyn Connection>,
        session: Session,
        dialed: Option<Address>,
        since: Time,
    ) -> Link {
        let peer = connection.peer();
        let transport = connection.transport();
        let span = info_span!(
            "connection", %peer, address = %connection.remote_address(), direction = ?connection.direction(), %transport
        );
        let ours = connection.remote_hello().is_some();
        Link {
            id,
            peer,
            ours,
            connection,
            driven: Mutex::new(Driven::new(session, transport.shares_streams())),
            heard: AtomicU64::new(millis(since)),
            dialed,
            since,
            orders: Mutex::default(),
            probes: Mutex::default(),
            wake: Notify::new(),
            written: Notify::new(),
            span,
        }
    }

    /// Whether the peer is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.connection.remote_address().ip().to_canonical().is_loopback()
    }

    pub(crate) fn driven(&self) -> MutexGuard<'_, Driven> {
        lock(&self.driven)
    }

    /// The pools or the tip have changed: let the session look.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The user has taken an event.
    pub(crate) fn credit(&self, processed: Processed) {
        self.order(Order::Processed(processed));
    }

    /// Orders are carried out in the order in which they are given.
    pub(crate) fn order(&self, order: Order) {
        lock(&self.orders).push(order);
        self.wake.notify_one();
    }

    /// Ends the connection; its main task cleans up.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.connection.close(reason);
    }

    /// Runs a command on the session and executes what follows from it.
    pub(crate) fn command<T>(self: &Arc<Link>, core: &Arc<Core>, f: impl FnOnce(&mut Session, Time) -> T) -> T {
        let mut driven = self.driven();
        let answer = f(&mut driven.session, core.now());
        self.drain(core, &mut driven, None);
        answer
    }

    /// Puts a request of the user's to the peer.
    pub(crate) fn request(self: &Arc<Link>, core: &Arc<Core>, request: Request) -> Result<RequestId, CommandError> {
        let mut driven = self.driven();
        if driven.ended {
            return Err(CommandError::NotConnected(Some(self.peer)));
        }
        let id = driven.session.request(core.now(), request)?;
        driven.requests.insert(id);
        self.drain(core, &mut driven, None);
        Ok(id)
    }

    /// Cancels a request of the user's.
    pub(crate) fn cancel(self: &Arc<Link>, core: &Arc<Core>, request: RequestId) {
        let mut driven = self.driven();
        if driven.requests.remove(&request) {
            driven.session.cancel(core.now(), request);
            self.drain(core, &mut driven, None);
        }
    }

    /// Gives the user's answer to a request of the peer's.
    pub(crate) fn respond(
        self: &Arc<Link>,
        core: &Arc<Core>,
        incoming: IncomingId,
        response: Response,
    ) -> Result<(), RespondError> {
        let mut driven = self.driven();
        driven.session.respond(core.now(), incoming, response)?;
        driven.incoming.remove(&incoming);
        self.drain(core, &mut driven, None);
        Ok(())
    }

    /// Serves the connection until it ends; answers why it ended.
    pub(crate) async fn run(self: Arc<Link>, core: Arc<Core>) -> CloseReason {
        let span = self.span.clone();
        async {
            let agent = self.connection.remote_hello().map_or("", |hello| &hello.agent);
            info!(agent = %agent.escape_default(), "connected");
            if self.driven().shared {
                self.open_shared(&core).await;
            }
            self.command(&core, |_, _| ());
            let reason = tokio::select! {
                reason = self.connection.closed() => reason,
                () = self.attend(&core) => self.connection.closed().await,
                () = self.accept(&core) => self.connection.closed().await,
            };
            info!(%reason, "disconnected");
            reason
        }
        .instrument(span)
        .await
    }

    /// The connection is over: fails what waits for an answer, and tells the user why it ended. Only the first call
    /// counts.
    pub(crate) fn end(&self, core: &Core, reason: CloseReason) {
        let (requests, incoming) = {
            let mut driven = self.driven();
            if std::mem::replace(&mut driven.ended, true) {
                return;
            }
            driven.streams.clear();
            self.written.notify_waiters();
            (std::mem::take(&mut driven.requests), std::mem::take(&mut driven.incoming))
        };
        lock(&self.probes).clear();
        for request in requests {
            let request = crate::RequestId { connection: self.id, request };
            let answer = Err(RequestFailure::Disconnected);
            core.events.push_event(Event::Response { request, peer: self.peer, answer });
        }
        for incoming in incoming {
            let responder = ResponderId { connection: self.id, incoming };
            core.events.push_event(Event::RequestCancelled { peer: self.peer, responder });
        }
        core.events.push_event(Event::PeerDisconnected { peer: self.peer, reason });
    }

    /// Timeouts, orders and changes of the pools.
    async fn attend(self: &Arc<Link>, core: &Arc<Core>) {
        loop {
            let (timeout, lacks_room) = {
                let driven = self.driven();
                (driven.timeout, driven.lacks_room)
            };
            let at = timeout.map(|at| core.instant(at));
            tokio::select! {
                () = self.wake.notified() => {}
                // Even if there is room by now: what is held back for want of it does not know yet.
                () = core.events.room(), if lacks_room => {}
                () = tokio::time::sleep_until(at.unwrap_or_else(tokio::time::Instant::now)), if at.is_some() => {}
            }
            let orders = std::mem::take(&mut *lock(&self.orders));
            let mut driven = self.driven();
            let now = core.now();
            for order in orders {
                match driven.carry_out(now, order) {
                    Ok(()) => {}
                    Err(NotDone::Ask(ask)) => {
                        core.relay(|relay, pools| relay.answered(now, ask, Err(RequestFailure::Dropped), pools));
                    }
                    Err(NotDone::Introduction(order)) => core.introduction_refused(self, &order),
                }
            }
            if driven.timeout.is_some_and(|at| at <= now) {
                driven.timeout = None;
                driven.session.handle_timeout(now);
            }
            self.drain(core, &mut driven, None);
        }
    }

    /// Streams that the peer opens.
    async fn accept(self: &Arc<Link>, core: &Arc<Core>) {
        loop {
            match self.connection.accept().await {
                Ok((stream, send, recv)) => {
                    let opened = {
                        let mut driven = self.driven();
                        let opened = driven.session.handle_stream_opened(core.now(), stream);
                        if opened.is_ok() {
                            let mut outbox = Outbox::new(Writer::Idle(send));
                            outbox.reader = Some(self.spawn_reader(core, stream, recv));
                            driven.streams.insert(stream, outbox);
                        }
                        opened
                    };
                    if let Err(violation) = opened {
                        return self.violated(&violation);
                    }
                }
                Err(error) => {
                    if let Some(reason) = error.close_reason() {
                        self.close(reason);
                    }
                    return;
                }
            }
        }
    }

    fn spawn_reader(self: &Arc<Link>, core: &Arc<Core>, stream: StreamId, recv: RecvStream) -> AbortHandle {
        let link = Arc::clone(self);
        let task_core = Arc::clone(core);
        core.spawn(self.span.clone(), async move { link.read(&task_core, stream, recv).await })
    }

    async fn read(self: Arc<Link>, core: &Arc<Core>, stream: StreamId, mut recv: RecvStream) {
        loop {
            self.written(stream).await;
            if stream.role == Role::Server && stream.channel.is_rpc() {
                // A request that is cancelled frees its place at once, but its events wait for the user.
                core.events.room().await;
            }
            match self.read_frame(core, stream, &mut recv).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(Failed::Violation(violation)) => {
                    self.violated(&violation);
                    break;
                }
                Err(Failed::Stream(error)) => {
                    self.failed(stream, &error);
                    break;
                }
            }
        }
        let mut driven = self.driven();
        if let Some(outbox) = driven.streams.get_mut(&stream) {
            outbox.reader = None;
            driven.sweep(stream);
        }
    }

    /// Waits until what we answer on a stream of the peer's is written: a peer that does not read is not to have us
    /// pile up more.
    async fn written(&self, stream: StreamId) {
        if stream.role == Role::Puller {
            return;
        }
        loop {
            let written = self.written.notified();
            let is_busy = |outbox: &Outbox| matches!(outbox.writer, Writer::Busy);
            if !self.driven().streams.get(&stream).is_some_and(is_busy) {
                return;
            }
            written.await;
        }
    }

    /// Reads one frame; false when the peer has ended the stream.
    async fn read_frame(
        self: &Arc<Link>,
        core: &Arc<Core>,
        stream: StreamId,
        recv: &mut RecvStream,
    ) -> Result<bool, Failed> {
        let head = match recv.read_head().await {
            Err(StreamError::Reset { .. }) => return self.stream_end(core, stream, StreamEnd::Reset),
            head => head?,
        };
        let Some(len) = head else { return self.stream_end(core, stream, StreamEnd::Finished) };
        {
            let mut driven = self.driven();
            if driven.ended {
                return Ok(false);
            }
            if !driven.streams.contains_key(&stream) {
                // We have reset it, and the answer was on its way: what is not read any more ends here.
                drop(driven);
                return self.stream_end(core, stream, StreamEnd::Reset);
            }
            driven.session.handle_frame_head(core.now(), stream, len)?;
            driven.reads_body(stream, true);
        }
        // Boxed, because what reads a body takes 2 KB: eight idle readers a connection would hold as much for nothing.
        let body = match Box::pin(recv.read_body(len, &core.budget)).await {
            Err(StreamError::Reset { .. }) => return self.stream_end(core, stream, StreamEnd::Reset),
            body => body?,
        };
        self.received(core, stream, body.body, body.reservation)?;
        Ok(true)
    }

    fn received(
        self: &Arc<Link>,
        core: &Arc<Core>,
        stream: StreamId,
        body: Bytes,
        reservation: Reservation,
    ) -> Result<(), Violation> {
        let mut driven = self.driven();
        if driven.ended {
            return Ok(());
        }
        driven.reads_body(stream, false);
        self.heard.store(millis(core.now()), Ordering::Relaxed);
        driven.session.handle_message(core.now(), stream, body)?;
        let reservation = match driven.streams.get_mut(&stream) {
            Some(outbox) if stream.role == Role::Server && stream.channel.is_rpc() => {
                outbox.request.get_or_insert(reservation);
                None
            }
            _ => Some(reservation),
        };
        self.drain(core, &mut driven, reservation);
        Ok(())
    }

    fn stream_end(self: &Arc<Link>, core: &Arc<Core>, stream: StreamId, end: StreamEnd) -> Result<bool, Failed> {
        let mut driven = self.driven();
        if driven.ended {
            return Ok(false);
        }
        if driven.shared {
            drop(driven);
            self.close(CloseReason::Lost(format!("the peer closed the stream of {}", stream.channel)));
            return Ok(false);
        }
        driven.session.handle_stream_end(core.now(), stream, end)?;
        self.drain(core, &mut driven, None);
        Ok(false)
    }

    /// Nothing more comes on a stream: it may be one that must last.
    fn ended_by_peer(self: &Arc<Link>, core: &Arc<Core>, stream: StreamId) {
        if let Err(Failed::Violation(violation)) = self.stream_end(core, stream, StreamEnd::Reset) {
            self.violated(&violation);
        }
    }

    /// A stream has failed for a reason that is not the session's: most such reasons end the connection.
    fn failed(&self, stream: StreamId, error: &StreamError) {
        debug!(?stream, %error, "stream ended");
        if let Some(reason) = error.close_reason() {
            self.close(reason);
        } else if self.connection.transport().shares_streams() {
            // Each of them must last.
            self.close(CloseReason::Lost(format!("the stream of {}: {error}", stream.channel)));
        }
    }

    fn violated(&self, violation: &Violation) {
        info!(%violation, "violation");
        self.close(CloseReason::Violation(violation.to_string()));
    }

    /// Executes all that the session wants done. The reservation belongs to the message just handled, and goes with
    /// the event that carries its payload.
    fn drain(self: &Arc<Link>, core: &Arc<Core>, driven: &mut Driven, mut reservation: Option<Reservation>) {
        if driven.ended || !driven.opened {
            // The user has been told that the peer is gone: nothing of it may follow. Or nothing can be sent yet.
            return;
        }
        if driven.shared && driven.hold_back(core.now(), core.events.has_room()) {
            self.wake();
        }
        core.answer_waiting(driven);
        core.pump(&mut driven.session);
        loop {
            match driven.session.poll_output() {
                Output::Transmit(transmit) => {
                    let outbox = driven.streams.entry(transmit.stream).or_insert_with(|| Outbox::new(Writer::Unopened));
                    outbox.frames.push_back(transmit.frame);
                    outbox.fin |= transmit.fin;
                    self.write(core, driven, transmit.stream);
                    driven.queued(core.now(), transmit.stream.channel);
                }
                Output::Reset { stream, why } => {
                    // A busy writer finds its stream gone, and resets it then.
                    if let Some(outbox) = driven.streams.remove(&stream) {
                        // What waits for the answer to an abandoned request goes on: the peer ends its side in turn,
                        // and that frees the request's slot.
                        let abandoned = stream.role == Role::Puller && why != ResetReason::Done && !outbox.in_body;
                        if let Some(reader) = outbox.reader.filter(|_| !abandoned) {
                            reader.abort();
                        }
                        if let Writer::Idle(mut send) = outbox.writer {
                            send.reset(why.code());
                        }
                    }
                }
                Output::Event(event) => {
                    core.handle_session_event(self, driven, event, &mut reservation);
                }
                Output::Timeout { at, .. } => {
                    if driven.timeout.is_none_or(|earlier| at < earlier) {
                        self.wake.notify_one();
                    }
                    driven.timeout = Some(at);
                    return;
                }
                Output::Idle => {
                    driven.timeout = None;
                    return;
                }
            }
        }
    }

    /// Starts a writer for a stream unless one is at work.
    fn write(self: &Arc<Link>, core: &Arc<Core>, driven: &mut Driven, stream: StreamId) {
        let Some(outbox) = driven.streams.get_mut(&stream) else { return };
        let send = match std::mem::replace(&mut outbox.writer, Writer::Busy) {
            Writer::Unopened => None,
            Writer::Idle(send) => Some(send),
            writer @ (Writer::Busy | Writer::Done) => {
                outbox.writer = writer;
                return;
            }
        };
        let link = Arc::clone(self);
        let task_core = Arc::clone(core);
        core.spawn(self.span.clone(), async move {
            if let Err(error) = link.write_all(&task_core, stream, send).await {
                link.failed(stream, &error);
                {
                    let mut driven = link.driven();
                    if let Some(outbox) = driven.streams.get_mut(&stream) {
                        outbox.writer = Writer::Done;
                        driven.sweep(stream);
                    }
                }
                if matches!(error, StreamError::Stopped(_)) {
                    link.ended_by_peer(&task_core, stream);
                }
            }
            link.written.notify_waiters();
            if !link.driven().queries.is_empty() {
                link.wake();
            }
        });
    }

    async fn write_all(
        self: &Arc<Link>,
        core: &Arc<Core>,
        stream: StreamId,
        send: Option<SendStream>,
    ) -> Result<(), StreamError> {
        let mut send = match send {
            Some(send) => send,
            None => {
                let (send, recv) = self.connection.open(stream).await?;
                let mut driven = self.driven();
                let outbox = driven.streams.get_mut(&stream);
                let cancelled = outbox.is_none();
                if let Some(outbox) = outbox {
                    outbox.reader = Some(self.spawn_reader(core, stream, recv));
                }
                drop(driven);
                if cancelled {
                    self.ended_by_peer(core, stream);
                }
                send
            }
        };
        loop {
            let frame = {
                let mut driven = self.driven();
                let Some(outbox) = driven.streams.get_mut(&stream) else {
                    send.reset(ResetReason::Cancelled.code());
                    return Ok(());
                };
                match outbox.frames.pop_front() {
                    Some(frame) => {
                        if driven.is_writable_again(stream.channel) {
                            self.wake();
                        }
                        frame
                    }
                    None if outbox.fin => {
                        outbox.writer = Writer::Done;
                        driven.sweep(stream);
                        drop(driven);
                        send.finish();
                        return Ok(());
                    }
                    None => {
                        outbox.writer = Writer::Idle(send);
                        return Ok(());
                    }
                }
            };
            send.write(frame).await?;
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Why reading a stream ended.
enum Failed {
    Violation(Violation),
    Stream(StreamError),
}

impl From<Violation> for Failed {
    fn from(violation: Violation) -> Failed {
        Failed::Violation(violation)
    }
}

impl From<StreamError> for Failed {
    fn from(error: StreamError) -> Failed {
        Failed::Stream(error)
    }
}
