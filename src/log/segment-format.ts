/**
 * The bytes of a segment object. Every checksum is CRC-32C and begins with the identity of what it
 * covers (topic id, partition, base offset), so that a section that lies at another one's place never
 * passes. All numbers are big-endian.
 *
 *   object   header, 128 bytes: magic "HFOB" uint32 · format uint16 · kind int8 · cluster id (int16 length,
 *            UTF-8) · epoch int64 · counter int64 · bytes behind the header int64 · zeros · CRC of all before it uint32
 *            then one section per partition, without gaps between them (several: a pack; one: a segment)
 *   section  a copy of the footer, so that damage at one place does not hide the records
 *            blocks: whole record batches in offset order, as they are served, nothing between them;
 *            a block ends with the batch that brings it to 64 KiB, so a larger batch is a block of its own
 *            footer (`SegmentFooter`, plain encoding of version `format`)
 *            trailer, 16 bytes: section bytes with trailer int64 · footer bytes int32 · CRC of the footer uint32
 *
 * Readers come with a reference from the journal, which repeats place, length and checksum of the footer;
 * header and trailer make an object readable without the journal, and are checked by `inspectObject` (segment-inspect.ts).
 */
import { assert } from "../base/assert.ts";
import { Reader, Writer } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import type {
  BrokerEpoch,
  LeaderEpoch,
  Offset,
  PartitionIndex,
  ProducerEpoch,
  ProducerId,
  TopicId,
} from "../base/ids.ts";
import { compile } from "../schema/compile.ts";
import {
  array,
  branded,
  type Decoded,
  int8,
  int16,
  int32,
  int64,
  string,
  struct,
  uint16,
  uint32,
  uuid,
} from "../schema/types.ts";

/** Format of sections and lists that this code writes. */
export const SEGMENT_FORMAT = 1;
const OBJECT_MAGIC = 0x48464f42;
export const objectHeaderBytes = 128;
export const trailerBytes = 16;
/** A block is closed by the batch that reaches this: what one damaged byte hides, so rather small; neighbours are read together. */
export const blockBytesTarget = 64 * 1024;

/** int8 in the header; never reused. */
export const ObjectKind = { segment: 1, list: 2 } as const;
export type ObjectKind = (typeof ObjectKind)[keyof typeof ObjectKind];

export const ObjectHeader = struct({
  magic: uint32,
  format: uint16,
  kind: branded<ObjectKind>(int8),
  clusterId: string,
  epoch: branded<BrokerEpoch>(int64),
  counter: int64,
  bodyBytes: int64,
});
export interface ObjectHeader extends Decoded<typeof ObjectHeader> {}
const objectHeaderCodec = compile(ObjectHeader, SEGMENT_FORMAT, { flexible: false });

/** What is remembered of an idempotent or transactional producer (KIP-98), exactly as of the segment's end. */
export const ProducerSnapshot = struct({
  producerId: branded<ProducerId>(int64),
  producerEpoch: branded<ProducerEpoch>(int16),
  /** Of the transaction coordinator that wrote the last marker; −1: none. */
  coordinatorEpoch: int32,
  /** Recorded time of its newest batch, ms; it expires by this. */
  lastTimestampMs: int64,
  /** How many sequence numbers up to the newest were taken without a gap: an older one among them is a retry. */
  sequenceCount: int64,
  /** First offset of its open transaction; −1: none is open. */
  openFrom: branded<Offset>(int64),
  /** Its newest batches, oldest first, so that a retry gets the first answer. */
  batches: array(
    struct({
      firstSequence: int32,
      lastSequence: int32,
      baseOffset: branded<Offset>(int64),
      lastOffset: branded<Offset>(int64),
      /** The log append time that its answer named; −1 with CreateTime. */
      timestampMs: int64,
    }),
  ),
});
export interface ProducerSnapshot extends Decoded<typeof ProducerSnapshot> {}

/**
 * An aborted transaction whose marker lies in this segment. It goes with its marker: without it a reader
 * would take the producer's next transaction for aborted, too.
 */
export const AbortedTransaction = struct({
  producerId: branded<ProducerId>(int64),
  firstOffset: branded<Offset>(int64),
  /** Offset of the abort marker. */
  lastOffset: branded<Offset>(int64),
  /** Last stable offset once the marker was applied. */
  lastStableOffset: branded<Offset>(int64),
});
export interface AbortedTransaction extends Decoded<typeof AbortedTransaction> {}

/** From `start` on, records have this leader epoch (KIP-101). */
export const EpochStart = struct({
  leaderEpoch: branded<LeaderEpoch>(int32),
  start: branded<Offset>(int64),
});
export interface EpochStart extends Decoded<typeof EpochStart> {}

/**
 * What a partition is, apart from its records, at the end of a segment. Without leader epochs only `aborted`
 * counts: compaction has cut a segment in two, and what the partition was in its middle is not known.
 */
export const FooterState = struct({
  /** The latest append time that was recorded, ms: the clock by which producers expire. */
  recordedMs: int64,
  /** In the order of their newest batches, oldest first. */
  producers: array(ProducerSnapshot),
  aborted: array(AbortedTransaction),
  /** All that the partition knows, ascending. */
  leaderEpochs: array(EpochStart),
});
export interface FooterState extends Decoded<typeof FooterState> {}

export const Block = struct({
  base: branded<Offset>(int64),
  /** Greatest maximum timestamp of its batches. */
  maxTimestamp: int64,
  /** First byte, relative to the first block's. */
  start: uint32,
  bytes: uint32,
  checksum: uint32,
});
export interface Block extends Decoded<typeof Block> {}

