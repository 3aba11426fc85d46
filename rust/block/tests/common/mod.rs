//! Real blocks and what is known about them, which are not part of the repository.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::Value;

/// A folder beside the repository, or named by the variable. Says so if it is not there.
fn shared(variable: &str, folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(folder);
    let path = std::env::var_os(variable).map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    // Not through a macro, whose output a passing test swallows; and once, not for each test.
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap().insert(path.clone()) {
        let path = path.display();
        let line = format!("skipped: tests with {path}, which is not there (set {variable})\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    None
}

/// The folder of real blocks.
pub(crate) fn folder() -> Option<PathBuf> {
    shared("MINA_P2P_BLOCKS", "blocks")
}

/// The golden vectors of the existing node.
pub(crate) fn vectors() -> Option<PathBuf> {
    shared("MINA_P2P_VECTORS", "mina-rust/vectors")
}

/// What stands for a proof in a transaction's hash.
pub(crate) fn dummy_proof() -> Option<Vec<u8>> {
    vectors().map(|folder| std::fs::read(folder.join("transaction_dummy_proof.bin")).unwrap())
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks that a JSON file in the folder of blocks lists, with what it says of each.
pub(crate) fn listed(file: &str) -> Vec<(Bytes, Value)> {
    let Some(folder) = folder() else {
        return Vec::new();
    };
    let Value::Array(list) = read_json(&folder.join(file)) else { panic!("{file} is no list") };
    list.into_iter().map(|entry| (std::fs::read(folder.join(text(&entry, "file"))).unwrap().into(), entry)).collect()
}

/// The shortest real block that has an item.
pub(crate) fn small() -> Option<Bytes> {
    let has_items = |entry: &Value| entry["items"].as_array().is_some_and(|items| !items.is_empty());
    let blocks = listed("items.json").into_iter().filter(|(_, entry)| has_items(entry));
    blocks.map(|(block, _)| block).min_by_key(Bytes::len)
}

pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} of {value}"))
}

pub(crate) fn number(value: &Value, member: &str) -> usize {
    value[member].as_u64().unwrap_or_else(|| panic!("{member} of {value}")).try_into().unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
