//! The client against our server, and against servers that are none or mean harm.

use std::time::Duration;

use mina_p2p_wire::Signaling;
use mina_p2p_wire::signaling::{MAX_RESPONSE_LEN, RejectionReason};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::client::Posted;
use super::super::client::connect;
use super::super::{HttpsRoots, SignalingFailure, post_offer};
use super::*;
use crate::webrtc::ConnectStep;

/// Long enough that no test waits for it.
const AMPLE: Duration = Duration::from_secs(30);

fn http(address: SocketAddr) -> Signaling {
    Signaling::Http { host: address.ip().to_string().parse().unwrap(), port: address.port() }
}

async fn post(signaling: &Signaling) -> Result<Posted, SignalingFailure> {
    post_offer(signaling, &offer(), &HttpsRoots::default(), AMPLE, &|_| {}).await
}

/// The head and body of the request on `stream`.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let end = offer().to_json();
    let mut request = String::new();
    while !request.ends_with(&end) {
        let mut part = [0; 4096];
        let len = stream.read(&mut part).await.unwrap();
        assert_ne!(len, 0, "ended inside the request: {request}");
        request.push_str(std::str::from_utf8(&part[..len]).unwrap());
    }
    request
}

/// A server that reads one request and then does what it is told.
async fn server<F, T>(then: F) -> SocketAddr
where
    F: FnOnce(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        then(stream).await;
    });
    address
}

/// A server that says `response` and ends.
async fn canned(response: impl Into<Vec<u8>>) -> SocketAddr {
    let response = response.into();
    server(move |mut stream| async move {
        let _ = stream.write_all(&response).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// An address that nobody listens on, nor can as long as the socket is held.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_offer_is_posted_and_its_answer_read() {
    let handler = Says::new(accepted());
    let server = Running::start(handler.clone(), HttpLimits::default()).await;
    let steps = Mutex::new(Vec::new());
    let on_step = |step| steps.lock().unwrap().push(step);
    let signaling = http(server.address);
    let posted = post_offer(&signaling, &offer(), &HttpsRoots::default(), AMPLE, &on_step).await.unwrap();
    assert_eq!(posted, Posted { response: accepted(), remote: server.address, is_tls: false, status: 200 });
    assert_eq!(handler.heard()[0].1, offer());
    assert_eq!(
        steps.into_inner().unwrap(),
        [
            ConnectStep::Resolved(vec![server.address]),
            ConnectStep::SignalingConnected(server.address),
            ConnectStep::Answered
        ]
    );
}

#[tokio::test]
async fn only_the_body_counts_whatever_the_status() {
    for status in ["200 OK", "400 Bad Request", "500 Internal Server Error", "302 Found", "201 Created"] {
        let address =
            canned(response(status, "location: http://192.0.2.1/\r\n", r#"{"Rejected":"AlreadyConnected"}"#)).await;
        let posted = post(&http(address)).await.unwrap();
        assert_eq!(posted.response, SignalingResponse::Rejected(RejectionReason::AlreadyConnected));
        assert_eq!(posted.status.to_string(), status[..3]);
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection_or_its_chunks() {
    let plain = canned("HTTP/1.1 200 OK\r\n\r\n\"InternalError\"").await;
    let old = canned("HTTP/1.0 200 OK\r\n\r\n\"InternalError\"").await;
    let chunked =
        canned("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n\"Intern\r\n8\r\nalError\"\r\n0\r\n\r\n")
            .await;
    for address in [plain, old, chunked] {
        assert_eq!(post(&http(address)).await.unwrap().response, SignalingResponse::InternalError);
    }
}

#[tokio::test]
async fn what_is_no_response_is_named_with_its_status() {
    let hostile = "\u{1b}[2J<html>\u{202e}".repeat(50);
    for (status, body) in
        [("404 Not Found", "<html>"), ("302 Found", ""), ("200 OK", "{}"), ("429 Too Many", &*hostile)]
    {
        let address = canned(response(status, "location: http://127.0.0.1:1/\r\n", body)).await;
        let failure = post(&http(address)).await.unwrap_err();
        let SignalingFailure::NotAResponse { status: code, cause, start } = &failure else {
            panic!("{failure}");
        };
        assert_eq!(code.to_string(), status[..3]);
        for text in [cause, start] {
            assert!(text.len() <= crate::MAX_REASON_LEN && text.chars().all(|c| !c.is_control() && c != '\u{202e}'));
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("location: http://{}/mina/webrtc/signal\r\n", other.local_addr().unwrap());
    let address = canned(response("307 Temporary Redirect", &location, "")).await;
    let failure = post(&http(address)).await.unwrap_err();
    assert!(matches!(failure, SignalingFailure::NotAResponse { status: 307, .. }), "{failure}");
    let own = TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
    let (_, first) = other.accept().await.unwrap();
    assert_eq!(first, own.local_addr().unwrap(), "nobody else was there before");
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let announced = canned("HTTP/1.1 200 OK\r\ncontent-length: 17179869184\r\n\r\n").await;
    let endless = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    })
    .await;
    let chunks = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"1\r\n \r\n").await.is_ok() {}
    })
    .await;
    for address in [announced, endless, chunks] {
        let failure = post(&http(address)).await.unwrap_err();
        assert_eq!(failure, SignalingFailure::TooLong { status: 200, limit: MAX_RESPONSE_LEN });
    }
}

#[tokio::test]
async fn an_endless_head_and_garbage_are_failures_of_the_connection() {
    let endless = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: and more\r\n").await.is_ok() {}
    })
    .await;
    let long = canned(format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "a".repeat(20_000))).await;
    let garbage = canned([0xff; 600]).await;
    let nothing = canned("").await;
    let truncated = canned("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\"Internal").await;
    let two_lengths = canned("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n\"I").await;
    for address in [endless, long, garbage, nothing, truncated, two_lengths] {
        let failure = post(&http(address)).await.unwrap_err();
        assert!(matches!(failure, SignalingFailure::Io { address: at, .. } if at == address), "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_or_little_is_given_up() {
    let silent = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let halting = server(|mut stream| async move {
        // Waits for what never comes: the client has sent all.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n\"Inte").await;
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    let hundreds =
        server(|mut stream| async move { while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {} })
            .await;
    // A listener that accepts nothing: the system takes the connection, and nobody reads.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf = deaf.local_addr().unwrap();
    let roots = Authority::new().roots();
    let limit = Duration::from_millis(100);
    for signaling in [http(silent), http(halting), http(hundreds), http(deaf), https("127.0.0.1", deaf)] {
        let failure = post_offer(&signaling, &offer(), &roots, limit, &|_| {}).await.unwrap_err();
        assert_eq!(failure, SignalingFailure::TimedOut(limit));
    }
}

#[tokio::test]
async fn addresses_are_tried_in_order_until_one_takes_the_connection() {
    let (_held, gone) = refusing();
    let listeners = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let [first, second] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let host = "example.com".parse().unwrap();
    let (_, taken) = connect(&host, &[gone, first, second], None).await.unwrap();
    assert_eq!(taken, first);
    let failure = connect(&host, &[gone], None).await.err();
    assert!(matches!(failure, Some(SignalingFailure::Connect { address, .. }) if address == gone), "{failure:?}");
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let (_held, gone) = refusing();
    let failure = post(&http(gone)).await.unwrap_err();
    assert!(matches!(failure, SignalingFailure::Connect { address, .. } if address == gone), "{failure}");
    let nowhere = Signaling::Http { host: "no-such-host.invalid".parse().unwrap(), port: 80 };
    let failure = post(&nowhere).await.unwrap_err();
    assert!(matches!(&failure, SignalingFailure::Resolve { host, .. } if host == "no-such-host.invalid"), "{failure}");
    let relay = Signaling::Relay { peer_id: key(3).public_key().peer_id() };
    assert_eq!(post(&relay).await, Err(SignalingFailure::NotHttp));
}

/// A certification authority of our own.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    fn roots(&self) -> HttpsRoots {
        HttpsRoots::new(vec![self.certificate.clone()])
    }

    /// A server of TLS that is `names`, reads one request, says `response`, and gives the request.
    async fn server(&self, names: &[&str], response: String) -> (SocketAddr, JoinHandle<Option<String>>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()?;
            let request = read_request(&mut stream).await;
            respond(&mut stream, &response).await;
            Some(request)
        });
        (address, task)
    }
}

