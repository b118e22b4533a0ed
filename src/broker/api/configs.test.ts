/** What DescribeConfigs shows, and what AlterConfigs and IncrementalAlterConfigs change and refuse. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { AlterConfigs } from "../../protocol/messages/alter-configs.ts";
import {
  ConfigResource,
  ConfigType,
  DescribeConfigs,
  type DescribeConfigsRequest,
} from "../../protocol/messages/describe-configs.ts";
import { ConsumerGroupHeartbeat } from "../../protocol/messages/consumer-group-heartbeat.ts";
import { ListConfigResources } from "../../protocol/messages/list-config-resources.ts";
import {
  ConfigOperation,
  IncrementalAlterConfigs,
} from "../../protocol/messages/incremental-alter-configs.ts";
import { ConfigSource } from "../setting.ts";

const { topic: topicResource, broker: brokerResource } = ConfigResource;

async function shown(
  broker: SimulatedBroker,
  resourceType: number,
  resourceName: string,
  over: Partial<Omit<DescribeConfigsRequest, "resources">> & { keys?: string[] | null } = {},
) {
  const { keys = null, ...flags } = over;
  const { results } = await broker.ask(DescribeConfigs, {
    resources: [{ resourceType, resourceName, configurationKeys: keys }],
    includeSynonyms: false,
    includeDocumentation: false,
    ...flags,
  });
  const [result] = results;
  assert.ok(result !== undefined);
  return result;
}

/** Value and source of one key. */
async function valueOf(broker: SimulatedBroker, type: number, name: string, key: string) {
  const { configs } = await shown(broker, type, name, { keys: [key] });
  return [configs[0]?.value, configs[0]?.configSource];
}

type Edit = { name: string; op: keyof typeof ConfigOperation; value?: string | null };

async function edit(
  broker: SimulatedBroker,
  resourceType: number,
  resourceName: string,
  edits: readonly Edit[],
  validateOnly = false,
) {
  const configs = edits.map(({ name, op, value = null }) => ({
    name,
    configOperation: ConfigOperation[op],
    value,
  }));
  const { responses } = await broker.ask(IncrementalAlterConfigs, {
    resources: [{ resourceType, resourceName, configs }],
    validateOnly,
  });
  return { code: errorFacts(responses[0]?.errorCode ?? 0).name, message: responses[0]?.errorMessage ?? "" };
}

