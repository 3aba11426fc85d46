//! `mina-p2p inspect`: a block's anatomy.

use std::fmt::Write as _;

use indicatif::HumanCount;
use mina_p2p_block::{
    BodyParams, InfoError, Item, ItemKind, Layout, LayoutError, body_reference, command_info, item_id, work_info,
};
use serde::Serialize;

use crate::args::Inspect;
use crate::failure::Failure;
use crate::{input, output};

/// The digits of an item's id that the table shows.
const SHOWN_ID_LEN: usize = 16;
/// The characters of a job id that the table shows: as many as a transaction hash has. All of it has more than 200.
const SHOWN_JOB_LEN: usize = 52;
/// A fee is counted in units of which so many decimals make one Mina.
const FEE_DECIMALS: usize = 9;
const FEE_UNIT: u64 = 1_000_000_000;

/// What `--json` prints. The names are promised to users.
#[derive(Debug, Serialize)]
struct Anatomy {
    total: usize,
    header_len: usize,
    body_len: usize,
    commands: usize,
    works: usize,
    /// Of the body as it is.
    body_reference: String,
    /// Whether that is what the header names.
    matches_header: bool,
    items: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    kind: &'static str,
    offset: usize,
    length: usize,
    id: String,
    #[serde(flatten)]
    name: Name,
    #[serde(skip)]
    facts: Facts,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    /// Unknown where a proof would have to be replaced by a dummy that is not there.
    TransactionHash(Option<String>),
    JobId(String),
}

/// What only the table shows.
#[derive(Debug, Default)]
struct Facts {
    pre_diff: u8,
    /// Length of a command's status.
    status: Option<usize>,
    nonce: Option<u32>,
    fee: Option<u64>,
    /// Fee payer or prover.
    account: String,
}

pub(crate) fn run(args: &Inspect) -> Result<(), Failure> {
    let block = input::block(&args.file)?;
    let dummy_proof = args.dummy_proof.as_deref().map(input::dummy_proof).transpose()?;
    let no_block = |error| Failure::NoBlock { file: args.file.clone(), error };
    let layout = Layout::of(&block).map_err(no_block)?;
    let anatomy = anatomy(&block, &layout, dummy_proof.as_deref()).map_err(no_block)?;
    if args.json {
        output::print_json(&anatomy)?
    } else {
        output::print(&text(&anatomy, &layout))?
    }
    let unnamed = anatomy.items.iter().filter(|item| matches!(item.name, Name::TransactionHash(None))).count();
    if unnamed > 0 {
        output::complain(&format_args!("{unnamed} zkApp commands are without hash: it needs --dummy-proof"));
    }
    Ok(())
}

fn anatomy(block: &[u8], layout: &Layout, dummy_proof: Option<&[u8]>) -> Result<Anatomy, LayoutError> {
    let body = block.get(layout.body.clone()).unwrap_or_default();
    let reference = body_reference(body, BodyParams::MAINNET);
    let works = layout.items.iter().filter(|item| item.kind == ItemKind::Work).count();
    Ok(Anatomy {
        total: block.len(),
        header_len: layout.header.len,
        body_len: layout.body.len(),
        commands: layout.items.len().saturating_sub(works),
        works,
        body_reference: reference.to_string(),
        matches_header: reference == layout.header.body_reference,
        items: layout.items.iter().map(|item| entry(block, item, dummy_proof)).collect::<Result<_, _>>()?,
    })
}

fn entry(block: &[u8], item: &Item, dummy_proof: Option<&[u8]>) -> Result<Entry, LayoutError> {
    let bytes = block.get(item.range.clone()).unwrap_or_default();
    let status = item.status.as_ref().map(ExactSizeIterator::len);
    let mut facts = Facts { pre_diff: item.pre_diff, status, ..Facts::default() };
    let name = if item.kind == ItemKind::Work {
        let info = work_info(bytes)?;
        facts = Facts { fee: Some(info.fee), account: info.prover.to_string(), ..facts };
        // In hexadecimal, as other tools have it: as text it has over 200 characters.
        Name::JobId(info.job_id.0.iter().map(|byte| format!("{byte:02x}")).collect())
    } else {
        // Without the dummy proof the hash is worth nothing, but the rest is.
        let (info, is_known) = match command_info(bytes, dummy_proof) {
            Ok(info) => (info, true),
            Err(InfoError::NeedsDummyProof { .. }) => match command_info(bytes, Some(&[])) {
                Ok(info) => (info, false),
                Err(error) => return Err(layout_error(error)),
            },
            Err(error) => return Err(layout_error(error)),
        };
        let account = info.fee_payer.to_string();
        facts = Facts { nonce: Some(info.nonce), fee: Some(info.fee), account, ..facts };
        Name::TransactionHash(is_known.then(|| info.hash.to_string()))
    };
    let kind = match item.kind {
        ItemKind::SignedCommand => "signed_command",
        ItemKind::ZkappCommand => "zkapp_command",
        ItemKind::Work => "work",
    };
    let id = item_id(bytes).to_string();
    Ok(Entry { kind, offset: item.range.start, length: item.range.len(), id, name, facts })
}

