//! The block format as data: what follows what, and what each element may be.
//!
//! [`crate::walk`] interprets a [`Shape`]; nothing else knows the order of a block's fields. A new version of the format is
//! another table beside [`berkeley`].

mod berkeley;

pub(crate) use berkeley::BERKELEY;

/// What an element is made of.
#[derive(Debug)]
#[cfg_attr(not(any(test, feature = "generate")), allow(dead_code, reason = "usual sizes are for the generator"))]
pub(crate) enum Shape {
    /// So many bytes of any value: field elements, curve points, hashes, characters.
    Bytes(usize),
    /// OCaml's unit: one byte, 0.
    Unit,
    /// One byte, 0 or 1.
    Bool,
    /// An integer of 32 bits, written with its sign.
    Int32,
    /// An integer of 64 bits, written with its sign.
    Int64,
    /// OCaml's `int`: 63 bits with its sign.
    Int63,
    /// A string of any length.
    Text {
        /// How long it is on mainnet; for the generator.
        usual: usize,
    },
    /// A string of exactly so many bytes.
    Digest(usize),
    /// Named elements one after the other.
    Seq(&'static [Part]),
    /// So many of an element, then a unit: OCaml's vectors, which are pairs inside each other that end in `()`.
    Vector(usize, &'static Shape),
    /// A length, then so many of an element.
    List {
        /// The element.
        of: &'static Shape,
        /// How many there are on mainnet; for the generator.
        usual: usize,
    },
    /// A byte 0; or a byte 1 and an element.
    Option(&'static Shape),
    /// One byte that says which element follows.
    Variant(&'static [&'static Shape]),
    /// OCaml's `` [ `One of t | `Two of t * t ] ``: four bytes of tag, then one or two of an element.
    OneOrTwo(&'static Shape),
    /// An element that may contain itself; the walker counts how many are inside each other.
    Nested(&'static Shape),
    /// An element whose place somebody wants to know.
    Marked(Mark, &'static Shape),
}

/// A named element.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name in errors.
    pub(crate) name: &'static str,
    /// What it is made of.
    pub(crate) shape: &'static Shape,
}

/// Elements whose places are reported while they are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A header's `previous_state_hash`.
    PreviousStateHash,
    /// A header's `blockchain_length`.
    Height,
    /// A header's `body_reference`, with its length byte.
    BodyReference,
    /// A command's or a work's fee.
    Fee,
    /// A command's fee payer.
    FeePayer,
    /// A command's nonce.
    Nonce,
    /// A signature.
    Signature,
    /// A proof of an account update.
    Proof,
    /// All proofs of a work, with the tag.
    Proofs,
    /// A work's prover.
    Prover,
    /// A statement's two source ledgers.
    Source,
    /// A statement's two target ledgers.
    Target,
    /// A statement without the digest at its end.
    Statement,
    /// The statements of a work in the gossip network's form, with the tag.
    Statements,
}

/// A version of the block format.
#[derive(Debug)]
pub(crate) struct Format {
    /// The header.
    pub(crate) header: Shape,
    /// A user command without its status.
    pub(crate) command: Shape,
    /// The status of a command.
    pub(crate) status: Shape,
    /// A completed work as blocks carry it.
    pub(crate) work: Shape,
    /// A completed work as the pull protocol's RPC answers carry it.
    pub(crate) rpc_work: Shape,
    /// A completed work as the gossip network's snark pool diff carries it.
    pub(crate) gossip_work: Shape,
    /// The coinbase of each pre-diff. The first pre-diff is always there; an option tag stands before each further one.
    pub(crate) coinbases: [Shape; PRE_DIFFS],
}

/// How many pre-diffs a body has, at most.
pub(crate) const PRE_DIFFS: usize = 2;

/// The tag of `` `One ``: OCaml's hash of the name, shifted, as `bin_prot` writes it.
pub(crate) const ONE: [u8; 4] = variant_tag(b"One");
/// The tag of `` `Two ``.
pub(crate) const TWO: [u8; 4] = variant_tag(b"Two");

/// The tag of a polymorphic variant: the name in base 223, in 31 bits, as OCaml's tagged integer, little-endian.
const fn variant_tag(name: &[u8; 3]) -> [u8; 4] {
    let [a, b, c] = *name;
    let hash = (a as u32 * 223 + b as u32) * 223 + c as u32;
    (hash * 2 + 1).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_one_and_two_are_those_of_real_works() {
        assert_eq!(ONE, [0x8d, 0xa4, 0x78, 0x00]);
        assert_eq!(TWO, [0xd9, 0x4a, 0x80, 0x00]);
    }
}
