(** Blocks and pool items of the sizes that the main network has, for a machine
    without real ones. Random bytes inside, as proofs and signatures look; the
    library carries all of it opaquely. The same seed gives the same bytes. *)

val start_tip : seed:int -> string
(** The block that all nodes start from: a header alone, without a parent. *)

val blocks : seed:int -> count:int -> (string * string) list
(** [(name, bytes)]. Each begins with the state hash ({!Block_hash}) of the one
    before, the first with that of {!start_tip}. Most are headers with little
    else; one in twelve is of the greatest size seen on the main network. *)

val items : seed:int -> count:int -> Item.t list
(** In ten items: five signed commands, two zkApp commands, three works. *)
