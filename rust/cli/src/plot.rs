//! `--plot`: each block's bytes before and after, as a chart.

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::compact::{Row, name};
use crate::failure::Failure;

/// The blocks that are shown; a picture of more is read by nobody.
const MAX_ROWS: usize = 500;
/// The characters of a block's name that are shown.
const NAME_LEN: usize = 32;

/// Lengths in pixels.
const WIDTH: u32 = 1000;
const ROW: u32 = 22;
const MARGIN: u32 = 16;
/// Title and legend.
const TOP: u32 = 64;
/// The axis below.
const BOTTOM: u32 = 48;
/// The blocks' names.
const LEFT: u32 = 240;

const FONT: (&str, u32) = ("sans-serif", 13);
const TITLE: (&str, u32) = ("sans-serif", 17);
const BEFORE: RGBColor = RGBColor(0xa9, 0xb7, 0xcc);
const AFTER: RGBColor = RGBColor(0x1d, 0x5a, 0xa6);

/// Writes the chart, in place of what was in the file.
pub(crate) fn write(path: &Path, blocks: &[Row], hit: f64) -> Result<(), Failure> {
    let blocks = blocks.get(..MAX_ROWS).unwrap_or(blocks);
    let mut svg = String::new();
    draw(&mut svg, blocks, hit).map_err(|error| Failure::Plot { file: path.to_owned(), reason: error.to_string() })?;
    fs::write(path, svg).map_err(|error| Failure::File { file: path.to_owned(), error })
}

fn draw(svg: &mut String, blocks: &[Row], hit: f64) -> Result<(), Box<dyn Error>> {
    let rows = u32::try_from(blocks.len())?;
    let sizes = || blocks.iter().flat_map(|row| [row.total as f64, row.relayed]);
    let most = sizes().fold(1.0, f64::max) * 1.3;
    // Bars start here: a logarithmic axis has no 0.
    let least = sizes().fold(most, f64::min) / 2.0;

    let root = SVGBackend::with_string(svg, (WIDTH, MARGIN + TOP + ROW * rows + BOTTOM)).into_drawing_area();
    root.fill(&WHITE)?;
    let (top, chart) = root.split_vertically(MARGIN + TOP);
    let mut chart = ChartBuilder::on(&chart)
        .margin_right(MARGIN)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(LEFT)
        // The first row is the upmost.
        .build_cartesian_2d((least..most).log_scale(), f64::from(rows)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(8)
        .x_desc("bytes (logarithmic)")
        .x_label_formatter(&|bytes| size(*bytes))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .draw()?;
    for (row, block) in (0..rows).map(f64::from).zip(blocks) {
        let bar = |from: f64, to: f64, bytes: f64, color: RGBColor| {
            Rectangle::new([(least, row + from), (bytes, row + to)], color.filled())
        };
        chart.draw_series([bar(0.1, 0.5, block.total as f64, BEFORE), bar(0.5, 0.9, block.relayed, AFTER)])?;
    }

    let style = |h, v| FONT.into_font().color(&BLACK).pos(Pos::new(h, v));
    for (row, block) in (0..rows).map(f64::from).zip(blocks) {
        let (x, y) = chart.plotting_area().map_coordinate(&(least, row + 0.5));
        // In the coordinates of the whole picture.
        root.draw(&Text::new(shown(&name(&block.file)), (x - 8, y), style(HPos::Right, VPos::Center)))?;
    }
    let (x, y) = (i32::try_from(LEFT)?, i32::try_from(MARGIN)?);
    let title = format!("Bytes of blocks before and after compaction, {:.1} % of items in the pools", 100.0 * hit);
    top.draw(&Text::new(title, (x, y), TITLE))?;
    for (x, color, text) in [(x, BEFORE, "the block"), (x + 120, AFTER, "what was relayed for it")] {
        top.draw(&Rectangle::new([(x, y + 32), (x + 14, y + 44)], color.filled()))?;
        top.draw(&Text::new(text, (x + 20, y + 38), style(HPos::Left, VPos::Center)))?;
    }
    root.present()?;
    Ok(())
}

/// The start of a name.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(NAME_LEN).collect();
    if shown.len() < name.len() {
        shown.push('\u{2026}');
    }
    shown
}

fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e6 => format!("{} MB", bytes / 1e6),
        bytes if bytes >= 1e3 => format!("{} KB", bytes / 1e3),
        bytes => format!("{bytes} B"),
    }
}
