(* Blocks as bytes: of the generator, and real ones where there are any. *)

open Mina_p2p
open Helper
module Testing = Mina_p2p_testing

let text = Payload.to_string

let nonce = 0x0123_4567_89ab_cdefL

let generate ?height ?previous_state_hash ?(seed = 1) works commands
    zkapp_commands =
  Testing.generate_block ?height ?previous_state_hash ~seed ~works ~commands
    ~zkapp_commands ()

(* In block order. *)
let items (generated : Testing.generated) = generated.works @ generated.commands

let check_text = Alcotest.(check string)

let check_int = Alcotest.(check int)

let check_true name value = Alcotest.(check bool) name true value

let not_a_block name = function
  | Error (Error.Not_a_block _) -> ()
  | Ok _ -> Alcotest.failf "%s: accepted" name
  | Error error -> Alcotest.failf "%s: %a" name Error.pp error

let not_an_item name = function
  | Error (Error.Not_an_item _) -> ()
  | Ok _ -> Alcotest.failf "%s: accepted" name
  | Error error -> Alcotest.failf "%s: %a" name Error.pp error

let rebuilt compact pool = ok (Block.rebuild ~compact ~pool)

let pp_outcome ppf = function
  | `Complete block ->
      Format.fprintf ppf "complete: %d bytes" (Payload.length block)
  | `Missing places -> Format.fprintf ppf "missing: %d" (List.length places)
  | `Failed -> Format.fprintf ppf "failed"
  | `Invalid why -> Format.fprintf ppf "invalid: %s" why

let complete name block = function
  | `Complete again -> check_true name (String.equal (text block) (text again))
  | outcome -> Alcotest.failf "%s: %a" name pp_outcome outcome

let missing name places = function
  | `Missing found -> Alcotest.(check (list int)) name places found
  | outcome -> Alcotest.failf "%s: %a" name pp_outcome outcome

let invalid name = function
  | `Invalid _ -> ()
  | outcome -> Alcotest.failf "%s: %a" name pp_outcome outcome

let layout () =
  let previous_state_hash = state_hash 7 in
  let generated = generate ~height:0xffff_ffff ~previous_state_hash 3 9 2 in
  let layout = ok (Block.layout generated.block) in
  check_int "height" 0xffff_ffff layout.height;
  check_true "parent"
    (State_hash.equal previous_state_hash layout.previous_state_hash);
  check_text "body reference" layout.body_reference
    (ok (Block.body_reference generated.block));
  let header =
    Payload.sub generated.block ~pos:0 ~len:layout.header_length
  in
  check_true "key"
    (Block_key.equal (Block.key header) (Block.key generated.block));
  check_int "items" 14 (List.length layout.items);
  let check_item (item : Block.item) expected =
    let bytes =
      Payload.sub generated.block ~pos:item.offset ~len:item.length
    in
    check_true "item" (String.equal (text expected) (text bytes));
    check_true "id" (Item_id.equal item.id (Block.item_id bytes))
  in
  List.iter2 check_item layout.items (items generated);
  let kinds = List.map (fun (item : Block.item) -> item.kind) layout.items in
  let times count kind = List.init count (fun _ -> kind) in
  check_true "kinds"
    (kinds = times 3 `Work @ times 9 `Signed_command @ times 2 `Zkapp_command)

let no_blocks () =
  not_a_block "nothing" (Block.layout (Payload.of_string ""));
  not_a_block "a toy" (Block.layout (Payload.of_string (block ~parent:1 5000)));
  let { Testing.block; _ } = generate 1 2 1 in
  let bytes = text block in
  let cut = String.sub bytes 0 (String.length bytes - 1) in
  not_a_block "one byte less" (Block.layout (Payload.of_string cut));
  let longer = bytes ^ "\000" in
  not_a_block "one byte more" (Block.layout (Payload.of_string longer));
  (* A block in form, whose body is not the one that the header names. *)
  let { Testing.block = other; _ } = generate ~seed:2 1 2 1 in
  let header = (ok (Block.layout block)).header_length in
  let body_of bytes =
    let { Block.header_length = pos; _ } =
      ok (Block.layout (Payload.of_string bytes))
    in
    String.sub bytes pos (String.length bytes - pos)
  in
  let mixed =
    Payload.of_string (String.sub bytes 0 header ^ body_of (text other))
  in
  let { Block.body_reference; _ } = ok (Block.layout mixed) in
  check_true "another reference"
    (body_reference <> ok (Block.body_reference mixed));
  not_a_block "another body" (Block.compact ~nonce mixed);
  (* What is released cannot be used. *)
  let large = test_payload 1_000_000 in
  ok (Payload.release large);
  match Block.layout large with
  | Error (Invalid _) -> ()
  | _ -> Alcotest.fail "a released payload was read"

