//! The task that drives one connection: datagrams in and out, ICE, DTLS and SCTP by str0m, and the proof of who is who.

mod stream_0;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::signaling::ConnectionAuth;
use mina_p2p_wire::{Channel, PublicKey, SecretKey};
use str0m::channel::{ChannelConfig, ChannelData, ChannelId};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::ConnectStep;
use super::batch::Batch;
use super::demux::Registration;
use super::guard::Guard;
use super::limits::{MAX_MESSAGE, SILENCE_TIMEOUT};
use super::mailbox::{Datagram, Datagrams};
use super::pace::Pace;
use super::streams::{LANES, Queues};
use crate::udp::{Port, stun};
use crate::{CloseReason, ConnectError};

/// Datagrams that are looked at before what follows from them is sent. With each answer SCTP looks at all that is on its way,
/// so answering many at once saves most of its work. DTLS holds 30 at the most.
const DATAGRAMS_PER_TURN: usize = 24;

/// How late str0m may be told the time while datagrams come.
const CLOCK_LAG: Duration = Duration::from_millis(20);

/// Messages that are handed to SCTP before its packets are taken.
const MESSAGES_PER_TURN: usize = 16;

/// The lanes of the existing node's channels, 1 to 8: [`Channel::ALL`] begins with them. The rest is for those who announced
/// themselves.
const EXISTING_LANES: usize = 8;

/// Checks of ours whose answers are awaited, for the round-trip time; older ones are forgotten.
const TIMED_CHECKS: usize = 8;

/// Who is who on a connection.
pub(super) struct Identities {
    pub(super) own: SecretKey,
    pub(super) peer: PublicKey,
    pub(super) auth: ConnectionAuth,
    /// Our own proof. It is made before the peer's is looked at, and one that equals it is refused.
    pub(super) proof: [u8; ConnectionAuth::SEALED_LEN],
    /// The peer is of our own kind.
    pub(super) is_ours: bool,
}

/// What a connection is driven with.
pub(super) struct Plan {
    pub(super) rtc: Rtc,
    pub(super) guard: Guard,
    pub(super) ports: Vec<(Arc<Port>, Registration)>,
    pub(super) datagrams: Datagrams,
    pub(super) queues: Arc<Queues>,
    pub(super) identities: Identities,
    /// We dialed: our proof goes first, and the peer's decides.
    pub(super) dialed: bool,
    /// How long the peer has until it must be authenticated, and kept if it dialed.
    pub(super) limit: Duration,
    /// Told when the peer has proved who it is, or why there will be no connection.
    pub(super) proved: oneshot::Sender<Result<SocketAddr, ConnectError>>,
    /// Told how far it has come.
    pub(super) steps: Option<mpsc::UnboundedSender<ConnectStep>>,
    /// The channel of stream 0, where the offer made it.
    pub(super) proof_channel: Option<ChannelId>,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until stream 0 is open.
    Connecting,
    /// The peer's proof is awaited.
    Proving,
    /// It was dialed and has proved who it is; the node decides.
    Deciding,
    /// It is used.
    Established,
    /// What is left to say is said.
    Closing,
}

/// Why a connection ends.
enum Ended {
    /// The node closes it: code and text.
    ByNode(u64, String),
    /// We refuse the peer, or find that it broke a rule.
    Refused(CloseReason),
    /// The peer closed it, or is gone.
    ByPeer(CloseReason),
    /// The time to authenticate is over.
    TimedOut,
}

fn lost(error: &dyn std::error::Error) -> Ended {
    Ended::ByPeer(CloseReason::Lost(error.to_string()))
}

/// What drives a connection. However it goes, and be it by a panic or with the runtime, the connection's streams end.
pub(super) struct Driver {
    rtc: Rtc,
    guard: Guard,
    ports: Vec<(Arc<Port>, Registration)>,
    datagrams: Datagrams,
    queues: Arc<Queues>,
    identities: Identities,
    dialed: bool,
    limit: Duration,
    deadline: Instant,
    proved: Option<oneshot::Sender<Result<SocketAddr, ConnectError>>>,
    steps: Option<mpsc::UnboundedSender<ConnectStep>>,
    phase: Phase,
    channels: [Option<ChannelId>; LANES],
    encrypted: bool,
    proof_sent: bool,
    /// Nothing of the channels is sent before: the existing node would lose it.
    speak_at: Option<Instant>,
    heard: Instant,
    /// When str0m was told the time.
    told: Instant,
    remote: Option<SocketAddr>,
    checks: Vec<([u8; 12], SocketAddr, Instant)>,
    pace: Pace,
    /// The lane that is served next.
    turn: usize,
    batch: Batch,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Mostly they have ended already: only the first call counts.
        self.queues.end(Some(CloseReason::Lost("its task has ended".to_owned())));
    }
}

