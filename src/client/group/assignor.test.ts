import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type AssignorName,
  assignors,
  type GroupAssignment,
  type GroupMember,
  nameOf,
  type TopicPartition,
} from "./assignor.ts";

const names = Object.keys(assignors) as AssignorName[];

const member = (memberId: string, more: Partial<GroupMember> = {}): GroupMember => ({
  memberId,
  instanceId: null,
  topics: ["t"],
  owned: [],
  generation: 1,
  ...more,
});

const parts = (given: GroupAssignment, memberId: string): string[] => (given.get(memberId) ?? []).map(nameOf);

const groups = fc
  .record({
    counts: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.integer({ min: 0, max: 12 })),
    members: fc.array(fc.uniqueArray(fc.constantFrom("a", "b", "c", "absent"), { minLength: 1 }), {
      minLength: 1,
      maxLength: 6,
    }),
    claims: fc.array(fc.tuple(fc.nat(5), fc.constantFrom("a", "b", "c"), fc.nat(12), fc.nat(3)), {
      maxLength: 20,
    }),
  })
  .map(({ counts, members, claims }) => ({
    counts: new Map(Object.entries(counts)),
    members: members.map((topics, index) =>
      member(`m${index}`, {
        topics,
        generation: claims.find(([of]) => of === index)?.[3] ?? -1,
        owned: uniqueParts(
          claims.filter(([of]) => of === index).map(([, topic, partition]) => ({ topic, partition })),
        ),
      }),
    ),
  }));

const uniqueParts = (all: readonly TopicPartition[]): readonly TopicPartition[] => [
  ...new Map(all.map((part) => [nameOf(part), part])).values(),
];

/** Joins as a group does: what members own is what they were given. */
function settle(members: readonly GroupMember[], counts: ReadonlyMap<string, number>): GroupAssignment {
  const assignor = assignors["cooperative-sticky"];
  let now = members;
  for (let round = 1; ; round++) {
    const given = assignor.assign(now, counts);
    const next = now.map((each) => ({ ...each, generation: 100 + round, owned: given.get(each.memberId)! }));
    if (JSON.stringify(next.map(({ owned }) => owned)) === JSON.stringify(now.map(({ owned }) => owned))) {
      return given;
    }
    assert(round < 4, "a group comes to rest in two rounds and finds nothing to do in the third");
    now = next;
  }
}

describe("an assignor", () => {
  for (const name of names) {
    it(`${name} gives every partition of a subscribed topic to exactly one subscriber`, () => {
      fc.assert(
        fc.property(groups, ({ members, counts }) => {
          const given = assignors[name].isCooperative
            ? settle(members, counts)
            : assignors[name].assign(members, counts);
          const expected = [...counts]
            .filter(([topic]) => members.some(({ topics }) => topics.includes(topic)))
            .flatMap(([topic, count]) => Array.from({ length: count }, (_, index) => `${topic}/${index}`));
          assert.deepEqual([...given.values()].flat().map(nameOf).toSorted(), expected.toSorted());
          for (const [memberId, own] of given) {
            const { topics } = members.find((each) => each.memberId === memberId)!;
            for (const { topic } of own) assert(topics.includes(topic));
          }
        }),
      );
    });
  }

  it("cooperative-sticky never gives a partition that another member has not let go of", () => {
    fc.assert(
      fc.property(groups, ({ members, counts }) => {
        const given = assignors["cooperative-sticky"].assign(members, counts);
        const newest = Math.max(...members.map(({ generation }) => generation));
        for (const [memberId, own] of given) {
          for (const part of own) {
            const others = members.filter(
              (each) => each.memberId !== memberId && each.generation === newest && owns(each, part),
            );
            assert.equal(others.length, 0, `${nameOf(part)} went to ${memberId}`);
          }
        }
      }),
    );
  });

  it("cooperative-sticky is even to one partition among members with one subscription, and moves no more than that takes", () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        (count, before, after) => {
          const counts = new Map([["t", count]]);
          const those = Array.from({ length: before }, (_, index) => member(`m${index}`));
          const old = settle(those, counts);
          const these = Array.from({ length: after }, (_, index) =>
            member(`m${index}`, { owned: old.get(`m${index}`) ?? [], generation: 7 }),
          );
          const now = settle(these, counts);
          const sizes = [...now.values()].map(({ length }) => length);
          assert(Math.max(...sizes) - Math.min(...sizes) <= 1);
          for (const { memberId, owned } of these) {
            const kept = owned.filter((part) =>
              now.get(memberId)!.some((own) => nameOf(own) === nameOf(part)),
            );
            // Who has to give keeps the fair share, and who has less keeps all.
            assert(kept.length >= Math.min(owned.length, Math.floor(count / after)));
          }
        },
      ),
    );
  });

  it("range gives consecutive partitions of each topic, the first members one more, static ones before the others", () => {
    const members = [
      member("y", { topics: ["t", "u"] }),
      member("x", { topics: ["t", "u"] }),
      member("z", { topics: ["t", "u"], instanceId: "i" }),
    ];
    const given = assignors.range.assign(
      members,
      new Map([
        ["t", 4],
        ["u", 2],
      ]),
    );
    assert.deepEqual(parts(given, "z"), ["t/0", "t/1", "u/0"]);
    assert.deepEqual(parts(given, "x"), ["t/2", "u/1"]);
    assert.deepEqual(parts(given, "y"), ["t/3"]);
  });

  it("roundrobin goes over all partitions in turn and passes over who did not subscribe", () => {
    const members = [member("a", { topics: ["t"] }), member("b", { topics: ["t", "u"] })];
    const given = assignors.roundrobin.assign(
      members,
      new Map([
        ["t", 3],
        ["u", 1],
      ]),
    );
    assert.deepEqual(parts(given, "a"), ["t/0", "t/2"]);
    assert.deepEqual(parts(given, "b"), ["t/1", "u/0"]);
  });

  it("a claim of an older generation yields to a newer one's, and of two equal ones neither stands", () => {
    const zero = [{ topic: "t", partition: 0 }];
    const stale = assignors["cooperative-sticky"].assign(
      [member("a", { owned: zero, generation: 4 }), member("b", { owned: zero, generation: 5 })],
      new Map([["t", 1]]),
    );
    assert.deepEqual(parts(stale, "b"), ["t/0"]);
    const twice = assignors["cooperative-sticky"].assign(
      [member("a", { owned: zero }), member("b", { owned: zero })],
      new Map([["t", 1]]),
    );
    assert.deepEqual([...twice.values()].flat(), []);
  });
});

const owns = ({ owned }: GroupMember, part: TopicPartition): boolean =>
  owned.some((each) => nameOf(each) === nameOf(part));
