//! Many honest nodes: every node gets every block byte for byte, at little cost, and nobody is blamed.

use std::time::Duration;

use mina_p2p_block::{KnownBlock, generate};
use mina_p2p_protocol::relay::Via;
use mina_p2p_wire::Channel;
use mina_p2p_wire::message::{CompactMessage, MAX_ITEM_LEN};

use crate::things::{fill, known, known_of, pool, state_hash, tip};
use crate::world::{User, World};

const DELAY: Duration = Duration::from_millis(25);
const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: User = User::AcceptsHeaders(Duration::ZERO);

fn line(nodes: usize, user: User) -> World {
    let mut world = World::new(1, nodes, user);
    (1..nodes).for_each(|node| world.connect(node, node - 1, DELAY));
    world.run(SECOND);
    world
}

fn elapsed(world: &World, node: usize, known: &mina_p2p_block::KnownBlock) -> Duration {
    world.nodes[node].got[&known.key].0.saturating_since(world.nodes[0].got[&known.key].0)
}

#[test]
fn along_a_line_with_full_pools_a_block_takes_one_delay_a_node() {
    let block = known(1, 4, 40);
    let mut world = line(6, AT_ONCE);
    for node in &mut world.nodes {
        fill(&mut node.pools, &block, |_| true);
    }
    world.offer_pools();
    world.set_tip(0, &block);
    let before = world.bytes;
    world.run(SECOND);
    world.assert_all_have(&block, 0..6);
    for node in 1..6 {
        let how = world.how(node, &block);
        assert_eq!((how.via, how.hits, how.round_trips), (Via::List, 44, 0));
        let at_most = (DELAY + Duration::from_millis(1)) * node as u32;
        assert!(elapsed(&world, node, &block) <= at_most, "{:?}", elapsed(&world, node, &block));
    }
    let each = (world.bytes - before) / 5;
    assert!(each < block.layout.header.len + 1000, "{each} bytes a node for a block of {}", block.bytes.len());
}

#[test]
fn with_part_of_the_items_or_none_every_node_gets_the_block() {
    let block = known(1, 4, 40);
    for part in [2, 5, usize::MAX] {
        for user in [AT_ONCE, User::AcceptsBlocks(Duration::from_millis(3)), User::AcceptsHeaders(SECOND)] {
            let mut world = line(5, user);
            for (index, node) in world.nodes.iter_mut().enumerate() {
                fill(&mut node.pools, &block, |place| part != usize::MAX && (place + index) % part != 0);
            }
            world.offer_pools();
            world.set_tip(0, &block);
            world.run(10 * SECOND);
            world.assert_all_have(&block, 0..5);
            assert!((1..5).all(|node| world.how(node, &block).via == Via::List));
        }
    }
}

#[test]
fn in_a_ring_with_chords_nobody_is_told_twice_nor_tells_without_a_permit() {
    let mut world = World::new(3, 8, AT_ONCE);
    for node in 0..8 {
        world.connect(node, (node + 1) % 8, DELAY);
        if node < 4 {
            world.connect(node, node + 4, DELAY * 3);
        }
    }
    world.run(SECOND);
    for number in 0..10 {
        let block = known(number, 2, 20);
        for (index, node) in world.nodes.iter_mut().enumerate() {
            fill(&mut node.pools, &block, |place| (place + index) % 7 != 0);
        }
        world.offer_pools();
        world.sent.clear();
        world.set_tip(number as usize % 8, &block);
        world.run(10 * SECOND);
        world.assert_all_have(&block, 0..8);
        for from in 0..8 {
            for to in 0..8 {
                let told = world.told(from, to);
                assert!(told.len() <= 2, "{told:?}");
                if let [_, second] = told[..] {
                    assert!(is_verified(second) && !is_verified(told[0]), "{told:?}");
                }
            }
        }
    }
}

fn is_verified(message: &CompactMessage) -> bool {
    match message {
        CompactMessage::Announce(announcement) => announcement.root.is_some(),
        CompactMessage::List { .. } | CompactMessage::Compact { .. } => true,
        CompactMessage::Header(_) | CompactMessage::Permit { .. } | CompactMessage::Change { .. } => false,
    }
}

