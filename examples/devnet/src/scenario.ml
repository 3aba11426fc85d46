(* No wait is without an end. The whole run has two minutes; the rest is for
   giving up with a message rather than with the last wait. *)
let whole_run = 115.
let to_connect = 20.
let to_spread_a_block = 20.
let to_spread_items = 30.
let to_give_back = 30.

(* How long to wait for what is still on its way when all have the block, and
   how often to look. *)
let to_settle = 2.
let settle_interval = 0.002
let chain_id = Digest.string "mina-p2p" ^ Digest.string "devnet"
let best_tip = Mina_p2p.Channel.to_string Best_tip

type t = {
  network : Network.t;
  say : string -> unit;
  chance : Rng.t;  (** Who gets an item. *)
  blocks : (string * string) list;
  mutable unspread : Item.t list;
  mutable figures : Control.figures;  (** The last ones. *)
  mutable keys : (string * string * string) list;
      (** Key, name and bytes of each block announced, the latest first. *)
  mutable results : Report.block list;  (** The latest first. *)
  mutable failures : string list;  (** The latest first. *)
}

let fail t format =
  Printf.ksprintf
    (fun why ->
      t.failures <- why :: t.failures;
      t.say why)
    format

let no_figures : Control.figures =
  { wire = { sent = 0; received = 0 }; channels = [] }

let traffic (figures : Control.figures) channel : Control.traffic =
  let none : Control.traffic = { sent = 0; received = 0 } in
  Option.value (List.assoc_opt channel figures.channels) ~default:none

let traffic_between before (after : Control.figures) : Report.traffic =
  let of_channel (name, (traffic_after : Control.traffic)) =
    (name, traffic_after.sent - (traffic before name).sent)
  in
  {
    udp = after.wire.sent - before.wire.sent;
    channels = List.map of_channel after.channels;
  }

(* Until what was sent of the best-tip channel has arrived, twice in a row: the
   nodes are not asked at the same moment, so that once may be a coincidence.
   Neighbours send a block to each other when both had it from others, so some
   copies are on their way when all have it; they belong to its cost. *)
let settle t =
  let until = Unix.gettimeofday () +. to_settle in
  let rec go last =
    match Network.figures t.network ~within:to_settle with
    | None -> ()
    | Some figures ->
        t.figures <- figures;
        let tips = traffic figures best_tip in
        let arrived = tips.sent = tips.received && last = Some tips in
        if (not arrived) && Unix.gettimeofday () < until then (
          Network.pause t.network settle_interval;
          go (Some tips))
  in
  go None

(* All nodes begin with the same tip, each of its own. *)
let set_start_tip t ~seed =
  let nodes = Network.nodes t.network in
  let block = Generator.start_tip ~seed in
  Array.iter (fun node -> Network.order node (Tip block)) nodes;
  let has_it (node : Network.node) = node.last_tip_set <> None in
  let all () = Array.for_all has_it nodes in
  if not (Network.wait t.network ~within:to_spread_a_block all) then
    raise (Network.Failed "the nodes did not take the common tip in time");
  settle t

let put_items t count =
  let put item =
    let nodes = Network.nodes t.network in
    Network.order nodes.(Rng.int t.chance (Array.length nodes)) (Add item)
  in
  List.iteri (fun i item -> if i < count then put item) t.unspread;
  t.unspread <- List.filteri (fun i _ -> i >= count) t.unspread

let spread t ~index (name, bytes) =
  let nodes = Network.nodes t.network in
  let announcer = nodes.(index mod Array.length nodes) in
  let before = t.figures in
  announcer.last_tip_set <- None;
  Network.order announcer (Tip bytes);
  let is_announced () = announcer.last_tip_set <> None in
  if not (Network.wait t.network ~within:to_spread_a_block is_announced) then
    raise (Network.Failed (announcer.name ^ " did not announce in time"));
  let key = Option.get announcer.last_tip_set in
  t.keys <- (key, name, bytes) :: t.keys;
  let others =
    List.filter (fun node -> node != announcer) (Array.to_list nodes)
  in
  let received () =
    let at (node : Network.node) = Hashtbl.find_opt node.got key in
    List.filter_map at others
  in
  let have_all () = List.length (received ()) = List.length others in
  let in_time =
    Network.wait t.network ~within:to_spread_a_block have_all
  in
  settle t;
  let meanwhile = traffic_between before t.figures in
  let of_tips = List.assoc_opt best_tip meanwhile.channels in
  let result =
    Report.block ~file:name ~bytes:(String.length bytes)
      ~announced:(Hashtbl.find announcer.tips_set key)
      ~received:(received ())
      ~wire_bytes:(Option.value of_tips ~default:0)
      ~meanwhile
  in
  t.results <- result :: t.results;
  if not in_time then
    fail t "%s reached %d of %d nodes in time" name result.nodes_reached
      (Array.length nodes);
  t.say
    (Printf.sprintf "block %d of %d: %s, %d bytes, %d nodes, %s" (index + 1)
       (List.length t.blocks) name result.bytes result.nodes_reached
       (match result.last_ms with
       | Some ms -> Printf.sprintf "the last after %.1f ms" ms
       | None -> "nobody received it"))

