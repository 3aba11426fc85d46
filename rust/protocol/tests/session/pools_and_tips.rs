//! What is permitted, and what is served.

use mina_p2p_protocol::{Event, Processed, Rule};
use mina_p2p_wire::message::{BestTipMessage, CommitmentMessage, RpcRequest, SnarkMessage, TransactionMessage};
use mina_p2p_wire::{Channel, Role};

use crate::lone::{Lone, Peer};
use crate::things::{commitment, peer, tip, transaction, transaction_hash, work};

fn limits(lone: &mut Lone) -> Vec<u8> {
    let limit = |body| match TransactionMessage::decode(body).unwrap().value {
        TransactionMessage::GetNext { limit } => limit,
        other => panic!("{other:?} is no permit"),
    };
    lone.take_sent(Channel::Transaction).into_iter().map(limit).collect()
}

fn offered(lone: &mut Lone) -> Vec<TransactionMessage> {
    let decode = |body| TransactionMessage::decode(body).unwrap().value;
    let all = lone.take_sent(Channel::Transaction).into_iter().map(decode);
    all.filter(|message| !matches!(message, TransactionMessage::GetNext { .. })).collect()
}

fn tips(lone: &mut Lone) -> Vec<BestTipMessage> {
    lone.take_sent(Channel::BestTip).into_iter().map(|body| BestTipMessage::decode(body).unwrap().value).collect()
}

#[test]
fn the_first_permits_go_out_at_once() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        let permits = lone.session.figures().permits_out;
        assert!(permits.best_tip);
        assert_eq!((permits.transactions, permits.works, permits.commitments), (32, 32, 16));
        // The existing node takes channels 1 and 2, too.
        let permits = if peer == Peer::Old { 6 } else { 4 };
        assert_eq!(lone.transmits.len(), permits);
        assert_eq!(lone.timeout, None);
        lone.drain();
        assert_eq!(lone.transmits.len(), permits);
    }
}

#[test]
fn a_tip_permit_is_renewed_when_the_tip_was_processed() {
    for peer in Peer::ALL {
        let mut lone = Lone::new(peer);
        assert_eq!(tips(&mut lone), [BestTipMessage::GetNext]);
        let sent = tip(1, 0, 100);
        lone.to(Role::Puller, 0, BestTipMessage::BestTip(sent.block.clone())).unwrap();
        let previous_state_hash = sent.previous_state_hash;
        let expected = Event::BestTip { block: sent.block, key: sent.key, previous_state_hash };
        assert_eq!(lone.take_events(), [expected]);
        assert_eq!(tips(&mut lone), []);
        assert_eq!(lone.session.figures().last_tip, Some(sent.key));
        lone.session.processed(lone.now, Processed::BestTip);
        lone.drain();
        assert_eq!(tips(&mut lone), [BestTipMessage::GetNext]);
    }
}

#[test]
fn a_slow_peer_gets_the_newest_tip_only() {
    let mut lone = Lone::new(Peer::Quic);
    lone.pools.tip = Some(tip(1, 0, 100));
    lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
    for number in 2..5 {
        lone.pools.tip = Some(tip(number, number - 1, 100));
        lone.drain();
    }
    lone.transmits.retain(|sent| sent.stream.role == Role::Server);
    assert_eq!(tips(&mut lone), [BestTipMessage::BestTip(tip(1, 0, 100).block)]);
    lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
    assert_eq!(tips(&mut lone), [BestTipMessage::BestTip(tip(4, 3, 100).block)]);
    // Nothing new, nothing sent.
    lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
    assert_eq!(tips(&mut lone), []);
}

#[test]
fn a_tip_goes_back_only_to_who_has_to_learn_that_it_is_ours() {
    for (peer, goes_back) in [(Peer::Quic, false), (Peer::Rtc, false), (Peer::Old, true)] {
        let mut lone = Lone::new(peer);
        let shared = tip(1, 0, 100);
        lone.to(Role::Puller, 0, BestTipMessage::BestTip(shared.block.clone())).unwrap();
        lone.transmits.clear();
        lone.pools.tip = Some(shared.clone());
        lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
        assert_eq!(!tips(&mut lone).is_empty(), goes_back, "{peer:?}");
        if !goes_back {
            // When ours was another in between, the peer is told that it is this one again.
            lone.pools.tip = Some(tip(2, 1, 100));
            lone.drain();
            lone.pools.tip = Some(shared.clone());
            lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
            assert_eq!(tips(&mut lone).len(), 2);
        }
    }
}

