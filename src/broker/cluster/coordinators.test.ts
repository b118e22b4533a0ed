/** Groups in a cluster: who looks after them, and what their members notice when that one goes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aCluster, SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../../base/ids.ts";
import type { GroupConsumerOptions } from "../../client/group/options.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { FindCoordinator } from "../../protocol/messages/find-coordinator.ts";
import { Heartbeat } from "../../protocol/messages/heartbeat.ts";
import { JoinGroup } from "../../protocol/messages/join-group.ts";
import { ListGroups } from "../../protocol/messages/list-groups.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { SyncGroup } from "../../protocol/messages/sync-group.ts";
import { SimClient } from "../../sim/client.ts";
import { shardIndex } from "../shards.ts";

const count = 6;
const settings = {
  "offsets.topic.num.partitions": String(count),
  "transaction.state.log.num.partitions": String(count),
  "group.initial.rebalance.delay.ms": "0",
};
const places = [0, 1, 2];
const groupIds = Array.from({ length: 12 }, (_, index) => `g${index}`);

async function aClusterWithTopic(t: Parameters<typeof aCluster>[0]): Promise<SimulatedCluster> {
  const cluster = await aCluster(t, settings);
  const admin = cluster.client().admin();
  await cluster.run(admin.createTopics([{ topic: "t", partitions: 6 }]));
  return cluster;
}

/** Of each group, the place that is named, or why none is. */
async function found(cluster: SimulatedCluster, place: number, keyType = 0) {
  const request = { key: "", keyType, coordinatorKeys: groupIds };
  const { coordinators } = await cluster.ask(place, FindCoordinator, request);
  return coordinators.map(({ errorCode, port }) =>
    errorCode === ErrorCode.NONE ? port - 9092 : { errorCode },
  );
}

function commitRequest(groupId: string, at: number) {
  const committed = {
    partitionIndex: partitionIndex(0),
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: "",
  };
  return {
    groupId,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    retentionTimeMs: -1,
    topics: [{ name: "t", topicId: NO_TOPIC_ID, partitions: [committed] }],
  };
}

async function commit(cluster: SimulatedCluster, place: number, groupId: string, at: number) {
  const { topics } = await cluster.ask(place, OffsetCommit, commitRequest(groupId, at), 9);
  return topics[0]?.partitions[0]?.errorCode;
}

/** Offsets, or why they are not told. */
async function committed(cluster: SimulatedCluster, place: number, wanted: readonly string[]) {
  const topics = [{ name: "t", topicId: NO_TOPIC_ID, partitionIndexes: [partitionIndex(0)] }];
  const asked = wanted.map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics }));
  const request = { groupId: "", topics: [], groups: asked, requireStable: false };
  const { groups } = await cluster.ask(place, OffsetFetch, request, 9);
  return groups.map(({ errorCode, topics: [told] }) =>
    errorCode === ErrorCode.NONE ? Number(told?.partitions[0]?.committedOffset) : { errorCode },
  );
}

/** The place that looks after the group, once somebody does. */
async function coordinatorOf(cluster: SimulatedCluster, groupId: string, seenBy = 0): Promise<number> {
  const owner = (): number | null =>
    cluster.ownerOf("__consumer_offsets", shardIndex(groupId, count), seenBy);
  await cluster.until(`${groupId} is looked after`, () => owner() !== null);
  return owner() ?? 0;
}

