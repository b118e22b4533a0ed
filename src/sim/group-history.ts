/**
 * What the members of groups did, and the judgement on it: no partition has two owners at a time, a group
 * finds at least what was acknowledged to it as committed, and in the end every record that is still there
 * was processed. A member counts as an owner until it gives up, or until the session that it counts from
 * the sending of its last heartbeat ends: the broker's begins later.
 */
export interface Owner {
  readonly name: string;
  /** Of the simulated clock, in ms: from then on it is not one any more. */
  readonly leaseEndMs: number;
}

export class GroupHistory {
  readonly #violate: (sentence: string) => void;
  readonly #nowMs: () => number;
  readonly #owners = new Map<string, Owner>();
  /** Greatest commit that was acknowledged, by group and partition. */
  readonly #committed = new Map<string, number>();
  readonly #processed = new Map<string, Set<number>>();
  /** Where each partition ends, once nothing more is written. */
  #ends: ReadonlyMap<number, number> | null = null;
  commits = 0;
  processedCount = 0;
  generations = 0;

  constructor(nowMs: () => number, violate: (sentence: string) => void) {
    this.#nowMs = nowMs;
    this.#violate = violate;
  }

  owns(group: string, partition: number, owner: Owner): void {
    const place = `${group}/${partition}`;
    const other = this.#owners.get(place);
    if (other !== undefined && other !== owner && other.leaseEndMs > this.#nowMs()) {
      this.#violate(`${place} has two owners: ${other.name} and ${owner.name}`);
    }
    this.#owners.set(place, owner);
  }

  disowns(group: string, partition: number, owner: Owner): void {
    const place = `${group}/${partition}`;
    if (this.#owners.get(place) === owner) this.#owners.delete(place);
  }

  processed(group: string, partition: number, offset: number): void {
    const place = `${group}/${partition}`;
    let offsets = this.#processed.get(place);
    if (offsets === undefined) this.#processed.set(place, (offsets = new Set()));
    offsets.add(offset);
    this.processedCount++;
  }

  /** To be asked before an OffsetFetch is sent: what it must find at least. −1: nothing. */
  committedBefore(group: string, partition: number): number {
    return this.#committed.get(`${group}/${partition}`) ?? -1;
  }

  found(group: string, partition: number, offset: number, atLeast: number): void {
    if (offset < atLeast) {
      this.#violate(`${group}/${partition} was committed at ${atLeast} and is found at ${offset}`);
    }
    // Also where the answer to the commit was lost: what was told once is durable.
    const place = `${group}/${partition}`;
    this.#committed.set(place, Math.max(offset, this.#committed.get(place) ?? -1));
  }

  /** `before`: what `committedBefore` told when the commit was sent. */
  committed(group: string, partition: number, offset: number, before: number): void {
    const place = `${group}/${partition}`;
    this.commits++;
    if (offset < before)
      this.#violate(`${place} was committed at ${before}, and later at ${offset} by somebody else`);
    this.#committed.set(place, Math.max(offset, this.#committed.get(place) ?? -1));
  }

  /** Nothing more is written: members end when everything is committed. */
  finish(ends: ReadonlyMap<number, number>): void {
    this.#ends = ends;
  }

  isDone(group: string): boolean {
    if (this.#ends === null) return false;
    for (const [partition, end] of this.#ends) {
      if ((this.#committed.get(`${group}/${partition}`) ?? 0) < end) return false;
    }
    return true;
  }

  /** Every record that is there in the end was processed by the group. */
  judge(group: string, partition: number, offsets: Iterable<number>): void {
    const processed = this.#processed.get(`${group}/${partition}`);
    for (const offset of offsets) {
      if (processed?.has(offset) !== true)
        this.#violate(`${group}/${partition}@${offset} was never processed`);
    }
  }
}
