/** Offsets that are committed inside transactions: when they count, what becomes of them, and who may commit them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { offset, partitionIndex, producerId, topicIdFromBytes } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { CommitRequest } from "./group/commits.ts";
import { expectedOffset, type OffsetStep } from "./offset-model.ts";
import { groupId, ShardFixture, testSettings } from "./shard-fixture.ts";

const [p, q] = [producerId(1), producerId(2)];
const nobody = { memberId: "", instanceId: null, generation: -1 };
const ok = [ErrorCode.NONE];
const dayMs = 24 * 3_600_000;

describe("an offset committed in a transaction", () => {
  test("is told to nobody before the marker, and counts from it on", () => {
    const group = new ShardFixture();
    group.commit(3);
    assert.deepEqual(group.commitIn(p, 7), ok);
    assert.equal(group.committed(), 3);
    assert.ok(group.isUnstable());
    group.mark(p, "commit");
    assert.equal(group.committed(), 7);
    assert.ok(!group.isUnstable());
  });

  test("is gone when the transaction aborts", () => {
    const group = new ShardFixture();
    group.commit(3);
    group.commitIn(p, 7);
    group.mark(p, "abort");
    assert.equal(group.committed(), 3);
    assert.ok(!group.isUnstable());
  });

  test("waits on after a restart, and the marker that comes then counts", () => {
    const group = new ShardFixture();
    group.commitIn(p, 7);
    group.restart();
    assert.equal(group.committed(), undefined);
    assert.ok(group.isUnstable());
    group.mark(p, "commit");
    assert.equal(group.committed(), 7);
    group.restart();
    assert.equal(group.committed(), 7);
    assert.ok(!group.isUnstable());
  });

  test("is the last one of its transaction", () => {
    const group = new ShardFixture();
    group.commitIn(p, 7);
    group.commitIn(p, 9);
    group.mark(p, "commit");
    assert.equal(group.committed(), 9);
  });

  test("yields to what was committed later, plainly or by another transaction: the order of the log decides", () => {
    const group = new ShardFixture();
    group.commitIn(p, 7);
    group.commitIn(q, 8);
    group.mark(q, "commit");
    assert.ok(group.isUnstable(), "the other transaction is still open");
    group.mark(p, "commit");
    assert.equal(group.committed(), 8);
    group.commitIn(p, 20);
    group.commit(12);
    group.mark(p, "commit");
    assert.equal(group.committed(), 12);
    group.restart();
    assert.equal(group.committed(), 12);
  });

  test("does not care for a marker that comes twice, or without anything to end", () => {
    const group = new ShardFixture();
    group.mark(p, "commit");
    group.commitIn(p, 7);
    group.mark(p, "commit");
    group.commit(9);
    group.mark(p, "commit");
    group.mark(p, "abort");
    assert.equal(group.committed(), 9);
  });

  test("that moves the group back is told when it counts, and a restart does not tell it again", () => {
    const group = new ShardFixture();
    group.commit(10);
    group.commitIn(p, 4);
    assert.deepEqual(group.regressions, []);
    group.mark(p, "commit");
    const told = [{ group: groupId, topic: "orders", partition: 0, from: 10, to: 4 }];
    assert.deepEqual(group.regressions, told);
    group.restart();
    assert.deepEqual(group.regressions, told);
  });
});

describe("who may commit in a transaction", () => {
  test("is asked by generation and member of the classic protocol (KIP-447)", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    const [memberId = ""] = ids;
    assert.deepEqual(group.commitIn(p, 3, { memberId, generation }), ok);
    assert.deepEqual(group.commitIn(p, 9, { memberId, generation: generation - 1 }), [
      ErrorCode.ILLEGAL_GENERATION,
    ]);
    assert.deepEqual(group.commitIn(p, 9, { memberId: "other", generation }), [ErrorCode.UNKNOWN_MEMBER_ID]);
    group.mark(p, "commit");
    assert.equal(group.committed(), 3);
  });

  test("is nobody else's affair than the producer's where it does not tell: its epoch fences it", () => {
    const group = new ShardFixture();
    group.stable(1);
    assert.deepEqual(group.commitIn(p, 3), ok);
    const modern = new ShardFixture();
    modern.topics.set("orders", 1);
    modern.beat("m", 0);
    assert.deepEqual(modern.commitIn(p, 3), ok);
  });

  test("is fenced by the instance id of a static member", () => {
    const group = new ShardFixture();
    const joined = group.join({ instanceId: "i" });
    group.pass(testSettings.initialRebalanceDelayMs * 2);
    const { memberId = "", generationId: generation = -1 } = joined.response ?? {};
    assert.deepEqual(group.commitIn(p, 3, { memberId, generation, instanceId: "i" }), ok);
    assert.deepEqual(group.commitIn(p, 3, { memberId: "former", generation, instanceId: "i" }), [
      ErrorCode.FENCED_INSTANCE_ID,
    ]);
  });

  test("may do it while the leader divides: the producer sends offsets of what it has read before", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    const [memberId = ""] = ids;
    group.join({ memberId });
    assert.deepEqual(group.commit(4, { memberId, generation: generation + 1 }), [
      ErrorCode.REBALANCE_IN_PROGRESS,
    ]);
    assert.deepEqual(group.commitIn(p, 4, { memberId, generation: generation + 1 }), ok);
  });

  test("is asked by epoch in a group of KIP-848, and told of generations all the same", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 1);
    const { memberEpoch } = group.beat("m", 0);
    assert.deepEqual(group.commitIn(p, 3, { memberId: "m", generation: memberEpoch }), ok);
    assert.deepEqual(group.commitIn(p, 3, { memberId: "m", generation: memberEpoch + 1 }), [
      ErrorCode.ILLEGAL_GENERATION,
    ]);
    assert.deepEqual(group.commitIn(p, 3, { memberId: "other", generation: memberEpoch }), [
      ErrorCode.UNKNOWN_MEMBER_ID,
    ]);
  });

  test("is not a member of a group that is gone", () => {
    const group = new ShardFixture();
    assert.deepEqual(group.commitIn(p, 3, { memberId: "m", generation: 4 }), [ErrorCode.ILLEGAL_GENERATION]);
    assert.equal(group.records.length, 0);
  });

  test("keeps no session alive, and writes no more text beside it than others", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    const [memberId = ""] = ids;
    group.pass(9_000);
    group.commitIn(p, 3, { memberId, generation });
    group.pass(2_000);
    assert.deepEqual(group.commitIn(p, 3, { memberId, generation }), [ErrorCode.UNKNOWN_MEMBER_ID]);
    const text = "x".repeat(testSettings.metadataBytesMax + 1);
    assert.deepEqual(group.commitIn(p, 3, {}, "orders", text), [ErrorCode.OFFSET_METADATA_TOO_LARGE]);
  });
});

describe("while a transaction holds an offset", () => {
  test("nobody's offset of that partition expires, nor does the group", () => {
    const group = new ShardFixture();
    group.commit(3);
    group.commitIn(p, 4);
    const expire = () => group.turn((shard, turn) => shard.expire(turn, { holds: () => false }));
    group.pass(8 * dayMs);
    assert.deepEqual(expire(), []);
    group.mark(p, "abort");
    assert.equal(expire().length, 1);
    assert.equal(group.shard.groupCount, 0);
  });

  test("the group that is deleted takes it along, and the marker brings nothing back", () => {
    const group = new ShardFixture();
    group.commitIn(p, 4);
    assert.equal(
      group.turn((shard, turn) => shard.deleteGroup(turn, groupId)),
      ErrorCode.NONE,
    );
    assert.equal(group.shard.groupCount, 0);
    group.mark(p, "commit");
    assert.equal(group.committed(), undefined);
    group.restart();
    assert.equal(group.shard.groupCount, 0);
  });

  test("OffsetDelete takes it along", () => {
    const group = new ShardFixture();
    group.commitIn(p, 4);
    const names = [{ topic: "orders", partition: partitionIndex(0) }];
    group.turn((shard, turn) => shard.deleteOffsets(turn, groupId, names));
    assert.ok(!group.isUnstable());
    group.mark(p, "commit");
    assert.equal(group.committed(), undefined);
  });

  test("its topic's end takes it along, but not what was committed for the next topic of that name", () => {
    const former = topicIdFromBytes(Buffer.from("former topic    "));
    const next = topicIdFromBytes(Buffer.from("next topic      "));
    for (const isReplaced of [false, true]) {
      const group = new ShardFixture();
      const request = (topicId: typeof next, at: number): CommitRequest => ({
        groupId,
        claim: nobody,
        offsets: [
          {
            topic: "orders",
            topicId,
            partition: partitionIndex(0),
            offset: offset(at),
            leaderEpoch: 0 as never,
            metadata: "",
          },
        ],
        isTransactional: false,
      });
      group.holdIn(p, request(former, 4));
      if (isReplaced) group.turn((shard, turn) => shard.commit(turn, request(next, 1)));
      group.turn((shard, turn) => shard.forgetTopics(turn, (id) => id === former));
      group.mark(p, "commit");
      assert.equal(group.committed(), isReplaced ? 1 : undefined);
    }
  });

  test("it is counted in memory, and without memory it is refused", () => {
    let bytesMax = Infinity;
    const group: ShardFixture = new ShardFixture({
      mayGrow: (bytes) => group.shard.bytes + bytes <= bytesMax,
    });
    group.commitIn(p, 4);
    const { bytes } = group.shard;
    assert.ok(bytes > 0);
    bytesMax = bytes;
    assert.deepEqual(group.commitIn(p, 5, {}, "bills"), [ErrorCode.COORDINATOR_NOT_AVAILABLE]);
    group.mark(p, "abort");
    assert.equal(group.shard.bytes, 0);
    assert.equal(group.shard.groupCount, 0);
  });
});

describe("whatever the order of commits, transactions, markers, deletions and restarts", () => {
  const topic = fc.constantFrom("orders", "bills");
  const producer = fc.constantFrom(producerId(1), producerId(2), producerId(3));
  const at = fc.nat(99);
  const step: fc.Arbitrary<OffsetStep> = fc.oneof(
    fc.record({ kind: fc.constant("commit" as const), topic, at }),
    fc.record({ kind: fc.constant("hold" as const), topic, at, producer }),
    fc.record({ kind: fc.constant("hold" as const), topic, at, producer }),
    fc.record({
      kind: fc.constant("mark" as const),
      producer,
      outcome: fc.constantFrom("commit" as const, "abort" as const),
    }),
    fc.record({ kind: fc.constant("delete" as const), topic }),
    fc.constant<OffsetStep>({ kind: "restart" }),
  );

  test("what is committed is what the log's order says", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const group = new ShardFixture();
        steps.forEach((each, index) => {
          switch (each.kind) {
            case "commit":
              group.commit(each.at, {}, each.topic);
              break;
            case "hold":
              group.commitIn(each.producer, each.at, {}, each.topic);
              break;
            case "mark":
              group.mark(each.producer, each.outcome);
              break;
            case "delete": {
              const names = [{ topic: each.topic, partition: partitionIndex(0) }];
              group.turn((shard, turn) => shard.deleteOffsets(turn, groupId, names));
              break;
            }
            default: {
              const { bytes } = group.shard;
              group.restart();
              assert.equal(group.shard.bytes, bytes, "it is counted the same");
            }
          }
          for (const wanted of ["orders", "bills"]) {
            const { committed, isUnstable } = expectedOffset(steps.slice(0, index + 1), wanted);
            assert.equal(group.committed(wanted), committed);
            assert.equal(group.isUnstable(wanted), isUnstable);
          }
        });
      }),
      { numRuns: Number(process.env["HOLDFAST_RUNS"] ?? 300) },
    );
  });
});
