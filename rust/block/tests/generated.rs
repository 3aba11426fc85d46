//! What holds for every block, on generated ones; and what holds for any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use mina_p2p_block::generate::{self, PreDiff, Recipe};
use mina_p2p_block::{
    BodyChunks, BodyError, BodyParams, ChunkedBody, Header, InfoError, ItemForm, ItemKind, KnownBlock, Layout,
    LayoutError, MAX_ITEMS, NotKnown, WorkForm, block_key, body_reference, canonical, check_item, command_info, holes,
    item_id, work_info,
};
use mina_p2p_wire::{BlockKey, StateHash};
use proptest::prelude::*;

fn recipe(seed: u64, counts: [usize; 3], second: Option<[usize; 3]>) -> Recipe {
    let [works, signed, zkapp] = counts;
    let second = second.map(|[works, signed, zkapp]| PreDiff::counts(seed ^ 2, works, signed, zkapp));
    Recipe { second, ..Recipe::counts(seed, works, signed, zkapp) }
}

/// A block with an item of each kind in each pre-diff.
fn block() -> Bytes {
    generate::block(&recipe(7, [1, 2, 1], Some([1, 1, 1])))
}

fn fill_holes(skeleton: &[u8], items: &[&[u8]]) -> Vec<u8> {
    let holes = holes(skeleton, items.len()).unwrap();
    assert_eq!(holes.len(), items.len());
    let (mut body, mut at) = (Vec::new(), 0);
    for (hole, item) in holes.iter().zip(items) {
        body.extend_from_slice(&skeleton[at..hole.at]);
        body.extend_from_slice(item);
        at = hole.at;
    }
    body.extend_from_slice(&skeleton[at..]);
    body
}

#[test]
fn sizes_are_mainnets() {
    for seed in 0..40 {
        assert!((150..=240).contains(&generate::command(seed).len()));
        let work = generate::work(seed).len();
        assert!((11_000..=13_500).contains(&work) || (22_000..=26_500).contains(&work), "{work}");
        let header = generate::header(seed, 300_000, StateHash([1; 32])).len();
        assert!((12_500..=13_500).contains(&header), "{header}");
    }
}

#[test]
fn header_says_what_the_recipe_says() {
    for height in [0, 1, 127, 128, 359_607, i32::MAX as u32 + 1, u32::MAX] {
        let recipe = Recipe { height, previous_state_hash: StateHash([9; 32]), ..Recipe::default() };
        let block = generate::block(&recipe);
        let header = Header::prefix_of(&block).unwrap();
        assert_eq!((header.height, header.previous_state_hash), (height, StateHash([9; 32])));
        assert_eq!(Header::of(&block[..header.len]), Ok(header.clone()));
        let trailing = LayoutError::TrailingBytes { offset: header.len, count: block.len() - header.len };
        assert_eq!(Header::of(&block), Err(trailing));
        assert_eq!(header.body_reference, body_reference(&block[header.len..], BodyParams::MAINNET));
        assert_eq!(block_key(&block), block_key(&block[..header.len]));
        assert_eq!(block_key(&block), BlockKey::of(&block[..header.len]));
    }
    assert_eq!(block_key(b"no block"), BlockKey::of(b"no block"));
}

#[test]
fn every_cut_is_refused_where_it_is() {
    let block = block();
    for len in (0..block.len()).step_by(7) {
        let error = Layout::of(&block[..len]).unwrap_err();
        assert!(matches!(error, LayoutError::UnexpectedEnd { offset, .. } if offset == len), "{len}: {error}");
    }
    let error = Layout::of(&[&block[..], &[0, 1]].concat()).unwrap_err();
    assert_eq!(error, LayoutError::TrailingBytes { offset: block.len(), count: 2 });
    assert_eq!(error.to_string(), format!("2 bytes are left over at offset {}", block.len()));
}

#[test]
fn every_changed_byte_of_a_body_is_noticed() {
    let block = generate::block(&recipe(3, [0, 3, 0], None));
    let body = Layout::of(&block).unwrap().body;
    let mut changed = block.to_vec();
    for at in body {
        for flip in [1, 2, 0x80, 0xff] {
            changed[at] ^= flip;
            let error = KnownBlock::of(changed.clone().into()).unwrap_err();
            if let NotKnown::Layout(error) = error {
                assert!(error.offset() <= changed.len());
            }
            changed[at] ^= flip;
        }
    }
}

