//! Streams that are shared (WebRTC): one a channel, open as long as the connection, and carrying what both sides ask and answer.
//!
//! They must be read on whatever the peer reads, as two who both write large answers and wait for each other would wait for
//! ever. So it is the session that is told to add no more while what it gave for a channel is not written.

use std::sync::Arc;

use mina_p2p_protocol::{Time, shared_stream};
use mina_p2p_transport::CloseReason;
use mina_p2p_wire::Channel;
use tracing::debug;

use super::Link;
use super::streams::{Driven, Outbox, Writer};
use crate::core::Core;

/// From so many frames of a channel on that wait to be written, the session adds none: one is being written, one makes up for
/// the time until the session hears of it, and two for answers of other requests that are ready at the same time.
const MAX_UNWRITTEN: usize = 4;

impl Driven {
    /// Whether more may be added to what is to be written to a channel.
    fn is_writable(&self, channel: Channel) -> bool {
        self.streams.get(&shared_stream(channel)).is_none_or(|outbox| outbox.frames.len() < MAX_UNWRITTEN)
    }

    /// Something was added to what is to be written to a channel.
    pub(super) fn queued(&mut self, now: Time, channel: Channel) {
        if self.shared && !self.is_writable(channel) && self.unwritable.insert(channel) {
            self.session.set_writable(now, channel, false);
        }
    }

    /// Whether the session does not know yet that a channel can be written to again.
    pub(super) fn is_writable_again(&self, channel: Channel) -> bool {
        self.shared && self.unwritable.contains(&channel) && self.is_writable(channel)
    }

    /// Tells the session which channels can be written to. Requests are not even taken up while there is no room for events: one
    /// that is cancelled frees its place at once, but its events wait for the user. True if room is to be waited for from now on:
    /// nothing else may ever come on the connection.
    pub(super) fn hold_back(&mut self, now: Time, has_room: bool) -> bool {
        for channel in Channel::ALL {
            let is_writable = self.is_writable(channel) && (has_room || !channel.is_rpc());
            let changed = if is_writable { self.unwritable.remove(&channel) } else { self.unwritable.insert(channel) };
            if changed {
                self.session.set_writable(now, channel, is_writable);
            }
        }
        !std::mem::replace(&mut self.lacks_room, !has_room) && !has_room
    }
}

impl Link {
    /// Opens every channel's stream, and begins to read it. The connection ends if it cannot be.
    pub(super) async fn open_shared(self: &Arc<Link>, core: &Arc<Core>) {
        let is_spoken =
            |channel: &Channel| self.ours || !matches!(channel, Channel::ExtensionRpc | Channel::CompactBlock);
        for channel in Channel::ALL.into_iter().filter(is_spoken) {
            let stream = shared_stream(channel);
            match self.connection.open(stream).await {
                Ok((send, recv)) => {
                    let mut driven = self.driven();
                    let mut outbox = Outbox::new(Writer::Idle(send));
                    outbox.reader = Some(self.spawn_reader(core, stream, recv));
                    driven.streams.insert(stream, outbox);
                }
                Err(error) => {
                    debug!(%channel, %error, "a channel's stream was not opened");
                    return self.close(CloseReason::Lost(format!("the stream of {channel}: {error}")));
                }
            }
        }
        self.driven().opened = true;
    }
}

#[cfg(test)]
#[cfg(feature = "webrtc")]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;
    use std::time::{Duration, Instant};

    use mina_p2p_protocol::Request;
    use mina_p2p_transport::TransportKind;
    use mina_p2p_wire::message::{RpcRequest, StateHash};
    use mina_p2p_wire::{ChainId, SecretKey};

    use crate::{EVENTS_PAUSE, Event, Node};

    /// Fails a test that hangs; nothing is measured by it.
    const WATCHDOG: Duration = Duration::from_secs(30);

    fn node(n: u8) -> Node {
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let builder = Node::builder(SecretKey::from_bytes([n; 32]), ChainId([7; 32]));
        builder.transports(&[TransportKind::WebRtc]).signaling(loopback).listen(loopback).start().unwrap()
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + WATCHDOG;
        while !is_so() {
            assert!(Instant::now() < deadline, "never came: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_request_that_came_while_there_was_no_room_for_events_is_taken_up_when_there_is() {
        let (asker, asked) = (node(1), node(2));
        asker.dial(&asked.listen_addresses()[0]).unwrap();
        eventually("a connection", || asker.peers().len() == 1 && asked.peers().len() == 1);
        let link = asked.core().state().links.values().next().unwrap().clone();
        eventually("open streams", || link.driven().opened);
        for n in 0..EVENTS_PAUSE {
            asked.core().events.push_event(Event::TaskFailed { message: n.to_string() });
        }
        let request = Request::Rpc(RpcRequest::StagedLedgerAux(StateHash([9; 32])));
        asker.request(Some(asked.peer_id()), request).unwrap();
        eventually("the request", || !link.driven().unwritable.is_empty());
        // Nothing else comes of this peer: the room alone has to do.
        let mut polled = asked.poll(usize::MAX);
        eventually("the event", || {
            polled.extend(asked.poll(usize::MAX));
            polled.iter().any(|event| matches!(event, Event::Request { .. }))
        });
    }
}