/// The walker has taken the item already, so that this does not come.
fn layout_error(error: InfoError) -> LayoutError {
    match error {
        InfoError::Layout(error) => error,
        InfoError::NeedsDummyProof { offset } => LayoutError::OtherStatement { offset },
    }
}

fn text(anatomy: &Anatomy, layout: &Layout) -> String {
    let header = &layout.header;
    let mut parts = output::table(["part", "offset", "length", ""], &[1, 2]);
    let count = |count: usize| HumanCount(count as u64).to_string();
    parts.add_row(["block", "0", &count(anatomy.total), ""]);
    parts.add_row([
        "header",
        "0",
        &count(anatomy.header_len),
        "protocol state, its proof, delta chain proof, versions",
    ]);
    parts.add_row(["  protocol state", "0", "", &format!("height {}", header.height)]);
    parts.add_row(["", "", "", &format!("previous state hash {}", header.previous_state_hash)]);
    let at = count(header.body_reference_at);
    parts.add_row(["  body reference", &at, "32", &header.body_reference.to_string()]);
    let contents = format!("{} commands, {} works", anatomy.commands, anatomy.works);
    parts.add_row(["body", &count(layout.body.start), &count(anatomy.body_len), &contents]);
    let matches = if anatomy.matches_header { "as the header names it" } else { "NOT the one that the header names" };
    parts.add_row(["", "", "", &format!("body reference {}, {matches}", anatomy.body_reference)]);

    let mut items = output::table(
        [
            "item",
            "kind",
            "diff",
            "offset",
            "length",
            "status",
            "id",
            "transaction hash or job id",
            "nonce",
            "fee (Mina)",
            "fee payer or prover",
        ],
        &[0, 2, 3, 4, 5, 8, 9],
    );
    for (place, item) in anatomy.items.iter().enumerate() {
        let facts = &item.facts;
        let name = match &item.name {
            Name::TransactionHash(hash) => hash.clone().unwrap_or_else(|| "(needs --dummy-proof)".to_owned()),
            Name::JobId(id) => start_of(id, SHOWN_JOB_LEN),
        };
        items.add_row([
            place.to_string(),
            item.kind.replace('_', " "),
            facts.pre_diff.to_string(),
            count(item.offset),
            count(item.length),
            facts.status.map(|len| len.to_string()).unwrap_or_default(),
            start_of(&item.id, SHOWN_ID_LEN),
            name,
            facts.nonce.map(|nonce| nonce.to_string()).unwrap_or_default(),
            facts.fee.map(mina).unwrap_or_default(),
            facts.account.clone(),
        ]);
    }
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(text, "{}", parts.trim_fmt());
    if !anatomy.items.is_empty() {
        let _ = writeln!(text, "\n{}", items.trim_fmt());
    }
    text
}

/// The first characters of an ASCII text, and whether there are more.
fn start_of(text: &str, len: usize) -> String {
    match text.get(..len.saturating_sub(1)) {
        Some(start) if text.len() > len => format!("{start}\u{2026}"),
        _ => text.to_owned(),
    }
}

fn mina(fee: u64) -> String {
    format!("{}.{:0FEE_DECIMALS$}", fee / FEE_UNIT, fee % FEE_UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_shown_in_mina() {
        assert_eq!([mina(0), mina(1), mina(81_904_336)], ["0.000000000", "0.000000001", "0.081904336"]);
        assert_eq!(mina(u64::MAX), "18446744073.709551615");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!([start_of("abcd", 4), start_of("abcde", 4)], ["abcd", "abc\u{2026}"]);
    }
}
