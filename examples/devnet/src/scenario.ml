(* No wait is without an end. The whole run has two minutes; the rest is for
   giving up with a message rather than with the last wait. *)
let whole_run = 115.
let to_connect = 20.
let to_spread_a_block = 20.
let to_spread_items = 30.
let to_fill_pools = 3.
let to_give_back = 30.

(* How long to wait for what is still on its way when all have the block, and
   how often to look. *)
let to_settle = 2.
let settle_interval = 0.002
let chain_id = Digest.string "mina-p2p" ^ Digest.string "devnet"

(* The channels on which blocks travel unasked, and that of the questions that
   rebuild them. *)
let news_channels =
  List.map Mina_p2p.Channel.to_string [ Best_tip; Compact_block ]

let questions = Mina_p2p.Channel.to_string Extension_rpc

type t = {
  network : Network.t;
  say : string -> unit;
  chance : Rng.t;  (** Who gets an item, and who lacks it. *)
  compact : bool;  (** Whether this run is the one with compaction. *)
  lacking : int;  (** Percent of a block's items that a node lacks. *)
  dummy_proof : string option;
  included : (Mina_p2p.Item_id.t, unit) Hashtbl.t;
      (** The items of all blocks so far. *)
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

let sum_of channels (figures : Control.figures) : Control.traffic =
  let add (sum : Control.traffic) channel : Control.traffic =
    let more = traffic figures channel in
    { sent = sum.sent + more.sent; received = sum.received + more.received }
  in
  List.fold_left add { sent = 0; received = 0 } channels

let news = sum_of news_channels
let of_blocks = sum_of (questions :: news_channels)

(* Until what was sent of news has arrived, and nothing has changed since the
   nodes were asked before: they are not asked at the same moment, so that once
   may be a coincidence. (Of questions, those that were cancelled never arrive.)
   Neighbours send a block to each other when both had it from others, so some
   copies are on their way when all have it; they belong to its cost. *)
let settle t =
  let until = Unix.gettimeofday () +. to_settle in
  let rec go last =
    match Network.figures t.network ~within:to_settle with
    | None -> ()
    | Some figures ->
        t.figures <- figures;
        let { Control.sent; received } = news figures in
        let sums = of_blocks figures in
        let arrived = sent = received && last = Some sums in
        if (not arrived) && Unix.gettimeofday () < until then (
          Network.pause t.network settle_interval;
          go (Some sums))
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

(* Which nodes an item comes to that is put into one's pool: it goes from
   neighbour to neighbour, but not through those that lack it. *)
let reached_from holder ~lacks =
  let reached = Array.make Network.size false in
  let rec from index =
    if not (reached.(index) || lacks.(index)) then (
      reached.(index) <- true;
      List.iter from (Network.neighbours index))
  in
  from holder;
  reached

(* The items of a block that pools can have: none that a block before had, as it
   has left them, and of several works for one job the first. *)
let poolable t (items : Block_items.t list) =
  let names = Hashtbl.create 64 in
  let is_poolable (item : Block_items.t) =
    let is_new =
      not (Hashtbl.mem t.included item.id || Hashtbl.mem names item.name)
    in
    if is_new then Hashtbl.replace names item.name ();
    is_new
  in
  let poolable = List.filter is_poolable items in
  let include_it (item : Block_items.t) =
    Hashtbl.replace t.included item.id ()
  in
  List.iter include_it items;
  poolable

type placed = {
  item : Block_items.t;
  holder : int option;  (** [None] if all nodes lack it. *)
  lacks : bool array;
}

let place t item =
  let lacks =
    Array.init Network.size (fun _ -> Rng.int t.chance 100 < t.lacking)
  in
  let candidates =
    List.filter
      (fun node -> not lacks.(node))
      (List.init Network.size Fun.id)
  in
  let count = List.length candidates in
  let holder =
    if count = 0 then None
    else Some (List.nth candidates (Rng.int t.chance count))
  in
  { item; holder; lacks }

(* Before a block is announced, each of its items is put into the pool of one
   node, and spreads from there. *)
let fill_pools t bytes =
  let id_of { item; _ } = Block_items.name_to_bytes item.name in
  let block = Mina_p2p.Payload.of_string bytes in
  let items = Block_items.of_block ~dummy_proof:t.dummy_proof block in
  let placed = List.map (place t) (poolable t items) in
  let nodes = Network.nodes t.network in
  let tell_lacking node (to_node : Network.node) =
    let lacked = List.filter (fun { lacks; _ } -> lacks.(node)) placed in
    Network.order to_node (Lack (List.map id_of lacked));
    (* A node may have had another work for the same job. *)
    List.iter (fun item -> Hashtbl.remove to_node.items (id_of item)) placed
  in
  Array.iteri tell_lacking nodes;
  (* They answer in order: whoever gives its figures knows what it lacks. *)
  if Network.figures t.network ~within:to_fill_pools = None then
    raise (Network.Failed "the nodes did not answer in time");
  let put { item; holder; _ } =
    let order = Block_items.add item in
    Option.iter (fun node -> Network.order nodes.(node) order) holder
  in
  List.iter put placed;
  let expected ({ holder; lacks; _ } as placed) =
    match holder with
    | None -> []
    | Some holder ->
        let reached = reached_from holder ~lacks in
        let if_reached node is_reached =
          if is_reached then Some (nodes.(node), id_of placed) else None
        in
        List.filter_map Fun.id
          (List.mapi if_reached (Array.to_list reached))
  in
  let waiting = ref (List.concat_map expected placed) in
  let all_there () =
    let is_missing ((node : Network.node), name) =
      not (Hashtbl.mem node.items name)
    in
    waiting := List.filter is_missing !waiting;
    !waiting = []
  in
  if not (Network.wait t.network ~within:to_fill_pools all_there) then
    t.say
      (Printf.sprintf "%d items had not spread in time" (List.length !waiting))

let spread t ~index (name, bytes) =
  let nodes = Network.nodes t.network in
  let announcer = nodes.(index mod Array.length nodes) in
  if t.compact then (
    fill_pools t bytes;
    settle t);
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
  let result =
    Report.block ~file:name ~bytes:(String.length bytes)
      ~announced:(Hashtbl.find announcer.tips_set key)
      ~received:(received ())
      ~wire_bytes:((of_blocks t.figures).sent - (of_blocks before).sent)
  in
  t.results <- result :: t.results;
  if not in_time then
    fail t "%s reached %d of %d nodes in time" name result.nodes_reached
      (Array.length nodes);
  if t.compact then
    let totals = Report.totals [ result ] in
    t.say
      (Printf.sprintf
         "block %d of %d: %s, %d bytes, %d nodes, %d of %d items found in \
          pools, %d bytes on the wire, %s"
         (index + 1) (List.length t.blocks) name result.bytes
         result.nodes_reached totals.hits totals.items result.wire_bytes
         (match result.last_ms with
         | Some ms -> Printf.sprintf "the last after %.1f ms" ms
         | None -> "nobody received it"))

(* A share of the other items before each block, so that they flow meanwhile. *)
let spread_all t ~items =
  let count = List.length t.blocks in
  let share index = items * (index + 1) / count - (items * index / count) in
  let each index block =
    put_items t (share index);
    spread t ~index block
  in
  List.iteri each t.blocks

let wait_for_items t ~(items : Item.t list) =
  let nodes = Network.nodes t.network in
  let missing (node : Network.node) =
    let lacks (item : Item.t) = not (Hashtbl.mem node.items item.id) in
    List.length (List.filter lacks items)
  in
  let all () = Array.for_all (fun node -> missing node = 0) nodes in
  if not (Network.wait t.network ~within:to_spread_items all) then
    let complain (node : Network.node) =
      if missing node > 0 then
        fail t "%s lacks %d of %d items" node.name (missing node)
          (List.length items)
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

let announce_plan ~say ~(source : Block_source.t) ~items ~dummy_proof =
  say
    (Printf.sprintf "%d nodes, %s, %d other items" Network.size
       source.description (List.length items));
  let left_out name = say (name ^ " repeats another block: left out") in
  List.iter left_out source.left_out;
  if dummy_proof = None then
    say "no dummy proof: zkApp commands get hashes of the demo's own"

(* The whole run with compaction: its blocks, figures and failures. *)
type outcome = {
  results : Report.block list;
  links : (string * int) list;
  figures : Control.figures;
  failures : string list;
}

(* A node that has other addresses of a peer too could have used those. *)
let check_links t transport =
  let are = Network.links_by t.network in
  let wanted = Network.links_wanted transport in
  if t.compact then
    t.say ("connected: a ring and two chords, " ^ Report.links_text are);
  if are <> wanted then
    fail t "links: %s, not %s" (Report.links_text are)
      (Report.links_text wanted)

let outcome ~say ~deadline ~(options : Options.t) ~source ~items ~dummy_proof
    ~compact =
  let found =
    ref { results = []; links = []; figures = no_figures; failures = [] }
  in
  let with_network network =
    let t =
      {
        network;
        say;
        chance = Rng.create ~seed:options.seed ~stream:(-1);
        compact;
        lacking = options.lacking;
        dummy_proof;
        included = Hashtbl.create 256;
        blocks = source.Block_source.blocks;
        unspread = items;
        figures = no_figures;
        keys = [];
        results = [];
        failures = [];
      }
    in
    let keep () =
      found :=
        {
          results = List.rev t.results;
          links = Network.links_by network;
          figures = t.figures;
          failures = List.rev t.failures;
        }
    in
    Fun.protect ~finally:keep (fun () ->
        Network.connect network ~chain_id ~compact
          ~transport:options.transport ~within:to_connect;
        check_links t options.transport;
        set_start_tip t ~seed:options.seed;
        spread_all t ~items:(List.length items);
        wait_for_items t ~items;
        settle t;
        if compact then say "comparing what every node holds";
        compare_all t ~items)
  in
  match Network.with_nodes ~say ~deadline with_network with
  | () -> !found
  | exception Network.Failed why ->
      { !found with failures = !found.failures @ [ why ] }

(* What the same blocks cost without compaction, by name. *)
let with_plain results (plain : outcome) =
  let bytes_of (block : Report.block) =
    List.find_map
      (fun (other : Report.block) ->
        if other.file = block.file then Some other.wire_bytes else None)
      plain.results
  in
  List.map
    (fun (block : Report.block) ->
      { block with plain_wire_bytes = bytes_of block })
    results

let run ~say (options : Options.t) (source : Block_source.t) =
  let started = Unix.gettimeofday () in
  let deadline = started +. whole_run in
  let items = Generator.items ~seed:options.seed ~count:options.items in
  let dummy_proof = Block_source.dummy_proof () in
  announce_plan ~say ~source ~items ~dummy_proof;
  let outcome = outcome ~say ~deadline ~options ~source ~dummy_proof in
  let compact = outcome ~items ~compact:true in
  let results, failures =
    if options.comparison && compact.failures = [] then (
      say "the same blocks once more, without compaction";
      let plain = outcome ~items:[] ~compact:false in
      let of_plain why = "without compaction: " ^ why in
      ( with_plain compact.results plain,
        List.map of_plain plain.failures ))
    else (compact.results, compact.failures)
  in
  let body_length (item : Item.t) = String.length item.body in
  {
    Report.nodes = Network.size;
    source = source.description;
    items = options.items;
    item_bytes = List.fold_left (fun sum i -> sum + body_length i) 0 items;
    lacking = options.lacking;
    links = compact.links;
    blocks = results;
    seconds = Unix.gettimeofday () -. started;
    traffic = traffic_between no_figures compact.figures;
    failures;
  }