export const SegmentFooter = struct({
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
  /** Of the broker that wrote the object, and its number: an object's footer belongs to no other. */
  epoch: branded<BrokerEpoch>(int64),
  counter: int64,
  base: branded<Offset>(int64),
  end: branded<Offset>(int64),
  recordCount: int64,
  batchCount: int32,
  maxTimestamp: int64,
  maxTimestampOffset: branded<Offset>(int64),
  appendedFirstMs: int64,
  appendedLastMs: int64,
  /** Ascending by base and start; the sparse index of offsets and of time. */
  blocks: array(Block),
  state: FooterState,
});
export interface SegmentFooter extends Decoded<typeof SegmentFooter> {}
const footerCodec = compile(SegmentFooter, SEGMENT_FORMAT, { flexible: false });

/** Which partition bytes belong to. */
export interface SectionIdentity {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
}

/** The number that every checksum of this partition's bytes at `base` continues. */
export function checksumSeed(identity: SectionIdentity, base: Offset): number {
  const preamble = new Writer(28);
  preamble.uuid(identity.topicId);
  preamble.int32(identity.partition);
  preamble.int64(base);
  return crc32c(preamble.finishFlat());
}

/** Key of an object: sorted by author and number. A name is used for one content only. */
export function objectKey(epoch: BrokerEpoch, counter: number): string {
  return `${objectPrefix}${digits(epoch)}/${digits(counter)}`;
}
export const objectPrefix = "seg/";
const digits = (value: number): string => String(value).padStart(12, "0");

/** Author and number in a key of ours; null: not such a key. */
export function parseObjectKey(key: string): { readonly epoch: number; readonly counter: number } | null {
  const match = /^seg\/(\d{12})\/(\d{12})$/.exec(key);
  return match === null ? null : { epoch: Number(match[1]), counter: Number(match[2]) };
}

export interface ObjectOrigin {
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly counter: number;
}

export function encodeObjectHeader(origin: ObjectOrigin, kind: ObjectKind, bodyBytes: number): Uint8Array {
  const fields = new Writer(objectHeaderBytes);
  objectHeaderCodec.write(fields, {
    magic: OBJECT_MAGIC,
    format: SEGMENT_FORMAT,
    kind,
    clusterId: origin.clusterId,
    epoch: origin.epoch,
    counter: origin.counter,
    bodyBytes,
  });
  assert(fields.length <= objectHeaderBytes - 4, "a cluster id fits into an object's header");
  const header = new Uint8Array(objectHeaderBytes);
  header.set(fields.finishFlat());
  const crc = crc32c(header.subarray(0, objectHeaderBytes - 4));
  new DataView(header.buffer).setUint32(objectHeaderBytes - 4, crc);
  return header;
}

/** Throws `MalformedError`. */
export function decodeObjectHeader(bytes: Uint8Array): ObjectHeader {
  if (bytes.byteLength < objectHeaderBytes) throw new MalformedError("the object ends inside its header");
  const header = bytes.subarray(0, objectHeaderBytes);
  const reader = new Reader(header);
  const decoded = objectHeaderCodec.read(reader);
  if (decoded.magic !== OBJECT_MAGIC)
    throw new MalformedError("this is no object of ours: its magic differs");
  reader.position = objectHeaderBytes - 4;
  if (reader.uint32() !== crc32c(header.subarray(0, objectHeaderBytes - 4))) {
    throw new MalformedError("the object's header fails its checksum");
  }
  if (decoded.format !== SEGMENT_FORMAT) {
    throw new MalformedError(`format ${decoded.format} of the object is unknown here`);
  }
  return decoded;
}

export function encodeFooter(footer: SegmentFooter): {
  readonly bytes: Uint8Array;
  readonly checksum: number;
} {
  const writer = new Writer(256 + footer.blocks.length * 28);
  footerCodec.write(writer, footer);
  const bytes = writer.finishFlat();
  return { bytes, checksum: crc32c(bytes, checksumSeed(footer, footer.base)) };
}

/** Checks the bytes against `expected` and decodes them. Throws `MalformedError`. */
export function decodeFooter(
  bytes: Uint8Array,
  expected: SectionIdentity & { readonly base: Offset; readonly end: Offset; readonly checksum: number },
): SegmentFooter {
  if (crc32c(bytes, checksumSeed(expected, expected.base)) !== expected.checksum) {
    throw new MalformedError("the footer fails its checksum");
  }
  const reader = new Reader(bytes);
  const footer = footerCodec.read(reader);
  if (reader.remaining !== 0) throw new MalformedError(`${reader.remaining} bytes behind the footer's end`);
  if (
    footer.topicId !== expected.topicId ||
    footer.partition !== expected.partition ||
    footer.base !== expected.base ||
    footer.end !== expected.end
  ) {
    throw new MalformedError("the footer is that of another section");
  }
  return footer;
}

/** Where in its object a block begins. */
export function blockPosition(
  section: { readonly sectionStart: number; readonly footerBytes: number },
  block: { readonly start: number },
): number {
  return section.sectionStart + section.footerBytes + block.start;
}

/** What a footer says that it is the footer of; nothing is checked but its form. Throws `MalformedError`. */
export function peekFooter(bytes: Uint8Array): SegmentFooter {
  return footerCodec.read(new Reader(bytes));
}

export function encodeTrailer(sectionBytes: number, footerBytes: number, checksum: number): Uint8Array {
  const writer = new Writer(trailerBytes);
  writer.int64(sectionBytes);
  writer.int32(footerBytes);
  writer.uint32(checksum);
  return writer.finishFlat();
}

export function decodeTrailer(bytes: Uint8Array): {
  readonly sectionBytes: number;
  readonly footerBytes: number;
  readonly checksum: number;
} {
  const reader = new Reader(bytes);
  return { sectionBytes: reader.int64(), footerBytes: reader.int32(), checksum: reader.uint32() };
}
