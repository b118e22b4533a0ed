/** Share groups: who is in, what they are told to read, what has to begin and end for them, and what else a name may be. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { NO_TOPIC_ID, offset, partitionIndex, type TopicId } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import {
  contains,
  each,
  noPartitions,
  type PartitionSet,
  partitionSet,
  sizeOf,
} from "./group/partition-set.ts";
import { type GroupRecord, groupRecords } from "./group/records.ts";
import type { ShareAnswer, ShareHeartbeat, ShareWork } from "./group/share-request.ts";
import { groupId, ShardFixture } from "./shard-fixture.ts";

const beginningOf = ({ beginning }: ShareWork): PartitionSet =>
  partitionSet(beginning.map(({ topicId, partition }) => ({ topicId, partitions: [partition] })));

class ShareFixture extends ShardFixture {
  /** What nobody has carried out yet. */
  readonly open: ShareWork[] = [];

  say(memberId: string, memberEpoch: number, over: Partial<ShareHeartbeat> = {}): ShareAnswer {
    const beat: ShareHeartbeat = {
      memberId,
      memberEpoch,
      rackId: null,
      clientId: "c",
      clientHost: "/127.0.0.1",
      topicNames: memberEpoch === 0 ? ["orders"] : null,
      ...over,
    };
    const { answer, work } = this.turn((shard, turn) => shard.share.beat(turn, groupId, beat));
    if (work !== null) this.open.push(work);
    return answer;
  }

  /** Carries out what is wished for. */
  work(): void {
    for (const work of this.open.splice(0)) {
      this.settle(work, beginningOf(work), new Set(work.ending.keys()));
    }
  }
  settle(work: ShareWork, began: PartitionSet, gone: ReadonlySet<TopicId> = new Set()): void {
    this.turn((shard, turn) => shard.share.settled(turn, groupId, work, { began, gone }));
  }

  /** Joins, and is told what it is to read once its share state has begun. */
  arrive(memberId: string, topicNames: readonly string[] = ["orders"]): ShareAnswer {
    const { memberEpoch } = this.say(memberId, 0, { topicNames });
    this.work();
    return this.say(memberId, memberEpoch, { topicNames });
  }

  get group() {
    return this.shard.group(groupId)?.share ?? null;
  }
}

const aGroup = (partitions = 3, settings: ConstructorParameters<typeof ShardFixture>[0] = {}) => {
  const group = new ShareFixture(settings);
  group.topics.set("orders", partitions);
  return group;
};

const read = ({ assignment }: ShareAnswer): string =>
  Array.from(each(assignment ?? noPartitions), ([, partition]) => partition)
    .sort((a, b) => a - b)
    .join();

