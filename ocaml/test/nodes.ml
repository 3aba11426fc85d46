(* Nodes in one process. *)

open Mina_p2p
open Helper

let life () =
  let node = create ~listen:[] () in
  let check = Alcotest.check unit in
  let ignored value = Result.map ignore value in
  check "poll before start" (Error Not_started)
    (ignored (poll node ~max:1));
  check "peers before start" (Error Not_started) (ignored (peers node));
  check "start" (Ok ()) (Mina_p2p.start node);
  check "start again" (Error Already_started) (Mina_p2p.start node);
  (match poll node ~max:0 with
  | Error (Invalid _) -> ()
  | _ -> Alcotest.fail "polled for no events");
  check "close" (Ok ()) (close node);
  check "close again" (Error Closed) (close node);
  check "start after close" (Error Closed) (Mina_p2p.start node);
  check "poll after close" (Error Closed) (ignored (poll node ~max:1));
  check "event_fd after close" (Error Closed) (ignored (event_fd node));
  check "peers after close" (Error Closed) (ignored (peers node));
  check "set_best_tip after close" (Error Closed)
    (ignored
       (set_best_tip node ~state_hash:(state_hash 1)
          (Payload.of_string (block ~parent:0 100))));
  (* Never started. *)
  let node = create () in
  check "close without start" (Ok ()) (close node);
  check "and again" (Error Closed) (close node)

let address_in_use () =
  with_nodes [ start ] @@ function
  | [ a ] -> (
      (* Its address is /ip4/127.0.0.1/udp/PORT/.. *)
      let port =
        match String.split_on_char '/' (Address.to_string (address a)) with
        | _ :: _ :: _ :: "udp" :: port :: _ -> int_of_string port
        | _ -> Alcotest.fail "the address"
      in
      let listen = [ Unix.ADDR_INET (Unix.inet_addr_loopback, port) ] in
      let b = create ~listen () in
      (match Mina_p2p.start b with
      | Error (Start _) -> ()
      | _ -> Alcotest.fail "the address was bound twice");
      match Mina_p2p.start b with
      | Error (Start _) -> ok (close b)
      | _ -> Alcotest.fail "it cannot be tried again")
  | _ -> assert false

let signaling_in_use () =
  let taken = Unix.socket ~cloexec:true PF_INET SOCK_STREAM 0 in
  Fun.protect ~finally:(fun () -> Unix.close taken) @@ fun () ->
  Unix.bind taken loopback;
  Unix.listen taken 1;
  let node = create ~signaling:(Unix.getsockname taken) () in
  match Mina_p2p.start node with
  | Error (Start _) -> ok (close node)
  | _ -> Alcotest.fail "the address was bound twice"

(* Both transports are on, and each is told of. *)
let own_addresses () =
  let text = "/2bQzyYx3fUxa1JReDLrDjuN8gS9R3QZbzi24E26DLdM55t6BLJT" in
  let external_ = ok (Address.of_string (text ^ "/https/a.example/443")) in
  let start () =
    start ~signaling:loopback ~external_addresses:[ external_ ] ()
  in
  with_nodes [ start ] @@ function
  | [ a ] ->
      let own = Peer_id.to_string (peer_id a.node) in
      let forms address =
        match String.split_on_char '/' (Address.to_string address) with
        | [ ""; "ip4"; "127.0.0.1"; "udp"; port; "mina-quic"; "p2p"; _ ] ->
            Alcotest.(check bool) "a real port" true (int_of_string port > 0);
            "quic"
        | [ ""; peer; "http"; "127.0.0.1"; port ] when peer = own ->
            Alcotest.(check bool) "a real port" true (int_of_string port > 0);
            "http"
        | _ when Address.equal address external_ -> "external"
        | _ -> Address.to_string address
      in
      Alcotest.(check (list string))
        "addresses"
        [ "external"; "quic"; "http" ]
        (List.map forms (ok (listen_addresses a.node)))
  | _ -> assert false

let arrived : Event.t -> (Peer_id.t * Direction.t * Transport.t) option =
  function
  | Peer_connected { peer; direction; transport; _ } ->
      Some (peer, direction, transport)
  | _ -> None

