//! Peers that answer falsely, or hardly.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::relay::{UNJUDGED_BYTES, Via};
use mina_p2p_protocol::{Answer, RequestFailure, Rule};
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, ExtensionError};

use crate::desk::{Desk, Question, items};
use crate::things::{announced, compacted, fill, header, known, list};

const SECOND: Duration = Duration::from_secs(1);

/// Peer 0 gave a list and is asked for 12 items, of which 1 has told the same root.
fn asked_for_items() -> (mina_p2p_block::KnownBlock, Desk, Vec<u32>) {
    let block = known(1, 2, 10);
    let mut desk = Desk::new(2);
    desk.news(0, compacted(&block));
    desk.news(1, announced(&block, true));
    let Question::Block(BlockQuery::Items { places, .. }) = desk.question(0).what else { panic!() };
    assert_eq!(places.len(), 12);
    (block, desk, places)
}

#[test]
fn false_items_and_proofs_end_the_connection_and_another_is_asked() {
    let (block, _, places) = asked_for_items();
    let other = known(2, 2, 10);
    let BlockAnswer::Items { items: true_items, proof } = items(&block, &places[..6]) else { panic!() };
    let mut longer = proof.clone();
    longer.push([0; 32]);
    let mut wrong = proof.clone();
    wrong[0][0] ^= 1;
    let mut swapped = true_items.clone();
    swapped.swap(4, 5);
    let mut last = true_items.clone();
    *last.last_mut().unwrap() = other.item(6).unwrap();
    let mut more = true_items.clone();
    more.extend(true_items.clone().into_iter().chain(true_items.clone()));
    let false_answers = [
        ("of another block", items(&other, &places[..6])),
        ("one of another block", BlockAnswer::Items { items: last, proof: proof.clone() }),
        ("in another order", BlockAnswer::Items { items: swapped, proof: proof.clone() }),
        ("a false proof", BlockAnswer::Items { items: true_items.clone(), proof: wrong }),
        ("no proof", BlockAnswer::Items { items: true_items.clone(), proof: Vec::new() }),
        ("too long a proof", BlockAnswer::Items { items: true_items.clone(), proof: longer }),
        ("too few for the proof", BlockAnswer::Items { items: true_items[..5].to_vec(), proof: proof.clone() }),
        ("too many", BlockAnswer::Items { items: more, proof: proof.clone() }),
        ("none", BlockAnswer::Items { items: Vec::new(), proof }),
        ("ids", BlockAnswer::Ids(block.ids.clone())),
        ("a chunk", BlockAnswer::Chunk(Bytes::from_static(&[1; 100]))),
        ("a header", BlockAnswer::Header(block.header())),
        ("a list", BlockAnswer::Compact { header: None, list: list(&block, &[]) }),
    ];
    for (what, answer) in false_answers {
        let (block, mut desk, _) = asked_for_items();
        desk.answer_by(0, answer);
        assert_eq!(desk.blamed_peers(), [0], "{what}");
        assert!(matches!(desk.blamed[0].1, Rule::FalseBlock { key, .. } if key == block.key), "{what}");
        desk.answer_honestly(1, &block);
        assert_eq!(desk.assert_got(&block).via, Via::List, "{what}");
        assert_eq!(desk.blamed.len(), 1);
    }
}

#[test]
fn bytes_that_are_no_answer_end_the_connection() {
    for bytes in [&b""[..], &[9], &[4, 0xff], &[0, 0]] {
        let (block, mut desk, _) = asked_for_items();
        let ask = desk.question(0).ask;
        desk.end(ask, Ok(Answer::Extension(Ok(Bytes::copy_from_slice(bytes)))));
        assert_eq!(desk.blamed_peers(), [0], "{bytes:?}");
        desk.answer_honestly(1, &block);
        desk.assert_got(&block);
    }
}

