/**
 * Fills one record batch of magic 2 where it will lie when it is sent: records are encoded straight into
 * its bytes, behind room for the header, so that a batch without compression is never copied. For the
 * client's producer, whose time goes into exactly this; everybody else uses `builder.ts`.
 */
import { assert } from "../base/assert.ts";
import type { ProducerEpoch, ProducerId } from "../base/ids.ts";
import { BATCH_HEADER_BYTES, BATCH_LENGTH_END, BatchFlag, BatchView, Codec } from "./batch.ts";
import { compress } from "./compression.ts";

export type RecordBytes = Uint8Array | string | null;
export interface WrittenHeader {
  readonly key: string;
  readonly value: RecordBytes;
}

/** What a record takes at most beside its key, value and headers: seven varints and the attributes. */
export const recordOverheadMax = 41;
const firstBytes = 2048;
const growth = 4;
/** Shorter strings and byte strings are copied by a loop here: a call into the runtime costs more. */
const loopBytesMax = 24;

export function byteLengthOf(bytes: RecordBytes): number {
  if (bytes === null) return 0;
  return typeof bytes === "string" ? Buffer.byteLength(bytes, "utf8") : bytes.byteLength;
}

export function headersLength(headers: readonly WrittenHeader[]): number {
  let bytes = 0;
  for (const { key, value } of headers) bytes += 10 + Buffer.byteLength(key, "utf8") + byteLengthOf(value);
  return bytes;
}

export class BatchWriter {
  #bytes: Buffer;
  #end = BATCH_HEADER_BYTES;
  #count = 0;
  #baseTimestamp = -1;
  #maxTimestamp = -1;
  readonly #bytesMax: number;

