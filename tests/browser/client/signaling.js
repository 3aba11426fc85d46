// Offers, answers and responses as JSON, and how they travel by HTTP.

import { Malformed, fromHex, toHex, utf8 } from "./bytes.js";
import { PublicKey } from "./identity.js";

const MAX_SIGNAL_LENGTH = 16 * 1024;

export const SIGNALING_PATH = "/mina/webrtc/signal";

/** Why a peer says no, in the names of the wire. */
export const REJECTION = {
  chainIdMismatch: "ChainIdMismatch",
  peerIdAndPublicKeyMismatch: "PeerIdAndPublicKeyMismatch",
  targetPeerIdNotMe: "TargetPeerIdNotMe",
  peerCapacityFull: "PeerCapacityFull",
  alreadyConnected: "AlreadyConnected",
  connectingToSelf: "ConnectingToSelf",
};

function parse(text, what) {
  if (text.length > MAX_SIGNAL_LENGTH) throw new Malformed(what, `${text.length} characters`);
  try {
    return JSON.parse(text);
  } catch {
    throw new Malformed(what, "no JSON");
  }
}

function text(object, field, what) {
  const value = object?.[field];
  if (typeof value !== "string") throw new Malformed(what, `${field} is no text`);
  return value;
}

/** `host` and `listenPort` are for nodes that can be dialed, which a browser never is: port null says so. */
export async function offerToJson({ sdp, chainId, identity, target }) {
  return JSON.stringify({
    sdp,
    chain_id: toHex(chainId),
    identity_pub_key: await identity.text(),
    target_peer_id: await target.peerIdText(),
    host: { Ipv4: "127.0.0.1" },
    listen_port: null,
  });
}

export async function offerFromJson(json) {
  const offer = parse(json, "offer");
  const chainId = fromHex(text(offer, "chain_id", "offer"));
  if (chainId.length !== 32) throw new Malformed("offer", `a chain id of ${chainId.length} bytes`);
  return {
    sdp: text(offer, "sdp", "offer"),
    chainId,
    identity: await PublicKey.parse(text(offer, "identity_pub_key", "offer")),
    target: await PublicKey.parsePeerId(text(offer, "target_peer_id", "offer")),
  };
}

/** A response is one of `{answer}`, `{rejected: reason}`, `{failed: name}`. */
export async function responseToJson(response) {
  if (response.failed) return JSON.stringify(response.failed);
  if (response.rejected) return JSON.stringify({ Rejected: response.rejected });
  const { sdp, identity, target } = response.answer;
  return JSON.stringify({
    Accepted: { sdp, identity_pub_key: await identity.text(), target_peer_id: await target.peerIdText() },
  });
}

export async function responseFromJson(json) {
  const response = parse(json, "response");
  if (typeof response === "string") return { failed: response };
  if (typeof response?.Rejected === "string") return { rejected: response.Rejected };
  const answer = response?.Accepted;
  return {
    answer: {
      sdp: text(answer, "sdp", "answer"),
      identity: await PublicKey.parse(text(answer, "identity_pub_key", "answer")),
      target: await PublicKey.parsePeerId(text(answer, "target_peer_id", "answer")),
    },
  };
}

/** Posts an offer to `origin` (`http://host:port`, or with `/clusters/id`) and returns the response's JSON. */
export async function postOffer(origin, offer, timeoutMs = 15_000) {
  const reply = await fetch(origin + SIGNALING_PATH, {
    method: "POST",
    // As bytes it has no Content-Type, which the existing node allows, and so the browser asks no permission (CORS) first.
    body: utf8(offer),
    signal: AbortSignal.timeout(timeoutMs),
  });
  // Refusals come with status 400 or 500 and a body that says why: the body counts.
  return bounded(reply);
}

async function bounded(reply) {
  let length = 0;
  const parts = [];
  for await (const part of reply.body ?? []) {
    length += part.length;
    if (length > MAX_SIGNAL_LENGTH) throw new Malformed("response", `more than ${MAX_SIGNAL_LENGTH} bytes`);
    parts.push(part);
  }
  return new Blob(parts).text();
}
