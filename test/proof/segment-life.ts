/**
 * The life of segments in a drawn world (mortal-world.ts): appends, flushes, folds, retention, deletions and
 * garbage collection at the same time, full disks, and a process that dies at any store or journal operation
 * and comes back as a new epoch. After each death: every durable batch at or above the log start is in a
 * segment or in the WAL, byte for byte, and the newest footer is there. `variant` breaks one rule, so
 * that it can be seen that the check sees it.
 */
import { concatBytes, equalBytes } from "../../src/base/bytes.ts";
import { brokerEpoch, offset, type Offset } from "../../src/base/ids.ts";
import { Flusher } from "../../src/log/flush.ts";
import type { SegmentBatch } from "../../src/log/flush-source.ts";
import { Garbage, type GarbageView } from "../../src/log/garbage.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import { Retention, type RetentionSource, type TrimRequest } from "../../src/log/retention.ts";
import { SegmentIndex } from "../../src/log/segment-index.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import type { Flush } from "../../src/log/segment-ref.ts";
import { trimPartition } from "../../src/metadata/partition.ts";
import type { PartitionState } from "../../src/metadata/state.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { liveWorlds, type Worlds } from "./live-worlds.ts";
import { fullDisk, LivePartition, type MortalCounts, MortalWorld, type Process } from "./mortal-world.ts";
import { aBatch, anEnv, emptyState, orders } from "./segment-world.ts";

export const variants = [
  "release before publish",
  "publish before the put is durable",
  "garbage of live authors",
  "every number settled",
  "newest footer dropped",
  "objects of an unknown FLUSH discarded",
] as const;
export type Variant = (typeof variants)[number];

export interface LifeCounts extends MortalCounts {
  worlds: number;
  trims: number;
  batchesChecked: number;
}

/** Throws at the first loss, with the seed. */
export function run(options: Worlds & { readonly variant?: Variant }): Promise<LifeCounts> {
  const counts: LifeCounts = {
    worlds: 0,
    deaths: 0,
    flushes: 0,
    folds: 0,
    trims: 0,
    deletes: 0,
    batchesChecked: 0,
  };
  const variant = options.variant ?? null;
  return liveWorlds(options, counts, (random) => new World(random, counts, variant).live());
}

const partitionCount = 3;

/** A world, and the truth to compare it with. */
class World {
  readonly mortal: MortalWorld;
  readonly counts: LifeCounts;
  readonly variant: Variant | null;
  readonly truth: SegmentBatch[][] = Array.from({ length: partitionCount }, () => []);
  readonly limits;

  constructor(random: SimRandom, counts: LifeCounts, variant: Variant | null) {
    this.counts = counts;
    this.variant = variant;
    this.limits = random.pick([
      { retentionMs: -1, retentionBytes: -1 },
      { retentionMs: 30, retentionBytes: -1 },
      { retentionMs: 900, retentionBytes: 12_000 },
    ]);
    this.mortal = new MortalWorld(random, partitionCount, counts, { turnsMax: 5, deathChance: 0.004 });
  }

  live(): Promise<void> {
    const { random } = this.mortal;
    return this.mortal.live(
      (process) => new Life(this, process).run(random.between(10, 150)),
      () => this.check(),
    );
  }

