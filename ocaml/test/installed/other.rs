//! Another Rust library, as a program with mina_p2p in it may well have.

use std::panic::catch_unwind;

/// Takes and gives OCaml integers: `2 n + 1` is `n`.
#[unsafe(no_mangle)]
pub extern "C" fn other_half(number: isize) -> isize {
    let number = number >> 1;
    let half = catch_unwind(|| {
        assert!(number % 2 == 0, "expected in this test: {number} is odd");
        number / 2
    });
    (half.unwrap_or(-1) << 1) | 1
}
