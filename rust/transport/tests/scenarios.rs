//! What every transport must do, each scenario run over QUIC on loopback and over the in-memory transport.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::*;
use mina_p2p_transport::{
    AcceptError, CloseReason, ConnectError, Direction, FrameBudget, Incoming, Limits, StreamError,
};
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::{Channel, StreamId};

const MIB: usize = 1 << 20;

/// Makes a test of each scenario for each transport.
macro_rules! scenarios {
    ($($name:ident)*) => {
        mod over_quic { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::common::watchdog(super::$name(&super::Quic)).await;
            }
        )* }
        mod over_memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::common::watchdog(super::$name(&super::Memory::default())).await;
            }
        )* }
    };
}

scenarios! {
    a_connection_knows_its_peer
    frames_go_both_ways_on_several_channels
    frames_of_32_mib_go_both_ways
    requests_get_streams_of_their_own
    another_identity_than_dialed_is_refused
    a_node_does_not_connect_to_itself
    a_dialer_of_another_chain_is_refused
    a_listener_of_another_chain_is_refused
    a_version_too_old_is_refused
    a_refusal_reaches_the_dialer
    a_dropped_incoming_connection_is_refused
    an_incoming_connection_held_too_long_fails
    a_listener_that_never_answers_is_given_up
    every_close_reason_reaches_the_other_side
    only_the_first_close_counts
    a_dropped_connection_is_closed
    the_end_of_a_connection_ends_its_streams
    a_shutdown_closes_everything
    a_finished_stream_ends_in_order
    a_reset_half_way_is_seen_as_such
    a_dropped_stream_is_reset
    a_cancelled_write_breaks_its_stream
    a_stopped_stream_tells_its_writer
    a_peer_that_stops_reading_is_stalled
    a_large_frame_waits_for_the_budget_without_being_slow
    large_frames_of_one_peer_take_turns_and_starve_nobody
    smaller_frames_that_wait_for_the_budget_starve_nobody
    a_frame_over_the_budget_is_refused
}

async fn a_connection_knows_its_peer(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    assert_eq!((pair.dialed.peer(), pair.accepted.peer()), (peer(2), peer(1)));
    assert_eq!(pair.dialed.remote_hello(), Some(&hello()));
    assert_eq!(pair.accepted.remote_hello(), Some(&hello()));
    assert_eq!(pair.dialed.direction(), Direction::Dialed);
    assert_eq!(pair.accepted.direction(), Direction::Accepted);
    assert_eq!(pair.dialed.remote_address(), pair.arrivals.local_addr());
}

async fn frames_go_both_ways_on_several_channels(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let budget = FrameBudget::default();
    for channel in [Channel::BestTip, Channel::Transaction, Channel::Snark, Channel::SnarkJobCommitment] {
        let ((mut send, mut recv), (mut their_send, mut their_recv)) = pair.stream(puller(channel)).await;
        for len in [1, 3, 1_000, 70_000] {
            let (there, back) = (pattern(len), pattern(len + 1));
            let (written, got) = tokio::join!(send.write(frame(there.clone())), read(&mut their_recv, &budget));
            written.unwrap();
            assert_eq!(got, there);
            let (written, got) = tokio::join!(their_send.write(frame(back.clone())), read(&mut recv, &budget));
            written.unwrap();
            assert_eq!(got, back);
        }
    }
    let figures = budget.figures();
    assert_eq!((figures.small_reserved, figures.storage), (0, 0));
}

