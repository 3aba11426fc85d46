//! Hostile datagrams and offers against the WebRTC transport, and peers that do not read or are not read.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/raw_webrtc.rs"]
mod raw_webrtc;
#[path = "common/scene.rs"]
mod scene;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{chain, frame, hello, key, pattern, peer, puller, read, watchdog};
use mina_p2p_transport::webrtc::{Config, limits};
use mina_p2p_transport::{CloseReason, Connection, FrameBudget, Limits, StreamError};
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::{MAX_OFFER_LEN, Offer, RejectionReason, SDP_ATTRIBUTE, SignalingResponse};
use mina_p2p_wire::{Channel, SecretKey};
use raw_webrtc::{Manner, Offering, Raw, post};
use scene::{Scene, VICTIM, framed, manner, ours};
use tokio::net::UdpSocket;

// Datagrams

/// What nobody should be impressed by: STUN, DTLS and neither, cut, forged and senseless.
fn garbage() -> Vec<Vec<u8>> {
    let stun = |kind: u16, len: u16, body: &[u8]| {
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &[9; 12], body].concat()
    };
    let record = |kind: u8, epoch: u8, body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 99][..], &len, body].concat()
    };
    let mut all = vec![
        // Requests, answers and errors that nobody asked for.
        stun(1, 0, &[]),
        stun(0x101, 0, &[]),
        stun(0x111, 0, &[]),
        // A user name that is too long, and one of nobody.
        stun(1, 8, &[0, 6, 255, 255, 1, 2, 3, 4]),
        stun(1, 8, &[0, 6, 0, 4, b'a', b':', b'b', b'c']),
        // Alerts that are not encrypted: fatal, and the notice that it closes.
        record(21, 0, &[2, 40]),
        record(21, 0, &[1, 0]),
        record(21, 1, &[1, 0]),
        // Handshakes: a hello request, a client's hello that is cut, one of a length that it does not have.
        record(22, 0, &[0; 12]),
        record(22, 0, &[1, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 40, 254, 253]),
        record(22, 0, &[1, 255, 255, 255, 0, 0, 0, 0, 0, 255, 255, 255]),
        // Data that does not decrypt, and none at all.
        record(23, 1, &[7; 100]),
        record(23, 1, &[]),
        record(23, 0, &[7; 100]),
        // DTLS 1.3's short head.
        vec![0x2f; 60],
        vec![0x2c, 0, 0],
        vec![0x3f; 1_200],
    ];
    for first in [0, 1, 3, 20, 21, 22, 23, 25, 47, 63] {
        all.extend([1, 2, 13, 14, 1_500, 9_000].map(|len| vec![first; len]));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_no_connection_wherever_it_comes_from() {
    watchdog(async {
        let scene = Scene::new().await;
        for manner in [manner(1), ours(2)] {
            let (mut raw, connection) = scene.proved(manner).await;
            let to = raw.remote.unwrap();
            let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            for datagram in garbage() {
                raw.socket.send_to(&datagram, to).await.unwrap();
                stranger.send_to(&datagram, to).await.unwrap();
            }
            let (mut send, mut recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
            raw.send(7, &framed(b"still here"));
            raw.during(async {
                assert_eq!(read(&mut recv, &scene.budget).await, "still here");
                send.write(frame("so am I")).await.unwrap();
            })
            .await;
            raw.until(|raw| raw.received(7) == Some(&framed(b"so am I"))).await;
        }
        scene.serves().await;
    })
    .await;
}

/// A message of the peer's reaches its connection.
async fn reaches(raw: &mut Raw, recv: &mut mina_p2p_transport::RecvStream, budget: &FrameBudget) {
    raw.send(7, &framed(b"hello"));
    assert_eq!(raw.during(read(recv, budget)).await, "hello");
}

/// Datagrams from a peer's address, which tells alone whose they are, reach its connection, all of them.
async fn owns_its_address(raw: &mut Raw, connection: &Arc<dyn Connection>) {
    const SENT: u64 = 20;
    const CHECKS: usize = 8;
    raw.until(|raw| raw.last_check.is_some()).await;
    let (check, to) = raw.last_check.clone().unwrap();
    let before = connection.stats().datagrams_received;
    for _ in 0..SENT {
        raw.socket.send_to(&[23; 60], to).await.unwrap();
    }
    // A check is its connection's by its user name. When so many are answered, not all of them are earlier ones, and all of the
    // above has been read.
    let answered = raw.answers + CHECKS;
    for _ in 0..CHECKS {
        raw.socket.send_to(&check, to).await.unwrap();
    }
    raw.until(|raw| raw.answers >= answered).await;
    let came = connection.stats().datagrams_received - before;
    assert!(came > SENT, "{came} datagrams came of {SENT} and a check");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_an_address_from_its_owner() {
    watchdog(async {
        let scene = Scene::new().await;
        let (mut raw, connection) = scene.proved(manner(1)).await;
        let (_send, mut recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
        reaches(&mut raw, &mut recv, &scene.budget).await;
        // Another says that it is there as well, gets a check at its own address, and answers it in the name of the first.
        let line = format!("a=candidate:9 1 udp 2130706431 127.0.0.1 {} typ host\r\n", raw.local().port());
        let offering = Offering::new(Manner { lines: line, ..manner(2) }, key(VICTIM).public_key()).await;
        let hostile = offering.post(scene.victim.signaling, chain(1)).await;
        let mut buffer = [0; 2_000];
        // Until it has checked the other one as well: it repeats its checks, and begins them one after the other.
        for _ in 0..6 {
            let (len, victim) = hostile.socket.recv_from(&mut buffer).await.unwrap();
            let check = &buffer[..len];
            assert_eq!(check[..2], [0, 1], "a binding request");
            let answer = [&[1, 1, 0, 0][..], &check[4..20]].concat();
            raw.socket.send_to(&answer, victim).await.unwrap();
            owns_its_address(&mut raw, &connection).await;
        }
        reaches(&mut raw, &mut recv, &scene.budget).await;
        drop(hostile);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_is_made_again_harms_no_connection() {
    watchdog(async {
        let scene = Scene::impatient().await;
        let offering = Offering::new(manner(1), key(VICTIM).public_key()).await;
        let offer = offering.offer(chain(1)).to_json();
        let mut raw = offering.post(scene.victim.signaling, chain(1)).await;
        raw.prove().await;
        let connection = raw.during(scene.victim.accept()).await;
        let (_send, mut recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
        reaches(&mut raw, &mut recv, &scene.budget).await;
        // Its peer answers the checks of these attempts: whoever made the offer again cannot do more with them.
        for _ in 0..3 {
            assert_eq!(raw.during(post(None, scene.victim.signaling, &offer)).await.0, 200);
        }
        assert_eq!(scene.figures().pending, 3);
        while scene.figures().pending > 0 {
            owns_its_address(&mut raw, &connection).await;
        }
        reaches(&mut raw, &mut recv, &scene.budget).await;
        assert_eq!(scene.figures().timeouts + scene.figures().failures, 3);
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_from_many_addresses_are_not_all_answered() {
    watchdog(async {
        let scene = Scene::new().await;
        let (mut raw, connection) = scene.proved(manner(1)).await;
        let (_send, mut recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
        raw.until(|raw| raw.last_check.is_some()).await;
        let (check, to) = raw.last_check.clone().unwrap();
        let mut sockets = Vec::new();
        for _ in 0..2 * limits::MAX_ADDRESSES {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            socket.send_to(&check, to).await.unwrap();
            sockets.push(socket);
        }
        // Read after them.
        for _ in 0..3 {
            reaches(&mut raw, &mut recv, &scene.budget).await;
        }
        let mut buffer = [0; 2_000];
        let answered = sockets.iter().filter(|socket| socket.try_recv(&mut buffer).is_ok()).count();
        assert!(answered > 0 && answered < limits::MAX_ADDRESSES, "{answered} answered");
        scene.serves().await;
    })
    .await;
}

// Offers

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_are_not_for_us_are_rejected_by_name() {
    watchdog(async {
        let scene = Scene::new().await;
        let of = |own: SecretKey, target: u8| Offering::new(Manner::of(own), key(target).public_key());
        let offers = [
            (of(key(1), VICTIM).await.offer(chain(2)), RejectionReason::ChainIdMismatch),
            (of(key(1), 99).await.offer(chain(1)), RejectionReason::TargetPeerIdNotMe),
            (of(key(VICTIM), VICTIM).await.offer(chain(1)), RejectionReason::ConnectingToSelf),
        ];
        for (offer, reason) in offers {
            let expected = SignalingResponse::Rejected(reason);
            let (status, body) = post(None, scene.victim.signaling, &offer.to_json()).await;
            assert_eq!((status, body), (expected.http_status(), expected.to_json()));
        }
        assert_eq!((scene.figures().offers_rejected, scene.figures().pending), (3, 0));
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cannot_be_used_are_answered_all_the_same() {
    watchdog(async {
        let scene = Scene::new().await;
        let good = Offering::new(manner(1), key(VICTIM).public_key()).await.offer(chain(1));
        let with = |lines: &str| Offer { sdp: good.sdp.clone() + lines, ..good.clone() };
        let elsewhere = Hello { chain_id: chain(2), ..hello() };
        let announced = |hello: &Hello| {
            let mut sdp = good.sdp.clone();
            mina_p2p_wire::signaling::announce(&mut sdp, hello);
            sdp
        };
        let unusable = [
            Offer { sdp: String::new(), ..good.clone() },
            Offer { sdp: "v=0\r\n".to_owned(), ..good.clone() },
            Offer { sdp: "\0\u{ff}".repeat(1_000), ..good.clone() },
            // Cut in the middle of a line, and of the session's part.
            Offer { sdp: good.sdp[..good.sdp.len() / 2].to_owned(), ..good.clone() },
            with(&"a=candidate:9 1 udp 1 127.0.0.1 9 typ host\r\n".repeat(limits::MAX_REMOTE_CANDIDATES + 1)),
            with(&format!("a={SDP_ATTRIBUTE}:zz\r\n")),
            with(&format!("a={SDP_ATTRIBUTE}:\r\n")),
            with(&format!("a={SDP_ATTRIBUTE}:{}\r\n", "00".repeat(2_000))),
            Offer { sdp: announced(&hello()) + &announced(&hello()), ..good.clone() },
            Offer { sdp: announced(&elsewhere), ..good.clone() },
            Offer { sdp: announced(&Hello { protocol_version: 0, ..hello() }), ..good.clone() },
        ];
        let expected = (500, SignalingResponse::InternalError.to_json());
        let count = unusable.len();
        for (offer, n) in unusable.into_iter().zip(0..) {
            let response = post(None, scene.victim.signaling, &offer.to_json()).await;
            assert_eq!(response, expected, "offer {n}");
        }
        let figures = scene.figures();
        assert_eq!((figures.offers_unusable, figures.pending), (count as u64, 0));
        // The longest there may be, and one byte more.
        let padding = MAX_OFFER_LEN - with("a=").to_json().len();
        let (longest, longer) = (with(&format!("a={}", "x".repeat(padding))), "x".repeat(padding + 1));
        assert_eq!(longest.to_json().len(), MAX_OFFER_LEN);
        let statuses = [longest.to_json(), with(&format!("a={longer}")).to_json()];
        let answered = post(None, scene.victim.signaling, &statuses[0]).await.0;
        assert!(matches!(answered, 200 | 500), "{answered}");
        assert_eq!(post(None, scene.victim.signaling, &statuses[1]).await.0, 413);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_offers_leave_room_for_others() {
    watchdog(async {
        let authentication_timeout = Duration::from_secs(2);
        let config = Config { authentication_timeout, ..Config::default() };
        let limits = Limits { exempt_loopback: false, ..Limits::default() };
        let per_address = limits.max_pending_per_address as u64;
        let scene = Scene::with(limits, config).await;
        let at = |n: u8| IpAddr::from([127, 0, 1 + n, 1]);
        let full = SignalingResponse::Rejected(RejectionReason::PeerCapacityFull).to_json();
        // From one address, and from many of as many subnets.
        let (mut accepted, mut refused, mut too_many) = (0, 0, 0);
        for n in 0..40 {
            let offer = Offering::new(manner(n), key(VICTIM).public_key()).await.offer(chain(1));
            match post(Some(at(0)), scene.victim.signaling, &offer.to_json()).await {
                (200, body) if body == full => refused += 1,
                (200, _) => accepted += 1,
                (429, _) => too_many += 1,
                (status, body) => panic!("{status} {body}"),
            }
        }
        println!("of 40 from one address {accepted} are answered, {refused} refused, {too_many} too many");
        assert!(accepted <= 2 * per_address && too_many >= 20, "{accepted} answered, {too_many} too many");
        let mut others = 0;
        for n in 1..=40 {
            let offer = Offering::new(manner(n), key(VICTIM).public_key()).await.offer(chain(1));
            others += u64::from(post(Some(at(n)), scene.victim.signaling, &offer.to_json()).await.0 == 200);
        }
        assert_eq!(others, 40);
        let figures = scene.figures();
        println!("{figures:?}");
        assert!(figures.pending <= Limits::default().max_pending_handshakes);
        while scene.figures().pending > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

// Reading and not reading

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_read_stops_the_sender_and_goes_on_when_it_is() {
    watchdog(async {
        let scene = Scene::new().await;
        let (mut raw, connection) = scene.proved(ours(1)).await;
        let (mut send, mut recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
        let body = pattern(8 << 20);
        let whole = framed(&body);
        for message in whole.chunks(16 * 1024) {
            raw.send(7, message);
        }
        // Until nothing has moved for a while.
        let (mut last, mut looks) = (0, 0);
        raw.until(|raw| {
            let now = raw.buffered(7).unwrap();
            looks = if now == last { looks + 1 } else { 0 };
            last = now;
            looks > 100
        })
        .await;
        let taken = whole.len() - last;
        println!("{taken} bytes taken unread");
        assert!(taken < (2 << 20) + (1 << 20), "{taken} bytes were taken");
        // Ours gets through nevertheless.
        let start = Instant::now();
        raw.during(send.write(frame(pattern(1 << 20)))).await.unwrap();
        raw.until(|raw| raw.heard >= 1 << 20).await;
        println!("1 MiB to a peer that is not read: {:?}", start.elapsed());
        let start = Instant::now();
        let got = raw.during(read(&mut recv, &scene.budget)).await;
        println!("recovered in {:?}", start.elapsed());
        assert!(got == body);
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_is_left() {
    watchdog(async {
        let write_grace = Duration::from_millis(500);
        let scene =
            Scene::with(Limits { write_grace, min_rate: 8 << 20, ..Limits::default() }, Config::default()).await;
        for (manner, n) in [(manner(1), 1), (ours(2), 2)] {
            let (mut raw, connection) = scene.proved(manner).await;
            // Its ICE goes on, its SCTP hears nothing.
            raw.inlet = raw_webrtc::only_stun;
            let (mut send, _recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
            let error = raw.during(send.write(frame(pattern(4 << 20)))).await.unwrap_err();
            assert!(matches!(error, StreamError::Stalled { .. }), "{error}");
            connection.close(error.close_reason().unwrap());
            assert_eq!(raw.during(connection.closed()).await, CloseReason::Stalled);
            assert_eq!(connection.peer(), peer(n));
        }
        scene.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_message_that_a_peer_takes_is_its_own_matter() {
    watchdog(async {
        let scene = Scene::new().await;
        // 0 is any (RFC 8841, section 6). 100 bytes are enough for a proof, and for no frame like this.
        for (n, takes) in [(1, 0), (2, 64 << 20), (3, 100)] {
            let (mut raw, connection) = scene.proved(Manner { takes: Some(takes), ..ours(n) }).await;
            let (mut send, _recv) = connection.open(puller(Channel::Rpc)).await.unwrap();
            let sent = raw.during(send.write(frame(pattern(40_000)))).await;
            if takes == 100 {
                let reason = raw.during(connection.closed()).await;
                assert!(matches!(reason, CloseReason::Lost(_)), "{reason}");
            } else {
                sent.unwrap();
                raw.until(|raw| raw.heard >= 40_000).await;
            }
        }
        scene.serves().await;
    })
    .await;
}
