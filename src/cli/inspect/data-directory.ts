/**
 * A data directory as a whole: what the journal says, and what lies on the disk beside it. Everything is
 * opened for reading only and no lock is taken, so it works while a broker runs.
 */
import { open, readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HoldfastError } from "../../base/errors.ts";
import type { Env, ObjectStore } from "../../base/ports.ts";
import { systemClock } from "../../io/clock.ts";
import { openMeter } from "../../io/meter.ts";
import { systemRandom } from "../../io/random.ts";
import { sha256 } from "../../io/sha256.ts";
import { SegmentIndex } from "../../log/segment-index.ts";
import { isListed } from "../../log/segment-list.ts";
import { inspectJournal } from "../../metadata/inspect.ts";
import { Replay } from "../../metadata/replay.ts";
import type { ClusterState } from "../../metadata/state.ts";
import { formatBytes, formatCount } from "../table.ts";
import { damage, type Depth, type Finding, type TopicNames } from "./finding.ts";
import { absent, readOnlyStore } from "./read-only-store.ts";
import { type KnownList, objectFindings } from "./segments.ts";
import { stateFindings } from "./state.ts";
import { walFindings, walNameOf } from "./wal.ts";

const storeName = "store";
const walName = "wal";
/** Decoded lists that are kept while references are followed. */
const indexBytesMax = 16 * 1024 * 1024;
const nothing: Depth = { batches: false, records: false };

/** The data directory in which a path lies, the path itself included; null: none is recognised. */
export async function dataDirectoryOf(path: string): Promise<string | null> {
  for (let directory = path; ; directory = dirname(directory)) {
    const inside = await stat(join(directory, storeName, "meta")).catch(absent);
    if (inside?.isDirectory() === true && basename(directory) !== storeName) return directory;
    if (dirname(directory) === directory) return null;
  }
}

export class DataDirectory {
  readonly path: string;
  readonly store: ObjectStore;
  /** Null: the journal cannot be read; `journalDamage` says why. */
  readonly state: ClusterState | null;
  readonly journalDamage: readonly Finding[];
  readonly #env: Env;

  private constructor(
    path: string,
    store: ObjectStore,
    env: Env,
    read: { readonly state: ClusterState | null; readonly journalDamage: readonly Finding[] },
  ) {
    this.path = path;
    this.store = store;
    this.state = read.state;
    this.journalDamage = read.journalDamage;
    this.#env = env;
  }

  static async read(path: string): Promise<DataDirectory> {
    const store = readOnlyStore(join(path, storeName));
    const journalDamage: Finding[] = [];
    const quiet = (): void => undefined;
    // The only thing that replaying reports is a snapshot that it passed over.
    const log = {
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (event: string, facts?: { readonly [name: string]: unknown }) =>
        journalDamage.push(damage("journal", `${event}: ${JSON.stringify(facts)}`)),
    };
    const env: Env = { clock: systemClock, random: systemRandom(), log, meter: openMeter() };
    const replay = new Replay({ store, env, sha256 }, quiet);
    let state: ClusterState | null = null;
    try {
      await replay.load();
      state = replay.image.clusterId === "" ? null : replay.image;
    } catch (cause) {
      if (!(cause instanceof HoldfastError)) throw cause;
      journalDamage.push(damage("journal", cause.message));
    }
    return new DataDirectory(path, store, env, { state, journalDamage });
  }

  readonly topicName: TopicNames = (id) => this.state?.topics.get(id)?.name ?? id;

  /** What the journal knows of a folded list, as far as it is the newest of its partition. */
  listOf(key: string): KnownList | null {
    for (const topic of this.state?.topics.values() ?? []) {
      for (const { index, folded } of topic.partitions) {
        if (folded?.object === key) return { topicId: topic.id, partition: index, pointer: folded };
      }
    }
    return null;
  }

  /** `check` reads every byte of the store, else what says how things are. */
  async *findings(check: boolean): AsyncGenerator<Finding, void, void> {
    yield await this.#holder();
    yield* this.journalDamage;
    if (this.state !== null) yield* stateFindings(this.state);
    yield* this.#walFiles();
    yield* this.#objects(check);
    yield* this.#kept();
  }

