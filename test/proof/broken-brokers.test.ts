import assert from "node:assert/strict";
import { test } from "node:test";
import { type BrokenBroker, judge } from "./broken-brokers.ts";

const seeds = 40;

/** A seed in which it shows; where the sources have changed since, a later one will do. */
const firstSeeds: { readonly [broken in BrokenBroker]: number } = {
  "markers before the intention": 20,
  "what is prepared is forgotten at the start": 31,
  "an old epoch is accepted": 2,
  "what is written to is not added": 20,
  "segments do not tell what was aborted": 2,
  "offsets are committed outside of their transaction": 2,
};

for (const [broken, firstSeed] of Object.entries(firstSeeds) as [BrokenBroker, number][]) {
  test(`the simulation sees a broker that breaks a rule of transactions: ${broken}`, async () => {
    assert.match(await judge(broken, { firstSeed, seeds }), /^✗ /m);
  });
}
