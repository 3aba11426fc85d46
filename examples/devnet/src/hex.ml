(* Hexadecimal text, in which the control pipe and the tests name things. *)

let of_string bytes =
  String.concat ""
    (List.map
       (fun byte -> Printf.sprintf "%02x" (Char.code byte))
       (List.of_seq (String.to_seq bytes)))

(* Raises [Failure] on anything but pairs of digits. *)
let to_string text =
  if String.length text mod 2 <> 0 then failwith "odd number of hex digits";
  let digit c =
    match c with
    | '0' .. '9' -> Char.code c - Char.code '0'
    | 'a' .. 'f' -> Char.code c - Char.code 'a' + 10
    | _ -> failwith (Printf.sprintf "%C is no hex digit" c)
  in
  String.init
    (String.length text / 2)
    (fun i -> Char.chr ((16 * digit text.[2 * i]) + digit text.[(2 * i) + 1]))
