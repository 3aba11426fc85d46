//! Signaling by HTTP: the server with the existing node's routes and answers, and the client.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::node::Input;
use super::signal::{Offer, Response, to_json};

const PATH: &str = "/mina/webrtc/signal";
/// The most bytes of a body, either way: four times what an offer takes.
const MAX_BODY_LEN: usize = 64 * 1024;

type Reply = hyper::Response<Full<Bytes>>;

fn reply(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = hyper::Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    reply
}

fn respond(response: &Response) -> Reply {
    reply(response.http_status(), "application/json", to_json(response))
}

async fn answer(request: Request<Incoming>, node: &mpsc::UnboundedSender<Input>) -> Reply {
    let path = request.uri().path().to_owned();
    let offer = match (request.method().clone(), path.strip_prefix(PATH)) {
        (Method::POST, Some("")) => {
            match request.headers().get(CONTENT_TYPE) {
                Some(kind) if kind.as_bytes() != b"application/json" => return reply(415, "text/plain", "wrong type"),
                _ => {}
            }
            let Ok(body) = Limited::new(request.into_body(), MAX_BODY_LEN).collect().await else {
                return reply(413, "text/plain", "too long");
            };
            match serde_json::from_slice::<Offer>(&body.to_bytes()) {
                Ok(offer) => offer,
                Err(error) => return reply(400, "text/plain", error.to_string()),
            }
        }
        (Method::GET, Some(rest)) => {
            let json = rest.strip_prefix('/').and_then(|text| bs58::decode(text).into_vec().ok());
            match json.and_then(|json| serde_json::from_slice::<Offer>(&json).ok()) {
                Some(offer) => offer,
                None => return respond(&Response::SignalDecryptionFailed),
            }
        }
        (_, Some("")) => return reply(405, "text/plain", "only GET and POST"),
        _ => return reply(404, "text/plain", "not here"),
    };
    let (answer, answered) = oneshot::channel();
    if node.send(Input::HttpOffer(offer, answer)).is_err() {
        return respond(&Response::InternalError);
    }
    // An offer that cannot be used is never answered, as with the existing node; then this waits for ever.
    respond(&answered.await.unwrap_or(Response::InternalError))
}

/// Serves signaling on the listener until dropped.
pub(super) async fn serve(listener: TcpListener, node: mpsc::UnboundedSender<Input>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let node = node.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request| {
                let node = node.clone();
                async move { Ok::<_, Infallible>(answer(request, &node).await) }
            });
            let _ended =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Posts an offer, without a content type and without a timeout, as the existing node does. `Ok(None)`: the body was no
/// response.
pub(super) async fn post(to: SocketAddr, offer: &Offer) -> io::Result<Option<Response>> {
    let stream = TcpStream::connect(to).await?;
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let _driver = super::AbortOnDrop(tokio::spawn(async move {
        let _ended = connection.await;
    }));
    let request = Request::post(PATH)
        .header(HOST, to.to_string())
        .body(Full::new(Bytes::from(to_json(offer))))
        .map_err(io::Error::other)?;
    let response = client.send_request(request).await.map_err(io::Error::other)?;
    let body = Limited::new(response.into_body(), MAX_BODY_LEN).collect().await.map_err(io::Error::other)?;
    Ok(serde_json::from_slice(&body.to_bytes()).ok())
}
