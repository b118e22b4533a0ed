/** SHA-256 for journal slots, lists and snapshots; rooms without Node take it as an argument. */
import { createHash } from "node:crypto";
import type { Sha256 } from "../base/ports.ts";

export const sha256: Sha256 = (...chunks) => {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return new Uint8Array(hash.digest());
};
