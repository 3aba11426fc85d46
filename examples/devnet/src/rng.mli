(** Pseudo-random numbers that are the same for a seed under every version of
    OCaml (the standard library's are not: OCaml 5 draws others than 4).

    SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014. Not for secrets. *)

type t

val create : seed:int -> stream:int -> t
(** Streams of one seed are independent: what is drawn from one does not depend
    on how much was drawn from another. *)

val int : t -> int -> int
(** [int t bound] is in [0, bound - 1]. [bound] is positive. *)

val between : t -> int -> int -> int
(** [between t low high] is in [low, high], both included. *)

val string : t -> int -> string
(** So many bytes; they do not compress. *)
