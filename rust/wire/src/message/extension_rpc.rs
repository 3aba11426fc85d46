//! Requests by name (channel 16): what the user of the library wants to ask others of his kind, of which the library knows
//! nothing. Only between nodes that announced [`Capabilities::EXTENSION_RPC`](super::Capabilities::EXTENSION_RPC).

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::{Frame, Opaque, TAG_LEN, frame, small};
use crate::binprot::{Binprot, DecodeError, Decoded, MAX_INT_LEN, Reader, Writer, nat0_len};

/// The most bytes of a name.
pub const MAX_EXTENSION_NAME_LEN: usize = 64;
/// The most bytes of the text of a failure.
pub const MAX_EXTENSION_ERROR_LEN: usize = 256;
/// The most bytes of the body of a request or an answer. Each RPC sets itself a lower limit.
pub const MAX_EXTENSION_BODY_LEN: usize = 32 * 1024 * 1024;
/// The most bytes of a request before its body: tag, id, name with its length, version and longest answer (nat0s of 32
/// bits).
pub const MAX_EXTENSION_HEAD_LEN: usize = TAG_LEN
    + MAX_INT_LEN
    + nat0_len(MAX_EXTENSION_NAME_LEN as u64)
    + MAX_EXTENSION_NAME_LEN
    + 2 * nat0_len(u32::MAX as u64);
/// The most bytes of a response before the body of the answer: tag, id, outcome.
pub const MAX_EXTENSION_RESPONSE_HEAD_LEN: usize = TAG_LEN + MAX_INT_LEN + TAG_LEN;

/// The name of an RPC: 1 to [`MAX_EXTENSION_NAME_LEN`] bytes of UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionName(String);

/// An empty name, or one that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of an RPC has 1 to 64 bytes, not {len}")]
pub struct InvalidExtensionName {
    /// The length in bytes.
    pub len: usize,
}

impl ExtensionName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ExtensionName {
    type Error = InvalidExtensionName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.len() {
            1..=MAX_EXTENSION_NAME_LEN => Ok(Self(name)),
            len => Err(InvalidExtensionName { len }),
        }
    }
}

impl FromStr for ExtensionName {
    type Err = InvalidExtensionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.to_owned().try_into()
    }
}

impl fmt::Display for ExtensionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Binprot for ExtensionName {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let offset = reader.position();
        let what = "extension rpc name";
        Self::try_from(reader.string(MAX_EXTENSION_NAME_LEN, what)?).map_err(|_| DecodeError::Invalid {
            offset,
            what,
            reason: "empty",
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.byte_string(self.0.as_bytes());
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExtensionError {
    /// The peer serves no RPC of this name and version.
    #[error("the peer does not serve this RPC")]
    Unknown,
    /// Too much to do; ask again later, or somebody else.
    #[error("the peer is busy")]
    Busy,
    /// It failed, and this is why. At most [`MAX_EXTENSION_ERROR_LEN`] bytes; the rest of a longer text is not sent.
    #[error("{0}")]
    Failed(String),
}

/// A message of channel 16.
#[derive(Clone, PartialEq, Eq)]
pub enum ExtensionMessage {
    /// A request.
    Request {
        /// Repeated by its response; unique among the requester's unanswered ones.
        id: u64,
        /// Which RPC.
        name: ExtensionName,
        /// Which version of it.
        version: u32,
        /// The longest answer that the requester accepts, in bytes without the response's head: its permit.
        max_answer: u32,
        /// The query, opaque.
        body: Bytes,
    },
    /// The answer to a request.
    Response {
        /// The request's.
        id: u64,
        /// The answer, opaque, or why there is none.
        result: Result<Bytes, ExtensionError>,
    },
}

impl ExtensionMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            let tag = reader.tag(2, "extension rpc message")?;
            let id = reader.nat0("extension rpc id")?;
            Ok(match tag {
                0 => Self::Request {
                    id,
                    name: ExtensionName::read(reader)?,
                    version: read_u32(reader, "extension rpc version")?,
                    max_answer: read_u32(reader, "extension rpc longest answer")?,
                    body: reader.rest(),
                },
                _ => Self::Response {
                    id,
                    result: match reader.tag(4, "extension rpc response")? {
                        0 => Ok(reader.rest()),
                        1 => Err(ExtensionError::Unknown),
                        2 => Err(ExtensionError::Busy),
                        _ => Err(ExtensionError::Failed(
                            reader.string(MAX_EXTENSION_ERROR_LEN, "extension rpc failure")?,
                        )),
                    },
                },
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        match self {
            Self::Request { id, name, version, max_answer, body } => frame(body.clone(), |writer| {
                writer.byte(0);
                writer.nat0(*id);
                name.write(writer);
                writer.nat0((*version).into());
                writer.nat0((*max_answer).into());
            }),
            Self::Response { id, result } => {
                let head = |writer: &mut Writer, outcome| {
                    writer.byte(1);
                    writer.nat0(*id);
                    writer.byte(outcome);
                };
                match result {
                    Ok(answer) => frame(answer.clone(), |writer| head(writer, 0)),
                    Err(ExtensionError::Unknown) => small(|writer| head(writer, 1)),
                    Err(ExtensionError::Busy) => small(|writer| head(writer, 2)),
                    Err(ExtensionError::Failed(why)) => small(|writer| {
                        head(writer, 3);
                        writer.byte_string(cut(why, MAX_EXTENSION_ERROR_LEN).as_bytes());
                    }),
                }
            }
        }
    }
}

impl fmt::Debug for ExtensionMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { id, name, version, max_answer, body } => f
                .debug_struct("Request")
                .field("id", id)
                .field("name", name)
                .field("version", version)
                .field("max_answer", max_answer)
                .field("body", &Opaque(body))
                .finish(),
            Self::Response { id, result } => {
                f.debug_struct("Response").field("id", id).field("result", &result.as_ref().map(Opaque)).finish()
            }
        }
    }
}

