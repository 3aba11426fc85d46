//! How soon a block is one hop away: compactly, and whole, over the same emulated path in the same run.
//!
//! `cargo bench -p mina-p2p --bench compact`; `-- --json` for one JSON object. The clock starts when the first node knows the
//! block: when the call that gives it has returned, which hashes it. It stops when the second node's user takes the event with
//! the block; what that node computes is in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "not shipped")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../block/benches/common/mod.rs"]
mod figure;
#[path = "../relay/mod.rs"]
mod relay;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{address, connected, node, until};
use figure::{Blocks, Figure, median};
use mina_p2p::block::{ItemForm, ItemKind, KnownBlock, WorkForm, command_info, generate, work_info};
use mina_p2p::message::StateHash;
use mina_p2p::{Address, Event, Host, HowItCame, Node, PeerFigures, Via};
use relay::{Path, Rate, Relay};

const DELAY: Duration = Duration::from_millis(25);
const BITS_PER_SECOND: u64 = 50_000_000;
/// Two times what is under way on such a path in a round trip.
const RATE: Rate = Rate {
    bits_per_second: BITS_PER_SECOND,
    queue: 2 * (BITS_PER_SECOND as usize / 8) * 2 * DELAY.as_millis() as usize / 1000,
};
/// How far from what the path takes by itself.
const WITHIN_MS: f64 = 15.0;
const ROUNDS: u64 = 15;
/// Blocks before the measured ones. All their items are new, as for a node whose pools are empty still: so that the transport
/// knows what the path carries.
const WARMING: u64 = 3;
/// How long there is silence between blocks: permits are back, pools' offers have ended.
const SILENCE: Duration = Duration::from_millis(250);

fn main() {
    let blocks = Blocks::load();
    let mut sorted: Vec<&KnownBlock> = blocks.mainnet.iter().collect();
    sorted.sort_by_key(|block| block.bytes.len());
    let usual = sorted[sorted.len() / 2];
    let mut figures = over_a_path(&blocks.large, usual);
    figures.push(on_loopback(&blocks.large));
    figure::print(&figures);
}

/// Two nodes; the second has the pools.
struct Pair {
    ours: Arc<Node>,
    theirs: Node,
    stop: Arc<AtomicBool>,
    /// Takes the first node's events: offers of what is in the pools.
    taker: Option<thread::JoinHandle<()>>,
}

/// What one block took, in milliseconds.
struct Came {
    /// What the call with it took, at the first node.
    given: f64,
    /// From then to the header's event.
    header: f64,
    /// From then to the block's event.
    block: f64,
    how: Option<HowItCame>,
}