describe("groups in a cluster", () => {
  test("are spread over the brokers, and every broker names the same coordinators", async (t) => {
    const cluster = await aClusterWithTopic(t);
    for (const keyType of [0, 1]) {
      const all = [];
      for (const place of places) all.push(await found(cluster, place, keyType));
      assert.deepEqual(all[1], all[0]);
      assert.deepEqual(all[2], all[0]);
      assert.deepEqual(new Set(all[0]), new Set(places));
    }
  });

  test("have one topic, though all brokers are asked for the first time at once", async (t) => {
    const cluster = await aClusterWithTopic(t);
    const request = { key: "", keyType: 0, coordinatorKeys: groupIds };
    const asked = places.map((place) => {
      const client = SimClient.connect(cluster.network, 9092 + place, "test");
      assert.ok(client);
      return client.call(FindCoordinator, 6, request);
    });
    const answers = await cluster.run(Promise.all(asked));
    const named = answers.map(({ coordinators }) => coordinators.map(({ port }) => port));
    assert.deepEqual(named[1], named[0]);
    assert.deepEqual(named[2], named[0]);
  });

  test("are answered by their coordinator, and refused by the others", async (t) => {
    const cluster = await aClusterWithTopic(t);
    const owners = await found(cluster, 0);
    for (const [index, groupId] of groupIds.entries()) {
      for (const place of places) {
        const code = await commit(cluster, place, groupId, index);
        assert.equal(code, place === owners[index] ? ErrorCode.NONE : ErrorCode.NOT_COORDINATOR);
      }
    }
    for (const place of places) {
      const told = await committed(cluster, place, groupIds);
      const expected = owners.map((owner, index) =>
        owner === place ? index : { errorCode: ErrorCode.NOT_COORDINATOR },
      );
      assert.deepEqual(told, expected);
      const { groups } = await cluster.ask(place, ListGroups, { statesFilter: [], typesFilter: [] });
      const own = groupIds.filter((_, index) => owners[index] === place);
      assert.deepEqual(groups.map((each) => each.groupId).sort(), own.sort());
    }
  });

  for (const way of ["killed", "stopped", "paused"] as const) {
    test(`have all that was acknowledged when a broker is ${way}`, async (t) => {
      const cluster = await aClusterWithTopic(t);
      const owners = await found(cluster, 0);
      for (const [index, groupId] of groupIds.entries()) {
        const owner = owners[index];
        assert.equal(
          await commit(cluster, typeof owner === "number" ? owner : 0, groupId, index),
          ErrorCode.NONE,
        );
      }
      if (way === "killed") cluster.kill(1);
      else if (way === "stopped") await cluster.stop(1);
      else cluster.memberAt(1).process.pause();
      for (const [index, groupId] of groupIds.entries()) {
        await cluster.until("the others look after it", () => {
          const owner = cluster.ownerOf("__consumer_offsets", shardIndex(groupId, count), 0);
          return owner === 0 || owner === 2;
        });
        const owner = await coordinatorOf(cluster, groupId);
        assert.deepEqual((await found(cluster, owner))[index], owner);
        await cluster.pass(500);
        assert.deepEqual(await committed(cluster, owner, [groupId]), [index]);
      }
    });
  }
});

/** Group ids that each broker looks after and knows something of. */
async function known(cluster: SimulatedCluster): Promise<readonly string[]> {
  const ids: string[] = [];
  for (const place of places) {
    const { groups } = await cluster.ask(place, ListGroups, { statesFilter: [], typesFilter: [] });
    ids.push(...groups.map(({ groupId }) => groupId));
  }
  return ids.sort();
}

describe("committed offsets in a cluster", () => {
  test("of a topic that is deleted are forgotten by every coordinator", async (t) => {
    const cluster = await aClusterWithTopic(t);
    const owners = await found(cluster, 0);
    for (const [index, groupId] of groupIds.entries())
      await commit(cluster, Number(owners[index]), groupId, 7);
    assert.deepEqual(await known(cluster), groupIds.toSorted());
    const admin = cluster.client().admin();
    await cluster.run(admin.deleteTopics(["t"]));
    await cluster.pass(2_000);
    assert.deepEqual(await known(cluster), []);
  });

  test("that are to be held stay while their partition has records, whoever owns that", async (t) => {
    const cluster = await aCluster(t, {
      ...settings,
      "offsets.retention.minutes": "1",
      "offsets.retention.check.interval.ms": "1000",
      "offsets.retention.hold": "true",
    });
    const admin = cluster.client().admin();
    await cluster.run(admin.createTopics([{ topic: "t", partitions: 1 }]));
    const owners = await found(cluster, 0);
    const commitAll = async (): Promise<void> => {
      for (const [index, groupId] of groupIds.entries()) {
        assert.equal(await commit(cluster, Number(owners[index]), groupId, 0), ErrorCode.NONE);
      }
    };
    await commitAll();
    await cluster.pass(90_000);
    assert.deepEqual(await known(cluster), [], "nothing is there to be read");
    await commitAll();
    await cluster.run(cluster.client().producer().send({ topic: "t", value: "v" }));
    await cluster.pass(90_000);
    assert.deepEqual(await known(cluster), groupIds.toSorted());
  });
});

