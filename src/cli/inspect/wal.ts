/**
 * A file of the write-ahead log: its header, every frame, and where the log ends in it. Reads one frame at a
 * time; a frame that is damaged is named and the next sound one is looked for. What lies behind the last frame
 * is judged as recovery would: zeros, remains of an older log, or bytes that are not a whole frame, which is
 * also what a write in progress looks like while a broker runs.
 */
import type { FileHandle } from "node:fs/promises";
import { crc32c } from "../../base/crc32c.ts";
import { HoldfastError } from "../../base/errors.ts";
import { type BrokerEpoch, brokerEpoch } from "../../base/ids.ts";
import type { WalEntry } from "../../log/wal.ts";
import {
  BLOCK_BYTES,
  carriesSalt,
  decodeFileHeader,
  decodeFrameHeader,
  decodeRowOrNull,
  entryOfRow,
  type FileHeader,
  FileOrigin,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  FRAMES_BEGIN,
  ROW_BYTES,
  saltOfFrame,
  saltSeed,
} from "../../log/wal-format.ts";
import { formatBytes, formatCount } from "../table.ts";
import { entryFindings } from "./entries.ts";
import { damage, type Depth, type Finding, type TopicNames } from "./finding.ts";

/** Read at once where no frame is known. */
const windowBytes = 1024 * 1024;
const originNames = new Map<number, string>(
  Object.entries(FileOrigin).map(([name, origin]) => [origin, name]),
);

interface WalFile {
  readonly handle: FileHandle;
  readonly bytes: number;
  readonly path: string;
  readonly epoch: BrokerEpoch;
  readonly fileNumber: number;
  readonly salt: Uint8Array;
  readonly seed: number;
  readonly base: number;
  readonly isRecycled: boolean;
}

export interface WalSummary {
  readonly frames: number;
  readonly entries: number;
  /** Positions [base, end) lie in the file. */
  readonly base: number;
  readonly end: number;
}

/** `name`: epoch and number as the file's path tells them, if it does. Returns what was counted. */
export async function* walFindings(
  source: { readonly handle: FileHandle; readonly path: string; readonly name: WalName | null },
  depth: Depth,
  topicName: TopicNames,
): AsyncGenerator<Finding, WalSummary | null, void> {
  const { handle, path } = source;
  const { size: bytes } = await handle.stat();
  const start = await readAt(handle, 0, Math.min(bytes, FRAMES_BEGIN));
  const copies = [0, BLOCK_BYTES].map((at) => decodeFileHeader(start.subarray(at, at + BLOCK_BYTES)));
  for (const [index, copy] of copies.entries()) {
    if (copy === null) yield damage(path, `copy ${index + 1} of 2 of the file header is damaged`);
  }
  const header = copies.find((copy) => copy !== null) ?? null;
  const file = header === null ? await fileByFrames(source, bytes) : fileOf(source, bytes, header);
  if (file === null) {
    yield damage(path, "neither file header can be read and no frame in it proves itself");
    return null;
  }
  const { epoch, fileNumber, salt, base } = file;
  yield {
    facts: {
      kind: "wal-file",
      path,
      bytes,
      epoch,
      fileNumber,
      base,
      salt,
      ...(header === null
        ? {}
        : { format: header.format, clusterId: header.clusterId, origin: originNames.get(header.origin) }),
    },
    text:
      `WAL file ${path}: epoch ${epoch}, file ${fileNumber}, positions from ${formatCount(base)}, ${formatBytes(bytes)}` +
      (header === null
        ? ", known by its frames alone"
        : `, format ${header.format}, cluster ${header.clusterId}, before its first frame: ${originNames.get(header.origin)}`),
  };
  return yield* frameFindings(file, depth, topicName);
}

export interface WalName {
  readonly epoch: BrokerEpoch;
  readonly fileNumber: number;
}

/** `…/wal/<epoch>/<number>.log`. */
export function walNameOf(path: string): WalName | null {
  const found = /(?:^|\/)(\d+)\/(\d+)\.log$/.exec(path);
  return found === null ? null : { epoch: brokerEpoch(Number(found[1])), fileNumber: Number(found[2]) };
}

async function* frameFindings(
  file: WalFile,
  depth: Depth,
  topicName: TopicNames,
): AsyncGenerator<Finding, WalSummary, void> {
  let frames = 0;
  let entries = 0;
  let at = FRAMES_BEGIN;
  while (at < file.bytes) {
    const frame = await frameAt(file, at);
    if (frame === null) {
      const next = await nextFrame(file, at + BLOCK_BYTES);
      if (next === null) break;
      const gap = formatCount(next - at);
      yield damage(`${file.path}, byte ${at}`, `${gap} bytes are no frame, although a later frame follows`);
      at = next;
      continue;
    }
    frames++;
    entries += frame.entryCount;
    yield* oneFrame(file, at, frame, depth, topicName);
    at += frame.length;
  }
  const summary = { frames, entries, base: file.base, end: file.base + at - FRAMES_BEGIN };
  yield await endFinding(file, at, summary);
  return summary;
}

