//! Why a command ends with an error.

use std::io;
use std::path::PathBuf;

use mina_p2p_block::{LayoutError, NotKnown};
use mina_p2p_wire::ParseTextError;

use crate::dial::Stopped;
use crate::relay::Broken;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}: {error}", .file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("{}: longer than {max} bytes", .file.display())]
    TooLong { file: PathBuf, max: usize },
    #[error("{}: no block: {error}", .file.display())]
    NoBlock { file: PathBuf, error: LayoutError },
    #[error("{}: {error}", .file.display())]
    OtherBody { file: PathBuf, error: NotKnown },
    #[error("{}: not rebuilt with seed {seed}: {why}", .file.display())]
    NotRebuilt { file: PathBuf, seed: u64, why: Broken },
    #[error("{}: {reason}", .file.display())]
    Plot { file: PathBuf, reason: String },
    #[error("{}: no secret key (base58check, as nodes print them): {error}", .file.display())]
    NoKey { file: PathBuf, error: ParseTextError },
    /// Something that this machine does not give: randomness, a thread, a certificate.
    #[error("cannot dial: {0}")]
    NoStart(String),
    #[error("{0}")]
    Stopped(Box<Stopped>),
    #[error("{failed} of {times} dials failed")]
    Dials { failed: usize, times: usize },
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Standard output was closed by its reader.
    #[error("standard output is closed")]
    NobodyReads,
}
