/**
 * When each group has to be looked at next: a heap by time. A group that was given a new time has an older
 * entry in the heap still; that one is passed over when it comes up.
 */
/** So many entries may be out of date before they are swept. */
const staleMax = 1024;

export class Deadlines {
  readonly #heap: { readonly atMs: number; readonly id: string }[] = [];
  readonly #current = new Map<string, number>();

  /** In place of the time that was set before; `Infinity`: never. */
  set(id: string, atMs: number): void {
    if (atMs === Infinity) return void this.#current.delete(id);
    if (this.#current.get(id) === atMs) return;
    this.#current.set(id, atMs);
    if (this.#heap.length > staleMax + 2 * this.#current.size) this.#rebuild();
    else this.#push({ atMs, id });
  }

  #rebuild(): void {
    this.#heap.length = 0;
    for (const [id, atMs] of this.#current) this.#push({ atMs, id });
  }

  /** `Infinity`: none. */
  get nextMs(): number {
    this.#passStale();
    return this.#heap[0]?.atMs ?? Infinity;
  }

  /** Takes out and returns those whose time has come. */
  due(nowMs: number): readonly string[] {
    const due: string[] = [];
    for (this.#passStale(); this.#heap.length > 0; this.#passStale()) {
      const { atMs, id } = this.#heap[0] as { atMs: number; id: string };
      if (atMs > nowMs) break;
      this.#current.delete(id);
      this.#pop();
      due.push(id);
    }
    return due;
  }

  #passStale(): void {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#current.get(top.id) === top.atMs) return;
      this.#pop();
    }
  }

  #push(entry: { readonly atMs: number; readonly id: string }): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as typeof entry).atMs <= entry.atMs) break;
      heap[at] = heap[parent] as typeof entry;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && right.atMs < (heap[child] as typeof last).atMs) child++;
      if ((heap[child] as typeof last).atMs >= last.atMs) break;
      heap[at] = heap[child] as typeof last;
      at = child;
    }
    heap[at] = last;
  }
}
