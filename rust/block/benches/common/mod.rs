//! What the benchmarks of blocks and of nodes share: the blocks, and how figures are printed.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use mina_p2p_block::KnownBlock;
use mina_p2p_block::generate::{self, Recipe};

/// One line of the table.
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What is wanted; empty for what is only told.
    pub(crate) target: &'static str,
    pub(crate) met: bool,
    pub(crate) detail: String,
}

/// Prints the table, or with `--json` among the arguments one object on one line.
pub(crate) fn print(figures: &[Figure]) {
    if std::env::args().any(|arg| arg == "--json") {
        let members: Vec<String> =
            figures.iter().map(|figure| format!("\"{}\":{:.3}", figure.key, figure.value)).collect();
        return println!("{{{}}}", members.join(","));
    }
    for figure in figures {
        let met = match (figure.target, figure.met) {
            ("", _) => "",
            (_, true) => "met",
            (_, false) => "MISSED",
        };
        let target = if figure.target.is_empty() { String::new() } else { format!("target {}", figure.target) };
        println!(
            "{:<44} {:>8.2} {:<12} {target:<17} {met:<6} ({})",
            figure.what, figure.value, figure.unit, figure.detail
        );
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The blocks that are measured.
pub(crate) struct Blocks {
    /// Mainnet's of the folder; or generated ones.
    pub(crate) mainnet: Vec<KnownBlock>,
    /// One of 3 MB.
    pub(crate) large: KnownBlock,
    /// What they are, for the table.
    pub(crate) are: &'static str,
}

/// The folder that `MINA_P2P_BLOCKS` names, or `../shared/blocks` beside the repository.
fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/blocks");
    std::env::var_os("MINA_P2P_BLOCKS").map_or_else(beside, PathBuf::from)
}

impl Blocks {
    /// Of the folder; or, if it has none, generated in the same sizes.
    pub(crate) fn load() -> Blocks {
        let known = |path: &PathBuf| KnownBlock::of(std::fs::read(path).unwrap().into()).unwrap();
        let entries = std::fs::read_dir(folder()).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let named = |start: &str| -> Vec<KnownBlock> {
            let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
            let is_one = |path: &&PathBuf| name(path).starts_with(start) && name(path).ends_with(".bin");
            paths.iter().filter(is_one).map(known).collect()
        };
        let (mainnet, large) = (named("mainnet-"), named("synthetic-").pop());
        match large {
            Some(large) if !mainnet.is_empty() => Blocks { mainnet, large, are: "real blocks" },
            _ => Blocks::generated(),
        }
    }

    /// Works, signed commands and zkApp commands as mainnet's blocks have them.
    fn generated() -> Blocks {
        let block = |(seed, [works, signed, zkapps]): (u64, [usize; 3])| {
            KnownBlock::of(generate::block(&Recipe::counts(seed, works, signed, zkapps))).unwrap()
        };
        let counts = [[0, 1, 0], [0, 8, 0], [2, 12, 0], [4, 20, 1], [8, 40, 2], [20, 90, 3]];
        let mainnet = (1..).zip(counts).map(block).collect();
        Blocks { mainnet, large: block((100, [128, 126, 2])), are: "generated blocks" }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &KnownBlock> {
        self.mainnet.iter().chain([&self.large])
    }

    /// Writes them as files, for the command line.
    pub(crate) fn write(&self, folder: &Path) {
        let write = |name: &str, block: &Bytes| std::fs::write(folder.join(name), block).unwrap();
        for (n, block) in self.mainnet.iter().enumerate() {
            write(&format!("mainnet-{n}.bin"), &block.bytes);
        }
        write("synthetic.bin", &self.large.bytes);
    }
}
