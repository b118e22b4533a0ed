/** What CreateTopics, DeleteTopics and CreatePartitions do and refuse. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { NO_TOPIC_ID, nodeId, partitionIndex, topicId } from "../../base/ids.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { CreatePartitions } from "../../protocol/messages/create-partitions.ts";
import { CreateTopics, type CreateTopicsRequest } from "../../protocol/messages/create-topics.ts";
import { DeleteTopics } from "../../protocol/messages/delete-topics.ts";

type Wanted = CreateTopicsRequest["topics"][number];

const aTopic = (over: Partial<Wanted> = {}): Wanted => ({
  name: "orders",
  numPartitions: -1,
  replicationFactor: -1,
  assignments: [],
  configs: [],
  ...over,
});

async function create(
  broker: SimulatedBroker,
  topics: readonly Wanted[],
  options: { validateOnly?: boolean } = {},
) {
  const { validateOnly = false } = options;
  return (await broker.ask(CreateTopics, { topics, timeoutMs: 1000, validateOnly })).topics;
}

const assigned = (index: number, ...brokers: number[]) => ({
  partitionIndex: partitionIndex(index),
  brokerIds: brokers.map(nodeId),
});

describe("CreateTopics", () => {
  test("creates with the defaults, and tells id, partitions and configuration", async (t) => {
    const broker = await aBroker(t, { "num.partitions": "4" });
    const [created] = await create(broker, [aTopic({ configs: [{ name: "retention.ms", value: "1000" }] })]);
    assert.equal(created?.errorCode, ErrorCode.NONE);
    assert.notEqual(created.topicId, NO_TOPIC_ID);
    assert.deepEqual([created.numPartitions, created.replicationFactor], [4, 1]);
    const retention = created.configs?.find(({ name }) => name === "retention.ms");
    assert.deepEqual(retention, {
      name: "retention.ms",
      value: "1000",
      readOnly: false,
      configSource: 1,
      isSensitive: false,
    });
    assert.equal(broker.broker.services.topics.byName("orders")?.partitions.length, 4);
  });

  test("accepts any replication factor and any assignment of the right shape", async (t) => {
    const broker = await aBroker(t);
    const results = await create(broker, [
      aTopic({ name: "three", numPartitions: 2, replicationFactor: 3 }),
      aTopic({ name: "assigned", assignments: [assigned(1, 8, 9), assigned(0, 7)] }),
    ]);
    assert.deepEqual(
      results.map(({ errorCode, numPartitions }) => [errorCode, numPartitions]),
      [
        [0, 2],
        [0, 2],
      ],
    );
  });

  test("only looks whether it could, when it is asked to validate", async (t) => {
    const broker = await aBroker(t);
    const [valid] = await create(broker, [aTopic({ numPartitions: 7 })], { validateOnly: true });
    assert.deepEqual([valid?.errorCode, valid?.numPartitions, valid?.topicId], [0, 7, NO_TOPIC_ID]);
    assert.equal(broker.broker.services.topics.byName("orders"), undefined);
    const [invalid] = await create(broker, [aTopic({ name: "" })], { validateOnly: true });
    assert.equal(invalid?.errorCode, ErrorCode.INVALID_TOPIC_EXCEPTION);
  });

  const refused: { what: string; topic: Partial<Wanted>; code: keyof typeof ErrorCode; message: RegExp }[] = [
    { what: "an empty name", topic: { name: "" }, code: "INVALID_TOPIC_EXCEPTION", message: /empty/ },
    { what: "the name '..'", topic: { name: ".." }, code: "INVALID_TOPIC_EXCEPTION", message: /'\.\.'/ },
    {
      what: "a name with a slash",
      topic: { name: "a/b" },
      code: "INVALID_TOPIC_EXCEPTION",
      message: /ASCII/,
    },
    {
      what: "a name of 250 characters",
      topic: { name: "x".repeat(250) },
      code: "INVALID_TOPIC_EXCEPTION",
      message: /249/,
    },
    {
      what: "a name that exists",
      topic: { name: "there.is" },
      code: "TOPIC_ALREADY_EXISTS",
      message: /exists/,
    },
    {
      what: "a name that differs in a dot from one that exists",
      topic: { name: "there_is" },
      code: "INVALID_TOPIC_EXCEPTION",
      message: /collides with topic 'there\.is'/,
    },
    { what: "no partition", topic: { numPartitions: 0 }, code: "INVALID_PARTITIONS", message: /positive/ },
    { what: "-2 partitions", topic: { numPartitions: -2 }, code: "INVALID_PARTITIONS", message: /positive/ },
    {
      what: "more partitions than a broker may have",
      topic: { numPartitions: 101 },
      code: "INVALID_PARTITIONS",
      message: /holdfast\.partitions\.max/,
    },
    {
      what: "a replication factor of 0",
      topic: { replicationFactor: 0 },
      code: "INVALID_REPLICATION_FACTOR",
      message: /positive/,
    },
    {
      what: "an assignment together with a number of partitions",
      topic: { numPartitions: 1, assignments: [assigned(0, 1)] },
      code: "INVALID_REQUEST",
      message: /-1/,
    },
    {
      what: "an assignment with a gap",
      topic: { assignments: [assigned(0, 1), assigned(2, 1)] },
      code: "INVALID_REPLICA_ASSIGNMENT",
      message: /0, 1, 2/,
    },
    {
      what: "an assignment to nobody",
      topic: { assignments: [assigned(0)] },
      code: "INVALID_REPLICA_ASSIGNMENT",
      message: /at least one/,
    },
    {
      what: "an assignment that names a broker twice",
      topic: { assignments: [assigned(0, 1, 1)] },
      code: "INVALID_REPLICA_ASSIGNMENT",
      message: /each once/,
    },
    {
      what: "an unknown setting",
      topic: { configs: [{ name: "no.such", value: "1" }] },
      code: "INVALID_CONFIG",
      message: /no topic setting no\.such/,
    },
    {
      what: "a setting without a value",
      topic: { configs: [{ name: "retention.ms", value: null }] },
      code: "INVALID_CONFIG",
      message: /no value/,
    },
    {
      what: "a setting that is out of its range",
      topic: { configs: [{ name: "retention.ms", value: "-7" }] },
      code: "INVALID_CONFIG",
      message: /at least -1/,
    },
    {
      what: "a setting that is no number",
      topic: { configs: [{ name: "segment.bytes", value: "big" }] },
      code: "INVALID_CONFIG",
      message: /whole number/,
    },
    {
      what: "settings that contradict each other",
      topic: {
        configs: [
          { name: "min.compaction.lag.ms", value: "10" },
          { name: "max.compaction.lag.ms", value: "5" },
        ],
      },
      code: "INVALID_CONFIG",
      message: /must not be greater/,
    },
  ];

  test("refuses what does not hold, and creates the rest of the request", async (t) => {
    const broker = await aBroker(t, { "holdfast.partitions.max": "100" });
    await broker.createTopic("there.is");
    for (const [number, { what, topic, code, message }] of refused.entries()) {
      const [first, second] = await create(broker, [aTopic(topic), aTopic({ name: `beside-${number}` })]);
      assert.equal(errorFacts(first?.errorCode ?? 0).name, code, what);
      assert.match(first?.errorMessage ?? "", message, what);
      assert.deepEqual(
        [first?.numPartitions, first?.replicationFactor, first?.topicId],
        [-1, -1, NO_TOPIC_ID],
      );
      assert.equal(second?.errorCode, ErrorCode.NONE, what);
    }
    assert.equal(broker.broker.services.topics.byName("orders"), undefined);
  });

  test("makes at most 10,000 partitions in one request, as Kafka", async (t) => {
    const broker = await aBroker(t);
    const topics = [
      aTopic({ name: "a", numPartitions: 9_990 }),
      aTopic({ name: "b", numPartitions: 11 }),
      aTopic({ name: "c", numPartitions: 10 }),
    ];
    const results = await create(broker, topics, { validateOnly: true });
    assert.deepEqual(
      results.map(({ errorCode }) => errorFacts(errorCode).name),
      ["NONE", "POLICY_VIOLATION", "NONE"],
    );
  });

  test("refuses a topic that one request names twice, once", async (t) => {
    const broker = await aBroker(t);
    const results = await create(broker, [aTopic(), aTopic({ name: "other" }), aTopic()]);
    assert.deepEqual(
      results.map(({ name, errorCode }) => [name, errorCode]),
      [
        ["orders", ErrorCode.INVALID_REQUEST],
        ["other", ErrorCode.NONE],
      ],
    );
  });

  test("gives a name to one of two clients that want it at the same time", async (t) => {
    const broker = await aBroker(t);
    const request = { topics: [aTopic()], timeoutMs: 1000, validateOnly: false };
    const [a, b] = [broker.connect(), broker.connect()];
    const answers = await broker.scheduler.runUntil(
      Promise.all([a.call(CreateTopics, 7, request), b.call(CreateTopics, 7, request)]),
    );
    assert.deepEqual(
      new Set(answers.map(({ topics }) => topics[0]?.errorCode)),
      new Set([ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS]),
    );
  });

  test("a full disk refuses with an error that can be tried again, and creates when there is room", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("before");
    broker.disk.capacityBytes = 0;
    const [refused] = await create(broker, [aTopic()]);
    assert.equal(refused?.errorCode, ErrorCode.KAFKA_STORAGE_ERROR);
    assert.match(refused?.errorMessage ?? "", /ENOSPC/);
    assert.equal(broker.broker.services.topics.byName("orders"), undefined);
    broker.disk.capacityBytes = Number.POSITIVE_INFINITY;
    const [created] = await create(broker, [aTopic()]);
    assert.equal(created?.errorCode, ErrorCode.NONE);
  });

  test("every version creates, and what was created is there after a restart", async (t) => {
    const broker = await aBroker(t);
    const versions = [2, 3, 4, 5, 6, 7];
    for (const version of versions) {
      const request = { topics: [aTopic({ name: `v${version}` })], timeoutMs: 1, validateOnly: false };
      const { topics } = await broker.ask(CreateTopics, request, version);
      assert.equal(topics[0]?.errorCode, ErrorCode.NONE);
    }
    await broker.restart();
    const { topics, partitions } = broker.broker.services;
    const names = Array.from(topics.all(), ({ name, id }) => [name, partitions.ofTopic(id).length]);
    assert.deepEqual(
      names,
      versions.map((version) => [`v${version}`, 1]),
    );
  });
});

describe("DeleteTopics", () => {
  const byName = (...names: string[]) => ({
    topics: names.map((name) => ({ name, topicId: NO_TOPIC_ID })),
    topicNames: [],
    timeoutMs: 1000,
  });

  test("deletes by name, in old and new versions, and by id", async (t) => {
    const broker = await aBroker(t);
    for (const name of ["a", "b", "c"]) await broker.createTopic(name);
    const [first] = (await broker.ask(DeleteTopics, byName("a"))).responses;
    assert.deepEqual([first?.errorCode, first?.name], [ErrorCode.NONE, "a"]);
    const old = await broker.ask(DeleteTopics, { topics: [], topicNames: ["b"], timeoutMs: 1000 }, 3);
    assert.equal(old.responses[0]?.errorCode, ErrorCode.NONE);
    const id = broker.broker.services.topics.idOf("c") ?? NO_TOPIC_ID;
    const byId = { topics: [{ name: null, topicId: id }], topicNames: [], timeoutMs: 1000 };
    const [last] = (await broker.ask(DeleteTopics, byId)).responses;
    assert.deepEqual([last?.errorCode, last?.name, last?.topicId], [ErrorCode.NONE, "c", id]);
    assert.deepEqual([...broker.broker.services.topics.all()], []);
  });

  test("refuses what is not there, what is named twice, and what has both names or none", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("a");
    const id = topicId("abcdefghijklmnopqrstuQ");
    const { responses } = await broker.ask(DeleteTopics, {
      topics: [
        { name: "absent", topicId: NO_TOPIC_ID },
        { name: null, topicId: id },
        { name: "a", topicId: NO_TOPIC_ID },
        { name: "a", topicId: NO_TOPIC_ID },
        { name: "both", topicId: id },
        { name: null, topicId: NO_TOPIC_ID },
      ],
      topicNames: [],
      timeoutMs: 1000,
    });
    assert.deepEqual(
      responses.map(({ errorCode }) => errorFacts(errorCode).name),
      [
        "UNKNOWN_TOPIC_OR_PARTITION",
        "UNKNOWN_TOPIC_ID",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
      ],
    );
    assert.ok(broker.broker.services.topics.byName("a") !== undefined);
  });

  test("delete.topic.enable=false keeps all topics", async (t) => {
    const broker = await aBroker(t, { "delete.topic.enable": "false" });
    await broker.createTopic("a");
    const [kept] = (await broker.ask(DeleteTopics, byName("a"))).responses;
    assert.equal(kept?.errorCode, ErrorCode.TOPIC_DELETION_DISABLED);
    const old = await broker.ask(DeleteTopics, { topics: [], topicNames: ["a"], timeoutMs: 1000 }, 2);
    assert.equal(old.responses[0]?.errorCode, ErrorCode.INVALID_REQUEST);
  });
});

describe("CreatePartitions", () => {
  const add = async (
    broker: SimulatedBroker,
    over: { name?: string; count: number; assignments?: { brokerIds: ReturnType<typeof nodeId>[] }[] | null },
    validateOnly = false,
  ) => {
    const topics = [{ name: "orders", assignments: null, ...over }];
    return (await broker.ask(CreatePartitions, { topics, timeoutMs: 1000, validateOnly })).results[0];
  };
  const countOf = (broker: SimulatedBroker) =>
    broker.broker.services.topics.byName("orders")?.partitions.length;

  test("gives a topic more partitions", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 2);
    assert.equal((await add(broker, { count: 3 }, true))?.errorCode, ErrorCode.NONE);
    assert.equal(countOf(broker), 2);
    assert.equal((await add(broker, { count: 3 }))?.errorCode, ErrorCode.NONE);
    assert.equal((await add(broker, { count: 4, assignments: [{ brokerIds: [nodeId(9)] }] }))?.errorCode, 0);
    assert.equal(countOf(broker), 4);
    const { services } = broker.broker;
    assert.equal(services.partitions.ofTopic(services.topics.idOf("orders") ?? NO_TOPIC_ID).length, 4);
  });

  test("refuses fewer, as many, too many, wrong assignments and unknown topics", async (t) => {
    const broker = await aBroker(t, { "holdfast.partitions.max": "10" });
    await broker.createTopic("orders", 2);
    const refusals = [
      await add(broker, { count: 2 }),
      await add(broker, { count: 1 }),
      await add(broker, { count: 11 }),
      await add(broker, { count: 3, assignments: [] }),
      await add(broker, { count: 3, assignments: [{ brokerIds: [] }] }),
      await add(broker, { name: "absent", count: 3 }),
    ];
    assert.deepEqual(
      refusals.map((result) => errorFacts(result?.errorCode ?? 0).name),
      [
        "INVALID_PARTITIONS",
        "INVALID_PARTITIONS",
        "INVALID_PARTITIONS",
        "INVALID_REPLICA_ASSIGNMENT",
        "INVALID_REPLICA_ASSIGNMENT",
        "UNKNOWN_TOPIC_OR_PARTITION",
      ],
    );
    assert.equal(refusals[0]?.errorMessage, "Topic 'orders' already has 2 partition(s).");
    assert.equal(countOf(broker), 2);
  });
});
