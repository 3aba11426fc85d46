//! A node with a healthy peer, and a raw one that is to be thrown out while the healthy one notices nothing.

use mina_p2p::{CloseReason, Event, Limits};

use crate::common::{TestNode, block, connect, eventually, hash, round_trip, secret};
use crate::raw::{Raw, run};

pub(crate) struct Scene {
    pub(crate) node: TestNode,
    pub(crate) healthy: TestNode,
    tips: u8,
}

impl Scene {
    pub(crate) fn start(limits: Limits) -> Scene {
        let mut node = TestNode::with(1, |builder| builder.limits(limits));
        let mut healthy = TestNode::start(2);
        connect(&mut healthy, &mut node);
        Scene { node, healthy, tips: 0 }
    }

    /// A raw peer that the node knows of.
    pub(crate) async fn raw(&mut self, n: u8) -> Raw {
        let raw = Raw::connect(&secret(n), self.node.socket()).await;
        self.node.connected_to(raw.id);
        raw
    }

    /// Both ends give the same reason.
    pub(crate) async fn thrown_out(&mut self, raw: &Raw) -> CloseReason {
        let (theirs, ours) = (raw.closed().await, self.node.disconnected_from(raw.id));
        assert_eq!(theirs, ours);
        ours
    }

    /// The healthy peer is served as ever.
    pub(crate) fn healthy_is_served(&mut self) {
        self.tips += 1;
        let tip = block(hash(self.tips - 1), self.tips, 1_000);
        self.node.node.set_best_tip(hash(self.tips), tip.clone()).unwrap();
        assert!(self.healthy.tip() == tip);
        round_trip(&mut self.healthy, &mut self.node);
        let seen: Vec<_> = self
            .healthy
            .others()
            .filter(|event| !matches!(event, Event::Transaction { .. } | Event::Work { .. }))
            .collect();
        assert!(seen.is_empty(), "{seen:?}");
    }

    /// Nothing is left of the raw peers.
    pub(crate) fn nothing_leaked(&mut self) {
        let peers: Vec<_> = self.node.node.peers().into_iter().map(|figures| figures.peer).collect();
        assert_eq!(peers, [self.healthy.id()]);
        eventually("the whole frame budget", || {
            let budget = self.node.node.frame_budget();
            (budget.large_reserved, budget.large_waiting, budget.small_reserved, budget.storage) == (0, 0, 0, 0)
        });
    }
}

/// What a raw peer does breaks this rule: it is thrown out, told why, and nobody else notices.
pub(crate) fn breaks(rule: &str, act: impl AsyncFnOnce(&mut Raw, &mut TestNode)) {
    run(async {
        let mut scene = Scene::start(Limits::default());
        let mut raw = scene.raw(100).await;
        act(&mut raw, &mut scene.node).await;
        match scene.thrown_out(&raw).await {
            CloseReason::Violation(text) => assert!(text.contains(rule), "{text}"),
            other => panic!("{other}"),
        }
        // Events that came before may hold bytes until they are polled.
        while !scene.node.node.poll(16).is_empty() {}
        scene.healthy_is_served();
        scene.nothing_leaked();
    });
}

/// What a raw peer does is no reason to throw it out.
pub(crate) fn is_borne(act: impl AsyncFnOnce(&mut Raw, &mut TestNode)) {
    run(async {
        let mut scene = Scene::start(Limits::default());
        let mut raw = scene.raw(100).await;
        act(&mut raw, &mut scene.node).await;
        scene.healthy_is_served();
        assert!(raw.connection.close_reason().is_none());
        scene.node.figures(raw.id);
    });
}
