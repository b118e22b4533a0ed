/** What DescribeCluster, DescribeTopicPartitions, DescribeLogDirs, InitProducerId and OffsetForLeaderEpoch answer. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import {
  leaderEpoch,
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  NO_TOPIC_ID,
  nodeId,
  partitionIndex,
  producerEpoch,
  producerId,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DescribeCluster } from "../../protocol/messages/describe-cluster.ts";
import { DescribeLogDirs } from "../../protocol/messages/describe-log-dirs.ts";
import { DescribeTopicPartitions } from "../../protocol/messages/describe-topic-partitions.ts";
import { InitProducerId, type InitProducerIdRequest } from "../../protocol/messages/init-producer-id.ts";
import { OffsetForLeaderEpoch } from "../../protocol/messages/offset-for-leader-epoch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";

describe("DescribeCluster", () => {
  const ask = (broker: SimulatedBroker, endpointType: number, version = 2) =>
    broker.ask(
      DescribeCluster,
      { includeClusterAuthorizedOperations: true, endpointType, includeFencedBrokers: false },
      version,
    );

  test("tells the id of the cluster and its brokers", async (t) => {
    const broker = await aBroker(t);
    for (const version of [0, 1, 2]) {
      const answer = await ask(broker, 1, version);
      assert.equal(answer.errorCode, ErrorCode.NONE);
      assert.equal(answer.clusterId, broker.broker.services.journal.state.clusterId);
      assert.deepEqual(answer.brokers, [
        { brokerId: 1, host: "127.0.0.1", port: 9092, rack: null, isFenced: false },
      ]);
      assert.equal(answer.clusterAuthorizedOperations, 0b1_1111_1010_0000);
    }
  });

  test("is no controller", async (t) => {
    const broker = await aBroker(t);
    assert.equal((await ask(broker, 2)).errorCode, ErrorCode.MISMATCHED_ENDPOINT_TYPE);
    assert.equal((await ask(broker, 7)).errorCode, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE);
  });
});

describe("DescribeTopicPartitions", () => {
  const page = async (
    broker: SimulatedBroker,
    names: string[],
    limit: number,
    cursor: { topicName: string; partitionIndex: number } | null = null,
  ) => {
    const answer = await broker.ask(DescribeTopicPartitions, {
      topics: names.map((name) => ({ name })),
      responsePartitionLimit: limit,
      cursor: cursor && { ...cursor, partitionIndex: partitionIndex(cursor.partitionIndex) },
    });
    return {
      topics: answer.topics.map(({ name, errorCode, partitions }) => [
        name,
        errorCode,
        ...partitions.map((partition) => partition.partitionIndex),
      ]),
      next: answer.nextCursor,
    };
  };

  test("gives page after page, each partition once", async (t) => {
    const broker = await aBroker(t);
    for (const name of ["b", "a", "c"]) await broker.createTopic(name, 3);
    const first = await page(broker, [], 4);
    assert.deepEqual(first, {
      topics: [
        ["a", 0, 0, 1, 2],
        ["b", 0, 0],
      ],
      next: { topicName: "b", partitionIndex: 1 },
    });
    const second = await page(broker, [], 4, first.next);
    assert.deepEqual(second, {
      topics: [
        ["b", 0, 1, 2],
        ["c", 0, 0, 1],
      ],
      next: { topicName: "c", partitionIndex: 2 },
    });
    assert.deepEqual(await page(broker, [], 4, second.next), { topics: [["c", 0, 2]], next: null });
  });

  test("goes on exactly where a page ended with a topic", async (t) => {
    const broker = await aBroker(t);
    for (const name of ["a", "b"]) await broker.createTopic(name, 2);
    const first = await page(broker, [], 2);
    assert.deepEqual(first, { topics: [["a", 0, 0, 1]], next: { topicName: "b", partitionIndex: 0 } });
    assert.deepEqual((await page(broker, [], 2, first.next)).topics, [["b", 0, 0, 1]]);
  });

  test("tells which topics are not there", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("b");
    const { topics } = await page(broker, ["b", "absent", "a/b", "b"], 10);
    assert.deepEqual(topics, [
      ["a/b", ErrorCode.INVALID_TOPIC_EXCEPTION],
      ["absent", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      ["b", 0, 0],
    ]);
    const wrong = await page(broker, ["b"], 10, { topicName: "b", partitionIndex: -1 });
    assert.deepEqual(wrong.topics, [["b", ErrorCode.INVALID_REQUEST]]);
  });
});

describe("InitProducerId", () => {
  const ask = (broker: SimulatedBroker, over: Partial<InitProducerIdRequest> = {}, version = 5) =>
    broker.ask(
      InitProducerId,
      {
        transactionalId: null,
        transactionTimeoutMs: 0,
        producerId: NO_PRODUCER,
        producerEpoch: NO_PRODUCER_EPOCH,
        ...over,
      },
      version,
    );

  test("never gives an id twice, also over a restart", async (t) => {
    const broker = await aBroker(t);
    const ids = new Set<number>();
    for (let version = 0; version <= 5; version++) {
      const answer = await ask(broker, {}, version);
      assert.deepEqual([answer.errorCode, answer.producerEpoch], [ErrorCode.NONE, 0]);
      ids.add(answer.producerId);
    }
    await broker.restart();
    ids.add((await ask(broker)).producerId);
    assert.equal(ids.size, 7);
  });

  test("refuses a transactional id without characters, and an epoch without an id", async (t) => {
    const broker = await aBroker(t);
    const codes = [
      await ask(broker, { transactionalId: "" }),
      await ask(broker, { producerEpoch: producerEpoch(3) }),
      await ask(broker, { producerId: producerId(3) }),
    ].map(({ errorCode, producerId: id }) => [errorCode, id]);
    assert.deepEqual(codes, Array(3).fill([ErrorCode.INVALID_REQUEST, -1]));
    const goesOn = await ask(broker, { producerId: producerId(3), producerEpoch: producerEpoch(1) });
    assert.equal(goesOn.errorCode, ErrorCode.NONE);
  });
});

/** Sends records of one byte; answers how many bytes the batch had. */
async function produce(broker: SimulatedBroker, topic: string, count: number): Promise<number> {
  const timestamp = broker.broker.services.env.clock.wallMs();
  const batch = buildBatch(
    Array.from({ length: count }, (_, at) => ({ timestamp, value: Uint8Array.of(at) })),
  );
  const { responses } = await broker.ask(
    Produce,
    {
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      topicData: [
        {
          name: topic,
          topicId: NO_TOPIC_ID,
          partitionData: [{ index: partitionIndex(0), records: [batch] }],
        },
      ],
    },
    9,
  );
  assert.equal(responses[0]?.partitionResponses[0]?.errorCode, ErrorCode.NONE);
  return batch.byteLength;
}