impl Pair {
    /// The second dials the first, through a relay if there is a path.
    fn new(compact: bool, path: Option<Path>) -> Pair {
        let [ours, theirs] = [1, 2].map(|n| node(n, |builder| builder.compact_blocks(compact)));
        let to = match path {
            Some(path) => {
                let port = Relay::start(address(&ours).port().unwrap(), path).port();
                Address::Quic { peer_id: ours.peer_id(), host: Host::Ipv4([127, 0, 0, 1].into()), port }
            }
            None => address(&ours),
        };
        theirs.dial(&to).unwrap();
        connected(&theirs);
        let (ours, stop) = (Arc::new(ours), Arc::new(AtomicBool::new(false)));
        let (taken, stopped) = (Arc::clone(&ours), Arc::clone(&stop));
        let taker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                drop(taken.wait(64, Duration::from_millis(100)));
            }
        });
        thread::sleep(SILENCE);
        Pair { ours, theirs, stop, taker: Some(taker) }
    }

    /// Puts a block's items into the second node's pools.
    fn fill(&self, block: &KnownBlock) {
        for (place, item) in block.layout.items.iter().enumerate() {
            let bytes = block.item(place).unwrap();
            if item.kind == ItemKind::Work {
                // Jobs of their own: the 3 MB block has several works for one, of which pools keep the last.
                let mut info = work_info(&bytes).unwrap();
                info.job_id.0[..8].copy_from_slice(&(place as u64).to_le_bytes());
                let body = WorkForm::of(ItemForm::BlockWork, &bytes).unwrap().rpc_parts(&bytes).concat();
                self.theirs.add_work(info, body.into()).unwrap();
            } else {
                // The hash is another than the network's, and only its own pools see it.
                let info = command_info(&bytes, Some(&[])).unwrap();
                self.theirs.add_transaction(info, bytes).unwrap();
            }
        }
    }

    /// Gives a new block to the first node, and waits until the second has it.
    fn compactly(&self, block: Bytes) -> Came {
        thread::sleep(SILENCE);
        let state_hash = StateHash(blake2b(&block));
        let start = Instant::now();
        let key = self.ours.set_best_tip(state_hash, block.clone()).unwrap();
        let given = ms(start);
        let start = Instant::now();
        until(&self.theirs, |event| matches!(event, Event::Header { key: told, .. } if told == key).then_some(()));
        self.theirs.accept_header(key, None).unwrap();
        let header = ms(start);
        let (came, how) = until(&self.theirs, |event| match event {
            Event::Block { block, how, .. } => Some((block, how)),
            Event::BlockFailed { reason, .. } => panic!("{reason}"),
            _ => None,
        });
        let time = ms(start);
        assert!(came == block);
        assert_eq!(how.via, Via::List);
        self.theirs.accept(key, state_hash).unwrap();
        Came { given, header, block: time, how: Some(how) }
    }

    fn whole(&self, block: Bytes) -> Came {
        thread::sleep(SILENCE);
        let start = Instant::now();
        self.ours.set_best_tip(StateHash(blake2b(&block)), block.clone()).unwrap();
        let given = ms(start);
        let start = Instant::now();
        let came = until(&self.theirs, |event| match event {
            Event::BestTip { block, .. } => Some(block),
            _ => None,
        });
        let time = ms(start);
        assert!(came == block);
        Came { given, header: time, block: time, how: None }
    }

    /// What the first node sees of the second.
    fn peer(&self) -> PeerFigures {
        self.ours.peers().pop().unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(taker) = self.taker.take() {
            taker.join().unwrap();
        }
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn blake2b(bytes: &[u8]) -> [u8; 32] {
    generate::hash(bytes)
}

/// Which of a block's items are in nobody's pools.
#[derive(Clone, Copy)]
enum Missing {
    None,
    All,
    /// A work.
    One,
    /// One in twenty.
    FivePercent,
}

/// Another block of the same items, but for those that miss, which are new.
fn another(block: &KnownBlock, n: u64, missing: Missing) -> Bytes {
    let items = &block.layout.items;
    let some_work = items.len() / 4;
    let is_new = |place: usize| match missing {
        Missing::None => false,
        Missing::All => true,
        Missing::One => place == some_work,
        Missing::FivePercent => place % 20 == 10,
    };
    let mut body = Vec::with_capacity(block.bytes.len());
    let mut at = block.layout.body.start;
    for (place, item) in items.iter().enumerate().filter(|(place, _)| is_new(*place)) {
        body.extend_from_slice(&block.bytes[at..item.range.start]);
        let seed = n << 16 | place as u64;
        body.extend_from_slice(&match item.kind {
            ItemKind::Work => generate::work(seed),
            ItemKind::SignedCommand => generate::command(seed),
            ItemKind::ZkappCommand => generate::zkapp_command(seed),
        });
        at = item.range.end;
    }
    body.extend_from_slice(&block.bytes[at..]);
    generate::with_body(&generate::header(n, 1000, StateHash([9; 32])), &body).into()
}

fn over_a_path(large: &KnownBlock, usual: &KnownBlock) -> Vec<Figure> {
    let path = Path { delay: DELAY, rate: Some(RATE) };
    let (compact, plain) = (Pair::new(true, Some(path)), Pair::new(false, Some(path)));
    compact.fill(large);
    compact.fill(usual);
    let mut n = 0;
    let mut next = |block: &KnownBlock, missing| {
        n += 1;
        another(block, n, missing)
    };
    let cold = compact.compactly(next(large, Missing::None));
    let cold_missing = compact.compactly(next(large, Missing::FivePercent));
    let cold_whole = plain.whole(next(large, Missing::None));
    for _ in 0..WARMING {
        compact.compactly(next(large, Missing::All));
        plain.whole(next(large, Missing::All));
    }
    let [mut full, mut one, mut some, mut small, mut whole] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        full.push(compact.compactly(next(large, Missing::None)));
        one.push(compact.compactly(next(large, Missing::One)));
        some.push(compact.compactly(next(large, Missing::FivePercent)));
        small.push(compact.compactly(next(usual, Missing::None)));
        whole.push(plain.whole(next(large, Missing::None)));
    }
    let window = compact.peer().wire.congestion_window / 1024;
    let lost = [&compact, &plain].map(|pair| pair.peer().wire.packets_lost);
    let mut figures = vec![
        expected("compact_hop_ms", "3 MB block, one hop, nothing missing", 0, &full),
        expected("compact_one_missing_hop_ms", "the same, one work missing", 1, &one),
        expected("compact_5_percent_missing_hop_ms", "the same, 5 % of the items missing", 1, &some),
        expected("compact_usual_hop_ms", "a usual block, nothing missing", 0, &small),
    ];
    let time = |came: &[Came]| median(came.iter().map(|came| came.block).collect());
    let (whole, full) = (time(&whole), time(&full));
    figures.push(Figure {
        key: "whole_ratio",
        what: "3 MB block whole, against compactly",
        value: whole / full,
        unit: "x as long",
        target: ">= 5",
        met: whole / full >= 5.0,
        detail: format!(
            "{whole:.0} ms; congestion window {window} KiB where compact, packets lost {} compact, {} whole",
            lost[0], lost[1]
        ),
    });
    figures.push(Figure {
        key: "compact_cold_hop_ms",
        what: "the first block of a connection, compactly",
        value: cold.block,
        unit: "ms",
        target: "",
        met: true,
        detail: format!(
            "3 MB, nothing missing; the first with 5 % missing {:.0} ms; the first whole {:.0} ms",
            cold_missing.block, cold_whole.block
        ),
    });
    figures
}

