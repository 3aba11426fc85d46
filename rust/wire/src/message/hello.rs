//! What nodes of our own kind tell each other first.

use std::ops::BitOr;

use bytes::Bytes;

use super::extension_rpc::{cut, read_u32};
use super::{Frame, TAG_LEN, small};
use crate::address::Address;
use crate::binprot::{self, Binprot, DecodeError, Decoded, MAX_INT_LEN, Reader, Writer, nat0_len};
use crate::hash::ChainId;

/// The most addresses of a node.
pub const MAX_LISTEN_ADDRESSES: usize = 16;
/// The most bytes of one of them: more than any that we know takes, so that later kinds have room.
pub const MAX_HELLO_ADDRESS_LEN: usize = 384;
/// The most bytes of an agent's name.
pub const MAX_AGENT_LEN: usize = 64;
const SIGNATURE_LEN: usize = 64;
/// The most bytes of what this version writes: version, chain id, capabilities, addresses with their lengths and count, agent
/// with its length, signature with its tag: 5 + 32 + 9 + 1 + 16 * (3 + 305) + 1 + 64 + 1 + 64 = 5,105.
const MAX_WRITTEN_LEN: usize = nat0_len(u32::MAX as u64)
    + 32
    + MAX_INT_LEN
    + nat0_len(MAX_LISTEN_ADDRESSES as u64)
    + MAX_LISTEN_ADDRESSES * (nat0_len(Address::MAX_LEN as u64) + Address::MAX_LEN)
    + nat0_len(MAX_AGENT_LEN as u64)
    + MAX_AGENT_LEN
    + TAG_LEN
    + SIGNATURE_LEN;
/// The most bytes of a Hello of any version: the above, and room for what later versions add.
pub const HELLO_MAX_LEN: usize = 8192;
const _: () = assert!(MAX_WRITTEN_LEN <= HELLO_MAX_LEN && Address::MAX_LEN <= MAX_HELLO_ADDRESS_LEN);

/// What a node can do beyond the existing node's protocol: a set of bits. Bits that we do not know are kept and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Serves its pools whatever the peer's tip is.
    pub const POOLS_UNGATED: Self = Self(1);
    /// Answers on the extension channel.
    pub const EXTENSION_RPC: Self = Self(1 << 1);
    /// Sends and takes compact blocks, and answers what is asked about them. Needs [`Self::EXTENSION_RPC`].
    pub const COMPACT_BLOCKS: Self = Self(1 << 2);
    /// Takes part in signaling through relays (channels 1 and 2), over whatever transport.
    pub const RELAY_SIGNALING: Self = Self(1 << 3);

    /// None.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The first message of each side to a node of our own kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol_version: u32,
    /// The sender's chain. Nodes of different chains do not connect.
    pub chain_id: ChainId,
    /// What the sender can do.
    pub capabilities: Capabilities,
    /// Where the sender can be dialed, as it says; at most [`MAX_LISTEN_ADDRESSES`], of more the rest is not sent. Of what
    /// was received, kinds of addresses that this version does not know are left out.
    pub listen_addresses: Vec<Address>,
    /// The sender's software, for logs. At most [`MAX_AGENT_LEN`] bytes; the rest of a longer one is not sent.
    pub agent: String,
    /// Reserved for browsers, which cannot show their identity in a certificate. None otherwise.
    pub identity_signature: Option<[u8; SIGNATURE_LEN]>,
}

impl Hello {
    /// Reads the body of a frame. What a later version adds at the end is not looked at, but counted:
    /// [`Decoded::trailing`]; an address of an unknown kind is left out, which shows in [`Decoded::canonical`]. Neither is a
    /// reason to refuse a Hello.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no Hello.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            Ok(Self {
                protocol_version: read_u32(reader, "hello version")?,
                chain_id: ChainId::read(reader)?,
                capabilities: Capabilities(reader.nat0("hello capabilities")?),
                listen_addresses: read_addresses(reader)?,
                agent: reader.string(MAX_AGENT_LEN, "hello agent")?,
                identity_signature: if reader.option("hello signature")? {
                    Some(reader.array("hello signature")?)
                } else {
                    None
                },
            })
        })
    }

    /// The body of its frame: at most [`HELLO_MAX_LEN`] bytes.
    #[must_use]
    pub fn encode(&self) -> Frame {
        small(|writer| {
            writer.nat0(self.protocol_version.into());
            self.chain_id.write(writer);
            writer.nat0(self.capabilities.0);
            write_addresses(writer, &self.listen_addresses);
            writer.byte_string(cut(&self.agent, MAX_AGENT_LEN).as_bytes());
            writer.option(self.identity_signature.is_some());
            if let Some(signature) = &self.identity_signature {
                writer.raw(signature);
            }
        })
    }
}

