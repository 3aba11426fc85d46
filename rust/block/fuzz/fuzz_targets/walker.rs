//! Anything that is walked: blocks, headers, bodies, skeletons, items in every form, root chunks. The first byte says which.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mina_p2p_block::generate::{self, Recipe};
use mina_p2p_block::{
    BodyChunks, BodyParams, Header, ItemForm, ItemKind, Layout, MAX_ITEMS, WorkForm, block_key, body_reference,
    canonical, check_item, command_info, holes, work_info,
};

static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let block = generate::block(&Recipe::default());
    block[..Header::prefix_of(&block).expect("a generated block").len].to_vec()
});

fuzz_target!(|data: &[u8]| {
    let Some((&what, data)) = data.split_first() else {
        return;
    };
    match what % 8 {
        0 => block(data),
        1 => block(&[&HEADER, data].concat()),
        2 => skeleton(data),
        3 => command(data),
        4 => work(ItemForm::BlockWork, data),
        5 => work(ItemForm::RpcWork, data),
        6 => work(ItemForm::GossipWork, data),
        _ => root_chunk(data),
    }
});

fn block(block: &[u8]) {
    let _ = block_key(block);
    let layout = match Layout::of(block) {
        Ok(layout) => layout,
        Err(error) => return assert!(error.offset() <= block.len(), "{error}"),
    };
    assert!(Header::of(&block[..layout.header.len]).as_ref() == Ok(&layout.header));
    let skeleton = layout.skeleton(block);
    let holes = holes(&skeleton, layout.items.len()).expect("the skeleton of a block");
    let (mut body, mut at) = (Vec::new(), 0);
    for (hole, item) in holes.iter().zip(&layout.items) {
        assert_eq!((hole.is_work, hole.pre_diff), (item.kind == ItemKind::Work, item.pre_diff));
        body.extend_from_slice(&skeleton[at..hole.at]);
        body.extend_from_slice(&block[item.range.clone()]);
        at = hole.at;
        let form = if hole.is_work { ItemForm::BlockWork } else { ItemForm::Command };
        assert_eq!(check_item(form, &block[item.range.clone()]), Ok(item.kind));
    }
    body.extend_from_slice(&skeleton[at..]);
    assert!(body == block[layout.body]);
}

fn skeleton(skeleton: &[u8]) {
    match holes(skeleton, MAX_ITEMS) {
        Ok(holes) => assert!(holes.len() <= MAX_ITEMS && holes.is_sorted_by_key(|hole| hole.at)),
        Err(error) => assert!(error.offset() <= skeleton.len(), "{error}"),
    }
}

fn command(command: &[u8]) {
    let checked = check_item(ItemForm::Command, command);
    assert_eq!(command_info(command, Some(&[])).is_ok(), checked.is_ok());
    let canonical = canonical(ItemForm::Command, command);
    if checked.is_ok() {
        assert_eq!(canonical.as_deref(), Ok(command));
    }
    if let Ok(canonical) = canonical {
        check_item(ItemForm::Command, &canonical).expect("canonical");
    }
}

fn work(form: ItemForm, work: &[u8]) {
    if let Ok(canonical) = canonical(form, work)
        && form != ItemForm::GossipWork
    {
        check_item(form, &canonical).expect("canonical");
    }
    let Ok(parts) = WorkForm::of(form, work) else {
        return;
    };
    let block_form = parts.block_parts(work).concat();
    work_info(&block_form).expect("the form of blocks");
    let parts = WorkForm::of(ItemForm::BlockWork, &block_form).expect("the form of blocks");
    let same = match form {
        ItemForm::RpcWork => parts.rpc_parts(&block_form).concat(),
        ItemForm::GossipWork => parts.gossip_form(&block_form),
        _ => block_form,
    };
    assert!(same == work);
}

fn root_chunk(root: &[u8]) {
    // The header commits to whatever it is.
    let reference = mina_p2p_block::BodyReference(generate::hash(root));
    let mut chunks = BodyChunks::new(reference, BodyParams::MAINNET);
    if chunks.insert(0, Bytes::copy_from_slice(root)).is_ok()
        && let Some(body) = chunks.body()
    {
        assert_eq!(body_reference(&body, BodyParams::MAINNET), reference);
    }
}
