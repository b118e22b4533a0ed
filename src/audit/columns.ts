/**
 * Lists of numbers that grow, in one block of memory each: a history of a million operations is a few of
 * these instead of a million objects. Never forgets a number and never changes its order.
 */
import { assert } from "../base/assert.ts";

const firstCapacity = 64;

/** Integers of 32 bits, signed. */
export class IntColumn {
  #numbers = new Int32Array(firstCapacity);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Returns the row that it was given. */
  push(number: number): number {
    assert(number === (number | 0), "a number in a column of integers is one of 32 bits");
    if (this.#length === this.#numbers.length) {
      const wider = new Int32Array(this.#length * 2);
      wider.set(this.#numbers);
      this.#numbers = wider;
    }
    this.#numbers[this.#length] = number;
    return this.#length++;
  }

  at(row: number): number {
    assert(row >= 0 && row < this.#length, "a row of a column is one that was pushed");
    return this.#numbers[row] as number;
  }

  set(row: number, number: number): void {
    assert(row >= 0 && row < this.#length, "a row that is set was pushed");
    this.#numbers[row] = number;
  }
}

/** Offsets and times: doubles, exact up to 2⁵³. */
export class FloatColumn {
  #numbers = new Float64Array(firstCapacity);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Returns the row that it was given. */
  push(number: number): number {
    if (this.#length === this.#numbers.length) {
      const wider = new Float64Array(this.#length * 2);
      wider.set(this.#numbers);
      this.#numbers = wider;
    }
    this.#numbers[this.#length] = number;
    return this.#length++;
  }

  at(row: number): number {
    assert(row >= 0 && row < this.#length, "a row of a column is one that was pushed");
    return this.#numbers[row] as number;
  }

  set(row: number, number: number): void {
    assert(row >= 0 && row < this.#length, "a row that is set was pushed");
    this.#numbers[row] = number;
  }
}

/** Texts that occur again and again, each kept once and named by a number: 0, 1, 2 in order of appearance. */
export class Names {
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];

  get length(): number {
    return this.#names.length;
  }

  number(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.#names.length);
    return this.#names.push(name) - 1;
  }

  at(number: number): string {
    return this.#names[number] as string;
  }
}

/** Keys of records, of which one is the null key. */
export class Keys {
  readonly #names = new Names();

  get length(): number {
    return this.#names.length;
  }

  key(key: string | null): number {
    return this.#names.number(key === null ? "null" : `=${key}`);
  }

  isNull(number: number): boolean {
    return this.#names.at(number) === "null";
  }

  /** As it is written in a sentence. */
  at(number: number): string {
    return this.isNull(number) ? "no key" : `"${this.#names.at(number).slice(1)}"`;
  }
}
