//! Who is introduced to whom, and what becomes of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use mina_p2p_wire::{Address, SecretKey};

use super::*;
use crate::router::pairs::PAIRS_MAX;
use crate::router::{Admission, PAIR_MEMORY, RouterConfig, SlotLimits};

const NOW: Time = Time(Duration::from_secs(100));

fn key(n: u8) -> PublicKey {
    SecretKey::from_bytes([n; 32]).public_key()
}

fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

fn remote() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

fn sealed() -> Bytes {
    Bytes::from_static(b"sealed")
}

fn config() -> RouterConfig {
    RouterConfig {
        own: peer(0),
        slots: SlotLimits::default(),
        initial_peers: Vec::new(),
        relay: Default::default(),
        discover_peers: 0,
        take_offers: true,
        introduce: true,
        seed: 5,
    }
}

/// A node with so many peers, 1 and up.
fn node(config: RouterConfig, peers: u8) -> (Router, Vec<ConnectionId>) {
    let mut router = Router::new(config, NOW);
    let ids = (1..=peers).map(|n| connect(&mut router, n)).collect();
    (router, ids)
}

fn connect(router: &mut Router, n: u8) -> ConnectionId {
    let Admission::Accept { id, .. } = router.incoming(NOW, peer(n), remote(), false, true) else {
        panic!("{n} is not accepted");
    };
    router.speaks_introductions(NOW, id);
    id
}

fn outputs(router: &mut Router) -> Vec<IntroductionOutput> {
    std::iter::from_fn(|| router.poll_introduction()).collect()
}

/// Without those that ask for dialers.
fn orders(router: &mut Router) -> Vec<(ConnectionId, IntroductionOrder)> {
    let order = |output| match output {
        IntroductionOutput::Order { to, order } if order != IntroductionOrder::AskForDialers => Some((to, order)),
        IntroductionOutput::Order { .. } => None,
        other => panic!("{other:?}"),
    };
    outputs(router).into_iter().filter_map(order).collect()
}

fn introduce(n: u8) -> IntroductionOrder {
    IntroductionOrder::Introduce { target: key(n) }
}

#[test]
fn a_dialer_is_introduced_as_soon_as_there_is_a_target_and_the_target_is_then_taken() {
    let (mut router, ids) = node(config(), 3);
    router.introduction(NOW, ids[0], Introduction::Wants);
    router.introduction(NOW, ids[1], Introduction::Wants);
    assert_eq!(orders(&mut router), []);
    router.introduction(NOW, ids[2], Introduction::Ready);
    assert_eq!(orders(&mut router), [(ids[0], introduce(3))], "the one that has waited longest");
    router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
    assert_eq!(orders(&mut router), [(ids[2], IntroductionOrder::HandOver { offerer: key(1), sealed: sealed() })]);
    router.introduction(NOW, ids[2], Introduction::TargetAnswer { sealed: Some(sealed()) });
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::AnswerDialer { sealed: Some(sealed()) })]);
    router.introduction(NOW, ids[2], Introduction::Ready);
    assert_eq!(orders(&mut router), [(ids[1], introduce(3))]);
}

#[test]
fn who_is_to_be_asked_is_asked_once_there_is_somebody() {
    let (mut router, ids) = node(config(), 3);
    assert_eq!(outputs(&mut router), []);
    router.introduction(NOW, ids[0], Introduction::Ready);
    let ask = |to: ConnectionId| IntroductionOutput::Order { to, order: IntroductionOrder::AskForDialers };
    assert_eq!(outputs(&mut router), [ask(ids[1]), ask(ids[2])]);
    router.introduction(NOW, ids[1], Introduction::Ready);
    assert_eq!(outputs(&mut router), [ask(ids[0])]);
    let fourth = connect(&mut router, 4);
    assert_eq!(outputs(&mut router), [ask(fourth)]);
}

#[test]
fn who_does_not_introduce_asks_nobody() {
    let (mut router, ids) = node(RouterConfig { introduce: false, ..config() }, 2);
    router.introduction(NOW, ids[0], Introduction::Ready);
    router.introduction(NOW, ids[1], Introduction::Wants);
    assert_eq!(outputs(&mut router), []);
}