#[test]
fn who_does_not_give_is_not_asked_again_and_not_punished() {
    let without: [Result<Answer, RequestFailure>; 7] = [
        Ok(Answer::Extension(Ok(BlockAnswer::NotHere.encode()))),
        Ok(Answer::Extension(Ok(BlockAnswer::OtherRoot.encode()))),
        Ok(Answer::Extension(Err(ExtensionError::Unknown))),
        Ok(Answer::Extension(Err(ExtensionError::Busy))),
        Ok(Answer::Extension(Err(ExtensionError::Failed("no".to_owned())))),
        Err(RequestFailure::Timeout),
        Err(RequestFailure::Dropped),
    ];
    for answer in without {
        let (block, mut desk, _) = asked_for_items();
        let ask = desk.question(0).ask;
        desk.end(ask, answer.clone());
        assert_eq!(desk.asked_of(0).len(), 0, "{answer:?}");
        desk.answer_honestly(1, &block);
        assert_eq!(desk.assert_has(&block).via, Via::List);
    }
}

#[test]
fn who_gives_one_item_at_a_time_is_asked_once() {
    let (block, mut desk, places) = asked_for_items();
    desk.answer_by(0, items(&block, &places[..1]));
    let Question::Block(BlockQuery::Items { places, .. }) = desk.question(1).what else { panic!() };
    assert_eq!(places, (1..12).collect::<Vec<u32>>());
    desk.answer_by(1, items(&block, &places[..1]));
    // Nobody gives more: the body by chunks.
    assert!(desk.asked.iter().all(|asked| matches!(asked.what, Question::Block(BlockQuery::Chunk { .. }))));
    assert!(!desk.asked.is_empty());
    let asked = desk.asked[0].clone();
    desk.answer_asked(&asked, &block);
    desk.assert_has(&block);
}

#[test]
fn silence_of_all_ends_in_other_ways_to_the_body() {
    let block = known(1, 0, 40);
    let mut desk = Desk::new(3);
    desk.news(0, compacted(&block));
    desk.news(1, announced(&block, true));
    let mut questions = 0;
    for _ in 0..30 {
        desk.pass(SECOND);
        for asked in desk.asked.clone() {
            match asked.to {
                2 => desk.answer_asked(&asked, &block),
                _ => {
                    questions += 1;
                    if desk.asked.iter().any(|other| other.ask == asked.ask) && desk.now.0.as_secs().is_multiple_of(5) {
                        desk.end(asked.ask, Err(RequestFailure::Timeout));
                    }
                }
            }
        }
        if !desk.blocks.is_empty() {
            break;
        }
        // The user must not think that nobody judges.
        if desk.headers.len() == 1 && desk.router.relay.pending() == 1 {
            desk.accept_header(block.key);
        }
    }
    assert!(questions > 0);
    assert_eq!(desk.assert_has(&block).via, Via::Chunks);
}

#[test]
fn a_false_header_ends_the_connection() {
    let (block, other) = (known(1, 0, 8), known(2, 0, 8));
    let mut cut = block.header();
    cut.truncate(cut.len() - 1);
    let false_headers = [
        BlockAnswer::Header(other.header()),
        BlockAnswer::Compact { header: Some(other.header()), list: list(&other, &[]) },
        BlockAnswer::Header(cut),
        BlockAnswer::Header(Bytes::new()),
        BlockAnswer::Compact { header: None, list: list(&block, &[]) },
        BlockAnswer::Ids(block.ids.clone()),
    ];
    for answer in false_headers {
        let mut desk = Desk::new(2);
        desk.news(0, announced(&block, true));
        desk.answer_by(0, answer.clone());
        assert_eq!(desk.blamed_peers(), [0], "{answer:?}");
        assert_eq!((desk.headers.len(), desk.router.relay.pending()), (0, 0), "nobody else told of it");
        desk.news(1, announced(&block, false));
        desk.answer_by(1, BlockAnswer::Header(block.header()));
        assert_eq!(desk.headers, [block.key]);
    }
}

