// The bodies of frames, by channel: docs/SPEC.md, section 5. A message is `{type, ...}`; `encode` and `decode` of each
// channel are each other's inverse. Opaque fields stay bytes.

import { Malformed } from "./bytes.js";
import { Reader, Writer } from "./binprot.js";
import { PublicKey } from "./identity.js";
import { readAddress, writeAddress } from "./address.js";

const KIB = 1024;
const MIB = 1024 * KIB;

/** The channels by the id of their stream, with the label that the existing node gives it. */
export const CHANNEL = {
  discovery: { id: 1, label: "signaling/discovery" },
  exchange: { id: 2, label: "signaling/exchange" },
  bestTip: { id: 3, label: "best_tip/propagation" },
  transactions: { id: 4, label: "transaction/propagation" },
  snarks: { id: 5, label: "snark/propagation" },
  commitments: { id: 6, label: "snark_job_commitment/propagation" },
  rpc: { id: 7, label: "rpc" },
  streaming: { id: 8, label: "rpc/streaming" },
};

/** The most bytes of a body, where it is not clear from the state of the channel alone. */
export const MAX = {
  signal: 16 * KIB,
  tip: 32 * MIB,
  permit: 4,
  transaction: 84,
  snark: 171,
  commitment: 180,
  request: 139,
  responseHead: 12,
  streamingRequest: 43,
  part: 16 * MIB,
  parts: 64,
  addresses: 1024,
  /** Of an answer, by kind. The whole staged ledger, 256 MiB, is not for a page: it is fetched in parts. */
  answer: {
    BestTipWithProof: 4 * MIB,
    LedgerQuery: MIB,
    StagedLedgerAux: 32 * MIB,
    Block: 32 * MIB - 1,
    Snark: 64 * KIB,
    Transaction: 512 * KIB,
    InitialPeers: 312_323,
  },
};

function decoder(what, variants, read) {
  return (body) => {
    const reader = new Reader(body);
    const type = variants[reader.tag(variants.length, what)];
    const message = { type, ...read(type, reader) };
    reader.end(what);
    return message;
  };
}

function encoder(variants, write) {
  return (message) => {
    const writer = new Writer().byte(variants.indexOf(message.type));
    write(message, writer);
    return writer.finish();
  };
}

const publicKey = (reader) => new PublicKey(reader.take(32, "public key"));
const sealedRead = (reader) => reader.intList(MAX.signal, "sealed text");
const sealedWrite = (sealed, writer) => writer.intList(sealed);

const DISCOVERY = ["GetNext", "Discover", "Discovered", "DiscoveredReject", "DiscoveredAccept", "Answer"];
export const discovery = {
  decode: decoder("discovery message", DISCOVERY, (type, reader) => {
    if (type === "Discovered") return { target: publicKey(reader) };
    if (type === "DiscoveredAccept") return { offer: sealedRead(reader) };
    if (type === "Answer") return { answer: reader.option("answer", sealedRead) };
    return {};
  }),
  encode: encoder(DISCOVERY, (message, writer) => {
    if (message.type === "Discovered") writer.bytes(message.target.bytes);
    if (message.type === "DiscoveredAccept") writer.intList(message.offer);
    if (message.type === "Answer") writer.option(message.answer, sealedWrite);
  }),
};

const EXCHANGE = ["GetNext", "OfferToYou", "Answer"];
export const exchange = {
  decode: decoder("exchange message", EXCHANGE, (type, reader) => {
    if (type === "OfferToYou") return { offerer: publicKey(reader), offer: sealedRead(reader) };
    if (type === "Answer") return { answer: reader.option("answer", sealedRead) };
    return {};
  }),
  encode: encoder(EXCHANGE, (message, writer) => {
    if (message.type === "OfferToYou") writer.bytes(message.offerer.bytes).intList(message.offer);
    if (message.type === "Answer") writer.option(message.answer, sealedWrite);
  }),
};

const BEST_TIP = ["GetNext", "BestTip"];
export const bestTip = {
  decode: decoder("best tip message", BEST_TIP, (type, reader) => (type === "BestTip" ? { block: reader.rest() } : {})),
  encode: encoder(BEST_TIP, (message, writer) => {
    if (message.type === "BestTip") writer.bytes(message.block);
  }),
};

const POOL = ["GetNext", "WillSend", "Item"];
function pool(what, item) {
  return {
    decode: decoder(`${what} message`, POOL, (type, reader) => {
      if (type === "GetNext") return { limit: reader.u8("limit") };
      if (type === "WillSend") return { count: reader.u8("count") };
      return { item: item.read(reader) };
    }),
    encode: encoder(POOL, (message, writer) => {
      if (message.type === "GetNext") writer.int(message.limit);
      if (message.type === "WillSend") writer.int(message.count);
      if (message.type === "Item") item.write(writer, message.item);
    }),
  };
}

const readAccount = (reader) => ({ x: reader.take(32, "account key"), isOdd: reader.bool("account key") });
const writeAccount = (writer, { x, isOdd }) => writer.bytes(x).bool(isOdd);
// The existing node writes these fees as signed numbers, those of transactions not.
const readUInt64 = (reader, what) => BigInt.asUintN(64, reader.int(what));
const writeUInt64 = (writer, value) => writer.int(BigInt.asIntN(64, value));

