(* The stubs, as bindings/src has them. The two must agree: a type here is built
   and read there field by field and constructor by constructor, in this
   order. *)

type bigstring =
  (char, Bigarray.int8_unsigned_elt, Bigarray.c_layout) Bigarray.Array1.t

(* failure.rs *)
type error =
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

(* payload.rs *)
type shared

type payload =
  | String of string
  | Bigstring of bigstring
  | Shared of shared

external payload_length : shared -> (int, error) result
  = "mina_p2p_payload_length"

external payload_blit :
  shared -> int -> Bytes.t -> int -> int -> (unit, error) result
  = "mina_p2p_payload_blit"

external payload_part : shared -> int -> int -> (shared, error) result
  = "mina_p2p_payload_part"

external payload_bigstring : shared -> (bigstring, error) result
  = "mina_p2p_payload_bigstring"

external payload_release : shared -> (unit, error) result
  = "mina_p2p_payload_release"

(* ids.rs: ids and hashes are strings of their bytes *)
type kind =
  | Peer_id
  | Libp2p_peer_id
  | Chain_id
  | State_hash
  | Ledger_hash
  | Transaction_hash
  | Job_id
  | Block_key
  | Account_key
  | Item_id

external id_of_text : kind -> string -> (string, error) result
  = "mina_p2p_id_of_text"

external id_to_text : kind -> string -> (string, error) result
  = "mina_p2p_id_to_text"

type secret

external secret_generate : unit -> (secret, error) result
  = "mina_p2p_secret_generate"

external secret_of_text : string -> (secret, error) result
  = "mina_p2p_secret_of_text"

external secret_to_text : secret -> (string, error) result
  = "mina_p2p_secret_to_text"

external secret_of_seed : string -> (secret, error) result
  = "mina_p2p_secret_of_seed"

external secret_to_seed : secret -> (string, error) result
  = "mina_p2p_secret_to_seed"

external secret_peer_id : secret -> (string, error) result
  = "mina_p2p_secret_peer_id"

type address = { text : string; peer_id : string }

external address_parse : string -> (address, error) result
  = "mina_p2p_address_parse"

(* request.rs *)
type request_id = { connection : int; request : int }

type responder = { connection : int; incoming : int }

type merkle_address = { depth : int; path : string }

type ledger_query =
  | Num_accounts
  | What_child_hashes of merkle_address
  | What_contents of merkle_address

type query =
  | Best_tip_with_proof
  | Initial_peers
  | Ledger_query of string * ledger_query
  | Staged_ledger_aux of string
  | Block of string
  | Work of string
  | Transaction of string

type reply =
  | Best_tip_with_proof of payload
  | Ledger_answer of payload
  | Staged_ledger_aux of payload
  | Block of payload
  | Work of payload
  | Transaction of payload
  | Initial_peers of address list

type part_kind =
  | Base
  | Scan_state_base
  | Previous_incomplete_zkapp_updates
  | Scan_state_tree

type part = { kind : part_kind; body : payload }

type refusal = Unknown | Busy | Failed of string

type request =
  | Rpc of query
  | Staged_ledger_parts of string
  | Extension of {
      name : string;
      version : int;
      body : payload;
      max_answer : int;
      deadline : float;
    }

type incoming =
  | Rpc of query
  | Staged_ledger_parts of string
  | Extension of {
      name : string;
      version : int;
      body : payload;
      max_answer : int;
    }

type response =
  | Rpc of reply option
  | Staged_ledger_parts of part list option
  | Extension of (payload, refusal) result

type answer =
  | Rpc of reply option
  | Staged_ledger_parts of int option
  | Extension of (payload, refusal) result

type request_failure = Timeout | Dropped | Disconnected

(* event.rs *)
type direction = Dialed | Accepted

type transport = Quic | Webrtc

type transaction_info = {
  hash : string;
  fee_payer : string;
  fee : int64;
  nonce : int;
}

type work_info = { job_id : string; fee : int64; prover : string }

type commitment = {
  timestamp_ms : int64;
  job_id : string;
  fee : int64;
  snarker : string;
}

