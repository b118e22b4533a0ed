/**
 * How many messages a worker should have at once: those that it can begin, and beyond them what it will have begun
 * within a moment. A slow worker takes a message only when it is free for it, so that nobody else has to wait for what
 * lies here; a fast one reads ahead, so that it need not wait for the broker.
 */
import type { Clock } from "../../base/ports.ts";

/** What is begun within so long may lie here. */
const aheadMs = 100;
/** Weight of the newest handling in the average. */
const weight = 0.2;

export class Pace {
  readonly #clock: Clock;
  readonly #prefetchMax: number;
  /** How many may be handled at once. */
  concurrency = 1;
  /** Between the beginning and the end of a handling, in ms; `undefined`: none has ended. */
  #averageMs: number | undefined = undefined;

  constructor(clock: Clock, prefetchMax: number) {
    this.#clock = clock;
    this.#prefetchMax = prefetchMax;
  }

  /** Returns what to call at its end. */
  begin(): () => void {
    const beganMs = this.#clock.monotonicMs();
    return () => {
      const tookMs = this.#clock.monotonicMs() - beganMs;
      this.#averageMs =
        this.#averageMs === undefined ? tookMs : this.#averageMs + weight * (tookMs - this.#averageMs);
    };
  }

  /** How many may lie here beyond those that are handled; `busy`: so many are. */
  roomFor(busy: number): number {
    const free = Math.max(0, this.concurrency - busy);
    if (this.#averageMs === undefined) return free;
    const ahead = Math.floor((this.concurrency * aheadMs) / Math.max(this.#averageMs, 0.01));
    return free + Math.min(this.#prefetchMax, ahead);
  }
}
