//! The channel's own rules: one session whose peer the test plays.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{
    ADVANCES_MAX, Event, Lanes, News, Output, Pools, Rule, Session, SessionConfig, SessionLimits, TOLD_MAX, Time,
    shared_stream,
};
use mina_p2p_wire::message::{
    Announcement, BlockQuery, Capabilities, CompactMessage, MAX_ANNOUNCEMENT_LEN, MAX_COMPACT_LEN,
};
use mina_p2p_wire::{BlockKey, Channel, Role, StreamId};

use crate::things::{fill, known, list, pool, tip};

struct Lone {
    session: Session,
    pools: Pools,
    lanes: Lanes,
    sent: VecDeque<CompactMessage>,
    news: Vec<(News, bool)>,
    opened: bool,
}

const NOW: Time = Time(Duration::from_secs(100));

impl Lone {
    fn new(lanes: Lanes) -> Lone {
        Lone::with(lanes, compact(), compact())
    }

    fn with(lanes: Lanes, capabilities: Capabilities, own_capabilities: Capabilities) -> Lone {
        let config = SessionConfig {
            peer: crate::things::peer(1),
            ours: true,
            capabilities,
            own_capabilities,
            lanes,
            limits: SessionLimits::default(),
            extension_rpcs: Vec::new(),
            introduce: false,
            take_offers: false,
            seed: 5,
        };
        let (sent, news) = (VecDeque::new(), Vec::new());
        Lone { session: Session::new(config, NOW), pools: Pools::default(), lanes, sent, news, opened: false }
    }

    fn drain(&mut self) {
        self.session.pump(NOW, &self.pools);
        loop {
            match self.session.poll_output() {
                Output::Transmit(sent) if sent.stream.channel == Channel::CompactBlock => {
                    self.sent.push_back(CompactMessage::decode(sent.frame.into_bytes()).unwrap().value);
                }
                Output::Event(Event::BlockNews { news, used_permit }) => self.news.push((news, used_permit)),
                Output::Timeout { .. } | Output::Idle => return,
                _ => {}
            }
        }
    }

    /// The peer sends a message to the half of ours that has this role.
    fn receive(&mut self, role: Role, message: &CompactMessage) -> Result<(), Rule> {
        let body = message.encode().into_bytes();
        self.head(role, body.len() as u32)?;
        let stream = self.stream(role);
        self.session.handle_message(NOW, stream, body).map_err(|violation| violation.rule)?;
        self.drain();
        Ok(())
    }

    fn stream(&self, role: Role) -> StreamId {
        match self.lanes {
            Lanes::PerRole => StreamId { channel: Channel::CompactBlock, role, request: 0 },
            Lanes::Shared => shared_stream(Channel::CompactBlock),
        }
    }

    fn head(&mut self, role: Role, len: u32) -> Result<(), Rule> {
        let stream = self.stream(role);
        if role == Role::Server && self.lanes == Lanes::PerRole && !self.opened {
            self.opened = true;
            self.session.handle_stream_opened(NOW, stream).map_err(|violation| violation.rule)?;
        }
        self.session.handle_frame_head(NOW, stream, len).map_err(|violation| violation.rule)
    }

    fn permit(&mut self, max_len: u32) {
        self.session.permit_block(NOW, max_len);
        self.drain();
    }

    fn change(&mut self, max_len: u32) {
        self.session.change_block_permit(NOW, max_len);
        self.drain();
    }

    /// The peer tells us.
    fn told(&mut self, message: &CompactMessage) -> Result<(), Rule> {
        self.receive(Role::Puller, message)
    }

    /// The peer permits us.
    fn permitted(&mut self, message: &CompactMessage) -> Result<(), Rule> {
        self.receive(Role::Server, message)
    }
}

fn compact() -> Capabilities {
    Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC | Capabilities::COMPACT_BLOCKS
}

const BOTH: [Lanes; 2] = [Lanes::PerRole, Lanes::Shared];

fn announce(number: u32, root: bool) -> CompactMessage {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let root = root.then_some(mina_p2p_wire::message::ItemsRoot([1; 32]));
    CompactMessage::Announce(Announcement { key: BlockKey(key), height: number, state_hash: None, root })
}

