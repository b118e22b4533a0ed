/**
 * Bit rot in the journal: every single bit flipped and every length cut, in slots, snapshots and cut
 * markers, each object on its own, and each removed. A start then either makes the very state that was
 * there, or stops with a sentence that names the object; nothing is deleted or changed, and no state that
 * never was is made in silence.
 */
import { DamageError } from "../../src/base/errors.ts";
import type { ObjectStore } from "../../src/base/ports.ts";
import { sha256 } from "../../src/io/sha256.ts";
import { brokerEpoch, walPosition } from "../../src/base/ids.ts";
import { inspectJournal } from "../../src/metadata/inspect.ts";
import { Journal } from "../../src/metadata/journal.ts";
import { cutKey, numberIn, slotPrefix, snapshotPrefix } from "../../src/metadata/slot.ts";
import { encodeSnapshot } from "../../src/metadata/snapshot.ts";
import { SimObjectStore } from "../../src/sim/object-store.ts";
import { aBroker, aFlush, aFlushRow, aTopic, aTopicId, aWorld } from "./journal-world.ts";
import { Violation } from "./journal-truth.ts";

export interface DamageOptions {
  readonly sample: boolean;
}

const chapterSlots = 4;

export async function run(
  options: DamageOptions,
): Promise<{ readonly name: string; readonly counts: { readonly [name: string]: number } }> {
  const world = aWorld();
  const bucket = new SimObjectStore({ clock: world.env.clock, random: world.random, latencyMs: 0 });
  const { objects } = bucket;
  const expected = await fill(bucket.connect(), world);
  const { clusterId } = (
    await Journal.open({ store: bucket.connect(), env: world.env, sha256, walKind: "file" })
  ).state;
  const counts = { objects: objects.size, flips: 0, truncations: 0, removals: 0, named: 0, "same state": 0 };

  const check = async (key: string, what: string): Promise<void> => {
    const before = new Map(objects);
    world.logged.length = 0;
    const outcome = await start(bucket.connect(), world.env);
    if (outcome instanceof DamageError) {
      if (!outcome.message.includes(key))
        throw new Violation(`${what} of ${key} is named as: ${outcome.message}`);
      counts.named++;
    } else if (outcome === expected) {
      counts["same state"]++;
      const reported = world.logged.some(({ level, facts }) => level === "error" && facts["object"] === key);
      if (key.startsWith(snapshotPrefix) && key === newest(objects) && !reported && what !== "removal") {
        throw new Violation(`${what} of ${key} is not reported`);
      }
    } else throw new Violation(`${what} of ${key} makes another state`);
    if (what !== "removal") {
      const { findings } = await inspectJournal(
        { store: bucket.connect(), env: world.env, sha256 },
        clusterId,
      );
      if (findings.length !== 1 || findings[0]?.object !== key) {
        throw new Violation(`${what} of ${key}: an inspection finds ${JSON.stringify(findings)}`);
      }
    }
    for (const [name, bytes] of before) {
      if (objects.get(name) !== bytes)
        throw new Violation(`${what} of ${key}: ${name} was changed or deleted`);
    }
  };

  const originals = new Map(objects);
  for (const [key, whole] of originals) {
    const bits = whole.byteLength * 8;
    const step = options.sample ? 97 : 1;
    for (let bit = 0; bit < bits; bit += step) {
      const damaged = whole.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      objects.set(key, damaged);
      await check(key, `flip of bit ${bit}`);
      counts.flips++;
    }
    for (let length = 0; length < whole.byteLength; length += options.sample ? 31 : 1) {
      objects.set(key, whole.slice(0, length));
      await check(key, `cut to ${length} bytes`);
      counts.truncations++;
    }
    objects.delete(key);
    await checkRemoval(key);
    counts.removals++;
    objects.set(key, whole);
  }

  /** What is gone cannot always be told from what never was; then the state is at least one that once was. */
  async function checkRemoval(key: string): Promise<void> {
    const slot = numberIn(key, slotPrefix);
    const last = Math.max(...[...objects.keys()].map((name) => numberIn(name, slotPrefix) ?? -1));
    if (slot !== null && slot > last) return;
    if (key.startsWith("cut/")) return;
    await check(key, "removal");
  }

  await twoDamagedSnapshots(bucket, world.env);
  return { name: "damage in journal slots, snapshots and cut markers", counts };
}

/** Without any readable snapshot a truncated journal refuses to start. */
async function twoDamagedSnapshots(
  bucket: SimObjectStore,
  env: ReturnType<typeof aWorld>["env"],
): Promise<void> {
  const snapshots = [...bucket.objects].filter(([key]) => key.startsWith(snapshotPrefix));
  for (const [key] of snapshots) bucket.objects.set(key, new Uint8Array(7));
  const world = aWorld();
  const opening = start(bucket.connect(), { ...env, clock: world.env.clock });
  const outcome = await world.scheduler.runUntil(opening);
  if (!(outcome instanceof DamageError)) throw new Violation("a journal without snapshots starts");
  for (const [key, bytes] of snapshots) bucket.objects.set(key, bytes);
}

function newest(objects: ReadonlyMap<string, Uint8Array>): string | undefined {
  return [...objects.keys()]
    .filter((key) => key.startsWith(snapshotPrefix))
    .sort()
    .at(-1);
}

/** The state as text, or the error. */
async function start(store: ObjectStore, env: ReturnType<typeof aWorld>["env"]): Promise<string | Error> {
  try {
    const journal = await Journal.open({ store, env, sha256, walKind: "file" });
    return Buffer.from(encodeSnapshot(journal.state)).toString("base64");
  } catch (error) {
    return error as Error;
  }
}

/** A journal of several chapters with every kind of command; returns the state it makes. */
async function fill(store: ObjectStore, world: ReturnType<typeof aWorld>): Promise<string> {
  const { env } = world;
  const journal = await Journal.open({ store, env, sha256, walKind: "file", chapterSlots });
  const epoch = await journal.register(aBroker);
  await journal.append({ kind: "level", level: 1 });
  await journal.append(aTopic(1, epoch));
  await journal.append(aTopic(2, epoch));
  await journal.append({
    kind: "partitions",
    id: aTopicId(1),
    partitionCount: 3,
    assignment: { owner: epoch, exceptions: [] },
  });
  for (let flushed = 0; flushed < 3; flushed++) {
    await journal.append(
      aFlush([aFlushRow({ from: flushed * 10, to: flushed * 10 + 10 })], flushed, flushed),
    );
  }
  await journal.append({
    kind: "topicConfig",
    id: aTopicId(2),
    replace: false,
    edits: [
      { name: "retention.ms", value: null },
      { name: "cleanup.policy", value: "compact" },
    ],
  });
  await journal.append({
    kind: "brokerConfig",
    resource: "",
    replace: false,
    edits: [{ name: "log.retention.ms", value: "5" }],
  });
  await journal.takeProducerIds();
  await journal.close();
  const second = await Journal.open({ store, env, sha256, walKind: "file" });
  const next = await second.register(aBroker);
  await second.append({ kind: "fence", epoch });
  await second.append({
    kind: "recover",
    epoch,
    end: walPosition(9),
    assignment: { owner: next, exceptions: [] },
    holes: [],
    jumped: false,
    hash: new Uint8Array(32),
  });
  await second.append({ kind: "drop", id: aTopicId(2) });
  await second.append({ kind: "fence", epoch: brokerEpoch(99) });
  await second.takeProducerIds();
  await second.close();
  if ((await store.get(cutKey(0))) === null) throw new Violation("the workload truncates");
  return (await start(store, env)) as string;
}
