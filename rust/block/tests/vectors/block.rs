//! A whole block: its layout, and what travels of it.

use std::ops::Range;

use bytes::Bytes;
use mina_p2p_block::generate::{self, PreDiff, Recipe};
use mina_p2p_block::{
    Header, InfoError, ItemId, ItemKind, ItemSource, KnownBlock, Layout, LayoutError, NotKnown, Outcome, PoolItem,
    Rebuild, command_info, compact, holes, item_id, merkle, work_info,
};
use mina_p2p_wire::StateHash;
use mina_p2p_wire::message::{Announcement, BlockAnswer, BlockQuery, CompactMessage, ItemList};
use serde_json::{Value, json};

use super::common::{hex, number, text, unhex};
use super::{folder, list, load};

const FILE: &str = "compact_block.json";
/// What stands for a proof in the hashes of the vectors' zkApp commands; a network has another.
const DUMMY_PROOF: &[u8] = b"dummy proof";
const NONCE: u64 = 0x0807_0605_0403_0201;
/// Longer slices of the block than this are not repeated in the file.
const REPEATED: usize = 64;

/// The block of the file: made once, so that the file does not depend on the generator. A work with one proof, three commands
/// of both kinds, and a command in a second pre-diff.
fn block() -> Bytes {
    if folder().join(FILE).exists() {
        return unhex(text(&load(FILE), "block_hex")).into();
    }
    let work = (0..).map(generate::work).find(|work| work.len() < 16_000).unwrap();
    let zkapp = (0..1000).map(generate::zkapp_command).min_by_key(Bytes::len).unwrap();
    let first = PreDiff { works: vec![work], commands: vec![generate::command(1), zkapp, generate::command(2)] };
    let second = Some(PreDiff { works: Vec::new(), commands: vec![generate::command(3)] });
    let recipe = |seed| Recipe {
        seed,
        height: 359_638,
        previous_state_hash: StateHash([0x11; 32]),
        first: first.clone(),
        second: second.clone(),
    };
    // One in which some command has failed, but not all.
    let mixed = |block: &Bytes| {
        let items = Layout::of(block).unwrap().items;
        let applied = items.iter().filter_map(|item| item.status.as_ref()).filter(|status| status.len() == 1).count();
        (1..4).contains(&applied)
    };
    (0..).map(|seed| generate::block(&recipe(seed))).find(mixed).unwrap()
}

fn kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::SignedCommand => "signed command",
        ItemKind::ZkappCommand => "zkApp command",
        ItemKind::Work => "work",
    }
}

/// What an item is, from its bytes.
fn info(item: &[u8], kind: ItemKind) -> Value {
    if kind == ItemKind::Work {
        let info = work_info(item).unwrap();
        return json!({
            "job_id": info.job_id.to_string(),
            "fee": info.fee.to_string(),
            "prover": info.prover.to_string(),
        });
    }
    let info = command_info(item, Some(DUMMY_PROOF)).unwrap();
    let needs_dummy_proof = matches!(command_info(item, None), Err(InfoError::NeedsDummyProof { .. }));
    json!({
        "hash": info.hash.to_string(),
        "fee_payer": info.fee_payer.to_string(),
        "fee": info.fee.to_string(),
        "nonce": info.nonce,
        "has_proof": needs_dummy_proof,
    })
}

