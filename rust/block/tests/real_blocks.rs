//! Every real block: what its parts are, and that all is as the existing node's own types say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{dummy_proof, folder, hex, listed, number, read_json, small, text, unhex, vectors};
use mina_p2p_block::{
    BodyChunks, BodyParams, InfoError, Item, ItemForm, ItemKind, KnownBlock, Layout, LayoutError, WorkForm,
    body_reference, check_item, command_info, holes, item_id, work_info,
};
use mina_p2p_wire::binprot;
use mina_p2p_wire::message::{RpcMessage, RpcResponse};

#[test]
fn items_are_where_they_are_and_named_as_they_are() {
    for (block, entry) in listed("items.json") {
        let file = text(&entry, "file");
        let layout = Layout::of(&block).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(layout.header.len, number(&entry, "header_len"), "{file}");
        let expected = entry["items"].as_array().unwrap();
        assert_eq!(layout.items.len(), expected.len(), "{file}");
        for (item, expected) in layout.items.iter().zip(expected) {
            check_place(&block, item, expected);
        }
    }
}

fn check_place(block: &[u8], item: &Item, expected: &serde_json::Value) {
    assert_eq!(item.range.start, number(expected, "offset"), "{expected}");
    assert_eq!(item.range.len(), number(expected, "len"), "{expected}");
    assert_eq!(usize::from(item.pre_diff), number(expected, "pre_diff"));
    assert_eq!(hex(&item_id(&block[item.range.clone()]).0), text(expected, "id"));
    assert_eq!(item.kind == ItemKind::Work, text(expected, "kind") == "work");
    if item.kind != ItemKind::Work {
        assert_eq!(item.status.as_ref().unwrap().len(), number(expected, "status_len"));
    }
}

#[test]
fn skeleton_with_the_items_in_its_holes_is_the_body() {
    for (block, _) in listed("items.json") {
        let layout = Layout::of(&block).unwrap();
        let skeleton = layout.skeleton(&block);
        let holes = holes(&skeleton, layout.items.len()).unwrap();
        assert_eq!(holes.len(), layout.items.len());
        let (mut body, mut at) = (Vec::new(), 0);
        for (hole, item) in holes.iter().zip(&layout.items) {
            assert_eq!((hole.is_work, hole.pre_diff), (item.kind == ItemKind::Work, item.pre_diff));
            body.extend_from_slice(&skeleton[at..hole.at]);
            body.extend_from_slice(&block[item.range.clone()]);
            at = hole.at;
        }
        body.extend_from_slice(&skeleton[at..]);
        assert!(body == block[layout.body], "the body comes out again");
    }
}

