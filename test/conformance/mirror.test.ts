/**
 * MirrorMaker 2 between two brokers: a topic and the offsets of its groups go over while records arrive and while
 * MirrorMaker and either broker are killed (`kill -9`). See framework.ts for the environment.
 *
 * MirrorMaker translates an offset to one that is not ahead of it; that is what is judged: a group that goes on at
 * the target misses nothing, and one that had read everything reads nothing again.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../../tools/brokers.ts";
import { freePort, type Running } from "../../tools/processes.ts";
import { loopback } from "../../tools/toolbox.ts";
import { createTopic } from "../interop/admin.ts";
import {
  commitOffsets,
  type CommittedRecord,
  committedOffsets,
  conforms,
  endedWell,
  eventually,
  expectSame,
  feed,
  full,
  kill,
  readCommitted,
  type Scene,
  type SourceSupport,
  sourceSupports,
  startJava,
} from "./framework.ts";

const kills = full ? 10 : 1;
const partitionCount = 3;
const recordsPerLot = 20;
const lotEveryMs = 100;
const catchUpMs = 180_000;

for (const exactlyOnce of sourceSupports) {
  const what =
    exactlyOnce === "enabled"
      ? "mirrors a topic, every record exactly once, with the offsets of its groups (exactly.once.source.support)"
      : "mirrors a topic, every record at least once, with the offsets of its groups";
  conforms("MirrorMaker 2", what, full ? 1_800_000 : 420_000, (scene) => mirrored(scene, exactlyOnce));
}

async function mirrored(scene: Scene, exactlyOnce: SourceSupport) {
  const { random, directory } = scene;
  const [source, target] = [await scene.broker("source"), await scene.broker("target")];
  await createTopic(source.address, "news", partitionCount, "retention.ms=-1", "max.message.bytes=2000000");
  const properties = await mirrorMaker(source, target, directory, exactlyOnce);
  let written = 0;
  const news = await feed(
    source.address,
    "news",
    () =>
      Array.from({ length: recordsPerLot }, () => [`k${random.below(500)}`, `value ${written++}`] as const),
    lotEveryMs,
  );
  const start = (): Promise<Running> =>
    startJava("org.apache.kafka.connect.mirror.MirrorMaker", [properties]);
  let process = await start();
  const copied = () => readCommitted(target.address, "source.news");
  let seen = 0;
  for (let times = 0; times < kills; times++) {
    await eventually("more is copied", catchUpMs, async () => {
      assert.ok(process.isRunning(), "MirrorMaker runs");
      const count = (await copied()).length;
      return count > seen ? (seen = count) : undefined;
    });
    await sleep(random.below(3_000));
    const broker = [target, source, undefined][times % 3];
    await broker?.kill();
    await kill(process);
    await broker?.start();
    process = await start();
  }
  await eventually("more is copied", catchUpMs, async () => (await copied()).length > seen || undefined);

  // A group that has read a part, of what was written after MirrorMaker's last start: of what is older it knows no
  // offsets any more.
  const part = endsOf(await readCommitted(source.address, "news"));
  await sleep(2_000);
  await commitOffsets(source.address, "half-way", "news", part);
  await translated(target, "half-way", part.length);
  const recordCount = await news.end();
  const original = await readCommitted(source.address, "news");
  assert.equal(original.length, recordCount);
  await commitOffsets(source.address, "done", "news", endsOf(original));
  const copy = await eventually("everything is copied", catchUpMs, async () => {
    const records = await copied();
    const values = new Set(records.map(({ value }) => value));
    return values.size >= recordCount ? records : undefined;
  });
  for (let partition = 0; partition < partitionCount; partition++) {
    const [mine, theirs] = [original, copy].map((records) => contentOf(records, partition));
    assert.deepEqual(
      exactlyOnce === "enabled" ? theirs : [...new Set(theirs)],
      mine,
      `partition ${partition}`,
    );
  }
  const left = await eventually("who was done is done at the target", catchUpMs, async () => {
    const records = await goingOn(target, "done", part.length);
    return records.length === 0 ? records.length : undefined;
  });
  const again = await goingOn(target, "half-way", part.length);
  const missing = original.filter(({ partition, offset }) => offset >= (part[partition] ?? 0));
  const values = new Set(again.map(({ value }) => value));
  const missed = missing.filter(({ value }) => !values.has(value)).map(({ value }) => value);
  expectSame("what is missed by who goes on at the target", missed, []);
  process.signal("SIGTERM");
  await endedWell("MirrorMaker", process);
  return { recordCount, copied: copy.length, kills, left, again: again.length - missing.length };
}

/** What a group reads at the target when it goes on where its translated offsets say. */
async function goingOn(target: Broker, group: string, count: number): Promise<CommittedRecord[]> {
  return readCommitted(target.address, "source.news", await translated(target, group, count));
}

async function translated(target: Broker, group: string, count: number): Promise<number[]> {
  return eventually(`the offsets of ${group} are translated`, catchUpMs, async () => {
    const offsets = await committedOffsets(target.address, group, "source.news");
    return Object.keys(offsets).length === count ? offsets : undefined;
  });
}

/** Behind the last record of each partition. */
function endsOf(records: readonly CommittedRecord[]): number[] {
  const ends = Array.from({ length: partitionCount }, () => 0);
  for (const { partition, offset } of records) ends[partition] = offset + 1;
  return ends;
}

function contentOf(records: readonly CommittedRecord[], wanted: number): string[] {
  return records
    .filter(({ partition }) => partition === wanted)
    .map(({ timestampMs, key, value }) => `${timestampMs} ${key} ${value}`);
}

/** Writes the properties of a MirrorMaker of its own; answers where they are. */
async function mirrorMaker(
  source: Broker,
  target: Broker,
  directory: string,
  exactlyOnce: SourceSupport,
): Promise<string> {
  const onOneBroker = [
    "replication.factor",
    "checkpoints.topic.replication.factor",
    "heartbeats.topic.replication.factor",
    "offset-syncs.topic.replication.factor",
    "offset.storage.replication.factor",
    "status.storage.replication.factor",
    "config.storage.replication.factor",
  ];
  const everySecond = [
    "sync.group.offsets.interval.seconds",
    "emit.checkpoints.interval.seconds",
    "refresh.topics.interval.seconds",
    "refresh.groups.interval.seconds",
    "sync.topic.configs.interval.seconds",
  ];
  const settings = {
    clusters: "source, target",
    "source.bootstrap.servers": source.address,
    "target.bootstrap.servers": target.address,
    "source->target.enabled": "true",
    "target->source.enabled": "false",
    topics: "news",
    groups: ".*",
    "sync.group.offsets.enabled": "true",
    "offset.lag.max": "0",
    ...Object.fromEntries(onOneBroker.map((name) => [name, "1"])),
    ...Object.fromEntries(everySecond.map((name) => [name, "1"])),
    "dedicated.mode.enable.internal.rest": "true",
    listeners: `http://${loopback}:${await freePort()}`,
    "target.exactly.once.source.support": exactlyOnce,
    "source.consumer.auto.offset.reset": "earliest",
    "scheduled.rebalance.max.delay.ms": "0",
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1000",
    "offset.flush.interval.ms": "500",
    "reconnect.backoff.max.ms": "500",
    "plugin.discovery": "service_load",
  };
  const properties = join(directory, "mirror.properties");
  const lines = Object.entries(settings).map((pair) => `${pair.join(" = ")}\n`);
  writeFileSync(properties, lines.join(""));
  return properties;
}
