(* Nodes that tell each other of blocks compactly. *)

open Mina_p2p
open Helper
module Testing = Mina_p2p_testing

let check_true name value = Alcotest.(check bool) name true value

let check_int = Alcotest.(check int)

let header :
    Event.t ->
    (Peer_id.t * Block_key.t * int * State_hash.t * Payload.t) option =
  function
  | Header { peer; key; height; previous_state_hash; header } ->
      Some (peer, key, height, previous_state_hash, header)
  | _ -> None

let whole : Event.t -> (Block_key.t * Payload.t * How_it_came.t) option =
  function
  | Block { key; block; how; _ } -> Some (key, block, how)
  | Block_failed { reason; _ } ->
      Alcotest.failf "failed: %a" Block_failure.pp reason
  | Best_tip _ -> Alcotest.fail "it came whole"
  | _ -> None

let generate ?(seed = 1) ?(works = 2) ?(commands = 12) ?(zkapp_commands = 1) ()
    =
  Testing.generate_block ~height:5 ~previous_state_hash:(state_hash 4) ~seed
    ~works ~commands ~zkapp_commands ()

let fill node (generated : Testing.generated) =
  List.iter
    (fun command ->
      let _info, is_new = ok (add_command node.node command) in
      check_true "a new command" is_new)
    generated.commands;
  List.iter
    (fun work ->
      let _info, is_new = ok (add_completed_work node.node work) in
      check_true "a new work" is_new)
    generated.works

let dummy_proof = "dummy"

let start = start ~dummy_proof

(* The block comes to [b] from [a], and is accepted step by step. *)
let receive a b (generated : Testing.generated) key =
  let peer, its_key, height, parent, bytes = wait b header in
  check_true "who told" (Peer_id.equal peer (peer_id a.node));
  check_true "the key" (Block_key.equal key its_key);
  check_int "the height" 5 height;
  check_true "the parent" (State_hash.equal parent (state_hash 4));
  let length = (ok (Block.layout generated.block)).header_length in
  check_true "the header"
    (String.equal (Payload.to_string bytes)
       (String.sub (Payload.to_string generated.block) 0 length));
  ok (accept_header b.node key);
  let its_key, block, how = wait b whole in
  check_true "the same key" (Block_key.equal key its_key);
  check_true "the block"
    (String.equal
       (Payload.to_string block)
       (Payload.to_string generated.block));
  ok (accept_block b.node ~state_hash:(state_hash 5) key);
  how

let full_pools () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      connect a b;
      let generated = generate () in
      fill b generated;
      let key =
        ok (set_best_tip a.node ~state_hash:(state_hash 5) generated.block)
      in
      check_true "its key" (Block_key.equal key (Block.key generated.block));
      let how = receive a b generated key in
      check_true "by a list" (how.via = `List);
      check_int "items" 15 how.items;
      check_int "hits" 15 how.hits;
      check_int "fetched" 0 how.fetched;
      check_true "little came"
        (how.received < 16_000
        && how.received < Payload.length generated.block / 3);
      (match ok (peers b.node) with
      | [ peer ] -> (
          match List.assoc_opt Channel.Compact_block peer.channels with
          | Some { received_bytes; _ } ->
              check_true "traffic" (received_bytes > 12_000)
          | None -> Alcotest.fail "no traffic on the channel")
      | _ -> Alcotest.fail "one peer")
  | _ -> assert false

let empty_pools () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      connect a b;
      let generated = generate ~seed:2 () in
      let key =
        ok (announce_block a.node ~state_hash:(state_hash 5) generated.block)
      in
      let how = receive a b generated key in
      check_true "by a list" (how.via = `List);
      check_int "items" 15 how.items;
      check_int "hits" 0 how.hits;
      check_int "asked for" 15 (how.prefilled + how.fetched);
      check_true "all came"
        (how.received > Payload.length generated.block * 9 / 10);
      (* Whole, by its state hash, from who has it now. *)
      ignore (ok (fetch_block a.node (state_hash 5)));
      (match wait a response with
      | Ok (Rpc (Some (Block block))) ->
          check_true "from the pool of blocks"
            (String.equal (Payload.to_string block)
               (Payload.to_string generated.block))
      | _ -> Alcotest.fail "it is not there")
  | _ -> assert false

let half_full_pools () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      connect a b;
      let generated = generate ~seed:7 () in
      fill b { generated with works = [] };
      let key =
        ok (announce_block a.node ~state_hash:(state_hash 5) generated.block)
      in
      let how = receive a b generated key in
      check_int "hits" 13 how.hits;
      check_int "the works came" 2 (how.prefilled + how.fetched);
      check_true "in a round trip" (how.round_trips >= 1 || how.fetched = 0)
  | _ -> assert false

let known_header () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      connect a b;
      let generated = generate ~seed:3 ~works:0 ~zkapp_commands:0 () in
      fill b generated;
      let key =
        ok (announce_block a.node ~state_hash:(state_hash 5) generated.block)
      in
      (* The body first, one verdict on all. *)
      let _, block, _ = wait b whole in
      check_true "the block"
        (String.equal (Payload.to_string block)
           (Payload.to_string generated.block));
      ok (accept_block b.node ~state_hash:(state_hash 5) key);
      ok (accept_header b.node ~state_hash:(state_hash 5) key);
      ok (ignore_block b.node key);
      Alcotest.check unit "it has ended" (Error Unknown_block)
        (accept_block b.node ~state_hash:(state_hash 5) key)
  | _ -> assert false

