/**
 * Where payloads lie. A slice keeps its whole buffer alive, so a record of 100 bytes that stayed a slice
 * of what the socket read would hold all of that; such ones are copied here one behind the other into
 * chunks, in WAL order, and a chunk dies when the tail has let go of the last one in it. The batches of a
 * large request that fill its buffer stay where they are: they come and go together. Tells for each entry
 * what it adds to the memory held.
 */
import { entryOverheadBytes, type TailEntry } from "./tail-entry.ts";

/** The tail holds at most two chunks more than it counts: the newest, not yet full, and the oldest, half let go. */
export const arenaChunkBytes = 256 * 1024;
/** Payloads of one request in one buffer stay there if they are at least this together, and half of the buffer. */
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
      let bytes = 0;
      for (; end < entries.length; end++) {
        const payload = (entries[end] as TailEntry).payload;
        if (payload.buffer !== buffer) break;
        bytes += payload.byteLength;
      }
      if (bytes >= referenceBytesMin && bytes * 2 >= buffer.byteLength) {
        // The buffer is counted once, with the first entry; entries of one request leave together.
        (entries[begin] as TailEntry).heldBytes += buffer.byteLength;
        held += buffer.byteLength + (end - begin) * entryOverheadBytes;
      } else {
        for (let i = begin; i < end; i++) this.#adopt(entries[i] as TailEntry);
        held += bytes + (end - begin) * entryOverheadBytes;
      }
      begin = end;
    }
    return held;
  }

  #adopt(entry: TailEntry): void {
    entry.heldBytes += entry.payload.byteLength;
    entry.payload = this.#copy(entry.payload);
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
