//! Who may connect to the signaling server, and who may offer: places and rates, in all and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::HttpLimits;
use crate::admission::subscriber;

/// Addresses whose rate is remembered: about 64 bytes each, 64 KiB.
///
/// Only those that were admitted in the last [burst / rate] seconds need to be: with the limits as they are at most
/// 128 + 2 x 64 = 256. The rest, whose buckets are full again, are forgotten when the table is.
const MAX_REMEMBERED: usize = 1024;

/// Tokens are counted in parts of a billion, so that a rate of n a second is n parts a nanosecond.
const TOKEN: u64 = 1_000_000_000;

/// Places and rates of one server.
#[derive(Debug)]
pub(super) struct Admission {
    limits: HttpLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connections: usize,
    /// By [subscriber].
    by_address: HashMap<IpAddr, usize>,
    all: Bucket,
    /// By [subscriber].
    buckets: HashMap<IpAddr, Bucket>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// The address, IPv4 in its own form.
    pub(super) address: IpAddr,
    /// Whether the limits of one address do not concern it.
    exempt: bool,
}

/// A connection's place among all; free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Admission>);

/// A place among those of one address; free again when dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    admission: Arc<Admission>,
    /// None for an exempt address.
    subscriber: Option<IpAddr>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In parts of [`TOKEN`].
    level: u64,
    since: Instant,
}

impl Bucket {
    fn full(burst: u32, now: Instant) -> Self {
        Self { level: u64::from(burst) * TOKEN, since: now }
    }

    /// The bucket at `now`: `rate` tokens a second fall in, up to `burst`.
    fn at(self, now: Instant, rate: u32, burst: u32) -> Self {
        let nanoseconds = u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX);
        let fallen_in = nanoseconds.saturating_mul(u64::from(rate.max(1)));
        let level = self.level.saturating_add(fallen_in).min(u64::from(burst) * TOKEN);
        Self { level, since: now.max(self.since) }
    }

    /// The bucket without one token, if there is one.
    fn taken(self) -> Option<Self> {
        Some(Self { level: self.level.checked_sub(TOKEN)?, ..self })
    }
}

impl Admission {
    pub(super) fn new(limits: HttpLimits, now: Instant) -> Arc<Self> {
        let all = Bucket::full(limits.offer_burst, now);
        let state = State { connections: 0, by_address: HashMap::new(), all, buckets: HashMap::new() };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is at the other end of a socket.
    pub(super) fn client(&self, address: IpAddr) -> Client {
        let address = address.to_canonical();
        Client { address, exempt: self.limits.exempt_loopback && address.is_loopback() }
    }

    /// Whether this address may say for whom it speaks.
    pub(super) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.limits.trusted_proxies.iter().any(|proxy| proxy.to_canonical() == address)
    }

    /// A place for a connection; none when all are taken.
    pub(super) fn connect(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        if state.connections >= self.limits.max_connections {
            return None;
        }
        state.connections += 1;
        Some(Place(self.clone()))
    }

    /// A place for one more connection of `client`; none when it has all that one address may have.
    pub(super) fn connect_from(self: &Arc<Self>, client: Client) -> Option<AddressPlace> {
        if client.exempt {
            return Some(AddressPlace { admission: self.clone(), subscriber: None });
        }
        let subscriber = subscriber(client.address);
        let mut state = self.state();
        let here = state.by_address.get(&subscriber).copied().unwrap_or_default();
        if here >= self.limits.max_connections_per_address {
            return None;
        }
        state.by_address.insert(subscriber, here + 1);
        Some(AddressPlace { admission: self.clone(), subscriber: Some(subscriber) })
    }

    /// Whether `client` may offer now. Neither rate is charged when the other refuses, so that one address over its own
    /// takes nothing from the others.
    pub(super) fn offer(&self, client: Client, now: Instant) -> bool {
        let limits = &self.limits;
        let of_address = |bucket: Bucket| bucket.at(now, limits.offers_per_address, limits.offer_burst_per_address);
        let mut state = self.state();
        let Some(all) = state.all.at(now, limits.offers, limits.offer_burst).taken() else {
            return false;
        };
        if !client.exempt {
            let subscriber = subscriber(client.address);
            let full = Bucket::full(limits.offer_burst_per_address, now);
            let bucket = state.buckets.get(&subscriber).map_or(full, |bucket| of_address(*bucket));
            let Some(bucket) = bucket.taken() else {
                return false;
            };
            if state.buckets.len() >= MAX_REMEMBERED && !state.buckets.contains_key(&subscriber) {
                state.buckets.retain(|_, bucket| of_address(*bucket).level < full.level);
                if state.buckets.len() >= MAX_REMEMBERED {
                    return false;
                }
            }
            state.buckets.insert(subscriber, bucket);
        }
        state.all = all;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().connections -= 1;
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let Some(subscriber) = self.subscriber else {
            return;
        };
        let mut state = self.admission.state();
        match state.by_address.get_mut(&subscriber) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                state.by_address.remove(&subscriber);
            }
        }
    }
}

