use std::ops::Range;

use mina_p2p_wire::message::{MAX_BLOCK_LEN, MAX_COMPACT_ITEMS};

use crate::format::{BERKELEY, Format, PRE_DIFFS};
use crate::walk::{Stopped, Walker};
use crate::{Header, LayoutError};

/// The most items (works and commands) of a block: as many as travel compactly. Mainnet's blocks have at most 2^7
/// commands and as many works, 256 items; this is 32 times that.
pub const MAX_ITEMS: usize = MAX_COMPACT_ITEMS;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    /// A payment or a delegation.
    SignedCommand,
    /// A zkApp command.
    ZkappCommand,
    /// A completed SNARK work.
    Work,
}

/// One item of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// In which of the two pre-diffs: 0 or 1.
    pub pre_diff: u8,
    /// Its bytes, without its status.
    pub range: Range<usize>,
    /// The bytes of a command's status, which follow the command.
    pub status: Option<Range<usize>>,
}

/// Where the parts of a block are, as offsets in its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What the header says.
    pub header: Header,
    /// The body: everything behind the header.
    pub body: Range<usize>,
    /// The items in block order: per pre-diff its works, then its commands.
    pub items: Vec<Item>,
}

impl Layout {
    /// Walks what is exactly one block in canonical form.
    ///
    /// # Errors
    /// A [`LayoutError`] that says what is wrong and where: anything but a block, bytes behind it, an integer that is longer
    /// than needed, more than [`MAX_ITEMS`] items, or more than [`MAX_BLOCK_LEN`] bytes. (A header and a body that are each
    /// within their bounds can be longer together. Nobody could take the block from whoever had it.)
    pub fn of(block: &[u8]) -> Result<Self, LayoutError> {
        if block.len() > MAX_BLOCK_LEN {
            let (len, max) = (block.len() as u64, MAX_BLOCK_LEN as u64);
            return Err(LayoutError::WrongLength { offset: 0, what: "block", len, min: 0, max });
        }
        let header = Header::prefix_of(block)?;
        let start = header.len;
        let body = block.get(start..).unwrap_or_default();
        let mut items = Items { walker: Walker::new(body, ()), start, found: Vec::new() };
        match items.body(&BERKELEY) {
            Ok(()) => Ok(Self { header, body: start..block.len(), items: items.found }),
            Err(stopped) => Err(items.walker.error(stopped).moved_by(start)),
        }
    }

    /// The block's body with the items cut out: list lengths, statuses, coinbases, internal statuses and the tag of the
    /// second pre-diff, as they are.
    ///
    /// `block` is what the layout is of; of any other bytes the result is meaningless.
    #[must_use]
    pub fn skeleton(&self, block: &[u8]) -> Vec<u8> {
        let cut: usize = self.items.iter().map(|item| item.range.len()).sum();
        let mut skeleton = Vec::with_capacity(self.body.len().saturating_sub(cut));
        let mut at = self.body.start;
        for item in &self.items {
            skeleton.extend_from_slice(block.get(at..item.range.start).unwrap_or_default());
            at = item.range.end;
        }
        skeleton.extend_from_slice(block.get(at..self.body.end).unwrap_or_default());
        skeleton
    }
}

/// Where an item goes into a skeleton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The offset in the skeleton before which the item is inserted. Works share one.
    pub at: usize,
    /// Whether it is a work; else it is a command.
    pub is_work: bool,
    /// In which of the two pre-diffs: 0 or 1.
    pub pre_diff: u8,
}

/// Walks what is exactly a skeleton: the holes where items go, in block order.
///
/// Works take no bytes in a skeleton, so only `max_items` bounds how many it claims.
///
/// # Errors
/// A [`LayoutError`] if it is no skeleton in canonical form, or if it has more than `max_items` holes.
pub fn holes(skeleton: &[u8], max_items: usize) -> Result<Vec<Hole>, LayoutError> {
    let mut holes = Holes { walker: Walker::new(skeleton, ()), max: max_items, found: Vec::new() };
    match holes.body(&BERKELEY) {
        Ok(()) => Ok(holes.found),
        Err(stopped) => Err(holes.walker.error(stopped)),
    }
}

