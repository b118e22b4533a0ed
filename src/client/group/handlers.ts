/**
 * Runs handlers, several at once, in the order that was asked for, and takes no more than it can start. The
 * first that throws ends it: others are waited for, and what is unfinished will be handed out again.
 */
import type { Clock, Timer } from "../../base/ports.ts";
import type { AssignedPartition } from "../assigned-partition.ts";
import type { Cluster } from "../cluster.ts";
import { type DeadLetterOptions, LastResort } from "../dead-letters/last-resort.ts";
import { OptionError } from "../errors.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { atLeast } from "../settings.ts";
import { HandlerError } from "./errors.ts";
import type { Share } from "./share.ts";

export interface HandlerContext {
  /** Aborted when the partition was taken away and somebody else may be handling the same record. */
  readonly signal: AbortSignal;
  /** Of the group, as the partition was given to this member: rises with each rebalance; a token to fence by. */
  readonly generation: number;
}

export type Handle = (record: IncomingRecord, context: HandlerContext) => unknown;

export interface RunOptions {
  /** The record is finished when what it returns is. A rejection ends `run`. */
  readonly handle: Handle;
  /** How many at once; default 1. */
  readonly concurrency?: number | undefined;
  /**
   * What is handled one after the other: all records of a "partition" (default), those of a partition with
   * the same "key", or nothing ("none").
   */
  readonly order?: "partition" | "key" | "none" | undefined;
  /**
   * Told of a handler that has been running for `slowMs` (default 60,000), and every `slowMs` from then on: a
   * handler that never ends holds up its partition, and nobody else would say so.
   */
  readonly onSlow?: ((notice: SlowHandler) => void) | undefined;
  readonly slowMs?: number | undefined;
  /**
   * A handler that throws is called again, and at last its record goes to a dead-letter topic and counts as finished.
   * Without it a handler that throws ends `run`.
   */
  readonly deadLetters?: DeadLetterOptions | undefined;
}

export interface SlowHandler {
  readonly record: IncomingRecord;
  readonly runningMs: number;
}

/** Taken out of the partitions with `order: "key"` while others of their keys are handled, for each handler. */
const waitingFactor = 16;

export interface Taken {
  readonly record: IncomingRecord;
  readonly of: AssignedPartition;
  readonly share: Share;
}

export interface HandlersAccess {
  readonly cluster: Cluster;
  readonly settings: { readonly group: string };
}

export class Handlers {
  readonly #handle: Handle;
  readonly #lastResort: LastResort | undefined;
  readonly #concurrency: number;
  readonly #order: "partition" | "key" | "none";
  readonly #onEnd: () => void;
  readonly #running = new Set<Promise<void>>();
  readonly #busy = new Set<AssignedPartition>();
  /** By key: what waits for the one that is handled. */
  readonly #lanes = new Map<string, Taken[]>();
  /** Of `#lanes`. */
  #waiting = 0;
  /** Lanes that nobody handles yet. */
  readonly #startable: string[] = [];
  readonly #clock: Clock;
  readonly #slowMs: number;
  readonly #onSlow: (notice: SlowHandler) => void;
  /** When each began, on the monotonic clock. */
  readonly #beganMs = new Map<IncomingRecord, number>();
  #slowTimer: Timer | undefined = undefined;
  failure: HandlerError | undefined = undefined;

