(** The command line. *)

type t = {
  json : bool;
  blocks : int option;
  items : int;
  lacking : int;  (** Percent. *)
  comparison : bool;
  seed : int;
  generated : bool;
}

val parse :
  string array -> (t, [ `Help of string | `Usage of string ]) result
(** [`Help text] was asked for; [`Usage text] says what is wrong, and how it
    should be. *)
