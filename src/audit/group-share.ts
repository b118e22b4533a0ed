/**
 * One partition as one group goes through it: which records its handlers have finished, up to where nothing
 * is missing, what is committed for certain, and whose it is. Knows no events; `group-safety.ts` tells it in
 * their order.
 */
import type { Evidence } from "./evidence.ts";
import { type Findings, listedMax } from "./findings.ts";
import { NONE, type Outcome } from "./words.ts";

/** Records that a handler should have finished. */
export interface Unhandled {
  readonly count: number;
  /** The first of them. */
  readonly indexes: readonly number[];
}

export class Share {
  readonly #evidence: Evidence;
  readonly #partition: number;
  /** By index in the log. */
  readonly #isHandled: Uint8Array;
  /** Below it nothing is missing, or it was reported. */
  #frontier = 0;
  /** At least this is committed; NONE: it may be that nothing is. */
  floor = NONE;
  floorOperation = NONE;
  /** Whether somebody was told of it. */
  isFloorShown = false;
  /** The event at which somebody last began to set the position, and the one at which somebody had; NONE. */
  lastReset = NONE;
  #lastResetEnd = NONE;
  /** The newest member to which it was given. */
  owner: { readonly generation: number; readonly client: number; readonly operation: number } | null = null;
  /** Targets of resets that may yet take effect, by operation. */
  readonly #pending = new Map<number, number>();
  /** Offsets that somebody asked to commit, or set the group to: whether all who did were refused. */
  readonly #offers = new Map<number, "taken" | "refused">();
  /** By offset: the committed transaction within which it was handled. */
  readonly #onceBy = new Map<number, number>();

  constructor(evidence: Evidence, partition: number) {
    this.#evidence = evidence;
    this.#partition = partition;
    this.#isHandled = new Uint8Array(evidence.log(partition).offsets.length);
  }

  ownedBy(member: {
    readonly generation: number;
    readonly client: number;
    readonly operation: number;
  }): void {
    if (this.owner === null || this.owner.generation <= member.generation) this.owner = member;
  }

  // ── What is committed ──

  offers(offset: number, mayBeTaken: boolean): void {
    if (mayBeTaken) this.#offers.set(offset, "taken");
    else if (!this.#offers.has(offset)) this.#offers.set(offset, "refused");
  }

  isOffered(offset: number): boolean {
    return this.#offers.get(offset) === "taken";
  }
  wasRefused(offset: number): boolean {
    return this.#offers.has(offset);
  }

  committed(operation: number, offset: number): void {
    // A reset that met it may have come after it, and one that is on its way may yet.
    const began = this.#evidence.history.operations.beginEvent.at(operation);
    if (this.lastReset > began || this.#lastResetEnd > began) return;
    const certain = Math.min(offset, ...this.#pending.values());
    if (certain <= this.floor) return;
    this.floor = certain;
    this.isFloorShown = false;
    this.floorOperation = operation;
  }

  resetBegun(operation: number, offset: number): void {
    const { operations } = this.#evidence.history;
    this.lastReset = operations.beginEvent.at(operation);
    if (operations.endEvent.at(operation) === NONE) this.#mergePending(operation, offset);
    else this.#pending.set(operation, offset);
    if (this.floor > offset) this.floor = offset;
    this.offers(offset, operations.outcome[operation] !== "fail");
  }

  resetEnded(operation: number, offset: number, outcome: Outcome): void {
    this.#lastResetEnd = this.#evidence.history.operations.endEvent.at(operation);
    // One of unknown fate may come at any time; of several the lowest says it all.
    if (outcome !== "unknown") this.#pending.delete(operation);
    else this.#mergePending(operation, offset);
    if (outcome === "fail") return;
    const index = this.#evidence.indexFrom(this.#partition, offset);
    if (outcome === "ok" || index > this.#frontier) this.#frontier = index;
  }

  #mergePending(operation: number, offset: number): void {
    this.#pending.delete(operation);
    this.#pending.set(NONE, Math.min(offset, this.#pending.get(NONE) ?? offset));
  }

  // ── What is handled ──

  handled(offset: number): void {
    const index = this.#evidence.indexFrom(this.#partition, offset);
    if (index < this.#isHandled.length && this.#evidence.offsetOf(this.#partition, index) === offset) {
      this.#isHandled[index] = 1;
    }
  }

  /** The other committed transaction that handled it, since when nobody set the group back; NONE: there is none. */
  handledOnce(offset: number, operation: number): number {
    const other = this.#onceBy.get(offset);
    this.#onceBy.set(offset, operation);
    if (other === undefined || other === operation || this.#pending.size > 0) return NONE;
    const began = this.#evidence.history.operations.beginEvent.at(other);
    return this.lastReset > began || this.#lastResetEnd > began ? NONE : other;
  }

  /** What a commit of `offset` passes that nobody has finished; each record is told once. */
  commitBegun(offset: number, tally: Findings): Unhandled {
    return this.#passTo(this.#evidence.indexFrom(this.#partition, offset), tally, () => true);
  }

  /** What is unfinished at the end, of all that was acknowledged before event `before`. */
  left(before: number, tally: Findings): Unhandled {
    const { operations } = this.#evidence.history;
    return this.#passTo(this.#isHandled.length, tally, (writer) => {
      const end = operations.endEvent.at(writer);
      return operations.outcome[writer] === "ok" && end !== NONE && end < before;
    });
  }

  #passTo(end: number, tally: Findings, isOwed: (writer: number) => boolean): Unhandled {
    const indexes: number[] = [];
    let count = 0;
    for (; this.#frontier < end; this.#frontier++) {
      tally.work++;
      const writer = this.#requiredWriter(this.#frontier);
      if (writer === NONE || !isOwed(writer)) continue;
      count++;
      if (indexes.length < listedMax) indexes.push(this.#frontier);
    }
    return { count, indexes };
  }

  /** Who wrote a record that is not finished and must be; NONE: it need not. */
  #requiredWriter(index: number): number {
    const evidence = this.#evidence;
    const value = evidence.valueAt(this.#partition, index);
    if (this.#isHandled[index] === 1 || evidence.isExcused(this.#partition, index)) return NONE;
    if (evidence.home(value) !== this.#partition) return NONE;
    return evidence.isWritten(evidence.history.writes.at(value)) ? evidence.writer(value) : NONE;
  }
}
