import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Unfinished } from "./unfinished.ts";

describe("what is unfinished", () => {
  it("is bounded from below by the lowest, in whatever order records finish (C02, C03)", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(2_000), { minLength: 1, maxLength: 600 }),
        fc.infiniteStream(fc.nat()),
        (offsets, chances) => {
          const sorted = offsets.toSorted((a, b) => a - b);
          const unfinished = new Unfinished();
          for (const at of sorted) unfinished.begin(at);
          const open = new Set(sorted);
          while (open.size > 0) {
            const left = [...open];
            const at = left[(chances.next().value as number) % left.length] as number;
            unfinished.finish(at);
            open.delete(at);
            assert.equal(
              unfinished.lowest?.offset,
              sorted.find((each) => open.has(each)),
            );
            assert.equal(unfinished.count, open.size);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it("takes no notice of what was never begun, or is finished already", () => {
    const unfinished = new Unfinished();
    unfinished.begin(5);
    unfinished.begin(7);
    unfinished.finish(6);
    unfinished.finish(7);
    unfinished.finish(7);
    assert.equal(unfinished.lowest?.offset, 5);
    unfinished.finishAll();
    assert.equal(unfinished.lowest, undefined);
  });
});
