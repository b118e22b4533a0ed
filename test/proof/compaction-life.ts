/**
 * Compaction in a drawn world (mortal-world.ts): appends of keys, tombstones and transactions, flushes, folds, deletions,
 * passes of compaction with much and with little memory, garbage collection and readers at the same time,
 * full disks, and a process that dies at any store or journal operation and comes back as a new epoch.
 * After each death a model (`compaction-model.ts`) is compared with what can be read. `variant` breaks one
 * rule, so that it can be seen that the check sees it.
 */
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  type Offset,
  producerEpoch,
  producerId,
} from "../../src/base/ids.ts";
import { Compaction } from "../../src/log/compaction.ts";
import { Flusher } from "../../src/log/flush.ts";
import { Garbage } from "../../src/log/garbage.ts";
import { logConfigDefaults } from "../../src/log/log-config.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import type { AbortedTransaction, FooterState, ProducerSnapshot } from "../../src/log/segment-format.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import type { Replacement } from "../../src/log/segment-ref.ts";
import { replacePartition } from "../../src/metadata/partition.ts";
import type { PartitionState } from "../../src/metadata/state.ts";
import { BatchView, batchesIn, Codec } from "../../src/record/batch.ts";
import { buildBatch } from "../../src/record/builder.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { liveWorlds, type Worlds } from "./live-worlds.ts";
import { compare, decode, type ModelRecord, type Transaction } from "./compaction-model.ts";
import { LivePartition, type MortalCounts, MortalWorld, type Process } from "./mortal-world.ts";
import { anEnv, emptyState, orders } from "./segment-world.ts";

export const variants = [
  "tombstones before their time",
  "a partial pass told as a whole one",
  "control records compacted by key",
  "old objects deleted before the new ones are published",
  "publish before the put is durable",
  "compaction above the last stable offset",
] as const;
export type Variant = (typeof variants)[number];

export interface CompactionCounts extends MortalCounts {
  worlds: number;
  replacements: number;
  reads: number;
  recordsChecked: number;
  /** Records that a check found gone, and rightly so. */
  superseded: number;
}

/** Throws at the first loss, with the seed. */
export function run(options: Worlds & { readonly variant?: Variant }): Promise<CompactionCounts> {
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
  const variant = options.variant ?? null;
  return liveWorlds(options, counts, (random) => new World(random, counts, variant).live());
}

const partitionCount = 2;
const producerCount = 2;

/** A world, and the truth to compare it with. */
class World {
  readonly mortal: MortalWorld;
  readonly counts: CompactionCounts;
  readonly variant: Variant | null;
  readonly truth: ModelRecord[][] = Array.from({ length: partitionCount }, () => []);
  /** By partition and producer. */
  readonly open: (Transaction | undefined)[][] = Array.from({ length: partitionCount }, () => []);
  readonly aborted: AbortedTransaction[][] = Array.from({ length: partitionCount }, () => []);
  readonly ends = Array.from({ length: partitionCount }, () => 0);
  readonly config;
  readonly keyBytesMax: number;
  readonly bytesTarget: number;

  constructor(random: SimRandom, counts: CompactionCounts, variant: Variant | null) {
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
    this.mortal = new MortalWorld(random, partitionCount, counts, { turnsMax: 3, deathChance: 0.003 });
  }

  live(): Promise<void> {
    const { random } = this.mortal;
    return this.mortal.live(
      (process) => new Life(this, process).run(random.between(10, 130)),
      () => this.check(),
    );
  }

  /** Below it every transaction is decided. */
  lastStable(partition: number): number {
    const open = this.truth[partition]?.find(({ transaction }) => transaction?.outcome === "open");
    return open?.offset ?? (this.ends[partition] as number);
  }

