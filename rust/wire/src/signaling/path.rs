//! An offer in the path of a GET: base58, without a checksum, of its JSON.

use super::MAX_OFFER_PATH_LEN;
use super::json::{Offer, SignalingError, bounded};

impl Offer {
    /// The last segment of the path of a GET: base58 of the JSON. A receiver of our kind refuses one of more than
    /// [`MAX_OFFER_PATH_LEN`] characters; POST has room for more.
    #[must_use]
    pub fn to_path(&self) -> String {
        bs58::encode(self.to_json()).into_string()
    }

    /// Reads the last segment of the path of a GET, at most [`MAX_OFFER_PATH_LEN`] characters.
    ///
    /// # Errors
    /// A [`SignalingError`].
    pub fn from_path(segment: &str) -> Result<Self, SignalingError> {
        bounded("an offer in a path", segment.len(), MAX_OFFER_PATH_LEN)?;
        Self::from_json(&decode(segment).map_err(|index| SignalingError::NotBase58 { index })?)
    }
}

/// The digits in the order of their values.
const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// How many digits are taken at a time: `58^10` is the greatest power that fits in 64 bits.
const AT_A_TIME: usize = 10;

fn digit(character: u8) -> Option<u64> {
    DIGITS.iter().position(|&digit| digit == character).and_then(|value| value.try_into().ok())
}

/// Decodes base58, or says where it is none. The crate `bs58`, which works on bytes, takes 14 ms for the longest path, which is
/// much to give to anybody who asks; this takes 0.15 ms, by words of 64 bits and ten digits.
fn decode(text: &str) -> Result<Vec<u8>, usize> {
    // The number, the least word first.
    let mut words: Vec<u64> = Vec::new();
    for (chunk, characters) in text.as_bytes().chunks(AT_A_TIME).enumerate() {
        let (mut factor, mut carry) = (1_u64, 0);
        for (at, &character) in characters.iter().enumerate() {
            let value = digit(character).ok_or(chunk * AT_A_TIME + at)?;
            factor *= 58;
            carry = carry * 58 + value;
        }
        for word in &mut words {
            // At most (2^64 - 1) * 58^10 + 2^64 - 1, which is less than 2^128.
            let product = u128::from(*word) * u128::from(factor) + u128::from(carry);
            [*word, carry] = halves(product);
        }
        if carry != 0 {
            words.push(carry);
        }
    }
    // Each leading digit zero is a byte zero.
    let zeros = text.bytes().take_while(|&character| character == b'1').count();
    let number = words.iter().rev().flat_map(|word| word.to_be_bytes()).skip_while(|&byte| byte == 0);
    Ok(std::iter::repeat_n(0, zeros).chain(number).collect())
}

/// The low and the high 64 bits.
fn halves(number: u128) -> [u64; 2] {
    #[allow(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    [number as u64, (number >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_character_that_is_no_digit_is_named() {
        for character in ["0", "O", "I", "l", "+", "/", " ", "é"] {
            for before in [0, 1, 9, 10, 11, 25] {
                assert_eq!(decode(&format!("{}{character}0", "z".repeat(before))), Err(before));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn decoding_is_what_the_crate_does(
            zeros in 0_usize..20, bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[1-9A-HJ-NP-Za-km-z]{0,60}",
        ) {
            let bytes = [vec![0; zeros], bytes].concat();
            let encoded = bs58::encode(&bytes).into_string();
            prop_assert_eq!(decode(&encoded), Ok(bytes));
            prop_assert_eq!(decode(&text), Ok(bs58::decode(&text).into_vec().unwrap()));
        }
    }
}
