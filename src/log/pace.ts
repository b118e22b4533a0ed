/**
 * How fast background work may go: so many bytes a second, and never long without a turn for the event
 * loop. One user at a time. Closing ends every wait at once, so that a broker stops without delay.
 */
import { HoldfastError } from "../base/errors.ts";
import type { Clock } from "../base/ports.ts";

/** The work is to end; what it had begun is given up. */
export class PaceClosedError extends HoldfastError {
  readonly code = "PACE_CLOSED";
  override readonly name = "PaceClosedError";
}

/** After so many bytes the event loop gets its turn: less than a millisecond of decoding. */
const sliceBytes = 64 * 1024;

export class Pace {
  readonly #clock: Clock;
  readonly #bytesPerSecondMax: () => number;
  #closed = false;
  #endWait: (() => void) | null = null;
  /** Not waited for yet. */
  #owed = 0;
  /** When what was spent is within the rate again, monotonic ms. */
  #evenMs = 0;

  /** The rate is asked for at each use. */
  constructor(clock: Clock, bytesPerSecondMax: () => number) {
    this.#clock = clock;
    this.#bytesPerSecondMax = bytesPerSecondMax;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Resolves when so many bytes may be read or written; with 0 bytes, after a turn of the event loop. Rejects with `PaceClosedError`. */
  async spend(bytes: number): Promise<void> {
    this.#check();
    this.#owed += bytes;
    if (bytes > 0 && this.#owed < sliceBytes) return;
    const nowMs = this.#clock.monotonicMs();
    this.#evenMs = Math.max(this.#evenMs, nowMs) + (this.#owed * 1000) / this.#bytesPerSecondMax();
    this.#owed = 0;
    const waitMs = this.#evenMs - nowMs;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.schedule(waitMs < 1 ? 0 : waitMs, resolve);
      this.#endWait = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#endWait = null;
    this.#check();
  }

  close(): void {
    this.#closed = true;
    this.#endWait?.();
  }

  #check(): void {
    if (this.#closed) throw new PaceClosedError("Background work ends with the broker.");
  }
}
