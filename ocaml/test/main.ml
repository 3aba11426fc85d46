let () =
  Alcotest.run "mina_p2p"
    [
      ("values", Values.tests);
      ("payloads", Payloads.tests);
      ("guards", Guards.tests);
      ("blocks", Blocks.tests);
      ("relay", Relay.tests);
      ("nodes", Nodes.tests);
      ("processes", Processes.tests);
    ]
