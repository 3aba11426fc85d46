(** What the program and its node processes say to each other, over the node's
    standard input and output.

    A message is one line of words separated by spaces, the last of them the
    length of the body that follows the line's end. Ids and hashes are in
    hexadecimal, times in seconds since 1970. To a node:

    - [start CHAIN COMPACT N], body: addresses of the peers to keep connected
      with, one a line. [COMPACT] says whether blocks may travel compactly:
      [true] or [false]. The node answers [ready].
    - [tip N], body: a block, to be the node's best tip. It answers [tip-set].
    - [transaction ID FEE ACCOUNT NONCE N], [work ID FEE ACCOUNT N], body: an
      item for the node's pool. It answers [item].
    - [command N], [completed-work N], body: the same, but as a block carries
      it, so that nothing need be told of it. It answers [item].
    - [lack N], body: ids, one a line. The node does not fetch these items,
      whoever offers them, as if it had not heard of them in time. Replaces
      what it was told to lack before.
    - [figures 0]: it answers [figures N], body: a line [SENT RECEIVED NAME] for
      [wire] and for each channel, in bytes.
    - [give-block KEY 0], [give-item ID 0]: it answers [block-bytes],
      [transaction], [work], or [lacks].
    - [stop 0]: it closes the node and exits, as it does when its input ends.

    From a node, besides those answers:

    - [connected PEER TRANSPORT 0]; [disconnected PEER N], body: why.
    - [got-block KEY TIME LENGTH VIA RECEIVED ITEMS HITS PREFILLED FETCHED TRIPS
      0]: a block came that it did not have, and is its best tip now.
    - [item ID 0]: an item is in its pool now.
    - [note N], body: what a person should read.

    A node is told nothing of a block or an item but by [tip], [transaction],
    [work], [command] and [completed-work]: what it can give back otherwise came
    from its peers. *)

type command =
  | Start of {
      chain_id : string;
      compact : bool;
      initial_peers : string list;
    }
  | Tip of string
  | Add of Item.t
  | Add_command of string
  | Add_completed_work of string
  | Lack of string list
  | Figures
  | Give_block of string
  | Give_item of string
  | Stop

type traffic = { sent : int; received : int }
(** Bytes, all connections of a node together. *)

type figures = {
  wire : traffic;  (** UDP payload: packet heads and repetitions included. *)
  channels : (string * traffic) list;  (** Messages with their frame heads. *)
}

(** By what a block came: by a list of its items and from the pools, by chunks,
    by RPC, or as a best tip, whole and unasked. *)
type via = List | Chunks | Whole | Tip

type how = {
  via : via;
  received : int;  (** Bytes of messages: all that this node got for it. *)
  items : int;
  hits : int;  (** Of the items, those that the node's pools had. *)
  prefilled : int;  (** Those that came with the list. *)
  fetched : int;  (** Those that were asked for. *)
  round_trips : int;  (** How often it was asked, and waited for. *)
}

val via_to_string : via -> string
(** [list], [chunks], [whole], [tip]. *)

type report =
  | Ready of { peer_id : string; addresses : string list }
  | Connected of { peer : string; transport : string }
  | Disconnected of { peer : string; reason : string }
  | Tip_set of { key : string; at : float }
      (** [at]: just before the library was called. *)
  | Got_block of { key : string; at : float; length : int; how : how }
      (** [at]: when the program had it from the library. *)
  | Has_item of string
  | Measured of figures
  | Block_bytes of { key : string; body : string }
  | Item_is of Item.t
  | Lacks of string
  | Note of string

val string_of_command : command -> string
val string_of_report : report -> string

exception Malformed of string

module Decoder : sig
  (** Finds messages in a stream of bytes that comes in pieces. *)

  type 'a t

  val commands : unit -> command t
  val reports : unit -> report t

  val feed : 'a t -> bytes -> int -> 'a list
  (** [feed decoder buffer n] takes the first [n] bytes of [buffer] and gives
      the messages that they complete, oldest first.
      @raise Malformed if they are none. *)
end
