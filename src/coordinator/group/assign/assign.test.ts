/** What every assignor of KIP-848 keeps, and what only the uniform one does. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { topicIdFromBytes } from "../../../base/ids.ts";
import { contains, each, minus, type PartitionSet, sizeOf } from "../partition-set.ts";
import type { Assignor, Candidate } from "./assignor.ts";
import { assignRanges } from "./range.ts";
import { assignUniformly } from "./uniform.ts";

const topicIds = ["a", "b", "c", "d"].map((name) => topicIdFromBytes(Buffer.from(name.repeat(16))));
const counts = fc
  .array(fc.nat(12), { minLength: 4, maxLength: 4 })
  .map((sizes) => new Map(topicIds.map((id, at) => [id, sizes[at] as number])));
const subscriptions = fc.array(fc.subarray(topicIds, { minLength: 1 }), { minLength: 1, maxLength: 9 });

const candidatesOf = (
  wanted: readonly (typeof topicIds)[],
  targets?: ReadonlyMap<string, PartitionSet>,
): Candidate[] =>
  wanted.map((topics, at) => ({
    memberId: `m${at}`,
    topics: new Set(topics),
    target: targets?.get(`m${at}`) ?? new Map(),
  }));

function check(
  candidates: readonly Candidate[],
  sizes: ReadonlyMap<string, number>,
  result: ReadonlyMap<string, PartitionSet>,
) {
  const owners = new Map<string, string>();
  for (const { memberId, topics } of candidates) {
    for (const [topicId, partition] of each(result.get(memberId) ?? new Map())) {
      assert.ok(topics.has(topicId), "nobody gets a topic that it does not want");
      assert.ok(!owners.has(`${topicId}/${partition}`), "no partition has two owners");
      owners.set(`${topicId}/${partition}`, memberId);
    }
  }
  let wanted = 0;
  for (const [topicId, count] of sizes) {
    if (candidates.some(({ topics }) => (topics as ReadonlySet<string>).has(topicId))) wanted += count;
  }
  assert.equal(owners.size, wanted, "every partition that somebody wants has an owner");
}

for (const [name, assign] of [
  ["range", assignRanges],
  ["uniform", assignUniformly],
] as [string, Assignor][]) {
  describe(`the ${name} assignor`, () => {
    test("gives every wanted partition to exactly one who wants it", () => {
      fc.assert(
        fc.property(counts, subscriptions, subscriptions, (sizes, first, second) => {
          const before = assign(candidatesOf(first), sizes);
          check(candidatesOf(first), sizes, before);
          const candidates = candidatesOf(second, before);
          check(candidates, sizes, assign(candidates, sizes));
        }),
        { numRuns: 300 },
      );
    });
  });
}

describe("the uniform assignor", () => {
  test("gives members that want the same numbers that differ by one at most, and moves no more than that needs", () => {
    fc.assert(
      fc.property(
        counts,
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (sizes, first, second) => {
          const all = (count: number) => Array.from({ length: count }, () => topicIds);
          const before = assignUniformly(candidatesOf(all(first)), sizes);
          const after = assignUniformly(candidatesOf(all(second), before), sizes);
          const numbers = [...after.values()].map(sizeOf);
          assert.ok(Math.max(...numbers) - Math.min(...numbers) <= 1);
          // Whoever stays keeps what it had, up to what it gets now.
          for (const [memberId, had] of before) {
            const has = after.get(memberId);
            if (has === undefined) continue;
            const kept = sizeOf(had) - sizeOf(minus(had, has));
            assert.ok(
              kept >= Math.min(sizeOf(had), sizeOf(has)) - 1,
              `${memberId} had ${sizeOf(had)}, kept ${kept}`,
            );
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("changes nothing when nothing changed", () => {
    const sizes = new Map(topicIds.map((id) => [id, 7]));
    const wanted = Array.from({ length: 5 }, () => topicIds);
    const before = assignUniformly(candidatesOf(wanted), sizes);
    const after = assignUniformly(candidatesOf(wanted, before), sizes);
    for (const [memberId, had] of before) {
      for (const [topicId, partition] of each(had))
        assert.ok(contains(after.get(memberId) as PartitionSet, topicId, partition));
    }
  });
});
