//! `mina-p2p inspect` says what is in a block, and what is wrong with what is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blocks, dummy_proof, file, listed, run, text};
use mina_p2p_block::generate::{PreDiff, Recipe, block, command, zkapp_command};
use mina_p2p_block::{Header, InfoError, command_info, item_id};
use mina_p2p_wire::message::MAX_BLOCK_LEN;
use serde_json::{Value, json};

#[test]
fn the_anatomy_of_a_block_is_printed_as_json() {
    let recipe = Recipe { second: Some(PreDiff::counts(2, 1, 2, 0)), ..Recipe::counts(1, 3, 4, 0) };
    let bytes = block(&recipe);
    let header = Header::prefix_of(&bytes).unwrap();
    let anatomy = run(["inspect".as_ref(), file("anatomy.bin", &bytes).as_os_str(), "--json".as_ref()]).json();

    let members: Vec<_> = anatomy.as_object().unwrap().keys().map(String::as_str).collect();
    let mut promised =
        ["total", "header_len", "body_len", "commands", "works", "body_reference", "matches_header", "items"];
    promised.sort_unstable();
    assert_eq!(members, promised);
    assert_eq!(anatomy["total"], json!(bytes.len()));
    assert_eq!(anatomy["header_len"], json!(header.len));
    assert_eq!(anatomy["body_len"], json!(bytes.len() - header.len));
    assert_eq!((&anatomy["commands"], &anatomy["works"]), (&json!(6), &json!(4)));
    assert_eq!(anatomy["body_reference"], json!(header.body_reference.to_string()));
    assert_eq!(anatomy["matches_header"], json!(true));

    let items = anatomy["items"].as_array().unwrap();
    assert_eq!(items.len(), 10);
    for item in items {
        let offset = item["offset"].as_u64().unwrap() as usize;
        let bytes = &bytes[offset..offset + item["length"].as_u64().unwrap() as usize];
        assert_eq!(text(item, "id"), item_id(bytes).to_string());
        let (name, other) = match text(item, "kind") {
            "signed_command" => ("transaction_hash", "job_id"),
            "work" => ("job_id", "transaction_hash"),
            kind => panic!("{kind}"),
        };
        assert!(item[name].is_string() && item.get(other).is_none(), "{item}");
    }
}

#[test]
fn a_command_with_a_proof_has_no_hash_unless_the_dummy_proof_is_given() {
    let needs = |zkapp: &[u8]| matches!(command_info(zkapp, None), Err(InfoError::NeedsDummyProof { .. }));
    let zkapp = (0..100).map(zkapp_command).find(|zkapp| needs(zkapp)).unwrap();
    let first = PreDiff { works: Vec::new(), commands: vec![command(1), zkapp.clone()] };
    let block = file("proof.bin", &block(&Recipe { first, ..Recipe::default() }));
    let hash = |anatomy: &Value, item: usize| anatomy["items"][item]["transaction_hash"].clone();

    let without = run(["inspect".as_ref(), block.as_os_str(), "--json".as_ref()]);
    assert!(without.err.contains("--dummy-proof"), "{}", without.err);
    let without = without.json();
    assert!(hash(&without, 0).is_string());
    assert_eq!(without["items"][1].get("transaction_hash"), Some(&Value::Null));
    assert_eq!(text(&without["items"][1], "kind"), "zkapp_command");

    let dummy = file("dummy.bin", b"dummy");
    let with =
        run(["inspect".as_ref(), block.as_os_str(), "--json".as_ref(), "--dummy-proof".as_ref(), dummy.as_os_str()]);
    assert_eq!(with.err, "");
    let info = command_info(&zkapp, Some(b"dummy")).unwrap();
    assert_eq!(hash(&with.json(), 1), json!(info.hash.to_string()));
}

