//! What a peer's SCTP packets may hold, looked at between DTLS and SCTP.
//!
//! str0m's SCTP takes data on any of 65,536 streams, keeps about 650 bytes for each as long as the connection lasts, looks at all of
//! them in each turn, and tells nobody: 42 MB and all of a core for 1.3 MB of a peer's. And it counts the bytes of fragments that
//! wait for their message, and of messages that wait for an earlier one, but not what each of them takes, about 300 bytes and the
//! packet that it came in, nor the time to sort them, which is that of all for each. What it has delivered, it keeps as long as
//! anything that was sent before is missing. So all of these are refused before they get there.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use mina_p2p_wire::Channel;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider};
use str0m::{Rtc, RtcConfig};

use super::streams::LANES;
use crate::CloseReason;

/// Bytes of an SCTP packet before its chunks: ports, verification tag, checksum (RFC 9260, section 3.1).
const PACKET_HEAD_LEN: usize = 12;
/// Bytes of a chunk before its value: type, flags, length (section 3.2).
const CHUNK_HEAD_LEN: usize = 4;
/// Bytes of a DATA chunk before its user data (section 3.3.1).
const DATA_HEAD_LEN: usize = 16;
/// The type of a DATA chunk. No other brings data: I-DATA (RFC 8260) is not negotiated.
const DATA: u8 = 0;
/// The flag of a message's last fragment.
const LAST: u8 = 0b01;
/// The flags of a message's last and first fragment.
const WHOLE: u8 = 0b11;
/// The flag of a message that waits for no other.
const UNORDERED: u8 = 0b100;
/// The type of an acknowledgement (section 3.3.4).
const SACK: u8 = 3;

/// What a fragment counts beside its bytes. Fragments of 128 bytes or more, on average, are always allowed: senders fill packets,
/// and only a message's first and last fragment are small. The receive buffer of 1 MiB then holds 8,192 of them at most.
const FRAGMENT_COST: u32 = 128;

/// What may have been counted beyond the bytes that came: 512 empty fragments at once.
const FRAGMENT_ALLOWANCE: u32 = 64 * 1024;

/// DATA chunks that a peer may be ahead of what we have acknowledged: its window of 1 MiB in chunks of 256 bytes. Packets that are
/// further ahead are lost, and sent again later. Each may hold its packet: 4,096 x 1.5 KB = 6 MB, as long as one is missing.
const MAX_UNACKNOWLEDGED: u32 = 4096;

/// The same of a peer that has not proved who it is: the 64 KiB that it may send by then take 57 packets. 128 x 1.5 KB = 192 KB.
const MAX_UNACKNOWLEDGED_UNPROVED: u32 = 128;

/// What a peer's packets held that they must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketFault {
    /// Data on a stream that is none of ours.
    Stream(u16),
    /// Fragments that are too many for their bytes.
    Fragments,
    /// A message on this stream that has no place in the order of those around it: it would wait for one that cannot come.
    Order(u16),
}

impl PacketFault {
    pub(super) fn reason(self) -> CloseReason {
        CloseReason::Violation(match self {
            Self::Stream(number) => format!("unexpected_stream: data on stream {number}, which is not one of ours"),
            Self::Fragments => {
                format!("tiny_fragments: messages in fragments of less than {FRAGMENT_COST} bytes on average")
            }
            Self::Order(number) => format!("message_order: messages on stream {number} that are numbered wrongly"),
        })
    }
}

/// Tells what the packets of a connection held.
#[derive(Clone, Default)]
pub(super) struct Guard(Arc<State>);

#[derive(Default)]
struct State {
    fault: OnceLock<PacketFault>,
    holds_data: AtomicBool,
    proved: AtomicBool,
    /// The number of each lane's next message, modulo 2^16 as SCTP counts them.
    delivered: [AtomicU16; LANES],
}

impl Guard {
    /// The fault, once there is one. From then on SCTP hears nothing any more.
    pub(super) fn fault(&self) -> Option<PacketFault> {
        self.0.fault.get().copied()
    }

