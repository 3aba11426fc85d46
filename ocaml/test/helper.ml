open Mina_p2p

let ok = function
  | Ok value -> value
  | Error error -> Alcotest.failf "an error: %a" Error.pp error

let error = Alcotest.testable Error.pp ( = )

let result value = Alcotest.result value error

let unit = result Alcotest.unit

(* A test that hangs fails after so many seconds. *)
let watchdog = 60.

let chain_id = ok (Chain_id.of_bytes (String.make 32 'c'))

let other_chain_id = ok (Chain_id.of_bytes (String.make 32 'd'))

let loopback = Unix.ADDR_INET (Unix.inet_addr_loopback, 0)

let state_hash number =
  ok (State_hash.of_bytes (Printf.sprintf "%032d" number))

(* A block whose parent has that state hash, as far as this library looks. *)
let block ~parent length =
  let parent = State_hash.to_bytes (state_hash parent) in
  parent ^ String.init (length - 32) (fun index -> Char.chr (index mod 251))

let account_key = ok (Account_key.of_bytes (String.make 33 '\001'))

let transaction_info number : Transaction_info.t =
  {
    hash = ok (Transaction_hash.of_bytes (Printf.sprintf "%032d" number));
    fee_payer = account_key;
    fee = 1_000_000L;
    nonce = number;
  }

type node = { node : t; fd : Unix.file_descr; events : Event.t Queue.t }

let create ?(chain_id = chain_id) ?transports ?signaling
    ?(listen = [ loopback ]) ?external_addresses ?initial_peers ?discover_peers
    ?extension_rpcs ?limits ?compact_blocks ?dummy_proof () =
  let secret_key = ok (Secret_key.generate ()) in
  ok
    (create ?transports ?signaling ~listen ?external_addresses ?initial_peers
       ?discover_peers ?extension_rpcs ?limits ?compact_blocks ?dummy_proof
       ~secret_key ~chain_id ())

let start_node node =
  ok (start node);
  { node; fd = ok (event_fd node); events = Queue.create () }

let start ?chain_id ?transports ?signaling ?listen ?external_addresses
    ?initial_peers ?discover_peers ?extension_rpcs ?limits ?compact_blocks
    ?dummy_proof () =
  start_node
    (create ?chain_id ?transports ?signaling ?listen ?external_addresses
       ?initial_peers ?discover_peers ?extension_rpcs ?limits ?compact_blocks
       ?dummy_proof ())

(* One that others reach by WebRTC alone. *)
let start_webrtc () =
  start ~transports:[ Transport.Webrtc ] ~signaling:loopback ()

(* The test may have closed it. *)
let stop { node; fd; _ } =
  (match close node with Ok () | Error Closed -> () | error -> ok error);
  Unix.close fd

let with_nodes starts f =
  let nodes = List.map (fun start -> start ()) starts in
  Fun.protect ~finally:(fun () -> List.iter stop nodes) (fun () -> f nodes)

let address { node; _ } = List.hd (ok (listen_addresses node))

(* Waits until the descriptor says that there are events. *)
let wait_readable fd =
  match Unix.select [ fd ] [] [] watchdog with
  | [], _, _ -> Alcotest.fail "no event came"
  | _ -> ()

(* The first event that [choose] wants. Those before it are forgotten. *)
let rec wait ({ node; fd; events } as waiting) choose =
  match Queue.take_opt events with
  | Some event -> (
      match choose event with
      | Some value -> value
      | None -> wait waiting choose)
  | None ->
      wait_readable fd;
      List.iter (fun event -> Queue.add event events) (ok (poll node ~max:7));
      wait waiting choose

let contains text part =
  let last = String.length text - String.length part in
  let rec from place =
    place <= last
    && (String.sub text place (String.length part) = part || from (place + 1))
  in
  from 0

let connected : Event.t -> Peer_id.t option = function
  | Peer_connected { peer; _ } -> Some peer
  | _ -> None

let disconnected : Event.t -> Close_reason.t option = function
  | Peer_disconnected { reason; _ } -> Some reason
  | _ -> None

let best_tip : Event.t -> Payload.t option = function
  | Best_tip { block; _ } -> Some block
  | _ -> None

let response : Event.t -> (Request.answer, Request.failure) result option =
  function
  | Response { answer; _ } -> Some answer
  | _ -> None

(* Dials, and waits until both ends know it. *)
let connect a b =
  ok (dial a.node (address b));
  ignore (wait a connected);
  ignore (wait b connected)

external live_bytes : unit -> (int, Error.t) result
  = "mina_p2p_test_live_bytes"

let live_bytes () = ok (live_bytes ())

(* Twice: the first may only queue finalisers. *)
let collect () =
  Gc.full_major ();
  Gc.full_major ()

external test_payload : int -> (Payload.t, Error.t) result
  = "mina_p2p_test_payload"

let test_payload length = ok (test_payload length)
