//! The server and the client over real sockets, on loopback.

mod client;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use mina_p2p_wire::signaling::{Answer, Offer, SignalingResponse};
use mina_p2p_wire::{ChainId, SecretKey};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{HttpCounters, HttpFigures, HttpLimits, OfferHandler, serve};
use crate::BoxFuture;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn offer() -> Offer {
    Offer {
        sdp: "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".into(),
        chain_id: ChainId([7; 32]),
        identity_pub_key: key(1).public_key(),
        target_peer_id: key(2).public_key().peer_id(),
        host: "127.0.0.1".parse().unwrap(),
        listen_port: Some(8302),
    }
}

fn accepted() -> SignalingResponse {
    SignalingResponse::Accepted(Answer {
        sdp: "v=0\r\n".into(),
        identity_pub_key: key(2).public_key(),
        target_peer_id: key(1).public_key().peer_id(),
    })
}

/// Says the same to every offer and remembers them.
struct Says {
    response: SignalingResponse,
    heard: Mutex<Vec<(IpAddr, Offer)>>,
}

impl Says {
    fn new(response: SignalingResponse) -> Arc<Self> {
        Arc::new(Self { response, heard: Mutex::default() })
    }

    fn heard(&self) -> Vec<(IpAddr, Offer)> {
        self.heard.lock().unwrap().clone()
    }
}

impl OfferHandler for Says {
    fn offer(&self, from: IpAddr, offer: Offer) -> BoxFuture<'_, SignalingResponse> {
        self.heard.lock().unwrap().push((from, offer));
        Box::pin(async { self.response.clone() })
    }
}

/// A running server.
struct Running {
    address: SocketAddr,
    counters: Arc<HttpCounters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(handler: Arc<dyn OfferHandler>, limits: HttpLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(HttpCounters::default());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, handler, limits, counters.clone(), stopped));
        Self { address, counters, stop, task }
    }

    /// Stops the server; what it counted.
    async fn figures(self) -> HttpFigures {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        self.counters.figures()
    }
}
