//! Executes what the router decides of introductions through relays.

use std::sync::Arc;

use bytes::Bytes;
use mina_p2p_protocol::router::{DialId, IntroductionOutput};
use mina_p2p_protocol::{Introduction, IntroductionOrder};
use mina_p2p_transport::Connection;
use mina_p2p_wire::{Address, PublicKey, Signaling};
use tokio::sync::oneshot;
use tracing::{Span, debug};

use crate::core::{Core, State};
use crate::event::DialError;
use crate::link::{Link, Order};
use crate::peering::{self, ended};

impl Core {
    /// A peer's session tells of an introduction.
    pub(crate) fn introduction(self: &Arc<Core>, link: &Link, introduction: Introduction) {
        let mut state = self.state();
        state.router.introduction(self.now(), link.id, introduction);
        self.introductions(&mut state);
    }

    /// A session did not do what the router ordered.
    pub(crate) fn introduction_refused(self: &Arc<Core>, link: &Link, order: &IntroductionOrder) {
        let mut state = self.state();
        state.router.introduction_refused(self.now(), link.id, order);
        self.introductions(&mut state);
    }

    /// Executes what the router wants done. Orders to connections are queued under the lock, so that they arrive in the order
    /// in which they were given; nothing here waits.
    pub(crate) fn introductions(self: &Arc<Core>, state: &mut State) {
        while let Some(output) = state.router.poll_introduction() {
            match output {
                IntroductionOutput::Order { to, order } => {
                    // The router hears of the end of a connection that has gone.
                    if let Some(link) = state.links.get(&to) {
                        link.order(Order::Introduction(Box::new(order)));
                    }
                }
                IntroductionOutput::MakeOffer { dial, relay, target } => {
                    let given_up = state.dial_began(dial);
                    let relay = state.links.get(&relay).cloned();
                    self.make_offer(dial, relay, target, given_up);
                }
                IntroductionOutput::Answered { dial, sealed } => {
                    if let Some(answered) = state.offers.remove(&dial) {
                        // Who waited for it may have ended.
                        let _ = answered.send(sealed);
                    }
                }
                IntroductionOutput::GiveUp { dial } => state.give_up(dial),
                IntroductionOutput::TakeOffer { relay, offerer, sealed } => {
                    if let Some(relay) = state.links.get(&relay) {
                        self.take_offer(relay, offerer, sealed);
                    }
                }
            }
        }
        self.introductions_changed.notify_one();
    }

    fn make_offer(
        self: &Arc<Core>,
        dial: DialId,
        relay: Option<Arc<Link>>,
        target: PublicKey,
        given_up: oneshot::Receiver<()>,
    ) {
        let core = Arc::clone(self);
        let relay_is_local = relay.as_ref().is_some_and(|relay| relay.is_local());
        let relay = relay.map_or(self.own, |relay| relay.peer);
        self.spawn(Span::none(), async move {
            let peer = target.peer_id();
            let connected = tokio::select! {
                connected = offer(&core, dial, target, relay_is_local) => connected,
                // The peer's own connection is kept instead.
                () = ended(given_up) => Ok(None),
            };
            let reason = match connected {
                Ok(Some(connection)) => {
                    let signaling = Signaling::Relay { peer_id: relay };
                    let address = Address::WebRtc { peer_id: peer, signaling };
                    peering::dial_authenticated(&core, dial, connection, &address).err()
                }
                failed => {
                    peering::dial_failed(&core, dial, Some(peer));
                    failed.err()
                }
            };
            // Nobody has asked for it, so only the log tells.
            if let Some(reason) = reason {
                debug!(%peer, %reason, "an introduction came to nothing");
            }
        });
    }

    /// Answers an offer that a relay handed over. At most one of each relay is under way.
    fn take_offer(self: &Arc<Core>, relay: &Arc<Link>, offerer: PublicKey, sealed: Bytes) {
        let relay = Arc::clone(relay);
        let core = Arc::clone(self);
        self.spawn(Span::none(), async move {
            let sealed = answer(&core, offerer, sealed, relay.is_local()).await;
            relay.order(Order::Introduction(Box::new(IntroductionOrder::AnswerOffer { sealed })));
        });
    }
}

