import assert from "node:assert/strict";
import { test } from "node:test";
import { type SparseVariant, SparseWorld } from "./sparse-world.ts";

const worldsMax = 8;

/** What the judgement says of each broken rule. Not in every world does it show. */
const broken: { readonly [variant in SparseVariant]: RegExp } = {
  "offsets expire under live data": /was committed at \d+ and is found at -1|committed by kept is/,
};

for (const [variant, sentence] of Object.entries(broken) as [SparseVariant, RegExp][]) {
  test(`a sparse world sees a broker that breaks a rule: ${variant}`, async () => {
    for (let seed = 1; seed <= worldsMax; seed++) {
      const { violations } = await new SparseWorld(seed, variant).run();
      if (violations.some((each) => sentence.test(each))) return;
    }
    assert.fail(`no world of ${worldsMax} shows it`);
  });
}
