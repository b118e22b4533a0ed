/**
 * Who wants to hear of each change of a partition, in the order in which they came. A list, since a consumer
 * of 100 partitions that gets a record each millisecond begins and ends to watch 100,000 times a second: a Set
 * makes its table anew every few times, and in old memory, where only a full collection takes it away.
 */
interface Watcher {
  readonly callback: () => void;
  previous: Watcher | null;
  next: Watcher | null;
}

export class Watchers {
  #first: Watcher | null = null;
  #last: Watcher | null = null;

  get isEmpty(): boolean {
    return this.#first === null;
  }

  /** Returns how to leave, which may be called more than once. */
  add(callback: () => void): () => void {
    const watcher: Watcher = { callback, previous: this.#last, next: null };
    if (this.#last === null) this.#first = watcher;
    else this.#last.next = watcher;
    this.#last = watcher;
    return () => this.#remove(watcher);
  }

  #remove(watcher: Watcher): void {
    const { previous, next } = watcher;
    if (previous === null && this.#first !== watcher) return;
    if (previous === null) this.#first = next;
    else previous.next = next;
    if (next === null) this.#last = previous;
    else next.previous = previous;
    watcher.previous = null;
    watcher.next = null;
  }

  /** Calls everybody who is there now: who is called may leave, and watch again at once. */
  wake(): void {
    const callbacks: (() => void)[] = [];
    for (let watcher = this.#first; watcher !== null; watcher = watcher.next)
      callbacks.push(watcher.callback);
    for (const callback of callbacks) callback();
  }

  clear(): void {
    while (this.#first !== null) this.#remove(this.#first);
  }
}
