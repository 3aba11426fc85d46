(* What must not bring the process down. *)

open Mina_p2p
open Helper

external panic : string -> (unit, Error.t) result = "mina_p2p_test_panic"

let panics () =
  for number = 1 to 500 do
    let message = Printf.sprintf "expected in this test: %d" number in
    Alcotest.check unit "a panic" (Error (Internal message)) (panic message)
  done

(* A stub that gets something else than it was written for. *)
external mistaken : string -> (int, Error.t) result
  = "mina_p2p_payload_length"

external mistaken_int : int -> (unit, Error.t) result
  = "mina_p2p_node_start"

external mistaken_block : Int64.t -> (unit, Error.t) result
  = "mina_p2p_node_start"

let shapes () =
  let internal = function
    | Error (Error.Internal _) -> ()
    | _ -> Alcotest.fail "not noticed"
  in
  internal (mistaken "a string");
  internal (mistaken_int 3);
  internal (mistaken_block 3L)

let in_child f =
  match Unix.fork () with
  | 0 ->
      (* Nothing of the parent's may run in the child, such as [at_exit]. *)
      Unix._exit (match f () with true -> 0 | false -> 1 | exception _ -> 2)
  | child -> (
      match Unix.waitpid [] child with
      | _, WEXITED 0 -> ()
      | _, WEXITED code -> Alcotest.failf "the child exited with %d" code
      | _ -> Alcotest.fail "the child was killed")

let forked = function Error Error.Forked -> true | _ -> false

let fork () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      connect a b;
      let b_address = address b in
      in_child (fun () ->
          forked (poll a.node ~max:1)
          && forked (event_fd a.node)
          && forked (Mina_p2p.start a.node)
          && forked (peers a.node)
          && forked (listen_addresses a.node)
          && forked (dial a.node b_address)
          && forked (close a.node)
          &&
          (* The collector must not stop the parent's node either. *)
          (collect ();
           true));
      (* The parent's node goes on. *)
      ok
        (Result.map ignore
           (set_best_tip a.node ~state_hash:(state_hash 1)
              (Payload.of_string (block ~parent:0 1000))));
      ignore (wait b best_tip)
  | _ -> assert false

let case name f = Alcotest.test_case name `Quick f

let tests =
  [
    case "a panic is an error, 500 times" panics;
    case "a stub checks what it gets" shapes;
    case "a forked child gets errors, the parent goes on" fork;
  ]
