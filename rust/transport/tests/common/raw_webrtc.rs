//! A bare str0m peer, which does its own signaling and then what our own transport never does.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::{Answer, ConnectionAuth, Offer, SignalingResponse, announce};
use mina_p2p_wire::{ChainId, Host, PublicKey, SecretKey};
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::config::DtlsVersion;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

/// How often a raw peer looks at what it waits for, when nothing else wakes it.
const LOOK: Duration = Duration::from_millis(5);

/// A datagram to or from a raw peer: whether it passes.
pub type Filter = fn(&[u8]) -> bool;

pub fn everything(_: &[u8]) -> bool {
    true
}

/// STUN alone (RFC 9443: the first byte).
pub fn only_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// All but DTLS 1.2 records of application data, which are SCTP's.
pub fn no_sctp(datagram: &[u8]) -> bool {
    datagram.first() != Some(&23)
}

/// How a raw peer is.
pub struct Manner {
    pub key: SecretKey,
    /// What it says of itself; `None` for one that is not of our kind.
    pub hello: Option<Hello>,
    /// SCTP's first round goes with the signaling.
    pub snap: bool,
    pub dtls: DtlsVersion,
    /// Put in the place of the peer's `a=max-message-size`, for str0m alone.
    pub max_message: Option<u32>,
    /// What it says is the longest message that it takes.
    pub takes: Option<u32>,
    /// More lines of its SDP.
    pub lines: String,
}

impl Manner {
    pub fn of(key: SecretKey) -> Self {
        let (hello, max_message, takes, lines) = (None, None, None, String::new());
        Self { key, hello, snap: false, dtls: DtlsVersion::Dtls12, max_message, takes, lines }
    }

    pub fn ours(key: SecretKey, hello: Hello) -> Self {
        Self { hello: Some(hello), snap: true, dtls: DtlsVersion::Auto, ..Self::of(key) }
    }
}

/// A raw peer, from its signaling on.
pub struct Raw {
    pub rtc: Rtc,
    pub socket: Arc<UdpSocket>,
    pub key: SecretKey,
    pub peer: PublicKey,
    pub offer: String,
    pub answer: String,
    /// What it sends.
    pub outlet: Filter,
    /// What it hears.
    pub inlet: Filter,
    pub connected: bool,
    /// Streams by number.
    pub channels: BTreeMap<u16, ChannelId>,
    pub open: Vec<u16>,
    pub messages: Vec<(u16, Vec<u8>)>,
    /// The peer has closed the association.
    pub closed: bool,
    /// Bytes of data that came.
    pub heard: usize,
    /// Where the other side is, once something was sent there.
    pub remote: Option<SocketAddr>,
    /// The last connectivity check that it sent, and where to.
    pub last_check: Option<(Vec<u8>, SocketAddr)>,
    /// Answers to checks that came.
    pub answers: usize,
}

pub fn negotiated(stream: u16) -> ChannelConfig {
    ChannelConfig { negotiated: Some(stream), ..ChannelConfig::default() }
}

fn rtc(manner: &Manner, socket: &UdpSocket) -> Rtc {
    let mut config = Rtc::builder()
        .clear_codecs()
        .set_dtls_version(manner.dtls)
        .set_snap_enabled(manner.snap)
        .set_sctp_max_buffered_amount(64 << 20);
    if let Some(takes) = manner.takes {
        config = config.set_sctp_max_message_size(takes);
    }
    config.set_initial_stun_rto(Duration::from_millis(50));
    let mut rtc = config.build(Instant::now());
    rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
    rtc
}

async fn bind() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
}

/// The description that str0m gets instead of the true one.
fn retold(sdp: &str, max_message: Option<u32>) -> String {
    let Some(max) = max_message else { return sdp.to_owned() };
    sdp.lines()
        .map(|line| match line.starts_with("a=max-message-size:") {
            true => format!("a=max-message-size:{max}\r\n"),
            false => format!("{line}\r\n"),
        })
        .collect()
}

/// An offer that has not been made to anybody.
pub struct Offering {
    raw: Raw,
    pending: str0m::change::SdpPendingOffer,
    max_message: Option<u32>,
}

