//! The compact relay from outside: one node's against peers that the test plays, and many nodes together.

// The exemption for tests does not reach the helpers here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod bodies;
mod channel;
mod desk;
mod headers;
mod liars;
mod network;
mod properties;
#[path = "../session/random.rs"]
mod random;
mod things;
mod world;
