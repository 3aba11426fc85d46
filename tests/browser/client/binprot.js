// OCaml's bin_prot, as far as the protocol uses it: docs/SPEC.md, section 1.

import { Malformed, concat } from "./bytes.js";

const U64 = (1n << 64n) - 1n;

/** Reads one value after the other and never beyond the end. Integers may be longer than needed, as in the existing node. */
export class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get left() {
    return this.#bytes.length - this.#at;
  }

  /** A copy of the next `length` bytes. */
  take(length, what) {
    if (length > this.left) {
      throw new Malformed(what, `ends at ${this.#bytes.length}, ${length - this.left} bytes early`);
    }
    this.#at += length;
    return this.#bytes.slice(this.#at - length, this.#at);
  }

  /** A copy of all that is left: an opaque field. */
  rest() {
    return this.take(this.left, "rest");
  }

  byte(what) {
    return this.take(1, what)[0];
  }

  /** The number of a variant, below `count`. */
  tag(count, what) {
    const tag = this.byte(what);
    if (tag >= count) throw new Malformed(what, `there is no variant ${tag}`);
    return tag;
  }

  bool(what) {
    return this.tag(2, what) === 1;
  }

  /** `null`, or what `read` returns. */
  option(what, read) {
    return this.bool(what) ? read(this) : null;
  }

  #integer(what, signed) {
    const first = this.byte(what);
    if (first < 0x80) return BigInt(first);
    const length = { 0xff: 1, 0xfe: 2, 0xfd: 4, 0xfc: 8 }[first];
    if (length === undefined || (length === 1 && !signed)) {
      throw new Malformed(what, `no integer starts with ${first.toString(16)}`);
    }
    const number = this.take(length, what).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
    return signed ? BigInt.asIntN(length * 8, number) : number;
  }

  /** A natural number of up to 64 bits, as BigInt. */
  nat0(what) {
    return this.#integer(what, false);
  }

  /** A signed number of up to 64 bits, as BigInt. */
  int(what) {
    return this.#integer(what, true);
  }

  #small(what, value, max) {
    if (value < 0n || value > BigInt(max)) throw new Malformed(what, `${value} is not in 0 to ${max}`);
    return Number(value);
  }

  u8(what) {
    return this.#small(what, this.int(what), 0xff);
  }

  u16(what) {
    return this.#small(what, this.int(what), 0xffff);
  }

  u32(what) {
    return this.#small(what, this.int(what), 0xffffffff);
  }

  /** A count or a length, refused above `max` before anything is reserved. */
  length(max, what) {
    return this.#small(what, this.nat0(what), max);
  }

  string(max, what) {
    return this.take(this.length(max, what), what);
  }

  list(max, what, read) {
    const count = this.length(max, what);
    // Every item takes a byte at least.
    if (count > this.left) throw new Malformed(what, `${count} items in ${this.left} bytes`);
    return Array.from({ length: count }, () => read(this));
  }

  /** Bytes as a list of integers: each from 80 up takes three. */
  intList(max, what) {
    return Uint8Array.from(this.list(max, what, (reader) => reader.u8(what)));
  }

  /** After the last field: nothing may follow. */
  end(what) {
    if (this.left > 0) throw new Malformed(what, `${this.left} bytes too many`);
  }
}

/** Writes the shortest form of everything. */
export class Writer {
  #parts = [];

  bytes(bytes) {
    this.#parts.push(bytes);
    return this;
  }

  byte(value) {
    return this.bytes(Uint8Array.of(value));
  }

  bool(value) {
    return this.byte(value ? 1 : 0);
  }

  #coded(code, value, length) {
    const bytes = [code];
    for (let i = 0; i < length; i++) bytes.push(Number((BigInt.asUintN(64, value) >> BigInt(8 * i)) & 0xffn));
    return this.bytes(Uint8Array.from(bytes));
  }

  nat0(number) {
    const value = BigInt(number);
    if (value < 0n || value > U64) throw new RangeError(`${value} is no natural number of 64 bits`);
    if (value < 0x80n) return this.byte(Number(value));
    if (value < 1n << 16n) return this.#coded(0xfe, value, 2);
    if (value < 1n << 32n) return this.#coded(0xfd, value, 4);
    return this.#coded(0xfc, value, 8);
  }

  /** Signed: also how u8, u16, u32 and Mina's UInt64 are written. */
  int(number) {
    const value = BigInt(number);
    if (value !== BigInt.asIntN(64, value)) throw new RangeError(`${value} is no integer of 64 bits`);
    if (value >= 0n && value < 0x80n) return this.byte(Number(value));
    if (value >= -0x80n && value < 0n) return this.#coded(0xff, value, 1);
    if (value === BigInt.asIntN(16, value)) return this.#coded(0xfe, value, 2);
    if (value === BigInt.asIntN(32, value)) return this.#coded(0xfd, value, 4);
    return this.#coded(0xfc, value, 8);
  }

  string(bytes) {
    return this.nat0(bytes.length).bytes(bytes);
  }

  list(items, write) {
    this.nat0(items.length);
    for (const item of items) write(item, this);
    return this;
  }

  intList(bytes) {
    return this.list(Array.from(bytes), (byte, writer) => writer.int(byte));
  }

  /** `null` or a value. */
  option(value, write) {
    this.bool(value !== null);
    if (value !== null) write(value, this);
    return this;
  }

  finish() {
    return concat(...this.#parts);
  }
}
