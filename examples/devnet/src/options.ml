type transport = Quic | Webrtc | Mixed

type t = {
  json : bool;
  blocks : int option;
  items : int;
  lacking : int;
  comparison : bool;
  seed : int;
  generated : bool;
  transport : transport;
}

(* Of 14 KB on average: enough to flow through the whole run. *)
let default_items = 60

(* Enough that blocks of more than a few items need some of them sent. *)
let default_lacking = 10

(* A peer answers 200 requests for items a second after a burst of 400 (their
   cost is 1, docs/LIMITS.md), and each node has two at least: a node fetches
   the 2,000 within seconds. *)
let max_items = 2_000

(* 75 MB when generated, and held six times: by each node, and to compare. *)
let max_blocks = 240

let usage =
  "usage: devnet [OPTION]..., or make demo ARGS='[OPTION]...'\n\n\
   Five nodes, each an OCaml process, exchange blocks and pool items over\n\
   QUIC and WebRTC on loopback, and rebuild the blocks from their pools. The\n\
   blocks are the *.bin files of the folder that MINA_P2P_BLOCKS names, or of\n\
   ../shared/blocks, or generated. Exits with 0 if every node has every block\n\
   and item in the end, and the links are by the transports asked for, with 1\n\
   if not, with 2 for a wrong option.\n"

let parse argv =
  let json = ref false and blocks = ref None in
  let items = ref default_items and seed = ref 1 in
  let lacking = ref default_lacking in
  let generated = ref false and comparison = ref true in
  let transport = ref Mixed in
  let transports = [ ("quic", Quic); ("webrtc", Webrtc); ("mixed", Mixed) ] in
  let set_transport name = transport := List.assoc name transports in
  let in_range name low high set value =
    if value < low || value > high then
      let why = Printf.sprintf "%s: %d to %d" name low high in
      raise (Arg.Bad why)
    else set value
  in
  let some value = blocks := Some value in
  let specs =
    Arg.align
      [
        ("--json", Arg.Set json, " Print one JSON object instead of tables");
        ( "--blocks",
          Arg.Int (in_range "--blocks" 1 max_blocks some),
          "N Announce the first N blocks only; generate N" );
        ( "--items",
          Arg.Int (in_range "--items" 0 max_items (( := ) items)),
          Printf.sprintf "N Spread N items that are in no block (%d)"
            default_items );
        ( "--lacking",
          Arg.Int (in_range "--lacking" 0 100 (( := ) lacking)),
          Printf.sprintf
            "PERCENT A node's pool lacks so many of a block's items (%d)"
            default_lacking );
        ( "--no-comparison",
          Arg.Clear comparison,
          " Do not send the blocks again without compaction" );
        ("--seed", Arg.Set_int seed, "N Generate others than those of seed 1");
        ( "--generated",
          Arg.Set generated,
          " Generate blocks even where there are files" );
        ( "--transport",
          Arg.Symbol (List.map fst transports, set_transport),
          " What carries the links: mixed (the default) has both kinds" );
      ]
  in
  let anonymous argument =
    raise (Arg.Bad (Printf.sprintf "unexpected argument %S" argument))
  in
  match Arg.parse_argv ~current:(ref 0) argv specs anonymous usage with
  | () ->
      Ok
        {
          json = !json;
          blocks = !blocks;
          items = !items;
          lacking = !lacking;
          comparison = !comparison;
          seed = !seed;
          generated = !generated;
          transport = !transport;
        }
  | exception Arg.Help text -> Error (`Help text)
  | exception Arg.Bad text -> Error (`Usage text)
