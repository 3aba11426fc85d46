let length = 32
let head_length = 8192

(* Two MD5 digests, because one is 16 bytes long. Nobody attacks a demo. *)
let of_block block =
  let head = String.sub block 0 (min head_length (String.length block)) in
  Digest.string ("0" ^ head) ^ Digest.string ("1" ^ head)
