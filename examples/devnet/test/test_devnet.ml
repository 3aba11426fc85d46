open Devnet_parts

let check = Alcotest.check
let test name f = Alcotest.test_case name `Quick f

(* The generator *)

let digest texts = Digest.to_hex (Digest.string (String.concat "|" texts))

let digest_of_items ~seed =
  let of_item (i : Item.t) =
    let nonce = match i.kind with Transaction t -> t.nonce | Work -> -1 in
    Printf.sprintf "%s %Ld %s %d %s" i.id i.fee i.account nonce i.body
  in
  digest (List.map of_item (Generator.items ~seed ~count:20))

let same_bytes_everywhere () =
  check Alcotest.string "items of seed 1" "b92feba08b7400ad0d8ad35cbe0567bd"
    (digest_of_items ~seed:1);
  check Alcotest.bool "another seed gives others" false
    (digest_of_items ~seed:2 = digest_of_items ~seed:1);
  let blocks seed = digest (List.map snd (Generator.blocks ~seed ~count:4)) in
  check Alcotest.string "blocks again" (blocks 1) (blocks 1);
  check Alcotest.bool "another seed gives others" false (blocks 1 = blocks 2)

let a_longer_chain_begins_with_the_shorter () =
  let short = Generator.blocks ~seed:7 ~count:5 in
  let long = Generator.blocks ~seed:7 ~count:9 in
  check Alcotest.bool "equal" true
    (short = List.filteri (fun i _ -> i < 5) long)

let layout block =
  match Mina_p2p.(Block.layout (Payload.of_string block)) with
  | Ok layout -> layout
  | Error why -> Alcotest.fail (Mina_p2p.Error.to_string why)

let blocks_are_chained () =
  let tip = Generator.start_tip ~seed:3 in
  let follow parent (name, block) =
    let { Mina_p2p.Block.height; previous_state_hash; _ } = layout block in
    check Alcotest.string name
      (Hex.of_string (Block_hash.of_block parent))
      (Hex.of_string (Mina_p2p.State_hash.to_bytes previous_state_hash));
    check Alcotest.int name ((layout parent).height + 1) height;
    block
  in
  let (_ : string) =
    List.fold_left follow tip (Generator.blocks ~seed:3 ~count:12)
  in
  ()

let sizes_are_the_networks () =
  let sizes =
    List.map
      (fun (_, block) -> String.length block)
      (Generator.blocks ~seed:1 ~count:24)
  in
  let all = List.for_all (fun n -> n >= 12_600 && n <= 3_300_000) sizes in
  let count p = List.length (List.filter p sizes) in
  check Alcotest.bool "within 12.6 KB and 3.3 MB" true all;
  check Alcotest.int "full blocks" 2 (count (fun n -> n > 2_800_000));
  check Alcotest.int "headers" 16 (count (fun n -> n < 18_000));
  let of_item (item : Item.t) =
    let n = String.length item.body in
    match item.kind with
    | Transaction _ -> (n >= 210 && n <= 225) || (n >= 2_000 && n <= 34_000)
    | Work -> n >= 12_000 && n <= 24_000 && String.length item.id = 128
  in
  check Alcotest.bool "items" true
    (List.for_all of_item (Generator.items ~seed:1 ~count:50))

(* Items of blocks *)

let a_block_is_its_header_and_its_items () =
  let of_block (name, block) =
    let bytes = Mina_p2p.Payload.of_string block in
    let items = Block_items.of_block ~dummy_proof:None bytes in
    let { Mina_p2p.Block.items = places; _ } = layout block in
    check Alcotest.int name (List.length places) (List.length items);
    let body : Control.command -> string = function
      | Add { body; _ } | Add_command body | Add_completed_work body -> body
      | _ -> Alcotest.fail "not put into a pool"
    in
    let same (item : Block_items.t) (place : Mina_p2p.Block.item) =
      String.sub block place.offset place.length = body (Block_items.add item)
    in
    check Alcotest.bool name true (List.for_all2 same items places)
  in
  List.iter of_block (Generator.blocks ~seed:5 ~count:7)

let what_is_no_block_has_no_items () =
  let bytes = Mina_p2p.Payload.of_string (String.make 9_000 'b') in
  let items = Block_items.of_block ~dummy_proof:None bytes in
  check Alcotest.int "items" 0 (List.length items)

let items_do_not_pass_through_nodes_that_lack_them () =
  let reached holder lacking =
    let lacks = Array.init Network.size (fun n -> List.mem n lacking) in
    let reached = Scenario.reached_from holder ~lacks in
    List.filter (Array.get reached) (List.init Network.size Fun.id)
  in
  let nodes = Alcotest.(list int) in
  check nodes "all" [ 0; 1; 2; 3; 4 ] (reached 2 []);
  check nodes "around" [ 0; 1; 2; 4 ] (reached 4 [ 3 ]);
  (* Node 4 has no other neighbours than 0 and 3. *)
  check nodes "cut off" [ 4 ] (reached 4 [ 0; 3 ])

(* JSON *)

let json_is_printed_on_one_line () =
  let value : Json.t =
    Object
      [
        ("a \"b\"\n\\", List [ Int (-1); Float 0.5; Bool true; Null ]);
        ("empty", Object []);
        ("endless", Float infinity);
      ]
  in
  check Alcotest.string "text"
    {|{"a \"b\"\u000a\\": [-1, 0.500, true, null], "empty": {}, "endless": null}|}
    (Json.to_string value)

let json_reads_back () =
  let text = String.init 128 Char.chr in
  match Json_reader.parse (Json.to_string (List [ String text ])) with
  | List [ String back ] -> check Alcotest.string "text" text back
  | _ -> Alcotest.fail "another value"

(* The control pipe *)

let some_reports : Control.report list =
  let id = "\000\n " and account = "x" and body = "\n 3" in
  let item kind = { Item.kind; id; fee = 5L; account; body } in
  [
    Ready { peer_id = "2b"; addresses = [ "/a"; "/b" ] };
    Connected { peer = "2b"; transport = "webrtc" };
    Disconnected { peer = "2b"; reason = "two\nlines" };
    Tip_set { key = "\255"; at = 1700000000.123456 };
    Got_block
      {
        key = "k";
        at = 0.5;
        length = 12;
        how =
          {
            via = Chunks;
            received = 1;
            items = 2;
            hits = 3;
            prefilled = 4;
            fetched = 5;
            round_trips = 6;
          };
      };
    Measured
      {
        wire = { sent = 1; received = 2 };
        channels = [ ("best tip", { sent = 3; received = 4 }) ];
      };
    Block_bytes { key = "k"; body = String.make 100_000 '\n' };
    Item_is (item (Transaction { nonce = 7 }));
    Item_is (item Work);
    Lacks "k";
    Note "";
  ]

let reports_survive_any_cutting () =
  let text =
    String.concat "" (List.map Control.string_of_report some_reports)
  in
  let cut_at length =
    let decoder = Control.Decoder.reports () in
    let rec from pos =
      if pos = String.length text then []
      else
        let n = min length (String.length text - pos) in
        let piece = Bytes.of_string (String.sub text pos n) in
        let found = Control.Decoder.feed decoder piece n in
        found @ from (pos + n)
    in
    from 0
  in
  let same length =
    check Alcotest.bool
      (Printf.sprintf "pieces of %d" length)
      true
      (cut_at length = some_reports)
  in
  List.iter same [ 1; 7; 4096; 1_000_000 ]

let orders_survive () =
  let orders : Control.command list =
    [
      Start { chain_id = "c"; compact = false; initial_peers = [ "/a" ] };
      Tip "\000";
      Add_command "\n";
      Add_completed_work "";
      Lack [ "\n"; String.make 128 'j' ];
      Lack [];
    ]
  in
  let text = String.concat "" (List.map Control.string_of_command orders) in
  let decoder = Control.Decoder.commands () in
  let back =
    Control.Decoder.feed decoder (Bytes.of_string text) (String.length text)
  in
  check Alcotest.bool "equal" true (back = orders)

let nonsense_is_refused () =
  let refuse text =
    let decoder = Control.Decoder.commands () in
    match
      Control.Decoder.feed decoder (Bytes.of_string text) (String.length text)
    with
    | _ -> Alcotest.failf "%S was taken" text
    | exception Control.Malformed _ -> ()
  in
  List.iter refuse
    [
      "\n";
      "tip\n";
      "tip -1\n";
      "tip 99999999999\n";
      "dance 0\n";
      "start xyz true 0\n";
      "start 00 perhaps 0\n";
      "work 00 five 00 0\n";
      String.make 5000 'a';
    ]

(* The report *)

let how : Control.how =
  {
    via = List;
    received = 100;
    items = 10;
    hits = 7;
    prefilled = 1;
    fetched = 2;
    round_trips = 1;
  }

let median_is_of_the_receivers () =
  let block received =
    let received = List.map (fun at -> (at, how)) received in
    Report.block ~file:"b" ~bytes:1 ~announced:10. ~received ~wire_bytes:0
  in
  let even = block [ 10.004; 10.001; 10.002; 10.003 ] in
  let near = Alcotest.(option (float 0.001)) in
  check Alcotest.int "nodes" 5 even.nodes_reached;
  check near "median" (Some 2.5) even.median_ms;
  check near "last" (Some 4.) even.last_ms;
  let none = block [] in
  check Alcotest.int "nodes" 1 none.nodes_reached;
  check near "median" None none.median_ms

let totals_are_sums_over_the_receivers () =
  let block bytes received : Report.block =
    let received = List.map (fun how -> (10., how)) received in
    Report.block ~file:"b" ~bytes ~announced:10. ~received ~wire_bytes:50
  in
  let totals = Report.totals [ block 1_000 [ how; how ]; block 10 [ how ] ] in
  check Alcotest.int "bytes" 1_010 totals.bytes;
  check Alcotest.int "whole" 2_010 totals.whole;
  check Alcotest.int "received" 300 totals.received;
  check Alcotest.int "wire" 100 totals.wire_bytes;
  check Alcotest.int "hits" 21 totals.hits;
  check Alcotest.(option int) "no comparison" None totals.plain_wire_bytes

(* The program *)

let read_all path =
  let channel = open_in_bin path in
  let text = really_input_string channel (in_channel_length channel) in
  close_in channel;
  text

(* Exit status, standard output, standard error. The demo gives up by itself
   after two minutes. *)
let run_demo ?(blocks = "") arguments =
  Unix.putenv "MINA_P2P_BLOCKS" blocks;
  let file = Filename.temp_file "devnet" in
  let out = file ".out" and err = file ".err" in
  let opened path = Unix.openfile path [ O_WRONLY; O_TRUNC ] 0o600 in
  let out_fd = opened out and err_fd = opened err in
  let program = "../devnet.exe" in
  let argv = Array.of_list (program :: arguments) in
  let pid = Unix.create_process program argv Unix.stdin out_fd err_fd in
  let _, status = Unix.waitpid [] pid in
  List.iter Unix.close [ out_fd; err_fd ];
  let result = (status, read_all out, read_all err) in
  List.iter Sys.remove [ out; err ];
  result

let exits_with expected (status, out, err) =
  match status with
  | Unix.WEXITED status when status = expected -> (out, err)
  | _ -> Alcotest.failf "not exit status %d:\n%s%s" expected out err

(* A field of an object, as a number. *)
let number (json : Json_reader.t) name =
  match json with
  | Object fields -> (
      match List.assoc_opt name fields with
      | Some (Number n) -> n
      | _ -> Alcotest.failf "%s is no number" name)
  | _ -> Alcotest.fail "not an object"

let blocks_of ?(links = (4., 3.)) ~nodes ~items out =
  match Json_reader.parse out with
  | Object
      [
        ("nodes", Number n);
        ("ok", Bool true);
        ("items", Number i);
        ("links", Object [ ("quic", Number q); ("webrtc", Number w) ]);
        ("blocks", List blocks);
        ("totals", Object _);
      ]
    when n = nodes && i = items && (q, w) = links ->
      blocks
  | _ -> Alcotest.fail out

let vias (json : Json_reader.t) =
  let text : Json_reader.t -> string = function
    | String text -> text
    | _ -> Alcotest.fail "not a way"
  in
  match json with
  | Object fields -> (
      match List.assoc_opt "via" fields with
      | Some (List vias) -> List.map text vias
      | _ -> Alcotest.fail "no via")
  | _ -> Alcotest.fail "not an object"

let every_node_gets_everything () =
  let arguments =
    [ "--json"; "--generated"; "--blocks"; "3"; "--items"; "10" ]
  in
  let out, _ = exits_with 0 (run_demo arguments) in
  let blocks = blocks_of ~nodes:5. ~items:10. out in
  let check_block json (name, block) =
    let size = float_of_int (String.length block) in
    let number = number json in
    check Alcotest.bool "a block" true
      (match (json : Json_reader.t) with
      | Object (("file", String file) :: _) -> file = name
      | _ -> false);
    check Alcotest.(list string) "rebuilt" [ "list"; "list"; "list"; "list" ]
      (vias json);
    check Alcotest.bool out true
      (number "bytes" = size
      && number "nodes_reached" = 5.
      && 0. <= number "median_ms"
      && number "median_ms" <= number "last_ms"
      && number "whole" = 4. *. size
      && number "items"
         = number "hits" +. number "prefilled" +. number "fetched"
      (* Each of the four others has pulled it at least once. *)
      && number "plain_wire_bytes" >= 4. *. size)
  in
  List.iter2 check_block blocks (Generator.blocks ~seed:1 ~count:3);
  let large = List.nth blocks 2 in
  check Alcotest.bool "the large one is much cheaper compactly" true
    (number large "received" < 0.5 *. number large "whole")

let what_pools_lack_is_sent () =
  let run lacking =
    let arguments = [ "--json"; "--generated"; "--blocks"; "3" ] in
    let arguments = arguments @ [ "--items"; "0"; "--no-comparison" ] in
    let lacking = [ "--lacking"; string_of_int lacking ] in
    let out, _ = exits_with 0 (run_demo (arguments @ lacking)) in
    List.nth (blocks_of ~nodes:5. ~items:0. out) 2
  in
  let none = run 0 and all = run 100 in
  check (Alcotest.float 0.) "nothing was asked for" 0.
    (number none "fetched");
  check (Alcotest.float 0.) "none hit" 0. (number all "hits");
  check Alcotest.bool "and sent" true
    (number all "received" > 0.9 *. number all "whole")

let the_table_is_for_people () =
  let arguments = [ "--generated"; "--blocks"; "1"; "--items"; "2" ] in
  let out, _ = exits_with 0 (run_demo arguments) in
  let from_the_end = List.rev (String.split_on_char '\n' out) in
  let last = List.nth from_the_end 1 in
  let start = "All 5 nodes hold the same bytes of all 1 blocks" in
  check Alcotest.string "summary" start
    (String.sub last 0 (String.length start))

let in_folder_with files f =
  let folder = Filename.temp_file "devnet" ".blocks" in
  Sys.remove folder;
  Unix.mkdir folder 0o700;
  let path (name, _) = Filename.concat folder name in
  let write file =
    let channel = open_out_bin (path file) in
    output_string channel (snd file);
    close_out channel
  in
  List.iter write files;
  Fun.protect
    ~finally:(fun () ->
      List.iter (fun file -> Sys.remove (path file)) files;
      Unix.rmdir folder)
    (fun () -> f folder)

let files_are_announced_by_name () =
  let block n = String.make n 'b' in
  let files =
    [
      ("2.bin", block 40);
      ("1.bin", block 100_000);
      ("3.bin", block 40);
      ("README", "not a block");
    ]
  in
  in_folder_with files (fun blocks ->
      let result = run_demo ~blocks [ "--json"; "--items"; "0" ] in
      let out, err = exits_with 0 result in
      let file : Json_reader.t -> string = function
        | Object (("file", String file) :: _) -> file
        | _ -> "?"
      in
      let blocks = blocks_of ~nodes:5. ~items:0. out in
      check
        Alcotest.(list string)
        "files" [ "1.bin"; "2.bin" ] (List.map file blocks);
      (* Bytes that are no block travel whole. *)
      check
        Alcotest.(list string)
        "ways" [ "tip"; "tip"; "tip"; "tip" ]
        (vias (List.hd blocks));
      check Alcotest.bool "says what is left out" true
        (List.mem "devnet: 3.bin repeats another block: left out"
           (String.split_on_char '\n' err)))

let a_node_that_dies_fails_the_run () =
  in_folder_with [ ("short.bin", "not a block") ] (fun blocks ->
      let out, err = exits_with 1 (run_demo ~blocks [ "--json" ]) in
      check Alcotest.bool "a message" true (err <> "");
      match Json_reader.parse out with
      | Object (_ :: ("ok", Bool false) :: _) -> ()
      | _ -> Alcotest.fail out)

let links_are_by_what_is_asked_for () =
  let run (transport, links) =
    let arguments =
      [
        "--json"; "--generated"; "--blocks"; "1"; "--items"; "0";
        "--no-comparison"; "--transport"; transport;
      ] [@ocamlformat "disable"]
    in
    let out, _ = exits_with 0 (run_demo arguments) in
    let blocks = blocks_of ~links ~nodes:5. ~items:0. out in
    check Alcotest.int "blocks" 1 (List.length blocks)
  in
  List.iter run [ ("quic", (7., 0.)); ("webrtc", (0., 7.)) ]

let a_folder_without_blocks_is_an_error () =
  in_folder_with [] (fun blocks ->
      let out, err = exits_with 1 (run_demo ~blocks []) in
      check Alcotest.string "no result" "" out;
      check Alcotest.bool "a message" true (err <> ""))

let wrong_options_are_refused () =
  let refuse arguments =
    let out, err = exits_with 2 (run_demo arguments) in
    check Alcotest.string "no result" "" out;
    check Alcotest.bool "usage" true (err <> "")
  in
  List.iter refuse
    [
      [ "--jsn" ]; [ "--blocks" ]; [ "--blocks"; "0" ]; [ "extra" ];
      [ "--transport"; "tcp" ];
    ] [@ocamlformat "disable"];
  let out, _ = exits_with 0 (run_demo [ "--help" ]) in
  check Alcotest.bool "help" true (out <> "")

let () =
  Alcotest.run "devnet"
    [
      ( "generator",
        [
          test "same bytes under every OCaml" same_bytes_everywhere;
          test "a longer chain begins with the shorter"
            a_longer_chain_begins_with_the_shorter;
          test "blocks are chained" blocks_are_chained;
          test "sizes are the network's" sizes_are_the_networks;
        ] );
      ( "items of blocks",
        [
          test "a block is its header and its items"
            a_block_is_its_header_and_its_items;
          test "what is no block has no items" what_is_no_block_has_no_items;
          test "items do not pass through nodes that lack them"
            items_do_not_pass_through_nodes_that_lack_them;
        ] );
      ( "json",
        [
          test "on one line" json_is_printed_on_one_line;
          test "reads back" json_reads_back;
        ] );
      ( "control",
        [
          test "reports survive any cutting" reports_survive_any_cutting;
          test "orders survive" orders_survive;
          test "nonsense is refused" nonsense_is_refused;
        ] );
      ( "report",
        [
          test "the median is of the receivers" median_is_of_the_receivers;
          test "totals are sums over the receivers"
            totals_are_sums_over_the_receivers;
        ] );
      ( "program",
        [
          test "every node gets everything" every_node_gets_everything;
          test "links are by what is asked for"
            links_are_by_what_is_asked_for;
          test "what pools lack is sent" what_pools_lack_is_sent;
          test "the table is for people" the_table_is_for_people;
          test "files are announced by name" files_are_announced_by_name;
          test "a node that dies fails the run" a_node_that_dies_fails_the_run;
          test "a folder without blocks is an error"
            a_folder_without_blocks_is_an_error;
          test "wrong options are refused" wrong_options_are_refused;
        ] );
    ]