describe("DescribeConfigs", () => {
  test("shows every key of a Kafka topic with type, default and source", async (t) => {
    const broker = await aBroker(t, { "log.retention.hours": "2" });
    await broker.createTopic("orders", 1, { "cleanup.policy": "compact" });
    const { configs } = await shown(broker, topicResource, "orders", { includeDocumentation: true });
    assert.equal(configs.length, 37);
    const byName = new Map(configs.map((config) => [config.name, config]));
    const facts = (name: string) => {
      const config = byName.get(name);
      return [config?.value, config?.configSource, config?.configType];
    };
    assert.deepEqual(facts("cleanup.policy"), ["compact", ConfigSource.topic, ConfigType.list]);
    assert.deepEqual(facts("retention.ms"), ["7200000", ConfigSource.staticBroker, ConfigType.long]);
    assert.deepEqual(facts("max.message.bytes"), ["1048588", ConfigSource.default, ConfigType.int]);
    assert.deepEqual(facts("flush.ms"), ["9223372036854775807", ConfigSource.default, ConfigType.long]);
    assert.deepEqual(facts("preallocate"), ["false", ConfigSource.default, ConfigType.boolean]);
    for (const { readOnly, isSensitive, documentation, synonyms } of configs) {
      assert.deepEqual([readOnly, isSensitive, synonyms], [false, false, []]);
      assert.ok((documentation ?? "").length > 0);
    }
  });

  test("tells every place where a value is set when it is asked for synonyms", async (t) => {
    const broker = await aBroker(t, { "log.retention.ms": "50" });
    await broker.createTopic("orders", 1, { "retention.ms": "10" });
    const { configs } = await shown(broker, topicResource, "orders", {
      keys: ["retention.ms"],
      includeSynonyms: true,
    });
    assert.deepEqual(configs[0]?.synonyms, [
      { name: "retention.ms", value: "10", source: ConfigSource.topic },
      { name: "log.retention.ms", value: "50", source: ConfigSource.staticBroker },
    ]);
    assert.equal(configs[0]?.documentation, null);
  });

  test("a default is a synonym where a key of the broker has it, and only there", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const keys = ["retention.ms", "leader.replication.throttled.replicas", "cleanup.policy"];
    const ofTopic = await shown(broker, topicResource, "orders", { keys, includeSynonyms: true });
    assert.deepEqual(Object.fromEntries(ofTopic.configs.map(({ name, synonyms }) => [name, synonyms])), {
      "retention.ms": [],
      "leader.replication.throttled.replicas": [],
      "cleanup.policy": [{ name: "log.cleanup.policy", value: "delete", source: ConfigSource.default }],
    });
    const keyless = await shown(broker, brokerResource, "1", {
      keys: ["broker.rack"],
      includeSynonyms: true,
    });
    assert.deepEqual(keyless.configs[0]?.synonyms, []);
  });

  test("shows every key of a Kafka broker, those without an effect too, and hides passwords", async (t) => {
    const broker = await aBroker(t, { "ssl.key.password": "secret", "num.io.threads": "3" });
    const { configs } = await shown(broker, brokerResource, "1", { includeSynonyms: true });
    const byName = new Map(configs.map((config) => [config.name, config]));
    assert.ok(configs.length > 300);
    assert.equal(byName.size, configs.length);
    const threads = byName.get("num.io.threads");
    assert.deepEqual(
      [threads?.value, threads?.configSource, threads?.readOnly],
      ["3", ConfigSource.staticBroker, false],
    );
    const password = byName.get("ssl.key.password");
    assert.deepEqual(
      [password?.value, password?.isSensitive, password?.configType],
      [null, true, ConfigType.password],
    );
    assert.ok(password?.synonyms.every(({ value }) => value === null));
    assert.equal(byName.get("node.id")?.readOnly, true);
    assert.equal(byName.get("log.retention.ms")?.value, null);
    assert.equal(byName.get("log.retention.hours")?.value, "168");
  });

  test("gives the keys that are named, unknown ones left out", async (t) => {
    const broker = await aBroker(t);
    const { configs } = await shown(broker, brokerResource, "1", { keys: ["max.connections", "no.such"] });
    assert.deepEqual(
      configs.map(({ name }) => name),
      ["max.connections"],
    );
  });

  test("tells a resource once, however often it is named", async (t) => {
    const broker = await aBroker(t);
    const resource = { resourceType: brokerResource, resourceName: "1", configurationKeys: null };
    const { results } = await broker.ask(DescribeConfigs, {
      resources: Array(50).fill(resource) as (typeof resource)[],
      includeSynonyms: false,
      includeDocumentation: false,
    });
    assert.equal(results.length, 1);
  });

  test("refuses what it cannot tell", async (t) => {
    const broker = await aBroker(t);
    const codes = [
      await shown(broker, topicResource, "absent"),
      await shown(broker, topicResource, "a/b"),
      await shown(broker, brokerResource, "7"),
      await shown(broker, brokerResource, "one"),
      await shown(broker, ConfigResource.clientMetrics, "m"),
      await shown(broker, 99, "x"),
    ].map(({ errorCode }) => errorFacts(errorCode).name);
    assert.deepEqual(codes, [
      "UNKNOWN_TOPIC_OR_PARTITION",
      "INVALID_TOPIC_EXCEPTION",
      "INVALID_REQUEST",
      "INVALID_REQUEST",
      "INVALID_REQUEST",
      "INVALID_REQUEST",
    ]);
  });
});

