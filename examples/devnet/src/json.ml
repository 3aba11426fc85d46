type t =
  | Null
  | Bool of bool
  | Int of int
  | Float of float
  | String of string
  | List of t list
  | Object of (string * t) list

let escaped text =
  let buffer = Buffer.create (String.length text + 2) in
  Buffer.add_char buffer '"';
  String.iter
    (function
      | ('"' | '\\') as c ->
          Buffer.add_char buffer '\\';
          Buffer.add_char buffer c
      | '\000' .. '\031' as c -> Printf.bprintf buffer "\\u%04x" (Char.code c)
      | c -> Buffer.add_char buffer c)
    text;
  Buffer.add_char buffer '"';
  Buffer.contents buffer

let rec to_string = function
  | Null -> "null"
  | Bool b -> string_of_bool b
  | Int i -> string_of_int i
  | Float f when Float.is_finite f -> Printf.sprintf "%.3f" f
  | Float _ -> "null"
  | String s -> escaped s
  | List l -> "[" ^ String.concat ", " (List.map to_string l) ^ "]"
  | Object fields ->
      let field (name, value) = escaped name ^ ": " ^ to_string value in
      "{" ^ String.concat ", " (List.map field fields) ^ "}"
