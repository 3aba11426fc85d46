// Who may say what when, on each channel: docs/SPEC.md, section 9. Nothing is sent that was not permitted, and what comes
// out of turn ends the connection.
//
// Every class has two halves that do not know of each other: we pull, and we serve. A `link` is what they stand on:
// `send(body)`, `end(error)`, `nextId()`, and `service`, what this node has to give (see service.js).

import { CHANNEL, MAX, PARTS, bestTip, commitments, discovery, exchange, rpc, snarks, streaming, transactions } from "./messages.js";
import { Reader } from "./binprot.js";

/** The peer did what the protocol does not allow. */
export class Violation extends Error {
  constructor(channel, what) {
    super(`${CHANNEL[channel].label}: ${what}`);
    this.name = "Violation";
  }
}

class Channel {
  constructor(name, codec, link) {
    this.name = name;
    this.codec = codec;
    this.link = link;
  }

  send(message) {
    this.link.send(this.codec.encode(message));
  }

  receive(body) {
    this.take(this.codec.decode(body));
  }

  violation(what) {
    return new Violation(this.name, what);
  }

  /** The peer is ours to talk with. */
  start() {}

  /** What this node has to give changed. */
  offer() {}

  /** The connection ended: nobody waits any longer. */
  close() {}
}

export class BestTipChannel extends Channel {
  #waiting = null;
  #requested = false;
  #sent = null;

  constructor(link) {
    super("bestTip", bestTip, link);
  }

  longest() {
    return this.#waiting ? MAX.tip : 1;
  }

  /** The peer's next tip: it answers when it has another than the one it sent before, however long that takes. */
  pull() {
    if (!this.#waiting) {
      this.#waiting = Promise.withResolvers();
      this.send({ type: "GetNext" });
    }
    return this.#waiting.promise;
  }

