(** What the demo does: block after block through the network while items
    spread, then a comparison of everything. *)

val run : say:(string -> unit) -> Options.t -> Block_source.t -> Report.t
(** [say] gets progress, line by line. Whatever goes wrong is among the
    report's failures. *)
