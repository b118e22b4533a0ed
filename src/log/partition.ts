/**
 * One partition of the log: gives offsets, judges producers, and serves what is durable, from memory or
 * from segments. Appending is synchronous, so that Node's single thread makes offset, producer state and
 * WAL order one step; the answer waits for the WAL. Nothing at or above `durableEnd` is ever served (I2),
 * and no offset ever names other bytes (I3). It never decodes a record, except to find one by its time.
 *
 *   logStart ≤ lastStable ≤ highWatermark = durableEnd ≤ logEnd
 *   |── segments ──────────────|── not flushed ──────────────|
 *                |── memory ─────────────────────────────────|
 */
import { assert } from "../base/assert.ts";
import { advance, type LeaderEpoch, type Offset, type PartitionIndex } from "../base/ids.ts";
import type { ProducerEpoch, ProducerId, TopicId, WalPosition } from "../base/ids.ts";
import { BatchView } from "../record/batch.ts";
import { buildMarker } from "../record/control.ts";
import { DamagedRanges } from "./damaged-ranges.ts";
import type { FlushSource, Unflushed } from "./flush-source.ts";
import { assertDense, assertOrdered } from "./invariants.ts";
import { type EpochEnd, LeaderEpochs } from "./leader-epochs.ts";
import type { LogConfig } from "./log-config.ts";
import { FlushProgress } from "./partition-flush.ts";
import type { PartitionOptions } from "./partition-options.ts";
import { PartitionReader } from "./partition-reader.ts";
import type { AppendSession } from "./memory-tail.ts";
import type {
  AppendOutcome,
  AppendRefusal,
  Isolation,
  MarkerWish,
  MarkOutcome,
  ReadOptions,
  ReadOutcome,
  TimestampAndOffset,
  TrimOutcome,
} from "./outcomes.ts";
import {
  type ActiveProducer,
  type ProducerFacts,
  ProducerState,
  type SequenceVerdict,
} from "./producer-state.ts";
import type { SegmentSource } from "./segment-index.ts";
import type { PartitionSegments } from "./segment-list.ts";
import type { FlushRow } from "./segment-ref.ts";
import { TailEntry } from "./tail-entry.ts";
import { TailIndex } from "./tail-index.ts";
import { type OpenTransaction, Transactions } from "./transactions.ts";
import { EntryKind, type WalEntry } from "./wal.ts";
import { Watchers } from "./watchers.ts";

export class Partition implements FlushSource, SegmentSource {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly leaderEpoch: LeaderEpoch;
  readonly segments: () => PartitionSegments;
  readonly #damaged: DamagedRanges;
  #config: LogConfig;
  /** loading → serving ⇄ moving → closed */
  #state: "loading" | "serving" | "moving" | "closed" = "loading";

  #logStart: Offset;
  #durableEnd: Offset;
  #logEnd: Offset;
  readonly #tail = new TailIndex();
  readonly #epochs: LeaderEpochs;
  readonly #producers: ProducerState;
  readonly #transactions: Transactions;
  readonly #flush: FlushProgress;
  readonly #reader: PartitionReader;
  #lastNumber = 0;
  #appendedBytes = 0;
  readonly #watchers = new Watchers();

