/**
 * The life of segments in a drawn world: appends, flushes, folds, retention, deletions and garbage
 * collection at the same time, full disks, and a process that dies at any store or journal operation and
 * comes back as a new epoch. After each death: every durable batch at or above the log start is in a
 * segment or in the WAL, byte for byte, and the newest footer is there. `variant` breaks one rule, so
 * that it can be seen that the check sees it.
 */
import { concatBytes, equalBytes } from "../../src/base/bytes.ts";
import { DiskError } from "../../src/base/errors.ts";
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  type Offset,
  partitionIndex,
  type WalPosition,
  walPosition,
} from "../../src/base/ids.ts";
import { Flusher } from "../../src/log/flush.ts";
import type { FlushSource, SegmentBatch, Unflushed } from "../../src/log/flush-source.ts";
import type { FoldRequest } from "../../src/log/fold.ts";
import { Garbage, type GarbageView } from "../../src/log/garbage.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import { Retention, type RetentionSource, type TrimRequest } from "../../src/log/retention.ts";
import { SegmentIndex } from "../../src/log/segment-index.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import type { Flush, FlushRow } from "../../src/log/segment-ref.ts";
import { flushPartition, foldPartition, trimPartition } from "../../src/metadata/partition.ts";
import type { PartitionState } from "../../src/metadata/state.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { aBatch, anEnv, emptyState, ManualClock, MemoryStore, orders, settle } from "./segment-world.ts";

export const variants = [
  "release before publish",
  "publish before the put is durable",
  "garbage of live authors",
  "every number settled",
  "newest footer dropped",
  "objects of an unknown FLUSH discarded",
] as const;
export type Variant = (typeof variants)[number];

export interface LifeCounts {
  worlds: number;
  deaths: number;
  flushes: number;
  folds: number;
  trims: number;
  deletes: number;
  batchesChecked: number;
}

/** Throws at the first loss, with the seed. */
export async function run(options: {
  readonly worlds: number;
  readonly firstSeed?: number;
  readonly variant?: Variant;
}): Promise<LifeCounts> {
  const counts: LifeCounts = {
    worlds: 0,
    deaths: 0,
    flushes: 0,
    folds: 0,
    trims: 0,
    deletes: 0,
    batchesChecked: 0,
  };
  const first = options.firstSeed ?? 1;
  for (let seed = first; seed < first + options.worlds; seed++) {
    try {
      await new World(new SimRandom(seed), counts, options.variant ?? null).live();
    } catch (cause) {
      throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause });
    }
    counts.worlds++;
  }
  return counts;
}

const partitionCount = 3;
const forever = new Promise<never>(() => undefined);

interface WalEntry {
  readonly partition: number;
  readonly batch: SegmentBatch;
  readonly end: WalPosition;
}

/** What outlives a process, and the truth to compare it with. */
class World {
  readonly random: SimRandom;
  readonly counts: LifeCounts;
  readonly variant: Variant | null;
  readonly store = new MemoryStore();
  readonly clock = new ManualClock();
  readonly truth: SegmentBatch[][] = Array.from({ length: partitionCount }, () => []);
  /** Log starts that were made durable. */
  readonly starts = Array.from({ length: partitionCount }, () => 0);
  readonly states: PartitionState[];
  /** Entries that no release has let go, by epoch. */
  readonly wals = new Map<number, WalEntry[]>();
  readonly below = new Map<number, number>();
  readonly limits;
  epoch = 1;
  isDying = false;
  /** What made a process give up. */
  failure: Error | null = null;

  constructor(random: SimRandom, counts: LifeCounts, variant: Variant | null) {
    this.random = random;
    this.counts = counts;
    this.variant = variant;
    this.limits = random.pick([
      { retentionMs: -1, retentionBytes: -1 },
      { retentionMs: 30, retentionBytes: -1 },
      { retentionMs: 900, retentionBytes: 12_000 },
    ]);
    this.states = Array.from({ length: partitionCount }, (_, i) => ({
      index: partitionIndex(i),
      owner: brokerEpoch(1),
      leaderEpoch: leaderEpoch(0),
      start: offset(0),
      flushed: offset(0),
      folded: null,
      recent: [],
      compacted: null,
      dependencies: [],
    }));
  }

