//! What is known of one block on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mina_p2p_block::{BodyChunks, Header, KnownBlock, Rebuild};
use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::{BlockKey, ItemsRoot, StateHash};

use crate::Time;
use crate::router::ConnectionId;

use super::{BODY_TIMEOUT, HowItCame, UNJUDGED_BYTES, VERDICT_TIMEOUT, Via};

/// After how long all are asked again who did not have a body when they were asked: they may be about to verify it.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    Accepted,
}

/// A peer that told of the block.
#[derive(Debug, Default)]
pub(super) struct Holder {
    /// The items root that it told: it has verified the body.
    pub(super) root: Option<ItemsRoot>,
}

/// How the body is got.
#[derive(Debug)]
pub(super) enum Body {
    /// Nobody has told how yet.
    Waiting,
    /// From a list, of this peer's.
    Rebuilding { from: ConnectionId, rebuild: Box<Rebuild> },
    /// By chunks.
    Chunks(Box<BodyChunks>),
    /// Whole, by RPC.
    Whole,
    /// The header commits to none. It still waits for the verdict, so that such headers come no faster than others.
    None,
    /// It is here.
    Verified { known: Arc<KnownBlock>, lacked: Arc<[u32]> },
}

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: BlockKey,
    pub(super) conn: ConnectionId,
    pub(super) what: What,
    /// When another peer is asked besides.
    pub(super) slow_at: Time,
    pub(super) slow: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Header and list.
    Header,
    /// The list alone.
    List,
    Items {
        root: ItemsRoot,
        places: Vec<u32>,
        /// The most bytes of the answer.
        max_answer: usize,
    },
    Ids {
        root: ItemsRoot,
    },
    Chunk(u32),
    Whole,
}

/// What a peer is not asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tried {
    Header,
    List,
    Items,
    Ids,
    Chunks,
    Whole,
}

impl Tried {
    /// Whether it is about what one list needs.
    pub(super) fn is_of_list(self) -> bool {
        matches!(self, Tried::Items | Tried::Ids)
    }
}

impl What {
    pub(super) fn tried(&self) -> Tried {
        match self {
            What::Header => Tried::Header,
            What::List => Tried::List,
            What::Items { .. } => Tried::Items,
            What::Ids { .. } => Tried::Ids,
            What::Chunk(_) => Tried::Chunks,
            What::Whole => Tried::Whole,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tracked {
    /// When it was first told of.
    pub(super) since: Time,
    pub(super) header: Option<(Bytes, Header)>,
    /// Who told of it first, or gave the header.
    pub(super) first: ConnectionId,
    pub(super) first_peer: PeerId,
    /// When the user was last told of it.
    pub(super) told: Option<Time>,
    pub(super) verdict: Verdict,
    /// What our user says.
    pub(super) state_hash: Option<StateHash>,
    /// What a peer claims: good enough to ask for a block that is checked, never to be told on.
    pub(super) claimed_hash: Option<StateHash>,
    pub(super) holders: BTreeMap<ConnectionId, Holder>,
    pub(super) body: Body,
    pub(super) tried: BTreeSet<(Tried, ConnectionId)>,
    /// Lists that were of no use, by their root.
    pub(super) spent: BTreeSet<ItemsRoot>,
    /// A list was false or of no use: others are not waited for.
    pub(super) misled: bool,
    /// When all are asked again.
    pub(super) retry_at: Option<Time>,
    /// The job that is being run.
    pub(super) working: Option<u64>,
    pub(super) received: usize,
    pub(super) round_trips: u32,
    pub(super) lacked: BTreeSet<u32>,
}

impl Tracked {
    pub(super) fn new(now: Time, first: ConnectionId, first_peer: PeerId) -> Tracked {
        Tracked {
            since: now,
            header: None,
            first,
            first_peer,
            told: None,
            verdict: Verdict::Open,
            state_hash: None,
            claimed_hash: None,
            holders: BTreeMap::new(),
            body: Body::Waiting,
            tried: BTreeSet::new(),
            spent: BTreeSet::new(),
            misled: false,
            retry_at: None,
            working: None,
            received: 0,
            round_trips: 0,
            lacked: BTreeSet::new(),
        }
    }

    /// A peer tells of the block: with a root, if it has verified the body.
    pub(super) fn holds(&mut self, conn: ConnectionId, root: Option<ItemsRoot>) {
        let holder = self.holders.entry(conn).or_default();
        if let Some(root) = root
            && holder.root.replace(root) != Some(root)
        {
            // Others did not give what a list with this root needs. This one may.
            self.spent.remove(&root);
        }
    }

    /// A state hash to ask for the block by.
    pub(super) fn any_hash(&self) -> Option<StateHash> {
        self.state_hash.or(self.claimed_hash)
    }

    /// Whether no way to the body has led anywhere yet.
    pub(super) fn has_no_way(&self) -> bool {
        match &self.body {
            Body::Waiting | Body::Whole => true,
            Body::Chunks(chunks) => chunks.body_len().is_none(),
            Body::Rebuilding { .. } | Body::None | Body::Verified { .. } => false,
        }
    }

    /// Whether what is still to be done for it waits for the user's verdict, since it would take too much for a header that
    /// anybody could have made.
    pub(super) fn waits_for_verdict(&self) -> bool {
        let len = match &self.body {
            Body::Rebuilding { rebuild, .. } => rebuild.block_len(),
            Body::Chunks(chunks) => chunks.body_len().unwrap_or(0),
            Body::Waiting | Body::None | Body::Verified { .. } => 0,
            // Of any length.
            Body::Whole => usize::MAX,
        };
        self.verdict == Verdict::Open && (self.received > UNJUDGED_BYTES || len > UNJUDGED_BYTES)
    }

    pub(super) fn wants_body(&self) -> bool {
        !matches!(self.body, Body::None | Body::Verified { .. })
    }

    /// Since when the user has been asked for a verdict.
    pub(super) fn unjudged_since(&self) -> Option<Time> {
        self.told.filter(|_| self.verdict == Verdict::Open)
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        let verdict = self.unjudged_since().map(|since| since + VERDICT_TIMEOUT);
        let body = self.wants_body().then_some(self.since + BODY_TIMEOUT);
        verdict.into_iter().chain(body).chain(self.retry_at).min()
    }

    /// All may be asked again, if it is time.
    pub(super) fn retry(&mut self, now: Time) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.tried.clear();
            if matches!(self.body, Body::Whole) {
                self.body = Body::Waiting;
            }
        }
    }

    /// Nobody is left to be asked: all are, after a while.
    pub(super) fn wait(&mut self, now: Time) {
        self.retry_at.get_or_insert(now + RETRY_AFTER);
    }

    /// How its body came, which has so many items.
    pub(super) fn how(&self, items: usize) -> HowItCame {
        let (via, stats) = match &self.body {
            Body::Rebuilding { rebuild, .. } => (Via::List, rebuild.stats()),
            Body::Chunks(_) => (Via::Chunks, Default::default()),
            Body::Waiting | Body::Whole | Body::None | Body::Verified { .. } => (Via::Whole, Default::default()),
        };
        HowItCame {
            via,
            received: self.received,
            items,
            hits: stats.hits,
            prefilled: stats.prefilled,
            fetched: stats.fetched,
            round_trips: self.round_trips,
        }
    }

    /// The places that our pools lacked.
    pub(super) fn lacked(&self) -> Vec<u32> {
        self.lacked.iter().copied().collect()
    }
}