#[test]
fn a_tip_that_the_peer_sent_before_its_last_does_not_go_back_either() {
    let mut lone = Lone::new(Peer::Quic);
    for number in 1..4 {
        lone.to(Role::Puller, 0, BestTipMessage::BestTip(tip(number, 0, 100).block)).unwrap();
        lone.session.processed(lone.now, Processed::BestTip);
        lone.drain();
    }
    lone.transmits.clear();
    lone.to(Role::Server, 0, BestTipMessage::GetNext).unwrap();
    for number in 1..4 {
        lone.pools.tip = Some(tip(number, 0, 100));
        lone.drain();
    }
    assert_eq!(tips(&mut lone), []);
}

#[test]
fn permits_count_what_is_not_processed_and_what_is_being_fetched() {
    let mut lone = Lone::new(Peer::Quic);
    assert_eq!(limits(&mut lone), [32]);
    lone.to(Role::Puller, 0, TransactionMessage::WillSend { count: 20 }).unwrap();
    for number in 0..20 {
        lone.to(Role::Puller, 0, TransactionMessage::Item(transaction(number))).unwrap();
    }
    // 12 are left, which is no half.
    assert!(limits(&mut lone).is_empty());
    for number in 0..8 {
        let body = RpcRequest::Transaction(transaction_hash(number));
        lone.session.request(lone.now, mina_p2p_protocol::Request::Rpc(body)).unwrap();
        lone.session.processed(lone.now, Processed::Transaction);
        lone.drain();
    }
    assert!(limits(&mut lone).is_empty());
    for _ in 0..4 {
        lone.session.processed(lone.now, Processed::Transaction);
        lone.drain();
    }
    // 8 are not processed, 8 are fetched.
    assert_eq!(limits(&mut lone), [16]);
}

#[test]
fn a_log_is_served_in_batches_from_a_cursor() {
    let mut lone = Lone::new(Peer::Quic);
    for number in 0..10 {
        lone.pools.transactions.insert(transaction_hash(number), transaction(number), Default::default(), None);
    }
    lone.transmits.clear();
    lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 4 }).unwrap();
    let batch = |numbers: &[u64]| {
        let promise = TransactionMessage::WillSend { count: numbers.len() as u8 };
        let items = numbers.iter().map(|number| TransactionMessage::Item(transaction(*number)));
        std::iter::once(promise).chain(items).collect::<Vec<_>>()
    };
    assert_eq!(offered(&mut lone), batch(&[0, 1, 2, 3]));
    // What goes away is skipped, what changes comes again at the end.
    lone.pools.transactions.remove(&transaction_hash(5));
    let changed = mina_p2p_wire::message::TransactionInfo { fee: 99, ..transaction(0) };
    lone.pools.transactions.insert(transaction_hash(0), changed, Default::default(), None);
    lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 4 }).unwrap();
    assert_eq!(offered(&mut lone), batch(&[4, 6, 7, 8]));
    lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 4 }).unwrap();
    let last = [TransactionMessage::WillSend { count: 2 }, TransactionMessage::Item(transaction(9))];
    assert_eq!(offered(&mut lone), [last.as_slice(), &[TransactionMessage::Item(changed)]].concat());
    // Then a permit waits for the next item.
    lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 4 }).unwrap();
    assert_eq!(offered(&mut lone), []);
    lone.pools.transactions.insert(transaction_hash(11), transaction(11), Default::default(), None);
    lone.drain();
    assert_eq!(offered(&mut lone), batch(&[11]));
}

#[test]
fn an_item_is_not_offered_to_the_one_of_ours_that_it_came_from() {
    for kind in Peer::ALL {
        let mut lone = Lone::new(kind);
        // Near tips, for the sake of the existing node.
        lone.pools.tip = Some(tip(1, 0, 100));
        lone.to(Role::Puller, 0, BestTipMessage::BestTip(tip(1, 0, 100).block)).unwrap();
        for number in 0..3 {
            let source = (number != 1).then(|| peer(1));
            lone.pools.transactions.insert(transaction_hash(number), transaction(number), Default::default(), source);
        }
        lone.transmits.clear();
        lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 9 }).unwrap();
        let count = if kind == Peer::Old { 3 } else { 1 };
        assert_eq!(offered(&mut lone).first(), Some(&TransactionMessage::WillSend { count }), "{kind:?}");
    }
}