/// Against what the path takes by itself for the same bytes, and so many questions with their answers.
fn expected(key: &'static str, what: &'static str, questions: u32, came: &[Came]) -> Figure {
    let of = |f: &dyn Fn(&Came) -> f64| median(came.iter().map(f).collect());
    let how = |came: &Came| came.how.unwrap();
    let received = of(&|came| how(came).received as f64);
    let trips = f64::from(questions) + 0.5;
    let on_the_path = (DELAY.as_secs_f64() * 2.0 * trips + RATE.time(received as usize).as_secs_f64()) * 1e3;
    let value = of(&|came| came.block);
    let over = value - on_the_path;
    Figure {
        key,
        what,
        value,
        unit: "ms",
        target: "<= path + 15",
        met: over <= WITHIN_MS,
        detail: format!(
            "the path alone {on_the_path:.1}: {trips:.1} RTT, {:.1} KB; {over:+.1}; header after {:.1}; the call before took {:.1}",
            received / 1e3,
            of(&|came| came.header),
            of(&|came| came.given),
        ),
    }
}

/// From the header's event to the block's.
fn on_loopback(large: &KnownBlock) -> Figure {
    let pair = Pair::new(true, None);
    pair.fill(large);
    thread::sleep(Duration::from_secs(1));
    let came: Vec<Came> = (0..ROUNDS).map(|n| pair.compactly(another(large, 1000 + n, Missing::None))).collect();
    let of = |f: &dyn Fn(&Came) -> f64| median(came.iter().map(f).collect());
    Figure {
        key: "header_to_block_ms",
        what: "from a header's event to its block's",
        value: of(&|came| came.block - came.header),
        unit: "ms",
        target: "",
        met: true,
        detail: format!(
            "loopback, 3 MB, nothing missing; block known to block there {:.1} ms, the call before {:.1}",
            of(&|came| came.block),
            of(&|came| came.given)
        ),
    }
}
