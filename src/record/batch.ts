/**
 * A view over one record batch of magic 2, the unit in which records are sent, stored and fetched
 * (KIP-98). It reads the 61 bytes of the header where they lie and writes only what a broker stamps;
 * it copies nothing and never looks at a record. The bytes, all big-endian:
 *
 *     0 baseOffset int64 · 8 batchLength int32 (bytes behind it) · 12 leaderEpoch int32 · 16 magic int8
 *    17 crc uint32 (CRC32C of all that follows it) · 21 attributes int16 · 23 lastOffsetDelta int32
 *    27 baseTimestamp int64 · 35 maxTimestamp int64 · 43 producerId int64 · 51 producerEpoch int16
 *    53 baseSequence int32 · 57 recordCount int32 · 61 records, compressed as the attributes say
 *
 *    attributes: bits 0–2 codec · 3 log append time · 4 transactional · 5 control · 6 delete horizon
 *
 * Base offset, length, leader epoch and magic are outside the CRC, so a broker assigns offsets without
 * touching it. int64 fields are numbers: one beyond 2^53 comes out inexact, which `validate.ts` refuses
 * before anything is stored.
 */
import { crc32c, crc32cJoin } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import {
  leaderEpoch,
  type LeaderEpoch,
  offset,
  type Offset,
  producerEpoch,
  type ProducerEpoch,
  producerId,
  type ProducerId,
} from "../base/ids.ts";

/** Bytes before the first record. */
export const BATCH_HEADER_BYTES = 61;
/** Base offset and length: the bytes that `batchLength` does not count. */
export const BATCH_LENGTH_END = 12;
/** Where the CRC begins; it covers everything from `BATCH_CRC_END`. */
export const BATCH_CRC_START = 17;
export const BATCH_CRC_END = 21;
const MAGIC_AT = 16;

const TWO_32 = 0x1_0000_0000;
/** Sequence numbers run from 0 to 2^31 − 1 and then begin again at 0. */
const SEQUENCE_COUNT = 0x8000_0000;

/** Kafka's number of each codec, by name. */
export const Codec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
export type Codec = (typeof Codec)[keyof typeof Codec];

/** Bits of `attributes` above the codec. */
export const BatchFlag = { logAppendTime: 8, transactional: 16, control: 32, deleteHorizon: 64 } as const;

export function isKnownCodec(codec: number): codec is Codec {
  return codec >= Codec.none && codec <= Codec.zstd;
}

/** The sequence `count` records after `first`; wraps to 0 behind 2^31 − 1. `first` is not negative. */
export function advanceSequence(first: number, count: number): number {
  return (first + count) % SEQUENCE_COUNT;
}

function int32At(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

function int16At(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) << 24) >> 16) | (bytes[at + 1] as number);
}

function int64At(bytes: Uint8Array, at: number): number {
  return int32At(bytes, at) * TWO_32 + (int32At(bytes, at + 4) >>> 0);
}

function putInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function putInt64(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  putInt32(bytes, at, high);
  putInt32(bytes, at + 4, value - high * TWO_32);
}

/** From here on joining two checksums is quicker than reading the bytes. */
const joinedBytesMin = 32 * 1024;

/** Bytes of the batch that begins at `at`, as its header claims; `undefined` when not even that has arrived. */
export function claimedBatchBytes(bytes: Uint8Array, at: number): number | undefined {
  if (bytes.byteLength - at < BATCH_LENGTH_END) return undefined;
  return BATCH_LENGTH_END + int32At(bytes, at + 8);
}

export class BatchView {
  /** Exactly this batch; shares memory with what it was made from. */
  readonly bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /**
   * The batch that begins at `at`; bytes behind it are left alone. Checks that the whole of it is there
   * and that its magic is 2, nothing else. Throws `MalformedError`.
   */
  static at(bytes: Uint8Array, at = 0): BatchView {
    const size = claimedBatchBytes(bytes, at);
    const there = bytes.byteLength - at;
    if (size === undefined || there < BATCH_HEADER_BYTES) {
      throw new MalformedError(
        `a record batch at ${at} needs ${BATCH_HEADER_BYTES} bytes, ${there} are there`,
      );
    }
    if (bytes[at + MAGIC_AT] !== 2) {
      throw new MalformedError(`a record batch at ${at} has magic ${bytes[at + MAGIC_AT]}, not 2`);
    }
    if (size < BATCH_HEADER_BYTES || size > there) {
      throw new MalformedError(`a record batch at ${at} claims ${size} bytes, ${there} are there`);
    }
    return new BatchView(at === 0 && size === there ? bytes : bytes.subarray(at, at + size));
  }

