//! Whether a connection lives, asked when there is another one to the same peer.

use std::sync::Arc;
use std::time::Duration;

use mina_p2p_protocol::router::PROBE_TIMEOUT;
use mina_p2p_protocol::{Answer, RequestFailure, RequestId, Time};
use tokio::sync::oneshot;

use super::Link;
use crate::core::{self, Core};
use crate::lock;

/// How often a connection is looked at for signs of life.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl Link {
    /// Whether the peer answers a ping within [`PROBE_TIMEOUT`]; one that knows none, whether it is heard at all.
    pub(crate) async fn probe(self: &Arc<Link>, core: &Arc<Core>) -> bool {
        if !self.ours {
            return self.is_heard().await;
        }
        let (answered, lives) = oneshot::channel();
        self.command(core, |session, now| {
            // A peer that cannot be asked, because it does not know the method or because the ping would have to wait
            // for what it works on, is left alone: what it does not answer must not cost it the connection.
            let waiting = session.figures().requests_waiting;
            let asked = session.request(now, core::ping()).ok();
            let waits = session.figures().requests_waiting > waiting;
            match asked {
                Some(id) if !waits => lock(&self.probes).push((id, answered)),
                _ => {
                    asked.map(|id| session.cancel(now, id));
                    // Who waits for it does so below.
                    let _ = answered.send(true);
                }
            }
        });
        // The sender goes when the connection ends; should that have been before it was put there, time ends the wait.
        tokio::time::timeout(2 * PROBE_TIMEOUT, lives).await.is_ok_and(|lives| lives.unwrap_or(false))
    }

    /// If this is the end of a probe: tells who waits for it.
    pub(crate) fn probed(&self, id: RequestId, answer: &Result<Answer, RequestFailure>) -> bool {
        let mut probes = lock(&self.probes);
        let Some(at) = probes.iter().position(|(probe, _)| *probe == id) else { return false };
        let (_, answered) = probes.swap_remove(at);
        // Who waited may have gone: then nobody needs to know.
        let _ = answered.send(answer.is_ok());
        true
    }

    /// Whether anything comes from the peer within twice [`PROBE_TIMEOUT`], be it only what keeps the path open: every 2 s where
    /// the peer knows no ping.
    async fn is_heard(&self) -> bool {
        let before = self.connection.stats().datagrams_received;
        let looking = async {
            while self.connection.stats().datagrams_received == before {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        tokio::time::timeout(2 * PROBE_TIMEOUT, looking).await.is_ok()
    }

    /// Whether a message of the peer's has come within `period`.
    #[cfg(feature = "webrtc")]
    pub(crate) fn has_spoken_within(&self, now: Time, period: Duration) -> bool {
        use std::sync::atomic::Ordering;

        let silence = millis(now).saturating_sub(self.heard.load(Ordering::Relaxed));
        u128::from(silence) < period.as_millis()
    }
}

/// A time in milliseconds.
pub(super) fn millis(time: Time) -> u64 {
    u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX)
}
