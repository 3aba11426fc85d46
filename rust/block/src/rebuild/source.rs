//! Finding items in pools by their short ids.

use bytes::Bytes;
use mina_p2p_wire::message::{ItemId, SHORT_ID_LEN};

use crate::ShortIdKey;
use crate::short_id::number_of;

/// One item of the pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolItem {
    /// Its id.
    pub id: ItemId,
    /// Its bytes as a block has them, canonical, in up to two slices one after the other. (A work that came as an RPC answer
    /// has its prover first, a block has it last.)
    pub parts: [Bytes; 2],
    /// Whether it is a work; else it is a command.
    pub is_work: bool,
}

/// The pools: items by their ids. Whoever fills them has checked the items and computed the ids.
pub trait ItemSource {
    /// Calls `f` with every id. The same one may come more than once.
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId));
    /// The item with this id.
    fn get(&self, id: &ItemId) -> Option<PoolItem>;
}

/// The places of a list by short id.
pub(super) struct ByShortId {
    /// By number. Peers choose these, so that nothing must depend on how they are spread.
    wanted: Vec<Wanted>,
    /// The low bits of the numbers that are wanted, one bit each: most items of a pool are in none of the places, and stop here.
    low: Box<[u64]>,
}

/// How many words of 64 low bits: 8 KiB, so that of 256 numbers one in 256 others is looked for in vain.
const LOW_WORDS: usize = 1024;

/// The word and the bit in it of a number.
fn low_bit(number: u64) -> (usize, u64) {
    ((number / 64) as usize % LOW_WORDS, 1 << (number % 64))
}

struct Wanted {
    number: u64,
    place: u32,
    candidate: Candidate,
}

#[derive(Clone, Copy)]
enum Candidate {
    None,
    One(ItemId),
    /// Two places, or two items of the pools, have this short id.
    Unclear,
}

impl ByShortId {
    pub(super) fn new<'a>(wanted: impl Iterator<Item = (u32, &'a [u8; SHORT_ID_LEN])>) -> Self {
        let mut wanted: Vec<_> =
            wanted.map(|(place, id)| Wanted { number: number_of(id), place, candidate: Candidate::None }).collect();
        wanted.sort_unstable_by_key(|wanted| (wanted.number, wanted.place));
        for same in wanted.chunk_by_mut(|one, next| one.number == next.number) {
            if same.len() > 1 {
                same.iter_mut().for_each(|wanted| wanted.candidate = Candidate::Unclear);
            }
        }
        let mut low = vec![0; LOW_WORDS].into_boxed_slice();
        for wanted in &wanted {
            let (word, bit) = low_bit(wanted.number);
            if let Some(word) = low.get_mut(word) {
                *word |= bit;
            }
        }
        Self { wanted, low }
    }

    /// Goes over the pools once; gives the places that one short id and one item of the pools have in common, rising.
    pub(super) fn find(mut self, key: &ShortIdKey, source: &dyn ItemSource) -> Vec<(u32, ItemId)> {
        if self.wanted.is_empty() {
            return Vec::new();
        }
        source.for_each_id(&mut |id| {
            let number = key.number(id);
            let (word, bit) = low_bit(number);
            if self.low.get(word).is_none_or(|word| word & bit == 0) {
                return;
            }
            let Ok(at) = self.wanted.binary_search_by_key(&number, |wanted| wanted.number) else { return };
            if let Some(wanted) = self.wanted.get_mut(at) {
                wanted.candidate = match wanted.candidate {
                    Candidate::None => Candidate::One(*id),
                    Candidate::One(other) if other == *id => Candidate::One(other),
                    Candidate::One(_) | Candidate::Unclear => Candidate::Unclear,
                };
            }
        });
        let mut found: Vec<_> = self
            .wanted
            .iter()
            .filter_map(|wanted| match wanted.candidate {
                Candidate::One(id) => Some((wanted.place, id)),
                Candidate::None | Candidate::Unclear => None,
            })
            .collect();
        found.sort_unstable_by_key(|(place, _)| *place);
        found
    }
}
