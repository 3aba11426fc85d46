(** One node, in a process of its own, under the orders that come on its
    standard input ({!Control}). This is what a program with [Mina_p2p] inside
    looks like: one loop that waits for the library and for something else. *)

val argument : string
(** The private argument with which the demo starts itself as a node. *)

val run : unit -> int
(** Runs until it is told to stop or its input ends; the exit status. *)