#[test]
fn facts_of_every_item_are_those_of_the_existing_node() {
    let Some(dummy_proof) = dummy_proof() else {
        return;
    };
    let mut with_proof = 0;
    for (block, entry) in listed("items.json") {
        for expected in entry["items"].as_array().unwrap() {
            let start = number(expected, "offset");
            let item = &block[start..start + number(expected, "len")];
            if text(expected, "kind") == "work" {
                let info = work_info(item).unwrap();
                assert_eq!(hex(&binprot::encode(&info)), text(expected, "snark_info"));
                continue;
            }
            let info = command_info(item, Some(&dummy_proof)).unwrap();
            assert_eq!(hex(&binprot::encode(&info)), text(expected, "transaction_info"), "{expected}");
            assert_eq!(info.hash.to_string(), text(expected, "transaction_hash"));
            match command_info(item, None) {
                Ok(same) => assert_eq!(same, info),
                Err(InfoError::NeedsDummyProof { offset }) => {
                    assert!(offset < item.len());
                    with_proof += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(folder().is_none() || with_proof > 0, "some command has a proof");
}

#[test]
fn body_references_are_the_headers_whole_and_by_chunk() {
    for (block, entry) in listed("vectors.json") {
        let file = text(&entry, "file");
        let known = KnownBlock::of(block.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let body = block.slice(known.layout.body.clone());
        let reference = body_reference(&body, BodyParams::MAINNET);
        assert_eq!(reference.to_string(), text(&entry, "body_reference"), "{file}");
        assert_eq!(known.layout.header.body_reference, reference);
        assert_eq!(known.header().len(), number(&entry, "header_len"));
        assert_eq!(known.body.count(), number(&entry, "chunks"));
        let root = known.body.chunk(0).unwrap().into_bytes();
        for (place, link) in entry["links"].as_array().unwrap().iter().enumerate() {
            assert_eq!(hex(&root[2 + 32 * place..][..32]), link.as_str().unwrap());
        }
        let mut chunks = BodyChunks::new(reference, BodyParams::MAINNET);
        (0..known.body.count()).for_each(|index| {
            chunks.insert(index, known.body.chunk(index).unwrap().into_bytes()).unwrap();
        });
        assert!(chunks.body().unwrap() == body);
    }
}

#[test]
fn works_go_from_each_form_to_each() {
    for (block, _) in listed("items.json") {
        let layout = Layout::of(&block).unwrap();
        for item in &layout.items {
            let item_bytes = &block[item.range.clone()];
            if item.kind != ItemKind::Work {
                assert_eq!(check_item(ItemForm::Command, item_bytes), Ok(item.kind));
                continue;
            }
            let work = WorkForm::of(ItemForm::BlockWork, item_bytes).unwrap();
            assert_eq!(work.block_parts(item_bytes).concat(), item_bytes);
            for (form, bytes) in [
                (ItemForm::RpcWork, work.rpc_parts(item_bytes).concat()),
                (ItemForm::GossipWork, work.gossip_form(item_bytes)),
            ] {
                assert_eq!(check_item(form, &bytes), Ok(ItemKind::Work), "{form:?}");
                let parts = WorkForm::of(form, &bytes).unwrap();
                assert_eq!(parts.block_parts(&bytes).concat(), item_bytes, "{form:?}");
                assert_eq!(parts.rpc_parts(&bytes).concat(), work.rpc_parts(item_bytes).concat());
                assert_eq!(parts.gossip_form(&bytes), work.gossip_form(item_bytes));
            }
        }
    }
}

#[test]
fn answers_of_the_existing_node_are_items() {
    let Some(folder) = vectors() else {
        return;
    };
    let messages = read_json(&folder.join("rpc_msgs.json"));
    let mut seen = 0;
    for message in messages["messages"].as_array().unwrap() {
        let form = match text(message, "name") {
            "Response Snark" => ItemForm::RpcWork,
            name if name.starts_with("Response Transaction") => ItemForm::Command,
            _ => continue,
        };
        let body = unhex(text(message, "body_hex"));
        let RpcMessage::Response { response: Some(response), .. } = RpcMessage::decode(body.into()).unwrap().value
        else {
            panic!("{message}");
        };
        let bytes = match response {
            RpcResponse::Snark(bytes) | RpcResponse::Transaction(bytes) => bytes,
            other => panic!("{other:?}"),
        };
        check_item(form, &bytes).unwrap_or_else(|error| panic!("{}: {error}", text(message, "name")));
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn every_cut_of_a_real_block_is_refused_in_its_place() {
    let Some(block) = small() else {
        return;
    };
    for len in 0..block.len() {
        let error = Layout::of(&block[..len]).unwrap_err();
        assert!(matches!(error, LayoutError::UnexpectedEnd { offset, .. } if offset == len), "{len}: {error}");
    }
    let longer = [&block[..], &[0]].concat();
    assert_eq!(Layout::of(&longer), Err(LayoutError::TrailingBytes { offset: block.len(), count: 1 }));
}

#[test]
fn every_other_byte_in_the_body_of_a_real_block_is_noticed() {
    let Some(block) = small() else {
        return;
    };
    let body = Layout::of(&block).unwrap().body;
    let mut changed = block.to_vec();
    for at in body {
        for other in 0..=u8::MAX {
            if other != block[at] {
                changed[at] = other;
                assert!(KnownBlock::of(changed.clone().into()).is_err(), "{other} at {at}");
            }
        }
        changed[at] = block[at];
    }
}