describe("the settings of a group", () => {
  const group = ConfigResource.group;
  const session = "consumer.session.timeout.ms";

  test("are those of all groups until something is set for it, also over a restart", async (t) => {
    const broker = await aBroker(t, { "group.consumer.session.timeout.ms": "50000" });
    assert.equal(
      (await edit(broker, group, "g", [{ name: session, op: "set", value: "46000" }])).code,
      "NONE",
    );
    await broker.restart();
    const synonyms = async (name: string) => {
      const { configs } = await shown(broker, group, name, { keys: [session], includeSynonyms: true });
      return configs[0]?.synonyms.map(({ value, source }) => [value, source]);
    };
    const ofAll = [
      ["50000", ConfigSource.staticBroker],
      ["45000", ConfigSource.default],
    ];
    assert.deepEqual(await synonyms("other"), ofAll);
    assert.deepEqual(await synonyms("g"), [["46000", ConfigSource.group], ...ofAll]);
    assert.equal((await edit(broker, group, "g", [{ name: session, op: "delete" }])).code, "NONE");
    assert.deepEqual(await synonyms("g"), ofAll);
  });

  test("are listed where something is set", async (t) => {
    const broker = await aBroker(t);
    const list = async () => {
      const { configResources } = await broker.ask(ListConfigResources, { resourceTypes: [group] });
      return configResources.map(({ resourceName }) => resourceName);
    };
    await edit(broker, group, "g", [{ name: "consumer.assignment.interval.ms", op: "set", value: "0" }]);
    assert.deepEqual(await list(), ["g"]);
    await edit(broker, group, "g", [{ name: "consumer.assignment.interval.ms", op: "delete" }]);
    assert.deepEqual(await list(), []);
  });

  test("are what members obey: the interval of heartbeats at once, the session from the next one on", async (t) => {
    const broker = await aBroker(t, { "group.consumer.min.heartbeat.interval.ms": "100" });
    const beat = async (memberEpoch: number) => {
      const {
        heartbeatIntervalMs,
        memberEpoch: next,
        errorCode,
      } = await broker.ask(ConsumerGroupHeartbeat, {
        groupId: "g",
        memberId: "m",
        memberEpoch,
        instanceId: null,
        rackId: null,
        rebalanceTimeoutMs: 1000,
        subscribedTopicNames: ["orders"],
        subscribedTopicRegex: null,
        serverAssignor: null,
        topicPartitions: [],
      });
      return { heartbeatIntervalMs, next, code: errorFacts(errorCode).name };
    };
    const { heartbeatIntervalMs, next } = await beat(0);
    assert.equal(heartbeatIntervalMs, 5000);
    await edit(broker, group, "g", [
      { name: "consumer.heartbeat.interval.ms", op: "set", value: "100" },
      { name: session, op: "set", value: "60000" },
    ]);
    assert.equal((await beat(next)).heartbeatIntervalMs, 100);
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 50_000 });
    assert.equal((await beat(next)).code, "NONE");
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 61_000 });
    assert.equal((await beat(next)).code, "UNKNOWN_MEMBER_ID");
  });

  test("are refused where they are unknown, out of bounds, or too many", async (t) => {
    const broker = await aBroker(t);
    const set = (name: string, value: string, groupId = "g") =>
      edit(broker, group, groupId, [{ name, op: "set", value }]);
    const refusals: readonly [string, Awaited<ReturnType<typeof edit>>, RegExp][] = [
      ["INVALID_CONFIG", await set(session, "44999"), /between 45000 .* and 60000/],
      ["INVALID_CONFIG", await set(session, "60001"), /not at 60001/],
      ["INVALID_CONFIG", await set(session, "long"), /whole number/],
      ["INVALID_CONFIG", await set("streams.session.timeout.ms", "50000"), /no group setting streams/],
      ["INVALID_CONFIG", await set("share.session.timeout.ms", "44999"), /between 45000 .* and 60000/],
      ["INVALID_CONFIG", await set("share.auto.offset.reset", "by_duration:-PT1H"), /ISO 8601/],
      ["INVALID_CONFIG", await set("share.isolation.level", "serializable"), /read_committed/],
      ["INVALID_CONFIG", await set("errors.deadletterqueue.topic.name", "__dead"), /internal/],
      ["INVALID_CONFIG", await set("errors.deadletterqueue.topic.name", "dead"), /must begin with "dlq\."/],
      [
        "INVALID_CONFIG",
        await edit(broker, group, "g", [{ name: session, op: "append", value: "1" }]),
        /no list/,
      ],
      ["INVALID_REQUEST", await set(session, "50000", ""), /1 to 249 characters/],
      ["INVALID_REQUEST", await set(session, "50000", "g".repeat(250)), /1 to 249 characters/],
    ];
    for (const [code, refused, sentence] of refusals) {
      assert.equal(refused.code, code);
      assert.match(refused.message, sentence);
    }
    for (let n = 0; n < 1_000; n++) assert.equal((await set(session, "50000", `g${n}`)).code, "NONE");
    assert.equal((await set(session, "50000", "one-more")).code, "POLICY_VIOLATION");
    assert.equal((await set(session, "51000", "g7")).code, "NONE");
  });
});

