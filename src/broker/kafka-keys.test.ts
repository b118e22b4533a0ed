import assert from "node:assert/strict";
import { test } from "node:test";
import { isBrokerSetting } from "./config.ts";
import { kafkaKeys, refuseKafkaKey } from "./kafka-keys.ts";

test("a key stands either here or among the settings with an effect", () => {
  for (const name of kafkaKeys.keys()) assert.ok(!isBrokerSetting(name), name);
});

test("every default is a value of its type", () => {
  for (const [name, { default: value, dynamic }] of kafkaKeys) {
    if (value !== null && dynamic) assert.equal(refuseKafkaKey(name, value), null);
  }
});

test("a change of type, of a fixed key or of an unknown key is refused in a sentence", () => {
  assert.equal(refuseKafkaKey("num.io.threads", "12"), null);
  assert.equal(
    refuseKafkaKey("num.io.threads", "many"),
    'num.io.threads must be a whole number, not "many".',
  );
  assert.match(refuseKafkaKey("process.roles", "broker") ?? "", /with a restart/);
  assert.equal(refuseKafkaKey("no.such.key", "1"), "There is no broker setting no.such.key.");
});
