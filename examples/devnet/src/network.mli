(** The five node processes together: starting them, talking with all of them
    at once, and ending them whatever happened. *)

exception Failed of string
(** The run cannot go on: a process has died, or did not start in time. *)

type node = {
  name : string;
  child : Child.t;
  mutable ready : (string * string list) option;  (** Peer id, addresses. *)
  connected : (string, string) Hashtbl.t;
      (** What carries the connection, by peer id. *)
  tips_set : (string, float) Hashtbl.t;  (** When, by block key. *)
  got : (string, float * Control.how) Hashtbl.t;
      (** When and how, by block key. *)
  items : (string, unit) Hashtbl.t;
      (** Ids of those that it said are in its pool. *)
  mutable last_tip_set : string option;  (** A block key. *)
  mutable figures : Control.figures option;  (** Since they were asked for. *)
  mutable given : Control.report list;
      (** Answers to [give-block] and [give-item] not looked at yet. *)
}

type t

val size : int
(** 5 nodes. *)

val with_nodes :
  say:(string -> unit) -> deadline:float -> (t -> 'a) -> 'a
(** Runs with five running processes. Afterwards, also after an exception, all
    have ended and are reaped. [say] gets what a person may want to read. No
    wait ends later than [deadline] (seconds since 1970), but that for the
    processes to end.
    @raise Failed if a process ends before the function does, or with another
    status than 0 after it. *)

val nodes : t -> node array

val neighbours : int -> int list
(** Which nodes a node is linked to, by their places in {!nodes}. *)

val connect :
  t ->
  chain_id:string ->
  compact:bool ->
  transport:Options.transport ->
  within:float ->
  unit
(** Starts the nodes and connects them: a ring, and two chords. [compact]:
    whether blocks may travel compactly. [transport]: what carries the links.
    @raise Failed after [within] seconds. *)

val order : node -> Control.command -> unit

val wait : t -> within:float -> (unit -> bool) -> bool
(** Handles what comes from the nodes until the condition holds, at most
    [within] seconds, and never beyond the network's deadline; whether it
    holds. *)

val pause : t -> float -> unit
(** Handles what comes for so many seconds. *)

val links_by : t -> (string * int) list
(** How many links there are by each transport. *)

val links_wanted : Options.transport -> (string * int) list
(** The same, as the links are to be. *)

val figures : t -> within:float -> Control.figures option
(** All nodes' sums: each connection's two directions once each, under [sent],
    and once more under [received] when they have arrived. *)
