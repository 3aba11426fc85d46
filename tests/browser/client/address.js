// Addresses of nodes: docs/SPEC.md, section 3.
//
// An address is `{kind: "webrtc", id, via, host, port}` with `via` one of http, https, https_proxy (and `cluster`), or
// `{kind: "webrtc", id, via: "relay", relay}`, or `{kind: "libp2p" | "quic", id, host, port}`. Ids are the 32 bytes, hosts
// texts: IPv6 ones without brackets.

import { Malformed, concat, fromBase58Check, fromHex, toBase58, toBase58Check } from "./bytes.js";

const KINDS = ["webrtc", "libp2p", "quic"];
const VIAS = ["http", "https", "https_proxy", "relay"];
const MAX_DOMAIN_LENGTH = 253;

function readPeerId(reader) {
  const id = new Uint8Array(32);
  const view = new DataView(id.buffer);
  for (let at = 0; at < 32; at += 8) view.setBigUint64(at, reader.nat0("peer id"));
  return id;
}

function writePeerId(writer, id) {
  const view = new DataView(id.buffer, id.byteOffset);
  for (let at = 0; at < 32; at += 8) writer.nat0(view.getBigUint64(at));
}

/** The one spelling of a host, by the rules of URLs. */
function normalHost(text) {
  if (!/^(\[[0-9a-fA-F:.]+\]|[!-~]+)$/.test(text) || /[#%/<>?@\\^|]/.test(text) || !URL.canParse(`http://${text}`)) {
    throw new Malformed("host", JSON.stringify(text));
  }
  const { host, hostname } = new URL(`http://${text}`);
  // What the URL took for a port is none.
  if (host !== hostname) throw new Malformed("host", JSON.stringify(text));
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

const isIpv4 = (host) => /^\d+\.\d+\.\d+\.\d+$/.test(host);
const isIpv6 = (host) => host.includes(":");
const bracketed = (host) => (isIpv6(host) ? `[${host}]` : host);

function readHost(reader) {
  switch (reader.tag(3, "host")) {
    case 0: {
      const domain = reader.string(MAX_DOMAIN_LENGTH, "domain");
      return normalHost(String.fromCharCode(...domain));
    }
    case 1:
      return Array.from({ length: 4 }, () => reader.u8("ipv4")).join(".");
    default:
      return normalHost(`[${Array.from({ length: 8 }, () => reader.u16("ipv6").toString(16)).join(":")}]`);
  }
}

function ipv6Groups(host) {
  const [start, end] = host.split("::").map((half) => half.split(":").filter((group) => group !== ""));
  const groups = end === undefined ? start : [...start, ...new Array(8 - start.length - end.length).fill("0"), ...end];
  return groups.map((group) => parseInt(group, 16));
}

function writeHost(writer, host) {
  if (isIpv4(host)) {
    writer.byte(1);
    for (const part of host.split(".")) writer.int(Number(part));
  } else if (isIpv6(host)) {
    writer.byte(2);
    for (const group of ipv6Groups(host)) writer.int(group);
  } else {
    writer.byte(0).string(Uint8Array.from(host, (character) => character.charCodeAt(0)));
  }
}

export function readAddress(reader) {
  const kind = KINDS[reader.tag(KINDS.length, "address")];
  const id = readPeerId(reader);
  if (kind !== "webrtc") return { kind, id, host: readHost(reader), port: reader.u16("port") };
  const via = VIAS[reader.tag(VIAS.length, "signaling")];
  if (via === "relay") return { kind, id, via, relay: readPeerId(reader) };
  const cluster = via === "https_proxy" ? { cluster: reader.u16("cluster") } : {};
  return { kind, id, via, ...cluster, host: readHost(reader), port: reader.u16("port") };
}

export function writeAddress(writer, address) {
  writer.byte(KINDS.indexOf(address.kind));
  writePeerId(writer, address.id);
  if (address.kind === "webrtc") {
    writer.byte(VIAS.indexOf(address.via));
    if (address.via === "relay") return writePeerId(writer, address.relay);
    if (address.via === "https_proxy") writer.int(address.cluster);
  }
  writeHost(writer, address.host);
  writer.int(address.port);
}

/** As everybody prints it. */
export async function addressToText(address) {
  const { kind, id, via, host, port } = address;
  if (kind === "webrtc") {
    const peer = `/${await toBase58Check("peerId", id)}`;
    if (via === "relay") return `${peer}/p2p/${await toBase58Check("peerId", address.relay)}`;
    const cluster = via === "https_proxy" ? `/${address.cluster}` : "";
    return `${peer}/${via}${cluster}/${bracketed(host)}/${port}`;
  }
  const network = isIpv4(host) ? "ip4" : isIpv6(host) ? "ip6" : "dns4";
  const carrier = kind === "quic" ? `udp/${port}/mina-quic` : `tcp/${port}`;
  return `/${network}/${host}/${carrier}/p2p/${toBase58(concat(fromHex("002408011220"), id))}`;
}

/** Reads the texts of the addresses that a browser can dial by itself: WebRTC with signaling by HTTP. */
export async function parseAddress(text) {
  const match = /^\/(\w{1,64})\/(https?|https_proxy\/(\d{1,5}))\/(\[[0-9a-fA-F:.]{2,45}\]|[^/[\]]{1,253})\/(\d{1,5})$/.exec(text);
  if (!match) throw new Malformed("address", JSON.stringify(text.slice(0, 400)));
  const [, id, via, cluster, host, port] = match;
  if (Number(port) > 0xffff || Number(cluster ?? 0) > 0xffff) throw new Malformed("address", "a number over 65535");
  return {
    kind: "webrtc",
    id: await fromBase58Check("peerId", id),
    ...(cluster === undefined ? { via } : { via: "https_proxy", cluster: Number(cluster) }),
    host: normalHost(host),
    port: Number(port),
  };
}

/** Where the signaling of an address listens. */
export function signalingOrigin({ via, cluster, host, port }) {
  const [scheme, path] = via === "https_proxy" ? ["https", `/clusters/${cluster}`] : [via, ""];
  return `${scheme}://${bracketed(host)}:${port}${path}`;
}
