exception Interrupted

let failure = 1
let wrong_usage = 2
let interrupted = 130

let say line = prerr_endline ("devnet: " ^ line)

let demo (options : Options.t) =
  match
    Block_source.find ~seed:options.seed ~limit:options.blocks
      ~generated:options.generated
  with
  | Error why ->
      say why;
      failure
  | Ok source ->
      let report = Scenario.run ~say options source in
      if options.json then print_endline (Json.to_string (Report.json report))
      else print_string (Report.table report);
      flush stdout;
      List.iter (fun why -> say ("FAILED: " ^ why)) report.failures;
      if Report.ok report then 0 else failure

let run argv =
  (* A pipe whose reader is gone is an error of the write, at either side. *)
  Sys.set_signal Sys.sigpipe Signal_ignore;
  if argv = [| argv.(0); Node_process.argument |] then Node_process.run ()
  else
    match Options.parse argv with
    | Error (`Help text) ->
        print_string text;
        0
    | Error (`Usage text) ->
        prerr_string text;
        wrong_usage
    | Ok options -> (
        (* So that the nodes are ended before the program is. *)
        let interrupt = Sys.Signal_handle (fun _ -> raise Interrupted) in
        List.iter
          (fun signal -> Sys.set_signal signal interrupt)
          [ Sys.sigint; Sys.sigterm; Sys.sighup ];
        try demo options with
        | Interrupted ->
            say "interrupted";
            interrupted
        | Unix.Unix_error (error, call, _) ->
            say (Printf.sprintf "%s: %s" call (Unix.error_message error));
            failure
        | Sys_error why ->
            (* What could not be written is not tried again at the exit. *)
            close_out_noerr stdout;
            say why;
            failure)
