//! The format of mainnet since the Berkeley upgrade: `Mina_block.Stable.V2`. Checked against real blocks in
//! `tests/real_blocks.rs`.

use super::Shape::{Bool, Bytes, Digest, Int32, Int63, Int64, List, Marked, Nested, OneOrTwo, Option, Text, Unit};
use super::{Format, Mark, Part, Shape};

macro_rules! seq {
    ($($name:literal: $shape:expr),+ $(,)?) => { Shape::Seq(&[$(Part { name: $name, shape: &$shape }),+]) };
}

macro_rules! variant {
    ($($shape:expr),+ $(,)?) => { Shape::Variant(&[$(&$shape),+]) };
}

macro_rules! vector {
    ($count:literal, $shape:expr) => {
        Shape::Vector($count, &$shape)
    };
}

macro_rules! list {
    ($usual:literal, $shape:expr) => {
        List { of: &$shape, usual: $usual }
    };
}

/// The current format.
pub(crate) static BERKELEY: Format = Format {
    header: HEADER,
    command: COMMAND,
    status: STATUS,
    work: seq! {
        "work fee": Marked(Mark::Fee, &Int64),
        "work proofs": PROOFS,
        "work prover": Marked(Mark::Prover, &KEY),
    },
    rpc_work: seq! {
        "work prover": Marked(Mark::Prover, &KEY),
        "work fee": Marked(Mark::Fee, &Int64),
        "work proofs": PROOFS,
    },
    gossip_work: variant! {
        seq! {
            "work statements": Marked(Mark::Statements, &OneOrTwo(&seq! { "statement": STATEMENT, "no digest": Unit })),
            "work proofs": PROOFS,
            "work fee": Marked(Mark::Fee, &Int64),
            "work prover": Marked(Mark::Prover, &KEY),
        },
    },
    coinbases: [
        variant! { NOTHING, Option(&FEE_TRANSFER), Option(&seq! { "first": FEE_TRANSFER, "second": Option(&FEE_TRANSFER) }) },
        variant! { NOTHING, Option(&FEE_TRANSFER) },
    ],
};

const NOTHING: Shape = Bytes(0);
/// A field element, or a hash: 32 bytes, little-endian. Whether it is below the field's modulus is not looked at.
const FIELD: Shape = Bytes(32);
/// A curve point: two coordinates.
const POINT: Shape = Bytes(64);
const KEY: Shape = seq! { "account key": FIELD, "account key parity": Bool };
const SIGNATURE: Shape = Marked(Mark::Signature, &Bytes(64));
/// A global slot: a variant of one case around a number.
const SLOT: Shape = variant! { Int32 };
const SIGN: Shape = variant! { NOTHING, NOTHING };
const SIGNED_AMOUNT: Shape = seq! { "magnitude": Int64, "sign": SIGN };
const FEE_TRANSFER: Shape = seq! { "fee transfer receiver": KEY, "fee transfer fee": Int64 };

const STATUS: Shape = variant! { NOTHING, FAILURES };
const FAILURES: Shape = list!(1, list!(1, FAILURE));
/// 45 ways to fail; the 37th has the index of the state element.
const FAILURE: Shape = variant! {
    NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING,
    NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING,
    NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING,
    Int63, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING,
};

// Statements, which works and the header have.

/// Ledgers, pending coinbase stack (data, then state at first and now), and local state at one end of a statement.
macro_rules! registers {
    ($mark:expr) => {
        seq! {
            "ledgers": Marked($mark, &Bytes(64)),
            "pending coinbase stack": Bytes(96),
            "stack frame, call stack, commitments": Bytes(128),
            "excess": SIGNED_AMOUNT,
            "supply increase": SIGNED_AMOUNT,
            "local ledger": FIELD,
            "success": Bool,
            "account update index": Int32,
            "failure statuses": list!(0, list!(1, FAILURE)),
            "will succeed": Bool,
        }
    };
}

