//! The signaling server: routes, statuses and bodies as the existing node has them, bounds as it has none.

use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use mina_p2p_wire::signaling::{MAX_OFFER_LEN, MAX_OFFER_PATH_LEN, Offer, SignalingResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::debug;

use super::admission::{Admission, Client};
use super::{HttpCounters, HttpLimits, KIB, MAX_BUFFER_LEN, MAX_HEAD_LEN, MAX_HEADERS, Outcome, SIGNAL_PATH};
use crate::BoxFuture;
use crate::reason::sanitized;

/// Who answers offers.
pub(crate) trait OfferHandler: Send + Sync + 'static {
    /// Answers an offer that came from `from` and that nothing has authenticated yet. The future is dropped when the answer
    /// takes longer than [`HttpLimits::answer_timeout`] or when the offerer hangs up.
    fn offer(&self, from: IpAddr, offer: Offer) -> BoxFuture<'_, SignalingResponse>;
}

/// How long accepting pauses when the system has no socket for us: what is open must end first.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A body over its limit is read up to here and thrown away, so that its sender, who reads when all is sent, sees the refusal
/// and not a broken connection.
const MAX_DISCARDED: usize = 64 * KIB;

/// What who finds no place reads, if it reads at all.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    access-control-allow-origin: *\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 20\r\n\
    connection: close\r\n\r\n\
    Too many connections";

/// How long a browser may remember that it may post here: a day.
const PREFLIGHT_SECONDS: &str = "86400";

/// The client's address as a proxy adds it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

struct Server {
    admission: Arc<Admission>,
    handler: Arc<dyn OfferHandler>,
    limits: HttpLimits,
    counters: Arc<HttpCounters>,
}

/// Where a request came from, and by when it must be complete.
#[derive(Debug, Clone, Copy)]
struct Source {
    peer: Client,
    is_proxy: bool,
    deadline: Instant,
}

/// Serves offers on `listener` until `shutdown` is true or its sender is gone; requests under way are then dropped.
///
/// Every answer can be read by a browser's page of any origin, but for those to what is no HTTP or has too long a head: they
/// are hyper's own (400, 431), before there is a request.
pub(crate) async fn serve(
    listener: TcpListener,
    handler: Arc<dyn OfferHandler>,
    limits: HttpLimits,
    counters: Arc<HttpCounters>,
    mut shutdown: watch::Receiver<bool>,
) {
    let admission = Admission::new(limits.clone(), Instant::now());
    let server = Arc::new(Server { admission, handler, limits, counters });
    let mut connections = JoinSet::new();
    let mut stop = pin!(async move {
        let _ = shutdown.wait_for(|stop| *stop).await;
    });
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    debug!(%error, "a signaling connection's task failed");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => server.accepted(stream, peer, &mut connections),
                Err(error) => {
                    debug!(%error, "no signaling connection could be accepted");
                    tokio::select! {
                        () = &mut stop => return,
                        () = sleep(ACCEPT_RETRY) => {}
                    }
                }
            }
        }
    }
}

impl Server {
    fn accepted(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let is_proxy = self.admission.is_trusted_proxy(peer.ip());
        let client = self.admission.client(peer.ip());
        // A proxy's places are counted for whom it speaks for, which its request says.
        let places = self.admission.connect().and_then(|place| {
            let of_address = if is_proxy { None } else { Some(self.admission.connect_from(client)?) };
            Some((place, of_address))
        });
        let Some(places) = places else {
            self.counters.count(Outcome::Busy);
            debug!(%peer, "signaling: no place");
            // A new socket takes as much at once; nobody waits for one that does not. (Tokio's own `try_write` would: it does
            // not know yet that the socket can be written.)
            let _ = stream.into_std().and_then(|mut stream| stream.write(BUSY));
            return;
        };
        let source = Source { peer: client, is_proxy, deadline: Instant::now() + self.limits.request_timeout };
        let server = self.clone();
        connections.spawn(async move {
            server.connection(stream, source).await;
            drop(places);
        });
    }

