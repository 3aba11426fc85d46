// Known answers: what the existing node writes, byte for byte.

import { same, refused, test } from "../harness.js";
import { concat, equal, fromBase58, fromBase58Check, fromHex, toBase58, toBase58Check, toHex, utf8 } from "../client/bytes.js";
import { Reader, Writer } from "../client/binprot.js";
import { PublicKey, SecretKey } from "../client/identity.js";
import { AUTHENTICATION_LENGTH, ConnectionAuth, open, seal } from "../client/sealing.js";
import { offerFromJson, offerToJson, responseFromJson, responseToJson } from "../client/signaling.js";
import { CHUNK_LENGTH, FrameReader, chunks } from "../client/framing.js";
import { addressToText, parseAddress, readAddress, signalingOrigin, writeAddress } from "../client/address.js";
import * as messages from "../client/messages.js";

const ALICE = {
  secret: "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf",
  public: "kMAKvV2ZzEoP84CaGQsT1VL1KUrU5N11pwdYxrm7RzNtyFuPJE",
  peerId: "2awmjihpsd9TkdaqEkvrJ2UguAsoigRtgoiKei4AxpA5EVzr6JZ",
  bytes: "4cb5abf6ad79fbf5abbccafcc269d85cd2651ed4b885b5869f241aedf0a5ba29",
  montgomery: "d92f5eeaa24fd4e66221c770f704a5e2639a476bab82cfec40bd2874abeb481f",
};
const BOB = {
  secret: "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAvUcVfH",
  public: "keXQnuqdsownjJHAPjwbaM4y6i5tzZhQvVyKy8XcXG3rh24fLz",
  peerId: "2bF8pb8dwWicAEpuptFvSbLRrx739bdb5uGfRiKwTuRkCBSs6nR",
};
const SHARED = "7ec25079311f3363a038dffc26c7938f06545c14eb8214490377056ddc5e913c";

const sdp = (setup) =>
  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA:BB\r\na=group:BUNDLE 0\r\n" +
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n" +
  `a=setup:${setup}\r\na=mid:0\r\na=sendrecv\r\na=sctp-port:5000\r\n`;

const both = async () => [await SecretKey.parse(ALICE.secret), await SecretKey.parse(BOB.secret)];
const nonce = (first) => Uint8Array.from({ length: 12 }, (_, i) => first + i);

test("a key is read from its text and written back", async () => {
  const [alice] = await both();
  same(toHex(alice.publicKey.bytes), ALICE.bytes);
  same(await alice.publicKey.text(), ALICE.public);
  same(await alice.publicKey.peerIdText(), ALICE.peerId);
  same(toHex((await PublicKey.parse(ALICE.public)).bytes), ALICE.bytes);
  same(toHex((await PublicKey.parsePeerId(ALICE.peerId)).bytes), ALICE.bytes);
  same(await toBase58Check("secretKey", fromHex(`${"00".repeat(31)}01`)), ALICE.secret);
  const hash = fromHex("00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9");
  same(await toBase58Check("transactionHash", hash), "5JtVR2hXrGe5U8QEGjP9V2Ltq8eepjNbirciA1suMCeKURu9A8e2");
});

test("another text is no key", async () => {
  await refused(SecretKey.parse(ALICE.peerId), "prefix");
  await refused(PublicKey.parsePeerId(ALICE.public), "prefix");
  await refused(PublicKey.parsePeerId(ALICE.peerId.replace(/.$/, "a")), "checksum");
  await refused(PublicKey.parse("0OIl"), "no digit");
  await refused(PublicKey.parse(""), "too short");
  await refused(fromBase58Check("publicKey", ALICE.public, 31), "32 bytes, not 31");
  await refused(() => fromBase58("1".repeat(257)), "257 characters");
  await refused(() => new PublicKey(concat(Uint8Array.of(2), new Uint8Array(31))), "no point");
  await refused(() => new PublicKey(new Uint8Array(31)), "31 bytes");
});

test("base58 keeps leading zeros", async () => {
  for (const bytes of [[], [0], [0, 0, 1], [255, 0], [0, 255, 255]]) {
    same(fromBase58(toBase58(Uint8Array.from(bytes))), Uint8Array.from(bytes));
  }
  same(toBase58(utf8("hello")), "Cn8eVZg");
});

test("two keys share a secret, the same both ways", async () => {
  const [alice, bob] = await both();
  same(toHex(alice.publicKey.montgomery()), ALICE.montgomery);
  same(toHex(await alice.sharedWith(bob.publicKey)), SHARED);
  same(toHex(await bob.sharedWith(alice.publicKey)), SHARED);
});

