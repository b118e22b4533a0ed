/**
 * The acquisition locks of one share-partition: who holds how many records of which range, and until when.
 * Records that were acquired together share one lock, so that neither an acquisition nor its end costs
 * anything per record. It knows no clock, and nothing of states.
 */
import { assert } from "../../../base/assert.ts";

/** One acquisition by one member. Some of its records may be acknowledged, or be others' by now. */
export interface Lock {
  readonly memberId: string;
  readonly first: number;
  readonly last: number;
  readonly deadlineMs: number;
  /** Of records that go with no others: their member gets nothing else here until it is gone. */
  readonly isAlone: boolean;
}

interface Held extends Lock {
  /** How many records it still holds. */
  count: number;
  previous: Held | null;
  next: Held | null;
}

/** In the order of their deadlines. */
export class Locks {
  #head: Held | null = null;
  #tail: Held | null = null;
  readonly #byMember = new Map<string, Set<Held>>();

  /** Monotonic ms; `Infinity`: nothing is held. */
  get nextDeadlineMs(): number {
    return this.#head?.deadlineMs ?? Infinity;
  }

  get first(): Lock | null {
    return this.#head;
  }

  /** Of one member, in the order in which it got them. */
  of(memberId: string): readonly Lock[] {
    return [...(this.#byMember.get(memberId) ?? [])];
  }

  /** Whether it holds records that go with no others. */
  hasAlone(memberId: string): boolean {
    for (const lock of this.#byMember.get(memberId) ?? []) if (lock.isAlone) return true;
    return false;
  }

  /** How many records each member holds. */
  held(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const [memberId, locks] of this.#byMember)
      counts.set(
        memberId,
        [...locks].reduce((sum, { count }) => sum + count, 0),
      );
    return counts;
  }

  /** It holds nothing until `add` is called. */
  create(lock: Lock): Lock {
    const held: Held = { ...lock, count: 0, previous: null, next: null };
    return held;
  }

  add(lock: Lock, count: number): void {
    const held = lock as Held;
    if (held.count === 0) this.#link(held);
    held.count += count;
  }

  /** A lock that holds nothing any more is gone. */
  remove(lock: Lock, count: number): void {
    const held = lock as Held;
    held.count -= count;
    assert(held.count >= 0, "a lock gives back no more records than it holds");
    if (held.count === 0) this.#unlink(held);
  }

  #link(held: Held): void {
    // Nearly always behind the last: locks last equally long, unless the config of the group was changed.
    let after = this.#tail;
    while (after !== null && after.deadlineMs > held.deadlineMs) after = after.previous;
    held.previous = after;
    held.next = after === null ? this.#head : after.next;
    if (held.next === null) this.#tail = held;
    else held.next.previous = held;
    if (after === null) this.#head = held;
    else after.next = held;
    const mine = this.#byMember.get(held.memberId);
    if (mine === undefined) this.#byMember.set(held.memberId, new Set([held]));
    else mine.add(held);
  }

  #unlink(held: Held): void {
    if (held.previous === null) this.#head = held.next;
    else held.previous.next = held.next;
    if (held.next === null) this.#tail = held.previous;
    else held.next.previous = held.previous;
    const mine = this.#byMember.get(held.memberId);
    mine?.delete(held);
    if (mine?.size === 0) this.#byMember.delete(held.memberId);
  }
}
