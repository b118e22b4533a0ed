/** What brokers of a cluster answer about partitions that others own, and about each other. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aStrangeTopic, create, move, nodeAt, placesOf } from "../../../test/owned-topics.ts";
import { aCluster, type SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { leaderEpoch, NO_TOPIC_ID, nodeId, offset, partitionIndex } from "../../base/ids.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { CreatePartitions } from "../../protocol/messages/create-partitions.ts";
import { DeleteRecords } from "../../protocol/messages/delete-records.ts";
import { DeleteTopics } from "../../protocol/messages/delete-topics.ts";
import { DescribeCluster } from "../../protocol/messages/describe-cluster.ts";
import { DescribeLogDirs } from "../../protocol/messages/describe-log-dirs.ts";
import { DescribeProducers } from "../../protocol/messages/describe-producers.ts";
import { Fetch, type FetchResponse } from "../../protocol/messages/fetch.ts";
import { ListedOffset, ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { Metadata } from "../../protocol/messages/metadata.ts";
import { OffsetForLeaderEpoch } from "../../protocol/messages/offset-for-leader-epoch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";
import { SimClient } from "../../sim/client.ts";

const noEpoch = leaderEpoch(-1);
const { NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NONE } = ErrorCode;

const ascending = (a: number, b: number): number => a - b;

function fetchOf(topic: { name: string; id: typeof NO_TOPIC_ID }, over: { [key: string]: unknown } = {}) {
  const { maxWaitMs = 0, ...partition } = over;
  return {
    clusterId: null,
    replicaId: nodeId(-1),
    replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
    maxWaitMs: maxWaitMs as number,
    minBytes: 1,
    maxBytes: 1_000_000,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic: topic.name,
        topicId: topic.id,
        partitions: [
          {
            partition: partitionIndex(0),
            currentLeaderEpoch: noEpoch,
            fetchOffset: offset(0),
            lastFetchedEpoch: noEpoch,
            logStartOffset: offset(-1),
            partitionMaxBytes: 1_000_000,
            replicaDirectoryId: NO_TOPIC_ID,
            highWatermark: 0x7fff_ffff_ffff_ffffn,
            ...partition,
          },
        ],
      },
    ],
    forgottenTopicsData: [],
    rackId: "",
  };
}

const produceOf = (topic: { name: string; id: typeof NO_TOPIC_ID }) => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 1_000,
  topicData: [
    {
      name: topic.name,
      topicId: topic.id,
      partitionData: [
        { index: partitionIndex(0), records: [buildBatch([{ value: "x", timestamp: 1 }], {})] },
      ],
    },
  ],
});

describe("a broker that is asked about a partition of another", () => {
  test("tells a producer who has it, with its address", async (t) => {
    const cluster = await aCluster(t);
    const { owner, stranger, byId, byName } = await aStrangeTopic(cluster);
    const leader = { leaderId: nodeAt(cluster, owner), leaderEpoch: 0 };
    for (const [version, topic, told] of [
      [13, byId, leader],
      [10, byName, leader],
      [9, byName, { leaderId: -1, leaderEpoch: -1 }],
    ] as const) {
      const { responses, nodeEndpoints } = await cluster.ask(stranger, Produce, produceOf(topic), version);
      const [partition] = responses[0]?.partitionResponses ?? [];
      assert.equal(partition?.errorCode, NOT_LEADER_OR_FOLLOWER);
      assert.deepEqual(partition.currentLeader, told);
      const endpoints = nodeEndpoints.map(({ nodeId: node, port }) => [node, port]);
      assert.deepEqual(endpoints, version < 10 ? [] : [[leader.leaderId, 9092 + owner]]);
    }
    assert.equal(
      (await cluster.ask(owner, Produce, produceOf(byId))).responses[0]?.partitionResponses[0]?.errorCode,
      NONE,
    );
  });

  test("tells a reader who has it, and whether the epoch that it believes in is old or new", async (t) => {
    const cluster = await aCluster(t);
    const { owner, stranger, byId, byName } = await aStrangeTopic(cluster);
    const node = nodeAt(cluster, owner);
    const ask = async (place: number, over: { [key: string]: unknown }, version = 18) => {
      const request = fetchOf(version < 13 ? byName : byId, over);
      const { responses, nodeEndpoints } = await cluster.ask(place, Fetch, request, version);
      const partition = responses[0]?.partitions[0];
      return [partition?.errorCode, partition?.currentLeader.leaderId, nodeEndpoints.length];
    };
    assert.deepEqual(await ask(stranger, {}), [NOT_LEADER_OR_FOLLOWER, node, 1]);
    assert.deepEqual(await ask(stranger, {}, 12), [NOT_LEADER_OR_FOLLOWER, -1, 0]);
    assert.deepEqual(await ask(owner, {}), [NONE, -1, 0]);
    const epoch = (currentLeaderEpoch: number) => ({ currentLeaderEpoch: leaderEpoch(currentLeaderEpoch) });
    assert.deepEqual(await ask(stranger, epoch(3)), [UNKNOWN_LEADER_EPOCH, -1, 0]);
    assert.deepEqual(await ask(owner, epoch(3)), [UNKNOWN_LEADER_EPOCH, -1, 0]);
    await move(cluster, "orders", 0, 2);
    assert.deepEqual(await ask(stranger, epoch(0)), [FENCED_LEADER_EPOCH, nodeAt(cluster, 2), 1]);
    assert.deepEqual(await ask(2, epoch(0)), [FENCED_LEADER_EPOCH, nodeAt(cluster, 2), 1]);
    assert.deepEqual(await ask(2, epoch(1)), [NONE, -1, 0]);
  });

  test("denies nothing about it: no end, no epoch, no producer, no offset", async (t) => {
    const cluster = await aCluster(t);
    const { stranger } = await aStrangeTopic(cluster);
    const at = { partitionIndex: partitionIndex(0), currentLeaderEpoch: noEpoch };
    const listed = await cluster.ask(stranger, ListOffsets, {
      replicaId: nodeId(-1),
      isolationLevel: 0,
      timeoutMs: 1_000,
      topics: [{ name: "orders", partitions: [{ ...at, timestamp: ListedOffset.latest }] }],
    });
    assert.equal(listed.topics[0]?.partitions[0]?.errorCode, NOT_LEADER_OR_FOLLOWER);
    const ended = await cluster.ask(stranger, OffsetForLeaderEpoch, {
      replicaId: nodeId(-1),
      topics: [
        {
          topic: "orders",
          partitions: [
            { partition: partitionIndex(0), currentLeaderEpoch: noEpoch, leaderEpoch: leaderEpoch(0) },
          ],
        },
      ],
    });
    assert.equal(ended.topics[0]?.partitions[0]?.errorCode, NOT_LEADER_OR_FOLLOWER);
    const deleted = await cluster.ask(stranger, DeleteRecords, {
      topics: [{ name: "orders", partitions: [{ partitionIndex: partitionIndex(0), offset: offset(0) }] }],
      timeoutMs: 1_000,
    });
    assert.equal(deleted.topics[0]?.partitions[0]?.errorCode, NOT_LEADER_OR_FOLLOWER);
    const described = await cluster.ask(stranger, DescribeProducers, {
      topics: [{ name: "orders", partitionIndexes: [partitionIndex(0)] }],
    });
    assert.equal(described.topics[0]?.partitions[0]?.errorCode, NOT_LEADER_OR_FOLLOWER);
  });

  test("sends a reader that waits for records to the new owner at once", async (t) => {
    const cluster = await aCluster(t);
    const { owner, byId } = await aStrangeTopic(cluster);
    const client = SimClient.connect(cluster.network, 9092 + owner, "test");
    assert.ok(client !== null);
    const told: FetchResponse[] = [];
    const waiting = client.call(Fetch, 18, fetchOf(byId, { maxWaitMs: 600_000 }));
    waiting.then(
      (answer) => told.push(answer),
      () => undefined,
    );
    await cluster.pass(5_000);
    assert.equal(told.length, 0);
    await move(cluster, "orders", 0, 2);
    await cluster.pass(50);
    const [partition] = told.flatMap(({ responses }) => responses[0]?.partitions ?? []);
    assert.equal(partition?.errorCode, NOT_LEADER_OR_FOLLOWER);
    assert.deepEqual(partition.currentLeader, { leaderId: nodeAt(cluster, 2), leaderEpoch: 1 });
  });

  test("lets a partition that is on its way be read, and neither appends to it nor tells its end", async (t) => {
    const cluster = await aCluster(t);
    const { owner, byId } = await aStrangeTopic(cluster);
    await cluster.ask(owner, Produce, produceOf(byId));
    const { partitions } = cluster.at(owner).services;
    const partition = partitions.get(byId.id, partitionIndex(0));
    assert.ok(partition !== undefined);
    partitions.pause(partition);
    const fetched = async (from: number) => {
      const { responses } = await cluster.ask(owner, Fetch, fetchOf(byId, { fetchOffset: offset(from) }));
      return responses[0]?.partitions[0]?.errorCode;
    };
    assert.deepEqual([await fetched(0), await fetched(1)], [NONE, NONE]);
    assert.equal(await fetched(2), NOT_LEADER_OR_FOLLOWER);
    const { responses } = await cluster.ask(owner, Produce, produceOf(byId));
    assert.equal(responses[0]?.partitionResponses[0]?.errorCode, NOT_LEADER_OR_FOLLOWER);
    const at = {
      partitionIndex: partitionIndex(0),
      currentLeaderEpoch: noEpoch,
      timestamp: ListedOffset.latest,
    };
    const listed = await cluster.ask(owner, ListOffsets, {
      replicaId: nodeId(-1),
      isolationLevel: 0,
      timeoutMs: 1_000,
      topics: [{ name: "orders", partitions: [at] }],
    });
    assert.equal(listed.topics[0]?.partitions[0]?.errorCode, NOT_LEADER_OR_FOLLOWER);
  });

  test("tells the sizes of its own partitions only, so that all brokers together tell each once", async (t) => {
    const cluster = await aCluster(t);
    await create(cluster, 0, "orders", { partitions: 6 });
    const told: number[] = [];
    for (const place of [0, 1, 2]) {
      const { results } = await cluster.ask(place, DescribeLogDirs, { topics: null });
      const topic = results[0]?.topics.find(({ name }) => name === "orders");
      told.push(...(topic?.partitions ?? []).map((each) => each.partitionIndex));
    }
    assert.deepEqual(told.sort(ascending), [0, 1, 2, 3, 4, 5]);
  });
});

/**
 * The owner of "orders" stands still with three records, its successor has acknowledged two more, and the owner
 * goes on at this moment: nothing has told it yet that it was replaced.
 */
