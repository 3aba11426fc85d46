//! Requests with one answer (channel 7).

use std::fmt;

use bytes::Bytes;

use super::best_tip::MAX_BLOCK_LEN;
use super::{Frame, Opaque, TAG_LEN, frame, small};
use crate::address::Address;
use crate::binprot::{Binprot, DecodeError, Decoded, MAX_INT_LEN, MAX_U8_LEN, Reader, Writer, nat0_len};
use crate::hash::{JobId, LedgerHash, StateHash, TransactionHash};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The most bytes of a response before its opaque answer: tag, id, option, kind.
pub const MAX_RPC_RESPONSE_HEAD_LEN: usize = TAG_LEN + MAX_INT_LEN + TAG_LEN + TAG_LEN;
/// The most bytes of any request: tag, id, kind, and a job id, which is the longest parameter.
pub const MAX_RPC_REQUEST_LEN: usize = TAG_LEN + MAX_INT_LEN + TAG_LEN + JobId::LEN;

/// The most bytes of a best tip with its proof. A tip of mainnet and the root block that it is proved from are up to 3 MB
/// each, rarely both; the existing network ends such answers at 3.5 MB.
pub const MAX_BEST_TIP_WITH_PROOF_LEN: usize = 4 * MIB;
/// The most bytes of an answer to a ledger query: the accounts of a subtree of at most 2^8 leaves (the existing node answers
/// with a few levels) at 2 to 4 KB with a verification key.
pub const MAX_LEDGER_ANSWER_LEN: usize = MIB;
/// The most bytes of a whole staged ledger: the existing node's frame, less the head.
pub const MAX_STAGED_LEDGER_LEN: usize = 256 * MIB - MAX_RPC_RESPONSE_HEAD_LEN;
/// The most bytes of a SNARK work. It is a fee, a prover and one or two proofs; two take up to 23,984 bytes on mainnet, and
/// only integers in them vary in length. This is 2.7 times as much, room for another proof system.
pub const MAX_SNARK_WORK_LEN: usize = 64 * KIB;
/// The most bytes of a transaction. The largest zkApp command seen on mainnet takes 34,397 bytes. The network's cost limit
/// lets six account updates carry a proof (10.4 KB), and each update may set a verification key (1.8 KB) and have 100 field
/// elements of events and 100 of actions (6.4 KB): 6 * 18.6 = 112 KB. This is 4.6 times as much, since hard forks raise
/// these numbers.
pub const MAX_TRANSACTION_LEN: usize = 512 * KIB;
/// The most addresses in an answer: ten times the 100 peers that the existing node keeps by default; it answers with all.
pub const MAX_INITIAL_PEERS: usize = 1024;
/// The most bytes of a list of addresses: the count, and each at its longest.
const MAX_INITIAL_PEERS_LEN: usize = nat0_len(MAX_INITIAL_PEERS as u64) + MAX_INITIAL_PEERS * Address::MAX_LEN;

/// The kind of a request and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RpcKind {
    /// The best tip, and a chain of hashes from the root block.
    BestTipWithProof = 0,
    /// Hashes, accounts or the size of a snarked ledger.
    LedgerQuery = 1,
    /// The staged ledger of a block, whole.
    StagedLedgerAux = 2,
    /// A block.
    Block = 3,
    /// A SNARK work.
    Snark = 4,
    /// A transaction.
    Transaction = 5,
    /// Addresses of other nodes.
    InitialPeers = 6,
}

impl RpcKind {
    /// Every kind, by rising tag.
    pub const ALL: [Self; 7] = [
        Self::BestTipWithProof,
        Self::LedgerQuery,
        Self::StagedLedgerAux,
        Self::Block,
        Self::Snark,
        Self::Transaction,
        Self::InitialPeers,
    ];