let relayed () =
  with_nodes [ start; start; start ] @@ function
  | [ a; b; c ] ->
      connect a b;
      connect b c;
      let generated = generate ~seed:4 () in
      fill b generated;
      fill c generated;
      let key =
        ok (announce_block a.node ~state_hash:(state_hash 5) generated.block)
      in
      ignore (receive a b generated key);
      ignore (receive b c generated key)
  | _ -> assert false

(* A verdict that comes later than the body is nobody's fault: then it is tried
   again. *)
let rec rejected_at seed =
  if seed > 24 then Alcotest.fail "the body always came first";
  let blamed =
    with_nodes [ start; start ] @@ function
    | [ a; b ] -> (
        connect a b;
        let generated = generate ~seed () in
        let key =
          ok (announce_block a.node ~state_hash:(state_hash 5) generated.block)
        in
        ignore (wait b header);
        ok (reject_block b.node key);
        match
          wait b (function
            | Block _ -> Some None
            | Peer_disconnected { reason; _ } -> Some (Some reason)
            | _ -> None)
        with
        | None -> false
        | Some (Violation _) -> true
        | Some reason -> Alcotest.failf "%a" Close_reason.pp reason)
    | _ -> assert false
  in
  if not blamed then rejected_at (seed + 1)

let rejected () = rejected_at 5

let unknown () =
  with_nodes [ start ] @@ function
  | [ a ] ->
      let key = Block.key (Payload.of_string "nothing") in
      let check name = Alcotest.check unit name (Error Error.Unknown_block) in
      check "accept_header" (accept_header a.node key);
      check "accept_block" (accept_block a.node ~state_hash:(state_hash 1) key);
      check "ignore_block" (ignore_block a.node key);
      check "reject_block" (reject_block a.node key);
      (match
         announce_block a.node ~state_hash:(state_hash 1)
           (Payload.of_string (block ~parent:1 5000))
       with
      | Error (Not_a_block _) -> ()
      | _ -> Alcotest.fail "a toy was announced");
      Blocks.not_an_item "a command"
        (add_command a.node (Payload.of_string "no command"));
      Blocks.not_an_item "a work"
        (add_completed_work a.node (Payload.of_string "no work"));
      let command = Testing.command ~seed:1 in
      let info, is_new = ok (add_command a.node command) in
      check_true "new" is_new;
      check_true "its info" (info = ok (Block.command_info command));
      check_true "once" (not (snd (ok (add_command a.node command))));
      let work = Testing.work ~seed:1 in
      let info, is_new = ok (add_completed_work a.node work) in
      check_true "new" is_new;
      check_true "its info" (info = ok (Block.work_info work));
      check_true "removed" (ok (remove_work a.node info.job_id))
  | _ -> assert false

let no_dummy_proof () =
  with_nodes [ (fun () -> Helper.start ()) ] @@ function
  | [ a ] ->
      let command = Blocks.with_proof () in
      Blocks.not_an_item "without a dummy proof" (add_command a.node command);
      (* Named by the caller. *)
      check_true "added"
        (ok (add_transaction a.node (transaction_info 1) command))
  | _ -> assert false

let whole_to_others () =
  let plain () = start ~compact_blocks:false () in
  with_nodes [ start; plain ] @@ function
  | [ a; b ] ->
      connect a b;
      let generated = generate ~seed:6 () in
      let state_hash = state_hash 5 in
      ignore (ok (set_best_tip a.node ~state_hash generated.block));
      let received = wait b best_tip in
      check_true "the block"
        (String.equal
           (Payload.to_string received)
           (Payload.to_string generated.block))
  | _ -> assert false

let after_close () =
  let node = Helper.create ~listen:[] () in
  ok (Mina_p2p.start node);
  ok (close node);
  let check name result =
    Alcotest.check unit name (Error Error.Closed) (Result.map ignore result)
  in
  let { Testing.block; _ } = generate () in
  let key = Block.key block in
  check "announce_block"
    (announce_block node ~state_hash:(state_hash 1) block);
  check "accept_header" (accept_header node key);
  check "accept_block" (accept_block node ~state_hash:(state_hash 1) key);
  check "ignore_block" (ignore_block node key);
  check "reject_block" (reject_block node key);
  check "add_command" (add_command node (Testing.command ~seed:1));
  check "add_completed_work" (add_completed_work node (Testing.work ~seed:1))

let memory () =
  let start_bytes =
    collect ();
    live_bytes ()
  in
  let exchange () =
    with_nodes [ start; start ] @@ function
    | [ a; b ] ->
        connect a b;
        for seed = 10 to 14 do
          let generated = generate ~seed ~works:6 () in
          let key =
            ok
              (announce_block a.node ~state_hash:(state_hash 5)
                 generated.block)
          in
          ignore (receive a b generated key)
        done
    | _ -> assert false
  in
  (exchange [@inlined never]) ();
  collect ();
  check_int "bytes of payloads left" start_bytes (live_bytes ())

let case name f = Alcotest.test_case name `Quick f

let tests =
  [
    case "a block from full pools" full_pools;
    case "a block from empty pools" empty_pools;
    case "a block from pools that lack some" half_full_pools;
    case "one verdict on header and body" known_header;
    case "what was accepted goes on" relayed;
    case "who relayed an invalid header is to blame" rejected;
    case "what is unknown is an error" unknown;
    case "a zkApp command needs the dummy proof" no_dummy_proof;
    case "whole to who wants no compact blocks" whole_to_others;
    case "a closed node" after_close;
    case "all payloads are given back" memory;
  ]
