// Two nodes in one page: everything that goes over a connection, without a node of another kind.

import { same, refused, test } from "../harness.js";
import { equal, toHex, utf8 } from "../client/bytes.js";
import { CHANNEL, discovery, exchange } from "../client/messages.js";
import { DiscoveryChannel, ExchangeChannel } from "../client/channels.js";
import { Node } from "../client/node.js";
import { Peer } from "../client/peer.js";
import { SecretKey } from "../client/identity.js";
import { Service } from "../client/service.js";
import { offerToJson } from "../client/signaling.js";
import { open, seal } from "../client/sealing.js";

const CHAIN = new Uint8Array(32).fill(7);

async function node(options = {}) {
  return new Node({ secret: await SecretKey.generate(), chainId: CHAIN, ...options });
}

/** What `onPeer` of a node will hear next, and the option for it. */
function nextPeer() {
  const { promise, resolve } = Promise.withResolvers();
  return [promise, { onPeer: resolve }];
}

/** Two connected nodes: `[a, b, the connection at a, the connection at b]`. */
async function pair(serviceOfA = new Service(), serviceOfB = new Service()) {
  const [accepted, options] = nextPeer();
  const a = await node({ service: serviceOfA });
  const b = await node({ service: serviceOfB, ...options });
  const atA = await a.dialBy(b.identity, (offer) => b.accept(offer));
  return [a, b, atA, await accepted];
}

function bytes(length, seed) {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff);
}

const account = (seed) => ({ x: bytes(32, seed), isOdd: seed % 2 === 1 });
const transaction = (seed) => ({ hash: bytes(32, seed), feePayer: account(seed), fee: BigInt(seed) * 10n ** 9n, nonce: seed });

test("two nodes authenticate each other, and each knows whom it talks with", async () => {
  const [a, b, atA, atB] = await pair();
  same(toHex(atA.remote.bytes), toHex(b.identity.bytes));
  same(toHex(atB.remote.bytes), toHex(a.identity.bytes));
  same([atA.isOurs, atB.isOurs], [true, false]);
  await refused(a.dialBy(b.identity, (offer) => b.accept(offer)), "AlreadyConnected");
  a.close();
  await atB.closed;
  same([a.peers.size, b.peers.size], [0, 0]);
});

test("a tip travels both ways, and the next one when there is one", async () => {
  const [service, other] = [new Service(), new Service()];
  service.tip = bytes(3_000_000, 1);
  const [a, b, atA, atB] = await pair(service, other);
  const waiting = atA.bestTip.pull();
  same(equal(await atB.bestTip.pull(), service.tip), true);
  other.tip = bytes(100, 2);
  b.offer();
  same(await waiting, other.tip);
  const next = atB.bestTip.pull();
  service.tip = bytes(50, 3);
  a.offer();
  same(await next, service.tip);
  a.close();
});

test("pool items travel both ways, each once, never more than were permitted", async () => {
  const [service, other] = [new Service(), new Service()];
  service.transactions = [1, 2, 3].map(transaction);
  const [a, b, atA, atB] = await pair(service, other);
  same(await atB.transactions.pull(2), service.transactions.slice(0, 2));
  same(await atB.transactions.pull(255), service.transactions.slice(2));
  const more = atB.transactions.pull();
  service.transactions.push(transaction(200));
  a.offer();
  same(await more, [transaction(200)]);

  const job = bytes(128, 5);
  other.snarks = [{ job, fee: 2n ** 64n - 1n, prover: account(5) }];
  other.commitments = [{ time: 1_700_000_000_000n, job, fee: 1n, snarker: account(6) }];
  b.offer();
  same(await atA.snarks.pull(), other.snarks);
  same(await atA.commitments.pull(16), other.commitments);
  a.close();
});

test("requests are answered, more of them than may wait at a time", async () => {
  const service = new Service();
  const address = { kind: "webrtc", id: bytes(32, 1), via: "http", host: "127.0.0.1", port: 8302 };
  service.answer = async (request) => {
    if (request.kind === "InitialPeers") return [address];
    if (request.kind === "Block") throw new Error("the disk is gone");
    return request.kind === "Transaction" && request.hash[0] !== 0 ? request.hash : null;
  };
  const [a, , atA, atB] = await pair(service);
  same(await atB.rpc.request({ kind: "InitialPeers" }), [address]);
  const hashes = Array.from({ length: 20 }, (_, i) => new Uint8Array(32).fill(i));
  const answers = await Promise.all(hashes.map((hash) => atB.rpc.request({ kind: "Transaction", hash })));
  same(answers, [null, ...hashes.slice(1)]);
  same(await atB.rpc.request({ kind: "Block", hash: bytes(32, 1) }), null);
  same(await atA.rpc.request({ kind: "BestTipWithProof" }), null);
  a.close();
});