type close_reason =
  | Unspecified
  | Wrong_chain
  | Wrong_identity
  | Self_connection
  | Capacity
  | Duplicate
  | Banned
  | Shutdown
  | Incompatible_version
  | Hello_too_long
  | Repeated_hello
  | Hello_timeout
  | Unsupported_protocol
  | Stalled
  | Too_slow
  | Idle_timeout
  | Violation of string
  | Malformed_hello of string
  | Unsuitable_certificate of string
  | Lost of string
  | Other of { code : int; text : string }
  | Authentication_failed of string

type dial_failure =
  | Timed_out
  | Not_dialed of string
  | Refused_peer of close_reason
  | Closed_by_peer of close_reason
  | Unreachable of string

type how_it_came = {
  via : [ `List | `Chunks | `Whole ];
  received : int;
  items : int;
  hits : int;
  prefilled : int;
  fetched : int;
  round_trips : int;
}

type block_failure = [ `Unavailable | `No_body | `Too_many ]

type event =
  | Peer_connected of {
      peer : string;
      address : Unix.sockaddr;
      direction : direction;
      transport : transport;
    }
  | Peer_disconnected of { peer : string; reason : close_reason }
  | Dial_failed of { address : address; reason : dial_failure }
  | Best_tip of {
      peer : string;
      block : payload;
      key : string;
      previous_state_hash : string;
    }
  | Header of {
      peer : string;
      key : string;
      height : int;
      previous_state_hash : string;
      header : payload;
    }
  | Block of {
      peer : string;
      key : string;
      previous_state_hash : string;
      block : payload;
      how : how_it_came;
    }
  | Block_failed of { key : string; reason : block_failure }
  | Transaction of { peer : string; info : transaction_info }
  | Work of { peer : string; info : work_info }
  | Commitment of { peer : string; commitment : commitment }
  | Request of { peer : string; responder : responder; request : incoming }
  | Request_cancelled of { peer : string; responder : responder }
  | Response of {
      request : request_id;
      peer : string;
      answer : (answer, request_failure) result;
    }
  | Staged_ledger_part of {
      request : request_id;
      peer : string;
      index : int;
      part : part;
    }
  | Task_failed of { message : string }

(* figures.rs *)
type channel =
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

type permits = {
  best_tip : bool;
  block : bool;
  transactions : int;
  works : int;
  commitments : int;
}

type traffic = {
  sent_messages : int;
  sent_bytes : int;
  received_messages : int;
  received_bytes : int;
}

type peer = {
  id : string;
  address : Unix.sockaddr;
  direction : direction;
  transport : transport;
  agent : string;
  connected_for : float;
  rtt : float;
  wire_bytes_sent : int;
  wire_bytes_received : int;
  datagrams_sent : int;
  datagrams_received : int;
  packets_lost : int;
  congestion_window : int;
  last_tip : string option;
  last_tip_sent : string option;
  permits_out : permits;
  requests_in_flight : int;
  requests_waiting : int;
  requests_served : int;
  channels : (channel * traffic) list;
}

(* config.rs *)
type extension_rpc = {
  name : string;
  version : int;
  max_query : int;
  cost : int;
}

type limits = {
  peers : int option;
  inbound : int option;
  inbound_per_address : int option;
  inbound_per_subnet : int option;
  block : int option;
  transaction : int option;
  work : int option;
  staged_ledger : int option;
  extension_query : int option;
  extension_answer : int option;
  pool_permit : int option;
  commitment_permit : int option;
  requests_waiting : int option;
  request_rate : int option;
  request_burst : int option;
  authentication_timeout : float option;
  idle_timeout : float option;
  keep_alive_interval : float option;
  direct_len : int option;
  direct_peers : int option;
}

type config = {
  secret_key : secret;
  chain_id : string;
  listen : Unix.sockaddr list;
  external_addresses : address list;
  initial_peers : address list;
  agent : string option;
  extension_rpcs : extension_rpc list;
  limits : limits;
  compact_blocks : bool;
  dummy_proof : string option;
  transports : transport list option;
  signaling : Unix.sockaddr option;
  stun_servers : (string * int) list;
  trusted_proxies : string list;
  discover_peers : int;
  take_offers : bool;
  introduce : bool;
}

(* node.rs *)
type node

external create : config -> (node, error) result = "mina_p2p_node_create"

external start : node -> (unit, error) result = "mina_p2p_node_start"

external close : node -> (unit, error) result = "mina_p2p_node_close"

external event_fd : node -> (Unix.file_descr, error) result
  = "mina_p2p_node_event_fd"

external poll : node -> int -> (event list, error) result
  = "mina_p2p_node_poll"

external listen_addresses : node -> (address list, error) result
  = "mina_p2p_node_listen_addresses"

external set_best_tip : node -> string -> payload -> (string, error) result
  = "mina_p2p_node_set_best_tip"

external announce_block : node -> string -> payload -> (string, error) result
  = "mina_p2p_node_announce_block"

external accept_header :
  node -> string option -> string -> (unit, error) result
  = "mina_p2p_node_accept_header"

external accept_block : node -> string -> string -> (unit, error) result
  = "mina_p2p_node_accept_block"

external ignore_block : node -> string -> (unit, error) result
  = "mina_p2p_node_ignore_block"

external reject_block : node -> string -> (unit, error) result
  = "mina_p2p_node_reject_block"

external add_command :
  node -> payload -> (transaction_info * bool, error) result
  = "mina_p2p_node_add_command"

external add_completed_work :
  node -> payload -> (work_info * bool, error) result
  = "mina_p2p_node_add_completed_work"

external add_transaction :
  node -> transaction_info -> payload -> (bool, error) result
  = "mina_p2p_node_add_transaction"

external remove_transaction : node -> string -> (bool, error) result
  = "mina_p2p_node_remove_transaction"

external add_work : node -> work_info -> payload -> (bool, error) result
  = "mina_p2p_node_add_work"

external remove_work : node -> string -> (bool, error) result
  = "mina_p2p_node_remove_work"

external add_commitment : node -> commitment -> (bool, error) result
  = "mina_p2p_node_add_commitment"

external remove_commitment : node -> string -> (bool, error) result
  = "mina_p2p_node_remove_commitment"

external request :
  node -> string option -> request -> (request_id, error) result
  = "mina_p2p_node_request"

external cancel : node -> request_id -> (unit, error) result
  = "mina_p2p_node_cancel"

external respond : node -> responder -> response -> (unit, error) result
  = "mina_p2p_node_respond"

external dial : node -> address -> (unit, error) result = "mina_p2p_node_dial"

external disconnect : node -> string -> (unit, error) result
  = "mina_p2p_node_disconnect"

external ban : node -> string -> float -> (unit, error) result
  = "mina_p2p_node_ban"

external unban : node -> string -> (bool, error) result
  = "mina_p2p_node_unban"

external bans : node -> ((string * float) list, error) result
  = "mina_p2p_node_bans"

external peers : node -> (peer list, error) result = "mina_p2p_node_peers"

(* block.rs *)
type item = {
  kind : [ `Signed_command | `Zkapp_command | `Work ];
  offset : int;
  length : int;
  id : string;
}

type layout = {
  header_length : int;
  height : int;
  previous_state_hash : string;
  body_reference : string;
  items : item list;
}

type compaction = {
  max_length : int option;
  prefill : int list;
  nonce : int64;
}

type rebuilt =
  [ `Complete of payload | `Missing of int list | `Failed | `Invalid of string ]

external block_key : payload -> (string, error) result = "mina_p2p_block_key"

external block_layout : payload -> (layout, error) result
  = "mina_p2p_block_layout"

external block_body_reference : payload -> (string, error) result
  = "mina_p2p_block_body_reference"

external block_item_id : payload -> (string, error) result
  = "mina_p2p_block_item_id"

external block_command_info :
  string option -> payload -> (transaction_info, error) result
  = "mina_p2p_block_command_info"

external block_work_info : payload -> (work_info, error) result
  = "mina_p2p_block_work_info"

external block_compact : compaction -> payload -> (string, error) result
  = "mina_p2p_block_compact"

external block_rebuild : string -> payload list -> (rebuilt, error) result
  = "mina_p2p_block_rebuild"
