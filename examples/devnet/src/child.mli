(** A node process, as the program sees it: two pipes and a process id.

    Nothing here waits for the node but {!reap}: the program never hangs
    because one of them does. *)

type t

val spawn : unit -> t
(** Starts this program again as a node. Not by [Unix.fork], which copies one
    thread only and leaves a library with threads of its own unusable. *)

val send : t -> Control.command -> unit
(** Queues an order; {!write} sends it. *)

val input : t -> Unix.file_descr option
(** To wait on until it can be written to; [None] if nothing is queued. *)

val output : t -> Unix.file_descr option
(** To wait on until it can be read; [None] after its end. *)

val write : t -> unit
(** Sends of what is queued as much as the pipe takes. *)

val read : t -> Control.report list
(** What has come. At the end, {!output} turns [None].
    @raise Control.Malformed if the node does not keep to the protocol. *)

val reap : t -> deadline:float -> Unix.process_status
(** Waits until the process has ended, and kills it at the deadline (seconds
    since 1970). Closes the pipes. The status again if called again. *)
