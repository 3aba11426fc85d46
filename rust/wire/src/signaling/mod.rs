//! Signaling: what two nodes tell each other before WebRTC connects them (docs/SPEC.md, "Signaling").
//!
//! - [`Offer`], [`Answer`], [`SignalingResponse`]: the JSON values, as HTTP carries them.
//! - [`seal`], [`open`]: encryption between two identities, for what goes through a relay.
//! - [`ConnectionAuth`]: how each side then proves, on stream 0, that it is the identity that it signaled as.
//! - [`announce`], [`announced`]: how a node of our own kind says so in its SDP.
//!
//! An offer is not authenticated when it comes by HTTP: whoever sent it may have made up all of it, the key included.
//! [`ConnectionAuth`] settles that, once connected. Nothing in an offer is a reason to dial anybody.

mod announcement;
mod auth;
mod json;
mod path;
mod response;
mod seal;

pub use announcement::{AnnouncementError, MAX_SDP_HELLO_LEN, SDP_ATTRIBUTE, announce, announced};
pub use auth::{AuthError, ConnectionAuth};
pub use json::{Answer, Offer, SignalingError};
pub use response::{MAX_REASON_LEN, RejectionReason, SignalingResponse};
pub use seal::{MAX_SEALED_LEN, NONCE_LEN, OpenError, SEAL_OVERHEAD, SealError, open, seal};

/// The most bytes of an offer's JSON, as the body of a POST or sealed. Real ones take about 1.5 KiB, of which the SDP is most; a
/// node with many addresses takes some 100 bytes for each.
pub const MAX_OFFER_LEN: usize = 16 * 1024;
/// The most characters of an offer in the path of a GET. It is less because servers and proxies bound the line of a request, most
/// at 8 KiB, and because decoding base58 takes quadratic time. It is `8192 * ln 58 / ln 256` = 5,998 bytes of JSON.
pub const MAX_OFFER_PATH_LEN: usize = 8 * 1024;
/// The most bytes of a response's JSON.
pub const MAX_RESPONSE_LEN: usize = 16 * 1024;
