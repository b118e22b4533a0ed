/** The `Random` port over the kernel's generator: ids and salts must not repeat, on this machine or another. */
import { randomFillSync } from "node:crypto";
import type { Random } from "../base/ports.ts";

/** One call into the generator serves this many numbers. */
const poolNumbers = 256;

export function systemRandom(): Random {
  const pool = new Uint32Array(poolNumbers);
  let next = poolNumbers;
  return {
    u32(): number {
      if (next === poolNumbers) {
        randomFillSync(pool);
        next = 0;
      }
      return pool[next++] as number;
    },
    bytes: (length: number): Uint8Array => randomFillSync(new Uint8Array(length)),
  };
}
