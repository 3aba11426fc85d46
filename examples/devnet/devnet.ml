let () = exit (Devnet_parts.Main.run Sys.argv)
