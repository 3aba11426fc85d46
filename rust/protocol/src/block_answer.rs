//! Answers to what peers ask about a block (docs/SPEC.md, "Compact blocks").

use bytes::Bytes;
use mina_p2p_block::{KnownBlock, merkle};
use mina_p2p_wire::binprot::nat0_len;
use mina_p2p_wire::message::{BlockAnswer, BlockQuery};

use crate::blocks::Content;
use crate::compact::{CompactBlocks, Offered};
use crate::pools::Pools;

/// The bytes of a hash of a proof.
const HASH_LEN: usize = 32;

/// The most bytes of an answer, whatever the asker would take: it is a copy. No node asks for more.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// The answer's bytes, at most `max_answer` and [`ANSWER_MAX`] of them: that it is not here, which takes one, if no answer fits.
pub(crate) fn answer_query(
    compact: &CompactBlocks,
    pools: &Pools,
    offered: &Offered<'_>,
    query: &BlockQuery,
    max_answer: usize,
) -> Bytes {
    let max_answer = max_answer.min(ANSWER_MAX);
    let answer = best_answer(compact, pools, offered, query, max_answer).encode();
    if answer.len() > max_answer { BlockAnswer::NotHere.encode() } else { answer }
}

/// The answer, of at most `max_answer` bytes where there is a choice.
fn best_answer(
    compact: &CompactBlocks,
    pools: &Pools,
    offered: &Offered<'_>,
    query: &BlockQuery,
    max_answer: usize,
) -> BlockAnswer {
    let Some(block) = pools.blocks.get(&query.key()) else { return BlockAnswer::NotHere };
    let (known, lacked) = match (&block.content, query) {
        (Content::Known { block, lacked }, _) => (block, lacked),
        (Content::Header { bytes, .. }, BlockQuery::Compact { with_header: true, .. }) => {
            return BlockAnswer::Header(bytes.clone());
        }
        _ => return BlockAnswer::NotHere,
    };
    match query {
        BlockQuery::Compact { with_header, .. } => {
            let header = with_header.then(|| known.bytes.slice(..known.layout.header.len));
            let used = BlockAnswer::MAX_HEAD_LEN + header.as_ref().map_or(0, Bytes::len);
            let budget = max_answer.checked_sub(used);
            match budget.and_then(|budget| compact.list(known, lacked, budget, offered)) {
                Some(list) => BlockAnswer::Compact { header, list },
                None => header.map_or(BlockAnswer::NotHere, BlockAnswer::Header),
            }
        }
        BlockQuery::Items { root, .. } | BlockQuery::Ids { root, .. } if *root != known.root => BlockAnswer::OtherRoot,
        BlockQuery::Items { places, .. } => items(known, places, max_answer).unwrap_or(BlockAnswer::NotHere),
        BlockQuery::Ids { .. } => BlockAnswer::Ids(known.ids.clone()),
        BlockQuery::Chunk { index, .. } => {
            let chunk = known.body.chunk(*index as usize);
            chunk.map_or(BlockAnswer::NotHere, |chunk| BlockAnswer::Chunk(chunk.into_bytes()))
        }
    }
}

/// The first of the items asked for, as many as fit.
fn items(known: &KnownBlock, places: &[u32], max_answer: usize) -> Option<BlockAnswer> {
    // A proof has at most as many hashes as the way to each item is long, and never more than there are items.
    let depth = known.ids.len().next_power_of_two().trailing_zeros() as usize;
    let mut len = BlockAnswer::MAX_HEAD_LEN;
    let mut items = Vec::new();
    for place in places {
        let range = known.layout.items.get(*place as usize)?.range.clone();
        let hashes = (depth * (items.len() + 1)).min(known.ids.len());
        len += nat0_len(range.len() as u64) + range.len();
        if len + hashes * HASH_LEN > max_answer {
            break;
        }
        items.push(known.bytes.slice(range));
    }
    let answered = places.get(..items.len()).filter(|answered| !answered.is_empty())?;
    Some(BlockAnswer::Items { proof: merkle::prove(&known.ids, answered)?, items })
}
