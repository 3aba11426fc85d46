open Mina_p2p

let argument = "--node"

exception Failed of string

let ok what = function
  | Ok value -> value
  | Error error ->
      raise (Failed (Printf.sprintf "%s: %s" what (Error.to_string error)))

(* What a peer offered and this node lacks. *)
type info = Transaction of Transaction_info.t | Work of Work_info.t

type wanted = {
  mutable info : info;  (** As the last offer has it. *)
  mutable offers : Peer_id.t list;  (** Who has it, the next to ask first. *)
  mutable failures : int;
}

type t = {
  node : Mina_p2p.t;
  dummy_proof : string option;
  blocks : (string, Payload.t) Hashtbl.t;  (** By key. *)
  items : (string, info * Payload.t) Hashtbl.t;
      (** What the pool has, by id: hash or job id. *)
  mutable lacking : string list;  (** Ids of what is not to be fetched. *)
  wanted : (string, wanted) Hashtbl.t;  (** By id; also while being fetched. *)
  waiting : string Queue.t;  (** Of the wanted ones, those not being fetched. *)
  fetching : (Request_id.t, string) Hashtbl.t;
  busy : (Peer_id.t, int) Hashtbl.t;  (** Requests that a peer works on. *)
}

(* The library lets a peer work on five requests of ours at once, and queues
   what is above. Not queueing leaves the choice of whom to ask until then. *)
let max_requests_per_peer = 5

(* A peer may answer too late under load; again and again means a fault. *)
let max_failures = 5

let say report =
  let text = Control.string_of_report report in
  let rec write from =
    if from < String.length text then
      let length = String.length text - from in
      match Unix.write_substring Unix.stdout text from length with
      | n -> write (from + n)
      | exception Unix.Unix_error (EINTR, _, _) -> write from
  in
  write 0

let note format = Format.kasprintf (fun text -> say (Note text)) format

(* Blocks *)

let state_hash block =
  let length = min Block_hash.head_length (Payload.length block) in
  let head = Payload.to_string (Payload.sub block ~pos:0 ~len:length) in
  ok "state hash" (State_hash.of_bytes (Block_hash.of_block head))

(* What a block has included leaves the pool, as in a real node. The library
   finds it in the last blocks if a fork has it too. *)
let leave_pool t block =
  let leave ({ name; _ } : Block_items.t) =
    let id = Block_items.name_to_bytes name in
    Hashtbl.remove t.items id;
    Hashtbl.remove t.wanted id;
    let (_ : bool) =
      match name with
      | Transaction hash ->
          ok "remove_transaction" (remove_transaction t.node hash)
      | Work job_id -> ok "remove_work" (remove_work t.node job_id)
    in
    ()
  in
  List.iter leave (Block_items.of_block ~dummy_proof:t.dummy_proof block)

let set_tip t block =
  let state_hash = state_hash block in
  let key = ok "set_best_tip" (set_best_tip t.node ~state_hash block) in
  Hashtbl.replace t.blocks (Block_key.to_bytes key) block;
  leave_pool t block;
  key

(* A real node verifies a block before it makes it its tip. *)
let got_block t ~key ~how block =
  let at = Unix.gettimeofday () in
  let name = Block_key.to_bytes key in
  if not (Hashtbl.mem t.blocks name) then (
    let (_ : Block_key.t) = set_tip t block in
    say (Got_block { key = name; at; length = Payload.length block; how }))

(* A real node verifies the proof of what the header says first. Accepted, the
   header is relayed while the rest is still on its way. *)
let got_header t ~key header =
  match accept_header t.node ~state_hash:(state_hash header) key with
  | Ok () -> ()
  | Error why -> note "accept_header: %a" Error.pp why

