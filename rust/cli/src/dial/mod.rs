//! `mina-p2p dial`: how far a dial gets, and why it gets no further.

mod advice;
mod attempt;
mod first;
mod report;
mod stage;

use std::time::Duration;

use mina_p2p_wire::SecretKey;

use self::attempt::{Plan, Step};
pub(crate) use self::report::Stopped;
use self::report::{Dial, Report};
use crate::failure::Failure;
use crate::{args, input, output};

/// Between two dials: the signaling server of our own kind takes four offers a second of one address on average.
const PAUSE: Duration = Duration::from_millis(300);

pub(crate) fn run(args: &args::Dial) -> Result<(), Failure> {
    let no_start = |error: std::io::Error| Failure::NoStart(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_start)?;
    runtime.block_on(dial(args))
}

async fn dial(args: &args::Dial) -> Result<(), Failure> {
    let key = args.key.as_deref().map(input::secret_key).transpose()?;
    let plan = Plan {
        address: args.address.clone(),
        // The arguments demand one.
        chain: args.chain.id().ok_or_else(|| Failure::NoStart("no chain id".to_owned()))?,
        timeout: Duration::from_secs(args.timeout),
        stun: args.stun.clone(),
    };
    let mut dials = Vec::new();
    for round in 1..=args.times {
        if round > 1 {
            tokio::time::sleep(PAUSE).await;
        }
        let key = key.clone().map_or_else(fresh_key, Ok)?;
        let done = one(&plan, key, args.json).await?;
        if let Some(stopped) = done.stopped().filter(|_| args.times > 1) {
            output::complain(stopped);
        }
        dials.push(done);
    }
    let report = Report::new(&plan, dials);
    if args.json {
        output::print_json(&report)?;
    } else if args.times > 1 {
        output::print(&report.summary(plan.kind()))?;
    }
    report.verdict()
}

/// Dials once; shows each step as it is reached, so that it can be seen where it hangs.
async fn one(plan: &Plan, key: SecretKey, silent: bool) -> Result<Dial, Failure> {
    let identity = key.peer_id();
    let show = |text: &str| if silent { Ok(()) } else { output::print(text) };
    show(&format!("dialing {} as {identity}\n", plan.address))?;
    let kind = plan.kind();
    // If nobody reads any more, the text after it will say so.
    let tell = |step: &Step| drop(show(&report::line(step, kind)));
    let outcome = plan.dial(key, &tell).await?;
    let done = Dial::new(plan, identity, outcome);
    show(&done.text())?;
    Ok(done)
}

/// An identity that nobody knows.
fn fresh_key() -> Result<SecretKey, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::NoStart(format!("no randomness: {error}")))?;
    Ok(SecretKey::from_bytes(seed))
}