#[test]
fn a_header_is_relayed_before_its_body_is_there_and_the_list_follows() {
    let block = known(1, 0, 40);
    let mut world = line(4, AT_ONCE);
    // Only the producer has the items.
    fill(&mut world.nodes[0].pools, &block, |_| true);
    world.offer_pools();
    world.set_tip(0, &block);
    world.run(10 * SECOND);
    world.assert_all_have(&block, 0..4);
    let told = world.told(1, 2);
    let [CompactMessage::Header(_), CompactMessage::List { list, .. }] = told[..] else { panic!("{told:?}") };
    assert_eq!(list.prefilled.len(), 40, "what it lacked, the next lacks too");
    // One question on the first link, and none after it.
    let trips: Vec<_> = (1..4).map(|node| world.how(node, &block).round_trips).collect();
    assert_eq!(trips, [1, 0, 0]);
    assert!(elapsed(&world, 3, &block) <= (DELAY + Duration::from_millis(1)) * 5);
}

#[test]
fn only_who_has_verified_the_body_tells_its_root() {
    // More than fits a direct permit, which is how items come unasked.
    let block = known(1, 5, 0);
    let mut world = World::new(1, 3, AT_ONCE);
    // The second never gets the body: the first does not answer.
    world.nodes[0].lie =
        Some(|_, channel, body| (!matches!(channel, Channel::ExtensionRpc | Channel::Rpc)).then_some(body));
    world.connect(1, 0, DELAY);
    world.connect(2, 1, DELAY);
    world.run(SECOND);
    world.set_tip(0, &block);
    world.run(50 * SECOND);
    let told = world.told(1, 2);
    assert!(matches!(told[..], [CompactMessage::Header(_)]), "{told:?}");
    world.run(60 * SECOND);
    assert_eq!((&world.nodes[1].failed, &world.nodes[2].failed), (&vec![block.key], &vec![block.key]));
    assert_eq!(world.blamed, []);
    // A later block is told of as ever.
    let next = known(2, 0, 10);
    fill(&mut world.nodes[1].pools, &next, |_| true);
    world.set_tip(0, &next);
    world.run(10 * SECOND);
    world.assert_all_have(&next, 0..3);
}

#[test]
fn what_the_peer_was_never_offered_is_prefilled_and_what_it_gave_is_not() {
    let block = known(1, 0, 40);
    let mut world = line(2, AT_ONCE);
    for node in &mut world.nodes {
        fill(&mut node.pools, &block, |place| place < 30);
    }
    world.offer_pools();
    let peer = crate::things::peer(1);
    let producer = &mut world.nodes[0];
    (30..35).for_each(|place| pool(&mut producer.pools, &block, place, None));
    (35..40).for_each(|place| pool(&mut producer.pools, &block, place, Some(peer)));
    (35..40).for_each(|place| pool(&mut world.nodes[1].pools, &block, place, None));
    world.set_tip(0, &block);
    world.run(SECOND);
    world.assert_all_have(&block, 0..2);
    let how = world.how(1, &block);
    assert_eq!((how.hits, how.prefilled, how.fetched), (35, 5, 0), "{how:?}");
}

#[test]
fn peers_that_are_not_direct_pull_what_is_announced() {
    let block = known(1, 2, 20);
    let mut world = World::new(1, 8, AT_ONCE);
    // Seven dialed peers, of whom three are direct.
    (1..8).for_each(|node| world.connect(0, node, DELAY));
    for node in &mut world.nodes {
        fill(&mut node.pools, &block, |place| place != 3);
    }
    world.run(SECOND);
    world.set_tip(7, &block);
    world.run(10 * SECOND);
    world.assert_all_have(&block, 0..8);
    let announced = world.told(7, 0);
    assert!(matches!(announced[..], [CompactMessage::Announce(_)]), "{announced:?}");
    // It was first: the next comes at once.
    let next = known(2, 2, 20);
    world.sent.clear();
    world.set_tip(7, &next);
    world.run(10 * SECOND);
    world.assert_all_have(&next, 0..8);
    let told = world.told(7, 0);
    assert!(matches!(told[..], [CompactMessage::Compact { .. }]), "{told:?}");
}

