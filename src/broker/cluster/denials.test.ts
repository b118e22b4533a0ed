/** Which answers of a broker in a cluster wait for proof, and which do not. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import {
  leaderEpoch,
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  NO_TOPIC_ID,
  nodeId,
  offset,
  partitionIndex,
  producerEpoch,
  producerId,
} from "../../base/ids.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../../protocol/messages/add-partitions-to-txn.ts";
import { ConsumerGroupDescribe } from "../../protocol/messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "../../protocol/messages/consumer-group-heartbeat.ts";
import { CreateTopics } from "../../protocol/messages/create-topics.ts";
import { DeleteGroups } from "../../protocol/messages/delete-groups.ts";
import { DeleteRecords } from "../../protocol/messages/delete-records.ts";
import { DescribeGroups } from "../../protocol/messages/describe-groups.ts";
import { DescribeProducers } from "../../protocol/messages/describe-producers.ts";
import { DescribeTopicPartitions } from "../../protocol/messages/describe-topic-partitions.ts";
import { DescribeTransactions } from "../../protocol/messages/describe-transactions.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { Fetch } from "../../protocol/messages/fetch.ts";
import { Heartbeat } from "../../protocol/messages/heartbeat.ts";
import { InitProducerId } from "../../protocol/messages/init-producer-id.ts";
import { JoinGroup } from "../../protocol/messages/join-group.ts";
import { LeaveGroup } from "../../protocol/messages/leave-group.ts";
import { ListGroups } from "../../protocol/messages/list-groups.ts";
import { ListedOffset, ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { ListTransactions } from "../../protocol/messages/list-transactions.ts";
import { Metadata } from "../../protocol/messages/metadata.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { OffsetDelete } from "../../protocol/messages/offset-delete.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { OffsetForLeaderEpoch } from "../../protocol/messages/offset-for-leader-epoch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { SyncGroup } from "../../protocol/messages/sync-group.ts";
import { TxnOffsetCommit } from "../../protocol/messages/txn-offset-commit.ts";
import { WriteTxnMarkers } from "../../protocol/messages/write-txn-markers.ts";
import { buildBatch } from "../../record/builder.ts";
import { SimClient } from "../../sim/client.ts";
import { Connections } from "../connections.ts";
import { alone, type Barrier } from "./cluster.ts";

/** Passes when it is told to. */
class ToldBarrier implements Barrier {
  readonly lastPassedMs = -Infinity;
  asked = 0;
  tails = 0;
  /** Whether a slot of the log has left and counts since the question came. */
  isProvedBySlot = false;
  onTail: () => Promise<void> = () => Promise.resolve();
  #waiting: { readonly resolve: () => void; readonly reject: (cause: Error) => void }[] = [];

  mark(): number {
    return 7;
  }
  pass(mark?: number): Promise<void> | undefined {
    assert.equal(mark, 7);
    this.asked++;
    if (this.isProvedBySlot) return undefined;
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
  readTail(): Promise<void> {
    this.tails++;
    return this.onTail();
  }
  readTailSparingly(): Promise<void> {
    return this.readTail();
  }
  open(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }
  refuse(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("replaced"));
  }
}

const guardedPort = 9093;

/** The same broker behind a second listener, at which its answers wait for a barrier. */
async function guarded(t: Parameters<typeof aBroker>[0]) {
  const broker = await aBroker(t);
  const barrier = new ToldBarrier();
  const services = { ...broker.broker.services, cluster: { peers: alone.peers, barrier } };
  const connections = new Connections(services, {
    onBug: (failure) => {
      throw failure;
    },
  });
  await broker.scheduler.runUntil(
    broker.network.listen({ host: "127.0.0.1", port: guardedPort }, (socket) => connections.accept(socket)),
  );
  const client = SimClient.connect(broker.network, guardedPort, "test");
  assert.ok(client !== null);
  /** Asks, and lets a second pass. */
  const ask = async <Req, Res>(api: Api<Req, Res>, request: Req, version = api.versions[1]) => {
    const seen: { answer?: Res; failed?: boolean } = {};
    client.call(api, version, request).then(
      (answer) => (seen.answer = answer),
      () => (seen.failed = true),
    );
    await pass(broker, 1_000);
    return seen;
  };
  return { broker, barrier, ask };
}

const pass = (broker: SimulatedBroker, ms: number) =>
  broker.scheduler.run({ untilMs: broker.scheduler.nowMs + ms });

/** A request to a broker that has the topic "orders" with three records and no groups. */
interface Case {
  readonly what: string;
  readonly ask: (ask: Awaited<ReturnType<typeof guarded>>["ask"]) => Promise<{ answer?: unknown }>;
}

