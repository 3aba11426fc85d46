(* What the other modules of the library are made of. The interface,
   mina_p2p.mli, has it all and makes the types abstract. *)

module Error = struct
  type t = Raw.error =
    | Closed
    | Not_started
    | Already_started
    | Forked
    | Payload_shared
    | Not_supported
    | Wrong_kind
    | Wrong_parts
    | Gone
    | Not_connected
    | Unknown_block
    | Invalid of { what : string; why : string }
    | Start of string
    | Not_a_block of string
    | Not_an_item of string
    | Too_long of { length : int; max : int }
    | Too_many_requests of int
    | Dial_refused of string
    | Internal of string

  let to_string = function
    | Closed -> "the node is closed"
    | Not_started -> "the node was not started"
    | Already_started -> "the node was started before"
    | Forked -> "the node belongs to the parent process"
    | Payload_shared -> "the payload's memory is still in use"
    | Not_supported -> "the peer does not support this request"
    | Wrong_kind -> "an answer of another kind than the request"
    | Wrong_parts ->
        "the parts of the staged ledger are not complete and in order"
    | Gone -> "the peer no longer waits for this answer"
    | Not_connected -> "no connection to the peer"
    | Unknown_block -> "no such block waits for a verdict"
    | Invalid { what; why } -> what ^ ": " ^ why
    | Start why -> "cannot start: " ^ why
    | Not_a_block why -> "not a block: " ^ why
    | Not_an_item why -> "not a pool item: " ^ why
    | Too_long { length; max } ->
        Printf.sprintf "%d bytes where %d are allowed" length max
    | Too_many_requests limit ->
        Printf.sprintf "%d requests to the peer wait already" limit
    | Dial_refused why -> "not dialed: " ^ why
    | Internal what -> "internal error: " ^ what

  let pp ppf error = Format.pp_print_string ppf (to_string error)
end

(* What can only fail by a bug, or by misuse that the interface says raises. *)
let get_ok = function
  | Ok value -> value
  | Error error -> invalid_arg ("Mina_p2p: " ^ Error.to_string error)

module type ID = sig
  type t

  val length : int

  val of_bytes : string -> (t, Error.t) result

  val to_bytes : t -> string

  val of_string : string -> (t, Error.t) result

  val to_string : t -> string

  val equal : t -> t -> bool

  val compare : t -> t -> int

  val hash : t -> int

  val pp : Format.formatter -> t -> unit
end

module Id (Of : sig
  val kind : Raw.kind

  val length : int
end) =
struct
  type t = string

  let length = Of.length

  (* The text is not needed: printing checks the bytes. *)
  let of_bytes bytes =
    Result.map (fun _text -> bytes) (Raw.id_to_text Of.kind bytes)

  let to_bytes id = id

  let of_string text = Raw.id_of_text Of.kind text

  let to_string id = get_ok (Raw.id_to_text Of.kind id)

  let equal = String.equal

  let compare = String.compare

  let hash (id : t) = Hashtbl.hash id

  let pp ppf id = Format.pp_print_string ppf (to_string id)
end

module Peer_id = struct
  include Id (struct
    let kind = Raw.Peer_id

    let length = 32
  end)

  let to_libp2p id = get_ok (Raw.id_to_text Raw.Libp2p_peer_id id)
end

module Chain_id = Id (struct
  let kind = Raw.Chain_id

  let length = 32
end)

module State_hash = Id (struct
  let kind = Raw.State_hash

  let length = 32
end)

module Ledger_hash = Id (struct
  let kind = Raw.Ledger_hash

  let length = 32
end)

module Transaction_hash = Id (struct
  let kind = Raw.Transaction_hash

  let length = 32
end)

module Job_id = Id (struct
  let kind = Raw.Job_id

  let length = 128
end)

module Block_key = Id (struct
  let kind = Raw.Block_key

  let length = 32
end)

module Item_id = Id (struct
  let kind = Raw.Item_id

  let length = 32
end)

module Account_key = Id (struct
  let kind = Raw.Account_key

  let length = 33
end)