    /// The peer has proved who it is.
    pub(super) fn proved(&self) {
        self.0.proved.store(true, Ordering::Relaxed);
    }

    fn max_unacknowledged(&self) -> u32 {
        if self.0.proved.load(Ordering::Relaxed) { MAX_UNACKNOWLEDGED } else { MAX_UNACKNOWLEDGED_UNPROVED }
    }

    /// SCTP has delivered a message of a lane.
    pub(super) fn delivered(&self, lane: usize) {
        if let Some(next) = self.0.delivered.get(lane) {
            // Wraps around.
            next.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether packets with data are lost from now on, since there is no room for what they bring. All others get through: the
    /// peer goes on acknowledging what we send, and can say that it closes.
    pub(super) fn hold_data(&self, holds: bool) {
        self.0.holds_data.store(holds, Ordering::Relaxed);
    }
}

thread_local! {
    /// The guard of the connection that [`build`] makes just now.
    static MAKING: RefCell<Guard> = RefCell::default();
}

/// Makes a connection whose packets are looked at.
pub(super) fn build(config: RtcConfig, now: Instant) -> (Rtc, Guard) {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || Arc::new(CryptoProvider { dtls_provider: &Guarded, ..str0m::crypto::from_feature_flags() });
    let guard = Guard::default();
    MAKING.set(guard.clone());
    let rtc = config.set_crypto_provider(PROVIDER.get_or_init(make).clone()).build(now);
    MAKING.take();
    (rtc, guard)
}

/// Makes DTLS ends that are looked at.
#[derive(Debug)]
struct Guarded;

impl DtlsProvider for Guarded {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = str0m::crypto::from_feature_flags().dtls_provider.new_dtls(certificate, now, version, mtu)?;
        let guard = MAKING.with_borrow(Guard::clone);
        Ok(Box::new(Instance { inner, guard, inspector: Inspector::default() }))
    }
}

/// A DTLS end, and who looks at what comes out of it.
struct Instance {
    inner: Box<dyn DtlsInstance>,
    guard: Guard,
    inspector: Inspector,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.inner.poll_output(buffer);
        let DtlsOutput::ApplicationData(packet) = output else { return output };
        let passes = match self.inspector.inspect(packet, &self.guard) {
            _ if self.guard.fault().is_some() => false,
            Ok(Contents::None | Contents::Early) => false,
            Ok(Contents::Control) => true,
            Ok(Contents::Data) => !self.guard.0.holds_data.load(Ordering::Relaxed),
            Err(fault) => {
                self.guard.0.fault.get_or_init(|| fault);
                false
            }
        };
        // Nothing is no packet: SCTP passes over it.
        DtlsOutput::ApplicationData(if passes { packet } else { &[] })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inspector.sent(data);
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

/// What a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// It is none. SCTP would drop it too.
    None,
    /// No data.
    Control,
    /// Data, among others.
    Data,
    /// Data that is too far ahead of what we have acknowledged.
    Early,
}

/// Looks at the packets of one connection.
#[derive(Debug, Default)]
struct Inspector {
    /// See [`FRAGMENT_ALLOWANCE`].
    counted: u32,
    /// All chunks up to this number have come, as we have told the peer.
    acknowledged: Option<u32>,
    /// The newest chunk of each lane.
    newest: [Option<Chunk>; LANES],
}

/// A DATA chunk of an ordered message.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    /// Its own number (TSN).
    number: u32,
    /// That of its message on its stream (SSN).
    message: u16,
    /// It is its message's last.
    is_last: bool,
}

/// The chunks of a packet: types, flags and all of each. Ends with an error where one goes on beyond the packet.
fn chunks(packet: &[u8]) -> impl Iterator<Item = Result<(u8, u8, &[u8]), ()>> {
    let mut rest = packet.get(PACKET_HEAD_LEN..).unwrap_or_default();
    std::iter::from_fn(move || {
        let ([kind, flags, len_high, len_low], _) = rest.split_first_chunk::<CHUNK_HEAD_LEN>()?;
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
        let Some(chunk) = rest.get(..len).filter(|_| len >= CHUNK_HEAD_LEN) else {
            rest = &[];
            return Some(Err(()));
        };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((*kind, *flags, chunk)))
    })
}

