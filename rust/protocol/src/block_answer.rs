//! Answers to what peers ask about a block (docs/SPEC.md, "Compact blocks").

use std::sync::Arc;

use bytes::Bytes;
use mina_p2p_block::KnownBlock;
use mina_p2p_wire::binprot::DecodeError;
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, ExtensionError};

use crate::blocks::Content;
use crate::compact::{CompactBlocks, Offered, is_compactable};
use crate::pools::Pools;

/// The answer to a question about a block: what it needs of the pools is in it, so that the rest, a copy of what may be megabytes
/// and a proof, is made wherever time is.
#[derive(Debug)]
#[must_use = "nothing is answered until it is encoded"]
pub struct BlockReply {
    reply: Reply,
    max_answer: usize,
}

#[derive(Debug)]
enum Reply {
    Refused(ExtensionError),
    Ready(BlockAnswer),
    Items(Arc<KnownBlock>, Vec<u32>),
    Ids(Arc<KnownBlock>),
}

impl BlockReply {
    pub(crate) fn refused(error: &DecodeError) -> BlockReply {
        BlockReply { reply: Reply::Refused(ExtensionError::Failed(error.to_string())), max_answer: 0 }
    }

    /// Prepares an answer of at most `max_answer` and [`BlockAnswer::MAX_LEN`] bytes.
    pub(crate) fn new(
        compact: &CompactBlocks,
        pools: &Pools,
        offered: &Offered<'_>,
        query: BlockQuery,
        max_answer: usize,
    ) -> BlockReply {
        let max_answer = max_answer.min(BlockAnswer::MAX_LEN);
        let reply = prepare(compact, pools, offered, query, max_answer).unwrap_or(Reply::Ready(BlockAnswer::NotHere));
        BlockReply { reply, max_answer }
    }

    /// The answer's bytes: that it is not here, which takes one, if no answer fits.
    ///
    /// # Errors
    /// What is to be answered to bytes that are no question.
    pub fn encode(self) -> Result<Bytes, ExtensionError> {
        let answer = match self.reply {
            Reply::Refused(error) => return Err(error),
            Reply::Ready(answer) => answer,
            Reply::Items(known, places) => known.answer_items(&places, self.max_answer).unwrap_or(BlockAnswer::NotHere),
            Reply::Ids(known) => BlockAnswer::Ids(known.ids.clone()),
        };
        let answer = answer.encode();
        Ok(if answer.len() > self.max_answer { BlockAnswer::NotHere.encode() } else { answer })
    }
}

fn prepare(
    compact: &CompactBlocks,
    pools: &Pools,
    offered: &Offered<'_>,
    query: BlockQuery,
    max_answer: usize,
) -> Option<Reply> {
    let block = pools.blocks.get(&query.key())?;
    let (known, lacked) = match (&block.content, &query) {
        (Content::Known { block, lacked }, _) => (block, lacked),
        (Content::Header { bytes, .. }, BlockQuery::Compact { with_header: true, .. }) => {
            return Some(Reply::Ready(BlockAnswer::Header(bytes.clone())));
        }
        _ => return None,
    };
    if let BlockQuery::Chunk { index, .. } = query {
        let chunk = known.body.chunk(index as usize)?;
        return Some(Reply::Ready(BlockAnswer::Chunk(chunk.into_bytes())));
    }
    // What no list can name, or no answer carry, is had by chunks.
    if !is_compactable(known) {
        return None;
    }
    match query {
        BlockQuery::Items { root, .. } | BlockQuery::Ids { root, .. } if root != known.root => {
            Some(Reply::Ready(BlockAnswer::OtherRoot))
        }
        BlockQuery::Items { places, .. } => Some(Reply::Items(Arc::clone(known), places)),
        BlockQuery::Ids { .. } => Some(Reply::Ids(Arc::clone(known))),
        BlockQuery::Chunk { .. } => None,
        BlockQuery::Compact { with_header, .. } => {
            let header = with_header.then(|| known.bytes.slice(..known.layout.header.len));
            let used = BlockAnswer::MAX_HEAD_LEN + header.as_ref().map_or(0, Bytes::len);
            let budget = max_answer.checked_sub(used);
            match budget.and_then(|budget| compact.list(known, lacked, budget, offered)) {
                Some(list) => Some(Reply::Ready(BlockAnswer::Compact { header, list })),
                None => Some(Reply::Ready(BlockAnswer::Header(header?))),
            }
        }
    }
}
