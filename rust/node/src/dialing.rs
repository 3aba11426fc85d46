//! Dialing a peer by all of its addresses: the first connection that authenticates is kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mina_p2p_transport::{CloseReason, ConnectError, Connection, Transport, TransportKind};
use mina_p2p_wire::Address;
use mina_p2p_wire::message::Hello;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::event::DialError;
use crate::transports::kind_of;

/// How long the preferred transport has for itself before the next is tried beside it: a handshake over half the world, where
/// QUIC needs two round trips of 100 to 150 ms.
pub(crate) const NEXT_TRANSPORT_DELAY: Duration = Duration::from_millis(300);

/// A connection that a dial made, and by which address.
pub(crate) struct Dialed {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) address: Address,
}

/// A dial that came to nothing: the preferred transport's reason, and the address that it dialed last.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) address: Option<Address>,
    pub(crate) reason: DialError,
    /// The peer has authenticated itself, and says no: nothing else leads further.
    is_final: bool,
}

impl Failed {
    pub(crate) fn new(address: Option<Address>, reason: DialError) -> Failed {
        Failed { address, reason, is_final: false }
    }
}

/// What one transport has to try, one address after another.
struct Attempt<'a> {
    transport: &'a dyn Transport,
    addresses: Vec<&'a Address>,
}

type Attempting<'a> = Pin<Box<dyn Future<Output = (usize, Result<Dialed, Failed>)> + Send + 'a>>;

/// Dials all addresses of one peer, by the transports in the order of preference: each [`NEXT_TRANSPORT_DELAY`] after the one
/// before, or when that has failed. What has not authenticated first is dropped.
pub(crate) async fn race(
    transports: &[Arc<dyn Transport>],
    addresses: &[Address],
    our_hello: &Hello,
) -> Result<Dialed, Failed> {
    let mut attempts = Vec::with_capacity(transports.len());
    for transport in transports {
        let addresses: Vec<&Address> =
            addresses.iter().filter(|address| kind_of(address) == Some(transport.kind())).collect();
        if !addresses.is_empty() {
            attempts.push(Attempt { transport: transport.as_ref(), addresses });
        }
    }
    let mut waiting = attempts.into_iter().enumerate().peekable();
    let mut running: FuturesUnordered<Attempting<'_>> = FuturesUnordered::new();
    let mut told: Option<(usize, Failed)> = None;
    let mut next_at = Instant::now();
    loop {
        if running.is_empty() || next_at <= Instant::now() {
            match waiting.next() {
                Some((rank, attempt)) => {
                    running.push(Box::pin(async move { (rank, attempt.run(our_hello).await) }));
                    next_at = Instant::now() + NEXT_TRANSPORT_DELAY;
                }
                None if running.is_empty() => {
                    let none = Failed::new(addresses.first().cloned(), DialError::NoTransport);
                    return Err(told.map_or(none, |(_, failed)| failed));
                }
                None => {}
            }
        }
        tokio::select! {
            Some((rank, end)) = running.next() => match end {
                Ok(dialed) => return Ok(dialed),
                Err(failed) if failed.is_final => return Err(failed),
                Err(failed) => {
                    if told.as_ref().is_none_or(|(other, _)| rank < *other) {
                        told = Some((rank, failed));
                    }
                }
            },
            () = sleep_until(next_at), if waiting.peek().is_some() => {}
        }
    }
}

