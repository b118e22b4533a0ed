/**
 * Builds the frames of one WAL, each as the chunks of one synced write. Small payloads are copied
 * together into a staging buffer, large ones go by reference; the number of chunks is bounded, since a
 * longer write would be several system calls with a sync each. Two staging buffers take turns: the index
 * of the frame before stays in the other one, where the next frame copies it from.
 */
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import type { BrokerEpoch } from "../base/ids.ts";
import type { WalEntry } from "./wal.ts";
import {
  BLOCK_BYTES,
  blocksFor,
  encodeFrameHeader,
  encodeRow,
  FRAME_HEADER_BYTES,
  ROW_BYTES,
  uint32At,
} from "./wal-format.ts";

/** Payloads from here on are written where they lie. */
const referenceBytesMin = 8192;
/** Each may cost two chunks (itself and what is staged before it), of the 1,024 that one write may have. */
const referencesMax = 500;
const stagingBytesMin = 64 * 1024;
/** A staging buffer that had to grow beyond this is given back. */
const stagingBytesKept = 16 * 1024 * 1024;

export interface FrameFile {
  readonly epoch: BrokerEpoch;
  readonly fileNumber: number;
  readonly salt: Uint8Array;
  /** `saltSeed(salt)`. */
  readonly seed: number;
}

class Staging {
  buffer = Buffer.allocUnsafeSlow(stagingBytesMin);
  view = new DataView(this.buffer.buffer);

  fit(bytes: number): void {
    const held = this.buffer.byteLength;
    if (held >= bytes && held <= stagingBytesKept) return;
    const size = Math.max(bytes, Math.min(held * 2, stagingBytesKept));
    this.buffer = Buffer.allocUnsafeSlow(size);
    this.view = new DataView(this.buffer.buffer);
  }
}

export class FrameBuilder {
  #staging = new Staging();
  #spare = new Staging();
  #previousIndex: Uint8Array = new Uint8Array(0);
  #previousIndexChecksum = 0;
  #previousSeed = 0;
  #previousChecksum = 0;
  #previousLength = 0;
  #sequence = 0;

  /** Length of the frame that these entries would make now. */
  lengthFor(entryCount: number, payloadBytes: number): number {
    return blocksFor(
      FRAME_HEADER_BYTES + entryCount * ROW_BYTES + this.#previousIndex.byteLength + payloadBytes,
    );
  }

  /**
   * The frame at `position` of `file`, following the one built before. `checksums` are the CRC32C of the
   * payloads. The chunks are good until the frame after the next is built.
   */
  build(
    file: FrameFile,
    position: number,
    entries: readonly WalEntry[],
    checksums: readonly number[],
  ): { readonly chunks: readonly Uint8Array[]; readonly length: number } {
    const indexBytes = entries.length * ROW_BYTES;
    const copy = this.#previousIndex;
    const payloadsBegin = FRAME_HEADER_BYTES + indexBytes + copy.byteLength;
    let payloadBytes = 0;
    let referencedBytes = 0;
    let references = 0;
    for (const { payload } of entries) {
      payloadBytes += payload.byteLength;
      if (payload.byteLength >= referenceBytesMin && references < referencesMax) {
        references++;
        referencedBytes += payload.byteLength;
      }
    }
    const length = blocksFor(payloadsBegin + payloadBytes);
    assert(length < 0x1_0000_0000, "a frame is shorter than 4 GiB");

    const staging = this.#spare;
    this.#spare = this.#staging;
    this.#staging = staging;
    staging.fit(length - referencedBytes);
    const { buffer, view } = staging;
    const chunks: Uint8Array[] = [];
    let staged = payloadsBegin;
    let chunkBegin = 0;
    let at = payloadsBegin;
    for (let row = 0; row < entries.length; row++) {
      const entry = entries[row] as WalEntry;
      const { payload } = entry;
      encodeRow(buffer, view, FRAME_HEADER_BYTES + row * ROW_BYTES, entry, {
        start: at,
        checksum: checksums[row] as number,
        seed: file.seed,
      });
      if (payload.byteLength >= referenceBytesMin && references > 0) {
        references--;
        if (staged > chunkBegin) chunks.push(buffer.subarray(chunkBegin, staged));
        chunks.push(payload);
        chunkBegin = staged;
      } else {
        buffer.set(payload, staged);
        staged += payload.byteLength;
      }
      at += payload.byteLength;
    }
    const padding = length - at;
    buffer.fill(0, staged, staged + padding);
    staged += padding;
    if (staged > chunkBegin) chunks.push(buffer.subarray(chunkBegin, staged));

    const index = buffer.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + indexBytes);
    buffer.set(copy, FRAME_HEADER_BYTES + indexBytes);
    const indexChecksum = crc32c(index, file.seed);
    this.#previousChecksum = encodeFrameHeader(
      buffer,
      {
        length,
        fileNumber: file.fileNumber,
        epoch: file.epoch,
        saltHigh: uint32At(file.salt, 0),
        saltLow: uint32At(file.salt, 4),
        sequence: this.#sequence,
        position,
        // One frame is in flight at a time: whatever lies before this one has been synced.
        synced: position,
        previousChecksum: this.#previousChecksum,
        previousLength: this.#previousLength,
        entryCount: entries.length,
        indexChecksum,
        copyCount: copy.byteLength / ROW_BYTES,
        copyChecksum:
          file.seed === this.#previousSeed ? this.#previousIndexChecksum : crc32c(copy, file.seed),
      },
      file.seed,
    );
    this.#previousIndex = index;
    this.#previousIndexChecksum = indexChecksum;
    this.#previousSeed = file.seed;
    this.#previousLength = length;
    this.#sequence++;
    assert(length % BLOCK_BYTES === 0, "a frame is made of whole blocks");
    return { chunks, length };
  }
}
