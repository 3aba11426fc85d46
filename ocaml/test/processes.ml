(* Nodes in two processes. *)

open Mina_p2p
open Helper

let hex text = Digest.to_hex (Digest.string text)

(* Serves a block and a transaction to whoever is at [address]. *)
let serve { node; _ } ~block ~transaction address =
  let state_hash = state_hash 2 in
  ignore (ok (set_best_tip node ~state_hash (Payload.of_string block)));
  ignore
    (ok
       (add_transaction node (transaction_info 1)
          (Payload.of_string transaction)));
  ok (dial node address)

let two_programs () =
  let folder = Filename.dirname Sys.executable_name in
  let program = Filename.concat folder "peer.exe" in
  let from_peer, stdout = Unix.pipe ~cloexec:true () in
  let stdin, to_peer = Unix.pipe ~cloexec:true () in
  let process =
    Unix.create_process program
      [| program; Chain_id.to_string chain_id |]
      stdin stdout Unix.stderr
  in
  Unix.close stdin;
  Unix.close stdout;
  let lines = Unix.in_channel_of_descr from_peer in
  let block = block ~parent:1 2_000_000 in
  let transaction = String.make 100_000 't' in
  (with_nodes [ start ~listen:[] ] @@ function
   | [ node ] ->
       let address = ok (Address.of_string (input_line lines)) in
       serve node ~block ~transaction address;
       let first = input_line lines in
       let second = input_line lines in
       Alcotest.(check (list string))
         "what the other process has"
         [ "block " ^ hex block; "transaction " ^ hex transaction ]
         (List.sort compare [ first; second ])
   | _ -> assert false);
  Unix.close to_peer;
  (match Unix.waitpid [] process with
  | _, WEXITED 0 -> ()
  | _ -> Alcotest.fail "the other process failed");
  close_in lines

(* A child of fork has no node of its parent's, but can have its own, although
   the parent's runs. *)
let forked_child () =
  let block = block ~parent:1 500_000 in
  with_nodes [ start ] @@ function
  | [ node ] -> (
      let address = address node in
      match Unix.fork () with
      | 0 ->
          let status =
            match
              let own = start ~listen:[] () in
              ok (dial own.node address);
              let received = wait own best_tip in
              let same = String.equal block (Payload.to_string received) in
              ok (close own.node);
              same
            with
            | true -> 0
            | false -> 1
            | exception _ -> 2
          in
          Unix._exit status
      | child -> (
          ignore
            (ok
               (set_best_tip node.node ~state_hash:(state_hash 2)
                  (Payload.of_string block)));
          match Unix.waitpid [] child with
          | _, WEXITED 0 -> ()
          | _, WEXITED status ->
              Alcotest.failf "the child exited with %d" status
          | _ -> Alcotest.fail "the child was killed"))
  | _ -> assert false

let tests =
  [
    Alcotest.test_case "two programs exchange" `Quick two_programs;
    Alcotest.test_case "a forked child makes its own node" `Quick forked_child;
  ]
