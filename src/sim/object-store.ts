/**
 * An object store that does to its users what real ones do: a put is applied late, or twice, or is applied
 * and never answered; an answer is an error that says nothing; a delete takes effect after it was
 * answered; a listing misses what is new. What it never does is to replace an object. With a rate of 0 for
 * every fault it is a plain store in memory. Calls take virtual time when a clock is given.
 */
import { concatBytes } from "../base/bytes.ts";
import type { Clock, ObjectStore } from "../base/ports.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import type { SimRandom } from "./random.ts";

/** Each a probability per call. */
export interface ObjectStoreFaults {
  /** The put is applied, and the answer is an error. */
  readonly unanswered: number;
  /** An error is answered, and the put is applied up to `lateMs` afterwards, also when its sender is dead. */
  readonly late: number;
  /** The put is applied, and once more up to `lateMs` afterwards: harmless, unless the name was deleted between. */
  readonly twice: number;
  /** An error is answered, and nothing is applied. */
  readonly refused: number;
  /** A delete is answered before it is applied. */
  readonly lateDelete: number;
  /** A listing leaves out one object. */
  readonly shortList: number;
  readonly lateMs: number;
}

export const noFaults: ObjectStoreFaults = {
  unanswered: 0,
  late: 0,
  twice: 0,
  refused: 0,
  lateDelete: 0,
  shortList: 0,
  lateMs: 0,
};

export interface SimObjectStoreOptions {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly faults?: ObjectStoreFaults;
  /** A call takes up to so long, half of it before it is applied. */
  readonly latencyMs?: number;
}

export class SimObjectStore {
  /** What is there now. A test may look, damage and remove. */
  readonly objects = new Map<string, Uint8Array>();
  /** The first content that each name ever had: names must not get another one while anybody needs it. */
  readonly firstContents = new Map<string, Uint8Array>();
  readonly #clock: Clock;
  readonly #random: SimRandom;
  readonly #latencyMs: number;
  faults: ObjectStoreFaults;
  /** How often each fault struck. */
  readonly counts = new Map<string, number>();

  constructor(options: SimObjectStoreOptions) {
    this.#clock = options.clock;
    this.#random = options.random.fork("object store");
    this.#latencyMs = options.latencyMs ?? 30;
    this.faults = options.faults ?? noFaults;
  }

  /** A process's view of the store. After `kill` none of its calls is answered; what was sent may still be applied. */
  connect(): ObjectStore & { kill(): void } {
    let alive = true;
    const answered = <T>(work: () => Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        if (!alive) return;
        work().then(
          (value) => alive && resolve(value),
          (error: Error) => alive && reject(error),
        );
      });
    return {
      get: (key, range) => answered(() => this.#get(key, range)),
      putIfAbsent: (key, chunks) => answered(() => this.#put(key, concatBytes(chunks))),
      list: (prefix) => answered(() => this.#list(prefix)),
      delete: (key) => answered(() => this.#delete(key)),
      kill: () => {
        alive = false;
      },
    };
  }

  async #get(
    key: string,
    range?: { readonly start: number; readonly length: number },
  ): Promise<Uint8Array | null> {
    await this.#pause();
    if (this.#strikes("refused")) throw new OutcomeUnknownError(`get ${key}: 503`);
    const found = this.objects.get(key);
    await this.#pause();
    if (found === undefined) return null;
    if (range === undefined) return found.slice();
    return found.slice(range.start, range.start + range.length);
  }

  async #put(key: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    await this.#pause();
    if (this.#strikes("refused")) throw new OutcomeUnknownError(`put ${key}: 503`);
    if (this.#strikes("late")) {
      this.#later(() => this.#apply(key, bytes));
      await this.#pause();
      throw new OutcomeUnknownError(`put ${key}: no answer`);
    }
    const created = this.#apply(key, bytes);
    if (this.#strikes("twice")) this.#later(() => this.#apply(key, bytes));
    await this.#pause();
    if (this.#strikes("unanswered")) throw new OutcomeUnknownError(`put ${key}: connection reset`);
    return created ? "created" : "exists";
  }

  async #list(prefix: string): Promise<readonly { readonly key: string; readonly bytes: number }[]> {
    await this.#pause();
    if (this.#strikes("refused")) throw new OutcomeUnknownError(`list ${prefix}: 503`);
    const found = [...this.objects]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, { byteLength }]) => ({ key, bytes: byteLength }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    if (found.length > 0 && this.#strikes("shortList")) found.splice(this.#random.below(found.length), 1);
    await this.#pause();
    return found;
  }

  async #delete(key: string): Promise<void> {
    await this.#pause();
    if (this.#strikes("refused")) throw new OutcomeUnknownError(`delete ${key}: 503`);
    if (this.#strikes("lateDelete")) this.#later(() => this.objects.delete(key));
    else this.objects.delete(key);
    await this.#pause();
  }

  #apply(key: string, bytes: Uint8Array): boolean {
    if (this.objects.has(key)) return false;
    this.objects.set(key, bytes.slice());
    if (!this.firstContents.has(key)) this.firstContents.set(key, bytes.slice());
    return true;
  }

  #strikes(fault: Exclude<keyof ObjectStoreFaults, "lateMs">): boolean {
    const rate = this.faults[fault];
    if (rate === 0 || !this.#random.chance(rate)) return false;
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    return true;
  }

  #later(run: () => unknown): void {
    this.#clock.schedule(this.#random.fraction() * this.faults.lateMs, run);
  }

  #pause(): Promise<void> {
    if (this.#latencyMs === 0) return Promise.resolve();
    return new Promise((resume) => {
      this.#clock.schedule((this.#random.fraction() * this.#latencyMs) / 2, resume);
    });
  }
}
