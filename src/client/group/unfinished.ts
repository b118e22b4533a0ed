/**
 * What of one partition was handed out and is not finished. Records finish in any order; what may be
 * committed is the lowest that is not, so that nothing unfinished is ever behind a commit (C01 to C03).
 * Synchronous, and bounded by whoever hands out.
 */
import { type LeaderEpoch, leaderEpoch, type Offset, offset } from "../../base/ids.ts";

/** A place to commit: everything before it is finished. */
export interface Place {
  readonly offset: Offset;
  /** Of the record before it; −1: unknown. A log that was cut and written anew is noticed by it (KIP-320). */
  readonly epoch: LeaderEpoch;
}

interface Handed {
  readonly offset: number;
  /** Of the record before this one. */
  readonly epochBefore: LeaderEpoch;
  isFinished: boolean;
}

export class Unfinished {
  /** In the order of their offsets; those before `#head` are finished. */
  #handed: Handed[] = [];
  #head = 0;
  readonly #byOffset = new Map<number, Handed>();

  /** How many were handed out and are not finished. */
  get count(): number {
    return this.#byOffset.size;
  }

  /** In rising order. `epochBefore`: the leader epoch of the record before it. */
  begin(at: number, epochBefore: LeaderEpoch = leaderEpoch(-1)): void {
    const handed = { offset: at, epochBefore, isFinished: false };
    this.#handed.push(handed);
    this.#byOffset.set(at, handed);
  }

  /** False for one that is finished, or was never begun: it changes nothing. */
  finish(at: number): boolean {
    const handed = this.#byOffset.get(at);
    if (handed === undefined) return false;
    handed.isFinished = true;
    this.#byOffset.delete(at);
    while (this.#handed[this.#head]?.isFinished === true) this.#head++;
    if (this.#head > 512 && this.#head * 2 > this.#handed.length) {
      this.#handed.splice(0, this.#head);
      this.#head = 0;
    } else if (this.#head === this.#handed.length) {
      this.#handed.length = 0;
      this.#head = 0;
    }
    return true;
  }

  /** Of those that are unfinished. */
  offsetsBefore(end: number): readonly number[] {
    return [...this.#byOffset.keys()].filter((at) => at < end);
  }

  finishAll(): void {
    this.#handed = [];
    this.#head = 0;
    this.#byOffset.clear();
  }

  /** The lowest unfinished one; `undefined`: all are finished, and the reader's own position may be committed. */
  get lowest(): Place | undefined {
    const handed = this.#handed[this.#head];
    return handed === undefined ? undefined : { offset: offset(handed.offset), epoch: handed.epochBefore };
  }
}
