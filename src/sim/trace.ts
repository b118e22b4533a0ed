/**
 * What happened in a simulated run, as one hash: two runs of one seed must give the same. Keeps the
 * newest lines, so that a failure can show what led to it.
 */
const linesMax = 200;

export class Trace {
  readonly #lines: string[] = [];
  #next = 0;
  #low = 0x811c9dc5;
  #high = 0x01000193;
  #count = 0;

  record(line: string): void {
    this.#count++;
    for (let at = 0; at < line.length; at++) {
      const code = line.charCodeAt(at);
      this.#low = Math.imul(this.#low ^ code, 0x01000193);
      this.#high = Math.imul(this.#high ^ code, 0x85ebca6b) + this.#low;
    }
    this.#lines[this.#next] = line;
    this.#next = (this.#next + 1) % linesMax;
  }

  get count(): number {
    return this.#count;
  }
  /** 16 hexadecimal digits over every line so far, in order. */
  get hash(): string {
    const part = (value: number) => (value >>> 0).toString(16).padStart(8, "0");
    return part(this.#high) + part(this.#low);
  }
  /** The newest lines, oldest first. */
  recent(): readonly string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }
}