impl Driver {
    /// In a box: the futures that drive it would hold it twice.
    pub(super) fn new(plan: Plan) -> Box<Self> {
        let Plan { mut rtc, guard, ports, datagrams, queues, identities, dialed, limit, proved, steps, proof_channel } =
            plan;
        let mut channels = [None; LANES];
        let mut api = rtc.direct_api();
        for (lane, place) in channels.iter_mut().enumerate() {
            *place = match proof_channel {
                Some(channel) if lane == 0 => Some(channel),
                _ => {
                    let channel = lane.checked_sub(1).and_then(|index| Channel::ALL.get(index));
                    Some(api.create_data_channel(channel_config(channel.copied())))
                }
            };
        }
        Box::new(Self {
            rtc,
            guard,
            ports,
            datagrams,
            queues,
            identities,
            dialed,
            limit,
            deadline: Instant::now() + limit,
            proved: Some(proved),
            steps,
            phase: Phase::Connecting,
            channels,
            encrypted: false,
            proof_sent: false,
            speak_at: None,
            heard: Instant::now(),
            told: Instant::now(),
            remote: None,
            checks: Vec::new(),
            pace: Pace::new(Instant::now()),
            turn: 0,
            batch: Batch::default(),
        })
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self: Box<Self>) {
        let Err(ended) = self.drive().await;
        let (error, reason) = match &ended {
            Ended::ByNode(..) => (ConnectError::Closed(CloseReason::Unspecified), None),
            Ended::Refused(reason) => (ConnectError::Refused(reason.clone()), Some(reason.clone())),
            Ended::ByPeer(reason) => (ConnectError::Closed(reason.clone()), Some(reason.clone())),
            Ended::TimedOut => (ConnectError::TimedOut(self.limit), Some(CloseReason::HelloTimeout)),
        };
        tracing::debug!(remote = ?self.remote, phase = ?self.phase, reason = ?reason, "WebRTC connection ends");
        if let Some(proved) = self.proved.take() {
            // Whoever waited may have gone.
            let _ = proved.send(Err(error));
        }
        // The streams end at once; telling the peer may take a moment.
        self.queues.end(reason);
        self.part(ended).await;
    }

    async fn drive(&mut self) -> Result<Infallible, Ended> {
        let mut sleep = Box::pin(sleep_until(Instant::now()));
        let queues = self.queues.clone();
        loop {
            let until = self.turn().await?;
            if Instant::now() >= until.max(self.told + CLOCK_LAG) {
                // However much comes: what is not passed on to str0m does not tell it the time.
                self.timeout().map_err(|error| lost(&error))?;
            }
            sleep.as_mut().reset(until);
            // A busy connection lets the others have their turn.
            consume_budget().await;
            tokio::select! {
                biased;
                () = queues.driver.notified() => {}
                datagram = self.datagrams.next() => {
                    self.receive(datagram);
                    for _ in 1..DATAGRAMS_PER_TURN {
                        // A handshake goes step by step.
                        if self.phase != Phase::Established {
                            break;
                        }
                        let Some(datagram) = self.datagrams.next_now() else { break };
                        self.receive(datagram);
                    }
                }
                () = sleep.as_mut() => self.timeout().map_err(|error| lost(&error))?,
            }
        }
    }

    fn timeout(&mut self) -> Result<(), RtcError> {
        self.told = Instant::now();
        self.rtc.handle_input(Input::Timeout(self.told.into_std()))
    }

    /// Does all that can be done now; answers when to do more at the latest.
    async fn turn(&mut self) -> Result<Instant, Ended> {
        self.obey()?;
        let mut until = self.poll().await?;
        while self.write()? {
            until = self.poll().await?;
        }
        self.flush().await;
        let now = Instant::now();
        let limit = self.check_time(now)?;
        Ok(until.min(limit))
    }

    /// What the node wants.
    fn obey(&mut self) -> Result<(), Ended> {
        let (accepted, closing) = {
            let state = self.queues.state();
            (state.accepted, state.closing.clone())
        };
        if let Some((code, text)) = closing {
            return Err(Ended::ByNode(code, text));
        }
        if accepted && self.phase == Phase::Deciding {
            self.send_proof()?;
            self.establish();
        }
        Ok(())
    }

    /// Watches the clock; answers when to look again.
    fn check_time(&self, now: Instant) -> Result<Instant, Ended> {
        if self.phase != Phase::Established {
            if now >= self.deadline {
                return Err(Ended::TimedOut);
            }
            return Ok(self.deadline);
        }
        let silent_at = self.heard + SILENCE_TIMEOUT;
        if now >= silent_at {
            return Err(Ended::ByPeer(CloseReason::IdleTimeout));
        }
        Ok(match self.speak_at {
            Some(at) if at > now => silent_at.min(at),
            _ => silent_at,
        })
    }

