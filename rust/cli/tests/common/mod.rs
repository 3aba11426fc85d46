//! What the tests of the command share: running it, files, and real blocks.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

/// What a run of the command left.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_mina-p2p")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Run {
    /// Its JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, code: i32, says: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""));
        assert!(self.err.contains(says), "{says}: {}", self.err);
    }
}

/// A file with these bytes. Its name is that of the test's and must be used once.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = temporary(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Where a test may write a file.
pub(crate) fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

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
pub(crate) fn blocks() -> Option<PathBuf> {
    shared("MINA_P2P_BLOCKS", "blocks")
}

/// What stands for a proof in a transaction's hash.
pub(crate) fn dummy_proof() -> Option<PathBuf> {
    shared("MINA_P2P_VECTORS", "mina-rust/vectors").map(|folder| folder.join("transaction_dummy_proof.bin"))
}

/// The entries of a JSON file in the folder of blocks.
pub(crate) fn listed(folder: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    match serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}")) {
        Value::Array(list) => list,
        other => panic!("{file} is no list: {other}"),
    }
}

pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} of {value}"))
}

pub(crate) fn float(value: &Value, member: &str) -> f64 {
    value[member].as_f64().unwrap_or_else(|| panic!("{member} of {value}"))
}
