/** Bounds on Holdfast alone: memory at rest, the time to open again after a crash, the WAL's sync under flush. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Broker, startBroker } from "../tools/brokers.ts";
import { finish, start, useOf } from "../tools/processes.ts";
import { cacheDirectory, goProgram } from "../tools/toolbox.ts";
import { histogramOf, type Histogram, quantileBetween, valueOf } from "./metrics.ts";
import { spreadOf, type Verdict, verdictAtMost } from "./stats.ts";

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

const idleRssMbMax = 100;
const reopenMsMax = 1000;
const syncRatioMax = 3;
/** The WAL's bound (128 MiB not yet flushed) and a little more. */
const walBoundRecords = 150_000;
const recordBytes = 1000;
const loadMs = 120_000;

const probes: readonly Probe[] = [
  {
    name: "idle-rss",
    run: async ({ quick }) => {
      const values: number[] = [];
      for (let time = 0; time < (quick ? 2 : 5); time += 1) {
        await withHoldfast(async (broker) => {
          await sleep(3000);
          values.push(useOf(broker.pid()).rssBytes / 1e6);
        });
      }
      const spread = spreadOf(values);
      return {
        sentence: `${spread.median.toFixed(0)} MB resident at rest, at most ${idleRssMbMax}`,
        verdict: verdictAtMost(spread, idleRssMbMax),
        values,
      };
    },
  },
  {
    name: "reopen",
    run: async ({ quick }) => {
      const values: number[] = [];
      await withHoldfast(async (broker) => {
        const go = await goProgram(join(import.meta.dirname, "go"));
        await finish(go, ["create", broker.address, "reopen", "100"], { timeoutMs: loadMs });
        for (let time = 0; time < (quick ? 3 : 9); time += 1) {
          await finish(
            go,
            ["fill", broker.address, "reopen", "100", String(walBoundRecords), String(recordBytes)],
            { timeoutMs: loadMs },
          );
          await broker.kill();
          values.push(await broker.start());
        }
      });
      const spread = spreadOf(values);
      const worst = Math.max(...values).toFixed(0);
      return {
        sentence: `ready ${spread.median.toFixed(0)} ms after a kill with the WAL at its bound (worst ${worst}), at most ${reopenMsMax}`,
        verdict: verdictAtMost(spread, reopenMsMax),
        values,
      };
    },
  },
  {
    name: "sync",
    run: async ({ quick }) => {
      const windows = await syncWindows(quick ? 20_000 : 60_000);
      const p99 = (flushing: boolean): number[] =>
        windows.filter((window) => window.flushing === flushing).map((window) => window.p99Ms);
      const [during, without] = [p99(true), p99(false)];
      if (during.length < 3 || without.length < 3) {
        return {
          sentence: `${during.length} windows with flush and ${without.length} without are too few`,
          verdict: "open",
          values: [],
        };
      }
      const [a, b] = [spreadOf(during), spreadOf(without)];
      const ratio = {
        median: a.median / b.median,
        lower: a.lower / b.median,
        upper: a.upper / b.median,
        count: a.count,
      };
      return {
        sentence: `p99 of the WAL's sync ${a.median.toFixed(2)} ms with flush (${during.length} windows), ${b.median.toFixed(2)} ms without (${without.length}): ${ratio.median.toFixed(2)}×, at most ${syncRatioMax}`,
        verdict: verdictAtMost(ratio, syncRatioMax),
        values: [a.median, b.median],
      };
    },
  },
];

export function chooseProbes(wanted: string): readonly Probe[] {
  if (wanted === "none") return [];
  if (wanted === "all") return probes;
  return wanted.split(",").map((name) => {
    const found = probes.find((probe) => probe.name === name);
    if (found === undefined)
      throw new Error(
        `No probe is called ${name}; there are ${probes.map((probe) => probe.name).join(", ")}`,
      );
    return found;
  });
}

interface SyncWindow {
  readonly flushing: boolean;
  readonly p99Ms: number;
}

const windowMs = 250;
const windowSyncsMin = 50;

/**
 * Writes at an even rate, far below what the broker can take, and looks at /metrics in short windows. The
 * rate makes a flush begin every few seconds, so that windows with and without one alternate by themselves.
 */
async function syncWindows(durationMs: number): Promise<readonly SyncWindow[]> {
  const windows: SyncWindow[] = [];
  await withHoldfast(async (broker) => {
    const go = await goProgram(join(import.meta.dirname, "go"));
    await finish(go, ["create", broker.address, "sync", "20"], { timeoutMs: loadMs });
    const perSecond = 15_000;
    const count = Math.round((perSecond * durationMs) / 1000);
    const load = start(go, [
      "paced",
      broker.address,
      "sync",
      "20",
      String(count),
      String(recordBytes),
      String(perSecond),
    ]);
    let before = await look(broker);
    while (load.isRunning()) {
      await sleep(windowMs);
      const after = await look(broker);
      const p99Ms = quantileBetween(before.syncsMs, after.syncsMs, 0.99, windowSyncsMin);
      // A window that saw both is counted with the flush.
      const flushing = after.flushProgress > before.flushProgress;
      if (p99Ms !== undefined) windows.push({ flushing, p99Ms });
      before = after;
    }
    const ended = await load.ended;
    if (ended.code !== 0) throw new Error(ended.stderr);
  });
  return windows;
}

async function look(broker: Broker): Promise<{ syncsMs: Histogram; flushProgress: number }> {
  const answer = await fetch(`${broker.http}/metrics`);
  if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`);
  const text = await answer.text();
  return {
    syncsMs: histogramOf(text, "holdfast_wal_sync_ms"),
    // Moves with each object that a flush writes, and at the end of each flush.
    flushProgress:
      valueOf(text, "holdfast_flush_written_bytes") + valueOf(text, "holdfast_flush_duration_seconds_count"),
  };
}

async function withHoldfast(work: (broker: Broker) => Promise<void>): Promise<void> {
  mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "bench", "probe-"));
  const broker = await startBroker("holdfast", { directory, built: true });
  try {
    await work(broker);
  } finally {
    await broker.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}
