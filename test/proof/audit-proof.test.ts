import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "../../src/audit/check.ts";
import type { AnomalyKind } from "../../src/audit/findings.ts";
import { run, tell } from "./audit-clean.ts";
import type { Variant } from "./audit-world.ts";

test("histories of correct logs give no false alarm", async () => {
  const { counts } = await run({ histories: 100 });
  assert.equal(counts["false alarms"], 0);
  for (const what of [
    "crashes",
    "unknown outcomes",
    "transactions",
    "rebalances",
    "commits refused",
    "resets",
    "transactions with offsets",
    "transactions timed out",
    "producers fenced",
    "records glimpsed",
  ]) {
    assert.ok((counts[what] as number) > 50, what);
  }
});

/** By each broken rule, the finding that names it. Not in every world does it show. */
const named: { readonly [variant in Variant]: AnomalyKind } = {
  "an acknowledged record is lost": "lost-write",
  "an idempotent record is stored twice": "duplicate",
  "an unsent record appears": "phantom",
  "a record is altered": "altered",
  "an aborted record is shown": "G1a",
  "a transaction is committed in one partition only": "torn-transaction",
  "the high watermark goes back": "watermark-went-back",
  "a commit of an old generation is taken": "stale-commit",
  "a member commits what it has not handled": "commit-ahead",
  "a committed offset goes back": "committed-offset-went-back",
  "one partition is given to two members": "two-owners",
  "offsets are committed outside of their transaction": "aborted-commit",
  "a transaction is committed without its offsets": "torn-transaction",
  "a fenced producer is taken": "zombie-write",
  "a transaction hangs": "hanging-transaction",
};

for (const [variant, kind] of Object.entries(named) as [Variant, AnomalyKind][]) {
  test(`the checker sees a log that is not correct: ${variant}`, () => {
    for (let seed = 1; seed <= 40; seed++) {
      const { bugs } = check(tell(seed, variant).history);
      if (bugs.some((each) => each.kind === kind)) return;
    }
    assert.fail(`no world of 40 shows ${kind}`);
  });
}