function one<Req, Res>(what: string, api: Api<Req, Res>, request: Req, version?: number): Case {
  return { what, ask: (ask) => ask(api, request, version) };
}

const zero = partitionIndex(0);
const someone = { producerId: producerId(1000), producerEpoch: producerEpoch(0) };
const none = { producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };
const noEpoch = leaderEpoch(-1);

const listed = (timestamp: number) => ({
  replicaId: nodeId(-1),
  isolationLevel: 0,
  timeoutMs: 1_000,
  topics: [
    { name: "orders", partitions: [{ partitionIndex: zero, currentLeaderEpoch: noEpoch, timestamp }] },
  ],
});

const produced = (records: Uint8Array) => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 1_000,
  topicData: [{ name: "orders", topicId: NO_TOPIC_ID, partitionData: [{ index: zero, records: [records] }] }],
});
const aRecord = { value: "x", timestamp: 1_700_000_000_000 };

const fetched = (fetchOffset: number) => ({
  clusterId: null,
  replicaId: nodeId(-1),
  replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
  maxWaitMs: 10,
  minBytes: 1,
  maxBytes: 1_000_000,
  isolationLevel: 0,
  sessionId: 0,
  sessionEpoch: -1,
  topics: [
    {
      topic: "orders",
      topicId: NO_TOPIC_ID,
      partitions: [
        {
          partition: zero,
          currentLeaderEpoch: noEpoch,
          fetchOffset: offset(fetchOffset),
          lastFetchedEpoch: noEpoch,
          logStartOffset: offset(-1),
          partitionMaxBytes: 1_000_000,
          replicaDirectoryId: NO_TOPIC_ID,
          highWatermark: 0n,
        },
      ],
    },
  ],
  forgottenTopicsData: [],
  rackId: "",
});

const join = (memberId: string) => ({
  groupId: "g",
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 10_000,
  memberId,
  groupInstanceId: null,
  protocolType: "consumer",
  protocols: [{ name: "range", metadata: new Uint8Array(0) }],
  reason: null,
});

const committed = {
  groupId: "g",
  generationIdOrMemberEpoch: 5,
  memberId: "m",
  groupInstanceId: null,
  topics: [
    {
      name: "orders",
      topicId: NO_TOPIC_ID,
      partitions: [
        {
          partitionIndex: zero,
          committedOffset: offset(1),
          committedLeaderEpoch: noEpoch,
          committedMetadata: null,
        },
      ],
    },
  ],
};

const asMember = { groupId: "g", memberId: "m", groupInstanceId: null };

