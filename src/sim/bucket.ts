/**
 * A bucket that several simulated processes share, and that does to their requests what a network, a proxy and
 * a loaded store do: a request is lost on its way there or back, arrives long after its sender gave up or died,
 * arrives twice, is refused with 503, is done and answered with an error, is answered 409, or 412 for the
 * sender's own success; answers overtake each other; a delete takes effect later than it is answered; a listing
 * is old; everything stalls for a while. What it never does is to give one name to two: who creates a name first
 * has it, and nothing replaces an object. With `fairWeather` it is a quick and honest store.
 */
import { assert } from "../base/assert.ts";
import { concatBytes, equalBytes } from "../base/bytes.ts";
import type { ObjectStore } from "../base/ports.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import type { Host } from "./process.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** Of each request one of these may come true; rates are probabilities, and their sum is at most 1. */
export interface BucketFaults {
  /** It never arrives, and nobody answers. */
  readonly lostThere: number;
  /** It is done, and the answer never arrives. */
  readonly lostBack: number;
  /** 503: nothing is done. */
  readonly refused: number;
  /** 500 or a reset: it is done. */
  readonly failedAfter: number;
  /** Nobody answers in time, and it is done up to `lateMs` later, also when its sender is dead by then. */
  readonly late: number;
  /** It is done, and once more up to `lateMs` later. */
  readonly doubled: number;
  /** 409, another request for the name was under way: nothing is done. */
  readonly conflict: number;
  /** 412 for what this very request created. */
  readonly ownSuccess: number;
  /** A delete is done up to `lateMs` after its answer. */
  readonly lateDelete: number;
  /** A listing shows what was there up to `lateMs` ago. */
  readonly oldList: number;
  /** It takes up to `slowMs` on its way. */
  readonly slow: number;
}

export interface BucketWeather {
  readonly faults: BucketFaults;
  readonly lateMs: number;
  readonly slowMs: number;
  /** On its way there and on its way back a request takes up to so long. */
  readonly latencyMs: number;
}

export const noBucketFaults: BucketFaults = {
  lostThere: 0,
  lostBack: 0,
  refused: 0,
  failedAfter: 0,
  late: 0,
  doubled: 0,
  conflict: 0,
  ownSuccess: 0,
  lateDelete: 0,
  oldList: 0,
  slow: 0,
};
export const fairWeather: BucketWeather = { faults: noBucketFaults, lateMs: 0, slowMs: 0, latencyMs: 15 };

/** Rates that come from a seed: some faults often, some not at all. `most` is about the share of all requests. */
export function drawWeather(random: SimRandom, most: number): BucketWeather {
  const wishes = Object.keys(noBucketFaults).map((fault): [string, number] => [
    fault,
    random.chance(0.6) ? random.fraction() : 0,
  ]);
  const sum = wishes.reduce((total, [, wish]) => total + wish, 0);
  const share = sum === 0 ? 0 : (random.fraction() * most) / sum;
  return {
    faults: Object.fromEntries(
      wishes.map(([fault, wish]) => [fault, wish * share]),
    ) as unknown as BucketFaults,
    lateMs: random.pick([200, 3_000, 30_000, 120_000]),
    slowMs: random.pick([100, 1_000, 8_000, 30_000]),
    latencyMs: random.pick([2, 15, 60]),
  };
}

type Fault = keyof BucketFaults;
type Operation = "get" | "put" | "list" | "delete";

/** What each kind of request can meet. */
const meets: { readonly [operation in Operation]: readonly Fault[] } = {
  get: ["lostThere", "lostBack", "refused", "slow"],
  put: [
    "lostThere",
    "lostBack",
    "refused",
    "failedAfter",
    "late",
    "doubled",
    "conflict",
    "ownSuccess",
    "slow",
  ],
  list: ["lostThere", "lostBack", "refused", "oldList", "slow"],
  delete: ["lostThere", "lostBack", "refused", "failedAfter", "late", "doubled", "lateDelete", "slow"],
};