fn whole(known: &mina_p2p_block::KnownBlock, prefill: &[u32]) -> CompactMessage {
    CompactMessage::Compact { header: known.header(), list: list(known, prefill) }
}

#[test]
fn nothing_comes_without_a_permit_and_one_thing_with_it() {
    let block = known(1, 0, 3);
    let list_alone = CompactMessage::List { key: block.key, list: list(&block, &[]) };
    for lanes in BOTH {
        for message in
            [announce(1, false), announce(1, true), CompactMessage::Header(block.header()), whole(&block, &[])]
        {
            let mut lone = Lone::new(lanes);
            lone.drain();
            let refused = lone.told(&message).unwrap_err();
            let small = message.encode().len() <= 20;
            assert!(small || matches!(refused, Rule::NewsWithoutPermit | Rule::FrameTooLong { .. }), "{refused:?}");

            let mut lone = Lone::new(lanes);
            lone.permit(64 * 1024);
            lone.told(&message).unwrap();
            assert!(matches!(lone.news[..], [(_, true)]));
            assert!(!lone.session.figures().permits_out.block);
            let again = lone.told(&announce(2, false)).unwrap_err();
            assert!(matches!(again, Rule::NewsWithoutPermit | Rule::FrameTooLong { .. }), "{again:?}");
        }
        let mut lone = Lone::new(lanes);
        lone.permit(64 * 1024);
        assert!(matches!(lone.told(&list_alone), Err(Rule::ListWithoutHeader)));
    }
}

#[test]
fn a_permit_to_announce_is_for_no_header() {
    let block = known(1, 0, 3);
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(0);
    assert!(matches!(lone.head(Role::Puller, block.header().len() as u32), Err(Rule::FrameTooLong { .. })));
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(0);
    assert_eq!(lone.head(Role::Puller, MAX_ANNOUNCEMENT_LEN as u32), Ok(()));
}

#[test]
fn three_megabytes_on_a_permit_of_64_kib_are_refused_at_the_head() {
    for lanes in BOTH {
        for len in [64 * 1024 + 1, MAX_COMPACT_LEN as u32, 3_000_000, u32::MAX] {
            let mut lone = Lone::new(lanes);
            lone.permit(64 * 1024);
            assert_eq!(lone.head(Role::Puller, 64 * 1024), Ok(()));
            assert_eq!(lone.head(Role::Puller, len), Err(Rule::FrameTooLong { len, allowed: 64 * 1024 }));
        }
    }
}

#[test]
fn news_that_is_repeated_ends_the_session() {
    let block = known(1, 0, 3);
    for (first, second) in [
        (announce(1, false), announce(1, false)),
        (announce(1, true), announce(1, true)),
        (CompactMessage::Header(block.header()), CompactMessage::Header(block.header())),
        (CompactMessage::Header(block.header()), whole(&block, &[])),
        (whole(&block, &[]), whole(&block, &[1])),
    ] {
        let mut lone = Lone::new(Lanes::PerRole);
        lone.permit(64 * 1024);
        lone.told(&first).unwrap();
        lone.permit(64 * 1024);
        for number in 100..100 + TOLD_MAX as u32 - 1 {
            lone.told(&announce(number, false)).unwrap();
            lone.permit(64 * 1024);
        }
        assert!(matches!(lone.told(&second), Err(Rule::NewsRepeated { .. })), "{second:?}");
    }
}

#[test]
fn what_was_told_long_ago_may_be_told_again() {
    let mut lone = Lone::new(Lanes::PerRole);
    for number in 0..=TOLD_MAX as u32 {
        lone.permit(0);
        lone.told(&announce(number, false)).unwrap();
    }
    lone.permit(0);
    lone.told(&announce(0, false)).unwrap();
}

