/**
 * Randomness from a seed: the same seed gives the same numbers on every machine. `fork` derives a
 * generator by name, so that one more draw in one room does not change what another room sees.
 */
import type { Random } from "../base/ports.ts";

export class SimRandom implements Random {
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#a = mix(this.seed);
    this.#b = mix(this.#a ^ 0x9e3779b9);
    this.#c = mix(this.#b ^ 0x85ebca6b);
    for (let round = 0; round < 12; round++) this.u32();
  }

  /** sfc32: small, fast, and good enough to choose faults with. Never for secrets. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  bytes(length: number): Uint8Array {
    const made = new Uint8Array(length);
    for (let at = 0; at < length; at++) made[at] = this.u32() & 0xff;
    return made;
  }

  /** A generator of its own, the same for the same seed and name whatever was drawn here before. */
  fork(name: string): SimRandom {
    let hash = this.seed;
    for (let at = 0; at < name.length; at++) hash = mix(hash ^ name.charCodeAt(at));
    return new SimRandom(hash);
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.u32() / 0x1_0000_0000;
  }
  /** An integer in [0, end). */
  below(end: number): number {
    return Math.floor(this.fraction() * end);
  }
  /** An integer in [first, last]. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

function mix(value: number): number {
  let mixed = (value + 0x6d2b79f5) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return (mixed ^ (mixed >>> 14)) >>> 0;
}
