/** Which troubles a world has, and how often: drawn first, so that each seed is a world of its own kind. */
import type { SimRandom } from "./random.ts";

export interface Faults {
  /** Chance that a disk call fails. */
  readonly disk: number;
  /** Chance of a crash at each step of the story. */
  readonly crash: number;
  /** Chance that a connection is cut at each step. */
  readonly cut: number;
}

export function drawFaults(random: SimRandom): Faults {
  return {
    disk: random.pick([0, 0, 0.000_5, 0.003]),
    crash: random.pick([0, 0.1, 0.4]),
    cut: random.pick([0, 0.3]),
  };
}
