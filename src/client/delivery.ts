/**
 * What a producer does with records from `send` to their outcome: into batches, to the brokers, and what is
 * told of each. It promises that every promise settles, and in the order of the records of a partition.
 */
import { Accumulator, type Place, refused } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import type { Cluster } from "./cluster.ts";
import { ClosedError, DeliveryError } from "./errors.ts";
import type { ProducerSettings } from "./producer-settings.ts";
import type { Acknowledgement, OutgoingRecord, RecordMetadata } from "./records.ts";
import type { OnStanding, Standing } from "./registration.ts";
import { Sender } from "./sender.ts";

export interface ProducerStats {
  /** Records by what became of them; those that are neither are on their way or wait. */
  readonly acknowledged: number;
  readonly failed: number;
  /** Batches that were sent again, and times that a partition's sequence was begun anew. */
  readonly retries: number;
  readonly epochs: number;
  /** Memory of batches that are not settled, and bytes of records that wait for room. */
  readonly bufferedBytes: number;
  readonly waitingBytes: number;
}

/**
 * Some records of a `sendMany` were not delivered: `errors` says which, `acknowledged` has the others. Both may
 * be long, so that they are read from it and not printed with it.
 */
export class PartialDeliveryError extends AggregateError {
  override readonly name = "PartialDeliveryError";
  readonly code = "PARTIAL_DELIVERY";
  declare readonly errors: DeliveryError[];
  readonly #acknowledged: readonly Acknowledgement[];
  constructor(errors: readonly Error[], acknowledged: readonly Acknowledgement[]) {
    super([], sentenceOn(errors, acknowledged), { cause: errors[0] });
    this.#acknowledged = acknowledged;
    // Node prints every element of an own array of this name, each with its stack; a getter it only names.
    Object.defineProperty(this, "errors", { get: () => errors, enumerable: false });
  }

  get acknowledged(): readonly Acknowledgement[] {
    return this.#acknowledged;
  }
}

function sentenceOn(errors: readonly Error[], acknowledged: readonly Acknowledgement[]): string {
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  const lost = sum(errors.map((error) => (error instanceof DeliveryError ? error.recordCount : 1)));
  const all = lost + sum(acknowledged.map(({ recordCount }) => recordCount));
  const failures = errors.length === 1 ? "" : `, in ${errors.length} failures (see errors); the first`;
  return `${lost} of ${all} records were not acknowledged${failures}: ${errors[0]?.message ?? ""}`;
}

interface Run {
  readonly batch: Batch;
  readonly from: number;
  count: number;
}

/** Of a producer in transactions. */
export interface TransactionHooks {
  readonly standing: (onAnswer: OnStanding) => Standing;
  /** A record that was taken was not acknowledged. */
  readonly onFailed: (cause: Error) => void;
}

export class Delivery {
  readonly #cluster: Cluster;
  readonly #sender: Sender;
  readonly #accumulator: Accumulator;
  readonly #counts = { acknowledged: 0, failed: 0, retries: 0, epochs: 0 };
  readonly #stopWatching: () => void;
  /** One for each record that waits; resolves when it has a place or was refused. */
  readonly #lines = new Set<Promise<void>>();
  readonly #onFailed: (cause: Error) => void;
  /** Why no record is taken; null: they are. */
  #refusal: Error | null = null;

