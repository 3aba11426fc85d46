//! Who may begin a handshake: limits on pending handshakes, in all, per address and per subnet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Limits;

/// Pending handshakes of one endpoint (WebRTC: dialers that were answered and have not proved who they are).
///
/// An address that was not proved may be anyone's invention, so it must not take places from those who proved theirs:
/// above [`Limits::retry_threshold`] and above the limits of an address and of a subnet it is asked for proof (Retry),
/// and where an address or a subnet is full, one that was not proved yields to one that is.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Arc<Limits>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    /// By [subnet]; few of each, so its addresses are counted where they stand.
    places: HashMap<IpAddr, Vec<Held>>,
    next: u64,
}

/// A place that is taken.
#[derive(Debug)]
struct Held {
    number: u64,
    /// The [subscriber].
    address: IpAddr,
    proved: bool,
    evicted: Arc<Notify>,
}

/// What to do with a new handshake.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admit(Place),
    /// Ask for proof of the address.
    Retry,
    /// Too many.
    Refuse,
}

/// A pending handshake's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    subnet: IpAddr,
    number: u64,
    evicted: Arc<Notify>,
}

impl Admission {
    pub(crate) fn new(limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Judges a handshake from `address`, which is `proved` when it answered a Retry.
    pub(crate) fn judge(self: &Arc<Self>, address: IpAddr, proved: bool) -> Verdict {
        let limits = &self.limits;
        let exempt = limits.exempt_loopback && address.to_canonical().is_loopback();
        let (address, subnet) = (subscriber(address), subnet(address));
        let mut state = self.state();
        let State { total, places, .. } = &mut *state;
        if *total >= limits.max_pending_handshakes {
            return Verdict::Refuse;
        }
        if !proved && *total >= limits.retry_threshold {
            return Verdict::Retry;
        }
        let here = places.get(&subnet).map_or(&[][..], Vec::as_slice);
        let of_address = here.iter().filter(|held| held.address == address).count();
        let address_full = of_address >= limits.max_pending_per_address;
        if !exempt && (address_full || here.len() >= limits.max_pending_per_subnet) {
            if !proved {
                return Verdict::Retry;
            }
            // Where the address itself is full, no other address of the subnet yields to it.
            let yields = |held: &Held| !held.proved && (!address_full || held.address == address);
            let unproved =
                places.get_mut(&subnet).and_then(|held| Some(held.swap_remove(held.iter().position(yields)?)));
            let Some(unproved) = unproved else {
                return Verdict::Refuse;
            };
            unproved.evicted.notify_one();
            *total -= 1;
        }
        Verdict::Admit(self.hold(&mut state, address, subnet, proved))
    }

    #[cfg(feature = "webrtc")]
    /// Judges one that comes by a relay, from wherever. All of these have half of the places: relays must not keep out who comes
    /// by itself.
    pub(crate) fn judge_unplaced(self: &Arc<Self>) -> Verdict {
        let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let mut state = self.state();
        let max = self.limits.max_pending_handshakes;
        let by_relays = state.places.get(&nowhere).map_or(0, Vec::len);
        if state.total >= max || by_relays >= max / 2 {
            return Verdict::Refuse;
        }
        Verdict::Admit(self.hold(&mut state, nowhere, nowhere, true))
    }

    fn hold(self: &Arc<Self>, state: &mut State, address: IpAddr, subnet: IpAddr, proved: bool) -> Place {
        let number = state.next;
        state.next += 1;
        state.total += 1;
        let evicted = Arc::new(Notify::new());
        state.places.entry(subnet).or_default().push(Held { number, address, proved, evicted: evicted.clone() });
        Place { admission: self.clone(), subnet, number, evicted }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pending handshakes now.
    pub(crate) fn pending(&self) -> usize {
        self.state().total
    }
}

impl Place {
    /// The handshake was completed, which proves the address.
    pub(crate) fn proved(&self) {
        let mut state = self.admission.state();
        let held = state.places.get_mut(&self.subnet);
        if let Some(held) = held.and_then(|held| held.iter_mut().find(|held| held.number == self.number)) {
            held.proved = true;
        }
    }

    /// Resolves when the place was given to one whose address is proved.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        let State { total, places, .. } = &mut *state;
        let Some(held) = places.get_mut(&self.subnet) else {
            return;
        };
        // Not there when it was evicted.
        if let Some(index) = held.iter().position(|held| held.number == self.number) {
            held.swap_remove(index);
            *total -= 1;
        }
        if held.is_empty() {
            places.remove(&self.subnet);
        }
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// What counts as one subnet: an IPv4 /24, or an IPv6 /48, which is what one operator is easily given.
fn subnet(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limits: Limits) -> Arc<Admission> {
        Admission::new(Arc::new(limits))
    }

    /// Each of a subnet of its own.
    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0x0808_0000 + (n << 8)).into())
    }

    /// Of one IPv4 /24.
    fn neighbour(n: u8) -> IpAddr {
        IpAddr::V4([9, 9, 9, n].into())
    }

    fn admit(verdict: Verdict) -> Place {
        match verdict {
            Verdict::Admit(place) => place,
            other => panic!("admitted expected, got {other:?}"),
        }
    }

    #[test]
    fn above_the_threshold_an_address_must_be_proved() {
        let admission = admission(Limits::default());
        let places: Vec<_> = (0..32).map(|n| admit(admission.judge(address(n), false))).collect();
        assert!(matches!(admission.judge(address(99), false), Verdict::Retry));
        let proved = admit(admission.judge(address(99), true));
        assert_eq!(admission.pending(), 33);
        drop((places, proved));
        assert_eq!(admission.pending(), 0);
        assert!(admission.state().places.is_empty());
    }

    #[test]
    fn pending_handshakes_are_capped_in_all() {
        let admission = admission(Limits { max_pending_handshakes: 40, ..Limits::default() });
        let places: Vec<_> = (0..40).map(|n| admit(admission.judge(address(n), true))).collect();
        assert!(matches!(admission.judge(address(99), true), Verdict::Refuse));
        drop(places);
        admit(admission.judge(address(99), true));
    }

    #[cfg(feature = "webrtc")]
    #[test]
    fn relays_fill_half_of_the_places() {
        let admission = admission(Limits { max_pending_handshakes: 8, ..Limits::default() });
        let places: Vec<_> = (0..4).map(|_| admit(admission.judge_unplaced())).collect();
        assert!(matches!(admission.judge_unplaced(), Verdict::Refuse));
        admit(admission.judge(address(1), true));
        drop(places);
        admit(admission.judge_unplaced());
    }

    #[test]
    fn pending_handshakes_are_capped_per_address() {
        let admission = admission(Limits::default());
        let places: Vec<_> = (0..4).map(|_| admit(admission.judge(address(1), true))).collect();
        assert!(matches!(admission.judge(address(1), false), Verdict::Retry));
        assert!(matches!(admission.judge(address(1), true), Verdict::Refuse));
        admit(admission.judge(address(2), false));
        drop(places);
        admit(admission.judge(address(1), true));
    }

    #[tokio::test]
    async fn invented_handshakes_yield_to_the_addresses_owner() {
        let admission = admission(Limits::default());
        let mut invented: Vec<_> = (0..4).map(|_| admit(admission.judge(address(1), false))).collect();
        invented[2].proved();
        let owner = admit(admission.judge(address(1), true));
        assert_eq!(admission.pending(), 4);
        invented.remove(0).evicted().await;
        let more = [(); 2].map(|()| admit(admission.judge(address(1), true)));
        assert!(matches!(admission.judge(address(1), true), Verdict::Refuse));
        drop((invented, owner, more));
        assert_eq!(admission.pending(), 0);
        assert!(admission.state().places.is_empty());
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address() {
        let admission = admission(Limits::default());
        let address = |n: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, n, n, n, n));
        let _places: Vec<_> = (0..4).map(|n| admit(admission.judge(address(n), true))).collect();
        assert!(matches!(admission.judge(address(9), true), Verdict::Refuse));
        let mapped = IpAddr::V6(Ipv4Addr::new(8, 8, 8, 8).to_ipv6_mapped());
        assert_eq!(subscriber(mapped), IpAddr::V4([8, 8, 8, 8].into()));
        assert_eq!(subnet(mapped), IpAddr::V4([8, 8, 8, 0].into()));
    }

    #[test]
    fn pending_handshakes_are_capped_per_subnet() {
        let v6 = |n: u8| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, n.into(), 0, 0, 0, 1));
        let elsewhere = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1));
        let of_subnets: [(&dyn Fn(u8) -> IpAddr, IpAddr); 2] = [(&neighbour, address(1)), (&v6, elsewhere)];
        for (of_subnet, elsewhere) in of_subnets {
            let admission = admission(Limits::default());
            let mut places: Vec<_> = (0..32).map(|n| admit(admission.judge(of_subnet(n), true))).collect();
            assert!(matches!(admission.judge(of_subnet(99), false), Verdict::Retry));
            assert!(matches!(admission.judge(of_subnet(99), true), Verdict::Refuse));
            let other = admit(admission.judge(elsewhere, true));
            places.pop();
            places.push(admit(admission.judge(of_subnet(99), true)));
            assert!(matches!(admission.judge(of_subnet(100), true), Verdict::Refuse));
            drop((places, other));
            assert_eq!(admission.pending(), 0);
            assert!(admission.state().places.is_empty());
        }
    }

    #[test]
    fn a_full_subnet_asks_for_proof_below_the_threshold() {
        let admission = admission(Limits { max_pending_per_subnet: 2, ..Limits::default() });
        let _places = [1, 2].map(|n| admit(admission.judge(neighbour(n), false)));
        assert!(matches!(admission.judge(neighbour(3), false), Verdict::Retry));
        admit(admission.judge(address(1), false));
    }

    #[tokio::test]
    async fn invented_handshakes_yield_to_the_owner_of_another_address_of_their_subnet() {
        let admission = admission(Limits { max_pending_per_subnet: 5, ..Limits::default() });
        let [invented, proved] =
            [(1, false), (2, true)].map(|(n, proved)| admit(admission.judge(neighbour(n), proved)));
        let others = [(); 3].map(|()| admit(admission.judge(neighbour(2), true)));
        // Its own address is full of proved ones: nobody else's place is taken for it.
        assert!(matches!(admission.judge(neighbour(2), true), Verdict::Refuse));
        let owner = admit(admission.judge(neighbour(3), true));
        invented.evicted().await;
        assert_eq!(admission.pending(), 5);
        assert!(matches!(admission.judge(neighbour(4), true), Verdict::Refuse));
        drop((invented, proved, others, owner));
        assert_eq!(admission.pending(), 0);
        assert!(admission.state().places.is_empty());
    }

    #[test]
    fn loopback_is_exempt_from_the_limits_of_addresses_and_subnets_only() {
        let admission = admission(Limits { max_pending_per_subnet: 8, ..Limits::default() });
        let loopback = IpAddr::V4([127, 0, 0, 1].into());
        let _places: Vec<_> = (0..32).map(|_| admit(admission.judge(loopback, false))).collect();
        assert!(matches!(admission.judge(loopback, false), Verdict::Retry));
    }
}
