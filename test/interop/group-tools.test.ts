/**
 * Kafka's own tools say the same of Holdfast as of Apache Kafka 4.3.0, apart from ids and times: each scene of
 * tool-scenes.ts (groups), share-scenes.ts and cluster-scenes.ts is played against both, and what the tools said is compared.
 *
 *   HOLDFAST_INTEROP   sample (some scenes, for .ci/run) or full; without it nothing runs
 *
 * What is known to differ, and why, is in docs/differences-from-kafka.md.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect, isDeepStrictEqual } from "node:util";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { type InteropResult, keepNewest, testedCommit } from "../../tools/interop-results.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { clusterScenes } from "./cluster-scenes.ts";
import { shareScenes } from "./share-scenes.ts";
import { type Line, scenes, Stage } from "./tool-scenes.ts";
import { transactionScenes } from "./transaction-scenes.ts";
import { openToolShell, type ToolShell, toolShellClasspath } from "./tool-shell.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;
const kinds = ["kafka", "holdfast"] as const;
type Kind = (typeof kinds)[number];

/** For one broker. */
const kafkaSettings = [
  "share.coordinator.state.topic.replication.factor=1",
  "share.coordinator.state.topic.min.isr=1",
];

let directory = "";
const brokers: Broker[] = [];
const shells = new Map<Kind, ToolShell>();

before(async () => {
  if (skip !== false) return;
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  directory = mkdtempSync(join(cacheDirectory, "interop", "tools-"));
  const open = async (kind: Kind): Promise<void> => {
    const settings = kind === "holdfast" ? ["--set", "group.initial.rebalance.delay.ms=0"] : kafkaSettings;
    const broker = await startBroker(kind, { directory: join(directory, kind), settings });
    brokers.push(broker);
    shells.set(kind, await openToolShell(broker.address));
  };
  await toolShellClasspath();
  await Promise.all(kinds.map(open));
});

after(async () => {
  await Promise.all(Array.from(shells.values(), (shell) => shell.close()));
  await Promise.all(brokers.map((broker) => broker.stop()));
  if (directory !== "") rmSync(directory, { recursive: true, force: true });
});

for (const { tool, name, sample, play } of [
  ...scenes,
  ...clusterScenes,
  ...transactionScenes,
  ...shareScenes,
]) {
  if (scale === "sample" && !sample) continue;
  test(`what Kafka's tools say is the same: ${name}`, { skip, timeout: 300_000 }, async () => {
    const begun = performance.now();
    const nowMs = Date.now();
    const [kafka = [], holdfast = []] = await Promise.all(
      kinds.map(async (kind): Promise<readonly Line[]> => {
        const shell = shells.get(kind);
        assert.ok(shell !== undefined);
        const stage = new Stage(shell, kind, nowMs);
        await play(stage);
        return stage.lines;
      }),
    );
    assert.ok(kafka.length > 5 && holdfast.length === kafka.length, "both were asked the same");
    const differing = kafka.flatMap((line, index) =>
      isDeepStrictEqual(line, holdfast[index]) ? [] : [{ kafka: line, holdfast: holdfast[index] }],
    );
    const seconds = Math.round(performance.now() - begun) / 1000;
    const result: InteropResult = {
      client: tool,
      version: "4.3.0",
      language: "Java",
      target: "holdfast",
      kind: "same",
      what: name,
      killed: false,
      passed: differing.length === 0,
      seconds,
      at: new Date().toISOString(),
      commit: testedCommit(),
    };
    keepNewest("group-tools", { scale: scale ?? "", results: [result] });
    assert.equal(inspect(differing, { depth: 5, maxArrayLength: null, breakLength: 110 }), "[]");
  });
}
