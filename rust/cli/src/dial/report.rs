//! What is shown of dials.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use mina_p2p_transport::TransportKind;
use mina_p2p_wire::PeerId;
use mina_p2p_wire::message::{Capabilities, Hello};
use serde::Serialize;

use super::advice;
use super::attempt::{Outcome, Peer, Plan, Step};
use super::stage::Stage;
use crate::failure::Failure;
use crate::output;

/// What `--json` prints. The names are promised to users; times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    address: String,
    peer_id: String,
    transport: &'static str,
    chain_id: String,
    dials: Vec<Dial>,
    /// How many of them got a first message.
    succeeded: usize,
}

/// One dial.
#[derive(Debug, Serialize)]
pub(super) struct Dial {
    /// As whom we dialed.
    identity: String,
    ok: bool,
    steps: Vec<Reached>,
    /// Known from authentication on.
    peer: Option<Described>,
    failure: Option<Stopped>,
}

#[derive(Debug, Serialize)]
struct Reached {
    step: Stage,
    ms: f64,
    since_previous_ms: f64,
    /// Addresses, or the message; may be empty.
    detail: String,
}

/// The peer.
#[derive(Debug, Serialize)]
struct Described {
    /// `mina-p2p`, or `mina-rust` for what is not of our own kind.
    kind: &'static str,
    remote_address: String,
    rtt_ms: f64,
    agent: Option<String>,
    protocol_version: Option<u32>,
    capabilities: Option<Vec<String>>,
    addresses: Option<Vec<String>>,
}

/// Where a dial stopped, and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stopped {
    /// The step that was not reached.
    step: Stage,
    error: String,
    reached: &'static str,
    not_reached: &'static str,
    check: String,
    #[serde(skip)]
    address: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, reached, not_reached, check, address, .. } = self;
        write!(f, "{address}: {error}\n  reached:     {reached}\n  not reached: {not_reached}\n  check:       {check}")
    }
}

impl Report {
    pub(super) fn new(plan: &Plan, dials: Vec<Dial>) -> Self {
        Self {
            address: plan.address.to_string(),
            peer_id: plan.address.peer_id().to_string(),
            transport: plan.kind().name(),
            chain_id: plan.chain.to_string(),
            succeeded: dials.iter().filter(|dial| dial.ok).count(),
            dials,
        }
    }

    /// Whether all went well; if not, why.
    pub(super) fn verdict(mut self) -> Result<(), Failure> {
        let times = self.dials.len();
        match times - self.succeeded {
            0 => Ok(()),
            failed if times > 1 => Err(Failure::Dials { failed, times }),
            _ => match self.dials.pop().and_then(|dial| dial.failure) {
                Some(stopped) => Err(Failure::Stopped(Box::new(stopped))),
                None => Ok(()),
            },
        }
    }

    /// Each step's times over all dials that reached it.
    pub(super) fn summary(&self, kind: TransportKind) -> String {
        let mut table = output::table(["step", "dials", "min ms", "median ms", "max ms"], &[1, 2, 3, 4]);
        for stage in Stage::of(kind) {
            let of_stage = |dial: &Dial| dial.steps.iter().find(|reached| reached.step == *stage).map(|found| found.ms);
            let mut times: Vec<f64> = self.dials.iter().filter_map(of_stage).collect();
            times.sort_by(f64::total_cmp);
            let at = |index: usize| times.get(index).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
            let last = times.len().saturating_sub(1);
            let cells = [times.len().to_string(), at(0), at(last / 2), at(last)];
            let [count, least, median, most] = cells;
            table.add_row([stage.title(kind).to_owned(), count, least, median, most]);
        }
        format!("{}\n{} of {} dials got a first message\n", table.trim_fmt(), self.succeeded, self.dials.len())
    }
}

impl Dial {
    pub(super) fn new(plan: &Plan, identity: PeerId, outcome: Outcome) -> Self {
        let Outcome { steps, peer, cause } = outcome;
        let last = steps.last().map(|step| step.stage);
        let stopped = |cause| {
            let step = Stage::after(plan.kind(), last);
            Stopped {
                step,
                reached: advice::reached(last, &cause),
                not_reached: advice::missing(step, plan.kind()),
                check: advice::check(plan, step, &cause),
                error: cause.to_string(),
                address: plan.address.to_string(),
            }
        };
        Self {
            identity: identity.to_string(),
            ok: cause.is_none(),
            failure: cause.map(stopped),
            steps: steps.into_iter().map(Reached::of).collect(),
            peer: peer.map(Described::of),
        }
    }