    /// Gives a datagram to str0m, which is to be polled after it.
    fn receive(&mut self, datagram: Datagram) {
        let Datagram { from, local, data } = datagram;
        let now = Instant::now();
        self.heard = now;
        {
            let mut state = self.queues.state();
            state.stats.datagrams_received += 1;
            state.stats.bytes_received += data.len() as u64;
            // What nobody reads is not taken from the peer: for SCTP the packet is lost, and sent again later.
            self.guard.hold_data(state.unread > state.window);
        }
        // ICE would remember each address from which the peer's checks come.
        if self.port(from).is_none_or(|(_, registration)| !registration.hears(from)) {
            return;
        }
        let stun = stun::is_stun(&data);
        if stun && stun::is_success_response(&data) {
            self.checked(from, &data, now);
        }
        let Some(destination) = self.local_address(local, from) else { return };
        let Ok(receive) = Receive::new(Protocol::Udp, from, destination, &data) else { return };
        let input = Input::Receive(now.into_std(), receive);
        // Whoever made a check shows that by ICE's password. DTLS proves itself, and may come before our own check is answered:
        // dropped, it would come again a second later.
        if stun && !self.rtc.accepts(&input) {
            return;
        }
        self.told = now;
        // Garbage in DTLS is not an end: anybody may send it from the peer's address.
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%from, %error, "datagram not understood");
        }
    }

    /// A check of ours was answered.
    fn checked(&mut self, from: SocketAddr, data: &[u8], now: Instant) {
        let Some(transaction) = stun::transaction_id(data) else { return };
        // Whoever got one of our checks could answer it in the name of another address.
        let is_it = |(ours, to, _): &([u8; 12], SocketAddr, Instant)| *ours == transaction && *to == from;
        let Some(at) = self.checks.iter().position(is_it) else { return };
        let (_, _, sent) = self.checks.swap_remove(at);
        let rtt = now - sent;
        self.pace.measured(rtt);
        self.queues.state().rtt = rtt;
        if self.phase != Phase::Closing
            && let Some((_, registration)) = self.port(from)
        {
            registration.owns(from);
        }
    }

    /// The address of ours that a datagram came to.
    fn local_address(&mut self, local: Option<IpAddr>, from: SocketAddr) -> Option<SocketAddr> {
        let bound = self.port(from)?.0.local_addr();
        let ip = local.filter(|_| bound.ip().is_unspecified()).unwrap_or(bound.ip());
        Some(SocketAddr::new(ip, bound.port()))
    }

    /// The socket that reaches an address.
    fn port(&mut self, remote: SocketAddr) -> Option<&mut (Arc<Port>, Registration)> {
        self.ports.iter_mut().find(|(port, _)| port.local_addr().is_ipv4() == remote.is_ipv4())
    }

    /// Takes all that str0m has to say; answers when it wants to be asked again.
    async fn poll(&mut self) -> Result<Instant, Ended> {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    return match self.guard.fault() {
                        Some(fault) if self.phase != Phase::Closing => Err(Ended::Refused(fault.reason())),
                        _ => Ok(at.into()),
                    };
                }
                Ok(Output::Transmit(transmit)) => self.transmit(transmit).await,
                Ok(Output::Event(event)) => self.event(event)?,
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    async fn transmit(&mut self, transmit: Transmit) {
        let Transmit { source, destination, contents, .. } = transmit;
        if stun::is_stun(&contents) {
            if stun::is_request(&contents)
                && let Some(transaction) = stun::transaction_id(&contents)
            {
                if self.checks.len() >= TIMED_CHECKS {
                    self.checks.remove(0);
                }
                self.checks.push((transaction, destination, Instant::now()));
            }
        } else {
            self.remote = Some(destination);
        }
        let Some((_, registration)) = self.port(destination) else { return };
        if !registration.sends_to(destination) {
            return;
        }
        if !self.batch.takes(source.ip(), destination, contents.len()) {
            self.flush().await;
        }
        self.batch.push(source.ip(), destination, &contents);
    }

    /// Sends what was gathered.
    async fn flush(&mut self) {
        let Some((source, destination)) = self.batch.route() else { return };
        let Some((port, _)) = self.port(destination) else { return self.batch.clear() };
        let port = port.clone();
        {
            let mut state = self.queues.state();
            state.stats.datagrams_sent += self.batch.datagrams();
            state.stats.bytes_sent += self.batch.contents().len() as u64;
        }
        // Fails only when the runtime has gone.
        drop(port.send(destination, Some(source), self.batch.contents(), self.batch.segment()).await);
        self.batch.clear();
    }

    fn step(&self, step: ConnectStep) {
        if let Some(steps) = &self.steps {
            // Who watched may have gone.
            drop(steps.send(step));
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            // The peer named no address that we could try: it may still find us.
            Event::IceConnectionStateChange(IceConnectionState::Disconnected)
                if self.phase == Phase::Connecting && self.remote.is_none() && self.checks.is_empty() =>
            {
                Ok(())
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                Err(Ended::ByPeer(CloseReason::Lost("no path to the peer works (ICE)".to_owned())))
            }
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                self.step(ConnectStep::PathFound);
                Ok(())
            }
            Event::Connected => {
                self.encrypted = true;
                self.step(ConnectStep::Encrypted);
                self.begin_proving()
            }
            Event::ChannelOpen(channel, _) => match self.lane(channel) {
                Some(0) => {
                    self.phase = Phase::Proving;
                    self.begin_proving()
                }
                Some(_) => Ok(()),
                None => Err(Ended::Refused(CloseReason::Violation("unexpected_stream: not one of ours".to_owned()))),
            },
            Event::ChannelData(data) => self.message(data),
            Event::ChannelClose(channel) => match self.lane(channel) {
                // The existing node closes stream 0 after its proof.
                Some(0) | None => Ok(()),
                Some(_) if self.phase == Phase::Closing => Ok(()),
                Some(_) => Err(Ended::ByPeer(CloseReason::Lost("the peer closed a stream".to_owned()))),
            },
            Event::Closed => Err(Ended::ByPeer(CloseReason::Unspecified)),
            _ => Ok(()),
        }
    }

    fn lane(&self, channel: ChannelId) -> Option<usize> {
        self.channels.iter().position(|ours| *ours == Some(channel))
    }

    fn message(&mut self, data: ChannelData) -> Result<(), Ended> {
        // What comes on a stream that is none of ours is none of our business.
        let Some(lane) = self.lane(data.id) else { return Ok(()) };
        self.guard.delivered(lane);
        let data = Bytes::from(data.data);
        if data.is_empty() {
            return Err(Ended::Refused(CloseReason::Violation("empty_message: a message without a byte".to_owned())));
        }
        if lane == 0 {
            return self.on_stream_0(&data);
        }
        if lane > EXISTING_LANES && !self.identities.is_ours {
            let text = "unannounced_extension: data on a stream of our own kind's from a peer that is not";
            return Err(Ended::Refused(CloseReason::Violation(text.to_owned())));
        }
        self.speak_at = None;
        let reader = self.queues.state().received(lane, data);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Hands messages to SCTP as long as it has room, in turns; false when there was nothing to do.
    fn write(&mut self) -> Result<bool, Ended> {
        let now = Instant::now();
        if self.phase != Phase::Established || self.speak_at.is_some_and(|at| at > now) {
            return Ok(false);
        }
        let queues = self.queues.clone();
        let mut state = queues.state();
        if !(1..LANES).any(|lane| state.has_output(lane)) {
            return Ok(false);
        }
        let buffered = buffered(&mut self.rtc, &self.channels);
        let mut room = self.pace.room(now, buffered);
        let burst = self.pace.burst();
        let mut wakers = Vec::new();
        let mut written = 0;
        for _ in 0..LANES {
            if written == MESSAGES_PER_TURN {
                break;
            }
            self.turn = self.turn % (LANES - 1) + 1;
            let lane = self.turn;
            let Some(message) = state.output(lane) else { continue };
            let len = message.len();
            let channel = self.channels.get(lane).copied().flatten().and_then(|channel| self.rtc.channel(channel));
            let Some(mut channel) = channel else { continue };
            // SCTP looks at all that is on its way for each of the last packets of a burst: bulk goes in few bursts.
            let wanted = if len < MAX_MESSAGE || written > 0 { len } else { burst };
            if room < wanted || !channel.write(true, message).map_err(|error| lost(&error))? {
                // Its turn is next.
                self.turn -= 1;
                break;
            }
            room -= len;
            written += 1;
            self.pace.wrote(len);
            wakers.extend(state.sent(lane));
        }
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        Ok(written > 0)
    }
}

/// What was handed to SCTP and is not acknowledged.
fn buffered(rtc: &mut Rtc, channels: &[Option<ChannelId>]) -> usize {
    let amount = |channel: &ChannelId| rtc.channel(*channel).map_or(0, |mut channel| channel.buffered_amount());
    channels.iter().flatten().map(amount).sum()
}

/// Ordered, reliable, agreed beforehand. `None` is stream 0.
pub(super) fn channel_config(channel: Option<Channel>) -> ChannelConfig {
    ChannelConfig {
        label: channel.map_or("", Channel::label).to_owned(),
        negotiated: Some(channel.map_or(0, |channel| channel.id().into())),
        ..ChannelConfig::default()
    }
}
