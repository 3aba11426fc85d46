type traffic = { channels : (string * int) list; udp : int }

type block = {
  file : string;
  bytes : int;
  nodes_reached : int;
  median_ms : float option;
  last_ms : float option;
  wire_bytes : int;
  meanwhile : traffic;
}

type t = {
  nodes : int;
  source : string;
  items : int;
  item_bytes : int;
  blocks : block list;
  seconds : float;
  traffic : traffic;
  failures : string list;
}

let ok t = t.failures = []

(* Of a sorted, non-empty array. *)
let median times =
  let n = Array.length times in
  (times.((n - 1) / 2) +. times.(n / 2)) /. 2.

let block ~file ~bytes ~announced ~received ~wire_bytes ~meanwhile =
  (* The clock may have been set meanwhile. *)
  let ms at = Float.max 0. ((at -. announced) *. 1000.) in
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
    wire_bytes;
    meanwhile;
  }

let json t =
  let milliseconds : float option -> Json.t = function
    | Some ms -> Float ms
    | None -> Null
  in
  let of_block block : Json.t =
    Object
      [
        ("file", String block.file);
        ("bytes", Int block.bytes);
        ("nodes_reached", Int block.nodes_reached);
        ("median_ms", milliseconds block.median_ms);
        ("last_ms", milliseconds block.last_ms);
        ("wire_bytes", Int block.wire_bytes);
      ]
  in
  Json.Object
    [
      ("nodes", Int t.nodes);
      ("ok", Bool (ok t));
      ("items", Int t.items);
      ("blocks", List (List.map of_block t.blocks));
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

(* best_tip/propagation as best_tip. *)
let heading channel =
  if Filename.check_suffix channel "/propagation" then
    Filename.chop_suffix channel "/propagation"
  else channel

let sum f list = List.fold_left (fun total x -> total + f x) 0 list

let table t =
  let buffer = Buffer.create 16_384 in
  let line format = Printf.bprintf buffer (format ^^ "\n") in
  let in_block channel b =
    Option.value (List.assoc_opt channel b.meanwhile.channels) ~default:0
  in
  let carried_something channel = sum (in_block channel) t.blocks > 0 in
  let channels =
    List.filter carried_something (List.map fst t.traffic.channels)
  in
  (* Name and five figures, then one a channel, all with this width. *)
  let widths = [ 10; 5; 9; 8; 11 ] @ List.map (fun _ -> 11) channels in
  let row name cells =
    let cell width text = Printf.sprintf " %*s" width text in
    line "%-*s%s" name_width name
      (String.concat "" (List.map2 cell widths cells))
  in
  let ms = function Some ms -> Printf.sprintf "%.1f" ms | None -> "-" in
  let of_block b =
    let reached = Printf.sprintf "%d/%d" b.nodes_reached t.nodes in
    let of_channel channel = grouped (in_block channel b) in
    row (shortened b.file)
      ([ grouped b.bytes; reached; ms b.median_ms; ms b.last_ms ]
      @ (grouped b.meanwhile.udp :: List.map of_channel channels))
  in
  line "%d nodes, %s, %d items" t.nodes t.source t.items;
  line "";
  row ""
    ([ ""; ""; "to median"; "to last"; "on the wire" ]
    @ List.map (fun _ -> "of that") channels);
  row "block"
    ([ "bytes"; "nodes"; "ms"; "ms"; "bytes" ] @ List.map heading channels);
  List.iter of_block t.blocks;
  line "";
  line "On the wire: UDP payload of all connections while that block spread,";
  line "and the messages in it by channel. A node may get a block from several.";
  line "";
  line "On the wire in the whole run, bytes";
  let total (name, bytes) = line "  %-33s %12s" name (grouped bytes) in
  List.iter total t.traffic.channels;
  total ("all channels", sum snd t.traffic.channels);
  total ("UDP payload", t.traffic.udp);
  line "";
  let bytes = sum (fun b -> b.bytes) t.blocks in
  if ok t then
    line
      "All %d nodes hold the same bytes of all %d blocks (%s bytes) and %d \
       items (%s bytes), after %.1f s."
      t.nodes (List.length t.blocks) (grouped bytes) t.items
      (grouped t.item_bytes) t.seconds
  else (
    line "FAILED, after %.1f s:" t.seconds;
    List.iter (line "  %s") t.failures);
  Buffer.contents buffer
