//! Files that are read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use mina_p2p_wire::SecretKey;
use mina_p2p_wire::message::MAX_BLOCK_LEN;

use crate::failure::Failure;

/// The most bytes of a dummy proof; mainnet's has about 11 KB.
const MAX_DUMMY_PROOF_LEN: usize = 64 * 1024;

/// Reads a block, or what claims to be one.
pub(crate) fn block(path: &Path) -> Result<Bytes, Failure> {
    read(path, MAX_BLOCK_LEN)
}

/// Reads what stands for a proof in a transaction's hash.
pub(crate) fn dummy_proof(path: &Path) -> Result<Bytes, Failure> {
    read(path, MAX_DUMMY_PROOF_LEN)
}

/// The most bytes of a file with a secret key: its text has about 51, and somebody may have added empty lines.
const MAX_KEY_LEN: usize = 1024;

/// Reads a node's secret key in its text form, with white space around it or not.
pub(crate) fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let bytes = read(path, MAX_KEY_LEN)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    text.parse().map_err(|error| Failure::NoKey { file: path.to_owned(), error })
}

/// Reads a file of at most `max` bytes. Never more than that: it may be a pipe, or a device without end.
fn read(path: &Path, max: usize) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| -> io::Result<usize> {
        File::open(path)?.take((max as u64).saturating_add(1)).read_to_end(bytes)
    };
    match read(&mut bytes) {
        Ok(len) if len <= max => Ok(bytes.into()),
        Ok(_) => Err(Failure::TooLong { file: path.to_owned(), max }),
        Err(error) => Err(Failure::File { file: path.to_owned(), error }),
    }
}
