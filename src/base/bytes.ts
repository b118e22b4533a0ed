/**
 * Reading and writing bytes, big-endian as Kafka has them. A `Reader` never believes a length: whatever
 * it claims must already have arrived, so a hostile length costs an error and no memory. A `Writer`
 * collects small fields in a buffer of its own and takes large byte strings by reference.
 */
import { MalformedError } from "./errors.ts";
import { type TopicId, topicIdFromBytes } from "./ids.ts";

const TWO_32 = 0x1_0000_0000;

export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  position: number;
  /** How many array elements and unknown tags may still be read. A byte on the wire can become an object of a hundred: this bounds the sum. */
  elementsLeft = Infinity;
  /** How many bytes of strings may still be read: text is copied, checked and echoed, where bytes are passed on. */
  textBytesLeft = Infinity;

  constructor(bytes: Uint8Array, position = 0) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
  }

  get remaining(): number {
    return this.bytes.byteLength - this.position;
  }

  /** Moves past `length` bytes and returns where they began. */
  skip(length: number): number {
    const at = this.position;
    if (length < 0 || length > this.bytes.byteLength - at) {
      throw new MalformedError(`${length} bytes claimed at ${at}, ${this.bytes.byteLength - at} are there`);
    }
    this.position = at + length;
    return at;
  }

  /** Takes `count` from what `elementsLeft` allows. */
  countElements(count: number): void {
    this.elementsLeft -= count;
    if (this.elementsLeft < 0) throw new MalformedError(`too many elements before byte ${this.position}`);
  }

  int8(): number {
    return this.#view.getInt8(this.skip(1));
  }
  uint8(): number {
    return this.#view.getUint8(this.skip(1));
  }
  int16(): number {
    return this.#view.getInt16(this.skip(2));
  }
  uint16(): number {
    return this.#view.getUint16(this.skip(2));
  }
  int32(): number {
    return this.#view.getInt32(this.skip(4));
  }
  uint32(): number {
    return this.#view.getUint32(this.skip(4));
  }
  /** int64 as a number; one that a number cannot hold exactly is refused. */
  int64(): number {
    const at = this.skip(8);
    const value = this.#view.getInt32(at) * TWO_32 + this.#view.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) throw new MalformedError(`int64 at ${at} is beyond 2^53`);
    return value;
  }
  bigint64(): bigint {
    return this.#view.getBigInt64(this.skip(8));
  }
  float64(): number {
    return this.#view.getFloat64(this.skip(8));
  }
  /** Unsigned LEB128, at most 5 bytes and 32 bits. */
  uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.uint8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value >= TWO_32) break;
        return value;
      }
    }
    throw new MalformedError(`varint before ${this.position} is longer than 32 bits`);
  }
  /** Zigzag, 32 bits. */
  varint(): number {
    const raw = this.uvarint();
    return (raw >>> 1) ^ -(raw & 1);
  }
  /** Zigzag, 64 bits; beyond 2^53 is refused. */
  varlong(): number {
    let raw = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.uint8();
      raw |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        const value = Number((raw >> 1n) ^ -(raw & 1n));
        if (!Number.isSafeInteger(value)) throw new MalformedError("varlong is beyond 2^53");
        return value;
      }
    }
    throw new MalformedError(`varlong before ${this.position} is longer than 64 bits`);
  }
  uuid(): TopicId {
    return topicIdFromBytes(this.bytes, this.skip(16));
  }
  /** A view, not a copy. */
  take(length: number): Uint8Array {
    const at = this.skip(length);
    return this.bytes.subarray(at, at + length);
  }
  utf8(length: number): string {
    const at = this.skip(length);
    this.textBytesLeft -= length;
    if (this.textBytesLeft < 0) throw new MalformedError(`too much text before byte ${this.position}`);
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + at, length).toString("utf8");
  }
}

/** Shorter byte strings are copied: one more chunk costs more than they do. */
const referenceBytesMin = 1024;

export class Writer {
  #scratch: Buffer;
  #view: DataView;
  /** Begin of the part of the scratch buffer that no chunk names yet. */
  #begin = 0;
  #end = 0;
  #finishedBytes = 0;
  readonly #chunks: Uint8Array[] = [];

  constructor(sizeHint = 256) {
    this.#scratch = Buffer.allocUnsafe(sizeHint);
    this.#view = new DataView(this.#scratch.buffer, this.#scratch.byteOffset, sizeHint);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#finishedBytes + this.#end - this.#begin;
  }

  #room(bytes: number): number {
    const at = this.#end;
    if (at + bytes > this.#scratch.byteLength) {
      const pending = this.#scratch.subarray(this.#begin, at);
      const size = Math.max(this.#scratch.byteLength * 2, pending.byteLength + bytes);
      this.#scratch = Buffer.allocUnsafe(size);
      this.#scratch.set(pending);
      this.#view = new DataView(this.#scratch.buffer, this.#scratch.byteOffset, size);
      this.#begin = 0;
      this.#end = pending.byteLength + bytes;
      return pending.byteLength;
    }
    this.#end = at + bytes;
    return at;
  }

  int8(value: number): void {
    const at = this.#room(1);
    this.#view.setInt8(at, value);
  }
  int16(value: number): void {
    const at = this.#room(2);
    this.#view.setInt16(at, value);
  }
  int32(value: number): void {
    const at = this.#room(4);
    this.#view.setInt32(at, value);
  }
  uint32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
  }
  int64(value: number): void {
    const at = this.#room(8);
    const high = Math.floor(value / TWO_32);
    this.#view.setInt32(at, high);
    this.#view.setUint32(at + 4, value - high * TWO_32);
  }
  bigint64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigInt64(at, value);
  }
  float64(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value);
  }
  uvarint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.int8((rest & 0x7f) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.int8(rest);
  }
  varint(value: number): void {
    this.uvarint(((value << 1) ^ (value >> 31)) >>> 0);
  }
  varlong(value: number): void {
    let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
    while (rest > 0x7fn) {
      this.int8(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.int8(Number(rest));
  }
  uuid(id: TopicId): void {
    const at = this.#room(16);
    this.#scratch.write(id, at, 16, "base64url");
  }
  utf8(text: string, byteLength: number): void {
    const at = this.#room(byteLength);
    this.#scratch.write(text, at, byteLength, "utf8");
  }
  /** Long ones are kept by reference and must not change until the result has left. */
  raw(bytes: Uint8Array): void {
    if (bytes.byteLength < referenceBytesMin) {
      const at = this.#room(bytes.byteLength);
      this.#scratch.set(bytes, at);
      return;
    }
    this.#closeChunk();
    this.#chunks.push(bytes);
    this.#finishedBytes += bytes.byteLength;
  }

  #closeChunk(): void {
    if (this.#end === this.#begin) return;
    const chunk = this.#scratch.subarray(this.#begin, this.#end);
    this.#chunks.push(chunk);
    this.#finishedBytes += chunk.byteLength;
    this.#begin = this.#end;
  }

  /** The written bytes in order. Nothing may be written afterwards. */
  finish(): Uint8Array[] {
    this.#closeChunk();
    return this.#chunks;
  }

  /** The written bytes as one array. */
  finishFlat(): Uint8Array {
    const chunks = this.finish();
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : concatBytes(chunks);
  }
}

export function utf8Length(text: string): number {
  return Buffer.byteLength(text, "utf8");
}

export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const chunk of chunks) length += chunk.byteLength;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  return Buffer.compare(a, b) === 0;
}
