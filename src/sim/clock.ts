/** The clock port over virtual time. The wall clock may be set or made to jump; the monotonic one never does. */
import type { Clock, Timer } from "../base/ports.ts";
import type { Scheduler } from "./scheduler.ts";

/** 2026-01-01T00:00:00Z: any date will do, as long as it is the same in every run. */
export const beginMs = 1_767_225_600_000;

export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  #stopped = false;
  /** Added to the wall clock; a test changes it to make the wall clock jump. */
  wallOffsetMs = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  wallMs(): number {
    return Math.floor(beginMs + this.wallOffsetMs + this.#scheduler.nowMs);
  }
  monotonicMs(): number {
    return this.#scheduler.nowMs;
  }
  schedule(delayMs: number, run: () => void): Timer {
    return this.#scheduler.schedule(delayMs, () => {
      if (!this.#stopped) run();
    });
  }

  /** The process that this clock belongs to died: nothing it scheduled will run. */
  stop(): void {
    this.#stopped = true;
  }
}
