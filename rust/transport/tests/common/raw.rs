//! Bare quinn peers, which do what our own transport never does. Their certificates are rcgen's, an implementation other
//! than ours.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mina_p2p_wire::message::Hello;
use mina_p2p_wire::{SecretKey, frame};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// How a raw peer shows itself.
pub struct Identity {
    pub certificates: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Without a look at whether the key fits the certificate.
    fn resolver(self) -> Arc<SingleCertAndKey> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.key).unwrap();
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(self.certificates, key)))
    }

    /// A good certificate for this key.
    pub fn of(key: &SecretKey) -> Self {
        let pair = rcgen_key(key);
        let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
        Self { certificates: vec![certificate.into()], key: PrivatePkcs8KeyDer::from(pair.serialize_der()).into() }
    }
}

/// The key in PKCS #8 (RFC 8410, section 7).
pub fn pkcs8(key: &SecretKey) -> Vec<u8> {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend_from_slice(&*key.to_bytes());
    der
}

pub fn rcgen_key(key: &SecretKey) -> rcgen::KeyPair {
    let der = PrivatePkcs8KeyDer::from(pkcs8(key));
    rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).unwrap()
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client's settings; `identity` is `None` for one that shows no certificate.
pub fn client_config(identity: Option<Identity>, alpn: &[&[u8]]) -> quinn::ClientConfig {
    client_config_with(Anyone { verify: false }, identity, alpn)
}

/// As an honest program that uses quinn without us.
pub fn client_config_that_verifies(identity: Identity, alpn: &[&[u8]]) -> quinn::ClientConfig {
    client_config_with(Anyone { verify: true }, Some(identity), alpn)
}

fn client_config_with(verifier: Anyone, identity: Option<Identity>, alpn: &[&[u8]]) -> quinn::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// A client socket on one of this machine's loopback addresses (127.0.0.`host`).
pub fn client(host: u8) -> quinn::Endpoint {
    quinn::Endpoint::client((IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0).into()).unwrap()
}

/// Connects with a good certificate, without any `Hello` yet.
pub async fn connect(key: &SecretKey, to: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let endpoint = client(1);
    let config = client_config(Some(Identity::of(key)), &[mina_p2p_transport::quic::ALPN]);
    let connection = endpoint.connect_with(config, to, "x").unwrap().await.unwrap();
    (endpoint, connection)
}

/// Connects and completes the exchange of `Hello`s; the other side must accept meanwhile.
pub async fn greeted(key: &SecretKey, to: SocketAddr, hello: &Hello) -> (quinn::Endpoint, quinn::Connection) {
    let (endpoint, connection) = connect(key, to).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&framed(&hello.encode().into_bytes())).await.unwrap();
    send.finish().unwrap();
    recv.read_to_end(1 << 16).await.unwrap();
    (endpoint, connection)
}

/// A body behind its length.
pub fn framed(body: &[u8]) -> Vec<u8> {
    [&frame::head(body.len() as u32)[..], body].concat()
}

/// A server that shows `identity` and asks for a certificate.
pub fn server(identity: Identity, alpn: &[&[u8]]) -> quinn::Endpoint {
    server_with(Anyone { verify: false }, identity, alpn)
}

/// As an honest program that uses quinn without us.
pub fn server_that_verifies(identity: Identity, alpn: &[&[u8]]) -> quinn::Endpoint {
    server_with(Anyone { verify: true }, identity, alpn)
}

fn server_with(verifier: Anyone, identity: Identity, alpn: &[&[u8]]) -> quinn::Endpoint {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity.resolver());
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let crypto = QuicServerConfig::try_from(config).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    quinn::Endpoint::server(config, super::loopback()).unwrap()
}

/// Accepts any certificate.
#[derive(Debug)]
struct Anyone {
    /// Whether the handshake must be signed with the certificate's key.
    verify: bool,
}

impl Anyone {
    fn handshake(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.verify {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }
}

fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
