(* The other process of the test in processes.ml: prints its address, and when
   it has pulled a block makes it its own best tip. Ends with its input. *)

open Mina_p2p

let ok = function
  | Ok value -> value
  | Error error -> failwith (Error.to_string error)

let () =
  let chain_id = ok (Chain_id.of_string Sys.argv.(1)) in
  let secret_key = ok (Secret_key.generate ()) in
  let listen = [ Unix.ADDR_INET (Unix.inet_addr_loopback, 0) ] in
  let node = ok (create ~listen ~secret_key ~chain_id ()) in
  ok (start node);
  let fd = ok (event_fd node) in
  List.iter
    (fun address -> print_endline (Address.to_string address))
    (ok (listen_addresses node));
  let handle : Event.t -> unit = function
    | Transaction { info; _ } ->
        ignore (ok (fetch_transaction node info.hash))
    | Response { answer = Ok (Rpc (Some (Transaction body))); _ } ->
        Printf.printf "transaction %s\n%!"
          (Digest.to_hex (Digest.string (Payload.to_string body)))
    | Best_tip { block; _ } ->
        Printf.printf "block %s\n%!"
          (Digest.to_hex (Digest.string (Payload.to_string block)))
    | _ -> ()
  in
  let rec loop () =
    match Unix.select [ fd; Unix.stdin ] [] [] (-1.) with
    | readable, _, _ when List.mem Unix.stdin readable -> ok (close node)
    | _ ->
        List.iter handle (ok (poll node ~max:64));
        loop ()
  in
  loop ()
