//! TLS 1.3 with self-signed ed25519 certificates on both sides.
//!
//! There is no resumption and no 0-RTT: a ticket would stand for an identity that was proved some time ago, costs memory
//! at both ends, and early data can be replayed.

use std::sync::{Arc, OnceLock};

use mina_p2p_wire::{PeerId, PublicKey, SecretKey};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use zeroize::Zeroizing;

use super::certificate::{CertificateFault, self_signed, verified_key};

/// The application protocol (ALPN).
pub const ALPN: &[u8] = b"mina-p2p/1";

/// Makes the TLS configurations of one node, one for each handshake.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    certificate: Arc<SingleCertAndKey>,
}

/// What one handshake's verifier found out. QUIC's own results carry the first as bytes to be verified again, the second
/// as text only.
#[derive(Debug, Default)]
pub(super) struct Findings {
    key: OnceLock<PublicKey>,
    fault: OnceLock<CertificateFault>,
}

impl Findings {
    /// The key of the peer's certificate. Proved to be the peer's only once the handshake is complete.
    pub(super) fn peer(&self) -> Option<PeerId> {
        self.key.get().map(PublicKey::peer_id)
    }

    /// Why the peer's certificate was refused.
    pub(super) fn fault(&self) -> Option<CertificateFault> {
        self.fault.get().copied()
    }
}

impl Tls {
    pub(super) fn new(key: &SecretKey) -> Result<Self, Error> {
        let certificate = CertificateDer::from(self_signed(key));
        let certified = CertifiedKey::new(vec![certificate], signing_key(key)?);
        Ok(Self { provider: Arc::new(provider()), certificate: Arc::new(SingleCertAndKey::from(certified)) })
    }

    /// For one dial.
    pub(super) fn client(&self) -> Result<(rustls::ClientConfig, Arc<Findings>), Error> {
        let verifier = PeerVerifier::default();
        let findings = verifier.0.clone();
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(self.certificate.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok((config, findings))
    }

    /// For one incoming handshake.
    pub(super) fn server(&self) -> Result<(rustls::ServerConfig, Arc<Findings>), Error> {
        let verifier = PeerVerifier::default();
        let findings = verifier.0.clone();
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(self.certificate.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok((config, findings))
    }
}

/// aws-lc-rs, with X25519 alone for the key exchange. A post-quantum one makes the first flight two datagrams, which
/// doubles what an unproved address makes us send; what is exchanged is public, and the peers' signatures are not
/// post-quantum either.
fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() }
}

/// The node's key as the TLS library's, which signs handshakes twice as fast as we do and wipes its copy as well.
fn signing_key(key: &SecretKey) -> Result<Arc<dyn SigningKey>, Error> {
    // PKCS #8 of an ed25519 seed (RFC 8410, section 7).
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let mut der = Zeroizing::new([0; HEAD.len() + 32]);
    let (head, seed) = der.split_at_mut(HEAD.len());
    head.copy_from_slice(&HEAD);
    seed.copy_from_slice(&*key.to_bytes());
    aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&der[..]))
}

/// Accepts any peer that holds the key of its own ed25519 certificate. Who the peer must be is asked afterwards.
#[derive(Debug, Default)]
struct PeerVerifier(Arc<Findings>);

impl PeerVerifier {
    fn refused(&self, fault: CertificateFault) -> Error {
        let fault = *self.0.fault.get_or_init(|| fault);
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
    }

    fn certificate(&self, certificate: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !more.is_empty() {
            return Err(self.refused(CertificateFault::Count));
        }
        let key = verified_key(certificate).map_err(|fault| self.refused(fault))?;
        // A handshake has one certificate.
        self.0.key.get_or_init(|| key);
        Ok(())
    }

    fn handshake(&self, message: &[u8], signed: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(self.refused(CertificateFault::HandshakeSignatureType));
        }
        let refused = || self.refused(CertificateFault::HandshakeSignature);
        // TLS asks about the certificate first.
        let key = self.0.key.get().ok_or_else(refused)?;
        let signature = signed.signature().try_into().map_err(|_| refused())?;
        key.verify_strict(message, signature).map_err(|_| refused())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn schemes() -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn tls12() -> Error {
        Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.certificate(certificate, more)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake(message, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.certificate(certificate, more)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake(message, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}
