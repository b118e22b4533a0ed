import assert from "node:assert/strict";
import { test } from "node:test";
import { existsIsMine, noCutCheck, run as runAgree } from "./journal-agree.ts";
import { run as runCrash } from "./journal-crash.ts";
import { run as runDamage } from "./journal-damage.ts";
import { run as runOwners } from "./journal-owners.ts";
import { Violation } from "./journal-truth.ts";
import {
  exclusiveCreate,
  ignoredSyncFailure,
  noDirectorySync,
  noFileSync,
  run as runStore,
} from "./store-crash.ts";

// Samples; `npm run prove` runs all of it.

test("processes agree on one journal in a faulty bucket", async () => {
  const { counts } = await runAgree({ sample: true });
  assert.ok((counts["slots"] as number) > 300 && (counts["takeovers"] as number) > 5);
});

test("what a recovery would find is what was acknowledged, whoever owns, moves, flushes and ends whom", async () => {
  const { counts } = await runOwners({ sample: true });
  for (const often of ["records", "flush applied"]) assert.ok((counts[often] as number) > 200, often);
  for (const what of ["move applied", "recover applied", "own end applied", "deleted records"])
    assert.ok((counts[what] as number) > 5, what);
});

test("an object that was reported as created survives power loss at any moment, whole", async () => {
  const { counts } = await runStore({ sample: true });
  assert.ok((counts["crashes"] as number) > 300);
});

test("an answered command survives power loss, kill and every failing disk call", async () => {
  const { counts } = await runCrash({ sample: true });
  assert.ok((counts["crashes"] as number) > 50 && (counts["full disks survived"] as number) > 10);
});

test("damage in the journal is named, deletes nothing and makes no other state", async () => {
  const { counts } = await runDamage({ sample: true });
  assert.ok((counts["flips"] as number) > 200 && (counts["named"] as number) > 30);
});

const mistakes = {
  "the put's status code is believed": () => runAgree({ sample: true, variant: existsIsMine }),
  "nobody looks at the cut markers": () => runAgree({ sample: true, variant: noCutCheck }),
  "the directory is not synced": () => runStore({ sample: true, variant: noDirectorySync }),
  "the object is created under its final name": () => runStore({ sample: true, variant: exclusiveCreate }),
  "the object is linked before its bytes are synced": () => runStore({ sample: true, variant: noFileSync }),
  "a failed sync is ignored": () => runCrash({ sample: false, variant: ignoredSyncFailure }),
  "a segment is published before its put is durable": () => runCrash({ sample: false, publishEarly: true }),
};
for (const [name, run] of Object.entries(mistakes)) {
  test(`the sweeps catch a mistake: ${name}`, () => assert.rejects(run(), Violation));
}