async function aZombie(cluster: SimulatedCluster) {
  const { owner, stranger, byId } = await aStrangeTopic(cluster);
  const write = async (place: number): Promise<void> => {
    const { responses } = await cluster.ask(place, Produce, produceOf(byId));
    assert.equal(responses[0]?.partitionResponses[0]?.errorCode, NONE);
  };
  for (let count = 0; count < 3; count++) await write(owner);
  const client = SimClient.connect(cluster.network, 9092 + owner, "test");
  assert.ok(client !== null);
  await cluster.run(client.call(Fetch, 18, fetchOf(byId)));
  const { process } = cluster.memberAt(owner);
  process.pause();
  const successor = (): number | null => cluster.ownerOf("orders", 0, stranger);
  await cluster.until("another has it", () => ![null, owner].includes(successor()));
  const place = successor() as number;
  const { partitions } = cluster.at(place).services;
  await cluster.until(
    "it is served",
    () => partitions.get(byId.id, partitionIndex(0))?.takesAppends === true,
  );
  for (let count = 0; count < 2; count++) await write(place);
  process.resume();
  /** Undefined: the connection ended. */
  const ask = async <Req, Res>(api: Api<Req, Res>, request: Req): Promise<Res | undefined> => {
    const answer = client.call(api, api.versions[1], request).catch(() => undefined);
    const end = new Promise<undefined>((resolve) =>
      cluster.scheduler.schedule(20_000, () => resolve(undefined)),
    );
    return cluster.run(Promise.race([answer, end]));
  };
  return { ask, byId };
}