(* Whoever has several addresses of a peer takes the transport it prefers. *)
let preferred () =
  let both () = start ~signaling:loopback () in
  let dialed_by transports =
    with_nodes [ both ] @@ function
    | [ a ] ->
        let initial_peers = ok (listen_addresses a.node) in
        with_nodes [ start ~transports ~initial_peers ] (function
          | [ b ] ->
              let who, direction, transport = wait b arrived in
              let check = Alcotest.(check bool) in
              check "who" true (Peer_id.equal who (peer_id a.node));
              check "who dialed" true (direction = Dialed);
              check "the other end" true
                (wait a arrived = (peer_id b.node, Accepted, transport));
              Transport.to_string transport
          | _ -> assert false)
    | _ -> assert false
  in
  let check transports name =
    Alcotest.(check string) name name (dialed_by transports)
  in
  check [ Webrtc ] "webrtc";
  check [ Quic ] "quic";
  check [ Webrtc; Quic ] "webrtc"

let never_dialed () =
  with_nodes [ start; start_webrtc; start ~transports:[ Quic ] ] @@ function
  | [ a; webrtc; quic ] ->
      let unreachable node address =
        (match dial node.node address with
        | Ok () -> ()
        | Error error -> Alcotest.failf "refused: %a" Error.pp error);
        match
          wait node (function
            | Dial_failed { address = which; reason } -> Some (which, reason)
            | _ -> None)
        with
        | which, Unreachable _ ->
            Alcotest.(check bool) "which" true (Address.equal which address)
        | _, reason -> Alcotest.failf "%a" Dial_failure.pp reason
      in
      let id = peer_id webrtc.node in
      let of_peer rest = ok (Address.of_string rest) in
      let relay = Peer_id.to_string (peer_id quic.node) in
      unreachable a
        (of_peer (Printf.sprintf "/%s/p2p/%s" (Peer_id.to_string id) relay));
      unreachable a
        (of_peer ("/ip4/127.0.0.1/tcp/8302/p2p/" ^ Peer_id.to_libp2p id));
      (* Of a transport that is off. *)
      unreachable quic (address webrtc);
      unreachable webrtc (address quic)
  | _ -> assert false

