//! Base58check of fixed-size values: a prefix (a version byte, sometimes more), the value, and the first four bytes of the
//! double SHA-256 of both.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Room for the longest decoded text, a compressed public key: 3 bytes of prefix, 33 of value, 4 of checksum.
const MAX_DECODED_LEN: usize = 40;
/// Longer texts are refused unread, for decoding takes quadratic time: 40 bytes take at most
/// `ceil(40 * ln 256 / ln 58)` = 55 characters.
const MAX_TEXT_LEN: usize = 55;
const CHECKSUM_LEN: usize = 4;

/// Why a text is no key, id or hash of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTextError {
    /// Not hexadecimal digits, where these are expected.
    #[error("not a hexadecimal number")]
    NotHexadecimal,
    /// A character that base58 does not have.
    #[error("not base58: bad character at {index}")]
    NotBase58 {
        /// Which byte of the text.
        index: usize,
    },
    /// The checksum does not fit: a typing error, most likely.
    #[error("wrong checksum")]
    WrongChecksum,
    /// Something else of the same kind of text: the prefix differs.
    #[error("not a {expected}: the prefix is another one")]
    WrongPrefix {
        /// What was expected.
        expected: &'static str,
    },
    /// Too short or too long.
    #[error("not a {expected}: the length is wrong")]
    WrongLength {
        /// What was expected.
        expected: &'static str,
    },
    /// 32 bytes that are no public key.
    #[error("not a point of the ed25519 curve")]
    InvalidPoint,
}

fn checksum(parts: &[&[u8]]) -> [u8; CHECKSUM_LEN] {
    let mut inner = Sha256::new();
    for part in parts {
        inner.update(part);
    }
    let outer: [u8; 32] = Sha256::digest(inner.finalize()).into();
    let [a, b, c, d, ..] = outer;
    [a, b, c, d]
}

pub(crate) fn encode_check(prefix: &[u8], value: &[u8]) -> String {
    let checksum = checksum(&[prefix, value]);
    let bytes = Zeroizing::new([prefix, value, &checksum].concat());
    bs58::encode(bytes.as_slice()).into_string()
}

pub(crate) fn decode_check<const N: usize>(
    text: &str,
    prefix: &[u8],
    expected: &'static str,
) -> Result<[u8; N], ParseTextError> {
    let mut buffer = Zeroizing::new([0; MAX_DECODED_LEN]);
    let bytes = decode_plain(text, &mut *buffer, expected)?;
    let Some((rest, sum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return Err(ParseTextError::WrongLength { expected });
    };
    if checksum(&[rest]) != *sum {
        return Err(ParseTextError::WrongChecksum);
    }
    rest.strip_prefix(prefix)
        .ok_or(ParseTextError::WrongPrefix { expected })?
        .try_into()
        .map_err(|_| ParseTextError::WrongLength { expected })
}

/// Decodes base58 without a checksum into `buffer`; returns the part that was filled.
pub(crate) fn decode_plain<'a>(
    text: &str,
    buffer: &'a mut [u8],
    expected: &'static str,
) -> Result<&'a [u8], ParseTextError> {
    if text.len() > MAX_TEXT_LEN {
        return Err(ParseTextError::WrongLength { expected });
    }
    let len = bs58::decode(text).onto(&mut *buffer).map_err(|error| match error {
        bs58::decode::Error::InvalidCharacter { index, .. } | bs58::decode::Error::NonAsciiCharacter { index } => {
            ParseTextError::NotBase58 { index }
        }
        _ => ParseTextError::WrongLength { expected },
    })?;
    buffer.get(..len).ok_or(ParseTextError::WrongLength { expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_be_wrong_has_its_name() {
        let decode = |text: &str| decode_check::<32>(text, &[7], "thing");
        let good = encode_check(&[7], &[9; 32]);
        assert_eq!(decode(&good), Ok([9; 32]));
        let expected = "thing";
        assert_eq!(decode(&encode_check(&[8], &[9; 32])), Err(ParseTextError::WrongPrefix { expected }));
        for len in [0, 31, 33, 80] {
            assert_eq!(
                decode(&encode_check(&[7], &vec![9; len])),
                Err(ParseTextError::WrongLength { expected }),
                "{len}"
            );
        }
        assert_eq!(decode(""), Err(ParseTextError::WrongLength { expected }));
        assert_eq!(decode("0"), Err(ParseTextError::NotBase58 { index: 0 }));
        assert_eq!(decode("1\u{fc}"), Err(ParseTextError::NotBase58 { index: 1 }));
        let last = if good.ends_with('1') { "2" } else { "1" };
        let mistyped = format!("{}{last}", &good[..good.len() - 1]);
        assert_eq!(decode(&mistyped), Err(ParseTextError::WrongChecksum));
    }

    #[test]
    fn no_decoded_value_is_longer_than_there_is_room_for() {
        let longest = encode_check(&[0xff, 0xff, 0xff], &[0xff; 33]);
        assert!(longest.len() <= MAX_TEXT_LEN);
        assert!(decode_check::<33>(&longest, &[0xff, 0xff, 0xff], "thing").is_ok());
    }
}
