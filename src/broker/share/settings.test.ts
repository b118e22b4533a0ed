/** What a share group obeys: its own settings, then the broker's, within the bounds that hold now. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BrokerConfig } from "../config.ts";
import { groupResource } from "../group-config.ts";
import { InvalidSettingError } from "../setting.ts";
import { readOffsetReset } from "./offset-reset.ts";
import { shareSettingsOf } from "./settings.ts";

const settingsWith = (own: Record<string, string>, broker: Record<string, string> = {}) =>
  shareSettingsOf(
    "g",
    { brokerConfigs: new Map([[groupResource("g"), new Map(Object.entries(own))]]) },
    new BrokerConfig(new Map(Object.entries(broker))),
  );

describe("the settings of a share group", () => {
  test("are Kafka's defaults where nothing is set", () => {
    assert.deepEqual(settingsWith({}), {
      offsetReset: { kind: "latest" },
      isolation: "read_uncommitted",
      lockDurationMs: 30_000,
      deliveryCountLimit: 5,
      partitionLocksMax: 2_000,
      mayRenew: true,
      sessionTimeoutMs: 45_000,
      heartbeatIntervalMs: 5_000,
      deadLetterTopic: null,
      deadLetterTopicWrong: null,
      copiesRecords: true,
    });
  });

  test("are the broker's where the group has none, and the group's where it has", () => {
    const broker = { "group.share.record.lock.duration.ms": "20000" };
    assert.equal(settingsWith({}, broker).lockDurationMs, 20_000);
    assert.equal(settingsWith({ "share.record.lock.duration.ms": "16000" }, broker).lockDurationMs, 16_000);
    assert.equal(settingsWith({ "errors.deadletterqueue.topic.name": "dlq.g" }).deadLetterTopic, "dlq.g");
  });

  test("come to lie within bounds that were narrowed later, and count as not set where they cannot be read", () => {
    const broker = { "group.share.max.delivery.count.limit": "8" };
    assert.equal(settingsWith({ "share.delivery.count.limit": "10" }, broker).deliveryCountLimit, 8);
    assert.equal(settingsWith({ "share.delivery.count.limit": "many" }).deliveryCountLimit, 5);
    assert.equal(settingsWith({ "share.isolation.level": "linearizable" }).isolation, "read_uncommitted");
  });

  test("tell of a dead-letter topic whose name was allowed once and is not now", () => {
    const { deadLetterTopicWrong } = settingsWith({ "errors.deadletterqueue.topic.name": "failed.g" });
    assert.match(deadLetterTopicWrong ?? "", /must begin with "dlq\."/);
  });
});

describe("share.auto.offset.reset", () => {
  test("is an end of the partition, or a time back", () => {
    assert.deepEqual(readOffsetReset("earliest"), { kind: "earliest" });
    assert.deepEqual(readOffsetReset("by_duration:P1DT2H3M4.5S"), { kind: "by_duration", ms: 93_784_500 });
    assert.deepEqual(readOffsetReset("by_duration:PT0S"), { kind: "by_duration", ms: 0 });
  });

  for (const wrong of ["", "none", "by_duration", "by_duration:P", "by_duration:PT", "by_duration:-PT1H"]) {
    test(`is not "${wrong}"`, () => assert.throws(() => readOffsetReset(wrong), InvalidSettingError));
  }
});
