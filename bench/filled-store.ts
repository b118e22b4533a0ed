/**
 * A shared directory store that looks as if brokers had worked over it for long: topics, segments, lists of older
 * segments and the journal that names them, written by the rooms that brokers write them with. Its author has ended
 * itself, so the brokers that start over it own everything. Nothing goes through a WAL, so it is as quick as the disk.
 */
import { join } from "node:path";
import { offset, type Offset, partitionIndex, topicIdFromBytes, type TopicId } from "../src/base/ids.ts";
import type { Env, ObjectStore } from "../src/base/ports.ts";
import { systemClock } from "../src/io/clock.ts";
import { loadNativeCrc32c } from "../src/io/crc32c-native.ts";
import { openDisk } from "../src/io/disk.ts";
import { openMeter } from "../src/io/meter.ts";
import { systemRandom } from "../src/io/random.ts";
import { sha256 } from "../src/io/sha256.ts";
import { openSharedDirectory } from "../src/io/shared-directory.ts";
import { foldSegments, needsFold } from "../src/log/fold.ts";
import { ObjectNames } from "../src/log/object-names.ts";
import { storeObject } from "../src/log/object-writer.ts";
import { SegmentIndex } from "../src/log/segment-index.ts";
import type { FlushRow } from "../src/log/segment-ref.ts";
import { buildObject, packBytesTarget, planObjects, type SectionDraft } from "../src/log/segment-writer.ts";
import type { Command } from "../src/metadata/commands.ts";
import { Journal } from "../src/metadata/journal.ts";
import { encodeSnapshotObject } from "../src/metadata/slot.ts";
import type { PartitionState } from "../src/metadata/state.ts";
import { BatchView } from "../src/record/batch.ts";
import { DirectoryStore } from "../src/store/directory-store.ts";
import { aBatch } from "../test/proof/segment-world.ts";

export interface Filling {
  readonly topics: number;
  readonly partitionsPerTopic: number;
  readonly segmentsPerPartition: number;
  /** Of records in each segment. */
  readonly segmentBytes: number;
}

export interface Filled {
  readonly topics: readonly string[];
  readonly bytes: number;
  readonly segments: number;
  /** Journal slots, and the size of a snapshot of what they say. */
  readonly slots: number;
  readonly snapshotBytes: number;
  /** References that are not in lists. */
  readonly recentSegments: number;
}

interface Place {
  readonly topicId: TopicId;
  readonly index: number;
}

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const recordBytesMax = 512 * 1024;
/** Rows of one FLUSH at most, as of one round over this many partitions. */
const rowsMax = 2_000;

export async function fillStore(directory: string, filling: Filling): Promise<Filled> {
  loadNativeCrc32c();
  openSharedDirectory(directory);
  const env: Env = { clock: systemClock, random: systemRandom(), log: silent, meter: openMeter() };
  const store = await DirectoryStore.open(openDisk(directory), {
    directory: "store",
    random: env.random,
    shared: true,
  });
  const journal = await Journal.open({ store, env, sha256, walKind: "object" });
  const epoch = await journal.register({
    name: "filler:1",
    nodeId: -1 as never,
    rack: null,
    listeners: [{ name: "PLAINTEXT", host: "127.0.0.1", port: 1 }],
    window: 8,
    software: "bench",
  });
  const author = new Author(env, store, journal, new ObjectNames(journal.state.clusterId, epoch));
  const topics = await author.createTopics(filling);
  for (let at = 0; at < filling.segmentsPerPartition; at++) await author.addSegments(filling.segmentBytes);
  await author.append({ kind: "fence", epoch });
  const { state } = journal;
  const filled: Filled = {
    topics,
    ...author.written,
    slots: state.nextSlot,
    snapshotBytes: encodeSnapshotObject(state, sha256).byteLength,
    recentSegments: Array.from(state.topics.values())
      .flatMap(({ partitions }) => partitions)
      .reduce((sum, { recent }) => sum + recent.length, 0),
  };
  await journal.close();
  store.close();
  return filled;
}

class Author {
  readonly #env: Env;
  readonly #store: ObjectStore;
  readonly #journal: Journal;
  readonly #names: ObjectNames;
  readonly #index: SegmentIndex;
  readonly #places: Place[] = [];
  #bytes = 0;
  #segments = 0;

  constructor(env: Env, store: ObjectStore, journal: Journal, names: ObjectNames) {
    this.#env = env;
    this.#store = store;
    this.#journal = journal;
    this.#names = names;
    this.#index = new SegmentIndex(store, 64 * 1024 * 1024);
  }

