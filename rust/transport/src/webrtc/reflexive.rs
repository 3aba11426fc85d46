//! Our address as the world sees it, by STUN (RFC 8489).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::StunServer;
use super::demux::Demux;
use super::limits::{STUN_TIMEOUT, STUN_VALID};
use crate::limits::MAX_RESOLVED_ADDRESSES;
use crate::udp::Port;

/// A question is sent again after this, and twice as long, while no answer comes.
const REPEAT: Duration = Duration::from_millis(100);

/// What servers said of each port, or that they said nothing.
#[derive(Default)]
pub(super) struct Reflexive {
    known: Mutex<HashMap<SocketAddr, (Option<SocketAddr>, Instant)>>,
}

impl Reflexive {
    /// The port's address as the first server that answers sees it. Takes [`STUN_TIMEOUT`] at most; what was found, or not
    /// found, holds for [`STUN_VALID`].
    pub(super) async fn of(&self, port: &Arc<Port>, demux: &Arc<Demux>, servers: &[StunServer]) -> Option<SocketAddr> {
        let local = port.local_addr();
        if servers.is_empty() || local.ip().is_loopback() {
            return None;
        }
        if let Some((found, at)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&local).copied()
            && at.elapsed() < STUN_VALID
        {
            return found;
        }
        let mut questions = JoinSet::new();
        for server in servers {
            questions.spawn(ask(port.clone(), demux.clone(), server.clone()));
        }
        let first = async {
            while let Some(answer) = questions.join_next().await {
                if let Ok(Some(address)) = answer {
                    return Some(address);
                }
            }
            None
        };
        let found = timeout(STUN_TIMEOUT, first).await.unwrap_or_default();
        tracing::debug!(%local, ?found, "asked STUN servers");
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(local, (found, Instant::now()));
        found
    }
}

async fn ask(port: Arc<Port>, demux: Arc<Demux>, server: StunServer) -> Option<SocketAddr> {
    let host = server.host.to_string();
    let addresses = tokio::net::lookup_host((host.as_str(), server.port)).await.ok()?;
    let is_v4 = port.local_addr().is_ipv4();
    let server = addresses.take(MAX_RESOLVED_ADDRESSES).find(|address| address.is_ipv4() == is_v4)?;
    let mut transaction = [0; 12];
    getrandom::fill(&mut transaction).ok()?;
    let mut query = demux.queries.ask(server, transaction)?;
    let mut wait = REPEAT;
    loop {
        port.send(server, None, &query.datagram(), None).await.ok()?;
        tokio::select! {
            answer = query.answer() => return answer.ok(),
            () = sleep(wait) => wait *= 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use mina_p2p_wire::Host;
    use tokio::net::UdpSocket;

    use super::*;
    use crate::udp::stun::tests::success;
    use crate::udp::stun::transaction_id;

    fn port() -> (Arc<Port>, Arc<Demux>) {
        let port = Port::bind(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        let demux = Arc::new(Demux::default());
        port.set_sink(demux.clone());
        let reads = port.clone();
        tokio::spawn(async move { reads.read_alone().await });
        (port, demux)
    }

    async fn server() -> (UdpSocket, StunServer) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, StunServer { host: Host::Ipv4([127, 0, 0, 1].into()), port })
    }

    /// Answers every question with this address, and counts them.
    async fn answer(socket: UdpSocket, seen: SocketAddr) {
        let mut datagram = [0; 1500];
        loop {
            let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
            let transaction = transaction_id(&datagram[..len]).unwrap();
            socket.send_to(&success(seen, &transaction), from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_first_server_that_answers_tells_the_address() {
        let ((port, demux), (socket, answers)) = (port(), server().await);
        let (_silent, silent) = server().await;
        let seen = SocketAddr::from(([198, 51, 100, 7], 40_000));
        tokio::spawn(answer(socket, seen));
        let reflexive = Reflexive::default();
        assert_eq!(reflexive.of(&port, &demux, &[silent.clone(), answers]).await, Some(seen));
        // It holds: nobody is asked again.
        assert_eq!(reflexive.of(&port, &demux, &[silent]).await, Some(seen));
    }

    #[tokio::test]
    async fn the_silence_of_a_server_is_remembered_too() {
        let ((port, demux), (socket, silent)) = (port(), server().await);
        let reflexive = Reflexive::default();
        let servers = [silent];
        assert_eq!(reflexive.of(&port, &demux, &servers).await, None);
        // It would answer now, and is not asked.
        tokio::spawn(answer(socket, SocketAddr::from(([198, 51, 100, 7], 40_000))));
        assert_eq!(reflexive.of(&port, &demux, &servers).await, None);
    }

    #[tokio::test]
    async fn without_servers_and_on_loopback_nobody_is_asked() {
        let ((port, demux), (_socket, silent)) = (port(), server().await);
        let reflexive = Reflexive::default();
        assert_eq!(reflexive.of(&port, &demux, &[]).await, None);
        let loopback = Port::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        assert_eq!(reflexive.of(&loopback, &demux, &[silent]).await, None);
    }
}