    /// The most bytes of the answer itself.
    #[must_use]
    pub const fn max_answer_len(self) -> usize {
        match self {
            Self::BestTipWithProof => MAX_BEST_TIP_WITH_PROOF_LEN,
            Self::LedgerQuery => MAX_LEDGER_ANSWER_LEN,
            Self::StagedLedgerAux => MAX_STAGED_LEDGER_LEN,
            Self::Block => MAX_BLOCK_LEN,
            Self::Snark => MAX_SNARK_WORK_LEN,
            Self::Transaction => MAX_TRANSACTION_LEN,
            Self::InitialPeers => MAX_INITIAL_PEERS_LEN,
        }
    }

    /// The most bytes of the body of a response with an answer of this kind.
    #[must_use]
    pub const fn max_response_len(self) -> usize {
        MAX_RPC_RESPONSE_HEAD_LEN + self.max_answer_len()
    }

    /// The most bytes of the body of a request of this kind: tag, id, kind, parameters.
    #[must_use]
    pub const fn max_request_len(self) -> usize {
        TAG_LEN
            + MAX_INT_LEN
            + TAG_LEN
            + match self {
                Self::BestTipWithProof | Self::InitialPeers => 0,
                Self::LedgerQuery => 32 + LedgerQuery::MAX_LEN,
                Self::StagedLedgerAux | Self::Block | Self::Transaction => 32,
                Self::Snark => JobId::LEN,
            }
    }

    fn read(reader: &mut Reader, what: &'static str) -> Result<Self, DecodeError> {
        Ok(match reader.tag(7, what)? {
            0 => Self::BestTipWithProof,
            1 => Self::LedgerQuery,
            2 => Self::StagedLedgerAux,
            3 => Self::Block,
            4 => Self::Snark,
            5 => Self::Transaction,
            _ => Self::InitialPeers,
        })
    }
}

/// Which node of a ledger's Merkle tree: the turns taken from the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MerkleAddress {
    depth: u8,
    path: Vec<u8>,
}

/// A path that has too few bytes for its depth, or too many for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a path of {len} bytes is not one of depth {depth}")]
pub struct InvalidMerkleAddress {
    /// The depth.
    pub depth: u8,
    /// The bytes of the path.
    pub len: usize,
}

impl MerkleAddress {
    /// The most bytes of a path: as many as the greatest depth, 255, needs. (Mina's ledgers have 35 levels.)
    pub const MAX_PATH_LEN: usize = 32;
    /// The most bytes of the binprot form: depth, length, path.
    pub const MAX_LEN: usize = MAX_U8_LEN + nat0_len(Self::MAX_PATH_LEN as u64) + Self::MAX_PATH_LEN;

    /// The node at `depth`, found by the bits of `path` from the highest bit of the first byte on (1: right). Bytes beyond
    /// the depth are carried as they are, for the existing node sends some.
    ///
    /// # Errors
    /// [`InvalidMerkleAddress`] if the path has fewer bits than `depth` or more bytes than
    /// [`MAX_PATH_LEN`](Self::MAX_PATH_LEN).
    pub fn new(depth: u8, path: Vec<u8>) -> Result<Self, InvalidMerkleAddress> {
        let needed = usize::from(depth).div_ceil(8);
        if (needed..=Self::MAX_PATH_LEN).contains(&path.len()) {
            return Ok(Self { depth, path });
        }
        Err(InvalidMerkleAddress { depth, len: path.len() })
    }

    /// How many levels below the root.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// The turns, one a bit. At least [`depth`](Self::depth) bits.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }
}

impl Binprot for MerkleAddress {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let offset = reader.position();
        let depth = reader.u8("merkle depth")?;
        let path = reader.byte_string(Self::MAX_PATH_LEN, "merkle path")?;
        Self::new(depth, path.to_vec()).map_err(|_| DecodeError::Invalid {
            offset,
            what: "merkle address",
            reason: "the path is shorter than its depth",
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.depth);
        writer.byte_string(&self.path);
    }
}

