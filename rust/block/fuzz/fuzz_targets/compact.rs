//! What is sent about blocks that travel compactly: the channel's messages, queries, answers; and a rebuild begun with any list. The
//! first byte says which.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mina_p2p_block::generate::{self, Recipe};
use mina_p2p_block::{ItemId, ItemSource, KnownBlock, Outcome, PoolItem, Rebuild};
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, CompactMessage, ItemList, MAX_COMPACT_ITEMS};

static KNOWN: LazyLock<KnownBlock> =
    LazyLock::new(|| KnownBlock::of(generate::block(&Recipe::counts(0, 0, 2, 1))).expect("a generated block"));

struct Nothing;

impl ItemSource for Nothing {
    fn for_each_id(&self, _: &mut dyn FnMut(&ItemId)) {}

    fn get(&self, _: &ItemId) -> Option<PoolItem> {
        None
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    let bytes = Bytes::copy_from_slice(data);
    match what % 3 {
        0 => message(bytes),
        1 => query(usize::from(what / 3) % BlockQuery::METHODS.len(), bytes),
        _ => answer(bytes),
    }
});

fn message(bytes: Bytes) {
    let Ok(decoded) = CompactMessage::decode(bytes.clone()) else {
        return;
    };
    if decoded.is_exact() {
        assert!(decoded.value.encode().into_bytes() == bytes);
    }
    if let CompactMessage::List { list, .. } | CompactMessage::Compact { list, .. } = decoded.value {
        begin(list);
    }
}

fn query(method: usize, bytes: Bytes) {
    let method = BlockQuery::METHODS[method];
    if let Ok(query) = BlockQuery::decode(method, bytes.clone()).expect("one of ours") {
        assert_eq!(query.method(), method);
        assert!(query.encode() == bytes);
    }
}

fn answer(bytes: Bytes) {
    let Ok(answer) = BlockAnswer::decode(bytes.clone()) else {
        return;
    };
    assert!(answer.encode() == bytes);
    if let BlockAnswer::Compact { list, .. } = answer {
        begin(list);
    }
}

fn begin(list: ItemList) {
    let (known, listed) = (&*KNOWN, list.items());
    assert!(listed <= MAX_COMPACT_ITEMS);
    let Ok(rebuild) = Rebuild::new(known.header(), known.layout.header.clone(), list, &Nothing) else {
        return;
    };
    assert_eq!(rebuild.items(), listed);
    if let Outcome::Complete(block) = rebuild.assemble().run() {
        assert!(block.bytes == known.bytes, "another block under this header");
    }
}
