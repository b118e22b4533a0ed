/**
 * The bytes of the object WAL. Slot n of epoch e is the object `wal/<e>/<n>`: entries, or a seal, behind
 * which its writer never gets. Big-endian:
 *
 *   header    at  0  magic "HFWO"                       uint32
 *             at  4  CRC-32C of bytes 8 … 95            uint32
 *             at  8  format, 1                          uint16
 *             at 10  kind: 1 entries, 2 seal            uint8
 *             at 11  zero                               uint8
 *             at 12  cluster id, ASCII, zero padded     32 bytes
 *             at 44  epoch                              int64
 *             at 52  slot                               int64
 *             at 60  nonce of the writing process, zeros in a seal   16 bytes
 *             at 76  entries                            uint32
 *             at 80  bytes of the object                int64
 *             at 88  zero                               int64
 *   rows      71 bytes per entry, as in a frame of the file WAL (wal-format.ts)
 *   payloads  where the rows say
 *   rows and header once more, so that damage at one place hides no entry
 *
 * A row's checksum begins with epoch and slot and covers the row and its payload, so an entry proves itself.
 * A seal has no bytes of its author: two who seal the same slot write the same object, and who dies in
 * between leaves nothing that the other could take for a writer's.
 */
import { assert } from "../base/assert.ts";
import { Writer } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import { type BrokerEpoch, brokerEpoch, offset } from "../base/ids.ts";
import type { WalEntry } from "./wal.ts";
import { decodeRowOrNull, encodeRow, entryOfRow, ROW_BYTES, uint32At } from "./wal-format.ts";
import type { WalHole } from "./wal-holes.ts";

const MAGIC = 0x48_46_57_4f;
const FORMAT = 1;
const headerBytes = 96;
const clusterIdBytes = 32;
export const nonceBytes = 16;
const kinds = { entries: 1, seal: 2 } as const;

/** Which slot of which log. */
export interface SlotName {
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly slot: number;
}

const digits = (value: number): string => String(value).padStart(12, "0");

/** What the keys of all WALs begin with. */
export const walRoot = "wal/";
export const walPrefix = (epoch: BrokerEpoch): string => `${walRoot}${digits(epoch)}/`;
export const slotKey = (epoch: BrokerEpoch, slot: number): string => `${walPrefix(epoch)}${digits(slot)}`;

/** What a key names; null: it is none of ours. */
export function parseSlotKey(key: string): { readonly epoch: BrokerEpoch; readonly slot: number } | null {
  const found = /^wal\/(\d{12})\/(\d{12})$/.exec(key);
  return found === null ? null : { epoch: brokerEpoch(Number(found[1])), slot: Number(found[2]) };
}

/** The slot in a key of this epoch; null: not such a key. */
export function slotOfKey(epoch: BrokerEpoch, key: string): number | null {
  const name = parseSlotKey(key);
  return name?.epoch === epoch ? name.slot : null;
}

/** What every checksum of a slot's rows begins with. */
function seedOf({ epoch, slot }: SlotName): number {
  const name = new Writer(16);
  name.int64(epoch);
  name.int64(slot);
  return crc32c(name.finishFlat());
}

function encodeHeader(
  name: SlotName,
  kind: number,
  facts: { readonly nonce: Uint8Array; readonly entries: number; readonly bytes: number },
): Uint8Array {
  const to = new Writer(headerBytes);
  to.uint32(MAGIC);
  to.uint32(0);
  to.int16(FORMAT);
  to.int8(kind);
  to.int8(0);
  to.utf8(name.clusterId.padEnd(clusterIdBytes, "\0"), clusterIdBytes);
  to.int64(name.epoch);
  to.int64(name.slot);
  to.raw(facts.nonce);
  to.uint32(facts.entries);
  to.int64(facts.bytes);
  to.int64(0);
  const header = to.finishFlat();
  assert(header.byteLength === headerBytes, "the header of a slot has one length");
  const view = new DataView(header.buffer, header.byteOffset, headerBytes);
  view.setUint32(4, crc32c(header.subarray(8)));
  return header;
}

/** `checksums`: the CRC32C of each payload. */
export function encodeEntries(
  name: SlotName,
  nonce: Uint8Array,
  entries: readonly WalEntry[],
  checksums: readonly number[],
): Uint8Array {
  const rowsBytes = entries.length * ROW_BYTES;
  const payloadBytes = entries.reduce((sum, { payload }) => sum + payload.byteLength, 0);
  const total = 2 * (headerBytes + rowsBytes) + payloadBytes;
  assert(total < 0x1_0000_0000, "an object of the WAL is shorter than 4 GiB");
  const bytes = Buffer.allocUnsafe(total);
  const view = new DataView(bytes.buffer, bytes.byteOffset, total);
  const header = encodeHeader(name, kinds.entries, { nonce, entries: entries.length, bytes: total });
  const seed = seedOf(name);
  bytes.set(header, 0);
  let at = headerBytes + rowsBytes;
  for (const [row, entry] of entries.entries()) {
    const checksum = checksums[row] ?? crc32c(entry.payload);
    encodeRow(bytes, view, headerBytes + row * ROW_BYTES, entry, { start: at, checksum, seed });
    bytes.set(entry.payload, at);
    at += entry.payload.byteLength;
  }
  bytes.copyWithin(at, headerBytes, headerBytes + rowsBytes);
  bytes.set(header, total - headerBytes);
  return bytes;
}

