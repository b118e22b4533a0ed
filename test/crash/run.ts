/**
 * Kills the real broker process with SIGKILL again and again while idempotent producers write and a reader
 * follows, and at the end reads everything: nothing acknowledged may be missing, nothing may be there twice
 * or out of order, and nothing that was served may have changed.
 *
 *   node test/crash/run.ts --cycles 200 [--target kafka|kafka-durable|holdfast] [--seed 1]
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { type Running, start } from "../../tools/processes.ts";
import { cacheDirectory, goProgram } from "../../tools/toolbox.ts";
import { type PowerCut, powerCut } from "./power-cut.ts";

export interface CrashOptions {
  readonly cycles: number;
  readonly target: BrokerKind;
  /** Decides when the kills come and, in a power cut, what is lost. */
  readonly seed: number;
  /** Also drop what was not synced at each kill, as a power cut does. */
  readonly power?: boolean;
  /** Told about each cycle. */
  readonly onCycle?: (line: string) => void;
}

/** What the client counted; see test/crash/go. All from `lost` on must be 0, and `failures` empty. */
export interface Counts {
  readonly sent: number;
  readonly acked: number;
  readonly read: number;
  readonly served: number;
  readonly lost: number;
  readonly moved: number;
  readonly doubled: number;
  readonly disordered: number;
  readonly corrupt: number;
  readonly unsaid: number;
  readonly gaps: number;
  readonly failures: readonly string[];
}

export interface CrashReport extends Counts {
  readonly cycles: number;
  /** Kills that came before the broker was ready again. */
  readonly killedInStart: number;
  /** Units of unsynced work that power cuts took back: writes, sizes, names. */
  readonly undone: number;
  readonly startMsMedian: number;
  readonly startMsMax: number;
  readonly passed: boolean;
}

const partitionCount = 12;
const recordsPerSecond = 6000;
/** A client that gets no answer for so long is not under load: the run fails. */
const noAckMs = 60_000;
const endMs = 1_200_000;

/** Runs the cycles and answers what was found; throws when the broker does not start or the client fails. */
export async function run(options: CrashOptions): Promise<CrashReport> {
  const { cycles, target, seed } = options;
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  // Without links in the path: the power cut knows files by the path that the process uses.
  const directory = realpathSync(mkdtempSync(join(cacheDirectory, "crash", "broker-")));
  const cut = options.power ? await powerCut(directory) : undefined;
  const broker = await startBroker(target, { directory, ...(cut === undefined ? {} : { env: cut.env }) });
  const random = seeded(seed);
  const load = await startLoad(broker.address, "crash");
  const kills = { inStart: 0, undone: 0, startMs: [] as number[] };
  for (let cycle = 1; cycle <= cycles; cycle += 1) {
    await load.acknowledges(1 + Math.floor(random() * 2000));
    await sleep(random() * 100);
    await broker.kill();
    kills.undone += cut?.apply(random) ?? 0;
    if (random() < 0.2) await killInStart(broker, random, cut, kills);
    kills.startMs.push(await broker.start());
    options.onCycle?.(
      `cycle ${cycle}: ${load.acked()} acknowledged, ready after ${Math.round(kills.startMs.at(-1) ?? 0)} ms`,
    );
  }
  await load.acknowledges(1);
  const counts = await load.end();
  await broker.stop();
  const startMs = kills.startMs.toSorted((a, b) => a - b);
  const report: CrashReport = {
    cycles,
    ...counts,
    killedInStart: kills.inStart,
    undone: kills.undone,
    startMsMedian: Math.round(startMs[startMs.length >> 1] ?? 0),
    startMsMax: Math.round(startMs.at(-1) ?? 0),
    passed: isClean(counts),
  };
  // What a failed run left behind is the evidence.
  if (report.passed) rmSync(directory, { recursive: true, force: true });
  return report;
}