impl Client {
    /// The client that a trusted proxy names. It is never exempt: the machine's owner needs no proxy, and a proxy that does
    /// not write the header itself lets a stranger say anything.
    pub(super) fn forwarded(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), exempt: false }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::super::MAX_CONNECTIONS;
    use super::*;

    fn admission(limits: HttpLimits) -> (Arc<Admission>, Instant) {
        let now = Instant::now();
        (Admission::new(limits, now), now)
    }

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn an_address_has_its_burst_and_then_its_rate() {
        let (admission, now) = admission(HttpLimits::default());
        let client = admission.client(v4(1));
        let admitted = |now| (0..50).filter(|_| admission.offer(client, now)).count();
        assert_eq!(admitted(now), 8);
        assert_eq!(admitted(now + Duration::from_millis(249)), 0);
        assert_eq!(admitted(now + Duration::from_millis(250)), 1);
        assert_eq!(admitted(now + Duration::from_millis(1_250)), 4);
        assert_eq!(admitted(now + Duration::from_secs(3_600)), 8);
        assert!(admission.offer(admission.client(v4(2)), now), "another address is not concerned");
    }

    #[test]
    fn a_prefix_of_64_bits_counts_as_one_address() {
        let (admission, now) = admission(HttpLimits::default());
        let host = |n: u16| admission.client(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, n, n, n).into());
        assert_eq!((0..50).filter(|n| admission.offer(host(*n), now)).count(), 8);
        let places: Vec<_> = (0..50).filter_map(|n| admission.connect_from(host(n))).collect();
        assert_eq!(places.len(), 8);
        let next = admission.client(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1).into());
        assert!(admission.offer(next, now));
    }

    #[test]
    fn mapped_addresses_count_as_what_they_are() {
        let (admission, now) = admission(HttpLimits::default());
        let host = |n: u8| admission.client(Ipv4Addr::new(192, 0, 2, n).to_ipv6_mapped().into());
        assert!((0..50).all(|n| admission.offer(host(n), now)), "50 addresses, not one /64");
        assert_eq!(host(7).address, IpAddr::from([192, 0, 2, 7]));
    }

    #[test]
    fn all_addresses_share_one_rate() {
        let (admission, now) = admission(HttpLimits::default());
        let admitted = |now| (0..5_000).filter(|n| admission.offer(admission.client(v4(*n)), now)).count();
        assert_eq!(admitted(now), 128);
        assert_eq!(admitted(now + Duration::from_secs(1)), 64);
    }

    #[test]
    fn an_address_over_its_rate_takes_nothing_from_the_others() {
        let (admission, now) = admission(HttpLimits::default());
        let greedy = admission.client(v4(1));
        assert_eq!((0..10_000).filter(|_| admission.offer(greedy, now)).count(), 8);
        let others = (2..500).filter(|n| admission.offer(admission.client(v4(*n)), now)).count();
        assert_eq!(others, 128 - 8);
    }

    #[test]
    fn the_table_of_addresses_is_bounded_and_forgets_the_idle_only() {
        let (admission, now) = admission(HttpLimits { offers: 1 << 30, offer_burst: 1 << 30, ..HttpLimits::default() });
        let last = u32::try_from(MAX_REMEMBERED).unwrap();
        assert!((0..last).all(|n| admission.offer(admission.client(v4(n)), now)));
        assert!(!admission.offer(admission.client(v4(last)), now), "none of them is idle");
        assert!(admission.offer(admission.client(v4(0)), now), "a known one is served");
        let later = now + Duration::from_millis(250);
        assert!(admission.offer(admission.client(v4(last)), later));
        let remembered = admission.state().buckets.len();
        assert_eq!(remembered, 2, "all but the newest and the one that offered twice were idle");
    }

    #[test]
    fn loopback_is_exempt_from_the_limits_of_an_address_only() {
        let (admission, now) = admission(HttpLimits::default());
        let local = admission.client(Ipv4Addr::LOCALHOST.into());
        assert_eq!((0..500).filter(|_| admission.offer(local, now)).count(), 128);
        let places: Vec<_> = (0..500).filter_map(|_| admission.connect_from(local)).collect();
        assert_eq!(places.len(), 500);
        let connections: Vec<_> = (0..500).filter_map(|_| admission.connect()).collect();
        assert_eq!(connections.len(), MAX_CONNECTIONS);
    }

    #[test]
    fn a_loopback_address_that_a_proxy_names_is_not_exempt() {
        let (admission, now) = admission(HttpLimits::default());
        let claimed = Client::forwarded(Ipv4Addr::LOCALHOST.into());
        assert_eq!((0..50).filter(|_| admission.offer(claimed, now)).count(), 8);
    }

    #[test]
    fn places_are_free_again_when_dropped() {
        let (admission, _) = admission(HttpLimits { max_connections: 2, ..HttpLimits::default() });
        let client = admission.client(v4(1));
        let held: Vec<_> = (0..8).map(|_| admission.connect_from(client).expect("a place")).collect();
        assert!(admission.connect_from(client).is_none());
        drop(held);
        assert!(admission.state().by_address.is_empty());
        let (one, two) = (admission.connect(), admission.connect());
        assert!(one.is_some() && two.is_some() && admission.connect().is_none());
        drop(one);
        assert!(admission.connect().is_some());
    }

    #[test]
    fn time_that_stands_still_or_runs_back_gives_no_tokens() {
        let (admission, now) = admission(HttpLimits::default());
        let client = admission.client(v4(1));
        assert_eq!((0..50).filter(|_| admission.offer(client, now + Duration::from_secs(5))).count(), 8);
        assert!(!admission.offer(client, now));
        assert!(!admission.offer(client, now + Duration::from_secs(5)));
    }
}
