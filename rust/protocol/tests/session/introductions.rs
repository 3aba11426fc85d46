//! Channels 1 and 2: every step of an introduction, who may take it when, and what ends it.

use std::time::Duration;

use bytes::Bytes;
use mina_p2p_protocol::{
    ASK_AGAIN_AFTER, Event, INTRODUCTION_TIMEOUT, INTRODUCTIONS_APART, Introduction, IntroductionError,
    IntroductionOrder, Lanes, OWN_SIGNAL_TIMEOUT, Rule, SessionConfig, StreamEnd, TimeoutReason,
};
use mina_p2p_wire::message::{SignalingDiscoveryMessage as Discovery, SignalingExchangeMessage as Exchange};
use mina_p2p_wire::{Channel, Role};

use crate::lone::{Lone, Peer, introducing};
use crate::things::key;

const TICK: Duration = Duration::from_millis(1);

fn lone(peer: Peer) -> Lone {
    Lone::with(peer, introducing(peer))
}

fn order(lone: &mut Lone, order: IntroductionOrder) -> Result<(), IntroductionError> {
    let result = lone.session.introduction(lone.now, order);
    lone.drain();
    result
}

fn told(lone: &mut Lone) -> Vec<Introduction> {
    let events = lone.take_events().into_iter();
    events.filter_map(|event| if let Event::Introduction(what) = event { Some(what) } else { None }).collect()
}

fn discovery(lone: &mut Lone) -> Vec<Discovery> {
    let decode = |body| Discovery::decode(body).unwrap().value;
    lone.take_sent(Channel::SignalingDiscovery).into_iter().map(decode).collect()
}

fn exchange(lone: &mut Lone) -> Vec<Exchange> {
    let decode = |body| Exchange::decode(body).unwrap().value;
    lone.take_sent(Channel::SignalingExchange).into_iter().map(decode).collect()
}

