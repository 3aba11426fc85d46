//! Hosts: a domain name or an IP address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::binprot::{Binprot, DecodeError, Reader, Writer, nat0_len};

/// Where a node can be reached, without a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name to be resolved.
    Domain(DomainName),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
}

/// A domain name: ASCII, lower case, 1 to 253 bytes, and no IP address. (An international name is its `xn--` form.)
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseHostError {
    /// Nothing there.
    #[error("a host may not be empty")]
    Empty,
    /// Longer than a domain name can be (RFC 1035: 253 characters of text).
    #[error("a domain name has at most 253 bytes")]
    TooLong,
    /// A character that a URL's host may not have, or one outside of ASCII.
    #[error("a domain name may not have this character")]
    BadCharacter,
    /// Ends in a number, as only IPv4 addresses do, and is none.
    #[error("not an IPv4 address")]
    BadIpv4,
    /// In brackets, and no IPv6 address.
    #[error("not an IPv6 address")]
    BadIpv6,
}

impl ParseHostError {
    /// The same as [`fmt::Display`], as a constant.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "a host may not be empty",
            Self::TooLong => "a domain name has at most 253 bytes",
            Self::BadCharacter => "a domain name may not have this character",
            Self::BadIpv4 => "not an IPv4 address",
            Self::BadIpv6 => "not an IPv6 address",
        }
    }
}

impl DomainName {
    /// The longest, in bytes (RFC 1035, section 2.3.4: 255 on the wire, 253 as text).
    pub const MAX_LEN: usize = 253;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Host {
    /// The most bytes of the binprot form: the tag, and a domain name with its length. (An IPv6 address takes at most
    /// 1 + 8 * 5 = 41.)
    pub const MAX_LEN: usize = 1 + nat0_len(DomainName::MAX_LEN as u64) + DomainName::MAX_LEN;

    /// The host of these characters, without brackets, by the rules for hosts of URLs (https://url.spec.whatwg.org, "host
    /// parsing"), which the existing node applies too, less what no node writes: percent encoding, characters outside of
    /// ASCII, and IPv4 addresses in other than four decimal parts.
    fn parse_name(text: &str) -> Result<Self, ParseHostError> {
        if text.is_empty() {
            return Err(ParseHostError::Empty);
        }
        if text.len() > DomainName::MAX_LEN {
            return Err(ParseHostError::TooLong);
        }
        let forbidden = |byte: u8| {
            !byte.is_ascii_graphic()
                || matches!(
                    byte,
                    b'#' | b'%' | b'/' | b':' | b'<' | b'>' | b'?' | b'@' | b'[' | b'\\' | b']' | b'^' | b'|'
                )
        };
        if text.bytes().any(forbidden) {
            return Err(ParseHostError::BadCharacter);
        }
        if ends_in_number(text) {
            return text.parse().map(Self::Ipv4).map_err(|_| ParseHostError::BadIpv4);
        }
        Ok(Self::Domain(DomainName(text.to_ascii_lowercase())))
    }

    /// The IP address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Domain(_) => None,
            Self::Ipv4(address) => Some((*address).into()),
            Self::Ipv6(address) => Some((*address).into()),
        }
    }
}

/// Whether the last label (a final dot aside) is a number, so that the whole must be an IPv4 address.
fn ends_in_number(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// As in a URL: an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => name.fmt(f),
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => write!(f, "[{address}]"),
        }
    }
}

