//! Who may tell of the next block, and whose news is looked at when there is room.

use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::BlockKey;

use crate::Time;
use crate::compact::News;
use crate::pools::Pools;
use crate::router::{ConnectionId, Dialer};

use super::{Relay, RelayOutput};

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: PeerId,
    pub(super) dialer: Dialer,
    /// The length that its permit is for, while one is out.
    pub(super) permit: Option<u32>,
    /// The block that its last permit was used for, until the verdict on it.
    pub(super) using: Option<BlockKey>,
    /// News that wait until fewer blocks are unjudged.
    pub(super) parked: Option<Parked>,
    /// How many blocks that it told of first came to nothing, since one was accepted.
    pub(super) failures: u32,
}

/// What a peer told of a block that is not looked at yet.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) first: News,
    /// That it has verified the body since.
    pub(super) more: Option<News>,
}

impl Relay {
    /// The verdict on a block is there: whoever told of it may tell of the next, and one that waited is looked at.
    pub(super) fn judged(&mut self, now: Time, key: &BlockKey, pools: &mut Pools) {
        let users: Vec<ConnectionId> =
            self.conns.iter().filter(|(_, conn)| conn.using.as_ref() == Some(key)).map(|(id, _)| *id).collect();
        users.into_iter().for_each(|id| self.free(id, key));
        self.unpark(now, pools);
    }

    /// Looks at the news that waited, as far as there is room.
    pub(super) fn unpark(&mut self, now: Time, pools: &mut Pools) {
        while self.has_room() {
            let parked = self.conns.iter().filter(|(_, conn)| conn.parked.is_some());
            let rank = |conn: &Conn| (conn.dialer == Dialer::Peer, conn.failures);
            let Some((&id, _)) = parked.min_by_key(|(id, conn)| (rank(conn), **id)) else { return };
            let Some(parked) = self.conns.get_mut(&id).and_then(|conn| conn.parked.take()) else { return };
            // The permit is accounted for: it was used when the news came.
            self.news(now, id, parked.first, true, pools);
            if let Some(more) = parked.more {
                self.news(now, id, more, false, pools);
            }
        }
    }

    /// Others that wait with news of a block that is looked at now.
    pub(super) fn unpark_same(&mut self, now: Time, key: BlockKey, pools: &mut Pools) {
        let same = |conn: &Conn| conn.parked.as_ref().is_some_and(|parked| parked.first.key() == key);
        let ids: Vec<ConnectionId> = self.conns.iter().filter(|(_, conn)| same(conn)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(parked) = self.conns.get_mut(&id).and_then(|conn| conn.parked.take()) else { continue };
            for news in [Some(parked.first), parked.more].into_iter().flatten() {
                self.take(now, id, news, pools);
            }
        }
    }

    /// A peer's permit is used up and its block judged: it gets the next.
    pub(super) fn free(&mut self, id: ConnectionId, key: &BlockKey) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.using.as_ref() == Some(key) {
            conn.using = None;
            self.permit(id);
        }
    }

    pub(super) fn permit(&mut self, id: ConnectionId) {
        let max_len = if self.direct.has(id) { self.config.direct_len } else { 0 };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.using.is_none() && conn.permit != Some(max_len) {
            let output = match conn.permit.replace(max_len) {
                None => RelayOutput::Permit { to: id, max_len },
                Some(_) => RelayOutput::Change { to: id, max_len },
            };
            self.outputs.push_back(output);
        }
    }

    pub(super) fn choose_direct(&mut self) {
        let candidates = self.conns.iter().map(|(id, conn)| (*id, conn.peer, conn.dialer == Dialer::Us));
        for changed in self.direct.choose(self.config.direct_peers, candidates) {
            // Where a permit is out, it is changed; where none is, the next one will be of the right length.
            if self.conns.get(&changed).is_some_and(|conn| conn.permit.is_some()) {
                self.permit(changed);
            }
        }
    }
}
