// Frames: the length of a body as four bytes, big-endian, and the body; cut into data channel messages.

import { Malformed, concat } from "./bytes.js";

const HEAD_LENGTH = 4;
/** The longest data channel message that the existing node writes, and that everyone takes. */
export const CHUNK_LENGTH = 16 * 1024;

/** The messages that carry this body. A length never travels alone: the existing node's reader would lose it. */
export function* chunks(body) {
  if (body.length === 0) throw new RangeError("a body is never empty");
  const head = new Uint8Array(HEAD_LENGTH);
  new DataView(head.buffer).setUint32(0, body.length);
  const first = CHUNK_LENGTH - HEAD_LENGTH;
  yield concat(head, body.subarray(0, first));
  for (let at = first; at < body.length; at += CHUNK_LENGTH) yield body.subarray(at, at + CHUNK_LENGTH);
}

/** What is reserved for a body at first, whatever its head claims. It grows as the bytes arrive. */
const FIRST_STORAGE = 64 * 1024;

/** Puts bodies together again. */
export class FrameReader {
  #longest;
  #head = new Uint8Array(HEAD_LENGTH);
  #headLength = 0;
  /** The body's length; 0 while a head is read. */
  #length = 0;
  #storage = new Uint8Array(0);
  #stored = 0;

  /** `longest()` is the most bytes that a body may have now: asked at each head, before the body is taken. */
  constructor(longest) {
    this.#longest = longest;
  }

  /** Yields each body that these bytes complete. */
  *push(bytes) {
    for (let at = 0; at < bytes.length; ) {
      if (this.#length === 0) {
        const taken = bytes.subarray(at, at + HEAD_LENGTH - this.#headLength);
        this.#head.set(taken, this.#headLength);
        this.#headLength += taken.length;
        at += taken.length;
        if (this.#headLength < HEAD_LENGTH) return;
        this.#begin(new DataView(this.#head.buffer).getUint32(0));
        continue;
      }
      const taken = bytes.subarray(at, at + this.#length - this.#stored);
      this.#store(taken);
      at += taken.length;
      if (this.#stored === this.#length) {
        const body = this.#storage.subarray(0, this.#length);
        this.#length = 0;
        yield body;
      }
    }
  }

  #begin(length) {
    const longest = this.#longest();
    if (length === 0) throw new Malformed("frame", "an empty body");
    if (length > longest) throw new Malformed("frame", `${length} bytes where ${longest} are allowed`);
    this.#headLength = 0;
    this.#length = length;
    this.#stored = 0;
    this.#storage = new Uint8Array(Math.min(length, FIRST_STORAGE));
  }

  #store(bytes) {
    const needed = this.#stored + bytes.length;
    if (needed > this.#storage.length) {
      const larger = new Uint8Array(Math.min(this.#length, Math.max(needed, 2 * this.#storage.length)));
      larger.set(this.#storage.subarray(0, this.#stored));
      this.#storage = larger;
    }
    this.#storage.set(bytes, this.#stored);
    this.#stored = needed;
  }
}
