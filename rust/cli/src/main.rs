//! The `mina-p2p` command: what is in a Mina block, what it costs to relay it, and why a peer cannot be reached.

mod args;
mod compact;
mod dial;
mod failure;
mod input;
mod inspect;
mod output;
mod plot;
mod relay;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Dial(args) => dial::run(&args),
    };
    match done {
        // Nobody reads on: no reason to complain.
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::FAILURE
        }
    }
}