describe("IncrementalAlterConfigs", () => {
  test("sets and deletes keys of a topic, and leaves the others alone", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1, { "retention.ms": "10" });
    const done = await edit(broker, topicResource, "orders", [
      { name: "max.message.bytes", op: "set", value: "2000" },
    ]);
    assert.equal(done.code, "NONE");
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "max.message.bytes"), [
      "2000",
      ConfigSource.topic,
    ]);
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "retention.ms"), [
      "10",
      ConfigSource.topic,
    ]);
    const { services } = broker.broker;
    const id = services.topics.idOf("orders");
    assert.ok(id !== undefined);
    assert.equal(services.partitions.ofTopic(id)[0]?.config.messageBytesMax, 2000);
    await edit(broker, topicResource, "orders", [{ name: "retention.ms", op: "delete" }]);
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "retention.ms"), [
      "604800000",
      ConfigSource.default,
    ]);
    await broker.restart();
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "max.message.bytes"), [
      "2000",
      ConfigSource.topic,
    ]);
  });

  test("appends to lists and takes away from them, also when two clients do so at once", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const append = (value: string) => ({
      resources: [
        {
          resourceType: topicResource,
          resourceName: "orders",
          configs: [
            {
              name: "leader.replication.throttled.replicas",
              configOperation: ConfigOperation.append,
              value,
            },
          ],
        },
      ],
      validateOnly: false,
    });
    const [a, b] = [broker.connect(), broker.connect()];
    await broker.scheduler.runUntil(
      Promise.all([
        a.call(IncrementalAlterConfigs, 1, append("0:1")),
        b.call(IncrementalAlterConfigs, 1, append("1:1")),
      ]),
    );
    const [value] = await valueOf(broker, topicResource, "orders", "leader.replication.throttled.replicas");
    assert.deepEqual(String(value).split(",").sort(), ["0:1", "1:1"]);
    await edit(broker, topicResource, "orders", [{ name: "cleanup.policy", op: "append", value: "compact" }]);
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "cleanup.policy"), [
      "delete,compact",
      ConfigSource.topic,
    ]);
    await edit(broker, topicResource, "orders", [
      { name: "cleanup.policy", op: "subtract", value: "delete" },
    ]);
    assert.deepEqual((await valueOf(broker, topicResource, "orders", "cleanup.policy"))[0], "compact");
  });

  test("changes what can change at run time, for one broker or for all, the one before the others", async (t) => {
    const broker = await aBroker(t, { "message.max.bytes": "3000" });
    await broker.createTopic("orders");
    const limit = () => valueOf(broker, topicResource, "orders", "max.message.bytes");
    assert.deepEqual(await limit(), ["3000", ConfigSource.staticBroker]);
    const set = (resource: string, value: string) =>
      edit(broker, brokerResource, resource, [{ name: "message.max.bytes", op: "set", value }]);
    assert.equal((await set("", "4000")).code, "NONE");
    assert.deepEqual(await limit(), ["4000", ConfigSource.dynamicDefaultBroker]);
    assert.equal((await set("1", "5000")).code, "NONE");
    assert.deepEqual(await limit(), ["5000", ConfigSource.dynamicBroker]);
    const { configs } = await shown(broker, brokerResource, "");
    assert.deepEqual(
      configs.map(({ name, value, configSource }) => [name, value, configSource]),
      [["message.max.bytes", "4000", ConfigSource.dynamicDefaultBroker]],
    );
    await broker.restart();
    assert.deepEqual(await limit(), ["5000", ConfigSource.dynamicBroker]);
  });

  test("keeps a key without effect that Kafka changes at run time", async (t) => {
    const broker = await aBroker(t);
    const done = await edit(broker, brokerResource, "1", [
      { name: "num.io.threads", op: "set", value: "16" },
    ]);
    assert.equal(done.code, "NONE");
    assert.deepEqual(await valueOf(broker, brokerResource, "1", "num.io.threads"), [
      "16",
      ConfigSource.dynamicBroker,
    ]);
  });

  test("only looks whether it could, when it is asked to validate", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const retention = { name: "retention.ms", op: "set", value: "1" } as const;
    assert.equal((await edit(broker, topicResource, "orders", [retention], true)).code, "NONE");
    assert.equal((await valueOf(broker, topicResource, "orders", "retention.ms"))[1], ConfigSource.default);
    const wrong = { ...retention, value: "soon" };
    assert.equal((await edit(broker, topicResource, "orders", [wrong], true)).code, "INVALID_CONFIG");
  });

  test("refuses what has no meaning, and changes nothing then", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    const onTopic = (...edits: Edit[]) => edit(broker, topicResource, "orders", edits);
    const onBroker = (...edits: Edit[]) => edit(broker, brokerResource, "1", edits);
    const good: Edit = { name: "segment.ms", op: "set", value: "1000" };
    const cases: [string, { code: string; message: string }, RegExp][] = [
      [
        "INVALID_CONFIG",
        await onTopic(good, { name: "no.such", op: "set", value: "1" }),
        /no topic setting no\.such/,
      ],
      [
        "INVALID_CONFIG",
        await onTopic(good, { name: "retention.ms", op: "set", value: "-2" }),
        /at least -1/,
      ],
      [
        "INVALID_CONFIG",
        await onTopic(good, { name: "compression.type", op: "set", value: "rar" }),
        /one of/,
      ],
      ["INVALID_CONFIG", await onTopic(good, { name: "retention.ms", op: "append", value: "1" }), /no list/],
      [
        "INVALID_CONFIG",
        await onTopic(good, {
          name: "leader.replication.throttled.replicas",
          op: "set",
          value: "x".repeat(32_768),
        }),
        /at most 32,767 bytes/,
      ],
      [
        "INVALID_CONFIG",
        await onBroker({ name: "config.providers", op: "set", value: "ß".repeat(16_384) }),
        /at most 32,767 bytes/,
      ],
      ["INVALID_REQUEST", await onTopic(good, { name: "retention.ms", op: "set" }), /no value/],
      ["INVALID_REQUEST", await onTopic(good, good), /twice/],
      ["INVALID_CONFIG", await onBroker({ name: "no.such", op: "set", value: "1" }), /no broker setting/],
      ["INVALID_CONFIG", await onBroker({ name: "node.id", op: "set", value: "2" }), /restart/],
      ["INVALID_CONFIG", await onBroker({ name: "log.dirs", op: "set", value: "/x" }), /restart/],
      [
        "INVALID_CONFIG",
        await onBroker({ name: "max.connections", op: "set", value: "few" }),
        /whole number/,
      ],
      ["INVALID_REQUEST", await edit(broker, brokerResource, "7", []), /no broker "7"/],
      ["INVALID_REQUEST", await edit(broker, ConfigResource.clientMetrics, "m", []), /no configuration/],
      ["UNKNOWN_TOPIC_OR_PARTITION", await edit(broker, topicResource, "absent", []), /./],
      ["INVALID_TOPIC_EXCEPTION", await edit(broker, topicResource, "a/b", []), /ASCII/],
    ];
    for (const [code, outcome, message] of cases) {
      assert.equal(outcome.code, code, outcome.message);
      assert.match(outcome.message, message);
    }
    assert.equal((await valueOf(broker, topicResource, "orders", "segment.ms"))[1], ConfigSource.default);
  });

  test("refuses a resource that is named twice, and serves the others", async (t) => {
    const broker = await aBroker(t);
    for (const name of ["a", "b"]) await broker.createTopic(name);
    const resource = (resourceName: string) => ({ resourceType: topicResource, resourceName, configs: [] });
    const { responses } = await broker.ask(IncrementalAlterConfigs, {
      resources: [resource("a"), resource("b"), resource("a")],
      validateOnly: false,
    });
    assert.deepEqual(
      responses.map(({ resourceName, errorCode }) => [resourceName, errorCode]),
      [
        ["a", ErrorCode.INVALID_REQUEST],
        ["b", ErrorCode.NONE],
        ["a", ErrorCode.INVALID_REQUEST],
      ],
    );
  });
});

