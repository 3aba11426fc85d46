// What two identities tell each other so that nobody else reads or makes it: relayed signaling, and the message by which
// both prove who they are.
//
// The key is the shared secret itself, the same both ways and for ever, and nothing says what a sealed text is for: that is
// the existing network's scheme. Hence the care about reflected messages below.

import { Malformed, concat, equal, sha256, utf8 } from "./bytes.js";

const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;

async function key(own, other, usage) {
  return crypto.subtle.importKey("raw", await own.sharedWith(other), "AES-GCM", false, [usage]);
}

/** nonce || ciphertext || tag. Tests alone give a nonce. */
export async function seal(own, to, plaintext, nonce = crypto.getRandomValues(new Uint8Array(NONCE_LENGTH))) {
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, await key(own, to, "encrypt"), plaintext);
  return concat(nonce, new Uint8Array(sealed));
}

export async function open(own, from, sealed) {
  if (sealed.length < NONCE_LENGTH + TAG_LENGTH) throw new Malformed("sealed text", `only ${sealed.length} bytes`);
  const iv = sealed.subarray(0, NONCE_LENGTH);
  try {
    const opening = { name: "AES-GCM", iv };
    return new Uint8Array(
      await crypto.subtle.decrypt(opening, await key(own, from, "decrypt"), sealed.subarray(NONCE_LENGTH)),
    );
  } catch (error) {
    if (error instanceof Malformed) throw error;
    throw new Malformed("sealed text", "does not open with this key");
  }
}

/** Nonce, two hashes, tag: 92 bytes, one data channel message without a length before it. */
export const AUTHENTICATION_LENGTH = NONCE_LENGTH + 64 + TAG_LENGTH;

/** What both prove to know: which offer and which answer made this connection. */
export class ConnectionAuth {
  #plaintext;

  constructor(plaintext) {
    this.#plaintext = plaintext;
  }

  /** The texts are hashed byte for byte as they were sent. */
  static async of(offerSdp, answerSdp) {
    return new ConnectionAuth(concat(await sha256(utf8(offerSdp)), await sha256(utf8(answerSdp))));
  }

  seal(own, to, nonce) {
    return seal(own, to, this.#plaintext, nonce);
  }

  /** Throws unless `theirs` proves who they are. `ours`, made before theirs was read, tells a reflection. */
  async check(own, from, ours, theirs) {
    if (theirs.length !== AUTHENTICATION_LENGTH) {
      throw new Malformed("authentication", `${theirs.length} bytes, not ${AUTHENTICATION_LENGTH}`);
    }
    if (equal(ours, theirs)) throw new Malformed("authentication", "our own, sent back");
    if (!equal(await open(own, from, theirs), this.#plaintext)) {
      throw new Malformed("authentication", "of another connection");
    }
  }
}