impl FromStr for Host {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .and_then(|address| address.parse().ok())
                .map(Self::Ipv6)
                .ok_or(ParseHostError::BadIpv6),
            None => Self::parse_name(text),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

impl Binprot for Host {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.tag(3, "host")? {
            0 => {
                let offset = reader.position();
                let what = "domain name";
                let name = reader.string(DomainName::MAX_LEN, what)?;
                // The brackets are left to `parse_name` to refuse: an IPv6 address has a tag of its own.
                let host = Self::parse_name(&name).map_err(|error| DecodeError::Invalid {
                    offset,
                    what,
                    reason: error.reason(),
                })?;
                if !matches!(&host, Self::Domain(domain) if domain.0 == name) {
                    reader.mark_non_canonical();
                }
                Ok(host)
            }
            1 => {
                let mut octets = [0; 4];
                for octet in &mut octets {
                    *octet = reader.u8("ipv4 address")?;
                }
                Ok(Self::Ipv4(octets.into()))
            }
            _ => {
                let mut segments = [0; 8];
                for segment in &mut segments {
                    *segment = reader.u16("ipv6 address")?;
                }
                Ok(Self::Ipv6(segments.into()))
            }
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Domain(name) => {
                writer.byte(0);
                writer.byte_string(name.0.as_bytes());
            }
            Self::Ipv4(address) => {
                writer.byte(1);
                address.octets().into_iter().for_each(|octet| writer.u8(octet));
            }
            Self::Ipv6(address) => {
                writer.byte(2);
                address.segments().into_iter().for_each(|segment| writer.u16(segment));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::binprot;

    fn domain(name: &str) -> Host {
        Host::Domain(DomainName(name.to_owned()))
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        let ip = |text: &str| Host::from(text.parse::<IpAddr>().unwrap());
        assert_eq!("a.example".parse(), Ok(domain("a.example")));
        assert_eq!("A_b.Example".parse(), Ok(domain("a_b.example")));
        assert_eq!("1.2.3.4".parse(), Ok(ip("1.2.3.4")));
        assert_eq!("[::1]".parse(), Ok(ip("::1")));
        assert_eq!("4.example".parse(), Ok(domain("4.example")));
        assert_eq!("".parse::<Host>(), Err(ParseHostError::Empty));
        for text in ["::1", "a b", "a/b", "a%20b", "b\u{fc}cher.example", "a\n"] {
            assert_eq!(text.parse::<Host>(), Err(ParseHostError::BadCharacter), "{text}");
        }
        for text in ["1.2.3", "127.1", "1.2.3.4.", "0x7f.1", "a.1", "a.0x", "256.1.1.1"] {
            assert_eq!(text.parse::<Host>(), Err(ParseHostError::BadIpv4), "{text}");
        }
        assert_eq!("[1.2.3.4]".parse::<Host>(), Err(ParseHostError::BadIpv6));
        assert_eq!("[::1".parse::<Host>(), Err(ParseHostError::BadIpv6));
    }

    #[test]
    fn a_name_has_at_most_253_bytes() {
        let longest = "a".repeat(253);
        assert_eq!(longest.parse(), Ok(domain(&longest)));
        assert_eq!("a".repeat(254).parse::<Host>(), Err(ParseHostError::TooLong));
        assert_eq!(binprot::encode(&domain(&longest)).len(), Host::MAX_LEN);
    }

    #[test]
    fn a_name_on_the_wire_is_normalised_and_that_is_noticed() {
        let read = |name: &str| {
            let mut writer = Writer::new();
            writer.byte(0);
            writer.byte_string(name.as_bytes());
            binprot::decode::<Host>(writer.finish())
        };
        let exact = read("a.example").unwrap();
        assert_eq!((exact.value, exact.canonical), (domain("a.example"), true));
        let upper = read("A.example").unwrap();
        assert_eq!((upper.value, upper.canonical), (domain("a.example"), false));
        let ip = read("1.2.3.4").unwrap();
        assert_eq!((ip.value, ip.canonical), (Host::Ipv4([1, 2, 3, 4].into()), false));
        assert!(matches!(read("[::1]"), Err(DecodeError::Invalid { offset: 1, .. })));
        assert!(matches!(
            binprot::decode::<Host>(Bytes::from_static(&[0, 0xfe, 0xfe, 0])),
            Err(DecodeError::TooLong { offset: 1, len: 254, max: 253, .. })
        ));
    }
}
