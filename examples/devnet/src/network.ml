exception Failed of string

let failed format = Printf.ksprintf (fun why -> raise (Failed why)) format

type node = {
  name : string;
  child : Child.t;
  mutable ready : (string * string list) option;
  connected : (string, string) Hashtbl.t;
  tips_set : (string, float) Hashtbl.t;
  got : (string, float * Control.how) Hashtbl.t;
  items : (string, unit) Hashtbl.t;
  mutable last_tip_set : string option;
  mutable figures : Control.figures option;
  mutable given : Control.report list;
}

type t = {
  nodes : node array;
  say : string -> unit;
  deadline : float;
  mutable stopping : bool;  (** Nodes that lose each other are no news then. *)
}

let size = 5

(* A ring, and two chords, so that a block has several ways and no node is a
   neighbour of all: the last hop of a relay is always there. Each link is
   dialed by its second node, which starts later. *)
let links = [ (0, 1); (1, 2); (2, 3); (3, 4); (0, 4); (0, 2); (1, 3) ]

(* Closing takes a node half a second at most. *)
let time_to_stop = 5.
let nodes t = t.nodes
let order node command = Child.send node.child command

let node index =
  {
    name = Printf.sprintf "node %d" index;
    child = Child.spawn ();
    ready = None;
    connected = Hashtbl.create 8;
    tips_set = Hashtbl.create 64;
    got = Hashtbl.create 64;
    items = Hashtbl.create 64;
    last_tip_set = None;
    figures = None;
    given = [];
  }

