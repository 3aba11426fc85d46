//! Which datagrams are whose.

use bytes::{Bytes, BytesMut};

/// Whose a datagram is, by its first byte (RFC 9443, section 3).
///
/// QUIC packets have the second bit set (64-127, 192-255), since our endpoints do not offer to have it greased (RFC 9287).
/// Version negotiation may leave it out (128-191). TURN's channels, which would have 64-79, are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramKind {
    /// STUN (0-3) or DTLS (20-63).
    WebRtc,
    /// 64-255.
    Quic,
    /// Nobody's.
    Other,
}

impl DatagramKind {
    /// The kind of a datagram that begins with this byte.
    #[must_use]
    pub const fn of(first: u8) -> Self {
        match first {
            0..=3 | 20..=63 => Self::WebRtc,
            64..=255 => Self::Quic,
            4..=19 => Self::Other,
        }
    }
}

/// What a buffer of datagrams held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// Bytes of QUIC datagrams, now at the buffer's start. Still with the buffer's stride.
    pub(super) quic: usize,
    /// How many those were.
    pub(super) quic_count: u64,
    /// The WebRTC datagrams in a row, with the buffer's stride.
    pub(super) webrtc: Bytes,
    /// Datagrams of neither.
    pub(super) other: u64,
}

/// Takes out of `buffer` whatever is not QUIC's. It holds datagrams of `stride` bytes, of which the last may be shorter, as
/// the system receives them from one sender at once.
///
/// Only the last can be shorter, so this holds for any selection of them that keeps the order.
pub(super) fn sort(buffer: &mut [u8], stride: usize) -> Sorted {
    let stride = stride.max(1);
    let kind = |datagram: &[u8]| datagram.first().map_or(DatagramKind::Other, |first| DatagramKind::of(*first));
    let mut sorted = Sorted::default();
    let mut webrtc = 0;
    for datagram in buffer.chunks(stride) {
        match kind(datagram) {
            DatagramKind::Quic => {
                sorted.quic += datagram.len();
                sorted.quic_count += 1;
            }
            DatagramKind::WebRtc => webrtc += datagram.len(),
            DatagramKind::Other => sorted.other += 1,
        }
    }
    if webrtc > 0 {
        // One allocation for all of them. What is kept of it is no more than what was for WebRTC.
        let mut run = BytesMut::with_capacity(webrtc);
        for datagram in buffer.chunks(stride).filter(|datagram| kind(datagram) == DatagramKind::WebRtc) {
            run.extend_from_slice(datagram);
        }
        sorted.webrtc = run.freeze();
    }
    if sorted.quic > 0 && sorted.quic < buffer.len() {
        let (mut from, mut to) = (0, 0);
        while let Some(first) = buffer.get(from) {
            let end = buffer.len().min(from + stride);
            if DatagramKind::of(*first) == DatagramKind::Quic {
                buffer.copy_within(from..end, to);
                to += end - from;
            }
            from = end;
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram with this first byte, told apart from others by `n`.
    fn datagram(first: u8, n: u8, len: usize) -> Vec<u8> {
        let mut datagram = vec![n; len];
        datagram[0] = first;
        datagram
    }

    #[test]
    fn first_bytes_are_told_apart_as_rfc_9443_says() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => DatagramKind::WebRtc,
                4..=19 => DatagramKind::Other,
                20..=63 => DatagramKind::WebRtc,
                _ => DatagramKind::Quic,
            };
            assert_eq!(DatagramKind::of(first), expected, "{first}");
        }
    }

    #[test]
    fn a_buffer_that_is_all_quic_is_left_alone() {
        let mut buffer = [datagram(0x40, 1, 100), datagram(0xc0, 2, 60)].concat();
        let before = buffer.clone();
        let sorted = sort(&mut buffer, 100);
        assert_eq!(sorted, Sorted { quic: 160, quic_count: 2, ..Sorted::default() });
        assert_eq!(buffer, before);
    }

    #[test]
    fn a_buffer_that_is_all_webrtc_leaves_nothing() {
        let mut buffer = [datagram(0, 1, 100), datagram(22, 2, 100), datagram(63, 3, 1)].concat();
        let before = buffer.clone();
        let sorted = sort(&mut buffer, 100);
        assert_eq!((sorted.quic, sorted.other), (0, 0));
        assert_eq!(sorted.webrtc, before);
    }

    #[test]
    fn mixtures_are_taken_apart_in_order_whichever_is_last() {
        // All selections of the three kinds for five datagrams, the last one short.
        for selection in 0..3usize.pow(5) {
            let firsts: Vec<u8> = (0..5).map(|i| [64, 20, 7][selection / 3usize.pow(i) % 3]).collect();
            let datagrams: Vec<_> =
                firsts.iter().zip(0..).map(|(first, n)| datagram(*first, n, if n == 4 { 3 } else { 50 })).collect();
            let of = |first: u8| {
                datagrams.iter().filter(|datagram| datagram[0] == first).flatten().copied().collect::<Vec<u8>>()
            };
            let mut buffer = datagrams.concat();
            let sorted = sort(&mut buffer, 50);
            assert_eq!(&buffer[..sorted.quic], of(64), "{firsts:?}");
            assert_eq!(sorted.webrtc, of(20), "{firsts:?}");
            let count = |first| firsts.iter().filter(|f| **f == first).count() as u64;
            assert_eq!((sorted.quic_count, sorted.other), (count(64), count(7)), "{firsts:?}");
        }
    }

    #[test]
    fn a_stride_of_nothing_is_no_trouble() {
        assert_eq!(sort(&mut [], 0), Sorted::default());
        assert_eq!(sort(&mut [64, 5], 0), Sorted { quic: 1, quic_count: 1, other: 1, ..Sorted::default() });
    }
}
