/**
 * A share group in a storm, in small: workers of our client and of Java's, poison, kills and pauses of workers and of
 * the broker. HOLDFAST_STORM is set where it runs, because it takes Java; `node test/cluster/queue-storm.ts` is the long one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { queueStorm } from "./queue-storm.ts";

const times = Number(process.env["HOLDFAST_STORM"] ?? 0);
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);

test("workers and brokers that die and stand still lose no record of a queue, and give none out that was accepted", {
  skip: times === 0 ? "set HOLDFAST_STORM to 1" : false,
}, async (t) => {
  const { violations, ...counts } = await queueStorm({
    records: 15_000,
    workers: 6,
    brokers: 1,
    rate: 1_000,
    everyMs: 3_000,
    brokerEveryMs: 12_000,
    // None is deadly: that takes ten deaths one after the other, and is left to the long storm.
    poison: { rejectedEvery: 500, deadlyEvery: 0 },
    writingMsMax: 60_000,
    seed,
    onEvent: (line) => t.diagnostic(line),
  });
  assert.deepEqual(violations, [], JSON.stringify(counts));
  assert.ok(counts.passed);
});
