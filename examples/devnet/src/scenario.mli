(** What the demo does: block after block through the network while items
    spread, then a comparison of everything. *)

val run : say:(string -> unit) -> Options.t -> Block_source.t -> Report.t
(** [say] gets progress, line by line. Whatever goes wrong is among the
    report's failures. *)

val reached_from : int -> lacks:bool array -> bool array
(** Which nodes an item comes to that is put into this one's pool: it goes from
    neighbour to neighbour, but not through those that lack it. *)
