/** Puts that the bucket has not confirmed: those on their way, and those whose outcome is unknown and will be asked again. */

/** Unknown ones that are remembered; what is forgotten is only missing in a metric. */
const keysMax = 4_096;

export class UndecidedPuts {
  readonly #unknown = new Map<string, number>();
  readonly #under = new Map<string, { bytes: number; count: number }>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** True: it was tried before, and the outcome was unknown. */
  begin(key: string, bytes: number): boolean {
    const isAgain = this.#forget(key);
    const under = this.#under.get(key);
    if (under !== undefined) under.count++;
    else this.#under.set(key, { bytes, count: 1 });
    if (under === undefined) this.#bytes += bytes;
    return isAgain;
  }

  end(key: string, isDecided: boolean): void {
    const under = this.#under.get(key);
    if (under === undefined || --under.count > 0) return;
    this.#under.delete(key);
    this.#bytes -= under.bytes;
    if (isDecided) return;
    if (this.#unknown.size >= keysMax) {
      for (const [oldest] of this.#unknown) {
        this.#forget(oldest);
        break;
      }
    }
    this.#unknown.set(key, under.bytes);
    this.#bytes += under.bytes;
  }

  #forget(key: string): boolean {
    const bytes = this.#unknown.get(key);
    if (bytes === undefined) return false;
    this.#unknown.delete(key);
    this.#bytes -= bytes;
    return true;
  }
}
