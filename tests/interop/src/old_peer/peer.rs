//! The task of one peer: its `PeerConnection`, from the offer to the channels, with the existing node's sleeps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_wire::Channel;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::{SctpMaxMessageSize, SettingEngine};
use webrtc::data_channel::RTCDataChannel;
use webrtc::data_channel::data_channel_init::RTCDataChannelInit;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::ice::network_type::NetworkType;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::peer_connection_state::RTCPeerConnectionState;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

use super::parser::{FramingError, Parser, cut};
use super::signal::AUTH_LEN;
use super::{AuthBehaviour, Pace};

/// How long candidates are gathered at most.
const GATHERING_MAX: Duration = Duration::from_secs(3);
/// How long after a task's end its peer is reported as gone.
const CLEANUP_DELAY: Duration = Duration::from_millis(100);

/// What the node tells the task.
pub(super) enum PeerCommand {
    /// The other's answer to our offer.
    RemoteAnswer(String),
    /// Our authentication, to be sent.
    Auth(Vec<u8>),
    /// Open a channel.
    Open(Channel),
    /// The channel's open event came through the node's queue: listen on it.
    Attach(Channel),
    /// Send a frame with this body.
    Send(Channel, Bytes),
    /// Send these SCTP messages as they are.
    SendRaw(Channel, Vec<Bytes>),
}

/// What the task tells the node.
#[derive(Debug)]
pub(super) enum PeerEvent {
    Offer(String),
    Answer(String),
    SdpFailed(String),
    Authenticated(Vec<u8>),
    Open(Channel),
    /// A message came in before its channel was listened on, and is lost.
    Lost(Channel, usize),
    Frame(Channel, Bytes),
    BadFrame(Channel, FramingError),
    /// Why the connection is over; the node drops the peer.
    Failed(String),
    /// 100 ms after the task has ended. Says only whose it was, not which: the existing node's bug.
    Closed,
}

pub(super) enum Side {
    Offerer,
    /// With the offer.
    Answerer(String),
}

/// Ends the task when dropped.
pub(super) struct TaskHandle {
    pub(super) commands: mpsc::UnboundedSender<PeerCommand>,
    cancel: Arc<Notify>,
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.cancel.notify_one();
    }
}

/// What the callbacks of one connection share.
struct Shared {
    alive: AtomicBool,
    report: Box<dyn Fn(PeerEvent) + Send + Sync>,
}

impl Shared {
    fn tell(&self, event: PeerEvent) {
        if self.alive.load(Ordering::SeqCst) {
            (self.report)(event);
        }
    }
}

