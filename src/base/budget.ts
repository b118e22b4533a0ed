/**
 * A bound in bytes (or in number) with fair waiting: whoever does not fit waits in order of arrival.
 * A single taker larger than the whole budget passes when the budget is empty, so it cannot starve.
 */
import { assert } from "./assert.ts";

export class Budget {
  readonly limit: number;
  #used = 0;
  readonly #queue: { amount: number; enter: () => void }[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }
  get waiting(): number {
    return this.#queue.length;
  }

  #fits(amount: number): boolean {
    return this.#used === 0 || this.#used + amount <= this.limit;
  }

  /** Takes at once or not at all; never overtakes a waiter. */
  tryTake(amount: number): boolean {
    if (this.#queue.length > 0 || !this.#fits(amount)) return false;
    this.#used += amount;
    return true;
  }

  take(amount: number): Promise<void> {
    if (this.tryTake(amount)) return Promise.resolve();
    return new Promise((enter) => this.#queue.push({ amount, enter }));
  }

  /** Takes even when it does not fit: for what already is in memory. */
  charge(amount: number): void {
    this.#used += amount;
  }

  give(amount: number): void {
    this.#used -= amount;
    assert(this.#used >= 0, "no more is given back to a budget than was taken");
    while (this.#queue.length > 0) {
      const first = this.#queue[0] as { amount: number; enter: () => void };
      if (!this.#fits(first.amount)) return;
      this.#queue.shift();
      this.#used += first.amount;
      first.enter();
    }
  }
}
