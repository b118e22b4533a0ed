import assert from "node:assert/strict";
import { test } from "node:test";
import { run as runCrash } from "./wal-crash.ts";
import { run as runDamage } from "./wal-damage.ts";
import { run as runFaults } from "./wal-faults.ts";
import { brokenVariants } from "./wal-variants.ts";
import { Violation } from "./wal-world.ts";

// A sample with a few seconds; `npm run prove` runs all of it.
const sweeps = { crash: runCrash, damage: runDamage, faults: runFaults };

test("acknowledged entries survive power loss and kill at any moment, in recovery too", async () => {
  const { counts } = await runCrash({ sample: true });
  assert.ok((counts["crashes"] as number) > 500);
});

test("damage at rest costs what it hit, in no silence and with no wrong byte", async () => {
  const { counts } = await runDamage({ sample: true });
  assert.ok((counts["flips"] as number) > 500);
});

test("a disk call that fails or lies costs nothing that was acknowledged, or it is named", async () => {
  const { counts } = await runFaults({ sample: true });
  assert.ok((counts["failed calls"] as number) > 50);
});

for (const variant of brokenVariants) {
  test(`the sweeps catch a mistake: ${variant.name}`, async () => {
    const { workload } = variant;
    const selection = workload === undefined ? { sample: true } : { sample: false, workload };
    await assert.rejects(sweeps[variant.caughtBy]({ ...selection, variant }), Violation);
  });
}
