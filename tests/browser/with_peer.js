// One or two browser nodes with the peer that a test runs: they dial it, pull all that it has, and serve what is below.
//
// The test puts a plan at /data/plan: `{address, chain, seeds, pull: {transactions: n, ..}, ask: [request], parts: [hash]}`,
// with chain, seeds and hashes in hexadecimal, and the tip to serve at /data/tip. Each thing that comes is reported as
// `{step, ..}`.

import { post } from "./harness.js";
import { addressToText, parseAddress } from "./client/address.js";
import { concat, fromHex, sha256, toHex, utf8 } from "./client/bytes.js";
import { Node } from "./client/node.js";
import { SecretKey } from "./client/identity.js";
import { Service } from "./client/service.js";

/** Reports go out one after the other. */
let reported = Promise.resolve();
function report(step, fields) {
  reported = reported.then(() => post("/report", { step, ...fields }));
}

async function data(name) {
  return new Uint8Array(await (await fetch(`/data/${name}`)).arrayBuffer());
}

const ITEMS = 40;
/** Each item is named by a byte repeated: from here on, so that they are none of the peer's. */
const FIRST_ID = 101;
const account = { x: new Uint8Array(32).fill(3), isOdd: true };

/** What the first node serves; the test knows it too. */
class TestService extends Service {
  constructor(tip, address) {
    super();
    this.tip = tip;
    this.address = address;
    for (let i = 0; i < ITEMS; i++) {
      this.transactions.push({ hash: new Uint8Array(32).fill(FIRST_ID + i), feePayer: account, fee: BigInt(i) * 1_000_000n, nonce: i });
      this.snarks.push({ job: new Uint8Array(128).fill(FIRST_ID + i), fee: BigInt(i), prover: account });
      this.commitments.push({ time: 9n, job: new Uint8Array(128).fill(FIRST_ID + i), fee: 1n, snarker: account });
    }
  }

  /** The name of what is asked for, and its hash; of what starts with a zero there is nothing. */
  async answer({ kind, hash = new Uint8Array([1]) }) {
    if (kind === "InitialPeers") return [this.address];
    return hash[0] === 0 ? null : concat(utf8(kind), hash);
  }

  async parts(block) {
    if (block[0] === 0) return null;
    return [
      { part: "Base", bytes: block },
      { part: "ScanStateBase", bytes: Uint8Array.of(1, 9) },
      { part: "PreviousIncompleteZkappUpdates", bytes: Uint8Array.of(0) },
      { part: "ScanStateTree", bytes: new Uint8Array(50_000).fill(7) },
    ];
  }
}

async function digest(bytes) {
  return bytes && { length: bytes.length, sha256: toHex(await sha256(bytes)) };
}

async function pullTips(peer) {
  for (;;) report("tip", await digest(await peer.bestTip.pull()));
}

async function pullPool(peer, name, count, id) {
  const items = [];
  while (items.length < count) items.push(...(await peer[name].pull()));
  report(name, { ids: items.map((item) => toHex(item[id])), fees: items.map(({ fee }) => String(fee)) });
}

async function ask(peer, { kind, hash, ...rest }) {
  const answer = await peer.rpc.request({ kind, ...(hash && { hash: fromHex(hash) }), ...rest });
  if (kind !== "InitialPeers") return report(kind, { asked: hash ?? null, answer: await digest(answer) });
  report(kind, { addresses: await Promise.all(answer.map(addressToText)) });
}

async function fetchParts(peer, hashes) {
  for (const hash of hashes) {
    const parts = await peer.streaming.fetch(fromHex(hash));
    report("parts", { asked: hash, parts: parts?.map(({ part, bytes }) => [part, bytes.length]) ?? null });
  }
}

async function start(seed, service, plan) {
  const node = new Node({
    secret: await SecretKey.fromSeed(fromHex(seed)),
    chainId: fromHex(plan.chain),
    service,
    onPeer: async (peer) => {
      const [own, other] = [await node.identity.peerIdText(), await peer.remote.peerIdText()];
      report("connected", { own, peer: other });
      report("closed", { own, peer: other, reason: String(await peer.closed) });
    },
  });
  return [node, await node.dial(plan.address)];
}

async function main() {
  const plan = JSON.parse(new TextDecoder().decode(await data("plan")));
  const service = new TestService(await data("tip"), await parseAddress(plan.address));
  const [first, ...others] = plan.seeds;
  const [, peer] = await start(first, service, plan);
  const { transactions = 0, snarks = 0, commitments = 0 } = plan.pull;
  await Promise.all([
    ...others.map((seed) => start(seed, new Service(), plan)),
    pullTips(peer),
    pullPool(peer, "transactions", transactions, "hash"),
    pullPool(peer, "snarks", snarks, "job"),
    pullPool(peer, "commitments", commitments, "job"),
    ...plan.ask.map((request) => ask(peer, request)),
    fetchParts(peer, plan.parts),
  ]);
}

main().catch((error) => report("error", { error: String(error) }));
