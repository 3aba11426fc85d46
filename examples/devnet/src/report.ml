type traffic = { channels : (string * int) list; udp : int }

type block = {
  file : string;
  bytes : int;
  nodes_reached : int;
  median_ms : float option;
  last_ms : float option;
  hows : Control.how list;
  wire_bytes : int;
  plain_wire_bytes : int option;
}

type totals = {
  bytes : int;
  whole : int;
  received : int;
  wire_bytes : int;
  plain_wire_bytes : int option;
  items : int;
  hits : int;
  prefilled : int;
  fetched : int;
}

type t = {
  nodes : int;
  source : string;
  items : int;
  item_bytes : int;
  lacking : int;
  links : (string * int) list;
  blocks : block list;
  seconds : float;
  traffic : traffic;
  failures : string list;
}

let ok t = t.failures = []

let links_text links =
  let by (transport, count) = Printf.sprintf "%d by %s" count transport in
  String.concat ", " (List.map by links)

let sum f list = List.fold_left (fun total x -> total + f x) 0 list

(* Of a sorted, non-empty array. *)
let median times =
  let n = Array.length times in
  (times.((n - 1) / 2) +. times.(n / 2)) /. 2.

let block ~file ~bytes ~announced ~received ~wire_bytes =
  (* The clock may have been set meanwhile. *)
  let ms (at, _) = Float.max 0. ((at -. announced) *. 1000.) in
  let times = Array.of_list (List.map ms received) in
  Array.sort compare times;
  let n = Array.length times in
  let when_any value = if n = 0 then None else Some (value ()) in
  {
    file;
    bytes;
    nodes_reached = n + 1;
    median_ms = when_any (fun () -> median times);
    last_ms = when_any (fun () -> times.(n - 1));
    hows = List.map snd received;
    wire_bytes;
    plain_wire_bytes = None;
  }

let totals blocks =
  let hows = List.concat_map (fun block -> block.hows) blocks in
  let of_hows f = sum f hows in
  let plain (block : block) = block.plain_wire_bytes in
  {
    bytes = sum (fun (block : block) -> block.bytes) blocks;
    whole =
      sum (fun (block : block) -> block.bytes * List.length block.hows) blocks;
    received = of_hows (fun how -> how.received);
    wire_bytes = sum (fun (block : block) -> block.wire_bytes) blocks;
    plain_wire_bytes =
      (if List.exists (fun block -> plain block = None) blocks then None
       else Some (sum Fun.id (List.filter_map plain blocks)));
    items = of_hows (fun how -> how.items);
    hits = of_hows (fun how -> how.hits);
    prefilled = of_hows (fun how -> how.prefilled);
    fetched = of_hows (fun how -> how.fetched);
  }

let json t =
  let milliseconds : float option -> Json.t = function
    | Some ms -> Float ms
    | None -> Null
  in
  let bytes : int option -> Json.t = function
    | Some bytes -> Int bytes
    | None -> Null
  in
  (* The same for one block and for all. *)
  let figures (totals : totals) : (string * Json.t) list =
    [
      ("received", Int totals.received);
      ("whole", Int totals.whole);
      ("wire_bytes", Int totals.wire_bytes);
      ("plain_wire_bytes", bytes totals.plain_wire_bytes);
      ("items", Int totals.items);
      ("hits", Int totals.hits);
      ("prefilled", Int totals.prefilled);
      ("fetched", Int totals.fetched);
    ]
  in
  let of_block block : Json.t =
    let via (how : Control.how) = Json.String (Control.via_to_string how.via) in
    Object
      ([
         ("file", Json.String block.file);
         ("bytes", Int block.bytes);
         ("nodes_reached", Int block.nodes_reached);
         ("median_ms", milliseconds block.median_ms);
         ("last_ms", milliseconds block.last_ms);
         ("via", List (List.map via block.hows));
       ]
      @ figures (totals [ block ]))
  in
  let totals = totals t.blocks in
  Json.Object
    [
      ("nodes", Int t.nodes);
      ("ok", Bool (ok t));
      ("items", Int t.items);
      ( "links",
        Object (List.map (fun (name, count) -> (name, Json.Int count)) t.links)
      );
      ("blocks", List (List.map of_block t.blocks));
      ("totals", Object (("bytes", Json.Int totals.bytes) :: figures totals));
    ]