    pub(super) fn stopped(&self) -> Option<&Stopped> {
        self.failure.as_ref()
    }

    /// Who the peer is.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let Some(peer) = &self.peer else { return text };
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<20} {value}");
        };
        let who = match (&peer.agent, peer.protocol_version) {
            (Some(agent), Some(version)) => format!("mina-p2p, \"{agent}\", protocol version {version}"),
            _ => "a Mina Rust node or a browser (it does not say that it is a mina-p2p node)".to_owned(),
        };
        line("the peer is", &who);
        if let Some(capabilities) = &peer.capabilities {
            line("it can", &or_nothing(capabilities));
        }
        for address in peer.addresses.iter().flatten() {
            line("it listens at", address);
        }
        line("its address is", &peer.remote_address);
        line("round trip", &format!("{:.1} ms", peer.rtt_ms));
        text
    }
}

fn or_nothing(names: &[String]) -> String {
    if names.is_empty() { "nothing beyond the protocol".to_owned() } else { names.join(", ") }
}

impl Reached {
    fn of(step: Step) -> Self {
        let Step { stage, at, since, detail } = step;
        Self { step: stage, ms: ms(at), since_previous_ms: ms(since), detail }
    }
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

/// A step as it is reached: when, and how long it took.
pub(super) fn line(step: &Step, kind: TransportKind) -> String {
    let Step { stage, at, since, detail } = step;
    let line = format!("  {:<20} {:>9.1} ms {:>+10.1} ms   {detail}", stage.title(kind), ms(*at), ms(*since));
    line.trim_end().to_owned() + "\n"
}

impl Described {
    fn of(peer: Peer) -> Self {
        let Peer { hello, remote, rtt } = peer;
        let kind = if hello.is_some() { "mina-p2p" } else { "mina-rust" };
        let said = |hello: &Hello| {
            let addresses = hello.listen_addresses.iter().map(ToString::to_string).collect();
            (printable(&hello.agent), hello.protocol_version, names(hello.capabilities), addresses)
        };
        let (agent, protocol_version, capabilities, addresses) = match hello.as_ref().map(said) {
            Some((agent, version, capabilities, addresses)) => {
                (Some(agent), Some(version), Some(capabilities), Some(addresses))
            }
            None => (None, None, None, None),
        };
        Self {
            kind,
            remote_address: remote.to_string(),
            rtt_ms: ms(rtt),
            agent,
            protocol_version,
            capabilities,
            addresses,
        }
    }
}

/// A peer's text without what drives terminals or turns lines around.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() { c } else { '?' }).collect()
}

/// The capabilities that we know by name, then the bits that we do not.
fn names(capabilities: Capabilities) -> Vec<String> {
    let known = [
        (Capabilities::POOLS_UNGATED, "pools_ungated"),
        (Capabilities::EXTENSION_RPC, "extension_rpc"),
        (Capabilities::COMPACT_BLOCKS, "compact_blocks"),
        (Capabilities::RELAY_SIGNALING, "relay_signaling"),
    ];
    let mut rest = capabilities.bits();
    let mut names = Vec::new();
    for (capability, name) in known {
        if capabilities.contains(capability) {
            names.push(name.to_owned());
            rest &= !capability.bits();
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_names_and_others_their_bits() {
        assert!(names(Capabilities::empty()).is_empty());
        let some = Capabilities::POOLS_UNGATED | Capabilities::RELAY_SIGNALING | Capabilities::from_bits(1 << 40);
        assert_eq!(names(some), ["pools_ungated", "relay_signaling", "0x10000000000"]);
    }

    #[test]
    fn a_peers_text_cannot_drive_a_terminal() {
        assert_eq!(printable("mina 1.0 (x86_64)"), "mina 1.0 (x86_64)");
        assert_eq!(printable("a\u{1b}[2J\n\u{202e}b\u{7f}"), "a?[2J??b?");
    }

    #[test]
    fn a_step_is_shown_with_both_times() {
        let (at, since) = (Duration::from_micros(12_345), Duration::from_micros(2_000));
        let step = Step { stage: Stage::Answered, at, since, detail: String::new() };
        assert_eq!(line(&step, TransportKind::WebRtc), "  offer answered            12.3 ms       +2.0 ms\n");
    }
}