let how_it_came (how : How_it_came.t) : Control.how =
  let via : Control.via =
    match how.via with `List -> List | `Chunks -> Chunks | `Whole -> Whole
  in
  {
    via;
    received = how.received;
    items = how.items;
    hits = how.hits;
    prefilled = how.prefilled;
    fetched = how.fetched;
    round_trips = how.round_trips;
  }

let unasked block : Control.how =
  {
    via = Tip;
    received = Payload.length block;
    items = 0;
    hits = 0;
    prefilled = 0;
    fetched = 0;
    round_trips = 0;
  }

(* Items *)

let id_of = function
  | Transaction info -> Transaction_hash.to_bytes info.hash
  | Work info -> Job_id.to_bytes info.job_id

let has t info body =
  Hashtbl.replace t.items (id_of info) (info, body);
  say (Has_item (id_of info))

let put t info body =
  let (_ : bool) =
    match info with
    | Transaction info ->
        ok "add_transaction" (add_transaction t.node info body)
    | Work info -> ok "add_work" (add_work t.node info body)
  in
  has t info body

let put_command t body =
  let body = Payload.of_string body in
  let info, (_ : bool) = ok "add_command" (add_command t.node body) in
  has t (Transaction info) body

let put_completed_work t body =
  let body = Payload.of_string body in
  let info, (_ : bool) =
    ok "add_completed_work" (add_completed_work t.node body)
  in
  has t (Work info) body

let busy t peer = Option.value (Hashtbl.find_opt t.busy peer) ~default:0

let fetch t ~peer = function
  | Transaction info -> fetch_transaction t.node ~peer info.hash
  | Work info -> fetch_work t.node ~peer info.job_id

(* Asks for what waits, each from the first of those who offered it that has
   time for it. *)
let fetch_waiting t =
  let ids = List.of_seq (Queue.to_seq t.waiting) in
  Queue.clear t.waiting;
  let ask id wanted =
    let has_time peer = busy t peer < max_requests_per_peer in
    match List.find_opt has_time wanted.offers with
    | None -> Queue.add id t.waiting
    | Some peer -> (
        match fetch t ~peer wanted.info with
        | Ok request ->
            Hashtbl.replace t.fetching request id;
            Hashtbl.replace t.busy peer (busy t peer + 1)
        | Error error ->
            (* It is gone, or about to be; other offers may remain. *)
            note "asking a peer: %a" Error.pp error;
            wanted.offers <- List.filter (( <> ) peer) wanted.offers;
            Queue.add id t.waiting)
  in
  (* What a block has included meanwhile is not wanted any more. *)
  let ask id = Option.iter (ask id) (Hashtbl.find_opt t.wanted id) in
  List.iter ask ids

let offered t ~peer info =
  let id = id_of info in
  if not (Hashtbl.mem t.items id || List.mem id t.lacking) then
    match Hashtbl.find_opt t.wanted id with
    | Some wanted ->
        wanted.info <- info;
        if not (List.mem peer wanted.offers) then
          wanted.offers <- wanted.offers @ [ peer ]
    | None ->
        Hashtbl.replace t.wanted id { info; offers = [ peer ]; failures = 0 };
        Queue.add id t.waiting

let answered t ~request ~peer answer =
  match Hashtbl.find_opt t.fetching request with
  | None -> ()
  | Some id -> (
      Hashtbl.remove t.fetching request;
      Hashtbl.replace t.busy peer (busy t peer - 1);
      let again wanted reason ~offers =
        wanted.failures <- wanted.failures + 1;
        wanted.offers <- offers (List.filter (( <> ) peer) wanted.offers);
        if wanted.failures < max_failures then Queue.add id t.waiting
        else (
          (* Until somebody offers it again. *)
          Hashtbl.remove t.wanted id;
          note "given up on an item after %d tries: %s" max_failures reason)
      in
      let answer : (Request.answer, Request.failure) result = answer in
      match (Hashtbl.find_opt t.wanted id, answer) with
      | None, _ -> () (* A block has included it meanwhile. *)
      | Some wanted, Ok (Rpc (Some (Transaction body | Work body))) ->
          Hashtbl.remove t.wanted id;
          put t wanted.info body
      | Some wanted, Ok _ ->
          again wanted "the peer no longer has it" ~offers:Fun.id
      | Some wanted, (Error (Timeout as why) | Error (Dropped as why)) ->
          let reason = Format.asprintf "%a" Request.pp_failure why in
          again wanted reason ~offers:(fun others -> others @ [ peer ])
      | Some wanted, Error Disconnected ->
          again wanted "disconnected" ~offers:Fun.id)

(* Its offers went with the connection; it repeats them after the next one. *)
let peer_gone t peer =
  Hashtbl.remove t.busy peer;
  let forget _ wanted =
    wanted.offers <- List.filter (( <> ) peer) wanted.offers
  in
  Hashtbl.iter forget t.wanted

let handle_event t : Event.t -> unit = function
  | Header { key; header; _ } -> got_header t ~key header
  | Block { key; block; how; _ } ->
      got_block t ~key ~how:(how_it_came how) block
  | Block_failed _ as event -> note "%a" Event.pp event
  | Best_tip { block; key; _ } -> got_block t ~key ~how:(unasked block) block
  | Transaction { peer; info } -> offered t ~peer (Transaction info)
  | Work { peer; info } -> offered t ~peer (Work info)
  | Response { request; peer; answer } -> answered t ~request ~peer answer
  | Peer_connected { peer; transport; _ } ->
      let transport = Transport.to_string transport in
      say (Connected { peer = Peer_id.to_string peer; transport })
  | Peer_disconnected { peer; reason } ->
      peer_gone t peer;
      let reason = Format.asprintf "%a" Close_reason.pp reason in
      say (Disconnected { peer = Peer_id.to_string peer; reason })
  | (Dial_failed _ | Task_failed _) as event -> note "%a" Event.pp event
  | Commitment _ | Request _ | Request_cancelled _ | Staged_ledger_part _ -> ()

(* Orders *)

let info_of_item (item : Item.t) =
  let account = ok "account" (Account_key.of_bytes item.account) in
  match item.kind with
  | Transaction { nonce } ->
      let hash = ok "transaction hash" (Transaction_hash.of_bytes item.id) in
      Transaction { hash; fee_payer = account; fee = item.fee; nonce }
  | Work ->
      let job_id = ok "job id" (Job_id.of_bytes item.id) in
      Work { job_id; fee = item.fee; prover = account }

let item_of_info info body : Item.t =
  let id = id_of info and body = Payload.to_string body in
  match info with
  | Transaction { fee_payer; fee; nonce; _ } ->
      let account = Account_key.to_bytes fee_payer in
      { kind = Transaction { nonce }; id; fee; account; body }
  | Work { prover; fee; _ } ->
      { kind = Work; id; fee; account = Account_key.to_bytes prover; body }

(* Sums up the peers, so that each connection counts at both its ends. *)
let figures t : Control.figures =
  let open Control in
  let peers = ok "peers" (peers t.node) in
  let sum of_peer = List.fold_left (fun sum p -> sum + of_peer p) 0 peers in
  let wire =
    {
      sent = sum (fun (p : Peer.t) -> p.wire_bytes_sent);
      received = sum (fun (p : Peer.t) -> p.wire_bytes_received);
    }
  in
  let channels = List.concat_map (fun (p : Peer.t) -> p.channels) peers in
  let of_channel channel =
    let of_it = List.filter (fun (other, _) -> other = channel) channels in
    let add { sent; received } (_, (traffic : Peer.traffic)) =
      {
        sent = sent + traffic.sent_bytes;
        received = received + traffic.received_bytes;
      }
    in
    let traffic = List.fold_left add { sent = 0; received = 0 } of_it in
    (Channel.to_string channel, traffic)
  in
  let names = List.sort_uniq compare (List.map fst channels) in
  { wire; channels = List.map of_channel names }

let start ~chain_id ~compact ~initial_peers =
  let chain_id = ok "chain id" (Chain_id.of_bytes chain_id) in
  let address text = ok text (Address.of_string text) in
  let secret_key = ok "secret key" (Secret_key.generate ()) in
  let dummy_proof = Block_source.dummy_proof () in
  let loopback = Unix.ADDR_INET (Unix.inet_addr_loopback, 0) in
  let node =
    ok "create"
      (create ~secret_key ~chain_id ~agent:"devnet" ~compact_blocks:compact
         ?dummy_proof
         ~listen:[ loopback ] ~signaling:loopback
         ~initial_peers:(List.map address initial_peers)
         ())
  in
  ok "start" (start node);
  let addresses = ok "listen_addresses" (listen_addresses node) in
  let addresses = List.map Address.to_string addresses in
  say (Ready { peer_id = Peer_id.to_string (peer_id node); addresses });
  {
    node;
    dummy_proof;
    blocks = Hashtbl.create 64;
    items = Hashtbl.create 64;
    lacking = [];
    wanted = Hashtbl.create 64;
    waiting = Queue.create ();
    fetching = Hashtbl.create 64;
    busy = Hashtbl.create 8;
  }

let give table key found =
  match Hashtbl.find_opt table key with
  | Some value -> say (found value)
  | None -> say (Lacks key)

let handle_order t : Control.command -> unit = function
  | Start _ -> raise (Failed "started twice")
  | Tip block ->
      let at = Unix.gettimeofday () in
      let key = set_tip t (Payload.of_string block) in
      say (Tip_set { key = Block_key.to_bytes key; at })
  | Add item -> put t (info_of_item item) (Payload.of_string item.body)
  | Add_command body -> put_command t body
  | Add_completed_work body -> put_completed_work t body
  | Lack ids -> t.lacking <- ids
  | Figures -> say (Measured (figures t))
  | Give_block key ->
      give t.blocks key (fun block ->
          Block_bytes { key; body = Payload.to_string block })
  | Give_item id ->
      give t.items id (fun (info, body) -> Item_is (item_of_info info body))
  | Stop -> raise Exit

(* The loop *)

let max_events = 256
let buffer = Bytes.create 65_536

let rec read_orders decoder =
  match Unix.read Unix.stdin buffer 0 (Bytes.length buffer) with
  | 0 -> raise Exit
  | n -> Control.Decoder.feed decoder buffer n
  | exception Unix.Unix_error (EINTR, _, _) -> read_orders decoder

(* Before the start there is nothing to wait for but orders. *)
let rec started decoder =
  match read_orders decoder with
  | [] -> started decoder
  | [ Control.Start { chain_id; compact; initial_peers } ] ->
      start ~chain_id ~compact ~initial_peers
  | _ -> raise (Failed "ordered about before the start")

let rec serve t decoder event_fd =
  (match Unix.select [ Unix.stdin; event_fd ] [] [] (-1.) with
  | readable, _, _ ->
      if List.mem event_fd readable then
        List.iter (handle_event t) (ok "poll" (poll t.node ~max:max_events));
      if List.mem Unix.stdin readable then
        List.iter (handle_order t) (read_orders decoder);
      fetch_waiting t
  | exception Unix.Unix_error (EINTR, _, _) -> ());
  serve t decoder event_fd

let run () =
  let decoder = Control.Decoder.commands () in
  try
    let t = started decoder in
    let stop () = ok "close" (close t.node) in
    let event_fd = ok "event_fd" (event_fd t.node) in
    try serve t decoder event_fd with
    | Exit ->
        stop ();
        0
    | error ->
        stop ();
        raise error
  with
  | Exit -> 0
  | Unix.Unix_error (EPIPE, _, _) -> 0 (* Nobody listens any more. *)
  | Failed why | Control.Malformed why | Sys_error why ->
      prerr_endline ("devnet node: " ^ why);
      1