impl Offering {
    pub async fn new(manner: Manner, target: PublicKey) -> Self {
        let socket = bind().await;
        let mut rtc = rtc(&manner, &socket);
        let mut changes = rtc.sdp_api();
        let proof = changes.add_channel_with_config(negotiated(0));
        let (offer, pending) = changes.apply().unwrap();
        let mut sdp = offer.to_sdp_string();
        if let Some(hello) = &manner.hello {
            announce(&mut sdp, hello);
        }
        sdp += &manner.lines;
        let raw = Raw::new(rtc, socket, manner.key, target, [sdp, String::new()], Some(proof));
        Self { raw, pending, max_message: manner.max_message }
    }

    pub fn offer(&self, chain: ChainId) -> Offer {
        Offer {
            sdp: self.raw.offer.clone(),
            chain_id: chain,
            identity_pub_key: self.raw.key.public_key(),
            target_peer_id: self.raw.peer.peer_id(),
            host: Host::Ipv4(Ipv4Addr::LOCALHOST),
            listen_port: None,
        }
    }

    pub fn sdp(&self) -> &str {
        &self.raw.offer
    }

    /// The same with another text.
    pub fn retold(mut self, tell: impl FnOnce(&str) -> String) -> Self {
        self.raw.offer = tell(&self.raw.offer);
        self
    }

    /// Goes on with the answer.
    pub fn answered(self, answer: &Answer) -> Raw {
        let Self { mut raw, pending, max_message } = self;
        raw.answer.clone_from(&answer.sdp);
        let answer = SdpAnswer::from_sdp_string(&retold(&answer.sdp, max_message)).unwrap();
        raw.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        raw
    }

    /// Posts the offer and goes on with the answer.
    pub async fn post(self, to: SocketAddr, chain: ChainId) -> Raw {
        let (status, body) = post(None, to, &self.offer(chain).to_json()).await;
        let SignalingResponse::Accepted(answer) = SignalingResponse::from_json(body.as_bytes()).unwrap() else {
            panic!("not accepted: {status} {body}")
        };
        self.answered(&answer)
    }
}

/// Posts an offer, from this address if it matters. Answers the status and the body.
pub async fn post(from: Option<IpAddr>, to: SocketAddr, body: &str) -> (u16, String) {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0)).unwrap();
    }
    let mut stream = socket.connect(to).await.unwrap();
    let head = "POST /mina/webrtc/signal HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nconnection: close";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // A server that has seen enough may close before it has read all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    let response = String::from_utf8(response).unwrap();
    let status = response.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// Waits for one offer by HTTP and answers it.
