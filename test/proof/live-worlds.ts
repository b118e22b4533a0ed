/** Lives drawn worlds from seed to seed, and names the seed of the one that fails. */
import { SimRandom } from "../../src/sim/random.ts";

export interface Worlds {
  readonly worlds: number;
  /** Default 1. */
  readonly firstSeed?: number;
}

/** Rejects at the first world that does. */
export async function liveWorlds<Counts extends { worlds: number }>(
  { worlds, firstSeed = 1 }: Worlds,
  counts: Counts,
  live: (random: SimRandom) => Promise<void>,
): Promise<Counts> {
  for (let seed = firstSeed; seed < firstSeed + worlds; seed++) {
    try {
      await live(new SimRandom(seed));
    } catch (cause) {
      throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause });
    }
    counts.worlds++;
  }
  return counts;
}
