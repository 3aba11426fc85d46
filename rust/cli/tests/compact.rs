//! `mina-p2p compact` relays blocks, and counts what it costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::ffi::OsString;
use std::path::PathBuf;

use common::{Run, blocks, file, float, listed, run, temporary, text};
use mina_p2p_block::Header;
use mina_p2p_block::generate::{PreDiff, Recipe, block};
use serde_json::{Value, json};

fn compact(files: &[PathBuf], args: &[&str]) -> Run {
    let args = args.iter().map(OsString::from);
    run(std::iter::once("compact".into()).chain(files.iter().map(OsString::from)).chain(args))
}

/// A block of both pre-diffs, and one without items.
fn generated(test: &str) -> [PathBuf; 2] {
    let two = Recipe { second: Some(PreDiff::counts(2, 2, 3, 1)), ..Recipe::counts(1, 6, 20, 2) };
    let recipes = [("two", two), ("empty", Recipe::default())];
    recipes.map(|(name, recipe)| file(&format!("{test}-{name}.bin"), &block(&recipe)))
}

#[test]
fn the_costs_of_blocks_are_printed_as_json() {
    let files = generated("costs");
    let report = compact(&files, &["--hit", "0.7", "--seeds", "20", "--json"]).json();
    let members: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["blocks", "relayed_bytes", "saving", "total_bytes"]);
    let rows = report["blocks"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, path) in rows.iter().zip(&files) {
        let members: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["compact", "file", "rebuilt", "relayed", "total"]);
        assert_eq!(text(row, "file"), path.to_str().unwrap());
        assert_eq!(row["total"], json!(std::fs::metadata(path).unwrap().len()));
        assert_eq!(row["rebuilt"], json!(true));
        assert!(float(row, "relayed") >= float(row, "compact"));
    }
    // Something was missing; of nothing, nothing.
    assert!(
        float(&rows[0], "relayed") > float(&rows[0], "compact")
            && float(&rows[0], "relayed") < float(&rows[0], "total")
    );
    assert!((float(&rows[1], "relayed") - float(&rows[1], "compact")).abs() < 1e-6);
    let sum = |member| rows.iter().map(|row| float(row, member)).sum::<f64>();
    assert!((float(&report, "total_bytes") - sum("total")).abs() < 1e-6);
    assert!((float(&report, "relayed_bytes") - sum("relayed")).abs() < 1e-6);
    assert!((float(&report, "saving") - (1.0 - sum("relayed") / sum("total"))).abs() < 1e-9);
}

#[test]
fn the_same_seeds_give_the_same_figures_and_more_hits_cost_less() {
    let files = generated("same");
    let cost = |hit: &str| compact(&files, &["--hit", hit, "--seeds", "9", "--json"]).out;
    assert_eq!(cost("0.5"), cost("0.5"));
    let relayed = |hit| float(&serde_json::from_str::<Value>(&cost(hit)).unwrap(), "relayed_bytes");
    let costs = ["0", "0.25", "0.5", "0.75", "1"].map(relayed);
    assert!(costs.is_sorted_by(|less, more| less > more), "{costs:?}");
}