#[test]
fn what_a_peer_gave_in_an_earlier_session_is_offered_to_it_again() {
    let mut pools = mina_p2p_protocol::Pools::default();
    pools.transactions.insert(transaction_hash(0), transaction(0), Default::default(), Some(peer(1)));
    let mut lone = Lone::with(Peer::Quic, crate::lone::config(Peer::Quic));
    assert_eq!(offered(&mut lone), []);
    let mut lone = {
        lone.session = mina_p2p_protocol::Session::new(crate::lone::config(Peer::Quic), lone.now);
        lone.pools = pools;
        lone.drain();
        lone
    };
    lone.transmits.clear();
    lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 9 }).unwrap();
    assert_eq!(offered(&mut lone).len(), 2);
}

#[test]
fn an_old_peer_is_served_when_its_tip_is_ours_or_its_child() {
    for (number, parent, served) in [(5, 4, true), (6, 5, true), (7, 6, false), (4, 3, false)] {
        let mut lone = Lone::new(Peer::Old);
        lone.pools.tip = Some(tip(5, 4, 100));
        lone.pools.transactions.insert(transaction_hash(0), transaction(0), Default::default(), None);
        lone.transmits.clear();
        lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 9 }).unwrap();
        assert_eq!(offered(&mut lone), [], "a peer without a tip is not served");
        lone.to(Role::Puller, 0, BestTipMessage::BestTip(tip(number, parent, 100).block)).unwrap();
        assert_eq!(!offered(&mut lone).is_empty(), served, "tip {number} of {parent}");
        if !served {
            lone.pools.tip = Some(tip(number, parent, 100));
            lone.drain();
            assert_eq!(offered(&mut lone).len(), 2, "served when our tip becomes the peer's");
        }
    }
}

#[test]
fn ours_are_served_without_a_tip() {
    for peer in [Peer::Quic, Peer::Rtc] {
        let mut lone = Lone::new(peer);
        lone.pools.transactions.insert(transaction_hash(0), transaction(0), Default::default(), None);
        lone.transmits.clear();
        lone.to(Role::Server, 0, TransactionMessage::GetNext { limit: 9 }).unwrap();
        assert_eq!(offered(&mut lone).len(), 2);
    }
}

#[test]
fn works_and_commitments_go_the_same_way() {
    for peer in [Peer::Quic, Peer::Rtc] {
        let mut lone = Lone::new(peer);
        lone.to(Role::Puller, 0, SnarkMessage::WillSend { count: 1 }).unwrap();
        lone.to(Role::Puller, 0, SnarkMessage::Item(work(1, 2))).unwrap();
        lone.to(Role::Puller, 0, CommitmentMessage::WillSend { count: 16 }).unwrap();
        lone.to(Role::Puller, 0, CommitmentMessage::Item(commitment(3))).unwrap();
        let expected = [Event::Work { info: work(1, 2) }, Event::Commitment { commitment: commitment(3) }];
        assert_eq!(lone.take_events(), expected);
        assert_eq!(lone.session.figures().permits_out.commitments, 15);

        lone.pools.works.insert(work(1, 2).job_id, work(1, 2), Default::default(), None);
        lone.pools.commitments.insert(commitment(3).job_id, commitment(3), Default::default(), None);
        assert!(lone.pools.has_work(&work(1, 2)) && !lone.pools.has_work(&work(1, 3)));
        assert!(lone.pools.has_commitment(&commitment(3)) && !lone.pools.has_transaction(&transaction(3)));
        lone.transmits.clear();
        lone.to(Role::Server, 0, SnarkMessage::GetNext { limit: 32 }).unwrap();
        lone.to(Role::Server, 0, CommitmentMessage::GetNext { limit: 16 }).unwrap();
        let sent = lone.take_sent(Channel::SnarkJobCommitment);
        assert_eq!(sent[1], CommitmentMessage::Item(commitment(3)).encode().into_bytes());
        let again = lone.to(Role::Puller, 0, CommitmentMessage::WillSend { count: 1 });
        assert_eq!(again, Err(Rule::PromiseRepeated { left: 15 }));
    }
}

#[test]
fn figures_count_messages_and_bytes_with_their_heads() {
    let mut lone = Lone::new(Peer::Quic);
    let body = BestTipMessage::BestTip(tip(1, 0, 100).block).encode().len() as u64;
    lone.to(Role::Puller, 0, BestTipMessage::BestTip(tip(1, 0, 100).block)).unwrap();
    let (channel, figures) = lone.session.figures().channels[0];
    assert_eq!(channel, Channel::BestTip);
    assert_eq!((figures.sent_messages, figures.sent_bytes), (1, 5));
    assert_eq!((figures.received_messages, figures.received_bytes), (1, 4 + body));
}
