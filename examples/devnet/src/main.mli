val run : string array -> int
(** The program, with its arguments (the first is its name); the exit status. *)
