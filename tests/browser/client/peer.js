// One connection: WebRTC, authentication, and the channels on it.

import { Violation, BestTipChannel, DiscoveryChannel, ExchangeChannel, PoolChannel, RpcChannel, StreamingChannel } from "./channels.js";
import { CHANNEL } from "./messages.js";
import { ConnectionAuth } from "./sealing.js";
import { FrameReader, chunks } from "./framing.js";

/** Times in milliseconds. */
const GATHERING_TIMEOUT = 3_000;
/** From both descriptions to authentication. The existing node sleeps a second of it. */
const AUTHENTICATION_TIMEOUT = 15_000;
/** The existing node loses what comes within a few milliseconds of authentication, so the first message waits for a word of
 * its own, or for this long. */
const SILENCE = 200;
/** How long ICE may be without an answer before the peer counts as gone. */
const DISCONNECTED_TIMEOUT = 5_000;

/** What may come before we have checked who the peer is: it may be done with its half first, but only permits come then. */
const MAX_EARLY = 64 * 1024;
/** What one channel may have in the browser's buffer. Chromium closes a channel at 16 MiB. */
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 64 * 1024;

/** Writes the frames of one channel, no more at a time than the browser should hold. */
class Outbox {
  #channel;
  #queue = [];
  #isOpen = false;

  constructor(channel) {
    this.#channel = channel;
    channel.bufferedAmountLowThreshold = LOW_WATER;
    channel.addEventListener("bufferedamountlow", () => this.#pump());
  }

  send(body) {
    this.#queue.push(chunks(body));
    this.#pump();
  }

  open() {
    this.#isOpen = true;
    this.#pump();
  }

  #pump() {
    while (this.#isOpen && this.#queue.length > 0 && this.#channel.bufferedAmount < HIGH_WATER) {
      if (this.#channel.readyState !== "open") return;
      const { value, done } = this.#queue[0].next();
      if (done) this.#queue.shift();
      else this.#channel.send(value);
    }
  }
}

/**
 * A connection with one peer. `ready` resolves when it has proved who it is; `closed` resolves with the reason when it is
 * over. Then there are `bestTip`, `transactions`, `snarks`, `commitments`, `rpc`, `streaming`, `discovery`, `exchange`:
 * see channels.js.
 */
export class Peer {
  /** The texts as they were sent: what authentication hashes. */
  offerSdp = null;
  answerSdp = null;

  /** Whether the offer was ours. */
  isOurs = false;

  #secret;
  #connection;
  #main;
  #channels = new Map();
  #state = "connecting";
  #early = [];
  #earlyLength = 0;
  #nextId = 0n;
  #timers = [];
  #ready = Promise.withResolvers();
  #closed = Promise.withResolvers();
  #authentication = Promise.withResolvers();

  /**
   * `remote` is the public key of the one that we mean to talk with, `service` what we give, `signaling` what takes part in
   * relayed signaling (a Node) or null, `rtc` the configuration of the RTCPeerConnection (STUN servers).
   */
  constructor({ secret, remote, service, signaling = null, rtc = {} }) {
    this.#secret = secret;
    this.#connection = new RTCPeerConnection(rtc);
    this.remote = remote;
    this.ready = this.#ready.promise;
    this.closed = this.#closed.promise;
    this.ready.catch(() => {});
    this.#authentication.promise.catch(() => {});
    this.#main = this.#stream(0, "");
    this.#main.onmessage = ({ data }) => this.#authentication.resolve(new Uint8Array(data));
    this.#makeChannels(service, signaling);
    this.#connection.onconnectionstatechange = () => this.#watch();
  }

  get isOpen() {
    return this.#state === "ready";
  }

  // Signaling. Offer and answer are whole: they are made when all candidates are known.

  async offer() {
    this.isOurs = true;
    await this.#connection.setLocalDescription(await this.#connection.createOffer());
    this.offerSdp = await this.#gathered();
    return this.offerSdp;
  }

  async takeAnswer(sdp) {
    this.answerSdp = sdp;
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
    this.#authenticate();
  }

  async answer(offerSdp) {
    this.offerSdp = offerSdp;
    await this.#connection.setRemoteDescription({ type: "offer", sdp: offerSdp });
    await this.#connection.setLocalDescription(await this.#connection.createAnswer());
    this.answerSdp = await this.#gathered();
    this.#authenticate();
    return this.answerSdp;
  }

  async #gathered() {
    const { promise, resolve } = Promise.withResolvers();
    const look = () => this.#connection.iceGatheringState === "complete" && resolve();
    this.#connection.onicegatheringstatechange = look;
    this.#after(GATHERING_TIMEOUT, resolve);
    look();
    await promise;
    if (this.#state === "closed") throw await this.closed;
    return this.#connection.localDescription.sdp;
  }

