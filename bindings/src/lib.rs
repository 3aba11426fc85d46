//! OCaml stubs over the mina-p2p node: the externals of `ocaml/mina_p2p/raw.ml`.
//!
//! Nothing is decided here. A stub turns its arguments into Rust values, calls the node, and turns the outcome into an OCaml
//! `result`. Rust threads never touch the OCaml heap: events wait in the node until OCaml polls.
//!
//! - `heap`: reading and building OCaml values; `custom`: Rust values that OCaml holds; `payload`: large buffers.
//! - `block`: what is in a block, and blocks as lists of their items, without a node.
//! - `stub`: the frame around each stub; `failure`: what it can answer instead; `flag`: how OCaml waits.

mod block;
mod config;
mod custom;
mod event;
mod failure;
mod figures;
mod flag;
#[cfg(feature = "generate")]
mod generate;
mod heap;
mod ids;
mod node;
mod payload;
mod request;
mod signals;
mod stub;
mod testing;