  /** `bytesMax`: a single record may go beyond it. `sizeHint`: how large the batch will probably be. */
  constructor(bytesMax: number, sizeHint = firstBytes) {
    this.#bytesMax = bytesMax;
    // Never from the shared pool: these bytes belong to the batch until it is settled.
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(firstBytes, Math.min(sizeHint, bytesMax)));
  }

  get recordCount(): number {
    return this.#count;
  }
  /** Bytes of the batch so far, without compression. */
  get size(): number {
    return this.#end;
  }
  /** Memory that it takes. */
  get capacity(): number {
    return this.#bytes.byteLength;
  }

  /** Whether a record of so many bytes, overhead included, may be added. An empty batch takes any. */
  fits(recordBytes: number): boolean {
    return this.#count === 0 || this.#end + recordBytes <= this.#bytesMax;
  }

  /**
   * Adds a record; `keyBytes` and `valueBytes` are the lengths of key and value in bytes. Strings become
   * UTF-8. `timestamp` in ms since 1970.
   */
  append(
    key: RecordBytes,
    keyBytes: number,
    value: RecordBytes,
    valueBytes: number,
    headers: readonly WrittenHeader[],
    timestamp: number,
  ): void {
    const most =
      recordOverheadMax + keyBytes + valueBytes + (headers.length === 0 ? 0 : headersLength(headers));
    if (this.#end + most > this.#bytes.byteLength) this.#grow(most);
    if (this.#count === 0) this.#baseTimestamp = this.#maxTimestamp = timestamp;
    else if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp;
    const bytes = this.#bytes;
    const delta = timestamp - this.#baseTimestamp;
    const deltaZigzag = delta >= 0 ? delta * 2 : -delta * 2 - 1;
    let body = 1 + unsignedBytes(deltaZigzag) + unsignedBytes(this.#count * 2);
    body += key === null ? 1 : unsignedBytes(keyBytes * 2) + keyBytes;
    body += value === null ? 1 : unsignedBytes(valueBytes * 2) + valueBytes;
    body += unsignedBytes(headers.length * 2);
    for (const header of headers) body += headerBytes(header);
    let at = putUnsigned(bytes, this.#end, body * 2);
    const begin = at;
    bytes[at++] = 0;
    at = putUnsigned(bytes, at, deltaZigzag);
    at = putUnsigned(bytes, at, this.#count * 2);
    at = putBytes(bytes, at, key, keyBytes);
    at = putBytes(bytes, at, value, valueBytes);
    at = putUnsigned(bytes, at, headers.length * 2);
    for (const header of headers) {
      at = putBytes(bytes, at, header.key, Buffer.byteLength(header.key, "utf8"));
      at = putBytes(bytes, at, header.value, byteLengthOf(header.value));
    }
    assert(at - begin === body, "a record is as long as it says");
    this.#end = at;
    this.#count++;
  }

  /**
   * The batch as bytes, without producer and CRC: `stampProducer` completes it. Nothing may be added
   * afterwards. Compressed bytes are fresh; others are the ones that were filled. `isTransactional`: the
   * batch is part of its producer's transaction.
   */
  finish(codec: Codec, level?: number, isTransactional = false): Uint8Array {
    let bytes: Buffer = this.#bytes.subarray(0, this.#end);
    if (codec !== Codec.none) {
      const packed = compress(codec, bytes.subarray(BATCH_HEADER_BYTES), level);
      this.#bytes = bytes = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + packed.byteLength);
      bytes.set(packed, BATCH_HEADER_BYTES);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, BATCH_HEADER_BYTES);
    view.setBigInt64(0, 0n);
    view.setInt32(8, bytes.byteLength - BATCH_LENGTH_END);
    view.setInt32(12, -1);
    view.setInt8(16, 2);
    view.setInt16(21, isTransactional ? codec | BatchFlag.transactional : codec);
    view.setInt32(23, this.#count - 1);
    view.setBigInt64(27, BigInt(this.#baseTimestamp));
    view.setBigInt64(35, BigInt(this.#maxTimestamp));
    view.setInt32(57, this.#count);
    return bytes;
  }

  #grow(most: number): void {
    const needed = this.#end + most;
    const doubled = Math.min(this.#bytes.byteLength * growth, Math.max(this.#bytesMax, needed));
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, doubled));
    larger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = larger;
  }
}

/** Writes whose batch it is, and the CRC, which covers that. −1 for all three: nobody's (no idempotence). */
export function stampProducer(
  bytes: Uint8Array,
  id: ProducerId,
  epoch: ProducerEpoch,
  sequence: number,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, BATCH_HEADER_BYTES);
  view.setBigInt64(43, BigInt(id));
  view.setInt16(51, epoch);
  view.setInt32(53, sequence);
  BatchView.at(bytes).stampCrc();
}

function headerBytes({ key, value }: WrittenHeader): number {
  const keyBytes = Buffer.byteLength(key, "utf8");
  const valueBytes = byteLengthOf(value);
  return (
    unsignedBytes(keyBytes * 2) + keyBytes + (value === null ? 1 : unsignedBytes(valueBytes * 2) + valueBytes)
  );
}

function putBytes(into: Buffer, at: number, bytes: RecordBytes, length: number): number {
  if (bytes === null) {
    into[at] = 1;
    return at + 1;
  }
  const start = putUnsigned(into, at, length * 2);
  if (typeof bytes === "string") {
    if (length <= loopBytesMax && length === bytes.length) {
      // As many bytes as characters: all of them are ASCII.
      for (let index = 0; index < length; index++) into[start + index] = bytes.charCodeAt(index);
    } else into.write(bytes, start, length, "utf8");
  } else if (length <= loopBytesMax) {
    for (let index = 0; index < length; index++) into[start + index] = bytes[index] as number;
  } else into.set(bytes, start);
  return start + length;
}

function unsignedBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  let bytes = 4;
  for (let rest = value / 0x1000_0000; rest >= 1; rest /= 128) bytes++;
  return bytes;
}

function putUnsigned(into: Buffer, at: number, value: number): number {
  let end = at;
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) into[end++] = (rest % 128) | 0x80;
  into[end++] = rest;
  return end;
}