#[test]
fn forks_re_use_the_items_of_the_last_blocks() {
    let items: Vec<u64> = (0..40).collect();
    let first = known_of(1, &[1, 2], &items);
    let fork = known_of(2, &[2, 1], &items[1..]);
    let mut world = line(3, AT_ONCE);
    world.set_tip(0, &first);
    world.run(10 * SECOND);
    world.set_tip(2, &fork);
    world.run(10 * SECOND);
    world.assert_all_have(&fork, 0..3);
    for node in 0..2 {
        let how = world.how(node, &fork);
        assert_eq!((how.hits, how.round_trips), (41, 0), "{how:?}");
    }
}

#[test]
fn peers_without_the_extension_get_and_give_blocks_whole() {
    let block = known(1, 1, 10);
    let mut world = World::new(1, 4, AT_ONCE);
    world.nodes[1].is_plain = true;
    for (from, to) in [(0, 1), (1, 2), (2, 3)] {
        world.connect(from, to, DELAY);
    }
    world.run(SECOND);
    world.set_tip(0, &block);
    world.run(10 * SECOND);
    world.assert_all_have(&block, 0..4);
    assert_eq!(world.told(0, 1).len() + world.told(1, 2).len(), 0);
    assert_eq!(world.how(3, &block).via, Via::List);
}

#[test]
fn a_new_connection_gets_the_tip_and_what_came_after() {
    let (tip, fork) = (known(1, 1, 10), known(2, 1, 10));
    let mut world = World::new(1, 3, AT_ONCE);
    world.connect(0, 1, DELAY);
    world.set_tip(0, &tip);
    world.run(SECOND);
    world.set_tip(1, &fork);
    world.run(5 * SECOND);
    world.connect(2, 0, DELAY);
    world.run(5 * SECOND);
    world.assert_all_have(&tip, 0..3);
    world.assert_all_have(&fork, 0..3);
}

#[test]
fn a_peer_that_connects_between_a_block_s_verdict_and_the_tip_is_told_of_it() {
    let block = known(1, 1, 10);
    let mut world = World::new(1, 3, AT_ONCE);
    world.connect(0, 1, DELAY);
    world.set_tip(0, &block);
    world.run(5 * SECOND);
    // Node 1 has accepted the block, and has no tip yet.
    assert!(world.nodes[1].pools.tip.is_none());
    world.connect(2, 1, DELAY);
    world.set_tip(1, &block);
    world.run(5 * SECOND);
    world.assert_all_have(&block, 0..3);
}

#[test]
fn a_block_that_left_the_store_and_became_the_tip_again_is_not_told_twice() {
    let block = known(1, 0, 3);
    let mut world = line(2, AT_ONCE);
    world.set_tip(0, &block);
    world.run(SECOND);
    for number in 2..22 {
        world.set_tip(0, &known(number, 0, 3));
        world.run(SECOND);
    }
    assert!(world.nodes[0].pools.blocks.get(&block.key).is_none());
    world.sent.clear();
    world.set_tip(0, &block);
    world.run(5 * SECOND);
    assert_eq!((world.blamed.len(), world.told(0, 1).len()), (0, 0));
    let next = known(50, 0, 3);
    world.set_tip(0, &next);
    world.run(5 * SECOND);
    world.assert_all_have(&next, 0..2);
}

#[test]
fn a_block_whose_user_is_silent_goes_no_further() {
    let block = known(1, 1, 10);
    let mut world = line(3, AT_ONCE);
    world.nodes[1].user = User::IsSilent;
    world.set_tip(0, &block);
    world.run(40 * SECOND);
    world.assert_all_have(&block, 0..2);
    assert!(world.told(1, 2).is_empty() && world.nodes[2].headers.is_empty());
    // Its permit is back: the next is told to it.
    let next = known(2, 1, 10);
    world.set_tip(0, &next);
    world.run(SECOND);
    assert!(world.nodes[1].got.contains_key(&next.key));
}

#[test]
fn blocks_in_quick_succession_all_arrive() {
    let blocks: Vec<_> = (0..6).map(|number| known(number, 0, 10)).collect();
    let mut world = line(4, AT_ONCE);
    for block in &blocks {
        world.set_tip(0, block);
    }
    world.run(10 * SECOND);
    for block in &blocks {
        world.assert_all_have(block, 0..4);
    }
}