let infos () =
  let command = Testing.command ~seed:1 in
  let info = ok (Block.command_info command) in
  check_true "without proofs any dummy will do"
    (info = ok (Block.command_info ~dummy_proof:"d" command));
  let zkapp = Testing.zkapp_command ~seed:2 in
  let with_dummy dummy_proof = ok (Block.command_info ~dummy_proof zkapp) in
  check_true "the nonce is the same"
    ((with_dummy "a").nonce = (with_dummy "b").nonce);
  let work = Testing.work ~seed:1 in
  ignore (ok (Block.work_info work));
  not_an_item "a work" (Block.command_info work);
  not_an_item "a command" (Block.work_info command);
  not_an_item "nothing" (Block.command_info (Payload.of_string ""))

(* The first zkApp command of the generator's that has a proof. *)
let with_proof () =
  let rec find seed =
    let command = Testing.zkapp_command ~seed in
    match Block.command_info command with
    | Error (Not_an_item _) -> command
    | Error error -> Alcotest.failf "%a" Error.pp error
    | Ok _ when seed < 1000 -> find (seed + 1)
    | Ok _ -> Alcotest.fail "no zkApp command has a proof"
  in
  find 0

let dummy_proofs () =
  let command = with_proof () in
  let hash dummy_proof = (ok (Block.command_info ~dummy_proof command)).hash in
  check_true "the hash depends on it"
    (not (Transaction_hash.equal (hash "a") (hash "b")))

let compaction () =
  let generated = generate 2 20 2 in
  let block = generated.block in
  let all = items generated in
  let compact = ok (Block.compact ~nonce block) in
  check_true "it is short" (String.length compact < 16_000);
  complete "all in the pool" block (rebuilt compact all);
  let others = List.init 100 (fun seed -> Testing.command ~seed) in
  complete "more in the pool" block (rebuilt compact (others @ List.rev all));
  missing "an empty pool" (List.init 24 Fun.id) (rebuilt compact []);
  let half = List.filteri (fun place _ -> place mod 2 = 0) all in
  missing "half" (List.init 12 (fun n -> (2 * n) + 1)) (rebuilt compact half);
  (* Prefilled, what fits. *)
  let prefill = [ 1; 23; 3; 99; 3 ] in
  let prefilled = ok (Block.compact ~prefill ~nonce block) in
  let without =
    List.filteri (fun place _ -> not (List.mem place prefill)) all
  in
  complete "prefilled" block (rebuilt prefilled without);
  let shortest = String.length compact in
  let tight = ok (Block.compact ~max_length:shortest ~prefill ~nonce block) in
  check_text "no room" compact tight;
  let max_length = shortest + 300 in
  let some = ok (Block.compact ~max_length ~prefill:[ 0; 3 ] ~nonce block) in
  check_true "within bounds" (String.length some <= max_length);
  missing "the second was prefilled" [ 0 ]
    (rebuilt some (List.filteri (fun place _ -> place <> 0 && place <> 3) all));
  (match Block.compact ~max_length:(shortest - 1) ~nonce block with
  | Error (Too_long { length; max }) ->
      check_int "length" shortest length;
      check_int "max" (shortest - 1) max
  | _ -> Alcotest.fail "it was too long");
  (match Block.compact ~max_length:(-1) ~nonce block with
  | Error (Invalid { what = "max_length"; _ }) -> ()
  | _ -> Alcotest.fail "less than nothing");
  (match Block.compact ~prefill:[ -1 ] ~nonce block with
  | Error (Invalid { what = "prefill"; _ }) -> ()
  | _ -> Alcotest.fail "a place before the first");
  (* Another nonce, other short ids. *)
  let other = ok (Block.compact ~nonce:(-1L) block) in
  check_true "another message" (not (String.equal compact other));
  complete "another nonce" block (rebuilt other all);
  (* Without items. *)
  let empty = (generate 0 0 0).block in
  complete "an empty block" empty (rebuilt (ok (Block.compact ~nonce empty)) [])

let false_messages () =
  let generated = generate 1 3 1 in
  let pool = items generated in
  let compact = ok (Block.compact ~nonce generated.block) in
  let length = String.length compact in
  invalid "nothing" (rebuilt "" pool);
  invalid "a byte less" (rebuilt (String.sub compact 0 (length - 1)) pool);
  invalid "a byte more" (rebuilt (compact ^ "\000") pool);
  invalid "another message" (rebuilt "\000\000" pool);
  let changed position =
    let bytes = Bytes.of_string compact in
    Bytes.set bytes position
      (Char.chr (Char.code (Bytes.get bytes position) lxor 1));
    Bytes.to_string bytes
  in
  (* Whatever is changed, it is no other block. *)
  for step = 0 to 300 do
    let position = step * (length - 1) / 300 in
    match rebuilt (changed position) pool with
    | `Complete block ->
        (* Bytes of the header that nothing in this library looks at. *)
        check_true "another block"
          (not (String.equal (text block) (text generated.block)))
    | `Missing _ | `Failed | `Invalid _ -> ()
  done;
  not_an_item "in the pool"
    (Block.rebuild ~compact ~pool:[ Payload.of_string "no item" ])

open QCheck

let property name ?(count = 60) gen f =
  Alcotest.test_case name `Quick (fun () ->
      Test.check_exn (Test.make ~count ~name gen f))

let rebuilds =
  property "are rebuilt from any pool and prefill"
    (make
       ~print:Print.(pair int (pair (list bool) (list bool)))
       Gen.(
         pair (int_bound 1_000_000)
           (pair (list_size (return 17) bool) (list_size (return 17) bool))))
    (fun (seed, (in_pool, prefilled)) ->
      let generated = generate ~seed 3 12 2 in
      let places keep =
        List.filter (fun place -> List.nth keep place) (List.init 17 Fun.id)
      in
      let prefill = places prefilled in
      let nonce = Int64.of_int seed in
      let compact = ok (Block.compact ~prefill ~nonce generated.block) in
      let pool =
        List.filteri (fun place _ -> List.nth in_pool place) (items generated)
      in
      let lacking =
        places
          (List.map2 (fun pool list -> not (pool || list)) in_pool prefilled)
      in
      match rebuilt compact pool with
      | `Complete block ->
          lacking = [] && String.equal (text block) (text generated.block)
      | `Missing places -> places = lacking
      | `Failed | `Invalid _ -> false)

let anything =
  property "anything is read without harm" ~count:300
    (make ~print:Print.string
       Gen.(
         oneof
           [
             string_size ~gen:char (int_bound 2000);
             (* Starts as a message does. *)
             map (fun rest -> "\005" ^ rest)
               (string_size ~gen:char (int_bound 2000));
           ]))
    (fun bytes ->
      let payload = Payload.of_string bytes in
      ignore (Block.key payload);
      ignore (Block.item_id payload);
      let refused = function Error _ -> true | Ok _ -> false in
      refused (Block.layout payload)
      && refused (Block.body_reference payload)
      && refused (Block.compact ~nonce payload)
      && refused (Block.command_info payload)
      && refused (Block.work_info payload)
      && (match rebuilt bytes [] with `Invalid _ -> true | _ -> false)
      && refused (Block.rebuild ~compact:"" ~pool:[ payload ]))