#[test]
fn a_peer_is_not_introduced_to_itself_nor_to_whom_is_being_introduced_to_it() {
    let (mut router, ids) = node(config(), 2);
    router.introduction(NOW, ids[0], Introduction::Ready);
    router.introduction(NOW, ids[0], Introduction::Wants);
    assert_eq!(orders(&mut router), []);
    router.introduction(NOW, ids[1], Introduction::Ready);
    assert_eq!(orders(&mut router), [(ids[0], introduce(2))]);
    router.introduction(NOW, ids[1], Introduction::Wants);
    assert_eq!(orders(&mut router), []);
}

#[test]
fn a_pair_meets_again_only_after_its_memory_is_over_whoever_dials() {
    let (mut router, ids) = node(config(), 2);
    router.introduction(NOW, ids[1], Introduction::Ready);
    router.introduction(NOW, ids[0], Introduction::Wants);
    assert_eq!(orders(&mut router), [(ids[0], introduce(2))]);
    router.introduction(NOW, ids[0], Introduction::Rejected);
    router.introduction(NOW, ids[0], Introduction::Wants);
    router.introduction(NOW, ids[0], Introduction::Ready);
    router.introduction(NOW, ids[1], Introduction::Wants);
    assert_eq!(orders(&mut router), []);
    assert_eq!(router.next_introduction_at(), Some(NOW + PAIR_MEMORY));
    router.introductions_due(NOW + PAIR_MEMORY / 2);
    assert_eq!(orders(&mut router), []);
    router.introductions_due(NOW + PAIR_MEMORY);
    assert_eq!(orders(&mut router).len(), 1);
    assert_eq!(router.next_introduction_at(), None);
}

#[test]
fn a_dialer_that_is_silent_frees_its_target() {
    let (mut router, ids) = node(config(), 3);
    router.introduction(NOW, ids[2], Introduction::Ready);
    router.introduction(NOW, ids[0], Introduction::Wants);
    router.introduction(NOW, ids[1], Introduction::Wants);
    assert_eq!(orders(&mut router), [(ids[0], introduce(3))]);
    router.introduction(NOW, ids[0], Introduction::GivenUp);
    assert_eq!(orders(&mut router), [(ids[1], introduce(3))]);
}

#[test]
fn a_late_answer_goes_to_nobody() {
    let (mut router, ids) = node(config(), 2);
    router.introduction(NOW, ids[1], Introduction::Ready);
    router.introduction(NOW, ids[0], Introduction::Wants);
    router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
    orders(&mut router);
    router.introduction(NOW, ids[0], Introduction::GivenUp);
    router.introduction(NOW, ids[1], Introduction::TargetAnswer { sealed: Some(sealed()) });
    assert_eq!(orders(&mut router), []);
}

#[test]
fn when_either_side_leaves_the_other_is_set_free() {
    // The dialer, before and after its offer.
    for offers in [false, true] {
        let (mut router, ids) = node(config(), 3);
        router.introduction(NOW, ids[2], Introduction::Ready);
        router.introduction(NOW, ids[0], Introduction::Wants);
        router.introduction(NOW, ids[1], Introduction::Wants);
        if offers {
            router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
        }
        orders(&mut router);
        router.disconnected(NOW, peer(1), ids[0]);
        let next = if offers { vec![] } else { vec![(ids[1], introduce(3))] };
        assert_eq!(orders(&mut router), next);
        router.introduction(NOW, ids[2], Introduction::TargetAnswer { sealed: None });
        assert_eq!(orders(&mut router), []);
    }
    // The target, before and after the offer.
    for offers in [false, true] {
        let (mut router, ids) = node(config(), 2);
        router.introduction(NOW, ids[1], Introduction::Ready);
        router.introduction(NOW, ids[0], Introduction::Wants);
        if offers {
            router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
        }
        orders(&mut router);
        router.disconnected(NOW, peer(2), ids[1]);
        if !offers {
            assert_eq!(orders(&mut router), []);
            router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
        }
        assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::AnswerDialer { sealed: None })]);
    }
}

