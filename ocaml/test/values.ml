(* Every type that crosses between Rust and OCaml, each constructor of it. *)

open Mina_p2p
open Helper

let filled length byte = String.make length (Char.chr byte)

let peer = ok (Peer_id.of_bytes (filled 32 7))

let hash of_bytes byte = ok (of_bytes (filled 32 byte))

let ledger_hash = hash Ledger_hash.of_bytes 1

let state_hash = hash State_hash.of_bytes 1

let transaction_hash = hash Transaction_hash.of_bytes 1

let job_id byte = ok (Job_id.of_bytes (filled 128 byte))

let account_key byte parity =
  ok (Account_key.of_bytes (filled 32 byte ^ filled 1 parity))

let address =
  ok
    (Address.of_string
       ("/ip4/127.0.0.1/udp/1/mina-quic/p2p/" ^ Peer_id.to_libp2p peer))

let bytes = Payload.of_string "bytes"

(* What [samples] of bindings/src/testing.rs makes. *)
let expected : Event.t list =
  let connected ip port direction transport : Event.t =
    let address = Unix.ADDR_INET (Unix.inet_addr_of_string ip, port) in
    Peer_connected { peer; address; direction; transport }
  in
  let disconnected reason : Event.t = Peer_disconnected { peer; reason } in
  let dial_failed reason : Event.t = Dial_failed { address; reason } in
  let responder =
    (* The only way to name one that was not received. *)
    (Obj.magic (1, 2) : Responder.t)
  in
  let request_id : Request_id.t = Obj.magic (3, 4) in
  let request request : Event.t = Request { peer; responder; request } in
  let response answer : Event.t =
    Response { request = request_id; peer; answer }
  in
  let reply reply = response (Ok (Request.Rpc (Some reply))) in
  let part index kind : Event.t =
    let part : Staged_ledger_part.t =
      { kind; body = Payload.of_string "part" }
    in
    Staged_ledger_part { request = request_id; peer; index; part }
  in
  let block via : Event.t =
    let how : How_it_came.t =
      {
        via;
        received = 1;
        items = 2;
        hits = 3;
        prefilled = 4;
        fetched = 5;
        round_trips = 6;
      }
    in
    Block
      {
        peer;
        key = hash Block_key.of_bytes 1;
        previous_state_hash = hash State_hash.of_bytes 2;
        block = bytes;
        how;
      }
  in
  let block_failed reason : Event.t =
    Block_failed { key = hash Block_key.of_bytes 1; reason }
  in
  let merkle : Rpc.merkle_address = { depth = 9; path = "\001\128" } in
  List.concat
    [
      [
        connected "1.2.3.4" 65535 Direction.Dialed Transport.Quic;
        connected "::1" 8302 Direction.Accepted Transport.Webrtc;
      ];
      List.map disconnected
        [
          Close_reason.Unspecified;
          Wrong_chain;
          Wrong_identity;
          Self_connection;
          Capacity;
          Duplicate;
          Banned;
          Shutdown;
          Incompatible_version;
          Hello_too_long;
          Repeated_hello;
          Hello_timeout;
          Unsupported_protocol;
          Stalled;
          Too_slow;
          Idle_timeout;
          Violation "rule";
          Malformed_hello "hello";
          Unsuitable_certificate "certificate";
          Lost "reset";
          Authentication_failed "a reflection";
          Other { code = 99; text = "later" };
        ];
      List.map dial_failed
        [
          Dial_failure.Timed_out;
          Not_dialed "a dial to the peer is under way";
          Refused_peer Wrong_identity;
          Closed_by_peer Wrong_chain;
          Unreachable "no transport for this kind of address";
        ];
      [
        Best_tip
          {
            peer;
            block = bytes;
            key = hash Block_key.of_bytes 1;
            previous_state_hash = hash State_hash.of_bytes 2;
          };
        Header
          {
            peer;
            key = hash Block_key.of_bytes 1;
            height = 0xffff_ffff;
            previous_state_hash = hash State_hash.of_bytes 2;
            header = bytes;
          };
        block `List;
        block `Chunks;
        block `Whole;
        block_failed `Unavailable;
        block_failed `No_body;
        block_failed `Too_many;
        Transaction
          {
            peer;
            info =
              {
                hash =
                  ok
                    (Transaction_hash.of_bytes
                       (filled 4 255 ^ filled 28 0));
                fee_payer = account_key 2 1;
                fee = -1L;
                nonce = 0xffff_ffff;
              };
          };
        Work
          {
            peer;
            info = { job_id = job_id 3; fee = 4L; prover = account_key 5 0 };
          };
        Commitment
          {
            peer;
            commitment =
              {
                timestamp_ms = 6L;
                job_id = job_id 3;
                fee = 4L;
                snarker = account_key 5 0;
              };
          };
      ];
      List.map request
        [
          Incoming.Rpc Best_tip_with_proof;
          Rpc Initial_peers;
          Rpc (Ledger_query (ledger_hash, Num_accounts));
          Rpc (Ledger_query (ledger_hash, What_child_hashes merkle));
          Rpc (Ledger_query (ledger_hash, What_contents merkle));
          Rpc (Staged_ledger_aux state_hash);
          Rpc (Block state_hash);
          Rpc (Work (job_id 1));
          Rpc (Transaction transaction_hash);
          Staged_ledger_parts state_hash;
          Extension
            {
              name = "name";
              version = 3;
              body = bytes;
              max_answer = 0xffff_ffff;
            };
        ];
      [ Request_cancelled { peer; responder }; response (Ok (Rpc None)) ];
      List.map reply
        [
          Rpc.Best_tip_with_proof bytes;
          Ledger_answer bytes;
          Staged_ledger_aux bytes;
          Block bytes;
          Work bytes;
          Transaction bytes;
          Initial_peers [ address; address ];
        ];
      List.map response
        [
          Ok (Request.Staged_ledger_parts None);
          Ok (Staged_ledger_parts (Some 28));
          Ok (Extension (Ok bytes));
          Ok (Extension (Error Unknown));
          Ok (Extension (Error Busy));
          Ok (Extension (Error (Failed "why")));
          Error Timeout;
          Error Dropped;
          Error Disconnected;
        ];
      List.mapi part
        [
          Staged_ledger_part.Base;
          Scan_state_base;
          Previous_incomplete_zkapp_updates;
          Scan_state_tree;
        ];
      [ Task_failed { message = "panic" } ];
    ]

