/**
 * Recognises readers who catch up: a read that begins where another one ended is the same reader, and
 * the more often it happens, the further ahead it pays to read. Knows offsets only; loads nothing.
 */
import { type Offset, partitionKey } from "../base/ids.ts";
import type { SectionIdentity } from "./segment-format.ts";

/** Readers that are remembered; a forgotten one begins again with the small window. */
const streamsMax = 4096;
const windowBytesMin = 256 * 1024;

export class ReadAhead {
  readonly #windowBytesMax: number;
  /** By partition and the offset at which the reader is expected next; oldest first. */
  readonly #expected = new Map<string, number>();

  constructor(windowBytesMax: number) {
    this.#windowBytesMax = windowBytesMax;
  }

  get streams(): number {
    return this.#expected.size;
  }

  /** A read went from `from` to `next`: how many bytes behind `next` should be fetched already. 0: it is no sequence yet. */
  advance(identity: SectionIdentity, from: Offset, next: Offset): number {
    const partition = partitionKey(identity.topicId, identity.partition);
    const before = `${partition}@${from}`;
    const window = this.#expected.get(before);
    if (next === from) return window ?? 0;
    this.#expected.delete(before);
    const wider =
      window === undefined ? 0 : Math.min(window === 0 ? windowBytesMin : window * 2, this.#windowBytesMax);
    const after = `${partition}@${next}`;
    // Another reader may be at the same place, and further on.
    const known = this.#expected.get(after) ?? 0;
    this.#expected.delete(after);
    this.#expected.set(after, Math.max(wider, known));
    if (this.#expected.size > streamsMax) {
      const [oldest] = this.#expected.keys();
      if (oldest !== undefined) this.#expected.delete(oldest);
    }
    return wider;
  }
}