/// Bytes as a list of parts: hexadecimal text, or `[offset, length]` for a slice of the block.
fn parts(bytes: &[u8], known: &KnownBlock) -> Value {
    let slices = [0..known.layout.header.len, known.layout.body.clone()];
    let slices: Vec<Range<usize>> =
        slices.into_iter().chain(known.layout.items.iter().map(|item| item.range.clone())).collect();
    let (mut parts, mut plain, mut at) = (Vec::new(), Vec::new(), 0);
    while at < bytes.len() {
        let starts = |range: &&Range<usize>| {
            range.len() > REPEATED && bytes[at..].starts_with(&known.bytes[range.start..range.end])
        };
        if let Some(range) = slices.iter().find(starts) {
            if !plain.is_empty() {
                parts.push(json!(hex(&std::mem::take(&mut plain))));
            }
            parts.push(json!([range.start, range.len()]));
            at += range.len();
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    if !plain.is_empty() {
        parts.push(json!(hex(&plain)));
    }
    json!(parts)
}

/// The bytes that such a list stands for.
fn join(parts: &Value, block: &Bytes) -> Bytes {
    let part = |part: &Value| match part.as_str() {
        Some(text) => unhex(text),
        None => {
            let at = |index: usize| usize::try_from(part[index].as_u64().unwrap()).unwrap();
            block[at(0)..at(0) + at(1)].to_vec()
        }
    };
    parts.as_array().unwrap().iter().flat_map(part).collect()
}

fn item_list(known: &KnownBlock, prefill: &[u32]) -> ItemList {
    compact(known, NONCE, prefill, 1 << 16).unwrap()
}

fn messages(known: &KnownBlock) -> Value {
    let (key, header) = (known.key, known.header());
    let state_hash = Some(StateHash([0x22; 32]));
    let height = known.layout.header.height;
    let announce = |root| CompactMessage::Announce(Announcement { key, height, state_hash, root });
    let compact = |prefill: &[u32]| CompactMessage::Compact { header: header.clone(), list: item_list(known, prefill) };
    let messages = [
        ("Announce, body not verified", announce(None)),
        ("Announce", announce(Some(known.root))),
        ("Header", CompactMessage::Header(header.clone())),
        ("Compact, nothing prefilled", compact(&[])),
        ("Compact, two items prefilled", compact(&[3, 1])),
        ("Compact, all items prefilled", compact(&[0, 1, 2, 3, 4])),
        ("List, one item prefilled", CompactMessage::List { key, list: item_list(known, &[4]) }),
    ];
    messages.map(|(what, message)| json!({ "what": what, "body": parts(&message.encode().into_bytes(), known) })).into()
}

fn rpcs(known: &KnownBlock) -> Value {
    let (key, root) = (known.key, known.root);
    let items = |places: &[u32], given: usize| {
        let query = BlockQuery::Items { key, root, places: places.to_vec() };
        let items = places[..given].iter().map(|place| known.item(*place as usize).unwrap()).collect();
        (query, BlockAnswer::Items { items, proof: merkle::prove(&known.ids, &places[..given]).unwrap() })
    };
    let compact = |with_header: bool| {
        let header = with_header.then(|| known.header());
        (BlockQuery::Compact { key, with_header }, BlockAnswer::Compact { header, list: item_list(known, &[]) })
    };
    let chunk = known.body.chunk(0).unwrap().into_bytes();
    let rpcs = [
        compact(false),
        compact(true),
        items(&[2], 1),
        items(&[0, 1, 4], 3),
        // As many as fit.
        items(&[0, 1, 4], 1),
        items(&[0, 1, 2, 3, 4], 5),
        (BlockQuery::Ids { key, root }, BlockAnswer::Ids(known.ids.clone())),
        (BlockQuery::Chunk { key, index: 0 }, BlockAnswer::Chunk(chunk)),
        (BlockQuery::Chunk { key, index: 1 }, BlockAnswer::NotHere),
    ];
    rpcs.map(|(query, answer)| {
        json!({
            "name": query.method(),
            "query_hex": hex(&query.encode()),
            "answer": parts(&answer.encode(), known),
        })
    })
    .into()
}

/// A change of the block: what is in the range becomes something else.
fn changed(block: &Bytes, range: Range<usize>, with: &[u8]) -> Bytes {
    [&block[..range.start], with, &block[range.end..]].concat().into()
}

fn refusal(error: &NotKnown) -> Value {
    match error {
        NotKnown::Layout(error) => {
            json!({ "error": format!("{error:?}").split([' ', '{']).next(), "offset": error.offset() })
        }
        NotKnown::OtherBody { .. } => json!({ "error": "OtherBody" }),
    }
}

/// Blocks with one thing wrong.
fn refused(known: &KnownBlock) -> Value {
    let (layout, end) = (&known.layout, known.bytes.len());
    let (body, header) = (layout.body.start, &layout.header);
    let (work, command) = (&layout.items[0], &layout.items[1]);
    let proofs =
        work.range.start + known.bytes[work.range.start..].windows(2).position(|two| two == [0x8d, 0xa4]).unwrap();
    let status = command.status.clone().unwrap();
    let cases: Vec<(&str, Range<usize>, Vec<u8>)> = vec![
        ("cut off in the header", 100..end, vec![]),
        ("cut off before the body", body..end, vec![]),
        ("cut off in the last byte", end - 1..end, vec![]),
        ("a byte behind it", end..end, vec![0]),
        ("another body reference", header.body_reference_at..header.body_reference_at + 1, vec![0]),
        ("body reference of 31 bytes", header.body_reference_at - 1..header.body_reference_at, vec![31]),
        ("number of works longer than needed", body..body + 1, vec![0xfe, 1, 0]),
        ("8,193 works", body..body + 1, vec![0xfe, 1, 0x20]),
        ("2^64 - 1 works", body..body + 1, [&[0xfc][..], &[0xff; 8]].concat()),
        ("unknown number of proofs", proofs..proofs + 4, vec![0x8e, 0xa4, 0x78, 0]),
        ("parity 2", work.range.end - 1..work.range.end, vec![2]),
        ("field element of the work changed", work.range.end - 33..work.range.end - 32, vec![0xff]),
        ("unknown kind of command", command.range.start..command.range.start + 1, vec![2]),
        ("unknown status", status.start..status.start + 1, vec![2]),
    ];
    let case = |(what, range, with): (&str, Range<usize>, Vec<u8>)| {
        let error = KnownBlock::of(changed(&known.bytes, range.clone(), &with)).unwrap_err();
        json!({
            "what": what,
            "from": range.start,
            "to": range.end,
            "with_hex": hex(&with),
            "refused": refusal(&error),
        })
    };
    cases.into_iter().map(case).collect()
}

pub(crate) fn vectors() -> Value {
    let known = KnownBlock::of(block()).unwrap();
    let layout = &known.layout;
    let header = &layout.header;
    let skeleton = layout.skeleton(&known.bytes);
    let holes = holes(&skeleton, layout.items.len()).unwrap();
    let items = layout.items.iter().zip(&holes).zip(&known.ids).map(|((item, hole), id)| {
        let bytes = &known.bytes[item.range.clone()];
        json!({
            "kind": kind(item.kind),
            "pre_diff": item.pre_diff,
            "offset": item.range.start,
            "length": item.range.len(),
            "status_hex": item.status.as_ref().map(|status| hex(&known.bytes[status.clone()])),
            "place_in_skeleton": hole.at,
            "id": id.to_string(),
            "info": info(bytes, item.kind),
        })
    });
    json!({
        "header_length": header.len,
        "key": known.key.to_string(),
        "previous_state_hash": header.previous_state_hash.to_string(),
        "height": header.height,
        "body_reference": header.body_reference.to_string(),
        "body_reference_offset": header.body_reference_at,
        "items": items.collect::<Vec<_>>(),
        "dummy_proof_hex": hex(DUMMY_PROOF),
        "items_root": known.root.to_string(),
        "skeleton_hex": hex(&skeleton),
        "messages": messages(&known),
        "rpcs": rpcs(&known),
        "refused": refused(&known),
        "block_hex": hex(&known.bytes),
    })
}

/// The block's own items, as a pool.
struct Pool(Vec<(ItemId, Bytes, bool)>);

impl ItemSource for Pool {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.0.iter().for_each(|(id, ..)| f(id));
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        let (id, bytes, is_work) = self.0.iter().find(|(found, ..)| found == id)?.clone();
        Some(PoolItem { id, parts: [bytes, Bytes::new()], is_work })
    }
}

#[test]
fn every_list_rebuilds_the_block_and_every_answer_fits_it() {
    let vectors = load(FILE);
    let block: Bytes = unhex(text(&vectors, "block_hex")).into();
    let header = block.slice(..number(&vectors, "header_length"));
    let items: Vec<(Bytes, bool)> = list(&vectors, "items", |item| {
        let at = number(item, "offset");
        (block.slice(at..at + number(item, "length")), text(item, "kind") == "work")
    });
    let pool = Pool(items.iter().map(|(item, is_work)| (item_id(item), item.clone(), *is_work)).collect());
    let rebuild = |list| Rebuild::new(header.clone(), Header::of(&header).unwrap(), list, &pool).unwrap();
    let mut lists = Vec::new();
    for message in list(&vectors, "messages", Value::clone) {
        match CompactMessage::decode(join(&message["body"], &block)).unwrap().value {
            CompactMessage::Compact { list, .. } | CompactMessage::List { list, .. } => lists.push(list),
            _ => {}
        }
    }
    assert_eq!(lists.len(), 4);
    for vector in list(&vectors, "rpcs", Value::clone) {
        let query = BlockQuery::decode(text(&vector, "name"), unhex(text(&vector, "query_hex")).into()).unwrap();
        match (query.unwrap(), BlockAnswer::decode(join(&vector["answer"], &block)).unwrap()) {
            (BlockQuery::Compact { with_header, .. }, BlockAnswer::Compact { header: answered, list }) => {
                assert_eq!(answered, with_header.then(|| header.clone()));
                lists.push(list);
            }
            (BlockQuery::Items { places, .. }, BlockAnswer::Items { items, proof }) => {
                // As if nothing were in the pools.
                let list =
                    ItemList { short_ids: vec![[0; 6]; pool.0.len()], prefilled: Vec::new(), ..lists[0].clone() };
                let taken = items.len();
                assert_eq!(rebuild(list).provide(&places, items, &proof), Ok(taken));
            }
            (BlockQuery::Ids { .. }, BlockAnswer::Ids(ids)) => {
                assert_eq!(ids, pool.0.iter().map(|(id, ..)| *id).collect::<Vec<_>>());
            }
            (BlockQuery::Chunk { index: 0, .. }, BlockAnswer::Chunk(chunk)) => {
                assert!(chunk.ends_with(&block[header.len()..]));
            }
            (BlockQuery::Chunk { .. }, BlockAnswer::NotHere) => {}
            (query, answer) => panic!("{query:?}: {answer:?}"),
        }
    }
    for list in lists {
        let Outcome::Complete(known) = rebuild(list).assemble().run() else { panic!("not complete") };
        assert!(known.bytes == block, "byte for byte");
    }
    for vector in list(&vectors, "refused", Value::clone) {
        let range = number(&vector, "from")..number(&vector, "to");
        let wrong = changed(&block, range, &unhex(text(&vector, "with_hex")));
        let error = KnownBlock::of(wrong.clone()).unwrap_err();
        assert_eq!(refusal(&error), vector["refused"], "{vector}");
        let layout: Result<Layout, LayoutError> = Layout::of(&wrong);
        assert_eq!(layout.is_ok(), vector["refused"]["error"] == "OtherBody", "{vector}");
    }
}
