/**
 * What a consumer by assignment and a member of a group have in common: partitions that are read ahead,
 * one loop at a time that takes from them, and waiting for news. It never skips a record, and an error
 * neither closes nor moves anything.
 */
import { type LeaderEpoch, offset } from "../base/ids.ts";
import { Assignment } from "./assignment.ts";
import type { AssignedPartition, HeldPart, PartitionPosition } from "./assigned-partition.ts";
import type { Cluster } from "./cluster.ts";
import { ConsumerUsageError } from "./consumer-errors.ts";
import {
  checkStartingPoint,
  type ConsumerSettings,
  type PartitionRef,
  type StartingPoint,
} from "./consumer-options.ts";
import { Fetcher } from "./fetcher.ts";
import type { IncomingRecord } from "./incoming-record.ts";
import { Links } from "./links.ts";
import type { RetryWatch } from "./retry-watch.ts";

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

/** Told of the first record of what is handed out at once. `epochBefore`: the leader epoch of the record before it. */
export type OnHandOut = (of: AssignedPartition, at: number, epochBefore: LeaderEpoch) => void;

export interface LoopRules<T> {
  /** `undefined`: nothing now. What it throws ends the loop. */
  readonly take: () => T | undefined;
  /** Before the loop first waits; what it rejects with ends the loop. */
  readonly start: () => Promise<void>;
  readonly isFinished: () => boolean;
  /** The loop asks for the next: it is done with what it was given before. */
  readonly onNext?: () => void;
  /** The loop is left, by `break`, `return` or an error in its body. */
  readonly onReturn?: () => void;
}

export interface ReaderAccess {
  readonly cluster: Cluster;
  readonly settings: ConsumerSettings;
  readonly watch: RetryWatch;
  readonly onHandOut?: OnHandOut;
  /** Positions or their errors may have changed. */
  readonly onChange?: () => void;
}

export class Reader {
  readonly #questions: Links;
  readonly #fetches: Links;
  readonly assignment: Assignment;
  readonly #fetcher: Fetcher;
  readonly #onHandOut: OnHandOut | undefined;
  #current: HeldPart | undefined = undefined;
  /** Who waits for news; one loop at a time. */
  #wake: (() => void) | undefined = undefined;
  #isReading = false;
  #isClosed = false;

  constructor(access: ReaderAccess) {
    const { cluster, settings, watch, onChange } = access;
    this.#onHandOut = access.onHandOut;
    this.#questions = new Links(cluster.settings);
    this.#fetches = new Links(cluster.settings);
    this.assignment = new Assignment({
      cluster,
      settings,
      watch,
      links: this.#questions,
      onChange: () => {
        this.#fetcher.pump();
        onChange?.();
        this.tell();
      },
    });
    this.#fetcher = new Fetcher({
      cluster,
      settings,
      watch,
      links: this.#fetches,
      assignment: this.assignment,
      onNews: () => this.tell(),
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get bufferedBytes(): number {
    return this.#fetcher.bufferedBytes;
  }

  positions(): readonly PartitionPosition[] {
    return this.assignment.partitions.map((partition) => partition.toPosition());
  }

  /** Throws `ConsumerUsageError`, `OptionError`. */
  seek(target: PartitionRef & { readonly to: StartingPoint }): AssignedPartition {
    checkStartingPoint(target.to);
    const partition = this.assignment.find(target);
    if (typeof target.to === "number") partition.place(offset(target.to));
    else partition.moveTo(target.to);
    this.moved();
    return partition;
  }

  /** Throws `ConsumerUsageError`. */
  pause(partitions?: readonly PartitionRef[]): void {
    for (const partition of this.#named(partitions)) partition.isPaused = true;
    this.#fetcher.pump();
  }

  resume(partitions?: readonly PartitionRef[]): void {
    for (const partition of this.#named(partitions)) partition.isPaused = false;
    this.#fetcher.pump();
    this.tell();
  }

  /** A partition was moved, added or taken away. */
  moved(): void {
    this.assignment.noteFailures();
    this.#fetcher.pump();
    this.tell();
  }

  /** Who waits looks again. */
  tell(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  close(): void {
    this.#isClosed = true;
    this.assignment.close();
    this.#fetcher.close();
    this.#fetches.close();
    this.#questions.close();
    this.tell();
  }

  iterate<T>(rules: LoopRules<T>): AsyncIterableIterator<T> {
    const iterator: AsyncIterableIterator<T> = {
      // The usual case must not cost more than one promise.
      next: () => {
        let taken: T | undefined;
        try {
          if (!this.#isReading) rules.onNext?.();
          if (!this.#isClosed && !this.#isReading) taken = rules.take();
        } catch (cause) {
          return Promise.reject(cause as Error);
        }
        return taken === undefined ? this.#await(rules) : Promise.resolve({ done: false, value: taken });
      },
      return: () => {
        rules.onReturn?.();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  async #await<T>({ take, start, isFinished }: LoopRules<T>): Promise<IteratorResult<T>> {
    if (this.#isReading) {
      throw new ConsumerUsageError(
        "One loop at a time reads a consumer; another one waits for a record now.",
      );
    }
    this.#isReading = true;
    try {
      if (!this.#isClosed) await start();
      while (!this.#isClosed) {
        const taken = take();
        if (taken !== undefined) return { done: false, value: taken };
        if (isFinished()) break;
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

  /** `mayTake`: whether a partition is to be handed out now. */
  takeRecord(mayTake?: (of: AssignedPartition) => boolean): IncomingRecord | undefined {
    for (let part = this.#part(mayTake); part !== undefined; part = this.#part(mayTake)) {
      const { of } = part;
      const epochBefore = of.positionEpoch;
      const record = part.records.next();
      of.follow(part.records);
      if (record !== undefined) {
        this.#onHandOut?.(of, record.offset, epochBefore);
        return record;
      }
      this.#finish(part);
    }
    return undefined;
  }

  takeBatch(recordsMax: number, mayTake?: (of: AssignedPartition) => boolean): RecordBatch | undefined {
    for (let part = this.#part(mayTake); part !== undefined; part = this.#part(mayTake)) {
      const { of } = part;
      const epochBefore = of.positionEpoch;
      const records = collect(part, recordsMax);
      const [first] = records;
      if (first !== undefined) {
        this.#onHandOut?.(of, first.offset, epochBefore);
        const { topic, partition, position, end } = of;
        return { topic, partition, records, nextOffset: position, end };
      }
      this.#finish(part);
    }
    return undefined;
  }

  #named(partitions: readonly PartitionRef[] | undefined): readonly AssignedPartition[] {
    if (partitions === undefined) return this.assignment.partitions;
    return partitions.map((ref) => this.assignment.find(ref));
  }

  #part(mayTake?: (of: AssignedPartition) => boolean): HeldPart | undefined {
    const current = this.#current;
    if (current !== undefined && !current.isReleased && !current.of.isPaused) {
      if (mayTake === undefined || mayTake(current.of)) return current;
    }
    this.#current = this.#fetcher.nextPart(mayTake);
    return this.#current;
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
