//! Executes what the relay of compact blocks decides.

use std::sync::Arc;

use mina_p2p_protocol::relay::{AskId, Job, Relay, RelayEvent, RelayOutput};
use mina_p2p_protocol::router::ConnectionId;
use mina_p2p_protocol::{Pools, RequestFailure};
use mina_p2p_transport::CloseReason;
use tracing::{Span, info};

use crate::core::{Core, State};
use crate::event::Event;
use crate::link::Order;

impl Core {
    /// Gives the relay an input, and executes what follows from it. Orders to connections are queued under the lock, so that
    /// they arrive in the order in which they were given; nothing here waits.
    pub(crate) fn relay<T>(self: &Arc<Core>, input: impl FnOnce(&mut Relay, &mut Pools) -> T) -> T {
        let mut state = self.state();
        let State { router, pools, .. } = &mut *state;
        let answer = input(&mut router.relay, pools);
        while let Some(output) = state.router.relay.poll_output() {
            self.execute(&mut state, output);
        }
        drop(state);
        self.relay_changed.notify_one();
        answer
    }

    fn execute(self: &Arc<Core>, state: &mut State, output: RelayOutput) {
        match output {
            RelayOutput::Permit { to, max_len } => order(state, to, Order::PermitBlock { max_len }),
            RelayOutput::Change { to, max_len } => order(state, to, Order::ChangePermit { max_len }),
            RelayOutput::Ask { to, ask, request } => {
                if state.links.contains_key(&to) {
                    order(state, to, Order::Ask { ask, request });
                } else {
                    self.not_asked(state, ask);
                }
            }
            RelayOutput::Cancel { to, ask } => order(state, to, Order::CancelAsk(ask)),
            RelayOutput::Work(job) => self.work(job),
            // What it holds is bounded by the relay, which hears when it is taken.
            RelayOutput::Event(event) => self.events.push_event(told(event)),
            RelayOutput::Violation { by, violation } => {
                if let Some(link) = state.links.get(&by) {
                    info!(peer = %link.peer, %violation, "violation");
                    link.close(CloseReason::Violation(violation.to_string()));
                }
            }
            RelayOutput::Relayed => self.wake_links(state),
        }
    }

    /// The user has taken so many of the relay's events.
    pub(crate) fn taken(self: &Arc<Core>, count: usize) {
        if count > 0 {
            let now = self.now();
            self.relay(|relay, pools| (0..count).for_each(|_| relay.taken(now, pools)));
        }
    }

    /// The connection has gone that was to be asked.
    fn not_asked(&self, state: &mut State, ask: AskId) {
        let State { router, pools, .. } = state;
        router.relay.answered(self.now(), ask, Err(RequestFailure::Disconnected), pools);
    }

    /// Runs a job where it holds up nothing else: hashing a large block takes milliseconds.
    fn work(self: &Arc<Core>, job: Box<Job>) {
        let core = Arc::clone(self);
        self.spawn(Span::none(), async move {
            let worked = match tokio::task::spawn_blocking(move || job.run()).await {
                Ok(worked) => worked,
                // The runtime is shutting down, or the job panicked: then this task does too, which is told.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return,
                },
            };
            let now = core.now();
            core.relay(|relay, pools| relay.worked(now, worked, pools));
        });
    }
}

/// Whether the relay is to hear that the user has taken this.
pub(crate) fn is_of_the_relay(event: &Event) -> bool {
    matches!(event, Event::Header { .. } | Event::Block { .. } | Event::BlockFailed { .. })
}

fn order(state: &State, to: ConnectionId, order: Order) {
    if let Some(link) = state.links.get(&to) {
        link.order(order);
    }
}

/// Keeps the relay's time.
pub(crate) async fn keep_relaying(core: Arc<Core>) {
    loop {
        let next = core.state().router.relay.next_timeout().map(|at| core.instant(at));
        tokio::select! {
            () = core.relay_changed.notified() => continue,
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
        let now = core.now();
        core.relay(|relay, pools| relay.handle_timeout(now, pools));
    }
}

fn told(event: RelayEvent) -> Event {
    match event {
        RelayEvent::Header { peer, key, bytes, header } => Event::Header {
            peer,
            key,
            height: header.height,
            previous_state_hash: header.previous_state_hash,
            header: bytes,
        },
        RelayEvent::Block { peer, key, block, previous_state_hash, how } => {
            Event::Block { peer, key, block, previous_state_hash, how }
        }
        RelayEvent::Failed { key, reason } => Event::BlockFailed { key, reason },
    }
}
