import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { offset, producerId } from "../../base/ids.ts";
import { KeptBatches, mergedBatches } from "./kept-batches.ts";
import type { KeptState, StateBatch } from "./state-batch.ts";

const batch = (first: number, last: number, state: KeptState, deliveryCount: number): StateBatch => ({
  first: offset(first),
  last: offset(last),
  state,
  deliveryCount,
  letter: null,
});

function lines(kept: KeptBatches): string[] {
  return kept.all.map(
    ({ first, last, state, deliveryCount }) => `${first}-${last} ${state} ×${deliveryCount}`,
  );
}

const merged = (...words: StateBatch[]): string[] => lines(mergedBatches([], words, offset(-1)));

test("what lies side by side and says the same is one batch", () => {
  assert.deepEqual(merged(batch(0, 4, 2, 1), batch(10, 14, 2, 1), batch(5, 9, 2, 1)), ["0-14 2 ×1"]);
  assert.deepEqual(merged(batch(0, 4, 2, 1), batch(5, 9, 2, 2)), ["0-4 2 ×1", "5-9 2 ×2"]);
});

test("a word inside another splits it", () => {
  assert.deepEqual(merged(batch(0, 9, 0, 1), batch(3, 4, 2, 1)), ["0-2 0 ×1", "3-4 2 ×1", "5-9 0 ×1"]);
});

test("what is acknowledged stays so, whatever comes late and with how many deliveries", () => {
  assert.deepEqual(merged(batch(0, 9, 2, 0), batch(0, 20, 0, 3)), ["0-9 2 ×0", "10-20 0 ×3"]);
  assert.deepEqual(merged(batch(0, 9, 4, 5), batch(2, 3, 3, 6)), ["0-9 4 ×5"]);
});

test("of two that call a record available the one with more deliveries counts", () => {
  assert.deepEqual(merged(batch(0, 9, 0, 2), batch(5, 12, 0, 1)), ["0-9 0 ×2", "10-12 0 ×1"]);
});

test("what lies before the start is forgotten, also in the middle of a batch", () => {
  assert.deepEqual(lines(mergedBatches([], [batch(0, 4, 2, 1), batch(5, 9, 0, 1)], offset(7))), ["7-9 0 ×1"]);
});

test("a run of dead letters keeps as whom each of them is written, also when it is split", () => {
  const letter = { producerId: producerId(7), sequence: 40 };
  const kept = mergedBatches([], [{ ...batch(10, 19, 3, 5), letter }, batch(12, 13, 4, 5)], offset(11));
  assert.deepEqual(
    kept.all.map((each) => [each.first, each.last, each.state, each.letter?.sequence ?? null]),
    [
      [11, 11, 3, 41],
      [12, 13, 4, null],
      [14, 19, 3, 44],
    ],
  );
});

/** Kafka's rule, offset by offset. */
class Naive {
  readonly offsets = new Map<number, StateBatch>();
  readonly #stages = { 0: 0, 3: 1, 2: 2, 4: 2 };
  merge(word: StateBatch): void {
    for (let at: number = word.first; at <= word.last; at++) {
      const known = this.offsets.get(at);
      const ahead = known === undefined ? -1 : this.#stages[known.state] - this.#stages[word.state];
      const stays =
        ahead > 0 ||
        (ahead === 0 && word.state !== 0 && word.state !== 3) ||
        (ahead === 0 && word.state === 0 && (known?.deliveryCount ?? 0) > word.deliveryCount);
      if (!stays) this.offsets.set(at, word);
    }
  }
  prune(start: number): void {
    for (const at of this.offsets.keys()) if (at < start) this.offsets.delete(at);
  }
}

test("any words leave for each offset what one map of offsets would, in order and without overlap", () => {
  const word = fc
    .record({
      first: fc.nat(60),
      length: fc.integer({ min: 1, max: 25 }),
      state: fc.constantFrom<KeptState>(0, 2, 3, 4),
      count: fc.nat(3),
    })
    .map(({ first, length, state, count }) => batch(first, first + length - 1, state, count));
  const step = fc.oneof({ weight: 8, arbitrary: word }, { weight: 1, arbitrary: fc.nat(60) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const kept = new KeptBatches();
      const naive = new Naive();
      for (const each of steps) {
        if (typeof each === "number") {
          kept.prune(offset(each));
          naive.prune(each);
        } else {
          kept.merge(each);
          naive.merge(each);
        }
        let end = -1;
        let before: StateBatch | null = null;
        let offsets = 0;
        for (const one of kept.all) {
          assert.ok(one.first > end && one.last >= one.first);
          const isSplit =
            before === null ||
            one.first > end + 1 ||
            one.state !== before.state ||
            one.deliveryCount !== before.deliveryCount;
          assert.ok(isSplit, "neighbours say different things");
          for (let at: number = one.first; at <= one.last; at++, offsets++) {
            const expected = naive.offsets.get(at);
            assert.equal(one.state, expected?.state);
            assert.equal(one.deliveryCount, expected?.deliveryCount);
          }
          end = one.last;
          before = one;
        }
        assert.equal(offsets, naive.offsets.size);
      }
    }),
    { numRuns: 500 },
  );
});
