//! Signals go to OCaml's threads: on one of ours a handler of OCaml's could not run.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

/// Blocks all signals on this thread.
pub(crate) fn block() {
    set(None);
}

/// Runs `f` with all signals blocked, so that threads made by it begin so.
pub(crate) fn blocked<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            set(Some(&self.0));
        }
    }
    let _restore = Restore(set(None));
    f()
}

/// Sets this thread's mask, all signals without one, and gives the one before.
fn set(mask: Option<&libc::sigset_t>) -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises `all`, and `pthread_sigmask` initialises `before`: with these arguments neither can fail.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let mask = mask.map_or(all.as_ptr(), ptr::from_ref);
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, before.as_mut_ptr());
        before.assume_init()
    }
}
