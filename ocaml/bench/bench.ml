(* What the binding costs: small events a second through [poll], and a 2 MB
   block from the socket to the OCaml handler, as it is and with a copy into
   [Bytes]. All figures are of one run, so that ratios can be trusted where the
   machine cannot. *)

open Mina_p2p

external fill : int -> (unit, Error.t) result = "mina_p2p_test_fill"

external take : int -> (Event.t list, Error.t) result = "mina_p2p_test_take"

let ok = function
  | Ok value -> value
  | Error error -> failwith (Error.to_string error)

let now = Unix.gettimeofday

let median values =
  let sorted = List.sort compare values in
  List.nth sorted (List.length sorted / 2)

(* {1 Small events} *)

(* Millions of offers of transactions a second that OCaml takes from a queue in
   batches of at most [max]: the stub, the conversion, and reading a field. *)
let events_per_second ~max =
  let count = 500_000 in
  let run () =
    ok (fill count);
    let start = now () in
    let handle total : Event.t -> int = function
      | Transaction { info = { nonce; _ }; _ } -> total + nonce
      | _ -> total
    in
    let rec go total =
      match ok (take max) with
      | [] -> total
      | batch -> go (List.fold_left handle total batch)
    in
    let total = go 0 in
    assert (total = count * (count - 1) / 2);
    float_of_int count /. (now () -. start) /. 1e6
  in
  median (List.init 5 (fun _ -> run ()))

(* {1 Blocks} *)

type node = { node : t; fd : Unix.file_descr }

let start () =
  let chain_id = ok (Chain_id.of_bytes (String.make 32 'b')) in
  let secret_key = ok (Secret_key.generate ()) in
  let listen = [ Unix.ADDR_INET (Unix.inet_addr_loopback, 0) ] in
  let node = ok (create ~listen ~secret_key ~chain_id ()) in
  ok (Mina_p2p.start node);
  { node; fd = ok (event_fd node) }

let length = 2_000_000

let block number =
  let block = Bytes.make length 'b' in
  Bytes.set_int64_le block 0 (Int64.of_int number);
  (* The hash of its parent comes first: what follows makes it another block. *)
  Bytes.set_int64_le block 40 (Int64.of_int number);
  Bytes.to_string block

type sample = {
  whole : float;  (** From [set_best_tip] there to the handler here. *)
  handling : float;  (** From the wake-up to the handler: [poll]. *)
  copying : float;  (** [Payload.to_bytes] after that. *)
  allocated : float;  (** Bytes of OCaml's heap that [poll] took. *)
}

let exchange a b number =
  let state_hash =
    ok (State_hash.of_bytes (Printf.sprintf "%032d" (number + 1)))
  in
  let payload = Payload.of_string (block number) in
  let start = now () in
  ignore (ok (set_best_tip a.node ~state_hash payload));
  let rec receive () =
    ignore (Unix.select [ b.fd ] [] [] 60.);
    let woken = now () in
    let before = Gc.allocated_bytes () in
    let events = ok (poll b.node ~max:64) in
    let allocated = Gc.allocated_bytes () -. before in
    let tip : Event.t -> Payload.t option = function
      | Best_tip { block; _ } -> Some block
      | _ -> None
    in
    match List.find_map tip events with
    | None -> receive ()
    | Some block ->
        assert (Payload.length block = length);
        let handled = now () in
        let copy = Payload.to_bytes block in
        let copied = now () in
        assert (Bytes.length copy = length);
        ok (Payload.release block);
        {
          whole = handled -. start;
          handling = handled -. woken;
          copying = copied -. handled;
          allocated;
        }
  in
  receive ()

let blocks () =
  let a = start () and b = start () in
  ok (dial a.node (List.hd (ok (listen_addresses b.node))));
  let samples = List.init 60 (exchange a b) in
  ok (close a.node);
  ok (close b.node);
  (* The first few find cold caches and a small congestion window. *)
  let samples = List.filteri (fun index _ -> index >= 10) samples in
  let median f = median (List.map f samples) in
  {
    whole = median (fun sample -> sample.whole);
    handling = median (fun sample -> sample.handling);
    copying = median (fun sample -> sample.copying);
    allocated = median (fun sample -> sample.allocated);
  }

let () =
  let small =
    List.map (fun max -> (max, events_per_second ~max)) [ 1; 16; 64; 256 ]
  in
  let sample = blocks () in
  let us seconds = seconds *. 1e6 in
  if Array.exists (String.equal "--json") Sys.argv then
    let rate (max, rate) = Printf.sprintf {|"%d":%.2f|} max rate in
    let rates = String.concat "," (List.map rate small) in
    let field (name, value) = Printf.sprintf {|"%s":%.1f|} name value in
    let fields =
      List.map field
        [
          ("block_bytes", float_of_int length);
          ("announce_to_handler_us", us sample.whole);
          ("wake_to_handler_us", us sample.handling);
          ("copy_us", us sample.copying);
          ("heap_bytes_per_block", sample.allocated);
        ]
    in
    Printf.printf {|{"million_events_per_second":{%s},%s}|} rates
      (String.concat "," fields)
  else (
    let line = Printf.printf "  %-28s %9.1f %s\n" in
    print_endline "small events through poll (want: 1 million a second)";
    List.iter
      (fun (max, rate) ->
        line (Printf.sprintf "in batches of %d" max) rate "million a second")
      small;
    Printf.printf "a block of %d bytes, from one node to another (medians)\n"
      length;
    line "set_best_tip to handler" (us sample.whole) "us";
    line "wake-up to handler (poll)" (us sample.handling) "us";
    line "the same with a copy" (us (sample.handling +. sample.copying)) "us";
    line "OCaml heap taken by poll" sample.allocated "bytes");
  print_newline ()
