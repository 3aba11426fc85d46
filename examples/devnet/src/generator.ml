(* One stream of the random numbers for each thing, so that the tenth block is
   the same whether or not an eleventh is asked for. *)
let start_stream = 0
let block_stream index = 1 + (2 * index)
let item_stream index = 2 + (2 * index)

(* By blocks of the main network and of its test network: a header is 12.7 KB;
   a full block (128 commands, 128 works) is about 3 MB. *)
type size = Header | Small | Large | Full

type counts = { works : int; commands : int; zkapp_commands : int }

let draw rng size =
  let works, commands, zkapp_commands =
    match size with
    | Header -> ((0, 0), (0, 18), (0, 0))
    | Small -> ((1, 3), (4, 40), (0, 2))
    | Large -> ((14, 28), (20, 50), (0, 6))
    | Full -> ((128, 128), (120, 120), (8, 8))
  in
  let between (low, high) = Rng.between rng low high in
  let works = between works and commands = between commands in
  { works; commands; zkapp_commands = between zkapp_commands }

(* A fixed cycle rather than drawn, so that a short run has large ones too. *)
let cycle =
  [|
    Header; Header; Large; Header; Small; Header;
    Full; Header; Header; Small; Header; Header;
  |]
[@@ocamlformat "disable"]

(* The testing library takes seeds from 0 on. *)
let seed_of rng = Rng.int rng (1 lsl 30)

let block rng size ~height ~parent =
  let previous_state_hash =
    match Mina_p2p.State_hash.of_bytes parent with
    | Ok hash -> hash
    | Error why -> invalid_arg (Mina_p2p.Error.to_string why)
  in
  let { works; commands; zkapp_commands } = draw rng size in
  let seed = seed_of rng in
  let generated =
    Mina_p2p_testing.generate_block ~height ~previous_state_hash ~seed ~works
      ~commands ~zkapp_commands ()
  in
  Mina_p2p.Payload.to_string generated.block

let start_tip ~seed =
  let rng = Rng.create ~seed ~stream:start_stream in
  block rng Header ~height:1 ~parent:(String.make Block_hash.length '\000')

let blocks ~seed ~count =
  let rec from index ~parent =
    if index = count then []
    else
      let rng = Rng.create ~seed ~stream:(block_stream index) in
      let size = cycle.(index mod Array.length cycle) in
      let bytes = block rng size ~height:(index + 2) ~parent in
      let name = Printf.sprintf "generated-%03d" (index + 1) in
      (name, bytes) :: from (index + 1) ~parent:(Block_hash.of_block bytes)
  in
  from 0 ~parent:(Block_hash.of_block (start_tip ~seed))

type sort = Signed_command | Zkapp_command | Completed_work

let sorts =
  [|
    Signed_command; Completed_work; Signed_command; Zkapp_command;
    Signed_command; Completed_work; Signed_command; Zkapp_command;
    Signed_command; Completed_work;
  |]
[@@ocamlformat "disable"]

(* x is below 2^254, hence below the order of the Pallas curve's base field: a
   reader that checks this is content. *)
let account rng =
  let x = Bytes.of_string (Rng.string rng 32) in
  Bytes.set_uint8 x 31 (Bytes.get_uint8 x 31 land 0x3f);
  Bytes.to_string x ^ String.make 1 (Char.chr (Rng.int rng 2))

let item rng sort =
  let kind, id_length, size =
    match sort with
    | Signed_command ->
        (Item.Transaction { nonce = Rng.int rng 10_000 }, 32, (210, 225))
    | Zkapp_command ->
        (Item.Transaction { nonce = Rng.int rng 10_000 }, 32, (2_000, 34_000))
    | Completed_work -> (Item.Work, 128, (12_000, 24_000))
  in
  let low, high = size in
  let id = Rng.string rng id_length in
  let account = account rng in
  let fee = Int64.of_int (Rng.between rng 1_000_000 2_000_000_000) in
  let body = Rng.string rng (Rng.between rng low high) in
  { Item.kind; id; fee; account; body }

let items ~seed ~count =
  List.init count (fun index ->
      let rng = Rng.create ~seed ~stream:(item_stream index) in
      item rng sorts.(index mod Array.length sorts))