#[test]
fn an_advance_comes_once_without_a_permit_and_only_for_the_last_eight() {
    let mut lone = Lone::new(Lanes::PerRole);
    for number in 0..=ADVANCES_MAX as u32 {
        lone.permit(0);
        lone.told(&announce(number, false)).unwrap();
    }
    lone.news.clear();
    for number in (1..=ADVANCES_MAX as u32).rev() {
        lone.told(&announce(number, true)).unwrap();
    }
    assert_eq!(lone.news.len(), ADVANCES_MAX);
    assert!(lone.news.iter().all(|(_, used_permit)| !used_permit));
    assert_eq!(lone.told(&announce(3, true)), Err(Rule::NewsWithoutPermit));

    let mut lone = Lone::new(Lanes::PerRole);
    for number in 0..=ADVANCES_MAX as u32 {
        lone.permit(0);
        lone.told(&announce(number, false)).unwrap();
    }
    assert_eq!(lone.told(&announce(0, true)), Err(Rule::NewsWithoutPermit));
}

#[test]
fn a_list_after_a_header_is_as_long_as_the_header_s_permit_at_most() {
    let block = known(1, 0, 60);
    let everything: Vec<u32> = (0..60).collect();
    let short = CompactMessage::List { key: block.key, list: list(&block, &[]) };
    let long = CompactMessage::List { key: block.key, list: list(&block, &everything) };
    let permit = block.header().len() as u32 + 10;
    assert!(short.encode().len() < permit as usize && long.encode().len() > permit as usize + 500);
    for lanes in BOTH {
        let mut lone = Lone::new(lanes);
        lone.permit(permit);
        lone.told(&CompactMessage::Header(block.header())).unwrap();
        lone.told(&short).unwrap();
        assert!(matches!(lone.news[..], [(_, true), (News::List { .. }, false)]));
        assert!(lone.told(&short).is_err(), "once");

        let mut lone = Lone::new(lanes);
        lone.permit(permit);
        lone.told(&CompactMessage::Header(block.header())).unwrap();
        let refused = lone.told(&long);
        assert_eq!(refused, Err(Rule::FrameTooLong { len: long.encode().len() as u32, allowed: permit }));

        // A longer permit for the next block does not lengthen it.
        let mut lone = Lone::new(lanes);
        lone.permit(permit);
        lone.told(&CompactMessage::Header(block.header())).unwrap();
        lone.permit(MAX_COMPACT_LEN as u32);
        assert!(matches!(lone.told(&long), Err(Rule::FrameTooLong { .. })));
    }
}

#[test]
fn an_announcement_is_followed_by_no_list() {
    let block = known(1, 0, 3);
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(64 * 1024);
    let announced = Announcement { key: block.key, height: 1, state_hash: None, root: None };
    lone.told(&CompactMessage::Announce(announced)).unwrap();
    let list = CompactMessage::List { key: block.key, list: list(&block, &[]) };
    assert!(matches!(lone.told(&list), Err(Rule::FrameTooLong { .. })));
}

#[test]
fn headers_that_are_none_end_the_session() {
    let block = known(1, 0, 3);
    let mut trailing = block.header().to_vec();
    trailing.push(0);
    for bytes in [Bytes::new(), block.header().slice(1..), trailing.into(), Bytes::from_static(&[7; 100])] {
        let mut lone = Lone::new(Lanes::PerRole);
        lone.permit(64 * 1024);
        assert!(matches!(lone.told(&CompactMessage::Header(bytes)), Err(Rule::MalformedHeader(_))));
    }
}

#[test]
fn a_permit_while_one_is_out_and_a_change_of_none_end_the_session() {
    let change = |permit| CompactMessage::Change { permit, max_len: 7 };
    for lanes in BOTH {
        let mut lone = Lone::new(lanes);
        lone.permitted(&CompactMessage::Permit { max_len: 0 }).unwrap();
        lone.permitted(&change(0)).unwrap();
        assert_eq!(lone.permitted(&CompactMessage::Permit { max_len: 0 }), Err(Rule::PermitRepeated));
        for permit in [1, 2, u64::MAX] {
            let mut lone = Lone::new(lanes);
            lone.permitted(&CompactMessage::Permit { max_len: 0 }).unwrap();
            assert_eq!(lone.permitted(&change(permit)), Err(Rule::ChangeOfNoPermit { permit }));
        }
        let mut lone = Lone::new(lanes);
        assert_eq!(lone.permitted(&change(0)), Err(Rule::ChangeOfNoPermit { permit: 0 }));
    }
}

