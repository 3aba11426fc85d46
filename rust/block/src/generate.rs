//! Blocks and items for tests: any number of any kind, with mainnet's sizes, from a seed.
//!
//! They are valid in form only: canonical, with the right body reference; no signature or proof in them is one.

use blake2::{Blake2b, Digest, digest::consts::U32};
use bytes::Bytes;
use mina_p2p_wire::StateHash;
use mina_p2p_wire::binprot::Writer;

use crate::format::{BERKELEY, Mark, ONE, Shape, TWO};
use crate::{BodyParams, BodyReference, Header, ItemForm, body_reference, check_item};

/// What a block has. [`Recipe::default`] is an empty block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Everything that the other fields leave open.
    pub seed: u64,
    /// Its `blockchain_length`.
    pub height: u32,
    /// The state hash of the block before it.
    pub previous_state_hash: StateHash,
    /// What is in the first pre-diff.
    pub first: PreDiff,
    /// What is in the second, if there is one.
    pub second: Option<PreDiff>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { seed: 0, height: 1, previous_state_hash: StateHash([0; 32]), first: PreDiff::default(), second: None }
    }
}

impl Recipe {
    /// A block with one pre-diff of so many new items of each kind.
    #[must_use]
    pub fn counts(seed: u64, works: usize, signed_commands: usize, zkapp_commands: usize) -> Self {
        let first = PreDiff::counts(seed, works, signed_commands, zkapp_commands);
        Self { seed, first, ..Self::default() }
    }
}

/// The items of a pre-diff.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreDiff {
    /// The works, in the form of blocks.
    pub works: Vec<Bytes>,
    /// The commands, without statuses.
    pub commands: Vec<Bytes>,
}

impl PreDiff {
    /// So many new items of each kind.
    #[must_use]
    pub fn counts(seed: u64, works: usize, signed_commands: usize, zkapp_commands: usize) -> Self {
        let mut random = Random(seed);
        let mut times =
            |count: usize, of: fn(u64) -> Bytes| -> Vec<Bytes> { (0..count).map(|_| of(random.next())).collect() };
        let works = times(works, work);
        let mut commands = times(signed_commands, command);
        commands.extend(times(zkapp_commands, zkapp_command));
        Self { works, commands }
    }
}

/// A block.
#[must_use]
pub fn block(recipe: &Recipe) -> Bytes {
    let body = body(recipe);
    with_body(&header(recipe.seed, recipe.height, recipe.previous_state_hash), &body).into()
}

/// A block of these commands alone.
#[must_use]
pub fn block_of_commands(seed: u64, commands: Vec<Bytes>) -> Bytes {
    block(&Recipe { seed, first: PreDiff { works: Vec::new(), commands }, ..Recipe::default() })
}

/// A block's body. About one command in eight has failed.
#[must_use]
pub fn body(recipe: &Recipe) -> Vec<u8> {
    let mut filler = Filler::new(recipe.seed ^ 0xb0d7, None);
    let pre_diffs = [Some(&recipe.first), recipe.second.as_ref()];
    for (index, (pre_diff, coinbase)) in pre_diffs.into_iter().zip(&BERKELEY.coinbases).enumerate() {
        if index > 0 {
            filler.out.option(pre_diff.is_some());
        }
        let Some(pre_diff) = pre_diff else {
            break;
        };
        filler.out.nat0(pre_diff.works.len() as u64);
        pre_diff.works.iter().for_each(|work| filler.out.raw(work));
        filler.out.nat0(pre_diff.commands.len() as u64);
        for command in &pre_diff.commands {
            filler.out.raw(command);
            filler.fill(&BERKELEY.status);
        }
        filler.fill(coinbase);
        filler.out.nat0(2);
        (0..2).for_each(|_| filler.fill(&BERKELEY.status));
    }
    filler.finish()
}

