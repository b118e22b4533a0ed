/** A rest between two pieces of work, which ends early when a request of some kind would be welcome. */
import type { Actor } from "./actor.ts";

/** Longest time until it is at work after that, in ms. */
const wakeMs = 100;

export class Nap {
  readonly #actor: Actor;
  #wake: () => void = () => undefined;

  constructor(actor: Actor) {
    this.#actor = actor;
  }

  /** Up to `maxMs` in a hasty world, as `Actor.rest`. */
  rest(maxMs: number): Promise<void> {
    return this.sleep(maxMs * this.#actor.pace.restFactor);
  }

  /** Up to `maxMs` in every world. */
  sleep(maxMs: number): Promise<void> {
    const { clock, random } = this.#actor;
    return new Promise((resolve) => {
      const timer = clock.schedule(random.fraction() * maxMs, resolve);
      this.#wake = () => {
        timer.cancel();
        clock.schedule(random.fraction() * wakeMs, resolve);
        this.#wake = () => undefined;
      };
    });
  }

  wake(): void {
    this.#wake();
  }
}
