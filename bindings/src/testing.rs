//! Stubs for the tests and benchmarks of the binding itself. They are not in the OCaml interface.

#![allow(unsafe_code)] // The attribute that exports a symbol.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mina_p2p::message::{
    BlockKey, CompressedPublicKey, ExtensionError, JobId, LedgerHash, LedgerQuery, MerkleAddress, RpcRequest,
    RpcResponse, SnarkInfo, SnarkJobCommitment, StagedLedgerPart, StagedLedgerPartKind, StateHash, TransactionHash,
    TransactionInfo,
};
use mina_p2p::{
    Address, Answer, BlockFailure, CloseReason, ConnectError, DialError, Direction, Event, HowItCame, IncomingRequest,
    PeerId, Refusal, Request, RequestFailure, RequestId, ResponderId, Response, TransportKind, Via,
};

use crate::failure::Failure;
use crate::payload::Content;
use crate::request::Answered;
use crate::stub::stubs;

const PEER: [u8; 32] = [7; 32];

fn transaction_info(number: u32) -> TransactionInfo {
    let mut hash = [0; 32];
    hash.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    let fee_payer = CompressedPublicKey { x: [2; 32], is_odd: true };
    TransactionInfo { hash: TransactionHash(hash), fee_payer, fee: u64::MAX, nonce: number }
}

fn snark_info() -> SnarkInfo {
    SnarkInfo { job_id: JobId([3; 128]), fee: 4, prover: CompressedPublicKey { x: [5; 32], is_odd: false } }
}

fn commitment() -> SnarkJobCommitment {
    let snarker = CompressedPublicKey { x: [5; 32], is_odd: false };
    SnarkJobCommitment { timestamp_ms: 6, job_id: JobId([3; 128]), fee: 4, snarker }
}

fn part(kind: StagedLedgerPartKind) -> StagedLedgerPart {
    StagedLedgerPart { kind, body: Bytes::from_static(b"part") }
}

