//! Vectors of compact blocks: the messages of channel 17, and the queries and answers that extension RPCs carry.

use bytes::Bytes;
use mina_p2p_wire::message::{Announcement, BlockAnswer, BlockQuery, CompactMessage, ItemId, ItemList, ItemsRoot};
use mina_p2p_wire::{BlockKey, StateHash};
use serde_json::{Value, json};

use super::common::meaning::{block_answer, block_query};
use super::common::{AnyMessage, hex, unhex};
use super::corpus::{pattern, payload};
use super::refusal;

const KEY: BlockKey = BlockKey([1; 32]);
const ROOT: ItemsRoot = ItemsRoot([2; 32]);

/// Three short ids, and the first and the fourth of five items.
fn list() -> ItemList {
    ItemList {
        nonce: pattern(9),
        root: ROOT,
        skeleton: Bytes::from_static(&[0, 5, 0, 0, 0]),
        short_ids: vec![pattern(3), pattern(5), pattern(7)],
        prefilled: vec![(0, payload()), (3, Bytes::from_static(&[0; 130]))],
    }
}

fn empty_list() -> ItemList {
    ItemList { nonce: [0; 8], root: ROOT, skeleton: payload(), short_ids: Vec::new(), prefilled: Vec::new() }
}

/// 130 short ids before one item, so that its place takes three bytes.
fn long_list() -> ItemList {
    ItemList { short_ids: vec![[0xee; 6]; 130], prefilled: vec![(130, payload())], ..empty_list() }
}

fn announce(height: u32, state_hash: Option<StateHash>, root: Option<ItemsRoot>) -> CompactMessage {
    CompactMessage::Announce(Announcement { key: KEY, height, state_hash, root })
}

pub(crate) fn messages() -> Vec<(&'static str, AnyMessage)> {
    let hash = StateHash(pattern(11));
    [
        ("compact Permit, announcements only", CompactMessage::Permit { max_len: 0 }),
        ("compact Permit, 64 KiB", CompactMessage::Permit { max_len: 65_536 }),
        ("compact Change", CompactMessage::Change { permit: 3, max_len: 0 }),
        ("compact Change, longest", CompactMessage::Change { permit: u64::MAX, max_len: u32::MAX }),
        ("compact Announce, least", announce(0, None, None)),
        ("compact Announce of a verified block", announce(359_638, None, Some(ROOT))),
        ("compact Announce with state hash", announce(0x8000, Some(hash), None)),
        ("compact Announce, longest", announce(u32::MAX, Some(hash), Some(ROOT))),
        ("compact Header", CompactMessage::Header(payload())),
        ("compact List", CompactMessage::List { key: KEY, list: list() }),
        ("compact List, no items", CompactMessage::List { key: KEY, list: empty_list() }),
        ("compact Compact", CompactMessage::Compact { header: payload(), list: list() }),
        ("compact Compact, late place", CompactMessage::Compact { header: payload(), list: long_list() }),
    ]
    .map(|(name, message)| (name, AnyMessage::Compact(message)))
    .into()
}

/// As those of the other channels: what it is, the channel, the body in hexadecimal.
pub(crate) fn odd_bodies() -> Vec<(&'static str, u8, String)> {
    let zeros = "00".repeat(32);
    // Key, nonce, root, an empty skeleton.
    let list = format!("04{zeros}{}{zeros}00", "00".repeat(8));
    let ids = |count: usize| "ee".repeat(6 * count);
    [
        ("unknown tag", "06".into()),
        ("permit longer than needed", "00fe0500".into()),
        ("permit of 2^32 bytes", "00fc0000000001000000".into()),
        ("bytes after a permit", "000000".into()),
        ("change cut off", "0103".into()),
        ("height above 32 bits", format!("02{zeros}fc00000000010000000000")),
        ("option tag 2", format!("02{zeros}000002")),
        ("header of 32,769 bytes", format!("03fe0180{}", "00".repeat(16))),
        ("header cut off", "030500".into()),
        ("8,193 short ids", format!("{list}fe0120{}00", ids(3))),
        ("2^64 - 1 short ids", format!("{list}fcffffffffffffffff{}", ids(3))),
        ("short ids cut off", format!("{list}02{}00", ids(1))),
        ("number of short ids longer than needed", format!("{list}fe0100{}00", ids(1))),
        ("8,193 items, all but one prefilled", format!("{list}01{}fe0020", ids(1))),
        ("prefilled place behind the last item", format!("{list}02{}01030100", ids(2))),
        ("prefilled place of 2^64 - 1 after another", format!("{list}02{}02000100fcffffffffffffffff0100", ids(2))),
        ("prefilled place longer than needed", format!("{list}02{}01fe02000100", ids(2))),
        ("prefilled item of 524,289 bytes", format!("{list}0001 00fd01000800").replace(' ', "")),
        ("prefilled item cut off", format!("{list}0001000500")),
        ("bytes after a list", format!("{list}0000abcd")),
    ]
    .map(|(name, body)| (name, 17, body))
    .into()
}