/// A header that names no body yet.
#[must_use]
pub fn header(seed: u64, height: u32, previous_state_hash: StateHash) -> Vec<u8> {
    let mut filler = Filler::new(seed, Some(height));
    filler.fill(&BERKELEY.header);
    let mut header = filler.finish();
    header.iter_mut().zip(previous_state_hash.0).for_each(|(to, from)| *to = from);
    header
}

/// A block of this header, changed to name the body, and the body, whatever it is: for liars.
#[must_use]
pub fn with_body(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut block = header.to_vec();
    name_body(&mut block, body_reference(body, BodyParams::MAINNET));
    block.extend_from_slice(body);
    block
}

/// Changes the body reference of what starts with a header.
pub fn name_body(header: &mut [u8], reference: BodyReference) {
    let at = Header::prefix_of(header).map_or(usize::MAX, |header| header.body_reference_at);
    header.iter_mut().skip(at).zip(reference.0).for_each(|(to, from)| *to = from);
}

/// A signed command.
#[must_use]
pub fn command(seed: u64) -> Bytes {
    command_of(seed, 0)
}

/// A zkApp command of some account updates.
#[must_use]
pub fn zkapp_command(seed: u64) -> Bytes {
    command_of(seed, 1)
}

fn command_of(seed: u64, tag: u8) -> Bytes {
    let mut filler = Filler::new(seed, None);
    if let Shape::Variant(cases) = &BERKELEY.command {
        filler.out.byte(tag);
        cases.get(usize::from(tag)).into_iter().for_each(|case| filler.fill(case));
    }
    filler.finish().into()
}

/// A zkApp command whose account updates call each other so many levels deep; all of them are alike.
#[must_use]
pub fn deep_zkapp_command(seed: u64, levels: usize) -> Bytes {
    let mut filler = Filler::new(seed, None);
    filler.out.byte(1);
    let Shape::Variant([_, Shape::Seq(parts), ..]) = &BERKELEY.command else {
        return Bytes::new();
    };
    for part in *parts {
        match part.shape {
            // What an account update ends with: its calls and a unit. Not by recursion: this may be deep.
            Shape::List { of: Shape::Nested(Shape::Seq([head @ .., _calls, _unit])), .. } => {
                let mut update = Filler::new(seed, None);
                head.iter().for_each(|part| update.fill(part.shape));
                let update = update.finish();
                for _ in 0..levels {
                    filler.out.nat0(1);
                    filler.out.raw(&update);
                }
                filler.out.nat0(0);
                (0..levels).for_each(|_| filler.out.byte(0));
            }
            shape => filler.fill(shape),
        }
    }
    filler.finish().into()
}

/// A work, in the form of blocks. One in eight has a single proof, the others have two.
#[must_use]
pub fn work(seed: u64) -> Bytes {
    let mut filler = Filler::new(seed, None);
    filler.fill(&BERKELEY.work);
    filler.finish().into()
}

/// A signed command of `len` bytes, 128 KiB or more: its memo is longer than any node would take, which its form allows.
#[must_use]
pub fn long_command(len: usize) -> Bytes {
    const MEMO: u8 = 34;
    let command = command(1);
    let with_memo = |at: usize, memo: usize| -> Option<Vec<u8>> {
        let mut long = command.get(..at)?.to_vec();
        long.push(0xfd);
        long.extend_from_slice(&u32::try_from(memo).ok()?.to_le_bytes());
        long.resize(long.len() + memo, 7);
        long.extend_from_slice(command.get(at + 1 + usize::from(MEMO)..)?);
        Some(long)
    };
    let of_len = |at: usize| {
        let beside = with_memo(at, 0)?.len();
        with_memo(at, len.checked_sub(beside)?).filter(|long| check_item(ItemForm::Command, long).is_ok())
    };
    let lengths = (0..command.len()).filter(|at| command.get(*at) == Some(&MEMO));
    lengths.filter_map(of_len).next().unwrap_or_default().into()
}

