type t = {
  description : string;
  blocks : (string * string) list;
  left_out : string list;
}

let variable = "MINA_P2P_BLOCKS"

(* Two rounds of the generator's cycle, with two full blocks. *)
let generated_blocks = 24
let is_folder path = Sys.file_exists path && Sys.is_directory path

let read_file path =
  let channel = open_in_bin path in
  Fun.protect
    ~finally:(fun () -> close_in_noerr channel)
    (fun () -> really_input_string channel (in_channel_length channel))

(* The repository's root is above the program or above the current folder; what
   looks like it inside _build is dune's copy. *)
let repository () =
  let rec above folder =
    let parent = Filename.dirname folder in
    if
      Sys.file_exists (Filename.concat folder "dune-project")
      && not (List.mem "_build" (String.split_on_char '/' folder))
    then Some folder
    else if parent = folder then None
    else above parent
  in
  let cwd = Sys.getcwd () in
  let program = Filename.dirname Sys.executable_name in
  let absolute path =
    if Filename.is_relative path then Filename.concat cwd path else path
  in
  match above (absolute program) with Some root -> Some root | None -> above cwd

(* What an environment variable names, or else what is beside the repository. *)
let named_or_beside variable path ~is_there =
  match Sys.getenv_opt variable with
  | Some named when named <> "" -> Some named
  | _ ->
      let beside root = Filename.concat (Filename.dirname root) path in
      Option.bind (repository ()) (fun root ->
          if is_there (beside root) then Some (beside root) else None)

let folder () = named_or_beside variable "shared/blocks" ~is_there:is_folder

let dummy_proof () =
  let path = "shared/mina-rust/vectors/transaction_dummy_proof.bin" in
  Option.map read_file
    (named_or_beside "MINA_P2P_DUMMY_PROOF" path ~is_there:Sys.file_exists)

(* A block that was announced before is no news to anybody: nothing to time. *)
let without_repeats blocks =
  let seen = Hashtbl.create 64 in
  let is_new (_, bytes) =
    let digest = Digest.string bytes in
    let repeated = Hashtbl.mem seen digest in
    Hashtbl.replace seen digest ();
    not repeated
  in
  List.partition is_new blocks

let take limit list =
  match limit with
  | None -> list
  | Some limit -> List.filteri (fun index _ -> index < limit) list

let from_folder ~limit folder =
  match Sys.readdir folder with
  | exception Sys_error why -> Error why
  | names -> (
      Array.sort compare names;
      let is_block name = Filename.check_suffix name ".bin" in
      let names = List.filter is_block (Array.to_list names) in
      let load name = (name, read_file (Filename.concat folder name)) in
      match without_repeats (List.map load (take limit names)) with
      | exception Sys_error why -> Error why
      | [], _ -> Error (Printf.sprintf "%s: no *.bin files" folder)
      | blocks, repeats ->
          let description =
            Printf.sprintf "%d blocks of %s" (List.length blocks) folder
          in
          Ok { description; blocks; left_out = List.map fst repeats })

let from_generator ~seed ~limit =
  let count = Option.value limit ~default:generated_blocks in
  {
    description = Printf.sprintf "%d generated blocks (seed %d)" count seed;
    blocks = Generator.blocks ~seed ~count;
    left_out = [];
  }

let find ~seed ~limit ~generated =
  match if generated then None else folder () with
  | Some folder -> from_folder ~limit folder
  | None -> Ok (from_generator ~seed ~limit)
