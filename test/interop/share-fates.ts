/** What is known of each record of one partition, in a few bytes each, so that a play may have a million of them. */

const firstCapacity = 4_096;

export class Fates {
  #capacity = firstCapacity;
  #deliveries = new Uint16Array(firstCapacity);
  /** Whether somebody asked for its acceptance. */
  #isAsked = new Uint8Array(firstCapacity);
  /** When the first acceptance was answered, ms since 1970. */
  #acceptedMs = new Float64Array(firstCapacity).fill(Infinity);
  /** When it was given out last, ms since 1970, and to whom. */
  #gotMs = new Float64Array(firstCapacity).fill(-Infinity);
  #gotBy = new Int32Array(firstCapacity).fill(-1);
  #letters = new Uint8Array(firstCapacity);
  #end = 0;
  #asked = 0;
  #accepted = 0;

  /** Behind the last record of which anything is known. */
  get end(): number {
    return this.#end;
  }
  /** Different records of which somebody asked for acceptance, or has it. */
  get asked(): number {
    return this.#asked;
  }
  get accepted(): number {
    return this.#accepted;
  }

  /** Answers how often it has been given out now. */
  give(offset: number): number {
    this.#reach(offset);
    const deliveries = (this.#deliveries[offset] ?? 0) + 1;
    this.#deliveries[offset] = deliveries;
    return deliveries;
  }

  /** The latest that counts. */
  got(offset: number, ms: number, by: number): void {
    if (ms <= (this.#gotMs[offset] ?? 0)) return;
    this.#gotMs[offset] = ms;
    this.#gotBy[offset] = by;
  }

  ask(offset: number): void {
    this.#reach(offset);
    if (this.#isAsked[offset] === 1) return;
    this.#isAsked[offset] = 1;
    this.#asked += 1;
  }

  accept(offset: number, ms: number): void {
    this.ask(offset);
    const before = this.#acceptedMs[offset] ?? Infinity;
    if (before === Infinity) this.#accepted += 1;
    this.#acceptedMs[offset] = Math.min(before, ms);
  }

  letter(offset: number): void {
    this.#reach(offset);
    this.#letters[offset] = (this.#letters[offset] ?? 0) + 1;
  }

  isAsked(offset: number): boolean {
    return this.#isAsked[offset] === 1;
  }
  lettersOf(offset: number): number {
    return this.#letters[offset] ?? 0;
  }
  /** How long after its acceptance was answered it was given out, and to whom; not more than 0: it was not. */
  lateness(offset: number): { readonly ms: number; readonly by: number } {
    const ms = (this.#gotMs[offset] ?? -Infinity) - (this.#acceptedMs[offset] ?? Infinity);
    return { ms, by: this.#gotBy[offset] ?? -1 };
  }

  #reach(offset: number): void {
    this.#end = Math.max(this.#end, offset + 1);
    if (offset < this.#capacity) return;
    while (this.#capacity <= offset) this.#capacity *= 2;
    this.#deliveries = larger(this.#deliveries, new Uint16Array(this.#capacity));
    this.#isAsked = larger(this.#isAsked, new Uint8Array(this.#capacity));
    this.#acceptedMs = larger(this.#acceptedMs, new Float64Array(this.#capacity).fill(Infinity));
    this.#gotMs = larger(this.#gotMs, new Float64Array(this.#capacity).fill(-Infinity));
    this.#gotBy = larger(this.#gotBy, new Int32Array(this.#capacity).fill(-1));
    this.#letters = larger(this.#letters, new Uint8Array(this.#capacity));
  }
}

function larger<Numbers extends Uint8Array | Uint16Array | Int32Array | Float64Array>(
  from: Numbers,
  to: Numbers,
): Numbers {
  to.set(from);
  return to;
}
