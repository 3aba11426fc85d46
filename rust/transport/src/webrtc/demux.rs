//! Which connection a datagram of a shared socket belongs to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::limits::{MAX_ADDRESSES, MAX_DATAGRAM};
use super::mailbox::{Datagram, Mailbox};
use crate::udp::{DatagramSink, StunQueries, stun};

/// The connections of one socket.
///
/// A STUN request names its connection by our ICE user name in it. Everything else goes by the address that it came from:
///
/// - An address has an owner: the newest connection that got an answer from there to one of its own checks. Others
///   may lie about where they are, but cannot answer a check that went elsewhere; so nobody takes an address from its owner.
/// - Answers to checks go to every connection that sends checks there. Each knows its own by their transaction ids.
/// - What comes from an address without an owner goes to those too: the peer may have finished its checks just before us.
#[derive(Default)]
pub(super) struct Demux {
    table: Mutex<Table>,
    /// Questions to STUN servers, which concern no connection.
    pub(super) queries: StunQueries,
}

#[derive(Default)]
struct Table {
    by_user: HashMap<String, Inbox>,
    owners: HashMap<SocketAddr, Inbox>,
    checked: HashMap<SocketAddr, Vec<Inbox>>,
    next: u64,
}

/// Where a connection's datagrams go.
#[derive(Clone)]
struct Inbox {
    number: u64,
    datagrams: Mailbox,
}

impl Inbox {
    fn put(&self, from: SocketAddr, local: Option<IpAddr>, data: Bytes) {
        self.datagrams.put(Datagram { from, local, data });
    }
}

/// A connection's place on a socket; given up when dropped.
pub(super) struct Registration {
    demux: Arc<Demux>,
    user: String,
    inbox: Inbox,
    addresses: Vec<SocketAddr>,
}

impl Demux {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the connection with this ICE user name of ours.
    pub(super) fn register(self: &Arc<Self>, user: String, datagrams: Mailbox) -> Registration {
        let mut table = self.table();
        let inbox = Inbox { number: table.next, datagrams };
        table.next += 1;
        table.by_user.insert(user.clone(), inbox.clone());
        drop(table);
        Registration { demux: self.clone(), user, inbox, addresses: Vec::new() }
    }
}

impl DatagramSink for Demux {
    fn datagram(&self, from: SocketAddr, local: Option<IpAddr>, data: Bytes) {
        if data.len() > MAX_DATAGRAM {
            return;
        }
        let is_stun = stun::is_stun(&data);
        if is_stun && stun::is_request(&data) {
            let inbox = stun::username_local_ufrag(&data).and_then(|user| self.table().by_user.get(user).cloned());
            if let Some(inbox) = inbox {
                inbox.put(from, local, data);
            }
            return;
        }
        if is_stun && self.queries.answer(from, &data) {
            return;
        }
        let table = self.table();
        match table.owners.get(&from) {
            Some(owner) if !is_stun => owner.put(from, local, data),
            _ => {
                for inbox in table.checked.get(&from).into_iter().flatten() {
                    inbox.put(from, local, data.clone());
                }
            }
        }
    }
}

impl Registration {
    /// Whether the connection listens to `address`: not when it has had to do with too many others.
    pub(super) fn hears(&self, address: SocketAddr) -> bool {
        self.addresses.len() < MAX_ADDRESSES || self.addresses.contains(&address)
    }

    /// The connection sends something to `address`. False when it has sent to too many already, and shall not.
    pub(super) fn sends_to(&mut self, address: SocketAddr) -> bool {
        if self.addresses.contains(&address) {
            return true;
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            return false;
        }
        self.addresses.push(address);
        self.demux.table().checked.entry(address).or_default().push(self.inbox.clone());
        true
    }

    /// The peer answered a check that went to `address`: it is there. An older connection, whose checks go on as long as it
    /// lives, does not take the address back.
    pub(super) fn owns(&self, address: SocketAddr) {
        let mut table = self.demux.table();
        let has_newer = table.owners.get(&address).is_some_and(|owner| owner.number > self.inbox.number);
        if !has_newer && self.addresses.contains(&address) {
            table.owners.insert(address, self.inbox.clone());
        }
    }

    /// The connection ends. It still hears what nobody else owns, and the peer may connect anew from where it is.
    pub(super) fn disowns(&self) {
        let mut table = self.demux.table();
        for address in &self.addresses {
            if table.owners.get(address).is_some_and(|owner| owner.number == self.inbox.number) {
                table.owners.remove(address);
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.demux.table();
        let ours = |inbox: &Inbox| inbox.number == self.inbox.number;
        if table.by_user.get(&self.user).is_some_and(ours) {
            table.by_user.remove(&self.user);
        }
        for address in &self.addresses {
            if table.owners.get(address).is_some_and(ours) {
                table.owners.remove(address);
            }
            if let Some(inboxes) = table.checked.get_mut(address) {
                inboxes.retain(|inbox| !ours(inbox));
                if inboxes.is_empty() {
                    table.checked.remove(address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::{Datagrams, mailbox};
    use super::*;

    fn one(demux: &Arc<Demux>, address: SocketAddr) -> (Registration, Datagrams) {
        let (sender, receiver) = mailbox();
        let number = demux.table().next;
        let mut registration = demux.register(number.to_string(), sender);
        assert!(registration.sends_to(address));
        (registration, receiver)
    }

    /// Who of these gets a DTLS datagram from there.
    fn heard(demux: &Demux, from: SocketAddr, receivers: &mut [&mut Datagrams]) -> Vec<bool> {
        demux.datagram(from, None, Bytes::from_static(&[23, 1]));
        receivers.iter_mut().map(|receiver| receiver.next_now().is_some()).collect()
    }

    #[test]
    fn an_address_without_an_owner_is_heard_by_all_who_check_it() {
        let demux = Arc::new(Demux::default());
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let (one, mut of_one) = one(&demux, from);
        let (other, mut of_other) = self::one(&demux, from);
        assert_eq!(heard(&demux, from, &mut [&mut of_one, &mut of_other]), [true; 2]);
        one.owns(from);
        assert_eq!(heard(&demux, from, &mut [&mut of_one, &mut of_other]), [true, false]);
        other.owns(from);
        one.owns(from);
        assert_eq!(heard(&demux, from, &mut [&mut of_one, &mut of_other]), [false, true]);
        drop(other);
        assert_eq!(heard(&demux, from, &mut [&mut of_one]), [true]);
        drop(one);
        let table = demux.table();
        assert!(table.by_user.is_empty() && table.owners.is_empty() && table.checked.is_empty());
    }

    #[test]
    fn a_connection_that_ends_leaves_its_address_to_the_next_one() {
        let demux = Arc::new(Demux::default());
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let (old, mut of_old) = one(&demux, from);
        old.owns(from);
        let (_new, mut of_new) = one(&demux, from);
        assert_eq!(heard(&demux, from, &mut [&mut of_old, &mut of_new]), [true, false]);
        old.disowns();
        assert_eq!(heard(&demux, from, &mut [&mut of_old, &mut of_new]), [true, true]);
    }

    #[test]
    fn addresses_have_a_limit() {
        let demux = Arc::new(Demux::default());
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (mut registration, _receiver) = one(&demux, at(1));
        let last = u16::try_from(MAX_ADDRESSES).unwrap();
        assert!((2..=last).all(|port| registration.hears(at(port)) && registration.sends_to(at(port))));
        assert!(!registration.hears(at(last + 1)) && !registration.sends_to(at(last + 1)));
        assert!(registration.hears(at(1)) && registration.sends_to(at(last)));
    }
}