export function describeReport(report: CrashReport): string {
  const {
    cycles,
    killedInStart,
    acked,
    read,
    served,
    lost,
    moved,
    doubled,
    disordered,
    corrupt,
    unsaid,
    gaps,
    undone,
  } = report;
  return [
    `${cycles} cycles of kill -9 under load, ${killedInStart} more kills within a start, ${undone} unsynced writes taken back`,
    `${acked} acknowledged, ${served} served while running, ${read} read at the end`,
    `lost ${lost} · doubled ${doubled} · out of order ${disordered} · moved ${moved} · corrupt ${corrupt} · served and changed ${unsaid} · gaps ${gaps}`,
    `ready again after ${report.startMsMedian} ms (median), ${report.startMsMax} ms (worst)`,
    ...report.failures.map((failure) => `failure: ${failure}`),
    report.passed ? "passed" : "FAILED",
  ].join("\n");
}

export function isClean({
  sent,
  acked,
  read,
  lost,
  moved,
  doubled,
  disordered,
  corrupt,
  unsaid,
  gaps,
  failures,
}: Counts): boolean {
  const faults = lost + moved + doubled + disordered + corrupt + unsaid + gaps + failures.length;
  return faults === 0 && acked === sent && read === sent && sent > 0;
}

async function killInStart(
  broker: Broker,
  random: () => number,
  cut: PowerCut | undefined,
  kills: { inStart: number; undone: number },
): Promise<void> {
  const starting = broker.start().then(
    () => "ready",
    () => "killed",
  );
  await sleep(random() * 400);
  await broker.kill();
  if ((await starting) === "killed") kills.inStart += 1;
  kills.undone += cut?.apply(random) ?? 0;
}

export interface Load {
  acked(): number;
  /** Waits until so many more records were acknowledged. */
  acknowledges(count: number): Promise<void>;
  end(): Promise<Counts>;
  /** Ends the client without asking what it found. */
  abandon(): Promise<void>;
}

/** Starts the writing and reading client on a topic of its own, which it makes. */
export async function startLoad(address: string, topic: string): Promise<Load> {
  const program = await goProgram(join(import.meta.dirname, "go"));
  let acked = 0;
  let counts: Counts | undefined;
  const input = new PassThrough();
  const client: Running = start(program, [address, topic, String(partitionCount), String(recordsPerSecond)], {
    input,
    onLine: (line) => {
      if (line.startsWith("acked ")) acked = Number(line.slice(6));
      else if (line.startsWith("{")) counts = JSON.parse(line) as Counts;
    },
  });
  return {
    acked: () => acked,
    acknowledges: async (count) => {
      const goal = acked + count;
      for (let waitedMs = 0; acked < goal; waitedMs += 10) {
        if (!client.isRunning()) throw new Error(`The client ended: ${(await client.ended).stderr}`);
        if (waitedMs > noAckMs)
          throw new Error(`No acknowledgement within ${noAckMs} ms after ${acked} acknowledged records`);
        await sleep(10);
      }
    },
    abandon: async () => {
      client.signal("SIGKILL");
      await client.ended;
    },
    end: async () => {
      input.end();
      const late = setTimeout(() => client.signal("SIGKILL"), endMs);
      const ended = await client.ended;
      clearTimeout(late);
      if (counts === undefined)
        throw new Error(`The client gave no counts (${ended.code ?? ended.signal}): ${ended.stderr}`);
      return counts;
    },
  };
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cycles: { type: "string", default: "10" },
      target: { type: "string", default: "holdfast" },
      seed: { type: "string", default: "1" },
      power: { type: "boolean", default: false },
    },
  });
  const { cycles, target, seed, power } = values;
  const report = await run({
    cycles: Number(cycles),
    target: target as BrokerKind,
    seed: Number(seed),
    power,
    onCycle: console.log,
  });
  console.log(describeReport(report));
  process.exit(report.passed ? 0 : 1);
}
