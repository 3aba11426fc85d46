//! Why a connection is closed, as our own kind says it on stream 0 before it closes: the code, 8 bytes, big-endian, and the text.

use mina_p2p_wire::signaling::ConnectionAuth;

use crate::CloseReason;

/// The message. It is never as long as a proof, in whose place it may come.
pub(super) fn encode(code: u64, text: &str) -> Vec<u8> {
    let mut message = [&code.to_be_bytes()[..], text.as_bytes()].concat();
    if message.len() == ConnectionAuth::SEALED_LEN {
        message.push(b' ');
    }
    message
}

/// What the peer says. Its text is cut and made safe to print.
pub(super) fn decode(message: &[u8]) -> CloseReason {
    match message.split_first_chunk() {
        Some((code, text)) => CloseReason::from_wire(u64::from_be_bytes(*code), text),
        None => CloseReason::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_arrives_as_it_was_given() {
        let reason = CloseReason::Violation("best_tip: tip_without_permit".to_owned());
        assert_eq!(decode(&encode(reason.code(), reason.text())), reason);
        assert_eq!(encode(6, &"x".repeat(ConnectionAuth::SEALED_LEN - 8)).len(), ConnectionAuth::SEALED_LEN + 1);
        assert_eq!(decode(&[1, 2, 3]), CloseReason::Unspecified);
        assert_eq!(decode(&encode(CloseReason::Banned.code(), "")), CloseReason::Banned);
    }
}
