(** The command line. *)

(** What carries the links. *)
type transport = Quic | Webrtc | Mixed  (** Links of either kind. *)

type t = {
  json : bool;
  blocks : int option;
  items : int;
  lacking : int;  (** Percent. *)
  comparison : bool;
  seed : int;
  generated : bool;
  transport : transport;
}

val parse :
  string array -> (t, [ `Help of string | `Usage of string ]) result
(** [`Help text] was asked for; [`Usage text] says what is wrong, and how it
    should be. *)
