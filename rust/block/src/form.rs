//! The forms that an item travels in, and the way from each to the form in blocks, which is the one that is named and kept.

use std::borrow::Cow;
use std::ops::Range;

use mina_p2p_wire::binprot::Writer;

use crate::format::{BERKELEY, Mark, ONE, Shape, TWO};
use crate::layout::command_kind;
use crate::walk::{Number, Visitor, exactly};
use crate::{ItemKind, LayoutError};

/// A form that an item travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemForm {
    /// A command as blocks, pools and RPC answers all carry it: with the tag of `User_command`, without a status.
    Command,
    /// A work as blocks carry it: fee, proofs, prover.
    BlockWork,
    /// A work as RPC answers of the pull protocol carry it: prover, fee, proofs.
    RpcWork,
    /// A work as the gossip network's snark pool diff carries it: the tag of `Add_solved_work`, statements, proofs, fee,
    /// prover. The statements are also inside the proofs.
    GossipWork,
}

impl ItemForm {
    fn shape(self) -> (&'static Shape, &'static str) {
        match self {
            Self::Command => (&BERKELEY.command, "command"),
            Self::BlockWork => (&BERKELEY.work, "completed work"),
            Self::RpcWork => (&BERKELEY.rpc_work, "completed work in an answer"),
            Self::GossipWork => (&BERKELEY.gossip_work, "snark pool diff"),
        }
    }
}

/// Checks that `bytes` are exactly one item in canonical form, and says what it is.
///
/// # Errors
/// A [`LayoutError`] if they are not, or if something is behind it.
pub fn check_item(form: ItemForm, bytes: &[u8]) -> Result<ItemKind, LayoutError> {
    let (shape, what) = form.shape();
    match form {
        ItemForm::Command => {
            exactly(bytes, shape, what, ())?;
            Ok(command_kind(bytes.first().copied()))
        }
        ItemForm::GossipWork => WorkForm::of(form, bytes).map(|_| ItemKind::Work),
        ItemForm::BlockWork | ItemForm::RpcWork => exactly(bytes, shape, what, ()).map(|()| ItemKind::Work),
    }
}

/// The canonical form of an item that may be spelled with longer integers than needed, as the existing node accepts them.
/// Borrowed if it is canonical already. Whether a gossiped work states what its proofs state is not looked at.
///
/// # Errors
/// A [`LayoutError`] if it is no item even so, or if something is behind it.
pub fn canonical(form: ItemForm, bytes: &[u8]) -> Result<Cow<'_, [u8]>, LayoutError> {
    let (shape, what) = form.shape();
    let mut respelled = exactly(bytes, shape, what, Respelled { bytes, at: 0, writer: Writer::new() })?;
    if respelled.at == 0 {
        return Ok(Cow::Borrowed(bytes));
    }
    respelled.copy_up_to(bytes.len());
    Ok(Cow::Owned(respelled.writer.finish().into()))
}

/// Copies what is walked, with integers as short as they can be.
struct Respelled<'a> {
    bytes: &'a [u8],
    /// Up to where the bytes are written: 0 until an integer was longer than needed.
    at: usize,
    writer: Writer,
}

impl Respelled<'_> {
    fn copy_up_to(&mut self, end: usize) {
        self.writer.raw(self.bytes.get(self.at..end).unwrap_or_default());
    }
}

impl Visitor for Respelled<'_> {
    const TOLERANT: bool = true;

    fn long_integer(&mut self, range: Range<usize>, value: Number) {
        self.copy_up_to(range.start);
        match value {
            Number::Length(length) => self.writer.nat0(length),
            Number::Int(value) => self.writer.int(value),
        }
        self.at = range.end;
    }
}

/// Where the parts of a work are that every form has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkForm {
    /// The fee.
    pub fee: Range<usize>,
    /// The proofs, with the tag that says how many: one or two.
    pub proofs: Range<usize>,
    /// The prover.
    pub prover: Range<usize>,
    /// The statements in the proofs, each without the digest behind it. The second is empty if there is one only.
    pub statements: [Range<usize>; 2],
}

