/** How long the WAL's sync takes while a flush writes segments beside it, against when none does. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../../tools/brokers.ts";
import { start } from "../../tools/processes.ts";
import { benchProgram, createTopic } from "../loads.ts";
import { type Histogram, histogramOf, quantileBetween, valueOf } from "../metrics.ts";
import { spreadOf, verdictAtMost } from "../stats.ts";
import { type Probe, withHoldfast } from "./probe.ts";

const syncRatioMax = 3;
const recordBytes = 1000;

export const sync: Probe = {
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
};

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
  await withHoldfast({}, async (broker) => {
    const go = await benchProgram();
    await createTopic(broker, "sync", 20);
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
