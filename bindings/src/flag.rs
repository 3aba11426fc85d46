//! How a Rust thread tells a waiting OCaml scheduler that there are events: an eventfd, which `select`, `poll` and `epoll` see
//! as readable.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io;

/// A flag that can be waited for.
pub(crate) struct Flag(OwnedFd);

impl Flag {
    /// A flag that is not set.
    pub(crate) fn new() -> io::Result<Flag> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Flag)
    }

    /// Sets the flag.
    pub(crate) fn set(&self) {
        // It fails only if the counter is full, 2^64 - 1 times, and then it is set.
        let _ = io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Clears the flag.
    pub(crate) fn clear(&self) {
        // It fails if the flag is not set.
        let _ = io::read(&self.0, &mut [0; 8]);
    }

    /// A new descriptor for OCaml to wait on, and to close. One of its own, so that neither side can close the other's.
    pub(crate) fn descriptor(&self) -> io::Result<RawFd> {
        io::fcntl_dupfd_cloexec(&self.0, 0).map(IntoRawFd::into_raw_fd)
    }
}