const STATEMENT: Shape = Marked(
    Mark::Statement,
    &seq! {
        "source": registers!(Mark::Source),
        "target": registers!(Mark::Target),
        "connecting ledgers": Bytes(64),
        "supply increase": SIGNED_AMOUNT,
        "left fee token": FIELD,
        "left fee excess": SIGNED_AMOUNT,
        "right fee token": FIELD,
        "right fee excess": SIGNED_AMOUNT,
    },
);

const PROOFS: Shape = Marked(
    Mark::Proofs,
    &OneOrTwo(&seq! {
        "statement": STATEMENT,
        "digest": Text { usual: 32 },
        "proof": PROOF,
    }),
);

// A proof of the Pickles system: `Pickles.Proof.Proofs_verified_2`.

const LIMBS: Shape = vector!(2, Int64);
const CHALLENGES_16: Shape = vector!(16, LIMBS);
/// Two lists of evaluations: at zeta, and at zeta times omega.
const EVALUATIONS: Shape = seq! { "evaluations": list!(1, FIELD), "shifted evaluations": list!(1, FIELD) };
const LOOKUP: Shape = Option(&EVALUATIONS);

const PROOF: Shape = seq! {
    "challenge alpha": LIMBS,
    "challenge beta": LIMBS,
    "challenge gamma": LIMBS,
    "challenge zeta": LIMBS,
    "joint combiner": Option(&LIMBS),
    "range_check0 flag": Bool,
    "range_check1 flag": Bool,
    "foreign_field_add flag": Bool,
    "foreign_field_mul flag": Bool,
    "xor flag": Bool,
    "rot flag": Bool,
    "lookup flag": Bool,
    "runtime_tables flag": Bool,
    "bulletproof challenges": CHALLENGES_16,
    "proofs verified": PROOFS_VERIFIED,
    "domain size": Bytes(1),
    "sponge digest": vector!(4, Int64),
    "wrap challenge polynomial commitment": POINT,
    "old wrap challenges": vector!(2, vector!(15, LIMBS)),
    "application state": Unit,
    "step challenge polynomial commitments": list!(2, POINT),
    "old step challenges": list!(2, CHALLENGES_16),
    "public input": Bytes(64),
    "w": vector!(15, EVALUATIONS),
    "coefficients": vector!(15, EVALUATIONS),
    "z": EVALUATIONS,
    "s": vector!(6, EVALUATIONS),
    "generic selector": EVALUATIONS,
    "poseidon selector": EVALUATIONS,
    "complete_add selector": EVALUATIONS,
    "mul selector": EVALUATIONS,
    "emul selector": EVALUATIONS,
    "endomul_scalar selector": EVALUATIONS,
    "range_check0 selector": LOOKUP,
    "range_check1 selector": LOOKUP,
    "foreign_field_add selector": LOOKUP,
    "foreign_field_mul selector": LOOKUP,
    "xor selector": LOOKUP,
    "rot selector": LOOKUP,
    "lookup aggregation": LOOKUP,
    "lookup table": LOOKUP,
    "lookup sorted": vector!(5, LOOKUP),
    "runtime lookup table": LOOKUP,
    "runtime lookup table selector": LOOKUP,
    "xor lookup selector": LOOKUP,
    "lookup gate lookup selector": LOOKUP,
    "range check lookup selector": LOOKUP,
    "foreign field mul lookup selector": LOOKUP,
    "step ft_eval1": FIELD,
    "w commitments": vector!(15, POINT),
    "z commitment": POINT,
    "t commitments": vector!(7, POINT),
    "wrap w": vector!(15, POINT),
    "wrap coefficients": vector!(15, POINT),
    "wrap z": POINT,
    "wrap s": vector!(6, POINT),
    "wrap selectors, ft_eval1": Bytes(6 * 64 + 32),
    "lr": list!(15, Bytes(128)),
    "z_1, z_2, delta, challenge polynomial commitment": Bytes(32 + 32 + 64 + 64),
};
const PROOFS_VERIFIED: Shape = variant! { NOTHING, NOTHING, NOTHING };

