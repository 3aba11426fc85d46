//! The items root: a Merkle root over the ids of a block's items in block order, and multiproofs against it.
//!
//! With `H` = BLAKE2b-256: a leaf is `H(0x00 || id)`, a node `H(0x01 || left || right)`, and a tree over n > 1 leaves has the
//! greatest power of two below n in its left half (RFC 6962, section 2.1); a tree without leaves is `H()`. The items root is
//! `H(0x02 || n as u32, little-endian || tree)`: with the number in it a proof leaves no doubt about the tree's shape.
//!
//! A multiproof has the hashes of the largest subtrees without a proven leaf, from left to right.

use blake2::{Blake2b, Digest, digest::consts::U32};
use mina_p2p_wire::message::{ItemId, ItemsRoot, MAX_COMPACT_ITEMS};

/// A hash in the tree.
pub type TreeHash = [u8; 32];

const LEAF: u8 = 0;
const NODE: u8 = 1;
const ROOT: u8 = 2;

/// Why a proof does not show that items are in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More items than a block that travels compactly has.
    #[error("a block of {count} items, above {MAX_COMPACT_ITEMS}")]
    TooManyItems {
        /// How many items the block is said to have.
        count: usize,
    },
    /// Another number of ids than places.
    #[error("{ids} ids for {places} places")]
    WrongIdCount {
        /// How many ids there are.
        ids: usize,
        /// How many places there are.
        places: usize,
    },
    /// A place that is not behind the one before it, or that the block does not have.
    #[error("place {place} of a block of {count} items is not behind the one before it, or not in the block")]
    WrongPlace {
        /// The place.
        place: u32,
        /// How many items the block has.
        count: usize,
    },
    /// The proof ends too early.
    #[error("a proof of {given} hashes is too short")]
    TooFewHashes {
        /// How many hashes it has.
        given: usize,
    },
    /// The proof has more hashes than needed.
    #[error("a proof of {given} hashes where {needed} are needed")]
    TooManyHashes {
        /// How many hashes it has.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to the items root {found}, not {expected}")]
    WrongRoot {
        /// Where it should lead.
        expected: ItemsRoot,
        /// Where it leads.
        found: ItemsRoot,
    },
}

/// The items root over the ids of all items, in block order.
#[must_use]
pub fn items_root(ids: &[ItemId]) -> ItemsRoot {
    root_of(ids.len(), &tree(ids))
}

/// The proof that the items at `places`, which rise, are in the block with these ids. `None` if the places do not rise or are
/// not in the block.
#[must_use]
pub fn prove(ids: &[ItemId], places: &[u32]) -> Option<Vec<TreeHash>> {
    check_places(ids.len(), places).ok()?;
    let mut proof = Vec::new();
    collect(ids, 0, places, &mut proof);
    Some(proof)
}

/// Checks that `ids` are those of the items at `places`, which rise, in the block of `count` items with this root. Linear in
/// places and hashes; allocates nothing.
///
/// # Errors
/// A [`ProofError`] if that is not proven.
pub fn verify(
    root: &ItemsRoot,
    count: usize,
    places: &[u32],
    ids: &[ItemId],
    proof: &[TreeHash],
) -> Result<(), ProofError> {
    if count > MAX_COMPACT_ITEMS {
        return Err(ProofError::TooManyItems { count });
    }
    if ids.len() != places.len() {
        return Err(ProofError::WrongIdCount { ids: ids.len(), places: places.len() });
    }
    check_places(count, places)?;
    let mut rest = proof;
    let tree = subtree(0, count, places, ids, &mut rest).ok_or(ProofError::TooFewHashes { given: proof.len() })?;
    if !rest.is_empty() {
        let needed = proof.len().saturating_sub(rest.len());
        return Err(ProofError::TooManyHashes { given: proof.len(), needed });
    }
    let found = root_of(count, &tree);
    if found == *root { Ok(()) } else { Err(ProofError::WrongRoot { expected: *root, found }) }
}

fn check_places(count: usize, places: &[u32]) -> Result<(), ProofError> {
    let mut next = 0;
    for &place in places {
        if u64::from(place) < next || u64::from(place) >= count as u64 {
            return Err(ProofError::WrongPlace { place, count });
        }
        next = u64::from(place).saturating_add(1);
    }
    Ok(())
}

/// How many of `len` > 1 leaves are in the left half: the greatest power of two below `len`.
fn left_len(len: usize) -> usize {
    len.div_ceil(2).next_power_of_two()
}

/// The places below and from `middle` on.
fn split_places(places: &[u32], middle: usize) -> (&[u32], &[u32]) {
    places.split_at(places.partition_point(|place| (*place as usize) < middle))
}

/// The tree over all of `ids`. Its depth is the logarithm of their number.
fn tree(ids: &[ItemId]) -> TreeHash {
    match ids {
        [] => empty(),
        [id] => leaf(id),
        _ => {
            let (left, right) = ids.split_at(left_len(ids.len()));
            node(&tree(left), &tree(right))
        }
    }
}

/// Puts the hashes of the largest subtrees of `ids`, whose first has the place `start`, that have none of `places`.
fn collect(ids: &[ItemId], start: usize, places: &[u32], proof: &mut Vec<TreeHash>) {
    if ids.is_empty() {
        return;
    }
    if places.is_empty() {
        proof.push(tree(ids));
        return;
    }
    if ids.len() == 1 {
        return;
    }
    let left_len = left_len(ids.len());
    let (left, right) = ids.split_at(left_len);
    let middle = start.saturating_add(left_len);
    let (left_places, right_places) = split_places(places, middle);
    collect(left, start, left_places, proof);
    collect(right, middle, right_places, proof);
}

/// The subtree over the `len` leaves from place `start`, of the ids at its places and the next hashes of the proof. `None` if
/// these do not reach.
fn subtree(start: usize, len: usize, places: &[u32], ids: &[ItemId], proof: &mut &[TreeHash]) -> Option<TreeHash> {
    if len == 0 {
        return Some(empty());
    }
    if places.is_empty() {
        let (hash, rest) = proof.split_first()?;
        *proof = rest;
        return Some(*hash);
    }
    if len == 1 {
        return ids.first().map(leaf);
    }
    let left_len = left_len(len);
    let middle = start.saturating_add(left_len);
    let (left_places, right_places) = split_places(places, middle);
    let (left_ids, right_ids) = ids.split_at_checked(left_places.len())?;
    let left = subtree(start, left_len, left_places, left_ids, proof)?;
    let right = subtree(middle, len.saturating_sub(left_len), right_places, right_ids, proof)?;
    Some(node(&left, &right))
}

fn hash(parts: &[&[u8]]) -> TreeHash {
    let mut hash = Blake2b::<U32>::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn empty() -> TreeHash {
    hash(&[])
}

fn leaf(id: &ItemId) -> TreeHash {
    hash(&[&[LEAF], &id.0])
}

fn node(left: &TreeHash, right: &TreeHash) -> TreeHash {
    hash(&[&[NODE], left, right])
}

fn root_of(count: usize, tree: &TreeHash) -> ItemsRoot {
    // A number above any block's is as good as any other: no proof of such a block is accepted.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    ItemsRoot(hash(&[&[ROOT], &count.to_le_bytes(), tree]))
}
