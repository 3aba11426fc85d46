//! Why a connection ended: a closed list with stable codes that travel.

use std::fmt;

/// Longest text, in bytes of UTF-8, that goes with a close code, in either direction.
///
/// A QUIC CONNECTION_CLOSE must fit one datagram of 1,200 bytes beside other frames; 200 bytes hold the longest
/// violation text (a channel, a rule and three numbers take about 120).
pub const MAX_REASON_LEN: usize = 200;

/// Why a connection ended, or was never made.
///
/// Most reasons travel: the side that closes sends [`code`](Self::code) and a short text, and the other side's
/// [`Connection::closed`](crate::Connection::closed) gives the same reason. The last few are local: they are what one
/// side concludes when the other says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The closing side gave no reason: its connection was dropped, or its process ended in an orderly way.
    Unspecified,
    /// The peers follow different chains.
    WrongChain,
    /// The peer that answered is not the one that was dialed.
    WrongIdentity,
    /// The peer is ourselves.
    SelfConnection,
    /// No free slot for this peer, in all or from its address.
    Capacity,
    /// Another connection with this peer is kept.
    Duplicate,
    /// The peer broke a rule of the protocol; the text names it.
    Violation(String),
    /// The peer is banned.
    Banned,
    /// The closing node stops.
    Shutdown,
    /// The peer's protocol version is older than the oldest that we speak.
    IncompatibleVersion,
    /// The peer's `Hello` cannot be decoded, or its stream is not as it must be; the text says how.
    MalformedHello(String),
    /// The peer's `Hello` is longer than allowed.
    HelloTooLong,
    /// A second message came on the stream that carries one `Hello` each way.
    RepeatedHello,
    /// Authentication, `Hello` included, did not end in time.
    HelloTimeout,
    /// The peer's certificate or its proof of possession is not acceptable; the text says why.
    UnsuitableCertificate(String),
    /// The peers share no application protocol (QUIC: the ALPN `mina-p2p/1`).
    UnsupportedProtocol,
    /// The peer stopped reading what it had asked for.
    Stalled,
    /// The peer began a frame and then sent it too slowly.
    TooSlow,
    /// WebRTC: the peer did not prove that it is who it said in its signaling; the text says how it failed.
    AuthenticationFailed(String),
    /// A code that this version does not know, as the peer sent it.
    Other {
        /// The code.
        code: u64,
        /// The text that came with it, made safe to print.
        text: String,
    },
    /// Local: nothing was heard from the peer for the idle timeout.
    IdleTimeout,
    /// Local: the connection was lost without a reason from the peer; the text is the transport's.
    Lost(String),
}

impl CloseReason {
    /// The code that travels. 0 (unspecified) for the reasons that are local.
    ///
    /// Codes are never reused or renumbered.
    pub fn code(&self) -> u64 {
        match self {
            Self::Unspecified | Self::IdleTimeout | Self::Lost(_) => 0,
            Self::WrongChain => 1,
            Self::WrongIdentity => 2,
            Self::SelfConnection => 3,
            Self::Capacity => 4,
            Self::Duplicate => 5,
            Self::Violation(_) => 6,
            Self::Banned => 7,
            Self::Shutdown => 8,
            Self::IncompatibleVersion => 9,
            Self::MalformedHello(_) => 10,
            Self::HelloTooLong => 11,
            Self::RepeatedHello => 12,
            Self::HelloTimeout => 13,
            Self::UnsuitableCertificate(_) => 14,
            Self::UnsupportedProtocol => 15,
            Self::Stalled => 16,
            Self::TooSlow => 17,
            Self::AuthenticationFailed(_) => 18,
            Self::Other { code, .. } => *code,
        }
    }

