/**
 * One record as a consumer hands it out. Key, value and headers are cut out of the batch when they are
 * first asked for, so that a loop that counts pays for nothing else. They share memory with the answer
 * they came in: who keeps a few of many records for long copies them (`Buffer.from(record.value)`), or
 * each keeps its whole answer alive.
 */
import type { Offset } from "../base/ids.ts";
import { headersAt, type RecordCursor } from "../record/record.ts";

export interface IncomingHeader {
  readonly key: string;
  readonly value: Buffer | null;
}

const noHeaders: readonly IncomingHeader[] = Object.freeze([]);

export class IncomingRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Ms since 1970: the producer's clock, or the broker's where the topic says LogAppendTime; −1: none. */
  readonly timestampMs: number;
  readonly #payload: Buffer;
  readonly #keyStart: number;
  readonly #keyLength: number;
  readonly #valueStart: number;
  readonly #valueLength: number;
  readonly #headersStart: number;
  readonly #headerCount: number;
  #key: Buffer | null | undefined = undefined;
  #value: Buffer | null | undefined = undefined;
  #headers: readonly IncomingHeader[] | undefined = undefined;

  /** The record that `cursor` stands on; it walks over `payload`. */
  constructor(
    topic: string,
    partition: number,
    place: { readonly offset: Offset; readonly timestampMs: number },
    payload: Buffer,
    cursor: RecordCursor,
  ) {
    this.topic = topic;
    this.partition = partition;
    this.offset = place.offset;
    this.timestampMs = place.timestampMs;
    this.#payload = payload;
    this.#keyStart = cursor.keyStart;
    this.#keyLength = cursor.keyLength;
    this.#valueStart = cursor.valueStart;
    this.#valueLength = cursor.valueLength;
    this.#headersStart = cursor.headersStart;
    this.#headerCount = cursor.headerCount;
  }

  get key(): Buffer | null {
    return (this.#key ??= this.#slice(this.#keyStart, this.#keyLength));
  }

  /** Null: a tombstone, which deletes the key in a compacted topic. */
  get value(): Buffer | null {
    return (this.#value ??= this.#slice(this.#valueStart, this.#valueLength));
  }

  /** In the order they were sent; a key may come more than once. */
  get headers(): readonly IncomingHeader[] {
    if (this.#headerCount === 0) return noHeaders;
    this.#headers ??= headersAt(this.#payload, this.#headersStart, this.#headerCount) as IncomingHeader[];
    return this.#headers;
  }

  /** Bytes of key and value. */
  get sizeInBytes(): number {
    return Math.max(0, this.#keyLength) + Math.max(0, this.#valueLength);
  }

  #slice(start: number, length: number): Buffer | null {
    return length < 0 ? null : this.#payload.subarray(start, start + length);
  }

  /** What can be seen of it in a log: bytes as text. */
  toJSON(): unknown {
    const { topic, partition, offset, timestampMs, key, value, headers } = this;
    const text = (bytes: Buffer | null): string | null => bytes?.toString("utf8") ?? null;
    return {
      topic,
      partition,
      offset,
      timestampMs,
      key: text(key),
      value: text(value),
      headers: headers.map((header) => ({ key: header.key, value: text(header.value) })),
    };
  }

  /** How `console.log` shows it. */
  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toJSON();
  }
}
