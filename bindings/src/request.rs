//! Requests and answers, both ways.

use std::time::Duration;

use mina_p2p::message::{
    ExtensionError, LedgerQuery, MerkleAddress, RpcRequest, RpcResponse, StagedLedgerPart, StagedLedgerPartKind,
};
use mina_p2p::{Answer, IncomingRequest, Request, RequestFailure, RequestId, ResponderId, Response};

use crate::failure::Failure;
use crate::heap::{Arg, Builder, Shape};
use crate::payload::Content;
use crate::stub::{Fields, FromOcaml, ToOcaml, named};

/// A duration in seconds.
pub(crate) struct Seconds(pub(crate) Duration);

impl FromOcaml for Seconds {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let seconds = value.float()?;
        Duration::try_from_secs_f64(seconds)
            .map(Seconds)
            .map_err(|_| Failure::invalid("seconds", format!("{seconds:?} is not a number from 0 to below 2^64")))
    }
}

impl ToOcaml for Seconds {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.float(self.0.as_secs_f64());
    }
}

/// Ids count up from a small number: they fit an OCaml `int`.
macro_rules! parts {
    ($($type:ident)*) => {$(
        impl ToOcaml for $type {
            fn to_ocaml(self, builder: &mut Builder<'_>) {
                let (connection, id) = self.to_parts();
                builder.int(connection.cast_signed() as isize);
                builder.int(id.cast_signed() as isize);
                builder.block(0, 2);
            }
        }

        impl FromOcaml for $type {
            fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
                let (connection, id) = FromOcaml::from_ocaml(value)?;
                let number = |part: usize| part as u64;
                Ok($type::from_parts(number(connection), number(id)))
            }
        }
    )*};
}
parts!(RequestId ResponderId);

/// `{ depth : int; path : string }`
impl ToOcaml for MerkleAddress {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(self.depth().into());
        builder.bytes(self.path());
        builder.block(0, 2);
    }
}

impl FromOcaml for MerkleAddress {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let depth: u8 = named("merkle address", value.field(0)?)?;
        let path = value.field(1)?.bytes()?.to_vec();
        MerkleAddress::new(depth, path).map_err(|error| Failure::invalid("merkle address", error.to_string()))
    }
}

impl ToOcaml for LedgerQuery {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            LedgerQuery::NumAccounts => builder.int(0),
            LedgerQuery::WhatChildHashes(address) => (address,).construct(0, builder),
            LedgerQuery::WhatContents(address) => (address,).construct(1, builder),
        }
    }
}

impl FromOcaml for LedgerQuery {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(match value.shape() {
            Shape::Immediate(0) => LedgerQuery::NumAccounts,
            Shape::Block { tag: 0, .. } => LedgerQuery::WhatChildHashes(FromOcaml::from_ocaml(value.field(0)?)?),
            Shape::Block { tag: 1, .. } => LedgerQuery::WhatContents(FromOcaml::from_ocaml(value.field(0)?)?),
            _ => return Err(Failure::shape("a ledger query")),
        })
    }
}

impl ToOcaml for RpcRequest {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            RpcRequest::BestTipWithProof => builder.int(0),
            RpcRequest::InitialPeers => builder.int(1),
            RpcRequest::LedgerQuery(ledger, query) => (ledger, query).construct(0, builder),
            RpcRequest::StagedLedgerAux(block) => (block,).construct(1, builder),
            RpcRequest::Block(block) => (block,).construct(2, builder),
            RpcRequest::Snark(job) => (job,).construct(3, builder),
            RpcRequest::Transaction(hash) => (hash,).construct(4, builder),
        }
    }
}

impl FromOcaml for RpcRequest {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let shape = value.shape();
        let field = |index| value.field(index);
        Ok(match shape {
            Shape::Immediate(0) => RpcRequest::BestTipWithProof,
            Shape::Immediate(1) => RpcRequest::InitialPeers,
            Shape::Block { tag: 0, .. } => {
                RpcRequest::LedgerQuery(FromOcaml::from_ocaml(field(0)?)?, FromOcaml::from_ocaml(field(1)?)?)
            }
            Shape::Block { tag: 1, .. } => RpcRequest::StagedLedgerAux(FromOcaml::from_ocaml(field(0)?)?),
            Shape::Block { tag: 2, .. } => RpcRequest::Block(FromOcaml::from_ocaml(field(0)?)?),
            Shape::Block { tag: 3, .. } => RpcRequest::Snark(FromOcaml::from_ocaml(field(0)?)?),
            Shape::Block { tag: 4, .. } => RpcRequest::Transaction(FromOcaml::from_ocaml(field(0)?)?),
            _ => return Err(Failure::shape("a query")),
        })
    }
}

impl ToOcaml for RpcResponse {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            RpcResponse::BestTipWithProof(bytes) => (Content(bytes),).construct(0, builder),
            RpcResponse::LedgerAnswer(bytes) => (Content(bytes),).construct(1, builder),
            RpcResponse::StagedLedgerAux(bytes) => (Content(bytes),).construct(2, builder),
            RpcResponse::Block(bytes) => (Content(bytes),).construct(3, builder),
            RpcResponse::Snark(bytes) => (Content(bytes),).construct(4, builder),
            RpcResponse::Transaction(bytes) => (Content(bytes),).construct(5, builder),
            RpcResponse::InitialPeers(addresses) => (addresses,).construct(6, builder),
        }
    }
}

