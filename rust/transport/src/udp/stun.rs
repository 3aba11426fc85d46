//! STUN (RFC 8489), as far as a client of public servers and a port with many ICE connections need it. No I/O.
//!
//! A server that is asked where a request came from answers with an address: that is how a node behind a NAT learns what
//! to call itself. Nothing is authenticated but by the request's random transaction identifier, as is usual.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a message before its attributes: type, length, cookie, transaction.
pub const HEADER_LEN: usize = 20;

/// The second word of every message (section 5).
const MAGIC_COOKIE: u32 = 0x2112_a442;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Longest ICE user name fragment (RFC 8839, section 5.4).
pub const MAX_UFRAG_LEN: usize = 256;

/// The random number that an answer repeats.
pub type Transaction = [u8; 12];

/// Why a server's answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StunFault {
    /// The server refuses, with this code (section 14.8), or 0 without a readable one.
    #[error("error {0}")]
    Refused(u16),
    /// An attribute goes on beyond the message.
    #[error("attribute {attribute:#06x} of {len} bytes where {left} are left")]
    Truncated {
        /// The attribute's type.
        attribute: u16,
        /// The length it names, in bytes.
        len: usize,
        /// What the message still has.
        left: usize,
    },
    /// A success without XOR-MAPPED-ADDRESS.
    #[error("no mapped address")]
    NoAddress,
    /// The mapped address is of a family other than IPv4 (1) and IPv6 (2), or has another length than its family's.
    #[error("mapped address of family {family} in {len} bytes")]
    AddressForm {
        /// The family's number.
        family: u8,
        /// The attribute's length in bytes; 8 is right for IPv4, and 20 for IPv6.
        len: usize,
    },
    /// Nobody can have that address.
    #[error("mapped to {0}, which no host can have")]
    Impossible(SocketAddr),
}

/// The question where a datagram comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingRequest {
    transaction: Transaction,
}

impl BindingRequest {
    /// A request with this transaction, which must be fresh and random: who guesses it can answer.
    #[must_use]
    pub const fn new(transaction: Transaction) -> Self {
        Self { transaction }
    }

    /// The datagram. It has no attributes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut message = [0; HEADER_LEN];
        let fields = BINDING_REQUEST
            .to_be_bytes()
            .into_iter()
            .chain(0u16.to_be_bytes())
            .chain(MAGIC_COOKIE.to_be_bytes())
            .chain(self.transaction);
        for (byte, field) in message.iter_mut().zip(fields) {
            *byte = field;
        }
        message
    }
}

/// Whether a datagram has the form of one STUN message (section 5): the cookie, and a length, in whole words, that is the
/// datagram's.
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    Message::of(datagram).is_some()
}

/// Whether it is a binding request.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    Message::of(datagram).is_some_and(|message| message.kind == BINDING_REQUEST)
}

/// Whether it is the answer to a binding request that went well.
#[must_use]
pub fn is_success_response(datagram: &[u8]) -> bool {
    Message::of(datagram).is_some_and(|message| message.kind == BINDING_SUCCESS)
}

/// A message's transaction; `None` when it is not STUN.
#[must_use]
pub fn transaction_id(datagram: &[u8]) -> Option<Transaction> {
    Some(Message::of(datagram)?.transaction)
}

/// Of a binding request, the ICE user name fragment of the one who is asked: USERNAME up to its colon (RFC 8445, section
/// 7.2.2). `None` for any other datagram, and where that is not a fragment as RFC 8839 allows it, of up to
/// [`MAX_UFRAG_LEN`] bytes.
///
/// It says for whom the request claims to be. That it is from the one who was told the fragment's password is for the
/// connection to check (MESSAGE-INTEGRITY).
#[must_use]
pub fn username_local_ufrag(datagram: &[u8]) -> Option<&str> {
    let message = Message::of(datagram).filter(|message| message.kind == BINDING_REQUEST)?;
    let (_, name) = message.attributes().map_while(Result::ok).find(|(kind, _)| *kind == USERNAME)?;
    let end = name.iter().take(MAX_UFRAG_LEN + 1).position(|byte| *byte == b':')?;
    let ufrag = name.get(..end).filter(|ufrag| !ufrag.is_empty())?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    ufrag.iter().all(allowed).then(|| std::str::from_utf8(ufrag).ok())?
}

