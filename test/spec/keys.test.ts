/** Every key of a Kafka broker and of its topics is known here, with Kafka's type and default. Needs Java and Maven. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { BrokerConfig } from "../../src/broker/config.ts";
import { brokerEntries, type ConfigEntry, topicEntries } from "../../src/broker/config-view.ts";
import { ConfigType } from "../../src/protocol/messages/describe-configs.ts";
import { kafkaClasspath } from "../../tools/toolbox.ts";

/** Kafka has no default for it; a broker alone needs none to be told. */
const different: ReadonlySet<string> = new Set(["node.id"]);

test("every key of Kafka 4.3 is shown with its type and default", async () => {
  const source = join(import.meta.dirname, "KeyTable.java");
  const printed = execFileSync("java", ["-cp", await kafkaClasspath(), source], {
    encoding: "utf8",
    stdio: "pipe",
  });
  const config = new BrokerConfig();
  const byName = (entries: readonly ConfigEntry[]) => new Map(entries.map((entry) => [entry.name, entry]));
  const shown = { broker: byName(brokerEntries(config)), topic: byName(topicEntries(new Map(), config)) };
  const lines = printed.trim().split("\n");
  assert.ok(lines.length > 300);
  const findings = lines.flatMap((line) => {
    const [where, name, type, value] = line.split("\t") as ["broker" | "topic", string, string, string];
    const entry = shown[where].get(name);
    if (entry === undefined) return [`${where} ${name} is unknown`];
    const kafkaType = ConfigType[type.toLowerCase() as keyof typeof ConfigType];
    // A password is never shown.
    const kafkaValue = value === "null" || type === "PASSWORD" ? null : value;
    if (different.has(name) || (entry.configType === kafkaType && entry.value === kafkaValue)) return [];
    return [`${where} ${name}: Kafka ${type} ${value}, here ${entry.configType} ${entry.value}`];
  });
  assert.deepEqual(findings, []);
});
