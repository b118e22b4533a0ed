/**
 * Single records inside a batch of magic 2: read with a cursor that copies nothing and believes no
 * length, and written into a buffer. Whoever only passes batches on must not come here. A record, where
 * `varint` is zigzag of 32 bits and `varlong` of 64:
 *
 *     length varint (of what follows) · attributes int8 (unused) · timestampDelta varlong · offsetDelta varint
 *     keyLength varint (−1: null) · key · valueLength varint (−1: null) · value
 *     headerCount varint, then each: keyLength varint · key (UTF-8) · valueLength varint (−1: null) · value
 */
import { Reader } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { offset, type Offset } from "../base/ids.ts";
import { type BatchView, Codec, isKnownCodec } from "./batch.ts";
import { decompress } from "./compression.ts";

export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** A record with its place and time worked out. The byte strings share memory with the inflated batch. */
export interface BatchRecord {
  readonly offset: Offset;
  /** Ms since 1970; −1: none. With log append time, the batch's. */
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/**
 * Walks over records, decoding the lengths of each and nothing else. Call `next` and read the fields of
 * the record it moved to; `key`, `value` and `headers` are made when asked for.
 */
export class RecordCursor {
  readonly #bytes: Uint8Array;
  readonly #count: number;
  #index = -1;
  #at = 0;
  #start = 0;
  #fieldsStart = 0;
  /** End of the current record. */
  #end = 0;
  #keyStart = 0;
  #keyLength = -1;
  #valueStart = 0;
  #valueLength = -1;
  #headersStart = 0;
  #headerCount = 0;
  timestampDelta = 0;
  offsetDelta = 0;

  /** `payload`: the records after inflation. `count`: how many the batch's header promises. */
  constructor(payload: Uint8Array, count: number) {
    if (count < 0) throw new MalformedError(`a batch counts ${count} records`);
    this.#bytes = payload;
    this.#count = count;
  }

  /** How many records the batch promised. */
  get count(): number {
    return this.#count;
  }
  /** 0 for the first record. */
  get index(): number {
    return this.#index;
  }

  /**
   * Moves to the next record; false behind the last. Throws `MalformedError` when a record's lengths do
   * not add up, when fewer are there than promised, or when bytes are left behind the last.
   */
  next(): boolean {
    this.#at = this.#end;
    if (this.#index + 1 >= this.#count) {
      const left = this.#bytes.byteLength - this.#at;
      if (left !== 0) throw new MalformedError(`${left} bytes behind the last of ${this.#count} records`);
      return false;
    }
    this.#index++;
    this.#start = this.#at;
    this.#end = this.#bytes.byteLength;
    const length = this.#varint();
    if (length < 0 || length > this.#end - this.#at) {
      throw this.#malformed(`claims ${length} bytes, ${this.#end - this.#at} are there`);
    }
    this.#end = this.#at + length;
    this.#at++;
    this.timestampDelta = this.#varlong();
    this.offsetDelta = this.#varint();
    this.#fieldsStart = this.#at;
    this.#keyLength = this.#length("key");
    this.#keyStart = this.#at;
    this.#skip(this.#keyLength);
    this.#valueLength = this.#length("value");
    this.#valueStart = this.#at;
    this.#skip(this.#valueLength);
    this.#headerCount = this.#varint();
    this.#headersStart = this.#at;
    this.#skipHeaders();
    return true;
  }

  /** Where the current record lies in the payload, its length included. */
  get start(): number {
    return this.#start;
  }
  get end(): number {
    return this.#end;
  }
  /** Where what stands behind its two deltas begins: key, value and headers. */
  get fieldsStart(): number {
    return this.#fieldsStart;
  }
  get hasKey(): boolean {
    return this.#keyLength >= 0;
  }
  /** Where the current record's fields lie in the payload, for whoever slices later; a length of −1 is null. */
  get keyStart(): number {
    return this.#keyStart;
  }
  get keyLength(): number {
    return this.#keyLength;
  }
  get valueStart(): number {
    return this.#valueStart;
  }
  get valueLength(): number {
    return this.#valueLength;
  }
  get headersStart(): number {
    return this.#headersStart;
  }
  get headerCount(): number {
    return this.#headerCount;
  }
  get key(): Uint8Array | null {
    return this.#slice(this.#keyStart, this.#keyLength);
  }
  get value(): Uint8Array | null {
    return this.#slice(this.#valueStart, this.#valueLength);
  }
  get headers(): RecordHeader[] {
    return headersAt(this.#bytes, this.#headersStart, this.#headerCount);
  }

  #skipHeaders(): void {
    if (this.#headerCount < 0) throw this.#malformed(`claims ${this.#headerCount} headers`);
    // A claim of too many ends where the bytes do, since each takes two at least.
    for (let left = this.#headerCount; left > 0; left--) {
      const keyLength = this.#length("header key");
      if (keyLength < 0) throw this.#malformed("has a header without a key");
      this.#skip(keyLength);
      this.#skip(this.#length("header value"));
    }
    if (this.#at !== this.#end)
      throw this.#malformed(`is ${this.#end - this.#at} bytes longer than its fields`);
  }

  #slice(start: number, length: number): Uint8Array | null {
    return length < 0 ? null : this.#bytes.subarray(start, start + length);
  }

  /** −1 or a length that is there. */
  #length(what: string): number {
    const length = this.#varint();
    if (length < -1 || length > this.#end - this.#at)
      throw this.#malformed(`claims ${length} bytes of ${what}`);
    return length;
  }

  #skip(length: number): void {
    if (length > 0) this.#at += length;
  }

  #varint(): number {
    const raw = this.#unsigned(5);
    if (raw > 0xffff_ffff) throw this.#malformed("has a varint of more than 32 bits");
    return (raw >>> 1) ^ -(raw & 1);
  }

