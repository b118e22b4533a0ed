/**
 * When a put has taken so long that sending the same bytes once more is likely to be faster: after what 95 of 100
 * recent ones of its size took. Hedges have a budget, so that a store that became slow is not asked twice as much; a
 * small one while they seldom come first, as with a store that is slow because it has all it can do.
 */
const classes = [64 * 1024, 1024 * 1024, 8 * 1024 * 1024] as const;
/** Larger bodies are not sent twice: they are not what an acknowledgement waits for. */
export const hedgedBytesMax = classes[2];
const samplesMax = 128;
const samplesMin = 20;
/** A share of all puts, and so many at once: while hedges help, and while they do not. */
const helping = { perPut: 0.1, most: 10 } as const;
const vain = { perPut: 0.01, most: 1 } as const;
/** Hedges help while so many of the last few dozen came first. */
const wonShareMin = 1 / 8;
const memory = 1 / 16;

export class HedgeClock {
  readonly #windows = classes.map(() => new LatencyWindow());
  readonly #delayMsMin: number;
  #budget: number = helping.most;
  /** Of recent hedges, how many came first. */
  #wonShare = 1 / 2;

  constructor(delayMsMin: number) {
    this.#delayMsMin = delayMsMin;
  }

  /** Ms after which a put of so many bytes is hedged; null: it is not. */
  delayMs(bytes: number): number | null {
    const p95 = this.#windowOf(bytes)?.p95() ?? null;
    return p95 === null ? null : Math.max(this.#delayMsMin, p95);
  }

  /** A put was decided after so long. */
  observe(bytes: number, ms: number): void {
    const { perPut, most } = this.#bounds;
    this.#budget = Math.min(most, this.#budget + perPut);
    this.#windowOf(bytes)?.add(ms);
  }

  /** Whether one more hedge is within the budget; takes it. It counts as vain until it has won. */
  take(): boolean {
    if (this.#budget < 1) return false;
    this.#budget--;
    this.#wonShare -= this.#wonShare * memory;
    this.#budget = Math.min(this.#bounds.most, this.#budget);
    return true;
  }

  /** The second sending of a put came first. */
  won(): void {
    this.#wonShare += memory;
  }

  get #bounds(): typeof helping | typeof vain {
    return this.#wonShare >= wonShareMin ? helping : vain;
  }

  #windowOf(bytes: number): LatencyWindow | undefined {
    return this.#windows[classes.findIndex((bound) => bytes <= bound)];
  }
}

class LatencyWindow {
  readonly #ring = new Float64Array(samplesMax);
  #count = 0;
  #p95 = 0;
  #isStale = true;

  add(ms: number): void {
    this.#ring[this.#count++ % samplesMax] = ms;
    this.#isStale = true;
  }

  p95(): number | null {
    const count = Math.min(this.#count, samplesMax);
    if (count < samplesMin) return null;
    if (this.#isStale) {
      const sorted = this.#ring.slice(0, count).sort();
      this.#p95 = sorted[Math.floor(count * 0.95)] as number;
      this.#isStale = false;
    }
    return this.#p95;
  }
}