    /// The stable name, for metrics and logs: lower case with underscores, without the detail.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::WrongChain => "wrong_chain",
            Self::WrongIdentity => "wrong_identity",
            Self::SelfConnection => "self_connection",
            Self::Capacity => "capacity",
            Self::Duplicate => "duplicate",
            Self::Violation(_) => "violation",
            Self::Banned => "banned",
            Self::Shutdown => "shutdown",
            Self::IncompatibleVersion => "incompatible_version",
            Self::MalformedHello(_) => "malformed_hello",
            Self::HelloTooLong => "hello_too_long",
            Self::RepeatedHello => "repeated_hello",
            Self::HelloTimeout => "hello_timeout",
            Self::UnsuitableCertificate(_) => "unsuitable_certificate",
            Self::UnsupportedProtocol => "unsupported_protocol",
            Self::Stalled => "stalled",
            Self::TooSlow => "too_slow",
            Self::AuthenticationFailed(_) => "authentication_failed",
            Self::Other { .. } => "other",
            Self::IdleTimeout => "idle_timeout",
            Self::Lost(_) => "lost",
        }
    }

    /// The detail that travels beside the code, at most [`MAX_REASON_LEN`] bytes; empty when the code says all.
    pub fn text(&self) -> &str {
        match self {
            Self::Violation(text)
            | Self::MalformedHello(text)
            | Self::UnsuitableCertificate(text)
            | Self::AuthenticationFailed(text)
            | Self::Other { text, .. } => bounded(text),
            _ => "",
        }
    }

    /// The reason that a peer sent. The text is made safe to print and cut to [`MAX_REASON_LEN`] bytes.
    pub fn from_wire(code: u64, text: &[u8]) -> Self {
        let text = sanitized(text);
        match code {
            0 => Self::Unspecified,
            1 => Self::WrongChain,
            2 => Self::WrongIdentity,
            3 => Self::SelfConnection,
            4 => Self::Capacity,
            5 => Self::Duplicate,
            6 => Self::Violation(text),
            7 => Self::Banned,
            8 => Self::Shutdown,
            9 => Self::IncompatibleVersion,
            10 => Self::MalformedHello(text),
            11 => Self::HelloTooLong,
            12 => Self::RepeatedHello,
            13 => Self::HelloTimeout,
            14 => Self::UnsuitableCertificate(text),
            15 => Self::UnsupportedProtocol,
            16 => Self::Stalled,
            17 => Self::TooSlow,
            18 => Self::AuthenticationFailed(text),
            code => Self::Other { code, text },
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Unspecified => "closed without a reason",
            Self::WrongChain => "different chain",
            Self::WrongIdentity => "not the peer that was dialed",
            Self::SelfConnection => "connection to ourselves",
            Self::Capacity => "no free slot",
            Self::Duplicate => "another connection with this peer is kept",
            Self::Violation(text) => return write!(f, "protocol violation: {}", bounded(text)),
            Self::Banned => "banned",
            Self::Shutdown => "node shut down",
            Self::IncompatibleVersion => "incompatible protocol version",
            Self::MalformedHello(text) => return write!(f, "malformed Hello: {}", bounded(text)),
            Self::HelloTooLong => "Hello too long",
            Self::RepeatedHello => "more than one Hello",
            Self::HelloTimeout => "authentication not finished in time",
            Self::UnsuitableCertificate(text) => {
                return write!(f, "unsuitable certificate: {}", bounded(text));
            }
            Self::UnsupportedProtocol => "no common application protocol",
            Self::Stalled => "peer stopped reading",
            Self::TooSlow => "peer sent a frame too slowly",
            Self::AuthenticationFailed(text) => return write!(f, "authentication failed: {}", bounded(text)),
            Self::Other { code, text } => {
                return write!(f, "reason {code}: {}", bounded(text));
            }
            Self::IdleTimeout => "nothing heard for the idle timeout",
            Self::Lost(text) => return write!(f, "connection lost: {}", bounded(text)),
        };
        f.write_str(what)
    }
}

/// The longest prefix of at most [`MAX_REASON_LEN`] bytes that ends at a character.
fn bounded(text: &str) -> &str {
    let mut end = text.len().min(MAX_REASON_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Remote text as it may be printed: valid UTF-8, no control characters (they drive terminals and split log lines), no
/// bidirectional controls (they make a log line read as another), bounded.
pub(crate) fn sanitized(text: &[u8]) -> String {
    let head = text.get(..MAX_REASON_LEN).unwrap_or(text);
    let safe: String = String::from_utf8_lossy(head)
        .chars()
        .map(|c| {
            let bidirectional =
                matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || bidirectional || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }
        })
        .collect();
    bounded(&safe).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<CloseReason> {
        vec![
            CloseReason::Unspecified,
            CloseReason::WrongChain,
            CloseReason::WrongIdentity,
            CloseReason::SelfConnection,
            CloseReason::Capacity,
            CloseReason::Duplicate,
            CloseReason::Violation("best_tip: second answer".into()),
            CloseReason::Banned,
            CloseReason::Shutdown,
            CloseReason::IncompatibleVersion,
            CloseReason::MalformedHello("unexpected end".into()),
            CloseReason::HelloTooLong,
            CloseReason::RepeatedHello,
            CloseReason::HelloTimeout,
            CloseReason::UnsuitableCertificate("key type".into()),
            CloseReason::UnsupportedProtocol,
            CloseReason::Stalled,
            CloseReason::TooSlow,
            CloseReason::AuthenticationFailed("a reflection".into()),
            CloseReason::Other { code: 4_000, text: "later".into() },
        ]
    }

    #[test]
    fn reasons_that_travel_come_back_the_same() {
        for reason in all() {
            assert_eq!(CloseReason::from_wire(reason.code(), reason.text().as_bytes()), reason);
        }
    }

    #[test]
    fn codes_and_names_are_distinct() {
        let reasons = all();
        for (i, a) in reasons.iter().enumerate() {
            for b in reasons.iter().skip(i + 1) {
                assert_ne!(a.code(), b.code());
                assert_ne!(a.name(), b.name());
            }
        }
    }

    #[test]
    fn local_reasons_say_nothing_to_the_peer() {
        for reason in [CloseReason::IdleTimeout, CloseReason::Lost("reset".into())] {
            assert_eq!((reason.code(), reason.text()), (0, ""));
        }
    }

    #[test]
    fn remote_text_is_bounded_and_printable() {
        let hostile = "\u{1b}[2J\r\nERROR \u{202e}gnp\u{7f}".repeat(40);
        let CloseReason::Violation(text) = CloseReason::from_wire(6, hostile.as_bytes()) else {
            panic!("a violation");
        };
        assert!(text.len() <= MAX_REASON_LEN);
        assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'));
        let CloseReason::Violation(text) = CloseReason::from_wire(6, &[0xff; 500]) else {
            panic!("a violation");
        };
        assert!(text.len() <= MAX_REASON_LEN);
    }

    #[test]
    fn our_own_long_text_is_cut_at_a_character() {
        let reason = CloseReason::Violation("é".repeat(300));
        assert_eq!(reason.text().len(), MAX_REASON_LEN);
        let odd = CloseReason::Violation(format!("a{}", "é".repeat(300)));
        assert_eq!(odd.text().len(), MAX_REASON_LEN - 1);
    }
}
