//! The signaling client: posts one offer and reads one response.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

use mina_p2p_wire::signaling::{MAX_RESPONSE_LEN, Offer, SignalingResponse};
use mina_p2p_wire::{Host, Signaling};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{MAX_BUFFER_LEN, MAX_HEAD_LEN, MAX_HEADERS};
use crate::limits::MAX_RESOLVED_ADDRESSES;
use crate::reason::sanitized;
use crate::webrtc::ConnectStep;

/// From the resolver's question to the response's last byte: the server's own limit for an answer is 10 s, and two round
/// trips and a name's resolution come before it.
pub(crate) const SIGNALING_TIMEOUT: Duration = Duration::from_secs(12);

/// For one address to take the connection, TLS included; then the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How we name ourselves to the server; some proxies refuse who does not.
const USER_AGENT: &str = concat!("mina-p2p/", env!("CARGO_PKG_VERSION"));

/// Why a signaling server gave no response. A response that refuses the offer is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalingFailure {
    /// The address is not one of HTTP.
    #[error("no HTTP signaling: the offer goes through a relay")]
    NotHttp,
    /// The signaling server's name has no address.
    #[error("cannot resolve {host}: {cause}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// No address of the signaling server took the connection. This is about the last that was tried.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the operating system said.
        cause: String,
    },
    /// The signaling server is not who its name says, or speaks no TLS that we do.
    #[error("no TLS with {host}: {cause}")]
    Tls {
        /// The server's name.
        host: String,
        /// What TLS said.
        cause: String,
    },
    /// No response in time.
    #[error("no signaling response within {0:?}")]
    TimedOut(Duration),
    /// The response is longer than any that is one.
    #[error("a signaling response of over {limit} bytes (HTTP status {status})")]
    TooLong {
        /// The HTTP status.
        status: u16,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Something answers there that is no signaling server.
    #[error("no signaling response, but HTTP status {status}: {cause}; it begins {start:?}")]
    NotAResponse {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        cause: String,
        /// The first bytes of its text, safe to print.
        start: String,
    },
    /// The connection failed after it was made, or what came is no HTTP.
    #[error("signaling with {address} failed: {cause}")]
    Io {
        /// The server.
        address: SocketAddr,
        /// What happened.
        cause: String,
    },
}

/// Who may vouch for signaling servers: the system's certification authorities, loaded at the first use of HTTPS, and more.
#[derive(Debug, Default)]
pub(crate) struct HttpsRoots {
    extra: Vec<CertificateDer<'static>>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl HttpsRoots {
    /// The system's and `extra`.
    #[must_use]
    pub(crate) fn new(extra: Vec<CertificateDer<'static>>) -> Self {
        Self { extra, config: OnceCell::new() }
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        self.config.get_or_try_init(|| load(self.extra.clone())).await.cloned()
    }
}

/// Reads the system's certificates, off this thread: they are some hundred files.
async fn load(extra: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let system = spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system.certs);
    roots.add_parsable_certificates(extra);
    if roots.is_empty() {
        let causes: Vec<_> = system.errors.iter().take(3).map(ToString::to_string).collect();
        return Err(format!("the system has no certification authorities ({})", causes.join("; ")));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a signaling server said, and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posted {
    /// What it said.
    pub(crate) response: SignalingResponse,
    /// Its address.
    pub(crate) remote: SocketAddr,
    /// Whether by TLS.
    pub(crate) is_tls: bool,
    /// The HTTP status. Only the body counts, as the existing node has it.
    pub(crate) status: u16,
}

/// Posts `offer` to the server at `signaling` and reads its response, all within `limit`.
///
/// The addresses of a name are tried in the resolver's order until one takes the connection. The offer is sent once: never
/// again to another address, and to nowhere that a redirect says. `on_step` hears when the name is resolved, when the
/// server has taken the connection, and when it has accepted the offer.
///
/// # Errors
///
/// When no response was read; see [`SignalingFailure`].
pub(crate) async fn post_offer(
    signaling: &Signaling,
    offer: &Offer,
    roots: &HttpsRoots,
    limit: Duration,
    on_step: &(dyn Fn(ConnectStep) + Sync),
) -> Result<Posted, SignalingFailure> {
    let posted = timeout(limit, post(signaling, offer, roots, on_step));
    posted.await.map_err(|_| SignalingFailure::TimedOut(limit))?
}

async fn post(
    signaling: &Signaling,
    offer: &Offer,
    roots: &HttpsRoots,
    on_step: &(dyn Fn(ConnectStep) + Sync),
) -> Result<Posted, SignalingFailure> {
    let (Some(host), Some(port), Some(url)) = (signaling.host(), signaling.port(), signaling.url()) else {
        return Err(SignalingFailure::NotHttp);
    };
    let is_tls = !matches!(signaling, Signaling::Http { .. });
    let tls = if is_tls { Some(Tls::new(host, roots).await?) } else { None };
    let addresses = resolve(host, port).await?;
    on_step(ConnectStep::Resolved(addresses.clone()));
    let (stream, remote) = connect(host, &addresses, tls.as_ref()).await?;
    on_step(ConnectStep::SignalingConnected(remote));

    let failed = |cause: String| SignalingFailure::Io { address: remote, cause };
    let request = request(&url, host, port, is_tls, offer).map_err(failed)?;
    let (status, body) = exchange(stream, request, remote).await?;
    let response = SignalingResponse::from_json(&body).map_err(|error| SignalingFailure::NotAResponse {
        status,
        cause: sanitized(error.to_string().as_bytes()),
        start: sanitized(&body),
    })?;
    if matches!(response, SignalingResponse::Accepted(_)) {
        on_step(ConnectStep::Answered);
    }
    Ok(Posted { response, remote, is_tls, status })
}

async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, SignalingFailure> {
    if let Some(ip) = host.ip() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let host = host.to_string();
    let failed = |cause: String| SignalingFailure::Resolve { host: host.clone(), cause };
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| failed(error.to_string()))?;
    let addresses: Vec<_> = found.take(MAX_RESOLVED_ADDRESSES).collect();
    if addresses.is_empty() { Err(failed("no address".to_owned())) } else { Ok(addresses) }
}

