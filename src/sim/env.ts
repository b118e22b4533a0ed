/** The small ports of a simulated process: what it logs becomes part of the trace, what it measures goes nowhere. */
import { createHash } from "node:crypto";
import type { Clock, Env, Facts, Sha256 } from "../base/ports.ts";
import type { SimRandom } from "./random.ts";
import { silentMeter } from "./silence.ts";
import type { Trace } from "./trace.ts";

export type LogEar = (event: string, facts: Facts) => void;

export function simEnv(parts: {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly trace: Trace;
  /** Hears what is logged. */
  readonly onLog?: LogEar | undefined;
}): Env {
  const { clock, random, trace, onLog } = parts;
  const line =
    (level: string) =>
    (event: string, facts?: Facts): void => {
      trace.record(`${clock.monotonicMs().toFixed(3)} ${level} ${event} ${describe(facts)}`);
      if (facts !== undefined) onLog?.(event, facts);
    };
  return {
    clock,
    random,
    log: { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") },
    meter: silentMeter,
  };
}

function describe(facts: Facts | undefined): string {
  if (facts === undefined) return "";
  return JSON.stringify(facts, (_, value: unknown) => (value instanceof Error ? value.message : value));
}

export const simSha256: Sha256 = (...chunks) => {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return new Uint8Array(hash.digest());
};
