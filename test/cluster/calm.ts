/**
 * Three real brokers that are slow, but live: idempotent producers and a reader load them, and again and again one of
 * them stands still for a while, as under a hypervisor or a debugger, but for less than the others are patient. Nobody
 * may be suspected, fenced or replaced, and of what was acknowledged nothing may be missing.
 *
 *   node test/cluster/calm.ts [--minutes 30] [--every 15] [--stall 1] [--store s3://…]
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Broker } from "../../tools/brokers.ts";
import { startCluster } from "../../tools/clusters.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { type Counts, isClean, startLoad } from "../crash/run.ts";

export interface CalmOptions {
  readonly durationMs: number;
  /** From one stall to the next, and how long each is. */
  readonly everyMs: number;
  readonly stallMs: number;
  readonly store?: string;
}

export interface CalmReport extends Counts {
  readonly stalls: number;
  /** What the brokers logged of each other that must not be. */
  readonly alarms: readonly string[];
  readonly passed: boolean;
}

/** What a broker logs when it believes that another is gone, takes over from it, or was replaced itself. */
const alarming = /peers\.suspected|takeover\.done|was ended by|sealed this log/;

export async function calm({ durationMs, everyMs, stallMs, store }: CalmOptions): Promise<CalmReport> {
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  const directory = realpathSync(mkdtempSync(join(cacheDirectory, "crash", "calm-")));
  const cluster = await startCluster({ directory, ...(store === undefined ? {} : { store }) });
  const load = await startLoad(cluster.address, "calm");
  await load.acknowledges(1_000);
  const endMs = performance.now() + durationMs;
  let stalls = 0;
  while (performance.now() < endMs) {
    const pid = (cluster.brokers[stalls++ % cluster.brokers.length] as Broker).pid();
    process.kill(pid, "SIGSTOP");
    await sleep(stallMs);
    process.kill(pid, "SIGCONT");
    await load.acknowledges(1);
    await sleep(everyMs - stallMs);
  }
  const counts = await load.end();
  // Killed, not stopped: what they say of each other while they end would count, too.
  await cluster.killAll();
  const alarms: string[] = [];
  for (const broker of cluster.brokers) {
    const { stdout, stderr } = await broker.whenEnded(0);
    alarms.push(...`${stdout}\n${stderr}`.split("\n").filter((line) => alarming.test(line)));
  }
  const passed = isClean(counts) && alarms.length === 0;
  if (passed) rmSync(directory, { recursive: true, force: true });
  return { ...counts, stalls, alarms, passed };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "30" },
      every: { type: "string", default: "15" },
      stall: { type: "string", default: "1" },
      store: { type: "string" },
    },
  });
  const { failures, alarms, ...counts } = await calm({
    durationMs: Number(values.minutes) * 60_000,
    everyMs: Number(values.every) * 1_000,
    stallMs: Number(values.stall) * 1_000,
    ...(values.store === undefined ? {} : { store: values.store }),
  });
  console.log(JSON.stringify(counts));
  for (const line of [...failures, ...alarms].slice(0, 20)) console.log(`✗ ${line}`);
  console.log(counts.passed ? `passed: nobody was suspected in ${values.minutes} minutes` : "FAILED");
  process.exit(counts.passed ? 0 : 1);
}