describe("DescribeLogDirs", () => {
  const sizes = async (broker: SimulatedBroker, topics: { topic: string; partitions: number[] }[] | null) => {
    const answer = await broker.ask(DescribeLogDirs, {
      topics:
        topics?.map(({ topic, partitions }) => ({ topic, partitions: partitions.map(partitionIndex) })) ??
        null,
    });
    assert.equal(answer.results.length, 1);
    return (answer.results[0]?.topics ?? []).map(({ name, partitions }) => [
      name,
      ...partitions.map(({ partitionSize }) => partitionSize),
    ]);
  };

  test("counts records that are in the log alone and those in segments", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("a", 2);
    await broker.createTopic("b");
    const bytes = await produce(broker, "a", 3);
    assert.deepEqual(await sizes(broker, null), [
      ["a", bytes, 0],
      ["b", 0],
    ]);
    await broker.scheduler.runUntil(broker.broker.flush());
    const [[, flushed]] = (await sizes(broker, [{ topic: "a", partitions: [0] }])) as [[string, number]];
    assert.ok(flushed >= bytes, `${flushed} bytes with the segment's footer`);
  });

  test("tells of the partitions that are named, and leaves unknown ones out", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("a", 2);
    await broker.createTopic("b");
    assert.deepEqual(await sizes(broker, [{ topic: "a", partitions: [1, 9] }]), [["a", 0]]);
    assert.deepEqual(await sizes(broker, [{ topic: "absent", partitions: [0] }]), []);
    assert.deepEqual(await sizes(broker, []), []);
  });
});

describe("OffsetForLeaderEpoch", () => {
  const ask = async (broker: SimulatedBroker, topic: string, epoch: number, current: number, version = 4) => {
    const { topics } = await broker.ask(
      OffsetForLeaderEpoch,
      {
        replicaId: nodeId(-1),
        topics: [
          {
            topic,
            partitions: [
              {
                partition: partitionIndex(0),
                currentLeaderEpoch: leaderEpoch(current),
                leaderEpoch: leaderEpoch(epoch),
              },
            ],
          },
        ],
      },
      version,
    );
    const end = topics[0]?.partitions[0];
    return [end?.errorCode, end?.leaderEpoch, end?.endOffset];
  };

  test("tells where an epoch ended, and the current one's durable end", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("a");
    await produce(broker, "a", 3);
    for (const version of [2, 3, 4]) assert.deepEqual(await ask(broker, "a", 0, -1, version), [0, 0, 3]);
    await broker.restart();
    await produce(broker, "a", 2);
    const { services } = broker.broker;
    const partition = services.partitions.get(services.topics.idOf("a") ?? NO_TOPIC_ID, partitionIndex(0));
    const epoch = partition?.leaderEpoch ?? 0;
    assert.ok(epoch > 0, "a new owner has a new epoch");
    assert.deepEqual(await ask(broker, "a", 0, epoch), [0, 0, 3]);
    assert.deepEqual(await ask(broker, "a", epoch, -1), [0, epoch, 5]);
    assert.deepEqual(await ask(broker, "a", epoch + 5, -1), [0, -1, -1]);
    assert.deepEqual(await ask(broker, "a", 0, 0), [ErrorCode.FENCED_LEADER_EPOCH, -1, -1]);
  });

  test("refuses unknown partitions and epochs of the future", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("a");
    assert.deepEqual(await ask(broker, "absent", 0, -1), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1]);
    assert.deepEqual(await ask(broker, "a", 0, 9), [ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1]);
  });
});