#[test]
fn an_offer_that_is_too_long_for_its_target_is_answered_with_nothing() {
    let (mut router, ids) = node(config(), 2);
    router.introduction(NOW, ids[1], Introduction::Ready);
    router.introduction(NOW, ids[0], Introduction::Wants);
    router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
    let (to, order) = orders(&mut router).pop().unwrap();
    router.introduction_refused(NOW, to, &order);
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::AnswerDialer { sealed: None })]);
}

#[test]
fn targets_are_chosen_among_all_and_by_the_seed_alone() {
    let chosen = |seed| {
        let (mut router, ids) = node(RouterConfig { seed, ..config() }, 9);
        ids[1..].iter().for_each(|id| router.introduction(NOW, *id, Introduction::Ready));
        router.introduction(NOW, ids[0], Introduction::Wants);
        let (_, IntroductionOrder::Introduce { target }) = orders(&mut router).pop().unwrap() else { panic!() };
        target.peer_id()
    };
    assert_eq!(chosen(1), chosen(1));
    let all: BTreeSet<PeerId> = (0..200).map(chosen).collect();
    assert_eq!(all.len(), 8);
}

#[test]
fn pairs_are_bounded_and_the_oldest_give_way() {
    let numbered = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        PeerId::from_bytes(bytes)
    };
    let mut pairs = Pairs::default();
    for n in 1..=PAIRS_MAX {
        pairs.add(NOW, numbered(n), numbered(0));
        pairs.add(NOW, numbered(0), numbered(n));
    }
    assert!(pairs.know(numbered(1), numbered(0)));
    pairs.add(NOW, numbered(0), numbered(PAIRS_MAX + 1));
    assert!(!pairs.know(numbered(1), numbered(0)));
    assert!(pairs.know(numbered(0), numbered(2)));
    pairs.expire(NOW + PAIR_MEMORY);
    assert_eq!(pairs.next_at(), None);
}

fn seeker() -> (Router, Vec<ConnectionId>) {
    node(RouterConfig { discover_peers: 3, ..config() }, 2)
}

#[test]
fn a_node_with_too_few_peers_asks_to_be_introduced_and_dials() {
    let (mut router, ids) = seeker();
    router.introduction(NOW, ids[0], Introduction::Asked);
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::Discover)]);
    router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
    let dial = router.dial_of(peer(9)).unwrap();
    assert_eq!(outputs(&mut router), [IntroductionOutput::MakeOffer { dial, relay: ids[0], target: key(9) }]);
    router.offer_made(dial, sealed());
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::Accept { sealed: sealed() })]);
    router.introduction(NOW, ids[0], Introduction::Answer { sealed: Some(sealed()) });
    assert_eq!(outputs(&mut router), [IntroductionOutput::Answered { dial, sealed: Some(sealed()) }]);
    let admission = router.dial_authenticated(NOW, dial, remote(), true);
    assert!(matches!(admission, Admission::Accept { .. }));
    // There are enough now; and too few again when one leaves.
    router.introduction(NOW, ids[0], Introduction::Asked);
    assert_eq!(orders(&mut router), []);
    router.disconnected(NOW, peer(2), ids[1]);
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::Discover)]);
}

#[test]
fn nobody_is_dialed_whom_no_dial_may_go_to() {
    let reject = |router: &mut Router, relay, target| {
        router.introduction(NOW, relay, Introduction::Asked);
        router.introduction(NOW, relay, Introduction::Discovered { target });
        let orders = orders(router);
        orders.last() == Some(&(relay, IntroductionOrder::Reject))
    };
    let (mut router, ids) = seeker();
    assert!(reject(&mut router, ids[0], key(0)), "ourselves");
    assert!(reject(&mut router, ids[0], key(2)), "a connected one");
    router.ban(NOW, peer(8), PAIR_MEMORY);
    assert!(reject(&mut router, ids[0], key(8)), "a banned one");
    let mut small_order = [0; 32];
    small_order[0] = 1;
    assert!(reject(&mut router, ids[0], PublicKey::from_bytes(small_order).unwrap()), "nobody's key");
    router.start_dial(NOW, peer(7)).unwrap();
    assert!(reject(&mut router, ids[0], key(7)), "one that is being dialed");
    assert!(reject(&mut router, ids[0], key(9)), "anybody, when there are enough");
    let slots = SlotLimits { peers: 2, ..SlotLimits::default() };
    let (mut router, ids) = node(RouterConfig { discover_peers: 50, slots, ..config() }, 2);
    assert!(reject(&mut router, ids[0], key(9)), "anybody, without a slot");
    assert_eq!(router.start_dial(NOW, peer(9)).unwrap_err(), Refusal::Capacity { slot: "peers", taken: 2, limit: 2 });
}

