/**
 * For tests: a WAL that becomes durable when it is told to, a cold reader over published rows, and
 * batches with sensible defaults. Both keep what they are given byte for byte, as the real ones do.
 */
import { assert } from "../base/assert.ts";
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  type Offset,
  partitionIndex,
  producerEpoch,
  producerId,
  topicId,
  type WalPosition,
  walPosition,
} from "../base/ids.ts";
import { Waiters } from "../base/waiters.ts";
import { BatchView } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import type { ColdReader } from "./cold-reader.ts";
import { type LogConfig, logConfigDefaults } from "./log-config.ts";
import type { MarkerWish } from "./outcomes.ts";
import type { Partition } from "./partition.ts";
import type { PartitionOptions } from "./partition-options.ts";
import { Partitions } from "./partitions.ts";
import type { TailBounds } from "./memory-tail.ts";
import type { ReadBounds, SegmentRead, TimestampRead } from "./segment-reader.ts";
import type { AbortedTransaction, FooterState } from "./segment-format.ts";
import type { SegmentSource } from "./segment-index.ts";
import type { FlushRow, SegmentRef } from "./segment-ref.ts";
import type { Wal, WalEntry, WalEvents } from "./wal.ts";

export const TOPIC = topicId("T0picT0picT0picT0picTQ");

/** Frames become durable by `sync` alone; everything appended is kept as copied bytes, like a file. */
export class StepWal implements Wal {
  readonly epoch = brokerEpoch(1);
  readonly #events: WalEvents;
  readonly #waiters = new Waiters();
  #pending: (readonly WalEntry[])[] = [];
  #appended = 0;
  #durable = 0;
  #position = walPosition(0);
  /** Everything that was appended, as a recovery would find it. */
  readonly entries: WalEntry[] = [];
  appendCalls = 0;
  /** Broken on purpose: tells of durability when an entry is appended. */
  readonly #announcesEarly: boolean;

  constructor(events: WalEvents, options: { readonly announcesEarly?: boolean } = {}) {
    this.#events = events;
    this.#announcesEarly = options.announcesEarly ?? false;
  }

