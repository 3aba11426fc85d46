open Base

type item = Raw.item = {
  kind : [ `Signed_command | `Zkapp_command | `Work ];
  offset : int;
  length : int;
  id : Item_id.t;
}

type layout = Raw.layout = {
  header_length : int;
  height : int;
  previous_state_hash : State_hash.t;
  body_reference : string;
  items : item list;
}

let key block = get_ok (Raw.block_key block)

let layout = Raw.block_layout

let body_reference = Raw.block_body_reference

let item_id item = get_ok (Raw.block_item_id item)

let command_info ?dummy_proof command =
  Raw.block_command_info dummy_proof command

let work_info = Raw.block_work_info

let compact ?max_length ?(prefill = []) ~nonce block =
  Raw.block_compact { max_length; prefill; nonce } block

let rebuild ~compact ~pool = Raw.block_rebuild compact pool