(* {1 Real blocks} *)

(* Where a folder or file of the network's data is: named by the variable, or
   beside the checkout. *)
let beside variable path =
  let beside = Filename.concat "../shared" path in
  let path =
    match (Sys.getenv_opt variable, Sys.getenv_opt "DUNE_SOURCEROOT") with
    | Some named, _ when named <> "" -> named
    | _, Some root -> Filename.concat root beside
    | _, None -> beside
  in
  if Sys.file_exists path then Some path else None

let read path =
  let channel = open_in_bin path in
  Fun.protect
    ~finally:(fun () -> close_in channel)
    (fun () -> really_input_string channel (in_channel_length channel))

let find text ~from part =
  let length = String.length part in
  let rec go from =
    if from + length > String.length text then None
    else
      match String.index_from_opt text from part.[0] with
      | Some at when at + length > String.length text -> None
      | Some at when String.sub text at length = part -> Some at
      | Some at -> go (at + 1)
      | None -> None
  in
  go from

(* What a file of facts says of a block: from its name to the next one's. *)
let facts_of facts file =
  match find facts ~from:0 (Printf.sprintf "%S" file) with
  | None -> None
  | Some start ->
      let stop =
        match find facts ~from:start "\"file\"" with
        | Some stop -> stop
        | None -> String.length facts
      in
      Some (String.sub facts start (stop - start))

let says what facts key value =
  let said separator =
    find facts ~from:0 (Printf.sprintf "\"%s\":%s%s" key separator value)
  in
  if said "" = None && said " " = None then
    Alcotest.failf "%s: %s is not %s" what key value

let quoted text = "\"" ^ text ^ "\""

let hex text =
  String.concat ""
    (List.map
       (fun byte -> Printf.sprintf "%02x" (Char.code byte))
       (List.of_seq (String.to_seq text)))

let check_real_item ?dummy_proof file block facts (item : Block.item) =
  let says = says (Printf.sprintf "%s at %d" file item.offset) facts in
  says "offset" (string_of_int item.offset);
  says "len" (string_of_int item.length);
  says "id" (quoted (Item_id.to_string item.id));
  let bytes = Payload.sub block ~pos:item.offset ~len:item.length in
  let command kind =
    says "kind" (quoted kind);
    match Block.command_info ?dummy_proof bytes with
    | Error (Not_an_item _) when dummy_proof = None && kind <> "signed_command"
      ->
        ()
    | info ->
        let info = ok info in
        says "transaction_hash" (quoted (Transaction_hash.to_string info.hash));
        says "fee_payer" (quoted (Account_key.to_string info.fee_payer));
        says "fee" (Printf.sprintf "%Lu" info.fee);
        says "nonce" (string_of_int info.nonce)
  in
  match item.kind with
  | `Signed_command -> command "signed_command"
  | `Zkapp_command -> command "zkapp_command"
  | `Work ->
      says "kind" (quoted "work");
      let info = ok (Block.work_info bytes) in
      says "job_id" (quoted (hex (Job_id.to_bytes info.job_id)));
      says "fee" (Printf.sprintf "%Lu" info.fee);
      says "prover" (quoted (Account_key.to_string info.prover))

(* Items are objects without others in them. *)
let split_items facts =
  match find facts ~from:0 "\"items\"" with
  | None -> []
  | Some start ->
      let parts =
        String.split_on_char '{'
          (String.sub facts start (String.length facts - start))
      in
      List.filteri
        (fun index part -> index > 0 && String.length part > 20)
        parts

let real_blocks () =
  match beside "MINA_P2P_BLOCKS" "blocks" with
  | None -> print_endline "skipped: no real blocks (MINA_P2P_BLOCKS)"
  | Some folder ->
      let path = Filename.concat folder in
      let facts name =
        if Sys.file_exists (path name) then read (path name) else ""
      in
      let vectors = facts "vectors.json" and items = facts "items.json" in
      let dummy_proof =
        Option.map read
          (beside "MINA_P2P_DUMMY_PROOF"
             "mina-rust/vectors/transaction_dummy_proof.bin")
      in
      let is_block file = Filename.check_suffix file ".bin" in
      let files = List.filter is_block (Array.to_list (Sys.readdir folder)) in
      let check file =
        let block = Payload.of_string (read (path file)) in
        let layout = ok (Block.layout block) in
        let reference = ok (Block.body_reference block) in
        check_text file layout.body_reference reference;
        Option.iter
          (fun facts ->
            says file facts "header_len" (string_of_int layout.header_length);
            says file facts "body_reference" (quoted reference))
          (facts_of vectors file);
        Option.iter
          (fun facts ->
            let facts = split_items facts in
            check_int file (List.length facts) (List.length layout.items);
            List.iter2
              (check_real_item ?dummy_proof file block)
              facts layout.items)
          (facts_of items file);
        let item { Block.offset; length; _ } =
          Payload.sub block ~pos:offset ~len:length
        in
        let compact = ok (Block.compact ~nonce block) in
        complete file block (rebuilt compact (List.map item layout.items))
      in
      List.iter check files

let case name f = Alcotest.test_case name `Quick f

let tests =
  [
    case "have their parts" layout;
    case "are told from what is none" no_blocks;
    case "have items that name themselves" infos;
    case "need a dummy proof for some names" dummy_proofs;
    case "are compacted and rebuilt" compaction;
    case "are not made of false messages" false_messages;
    rebuilds;
    anything;
    case "of the network are understood" real_blocks;
  ]
