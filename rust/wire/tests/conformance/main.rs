//! Our own conformance vectors, in `tests/vectors` of the repository: what is in the files is decoded, compared with its
//! meaning and encoded again; and the files are exactly what [`corpus`] makes, pinned by a hash, so that no format changes
//! by accident. To change one on purpose:
//!
//! ```text
//! MINA_P2P_WRITE_VECTORS=1 cargo test -p mina-p2p-wire --test conformance the_files
//! ```
//!
//! and then put the new hash, which the failing test prints, below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod compact;
mod corpus;
mod signaling;

use std::path::PathBuf;

use bytes::Bytes;
use common::meaning::{block_answer, block_query};
use common::{bytes, decode, hex, list, read_json, repository, text};
use mina_p2p_wire::binprot::{self, Reader, Writer};
use mina_p2p_wire::message::{BlockAnswer, BlockQuery};
use mina_p2p_wire::{Address, Channel, DecodeError, PeerId, PublicKey, SecretKey, frame};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// SHA-256 over the files in the order of [`corpus::files`], each preceded by its name.
const PINNED: &str = "98e26c43ff5354e4544786d00cb15fd97617ff263efc800e4a68d5371b93f507";

fn folder() -> PathBuf {
    repository().join("tests/vectors")
}

fn load(file: &str) -> Value {
    read_json(&folder().join(file))
}

#[test]
fn the_files_are_what_the_code_makes_and_what_was_pinned() {
    let mut hash = Sha256::new();
    for (name, content) in corpus::files() {
        let made = serde_json::to_string_pretty(&content).unwrap() + "\n";
        let path = folder().join(name);
        if std::env::var_os("MINA_P2P_WRITE_VECTORS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap();
        // Not assert_eq, which would print both files.
        assert!(there == made, "{name} is not what the code makes");
        hash.update(name);
        hash.update(there);
    }
    assert_eq!(hex(&hash.finalize()), PINNED, "the vectors changed");
}

fn number(reader: &mut Reader, kind: &str) -> Result<i128, DecodeError> {
    Ok(match kind {
        "nat0" => reader.nat0("n")?.into(),
        "int" => reader.int("n")?.into(),
        "u8" => reader.u8("n")?.into(),
        "u16" => reader.u16("n")?.into(),
        "u32" => reader.u32("n")?.into(),
        "UInt32" => reader.uint32("n")?.into(),
        "UInt64" => reader.uint64("n")?.into(),
        other => panic!("{other}"),
    })
}

#[test]
fn integers() {
    let vectors = load("integers.json");
    for vector in list(&vectors, "canonical") {
        let value: i128 = text(vector, "value").parse().unwrap();
        let encoded = bytes(vector, "hex");
        let mut reader = Reader::new(encoded.clone());
        assert_eq!(number(&mut reader, text(vector, "type")), Ok(value), "{vector}");
        assert!(reader.is_canonical(), "{vector}");
        assert_eq!(reader.remaining(), 0, "{vector}");
        let mut writer = Writer::new();
        corpus::write_number(&mut writer, text(vector, "type"), value);
        assert_eq!(writer.finish(), encoded, "{vector}");
    }
    for vector in list(&vectors, "too_long") {
        let value: i128 = text(vector, "value").parse().unwrap();
        let mut reader = Reader::new(bytes(vector, "hex"));
        assert_eq!(number(&mut reader, text(vector, "type")), Ok(value), "{vector}");
        assert!(!reader.is_canonical(), "{vector}");
    }
    for vector in list(&vectors, "refused") {
        let error = number(&mut Reader::new(bytes(vector, "hex")), text(vector, "type"));
        assert_eq!(error_name(&error.unwrap_err()), text(vector, "error"), "{vector}");
    }
}

#[test]
fn identities() {
    let vectors = load("identities.json");
    for key in list(&vectors, "keys") {
        let secret: SecretKey = text(key, "secret").parse().unwrap();
        assert_eq!(hex(&*secret.to_bytes()), text(key, "seed_hex"));
        let public: PublicKey = text(key, "public").parse().unwrap();
        assert_eq!(public, secret.public_key());
        let encoded = bytes(key, "public_binprot_hex");
        assert_eq!(binprot::decode::<PublicKey>(encoded).unwrap().value, public);
        let id: PeerId = text(key, "peer_id").parse().unwrap();
        assert_eq!(id, public.peer_id());
        assert_eq!(PeerId::from_libp2p(text(key, "libp2p")), Ok(id));
        let encoded = bytes(key, "peer_id_binprot_hex");
        assert_eq!(binprot::decode::<PeerId>(encoded.clone()).unwrap().value, id);
        assert_eq!(binprot::encode(&id), encoded);
        let signature = bytes(key, "signature_hex");
        let signature: [u8; 64] = signature[..].try_into().unwrap();
        assert_eq!(public.verify_strict(b"message", &signature), Ok(()));
    }
    for refused in list(&vectors, "refused") {
        let read = text(refused, "text");
        let error = match text(refused, "as") {
            "secret" => read.parse::<SecretKey>().map(|_| ()).unwrap_err(),
            "public" => read.parse::<PublicKey>().map(|_| ()).unwrap_err(),
            _ => read.parse::<PeerId>().map(|_| ()).unwrap_err(),
        };
        assert_eq!(variant(&error), text(refused, "error"), "{refused}");
    }
}

#[test]
fn addresses() {
    let vectors = load("addresses.json");
    for vector in list(&vectors, "addresses") {
        let encoded = bytes(vector, "binprot_hex");
        let decoded = binprot::decode::<Address>(encoded.clone()).unwrap();
        assert!(decoded.is_exact(), "{vector}");
        assert_eq!(decoded.value.to_string(), text(vector, "text"));
        assert_eq!(text(vector, "text").parse(), Ok(decoded.value.clone()));
        assert_eq!(binprot::encode(&decoded.value), encoded);
    }
    for vector in list(&vectors, "read_otherwise") {
        let read: Address = text(vector, "text").parse().unwrap();
        assert_eq!(read.to_string(), text(vector, "printed"));
    }
    for refused in list(&vectors, "refused") {
        let read = refused.as_str().unwrap().parse::<Address>();
        assert!(read.is_err(), "{refused}");
    }
}

fn channel(vector: &Value) -> Option<Channel> {
    let id = u8::try_from(vector["channel"].as_u64()?).unwrap();
    Some(id.try_into().unwrap())
}

#[test]
fn messages() {
    let vectors = load("messages.json");
    let mut channels = Vec::new();
    for vector in list(&vectors, "messages") {
        let name = text(vector, "name");
        let body = bytes(vector, "body_hex");
        let decoded = decode(channel(vector), body.clone()).unwrap();
        assert!(decoded.is_exact(), "{name}");
        assert_eq!(decoded.value.meaning(), vector["meaning"], "{name}");
        let encoded = decoded.value.encode().into_bytes();
        assert_eq!(encoded, body, "{name}");
        let head = frame::head(u32::try_from(body.len()).unwrap());
        let framed = bytes(vector, "framed_hex");
        assert_eq!(framed, [&head[..], &encoded].concat(), "{name}");
        channels.push(channel(vector));
    }
    channels.dedup();
    let all = [None].into_iter().chain(Channel::ALL.map(Some));
    assert!(all.eq(channels), "every channel has vectors");
}

/// The name of an enum's variant.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(']).next().unwrap().to_owned()
}

