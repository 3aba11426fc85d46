//! Keys, ids, hashes and addresses. In OCaml ids and hashes are strings of their bytes; what is parsed or printed, is here.

#![allow(unsafe_code)] // The attribute that exports a symbol.

use std::ffi::CStr;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use mina_p2p::message::{BlockKey, CompressedPublicKey, ItemId, JobId, LedgerHash, StateHash, TransactionHash};
use mina_p2p::{Address, ChainId, Node, PeerId, SecretKey};

use crate::custom::{self, Held, Operations};
use crate::failure::Failure;
use crate::heap::{Arg, Builder, Shape};
use crate::stub::{Fields, FromOcaml, ToOcaml, named, stubs};

/// Types that are a string of their bytes in OCaml.
macro_rules! bytes {
    ($($type:ident)*) => {$(
        impl ToOcaml for $type {
            fn to_ocaml(self, builder: &mut Builder<'_>) {
                builder.bytes(&self.0);
            }
        }

        impl FromOcaml for $type {
            fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
                FromOcaml::from_ocaml(value).map($type)
            }
        }
    )*};
}
bytes!(BlockKey ChainId ItemId JobId LedgerHash StateHash TransactionHash);

impl ToOcaml for PeerId {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.bytes(&self.to_bytes());
    }
}

impl FromOcaml for PeerId {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        FromOcaml::from_ocaml(value).map(PeerId::from_bytes)
    }
}

/// 33 bytes: x, then 1 if y is odd, otherwise 0.
impl ToOcaml for CompressedPublicKey {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        let mut bytes = [u8::from(self.is_odd); 33];
        bytes.iter_mut().zip(self.x).for_each(|(to, from)| *to = from);
        builder.bytes(&bytes);
    }
}

impl FromOcaml for CompressedPublicKey {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        match value.bytes()?.split_first_chunk::<32>() {
            Some((x, [parity @ (0 | 1)])) => Ok(CompressedPublicKey { x: *x, is_odd: *parity == 1 }),
            _ => Err(Failure::invalid("account key", "not 32 bytes and a parity of 0 or 1")),
        }
    }
}

/// `{ text : string; peer_id : string }`
impl ToOcaml for Address {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        (self.to_string(), self.peer_id()).construct(0, builder);
    }
}

impl FromOcaml for Address {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        parse("address", &String::from_ocaml(value.field(0)?)?)
    }
}

/// `Unix.sockaddr`: `ADDR_UNIX` is constructor 0, `ADDR_INET` constructor 1, with the IP address as a string of its bytes.
const TAG_ADDR_INET: u8 = 1;

impl ToOcaml for SocketAddr {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self.ip() {
            IpAddr::V4(ip) => builder.bytes(&ip.octets()),
            IpAddr::V6(ip) => builder.bytes(&ip.octets()),
        }
        usize::from(self.port()).to_ocaml(builder);
        builder.block(TAG_ADDR_INET, 2);
    }
}

impl FromOcaml for SocketAddr {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let Shape::Block { tag: TAG_ADDR_INET, .. } = value.shape() else {
            return Err(Failure::invalid("socket address", "not an internet address"));
        };
        let ip = value.field(0)?.bytes()?;
        let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
            (Ok(v4), _) => IpAddr::from(v4),
            (_, Ok(v6)) => IpAddr::from(v6),
            _ => return Err(Failure::shape("an IP address")),
        };
        Ok(SocketAddr::new(ip, named("port", value.field(1)?)?))
    }
}

/// A secret key in OCaml's hands: wiped when the collector finds it unreachable.
pub(crate) struct Secret(pub(crate) SecretKey);

impl Held for Secret {
    const NAME: &'static CStr = c"mina_p2p.secret_key";

    fn operations() -> &'static Operations {
        static OPERATIONS: Operations = Operations::new::<Secret>();
        &OPERATIONS
    }
}

impl ToOcaml for Secret {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        custom::push(builder, self);
    }
}

impl FromOcaml for Secret {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(Secret(custom::get::<Secret>(value)?.0.clone()))
    }
}

/// What an id or a hash is, for its text. The order is that of `Raw.kind`.
#[derive(Clone, Copy)]
enum Kind {
    PeerId,
    Libp2pPeerId,
    ChainId,
    StateHash,
    LedgerHash,
    TransactionHash,
    JobId,
    BlockKey,
    AccountKey,
    ItemId,
}

impl FromOcaml for Kind {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(match value.int()? {
            0 => Kind::PeerId,
            1 => Kind::Libp2pPeerId,
            2 => Kind::ChainId,
            3 => Kind::StateHash,
            4 => Kind::LedgerHash,
            5 => Kind::TransactionHash,
            6 => Kind::JobId,
            7 => Kind::BlockKey,
            8 => Kind::AccountKey,
            9 => Kind::ItemId,
            _ => return Err(Failure::shape("a kind")),
        })
    }
}