#[test]
fn a_large_block_whose_items_nobody_has_is_fetched_from_several_at_once() {
    let block = known(1, 0, 300);
    let mut world = World::new(1, 6, AT_ONCE);
    (1..5).for_each(|node| world.connect(node, 0, DELAY));
    (1..5).for_each(|node| world.connect(5, node, DELAY));
    world.run(SECOND);
    (0..5).for_each(|node| world.set_tip(node, &block));
    world.run(10 * SECOND);
    world.assert_all_have(&block, 0..6);
    assert_eq!(
        world.nodes[5].pools.blocks.by_state_hash(&state_hash(&block.key)).map(|block| block.key),
        Some(block.key)
    );
}

#[test]
fn in_a_network_of_twenty_all_blocks_come_by_lists_and_soon() {
    let mut world = World::new(5, 20, AT_ONCE);
    for node in 1..20 {
        for _ in 0..4 {
            let (to, delay) = (world.random.below(node), Duration::from_millis(10 + world.random.next() % 100));
            if !world.are_connected(node, to) {
                world.connect(node, to, delay);
            }
        }
    }
    for number in 0..3 {
        let block = known(number, 1, 60);
        for (index, node) in world.nodes.iter_mut().enumerate() {
            fill(&mut node.pools, &block, |place| (place + index) % 9 != 0);
        }
        world.offer_pools();
        let (producer, start) = (world.random.below(20), world.now);
        world.set_tip(producer, &block);
        world.run(10 * SECOND);
        world.assert_all_have(&block, 0..20);
        for node in (0..20).filter(|node| *node != producer) {
            assert_eq!(world.how(node, &block).via, Via::List);
            let elapsed = world.nodes[node].got[&block.key].0.saturating_since(start);
            assert!(elapsed < SECOND, "{elapsed:?}");
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut world = World::new(11, 6, AT_ONCE);
        for node in 1..6 {
            world.connect(node, node / 2, DELAY);
        }
        world.connect(5, 0, DELAY);
        for number in 0..4 {
            let block = known(number, 1, 30);
            for (index, node) in world.nodes.iter_mut().enumerate() {
                fill(&mut node.pools, &block, |place| (place + index) % 5 != 0);
            }
            world.set_tip(number as usize, &block);
            world.disconnect_at(DELAY * 2, (2, 1));
            world.connect_at(SECOND, (2, 1), DELAY);
            world.run(2 * SECOND);
        }
        (world.trace, world.bytes)
    };
    let first = run();
    assert!(first.1 > 100_000);
    assert_eq!(first, run());
}

#[test]
fn a_new_connection_gets_a_tip_that_was_set_after_later_blocks_came_or_long_ago() {
    let (older, newer) = (known(1, 1, 4), known(2, 1, 4));
    let mut world = World::new(1, 4, AT_ONCE);
    world.connect(1, 0, DELAY);
    world.set_tip(0, &older);
    world.run(SECOND);
    world.set_tip(0, &newer);
    world.run(SECOND);
    world.connect(2, 0, DELAY);
    world.run(SECOND);
    world.assert_all_have(&newer, [2]);
    world.set_tip(0, &older);
    world.run(SECOND);
    world.assert_all_have(&older, [2]);

    // Sixteen others that the user relays leave the tip where it is.
    for number in 10..30 {
        let block = known(number, 0, 3);
        world.blocks.insert(block.key, block.clone());
        let (now, node) = (world.now, &mut world.nodes[0]);
        node.router.relay.announce(now, &tip(&block), &mut node.pools);
        world.settle(0);
        world.run(SECOND);
    }
    world.connect(3, 0, DELAY);
    world.run(SECOND);
    world.assert_all_have(&older, [3]);
}

#[test]
fn a_block_with_an_item_that_no_answer_can_carry_is_told_whole_and_nobody_is_blamed() {
    let commands = vec![generate::command(1), generate::long_command(MAX_ITEM_LEN + 1)];
    let block = KnownBlock::of(generate::block_of_commands(1, commands)).unwrap();
    let mut world = line(3, AT_ONCE);
    world.set_tip(0, &block);
    world.run(SECOND);
    world.assert_all_have(&block, 0..3);
    assert!(world.told(0, 1).is_empty(), "{:?}", world.told(0, 1));
    assert!(world.are_connected(0, 1) && world.are_connected(1, 2));
}