/** After so long without an answer the sender gives up. */
const timeoutMs = 2_000;

interface Was {
  readonly key: string;
  readonly bytes: number;
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface BucketCounts {
  requests: number;
  /** Those of them that met a fault. */
  faulted: number;
  readonly byOperation: { [operation in Operation]: number };
  readonly byFault: { [fault: string]: number };
}

export class SimBucket {
  /** What is there now. A test may look, damage and remove. */
  readonly objects = new Map<string, Uint8Array>();
  /** The first content that each name ever had. */
  readonly firstContents = new Map<string, Uint8Array>();
  readonly counts: BucketCounts = {
    requests: 0,
    faulted: 0,
    byOperation: { get: 0, put: 0, list: 0, delete: 0 },
    byFault: {},
  };
  weather: BucketWeather;
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #createdMs = new Map<string, number>();
  /** What was deleted not longer ago than the weather remembers. */
  #deleted: Was[] = [];
  readonly #cutOff = new Set<Host>();
  #stormUntilMs = 0;
  #stormShare = 0;

  constructor(scheduler: Scheduler, random: SimRandom, weather: BucketWeather = fairWeather) {
    this.#scheduler = scheduler;
    this.#random = random.fork("bucket");
    this.weather = weather;
  }

  /** Until then a share of all requests is refused or gets no answer; a share of 1 is an outage. */
  storm(durationMs: number, share: number): void {
    this.#stormUntilMs = this.#scheduler.nowMs + durationMs;
    this.#stormShare = share;
  }

  /** From now on nothing of this process arrives here, though it may reach others. */
  cutOff(host: Host): void {
    this.#cutOff.add(host);
  }
  reconnect(host: Host): void {
    this.#cutOff.delete(host);
  }