describe("a broker that was paused and replaced", () => {
  test("does not tell an end below what its successor has acknowledged", async (t) => {
    const cluster = await aCluster(t);
    const { ask } = await aZombie(cluster);
    const at = { partitionIndex: partitionIndex(0), currentLeaderEpoch: noEpoch };
    const answer = await ask(ListOffsets, {
      replicaId: nodeId(-1),
      isolationLevel: 0,
      timeoutMs: 1_000,
      topics: [{ name: "orders", partitions: [{ ...at, timestamp: ListedOffset.latest }] }],
    });
    const told = answer?.topics[0]?.partitions[0];
    assert.ok(told === undefined || told.errorCode === NOT_LEADER_OR_FOLLOWER, JSON.stringify(told));
  });

  test("does not call an offset out of range that its successor has", async (t) => {
    const cluster = await aCluster(t);
    const { ask, byId } = await aZombie(cluster);
    const answer = await ask(Fetch, fetchOf(byId, { fetchOffset: offset(5) }));
    const told = answer?.responses[0]?.partitions[0];
    assert.ok(told === undefined || told.errorCode === NOT_LEADER_OR_FOLLOWER, String(told?.errorCode));
  });

  test("does not call a log diverging that its successor went on with", async (t) => {
    const cluster = await aCluster(t);
    const { ask, byId } = await aZombie(cluster);
    const position = { fetchOffset: offset(5), lastFetchedEpoch: leaderEpoch(0) };
    const answer = await ask(Fetch, fetchOf(byId, position));
    const told = answer?.responses[0]?.partitions[0];
    assert.ok(told === undefined || told.errorCode === NOT_LEADER_OR_FOLLOWER, String(told?.errorCode));
  });

  test("still hands out the records that it has, which its successor has as well", async (t) => {
    const cluster = await aCluster(t);
    const { ask, byId } = await aZombie(cluster);
    const answer = await ask(Fetch, fetchOf(byId));
    const told = answer?.responses[0]?.partitions[0];
    assert.deepEqual([told?.errorCode, told?.highWatermark], [NONE, 3]);
  });
});