external events : unit -> (Event.t list, Error.t) result
  = "mina_p2p_test_events"

let event = Alcotest.testable Event.pp ( = )

(* Often enough for collections to fall into each step of building them. *)
let every_event () =
  for _ = 1 to 200 do
    Alcotest.(check (list event)) "events" expected (ok (events ()))
  done

external fill : int -> (unit, Error.t) result = "mina_p2p_test_fill"

external take : int -> (Event.t list, Error.t) result = "mina_p2p_test_take"

let batches () =
  let count = 10_000 in
  ok (fill count);
  let rec go number =
    match ok (take 97) with
    | [] -> Alcotest.(check int) "events" count number
    | batch ->
        let check number : Event.t -> int = function
          | Transaction { info = { nonce; hash; _ }; _ } ->
              Alcotest.(check int) "in order" number nonce;
              let prefix = String.sub (Transaction_hash.to_bytes hash) 0 4 in
              Alcotest.(check int)
                "whole" number
                (Int32.to_int (String.get_int32_be prefix 0));
              number + 1
          | _ -> Alcotest.fail "another event"
        in
        go (List.fold_left check number batch)
  in
  go 0

(* {1 From OCaml to Rust and back} *)

open QCheck

let octets length = Gen.string_size ~gen:Gen.char (Gen.return length)

let id of_bytes length =
  Gen.map (fun bytes -> ok (of_bytes bytes)) (octets length)

let gen_account_key =
  Gen.map2
    (fun x odd ->
      ok (Account_key.of_bytes (x ^ if odd then "\001" else "\000")))
    (octets 32) Gen.bool

let gen_payload =
  Gen.map Payload.of_string
    (Gen.oneof
       [ Gen.small_string ~gen:Gen.char; octets 65_535; octets 65_536 ])

let gen_u32 = Gen.map (fun n -> n land 0xffff_ffff) Gen.int

let gen_merkle : Rpc.merkle_address Gen.t =
  Gen.(
    int_bound 255 >>= fun depth ->
    map
      (fun path : Rpc.merkle_address -> { depth; path })
      (octets ((depth + 7) / 8)))