#[test]
fn a_block_with_another_body_than_its_header_names_is_not_known() {
    let (one, other) = (generate::block(&recipe(1, [0, 1, 0], None)), generate::block(&recipe(2, [0, 1, 0], None)));
    let (header, body) = (Layout::of(&one).unwrap().header.len, Layout::of(&other).unwrap().body);
    let mixed = [&one[..header], &other[body]].concat();
    assert!(matches!(KnownBlock::of(mixed.into()), Err(NotKnown::OtherBody { .. })));
}

#[test]
fn calls_are_walked_to_their_bound_and_refused_beyond() {
    let deep = |levels| generate::block_of_commands(1, vec![generate::deep_zkapp_command(1, levels)]);
    assert!(Layout::of(&deep(64)).is_ok());
    let error = Layout::of(&deep(65)).unwrap_err();
    assert!(matches!(error, LayoutError::TooDeep { max: 64, what: "calls", .. }), "{error}");
    let small_stack = std::thread::Builder::new().stack_size(256 * 1024);
    let block = deep(64);
    assert!(small_stack.spawn(move || Layout::of(&block).is_ok()).unwrap().join().unwrap());
    // Far beyond.
    let command = generate::deep_zkapp_command(1, 20_000);
    assert!(command.len() > 1_000_000);
    assert!(matches!(check_item(ItemForm::Command, &command), Err(LayoutError::TooDeep { .. })));
    assert!(matches!(command_info(&command, None), Err(InfoError::Layout(LayoutError::TooDeep { .. }))));
    assert!(matches!(canonical(ItemForm::Command, &command), Err(LayoutError::TooDeep { .. })));
}

#[test]
fn lengths_that_are_claimed_are_not_believed() {
    let header = generate::header(1, 1, StateHash([0; 32]));
    let claim = |code: &[u8]| Layout::of(&[&header[..], code].concat()).unwrap_err();
    let billions = [0xfc, 0, 0xca, 0x9a, 0x3b, 0, 0, 0, 0xff];
    assert!(matches!(claim(&billions), LayoutError::TooManyItems { max: MAX_ITEMS, .. }));
    assert!(matches!(claim(&[0xfe, 0x01, 0x20]), LayoutError::TooManyItems { count: 8193, .. }));
    assert!(matches!(claim(&[0xfe, 0x00, 0x20]), LayoutError::UnexpectedEnd { .. }), "8192 may be, but are not there");
    // Works take no bytes in a skeleton.
    let skeleton = [&[0xfe, 0x00, 0x20][..], &[0, 0, 0, 0]].concat();
    assert_eq!(holes(&skeleton, 8192).unwrap().len(), 8192);
    assert!(matches!(holes(&skeleton, 8191), Err(LayoutError::TooManyItems { count: 8192, max: 8191, .. })));
    assert!(matches!(holes(&billions, 8192), Err(LayoutError::TooManyItems { .. })));
    // Both lists count, and both pre-diffs.
    let skeleton = [2, 2, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0];
    assert_eq!(holes(&skeleton, 7).unwrap().len(), 7);
    assert!(matches!(holes(&skeleton, 6), Err(LayoutError::TooManyItems { count: 7, offset: 8, .. })));
    let internal = [0, 0, 0, 0xfd, 0xff, 0xff, 0xff, 0x7f];
    assert!(matches!(holes(&internal, 8), Err(LayoutError::UnexpectedEnd { what: "internal command statuses", .. })));
}