// Commands.

const COMMAND: Shape = variant! { SIGNED_COMMAND, ZKAPP_COMMAND };
const MEMO: Shape = Text { usual: 34 };

const SIGNED_COMMAND: Shape = seq! {
    "fee": Marked(Mark::Fee, &Int64),
    "fee payer": Marked(Mark::FeePayer, &KEY),
    "nonce": Marked(Mark::Nonce, &Int32),
    "valid until": SLOT,
    "memo": MEMO,
    "command body": variant! {
        seq! { "payment receiver": KEY, "payment amount": Int64 },
        variant! { seq! { "delegate": KEY } },
    },
    "signer": KEY,
    "signature": SIGNATURE,
};

const ZKAPP_COMMAND: Shape = seq! {
    "fee payer": Marked(Mark::FeePayer, &KEY),
    "fee": Marked(Mark::Fee, &Int64),
    "valid until": Option(&SLOT),
    "nonce": Marked(Mark::Nonce, &Int32),
    "fee payer signature": SIGNATURE,
    "account updates": list!(2, CALL),
    "memo": MEMO,
};

/// A static, not a constant: it contains itself.
static CALL: Shape = Nested(&seq! {
    "account": KEY,
    "token": FIELD,
    "update": UPDATE,
    "balance change": SIGNED_AMOUNT,
    "increment nonce": Bool,
    "events": list!(0, list!(2, FIELD)),
    "actions": list!(0, list!(2, FIELD)),
    "call data": FIELD,
    "network precondition": NETWORK_PRECONDITION,
    "account precondition": ACCOUNT_PRECONDITION,
    "valid while": variant! { seq! { "lower": SLOT, "upper": SLOT }, NOTHING },
    "use full commitment": Bool,
    "implicit account creation fee": Bool,
    "may use token": variant! { NOTHING, NOTHING, NOTHING },
    "authorization kind": variant! { NOTHING, FIELD, NOTHING },
    "authorization": variant! { Marked(Mark::Proof, &PROOF), SIGNATURE, NOTHING },
    "account update digest": Unit,
    "calls": list!(1, CALL),
    "stack hash": Unit,
});

/// `Set` or `Keep`, `Check` or `Ignore`: a value or nothing, with the value's tag first.
macro_rules! or_nothing {
    ($shape:expr) => {
        variant! { $shape, NOTHING }
    };
}

const UPDATE: Shape = seq! {
    "app state": vector!(8, or_nothing!(FIELD)),
    "delegate": or_nothing!(KEY),
    "verification key": or_nothing!(VERIFICATION_KEY),
    "permissions": or_nothing!(PERMISSIONS),
    "zkApp URI": or_nothing!(Text { usual: 20 }),
    "token symbol": or_nothing!(Text { usual: 4 }),
    "timing": or_nothing!(seq! {
        "initial minimum balance": Int64,
        "cliff time": SLOT,
        "cliff amount": Int64,
        "vesting period": SLOT,
        "vesting increment": Int64,
    }),
    "voting for": or_nothing!(FIELD),
};

const VERIFICATION_KEY: Shape = seq! {
    "max proofs verified": PROOFS_VERIFIED,
    "actual wrap domain size": PROOFS_VERIFIED,
    "sigma commitments": vector!(7, POINT),
    "coefficient commitments": vector!(15, POINT),
    "selector commitments": Bytes(6 * 64),
};

const PERMISSION: Shape = variant! { NOTHING, NOTHING, NOTHING, NOTHING, NOTHING };
const PERMISSIONS: Shape = seq! {
    "permission edit_state": PERMISSION,
    "permission access": PERMISSION,
    "permission send": PERMISSION,
    "permission receive": PERMISSION,
    "permission set_delegate": PERMISSION,
    "permission set_permissions": PERMISSION,
    "permission set_verification_key": PERMISSION,
    "transaction version": Int32,
    "permission set_zkapp_uri": PERMISSION,
    "permission edit_action_state": PERMISSION,
    "permission set_token_symbol": PERMISSION,
    "permission increment_nonce": PERMISSION,
    "permission set_voting_for": PERMISSION,
    "permission set_timing": PERMISSION,
};