/// What TLS needs to know of a server.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    host: String,
}

impl Tls {
    async fn new(host: &Host, roots: &HttpsRoots) -> Result<Self, SignalingFailure> {
        let failed = |cause| SignalingFailure::Tls { host: host.to_string(), cause };
        let name = match host.ip() {
            Some(ip) => ServerName::from(ip),
            None => ServerName::try_from(host.to_string()).map_err(|error| failed(error.to_string()))?,
        };
        let config = roots.config().await.map_err(failed)?;
        Ok(Self { connector: TlsConnector::from(config), name, host: host.to_string() })
    }
}

/// A byte stream, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The first of `addresses` that takes the connection; why the last did not when none does.
pub(super) async fn connect(
    host: &Host,
    addresses: &[SocketAddr],
    tls: Option<&Tls>,
) -> Result<(Box<dyn Stream>, SocketAddr), SignalingFailure> {
    let mut failure = SignalingFailure::Resolve { host: host.to_string(), cause: "no address".to_owned() };
    for address in addresses {
        let slow = || SignalingFailure::Connect { address: *address, cause: format!("not within {CONNECT_TIMEOUT:?}") };
        match timeout(CONNECT_TIMEOUT, connect_one(*address, tls)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = slow(),
        }
    }
    Err(failure)
}

async fn connect_one(address: SocketAddr, tls: Option<&Tls>) -> Result<Box<dyn Stream>, SignalingFailure> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| SignalingFailure::Connect { address, cause: error.to_string() })?;
    // A request is written at once and nothing follows it, so waiting for more to send helps nobody.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let encrypted = tls.connector.connect(tls.name.clone(), stream).await.map_err(|error| {
        let cause = sanitized(error.to_string().as_bytes());
        SignalingFailure::Tls { host: tls.host.clone(), cause }
    })?;
    Ok(Box::new(encrypted))
}

fn request(url: &str, host: &Host, port: u16, is_tls: bool, offer: &Offer) -> Result<Request<Full<Bytes>>, String> {
    // Scheme, nothing, authority, path.
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    // A default port is left out (RFC 9110, section 4.2.3): there are proxies that look the host up as it is written.
    let authority = if port == if is_tls { 443 } else { 80 } { host.to_string() } else { format!("{host}:{port}") };
    Request::builder()
        .method(Method::POST)
        .uri(format!("/{path}"))
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::ACCEPT, HeaderValue::from_static("application/json"))
        .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Full::new(Bytes::from(offer.to_json())))
        .map_err(|error| error.to_string())
}

/// Sends the request and reads the response's status and body.
async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
    address: SocketAddr,
) -> Result<(u16, Vec<u8>), SignalingFailure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_header_size(MAX_HEAD_LEN)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER_LEN)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(address, &error))?;
    let mut connection = pin!(connection);
    let mut exchanged = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| failed(address, &error))?;
        read_response(response, address).await
    });
    tokio::select! {
        exchanged = &mut exchanged => exchanged,
        // What the connection meets, the exchange hears; and what came before the end is still to be read.
        _ = &mut connection => exchanged.await,
    }
}

async fn read_response(response: Response<Incoming>, address: SocketAddr) -> Result<(u16, Vec<u8>), SignalingFailure> {
    let status = response.status().as_u16();
    let too_long = SignalingFailure::TooLong { status, limit: MAX_RESPONSE_LEN };
    let mut body = response.into_body();
    if body.size_hint().lower() > MAX_RESPONSE_LEN as u64 {
        return Err(too_long);
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|error| failed(address, &error))?.into_data().unwrap_or_default();
        if whole.len().saturating_add(data.len()) > MAX_RESPONSE_LEN {
            return Err(too_long);
        }
        whole.extend_from_slice(&data);
    }
    Ok((status, whole))
}

/// The error and what is behind it: hyper itself says no more than "error reading a body".
fn failed(address: SocketAddr, error: &hyper::Error) -> SignalingFailure {
    let cause = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    SignalingFailure::Io { address, cause: sanitized(cause.as_bytes()) }
}