/// What is asked about a snarked ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LedgerQuery {
    /// The hashes of a node's two children.
    WhatChildHashes(MerkleAddress),
    /// The accounts below a node.
    WhatContents(MerkleAddress),
    /// How many accounts there are, and the hash of the subtree that holds them all.
    NumAccounts,
}

impl LedgerQuery {
    /// The most bytes of the binprot form.
    pub const MAX_LEN: usize = TAG_LEN + MerkleAddress::MAX_LEN;
}

impl Binprot for LedgerQuery {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match reader.tag(3, "ledger query")? {
            0 => Self::WhatChildHashes(MerkleAddress::read(reader)?),
            1 => Self::WhatContents(MerkleAddress::read(reader)?),
            _ => Self::NumAccounts,
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::WhatChildHashes(address) => {
                writer.byte(0);
                address.write(writer);
            }
            Self::WhatContents(address) => {
                writer.byte(1);
                address.write(writer);
            }
            Self::NumAccounts => writer.byte(2),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RpcRequest {
    /// The best tip, and how it follows from the root block.
    BestTipWithProof,
    /// About the snarked ledger with this hash.
    LedgerQuery(LedgerHash, LedgerQuery),
    /// The staged ledger of the block with this state hash.
    StagedLedgerAux(StateHash),
    /// The block with this state hash.
    Block(StateHash),
    /// The SNARK work for this job.
    Snark(JobId),
    /// The transaction with this hash.
    Transaction(TransactionHash),
    /// Addresses of other nodes.
    InitialPeers,
}

impl RpcRequest {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> RpcKind {
        match self {
            Self::BestTipWithProof => RpcKind::BestTipWithProof,
            Self::LedgerQuery(..) => RpcKind::LedgerQuery,
            Self::StagedLedgerAux(_) => RpcKind::StagedLedgerAux,
            Self::Block(_) => RpcKind::Block,
            Self::Snark(_) => RpcKind::Snark,
            Self::Transaction(_) => RpcKind::Transaction,
            Self::InitialPeers => RpcKind::InitialPeers,
        }
    }
}

impl Binprot for RpcRequest {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match RpcKind::read(reader, "rpc request")? {
            RpcKind::BestTipWithProof => Self::BestTipWithProof,
            RpcKind::LedgerQuery => Self::LedgerQuery(LedgerHash::read(reader)?, LedgerQuery::read(reader)?),
            RpcKind::StagedLedgerAux => Self::StagedLedgerAux(StateHash::read(reader)?),
            RpcKind::Block => Self::Block(StateHash::read(reader)?),
            RpcKind::Snark => Self::Snark(JobId::read(reader)?),
            RpcKind::Transaction => Self::Transaction(TransactionHash::read(reader)?),
            RpcKind::InitialPeers => Self::InitialPeers,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.byte(self.kind() as u8);
        match self {
            Self::BestTipWithProof | Self::InitialPeers => {}
            Self::LedgerQuery(ledger, query) => {
                ledger.write(writer);
                query.write(writer);
            }
            Self::StagedLedgerAux(block) | Self::Block(block) => block.write(writer),
            Self::Snark(job) => job.write(writer),
            Self::Transaction(hash) => hash.write(writer),
        }
    }
}

/// An answer. Opaque ones include whatever their frame had behind them.
#[derive(Clone, PartialEq, Eq)]
pub enum RpcResponse {
    /// The best tip with its proof, opaque.
    BestTipWithProof(Bytes),
    /// The answer to a ledger query, opaque.
    LedgerAnswer(Bytes),
    /// A staged ledger, opaque.
    StagedLedgerAux(Bytes),
    /// A block, opaque.
    Block(Bytes),
    /// A SNARK work, opaque.
    Snark(Bytes),
    /// A transaction (`User_command`), opaque.
    Transaction(Bytes),
    /// Addresses, at most [`MAX_INITIAL_PEERS`]; of a longer list the rest is not sent. To a peer that is not of our own
    /// kind none may be [`Address::is_extension`].
    InitialPeers(Vec<Address>),
}

impl RpcResponse {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> RpcKind {
        match self {
            Self::BestTipWithProof(_) => RpcKind::BestTipWithProof,
            Self::LedgerAnswer(_) => RpcKind::LedgerQuery,
            Self::StagedLedgerAux(_) => RpcKind::StagedLedgerAux,
            Self::Block(_) => RpcKind::Block,
            Self::Snark(_) => RpcKind::Snark,
            Self::Transaction(_) => RpcKind::Transaction,
            Self::InitialPeers(_) => RpcKind::InitialPeers,
        }
    }

