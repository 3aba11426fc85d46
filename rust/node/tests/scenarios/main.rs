//! Whole nodes over real QUIC and WebRTC on loopback, as their users drive them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bad_frames;
mod bad_requests;
mod bad_scene;
mod blocks;
mod closing;
mod common;
mod compact;
mod crossed;
mod dials;
mod extensions;
mod introductions;
mod peers;
mod pools;
mod raw;
mod relay;
mod requests;
mod slow_peers;
mod swarm;
mod two_transports;
mod webrtc;
