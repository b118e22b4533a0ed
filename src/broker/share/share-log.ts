/**
 * The log beneath one share-partition: how far it may be read, and what lies where. What is in memory is read at
 * once; what lies in segments is read ahead, one read at a time for all who want it, and kept until somebody takes
 * it. Nothing that is open in a transaction leaves here for a group that reads what is committed.
 */
import { assert, AssertionFailure } from "../../base/assert.ts";
import { DamageError } from "../../base/errors.ts";
import type { Offset } from "../../base/ids.ts";
import type { Logger } from "../../base/ports.ts";
import type { Isolation, ReadOptions, ReadOutcome } from "../../log/outcomes.ts";
import type { Partition } from "../../log/partition.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { SharePartitionKey } from "./persister.ts";
import type { ReadAhead } from "./read-ahead.ts";
import { RecordRead } from "./record-read.ts";
import type { ShareSettings } from "./settings.ts";

export interface ShareLogOptions {
  readonly key: SharePartitionKey;
  readonly partition: Partition;
  readonly log: Logger;
  readonly settings: () => ShareSettings;
  readonly ahead: ReadAhead;
  /** What was read ahead is there, or could not be had. */
  readonly onRead: () => void;
}

export type LogRead =
  | { readonly kind: "records"; readonly records: RecordRead }
  /** It is on its way, or there is no room for it; who waits is woken. */
  | { readonly kind: "later" }
  /** The log begins behind it. */
  | { readonly kind: "deleted" }
  | { readonly kind: "damaged"; readonly resumeAt: Offset };

/** So many bytes are read at a time: a member takes some hundred records, and what it leaves is read again. */
const readBytesMax = 512 * 1024;

const later: LogRead = { kind: "later" };

interface Ahead {
  readonly from: Offset;
  /** The group may read otherwise by now. */
  readonly isolation: Isolation;
  readonly outcome: ReadOutcome;
  readonly letGo: () => void;
}

export class ShareLog {
  readonly #options: ShareLogOptions;
  #isReading = false;
  #ahead: Ahead | null = null;
  #failure: ErrorCode | null = null;
  #isClosed = false;

  constructor(options: ShareLogOptions) {
    this.#options = options;
  }

  /** Exclusive: what the group may be given. */
  get end(): Offset {
    const { partition } = this.#options;
    return this.#isolation === "committed" ? partition.lastStable : partition.highWatermark;
  }

  get #isolation(): Isolation {
    return this.#options.settings().isolation === "read_committed" ? "committed" : "uncommitted";
  }

  get isReading(): boolean {
    return this.#isReading;
  }

  /** Whether somebody has to hear that a read failed. */
  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  /** Told once; null: nothing failed. */
  takeFailure(): ErrorCode | null {
    const failure = this.#failure;
    this.#failure = null;
    return failure;
  }

  /** Infinitely many where they lie in segments. */
  availableBytes(from: Offset): number {
    return this.#options.partition.availableBytes(from, this.#isolation);
  }

  /** Synchronous. */
  read(from: Offset, bytesMax: number, orOneBatch: boolean): LogRead {
    const outcome = this.#kept(from, bytesMax, orOneBatch) ?? this.#readNow(from, bytesMax, orOneBatch);
    switch (outcome?.kind) {
      case "read": {
        const records = new RecordRead(outcome.chunks, outcome.aborted);
        return records.isEmpty ? later : { kind: "records", records };
      }
      case "out-of-range":
        return { kind: "deleted" };
      case "damaged":
        // It may be read there by its new owner.
        return this.#options.partition.isClosed ? later : outcome;
      default:
        return later;
    }
  }

  #kept(from: Offset, bytesMax: number, orOneBatch: boolean): ReadOutcome | null {
    const ahead = this.#ahead;
    if (ahead === null) return null;
    if (ahead.isolation !== this.#isolation) this.#letGo();
    else if (ahead.from === from) {
      const isLarger = ahead.outcome.kind === "read" && ahead.outcome.bytes > bytesMax;
      if (isLarger && !orOneBatch) return null;
      this.#letGo();
      return ahead.outcome;
    }
    return null;
  }

  #letGo(): void {
    this.#ahead?.letGo();
    this.#ahead = null;
  }

  #readNow(from: Offset, bytesMax: number, orOneBatch: boolean): ReadOutcome | null {
    if (bytesMax <= 0 && !orOneBatch) return null;
    const { partition } = this.#options;
    const isolation = this.#isolation;
    const wish = { offset: from, bytesMax: Math.min(bytesMax, readBytesMax), orOneBatch, isolation };
    if (partition.availableBytes(from, isolation) === Infinity) {
      void this.#readAhead(wish);
      return null;
    }
    try {
      const outcome = partition.read(wish);
      assert(!(outcome instanceof Promise), "what is in memory is read at once");
      return outcome;
    } catch (cause) {
      if (cause instanceof AssertionFailure) throw cause;
      this.#fail(from, cause);
      return null;
    }
  }

  /** Never rejects. */
  async #readAhead(wish: ReadOptions & { readonly isolation: Isolation }): Promise<void> {
    const { partition, ahead, onRead } = this.#options;
    const { offset: from, isolation } = wish;
    this.#isReading = true;
    await ahead.enter(readBytesMax);
    let outcome: ReadOutcome | null = null;
    try {
      if (!this.#isClosed) outcome = await partition.read(wish);
    } catch (cause) {
      this.#fail(from, cause);
    }
    this.#isReading = false;
    if (outcome === null || this.#isClosed) ahead.giveBack(readBytesMax);
    else {
      this.#letGo();
      const bytes = outcome.kind === "read" ? outcome.bytes : 0;
      const letGo = ahead.keep(readBytesMax, bytes, () => this.#onDropped());
      this.#ahead = { from, isolation, outcome, letGo };
    }
    onRead();
  }

  /** Others needed the room: whoever waits for it reads it again. */
  #onDropped(): void {
    this.#ahead = null;
    this.#options.onRead();
  }

  /** Nothing is read here any more. */
  close(): void {
    this.#isClosed = true;
    this.#letGo();
  }

  /** The first record at this time or after it, else the end; null: it cannot be read. */
  async find(timestampMs: number): Promise<Offset | null> {
    const { partition } = this.#options;
    try {
      const found = await partition.findTimestamp(timestampMs);
      return found.offset < 0 ? partition.highWatermark : found.offset;
    } catch (cause) {
      this.#fail(partition.logStart, cause);
      return null;
    }
  }

  /** The partition goes on, and so does the group once the store answers; members hear that these cannot be read. */
  #fail(from: Offset, cause: unknown): void {
    const { key, partition, log } = this.#options;
    if (partition.isClosed) return;
    this.#failure = cause instanceof DamageError ? ErrorCode.CORRUPT_MESSAGE : ErrorCode.KAFKA_STORAGE_ERROR;
    const message = cause instanceof Error ? cause.message : String(cause);
    log.error("share-partition.unreadable", { ...key, offset: from, cause: message });
  }
}
