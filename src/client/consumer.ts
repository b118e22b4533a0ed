/**
 * Reads partitions that it is told to read, in order within each, from where it is told to begin:
 * `for await (const record of consumer)`. It promises that no record is passed over without being asked
 * to: a position whose records are gone, or records that cannot be read, end the loop with an error that
 * says where; what a broker mends by itself is waited for. It remembers no offset beyond its own life.
 */
import { Assignment } from "./assignment.ts";
import type { AssignedPartition, HeldPart, PartitionPosition } from "./assigned-partition.ts";
import type { Cluster } from "./cluster.ts";
import { ConsumerUsageError } from "./consumer-errors.ts";
import {
  checkStartingPoint,
  type ConsumerOptions,
  type ConsumerSettings,
  type PartitionRef,
  settingsOf,
  type StartingPoint,
} from "./consumer-options.ts";
import { ClosedError } from "./errors.ts";
import { Fetcher } from "./fetcher.ts";
import type { IncomingRecord } from "./incoming-record.ts";
import { Links } from "./links.ts";
import { RetryWatch } from "./retry-watch.ts";
import type { Timer } from "../base/ports.ts";
import { offset } from "../base/ids.ts";

/** Consecutive records of one partition. */
export interface RecordBatch {
  readonly topic: string;
  readonly partition: number;
  /** At least one. */
  readonly records: readonly IncomingRecord[];
  /** Behind the last one: where a reader that has done with the batch goes on. */
  readonly nextOffset: number;
  /** Behind the last record that there was to read when the batch was fetched. */
  readonly end: number;
}

export interface BatchOptions {
  /** Stored batches are collected up to so many records; one alone may have more. Default 2,000. */
  readonly recordsMax?: number | undefined;
}