describe("a member of a share group", () => {
  test("is told what to read once its share state has begun, and not before", () => {
    const group = aGroup();
    const first = group.say("a", 0);
    assert.deepEqual([first.memberEpoch, read(first)], [1, ""]);
    const [work] = group.open;
    assert.deepEqual(
      work?.beginning.map(({ partition, startOffset }) => [partition, startOffset]),
      [
        [0, -1],
        [1, -1],
        [2, -1],
      ],
    );
    assert.deepEqual(read(group.say("a", 1, { topicNames: ["orders"] })), "");
    assert.equal(group.open.length, 1, "what is under way is not wished for again");
    group.work();
    const second = group.say("a", 1);
    assert.deepEqual([second.memberEpoch, read(second)], [2, "0,1,2"]);
    assert.equal(group.say("a", 2).assignment, null, "what it knows it is not told again");
  });

  test("shares a partition with others where there are more members than partitions", () => {
    const group = aGroup(1);
    group.arrive("a");
    assert.equal(read(group.arrive("b")), "0");
    assert.equal(read(group.say("a", 2, { topicNames: ["orders"] })), "0");
  });

  test("hears with its next heartbeat that others came or left", () => {
    const group = aGroup(2);
    const { memberEpoch } = group.arrive("a");
    group.arrive("b");
    const told = group.say("a", memberEpoch);
    assert.equal(read(told), "0");
    assert.equal(group.say("b", -1).memberEpoch, -1);
    assert.equal(read(group.say("a", told.memberEpoch)), "0,1");
  });

  test("may be one epoch behind, for its last answer may be lost, and is fenced at any other", () => {
    const group = aGroup();
    group.arrive("a");
    const { memberEpoch } = group.say("a", 2, { topicNames: ["orders", "other"] });
    assert.equal(memberEpoch, 3);
    assert.equal(group.say("a", 2).errorCode, ErrorCode.NONE);
    assert.equal(group.say("a", 1).errorCode, ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(group.say("a", 4).errorCode, ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(group.say("a", 0).errorCode, ErrorCode.NONE, "it may always join anew");
  });

  test("is unknown before it joins, after it left, and once its session ran out", () => {
    const group = aGroup();
    assert.equal(group.say("a", 1).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    const { memberEpoch } = group.arrive("a");
    assert.equal(group.say("b", 1).errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
    group.pass(44_000);
    assert.equal(group.say("a", memberEpoch).errorCode, ErrorCode.NONE);
    group.pass(46_000);
    assert.equal(group.say("a", memberEpoch).errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(group.group?.phase, "Empty");
  });

  test("is refused where the group is full or memory is, but not when it says another thing", () => {
    const full = aGroup(3, { shareMembersMax: 1 });
    const { memberEpoch } = full.arrive("a");
    assert.equal(full.say("b", 0).errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
    assert.equal(full.say("a", memberEpoch, { topicNames: ["orders", "x"] }).errorCode, ErrorCode.NONE);
    const poor = aGroup(3, { mayGrow: () => false });
    assert.equal(poor.say("a", 0).errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
    assert.equal(poor.shard.groupCount, 0, "who is refused leaves nothing behind");
  });

  test("stays in over a restart, with a session that begins anew", () => {
    const group = aGroup();
    const { memberEpoch } = group.arrive("a");
    group.pass(40_000);
    group.restart();
    group.pass(40_000);
    assert.deepEqual(group.say("a", memberEpoch), {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      memberId: "a",
      memberEpoch,
      assignment: null,
    });
  });
});

describe("share state", () => {
  test("begins for partitions that come later, from their first record on", () => {
    const group = aGroup(1);
    const { memberEpoch } = group.arrive("a");
    group.topics.set("orders", 2);
    const grown = group.say("a", memberEpoch);
    assert.deepEqual(
      group.open[0]?.beginning.map(({ partition, startOffset }) => [partition, startOffset]),
      [[1, 0]],
    );
    group.work();
    assert.equal(read(group.say("a", grown.memberEpoch)), "0,1");
  });

  test("that did not begin is wished for again, and so is what was under way when the coordinator died", () => {
    const group = aGroup(2);
    const { memberEpoch } = group.say("a", 0);
    const [work] = group.open.splice(0) as unknown as [ShareWork];
    const { topicId } = work.beginning[0] as { readonly topicId: TopicId };
    group.settle(work, partitionSet([{ topicId, partitions: [partitionIndex(1)] }]));
    const told = group.say("a", memberEpoch);
    assert.equal(read(told), "1");
    assert.equal(group.open.length, 0, "not with every heartbeat");
    group.nowMs += 1_000;
    group.say("a", told.memberEpoch);
    assert.deepEqual(beginningOf(group.open.splice(0)[0] as ShareWork).size, 1);
    group.restart();
    group.say("a", told.memberEpoch);
    assert.deepEqual(group.open.map(beginningOf).map(sizeOf), [1]);
  });

  test("that did not begin begins where it would have begun first, whatever came and died meanwhile", () => {
    const group = aGroup(2);
    const { memberEpoch } = group.say("a", 0);
    const [work] = group.open.splice(0) as unknown as [ShareWork];
    const { topicId } = work.beginning[0] as { readonly topicId: TopicId };
    const began = (partition: number) => partitionSet([{ topicId, partitions: [partitionIndex(partition)] }]);
    group.settle(work, began(1));
    const wished = (epoch: number) => {
      group.nowMs += 1_000;
      const told = group.say("a", epoch);
      const [next] = group.open.splice(0) as unknown as [ShareWork];
      return {
        next,
        told,
        starts: next.beginning.map(({ partition, startOffset }) => [partition, startOffset]),
      };
    };
    const second = wished(memberEpoch);
    assert.deepEqual(second.starts, [[0, -1]], "the group did not read it when its first record came");
    group.topics.set("orders", 3);
    const third = wished(second.told.memberEpoch);
    assert.deepEqual(third.starts, [[2, 0]]);
    group.settle(third.next, noPartitions);
    group.restart();
    const fourth = wished(third.told.memberEpoch);
    assert.deepEqual(fourth.starts, [
      [0, -1],
      [2, 0],
    ]);
    group.settle(fourth.next, began(0));
    assert.deepEqual(wished(fourth.told.memberEpoch).starts, [[2, 0]]);
  });

  test("begins anew with a greater epoch when the offsets of an empty group are set", () => {
    const group = aGroup(1);
    const { memberEpoch } = group.arrive("a");
    const { id: topicId } = group.topics.find("orders") as { id: TopicId };
    const restart = () =>
      group.turn((shard, turn) =>
        shard.share.restart(turn, groupId, [
          { topicId, partition: partitionIndex(0), startOffset: offset(7) },
        ]),
      );
    const refused = restart();
    assert.equal(refused.kind === "refused" && refused.errorCode, ErrorCode.NON_EMPTY_GROUP);
    group.say("a", -1);
    const epoch = group.group?.epoch ?? 0;
    const first = restart();
    assert.ok(first.kind === "decided" && (group.group?.epoch ?? 0) > epoch && memberEpoch > 0);
    group.pass(2_000);
    const second = restart();
    assert.ok(second.kind === "decided" && second.work.stateEpoch > first.work.stateEpoch);
    assert.equal(second.work.beginning[0]?.startOffset, 7);
  });

  test("of a group that is new may be set before anybody joined, and the group stays", () => {
    const group = aGroup(1);
    const { id: topicId } = group.topics.find("orders") as { id: TopicId };
    const beginning = [{ topicId, partition: partitionIndex(0), startOffset: offset(7) }];
    const decided = group.turn((shard, turn) => shard.share.restart(turn, groupId, beginning));
    assert.ok(decided.kind === "decided");
    group.settle(decided.work, beginningOf(decided.work));
    group.restart();
    assert.equal(group.group?.phase, "Empty");
    const joined = group.say("a", 0);
    assert.deepEqual([read(joined), group.open.length], ["0", 0], "there is nothing left to begin");
  });

  test("that is about to end is not begun again before it has ended, also if the coordinator dies in between", () => {
    const group = aGroup(2);
    group.arrive("a");
    group.say("a", -1);
    const decided = group.turn((shard, turn) => shard.share.end(turn, groupId, null));
    assert.ok(decided.kind === "decided");
    assert.deepEqual(
      [...decided.work.ending.values()].map((partitions) => partitions.size),
      [2],
    );
    group.say("a", 0);
    assert.deepEqual(group.open, []);
    group.restart();
    const { memberEpoch } = group.say("a", 0);
    const [work] = group.open.splice(0) as unknown as [ShareWork];
    assert.deepEqual([work.beginning.length, work.ending.size], [0, 1]);
    group.settle(work, noPartitions, new Set(work.ending.keys()));
    assert.equal(read(group.say("a", memberEpoch)), "");
    group.work();
    assert.equal(read(group.say("a", memberEpoch)), "0,1");
  });

  test("is ended by nobody while somebody begins or ends it: what is late would undo what came after it", () => {
    const group = aGroup(1);
    const end = () => group.turn((shard, turn) => shard.share.end(turn, groupId, null));
    const said = (decided: ReturnType<typeof end>) =>
      decided.kind === "refused" ? decided.errorCode : decided.work;
    group.say("a", 0);
    group.say("a", -1);
    assert.equal(said(end()), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, "it begins");
    group.work();
    const first = end();
    assert.ok(first.kind === "decided" && first.work.ending.size === 1);
    assert.equal(said(end()), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, "it ends");
    group.settle(first.work, noPartitions);
    const second = end();
    assert.ok(second.kind === "decided" && second.work.ending.size === 1, "what failed is tried again");
  });

  test("of a topic that is gone is forgotten", () => {
    const group = aGroup(1);
    const { memberEpoch } = group.arrive("a");
    const { id } = group.topics.find("orders") as { id: TopicId };
    group.topics.delete("orders");
    group.turn((shard, turn) => shard.forgetTopics(turn, (topicId) => topicId === id));
    const told = group.say("a", memberEpoch);
    assert.equal(read(told), "");
    assert.ok(told.assignment !== null);
    assert.equal(group.group?.state.initialized.size, 0);
  });
});

describe("a share group", () => {
  test("goes with everything of it once it has no members", () => {
    const group = aGroup();
    group.arrive("a");
    const remove = () => group.turn((shard, turn) => shard.share.remove(turn, groupId));
    assert.equal(remove(), ErrorCode.NON_EMPTY_GROUP);
    group.say("a", -1);
    assert.equal(remove(), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, "its share state would outlast it");
    const decided = group.turn((shard, turn) => shard.share.end(turn, groupId, null));
    assert.ok(decided.kind === "decided");
    group.settle(decided.work, noPartitions, new Set(decided.work.ending.keys()));
    assert.equal(remove(), ErrorCode.NONE);
    assert.equal(group.shard.group(groupId), undefined);
    assert.equal(group.shard.bytes, 0);
    group.restart();
    assert.equal(group.shard.group(groupId), undefined);
    assert.equal(group.shard.groupCount, 0);
  });

  test("that is large is divided once for all who come and go in a while, and whoever is too many is refused", () => {
    const group = aGroup(300, { shareMembersMax: 1_000 });
    const ids = Array.from({ length: 10_000 }, (_, n) => `m${n}`);
    const members = new Map<string, { epoch: number; has: PartitionSet }>();
    const counted = (kind: GroupRecord["kind"], what: () => void): number => {
      const before = group.records.length;
      what();
      return group.records.slice(before).filter((record) => record.kind === kind && record.value !== null)
        .length;
    };
    const all = (who: readonly string[]): void => {
      for (const id of who) {
        const { errorCode, memberEpoch, assignment } = group.say(id, members.get(id)?.epoch ?? 0);
        if (errorCode === ErrorCode.GROUP_MAX_SIZE_REACHED) continue;
        assert.equal(errorCode, ErrorCode.NONE);
        members.set(id, { epoch: memberEpoch, has: assignment ?? members.get(id)?.has ?? noPartitions });
        group.work();
        group.nowMs++;
      }
    };
    assert.ok(
      counted("shareTargetEpoch", () => all(ids)) <= 102,
      "one for each of the first, and then one a second",
    );
    assert.equal(members.size, 1_000);
    const bytes = group.shard.bytes;
    assert.ok(bytes < 2_000_000, `${bytes} bytes`);
    group.pass(1_000);
    assert.ok(counted("shareTargetEpoch", () => all([...members.keys()])) <= 1);
    all([...members.keys()]);
    const readers = new Map<number, number>();
    for (const { has } of members.values()) {
      assert.equal(sizeOf(has), 1);
      for (const [, partition] of each(has)) readers.set(partition, (readers.get(partition) ?? 0) + 1);
    }
    assert.deepEqual(
      [readers.size, Math.min(...readers.values()), Math.max(...readers.values())],
      [300, 3, 4],
    );
    const live = group.shard.bytes;
    group.restart();
    assert.equal(group.shard.bytes, live, "what is weighed step by step is what is there");
    assert.equal(
      counted("share", () => group.pass(46_000)),
      1,
      "one epoch for all who are not heard of",
    );
    assert.deepEqual([group.group?.phase, group.group?.bytes], ["Empty", 64 * 300]);
  });

  test("is no group of another kind, and no other group is one", () => {
    const share = aGroup();
    share.arrive("a");
    assert.equal(share.join().response?.errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(share.beat("b", 0).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    assert.deepEqual(share.commit(3), [ErrorCode.GROUP_ID_NOT_FOUND]);
    const others: ((group: ShareFixture) => void)[] = [
      (group) => group.beat("b", 0),
      (group) => group.commit(3),
      (group) => void ShardFixture.prototype.enter.call(group),
    ];
    for (const become of others) {
      const group = aGroup();
      become(group);
      const { errorCode, errorMessage } = group.say("a", 0);
      assert.deepEqual(
        [errorCode, errorMessage],
        [ErrorCode.GROUP_ID_NOT_FOUND, `Group ${groupId} is not a share group.`],
      );
    }
  });

  test("gives every partition to somebody and everybody a partition, whoever comes, goes, dies or restarts", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("beat" as const), who: fc.nat(5) }),
      fc.record({ do: fc.constant("leave" as const), who: fc.nat(5) }),
      fc.record({ do: fc.constant("grow" as const), who: fc.constant(0) }),
      fc.record({ do: fc.constant("die" as const), who: fc.nat(5) }),
      fc.record({ do: fc.constant("restart" as const), who: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const group = aGroup(2);
        let partitions = 2;
        const members = new Map<string, { epoch: number; has: PartitionSet }>();
        const hear = (id: string) => {
          const { errorCode, memberEpoch, assignment } = group.say(id, members.get(id)?.epoch ?? 0);
          if (errorCode !== ErrorCode.NONE) return void members.delete(id);
          const has = assignment ?? members.get(id)?.has ?? noPartitions;
          members.set(id, { epoch: memberEpoch, has });
        };
        for (const { do: what, who } of steps) {
          const id = `m${who}`;
          if (what === "beat") hear(id);
          if (what === "leave" && members.delete(id)) group.say(id, -1);
          if (what === "grow" && partitions < 6) group.topics.set("orders", ++partitions);
          if (what === "die" && members.delete(id)) {
            for (const other of members.keys()) hear(other);
            group.pass(30_000);
            for (const other of members.keys()) hear(other);
            group.pass(30_000);
          }
          if (what === "restart") {
            group.open.length = 0;
            group.restart();
          }
        }
        for (let round = 0; round < 4; round++) {
          for (const id of members.keys()) hear(id);
          group.work();
        }
        const { id: topicId } = group.topics.find("orders") as { id: TopicId };
        const living = [...members.values()];
        for (const { has } of living) assert.ok(sizeOf(has) > 0);
        for (let index = 0; index < partitions && living.length > 0; index++) {
          assert.ok(
            living.some(({ has }) => contains(has, topicId, partitionIndex(index))),
            `partition ${index}`,
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});

test("records of share groups have Kafka's keys and versions, and say the same when they are read", () => {
  const topicId = NO_TOPIC_ID;
  const partitions = [partitionIndex(0), partitionIndex(1)];
  const key = { group: "g" };
  const memberKey = { group: "g", memberId: "a" };
  const records: readonly (readonly [number, GroupRecord])[] = [
    [
      10,
      {
        kind: "shareMember",
        key: memberKey,
        value: { rackId: null, clientId: "c", clientHost: "/h", subscribedTopicNames: ["orders"] },
      },
    ],
    [11, { kind: "share", key, value: { epoch: 3, metadataHash: 17 } }],
    [12, { kind: "shareTargetEpoch", key, value: { assignmentEpoch: 3, assignmentTimestamp: 1 } }],
    [13, { kind: "shareTarget", key: memberKey, value: { topicPartitions: [{ topicId, partitions }] } }],
    [
      14,
      {
        kind: "shareCurrent",
        key: memberKey,
        value: {
          memberEpoch: 3,
          previousMemberEpoch: 2,
          state: 0,
          assignedPartitions: [{ topicId, partitions }],
        },
      },
    ],
    [
      15,
      {
        kind: "shareState",
        key,
        value: {
          initializingTopics: [
            { topicId, topicName: "orders", partitions, laterPartitions: [partitionIndex(1)] },
          ],
          initializedTopics: [],
          deletingTopics: [{ topicId, topicName: "old" }],
        },
      },
    ],
  ];
  for (const [number, record] of records) {
    const raw = groupRecords.encode(record);
    assert.equal(Buffer.from(raw.key).readInt16BE(), number);
    assert.equal(Buffer.from(raw.value ?? []).readInt16BE(), 0);
    assert.deepEqual(groupRecords.decode(raw), record);
  }
  // A group's epoch as Kafka's own classes write it: version, epoch 3, hash 17, no tags.
  const hex = "000000000003000000000000001100";
  assert.equal(
    Buffer.from(groupRecords.encode(records[1]?.[1] as GroupRecord).value ?? []).toString("hex"),
    hex,
  );
});
