//! From a known block to the list of its items.

use std::collections::BTreeSet;

use mina_p2p_wire::binprot::nat0_len;
use mina_p2p_wire::message::{
    ItemId, ItemList, MAX_COMPACT_ITEMS, MAX_COMPACT_LEN, MAX_HEADER_LEN, MAX_ITEM_LEN, SHORT_ID_LEN,
};

use crate::short_id::BITS;
use crate::{HeaderHash, KnownBlock, ShortIdKey};

/// How many nonces are tried for one under which no two items of the block have the same short id. With the most items that
/// a block may have, a nonce fails once in 8 million times.
const MAX_NONCES: u64 = 4;

/// The bytes of a list beside lengths and what they count: nonce and root.
const FIXED_LEN: usize = 8 + 32;

/// The list of a block's items, in at most `max_len` bytes of binprot (the header, which travels before it, is not counted).
///
/// Items at `prefill`, places in block order with the most important first, are carried whole as far as they fit; the others
/// by short id. `nonce` is the first to try as the list's; it should differ from sender to sender, and not be foreseeable.
///
/// `None` if the list does not fit even so, or if no message or answer can carry the block's parts: more than
/// [`MAX_COMPACT_ITEMS`] items, one above [`MAX_ITEM_LEN`] bytes, a header above [`MAX_HEADER_LEN`]. It travels whole, or by
/// chunks: a peer would be asked for the item, and blamed for its answer.
#[must_use]
pub fn compact(known: &KnownBlock, nonce: u64, prefill: &[u32], max_len: usize) -> Option<ItemList> {
    compact_with_bits(known, nonce, prefill, max_len, BITS)
}

/// As [`compact`], with only the low `bits` of the short ids not 0: collisions for tests.
#[doc(hidden)]
#[must_use]
pub fn compact_with_bits(
    known: &KnownBlock,
    nonce: u64,
    prefill: &[u32],
    max_len: usize,
    bits: u32,
) -> Option<ItemList> {
    let items = &known.layout.items;
    if items.len() > MAX_COMPACT_ITEMS || known.ids.len() != items.len() || known.layout.header.len > MAX_HEADER_LEN {
        return None;
    }
    if items.iter().any(|item| item.range.len() > MAX_ITEM_LEN) {
        return None;
    }
    let skeleton = known.layout.skeleton(&known.bytes);
    if skeleton.len() > MAX_COMPACT_LEN {
        return None;
    }
    let count_len = nat0_len(items.len() as u64);
    // Both lists' counts at their longest, as long as it is open which items are prefilled.
    let without_items = FIXED_LEN + nat0_len(skeleton.len() as u64) + skeleton.len() + 2 * count_len;
    let mut len = without_items.saturating_add(items.len().saturating_mul(SHORT_ID_LEN));
    if len.saturating_sub(count_len).saturating_add(nat0_len(0)) > max_len {
        return None;
    }
    let mut chosen = BTreeSet::new();
    for &place in prefill {
        let Some(item) = items.get(place as usize) else { continue };
        let longer = len
            .saturating_sub(SHORT_ID_LEN)
            .saturating_add(nat0_len(u64::from(place)) + nat0_len(item.range.len() as u64) + item.range.len());
        if longer <= max_len && chosen.insert(place) {
            len = longer;
        }
    }

    let by_short_id: Vec<&ItemId> =
        (0..).zip(&known.ids).filter(|(place, _)| !chosen.contains(place)).map(|(_, id)| id).collect();
    let (nonce, short_ids) = short_ids(&known.header_hash, nonce, &by_short_id, bits);
    let prefilled = chosen
        .into_iter()
        .filter_map(|place| items.get(place as usize).map(|item| (place, known.bytes.slice(item.range.clone()))))
        .collect();
    Some(ItemList { nonce, root: known.root, skeleton: skeleton.into(), short_ids, prefilled })
}

/// The short ids, and their nonce: the first under which they differ, or after some tries any, which costs the receiver a
/// question.
fn short_ids(header: &HeaderHash, nonce: u64, ids: &[&ItemId], bits: u32) -> ([u8; 8], Vec<[u8; SHORT_ID_LEN]>) {
    let mut last = ([0; 8], Vec::new());
    for tried in 0..MAX_NONCES {
        let nonce = nonce.wrapping_add(tried).to_le_bytes();
        if ids.is_empty() {
            return (nonce, Vec::new());
        }
        let key = ShortIdKey::with_bits(header, &nonce, bits);
        let short_ids: Vec<_> = ids.iter().map(|id| key.short_id(id)).collect();
        let mut sorted = short_ids.clone();
        sorted.sort_unstable();
        let differ = sorted.iter().zip(sorted.iter().skip(1)).all(|(one, next)| one != next);
        last = (nonce, short_ids);
        if differ {
            break;
        }
    }
    last
}