let status_text : Unix.process_status -> string = function
  | WEXITED status -> Printf.sprintf "exit status %d" status
  | WSIGNALED signal when signal = Sys.sigkill -> "killed"
  | WSIGNALED signal | WSTOPPED signal ->
      (* OCaml's own numbers for signals, which are negative: signal(7). *)
      Printf.sprintf "ended by OCaml's signal %d" signal

let name_of_peer t peer =
  let is_it node =
    match node.ready with Some (id, _) -> id = peer | None -> false
  in
  match List.find_opt is_it (Array.to_list t.nodes) with
  | Some node -> node.name
  | None -> peer

let handle t node : Control.report -> unit = function
  | Ready { peer_id; addresses } -> node.ready <- Some (peer_id, addresses)
  | Connected { peer; transport } ->
      Hashtbl.replace node.connected peer transport
  | Disconnected { peer; reason } ->
      Hashtbl.remove node.connected peer;
      if not t.stopping then
        let peer = name_of_peer t peer in
        t.say (Printf.sprintf "%s lost %s: %s" node.name peer reason)
  | Tip_set { key; at } ->
      Hashtbl.replace node.tips_set key at;
      node.last_tip_set <- Some key
  | Got_block { key; at; length = _; how } ->
      Hashtbl.replace node.got key (at, how)
  | Has_item id -> Hashtbl.replace node.items id ()
  | Measured figures -> node.figures <- Some figures
  | (Block_bytes _ | Item_is _ | Lacks _) as given ->
      node.given <- given :: node.given
  | Note text -> t.say (Printf.sprintf "%s: %s" node.name text)

let read t node =
  match Child.read node.child with
  | reports -> List.iter (handle t node) reports
  | exception Control.Malformed why ->
      failed "%s does not keep to the control protocol: %s" node.name why

(* Waits for the pipes once, until [until] at most. *)
let turn t ~until =
  let each f = List.filter_map (fun n -> f n.child) (Array.to_list t.nodes) in
  let timeout = Float.max 0. (until -. Unix.gettimeofday ()) in
  match Unix.select (each Child.output) (each Child.input) [] timeout with
  | exception Unix.Unix_error (EINTR, _, _) -> ()
  | readable, writable, _ ->
      let is_in list fd =
        match fd with Some fd -> List.mem fd list | None -> false
      in
      let serve node =
        if is_in writable (Child.input node.child) then Child.write node.child;
        if is_in readable (Child.output node.child) then read t node
      in
      Array.iter serve t.nodes

let check_alive node =
  if Child.output node.child = None then
    let soon = Unix.gettimeofday () +. 1. in
    let status = Child.reap node.child ~deadline:soon in
    failed "%s has ended before its time: %s" node.name (status_text status)

let wait t ~within condition =
  let until = Float.min t.deadline (Unix.gettimeofday () +. within) in
  let rec go () =
    condition ()
    || Unix.gettimeofday () < until
       && (turn t ~until;
           Array.iter check_alive t.nodes;
           go ())
  in
  go ()

let pause t seconds =
  let (_ : bool) = wait t ~within:seconds (fun () -> false) in
  ()

let all t condition = Array.for_all condition t.nodes

let neighbours index =
  let of_link (a, b) =
    if a = index then Some b else if b = index then Some a else None
  in
  List.filter_map of_link links

(* What carries a link. Of a mixed network's, every other one is by WebRTC: then
   each node has links of both kinds. *)
let carrier (transport : Options.transport) index =
  match transport with
  | Quic -> Mina_p2p.Transport.Quic
  | Webrtc -> Webrtc
  | Mixed -> if index mod 2 = 0 then Quic else Webrtc

(* An address is QUIC's if it says so, else it is that of the signaling. *)
let is_by (transport : Mina_p2p.Transport.t) address =
  let is_quic = List.mem "mina-quic" (String.split_on_char '/' address) in
  is_quic = (transport = Quic)

let connect t ~chain_id ~compact ~transport ~within =
  let until = Unix.gettimeofday () +. within in
  let wait_for what condition =
    let within = until -. Unix.gettimeofday () in
    if not (wait t ~within condition) then failed "%s in time" what
  in
  let peer_id node = Option.map fst node.ready in
  let start index node =
    let addresses place (a, b) =
      if b <> index then []
      else
        match t.nodes.(a).ready with
        | Some (_, list) ->
            List.filter (is_by (carrier transport place)) list
        | None -> []
    in
    let initial_peers = List.concat (List.mapi addresses links) in
    order node (Start { chain_id; compact; initial_peers });
    wait_for (node.name ^ " did not start") (fun () -> node.ready <> None)
  in
  Array.iteri start t.nodes;
  let has_neighbours index node =
    let is_connected other =
      match peer_id t.nodes.(other) with
      | Some id -> Hashtbl.mem node.connected id
      | None -> false
    in
    List.for_all is_connected (neighbours index)
  in
  wait_for "the nodes did not connect" (fun () ->
      List.for_all Fun.id
        (List.mapi has_neighbours (Array.to_list t.nodes)))

let count_each carriers =
  let count transport =
    let name = Mina_p2p.Transport.to_string transport in
    (name, List.length (List.filter (( = ) name) carriers))
  in
  List.map count [ Mina_p2p.Transport.Quic; Webrtc ]

let links_by t =
  let of_node node =
    Hashtbl.fold (fun _ transport all -> transport :: all) node.connected []
  in
  (* Both ends of a link have it. *)
  List.concat_map of_node (Array.to_list t.nodes)
  |> count_each
  |> List.map (fun (name, ends) -> (name, ends / 2))

let links_wanted transport =
  let carrier index _link =
    Mina_p2p.Transport.to_string (carrier transport index)
  in
  count_each (List.mapi carrier links)

let figures t ~within =
  let ask node =
    node.figures <- None;
    order node Figures
  in
  Array.iter ask t.nodes;
  if not (wait t ~within (fun () -> all t (fun n -> n.figures <> None))) then
    None
  else
    let all = List.filter_map (fun n -> n.figures) (Array.to_list t.nodes) in
    let add (a : Control.traffic) (b : Control.traffic) : Control.traffic =
      { sent = a.sent + b.sent; received = a.received + b.received }
    in
    let zero : Control.traffic = { sent = 0; received = 0 } in
    let of_channel name =
      let of_node (f : Control.figures) =
        Option.value (List.assoc_opt name f.channels) ~default:zero
      in
      (name, List.fold_left add zero (List.map of_node all))
    in
    let names (f : Control.figures) = List.map fst f.channels in
    let names = List.sort_uniq compare (List.concat_map names all) in
    let wire (f : Control.figures) = f.wire in
    Some
      {
        Control.wire = List.fold_left add zero (List.map wire all);
        channels = List.map of_channel names;
      }

(* Asks all to stop, and then sees to it that they have. *)
let stop t =
  t.stopping <- true;
  let until = Unix.gettimeofday () +. time_to_stop in
  Array.iter (fun node -> order node Stop) t.nodes;
  let ended node = Child.output node.child = None in
  while (not (all t ended)) && Unix.gettimeofday () < until do
    turn t ~until
  done;
  let status node = (node, Child.reap node.child ~deadline:until) in
  List.map status (Array.to_list t.nodes)

let with_nodes ~say ~deadline f =
  let nodes = ref [] in
  let kill_all () =
    let now = Unix.gettimeofday () in
    let reap node = ignore (Child.reap node.child ~deadline:now) in
    List.iter reap !nodes
  in
  Fun.protect ~finally:kill_all (fun () ->
      for index = 0 to size - 1 do
        nodes := !nodes @ [ node index ]
      done;
      let nodes = Array.of_list !nodes in
      let t = { nodes; say; deadline; stopping = false } in
      let result = f t in
      let check (node, status) =
        if status <> Unix.WEXITED 0 then
          failed "%s did not end well: %s" node.name (status_text status)
      in
      List.iter check (stop t);
      result)
