open Mina_p2p
open Helper

let large = 1024 * 1024

let expected length = String.init length (fun index -> Char.chr (index mod 251))

(* Runs [f], and then finds all memory of payloads given back. What [f] made
   must not be reachable from the caller's frame, hence the attribute. *)
let returns_to_start f () =
  collect ();
  let start = live_bytes () in
  (Sys.opaque_identity f) ();
  collect ();
  Alcotest.(check int) "bytes of payloads left" start (live_bytes ())

let collected () =
  let make () =
    let payloads = List.init 50 (fun _ -> test_payload large) in
    let views = List.map Payload.to_bigstring payloads in
    let parts = List.map (Payload.sub ~pos:10 ~len:100_000) payloads in
    Alcotest.(check bool) "held" true (live_bytes () >= 50 * large);
    ignore (Sys.opaque_identity (payloads, views, parts))
  in
  (make [@inlined never]) ()

(* Without the collector knowing of the memory, it would not run: a payload is a
   few words of OCaml's heap. *)
let collector_runs_by_itself () =
  let peak = ref 0 in
  for _ = 1 to 400 do
    ignore (Sys.opaque_identity (test_payload (2 * large)));
    peak := max !peak (live_bytes ())
  done;
  if !peak > 400 * large then
    Alcotest.failf "%d bytes of unreachable payloads were alive" !peak

let contents () =
  let check length =
    let payload = test_payload length in
    let text = expected length in
    let check = Alcotest.(check bool) (string_of_int length) true in
    check (Payload.length payload = length);
    check (String.equal (Payload.to_string payload) text);
    check (Bytes.equal (Payload.to_bytes payload) (Bytes.of_string text));
    let view = Payload.to_bigstring payload in
    check (Bigarray.Array1.dim view = length);
    check (String.equal (String.init length (Bigarray.Array1.get view)) text);
    if length >= 30 then (
      let part = Payload.sub payload ~pos:20 ~len:(length - 25) in
      check (Payload.length part = length - 25);
      let expected = String.sub text 20 (length - 25) in
      check (String.equal (Payload.to_string part) expected);
      let target = Bytes.make 12 '.' in
      Payload.blit part ~src_pos:1 target ~dst_pos:2 ~len:4;
      check
        (String.equal (Bytes.to_string target)
           (".." ^ String.sub text 21 4 ^ "......")))
  in
  List.iter check [ 0; 1; 30; 1000; 65_535; 65_536; 65_537; large ]

let views_survive () =
  let part () =
    let payload = test_payload large in
    let view = Payload.to_bigstring payload in
    Bigarray.Array1.sub (Bigarray.Array1.sub view 1000 100_000) 10 10
  in
  let part = (part [@inlined never]) () in
  collect ();
  (* Something else would be where freed memory was. *)
  let others = List.init 20 (fun _ -> test_payload large) in
  Alcotest.(check string)
    "the bytes" (String.sub (expected large) 1010 10)
    (String.init 10 (Bigarray.Array1.get part));
  ignore (Sys.opaque_identity others)

let large_is_shared () =
  let payload = test_payload (4 * large) in
  let before = Gc.allocated_bytes () in
  let view = Payload.to_bigstring payload in
  let part = Payload.sub payload ~pos:1 ~len:large in
  let allocated = Gc.allocated_bytes () -. before in
  Alcotest.(check bool) "nothing copied" true (allocated < 10_000.);
  ignore (Sys.opaque_identity (view, part))

let release () =
  let payload = test_payload large in
  let start = live_bytes () in
  let share () =
    let view = Payload.to_bigstring payload in
    Alcotest.check unit "a bigstring" (Error Payload_shared)
      (Payload.release payload);
    ignore (Sys.opaque_identity view);
    let part = Payload.sub payload ~pos:0 ~len:10 in
    Alcotest.check unit "a part" (Error Payload_shared)
      (Payload.release payload);
    ignore (Sys.opaque_identity part)
  in
  (share [@inlined never]) ();
  Alcotest.(check int) "nothing done" start (live_bytes ());
  collect ();
  Alcotest.check unit "alone" (Ok ()) (Payload.release payload);
  Alcotest.(check int) "given back at once" (start - large) (live_bytes ());
  Alcotest.check unit "again" (Ok ()) (Payload.release payload);
  Alcotest.check unit "small" (Ok ()) (Payload.release (test_payload 10));
  let used name f =
    match f () with
    | exception Invalid_argument _ -> ()
    | _ -> Alcotest.failf "%s of a released payload" name
  in
  used "length" (fun () -> ignore (Payload.length payload));
  used "to_string" (fun () -> ignore (Payload.to_string payload));
  used "to_bigstring" (fun () -> ignore (Payload.to_bigstring payload));
  used "sub" (fun () -> ignore (Payload.sub payload ~pos:0 ~len:0));
  (* What holds it can still be printed. *)
  let request : Incoming.t =
    Extension { name = "n"; version = 1; body = payload; max_answer = 1 }
  in
  Alcotest.(check string)
    "printed" "\"n\" version 1 with released bytes"
    (Format.asprintf "%a" Incoming.pp request)

let ranges () =
  let check payload =
    let raises f =
      match f () with
      | exception Invalid_argument _ -> ()
      | _ -> Alcotest.fail "a range outside"
    in
    let length = Payload.length payload in
    let target = Bytes.create 10 in
    let blit src_pos dst_pos len () =
      Payload.blit payload ~src_pos target ~dst_pos ~len
    in
    List.iter raises
      [
        (fun () -> ignore (Payload.sub payload ~pos:(-1) ~len:1));
        (fun () -> ignore (Payload.sub payload ~pos:0 ~len:(-1)));
        (fun () -> ignore (Payload.sub payload ~pos:1 ~len:length));
        (fun () -> ignore (Payload.sub payload ~pos:max_int ~len:2));
        blit (-1) 0 1;
        blit (length - 1) 0 2;
        blit 0 9 2;
        blit 0 (-1) 2;
        blit 0 max_int 2;
        blit 0 0 (-1);
      ]
  in
  check (test_payload 1000);
  check (test_payload large);
  check (Payload.of_bigstring (Payload.to_bigstring (test_payload large)))

let case name f = Alcotest.test_case name `Quick f

let tests =
  [
    case "have their bytes" contents;
    case "of 64 KiB and more are not copied" large_is_shared;
    case "are freed when collected" (returns_to_start collected);
    case "make the collector run" (returns_to_start collector_runs_by_itself);
    case "outlive themselves in sub-arrays" (returns_to_start views_survive);
    case "are released when nobody shares them" (returns_to_start release);
    case "check ranges" (returns_to_start ranges);
  ]
