//! What the channel machines share: whose stream a message came on, and reading it.

use bytes::Bytes;
use mina_p2p_wire::{Channel, DecodeError, Decoded, Role, StreamId};

use crate::config::Lanes;
use crate::violation::Rule;

/// The longest message of the fixed small forms: `GetNext`, `WillSend` and an answer of nothing. Tag, a number of at
/// most 9 bytes, option.
pub(crate) const CONTROL_LEN_MAX: u32 = 11;

/// What one half of a channel lets the peer send now: a length, or the rule that any message would break.
pub(crate) type Allowed = Result<u32, Rule>;

/// The address of the one stream that carries a channel with [`Lanes::Shared`].
#[must_use]
pub const fn shared_stream(channel: Channel) -> StreamId {
    StreamId { channel, role: Role::Puller, request: 0 }
}

/// Of what a session's machines all depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) lanes: Lanes,
    /// The peer speaks mina-p2p.
    pub(crate) ours: bool,
    /// Pools are served only to a peer whose tip is ours or its child, so tips are sent even to whom they came from.
    pub(crate) gated: bool,
}

impl Terms {
    /// The stream on which we have this role.
    pub(crate) fn stream(self, channel: Channel, role: Role, request: u64) -> StreamId {
        match self.lanes {
            Lanes::PerRole => StreamId { channel, role, request },
            Lanes::Shared => shared_stream(channel),
        }
    }

    pub(crate) fn per_role(self) -> bool {
        self.lanes == Lanes::PerRole
    }

    /// Checks that a message that we take as this role came on a stream of that role.
    pub(crate) fn check_role(self, stream: StreamId, role: Role) -> Result<(), Rule> {
        if self.per_role() && stream.role != role { Err(Rule::WrongRole) } else { Ok(()) }
    }

    /// What may come on a stream, of what each half allows.
    pub(crate) fn allowed(self, stream: StreamId, pull: Allowed, serve: Allowed) -> Allowed {
        match (self.lanes, stream.role) {
            (Lanes::PerRole, Role::Puller) => pull,
            (Lanes::PerRole, Role::Server) => serve,
            (Lanes::Shared, _) => match (pull, serve) {
                (Ok(pull), Ok(serve)) => Ok(pull.max(serve)),
                (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
                (Err(_), Err(_)) => Err(Rule::UnexpectedMessage),
            },
        }
    }

    /// Takes a decoded message, if nothing is wrong with its form.
    pub(crate) fn read<T>(
        self,
        body: Bytes,
        decode: impl FnOnce(Bytes) -> Result<Decoded<T>, DecodeError>,
    ) -> Result<T, Rule> {
        let decoded = decode(body).map_err(Rule::Malformed)?;
        if decoded.trailing > 0 {
            return Err(Rule::TrailingBytes { count: decoded.trailing });
        }
        if self.ours && !decoded.canonical {
            return Err(Rule::NonCanonical);
        }
        Ok(decoded.value)
    }
}
