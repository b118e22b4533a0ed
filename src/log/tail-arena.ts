/**
 * Where small payloads lie. A slice keeps its whole buffer alive, so a record of 100 bytes that stayed a
 * slice of its request would hold the request; here small ones are copied one behind the other into
 * chunks, in WAL order, and a chunk dies when the tail has let go of the last one in it. What is large
 * and fills most of its buffer stays where it is. Tells for each entry what it adds to the memory held.
 */
import { entryOverheadBytes, type TailEntry } from "./tail-entry.ts";

/** The tail holds at most two chunks more than it counts: the newest, not yet full, and the oldest, half let go. */
export const arenaChunkBytes = 256 * 1024;
/** Shorter payloads are always copied. */
export const referenceBytesMin = 16 * 1024;
/** Longer copies get a buffer of their own, so that little of a chunk is wasted. */
const ownBufferBytesMin = arenaChunkBytes / 4;

export class TailArena {
  #chunk: Uint8Array = new Uint8Array(0);
  #used = 0;

  /**
   * Decides for entries of one request, not yet seen by the WAL, whether their payloads stay or are
   * copied, and sets `payload` and `heldBytes`. Returns the sum of the latter.
   */
  settle(entries: readonly TailEntry[]): number {
    let held = 0;
    for (let begin = 0; begin < entries.length; ) {
      const buffer = (entries[begin] as TailEntry).payload.buffer;
      let end = begin;
      let largeBytes = 0;
      for (; end < entries.length; end++) {
        const payload = (entries[end] as TailEntry).payload;
        if (payload.buffer !== buffer) break;
        if (payload.byteLength >= referenceBytesMin) largeBytes += payload.byteLength;
      }
      // The buffer is counted once, with the first entry that keeps it; entries of one request leave together.
      let bufferBytes = largeBytes * 2 >= buffer.byteLength ? buffer.byteLength : -1;
      for (; begin < end; begin++) {
        const entry = entries[begin] as TailEntry;
        if (bufferBytes >= 0 && entry.payload.byteLength >= referenceBytesMin) {
          entry.heldBytes = entryOverheadBytes + bufferBytes;
          bufferBytes = 0;
        } else {
          entry.heldBytes = entryOverheadBytes + entry.payload.byteLength;
          entry.payload = this.#copy(entry.payload);
        }
        held += entry.heldBytes;
      }
    }
    return held;
  }

  #copy(payload: Uint8Array): Uint8Array {
    const bytes = payload.byteLength;
    if (bytes === 0) return payload;
    if (bytes >= ownBufferBytesMin) return new Uint8Array(payload);
    if (this.#used + bytes > this.#chunk.byteLength) {
      this.#chunk = new Uint8Array(Buffer.allocUnsafeSlow(arenaChunkBytes).buffer);
      this.#used = 0;
    }
    const copy = this.#chunk.subarray(this.#used, this.#used + bytes);
    copy.set(payload);
    this.#used += bytes;
    return copy;
  }
}
