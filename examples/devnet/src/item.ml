(* A pool item with what peers are told of it before they fetch its body. *)

type kind = Transaction of { nonce : int } | Work

type t = {
  kind : kind;
  id : string;  (** A transaction hash (32 bytes) or a job id (128 bytes). *)
  fee : int64;  (** In nanomina. *)
  account : string;
      (** Fee payer or prover, a compressed public key: 32 bytes of x, little-
          endian, and one byte for the parity of y. *)
  body : string;
}

let label item =
  let kind =
    match item.kind with Transaction _ -> "transaction" | Work -> "work"
  in
  Printf.sprintf "%s %s.." kind (String.sub (Hex.of_string item.id) 0 12)