#[test]
fn the_table_has_a_line_for_each_block_and_the_total() {
    let shown = compact(&generated("table"), &["--seeds", "3"]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    for says in ["table-two", "table-empty", "total", "2 of 2", "3 draws", "probability 0.95"] {
        assert!(shown.out.contains(says), "{says}: {}", shown.out);
    }
}

#[test]
fn a_chart_has_two_bars_and_the_name_of_each_block() {
    let svg = temporary("chart.svg");
    let files = generated("chart");
    let shown = compact(&files, &["--seeds", "2", "--plot", svg.to_str().unwrap()]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    let chart = std::fs::read_to_string(&svg).unwrap();
    assert!(chart.starts_with("<svg ") && chart.trim_end().ends_with("</svg>"));
    for says in ["chart-two", "chart-empty", "bytes (logarithmic)", "the block", "what was relayed for it"] {
        assert!(chart.contains(says), "{says}");
    }
    // Those of two blocks, and of the legend.
    for color in ["#A9B7CC", "#1D5AA6"] {
        assert_eq!(chart.matches(color).count(), 3, "{color}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let files = generated("arguments");
    for hit in ["1.1", "-0.1", "NaN", "often"] {
        compact(&files, &[&format!("--hit={hit}")]).assert_refused(2, "--hit");
    }
    for seeds in ["0", "-1", "1000001", "many"] {
        compact(&files, &[&format!("--seeds={seeds}")]).assert_refused(2, "--seeds");
    }
    compact(&[], &[]).assert_refused(2, "FILE");
}

#[test]
fn files_that_cannot_be_relayed_are_refused_by_name() {
    let [good, _] = generated("refused");
    let bytes = std::fs::read(&good).unwrap();
    let cut = file("refused-cut.bin", &bytes[..bytes.len() - 1]);
    compact(&[good.clone(), cut], &["--json"]).assert_refused(1, "refused-cut.bin: no block");
    let mut other = bytes.clone();
    let at = Header::prefix_of(&bytes).unwrap().body_reference_at;
    other[at] ^= 1;
    let other = file("refused-other.bin", &other);
    compact(&[good.clone(), other], &["--json"]).assert_refused(1, "refused-other.bin: the header names the body");
    let nowhere = temporary("no such folder").join("chart.svg");
    compact(&[good], &["--seeds", "1", "--plot", nowhere.to_str().unwrap()]).assert_refused(1, "chart.svg");
}

/// What a block may cost at the most: 3 % more than it has, with no hit.
fn assert_bounds(folder: &std::path::Path, files: &[PathBuf]) {
    let report = compact(files, &["--hit", "0", "--seeds", "1", "--json"]).json();
    let items = listed(folder, "items.json");
    for row in report["blocks"].as_array().unwrap() {
        assert_eq!(row["rebuilt"], json!(true), "{row}");
        assert!(float(row, "relayed") <= 1.03 * float(row, "total"), "{row}");
        let entry = items.iter().find(|entry| text(row, "file").ends_with(text(entry, "file"))).unwrap();
        let list = entry["items"].as_array().unwrap();
        let statuses: u64 = list.iter().filter_map(|item| item["status_len"].as_u64()).filter(|len| *len > 1).sum();
        let most = entry["header_len"].as_u64().unwrap() + 100 + 8 * list.len() as u64 + statuses;
        assert!(float(row, "compact") <= most as f64, "{row}: above {most}");
    }
}

#[test]
fn real_blocks_are_relayed_for_what_was_promised() {
    let Some(folder) = blocks() else { return };
    let all: Vec<_> = listed(&folder, "items.json").iter().map(|entry| folder.join(text(entry, "file"))).collect();
    let starting = |start: &str| -> Vec<PathBuf> {
        let starts = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(start);
        all.iter().filter(starts).cloned().collect()
    };
    assert_bounds(&folder, &all);
    // At full hit and at none the seeds do not matter. Between, what was promised is for 200 of them; the mean of five spreads
    // by up to 1.6 % of the bytes (128 works, each missing once in five draws), of which three are allowed for.
    const SPREAD: f64 = 0.05;
    let [mainnet, synthetic] = ["mainnet-", "synthetic-"].map(starting);
    let cases = [
        (&mainnet, "1", "1", 0.835),
        (&mainnet, "0.95", "5", 0.79 - SPREAD),
        (&mainnet, "0.8", "5", 0.66 - SPREAD),
        (&mainnet, "0", "1", -0.004),
        (&synthetic, "1", "1", 0.995),
        (&synthetic, "0.95", "5", 0.944 - SPREAD),
        (&synthetic, "0.8", "5", 0.793 - SPREAD),
        (&synthetic, "0", "1", -0.004),
    ];
    for (files, hit, seeds, least) in cases {
        if files.is_empty() {
            continue;
        }
        let report = compact(files, &["--hit", hit, "--seeds", seeds, "--json"]).json();
        assert!(report["blocks"].as_array().unwrap().iter().all(|row| row["rebuilt"] == json!(true)));
        assert!(float(&report, "saving") >= least, "{hit}: {} below {least}", report["saving"]);
    }
}