export function encodeSeal(name: SlotName): Uint8Array {
  return encodeHeader(name, kinds.seal, {
    nonce: new Uint8Array(nonceBytes),
    entries: 0,
    bytes: headerBytes,
  });
}

export type SlotContent =
  | { readonly kind: "seal" }
  | {
      readonly kind: "entries";
      /** Those that prove themselves, in order. */
      readonly entries: readonly WalEntry[];
      /** Entries that are named and do not: their bytes are damaged. */
      readonly holes: readonly WalHole[];
      /** Not even the names of all entries can be read. */
      readonly isNameless: boolean;
    };

/** Throws `MalformedError` for an object of another cluster, place or format. */
export function decodeSlot(name: SlotName, bytes: Uint8Array): SlotContent {
  const first = headerAt(bytes, 0);
  const header = first ?? headerAt(bytes, bytes.byteLength - headerBytes);
  // Of the slots only seals are this short, and two seals of one slot are equal: this one is damaged.
  if (header === null) {
    if (bytes.byteLength <= headerBytes) throw new MalformedError("the object is too short for a slot");
    return { kind: "entries", entries: [], holes: [], isNameless: true };
  }
  if (header.format !== FORMAT) throw new MalformedError(`format ${header.format} of a slot is unknown here`);
  if (header.clusterId !== name.clusterId) {
    throw new MalformedError(`the slot belongs to cluster ${header.clusterId}`);
  }
  if (header.epoch !== name.epoch || header.slot !== name.slot) {
    throw new MalformedError(`the object says that it is slot ${header.slot} of epoch ${header.epoch}`);
  }
  if (header.kind === kinds.seal) return { kind: "seal" };
  return decodeEntries(name, bytes, header.entries);
}

/** What the object says that it is; null: neither copy of its header can be read. */
export function nameOfSlot(bytes: Uint8Array): SlotName | null {
  const header = headerAt(bytes, 0) ?? headerAt(bytes, bytes.byteLength - headerBytes);
  if (header === null) return null;
  const { clusterId, epoch, slot } = header;
  return { clusterId, epoch: brokerEpoch(epoch), slot };
}

interface Header {
  readonly format: number;
  readonly kind: number;
  readonly clusterId: string;
  readonly epoch: number;
  readonly slot: number;
  readonly entries: number;
}

function headerAt(bytes: Uint8Array, at: number): Header | null {
  if (at < 0 || at + headerBytes > bytes.byteLength) return null;
  const header = bytes.subarray(at, at + headerBytes);
  if (uint32At(header, 0) !== MAGIC || uint32At(header, 4) !== crc32c(header.subarray(8))) return null;
  const view = new DataView(header.buffer, header.byteOffset, headerBytes);
  return {
    format: view.getUint16(8),
    kind: view.getUint8(10),
    clusterId: Buffer.from(header.subarray(12, 12 + clusterIdBytes))
      .toString("latin1")
      .replace(/\0+$/, ""),
    epoch: Number(view.getBigInt64(44)),
    slot: Number(view.getBigInt64(52)),
    entries: view.getUint32(76),
  };
}

function decodeEntries(name: SlotName, bytes: Uint8Array, count: number): SlotContent {
  const seed = seedOf(name);
  const rowsBytes = count * ROW_BYTES;
  const copyBegin = bytes.byteLength - headerBytes - rowsBytes;
  const indexes = [
    bytes.subarray(headerBytes, headerBytes + rowsBytes),
    bytes.subarray(Math.max(0, copyBegin), Math.max(0, copyBegin + rowsBytes)),
  ].filter((index) => index.byteLength === rowsBytes);
  const entries: WalEntry[] = [];
  const holes: WalHole[] = [];
  let isNameless = false;
  for (let row = 0; row < count; row++) {
    const entry = firstOf(indexes, (index) => entryOfRow(index, row, bytes, seed));
    if (entry !== null) {
      entries.push(entry);
      continue;
    }
    // Two copies that agree name what is lost; one alone may be the damage itself.
    const named = agreed(indexes, row);
    if (named === null) isNameless = true;
    else holes.push(named);
  }
  return { kind: "entries", entries, holes, isNameless };
}

function firstOf<T, R>(all: readonly T[], find: (each: T) => R | null): R | null {
  for (const each of all) {
    const found = find(each);
    if (found !== null) return found;
  }
  return null;
}

function agreed(indexes: readonly Uint8Array[], row: number): WalHole | null {
  const [first, second] = indexes.map((index) => index.subarray(row * ROW_BYTES, (row + 1) * ROW_BYTES));
  if (first === undefined || second === undefined || !Buffer.from(first).equals(second)) return null;
  const fields = decodeRowOrNull(first);
  if (fields === null) return null;
  const { topicId, partition, baseOffset, count } = fields;
  return { topicId, partition, from: baseOffset, to: offset(baseOffset + count) };
}