/// The 32 bits of a chunk at `at`.
fn word(chunk: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*chunk.get(at..)?.first_chunk()?))
}

/// The lane of a stream; `None` for one that is not ours.
fn lane_of(stream: u16) -> Option<usize> {
    if stream == 0 {
        return Some(0);
    }
    Channel::ALL.iter().position(|channel| u16::from(channel.id()) == stream).map(|index| index + 1)
}

/// How far `number` is after `other`; `None` when it is not (RFC 1982).
fn ahead(number: u32, other: u32) -> Option<u32> {
    let distance = number.wrapping_sub(other);
    (distance != 0 && distance < 1 << 31).then_some(distance)
}

impl Inspector {
    fn inspect(&mut self, packet: &[u8], guard: &Guard) -> Result<Contents, PacketFault> {
        if packet.len() < PACKET_HEAD_LEN {
            return Ok(Contents::None);
        }
        // A packet that is lost is not remembered: it comes again.
        for chunk in chunks(packet) {
            let Ok((kind, _, chunk)) = chunk else { return Ok(Contents::None) };
            if kind == DATA && self.is_early(chunk, guard) {
                return Ok(Contents::Early);
            }
        }
        let mut contents = Contents::Control;
        for (kind, flags, chunk) in chunks(packet).flatten() {
            if kind == DATA {
                self.data(flags, chunk, guard)?;
                contents = Contents::Data;
            }
        }
        Ok(contents)
    }

    /// Looks at what we send: at our acknowledgements.
    fn sent(&mut self, packet: &[u8]) {
        for (kind, _, chunk) in chunks(packet).flatten() {
            if kind == SACK {
                self.acknowledged = word(chunk, 4).or(self.acknowledged);
            }
        }
    }

    fn is_early(&self, chunk: &[u8], guard: &Guard) -> bool {
        let ahead = self.acknowledged.and_then(|acknowledged| ahead(word(chunk, 4)?, acknowledged));
        ahead.is_some_and(|ahead| ahead > guard.max_unacknowledged())
    }

    fn data(&mut self, flags: u8, chunk: &[u8], guard: &Guard) -> Result<(), PacketFault> {
        // Type, flags, length and TSN come before the stream's number. Without it SCTP refuses the chunk.
        let (Some(number), Some(place)) = (word(chunk, 4), word(chunk, 8)) else { return Ok(()) };
        let [stream, message] = [place >> 16, place & 0xffff].map(|half| u16::try_from(half).unwrap_or_default());
        let lane = lane_of(stream).ok_or(PacketFault::Stream(stream))?;
        // A packet is shorter than 64 KiB.
        let len = u32::try_from(chunk.len().saturating_sub(DATA_HEAD_LEN)).unwrap_or(u32::MAX);
        self.counted = self.counted.saturating_sub(len);
        if flags & WHOLE != WHOLE {
            self.counted += FRAGMENT_COST;
        }
        if self.counted > FRAGMENT_ALLOWANCE {
            return Err(PacketFault::Fragments);
        }
        if flags & UNORDERED == 0 {
            let chunk = Chunk { number, message, is_last: flags & LAST != 0 };
            let next = guard.0.delivered.get(lane).map_or(0, |next| next.load(Ordering::Relaxed));
            if !self.is_in_order(lane, chunk, next) {
                return Err(PacketFault::Order(stream));
            }
        }
        Ok(())
    }

