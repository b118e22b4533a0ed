import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RefusedError } from "../base/errors.ts";
import { logConfigDefaults } from "../log/log-config.ts";
import { BrokerConfig, brokerSettings, refuseBrokerSetting } from "./config.ts";
import { ConfigSource, type Setting } from "./setting.ts";
import {
  logConfigOf,
  refuseTopicSetting,
  refuseTopicSettings,
  resolveTopicSetting,
  topicSettings,
  topicSynonyms,
} from "./topic-config.ts";

const map = (values: { readonly [name: string]: string }): Map<string, string> =>
  new Map(Object.entries(values));
const none: ReadonlyMap<string, string> = new Map();

describe("the settings of a broker", () => {
  it("every default is a value of its setting, and every setting says what it is for", () => {
    const all: [string, Setting<unknown>][] = [
      ...Object.entries(brokerSettings),
      ...Object.entries(topicSettings),
    ];
    for (const [name, setting] of all) {
      if (setting.default !== null) setting.read(setting.default);
      assert.match(setting.text, /\.$/, name);
    }
  });

  it("a value comes from this broker, then from all, then from the file, then from the default", () => {
    const config = new BrokerConfig(map({ "message.max.bytes": "10" }));
    const resolved = () => config.resolve("message.max.bytes");
    assert.deepEqual(resolved(), {
      name: "message.max.bytes",
      value: "10",
      source: ConfigSource.staticBroker,
    });
    config.setDynamic(map({ "message.max.bytes": "20" }), none);
    assert.equal(config.get("message.max.bytes"), 20);
    assert.equal(resolved().source, ConfigSource.dynamicDefaultBroker);
    config.setDynamic(map({ "message.max.bytes": "20" }), map({ "message.max.bytes": "30" }));
    assert.equal(config.get("message.max.bytes"), 30);
    config.setDynamic(none, none);
    assert.equal(config.get("message.max.bytes"), 10);
    assert.equal(new BrokerConfig().get("message.max.bytes"), 1_048_588);
  });

  it("a setting that is not dynamic keeps the file's value, and a dynamic value that cannot be read is passed over", () => {
    const config = new BrokerConfig(map({ "fetch.max.bytes": "2048" }));
    config.setDynamic(map({ "fetch.max.bytes": "4096", "num.partitions": "many" }), none);
    assert.equal(config.get("fetch.max.bytes"), 2048);
    assert.equal(config.get("num.partitions"), 1);
  });

  it("tells who listens that something changed, until they stop", () => {
    const config = new BrokerConfig();
    let calls = 0;
    const stop = config.onChange(() => calls++);
    config.setDynamic(none, none);
    stop();
    config.setDynamic(none, none);
    assert.equal(calls, 1);
  });

  it("a wrong value in the file is refused with its name, its range and what was given", () => {
    const refused = (name: string, value: string, sentence: string): void =>
      assert.throws(
        () => new BrokerConfig(map({ [name]: value })),
        (error) => error instanceof RefusedError && error.message === sentence,
      );
    refused("num.partitions", "0", "The setting num.partitions must be at least 1, not 0.");
    refused("num.partitions", "1.5", 'The setting num.partitions must be a whole number, not "1.5".');
    refused(
      "auto.create.topics.enable",
      "yes",
      'The setting auto.create.topics.enable must be true or false, not "yes".',
    );
    refused(
      "log.message.timestamp.type",
      "Now",
      'The setting log.message.timestamp.type must be one of CreateTime, LogAppendTime, not "Now".',
    );
    refused(
      "log.cleaner.min.cleanable.ratio",
      "2",
      "The setting log.cleaner.min.cleanable.ratio must be at most 1, not 2.",
    );
    assert.doesNotThrow(() => new BrokerConfig(map({ "some.other.program": "x" })));
  });

  it("only dynamic settings may be changed while it runs", () => {
    assert.equal(refuseBrokerSetting("message.max.bytes", "5"), null);
    assert.match(refuseBrokerSetting("message.max.bytes", "-5") ?? "", /must be at least 0/);
    assert.match(refuseBrokerSetting("node.id", "5") ?? "", /with a restart/);
    assert.match(refuseBrokerSetting("toString", "5") ?? "", /no broker setting/);
  });
});

describe("the settings of a topic", () => {
  it("without any they are Kafka's defaults", () => {
    assert.deepEqual(logConfigOf(none, new BrokerConfig()), logConfigDefaults);
  });

  it("a value is the topic's, else the broker's, else the default, and all three are told in this order", () => {
    const broker = new BrokerConfig(map({ "message.max.bytes": "2097152" }));
    const own = map({ "max.message.bytes": "3145728" });
    assert.equal(logConfigOf(own, broker).messageBytesMax, 3_145_728);
    assert.equal(logConfigOf(none, broker).messageBytesMax, 2_097_152);
    assert.deepEqual(topicSynonyms("max.message.bytes", own, broker), [
      { name: "max.message.bytes", value: "3145728", source: ConfigSource.topic },
      { name: "message.max.bytes", value: "2097152", source: ConfigSource.staticBroker },
      { name: "message.max.bytes", value: "1048588", source: ConfigSource.default },
    ]);
  });

  it("retention is taken in ms, else in minutes, else in hours, and negative is without limit", () => {
    const of = (values: { readonly [name: string]: string }) =>
      logConfigOf(none, new BrokerConfig(map(values))).retentionMs;
    assert.equal(of({ "log.retention.hours": "2" }), 7_200_000);
    assert.equal(of({ "log.retention.hours": "2", "log.retention.minutes": "3" }), 180_000);
    assert.equal(of({ "log.retention.hours": "2", "log.retention.ms": "-1" }), -1);
    assert.equal(of({ "log.retention.hours": "-1" }), -1);
    assert.equal(resolveTopicSetting("retention.ms", none, new BrokerConfig()).value, "604800000");
  });

  it("Java's greatest long is read as without limit and shown as it was given", () => {
    const own = map({ "flush.messages": "9223372036854775807" });
    assert.equal(refuseTopicSettings(own, new BrokerConfig()), null);
    assert.equal(resolveTopicSetting("flush.messages", own, new BrokerConfig()).value, "9223372036854775807");
    assert.match(refuseTopicSetting("flush.messages", "9223372036854775808") ?? "", /whole number/);
  });

  it("cleanup.policy is a list; what is not known in it is refused", () => {
    const of = (value: string) => logConfigOf(map({ "cleanup.policy": value }), new BrokerConfig());
    assert.deepEqual([of("compact, delete").compacts, of("compact, delete").deletes], [true, true]);
    assert.deepEqual([of("").compacts, of("").deletes], [false, false]);
    assert.match(refuseTopicSetting("cleanup.policy", "compact,archive") ?? "", /not "archive"/);
  });

  it("an unknown name, an absent value and bounds that contradict each other are refused with a sentence", () => {
    assert.equal(refuseTopicSetting("retention", "1"), "There is no topic setting retention.");
    assert.equal(refuseTopicSetting("retention.ms", null), "retention.ms needs a value.");
    assert.equal(
      refuseTopicSetting("segment.bytes", "12"),
      "segment.bytes must be at least 1048576, not 12.",
    );
    const own = map({ "min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5" });
    assert.match(refuseTopicSettings(own, new BrokerConfig()) ?? "", /must not be greater/);
  });
});
