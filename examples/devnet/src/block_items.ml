open Mina_p2p

type name = Transaction of Transaction_hash.t | Work of Job_id.t

type t = {
  name : name;
  id : Item_id.t;
  body : Payload.t;
  is_described : bool;
}

let name_to_bytes = function
  | Transaction hash -> Transaction_hash.to_bytes hash
  | Work job_id -> Job_id.to_bytes job_id

(* A node of the network knows the hash of every command from its own types.
   This one differs, but is the same for the same command, which is all that
   pools ask for. *)
let made_up_hash id = Transaction_hash.of_bytes (Item_id.to_bytes id)

let of_block ~dummy_proof block =
  let of_item ({ kind; offset; length; id } : Block.item) =
    let body = Payload.sub block ~pos:offset ~len:length in
    let is_known name = Some { name; id; body; is_described = false } in
    match kind with
    | `Work -> (
        match Block.work_info body with
        | Ok { job_id; _ } -> is_known (Work job_id)
        | Error _ -> None)
    | `Signed_command | `Zkapp_command -> (
        match (Block.command_info ?dummy_proof body, made_up_hash id) with
        | Ok { hash; _ }, _ -> is_known (Transaction hash)
        | Error _, Ok hash ->
            Some { name = Transaction hash; id; body; is_described = true }
        | Error _, Error _ -> None)
  in
  match Block.layout block with
  | Ok layout -> List.filter_map of_item layout.items
  | Error _ -> []

let add { name; body; is_described; _ } : Control.command =
  let body = Payload.to_string body in
  match name with
  | Work _ -> Add_completed_work body
  | Transaction _ when not is_described -> Add_command body
  | Transaction hash ->
      let account = String.make Account_key.length '\000' in
      let kind = Item.Transaction { nonce = 0 } in
      let id = Transaction_hash.to_bytes hash in
      Add { kind; id; fee = 0L; account; body }
