/**
 * "Wake me when the number reaches N": one sorted set of waiters, woken in order of N. The only code
 * that wakes whoever waits for durability. Bounded by whoever admits the waiters (requests in flight).
 */
export class Waiters {
  /** Sorted by `at`; appends dominate, since most wait for the newest number. */
  readonly #waiting: { at: number; resolve: () => void; reject: (cause: Error) => void }[] = [];
  #head = 0;
  #failure: Error | null = null;

  get size(): number {
    return this.#waiting.length - this.#head;
  }

  /** Resolves when `wake(n)` with n ≥ at was called; rejects when `fail` was. */
  wait(at: number): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const waiter = { at, resolve, reject };
      let index = this.#waiting.length;
      while (index > this.#head && (this.#waiting[index - 1] as { at: number }).at > at) index--;
      this.#waiting.splice(index, 0, waiter);
    });
  }

  wake(reached: number): void {
    while (this.#head < this.#waiting.length) {
      const first = this.#waiting[this.#head] as { at: number; resolve: () => void };
      if (first.at > reached) break;
      this.#head++;
      first.resolve();
    }
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    } else if (this.#head === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#head = 0;
    }
  }

  /** Rejects all, now and later. */
  fail(cause: Error): void {
    this.#failure = cause;
    const waiting = this.#waiting.splice(this.#head);
    this.#waiting.length = 0;
    this.#head = 0;
    for (const waiter of waiting) waiter.reject(cause);
  }
}