  async #holder(): Promise<Finding> {
    const text = await readFile(join(this.path, "lock.holder"), "utf8").catch(absent);
    const facts = { kind: "data-directory", path: this.path };
    if (text === null) return { facts, text: `data directory ${this.path}: no process has it open` };
    const [, pid] = /"pid":(\d+)/.exec(text) ?? [];
    const runs = pid !== undefined && isRunning(Number(pid));
    return {
      facts: { ...facts, pid: Number(pid), runs },
      text: `data directory ${this.path}: ${runs ? `open in process ${pid}, so what follows may change while it is read` : `process ${pid} had it open and ended without closing it`}`,
    };
  }

  async *#walFiles(): AsyncGenerator<Finding, void, void> {
    const epochs = (await readdir(join(this.path, walName)).catch(absent)) ?? [];
    for (const epoch of epochs.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(a) - Number(b))) {
      const directory = join(this.path, walName, epoch);
      const files = (await readdir(directory).catch(absent)) ?? [];
      for (const name of files.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))) {
        const path = join(directory, name);
        if (walNameOf(path) !== null) yield* this.#walFile(path, `${walName}/${epoch}/${name}`);
      }
    }
  }

  async *#walFile(path: string, shownAs: string): AsyncGenerator<Finding, void, void> {
    const handle = await open(path, "r").catch(absent);
    if (handle === null) return;
    try {
      // Frames one by one are for who asks for this file: here they are counted, and damage is named.
      const walk = walFindings({ handle, path: shownAs, name: walNameOf(path) }, nothing, this.topicName);
      for await (const finding of walk) {
        if (finding.facts.kind !== "frame") yield finding;
      }
    } finally {
      await handle.close();
    }
  }

  async *#objects(check: boolean): AsyncGenerator<Finding, void, void> {
    const objects = await this.store.list("");
    const bytes = objects.reduce((sum, object) => sum + object.bytes, 0);
    const referenced = this.state === null ? null : await this.#referenced(this.state);
    const there = new Set(objects.map(({ key }) => key));
    const segments = objects.filter(({ key }) => key.startsWith("seg/"));
    const unnamed = referenced === null ? [] : segments.filter(({ key }) => !referenced.keys.has(key));
    yield {
      facts: {
        kind: "store",
        objects: objects.length,
        bytes,
        segments: segments.length,
        unnamed: unnamed.map(({ key }) => key),
      },
      text:
        `store: ${formatCount(objects.length)} objects, ${formatBytes(bytes)}, ${formatCount(segments.length)} of them segments and lists` +
        (unnamed.length === 0
          ? ""
          : `, ${formatCount(unnamed.length)} named by nothing (being written, or to be removed)`),
    };
    yield* referenced?.damage ?? [];
    for (const key of referenced?.keys ?? []) {
      if (!there.has(key) && (await this.store.get(key, { start: 0, length: 1 })) === null) {
        yield damage(key, "the journal names it and it is not there");
      }
    }
    if (!check) return;
    const { clusterId } = this.state ?? { clusterId: "" };
    for (const { object, reason } of (
      await inspectJournal({ store: this.store, env: this.#env, sha256 }, clusterId)
    ).findings) {
      yield damage(object, reason);
    }
    for (const { key } of segments) {
      const whole = await this.store.get(key);
      if (whole === null) continue;
      for (const finding of objectFindings(
        { key, bytes: whole, list: this.listOf(key) },
        nothing,
        this.topicName,
      )) {
        if (finding.facts.kind === "damage") yield finding;
      }
    }
    yield {
      facts: { kind: "checked", objects: objects.length, bytes },
      text: `checked: every byte of ${formatCount(objects.length)} objects was read`,
    };
  }

  /** Keys that the journal names, through its lists as well. */
  async #referenced(
    state: ClusterState,
  ): Promise<{ readonly keys: ReadonlySet<string>; readonly damage: readonly Finding[] }> {
    const keys = new Set<string>();
    const found: Finding[] = [];
    const lists = new SegmentIndex(this.store, indexBytesMax);
    for (const topic of state.topics.values()) {
      for (const { index: partition, folded, recent, start } of topic.partitions) {
        for (const { object } of recent) keys.add(object);
        // A list that lies wholly below the log's start may have been removed.
        for (let pointer = folded; isListed(pointer, start); ) {
          const { object } = pointer;
          keys.add(object);
          try {
            const { segments, previous } = await lists.list({ topicId: topic.id, partition }, pointer);
            for (const ref of segments) if (ref.end > start) keys.add(ref.object);
            pointer = previous;
          } catch (cause) {
            if (!(cause instanceof HoldfastError)) throw cause;
            found.push(damage(object, cause.message));
            break;
          }
        }
      }
    }
    return { keys, damage: found };
  }

  async *#kept(): AsyncGenerator<Finding, void, void> {
    const names = (await readdir(join(this.path, "quarantine")).catch(absent)) ?? [];
    for (const name of names.sort()) {
      const facts = await stat(join(this.path, "quarantine", name)).catch(absent);
      if (facts === null) continue;
      yield {
        facts: { kind: "quarantine", path: `quarantine/${name}`, bytes: facts.size },
        text: `kept: quarantine/${name}, ${formatBytes(facts.size)}: bytes behind the end of a log that recovery could not prove unacknowledged`,
      };
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
