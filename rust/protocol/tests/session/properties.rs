//! What holds between honest sessions, however their messages are delayed and interleaved.

use proptest::prelude::*;

use crate::lone::Peer;
use crate::world::World;

/// So many cases, unless `PROPTEST_CASES` says otherwise.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// Lives through `steps`, comes to rest, and has converged. The world itself checks that no session meets a violation or
/// holds more than it may.
fn live(seed: u64, nodes: usize, steps: usize, kind: Option<Peer>) -> World {
    let mut world = World::new(seed, nodes, kind);
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    world.agree_on_a_tip();
    world.settle();
    world.assert_converged();
    world
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn honest_nodes_of_any_kind_converge(seed: u64, nodes in 2..=8usize, steps in 0..1500usize) {
        live(seed, nodes, steps, None);
    }

    #[test]
    fn two_nodes_converge_over_streams_of_one_role(seed: u64, steps in 0..3000usize) {
        live(seed, 2, steps, Some(Peer::Quic));
    }

    #[test]
    fn two_nodes_converge_over_shared_streams(seed: u64, steps in 0..3000usize) {
        live(seed, 2, steps, Some(Peer::Rtc));
    }

    #[test]
    fn two_nodes_converge_by_the_rules_of_the_existing_node(seed: u64, steps in 0..3000usize) {
        live(seed, 2, steps, Some(Peer::Old));
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn the_same_seed_gives_the_same_trace(seed: u64, nodes in 2..=5usize) {
        let first = live(seed, nodes, 1000, None);
        let second = live(seed, nodes, 1000, None);
        prop_assert_eq!(first.trace, second.trace);
        prop_assert_eq!(first.most_held, second.most_held);
        let other = live(seed ^ 1, nodes, 1000, None);
        prop_assert_ne!(first.trace, other.trace);
    }
}

/// The properties say nothing if nothing happens.
#[test]
fn much_happens_in_a_world() {
    let world = live(7, 4, 4000, None);
    let [asked, answered, failed] = world.outcomes;
    assert!(asked > 300 && answered > 200 && failed > 0, "{:?}", world.outcomes);
    assert!(world.users[0].contents().len() > 50);
}
