// Who a node is: an ed25519 key. Its texts, and the key that it shares with another.

import { Malformed, compare, concat, equal, fromBase58Check, fromHex, toBase58Check } from "./bytes.js";

const P = (1n << 255n) - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

const mod = (number) => ((number % P) + P) % P;

function power(base, exponent) {
  let result = 1n;
  for (let factor = mod(base), left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = mod(result * factor);
    factor = mod(factor * factor);
  }
  return result;
}

const inverse = (number) => power(number, P - 2n);

/** Whether some x makes (x, y) a point of the curve: -x^2 + y^2 = 1 + d x^2 y^2. */
function isOnCurve(y) {
  const y2 = mod(y * y);
  const x2 = mod((y2 - 1n) * inverse(D * y2 + 1n));
  return x2 === 0n || power(x2, (P - 1n) / 2n) === 1n;
}

function littleEndian(bytes) {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function toLittleEndian(number) {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}

/** Another node's public key. Its bytes are also the peer id. */
export class PublicKey {
  /** The 32 bytes. */
  bytes;

  constructor(bytes) {
    if (bytes.length !== 32) throw new Malformed("public key", `${bytes.length} bytes, not 32`);
    this.bytes = bytes;
    if (!isOnCurve(this.#y())) throw new Malformed("public key", "no point of the curve");
  }

  #y() {
    // The highest bit is the sign of x, which has no part in what we compute.
    return mod(littleEndian(this.bytes) & ((1n << 255n) - 1n));
  }

  /** The same point on the curve of X25519: u = (1 + y) / (1 - y). */
  montgomery() {
    const y = this.#y();
    return toLittleEndian(mod((1n + y) * inverse(1n - y)));
  }

  equals(other) {
    return equal(this.bytes, other.bytes);
  }

  compare(other) {
    return compare(this.bytes, other.bytes);
  }

  text() {
    return toBase58Check("publicKey", this.bytes);
  }

  peerIdText() {
    return toBase58Check("peerId", this.bytes);
  }

  static async parse(text) {
    return new PublicKey(await fromBase58Check("publicKey", text));
  }

  static async parsePeerId(text) {
    return new PublicKey(await fromBase58Check("peerId", text));
  }
}

// The fixed beginnings of a private key of 32 bytes in PKCS #8 (RFC 8410).
const PKCS8_ED25519 = fromHex("302e020100300506032b657004220420");
const PKCS8_X25519 = fromHex("302e020100300506032b656e04220420");

/** Our own key. */
export class SecretKey {
  #x25519;

  constructor(publicKey, x25519) {
    this.publicKey = publicKey;
    this.#x25519 = x25519;
  }

  static generate() {
    return SecretKey.fromSeed(crypto.getRandomValues(new Uint8Array(32)));
  }

  /** From the 32 bytes of the seed, which are not kept. */
  static async fromSeed(seed) {
    if (seed.length !== 32) throw new Malformed("secret key", `${seed.length} bytes, not 32`);
    const ed25519 = await crypto.subtle.importKey("pkcs8", concat(PKCS8_ED25519, seed), "Ed25519", true, ["sign"]);
    const { x } = await crypto.subtle.exportKey("jwk", ed25519);
    const publicBytes = Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    // Ed25519's own scalar; X25519 clamps it by itself.
    const scalar = new Uint8Array(await crypto.subtle.digest("SHA-512", seed)).subarray(0, 32);
    const x25519 = await crypto.subtle.importKey("pkcs8", concat(PKCS8_X25519, scalar), "X25519", false, ["deriveBits"]);
    return new SecretKey(new PublicKey(publicBytes), x25519);
  }

  static async parse(text) {
    return SecretKey.fromSeed(await fromBase58Check("secretKey", text));
  }

  /** The 32 bytes that only we and the other can know. Refuses another whose key is of small order. */
  async sharedWith(other) {
    const point = await crypto.subtle.importKey("raw", other.montgomery(), "X25519", false, []);
    let shared;
    try {
      shared = new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: point }, this.#x25519, 256));
    } catch (error) {
      throw new Malformed("public key", `of small order (${error.name})`);
    }
    if (shared.every((byte) => byte === 0)) throw new Malformed("public key", "of small order");
    return shared;
  }
}
