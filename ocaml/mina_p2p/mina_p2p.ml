include Base
module Block = Block

module Request_id = struct
  type t = Raw.request_id = { connection : int; request : int }

  let equal (a : t) b = a = b

  let compare (a : t) b = Stdlib.compare a b

  let hash (t : t) = Hashtbl.hash t

  let pp ppf t = printf ppf "%d.%d" t.connection t.request
end

module Responder = struct
  type t = Raw.responder = { connection : int; incoming : int }

  let equal (a : t) b = a = b

  let compare (a : t) b = Stdlib.compare a b

  let hash (t : t) = Hashtbl.hash t

  let pp ppf t = printf ppf "%d.%d" t.connection t.incoming
end

module Rpc = struct
  type merkle_address = Raw.merkle_address = { depth : int; path : string }

  type ledger_query = Raw.ledger_query =
    | Num_accounts
    | What_child_hashes of merkle_address
    | What_contents of merkle_address

  type query = Raw.query =
    | Best_tip_with_proof
    | Initial_peers
    | Ledger_query of Ledger_hash.t * ledger_query
    | Staged_ledger_aux of State_hash.t
    | Block of State_hash.t
    | Work of Job_id.t
    | Transaction of Transaction_hash.t

  type reply = Raw.reply =
    | Best_tip_with_proof of Payload.t
    | Ledger_answer of Payload.t
    | Staged_ledger_aux of Payload.t
    | Block of Payload.t
    | Work of Payload.t
    | Transaction of Payload.t
    | Initial_peers of Address.t list

  let pp_query ppf : query -> unit = function
    | Best_tip_with_proof -> printf ppf "best tip with proof"
    | Initial_peers -> printf ppf "initial peers"
    | Ledger_query (ledger, query) ->
        let what =
          match query with
          | Num_accounts -> "number of accounts"
          | What_child_hashes { depth; _ } ->
              Printf.sprintf "child hashes at depth %d" depth
          | What_contents { depth; _ } ->
              Printf.sprintf "contents at depth %d" depth
        in
        printf ppf "%s of ledger %a" what Ledger_hash.pp ledger
    | Staged_ledger_aux block ->
        printf ppf "staged ledger of %a" State_hash.pp block
    | Block block -> printf ppf "block %a" State_hash.pp block
    | Work job -> printf ppf "work %a" Job_id.pp job
    | Transaction hash -> printf ppf "transaction %a" Transaction_hash.pp hash

  let pp_reply ppf reply =
    let bytes what payload =
      printf ppf "%s of %a" what Payload.pp_length payload
    in
    match reply with
    | Best_tip_with_proof payload -> bytes "best tip with proof" payload
    | Ledger_answer payload -> bytes "ledger answer" payload
    | Staged_ledger_aux payload -> bytes "staged ledger" payload
    | Block payload -> bytes "block" payload
    | Work payload -> bytes "work" payload
    | Transaction payload -> bytes "transaction" payload
    | Initial_peers addresses ->
        printf ppf "%d addresses" (List.length addresses)
end

module Staged_ledger_part = struct
  type kind = Raw.part_kind =
    | Base
    | Scan_state_base
    | Previous_incomplete_zkapp_updates
    | Scan_state_tree

  type t = Raw.part = { kind : kind; body : Payload.t }

  let kind_to_string = function
    | Base -> "base"
    | Scan_state_base -> "scan state base"
    | Previous_incomplete_zkapp_updates -> "previous incomplete zkapp updates"
    | Scan_state_tree -> "scan state tree"
end

module Refusal = struct
  type t = Raw.refusal = Unknown | Busy | Failed of string

  let pp ppf = function
    | Unknown -> printf ppf "the peer does not serve this method"
    | Busy -> printf ppf "the peer is busy"
    | Failed why -> printf ppf "failed: %S" why
end

