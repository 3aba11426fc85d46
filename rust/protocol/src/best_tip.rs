//! Best tips (channel 3).
//!
//! | half | state | who may speak | what | goes to |
//! | --- | --- | --- | --- | --- |
//! | we pull | `Free` | we | `GetNext` | `Permitted` |
//! | | `Permitted` | the peer | `BestTip`, a block at most | `Processing` |
//! | | `Processing` | nobody | our user takes the tip | `Free` |
//! | we serve | `Waiting` | the peer | `GetNext`, at most 11 bytes | `Requested` |
//! | | `Requested` | we | `BestTip`, once ours is another than the last sent | `Waiting` |
//!
//! There is no queue: a peer that takes its time gets the newest tip next, and misses those between. A permit may stay
//! out for ever, so no state has a time limit.
//!
//! A tip that can travel compactly is not sent here to a peer that speaks compact blocks (channel 17).
//!
//! A tip that the peer sent us, since we last sent it one, is not sent back, unless that peer goes by tips to serve its pools, as the
//! existing node does: it has to learn that ours is the same.

use std::collections::VecDeque;

use bytes::Bytes;
use mina_p2p_block::block_key;
use mina_p2p_wire::message::{BestTipMessage, BlockKey, StateHash, previous_state_hash};
use mina_p2p_wire::{Channel, Role, StreamId};

use crate::compact::is_compactable;
use crate::config::SessionLimits;
use crate::lane::{Allowed, CONTROL_LEN_MAX, Terms};
use crate::output::{Event, Outbox};
use crate::pools::{Pools, Tip};
use crate::violation::Rule;

#[derive(Debug, PartialEq, Eq)]
enum Pull {
    Free,
    Permitted,
    Processing,
}

#[derive(Debug, PartialEq, Eq)]
enum Serve {
    Waiting,
    Requested,
}

/// The last tip that the peer sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerTip {
    pub(crate) key: BlockKey,
    previous_state_hash: StateHash,
}

impl PeerTip {
    /// Whether the peer's tip is ours or its child: the rule by which the existing node serves its pools.
    pub(crate) fn is_near(&self, tip: &Tip) -> bool {
        self.key == tip.key || self.previous_state_hash == tip.state_hash
    }
}

/// Both halves of the channel.
#[derive(Debug)]
pub(crate) struct BestTip {
    terms: Terms,
    /// The peer takes compact blocks.
    compact: bool,
    frame_max: u32,
    pull: Pull,
    serve: Serve,
    pub(crate) received: Option<PeerTip>,
    pub(crate) sent: Option<BlockKey>,
    /// The tips that came since the last that we sent: the peer knows them, and the user may make any of them ours.
    known: VecDeque<BlockKey>,
}

/// How many of the peer's tips are remembered so. It sends the next when the user has taken the last, so that more
/// than one or two are rarely between a tip and the user's making it ours.
const KNOWN_MAX: usize = 8;

impl BestTip {
    pub(crate) fn new(terms: Terms, compact: bool, limits: &SessionLimits) -> BestTip {
        BestTip {
            terms,
            compact,
            frame_max: limits.tip_frame(),
            pull: Pull::Free,
            serve: Serve::Waiting,
            received: None,
            sent: None,
            known: VecDeque::new(),
        }
    }

    pub(crate) fn allowed(&self, stream: StreamId) -> Allowed {
        let pull = match self.pull {
            Pull::Permitted => Ok(self.frame_max),
            Pull::Free | Pull::Processing => Err(Rule::TipWithoutPermit),
        };
        let serve = match self.serve {
            Serve::Waiting => Ok(CONTROL_LEN_MAX),
            Serve::Requested => Err(Rule::PermitRepeated),
        };
        self.terms.allowed(stream, pull, serve)
    }

    pub(crate) fn handle(&mut self, stream: StreamId, body: Bytes, out: &mut Outbox) -> Result<(), Rule> {
        match self.terms.read(body, BestTipMessage::decode)? {
            BestTipMessage::GetNext => {
                self.terms.check_role(stream, Role::Server)?;
                if self.serve != Serve::Waiting {
                    return Err(Rule::PermitRepeated);
                }
                self.serve = Serve::Requested;
            }
            BestTipMessage::BestTip(block) => {
                self.terms.check_role(stream, Role::Puller)?;
                if self.pull != Pull::Permitted {
                    return Err(Rule::TipWithoutPermit);
                }
                let previous_state_hash = previous_state_hash(&block).map_err(Rule::Malformed)?;
                let key = block_key(&block);
                self.pull = Pull::Processing;
                self.received = Some(PeerTip { key, previous_state_hash });
                if self.known.len() >= KNOWN_MAX {
                    self.known.pop_front();
                }
                self.known.push_back(key);
                out.event(Event::BestTip { block, key, previous_state_hash });
            }
        }
        Ok(())
    }

    pub(crate) fn processed(&mut self) {
        if self.pull == Pull::Processing {
            self.pull = Pull::Free;
        }
    }

    pub(crate) fn permit(&mut self, out: &mut Outbox) {
        if self.pull == Pull::Free {
            self.pull = Pull::Permitted;
            let stream = self.terms.stream(Channel::BestTip, Role::Puller, 0);
            out.transmit(stream, BestTipMessage::GetNext.encode(), false);
        }
    }

    pub(crate) fn serve(&mut self, pools: &Pools, out: &mut Outbox) {
        let (Serve::Requested, Some(tip)) = (&self.serve, &pools.tip) else { return };
        let is_known = !self.terms.gated && self.known.contains(&tip.key);
        let travels_compactly = self.compact && tip.known.as_ref().is_some_and(|known| is_compactable(known));
        if self.sent == Some(tip.key) || is_known || travels_compactly {
            return;
        }
        self.serve = Serve::Waiting;
        self.sent = Some(tip.key);
        self.known.clear();
        let stream = self.terms.stream(Channel::BestTip, Role::Server, 0);
        out.transmit(stream, BestTipMessage::BestTip(tip.block.clone()).encode(), false);
    }

    pub(crate) fn permit_out(&self) -> bool {
        self.pull == Pull::Permitted
    }
}
