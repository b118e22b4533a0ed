/** What the assignor of share groups keeps, whoever comes, goes or wants something else. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { partitionIndex, topicIdFromBytes } from "../../../base/ids.ts";
import { contains, each, type PartitionSet, same, sizeOf } from "../partition-set.ts";
import type { Candidate } from "./assignor.ts";
import { assignSimply } from "./simple.ts";

const topicIds = ["a", "b", "c", "d"].map((name) => topicIdFromBytes(Buffer.from(name.repeat(16))));
const partitionsOf = (sizes: readonly number[]): PartitionSet =>
  new Map(
    sizes.flatMap((size, at) => {
      const ids = Array.from({ length: size }, (_, index) => partitionIndex(index));
      return size === 0 ? [] : [[topicIds[at] as (typeof topicIds)[number], new Set(ids)] as const];
    }),
  );
const partitions = fc.array(fc.nat(8), { minLength: 4, maxLength: 4 }).map(partitionsOf);
const wishes = fc.array(fc.subarray(topicIds), { minLength: 1, maxLength: 12 });

const candidatesOf = (
  wanted: readonly (readonly (typeof topicIds)[number][])[],
  targets?: ReadonlyMap<string, PartitionSet>,
): Candidate[] =>
  wanted.map((topics, at) => ({
    memberId: `m${at}`,
    topics: new Set(topics),
    target: targets?.get(`m${at}`) ?? new Map(),
  }));

function check(
  candidates: readonly Candidate[],
  there: PartitionSet,
  result: ReadonlyMap<string, PartitionSet>,
) {
  const crowds = new Map<string, number>();
  for (const { memberId, topics } of candidates) {
    const has = result.get(memberId) as PartitionSet;
    for (const [topicId, partition] of each(has)) {
      assert.ok(
        topics.has(topicId) && contains(there, topicId, partition),
        "nobody gets what it does not want",
      );
      crowds.set(`${topicId}/${partition}`, (crowds.get(`${topicId}/${partition}`) ?? 0) + 1);
    }
    const mayHave = [...topics].some((id) => there.has(id));
    assert.equal(sizeOf(has) > 0, mayHave, "every member that wants something that is there has something");
  }
  for (const [topicId, partition] of each(there)) {
    const isWanted = candidates.some(({ topics }) => topics.has(topicId));
    assert.equal(crowds.has(`${topicId}/${partition}`), isWanted, "every wanted partition has a member");
  }
  return crowds;
}

describe("the simple assignor", () => {
  test("gives every wanted partition a member and every member a partition, whatever was before", () => {
    fc.assert(
      fc.property(partitions, partitions, wishes, wishes, (first, second, before, after) => {
        const former = assignSimply(candidatesOf(before), first);
        check(candidatesOf(before), first, former);
        const candidates = candidatesOf(after, former);
        check(candidates, second, assignSimply(candidates, second));
      }),
      { numRuns: 500 },
    );
  });

  test("shares evenly among members that want the same: one partition each, or one member each, and numbers that differ by one at most", () => {
    const count = fc.integer({ min: 1, max: 20 });
    fc.assert(
      fc.property(partitions, count, count, (there, first, second) => {
        if (there.size === 0) return;
        const all = (members: number) => Array.from({ length: members }, () => topicIds);
        const former = assignSimply(candidatesOf(all(first)), there);
        const candidates = candidatesOf(all(second), former);
        const result = assignSimply(candidates, there);
        const crowds = [...check(candidates, there, result).values()];
        const sizes = [...result.values()].map(sizeOf);
        assert.ok(Math.max(...crowds) - Math.min(...crowds) <= 1);
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
        assert.ok(Math.max(...crowds) === 1 || Math.max(...sizes) === 1, "nobody has more than that needs");
      }),
      { numRuns: 500 },
    );
  });

  test("changes nothing when nothing changed, and where a member comes takes from nobody more than balance needs", () => {
    fc.assert(
      fc.property(partitions, wishes, (there, wanted) => {
        const former = assignSimply(candidatesOf(wanted), there);
        for (const [memberId, has] of assignSimply(candidatesOf(wanted, former), there)) {
          assert.ok(same(has, former.get(memberId) as PartitionSet), memberId);
        }
      }),
      { numRuns: 300 },
    );
    const there = partitionsOf([6, 0, 0, 0]);
    const two = assignSimply(candidatesOf([topicIds, topicIds]), there);
    const three = assignSimply(candidatesOf([topicIds, topicIds, topicIds], two), there);
    for (const [memberId, had] of two) {
      const has = three.get(memberId) as PartitionSet;
      assert.equal(sizeOf(has), 2);
      for (const [topicId, partition] of each(has)) assert.ok(contains(had, topicId, partition));
    }
  });
});
