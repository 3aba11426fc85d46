//! Stream 0: the proofs of who is who, and, between two of our own kind, why a connection is closed.

use std::time::Duration;

use mina_p2p_wire::signaling::{AuthError, ConnectionAuth};
use tokio::time::{Instant, sleep_until};

use super::{Driver, Ended, Identities, Phase, buffered, lost};
use crate::CloseReason;
use crate::webrtc::limits::FIRST_WORD_DELAY;
use crate::webrtc::{ConnectStep, goodbye};

/// How long an end is told to the peer.
const PARTING_TIME: Duration = Duration::from_millis(200);

impl Driver {
    /// Streams are open before DTLS is up where SCTP's handshake went with the signaling: only both together count.
    pub(super) fn begin_proving(&mut self) -> Result<(), Ended> {
        if !self.encrypted || self.phase != Phase::Proving {
            return Ok(());
        }
        self.step(ConnectStep::StreamsOpen);
        if self.dialed { self.send_proof() } else { Ok(()) }
    }

    pub(super) fn send_proof(&mut self) -> Result<(), Ended> {
        if std::mem::replace(&mut self.proof_sent, true) {
            return Ok(());
        }
        let channel = self.channels.first().copied().flatten().and_then(|channel| self.rtc.channel(channel));
        match channel.map(|mut channel| channel.write(true, &self.identities.proof)) {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(lost(&error)),
            Some(Ok(false)) | None => Err(Ended::ByPeer(CloseReason::Lost("stream 0 is closed".to_owned()))),
        }
    }

    /// The peer's proof comes first, then, from our own kind, a reason to close.
    pub(super) fn on_stream_0(&mut self, data: &[u8]) -> Result<(), Ended> {
        match self.phase {
            // It refuses us.
            Phase::Proving if self.identities.is_ours && data.len() != ConnectionAuth::SEALED_LEN => {
                Err(Ended::ByPeer(goodbye::decode(data)))
            }
            Phase::Connecting | Phase::Proving => {
                let Identities { own, peer, auth, proof, .. } = &self.identities;
                auth.check(own, peer, proof, data)
                    .map_err(|error: AuthError| Ended::Refused(CloseReason::AuthenticationFailed(error.to_string())))?;
                self.guard.proved();
                let Some(remote) = self.remote else {
                    return Err(Ended::ByPeer(CloseReason::Lost("no path was chosen".to_owned())));
                };
                if self.dialed {
                    self.send_proof()?;
                    self.establish();
                } else {
                    self.phase = Phase::Deciding;
                }
                if let Some(proved) = self.proved.take() {
                    // Whoever waited may have gone; then the connection will be closed.
                    let _ = proved.send(Ok(remote));
                }
                Ok(())
            }
            Phase::Deciding | Phase::Established | Phase::Closing if self.identities.is_ours => {
                Err(Ended::ByPeer(goodbye::decode(data)))
            }
            // The existing node sends one message there.
            Phase::Deciding | Phase::Established | Phase::Closing => {
                Err(Ended::Refused(CloseReason::Violation("second_proof: a second message on stream 0".to_owned())))
            }
        }
    }

    pub(super) fn establish(&mut self) {
        self.phase = Phase::Established;
        self.heard = Instant::now();
        if !self.identities.is_ours {
            self.speak_at = Some(self.heard + FIRST_WORD_DELAY);
            if let Some(channel) = self.channels.first_mut().and_then(Option::take) {
                self.rtc.direct_api().close_data_channel(channel);
            }
        }
    }

    /// Tells the peer that it is over, and why where it understands that.
    pub(super) async fn part(&mut self, ended: Ended) {
        let (code, text) = match ended {
            Ended::ByNode(code, text) => (code, text),
            Ended::Refused(reason) => (reason.code(), reason.text().to_owned()),
            Ended::ByPeer(_) => (0, String::new()),
            Ended::TimedOut => (CloseReason::HelloTimeout.code(), String::new()),
        };
        let over = Instant::now() + PARTING_TIME;
        let understands = self.identities.is_ours && self.encrypted && code != 0;
        self.phase = Phase::Closing;
        for (_, registration) in &self.ports {
            registration.disowns();
        }
        if understands && self.say(code, &text) {
            // What the end of DTLS overtakes is lost: the peer is to have read the reason first. It then closes too.
            let is_said = |driver: &mut Self| driver.unsaid() == 0;
            self.serve_until(over, is_said).await;
        }
        drop(self.rtc.close());
        self.serve_until(over, |driver| !driver.rtc.is_alive()).await;
    }

    /// Says goodbye; false if it is too late for that. Then the peer sees the end alone.
    fn say(&mut self, code: u64, text: &str) -> bool {
        let channel = self.channels.first().copied().flatten().and_then(|channel| self.rtc.channel(channel));
        channel
            .is_some_and(|mut channel| channel.write(true, &goodbye::encode(code, text)).is_ok_and(|written| written))
    }

    /// What the peer has not acknowledged of that.
    fn unsaid(&mut self) -> usize {
        buffered(&mut self.rtc, self.channels.get(..1).unwrap_or_default())
    }

    /// Goes on with sending and receiving alone, until `is_over` or the time is.
    async fn serve_until(&mut self, over: Instant, is_over: impl Fn(&mut Self) -> bool) {
        loop {
            let Ok(until) = self.poll().await else { break };
            self.flush().await;
            if is_over(self) || Instant::now() >= over {
                break;
            }
            tokio::select! {
                datagram = self.datagrams.next() => self.receive(datagram),
                () = sleep_until(until.min(over)) => {
                    drop(self.timeout());
                }
            }
        }
        self.flush().await;
    }
}