  constructor(cluster: Cluster, settings: ProducerSettings, hooks?: TransactionHooks) {
    this.#cluster = cluster;
    this.#onFailed = hooks?.onFailed ?? ((): void => undefined);
    this.#sender = new Sender(
      cluster,
      settings,
      {
        charge: (bytes) => this.#accumulator.charge(bytes),
        settled: (batch, outcome) => {
          if (outcome.kind === "written") this.#counts.acknowledged += batch.recordCount;
          else this.#counts.failed += batch.recordCount;
          if (outcome.kind === "failed") this.#onFailed(outcome.cause);
        },
        retried: () => this.#counts.retries++,
        epochBegun: () => this.#counts.epochs++,
        topicGone: (topic) => this.#accumulator.forget(topic),
      },
      hooks?.standing,
    );
    this.#accumulator = new Accumulator(cluster, settings, this.#sender);
    this.#stopWatching = cluster.onChange(() => this.#accumulator.grow());
  }

  /**
   * Resolves when the broker acknowledged the record. When the buffer is full it waits for room, and when
   * the line for that is full too, it rejects. Rejects with `DeliveryError`, or `OptionError` for
   * what is no record.
   */
  send(record: OutgoingRecord): Promise<RecordMetadata> {
    if (this.#refusal !== null) return Promise.reject(refused(record, this.#refusal));
    const timestampMs = record.timestampMs ?? this.#cluster.settings.clock.wallMs();
    let batch: Batch | null;
    try {
      batch = this.#accumulator.append(record, timestampMs);
    } catch (cause) {
      this.#failed(cause as Error);
      return Promise.reject(cause as Error);
    }
    if (batch === null) return this.#sendLater(record);
    const taker = batch;
    const index = taker.recordCount - 1;
    return taker.outcome.then((outcome) => taker.metadataOf(outcome, index, timestampMs));
  }

  /**
   * As `send` for each record in order, with one promise for all, which settles when all have. Rejects
   * with `PartialDeliveryError` when any of them failed.
   */
  async sendMany(records: Iterable<OutgoingRecord>): Promise<readonly Acknowledgement[]> {
    const runs: Run[] = [];
    const errors: Error[] = [];
    const newest = new Map<Batch, Run>();
    const note = (batch: Batch, index: number): void => {
      const run = newest.get(batch);
      if (run !== undefined && run.from + run.count === index) run.count++;
      else {
        const made = { batch, from: index, count: 1 };
        newest.set(batch, made);
        runs.push(made);
      }
    };
    for (const record of records) {
      try {
        if (this.#refusal !== null) throw refused(record, this.#refusal);
        const timestampMs = record.timestampMs ?? this.#cluster.settings.clock.wallMs();
        const batch = this.#accumulator.append(record, timestampMs);
        if (batch !== null) {
          note(batch, batch.recordCount - 1);
          continue;
        }
      } catch (cause) {
        this.#failed(cause as Error);
        errors.push(cause as Error);
        continue;
      }
      try {
        const place = await new Promise<Place>((resolve, reject) => this.#wait(record, resolve, reject));
        note(place.batch, place.index);
      } catch (cause) {
        errors.push(cause as Error);
      }
    }
    const acknowledged: Acknowledgement[] = [];
    for (const { batch, from, count } of runs) {
      const { written, failed } = batch.runsOf(await batch.outcome, from, count);
      acknowledged.push(...written);
      errors.push(...failed);
    }
    if (errors.length > 0) throw new PartialDeliveryError(errors, acknowledged);
    return acknowledged;
  }

  /** False: the next record would have to wait; `await ready()` first to send at the broker's pace. */
  get hasRoom(): boolean {
    return this.#accumulator.hasRoom;
  }

  /** Resolves when there is room for a record. */
  ready(): Promise<void> {
    return this.#accumulator.room();
  }

  get stats(): ProducerStats {
    const { usedBytes: bufferedBytes, waitingBytes } = this.#accumulator;
    return { ...this.#counts, bufferedBytes, waitingBytes };
  }

  /**
   * Resolves when every record that was given so far is acknowledged or has failed; failures are told by
   * the records' own promises. Nothing lingers meanwhile.
   */
  async flush(): Promise<void> {
    const endFlush = this.#accumulator.beginFlush();
    try {
      await Promise.all(this.#lines);
      await Promise.all(this.#sender.unsettled.map((batch) => batch.outcome));
    } finally {
      endFlush();
    }
  }

  /** Takes no more records, delivers those it has within `timeoutMs`, and ends its connections; what is left fails. */
  async close(timeoutMs: number): Promise<void> {
    this.#refusal = new ClosedError("The producer was closed.");
    const { clock } = this.#cluster.settings;
    const late = Promise.withResolvers<void>();
    const timer = clock.schedule(timeoutMs, late.resolve);
    await Promise.race([this.flush(), late.promise]);
    timer.cancel();
    this.#accumulator.close();
    this.#sender.close();
    this.#stopWatching();
  }

  // ── For transactions ──

  /** Takes records again, under the identity of now. `isOther`: than before, so that sequences begin at 0. */
  begin(isOther: boolean): void {
    if (this.#refusal instanceof ClosedError) return;
    if (isOther) this.#sender.restart();
    this.#refusal = null;
  }

  /** Takes no more records until `begin`. */
  refuse(cause: Error): void {
    if (!(this.#refusal instanceof ClosedError)) this.#refusal = cause;
  }

  /** Fails everything that is not settled, with `cause`; resolves when nothing is on its way any more. */
  async abandon(cause: Error): Promise<void> {
    this.refuse(cause);
    this.#accumulator.abandon(cause);
    await this.#sender.abandon(cause);
  }

  #failed(cause: Error): void {
    this.#counts.failed++;
    this.#onFailed(cause);
  }

  /** Looks at the outcome from the moment it is placed, as `send` does: so promises settle in the order of the records. */
  #sendLater(record: OutgoingRecord): Promise<RecordMetadata> {
    return new Promise((resolve, reject) => {
      const placed = ({ batch, index, timestampMs }: Place): void => {
        batch.outcome.then((outcome) => resolve(batch.metadataOf(outcome, index, timestampMs))).catch(reject);
      };
      this.#wait(record, placed, reject);
    });
  }

  /** Calls one of the two, once and synchronously with what became of the record. */
  #wait(record: OutgoingRecord, onPlaced: (place: Place) => void, onRefused: (cause: Error) => void): void {
    let leave: () => void = () => undefined;
    const line = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.#lines.add(line);
    const left = (): void => {
      this.#lines.delete(line);
      leave();
    };
    this.#accumulator.wait(record, {
      placed: (place) => {
        left();
        onPlaced(place);
      },
      refused: (cause) => {
        left();
        this.#failed(cause);
        onRefused(cause);
      },
    });
  }
}