(* Two nodes that know only a third become each other's peers. *)
let introduced () =
  with_nodes [ start_webrtc ] @@ function
  | [ relay ] -> (
      let initial_peers = ok (listen_addresses relay.node) in
      let hidden ?discover_peers () =
        start ~transports:[ Transport.Webrtc ] ~listen:[] ~initial_peers
          ?discover_peers ()
      in
      with_nodes [ hidden ?discover_peers:None; hidden ~discover_peers:2 ]
      @@ function
      | [ a; b ] ->
          let is_other id event =
            match arrived event with
            | Some (peer, direction, Webrtc) when Peer_id.equal peer id ->
                Some direction
            | _ -> None
          in
          let check = Alcotest.(check bool) in
          check "b dialed" true
            (wait b (is_other (peer_id a.node)) = Direction.Dialed);
          check "a accepted" true
            (wait a (is_other (peer_id b.node)) = Direction.Accepted)
      | _ -> assert false)
  | _ -> assert false

let abandoned () =
  with_nodes [ start ] @@ function
  | [ b ] -> (
      let abandon () =
        let a = start () in
        connect a b;
        Unix.close a.fd
      in
      (abandon [@inlined never]) ();
      collect ();
      match wait b disconnected with
      | Shutdown -> ()
      | reason -> Alcotest.failf "%a" Close_reason.pp reason)
  | _ -> assert false

let block_and_items ~start ~by () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      connect a b;
      List.iter
        (fun { node; _ } ->
          match ok (peers node) with
          | [ { Peer.transport; _ } ] ->
              Alcotest.(check string)
                "the transport" (Transport.to_string by)
                (Transport.to_string transport)
          | _ -> Alcotest.fail "not one peer")
        [ a; b ];
      let bytes = block ~parent:1 2_000_000 in
      let key =
        ok
          (set_best_tip a.node ~state_hash:(state_hash 2)
             (Payload.of_string bytes))
      in
      let received, its_key, parent =
        wait b (function
          | Best_tip { block; key; previous_state_hash; _ } ->
              Some (block, key, previous_state_hash)
          | _ -> None)
      in
      let check = Alcotest.(check bool) in
      check "the block" true (String.equal bytes (Payload.to_string received));
      check "its key" true (Block_key.equal key its_key);
      check "its parent" true (State_hash.equal parent (state_hash 1));
      (* Passed on without a copy, as a bigstring and as itself. *)
      ignore (ok (set_best_tip b.node ~state_hash:(state_hash 2) received));
      let info = transaction_info 1 in
      let transaction = String.make 1000 't' in
      let added =
        add_transaction a.node info (Payload.of_string transaction)
      in
      Alcotest.(check bool) "added" true (ok added);
      let told =
        wait b (function Transaction { info; _ } -> Some info | _ -> None)
      in
      check "the info" true (info = told);
      let request = ok (fetch_transaction b.node told.hash) in
      let answer =
        wait b (function
          | Response { request = id; answer; _ } ->
              if Request_id.equal id request then Some answer else None
          | _ -> None)
      in
      (match answer with
      | Ok (Rpc (Some (Transaction body))) ->
          Alcotest.(check string)
            "the transaction" transaction (Payload.to_string body)
      | _ -> Alcotest.fail "not a transaction");
      let work : Work_info.t =
        {
          job_id = ok (Job_id.of_bytes (String.make 128 'j'));
          fee = 1L;
          prover = account_key;
        }
      in
      let proof = String.make 60_000 'p' in
      let view = Payload.to_bigstring (Payload.of_string proof) in
      ignore (ok (add_work a.node work (Payload.of_bigstring view)));
      let told = wait b (function Work { info; _ } -> Some info | _ -> None) in
      check "the work's info" true (work = told);
      ignore (ok (fetch_work b.node told.job_id));
      (match wait b response with
      | Ok (Rpc (Some (Work body))) ->
          Alcotest.(check string) "the work" proof (Payload.to_string body);
          Alcotest.check unit "released" (Ok ()) (Payload.release body)
      | _ -> Alcotest.fail "not a work");
      let commitment : Commitment.t =
        {
          timestamp_ms = 5L;
          job_id = work.job_id;
          fee = 1L;
          snarker = account_key;
        }
      in
      ignore (ok (add_commitment a.node commitment));
      let told =
        wait b (function
          | Commitment { commitment; _ } -> Some commitment
          | _ -> None)
      in
      check "the commitment" true (commitment = told);
      check "removed" true (ok (remove_transaction a.node info.hash));
      check "not again" false (ok (remove_transaction a.node info.hash));
      check "work removed" true (ok (remove_work a.node work.job_id));
      check "commitment removed" true
        (ok (remove_commitment a.node work.job_id));
      (match ok (peers b.node) with
      | [ peer ] ->
          check "the peer" true (Peer_id.equal peer.id (peer_id a.node));
          check "its tip" true (peer.last_tip = Some key);
          check "bytes" true (peer.wire_bytes_received > 2_000_000);
          check "on the channel" true
            (match List.assoc_opt Channel.Best_tip peer.channels with
            | Some traffic -> traffic.received_bytes > 2_000_000
            | None -> false);
          check "permits" true (peer.permits_out.transactions > 0)
      | peers -> Alcotest.failf "%d peers" (List.length peers))
  | _ -> assert false

let requests () =
  let extension_rpcs = [ Extension_rpc.make ~version:3 "reverse" ] in
  let server () = start ~extension_rpcs () in
  with_nodes [ start; server ] @@ function
  | [ a; b ] ->
      Alcotest.check unit "nobody to ask" (Error Not_connected)
        (Result.map ignore (fetch_block a.node (state_hash 1)));
      connect a b;
      let peer = peer_id b.node in
      let incoming () =
        wait b (function
          | Request { responder; request; _ } -> Some (responder, request)
          | _ -> None)
      in
      (* By name. *)
      let ask name =
        ok
          (request ~peer a.node
             (Extension
                {
                  name;
                  version = 3;
                  body = Payload.of_string "abc";
                  max_answer = 100;
                  deadline = 30.;
                }))
      in
      ignore (ask "reverse");
      let responder, asked = incoming () in
      (match asked with
      | Extension { name = "reverse"; version = 3; body; max_answer = 100 } ->
          Alcotest.(check string) "argument" "abc" (Payload.to_string body)
      | _ -> Alcotest.fail "another request");
      Alcotest.check unit "another kind" (Error Wrong_kind)
        (respond b.node responder (Rpc None));
      ok (respond b.node responder (Extension (Ok (Payload.of_string "cba"))));
      Alcotest.check unit "twice" (Error Gone)
        (respond b.node responder (Extension (Error Busy)));
      (match wait a response with
      | Ok (Extension (Ok body)) ->
          Alcotest.(check string) "answer" "cba" (Payload.to_string body)
      | _ -> Alcotest.fail "another answer");
      ignore (ask "unknown");
      (match wait a response with
      | Ok (Extension (Error Unknown)) -> ()
      | _ -> Alcotest.fail "it was served");
      (* Of the pull protocol. *)
      ignore (ok (request a.node (Rpc Best_tip_with_proof)));
      let responder, asked = incoming () in
      Alcotest.(check bool) "asked" true (asked = Rpc Best_tip_with_proof);
      let proof = Payload.of_string (String.make 200_000 'p') in
      ok (respond b.node responder (Rpc (Some (Best_tip_with_proof proof))));
      (match wait a response with
      | Ok (Rpc (Some (Best_tip_with_proof body))) ->
          Alcotest.(check int) "answer" 200_000 (Payload.length body)
      | _ -> Alcotest.fail "another answer");
      (* Cancelled. *)
      let cancelled = ok (request a.node (Rpc Best_tip_with_proof)) in
      let responder, _ = incoming () in
      ok (cancel a.node cancelled);
      let told =
        wait b (function
          | Request_cancelled { responder; _ } -> Some responder
          | _ -> None)
      in
      Alcotest.(check bool) "told" true (Responder.equal responder told)
  | _ -> assert false

let connections () =
  with_nodes [ start; start; start ~chain_id:other_chain_id ] @@ function
  | [ a; b; stranger ] ->
      let peer = peer_id b.node in
      let failed node =
        wait node (function
          | Dial_failed { reason; _ } -> Some reason
          | _ -> None)
      in
      ok (dial a.node (address stranger));
      (match failed a with
      | Refused_peer Wrong_chain | Closed_by_peer Wrong_chain -> ()
      | reason -> Alcotest.failf "%a" Dial_failure.pp reason);
      (match dial a.node (address a) with
      | Error (Dial_refused _) -> ()
      | _ -> Alcotest.fail "dialed itself");
      connect a b;
      Alcotest.check unit "a stranger" (Error Not_connected)
        (disconnect a.node (peer_id stranger.node));
      ok (disconnect a.node peer);
      ignore (wait b disconnected);
      ignore (wait a disconnected);
      connect a b;
      ok (ban a.node peer ~seconds:3600.);
      (match wait b disconnected with
      | Banned -> ()
      | reason -> Alcotest.failf "%a" Close_reason.pp reason);
      (match ok (bans a.node) with
      | [ (banned, left) ] ->
          Alcotest.(check bool) "who" true (Peer_id.equal banned peer);
          Alcotest.(check bool) "how long" true (left > 3000. && left <= 3600.)
      | bans -> Alcotest.failf "%d bans" (List.length bans));
      Alcotest.(check bool) "lifted" true (ok (unban a.node peer));
      Alcotest.(check bool) "once" false (ok (unban a.node peer));
      (match ban a.node peer ~seconds:(-1.) with
      | Error (Invalid _) -> ()
      | _ -> Alcotest.fail "banned for less than no time");
      ignore (wait a disconnected);
      connect a b;
      ok (close b.node);
      (match wait a disconnected with
      | Shutdown -> ()
      | reason -> Alcotest.failf "%a" Close_reason.pp reason)
  | _ -> assert false

let waiting () =
  with_nodes [ start; start ] @@ function
  | [ a; b ] ->
      let readable fd =
        match Unix.select [ fd ] [] [] 0. with [], _, _ -> false | _ -> true
      in
      Alcotest.(check bool) "quiet" false (readable b.fd);
      connect a b;
      List.iter
        (fun number ->
          ignore
            (ok
               (add_transaction a.node (transaction_info number)
                  (Payload.of_string "transaction"))))
        (List.init 20 Fun.id);
      (* One event at a time: the descriptor stays readable while some wait. *)
      let rec take count =
        if count < 20 then (
          wait_readable b.fd;
          match ok (poll b.node ~max:1) with
          | [ Transaction _ ] -> take (count + 1)
          | [ _ ] | [] -> take count
          | _ -> Alcotest.fail "more than asked for")
      in
      take 0;
      Alcotest.(check bool)
        "nothing left" true
        (ok (poll b.node ~max:1) = [] || not (readable b.fd))
  | _ -> assert false

let close_during_poll () =
  for _ = 1 to 5 do
    let { node; fd; _ } = start () in
    let poller =
      Thread.create
        (fun () ->
          let rec go () =
            wait_readable fd;
            match poll node ~max:10 with
            | Ok _ -> go ()
            | Error Closed -> ()
            | Error error -> Alcotest.failf "%a" Error.pp error
          in
          go ())
        ()
    in
    let busy =
      Thread.create
        (fun () ->
          let rec go () =
            match peers node with
            | Ok _ ->
                Thread.yield ();
                go ()
            | Error Closed -> ()
            | Error error -> Alcotest.failf "%a" Error.pp error
          in
          go ())
        ()
    in
    let outcomes = [| Ok (); Ok () |] in
    let closers =
      List.map
        (Thread.create (fun index -> outcomes.(index) <- close node))
        [ 0; 1 ]
    in
    List.iter Thread.join (poller :: busy :: closers);
    Alcotest.check (Alcotest.list unit) "closed once"
      [ Ok (); Error Closed ]
      (List.sort compare (Array.to_list outcomes));
    (* No poll has taken the sign that the node is closed from others. *)
    wait_readable fd;
    Unix.close fd
  done

(* Nodes are a few words of OCaml's heap, and descriptors: the collector is to
   know that they are more than the words. *)
let abandoned_unstarted () =
  let descriptors () = Array.length (Sys.readdir "/proc/self/fd") in
  collect ();
  let start = descriptors () in
  for _ = 1 to 300 do
    ignore (Sys.opaque_identity (create ()))
  done;
  let held = descriptors () - start in
  if held > 200 then Alcotest.failf "%d descriptors of lost nodes" held

let read_file path =
  let channel = open_in path in
  Fun.protect
    ~finally:(fun () -> close_in channel)
    (fun () ->
      let rec go lines =
        match input_line channel with
        | line -> go (line :: lines)
        | exception End_of_file -> List.rev lines
      in
      go [])

(* On a thread of the node's a handler of OCaml's could not run: it must leave
   all signals to OCaml's threads. *)
let signals () =
  let threads () = Array.to_list (Sys.readdir "/proc/self/task") in
  let before = threads () in
  with_nodes [ start ] @@ fun _ ->
  let own = List.filter (fun id -> not (List.mem id before)) (threads ()) in
  Alcotest.(check bool) "threads" true (own <> []);
  let mask thread =
    let is_mask line =
      String.length line > 7 && String.sub line 0 7 = "SigBlk:"
    in
    let path = Printf.sprintf "/proc/self/task/%s/status" thread in
    let line = List.find is_mask (read_file path) in
    Scanf.sscanf line "SigBlk: %Lx" Fun.id
  in
  (* HUP, INT, USR1, USR2, PIPE, ALRM, TERM, CHLD, VTALRM, PROF, WINCH *)
  let signals = [ 1; 2; 10; 12; 13; 14; 15; 17; 26; 27; 28 ] in
  let check mask signal =
    let bit = Int64.shift_left 1L (signal - 1) in
    Alcotest.(check bool)
      (Printf.sprintf "signal %d" signal)
      true
      (Int64.logand mask bit <> 0L)
  in
  List.iter (fun thread -> List.iter (check (mask thread)) signals) own

let memory () =
  let start_bytes =
    collect ();
    live_bytes ()
  in
  let exchange () =
    with_nodes [ start; start ] @@ function
    | [ a; b ] ->
        connect a b;
        let rec announce number =
          if number < 10 then (
            let bytes = block ~parent:number 1_000_000 in
            ignore
              (ok
                 (set_best_tip a.node
                    ~state_hash:(state_hash (number + 1))
                    (Payload.of_string bytes)));
            let received = wait b best_tip in
            Alcotest.(check int) "length" 1_000_000 (Payload.length received);
            ignore
              (Sys.opaque_identity (Payload.to_bigstring received));
            announce (number + 1))
        in
        announce 0
    | _ -> assert false
  in
  (exchange [@inlined never]) ();
  collect ();
  Alcotest.(check int) "bytes of payloads left" start_bytes (live_bytes ())

let case name f = Alcotest.test_case name `Quick f

let tests =
  [
    case "live once" life;
    case "tell that an address is in use" address_in_use;
    case "tell that a signaling address is in use" signaling_in_use;
    case "tell their addresses of both transports" own_addresses;
    case "dial by the transport that they prefer" preferred;
    case "do not dial what no transport reaches" never_dialed;
    case "are introduced through a third" introduced;
    case "are closed when collected" abandoned;
    case "are collected though small" abandoned_unstarted;
    case "exchange a block and items"
      (block_and_items ~start:(fun () -> start ()) ~by:Transport.Quic);
    case "exchange them over WebRTC"
      (block_and_items ~start:start_webrtc ~by:Transport.Webrtc);
    case "ask and answer" requests;
    case "dial, disconnect and ban" connections;
    case "wake who waits" waiting;
    case "can be closed during polls" close_during_poll;
    case "leave signals to OCaml" signals;
    case "give all payloads back" memory;
  ]