#[test]
fn a_dial_through_a_relay_ends_when_the_relay_does() {
    for offers in [false, true] {
        let (mut router, ids) = seeker();
        router.introduction(NOW, ids[0], Introduction::Asked);
        router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
        let dial = router.dial_of(peer(9)).unwrap();
        if offers {
            router.offer_made(dial, sealed());
        }
        outputs(&mut router);
        router.disconnected(NOW, peer(1), ids[0]);
        assert_eq!(outputs(&mut router), [IntroductionOutput::Answered { dial, sealed: None }]);
        router.dial_failed(NOW, dial);
        router.offer_made(dial, sealed());
        assert_eq!(outputs(&mut router), [IntroductionOutput::Answered { dial, sealed: None }]);
    }
}

#[test]
fn a_dial_whose_offer_cannot_be_made_is_rejected_at_the_relay() {
    let (mut router, ids) = seeker();
    router.introduction(NOW, ids[0], Introduction::Asked);
    router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
    outputs(&mut router);
    let dial = router.dial_of(peer(9)).unwrap();
    router.dial_failed(NOW, dial);
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::Reject)]);
}

#[test]
fn an_offer_that_the_session_refuses_fails_its_dial() {
    let (mut router, ids) = seeker();
    router.introduction(NOW, ids[0], Introduction::Asked);
    router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
    let dial = router.dial_of(peer(9)).unwrap();
    router.offer_made(dial, sealed());
    outputs(&mut router);
    router.introduction_refused(NOW, ids[0], &IntroductionOrder::Accept { sealed: sealed() });
    let reject = IntroductionOutput::Order { to: ids[0], order: IntroductionOrder::Reject };
    assert_eq!(outputs(&mut router), [IntroductionOutput::Answered { dial, sealed: None }, reject]);
}

#[test]
fn offers_are_taken_where_there_is_a_slot_and_the_node_takes_any() {
    let offer = |router: &mut Router, relay, offerer| {
        router.introduction(NOW, relay, Introduction::OfferToYou { offerer, sealed: sealed() });
        outputs(router)
    };
    let none =
        |relay| [IntroductionOutput::Order { to: relay, order: IntroductionOrder::AnswerOffer { sealed: None } }];
    let (mut router, ids) = node(config(), 1);
    let relay = ids[0];
    let taken = IntroductionOutput::TakeOffer { relay, offerer: key(9), sealed: sealed() };
    assert_eq!(offer(&mut router, relay, key(9)), [taken]);
    assert_eq!(offer(&mut router, relay, key(0)), none(relay), "our own");
    assert_eq!(router.check_offer(NOW, peer(1)), Ok(()), "a connected one may have restarted");
    router.ban(NOW, peer(8), PAIR_MEMORY);
    assert_eq!(offer(&mut router, relay, key(8)), none(relay), "a banned one's");
    let slots = SlotLimits { peers: 1, ..SlotLimits::default() };
    for config in [RouterConfig { slots, ..config() }, RouterConfig { take_offers: false, ..config() }] {
        let (mut router, ids) = node(config, 1);
        assert_eq!(offer(&mut router, ids[0], key(9)), none(ids[0]));
    }
}

#[test]
fn an_offer_that_comes_after_the_session_s_own_rejection_ends_its_dial() {
    let (mut router, ids) = seeker();
    router.introduction(NOW, ids[0], Introduction::Asked);
    router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
    let dial = router.dial_of(peer(9)).unwrap();
    router.offer_made(dial, sealed());
    outputs(&mut router);
    // The session was too late for it, and the relay has asked again since.
    router.introduction(NOW, ids[0], Introduction::Asked);
    assert_eq!(outputs(&mut router), [IntroductionOutput::Answered { dial, sealed: None }]);
    router.introduction_refused(NOW, ids[0], &IntroductionOrder::Accept { sealed: sealed() });
    outputs(&mut router);
    router.dial_failed(NOW, dial);
    assert_eq!(orders(&mut router), [(ids[0], IntroductionOrder::Discover)], "there is room for another");
}