/// An integer below 128 in every spelling that is longer than needed. The existing node takes all of them for the same.
#[must_use]
pub fn long_spellings(value: u8) -> [Vec<u8>; 3] {
    let value = value & 0x7f;
    let spell = |code: u8, len: usize| {
        let mut bytes = vec![0; len + 1];
        bytes.iter_mut().zip([code, value]).for_each(|(to, from)| *to = from);
        bytes
    };
    [spell(0xfe, 2), spell(0xfd, 4), spell(0xfc, 8)]
}

/// BLAKE2b-256: to name what is no body.
#[must_use]
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(bytes).into()
}

/// splitmix64: enough to make bytes differ.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}

/// Writes elements of a shape.
struct Filler {
    random: Random,
    out: Writer,
    /// The header's height.
    height: Option<u32>,
}

impl Filler {
    fn new(seed: u64, height: Option<u32>) -> Self {
        Self { random: Random(seed), out: Writer::new(), height }
    }

    fn finish(self) -> Vec<u8> {
        self.out.finish().into()
    }

    fn fill(&mut self, shape: &'static Shape) {
        match shape {
            Shape::Bytes(count) => self.bytes(*count),
            Shape::Unit => self.out.byte(0),
            Shape::Bool => {
                let value = self.random.one_in(2);
                self.out.bool(value);
            }
            Shape::Int32 => {
                let shift = 32 + self.random.next() % 32;
                let value = self.random.next() >> shift;
                self.out.uint32(u32::try_from(value).unwrap_or_default());
            }
            Shape::Int64 => {
                let shift = self.random.next() % 64;
                let value = self.random.next() >> shift;
                self.out.uint64(value);
            }
            Shape::Int63 => self.out.int(3),
            Shape::Text { usual } => {
                self.out.nat0(*usual as u64);
                self.bytes(*usual);
            }
            Shape::Digest(length) => {
                self.out.nat0(*length as u64);
                self.bytes(*length);
            }
            Shape::Seq(parts) => parts.iter().for_each(|part| self.fill(part.shape)),
            Shape::Vector(count, of) => {
                for _ in 0..*count {
                    match of {
                        // Limbs of field elements, not amounts.
                        Shape::Int64 => self.out.uint64(self.random.next()),
                        of => self.fill(of),
                    }
                }
                self.out.byte(0);
            }
            Shape::List { of, usual } => self.list(of, *usual),
            Shape::Option(of) => {
                let some = self.random.one_in(32);
                self.out.option(some);
                if some {
                    self.fill(of);
                }
            }
            Shape::Variant(cases) => self.variant(cases),
            Shape::OneOrTwo(of) => {
                let one = self.random.one_in(8);
                self.out.raw(if one { &ONE } else { &TWO });
                (0..2 - usize::from(one)).for_each(|_| self.fill(of));
            }
            Shape::Marked(Mark::Height, _) if self.height.is_some() => {
                self.out.uint32(self.height.unwrap_or_default());
            }
            Shape::Nested(of) | Shape::Marked(_, of) => self.fill(of),
        }
    }

    fn bytes(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let random = self.random.next().to_le_bytes();
            let taken = left.min(random.len());
            self.out.raw(random.get(..taken).unwrap_or_default());
            left -= taken;
        }
    }

    fn list(&mut self, of: &'static Shape, usual: usize) {
        // One account update in four calls another.
        let count = match of {
            Shape::Nested(_) if usual == 1 => usize::from(self.random.one_in(4)),
            _ => usual,
        };
        self.out.nat0(count as u64);
        (0..count).for_each(|_| self.fill(of));
    }

    /// The cases are equally frequent; but where one of two is nothing, the other is one in eight.
    fn variant(&mut self, cases: &'static [&'static Shape]) {
        let is_nothing = |case: &Shape| matches!(case, Shape::Bytes(0));
        let tag = match cases {
            [first, second] if is_nothing(first) != is_nothing(second) => {
                usize::from(self.random.one_in(8) == is_nothing(first))
            }
            cases => usize::try_from(self.random.next() % cases.len().max(1) as u64).unwrap_or_default(),
        };
        self.out.byte(u8::try_from(tag).unwrap_or_default());
        cases.get(tag).into_iter().for_each(|case| self.fill(case));
    }
}