#[test]
fn a_change_that_crosses_the_use_of_its_permit_means_nothing() {
    let block = known(1, 0, 3);
    // We serve: the change is of a permit that we have used.
    let mut lone = Lone::new(Lanes::PerRole);
    lone.pools.set_tip(tip(&block));
    lone.permitted(&CompactMessage::Permit { max_len: 64 * 1024 }).unwrap();
    assert!(matches!(lone.sent.pop_back(), Some(CompactMessage::Compact { .. })));
    lone.permitted(&CompactMessage::Change { permit: 0, max_len: 0 }).unwrap();
    lone.permitted(&CompactMessage::Permit { max_len: 64 * 1024 }).unwrap();
    lone.pools.set_tip(tip(&known(2, 0, 3)));
    lone.drain();
    assert!(matches!(lone.sent.pop_back(), Some(CompactMessage::Compact { .. })), "the second is as long as it was");

    // We pull: the permit was shortened, and used before the peer knew.
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(64 * 1024);
    lone.change(0);
    lone.change(100);
    assert_eq!(lone.sent.len(), 3);
    assert_eq!(lone.sent[2], CompactMessage::Change { permit: 0, max_len: 100 });
    lone.told(&whole(&block, &[])).unwrap();
    // A change that comes too late is no permit.
    lone.change(64 * 1024);
    assert_eq!((lone.sent.len(), lone.session.figures().permits_out.block), (3, false));
    // The next permit is for what it says.
    lone.permit(0);
    assert!(matches!(lone.told(&whole(&known(2, 0, 3), &[])), Err(Rule::FrameTooLong { .. })));
}

#[test]
fn a_change_decides_what_is_told() {
    let block = known(1, 0, 3);
    for (first, then) in [(0, 64 * 1024), (64 * 1024, 0)] {
        let mut lone = Lone::new(Lanes::PerRole);
        lone.permitted(&CompactMessage::Permit { max_len: first }).unwrap();
        lone.permitted(&CompactMessage::Change { permit: 0, max_len: then }).unwrap();
        lone.pools.set_tip(tip(&block));
        lone.drain();
        let told = lone.sent.pop_back().unwrap();
        assert_eq!(matches!(told, CompactMessage::Announce(_)), then == 0, "{told:?}");
        assert_eq!(matches!(told, CompactMessage::Compact { .. }), then > 0, "{told:?}");
    }
}

#[test]
fn nothing_is_told_without_a_permit_and_never_more_than_it_is_for() {
    let block = known(1, 4, 40);
    let mut lone = Lone::new(Lanes::PerRole);
    lone.drain();
    fill(&mut lone.pools, &block, |_| true);
    lone.pools.set_tip(tip(&block));
    lone.drain();
    assert!(lone.sent.is_empty());
    for max_len in [0, 1, 500, 12_000, 13_000, 14_000, 20_000, 64 * 1024, 200_000, u32::MAX] {
        let mut lone = Lone::new(Lanes::PerRole);
        fill(&mut lone.pools, &block, |_| true);
        lone.pools.set_tip(tip(&block));
        lone.permitted(&CompactMessage::Permit { max_len }).unwrap();
        let told = lone.sent.pop_back().unwrap();
        let len = told.encode().len();
        assert!(len <= (max_len as usize).max(MAX_ANNOUNCEMENT_LEN), "{len} for {max_len}");
        assert!(len <= MAX_COMPACT_LEN || max_len == u32::MAX);
        assert!(lone.sent.is_empty());
    }
}

