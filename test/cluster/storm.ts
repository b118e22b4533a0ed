/**
 * Three real brokers over one store while idempotent producers write and a reader follows: one after the other is
 * killed and comes back, is stopped for longer than the others are patient and goes on (the zombie), all are
 * killed at once, and each is asked to end and starts again. At the end everything is read: nothing acknowledged
 * may be missing, nothing twice or out of order, and nothing that was served may have changed.
 *
 *   node test/cluster/storm.ts [--kills 100] [--pauses 20] [--all 10] [--restarts 10] [--every 10] [--store s3://…] [--seed 1]
 *     [--copiers]   with groups and transactions of five clients (copies.ts) beside the load
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Broker } from "../../tools/brokers.ts";
import { type BrokerCluster, startCluster } from "../../tools/clusters.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { type Counts, isClean, type Load, seeded, startLoad } from "../crash/run.ts";
import { type Copies, type CopyReport, settingsOfCopies, startCopies } from "./copies.ts";

export interface StormOptions {
  /** How many of each. */
  readonly kills: number;
  readonly pauses: number;
  readonly all: number;
  readonly restarts: number;
  /** From one event to the next, in ms. */
  readonly everyMs: number;
  /** How long a paused broker stands still, in ms. */
  readonly pauseMs: number;
  /** As `--store` takes it; default a directory. */
  readonly store?: string;
  readonly copiers?: boolean;
  readonly seed: number;
  readonly onEvent?: (line: string) => void;
}

export interface StormReport extends Counts {
  readonly events: number;
  /** From an event to the next acknowledgement of any partition, and until `everyPartition` more came. */
  readonly silentMs: readonly number[];
  readonly copies: readonly CopyReport[];
  readonly passed: boolean;
}

type Event = "kill" | "pause" | "all" | "restart";

export async function storm(options: StormOptions): Promise<StormReport> {
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  const directory = realpathSync(mkdtempSync(join(cacheDirectory, "crash", "cluster-")));
  const cluster = await startCluster({
    directory,
    ...(options.store === undefined ? {} : { store: options.store }),
    ...(options.copiers === true ? { settings: settingsOfCopies } : {}),
  });
  const random = seeded(options.seed);
  const load = await startLoad(cluster.address, "storm");
  await load.acknowledges(1000);
  const copiers = options.copiers === true ? await startCopies(cluster.address) : undefined;
  const silentMs: number[] = [];
  const events = shuffled(options, random);
  for (const [at, event] of events.entries()) {
    const broker = cluster.brokers[Math.floor(random() * cluster.brokers.length)] as Broker;
    const begun = performance.now();
    const over = happen(event, broker, cluster, options.pauseMs);
    await load.acknowledges(1);
    silentMs.push(performance.now() - begun);
    await over;
    options.onEvent?.(
      `${at + 1}/${events.length} ${event}: ${load.acked()} acknowledged, silent for ${Math.round(silentMs.at(-1) ?? 0)} ms`,
    );
    await load.acknowledges(500);
    await sleep(Math.max(0, options.everyMs - (performance.now() - begun)));
  }
  const { counts, copies } = await finish(load, copiers, cluster);
  const passed = isClean(counts) && copies.every(({ violations }) => violations.length === 0);
  if (passed) rmSync(directory, { recursive: true, force: true });
  return { events: events.length, silentMs, copies, passed, ...counts };
}

async function finish(
  load: Load,
  copiers: Copies | undefined,
  cluster: BrokerCluster,
): Promise<{ readonly counts: Counts; readonly copies: readonly CopyReport[] }> {
  const copies = (await copiers?.end()) ?? [];
  const counts = await load.end();
  await cluster.stop();
  await copiers?.dismiss();
  return { counts, copies };
}

function shuffled(options: StormOptions, random: () => number): readonly Event[] {
  const events: Event[] = [];
  const add = (event: Event, count: number): void => {
    for (let each = 0; each < count; each++) events.push(event);
  };
  add("kill", options.kills);
  add("pause", options.pauses);
  add("all", options.all);
  add("restart", options.restarts);
  for (let at = events.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [events[at], events[other]] = [events[other] as Event, events[at] as Event];
  }
  return events;
}

/** Resolves when all three run again. */
async function happen(event: Event, broker: Broker, cluster: BrokerCluster, pauseMs: number): Promise<void> {
  switch (event) {
    case "kill":
      await broker.kill();
      await sleep(pauseMs / 3);
      await broker.start();
      return;
    case "all":
      await cluster.killAll();
      await cluster.start();
      return;
    case "restart":
      await expectClean(broker);
      await broker.start();
      return;
    default:
      process.kill(broker.pid(), "SIGSTOP");
      await sleep(pauseMs);
      process.kill(broker.pid(), "SIGCONT");
      await endOfZombie(broker);
      await broker.start();
  }
}

export async function expectClean(broker: Broker): Promise<void> {
  const { code, stderr } = await broker.stop();
  if (code !== 0) throw new Error(`A broker that was asked to end ended with ${code}: ${stderr}`);
}

/** It finds out that it was replaced, and says so. */
export async function endOfZombie(broker: Broker): Promise<void> {
  const { code, stdout, stderr } = await broker.whenEnded(60_000);
  const said = `${stdout}\n${stderr}`;
  if (code !== 1 || !/was ended by|sealed this log|took over/.test(said)) {
    throw new Error(`A broker that was replaced ended with ${code} and said: ${said.slice(-4000)}`);
  }
}

if (import.meta.main) {
  const count = (fallback: string) => ({ type: "string", default: fallback }) as const;
  const { values } = parseArgs({
    options: {
      kills: count("100"),
      pauses: count("20"),
      all: count("10"),
      restarts: count("10"),
      every: count("10"),
      pause: count("30"),
      seed: count("1"),
      store: { type: "string" },
      copiers: { type: "boolean", default: false },
    },
  });
  const report = await storm({
    kills: Number(values.kills),
    pauses: Number(values.pauses),
    all: Number(values.all),
    restarts: Number(values.restarts),
    everyMs: Number(values.every) * 1000,
    pauseMs: Number(values.pause) * 1000,
    seed: Number(values.seed),
    copiers: values.copiers,
    ...(values.store === undefined ? {} : { store: values.store }),
    onEvent: console.log,
  });
  const { silentMs, failures, copies, ...counts } = report;
  const sorted = silentMs.toSorted((a, b) => a - b);
  console.log(JSON.stringify(counts));
  console.log(
    `no acknowledgement at all for ${Math.round(sorted[sorted.length >> 1] ?? 0)} ms (median), ${Math.round(sorted.at(-1) ?? 0)} ms (worst)`,
  );
  for (const { violations, ...did } of copies) {
    console.log(JSON.stringify(did));
    for (const violation of violations) console.log(`✗ ${did.client}: ${violation}`);
  }
  for (const failure of failures.slice(0, 20)) console.log(`failure: ${failure}`);
  console.log(report.passed ? "passed" : "FAILED");
  process.exit(report.passed ? 0 : 1);
}