  /** The store as one process has it. */
  connect(host: Host): ObjectStore {
    return {
      get: (key, range, into) => {
        // Who uses the memory before the answer reads garbage.
        into?.fill(0xdd);
        return this.#ask(host, "get", key, () => this.#get(key, range)).then((found) => {
          if (found === null || into === undefined) return found;
          into.set(found);
          return into.subarray(0, found.byteLength);
        });
      },
      putIfAbsent: (key, chunks, length) => {
        const bytes = concatBytes(chunks);
        assert(bytes.byteLength === length, "an object has the length that was told");
        return this.#ask(host, "put", key, () => (this.#create(key, bytes) ? "created" : "exists"));
      },
      list: (prefix) => this.#ask(host, "list", prefix, () => this.#list(prefix, 0)),
      delete: (key) => this.#ask(host, "delete", key, () => this.#delete(key)),
    };
  }

  #ask<T>(host: Host, operation: Operation, key: string, apply: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (host.isDead) return;
      const fault = this.#fateOf(host, operation);
      this.counts.requests++;
      this.counts.byOperation[operation]++;
      if (fault !== null) {
        this.counts.faulted++;
        this.counts.byFault[fault] = (this.counts.byFault[fault] ?? 0) + 1;
      }
      const fails = (ms: number, why: string): void => {
        this.#after(ms, () =>
          host.deliver(() => reject(new OutcomeUnknownError(`${operation} ${key}: ${why}`))),
        );
      };
      const answers = (value: T): void => {
        this.#after(this.#wayMs(), () => host.deliver(() => resolve(value)));
      };
      this.#happen(fault, { apply, answers, fails, key });
    });
  }

  #happen<T>(
    fault: Fault | null,
    request: {
      readonly apply: () => T;
      readonly answers: (value: T) => void;
      readonly fails: (ms: number, why: string) => void;
      readonly key: string;
    },
  ): void {
    const { apply, answers, fails, key } = request;
    const arrives = (run: () => void, ms = this.#wayMs()): void => this.#after(ms, run);
    const lateMs = (): number => this.#random.fraction() * this.weather.lateMs;
    switch (fault) {
      case "lostThere":
        return fails(timeoutMs, "no answer");
      case "lostBack":
        arrives(apply);
        return fails(timeoutMs, "no answer");
      case "refused":
        return fails(2 * this.#wayMs(), "503");
      case "conflict":
        return fails(2 * this.#wayMs(), "409");
      case "failedAfter":
        arrives(apply);
        return fails(this.weather.latencyMs * 2, "500");
      case "late":
        arrives(apply, timeoutMs + lateMs());
        return fails(timeoutMs, "no answer");
      case "doubled":
        arrives(apply, lateMs());
        return arrives(() => answers(apply()));
      case "ownSuccess":
        return arrives(() => {
          apply();
          answers("exists" as T);
        });
      case "lateDelete":
        arrives(apply, lateMs());
        return arrives(() => answers(undefined as T));
      case "oldList":
        return arrives(() => answers(this.#list(key, lateMs()) as T));
      case "slow":
        return arrives(() => answers(apply()), this.#random.fraction() * this.weather.slowMs);
      case null:
        return arrives(() => answers(apply()));
      default:
    }
  }

  #fateOf(host: Host, operation: Operation): Fault | null {
    if (this.#cutOff.has(host)) return "lostThere";
    if (this.#scheduler.nowMs < this.#stormUntilMs && this.#random.chance(this.#stormShare)) {
      return this.#random.chance(0.5) ? "refused" : "lostThere";
    }
    let drawn = this.#random.fraction();
    for (const fault of meets[operation]) {
      drawn -= this.weather.faults[fault];
      if (drawn < 0) return fault;
    }
    return null;
  }

  #get(key: string, range?: { readonly start: number; readonly length: number }): Uint8Array | null {
    const found = this.objects.get(key);
    if (found === undefined) return null;
    return range === undefined ? found.slice() : found.slice(range.start, range.start + range.length);
  }

  #create(key: string, bytes: Uint8Array): boolean {
    if (this.objects.has(key)) return false;
    this.objects.set(key, bytes);
    this.#createdMs.set(key, this.#scheduler.nowMs);
    const first = this.firstContents.get(key);
    if (first === undefined) this.firstContents.set(key, bytes);
    else if (isNeverReused(key)) assert(equalBytes(first, bytes), `${key} gets no other content`);
    return true;
  }

  /** As it was `agoMs` ago. */
  #list(prefix: string, agoMs: number): readonly { readonly key: string; readonly bytes: number }[] {
    const atMs = this.#scheduler.nowMs - agoMs;
    const found: { readonly key: string; readonly bytes: number }[] = [];
    for (const [key, { byteLength }] of this.objects) {
      if (key.startsWith(prefix) && (this.#createdMs.get(key) ?? 0) <= atMs)
        found.push({ key, bytes: byteLength });
    }
    if (agoMs > 0) {
      for (const { key, bytes, fromMs, untilMs } of this.#deleted) {
        if (key.startsWith(prefix) && fromMs <= atMs && atMs < untilMs) found.push({ key, bytes });
      }
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #delete(key: string): void {
    const found = this.objects.get(key);
    if (found === undefined) return;
    const nowMs = this.#scheduler.nowMs;
    this.objects.delete(key);
    this.#deleted = this.#deleted.filter(({ untilMs }) => untilMs > nowMs - this.weather.lateMs);
    const fromMs = this.#createdMs.get(key) ?? 0;
    this.#deleted.push({ key, bytes: found.byteLength, fromMs, untilMs: nowMs });
  }

  #wayMs(): number {
    return this.#random.fraction() * this.weather.latencyMs;
  }

  #after(ms: number, run: () => void): void {
    this.#scheduler.schedule(ms, run);
  }
}

/** Slots of the journal are reopened when their chapter is cut, and those of a WAL above its seal; other names are not. */
const isNeverReused = (key: string): boolean => !key.startsWith("meta/") && !key.startsWith("wal/");
