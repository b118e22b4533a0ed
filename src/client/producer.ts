/**
 * What users hold of a producer. A record that `send` took is delivered once and in order within its
 * partition, or its promise rejects with a `DeliveryError` that says what is known of its fate. Nobody has
 * to look at that promise for a failure to be seen: it is a rejection, and one that is not handled ends
 * the process unless the program decides otherwise.
 */
import type { Cluster } from "./cluster.ts";
import { Delivery, type ProducerStats } from "./delivery.ts";
import type { ProducerOptions } from "./options.ts";
import { producerSettings } from "./producer-settings.ts";
import type { Acknowledgement, OutgoingRecord, RecordMetadata } from "./records.ts";

export { PartialDeliveryError, type ProducerStats } from "./delivery.ts";

export class Producer implements AsyncDisposable {
  readonly #delivery: Delivery;
  readonly #deliveryTimeoutMs: number;
  readonly #onClosed: () => void;
  #closing: Promise<void> | null = null;

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, options: ProducerOptions = {}, onClosed: () => void = () => undefined) {
    const settings = producerSettings(options);
    this.#delivery = new Delivery(cluster, settings);
    this.#deliveryTimeoutMs = settings.deliveryTimeoutMs;
    this.#onClosed = onClosed;
  }

  /**
   * Resolves when the broker acknowledged the record. When the buffer is full it waits for room, and when
   * the line for that is full too, it rejects. Rejects with `DeliveryError`, or `OptionError` for
   * what is no record.
   */
  send(record: OutgoingRecord): Promise<RecordMetadata> {
    return this.#delivery.send(record);
  }

  /**
   * As `send` for each record in order, with one promise for all, which settles when all have. Rejects
   * with `PartialDeliveryError` when any of them failed.
   */
  sendMany(records: Iterable<OutgoingRecord>): Promise<readonly Acknowledgement[]> {
    return this.#delivery.sendMany(records);
  }

  /** False: the next record would have to wait; `await ready()` first to send at the broker's pace. */
  get hasRoom(): boolean {
    return this.#delivery.hasRoom;
  }

  /** Resolves when there is room for a record. */
  ready(): Promise<void> {
    return this.#delivery.ready();
  }

  get stats(): ProducerStats {
    return this.#delivery.stats;
  }

  /**
   * Resolves when every record that was given so far is acknowledged or has failed; failures are told by
   * the records' own promises. Nothing lingers meanwhile.
   */
  flush(): Promise<void> {
    return this.#delivery.flush();
  }

  /**
   * Takes no more records, delivers those it has, and ends its connections. What is not delivered within
   * `timeoutMs` (default: the delivery deadline) fails.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#delivery
      .close(options.timeoutMs ?? this.#deliveryTimeoutMs)
      .then(() => this.#onClosed());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
