/**
 * How two brokers prove to each other that they have the key of the cluster: an HMAC-SHA256 over who speaks to
 * whom and over a nonce of each side, so that no proof is of use a second time, in the other direction or to a
 * third broker. It proves who opened the connection; it neither hides nor seals what follows on it.
 */
import { Writer } from "../../base/bytes.ts";
import { hmacSha256 } from "../../base/hmac.ts";
import type { BrokerEpoch } from "../../base/ids.ts";
import type { Sha256 } from "../../base/ports.ts";

export const peerNonceBytes = 32;

export interface Handshake {
  readonly clusterId: string;
  /** Who opened the connection, and whom it means. */
  readonly from: BrokerEpoch;
  readonly to: BrokerEpoch;
  readonly fromNonce: Uint8Array;
  readonly toNonce: Uint8Array;
}

/** First in each proof, so that the key proves nothing else by accident. */
const purpose = "holdfast peer, format 1";

/** `side`: whose proof it is. */
export function proofOf(
  side: "from" | "to",
  key: Uint8Array,
  { clusterId, from, to, fromNonce, toNonce }: Handshake,
  sha256: Sha256,
): Uint8Array {
  const said = new Writer();
  for (const text of [purpose, side, clusterId]) {
    const bytes = Buffer.from(text, "utf8");
    said.int16(bytes.byteLength);
    said.raw(bytes);
  }
  said.int64(from);
  said.int64(to);
  for (const nonce of [fromNonce, toNonce]) {
    said.int16(nonce.byteLength);
    said.raw(nonce);
  }
  return hmacSha256(sha256, key, said.finishFlat());
}
