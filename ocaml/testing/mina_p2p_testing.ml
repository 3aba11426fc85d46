open Mina_p2p

(* bindings/src/generate.rs *)
external raw_command : int -> (Payload.t, Error.t) result
  = "mina_p2p_test_command"

external raw_zkapp_command : int -> (Payload.t, Error.t) result
  = "mina_p2p_test_zkapp_command"

external raw_work : int -> (Payload.t, Error.t) result = "mina_p2p_test_work"

type recipe = {
  seed : int;
  height : int;
  previous_state_hash : State_hash.t;
  works : Payload.t list;
  commands : Payload.t list;
}

external raw_block : recipe -> (Payload.t, Error.t) result
  = "mina_p2p_test_block"

let get = function
  | Ok value -> value
  | Error error -> invalid_arg ("Mina_p2p_testing: " ^ Error.to_string error)

let command ~seed = get (raw_command seed)

let zkapp_command ~seed = get (raw_zkapp_command seed)

let work ~seed = get (raw_work seed)

let no_parent = get (State_hash.of_bytes (String.make 32 '\000'))

let block ?(height = 1) ?(previous_state_hash = no_parent) ~seed ~works
    ~commands () =
  get (raw_block { seed; height; previous_state_hash; works; commands })

type generated = {
  block : Payload.t;
  works : Payload.t list;
  commands : Payload.t list;
}

let generate_block ?height ?previous_state_hash ~seed ~works ~commands
    ~zkapp_commands () =
  (* Another seed for each item of blocks with other seeds. *)
  let seed_of index = ((seed lsl 20) + index) land max_int in
  let items make first count =
    List.init count (fun index -> make ~seed:(seed_of (first + index)))
  in
  let signed = items command works commands in
  let zkapp = items zkapp_command (works + commands) zkapp_commands in
  let works = items work 0 works in
  let commands = signed @ zkapp in
  let block =
    block ?height ?previous_state_hash ~seed ~works ~commands ()
  in
  { block; works; commands }