let gen_query : Rpc.query Gen.t =
  let state_hash = id State_hash.of_bytes 32 in
  Gen.oneof
    [
      Gen.oneofl ([ Best_tip_with_proof; Initial_peers ] : Rpc.query list);
      Gen.map2
        (fun ledger query -> Rpc.Ledger_query (ledger, query))
        (id Ledger_hash.of_bytes 32)
        (Gen.oneof
           [
             Gen.return Rpc.Num_accounts;
             Gen.map (fun merkle -> Rpc.What_child_hashes merkle) gen_merkle;
             Gen.map (fun merkle -> Rpc.What_contents merkle) gen_merkle;
           ]);
      Gen.map (fun hash : Rpc.query -> Staged_ledger_aux hash) state_hash;
      Gen.map (fun hash : Rpc.query -> Block hash) state_hash;
      Gen.map (fun job : Rpc.query -> Work job) (id Job_id.of_bytes 128);
      Gen.map
        (fun hash : Rpc.query -> Transaction hash)
        (id Transaction_hash.of_bytes 32);
    ]

let gen_request : Request.t Gen.t =
  Gen.oneof
    [
      Gen.map (fun query : Request.t -> Rpc query) gen_query;
      Gen.map
        (fun block : Request.t -> Staged_ledger_parts block)
        (id State_hash.of_bytes 32);
      Gen.map3
        (fun name (version, max_answer) body : Request.t ->
          Extension { name; version; body; max_answer; deadline = 1.5 })
        (Gen.small_string ~gen:Gen.printable)
        (Gen.pair gen_u32 gen_u32) gen_payload;
    ]

let gen_reply : Rpc.reply Gen.t =
  Gen.oneof
    (Gen.map
       (fun addresses -> Rpc.Initial_peers addresses)
       (Gen.list_size (Gen.int_bound 20) (Gen.return address))
    :: List.map
         (fun construct -> Gen.map construct gen_payload)
         [
           (fun payload -> Rpc.Best_tip_with_proof payload);
           (fun payload -> Ledger_answer payload);
           (fun payload -> Staged_ledger_aux payload);
           (fun payload -> Block payload);
           (fun payload -> Work payload);
           (fun payload -> Transaction payload);
         ])

let gen_part : Staged_ledger_part.t Gen.t =
  Gen.map2
    (fun kind body : Staged_ledger_part.t -> { kind; body })
    (Gen.oneofl
       [
         Staged_ledger_part.Base;
         Scan_state_base;
         Previous_incomplete_zkapp_updates;
         Scan_state_tree;
       ])
    gen_payload

let gen_parts = Gen.list_size (Gen.int_bound 5) gen_part

let gen_response : Incoming.response Gen.t =
  let refusal =
    Gen.oneof
      [
        Gen.oneofl [ Refusal.Unknown; Busy ];
        Gen.map
          (fun why -> Refusal.Failed why)
          (Gen.small_string ~gen:Gen.printable);
      ]
  in
  Gen.oneof
    [
      Gen.map (fun reply : Incoming.response -> Rpc reply) (Gen.opt gen_reply);
      Gen.map
        (fun parts : Incoming.response -> Staged_ledger_parts parts)
        (Gen.opt gen_parts);
      Gen.map
        (fun payload : Incoming.response -> Extension (Ok payload))
        gen_payload;
      Gen.map
        (fun refusal : Incoming.response -> Extension (Error refusal))
        refusal;
    ]

let gen_transaction_info : Transaction_info.t Gen.t =
  Gen.map3
    (fun hash fee_payer (fee, nonce) : Transaction_info.t ->
      { hash; fee_payer; fee; nonce })
    (id Transaction_hash.of_bytes 32)
    gen_account_key
    (Gen.pair Gen.ui64 gen_u32)

let gen_work_info : Work_info.t Gen.t =
  Gen.map3
    (fun job_id fee prover : Work_info.t -> { job_id; fee; prover })
    (id Job_id.of_bytes 128) Gen.ui64 gen_account_key