describe("the brokers of a cluster", () => {
  const metadataOf = (cluster: SimulatedCluster, place: number, names: readonly string[] | null = []) =>
    cluster.ask(place, Metadata, {
      topics: names === null ? null : names.map((name) => ({ name, topicId: NO_TOPIC_ID })),
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });

  test("name the same brokers, and the same one to admins", async (t) => {
    const cluster = await aCluster(t);
    const nodes = [0, 1, 2].map((place) => nodeAt(cluster, place));
    for (const place of [0, 1, 2]) {
      const { brokers, controllerId } = await metadataOf(cluster, place);
      assert.deepEqual(
        brokers.map((broker) => [broker.nodeId, broker.port]),
        nodes.map((node, at) => [node, 9092 + at]),
      );
      assert.equal(controllerId, Math.min(...nodes));
    }
  });

  test("tell of one that is gone when they are asked for those", async (t) => {
    const cluster = await aCluster(t);
    const gone = nodeAt(cluster, 2);
    await cluster.stop(2);
    await cluster.pass(1_000);
    const asked = { includeClusterAuthorizedOperations: false, endpointType: 1 };
    for (const [includeFencedBrokers, told] of [
      [false, []],
      [true, [gone]],
    ] as const) {
      const { brokers } = await cluster.ask(0, DescribeCluster, { ...asked, includeFencedBrokers });
      assert.deepEqual(
        brokers.filter(({ isFenced }) => isFenced).map(({ brokerId }) => brokerId),
        told,
      );
      assert.equal(brokers.length, 2 + told.length);
    }
  });

  test("say that a partition has no leader from the end of its owner until the next one", async (t) => {
    const cluster = await aCluster(t);
    const { owner } = await aStrangeTopic(cluster);
    const { journal } = cluster.at(1).services;
    const epoch = cluster.at(owner).services.epoch;
    const seen = new Set<number>();
    journal.onApplied(() => seen.add(journal.state.brokers.get(epoch)?.status === "fenced" ? 1 : 0));
    cluster.kill(owner);
    await cluster.until(
      "the dead broker is fenced",
      () => journal.state.brokers.get(epoch)?.status !== "live",
    );
    const { topics } = await metadataOf(cluster, 1, ["orders"]);
    const [partition] = topics[0]?.partitions ?? [];
    const isFenced = journal.state.brokers.get(epoch)?.status === "fenced";
    assert.equal(partition?.errorCode, isFenced ? ErrorCode.LEADER_NOT_AVAILABLE : NONE);
    await cluster.until("another has it", () => cluster.ownerOf("orders", 0, 1) !== null);
  });

  test("all know a topic when its creation is answered, and its partitions are spread over them", async (t) => {
    const cluster = await aCluster(t);
    const made = await create(cluster, 0, "orders", { partitions: 6 });
    assert.deepEqual([made.errorCode, made.numPartitions], [NONE, 6]);
    for (const place of [0, 1, 2]) {
      assert.deepEqual(placesOf(cluster, "orders", place, 6).sort(ascending), [0, 0, 1, 1, 2, 2]);
    }
    const more = {
      topics: [{ name: "orders", count: 9, assignments: null }],
      timeoutMs: 1_000,
      validateOnly: false,
    };
    assert.equal((await cluster.ask(1, CreatePartitions, more)).results[0]?.errorCode, NONE);
    for (const place of [0, 1, 2]) {
      assert.deepEqual(placesOf(cluster, "orders", place, 9).sort(ascending), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    }
    const gone = { topics: [{ name: "orders", topicId: NO_TOPIC_ID }], topicNames: [], timeoutMs: 1_000 };
    assert.equal((await cluster.ask(2, DeleteTopics, gone)).responses[0]?.errorCode, NONE);
    for (const place of [0, 1, 2])
      assert.equal(cluster.at(place).services.topics.byName("orders"), undefined);
  });

  test("read the journal before they deny a topic that was made behind their back", async (t) => {
    const cluster = await aCluster(t);
    // Nobody hears of the other, and each goes on to read the journal by itself at times.
    const { topics } = cluster.at(0).services;
    const wanted = { name: "orders", partitionCount: 1, configs: new Map<string, string>() };
    const making = topics.create(wanted);
    await cluster.until("it is made", () => topics.byName("orders") !== undefined);
    const told = await metadataOf(cluster, 2, ["orders"]);
    assert.equal(told.topics[0]?.errorCode, NONE);
    await cluster.run(making);
  });
});
