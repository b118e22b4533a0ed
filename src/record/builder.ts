/**
 * Makes record batches of magic 2: for the client, for markers and for tests. What it makes passes
 * `validate.ts`, except where the caller asks for what only a broker may write (control, log append time).
 */
import { assert } from "../base/assert.ts";
import {
  leaderEpoch,
  type LeaderEpoch,
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  type Offset,
  type ProducerEpoch,
  type ProducerId,
  ZERO_OFFSET,
} from "../base/ids.ts";
import { BATCH_HEADER_BYTES, BATCH_LENGTH_END, BatchFlag, BatchView, Codec } from "./batch.ts";
import { compress } from "./compression.ts";
import { type RecordFields, recordBytes, type RecordHeader, writeRecord } from "./record.ts";

/** A record as its author gives it. A string becomes UTF-8. */
export interface NewRecord {
  readonly key?: Uint8Array | string | null;
  readonly value?: Uint8Array | string | null;
  readonly headers?: readonly RecordHeader[];
  /** Ms since 1970; −1 (the default): none. */
  readonly timestamp?: number;
  /** Where it lies in the batch; the default is behind the one before. Compaction leaves gaps. */
  readonly offsetDelta?: number;
}

export interface BatchFields {
  readonly codec?: Codec;
  /** Of the codec's own scale; see `compress`. */
  readonly level?: number;
  readonly baseOffset?: Offset;
  readonly leaderEpoch?: LeaderEpoch;
  readonly producerId?: ProducerId;
  readonly producerEpoch?: ProducerEpoch;
  readonly baseSequence?: number;
  readonly isTransactional?: boolean;
  readonly isControl?: boolean;
  /** Sets the timestamp type to LogAppendTime and the time of all records. */
  readonly logAppendTimeMs?: number;
  /** `baseTimestamp` is when compaction may drop the batch's tombstones and markers (KIP-534). */
  readonly hasDeleteHorizon?: boolean;
  /** Beyond the last record's when compaction removed the end of the batch. */
  readonly lastOffsetDelta?: number;
}

/** The header around records that are already written and compressed. */
export interface BatchHeader extends BatchFields {
  readonly recordCount: number;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
}

/** Collects records one by one, as a producer does. */
export class BatchBuilder {
  #buffer = Buffer.allocUnsafe(512);
  #end = 0;
  #count = 0;
  #lastOffsetDelta = -1;
  #baseTimestamp = -1;
  #maxTimestamp = -1;

  get recordCount(): number {
    return this.#count;
  }
  /** Bytes of the batch without compression. */
  get bytes(): number {
    return BATCH_HEADER_BYTES + this.#end;
  }

  /** Returns the record's offset delta. */
  append(record: NewRecord): number {
    const timestamp = record.timestamp ?? -1;
    if (this.#count === 0) this.#baseTimestamp = timestamp;
    const offsetDelta = record.offsetDelta ?? this.#lastOffsetDelta + 1;
    assert(offsetDelta > this.#lastOffsetDelta, "offset deltas rise within a batch");
    const fields: RecordFields = {
      timestampDelta: timestamp - this.#baseTimestamp,
      offsetDelta,
      key: bytesOf(record.key),
      value: bytesOf(record.value),
      headers: record.headers ?? [],
    };
    this.#reserve(recordBytes(fields));
    this.#end = writeRecord(this.#buffer, this.#end, fields);
    this.#count++;
    this.#lastOffsetDelta = offsetDelta;
    this.#maxTimestamp = Math.max(this.#maxTimestamp, timestamp);
    return offsetDelta;
  }

  /** The batch as fresh bytes; the builder can go on. */
  build(fields: BatchFields = {}): Uint8Array {
    return wrapRecords(this.#buffer.subarray(0, this.#end), {
      recordCount: this.#count,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
      ...fields,
      lastOffsetDelta: fields.lastOffsetDelta ?? this.#lastOffsetDelta,
    });
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#buffer.byteLength) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.byteLength * 2));
    larger.set(this.#buffer.subarray(0, this.#end));
    this.#buffer = larger;
  }
}

/** A whole batch in one call. */
export function buildBatch(records: readonly NewRecord[], fields: BatchFields = {}): Uint8Array {
  const builder = new BatchBuilder();
  for (const record of records) builder.append(record);
  return builder.build(fields);
}

/** Compresses `payload`, records as they lie in a batch, and puts a header with its CRC before them. */
export function wrapRecords(payload: Uint8Array, header: BatchHeader): Uint8Array {
  const codec = header.codec ?? Codec.none;
  const records = compress(codec, payload, header.level);
  const bytes = Buffer.allocUnsafe(BATCH_HEADER_BYTES + records.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setBigInt64(0, BigInt(header.baseOffset ?? ZERO_OFFSET));
  view.setInt32(8, bytes.byteLength - BATCH_LENGTH_END);
  view.setInt32(12, header.leaderEpoch ?? leaderEpoch(-1));
  view.setInt8(16, 2);
  let attributes: number = codec;
  if (header.logAppendTimeMs !== undefined) attributes |= BatchFlag.logAppendTime;
  if (header.isTransactional === true) attributes |= BatchFlag.transactional;
  if (header.isControl === true) attributes |= BatchFlag.control;
  if (header.hasDeleteHorizon === true) attributes |= BatchFlag.deleteHorizon;
  view.setInt16(21, attributes);
  view.setInt32(23, header.lastOffsetDelta);
  view.setBigInt64(27, BigInt(header.baseTimestamp));
  view.setBigInt64(35, BigInt(header.logAppendTimeMs ?? header.maxTimestamp));
  view.setBigInt64(43, BigInt(header.producerId ?? NO_PRODUCER));
  view.setInt16(51, header.producerEpoch ?? NO_PRODUCER_EPOCH);
  view.setInt32(53, header.baseSequence ?? -1);
  view.setInt32(57, header.recordCount);
  bytes.set(records, BATCH_HEADER_BYTES);
  BatchView.at(bytes).stampCrc();
  return bytes;
}

function bytesOf(value: Uint8Array | string | null | undefined): Uint8Array | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? Buffer.from(value, "utf8") : value;
}
