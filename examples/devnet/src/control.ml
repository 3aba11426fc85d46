type command =
  | Start of {
      chain_id : string;
      compact : bool;
      initial_peers : string list;
    }
  | Tip of string
  | Add of Item.t
  | Add_command of string
  | Add_completed_work of string
  | Lack of string list
  | Figures
  | Give_block of string
  | Give_item of string
  | Stop

type traffic = { sent : int; received : int }
type figures = { wire : traffic; channels : (string * traffic) list }

type via = List | Chunks | Whole | Tip

type how = {
  via : via;
  received : int;
  items : int;
  hits : int;
  prefilled : int;
  fetched : int;
  round_trips : int;
}

let vias =
  [ (List, "list"); (Chunks, "chunks"); (Whole, "whole"); (Tip, "tip") ]

let via_to_string via = List.assoc via vias

type report =
  | Ready of { peer_id : string; addresses : string list }
  | Connected of { peer : string; transport : string }
  | Disconnected of { peer : string; reason : string }
  | Tip_set of { key : string; at : float }
  | Got_block of { key : string; at : float; length : int; how : how }
  | Has_item of string
  | Measured of figures
  | Block_bytes of { key : string; body : string }
  | Item_is of Item.t
  | Lacks of string
  | Note of string

exception Malformed of string

let malformed format = Printf.ksprintf (fun s -> raise (Malformed s)) format

(* Any message is this: the words of its line, and its body. *)
type raw = string list * string

let string_of_raw ((words, body) : raw) =
  String.concat " " (words @ [ string_of_int (String.length body) ])
  ^ "\n" ^ body

let lines = String.concat "\n"

let of_lines body =
  List.filter (fun line -> line <> "") (String.split_on_char '\n' body)

let raw_of_item (item : Item.t) : raw =
  let about = [ Hex.of_string item.id; Int64.to_string item.fee ] in
  let account = Hex.of_string item.account in
  match item.kind with
  | Transaction { nonce } ->
      (("transaction" :: about) @ [ account; string_of_int nonce ], item.body)
  | Work -> (("work" :: about) @ [ account ], item.body)

let item_of_raw : raw -> Item.t option = function
  | [ "transaction"; id; fee; account; nonce ], body ->
      Some
        {
          kind = Transaction { nonce = int_of_string nonce };
          id = Hex.to_string id;
          fee = Int64.of_string fee;
          account = Hex.to_string account;
          body;
        }
  | [ "work"; id; fee; account ], body ->
      Some
        {
          kind = Work;
          id = Hex.to_string id;
          fee = Int64.of_string fee;
          account = Hex.to_string account;
          body;
        }
  | _ -> None

let boolean text =
  match bool_of_string_opt text with
  | Some value -> value
  | None -> malformed "%S is neither true nor false" text

let words_of_how how =
  via_to_string how.via
  :: List.map string_of_int
       [
         how.received; how.items; how.hits; how.prefilled; how.fetched;
         how.round_trips;
       ] [@ocamlformat "disable"]

let how_of_words words =
  match words with
  | via :: numbers -> (
      let is_it (_, name) = name = via in
      match (List.find_opt is_it vias, List.map int_of_string numbers) with
      | ( Some (via, _),
          [ received; items; hits; prefilled; fetched; round_trips ] ) ->
          { via; received; items; hits; prefilled; fetched; round_trips }
      | _ -> malformed "not how a block came: %S" (String.concat " " words))
  | [] -> malformed "not how a block came"

let raw_of_command : command -> raw = function
  | Start { chain_id; compact; initial_peers } ->
      let about = [ Hex.of_string chain_id; string_of_bool compact ] in
      ("start" :: about, lines initial_peers)
  | Tip block -> ([ "tip" ], block)
  | Add item -> raw_of_item item
  | Add_command body -> ([ "command" ], body)
  | Add_completed_work body -> ([ "completed-work" ], body)
  | Lack ids -> ([ "lack" ], lines (List.map Hex.of_string ids))
  | Figures -> ([ "figures" ], "")
  | Give_block key -> ([ "give-block"; Hex.of_string key ], "")
  | Give_item id -> ([ "give-item"; Hex.of_string id ], "")
  | Stop -> ([ "stop" ], "")

let command_of_raw (raw : raw) : command option =
  match raw with
  | [ "start"; chain_id; compact ], body ->
      let chain_id = Hex.to_string chain_id and compact = boolean compact in
      Some (Start { chain_id; compact; initial_peers = of_lines body })
  | [ "tip" ], block -> Some (Tip block)
  | [ "command" ], body -> Some (Add_command body)
  | [ "completed-work" ], body -> Some (Add_completed_work body)
  | [ "lack" ], body -> Some (Lack (List.map Hex.to_string (of_lines body)))
  | [ "figures" ], "" -> Some Figures
  | [ "give-block"; key ], "" -> Some (Give_block (Hex.to_string key))
  | [ "give-item"; id ], "" -> Some (Give_item (Hex.to_string id))
  | [ "stop" ], "" -> Some Stop
  | _ -> Option.map (fun item -> Add item) (item_of_raw raw)