  constructor(options: PartitionOptions) {
    this.topicId = options.topicId;
    this.partition = options.partition;
    this.leaderEpoch = options.leaderEpoch;
    this.segments = options.segments;
    this.#damaged = new DamagedRanges(options.holes);
    this.#config = options.config;
    this.#logStart = options.logStart;
    this.#durableEnd = options.flushedEnd;
    this.#logEnd = options.flushedEnd;
    const state = options.state ?? { recordedMs: 0, producers: [], aborted: [], leaderEpochs: [] };
    this.#epochs = new LeaderEpochs(state.leaderEpochs);
    this.#producers = ProducerState.restore(state, options.producerBounds);
    this.#transactions = new Transactions(state.producers);
    this.#flush = new FlushProgress({
      tail: this.#tail,
      flushedEnd: options.flushedEnd,
      producers: this.#producers.clone(),
      publishedStart: options.logStart,
      isDependent: options.isDependent,
    });
    this.#reader = new PartitionReader({
      partition: this,
      tail: this.#tail,
      cold: options.cold,
      damaged: this.#damaged,
      epochs: this.#epochs,
      transactions: this.#transactions,
    });
  }

  get config(): LogConfig {
    return this.#config;
  }
  get logStart(): Offset {
    return this.#logStart;
  }
  /** Below it every transaction is decided, by markers that are durable. */
  get lastStable(): Offset {
    const unstable = this.#transactions.firstUnstable;
    if (unstable === null || unstable >= this.#durableEnd) return this.#durableEnd;
    return unstable > this.#logStart ? unstable : this.#logStart;
  }
  get highWatermark(): Offset {
    return this.#durableEnd;
  }
  get durableEnd(): Offset {
    return this.#durableEnd;
  }
  get logEnd(): Offset {
    return this.#logEnd;
  }
  get flushedEnd(): Offset {
    return this.#flush.flushedEnd;
  }
  /** Bytes that are in no segment yet. */
  get unflushedBytes(): number {
    return this.#tail.bytesBetween(this.flushedEnd, this.#durableEnd);
  }
  /** Whether it may be read. */
  get isServing(): boolean {
    return this.#state === "serving" || this.#state === "moving";
  }
  get takesAppends(): boolean {
    return this.#state === "serving";
  }
  get isClosed(): boolean {
    return this.#state === "closed";
  }
  get producerCount(): number {
    return this.#producers.size;
  }
  /** For DescribeProducers. */
  activeProducers(): Iterable<ActiveProducer> {
    return this.#producers.active();
  }
  /** What keeps the last stable offset below the durable end, by first offset. */
  openTransactions(): Iterable<OpenTransaction> {
    return this.#transactions.undecided();
  }
  /** When the producer that keeps the last stable offset where it is last wrote here, ms since 1970; null: nobody does. */
  get heldSinceMs(): number | null {
    const id = this.#transactions.firstOpen;
    return id === null ? null : (this.#producers.facts(id)?.lastMs ?? null);
  }
  /** What is known of a producer; undefined: nothing. */
  producer(id: ProducerId): ProducerFacts | undefined {
    return this.#producers.facts(id);
  }
  /** Whether the producer's next transactional batch (in `epoch`) continues a transaction here (KIP-890: what begins one is verified). */
  hasOpenTransaction(id: ProducerId, epoch?: ProducerEpoch): boolean {
    const known = this.#producers.facts(id);
    return known !== undefined && known.openFrom >= 0 && (epoch === undefined || epoch === known.epoch);
  }
  /** Number of the newest WAL entry: once it is durable, everything this partition can tell is. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** Holds for appends from now on. */
  configure(config: LogConfig): void {
    this.#config = config;
  }

  // ── Appending: synchronous, and it decides the order ──

  /**
   * Gives `batch` the next offsets, stamps them into its bytes and adds one entry to the session, whose
   * `commit` must follow in the same synchronous step. The bytes belong to the log from here on.
   */
  append(session: AppendSession, batch: BatchView, nowMs: number): AppendOutcome {
    assert(this.#state === "serving", "only a partition that serves takes appends");
    if (batch.hasProducer) {
      const verdict = this.#producers.check(
        batch.producerId,
        batch.producerEpoch,
        batch.baseSequence,
        batch.lastOffsetDelta + 1,
        nowMs,
        batch.isTransactional,
      );
      if (verdict.kind !== "next") return this.#answer(verdict, batch.baseSequence);
    }
    const { baseOffset, logAppendTimeMs, walNumber } = this.#store(session, batch, nowMs);
    return { kind: "appended", baseOffset, logAppendTimeMs, logStart: this.#logStart, walNumber };
  }

  /**
   * Ends a producer's transaction with Kafka's control batch; for a producer without one it does no harm.
   * `commit` follows as after `append`.
   */
  mark(session: AppendSession, wish: MarkerWish, nowMs: number): MarkOutcome {
    assert(this.#state === "serving", "only a partition that serves takes markers");
    const { producerId, producerEpoch, coordinatorEpoch, outcome, transactionVersion } = wish;
    const verdict = this.#producers.checkMarker(
      producerId,
      producerEpoch,
      coordinatorEpoch,
      transactionVersion,
    );
    if (verdict.kind !== "next") return { ...verdict, walNumber: this.#lastNumber };
    const marker = { kind: outcome, producerId, producerEpoch, coordinatorEpoch, timestampMs: nowMs };
    const { baseOffset, walNumber } = this.#store(session, BatchView.at(buildMarker(marker)), nowMs);
    return { kind: "marked", offset: baseOffset, walNumber };
  }

  /** The next offsets are given to the batch. */
  #store(session: AppendSession, batch: BatchView, nowMs: number): TailEntry {
    const baseOffset = this.#logEnd;
    if (this.#config.timestampType === "log-append") batch.stampLogAppendTime(nowMs);
    batch.stampOffsets(baseOffset, this.leaderEpoch);
    const walNumber = session.nextNumber;
    const entry = TailEntry.batch(this, batch, {
      baseOffset,
      leaderEpoch: this.leaderEpoch,
      appendedMs: nowMs,
      bytesBefore: this.#appendedBytes,
      walNumber,
    });
    // Its CRC was checked when it was taken, and what is stamped since is read here.
    entry.payloadChecksum = batch.checksumIfIntact();
    session.add(entry);
    this.#take(entry);
    return entry;
  }

  /**
   * Moves the log start to `start` (DeleteRecords). It takes effect when its entry is durable: a start that
   * is lost again would have told consumers of a loss that never was.
   */
  trim(session: AppendSession, start: Offset, nowMs: number): TrimOutcome {
    assert(this.#state === "serving", "only a partition that serves is trimmed");
    if (start > this.#durableEnd || start < 0) return { kind: "out-of-range" };
    if (start <= this.#logStart) {
      return { kind: "trimmed", logStart: this.#logStart, walNumber: this.#lastNumber };
    }
    const walNumber = session.nextNumber;
    const entry = TailEntry.logStart(this, {
      baseOffset: start,
      leaderEpoch: this.leaderEpoch,
      appendedMs: nowMs,
      bytesBefore: this.#appendedBytes,
      walNumber,
    });
    session.add(entry);
    this.#lastNumber = walNumber;
    return { kind: "trimmed", logStart: start, walNumber };
  }

  #answer(verdict: Exclude<SequenceVerdict, { kind: "next" }>, received: number): AppendOutcome {
    const logStart = this.#logStart;
    const walNumber = this.#lastNumber;
    switch (verdict.kind) {
      case "duplicate":
        return {
          kind: "duplicate",
          baseOffset: verdict.batch.baseOffset,
          logAppendTimeMs: verdict.batch.logAppendTimeMs,
          logStart,
          walNumber: verdict.batch.walNumber,
        };
      case "out-of-order-sequence":
        return { kind: verdict.kind, expected: verdict.expected, received, logStart, walNumber };
      case "stale-producer-epoch":
        return { kind: verdict.kind, current: verdict.current, logStart, walNumber };
      default:
        return { kind: verdict.kind, logStart, walNumber } satisfies AppendRefusal;
    }
  }

  /** One step for offset, producer state, transactions, epochs and memory: they never part (I4). */
  #take(entry: TailEntry): void {
    this.#logEnd = entry.end;
    this.#appendedBytes += entry.payload.byteLength;
    this.#lastNumber = entry.walNumber;
    const change = this.#producers.apply(entry);
    if (change !== null) this.#transactions.apply(change, entry);
    this.#epochs.assign(entry.leaderEpoch, entry.baseOffset);
    this.#tail.push(entry);
  }

  // ── Durability: told by the WAL through `Partitions` ──

  /** The entry, and all before it, are durable. Returns whether somebody watches. */
  onDurable(entry: TailEntry): boolean {
    if (this.#state === "closed") return false;
    if (entry.kind === EntryKind.logStart) {
      this.#moveStart(entry.baseOffset);
    } else {
      assertDense(this.#durableEnd, entry.baseOffset);
      this.#durableEnd = entry.end;
      this.#transactions.settle(entry.end);
    }
    assertOrdered(this.#logStart, this.lastStable, this.#durableEnd, this.#logEnd);
    return !this.#watchers.isEmpty;
  }

  /** Calls back after each change of the durable end and when the partition closes. Returns how to stop it. */
  watch(callback: () => void): () => void {
    return this.#watchers.add(callback);
  }

  /** For `Partitions`, once per durable group. */
  wake(): void {
    this.#watchers.wake();
  }

  #moveStart(start: Offset): void {
    if (start <= this.#logStart) return;
    this.#logStart = start;
    this.#epochs.trimTo(start);
  }

  /** The journal moved the log start (retention, or a trim that was flushed). */
  startPublished(start: Offset): void {
    this.#flush.startPublished(start);
    this.#moveStart(start);
    assertOrdered(this.#logStart, this.lastStable, this.#durableEnd, this.#logEnd);
  }

  // ── Reading ──

  /** Serves from memory at once, or from segments through a promise, which rejects with `DiskError` or `DamageError`. */
  read(options: ReadOptions): ReadOutcome | Promise<ReadOutcome> {
    return this.#reader.read(options);
  }

  /**
   * Bytes that a read at `from` could give now, for long polls that wait for a minimum: what is in memory
   * counts exactly, and anything in segments counts as infinitely much.
   */
  availableBytes(from: Offset, isolation: Isolation = "uncommitted"): number {
    return this.#reader.availableBytes(from, isolation);
  }

  /** The first record whose timestamp is not below `timestamp`, exactly; offset −1 when there is none. */
  findTimestamp(timestamp: number, isolation: Isolation = "uncommitted"): Promise<TimestampAndOffset> {
    return this.#reader.findTimestamp(timestamp, isolation);
  }

  /** The record with the greatest timestamp, the first of several; offset −1 when there is none. */
  findMaxTimestamp(): Promise<TimestampAndOffset> {
    return this.#reader.findMaxTimestamp();
  }

  /** Answers OffsetForLeaderEpoch; the current epoch ends at the high watermark. */
  epochEnd(epoch: LeaderEpoch): EpochEnd {
    return this.#epochs.endOf(epoch, this.#durableEnd);
  }

  /** The leader epoch of a record; −1: unknown. */
  epochAt(at: Offset): LeaderEpoch {
    return this.#epochs.at(at);
  }

  // ── Flushing ──

  unflushed(below: WalPosition): Unflushed | null {
    const view = {
      leaderEpoch: this.leaderEpoch,
      logStart: this.#logStart,
      durableEnd: this.#durableEnd,
      epochs: this.#epochs,
      transactions: this.#transactions,
    };
    return this.#flush.unflushed(view, below);
  }

  published(row: FlushRow): void {
    this.#flush.published(row, this.#durableEnd);
    if (row.start >= 0) this.startPublished(row.start);
  }

  /** For `MemoryTail`: the first batch in memory leaves it. */
  forget(entry: TailEntry): void {
    if (entry.kind !== EntryKind.batch || this.#state === "closed") return;
    assert(entry.end <= this.flushedEnd, "only what is in segments leaves the memory");
    this.#tail.drop(entry);
    if (entry.marker !== null) this.#transactions.forgetBelow(entry.end);
  }

  // ── Loading and the end ──

  /**
   * Takes an entry of an older WAL, in WAL order: state and memory become what they were. Undefined: it
   * is in segments already. `jumped`: whole frames of that WAL are gone, so what lies between two entries
   * is known only now and becomes a damaged range. Throws `MalformedError` when the payload is no batch.
   */
  load(entry: WalEntry, jumped: boolean): TailEntry | undefined {
    assert(this.#state === "loading", "entries are loaded before the partition serves");
    if (entry.kind === EntryKind.logStart) {
      this.#moveStart(entry.baseOffset);
      return undefined;
    }
    if (entry.baseOffset + entry.count <= this.flushedEnd) return undefined;
    // Two stays of the partition with one broker lie in one WAL, and the second reads what the first has read.
    if (entry.baseOffset + entry.count <= this.#logEnd) return undefined;
    this.#passDamaged();
    if (jumped && entry.baseOffset > this.#logEnd) {
      this.#damaged.add(this.#logEnd, entry.baseOffset - this.#logEnd);
      this.#passDamaged();
    }
    assertDense(this.#logEnd, entry.baseOffset);
    const loaded = TailEntry.batch(this, BatchView.at(entry.payload), {
      baseOffset: entry.baseOffset,
      leaderEpoch: entry.leaderEpoch,
      appendedMs: entry.appendedMs,
      bytesBefore: this.#appendedBytes,
      walNumber: 0,
    });
    assertDense(advance(entry.baseOffset, entry.count), loaded.end);
    this.#take(loaded);
    this.#durableEnd = this.#logEnd;
    this.#transactions.settle(this.#logEnd);
    return loaded;
  }

  /**
   * Acknowledged entries are gone that nothing names: the next offset is one that surely was never given,
   * and the gap is reported as damaged.
   */
  jump(offsets: number): void {
    assert(this.#state === "loading", "a gap is left before the partition serves");
    this.#passDamaged();
    this.#damaged.add(this.#logEnd, offsets);
    this.#passDamaged();
  }

  /** Everything is loaded: from here on the partition appends and serves. */
  serve(): void {
    assert(this.#state === "loading", "a partition begins to serve once");
    this.#passDamaged();
    // No offset below the log start is given away again, even if what was there is lost.
    if (this.#logEnd < this.#logStart) this.#logEnd = this.#durableEnd = this.#logStart;
    this.#flush.loaded(this.#logEnd);
    this.#epochs.assign(this.leaderEpoch, this.#logEnd);
    assertOrdered(this.#logStart, this.lastStable, this.#durableEnd, this.#logEnd);
    this.#state = "serving";
  }

  #passDamaged(): void {
    this.#logEnd = this.#damaged.endFrom(this.#logEnd);
    this.#durableEnd = this.#logEnd;
  }

  /** Before it is given to another broker: what is there may be read, and nothing is added any more. */
  pause(): void {
    assert(this.#state === "serving", "a partition that serves is given away");
    this.#state = "moving";
  }

  /** It was not given away after all. */
  resume(): void {
    assert(this.#state === "moving", "a partition goes on after it was paused");
    this.#state = "serving";
  }

  /** Dropped, or owned by somebody else now. What the tail still holds of it goes with its groups. */
  close(): void {
    this.#state = "closed";
    this.#tail.clear();
    this.wake();
    this.#watchers.clear();
  }
}
