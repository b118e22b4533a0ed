/**
 * A producer's lanes that cannot go now: without a leader, without a producer id, or pausing after a
 * failure. Each is let go when something changed or when its time is over, and never while its own pause
 * lasts. One timer serves all.
 */
import type { Clock, Timer } from "../base/ports.ts";
import type { Lane } from "./lane.ts";

export class ParkedLanes {
  readonly #clock: Clock;
  readonly #go: (lane: Lane) => void;
  readonly #lanes = new Set<Lane>();
  #wake: Timer | null = null;
  #wakeAtMs = 0;
  #closed = false;

  /** `go` may park the lane again. */
  constructor(clock: Clock, go: (lane: Lane) => void) {
    this.#clock = clock;
    this.#go = go;
  }

  /** Until the next `release`. */
  add(lane: Lane): void {
    this.#lanes.add(lane);
  }

  /** Until the next `release`, or for `pauseMs`. */
  addFor(lane: Lane, pauseMs: number): void {
    if (this.#closed) return;
    this.add(lane);
    const atMs = this.#clock.monotonicMs() + pauseMs;
    if (this.#wake !== null && this.#wakeAtMs <= atMs) return;
    this.#wake?.cancel();
    this.#wakeAtMs = atMs;
    this.#wake = this.#clock.schedule(pauseMs, () => {
      this.#wake = null;
      this.release();
    });
  }

  /** None of them goes before that time, on the monotonic clock. */
  holdUntil(timeMs: number): void {
    for (const lane of this.#lanes) lane.pausedUntilMs = Math.max(lane.pausedUntilMs, timeMs);
  }

  /** Lets all go, and `more` with them. */
  release(more: readonly Lane[] = []): void {
    const lanes = [...this.#lanes, ...more];
    this.#lanes.clear();
    for (const lane of lanes) {
      const pauseMs = lane.pausedUntilMs - this.#clock.monotonicMs();
      if (pauseMs > 0) this.addFor(lane, pauseMs);
      else this.#go(lane);
    }
  }

  close(): void {
    this.#closed = true;
    this.#wake?.cancel();
    this.#lanes.clear();
  }
}
