(** Just enough JSON to print a result. *)

type t =
  | Null
  | Bool of bool
  | Int of int
  | Float of float  (** Three decimals; what is not finite becomes [null]. *)
  | String of string  (** UTF-8. *)
  | List of t list
  | Object of (string * t) list

val to_string : t -> string
(** On one line, in the order given. *)
