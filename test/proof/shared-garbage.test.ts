import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./shared-garbage.ts";
import { variants } from "./sharing-broker.ts";

test("nothing that is needed goes, and nothing else stays, when brokers sweep one store by views that lag", async () => {
  const counts = await run({ worlds: Number(process.env["SHARED_GARBAGE"] ?? 15) });
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 0, what);
});

for (const variant of variants) {
  test(`the check sees a broken rule: ${variant}`, async () => {
    await assert.rejects(run({ worlds: 300, variant }), /seed \d+: .* gone/);
  });
}
