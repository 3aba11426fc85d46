//! The existing node's frame parser, with its two bugs reported where that node would lose a frame or spin for ever.

use bytes::{Bytes, BytesMut};
use mina_p2p_wire::Channel;

/// What is wrong with what a peer sent on a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// An SCTP message ended right after a frame's head: the existing node forgets the head, and takes the body that
    /// follows for another.
    #[error("a frame's head came without a byte of its body")]
    HeadAlone,
    /// An SCTP message ended within a frame's head: the existing node loops for ever.
    #[error("{0} bytes where a frame's head of 4 belongs")]
    Tail(usize),
    /// A frame longer than the channel takes.
    #[error("a frame of {len} bytes, and the channel takes {max}")]
    TooLong {
        /// What the head says.
        len: u32,
        /// The channel's limit.
        max: u32,
    },
    /// A frame without a body.
    #[error("a frame of no bytes")]
    Empty,
}

/// Puts the SCTP messages of one channel together to frames.
#[derive(Debug)]
pub(super) struct Parser {
    max: u32,
    /// The length of the frame that has begun, and what there is of it.
    begun: Option<(usize, BytesMut)>,
}

impl Parser {
    pub(super) fn new(channel: Channel) -> Self {
        Self { max: channel.max_frame_len(), begun: None }
    }

    /// Takes one SCTP message; returns the bodies that it completes.
    pub(super) fn take(&mut self, mut data: Bytes) -> Result<Vec<Bytes>, FramingError> {
        let mut bodies = Vec::new();
        while !data.is_empty() {
            let (len, mut body) = match self.begun.take() {
                Some(begun) => begun,
                None => {
                    let Some(head) = data.first_chunk::<4>() else {
                        return Err(FramingError::Tail(data.len()));
                    };
                    let len = u32::from_be_bytes(*head);
                    if len > self.max {
                        return Err(FramingError::TooLong { len, max: self.max });
                    }
                    if len == 0 {
                        return Err(FramingError::Empty);
                    }
                    drop(data.split_to(4));
                    if data.is_empty() {
                        return Err(FramingError::HeadAlone);
                    }
                    (len as usize, BytesMut::new())
                }
            };
            body.extend_from_slice(&data.split_to(data.len().min(len - body.len())));
            if body.len() == len {
                bodies.push(body.freeze());
            } else {
                self.begun = Some((len, body));
            }
        }
        Ok(bodies)
    }
}

/// A frame cut as the existing node cuts it: the head with the first part of the body, and at most 16 KiB in a message.
pub(super) fn cut(body: &[u8]) -> Vec<Bytes> {
    const CHUNK_LEN: usize = 16 * 1024;
    let frame = Bytes::from([&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes()[..], body].concat());
    (0..frame.len()).step_by(CHUNK_LEN).map(|from| frame.slice(from..frame.len().min(from + CHUNK_LEN))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(parser: &mut Parser, data: &[u8]) -> Result<Vec<Bytes>, FramingError> {
        parser.take(Bytes::copy_from_slice(data))
    }

    #[test]
    fn frames_come_in_any_number_of_messages_and_several_in_one() {
        let mut parser = Parser::new(Channel::BestTip);
        assert_eq!(take(&mut parser, &[0, 0, 0, 1, 7, 0, 0, 0, 3, 1]).unwrap(), [&[7][..]]);
        assert!(take(&mut parser, &[2]).unwrap().is_empty());
        assert_eq!(take(&mut parser, &[3, 0, 0, 0, 1, 9]).unwrap(), [&[1, 2, 3][..], &[9]]);
        let body = vec![5; 40_000];
        let mut bodies = Vec::new();
        for chunk in cut(&body) {
            assert!(chunk.len() <= 16_384);
            bodies.extend(parser.take(chunk).unwrap());
        }
        assert_eq!(bodies, [body]);
    }

    #[test]
    fn what_would_break_the_existing_node_is_told() {
        let fails = |data: &[u8]| take(&mut Parser::new(Channel::Transaction), data).unwrap_err();
        assert_eq!(fails(&[0, 0, 0, 5]), FramingError::HeadAlone);
        assert_eq!(fails(&[0, 0, 0, 1, 9, 0, 0]), FramingError::Tail(2));
        assert_eq!(fails(&[0, 0, 4, 1, 9]), FramingError::TooLong { len: 1025, max: 1024 });
        assert_eq!(fails(&[0, 0, 0, 0, 1]), FramingError::Empty);
    }
}
