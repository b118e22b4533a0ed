/**
 * The clock by which a coordinator judges its members. Where the process stood still (a paused machine, a stopped
 * process) nobody could be heard meanwhile, so that time does not count, and what follows does not until everybody who
 * lives has had time to be heard: else all members would be taken for gone in the moment of waking. A new coordinator
 * does the same for members that it has read of. Standing still is noticed by a timer that is late; so whoever
 * judges keeps one armed, here, and never far ahead.
 */
import type { Clock, Timer } from "../base/ports.ts";

/** A timer that is later than that was late because nothing ran. Less is a busy loop, which hears its members. */
const lateMsMin = 2_000;
/** Members say that they live every 3 to 5 seconds, and after a broken connection within some more. */
const graceMs = 10_000;
/** A timer is never armed further ahead, or standing still before it would not be seen. */
const aheadMsMax = 1_000;
/** What is left over by rounding is no time at all, and would be waited for again and again. */
const aheadMsMin = 1;

export class AwakeClock implements Clock {
  readonly #clock: Clock;
  /** Time that does not count. */
  #asleepMs = 0;
  #lastMs: number;
  /** On the clock below, of the timers that are armed. */
  readonly #due = new Set<{ readonly atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  /** Stands still for `graceMs` after the process did. */
  monotonicMs(): number {
    const nowMs = this.#clock.monotonicMs();
    for (const { atMs } of this.#due) if (nowMs - atMs > lateMsMin) this.#woke(nowMs);
    this.#lastMs = Math.max(this.#lastMs, nowMs - this.#asleepMs);
    return this.#lastMs;
  }

  /** May call back earlier than that, since time may have stood still or is cut in pieces: whoever is called looks at the clock. */
  schedule(delayMs: number, run: () => void): Timer {
    const nowMs = this.#clock.monotonicMs();
    const heldMs = Math.max(0, this.#lastMs - (nowMs - this.#asleepMs));
    const aheadMs = Math.min(Math.max(aheadMsMin, delayMs + heldMs), aheadMsMax);
    const due = { atMs: nowMs + aheadMs };
    this.#due.add(due);
    const timer = this.#clock.schedule(aheadMs, () => {
      this.monotonicMs();
      this.#due.delete(due);
      run();
    });
    return {
      cancel: () => {
        this.#due.delete(due);
        timer.cancel();
      },
    };
  }

  /** What is armed is late all the same, and tells of no other sleep. */
  #woke(nowMs: number): void {
    this.#due.clear();
    this.#asleepMs = nowMs + graceMs - this.#lastMs;
  }
}
