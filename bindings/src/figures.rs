//! What is known of a connected peer: `Mina_p2p.Peer.t`.

use mina_p2p::{Channel, PeerFigures};

use crate::heap::Builder;
use crate::request::Seconds;
use crate::stub::{Fields, ToOcaml};

impl ToOcaml for Channel {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        builder.int(match self {
            Channel::SignalingDiscovery => 0,
            Channel::SignalingExchange => 1,
            Channel::BestTip => 2,
            Channel::Transaction => 3,
            Channel::Snark => 4,
            Channel::SnarkJobCommitment => 5,
            Channel::Rpc => 6,
            Channel::StreamingRpc => 7,
            Channel::ExtensionRpc => 8,
            Channel::CompactBlock => 9,
        });
    }
}

/// The fields are those of `Raw.peer`, in its order.
impl ToOcaml for PeerFigures {
    fn to_ocaml(self, builder: &mut Builder<'_>) {
        let session = self.session;
        let permits = session.permits_out;
        self.peer.to_ocaml(builder);
        self.address.to_ocaml(builder);
        self.direction.to_ocaml(builder);
        self.transport.to_ocaml(builder);
        self.agent.to_ocaml(builder);
        Seconds(self.connected_for).to_ocaml(builder);
        Seconds(self.rtt).to_ocaml(builder);
        for count in [
            self.wire.bytes_sent,
            self.wire.bytes_received,
            self.wire.datagrams_sent,
            self.wire.datagrams_received,
            self.wire.packets_lost,
            self.wire.congestion_window,
        ] {
            (count as usize).to_ocaml(builder);
        }
        session.last_tip.to_ocaml(builder);
        session.last_tip_sent.to_ocaml(builder);
        let [transactions, works, commitments] =
            [permits.transactions, permits.works, permits.commitments].map(usize::from);
        (permits.best_tip, permits.block, transactions, works, commitments).construct(0, builder);
        session.requests_in_flight.to_ocaml(builder);
        session.requests_waiting.to_ocaml(builder);
        session.requests_served.to_ocaml(builder);
        builder.list(session.channels, |builder, (channel, figures)| {
            channel.to_ocaml(builder);
            let counts = [figures.sent_messages, figures.sent_bytes, figures.received_messages, figures.received_bytes];
            let [a, b, c, d] = counts.map(|count| count as usize);
            (a, b, c, d).construct(0, builder);
            builder.block(0, 2);
        });
        builder.block(0, 20);
    }
}