  append(entries: readonly WalEntry[]): number {
    this.appendCalls++;
    this.#pending.push(entries);
    this.#appended += entries.length;
    for (const entry of entries) this.entries.push(stored(entry));
    if (this.#announcesEarly) this.#announce(entries);
    return this.#appended;
  }

  get appended(): number {
    return this.#appended;
  }
  get durable(): number {
    return this.#durable;
  }
  get durablePosition(): WalPosition {
    return this.#position;
  }
  get pendingBytes(): number {
    return this.#pending.flat().reduce((sum, entry) => sum + entry.payload.byteLength, 0);
  }

  whenDurable(number: number): Promise<void> {
    return number <= this.#durable ? Promise.resolve() : this.#waiters.wait(number);
  }

  /** The next `appends` calls of `append` become durable in one group. */
  sync(appends = Infinity): void {
    const entries = this.#pending.splice(0, appends).flat();
    if (entries.length === 0) return;
    this.#durable += entries.length;
    if (!this.#announcesEarly) this.#announce(entries);
    this.#waiters.wake(this.#durable);
  }

  #announce(entries: readonly WalEntry[]): void {
    const begin = this.#position;
    this.#position = walPosition(begin + 4096);
    this.#events.onDurable({ entries, lastNumber: this.#durable, begin, end: this.#position });
  }

  release(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

function stored(entry: WalEntry): WalEntry {
  return {
    kind: entry.kind,
    topicId: entry.topicId,
    partition: entry.partition,
    baseOffset: entry.baseOffset,
    count: entry.count,
    leaderEpoch: entry.leaderEpoch,
    producerId: entry.producerId,
    producerEpoch: entry.producerEpoch,
    sequence: entry.sequence,
    appendedMs: entry.appendedMs,
    payload: Uint8Array.from(entry.payload),
  };
}

/** Published batches of one partition, in order. */
export class MemorySegments implements ColdReader {
  readonly batches: Uint8Array[] = [];
  /** As the footers name them. */
  aborted: readonly AbortedTransaction[] = [];
  readonly refs: SegmentRef[] = [];
  reads = 0;
  readonly index = {
    from: (_source: SegmentSource, from: Offset) =>
      Promise.resolve(this.refs.filter((ref) => ref.end > from)),
  };

  read(_source: SegmentSource, from: Offset, bounds: ReadBounds): Promise<SegmentRead> {
    this.reads++;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let next = from;
    if ((this.refs.at(-1)?.end ?? 0) <= from) return Promise.resolve({ kind: "absent" });
    for (const chunk of this.batches) {
      const batch = BatchView.at(chunk);
      if (batch.nextOffset <= from) continue;
      const isTooLarge = bytes > 0 && bytes + chunk.byteLength > bounds.bytesMax;
      if (batch.baseOffset >= bounds.limit || isTooLarge) break;
      chunks.push(chunk);
      bytes += chunk.byteLength;
      next = batch.nextOffset;
    }
    if (chunks.length === 0) next = bounds.limit;
    const isMet = ({ firstOffset, lastOffset }: AbortedTransaction) =>
      bounds.isCommitted === true && lastOffset >= from && firstOffset < next;
    return Promise.resolve({
      kind: "batches",
      chunks,
      bytes,
      next,
      aborted: this.aborted.filter(isMet),
    });
  }

  findTimestamp(
    _source: SegmentSource,
    timestamp: number,
    range: { readonly from: Offset; readonly limit: Offset },
  ): Promise<TimestampRead> {
    const batch = this.batches.find((chunk) => {
      const view = BatchView.at(chunk);
      const isInside = view.nextOffset > range.from && view.baseOffset < range.limit;
      return isInside && view.maxTimestamp >= timestamp;
    });
    return Promise.resolve(batch === undefined ? { kind: "absent" } : { kind: "batch", batch });
  }
}

/** One partition on its own WAL and segments, with a flush in one step. */
export class PartitionWorld {
  readonly partitions: Partitions;
  readonly wal: StepWal;
  readonly cold: MemorySegments;
  readonly partition: Partition;
  /** What the journal would have. */
  row: FlushRow | undefined;
  state: FooterState | undefined;
  /** The log start that rows have moved. */
  journalStart: Offset;
  /** Entries of older WALs that are not in segments, and from which index on those of this one are not. */
  older: readonly WalEntry[];
  releasedEntries = 0;

  constructor(
    options: Omit<Partial<PartitionOptions>, "cold"> & {
      readonly tail?: TailBounds;
      readonly cold?: MemorySegments;
      readonly load?: readonly WalEntry[];
      readonly announcesEarly?: boolean;
    } = {},
  ) {
    const { tail, load, ...rest } = options;
    this.state = options.state;
    this.cold = options.cold ?? new MemorySegments();
    this.journalStart = options.logStart ?? offset(0);
    this.older = load ?? [];
    this.partitions = new Partitions(tail ?? {}, () => undefined);
    this.wal = new StepWal(this.partitions, options);
    this.partitions.attach(this.wal);
    this.partition = this.partitions.open({ ...aPartition(), ...rest, cold: this.cold });
    for (const entry of load ?? []) this.partitions.load([entry], { jumped: false });
    this.partition.serve();
  }

  append(bytes: Uint8Array, nowMs = 1000) {
    const session = this.partitions.begin();
    const outcome = this.partition.append(session, BatchView.at(Uint8Array.from(bytes)), nowMs);
    session.commit();
    return outcome;
  }

  mark(wish: MarkerWish, nowMs = 1000) {
    const session = this.partitions.begin();
    const outcome = this.partition.mark(session, wish, nowMs);
    session.commit();
    return outcome;
  }

  trim(start: number, nowMs = 1000) {
    const session = this.partitions.begin();
    const outcome = this.partition.trim(session, offset(start), nowMs);
    session.commit();
    return outcome;
  }

  /** Writes what is durable into segments, publishes it and releases the WAL. */
  flush(): void {
    const below = this.wal.durablePosition;
    const unflushed = this.partition.unflushed(below);
    if (unflushed !== null) {
      const payloads = unflushed.batches.map((batch) => Uint8Array.from(batch.payload));
      const segment = aSegment(unflushed.from, unflushed.to, payloads);
      this.cold.batches.push(...payloads);
      this.cold.refs.push(segment);
      const { leaderEpoch: epoch, from, to, start } = unflushed;
      this.row = {
        topicId: TOPIC,
        partition: this.partition.partition,
        leaderEpoch: epoch,
        from,
        to,
        start,
        segment,
      };
      this.state = unflushed.state;
      this.cold.aborted = [...this.cold.aborted, ...this.state.aborted];
      this.partition.published(this.row);
    }
    if (this.row !== undefined && this.row.start >= 0) this.journalStart = this.row.start;
    this.older = [];
    this.releasedEntries = this.wal.durable;
    this.partitions.release(below);
  }

  /** What a recovery would find in WALs when the first `entryCount` entries of the newest are on disk. */
  survivors(entryCount: number): readonly WalEntry[] {
    assert(entryCount >= this.wal.durable, "what is durable survives");
    return [...this.older, ...this.wal.entries.slice(this.releasedEntries, entryCount)];
  }

  /** Another process after this one died with only the first `entryCount` WAL entries on disk. */
  restart(
    entryCount: number,
    options: Omit<Partial<PartitionOptions>, "cold"> & { readonly tail?: TailBounds } = {},
  ): PartitionWorld {
    return new PartitionWorld({
      leaderEpoch: leaderEpoch(this.partition.leaderEpoch + 1),
      config: this.partition.config,
      cold: this.cold,
      isDependent: true,
      state: this.state,
      flushedEnd: this.cold.refs.at(-1)?.end ?? offset(0),
      logStart: this.journalStart,
      load: this.survivors(entryCount),
      ...options,
    });
  }
}

function aSegment(base: Offset, end: Offset, payloads: readonly Uint8Array[]): SegmentRef {
  let latest = { timestamp: -1, at: offset(-1) };
  for (const payload of payloads) {
    const { maxTimestamp, lastOffset } = BatchView.at(payload);
    if (maxTimestamp > latest.timestamp) latest = { timestamp: maxTimestamp, at: lastOffset };
  }
  return {
    object: `seg/${base}`,
    sectionStart: 0,
    sectionBytes: 0,
    footerBytes: 0,
    footerChecksum: 0,
    base,
    end,
    recordCount: end - base,
    maxTimestamp: latest.timestamp,
    maxTimestampOffset: latest.at,
    appendedFirstMs: 0,
    appendedLastMs: 0,
    format: 1,
  };
}

/** A new partition of epoch 3, without segments. */
export function aPartition(): PartitionOptions {
  return {
    topicId: TOPIC,
    partition: partitionIndex(0),
    leaderEpoch: leaderEpoch(3),
    config: logConfigDefaults,
    logStart: offset(0),
    flushedEnd: offset(0),
    isDependent: false,
    holes: [],
    state: undefined,
    segments: () => ({ folded: null, recent: [] }),
    cold: new MemorySegments(),
  };
}

export interface BatchWish {
  readonly count?: number;
  readonly producer?: number;
  readonly epoch?: number;
  readonly sequence?: number;
  /** Of the first record; each next one is a millisecond later. */
  readonly timestamp?: number;
  readonly value?: string;
  readonly isTransactional?: boolean;
}

/** One record without a producer, unless said otherwise. */
export function aBatch(wish: BatchWish = {}): Uint8Array {
  const records = Array.from({ length: wish.count ?? 1 }, (_, index) => ({
    value: wish.value ?? "value",
    timestamp: (wish.timestamp ?? 5000) + index,
  }));
  return buildBatch(records, {
    producerId: producerId(wish.producer ?? -1),
    producerEpoch: producerEpoch(wish.epoch ?? (wish.producer === undefined ? -1 : 0)),
    baseSequence: wish.sequence ?? (wish.producer === undefined ? -1 : 0),
    isTransactional: wish.isTransactional ?? false,
  });
}

export const logAppendTime: LogConfig = { ...logConfigDefaults, timestampType: "log-append" };
