/**
 * Snappy as Kafka clients use it: raw (librdkafka, Go) or in the framing of the Java library, which Kafka
 * writes. Reading is done here, because the library's decoder can loop without end and does not check that
 * the claimed length was produced; writing is the library's. The framing:
 *
 *     82 "SNAPPY" 00 · version int32 = 1 · compatible int32 = 1 · then blocks: length int32 · raw snappy
 *
 * Raw snappy: the inflated length as a varint, then tags whose two low bits say what follows:
 *     00 literal: bits 2–7 are length − 1, or 60 to 63: 1 to 4 bytes of length − 1 follow
 *     01 copy: 3 bits length − 4, 11 bits offset · 10 copy: 6 bits length − 1, 16 bits offset · 11: 32 bits offset
 */
import { MalformedError } from "../base/errors.ts";
import { InflationError } from "./errors.ts";

export interface SnappyLibrary {
  compress(bytes: Uint8Array): Uint8Array;
}

const FRAMING = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00] as const;
/** Magic and two version numbers. */
const FRAMING_BYTES = 16;
/** What the Java library puts into one block. */
const BLOCK_BYTES = 32 * 1024;
/** Three bytes give at most 64: a claim of more than this per byte of input is a lie. */
const EXPANSION_MAX = 22;

/** Throws `MalformedError` or `InflationError`. */
export function readSnappy(bytes: Uint8Array, inflatedBytesMax: number): Uint8Array {
  const blocks = isFramed(bytes, 0) ? framedBlocks(bytes) : [bytes];
  let size = 0;
  const preambles = blocks.map((block) => {
    const preamble = readPreamble(block);
    if (preamble.inflatedBytes > block.byteLength * EXPANSION_MAX) {
      throw new MalformedError(`snappy: ${block.byteLength} bytes claim ${preamble.inflatedBytes}`);
    }
    size += preamble.inflatedBytes;
    return preamble;
  });
  if (size > inflatedBytesMax) throw new InflationError(inflatedBytesMax);
  const inflated = new Uint8Array(size);
  let at = 0;
  for (const [index, block] of blocks.entries()) {
    const { start, inflatedBytes } = preambles[index] as Preamble;
    inflateBlock(block, start, inflated.subarray(at, at + inflatedBytes));
    at += inflatedBytes;
  }
  return inflated;
}

/** Every reader of Kafka's understands this framing. */
export function writeSnappyFramed(bytes: Uint8Array, library: SnappyLibrary): Uint8Array {
  const blocks: Uint8Array[] = [];
  let size = FRAMING_BYTES;
  for (let at = 0; at < bytes.byteLength; at += BLOCK_BYTES) {
    const block = library.compress(bytes.subarray(at, Math.min(at + BLOCK_BYTES, bytes.byteLength)));
    blocks.push(block);
    size += 4 + block.byteLength;
  }
  const framed = Buffer.allocUnsafe(size);
  framed.set(FRAMING);
  framed.writeInt32BE(1, 8);
  framed.writeInt32BE(1, 12);
  let at = FRAMING_BYTES;
  for (const block of blocks) {
    at = framed.writeInt32BE(block.byteLength, at);
    framed.set(block, at);
    at += block.byteLength;
  }
  return framed;
}

function isFramed(bytes: Uint8Array, at: number): boolean {
  return FRAMING.every((byte, index) => bytes[at + index] === byte);
}

/** The blocks of one or several framed streams one behind the other, as the Java library reads them. */
function framedBlocks(bytes: Uint8Array): Uint8Array[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (isFramed(bytes, at)) {
      if (bytes.byteLength - at < FRAMING_BYTES) throw new MalformedError("snappy: the framing is cut short");
      at += FRAMING_BYTES;
      continue;
    }
    if (bytes.byteLength - at < 4) throw new MalformedError("snappy: a block's length is cut short");
    const length = view.readInt32BE(at);
    at += 4;
    if (length <= 0 || length > bytes.byteLength - at) {
      throw new MalformedError(`snappy: a block claims ${length} bytes, ${bytes.byteLength - at} are there`);
    }
    blocks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return blocks;
}

interface Preamble {
  readonly inflatedBytes: number;
  readonly start: number;
}

function readPreamble(block: Uint8Array): Preamble {
  let inflatedBytes = 0;
  for (let index = 0; index < 5; index++) {
    const byte = block[index];
    if (byte === undefined) break;
    inflatedBytes += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { inflatedBytes, start: index + 1 };
  }
  throw new MalformedError("snappy: the inflated length has no end");
}

/** Fills `out` exactly. Each turn takes at least one byte of input, and none reads or writes out of bounds. */
function inflateBlock(block: Uint8Array, start: number, out: Uint8Array): void {
  const inEnd = block.byteLength;
  const outEnd = out.byteLength;
  let at = start;
  let to = 0;
  while (at < inEnd) {
    const tag = block[at++] as number;
    let length = (tag >>> 2) + 1;
    let distance = 0;
    if ((tag & 3) === 0) {
      if (length > 60) {
        const extra = length - 60;
        if (extra > inEnd - at) throw cutShort();
        length = littleEndian(block, at, extra) + 1;
        at += extra;
      }
      if (length > inEnd - at) throw cutShort();
      if (length > outEnd - to) throw tooLong(outEnd);
      if (length > 24) out.set(block.subarray(at, at + length), to);
      else for (let index = 0; index < length; index++) out[to + index] = block[at + index] as number;
      at += length;
      to += length;
      continue;
    }
    const extra = (tag & 3) === 3 ? 4 : tag & 3;
    if (extra > inEnd - at) throw cutShort();
    distance = littleEndian(block, at, extra);
    at += extra;
    if (extra === 1) {
      length = ((tag >>> 2) & 7) + 4;
      distance += (tag >>> 5) << 8;
    }
    if (distance === 0 || distance > to)
      throw new MalformedError(`snappy: a copy from ${distance} back, ${to} are there`);
    if (length > outEnd - to) throw tooLong(outEnd);
    for (const end = to + length; to < end; to++) out[to] = out[to - distance] as number;
  }
  if (to !== outEnd) throw new MalformedError(`snappy: ${to} bytes came of ${outEnd} claimed`);
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let index = count - 1; index >= 0; index--) value = value * 256 + (bytes[at + index] as number);
  return value;
}

function cutShort(): MalformedError {
  return new MalformedError("snappy: the block is cut short");
}

function tooLong(claimed: number): MalformedError {
  return new MalformedError(`snappy: the block gives more than the ${claimed} bytes it claims`);
}
