/**
 * What one answer may hold of records. The client bounds it, and so does the memory for all answers: what a
 * fetch has gathered or is about to counts there already while it still reads, so that many fetches at once
 * hold no more than one after the other. When there is none left, each fetch still gets its first batch.
 */
import type { Budget } from "../base/budget.ts";

export class AnswerRoom {
  readonly #answers: Budget;
  readonly #bytesMax: number;
  #bytes = 0;
  #reserved = 0;

  constructor(answers: Budget, bytesMax: number) {
    this.#answers = answers;
    this.#bytesMax = bytesMax;
  }

  /** Gathered so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What may be added: never negative, although a first batch may be larger than everything. */
  get left(): number {
    const own = this.#bytesMax - this.#bytes - this.#reserved;
    return Math.max(0, Math.min(own, this.#answers.limit - this.#answers.used));
  }

  /** For what is being read. */
  reserve(bytes: number): void {
    this.#reserved += bytes;
    this.#answers.charge(bytes);
  }

  /** Takes a reservation back. */
  cancel(bytes: number): void {
    this.#reserved -= bytes;
    this.#answers.give(bytes);
  }

  take(bytes: number): void {
    this.#bytes += bytes;
    this.#answers.charge(bytes);
  }

  /** Everything that was taken; somebody else counts it now, or nobody holds it. */
  giveBack(): void {
    this.#answers.give(this.#bytes);
    this.#bytes = 0;
  }
}
