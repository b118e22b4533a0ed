/** SHA-256 for journal slots, lists and snapshots; rooms without Node take it as an argument. */
import { createHash } from "node:crypto";

/** Of the chunks one after the other; 32 bytes. */
export function sha256(...chunks: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return new Uint8Array(hash.digest());
}
