(** What a run found, for people and for programs. *)

type traffic = {
  channels : (string * int) list;
      (** Bytes of messages by channel, each connection's two directions once
          each. *)
  udp : int;  (** Payload of all datagrams: packet heads, repetitions, all. *)
}
(** Bytes on the wire in some time, of all connections. *)

type block = {
  file : string;
  bytes : int;
  nodes_reached : int;  (** The announcing node included. *)
  median_ms : float option;
      (** To the median of the nodes that received it, from the moment before
          it was announced until the program there had it. The mean of the
          middle two if they are even. [None] if nobody did. *)
  last_ms : float option;  (** To the last of them. *)
  wire_bytes : int;
      (** What carried it: all messages of the best-tip channel, of all
          connections and both directions, until nothing was on its way. *)
  meanwhile : traffic;
}

type t = {
  nodes : int;
  source : string;  (** Of the blocks. *)
  items : int;
  item_bytes : int;
  blocks : block list;
  seconds : float;
  traffic : traffic;  (** Of the whole run. *)
  failures : string list;  (** Empty: every node holds everything. *)
}

val ok : t -> bool

val block :
  file:string ->
  bytes:int ->
  announced:float ->
  received:float list ->
  wire_bytes:int ->
  meanwhile:traffic ->
  block
(** Times in seconds since the same moment. *)

val json : t -> Json.t
(** [nodes], [ok], [items], and [blocks]: a list of [file], [bytes],
    [nodes_reached], [median_ms], [last_ms], [wire_bytes]. *)

val table : t -> string
(** With totals and a closing line. *)