let line_of_traffic (name, { sent; received }) =
  Printf.sprintf "%d %d %s" sent received name

let traffic_of_line line =
  match String.split_on_char ' ' line with
  | sent :: received :: name ->
      ( String.concat " " name,
        { sent = int_of_string sent; received = int_of_string received } )
  | _ -> malformed "not a line of figures: %S" line

let time = Printf.sprintf "%.6f"

let raw_of_report : report -> raw = function
  | Ready { peer_id; addresses } -> ([ "ready"; peer_id ], lines addresses)
  | Connected { peer; transport } -> ([ "connected"; peer; transport ], "")
  | Disconnected { peer; reason } -> ([ "disconnected"; peer ], reason)
  | Tip_set { key; at } -> ([ "tip-set"; Hex.of_string key; time at ], "")
  | Got_block { key; at; length; how } ->
      let about = [ Hex.of_string key; time at; string_of_int length ] in
      (("got-block" :: about) @ words_of_how how, "")
  | Has_item id -> ([ "item"; Hex.of_string id ], "")
  | Measured { wire; channels } ->
      let each = List.map line_of_traffic (("wire", wire) :: channels) in
      ([ "figures" ], lines each)
  | Block_bytes { key; body } -> ([ "block-bytes"; Hex.of_string key ], body)
  | Item_is item -> raw_of_item item
  | Lacks id -> ([ "lacks"; Hex.of_string id ], "")
  | Note text -> ([ "note" ], text)

let report_of_raw (raw : raw) : report option =
  match raw with
  | [ "ready"; peer_id ], body ->
      Some (Ready { peer_id; addresses = of_lines body })
  | [ "connected"; peer; transport ], "" ->
      Some (Connected { peer; transport })
  | [ "disconnected"; peer ], reason -> Some (Disconnected { peer; reason })
  | [ "tip-set"; key; at ], "" ->
      Some (Tip_set { key = Hex.to_string key; at = float_of_string at })
  | "got-block" :: key :: at :: length :: how, "" ->
      let length = int_of_string length and at = float_of_string at in
      let key = Hex.to_string key and how = how_of_words how in
      Some (Got_block { key; at; length; how })
  | [ "item"; id ], "" -> Some (Has_item (Hex.to_string id))
  | [ "figures" ], body -> (
      match List.map traffic_of_line (of_lines body) with
      | ("wire", wire) :: channels -> Some (Measured { wire; channels })
      | _ -> None)
  | [ "block-bytes"; key ], body ->
      Some (Block_bytes { key = Hex.to_string key; body })
  | [ "lacks"; id ], "" -> Some (Lacks (Hex.to_string id))
  | [ "note" ], text -> Some (Note text)
  | _ -> Option.map (fun item -> Item_is item) (item_of_raw raw)

let string_of_command command = string_of_raw (raw_of_command command)
let string_of_report report = string_of_raw (raw_of_report report)

module Decoder = struct
  (* The line that is being read, or the body of a line that was. *)
  type state =
    | In_line of Buffer.t
    | In_body of { words : string list; body : Bytes.t; mutable filled : int }

  type 'a t = { mutable state : state; of_raw : raw -> 'a option }

  (* A job id is 256 digits; a block has at most 32 MiB. *)
  let max_line = 1024
  let max_body = 32 * 1024 * 1024
  let start of_raw = { state = In_line (Buffer.create 64); of_raw }
  let commands () = start command_of_raw
  let reports () = start report_of_raw

  let head line =
    match List.rev (String.split_on_char ' ' line) with
    | last :: words -> (
        match int_of_string_opt last with
        | Some length when length >= 0 && length <= max_body ->
            (List.rev words, length)
        | _ -> malformed "no length of a body: %S" line)
    | [] -> malformed "an empty line"

  let message t words body =
    match t.of_raw (words, body) with
    | Some message -> message
    | None | (exception Failure _) ->
        malformed "%S with a body of %d bytes" (String.concat " " words)
          (String.length body)

  let feed t buffer n =
    let rec from pos found =
      match t.state with
      | In_body { words; body; filled } when filled = Bytes.length body ->
          t.state <- In_line (Buffer.create 64);
          from pos (message t words (Bytes.unsafe_to_string body) :: found)
      | _ when pos = n -> List.rev found
      | In_body b ->
          let length = min (n - pos) (Bytes.length b.body - b.filled) in
          Bytes.blit buffer pos b.body b.filled length;
          b.filled <- b.filled + length;
          from (pos + length) found
      | In_line line when Bytes.get buffer pos = '\n' ->
          let words, length = head (Buffer.contents line) in
          t.state <- In_body { words; body = Bytes.create length; filled = 0 };
          from (pos + 1) found
      | In_line line ->
          if Buffer.length line = max_line then malformed "an endless line";
          Buffer.add_char line (Bytes.get buffer pos);
          from (pos + 1) found
    in
    from 0 []
end
