(** Peer-to-peer networking for Mina nodes.

    A {e node} keeps authenticated connections to other nodes and exchanges
    blocks, transactions and SNARK works with them. It is a {e pull} network: a
    peer sends an item only when its receiver has permitted it, so the receiver
    sets the pace and nothing queues without bound.

    The node runs on threads of its own, outside the OCaml heap and without the
    runtime lock. They never call OCaml. What happened is an {!Event.t}, and the
    program takes events when it wants to, with any scheduler or none:
    {!event_fd} becomes readable, and {!poll} returns what there is.

    {[
      let ( let* ) = Result.bind

      let main () =
        let open Mina_p2p in
        let* chain_id = Chain_id.of_string Sys.argv.(1) in
        let* secret_key = Secret_key.generate () in
        let* node =
          create ~secret_key ~chain_id
            ~listen:[ Unix.ADDR_INET (Unix.inet_addr_any, 8302) ]
            ()
        in
        let* () = start node in
        let* fd = event_fd node in
        let rec loop () =
          ignore (Unix.select [ fd ] [] [] (-1.));
          let* events = poll node ~max:64 in
          List.iter (Format.printf "%a@." Event.pp) events;
          loop ()
        in
        loop ()
    ]}

    {1 Conventions}

    - Whatever a caller can meet is a value of type [('a, Error.t) result]. An
      exception ([Invalid_argument]) means a mistake in the program, and is
      said where it can happen.
    - Nothing that a peer sends is verified beyond its form: a block, a
      transaction, a proof is bytes, and the ids and hashes beside them are
      claims. Verifying is the program's part.
    - Sizes are in bytes, durations in seconds.
    - Values of abstract types that are not a {!Payload.t}, a {!Secret_key.t}
      or a node are immutable and can be compared, hashed and marshalled
      structurally.
    - Every function may be called from any thread and, in OCaml 5, any domain.
      None blocks but {!start} and {!close}, which are bounded and release the
      runtime lock meanwhile.
    - After [Unix.fork] the child has no node: there, every function on the
      parent's node gives [Error Forked]. The child can create its own. *)

(** {1 Errors} *)

module Error : sig
  (** Why a call did not do what it was asked. *)
  type t =
    | Closed  (** The node was closed. *)
    | Not_started  (** The node was created, but not started. *)
    | Already_started  (** The node was started before. *)
    | Forked  (** The node belongs to the parent process. *)
    | Payload_shared
        (** A bigstring or a part of the payload, or what it is a part of, is
            still in use, or was not yet found unused by the garbage
            collector. *)
    | Not_supported  (** The peer cannot answer such a request. *)
    | Wrong_kind  (** The answer is of another kind than the request. *)
    | Wrong_parts
        (** The parts of a staged ledger are not complete and in order. *)
    | Gone
        (** Nobody waits for this answer: it was given, cancelled, or came too
            late. *)
    | Not_connected
        (** There is no connection to that peer; if none was named, to any. *)
    | Unknown_block
        (** No block with that key waits for a verdict: it has ended, or was
            never here. *)
    | Invalid of { what : string; why : string }
        (** An argument, or a part of the configuration, cannot be used. *)
    | Start of string
        (** An address cannot be bound, or the system refused something else. *)
    | Not_a_block of string
        (** The bytes cannot be a block, or not one that travels so. *)
    | Not_an_item of string
        (** The bytes are no transaction or work, or one that cannot be named.
        *)
    | Too_long of { length : int; max : int }
        (** Longer than peers accept, or than is allowed for a name. *)
    | Too_many_requests of int
        (** So many requests to the peer wait already, and no more may. *)
    | Dial_refused of string
        (** The node does not dial that address now: it is its own, banned,
            connected, being dialed, or there is no free slot. *)
    | Internal of string
        (** A bug in this library, caught before it did harm. *)

  val to_string : t -> string
  (** One line of English. *)

  val pp : Format.formatter -> t -> unit
end

(** {1 Names} *)

(** Ids and hashes: a fixed number of bytes, with a text. *)
module type ID = sig
  type t

  val length : int
  (** The number of bytes. *)

  val of_bytes : string -> (t, Error.t) result
  (** The id with these bytes. [Error (Invalid _)] if there are not {!length}
      of them. *)

  val to_bytes : t -> string

  val of_string : string -> (t, Error.t) result
  (** Reads the text form. [Error (Invalid _)] if it is none. *)

  val to_string : t -> string
  (** The text form. *)

  val equal : t -> t -> bool

  val compare : t -> t -> int
  (** By the bytes. *)

  val hash : t -> int

  val pp : Format.formatter -> t -> unit
  (** Prints the text form. *)
end

(** The name of a node: its ed25519 public key. Text: base58check, ["2b.."];
    {!Peer_id.of_string} reads libp2p's form too. *)
module Peer_id : sig
  include ID

  val to_libp2p : t -> string
  (** The text that libp2p uses for the same key, ["12D3KooW.."]. *)
end

(** The network that a node belongs to. Nodes of different chains do not
    connect. Text: 64 hexadecimal digits. *)
module Chain_id : ID

(** A block's state hash, as its 32 bytes in binprot. Text: ["3N.."]. *)
module State_hash : ID

(** A ledger's Merkle root, as its 32 bytes in binprot. Text: ["j.."]. *)
module Ledger_hash : ID

(** A transaction's hash. It does not commit to signatures and proofs. Text:
    ["5J.."]. *)
module Transaction_hash : ID

(** What a SNARK work proves: four ledger hashes, 128 bytes, of the first and
    the second pass at its source and then at its target. Text: the four
    hashes' texts as ["a_b-c_d"]. *)
module Job_id : ID

(** This library's name of a block: BLAKE2b-256 of its header's bytes (of all
    bytes, if they start with no header). Text: 64 hexadecimal digits. *)
module Block_key : ID

(** This library's name of a transaction or a completed work: BLAKE2b-256 of
    its bytes as blocks carry it, signatures and proofs included. Text: 64
    hexadecimal digits. *)
module Item_id : ID

(** A Mina account's public key, 33 bytes: x, then 1 if y is odd, otherwise 0.
    Not checked to be a point of the curve. Text: ["B62.."]. *)
module Account_key : ID

(** A node's identity: an ed25519 secret key. It is kept outside the OCaml
    heap, and wiped when the value is collected. It cannot be compared or
    marshalled. *)
module Secret_key : sig
  type t

  val generate : unit -> (t, Error.t) result
  (** A new key, from the system's randomness. *)

  val of_string : string -> (t, Error.t) result
  (** Reads the text form (base58check). *)

  val to_string : t -> string
  (** The text form. Whoever has it is the node; the string is in the OCaml
      heap, which nothing wipes. *)

  val of_seed : string -> (t, Error.t) result
  (** The key with this 32-byte seed (RFC 8032). Every 32 bytes are one. *)

  val to_seed : t -> string
  (** The seed, with the same caution as {!to_string}. *)

  val peer_id : t -> Peer_id.t
  (** The name of the node that has this key. *)
end

(** Where a node can be dialed, and who must be there. *)
module Address : sig
  type t

  val of_string : string -> (t, Error.t) result
  (** Reads an address. [Error (Invalid _)] says what is wrong with it. HOST is
      a domain name, an IPv4 address, or an IPv6 address in brackets; PEER is a
      peer id as {!Peer_id.to_string} writes it, ID one as
      {!Peer_id.to_libp2p} does:

      - ["/ip4/A.B.C.D/udp/PORT/mina-quic/p2p/ID"], also ["/ip6/.."] (without
        brackets), ["/dns4/NAME/.."] and ["/dns6/NAME/.."]: QUIC.
      - ["/PEER/http/HOST/PORT"], ["/PEER/https/HOST/PORT"]: WebRTC, with
        signaling at that TCP port; as the Mina Rust node writes it.
      - ["/PEER/https_proxy/CLUSTER/HOST/PORT"]: the same through a proxy;
        CLUSTER is the number, below 65536, of those behind it among whom the
        node is.
      - ["/PEER/p2p/RELAY"]: WebRTC through a relay, a peer's id. Never dialed:
        relays introduce whom they choose (see [discover_peers] of {!create}).
      - ["/ip4/../tcp/PORT/p2p/ID"], also [ip6], [dns4], [dns6]: the OCaml
        node's libp2p. Never dialed: this library does not speak it. *)

  val to_string : t -> string
  (** The text form: lower-case names, and [dns4] for every name. *)

  val peer_id : t -> Peer_id.t
  (** Who must be there. *)

  val equal : t -> t -> bool

  val compare : t -> t -> int

  val pp : Format.formatter -> t -> unit
end

(** {1 Bytes} *)

type bigstring =
  (char, Bigarray.int8_unsigned_elt, Bigarray.c_layout) Bigarray.Array1.t

(** A block, a transaction, a work, an answer: bytes, on their way in or out.

    One that came from a peer and has 64 KiB or more was never copied into the
    OCaml heap: it is the buffer that it was received into. The garbage
    collector knows its size, and gives it back when neither the payload nor a
    bigstring or part made of it is in use; {!Payload.release} gives it back
    earlier.

    Do not compare, hash or marshal payloads: to do so to a large one raises
    [Invalid_argument], or, to hash it, ignores its bytes. *)
module Payload : sig
  type t

  val of_string : string -> t
  (** No copy. *)

  val of_bigstring : bigstring -> t
  (** No copy now: the bytes are copied when the payload is given to a node,
      or turned into something else, and must not change before. *)

  val length : t -> int

  val to_string : t -> string
  (** A copy; no copy if the payload is small or was made {!of_string}. *)

  val to_bytes : t -> Bytes.t
  (** A copy. *)

  val to_bigstring : t -> bigstring
  (** No copy if the payload came from a peer and has 64 KiB or more, or was
      made {!of_bigstring}. In that case it shares the memory, also in
      [Bigarray.Array1.sub]s of it, and {b must not be written to}: the node
      may be serving the same bytes to peers. *)

  val blit :
    t -> src_pos:int -> Bytes.t -> dst_pos:int -> len:int -> unit
  (** Copies [len] bytes.
      @raise Invalid_argument if a range is not inside its side. *)

  val sub : t -> pos:int -> len:int -> t
  (** A part. It shares the memory where {!to_bigstring} does, and is a copy
      otherwise.
      @raise Invalid_argument if the range is not inside the payload. *)

  val release : t -> (unit, Error.t) result
  (** Gives the memory back now instead of when the payload is collected.
      [Error Payload_shared] if a bigstring or a part made of it is still
      there, or what it is a part of: then nothing is done. (A collection may
      be needed to find out that they are not.) Afterwards the other functions
      of this module raise [Invalid_argument] on this payload, and commands give
      [Error (Invalid _)]. [Ok ()] if it was released before, and for a payload
      that has nothing to give back. *)
end

(** {1 Items} *)

(** What is told of a transaction before its body is fetched. *)
module Transaction_info : sig
  type t = {
    hash : Transaction_hash.t;
    fee_payer : Account_key.t;
    fee : int64;  (** In nanomina; an unsigned 64-bit number. *)
    nonce : int;  (** The fee payer's, below 2{^32}. *)
  }

  val pp : Format.formatter -> t -> unit
end

(** What is told of a completed SNARK work before it is fetched. *)
module Work_info : sig
  type t = {
    job_id : Job_id.t;
    fee : int64;  (** In nanomina; an unsigned 64-bit number. *)
    prover : Account_key.t;
  }

  val pp : Format.formatter -> t -> unit
end

(** The news that somebody works on a SNARK job. *)
module Commitment : sig
  type t = {
    timestamp_ms : int64;  (** Milliseconds since 1970, unsigned. *)
    job_id : Job_id.t;
    fee : int64;  (** In nanomina; an unsigned 64-bit number. *)
    snarker : Account_key.t;
  }

  val pp : Format.formatter -> t -> unit
end

(** {1 Blocks as bytes}

    What is in a block, and compact blocks without a node. None of these
    functions verifies a signature or a proof. Those that take a block or a
    compact message release the runtime lock meanwhile, 3 MB take
    milliseconds; payloads are copied as they are for {!set_best_tip}. *)

module Block : sig
  (** A transaction or a completed work in a block. *)
  type item = {
    kind : [ `Signed_command | `Zkapp_command | `Work ];
    offset : int;  (** Where it starts in the block's bytes. *)
    length : int;  (** Its bytes; a command's status is not among them. *)
    id : Item_id.t;
  }

  type layout = {
    header_length : int;  (** In bytes. What follows is the body. *)
    height : int;  (** How long the chain is with this block. *)
    previous_state_hash : State_hash.t;  (** Of the block before it. *)
    body_reference : string;
        (** The commitment to the body that the header carries: 64 hexadecimal
            digits. *)
    items : item list;
        (** In block order: the works, then the commands, of one pre-diff and
            then the other. At most 8192. *)
  }

  val key : Payload.t -> Block_key.t
  (** The name of a block. Every payload has one. *)

  val layout : Payload.t -> (layout, Error.t) result
  (** Finds the parts of what must be exactly one block in canonical binprot.
      [Error (Not_a_block _)] says what is wrong and where. Whether the body is
      the one that the header names is not checked: compare the layout's
      [body_reference] with {!val-body_reference}. *)

  val body_reference : Payload.t -> (string, Error.t) result
  (** The reference of a block's body, computed from it: 64 hexadecimal digits.
      [Error (Not_a_block _)]. *)

  val item_id : Payload.t -> Item_id.t
  (** The name of an item with these bytes, whatever they are. *)

  val command_info :
    ?dummy_proof:string -> Payload.t -> (Transaction_info.t, Error.t) result
  (** What peers are told of a user command (its binprot, tag included), from
      its bytes. [dummy_proof] is as for {!create}. [Error (Not_an_item _)] if
      the bytes are no user command, or one with proofs and there is no
      [dummy_proof]. *)

  val work_info : Payload.t -> (Work_info.t, Error.t) result
  (** What peers are told of a work as a block carries it (fee, proofs, prover).
      [Error (Not_an_item _)] if the bytes are none. *)

  val compact :
    ?max_length:int ->
    ?prefill:int list ->
    nonce:int64 ->
    Payload.t ->
    (string, Error.t) result
  (** A block as its header and the list of its items: the message of the
      channel [block/compact] that a node sends which has verified the body.

      [prefill] are the places of items to carry whole, counted from 0 in block
      order, the most important first: as many as fit [max_length], the most
      bytes of the message (1 MiB, which is also the most that it can be).
      Places that the block does not have are passed over. All other items are
      carried as short ids, which depend on [nonce] (or one of the next three,
      if two items have the same).

      [Error (Not_a_block _)] if it is no block, its body is not the one that
      its header names, or it cannot be compact. [Error (Too_long _)] if
      the message is longer than [max_length], or than 1 MiB, even without
      anything prefilled. *)

  val rebuild :
    compact:string ->
    pool:Payload.t list ->
    ( [ `Complete of Payload.t
      | `Missing of int list
      | `Failed
      | `Invalid of string ],
      Error.t )
    result
  (** The block again from such a message and from items as blocks carry them.

      - [`Complete block]: byte for byte; its body is the one that its header
        names.
      - [`Missing places]: the items at these places, rising, are neither in the
        message nor in the pool (or two of the pool, or two places of the
        block, have the same short id).
      - [`Failed]: an item of the pool has the short id of another; a node would
        ask for full ids.
      - [`Invalid why]: there is no block with this message, or it is none.

      [Error (Not_an_item _)] if something in the pool is no item. *)
end

(** {1 Requests} *)

(** Names a request of this node's. Unique within the node. *)
module Request_id : sig
  type t

  val equal : t -> t -> bool

  val compare : t -> t -> int

  val hash : t -> int

  val pp : Format.formatter -> t -> unit
end

(** Names a peer's request that waits for an answer. Unique within the node. *)
module Responder : sig
  type t

  val equal : t -> t -> bool

  val compare : t -> t -> int

  val hash : t -> int

  val pp : Format.formatter -> t -> unit
end

(** The requests and answers of the existing pull protocol. *)
module Rpc : sig
  (** A node of a ledger's Merkle tree: [depth] turns from the root, which are
      the bits of [path] from the highest bit of the first byte on (1: right).
  *)
  type merkle_address = { depth : int; path : string }

  type ledger_query =
    | Num_accounts
        (** How many accounts there are, and the hash of the subtree that holds
            them. *)
    | What_child_hashes of merkle_address
    | What_contents of merkle_address  (** The accounts below. *)

  type query =
    | Best_tip_with_proof  (** With how it follows from the root. *)
    | Initial_peers  (** Addresses of other nodes. *)
    | Ledger_query of Ledger_hash.t * ledger_query  (** Of a snarked ledger. *)
    | Staged_ledger_aux of State_hash.t  (** Of the block with that hash. *)
    | Block of State_hash.t
    | Work of Job_id.t
    | Transaction of Transaction_hash.t

  (** An answer, of the same kind as its query. The payloads are binprot,
      opaque to this library. *)
  type reply =
    | Best_tip_with_proof of Payload.t
    | Ledger_answer of Payload.t
    | Staged_ledger_aux of Payload.t
    | Block of Payload.t
    | Work of Payload.t
    | Transaction of Payload.t
    | Initial_peers of Address.t list

  val pp_query : Format.formatter -> query -> unit
end

(** A staged ledger sent in parts: a base, a scan state base, the previous
    incomplete zkApp updates, and then the trees of the scan state, as many as
    its base counts. *)
module Staged_ledger_part : sig
  type kind =
    | Base
    | Scan_state_base
    | Previous_incomplete_zkapp_updates
    | Scan_state_tree

  type t = { kind : kind; body : Payload.t }
end

(** Why a peer did not answer a request by name. *)
module Refusal : sig
  type t =
    | Unknown  (** It serves no RPC of this name and version. *)
    | Busy  (** Ask again later, or somebody else. *)
    | Failed of string  (** At most 256 bytes are sent. *)

  val pp : Format.formatter -> t -> unit
end

(** What this node can ask. *)
module Request : sig
  type t =
    | Rpc of Rpc.query
    | Staged_ledger_parts of State_hash.t
        (** The staged ledger of a block, in parts. Each part is an
            {!Event.Staged_ledger_part}; the next is asked for when that event
            was polled. *)
    | Extension of {
        name : string;  (** At most 64 bytes. *)
        version : int;
        body : Payload.t;  (** The argument, opaque to this library. *)
        max_answer : int;  (** The longest answer to accept. *)
        deadline : float;  (** How long to wait. *)
      }
        (** A request by name, which only peers of this library's own kind
            understand. *)

  type answer =
    | Rpc of Rpc.reply option  (** [None] if the peer does not have it. *)
    | Staged_ledger_parts of int option
        (** So many parts have come, all; [None] if the peer has none. *)
    | Extension of (Payload.t, Refusal.t) result

  (** Why there is no answer. *)
  type failure =
    | Timeout
    | Dropped  (** The peer gave none. *)
    | Disconnected

  val pp : Format.formatter -> t -> unit

  val pp_failure : Format.formatter -> failure -> unit
end

(** What a peer asks of this node, and what it can be told. The library itself
    answers what it holds: the best tip, recent tips and pool items. *)
module Incoming : sig
  type t =
    | Rpc of Rpc.query
    | Staged_ledger_parts of State_hash.t
    | Extension of {
        name : string;
        version : int;
        body : Payload.t;
        max_answer : int;
            (** The longest answer, in bytes, that the peer accepts and this
                node may give. *)
      }  (** Only of methods that the node was created with. *)

  type response =
    | Rpc of Rpc.reply option  (** [None]: this node does not have it. *)
    | Staged_ledger_parts of Staged_ledger_part.t list option
        (** All parts in order. *)
    | Extension of (Payload.t, Refusal.t) result

  val pp : Format.formatter -> t -> unit
end

(** {1 Events} *)

(** Who opened a connection. *)
module Direction : sig
  type t = Dialed  (** This node. *) | Accepted  (** The peer. *)

  val pp : Format.formatter -> t -> unit
end

(** What carries a connection. The same is said over each, and by the same
    rules. *)
module Transport : sig
  type t =
    | Quic  (** Between nodes of this library. *)
    | Webrtc
        (** Data channels: also with existing Mina Rust nodes and browsers. *)

  val to_string : t -> string
  (** ["quic"] or ["webrtc"]. *)

  val pp : Format.formatter -> t -> unit
end

(** Why a connection ended. *)
module Close_reason : sig
  type t =
    | Unspecified  (** The side that closed it gave no reason. *)
    | Wrong_chain
    | Wrong_identity  (** Another peer than the one that was dialed. *)
    | Self_connection
    | Capacity  (** No free slot. *)
    | Duplicate  (** Another connection between the two is kept. *)
    | Banned
    | Shutdown
    | Incompatible_version
    | Hello_too_long
    | Repeated_hello
    | Hello_timeout  (** Authentication did not end in time. *)
    | Unsupported_protocol
    | Stalled  (** It stopped reading what it had asked for. *)
    | Too_slow  (** It began a frame and then sent it too slowly. *)
    | Idle_timeout  (** Nothing was heard from the peer. *)
    | Violation of string  (** A rule of the protocol was broken; which. *)
    | Malformed_hello of string
    | Unsuitable_certificate of string
    | Lost of string  (** Nobody closed it. *)
    | Other of { code : int; text : string }
        (** A reason that this version does not know. *)
    | Authentication_failed of string
        (** Over WebRTC: the peer did not prove that it is who it said. *)

  val pp : Format.formatter -> t -> unit
end

(** Why a dial came to nothing. *)
module Dial_failure : sig
  type t =
    | Timed_out
    | Not_dialed of string  (** This node did not dial, or keep it. *)
    | Refused_peer of Close_reason.t  (** This node refused who answered. *)
    | Closed_by_peer of Close_reason.t
    | Unreachable of string
        (** No such name, no network, or no transport for such an address. *)

  val pp : Format.formatter -> t -> unit
end

(** How a block came whose body was rebuilt. *)
module How_it_came : sig
  type t = {
    via : [ `List | `Chunks | `Whole ];
        (** From a list of its items and what the pools had; as a body in
            chunks, each checked as it came; or as a whole block. *)
    received : int;
        (** Bytes that came for it: header, list, and the answers to this
            node's questions. *)
    items : int;  (** How many transactions and works it has. *)
    hits : int;  (** How many of them this node's pools had. *)
    prefilled : int;  (** How many came with the list. *)
    fetched : int;  (** How many were asked for and came. *)
    round_trips : int;  (** How often this node asked and waited. *)
  }

  val pp : Format.formatter -> t -> unit
end

(** Why a block's body could not be had. *)
module Block_failure : sig
  type t =
    [ `Unavailable  (** No peer gave it within 60 s. *)
    | `No_body  (** The header commits to something that is no body. *)
    | `Too_many
      (** More than 8 blocks with an accepted header wait for their bodies: the
          oldest gives way. *) ]

  val pp : Format.formatter -> t -> unit
end

module Event : sig
  (** What happened. Taking an event permits its peer to send the next item of
      its kind. *)
  type t =
    | Peer_connected of {
        peer : Peer_id.t;
        address : Unix.sockaddr;
        direction : Direction.t;
        transport : Transport.t;
      }
    | Peer_disconnected of { peer : Peer_id.t; reason : Close_reason.t }
        (** Requests to the peer have failed before this event. *)
    | Dial_failed of { address : Address.t; reason : Dial_failure.t }
        (** An initial peer is dialed again after a while. *)
    | Best_tip of {
        peer : Peer_id.t;
        block : Payload.t;
        key : Block_key.t;
        previous_state_hash : State_hash.t;  (** From the block's bytes. *)
      }
        (** The best tip of a peer that does not speak compact blocks, or one
            that cannot travel so. All other blocks come as {!Header} and
            {!Block}. *)
    | Header of {
        peer : Peer_id.t;  (** Who told of it first. *)
        key : Block_key.t;
        height : int;  (** From the header. *)
        previous_state_hash : State_hash.t;  (** From the header. *)
        header : Payload.t;  (** Its binprot; not verified in any way. *)
      }
        (** There is a block with this header, and its body is being fetched.
            Answer within 30 s with {!accept_header} if the header is valid, or
            with {!ignore_block} or {!reject_block}; no answer counts as
            {!ignore_block}. It comes once for each block that peers with
            compact blocks tell of, before its {!Block}. The body of a block
            above 4 MiB is only fetched once its header is accepted. *)
    | Block of {
        peer : Peer_id.t;  (** Who told of it first. *)
        key : Block_key.t;
        previous_state_hash : State_hash.t;  (** From the header. *)
        block : Payload.t;
        how : How_it_came.t;
      }
        (** The block of a {!Header}. Its body is the one that the header
            names; nothing else is verified. If the header was not accepted
            yet, the block is answered now, within 30 s: {!accept_block},
            {!ignore_block} or {!reject_block}. *)
    | Block_failed of { key : Block_key.t; reason : Block_failure.t }
        (** The body of a {!Header}'s block could not be had. If the header has
            not been answered yet, it still is to be, with {!ignore_block} or
            {!reject_block}: its peer may tell of the next block then. *)
    | Transaction of { peer : Peer_id.t; info : Transaction_info.t }
        (** A peer has a transaction that this node's pool lacks: see
            {!fetch_transaction}. *)
    | Work of { peer : Peer_id.t; info : Work_info.t }
        (** A peer has a work that this node's pool lacks: see {!fetch_work}. *)
    | Commitment of { peer : Peer_id.t; commitment : Commitment.t }
    | Request of {
        peer : Peer_id.t;
        responder : Responder.t;
        request : Incoming.t;
      }  (** A peer asks for something: see {!respond}. *)
    | Request_cancelled of { peer : Peer_id.t; responder : Responder.t }
        (** The peer no longer waits for that answer. *)
    | Response of {
        request : Request_id.t;
        peer : Peer_id.t;
        answer : (Request.answer, Request.failure) result;
      }  (** A request of this node's has ended. *)
    | Staged_ledger_part of {
        request : Request_id.t;
        peer : Peer_id.t;
        index : int;  (** Counts from 0. *)
        part : Staged_ledger_part.t;
      }
    | Task_failed of { message : string }
        (** A bug in this library: a task of the node's panicked. The node goes
            on without what that task did. *)

  val pp : Format.formatter -> t -> unit
  (** One line, without the bytes of payloads. *)
end

(** {1 Configuration} *)

(** Limits on what peers can make a node do and hold. *)
module Limits : sig
  type t

  val default : t
  (** The defaults, which docs/LIMITS.md derives. *)

  val make :
    ?peers:int ->
    ?inbound:int ->
    ?inbound_per_address:int ->
    ?inbound_per_subnet:int ->
    ?block:int ->
    ?transaction:int ->
    ?work:int ->
    ?staged_ledger:int ->
    ?extension_query:int ->
    ?extension_answer:int ->
    ?pool_permit:int ->
    ?commitment_permit:int ->
    ?requests_waiting:int ->
    ?request_rate:int ->
    ?request_burst:int ->
    ?authentication_timeout:float ->
    ?idle_timeout:float ->
    ?keep_alive_interval:float ->
    ?direct_len:int ->
    ?direct_peers:int ->
    unit ->
    t
  (** Other limits than the defaults. {!create} checks them.

      Connections: [peers] in all (100), [inbound] of them made by peers (64),
      [inbound_per_address] (8; loopback is exempt) and [inbound_per_subnet]
      (32).

      Sizes of what is sent and accepted, in bytes: [block] (just under
      32 MiB), [transaction] (512 KiB), [work] (64 KiB), [staged_ledger] in one
      answer or all its parts (just under 256 MiB), [extension_query] (1 MiB)
      and [extension_answer] (32 MiB) of requests by name. None can be above its
      default, except [extension_query], which can be 32 MiB.

      Per peer: how many transactions and works one permit is for,
      [pool_permit] (32), and how many commitments, [commitment_permit] (16);
      requests to the peer that wait for their turn, [requests_waiting] (64);
      the sum of the costs of the peer's requests that are taken up in a second,
      [request_rate] (200), and at once, [request_burst] (400).

      Times in seconds, from 0.01 to a day: [authentication_timeout] (5),
      [idle_timeout] (20), and [keep_alive_interval] (6), which must be the
      shorter of the two.

      Compact blocks: how many peers may send a header and the list of a
      block's items without being asked, [direct_peers] (3), and the most bytes
      of each, transactions and works that come with the list included,
      [direct_len] (64 KiB, at most 1 MiB). The others announce a block in at
      most 104 bytes, and are asked. *)
end

(** A method that peers may call by name. *)
module Extension_rpc : sig
  type t

  val make : ?max_query:int -> ?cost:int -> version:int -> string -> t
  (** [make ~version name]: calls of [name] in this version come as
      [Incoming.Extension]. [name] has 1 to 64 bytes. [max_query] is the
      longest argument to accept (1 MiB), [cost] what a call weighs against the
      limit [request_rate] (10). *)
end

(** {1 Nodes} *)

type t
(** A node. One that becomes unreachable without {!close} is closed by the
    garbage collector, some time. *)

val create :
  ?transports:Transport.t list ->
  ?listen:Unix.sockaddr list ->
  ?signaling:Unix.sockaddr ->
  ?stun_servers:(string * int) list ->
  ?trusted_proxies:Unix.inet_addr list ->
  ?external_addresses:Address.t list ->
  ?initial_peers:Address.t list ->
  ?discover_peers:int ->
  ?take_offers:bool ->
  ?introduce:bool ->
  ?agent:string ->
  ?extension_rpcs:Extension_rpc.t list ->
  ?limits:Limits.t ->
  ?compact_blocks:bool ->
  ?dummy_proof:string ->
  secret_key:Secret_key.t ->
  chain_id:Chain_id.t ->
  unit ->
  (t, Error.t) result
(** A node that is configured and checked, but not started.

    Reaching and being reached:

    - [transports]: which are on, the preferred one first; [[Quic; Webrtc]]
      unless given. A peer that has addresses of both is dialed by the preferred
      one, and 300 ms later, or when that has failed, by the other too; the
      first connection that authenticates is kept.
    - [listen]: UDP addresses to be reached at, none by default; port 0 lets the
      system choose. All transports that are on share them. Without any, nobody
      reaches this node by QUIC, and WebRTC uses ports that the system chooses.
    - [signaling]: a TCP address at which offers of WebRTC connections are taken
      by HTTP, of Mina Rust nodes and browsers too; port 0 lets the system
      choose. Not taken unless given: then only peers that a relay introduces
      reach this node by WebRTC. The connection itself is by UDP, at [listen].
    - [stun_servers]: host (a name or an IP address, IPv6 in brackets) and UDP
      port of servers that tell this node its address as the world sees it, for
      WebRTC behind a NAT. Each new connection waits for them, 500 ms at most;
      what they said holds for 60 s. Nobody is asked for a peer on this machine,
      and nobody at all unless given.
    - [trusted_proxies]: HTTP proxies in front of [signaling]. Their
      [X-Forwarded-For] is believed to be the address of who offers, for the
      limits of one address; that of others is not. None by default, and then
      all who come through a proxy share the limits of one.
    - [external_addresses]: addresses of this node to tell peers beside those
      listened on, for instance one that a router forwards, or [signaling] as a
      proxy serves it. They are told as they are, of either transport. They open
      no path for WebRTC's datagrams: behind a NAT that takes [stun_servers].
    - [initial_peers]: peers to be connected with whenever the node runs; the
      node's own address is ignored. Those of one peer belong together.

    Introductions, by which peers that cannot be dialed are reached, by WebRTC
    alone:

    - [discover_peers]: as long as the node has fewer connections and dials than
      this, it has its peers introduce it to others of theirs. 0, the default:
      it never asks. It dials whom it is introduced to: {!Event.Peer_connected}
      tells of it, and nothing if that fails.
    - [take_offers]: whether peers may introduce others to this node; [true].
    - [introduce]: whether this node introduces its peers to each other;
      [true].

    The rest:

    - [agent]: the name and version that peers of this library's own kind see,
      at most 64 bytes.
    - [extension_rpcs]: what peers may call by name, nothing by default.
    - [limits]: {!Limits.default} unless given.
    - [compact_blocks]: whether blocks travel compactly to and from peers that
      can do so too, as they do unless this is [false]; then every block travels
      whole, as a best tip.
    - [dummy_proof]: the proof that stands for all proofs where a transaction is
      hashed, as binprot: the network's [Proof.transaction_dummy]. Without it
      {!add_command} cannot name zkApp commands that have proofs.

    [Error (Invalid { what; _ })] if something cannot be used; [what] names the
    argument, or the limit. [transports] cannot be empty or name one
    twice; [signaling] cannot be given, nor [discover_peers] be above 0, while
    WebRTC is off. Addresses are bound by {!start}. *)

val start : t -> (unit, Error.t) result
(** Binds the addresses and starts the node's threads, which block all signals.
    After [Error (Start _)] it can be tried again. *)

val close : t -> (unit, Error.t) result
(** Tells every peer, closes every connection and stops the node's threads,
    within about half a second. Events that were not polled are lost. Also
    makes {!event_fd} readable, so that whoever waits finds out.
    [Error Closed] if it was closed before. *)

val secret_key : t -> Secret_key.t

val peer_id : t -> Peer_id.t
(** This node's name. *)

val listen_addresses : t -> (Address.t list, Error.t) result
(** Addresses under which peers can dial this node: external ones, then QUIC's
    and WebRTC's of [listen] and [signaling], with their real ports. An
    unspecified IP address (0.0.0.0) stands for each of the machine's: put one
    of those in its place before giving the address to somebody. *)

(** {1 Taking events} *)

val event_fd : t -> (Unix.file_descr, Error.t) result
(** A new descriptor that is readable while events wait, and after {!close}.
    It is for waiting only ([Unix.select], [Lwt_unix.wait_read], ..), not for
    reading. The caller owns it, and closes it; call this once and keep it. It
    can be had before {!start}. *)

val poll : t -> max:int -> (Event.t list, Error.t) result
(** Takes at most [max] events, oldest first; [[]] if there are none. [max] is
    positive. Does not wait. *)

(** {1 What this node has}

    Peers pull it. Payloads are copied during the call unless they came from
    this library; of those, a part that is less than half of the whole is copied
    too, so that the node does not keep the rest alive. *)

val set_best_tip :
  t -> state_hash:State_hash.t -> Payload.t -> (Block_key.t, Error.t) result
(** Makes a block (its binprot) the best tip, which every peer that wants it
    pulls, compactly if both sides can. [state_hash] is the block's own, which
    this library cannot compute. One that came by {!Event.Block} and was
    accepted is on its way already to peers with compact blocks; all others, and
    those that connect later, get it by this. [Error (Not_a_block _)],
    [Error (Too_long _)]. *)

val announce_block :
  t -> state_hash:State_hash.t -> Payload.t -> (Block_key.t, Error.t) result
(** Relays a block (its binprot) that is not, or not yet, the best tip to peers
    with compact blocks. It also ends the wait for a verdict on it.
    [Error (Not_a_block _)] if its body is not the one that its header names,
    as it could not travel then; [Error (Too_long _)]. *)

val add_transaction :
  t -> Transaction_info.t -> Payload.t -> (bool, Error.t) result
(** Puts a transaction in the pool: peers are told of it and can fetch it. One
    with that hash is replaced, and told of again if it differs. [false] if the
    very same was there. The payload is the binprot of the user command, tag
    included; only as such can a compact block be rebuilt from it, and other
    bytes are kept as they are. [Error (Too_long _)]. *)

val add_command : t -> Payload.t -> (Transaction_info.t * bool, Error.t) result
(** {!add_transaction} of a user command, whose hash, fee payer, fee and nonce
    are found in its bytes. [Error (Not_an_item _)] if they are no user command,
    or a zkApp command with proofs while the node has no [dummy_proof];
    [Error (Too_long _)]. *)

val remove_transaction : t -> Transaction_hash.t -> (bool, Error.t) result
(** [false] if it was not there. *)

val add_work : t -> Work_info.t -> Payload.t -> (bool, Error.t) result
(** Puts a completed work in the pool, as {!add_transaction} does. The payload
    is the work as an RPC answers with it: prover, fee, proofs. *)

val add_completed_work : t -> Payload.t -> (Work_info.t * bool, Error.t) result
(** {!add_work} of a work as a block carries it: fee, proofs, prover. What it
    proves, its fee and its prover are found in its bytes.
    [Error (Not_an_item _)] if they are no such work; [Error (Too_long _)]. *)

val remove_work : t -> Job_id.t -> (bool, Error.t) result
(** [false] if it was not there. *)

val add_commitment : t -> Commitment.t -> (bool, Error.t) result
(** Tells peers of a commitment. *)

val remove_commitment : t -> Job_id.t -> (bool, Error.t) result
(** Tells nobody any more. [false] if it was not there. *)

(** {1 Judging blocks}

    A block that peers tell of compactly comes in two steps: {!Event.Header} as
    soon as its header is here, {!Event.Block} when its body is too. A header
    that is accepted is passed on at once, the block when its body is here: so a
    block crosses the network before anybody has finished verifying it. One that
    nobody accepts goes no further.

    - When the header is verified: {!accept_header}.
    - When the block is: {!accept_block}, which also tells its state hash, so
      that peers can ask for it. (It does for a header that was not accepted
      before what {!accept_header} does.)
    - When it is the best: {!set_best_tip}. Peers without compact blocks, and
      those that connect later, get it by this alone.
    - {!announce_block} is for a block that was made here.

    A program that handles {!Event.Best_tip} alone hears of no well-formed block
    of a peer with compact blocks: let it handle both events, or start with
    [~compact_blocks:false].

    Verdicts are given by the block's key, once; giving one twice does no harm.
    [Error Unknown_block] if the block has ended (it took too long, failed, or
    was ignored or rejected) or was never here. *)

val accept_header :
  t -> ?state_hash:State_hash.t -> Block_key.t -> (unit, Error.t) result
(** The header of an {!Event.Header} is valid: it is relayed now, and the block
    when its body is here. [state_hash] is the block's own; with it peers
    without compact blocks can be asked for the body, and can ask for the block.
*)

val accept_block :
  t -> state_hash:State_hash.t -> Block_key.t -> (unit, Error.t) result
(** The block of an {!Event.Block}, or of an {!Event.Header} whose body is still
    to come, is valid: it is relayed, and peers that ask for it by its state
    hash are answered. It does not become the best tip: see {!set_best_tip}. *)

val ignore_block : t -> Block_key.t -> (unit, Error.t) result
(** The block is of no interest: it is not relayed (any more), and no peer is to
    blame. *)

val reject_block : t -> Block_key.t -> (unit, Error.t) result
(** The block is invalid: it is not relayed (any more). Before
    {!accept_header} and {!Event.Block} its header is meant: all peers that told
    of it have accepted an invalid header, and their connections are closed.
    After either the body may be meant, of which they need not have known: no
    peer is to blame. *)

(** {1 Asking peers} *)

val request :
  ?peer:Peer_id.t -> t -> Request.t -> (Request_id.t, Error.t) result
(** Puts a request to a peer; without [peer], to one that offered what is
    asked for, or else to the one connected longest. It ends with
    {!Event.Response}. [Error Not_connected], [Error Not_supported],
    [Error (Too_many_requests _)], [Error (Too_long _)]. *)

val cancel : t -> Request_id.t -> (unit, Error.t) result
(** No {!Event.Response} follows, unless it waits already. An unknown request
    is ignored. *)

val fetch_block :
  ?peer:Peer_id.t -> t -> State_hash.t -> (Request_id.t, Error.t) result
(** {!request} with [Rpc (Block _)]. *)

val fetch_transaction :
  ?peer:Peer_id.t -> t -> Transaction_hash.t -> (Request_id.t, Error.t) result
(** {!request} with [Rpc (Transaction _)]. *)

val fetch_work :
  ?peer:Peer_id.t -> t -> Job_id.t -> (Request_id.t, Error.t) result
(** {!request} with [Rpc (Work _)]. *)

val respond : t -> Responder.t -> Incoming.response -> (unit, Error.t) result
(** Answers a peer's request. [Error Gone], [Error Not_connected],
    [Error Wrong_kind], [Error Wrong_parts], [Error (Too_long _)]; after the
    last three the request still waits. *)

(** {1 Connections} *)

val dial : t -> Address.t -> (unit, Error.t) result
(** Dials a peer, once. How it ends is an event: {!Event.Peer_connected} or
    {!Event.Dial_failed}, [Unreachable] also for an address that is never
    dialed, or of a transport that is off. [Error (Dial_refused _)]. *)

val disconnect : t -> Peer_id.t -> (unit, Error.t) result
(** Closes the connection to a peer. An initial peer is dialed again after a
    while. [Error Not_connected]. *)

val ban : t -> Peer_id.t -> seconds:float -> (unit, Error.t) result
(** Closes the connection to a peer, if there is one, and refuses others for a
    time. *)

val unban : t -> Peer_id.t -> (bool, Error.t) result
(** Lifts a ban. [false] if there was none. *)

val bans : t -> ((Peer_id.t * float) list, Error.t) result
(** The bans in force, each with the seconds that remain. *)

(** A channel: what a message is about. *)
module Channel : sig
  type t =
    | Signaling_discovery
    | Signaling_exchange
    | Best_tip
    | Transaction
    | Work
    | Commitment
    | Rpc
    | Streaming_rpc
    | Extension_rpc
    | Compact_block

  val to_string : t -> string
end

(** A connected peer, with figures. *)
module Peer : sig
  (** What this node has permitted the peer to send and has not come. *)
  type permits = {
    best_tip : bool;
    block : bool;  (** Compact news of one block. *)
    transactions : int;
    works : int;
    commitments : int;
  }

  (** Messages of a channel, and their bytes with the heads of frames. *)
  type traffic = {
    sent_messages : int;
    sent_bytes : int;
    received_messages : int;
    received_bytes : int;
  }

  type t = {
    id : Peer_id.t;
    address : Unix.sockaddr;
    direction : Direction.t;
    transport : Transport.t;
    agent : string;
        (** What the peer calls itself, escape it; [""] if it is not of this
            library's own kind. *)
    connected_for : float;  (** Seconds. *)
    rtt : float;  (** The round trip time, in seconds. *)
    wire_bytes_sent : int;  (** With packet heads and repetitions. *)
    wire_bytes_received : int;
    datagrams_sent : int;
    datagrams_received : int;
    packets_lost : int;  (** 0 over WebRTC, where it is not known. *)
    congestion_window : int;
        (** Bytes that may be in flight now; 0 over WebRTC likewise. *)
    last_tip : Block_key.t option;  (** The last that the peer sent. *)
    last_tip_sent : Block_key.t option;  (** The last that it was sent. *)
    permits_out : permits;
    requests_in_flight : int;  (** This node's, that the peer works on. *)
    requests_waiting : int;  (** This node's, that wait for their turn. *)
    requests_served : int;  (** The peer's, that this node works on. *)
    channels : (Channel.t * traffic) list;  (** Only those with traffic. *)
  }

  val pp : Format.formatter -> t -> unit
  (** One line. *)
end

val peers : t -> (Peer.t list, Error.t) result
(** All connected peers, by their ids. *)
