/**
 * A world in which processes write segments, one after the other: each may die at any operation of the
 * store or of the journal, and what it had asked for then took effect or not. Partitions' states, objects
 * and entries of WALs outlive it. What is appended, what goes on beside the flushes, and what must hold
 * after a death is for those who live in it: segment-life.ts and compaction-life.ts.
 */
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
import type { FlushSource, SegmentBatch, Unflushed } from "../../src/log/flush-source.ts";
import type { FoldRequest } from "../../src/log/fold.ts";
import type { GarbageView } from "../../src/log/garbage.ts";
import type { FooterState } from "../../src/log/segment-format.ts";
import type { Flush, FlushRow } from "../../src/log/segment-ref.ts";
import { flushPartition, foldPartition } from "../../src/metadata/partition.ts";
import type { PartitionState } from "../../src/metadata/state.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { ManualClock, MemoryStore, orders, settle } from "./segment-world.ts";

/** Of a process that died nothing goes on. */
export const forever = new Promise<never>(() => undefined);
export const fullDisk = () => new DiskError({ errno: "ENOSPC", operation: "write", path: "seg" });

export interface WalEntry {
  readonly partition: number;
  readonly batch: SegmentBatch;
  readonly end: WalPosition;
  readonly appendedMs: number;
}

export interface MortalCounts {
  deaths: number;
  flushes: number;
  folds: number;
  deletes: number;
}

/** What outlives a process. */
export class MortalWorld {
  readonly random: SimRandom;
  readonly counts: MortalCounts;
  readonly store = new MemoryStore();
  readonly clock = new ManualClock();
  /** As the journal has them. */
  readonly states: PartitionState[];
  /** Log starts that were made durable. */
  readonly starts: number[];
  /** Entries that no release has let go, by epoch. */
  readonly wals = new Map<number, WalEntry[]>();
  /** Objects of an epoch with a lower number are published or garbage. */
  readonly below = new Map<number, number>();
  readonly #risk: { readonly turnsMax: number; readonly deathChance: number };
  epoch = 1;
  isDying = false;
  /** What made a process give up. */
  #failure: Error | null = null;

  /** `risk`, of each moment: how long it takes at most, and how often it is the last. */
  constructor(
    random: SimRandom,
    partitionCount: number,
    counts: MortalCounts,
    risk: { readonly turnsMax: number; readonly deathChance: number },
  ) {
    this.random = random;
    this.counts = counts;
    this.#risk = risk;
    this.starts = Array.from({ length: partitionCount }, () => 0);
    this.states = this.starts.map((_, i) => ({
      index: partitionIndex(i),
      owner: brokerEpoch(1),
      leaderEpoch: leaderEpoch(0),
      start: offset(0),
      flushed: offset(0),
      folded: null,
      recent: [],
      compacted: null,
      preferred: null,
      dependencies: [],
    }));
  }

