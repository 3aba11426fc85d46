//! Signaling through a relay: discovery (channel 1) and exchange (channel 2).

use bytes::Bytes;

use super::{Frame, small};
use crate::binprot::{Binprot, DecodeError, Decoded, Reader, Writer};
use crate::identity::PublicKey;

/// The most bytes of an encrypted offer or answer: each takes a byte or more of the channels' frames of 16 KiB. (On average
/// nearly two, so that what fits is about 8 KiB.)
pub const MAX_ENCRYPTED_LEN: usize = 16 * 1024;

fn read_encrypted(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    reader.int_list(MAX_ENCRYPTED_LEN, "encrypted signal")
}

fn read_answer(reader: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    Ok(if reader.option("encrypted answer")? { Some(read_encrypted(reader)?) } else { None })
}

fn write_answer(writer: &mut Writer, answer: Option<&Bytes>) {
    writer.option(answer.is_some());
    if let Some(answer) = answer {
        writer.int_list(answer);
    }
}

/// A message of channel 1: a relay introduces two of its peers, here the one who will dial.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SignalingDiscoveryMessage {
    /// From the relay: do you want to be introduced to somebody?
    GetNext,
    /// From the dialer: yes.
    Discover,
    /// From the relay: this is one.
    Discovered {
        /// Whom the offer is to be encrypted to.
        target: PublicKey,
    },
    /// From the dialer: not that one.
    DiscoveredReject,
    /// From the dialer: an offer for that one, encrypted to it.
    DiscoveredAccept(Bytes),
    /// From the relay: the target's encrypted answer, or that there is none.
    Answer(Option<Bytes>),
}

impl SignalingDiscoveryMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            Ok(match reader.tag(6, "signaling discovery message")? {
                0 => Self::GetNext,
                1 => Self::Discover,
                2 => Self::Discovered { target: PublicKey::read(reader)? },
                3 => Self::DiscoveredReject,
                4 => Self::DiscoveredAccept(read_encrypted(reader)?),
                _ => Self::Answer(read_answer(reader)?),
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        small(|writer| match self {
            Self::GetNext => writer.byte(0),
            Self::Discover => writer.byte(1),
            Self::Discovered { target } => {
                writer.byte(2);
                target.write(writer);
            }
            Self::DiscoveredReject => writer.byte(3),
            Self::DiscoveredAccept(offer) => {
                writer.byte(4);
                writer.int_list(offer);
            }
            Self::Answer(answer) => {
                writer.byte(5);
                write_answer(writer, answer.as_ref());
            }
        })
    }
}

/// A message of channel 2: a relay introduces two of its peers, here the one who is dialed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SignalingExchangeMessage {
    /// To the relay: a permit for one offer.
    GetNext,
    /// From the relay: somebody's offer.
    OfferToYou {
        /// Who offers, as the relay says; the offer says it again inside.
        offerer: PublicKey,
        /// The offer, encrypted to us.
        offer: Bytes,
    },
    /// To the relay: the answer, encrypted to the offerer, or that there is none.
    Answer(Option<Bytes>),
}

impl SignalingExchangeMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            Ok(match reader.tag(3, "signaling exchange message")? {
                0 => Self::GetNext,
                1 => Self::OfferToYou { offerer: PublicKey::read(reader)?, offer: read_encrypted(reader)? },
                _ => Self::Answer(read_answer(reader)?),
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        small(|writer| match self {
            Self::GetNext => writer.byte(0),
            Self::OfferToYou { offerer, offer } => {
                writer.byte(1);
                offerer.write(writer);
                writer.int_list(offer);
            }
            Self::Answer(answer) => {
                writer.byte(2);
                write_answer(writer, answer.as_ref());
            }
        })
    }
}
