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

val dummy_proof : unit -> string option
(** What stands for every proof in the hash of a zkApp command: binprot of
    [Proof.transaction_dummy], a constant of the existing nodes. The file that
    [MINA_P2P_DUMMY_PROOF] names, or that which belongs to [../shared].
    @raise Sys_error if it cannot be read. *)
