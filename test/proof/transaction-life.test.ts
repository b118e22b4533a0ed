import assert from "node:assert/strict";
import { test } from "node:test";
import { run, type Variant, variants } from "./transaction-life.ts";

test("a committed reader gets exactly what was committed, over flushes, compaction, deletions and restarts, and a restart knows every transaction", async () => {
  const counts = await run({ worlds: 3 });
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 0, what);
});

const told: { readonly [variant in Variant]: RegExp } = {
  "aborted transactions missing in a segment":
    /seed \d+: a committed reader got offset \d+, which is aborted/,
  "aborted transactions missing behind the range that is read":
    /seed \d+: a committed reader got offset \d+, which is aborted/,
  "a marker counts before it is durable": /seed \d+: the last stable offset is|which is open/,
  "compaction drops markers": /seed \d+: a committed reader got offset \d+, which is aborted/,
};
for (const variant of variants) {
  test(`the check sees a broken rule: ${variant}`, async () => {
    await assert.rejects(run({ worlds: 20, variant }), told[variant]);
  });
}