describe("a group that takes long to be read", () => {
  test("holds no request for more than five seconds, and is neither denied nor told of in part", async (t) => {
    const cluster = await aClusterWithTopic(t);
    await found(cluster, 0);
    const place = await coordinatorOf(cluster, "g0");
    assert.equal(await commit(cluster, place, "g0", 1), ErrorCode.NONE);
    const { process, broker } = cluster.memberAt(place);
    const client = SimClient.connect(cluster.network, 9092 + place, "test");
    assert.ok(client);
    const { partitions, topics } = broker.services;
    const topic = topics.byName("__consumer_offsets");
    assert.ok(topic);
    const partition = partitions.get(topic.id, partitionIndex(shardIndex("g0", count)));
    assert.ok(partition);

    // What lies before the new shard in the log cannot become durable.
    cluster.bucket.cutOff(process);
    const pending = client.call(OffsetCommit, 9, commitRequest("g0", 2));
    await cluster.pass(100);
    partitions.pause(partition);
    partitions.resume(partition);
    const beganMs = cluster.scheduler.nowMs;
    const loading = { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS };
    assert.deepEqual(await committed(cluster, place, ["g0"]), [loading]);
    const tookMs = cluster.scheduler.nowMs - beganMs;
    assert.ok(tookMs > 4_000 && tookMs < 6_000, `it took ${tookMs} ms`);
    const listed = await cluster.ask(place, ListGroups, { statesFilter: [], typesFilter: [] });
    assert.deepEqual([listed.errorCode, listed.groups], [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, []]);

    cluster.bucket.reconnect(process);
    const answer = await cluster.run(pending);
    assert.equal(answer.topics[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
    assert.deepEqual(await committed(cluster, place, ["g0"]), [2]);
  });
});

describe("a coordinator that was paused and replaced", () => {
  test("tells no member that all is well", async (t) => {
    const cluster = await aClusterWithTopic(t);
    await found(cluster, 0);
    const groupId = "g0";
    const old = await coordinatorOf(cluster, groupId);
    const client = SimClient.connect(cluster.network, 9092 + old, "test");
    assert.ok(client);
    const join = {
      groupId,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      groupInstanceId: null,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: new Uint8Array([0, 0, 0, 0, 0, 0]) }],
      reason: null,
    };
    const { memberId } = await cluster.run(client.call(JoinGroup, 9, { ...join, memberId: "" }));
    const { generationId } = await cluster.run(client.call(JoinGroup, 9, { ...join, memberId }));
    const claim = { groupId, memberId, generationId, groupInstanceId: null };
    const assignments = [{ memberId, assignment: new Uint8Array([1]) }];
    const sync = { ...claim, protocolType: "consumer", protocolName: "range", assignments };
    assert.equal((await cluster.run(client.call(SyncGroup, 5, sync))).errorCode, ErrorCode.NONE);
    assert.equal((await cluster.run(client.call(Heartbeat, 4, claim))).errorCode, ErrorCode.NONE);
    // An idle coordinator proves it now and then, and answers.
    await cluster.pass(9_000);
    assert.equal((await cluster.run(client.call(Heartbeat, 4, claim))).errorCode, ErrorCode.NONE);

    const member = cluster.memberAt(old);
    member.process.pause();
    const seenBy = (old + 1) % 3;
    await cluster.until("somebody else looks after it", () => {
      const owner = cluster.ownerOf("__consumer_offsets", shardIndex(groupId, count), seenBy);
      return owner !== null && owner !== old;
    });
    await cluster.pass(4_000);
    const late = client.call(Heartbeat, 4, claim);
    late.catch(() => undefined);
    await cluster.pass(100);
    member.process.resume();
    const told = await cluster.run(late.then(({ errorCode }) => errorCode).catch(() => "no answer"));
    assert.notEqual(told, ErrorCode.NONE);
  });
});