pub async fn answer_one(server: &TcpListener, manner: Manner) -> Raw {
    let (mut stream, _) = server.accept().await.unwrap();
    let mut request = Vec::new();
    let offer = loop {
        stream.read_buf(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if let Ok(offer) = Offer::from_json(body.as_bytes()) {
            break offer;
        }
    };
    let socket = bind().await;
    let mut rtc = rtc(&manner, &socket);
    let parsed = SdpOffer::from_sdp_string(&retold(&offer.sdp, manner.max_message)).unwrap();
    let mut sdp = rtc.sdp_api().accept_offer(parsed).unwrap().to_sdp_string();
    if let Some(hello) = &manner.hello {
        announce(&mut sdp, hello);
    }
    sdp += &manner.lines;
    let peer = offer.identity_pub_key;
    let (identity_pub_key, target_peer_id) = (manner.key.public_key(), peer.peer_id());
    let raw = Raw::new(rtc, socket, manner.key, peer, [offer.sdp, sdp.clone()], None);
    let body = SignalingResponse::Accepted(Answer { sdp, identity_pub_key, target_peer_id }).to_json();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let response = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.unwrap();
    raw
}

impl Raw {
    fn new(
        mut rtc: Rtc,
        socket: Arc<UdpSocket>,
        key: SecretKey,
        peer: PublicKey,
        [offer, answer]: [String; 2],
        proof: Option<ChannelId>,
    ) -> Self {
        let mut channels = BTreeMap::new();
        for stream in (0..=8).chain([16, 17]) {
            let made = proof.filter(|_| stream == 0);
            let channel = made.unwrap_or_else(|| rtc.direct_api().create_data_channel(negotiated(stream)));
            channels.insert(stream, channel);
        }
        Self {
            rtc,
            socket,
            key,
            peer,
            offer,
            answer,
            outlet: everything,
            inlet: everything,
            connected: false,
            channels,
            open: Vec::new(),
            messages: Vec::new(),
            closed: false,
            heard: 0,
            remote: None,
            last_check: None,
            answers: 0,
        }
    }

    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// One more stream, agreed with nobody.
    pub fn stream(&mut self, config: ChannelConfig, number: u16) {
        let channel = self.rtc.direct_api().create_data_channel(config);
        self.channels.insert(number, channel);
    }

    pub fn auth(&self) -> ConnectionAuth {
        ConnectionAuth::new(&self.offer, &self.answer)
    }

    pub fn proof(&self) -> Vec<u8> {
        self.auth().seal(&self.key, &self.peer, [7; 12]).unwrap().to_vec()
    }

    /// Writes a message; whether it was taken.
    pub fn try_send(&mut self, stream: u16, message: &[u8]) -> bool {
        let Some(mut channel) = self.rtc.channel(self.channels[&stream]) else { return false };
        channel.write(true, message).is_ok_and(|taken| taken)
    }

    pub fn send(&mut self, stream: u16, message: &[u8]) {
        assert!(self.try_send(stream, message), "stream {stream} took no {} bytes", message.len());
    }

    /// Bytes that a stream has taken and the peer has not acknowledged.
    pub fn buffered(&mut self, stream: u16) -> Option<usize> {
        let channel = self.channels[&stream];
        self.rtc.channel(channel).map(|mut channel| channel.buffered_amount())
    }

    pub fn received(&self, stream: u16) -> Option<&[u8]> {
        self.messages.iter().find(|(of, _)| *of == stream).map(|(_, message)| &message[..])
    }

    pub fn usable(&self) -> bool {
        self.connected && self.open.contains(&0)
    }

    /// Lives on until `done`.
    pub async fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let mut buffer = vec![0; 65_536];
        loop {
            let wake = self.poll();
            if done(self) {
                self.poll();
                return;
            }
            let wake = wake.min(Instant::now() + LOOK);
            tokio::select! {
                biased;
                received = self.socket.recv_from(&mut buffer) => {
                    let (len, from) = received.unwrap();
                    self.hear(from, &buffer[..len]);
                    while let Ok((len, from)) = self.socket.try_recv_from(&mut buffer) {
                        self.hear(from, &buffer[..len]);
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
                }
            }
        }
    }

    /// Lives on while `work` is done elsewhere.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            result = work => result,
            () = self.until(|_| false) => unreachable!(),
        }
    }

    fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.answers += usize::from(datagram.starts_with(&[1, 1]));
        if !(self.inlet)(datagram) {
            return;
        }
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.local(), datagram) else { return };
        let input = Input::Receive(Instant::now(), receive);
        if self.rtc.accepts(&input) {
            let _ = self.rtc.handle_input(input);
            self.poll();
        }
    }

    fn poll(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(transmit)) => {
                    if (self.outlet)(&transmit.contents) {
                        self.remote = Some(transmit.destination);
                        if transmit.contents.starts_with(&[0, 1]) {
                            self.last_check = Some((transmit.contents.to_vec(), transmit.destination));
                        }
                        let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                    }
                }
                Ok(Output::Event(event)) => self.event(event),
                Err(_) => {
                    self.closed = true;
                    return Instant::now() + Duration::from_secs(1);
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        let number = |channel| self.channels.iter().find(|(_, ours)| **ours == channel).map(|(number, _)| *number);
        match event {
            Event::Connected => self.connected = true,
            Event::ChannelOpen(channel, _) => self.open.extend(number(channel)),
            Event::ChannelData(data) => {
                self.heard += data.data.len();
                if let Some(number) = number(data.id)
                    && self.messages.len() < 1_000
                {
                    self.messages.push((number, data.data));
                }
            }
            Event::Closed => self.closed = true,
            _ => {}
        }
    }

    /// Proves itself, once it can.
    pub async fn prove(&mut self) {
        self.until(|raw| raw.usable()).await;
        let proof = self.proof();
        self.send(0, &proof);
    }
}