/** `{hash, feePayer: {x, isOdd}, fee, nonce}`; fees are BigInt, in nanomina. */
export const transactions = pool("transaction", {
  read: (reader) => ({
    hash: reader.take(32, "transaction hash"),
    feePayer: readAccount(reader),
    fee: reader.nat0("fee"),
    nonce: reader.u32("nonce"),
  }),
  write: (writer, { hash, feePayer, fee, nonce }) => {
    writer.bytes(hash);
    writeAccount(writer, feePayer);
    writer.nat0(fee).int(nonce);
  },
});

/** `{job, fee, prover}`; a job id is 128 bytes. */
export const snarks = pool("snark", {
  read: (reader) => ({ job: reader.take(128, "job id"), fee: readUInt64(reader, "fee"), prover: readAccount(reader) }),
  write: (writer, { job, fee, prover }) => {
    writer.bytes(job);
    writeUInt64(writer, fee);
    writeAccount(writer, prover);
  },
});

/** `{time, job, fee, snarker}`; the time in milliseconds since 1970, as BigInt. */
export const commitments = pool("commitment", {
  read: (reader) => ({
    time: reader.nat0("timestamp"),
    job: reader.take(128, "job id"),
    fee: readUInt64(reader, "fee"),
    snarker: readAccount(reader),
  }),
  write: (writer, { time, job, fee, snarker }) => {
    writer.nat0(time).bytes(job);
    writeUInt64(writer, fee);
    writeAccount(writer, snarker);
  },
});

const RPC = ["Request", "Response"];
const RPC_KINDS = Object.keys(MAX.answer);
const QUERIES = ["WhatChildHashes", "WhatContents", "NumAccounts"];
/** The length of what is asked for, where it is named by bytes. */
const NAMED_BY = { StagedLedgerAux: 32, Block: 32, Snark: 128, Transaction: 32 };

function readMerkle(reader) {
  const address = { depth: reader.u8("merkle depth"), path: reader.string(32, "merkle path") };
  if (address.path.length * 8 < address.depth) throw new Malformed("merkle path", "shorter than its depth");
  return address;
}

function readRequest(reader) {
  const kind = RPC_KINDS[reader.tag(RPC_KINDS.length, "rpc request")];
  if (NAMED_BY[kind]) return { kind, hash: reader.take(NAMED_BY[kind], "rpc request") };
  if (kind !== "LedgerQuery") return { kind };
  const hash = reader.take(32, "ledger hash");
  const query = QUERIES[reader.tag(QUERIES.length, "ledger query")];
  return { kind, hash, query, ...(query === "NumAccounts" ? {} : { address: readMerkle(reader) }) };
}

function writeRequest(writer, { kind, hash, query, address }) {
  writer.byte(RPC_KINDS.indexOf(kind));
  if (NAMED_BY[kind]) writer.bytes(hash);
  if (kind !== "LedgerQuery") return;
  writer.bytes(hash).byte(QUERIES.indexOf(query));
  if (address) writer.int(address.depth).string(address.path);
}

/**
 * `{type: "Request", id, request: {kind, ..}}`, where the kinds are the keys of `MAX.answer`, and
 * `{type: "Response", id, response: null | {kind, answer}}`: an answer is bytes, of InitialPeers a list of addresses.
 */
export const rpc = {
  decode: decoder("rpc message", RPC, (type, reader) => {
    const id = reader.nat0("rpc id");
    if (type === "Request") return { id, request: readRequest(reader) };
    const response = reader.option("rpc response", () => {
      const kind = RPC_KINDS[reader.tag(RPC_KINDS.length, "rpc response")];
      const addresses = () => reader.list(MAX.addresses, "addresses", readAddress);
      return { kind, answer: kind === "InitialPeers" ? addresses() : reader.rest() };
    });
    return { id, response };
  }),
  encode: encoder(RPC, (message, writer) => {
    writer.nat0(message.id);
    if (message.type === "Request") return writeRequest(writer, message.request);
    writer.option(message.response, ({ kind, answer }) => {
      writer.byte(RPC_KINDS.indexOf(kind));
      if (kind === "InitialPeers") writer.list(answer, (address) => writeAddress(writer, address));
      else writer.bytes(answer);
    });
  }),
};

const STREAMING = ["Next", "Request", "Response"];
export const PARTS = ["Base", "ScanStateBase", "PreviousIncompleteZkappUpdates", "ScanStateTree"];

/** `{type: "Response", id, part: null | {part, bytes}}` and so on. The only thing that comes in parts is a staged ledger. */
export const streaming = {
  decode: decoder("streaming rpc message", STREAMING, (type, reader) => {
    const id = reader.nat0("rpc id");
    if (type === "Next") return { id };
    if (type === "Request") {
      reader.tag(1, "streaming rpc request");
      return { id, block: reader.take(32, "state hash") };
    }
    const part = reader.option("part", () => {
      reader.tag(1, "streaming rpc response");
      return { part: PARTS[reader.tag(PARTS.length, "part")], bytes: reader.rest() };
    });
    return { id, part };
  }),
  encode: encoder(STREAMING, (message, writer) => {
    writer.nat0(message.id);
    if (message.type === "Request") writer.byte(0).bytes(message.block);
    if (message.type !== "Response") return;
    writer.option(message.part, ({ part, bytes }) => writer.byte(0).byte(PARTS.indexOf(part)).bytes(bytes));
  }),
};
