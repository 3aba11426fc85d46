//! What a session is told about its peer, and its limits.

use mina_p2p_wire::message::{
    Capabilities, MAX_BEST_TIP_WITH_PROOF_LEN, MAX_BLOCK_LEN, MAX_COMMITMENT_LEN, MAX_EXTENSION_BODY_LEN,
    MAX_LEDGER_ANSWER_LEN, MAX_SNARK_WORK_LEN, MAX_STAGED_LEDGER_LEN, MAX_STAGED_LEDGER_PART_LEN, MAX_TRANSACTION_LEN,
    RpcKind,
};
use mina_p2p_wire::{Channel, PeerId};

/// How a connection carries the two roles of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lanes {
    /// A stream has one role: its opener pulls, the other side serves; each request is a stream of its own (QUIC).
    PerRole,
    /// One stream a channel carries both roles, requests included (WebRTC). Its address is
    /// [`shared_stream`](crate::shared_stream); role and request of an address that comes in are not looked at.
    Shared,
}

/// A method that peers may call by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtensionService {
    /// The method, at most 64 bytes.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The longest argument to accept, in bytes. More than [`SessionLimits::extension_query`] never arrives.
    pub max_query: u32,
    /// What a call weighs against [`SessionLimits::request_rate`]; see [`RpcRequest` costs](crate::rpc_cost).
    pub cost: u32,
}

/// What a session is made with.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The authenticated peer.
    pub peer: PeerId,
    /// Whether it speaks mina-p2p. The existing Mina Rust node does not.
    pub ours: bool,
    /// What the peer announced; none for the existing node.
    pub capabilities: Capabilities,
    /// What we announced.
    pub own_capabilities: Capabilities,
    /// How the connection carries the two roles.
    pub lanes: Lanes,
    /// The limits.
    pub limits: SessionLimits,
    /// What the peer may call by name.
    pub extension_rpcs: Vec<ExtensionService>,
    /// Whether we introduce the peer to others, where channels 1 and 2 are spoken.
    pub introduce: bool,
    /// Whether we take offers that the peer relays, where channels 1 and 2 are spoken.
    pub take_offers: bool,
    /// Varies the short ids that this peer is sent. To be unpredictable, and another for each session.
    pub seed: u64,
}

/// What one peer may send, ask and make us hold. Sizes are in bytes. The defaults for what travels are the wire's own
/// limits, which say where they come from; larger ones do not fit the channels' frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// A block, as a tip or as an answer: [`MAX_BLOCK_LEN`], the network's 32 MiB.
    pub block: u32,
    /// The best tip with its proof: [`MAX_BEST_TIP_WITH_PROOF_LEN`], 4 MiB.
    pub best_tip_with_proof: u32,
    /// An answer about a ledger: [`MAX_LEDGER_ANSWER_LEN`], 1 MiB.
    pub ledger_answer: u32,
    /// A staged ledger, in one answer or in all parts together: [`MAX_STAGED_LEDGER_LEN`], 256 MiB.
    pub staged_ledger: u32,
    /// A completed work: [`MAX_SNARK_WORK_LEN`], 64 KiB.
    pub work: u32,
    /// A transaction: [`MAX_TRANSACTION_LEN`], 512 KiB.
    pub transaction: u32,
    /// Addresses of peers: 1,024 of the longest, 0.4 MiB.
    pub initial_peers: u32,
    /// One part of a staged ledger: [`MAX_STAGED_LEDGER_PART_LEN`], 16 MiB.
    pub staged_ledger_part: u32,
    /// The argument of a request by name: 1 MiB.
    pub extension_query: u32,
    /// The answer to a request by name: [`MAX_EXTENSION_BODY_LEN`], 32 MiB.
    pub extension_answer: u32,
    /// How many transactions, and how many works, one permit is for: 32, as the existing node's.
    pub pool_permit: u8,
    /// How many commitments one permit is for: 16, as the existing node's.
    pub commitment_permit: u8,
    /// Requests of ours that wait for their turn: 64, the bodies of a permit of transactions and one of works.
    pub requests_waiting: usize,
    /// Requests of the peer's taken up in a second, as a sum of costs: 200, that is 20 of those that cost 10
    /// ([`rpc_cost`](crate::rpc_cost)). What is above waits, nobody is punished.
    pub request_rate: u32,
    /// How much of that sum may come at once: 400, two seconds' worth.
    pub request_burst: u32,
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits {
            block: MAX_BLOCK_LEN as u32,
            best_tip_with_proof: MAX_BEST_TIP_WITH_PROOF_LEN as u32,
            ledger_answer: MAX_LEDGER_ANSWER_LEN as u32,
            staged_ledger: MAX_STAGED_LEDGER_LEN as u32,
            work: MAX_SNARK_WORK_LEN as u32,
            transaction: MAX_TRANSACTION_LEN as u32,
            initial_peers: RpcKind::InitialPeers.max_answer_len() as u32,
            staged_ledger_part: MAX_STAGED_LEDGER_PART_LEN as u32,
            extension_query: 1024 * 1024,
            extension_answer: MAX_EXTENSION_BODY_LEN as u32,
            pool_permit: 32,
            commitment_permit: 16,
            requests_waiting: 64,
            request_rate: 200,
            request_burst: 400,
        }
    }
}

