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

/// The worst case is a list of addresses: 12 bytes at least on the wire, below 200 in memory, and a vector that grows by
/// doubling allocates up to three times its final size on the way.
fn bound(len: usize) -> usize {
    4096 + len * (200 * 3) / 12
}

/// Lengths that claim far more than is there, at the places where each channel has one.
fn liars() -> Vec<(Option<Channel>, Vec<u8>)> {
    let key = [0; 32];
    let lengths: [&[u8]; 5] = [
        &[0x7f],
        &[0xfe, 0xff, 0xff],
        &[0xfd, 0xff, 0xff, 0xff, 0xff],
        &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    let heads: [(Option<Channel>, Vec<u8>); 8] = [
        (None, [&[1][..], &key, &[0]].concat()),
        (Some(Channel::SignalingDiscovery), vec![4]),
        (Some(Channel::SignalingDiscovery), vec![5, 1]),
        (Some(Channel::SignalingExchange), [&[1][..], &key].concat()),
        (Some(Channel::SignalingExchange), vec![2, 1]),
        (Some(Channel::Rpc), vec![1, 0, 1, 6]),
        (Some(Channel::ExtensionRpc), vec![0, 0]),
        (Some(Channel::ExtensionRpc), vec![1, 0, 3]),
    ];
    let mut liars = Vec::new();
    for (channel, head) in heads {
        for length in lengths {
            for tail in [0, 1, 100] {
                liars.push((channel, [&head[..], length, &vec![0; tail]].concat()));
            }
        }
    }
    liars
}

#[test]
fn decoding_allocates_no_more_than_what_is_there_warrants() {
    for (channel, body) in liars() {
        let len = body.len();
        let body = Bytes::from(body);
        let (decoded, allocated) = allocated_by(|| decode(channel, body));
        assert!(allocated <= 4096 + 4 * len, "{allocated} for {len}: {decoded:?}");
    }

    let mut runner = TestRunner::deterministic();
    for _ in 0..2000 {
        let message = arbitrary::message().new_tree(&mut runner).unwrap().current();
        let body = message.encode().into_bytes();
        let len = body.len();
        let (decoded, allocated) = allocated_by(|| decode(message.channel(), body));
        assert!(allocated <= bound(len), "{allocated} for {len}: {decoded:?}");
    }

    let block = Bytes::from([&[1][..], &vec![7; 3_000_000]].concat());
    let (decoded, allocated) = allocated_by(|| decode(Some(Channel::BestTip), block));
    assert!(decoded.unwrap().is_exact());
    assert!(allocated <= 256, "{allocated} for a block of 3 MB");
}
