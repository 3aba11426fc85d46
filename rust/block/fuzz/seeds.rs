//! Writes the seed corpus of every target into a folder: `seeds FOLDER`. Made by the generator rather than committed.

use std::path::{Path, PathBuf};

use mina_p2p_block::generate::{self, PreDiff, Recipe};
use mina_p2p_block::{ItemForm, KnownBlock, WorkForm, merkle};
use mina_p2p_wire::message::{BlockAnswer, BlockQuery, CompactMessage};

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("usage: seeds FOLDER"));
    };
    walker(&folder.join("walker"))?;
    compact(&folder.join("compact"))?;
    rebuild(&folder.join("rebuild"))
}

/// Each input starts with what it is (see the target).
fn walker(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let write = |name: &str, what: u8, bytes: &[u8]| std::fs::write(folder.join(name), [&[what], bytes].concat());
    for seed in 0..4 {
        let second = (seed % 2 == 1).then(|| PreDiff::counts(seed, 0, 2, 1));
        let recipe = Recipe { second, ..Recipe::counts(seed, usize::from(seed == 3), 2, 1) };
        let block = generate::block(&recipe);
        let known = KnownBlock::of(block.clone()).map_err(std::io::Error::other)?;
        write(&format!("block-{seed}"), 0, &block)?;
        write(&format!("body-{seed}"), 1, &block.slice(known.layout.body.clone()))?;
        write(&format!("skeleton-{seed}"), 2, &known.layout.skeleton(&block))?;
        write(&format!("command-{seed}"), 3, &generate::command(seed))?;
        write(&format!("zkapp-{seed}"), 3, &generate::zkapp_command(seed))?;
        let work = generate::work(seed);
        let parts = WorkForm::of(ItemForm::BlockWork, &work).map_err(std::io::Error::other)?;
        write(&format!("work-{seed}"), 4, &work)?;
        write(&format!("rpc-work-{seed}"), 5, &parts.rpc_parts(&work).concat())?;
        write(&format!("gossip-work-{seed}"), 6, &parts.gossip_form(&work))?;
        let root = known.body.chunk(0).map(mina_p2p_block::Chunk::into_bytes);
        write(&format!("root-{seed}"), 7, &root.unwrap_or_default())?;
    }
    write("deep", 3, &generate::deep_zkapp_command(1, 80))
}

/// Each input starts with what it is (see the target).
fn compact(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let write = |name: &str, what: u8, bytes: &[u8]| std::fs::write(folder.join(name), [&[what], bytes].concat());
    let known = KnownBlock::of(generate::block(&Recipe::counts(0, 0, 2, 1))).map_err(std::io::Error::other)?;
    for (name, prefill) in [("bare", &[][..]), ("prefilled", &[0, 2]), ("whole", &[0, 1, 2])] {
        let Some(list) = mina_p2p_block::compact(&known, 1, prefill, usize::MAX) else { continue };
        let message = CompactMessage::List { key: known.key, list: list.clone() };
        write(&format!("list-{name}"), 0, &message.encode().into_bytes())?;
        let message = CompactMessage::Compact { header: known.header(), list: list.clone() };
        write(&format!("compact-{name}"), 0, &message.encode().into_bytes())?;
        write(&format!("answer-{name}"), 2, &BlockAnswer::Compact { header: None, list }.encode())?;
    }
    let (key, root) = (known.key, known.root);
    let queries = [
        BlockQuery::Compact { key, with_header: true },
        BlockQuery::Items { key, root, places: vec![0, 2] },
        BlockQuery::Ids { key, root },
        BlockQuery::Chunk { key, index: 1 },
    ];
    for (method, query) in (0..).zip(&queries) {
        write(&format!("query-{method}"), 1 + 3 * method, &query.encode())?;
    }
    let items = vec![known.item(0).unwrap_or_default()];
    let proof = merkle::prove(&known.ids, &[0]).unwrap_or_default();
    write("items", 2, &BlockAnswer::Items { items, proof }.encode())?;
    write("ids", 2, &BlockAnswer::Ids(known.ids).encode())
}

/// Choices of the target, by chance.
fn rebuild(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for seed in 0_u8..32 {
        let chosen: Vec<u8> = generate::command(seed.into()).iter().map(|byte| byte ^ seed).collect();
        std::fs::write(folder.join(format!("chosen-{seed}")), [&[seed, 0], &chosen[..]].concat())?;
    }
    std::fs::write(folder.join("zeros"), [0])
}
