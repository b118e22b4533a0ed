/** Groups over the wire: where their state lies, what a power cut leaves of it, and who may touch it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { CreatePartitions } from "../protocol/messages/create-partitions.ts";
import { DeleteTopics } from "../protocol/messages/delete-topics.ts";
import { FindCoordinator } from "../protocol/messages/find-coordinator.ts";
import { JoinGroup } from "../protocol/messages/join-group.ts";
import { ListGroups } from "../protocol/messages/list-groups.ts";
import { Metadata } from "../protocol/messages/metadata.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import { shardIndex } from "./shards.ts";

const settings = { "offsets.topic.num.partitions": "3" };

function commitRequest(groupId: string, topic: string, at: number, topicId = NO_TOPIC_ID) {
  const committed = {
    partitionIndex: partitionIndex(0),
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: "note",
  };
  return {
    groupId,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    retentionTimeMs: -1,
    topics: [{ name: topic, topicId, partitions: [committed] }],
  };
}

async function commit(broker: SimulatedBroker, groupId: string, topic: string, at: number) {
  const { topics } = await broker.ask(OffsetCommit, commitRequest(groupId, topic, at), 9);
  return topics[0]?.partitions[0]?.errorCode;
}

async function committed(broker: SimulatedBroker, groupId: string, topic: string) {
  const wanted = [{ name: topic, topicId: NO_TOPIC_ID, partitionIndexes: [partitionIndex(0)] }];
  const request = {
    groupId: "",
    topics: [],
    groups: [{ groupId, memberId: null, memberEpoch: -1, topics: wanted }],
    requireStable: false,
  };
  const { groups } = await broker.ask(OffsetFetch, request, 9);
  return groups[0]?.topics[0]?.partitions[0]?.committedOffset;
}

function joinRequest(groupId: string, memberId: string) {
  return {
    groupId,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId,
    groupInstanceId: null,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: new Uint8Array([0, 0, 0, 0, 0, 0]) }],
    reason: null,
  };
}

describe("committed offsets", () => {
  test("survive a power cut from the moment in which they are acknowledged", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    for (let at = 1; at <= 5; at++) {
      assert.equal(await commit(broker, "g", "orders", at), ErrorCode.NONE);
      broker.crash();
      await broker.boot();
      assert.equal(await committed(broker, "g", "orders"), at);
    }
  });

  test("of a topic that was deleted are not told of the next one with its name", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    await commit(broker, "g", "orders", 9);
    await broker.deleteTopic("orders");
    await broker.createTopic("orders");
    assert.equal(await committed(broker, "g", "orders"), -1);
    await broker.restart();
    assert.equal(await committed(broker, "g", "orders"), -1);
  });

  test("are refused for topics and partitions that are not there, by name and by id", async (t) => {
    const broker = await aBroker(t, settings);
    assert.equal(await commit(broker, "g", "nothing", 1), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const byId = await broker.ask(OffsetCommit, commitRequest("g", "", 1), 10);
    assert.equal(byId.topics[0]?.partitions[0]?.errorCode, ErrorCode.UNKNOWN_TOPIC_ID);
  });

  test("of a member of a group that nobody knows are refused, in the words of the client's version", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    const request = { ...commitRequest("gone", "orders", 1), generationIdOrMemberEpoch: 3, memberId: "m" };
    const codes = [];
    for (const version of [8, 9]) {
      const { topics } = await broker.ask(OffsetCommit, request, version);
      codes.push(topics[0]?.partitions[0]?.errorCode);
    }
    assert.deepEqual(codes, [ErrorCode.ILLEGAL_GENERATION, ErrorCode.GROUP_ID_NOT_FOUND]);
  });

  test("of a group of any bytes are kept apart", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    const names = ["", "ä/ö\u0000", "__proto__", "constructor", "x".repeat(30_000)];
    for (const [at, name] of names.entries()) await commit(broker, name, "orders", at + 1);
    await broker.restart();
    for (const [at, name] of names.entries()) assert.equal(await committed(broker, name, "orders"), at + 1);
  });
});

describe("the topic of the groups", () => {
  test("is made when a coordinator is first looked for, compacted and internal", async (t) => {
    const broker = await aBroker(t, settings);
    const listed = await broker.ask(ListGroups, { statesFilter: [], typesFilter: [] });
    assert.deepEqual(listed.groups, []);
    const found = await broker.ask(FindCoordinator, { key: "", keyType: 0, coordinatorKeys: ["g", "h"] });
    assert.deepEqual(
      found.coordinators.map(({ key, port, errorCode }) => ({ key, port, errorCode })),
      ["g", "h"].map((key) => ({ key, port: 9092, errorCode: ErrorCode.NONE })),
    );
    const { topics } = await broker.ask(Metadata, {
      topics: null,
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    assert.deepEqual(
      topics.map(({ name, isInternal, partitions }) => [name, isInternal, partitions.length]),
      [["__consumer_offsets", true, 3]],
    );
  });

  test("cannot be written to, deleted or given more partitions", async (t) => {
    const broker = await aBroker(t, settings);
    await commit(broker, "g", "orders", 1);
    const name = "__consumer_offsets";
    await assert.rejects(broker.write(name, ["forged"]), /17/);
    const deleted = await broker.ask(DeleteTopics, {
      topics: [{ name, topicId: NO_TOPIC_ID }],
      topicNames: [],
      timeoutMs: 1000,
    });
    assert.equal(deleted.responses[0]?.errorCode, ErrorCode.POLICY_VIOLATION);
    const added = await broker.ask(CreatePartitions, {
      topics: [{ name, count: 9, assignments: null }],
      timeoutMs: 1000,
      validateOnly: false,
    });
    assert.equal(added.results[0]?.errorCode, ErrorCode.POLICY_VIOLATION);
  });

  test("places groups as Kafka does", () => {
    // Java: Math.abs("console-consumer-1".hashCode()) % 50 and others.
    assert.equal(shardIndex("", 50), 0);
    assert.equal(shardIndex("a", 50), 97 % 50);
    assert.equal(shardIndex("my-group", 50), 12);
    assert.equal(shardIndex("polygenelubricants", 50), 0, "its hash is the smallest int32");
  });
});

describe("members", () => {
  test("who wait for others are answered when the broker stops", async (t) => {
    const broker = await aBroker(t, settings);
    const told = await broker.ask(JoinGroup, joinRequest("g", ""));
    assert.equal(told.errorCode, ErrorCode.MEMBER_ID_REQUIRED);
    const waiting = broker.connect().call(JoinGroup, 9, joinRequest("g", told.memberId));
    await broker.scheduler.runUntil(Promise.resolve());
    await broker.ask(ListGroups, { statesFilter: [], typesFilter: [] });
    await broker.restart();
    assert.equal((await waiting).errorCode, ErrorCode.NOT_COORDINATOR);
  });

  test("are counted out when their session ends, without anybody asking", async (t) => {
    const broker = await aBroker(t, { ...settings, "group.initial.rebalance.delay.ms": "0" });
    const { memberId } = await broker.ask(JoinGroup, joinRequest("g", ""));
    const joined = await broker.ask(JoinGroup, joinRequest("g", memberId));
    assert.equal(joined.generationId, 1);
    const states = async () =>
      (await broker.ask(ListGroups, { statesFilter: [], typesFilter: [] })).groups.map(
        (each) => each.groupState,
      );
    assert.deepEqual(await states(), ["CompletingRebalance"]);
    await broker.scheduler.runUntil(
      new Promise<void>((resolve) => broker.clientPorts().clock.schedule(11_000, resolve)),
    );
    assert.deepEqual(await states(), ["Empty"]);
  });

  test("are left to the next process once the log is closed: nothing happens by itself any more", async (t) => {
    const broker = await aBroker(t, { ...settings, "group.initial.rebalance.delay.ms": "0" });
    const { memberId } = await broker.ask(JoinGroup, joinRequest("g", ""));
    await broker.ask(JoinGroup, joinRequest("g", memberId));
    const { partitions, wal, groups } = broker.broker.services;
    assert.throws(() => partitions.onFailure(new Error("the disk is gone")), /the disk is gone/);
    const { appended } = wal;
    await broker.scheduler.runUntil(
      new Promise<void>((resolve) => broker.clientPorts().clock.schedule(11_000, resolve)),
    );
    groups.close();
    assert.equal(wal.appended, appended);
    broker.crash();
    await broker.boot();
  });
});