  /** Some processes, each of which is `life`, and after each death `check`, whatever it died of. */
  async live(life: (process: Process) => Promise<void>, check: () => Promise<void>): Promise<void> {
    for (let lives = this.random.between(2, 4); lives > 0; lives--) {
      this.isDying = false;
      await life(new Process(this));
      this.isDying = true;
      await settle();
      await check();
      if (this.#failure !== null) throw this.#failure;
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

  /** Entries of a partition that some WAL still has. */
  inWal(partition: number): readonly WalEntry[] {
    return [...this.wals.values()].flat().filter((entry) => entry.partition === partition);
  }

  /** A full disk is waited out; anything else ends the process. */
  failed(cause: unknown): void {
    if (cause instanceof DiskError) return;
    this.#failure ??= cause as Error;
    this.isDying = true;
  }

  /** Lets others go on for a while. */
  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** The moment at which the process may die: nothing of it goes on. `true`: what was asked took effect before. */
  async moment(): Promise<boolean> {
    if (this.isDying) return forever;
    await this.turns(this.random.between(1, this.#risk.turnsMax));
    if (this.isDying) return forever;
    if (this.random.chance(this.#risk.deathChance)) {
      this.isDying = true;
      return this.random.chance(0.5);
    }
    return true;
  }
}

/** One process: its WAL, its store, and what it tells the journal. */
export class Process {
  readonly #world: MortalWorld;
  readonly #wal: WalEntry[] = [];
  #position = 0;

  constructor(world: MortalWorld) {
    this.#world = world;
    world.wals.set(world.epoch, this.#wal);
  }

  append(partition: LivePartition, batch: SegmentBatch): void {
    this.#position += batch.payload.byteLength;
    const { index } = partition;
    const end = walPosition(this.#position);
    const entry = { partition: index, batch, end, appendedMs: this.#world.clock.nowMs };
    this.#wal.push(entry);
    partition.entries.push(entry);
  }

  /** For the flusher: everything is durable at once. */
  walPort() {
    const position = () => walPosition(this.#position);
    return {
      get durablePosition() {
        return position();
      },
      release: (below: WalPosition) => this.release(below),
    };
  }

  release(below: WalPosition): void {
    if (this.#world.isDying) return;
    const kept = this.#wal.findIndex(({ end }) => end > below);
    this.#wal.splice(0, kept < 0 ? this.#wal.length : kept);
    // A FLUSH also clears what depended on the WALs before.
    for (const epoch of this.#world.wals.keys())
      if (epoch < this.#world.epoch) this.#world.wals.delete(epoch);
  }

  /** A command of the journal: all of it takes effect or nothing. `change` answers false where it is void. */
  async publish(change: (next: PartitionState[]) => boolean, below = 0): Promise<"published" | "void"> {
    const { states, below: known, epoch } = this.#world;
    if (!(await this.#world.moment())) return forever;
    const next = [...states];
    if (!change(next)) return "void";
    states.splice(0, states.length, ...next);
    known.set(epoch, Math.max(known.get(epoch) ?? 0, below));
    return this.#world.isDying ? forever : "published";
  }

  publishFlush(flush: Flush): Promise<"published" | "void"> {
    return this.publish((next) => {
      for (const row of flush.rows) {
        const changed = flushPartition(next[row.partition] as PartitionState, row);
        if (changed.kind === "void") throw new Error(`a FLUSH is void: ${changed.reason}`);
        next[row.partition] = changed.partition;
      }
      this.#world.counts.flushes++;
      return true;
    }, flush.below);
  }

  publishFold(fold: FoldRequest): Promise<"published" | "void"> {
    return this.publish((next) => {
      const changed = foldPartition(next[fold.partition] as PartitionState, fold);
      if (changed.kind === "void") return false;
      next[fold.partition] = changed.partition;
      this.#world.counts.folds++;
      return true;
    });
  }

  /** For the collector of garbage. */
  view(): GarbageView {
    const { states, below, epoch } = this.#world;
    const partitions = states.map((state) => ({ ...orders, partition: state.index, ...state }));
    return {
      partitions,
      isSettled: (author, counter) => author < epoch || counter < (below.get(epoch) ?? 0),
    };
  }

  /** The store as the process has it. `isHasty`: a put is answered before it is durable. */
  store(isHasty: boolean): MemoryStore {
    const world = this.#world;
    const store = new MemoryStore();
    store.get = async (key, range, into) => {
      if (!(await world.moment())) return forever;
      return world.store.get(key, range, into);
    };
    store.putIfAbsent = async (key, chunks, length) => {
      if (world.random.chance(0.02)) throw fullDisk();
      if (isHasty) {
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

  /** Until all of it has ended, or the process: whoever died never ends. A full disk is an expected end. */
  async ended(doing: readonly Promise<unknown>[]): Promise<void> {
    let isOver = false;
    void Promise.allSettled(doing).then((results) => {
      for (const result of results) if (result.status === "rejected") this.#world.failed(result.reason);
      isOver = true;
    });
    while (!isOver && !this.#world.isDying) await this.#world.turns(1);
  }
}

/** What a process has of a partition, as flushes, retention and compaction see it. */
export class LivePartition<Config = unknown> implements FlushSource {
  readonly topicId = orders.topicId;
  readonly index: number;
  readonly partition;
  readonly config: Config;
  readonly #world: MortalWorld;
  readonly #lastStable: (end: Offset) => number;
  readonly #footer: (from: Offset, to: Offset) => FooterState;
  readonly #loadedEnd: Offset;
  /** Not flushed yet; loaded ones count as lying at position 0. */
  entries: WalEntry[];
  logStart: Offset;

  /** `footer`: what a segment of these offsets tells besides its records. */
  constructor(
    world: MortalWorld,
    index: number,
    facts: {
      readonly config: Config;
      readonly lastStable: (end: Offset) => number;
      readonly footer: (from: Offset, to: Offset) => FooterState;
    },
  ) {
    this.#world = world;
    this.index = index;
    this.partition = partitionIndex(index);
    this.config = facts.config;
    this.#lastStable = facts.lastStable;
    this.#footer = facts.footer;
    const { flushed, start } = this.#state;
    this.entries = world
      .inWal(index)
      .filter(({ batch }) => batch.baseOffset >= flushed)
      .map((entry) => ({ ...entry, end: walPosition(0) }));
    this.logStart = offset(Math.max(start, world.starts[index] as number));
    this.#loadedEnd = this.end;
  }

  get #state(): PartitionState {
    return this.#world.states[this.index] as PartitionState;
  }
  get leaderEpoch() {
    return this.#state.leaderEpoch;
  }
  get flushedEnd(): Offset {
    return this.#state.flushed;
  }
  get end(): Offset {
    return endOf(this.entries) ?? this.#state.flushed;
  }
  get lastStable(): Offset {
    return offset(this.#lastStable(this.end));
  }
  get unflushedBytes(): number {
    return this.entries.reduce((sum, entry) => sum + entry.batch.payload.byteLength, 0);
  }
  segments() {
    return this.#state;
  }

  unflushed(below: WalPosition): Unflushed | null {
    const { flushed: from, start: known, dependencies } = this.#state;
    const covered = this.entries.filter(({ end }) => end <= below);
    const to = endOf(covered) ?? from;
    if (to < this.#loadedEnd && dependencies.length > 0)
      throw new Error("what was loaded is flushed as a whole");
    const start = offset(Math.min(this.logStart, to));
    const hasStart = start > known;
    if (to === from && !hasStart && dependencies.length === 0) return null;
    const batches = covered.map(({ batch }) => batch);
    return {
      leaderEpoch: this.leaderEpoch,
      from,
      to,
      start: hasStart ? start : offset(-1),
      batches: batches.filter(({ baseOffset, count }) => baseOffset + count > this.logStart),
      appendedFirstMs: covered[0]?.appendedMs ?? this.#world.clock.nowMs,
      appendedLastMs: covered.at(-1)?.appendedMs ?? this.#world.clock.nowMs,
      state: this.#footer(from, to),
    };
  }

  published(row: FlushRow): void {
    this.entries = this.entries.filter(({ batch }) => batch.baseOffset >= row.to);
  }

  startPublished(start: Offset): void {
    if (start > this.logStart) this.logStart = start;
  }

  /** As a user deletes records up to an offset: it is durable at once. */
  deleteBelow(start: number): void {
    this.#world.starts[this.index] = start;
    this.startPublished(offset(start));
  }
}

function endOf(entries: readonly WalEntry[]): Offset | undefined {
  const last = entries.at(-1)?.batch;
  return last === undefined ? undefined : offset(last.baseOffset + last.count);
}