/// One event of each kind, and of each kind of what can be in it, in the order of the declarations.
fn samples() -> Result<Vec<Event>, Failure> {
    let peer = PeerId::from_bytes(PEER);
    let bytes = || Bytes::from_static(b"bytes");
    let merkle = MerkleAddress::new(9, vec![1, 128]).map_err(|error| Failure::Internal(error.to_string()))?;
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| Failure::Internal(error.to_string()));
    let to = format!("/ip4/127.0.0.1/udp/1/mina-quic/p2p/{}", peer.to_libp2p());
    let to: Address = to.parse().map_err(|error| Failure::Internal(format!("{error}")))?;

    let mut events = vec![
        Event::PeerConnected {
            peer,
            address: address("1.2.3.4:65535")?,
            direction: Direction::Dialed,
            transport: TransportKind::Quic,
        },
        Event::PeerConnected {
            peer,
            address: address("[::1]:8302")?,
            direction: Direction::Accepted,
            transport: TransportKind::WebRtc,
        },
    ];
    let reasons = [
        CloseReason::Unspecified,
        CloseReason::WrongChain,
        CloseReason::WrongIdentity,
        CloseReason::SelfConnection,
        CloseReason::Capacity,
        CloseReason::Duplicate,
        CloseReason::Banned,
        CloseReason::Shutdown,
        CloseReason::IncompatibleVersion,
        CloseReason::HelloTooLong,
        CloseReason::RepeatedHello,
        CloseReason::HelloTimeout,
        CloseReason::UnsupportedProtocol,
        CloseReason::Stalled,
        CloseReason::TooSlow,
        CloseReason::IdleTimeout,
        CloseReason::Violation("rule".to_owned()),
        CloseReason::MalformedHello("hello".to_owned()),
        CloseReason::UnsuitableCertificate("certificate".to_owned()),
        CloseReason::Lost("reset".to_owned()),
        CloseReason::AuthenticationFailed("a reflection".to_owned()),
        CloseReason::Other { code: 99, text: "later".to_owned() },
    ];
    events.extend(reasons.map(|reason| Event::PeerDisconnected { peer, reason }));
    let failures = [
        DialError::Connect(ConnectError::TimedOut(Duration::from_secs(5))),
        DialError::Refused(Refusal::Dialing),
        DialError::Connect(ConnectError::Refused(CloseReason::WrongIdentity)),
        DialError::Connect(ConnectError::Closed(CloseReason::WrongChain)),
        DialError::NoTransport,
    ];
    events.extend(failures.map(|reason| Event::DialFailed { address: to.clone(), reason }));
    events.extend([
        Event::BestTip { peer, block: bytes(), key: BlockKey([1; 32]), previous_state_hash: StateHash([2; 32]) },
        Event::Header {
            peer,
            key: BlockKey([1; 32]),
            height: u32::MAX,
            previous_state_hash: StateHash([2; 32]),
            header: bytes(),
        },
    ]);
    events.extend([Via::List, Via::Chunks, Via::Whole].map(|via| Event::Block {
        peer,
        key: BlockKey([1; 32]),
        block: bytes(),
        previous_state_hash: StateHash([2; 32]),
        how: HowItCame { via, received: 1, items: 2, hits: 3, prefilled: 4, fetched: 5, round_trips: 6 },
    }));
    let reasons = [BlockFailure::Unavailable, BlockFailure::NoBody, BlockFailure::TooMany];
    events.extend(reasons.map(|reason| Event::BlockFailed { key: BlockKey([1; 32]), reason }));
    events.extend([
        Event::Transaction { peer, info: transaction_info(u32::MAX) },
        Event::Work { peer, info: snark_info() },
        Event::Commitment { peer, commitment: commitment() },
    ]);
    let requests = [
        IncomingRequest::Rpc(RpcRequest::BestTipWithProof),
        IncomingRequest::Rpc(RpcRequest::InitialPeers),
        IncomingRequest::Rpc(RpcRequest::LedgerQuery(LedgerHash([1; 32]), LedgerQuery::NumAccounts)),
        IncomingRequest::Rpc(RpcRequest::LedgerQuery(
            LedgerHash([1; 32]),
            LedgerQuery::WhatChildHashes(merkle.clone()),
        )),
        IncomingRequest::Rpc(RpcRequest::LedgerQuery(LedgerHash([1; 32]), LedgerQuery::WhatContents(merkle))),
        IncomingRequest::Rpc(RpcRequest::StagedLedgerAux(StateHash([1; 32]))),
        IncomingRequest::Rpc(RpcRequest::Block(StateHash([1; 32]))),
        IncomingRequest::Rpc(RpcRequest::Snark(JobId([1; 128]))),
        IncomingRequest::Rpc(RpcRequest::Transaction(TransactionHash([1; 32]))),
        IncomingRequest::StagedLedgerParts(StateHash([1; 32])),
        IncomingRequest::Extension { name: "name".to_owned(), version: 3, body: bytes(), max_answer: u32::MAX },
    ];
    let responder = ResponderId::from_parts(1, 2);
    events.extend(requests.map(|request| Event::Request { peer, responder, request }));
    events.push(Event::RequestCancelled { peer, responder });
    let answers = [
        Ok(Answer::Rpc(None)),
        Ok(Answer::Rpc(Some(RpcResponse::BestTipWithProof(bytes())))),
        Ok(Answer::Rpc(Some(RpcResponse::LedgerAnswer(bytes())))),
        Ok(Answer::Rpc(Some(RpcResponse::StagedLedgerAux(bytes())))),
        Ok(Answer::Rpc(Some(RpcResponse::Block(bytes())))),
        Ok(Answer::Rpc(Some(RpcResponse::Snark(bytes())))),
        Ok(Answer::Rpc(Some(RpcResponse::Transaction(bytes())))),
        Ok(Answer::Rpc(Some(RpcResponse::InitialPeers(vec![to.clone(), to])))),
        Ok(Answer::StagedLedgerParts(None)),
        Ok(Answer::StagedLedgerParts(Some(28))),
        Ok(Answer::Extension(Ok(bytes()))),
        Ok(Answer::Extension(Err(ExtensionError::Unknown))),
        Ok(Answer::Extension(Err(ExtensionError::Busy))),
        Ok(Answer::Extension(Err(ExtensionError::Failed("why".to_owned())))),
        Err(RequestFailure::Timeout),
        Err(RequestFailure::Dropped),
        Err(RequestFailure::Disconnected),
    ];
    let request = RequestId::from_parts(3, 4);
    events.extend(answers.map(|answer| Event::Response { request, peer, answer }));
    let kinds = [
        StagedLedgerPartKind::Base,
        StagedLedgerPartKind::ScanStateBase,
        StagedLedgerPartKind::PreviousIncompleteZkappUpdates,
        StagedLedgerPartKind::ScanStateTree,
    ];
    events.extend(kinds.map(|kind| Event::StagedLedgerPart { request, peer, index: kind as u32, part: part(kind) }));
    events.push(Event::TaskFailed { message: "panic".to_owned() });
    Ok(events)
}