test("nothing is shared with a key of small order", async () => {
  const [alice] = await both();
  // y = 0, 1 and -1.
  for (const y of ["00".repeat(32), `01${"00".repeat(31)}`, `ec${"ff".repeat(30)}7f`]) {
    await refused(alice.sharedWith(new PublicKey(fromHex(y))), "small order");
  }
});

test("sealing is the existing node's", async () => {
  const [alice, bob] = await both();
  const sealed = await seal(alice, bob.publicKey, utf8("hello"), nonce(0x60));
  same(toHex(sealed), "606162636465666768696a6bd78aefc40202ad4810cfc4f6751b50eac17a0f8998");
  same(await open(bob, alice.publicKey, sealed), utf8("hello"));
  same(equal(await seal(alice, bob.publicKey, utf8("hello")), await seal(alice, bob.publicKey, utf8("hello"))), false);
  await refused(open(bob, bob.publicKey, sealed), "does not open");
  await refused(open(bob, alice.publicKey, sealed.subarray(0, 27)), "only 27 bytes");
  sealed[20] ^= 1;
  await refused(open(bob, alice.publicKey, sealed), "does not open");
});

test("authentication is the existing node's, and a reflection of ours is refused", async () => {
  const [alice, bob] = await both();
  const auth = await ConnectionAuth.of(sdp("actpass"), sdp("active"));
  const fromAlice = await auth.seal(alice, bob.publicKey, nonce(0x40));
  const fromBob = await auth.seal(bob, alice.publicKey, nonce(0x50));
  same(
    toHex(fromAlice),
    "404142434445464748494a4b424e57df06a71636b1969493cea50322e2d4383c38b6146a919649812c4f9d1248175dae1ad86c09ea315187b7df" +
      "736852263db004024eab3949db7029ea8a94cdf3b8f11f2f15b928395130d27d05bf",
  );
  await auth.check(alice, bob.publicKey, fromAlice, fromBob);
  await auth.check(bob, alice.publicKey, fromBob, fromAlice);
  await refused(auth.check(alice, bob.publicKey, fromAlice, fromAlice), "our own");
  await refused(auth.check(alice, bob.publicKey, fromAlice, fromBob.subarray(1)), `not ${AUTHENTICATION_LENGTH}`);
  const other = await ConnectionAuth.of(sdp("actpass"), sdp("passive"));
  await refused(auth.check(alice, bob.publicKey, fromAlice, await other.seal(bob, alice.publicKey)), "another connection");
  const mallory = await SecretKey.generate();
  await refused(auth.check(alice, bob.publicKey, fromAlice, await auth.seal(mallory, alice.publicKey)), "does not open");
});

test("offers and responses are the existing node's JSON", async () => {
  const [alice, bob] = await both();
  const chainId = new Uint8Array(32).fill(7);
  const body = JSON.stringify(sdp("actpass"));
  const json =
    `{"sdp":${body},"chain_id":"${"07".repeat(32)}","identity_pub_key":"${ALICE.public}",` +
    `"target_peer_id":"${BOB.peerId}","host":{"Ipv4":"127.0.0.1"},"listen_port":null}`;
  const offer = { sdp: sdp("actpass"), chainId, identity: alice.publicKey, target: bob.publicKey };
  same(await offerToJson(offer), json);
  same(await offerFromJson(json), offer);
  const response = { answer: { sdp: sdp("active"), identity: bob.publicKey, target: alice.publicKey } };
  const accepted =
    `{"Accepted":{"sdp":${JSON.stringify(sdp("active"))},"identity_pub_key":"${BOB.public}",` +
    `"target_peer_id":"${ALICE.peerId}"}}`;
  same(await responseToJson(response), accepted);
  same(await responseFromJson(accepted), response);
  for (const [value, text] of [
    [{ rejected: "PeerCapacityFull" }, '{"Rejected":"PeerCapacityFull"}'],
    [{ failed: "SignalDecryptionFailed" }, '"SignalDecryptionFailed"'],
  ]) {
    same(await responseToJson(value), text);
    same(await responseFromJson(text), value);
  }
});