const heldBack: readonly Case[] = [
  one("where the log begins", ListOffsets, listed(ListedOffset.earliest)),
  one("the first record at a time", ListOffsets, listed(1_700_000_000_000)),
  one("the latest offset", ListOffsets, listed(ListedOffset.latest)),
  one("the offset of the greatest timestamp", ListOffsets, listed(ListedOffset.maxTimestamp)),
  one("that no record is that late", ListOffsets, listed(1_800_000_000_000)),
  one("where an epoch ends", OffsetForLeaderEpoch, {
    replicaId: nodeId(-1),
    topics: [
      {
        topic: "orders",
        partitions: [{ partition: zero, currentLeaderEpoch: noEpoch, leaderEpoch: leaderEpoch(0) }],
      },
    ],
  }),
  one(
    "that a sequence is out of order",
    Produce,
    produced(buildBatch([aRecord], { ...someone, baseSequence: 5 })),
    12,
  ),
  one("that an offset to delete up to is out of range", DeleteRecords, {
    topics: [{ name: "orders", partitions: [{ partitionIndex: zero, offset: offset(99) }] }],
    timeoutMs: 1_000,
  }),
  one("which producers there are", DescribeProducers, {
    topics: [{ name: "orders", partitionIndexes: [zero] }],
  }),
  one("a committed offset", OffsetFetch, {
    groupId: "",
    topics: [],
    groups: [{ groupId: "g", memberId: null, memberEpoch: -1, topics: null }],
    requireStable: false,
  }),
  one(
    "a committed offset, to an older client",
    OffsetFetch,
    {
      groupId: "g",
      topics: [{ name: "orders", partitionIndexes: [zero] }],
      groups: [],
      requireStable: false,
    },
    7,
  ),
  one("that somebody who commits is no member", OffsetCommit, { ...committed, retentionTimeMs: -1 }, 9),
  one("that there is no group whose offsets could be deleted", OffsetDelete, {
    groupId: "g",
    topics: [{ name: "orders", partitions: [{ partitionIndex: zero }] }],
  }),
  one("that somebody who joins is unknown", JoinGroup, join("m")),
  one("that somebody who asks for an assignment is no member", SyncGroup, {
    ...asMember,
    generationId: 1,
    protocolType: "consumer",
    protocolName: "range",
    assignments: [],
  }),
  one("that somebody who is alive is no member", Heartbeat, { ...asMember, generationId: 1 }),
  one("that somebody who is alive is no member of a group of KIP-848", ConsumerGroupHeartbeat, {
    groupId: "k",
    memberId: "m",
    memberEpoch: 3,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: -1,
    subscribedTopicNames: null,
    subscribedTopicRegex: null,
    serverAssignor: null,
    topicPartitions: null,
  }),
  one("that somebody who leaves is no member", LeaveGroup, {
    groupId: "g",
    memberId: "",
    members: [{ memberId: "m", groupInstanceId: null, reason: null }],
  }),
  one("that a group to delete is not there", DeleteGroups, { groupsNames: ["g"] }),
  one("a group's state", DescribeGroups, { groups: ["g"], includeAuthorizedOperations: false }),
  one("that there is no group of KIP-848", ConsumerGroupDescribe, {
    groupIds: ["k"],
    includeAuthorizedOperations: false,
  }),
  one("which groups there are", ListGroups, { statesFilter: [], typesFilter: [] }),
  one(
    "that a transaction to add to is nobody's",
    AddPartitionsToTxn,
    {
      transactions: [],
      v3AndBelowTransactionalId: "t",
      v3AndBelowProducerId: someone.producerId,
      v3AndBelowProducerEpoch: someone.producerEpoch,
      v3AndBelowTopics: [{ name: "orders", partitions: [zero] }],
    },
    3,
  ),
  one(
    "that a transaction to add to is nobody's, to a broker",
    AddPartitionsToTxn,
    {
      transactions: [
        {
          transactionalId: "t",
          ...someone,
          verifyOnly: true,
          topics: [{ name: "orders", partitions: [zero] }],
        },
      ],
      v3AndBelowTransactionalId: "",
      v3AndBelowProducerId: producerId(0),
      v3AndBelowProducerEpoch: producerEpoch(0),
      v3AndBelowTopics: [],
    },
    4,
  ),
  one("that a transaction to add a group to is nobody's", AddOffsetsToTxn, {
    transactionalId: "t",
    ...someone,
    groupId: "g",
  }),
  one("that a transaction to end is nobody's", EndTxn, { transactionalId: "t", ...someone, committed: true }),
  one(
    "that somebody who commits in a transaction is no member",
    TxnOffsetCommit,
    {
      ...committed,
      ...someone,
      transactionalId: "t",
    },
    5,
  ),
  one("a transaction's state", DescribeTransactions, { transactionalIds: ["t"] }),
  one("which transactions there are", ListTransactions, {
    stateFilters: [],
    producerIdFilters: [],
    durationFilter: -1,
    transactionalIdPattern: null,
  }),
];

const atOnce: readonly Case[] = [
  one("that records are durable", Produce, produced(buildBatch([aRecord], {})), 12),
  one("records", Fetch, fetched(0), 12),
  one("that there is nothing new", Fetch, fetched(3), 12),
  one("a topic that is there", Metadata, {
    topics: [{ name: "orders", topicId: NO_TOPIC_ID }],
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  }),
  one("a new producer id", InitProducerId, { transactionalId: null, transactionTimeoutMs: 60_000, ...none }),
  one("that a member needs an id", JoinGroup, join("")),
];

describe("a broker in a cluster", () => {
  for (const { what, ask } of heldBack) {
    test(`tells ${what} when it is proved that nobody has replaced it, not before`, async (t) => {
      const { broker, barrier, ask: over } = await guarded(t);
      await broker.createTopic("orders");
      await broker.write("orders", ["a", "b", "c"]);
      const seen = await ask(over);
      assert.equal(seen.answer, undefined);
      assert.equal(barrier.asked, 1);
      barrier.open();
      await pass(broker, 1_000);
      assert.ok(seen.answer !== undefined);
    });
  }

  for (const { what, ask } of atOnce) {
    test(`tells ${what} without proof`, async (t) => {
      const { broker, barrier, ask: over } = await guarded(t);
      await broker.createTopic("orders");
      await broker.write("orders", ["a", "b", "c"]);
      const seen = await ask(over);
      assert.ok(seen.answer !== undefined);
      assert.deepEqual([barrier.asked, barrier.tails], [0, 0]);
    });
  }

  test("tells a producer that it was fenced when it is proved that nobody has replaced it, not before", async (t) => {
    const { broker, barrier, ask } = await guarded(t);
    const wanted = { transactionalId: "t", transactionTimeoutMs: 60_000, ...none };
    const { answer: first } = await ask(InitProducerId, wanted);
    assert.ok(first !== undefined);
    await ask(InitProducerId, wanted);
    await ask(InitProducerId, wanted);
    assert.equal(barrier.asked, 0);
    const { producerId: id, producerEpoch: epoch } = first;
    const seen = await ask(InitProducerId, { ...wanted, producerId: id, producerEpoch: epoch });
    assert.deepEqual([barrier.asked, seen.answer], [1, undefined]);
    barrier.open();
    await pass(broker, 1_000);
    assert.equal(seen.answer?.errorCode, ErrorCode.PRODUCER_FENCED);
  });

  test("that was replaced does not answer at all, and the connection ends", async (t) => {
    const { broker, barrier, ask } = await guarded(t);
    await broker.createTopic("orders");
    const seen = await ask(ListOffsets, listed(ListedOffset.latest));
    barrier.refuse();
    await pass(broker, 1_000);
    assert.deepEqual(seen, { failed: true });
  });

  test("needs no second proof for what it has written since the question", async (t) => {
    const { broker, barrier, ask } = await guarded(t);
    await broker.createTopic("orders");
    barrier.isProvedBySlot = true;
    assert.ok((await ask(ListOffsets, listed(ListedOffset.latest))).answer !== undefined);
  });
});

