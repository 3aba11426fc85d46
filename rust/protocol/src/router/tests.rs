//! The router's decisions, each in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use mina_p2p_wire::message::{BlockKey, TransactionHash};
use mina_p2p_wire::{Address, Host, PeerId};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

fn quic(n: u8, host: u8) -> Address {
    Address::Quic { peer_id: peer(n), host: Host::Ipv4([10, 0, host, n].into()), port: 8302 }
}

fn address(n: u8) -> Address {
    Address::Quic { peer_id: peer(n), host: Host::Ipv4([10, 0, 0, n].into()), port: 8302 }
}

fn remote(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 8302)
}

fn router_of(own: u8, initial: &[u8]) -> Router {
    let config = RouterConfig {
        own: peer(own),
        slots: SlotLimits::default(),
        initial_peers: initial.iter().map(|n| address(*n)).collect(),
        relay: Default::default(),
        discover_peers: 0,
        take_offers: false,
        introduce: false,
        seed: 7,
    };
    Router::new(config, Time::ZERO)
}

fn accepted(admission: Admission) -> (ConnectionId, Option<ConnectionId>) {
    match admission {
        Admission::Accept { id, replaces } => (id, replaces),
        other => panic!("{other:?}"),
    }
}

/// Two routers that dial each other at once, on a network that orders the events as `order` says. Answers how many
/// connections each end has, and who dialed the one at each.
fn crossed(order: &[usize]) -> [Option<Dialer>; 2] {
    let now = Time::ZERO;
    let mut routers = [router_of(1, &[]), router_of(2, &[])];
    let dials = [routers[0].start_dial(now, peer(2)).unwrap(), routers[1].start_dial(now, peer(1)).unwrap()];
    // Each connection: dialed by `i`, it arrives at the other, which answers or holds or refuses; then `i` hears.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Step {
        Arrives,
        Answered(ConnectionId),
        Over,
    }
    let mut steps = [Step::Arrives, Step::Arrives];
    let mut live: [Option<(ConnectionId, usize)>; 2] = [None, None];
    let mut closed = [false, false];
    for &i in order.iter().cycle().take(64) {
        let other = 1 - i;
        let own = [peer(1), peer(2)];
        match steps[i] {
            Step::Arrives => match routers[other].incoming(now, own[i], remote("127.0.0.1"), false, true) {
                Admission::Accept { id, replaces } => {
                    if let Some(old) = replaces {
                        let (gone, by) = live[other].unwrap();
                        assert_eq!(gone, old);
                        closed[by] = true;
                    }
                    live[other] = Some((id, i));
                    steps[i] = Step::Answered(id);
                }
                Admission::Hold { .. } => {}
                Admission::Refuse(Refusal::Duplicate) => {
                    routers[i].dial_failed(now, dials[i]);
                    steps[i] = Step::Over;
                }
                other => panic!("{other:?}"),
            },
            Step::Answered(id) => {
                if closed[i] {
                    routers[i].dial_failed(now, dials[i]);
                } else {
                    match routers[i].dial_authenticated(now, dials[i], remote("127.0.0.1"), true) {
                        Admission::Accept { id, replaces } => {
                            if replaces.is_some() {
                                let (_, by) = live[i].unwrap();
                                closed[by] = true;
                                if let Some((theirs, at)) = live[1 - i]
                                    && at == by
                                {
                                    routers[1 - i].disconnected(now, own[i], theirs);
                                    live[1 - i] = None;
                                }
                            }
                            live[i] = Some((id, i));
                        }
                        Admission::Refuse(Refusal::Duplicate) => {
                            closed[i] = true;
                            if live[other].is_some_and(|(theirs, _)| theirs == id) {
                                routers[other].disconnected(now, own[i], id);
                                live[other] = None;
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
                steps[i] = Step::Over;
            }
            Step::Over => {}
        }
    }
    assert_eq!(steps, [Step::Over, Step::Over]);
    let dialer = |end: usize| {
        live[end].map(|(id, by)| {
            assert_eq!(routers[end].connection(peer(if end == 0 { 2 } else { 1 })), Some(id));
            if by == end { Dialer::Us } else { Dialer::Peer }
        })
    };
    [dialer(0), dialer(1)]
}

#[test]
fn crossed_dials_end_in_the_greater_ids_one_in_every_order() {
    for order in [[0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]] {
        assert_eq!(crossed(&order), [Some(Dialer::Peer), Some(Dialer::Us)], "{order:?}");
    }
}

#[test]
fn a_held_connection_is_accepted_when_our_own_dial_fails() {
    let now = Time::ZERO;
    let mut router = router_of(2, &[]);
    let dial = router.start_dial(now, peer(1)).unwrap();
    assert_eq!(
        router.incoming(now, peer(1), remote("127.0.0.1"), false, true),
        Admission::Hold { until: now + HOLD_MAX }
    );
    router.dial_failed(now, dial);
    accepted(router.incoming(now, peer(1), remote("127.0.0.1"), false, true));
}

#[test]
fn a_connection_is_not_held_for_ever() {
    let mut router = router_of(2, &[]);
    let dial = router.start_dial(Time::ZERO, peer(1)).unwrap();
    let later = Time::ZERO + HOLD_MAX;
    let (first, _) = accepted(router.incoming(later, peer(1), remote("127.0.0.1"), true, true));
    // Our dial answers after all: both ends prefer it.
    let (_, replaces) = accepted(router.dial_authenticated(later, dial, remote("127.0.0.1"), true));
    assert_eq!(replaces, Some(first));
}

#[test]
fn an_old_connection_is_probed_before_it_yields() {
    let mut router = router_of(1, &[]);
    let (old, _) = accepted(router.incoming(Time::ZERO, peer(2), remote("10.1.1.1"), false, true));
    let later = Time::ZERO + CROSSING_WINDOW;
    assert_eq!(router.incoming(later, peer(2), remote("10.1.1.1"), false, true), Admission::Probe { existing: old });
    router.disconnected(later, peer(2), old);
    accepted(router.incoming(later, peer(2), remote("10.1.1.1"), false, true));
}

#[test]
fn a_second_connection_by_the_same_dialer_is_probed_for_even_when_the_first_is_young() {
    let mut router = router_of(1, &[]);
    let (old, _) = accepted(router.incoming(Time::ZERO, peer(2), remote("10.1.1.1"), false, true));
    assert_eq!(
        router.incoming(Time::ZERO, peer(2), remote("10.1.1.1"), false, true),
        Admission::Probe { existing: old }
    );
}

#[test]
fn a_node_does_not_connect_to_itself() {
    let mut router = router_of(1, &[]);
    assert_eq!(router.start_dial(Time::ZERO, peer(1)), Err(Refusal::SelfConnection));
    let admission = router.incoming(Time::ZERO, peer(1), remote("10.1.1.1"), false, true);
    assert_eq!(admission, Admission::Refuse(Refusal::SelfConnection));
}

#[test]
fn inbound_slots_are_limited_by_address_subnet_and_number_and_come_free() {
    let mut router = router_of(200, &[]);
    let mut n = 0;
    let mut connect = |router: &mut Router, from: &str| {
        n += 1;
        router.incoming(Time::ZERO, peer(n), remote(from), false, true)
    };
    let mut first = None;
    for _ in 0..8 {
        first = Some(accepted(connect(&mut router, "10.0.0.1")).0);
    }
    let refused = |slot, limit| Admission::Refuse(Refusal::Capacity { slot, taken: limit, limit });
    assert_eq!(connect(&mut router, "10.0.0.1"), refused("inbound peers of the address", 8));
    // The same address in another spelling.
    assert_eq!(connect(&mut router, "::ffff:10.0.0.1"), refused("inbound peers of the address", 8));
    for host in 2..=4 {
        for _ in 0..8 {
            accepted(connect(&mut router, &format!("10.0.0.{host}")));
        }
    }
    assert_eq!(connect(&mut router, "10.0.0.5"), refused("inbound peers of the subnet", 32));
    router.disconnected(Time::ZERO, peer(8), first.unwrap());
    accepted(connect(&mut router, "10.0.0.5"));
    for host in 0..32 {
        accepted(connect(&mut router, &format!("2001:db8:{host}::1")));
    }
    assert_eq!(connect(&mut router, "10.9.0.1"), refused("inbound peers", 64));
    // Our own dials still find a slot.
    router.start_dial(Time::ZERO, peer(199)).unwrap();
}

#[test]
fn loopback_is_exempt_from_limits_by_address() {
    let mut router = router_of(200, &[]);
    for n in 1..=64 {
        accepted(router.incoming(Time::ZERO, peer(n), remote("127.0.0.1"), false, true));
    }
}

#[test]
fn ipv6_addresses_count_by_their_64() {
    let mut router = router_of(200, &[]);
    for n in 1..=8 {
        accepted(router.incoming(Time::ZERO, peer(n), remote(&format!("2001:db8::{n}")), false, true));
    }
    let ninth = router.incoming(Time::ZERO, peer(9), remote("2001:db8::9"), false, true);
    assert!(matches!(ninth, Admission::Refuse(Refusal::Capacity { limit: 8, .. })), "{ninth:?}");
    accepted(router.incoming(Time::ZERO, peer(9), remote("2001:db8:0:1::9"), false, true));
}

#[test]
fn dials_count_against_the_slots_until_they_end() {
    let config = RouterConfig {
        own: peer(200),
        slots: SlotLimits { peers: 2, ..SlotLimits::default() },
        initial_peers: Vec::new(),
        relay: Default::default(),
        discover_peers: 0,
        take_offers: false,
        introduce: false,
        seed: 0,
    };
    let mut router = Router::new(config, Time::ZERO);
    let first = router.start_dial(Time::ZERO, peer(1)).unwrap();
    router.start_dial(Time::ZERO, peer(2)).unwrap();
    assert_eq!(router.start_dial(Time::ZERO, peer(2)), Err(Refusal::Capacity { slot: "peers", taken: 2, limit: 2 }));
    router.dial_failed(Time::ZERO, first);
    assert_eq!(router.start_dial(Time::ZERO, peer(2)), Err(Refusal::Dialing));
    router.start_dial(Time::ZERO, peer(3)).unwrap();
}

#[test]
fn a_connection_stays_when_the_crossed_one_that_would_replace_it_finds_no_slot() {
    let config = RouterConfig {
        own: peer(1),
        slots: SlotLimits { inbound: 0, ..SlotLimits::default() },
        initial_peers: vec![address(2)],
        relay: Default::default(),
        discover_peers: 0,
        take_offers: false,
        introduce: false,
        seed: 0,
    };
    let mut router = Router::new(config, Time::ZERO);
    let due = router.due_dial(Time::ZERO).unwrap();
    let dial = router.start_dial(Time::ZERO, due.peer).unwrap();
    let (id, _) = accepted(router.dial_authenticated(Time::ZERO, dial, remote("10.0.0.2"), true));
    let crossed = router.incoming(Time::ZERO, peer(2), remote("10.0.0.2"), false, true);
    assert!(matches!(crossed, Admission::Refuse(Refusal::Capacity { .. })), "{crossed:?}");
    assert_eq!(router.connection(peer(2)), Some(id));
    // And when it ends, the peer is dialed again.
    router.disconnected(Time::ZERO, peer(2), id);
    assert!(router.next_dial_at().is_some());
}

#[test]
fn dials_and_peers_that_dial_us_together_stay_inside_the_limit() {
    let mut router = router_of(250, &[1]);
    let dials: Vec<_> = (1..=100).map(|n| router.start_dial(Time::ZERO, peer(n)).unwrap()).collect();
    for n in 101..=164 {
        accepted(router.incoming(Time::ZERO, peer(n), remote("127.0.0.1"), false, true));
    }
    for (n, dial) in dials.into_iter().rev().enumerate() {
        let admission = router.dial_authenticated(Time::ZERO, dial, remote("127.0.0.1"), true);
        let full = Admission::Refuse(Refusal::Capacity { slot: "peers", taken: 100, limit: 100 });
        assert_eq!(admission == full, n >= 36, "{admission:?}");
    }
    assert_eq!(router.peers().count(), 100);
    // Peer 1, a configured one, found no slot: it is dialed again.
    assert!(router.next_dial_at().is_some());
}

#[test]
fn bans_refuse_until_they_expire_or_are_lifted() {
    let mut router = router_of(1, &[]);
    let (id, _) = accepted(router.incoming(Time::ZERO, peer(2), remote("10.1.1.1"), false, true));
    assert_eq!(router.ban(Time::ZERO, peer(2), 10 * SECOND), Some(id));
    router.disconnected(Time::ZERO, peer(2), id);
    let half = Time::ZERO + 5 * SECOND;
    assert_eq!(router.bans(half), [(peer(2), 5 * SECOND)]);
    let banned = Refusal::Banned { remaining: 5 * SECOND };
    assert_eq!(router.start_dial(half, peer(2)), Err(banned));
    assert_eq!(router.incoming(half, peer(2), remote("10.1.1.1"), false, true), Admission::Refuse(banned));
    let over = Time::ZERO + 10 * SECOND;
    assert_eq!(router.bans(over), []);
    accepted(router.incoming(over, peer(2), remote("10.1.1.1"), false, true));
    router.ban(over, peer(3), 10 * SECOND);
    assert!(router.unban(over, peer(3)));
    assert!(!router.unban(over, peer(3)));
    router.start_dial(over, peer(3)).unwrap();
}

#[test]
fn an_initial_peer_that_is_banned_while_it_is_dialed_is_dialed_again_after_the_ban() {
    let mut router = router_of(1, &[2]);
    let due = router.due_dial(Time::ZERO).unwrap();
    let dial = router.start_dial(Time::ZERO, due.peer).unwrap();
    router.ban(Time::ZERO, peer(2), 10 * SECOND);
    let admission = router.dial_authenticated(Time::ZERO, dial, remote("10.0.0.2"), true);
    assert_eq!(admission, Admission::Refuse(Refusal::Banned { remaining: 10 * SECOND }));
    let mut now = Time::ZERO;
    while router.due_dial(now).is_none() {
        now = router.next_dial_at().unwrap();
    }
    assert!(now >= Time::ZERO + 10 * SECOND, "{now:?}");
}

#[test]
fn bans_are_bounded_and_the_one_ending_first_gives_way() {
    let mut bans = Bans::default();
    let numbered = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        PeerId::from_bytes(bytes)
    };
    for n in 0..BANS_MAX {
        bans.ban(Time::ZERO, numbered(n), SECOND * (BANS_MAX - n) as u32);
    }
    bans.ban(Time::ZERO, numbered(BANS_MAX), SECOND);
    assert_eq!(bans.list(Time::ZERO).len(), BANS_MAX);
    assert_eq!(bans.remaining(Time::ZERO, numbered(BANS_MAX - 1)), None);
    assert_eq!(bans.remaining(Time::ZERO, numbered(BANS_MAX)), Some(SECOND));
}

/// Runs the dials that are due; all of them fail. Answers when each was made.
fn failing_dials(router: &mut Router, until: Time) -> Vec<Time> {
    let mut made = Vec::new();
    let mut now = Time::ZERO;
    while now < until {
        while let Some(due) = router.due_dial(now) {
            let dial = router.start_dial(now, due.peer).unwrap();
            router.dial_failed(now, dial);
            made.push(now);
        }
        now = router.next_dial_at().unwrap();
    }
    made
}

#[test]
fn initial_peers_are_redialed_with_growing_jittered_waits() {
    let mut router = router_of(1, &[2]);
    let made = failing_dials(&mut router, Time::ZERO + 600 * SECOND);
    let mut longest = BACKOFF_MIN;
    for pair in made.windows(2) {
        let wait = pair[1].saturating_since(pair[0]);
        assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
        longest = (longest * 2).min(BACKOFF_MAX);
    }
    assert!(made.len() > 10, "{}", made.len());
    assert_eq!(
        failing_dials(&mut router_of(1, &[2]), Time::ZERO + 600 * SECOND),
        made,
        "the same seed, the same times"
    );
}

#[test]
fn a_connected_initial_peer_is_not_dialed_and_a_lost_one_is() {
    let mut router = router_of(1, &[2, 1]);
    let due = router.due_dial(Time::ZERO).unwrap();
    assert_eq!(router.due_dial(Time::ZERO), None, "our own address is not dialed");
    let dial = router.start_dial(Time::ZERO, due.peer).unwrap();
    let (id, _) = accepted(router.dial_authenticated(Time::ZERO, dial, remote("10.0.0.2"), true));
    assert_eq!(router.next_dial_at(), None);
    let later = Time::ZERO + 3600 * SECOND;
    router.disconnected(later, peer(2), id);
    let again = router.next_dial_at().unwrap();
    assert!(again <= later + BACKOFF_MIN);
    assert_eq!(router.due_dial(again), Some(Dial { peer: peer(2), addresses: vec![address(2)] }));
}

#[test]
fn a_tip_goes_first_to_those_we_dialed_and_last_to_those_who_have_it() {
    let mut router = router_of(1, &[]);
    let tip = BlockKey([9; 32]);
    let (inbound, _) = accepted(router.incoming(Time::ZERO, peer(2), remote("127.0.0.1"), false, true));
    let (has_it, _) = accepted(router.incoming(Time::ZERO, peer(3), remote("127.0.0.1"), false, true));
    let dial = router.start_dial(Time::ZERO, peer(4)).unwrap();
    let (dialed, _) = accepted(router.dial_authenticated(Time::ZERO + SECOND, dial, remote("127.0.0.1"), true));
    router.peer_tip(peer(3), tip);
    assert_eq!(router.offer_tip(&tip), [dialed, inbound, has_it]);
}

#[test]
fn an_item_is_asked_of_a_peer_that_offered_it_and_is_still_there() {
    let mut router = router_of(1, &[]);
    let item = ItemKey::Transaction(TransactionHash([5; 32]));
    assert_eq!(router.choose_peer(Some(&item)), None);
    accepted(router.incoming(Time::ZERO, peer(2), remote("127.0.0.1"), false, true));
    let (third, _) = accepted(router.incoming(Time::ZERO, peer(3), remote("127.0.0.1"), false, true));
    accepted(router.incoming(Time::ZERO, peer(4), remote("127.0.0.1"), false, true));
    assert!(router.offered(peer(3), item.clone()));
    assert!(!router.offered(peer(4), item.clone()));
    assert_eq!(router.choose_peer(Some(&item)), Some(peer(3)));
    router.disconnected(Time::ZERO, peer(3), third);
    assert_eq!(router.choose_peer(Some(&item)), Some(peer(4)));
    assert_eq!(router.settled(&item), Some(peer(4)));
    assert_eq!(router.choose_peer(Some(&item)), Some(peer(2)), "the one connected longest");
}

#[test]
fn offers_are_bounded_and_the_oldest_give_way() {
    let mut offers = Offers::default();
    let item = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        ItemKey::Transaction(TransactionHash(bytes))
    };
    for n in 0..OFFERS_MAX {
        assert!(offers.add(peer(1), item(n)));
    }
    // Offered anew after it was settled, it is young again.
    offers.remove(&item(0));
    offers.add(peer(2), item(0));
    offers.add(peer(1), item(OFFERS_MAX));
    assert_eq!(offers.peers(&item(0)), [peer(2)]);
    assert_eq!(offers.peers(&item(1)), [], "gave way");
    assert_eq!(offers.peers(&item(2)), [peer(1)]);
    for n in 2..10 {
        offers.add(peer(n), item(4));
    }
    assert_eq!(offers.peers(&item(4)).len(), OFFERS_PER_ITEM);
}

#[test]
fn between_ours_and_an_existing_node_its_dial_is_accepted_and_our_own_gives_way_whatever_the_ids() {
    for (own, theirs) in [(1, 2), (2, 1)] {
        let mut router = router_of(own, &[]);
        let dial = router.start_dial(Time::ZERO, peer(theirs)).unwrap();
        assert_eq!(router.dial_of(peer(theirs)), Some(dial));
        let (id, _) = accepted(router.incoming(Time::ZERO, peer(theirs), remote("10.0.0.2"), false, false));
        let ours = router.dial_authenticated(Time::ZERO, dial, remote("10.0.0.2"), false);
        assert_eq!(ours, Admission::Refuse(Refusal::Duplicate));
        assert_eq!(router.connection(peer(theirs)), Some(id));
        assert_eq!(router.dial_of(peer(theirs)), None);
    }
}

#[test]
fn our_dial_that_is_ended_for_an_existing_nodes_was_to_be_expected() {
    let mut router = router_of(2, &[]);
    let dial = router.start_dial(Time::ZERO, peer(1)).unwrap();
    accepted(router.incoming(Time::ZERO, peer(1), remote("10.0.0.2"), false, false));
    assert!(router.dial_failed(Time::ZERO, dial));
}

#[test]
fn an_existing_node_that_dials_beside_our_dial_keeps_ours_if_that_lives() {
    for (own, theirs) in [(1, 2), (2, 1)] {
        let mut router = router_of(own, &[]);
        let dial = router.start_dial(Time::ZERO, peer(theirs)).unwrap();
        let (id, _) = accepted(router.dial_authenticated(Time::ZERO, dial, remote("10.0.0.2"), false));
        let crossed = router.incoming(Time::ZERO, peer(theirs), remote("10.0.0.2"), false, false);
        assert_eq!(crossed, Admission::Probe { existing: id });
        // It does not: what it has dropped does not answer.
        router.disconnected(Time::ZERO, peer(theirs), id);
        accepted(router.incoming(Time::ZERO, peer(theirs), remote("10.0.0.2"), false, false));
    }
}

#[test]
fn a_configured_peer_is_dialed_by_all_its_addresses_in_the_configured_order() {
    let config = RouterConfig {
        own: peer(1),
        slots: SlotLimits::default(),
        initial_peers: vec![quic(2, 1), quic(3, 1), quic(2, 2), quic(2, 1)],
        relay: Default::default(),
        discover_peers: 0,
        take_offers: false,
        introduce: false,
        seed: 0,
    };
    let mut router = Router::new(config, Time::ZERO);
    let due = router.due_dial(Time::ZERO);
    assert_eq!(due, Some(Dial { peer: peer(2), addresses: vec![quic(2, 1), quic(2, 2)] }));
    assert_eq!(router.due_dial(Time::ZERO), Some(Dial { peer: peer(3), addresses: vec![quic(3, 1)] }));
}

#[test]
fn what_a_configured_peer_announces_is_dialed_too_and_replaced_by_what_it_announces_next() {
    let mut router = router_of(1, &[2]);
    let next = |router: &mut Router| {
        let mut now = Time::ZERO;
        loop {
            match router.due_dial(now) {
                Some(due) => return due.addresses,
                None => now = router.next_dial_at().unwrap(),
            }
        }
    };
    // Others' addresses, repetitions and what is configured do not count; more than four are too many.
    let announced =
        vec![quic(3, 1), address(2), quic(2, 1), quic(2, 1), quic(2, 2), quic(2, 3), quic(2, 4), quic(2, 5)];
    router.learned(peer(2), announced);
    assert_eq!(next(&mut router), [address(2), quic(2, 1), quic(2, 2), quic(2, 3), quic(2, 4)]);
    router.learned(peer(2), vec![quic(2, 9)]);
    assert_eq!(next(&mut router), [address(2), quic(2, 9)]);
    router.learned(peer(3), vec![quic(3, 1)]);
    assert_eq!(next(&mut router), [address(2), quic(2, 9)], "who is not configured is not dialed");
}