fn queries() -> Vec<BlockQuery> {
    vec![
        BlockQuery::Compact { key: KEY, with_header: false },
        BlockQuery::Compact { key: KEY, with_header: true },
        BlockQuery::Items { key: KEY, root: ROOT, places: vec![0] },
        BlockQuery::Items { key: KEY, root: ROOT, places: vec![3, 4, 7, 135, 8191] },
        BlockQuery::Ids { key: KEY, root: ROOT },
        BlockQuery::Chunk { key: KEY, index: 0 },
        BlockQuery::Chunk { key: KEY, index: 128 },
    ]
}

fn answers() -> Vec<(&'static str, BlockAnswer)> {
    let items = vec![payload(), Bytes::from_static(&[0; 130])];
    vec![
        ("not here", BlockAnswer::NotHere),
        ("other root", BlockAnswer::OtherRoot),
        ("header, body not verified", BlockAnswer::Header(payload())),
        ("compact, without header", BlockAnswer::Compact { header: None, list: list() }),
        ("compact, with header", BlockAnswer::Compact { header: Some(payload()), list: empty_list() }),
        ("items, all of the block", BlockAnswer::Items { items: items.clone(), proof: Vec::new() }),
        ("items", BlockAnswer::Items { items, proof: vec![pattern(3), pattern(5)] }),
        ("ids, none", BlockAnswer::Ids(Vec::new())),
        ("ids", BlockAnswer::Ids(vec![ItemId(pattern(3)), ItemId(pattern(5))])),
        ("chunk", BlockAnswer::Chunk(payload())),
    ]
}

/// Queries and answers are canonical and end where they end, so what is not is refused.
pub(crate) fn block_rpcs() -> Value {
    let [compact, items, ids, chunk] = BlockQuery::METHODS;
    let zeros = "00".repeat(32);
    let refused_queries: [(&str, &str, String); 13] = [
        ("empty", ids, String::new()),
        ("no flag", compact, zeros.clone()),
        ("flag 2", compact, format!("{zeros}02")),
        ("bytes after it", compact, format!("{zeros}0100")),
        ("no places", items, format!("{zeros}{zeros}00")),
        ("places whose last byte is 0", items, format!("{zeros}{zeros}020100")),
        ("more places than a block has", items, format!("{zeros}{zeros}fe0104{}", "ff".repeat(1025))),
        ("places cut off", items, format!("{zeros}{zeros}030101")),
        ("length of the places longer than needed", items, format!("{zeros}{zeros}fe010001")),
        ("root cut off", ids, format!("{zeros}{}", "00".repeat(31))),
        ("bytes after it", ids, format!("{zeros}{zeros}00")),
        ("chunk of 2^32", chunk, format!("{zeros}fc0000000001000000")),
        ("chunk longer than needed", chunk, format!("{zeros}fe0500")),
    ];
    let refused_answers: [(&str, String); 13] = [
        ("empty", String::new()),
        ("unknown tag", "07".into()),
        ("bytes after it", "0000".into()),
        ("header of 32,769 bytes", format!("02fe0180{zeros}")),
        ("header and bytes after it", "02010000".into()),
        ("option tag 2", "0302".into()),
        ("list cut off", format!("0300{zeros}")),
        ("8,193 items", format!("04fe0120{zeros}")),
        ("item of 524,289 bytes", "0401fd01000800".into()),
        ("proof cut off", format!("04010100 02{zeros}").replace(' ', "")),
        ("proof of 8,193 hashes", format!("04010100fe0120{zeros}")),
        ("ids cut off", format!("0502{zeros}")),
        ("number of ids longer than needed", format!("05fe0100{zeros}")),
    ];
    let queries = queries()
        .into_iter()
        .map(|query| json!({ "name": query.method(), "meaning": block_query(&query), "hex": hex(&query.encode()) }));
    let answers = answers()
        .into_iter()
        .map(|(what, answer)| json!({ "what": what, "meaning": block_answer(&answer), "hex": hex(&answer.encode()) }));
    let refused_queries = refused_queries.into_iter().map(|(what, name, body)| {
        let error = BlockQuery::decode(name, unhex(&body)).unwrap().unwrap_err();
        json!({ "what": what, "name": name, "refused": refusal(&error), "hex": body })
    });
    let refused_answers = refused_answers.into_iter().map(|(what, body)| {
        let error = BlockAnswer::decode(unhex(&body)).unwrap_err();
        json!({ "what": what, "refused": refusal(&error), "hex": body })
    });
    json!({
        "version": BlockQuery::VERSION,
        "queries": queries.collect::<Vec<_>>(),
        "answers": answers.collect::<Vec<_>>(),
        "refused_queries": refused_queries.collect::<Vec<_>>(),
        "refused_answers": refused_answers.collect::<Vec<_>>(),
    })
}