fn error_name(error: &DecodeError) -> String {
    variant(error)
}

/// What becomes of a body that our encoder does not write.
fn outcome(channel: Option<Channel>, body: Bytes) -> Value {
    match decode(channel, body) {
        Ok(decoded) => json!({ "taken": {
            "meaning": decoded.value.meaning(),
            "canonical": decoded.canonical,
            "trailing": decoded.trailing,
        } }),
        Err(error) => json!({ "refused": refusal(&error) }),
    }
}

fn refusal(error: &DecodeError) -> Value {
    json!({ "error": error_name(error), "offset": error.offset() })
}

#[test]
fn odd_bodies() {
    let vectors = load("odd_bodies.json");
    for vector in list(&vectors, "bodies") {
        let outcome = outcome(channel(vector), bytes(vector, "body_hex"));
        assert_eq!(outcome, vector["outcome"], "{vector}");
    }
}

#[test]
fn queries_and_answers_about_blocks() {
    let vectors = load("block_rpcs.json");
    for vector in list(&vectors, "queries") {
        let body = bytes(vector, "hex");
        let query = BlockQuery::decode(text(vector, "name"), body.clone()).unwrap().unwrap();
        assert_eq!(block_query(&query), vector["meaning"], "{vector}");
        assert_eq!(query.encode(), body, "{vector}");
    }
    for vector in list(&vectors, "answers") {
        let body = bytes(vector, "hex");
        let answer = BlockAnswer::decode(body.clone()).unwrap();
        assert_eq!(block_answer(&answer), vector["meaning"], "{vector}");
        assert_eq!(answer.encode(), body, "{vector}");
    }
    for vector in list(&vectors, "refused_queries") {
        let error = BlockQuery::decode(text(vector, "name"), bytes(vector, "hex")).unwrap().unwrap_err();
        assert_eq!(refusal(&error), vector["refused"], "{vector}");
    }
    for vector in list(&vectors, "refused_answers") {
        let error = BlockAnswer::decode(bytes(vector, "hex")).unwrap_err();
        assert_eq!(refusal(&error), vector["refused"], "{vector}");
    }
}

#[test]
fn channels() {
    for (vector, channel) in list(&load("channels.json"), "channels").iter().zip(Channel::ALL) {
        assert_eq!(vector["id"], json!(channel.id()));
        assert_eq!(vector["label"], json!(channel.label()));
        assert_eq!(vector["max_frame_len"], json!(channel.max_frame_len()));
    }
}
