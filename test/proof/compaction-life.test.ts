import assert from "node:assert/strict";
import { test } from "node:test";
import { run, type Variant } from "./compaction-life.ts";

test("compaction loses no newest value, no tombstone before its time and no marker of what is there, over deaths, folds, deletions and full disks", async () => {
  const counts = await run({ worlds: 3, firstSeed: 1004 });
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 0, what);
});

/** With a seed from which on the loss soon comes. */
const broken: { readonly [variant in Variant]: number } = {
  "tombstones before their time": 4,
  "a partial pass told as a whole one": 5,
  "control records compacted by key": 30,
  "old objects deleted before the new ones are published": 30,
  "publish before the put is durable": 4,
  "compaction above the last stable offset": 9,
};
for (const [variant, firstSeed] of Object.entries(broken) as [Variant, number][]) {
  test(`the check sees a broken rule: ${variant}`, async () => {
    await assert.rejects(run({ worlds: 100, firstSeed, variant }), /seed \d+: .*(is lost|is gone)/);
  });
}