    /// Whether an ordered message may have this number, where `next` is that of the next one to be delivered.
    fn is_in_order(&mut self, lane: usize, chunk: Chunk, next: u16) -> bool {
        // Those before it have not been delivered, so a chunk of each of them, and this one, is not acknowledged: the peer is
        // that much ahead. A number that was delivered already is that of a chunk that came twice.
        let waits_for = chunk.message.wrapping_sub(next);
        if waits_for < 1 << 15
            && let Some(unacknowledged) = self.acknowledged.and_then(|known| ahead(chunk.number, known))
            && u32::from(waits_for) >= unacknowledged
        {
            return false;
        }
        let Some(newest) = self.newest.get_mut(lane) else { return true };
        if let Some(newest) = newest {
            let Some(further) = ahead(chunk.number, newest.number) else { return true };
            // It is of the same message as long as that goes on, and then of a later one, each of which has a chunk at least.
            let later = u32::from(chunk.message.wrapping_sub(newest.message));
            if later > further || (newest.is_last && later == 0) || (!newest.is_last && further == 1 && later != 0) {
                return false;
            }
        }
        *newest = Some(chunk);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(flags: u8, stream: u16, len: usize) -> Vec<u8> {
        let mut chunk = vec![DATA, flags];
        chunk.extend(u16::try_from(DATA_HEAD_LEN + len).unwrap().to_be_bytes());
        chunk.extend([0; 4]);
        chunk.extend(stream.to_be_bytes());
        chunk.resize((DATA_HEAD_LEN + len).next_multiple_of(4), 0);
        chunk
    }

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; PACKET_HEAD_LEN], chunks.concat()].concat()
    }

    /// Where nothing has been delivered.
    fn proved() -> Guard {
        let guard = Guard::default();
        guard.proved();
        guard
    }

    fn inspect(inspector: &mut Inspector, packet: &[u8]) -> Result<Contents, PacketFault> {
        inspector.inspect(packet, &proved())
    }

    /// A small message on stream 3, whole.
    fn message(number: u32, message: u16) -> Vec<u8> {
        let mut chunk = data(WHOLE, 3, 1);
        chunk[4..8].copy_from_slice(&number.to_be_bytes());
        chunk[10..12].copy_from_slice(&message.to_be_bytes());
        packet(&[chunk])
    }

    /// One who has acknowledged all up to there.
    fn acknowledges(number: u32) -> Inspector {
        let mut inspector = Inspector::default();
        let sack = [&[SACK, 0, 0, 16][..], &number.to_be_bytes(), &[0; 8]].concat();
        inspector.sent(&packet(&[sack]));
        inspector
    }

    #[test]
    fn data_on_other_streams_is_found_wherever_it_is() {
        let mut inspector = Inspector::default();
        let sack = vec![3, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        for stream in (0..=8).chain([16, 17]) {
            assert_eq!(inspect(&mut inspector, &packet(&[sack.clone(), data(WHOLE, stream, 3)])), Ok(Contents::Data));
        }
        for stream in [9, 15, 18, 256, u16::MAX] {
            let bad = packet(&[sack.clone(), data(WHOLE, 1, 3), data(WHOLE, stream, 1)]);
            assert_eq!(inspect(&mut inspector, &bad), Err(PacketFault::Stream(stream)));
        }
    }

    #[test]
    fn what_is_no_packet_is_dropped() {
        let mut inspector = Inspector::default();
        let whole = packet(&[data(WHOLE, 9, 4)]);
        for len in 0..whole.len() {
            // Cut before the first chunk it holds nothing, cut inside it is none.
            let inside = len > PACKET_HEAD_LEN + CHUNK_HEAD_LEN - 1;
            assert_eq!(
                inspect(&mut inspector, &whole[..len]),
                Ok(if len >= PACKET_HEAD_LEN && !inside { Contents::Control } else { Contents::None }),
                "{len}"
            );
        }
        assert_eq!(inspect(&mut inspector, &packet(&[vec![DATA, WHOLE, 0, 3]])), Ok(Contents::None));
        assert_eq!(inspect(&mut inspector, &packet(&[vec![DATA, WHOLE, 0, 4]])), Ok(Contents::Data));
    }

    #[test]
    fn tiny_fragments_have_an_end_and_usual_ones_have_none() {
        let mut inspector = Inspector::default();
        // A message of 16 KiB and a little, in packets of 1,200 bytes.
        for _ in 0..10_000 {
            for (flags, len) in [(2, 1_100), (0, 1_100), (0, 1_100), (1, 1)] {
                assert_eq!(inspect(&mut inspector, &packet(&[data(flags, 3, len)])), Ok(Contents::Data));
            }
            // Small ones, whole.
            assert_eq!(inspect(&mut inspector, &packet(&vec![data(WHOLE, 4, 5); 20])), Ok(Contents::Data));
        }
        let tiny = packet(&vec![data(0, 3, 1); 40]);
        let taken = (0..1_000).take_while(|_| inspect(&mut inspector, &tiny) == Ok(Contents::Data)).count();
        assert_eq!(taken, 64 * 1024 / (127 * 40));
        assert_eq!(inspect(&mut inspector, &tiny), Err(PacketFault::Fragments));
    }

    #[test]
    fn a_message_waits_only_for_what_can_still_come() {
        for before in [10, u32::MAX - 1, u32::MAX] {
            let after = |n: u32| before.wrapping_add(n);
            let guard = proved();
            // Whatever message was before it, it is not under way.
            let taken = |number, of| acknowledges(before).inspect(&message(number, of), &guard);
            for (ahead, message) in [(1, 0), (2, 1), (2, 0), (100, 99), (MAX_UNACKNOWLEDGED, 4_095)] {
                assert_eq!(taken(after(ahead), message), Ok(Contents::Data));
            }
            for (ahead, message) in [(1, 1), (2, 2), (100, 100), (1, 30_000)] {
                assert_eq!(taken(after(ahead), message), Err(PacketFault::Order(3)));
            }
            // What was acknowledged may come again.
            assert_eq!(taken(before, 9), Ok(Contents::Data));
            guard.delivered(lane_of(3).unwrap());
            let taken = |number, of| acknowledges(before).inspect(&message(number, of), &guard);
            assert_eq!(taken(after(1), 1), Ok(Contents::Data));
            assert_eq!(taken(after(1), 2), Err(PacketFault::Order(3)));
        }
    }

    #[test]
    fn a_message_has_its_number_alone_and_no_number_is_left_out() {
        for (second, third, is_fine) in [
            ((1, 1), (2, 2), true),
            ((4, 3), (1, 1), true),
            ((4, 2), (5, 3), true),
            ((1, 0), (2, 1), false),
            ((1, 2), (3, 3), false),
            ((3, 3), (4, 3), false),
            ((3, 3), (4, 5), false),
        ] {
            let mut inspector = Inspector::default();
            assert_eq!(inspect(&mut inspector, &message(100, u16::MAX)), Ok(Contents::Data));
            let mut taken = |(further, later): (u32, u16)| {
                inspect(&mut inspector, &message(100 + further, u16::MAX.wrapping_add(later))).is_ok()
            };
            assert_eq!(taken(second) && taken(third), is_fine, "{second:?} {third:?}");
        }
    }

    #[test]
    fn what_is_far_ahead_of_our_acknowledgements_is_lost_and_forgotten() {
        let mut inspector = acknowledges(7);
        for _ in 0..2 {
            assert_eq!(inspect(&mut inspector, &message(8 + MAX_UNACKNOWLEDGED, 9)), Ok(Contents::Early));
        }
        assert_eq!(inspect(&mut inspector, &message(8, 0)), Ok(Contents::Data));
        assert_eq!(inspect(&mut inspector, &message(7 + MAX_UNACKNOWLEDGED, 9)), Ok(Contents::Data));
    }

    #[test]
    fn who_has_proved_nothing_may_be_less_far_ahead() {
        let (mut inspector, guard) = (acknowledges(7), Guard::default());
        let mut inspect = |number, message_number| inspector.inspect(&message(number, message_number), &guard);
        assert_eq!(inspect(8 + MAX_UNACKNOWLEDGED_UNPROVED, 9), Ok(Contents::Early));
        assert_eq!(inspect(7 + MAX_UNACKNOWLEDGED_UNPROVED, 9), Ok(Contents::Data));
    }
}