  /** What a segment of these offsets tells besides its records. */
  footer(partition: number, from: Offset, to: Offset): FooterState {
    const aborted = (this.aborted[partition] as AbortedTransaction[]).filter(
      ({ lastOffset }) => lastOffset >= from && lastOffset < to,
    );
    return { ...emptyState, recordedMs: to, aborted, producers: this.#openAt(partition, to) };
  }

  /** Producers whose transaction is open as of `end`. */
  #openAt(partition: number, end: Offset): readonly ProducerSnapshot[] {
    const open = new Map<number, number>();
    if (this.variant === "compaction above the last stable offset") return [];
    for (const { offset: at, transaction, isMarker } of this.truth[partition] as ModelRecord[]) {
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

  /** What a new process would find. */
  async check(): Promise<void> {
    const { store, states, starts, clock } = this.mortal;
    const reader = new SegmentReader({ store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
    for (const [i, state] of states.entries()) {
      const source = { ...orders, partition: state.index, segments: () => state };
      const start = Math.max(state.start, starts[i] as number);
      const newest = await reader.index.newest(source);
      if (state.flushed > 0 && newest?.footer.state.recordedMs !== state.flushed) {
        throw new Error(
          `the footer of ${state.flushed} is lost: ${newest?.footer.state.recordedMs} is the newest`,
        );
      }
      const batches = await readAll(reader, source, start, state.flushed);
      for (const { batch } of this.mortal.inWal(i)) {
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
      const reading = { found, abortedMarkers, start, nowMs: clock.nowMs, deleteRetentionMs };
      this.counts.superseded += compare(this.truth[i] as ModelRecord[], reading);
    }
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
  readonly #process: Process;
  readonly #partitions: readonly LivePartition<World["config"]>[];
  readonly #flusher: Flusher;
  readonly #compaction: Compaction;
  readonly #garbage: Garbage;
  readonly #reader: SegmentReader;

  constructor(world: World, process: Process) {
    const { mortal, config, variant, bytesTarget, keyBytesMax } = world;
    this.#world = world;
    this.#process = process;
    this.#partitions = mortal.states.map((_, i) => {
      const lastStable = () =>
        variant === "compaction above the last stable offset" ? 1 << 30 : world.lastStable(i);
      const footer = (from: Offset, to: Offset) => world.footer(i, from, to);
      return new LivePartition(mortal, i, { config, lastStable, footer });
    });
    const { clock } = mortal;
    const env = anEnv(clock);
    const store = process.store(variant === "publish before the put is durable");
    this.#reader = new SegmentReader({ store, blockBytesMax: 1 << 16, indexBytesMax: 1 << 20 });
    const { index } = this.#reader;
    const names = new ObjectNames("cluster", brokerEpoch(mortal.epoch));
    const onFailure = (cause: Error) => mortal.failed(cause);
    const intervalMs = 1 << 30;
    const shared = { env, store, names, index, sources: () => this.#partitions, onFailure, intervalMs };
    this.#flusher = new Flusher({
      ...shared,
      wal: process.walPort(),
      publishFlush: (flush) => process.publishFlush(flush),
      publishFold: (fold) => process.publishFold(fold),
      unflushedBytes: () => 0,
      unflushedBytesTrigger: 1,
      isAwaited: () => false,
      ageMs: intervalMs,
    });
    // Whoever believes that it is later lets tombstones go too early.
    let leadMs = 0;
    const wallMs = () => clock.nowMs + (leadMs += variant === "tombstones before their time" ? 1_000 : 0);
    const early = { wallMs, monotonicMs: () => clock.monotonicMs(), schedule: clock.schedule.bind(clock) };
    this.#compaction = new Compaction({
      ...shared,
      env: { ...env, clock: early },
      known: ({ partition }) => mortal.states[partition] as PartitionState,
      publishReplace: (replacement) => this.#publishReplace(replacement),
      settings: () => ({ isEnabled: true, intervalMs, keyBytesMax, bytesPerSecondMax: Infinity }),
      bytesTarget,
    });
    const view = () => process.view();
    this.#garbage = new Garbage({ ...shared, view, graceMs: 0, isUrgent: () => false });
  }

  async run(steps: number): Promise<void> {
    const { mortal } = this.#world;
    const { random, clock } = mortal;
    // Seldom: then there is a list before compaction comes.
    const compactionChance = random.pick([0.6, 0.6, 0.02]);
    for (let i = 0; i < steps && !mortal.isDying; i++) {
      const doing: Promise<unknown>[] = [];
      for (let n = random.between(1, 4); n > 0; n--) this.#append();
      if (random.chance(0.7)) doing.push(this.#flusher.flush());
      if (random.chance(compactionChance)) doing.push(this.#compaction.round());
      if (random.chance(0.6)) doing.push(mortal.turns(random.below(25)).then(() => this.#garbage.round()));
      if (random.chance(0.4)) doing.push(this.#read());
      if (random.chance(0.05)) this.#deleteRecords();
      for (let n = random.below(3); n > 0; n--) this.#append();
      await this.#process.ended(doing);
      clock.nowMs += random.below(30);
    }
  }

  /** A reader under way is never told that something is damaged or gone. */
  async #read(): Promise<void> {
    const { mortal, truth, counts } = this.#world;
    const { random, states } = mortal;
    await mortal.turns(random.below(25));
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
    const { mortal, truth, open, ends, aborted, variant } = this.#world;
    const { random, clock } = mortal;
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
    const batch = { payload, baseOffset: offset(base), count: records.length };
    this.#process.append(this.#partitions[partition] as LivePartition, batch);
  }

  #deleteRecords(): void {
    const { mortal, config } = this.#world;
    if (!config.deletes) return;
    const partition = this.#partitions[mortal.random.below(partitionCount)] as LivePartition;
    partition.deleteBelow(mortal.random.between(partition.logStart, this.#world.lastStable(partition.index)));
  }

  async #publishReplace(replacement: Replacement): Promise<"published" | "void"> {
    const { counts, variant, mortal } = this.#world;
    if (variant === "old objects deleted before the new ones are published") {
      for (const { old } of replacement.rows) for (const { object } of old) await mortal.store.delete(object);
    }
    return this.#process.publish((next) => {
      for (const row of replacement.rows) {
        const before = next[row.partition] as PartitionState;
        const isTold = variant === "a partial pass told as a whole one" && row.compacted !== null;
        const compacted = isTold ? { horizonMs: row.compacted.horizonMs, to: before.flushed } : row.compacted;
        const changed = replacePartition(before, { ...row, compacted });
        if (changed.kind === "void") return false;
        next[row.partition] = changed.partition;
      }
      counts.replacements++;
      return true;
    }, replacement.below);
  }
}
