import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { NO_TOPIC_ID, topicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import { Metadata, type MetadataRequest } from "../../protocol/messages/metadata.ts";

const aRequest = (over: Partial<MetadataRequest> = {}): MetadataRequest => ({
  topics: null,
  allowAutoTopicCreation: false,
  includeClusterAuthorizedOperations: false,
  includeTopicAuthorizedOperations: false,
  ...over,
});

const named = (...names: string[]) => names.map((name) => ({ name, topicId: NO_TOPIC_ID }));

async function topicsOf(broker: SimulatedBroker, over: Partial<MetadataRequest>, version?: number) {
  return (await broker.ask(Metadata, aRequest(over), version)).topics;
}

test("a broker is known by the address that the client connected to", async (t) => {
  const broker = await aBroker(t, { "node.id": "4", "broker.rack": "r1" });
  const answer = await broker.ask(Metadata, aRequest());
  assert.deepEqual(answer.brokers, [{ nodeId: 4, host: "127.0.0.1", port: 9092, rack: "r1" }]);
  assert.equal(answer.controllerId, 4);
  assert.match(answer.clusterId ?? "", /^[\w-]{22}$/);
});

test("every version tells a topic with its owner", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders", 2);
  for (let version = 0; version <= 13; version++) {
    const request: Partial<MetadataRequest> = {
      topics: named("orders"),
      allowAutoTopicCreation: version < 4,
    };
    const [topic] = await topicsOf(broker, request, version);
    assert.equal(topic?.errorCode, ErrorCode.NONE);
    assert.equal(topic.name, "orders");
    assert.deepEqual(
      topic.partitions.map(({ partitionIndex, leaderId, replicaNodes, isrNodes }) => [
        partitionIndex,
        leaderId,
        replicaNodes,
        isrNodes,
      ]),
      [
        [0, 1, [1], [1]],
        [1, 1, [1], [1]],
      ],
    );
  }
});

test("no topics are asked for by an empty list, all by null and in version 0 by an empty list", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("a");
  await broker.createTopic("b");
  const names = async (topics: MetadataRequest["topics"], version: number) =>
    (await topicsOf(broker, { topics, allowAutoTopicCreation: true }, version)).map(({ name }) => name);
  assert.deepEqual(await names([], 1), []);
  assert.deepEqual(await names(null, 1), ["a", "b"]);
  assert.deepEqual(await names([], 0), ["a", "b"]);
  assert.deepEqual(await names(named("b", "b"), 12), ["b"]);
});

test("a topic is asked for by its id from version 12 on", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders");
  const [byName] = await topicsOf(broker, { topics: named("orders") });
  const id = byName?.topicId ?? NO_TOPIC_ID;
  const [byId] = await topicsOf(broker, { topics: [{ name: null, topicId: id }] });
  assert.equal(byId?.name, "orders");
  const unknown = topicId("abcdefghijklmnopqrstuQ");
  const [absent] = await topicsOf(broker, { topics: [{ name: null, topicId: unknown }] });
  assert.equal(absent?.errorCode, ErrorCode.UNKNOWN_TOPIC_ID);
  assert.deepEqual([absent.name, absent.topicId], [null, unknown]);
  const [tooEarly] = await topicsOf(broker, { topics: [{ name: null, topicId: id }] }, 11);
  assert.equal(tooEarly?.errorCode, ErrorCode.INVALID_REQUEST);
});

test("a topic that is not there is refused, made on first use only when client and broker want it", async (t) => {
  const broker = await aBroker(t, { "num.partitions": "3" });
  const [absent] = await topicsOf(broker, { topics: named("new") });
  assert.equal(absent?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  const [made] = await topicsOf(broker, { topics: named("new"), allowAutoTopicCreation: true });
  assert.equal(made?.errorCode, ErrorCode.NONE);
  assert.equal(made.partitions.length, 3);
  assert.ok(
    made.partitions.every(({ leaderId, errorCode }) => leaderId === 1 && errorCode === ErrorCode.NONE),
  );
  const [wrong] = await topicsOf(broker, { topics: named("no/name"), allowAutoTopicCreation: true });
  assert.equal(wrong?.errorCode, ErrorCode.INVALID_TOPIC_EXCEPTION);
  const [internal] = await topicsOf(broker, {
    topics: named("__consumer_offsets"),
    allowAutoTopicCreation: true,
  });
  assert.equal(internal?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(internal.isInternal, true);
});

test("first uses stop where the broker has as many partitions as it may", async (t) => {
  const broker = await aBroker(t, { "holdfast.partitions.max": "2" });
  const topics = await topicsOf(broker, { topics: named("a", "b", "c"), allowAutoTopicCreation: true });
  const { NONE, INVALID_PARTITIONS } = ErrorCode;
  assert.deepEqual(
    topics.map(({ errorCode }) => errorCode),
    [NONE, NONE, INVALID_PARTITIONS],
  );
});

test("auto.create.topics.enable=false makes no topic on first use", async (t) => {
  const broker = await aBroker(t, { "auto.create.topics.enable": "false" });
  const [absent] = await topicsOf(broker, { topics: named("new"), allowAutoTopicCreation: true });
  assert.equal(absent?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.deepEqual(await topicsOf(broker, {}), []);
});

test("operations are listed when they are asked for", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("a");
  const [plain] = await topicsOf(broker, {});
  assert.equal(plain?.topicAuthorizedOperations, OPERATIONS_NOT_ASKED);
  const asked = await broker.ask(
    Metadata,
    aRequest({ includeTopicAuthorizedOperations: true, includeClusterAuthorizedOperations: true }),
    10,
  );
  // READ 3, WRITE 4, CREATE 5, DELETE 6, ALTER 7, DESCRIBE 8, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11.
  assert.equal(asked.topics[0]?.topicAuthorizedOperations, 0b1101_1111_1000);
  // CREATE 5, ALTER 7, DESCRIBE 8, CLUSTER_ACTION 9, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11, IDEMPOTENT_WRITE 12.
  assert.equal(asked.clusterAuthorizedOperations, 0b1_1111_1010_0000);
});