#[test]
fn what_a_peer_told_us_is_not_told_to_it() {
    let block = known(1, 0, 3);
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(64 * 1024);
    lone.told(&whole(&block, &[])).unwrap();
    lone.sent.clear();
    lone.permitted(&CompactMessage::Permit { max_len: 64 * 1024 }).unwrap();
    lone.pools.set_tip(tip(&block));
    lone.drain();
    assert!(lone.sent.is_empty());
    lone.pools.set_tip(tip(&known(2, 0, 3)));
    lone.drain();
    assert_eq!(lone.sent.len(), 1, "its permit is as good as before");
}

#[test]
fn the_channel_is_refused_unless_both_announced_it() {
    let without = Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC;
    let not_without_rpc = Capabilities::POOLS_UNGATED | Capabilities::COMPACT_BLOCKS;
    for (theirs, own) in [(without, compact()), (compact(), without), (not_without_rpc, compact())] {
        for lanes in BOTH {
            let mut lone = Lone::with(lanes, theirs, own);
            assert!(!lone.session.speaks_compact());
            lone.permit(64 * 1024);
            assert!(lone.sent.is_empty());
            let refused = lone.permitted(&CompactMessage::Permit { max_len: 0 });
            assert_eq!(refused, Err(Rule::ChannelNotSupported));
            let query = BlockQuery::Compact { key: BlockKey([0; 32]), with_header: true };
            let answer = lone.session.answer_block_query(&lone.pools, query.method(), query.encode(), 1000);
            assert!(answer.is_none());
        }
    }
}

#[test]
fn the_halves_do_not_take_each_other_s_messages() {
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(64 * 1024);
    assert_eq!(lone.told(&CompactMessage::Permit { max_len: 0 }), Err(Rule::WrongRole));
    let mut lone = Lone::new(Lanes::PerRole);
    lone.permit(64 * 1024);
    let refused = lone.permitted(&announce(1, false));
    assert!(matches!(refused, Err(Rule::WrongRole | Rule::FrameTooLong { .. })), "{refused:?}");
}

#[test]
fn answers_are_within_what_the_asker_accepts() {
    let block = known(1, 4, 40);
    let mut lone = Lone::new(Lanes::PerRole);
    (0..20).for_each(|place| pool(&mut lone.pools, &block, place, None));
    lone.pools.set_tip(tip(&block));
    lone.drain();
    let (key, root) = (block.key, block.root);
    let queries = [
        BlockQuery::Compact { key, with_header: true },
        BlockQuery::Compact { key, with_header: false },
        BlockQuery::Items { key, root, places: (0..44).collect() },
        BlockQuery::Items { key, root, places: vec![43, 99] },
        BlockQuery::Items { key, root, places: vec![8191] },
        BlockQuery::Ids { key, root },
        BlockQuery::Chunk { key, index: 0 },
        BlockQuery::Chunk { key, index: u32::MAX },
        BlockQuery::Compact { key: BlockKey([1; 32]), with_header: true },
    ];
    for query in queries {
        for max in [40, 300, 1000, 13_000, 30_000, 100_000, 1_000_000] {
            let answer = lone.session.answer_block_query(&lone.pools, query.method(), query.encode(), max);
            let len = answer.unwrap().encode().unwrap().len();
            assert!(len <= max as usize, "{len} bytes where {max} are accepted: {query:?}");
        }
    }
}

#[test]
fn a_permit_for_more_than_a_message_may_be_is_for_that_much() {
    let block = known(1, 60, 10);
    let permits =
        [CompactMessage::Permit { max_len: u32::MAX }, CompactMessage::Change { permit: 0, max_len: u32::MAX }];
    for first in [&permits[..1], &[CompactMessage::Permit { max_len: 0 }, permits[1].clone()]] {
        let mut lone = Lone::new(Lanes::PerRole);
        // All of it was never offered to the peer, and would be prefilled: 1.4 MB.
        fill(&mut lone.pools, &block, |_| true);
        for message in first {
            lone.permitted(message).unwrap();
        }
        lone.pools.set_tip(tip(&block));
        lone.drain();
        let told = lone.sent.pop_back().unwrap();
        assert!(matches!(&told, CompactMessage::Compact { list, .. } if !list.prefilled.is_empty()));
        assert!(told.encode().len() <= MAX_COMPACT_LEN, "{}", told.encode().len());
    }
}