    /// The opaque bytes of the answer; none for addresses.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::BestTipWithProof(bytes)
            | Self::LedgerAnswer(bytes)
            | Self::StagedLedgerAux(bytes)
            | Self::Block(bytes)
            | Self::Snark(bytes)
            | Self::Transaction(bytes) => Some(bytes),
            Self::InitialPeers(_) => None,
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match RpcKind::read(reader, "rpc response")? {
            RpcKind::BestTipWithProof => Self::BestTipWithProof(reader.rest()),
            RpcKind::LedgerQuery => Self::LedgerAnswer(reader.rest()),
            RpcKind::StagedLedgerAux => Self::StagedLedgerAux(reader.rest()),
            RpcKind::Block => Self::Block(reader.rest()),
            RpcKind::Snark => Self::Snark(reader.rest()),
            RpcKind::Transaction => Self::Transaction(reader.rest()),
            RpcKind::InitialPeers => {
                let len = reader.list_len(MAX_INITIAL_PEERS, "initial peers")?;
                let mut addresses = Vec::new();
                for _ in 0..len {
                    addresses.push(Address::read(reader)?);
                }
                Self::InitialPeers(addresses)
            }
        })
    }
}

impl fmt::Debug for RpcResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InitialPeers(addresses) => f.debug_tuple("InitialPeers").field(addresses).finish(),
            opaque => {
                write!(f, "{:?}", opaque.kind())?;
                opaque.payload().map_or(Ok(()), |bytes| write!(f, "({:?})", Opaque(bytes)))
            }
        }
    }
}

/// A message of channel 7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpcMessage {
    /// A request.
    Request {
        /// Repeated by its response; unique among the requester's unanswered ones.
        id: u64,
        /// What is asked.
        request: RpcRequest,
    },
    /// The answer to a request.
    Response {
        /// The request's.
        id: u64,
        /// The answer; none if the peer does not have it.
        response: Option<RpcResponse>,
    },
}

impl RpcMessage {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no message of this channel.
    pub fn decode(body: Bytes) -> Result<Decoded<Self>, DecodeError> {
        Decoded::read(body, |reader| {
            let tag = reader.tag(2, "rpc message")?;
            let id = reader.nat0("rpc id")?;
            Ok(match tag {
                0 => Self::Request { id, request: RpcRequest::read(reader)? },
                _ => Self::Response {
                    id,
                    response: if reader.option("rpc response")? { Some(RpcResponse::read(reader)?) } else { None },
                },
            })
        })
    }