  /** What a new process would find. */
  async check(): Promise<void> {
    const { store, states, starts } = this.mortal;
    const reader = new SegmentReader({ store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
    for (const [i, state] of states.entries()) {
      const source = { ...orders, partition: state.index, segments: () => state };
      if (state.flushed > 0) {
        const newest = await reader.index.newest(source);
        if (newest?.footer.end !== state.flushed || newest.footer.state.recordedMs !== state.flushed) {
          throw new Error(`the newest footer of partition ${i} is not that of ${state.flushed}`);
        }
      }
      const entries = this.mortal.inWal(i);
      const inWal = new Map(entries.map(({ batch }) => [batch.baseOffset, batch.payload]));
      const start = Math.max(state.start, starts[i] as number);
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
}

const lost = (partition: number, batch: SegmentBatch, why: string) =>
  new Error(`offset ${batch.baseOffset} of partition ${partition} is lost: ${why}`);

/** One process. */
class Life {
  readonly #world: World;
  readonly #process: Process;
  readonly #partitions: readonly LivePartition<RetentionSource["config"]>[];
  readonly #flusher: Flusher;
  readonly #retention: Retention;
  readonly #garbage: Garbage;

  constructor(world: World, process: Process) {
    const { mortal, limits, variant } = world;
    this.#world = world;
    this.#process = process;
    const facts = {
      config: { deletes: true, ...limits },
      lastStable: (end: Offset) => end,
      footer: (_: Offset, recordedMs: Offset) => ({ ...emptyState, recordedMs }),
    };
    this.#partitions = mortal.states.map((_, i) => new LivePartition(mortal, i, facts));
    const env = anEnv(mortal.clock);
    const store = process.store(variant === "publish before the put is durable");
    const index = new SegmentIndex(store, 1 << 20);
    const names = new ObjectNames("cluster", brokerEpoch(mortal.epoch));
    if (variant === "every number settled") names.below = () => 1 << 30;
    const onFailure = (cause: Error) => mortal.failed(cause);
    const intervalMs = 1 << 30;
    const shared = { env, store, names, index, sources: () => this.#partitions, onFailure, intervalMs };
    this.#flusher = new Flusher({
      ...shared,
      wal: process.walPort(),
      publishFlush: (flush) => this.#publishFlush(flush),
      publishFold: (fold) => process.publishFold(fold),
      unflushedBytes: () => 0,
      unflushedBytesTrigger: 1,
      isAwaited: () => false,
      ageMs: intervalMs,
    });
    this.#retention = new Retention({ ...shared, publishTrim: (trim) => this.#publishTrim(trim) });
    const view = (): GarbageView =>
      variant === "garbage of live authors" ? { ...process.view(), isSettled: () => true } : process.view();
    this.#garbage = new Garbage({ ...shared, view, graceMs: 0, isUrgent: () => false });
  }

  async run(steps: number): Promise<void> {
    const { mortal } = this.#world;
    const { random, clock } = mortal;
    for (let i = 0; i < steps && !mortal.isDying; i++) {
      const doing: Promise<unknown>[] = [];
      for (let n = random.between(1, 5); n > 0; n--) this.#append();
      if (random.chance(0.8)) doing.push(this.#flusher.flush());
      if (random.chance(0.3)) doing.push(this.#retention.round());
      if (random.chance(0.5)) doing.push(mortal.turns(random.below(25)).then(() => this.#garbage.round()));
      if (random.chance(0.1)) this.#deleteRecords();
      for (let n = random.below(3); n > 0; n--) this.#append();
      await this.#process.ended(doing);
      clock.nowMs += random.below(20);
    }
  }

  #append(): void {
    const { truth, mortal } = this.#world;
    const { random } = mortal;
    const partition = random.below(partitionCount);
    const log = truth[partition] as SegmentBatch[];
    const last = log.at(-1);
    const base = last === undefined ? 0 : last.baseOffset + last.count;
    const batch = aBatch({ base, count: random.between(1, 3), size: random.below(60), random });
    log.push(batch);
    this.#process.append(this.#partitions[partition] as LivePartition, batch);
  }

  #deleteRecords(): void {
    const { random } = this.#world.mortal;
    const partition = this.#partitions[random.below(partitionCount)] as LivePartition;
    partition.deleteBelow(random.between(partition.logStart, partition.end));
  }

  async #publishFlush(flush: Flush): Promise<"published" | "void"> {
    const { variant, mortal } = this.#world;
    if (variant === "release before publish") this.#process.release(flush.release);
    const outcome = await this.#process.publishFlush(flush);
    if (variant === "objects of an unknown FLUSH discarded" && mortal.random.chance(0.1)) throw fullDisk();
    return outcome;
  }

  #publishTrim(trim: TrimRequest): Promise<"published" | "void"> {
    const { variant, counts } = this.#world;
    return this.#process.publish((next) => {
      const changed = trimPartition(next[trim.partition] as PartitionState, trim);
      if (changed.kind === "void") return false;
      const { recent } = changed.partition;
      const kept =
        variant === "newest footer dropped" ? recent.filter(({ end }) => end > trim.start) : recent;
      next[trim.partition] = { ...changed.partition, recent: kept };
      counts.trims++;
      return true;
    });
  }
}
