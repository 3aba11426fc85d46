//! Stubs that make blocks and items for tests and the demo: `Mina_p2p_testing`. They are not in the OCaml interface.

#![allow(unsafe_code)] // The attribute that exports a symbol.

use bytes::Bytes;
use mina_p2p::block::generate::{self, PreDiff, Recipe};
use mina_p2p::message::StateHash;

use crate::failure::Failure;
use crate::heap::Arg;
use crate::payload::Content;
use crate::stub::{FromOcaml, named, stubs};

/// `{ seed; height; previous_state_hash; works; commands }`
impl FromOcaml for Recipe {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let items = |index| -> Result<Vec<Bytes>, Failure> {
            let items: Vec<Content> = FromOcaml::from_ocaml(value.field(index)?)?;
            Ok(items.into_iter().map(|item| item.0).collect())
        };
        let seed: usize = named("seed", value.field(0)?)?;
        Ok(Recipe {
            seed: seed as u64,
            height: named("height", value.field(1)?)?,
            previous_state_hash: StateHash(named("previous_state_hash", value.field(2)?)?),
            first: PreDiff { works: items(3)?, commands: items(4)? },
            second: None,
        })
    }
}

/// Everything that is not said of an item.
struct Seed(u64);

impl FromOcaml for Seed {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        named("seed", value).map(|seed: usize| Seed(seed as u64))
    }
}

stubs! {
    /// `int -> (payload, Error.t) result`
    fn mina_p2p_test_command(seed: Seed) -> Content {
        Ok(Content(generate::command(seed.0)))
    }

    /// `int -> (payload, Error.t) result`
    fn mina_p2p_test_zkapp_command(seed: Seed) -> Content {
        Ok(Content(generate::zkapp_command(seed.0)))
    }

    /// `int -> (payload, Error.t) result`
    fn mina_p2p_test_work(seed: Seed) -> Content {
        Ok(Content(generate::work(seed.0)))
    }

    /// `recipe -> (payload, Error.t) result`
    fn mina_p2p_test_block(recipe: Recipe) -> Content {
        Ok(Content(generate::block(&recipe)))
    }
}