/// Each address is a byte string of its own, so that one of an unknown kind can be passed over.
fn read_addresses(reader: &mut Reader) -> Result<Vec<Address>, DecodeError> {
    let len = reader.list_len(MAX_LISTEN_ADDRESSES, "hello addresses")?;
    let mut addresses = Vec::new();
    for _ in 0..len {
        let bytes = reader.byte_string(MAX_HELLO_ADDRESS_LEN, "hello address")?;
        match binprot::decode::<Address>(bytes) {
            Ok(address) if address.is_exact() => addresses.push(address.value),
            _ => reader.mark_non_canonical(),
        }
    }
    Ok(addresses)
}

fn write_addresses(writer: &mut Writer, addresses: &[Address]) {
    let len = addresses.len().min(MAX_LISTEN_ADDRESSES);
    writer.nat0(len as u64);
    for address in addresses.iter().take(len) {
        writer.byte_string(&binprot::encode(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;
    use crate::{Host, Signaling};

    fn hello(addresses: Vec<Address>, agent: &str) -> Hello {
        Hello {
            protocol_version: u32::MAX,
            chain_id: ChainId([7; 32]),
            capabilities: Capabilities::from_bits(u64::MAX),
            listen_addresses: addresses,
            agent: agent.to_owned(),
            identity_signature: Some([9; 64]),
        }
    }

    fn longest_address() -> Address {
        Address::WebRtc {
            peer_id: PeerId::from_bytes([0xff; 32]),
            signaling: Signaling::HttpsProxy {
                cluster: u16::MAX,
                host: "a".repeat(253).parse::<Host>().unwrap(),
                port: u16::MAX,
            },
        }
    }

    #[test]
    fn the_longest_is_as_long_as_its_limit_says_and_more_is_not_sent() {
        let agent = "g".repeat(64);
        let longest = hello(vec![longest_address(); 16], &agent);
        assert_eq!(longest.encode().len(), MAX_WRITTEN_LEN);
        assert_eq!(MAX_WRITTEN_LEN, 5105);
        let more = hello(vec![longest_address(); 17], &(agent + "g"));
        assert_eq!(more.encode(), longest.encode());
        assert_eq!(Hello::decode(more.encode().into_bytes()).unwrap().value, longest);
    }

    #[test]
    fn addresses_of_a_later_version_are_passed_over() {
        let known = longest_address();
        let mut writer = Writer::new();
        writer.byte(1);
        ChainId([7; 32]).write(&mut writer);
        writer.nat0(0);
        writer.nat0(2);
        writer.byte_string(&[99, 1, 2, 3]);
        writer.byte_string(&binprot::encode(&known));
        writer.byte_string(b"agent");
        writer.option(false);
        writer.raw(b"a later version's");
        let read = Hello::decode(writer.finish()).unwrap();
        assert_eq!(read.value.listen_addresses, [known]);
        assert_eq!(read.value.agent, "agent");
        assert_eq!(read.trailing, 17);
        assert!(!read.canonical);
    }

    #[test]
    fn unknown_capabilities_are_kept() {
        let some = Capabilities::from_bits(1 << 63) | Capabilities::EXTENSION_RPC;
        assert!(some.contains(Capabilities::EXTENSION_RPC));
        assert!(!some.contains(Capabilities::POOLS_UNGATED));
        assert!(!some.contains(Capabilities::POOLS_UNGATED | Capabilities::EXTENSION_RPC));
        assert!(some.contains(Capabilities::empty()));
        assert_eq!(some.bits(), 1 << 63 | 2);
    }

    #[test]
    fn more_addresses_than_allowed_are_refused() {
        let mut body = vec![1];
        body.extend([7; 32]);
        body.extend([0, 17]);
        let error = Hello::decode(body.into()).unwrap_err();
        assert!(matches!(error, DecodeError::TooLong { offset: 34, len: 17, max: 16, .. }));
    }
}