export class Consumer implements AsyncIterable<IncomingRecord>, AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #settings: ConsumerSettings;
  readonly #questions: Links;
  readonly #fetches: Links;
  readonly #assignment: Assignment;
  readonly #fetcher: Fetcher;
  #starting: Promise<void> | undefined = undefined;
  #current: HeldPart | undefined = undefined;
  /** Who waits for news; one loop at a time. */
  #wake: (() => void) | undefined = undefined;
  #isReading = false;
  #isClosed = false;
  readonly #onClose: () => void;
  #refreshTimer: Timer | undefined = undefined;

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, options: ConsumerOptions, onClose: () => void = () => undefined) {
    this.#onClose = onClose;
    const settings = settingsOf(options);
    const watch = new RetryWatch(cluster.settings, settings.retryNoticeMs, settings.onRetry);
    this.#cluster = cluster;
    this.#settings = settings;
    this.#questions = new Links(cluster.settings);
    this.#fetches = new Links(cluster.settings);
    this.#assignment = new Assignment({
      cluster,
      settings,
      watch,
      links: this.#questions,
      onChange: () => {
        this.#fetcher.pump();
        this.#tell();
      },
    });
    this.#fetcher = new Fetcher({
      cluster,
      settings,
      watch,
      links: this.#fetches,
      assignment: this.#assignment,
      onNews: () => this.#tell(),
    });
  }

  /**
   * Resolves when it is known where each partition begins: whatever is produced from then on is read, also
   * from "end". Rejects with `UnknownTopicError`, `UnknownPartitionError`, `NoBrokerError`,
   * `BrokerRefusedError`, `LostPositionError`. Reading begins by itself; this is for those who need to know.
   */
  async ready(): Promise<void> {
    await this.#start();
    const failed = this.#assignment.failed[0];
    if (failed?.state.kind === "failed") throw failed.state.error;
  }

  /**
   * One record after the other. Leaving the loop leaves the consumer as it is, and another loop goes on
   * behind the last record that was handed out. An error does not close it either: `seek` moves the
   * partition that stands still, `pause` leaves it out.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<IncomingRecord> {
    return this.#iterate(() => this.#takeRecord());
  }

  /** As many consecutive records of one partition at a time as are there, within bounds. */
  batches(options: BatchOptions = {}): AsyncIterableIterator<RecordBatch> {
    const { recordsMax = 2_000 } = options;
    return this.#iterate(() => this.#takeBatch(recordsMax));
  }

  /** Goes on elsewhere; records that were read ahead are dropped. Throws `ConsumerUsageError`, `OptionError`. */
  seek(target: PartitionRef & { readonly to: StartingPoint }): void {
    checkStartingPoint(target.to);
    const partition = this.#find(target);
    if (typeof target.to === "number") partition.place(offset(target.to));
    else partition.moveTo(target.to);
    this.#assignment.noteFailures();
    this.#fetcher.pump();
    this.#tell();
  }

  /** Hands out nothing of these partitions (default: all) until `resume`. Throws `ConsumerUsageError`. */
  pause(partitions?: readonly PartitionRef[]): void {
    for (const partition of this.#named(partitions)) partition.isPaused = true;
    this.#fetcher.pump();
  }

  resume(partitions?: readonly PartitionRef[]): void {
    for (const partition of this.#named(partitions)) partition.isPaused = false;
    this.#fetcher.pump();
    this.#tell();
  }

  /**
   * The offset of the next record that will be handed out: what to keep in order to go on from there in
   * another process. `undefined` until it is known. Throws `ConsumerUsageError`.
   */
  position(of: PartitionRef): number | undefined {
    return this.#find(of).toPosition().position;
  }

  /** Where each partition stands. */
  positions(): readonly PartitionPosition[] {
    return this.#assignment.partitions.map((partition) => partition.toPosition());
  }

  /** Bytes that are held or asked for, as they are stored; see `prefetchBytesMax`. */
  get bufferedBytes(): number {
    return this.#fetcher.bufferedBytes;
  }

  /** Ends the loops that read, and closes the connections. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    this.#onClose();
    this.#refreshTimer?.cancel();
    this.#assignment.close();
    this.#fetcher.close();
    this.#fetches.close();
    this.#questions.close();
    this.#tell();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(): Promise<void> {
    if (this.#isClosed) return Promise.reject(new ClosedError("The consumer was closed."));
    this.#starting ??= this.#assignment.start().then(
      () => this.#scheduleRefresh(),
      (cause: unknown) => {
        // The next loop tries anew.
        this.#starting = undefined;
        throw cause;
      },
    );
    return this.#starting;
  }

  #scheduleRefresh(): void {
    if (this.#isClosed) return;
    this.#refreshTimer = this.#cluster.settings.clock.schedule(this.#settings.refreshMs, () => {
      for (const topic of this.#settings.topics) this.#cluster.refresh(topic);
      this.#scheduleRefresh();
    });
  }

  #find(ref: PartitionRef): AssignedPartition {
    return this.#assignment.find(ref);
  }

  #named(partitions: readonly PartitionRef[] | undefined): readonly AssignedPartition[] {
    if (partitions === undefined) return this.#assignment.partitions;
    return partitions.map((ref) => this.#find(ref));
  }

  #tell(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #iterate<T>(take: () => T | undefined): AsyncIterableIterator<T> {
    const iterator: AsyncIterableIterator<T> = {
      // The usual case must not cost more than one promise.
      next: () => {
        let taken: T | undefined;
        try {
          if (!this.#isClosed && !this.#isReading) taken = take();
        } catch (cause) {
          return Promise.reject(cause as Error);
        }
        return taken === undefined ? this.#await(take) : Promise.resolve({ done: false, value: taken });
      },
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  async #await<T>(take: () => T | undefined): Promise<IteratorResult<T>> {
    if (this.#isReading) {
      throw new ConsumerUsageError(
        "One loop at a time reads a consumer; another one waits for a record now.",
      );
    }
    this.#isReading = true;
    try {
      if (!this.#isClosed) await this.#start();
      while (!this.#isClosed) {
        const taken = take();
        if (taken !== undefined) return { done: false, value: taken };
        if (this.#isFinished) break;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      return { done: true, value: undefined };
    } catch (cause) {
      // Closing cuts off what was under way; that is not worth an error.
      if (this.#isClosed) return { done: true, value: undefined };
      throw cause;
    } finally {
      this.#isReading = false;
    }
  }

  get #isFinished(): boolean {
    return (
      this.#settings.until === "end" && this.#assignment.partitions.every(({ isFinished }) => isFinished)
    );
  }

  #part(): HeldPart | undefined {
    const current = this.#current;
    if (current !== undefined && !current.isReleased && !current.of.isPaused) return current;
    this.#current = this.#fetcher.nextPart();
    return this.#current;
  }

  #takeRecord(): IncomingRecord | undefined {
    for (let part = this.#part(); part !== undefined; part = this.#part()) {
      const record = part.records.next();
      part.of.follow(part.records);
      if (record !== undefined) return record;
      this.#finish(part);
    }
    return undefined;
  }

  #takeBatch(recordsMax: number): RecordBatch | undefined {
    for (let part = this.#part(); part !== undefined; part = this.#part()) {
      const records = collect(part, recordsMax);
      const { of } = part;
      if (records.length > 0) {
        const { topic, partition, position, end } = of;
        return { topic, partition, records, nextOffset: position, end };
      }
      this.#finish(part);
    }
    return undefined;
  }

  /** Everything in the part is handed out. */
  #finish(part: HeldPart): void {
    part.of.shift();
    this.#current = undefined;
    this.#fetcher.released();
  }
}

/** Damage behind the first record is left for the next call, which meets it first. */
function collect(part: HeldPart, recordsMax: number): IncomingRecord[] {
  const records: IncomingRecord[] = [];
  try {
    while (records.length < recordsMax || !part.records.isBetweenBatches) {
      const record = part.records.next();
      if (record === undefined) break;
      records.push(record);
    }
  } catch (cause) {
    if (records.length === 0) throw cause;
  } finally {
    part.of.follow(part.records);
  }
  return records;
}
