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

/** Of a group that is forgotten when it has neither members nor commits, and then counts from 1 again. */
export interface GroupLife {
  readonly life: number;
  /** Generation or epoch: the highest that a member was told in this life. */
  readonly newest: number;
  readonly hasCommits: boolean;
}

export class GroupHistory {
  readonly #violate: (sentence: string) => void;
  readonly #nowMs: () => number;
  readonly #owners = new Map<string, Owner>();
  /** Greatest commit that was acknowledged, by group and partition. */
  readonly #committed = new Map<string, number>();
  readonly #processed = new Map<string, Set<number>>();
  readonly #lives = new Map<string, { life: number; newest: number }>();
  /** Groups that have committed something. */
  readonly #committers = new Set<string>();
  readonly isHeld: boolean;
  /** Where each partition ends, once nothing more is written. */
  #ends: ReadonlyMap<number, number> | null = null;
  commits = 0;
  processedCount = 0;
  generations = 0;

  /** `isHeld`: the log that they read is never empty once it was written to, so no commit of theirs may expire. */
  constructor(nowMs: () => number, violate: (sentence: string) => void, isHeld = true) {
    this.#nowMs = nowMs;
    this.#violate = violate;
    this.isHeld = isHeld;
  }

  /** To be asked before a join is sent. */
  lifeBefore(group: string): GroupLife {
    const { life, newest } = this.#lives.get(group) ?? { life: 0, newest: 0 };
    return { life, newest, hasCommits: this.#committers.has(group) };
  }

  /**
   * In which life of its group a member is, who is told this generation or epoch; null: the group was forgotten
   * while he asked, and it cannot be said. `isNew`: nobody knew him, so his joining made the generation.
   */
  lifeOf(group: string, before: GroupLife, epoch: number, isNew: boolean): number | null {
    const now = this.lifeBefore(group);
    if (now.life !== before.life) return null;
    this.generations = Math.max(this.generations, epoch);
    if (epoch > before.newest || (epoch === before.newest && !isNew)) {
      this.#lives.set(group, { life: now.life, newest: Math.max(epoch, now.newest) });
      return now.life;
    }
    if (before.hasCommits && this.isHeld)
      this.#violate(`${group} was at ${before.newest} and has commits, and begins again at ${epoch}`);
    this.#lives.set(group, { life: now.life + 1, newest: epoch });
    return now.life + 1;
  }

  /** A member who was told a newer epoch is in the life in which he joined. */
  stays(group: string, life: number, epoch: number): number {
    const now = this.lifeBefore(group);
    if (now.life === life) this.#lives.set(group, { life, newest: Math.max(epoch, now.newest) });
    return life;
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
    if (offset >= 0) this.#committers.add(group);
    if (offset < 0 && !this.isHeld) return void this.#committed.delete(`${group}/${partition}`);
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
    this.#committers.add(group);
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