async fn frames_of_32_mib_go_both_ways(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let (ours, theirs) = (FrameBudget::default(), FrameBudget::default());
    let ((mut send, mut recv), (mut their_send, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    let block = pattern(32 * MIB);
    let (there, back, got_there, got_back) = tokio::join!(
        send.write(frame(block.clone())),
        their_send.write(frame(block.clone())),
        read(&mut their_recv, &theirs),
        read(&mut recv, &ours),
    );
    there.unwrap();
    back.unwrap();
    assert!(got_there == block && got_back == block);
    for figures in [ours.figures(), theirs.figures()] {
        assert_eq!(figures.large_peak, 32 * MIB as u64);
        assert_eq!((figures.large_reserved, figures.small_reserved, figures.storage), (0, 0, 0));
        assert!(figures.storage_peak <= 32 * MIB as u64);
    }
}

async fn requests_get_streams_of_their_own(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let mut seen = Vec::new();
    let mut streams = Vec::new();
    for request in 1..=5 {
        let mut stream = puller(Channel::Rpc);
        stream.request = request;
        let (ours, theirs) = tokio::join!(pair.dialed.open(stream), pair.accepted.accept());
        let (accepted, send, recv) = theirs.unwrap();
        assert_eq!(accepted.channel, Channel::Rpc);
        seen.push(accepted.request);
        streams.push((ours.unwrap(), send, recv));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

async fn another_identity_than_dialed_is_refused(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), Limits::default()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    let dialed = dialer.connect(&address(peer(3), arrivals.local_addr()), &hello()).await;
    assert_eq!(failed(dialed), ConnectError::Refused(CloseReason::WrongIdentity));
}

async fn a_node_does_not_connect_to_itself(kind: &impl Kind) {
    let node = kind.node(key(1), Limits::default());
    let arrivals = node.listen(loopback()).unwrap();
    // By its own id, and, what happens with a stale address, by another's.
    for expected in [peer(1), peer(2)] {
        let dialed = node.connect(&address(expected, arrivals.local_addr()), &hello()).await;
        assert_eq!(failed(dialed), ConnectError::Refused(CloseReason::SelfConnection));
    }
}

fn of_chain_2() -> Hello {
    Hello { chain_id: chain(2), ..hello() }
}

async fn a_dialer_of_another_chain_is_refused(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), Limits::default()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    let dialed = dialer.connect(&address(peer(2), arrivals.local_addr()), &of_chain_2()).await;
    assert_eq!(failed(dialed), ConnectError::Closed(CloseReason::WrongChain));
}

async fn a_listener_of_another_chain_is_refused(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), Limits::default()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    let (dialed, accepted) =
        dial(&dialer, &*arrivals, peer(2), &hello(), |incoming| async { incoming.accept(&of_chain_2()).await }).await;
    assert_eq!(failed(dialed), ConnectError::Refused(CloseReason::WrongChain));
    assert_eq!(accepted.unwrap().closed().await, CloseReason::WrongChain);
}

async fn a_version_too_old_is_refused(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), Limits::default()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    let old = Hello { protocol_version: 0, ..hello() };
    let dialed = dialer.connect(&address(peer(2), arrivals.local_addr()), &old).await;
    assert_eq!(failed(dialed), ConnectError::Closed(CloseReason::IncompatibleVersion));
}

async fn a_refusal_reaches_the_dialer(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), Limits::default()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    for reason in [CloseReason::Capacity, CloseReason::Duplicate, CloseReason::Banned] {
        let (dialed, ()) = dial(&dialer, &*arrivals, peer(2), &hello(), |incoming| {
            assert_eq!(incoming.peer(), peer(1));
            assert_eq!(incoming.hello(), Some(&hello()));
            incoming.refuse(reason.clone());
            async {}
        })
        .await;
        assert_eq!(failed(dialed), ConnectError::Closed(reason));
    }
}

async fn a_dropped_incoming_connection_is_refused(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), Limits::default()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    let (dialed, ()) = dial(&dialer, &*arrivals, peer(2), &hello(), |incoming| async { drop(incoming) }).await;
    assert_eq!(failed(dialed), ConnectError::Closed(CloseReason::Unspecified));
}

/// Authentication that must end at once.
fn impatient() -> Limits {
    Limits { authentication_timeout: Duration::from_millis(300), ..Limits::default() }
}

async fn an_incoming_connection_held_too_long_fails(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), impatient()), kind.node(key(2), impatient()));
    let arrivals = listener.listen(loopback()).unwrap();
    let dialing = dialer.connect(&address(peer(2), arrivals.local_addr()), &hello()).await;
    assert_eq!(failed(dialing), ConnectError::Refused(CloseReason::HelloTimeout));
    ends_with_hello_timeout(arrivals.accept().await.unwrap()).await;
}

