/** Share groups in a cluster: their coordinator, their share state and their partitions lie at different brokers, and brokers die. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aCluster, SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { AlterShareGroupOffsets } from "../../protocol/messages/alter-share-group-offsets.ts";
import { DeleteGroups } from "../../protocol/messages/delete-groups.ts";
import { DescribeShareGroupOffsets } from "../../protocol/messages/describe-share-group-offsets.ts";
import { ShareGroupHeartbeat } from "../../protocol/messages/share-group-heartbeat.ts";
import { shardIndex } from "../shards.ts";

const count = 6;
const settings = {
  "offsets.topic.num.partitions": String(count),
  "share.coordinator.state.topic.num.partitions": String(count),
};
const groupId = "g";

async function aClusterWithTopic(t: Parameters<typeof aCluster>[0]): Promise<SimulatedCluster> {
  const cluster = await aCluster(t, settings);
  const admin = cluster.client().admin();
  await cluster.run(admin.createTopics([{ topic: "orders", partitions: 6 }]));
  return cluster;
}

/** Asks whoever looks after the group until it is told something that is not "ask again". */
async function ask<T>(
  cluster: SimulatedCluster,
  places: readonly number[],
  once: (place: number) => Promise<{ readonly code: ErrorCode; readonly told: T }>,
): Promise<T> {
  const again: readonly ErrorCode[] = [
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ];
  for (let round = 0; round < 100; round++) {
    for (const place of places) {
      const { code, told } = await once(place);
      if (code === ErrorCode.NONE) return told;
      assert.ok(again.includes(code), errorFacts(code).name);
    }
    await cluster.pass(300);
  }
  throw new Error("nobody looks after the group");
}

const beat = (cluster: SimulatedCluster, places: readonly number[], memberId: string, memberEpoch: number) =>
  ask(cluster, places, async (place) => {
    const topics = memberEpoch === 0 ? ["orders"] : null;
    const told = await cluster.ask(place, ShareGroupHeartbeat, {
      groupId,
      memberId,
      memberEpoch,
      rackId: null,
      subscribedTopicNames: topics,
    });
    return { code: told.errorCode, told };
  });

const offsets = (cluster: SimulatedCluster, places: readonly number[]) =>
  ask(cluster, places, async (place) => {
    const { groups } = await cluster.ask(place, DescribeShareGroupOffsets, {
      groups: [{ groupId, topics: null }],
    });
    const partitions = groups[0]?.topics.flatMap((topic) => topic.partitions) ?? [];
    const failed = partitions.find(({ errorCode }) => errorCode !== ErrorCode.NONE);
    const told = partitions.map(({ startOffset, lag }) => `${startOffset}/${lag}`);
    return { code: groups[0]?.errorCode || (failed?.errorCode ?? ErrorCode.NONE), told };
  });

describe("a share group in a cluster", () => {
  test("has its share state at other brokers, and is told everything in one heartbeat", async (t) => {
    const cluster = await aClusterWithTopic(t);
    const { assignment } = await beat(cluster, [0, 1, 2], "a", 0);
    const reads = assignment?.topicPartitions.flatMap(({ partitions }) => partitions);
    assert.deepEqual(
      reads?.toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4, 5],
    );
    assert.deepEqual(new Set(await offsets(cluster, [0, 1, 2])), new Set(["-1/-1"]));
    assert.equal((await beat(cluster, [0, 1, 2], "a", -1)).memberEpoch, -1);
    const partitions = Array.from({ length: 6 }, (_, index) => ({
      partitionIndex: partitionIndex(index),
      startOffset: offset(0),
    }));
    await ask(cluster, [0, 1, 2], async (place) => {
      const told = await cluster.ask(place, AlterShareGroupOffsets, {
        groupId,
        topics: [{ topicName: "orders", partitions }],
      });
      return { code: told.errorCode, told };
    });
    assert.deepEqual(
      await offsets(cluster, [0, 1, 2]),
      Array.from({ length: 6 }, () => "0/0"),
    );
    await ask(cluster, [0, 1, 2], async (place) => {
      const { results } = await cluster.ask(place, DeleteGroups, { groupsNames: [groupId] });
      return { code: results[0]?.errorCode ?? ErrorCode.NONE, told: null };
    });
  });

  test("keeps its members, epochs and assignment when its coordinator dies", async (t) => {
    const cluster = await aClusterWithTopic(t);
    const { memberEpoch } = await beat(cluster, [0, 1, 2], "a", 0);
    const dead = cluster.ownerOf("__consumer_offsets", shardIndex(groupId, count), 0);
    assert.ok(dead !== null);
    cluster.kill(dead);
    const living = [0, 1, 2].filter((place) => place !== dead);
    const told = await beat(cluster, living, "a", memberEpoch);
    assert.deepEqual([told.memberEpoch, told.assignment], [memberEpoch, null]);
    const joined = await beat(cluster, living, "b", 0);
    const reads = joined.assignment?.topicPartitions.flatMap(({ partitions }) => partitions);
    assert.equal(reads?.length, 3);
  });
});