describe("AlterConfigs", () => {
  test("puts the named keys in the place of all others", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1, { "retention.ms": "10", "segment.ms": "20" });
    const configs = [{ name: "segment.ms", value: "30" }];
    const resources = [{ resourceType: topicResource, resourceName: "orders", configs }];
    const { responses } = await broker.ask(AlterConfigs, { resources, validateOnly: false });
    assert.equal(responses[0]?.errorCode, ErrorCode.NONE);
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "segment.ms"), [
      "30",
      ConfigSource.topic,
    ]);
    assert.equal((await valueOf(broker, topicResource, "orders", "retention.ms"))[1], ConfigSource.default);
  });

  test("changes nothing when one key is refused, or when it only validates", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders", 1, { "retention.ms": "10" });
    const alter = async (value: string, validateOnly: boolean) => {
      const configs = [{ name: "segment.ms", value }];
      const resources = [{ resourceType: topicResource, resourceName: "orders", configs }];
      return (await broker.ask(AlterConfigs, { resources, validateOnly })).responses[0]?.errorCode;
    };
    assert.equal(await alter("0", false), ErrorCode.INVALID_CONFIG);
    assert.equal(await alter("5", true), ErrorCode.NONE);
    assert.deepEqual(await valueOf(broker, topicResource, "orders", "retention.ms"), [
      "10",
      ConfigSource.topic,
    ]);
  });
});