  async live(): Promise<void> {
    for (let life = this.random.between(2, 4); life > 0; life--) {
      this.isDying = false;
      this.wals.set(this.epoch, []);
      await new Life(this).run(this.random.between(10, 150));
      this.isDying = true;
      await settle();
      await this.check();
      if (this.failure !== null) throw this.failure;
      this.counts.deaths++;
      this.epoch++;
      for (const [i, state] of this.states.entries()) {
        const owner = brokerEpoch(this.epoch);
        const position = walPosition(0);
        const dependencies = [{ epoch: brokerEpoch(this.epoch - 1), from: position, to: position }];
        this.states[i] = { ...state, owner, leaderEpoch: leaderEpoch(state.leaderEpoch + 1), dependencies };
      }
    }
  }

  /** What a new process would find. */
  async check(): Promise<void> {
    const reader = new SegmentReader({ store: this.store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
    for (const [i, state] of this.states.entries()) {
      const source = { ...orders, partition: state.index, segments: () => state };
      if (state.flushed > 0) {
        const newest = await reader.index.newest(source);
        if (newest?.footer.end !== state.flushed || newest.footer.state.recordedMs !== state.flushed) {
          throw new Error(`the newest footer of partition ${i} is not that of ${state.flushed}`);
        }
      }
      const inWal = new Map<Offset, Uint8Array>();
      for (const entries of this.wals.values()) {
        for (const { partition, batch } of entries)
          if (partition === i) inWal.set(batch.baseOffset, batch.payload);
      }
      const start = Math.max(state.start, this.starts[i] as number);
      const kept = (this.truth[i] as SegmentBatch[]).filter(
        ({ baseOffset, count }) => baseOffset + count > start,
      );
      for (const batch of kept) {
        this.counts.batchesChecked++;
        if (batch.baseOffset >= state.flushed) {
          const found = inWal.get(batch.baseOffset);
          if (found === undefined || !equalBytes(found, batch.payload))
            throw lost(i, batch, "not in the WAL");
          continue;
        }
        const bounds = { bytesMax: 1, limit: state.flushed };
        const read = await reader.read(source, offset(Math.max(start, batch.baseOffset)), bounds);
        if (read.kind !== "batches" || !equalBytes(concatBytes(read.chunks), batch.payload)) {
          throw lost(i, batch, read.kind === "damaged" ? read.error.message : read.kind);
        }
      }
    }
  }

  /** A full disk is waited out; anything else ends the process. */
  failed(cause: unknown): void {
    if (cause instanceof DiskError) return;
    this.failure ??= cause as Error;
    this.isDying = true;
  }

  /** Lets others go on for a while. */
  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** The moment at which the process may die: nothing of it goes on. `true`: what was asked took effect before. */
  async moment(): Promise<boolean> {
    if (this.isDying) return forever;
    await this.turns(this.random.between(1, 5));
    if (this.isDying) return forever;
    if (this.random.chance(0.004)) {
      this.isDying = true;
      return this.random.chance(0.5);
    }
    return true;
  }
}

const lost = (partition: number, batch: SegmentBatch, why: string) =>
  new Error(`offset ${batch.baseOffset} of partition ${partition} is lost: ${why}`);

/** One process. */
class Life {
  readonly #world: World;
  readonly #wal: WalEntry[];
  readonly #partitions: LivePartition[];
  readonly #flusher: Flusher;
  readonly #retention: Retention;
  readonly #garbage: Garbage;
  #position = 0;

  constructor(world: World) {
    this.#world = world;
    this.#wal = world.wals.get(world.epoch) as WalEntry[];
    this.#partitions = world.states.map((_, i) => new LivePartition(world, i));
    const env = anEnv(world.clock);
    const store = dyingStore(world);
    const index = new SegmentIndex(store, 1 << 20);
    const names = new ObjectNames("cluster", brokerEpoch(world.epoch));
    if (world.variant === "every number settled") names.below = () => 1 << 30;
    const onFailure = (cause: Error) => world.failed(cause);
    const shared = { env, store, names, index, sources: () => this.#partitions, onFailure };
    this.#flusher = new Flusher({
      ...shared,
      wal: this.#walPort(),
      publishFlush: (flush) => this.#publishFlush(flush),
      publishFold: (fold) => this.#publishFold(fold),
      unflushedBytes: () => 0,
      unflushedBytesTrigger: 1,
      isAwaited: () => false,
      ageMs: 1 << 30,
    });
    const publishTrim = (trim: TrimRequest) => this.#publishTrim(trim);
    this.#retention = new Retention({ ...shared, publishTrim, intervalMs: 1 << 30 });
    const view = () => this.#view();
    this.#garbage = new Garbage({
      env,
      store,
      index,
      view,
      graceMs: 0,
      isUrgent: () => false,
      intervalMs: 1 << 30,
      onFailure,
    });
  }

  async run(steps: number): Promise<void> {
    const { random, clock } = this.#world;
    for (let i = 0; i < steps && !this.#world.isDying; i++) {
      const doing: Promise<unknown>[] = [];
      for (let n = random.between(1, 5); n > 0; n--) this.#append();
      if (random.chance(0.8)) doing.push(this.#flusher.flush());
      if (random.chance(0.3)) doing.push(this.#retention.round());
      if (random.chance(0.5)) doing.push(this.#sweepLater());
      if (random.chance(0.1)) this.#deleteRecords();
      for (let n = random.below(3); n > 0; n--) this.#append();
      // A full disk is an expected end of a round; whoever died never ends.
      const ended = Promise.allSettled(doing).then((results) => {
        for (const result of results) if (result.status === "rejected") this.#world.failed(result.reason);
      });
      let isOver = false;
      void ended.then(() => {
        isOver = true;
      });
      while (!isOver) {
        await this.#world.turns(1);
        if (this.#world.isDying) return;
      }
      clock.nowMs += random.below(20);
    }
  }

  async #sweepLater(): Promise<void> {
    await this.#world.turns(this.#world.random.below(25));
    await this.#garbage.round();
  }

  #append(): void {
    const { random, truth } = this.#world;
    const partition = random.below(partitionCount);
    const log = truth[partition] as SegmentBatch[];
    const last = log.at(-1);
    const base = last === undefined ? 0 : last.baseOffset + last.count;
    const batch = aBatch({ base, count: random.between(1, 3), size: random.below(60), random });
    log.push(batch);
    this.#position += batch.payload.byteLength;
    const entry = { partition, batch, end: walPosition(this.#position) };
    this.#wal.push(entry);
    (this.#partitions[partition] as LivePartition).entries.push(entry);
  }

  #deleteRecords(): void {
    const { random, starts } = this.#world;
    const index = random.below(partitionCount);
    const partition = this.#partitions[index] as LivePartition;
    const start = random.between(partition.logStart, partition.end);
    starts[index] = start;
    partition.startPublished(offset(start));
  }

  #walPort() {
    const position = () => walPosition(this.#position);
    const release = (below: WalPosition) => this.#release(below);
    return {
      get durablePosition() {
        return position();
      },
      release,
    };
  }

  #release(below: WalPosition): void {
    if (this.#world.isDying) return;
    const kept = this.#wal.findIndex(({ end }) => end > below);
    this.#wal.splice(0, kept < 0 ? this.#wal.length : kept);
    // A FLUSH also clears what depended on the WALs before.
    for (const epoch of this.#world.wals.keys())
      if (epoch < this.#world.epoch) this.#world.wals.delete(epoch);
  }

  async #publishFlush(flush: Flush): Promise<"published" | "void"> {
    const { states, variant, counts, below, epoch } = this.#world;
    if (variant === "release before publish") this.#release(flush.release);
    if (!(await this.#world.moment())) return forever;
    const next = [...states];
    for (const row of flush.rows) {
      const changed = flushPartition(states[row.partition] as PartitionState, row);
      if (changed.kind === "void") throw new Error(`a FLUSH is void: ${changed.reason}`);
      next[row.partition] = changed.partition;
    }
    states.splice(0, states.length, ...next);
    below.set(epoch, Math.max(below.get(epoch) ?? 0, flush.below));
    counts.flushes++;
    if (variant === "objects of an unknown FLUSH discarded" && this.#world.random.chance(0.1))
      throw fullDisk();
    return this.#world.isDying ? forever : "published";
  }

  async #publishFold(fold: FoldRequest): Promise<"published" | "void"> {
    if (!(await this.#world.moment())) return forever;
    const changed = foldPartition(this.#world.states[fold.partition] as PartitionState, fold);
    if (changed.kind === "void") return "void";
    this.#world.states[fold.partition] = changed.partition;
    this.#world.counts.folds++;
    return this.#world.isDying ? forever : "published";
  }

  async #publishTrim(trim: TrimRequest): Promise<"published" | "void"> {
    const { states, variant, counts } = this.#world;
    if (!(await this.#world.moment())) return forever;
    const changed = trimPartition(states[trim.partition] as PartitionState, trim);
    if (changed.kind === "void") return "void";
    const partition = changed.partition;
    const recent =
      variant === "newest footer dropped" ? partition.recent.filter(({ end }) => end > trim.start) : null;
    states[trim.partition] = recent === null ? partition : { ...partition, recent };
    counts.trims++;
    return this.#world.isDying ? forever : "published";
  }

  #view(): GarbageView {
    const { states, variant, below, epoch } = this.#world;
    const partitions = states.map((state) => ({ ...orders, partition: state.index, ...state }));
    const isLiveSettled = (counter: number) => counter < (below.get(epoch) ?? 0);
    return {
      partitions,
      isSettled: (author, counter) =>
        variant === "garbage of live authors" ||
        author < epoch ||
        (author === epoch && isLiveSettled(counter)),
    };
  }
}

class LivePartition implements FlushSource, RetentionSource {
  readonly topicId = orders.topicId;
  readonly partition;
  readonly #world: World;
  readonly #index: number;
  /** Not flushed yet; loaded ones count as lying at position 0. */
  entries: WalEntry[];
  logStart: Offset;
  readonly #loadedEnd: Offset;

  get unflushedBytes(): number {
    return this.entries.reduce((sum, entry) => sum + entry.batch.payload.byteLength, 0);
  }

  constructor(world: World, index: number) {
    this.#world = world;
    this.#index = index;
    this.partition = partitionIndex(index);
    const { flushed, start } = this.state;
    const loaded = [...world.wals.values()].flat().filter((entry) => entry.partition === index);
    this.entries = loaded
      .filter(({ batch }) => batch.baseOffset >= flushed)
      .map((entry) => ({ ...entry, end: walPosition(0) }));
    this.logStart = offset(Math.max(start, world.starts[index] as number));
    this.#loadedEnd = this.end;
  }

  get state(): PartitionState {
    return this.#world.states[this.#index] as PartitionState;
  }
  get leaderEpoch() {
    return this.state.leaderEpoch;
  }
  get flushedEnd(): Offset {
    return this.state.flushed;
  }
  get end(): Offset {
    const last = this.entries.at(-1)?.batch;
    return last === undefined ? this.state.flushed : offset(last.baseOffset + last.count);
  }
  get lastStable(): Offset {
    return this.end;
  }
  get config() {
    return { deletes: true, ...this.#world.limits };
  }
  segments() {
    return this.state;
  }
  startPublished(start: Offset): void {
    if (start > this.logStart) this.logStart = start;
  }

  unflushed(below: WalPosition): Unflushed | null {
    const { flushed: from, start: known, dependencies } = this.state;
    const batches = this.entries.filter(({ end }) => end <= below).map(({ batch }) => batch);
    const last = batches.at(-1);
    const to = last === undefined ? from : offset(last.baseOffset + last.count);
    if (to < this.#loadedEnd && dependencies.length > 0)
      throw new Error("what was loaded is flushed as a whole");
    const start = offset(Math.min(this.logStart, to));
    const hasStart = start > known;
    if (to === from && !hasStart && dependencies.length === 0) return null;
    const wallMs = this.#world.clock.nowMs;
    return {
      leaderEpoch: this.leaderEpoch,
      from,
      to,
      start: hasStart ? start : offset(-1),
      batches: batches.filter(({ baseOffset, count }) => baseOffset + count > this.logStart),
      appendedFirstMs: wallMs,
      appendedLastMs: wallMs,
      state: { ...emptyState, recordedMs: to },
    };
  }

  published(row: FlushRow): void {
    this.entries = this.entries.filter(({ batch }) => batch.baseOffset >= row.to);
  }
}

function dyingStore(world: World): MemoryStore {
  const store = new MemoryStore();
  store.get = async (key, range) => {
    if (!(await world.moment())) return forever;
    return world.store.get(key, range);
  };
  store.putIfAbsent = async (key, chunks, length) => {
    if (world.random.chance(0.02)) throw fullDisk();
    if (world.variant === "publish before the put is durable") {
      void world
        .moment()
        .then((isAlive) => (isAlive ? world.store.putIfAbsent(key, chunks, length) : "exists"));
      return "created";
    }
    if (!(await world.moment())) return forever;
    const outcome = await world.store.putIfAbsent(key, chunks, length);
    return world.isDying ? forever : outcome;
  };
  store.list = (prefix) => world.store.list(prefix);
  store.delete = async (key) => {
    if (!(await world.moment())) return forever;
    world.counts.deletes++;
    await world.store.delete(key);
  };
  return store;
}

const fullDisk = () => new DiskError({ errno: "ENOSPC", operation: "write", path: "seg" });
