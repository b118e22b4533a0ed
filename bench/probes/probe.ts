/** What a probe is: a bound on Holdfast alone, measured and judged by itself. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import type { Verdict } from "../stats.ts";

export interface ProbeOutcome {
  readonly sentence: string;
  readonly verdict: Verdict;
  readonly values: readonly number[];
}

export interface ProbeOptions {
  readonly quick: boolean;
  /** How long the sustained load lasts. */
  readonly sustainedSeconds: number;
}

export interface Probe {
  readonly name: string;
  run(options: ProbeOptions): Promise<ProbeOutcome>;
}

/** Starts a broker in a directory of its own, which is gone afterwards. */
export async function withHoldfast<T>(
  options: { readonly built?: boolean; readonly settings?: readonly string[] },
  work: (broker: Broker) => Promise<T>,
): Promise<T> {
  mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "bench", "probe-"));
  try {
    const broker = await startBroker("holdfast", { directory, built: true, ...options });
    try {
      return await work(broker);
    } finally {
      await broker.kill();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
