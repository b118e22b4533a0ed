/**
 * Compaction in a drawn world: appends of keys, tombstones and transactions, flushes, folds, deletions,
 * passes of compaction with much and with little memory, garbage collection and readers at the same time,
 * full disks, and a process that dies at any store or journal operation and comes back as a new epoch.
 * After each death a model (`compaction-model.ts`) is compared with what can be read. `variant` breaks one
 * rule, so that it can be seen that the check sees it.
 */
import { DiskError } from "../../src/base/errors.ts";
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  type Offset,
  partitionIndex,
  producerEpoch,
  producerId,
  type WalPosition,
  walPosition,
} from "../../src/base/ids.ts";
import { Compaction, type CompactionSource } from "../../src/log/compaction.ts";
import { Flusher } from "../../src/log/flush.ts";
import type { FlushSource, SegmentBatch, Unflushed } from "../../src/log/flush-source.ts";
import type { FoldRequest } from "../../src/log/fold.ts";
import { Garbage, type GarbageView } from "../../src/log/garbage.ts";
import { logConfigDefaults } from "../../src/log/log-config.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import type { AbortedTransaction, ProducerSnapshot } from "../../src/log/segment-format.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import type { Flush, FlushRow, Replacement } from "../../src/log/segment-ref.ts";
import { flushPartition, foldPartition, replacePartition } from "../../src/metadata/partition.ts";
import type { PartitionState } from "../../src/metadata/state.ts";
import { BatchView, batchesIn, Codec } from "../../src/record/batch.ts";
import { buildBatch } from "../../src/record/builder.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { compare, decode, type ModelRecord, type Transaction } from "./compaction-model.ts";
import { anEnv, emptyState, ManualClock, MemoryStore, orders, settle } from "./segment-world.ts";

export const variants = [
  "tombstones before their time",
  "a partial pass told as a whole one",
  "control records compacted by key",
  "old objects deleted before the new ones are published",
  "publish before the put is durable",
  "compaction above the last stable offset",
] as const;
export type Variant = (typeof variants)[number];

export interface CompactionCounts {
  worlds: number;
  deaths: number;
  flushes: number;
  folds: number;
  replacements: number;
  deletes: number;
  reads: number;
  recordsChecked: number;
  /** Records that a check found gone, and rightly so. */
  superseded: number;
}