impl Attempt<'_> {
    async fn run(&self, our_hello: &Hello) -> Result<Dialed, Failed> {
        let mut last = Failed::new(None, DialError::NoTransport);
        for address in &self.addresses {
            match self.transport.connect(address, our_hello).await {
                Ok(connection) => return Ok(Dialed { connection, address: (*address).clone() }),
                Err(error) => {
                    debug!(%address, transport = %self.transport.kind(), %error, "an attempt of a dial failed");
                    // What comes by plain HTTP may be anybody's word.
                    let is_final = self.transport.kind() != TransportKind::WebRtc && is_final(&error);
                    last = Failed { address: Some((*address).clone()), reason: error.into(), is_final };
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(last)
    }
}

/// Whether the peer itself has said no, or we do to whoever the peer is.
fn is_final(error: &ConnectError) -> bool {
    use CloseReason::{Banned, Capacity, Duplicate, IncompatibleVersion, SelfConnection, Shutdown, WrongChain};
    match error {
        ConnectError::Closed(reason) => matches!(
            reason,
            Banned | Capacity | Duplicate | IncompatibleVersion | SelfConnection | Shutdown | WrongChain
        ),
        ConnectError::Refused(reason) => matches!(reason, SelfConnection | IncompatibleVersion | WrongChain),
        ConnectError::ShutDown => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use mina_p2p_transport::{BoxFuture, ListenError, Listener};
    use mina_p2p_wire::message::Capabilities;
    use mina_p2p_wire::{ChainId, PROTOCOL_VERSION, SecretKey};

    use super::*;

    /// What becomes of an attempt, and after how many milliseconds.
    type Fate = Option<(u64, ConnectError)>;

    /// Writes down what is dialed and when, in milliseconds, and never connects.
    struct Fake {
        kind: TransportKind,
        /// One for each address in turn; `None`: no end at all.
        fates: Mutex<Vec<Fate>>,
        dialed: Arc<Mutex<Vec<(TransportKind, u128)>>>,
        start: Instant,
    }

    impl Transport for Fake {
        fn kind(&self) -> TransportKind {
            self.kind
        }

        fn connect<'a>(
            &'a self,
            _: &'a Address,
            _: &'a Hello,
        ) -> BoxFuture<'a, Result<Arc<dyn Connection>, ConnectError>> {
            self.dialed.lock().unwrap().push((self.kind, self.start.elapsed().as_millis()));
            let fate = self.fates.lock().unwrap().remove(0);
            Box::pin(async move {
                match fate {
                    Some((after, error)) => {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        Err(error)
                    }
                    None => std::future::pending().await,
                }
            })
        }

        fn listen(&self, _: SocketAddr) -> Result<Box<dyn Listener>, ListenError> {
            Err(ListenError::ShutDown)
        }

        fn shutdown(&self, _: CloseReason) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }
    }

    /// Dials two addresses of QUIC and one of WebRTC, in this order of preference. Answers what was dialed when, and how it
    /// ended within a minute.
    async fn dial(fates: [(TransportKind, Vec<Fate>); 2]) -> (Vec<(TransportKind, u128)>, Option<Failed>) {
        let peer = SecretKey::from_bytes([2; 32]).peer_id();
        let addresses: Vec<Address> = ["/dns4/one/udp/1/mina-quic", "/dns4/two/udp/2/mina-quic"]
            .iter()
            .map(|start| format!("{start}/p2p/{}", peer.to_libp2p()))
            .chain([format!("/{peer}/http/three/3")])
            .map(|text| text.parse().unwrap())
            .collect();
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            chain_id: ChainId([7; 32]),
            capabilities: Capabilities::empty(),
            listen_addresses: Vec::new(),
            agent: String::new(),
            identity_signature: None,
        };
        let (dialed, start) = (Arc::default(), Instant::now());
        let transports = fates.map(|(kind, fates)| -> Arc<dyn Transport> {
            Arc::new(Fake { kind, fates: Mutex::new(fates), dialed: Arc::clone(&dialed), start })
        });
        let end = tokio::time::timeout(Duration::from_secs(60), race(&transports, &addresses, &hello)).await;
        let dialed = dialed.lock().unwrap().clone();
        (dialed, end.ok().map(|end| end.err().expect("nobody is there")))
    }

    const QUIC: TransportKind = TransportKind::Quic;
    const WEBRTC: TransportKind = TransportKind::WebRtc;

    fn silence(after: u64) -> Fate {
        Some((after, ConnectError::TimedOut(Duration::from_millis(after))))
    }

    #[tokio::test(start_paused = true)]
    async fn the_preferred_transport_has_300_ms_for_itself() {
        let (dialed, _) = dial([(QUIC, vec![None]), (WEBRTC, vec![None])]).await;
        assert_eq!(dialed, [(QUIC, 0), (WEBRTC, 300)]);
        let (dialed, _) = dial([(WEBRTC, vec![None]), (QUIC, vec![None])]).await;
        assert_eq!(dialed, [(WEBRTC, 0), (QUIC, 300)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_one_does_not_wait_for_what_has_failed() {
        let (dialed, end) = dial([(QUIC, vec![silence(50), silence(100)]), (WEBRTC, vec![silence(10)])]).await;
        assert_eq!(dialed, [(QUIC, 0), (QUIC, 50), (WEBRTC, 150)]);
        let end = end.unwrap();
        assert_eq!(end.reason, ConnectError::TimedOut(Duration::from_millis(100)).into(), "the preferred one's reason");
        assert_eq!(end.address.unwrap().port(), Some(2), "the last that it dialed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_preferred_one_s_reason_is_told_whichever_fails_first() {
        let (dialed, end) = dial([(QUIC, vec![silence(5_000), silence(1)]), (WEBRTC, vec![silence(10)])]).await;
        assert_eq!(dialed, [(QUIC, 0), (WEBRTC, 300), (QUIC, 5_000)]);
        assert_eq!(end.unwrap().reason, ConnectError::TimedOut(Duration::from_millis(1)).into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_no_is_not_dialed_in_other_ways() {
        let no = || Some((100, ConnectError::Closed(CloseReason::Banned)));
        let (dialed, end) = dial([(QUIC, vec![no()]), (WEBRTC, vec![None])]).await;
        assert_eq!(dialed, [(QUIC, 0)]);
        assert_eq!(end.unwrap().reason, ConnectError::Closed(CloseReason::Banned).into());
        // What comes by HTTP is not the peer's own word.
        let (dialed, end) = dial([(WEBRTC, vec![no()]), (QUIC, vec![None])]).await;
        assert_eq!(dialed, [(WEBRTC, 0), (QUIC, 100)]);
        assert!(end.is_none());
    }
}
