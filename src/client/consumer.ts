/**
 * Reads partitions that it is told to read, in order within each, from where it is told to begin:
 * `for await (const record of consumer)`. It promises that no record is passed over without being asked
 * to: a position whose records are gone, or records that cannot be read, end the loop with an error that
 * says where; what a broker mends by itself is waited for. It remembers no offset beyond its own life.
 */
import type { Timer } from "../base/ports.ts";
import type { PartitionPosition } from "./assigned-partition.ts";
import type { Cluster } from "./cluster.ts";
import {
  type ConsumerOptions,
  type ConsumerSettings,
  type PartitionRef,
  settingsOf,
  type StartingPoint,
} from "./consumer-options.ts";
import { ClosedError } from "./errors.ts";
import type { IncomingRecord } from "./incoming-record.ts";
import { Reader, type RecordBatch } from "./reader.ts";
import { RetryWatch } from "./retry-watch.ts";

export interface BatchOptions {
  /** Stored batches are collected up to so many records; one alone may have more. Default 2,000. */
  readonly recordsMax?: number | undefined;
}

export class Consumer implements AsyncIterable<IncomingRecord>, AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #settings: ConsumerSettings;
  readonly #reader: Reader;
  readonly #onClose: () => void;
  #starting: Promise<void> | undefined = undefined;
  #refreshTimer: Timer | undefined = undefined;

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, options: ConsumerOptions, onClose: () => void = () => undefined) {
    this.#onClose = onClose;
    const settings = settingsOf(options);
    const watch = new RetryWatch(cluster.settings, settings.retryNoticeMs, settings.onRetry);
    this.#cluster = cluster;
    this.#settings = settings;
    this.#reader = new Reader({ cluster, settings, watch });
  }

  /**
   * Resolves when it is known where each partition begins: whatever is produced from then on is read, also
   * from "end". Rejects with `UnknownTopicError`, `UnknownPartitionError`, `NoBrokerError`,
   * `BrokerRefusedError`, `LostPositionError`. Reading begins by itself; this is for those who need to know.
   */
  async ready(): Promise<void> {
    await this.#start();
    const failed = this.#reader.assignment.failed[0];
    if (failed?.state.kind === "failed") throw failed.state.error;
  }

  /**
   * One record after the other. Leaving the loop leaves the consumer as it is, and another loop goes on
   * behind the last record that was handed out. An error does not close it either: `seek` moves the
   * partition that stands still, `pause` leaves it out.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<IncomingRecord> {
    return this.#iterate(() => this.#reader.takeRecord());
  }

  /** As many consecutive records of one partition at a time as are there, within bounds. */
  batches(options: BatchOptions = {}): AsyncIterableIterator<RecordBatch> {
    const { recordsMax = 2_000 } = options;
    return this.#iterate(() => this.#reader.takeBatch(recordsMax));
  }

  /** Goes on elsewhere; records that were read ahead are dropped. Throws `ConsumerUsageError`, `OptionError`. */
  seek(target: PartitionRef & { readonly to: StartingPoint }): void {
    this.#reader.seek(target);
  }

  /** Hands out nothing of these partitions (default: all) until `resume`. Throws `ConsumerUsageError`. */
  pause(partitions?: readonly PartitionRef[]): void {
    this.#reader.pause(partitions);
  }

  resume(partitions?: readonly PartitionRef[]): void {
    this.#reader.resume(partitions);
  }

  /**
   * The offset of the next record that will be handed out: what to keep in order to go on from there in
   * another process. `undefined` until it is known. Throws `ConsumerUsageError`.
   */
  position(of: PartitionRef): number | undefined {
    return this.#reader.assignment.find(of).toPosition().position;
  }

  /** Where each partition stands. */
  positions(): readonly PartitionPosition[] {
    return this.#reader.positions();
  }

  /** Bytes that are held or asked for, as they are stored; see `prefetchBytesMax`. */
  get bufferedBytes(): number {
    return this.#reader.bufferedBytes;
  }

  /** Ends the loops that read, and closes the connections. */
  close(): Promise<void> {
    if (this.#reader.isClosed) return Promise.resolve();
    this.#onClose();
    this.#refreshTimer?.cancel();
    this.#reader.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(): Promise<void> {
    if (this.#reader.isClosed) return Promise.reject(new ClosedError("The consumer was closed."));
    this.#starting ??= this.#reader.assignment.start().then(
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
    if (this.#reader.isClosed) return;
    this.#refreshTimer = this.#cluster.settings.clock.schedule(this.#settings.refreshMs, () => {
      for (const topic of this.#settings.topics) this.#cluster.refresh(topic);
      this.#scheduleRefresh();
    });
  }

  #iterate<T>(take: () => T | undefined): AsyncIterableIterator<T> {
    return this.#reader.iterate({
      take,
      start: () => this.#start(),
      isFinished: () => this.#isFinished,
    });
  }

  get #isFinished(): boolean {
    const { partitions } = this.#reader.assignment;
    return this.#settings.until === "end" && partitions.every(({ isFinished }) => isFinished);
  }
}