    /// One request and its answer.
    async fn connection(self: &Arc<Self>, stream: TcpStream, source: Source) {
        let head_came = Arc::new(Notify::new());
        let service = service_fn(|request| {
            head_came.notify_one();
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.respond(request, source).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .keep_alive(false)
                .max_header_size(MAX_HEAD_LEN)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_BUFFER_LEN)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = tokio::select! {
            ended = &mut connection => Some(Ok(ended)),
            () = head_came.notified() => None,
            () = sleep_until(source.deadline) => {
                self.counters.count(Outcome::Timeout);
                debug!(from = %source.peer.address, "signaling: no request in time");
                return;
            }
        };
        // From here on the request's parts have their own times, and this one is for all of them.
        let end = source.deadline + self.limits.answer_timeout + self.limits.write_timeout;
        let ended = match ended {
            Some(ended) => ended,
            None => timeout_at(end, connection).await,
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // The offerer that hangs up is no one's fault.
                if error.is_parse_too_large() {
                    self.counters.count(Outcome::TooLong);
                } else if error.is_parse() {
                    self.counters.count(Outcome::Malformed);
                }
                debug!(from = %source.peer.address, error = sanitized(error.to_string().as_bytes()), "signaling: connection failed");
            }
            Err(_) => {
                self.counters.count(Outcome::Timeout);
                debug!(from = %source.peer.address, "signaling: response not taken in time");
            }
        }
    }

    async fn respond(&self, request: Request<Incoming>, source: Source) -> Response<Full<Bytes>> {
        let client = match source.is_proxy.then(|| forwarded_for(request.headers())).flatten() {
            Some(address) => Client::forwarded(address),
            None => source.peer,
        };
        let reply = self.reply(request, client, source).await;
        if let Some(outcome) = reply.outcome {
            self.counters.count(outcome);
        }
        debug!(from = %client.address, status = reply.status.as_u16(), "signaling: answered");
        reply.into_response()
    }

    async fn reply(&self, request: Request<Incoming>, client: Client, source: Source) -> Reply {
        // Held until the answer is made.
        let _place = if source.is_proxy {
            match self.admission.connect_from(client) {
                Some(place) => Some(place),
                None => {
                    return Reply::text(StatusCode::SERVICE_UNAVAILABLE, "Too many connections", Outcome::Busy);
                }
            }
        } else {
            None
        };
        let (head, body) = request.into_parts();
        // Read in any case: who does not get to the end of its body does not see the refusal.
        let Ok(body) = timeout_at(source.deadline, read_body(body)).await else {
            return Reply::text(StatusCode::REQUEST_TIMEOUT, "Request not complete in time", Outcome::Timeout);
        };
        let path = head.uri.path();
        let below = path.strip_prefix(SIGNAL_PATH).map(|rest| rest.strip_prefix('/').unwrap_or(rest));
        let offer = match (below, &head.method) {
            (None, _) => return Reply::not_found(),
            (Some(rest), _)
                if rest.contains('/') || path.len() == SIGNAL_PATH.len() + rest.len() && !rest.is_empty() =>
            {
                return Reply::not_found();
            }
            (Some(_), &Method::OPTIONS) => return Reply::preflight(),
            (Some(""), &Method::POST) => self.posted(&head.headers, body, client),
            (Some(encoded), &Method::GET) if !encoded.is_empty() => self.in_path(encoded, client),
            (Some(rest), _) => return Reply::method_not_allowed(rest.is_empty()),
        };
        match offer {
            Ok(offer) => self.answer(client, offer).await,
            Err(refusal) => refusal,
        }
    }