module Secret_key = struct
  type t = Raw.secret

  let generate = Raw.secret_generate

  let of_string = Raw.secret_of_text

  let to_string secret = get_ok (Raw.secret_to_text secret)

  let of_seed = Raw.secret_of_seed

  let to_seed secret = get_ok (Raw.secret_to_seed secret)

  let peer_id secret = get_ok (Raw.secret_peer_id secret)
end

module Address = struct
  type t = Raw.address = { text : string; peer_id : string }

  let of_string = Raw.address_parse

  let to_string t = t.text

  let peer_id t = t.peer_id

  let equal a b = String.equal a.text b.text

  let compare a b = String.compare a.text b.text

  let pp ppf t = Format.pp_print_string ppf t.text
end

type bigstring = Raw.bigstring

module Payload = struct
  module Array1 = Bigarray.Array1

  type t = Raw.payload =
    | String of string
    | Bigstring of bigstring
    | Shared of Raw.shared

  let of_string text = String text

  let of_bigstring bigstring = Bigstring bigstring

  let length = function
    | String text -> String.length text
    | Bigstring bigstring -> Array1.dim bigstring
    | Shared shared -> get_ok (Raw.payload_length shared)

  let bytes_of_bigstring bigstring =
    Bytes.init (Array1.dim bigstring) (Array1.get bigstring)

  let to_bytes = function
    | String text -> Bytes.of_string text
    | Bigstring bigstring -> bytes_of_bigstring bigstring
    | Shared shared ->
        let len = get_ok (Raw.payload_length shared) in
        let bytes = Bytes.create len in
        get_ok (Raw.payload_blit shared 0 bytes 0 len);
        bytes

  (* Nobody else has the copy. *)
  let to_string = function
    | String text -> text
    | (Bigstring _ | Shared _) as t -> Bytes.unsafe_to_string (to_bytes t)

  let to_bigstring = function
    | String text ->
        let len = String.length text in
        let bigstring = Array1.create Bigarray.char Bigarray.c_layout len in
        String.iteri (Array1.unsafe_set bigstring) text;
        bigstring
    | Bigstring bigstring -> bigstring
    | Shared shared -> get_ok (Raw.payload_bigstring shared)

  let blit t ~src_pos dst ~dst_pos ~len =
    match t with
    | String text -> Bytes.blit_string text src_pos dst dst_pos len
    | Bigstring bigstring ->
        let part = Array1.sub bigstring src_pos len in
        Bytes.blit (bytes_of_bigstring part) 0 dst dst_pos len
    | Shared shared ->
        get_ok (Raw.payload_blit shared src_pos dst dst_pos len)

  let sub t ~pos ~len =
    match t with
    | String text -> String (String.sub text pos len)
    | Bigstring bigstring -> Bigstring (Array1.sub bigstring pos len)
    | Shared shared -> Shared (get_ok (Raw.payload_part shared pos len))

  let release = function
    | String _ | Bigstring _ -> Ok ()
    | Shared shared -> Raw.payload_release shared

  (* Unlike [length] for one that was released too: what holds it can be printed
     at any time. *)
  let pp_length ppf t =
    match length t with
    | length -> Format.fprintf ppf "%d bytes" length
    | exception Invalid_argument _ -> Format.fprintf ppf "released bytes"
end

let printf = Format.fprintf

module Transaction_info = struct
  type t = Raw.transaction_info = {
    hash : Transaction_hash.t;
    fee_payer : Account_key.t;
    fee : int64;
    nonce : int;
  }

  let pp ppf t =
    printf ppf "transaction %a of %a, nonce %d, fee %Lu" Transaction_hash.pp
      t.hash Account_key.pp t.fee_payer t.nonce t.fee
end

module Work_info = struct
  type t = Raw.work_info = {
    job_id : Job_id.t;
    fee : int64;
    prover : Account_key.t;
  }

  let pp ppf t =
    printf ppf "work %a of %a, fee %Lu" Job_id.pp t.job_id Account_key.pp
      t.prover t.fee
end

module Commitment = struct
  type t = Raw.commitment = {
    timestamp_ms : int64;
    job_id : Job_id.t;
    fee : int64;
    snarker : Account_key.t;
  }

  let pp ppf t =
    printf ppf "commitment to %a of %a, fee %Lu, at %Lu ms" Job_id.pp t.job_id
      Account_key.pp t.snarker t.fee t.timestamp_ms
end
