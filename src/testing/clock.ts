/**
 * The clock of one life of a test broker: real time, until the life ends and nothing that it scheduled
 * runs any more. The functions of the runtime are taken when this file is loaded, so that a test which
 * puts fake timers in their place later does not stop the broker.
 */
import type { Clock, Timer } from "../base/ports.ts";

const { setTimeout: later, clearTimeout: never } = globalThis;
const now = Date.now.bind(Date);
const passed = performance.now.bind(performance);
/** Node fires a longer timer at once; no test runs for 24 days. */
const delayMsMax = 2 ** 31 - 1;

export class LifeClock implements Clock {
  readonly #running = new Set<NodeJS.Timeout>();
  #ended = false;

  wallMs(): number {
    return now();
  }
  monotonicMs(): number {
    return passed();
  }
  schedule(delayMs: number, run: () => void): Timer {
    if (this.#ended) return { cancel: () => undefined };
    const timer = later(
      () => {
        this.#running.delete(timer);
        run();
      },
      Math.min(Math.max(0, delayMs), delayMsMax),
    );
    this.#running.add(timer);
    return {
      cancel: () => {
        never(timer);
        this.#running.delete(timer);
      },
    };
  }

  /** Nothing that was scheduled will run. */
  end(): void {
    this.#ended = true;
    for (const timer of this.#running) never(timer);
    this.#running.clear();
  }
}

/** For the tests' side of the broker, which lives on when the broker has died. */
export function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => later(resolve, ms));
}
export const monotonicMs: () => number = passed;