(* 2967945 as 2,967,945. *)
let rec grouped n =
  if n < 1000 then string_of_int n
  else Printf.sprintf "%s,%03d" (grouped (n / 1000)) (n mod 1000)

(* Names of real blocks end in a hash of 52 characters: its start is enough to
   tell them apart. *)
let name_width = 27

let shortened file =
  let name = Filename.remove_extension file in
  if String.length name <= name_width then name
  else String.sub name 0 (name_width - 2) ^ ".."

let percent part whole =
  if whole = 0 then "-"
  else Printf.sprintf "%.1f" (100. *. float_of_int part /. float_of_int whole)

let table t =
  let buffer = Buffer.create 16_384 in
  let line format = Printf.bprintf buffer (format ^^ "\n") in
  let widths = [ 10; 5; 6; 6; 6; 6; 9; 8; 12; 12; 6 ] in
  let row name cells =
    let cell width text = Printf.sprintf " %*s" width text in
    line "%-*s%s" name_width name
      (String.concat "" (List.map2 cell widths cells))
  in
  let ms = function Some ms -> Printf.sprintf "%.1f" ms | None -> "-" in
  let figures (totals : totals) =
    [
      string_of_int totals.items;
      percent totals.hits totals.items;
      string_of_int totals.prefilled;
      string_of_int totals.fetched;
    ]
  in
  let wire (totals : totals) =
    let plain, saved =
      match totals.plain_wire_bytes with
      | Some plain -> (grouped plain, percent (plain - totals.wire_bytes) plain)
      | None -> ("-", "-")
    in
    [ grouped totals.wire_bytes; plain; saved ]
  in
  let of_block block =
    let totals = totals [ block ] in
    let reached = Printf.sprintf "%d/%d" block.nodes_reached t.nodes in
    row (shortened block.file)
      ((grouped totals.bytes :: reached :: figures totals)
      @ [ ms block.median_ms; ms block.last_ms ]
      @ wire totals)
  in
  let totals = totals t.blocks in
  line "%d nodes, %s, %d other items; links: %s" t.nodes t.source t.items
    (links_text t.links);
  line "";
  row ""
    [
      ""; ""; "items"; "hits"; "pre-"; ""; "to median"; "to last";
      "on the wire"; "the same"; "saved";
    ] [@ocamlformat "disable"];
  row "block"
    [
      "bytes"; "nodes"; "sought"; "%"; "filled"; "asked"; "ms"; "ms";
      "bytes"; "whole"; "%";
    ] [@ocamlformat "disable"];
  List.iter of_block t.blocks;
  row "all blocks"
    ((grouped totals.bytes :: "" :: figures totals)
    @ [ ""; "" ] @ wire totals);
  line "";
  line "Items sought: those of the block, once for each node that received it.";
  line "Hits: those that its pools or its last blocks had; %d %% of a block's"
    t.lacking;
  line "items were kept from each node. Prefilled came with the block, asked";
  line "were asked for. On the wire: all messages that carried the block, of all";
  line "connections; the same whole: in a second run without compaction. A header";
  line "is 12.7 KB and comes from several neighbours: small blocks gain nothing.";
  line "";
  line "On the wire in the run with compaction, bytes";
  let total (name, bytes) = line "  %-33s %12s" name (grouped bytes) in
  List.iter total t.traffic.channels;
  total ("all channels", sum snd t.traffic.channels);
  total ("UDP payload", t.traffic.udp);
  line "";
  let by_list (how : Control.how) = how.via = Control.List in
  let hows = List.concat_map (fun block -> block.hows) t.blocks in
  line "%d of the %d blocks that nodes received were rebuilt from pools."
    (List.length (List.filter by_list hows))
    (List.length hows);
  line "Bytes received for them: %s; had each come whole, and once, %s%s."
    (grouped totals.received) (grouped totals.whole)
    (if totals.whole = 0 then ""
     else
       Printf.sprintf " (%s %% saved)"
         (percent (totals.whole - totals.received) totals.whole));
  if ok t then
    line
      "All %d nodes hold the same bytes of all %d blocks (%s bytes) and %d \
       items (%s bytes), after %.1f s."
      t.nodes (List.length t.blocks) (grouped totals.bytes) t.items
      (grouped t.item_bytes) t.seconds
  else (
    line "FAILED, after %.1f s:" t.seconds;
    List.iter (line "  %s") t.failures);
  Buffer.contents buffer
