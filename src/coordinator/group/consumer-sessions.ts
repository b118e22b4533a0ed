/**
 * When members of a group of KIP-848 are out of time (monotonic ms): one that is not heard of, one that does
 * not give up what others wait for, and one that was told an id and has not joined. Lives in memory only.
 */
export class ConsumerSessions {
  readonly #ends = new Map<string, number>();
  readonly #revocationEnds = new Map<string, number>();
  readonly #invited = new Map<string, number>();

  /** The member was heard. */
  hear(id: string, untilMs: number): void {
    this.#ends.set(id, untilMs);
  }

  /** It has to give something up by then; what was said first holds. */
  awaitRevocation(id: string, untilMs: number): void {
    if (!this.#revocationEnds.has(id)) this.#revocationEnds.set(id, untilMs);
  }
  endRevocation(id: string): void {
    this.#revocationEnds.delete(id);
  }

  forget(id: string): void {
    this.#ends.delete(id);
    this.#revocationEnds.delete(id);
  }

  /** Somebody was told this id and may join with it until then. */
  invite(id: string, untilMs: number): void {
    this.#invited.set(id, untilMs);
  }
  isInvited(id: string): boolean {
    return this.#invited.has(id);
  }
  uninvite(id: string): void {
    this.#invited.delete(id);
  }

  /** Members whose time is up; forgets who was invited and did not come. */
  late(nowMs: number): ReadonlySet<string> {
    const late = new Set<string>();
    for (const ends of [this.#ends, this.#revocationEnds]) {
      for (const [id, atMs] of ends) if (atMs <= nowMs) late.add(id);
    }
    for (const [id, atMs] of this.#invited) if (atMs <= nowMs) this.#invited.delete(id);
    return late;
  }

  /** `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    let next = Infinity;
    for (const ends of [this.#ends, this.#revocationEnds]) {
      for (const atMs of ends.values()) next = Math.min(next, atMs);
    }
    return next;
  }
}
