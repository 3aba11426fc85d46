//! Any network: honest nodes with any pools, links of any delay that break and come again, and nodes that lie in what
//! they send. Every honest node that honest links join to the block's producer gets it, and no honest node is blamed by
//! another honest one.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::relay::{UNFINISHED_MAX, UNJUDGED_MAX};
use mina_p2p_wire::Channel;
use mina_p2p_wire::message::{BlockAnswer, CompactMessage, ExtensionMessage, ItemsRoot};
use proptest::prelude::*;

use crate::random::Random;
use crate::things::{fill, known};
use crate::world::{User, World};

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

const SECOND: Duration = Duration::from_secs(1);

/// Changes a byte, somewhere.
fn disturbed(random: &mut Random, bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 + random.below(255) as u8;
    }
    bytes.into()
}

fn lie_in_list(random: &mut Random, list: &mut mina_p2p_wire::message::ItemList) {
    match random.below(7) {
        0 => list.root = ItemsRoot([random.next() as u8; 32]),
        1 => list.skeleton = disturbed(random, &list.skeleton),
        2 if !list.short_ids.is_empty() => {
            let at = random.below(list.short_ids.len());
            list.short_ids[at] = [random.next() as u8; 6];
        }
        3 if list.short_ids.len() > 1 => {
            let at = random.below(list.short_ids.len() - 1);
            list.short_ids.swap(at, at + 1);
        }
        4 if !list.prefilled.is_empty() => {
            let at = random.below(list.prefilled.len());
            list.prefilled[at].1 = disturbed(random, &list.prefilled[at].1);
        }
        5 => drop(list.short_ids.pop()),
        6 => list.nonce[0] ^= 1,
        _ => {}
    }
}

/// What a liar sends instead.
fn lie(random: &mut Random, channel: Channel, body: Bytes) -> Option<Bytes> {
    match channel {
        Channel::CompactBlock => {
            let mut message = CompactMessage::decode(body.clone()).unwrap().value;
            match &mut message {
                CompactMessage::Permit { .. } | CompactMessage::Change { .. } => return Some(body),
                _ if random.one_in(4) => return Some(body),
                _ if random.one_in(8) => return None,
                CompactMessage::Announce(announcement) => match random.below(4) {
                    0 => announcement.root = Some(ItemsRoot([random.next() as u8; 32])),
                    1 => announcement.root = None,
                    2 => announcement.key.0[0] ^= 1,
                    _ => announcement.state_hash = Some(mina_p2p_wire::StateHash([random.next() as u8; 32])),
                },
                CompactMessage::Header(header) => *header = disturbed(random, header),
                CompactMessage::List { list, .. } | CompactMessage::Compact { list, .. } => lie_in_list(random, list),
            }
            Some(message.encode().into_bytes())
        }
        Channel::ExtensionRpc => {
            let ExtensionMessage::Response { id, result: Ok(answer) } =
                ExtensionMessage::decode(body.clone()).unwrap().value
            else {
                return Some(body);
            };
            if random.one_in(4) {
                return Some(body);
            }
            // Silence.
            if random.one_in(4) {
                return None;
            }
            let mut answer = BlockAnswer::decode(answer).unwrap();
            match &mut answer {
                _ if random.one_in(5) => answer = BlockAnswer::NotHere,
                _ if random.one_in(5) => answer = BlockAnswer::OtherRoot,
                _ if random.one_in(10) => answer = BlockAnswer::Chunk(Bytes::from(random.bytes(100))),
                BlockAnswer::Items { items, proof } => match random.below(4) {
                    0 => drop(items.pop()),
                    1 => drop(proof.pop()),
                    2 => proof.iter_mut().for_each(|hash| hash[0] ^= 1),
                    _ => items[0] = disturbed(random, &items[0]),
                },
                BlockAnswer::Compact { list, .. } => lie_in_list(random, list),
                BlockAnswer::Ids(ids) => drop(ids.pop()),
                BlockAnswer::Chunk(chunk) | BlockAnswer::Header(chunk) => *chunk = disturbed(random, chunk),
                BlockAnswer::NotHere | BlockAnswer::OtherRoot => {}
            }
            Some(ExtensionMessage::Response { id, result: Ok(answer.encode()) }.encode().into_bytes())
        }
        _ => Some(body),
    }
}