describe("a coordinator that slept longer than a session, and that nobody replaced", () => {
  test("hears its members before it judges them, and then judges them as before", async (t) => {
    const cluster = new SimulatedCluster(settings, 1);
    t.after(() => cluster.close());
    await cluster.bootAll(1);
    const client = SimClient.connect(cluster.network, 9092, "test");
    assert.ok(client);
    const groupId = "g0";
    const join = {
      groupId,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      groupInstanceId: null,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: new Uint8Array([0, 0, 0, 0, 0, 0]) }],
      reason: null,
    };
    const { memberId } = await cluster.run(client.call(JoinGroup, 9, { ...join, memberId: "" }));
    const { generationId } = await cluster.run(client.call(JoinGroup, 9, { ...join, memberId }));
    const claim = { groupId, memberId, generationId, groupInstanceId: null };
    const assignments = [{ memberId, assignment: new Uint8Array([1]) }];
    const sync = { ...claim, protocolType: "consumer", protocolName: "range", assignments };
    assert.equal((await cluster.run(client.call(SyncGroup, 5, sync))).errorCode, ErrorCode.NONE);
    const { process } = cluster.memberAt(0);
    await cluster.pass(5_000);
    process.pause();
    await cluster.pass(120_000);
    process.resume();
    // The member had lost the connection, and looks for the coordinator anew.
    await cluster.pass(8_000);
    const again = SimClient.connect(cluster.network, 9092, "test");
    assert.ok(again);
    const beat = () => cluster.run(again.call(Heartbeat, 4, claim));
    assert.equal((await beat()).errorCode, ErrorCode.NONE);
    await cluster.pass(8_000);
    assert.equal((await beat()).errorCode, ErrorCode.NONE);
    await cluster.pass(12_000);
    assert.equal((await beat()).errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
  });
});

const memberSettings: Partial<GroupConsumerOptions> = {
  commitIntervalMs: 200,
  sessionTimeoutMs: 10_000,
  heartbeatIntervalMs: 1_000,
};

describe("members of a group", () => {
  for (const protocol of ["classic", "consumer"] as const) {
    test(`of the ${protocol} protocol read everything through a kill and a planned stop`, async (t) => {
      const cluster = await aClusterWithTopic(t);
      const producer = cluster.client().producer();
      const seen = new Map<string, number>();
      const reading = [0, 1].map(async () => {
        const consumer = cluster.client().consumer({ group: "g0", topic: "t", protocol, ...memberSettings });
        for await (const { value } of consumer) seen.set(String(value), (seen.get(String(value)) ?? 0) + 1);
      });
      for (const each of reading) each.catch(() => undefined);
      let sent = 0;
      const send = async (more: number): Promise<void> => {
        const batch = Array.from({ length: more }, () => {
          const at = sent++;
          return producer.send({ topic: "t", partition: at % 6, value: `v${at}` });
        });
        await cluster.run(Promise.all(batch));
      };
      const all = (): boolean => seen.size === sent;
      await send(30);
      await cluster.until("all is read", all);
      const killed = await coordinatorOf(cluster, "g0");
      cluster.kill(killed);
      await send(30);
      await cluster.until("all is read after a kill", all);
      await cluster.boot(killed);
      await cluster.pass(5_000);
      await cluster.stop(await coordinatorOf(cluster, "g0", killed));
      await send(30);
      await cluster.until("all is read after a stop", all);
      assert.equal(seen.size, 90);
    });
  }
});