module Request = struct
  type t = Raw.request =
    | Rpc of Rpc.query
    | Staged_ledger_parts of State_hash.t
    | Extension of {
        name : string;
        version : int;
        body : Payload.t;
        max_answer : int;
        deadline : float;
      }

  type answer = Raw.answer =
    | Rpc of Rpc.reply option
    | Staged_ledger_parts of int option
    | Extension of (Payload.t, Refusal.t) result

  type failure = Raw.request_failure = Timeout | Dropped | Disconnected

  let pp ppf : t -> unit = function
    | Rpc query -> Rpc.pp_query ppf query
    | Staged_ledger_parts block ->
        printf ppf "staged ledger of %a in parts" State_hash.pp block
    | Extension { name; version; body; _ } ->
        printf ppf "%S version %d with %a" name version Payload.pp_length body

  let pp_answer ppf : answer -> unit = function
    | Rpc (Some reply) -> Rpc.pp_reply ppf reply
    | Staged_ledger_parts (Some count) -> printf ppf "%d parts" count
    | Rpc None | Staged_ledger_parts None ->
        printf ppf "the peer does not have it"
    | Extension (Ok payload) -> Payload.pp_length ppf payload
    | Extension (Error refusal) -> Refusal.pp ppf refusal

  let pp_failure ppf = function
    | Timeout -> printf ppf "no answer in time"
    | Dropped -> printf ppf "the peer dropped the request"
    | Disconnected -> printf ppf "the connection ended"
end

module Incoming = struct
  type t = Raw.incoming =
    | Rpc of Rpc.query
    | Staged_ledger_parts of State_hash.t
    | Extension of {
        name : string;
        version : int;
        body : Payload.t;
        max_answer : int;
      }

  type response = Raw.response =
    | Rpc of Rpc.reply option
    | Staged_ledger_parts of Staged_ledger_part.t list option
    | Extension of (Payload.t, Refusal.t) result

  let pp ppf : t -> unit = function
    | Rpc query -> Rpc.pp_query ppf query
    | Staged_ledger_parts block ->
        printf ppf "staged ledger of %a in parts" State_hash.pp block
    | Extension { name; version; body; _ } ->
        printf ppf "%S version %d with %a" name version Payload.pp_length body
end

module Direction = struct
  type t = Raw.direction = Dialed | Accepted

  let pp ppf = function
    | Dialed -> printf ppf "dialed"
    | Accepted -> printf ppf "accepted"
end

module Transport = struct
  type t = Raw.transport = Quic | Webrtc

  let to_string = function Quic -> "quic" | Webrtc -> "webrtc"

  let pp ppf t = Format.pp_print_string ppf (to_string t)
end

module Close_reason = struct
  type t = Raw.close_reason =
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

  let pp ppf = function
    | Unspecified -> printf ppf "closed without a reason"
    | Wrong_chain -> printf ppf "different chain"
    | Wrong_identity -> printf ppf "not the peer that was dialed"
    | Self_connection -> printf ppf "connection to ourselves"
    | Capacity -> printf ppf "no free slot"
    | Duplicate -> printf ppf "another connection with this peer is kept"
    | Banned -> printf ppf "banned"
    | Shutdown -> printf ppf "node shut down"
    | Incompatible_version -> printf ppf "incompatible protocol version"
    | Hello_too_long -> printf ppf "Hello too long"
    | Repeated_hello -> printf ppf "more than one Hello"
    | Hello_timeout -> printf ppf "authentication not finished in time"
    | Unsupported_protocol -> printf ppf "no common application protocol"
    | Stalled -> printf ppf "peer stopped reading"
    | Too_slow -> printf ppf "peer sent a frame too slowly"
    | Idle_timeout -> printf ppf "nothing heard for the idle timeout"
    | Violation text -> printf ppf "protocol violation: %s" text
    | Malformed_hello text -> printf ppf "malformed Hello: %s" text
    | Unsuitable_certificate text ->
        printf ppf "unsuitable certificate: %s" text
    | Lost text -> printf ppf "connection lost: %s" text
    | Other { code; text } -> printf ppf "reason %d: %s" code text
    | Authentication_failed text -> printf ppf "authentication failed: %s" text
end