/// Answers the trace, and what the nodes have.
fn run(seed: u64) -> (u64, usize) {
    let mut random = Random::new(seed);
    let nodes = 3 + random.below(6);
    let liars: BTreeSet<usize> = (1..nodes).filter(|_| random.one_in(4)).collect();
    let mut world = World::new(seed, nodes, User::AcceptsHeaders(Duration::ZERO));
    for node in 0..nodes {
        world.nodes[node].user = match random.below(3) {
            0 => User::AcceptsHeaders(Duration::ZERO),
            1 => User::AcceptsHeaders(Duration::from_millis(random.below(3000) as u64)),
            _ => User::AcceptsBlocks(Duration::from_millis(random.below(3000) as u64)),
        };
        world.nodes[node].sets_tips = true;
        world.nodes[node].lie = liars.contains(&node).then_some(lie as crate::world::Lie);
        world.nodes[node].is_plain = random.one_in(12);
    }
    let mut links = BTreeSet::new();
    for node in 1..nodes {
        links.insert((node, random.below(node)));
        links.extend((0..node).filter(|_| random.one_in(3)).map(|other| (other, node)));
    }
    let links: Vec<_> = links.into_iter().filter(|(one, other)| one > other || random.one_in(2)).collect();
    for (from, to) in &links {
        let longest = if random.one_in(5) { 700 } else { 100 };
        let delay = Duration::from_millis(random.below(longest) as u64);
        world.connect(*from, *to, delay);
    }
    world.run(SECOND);
    let producer = 0;
    let count = 1 + random.below(3);
    for number in 0..count {
        let (works, commands) = if random.one_in(3) { (12, 4) } else { (random.below(3), random.below(60)) };
        let block = known(seed ^ (number as u64) << 32, works, commands);
        let share = random.below(5);
        for node in 0..nodes {
            let spread = random.next() as usize % 97;
            fill(&mut world.nodes[node].pools, &block, |place| (place * 31 + spread) % 4 < share);
        }
        world.offer_pools();
        world.set_tip(producer, &block);
        for link in &links {
            if random.one_in(6) {
                let after = Duration::from_millis(random.below(3000) as u64);
                world.disconnect_at(after, *link);
                world.connect_at(after + Duration::from_millis(500), *link, Duration::from_millis(20));
            }
        }
        world.run(Duration::from_millis(random.below(8000) as u64));
    }
    world.run(100 * SECOND);

    for (by, of, what) in &world.blamed {
        // Who lies gets answers to what it did not mean to say.
        assert!(liars.contains(of) || liars.contains(by), "seed {seed}: {by} blames {of}: {what}");
    }
    // All that honest links join to the producer.
    let mut joined = BTreeSet::from([producer]);
    for _ in 0..nodes {
        for one in 0..nodes {
            let honest = |node: &usize| !liars.contains(node);
            if honest(&one) && joined.iter().any(|other| honest(other) && world.are_connected(one, *other)) {
                joined.insert(one);
            }
        }
    }
    let blocks: Vec<_> = world.blocks.keys().copied().collect();
    for node in joined {
        for key in &blocks {
            let got = world.nodes[node].got.contains_key(key);
            // A plain node gets tips only: the one before may have been overtaken.
            let may_miss = world.nodes.iter().any(|node| node.is_plain)
                && world.nodes[producer].pools.tip.as_ref().unwrap().key != *key;
            assert!(got || may_miss, "seed {seed}: honest node {node} of {nodes} lacks {key}; liars {liars:?}");
        }
        assert_eq!(world.nodes[node].router.relay.pending(), 0, "seed {seed}");
    }
    assert!(world.most_tracked <= UNJUDGED_MAX + UNFINISHED_MAX);
    (world.trace, world.bytes)
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn every_honest_node_gets_every_block_and_none_is_blamed(seed: u64) {
        run(seed);
    }
}

#[test]
fn a_network_with_liars_gives_the_same_outputs_for_the_same_inputs() {
    for seed in 0..2 {
        assert_eq!(run(seed), run(seed));
    }
}
