//! A node of our own kind says so in its SDP, by an attribute that others ignore. Authentication covers it with the rest.

use std::fmt::Write;

use crate::binprot::DecodeError;
use crate::message::Hello;

/// The attribute's name. Its value is the body of a [`Hello`] in lower-case hexadecimal.
pub const SDP_ATTRIBUTE: &str = "mina-p2p";
/// What its line starts with.
const LINE_START: &str = "a=mina-p2p:";
/// The most bytes of the Hello, 2,048 characters of the SDP: an SDP takes about 1 KiB without, and a sealed offer must fit in
/// 16 KiB after each byte has become two.
pub const MAX_SDP_HELLO_LEN: usize = 1024;

/// Why an announcement in an SDP is none. Whoever wrote it is of our kind, so it is an offence rather than nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// The attribute is there more than once.
    #[error("`a=mina-p2p` more than once in an SDP")]
    Repeated,
    /// Longer than [`MAX_SDP_HELLO_LEN`].
    #[error("`a=mina-p2p` of {len} characters: at most {} are allowed", 2 * MAX_SDP_HELLO_LEN)]
    TooLong {
        /// Its length, in bytes of the SDP.
        len: usize,
    },
    /// Not pairs of lower-case hexadecimal digits.
    #[error("`a=mina-p2p` is not lower-case hexadecimal")]
    NotHexadecimal,
    /// The bytes are no Hello.
    #[error("`a=mina-p2p`: {0}")]
    Hello(#[from] DecodeError),
}

/// Adds the attribute's line at the end, where it belongs to the SDP's last, and only, medium. To be done once, before the
/// SDP is sent or hashed. Listen addresses that do not fit in [`MAX_SDP_HELLO_LEN`] are left out, the last first.
pub fn announce(sdp: &mut String, hello: &Hello) {
    let mut body = hello.encode();
    if body.len() > MAX_SDP_HELLO_LEN {
        let mut shorter = hello.clone();
        while body.len() > MAX_SDP_HELLO_LEN && shorter.listen_addresses.pop().is_some() {
            body = shorter.encode();
        }
    }
    let body = body.into_bytes();
    if !sdp.is_empty() && !sdp.ends_with('\n') {
        sdp.push_str("\r\n");
    }
    sdp.reserve(LINE_START.len() + 2 * body.len() + 2);
    sdp.push_str(LINE_START);
    for byte in body {
        // Writing to a string does not fail.
        let _ = write!(sdp, "{byte:02x}");
    }
    sdp.push_str("\r\n");
}

/// The Hello that an SDP announces, if it does: whoever wrote it is of our kind, or says so.
///
/// # Errors
/// An [`AnnouncementError`].
pub fn announced(sdp: &str) -> Result<Option<Hello>, AnnouncementError> {
    let mut values =
        sdp.split('\n').filter_map(|line| line.strip_suffix('\r').unwrap_or(line).strip_prefix(LINE_START));
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(AnnouncementError::Repeated);
    }
    if value.len() > 2 * MAX_SDP_HELLO_LEN {
        return Err(AnnouncementError::TooLong { len: value.len() });
    }
    let body = unhex(value).ok_or(AnnouncementError::NotHexadecimal)?;
    Ok(Some(Hello::decode(body.into())?.value))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}
