//! The imitation with itself: what it does is what the description of the existing node says.

use bytes::Bytes;
use mina_p2p_interop::old_peer::signal::{Rejection, Response};
use mina_p2p_interop::old_peer::{AuthBehaviour, Config, Event, FramingError, Message, OldPeer};
use mina_p2p_wire::message::{
    BestTipMessage, CommitmentMessage, RpcRequest, RpcResponse, SignalingDiscoveryMessage, SnarkInfo,
    SnarkJobCommitment, SnarkMessage, StagedLedgerPart, StagedLedgerPartKind, TransactionInfo, TransactionMessage,
};
use mina_p2p_wire::{ChainId, Channel, CompressedPublicKey, JobId, SecretKey, StateHash, TransactionHash};

const CHAIN: ChainId = ChainId([7; 32]);
const ACCOUNT: CompressedPublicKey = CompressedPublicKey { x: [3; 32], is_odd: true };

fn quick(seed: u8) -> Config {
    Config { sleeps: false, discovery: false, ..Config::new(seed, CHAIN) }
}

fn start(config: Config) -> OldPeer {
    OldPeer::start(config).unwrap()
}

/// Two that are connected, the first by dialing.
async fn pair(a: Config, b: Config) -> (OldPeer, OldPeer) {
    let (mut a, mut b) = (start(a), start(b));
    a.dial(b.peer_id(), b.http_address());
    a.ready(b.peer_id()).await;
    b.ready(a.peer_id()).await;
    (a, b)
}

/// A block of so many bytes: its parent's hash, and anything.
fn block(parent: u8, len: usize) -> Bytes {
    let mut block = vec![parent; 32];
    block.extend((32..len).map(|at| (at % 251) as u8));
    block.into()
}