/// Starts a task. `report` takes its events.
pub(super) fn spawn(
    side: Side,
    pace: Pace,
    auth: AuthBehaviour,
    report: impl Fn(PeerEvent) + Send + Sync + 'static,
) -> TaskHandle {
    let (commands, received) = mpsc::unbounded_channel();
    let cancel = Arc::new(Notify::new());
    let cancelled = Arc::clone(&cancel);
    let shared = Arc::new(Shared { alive: AtomicBool::new(true), report: Box::new(report) });
    tokio::spawn(async move {
        let connection = OnceLock::new();
        let failed = tokio::select! {
            result = run(side, pace, auth, received, &connection, &shared) => result.err(),
            () = cancelled.notified() => None,
        };
        if let Some(error) = failed {
            shared.tell(PeerEvent::Failed(error));
        }
        shared.alive.store(false, Ordering::SeqCst);
        if let Some(connection) = connection.get() {
            let connection: &Arc<RTCPeerConnection> = connection;
            let _closed = connection.close().await;
        }
        tokio::time::sleep(CLEANUP_DELAY).await;
        (shared.report)(PeerEvent::Closed);
    });
    TaskHandle { commands, cancel }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The API with candidates on 127.0.0.1 alone and no STUN.
pub(super) async fn new_connection() -> Result<RTCPeerConnection, webrtc::Error> {
    let mut settings = SettingEngine::default();
    settings.set_include_loopback_candidate(true);
    settings.set_ip_filter(Box::new(|ip| ip.is_loopback() && ip.is_ipv4()));
    settings.set_network_types(vec![NetworkType::Udp4]);
    settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
    // Only what a hostile peer sends is longer than 16 KiB.
    settings.set_sctp_max_message_size_can_send(SctpMaxMessageSize::Bounded(1024 * 1024));
    APIBuilder::new().with_setting_engine(settings).build().new_peer_connection(RTCConfiguration::default()).await
}

fn negotiated(id: u8) -> Option<RTCDataChannelInit> {
    Some(RTCDataChannelInit { ordered: Some(true), negotiated: Some(id.into()), ..Default::default() })
}

async fn until(state: &mut watch::Receiver<RTCPeerConnectionState>, wanted: &[RTCPeerConnectionState]) {
    if state.wait_for(|state| wanted.contains(state)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn run(
    side: Side,
    pace: Pace,
    auth: AuthBehaviour,
    mut commands: mpsc::UnboundedReceiver<PeerCommand>,
    connection: &OnceLock<Arc<RTCPeerConnection>>,
    shared: &Arc<Shared>,
) -> Result<(), String> {
    let made = Arc::new(new_connection().await.map_err(text)?);
    let connection = connection.get_or_init(|| made);
    let (state, mut states) = watch::channel(RTCPeerConnectionState::New);
    connection.on_peer_connection_state_change(Box::new(move |new| {
        state.send_replace(new);
        Box::pin(async {})
    }));
    let mut lost = states.clone();
    tokio::select! {
        result = talk(side, pace, auth, &mut commands, connection, &mut states, shared) => result,
        // "Failed" alone is not looked at; the timeout of the connecting state ends such an attempt.
        () = until(&mut lost, &[RTCPeerConnectionState::Disconnected, RTCPeerConnectionState::Closed]) => {
            Err("the connection was lost".into())
        }
    }
}

async fn talk(
    side: Side,
    pace: Pace,
    auth: AuthBehaviour,
    commands: &mut mpsc::UnboundedReceiver<PeerCommand>,
    connection: &Arc<RTCPeerConnection>,
    states: &mut watch::Receiver<RTCPeerConnectionState>,
    shared: &Arc<Shared>,
) -> Result<(), String> {
    let main = connection.create_data_channel("", negotiated(0)).await.map_err(text)?;
    let (main_open, opened) = oneshot::channel();
    main.on_open(Box::new(move || {
        let _told = main_open.send(());
        Box::pin(async {})
    }));
    if let Err(error) = describe(side, connection, commands, shared).await {
        shared.tell(PeerEvent::SdpFailed(error));
        return std::future::pending().await;
    }
    until(states, &[RTCPeerConnectionState::Connected]).await;
    // Listened on only from here; what came before is lost.
    let (first, received) = oneshot::channel();
    let first = Mutex::new(Some(first));
    main.on_message(Box::new(move |message| {
        if let Some(first) = first.lock().ok().and_then(|mut first| first.take()) {
            let _told = first.send(message.data);
        }
        Box::pin(async {})
    }));
    let sealed = loop {
        match commands.recv().await {
            Some(PeerCommand::Auth(sealed)) => break sealed,
            Some(_) => {}
            None => return Ok(()),
        }
    };
    opened.await.map_err(text)?;
    tokio::time::sleep(pace.auth).await;
    let other = match auth {
        AuthBehaviour::Reflected => {
            let other = received.await.map_err(text)?;
            main.send(&other).await.map_err(text)?;
            other
        }
        AuthBehaviour::Never => return std::future::pending().await,
        AuthBehaviour::Bytes(bytes) => {
            main.send(&bytes).await.map_err(text)?;
            received.await.map_err(text)?
        }
        AuthBehaviour::Honest => {
            main.send(&sealed.into()).await.map_err(text)?;
            received.await.map_err(text)?
        }
    };
    if other.len() != AUTH_LEN {
        return Err(format!("didn't receive connection authentication message, but {} bytes", other.len()));
    }
    let _closed = main.close().await;
    shared.tell(PeerEvent::Authenticated(other.to_vec()));
    let mut channels = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            PeerCommand::Open(channel) => {
                channels.insert(channel, open(channel, connection, pace, shared).await?);
            }
            PeerCommand::Attach(channel) => {
                if let Some(open) = channels.get(&channel) {
                    open.attach(pace.handlers);
                }
            }
            PeerCommand::Send(channel, body) => {
                if let Some(open) = channels.get(&channel) {
                    let _queued = open.outgoing.send(cut(&body));
                }
            }
            PeerCommand::SendRaw(channel, messages) => {
                if let Some(open) = channels.get(&channel) {
                    let _queued = open.outgoing.send(messages);
                }
            }
            PeerCommand::RemoteAnswer(_) | PeerCommand::Auth(_) => {}
        }
    }
    Ok(())
}

/// Exchanges the session descriptions, all candidates in them.
async fn describe(
    side: Side,
    connection: &Arc<RTCPeerConnection>,
    commands: &mut mpsc::UnboundedReceiver<PeerCommand>,
    shared: &Shared,
) -> Result<(), String> {
    let answering = match side {
        Side::Offerer => false,
        Side::Answerer(offer) => {
            let offer = RTCSessionDescription::offer(offer).map_err(text)?;
            connection.set_remote_description(offer).await.map_err(text)?;
            true
        }
    };
    let local = if answering { connection.create_answer(None).await } else { connection.create_offer(None).await };
    let mut gathered = connection.gathering_complete_promise().await;
    connection.set_local_description(local.map_err(text)?).await.map_err(text)?;
    let _or_late = tokio::time::timeout(GATHERING_MAX, gathered.recv()).await;
    let local = connection.local_description().await.ok_or("no local description")?.sdp;
    if answering {
        shared.tell(PeerEvent::Answer(local));
        return Ok(());
    }
    shared.tell(PeerEvent::Offer(local));
    loop {
        match commands.recv().await {
            Some(PeerCommand::RemoteAnswer(answer)) => {
                let answer = RTCSessionDescription::answer(answer).map_err(text)?;
                return connection.set_remote_description(answer).await.map_err(text);
            }
            Some(_) => {}
            None => return Err("given up".into()),
        }
    }
}

struct OpenChannel {
    attached: Arc<AtomicBool>,
    outgoing: mpsc::UnboundedSender<Vec<Bytes>>,
}

impl OpenChannel {
    fn attach(&self, delay: Duration) {
        let attached = Arc::clone(&self.attached);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            attached.store(true, Ordering::SeqCst);
        });
    }
}