/// Events that wait to be taken by [`mina_p2p_test_take`].
static QUEUE: Mutex<VecDeque<Event>> = Mutex::new(VecDeque::new());

stubs! {
    /// `string -> (unit, Error.t) result`: panics with this message.
    fn mina_p2p_test_panic(message: String) -> () {
        #[allow(clippy::panic)]
        {
            panic!("{message}")
        }
    }

    /// `int -> (payload, Error.t) result`: this many bytes, counting up from 0 modulo 251.
    fn mina_p2p_test_payload(len: usize) -> Content {
        Ok(Content((0..len).map(|index| (index % 251) as u8).collect::<Bytes>()))
    }

    /// `unit -> (Event.t list, Error.t) result`: see [`samples`].
    fn mina_p2p_test_events(_unit: ()) -> Vec<Event> {
        samples()
    }

    /// `int -> (unit, Error.t) result`: puts this many offers of transactions into a queue.
    fn mina_p2p_test_fill(count: u32) -> () {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = PeerId::from_bytes(PEER);
        queue.extend((0..count).map(|number| Event::Transaction { peer, info: transaction_info(number) }));
        Ok(())
    }

    /// `int -> (Event.t list, Error.t) result`: takes at most so many from the queue.
    fn mina_p2p_test_take(max: usize) -> Vec<Event> {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        let count = max.min(queue.len());
        Ok(queue.drain(..count).collect())
    }

    /// `Request.t -> (Incoming.t, Error.t) result`: as the peer would see it.
    fn mina_p2p_test_echo_request(request: Request) -> IncomingRequest {
        Ok(match request {
            Request::Rpc(query) => IncomingRequest::Rpc(query),
            Request::StagedLedgerParts(block) => IncomingRequest::StagedLedgerParts(block),
            Request::Extension { name, version, body, max_answer, .. } => {
                IncomingRequest::Extension { name, version, body, max_answer }
            }
        })
    }

    /// `Incoming.response -> ((Request.answer, Request.failure) result, Error.t) result`: as the peer would see it.
    fn mina_p2p_test_echo_response(response: Response) -> Answered {
        Ok(Answered(Ok(match response {
            Response::Rpc(reply) => Answer::Rpc(reply),
            Response::StagedLedgerParts(parts) => Answer::StagedLedgerParts(parts.map(|parts| parts.len() as u32)),
            Response::Extension(result) => Answer::Extension(result),
        })))
    }

    /// `Staged_ledger_part.t list -> (Staged_ledger_part.t list, Error.t) result`
    fn mina_p2p_test_echo_parts(parts: Vec<StagedLedgerPart>) -> Vec<StagedLedgerPart> {
        Ok(parts)
    }

    /// `Transaction_info.t -> (Transaction_info.t, Error.t) result`
    fn mina_p2p_test_echo_transaction(info: TransactionInfo) -> TransactionInfo {
        Ok(info)
    }

    /// `Work_info.t -> (Work_info.t, Error.t) result`
    fn mina_p2p_test_echo_work(info: SnarkInfo) -> SnarkInfo {
        Ok(info)
    }

    /// `Commitment.t -> (Commitment.t, Error.t) result`
    fn mina_p2p_test_echo_commitment(commitment: SnarkJobCommitment) -> SnarkJobCommitment {
        Ok(commitment)
    }
}
