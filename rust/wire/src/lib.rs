//! Bytes and values of the Mina pull protocol: binprot, identities, addresses, messages, framing.
//!
//! Everything here is a pure function of its input: no I/O, no clock, no randomness. docs/SPEC.md describes the same bytes
//! independently of this code.
//!
//! - [`SecretKey`], [`PublicKey`], [`PeerId`]: who a node is. [`ChainId`]: which network it is of.
//! - [`Address`]: where a node can be reached.
//! - [`Channel`], [`StreamId`], [`Frame`], [`mod@frame`]: how messages travel.
//! - [`message`]: every message of every channel, with its limits.
//! - [`signaling`]: what two nodes tell each other before WebRTC connects them, sealed, and how each then proves who it is.
//! - [`binprot`]: the encoding below them.
//!
//! Whatever comes from a peer is taken for hostile: decoding never panics, never allocates from a length that was claimed,
//! and shares large payloads with the buffer they came in.
//!
//! ```
//! use bytes::Bytes;
//! use mina_p2p_wire::message::BestTipMessage;
//!
//! let frame = BestTipMessage::BestTip(Bytes::from_static(b"a block")).encode();
//! let decoded = BestTipMessage::decode(frame.into_bytes())?;
//! assert!(decoded.is_exact());
//! # Ok::<(), mina_p2p_wire::binprot::DecodeError>(())
//! ```

mod address;
mod base58;
pub mod binprot;
mod channel;
pub mod frame;
mod hash;
mod host;
mod identity;
pub mod message;
pub mod signaling;

pub use address::{Address, ParseAddressError, Signaling};
pub use base58::ParseTextError;
pub use binprot::{DecodeError, Decoded};
pub use channel::{Channel, Role, StreamId, UnknownChannel};
pub use frame::Frame;
pub use hash::{BlockKey, ChainId, CompressedPublicKey, JobId, LedgerHash, StateHash, TransactionHash};
pub use host::{DomainName, Host, ParseHostError};
pub use identity::{InvalidSignature, NonContributory, PeerId, PublicKey, SecretKey};

/// The version of the protocol between nodes of our own kind, as their [`message::Hello`] says it.
pub const PROTOCOL_VERSION: u32 = 1;
