//! Certificates and application protocols that must be refused, at either end, with a named reason.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::events::Events;
use common::raw::{self, Identity};
use common::*;
use mina_p2p_transport::quic::ALPN;
use mina_p2p_transport::{CloseReason, ConnectError, Limits};
use quinn::ConnectionError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

fn self_signed(pair: &rcgen::KeyPair) -> Identity {
    let certificate = rcgen::CertificateParams::default().self_signed(pair).unwrap();
    Identity { certificates: vec![certificate.into()], key: PrivatePkcs8KeyDer::from(pair.serialize_der()).into() }
}

fn rsa() -> Identity {
    self_signed(&rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap())
}

fn ecdsa() -> Identity {
    self_signed(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
}

/// A certificate of another kind of key, from a peer that signs the handshake with ed25519 all the same.
fn forced(identity: Identity) -> Identity {
    Identity { key: ed25519_key(1), ..identity }
}

/// An ed25519 certificate signed by another key.
fn signed_by(authority: rcgen::KeyPair) -> Identity {
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), authority);
    let pair = raw::rcgen_key(&key(1));
    let certificate = rcgen::CertificateParams::default().signed_by(&pair, &issuer).unwrap();
    Identity { certificates: vec![certificate.into()], key: ed25519_key(1) }
}

fn ed25519_key(n: u8) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(raw::pkcs8(&key(n))).into()
}

/// The key of a good certificate replaced: by the neutral element, for which the all-zero signature of the same point is
/// valid in lenient verifiers, and by bytes that are no point.
fn with_key(replacement: [u8; 32]) -> Identity {
    let good = Identity::of(&key(1));
    let mut der = good.certificates[0].to_vec();
    let ours = peer(1).to_bytes();
    let at = der.windows(32).position(|window| window == ours).unwrap();
    der[at..at + 32].copy_from_slice(&replacement);
    Identity { certificates: vec![CertificateDer::from(der)], key: ed25519_key(1) }
}

fn small_order() -> Identity {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    with_key(neutral)
}

fn no_point() -> Identity {
    let mut bytes = [0; 32];
    bytes[0] = 2;
    with_key(bytes)
}

fn altered() -> Identity {
    let mut identity = Identity::of(&key(1));
    let mut der = identity.certificates[0].to_vec();
    *der.last_mut().unwrap() ^= 1;
    identity.certificates = vec![CertificateDer::from(der)];
    identity
}

fn two() -> Identity {
    let mut identity = Identity::of(&key(1));
    identity.certificates.push(identity.certificates[0].clone());
    identity
}

/// Somebody else's good certificate.
fn stolen() -> Identity {
    Identity { certificates: Identity::of(&key(7)).certificates, key: ed25519_key(1) }
}

fn garbage() -> Identity {
    Identity { certificates: vec![CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff, 1, 2, 3])], key: ed25519_key(1) }
}

fn too_long() -> Identity {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "x".repeat(4_000));
    let pair = raw::rcgen_key(&key(1));
    Identity { certificates: vec![params.self_signed(&pair).unwrap().into()], key: ed25519_key(1) }
}

/// Each bad identity with what our side says of it.
fn bad() -> Vec<(Identity, &'static str)> {
    vec![
        (forced(rsa()), "not an ed25519 key"),
        (forced(ecdsa()), "not an ed25519 key"),
        (signed_by(raw::rcgen_key(&key(50))), "not signed by its own key"),
        (signed_by(rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()), "not signed with ed25519"),
        (garbage(), "not well-formed"),
        (altered(), "not signed by its own key"),
        (small_order(), "key of small order"),
        (no_point(), "not a valid ed25519 key"),
        (two(), "not exactly one certificate"),
        (stolen(), "handshake not signed by the certificate's key"),
        (too_long(), "too long"),
    ]
}

fn unsuitable(text: &str) -> CloseReason {
    CloseReason::UnsuitableCertificate(text.to_owned())
}

#[tokio::test]
async fn a_good_certificate_of_another_maker_is_accepted() {
    watchdog(async {
        let node = Quic.node(key(2), Limits::default());
        let arrivals = node.listen(loopback()).unwrap();
        let (bare_key, bare_hello) = (key(1), hello());
        let (_bare, incoming) = tokio::join!(raw::greeted(&bare_key, arrivals.local_addr(), &bare_hello), async {
            let incoming = arrivals.accept().await.unwrap();
            assert_eq!(incoming.peer(), peer(1));
            incoming.accept(&hello()).await.unwrap()
        });
        assert_eq!(incoming.peer(), peer(1));
    })
    .await;
}