impl WorkForm {
    /// Walks what is exactly one work in canonical form.
    ///
    /// # Errors
    /// A [`LayoutError`] if it is none, or if something is behind it; [`LayoutError::OtherStatement`] if a work in the
    /// gossip network's form claims other statements than its proofs have. A form that is no work's is walked as the block's.
    pub fn of(form: ItemForm, work: &[u8]) -> Result<Self, LayoutError> {
        let form = if form == ItemForm::Command { ItemForm::BlockWork } else { form };
        let (shape, what) = form.shape();
        let Parts { fee, proofs, prover, claimed, statements } = exactly(work, shape, what, Parts::default())?;
        if let Some(claimed) = claimed {
            for (claimed, proved) in claimed.iter().zip(&statements) {
                if work.get(claimed.clone()) != work.get(proved.clone()) {
                    return Err(LayoutError::OtherStatement { offset: claimed.start });
                }
            }
        }
        Ok(Self { fee, proofs, prover, statements })
    }

    /// Slices of the work that make up its form in blocks, one after the other. The last ones may be empty: of an answer's
    /// form it is two slices, of the block's own one.
    #[must_use]
    pub fn block_parts<'a>(&self, work: &'a [u8]) -> [&'a [u8]; 3] {
        let part = |range: Range<usize>| work.get(range).unwrap_or_default();
        let Self { fee, proofs, prover, .. } = self;
        if fee.end != proofs.start {
            return [part(fee.clone()), part(proofs.clone()), part(prover.clone())];
        }
        if proofs.end != prover.start {
            return [part(fee.start..proofs.end), part(prover.clone()), &[]];
        }
        [part(fee.start..prover.end), &[], &[]]
    }

    /// Slices of the work that make up its form in RPC answers of the pull protocol, one after the other.
    #[must_use]
    pub fn rpc_parts<'a>(&self, work: &'a [u8]) -> [&'a [u8]; 3] {
        [&self.prover, &self.fee, &self.proofs].map(|range| work.get(range.clone()).unwrap_or_default())
    }

    /// The work as the gossip network's snark pool diff carries it.
    #[must_use]
    pub fn gossip_form(&self, work: &[u8]) -> Vec<u8> {
        let part = |range: &Range<usize>| work.get(range.clone()).unwrap_or_default();
        let length: usize = self.statements.iter().chain([&self.proofs, &self.fee, &self.prover]).map(Range::len).sum();
        // Besides: the tag of the diff, that of the statements, and a unit behind each statement.
        let mut diff = Vec::with_capacity(length + 1 + ONE.len() + self.statements.len());
        diff.push(0);
        diff.extend_from_slice(if self.has_two() { &TWO } else { &ONE });
        for statement in self.statements.iter().filter(|statement| !statement.is_empty()) {
            diff.extend_from_slice(part(statement));
            diff.push(0);
        }
        [&self.proofs, &self.fee, &self.prover].into_iter().for_each(|range| diff.extend_from_slice(part(range)));
        diff
    }

    /// Whether there are two proofs.
    #[must_use]
    pub fn has_two(&self) -> bool {
        self.statements.iter().all(|statement| !statement.is_empty())
    }
}

#[derive(Default)]
struct Parts {
    fee: Range<usize>,
    proofs: Range<usize>,
    prover: Range<usize>,
    /// The statements before the proofs, in the gossip network's form.
    claimed: Option<[Range<usize>; 2]>,
    statements: [Range<usize>; 2],
}

impl Visitor for Parts {
    fn mark(&mut self, mark: Mark, range: Range<usize>) {
        match mark {
            Mark::Fee => self.fee = range,
            Mark::Proofs => self.proofs = range,
            Mark::Prover => self.prover = range,
            Mark::Statement => {
                let [first, second] = &mut self.statements;
                *(if *first == (0..0) { first } else { second }) = range;
            }
            Mark::Statements => self.claimed = Some(std::mem::take(&mut self.statements)),
            _ => {}
        }
    }
}
