//! Conformance vectors of compact blocks, in `tests/vectors` of the repository: hashes, trees, chunks, and a
//! whole block. The files are exactly
//! what this code makes, pinned by a hash, so that nothing changes by accident. To change one on purpose:
//!
//! ```text
//! MINA_P2P_WRITE_VECTORS=1 cargo test -p mina-p2p-block --test vectors the_files
//! ```
//!
//! and then put the new hash, which the failing test prints, below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod block;
#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};

use blake2::{Blake2b, Digest, digest::consts::U32};
use bytes::Bytes;
use common::{hex, number, read_json, text, unhex};
use mina_p2p_block::merkle::{self, ProofError};
use mina_p2p_block::{
    BodyChunks, BodyParams, BodyReference, ChunkedBody, ItemId, ItemsRoot, ShortIdKey, body_reference, item_id,
};
use serde_json::{Value, json};

/// BLAKE2b-256 over the files in the order of [`files`], each preceded by its name.
const PINNED: &str = "2fed4664c2c95d8c7e6a8881e513fac8cb7411d3c4416fcbd0a1f0833719c977";

fn files() -> Vec<(&'static str, Value)> {
    vec![
        ("items_roots.json", items_roots()),
        ("short_ids.json", short_ids()),
        ("bodies.json", bodies()),
        ("compact_block.json", block::vectors()),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn load(file: &str) -> Value {
    read_json(&folder().join(file))
}

#[test]
fn the_files_are_what_the_code_makes_and_what_was_pinned() {
    let mut hash = Blake2b::<U32>::new();
    for (name, content) in files() {
        let made = serde_json::to_string_pretty(&content).unwrap() + "\n";
        let path = folder().join(name);
        if std::env::var_os("MINA_P2P_WRITE_VECTORS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap();
        // Not assert_eq, which would print both files.
        assert!(there == made, "{name} is not what the code makes");
        hash.update(name);
        hash.update(there);
    }
    assert_eq!(hex(&hash.finalize()), PINNED, "the vectors changed");
}

// The items root and its multiproofs.

/// The ids of the vectors: 32 times the place.
fn simple_ids(count: usize) -> Vec<ItemId> {
    (0..count).map(|place| ItemId([place as u8; 32])).collect()
}

/// Of few items every choice, of more some.
fn choices(count: usize) -> Vec<Vec<u32>> {
    let all = 0..count as u32;
    if count <= 3 {
        let chosen = |mask: u32| all.clone().filter(|place| mask >> place & 1 == 1).collect();
        return (0..1 << count).map(chosen).collect();
    }
    let last = all.end - 1;
    let (even, middle) = (all.clone().step_by(2).collect(), all.end / 2);
    vec![vec![], vec![0], vec![last], vec![0, last], vec![middle - 1, middle], even, all.clone().collect()]
}

fn hashes(hashes: &[[u8; 32]]) -> Vec<String> {
    hashes.iter().map(|hash| hex(hash)).collect()
}

fn items_roots() -> Value {
    let trees = [0, 1, 2, 3, 5, 7, 8, 13].map(|count| {
        let ids = simple_ids(count);
        let proofs = choices(count).into_iter().map(|places| {
            let proof = merkle::prove(&ids, &places).unwrap();
            json!({ "places": places, "proof": hashes(&proof) })
        });
        json!({
            "count": count,
            "root": merkle::items_root(&ids).to_string(),
            "proofs": proofs.collect::<Vec<_>>(),
        })
    });
    json!({ "trees": trees, "refused": refused_proofs() })
}

/// Proofs that show nothing: of five items, places 1 and 3.
fn refused_proofs() -> Vec<Value> {
    let ids = simple_ids(5);
    let root = merkle::items_root(&ids);
    let (places, proven) = (vec![1, 3], vec![ids[1], ids[3]]);
    let proof = merkle::prove(&ids, &places).unwrap();
    let with = |hash: [u8; 32]| [&proof[..], &[hash]].concat();
    let mut changed = proof.clone();
    changed[0][31] ^= 1;
    let mut swapped = proof.clone();
    swapped.swap(0, 1);
    let cases = [
        ("a hash too few", 5, places.clone(), proven.clone(), proof[..2].to_vec()),
        ("a hash too many", 5, places.clone(), proven.clone(), with([0; 32])),
        ("a hash that is changed", 5, places.clone(), proven.clone(), changed),
        ("hashes in another order", 5, places.clone(), proven.clone(), swapped),
        ("items in another order", 5, places.clone(), vec![ids[3], ids[1]], proof.clone()),
        ("one id too few", 5, places.clone(), vec![ids[1]], proof.clone()),
        ("another number of items", 6, places.clone(), proven.clone(), proof.clone()),
        ("places that do not rise", 5, vec![3, 1], proven.clone(), proof.clone()),
        ("the same place twice", 5, vec![1, 1], proven.clone(), proof.clone()),
        ("a place behind the last", 5, vec![1, 5], proven.clone(), proof.clone()),
        ("more items than travel compactly", 8193, places, proven, proof),
    ];
    let case = |(what, count, places, ids, proof): (&str, usize, Vec<u32>, Vec<ItemId>, Vec<[u8; 32]>)| {
        let error = merkle::verify(&root, count, &places, &ids, &proof).unwrap_err();
        json!({
            "what": what,
            "root": root.to_string(),
            "count": count,
            "places": places,
            "ids": ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "proof": hashes(&proof),
            "error": proof_error(&error),
        })
    };
    cases.into_iter().map(case).collect()
}

fn proof_error(error: &ProofError) -> String {
    format!("{error:?}").split([' ', '(']).next().unwrap().to_owned()
}

fn array(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

fn list<T>(value: &Value, member: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
    value[member].as_array().unwrap_or_else(|| panic!("{member} of {value}")).iter().map(read).collect()
}

fn hash_list(value: &Value, member: &str) -> Vec<[u8; 32]> {
    list(value, member, |hash| array(hash.as_str().unwrap()))
}

fn places(value: &Value) -> Vec<u32> {
    list(value, "places", |place| place.as_u64().unwrap().try_into().unwrap())
}

#[test]
fn multiproofs_show_what_they_should_and_nothing_else() {
    let vectors = load("items_roots.json");
    for tree in list(&vectors, "trees", Value::clone) {
        let (count, root) = (number(&tree, "count"), ItemsRoot(array(text(&tree, "root"))));
        for vector in list(&tree, "proofs", Value::clone) {
            let places = places(&vector);
            let ids: Vec<_> = places.iter().map(|place| ItemId([*place as u8; 32])).collect();
            let proof = hash_list(&vector, "proof");
            assert_eq!(merkle::verify(&root, count, &places, &ids, &proof), Ok(()), "{count}: {vector}");
        }
    }
    for vector in list(&vectors, "refused", Value::clone) {
        let root = ItemsRoot(array(text(&vector, "root")));
        let ids: Vec<_> = hash_list(&vector, "ids").into_iter().map(ItemId).collect();
        let proof = hash_list(&vector, "proof");
        let error = merkle::verify(&root, number(&vector, "count"), &places(&vector), &ids, &proof).unwrap_err();
        assert_eq!(proof_error(&error), text(&vector, "error"), "{vector}");
    }
}

// Item ids and short ids.

fn short_ids() -> Value {
    let items = [&b""[..], b"item", &[0; 128], &[0; 129]];
    let item_ids = items.map(|item| json!({ "item_hex": hex(item), "id": item_id(item).to_string() }));
    let lists = [(&b"header"[..], [0; 8]), (b"header", [1, 2, 3, 4, 5, 6, 7, 8]), (b"", [0xff; 8])];
    let lists = lists.map(|(header, nonce)| {
        let digest = Blake2b::<U32>::new().chain_update(header).chain_update(nonce).finalize();
        let key = ShortIdKey::new(header, &nonce);
        let ids = simple_ids(4).into_iter().chain(items.map(item_id));
        let short_ids = ids.map(|id| json!({ "id": id.to_string(), "short_id": hex(&key.short_id(&id)) }));
        json!({
            "header_hex": hex(header),
            "nonce": hex(&nonce),
            "siphash_key": hex(&digest[..16]),
            "short_ids": short_ids.collect::<Vec<_>>(),
        })
    });
    json!({ "item_ids": item_ids, "lists": lists })
}

#[test]
fn ids_and_short_ids() {
    let vectors = load("short_ids.json");
    for vector in list(&vectors, "item_ids", Value::clone) {
        assert_eq!(item_id(&unhex(text(&vector, "item_hex"))).to_string(), text(&vector, "id"));
    }
    for vector in list(&vectors, "lists", Value::clone) {
        let nonce = unhex(text(&vector, "nonce")).try_into().unwrap();
        let key = ShortIdKey::new(&unhex(text(&vector, "header_hex")), &nonce);
        for pair in list(&vector, "short_ids", Value::clone) {
            let id = ItemId(array(text(&pair, "id")));
            assert_eq!(hex(&key.short_id(&id)), text(&pair, "short_id"), "{pair}");
        }
    }
}

// Body references.

/// The bodies of the vectors: byte i is 7 i mod 251.
fn simple_body(len: usize) -> Bytes {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

/// Lengths beside which the number of chunks changes, and some others. D is five bytes longer; a leaf has 262,142 bytes and
/// takes 32 of the root chunk's.
const BODY_LENGTHS: [usize; 12] = [
    0,
    1,
    10_000,
    262_142 - 5 - 1,
    262_142 - 5,
    262_142 - 5 + 1,
    262_142 - 5 + 32,
    2 * 262_110 + 32 - 5,
    2 * 262_110 + 32 - 5 + 1,
    3 * 262_110 + 32 - 5,
    3 * 262_110 + 32 - 5 + 1,
    3_000_000,
];

fn bodies() -> Value {
    let bodies = BODY_LENGTHS.map(|len| {
        let body = ChunkedBody::new(simple_body(len), BodyParams::MAINNET);
        let chunks = (0..body.count()).map(|index| {
            let chunk = body.chunk(index).unwrap().into_bytes();
            json!({ "length": chunk.len(), "blake2b": item_id(&chunk).to_string() })
        });
        let root = body.chunk(0).unwrap();
        let (links, prefix) = root.head[2..].split_at(32 * (body.count() - 1));
        json!({
            "length": len,
            "reference": body.reference().to_string(),
            "links": hashes(links.as_chunks::<32>().0),
            "before_body_hex": hex(prefix),
            "root_part_length": root.data.len(),
            "chunks": chunks.collect::<Vec<_>>(),
        })
    });
    json!({ "rule": "byte i of a body is 7 i mod 251", "bodies": bodies })
}

#[test]
fn body_references_and_chunks() {
    for vector in list(&load("bodies.json"), "bodies", Value::clone) {
        let body = simple_body(number(&vector, "length"));
        let reference = BodyReference(array(text(&vector, "reference")));
        assert_eq!(body_reference(&body, BodyParams::MAINNET), reference);
        let served = ChunkedBody::new(body.clone(), BodyParams::MAINNET);
        let mut taken = BodyChunks::new(reference, BodyParams::MAINNET);
        let chunks = list(&vector, "chunks", Value::clone);
        assert_eq!(chunks.len(), served.count());
        for (index, vector) in chunks.iter().enumerate() {
            let chunk = served.chunk(index).unwrap().into_bytes();
            assert_eq!(chunk.len(), number(vector, "length"));
            assert_eq!(item_id(&chunk).to_string(), text(vector, "blake2b"));
            assert_eq!(taken.insert(index, chunk), Ok(()));
        }
        assert!(taken.body().unwrap() == body, "the chunks make up the body");
    }
}