async fn open(
    channel: Channel,
    connection: &Arc<RTCPeerConnection>,
    pace: Pace,
    shared: &Arc<Shared>,
) -> Result<OpenChannel, String> {
    let data_channel = connection.create_data_channel(channel.label(), negotiated(channel.id())).await.map_err(text)?;
    let attached = Arc::new(AtomicBool::new(false));
    listen(channel, &data_channel, Arc::clone(&attached), shared);
    let (open, opened) = oneshot::channel();
    let told = Arc::clone(shared);
    data_channel.on_open(Box::new(move || {
        told.tell(PeerEvent::Open(channel));
        let _told = open.send(());
        Box::pin(async {})
    }));
    let (outgoing, mut queue) = mpsc::unbounded_channel::<Vec<Bytes>>();
    let told = Arc::clone(shared);
    tokio::spawn(async move {
        if opened.await.is_err() {
            return;
        }
        tokio::time::sleep(pace.channels).await;
        while let Some(messages) = queue.recv().await {
            for message in messages {
                if let Err(error) = data_channel.send(&message).await {
                    told.tell(PeerEvent::Failed(format!("sending on {channel}: {error}")));
                    return;
                }
            }
        }
    });
    Ok(OpenChannel { attached, outgoing })
}

/// Sets the handlers of a channel. The existing node sets them late; here they count what that loses.
fn listen(channel: Channel, data_channel: &RTCDataChannel, attached: Arc<AtomicBool>, shared: &Arc<Shared>) {
    let told = Arc::clone(shared);
    let mut parser = Some(Parser::new(channel));
    data_channel.on_message(Box::new(move |message| {
        if !attached.load(Ordering::SeqCst) {
            told.tell(PeerEvent::Lost(channel, message.data.len()));
        } else if let Some(working) = &mut parser {
            match working.take(message.data) {
                Ok(bodies) => bodies.into_iter().for_each(|body| told.tell(PeerEvent::Frame(channel, body))),
                Err(error) => {
                    parser = None;
                    told.tell(PeerEvent::BadFrame(channel, error));
                }
            }
        }
        Box::pin(async {})
    }));
    let told = Arc::clone(shared);
    data_channel.on_close(Box::new(move || {
        told.tell(PeerEvent::Failed(format!("{channel} was closed")));
        Box::pin(async {})
    }));
}
