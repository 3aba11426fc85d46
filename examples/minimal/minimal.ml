(* minimal.exe CHAIN_ID PORT [ADDRESS ..]: a node that connects to others, by
   QUIC and WebRTC, prints the blocks that they announce, and fetches every
   transaction that they offer. *)

open Mina_p2p

let ok = function Ok value -> value | Error e -> failwith (Error.to_string e)

let handle node : Event.t -> unit = function
  | Best_tip { peer; block; _ } ->
      let bytes = Payload.length block in
      Format.printf "tip of %d bytes from %a@." bytes Peer_id.pp peer
  | Block { peer; key; block; how; _ } -> (
      let bytes = Payload.length block in
      Format.printf "block of %d bytes from %a, %a@." bytes Peer_id.pp peer
        How_it_came.pp how;
      (* A node that verifies blocks accepts it here, after its header. *)
      match ignore_block node key with
      | Ok () | Error Unknown_block -> ()
      | Error e -> Format.printf "not ignored: %a@." Error.pp e)
  | Transaction { peer; info } -> (
      match fetch_transaction ~peer node info.hash with
      | Ok _request -> ()
      | Error e -> Format.printf "not fetched: %a@." Error.pp e)
  | Response { answer = Ok (Rpc (Some (Transaction body))); _ } ->
      Format.printf "transaction of %d bytes@." (Payload.length body)
  | event -> Format.printf "%a@." Event.pp event

let () =
  let chain_id = ok (Chain_id.of_string Sys.argv.(1)) in
  let port = int_of_string Sys.argv.(2) in
  (* UDP, for QUIC and WebRTC; and TCP, for offers of WebRTC connections. *)
  let everywhere = Unix.ADDR_INET (Unix.inet_addr_any, port) in
  let secret_key = ok (Secret_key.generate ()) in
  let node =
    ok
      (create ~listen:[ everywhere ] ~signaling:everywhere ~secret_key ~chain_id
         ())
  in
  ok (start node);
  let addresses = ok (listen_addresses node) in
  List.iter (Format.printf "listening on %a@." Address.pp) addresses;
  for i = 3 to Array.length Sys.argv - 1 do
    ok (dial node (ok (Address.of_string Sys.argv.(i))))
  done;
  let fd = ok (event_fd node) in
  while true do
    ignore (Unix.select [ fd ] [] [] (-1.));
    List.iter (handle node) (ok (poll node ~max:64))
  done
