/**
 * The frame format of LZ4 around the libraries' block codecs. Neither library can bound its output, one
 * takes a cut frame for a whole one and the other does not understand block checksums; so each frame is
 * walked first, which finds its exact inflated size and refuses what is not sound, and only then
 * inflated. Checksums inside the frame are the native library's business: the batch's CRC covers them.
 *
 *     magic 04 22 4d 18 · FLG · BD · [content size 8 bytes] · HC (checksum of the descriptor)
 *     blocks: length uint32 (high bit: stored as it is) · data · [checksum 4 bytes] · end: a length of 0
 *     [content checksum 4 bytes]; little-endian throughout
 *     FLG: bits 6–7 version 01 · 5 independent blocks · 4 block checksums · 3 content size · 2 content checksum · 0 dictionary
 *
 * Kafka's Java client reads independent blocks only, so that is what is written.
 */
import { MalformedError } from "../base/errors.ts";
import { InflationError } from "./errors.ts";

export interface Lz4Native {
  compressFrameSync(bytes: Buffer): Uint8Array;
  decompressFrameSync(bytes: Buffer): Uint8Array;
}

export interface Lz4Script {
  /** Returns the compressed length; 0: it found nothing to compress. */
  compressBlock(from: Uint8Array, to: Uint8Array, at: number, length: number, table: Uint32Array): number;
  decompressBlock(from: Uint8Array, to: Uint8Array, at: number, length: number, toAt: number): number;
}

interface Block {
  readonly start: number;
  readonly bytes: number;
  readonly isStored: boolean;
}

interface Frame {
  readonly blocks: readonly Block[];
  readonly inflatedBytes: number;
  /** Behind the frame's last byte. */
  readonly end: number;
}

const STORED = 0x8000_0000;
const BLOCK_BYTES_MAX: Readonly<Record<number, number>> = { 4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22 };

/** Throws `MalformedError` or `InflationError`. Bytes behind the frame are left alone, as Kafka leaves them. */
export function readLz4Frame(
  bytes: Uint8Array,
  inflatedBytesMax: number,
  library: Lz4Native | Lz4Script,
): Uint8Array {
  const frame = walkFrame(bytes, inflatedBytesMax);
  if ("decompressFrameSync" in library) {
    let inflated: Uint8Array;
    try {
      inflated = library.decompressFrameSync(Buffer.from(bytes.buffer, bytes.byteOffset, frame.end));
    } catch (cause) {
      throw new MalformedError(`lz4: ${(cause as Error).message}`, { cause });
    }
    if (inflated.byteLength !== frame.inflatedBytes) {
      throw new MalformedError(`lz4: ${inflated.byteLength} bytes came of ${frame.inflatedBytes} expected`);
    }
    return inflated;
  }
  const inflated = new Uint8Array(frame.inflatedBytes);
  let at = 0;
  for (const block of frame.blocks) {
    if (block.isStored) {
      inflated.set(bytes.subarray(block.start, block.start + block.bytes), at);
      at += block.bytes;
    } else {
      at = library.decompressBlock(bytes, inflated, block.start, block.bytes, at);
    }
  }
  return inflated;
}

/** Reads the structure of a frame without inflating it; work and memory are bounded by the input. */
function walkFrame(bytes: Uint8Array, inflatedBytesMax: number): Frame {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < 7 || view.readUInt32LE(0) !== 0x184d2204)
    throw new MalformedError("lz4: not a frame");
  const flags = bytes[4] as number;
  if (flags >>> 6 !== 1 || (flags & 3) !== 0)
    throw new MalformedError(`lz4: flags ${flags} are not supported`);
  const blockBytesMax = BLOCK_BYTES_MAX[((bytes[5] as number) >>> 4) & 7];
  if (blockBytesMax === undefined) throw new MalformedError("lz4: the block size is unknown");
  const areIndependent = (flags & 0x20) !== 0;
  const blockTrailer = (flags & 0x10) !== 0 ? 4 : 0;
  const frameTrailer = (flags & 0x04) !== 0 ? 4 : 0;
  const blocks: Block[] = [];
  let inflatedBytes = 0;
  let at = 7 + ((flags & 0x08) !== 0 ? 8 : 0);
  for (;;) {
    if (bytes.byteLength - at < 4) throw new MalformedError("lz4: the frame is cut short");
    const length = view.readUInt32LE(at);
    at += 4;
    if (length === 0) break;
    const isStored = length >= STORED;
    const block: Block = { start: at, bytes: isStored ? length - STORED : length, isStored };
    if (block.bytes > blockBytesMax || block.bytes + blockTrailer > bytes.byteLength - at) {
      throw new MalformedError(`lz4: a block claims ${block.bytes} bytes`);
    }
    const gained = isStored ? block.bytes : walkBlock(bytes, block, areIndependent ? 0 : inflatedBytes);
    if (gained > blockBytesMax) throw new MalformedError(`lz4: a block inflates to ${gained} bytes`);
    inflatedBytes += gained;
    if (inflatedBytes > inflatedBytesMax) throw new InflationError(inflatedBytesMax);
    blocks.push(block);
    at += block.bytes + blockTrailer;
  }
  if (bytes.byteLength - at < frameTrailer) throw new MalformedError("lz4: the frame is cut short");
  return { blocks, inflatedBytes, end: at + frameTrailer };
}