test("a malformed offer or response is refused", async () => {
  const [alice, bob] = await both();
  const offer = { sdp: "", chainId: new Uint8Array(32), identity: alice.publicKey, target: bob.publicKey };
  const fields = JSON.parse(await offerToJson(offer));
  for (const name of ["sdp", "chain_id", "identity_pub_key", "target_peer_id"]) {
    for (const value of [undefined, null, 7, {}]) {
      await refused(offerFromJson(JSON.stringify({ ...fields, [name]: value })), `${name} is no text`);
    }
  }
  await refused(offerFromJson(JSON.stringify({ ...fields, chain_id: "07" })), "a chain id of 1 bytes");
  await refused(offerFromJson(JSON.stringify({ ...fields, sdp: "x".repeat(16384) })), "characters");
  for (const text of ["", "{", "[".repeat(9000)]) await refused(offerFromJson(text), "no JSON");
  for (const text of ["null", "[]", "7", '{"Accepted":null}', '{"Rejected":7}']) {
    await refused(responseFromJson(text), "sdp is no text");
  }
});

test("integers have the shortest form", async () => {
  for (const [value, hex] of [
    [0n, "00"], [127n, "7f"], [128n, "fe8000"], [65535n, "feffff"], [65536n, "fd00000100"],
    [2n ** 32n, "fc0000000001000000"], [2n ** 64n - 1n, `fc${"ff".repeat(8)}`],
  ]) {
    same(toHex(new Writer().nat0(value).finish()), hex);
    same(new Reader(fromHex(hex)).nat0(), value);
  }
  for (const [value, hex] of [
    [-1n, "ffff"], [-128n, "ff80"], [-129n, "fe7fff"], [128n, "fe8000"], [32768n, "fd00800000"], [-32769n, "fdff7fffff"],
    [2n ** 31n, "fc0000008000000000"], [-(2n ** 63n), "fc0000000000000080"],
  ]) {
    same(toHex(new Writer().int(value).finish()), hex);
    same(new Reader(fromHex(hex)).int(), value);
  }
  same(toHex(new Writer().intList(fromHex("8081c8ff")).finish()), "04fe8000fe8100fec800feff00");
  same(toHex(new Reader(fromHex("04fe8000fe8100fec800feff00")).intList(4)), "8081c8ff");
});

test("no length is believed", async () => {
  const reader = (hex) => new Reader(fromHex(hex));
  await refused(() => reader("fcffffffffffffff7f").intList(16384, "list"), "not in 0 to 16384");
  await refused(() => reader("fe0040").intList(16384, "list"), "16384 items in 0 bytes");
  await refused(() => reader("05aa").string(16, "text"), "4 bytes early");
  await refused(() => reader("fe00").nat0("number"), "early");
  await refused(() => reader("80").nat0("number"), "no integer");
  await refused(() => reader("ffff").nat0("number"), "no integer");
  await refused(() => reader("fe0001").u8("number"), "not in 0 to 255");
  await refused(() => reader("02").bool("flag"), "no variant 2");
  await refused(() => messages.transactions.decode(fromHex("002000")), "1 bytes too many");
  await refused(() => messages.bestTip.decode(new Uint8Array(0)), "early");
});

test("messages are the existing node's", async () => {
  const hash = fromHex("00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9");
  const account = { x: fromHex("73d6b729511e04fba626ab9191557c7e8310028a06bafb809ef1cafe6415a80b"), isOdd: false };
  const key = (hex) => new PublicKey(fromHex(hex));
  const mina2 = "f381626e41e7027ea431bfe3009e94bdd25a746beec468948d6c3c7c5dc9a54b";
  for (const [channel, message, hex] of [
    ["discovery", { type: "Discovered", target: key(mina2) }, `02${mina2}`],
    ["discovery", { type: "DiscoveredAccept", offer: fromHex("007f80ff") }, "0404007ffe8000feff00"],
    ["exchange", { type: "GetNext" }, "00"],
    ["exchange", { type: "OfferToYou", offerer: key(mina2), offer: fromHex("007f80ff") }, `01${mina2}04007ffe8000feff00`],
    ["exchange", { type: "Answer", answer: null }, "0200"],
    ["bestTip", { type: "BestTip", block: Uint8Array.of(9, 8) }, "010908"],
    ["transactions", { type: "GetNext", limit: 255 }, "00feff00"],
    ["transactions", { type: "WillSend", count: 32 }, "0120"],
    [
      "transactions",
      { type: "Item", item: { hash, feePayer: account, fee: 1_000_000n, nonce: 7 } },
      `02${toHex(hash)}${toHex(account.x)}00fd40420f0007`,
    ],
    [
      "transactions",
      { type: "Item", item: { hash, feePayer: account, fee: 2n ** 64n - 1n, nonce: 0xffffffff } },
      `02${toHex(hash)}${toHex(account.x)}00fcfffffffffffffffffcffffffff00000000`,
    ],
    ["rpc", { type: "Request", id: 0n, request: { kind: "Transaction", hash } }, `000005${toHex(hash)}`],
    ["rpc", { type: "Request", id: 40000n, request: { kind: "InitialPeers" } }, "00fe409c06"],
    ["rpc", { type: "Response", id: 0n, response: null }, "010000"],
    ["rpc", { type: "Response", id: 6n, response: { kind: "InitialPeers", answer: [] } }, "0106010600"],
    ["streaming", { type: "Response", id: 1n, part: { part: "Base", bytes: Uint8Array.of(5) } }, "020101000005"],
  ]) {
    same(toHex(messages[channel].encode(message)), hex);
    same(messages[channel].decode(fromHex(hex)), message);
  }
});

