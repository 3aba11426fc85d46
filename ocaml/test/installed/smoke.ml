(* A node's whole life, for bytecode and the toplevel. *)

open Mina_p2p

let ok = function Ok value -> value | Error e -> failwith (Error.to_string e)

let () =
  let secret_key = ok (Secret_key.generate ()) in
  let chain_id = ok (Chain_id.of_bytes (String.make 32 'c')) in
  let listen = [ Unix.ADDR_INET (Unix.inet_addr_loopback, 0) ] in
  let node = ok (create ~listen ~secret_key ~chain_id ()) in
  ok (start node);
  assert (List.length (ok (listen_addresses node)) = 1);
  assert (ok (poll node ~max:1) = []);
  ok (close node);
  assert (close node = Error Closed);
  print_endline "smoke"
