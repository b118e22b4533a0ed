/** So many records a second and no more: who asks waits until the next is due. What was late is made up for, so that a slow answer does not lower the load (coordinated omission). */
import { setTimeout as sleep } from "node:timers/promises";

/** A timer is no finer than this; several records may be due at once. */
const timerMs = 1;

export class Pace {
  readonly #perSecond: number;
  #beginMs = performance.now();
  #given = 0;

  /** `Infinity`: at once. */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  begin(): void {
    this.#beginMs = performance.now();
  }

  /** Resolves when the next record is due, with that time (`performance.now`), from which its latency counts. */
  async next(): Promise<number> {
    if (!Number.isFinite(this.#perSecond)) return performance.now();
    const dueMs = this.#beginMs + (this.#given++ * 1000) / this.#perSecond;
    const leftMs = dueMs - performance.now();
    if (leftMs > 0) await sleep(Math.max(timerMs, leftMs));
    return dueMs;
  }
}
