external half : int -> int = "other_half"
