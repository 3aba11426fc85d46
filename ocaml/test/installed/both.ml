(* Both libraries work, panics included, whichever is used first. *)

external panic : string -> (unit, Mina_p2p.Error.t) result
  = "mina_p2p_test_panic"

let () =
  for number = 1 to 20 do
    assert (Other.half (2 * number) = number);
    assert (Other.half ((2 * number) + 1) = -1);
    assert (panic "expected" = Error (Internal "expected"))
  done;
  ignore (Result.get_ok (Mina_p2p.Secret_key.generate ()));
  print_endline "both"