fn some(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

fn sealed(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A session whose peer, a dialer, has been introduced to somebody.
fn introduced(peer: Peer) -> Lone {
    let mut lone = lone(peer);
    order(&mut lone, IntroductionOrder::AskForDialers).unwrap();
    assert_eq!(discovery(&mut lone), [Discovery::GetNext]);
    lone.to(Role::Puller, 0, Discovery::Discover).unwrap();
    assert_eq!(told(&mut lone), [Introduction::Wants]);
    order(&mut lone, IntroductionOrder::Introduce { target: key(2) }).unwrap();
    assert_eq!(discovery(&mut lone), [Discovery::Discovered { target: key(2) }]);
    lone
}

/// A session whose peer, a relay, has introduced us.
fn discovered(peer: Peer) -> Lone {
    let mut lone = lone(peer);
    discovery(&mut lone);
    lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
    assert_eq!(told(&mut lone), [Introduction::Asked]);
    assert_eq!(discovery(&mut lone), []);
    order(&mut lone, IntroductionOrder::Discover).unwrap();
    assert_eq!(discovery(&mut lone), [Discovery::Discover]);
    lone.to(Role::Server, 0, Discovery::Discovered { target: key(2) }).unwrap();
    assert_eq!(told(&mut lone), [Introduction::Discovered { target: key(2) }]);
    lone
}

/// A session whose peer, a relay, has handed us an offer.
fn offered(peer: Peer) -> Lone {
    let mut lone = lone(peer);
    assert_eq!(exchange(&mut lone), [Exchange::GetNext]);
    lone.to(Role::Puller, 0, Exchange::OfferToYou { offerer: key(3), offer: sealed("offer") }).unwrap();
    assert_eq!(told(&mut lone), [Introduction::OfferToYou { offerer: key(3), sealed: sealed("offer") }]);
    lone
}

/// A session whose peer, a target, has got an offer from us.
fn handed_over(peer: Peer) -> Lone {
    let mut lone = lone(peer);
    exchange(&mut lone);
    lone.to(Role::Server, 0, Exchange::GetNext).unwrap();
    assert_eq!(told(&mut lone), [Introduction::Ready]);
    order(&mut lone, IntroductionOrder::HandOver { offerer: key(3), sealed: sealed("offer") }).unwrap();
    assert_eq!(exchange(&mut lone), [Exchange::OfferToYou { offerer: key(3), offer: sealed("offer") }]);
    lone
}

#[test]
fn a_relay_asks_at_once_where_that_costs_no_stream_and_else_when_ordered() {
    for peer in Peer::ALL {
        let mut lone = lone(peer);
        assert!(lone.session.speaks_introductions());
        let at_once = peer.lanes() == Lanes::Shared;
        assert_eq!(discovery(&mut lone), if at_once { vec![Discovery::GetNext] } else { vec![] });
        order(&mut lone, IntroductionOrder::AskForDialers).unwrap();
        assert_eq!(discovery(&mut lone), if at_once { vec![] } else { vec![Discovery::GetNext] });
        order(&mut lone, IntroductionOrder::AskForDialers).unwrap();
        assert_eq!(discovery(&mut lone), []);
    }
}

#[test]
fn who_does_not_relay_or_take_offers_does_not_ask() {
    for peer in Peer::ALL {
        let config = SessionConfig { introduce: false, take_offers: false, ..introducing(peer) };
        let mut lone = Lone::with(peer, config);
        assert_eq!(lone.transmits.len(), 4);
        // But it can be asked.
        lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
        lone.to(Role::Server, 0, Exchange::GetNext).unwrap();
        assert_eq!(told(&mut lone), [Introduction::Asked, Introduction::Ready]);
    }
}

#[test]
fn a_relay_carries_an_offer_and_its_answer_and_asks_again_later() {
    for peer in Peer::ALL {
        let mut lone = introduced(peer);
        lone.to(Role::Puller, 0, Discovery::DiscoveredAccept(sealed("offer"))).unwrap();
        assert_eq!(told(&mut lone), [Introduction::Offer { sealed: sealed("offer") }]);
        order(&mut lone, IntroductionOrder::AnswerDialer { sealed: some("answer") }).unwrap();
        assert_eq!(discovery(&mut lone), [Discovery::Answer(some("answer"))]);
        order(&mut lone, IntroductionOrder::AskForDialers).unwrap();
        assert_eq!(lone.timeout, Some((lone.now + ASK_AGAIN_AFTER, TimeoutReason::Introduction)));
        lone.pass(ASK_AGAIN_AFTER - TICK);
        assert_eq!(discovery(&mut lone), []);
        lone.pass(TICK);
        assert_eq!(discovery(&mut lone), [Discovery::GetNext]);
    }
}

#[test]
fn a_dialer_may_turn_down_whom_it_is_introduced_to() {
    for peer in Peer::ALL {
        let mut lone = introduced(peer);
        lone.to(Role::Puller, 0, Discovery::DiscoveredReject).unwrap();
        assert_eq!(told(&mut lone), [Introduction::Rejected]);
        refused(&mut lone, Role::Puller, Discovery::DiscoveredReject);
    }
}

#[test]
fn a_silent_dialer_is_given_up_and_what_it_says_later_is_no_violation() {
    for peer in Peer::ALL {
        for late in [Discovery::DiscoveredReject, Discovery::DiscoveredAccept(sealed("offer"))] {
            let mut lone = introduced(peer);
            lone.pass(INTRODUCTION_TIMEOUT - TICK);
            assert_eq!(told(&mut lone), []);
            lone.pass(TICK);
            assert_eq!(told(&mut lone), [Introduction::GivenUp]);
            let accepts = late != Discovery::DiscoveredReject;
            lone.to(Role::Puller, 0, late).unwrap();
            assert_eq!(told(&mut lone), []);
            assert_eq!(discovery(&mut lone), if accepts { vec![Discovery::Answer(None)] } else { vec![] });
            order(&mut lone, IntroductionOrder::AskForDialers).unwrap();
            lone.pass(ASK_AGAIN_AFTER);
            assert_eq!(discovery(&mut lone), [Discovery::GetNext]);
        }
    }
}

#[test]
fn a_dialer_is_answered_with_nothing_when_there_is_no_answer_in_time() {
    for peer in Peer::ALL {
        let mut lone = introduced(peer);
        lone.to(Role::Puller, 0, Discovery::DiscoveredAccept(sealed("offer"))).unwrap();
        told(&mut lone);
        lone.pass(INTRODUCTION_TIMEOUT);
        assert_eq!(discovery(&mut lone), [Discovery::Answer(None)]);
        assert_eq!(told(&mut lone), [Introduction::GivenUp]);
        let late = order(&mut lone, IntroductionOrder::AnswerDialer { sealed: some("answer") });
        assert_eq!(late, Err(IntroductionError::OutOfTurn));
    }
}

#[test]
fn a_dialer_offers_and_is_answered() {
    for peer in Peer::ALL {
        for answer in [some("answer"), None] {
            let mut lone = discovered(peer);
            order(&mut lone, IntroductionOrder::Accept { sealed: sealed("offer") }).unwrap();
            assert_eq!(discovery(&mut lone), [Discovery::DiscoveredAccept(sealed("offer"))]);
            lone.to(Role::Server, 0, Discovery::Answer(answer.clone())).unwrap();
            assert_eq!(told(&mut lone), [Introduction::Answer { sealed: answer }]);
            lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
            assert_eq!(told(&mut lone), [Introduction::Asked]);
        }
    }
}

#[test]
fn an_offer_that_is_not_answered_fails_and_a_late_answer_is_no_violation() {
    for peer in Peer::ALL {
        let mut lone = discovered(peer);
        order(&mut lone, IntroductionOrder::Accept { sealed: sealed("offer") }).unwrap();
        lone.pass(INTRODUCTION_TIMEOUT - TICK);
        assert_eq!(told(&mut lone), []);
        lone.pass(TICK);
        assert_eq!(told(&mut lone), [Introduction::Unanswered]);
        lone.to(Role::Server, 0, Discovery::Answer(some("answer"))).unwrap();
        assert_eq!(told(&mut lone), []);
        lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
    }
}

#[test]
fn an_offer_that_our_user_does_not_make_in_time_is_rejected() {
    for peer in Peer::ALL {
        let mut lone = discovered(peer);
        lone.pass(OWN_SIGNAL_TIMEOUT);
        assert_eq!(discovery(&mut lone), [Discovery::DiscoveredReject]);
        let late = order(&mut lone, IntroductionOrder::Accept { sealed: sealed("offer") });
        assert_eq!(late, Err(IntroductionError::OutOfTurn));
        lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
    }
}

#[test]
fn a_relay_in_a_hurry_does_not_have_us_answer_without_end() {
    for peer in Peer::ALL {
        let mut lone = discovered(peer);
        let mut rounds = 1;
        let end = lone.now + 5 * INTRODUCTIONS_APART;
        while lone.now < end {
            order(&mut lone, IntroductionOrder::Reject).unwrap();
            lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
            order(&mut lone, IntroductionOrder::Discover).unwrap();
            discovery(&mut lone);
            while discovery(&mut lone).is_empty() && lone.timeout.is_some() {
                lone.pass(TICK * 100);
            }
            lone.to(Role::Server, 0, Discovery::Discovered { target: key(2) }).unwrap();
            rounds += 1;
        }
        assert_eq!(rounds, 6);
    }
}

#[test]
fn a_target_takes_one_offer_after_another_but_at_most_one_a_second() {
    for peer in Peer::ALL {
        let mut lone = offered(peer);
        for _ in 0..100 {
            order(&mut lone, IntroductionOrder::AnswerOffer { sealed: some("answer") }).unwrap();
            assert_eq!(exchange(&mut lone), [Exchange::Answer(some("answer"))]);
            assert_eq!(lone.timeout, Some((lone.now + INTRODUCTIONS_APART, TimeoutReason::Introduction)));
            lone.pass(INTRODUCTIONS_APART);
            assert_eq!(exchange(&mut lone), [Exchange::GetNext]);
            lone.to(Role::Puller, 0, Exchange::OfferToYou { offerer: key(3), offer: sealed("offer") }).unwrap();
        }
    }
}

#[test]
fn an_offer_that_our_user_does_not_answer_in_time_is_answered_with_nothing() {
    for peer in Peer::ALL {
        let mut lone = offered(peer);
        lone.pass(OWN_SIGNAL_TIMEOUT);
        assert_eq!(exchange(&mut lone), [Exchange::Answer(None)]);
        // Before the next offer, so that the late answer is not taken for one to that.
        let late = order(&mut lone, IntroductionOrder::AnswerOffer { sealed: some("answer") });
        assert_eq!(late, Err(IntroductionError::OutOfTurn));
        assert_eq!(exchange(&mut lone), [Exchange::GetNext]);
        // Nor for ever.
        lone.to(Role::Puller, 0, Exchange::OfferToYou { offerer: key(3), offer: sealed("offer") }).unwrap();
        lone.pass(OWN_SIGNAL_TIMEOUT);
        assert_eq!(exchange(&mut lone), [Exchange::Answer(None)]);
        lone.pass(INTRODUCTION_TIMEOUT);
        assert_eq!(exchange(&mut lone), [Exchange::GetNext]);
    }
}

#[test]
fn a_target_answers_and_takes_the_next() {
    for peer in Peer::ALL {
        for answer in [some("answer"), None] {
            let mut lone = handed_over(peer);
            lone.to(Role::Server, 0, Exchange::Answer(answer.clone())).unwrap();
            assert_eq!(told(&mut lone), [Introduction::TargetAnswer { sealed: answer }]);
            let early = order(&mut lone, IntroductionOrder::HandOver { offerer: key(3), sealed: sealed("offer") });
            assert_eq!(early, Err(IntroductionError::OutOfTurn));
            lone.to(Role::Server, 0, Exchange::GetNext).unwrap();
            assert_eq!(told(&mut lone), [Introduction::Ready]);
        }
    }
}

#[test]
fn a_target_that_does_not_answer_is_given_up_and_its_late_answer_is_dropped() {
    for peer in Peer::ALL {
        let mut lone = handed_over(peer);
        lone.pass(INTRODUCTION_TIMEOUT);
        assert_eq!(told(&mut lone), [Introduction::TargetAnswer { sealed: None }]);
        lone.to(Role::Server, 0, Exchange::Answer(some("answer"))).unwrap();
        assert_eq!(told(&mut lone), []);
        lone.to(Role::Server, 0, Exchange::GetNext).unwrap();
        assert_eq!(told(&mut lone), [Introduction::Ready]);
    }
}

#[test]
fn what_does_not_fit_a_frame_is_not_sent() {
    let long = Bytes::from(vec![1; 16 * 1024]);
    let too_long = |result| matches!(result, Err(IntroductionError::TooLong { max: 16_384, .. }));
    for peer in Peer::ALL {
        let mut lone = discovered(peer);
        assert!(too_long(order(&mut lone, IntroductionOrder::Accept { sealed: long.clone() })));
        order(&mut lone, IntroductionOrder::Reject).unwrap();
        let mut lone = offered(peer);
        assert!(too_long(order(&mut lone, IntroductionOrder::AnswerOffer { sealed: Some(long.clone()) })));
        order(&mut lone, IntroductionOrder::AnswerOffer { sealed: None }).unwrap();
        let mut lone = self::lone(peer);
        lone.to(Role::Server, 0, Exchange::GetNext).unwrap();
        assert!(too_long(order(&mut lone, IntroductionOrder::HandOver { offerer: key(3), sealed: long.clone() })));
        order(&mut lone, IntroductionOrder::HandOver { offerer: key(3), sealed: sealed("offer") }).unwrap();
    }
}

/// Checks that a message is refused, by a rule of its own or at its head.
fn refused(lone: &mut Lone, role: Role, message: impl Into<crate::lone::Message>) {
    let rule = lone.to(role, 0, message).unwrap_err();
    let names = ["introduction_out_of_turn", "permit_repeated", "unexpected_message", "frame_too_long"];
    assert!(names.contains(&rule.name()), "{rule:?}");
}

#[test]
fn every_message_out_of_turn_is_a_named_violation() {
    let offer = || sealed("offer");
    let to_relay = || [Discovery::Discover, Discovery::DiscoveredReject, Discovery::DiscoveredAccept(offer())];
    let to_dialer = || [Discovery::GetNext, Discovery::Discovered { target: key(2) }, Discovery::Answer(None)];
    for peer in Peer::ALL {
        // Each start, with which of the messages may come.
        type Start = fn(Peer) -> Lone;
        let asked: Start = |peer| {
            let mut lone = lone(peer);
            order(&mut lone, IntroductionOrder::AskForDialers).unwrap();
            lone
        };
        let starts: [(Start, [bool; 3]); 3] =
            [(asked, [true, false, false]), (introduced, [false, true, true]), (offered_by_dialer, [false; 3])];
        for (start, may) in starts {
            for (message, may) in to_relay().into_iter().zip(may) {
                let mut lone = start(peer);
                if may { lone.to(Role::Puller, 0, message).unwrap() } else { refused(&mut lone, Role::Puller, message) }
            }
        }
        let asked_us: Start = |peer| {
            let mut lone = lone(peer);
            lone.to(Role::Server, 0, Discovery::GetNext).unwrap();
            lone
        };
        let starts: [(Start, [bool; 3]); 3] =
            [(lone, [true, false, false]), (asked_us, [false; 3]), (discovered, [false; 3])];
        for (start, may) in starts {
            for (message, may) in to_dialer().into_iter().zip(may) {
                let mut lone = start(peer);
                if may { lone.to(Role::Server, 0, message).unwrap() } else { refused(&mut lone, Role::Server, message) }
            }
        }
        let mut lone = offered(peer);
        refused(&mut lone, Role::Puller, Exchange::OfferToYou { offerer: key(3), offer: offer() });
        let mut lone = self::lone(peer);
        refused(&mut lone, Role::Server, Exchange::Answer(None));
        let mut lone = handed_over(peer);
        refused(&mut lone, Role::Server, Exchange::GetNext);
        let mut lone = self::lone(peer);
        lone.to(Role::Server, 0, Exchange::GetNext).unwrap();
        assert_eq!(lone.to(Role::Server, 0, Exchange::GetNext).unwrap_err().name(), repeated(peer));
    }
}

fn repeated(peer: Peer) -> &'static str {
    // At the head of the frame no message is known yet.
    if peer.lanes() == Lanes::PerRole { "introduction_out_of_turn" } else { "permit_repeated" }
}

fn offered_by_dialer(peer: Peer) -> Lone {
    let mut lone = introduced(peer);
    lone.to(Role::Puller, 0, Discovery::DiscoveredAccept(sealed("offer"))).unwrap();
    lone
}

#[test]
fn messages_of_the_other_role_are_refused_where_a_stream_has_one() {
    let mut lone = introduced(Peer::Quic);
    assert_eq!(lone.to(Role::Puller, 0, Discovery::GetNext), Err(Rule::WrongRole));
    let mut lone = self::lone(Peer::Quic);
    refused(&mut lone, Role::Server, Exchange::OfferToYou { offerer: key(1), offer: Bytes::new() });
    let stream = lone.stream(Channel::SignalingExchange, Role::Puller, 0);
    let mut lone = self::lone(Peer::Quic);
    assert_eq!(lone.end(stream, StreamEnd::Reset), Err(Rule::StreamEnded(StreamEnd::Reset)));
    let mut lone = self::lone(Peer::Quic);
    let stream = lone.stream(Channel::SignalingExchange, Role::Server, 0);
    lone.session.handle_stream_opened(lone.now, stream).unwrap();
    assert_eq!(lone.session.handle_stream_opened(lone.now, stream).unwrap_err().rule, Rule::SecondStream);
}

#[test]
fn orders_are_refused_where_introductions_are_not_spoken() {
    let mut lone = Lone::new(Peer::Quic);
    assert_eq!(order(&mut lone, IntroductionOrder::AskForDialers), Err(IntroductionError::NotSpoken));
    let mut lone = self::lone(Peer::Quic);
    let stream = lone.stream(Channel::BestTip, Role::Puller, 0);
    lone.session.handle_frame_head(lone.now, stream, 0).unwrap_err();
    assert_eq!(order(&mut lone, IntroductionOrder::AskForDialers), Err(IntroductionError::Ended));
}