  take(message) {
    if (message.type === "BestTip") {
      if (!this.#waiting) throw this.violation("a tip that nobody asked for");
      const { resolve } = this.#waiting;
      this.#waiting = null;
      resolve(message.block);
    } else {
      if (this.#requested) throw this.violation("asked twice");
      this.#requested = true;
      this.offer();
    }
  }

  offer() {
    const { tip } = this.link.service;
    if (!this.#requested || !tip || tip === this.#sent) return;
    this.#requested = false;
    this.#sent = tip;
    this.send({ type: "BestTip", block: tip });
  }

  close(error) {
    this.#waiting?.reject(error);
  }
}

const POOLS = {
  transactions: { codec: transactions, maxItem: MAX.transaction },
  snarks: { codec: snarks, maxItem: MAX.snark },
  commitments: { codec: commitments, maxItem: MAX.commitment },
};

/** Transactions, SNARK works and commitments: a permit, a promise, and exactly as many items. */
export class PoolChannel extends Channel {
  #maxItem;
  #limit = 0;
  #promised = 0;
  #items = [];
  #waiting = null;
  #requested = 0;
  #next = 0;

  /** `name` is one of transactions, snarks, commitments. */
  constructor(name, link) {
    super(name, POOLS[name].codec, link);
    this.#maxItem = POOLS[name].maxItem;
  }

  longest() {
    return this.#promised > 0 ? Math.max(this.#maxItem, MAX.permit) : MAX.permit;
  }

  /** Up to `limit` (1 to 255) items that the peer did not send before; waits until it has some. */
  pull(limit = 32) {
    if (this.#waiting) throw new Error(`${this.name}: a pull is under way`);
    this.#waiting = Promise.withResolvers();
    this.#limit = limit;
    this.send({ type: "GetNext", limit });
    return this.#waiting.promise;
  }

  take(message) {
    switch (message.type) {
      case "GetNext":
        if (message.limit === 0) throw this.violation("a limit of 0");
        if (this.#requested > 0) throw this.violation("asked twice");
        this.#requested = message.limit;
        return this.offer();
      case "WillSend":
        if (message.count === 0 || message.count > this.#limit) {
          throw this.violation(`${message.count} items promised where ${this.#limit} are allowed`);
        }
        this.#limit = 0;
        this.#promised = message.count;
        return;
      default:
        if (this.#promised === 0) throw this.violation("an item without a promise");
        this.#items.push(message.item);
        if (--this.#promised > 0) return;
        this.#finish();
    }
  }

  #finish() {
    const { resolve } = this.#waiting;
    const items = this.#items;
    this.#waiting = null;
    this.#items = [];
    resolve(items);
  }

  offer() {
    const items = this.link.service[this.name].slice(this.#next, this.#next + this.#requested);
    if (items.length === 0) return;
    this.#requested = 0;
    this.#next += items.length;
    this.send({ type: "WillSend", count: items.length });
    for (const item of items) this.send({ type: "Item", item });
  }

  close(error) {
    this.#waiting?.reject(error);
  }
}

/** Requests that either side may have unanswered: the existing node ends a connection at the sixth. */
const MAX_REQUESTS = 5;
/** Milliseconds until an unanswered request ends the connection. Twice the existing node's times: a page may be far away. */
const TIMEOUT = { BestTipWithProof: 30_000, StagedLedgerAux: 360_000 };
const OTHER_TIMEOUT = 16_000;

export class RpcChannel extends Channel {
  /** Our unanswered requests, by id. */
  #asked = new Map();
  #queued = [];
  /** The ids of the peer's unanswered requests. */
  #answering = new Set();

  constructor(link) {
    super("rpc", rpc, link);
  }

  longest() {
    const answers = Array.from(this.#asked.values(), ({ request }) => MAX.responseHead + MAX.answer[request.kind]);
    return Math.max(MAX.request, ...answers);
  }

  /** The answer to `{kind, ..}`: bytes, or addresses; `null` if the peer does not have it. */
  request(request) {
    const waiting = { request, ...Promise.withResolvers() };
    this.#queued.push(waiting);
    this.#ask();
    return waiting.promise;
  }

  #ask() {
    while (this.#asked.size < MAX_REQUESTS && this.#queued.length > 0) {
      const waiting = this.#queued.shift();
      const id = this.link.nextId();
      const { kind } = waiting.request;
      const late = () => this.link.end(new Error(`no answer to ${kind}`));
      waiting.timer = setTimeout(late, TIMEOUT[kind] ?? OTHER_TIMEOUT);
      this.#asked.set(id, waiting);
      this.send({ type: "Request", id, request: waiting.request });
    }
  }

  take(message) {
    if (message.type === "Request") return this.#serve(message);
    const waiting = this.#asked.get(message.id);
    if (!waiting) throw this.violation(`an answer to ${message.id}, which nobody asked`);
    const { response } = message;
    const { kind } = waiting.request;
    if (response && response.kind !== kind) throw this.violation(`${response.kind} in answer to ${kind}`);
    if (response && response.answer.length > MAX.answer[kind]) throw this.violation(`${kind}: too long an answer`);
    this.#asked.delete(message.id);
    clearTimeout(waiting.timer);
    waiting.resolve(response?.answer ?? null);
    this.#ask();
  }

  #serve({ id, request }) {
    if (this.#answering.has(id)) throw this.violation(`asked ${id} twice`);
    if (this.#answering.size === MAX_REQUESTS) throw this.violation(`more than ${MAX_REQUESTS} requests`);
    this.#answering.add(id);
    const { kind } = request;
    const reply = (answer) => {
      this.#answering.delete(id);
      this.send({ type: "Response", id, response: answer === null ? null : { kind, answer } });
    };
    // Whatever goes wrong here is no fault of the peer: it learns that we do not have it.
    Promise.resolve(this.link.service.answer(request)).catch(() => null).then(reply);
  }

  close(error) {
    for (const waiting of [...this.#asked.values(), ...this.#queued]) {
      clearTimeout(waiting.timer);
      waiting.reject(error);
    }
  }
}

/** Milliseconds that a part may take, as with the existing node. */
const PART_TIMEOUT = 30_000;

/** A staged ledger in parts: first, second, third, and then the trees of the scan state. */
export class StreamingChannel extends Channel {
  #fetching = null;
  #serving = null;

  constructor(link) {
    super("streaming", streaming, link);
  }

  longest() {
    return this.#fetching ? MAX.part : MAX.streamingRequest;
  }

  /** The parts of the staged ledger of a block, `[{part, bytes}]`; `null` if the peer does not have it. */
  fetch(block) {
    if (this.#fetching) throw new Error("streaming: a fetch is under way");
    this.#fetching = { id: this.link.nextId(), parts: [], count: PARTS.length - 1, ...Promise.withResolvers() };
    this.#watch();
    this.send({ type: "Request", id: this.#fetching.id, block });
    return this.#fetching.promise;
  }

  #watch() {
    clearTimeout(this.#fetching.timer);
    this.#fetching.timer = setTimeout(() => this.link.end(new Error("no part of a staged ledger")), PART_TIMEOUT);
  }

  take(message) {
    if (message.type === "Request") return this.#serve(message);
    if (message.type === "Next") return this.#next(message.id);
    if (this.#fetching?.id !== message.id) throw this.violation("a part that nobody asked for");
    if (message.part === null) return this.#finish(null);
    const { parts } = this.#fetching;
    const expected = PARTS[Math.min(parts.length, PARTS.length - 1)];
    if (message.part.part !== expected) throw this.violation(`${message.part.part} where ${expected} comes next`);
    parts.push(message.part);
    if (expected === "ScanStateBase") this.#fetching.count += this.#trees(message.part.bytes);
    if (parts.length === this.#fetching.count) return this.#finish(parts);
    this.#watch();
    this.send({ type: "Next", id: message.id });
  }

  #trees(base) {
    const count = new Reader(base).int("trees");
    if (count < 0n || count > BigInt(MAX.parts)) throw this.violation(`${count} trees`);
    return Number(count);
  }

  #finish(parts) {
    const { resolve, timer } = this.#fetching;
    clearTimeout(timer);
    this.#fetching = null;
    resolve(parts);
  }

  #serve({ id, block }) {
    if (this.#serving) throw this.violation("asked twice");
    this.#serving = { id, parts: null, sent: 0 };
    const reply = (parts) => {
      this.#serving.parts = parts;
      this.#part();
    };
    // Whatever goes wrong here is no fault of the peer: it learns that we do not have it.
    Promise.resolve(this.link.service.parts(block)).catch(() => null).then(reply);
  }

  #next(id) {
    if (this.#serving?.id !== id || !this.#serving.parts) throw this.violation("Next out of turn");
    this.#part();
  }

  #part() {
    const { id, parts, sent } = this.#serving;
    const part = parts?.[sent] ?? null;
    this.#serving.sent += 1;
    if (part === null || this.#serving.sent === parts.length) this.#serving = null;
    this.send({ type: "Response", id, part });
  }

  close(error) {
    clearTimeout(this.#fetching?.timer);
    this.#fetching?.reject(error);
  }
}

/** A relay introduces us to another of its peers. We are never the relay: we do not ask whether anybody wants that. */
export class DiscoveryChannel extends Channel {
  #state = "free";
  #attempt = null;

  constructor(link) {
    super("discovery", discovery, link);
  }

  longest() {
    return MAX.signal;
  }

  #from(...states) {
    if (!states.includes(this.#state)) throw this.violation(`out of turn while ${this.#state}`);
  }

  /** Asks for an introduction if the peer gives one and we want one. */
  offer() {
    if (this.#state !== "requested" || !this.link.signaling?.wantsPeers()) return;
    this.#state = "discovering";
    this.send({ type: "Discover" });
  }

  take(message) {
    switch (message.type) {
      case "GetNext":
        this.#from("free");
        this.#state = "requested";
        return this.offer();
      case "Discovered":
        this.#from("discovering");
        this.#state = "offering";
        return void this.#answer(message.target);
      case "Answer":
        this.#from("offered");
        this.#state = "free";
        return this.#attempt.take(message.answer);
      default:
        throw this.violation(`${message.type}, but we are no relay`);
    }
  }

  async #answer(target) {
    this.#attempt = await this.link.signaling.offerFor(target).catch(() => null);
    this.#state = this.#attempt ? "offered" : "free";
    this.send(
      this.#attempt ? { type: "DiscoveredAccept", offer: this.#attempt.sealed } : { type: "DiscoveredReject" },
    );
  }

  close() {
    if (this.#state === "offered") this.#attempt.take(null);
  }
}

/** A relay hands us offers of those who want to connect: the only way to reach a page. */
export class ExchangeChannel extends Channel {
  #permitted = false;
  #requested = false;

  constructor(link) {
    super("exchange", exchange, link);
  }

  longest() {
    return MAX.signal;
  }

  start() {
    if (!this.link.signaling || this.#permitted) return;
    this.#permitted = true;
    this.send({ type: "GetNext" });
  }

  take(message) {
    switch (message.type) {
      case "GetNext":
        if (this.#requested) throw this.violation("asked twice");
        // The peer would take offers through us. We relay none.
        this.#requested = true;
        return;
      case "OfferToYou":
        if (!this.#permitted) throw this.violation("an offer that nobody asked for");
        this.#permitted = false;
        return void this.#answer(message);
      default:
        throw this.violation("an answer to no offer");
    }
  }

  async #answer({ offerer, offer }) {
    const answer = await this.link.signaling.takeOffer(offerer, offer).catch(() => null);
    this.send({ type: "Answer", answer });
    this.start();
  }
}
