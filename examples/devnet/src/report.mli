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
  hows : Control.how list;  (** How it came to each of them. *)
  wire_bytes : int;
      (** What carried it: all messages of the channels on which blocks travel,
          of all connections and both directions, until nothing was on its way.
      *)
  plain_wire_bytes : int option;
      (** The same of a run without compaction; [None] without such a run. *)
}

type totals = {
  bytes : int;
  whole : int;
  received : int;
  wire_bytes : int;
  plain_wire_bytes : int option;
  items : int;
  hits : int;
  prefilled : int;
  fetched : int;
}
(** [items], [hits], [prefilled], [fetched] and [received] are sums over the
    receiving nodes; [whole] is what these would at least have received without
    compaction: the block's size for each. *)

type t = {
  nodes : int;
  source : string;  (** Of the blocks. *)
  items : int;  (** Those in no block. *)
  item_bytes : int;
  lacking : int;  (** Percent of a block's items that a node's pool lacks. *)
  links : (string * int) list;  (** How many by each transport. *)
  blocks : block list;
  seconds : float;
  traffic : traffic;  (** Of the whole run with compaction. *)
  failures : string list;  (** Empty: every node holds everything. *)
}

val ok : t -> bool

val links_text : (string * int) list -> string
(** "4 by quic, 3 by webrtc". *)

val block :
  file:string ->
  bytes:int ->
  announced:float ->
  received:(float * Control.how) list ->
  wire_bytes:int ->
  block
(** Times in seconds since the same moment. [plain_wire_bytes] is [None]. *)

val totals : block list -> totals

val json : t -> Json.t
(** The program's [--json], which README.md describes. *)

val table : t -> string
(** With totals and a closing line. *)