async function* oneFrame(
  file: WalFile,
  at: number,
  frame: FrameHeader,
  depth: Depth,
  topicName: TopicNames,
): AsyncGenerator<Finding, void, void> {
  const where = `${file.path}, frame at byte ${at}`;
  yield {
    facts: { ...frame, kind: "frame", at, salt: file.salt },
    text:
      `frame ${frame.sequence} at byte ${formatCount(at)}: position ${formatCount(frame.position)}, ` +
      `${formatCount(frame.length)} bytes, ${formatCount(frame.entryCount)} entries, synced below ${formatCount(frame.synced)}`,
  };
  const bytes = await readAt(file.handle, at, frame.length);
  if (bytes.byteLength < frame.length) yield damage(where, "the file ends inside it");
  const index = bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + frame.entryCount * ROW_BYTES);
  const copy = bytes.subarray(
    FRAME_HEADER_BYTES + index.byteLength,
    FRAME_HEADER_BYTES + index.byteLength + frame.copyCount * ROW_BYTES,
  );
  if (crc32c(index, file.seed) !== frame.indexChecksum) yield damage(where, "its index fails its checksum");
  if (crc32c(copy, file.seed) !== frame.copyChecksum) {
    yield damage(where, "its copy of the index before fails its checksum");
  }
  for (let row = 0; (row + 1) * ROW_BYTES <= index.byteLength; row++) {
    const found = readEntry(index, row, bytes, file.seed);
    if (typeof found === "string")
      yield damage(where, `entry ${row}${entryName(index, row, topicName)}: ${found}`);
    else if (depth.batches) yield* entryFindings(found, depth, topicName, where);
  }
}

function readEntry(index: Uint8Array, row: number, frame: Uint8Array, seed: number): WalEntry | string {
  try {
    return entryOfRow(index, row, frame, seed) ?? "it fails its checksum";
  } catch (cause) {
    if (cause instanceof HoldfastError) return cause.message;
    throw cause;
  }
}

/** What the row of a damaged entry claims; nothing proves it. */
function entryName(index: Uint8Array, row: number, topicName: TopicNames): string {
  const claimed = decodeRowOrNull(index.subarray(row * ROW_BYTES, (row + 1) * ROW_BYTES));
  if (claimed === null) return "";
  const { topicId, partition, baseOffset, count } = claimed;
  return `, which claims to be ${topicName(topicId)}-${partition} offsets ${baseOffset} to ${baseOffset + count - 1}`;
}

async function endFinding(file: WalFile, at: number, summary: WalSummary): Promise<Finding> {
  let uncleanEnd = -1;
  for (let from = at; from < file.bytes; from += windowBytes) {
    const window = await readAt(file.handle, from, Math.min(windowBytes, file.bytes - from));
    for (let block = 0; block < window.byteLength; block += BLOCK_BYTES) {
      const one = window.subarray(block, block + BLOCK_BYTES);
      const isClean = file.isRecycled ? !carriesSalt(one, file.salt) : one.every((byte) => byte === 0);
      if (!isClean) uncleanEnd = from + block + one.byteLength;
    }
  }
  const uncleanBytes = uncleanEnd < 0 ? 0 : uncleanEnd - at;
  const rest = file.bytes - at;
  const behind =
    rest <= 0
      ? "the file ends there"
      : uncleanBytes > 0
        ? `${formatCount(uncleanBytes)} bytes behind it are not a whole frame: a write that is in progress, or was cut off`
        : file.isRecycled
          ? "behind it lies what an older log left"
          : "behind it are zeros";
  return {
    facts: { ...summary, kind: "wal-end", at, uncleanBytes },
    text: `end at byte ${formatCount(at)}, position ${formatCount(summary.end)}, after ${formatCount(summary.frames)} frames with ${formatCount(summary.entries)} entries; ${behind}`,
  };
}

/** The frame whose sound header lies there, or null. */
async function frameAt(file: WalFile, at: number): Promise<FrameHeader | null> {
  return soundFrame(file, at, await readAt(file.handle, at, FRAME_HEADER_BYTES));
}

function soundFrame(file: WalFile, at: number, block: Uint8Array): FrameHeader | null {
  const header = decodeFrameHeader(block, file);
  return header !== null && header.position === file.base + at - FRAMES_BEGIN ? header : null;
}

async function nextFrame(file: WalFile, begin: number): Promise<number | null> {
  for (let from = begin; from < file.bytes; from += windowBytes) {
    const window = await readAt(file.handle, from, Math.min(windowBytes, file.bytes - from));
    for (let block = 0; block < window.byteLength; block += BLOCK_BYTES) {
      if (soundFrame(file, from + block, window.subarray(block, block + BLOCK_BYTES)) !== null)
        return from + block;
    }
  }
  return null;
}

function fileOf(
  { handle, path }: { readonly handle: FileHandle; readonly path: string },
  bytes: number,
  header: FileHeader,
): WalFile {
  const { epoch, fileNumber, salt, base, origin } = header;
  const isRecycled = origin === FileOrigin.recycled;
  return { handle, bytes, path, epoch, fileNumber, salt, seed: saltSeed(salt), base, isRecycled };
}

/** Without a header: a frame that proves itself by its own salt tells salt and position. */
async function fileByFrames(
  {
    handle,
    path,
    name,
  }: { readonly handle: FileHandle; readonly path: string; readonly name: WalName | null },
  bytes: number,
): Promise<WalFile | null> {
  if (name === null) return null;
  for (let from = FRAMES_BEGIN; from < bytes; from += windowBytes) {
    const window = await readAt(handle, from, Math.min(windowBytes, bytes - from));
    for (let at = 0; at < window.byteLength; at += BLOCK_BYTES) {
      const block = window.subarray(at, at + BLOCK_BYTES);
      const salt = saltOfFrame(block, name.epoch, name.fileNumber);
      const frame = salt === null ? null : decodeFrameHeader(block, { ...name, salt });
      if (salt === null || frame === null) continue;
      const base = frame.position - (from + at - FRAMES_BEGIN);
      return { handle, bytes, path, ...name, salt, seed: saltSeed(salt), base, isRecycled: false };
    }
  }
  return null;
}

/** Fewer bytes where the file ends. */
async function readAt(handle: FileHandle, at: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await handle.read(bytes, read, length - read, at + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return bytes.subarray(0, read);
}
