/** Share groups as clients and tools meet them: joining, reading what is told, offsets, deletion, restarts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { leaderEpoch, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { AlterShareGroupOffsets } from "../protocol/messages/alter-share-group-offsets.ts";
import { ConsumerGroupDescribe } from "../protocol/messages/consumer-group-describe.ts";
import { DeleteGroups } from "../protocol/messages/delete-groups.ts";
import { DeleteShareGroupOffsets } from "../protocol/messages/delete-share-group-offsets.ts";
import { DescribeShareGroupOffsets } from "../protocol/messages/describe-share-group-offsets.ts";
import { ListGroups } from "../protocol/messages/list-groups.ts";
import { ShareGroupDescribe } from "../protocol/messages/share-group-describe.ts";
import { ShareGroupHeartbeat } from "../protocol/messages/share-group-heartbeat.ts";
import { UpdateFeatures, UpgradeType } from "../protocol/messages/update-features.ts";

const name = (code: ErrorCode) => errorFacts(code).name;

interface Says {
  readonly group?: string;
  readonly topics?: readonly string[] | null;
  readonly rackId?: string | null;
}

async function beat(broker: SimulatedBroker, memberId: string, memberEpoch: number, says: Says = {}) {
  const { group = "g", topics = memberEpoch === 0 ? ["orders"] : null, rackId = null } = says;
  const told = await broker.ask(ShareGroupHeartbeat, {
    groupId: group,
    memberId,
    memberEpoch,
    rackId,
    subscribedTopicNames: topics,
  });
  const reads = told.assignment?.topicPartitions
    .flatMap(({ partitions }) => partitions)
    .sort((a, b) => a - b);
  return { ...told, code: name(told.errorCode), epoch: told.memberEpoch, reads };
}

async function listed(broker: SimulatedBroker, typesFilter: readonly string[] = []) {
  const { groups } = await broker.ask(ListGroups, { statesFilter: [], typesFilter });
  return groups.map(({ groupId, groupState, groupType, protocolType }) =>
    [groupId, groupState, groupType, protocolType].join(" "),
  );
}

async function described(broker: SimulatedBroker, groupId = "g") {
  const { groups } = await broker.ask(ShareGroupDescribe, {
    groupIds: [groupId],
    includeAuthorizedOperations: true,
  });
  const [group] = groups;
  assert.ok(group);
  return group;
}

async function offsets(broker: SimulatedBroker, topics: Parameters<typeof askOffsets>[1] = null) {
  const group = await askOffsets(broker, topics);
  const lines = group.topics.flatMap(({ topicName, partitions }) =>
    partitions.map(
      ({ partitionIndex: index, startOffset, lag, errorCode }) =>
        `${topicName}/${index} ${startOffset} ${lag} ${name(errorCode)}`,
    ),
  );
  return { code: name(group.errorCode), lines: lines.sort() };
}

async function askOffsets(
  broker: SimulatedBroker,
  topics: readonly { readonly topicName: string; readonly partitions: readonly number[] }[] | null,
) {
  const wanted = topics?.map(({ topicName, partitions }) => ({
    topicName,
    partitions: partitions.map((each) => partitionIndex(each)),
  }));
  const request = { groups: [{ groupId: "g", topics: wanted ?? null }] };
  const { groups } = await broker.ask(DescribeShareGroupOffsets, request);
  const [group] = groups;
  assert.ok(group);
  return group;
}

async function alter(broker: SimulatedBroker, startOffset: number, topicName = "orders", index = 0) {
  const answer = await broker.ask(AlterShareGroupOffsets, {
    groupId: "g",
    topics: [
      {
        topicName,
        partitions: [{ partitionIndex: partitionIndex(index), startOffset: offset(startOffset) }],
      },
    ],
  });
  const [partition] = answer.responses.flatMap(({ partitions }) => partitions);
  return { code: name(answer.errorCode), partition: partition && name(partition.errorCode) };
}

async function deleted(broker: SimulatedBroker, groupId = "g") {
  const { results } = await broker.ask(DeleteGroups, { groupsNames: [groupId] });
  return results.map(({ errorCode }) => name(errorCode)).join();
}

describe("a member of a share group", () => {
  test("is told what to read in the answer to its first heartbeat", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 3);
    const first = await beat(broker, "a", 0);
    assert.deepEqual(
      [first.code, first.memberId, first.epoch, first.reads, first.heartbeatIntervalMs],
      ["NONE", "a", 2, [0, 1, 2], 5_000],
    );
    assert.equal((await beat(broker, "a", first.epoch)).assignment, null);
    const second = await beat(broker, "b", 0);
    const again = await beat(broker, "a", first.epoch);
    assert.deepEqual(
      [...(second.reads ?? []), ...(again.reads ?? [])].sort((x, y) => x - y),
      [0, 1, 2],
    );
    assert.equal((await beat(broker, "a", -1)).epoch, -1);
    assert.deepEqual((await beat(broker, "b", second.epoch)).reads, [0, 1, 2]);
  });

  test("goes on after a restart of the broker as if nothing had been", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 2);
    const { epoch } = await beat(broker, "a", 0);
    broker.crash();
    await broker.boot();
    const { code, epoch: same, assignment } = await beat(broker, "a", epoch);
    assert.deepEqual([code, same, assignment], ["NONE", epoch, null]);
  });

  test("hears of partitions that were added, and of a topic that was deleted", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1);
    const { epoch } = await beat(broker, "a", 0);
    await broker.addPartitions("orders", 2);
    const grown = await beat(broker, "a", epoch);
    assert.deepEqual(grown.reads, [0, 1]);
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 -1 -1 NONE", "orders/1 0 0 NONE"]);
    await broker.deleteTopic("orders");
    const gone = await beat(broker, "a", grown.epoch);
    assert.deepEqual([gone.code, gone.reads], ["NONE", []]);
    assert.deepEqual((await offsets(broker)).lines, []);
  });

  test("is refused what no member says", async (t) => {
    const broker = await aBroker(t);
    const wrong = [
      await beat(broker, "", 0),
      await beat(broker, "a", 0, { group: "" }),
      await beat(broker, "a", 0, { rackId: "" }),
      await beat(broker, "a", 0, { topics: null }),
      await beat(broker, "a", 0, { topics: [] }),
      await beat(broker, "a", -2),
      await beat(broker, "a".repeat(250), 0),
    ];
    assert.deepEqual(new Set(wrong.map(({ code }) => code)), new Set(["INVALID_REQUEST"]));
    assert.equal((await beat(broker, "a", 3)).code, "GROUP_ID_NOT_FOUND");
    assert.deepEqual(await listed(broker), []);
  });

  test("is refused while share.version is 0", async (t) => {
    const broker = await aBroker(t);
    const set = (maxVersionLevel: number) =>
      broker.ask(UpdateFeatures, {
        timeoutMs: 1000,
        featureUpdates: [
          {
            feature: "share.version",
            maxVersionLevel,
            allowDowngrade: false,
            upgradeType: maxVersionLevel === 0 ? UpgradeType.safeDowngrade : UpgradeType.upgrade,
          },
        ],
        validateOnly: false,
      });
    assert.equal((await set(0)).errorCode, ErrorCode.NONE);
    assert.equal((await beat(broker, "a", 0)).code, "UNSUPPORTED_VERSION");
    assert.equal(name((await described(broker)).errorCode), "UNSUPPORTED_VERSION");
    assert.equal((await set(1)).errorCode, ErrorCode.NONE);
    assert.equal((await beat(broker, "a", 0)).code, "NONE");
  });
});

describe("a share group", () => {
  test("is listed and described as one, and as no group of another kind", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1);
    const { epoch } = await beat(broker, "a", 0);
    assert.deepEqual(await listed(broker), ["g Stable share share"]);
    assert.deepEqual(await listed(broker, ["consumer", "classic"]), []);
    const group = await described(broker);
    assert.deepEqual(
      [group.groupState, group.groupEpoch, group.assignmentEpoch, group.assignorName],
      ["Stable", epoch, epoch, "simple"],
    );
    const [member] = group.members;
    assert.deepEqual(
      [member?.memberId, member?.memberEpoch, member?.subscribedTopicNames],
      ["a", epoch, ["orders"]],
    );
    assert.deepEqual(
      member?.assignment.topicPartitions.map(({ topicName, partitions }) => [topicName, partitions]),
      [["orders", [0]]],
    );
    const other = await broker.ask(ConsumerGroupDescribe, {
      groupIds: ["g"],
      includeAuthorizedOperations: false,
    });
    assert.equal(other.groups[0]?.errorMessage, "Group g is not a consumer group.");
    const missing = await described(broker, "nobody");
    assert.deepEqual([name(missing.errorCode), missing.groupState], ["GROUP_ID_NOT_FOUND", "Dead"]);
    await beat(broker, "a", -1);
    assert.deepEqual(await listed(broker), ["g Empty share share"]);
  });

  test("is deleted with its share state once it is empty, and one of its name begins anew", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1);
    await beat(broker, "a", 0);
    assert.equal(await deleted(broker), "NON_EMPTY_GROUP");
    await beat(broker, "a", -1);
    assert.deepEqual(await alter(broker, 0), { code: "NONE", partition: "NONE" });
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 0 0 NONE"]);
    assert.equal(await deleted(broker), "NONE");
    assert.equal(await deleted(broker), "GROUP_ID_NOT_FOUND");
    assert.deepEqual(await listed(broker), []);
    assert.equal((await offsets(broker)).code, "GROUP_ID_NOT_FOUND");
    assert.deepEqual((await offsets(broker, [{ topicName: "orders", partitions: [0] }])).lines, [
      "orders/0 -1 -1 NONE",
    ]);
    await broker.restart();
    assert.deepEqual((await beat(broker, "a", 0)).reads, [0]);
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 -1 -1 NONE"]);
  });

  test("that is deleted and made anew within one moment takes nothing that is late of the first", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1);
    const { sharePersister, topics } = broker.broker.services;
    const topicId = topics.idOf("orders");
    assert.ok(topicId);
    const key = { groupId: "g", topicId, partition: partitionIndex(0) };
    const read = async () => {
      const told = await broker.scheduler.runUntil(sharePersister.read(key, leaderEpoch(1)));
      assert.ok(told.kind === "told");
      return told.value;
    };
    await beat(broker, "a", 0);
    const first = await read();
    await beat(broker, "a", -1);
    assert.equal(await deleted(broker), "NONE");
    await beat(broker, "a", 0);
    const late = await broker.scheduler.runUntil(
      sharePersister.write(key, {
        stateEpoch: first.stateEpoch,
        leaderEpoch: leaderEpoch(1),
        startOffset: offset(9),
        deliveryCompleteCount: 0,
        batches: [],
      }),
    );
    assert.equal(late.kind === "refused" && late.errorCode, ErrorCode.FENCED_STATE_EPOCH);
    const second = await read();
    assert.ok(second.stateEpoch > first.stateEpoch);
    assert.equal(second.startOffset, -1);
  });
});

describe("the offsets of a share group", () => {
  test("are set while it is empty, also before it is there, and are counted from", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 2);
    await broker.write("orders", ["0", "1", "2", "3", "4"]);
    assert.deepEqual((await alter(broker, 2, "nowhere")).partition, "UNKNOWN_TOPIC_OR_PARTITION");
    assert.deepEqual(await listed(broker), [], "there is nothing to keep");
    assert.deepEqual(await alter(broker, 2), { code: "NONE", partition: "NONE" });
    assert.deepEqual(await listed(broker), ["g Empty share share"]);
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 2 3 NONE"]);
    assert.deepEqual((await alter(broker, 2, "orders", 7)).partition, "UNKNOWN_TOPIC_OR_PARTITION");
    assert.deepEqual((await alter(broker, 2, "nowhere")).partition, "UNKNOWN_TOPIC_OR_PARTITION");
    assert.deepEqual((await alter(broker, -1)).partition, "INVALID_REQUEST");
    assert.deepEqual(await alter(broker, 4), { code: "NONE", partition: "NONE" });
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 4 1 NONE"]);
    await broker.restart();
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 4 1 NONE"]);
    assert.deepEqual((await beat(broker, "a", 0)).reads, [0, 1]);
    assert.equal((await alter(broker, 0)).code, "NON_EMPTY_GROUP");
    assert.equal((await alter(broker, 0, "nowhere")).code, "NON_EMPTY_GROUP");
    assert.deepEqual((await offsets(broker)).lines, ["orders/0 4 1 NONE", "orders/1 0 0 NONE"]);
  });

  test("are named as unknown where they are", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1);
    await beat(broker, "a", 0);
    const wanted = [
      { topicName: "nowhere", partitions: [0] },
      { topicName: "orders", partitions: [0, 9] },
    ];
    assert.deepEqual((await offsets(broker, wanted)).lines, [
      "nowhere/0 -1 -1 UNKNOWN_TOPIC_OR_PARTITION",
      "orders/0 -1 -1 NONE",
      "orders/9 -1 -1 UNKNOWN_TOPIC_OR_PARTITION",
    ]);
  });

  test("go by topic, from a group that is empty", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 2);
    await broker.createTopic("bills", 1);
    const remove = async (...topics: string[]) => {
      const { errorCode, responses } = await broker.ask(DeleteShareGroupOffsets, {
        groupId: "g",
        topics: topics.map((topicName) => ({ topicName })),
      });
      return [errorCode, ...responses.map((each) => each.errorCode)].map(name).join();
    };
    assert.equal(await remove("orders"), "GROUP_ID_NOT_FOUND");
    await beat(broker, "a", 0, { topics: ["orders", "bills"] });
    assert.equal(await remove("orders"), "NON_EMPTY_GROUP");
    await beat(broker, "a", -1);
    assert.equal(await remove("orders", "nowhere"), "NONE,NONE,UNKNOWN_TOPIC_OR_PARTITION");
    assert.equal(await remove("orders"), "NONE,UNKNOWN_TOPIC_OR_PARTITION");
    assert.deepEqual((await offsets(broker)).lines, ["bills/0 -1 -1 NONE"]);
    assert.deepEqual((await beat(broker, "a", 0)).reads, [0, 1]);
  });

  test("that were set are what its partitions' leaders begin at, and who knew the old ones is fenced", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1);
    await beat(broker, "a", 0);
    await beat(broker, "a", -1);
    const { sharePersister, topics } = broker.broker.services;
    const topicId = topics.idOf("orders");
    assert.ok(topicId);
    const key = { groupId: "g", topicId, partition: partitionIndex(0) };
    const wait = <T>(work: Promise<T>): Promise<T> => broker.scheduler.runUntil(work);
    const before = await wait(sharePersister.read(key, leaderEpoch(1)));
    assert.ok(before.kind === "told" && before.value.startOffset === -1);
    await alter(broker, 3);
    const late = await wait(
      sharePersister.write(key, {
        stateEpoch: before.value.stateEpoch,
        leaderEpoch: leaderEpoch(1),
        startOffset: offset(9),
        deliveryCompleteCount: 0,
        batches: [],
      }),
    );
    assert.equal(late.kind === "refused" && late.errorCode, ErrorCode.FENCED_STATE_EPOCH);
    const after = await wait(sharePersister.read(key, leaderEpoch(1)));
    assert.ok(after.kind === "told" && after.value.startOffset === 3);
  });
});