    fn posted(&self, headers: &HeaderMap, body: ReadBody, client: Client) -> Result<Offer, Reply> {
        if !is_json(headers) {
            let text = "The request's content-type is not supported";
            return Err(Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text, Outcome::Malformed));
        }
        let body = match body {
            ReadBody::Whole(body) => body,
            ReadBody::TooLong => {
                let text = "The request payload is too large";
                return Err(Reply::text(StatusCode::PAYLOAD_TOO_LARGE, text, Outcome::TooLong));
            }
            ReadBody::Broken(error) => {
                let text = format!("Request body read error: {error}");
                return Err(Reply::text(StatusCode::BAD_REQUEST, text, Outcome::Malformed));
            }
        };
        self.within_rate(client)?;
        Offer::from_json(&body).map_err(|error| {
            let text = format!("Request body deserialize error: {}", sanitized(error.to_string().as_bytes()));
            Reply::text(StatusCode::BAD_REQUEST, text, Outcome::Malformed)
        })
    }

    fn in_path(&self, encoded: &str, client: Client) -> Result<Offer, Reply> {
        if encoded.len() > MAX_OFFER_PATH_LEN {
            return Err(Reply::text(StatusCode::URI_TOO_LONG, "The request path is too long", Outcome::TooLong));
        }
        self.within_rate(client)?;
        Offer::from_path(encoded).map_err(|error| {
            debug!(from = %client.address, error = sanitized(error.to_string().as_bytes()), "signaling: undecodable path");
            Reply { outcome: Some(Outcome::Malformed), ..Reply::json(&SignalingResponse::SignalDecryptionFailed) }
        })
    }

    fn within_rate(&self, client: Client) -> Result<(), Reply> {
        if self.admission.offer(client, Instant::now()) {
            return Ok(());
        }
        let mut reply = Reply::text(StatusCode::TOO_MANY_REQUESTS, "Too many offers", Outcome::RateLimited);
        reply.headers.push((header::RETRY_AFTER, "1"));
        Err(reply)
    }

    async fn answer(&self, client: Client, offer: Offer) -> Reply {
        match timeout(self.limits.answer_timeout, self.handler.offer(client.address, offer)).await {
            Ok(response) => Reply::json(&response),
            Err(_) => Reply { outcome: Some(Outcome::Timeout), ..Reply::json(&SignalingResponse::InternalError) },
        }
    }
}

/// An answer before it is HTTP.
struct Reply {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: String,
    headers: Vec<(HeaderName, &'static str)>,
    /// What is counted.
    outcome: Option<Outcome>,
}

impl Reply {
    fn empty(status: StatusCode) -> Self {
        Self { status, content_type: None, body: String::new(), headers: Vec::new(), outcome: None }
    }

    fn text(status: StatusCode, text: impl Into<String>, outcome: Outcome) -> Self {
        let content_type = Some("text/plain; charset=utf-8");
        Self { content_type, body: text.into(), outcome: Some(outcome), ..Self::empty(status) }
    }

    fn json(response: &SignalingResponse) -> Self {
        let outcome = match response {
            SignalingResponse::Accepted(_) => Outcome::Answered,
            SignalingResponse::Rejected(_) => Outcome::Rejected,
            SignalingResponse::SignalDecryptionFailed | SignalingResponse::InternalError => Outcome::Failed,
        };
        let status = StatusCode::from_u16(response.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = Some("application/json");
        Self { content_type, body: response.to_json(), outcome: Some(outcome), ..Self::empty(status) }
    }

    fn not_found() -> Self {
        Self { outcome: Some(Outcome::Malformed), ..Self::empty(StatusCode::NOT_FOUND) }
    }

    fn method_not_allowed(of_post: bool) -> Self {
        let text = "HTTP method not allowed";
        let mut reply = Self::text(StatusCode::METHOD_NOT_ALLOWED, text, Outcome::Malformed);
        reply.headers.push((header::ALLOW, if of_post { "POST, OPTIONS" } else { "GET, OPTIONS" }));
        reply
    }

    /// What a browser asks before it posts JSON to another origin.
    fn preflight() -> Self {
        let mut reply = Self::empty(StatusCode::NO_CONTENT);
        reply.headers.push((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"));
        reply.headers.push((header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"));
        reply.headers.push((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS));
        reply
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        // A browser shows its page only what any origin may see, refusals included.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if let Some(content_type) = self.content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// What came of a body.
enum ReadBody {
    Whole(Bytes),
    TooLong,
    Broken(hyper::Error),
}

async fn read_body(mut body: Incoming) -> ReadBody {
    let announced = body.size_hint().lower();
    if announced > MAX_DISCARDED as u64 {
        return ReadBody::TooLong;
    }
    let (mut whole, mut read) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return ReadBody::Broken(error),
        };
        read = read.saturating_add(data.len());
        if read > MAX_DISCARDED {
            break;
        }
        if read <= MAX_OFFER_LEN {
            whole.extend_from_slice(&data);
        }
    }
    if read > MAX_OFFER_LEN { ReadBody::TooLong } else { ReadBody::Whole(whole.into()) }
}

/// Whether the body is said to be JSON, or nothing is said of it, as the existing node's dialer does.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let essence = value.to_str().ok().and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The last address of the last `X-Forwarded-For`: the one that the nearest proxy added. A port behind it is allowed.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