impl FromOcaml for RpcResponse {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let Shape::Block { tag, .. } = value.shape() else { return Err(Failure::shape("an answer")) };
        let field = value.field(0)?;
        if tag == 6 {
            return FromOcaml::from_ocaml(field).map(RpcResponse::InitialPeers);
        }
        let Content(bytes) = FromOcaml::from_ocaml(field)?;
        Ok(match tag {
            0 => RpcResponse::BestTipWithProof(bytes),
            1 => RpcResponse::LedgerAnswer(bytes),
            2 => RpcResponse::StagedLedgerAux(bytes),
            3 => RpcResponse::Block(bytes),
            4 => RpcResponse::Snark(bytes),
            5 => RpcResponse::Transaction(bytes),
            _ => return Err(Failure::shape("an answer")),
        })
    }
}

/// `{ kind : kind; body : payload }`
impl ToOcaml for StagedLedgerPart {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(self.kind as isize);
        Content(self.body).to_ocaml(builder);
        builder.block(0, 2);
    }
}

impl FromOcaml for StagedLedgerPart {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let kind = match value.field(0)?.int()? {
            0 => StagedLedgerPartKind::Base,
            1 => StagedLedgerPartKind::ScanStateBase,
            2 => StagedLedgerPartKind::PreviousIncompleteZkappUpdates,
            3 => StagedLedgerPartKind::ScanStateTree,
            _ => return Err(Failure::shape("a kind of part")),
        };
        let Content(body) = FromOcaml::from_ocaml(value.field(1)?)?;
        Ok(StagedLedgerPart { kind, body })
    }
}

impl ToOcaml for ExtensionError {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            ExtensionError::Unknown => builder.int(0),
            ExtensionError::Busy => builder.int(1),
            ExtensionError::Failed(why) => (why,).construct(0, builder),
        }
    }
}

impl FromOcaml for ExtensionError {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(match value.shape() {
            Shape::Immediate(0) => ExtensionError::Unknown,
            Shape::Immediate(1) => ExtensionError::Busy,
            Shape::Block { tag: 0, .. } => ExtensionError::Failed(FromOcaml::from_ocaml(value.field(0)?)?),
            _ => return Err(Failure::shape("a refusal")),
        })
    }
}

/// The outcome of a request by name: a `result`.
struct Outcome(Result<bytes::Bytes, ExtensionError>);

impl ToOcaml for Outcome {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self.0 {
            Ok(body) => (Content(body),).construct(0, builder),
            Err(error) => (error,).construct(1, builder),
        }
    }
}

impl FromOcaml for Outcome {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let field = value.field(0)?;
        Ok(Outcome(match value.shape() {
            Shape::Block { tag: 0, .. } => {
                let Content(body) = FromOcaml::from_ocaml(field)?;
                Ok(body)
            }
            _ => Err(FromOcaml::from_ocaml(field)?),
        }))
    }
}

impl FromOcaml for Request {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        Ok(match value.shape() {
            Shape::Block { tag: 0, .. } => Request::Rpc(FromOcaml::from_ocaml(value.field(0)?)?),
            Shape::Block { tag: 1, .. } => Request::StagedLedgerParts(FromOcaml::from_ocaml(value.field(0)?)?),
            Shape::Block { tag: 2, .. } => {
                let Content(body) = FromOcaml::from_ocaml(value.field(2)?)?;
                let Seconds(deadline) = named("deadline", value.field(4)?)?;
                Request::Extension {
                    name: named("name", value.field(0)?)?,
                    version: named("version", value.field(1)?)?,
                    body,
                    max_answer: named("max_answer", value.field(3)?)?,
                    deadline,
                }
            }
            _ => return Err(Failure::shape("a request")),
        })
    }
}

impl ToOcaml for IncomingRequest {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            IncomingRequest::Rpc(query) => (query,).construct(0, builder),
            IncomingRequest::StagedLedgerParts(block) => (block,).construct(1, builder),
            IncomingRequest::Extension { name, version, body, max_answer } => {
                (name, version as usize, Content(body), max_answer as usize).construct(2, builder);
            }
        }
    }
}

impl FromOcaml for Response {
    fn from_ocaml(value: Arg<'_>) -> Result<Self, Failure> {
        let field = value.field(0)?;
        Ok(match value.shape() {
            Shape::Block { tag: 0, .. } => Response::Rpc(FromOcaml::from_ocaml(field)?),
            Shape::Block { tag: 1, .. } => Response::StagedLedgerParts(FromOcaml::from_ocaml(field)?),
            Shape::Block { tag: 2, .. } => {
                let Outcome(result) = FromOcaml::from_ocaml(field)?;
                Response::Extension(result)
            }
            _ => return Err(Failure::shape("a response")),
        })
    }
}

impl ToOcaml for Answer {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self {
            Answer::Rpc(answer) => (answer,).construct(0, builder),
            Answer::StagedLedgerParts(count) => (count.map(|count| count as usize),).construct(1, builder),
            Answer::Extension(result) => (Outcome(result),).construct(2, builder),
        }
    }
}

/// `(Answer.t, failure) result`
pub(crate) struct Answered(pub(crate) Result<Answer, RequestFailure>);

impl ToOcaml for Answered {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        match self.0 {
            Ok(answer) => (answer,).construct(0, builder),
            Err(failure) => {
                builder.int(match failure {
                    RequestFailure::Timeout => 0,
                    RequestFailure::Dropped => 1,
                    // Also for what a later version adds: the answer will not come from this connection.
                    _ => 2,
                });
                builder.block(1, 1);
            }
        }
    }
}