const CHECK_FIELD: Shape = or_nothing!(FIELD);
const CHECK_BOOL: Shape = or_nothing!(Bool);
const CHECK_NUMBER: Shape = or_nothing!(seq! { "lower": Int32, "upper": Int32 });
const CHECK_SLOT: Shape = or_nothing!(seq! { "lower": SLOT, "upper": SLOT });
const CHECK_AMOUNT: Shape = or_nothing!(seq! { "lower": Int64, "upper": Int64 });

const EPOCH_PRECONDITION: Shape = seq! {
    "epoch ledger": CHECK_FIELD,
    "epoch currency": CHECK_AMOUNT,
    "epoch seed": CHECK_FIELD,
    "start checkpoint": CHECK_FIELD,
    "lock checkpoint": CHECK_FIELD,
    "epoch length": CHECK_NUMBER,
};

const NETWORK_PRECONDITION: Shape = seq! {
    "snarked ledger": CHECK_FIELD,
    "blockchain length": CHECK_NUMBER,
    "min window density": CHECK_NUMBER,
    "total currency": CHECK_AMOUNT,
    "global slot": CHECK_SLOT,
    "staking epoch": EPOCH_PRECONDITION,
    "next epoch": EPOCH_PRECONDITION,
};

const ACCOUNT_PRECONDITION: Shape = seq! {
    "balance": CHECK_AMOUNT,
    "nonce": CHECK_NUMBER,
    "receipt chain": CHECK_FIELD,
    "delegate": or_nothing!(KEY),
    "state": vector!(8, CHECK_FIELD),
    "action state": CHECK_FIELD,
    "proved state": CHECK_BOOL,
    "is new": CHECK_BOOL,
};

// The header.

const EPOCH: Shape = seq! {
    "epoch ledger": FIELD,
    "epoch currency": Int64,
    "epoch seed, start and lock checkpoint": Bytes(96),
    "epoch length": Int32,
};

const VERSION: Shape = seq! { "transaction version": Int63, "network version": Int63, "patch version": Int63 };

const HEADER: Shape = seq! {
    "previous state hash": Marked(Mark::PreviousStateHash, &FIELD),
    "genesis state hash": FIELD,
    "staged ledger hash": FIELD,
    "staged ledger auxiliary hash": Text { usual: 32 },
    "pending coinbase auxiliary hash": Text { usual: 32 },
    "pending coinbase hash, genesis ledger hash": Bytes(64),
    "ledger proof statement": STATEMENT,
    "no digest": Unit,
    "timestamp": Int64,
    "body reference": Marked(Mark::BodyReference, &Digest(32)),
    "blockchain length": Marked(Mark::Height, &Int32),
    "epoch count": Int32,
    "min window density": Int32,
    "sub window densities": list!(11, Int32),
    "last VRF output": Text { usual: 32 },
    "total currency": Int64,
    "slot since hard fork": SLOT,
    "slots per epoch": Int32,
    "slot since genesis": SLOT,
    "staking epoch": EPOCH,
    "next epoch": EPOCH,
    "has ancestor in same checkpoint window": Bool,
    "block stake winner": KEY,
    "block creator": KEY,
    "coinbase receiver": KEY,
    "supercharge coinbase": Bool,
    "k": Int32,
    "slots per epoch constant": Int32,
    "slots per sub window": Int32,
    "grace period slots": Int32,
    "delta": Int32,
    "genesis timestamp": Int64,
    "protocol state proof": PROOF,
    "delta chain proof": FIELD,
    "delta chain proof bodies": list!(0, FIELD),
    "current protocol version": VERSION,
    "proposed protocol version": Option(&VERSION),
};