#[test]
fn integers_longer_than_needed_are_refused_by_name_and_can_be_respelled() {
    let command = generate::command(5);
    // The fee is right behind the tag; make it 3, in every spelling.
    let fee_len = command.len() - after_fee(&command).len() - 1;
    let with_fee = |fee: &[u8]| [&command[..1], fee, &command[1 + fee_len..]].concat();
    let shortest = with_fee(&[3]);
    assert!(matches!(canonical(ItemForm::Command, &shortest), Ok(std::borrow::Cow::Borrowed(_))));
    for fee in generate::long_spellings(3) {
        let long = with_fee(&fee);
        let refused = LayoutError::NotCanonical { offset: 1, what: "fee" };
        assert_eq!(check_item(ItemForm::Command, &long), Err(refused.clone()));
        assert_eq!(command_info(&long, None), Err(InfoError::Layout(refused)));
        assert_eq!(canonical(ItemForm::Command, &long).unwrap(), shortest);
    }
    let negative = with_fee(&[0xfe, 0xff, 0xff]);
    assert_eq!(canonical(ItemForm::Command, &negative).unwrap(), with_fee(&[0xff, 0xff]));
}

/// What follows the fee of a signed command.
fn after_fee(command: &[u8]) -> &[u8] {
    let len = match command[1] {
        0xfc => 9,
        0xfd => 5,
        0xfe => 3,
        0xff => 2,
        _ => 1,
    };
    &command[1 + len..]
}

#[test]
fn a_nonce_of_more_than_32_bits_is_out_of_range() {
    let command = generate::command(5);
    let rest = after_fee(&command);
    let nonce = command.len() - rest.len() + 33;
    let long = [&command[..nonce], &[0xfc, 0, 0, 0, 0, 1, 0, 0, 0], &command[nonce + 1..]].concat();
    let error = check_item(ItemForm::Command, &long).unwrap_err();
    assert!(matches!(error, LayoutError::OutOfRange { what: "nonce", value: 0x1_0000_0000, .. }), "{error}");
    assert!(canonical(ItemForm::Command, &long).is_err(), "no spelling makes it fit");
}

#[test]
fn a_zkapp_command_with_a_proof_needs_the_dummy_proof() {
    let needs = |command: &Bytes| matches!(command_info(command, None), Err(InfoError::NeedsDummyProof { .. }));
    let commands: Vec<Bytes> = (0..40).map(generate::zkapp_command).collect();
    let with_proof = commands.iter().find(|command| needs(command)).expect("one in three updates has a proof");
    let info = command_info(with_proof, Some(b"dummy")).unwrap();
    assert_ne!(info.hash, command_info(with_proof, Some(b"other")).unwrap().hash);
    let without = commands.iter().find(|command| !needs(command)).expect("some have none");
    assert_eq!(command_info(without, None).unwrap(), command_info(without, Some(b"dummy")).unwrap());
}

#[test]
fn a_transaction_hash_does_not_commit_to_the_signature_and_the_id_does() {
    let command = generate::command(8);
    let mut other = command.to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(command_info(&command, None).unwrap(), command_info(&other, None).unwrap());
    assert_ne!(item_id(&command), item_id(&other));
}

#[test]
fn a_gossiped_work_must_state_what_its_proofs_state() {
    let work =
        (0..).map(generate::work).find(|work| WorkForm::of(ItemForm::BlockWork, work).unwrap().has_two()).unwrap();
    let mut diff = WorkForm::of(ItemForm::BlockWork, &work).unwrap().gossip_form(&work);
    assert!(WorkForm::of(ItemForm::GossipWork, &diff).is_ok());
    diff[10] ^= 1;
    let other = LayoutError::OtherStatement { offset: 5 };
    assert_eq!(check_item(ItemForm::GossipWork, &diff), Err(other.clone()));
    assert_eq!(WorkForm::of(ItemForm::GossipWork, &diff), Err(other));
}

/// A body of four chunks, and its chunks.
fn chunked() -> ChunkedBody {
    let body = generate::body(&recipe(11, [36, 5, 0], None));
    let chunked = ChunkedBody::new(body.into(), BodyParams::MAINNET);
    assert_eq!(chunked.count(), 4);
    chunked
}

fn bytes_of(chunked: &ChunkedBody, index: usize) -> Bytes {
    chunked.chunk(index).unwrap().into_bytes()
}