test("a long answer does not hold up another channel", async () => {
  const service = new Service();
  const block = new Uint8Array(24 * 1024 * 1024).fill(9);
  service.answer = async () => block;
  const [a, , , atB] = await pair(service);
  const order = [];
  const long = atB.rpc.request({ kind: "Block", hash: bytes(32, 1) }).then((answer) => order.push(answer.length));
  const tip = atB.bestTip.pull().then((tip) => order.push(tip.length));
  service.tip = bytes(10, 1);
  a.offer();
  await Promise.all([long, tip]);
  same(order, [10, block.length]);
  a.close();
});

test("a staged ledger comes in parts", async () => {
  const service = new Service();
  const parts = ["Base", "ScanStateBase", "PreviousIncompleteZkappUpdates", "ScanStateTree", "ScanStateTree"].map(
    (part, i) => ({ part, bytes: Uint8Array.of(part === "ScanStateBase" ? 2 : i, 1) }),
  );
  service.parts = async (block) => (block[0] === 1 ? parts : null);
  const [a, , , atB] = await pair(service);
  same(await atB.streaming.fetch(new Uint8Array(32).fill(1)), parts);
  same(await atB.streaming.fetch(new Uint8Array(32)), null);
  a.close();
});

test("what comes out of turn ends the connection", async () => {
  for (const [name, message, why] of [
    ["bestTip", { type: "BestTip", block: Uint8Array.of(1) }, "2 bytes where 1 are allowed"],
    ["transactions", { type: "WillSend", count: 1 }, "1 items promised where 0 are allowed"],
    ["transactions", { type: "GetNext", limit: 0 }, "a limit of 0"],
    ["rpc", { type: "Response", id: 3n, response: null }, "nobody asked"],
    ["streaming", { type: "Next", id: 0n }, "Next out of turn"],
    ["discovery", { type: "Discover" }, "no relay"],
    ["exchange", { type: "Answer", answer: null }, "an answer to no offer"],
  ]) {
    const [a, , atA, atB] = await pair();
    atA[name].send(message);
    same(String(await atB.closed).includes(why), true, `${name}: ${await atB.closed}`);
    // The other end learns of it, and so does who waits there.
    const waiting = refused(atA.bestTip.pull(), "");
    await atA.closed;
    await waiting;
    a.close();
  }
});

test("offers that may not be answered are refused by name", async () => {
  const [a, b] = [await node(), await node()];
  const stranger = await node({ chainId: new Uint8Array(32) });
  const full = await node({ maxPeers: 0 });
  const to = (target) => (offer) => target.accept(offer);
  await refused(stranger.dialBy(b.identity, to(b)), "ChainIdMismatch");
  await refused(a.dialBy(b.identity, to(full)), "TargetPeerIdNotMe");
  await refused(a.dialBy(full.identity, to(full)), "PeerCapacityFull");
  await refused(a.dialBy(a.identity, to(a)), "ConnectingToSelf");
  const nonsense = async (offer) => b.accept(JSON.stringify({ ...JSON.parse(offer), sdp: "v=0" }));
  await refused(a.dialBy(b.identity, nonsense), "InternalError");
  // An answer by somebody else than was asked.
  const c = await node();
  const misled = async (offer) => c.accept(JSON.stringify({ ...JSON.parse(offer), target_peer_id: await c.identity.peerIdText() }));
  await refused(a.dialBy(b.identity, misled), "of another peer");
  same([a, b, c].map(({ peers }) => peers.size), [0, 0, 0]);
});

test("a text that changed on the way does not authenticate", async () => {
  const [a, b] = [await node(), await node()];
  const change = async (offer) => b.accept(offer.replace("s=-", "s=x"));
  await refused(a.dialBy(b.identity, change), "");
  same([a.peers.size, b.peers.size], [0, 0]);
});