(* A share of the items before each block, so that they flow meanwhile. *)
let spread_all t ~items =
  let count = List.length t.blocks in
  let share index = items * (index + 1) / count - (items * index / count) in
  let each index block =
    put_items t (share index);
    spread t ~index block
  in
  List.iteri each t.blocks

let wait_for_items t ~items =
  let nodes = Network.nodes t.network in
  let missing (node : Network.node) = items - Hashtbl.length node.items in
  let all () = Array.for_all (fun node -> missing node = 0) nodes in
  if not (Network.wait t.network ~within:to_spread_items all) then
    let complain (node : Network.node) =
      if missing node > 0 then
        fail t "%s lacks %d of %d items" node.name (missing node) items
    in
    Array.iter complain nodes

(* Every node gives everything back; nothing but equal bytes counts. *)
let compare_all t ~(items : Item.t list) =
  let nodes = Network.nodes t.network in
  let blocks = List.rev t.keys in
  let expected = Hashtbl.create 256 in
  let expect_block (key, name, body) =
    Hashtbl.replace expected key (name, Control.Block_bytes { key; body })
  in
  let expect_item (item : Item.t) =
    Hashtbl.replace expected item.id (Item.label item, Control.Item_is item)
  in
  List.iter expect_block blocks;
  List.iter expect_item items;
  let id_of : Control.report -> string = function
    | Block_bytes { key; _ } -> key
    | Item_is item -> item.id
    | Lacks id -> id
    | _ -> ""
  in
  let compare_one (node : Network.node) seen given =
    let id = id_of given in
    match (Hashtbl.find_opt expected id, given) with
    | None, _ -> ()
    | Some (label, _), Lacks _ ->
        Hashtbl.replace seen id ();
        fail t "%s lacks %s" node.name label
    | Some (label, original), _ ->
        Hashtbl.replace seen id ();
        if given <> original then
          fail t "%s has other bytes of %s" node.name label
  in
  (* One after the other, and looked at as they come: all nodes' bytes at once
     would be five times the blocks in memory. *)
  let check (node : Network.node) =
    let seen = Hashtbl.create 256 in
    let give_block (key, _, _) = Network.order node (Give_block key) in
    let give_item (item : Item.t) = Network.order node (Give_item item.id) in
    List.iter give_block blocks;
    List.iter give_item items;
    let all () =
      let given = node.given in
      node.given <- [];
      List.iter (compare_one node seen) given;
      Hashtbl.length seen = Hashtbl.length expected
    in
    if not (Network.wait t.network ~within:to_give_back all) then
      fail t "%s gave back %d of %d blocks and items in time" node.name
        (Hashtbl.length seen) (Hashtbl.length expected)
  in
  Array.iter check nodes

let announce_plan t ~source ~items =
  t.say
    (Printf.sprintf "%d nodes, %s, %d items" Network.size
       source.Block_source.description (List.length items));
  let left_out name = t.say (name ^ " repeats another block: left out") in
  List.iter left_out source.left_out

let play t ~seed ~items =
  Network.connect t.network ~chain_id ~within:to_connect;
  t.say "connected: a ring and two chords";
  set_start_tip t ~seed;
  spread_all t ~items:(List.length items);
  wait_for_items t ~items:(List.length items);
  settle t;
  t.say "comparing what every node holds";
  compare_all t ~items

let run ~say (options : Options.t) (source : Block_source.t) =
  let started = Unix.gettimeofday () in
  let items = Generator.items ~seed:options.seed ~count:options.items in
  let results = ref [] and failures = ref [] in
  let figures = ref no_figures in
  let with_network network =
    let t =
      {
        network;
        say;
        chance = Rng.create ~seed:options.seed ~stream:(-1);
        blocks = source.blocks;
        unspread = items;
        figures = no_figures;
        keys = [];
        results = [];
        failures = [];
      }
    in
    let keep () =
      results := List.rev t.results;
      failures := List.rev t.failures;
      figures := t.figures
    in
    Fun.protect ~finally:keep (fun () ->
        announce_plan t ~source ~items;
        play t ~seed:options.seed ~items)
  in
  (try
     Network.with_nodes ~say ~deadline:(started +. whole_run) with_network
   with Network.Failed why -> failures := !failures @ [ why ]);
  let body_length (item : Item.t) = String.length item.body in
  {
    Report.nodes = Network.size;
    source = source.description;
    items = options.items;
    item_bytes = List.fold_left (fun sum i -> sum + body_length i) 0 items;
    blocks = !results;
    seconds = Unix.gettimeofday () -. started;
    traffic = traffic_between no_figures !figures;
    failures = !failures;
  }