test("addresses have the existing node's forms", async () => {
  const id = "fc24ea44b1e3b850fdfc8dbc50f53777bf4ffca8ad1abc0b65c2d0fc9b32bf8dff17ca33";
  const name = "2cHYth99RHL4H9RJmYR72iWspkBWaUzYc6Yg9KLkcxrvxkrNoPK";
  const libp2p = "12D3KooWSsChzF81YDUKpe9Uk5AHV5oqAaXAcWNSPYgoLauUk4st";
  for (const [hex, text, origin] of [
    [`00${id}00017f000001fe6e20`, `/${name}/http/127.0.0.1/8302`, "http://127.0.0.1:8302"],
    [
      `00${id}0002fe0120feb80dfdffff0000fd0080000000000001fe901f`,
      `/${name}/http/[2001:db8:ffff:8000::1]/8080`,
      "http://[2001:db8:ffff:8000::1]:8080",
    ],
    [
      `00${id}022a001170726f78792e6578616d706c652e636f6dfebb01`,
      `/${name}/https_proxy/42/proxy.example.com/443`,
      "https://proxy.example.com:443/clusters/42",
    ],
    [`01${id}010a010203fe6e20`, `/ip4/10.1.2.3/tcp/8302/p2p/${libp2p}`],
    [`02${id}010a010203fe6e20`, `/ip4/10.1.2.3/udp/8302/mina-quic/p2p/${libp2p}`],
  ]) {
    const reader = new Reader(fromHex(hex));
    const address = readAddress(reader);
    reader.end("address");
    same(await addressToText(address), text);
    const writer = new Writer();
    writeAddress(writer, address);
    same(toHex(writer.finish()), hex);
    if (!origin) continue;
    same(await parseAddress(text), address);
    same(signalingOrigin(address), origin);
  }
  for (const text of ["", "/x", `/${name}/http/a b/1`, `/${name}/http/a/65536`, `/${name}/http/a:1/1`, `/${name}/ftp/a/1`]) {
    await refused(parseAddress(text), "");
  }
});

test("a frame is cut so that its length never travels alone", async () => {
  for (const length of [1, 16379, 16380, 16381, 100_000]) {
    const body = crypto.getRandomValues(new Uint8Array(Math.min(length, 65536)));
    const cut = Array.from(chunks(body));
    same(cut[0].length > 4, true);
    same(cut.every((chunk) => chunk.length > 0 && chunk.length <= CHUNK_LENGTH), true);
    const reader = new FrameReader(() => 100_000);
    same(cut.flatMap((chunk) => Array.from(reader.push(chunk))).map(toHex), [toHex(body)]);
  }
  await refused(() => Array.from(chunks(new Uint8Array(0))), "never empty");
});

test("frames are found wherever the messages are cut", async () => {
  const bodies = [1, 2, 3, 300].map((length) => crypto.getRandomValues(new Uint8Array(length)));
  const stream = concat(...bodies.flatMap((body) => Array.from(chunks(body))));
  for (const step of [1, 3, 5, 7, stream.length]) {
    const reader = new FrameReader(() => 300);
    const found = [];
    for (let at = 0; at < stream.length; at += step) found.push(...reader.push(stream.subarray(at, at + step)));
    same(found.map(toHex), bodies.map(toHex));
  }
});

test("a frame out of its bounds is refused at its head", async () => {
  const push = (hex, longest) => Array.from(new FrameReader(() => longest).push(fromHex(hex)));
  await refused(() => push("00000000", 5), "an empty body");
  await refused(() => push("00000006", 5), "6 bytes where 5 are allowed");
  await refused(() => push("ffffffff", 2 ** 25), "4294967295 bytes");
  same(push("000000", 5), []);
});
