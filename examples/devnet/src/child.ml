type t = {
  pid : int;
  to_node : Unix.file_descr;
  from_node : Unix.file_descr;
  decoder : Control.report Control.Decoder.t;
  queued : string Queue.t;
  mutable sent : int;  (** Bytes of the first that is queued. *)
  mutable at_end : bool;
  mutable status : Unix.process_status option;
}

let spawn () =
  (* Closed on exec: a node that held another's pipe open would hide its end. *)
  let their_input, to_node = Unix.pipe ~cloexec:true () in
  let from_node, their_output = Unix.pipe ~cloexec:true () in
  let argv = [| Sys.executable_name; Node_process.argument |] in
  let pid =
    Unix.create_process Sys.executable_name argv their_input their_output
      Unix.stderr
  in
  Unix.close their_input;
  Unix.close their_output;
  Unix.set_nonblock to_node;
  Unix.set_nonblock from_node;
  {
    pid;
    to_node;
    from_node;
    decoder = Control.Decoder.reports ();
    queued = Queue.create ();
    sent = 0;
    at_end = false;
    status = None;
  }

let send t command = Queue.add (Control.string_of_command command) t.queued

let input t =
  if Queue.is_empty t.queued || t.at_end then None else Some t.to_node

let output t = if t.at_end then None else Some t.from_node

let rec write t =
  match Queue.peek_opt t.queued with
  | None -> ()
  | Some text -> (
      let length = String.length text - t.sent in
      match Unix.write_substring t.to_node text t.sent length with
      | n when n = length ->
          let (_ : string) = Queue.pop t.queued in
          t.sent <- 0;
          write t
      | n -> t.sent <- t.sent + n
      | exception Unix.Unix_error ((EAGAIN | EWOULDBLOCK | EINTR), _, _) -> ()
      | exception Unix.Unix_error (EPIPE, _, _) ->
          (* It is gone: the end of its output says so too. *)
          Queue.clear t.queued)

let buffer = Bytes.create 65_536

let read t =
  match Unix.read t.from_node buffer 0 (Bytes.length buffer) with
  | 0 ->
      t.at_end <- true;
      []
  | n -> Control.Decoder.feed t.decoder buffer n
  | exception Unix.Unix_error ((EAGAIN | EWOULDBLOCK | EINTR), _, _) -> []

(* How often a process that is about to end is looked at, in seconds. *)
let interval = 0.005

let reap t ~deadline =
  let rec wait flags =
    match Unix.waitpid flags t.pid with
    | 0, _ when Unix.gettimeofday () < deadline ->
        Unix.sleepf interval;
        wait flags
    | 0, _ ->
        Unix.kill t.pid Sys.sigkill;
        wait []
    | _, status -> status
    | exception Unix.Unix_error (EINTR, _, _) -> wait flags
  in
  match t.status with
  | Some status -> status
  | None ->
      let status = wait [ Unix.WNOHANG ] in
      t.status <- Some status;
      t.at_end <- true;
      Unix.close t.to_node;
      Unix.close t.from_node;
      status