#[test]
fn chunks_make_the_body_in_any_order_behind_the_root() {
    let chunked = chunked();
    let mut chunks = BodyChunks::new(chunked.reference(), BodyParams::MAINNET);
    assert_eq!(chunks.missing().collect::<Vec<_>>(), [0]);
    assert_eq!(chunks.insert(2, bytes_of(&chunked, 2)), Err(BodyError::RootFirst { index: 2 }));
    chunks.insert(0, bytes_of(&chunked, 0)).unwrap();
    assert_eq!(chunks.missing().collect::<Vec<_>>(), [1, 2, 3]);
    for index in [3, 1, 1, 0] {
        chunks.insert(index, bytes_of(&chunked, index)).unwrap();
        assert_eq!((chunks.is_complete(), chunks.body()), (false, None));
    }
    assert_eq!(chunks.missing().collect::<Vec<_>>(), [2]);
    chunks.insert(2, bytes_of(&chunked, 2)).unwrap();
    let body = chunks.body().unwrap();
    assert_eq!(Some(body.len()), chunks.body_len());
    assert_eq!(body_reference(&body, BodyParams::MAINNET), chunked.reference());
    assert_eq!(chunked.chunk(4), None);
}

#[test]
fn a_wrong_chunk_is_named_and_changes_nothing() {
    let chunked = chunked();
    let mut chunks = BodyChunks::new(chunked.reference(), BodyParams::MAINNET);
    let mut wrong = bytes_of(&chunked, 0).to_vec();
    wrong[40] ^= 1;
    let error = chunks.insert(0, wrong.into()).unwrap_err();
    assert!(matches!(error, BodyError::OtherRoot { expected, .. } if expected == chunked.reference()));
    assert!(!error.is_the_headers());
    let long = Bytes::from(vec![0; 256 * 1024 + 1]);
    assert!(matches!(chunks.insert(0, long), Err(BodyError::WrongLength { index: 0, .. })));
    chunks.insert(0, bytes_of(&chunked, 0)).unwrap();
    let mut wrong = bytes_of(&chunked, 1).to_vec();
    wrong[0] ^= 1;
    assert_eq!(chunks.insert(1, wrong.into()), Err(BodyError::OtherLeaf { index: 1 }));
    assert_eq!(chunks.insert(1, bytes_of(&chunked, 2)), Err(BodyError::OtherLeaf { index: 1 }));
    let short = bytes_of(&chunked, 1).slice(1..);
    assert!(matches!(chunks.insert(1, short), Err(BodyError::WrongLength { index: 1, found: 262_141, .. })));
    let extra = bytes_of(&chunked, 3);
    assert_eq!(chunks.insert(4, extra), Err(BodyError::NoSuchChunk { index: 4, count: 4 }));
    assert_eq!(chunks.missing().count(), 3);
}

/// A reference to bytes that a header may commit to without their being a body's root chunk.
fn committed(root: &[u8]) -> BodyError {
    let reference = mina_p2p_block::BodyReference(BlockKey::of(root).0);
    let mut chunks = BodyChunks::new(reference, BodyParams::MAINNET);
    let error = chunks.insert(0, Bytes::copy_from_slice(root)).unwrap_err();
    assert!(error.is_the_headers(), "{error}");
    assert_eq!(chunks.body_len(), None);
    error
}

#[test]
fn a_header_that_commits_to_no_body_is_at_fault_itself() {
    assert_eq!(committed(&[]), BodyError::NoBody { len: 0 });
    assert_eq!(committed(&[0, 0, 1, 0, 0, 0]), BodyError::NoBody { len: 6 });
    assert_eq!(committed(&[0, 0, 0, 0, 0, 0, 0]), BodyError::NoBody { len: 7 });
    assert_eq!(committed(&[0, 0, 2, 0, 0, 0, 1, 9]), BodyError::NoBody { len: 8 });
    assert_eq!(committed(&[0, 0, 3, 0, 0, 0, 0, 9]), BodyError::NoBody { len: 8 });
    assert_eq!(committed(&[0xff; 40]), BodyError::NoBody { len: 40 });
    assert_eq!(committed(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0]), BodyError::TooLong { len: 0xffff_fffe });
    assert_eq!(committed(&[0, 0, 1, 0, 16, 0, 0]), BodyError::WrongLinks { found: 0, expected: 4 });
}

