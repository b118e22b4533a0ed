/**
 * Recognises readers who catch up: a read that begins where another one ended is the same reader, and
 * the more often it happens, the further ahead it pays to read. It does not pay when so much is read for
 * others meanwhile that nothing of it would be left when the reader comes. Knows offsets only; loads nothing.
 */
import { type Offset, partitionKey } from "../base/ids.ts";
import type { SectionIdentity } from "./segment-format.ts";

/** Readers that are remembered; a forgotten one begins again with the small window. */
const streamsMax = 4096;
const windowBytesMin = 256 * 1024;

interface Expected {
  readonly window: number;
  /** What all readers had been given when this one was here last. */
  readonly givenBytes: number;
}

export class ReadAhead {
  readonly #windowBytesMax: number;
  readonly #keptBytes: number;
  /** By partition and the offset at which the reader is expected next; oldest first. */
  readonly #expected = new Map<string, Expected>();
  /** To all readers together. */
  #givenBytes = 0;

  /** `keptBytes`: what is read ahead of one reader lasts until about so much more has been read. */
  constructor(windowBytesMax: number, keptBytes: number) {
    this.#windowBytesMax = windowBytesMax;
    this.#keptBytes = keptBytes;
  }

  get streams(): number {
    return this.#expected.size;
  }

  /**
   * A read of `bytes` bytes went from `from` to `next`: how many bytes behind `next` should be fetched
   * already. 0: it is no sequence yet, or too many read in turns.
   */
  advance(identity: SectionIdentity, from: Offset, next: Offset, bytes: number): number {
    const partition = partitionKey(identity.topicId, identity.partition);
    const before = `${partition}@${from}`;
    const found = this.#expected.get(before);
    if (next === from) return found?.window ?? 0;
    this.#expected.delete(before);
    this.#givenBytes += bytes;
    const wider = found === undefined ? 0 : this.#widen(found);
    const after = `${partition}@${next}`;
    // Another reader may be at the same place, and further on.
    const known = this.#expected.get(after)?.window ?? 0;
    this.#expected.delete(after);
    this.#expected.set(after, { window: Math.max(wider, known), givenBytes: this.#givenBytes });
    if (this.#expected.size > streamsMax) {
      const [oldest] = this.#expected.keys();
      if (oldest !== undefined) this.#expected.delete(oldest);
    }
    return wider;
  }

  #widen({ window, givenBytes }: Expected): number {
    const room = this.#keptBytes - (this.#givenBytes - givenBytes);
    const wider = window === 0 ? windowBytesMin : window * 2;
    return Math.max(0, Math.min(wider, this.#windowBytesMax, room));
  }
}
