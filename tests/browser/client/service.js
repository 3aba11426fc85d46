// What a node has to give.

/** Holds things in memory. A page fills it, and tells the node by `node.offer()` when something was added. */
export class Service {
  /** The best block, as bytes; another object when it changes. */
  tip = null;
  /** What messages.js calls the items of these channels. They only grow: each peer's place in them is an index. */
  transactions = [];
  snarks = [];
  commitments = [];

  /** The answer to `{kind, ..}`, bytes or (InitialPeers) a list of addresses; `null` for "do not have it". */
  async answer(request) {
    return request.kind === "InitialPeers" ? [] : null;
  }

  /** The parts of the staged ledger of this block, `[{part, bytes}]` in the order of messages.js, or `null`. */
  async parts(_block) {
    return null;
  }
}
