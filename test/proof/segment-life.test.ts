import assert from "node:assert/strict";
import { test } from "node:test";
import { run, variants } from "./segment-life.ts";

test("nothing durable is lost over flushes, folds, retention, garbage collection, full disks and deaths", async () => {
  const counts = await run({ worlds: 12 });
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 0, what);
});

for (const variant of variants) {
  test(`the check sees a broken rule: ${variant}`, async () => {
    await assert.rejects(
      run({ worlds: 200, firstSeed: 235, variant }),
      /seed \d+: (offset \d+ of partition \d+ is lost|.*footer|.* is gone)/,
    );
  });
}
