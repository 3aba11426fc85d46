(** Where the blocks come from. *)

type t = {
  description : string;  (** For people. *)
  blocks : (string * string) list;
      (** [(name, bytes)], in the order of announcement; no two alike. *)
  left_out : string list;  (** Files with the same bytes as one before. *)
}

val find : seed:int -> limit:int option -> generated:bool -> (t, string) result
(** The [*.bin] files, by name, of the folder that [MINA_P2P_BLOCKS] names or
    of [../shared/blocks] beside the repository; without either, or when
    [generated], those of the {!Generator}. At most [limit]. [Error _] if
    [MINA_P2P_BLOCKS] names a folder that has none or cannot be read. *)
