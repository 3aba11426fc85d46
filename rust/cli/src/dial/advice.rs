//! What a dial that stopped means, in plain words.

use mina_p2p_transport::{CloseReason, ConnectError, TransportKind};
use mina_p2p_wire::{Address, Signaling};

use super::attempt::{Cause, Plan};
use super::first::Silence;
use super::stage::Stage;

/// What is known to work when `last` is the last step that was reached.
pub(super) fn reached(last: Option<Stage>, cause: &Cause) -> &'static str {
    match last {
        Some(Stage::SignalingConnected) if matches!(cause, Cause::Connect(ConnectError::Closed(_))) => {
            "a Mina node's signaling: it has refused our offer"
        }
        None => "nothing",
        Some(Stage::Resolved) => "nothing but an IP address",
        Some(Stage::SignalingConnected) => "something takes TCP connections at the signaling server's address",
        Some(Stage::Answered) => "the peer runs: it has accepted our offer by signaling",
        Some(Stage::PathFound) => "signaling works, and datagrams pass in both directions",
        Some(Stage::Encrypted) => "a peer answers at this address, and encryption is up",
        Some(Stage::StreamsOpen) => "signaling, datagrams, encryption and streams work",
        Some(Stage::Authenticated | Stage::FirstMessage) => "the peer has proved who it is: the connection works",
    }
}

/// What was not reached, when `stage` was not.
pub(super) fn missing(stage: Stage, kind: TransportKind) -> &'static str {
    match stage {
        Stage::Resolved => "an IP address",
        Stage::SignalingConnected => "the signaling server, by TCP",
        Stage::Answered => "an answer to our offer",
        Stage::PathFound => "a path on which UDP datagrams pass in both directions (ICE)",
        Stage::Encrypted if kind == TransportKind::WebRtc => "encryption (DTLS)",
        Stage::Encrypted => "the peer, by UDP (QUIC)",
        Stage::StreamsOpen => "streams (SCTP)",
        Stage::Authenticated if kind == TransportKind::WebRtc => "a proof of who the peer is",
        Stage::Authenticated => "the peer's greeting (Hello)",
        Stage::FirstMessage => "a message",
    }
}

/// What to look at.
pub(super) fn check(plan: &Plan, stage: Stage, cause: &Cause) -> String {
    let reason = match cause {
        Cause::Connect(ConnectError::Refused(reason) | ConnectError::Closed(reason)) => Some(reason),
        Cause::Silent(Silence::Ended(reason)) => Some(reason),
        _ => None,
    };
    if let Some(text) = reason.and_then(|reason| because(plan, reason)) {
        return text;
    }
    if let Cause::Connect(ConnectError::Socket { .. }) = cause {
        return "this machine: it gives no UDP socket that reaches this address (no route, no IPv6, or too many open files)"
            .to_owned();
    }
    let port = plan.address.port().unwrap_or_default();
    let webrtc = plan.kind() == TransportKind::WebRtc;
    match stage {
        Stage::Resolved if is_https(plan) => {
            "the host's spelling, this machine's resolver, and its certification authorities (ca-certificates)".to_owned()
        }
        Stage::Resolved => "the host's spelling, and this machine's resolver".to_owned(),
        Stage::SignalingConnected => {
            let tls = if is_https(plan) { "; that the server's certificate is valid for this name" } else { "" };
            format!("that the node runs and takes offers there (the port is right, signaling is on); that no firewall blocks TCP port {port}{tls}")
        }
        Stage::Answered => format!(
            "whether a Mina node's signaling is on TCP port {port}, or something else; a proxy on the way. A Mina Rust node \
             gives no answer at all to an offer that it cannot use"
        ),
        Stage::PathFound => "whether UDP is blocked: signaling goes by TCP, all else by UDP. The peer's firewall has to let in \
             UDP (a mina-p2p node's one port, any port of a Mina Rust node), ours its answers. Behind NAT: try --stun, and look \
             whether the peer has a STUN server"
            .to_owned(),
        Stage::Encrypted if webrtc => "whether datagrams of 1,200 bytes and more get lost on the way (MTU, a tunnel): ICE's own \
             are small; the peer's log about DTLS"
            .to_owned(),
        Stage::Encrypted => format!(
            "whether UDP is blocked; that the node runs and listens for QUIC on UDP port {port}; that the address is its present \
             one. If it has a WebRTC address (/PEER/http/..), try that too"
        ),
        Stage::StreamsOpen => "whether datagrams get lost on the way; the peer's log about SCTP".to_owned(),
        Stage::Authenticated if webrtc => {
            "the peer's log: it has not sent a proof that is good. A Mina Rust node takes one second for it".to_owned()
        }
        Stage::Authenticated => "the peer's log: it has not said hello in time. It may be overloaded".to_owned(),
        Stage::FirstMessage => {
            "the peer's log: it is connected and silent. A Mina Rust node says nothing for three seconds; try a longer --timeout"
                .to_owned()
        }
    }
}

fn is_https(plan: &Plan) -> bool {
    let Address::WebRtc { signaling, .. } = &plan.address else { return false };
    matches!(signaling, Signaling::Https { .. } | Signaling::HttpsProxy { .. })
}

/// What a reason that one side gave means. `None` when it is none that says more than the step does.
fn because(plan: &Plan, reason: &CloseReason) -> Option<String> {
    // As the address has it.
    let peer = match plan.address {
        Address::WebRtc { peer_id, .. } => peer_id.to_string(),
        Address::Quic { peer_id, .. } | Address::Libp2p { peer_id, .. } => peer_id.to_libp2p(),
    };
    Some(match reason {
        CloseReason::WrongChain => {
            format!("the chain id: the peer follows another chain than {}", plan.chain)
        }
        CloseReason::WrongIdentity => format!(
            "the peer id: who answers there is not {peer}. The node may have a new key, or another node its address"
        ),
        CloseReason::SelfConnection => "--key: it is the peer's own".to_owned(),
        CloseReason::Capacity => "whether the peer is full: it runs, is reachable, and has no free place for us now".to_owned(),
        CloseReason::Duplicate => {
            "whether this identity is connected already: the peer says so. Use another --key, or none".to_owned()
        }
        CloseReason::Banned => "the peer's bans: it is reachable, and has banned this identity or our IP address".to_owned(),
        CloseReason::Shutdown => "whether the peer is about to stop or restart".to_owned(),
        CloseReason::IncompatibleVersion => "versions: one of the two speaks a protocol too old for the other".to_owned(),
        CloseReason::UnsupportedProtocol => {
            "what runs there: it speaks QUIC, and not mina-p2p (wrong port, or a very old version)".to_owned()
        }
        CloseReason::UnsuitableCertificate(_) => {
            "what runs there: it speaks QUIC with a certificate that no mina-p2p node has".to_owned()
        }
        CloseReason::AuthenticationFailed(_) => {
            "who is in between: the proof covers the offer and the answer byte for byte, so either the peer does not have its \
             key, or a proxy has changed one of them"
                .to_owned()
        }
        CloseReason::Violation(_) | CloseReason::MalformedHello(_) | CloseReason::HelloTooLong | CloseReason::RepeatedHello => {
            "versions: the two do not agree on the protocol. If both are current, this is a bug that we want to hear of"
                .to_owned()
        }
        _ => return None,
    })
}
