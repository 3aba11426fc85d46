//! Sessions from outside: what they refuse, what they promise, and many of them together.

// The exemption for tests does not reach the helpers here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod back_pressure;
mod bad_input;
mod hostile;
mod introductions;
mod lone;
mod meetings;
mod pools_and_tips;
mod properties;
mod random;
mod requests;
mod staged_ledgers;
mod things;
mod trace;
mod user;
mod world;