async fn respond(stream: &mut (impl AsyncWrite + Unpin), response: &str) {
    stream.write_all(response.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn https(host: &str, address: SocketAddr) -> Signaling {
    Signaling::Https { host: host.parse().unwrap(), port: address.port() }
}

#[tokio::test]
async fn https_works_with_an_authority_that_is_trusted() {
    let authority = Authority::new();
    for host in ["127.0.0.1", "localhost"] {
        let (address, server) = authority.server(&[host], response("200 OK", "", &accepted().to_json())).await;
        let signaling = https(host, address);
        let posted = post_offer(&signaling, &offer(), &authority.roots(), AMPLE, &|_| {}).await.unwrap();
        assert_eq!(posted, Posted { response: accepted(), remote: address, is_tls: true, status: 200 });
        let request = server.await.unwrap().unwrap();
        assert!(request.starts_with("POST /mina/webrtc/signal HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {host}:{}\r\n", address.port())), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
    }
}

#[tokio::test]
async fn https_is_refused_from_who_is_not_trusted_or_not_meant() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (names, roots) in [(["127.0.0.1"], stranger.roots()), (["192.0.2.1"], authority.roots())] {
        let (address, server) = authority.server(&names, response("200 OK", "", &accepted().to_json())).await;
        let signaling = https("127.0.0.1", address);
        let failure = post_offer(&signaling, &offer(), &roots, AMPLE, &|_| {}).await.unwrap_err();
        assert!(matches!(&failure, SignalingFailure::Tls { host, .. } if host == "127.0.0.1"), "{failure}");
        assert_eq!(server.await.unwrap(), None, "the offer was not sent");
    }
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 100]).await;
        let _ = stream.write_all(response("400 Bad Request", "", "").as_bytes()).await;
    });
    let roots = Authority::new().roots();
    let failure = post_offer(&https("127.0.0.1", address), &offer(), &roots, AMPLE, &|_| {}).await.unwrap_err();
    assert!(matches!(failure, SignalingFailure::Tls { .. }), "{failure}");
}

#[tokio::test]
async fn a_node_behind_a_proxy_is_named_in_the_path() {
    let authority = Authority::new();
    let (address, server) = authority.server(&["127.0.0.1"], response("200 OK", "", "\"InternalError\"")).await;
    let signaling = Signaling::HttpsProxy { cluster: 7, host: "127.0.0.1".parse().unwrap(), port: address.port() };
    let posted = post_offer(&signaling, &offer(), &authority.roots(), AMPLE, &|_| {}).await.unwrap();
    assert_eq!(posted.response, SignalingResponse::InternalError);
    let request = server.await.unwrap().unwrap();
    assert!(request.starts_with("POST /clusters/7/mina/webrtc/signal HTTP/1.1\r\n"), "{request}");
}
