//! One block's way from a node that has it to one whose pools have some of its items, without a network in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use mina_p2p_block::{
    Header, Invalid, ItemId, ItemKind, ItemSource, KnownBlock, LayoutError, Need, Outcome, PoolItem, Rebuild, Refused,
    compact, merkle,
};
use mina_p2p_wire::binprot::{DecodeError, nat0_len};
use mina_p2p_wire::frame::HEAD_LEN;
use mina_p2p_wire::message::{
    BlockAnswer, BlockQuery, CompactMessage, ExtensionMessage, ExtensionName, Frame, InvalidExtensionName,
    MAX_COMPACT_LEN,
};

/// What a relay cost, in bytes of frames, heads included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The compact message.
    pub(crate) compact: u64,
    /// The compact message, requests and answers.
    pub(crate) relayed: u64,
    /// How many items were not in the pool.
    pub(crate) missed: u64,
}

/// Why the block was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("it does not travel compactly")]
    Whole,
    #[error("a message is not read as it was written: {0}")]
    Message(#[from] DecodeError),
    #[error("a message is read as another one")]
    OtherMessage,
    #[error("a name: {0}")]
    Name(#[from] InvalidExtensionName),
    #[error("the header: {0}")]
    Header(#[from] LayoutError),
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Invalid(Invalid),
    /// The pool has items of the block only, whose short ids differ.
    #[error("items were taken for others")]
    Mistaken,
    #[error("the answer does not bring what was asked for")]
    NoProgress,
    #[error("the bytes are not the file's")]
    OtherBytes,
}

/// A block that is relayed, as often as wanted.
pub(crate) struct Relay {
    known: KnownBlock,
    /// Where each item is.
    places: BTreeMap<ItemId, usize>,
}

impl Relay {
    pub(crate) fn new(known: KnownBlock) -> Self {
        let places = known.ids.iter().copied().zip(0..).collect();
        Self { known, places }
    }

    /// The block's bytes.
    pub(crate) fn len(&self) -> u64 {
        self.known.bytes.len() as u64
    }

    /// How many items the block has.
    pub(crate) fn items(&self) -> usize {
        self.known.ids.len()
    }

    /// Relays the block to a pool that has each item with probability `hit`. The same seed gives the same pool.
    pub(crate) fn run(&self, hit: f64, seed: u64) -> Result<Cost, Broken> {
        let has = self.known.ids.iter().map(|id| draw(seed, id) < hit).collect();
        let pool = Pool { relay: self, has };
        let message = self.send(seed)?;
        let compact = frame_len(&message);
        let mut relayed = compact;
        let mut rebuild = receive(message, &pool)?;
        let missed = rebuild.missing().len() as u64;
        loop {
            match rebuild.need() {
                Need::Items(places) => {
                    let asked = places.to_vec();
                    let query = BlockQuery::Items { key: self.known.key, root: rebuild.root(), places: asked.clone() };
                    let request = ask(&query)?;
                    let answer = self.answer(&query)?;
                    relayed = relayed.saturating_add(frame_len(&request)).saturating_add(frame_len(&answer));
                    let (items, proof) = answered(answer)?;
                    if rebuild.provide(&asked, items, &proof)? == 0 {
                        return Err(Broken::NoProgress);
                    }
                }
                Need::Assembly => {
                    let outcome = rebuild.assemble().run();
                    rebuild.assembled(&outcome);
                    match outcome {
                        Outcome::Complete(block) if block.bytes == self.known.bytes => {
                            return Ok(Cost { compact, relayed, missed });
                        }
                        Outcome::Complete(_) => return Err(Broken::OtherBytes),
                        Outcome::Invalid(invalid) => return Err(Broken::Invalid(invalid)),
                        Outcome::Missing(_) | Outcome::Failed => {}
                    }
                }
                Need::Ids | Need::Body | Need::Nothing => return Err(Broken::Mistaken),
            }
        }
    }

    /// The message with the block, nothing prefilled. (Its length does not depend on the seed.)
    fn send(&self, seed: u64) -> Result<Frame, Broken> {
        let header = self.known.header();
        let before_list = 1 + nat0_len(header.len() as u64) + header.len();
        let list = MAX_COMPACT_LEN.checked_sub(before_list).and_then(|max| compact(&self.known, seed, &[], max));
        Ok(CompactMessage::Compact { header, list: list.ok_or(Broken::Whole)? }.encode())
    }

    /// The response of a node that has the block: the first of the items, as many as fit.
    fn answer(&self, query: &BlockQuery) -> Result<Frame, Broken> {
        let BlockQuery::Items { places, .. } = query else { return Err(Broken::OtherMessage) };
        let answer = self.known.answer_items(places, BlockAnswer::MAX_LEN).ok_or(Broken::NoProgress)?;
        Ok(ExtensionMessage::Response { id: 0, result: Ok(answer.encode()) }.encode())
    }
}

/// Reads the message with a block, and finds what it can in the pool.
fn receive(message: Frame, pool: &Pool<'_>) -> Result<Rebuild, Broken> {
    let CompactMessage::Compact { header, list } = CompactMessage::decode(message.into_bytes())?.value else {
        return Err(Broken::OtherMessage);
    };
    let facts = Header::of(&header)?;
    Ok(Rebuild::new(header, facts, list, pool)?)
}

/// The request with a query.
fn ask(query: &BlockQuery) -> Result<Frame, Broken> {
    let name: ExtensionName = query.method().parse()?;
    let version = BlockQuery::VERSION;
    Ok(ExtensionMessage::Request {
        id: 0,
        name,
        version,
        max_answer: BlockAnswer::MAX_LEN as u32,
        body: query.encode(),
    }
    .encode())
}

/// Reads the response with items and their proof.
fn answered(response: Frame) -> Result<(Vec<Bytes>, Vec<merkle::TreeHash>), Broken> {
    let ExtensionMessage::Response { result: Ok(answer), .. } = ExtensionMessage::decode(response.into_bytes())?.value
    else {
        return Err(Broken::OtherMessage);
    };
    match BlockAnswer::decode(answer)? {
        BlockAnswer::Items { items, proof } => Ok((items, proof)),
        _ => Err(Broken::OtherMessage),
    }
}

/// A message's bytes on its stream: the head of its frame and its body.
fn frame_len(body: &Frame) -> u64 {
    body.len().saturating_add(HEAD_LEN) as u64
}

/// The receiver's pools, as far as the block's items are concerned.
struct Pool<'a> {
    relay: &'a Relay,
    /// Of each item whether it is there.
    has: Vec<bool>,
}

impl ItemSource for Pool<'_> {
    fn for_each_id(&self, f: &mut dyn FnMut(&ItemId)) {
        self.relay.known.ids.iter().zip(&self.has).filter(|(_, has)| **has).for_each(|(id, _)| f(id));
    }

    fn get(&self, id: &ItemId) -> Option<PoolItem> {
        let place = *self.relay.places.get(id)?;
        if !*self.has.get(place)? {
            return None;
        }
        let is_work = self.relay.known.layout.items.get(place)?.kind == ItemKind::Work;
        Some(PoolItem { id: *id, parts: [self.relay.known.item(place)?, Bytes::new()], is_work })
    }
}

