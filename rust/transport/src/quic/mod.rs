//! QUIC (RFC 9000, RFC 9001) with quinn: the default transport.
//!
//! Each side shows a self-signed ed25519 certificate, and the node's identity is its key. The application protocol is
//! [`ALPN`].

use crate::admission;
mod certificate;
mod config;
mod endpoint;
mod link;
mod listener;
mod tls;

pub use certificate::{CertificateFault, MAX_CERTIFICATE_LEN};
pub use endpoint::{CryptoError, Endpoint};
pub use tls::ALPN;
