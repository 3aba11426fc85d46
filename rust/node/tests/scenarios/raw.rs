//! Peers that do what no node of ours does: they authenticate properly, with quinn alone, and then write what they like.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p::message::{Capabilities, Hello};
use mina_p2p::{Channel, CloseReason, PeerId, SecretKey};
use mina_p2p_wire::{Frame, PROTOCOL_VERSION, frame};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::runtime::Runtime;

use crate::common::{CHAIN, WATCHDOG};

/// What a node may send on one stream before a raw peer reads it.
pub(crate) const WINDOW: u32 = 64 * 1024;

/// Runs what raw peers do. Their own tasks have a thread, so that the test may block in its own.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { watched(test).await })
}

/// Fails a test that hangs.
pub(crate) async fn watched<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WATCHDOG, future).await.expect("it hangs")
}

/// Both sides of a stream.
pub(crate) type Stream = (quinn::SendStream, quinn::RecvStream);

/// A connected raw peer.
pub(crate) struct Raw {
    pub(crate) id: PeerId,
    pub(crate) connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
    /// Streams that the node opened and that nobody asked for yet: dropped, they would end.
    opened: VecDeque<(u8, Stream)>,
    /// Streams that must stay as they are.
    kept: Vec<Stream>,
}

impl Raw {
    pub(crate) async fn connect(key: &SecretKey, to: SocketAddr) -> Raw {
        Raw::with(key, to, Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC).await
    }

    pub(crate) async fn with(key: &SecretKey, to: SocketAddr, capabilities: Capabilities) -> Raw {
        Raw::with_streams(key, to, capabilities, 100).await
    }

    /// One that lets the node open so many streams at once.
    pub(crate) async fn with_streams(key: &SecretKey, to: SocketAddr, capabilities: Capabilities, streams: u32) -> Raw {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let connecting = endpoint.connect_with(client_config(key, streams), to, "node").unwrap();
        let connection = watched(connecting).await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            chain_id: CHAIN,
            capabilities,
            listen_addresses: Vec::new(),
            agent: "raw".to_owned(),
            identity_signature: None,
        };
        send.write_all(&framed(&hello.encode())).await.unwrap();
        send.finish().unwrap();
        watched(recv.read_to_end(1 << 16)).await.unwrap();
        let id = key.peer_id();
        Raw { id, connection, _endpoint: endpoint, opened: VecDeque::new(), kept: Vec::new() }
    }

    /// Opens a stream that starts with these bytes, the channel's id first.
    pub(crate) async fn open(&self, channel: u8, bytes: &[u8]) -> Stream {
        let (mut send, recv) = self.connection.open_bi().await.unwrap();
        send.write_all(&[&[channel], bytes].concat()).await.unwrap();
        (send, recv)
    }

    /// As [`Raw::open`], and leaves the stream at that.
    pub(crate) async fn open_and_keep(&mut self, channel: u8, bytes: &[u8]) {
        let stream = self.open(channel, bytes).await;
        self.kept.push(stream);
    }

    pub(crate) fn keep(&mut self, stream: Stream) {
        self.kept.push(stream);
    }

    /// The next stream of this channel that the node opened.
    pub(crate) async fn accept(&mut self, channel: Channel) -> Stream {
        if let Some(at) = self.opened.iter().position(|(id, _)| *id == channel.id()) {
            return self.opened.remove(at).unwrap().1;
        }
        loop {
            let (send, mut recv) = watched(self.connection.accept_bi()).await.unwrap();
            let mut id = [0];
            recv.read_exact(&mut id).await.unwrap();
            if id[0] == channel.id() {
                return (send, recv);
            }
            self.opened.push_back((id[0], (send, recv)));
        }
    }

    /// The stream of this channel that the node opened, once its permit has come on it.
    pub(crate) async fn permitted(&mut self, channel: Channel) -> Stream {
        let (send, mut recv) = self.accept(channel).await;
        read(&mut recv).await;
        (send, recv)
    }

    /// Waits until the node closes the connection: why it says it did.
    pub(crate) async fn closed(&self) -> CloseReason {
        match watched(self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                CloseReason::from_wire(close.error_code.into_inner(), &close.reason)
            }
            other => panic!("{other}"),
        }
    }
}

/// A message behind its length.
pub(crate) fn framed(message: &Frame) -> Vec<u8> {
    let body = message.clone().into_bytes();
    [&frame::head(u32::try_from(body.len()).unwrap())[..], &body].concat()
}

/// Reads one frame.
pub(crate) async fn read(recv: &mut quinn::RecvStream) -> Bytes {
    let mut head = [0; frame::HEAD_LEN];
    watched(recv.read_exact(&mut head)).await.unwrap();
    let mut body = vec![0; frame::parse_head(head) as usize];
    watched(recv.read_exact(&mut body)).await.unwrap();
    body.into()
}

fn client_config(key: &SecretKey, streams: u32) -> quinn::ClientConfig {
    // PKCS #8 (RFC 8410, section 7).
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend_from_slice(&*key.to_bytes());
    let der = PrivatePkcs8KeyDer::from(der);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(pair.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_auth_cert(vec![certificate.into()], key)
        .unwrap();
    config.alpn_protocols = vec![mina_p2p_transport::quic::ALPN.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport
        .keep_alive_interval(Some(Duration::from_secs(2)))
        .stream_receive_window(WINDOW.into())
        .max_concurrent_bidi_streams(streams.into());
    config.transport_config(Arc::new(transport));
    config
}

/// Accepts any certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