module Dial_failure = struct
  type t = Raw.dial_failure =
    | Timed_out
    | Not_dialed of string
    | Refused_peer of Close_reason.t
    | Closed_by_peer of Close_reason.t
    | Unreachable of string

  let pp ppf = function
    | Timed_out -> printf ppf "no answer in time"
    | Not_dialed why -> printf ppf "not dialed: %s" why
    | Refused_peer reason -> printf ppf "refused: %a" Close_reason.pp reason
    | Closed_by_peer reason ->
        printf ppf "closed by the peer: %a" Close_reason.pp reason
    | Unreachable why -> printf ppf "unreachable: %s" why
end

let pp_sockaddr ppf = function
  | Unix.ADDR_UNIX path -> printf ppf "%S" path
  | Unix.ADDR_INET (ip, port) ->
      let text = Unix.string_of_inet_addr ip in
      if String.contains text ':' then printf ppf "[%s]:%d" text port
      else printf ppf "%s:%d" text port

module How_it_came = struct
  type t = Raw.how_it_came = {
    via : [ `List | `Chunks | `Whole ];
    received : int;
    items : int;
    hits : int;
    prefilled : int;
    fetched : int;
    round_trips : int;
  }

  let pp ppf t =
    let via =
      match t.via with
      | `List -> "a list"
      | `Chunks -> "chunks"
      | `Whole -> "a whole block"
    in
    printf ppf
      "by %s in %d bytes, %d items: %d hits, %d prefilled, %d fetched, %d \
       round trips"
      via t.received t.items t.hits t.prefilled t.fetched t.round_trips
end

module Block_failure = struct
  type t = Raw.block_failure

  let pp ppf : t -> unit = function
    | `Unavailable -> printf ppf "no peer gave its body in time"
    | `No_body -> printf ppf "its header commits to something that is no body"
    | `Too_many -> printf ppf "too many blocks wait for their bodies"
end

module Event = struct
  type t = Raw.event =
    | Peer_connected of {
        peer : Peer_id.t;
        address : Unix.sockaddr;
        direction : Direction.t;
        transport : Transport.t;
      }
    | Peer_disconnected of { peer : Peer_id.t; reason : Close_reason.t }
    | Dial_failed of { address : Address.t; reason : Dial_failure.t }
    | Best_tip of {
        peer : Peer_id.t;
        block : Payload.t;
        key : Block_key.t;
        previous_state_hash : State_hash.t;
      }
    | Header of {
        peer : Peer_id.t;
        key : Block_key.t;
        height : int;
        previous_state_hash : State_hash.t;
        header : Payload.t;
      }
    | Block of {
        peer : Peer_id.t;
        key : Block_key.t;
        previous_state_hash : State_hash.t;
        block : Payload.t;
        how : How_it_came.t;
      }
    | Block_failed of { key : Block_key.t; reason : Block_failure.t }
    | Transaction of { peer : Peer_id.t; info : Transaction_info.t }
    | Work of { peer : Peer_id.t; info : Work_info.t }
    | Commitment of { peer : Peer_id.t; commitment : Commitment.t }
    | Request of {
        peer : Peer_id.t;
        responder : Responder.t;
        request : Incoming.t;
      }
    | Request_cancelled of { peer : Peer_id.t; responder : Responder.t }
    | Response of {
        request : Request_id.t;
        peer : Peer_id.t;
        answer : (Request.answer, Request.failure) result;
      }
    | Staged_ledger_part of {
        request : Request_id.t;
        peer : Peer_id.t;
        index : int;
        part : Staged_ledger_part.t;
      }
    | Task_failed of { message : string }

  let pp ppf = function
    | Peer_connected { peer; address; direction; transport } ->
        printf ppf "%a connected: %a %a by %a" Peer_id.pp peer Direction.pp
          direction pp_sockaddr address Transport.pp transport
    | Peer_disconnected { peer; reason } ->
        printf ppf "%a disconnected: %a" Peer_id.pp peer Close_reason.pp reason
    | Dial_failed { address; reason } ->
        printf ppf "cannot dial %a: %a" Address.pp address Dial_failure.pp
          reason
    | Best_tip { peer; block; key; previous_state_hash } ->
        printf ppf "%a has block %a of %a after %a" Peer_id.pp peer
          Block_key.pp key Payload.pp_length block State_hash.pp
          previous_state_hash
    | Header { peer; key; height; previous_state_hash; header } ->
        printf ppf "%a has the header, %a, of block %a at height %d after %a"
          Peer_id.pp peer Payload.pp_length header Block_key.pp key height
          State_hash.pp previous_state_hash
    | Block { peer; key; previous_state_hash; block; how } ->
        printf ppf "block %a of %a after %a, of which %a told, came %a"
          Block_key.pp key Payload.pp_length block State_hash.pp
          previous_state_hash Peer_id.pp peer How_it_came.pp how
    | Block_failed { key; reason } ->
        printf ppf "block %a failed: %a" Block_key.pp key Block_failure.pp
          reason
    | Transaction { peer; info } ->
        printf ppf "%a has %a" Peer_id.pp peer Transaction_info.pp info
    | Work { peer; info } ->
        printf ppf "%a has %a" Peer_id.pp peer Work_info.pp info
    | Commitment { peer; commitment } ->
        printf ppf "%a tells of %a" Peer_id.pp peer Commitment.pp commitment
    | Request { peer; responder; request } ->
        printf ppf "%a asks (%a): %a" Peer_id.pp peer Responder.pp responder
          Incoming.pp request
    | Request_cancelled { peer; responder } ->
        printf ppf "%a no longer waits (%a)" Peer_id.pp peer Responder.pp
          responder
    | Response { request; peer; answer = Ok answer } ->
        printf ppf "%a answers request %a: %a" Peer_id.pp peer Request_id.pp
          request Request.pp_answer answer
    | Response { request; peer; answer = Error failure } ->
        printf ppf "%a does not answer request %a: %a" Peer_id.pp peer
          Request_id.pp request Request.pp_failure failure
    | Staged_ledger_part { request; peer; index; part } ->
        printf ppf "%a answers request %a: part %d, %s, %a" Peer_id.pp peer
          Request_id.pp request index
          (Staged_ledger_part.kind_to_string part.kind)
          Payload.pp_length part.body
    | Task_failed { message } -> printf ppf "a task failed: %s" message
end

module Limits = struct
  type t = Raw.limits

  let make ?peers ?inbound ?inbound_per_address ?inbound_per_subnet ?block
      ?transaction ?work ?staged_ledger ?extension_query ?extension_answer
      ?pool_permit ?commitment_permit ?requests_waiting ?request_rate
      ?request_burst ?authentication_timeout ?idle_timeout ?keep_alive_interval
      ?direct_len ?direct_peers () : t =
    {
      peers;
      inbound;
      inbound_per_address;
      inbound_per_subnet;
      block;
      transaction;
      work;
      staged_ledger;
      extension_query;
      extension_answer;
      pool_permit;
      commitment_permit;
      requests_waiting;
      request_rate;
      request_burst;
      authentication_timeout;
      idle_timeout;
      keep_alive_interval;
      direct_len;
      direct_peers;
    }

  let default = make ()
end

module Extension_rpc = struct
  type t = Raw.extension_rpc

  let make ?(max_query = 1024 * 1024) ?(cost = 10) ~version name : t =
    { name; version; max_query; cost }
end

type t = { secret_key : Secret_key.t; peer_id : Peer_id.t; node : Raw.node }

let create ?transports ?(listen = []) ?signaling ?(stun_servers = [])
    ?(trusted_proxies = []) ?(external_addresses = []) ?(initial_peers = [])
    ?(discover_peers = 0) ?(take_offers = true) ?(introduce = true) ?agent
    ?(extension_rpcs = []) ?(limits = Limits.default) ?(compact_blocks = true)
    ?dummy_proof ~secret_key ~chain_id () =
  let node =
    Raw.create
      {
        secret_key;
        chain_id;
        listen;
        external_addresses;
        initial_peers;
        agent;
        extension_rpcs;
        limits;
        compact_blocks;
        dummy_proof;
        transports;
        signaling;
        stun_servers;
        trusted_proxies = List.map Unix.string_of_inet_addr trusted_proxies;
        discover_peers;
        take_offers;
        introduce;
      }
  in
  let peer_id = Secret_key.peer_id secret_key in
  Result.map (fun node -> { secret_key; peer_id; node }) node

let start t = Raw.start t.node

let close t = Raw.close t.node

let secret_key t = t.secret_key

let peer_id t = t.peer_id

let listen_addresses t = Raw.listen_addresses t.node

let event_fd t = Raw.event_fd t.node

let poll t ~max = Raw.poll t.node max

let set_best_tip t ~state_hash block =
  Raw.set_best_tip t.node state_hash block

let announce_block t ~state_hash block =
  Raw.announce_block t.node state_hash block

let accept_header t ?state_hash key = Raw.accept_header t.node state_hash key

let accept_block t ~state_hash key = Raw.accept_block t.node state_hash key

let ignore_block t key = Raw.ignore_block t.node key

let reject_block t key = Raw.reject_block t.node key

let add_command t command = Raw.add_command t.node command

let add_completed_work t work = Raw.add_completed_work t.node work

let add_transaction t info body = Raw.add_transaction t.node info body

let remove_transaction t hash = Raw.remove_transaction t.node hash

let add_work t info body = Raw.add_work t.node info body

let remove_work t job_id = Raw.remove_work t.node job_id

let add_commitment t commitment = Raw.add_commitment t.node commitment

let remove_commitment t job_id = Raw.remove_commitment t.node job_id

let request ?peer t request = Raw.request t.node peer request

let cancel t request = Raw.cancel t.node request

let fetch_block ?peer t hash = request ?peer t (Rpc (Block hash))

let fetch_transaction ?peer t hash = request ?peer t (Rpc (Transaction hash))

let fetch_work ?peer t job_id = request ?peer t (Rpc (Work job_id))

let respond t responder response = Raw.respond t.node responder response

let dial t address = Raw.dial t.node address

let disconnect t peer = Raw.disconnect t.node peer

let ban t peer ~seconds = Raw.ban t.node peer seconds

let unban t peer = Raw.unban t.node peer

let bans t = Raw.bans t.node

module Channel = struct
  type t = Raw.channel =
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

  let to_string = function
    | Signaling_discovery -> "signaling/discovery"
    | Signaling_exchange -> "signaling/exchange"
    | Best_tip -> "best_tip/propagation"
    | Transaction -> "transaction/propagation"
    | Work -> "snark/propagation"
    | Commitment -> "snark_job_commitment/propagation"
    | Rpc -> "rpc"
    | Streaming_rpc -> "rpc/streaming"
    | Extension_rpc -> "rpc/extension"
    | Compact_block -> "block/compact"
end

module Peer = struct
  type permits = Raw.permits = {
    best_tip : bool;
    block : bool;
    transactions : int;
    works : int;
    commitments : int;
  }

  type traffic = Raw.traffic = {
    sent_messages : int;
    sent_bytes : int;
    received_messages : int;
    received_bytes : int;
  }

  type t = Raw.peer = {
    id : Peer_id.t;
    address : Unix.sockaddr;
    direction : Direction.t;
    transport : Transport.t;
    agent : string;
    connected_for : float;
    rtt : float;
    wire_bytes_sent : int;
    wire_bytes_received : int;
    datagrams_sent : int;
    datagrams_received : int;
    packets_lost : int;
    congestion_window : int;
    last_tip : Block_key.t option;
    last_tip_sent : Block_key.t option;
    permits_out : permits;
    requests_in_flight : int;
    requests_waiting : int;
    requests_served : int;
    channels : (Channel.t * traffic) list;
  }

  let pp ppf t =
    printf ppf
      "%a: %a %a by %a for %.0f s, agent %S, rtt %.1f ms, %d B out, %d B in"
      Peer_id.pp t.id Direction.pp t.direction pp_sockaddr t.address
      Transport.pp t.transport t.connected_for t.agent (t.rtt *. 1000.)
      t.wire_bytes_sent t.wire_bytes_received
end

let peers t = Raw.peers t.node
