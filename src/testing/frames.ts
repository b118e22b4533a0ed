/** Frames as they pass by on a socket, in one direction and in pieces of any size. */
import { concatBytes } from "../base/bytes.ts";

export class FrameScanner {
  readonly #keptBytesMax: number;
  readonly #onFrame: (begin: Uint8Array, length: number) => void;
  #lengthBytes = 0;
  #length = 0;
  #seen = 0;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  /** What follows a length that cannot be one makes no sense; the broker closes such a connection. */
  #lost = false;

  /** `onFrame` gets a copy of the frame's first `keptBytesMax` bytes, without its length, and that length. */
  constructor(keptBytesMax: number, onFrame: (begin: Uint8Array, length: number) => void) {
    this.#keptBytesMax = keptBytesMax;
    this.#onFrame = onFrame;
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.byteLength && !this.#lost) {
      if (this.#lengthBytes < 4) {
        this.#length = (this.#length << 8) | (bytes[at++] as number);
        if (++this.#lengthBytes === 4) this.#lost = this.#length <= 0;
        continue;
      }
      const end = at + Math.min(this.#length - this.#seen, bytes.byteLength - at);
      this.#keep(bytes.subarray(at, Math.min(end, at + this.#keptBytesMax - this.#keptBytes)));
      this.#seen += end - at;
      at = end;
      if (this.#seen === this.#length) this.#finish();
    }
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    this.#kept.push(new Uint8Array(bytes));
    this.#keptBytes += bytes.byteLength;
  }

  #finish(): void {
    const begin = concatBytes(this.#kept);
    const length = this.#length;
    this.#lengthBytes = 0;
    this.#length = 0;
    this.#seen = 0;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#onFrame(begin, length);
  }
}

/** The answers in one write of the broker, which are whole: each with its own chunks, its length first. */
export function answersIn(chunks: readonly Uint8Array[]): (readonly Uint8Array[])[] {
  const answers: Uint8Array[][] = [];
  let missing = 0;
  for (const chunk of chunks) {
    if (missing === 0) {
      missing = 4 + new DataView(chunk.buffer, chunk.byteOffset, 4).getInt32(0);
      answers.push([]);
    }
    (answers.at(-1) as Uint8Array[]).push(chunk);
    missing -= chunk.byteLength;
  }
  return answers;
}