let gen_commitment : Commitment.t Gen.t =
  Gen.map3
    (fun (timestamp_ms, fee) job_id snarker : Commitment.t ->
      { timestamp_ms; job_id; fee; snarker })
    (Gen.pair Gen.ui64 Gen.ui64)
    (id Job_id.of_bytes 128) gen_account_key

external echo_request : Request.t -> (Incoming.t, Error.t) result
  = "mina_p2p_test_echo_request"

external echo_response :
  Incoming.response ->
  ((Request.answer, Request.failure) result, Error.t) result
  = "mina_p2p_test_echo_response"

external echo_parts :
  Staged_ledger_part.t list -> (Staged_ledger_part.t list, Error.t) result
  = "mina_p2p_test_echo_parts"

external echo_transaction :
  Transaction_info.t -> (Transaction_info.t, Error.t) result
  = "mina_p2p_test_echo_transaction"

external echo_work : Work_info.t -> (Work_info.t, Error.t) result
  = "mina_p2p_test_echo_work"

external echo_commitment : Commitment.t -> (Commitment.t, Error.t) result
  = "mina_p2p_test_echo_commitment"

(* Payloads that were handed over cannot be compared. *)
let plain payload = Payload.of_string (Payload.to_string payload)

let plain_reply : Rpc.reply -> Rpc.reply = function
  | Best_tip_with_proof payload -> Best_tip_with_proof (plain payload)
  | Ledger_answer payload -> Ledger_answer (plain payload)
  | Staged_ledger_aux payload -> Staged_ledger_aux (plain payload)
  | Block payload -> Block (plain payload)
  | Work payload -> Work (plain payload)
  | Transaction payload -> Transaction (plain payload)
  | Initial_peers _ as reply -> reply

let plain_part (part : Staged_ledger_part.t) : Staged_ledger_part.t =
  { part with body = plain part.body }

let request_crosses (request : Request.t) =
  match (request, ok (echo_request request)) with
  | Rpc query, Rpc echoed -> query = echoed
  | Staged_ledger_parts block, Staged_ledger_parts echoed -> block = echoed
  | Extension { name; version; body; max_answer; _ }, Extension echoed ->
      name = echoed.name && version = echoed.version
      && max_answer = echoed.max_answer
      && body = plain echoed.body
  | _ -> false

let response_crosses (response : Incoming.response) =
  match (response, ok (echo_response response)) with
  | Rpc reply, Ok (Rpc echoed) -> reply = Option.map plain_reply echoed
  | Staged_ledger_parts parts, Ok (Staged_ledger_parts echoed) ->
      Option.map List.length parts = echoed
  | Extension result, Ok (Extension echoed) ->
      result = Result.map plain echoed
  | _ -> false

