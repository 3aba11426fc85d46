//! An imitation of the Mina Rust node that exists today, and tests of this node against it.
//!
//! The imitation is written from the description of that node's behaviour, not from this project's transport: its WebRTC
//! is the `webrtc` crate, its signaling, sealing and framing are its own. From the project it takes only the messages and
//! names of `mina-p2p-wire`, which golden vectors check. It copies the existing node's sleeps, limits and bugs, because
//! those are what the tests are about; the comments call them bugs where they are.

pub mod old_peer;
