//! The X.509 certificate that carries a node's ed25519 key (RFC 5280, RFC 8410), written and read as DER (X.690).
//!
//! Only the key matters. The certificate is signed by the key that it carries, and TLS proves that the peer holds that
//! key. There is no authority, so names mean nothing. Validity dates are ignored: a node's key does not expire, its
//! clock may be wrong, and nobody re-issues. Extensions are not looked at, for nothing is concluded from them.

use mina_p2p_wire::{PublicKey, SecretKey};

/// Longest certificate that is looked at, in bytes. Ours have 197; a name and some extensions fit easily.
pub const MAX_CERTIFICATE_LEN: usize = 2048;

/// Why a peer's certificate, or its proof of possession, is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Not exactly one certificate was sent.
    #[error("not exactly one certificate")]
    Count,
    /// It is longer than [`MAX_CERTIFICATE_LEN`].
    #[error("too long")]
    TooLong,
    /// It is not the DER of an X.509 certificate.
    #[error("not well-formed")]
    Malformed,
    /// Its key is not an ed25519 key.
    #[error("not an ed25519 key")]
    KeyType,
    /// Its key is no point of the curve.
    #[error("not a valid ed25519 key")]
    InvalidKey,
    /// Its key is of small order, so that anyone could sign for it.
    #[error("key of small order")]
    SmallOrderKey,
    /// It is not signed with ed25519.
    #[error("not signed with ed25519")]
    SignatureType,
    /// It is not signed by its own key.
    #[error("not signed by its own key")]
    NotSelfSigned,
    /// The handshake is not signed with ed25519.
    #[error("handshake not signed with ed25519")]
    HandshakeSignatureType,
    /// The handshake is not signed by the certificate's key.
    #[error("handshake not signed by the certificate's key")]
    HandshakeSignature,
}

// DER tags.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const GENERALIZED_TIME: u8 = 0x18;
const UTC_TIME: u8 = 0x17;
const VERSION: u8 = 0xa0;

/// `AlgorithmIdentifier` of ed25519, which has no parameters: 1.3.101.112.
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// The certificate of a key. The same key gives the same bytes.
pub(crate) fn self_signed(key: &SecretKey) -> Vec<u8> {
    // CN = mina-p2p; RFC 5280 wants a name, and whoever captures the packet learns what it is.
    let attribute = [&[0x06, 0x03, 0x55, 0x04, 0x03][..], &element(UTF8_STRING, b"mina-p2p")].concat();
    let name = element(SEQUENCE, &element(SET, &element(SEQUENCE, &attribute)));
    // From 1970 to "no expiration date" (RFC 5280, 4.1.2.5).
    let validity = element(
        SEQUENCE,
        &[element(UTC_TIME, b"700101000000Z"), element(GENERALIZED_TIME, b"99991231235959Z")].concat(),
    );
    let key_info = [ED25519, &bit_string(&key.public_key().to_bytes())].concat();
    let to_be_signed = element(
        SEQUENCE,
        &[
            &element(VERSION, &element(INTEGER, &[2]))[..], // X.509 v3
            &element(INTEGER, &[1]),                        // serial number
            ED25519,
            &name,
            &validity,
            &name,
            &element(SEQUENCE, &key_info),
        ]
        .concat(),
    );
    let signature = bit_string(&key.sign(&to_be_signed));
    element(SEQUENCE, &[&to_be_signed, ED25519, &signature].concat())
}

/// One DER element. Contents here are under 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let mut out = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(content);
    out
}

/// A bit string of whole bytes.
fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// The key of a certificate: ed25519, not of small order, and the signer of the certificate.
pub(crate) fn verified_key(certificate: &[u8]) -> Result<PublicKey, CertificateFault> {
    if certificate.len() > MAX_CERTIFICATE_LEN {
        return Err(CertificateFault::TooLong);
    }
    let Fields { to_be_signed, key_algorithm, key, signature_algorithm, signature } =
        Fields::read(certificate).ok_or(CertificateFault::Malformed)?;
    if key_algorithm != ED25519 {
        return Err(CertificateFault::KeyType);
    }
    let key = key.try_into().map_err(|_| CertificateFault::InvalidKey)?;
    let key = PublicKey::from_bytes(key).map_err(|_| CertificateFault::InvalidKey)?;
    if key.is_small_order() {
        return Err(CertificateFault::SmallOrderKey);
    }
    if signature_algorithm != ED25519 {
        return Err(CertificateFault::SignatureType);
    }
    let signature = signature.try_into().map_err(|_| CertificateFault::NotSelfSigned)?;
    key.verify_strict(to_be_signed, signature).map_err(|_| CertificateFault::NotSelfSigned)?;
    Ok(key)
}