let crosses name gen property =
  Alcotest.test_case (name ^ " crosses both ways") `Quick (fun () ->
      Test.check_exn (Test.make ~count:100 ~name (make gen) property))

(* {1 Texts} *)

let texts () =
  let round_trip (module Id : ID) =
    let id = ok (Id.of_bytes (filled Id.length 1)) in
    let text = Id.to_string id in
    Alcotest.(check string)
      text
      (Id.to_bytes id)
      (Id.to_bytes (ok (Id.of_string text)));
    let refused = function
      | Error (Error.Invalid _) -> ()
      | _ -> Alcotest.failf "accepted in place of %s" text
    in
    refused (Id.of_string "");
    refused (Id.of_string (text ^ "1"));
    refused (Id.of_string "\255");
    refused (Id.of_bytes (filled (Id.length - 1) 1));
    refused (Id.of_bytes (filled (Id.length + 1) 1))
  in
  List.iter round_trip
    [
      (module Peer_id);
      (module Chain_id);
      (module State_hash);
      (module Ledger_hash);
      (module Transaction_hash);
      (module Job_id);
      (module Block_key);
      (module Item_id);
      (module Account_key);
    ];
  (* A peer id of the network, in both forms. *)
  let seed = filled 32 1 in
  let secret = ok (Secret_key.of_seed seed) in
  let id = Secret_key.peer_id secret in
  let libp2p = Peer_id.to_libp2p id in
  Alcotest.(check string)
    "libp2p" "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5" libp2p;
  Alcotest.(check bool)
    "read back" true
    (Peer_id.equal id (ok (Peer_id.of_string libp2p)));
  let text = Secret_key.to_string secret in
  Alcotest.(check string)
    "secret key" seed
    (Secret_key.to_seed (ok (Secret_key.of_string text)));
  let of_rust = Peer_id.to_string id in
  let address address =
    let parsed = ok (Address.of_string address) in
    Alcotest.(check string) "address" address (Address.to_string parsed);
    Alcotest.(check bool)
      "of the peer" true
      (Peer_id.equal id (Address.peer_id parsed))
  in
  address ("/ip4/203.0.113.7/udp/8302/mina-quic/p2p/" ^ libp2p);
  address ("/ip6/::1/udp/8302/mina-quic/p2p/" ^ libp2p);
  address ("/dns4/seed.example.com/udp/8302/mina-quic/p2p/" ^ libp2p);
  address ("/ip4/203.0.113.7/tcp/8302/p2p/" ^ libp2p);
  address ("/ip6/::1/tcp/8302/p2p/" ^ libp2p);
  address ("/dns4/seed.example.com/tcp/8302/p2p/" ^ libp2p);
  address ("/" ^ of_rust ^ "/http/127.0.0.1/8302");
  address ("/" ^ of_rust ^ "/http/[2001:db8::1]/8302");
  address ("/" ^ of_rust ^ "/https/signal.example.com/443");
  address ("/" ^ of_rust ^ "/https_proxy/7/signal.example.com/443");
  address ("/" ^ of_rust ^ "/p2p/" ^ of_rust);
  let read_as expected text =
    Alcotest.(check string)
      text expected
      (Address.to_string (ok (Address.of_string text)))
  in
  let to_udp name = name ^ "/udp/8302/mina-quic/p2p/" ^ libp2p in
  read_as (to_udp "/dns4/a.example") (to_udp "/dns6/A.Example");
  read_as
    ("/" ^ of_rust ^ "/http/127.0.0.1/8302")
    ("/" ^ libp2p ^ "/http/127.0.0.1/8302");
  let refused text why =
    match Address.of_string text with
    | Error (Invalid { what; why = said }) ->
        Alcotest.(check string) text "address" what;
        if not (contains said why) then Alcotest.failf "%s: %s" text said
    | _ -> Alcotest.failf "accepted as an address: %s" text
  in
  refused "" "starts with `/`";
  refused "203.0.113.7:8302" "starts with `/`";
  refused "/ip4/1.2.3.4" "ends where";
  refused ("/ip4/1.2.3.4/udp/8302/mina-quic/p2p/" ^ of_rust) "";
  refused ("/ip4/1.2.3.4/udp/8302/quic-v1/p2p/" ^ libp2p) "quic-v1";
  refused ("/" ^ of_rust ^ "/http/127.0.0.1") "a port is expected";
  refused ("/" ^ of_rust ^ "/http/127.0.0.1/65536") "";
  refused ("/" ^ of_rust ^ "/ftp/127.0.0.1/8302") "`ftp`";
  refused ("/" ^ of_rust ^ "/https_proxy/65536/a.example/443") ""

let configuration () =
  let refused ?chain_id:(_ = chain_id) what f =
    match f () with
    | Error (Error.Invalid { what = named; _ }) ->
        Alcotest.(check string) "what" what named
    | Error error -> Alcotest.failf "%s: %a" what Error.pp error
    | Ok _ -> Alcotest.failf "%s was accepted" what
  in
  let secret_key = ok (Secret_key.generate ()) in
  let limits what limits =
    refused what (fun () ->
        Mina_p2p.create ~limits ~secret_key ~chain_id ())
  in
  refused "socket address" (fun () ->
      Mina_p2p.create ~listen:[ Unix.ADDR_UNIX "path" ] ~secret_key ~chain_id
        ());
  refused "agent" (fun () ->
      Mina_p2p.create ~agent:(filled 65 65) ~secret_key ~chain_id ());
  refused "extension rpc" (fun () ->
      let extension_rpcs = [ Extension_rpc.make ~version:1 "" ] in
      Mina_p2p.create ~extension_rpcs ~secret_key ~chain_id ());
  (* What cannot be used is named, also where only a type is at fault. *)
  refused "port" (fun () ->
      let listen = [ Unix.ADDR_INET (Unix.inet_addr_any, 65_536) ] in
      Mina_p2p.create ~listen ~secret_key ~chain_id ());
  refused "agent" (fun () ->
      Mina_p2p.create ~agent:"\255" ~secret_key ~chain_id ());
  refused "version" (fun () ->
      let extension_rpcs = [ Extension_rpc.make ~version:(-1) "name" ] in
      Mina_p2p.create ~extension_rpcs ~secret_key ~chain_id ());
  refused "transports" (fun () ->
      Mina_p2p.create ~transports:[] ~secret_key ~chain_id ());
  refused "transports" (fun () ->
      Mina_p2p.create ~transports:[ Quic; Quic ] ~secret_key ~chain_id ());
  let signaling = Unix.ADDR_INET (Unix.inet_addr_loopback, 0) in
  refused "signaling" (fun () ->
      Mina_p2p.create ~transports:[ Quic ] ~signaling ~secret_key ~chain_id ());
  refused "stun_servers" (fun () ->
      let stun_servers = [ ("not a host", 3478) ] in
      Mina_p2p.create ~stun_servers ~secret_key ~chain_id ());
  refused "stun_servers" (fun () ->
      let stun_servers = [ ("stun.example.com", 65_536) ] in
      Mina_p2p.create ~stun_servers ~secret_key ~chain_id ());
  refused "stun_servers" (fun () ->
      let stun_servers = [ ("stun.example.com", 0) ] in
      Mina_p2p.create ~stun_servers ~secret_key ~chain_id ());
  refused "discover_peers" (fun () ->
      Mina_p2p.create ~discover_peers:(-1) ~secret_key ~chain_id ());
  refused "discover_peers" (fun () ->
      Mina_p2p.create ~transports:[ Quic ] ~discover_peers:1 ~secret_key
        ~chain_id ());
  limits "peers" (Limits.make ~peers:(-1) ());
  limits "block" (Limits.make ~block:0x1_0000_0000 ());
  (* More than fits a frame. *)
  limits "block" (Limits.make ~block:0x200_0000 ());
  limits "work" (Limits.make ~work:65_537 ());
  limits "extension_query" (Limits.make ~extension_query:0x200_0001 ());
  limits "direct_len" (Limits.make ~direct_len:0x10_0001 ());
  limits "direct_peers" (Limits.make ~direct_peers:(-1) ());
  limits "idle_timeout" (Limits.make ~idle_timeout:Float.nan ());
  (* Without end, and more than clocks can count. *)
  limits "keep_alive_interval" (Limits.make ~keep_alive_interval:0. ());
  limits "authentication_timeout" (Limits.make ~authentication_timeout:1e19 ());
  limits "keep_alive_interval"
    (Limits.make ~idle_timeout:5. ~keep_alive_interval:5. ());
  ignore
    (ok
       (Mina_p2p.create
          ~limits:
            (Limits.make ~peers:1 ~idle_timeout:7. ~work:65_536
               ~extension_query:0x200_0000 ~direct_len:0x10_0000
               ~direct_peers:0 ())
          ~compact_blocks:false ~dummy_proof:"\000\255"
          ~transports:[ Webrtc; Quic ] ~signaling
          ~stun_servers:[ ("stun.example.com", 3478); ("[::1]", 3478) ]
          ~trusted_proxies:[ Unix.inet6_addr_loopback ] ~discover_peers:8
          ~take_offers:false ~introduce:false
          ~agent:(filled 64 65) ~secret_key ~chain_id ()))

let tests =
  [
    Alcotest.test_case "every event crosses" `Quick every_event;
    Alcotest.test_case "batches are in order" `Quick batches;
    crosses "a request" gen_request request_crosses;
    crosses "a response" gen_response response_crosses;
    crosses "a list of parts" gen_parts (fun parts ->
        parts = List.map plain_part (ok (echo_parts parts)));
    crosses "a transaction's info" gen_transaction_info (fun info ->
        info = ok (echo_transaction info));
    crosses "a work's info" gen_work_info (fun info ->
        info = ok (echo_work info));
    crosses "a commitment" gen_commitment (fun commitment ->
        commitment = ok (echo_commitment commitment));
    Alcotest.test_case "texts are read and printed" `Quick texts;
    Alcotest.test_case "a configuration is checked" `Quick configuration;
  ]
