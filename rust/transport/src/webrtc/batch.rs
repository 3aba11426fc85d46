//! Datagrams to one address that the system can be given in one call.

use std::net::{IpAddr, SocketAddr};

/// The most bytes of a batch: what one call may carry (GSO's 64 KiB less heads).
const MAX_LEN: usize = 60_000;
/// The most datagrams of a batch: what Linux takes.
const MAX_DATAGRAMS: u64 = 64;

/// Datagrams of one length, but for the last, which may be shorter.
#[derive(Default)]
pub(super) struct Batch {
    route: Option<(IpAddr, SocketAddr)>,
    contents: Vec<u8>,
    segment: usize,
    datagrams: u64,
    /// The last one is shorter: no other can follow.
    complete: bool,
}

impl Batch {
    /// Whether a datagram can follow those that are in it.
    pub(super) fn takes(&self, source: IpAddr, destination: SocketAddr, len: usize) -> bool {
        match self.route {
            None => true,
            Some(route) => {
                route == (source, destination)
                    && !self.complete
                    && len <= self.segment
                    && self.contents.len() + len <= MAX_LEN
                    && self.datagrams < MAX_DATAGRAMS
            }
        }
    }

    pub(super) fn push(&mut self, source: IpAddr, destination: SocketAddr, contents: &[u8]) {
        if self.route.is_none() {
            self.route = Some((source, destination));
            self.segment = contents.len();
        }
        self.complete = contents.len() < self.segment;
        self.contents.extend_from_slice(contents);
        self.datagrams += 1;
    }

    /// From where, and where to; `None` when it is empty.
    pub(super) fn route(&self) -> Option<(IpAddr, SocketAddr)> {
        self.route
    }

    pub(super) fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// The length of a datagram, where there are several.
    pub(super) fn segment(&self) -> Option<usize> {
        (self.datagrams > 1).then_some(self.segment)
    }

    pub(super) fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// Empties it. Idle connections keep no storage.
    pub(super) fn clear(&mut self) {
        self.route = None;
        self.datagrams = 0;
        self.complete = false;
        if self.contents.len() < MAX_LEN / 4 {
            self.contents = Vec::new();
        } else {
            self.contents.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_datagrams_of_one_length_and_a_shorter_last_one() {
        let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let to = SocketAddr::new(there, 9);
        let mut batch = Batch::default();
        assert!(batch.takes(here, to, 100));
        batch.push(here, to, &[0; 100]);
        assert_eq!(batch.segment(), None);
        assert!(batch.takes(here, to, 100) && batch.takes(here, to, 1));
        assert!(!batch.takes(here, to, 101) && !batch.takes(there, to, 100));
        assert!(!batch.takes(here, SocketAddr::new(there, 8), 100));
        batch.push(here, to, &[0; 60]);
        assert_eq!((batch.segment(), batch.contents().len(), batch.datagrams()), (Some(100), 160, 2));
        assert!(!batch.takes(here, to, 60));
        batch.clear();
        assert!(batch.takes(there, to, 1_000) && batch.route().is_none());
    }
}