  #varlong(): number {
    const raw = this.#unsigned(10);
    if (raw > Number.MAX_SAFE_INTEGER) throw this.#malformed("has a varlong beyond 2^52");
    return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
  }

  #unsigned(bytesMax: number): number {
    const bytes = this.#bytes;
    let value = 0;
    let factor = 1;
    for (const limit = Math.min(this.#end, this.#at + bytesMax); this.#at < limit; factor *= 128) {
      const byte = bytes[this.#at++] as number;
      if (byte < 0x80) return value + byte * factor;
      value += (byte & 0x7f) * factor;
    }
    throw this.#malformed("has a varint without an end");
  }

  #malformed(what: string): MalformedError {
    return new MalformedError(`record ${this.#index} at ${this.#at} ${what}`);
  }
}

/** The headers of a record that a cursor has passed over; `at` and `count` are what it said of them. */
export function headersAt(payload: Uint8Array, at: number, count: number): RecordHeader[] {
  const headers: RecordHeader[] = [];
  if (count === 0) return headers;
  const reader = new Reader(payload, at);
  for (let left = count; left > 0; left--) {
    const key = reader.utf8(reader.varint());
    const valueLength = reader.varint();
    headers.push({ key, value: valueLength < 0 ? null : reader.take(valueLength) });
  }
  return headers;
}

/**
 * The batch's records, inflated. Shares memory with the batch when it is not compressed. Throws
 * `MalformedError`, or `InflationError` when there would be more than `inflatedBytesMax`.
 */
export function inflatedPayload(batch: BatchView, inflatedBytesMax: number): Uint8Array {
  const codec = batch.codec;
  if (!isKnownCodec(codec)) throw new MalformedError(`codec ${codec} is unknown`);
  return codec === Codec.none ? batch.payload : decompress(codec, batch.payload, inflatedBytesMax);
}

/** Every record of a batch, in order. Throws as `inflatedPayload` and `RecordCursor.next` do. */
export function* recordsIn(batch: BatchView, inflatedBytesMax: number): Generator<BatchRecord, void, void> {
  const cursor = new RecordCursor(inflatedPayload(batch, inflatedBytesMax), batch.recordCount);
  const baseOffset = batch.baseOffset;
  const timestampOf = recordTimestamps(batch);
  while (cursor.next()) {
    const { key, value, headers } = cursor;
    yield {
      offset: offset(baseOffset + cursor.offsetDelta),
      timestamp: timestampOf(cursor.timestampDelta),
      key,
      value,
      headers,
    };
  }
}

/** How a record's delta becomes its time; with log append time the whole batch has one. */
export function recordTimestamps(batch: BatchView): (delta: number) => number {
  const { baseTimestamp, maxTimestamp } = batch;
  return batch.isLogAppendTime ? () => maxTimestamp : (delta) => baseTimestamp + delta;
}

/** What `writeRecord` writes. */
export interface RecordFields {
  readonly timestampDelta: number;
  readonly offsetDelta: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** Bytes that a record takes, its own length included. */
export function recordBytes(record: RecordFields): number {
  const body = recordBodyBytes(record);
  return varintBytes(body) + body;
}

function recordBodyBytes(record: RecordFields): number {
  let bytes = 1 + varlongBytes(record.timestampDelta) + varintBytes(record.offsetDelta);
  bytes += stringBytes(record.key) + stringBytes(record.value) + varintBytes(record.headers.length);
  for (const header of record.headers) {
    const keyBytes = Buffer.byteLength(header.key, "utf8");
    bytes += varintBytes(keyBytes) + keyBytes + stringBytes(header.value);
  }
  return bytes;
}

function stringBytes(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintBytes(bytes.byteLength) + bytes.byteLength;
}

/** Writes `recordBytes(record)` bytes at `at` and returns where they end. There must be room. */
export function writeRecord(into: Buffer, at: number, record: RecordFields): number {
  let end = putVarint(into, at, recordBodyBytes(record));
  into[end++] = 0;
  end = putVarlong(into, end, record.timestampDelta);
  end = putVarint(into, end, record.offsetDelta);
  end = putBytes(into, end, record.key);
  end = putBytes(into, end, record.value);
  end = putVarint(into, end, record.headers.length);
  for (const header of record.headers) {
    end = putVarint(into, end, Buffer.byteLength(header.key, "utf8"));
    end += into.write(header.key, end, "utf8");
    end = putBytes(into, end, header.value);
  }
  return end;
}

function putBytes(into: Buffer, at: number, bytes: Uint8Array | null): number {
  if (bytes === null) return putVarint(into, at, -1);
  const start = putVarint(into, at, bytes.byteLength);
  into.set(bytes, start);
  return start + bytes.byteLength;
}

/** `value` is an int32. */
export function varintBytes(value: number): number {
  return unsignedBytes(((value << 1) ^ (value >> 31)) >>> 0);
}

/** `value` lies within ±2^52. */
export function varlongBytes(value: number): number {
  return unsignedBytes(zigzag(value));
}

/** Writes an int32 at `at` and returns where it ends. There must be room: five bytes at most. */
export function putVarint(into: Uint8Array, at: number, value: number): number {
  return putUnsigned(into, at, ((value << 1) ^ (value >> 31)) >>> 0);
}

/** `value` lies within ±2^52; ten bytes at most. */
export function putVarlong(into: Uint8Array, at: number, value: number): number {
  return putUnsigned(into, at, zigzag(value));
}

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

function unsignedBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

function putUnsigned(into: Uint8Array, at: number, value: number): number {
  let end = at;
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) into[end++] = (rest % 128) | 0x80;
  into[end++] = rest;
  return end;
}