/// `count` items of any kinds.
fn counts() -> impl Strategy<Value = [usize; 3]> {
    [0..3_usize, 0..6_usize, 0..3_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn header_skeleton_and_items_are_the_block(seed: u64, first in counts(), second in prop::option::of(counts())) {
        let block = generate::block(&recipe(seed, first, second));
        let known = KnownBlock::of(block.clone()).unwrap();
        prop_assert_eq!(known.key, block_key(&block));
        let verified = KnownBlock::verified(block.clone(), BodyParams::MAINNET).unwrap();
        prop_assert_eq!((verified.key, &verified.ids, verified.root), (known.key, &known.ids, known.root));
        prop_assert_eq!(verified.body.reference(), known.body.reference());
        prop_assert_eq!(verified.body.chunk(0), known.body.chunk(0));
        let layout = &known.layout;
        let items: Vec<&[u8]> = layout.items.iter().map(|item| &block[item.range.clone()]).collect();
        let counts = [Some(first), second];
        let expected: usize = counts.iter().flatten().flatten().sum();
        prop_assert_eq!(items.len(), expected);
        for kind in [ItemKind::Work, ItemKind::SignedCommand, ItemKind::ZkappCommand] {
            for (pre_diff, counts) in counts.iter().enumerate() {
                let found = layout.items.iter().filter(|item| item.kind == kind && usize::from(item.pre_diff) == pre_diff);
                let place = [ItemKind::Work, ItemKind::SignedCommand, ItemKind::ZkappCommand].iter().position(|&k| k == kind);
                prop_assert_eq!(found.count(), counts.map_or(0, |counts| counts[place.unwrap()]));
            }
        }
        let body = fill_holes(&layout.skeleton(&block), &items);
        let rebuilt = [&known.header()[..], &body].concat();
        prop_assert!(rebuilt == block);
        for (item, bytes) in layout.items.iter().zip(items) {
            let form = if item.kind == ItemKind::Work { ItemForm::BlockWork } else { ItemForm::Command };
            prop_assert_eq!(check_item(form, bytes), Ok(item.kind));
            prop_assert_eq!(&canonical(form, bytes).unwrap()[..], bytes);
            prop_assert_eq!(work_info(bytes).is_ok(), item.kind == ItemKind::Work);
            prop_assert_eq!(command_info(bytes, Some(&[])).is_ok(), item.kind != ItemKind::Work);
        }
    }

    #[test]
    fn a_changed_block_is_walked_or_refused_within_it(seed in 0..8_u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut block = generate::block(&recipe(seed, [1, 2, 2], None)).to_vec();
        for (at, value) in changes {
            let at = at.index(block.len());
            block[at] = value;
        }
        match Layout::of(&block) {
            Ok(layout) => {
                let items: Vec<&[u8]> = layout.items.iter().map(|item| &block[item.range.clone()]).collect();
                prop_assert!(fill_holes(&layout.skeleton(&block), &items) == block[layout.body]);
            }
            Err(error) => prop_assert!(error.offset() <= block.len()),
        }
    }

    #[test]
    fn forms_of_a_work_lead_back_to_it(seed: u64) {
        let work = generate::work(seed);
        let parts = WorkForm::of(ItemForm::BlockWork, &work).unwrap();
        let (rpc, gossip) = (parts.rpc_parts(&work).concat(), parts.gossip_form(&work));
        for (form, bytes) in [(ItemForm::RpcWork, rpc), (ItemForm::GossipWork, gossip)] {
            let parts = WorkForm::of(form, &bytes).unwrap();
            prop_assert!(parts.block_parts(&bytes).concat() == work);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..400)) {
        let _ = Layout::of(&bytes);
        let _ = Header::prefix_of(&bytes);
        let _ = block_key(&bytes);
        let _ = command_info(&bytes, None);
        let _ = work_info(&bytes);
        for form in [ItemForm::Command, ItemForm::BlockWork, ItemForm::RpcWork, ItemForm::GossipWork] {
            if check_item(form, &bytes).is_ok() {
                prop_assert_eq!(&canonical(form, &bytes).unwrap()[..], &bytes[..]);
            }
            if let Ok(canonical) = canonical(form, &bytes) {
                prop_assert!(form == ItemForm::GossipWork || check_item(form, &canonical).is_ok());
            }
        }
        if let Ok(holes) = holes(&bytes, 100) {
            prop_assert!(holes.len() <= 100);
            prop_assert!(holes.is_sorted_by_key(|hole| hole.at));
        }
    }
}