  /** Throws `OptionError`. `onEnd`: a handler has come to an end, and there may be room for another. */
  constructor(options: RunOptions, { cluster, settings }: HandlersAccess, onEnd: () => void) {
    const {
      handle,
      concurrency = 1,
      order = "partition",
      onSlow = () => undefined,
      slowMs = 60_000,
    } = options;
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new OptionError(`concurrency is a whole number from 1 on, not ${String(concurrency)}.`);
    }
    if (order !== "partition" && order !== "key" && order !== "none") {
      throw new OptionError(`order is "partition", "key" or "none", not "${String(order)}".`);
    }
    const { deadLetters } = options;
    this.#lastResort =
      deadLetters === undefined ? undefined : new LastResort(cluster, settings.group, deadLetters);
    this.#handle = this.#lastResort?.around(handle) ?? handle;
    this.#concurrency = concurrency;
    this.#order = order;
    this.#onEnd = onEnd;
    this.#clock = cluster.settings.clock;
    this.#onSlow = onSlow;
    this.#slowMs = atLeast("slowMs", slowMs, 1);
  }

  get isRunning(): boolean {
    return this.#running.size > 0;
  }

  get hasRoom(): boolean {
    if (this.failure !== undefined) return false;
    if (this.#order === "key") return this.#waiting < this.#concurrency * waitingFactor;
    return this.#running.size < this.#concurrency;
  }

  mayTake(of: AssignedPartition): boolean {
    return !this.#busy.has(of);
  }

  start(taken: Taken): void {
    switch (this.#order) {
      case "none":
        this.#run(taken, () => undefined);
        return;
      case "partition":
        this.#busy.add(taken.of);
        this.#run(taken, () => this.#busy.delete(taken.of));
        return;
      case "key":
        this.#lineUp(taken);
        return;
      default:
        this.#order satisfies never;
    }
  }

  /** What waits for its turn and is to be let go of is not handled any more. */
  giveUpLeaving(): void {
    this.#giveUp(({ isLeaving }) => isLeaving);
  }

  /** Nothing more is begun. */
  stop(): void {
    this.#giveUp(() => true);
  }

  #giveUp(which: (share: Share) => boolean): void {
    for (const [name, lane] of this.#lanes) {
      const kept = lane.filter(({ share }) => !which(share));
      for (const { share } of lane) if (which(share)) share.abandon();
      this.#waiting -= lane.length - kept.length;
      this.#lanes.set(name, kept);
    }
  }

  /** Resolves when everything that was taken is handled or given up. */
  async end(): Promise<void> {
    // A lane goes on with its next record when one ends.
    while (this.#running.size > 0) await Promise.race(this.#running);
    this.#slowTimer?.cancel();
    await this.#lastResort?.close();
  }

  /** One timer for all, so that a usual handler costs none. */
  #watch(): void {
    this.#slowTimer ??= this.#clock.schedule(this.#slowMs, () => {
      this.#slowTimer = undefined;
      const nowMs = this.#clock.monotonicMs();
      for (const [record, beganMs] of this.#beganMs) {
        const runningMs = nowMs - beganMs;
        if (runningMs > this.#slowMs - 1) this.#onSlow({ record, runningMs });
      }
      if (this.#beganMs.size > 0) this.#watch();
    });
  }

  #lineUp(taken: Taken): void {
    const { topic, partition, key } = taken.record;
    const name = `${topic}/${partition}/${key === null ? "-" : key.toString("latin1")}`;
    const lane = this.#lanes.get(name);
    this.#waiting++;
    if (lane === undefined) {
      this.#lanes.set(name, [taken]);
      this.#startable.push(name);
      this.#startLanes();
    } else lane.push(taken);
  }

  #startLanes(): void {
    while (this.#running.size < this.#concurrency) {
      const name = this.#startable.shift();
      if (name === undefined) return;
      const lane = this.#lanes.get(name) ?? [];
      const next = lane.shift();
      if (next === undefined) {
        this.#lanes.delete(name);
        continue;
      }
      this.#waiting--;
      this.#run(next, () => {
        this.#startable.push(name);
      });
    }
  }

  #run(taken: Taken, onEnd: () => void): void {
    const running = this.#settle(taken).then(() => {
      this.#running.delete(running);
      onEnd();
      this.#startLanes();
      this.#onEnd();
    });
    this.#running.add(running);
  }

  async #settle({ record, share }: Taken): Promise<void> {
    this.#beganMs.set(record, this.#clock.monotonicMs());
    this.#watch();
    try {
      await this.#handle(record, { signal: share.signal, generation: share.generation });
      share.finish(record.offset);
    } catch (cause) {
      share.abandon();
      // What fails because it was told to stop is not a failure: another member handles the record.
      if (share.signal.aborted) return;
      this.failure ??= new HandlerError(record, cause);
      this.stop();
    } finally {
      this.#beganMs.delete(record);
    }
  }
}
