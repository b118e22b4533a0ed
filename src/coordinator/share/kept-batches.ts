/**
 * What is known of the offsets of one share-partition, as batches in order of which none lies over another and
 * no two that lie side by side say the same. Of two words about an offset the later state counts, and of two that
 * call it available the one with more deliveries: a word that comes late or twice takes nothing back, whatever is
 * acknowledged stays so. (Kafka compares deliveries first, which is the same as long as they are told along with
 * every state.) What a merge costs is what it touches.
 */
import { advance, distance, type Offset } from "../../base/ids.ts";
import type { KeptState, LetterIdentity, StateBatch } from "./state-batch.ts";

export class KeptBatches {
  #batches: StateBatch[] = [];

  get all(): readonly StateBatch[] {
    return this.#batches;
  }

  /** What lies before `start` is forgotten. */
  prune(start: Offset): void {
    const at = this.#firstEndingAt(start);
    if (at > 0) this.#batches.splice(0, at);
    const head = this.#batches[0];
    if (head !== undefined && head.first < start) this.#batches[0] = cut(head, start, head.last);
  }

  merge(word: StateBatch): void {
    // One that only touches it may say the same.
    const from = this.#firstEndingAt((word.first - 1) as Offset);
    const merged: StateBatch[] = [];
    let to = from;
    /** Of the word, what is not placed yet begins here. */
    let next = word.first;
    for (; to < this.#batches.length; to++) {
      const known = this.#batches[to] as StateBatch;
      if (known.first > word.last + 1) break;
      if (known.first < word.first)
        push(merged, cut(known, known.first, min(known.last, before(word.first))));
      const first = max(known.first, word.first);
      const last = min(known.last, word.last);
      if (first <= last) {
        if (next < first) push(merged, cut(word, next, before(first)));
        push(merged, cut(outweighs(known, word) ? known : word, first, last));
        next = advance(last, 1);
      }
      if (known.last > word.last) {
        if (next <= word.last) push(merged, cut(word, next, word.last));
        next = advance(word.last, 1);
        push(merged, cut(known, max(known.first, next), known.last));
      }
    }
    if (next <= word.last) push(merged, cut(word, next, word.last));
    this.#batches.splice(from, to - from, ...merged);
  }

  /** Index of the first batch that ends at the offset or after it. */
  #firstEndingAt(at: Offset): number {
    let low = 0;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#batches[middle] as StateBatch).last < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Several at once, as a record or a request brings them; what lies before `start` is left out, −1: nothing. */
export function mergedBatches(
  known: readonly StateBatch[],
  words: readonly StateBatch[],
  start: Offset,
): KeptBatches {
  const kept = new KeptBatches();
  for (const each of known) kept.merge(each);
  for (const each of words) kept.merge(each);
  if (start >= 0) kept.prune(start);
  return kept;
}

/** What is further on the way that every record takes; acknowledged and archived are its ends. */
const stages: { readonly [state in KeptState]: number } = { 0: 0, 3: 1, 2: 2, 4: 2 };

function outweighs(known: StateBatch, word: StateBatch): boolean {
  const ahead = stages[known.state] - stages[word.state];
  if (ahead !== 0) return ahead > 0;
  switch (known.state) {
    case 0:
      return known.deliveryCount > word.deliveryCount;
    case 3:
      // Letters are written as who was named first.
      return (known.letter ?? null) !== null;
    default:
      return true;
  }
}

function push(batches: StateBatch[], next: StateBatch): void {
  const last = batches.at(-1);
  if (last !== undefined && isContinued(last, next))
    batches[batches.length - 1] = { ...last, last: next.last };
  else batches.push(next);
}

function isContinued(left: StateBatch, right: StateBatch): boolean {
  return (
    left.last + 1 === right.first &&
    left.state === right.state &&
    left.deliveryCount === right.deliveryCount &&
    isSameLetter(letterAt(left, right.first), right.letter ?? null)
  );
}

function isSameLetter(left: LetterIdentity | null, right: LetterIdentity | null): boolean {
  if (left === null || right === null) return left === right;
  return left.producerId === right.producerId && left.sequence === right.sequence;
}

function letterAt({ first, letter = null }: StateBatch, at: Offset): LetterIdentity | null {
  if (letter === null) return null;
  return { producerId: letter.producerId, sequence: letter.sequence + distance(first, at) };
}

function cut(batch: StateBatch, first: Offset, last: Offset): StateBatch {
  if (first === batch.first && last === batch.last) return batch;
  return { ...batch, first, last, letter: letterAt(batch, first) };
}

const before = (at: Offset): Offset => advance(at, -1);
const min = (a: Offset, b: Offset): Offset => (a < b ? a : b);
const max = (a: Offset, b: Offset): Offset => (a > b ? a : b);