#[test]
fn a_relay_that_names_a_peer_does_not_keep_us_from_dialing_it_ourselves() {
    let address: Address = format!("/ip4/127.0.0.1/udp/1/mina-quic/p2p/{}", peer(9).to_libp2p()).parse().unwrap();
    let slots = SlotLimits { peers: 3, ..SlotLimits::default() };
    for is_offered in [false, true] {
        let initial_peers = vec![address.clone()];
        let config = RouterConfig { discover_peers: 3, initial_peers, slots, ..config() };
        let (mut router, ids) = node(config, 2);
        router.introduction(NOW, ids[0], Introduction::Asked);
        router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
        let introduced = router.dial_of(peer(9)).unwrap();
        if is_offered {
            router.offer_made(introduced, sealed());
        }
        outputs(&mut router);
        // It is due all the same, and takes the place of the other, in the last slot too.
        assert_eq!(router.due_dial(NOW).unwrap().peer, peer(9));
        let dial = router.start_dial(NOW, peer(9)).unwrap();
        assert_eq!(router.dial_of(peer(9)), Some(dial));
        let reject = IntroductionOutput::Order { to: ids[0], order: IntroductionOrder::Reject };
        let give_up = IntroductionOutput::GiveUp { dial: introduced };
        assert_eq!(outputs(&mut router), if is_offered { vec![give_up] } else { vec![reject, give_up] });
        // Its own end changes nothing, and neither does another relay's word.
        assert!(!router.dial_failed(NOW, introduced));
        router.introduction(NOW, ids[1], Introduction::Asked);
        router.introduction(NOW, ids[1], Introduction::Discovered { target: key(9) });
        assert_eq!(router.dial_of(peer(9)), Some(dial));
        assert_eq!(router.start_dial(NOW, peer(9)), Err(Refusal::Capacity { slot: "peers", taken: 3, limit: 3 }));
    }
}

#[test]
fn a_dial_through_a_relay_that_fails_puts_no_configured_peer_off() {
    let address: Address = format!("/ip4/127.0.0.1/udp/1/mina-quic/p2p/{}", peer(9).to_libp2p()).parse().unwrap();
    let (mut router, ids) = node(RouterConfig { discover_peers: 3, initial_peers: vec![address], ..config() }, 2);
    let due = router.next_dial_at();
    assert_eq!(due, Some(NOW));
    router.introduction(NOW, ids[0], Introduction::Asked);
    router.introduction(NOW, ids[0], Introduction::Discovered { target: key(9) });
    assert_eq!(router.next_dial_at(), due);
    let dial = router.dial_of(peer(9)).unwrap();
    router.dial_failed(NOW, dial);
    assert_eq!(router.next_dial_at(), due);
}

#[test]
fn a_peer_that_comes_and_goes_is_not_introduced_to_the_same_one_again() {
    for (goes, offers) in [(1, false), (1, true), (2, false), (2, true)] {
        let (mut router, ids) = node(config(), 2);
        router.introduction(NOW, ids[1], Introduction::Ready);
        router.introduction(NOW, ids[0], Introduction::Wants);
        if offers {
            router.introduction(NOW, ids[0], Introduction::Offer { sealed: sealed() });
        }
        router.disconnected(NOW, peer(goes), ids[usize::from(goes) - 1]);
        outputs(&mut router);
        let back = connect(&mut router, goes);
        let (dialer, target) = if goes == 1 { (back, ids[1]) } else { (ids[0], back) };
        router.introduction(NOW, dialer, Introduction::GivenUp);
        router.introduction(NOW, dialer, Introduction::Wants);
        router.introduction(NOW, target, Introduction::Ready);
        assert_eq!(orders(&mut router), [], "{goes} goes");
    }
}
