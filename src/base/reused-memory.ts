/**
 * Memory that is used again as soon as nobody holds it. New memory is dear: the kernel hands it out page by
 * page, and the collector comes more often the more of it there is. Who holds a part of a loan gives it back
 * once. Who forgets to costs only the reuse, because the collector takes such memory as it takes any other;
 * what must never happen is that somebody gives back what he, or who got it from him, still reads.
 */
import { assert } from "./assert.ts";

/** Shorter memory is not worth the trouble. */
const bytesMin = 1024;
/** Longer memory is rare. */
const bytesMax = 2 * 1024 * 1024;

export class ReusedMemory {
  /** Free memory that is kept for the next taker. */
  readonly #freeBytesMax: number;
  /** By length, a power of two. */
  readonly #free = new Map<number, Uint8Array[]>();
  #freeBytes = 0;

  constructor(freeBytesMax: number) {
    this.#freeBytesMax = freeBytesMax;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** At least so many bytes with any content, held by nobody yet; null: such a length is not kept. */
  take(length: number): Loan | null {
    if (length < bytesMin || length > bytesMax) return null;
    const size = 1 << (32 - Math.clz32(length - 1));
    const free = this.#free.get(size)?.pop();
    if (free === undefined) return new Loan(this, new Uint8Array(Buffer.allocUnsafeSlow(size).buffer));
    this.#freeBytes -= size;
    return new Loan(this, free);
  }

  /** For `Loan`. */
  keep(bytes: Uint8Array): void {
    const size = bytes.byteLength;
    if (this.#freeBytes + size > this.#freeBytesMax) return;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [bytes]);
    else free.push(bytes);
    this.#freeBytes += size;
  }
}

export class Loan {
  readonly bytes: Uint8Array;
  readonly #memory: ReusedMemory;
  #holders = 0;
  #over = false;

  constructor(memory: ReusedMemory, bytes: Uint8Array) {
    this.#memory = memory;
    this.bytes = bytes;
  }

  hold(times = 1): void {
    assert(!this.#over, "memory that was given back is not held again");
    this.#holders += times;
  }

  release(): void {
    this.#holders--;
    assert(this.#holders >= 0 && !this.#over, "memory is given back as often as it was held");
    if (this.#holders > 0) return;
    this.#over = true;
    this.#memory.keep(this.bytes);
  }
}

/** Which hold goes with which part that was handed out. The part itself is the key: it can be given back once only. */
const lent = new WeakMap<Uint8Array, Loan>();

/** Passes one hold on to whoever gets `part`, an array of its own over the loan's bytes. */
export function lend(part: Uint8Array, loan: Loan): void {
  assert(part.buffer === loan.bytes.buffer && !lent.has(part), "a part is lent once, from its own loan");
  lent.set(part, loan);
}

export function isLent(part: Uint8Array): boolean {
  return lent.has(part);
}

/** Nobody reads `part` any more. What was never lent, or was given back already, is no concern of this. */
export function giveBack(part: Uint8Array): void {
  const loan = lent.get(part);
  if (loan === undefined) return;
  lent.delete(part);
  loan.release();
}
