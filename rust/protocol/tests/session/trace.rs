//! The introduction that was seen among three existing nodes, with ours in place of the relay.

use std::collections::BTreeMap;

use bytes::Bytes;
use mina_p2p_protocol::router::{Admission, ConnectionId, IntroductionOutput, Router, RouterConfig, SlotLimits};
use mina_p2p_protocol::{Event, Introduction, SessionConfig, Time};
use mina_p2p_wire::message::{SignalingDiscoveryMessage as Discovery, SignalingExchangeMessage as Exchange};
use mina_p2p_wire::{Channel, Role};

use crate::lone::{Lone, Message, Peer, introducing};
use crate::things::key;

struct Relay {
    router: Router,
    links: BTreeMap<ConnectionId, Lone>,
}

impl Relay {
    fn new() -> Relay {
        let config = RouterConfig {
            own: key(0).peer_id(),
            slots: SlotLimits::default(),
            initial_peers: Vec::new(),
            relay: Default::default(),
            discover_peers: 50,
            take_offers: true,
            introduce: true,
            seed: 1,
        };
        Relay { router: Router::new(config, Time::ZERO), links: BTreeMap::new() }
    }

    /// An existing node connects.
    fn connect(&mut self, number: u64) -> ConnectionId {
        let peer = key(number).peer_id();
        let remote = "127.0.0.1:1".parse().unwrap();
        let Admission::Accept { id, .. } = self.router.incoming(Time::ZERO, peer, remote, false, false) else {
            panic!("it is not accepted");
        };
        let lone = Lone::with(Peer::Old, SessionConfig { peer, ..introducing(Peer::Old) });
        self.router.speaks_introductions(lone.now, id);
        self.links.insert(id, lone);
        self.settle();
        id
    }

    fn receive(&mut self, from: ConnectionId, message: impl Into<Message>) {
        self.links.get_mut(&from).unwrap().to(Role::Puller, 0, message).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            for (id, lone) in &mut self.links {
                for event in lone.take_events() {
                    if let Event::Introduction(what) = event {
                        self.router.introduction(lone.now, *id, what);
                    }
                }
            }
            match self.router.poll_introduction() {
                Some(IntroductionOutput::Order { to, order }) => {
                    let lone = self.links.get_mut(&to).unwrap();
                    lone.session.introduction(lone.now, order).unwrap();
                    lone.drain();
                }
                Some(output) => panic!("{output:?}"),
                None => return,
            }
        }
    }

    fn sent(&mut self, to: ConnectionId) -> (Vec<Discovery>, Vec<Exchange>) {
        let (mut discovery, mut exchange) = (Vec::new(), Vec::new());
        for sent in std::mem::take(&mut self.links.get_mut(&to).unwrap().transmits) {
            let body = sent.frame.into_bytes();
            match sent.stream.channel {
                Channel::SignalingDiscovery => discovery.push(Discovery::decode(body).unwrap().value),
                Channel::SignalingExchange => exchange.push(Exchange::decode(body).unwrap().value),
                _ => {}
            }
        }
        (discovery, exchange)
    }
}

#[test]
fn three_existing_nodes_are_introduced_as_they_introduce_themselves() {
    let (offer, answer) = (Bytes::from_static(&[108, 10, 173]), Bytes::from_static(&[106, 74, 77]));
    let mut relay = Relay::new();
    let (first, second) = (relay.connect(1), relay.connect(2));
    // Each of the existing nodes is a relay, a dialer and a target, as ours is.
    relay.receive(first, Discovery::GetNext);
    relay.receive(first, Exchange::GetNext);
    relay.receive(first, Discovery::Discover);
    relay.receive(second, Discovery::GetNext);
    relay.receive(second, Exchange::GetNext);
    relay.receive(first, Discovery::DiscoveredAccept(offer.clone()));
    relay.receive(second, Exchange::Answer(Some(answer.clone())));
    // The other wants to be introduced, too. The existing node proposes the first to it, which it refuses; ours does not.
    relay.receive(second, Discovery::Discover);
    // The other two propose themselves to each other and to us.
    relay.receive(second, Discovery::Discovered { target: key(1) });
    relay.receive(first, Discovery::Discovered { target: key(2) });

    let (discovery, exchange) = relay.sent(first);
    let expected = [
        Discovery::GetNext,
        Discovery::Discover,
        Discovery::Discovered { target: key(2) },
        Discovery::Answer(Some(answer)),
        Discovery::DiscoveredReject,
    ];
    assert_eq!(discovery, expected);
    assert_eq!(exchange, [Exchange::GetNext]);
    let (discovery, exchange) = relay.sent(second);
    assert_eq!(discovery, [Discovery::GetNext, Discovery::Discover, Discovery::DiscoveredReject]);
    assert_eq!(exchange, [Exchange::GetNext, Exchange::OfferToYou { offerer: key(1), offer }]);
}

#[test]
fn a_target_that_leaves_has_its_dialer_answered_with_nothing() {
    let mut relay = Relay::new();
    let (dialer, target) = (relay.connect(1), relay.connect(2));
    relay.receive(dialer, Discovery::Discover);
    relay.receive(target, Exchange::GetNext);
    relay.receive(dialer, Discovery::DiscoveredAccept(Bytes::from_static(b"offer")));
    let now = relay.links[&target].now;
    relay.links.remove(&target);
    relay.router.disconnected(now, key(2).peer_id(), target);
    relay.settle();
    assert_eq!(relay.sent(dialer).0.last(), Some(&Discovery::Answer(None)));
    // What comes of it now is nobody's.
    relay.router.introduction(now, target, Introduction::TargetAnswer { sealed: None });
    relay.settle();
}