/// The dialer has given up; whether this side notices while it answers or after, it learns why.
async fn ends_with_hello_timeout(incoming: Incoming) {
    let reason = match incoming.accept(&hello()).await {
        Ok(connection) => connection.closed().await,
        Err(ConnectError::Closed(reason) | ConnectError::Refused(reason)) => reason,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(reason, CloseReason::HelloTimeout);
}

async fn a_listener_that_never_answers_is_given_up(kind: &impl Kind) {
    let (dialer, listener) = (kind.node(key(1), impatient()), kind.node(key(2), Limits::default()));
    let arrivals = listener.listen(loopback()).unwrap();
    let dialing = dialer.connect(&address(peer(2), arrivals.local_addr()), &hello()).await;
    assert_eq!(failed(dialing), ConnectError::Refused(CloseReason::HelloTimeout));
    ends_with_hello_timeout(arrivals.accept().await.unwrap()).await;
}

async fn every_close_reason_reaches_the_other_side(kind: &impl Kind) {
    for reason in [
        CloseReason::Unspecified,
        CloseReason::WrongChain,
        CloseReason::Capacity,
        CloseReason::Duplicate,
        violation(),
        CloseReason::Banned,
        CloseReason::Shutdown,
        CloseReason::Stalled,
        CloseReason::TooSlow,
    ] {
        let pair = Pair::new(kind, Limits::default()).await;
        pair.dialed.close(reason.clone());
        assert_eq!(pair.accepted.closed().await, reason);
        assert_eq!(pair.dialed.closed().await, reason);
    }
}

async fn only_the_first_close_counts(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    pair.accepted.close(CloseReason::Banned);
    pair.accepted.close(CloseReason::Shutdown);
    assert_eq!(pair.dialed.closed().await, CloseReason::Banned);
    assert_eq!(pair.accepted.closed().await, CloseReason::Banned);
}

async fn a_dropped_connection_is_closed(kind: &impl Kind) {
    let Pair { dialed, accepted, .. } = Pair::new(kind, Limits::default()).await;
    drop(dialed);
    assert_eq!(accepted.closed().await, CloseReason::Unspecified);
}

async fn the_end_of_a_connection_ends_its_streams(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let ((mut send, mut recv), _theirs) = pair.stream(puller(Channel::BestTip)).await;
    let budget = FrameBudget::default();
    let writing = async { send.write(frame(pattern(32 * MIB))).await };
    let (read, written, accepted, ()) = tokio::join!(recv.read_head(), writing, pair.dialed.accept(), async {
        pair.accepted.close(violation());
    });
    assert_eq!(read, Err(StreamError::Closed(violation())));
    assert_eq!(written, Err(StreamError::Closed(violation())));
    assert_eq!(accepted.err(), Some(AcceptError::Closed(violation())));
    let opened = pair.dialed.open(puller(Channel::Snark)).await;
    assert_eq!(opened.err(), Some(StreamError::Closed(violation())));
    // Our own reason on the side that closed.
    let opened = pair.accepted.open(puller(Channel::Snark)).await;
    assert_eq!(opened.err(), Some(StreamError::Closed(violation())));
    assert_eq!(budget.figures().storage, 0);
}

async fn a_shutdown_closes_everything(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    pair.listener.shutdown(CloseReason::Shutdown).await;
    pair.listener.shutdown(CloseReason::Banned).await;
    assert_eq!(pair.dialed.closed().await, CloseReason::Shutdown);
    assert_eq!(pair.accepted.closed().await, CloseReason::Shutdown);
    assert!(pair.arrivals.accept().await.is_none());
    assert!(pair.listener.listen(loopback()).is_err());
    let dialed = pair.listener.connect(&address(peer(1), pair.arrivals.local_addr()), &hello()).await;
    assert_eq!(failed(dialed), ConnectError::ShutDown);
}

async fn a_finished_stream_ends_in_order(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = pair.stream(puller(Channel::Rpc)).await;
    send.write(frame(pattern(10))).await.unwrap();
    send.finish();
    assert_eq!(read(&mut their_recv, &FrameBudget::default()).await, pattern(10));
    assert_eq!(their_recv.read_head().await, Ok(None));
    assert_eq!(send.write(frame(pattern(10))).await, Err(StreamError::Unusable));
}

/// Writes part of a frame that is larger than any credit, and gives up.
async fn write_in_part(send: &mut mina_p2p_transport::SendStream) {
    tokio::select! {
        biased;
        _ = send.write(frame(pattern(32 * MIB))) => panic!("nobody reads it"),
        () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
    }
}

async fn a_reset_half_way_is_seen_as_such(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let budget = FrameBudget::default();
    let ((mut send, _recv), (_their_send, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    let sending = async {
        write_in_part(&mut send).await;
        send.reset(42);
    };
    let reading = async {
        match their_recv.read_head().await {
            // A reset may overtake what was sent before it.
            Err(error) => error,
            Ok(len) => their_recv.read_body(len.unwrap(), &budget).await.unwrap_err(),
        }
    };
    let ((), error) = tokio::join!(sending, reading);
    assert_eq!(error, StreamError::Reset(42));
    assert_eq!(error.close_reason(), None);
    let figures = budget.figures();
    assert_eq!((figures.large_reserved, figures.small_reserved, figures.storage), (0, 0, 0));
}

async fn a_dropped_stream_is_reset(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let ((send, _recv), (_their_send, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    drop(send);
    let code = mina_p2p_transport::STREAM_DROPPED.into();
    assert_eq!(their_recv.read_head().await, Err(StreamError::Reset(code)));
}

async fn a_cancelled_write_breaks_its_stream(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    write_in_part(&mut send).await;
    assert_eq!(send.write(frame(pattern(1))).await, Err(StreamError::Unusable));
    // Its end must not look like an orderly one.
    send.finish();
    let error = match their_recv.read_head().await {
        Err(error) => error,
        Ok(len) => their_recv.read_body(len.unwrap(), &FrameBudget::default()).await.unwrap_err(),
    };
    assert!(matches!(error, StreamError::Reset(_)));
}

async fn a_stopped_stream_tells_its_writer(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let ((mut send, _recv), (_their_send, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    their_recv.stop(7);
    assert_eq!(send.write(frame(pattern(32 * MIB))).await, Err(StreamError::Stopped(7)));
}

async fn a_peer_that_stops_reading_is_stalled(kind: &impl Kind) {
    let limits = Limits {
        write_grace: Duration::from_millis(200),
        // What the peer's credit takes at once must not count for long.
        min_rate: 1 << 30,
        ..Limits::default()
    };
    let pair = Pair::new(kind, limits).await;
    let ((mut send, _recv), _unread) = pair.stream(puller(Channel::BestTip)).await;
    let error = send.write(frame(pattern(32 * MIB))).await.unwrap_err();
    let StreamError::Stalled { taken, wanted, .. } = error else {
        panic!("stalled expected, got {error}");
    };
    assert!(0 < taken && taken < wanted);
    assert_eq!(error.close_reason(), Some(CloseReason::Stalled));
}

async fn a_large_frame_waits_for_the_budget_without_being_slow(kind: &impl Kind) {
    let limits = Limits { read_grace: Duration::from_millis(400), ..Limits::default() };
    let pair = Pair::new(kind, limits.clone()).await;
    let budget = FrameBudget::new(4 * MIB as u32, MIB as u32);
    let held = budget.reserve(peer(9), 3 * MIB as u32).await.unwrap();
    let ((mut send, _r), (_s, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    let ((mut other_send, _r2), (_s2, mut other_recv)) = pair.stream(puller(Channel::Snark)).await;
    let block = pattern(2 * MIB);
    let (written, got, ()) = tokio::join!(send.write(frame(block.clone())), read(&mut their_recv, &budget), async {
        // The small channels go on meanwhile, for longer than a slow frame is allowed.
        let mut rounds = 0;
        let start = std::time::Instant::now();
        while start.elapsed() < limits.read_grace * 2 || rounds < 100 {
            other_send.write(frame(pattern(500))).await.unwrap();
            assert_eq!(read(&mut other_recv, &budget).await, pattern(500));
            rounds += 1;
        }
        assert_eq!(budget.figures().large_waiting, 1);
        drop(held);
    });
    written.unwrap();
    assert!(got == block);
}

async fn large_frames_of_one_peer_take_turns_and_starve_nobody(kind: &impl Kind) {
    // As many as a session has in flight: five answers and a best tip, each more than a stream's credit.
    const FRAMES: usize = 6;
    let pair = Pair::new(kind, Limits::default()).await;
    let budget = FrameBudget::default();
    let ((mut small_send, _r), (_s, mut small_recv)) = pair.stream(puller(Channel::Snark)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..FRAMES {
        let stream = StreamId { request: n as u64, ..puller(Channel::Rpc) };
        let ((mut send, recv), (their_send, mut their_recv)) = pair.stream(stream).await;
        let (block, budget) = (pattern(4 * MIB + n), budget.clone());
        tasks.spawn(async move {
            let (written, got) = tokio::join!(send.write(frame(block.clone())), read(&mut their_recv, &budget));
            written.unwrap();
            assert!(got == block);
            drop((recv, their_send));
        });
    }
    while !tasks.is_empty() {
        let (written, got) = tokio::join!(small_send.write(frame(pattern(500))), read(&mut small_recv, &budget));
        written.unwrap();
        assert_eq!(got, pattern(500));
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
    let figures = budget.figures();
    assert!(figures.large_peak <= (4 * MIB + FRAMES) as u64);
    assert_eq!((figures.large_reserved, figures.large_waiting), (0, 0));
}

async fn smaller_frames_that_wait_for_the_budget_starve_nobody(kind: &impl Kind) {
    // As many as a session has in flight, of which the budget takes one.
    const FRAMES: usize = 7;
    let pair = Pair::new(kind, Limits::default()).await;
    let budget = FrameBudget::new(0, MIB as u32);
    let held = budget.reserve(peer(9), MIB as u32).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..FRAMES {
        let stream = StreamId { request: n as u64, ..puller(Channel::Rpc) };
        let ((mut send, recv), (their_send, mut their_recv)) = pair.stream(stream).await;
        let (answer, budget) = (pattern(MIB - n), budget.clone());
        tasks.spawn(async move {
            let (written, got) = tokio::join!(send.write(frame(answer.clone())), read(&mut their_recv, &budget));
            written.unwrap();
            assert!(got == answer);
            drop((recv, their_send));
        });
    }
    // Until as much was sent ahead as a connection has credit for without large frames. (In memory streams have no credit
    // in common, and nothing is counted.)
    let sent_ahead = || {
        let stats = pair.accepted.stats();
        stats.datagrams_received == 0 || stats.bytes_received >= u64::from(mina_p2p_transport::limits::RECEIVE_WINDOW)
    };
    while !sent_ahead() {
        tokio::task::yield_now().await;
    }
    drop(held);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(budget.figures().small_reserved, 0);
}

async fn a_frame_over_the_budget_is_refused(kind: &impl Kind) {
    let pair = Pair::new(kind, Limits::default()).await;
    let budget = FrameBudget::new(MIB as u32, MIB as u32);
    let ((mut send, _r), (_s, mut their_recv)) = pair.stream(puller(Channel::BestTip)).await;
    let (_, error) = tokio::join!(send.write(frame(pattern(2 * MIB))), async {
        let len = their_recv.read_head().await.unwrap().unwrap();
        let error = their_recv.read_body(len, &budget).await.unwrap_err();
        their_recv.stop(0);
        error
    });
    assert!(matches!(error, StreamError::TooLong { .. }));
    assert_eq!(budget.figures().small_reserved, 0);
}