/// A 32-bit number in our own messages, which write every number as a nat0.
pub(super) fn read_u32(reader: &mut Reader, what: &'static str) -> Result<u32, DecodeError> {
    reader.nat0_up_to(u32::MAX.into(), what).map(|value| u32::try_from(value).unwrap_or_default())
}

/// The start of a text, at most `max` bytes of it.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let fits = (0..=max).rev().find_map(|end| text.get(..end));
    if text.len() <= max { text } else { fits.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_long_as_their_limits_say_at_most() {
        let request = ExtensionMessage::Request {
            id: u64::MAX,
            name: "n".repeat(64).parse().unwrap(),
            version: u32::MAX,
            max_answer: u32::MAX,
            body: Bytes::from_static(b"query"),
        };
        assert_eq!(request.encode().head.len(), MAX_EXTENSION_HEAD_LEN);
        let response = ExtensionMessage::Response { id: u64::MAX, result: Ok(Bytes::from_static(b"answer")) };
        assert_eq!(response.encode().head.len(), MAX_EXTENSION_RESPONSE_HEAD_LEN);
    }

    #[test]
    fn the_longest_answer_follows_the_version() {
        let name = "n".parse().unwrap();
        let body = Bytes::from_static(&[9]);
        let request = ExtensionMessage::Request { id: 1, name, version: 2, max_answer: 0x1234, body };
        let encoded = request.encode().into_bytes();
        assert_eq!(encoded[..], [0, 1, 1, b'n', 2, 0xfe, 0x34, 0x12, 9]);
        assert_eq!(ExtensionMessage::decode(encoded.clone()).unwrap().value, request);
        // Without it, and cut off within it.
        for len in [5, 6, 7] {
            let error = ExtensionMessage::decode(encoded.slice(..len)).unwrap_err();
            assert!(matches!(error, DecodeError::UnexpectedEnd { .. }), "{error:?}");
        }
    }

    #[test]
    fn a_name_is_neither_empty_nor_too_long() {
        assert_eq!("".parse::<ExtensionName>(), Err(InvalidExtensionName { len: 0 }));
        let long = "n".repeat(65);
        assert_eq!(long.parse::<ExtensionName>(), Err(InvalidExtensionName { len: 65 }));
        let error = ExtensionMessage::decode(Bytes::from_static(&[0, 0, 0])).unwrap_err();
        assert_eq!(error.offset(), 2);
        let error = ExtensionMessage::decode(Bytes::from_static(&[0, 0, 65])).unwrap_err();
        assert!(matches!(error, DecodeError::TooLong { len: 65, max: 64, .. }));
    }

    #[test]
    fn the_text_of_a_failure_is_cut_between_characters() {
        let failed = |text: String| ExtensionMessage::Response { id: 1, result: Err(ExtensionError::Failed(text)) };
        // 255 bytes, then a character of two.
        let text = format!("{}\u{fc}", "x".repeat(255));
        let sent = ExtensionMessage::decode(failed(text).encode().into_bytes()).unwrap();
        assert_eq!(sent.value, failed("x".repeat(255)));
    }

    #[test]
    fn bodies_are_not_printed() {
        let message = ExtensionMessage::Request {
            id: 1,
            name: "n".parse().unwrap(),
            version: 2,
            max_answer: 3,
            body: Bytes::from_static(b"secret"),
        };
        assert!(format!("{message:?}").contains("<6 bytes>"));
    }
}