describe("a topic that this broker has not heard of", () => {
  const named = {
    topics: [{ name: "orders", topicId: NO_TOPIC_ID }],
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  };
  const asked: readonly Case[] = [
    one("Metadata", Metadata, named),
    one("Metadata of everything", Metadata, { ...named, topics: null }),
    one(
      "Metadata of everything, in the first version",
      Metadata,
      { ...named, topics: [], allowAutoTopicCreation: true },
      0,
    ),
    one("DescribeTopicPartitions", DescribeTopicPartitions, {
      topics: [{ name: "orders" }],
      responsePartitionLimit: 10,
      cursor: null,
    }),
    one("ListOffsets", ListOffsets, listed(ListedOffset.earliest)),
    one("Produce", Produce, produced(buildBatch([aRecord], {})), 12),
    one("Fetch", Fetch, fetched(0), 12),
  ];
  for (const { what, ask } of asked) {
    test(`is looked for in the journal before ${what} answers`, async (t) => {
      const { broker, barrier, ask: over } = await guarded(t);
      // Another broker has made it.
      barrier.onTail = async () => {
        const wanted = { name: "orders", partitionCount: 1, configs: new Map<string, string>() };
        await broker.broker.services.topics.create(wanted);
      };
      const seen = await ask(over);
      assert.equal(barrier.tails, 1);
      barrier.open();
      await pass(broker, 1_000);
      assert.match(JSON.stringify(seen.answer), /"orders"/);
      assert.doesNotMatch(
        JSON.stringify(seen.answer),
        new RegExp(`"errorCode":${ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}\\b`),
      );
    });
  }

  test("that is in the journal nowhere is unknown, and needs no proof besides", async (t) => {
    const { barrier, ask } = await guarded(t);
    const { answer } = await ask(Metadata, named);
    assert.equal(answer?.topics[0]?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    assert.deepEqual([barrier.tails, barrier.asked], [1, 0]);
  });

  test("while the store is silent is not denied: the connection ends", async (t) => {
    const { broker, barrier, ask } = await guarded(t);
    barrier.onTail = () => new Promise(() => undefined);
    const seen = await ask(Metadata, named);
    assert.deepEqual(seen, {});
    await pass(broker, 5_000);
    assert.deepEqual(seen, { failed: true });
  });

  test("what an admin changes is judged by the journal as it is now", async (t) => {
    const { broker, barrier, ask } = await guarded(t);
    await broker.createTopic("orders");
    barrier.onTail = () => broker.broker.services.topics.delete(idOf(broker)).then(() => undefined);
    const topics = [
      { name: "orders", numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] },
    ];
    const { answer } = await ask(CreateTopics, { topics, timeoutMs: 1_000, validateOnly: false });
    assert.equal(answer?.topics[0]?.errorCode, ErrorCode.NONE);
  });

  test("is not called gone to a coordinator that ends a transaction there", async (t) => {
    const { barrier, ask } = await guarded(t);
    const topics = [{ name: "orders", partitionIndexes: [zero] }];
    const marker = {
      ...someone,
      transactionResult: true,
      topics,
      coordinatorEpoch: 0,
      transactionVersion: 2,
    };
    await ask(WriteTxnMarkers, { markers: [marker] });
    assert.equal(barrier.tails, 1);
  });
});

const idOf = (broker: SimulatedBroker) => {
  const id = broker.broker.services.topics.idOf("orders");
  assert.ok(id !== undefined);
  return id;
};
