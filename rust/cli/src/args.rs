//! What is typed behind `mina-p2p`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The most seeds: a mean does not get better beyond, only slower.
const MAX_SEEDS: i64 = 1_000_000;

/// What is in a Mina block, and what it costs to relay it.
#[derive(Debug, Parser)]
#[command(name = "mina-p2p", version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Compact(Compact),
}

/// Show a block's anatomy: header, body, items.
///
/// FILE has the block's binprot bytes, without a gossip tag or RPC framing. A block whose body is not the one that its header
/// names is shown too.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The block.
    pub(crate) file: PathBuf,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// The network's dummy proof (binprot of OCaml's Proof.transaction_dummy), which stands for every proof in a transaction
    /// hash. Without it zkApp commands with proofs are shown without hash.
    #[arg(long, value_name = "FILE")]
    pub(crate) dummy_proof: Option<PathBuf>,
}

/// Relay blocks compactly, offline, and show what it costs.
///
/// For each block and each seed 1, 2, .. it is drawn which items the receiver's pools have; then the compact message is made,
/// the block is rebuilt from it, what is missing is asked for and answered, and the result is compared with the file. What is
/// counted: the frames of all messages, each with its head of 4 bytes; not QUIC's and UDP's own bytes. Figures are means over
/// the seeds.
#[derive(Debug, clap::Args)]
pub(crate) struct Compact {
    /// The blocks.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The probability that an item is in the receiver's pools, from 0 to 1.
    #[arg(long, value_name = "PROBABILITY", default_value = "0.95", value_parser = probability)]
    pub(crate) hit: f64,
    /// How many draws to take the mean of.
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=MAX_SEEDS))]
    pub(crate) seeds: u32,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write a chart of each block's bytes before and after, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hit) if (0.0..=1.0).contains(&hit) => Ok(hit),
        Ok(hit) => Err(format!("{hit} is outside of 0..=1")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_probability_is_from_0_to_1() {
        assert_eq!([probability("0"), probability("0.95"), probability("1")], [Ok(0.0), Ok(0.95), Ok(1.0)]);
        for text in ["-0.1", "1.01", "NaN", "inf", "", "half"] {
            assert!(probability(text).is_err(), "{text}");
        }
    }
}
