//! How many connections there may be: in all, inbound, and inbound by address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Refusal;

/// Limits on connections (docs/LIMITS.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Connections in all.
    pub peers: usize,
    /// Of these, made by peers. The rest is kept for our own dials: whoever fills our inbound slots cannot cut us off.
    pub inbound: usize,
    /// Inbound by IPv4 address, or IPv6 /64.
    pub inbound_per_address: usize,
    /// Inbound by IPv4 /24, or IPv6 /48.
    pub inbound_per_subnet: usize,
}

impl Default for SlotLimits {
    fn default() -> SlotLimits {
        SlotLimits { peers: 100, inbound: 64, inbound_per_address: 8, inbound_per_subnet: 32 }
    }
}

/// Addresses by which inbound connections are counted; loopback is not, so that test networks fit on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Groups {
    address: u64,
    subnet: u64,
    is_v6: bool,
}

fn groups(address: IpAddr) -> Option<Groups> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(v4) => {
            let bits = u64::from(v4.to_bits());
            Some(Groups { address: bits, subnet: bits >> 8, is_v6: false })
        }
        IpAddr::V6(v6) => {
            // The upper half of an IPv6 address is its /64; another 16 bits off is its /48.
            let network = v6.to_bits() >> 64;
            let network = u64::try_from(network).unwrap_or(u64::MAX);
            Some(Groups { address: network, subnet: network >> 16, is_v6: true })
        }
    }
}

type Count = BTreeMap<(bool, u64), usize>;

/// The inbound connections there are, counted by address.
#[derive(Debug)]
pub(super) struct Slots {
    limits: SlotLimits,
    inbound: usize,
    by_address: Count,
    by_subnet: Count,
}

impl Slots {
    pub(super) fn new(limits: SlotLimits) -> Slots {
        Slots { limits, inbound: 0, by_address: Count::new(), by_subnet: Count::new() }
    }

    /// Whether we may dial, with this many connections made or being made.
    pub(super) fn check_outbound(&self, connections: usize) -> Result<(), Refusal> {
        check("peers", connections, self.limits.peers)
    }

    /// Whether another inbound connection from this address may be made.
    pub(super) fn check_inbound(&self, remote: IpAddr, connections: usize) -> Result<(), Refusal> {
        check("peers", connections, self.limits.peers)?;
        check("inbound peers", self.inbound, self.limits.inbound)?;
        let Some(groups) = groups(remote) else { return Ok(()) };
        let taken = |count: &Count, group: u64| count.get(&(groups.is_v6, group)).copied().unwrap_or(0);
        check(
            "inbound peers of the address",
            taken(&self.by_address, groups.address),
            self.limits.inbound_per_address,
        )?;
        check("inbound peers of the subnet", taken(&self.by_subnet, groups.subnet), self.limits.inbound_per_subnet)
    }

    pub(super) fn take(&mut self, remote: IpAddr) {
        self.inbound += 1;
        if let Some(groups) = groups(remote) {
            *self.by_address.entry((groups.is_v6, groups.address)).or_default() += 1;
            *self.by_subnet.entry((groups.is_v6, groups.subnet)).or_default() += 1;
        }
    }

    pub(super) fn free(&mut self, remote: IpAddr) {
        self.inbound = self.inbound.saturating_sub(1);
        if let Some(groups) = groups(remote) {
            for (count, group) in [(&mut self.by_address, groups.address), (&mut self.by_subnet, groups.subnet)] {
                if let Some(taken) = count.get_mut(&(groups.is_v6, group)) {
                    *taken = taken.saturating_sub(1);
                    if *taken == 0 {
                        count.remove(&(groups.is_v6, group));
                    }
                }
            }
        }
    }
}

fn check(slot: &'static str, taken: usize, limit: usize) -> Result<(), Refusal> {
    if taken >= limit { Err(Refusal::Capacity { slot, taken, limit }) } else { Ok(()) }
}
