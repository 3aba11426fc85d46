(** Blocks and pool items of the sizes that the main network has, for a machine
    without real ones. The blocks are well-formed, so that they travel
    compactly. Proofs and signatures in them are random bytes, as is all of an
    item that is in no block. The same seed gives the same bytes. *)

val start_tip : seed:int -> string
(** The block that all nodes start from: little but a header, without a parent.
*)

val blocks : seed:int -> count:int -> (string * string) list
(** [(name, bytes)]. Each names the state hash ({!Block_hash}) of the one
    before, the first that of {!start_tip}. Most are headers with little
    else; one in twelve is of the greatest size seen on the main network. *)

val items : seed:int -> count:int -> Item.t list
(** Items that are in no block. In ten: five signed commands, two zkApp
    commands, three works. *)
