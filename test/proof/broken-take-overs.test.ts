import assert from "node:assert/strict";
import { test } from "node:test";
import { changed } from "./broken-copy.ts";
import { type BrokenTakeOver, brokenTakeOvers, judge } from "./broken-take-overs.ts";

/** A schedule shortly before the one in which it shows; where the sources have changed since, a later one will do. */
const firstSeeds: { readonly [broken in BrokenTakeOver]?: number } = {
  noFence: 1_000,
  noLeaderEpoch: 230,
  slotBarrierInMove: 2_120,
  markedInMove: 2_120,
  oldSlotBarrier: 1_500,
  flushWhileLoading: 2_100,
};
/** In every run of the tests; with HOLDFAST_BROKEN=full all are tried. */
const sample: ReadonlySet<BrokenTakeOver> = new Set(["endFromList", "gcSeal", "noBarrier"]);
const isFull = process.env["HOLDFAST_BROKEN"] === "full";
const schedules = isFull ? 3_000 : 200;

for (const broken of Object.keys(brokenTakeOvers) as BrokenTakeOver[]) {
  const skip = !isFull && !sample.has(broken);
  test(`the schedules see rooms that break a rule of fencing: ${broken}`, { skip }, async () => {
    const { sentence } = await judge(broken, { firstSeed: firstSeeds[broken] ?? 1, schedules });
    assert.notEqual(sentence, "");
  });
}

// Those that are not tried in every run are broken where the rule stands now, too.
test("every rule of fencing can be broken in the sources as they are", () => {
  for (const changes of Object.values(brokenTakeOvers)) assert.notEqual(changed(changes).size, 0);
});