    /// The body of its frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        match self {
            Self::Request { id, request } => small(|writer| {
                writer.byte(0);
                writer.nat0(*id);
                request.write(writer);
            }),
            Self::Response { id, response } => {
                let payload = response.as_ref().and_then(RpcResponse::payload);
                frame(payload.cloned().unwrap_or_default(), |writer| {
                    writer.byte(1);
                    writer.nat0(*id);
                    writer.option(response.is_some());
                    if let Some(response) = response {
                        writer.byte(response.kind() as u8);
                    }
                    if let Some(RpcResponse::InitialPeers(addresses)) = response {
                        let len = addresses.len().min(MAX_INITIAL_PEERS);
                        writer.nat0(len as u64);
                        addresses.iter().take(len).for_each(|address| address.write(writer));
                    }
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;
    use crate::{Channel, Host, Signaling};

    #[test]
    fn the_longest_of_each_request_is_as_long_as_its_limit_says() {
        let deepest = MerkleAddress::new(255, vec![0xff; 32]).unwrap();
        let ledger = LedgerHash([0xff; 32]);
        let requests = [
            RpcRequest::BestTipWithProof,
            RpcRequest::LedgerQuery(ledger, LedgerQuery::WhatContents(deepest)),
            RpcRequest::StagedLedgerAux(StateHash([0xff; 32])),
            RpcRequest::Block(StateHash([0xff; 32])),
            RpcRequest::Snark(JobId([0xff; 128])),
            RpcRequest::Transaction(TransactionHash([0xff; 32])),
            RpcRequest::InitialPeers,
        ];
        for (request, kind) in requests.into_iter().zip(RpcKind::ALL) {
            assert_eq!(request.kind(), kind);
            let id = u64::MAX;
            let len = RpcMessage::Request { id, request }.encode().len();
            assert_eq!(len, kind.max_request_len());
            assert!(len <= MAX_RPC_REQUEST_LEN);
        }
    }

    #[test]
    fn every_answer_fits_the_channel() {
        for kind in RpcKind::ALL {
            assert!(kind.max_response_len() <= Channel::Rpc.max_frame_len() as usize);
        }
    }

    #[test]
    fn the_longest_list_of_addresses_is_as_long_as_its_limit_says() {
        let address = Address::WebRtc {
            peer_id: PeerId::from_bytes([0xff; 32]),
            signaling: Signaling::HttpsProxy {
                cluster: u16::MAX,
                host: "a".repeat(253).parse::<Host>().unwrap(),
                port: u16::MAX,
            },
        };
        let response =
            |addresses| RpcMessage::Response { id: u64::MAX, response: Some(RpcResponse::InitialPeers(addresses)) };
        let frame = response(vec![address.clone(); MAX_INITIAL_PEERS]).encode();
        assert_eq!(frame.len(), RpcKind::InitialPeers.max_response_len());
        // More are not sent, and not taken.
        let more = response(vec![address; MAX_INITIAL_PEERS + 1]).encode();
        assert_eq!(more, frame);
        let mut body = vec![1, 0, 1, 6, 0xfe, 1, 4];
        body.resize(100_000, 0);
        let error = RpcMessage::decode(body.into()).unwrap_err();
        assert!(matches!(error, DecodeError::TooLong { len: 1025, max: 1024, .. }));
    }

    #[test]
    fn a_merkle_path_reaches_its_depth() {
        assert!(MerkleAddress::new(0, vec![]).is_ok());
        assert!(MerkleAddress::new(9, vec![0]).is_err());
        assert!(MerkleAddress::new(9, vec![0; 2]).is_ok());
        assert!(MerkleAddress::new(9, vec![0; 32]).is_ok());
        assert!(MerkleAddress::new(9, vec![0; 33]).is_err());
        let mut body = vec![0, 0, 1];
        body.extend([7; 32]);
        body.extend([0, 9, 1, 0]);
        let error = RpcMessage::decode(body.into()).unwrap_err();
        assert!(matches!(error, DecodeError::Invalid { offset: 36, .. }));
    }

    #[test]
    fn answers_are_never_copied_nor_printed() {
        let body = Bytes::from([&[1, 0, 1, 3][..], &[7; 1000]].concat());
        let message = RpcMessage::decode(body.clone()).unwrap().value;
        let RpcMessage::Response { response: Some(response), .. } = &message else {
            panic!("{message:?}");
        };
        let block = response.payload().unwrap();
        assert_eq!(block.as_ptr(), body[4..].as_ptr());
        assert_eq!(message.encode().payload.as_ptr(), block.as_ptr());
        assert_eq!(format!("{response:?}"), "Block(<1000 bytes>)");
    }
}
