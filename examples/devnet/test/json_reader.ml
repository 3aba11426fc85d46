(* Strict JSON, read back: what the demo prints must be what others parse. *)

type t =
  | Null
  | Bool of bool
  | Number of float
  | String of string
  | List of t list
  | Object of (string * t) list

exception Error of int

let parse text =
  let pos = ref 0 in
  let fail () = raise (Error !pos) in
  let peek () = if !pos < String.length text then text.[!pos] else '\000' in
  let next () =
    let c = peek () in
    if !pos >= String.length text then fail ();
    incr pos;
    c
  in
  let expect c = if next () <> c then fail () in
  let rec space () =
    match peek () with
    | ' ' | '\n' | '\t' | '\r' ->
        incr pos;
        space ()
    | _ -> ()
  in
  let word word value =
    String.iter expect word;
    value
  in
  let number () =
    let start = !pos in
    let rec digits () =
      match peek () with
      | '0' .. '9' | '-' | '.' | 'e' | 'E' | '+' ->
          incr pos;
          digits ()
      | _ -> ()
    in
    digits ();
    match float_of_string_opt (String.sub text start (!pos - start)) with
    | Some n -> Number n
    | None -> fail ()
  in
  let string () =
    expect '"';
    let buffer = Buffer.create 16 in
    let rec go () =
      match next () with
      | '"' -> Buffer.contents buffer
      | '\000' .. '\031' -> fail ()
      | '\\' ->
          (match next () with
          | ('"' | '\\' | '/') as c -> Buffer.add_char buffer c
          | 'u' ->
              let code = int_of_string ("0x" ^ String.sub text !pos 4) in
              pos := !pos + 4;
              Buffer.add_utf_8_uchar buffer (Uchar.of_int code)
          | _ -> fail ());
          go ()
      | c ->
          Buffer.add_char buffer c;
          go ()
    in
    go ()
  in
  let rec value () =
    space ();
    let v =
      match peek () with
      | 'n' -> word "null" Null
      | 't' -> word "true" (Bool true)
      | 'f' -> word "false" (Bool false)
      | '"' -> String (string ())
      | '[' -> List (sequence '[' ']' value)
      | '{' -> Object (sequence '{' '}' field)
      | _ -> number ()
    in
    space ();
    v
  and field () =
    space ();
    let name = string () in
    space ();
    expect ':';
    (name, value ())
  and sequence : 'a. char -> char -> (unit -> 'a) -> 'a list =
   fun first last element ->
    expect first;
    space ();
    if peek () = last then (
      incr pos;
      [])
    else
      let rec go () =
        let e = element () in
        match next () with
        | ',' -> e :: go ()
        | c when c = last -> [ e ]
        | _ -> fail ()
      in
      go ()
  in
  let v = value () in
  if !pos <> String.length text then fail ();
  v
