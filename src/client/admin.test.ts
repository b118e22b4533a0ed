import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import type { Admin } from "./admin.ts";
import { PartlyRefusedError } from "./admin-outcome.ts";
import { createClient } from "./client.ts";
import { BrokerRefusedError, ConnectionLostError, NoBrokerError, UnknownTopicError } from "./errors.ts";

async function anAdmin(test: TestContext): Promise<{
  readonly broker: SimulatedBroker;
  readonly admin: Admin;
  readonly run: <T>(promise: Promise<T>) => Promise<T>;
}> {
  const broker = await aBroker(test);
  const client = createClient({ bootstrap: broker.address }, broker.clientPorts());
  test.after(() => client.close());
  const admin = client.admin();
  return { broker, admin, run: (promise) => broker.scheduler.runUntil(promise) };
}

describe("an admin", () => {
  it("creates topics, lists them by name and deletes them", async (test) => {
    const { admin, run } = await anAdmin(test);
    const created = await run(admin.createTopics([{ topic: "b", partitions: 3 }, { topic: "a" }]));
    assert.deepEqual(
      created.map(({ topic, partitions }) => [topic, partitions]),
      [
        ["b", 3],
        ["a", 1],
      ],
    );
    const listed = await run(admin.listTopics());
    assert.deepEqual(
      listed.map(({ name, partitions, id }) => [name, partitions, id]),
      [
        ["a", 1, created[1]!.id],
        ["b", 3, created[0]!.id],
      ],
    );
    await run(admin.deleteTopic("a"));
    assert.deepEqual(
      (await run(admin.listTopics())).map(({ name }) => name),
      ["b"],
    );
  });

  it("says in a sentence what a broker refuses, with Kafka's name for it", async (test) => {
    const { admin, run } = await anAdmin(test);
    await run(admin.createTopic("t"));
    await run(
      assert.rejects(admin.createTopic("t"), (cause: unknown) => {
        assert(cause instanceof BrokerRefusedError);
        assert.equal(cause.code, "TOPIC_ALREADY_EXISTS");
        assert.match(cause.message, /^Creating topic "t" was refused: .+ \(TOPIC_ALREADY_EXISTS\)\.$/);
        return true;
      }),
    );
    await run(assert.rejects(admin.deleteTopic("none"), { code: "UNKNOWN_TOPIC_OR_PARTITION" }));
    await run(
      assert.rejects(admin.createTopic({ topic: "u", partitions: -5 }), { code: "INVALID_PARTITIONS" }),
    );
  });

  it("says which of several were done when others were refused", async (test) => {
    const { admin, run } = await anAdmin(test);
    await run(admin.createTopic("t"));
    await run(
      assert.rejects(admin.createTopics([{ topic: "t" }, { topic: "u" }]), (cause: unknown) => {
        assert(cause instanceof PartlyRefusedError);
        assert.deepEqual(
          [cause.done, cause.refused.map(({ code }) => code)],
          [["u"], ["TOPIC_ALREADY_EXISTS"]],
        );
        return true;
      }),
    );
    assert.equal((await run(admin.listTopics())).length, 2);
  });

  it("only finds out with validateOnly", async (test) => {
    const { admin, run } = await anAdmin(test);
    await run(admin.createTopic("t", { validateOnly: true }));
    assert.deepEqual(await run(admin.listTopics()), []);
  });

  it("describes partitions with their leaders and offsets", async (test) => {
    const { broker, admin, run } = await anAdmin(test);
    await run(admin.createTopic({ topic: "t", partitions: 2 }));
    await broker.write("t", ["a", "b"], { partition: 1 });
    const { partitions } = await run(admin.describeTopic("t"));
    assert.deepEqual(
      partitions.map(({ partition, start, end }) => [partition, start, end]),
      [
        [0, 0, 0],
        [1, 0, 2],
      ],
    );
    assert.deepEqual(partitions[0]!.replicas, [partitions[0]!.leader]);
  });

  it("names similar topics when the one that is described is not there", async (test) => {
    const { admin, run } = await anAdmin(test);
    await run(admin.createTopic("orders"));
    await run(
      assert.rejects(admin.describeTopic("ordres"), (cause: unknown) => {
        assert(cause instanceof UnknownTopicError);
        assert.deepEqual(cause.similar, ["orders"]);
        return true;
      }),
    );
  });

  it("gives topics more partitions, and refuses fewer", async (test) => {
    const { admin, run } = await anAdmin(test);
    await run(admin.createTopic("t"));
    await run(admin.createPartitions([{ topic: "t", partitions: 4 }]));
    assert.equal((await run(admin.describeTopic("t"))).partitions.length, 4);
    const fewer = admin.createPartitions([{ topic: "t", partitions: 2 }]);
    await run(assert.rejects(fewer, { code: "INVALID_PARTITIONS" }));
  });

  it("changes single keys of a configuration and tells where values come from", async (test) => {
    const { admin, run } = await anAdmin(test);
    await run(admin.createTopic({ topic: "t", configs: { "retention.ms": "1000" } }));
    await run(admin.alterConfigs([{ topic: "t", set: { "segment.bytes": "1048576" } }]));
    const entry = async (name: string) => {
      const [described] = await run(admin.describeConfigs([{ topic: "t" }]));
      const found = described!.entries.find((each) => each.name === name)!;
      return [found.value, found.source, found.isDefault];
    };
    assert.deepEqual(await entry("retention.ms"), ["1000", "topic", false]);
    assert.deepEqual(await entry("segment.bytes"), ["1048576", "topic", false]);
    await run(admin.alterConfigs([{ topic: "t", remove: ["retention.ms"] }]));
    assert.deepEqual(await entry("retention.ms"), ["604800000", "default", true]);
    const wrong = admin.alterConfigs([{ topic: "t", set: { "no.such.key": "1" } }]);
    await run(assert.rejects(wrong, { code: "INVALID_CONFIG" }));
  });

  it("tells a broker's configuration, and that there is no other broker", async (test) => {
    const { admin, run } = await anAdmin(test);
    const { brokers } = await run(admin.describeCluster());
    const broker = brokers[0]!.id;
    const [described] = await run(admin.describeConfigs([{ broker }], { keys: ["num.partitions"] }));
    assert.deepEqual(described!.owner, { broker });
    assert.deepEqual(
      described!.entries.map(({ name, value, type }) => [name, value, type]),
      [["num.partitions", "1", "int"]],
    );
    const other = admin.describeConfigs([{ broker: broker + 1 }]);
    await run(assert.rejects(other, { code: "BROKER_NOT_AVAILABLE" }));
  });

  it("lists offsets: both ends, a time, the largest timestamp", async (test) => {
    const { broker, admin, run } = await anAdmin(test);
    await run(admin.createTopic("t"));
    await broker.write("t", ["a", "b", "c"], { beginMs: 1_700_000_000_000 });
    const at = async (spec: Parameters<Admin["listOffsets"]>[0][number]["at"]) => {
      const [found] = await run(admin.listOffsets([{ topic: "t", partition: 0, at: spec }]));
      return [found!.offset, found!.timestampMs];
    };
    assert.deepEqual(await at("earliest"), [0, -1]);
    assert.deepEqual(await at("latest"), [3, -1]);
    assert.deepEqual(await at({ timeMs: 1_700_000_000_500 }), [1, 1_700_000_001_000]);
    assert.deepEqual(await at({ timeMs: 1_700_000_009_000 }), [-1, -1]);
    assert.deepEqual(await at("max-timestamp"), [2, 1_700_000_002_000]);
  });

  it("deletes the oldest records of partitions, and says where each begins then", async (test) => {
    const { broker, admin, run } = await anAdmin(test);
    await run(admin.createTopic({ topic: "t", partitions: 2 }));
    await run(admin.createTopic({ topic: "state", configs: { "cleanup.policy": "compact" } }));
    await broker.write("t", ["a", "b", "c"]);
    const both = [
      { topic: "t", partition: 1, before: "end" },
      { topic: "t", partition: 0, before: 2 },
    ] as const;
    assert.deepEqual(await run(admin.deleteRecords(both)), [
      { topic: "t", partition: 1, start: 0 },
      { topic: "t", partition: 0, start: 2 },
    ]);
    const [t] = await run(admin.describeTopics(["t"]));
    assert.deepEqual(
      t?.partitions.map(({ start, end }) => [start, end]),
      [
        [2, 3],
        [0, 0],
      ],
    );
    const beyond = admin.deleteRecords([{ topic: "t", partition: 0, before: 4 }]);
    await run(
      assert.rejects(beyond, { code: "OFFSET_OUT_OF_RANGE", message: /"t\/0" .*end of the partition/ }),
    );
    const compacted = [{ topic: "state", partition: 0, before: 0 }, { ...both[1] }];
    await run(
      assert.rejects(admin.deleteRecords(compacted), (cause: unknown) => {
        assert(cause instanceof PartlyRefusedError);
        assert.deepEqual(cause.done, ["t/0"]);
        assert.match(cause.message, /only compacted/);
        return true;
      }),
    );
  });

  it("describes the cluster and what its logs take", async (test) => {
    const { broker, admin, run } = await anAdmin(test);
    await run(admin.createTopic("t"));
    await broker.write("t", ["a"]);
    const cluster = await run(admin.describeCluster());
    assert.deepEqual(
      cluster.brokers.map(({ host, port }) => [host, port]),
      [["127.0.0.1", 9092]],
    );
    const [directory] = await run(admin.describeLogDirs());
    assert.equal(directory!.broker, cluster.brokers[0]!.id);
    const [partition] = directory!.partitions;
    assert.equal(partition!.topic, "t");
    assert(partition!.sizeBytes > 0);
  });

  it("looks for a broker as long as it was told to, and not again after that", async (test) => {
    const broker = await aBroker(test);
    const client = createClient(
      { bootstrap: "127.0.0.1:1", bootstrapTimeoutMs: 1_000 },
      broker.clientPorts(),
    );
    test.after(() => client.close());
    const begunMs = broker.scheduler.nowMs;
    await broker.scheduler.runUntil(assert.rejects(client.admin().describeTopics(["t"]), NoBrokerError));
    assert.ok(broker.scheduler.nowMs - begunMs < 2_000);
  });

  it("does not ask for a change twice: it says that it may have been done", async (test) => {
    const { broker, admin, run } = await anAdmin(test);
    await run(admin.listTopics());
    const creating = admin.createTopic("t");
    const rejected = assert.rejects(creating, (cause: unknown) => {
      assert(cause instanceof ConnectionLostError);
      assert.match(
        cause.message,
        /^It is not known whether creating "t" was done; look before asking again\. /,
      );
      return true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    broker.crash();
    await run(rejected);
    await broker.boot();
  });
});