/// Walks the parts of bodies and skeletons, which differ in whether the items are there.
trait Body<'a> {
    fn walker(&mut self) -> &mut Walker<'a, ()>;
    fn max(&self) -> usize;
    fn count(&self) -> usize;
    fn item(&mut self, format: &'static Format, is_work: bool, pre_diff: u8) -> Result<(), Stopped>;

    fn body(&mut self, format: &'static Format) -> Result<(), Stopped> {
        for (pre_diff, coinbase) in (0..).zip(&format.coinbases) {
            debug_assert!(usize::from(pre_diff) < PRE_DIFFS, "as many as the format has");
            if pre_diff > 0 && self.walker().tag(2, "second pre-diff")? == 0 {
                break;
            }
            self.items(format, true, pre_diff)?;
            self.items(format, false, pre_diff)?;
            self.walker().walk(coinbase, "coinbase")?;
            let statuses = self.walker().count("internal command statuses")?;
            (0..statuses).try_for_each(|_| self.walker().walk(&format.status, "internal command status"))?;
        }
        self.walker().finish()
    }

    fn items(&mut self, format: &'static Format, is_work: bool, pre_diff: u8) -> Result<(), Stopped> {
        let offset = self.walker().at();
        let length = self.walker().length(if is_work { "completed works" } else { "commands" })?;
        let count = self.count().saturating_add(length);
        if count > self.max() {
            let error = LayoutError::TooManyItems { offset, count: count as u64, max: self.max() };
            return self.walker().fail(error);
        }
        (0..length).try_for_each(|_| self.item(format, is_work, pre_diff))
    }
}

struct Items<'a> {
    walker: Walker<'a, ()>,
    start: usize,
    found: Vec<Item>,
}

impl<'a> Body<'a> for Items<'a> {
    fn walker(&mut self) -> &mut Walker<'a, ()> {
        &mut self.walker
    }

    fn max(&self) -> usize {
        MAX_ITEMS
    }

    fn count(&self) -> usize {
        self.found.len()
    }

    fn item(&mut self, format: &'static Format, is_work: bool, pre_diff: u8) -> Result<(), Stopped> {
        let start = self.walker.at();
        let (kind, end, status) = if is_work {
            self.walker.walk(&format.work, "completed work")?;
            (ItemKind::Work, self.walker.at(), None)
        } else {
            let kind = command_kind(self.walker.next());
            self.walker.walk(&format.command, "command")?;
            let end = self.walker.at();
            self.walker.walk(&format.status, "command status")?;
            (kind, end, Some(self.start + end..self.start + self.walker.at()))
        };
        self.found.push(Item { kind, pre_diff, range: self.start + start..self.start + end, status });
        Ok(())
    }
}

/// Which kind of command starts with this tag.
pub(crate) fn command_kind(tag: Option<u8>) -> ItemKind {
    match tag {
        Some(0) | None => ItemKind::SignedCommand,
        Some(_) => ItemKind::ZkappCommand,
    }
}

struct Holes<'a> {
    walker: Walker<'a, ()>,
    max: usize,
    found: Vec<Hole>,
}

impl<'a> Body<'a> for Holes<'a> {
    fn walker(&mut self) -> &mut Walker<'a, ()> {
        &mut self.walker
    }

    fn max(&self) -> usize {
        self.max
    }

    fn count(&self) -> usize {
        self.found.len()
    }

    fn item(&mut self, format: &'static Format, is_work: bool, pre_diff: u8) -> Result<(), Stopped> {
        let at = self.walker.at();
        if !is_work {
            self.walker.walk(&format.status, "command status")?;
        }
        self.found.push(Hole { at, is_work, pre_diff });
        Ok(())
    }
}
