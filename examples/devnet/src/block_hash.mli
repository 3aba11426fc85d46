(** The names of blocks. A node of the network computes a state hash from the
    protocol state at the front of the block, with Poseidon, and the library
    takes its word for it. Poseidon is out of a demo's reach; this stands in for
    it: a function of the block's first bytes that all nodes agree on. *)

val length : int
(** 32 bytes. *)

val head_length : int
(** How many of a block's first bytes matter: 8 KiB, well inside a header. *)

val of_block : string -> string
(** [of_block block] is the same for [block] and for its first {!head_length}
    bytes. *)
