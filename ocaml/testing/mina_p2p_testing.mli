(** Blocks and items for tests, from a seed, with the sizes of mainnet's.

    They are valid in form only: canonical, and with the right body reference;
    no signature or proof in them is one. The same arguments give the same
    bytes. All functions raise [Invalid_argument] for a negative number. *)

open Mina_p2p

val command : seed:int -> Payload.t
(** A signed command, as blocks and {!Mina_p2p.add_command} carry it. *)

val zkapp_command : seed:int -> Payload.t
(** A zkApp command of some account updates. *)

val work : seed:int -> Payload.t
(** A completed work, as blocks and {!Mina_p2p.add_completed_work} carry it. One
    in eight has a single proof, the others have two. *)

val block :
  ?height:int ->
  ?previous_state_hash:State_hash.t ->
  seed:int ->
  works:Payload.t list ->
  commands:Payload.t list ->
  unit ->
  Payload.t
(** A block of just these items, which are not looked at. [height] is 1 unless
    given, [previous_state_hash] 32 bytes of 0; the rest comes from [seed]. *)

type generated = {
  block : Payload.t;
  works : Payload.t list;
  commands : Payload.t list;  (** Signed commands, then zkApp commands. *)
}

val generate_block :
  ?height:int ->
  ?previous_state_hash:State_hash.t ->
  seed:int ->
  works:int ->
  commands:int ->
  zkapp_commands:int ->
  unit ->
  generated
(** A block of so many new items of each kind; [commands] are signed ones. *)
