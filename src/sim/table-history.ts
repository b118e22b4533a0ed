/**
 * A compacted topic as its one writer knows it: what was written for each key, in order, and what of it was
 * acknowledged. Whoever has read to the end must have the newest value of each key, or a newer one, and no value
 * that a tombstone deleted.
 */

export interface TableWrite {
  /** Counts all writes to the table. */
  readonly order: number;
  readonly key: string;
  readonly isTombstone: boolean;
}

/** What a reader knows: the order of the newest record of each key, tombstones too. */
export class TableView {
  readonly newest = new Map<string, number>();
  /** Of the last record that it was shown. */
  last = -1;
}

export class TableHistory {
  readonly #violate: (sentence: string) => void;
  readonly #writes: TableWrite[] = [];
  readonly #byKey = new Map<string, TableWrite[]>();
  /** By key: order of the newest write that was acknowledged. */
  readonly #acked = new Map<string, number>();
  readonly #aborted = new Set<number>();
  /** Of all its writes. */
  acked = 0;

  constructor(violate: (sentence: string) => void) {
    this.#violate = violate;
  }

  get written(): number {
    return this.#writes.length;
  }

  attempt(key: string, isTombstone: boolean): TableWrite {
    const write = { order: this.#writes.length, key, isTombstone };
    this.#writes.push(write);
    let ofKey = this.#byKey.get(key);
    if (ofKey === undefined) this.#byKey.set(key, (ofKey = []));
    ofKey.push(write);
    return write;
  }

  acknowledged({ key, order }: TableWrite): void {
    this.acked++;
    this.#acked.set(key, Math.max(order, this.#acked.get(key) ?? -1));
  }

  /** It surely was not written, and never will be. */
  aborted({ order }: TableWrite): void {
    this.#aborted.add(order);
  }

  /** To be asked before a request is sent: what a reader who then comes to the end must have at least. */
  floor(): ReadonlyMap<string, number> {
    return new Map(this.#acked);
  }

  /** A reader was shown a record. */
  shown(view: TableView, name: string, value: string): void {
    const order = Number(name.slice(name.lastIndexOf("-") + 1));
    const write = this.#writes[order];
    if (write === undefined) return this.#violate(`the table holds "${name}", which was never written`);
    if ((value === "") !== write.isTombstone) this.#violate(`the table holds ${name} as "${value}"`);
    if (this.#aborted.has(order)) this.#violate(`the table holds ${name}, which was aborted`);
    if (order <= view.last) this.#violate(`the table holds ${name} behind ${view.last}`);
    view.last = order;
    view.newest.set(write.key, order);
  }

  /** A reader came to the end, having read everything since the log's start. */
  judge(view: TableView, floor: ReadonlyMap<string, number>): void {
    for (const [key, least] of floor) {
      const seen = view.newest.get(key);
      if (seen !== undefined) {
        if (seen < least)
          this.#violate(`key ${key} was written in ${least}, and a reader at the end has ${seen}`);
        continue;
      }
      // A key may be missing when it was deleted, by this write or a later one.
      const writes = this.#byKey.get(key) ?? [];
      const mayDelete = ({ order, isTombstone }: TableWrite): boolean =>
        order >= least && isTombstone && !this.#aborted.has(order);
      if (!writes.some(mayDelete))
        this.#violate(`key ${key} was written in ${least}, and a reader at the end has nothing`);
    }
  }
}