#[test]
fn a_false_list_after_a_true_announcement_ends_the_connection() {
    let block = known(1, 0, 8);
    let mut desk = Desk::new(2);
    fill(&mut desk.pools, &block, |_| true);
    desk.news(1, header(&block));
    desk.news(0, announced(&block, true));
    let mut false_list = list(&block, &[]);
    false_list.skeleton = Bytes::from_static(b"nothing at all");
    desk.answer_by(0, BlockAnswer::Compact { header: None, list: false_list });
    assert_eq!(desk.blamed_peers(), [0]);
    desk.advance(1, announced(&block, true));
    desk.answer_honestly(1, &block);
    desk.assert_got(&block);
}

/// The header of a block of several chunks is known, and the root chunk is asked of peer 0.
fn asked_for_chunks() -> (mina_p2p_block::KnownBlock, Desk) {
    let block = known(1, 24, 2);
    let mut desk = Desk::new(2);
    desk.news(0, header(&block));
    desk.pass(5 * SECOND);
    assert!(matches!(desk.question(0).what, Question::Block(BlockQuery::Chunk { index: 0, .. })));
    (block, desk)
}

#[test]
fn false_chunks_end_the_connection_and_another_is_asked() {
    let (block, _) = asked_for_chunks();
    let other = known(2, 24, 2);
    let chunk = |known: &mina_p2p_block::KnownBlock, index| known.body.chunk(index).unwrap().into_bytes();
    let mut changed = chunk(&block, 0).to_vec();
    changed[1000] ^= 1;
    for root in [chunk(&other, 0), changed.into(), Bytes::new(), chunk(&block, 1)] {
        let (block, mut desk) = asked_for_chunks();
        desk.answer_by(0, BlockAnswer::Chunk(root));
        assert_eq!(desk.blamed_peers(), [0]);
        desk.answer_honestly(1, &block);
        assert_eq!(desk.assert_got(&block).via, Via::Chunks);
    }
    for leaf in [chunk(&other, 1), chunk(&block, 2), chunk(&block, 1).slice(1..)] {
        let (block, mut desk) = asked_for_chunks();
        let root = desk.question(0);
        desk.answer_asked(&root, &block);
        let asked = desk.asked.iter().find(|asked| asked.to == 0).cloned().unwrap();
        let Question::Block(BlockQuery::Chunk { index: 1 | 2, .. }) = asked.what else { panic!("{asked:?}") };
        let leaf = if leaf == chunk(&block, 2) && asked.what.is_chunk(2) { chunk(&block, 1) } else { leaf.clone() };
        desk.answer(asked.ask, BlockAnswer::Chunk(leaf));
        assert_eq!(desk.blamed_peers(), [0]);
        desk.answer_honestly(1, &block);
        assert_eq!(desk.assert_got(&block).via, Via::Chunks);
    }
}

impl Question {
    fn is_chunk(&self, wanted: u32) -> bool {
        matches!(self, Question::Block(BlockQuery::Chunk { index, .. }) if *index == wanted)
    }
}

#[test]
fn answers_are_asked_for_within_bounds() {
    let (block, mut desk, _) = asked_for_items();
    assert_eq!(desk.question(0).max_answer as usize, UNJUDGED_BYTES);
    desk.answer_by(0, BlockAnswer::NotHere);
    desk.answer_by(1, BlockAnswer::NotHere);
    let chunk = desk.asked[0].clone();
    assert!(chunk.max_answer as usize >= block.body.chunk(0).unwrap().into_bytes().len());
    assert!(chunk.max_answer < 263_000);
}

#[test]
fn a_long_body_waits_for_the_verdict_on_its_header() {
    let block = known(1, 200, 2);
    assert!(block.bytes.len() > UNJUDGED_BYTES);
    let mut desk = Desk::new(1);
    desk.news(0, compacted(&block));
    let places: Vec<u32> = (0..190).collect();
    let first = desk.question(0);
    desk.answer(first.ask, items(&block, &places));
    assert!(desk.asked.is_empty(), "{:?}", desk.asked);
    desk.accept_header(block.key);
    assert_eq!(desk.question(0).max_answer as usize, BlockAnswer::MAX_LEN);
    desk.answer_honestly(0, &block);
    assert_eq!(desk.assert_got(&block).fetched, 202);
}
