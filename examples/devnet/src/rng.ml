type t = { mutable state : int64 }

let golden = 0x9e3779b97f4a7c15L

let mix z =
  let open Int64 in
  let z = mul (logxor z (shift_right_logical z 30)) 0xbf58476d1ce4e5b9L in
  let z = mul (logxor z (shift_right_logical z 27)) 0x94d049bb133111ebL in
  logxor z (shift_right_logical z 31)

let create ~seed ~stream =
  { state = Int64.(logxor (mix (of_int seed)) (mul golden (of_int stream))) }

let next t =
  t.state <- Int64.add t.state golden;
  mix t.state

(* The remainder prefers small numbers by less than one part in 2^32. *)
let int t bound = Int64.(to_int (shift_right_logical (next t) 2)) mod bound
let between t low high = low + int t (high - low + 1)

let string t length =
  let bytes = Bytes.create ((length + 7) / 8 * 8) in
  for word = 0 to (Bytes.length bytes / 8) - 1 do
    Bytes.set_int64_le bytes (8 * word) (next t)
  done;
  Bytes.sub_string bytes 0 length