/// Bytes of an id or a hash.
struct Id(Vec<u8>);

impl ToOcaml for Id {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.bytes(&self.0);
    }
}

impl FromOcaml for Id {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        value.bytes().map(|bytes| Id(bytes.to_vec()))
    }
}

impl Id {
    fn array<const N: usize>(&self, what: &str) -> Result<[u8; N], Failure> {
        let bytes = self.0.as_slice();
        bytes.try_into().map_err(|_| Failure::invalid(what, format!("{} bytes where {N} are needed", bytes.len())))
    }

    fn account_key(&self) -> Result<CompressedPublicKey, Failure> {
        match self.0.split_first_chunk::<32>() {
            Some((x, [parity @ (0 | 1)])) => Ok(CompressedPublicKey { x: *x, is_odd: *parity == 1 }),
            _ => Err(Failure::invalid("account key", "not 32 bytes and a parity of 0 or 1")),
        }
    }
}

fn parse<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: T::Err| Failure::invalid(what, error.to_string()))
}

/// 64 hexadecimal digits, as a chain id has them.
fn digits(what: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let bytes: Result<ChainId, _> = text.parse();
    bytes.map(|bytes| bytes.0.to_vec()).map_err(|_| Failure::invalid(what, "not 64 hexadecimal digits"))
}

stubs! {
    /// `kind -> string -> (string, Error.t) result`: the bytes that a text stands for.
    fn mina_p2p_id_of_text(kind: Kind, text: String) -> Id {
        Ok(Id(match kind {
            Kind::PeerId | Kind::Libp2pPeerId => parse::<PeerId>("peer id", &text)?.to_bytes().to_vec(),
            Kind::ChainId => parse::<ChainId>("chain id", &text)?.0.to_vec(),
            Kind::StateHash => parse::<StateHash>("state hash", &text)?.0.to_vec(),
            Kind::LedgerHash => parse::<LedgerHash>("ledger hash", &text)?.0.to_vec(),
            Kind::TransactionHash => parse::<TransactionHash>("transaction hash", &text)?.0.to_vec(),
            Kind::JobId => parse::<JobId>("job id", &text)?.0.to_vec(),
            Kind::BlockKey => digits("block key", &text)?,
            Kind::ItemId => digits("item id", &text)?,
            Kind::AccountKey => {
                let key: CompressedPublicKey = parse("account key", &text)?;
                [&key.x[..], &[u8::from(key.is_odd)]].concat()
            }
        }))
    }

    /// `kind -> string -> (string, Error.t) result`: the text of these bytes, if there are as many as there must be.
    fn mina_p2p_id_to_text(kind: Kind, id: Id) -> String {
        Ok(match kind {
            Kind::PeerId => PeerId::from_bytes(id.array("peer id")?).to_string(),
            Kind::Libp2pPeerId => PeerId::from_bytes(id.array("peer id")?).to_libp2p(),
            Kind::ChainId => ChainId(id.array("chain id")?).to_string(),
            Kind::StateHash => StateHash(id.array("state hash")?).to_string(),
            Kind::LedgerHash => LedgerHash(id.array("ledger hash")?).to_string(),
            Kind::TransactionHash => TransactionHash(id.array("transaction hash")?).to_string(),
            Kind::JobId => JobId(id.array("job id")?).to_string(),
            Kind::BlockKey => BlockKey(id.array("block key")?).to_string(),
            Kind::ItemId => ItemId(id.array("item id")?).to_string(),
            Kind::AccountKey => id.account_key()?.to_string(),
        })
    }

    /// `string -> (address, Error.t) result`
    fn mina_p2p_address_parse(text: String) -> Address {
        parse("address", &text)
    }

    /// `unit -> (secret, Error.t) result`
    fn mina_p2p_secret_generate(_unit: ()) -> Secret {
        Ok(Secret(Node::generate_key()?))
    }

    /// `string -> (secret, Error.t) result`
    fn mina_p2p_secret_of_text(text: String) -> Secret {
        parse("secret key", &text).map(Secret)
    }

    /// `secret -> (string, Error.t) result`
    fn mina_p2p_secret_to_text(secret: Secret) -> String {
        Ok(secret.0.to_text().to_string())
    }

    /// `string -> (secret, Error.t) result`
    fn mina_p2p_secret_of_seed(seed: Id) -> Secret {
        seed.array("seed").map(|seed| Secret(SecretKey::from_bytes(seed)))
    }

    /// `secret -> (string, Error.t) result`
    fn mina_p2p_secret_to_seed(secret: Secret) -> Id {
        Ok(Id(secret.0.to_bytes().to_vec()))
    }

    /// `secret -> (string, Error.t) result`
    fn mina_p2p_secret_peer_id(secret: Secret) -> PeerId {
        Ok(secret.0.peer_id())
    }
}