/**
 * Bytes that a block inflates to. A block is a row of sequences: token (literal length, match length − 4,
 * four bits each; 15: more bytes follow, until one is not 255), literals, offset uint16; the last has
 * literals only. `history`: bytes before the block that a match may reach into.
 */
function walkBlock(bytes: Uint8Array, block: Block, history: number): number {
  const end = block.start + block.bytes;
  let at = block.start;
  let gained = 0;
  const longLength = (nibble: number): number => {
    let length = nibble;
    if (nibble < 15) return length;
    for (;;) {
      if (at >= end) throw new MalformedError("lz4: a block is cut short");
      const byte = bytes[at++] as number;
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (at < end) {
    const token = bytes[at++] as number;
    const literalBytes = longLength(token >>> 4);
    if (literalBytes > end - at) throw new MalformedError("lz4: a block is cut short");
    at += literalBytes;
    gained += literalBytes;
    if (at === end) return gained;
    if (end - at < 2) throw new MalformedError("lz4: a block is cut short");
    const distance = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
    at += 2;
    if (distance === 0 || distance > gained + history) {
      throw new MalformedError(`lz4: a match from ${distance} back, ${gained + history} are there`);
    }
    gained += longLength(token & 15) + 4;
  }
  throw new MalformedError("lz4: a block ends without literals");
}

export function writeLz4Frame(bytes: Uint8Array, library: Lz4Native | Lz4Script): Uint8Array {
  if ("compressFrameSync" in library) {
    return library.compressFrameSync(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
  return writeWithScript(bytes, library);
}

/**
 * The script may begin a match nearer to a block's end than the format allows, which decoders notice only
 * when their output is exactly full: a block therefore stays 16 bytes below the size that the frame declares.
 */
const SCRIPT_BLOCK_BYTES = (1 << 16) - 16;
/** Version 1, independent blocks of at most 64 KB, no checksums; the last byte is the descriptor's checksum. */
const SCRIPT_HEADER = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82] as const;

function writeWithScript(bytes: Uint8Array, library: Lz4Script): Uint8Array {
  const blockCount = Math.ceil(bytes.byteLength / SCRIPT_BLOCK_BYTES);
  const frame = Buffer.allocUnsafe(SCRIPT_HEADER.length + bytes.byteLength + 4 * blockCount + 4);
  frame.set(SCRIPT_HEADER);
  const table = new Uint32Array(1 << 16);
  const scratch = new Uint8Array(SCRIPT_BLOCK_BYTES + Math.ceil(SCRIPT_BLOCK_BYTES / 255) + 16);
  let at: number = SCRIPT_HEADER.length;
  for (let from = 0; from < bytes.byteLength; from += SCRIPT_BLOCK_BYTES) {
    const block = bytes.subarray(from, from + SCRIPT_BLOCK_BYTES);
    table.fill(0);
    const length = library.compressBlock(block, scratch, 0, block.byteLength, table);
    const isStored = length === 0 || length >= block.byteLength;
    const data = isStored ? block : scratch.subarray(0, length);
    at = frame.writeUInt32LE(isStored ? STORED + data.byteLength : data.byteLength, at);
    frame.set(data, at);
    at += data.byteLength;
  }
  return frame.subarray(0, frame.writeUInt32LE(0, at));
}