/** Throws at the first loss, with the seed. */
export async function run(options: {
  readonly worlds: number;
  readonly firstSeed?: number;
  readonly variant?: Variant;
}): Promise<CompactionCounts> {
  const counts: CompactionCounts = {
    worlds: 0,
    deaths: 0,
    flushes: 0,
    folds: 0,
    replacements: 0,
    deletes: 0,
    reads: 0,
    recordsChecked: 0,
    superseded: 0,
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

const partitionCount = 2;
const producerCount = 2;
const forever = new Promise<never>(() => undefined);

interface WalEntry {
  readonly partition: number;
  readonly batch: SegmentBatch;
  readonly end: WalPosition;
  readonly appendedMs: number;
}

/** What outlives a process, and the truth to compare it with. */
class World {
  readonly random: SimRandom;
  readonly counts: CompactionCounts;
  readonly variant: Variant | null;
  readonly store = new MemoryStore();
  readonly clock = new ManualClock();
  readonly truth: ModelRecord[][] = Array.from({ length: partitionCount }, () => []);
  /** By partition and producer. */
  readonly open: (Transaction | undefined)[][] = Array.from({ length: partitionCount }, () => []);
  readonly aborted: AbortedTransaction[][] = Array.from({ length: partitionCount }, () => []);
  /** Log starts that were made durable. */
  readonly starts = Array.from({ length: partitionCount }, () => 0);
  readonly ends = Array.from({ length: partitionCount }, () => 0);
  readonly states: PartitionState[];
  /** Entries that no release has let go, by epoch. */
  readonly wals = new Map<number, WalEntry[]>();
  readonly below = new Map<number, number>();
  readonly config;
  readonly keyBytesMax: number;
  readonly bytesTarget: number;
  epoch = 1;
  isDying = false;
  /** What made a process give up. */
  failure: Error | null = null;

  constructor(random: SimRandom, counts: CompactionCounts, variant: Variant | null) {
    this.random = random;
    this.counts = counts;
    this.variant = variant;
    this.config = {
      ...logConfigDefaults,
      compacts: true,
      retentionMs: -1,
      deletes: random.chance(0.5),
      dirtyRatioMin: random.pick([0, 0.3, 0.5]),
      compactionLagMinMs: random.pick([0, 0, 40]),
      deleteRetentionMs: random.pick(
        variant === "tombstones before their time"
          ? [200]
          : variant === "a partial pass told as a whole one"
            ? [0]
            : [0, 60, 200],
      ),
    };
    // One key a pass, or all.
    this.keyBytesMax = random.pick(variant === "a partial pass told as a whole one" ? [1] : [1, 1 << 20]);
    this.bytesTarget = random.pick([300, 2_000, 1 << 20]);
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
      await new Life(this).run(this.random.between(10, 130));
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

  /** Below it every transaction is decided. */
  lastStable(partition: number): number {
    const open = this.truth[partition]?.find(({ transaction }) => transaction?.outcome === "open");
    return open?.offset ?? (this.ends[partition] as number);
  }

  /** What a new process would find. */
  async check(): Promise<void> {
    const reader = new SegmentReader({ store: this.store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
    for (const [i, state] of this.states.entries()) {
      const source = { ...orders, partition: state.index, segments: () => state };
      const start = Math.max(state.start, this.starts[i] as number);
      const newest = await reader.index.newest(source);
      if (state.flushed > 0 && newest?.footer.state.recordedMs !== state.flushed) {
        throw new Error(
          `the footer of ${state.flushed} is lost: ${newest?.footer.state.recordedMs} is the newest`,
        );
      }
      const batches = await readAll(reader, source, start, state.flushed);
      const inWal = [...this.wals.values()].flat().filter(({ partition }) => partition === i);
      for (const { batch } of inWal) {
        if (batch.baseOffset >= state.flushed) batches.push(BatchView.at(batch.payload));
      }
      const abortedMarkers = new Set<number>();
      for (const ref of await reader.index.from(source, offset(0))) {
        const { aborted } = (await reader.index.footer(source, ref)).state;
        for (const { lastOffset } of aborted) abortedMarkers.add(lastOffset);
      }
      for (const { lastOffset } of this.aborted[i] as AbortedTransaction[]) {
        if (lastOffset >= state.flushed) abortedMarkers.add(lastOffset);
      }
      const found = decode(batches);
      const { deleteRetentionMs } = this.config;
      this.counts.recordsChecked += found.size;
      const reading = { found, abortedMarkers, start, nowMs: this.clock.nowMs, deleteRetentionMs };
      this.counts.superseded += compare(this.truth[i] as ModelRecord[], reading);
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

  /** The moment at which the process may die: nothing of it goes on. */
  async moment(): Promise<boolean> {
    if (this.isDying) return forever;
    await this.turns(this.random.between(1, 3));
    if (this.isDying) return forever;
    if (this.random.chance(0.003)) {
      this.isDying = true;
      return this.random.chance(0.5);
    }
    return true;
  }
}

type ReadSource = Parameters<SegmentReader["read"]>[0];

async function readAll(
  reader: SegmentReader,
  source: ReadSource,
  start: number,
  end: number,
): Promise<BatchView[]> {
  const batches: BatchView[] = [];
  for (let at = start; at < end; ) {
    const read = await reader.read(source, offset(at), { bytesMax: 500, limit: offset(end) });
    if (read.kind !== "batches") {
      throw new Error(`offset ${at} is lost: ${read.kind === "damaged" ? read.error.message : read.kind}`);
    }
    for (const chunk of read.chunks) {
      for (const batch of batchesIn(Buffer.from(chunk))) if (batch.baseOffset < end) batches.push(batch);
    }
    if (read.next <= at) throw new Error(`offset ${at} is lost: reading does not get on`);
    at = read.next;
  }
  return batches;
}

/** One process. */
class Life {
  readonly #world: World;
  readonly #wal: WalEntry[];
  readonly #partitions: LivePartition[];
  readonly #flusher: Flusher;
  readonly #compaction: Compaction;
  readonly #garbage: Garbage;
  readonly #reader: SegmentReader;
  #position = 0;

  constructor(world: World) {
    this.#world = world;
    this.#wal = world.wals.get(world.epoch) as WalEntry[];
    this.#partitions = world.states.map((_, i) => new LivePartition(world, i));
    const { clock, variant } = world;
    const env = anEnv(clock);
    const store = dyingStore(world);
    this.#reader = new SegmentReader({ store, blockBytesMax: 1 << 16, indexBytesMax: 1 << 20 });
    const { index } = this.#reader;
    const names = new ObjectNames("cluster", brokerEpoch(world.epoch));
    const onFailure = (cause: Error) => world.failed(cause);
    const shared = { store, names, index, sources: () => this.#partitions, onFailure };
    this.#flusher = new Flusher({
      ...shared,
      env,
      wal: this.#walPort(),
      publishFlush: (flush) => this.#publishFlush(flush),
      publishFold: (fold) => this.#publishFold(fold),
      unflushedBytes: () => 0,
      unflushedBytesTrigger: 1,
      isAwaited: () => false,
      ageMs: 1 << 30,
    });
    // Whoever believes that it is later lets tombstones go too early.
    let leadMs = 0;
    const wallMs = () => clock.nowMs + (leadMs += variant === "tombstones before their time" ? 1_000 : 0);
    const early = { wallMs, monotonicMs: () => clock.monotonicMs(), schedule: clock.schedule.bind(clock) };
    const { bytesTarget, keyBytesMax } = world;
    this.#compaction = new Compaction({
      ...shared,
      env: { ...env, clock: early },
      known: ({ partition }) => world.states[partition] as PartitionState,
      publishReplace: (replacement) => this.#publishReplace(replacement),
      settings: () => ({ isEnabled: true, intervalMs: 1 << 30, keyBytesMax, bytesPerSecondMax: Infinity }),
      bytesTarget,
    });
    const view = () => this.#view();
    const isUrgent = () => false;
    const garbage = { env, store, index, view, graceMs: 0, intervalMs: 1 << 30, isUrgent, onFailure };
    this.#garbage = new Garbage(garbage);
  }

  async run(steps: number): Promise<void> {
    const { random, clock } = this.#world;
    // Seldom: then there is a list before compaction comes.
    const compactionChance = random.pick([0.6, 0.6, 0.02]);
    for (let i = 0; i < steps && !this.#world.isDying; i++) {
      const doing: Promise<unknown>[] = [];
      for (let n = random.between(1, 4); n > 0; n--) this.#append();
      if (random.chance(0.7)) doing.push(this.#flusher.flush());
      if (random.chance(compactionChance)) doing.push(this.#compaction.round());
      if (random.chance(0.6)) doing.push(this.#sweepLater());
      if (random.chance(0.4)) doing.push(this.#read());
      if (random.chance(0.05)) this.#deleteRecords();
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
      clock.nowMs += random.below(30);
    }
  }

  async #sweepLater(): Promise<void> {
    await this.#world.turns(this.#world.random.below(25));
    await this.#garbage.round();
  }

  /** A reader under way is never told that something is damaged or gone. */
  async #read(): Promise<void> {
    const { random, states, truth, counts } = this.#world;
    await this.#world.turns(random.below(25));
    const i = random.below(partitionCount);
    const { flushed } = states[i] as PartitionState;
    const start = (this.#partitions[i] as LivePartition).logStart;
    const found = decode(await readAll(this.#reader, this.#partitions[i] as LivePartition, start, flushed));
    const byOffset = new Map((truth[i] as ModelRecord[]).map((record) => [record.offset, record]));
    for (const [at, { key, value }] of found) {
      const record = byOffset.get(at);
      if (record?.key !== key || record.value !== value) throw new Error(`offset ${at} is lost to a reader`);
    }
    counts.reads++;
  }

  #append(): void {
    const { random, truth, clock, open, ends, aborted, variant } = this.#world;
    const partition = random.below(partitionCount);
    const base = ends[partition] as number;
    const producer = random.below(producerCount);
    const transactions = open[partition] as (Transaction | undefined)[];
    let transaction = random.chance(0.4) ? (transactions[producer] ?? null) : null;
    const isMarker = transaction !== null && random.chance(0.5);
    if (transaction === null && random.chance(0.15) && transactions[producer] === undefined) {
      transaction = { producer, outcome: "open", markerOffset: -1 };
      transactions[producer] = transaction;
    }
    const records = isMarker
      ? [{ key: "marker", value: "m" as string | null }]
      : Array.from({ length: random.between(1, 4) }, () => ({
          key: `k${random.below(6)}`,
          value: random.chance(0.3) ? null : `${base}-${random.below(1000)}`,
        }));
    const timestamp = random.chance(0.1) ? -1 : clock.nowMs;
    const payload = buildBatch(
      records.map((record) => ({ ...record, timestamp })),
      {
        baseOffset: offset(base),
        leaderEpoch: leaderEpoch(0),
        codec: random.chance(0.2) ? Codec.gzip : Codec.none,
        ...(transaction === null
          ? {}
          : {
              producerId: producerId(transaction.producer),
              producerEpoch: producerEpoch(0),
              baseSequence: base,
            }),
        isTransactional:
          transaction !== null && !(isMarker && variant === "control records compacted by key"),
        isControl: isMarker && variant !== "control records compacted by key",
      },
    );
    const end = base + records.length;
    ends[partition] = end;
    if (isMarker && transaction !== null) {
      transactions[transaction.producer] = undefined;
      transaction.markerOffset = base;
      transaction.outcome = random.chance(0.5) ? "committed" : "aborted";
      if (transaction.outcome === "aborted") {
        const own = truth[partition]?.find((record) => record.transaction === transaction);
        (aborted[partition] as AbortedTransaction[]).push({
          producerId: producerId(transaction.producer),
          firstOffset: offset(own?.offset ?? base),
          lastOffset: offset(base),
          lastStableOffset: offset(base),
        });
      }
    }
    for (const [i, { key, value }] of records.entries()) {
      truth[partition]?.push({
        offset: base + i,
        key,
        value,
        appendedMs: clock.nowMs,
        transaction,
        isMarker,
      });
    }
    this.#position += payload.byteLength;
    const batch = { payload, baseOffset: offset(base), count: records.length };
    const entry = { partition, batch, end: walPosition(this.#position), appendedMs: clock.nowMs };
    this.#wal.push(entry);
    (this.#partitions[partition] as LivePartition).entries.push(entry);
  }

  #deleteRecords(): void {
    const { random, starts, config } = this.#world;
    if (!config.deletes) return;
    const index = random.below(partitionCount);
    const partition = this.#partitions[index] as LivePartition;
    const start = random.between(partition.logStart, this.#world.lastStable(index));
    starts[index] = start;
    partition.logStart = offset(start);
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
    const { states, counts } = this.#world;
    if (!(await this.#world.moment())) return forever;
    const next = [...states];
    for (const row of flush.rows) {
      const changed = flushPartition(next[row.partition] as PartitionState, row);
      if (changed.kind === "void") throw new Error(`a FLUSH is void: ${changed.reason}`);
      next[row.partition] = changed.partition;
    }
    states.splice(0, states.length, ...next);
    this.#settle(flush.below);
    counts.flushes++;
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

  async #publishReplace(replacement: Replacement): Promise<"published" | "void"> {
    const { states, counts, variant, store } = this.#world;
    if (variant === "old objects deleted before the new ones are published") {
      for (const { old } of replacement.rows) for (const { object } of old) await store.delete(object);
    }
    if (!(await this.#world.moment())) return forever;
    const next = [...states];
    for (const row of replacement.rows) {
      const before = next[row.partition] as PartitionState;
      const isTold = variant === "a partial pass told as a whole one" && row.compacted !== null;
      const compacted = isTold ? { horizonMs: row.compacted.horizonMs, to: before.flushed } : row.compacted;
      const changed = replacePartition(before, { ...row, compacted });
      if (changed.kind === "void") return "void";
      next[row.partition] = changed.partition;
    }
    states.splice(0, states.length, ...next);
    this.#settle(replacement.below);
    counts.replacements++;
    return this.#world.isDying ? forever : "published";
  }

  #settle(below: number): void {
    const { epoch, below: known } = this.#world;
    known.set(epoch, Math.max(known.get(epoch) ?? 0, below));
  }

  #view(): GarbageView {
    const { states, below, epoch } = this.#world;
    const partitions = states.map((state) => ({ ...orders, partition: state.index, ...state }));
    return {
      partitions,
      isSettled: (author, counter) => author < epoch || counter < (below.get(epoch) ?? 0),
    };
  }
}

class LivePartition implements FlushSource, CompactionSource {
  readonly topicId = orders.topicId;
  readonly partition;
  readonly config;
  readonly #world: World;
  readonly #index: number;
  /** Not flushed yet; loaded ones count as lying at position 0. */
  entries: WalEntry[];
  logStart: Offset;

  constructor(world: World, index: number) {
    this.#world = world;
    this.#index = index;
    this.partition = partitionIndex(index);
    this.config = world.config;
    const { flushed, start } = this.#state;
    const loaded = [...world.wals.values()].flat().filter((entry) => entry.partition === index);
    this.entries = loaded
      .filter(({ batch }) => batch.baseOffset >= flushed)
      .map((entry) => ({ ...entry, end: walPosition(0) }));
    this.logStart = offset(Math.max(start, world.starts[index] as number));
  }

  get #state(): PartitionState {
    return this.#world.states[this.#index] as PartitionState;
  }
  get leaderEpoch() {
    return this.#state.leaderEpoch;
  }
  get lastStable(): Offset {
    if (this.#world.variant === "compaction above the last stable offset") return offset(1 << 30);
    return offset(this.#world.lastStable(this.#index));
  }
  segments() {
    return this.#state;
  }

  unflushed(below: WalPosition): Unflushed | null {
    const { flushed: from, start: known, dependencies } = this.#state;
    const covered = this.entries.filter(({ end }) => end <= below);
    const batches = covered.map(({ batch }) => batch);
    const last = batches.at(-1);
    const to = last === undefined ? from : offset(last.baseOffset + last.count);
    const start = offset(Math.min(this.logStart, to));
    const hasStart = start > known;
    if (to === from && !hasStart && dependencies.length === 0) return null;
    const wallMs = this.#world.clock.nowMs;
    const aborted = (this.#world.aborted[this.#index] as AbortedTransaction[]).filter(
      ({ lastOffset }) => lastOffset >= from && lastOffset < to,
    );
    return {
      leaderEpoch: this.leaderEpoch,
      from,
      to,
      start: hasStart ? start : offset(-1),
      batches: batches.filter(({ baseOffset, count }) => baseOffset + count > this.logStart),
      appendedFirstMs: covered[0]?.appendedMs ?? wallMs,
      appendedLastMs: covered.at(-1)?.appendedMs ?? wallMs,
      state: { ...emptyState, recordedMs: to, aborted, producers: this.#openAt(to) },
    };
  }

  /** Producers whose transaction is open as of `end`. */
  #openAt(end: Offset): readonly ProducerSnapshot[] {
    const open = new Map<number, number>();
    if (this.#world.variant === "compaction above the last stable offset") return [];
    for (const { offset: at, transaction, isMarker } of this.#world.truth[this.#index] as ModelRecord[]) {
      if (at >= end || transaction === null) continue;
      if (isMarker) open.delete(transaction.producer);
      else if (!open.has(transaction.producer)) open.set(transaction.producer, at);
    }
    return Array.from(open, ([producer, from]) => ({
      producerId: producerId(producer),
      producerEpoch: producerEpoch(0),
      coordinatorEpoch: -1,
      lastTimestampMs: 0,
      sequenceCount: 0,
      openFrom: offset(from),
      batches: [],
    }));
  }

  published(row: FlushRow): void {
    this.entries = this.entries.filter(({ batch }) => batch.baseOffset >= row.to);
  }
}

function dyingStore(world: World): MemoryStore {
  const store = new MemoryStore();
  store.get = async (key, range, into) => {
    if (!(await world.moment())) return forever;
    return world.store.get(key, range, into);
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