  get sizeInBytes(): number {
    return this.bytes.byteLength;
  }
  get baseOffset(): Offset {
    return offset(int64At(this.bytes, 0));
  }
  /** Inclusive; also counts records that compaction has removed. */
  get lastOffset(): Offset {
    return offset(this.baseOffset + this.lastOffsetDelta);
  }
  /** The offset behind the batch. */
  get nextOffset(): Offset {
    return offset(this.baseOffset + this.lastOffsetDelta + 1);
  }
  get leaderEpoch(): LeaderEpoch {
    return leaderEpoch(int32At(this.bytes, 12));
  }
  get crc(): number {
    return int32At(this.bytes, BATCH_CRC_START) >>> 0;
  }
  get attributes(): number {
    return int16At(this.bytes, 21);
  }
  /** 0 to 7; 5 to 7 are no codec (`isKnownCodec`). */
  get codec(): number {
    return (this.bytes[22] as number) & 7;
  }
  /** The broker's clock set `maxTimestamp`, and it is the time of every record in the batch. */
  get isLogAppendTime(): boolean {
    return ((this.bytes[22] as number) & BatchFlag.logAppendTime) !== 0;
  }
  get isTransactional(): boolean {
    return ((this.bytes[22] as number) & BatchFlag.transactional) !== 0;
  }
  get isControl(): boolean {
    return ((this.bytes[22] as number) & BatchFlag.control) !== 0;
  }
  /** `baseTimestamp` is when compaction may drop the batch's tombstones and markers (KIP-534). */
  get hasDeleteHorizon(): boolean {
    return ((this.bytes[22] as number) & BatchFlag.deleteHorizon) !== 0;
  }
  get lastOffsetDelta(): number {
    return int32At(this.bytes, 23);
  }
  /** Ms since 1970, what the records' timestamps are relative to: the first one's, unless there is a delete horizon. −1: none. */
  get baseTimestamp(): number {
    return int64At(this.bytes, 27);
  }
  /** Ms since 1970; −1: none. */
  get maxTimestamp(): number {
    return int64At(this.bytes, 35);
  }
  /** −1: none. */
  get producerId(): ProducerId {
    return producerId(int64At(this.bytes, 43));
  }
  get hasProducer(): boolean {
    return int32At(this.bytes, 43) >= 0;
  }
  get producerEpoch(): ProducerEpoch {
    return producerEpoch(int16At(this.bytes, 51));
  }
  /** −1: none. */
  get baseSequence(): number {
    return int32At(this.bytes, 53);
  }
  /** Of the last offset in the batch; −1: none. */
  get lastSequence(): number {
    const first = this.baseSequence;
    return first < 0 ? -1 : advanceSequence(first, this.lastOffsetDelta);
  }
  /** Records that are there; fewer than the offsets after compaction, and 0 is possible then. */
  get recordCount(): number {
    return int32At(this.bytes, 57);
  }
  /** The records, compressed as `codec` says. */
  get payload(): Uint8Array {
    return this.bytes.subarray(BATCH_HEADER_BYTES);
  }

  /** CRC32C of the bytes as they are now. */
  computeCrc(): number {
    return crc32c(this.bytes.subarray(BATCH_CRC_END));
  }
  isIntact(): boolean {
    return this.crc === this.computeCrc();
  }
  /**
   * CRC32C of the whole batch, when it is known to be intact: of a long one only the header is read, since
   * the batch's own CRC tells the rest.
   */
  checksumIfIntact(): number {
    const { bytes } = this;
    if (bytes.byteLength < joinedBytesMin) return crc32c(bytes);
    return crc32cJoin(crc32c(bytes.subarray(0, BATCH_CRC_END)), this.crc, bytes.byteLength - BATCH_CRC_END);
  }

  /** What the broker assigns on append; the CRC does not cover it. */
  stampOffsets(baseOffset: Offset, epoch: LeaderEpoch): void {
    putInt64(this.bytes, 0, baseOffset);
    putInt32(this.bytes, 12, epoch);
  }

  /**
   * `message.timestamp.type=LogAppendTime`: every record of the batch was created at `ms`. Records and
   * base timestamp stay as they are; readers look at the flag. Computes the CRC again.
   */
  stampLogAppendTime(ms: number): void {
    this.bytes[22] = (this.bytes[22] as number) | BatchFlag.logAppendTime;
    this.stampMaxTimestamp(ms);
  }

  /** Corrects the maximum timestamp and computes the CRC again. */
  stampMaxTimestamp(ms: number): void {
    putInt64(this.bytes, 35, ms);
    this.stampCrc();
  }

  /** After any other change behind the CRC. */
  stampCrc(): void {
    putInt32(this.bytes, BATCH_CRC_START, this.computeCrc());
  }
}

/** The batches of a byte string that consists of whole ones. Throws `MalformedError` at the first that is not. */
export function* batchesIn(bytes: Uint8Array): Generator<BatchView, void, void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const batch = BatchView.at(bytes, at);
    yield batch;
    at += batch.sizeInBytes;
  }
}

/**
 * The whole batches of a fetch answer, which a broker may cut anywhere: what is left behind the last
 * whole one is passed over. Throws `MalformedError` at a batch that is there and not of magic 2.
 */
export function* wholeBatchesIn(bytes: Uint8Array): Generator<BatchView, void, void> {
  const end = wholeBatchBytes(bytes);
  for (let at = 0; at < end; ) {
    const batch = BatchView.at(bytes, at);
    yield batch;
    at += batch.sizeInBytes;
  }
}

/** How many of the bytes, from the first, are whole batches. A length no batch can have throws `MalformedError`. */
export function wholeBatchBytes(bytes: Uint8Array): number {
  let at = 0;
  for (;;) {
    const size = claimedBatchBytes(bytes, at);
    if (size === undefined) return at;
    if (size < BATCH_HEADER_BYTES) throw new MalformedError(`a record batch at ${at} claims ${size} bytes`);
    if (size > bytes.byteLength - at) return at;
    at += size;
  }
}