/// The answer to an offer that a relay handed over.
#[cfg(feature = "webrtc")]
async fn answer(core: &Core, offerer: PublicKey, sealed: Bytes, relay_is_local: bool) -> Option<Bytes> {
    let webrtc = core.transports.webrtc.as_ref()?;
    webrtc.answer_through_relay(offerer, sealed, relay_is_local).await
}

#[cfg(not(feature = "webrtc"))]
async fn answer(_: &Core, _: PublicKey, _: Bytes, _relay_is_local: bool) -> Option<Bytes> {
    None
}

#[cfg(not(feature = "webrtc"))]
async fn offer(
    _: &Arc<Core>,
    _: DialId,
    _: PublicKey,
    _relay_is_local: bool,
) -> Result<Option<Arc<dyn Connection>>, DialError> {
    Err(DialError::NoTransport)
}

/// Makes an offer, has the relay carry it, and goes on with what comes back. Nothing, if the relay brings nothing.
#[cfg(feature = "webrtc")]
async fn offer(
    core: &Arc<Core>,
    dial: DialId,
    target: PublicKey,
    relay_is_local: bool,
) -> Result<Option<Arc<dyn Connection>>, DialError> {
    let webrtc = core.transports.webrtc.as_ref().ok_or(DialError::NoTransport)?;
    if !core.events.has_room() {
        // As nobody is dialed then: whom relays name could come and go without end.
        return Ok(None);
    }
    let (sealed, offer) = webrtc.offer_through_relay(target, &core.hello(), relay_is_local).await?;
    let answer = {
        let mut state = core.state();
        let (answered, answer) = oneshot::channel();
        state.offers.insert(dial, answered);
        state.router.offer_made(dial, sealed);
        core.introductions(&mut state);
        answer
    };
    // Without an answer the endpoint ends the attempt.
    let sealed = answer.await.unwrap_or(None);
    if sealed.is_none() {
        return Ok(None);
    }
    Ok(Some(offer.answered(sealed).await?))
}

/// Keeps the time of introductions.
pub(crate) async fn keep_introducing(core: Arc<Core>) {
    loop {
        let next = core.state().router.next_introduction_at().map(|at| core.instant(at));
        tokio::select! {
            () = core.introductions_changed.notified() => continue,
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
        let mut state = core.state();
        state.router.introductions_due(core.now());
        core.introductions(&mut state);
    }
}

#[cfg(test)]
#[cfg(feature = "webrtc")]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;
    use std::time::{Duration, Instant};

    use mina_p2p_transport::TransportKind;
    use mina_p2p_wire::{ChainId, Channel, SecretKey};

    use crate::{Builder, EVENTS_PAUSE, Event, Node};

    /// Fails a test that hangs; nothing is measured by it.
    const WATCHDOG: Duration = Duration::from_secs(30);

    fn node(n: u8, configure: impl FnOnce(Builder) -> Builder) -> Node {
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let builder = Node::builder(SecretKey::from_bytes([n; 32]), ChainId([7; 32]));
        let builder = builder.transports(&[TransportKind::WebRtc]).signaling(loopback).listen(loopback);
        configure(builder).start().unwrap()
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + WATCHDOG;
        while !is_so() {
            assert!(Instant::now() < deadline, "never came: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_node_whose_user_takes_no_events_dials_nobody_whom_a_relay_names() {
        let relay = node(1, |builder| builder.take_offers(false));
        let dialer = node(2, |builder| builder.discover_peers(2));
        let target = node(3, |builder| builder);
        dialer.dial(&relay.listen_addresses()[0]).unwrap();
        eventually("the dialer", || relay.peers().len() == 1);
        for n in 0..EVENTS_PAUSE {
            dialer.core().events.push_event(Event::TaskFailed { message: n.to_string() });
        }
        target.dial(&relay.listen_addresses()[0]).unwrap();
        eventually("the end of an introduction", || relay.core().state().router.next_introduction_at().is_some());
        for peer in relay.peers() {
            let exchange = |(channel, _): &&(Channel, _)| *channel == Channel::SignalingExchange;
            let offers = peer.session.channels.iter().find(exchange).map_or(0, |(_, traffic)| traffic.sent_messages);
            assert_eq!(offers, 0, "no offer was handed over");
        }
    }
}
