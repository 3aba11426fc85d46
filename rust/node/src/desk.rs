//! Judges the offers of WebRTC connections that come to a node.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mina_p2p_transport::webrtc::OfferDesk;
use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::Hello;
use mina_p2p_wire::signaling::RejectionReason;
use tracing::debug;

use crate::core::Core;
use crate::link::Link;

/// A peer that is not of our kind and has said something so lately is not answered when it offers another connection: it would
/// be refused when it has authenticated, and both ends would have worked for nothing. What a peer that lost its connection needs
/// to find out so is less (the existing node: 5 s).
const SPOKE_LATELY: Duration = Duration::from_secs(10);

/// Judges the offers that come to a node. What is refused here costs neither side more than the offer; whoever authenticates
/// later is judged by the router as every other.
pub(crate) struct Desk(pub(crate) Weak<Core>);

impl OfferDesk for Desk {
    fn judge(&self, peer: PeerId, from: Option<IpAddr>) -> Result<Hello, RejectionReason> {
        // The node is gone: there is no room for anybody.
        let core = self.0.upgrade().filter(|core| !core.is_closing()).ok_or(RejectionReason::PeerCapacityFull)?;
        // It is not accepted either while the user takes no events.
        let verdict =
            if core.events.has_room() { core.judge_offer(peer) } else { Err(RejectionReason::PeerCapacityFull) };
        match verdict {
            Ok(()) => Ok(core.hello()),
            Err(reason) => {
                // Strangers cause it: not for a log that is on by default.
                debug!(%peer, ?from, %reason, "offer refused");
                Err(reason)
            }
        }
    }
}

impl Core {
    /// Whether a connection of this peer could be kept, should it turn out to be that peer.
    fn judge_offer(&self, peer: PeerId) -> Result<(), RejectionReason> {
        let now = self.now();
        let mut state = self.state();
        state.crosses_dial(peer);
        // Banned, or no slot.
        if state.router.check_offer(now, peer).is_err() {
            return Err(RejectionReason::PeerCapacityFull);
        }
        if let Some(id) = state.router.connection(peer) {
            let lives = |link: &Arc<Link>| !link.ours && link.has_spoken_within(now, SPOKE_LATELY);
            let is_answered = !state.links.get(&id).is_some_and(lives);
            return if is_answered { Ok(()) } else { Err(RejectionReason::AlreadyConnected) };
        }
        Ok(())
    }
}