#[test]
fn the_table_shows_every_item() {
    let bytes = block(&Recipe { height: 4711, ..Recipe::counts(1, 2, 3, 1) });
    let shown = run(["inspect".as_ref(), file("table.bin", &bytes).as_os_str()]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    for says in
        ["height 4711", "4 commands, 2 works", "as the header names it", "signed command", "zkapp command", "work"]
    {
        assert!(shown.out.contains(says), "{says}: {}", shown.out);
    }
    let header = Header::prefix_of(&bytes).unwrap();
    assert!(shown.out.contains(&header.previous_state_hash.to_string()));
    assert!(shown.out.contains(&header.body_reference.to_string()));
}

#[test]
fn a_block_whose_body_is_another_than_the_header_names_is_shown() {
    let mut bytes = block(&Recipe::counts(1, 0, 2, 0)).to_vec();
    let at = Header::prefix_of(&bytes).unwrap().body_reference_at;
    bytes[at] ^= 1;
    let block = file("other_body.bin", &bytes);
    let anatomy = run(["inspect".as_ref(), block.as_os_str(), "--json".as_ref()]).json();
    assert_eq!((&anatomy["matches_header"], &anatomy["commands"]), (&json!(false), &json!(2)));
    let named = Header::prefix_of(&bytes).unwrap().body_reference;
    assert_ne!(anatomy["body_reference"], json!(named.to_string()));
    let shown = run(["inspect".as_ref(), block.as_os_str()]);
    assert!(shown.code == Some(0) && shown.out.contains("NOT the one that the header names"), "{}", shown.out);
}

#[test]
fn what_is_no_block_is_refused_with_the_offset() {
    let bytes = block(&Recipe::counts(1, 1, 2, 0));
    let header = Header::prefix_of(&bytes).unwrap().len;
    let mut longer = bytes.to_vec();
    longer.push(0);
    let cases = [
        ("empty.bin", Vec::new(), 0),
        ("cut.bin", bytes[..header].to_vec(), header),
        ("longer.bin", longer, bytes.len()),
    ];
    for (name, bytes, offset) in cases {
        let path = file(name, &bytes);
        let refused = run(["inspect".as_ref(), path.as_os_str(), "--json".as_ref()]);
        refused.assert_refused(1, &format!("offset {offset}"));
        assert!(refused.err.contains(name), "{}", refused.err);
    }
    run(["inspect", "/dev/zero"]).assert_refused(1, &format!("longer than {MAX_BLOCK_LEN} bytes"));
    run(["inspect", "no such file"]).assert_refused(1, "no such file");
}

#[test]
fn every_item_of_every_real_block_is_shown_as_it_is_known() {
    let (Some(folder), Some(dummy)) = (blocks(), dummy_proof()) else { return };
    let mut facts = listed(&folder, "vectors.json");
    facts.sort_by_key(|entry| text(entry, "file").to_owned());
    let mut count = 0;
    for known in listed(&folder, "items.json") {
        let name = text(&known, "file");
        let path = folder.join(name);
        let shown =
            run(["inspect".as_ref(), path.as_os_str(), "--json".as_ref(), "--dummy-proof".as_ref(), dummy.as_os_str()]);
        assert_eq!(shown.err, "");
        let anatomy = shown.json();
        assert_eq!(anatomy["matches_header"], json!(true), "{name}");
        // The synthetic block has no other facts.
        if let Ok(at) = facts.binary_search_by_key(&name, |entry| text(entry, "file")) {
            for member in ["total", "header_len", "body_len", "body_reference"] {
                assert_eq!(anatomy[member], facts[at][member], "{member} of {name}");
            }
        }
        let (items, shown) = (known["items"].as_array().unwrap(), anatomy["items"].as_array().unwrap());
        assert_eq!(shown.len(), items.len(), "{name}");
        let works = items.iter().filter(|item| item["kind"] == json!("work")).count();
        assert_eq!((&anatomy["works"], &anatomy["commands"]), (&json!(works), &json!(items.len() - works)), "{name}");
        for (shown, item) in shown.iter().zip(items) {
            for (member, known) in [("kind", "kind"), ("offset", "offset"), ("length", "len"), ("id", "id")] {
                assert_eq!(shown[member], item[known], "{name}: {item}");
            }
            assert_eq!(shown.get("transaction_hash"), item.get("transaction_hash"), "{name}: {item}");
            // Known in hexadecimal digits, shown as text.
            assert_eq!(shown.get("job_id"), item.get("job_id"), "{name}: {item}");
            count += 1;
        }
    }
    assert!(count > 0, "no items in {}", folder.display());
}
