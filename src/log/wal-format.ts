/**
 * The bytes of the file WAL. A file is `wal/<epoch>/<k>.log`, in blocks of 4 KiB, big-endian:
 *
 *     block 0   file header: magic, CRC32C of the rest, length, {format, origin, epoch, k, salt, base, cluster id}
 *     block 1   the same again
 *     block 2…  frames, each from a block boundary to a block boundary, padded with zeros
 *
 *     frame     header (88 bytes)  · see FRAME below
 *               index              · one row of 71 bytes per entry, see `IndexRow`
 *               copy               · the index of the previous frame, byte for byte
 *               payloads           · where the rows say
 *
 * The salt (64 random bits, new for each file) begins every checksum behind the file header, and each
 * frame header repeats {epoch, k, salt} in clear: neither what a recycled file still holds nor a record
 * value made to look like a frame passes for one. A row's checksum covers the row and the CRC32C of its
 * payload, so an entry proves itself, whichever copy of the index it was found through. The copy holds
 * whole rows, not an extract: what it costs is small beside the payloads, and a frame whose own header
 * or index is damaged is then recovered completely.
 */
import { assert } from "../base/assert.ts";
import { concatBytes, equalBytes, Reader, Writer } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import {
  type BrokerEpoch,
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  type PartitionIndex,
  partitionIndex,
  type ProducerEpoch,
  producerEpoch,
  type ProducerId,
  producerId,
  topicIdFromBytes,
} from "../base/ids.ts";
import { compile } from "../schema/compile.ts";
import {
  branded,
  bytes,
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
import { EntryKind, type WalEntry } from "./wal.ts";

export const BLOCK_BYTES = 4096;
/** Frames begin behind the two copies of the file header. */
export const FRAMES_BEGIN = 2 * BLOCK_BYTES;
export const FRAME_HEADER_BYTES = 88;
export const ROW_BYTES = 71;
export const WAL_FORMAT = 1;
const FILE_MAGIC = 0x48_46_57_4c; // "HFWL"
const FRAME_MAGIC = 0x48_46_46_52; // "HFFR"

/** What lay in the file's blocks before its first frame; recovery judges a torn tail by it. */
export const FileOrigin = { grown: 0, zeros: 1, recycled: 2 } as const;
export type FileOrigin = (typeof FileOrigin)[keyof typeof FileOrigin];

export const FileHeader = struct({
  format: uint16,
  origin: branded<FileOrigin>(int8),
  epoch: branded<BrokerEpoch>(int64),
  fileNumber: int32,
  /** 8 random bytes. */
  salt: bytes,
  /** Position of the file's first frame: the end of the last frame of the file before. */
  base: int64,
  clusterId: string,
});
export interface FileHeader extends Decoded<typeof FileHeader> {}
const fileHeader = compile(FileHeader, 0, { flexible: false });

/** FRAME: everything before the index. `headerChecksum` covers what follows it, begun with the salt. */
export const FrameHeaderBytes = struct({
  magic: uint32,
  headerChecksum: uint32,
  /** Whole frame with padding. */
  length: uint32,
  fileNumber: int32,
  epoch: branded<BrokerEpoch>(int64),
  saltHigh: uint32,
  saltLow: uint32,
  /** Counts the frames of the epoch from 0. */
  sequence: int64,
  position: int64,
  /** Everything below this position was known to be synced when the frame was written. */
  synced: int64,
  /** `headerChecksum` of the frame before; 0 in the epoch's first. */
  previousChecksum: uint32,
  previousLength: uint32,
  entryCount: uint32,
  indexChecksum: uint32,
  copyCount: uint32,
  copyChecksum: uint32,
  /** Zero; room for what a later format needs. */
  reserved: int64,
});
export interface FrameHeader extends Decoded<typeof FrameHeaderBytes> {}
const frameHeader = compile(FrameHeaderBytes, 0, { flexible: false });

export const IndexRow = struct({
  kind: branded<EntryKind>(int8),
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
  baseOffset: branded<Offset>(int64),
  count: int32,
  leaderEpoch: branded<LeaderEpoch>(int32),
  producerId: branded<ProducerId>(int64),
  producerEpoch: branded<ProducerEpoch>(int16),
  sequence: int32,
  /** Wall clock of the append, ms. */
  appendedMs: int64,
  /** First byte of the payload, from the frame's first byte. */
  payloadStart: uint32,
  payloadLength: uint32,
  /** CRC32C over salt, the row up to here, and the payload's CRC32C in 4 bytes. */
  checksum: uint32,
});
export interface IndexRow extends Decoded<typeof IndexRow> {}
const indexRow = compile(IndexRow, 0, { flexible: false });

/** Where every checksum of a file begins. */
export function saltSeed(salt: Uint8Array): number {
  assert(salt.byteLength === 8, "a salt has 8 bytes");
  return crc32c(salt);
}

export const walDirectory = (epoch: BrokerEpoch): string => `wal/${epoch}`;
export const walFilePath = (epoch: BrokerEpoch, fileNumber: number): string =>
  `wal/${epoch}/${fileNumber}.log`;

export const blocksFor = (length: number): number => Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;

/** Both copies of the header: the first two blocks of a file. */
export function encodeFileHeader(header: FileHeader): Uint8Array {
  const body = new Writer();
  fileHeader.write(body, header);
  const flat = body.finishFlat();
  const start = new Writer();
  start.uint32(FILE_MAGIC);
  start.uint32(crc32c(flat));
  start.uint32(flat.byteLength);
  const block = new Uint8Array(BLOCK_BYTES);
  block.set(concatBytes([start.finishFlat(), flat]));
  return concatBytes([block, block]);
}

/** One copy of a file's header, or null where its bytes are not one. The rest of the block is not looked at. */
export function decodeFileHeader(block: Uint8Array): FileHeader | null {
  try {
    const reader = new Reader(block);
    if (reader.uint32() !== FILE_MAGIC) return null;
    const checksum = reader.uint32();
    const body = reader.take(reader.uint32());
    if (crc32c(body) !== checksum) return null;
    const header = fileHeader.read(new Reader(body));
    return header.salt.byteLength === 8 ? { ...header, salt: header.salt.slice() } : null;
  } catch (cause) {
    if (cause instanceof MalformedError) return null;
    throw cause;
  }
}

/** Writes a header into the first 88 bytes of `target` and returns its checksum. */
export function encodeFrameHeader(
  target: Uint8Array,
  header: Omit<FrameHeader, "magic" | "headerChecksum" | "reserved">,
  seed: number,
): number {
  const view = new DataView(target.buffer, target.byteOffset, FRAME_HEADER_BYTES);
  view.setUint32(0, FRAME_MAGIC);
  view.setUint32(8, header.length);
  view.setInt32(12, header.fileNumber);
  setInt64(view, 16, header.epoch);
  view.setUint32(24, header.saltHigh);
  view.setUint32(28, header.saltLow);
  setInt64(view, 32, header.sequence);
  setInt64(view, 40, header.position);
  setInt64(view, 48, header.synced);
  view.setUint32(56, header.previousChecksum);
  view.setUint32(60, header.previousLength);
  view.setUint32(64, header.entryCount);
  view.setUint32(68, header.indexChecksum);
  view.setUint32(72, header.copyCount);
  view.setUint32(76, header.copyChecksum);
  setInt64(view, 80, 0);
  const checksum = crc32c(target.subarray(8, FRAME_HEADER_BYTES), seed);
  view.setUint32(4, checksum);
  return checksum;
}

/** The frame header at the begin of `block`, if it belongs to this file and its checksum holds; else null. */
export function decodeFrameHeader(
  block: Uint8Array,
  file: { readonly epoch: BrokerEpoch; readonly fileNumber: number; readonly salt: Uint8Array },
): FrameHeader | null {
  if (!carriesSalt(block, file.salt)) return null;
  if (crc32c(block.subarray(8, FRAME_HEADER_BYTES), saltSeed(file.salt)) !== uint32At(block, 4)) return null;
  const header = frameHeader.read(new Reader(block.subarray(0, FRAME_HEADER_BYTES)));
  if (header.epoch !== file.epoch || header.fileNumber !== file.fileNumber) return null;
  if (header.length % BLOCK_BYTES !== 0) return null;
  const index = FRAME_HEADER_BYTES + (header.entryCount + header.copyCount) * ROW_BYTES;
  return index <= header.length ? header : null;
}

/** Whether a block begins as a frame of the file with this salt, sound or not. */
export function carriesSalt(block: Uint8Array, salt: Uint8Array): boolean {
  if (block.byteLength < FRAME_HEADER_BYTES || uint32At(block, 0) !== FRAME_MAGIC) return false;
  return equalBytes(block.subarray(24, 32), salt);
}

/** The salt that a block claims, when it is a sound frame header of this epoch and file by that very salt. */
export function saltOfFrame(block: Uint8Array, epoch: BrokerEpoch, fileNumber: number): Uint8Array | null {
  if (block.byteLength < FRAME_HEADER_BYTES || uint32At(block, 0) !== FRAME_MAGIC) return null;
  const salt = block.slice(24, 32);
  return decodeFrameHeader(block, { epoch, fileNumber, salt }) === null ? null : salt;
}

/**
 * Writes an entry's row at `at`. `seed` is the file's `saltSeed`, `payloadChecksum` the payload's CRC32C.
 * By hand because it runs once per record batch; the schema reads it back (and a test compares the two).
 */
export function encodeRow(
  target: Buffer,
  view: DataView,
  at: number,
  entry: WalEntry,
  payload: { readonly start: number; readonly checksum: number; readonly seed: number },
): void {
  view.setInt8(at, entry.kind);
  target.write(entry.topicId, at + 1, 16, "base64url");
  view.setInt32(at + 17, entry.partition);
  setInt64(view, at + 21, entry.baseOffset);
  view.setInt32(at + 29, entry.count);
  view.setInt32(at + 33, entry.leaderEpoch);
  setInt64(view, at + 37, entry.producerId);
  view.setInt16(at + 45, entry.producerEpoch);
  view.setInt32(at + 47, entry.sequence);
  setInt64(view, at + 51, entry.appendedMs);
  view.setUint32(at + 59, payload.start);
  view.setUint32(at + 63, entry.payload.byteLength);
  // The payload's checksum stands where the row's will: together they are what the row's covers.
  view.setUint32(at + 67, payload.checksum);
  view.setUint32(at + 67, crc32c(target.subarray(at, at + ROW_BYTES), payload.seed));
}

/** Row number `row` of an index. */
export function decodeRow(index: Uint8Array, row: number): IndexRow {
  return indexRow.read(new Reader(index.subarray(row * ROW_BYTES, (row + 1) * ROW_BYTES)));
}

/**
 * The entry that a row names inside the bytes of its frame, or null when its checksum does not hold. By
 * hand as `encodeRow` is: recovery does this for each entry of a WAL, and a start waits for it.
 */
export function entryOfRow(index: Uint8Array, row: number, frame: Uint8Array, seed: number): WalEntry | null {
  const at = row * ROW_BYTES;
  const payloadStart = uint32At(index, at + 59);
  const payloadLength = uint32At(index, at + 63);
  const end = payloadStart + payloadLength;
  // A row without payload needs no byte of a frame that may be cut off.
  if (payloadLength > 0 && end > frame.byteLength) return null;
  const payload = frame.subarray(payloadStart, end);
  checked.set(index.subarray(at, at + ROW_BYTES - 4));
  checkedView.setUint32(ROW_BYTES - 4, crc32c(payload));
  if (crc32c(checked, seed) !== uint32At(index, at + ROW_BYTES - 4)) return null;
  const kind = checkedView.getInt8(0);
  if (kind !== EntryKind.batch && kind !== EntryKind.logStart) {
    throw new MalformedError(`WAL entry of kind ${kind} was written by a newer version`);
  }
  return {
    kind,
    topicId: topicIdFromBytes(checked, 1),
    partition: partitionIndex(checkedView.getInt32(17)),
    baseOffset: offset(int64At(21)),
    count: checkedView.getInt32(29),
    leaderEpoch: leaderEpoch(checkedView.getInt32(33)),
    producerId: producerId(int64At(37)),
    producerEpoch: producerEpoch(checkedView.getInt16(45)),
    sequence: checkedView.getInt32(47),
    appendedMs: int64At(51),
    payload,
  };
}

/** The row that is being checked. */
const checked = new Uint8Array(ROW_BYTES);
const checkedView = new DataView(checked.buffer);
const int64At = (at: number): number =>
  checkedView.getInt32(at) * 0x1_0000_0000 + checkedView.getUint32(at + 4);

/** A damaged row can hold an int64 that no number can; it is then simply not a row. */
export function decodeRowOrNull(bytesOfRow: Uint8Array): IndexRow | null {
  try {
    return indexRow.read(new Reader(bytesOfRow));
  } catch (cause) {
    if (cause instanceof MalformedError) return null;
    throw cause;
  }
}

export function uint32At(from: Uint8Array, at: number): number {
  return (
    (((from[at] as number) << 24) |
      ((from[at + 1] as number) << 16) |
      ((from[at + 2] as number) << 8) |
      (from[at + 3] as number)) >>>
    0
  );
}

function setInt64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  view.setInt32(at, high);
  view.setUint32(at + 4, value - high * 0x1_0000_0000);
}
