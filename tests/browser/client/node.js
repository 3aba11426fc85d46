// A node in a page: it dials by HTTP signaling, and takes part in relayed signaling. It cannot listen.

import { Malformed, equal, toHex, utf8 } from "./bytes.js";
import { parseAddress, signalingOrigin } from "./address.js";
import { Peer } from "./peer.js";
import { PublicKey } from "./identity.js";
import { REJECTION, offerFromJson, offerToJson, postOffer, responseFromJson, responseToJson } from "./signaling.js";
import { Service } from "./service.js";
import { open, seal } from "./sealing.js";

/** A peer said no; `reason` in its words. */
export class Refused extends Error {
  constructor(reason) {
    super(`refused: ${reason}`);
    this.name = "Refused";
    this.reason = reason;
  }
}

export class Node {
  /** Connected peers, by the hexadecimal of their ids. */
  peers = new Map();
  #dialing = new Set();

  /** `onPeer(peer)` hears of each new connection. Peers beyond `maxPeers` are refused. */
  constructor({ secret, chainId, service = new Service(), maxPeers = 16, onPeer = () => {}, rtc = {} }) {
    this.secret = secret;
    this.chainId = chainId;
    this.service = service;
    this.maxPeers = maxPeers;
    this.onPeer = onPeer;
    this.rtc = rtc;
  }

  get identity() {
    return this.secret.publicKey;
  }

  /** Tells the peers that something was added to the service. */
  offer() {
    for (const peer of this.peers.values()) peer.offerNews();
  }

  close() {
    for (const peer of this.peers.values()) peer.close();
  }

  /** Connects to an address in text form, `/<peer id>/http/<host>/<port>` for one; resolves to the authenticated Peer. */
  async dial(text) {
    const address = await parseAddress(text);
    return this.dialBy(new PublicKey(address.id), (offer) => postOffer(signalingOrigin(address), offer));
  }

  /** The same by other signaling: `carry` takes the JSON of an offer to `target` and brings back that of its response. */
  async dialBy(target, carry) {
    const attempt = await this.#attempt(target);
    return attempt.take(carry(attempt.offer));
  }

  /** One offer: its JSON, and `take`, which makes a connection of (a promise of) the response's JSON. */
  async #attempt(target) {
    const id = toHex(target.bytes);
    if (this.peers.has(id) || this.#dialing.has(id)) throw new Refused(REJECTION.alreadyConnected);
    if (target.equals(this.identity)) throw new Refused(REJECTION.connectingToSelf);
    this.#dialing.add(id);
    const peer = this.#peer(target);
    peer.closed.then(() => this.#dialing.delete(id));
    try {
      const { chainId, identity } = this;
      const offer = await offerToJson({ sdp: await peer.offer(), chainId, identity, target });
      return { offer, take: (response) => this.#connect(peer, response) };
    } catch (error) {
      peer.close(error);
      throw error;
    }
  }

  async #connect(peer, response) {
    try {
      const { answer, rejected, failed } = await responseFromJson(await response);
      if (!answer) throw new Refused(rejected ?? failed);
      if (!answer.identity.equals(peer.remote)) throw new Malformed("answer", "of another peer");
      if (!answer.target.equals(this.identity)) throw new Malformed("answer", "to another peer");
      await peer.takeAnswer(answer.sdp);
      await peer.ready;
    } catch (error) {
      peer.close(error);
      throw error;
    }
    this.#dialing.delete(toHex(peer.remote.bytes));
    this.#adopt(peer);
    return peer;
  }

  #peer(remote) {
    return new Peer({ secret: this.secret, remote, service: this.service, signaling: this, rtc: this.rtc });
  }

  /** Of two connections with one peer that of the greater dialer stays, or the older one. Both ends choose alike. */
  #adopt(peer) {
    if (!peer.isOpen) return;
    const id = toHex(peer.remote.bytes);
    const older = this.peers.get(id);
    const isPreferred = peer.isOurs === this.identity.compare(peer.remote) > 0;
    if (older && !(isPreferred && older.isOurs !== peer.isOurs)) return peer.close(new Error("connected twice"));
    this.peers.set(id, peer);
    older?.close(new Error("connected twice"));
    peer.closed.then(() => this.peers.get(id) === peer && this.peers.delete(id));
    this.onPeer(peer);
  }

  /** Answers the JSON of an offer with that of a response, whichever way it came. */
  async accept(json) {
    const offer = await offerFromJson(json);
    const rejected = this.#refusal(offer);
    if (rejected) return responseToJson({ rejected });
    const peer = this.#peer(offer.identity);
    let sdp;
    try {
      sdp = await peer.answer(offer.sdp);
    } catch (error) {
      peer.close(error);
      return responseToJson({ failed: "InternalError" });
    }
    peer.ready.then(() => this.#adopt(peer), () => {});
    return responseToJson({ answer: { sdp, identity: this.identity, target: offer.identity } });
  }

  #refusal({ chainId, identity, target }) {
    if (!equal(chainId, this.chainId)) return REJECTION.chainIdMismatch;
    if (!target.equals(this.identity)) return REJECTION.targetPeerIdNotMe;
    if (identity.equals(this.identity)) return REJECTION.connectingToSelf;
    const id = toHex(identity.bytes);
    if (this.peers.has(id)) return REJECTION.alreadyConnected;
    // Of crossed offers the one of the greater id counts.
    if (this.#dialing.has(id) && identity.compare(this.identity) < 0) return REJECTION.alreadyConnected;
    if (this.peers.size >= this.maxPeers) return REJECTION.peerCapacityFull;
    return null;
  }

  // Relayed signaling: what DiscoveryChannel and ExchangeChannel ask.

  wantsPeers() {
    return this.peers.size + this.#dialing.size < this.maxPeers;
  }

  /** An offer for a peer that a relay proposes, and what takes its sealed answer; throws if we do not want that peer. */
  async offerFor(target) {
    const { offer, take } = await this.#attempt(target);
    const response = async (sealed) => {
      if (sealed === null) throw new Refused("InternalError");
      return new TextDecoder().decode(await open(this.secret, target, sealed));
    };
    return {
      sealed: await seal(this.secret, target, utf8(offer)),
      take: (sealed) => void take(response(sealed)).catch(() => {}),
    };
  }

  /** The sealed response to a sealed offer. */
  async takeOffer(offerer, sealed) {
    let json;
    try {
      json = new TextDecoder().decode(await open(this.secret, offerer, sealed));
      if (!(await offerFromJson(json)).identity.equals(offerer)) throw new Malformed("offer", "of another peer");
    } catch {
      return seal(this.secret, offerer, utf8(await responseToJson({ failed: "SignalDecryptionFailed" })));
    }
    return seal(this.secret, offerer, utf8(await this.accept(json)));
  }
}