  // Authentication, on stream 0.

  async #authenticate() {
    this.#after(AUTHENTICATION_TIMEOUT, () => {
      if (this.#state === "connecting") this.close(new Error("the peer did not authenticate in time"));
    });
    try {
      const auth = await ConnectionAuth.of(this.offerSdp, this.answerSdp);
      // Made before theirs is looked at: one that equals it is ours, reflected.
      const ours = await auth.seal(this.#secret, this.remote);
      await opened(this.#main);
      this.#main.send(ours);
      await auth.check(this.#secret, this.remote, ours, await this.#authentication.promise);
    } catch (error) {
      return this.close(error);
    }
    if (this.#state !== "connecting") return;
    this.#state = "ready";
    this.#main.close();
    this.#after(SILENCE, () => this.#speak());
    this.#ready.resolve(this);
    for (const { channel } of this.#channels.values()) channel.start();
    for (const [name, data] of this.#early.splice(0)) this.#receive(name, data);
  }

  // The channels.

  #stream(id, label) {
    const stream = this.#connection.createDataChannel(label, { negotiated: true, id, ordered: true });
    stream.binaryType = "arraybuffer";
    return stream;
  }

  #makeChannels(service, signaling) {
    const link = (name) => ({
      service,
      signaling,
      send: (body) => this.#state !== "closed" && this.#channels.get(name).outbox.send(body),
      end: (error) => this.close(error),
      nextId: () => this.#nextId++,
    });
    Object.assign(this, {
      discovery: new DiscoveryChannel(link("discovery")),
      exchange: new ExchangeChannel(link("exchange")),
      bestTip: new BestTipChannel(link("bestTip")),
      rpc: new RpcChannel(link("rpc")),
      streaming: new StreamingChannel(link("streaming")),
    });
    for (const name of ["transactions", "snarks", "commitments"]) this[name] = new PoolChannel(name, link(name));
    for (const [name, { id, label }] of Object.entries(CHANNEL)) {
      const channel = this[name];
      const stream = this.#stream(id, label);
      const reader = new FrameReader(() => channel.longest());
      this.#channels.set(name, { channel, reader, outbox: new Outbox(stream) });
      stream.onmessage = ({ data }) => this.#receive(name, data);
      stream.onclose = () => this.close(new Error(`the peer closed ${label}`));
    }
  }

  #receive(name, data) {
    if (this.#state === "closed") return;
    try {
      if (!(data instanceof ArrayBuffer)) throw new Violation(name, "a text");
      if (data.byteLength === 0) throw new Violation(name, "an empty data channel message");
      if (this.#state === "connecting") return this.#keep(name, data);
      this.#speak();
      const { channel, reader } = this.#channels.get(name);
      for (const body of reader.push(new Uint8Array(data))) channel.receive(body);
    } catch (error) {
      this.close(error);
    }
  }

  #keep(name, data) {
    this.#earlyLength += data.byteLength;
    if (this.#earlyLength > MAX_EARLY) throw new Violation(name, `over ${MAX_EARLY} bytes before authentication`);
    this.#early.push([name, data]);
  }

  #speak() {
    if (this.#state !== "ready") return;
    for (const { outbox } of this.#channels.values()) outbox.open();
  }

  /** Tells the peer what is new in the service, as far as it asked. */
  offerNews() {
    if (!this.isOpen) return;
    for (const { channel } of this.#channels.values()) channel.offer();
  }

  // The end.

  #watch() {
    const { connectionState } = this.#connection;
    if (connectionState === "failed") this.close(new Error("the connection failed"));
    if (connectionState !== "disconnected") return;
    this.#after(DISCONNECTED_TIMEOUT, () => {
      if (this.#connection.connectionState === "disconnected") this.close(new Error("the peer is silent"));
    });
  }

  #after(milliseconds, act) {
    this.#timers.push(setTimeout(act, milliseconds));
  }

  close(reason = new Error("closed by us")) {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#timers.forEach(clearTimeout);
    this.#connection.close();
    this.#ready.reject(reason);
    this.#authentication.reject(reason);
    for (const { channel } of this.#channels.values()) channel.close(reason);
    this.#closed.resolve(reason);
  }
}

function opened(stream) {
  if (stream.readyState === "open") return Promise.resolve();
  return new Promise((resolve, reject) => {
    stream.addEventListener("open", resolve, { once: true });
    stream.addEventListener("close", () => reject(new Error("closed before it was open")), { once: true });
  });
}