/// The parts of a certificate that count.
struct Fields<'a> {
    /// The whole element, tag and length included.
    to_be_signed: &'a [u8],
    key_algorithm: &'a [u8],
    key: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut certificate = Der(outer.content(SEQUENCE)?);
        let to_be_signed = certificate.element(SEQUENCE)?.0;
        let signature_algorithm = certificate.element(SEQUENCE)?.0;
        let signature = certificate.whole_bytes()?;
        if !outer.0.is_empty() || !certificate.0.is_empty() {
            return None;
        }
        let mut fields = Der(Der(to_be_signed).content(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.content(VERSION)?;
        }
        fields.content(INTEGER)?;
        // The algorithm inside the signature must be the one outside (RFC 5280, 4.1.1.2).
        if fields.element(SEQUENCE)?.0 != signature_algorithm {
            return None;
        }
        for _issuer_validity_subject in 0..3 {
            fields.content(SEQUENCE)?;
        }
        let mut key_info = Der(fields.content(SEQUENCE)?);
        let key_algorithm = key_info.element(SEQUENCE)?.0;
        let key = key_info.whole_bytes()?;
        key_info.0.is_empty().then_some(Self { to_be_signed, key_algorithm, key, signature_algorithm, signature })
    }
}

/// Reads DER elements one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element, which must have this tag: all of it, and its content.
    fn element(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (found, rest) = self.0.split_first()?;
        let (len, rest) = match rest.split_first()? {
            (len @ 0..=0x7f, rest) => (usize::from(*len), rest),
            (0x81, rest) => {
                let (len, rest) = rest.split_first()?;
                (usize::from(*len), rest)
            }
            (0x82, rest) => {
                let (len, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            _ => return None,
        };
        let content = rest.get(..len)?;
        let end = self.0.len() - rest.len() + len;
        let head = end - len;
        // DER: the shortest form of the length.
        let shortest = match len {
            0..0x80 => 2,
            0x80..0x100 => 3,
            _ => 4,
        };
        if *found != tag || head != shortest {
            return None;
        }
        let (whole, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some((whole, content))
    }

    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        Some(self.element(tag)?.1)
    }

    /// A bit string whose last byte is whole.
    fn whole_bytes(&mut self) -> Option<&'a [u8]> {
        match self.content(BIT_STRING)?.split_first()? {
            (0, bytes) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_bytes([7; 32])
    }

    #[test]
    fn our_certificate_carries_our_key() {
        let certificate = self_signed(&key());
        assert_eq!(verified_key(&certificate), Ok(key().public_key()));
        assert_eq!(certificate, self_signed(&key()));
    }

    #[test]
    fn any_altered_byte_is_noticed() {
        let good = self_signed(&key());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(verified_key(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn parts_of_a_certificate_are_malformed() {
        let good = self_signed(&key());
        for end in 0..good.len() {
            assert_eq!(verified_key(&good[..end]), Err(CertificateFault::Malformed));
        }
        let longer = [&good[..], &[0]].concat();
        assert_eq!(verified_key(&longer), Err(CertificateFault::Malformed));
    }

    #[test]
    fn lengths_must_be_in_their_shortest_form() {
        for der in [
            &[SEQUENCE, 0x81, 1, 0][..],
            &[SEQUENCE, 0x82, 0, 1, 0],
            &[SEQUENCE, 0x80, 0, 0],
            &[SEQUENCE, 0x83, 0, 0, 1, 0],
        ] {
            assert!(Der(der).content(SEQUENCE).is_none());
        }
        assert_eq!(Der(&[SEQUENCE, 1, 9]).content(SEQUENCE), Some(&[9][..]));
    }

    /// The points of small order and their encodings (eight points; see "Taming the many EdDSAs", table 1).
    #[test]
    fn every_key_of_small_order_is_refused() {
        let mut order_8 = [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ];
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut order_2 = [0xff; 32];
        order_2[0] = 0xec;
        order_2[31] = 0x7f;
        let mut points = vec![neutral, order_2, [0; 32], order_8];
        order_8[31] |= 0x80;
        points.push(order_8);
        for point in points {
            let mut certificate = self_signed(&key());
            let ours = key().public_key().to_bytes();
            let at = certificate.windows(32).position(|window| window == ours).unwrap();
            certificate[at..at + 32].copy_from_slice(&point);
            assert_eq!(verified_key(&certificate), Err(CertificateFault::SmallOrderKey), "{point:x?}");
        }
    }
}
