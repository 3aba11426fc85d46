(** A block's own items: what pools have of it before it is announced, and what
    leaves them when it is there. *)

open Mina_p2p

(** By what a pool knows an item. It has one work for a job. *)
type name = Transaction of Transaction_hash.t | Work of Job_id.t

type t = {
  name : name;
  id : Item_id.t;
  body : Payload.t;  (** As the block carries it. *)
  is_described : bool;
      (** The hash is a made-up one: a node must be told it. *)
}

val of_block : dummy_proof:string option -> Payload.t -> t list
(** In the block's order; none if the bytes are no block, which then travels
    whole. Without the dummy proof, the hash of a zkApp command with proofs is a
    made-up one that all nodes agree on. *)

val name_to_bytes : name -> string

val add : t -> Control.command
(** The order to put it into a node's pool. *)
