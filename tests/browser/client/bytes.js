// Bytes and their texts: hexadecimal, base58, base58check.

/** What somebody gave us is not what it should be. `what` names it. */
export class Malformed extends Error {
  constructor(what, why) {
    super(`${what}: ${why}`);
    this.name = "Malformed";
    this.what = what;
  }
}

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function equal(a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** -1, 0 or 1: the order of peer ids. */
export function compare(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return Math.sign(a.length - b.length);
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(text) {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new Malformed("hexadecimal", "not pairs of digits");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export function utf8(text) {
  return new TextEncoder().encode(text);
}

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** Base58 without a checksum. Quadratic in the length: bound what you give it. */
export function toBase58(bytes) {
  let number = 0n;
  for (const byte of bytes) number = (number << 8n) | BigInt(byte);
  let text = "";
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros < 0 ? bytes.length : zeros) + text;
}

/** The bytes of a base58 text of at most `maxLength` characters. */
export function fromBase58(text, maxLength = 256) {
  if (text.length > maxLength) throw new Malformed("base58", `${text.length} characters where ${maxLength} are allowed`);
  let number = 0n;
  for (const character of text) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) throw new Malformed("base58", `no digit: ${JSON.stringify(character)}`);
    number = number * 58n + BigInt(digit);
  }
  const bytes = [];
  for (; number > 0n; number >>= 8n) bytes.unshift(Number(number & 0xffn));
  const zeros = /^1*/.exec(text)[0].length;
  return Uint8Array.from([...new Array(zeros).fill(0), ...bytes]);
}

/** What stands before a value in base58check, by what it is. */
export const PREFIX = {
  secretKey: [0x80],
  publicKey: [0x16],
  peerId: [0x2f],
  stateHash: [0x10, 0x01],
  transactionHash: [0x1d, 0x20],
  accountKey: [0xcb, 0x01, 0x01],
};

const CHECKSUM_LENGTH = 4;

async function checksum(bytes) {
  return (await sha256(await sha256(bytes))).subarray(0, CHECKSUM_LENGTH);
}

export async function toBase58Check(kind, value) {
  const body = concat(Uint8Array.from(PREFIX[kind]), value);
  return toBase58(concat(body, await checksum(body)));
}

/** Checks the checksum, then the prefix, then the length, as every reader of these texts does. */
export async function fromBase58Check(kind, text, length = 32) {
  const bytes = fromBase58(text);
  if (bytes.length < CHECKSUM_LENGTH) throw new Malformed(kind, "too short for a checksum");
  const body = bytes.subarray(0, bytes.length - CHECKSUM_LENGTH);
  if (!equal(await checksum(body), bytes.subarray(body.length))) throw new Malformed(kind, "the checksum differs");
  const prefix = Uint8Array.from(PREFIX[kind]);
  if (!equal(prefix, body.subarray(0, prefix.length))) throw new Malformed(kind, "the prefix is another's");
  if (body.length !== prefix.length + length) {
    throw new Malformed(kind, `${body.length - prefix.length} bytes, not ${length}`);
  }
  return body.slice(prefix.length);
}
