//! Routes, statuses and bodies byte for byte, and what strangers try.

use std::collections::BTreeMap;
use std::time::Duration;

use mina_p2p_wire::signaling::{MAX_OFFER_LEN, MAX_OFFER_PATH_LEN, RejectionReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;

/// A response as it came.
#[derive(Debug)]
struct Raw {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Raw {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        Self { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The parts that must be as the existing node has them.
    fn seen(&self) -> (u16, &str, &str) {
        (self.status, self.header("content-type"), &self.body)
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

async fn send_bytes(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    response
}

async fn send(address: SocketAddr, request: &str) -> Raw {
    Raw::parse(&send_bytes(address, request.as_bytes()).await)
}

fn post_with(headers: &str, body: &str) -> String {
    format!("POST /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn post(body: &str) -> String {
    post_with("", body)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

async fn to_accepting(request: &str) -> Raw {
    let server = Running::start(Says::new(accepted()), HttpLimits::default()).await;
    let response = send(server.address, request).await;
    assert_eq!(response.header("access-control-allow-origin"), "*", "a browser sees every answer: {response:?}");
    assert_eq!(response.header("connection"), "close");
    response
}

#[tokio::test]
async fn a_posted_offer_is_answered() {
    let handler = Says::new(accepted());
    let server = Running::start(handler.clone(), HttpLimits::default()).await;
    let response = send(server.address, &post(&offer().to_json())).await;
    assert_eq!(response.seen(), (200, JSON, &*accepted().to_json()));
    assert_eq!(handler.heard(), [("127.0.0.1".parse().unwrap(), offer())]);
    assert_eq!(server.figures().await, HttpFigures { answered: 1, ..HttpFigures::default() });
}

#[tokio::test]
async fn an_offer_in_the_path_is_answered() {
    let handler = Says::new(accepted());
    let server = Running::start(handler.clone(), HttpLimits::default()).await;
    let response = send(server.address, &get(&format!("/mina/webrtc/signal/{}", offer().to_path()))).await;
    assert_eq!(response.seen(), (200, JSON, &*accepted().to_json()));
    assert_eq!(handler.heard().len(), 1);
}

#[tokio::test]
async fn every_response_has_the_status_and_body_of_the_existing_node() {
    let rejected = |reason| SignalingResponse::Rejected(reason);
    let cases = [
        (rejected(RejectionReason::ChainIdMismatch), 200, r#"{"Rejected":"ChainIdMismatch"}"#),
        (rejected(RejectionReason::PeerIdAndPublicKeyMismatch), 400, r#"{"Rejected":"PeerIdAndPublicKeyMismatch"}"#),
        (rejected(RejectionReason::TargetPeerIdNotMe), 400, r#"{"Rejected":"TargetPeerIdNotMe"}"#),
        (rejected(RejectionReason::PeerCapacityFull), 200, r#"{"Rejected":"PeerCapacityFull"}"#),
        (rejected(RejectionReason::AlreadyConnected), 400, r#"{"Rejected":"AlreadyConnected"}"#),
        (rejected(RejectionReason::ConnectingToSelf), 200, r#"{"Rejected":"ConnectingToSelf"}"#),
        (SignalingResponse::SignalDecryptionFailed, 400, r#""SignalDecryptionFailed""#),
        (SignalingResponse::InternalError, 500, r#""InternalError""#),
    ];
    for (response, status, body) in cases {
        let server = Running::start(Says::new(response), HttpLimits::default()).await;
        assert_eq!(send(server.address, &post(&offer().to_json())).await.seen(), (status, JSON, body));
        let figures = server.figures().await;
        assert_eq!(figures.rejected + figures.failed, 1);
    }
}

#[tokio::test]
async fn json_may_be_said_to_be_json_or_nothing_and_nothing_else() {
    let body = offer().to_json();
    for said in ["", "content-type: application/json\r\n", "Content-Type: Application/JSON; charset=utf-8\r\n"] {
        assert_eq!(to_accepting(&post_with(said, &body)).await.status, 200, "{said}");
    }
    for said in ["text/plain", "application/jsonp", "", "application/x-www-form-urlencoded", "\u{e9}"] {
        let response = to_accepting(&post_with(&format!("content-type: {said}\r\n"), &body)).await;
        assert_eq!(response.seen(), (415, TEXT, "The request's content-type is not supported"), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_offer_is_refused_as_text() {
    for body in ["", "{", "null", "{}", r#"{"sdp":1}"#, &"[".repeat(10_000), &offer().to_json().replace("sdp", "pds")] {
        let response = to_accepting(&post(body)).await;
        assert_eq!((response.status, response.header("content-type")), (400, TEXT), "{body}");
        assert!(response.body.starts_with("Request body deserialize error: "), "{response:?}");
        assert!(response.body.len() < 300);
    }
}

#[tokio::test]
async fn an_undecodable_path_is_a_failed_decryption() {
    for segment in ["0", "l", "2", "%20", &"z".repeat(MAX_OFFER_PATH_LEN)] {
        let response = to_accepting(&get(&format!("/mina/webrtc/signal/{segment}"))).await;
        assert_eq!(response.seen(), (400, JSON, r#""SignalDecryptionFailed""#), "{segment}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let segment = offer().to_path();
    let not_allowed = (405, TEXT, "HTTP method not allowed");
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let request = format!("{method} /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(to_accepting(&request).await.seen(), not_allowed, "{method}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let request = format!("{method} /mina/webrtc/signal/{segment} HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(to_accepting(&request).await.seen(), not_allowed, "{method}");
    }
    for path in ["/", "/mina/webrtc", "/mina/webrtc/signals", "/mina/webrtc/signalx/y", "/mina/webrtc/signal/a/b", "*"]
    {
        assert_eq!(to_accepting(&get(path)).await.seen(), (404, "", ""), "{path}");
    }
}

#[tokio::test]
async fn a_browser_is_told_that_it_may_post() {
    let request = "OPTIONS /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\norigin: https://example.com\r\n\
        access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n";
    let response = to_accepting(request).await;
    assert_eq!(response.seen(), (204, "", ""));
    assert_eq!(response.header("access-control-allow-methods"), "GET, POST");
    assert_eq!(response.header("access-control-allow-headers"), "content-type");
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_however_it_comes() {
    let too_large = (413, TEXT, "The request payload is too large");
    for len in [MAX_OFFER_LEN + 1, 60_000] {
        assert_eq!(to_accepting(&post(&" ".repeat(len))).await.seen(), too_large);
        let head = "POST /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("{len:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(len));
        assert_eq!(to_accepting(&format!("{head}{chunk}")).await.seen(), too_large);
    }
    let announced = "POST /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\ncontent-length: 4294967296\r\n\r\n";
    assert_eq!(to_accepting(announced).await.seen(), too_large);
}

#[tokio::test]
async fn the_longest_offer_is_taken() {
    let mut long = offer();
    long.sdp.push_str(&"a".repeat(MAX_OFFER_LEN - long.to_json().len()));
    assert_eq!(long.to_json().len(), MAX_OFFER_LEN);
    assert_eq!(to_accepting(&post(&long.to_json())).await.status, 200);
}

#[tokio::test]
async fn a_path_or_head_over_its_limit_is_refused() {
    let server = Running::start(Says::new(accepted()), HttpLimits::default()).await;
    let long = get(&format!("/mina/webrtc/signal/{}", "z".repeat(MAX_OFFER_PATH_LEN + 1)));
    assert_eq!(send(server.address, &long).await.seen(), (414, TEXT, "The request path is too long"));
    let long = post_with(&format!("x-long: {}\r\n", "a".repeat(17_000)), "");
    assert_eq!(send(server.address, &long).await.status, 431);
    let many = post_with(&(0..100).map(|n| format!("x-{n}: a\r\n")).collect::<String>(), "");
    assert_eq!(send(server.address, &many).await.status, 431);
    assert_eq!(server.figures().await, HttpFigures { too_long: 3, ..HttpFigures::default() });
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = Running::start(Says::new(accepted()), HttpLimits::default()).await;
    for garbage in [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], b"\r\n\r\nGET\r\n\r\n", &[0xff; 500]] {
        let response = send_bytes(server.address, garbage).await;
        assert!(response.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&response));
    }
    assert_eq!(server.figures().await, HttpFigures { malformed: 3, ..HttpFigures::default() });
}

#[tokio::test]
async fn one_connection_has_one_request() {
    let handler = Says::new(accepted());
    let server = Running::start(handler.clone(), HttpLimits::default()).await;
    let twice = post(&offer().to_json()).repeat(2);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(twice.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    // What is not read of the second request may reset the connection.
    let _ = stream.read_to_end(&mut response).await;
    server.figures().await;
    assert_eq!(handler.heard().len(), 1);
}

fn quick() -> HttpLimits {
    let short = Duration::from_millis(100);
    HttpLimits { request_timeout: short, answer_timeout: short, write_timeout: short, ..HttpLimits::default() }
}

#[tokio::test]
async fn who_does_not_finish_its_request_is_cut_off() {
    let server = Running::start(Says::new(accepted()), quick()).await;
    for begun in ["", "POST /mina/webrtc/sig", "POST /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\n"] {
        assert_eq!(send_bytes(server.address, begun.as_bytes()).await, b"", "{begun}");
    }
    let begun = "POST /mina/webrtc/signal HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{\"sdp\":";
    assert_eq!(send(server.address, begun).await.seen(), (408, TEXT, "Request not complete in time"));
    assert_eq!(server.figures().await, HttpFigures { timeouts: 4, ..HttpFigures::default() });
}

/// Never answers. Says when an offer came, and when it was given up.
struct Never(mpsc::UnboundedSender<&'static str>);

struct GivenUp(mpsc::UnboundedSender<&'static str>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let _ = self.0.send("given up");
    }
}

impl OfferHandler for Never {
    fn offer(&self, _: IpAddr, _: Offer) -> BoxFuture<'_, SignalingResponse> {
        self.0.send("came").unwrap();
        let guard = GivenUp(self.0.clone());
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(guard);
            SignalingResponse::InternalError
        })
    }
}

#[tokio::test]
async fn an_offer_that_nobody_answers_is_refused_in_time() {
    let (events, mut heard) = mpsc::unbounded_channel();
    let server = Running::start(Arc::new(Never(events)), quick()).await;
    let response = send(server.address, &post(&offer().to_json())).await;
    assert_eq!(response.seen(), (500, JSON, r#""InternalError""#));
    assert_eq!((heard.recv().await, heard.recv().await), (Some("came"), Some("given up")));
    assert_eq!(server.figures().await, HttpFigures { timeouts: 1, ..HttpFigures::default() });
}

#[tokio::test]
async fn nothing_is_done_for_an_offerer_that_hung_up() {
    let (events, mut heard) = mpsc::unbounded_channel();
    let server = Running::start(Arc::new(Never(events)), HttpLimits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(post(&offer().to_json()).as_bytes()).await.unwrap();
    assert_eq!(heard.recv().await, Some("came"));
    drop(stream);
    assert_eq!(heard.recv().await, Some("given up"));
    assert_eq!(server.figures().await, HttpFigures::default());
}

#[tokio::test]
async fn the_server_ends_with_requests_under_way() {
    let (events, mut heard) = mpsc::unbounded_channel();
    let server = Running::start(Arc::new(Never(events)), HttpLimits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(post(&offer().to_json()).as_bytes()).await.unwrap();
    assert_eq!(heard.recv().await, Some("came"));
    let Running { stop, task, .. } = server;
    drop(stop);
    task.await.unwrap();
    assert_eq!(heard.recv().await, Some("given up"));
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_per_address() {
    let all = HttpLimits { max_connections: 2, ..HttpLimits::default() };
    let address = HttpLimits { max_connections_per_address: 2, exempt_loopback: false, ..HttpLimits::default() };
    for limits in [all, address] {
        let server = Running::start(Says::new(accepted()), limits).await;
        // They are accepted in this order.
        let idle =
            [TcpStream::connect(server.address).await.unwrap(), TcpStream::connect(server.address).await.unwrap()];
        let response = Raw::parse(&send_bytes(server.address, b"").await);
        assert_eq!(response.seen(), (503, TEXT, "Too many connections"));
        assert_eq!(response.header("access-control-allow-origin"), "*");
        assert_eq!(response.header("content-length"), response.body.len().to_string());
        drop(idle);
        assert_eq!(server.figures().await, HttpFigures { busy: 1, ..HttpFigures::default() });
    }
}

#[tokio::test]
async fn a_flood_from_one_address_is_bounded() {
    let limits = HttpLimits { offers_per_address: 1, exempt_loopback: false, ..HttpLimits::default() };
    let handler = Says::new(accepted());
    let server = Running::start(handler.clone(), limits).await;
    let mut statuses = BTreeMap::new();
    for _ in 0..40 {
        let response = send(server.address, &post(&offer().to_json())).await;
        *statuses.entry(response.status).or_insert(0_usize) += 1;
        if response.status == 429 {
            assert_eq!(response.seen(), (429, TEXT, "Too many offers"));
            assert_eq!(response.header("retry-after"), "1");
            assert_eq!(response.header("access-control-allow-origin"), "*");
        }
    }
    // The header is nobody's word but a trusted proxy's.
    let response = send(server.address, &post_with("x-forwarded-for: 192.0.2.1\r\n", &offer().to_json())).await;
    assert!(handler.heard().iter().all(|(from, _)| from.is_loopback()), "{response:?}");
    assert!(statuses[&200] >= 8 && statuses[&429] > 0, "{statuses:?}");
    assert!(server.figures().await.rate_limited > 0);
}

fn behind_proxy() -> HttpLimits {
    HttpLimits { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..HttpLimits::default() }
}

#[tokio::test]
async fn a_flood_from_many_addresses_is_bounded() {
    let server =
        Running::start(Says::new(accepted()), HttpLimits { offers: 1, offer_burst: 10, ..behind_proxy() }).await;
    for n in 0..60 {
        let response = send(server.address, &post_with(&format!("x-forwarded-for: 192.0.2.{n}\r\n"), "{}")).await;
        assert!(matches!(response.status, 400 | 429));
    }
    let figures = server.figures().await;
    assert_eq!(figures.malformed + figures.rate_limited, 60);
    assert!(figures.malformed >= 10 && figures.rate_limited > 0, "{figures:?}");
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_speaks() {
    let handler = Says::new(accepted());
    let server = Running::start(handler.clone(), behind_proxy()).await;
    let cases = [
        ("x-forwarded-for: 192.0.2.1\r\n", "192.0.2.1"),
        ("x-forwarded-for: 10.0.0.1, 192.0.2.2\r\n", "192.0.2.2"),
        ("x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 192.0.2.3\r\n", "192.0.2.3"),
        ("x-forwarded-for: 192.0.2.4:5678\r\n", "192.0.2.4"),
        ("x-forwarded-for: 2001:db8::1\r\n", "2001:db8::1"),
        ("x-forwarded-for: [2001:db8::2]:80\r\n", "2001:db8::2"),
        ("x-forwarded-for: ::ffff:192.0.2.5\r\n", "192.0.2.5"),
        ("x-forwarded-for: unknown\r\n", "127.0.0.1"),
        ("x-forwarded-for: 192.0.2.6,\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ];
    for (header, address) in cases {
        assert_eq!(send(server.address, &post_with(header, &offer().to_json())).await.status, 200);
        assert_eq!(handler.heard().last().unwrap().0, address.parse::<IpAddr>().unwrap(), "{header}");
    }
}

#[tokio::test]
async fn connections_through_a_proxy_count_for_whom_it_speaks() {
    let (events, mut heard) = mpsc::unbounded_channel();
    let limits = HttpLimits { max_connections_per_address: 1, ..behind_proxy() };
    let server = Running::start(Arc::new(Never(events)), limits).await;
    let request = |n: u8| post_with(&format!("x-forwarded-for: 192.0.2.{n}\r\n"), &offer().to_json());
    let mut held = Vec::new();
    for n in [1, 2] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request(n).as_bytes()).await.unwrap();
        assert_eq!(heard.recv().await, Some("came"));
        held.push(stream);
    }
    assert_eq!(send(server.address, &request(1)).await.seen(), (503, TEXT, "Too many connections"));
    drop(held);
}
