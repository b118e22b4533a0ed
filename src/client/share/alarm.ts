/** Of one who waits for something to do: until somebody wakes it, or a time has come, and no longer. */
import type { Clock, Timer } from "../../base/ports.ts";

export class Alarm {
  readonly #clock: Clock;
  #timer: Timer | undefined = undefined;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Nobody else waits. `untilMs`: on the monotonic clock; Infinity: until it is woken. */
  wait(untilMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (!Number.isFinite(untilMs)) return;
      const waitMs = Math.max(1, untilMs - this.#clock.monotonicMs());
      this.#timer = this.#clock.schedule(waitMs, () => this.wake());
    });
  }

  /** Does nothing where nobody waits. */
  wake(): void {
    this.#timer?.cancel();
    this.#wake();
  }
}