/// What an output weighs beside its payload: the queue's own storage of it, and what small parts it has.
pub(crate) const OUTPUT_OVERHEAD: usize = 512;

impl SessionLimits {
    /// The longest best-tip frame: one byte of tag and a block, within the channel's own limit.
    pub(crate) fn tip_frame(&self) -> u32 {
        self.block.saturating_add(1).min(Channel::BestTip.max_frame_len())
    }

    /// The most that [`Session::buffered_bytes`](crate::Session::buffered_bytes) can answer when the outputs are
    /// drained after every input, in bytes:
    ///
    /// | what | how much |
    /// | --- | --- |
    /// | one received frame that has become an event, or one answer of ours | the largest of all limits |
    /// | our tip on its way out | a block |
    /// | pool items and permits on their way, in and out | 2 x (32 + 32 + 16 + 8), 692 bytes each |
    /// | our waiting requests | 64 arguments |
    /// | the peer's requests | 10 arguments (5, and as many that it may have cancelled), and 5 for staged ledgers |
    /// | a staged ledger being served in parts | its limit |
    /// | an offer that waits for the peer to read | a frame of channel 2, 16 KiB |
    ///
    /// With the defaults 0.6 GiB: two whole staged ledgers make up most of it; a node that refuses those, or bounds
    /// all large frames together as `mina-p2p` does, never comes near. Bytes shared with the pools or with the user
    /// count fully.
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let largest = [
            self.block,
            self.best_tip_with_proof,
            self.ledger_answer,
            self.staged_ledger,
            self.work,
            self.transaction,
            self.initial_peers,
            self.staged_ledger_part,
            self.extension_answer,
            self.extension_query,
        ]
        .into_iter()
        .max()
        .unwrap_or(0) as usize;
        let output = OUTPUT_OVERHEAD + MAX_COMMITMENT_LEN;
        let permits = 2 * (2 * usize::from(self.pool_permit) + usize::from(self.commitment_permit) + 8);
        let asked = self.requests_waiting * (self.extension_query as usize + OUTPUT_OVERHEAD);
        let open = crate::REQUEST_STREAMS_MAX + crate::STREAMED_OPEN_MAX;
        let served = open * (self.extension_query as usize + OUTPUT_OVERHEAD);
        largest
            .saturating_add(self.tip_frame() as usize)
            .saturating_add(permits * output)
            .saturating_add(asked)
            .saturating_add(served)
            .saturating_add(self.staged_ledger as usize)
            .saturating_add(Channel::SignalingExchange.max_frame_len() as usize + OUTPUT_OVERHEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_fit_the_channels_and_hold_what_they_say() {
        let limits = SessionLimits::default();
        assert_eq!(limits.tip_frame(), Channel::BestTip.max_frame_len());
        assert!(limits.block < Channel::Rpc.max_frame_len() && limits.staged_ledger < Channel::Rpc.max_frame_len());
        assert!(limits.staged_ledger_part < Channel::StreamingRpc.max_frame_len());
        assert!(limits.extension_query < limits.extension_answer);
        assert!(limits.extension_answer < Channel::ExtensionRpc.max_frame_len());
        let mib = limits.memory_bound() / (1024 * 1024);
        assert_eq!(mib, 623);
    }
}
