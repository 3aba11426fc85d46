//! Decoding allocates in proportion to the bytes that are there, whatever lengths they claim. The only test of its binary,
//! because it counts what the whole process allocates.
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use common::{arbitrary, decode};
use mina_p2p_wire::Channel;
use mina_p2p_wire::message::{BlockAnswer, BlockQuery};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator with the arguments as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated_by<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.load(Relaxed);
    let value = run();
    (value, ALLOCATED.load(Relaxed) - before)
}

/// The worst case is a list of items without bytes: 1 byte each on the wire, 32 in memory, and a vector that grows by doubling
/// allocates up to three times its final size on the way. (A list of addresses has 12 on the wire, below 200 in memory.)
fn bound(len: usize) -> usize {
    4096 + len * (32 * 3)
}

/// Lengths that claim far more than is there, and few bytes behind them.
fn lies() -> impl Iterator<Item = Vec<u8>> {
    let lengths: [&[u8]; 6] = [
        &[0x7f],
        &[0xfe, 0x00, 0x20],
        &[0xfe, 0xff, 0xff],
        &[0xfd, 0xff, 0xff, 0xff, 0xff],
        &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    lengths.into_iter().flat_map(|length| [0, 1, 100].map(|tail| [length, &vec![0; tail]].concat()))
}

/// Such lengths at the places where each channel has one.
fn liars() -> Vec<(Option<Channel>, Vec<u8>)> {
    let key = [0; 32];
    let list = [[0; 40].as_slice(), &[0]].concat();
    let heads: [(Option<Channel>, Vec<u8>); 14] = [
        (None, [&[1][..], &key, &[0]].concat()),
        (Some(Channel::SignalingDiscovery), vec![4]),
        (Some(Channel::SignalingDiscovery), vec![5, 1]),
        (Some(Channel::SignalingExchange), [&[1][..], &key].concat()),
        (Some(Channel::SignalingExchange), vec![2, 1]),
        (Some(Channel::Rpc), vec![1, 0, 1, 6]),
        (Some(Channel::ExtensionRpc), vec![0, 0]),
        (Some(Channel::ExtensionRpc), vec![1, 0, 3]),
        (Some(Channel::CompactBlock), vec![3]),
        (Some(Channel::CompactBlock), [&[4][..], &key, &list[..40]].concat()),
        (Some(Channel::CompactBlock), [&[4][..], &key, &list].concat()),
        (Some(Channel::CompactBlock), [&[4][..], &key, &list, &[0]].concat()),
        (Some(Channel::CompactBlock), [&[4][..], &key, &list, &[1], &[0; 6], &[1, 0]].concat()),
        (Some(Channel::CompactBlock), vec![5]),
    ];
    heads.into_iter().flat_map(|(channel, head)| lies().map(move |lie| (channel, [&head[..], &lie].concat()))).collect()
}

/// The same for queries and answers about a block: the name of the query, or none for an answer.
fn liars_about_blocks() -> Vec<(Option<&'static str>, Vec<u8>)> {
    let [_, items, ..] = BlockQuery::METHODS;
    let list = [0; 40];
    let heads: [(Option<&str>, Vec<u8>); 8] = [
        (Some(items), vec![0; 64]),
        (None, vec![2]),
        (None, vec![3, 1]),
        (None, [&[3, 0][..], &list].concat()),
        (None, [&[3, 0][..], &list, &[0]].concat()),
        (None, vec![4]),
        (None, vec![4, 0]),
        (None, vec![5]),
    ];
    heads.into_iter().flat_map(|(method, head)| lies().map(move |lie| (method, [&head[..], &lie].concat()))).collect()
}

#[test]
fn decoding_allocates_no_more_than_what_is_there_warrants() {
    for (channel, body) in liars() {
        let len = body.len();
        let body = Bytes::from(body);
        let (decoded, allocated) = allocated_by(|| decode(channel, body));
        assert!(allocated <= bound(len), "{allocated} for {len}: {decoded:?}");
    }

    for (method, body) in liars_about_blocks() {
        let len = body.len();
        let body = Bytes::from(body);
        let (refused, allocated) = allocated_by(|| match method {
            Some(method) => BlockQuery::decode(method, body).unwrap().is_err(),
            None => BlockAnswer::decode(body).is_err(),
        });
        assert!(refused, "{method:?}, {len} bytes");
        assert!(allocated <= bound(len), "{allocated} for {len}: {method:?}");
    }

    let mut runner = TestRunner::deterministic();
    for _ in 0..2000 {
        let message = arbitrary::message().new_tree(&mut runner).unwrap().current();
        let body = message.encode().into_bytes();
        let len = body.len();
        let (decoded, allocated) = allocated_by(|| decode(message.channel(), body));
        assert!(allocated <= bound(len), "{allocated} for {len}: {decoded:?}");
    }

    for _ in 0..500 {
        let body = arbitrary::block_answer().new_tree(&mut runner).unwrap().current().encode();
        let len = body.len();
        let (answer, allocated) = allocated_by(|| BlockAnswer::decode(body));
        assert!(allocated <= bound(len), "{allocated} for {len}: {answer:?}");
    }

    let block = Bytes::from([&[1][..], &vec![7; 3_000_000]].concat());
    let (decoded, allocated) = allocated_by(|| decode(Some(Channel::BestTip), block));
    assert!(decoded.unwrap().is_exact());
    assert!(allocated <= 256, "{allocated} for a block of 3 MB");
}
