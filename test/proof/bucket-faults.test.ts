import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./bucket-faults.ts";

const seeds = Number(process.env["HOLDFAST_BUCKET_SEEDS"] ?? 2);

test(`in ${seeds} troubled buckets every name has one winner, and every acknowledged entry is found`, async () => {
  const { faulted, names, acknowledged } = await run({ seeds });
  assert.equal(names, seeds * 12);
  assert.ok(faulted > seeds * 20, `${faulted} requests met a fault`);
  assert.ok(acknowledged > seeds);
});
