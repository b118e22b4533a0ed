/**
 * Apache Kafka's LogCompactionTester (4.3.0) against Holdfast, which is killed while it compacts: the tool
 * writes values and deletions of random keys to compacted topics, waits, reads everything, and compares the
 * newest value of each key. That something was compacted is seen by how much less was read than written.
 *
 *   HOLDFAST_INTEROP   sample or full; without it nothing runs
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { kafkaTool } from "./console-tools.ts";
import { expectSuccess } from "./exchange.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;
const full = scale === "full";

/** Everything at once, so that a run of a minute sees many passes. */
const hasty = {
  "holdfast.flush.age.ms": 500,
  "log.cleaner.backoff.ms": 200,
  "log.cleaner.min.cleanable.ratio": 0.1,
  "log.cleaner.delete.retention.ms": 2_000,
  "log.retention.check.interval.ms": 1_000,
  "log.segment.delete.delay.ms": 500,
  "group.initial.rebalance.delay.ms": 0,
};

async function killAgain(broker: Broker, times: number, everyMs: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await sleep(everyMs);
    await broker.kill();
    await broker.start();
  }
}

for (const compression of ["none", "gzip"]) {
  test(`LogCompactionTester finds every newest value, and none that was deleted; compression ${compression}`, {
    skip,
    timeout: 600_000,
  }, async (context) => {
    mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
    const directory = mkdtempSync(join(cacheDirectory, "interop", "compaction-"));
    const settings = Object.entries(hasty).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const broker = await startBroker("holdfast", { directory: join(directory, "holdfast"), settings });
    try {
      const kills: Promise<void>[] = [];
      const ended = await kafkaTool(
        "LogCompactionTester",
        [
          ["--bootstrap-server", broker.address],
          ["--messages", String(full ? 1_000_000 : 100_000)],
          ["--duplicates", "10"],
          ["--percent-deletes", "20"],
          ["--topics", "3"],
          ["--sleep", "20"],
          ["--compression-type", compression],
        ].flat(),
        {
          timeoutMs: 500_000,
          onLine: (line) => {
            if (line.startsWith("Sleeping")) kills.push(killAgain(broker, 4, 3_000));
          },
        },
      );
      assert.equal(kills.length, 1);
      await Promise.all(kills);
      expectSuccess("LogCompactionTester", ended);
      assert.match(ended.stdout, /Data verification is completed/);
      const rows = /(\d+) rows of data produced, (\d+) rows of data consumed/.exec(ended.stdout);
      assert.ok(rows !== null, ended.stdout);
      context.diagnostic(rows[0]);
      assert.ok(Number(rows[2]) < Number(rows[1]) / 3, `${rows[2]} of ${rows[1]} were read`);
    } finally {
      await broker.stop();
      rmSync(directory, { recursive: true, force: true });
    }
  });
}
