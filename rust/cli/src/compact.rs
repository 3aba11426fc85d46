//! `mina-p2p compact`: what relaying blocks compactly costs.

use std::path::{Path, PathBuf};

use indicatif::{HumanCount, ProgressBar, ProgressFinish, ProgressStyle};
use mina_p2p_block::{KnownBlock, NotKnown};
use serde::Serialize;

use crate::args::Compact;
use crate::failure::Failure;
use crate::relay::Relay;
use crate::{input, output, plot};

/// What `--json` prints. The names are promised to users; bytes after compaction are means over the seeds.
#[derive(Debug, Serialize)]
struct Report {
    blocks: Vec<Row>,
    total_bytes: u64,
    relayed_bytes: f64,
    /// What part of the bytes is not relayed. Less than 0 if more is.
    saving: f64,
}

/// One block.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// As it was given.
    pub(crate) file: String,
    /// The block's bytes.
    pub(crate) total: u64,
    /// The compact message's.
    pub(crate) compact: u64,
    /// Those of the compact message, requests and answers.
    pub(crate) relayed: f64,
    /// Whether every seed gave the file's bytes again.
    pub(crate) rebuilt: bool,
    #[serde(skip)]
    pub(crate) items: usize,
    #[serde(skip)]
    missed: f64,
}

pub(crate) fn run(args: &Compact) -> Result<(), Failure> {
    let progress = progress(args.files.len(), args.seeds);
    let mut failures = Vec::new();
    let mut blocks = Vec::new();
    for file in &args.files {
        // One at a time, however many there are.
        blocks.push(measure(args, file, &open(file)?, &progress, &mut failures));
    }
    progress.finish_and_clear();
    let report = Report::of(blocks);
    if let Some(path) = &args.plot {
        plot::write(path, &report.blocks, args.hit)?;
    }
    if args.json {
        output::print_json(&report)?
    } else {
        output::print(&text(&report, args))?
    }
    let last = failures.pop();
    failures.iter().for_each(|failure| output::complain(failure));
    last.map_or(Ok(()), Err)
}

fn open(file: &Path) -> Result<Relay, Failure> {
    match KnownBlock::of(input::block(file)?) {
        Ok(known) => Ok(Relay::new(known)),
        Err(NotKnown::Layout(error)) => Err(Failure::NoBlock { file: file.to_owned(), error }),
        Err(error) => Err(Failure::OtherBody { file: file.to_owned(), error }),
    }
}

/// Relays a block once for each seed.
fn measure(args: &Compact, file: &Path, relay: &Relay, progress: &ProgressBar, failures: &mut Vec<Failure>) -> Row {
    let (mut compact, mut relayed, mut missed) = (0, 0, 0);
    let mut rebuilt = true;
    for seed in 1..=u64::from(args.seeds) {
        match relay.run(args.hit, seed) {
            Ok(cost) => {
                compact = cost.compact;
                relayed += cost.relayed;
                missed += cost.missed;
            }
            // As it is then: the whole block has to be sent.
            Err(why) => {
                relayed += relay.len();
                if rebuilt {
                    failures.push(Failure::NotRebuilt { file: file.to_owned(), seed, why });
                }
                rebuilt = false;
            }
        }
        progress.inc(1);
    }
    Row {
        file: file.to_string_lossy().into_owned(),
        total: relay.len(),
        compact,
        relayed: relayed as f64 / f64::from(args.seeds),
        rebuilt,
        items: relay.items(),
        missed: missed as f64 / f64::from(args.seeds),
    }
}

impl Report {
    fn of(blocks: Vec<Row>) -> Self {
        let total_bytes = blocks.iter().map(|row| row.total).sum();
        let relayed_bytes = blocks.iter().map(|row| row.relayed).sum();
        Self { blocks, total_bytes, relayed_bytes, saving: saving(total_bytes, relayed_bytes) }
    }
}

fn saving(total: u64, relayed: f64) -> f64 {
    1.0 - relayed / total.max(1) as f64
}

/// A bar on standard error. Nothing is shown where that is no terminal.
fn progress(blocks: usize, seeds: u32) -> ProgressBar {
    let bar = ProgressBar::new((blocks as u64).saturating_mul(seeds.into())).with_finish(ProgressFinish::AndClear);
    match ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} relays, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn text(report: &Report, args: &Compact) -> String {
    let mut table = output::table(
        ["block", "bytes", "items", "missed", "compact", "relayed", "saving", "rebuilt"],
        &[1, 2, 3, 4, 5, 6],
    );
    let count = |count: u64| HumanCount(count).to_string();
    for row in &report.blocks {
        table.add_row([
            name(&row.file),
            count(row.total),
            row.items.to_string(),
            format!("{:.1}", row.missed),
            count(row.compact),
            count(row.relayed.round() as u64),
            percent(saving(row.total, row.relayed)),
            if row.rebuilt { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    let compact = report.blocks.iter().map(|row| row.compact).sum();
    let rebuilt = report.blocks.iter().filter(|row| row.rebuilt).count();
    table.add_row([
        "total".to_owned(),
        count(report.total_bytes),
        report.blocks.iter().map(|row| row.items).sum::<usize>().to_string(),
        format!("{:.1}", report.blocks.iter().map(|row| row.missed).sum::<f64>()),
        count(compact),
        count(report.relayed_bytes.round() as u64),
        percent(report.saving),
        format!("{rebuilt} of {}", report.blocks.len()),
    ]);
    let Compact { hit, seeds, .. } = args;
    format!("{}\nMeans over {seeds} draws of pools that have an item with probability {hit}.\n", table.trim_fmt())
}

fn percent(part: f64) -> String {
    format!("{:.2} %", 100.0 * part)
}

/// A block's name in tables and charts: that of its file, without folder and extension.
pub(crate) fn name(file: &str) -> String {
    PathBuf::from(file).file_stem().map_or_else(|| file.to_owned(), |stem| stem.to_string_lossy().into_owned())
}
