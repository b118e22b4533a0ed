/** What becomes of dead letters that wait when the log of their broker closes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DeadLetters, type DeadLettersOptions } from "./dead-letters.ts";

test("letters that wait when the log closes leave the process free to end", async () => {
  let asked = 0;
  const letters = new DeadLetters({
    services: { partitions: { failure: new Error("the log closed") } },
    // Each round asks; one that never ends would keep this test from ever being done.
    isOver: () => ++asked > 1_000,
  } as unknown as DeadLettersOptions);
  letters.add([{ first: 0, last: 0, deliveryCount: 1, reason: "rejected", letter: null }]);
  letters.carry();
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(asked < 10, `asked ${asked} times`);
});
