/**
 * Records on their way, in the order they were given, and what became of each: acknowledged, certainly not
 * written, or unknown. It is bounded in number and bytes, so that an endless input does not fill the memory,
 * and no fate is ever left out of its counts.
 */
import type { RecordMetadata } from "../client/records.ts";
import { fateOf } from "./sentences.ts";

export const inFlightRecordsMax = 10_000;
export const inFlightBytesMax = 16 * 1024 * 1024;

export interface Acknowledged {
  /** From 1, as given. */
  readonly number: number;
  readonly metadata: RecordMetadata;
  readonly tookMs: number;
}

export interface Failure {
  readonly number: number;
  readonly error: unknown;
}

export interface DeliveryEvents {
  /** Awaited: whoever prints holds the records up, never the memory. Must not reject. */
  acknowledged(acknowledged: Acknowledged): Promise<void>;
  /** At the first failure; nothing more needs to be given. */
  failed(): void;
}

interface Sent {
  readonly number: number;
  readonly bytes: number;
  readonly outcome: Promise<
    { readonly metadata: RecordMetadata; readonly tookMs: number } | { readonly error: unknown }
  >;
}

export class Delivery {
  readonly #events: DeliveryEvents;
  readonly #window: Sent[] = [];
  #bytes = 0;
  #isSettling = false;
  #abandoned = false;
  readonly #waiting: (() => void)[] = [];
  #sent = 0;
  acknowledged = 0;
  notWritten = 0;
  unknown = 0;
  /** Known as soon as it happens, while the fate of earlier records is still awaited: give no more. */
  hasFailed = false;
  /** The first that failed, in the order given; when all before it are settled. */
  failure: Failure | null = null;

  constructor(events: DeliveryEvents) {
    this.#events = events;
  }

  /** Records given so far. */
  get given(): number {
    return this.#sent;
  }

  /** Given, and their fate not known yet. */
  get underWay(): number {
    return this.#window.length;
  }

  /** `beginMs`: from when its time counts, on `performance.now`. */
  give(bytes: number, promise: Promise<RecordMetadata>, beginMs: number = performance.now()): void {
    const outcome = promise.then(
      (metadata) => ({ metadata, tookMs: performance.now() - beginMs }),
      (error: unknown) => {
        this.hasFailed = true;
        return { error };
      },
    );
    this.#window.push({ number: ++this.#sent, bytes, outcome });
    this.#bytes += bytes;
    if (!this.#isSettling) void this.#settle();
  }

  get isFull(): boolean {
    return this.#window.length >= inFlightRecordsMax || this.#bytes >= inFlightBytesMax;
  }

  /** Resolves when another record may be given, or nothing is waited for any more. */
  async room(): Promise<void> {
    while (this.isFull && !this.#abandoned) await this.#change();
  }

  /** Resolves when the fate of all that was given is known, or nothing is waited for any more. */
  async finished(): Promise<void> {
    while (this.#window.length > 0 && !this.#abandoned) await this.#change();
  }

  /** What is under way stays so, and nobody waits for it. */
  abandon(): void {
    this.#abandoned = true;
    this.#tellChange();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #tellChange(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #settle(): Promise<void> {
    this.#isSettling = true;
    for (let first = this.#window[0]; first !== undefined; first = this.#window[0]) {
      const outcome = await first.outcome;
      if ("metadata" in outcome) {
        this.acknowledged++;
        await this.#events.acknowledged({ number: first.number, ...outcome });
      } else {
        if (fateOf(outcome.error) === "unknown") this.unknown++;
        else this.notWritten++;
        if (this.failure === null) {
          this.failure = { number: first.number, error: outcome.error };
          this.#events.failed();
        }
      }
      this.#window.shift();
      this.#bytes -= first.bytes;
      this.#tellChange();
    }
    this.#isSettling = false;
  }
}