/// The address that a server's answer to this transaction names. `None` when the datagram is no answer to it.
///
/// Attributes that we do not know are passed over, though section 6.3.3 would have us refuse some: public servers still
/// send those of RFC 3489. FINGERPRINT is not checked, as the cookie and the transaction tell enough.
#[must_use]
pub fn parse_response(datagram: &[u8], transaction: &Transaction) -> Option<Result<SocketAddr, StunFault>> {
    let message = Message::of(datagram).filter(|message| message.transaction == *transaction)?;
    match message.kind {
        BINDING_SUCCESS => Some(message.mapped_address()),
        BINDING_ERROR => Some(Err(message.error())),
        _ => None,
    }
}

/// A datagram with the form of a STUN message.
struct Message<'a> {
    kind: u16,
    transaction: Transaction,
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    fn of(datagram: &'a [u8]) -> Option<Self> {
        let (kind, rest) = datagram.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (cookie, rest) = rest.split_first_chunk()?;
        let (transaction, attributes) = rest.split_first_chunk()?;
        let kind = u16::from_be_bytes(*kind);
        let is_stun = kind >> 14 == 0
            && usize::from(u16::from_be_bytes(*len)) == attributes.len()
            && attributes.len().is_multiple_of(4)
            && u32::from_be_bytes(*cookie) == MAGIC_COOKIE;
        is_stun.then_some(Self { kind, transaction: *transaction, attributes })
    }

    /// The attributes that count: those from MESSAGE-INTEGRITY on do not (section 14.5). Ends with the first fault.
    fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }

    fn mapped_address(&self) -> Result<SocketAddr, StunFault> {
        for attribute in self.attributes() {
            let (kind, value) = attribute?;
            if kind == XOR_MAPPED_ADDRESS {
                return self.xor_address(value);
            }
        }
        Err(StunFault::NoAddress)
    }

    /// Section 14.2: a zero byte, the family, the port, the address; port and address are masked, so that no NAT rewrites
    /// them.
    fn xor_address(&self, value: &[u8]) -> Result<SocketAddr, StunFault> {
        let form = |family| StunFault::AddressForm { family, len: value.len() };
        let Some(([_, family, port_high, port_low], address)) = value.split_first_chunk() else {
            return Err(form(0));
        };
        let [cookie_a, cookie_b, _, _] = MAGIC_COOKIE.to_be_bytes();
        let port = u16::from_be_bytes([port_high ^ cookie_a, port_low ^ cookie_b]);
        let ip: IpAddr = match *family {
            1 => {
                let address = <[u8; 4]>::try_from(address).map_err(|_| form(1))?;
                Ipv4Addr::from(u32::from_be_bytes(address) ^ MAGIC_COOKIE).into()
            }
            2 => {
                let mut address = <[u8; 16]>::try_from(address).map_err(|_| form(2))?;
                let mask = MAGIC_COOKIE.to_be_bytes().into_iter().chain(self.transaction);
                for (byte, mask) in address.iter_mut().zip(mask) {
                    *byte ^= mask;
                }
                Ipv6Addr::from(address).into()
            }
            family => return Err(form(family)),
        };
        let address = SocketAddr::new(ip, port);
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if port == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(StunFault::Impossible(address));
        }
        Ok(address)
    }

    /// Section 14.8: the hundreds in the low three bits of the third byte, the rest in the fourth.
    fn error(&self) -> StunFault {
        for attribute in self.attributes() {
            match attribute {
                Err(fault) => return fault,
                Ok((ERROR_CODE, [_, _, class, number, ..])) if *number < 100 => {
                    return StunFault::Refused(u16::from(class & 7) * 100 + u16::from(*number));
                }
                Ok(_) => {}
            }
        }
        StunFault::Refused(0)
    }
}

/// Each a type, a length, a value and up to 3 bytes of padding (section 14).
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), StunFault>;

    fn next(&mut self) -> Option<Self::Item> {
        // Whole words: either nothing is left, or a type and a length.
        let (&[type_high, type_low, len_high, len_low], rest) = self.rest.split_first_chunk()?;
        let attribute = u16::from_be_bytes([type_high, type_low]);
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        if matches!(attribute, MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256) {
            self.rest = &[];
            return None;
        }
        let Some(value) = rest.get(..len) else {
            self.rest = &[];
            return Some(Err(StunFault::Truncated { attribute, len, left: rest.len() }));
        };
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((attribute, value)))
    }
}

#[cfg(test)]
pub(crate) mod tests;