/// A number from 0 to below 1 for a seed and an item: splitmix64 of both. The item is drawn alike wherever it occurs.
fn draw(seed: u64, id: &ItemId) -> f64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    let number = mix(seed).wrapping_add(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    // As many bits as a fraction has.
    (mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use mina_p2p_block::generate::{PreDiff, Recipe, block, command};

    use super::*;

    fn relay(recipe: &Recipe) -> Relay {
        Relay::new(KnownBlock::of(block(recipe)).unwrap())
    }

    #[test]
    fn draws_are_spread_evenly_and_repeat() {
        let draws: Vec<f64> = (0..10_000_u64)
            .map(|at| {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&at.to_le_bytes());
                draw(7, &ItemId(id))
            })
            .collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let below = draws.iter().filter(|draw| **draw < 0.95).count();
        // Ten standard deviations.
        assert!(below.abs_diff(9500) < 220, "{below}");
        assert!((draw(7, &ItemId([0; 32])) - draws[0]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_block_whose_items_are_there_costs_its_header_and_short_ids() {
        let relay = relay(&Recipe::counts(1, 3, 9, 1));
        let cost = relay.run(1.0, 1).unwrap();
        assert_eq!((cost.relayed, cost.missed), (cost.compact, 0));
        let statuses: usize =
            relay.known.layout.items.iter().filter_map(|item| item.status.clone()).map(|s| s.len()).sum();
        let limit = relay.known.layout.header.len + 100 + 8 * relay.items() + statuses;
        assert!(cost.compact <= limit as u64, "{cost:?}, {limit}");
    }

    #[test]
    fn a_block_of_which_nothing_is_there_costs_little_more_than_itself() {
        let relay = relay(&Recipe { second: Some(PreDiff::counts(2, 2, 3, 1)), ..Recipe::counts(1, 3, 9, 1) });
        let cost = relay.run(0.0, 1).unwrap();
        assert_eq!(cost.missed, 19);
        assert!(cost.relayed < relay.len() + relay.len() * 3 / 100, "{cost:?}");
    }

    #[test]
    fn an_item_that_is_in_a_block_twice_is_fetched_twice() {
        let commands = vec![command(1), command(1), command(2)];
        let relay = relay(&Recipe { first: PreDiff { works: Vec::new(), commands }, ..Recipe::default() });
        assert_eq!(relay.run(1.0, 1).unwrap().missed, 2);
    }

    #[test]
    fn a_block_without_items_is_relayed() {
        let cost = relay(&Recipe::default()).run(0.0, 1).unwrap();
        assert_eq!(cost.relayed, cost.compact);
    }
}