  get written(): { readonly bytes: number; readonly segments: number } {
    return { bytes: this.#bytes, segments: this.#segments };
  }

  async append(command: Command): Promise<void> {
    const outcome = await this.#journal.append(command);
    if (outcome.kind === "void") throw new Error(`${command.kind} was void: ${outcome.reason}`);
  }

  async createTopics({ topics, partitionsPerTopic }: Filling): Promise<readonly string[]> {
    const names: string[] = [];
    for (let at = 0; at < topics; at++) {
      const id = topicIdFromBytes(this.#env.random.bytes(16));
      const name = `filled-${at}`;
      names.push(name);
      const assignment = { owner: this.#names.epoch, exceptions: [] };
      const command = { id, name, partitionCount: partitionsPerTopic, assignment, configs: [] };
      await this.append({ kind: "topic", ...command });
      for (let index = 0; index < partitionsPerTopic; index++) this.#places.push({ topicId: id, index });
    }
    return names;
  }

  /** One more in each partition: objects as a flusher packs them, and a FLUSH for what it would write at once. */
  async addSegments(bytes: number): Promise<void> {
    const perRound = Math.max(1, Math.min(rowsMax, Math.ceil((packBytesTarget * 4) / bytes)));
    for (let from = 0; from < this.#places.length; from += perRound) {
      await this.#flush(this.#places.slice(from, from + perRound), bytes);
    }
    await Promise.all(this.#places.map((place) => this.#fold(place)));
  }

  async #flush(places: readonly Place[], bytes: number): Promise<void> {
    const drafts = places.map((place) => this.#draft(place, bytes));
    const rows: FlushRow[] = [];
    for (const group of planObjects(drafts)) {
      const object = await storeObject(this.#store, this.#names, (origin) =>
        buildObject(origin, group, () => Promise.resolve()),
      );
      this.#names.settle(object.origin);
      group.forEach((draft, at) => rows.push(this.#row(draft, object.content.refs[at] as never)));
      this.#bytes += object.length;
    }
    this.#segments += rows.length;
    await this.append({ kind: "flush", rows, release: 0 as never, below: this.#names.below() });
  }

  #row(draft: SectionDraft, segment: NonNullable<FlushRow["segment"]>): FlushRow {
    const { leaderEpoch } = this.#state(draft);
    const { topicId, partition, base, end } = draft;
    return { topicId, partition, leaderEpoch, from: base, to: end, start: offset(-1), segment };
  }

  #draft({ topicId, index }: Place, bytes: number): SectionDraft {
    const partition = partitionIndex(index);
    const base = this.#state({ topicId, partition }).flushed;
    const now = Date.now();
    const batches = [];
    let end: Offset = base;
    for (let left = bytes; left > 0; left -= recordBytesMax) {
      batches.push(copyOf(template(Math.min(left, recordBytesMax), now), end));
      end = offset(end + 1);
    }
    const state = {
      recordedMs: now,
      producers: [],
      aborted: [],
      leaderEpochs: [],
    };
    return { topicId, partition, base, end, batches, appendedFirstMs: now, appendedLastMs: now, state };
  }

  #state({ topicId, partition }: Pick<SectionDraft, "topicId" | "partition">): PartitionState {
    const found = this.#journal.state.topics.get(topicId)?.partitions[partition];
    if (found === undefined) throw new Error(`there is no partition ${partition} of ${topicId}`);
    return found;
  }

  async #fold({ topicId, index }: Place): Promise<void> {
    const partition = partitionIndex(index);
    const { leaderEpoch, start, ...segments } = this.#state({ topicId, partition });
    if (!needsFold(segments)) return;
    await foldSegments(
      { topicId, partition, leaderEpoch, logStart: start, segments: () => segments },
      {
        env: this.#env,
        store: this.#store,
        names: this.#names,
        index: this.#index,
        publishFold: async (fold) => {
          await this.append({ kind: "fold", ...fold });
          return "published";
        },
      },
    );
  }
}

const templates = new Map<number, Uint8Array>();

/** One record's batch of so many bytes; drawing each anew would take longer than writing it. */
function template(bytes: number, now: number): Uint8Array {
  let found = templates.get(bytes);
  if (found === undefined) {
    found = aBatch({ base: 0, size: bytes, maxTimestamp: now }).payload;
    templates.set(bytes, found);
  }
  return found;
}

/** Offset and leader epoch are not in a batch's checksum. */
function copyOf(payload: Uint8Array, base: Offset): SectionDraft["batches"][number] {
  const copy = Uint8Array.from(payload);
  BatchView.at(copy).stampOffsets(base, 0 as never);
  return { payload: copy, baseOffset: base, count: 1 };
}

/** Where `--store` finds it. */
export const storeOf = (directory: string): string => `file:${join(directory, "shared")}`;
