/**
 * How many requests of one kind are on their way, and how many bytes they have in memory. Who comes later waits in
 * order, and when too many wait is turned away, so that a bucket that does not answer fills no memory.
 */
import { OutcomeUnknownError } from "../../store/errors.ts";

export interface LaneBounds {
  readonly requests: number;
  /** A single larger one goes alone. */
  readonly bytes: number;
  readonly waiting: number;
}

interface Waiter {
  readonly bytes: number;
  readonly run: () => void;
}

export class Lanes {
  readonly #bounds: LaneBounds;
  readonly #waiting: Waiter[] = [];
  #requests = 0;
  #bytes = 0;

  constructor(bounds: LaneBounds) {
    this.#bounds = bounds;
  }

  get inFlight(): number {
    return this.#requests;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether one more would leave at once. */
  hasRoom(bytes: number): boolean {
    const { requests, bytes: bytesMax } = this.#bounds;
    if (this.#requests >= requests || this.#waiting.length > 0) return false;
    return this.#requests === 0 || this.#bytes + bytes <= bytesMax;
  }

  /** Resolves when there is room; the function that is returned gives it back, once. */
  async enter(bytes: number): Promise<() => void> {
    if (!this.hasRoom(bytes)) {
      if (this.#waiting.length >= this.#bounds.waiting) {
        throw new OutcomeUnknownError(`${this.#bounds.waiting} requests to the bucket wait already`);
      }
      await new Promise<void>((run) => this.#waiting.push({ bytes, run }));
    } else this.#take(bytes);
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      this.#requests--;
      this.#bytes -= bytes;
      this.#admit();
    };
  }

  #take(bytes: number): void {
    this.#requests++;
    this.#bytes += bytes;
  }

  #admit(): void {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || this.#requests >= this.#bounds.requests) return;
      if (this.#requests > 0 && this.#bytes + next.bytes > this.#bounds.bytes) return;
      this.#waiting.shift();
      this.#take(next.bytes);
      next.run();
    }
  }
}