test("our own authentication sent back is refused", async () => {
  const [secret, mirror] = [await SecretKey.generate(), await SecretKey.generate()];
  const peer = new Peer({ secret, remote: mirror.publicKey, service: new Service() });
  const reflecting = new RTCPeerConnection();
  const streams = [{ id: 0, label: "" }, ...Object.values(CHANNEL)].map(({ id, label }) =>
    reflecting.createDataChannel(label, { negotiated: true, id }),
  );
  streams[0].binaryType = "arraybuffer";
  streams[0].onmessage = ({ data }) => streams[0].send(data);
  await reflecting.setRemoteDescription({ type: "offer", sdp: await peer.offer() });
  await reflecting.setLocalDescription(await reflecting.createAnswer());
  while (reflecting.iceGatheringState !== "complete") {
    await new Promise((resolve) => reflecting.addEventListener("icegatheringstatechange", resolve, { once: true }));
  }
  await peer.takeAnswer(reflecting.localDescription.sdp);
  await refused(peer.ready, "our own, sent back");
  reflecting.close();
});

test("of two crossed offers one connection is left", async () => {
  const [a, b] = [await node(), await node()];
  const both = await Promise.allSettled([
    a.dialBy(b.identity, (offer) => b.accept(offer)),
    b.dialBy(a.identity, (offer) => a.accept(offer)),
  ]);
  same(both.filter(({ status }) => status === "fulfilled").length, 1);
  const winner = both.find(({ status }) => status === "fulfilled").value;
  same(winner.isOpen, true);
  a.close();
  b.close();
});

/** A relay between the channels of two nodes, without connections: what it passes on, it cannot read. */
function relay(dialer, target) {
  const link = (signaling, receive) => ({
    signaling,
    service: signaling.service,
    // As if it came over a wire: later.
    send: (body) => queueMicrotask(() => receive(body)),
  });
  const seen = [];
  const { promise: refusal, resolve: refuse } = Promise.withResolvers();
  const toTarget = new ExchangeChannel(
    link(target, (body) => {
      const message = exchange.decode(body);
      seen.push(message.type);
      if (message.type === "Answer") toDialer.receive(discovery.encode(message));
    }),
  );
  const toDialer = new DiscoveryChannel(
    link(dialer, (body) => {
      const message = discovery.decode(body);
      seen.push(message.type);
      if (message.type === "Discover") toDialer.receive(discovery.encode({ type: "Discovered", target: target.identity }));
      if (message.type === "DiscoveredReject") refuse();
      if (message.type !== "DiscoveredAccept") return;
      toTarget.receive(exchange.encode({ type: "OfferToYou", offerer: dialer.identity, offer: message.offer }));
    }),
  );
  toTarget.start();
  toDialer.receive(discovery.encode({ type: "GetNext" }));
  return { seen, toDialer, refusal };
}

test("a relay introduces two nodes, and cannot read what they say", async () => {
  const [dialed, optionsOfDialer] = nextPeer();
  const [accepted, optionsOfTarget] = nextPeer();
  const [dialer, target] = [await node(optionsOfDialer), await node(optionsOfTarget)];
  const { seen, toDialer, refusal } = relay(dialer, target);
  const [atDialer, atTarget] = await Promise.all([dialed, accepted]);
  same(toHex(atDialer.remote.bytes), toHex(target.identity.bytes));
  same(toHex(atTarget.remote.bytes), toHex(dialer.identity.bytes));
  same(seen, ["GetNext", "Discover", "DiscoveredAccept", "Answer", "GetNext"]);
  // A proposal of one that we know already is refused, and the relay may ask again.
  toDialer.receive(discovery.encode({ type: "GetNext" }));
  await refusal;
  dialer.close();
});

test("a relayed offer that does not open, or is of another than the relay says, is answered so", async () => {
  const [a, b, c] = [await node(), await node(), await node()];
  const response = async (reader, from, sealed) => new TextDecoder().decode(await open(reader.secret, from.identity, sealed));
  const { sealed, take } = await a.offerFor(b.identity);
  // It was for b, and came to c.
  same(await response(a, c, await c.takeOffer(a.identity, sealed)), '"SignalDecryptionFailed"');
  take(null);
  // A text that c sealed, in which a offers.
  const forged = await seal(c.secret, b.identity, utf8(await offerOf(a, b)));
  same(await response(c, b, await b.takeOffer(c.identity, forged)), '"SignalDecryptionFailed"');
  same([a, b, c].map(({ peers }) => peers.size), [0, 0, 0]);
});

function offerOf({ identity }, target) {
  return offerToJson({ sdp: "v=0", chainId: CHAIN, identity, target: target.identity });
}