#[tokio::test]
async fn our_certificate_is_good_for_another_reader() {
    watchdog(async {
        let node = Quic.node(key(2), Limits::default());
        let arrivals = node.listen(loopback()).unwrap();
        let endpoint = raw::client(1);
        let config = raw::client_config_that_verifies(Identity::of(&key(1)), &[ALPN]);
        endpoint.connect_with(config, arrivals.local_addr(), "x").unwrap().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_dialer_refuses_bad_certificates_by_name() {
    watchdog(async {
        let node = Quic.node(key(9), Limits::default());
        for (identity, text) in bad() {
            let server = raw::server(identity, &[ALPN]);
            let to = address(peer(1), server.local_addr().unwrap());
            let our_hello = hello();
            let (dialed, theirs) = tokio::join!(node.connect(&to, &our_hello), async {
                server.accept().await.unwrap().await.unwrap_err()
            });
            assert_eq!(failed(dialed), ConnectError::Refused(unsuitable(text)));
            // What the other side sees is a TLS alert about a certificate.
            assert!(matches!(theirs, ConnectionError::ConnectionClosed(_)), "{theirs}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_listener_refuses_bad_certificates_by_name() {
    let events = Events::collect();
    watchdog(async {
        let node = mina_p2p_transport::quic::Endpoint::new(key(2), chain(1), Limits::default()).unwrap();
        let arrivals = mina_p2p_transport::Transport::listen(&node, loopback()).unwrap();
        for (identity, text) in bad() {
            let endpoint = raw::client(1);
            let config = raw::client_config(Some(identity), &[ALPN]);
            let connecting = endpoint.connect_with(config, arrivals.local_addr(), "x").unwrap();
            // TLS 1.3: the client is done before its own certificate has been judged.
            let error = match connecting.await {
                Ok(connection) => connection.closed().await,
                Err(error) => error,
            };
            let ConnectionError::ConnectionClosed(close) = error else {
                panic!("{text}: a TLS alert expected, got {error}");
            };
            let code = u64::from(close.error_code);
            assert!((0x100..0x200).contains(&code), "{text}: {code:x}");
            let from = endpoint.local_addr().unwrap().to_string();
            events.wait_for(&[&from, "unsuitable certificate", text]).await;
        }
        while node.pending_handshakes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// RSA and ECDSA peers find no signature scheme in common with us, so their handshake ends before their certificate.
#[tokio::test]
async fn certificates_that_are_not_ed25519_are_refused() {
    watchdog(async {
        for identity in [rsa, ecdsa] {
            let server = raw::server(identity(), &[ALPN]);
            let to = address(peer(1), server.local_addr().unwrap());
            let node = Quic.node(key(9), Limits::default());
            let our_hello = hello();
            let (dialed, _theirs) = tokio::join!(node.connect(&to, &our_hello), async {
                server.accept().await.unwrap().await.unwrap_err()
            });
            let ConnectError::Closed(CloseReason::UnsuitableCertificate(text)) = failed(dialed) else {
                panic!("an unsuitable certificate");
            };
            assert!(text.contains("alert"));

            let arrivals = node.listen(loopback()).unwrap();
            let endpoint = raw::client(1);
            let config = raw::client_config(Some(identity()), &[ALPN]);
            let connecting = endpoint.connect_with(config, arrivals.local_addr(), "x").unwrap();
            if let Ok(connection) = connecting.await {
                connection.closed().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_dialer_without_a_certificate_is_refused() {
    watchdog(async {
        let node = Quic.node(key(2), Limits::default());
        let arrivals = node.listen(loopback()).unwrap();
        let endpoint = raw::client(1);
        let config = raw::client_config(None, &[ALPN]);
        let connecting = endpoint.connect_with(config, arrivals.local_addr(), "x").unwrap();
        let error = match connecting.await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        };
        let ConnectionError::ConnectionClosed(close) = error else {
            panic!("a TLS alert expected, got {error}");
        };
        // certificate_required
        assert_eq!(u64::from(close.error_code), 0x100 + 116);
    })
    .await;
}

#[tokio::test]
async fn another_application_protocol_or_none_is_refused() {
    watchdog(async {
        let node = Quic.node(key(2), Limits::default());
        let arrivals = node.listen(loopback()).unwrap();
        for alpn in [&[&b"h3"[..]][..], &[]] {
            let endpoint = raw::client(1);
            let config = raw::client_config(Some(Identity::of(&key(1))), alpn);
            let error = endpoint.connect_with(config, arrivals.local_addr(), "x").unwrap().await.unwrap_err();
            let ConnectionError::ConnectionClosed(close) = error else {
                panic!("a TLS alert expected, got {error}");
            };
            // no_application_protocol
            assert_eq!(u64::from(close.error_code), 0x100 + 120);

            let server = raw::server(Identity::of(&key(3)), alpn);
            let to = address(peer(3), server.local_addr().unwrap());
            let our_hello = hello();
            let (dialed, _theirs) = tokio::join!(node.connect(&to, &our_hello), async {
                server.accept().await.unwrap().await.unwrap_err()
            });
            assert!(matches!(
                failed(dialed),
                ConnectError::Closed(CloseReason::UnsupportedProtocol)
                    | ConnectError::Refused(CloseReason::UnsupportedProtocol)
            ),);
        }
    })
    .await;
}