fn tip(message: &Message) -> Option<Bytes> {
    match message {
        Message::BestTip(BestTipMessage::BestTip(block)) => Some(block.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn with_the_real_sleeps_two_connect_and_their_tips_come() {
    let [a, b] = [1, 2].map(|seed| Config { sleeps: true, ..quick(seed) });
    let (mut a, mut b) = (start(a), start(b));
    a.set_tip(StateHash([1; 32]), block(0, 1000));
    b.set_tip(StateHash([2; 32]), block(9, 3_000_000));
    a.dial(b.peer_id(), b.http_address());
    assert_eq!(a.message(b.peer_id(), "tip", tip).await, block(9, 3_000_000));
    assert_eq!(b.message(a.peer_id(), "tip", tip).await, block(0, 1000));
    let incoming = |event: &Event| match event {
        Event::Ready { incoming, .. } => Some(*incoming),
        _ => None,
    };
    assert!(!a.wait("connection", incoming).await);
    assert!(b.wait("connection", incoming).await);
}

#[tokio::test]
async fn pools_are_pulled_and_bodies_fetched_by_rpc_once_the_tips_agree() {
    let (mut a, mut b) = pair(quick(1), quick(2)).await;
    let transaction = |id| TransactionInfo { hash: TransactionHash([id; 32]), fee_payer: ACCOUNT, fee: 5, nonce: 1 };
    let snark = |id| SnarkInfo { job_id: JobId([id; 128]), fee: 6, prover: ACCOUNT };
    for id in 0..40 {
        a.add_transaction(transaction(id), Bytes::from(vec![id; 30_000]));
        a.add_snark(snark(id), Bytes::from(vec![id; 20_000]));
    }
    a.add_commitment(SnarkJobCommitment { timestamp_ms: 9, job_id: JobId([4; 128]), fee: 1, snarker: ACCOUNT });
    a.set_tip(StateHash([1; 32]), block(0, 1000));
    // The second's tip is a child of the first's: the first serves the second.
    b.set_tip(StateHash([2; 32]), block(1, 2000));
    let id = a.peer_id();
    for at in 0..40 {
        let is = |message: &Message| {
            (*message == Message::Transaction(TransactionMessage::Item(transaction(at)))).then_some(())
        };
        b.message(id, "transaction", is).await;
        let is = |message: &Message| (*message == Message::Snark(SnarkMessage::Item(snark(at)))).then_some(());
        b.message(id, "snark", is).await;
    }
    let mut bodies = Vec::new();
    for _ in 0..80 {
        let body = b.response(id).await.unwrap().payload().unwrap().clone();
        bodies.push((body.len(), body[0]));
    }
    bodies.sort_unstable();
    let expected = [20_000, 30_000].into_iter().flat_map(|len| (0..40).map(move |id| (len, id)));
    assert_eq!(bodies, expected.collect::<Vec<_>>());
    // Commitments are never asked for.
    assert!(!b.events().iter().chain(&a.events()).any(|event| {
        matches!(event, Event::Received { message: Message::Commitment(CommitmentMessage::Item(_)), .. })
    }));
}

#[tokio::test]
async fn requests_are_answered_in_turn_and_large_answers_come_whole() {
    let (mut a, b) = pair(quick(1), quick(2)).await;
    let (id, hash) = (b.peer_id(), StateHash([5; 32]));
    let large = block(1, 32 * 1024 * 1024);
    b.serve(RpcRequest::StagedLedgerAux(hash), RpcResponse::StagedLedgerAux(large.clone()));
    let part = |kind, body: &[u8]| StagedLedgerPart { kind, body: Bytes::copy_from_slice(body) };
    let parts = vec![
        part(StagedLedgerPartKind::Base, &[1; 100]),
        part(StagedLedgerPartKind::ScanStateBase, &[1, 9]),
        part(StagedLedgerPartKind::PreviousIncompleteZkappUpdates, &[0]),
        part(StagedLedgerPartKind::ScanStateTree, &[7; 50_000]),
    ];
    b.serve_staged_ledger(hash, parts.clone());
    a.request(id, RpcRequest::Block(hash));
    a.request(id, RpcRequest::StagedLedgerAux(hash));
    a.request_staged_ledger(id, hash);
    let ledger = |event: &Event| match event {
        Event::StagedLedger { parts, .. } => Some(parts.clone()),
        _ => None,
    };
    assert_eq!(a.response(id).await, None);
    assert!(a.response(id).await == Some(RpcResponse::StagedLedgerAux(large)));
    assert_eq!(a.wait("staged ledger", ledger).await, parts);
    a.request_staged_ledger(id, StateHash([6; 32]));
    assert_eq!(a.wait("staged ledger", ledger).await, []);
}

#[tokio::test]
async fn either_ends_a_connection_and_the_other_sees_it() {
    let (mut a, mut b) = pair(quick(1), quick(2)).await;
    a.disconnect(b.peer_id());
    assert_eq!(a.disconnected(b.peer_id()).await, "ordered");
    b.disconnected(a.peer_id()).await;
    for (peer, other) in [(&mut a, b.peer_id()), (&mut b, SecretKey::from_bytes([1; 32]).peer_id())] {
        peer.wait("cleanup", |event| (*event == Event::Closed { peer: other }).then_some(())).await;
    }
    a.dial(b.peer_id(), b.http_address());
    a.ready(b.peer_id()).await;
    b.ready(a.peer_id()).await;
    b.disconnect(a.peer_id());
    a.disconnected(b.peer_id()).await;
}

#[tokio::test]
async fn a_relay_introduces_two_of_its_peers() {
    let mut relay = start(quick(1));
    let mut dialer = start(Config { discovery: true, ..quick(2) });
    let mut target = start(quick(3));
    for peer in [&mut target, &mut dialer] {
        peer.dial(relay.peer_id(), relay.http_address());
        peer.ready(relay.peer_id()).await;
    }
    dialer.ready(target.peer_id()).await;
    target.ready(dialer.peer_id()).await;
    let answer = |message: &Message| {
        matches!(message, Message::SignalingDiscovery(SignalingDiscoveryMessage::Answer(Some(_)))).then_some(())
    };
    dialer.message(relay.peer_id(), "answer", answer).await;
    // The relay may go; the two stay connected.
    relay.disconnect(dialer.peer_id());
    relay.disconnect(target.peer_id());
    dialer.disconnected(relay.peer_id()).await;
    target.set_tip(StateHash([3; 32]), block(0, 500));
    dialer.message(target.peer_id(), "tip", tip).await;
    assert!(relay.events().iter().all(|event| !matches!(event, Event::Violation { .. })));
}

#[tokio::test]
async fn offers_are_rejected_in_the_existing_nodes_order() {
    let mut a = start(quick(1));
    let mut other_chain = start(Config { chain_id: ChainId([8; 32]), ..quick(2) });
    let mut stranger = start(quick(3));
    let rejected = |event: &Event| match event {
        Event::Rejected { ours: true, response: Response::Rejected(rejection), .. } => Some(*rejection),
        _ => None,
    };
    other_chain.dial(a.peer_id(), a.http_address());
    assert_eq!(other_chain.wait("rejection", rejected).await, Rejection::ChainIdMismatch);
    stranger.dial(other_chain.peer_id(), a.http_address());
    assert_eq!(stranger.wait("rejection", rejected).await, Rejection::TargetPeerIdNotMe);
    assert_eq!(a.events().len(), 2);
}

/// Who authenticates with what, and why the other gives up.
async fn authentication_fails_with(auth: AuthBehaviour, why: &str) {
    let mut a = start(quick(1));
    let b = start(Config { auth, ..quick(2) });
    a.dial(b.peer_id(), b.http_address());
    let failed = |event: &Event| match event {
        Event::Failed { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    let reason = a.wait("failure", failed).await;
    assert!(reason.contains(why), "{reason}");
}

#[tokio::test]
async fn a_wrong_authentication_ends_the_attempt() {
    authentication_fails_with(AuthBehaviour::Bytes(vec![1; 92].into()), "ConnectionAuthError").await;
    authentication_fails_with(AuthBehaviour::Bytes(vec![1; 91].into()), "91 bytes").await;
}

#[tokio::test]
async fn a_missing_authentication_ends_the_attempt_in_time() {
    authentication_fails_with(AuthBehaviour::Never, "timeout").await;
}

#[tokio::test]
async fn a_reflected_authentication_passes_with_the_existing_node() {
    let (mut a, b) = (start(quick(1)), start(Config { auth: AuthBehaviour::Reflected, ..quick(2) }));
    a.dial(b.peer_id(), b.http_address());
    a.ready(b.peer_id()).await;
}

#[tokio::test]
async fn what_breaks_the_framing_is_told() {
    for (messages, error) in [
        (vec![&[0, 0, 0, 1][..], &[0]], FramingError::HeadAlone),
        (vec![&[0, 0, 0, 1, 0, 0, 0], &[0]], FramingError::Tail(2)),
        (vec![&[0, 0, 0, 0, 1]], FramingError::Empty),
        (vec![&[2, 0, 0, 1, 1]], FramingError::TooLong { len: 0x0200_0001, max: 0x0200_0000 }),
    ] {
        let (mut a, b) = pair(quick(1), quick(2)).await;
        b.send_raw(a.peer_id(), Channel::BestTip, messages.into_iter().map(Bytes::from_static).collect());
        let Event::BadFrame { peer, channel, error: found } = a.complaint().await else { panic!("another complaint") };
        assert_eq!((peer, channel, found), (b.peer_id(), Channel::BestTip, error));
        a.disconnected(b.peer_id()).await;
    }
}

#[tokio::test]
async fn an_empty_message_and_one_over_64_kib_close_the_channel() {
    for message in [Bytes::new(), Bytes::from(vec![0; 70_000])] {
        let (mut a, b) = pair(quick(1), quick(2)).await;
        b.send_raw(a.peer_id(), Channel::Rpc, vec![message]);
        let reason = a.disconnected(b.peer_id()).await;
        assert!(reason.contains("was closed"), "{reason}");
    }
}

#[tokio::test]
async fn a_message_out_of_state_ends_the_connection() {
    let (mut a, b) = pair(quick(1), quick(2)).await;
    b.send_raw(a.peer_id(), Channel::Transaction, vec![Bytes::from_static(&[0, 0, 0, 2, 1, 33])]);
    assert!(matches!(a.complaint().await, Event::Violation { channel: Channel::Transaction, .. }));
    a.disconnected(b.peer_id()).await;
}
