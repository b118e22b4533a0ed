/**
 * What was read of segments for share-partitions and nobody has taken yet: one bound in bytes over all of them, reads
 * that are under way included. Where that is reached, what was kept longest goes, and who wants it reads it again;
 * then reads wait, in order. What nobody takes within `keptMsMax` goes as well. Nothing that is in here is needed.
 */
import { Budget } from "../../base/budget.ts";
import type { Clock, Timer } from "../../base/ports.ts";

interface Kept {
  readonly bytes: number;
  readonly sinceMs: number;
  readonly forget: () => void;
}

/** Members that wait take what was read for them at once; whoever does not come back within this had enough. */
const keptMsMax = 10_000;
/** What is left over by rounding is no time at all. */
const delayMsMin = 1;

export class ReadAhead {
  readonly #clock: Clock;
  readonly #budget: Budget;
  /** Oldest first. */
  readonly #kept = new Set<Kept>();
  #timer: Timer | null = null;

  constructor(clock: Clock, bytesMax: number) {
    this.#clock = clock;
    this.#budget = new Budget(bytesMax);
  }

  /** Of what is kept, and of what may be read. */
  get bytes(): number {
    return this.#budget.used;
  }

  /** Resolves when so many bytes may be read; they are to be kept or given back then. */
  enter(bytes: number): Promise<void> {
    while (this.#kept.size > 0 && this.#budget.used + bytes > this.#budget.limit) this.#dropOldest();
    return this.#budget.take(bytes);
  }

  giveBack(bytes: number): void {
    this.#budget.give(bytes);
  }

  /** `entered` bytes became these. `forget` is called when they have to go. Returns how to let go of them before. */
  keep(entered: number, bytes: number, forget: () => void): () => void {
    const kept = { bytes, forget, sinceMs: this.#clock.monotonicMs() };
    this.#budget.charge(bytes);
    this.#kept.add(kept);
    this.#budget.give(entered);
    // The newest stays: who waits for it has not seen it yet.
    while (this.#budget.waiting > 0 && this.#kept.size > 1) this.#dropOldest();
    this.#arm();
    return () => this.#letGo(kept);
  }

  #letGo(kept: Kept): void {
    if (!this.#kept.delete(kept)) return;
    this.#budget.give(kept.bytes);
    if (this.#kept.size > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #dropOldest(): void {
    const [oldest] = this.#kept;
    if (oldest === undefined) return;
    this.#letGo(oldest);
    oldest.forget();
  }

  #arm(): void {
    const [oldest] = this.#kept;
    if (this.#timer !== null || oldest === undefined) return;
    const delayMs = Math.max(delayMsMin, oldest.sinceMs + keptMsMax - this.#clock.monotonicMs());
    this.#timer = this.#clock.schedule(delayMs, () => {
      this.#timer = null;
      const beforeMs = this.#clock.monotonicMs() - keptMsMax;
      for (const { sinceMs } of this.#kept) if (sinceMs <= beforeMs) this.#dropOldest();
      this.#arm();
    });
  }
}
